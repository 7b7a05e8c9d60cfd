//! Clients by the thousand.

use crate::support::{Event, PATIENCE, Raw, SseParser, request_text};
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Connects under way at one time.
const AT_ONCE: usize = 250;

/// One client, with all it received.
#[derive(Debug)]
pub(crate) struct Client {
    raw: Raw,
    parser: SseParser,
    parsed: usize,
}

impl Client {
    async fn ask(stream: TcpStream, query: &str) -> Self {
        let mut raw = Raw { stream, rest: Vec::new() };
        let headers = [("accept", "text/event-stream")];
        raw.send(request_text("GET", &format!("/api/sse?{query}"), &headers, b"")).await;
        Self { raw, parser: SseParser::default(), parsed: 0 }
    }

    /// Sends its request, and does not wait for the answer.
    pub(crate) async fn request(addr: SocketAddr, query: &str) -> Self {
        Self::ask(TcpStream::connect(addr).await.unwrap(), query).await
    }

    /// Reads the greeting, or the refusal: in any case the head and a whole frame.
    pub(crate) async fn read_connected(&mut self) {
        let greeted = |rest: &[u8]| rest.windows(2).any(|end| end == b"\n\n");
        while !greeted(&self.raw.rest) {
            assert!(self.raw.fill().await, "{:?}", self.text());
        }
        let body = self.text().split_once("\r\n\r\n").unwrap().1.to_owned();
        self.raw.rest = body.into_bytes();
        // It may be one of thousands.
        self.raw.rest.shrink_to_fit();
    }

    /// What it received, from the greeting on.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.raw.rest).unwrap()
    }

    /// Reads on until a text has come and its frame is whole.
    pub(crate) async fn read_until(mut self, text: &str) -> Self {
        let came = |rest: &[u8]| {
            let tail = &rest[rest.len().saturating_sub(200)..];
            tail.ends_with(b"\n\n") && tail.windows(text.len()).any(|window| window == text.as_bytes())
        };
        while !came(&self.raw.rest) {
            assert!(self.raw.fill().await, "{text:?} never came: {} bytes", self.raw.rest.len());
        }
        self
    }

    /// The next events of the application, through the parser.
    pub(crate) async fn read_events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            self.parser.feed(&self.raw.rest[self.parsed..], &mut events);
            events.retain(|event| event.event != "connected");
            self.raw.rest.clear();
            self.parsed = 0;
            if events.len() >= count {
                assert_eq!(events.len(), count);
                return events;
            }
            assert!(self.raw.fill().await, "the end after {} of {count} events", events.len());
        }
    }

    /// Goes, by FIN or by RST.
    pub(crate) fn leave(self, politely: bool) {
        if politely { drop(self) } else { self.raw.reset() }
    }
}

/// So many greeted clients, in order.
pub(crate) async fn connect(addr: SocketAddr, count: usize, query: impl Fn(usize) -> String) -> Vec<Client> {
    let mut clients: Vec<Option<Client>> = (0..count).map(|_| None).collect();
    let mut under_way = JoinSet::new();
    for number in 0..count {
        let query = query(number);
        under_way.spawn(async move {
            let connecting = async {
                let mut client = Client::request(addr, &query).await;
                client.read_connected().await;
                client
            };
            (number, tokio::time::timeout(PATIENCE, connecting).await.expect("a greeting in time"))
        });
        if under_way.len() >= AT_ONCE {
            let (number, client) = under_way.join_next().await.unwrap().unwrap();
            clients[number] = Some(client);
        }
    }
    while let Some(done) = under_way.join_next().await {
        let (number, client) = done.unwrap();
        clients[number] = Some(client);
    }
    clients.into_iter().map(Option::unwrap).collect()
}

/// Clients whose kernel keeps little for them, so that not reading shows soon.
pub(crate) async fn connect_with_small_buffers(addr: SocketAddr, count: usize, query: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut client = Client::ask(socket.connect(addr).await.unwrap(), query).await;
        client.read_connected().await;
        clients.push(client);
    }
    clients
}

/// Comes and goes so many times, in every way there is.
pub(crate) async fn churn(addr: SocketAddr, count: usize) {
    let mut under_way = JoinSet::new();
    for number in 0..count {
        under_way.spawn(async move {
            let query = format!("userId=u{number}&sessionId=s{number}&topic=t{}&page=p{number}", number % 50);
            match number % 8 {
                // Without a word, with half a request, and with a request whose answer it does not wait for.
                0 => drop(TcpStream::connect(addr).await.unwrap()),
                1 => {
                    let mut raw = Raw::connect(addr).await;
                    raw.send("GET /api/sse?userId=half HTTP/1.1\r\nhost: te").await;
                    if number % 16 == 1 { drop(raw) } else { raw.reset() }
                }
                2 => Client::request(addr, &query).await.leave(number % 16 == 2),
                _ => {
                    let mut client = Client::request(addr, &query).await;
                    client.read_connected().await;
                    client.leave(number % 2 == 0);
                }
            }
        });
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
}
