//! What the tests over real sockets share: servers on port 0, clients that see bytes, and waiting with a deadline.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod http;
pub(crate) mod sse;
mod subscriber;

pub(crate) use http::{Answer, Chunks, Head, Raw};
pub(crate) use sse::{Event, SseParser};
pub(crate) use subscriber::{Subscriber, Subscription};

use axum::Router;
use fanfare::{Compression, SseConfig, SseManager};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// No single step of a test may take longer: a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How clients speak to the server, and who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 under `axum::serve`: the pipe sink, chunked.
    Axum,
    /// The same, compressed.
    AxumGzip,
    /// HTTP/2 with prior knowledge under `axum::serve`.
    AxumHttp2,
    /// As [`Wire::Takeover`], compressed.
    Gzip,
    /// HTTP/2 with prior knowledge under `fanfare::serve`: the pipe sink.
    Http2,
    /// HTTP/1.1 under `fanfare::serve`: the socket is taken over.
    Takeover,
}

impl Wire {
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::AxumHttp2 | Self::Http2)
    }

    pub(crate) fn is_compressed(self) -> bool {
        matches!(self, Self::AxumGzip | Self::Gzip)
    }
}

/// A running server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) manager: SseManager,
    pub(crate) wire: Wire,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.manager.destroy();
    }
}

/// A server with every endpoint open.
pub(crate) async fn serve(wire: Wire, mut config: SseConfig) -> Server {
    if wire.is_compressed() {
        config.compression = Compression::On;
    }
    let manager = SseManager::new(config).unwrap();
    let app = fanfare::router(manager.clone()).allow_all().into_router();
    serve_app(wire, manager, app).await
}

pub(crate) async fn serve_app(wire: Wire, manager: SseManager, app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        match wire {
            Wire::Takeover | Wire::Gzip | Wire::Http2 => fanfare::serve(listener, app).await.unwrap(),
            Wire::Axum | Wire::AxumGzip | Wire::AxumHttp2 => axum::serve(listener, app).await.unwrap(),
        }
    });
    Server { addr, manager, wire, task }
}

/// Settings for tests: without a heartbeat unless asked for. The first may come early in an interval, so it is long.
pub(crate) fn config() -> SseConfig {
    SseConfig {
        ping_interval: Duration::from_secs(72_000),
        client_timeout: Duration::from_secs(144_000),
        max_clients: 10_000,
        ..SseConfig::default()
    }
}

/// The text of a request, `host` and the given headers included.
pub(crate) fn request_text(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() || method == "POST" {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// One request over HTTP/1.1, on a connection of its own.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut raw = Raw::connect(addr).await;
    let headers: Vec<_> = headers.iter().copied().chain([("connection", "close")]).collect();
    raw.send(request_text(method, target, &headers, body)).await;
    if method == "HEAD" {
        let head = raw.head().await;
        return Answer { head, body: raw.until_end().await };
    }
    raw.answer().await
}

impl Server {
    pub(crate) async fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(self.addr, method, target, headers, body).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"").await
    }

    pub(crate) async fn post(&self, target: &str, body: impl ToString) -> Answer {
        self.request("POST", target, &[("content-type", "application/json")], body.to_string().as_bytes()).await
    }

    /// Statistics as everybody sees them.
    pub(crate) async fn stats(&self) -> serde_json::Value {
        self.get("/api/sse/stats").await.json()
    }

    /// Waits until so many connections are registered.
    pub(crate) async fn clients_become(&self, clients: usize) {
        eventually(&format!("{clients} clients"), || self.manager.engine_stats().clients == clients).await;
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Text that does not compress to much less, the same each time.
pub(crate) fn noise(bytes: usize) -> String {
    let mut state = 1_u32;
    let draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'0' + (state >> 24) as u8 % 43)
    };
    std::iter::repeat_with(draw).take(bytes).collect()
}

/// A golden file.
pub(crate) fn fixture(name: &str) -> serde_json::Value {
    let path = format!("{}/../../fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Everything a query parameter may not hold as it is, escaped.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
        out
    })
}
