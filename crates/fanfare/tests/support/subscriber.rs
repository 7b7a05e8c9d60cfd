//! A client of event streams over any of the transports.

use super::{Chunks, Event, Head, PATIENCE, Raw, Server, SseParser, request_text};
use flate2::write::GzDecoder;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Write as _;
use tokio::net::TcpStream;

/// What to ask for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscription {
    pub(crate) query: String,
    pub(crate) last_event_id: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Subscription {
    pub(crate) fn new(query: &str) -> Self {
        Self { query: query.to_owned(), ..Self::default() }
    }

    pub(crate) fn after(mut self, last_event_id: &str) -> Self {
        self.last_event_id = Some(last_event_id.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn target(&self) -> String {
        if self.query.is_empty() { "/api/sse".to_owned() } else { format!("/api/sse?{}", self.query) }
    }

    fn all_headers(&self) -> Vec<(&str, &str)> {
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if !headers.iter().any(|(name, _)| *name == "accept") {
            headers.push(("accept", "text/event-stream"));
        }
        headers.extend(self.last_event_id.iter().map(|id| ("last-event-id", id.as_str())));
        headers
    }
}

#[derive(Debug)]
enum Source {
    Http1 { raw: Raw, chunks: Option<Chunks> },
    Http2 { body: h2::RecvStream, driver: tokio::task::JoinHandle<()> },
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) head: Head,
    source: Source,
    gunzip: Option<GzDecoder<Vec<u8>>>,
    pub(crate) parser: SseParser,
    events: VecDeque<Event>,
    /// Everything received, framing of HTTP and compression taken off.
    pub(crate) bytes: usize,
    /// Received, and not yet given to the parser.
    unparsed: Vec<u8>,
}

impl Subscriber {
    /// Sends the request and reads the head of the answer, nothing more.
    pub(crate) async fn open(server: &Server, subscription: &Subscription) -> Self {
        let opening = async {
            if server.wire.is_http2() {
                Self::open_http2(server, subscription).await
            } else {
                Self::open_http1(server, subscription).await
            }
        };
        let (head, source) = tokio::time::timeout(PATIENCE, opening).await.expect("a head in time");
        let parser = SseParser::default();
        let compressed = head.get("content-encoding") == Some("gzip");
        let gunzip = compressed.then(|| GzDecoder::new(Vec::new()));
        Self { head, source, gunzip, parser, events: VecDeque::new(), bytes: 0, unparsed: Vec::new() }
    }

    async fn open_http1(server: &Server, subscription: &Subscription) -> (Head, Source) {
        let mut raw = Raw::connect(server.addr).await;
        let mut headers = subscription.all_headers();
        if server.wire.is_compressed() {
            headers.push(("accept-encoding", "gzip, deflate, br, zstd"));
        }
        raw.send(request_text("GET", &subscription.target(), &headers, b"")).await;
        let head = raw.head().await;
        let chunks = head.is_chunked().then(Chunks::default);
        (head, Source::Http1 { raw, chunks })
    }

    async fn open_http2(server: &Server, subscription: &Subscription) -> (Head, Source) {
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        // As browsers do: a window update that waits for an acknowledgement costs 40 ms for every 64 KiB.
        tcp.set_nodelay(true).unwrap();
        let (mut sender, connection) = h2::client::handshake(tcp).await.unwrap();
        let driver = tokio::spawn(async move { _ = connection.await });
        let mut request = http::Request::get(format!("http://test{}", subscription.target()));
        for (name, value) in subscription.all_headers() {
            request = request.header(name, value);
        }
        poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let (parts, body) = response.await.unwrap().into_parts();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let head = Head { status: parts.status.as_u16(), headers: headers.collect() };
        (head, Source::Http2 { body, driver })
    }

    /// Opens a stream, and takes its `connected`, which must come first.
    pub(crate) async fn connect(server: &Server, query: &str) -> (Self, Event) {
        Self::resume(server, &Subscription::new(query)).await
    }

    pub(crate) async fn resume(server: &Server, subscription: &Subscription) -> (Self, Event) {
        let mut subscriber = Self::open(server, subscription).await;
        assert_eq!(subscriber.head.status, 200);
        let connected = subscriber.next().await;
        assert_eq!(connected.event, "connected");
        (subscriber, connected)
    }

    /// More bytes of the body; `None` at its end. Bytes already here come first.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        if !self.unparsed.is_empty() {
            return Some(std::mem::take(&mut self.unparsed));
        }
        loop {
            let bytes = match &mut self.source {
                Source::Http1 { raw, chunks } => {
                    if raw.rest.is_empty() && (chunks.as_ref().is_some_and(|chunks| chunks.ended) || !raw.fill().await)
                    {
                        return None;
                    }
                    let bytes = std::mem::take(&mut raw.rest);
                    match chunks {
                        Some(chunks) => chunks.decode(&bytes),
                        None => bytes,
                    }
                }
                Source::Http2 { body, .. } => {
                    let data = tokio::time::timeout(PATIENCE, body.data()).await.expect("bytes, or the end, in time");
                    let data = data?.ok()?;
                    body.flow_control().release_capacity(data.len()).unwrap();
                    assert!(!data.is_empty() || body.is_end_stream(), "an empty DATA frame in the midst");
                    data.to_vec()
                }
            };
            let bytes = match &mut self.gunzip {
                Some(gunzip) => {
                    gunzip.write_all(&bytes).unwrap();
                    // What has come is to be read now, not when there is more.
                    gunzip.flush().unwrap();
                    std::mem::take(gunzip.get_mut())
                }
                None => bytes,
            };
            if !bytes.is_empty() {
                self.bytes += bytes.len();
                return Some(bytes);
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut events = Vec::new();
        self.parser.feed(bytes, &mut events);
        self.events.extend(events);
    }

    /// The next event, control events included; `None` at the end of the stream.
    pub(crate) async fn try_next(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            let bytes = self.chunk().await?;
            self.feed(&bytes);
        }
        self.events.pop_front()
    }

    pub(crate) async fn next(&mut self) -> Event {
        self.try_next().await.expect("an event before the end of the stream")
    }

    /// The next event, which must be the application's.
    pub(crate) async fn next_own(&mut self) -> Event {
        let event = self.next().await;
        assert!(!event.is_control(), "{event:?} where an event of the application was expected");
        event
    }

    /// Data of the next events of the application, in order, pings passed over.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            let event = self.next().await;
            if event.event != "ping" {
                assert!(!event.is_control(), "{event:?} after {} of {count} events", data.len());
                data.push(event.data);
            }
        }
        data
    }

    /// Nothing but pings, and the end.
    pub(crate) async fn expect_end(&mut self) {
        while let Some(event) = self.try_next().await {
            assert_eq!(event.event, "ping", "{event:?} where the end was expected");
        }
        if let Some(gunzip) = &mut self.gunzip {
            gunzip.try_finish().expect("a whole gzip stream, with the right sum");
        }
    }

    /// Gives exactly so many bytes of the body to the parser, then goes away, in the midst of whatever that is.
    /// Returns the events that were whole, and what it would offer to resume with.
    pub(crate) async fn cut_after(self, bytes: usize) -> (Vec<Event>, SseParser) {
        self.cut(bytes, false).await
    }

    /// The same, or all of a shorter replay: a ping says that it has caught up.
    pub(crate) async fn cut_replay_after(self, bytes: usize) -> (Vec<Event>, SseParser) {
        self.cut(bytes, true).await
    }

    async fn cut(mut self, bytes: usize, until_ping: bool) -> (Vec<Event>, SseParser) {
        let mut left = bytes;
        while left > 0 && !(until_ping && self.events.back().is_some_and(|event| event.event == "ping")) {
            let chunk = self.chunk().await.expect("so many bytes before the end");
            let taken = chunk.len().min(left);
            self.feed(&chunk[..taken]);
            left -= taken;
        }
        (self.events.into(), self.parser)
    }

    /// Waits for more bytes without reading an event of them: a comment, for example.
    pub(crate) async fn pump(&mut self) {
        let bytes = self.chunk().await.expect("bytes before the end");
        self.feed(&bytes);
    }

    /// Closes with RST.
    pub(crate) fn reset(self) {
        match self.source {
            Source::Http1 { raw, .. } => raw.reset(),
            // The task owns the socket: what goes with it is the stream, by RST_STREAM.
            Source::Http2 { body, .. } => drop(body),
        }
    }

    /// Leaves without a word above TCP: FIN, or RST where bytes are unread.
    pub(crate) fn abort(self) {
        if let Source::Http2 { driver, .. } = self.source {
            driver.abort();
        }
    }

    /// Ends its sending side and waits for the server to end the other.
    pub(crate) async fn finish(mut self) {
        match &mut self.source {
            Source::Http1 { raw, .. } => {
                tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.unwrap();
                raw.until_end().await;
            }
            Source::Http2 { driver, .. } => driver.abort(),
        }
    }
}
