//! Every limit, at its value and one beyond, as `fixtures/limits.json` has it.

use crate::support::{Answer, Raw, Server, fixture, request_text};
use crate::{open, refusal};
use fanfare::SseConfig;
use serde_json::{Value, json};
use std::fmt::Write as _;

fn limit(name: &str) -> usize {
    usize::try_from(fixture("limits.json")[name].as_u64().unwrap()).unwrap()
}

async fn publish(server: &Server, body: &Value) -> Answer {
    server.post("/api/sse/publish", body).await
}

/// Only the status line and the head: streams do not end.
async fn subscribe_status(server: &Server, query: &str) -> (u16, Option<(u16, String, Vec<String>)>) {
    let mut raw = Raw::connect(server.addr).await;
    raw.send(request_text("GET", &format!("/api/sse?{query}"), &[("connection", "close")], b"")).await;
    let head = raw.head().await;
    if head.status == 200 {
        return (200, None);
    }
    let answer = Answer { body: raw.until_end().await, head };
    (answer.head.status, Some(answer.problem()))
}

#[tokio::test]
async fn the_numbers_of_the_crate_are_the_golden_ones() {
    use fanfare::limits as own;
    for (name, value) in [
        ("typeBytes", own::EVENT_TYPE_MAX),
        ("publisherIdBytes", own::EVENT_ID_MAX),
        ("userIdBytes", own::NAME_MAX),
        ("metadataPairs", own::METADATA_MAX),
        ("topics", own::TOPICS_MAX),
        ("userIds", own::USERS_MAX),
        ("dataBytes", own::DATA_MAX),
        ("batchEvents", own::BATCH_MAX),
        ("cursorBytes", own::CURSOR_MAX),
        ("bodyBytes", fanfare::BODY_MAX),
        ("urlBytes", fanfare::URL_MAX),
        ("headBytes", fanfare::HEAD_MAX),
        ("memoryLogBytes", SseConfig::default().history_bytes),
        ("idempotencyKeys", SseConfig::default().idempotency_keys),
    ] {
        assert_eq!(limit(name), value, "{name}");
    }
    assert_eq!(limit("memoryLogMs") as u128, SseConfig::default().history_age.as_millis());
    assert_eq!((limit("streamLifetimeMs"), SseConfig::default().lifetime), (0, None));
}

#[tokio::test]
async fn parts_of_an_event_at_their_limits_and_beyond() {
    let server = open().await;
    let event = |event: &str, data: &str, id: &str| json!({ "event": event, "data": data, "id": id });
    let (types, ids, data) = (limit("typeBytes"), limit("publisherIdBytes"), limit("dataBytes"));
    let of = |len: usize| "x".repeat(len);
    assert_eq!(publish(&server, &event(&of(types), "", "i")).await.head.status, 200);
    let answer = publish(&server, &event(&of(types + 1), "", "i")).await;
    assert_eq!(answer.problem(), refusal(422, "invalid", &["#/event"]));
    // Bytes, not characters.
    let answer = publish(&server, &event(&"é".repeat(types / 2 + 1), "", "i")).await;
    assert_eq!(answer.problem(), refusal(422, "invalid", &["#/event"]));
    assert_eq!(publish(&server, &event("n", "", &of(ids))).await.head.status, 200);
    let answer = publish(&server, &event("n", "", &of(ids + 1))).await;
    assert_eq!(answer.problem(), refusal(422, "invalid", &["#/id"]));
    assert_eq!(publish(&server, &event("n", &of(data - 2), "i")).await.head.status, 200);
    let answer = publish(&server, &event("n", &of(data - 1), "i")).await;
    assert_eq!(answer.problem(), refusal(413, "too-large", &["#/data"]));
    let answer = publish(&server, &json!([{ "event": "n", "data": 1 }, event("n", &of(data - 1), "i")])).await;
    assert_eq!(answer.problem(), refusal(413, "too-large", &["#/1/data"]));
}

#[tokio::test]
async fn users_pairs_and_batches_at_their_limits_and_beyond() {
    let server = open().await;
    let users = |count: usize| -> Value {
        let users: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
        json!({ "event": "n", "data": 1, "to": { "userIds": users } })
    };
    assert_eq!(publish(&server, &users(limit("userIds"))).await.head.status, 200);
    let answer = publish(&server, &users(limit("userIds") + 1)).await;
    assert_eq!(answer.problem(), refusal(422, "invalid", &["#/to/userIds"]));
    let filter = |count: usize| -> Value {
        let pairs: serde_json::Map<String, Value> = (0..count).map(|n| (format!("k{n}"), "v".into())).collect();
        json!({ "event": "n", "data": 1, "to": { "filter": { "metadata": pairs } } })
    };
    assert_eq!(publish(&server, &filter(limit("metadataPairs"))).await.head.status, 200);
    let answer = publish(&server, &filter(limit("metadataPairs") + 1)).await;
    assert_eq!(answer.problem(), refusal(422, "invalid", &["#/to/filter/metadata"]));

    let before = server.manager.stats().total_events_published;
    let batch = |count: usize| vec![json!({ "event": "n", "data": 1 }); count];
    let answer = publish(&server, &json!(batch(limit("batchEvents") + 1))).await;
    assert_eq!(answer.problem(), refusal(413, "too-large", &["#"]));
    assert_eq!(server.manager.stats().total_events_published, before);
    let answer = publish(&server, &json!(batch(limit("batchEvents")))).await;
    assert_eq!(answer.json().as_array().unwrap().len(), limit("batchEvents"));
    let mut lines = String::new();
    for event in batch(limit("batchEvents") + 1) {
        writeln!(lines, "{event}").unwrap();
    }
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.request("POST", "/api/sse/publish", &headers, lines.as_bytes()).await;
    assert_eq!(answer.problem(), refusal(413, "too-large", &["#"]));
}

