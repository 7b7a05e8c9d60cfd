//! Several event streams over one HTTP/2 connection, as browsers do it.

use crate::support::{Event, PATIENCE, SseParser, Wire, config, eventually, serve};
use fanfare::SseEvent;
use std::future::poll_fn;

struct Stream {
    body: h2::RecvStream,
    parser: SseParser,
    events: std::collections::VecDeque<Event>,
}

impl Stream {
    async fn open(sender: &mut h2::client::SendRequest<bytes::Bytes>, query: &str) -> Self {
        let request = http::Request::get(format!("http://test/api/sse?{query}")).body(()).unwrap();
        poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let body = response.await.unwrap().into_body();
        let mut stream = Self { body, parser: SseParser::default(), events: std::collections::VecDeque::new() };
        assert_eq!(stream.next().await.event, "connected");
        stream
    }

    async fn next(&mut self) -> Event {
        while self.events.is_empty() {
            let data = tokio::time::timeout(PATIENCE, self.body.data()).await.expect("bytes in time").unwrap().unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            let mut events = Vec::new();
            self.parser.feed(&data, &mut events);
            self.events.extend(events);
        }
        self.events.pop_front().unwrap()
    }
}

async fn streams_share_a_connection_and_end_alone(wire: Wire) {
    const STREAMS: usize = 50;
    let server = serve(wire, config()).await;
    let tcp = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    // As browsers have it: the window of the connection is many times that of a stream.
    let mut builder = h2::client::Builder::new();
    let (mut sender, connection) = builder.initial_connection_window_size(16 << 20).handshake(tcp).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        streams.push(Stream::open(&mut sender, &format!("userId=u{number}")).await);
    }
    // More than a stream's window: one who does not read holds up nobody else.
    let text = "x".repeat(10_000);
    for number in 0..20 {
        assert_eq!(server.manager.broadcast(SseEvent::new("n", format!("{number}:{text}"))), Ok(STREAMS));
    }
    for stream in &mut streams[1..] {
        for number in 0..20 {
            assert!(stream.next().await.data.starts_with(&format!("\"{number}:")));
        }
    }
    // RST_STREAM for every second one.
    let (mut number, before) = (0, streams.len());
    streams.retain(|_| {
        number += 1;
        number % 2 == 1
    });
    server.clients_become(before / 2).await;
    assert_eq!(server.manager.disconnect_user("u2"), 1);
    assert_eq!(streams[1].next().await.event, "$closing");
    for number in 0..20 {
        assert!(streams[0].next().await.data.starts_with(&format!("\"{number}:")), "the first catches up");
    }
    drop((streams, sender));
    server.clients_become(0).await;
    eventually("the connection ends", || driver.is_finished()).await;
}

#[tokio::test]
async fn under_our_server_streams_share_a_connection_and_end_alone() {
    streams_share_a_connection_and_end_alone(Wire::Http2).await;
}

#[tokio::test]
async fn under_axum_streams_share_a_connection_and_end_alone() {
    streams_share_a_connection_and_end_alone(Wire::AxumHttp2).await;
}
