//! `expectLastId`: an event that is published only behind the one that its publisher has seen.

use crate::support::{Answer, Server, Subscriber};
use crate::{open, refusal};
use serde_json::{Value, json};
use std::sync::Arc;

/// An event for the topic `t`.
fn event(data: Value, expected: &str) -> Value {
    json!({ "event": "n", "data": data, "to": { "topic": "t" }, "expectLastId": expected })
}

async fn publish(server: &Server, body: &Value) -> Answer {
    server.post("/api/sse/publish", body).await
}

/// The id of the one event of this body, which must be published.
async fn id_of(server: &Server, body: &Value) -> String {
    let answer = publish(server, body).await;
    assert_eq!(answer.head.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Checks that it is refused as a conflict at this place, and says which event is the last.
fn must_conflict(answer: &Answer, pointer: &str, last: Option<&str>) {
    assert_eq!(answer.problem(), refusal(409, "conflict", &[pointer]), "{}", answer.text());
    let document = answer.json();
    assert_eq!(document.get("lastId").and_then(Value::as_str), last, "{document}");
    assert!(last.is_none_or(|last| document["detail"].as_str().unwrap().contains(last)), "{document}");
}

#[tokio::test]
async fn an_event_is_published_behind_the_expected_one_only() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "topic=t").await;
    must_conflict(&publish(&server, &event(json!(0), "1.a.1")).await, "#/expectLastId", None);
    let first = id_of(&server, &event(json!(1), "none")).await;
    must_conflict(&publish(&server, &event(json!(0), "none")).await, "#/expectLastId", Some(&first));
    // What is for others does not count, nor does what is not kept.
    for to in [json!({ "all": true }), json!({ "userId": "t" }), json!({ "topic": "u" })] {
        id_of(&server, &json!({ "event": "other", "data": 1, "to": to })).await;
    }
    let passing = json!({ "event": "passing", "data": 1, "ephemeral": true, "to": { "topic": "t" } });
    assert_eq!(publish(&server, &passing).await.head.status, 200);
    // Of an id only the cursor counts, and its publisher's own part may be anything.
    let mut named = event(json!(2), &format!("{first}~what:ever"));
    named["id"] = json!("own");
    let second = id_of(&server, &named).await;
    let cursor = second.strip_suffix("~own").unwrap();
    let foreign = cursor.replacen("1.", "1.1", 1);
    for stale in [&first, "none", "garbage", "NONE", &foreign, &format!("1.{}", "z".repeat(600))] {
        let answer = publish(&server, &event(json!(0), stale)).await;
        must_conflict(&answer, "#/expectLastId", Some(cursor));
    }
    id_of(&server, &event(json!(3), &second)).await;
    let mut got = Vec::new();
    while got.last().is_none_or(|data| data != "3") {
        let event = subscriber.next_own().await;
        if event.event == "n" {
            got.push(event.data);
        }
    }
    assert_eq!(got, ["1", "2", "3"], "what was refused reached nobody");
}

#[tokio::test]
async fn a_list_is_published_whole_or_not_at_all() {
    let server = open().await;
    let last = id_of(&server, &event(json!(1), "none")).await;
    let plain = json!({ "event": "n", "data": 0 });
    let stale = json!([plain, event(json!(2), &last), event(json!(3), &last)]);
    must_conflict(&publish(&server, &stale).await, "#/2/expectLastId", Some(&last));
    let fresh = json!([{ "event": "n", "data": 0, "to": { "topic": "u" } }, { "event": "n", "data": 0,
        "to": { "topic": "u" }, "expectLastId": "none" }]);
    must_conflict(&publish(&server, &fresh).await, "#/1/expectLastId", None);
    let lines = format!("{}\n\n{}\n", plain, event(json!(2), "none"));
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.request("POST", "/api/sse/publish", &headers, lines.as_bytes()).await;
    must_conflict(&answer, "#/1/expectLastId", Some(&last));
    assert_eq!(server.manager.cursor(), last, "nothing was published");
    assert_eq!(publish(&server, &json!([plain, event(json!(2), &last)])).await.head.status, 200);
}

#[tokio::test]
async fn what_cannot_be_expected_is_refused() {
    let server = open().await;
    let mut cases = vec![event(json!(1), "")];
    for to in [
        json!({ "all": true }),
        json!({ "userId": "t" }),
        json!({ "userIds": ["t"] }),
        json!({ "userIds": [] }),
        json!({ "sessionId": "t" }),
        json!({ "clientId": "t" }),
        json!({ "filter": { "userId": "t" } }),
    ] {
        cases.push(json!({ "event": "n", "data": 1, "to": to, "expectLastId": "none" }));
    }
    cases.push(json!({ "event": "n", "data": 1, "expectLastId": "none" }));
    let mut ephemeral = event(json!(1), "none");
    ephemeral["ephemeral"] = json!(true);
    cases.push(ephemeral);
    for bad in [json!(null), json!(1), json!({})] {
        cases.push(json!({ "event": "n", "data": 1, "to": { "topic": "t" }, "expectLastId": bad }));
    }
    let good = event(json!(1), "none");
    for case in &cases {
        assert_eq!(publish(&server, case).await.problem(), refusal(422, "invalid", &["#/expectLastId"]), "{case}");
        let answer = publish(&server, &json!([good, good, good, case])).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &["#/3/expectLastId"]), "{case}");
    }
    assert_eq!(server.stats().await["totalEventsPublished"], 0);
}

#[tokio::test]
async fn of_concurrent_publishers_with_the_same_expectation_one_is_first() {
    let server = Arc::new(open().await);
    let mut last = "none".to_owned();
    for round in 0..5 {
        let publishers: Vec<_> = (0..16)
            .map(|number| {
                let (server, body) = (Arc::clone(&server), event(json!([round, number]), &last));
                tokio::spawn(async move { publish(&server, &body).await })
            })
            .collect();
        let (mut won, mut beaten) = (Vec::new(), Vec::new());
        for publisher in publishers {
            let answer = publisher.await.unwrap();
            if answer.head.status == 200 { won.push(answer) } else { beaten.push(answer) }
        }
        assert_eq!(won.len(), 1, "round {round}");
        won[0].json()["id"].as_str().unwrap().clone_into(&mut last);
        for answer in &beaten {
            must_conflict(answer, "#/expectLastId", Some(&last));
        }
    }
    assert_eq!(server.stats().await["totalEventsPublished"], 5);
}

#[tokio::test]
async fn a_repeated_key_gets_its_answer_and_a_conflict_leaves_the_key_free() {
    let server = open().await;
    let post = async |key: &str, body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        server.request("POST", "/api/sse/publish", &headers, body.to_string().as_bytes()).await
    };
    let first = post("k", &event(json!(1), "none")).await;
    let second = event(json!(2), first.json()["id"].as_str().unwrap());
    // Refused, and not remembered: the same key may be used for the mended request.
    let stale = post("k2", &event(json!(2), "none")).await;
    must_conflict(&stale, "#/expectLastId", first.json()["id"].as_str());
    let last = post("k2", &second).await.json()["id"].as_str().unwrap().to_owned();
    // The topic has moved on, and what was published stays published.
    assert_eq!(post("k", &event(json!(1), "none")).await.text(), first.text());
    assert_eq!(post("k2", &second).await.json()["id"], json!(last));
    must_conflict(&post("k3", &second).await, "#/expectLastId", Some(&last));
    assert_eq!(server.stats().await["totalEventsPublished"], 2);
}
