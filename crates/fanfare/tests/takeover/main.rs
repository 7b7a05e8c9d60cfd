//! Taking sockets out of hyper, seen in raw bytes: what is taken over and what is not, and that nothing else of the
//! embedding application suffers from it.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod connections;
mod middleware;
#[path = "../support/mod.rs"]
mod support;

use axum::Router;
use fanfare::SseManager;
use support::{Head, Raw, Server, Wire, config, serve_app};

/// The endpoints in an application, under `fanfare::serve`.
async fn with(configure: impl FnOnce(Router) -> Router) -> Server {
    let manager = SseManager::new(config()).unwrap();
    let app = configure(fanfare::router(manager.clone()).allow_all().into_router());
    serve_app(Wire::Takeover, manager, app).await
}

const SUBSCRIBE: &str = "GET /api/sse HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n\r\n";

/// Delimited by close, not by chunks: what only a socket of our own is.
fn is_taken_over(head: &Head) -> bool {
    head.status == 200 && !head.is_chunked() && head.get("connection") == Some("close")
}

/// Reads on until a text has come.
async fn read_until(raw: &mut Raw, text: &str) {
    while !String::from_utf8_lossy(&raw.rest).contains(text) {
        assert!(raw.fill().await, "{text:?} did not come: {:?}", String::from_utf8_lossy(&raw.rest));
    }
}

/// Reads until an event of the application arrives, published once `connected` was there.
async fn expect_a_working_stream(server: &Server, raw: &mut Raw) {
    read_until(raw, "event: connected\n").await;
    server.manager.broadcast(fanfare::SseEvent::new("probe", "it works")).unwrap();
    read_until(raw, "event: probe\ndata: \"it works\"\n\n").await;
}
