//! The first bytes of a stream: head and `connected`.

use crate::support::{Subscriber, Subscription, Wire, config, serve};
use fanfare::SseConfig;
use std::time::Duration;

pub(crate) async fn the_head_is_what_proxies_and_browsers_need(wire: Wire) {
    let server = serve(wire, config()).await;
    let subscriber = Subscriber::open(&server, &Subscription::default()).await;
    let head = &subscriber.head;
    assert_eq!(head.status, 200);
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.get("cache-control"), Some("no-store, no-transform"));
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    let vary = head.get("vary").unwrap();
    assert!(vary.split(", ").any(|name| name.eq_ignore_ascii_case("accept")), "{vary}");
    assert_eq!(head.get("content-length"), None);
    assert_eq!(head.get("content-encoding"), wire.is_compressed().then_some("gzip"));
    let date = head.get("date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    match wire {
        Wire::Takeover | Wire::Gzip => {
            assert_eq!(head.get("connection"), Some("close"));
            assert_eq!(head.get("transfer-encoding"), None, "delimited by close");
        }
        Wire::Axum | Wire::AxumGzip => assert!(head.is_chunked()),
        Wire::AxumHttp2 | Wire::Http2 => {
            assert_eq!(head.get("connection"), None);
            assert_eq!(head.get("transfer-encoding"), None);
        }
    }
}

pub(crate) async fn connected_comes_first_and_at_once_with_every_field(wire: Wire) {
    let settings = SseConfig { ping_interval: Duration::from_millis(234_567), ..config() };
    let server = serve(wire, settings).await;
    server.manager.broadcast(fanfare::SseEvent::new("earlier", 1)).unwrap();
    let (_subscriber, connected) = Subscriber::connect(&server, "userId=ann&sessionId=s%201&topic=t&page=home").await;
    let data = connected.json();
    let client_id = data["clientId"].as_str().unwrap();
    assert!(!client_id.is_empty() && client_id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{client_id}");
    let whole = serde_json::json!({
        "clientId": client_id, "userId": "ann", "sessionId": "s 1", "heartbeatInterval": 234_567, "resume": "live"
    });
    assert_eq!(data, whole);
    assert_eq!(connected.id, server.manager.cursor(), "live: the present");
    assert!((2_000..=6_000).contains(&connected.retry.unwrap()), "{connected:?}");
    let clients = server.get("/api/sse/clients").await.json();
    assert_eq!(clients["clients"][0]["clientId"], client_id);
}

pub(crate) async fn connected_leaves_away_what_was_not_given(wire: Wire) {
    let server = serve(wire, config()).await;
    let mut retries = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let (_, connected) = Subscriber::connect(&server, "").await;
        let data = connected.json();
        let keys: Vec<&String> = data.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["clientId", "heartbeatInterval", "resume"]);
        retries.insert(connected.retry.unwrap());
    }
    assert!(retries.len() > 1, "reconnection times are jittered: {retries:?}");
}

pub(crate) async fn a_head_request_gets_the_head_and_takes_no_place(wire: Wire) {
    let server = serve(wire, config()).await;
    let answer = server.request("HEAD", "/api/sse?userId=ann", &[("accept", "text/event-stream")], b"").await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.get("content-type"), Some("text/event-stream"));
    assert_eq!(answer.head.get("cache-control"), Some("no-store, no-transform"));
    assert!(answer.body.is_empty(), "{:?}", answer.body);
    let stats = server.stats().await;
    assert_eq!(stats["totalClients"], 0);
    assert_eq!(stats["disconnects"]["gone"], 0);
}
