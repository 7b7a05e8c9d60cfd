//! `Idempotency-Key`: the same request twice is one event, and a key belongs to one request.

use crate::support::{Answer, Server, Subscriber};
use crate::{open, refusal};
use serde_json::json;

async fn post(server: &Server, path: &str, key: &str, body: impl ToString) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.request("POST", &format!("/api/sse/{path}"), &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer_and_is_published_once() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    let requests = [
        ("publish", json!({ "event": "n", "data": 1 })),
        ("publish", json!([{ "event": "n", "data": 1 }, { "event": "n", "data": 2 }])),
        ("notify/success", json!({ "message": "m" })),
        ("demo", json!({ "type": "broadcast", "message": "m" })),
    ];
    for (number, (path, body)) in requests.iter().enumerate() {
        let key = format!("key-{number}");
        let first = post(&server, path, &key, body).await;
        assert_eq!(first.head.status, 200, "{}", first.text());
        for _ in 0..3 {
            assert_eq!(post(&server, path, &key, body).await.text(), first.text());
        }
    }
    assert_eq!(server.stats().await["totalEventsPublished"], 5);
    let (mut events, marker) = (0, fanfare::SseEvent::new("marker", 0));
    server.manager.broadcast(marker).unwrap();
    while subscriber.next_own().await.event != "marker" {
        events += 1;
    }
    assert_eq!(events, 5);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let server = open().await;
    let body = json!({ "event": "n", "data": 1 });
    assert_eq!(post(&server, "publish", "k", &body).await.head.status, 200);
    let reused = refusal(422, "idempotency-key-reused", &["#/header/Idempotency-Key"]);
    assert_eq!(post(&server, "publish", "k", json!({ "event": "n", "data": 2 })).await.problem(), reused);
    let message = json!({ "message": "m" });
    assert_eq!(post(&server, "notify/success", "k2", &message).await.head.status, 200);
    assert_eq!(post(&server, "notify/system", "k2", &message).await.problem(), reused, "another helper");
    assert_eq!(server.stats().await["totalEventsPublished"], 2);
}

#[tokio::test]
async fn concurrent_twins_are_one_publish() {
    let server = std::sync::Arc::new(open().await);
    for round in 0..5 {
        let twins: Vec<_> = (0..16)
            .map(|_| {
                let server = std::sync::Arc::clone(&server);
                tokio::spawn(async move {
                    let body = json!({ "event": "n", "data": round });
                    post(&server, "publish", &format!("round-{round}"), &body).await.text().to_owned()
                })
            })
            .collect();
        let mut answers = Vec::new();
        for twin in twins {
            answers.push(twin.await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(server.manager.stats().total_events_published, round + 1);
    }
}

#[tokio::test]
async fn a_refused_publish_may_be_sent_again_mended() {
    let server = open().await;
    assert_eq!(post(&server, "publish", "k", json!({ "event": "ping", "data": 1 })).await.head.status, 422);
    assert_eq!(post(&server, "publish", "k", json!({ "event": "n", "data": 1 })).await.head.status, 200);
}

#[tokio::test]
async fn a_key_is_given_once_and_has_a_bounded_length() {
    let server = open().await;
    let body = json!({ "event": "n", "data": 1 });
    let bad = refusal(400, "malformed", &["#/header/Idempotency-Key"]);
    for key in ["", &"k".repeat(256), "kéy"] {
        assert_eq!(post(&server, "publish", key, &body).await.problem(), bad, "{key:?}");
    }
    let headers = [("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = server.request("POST", "/api/sse/publish", &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.problem(), bad);
    assert_eq!(server.stats().await["totalEventsPublished"], 0);
    assert_eq!(post(&server, "publish", &"k".repeat(255), &body).await.head.status, 200);
}
