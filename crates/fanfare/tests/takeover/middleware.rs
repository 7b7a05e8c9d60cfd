//! Middleware around the stream: what changes it is respected, what only watches costs nothing.

use crate::support::{Chunks, Raw, Server};
use crate::{SUBSCRIBE, expect_a_working_stream, is_taken_over, with};
use axum::body::Body;
use axum::middleware::map_response;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// A body around a body: writes everything in capitals, or only holds a guard.
struct Wrapped {
    inner: Body,
    capitals: bool,
    _guard: Option<Guard>,
}

impl http_body::Body for Wrapped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let capitals = self.capitals;
        let change = |bytes: Bytes| if capitals { bytes.to_ascii_uppercase().into() } else { bytes };
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(change))))
    }

    fn size_hint(&self) -> SizeHint {
        // What changes the data cannot know its size.
        if self.capitals { SizeHint::default() } else { self.inner.size_hint() }
    }
}

/// Counts itself while it lives.
struct Guard(Arc<AtomicUsize>);

impl Guard {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn subscribe(server: &Server) -> (Raw, crate::support::Head) {
    let mut raw = Raw::connect(server.addr).await;
    raw.send(SUBSCRIBE).await;
    let head = raw.head().await;
    (raw, head)
}

#[tokio::test]
async fn a_layer_that_changes_the_data_is_respected() {
    let capitals =
        async |response: Response| response.map(|inner| Body::new(Wrapped { inner, capitals: true, _guard: None }));
    let server = with(|app| app.layer(map_response(capitals))).await;
    let (mut raw, head) = subscribe(&server).await;
    assert!(head.is_chunked(), "{head:?}");
    server.manager.broadcast(fanfare::SseEvent::new("probe", "small letters")).unwrap();
    let (mut chunks, mut text) = (Chunks::default(), String::new());
    while !text.contains("EVENT: PROBE\nDATA: \"SMALL LETTERS\"\n\n") {
        text += std::str::from_utf8(&chunks.decode(&std::mem::take(&mut raw.rest))).unwrap();
        assert!(raw.rest.is_empty() && (text.contains("SMALL") || raw.fill().await), "{text}");
    }
    drop(raw);
    server.clients_become(0).await;
}

#[tokio::test]
async fn a_response_that_says_it_was_changed_is_not_taken_over() {
    for (name, value) in [("content-encoding", "identity"), ("status", "202")] {
        let change = move |mut response: Response| {
            if name == "status" {
                *response.status_mut() = http::StatusCode::ACCEPTED;
            } else {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            std::future::ready(response)
        };
        let server = with(|app| app.layer(map_response(change))).await;
        let (mut raw, head) = subscribe(&server).await;
        let status = if name == "status" { 202 } else { 200 };
        assert!(head.status == status && head.is_chunked(), "{name}: {head:?}");
        expect_a_working_stream(&server, &mut raw).await;
    }
}

#[tokio::test]
async fn a_response_whose_body_was_replaced_is_sent_as_it_is_and_the_connection_forgotten() {
    let replace = async |response: Response| response.map(|_| Body::from("another body"));
    let server = with(|app| app.layer(map_response(replace))).await;
    let mut raw = Raw::connect(server.addr).await;
    raw.send(SUBSCRIBE).await;
    assert_eq!(raw.answer().await.text(), "another body");
    server.clients_become(0).await;
}

#[tokio::test]
async fn a_layer_that_only_watches_keeps_the_takeover_and_is_dropped_when_the_stream_ends() {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&in_flight);
    let watch = move |response: Response| {
        let guard = Guard::new(&count);
        async move { response.map(|inner| Body::new(Wrapped { inner, capitals: false, _guard: Some(guard) })) }
    };
    let server = with(|app| app.layer(map_response(watch))).await;
    let becomes = async |expected: usize| {
        let what = format!("{expected} in flight");
        crate::support::eventually(&what, || in_flight.load(Ordering::SeqCst) == expected).await;
    };
    let ends: [fn(&Server, Raw); 4] = [
        |_, raw| drop(raw),
        |_, raw| raw.reset(),
        |server, _| assert_eq!(server.manager.disconnect_user("ann"), 1),
        |server, _| server.manager.destroy(),
    ];
    for end in ends {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(crate::support::request_text("GET", "/api/sse?userId=ann", &[], b"")).await;
        assert!(is_taken_over(&raw.head().await));
        expect_a_working_stream(&server, &mut raw).await;
        assert_eq!(in_flight.load(Ordering::SeqCst), 1, "as long as the stream");
        end(&server, raw);
        becomes(0).await;
    }
}

#[tokio::test]
async fn ordinary_answers_go_through_the_layers_as_always() {
    let server = with(|app| {
        app.route("/hello", axum::routing::get(async || "hello")).layer(map_response(async |response: Response| {
            response.map(|inner| Body::new(Wrapped { inner, capitals: true, _guard: None }))
        }))
    })
    .await;
    assert_eq!(server.get("/hello").await.text(), "HELLO");
}

/// What its head says of the body is as the stream is made, or it is not ours to write.
#[tokio::test]
async fn a_compressed_stream_is_taken_over_while_its_head_says_so() {
    for (header, ours) in [(Some("gzip"), true), (Some("br"), false), (None, false)] {
        let change = move |mut response: Response| {
            match header {
                Some(encoding) => _ = response.headers_mut().insert("content-encoding", encoding.parse().unwrap()),
                None => _ = response.headers_mut().remove("content-encoding"),
            }
            std::future::ready(response)
        };
        let server = with(|app| app.layer(map_response(change))).await;
        let mut raw = Raw::connect(server.addr).await;
        raw.send(
            "GET /api/sse?sse.compression=gzip HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\naccept-encoding: gzip\r\n\r\n",
        )
        .await;
        assert_eq!(is_taken_over(&raw.head().await), ours, "{header:?}");
    }
}
