//! Which streams are compressed: what the client accepts, what it asks for, and what the server is set to.

use crate::refusal;
use crate::support::{Server, Subscriber, Subscription, Wire, config, eventually, request_text, serve};
use fanfare::{Compression, ConnectionOptions, Encoding, SseConfig, SseEvent, SseManager, accepts_gzip};
use futures_core::Stream as _;
use http::{HeaderMap, HeaderValue, header};
use std::future::poll_fn;
use std::pin::pin;

async fn set_to(compression: Compression) -> Server {
    serve(Wire::Takeover, SseConfig { compression, ..config() }).await
}

async fn encoding(server: &Server, query: &str, accepts: Option<&str>) -> Option<String> {
    let mut subscription = Subscription::new(query);
    if let Some(accepts) = accepts {
        subscription = subscription.header("accept-encoding", accepts);
    }
    let mut subscriber = Subscriber::open(server, &subscription).await;
    assert_eq!(subscriber.head.status, 200);
    assert_eq!(subscriber.next().await.event, "connected");
    let vary = subscriber.head.get("vary").unwrap();
    assert!(vary.contains("accept-encoding"), "a cache must tell them apart: {vary}");
    subscriber.head.get("content-encoding").map(str::to_owned)
}

#[tokio::test]
async fn a_stream_is_compressed_where_the_client_accepts_it_and_client_and_setting_agree() {
    let browser = Some("gzip, deflate, br, zstd");
    let table = [
        (Compression::Off, [None, None, None]),
        (Compression::OptIn, [None, Some("gzip"), None]),
        (Compression::On, [Some("gzip"), Some("gzip"), None]),
    ];
    for (setting, expected) in table {
        let server = set_to(setting).await;
        for (query, expected) in ["", "sse.compression=gzip", "sse.compression=none"].into_iter().zip(expected) {
            assert_eq!(encoding(&server, query, browser).await.as_deref(), expected, "{setting:?} {query}");
            assert_eq!(encoding(&server, query, None).await, None, "{setting:?} {query}, who accepts nothing");
            assert_eq!(encoding(&server, query, Some("br")).await, None, "{setting:?} {query}, who accepts br");
        }
    }
}

#[test]
fn accept_encoding_is_read_as_its_standard_says() {
    let table = [
        ("gzip", true),
        ("GZip", true),
        ("x-gzip", true),
        ("br, gzip;q=0.5", true),
        ("br,gzip", true),
        ("*", true),
        ("identity, *;q=0.1", true),
        ("gzip;q=0.001", true),
        ("", false),
        ("identity", false),
        ("br, zstd", false),
        ("gzip;q=0", false),
        ("gzip;q=0.000", false),
        ("gzip; Q=0", false),
        ("*;q=0", false),
        ("gzip;q=0, *", false),
        ("notgzip, gzipped", false),
    ];
    for (value, expected) in table {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        assert_eq!(accepts_gzip(&headers), expected, "{value:?}");
    }
    let mut headers = HeaderMap::new();
    assert!(!accepts_gzip(&headers));
    headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static("br"));
    headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    assert!(accepts_gzip(&headers), "two lines are one list");
}

#[tokio::test]
async fn what_it_can_be_asked_is_checked() {
    let server = set_to(Compression::On).await;
    for query in ["sse.compression=br", "sse.compression=", "sse.compression=gzip&sse.compression=gzip"] {
        let answer = server.get(&format!("/api/sse?{query}")).await;
        assert_eq!(answer.problem(), refusal(400, "malformed", &["#/query/sse.compression"]), "{query}");
    }
}

#[tokio::test]
async fn a_head_request_says_how_the_stream_would_be_encoded() {
    let server = set_to(Compression::On).await;
    let answer = server.request("HEAD", "/api/sse", &[("accept-encoding", "gzip")], b"").await;
    assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn refusals_in_a_stream_and_pages_of_history_are_not_compressed() {
    let server = serve(Wire::Takeover, SseConfig { compression: Compression::On, max_clients: 1, ..config() }).await;
    let accepts = [("accept", "text/event-stream"), ("accept-encoding", "gzip")];
    let (_one, _) = Subscriber::connect(&server, "").await;
    let answer = server.request("GET", "/api/sse", &accepts, b"").await;
    assert_eq!(answer.head.get("content-encoding"), None);
    assert!(answer.text().contains("event: $closing\n"), "{:?}", answer.text());
    let page = server.request("GET", "/api/sse/events?sse.compression=gzip", &accepts, b"").await;
    assert!(page.json()["events"].is_array());
}

/// Every connection of a broadcast gets the same bytes for it.
#[tokio::test]
async fn the_same_events_are_the_same_compressed_bytes_for_everybody() {
    let server = set_to(Compression::On).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut raw = crate::support::Raw::connect(server.addr).await;
        let headers = [("accept", "text/event-stream"), ("accept-encoding", "gzip")];
        raw.send(request_text("GET", "/api/sse", &headers, b"")).await;
        raw.head().await;
        streams.push(raw);
    }
    eventually("three greetings", || server.manager.engine_stats().clients == 3).await;
    let data =
        serde_json::json!({ "symbol": "ACME", "price": 12.5, "bid": 12.4, "ask": 12.6, "trades": vec!["ACME"; 9] });
    server.manager.broadcast(SseEvent::new("price", &data)).unwrap();
    let mut last = Vec::new();
    for raw in &mut streams {
        // Ends with an empty stored block, as every flushed one does; the greeting is stored, and has text in it.
        while !raw.rest.ends_with(&[0, 0, 0xff, 0xff]) {
            assert!(raw.fill().await);
        }
        let greeting = raw.rest.windows(2).rposition(|two| two == b"\n\n").unwrap() + 2;
        last.push(raw.rest.split_off(greeting));
    }
    assert!(last[0].len() < data.to_string().len(), "compressed: {} bytes", last[0].len());
    assert!(last.iter().all(|bytes| *bytes == last[0]));
}

#[tokio::test]
async fn in_process_a_connection_is_read_as_events_whatever_its_encoding() {
    let manager = SseManager::new(config()).unwrap();
    let options = ConnectionOptions { encoding: Encoding::Gzip, ..ConnectionOptions::default() };
    let mut connection = pin!(manager.create_connection(options).unwrap());
    manager.broadcast(SseEvent::new("n", 1)).unwrap();
    for expected in ["connected", "n"] {
        let event = poll_fn(|context| connection.as_mut().poll_next(context)).await.unwrap().unwrap();
        assert_eq!(event.event, expected);
    }
    manager.destroy();
}