#[tokio::test]
async fn a_body_at_its_limit_and_beyond_announced_or_not() {
    let server = open().await;
    let body = |len: usize| {
        let mut body = json!({ "event": "n", "data": 1 }).to_string();
        body.extend(std::iter::repeat_n(' ', len - body.len()));
        body
    };
    let max = limit("bodyBytes");
    for path in ["publish", "demo", "notify/success"] {
        let target = format!("/api/sse/{path}");
        let answer = server.post(&target, body(max)).await;
        assert_ne!(answer.head.status, 413, "{path}");
        let answer = server.post(&target, body(max + 1)).await;
        assert_eq!(answer.problem(), refusal(413, "too-large", &[]), "{path}");
    }
    let chunked = |body: &str| {
        let head = "POST /api/sse/publish HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    for (len, status) in [(max, 200), (max + 1, 413)] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(chunked(&body(len))).await;
        assert_eq!(raw.answer().await.head.status, status, "{len} bytes, not announced");
    }
}

#[tokio::test]
async fn names_of_a_subscriber_at_their_limits_and_beyond() {
    let server = open().await;
    let of = |len: usize| "x".repeat(len);
    let cases = [
        ("userIdBytes", "userId=", "#/query/userId"),
        ("sessionIdBytes", "sessionId=", "#/query/sessionId"),
        ("topicBytes", "topic=", "#/query/topic"),
        ("metadataValueBytes", "page=", "#/query/page"),
    ];
    for (name, parameter, pointer) in cases {
        assert_eq!(subscribe_status(&server, &format!("{parameter}{}", of(limit(name)))).await.0, 200, "{name}");
        let (_, problem) = subscribe_status(&server, &format!("{parameter}{}", of(limit(name) + 1))).await;
        assert_eq!(problem, Some(refusal(422, "invalid", &[pointer])), "{name}");
    }
    let max = limit("metadataNameBytes");
    assert_eq!(subscribe_status(&server, &format!("{}=v", of(max))).await.0, 200);
    assert_eq!(subscribe_status(&server, &format!("{}=v", of(max + 1))).await.0, 422);
    let many = |name: &str, count: usize| -> String {
        (0..count).map(|n| if name.is_empty() { format!("k{n}=v&") } else { format!("{name}=v{n}&") }).collect()
    };
    for (name, parameter, pointer) in [("topics", "topic", "#/query/topic"), ("metadataPairs", "", "#/query/metadata")]
    {
        assert_eq!(subscribe_status(&server, &many(parameter, limit(name))).await.0, 200, "{name}");
        let (_, problem) = subscribe_status(&server, &many(parameter, limit(name) + 1)).await;
        assert_eq!(problem, Some(refusal(422, "invalid", &[pointer])), "{name}");
    }
}

#[tokio::test]
async fn a_url_at_its_limit_and_beyond_on_every_endpoint() {
    let server = open().await;
    let max = limit("urlBytes");
    let padded = |path: &str, len: usize| {
        let mut target = format!("{path}?");
        while len - target.len() > 250 {
            let number = target.len();
            write!(target, "topic=t{number:0200}&").unwrap();
        }
        target.push_str("topic=");
        target.extend(std::iter::repeat_n('x', len - target.len()));
        target
    };
    let query = padded("/api/sse", max);
    assert_eq!(query.len(), max);
    assert_eq!(subscribe_status(&server, query.split_once('?').unwrap().1).await.0, 200);
    let endpoints = [
        ("GET", ""),
        ("GET", "/stats"),
        ("GET", "/cursor"),
        ("GET", "/events"),
        ("GET", "/clients"),
        ("POST", "/publish"),
        ("POST", "/demo"),
        ("POST", "/notify/success"),
        ("DELETE", "/clients/x"),
        ("DELETE", "/users/x"),
    ];
    for (method, path) in endpoints {
        let target = padded(&format!("/api/sse{path}"), max + 1);
        let answer = server.request(method, &target, &[("content-type", "application/json")], b"").await;
        assert_eq!(answer.problem(), refusal(414, "uri-too-long", &[]), "{method} {path}");
    }
}

#[tokio::test]
async fn a_head_at_its_limit_and_beyond() {
    let server = open().await;
    let max = limit("headBytes");
    let padded = |len: usize| {
        let mut text = "GET /api/sse/cursor HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-padding: ".to_owned();
        text.extend(std::iter::repeat_n('x', len - text.len() - 4));
        text + "\r\n\r\n"
    };
    for (len, status) in [(max, 200), (max + 1, 431), (4 * max, 431)] {
        let mut raw = Raw::connect(server.addr).await;
        raw.send(padded(len)).await;
        assert_eq!(raw.head().await.status, status, "{len} bytes");
    }
}
