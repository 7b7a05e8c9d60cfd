//! Publishing over HTTP: one event, a list, NDJSON; all or nothing.

use crate::support::{Answer, Server, Subscriber};
use crate::{open, refusal};
use serde_json::{Value, json};

async fn ndjson(server: &Server, body: &str) -> Answer {
    server.request("POST", "/api/sse/publish", &[("content-type", "application/x-ndjson")], body.as_bytes()).await
}

#[tokio::test]
async fn the_answer_is_the_receipt_and_nothing_else() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    let answer =
        server.post("/api/sse/publish", json!({ "event": "n", "data": null, "id": "own", "retry": 5_000 })).await;
    let event = subscriber.next_own().await;
    assert_eq!(answer.json(), json!({ "id": event.id, "clients": 1, "durability": "memory" }));
    assert_eq!((event.data.as_str(), event.retry), ("null", Some(5_000)));
    let ephemeral = json!({ "event": "n", "data": 1, "ephemeral": true, "to": { "userId": "absent" } });
    let answer = server.post("/api/sse/publish", ephemeral).await;
    assert_eq!(answer.json(), json!({ "id": null, "clients": 0, "durability": "ephemeral" }));
}

#[tokio::test]
async fn a_list_and_ndjson_answer_with_a_list_in_their_order() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "userId=ann").await;
    let list = json!([
        { "event": "n", "data": 0 },
        { "event": "n", "data": 1, "to": { "userId": "bob" } },
        { "event": "n", "data": 2, "to": { "userId": "ann" } }
    ]);
    let answer = server.post("/api/sse/publish", list).await.json();
    let clients: Vec<_> = answer.as_array().unwrap().iter().map(|receipt| receipt["clients"].clone()).collect();
    assert_eq!(clients, [1, 0, 1]);
    assert_eq!(subscriber.next_own().await.id, answer[0]["id"].as_str().unwrap());
    assert_eq!(subscriber.next_own().await.id, answer[2]["id"].as_str().unwrap());

    let one = server.post("/api/sse/publish", json!([{ "event": "n", "data": 3 }])).await.json();
    assert_eq!(one.as_array().map(Vec::len), Some(1), "a list of one is a list");
    let lines = "{\"event\":\"n\",\"data\":4}\r\n\n  {\"event\": \"n\", \"data\": \"x\\ny\"}\n";
    let answer = ndjson(&server, lines).await.json();
    assert_eq!(answer.as_array().map(Vec::len), Some(2), "empty lines are passed over: {answer}");
    assert_eq!(subscriber.data(3).await, ["3", "4", "\"x\\ny\""]);
    assert_eq!(server.post("/api/sse/publish", "[]").await.json(), json!([]));
}

#[tokio::test]
async fn one_bad_event_keeps_all_of_them_out() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    let before = server.manager.cursor();
    let good = json!({ "event": "n", "data": 1 });
    let cases: [(Value, &[&str]); 6] = [
        (json!([good, { "event": "n" }]), &["#/1/data"]),
        (json!([good, good, 7]), &["#/2"]),
        (json!([{ "event": "ping", "data": 1 }, good]), &["#/0/event"]),
        (json!([good, { "event": "n", "data": 1, "to": { "userId": "" } }]), &["#/1/to/userId"]),
        (json!([good, { "event": "n", "data": 1, "id": "a~b" }, good]), &["#/1/id"]),
        (json!([{ "data": 1 }, good, { "event": "n", "data": 1, "to": {} }]), &["#/0/event", "#/2/to"]),
    ];
    for (body, pointers) in &cases {
        let answer = server.post("/api/sse/publish", body).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", pointers), "{body}");
        let lines: Vec<String> = body.as_array().unwrap().iter().map(Value::to_string).collect();
        let lines = lines.join("\n");
        let answer = ndjson(&server, &lines).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", pointers), "{lines}");
    }
    let answer = ndjson(&server, "{\"event\":\"n\",\"data\":1}\n{\"event\":").await;
    assert_eq!(answer.problem(), refusal(400, "malformed", &["#/1"]));
    let answer = ndjson(&server, "\n \n").await;
    assert_eq!(answer.problem(), refusal(400, "malformed", &[]));
    assert_eq!(server.manager.cursor(), before, "nothing was logged");
    assert_eq!(server.stats().await["totalEventsPublished"], 0);
    server.manager.broadcast(fanfare::SseEvent::new("n", "marker")).unwrap();
    assert_eq!(subscriber.data(1).await, ["\"marker\""], "nor delivered");
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_pointed_at() {
    let server = open().await;
    let with = |key: &str, value: Value| {
        let mut event = json!({ "event": "n", "data": 1 });
        event[key] = value;
        event
    };
    let mut cases = vec![
        (json!({ "data": 1 }), "#/event"),
        (json!({ "event": "n" }), "#/data"),
        (json!(7), "#"),
        (json!("text"), "#"),
        (json!(null), "#"),
        (with("to", Value::Null), "#/to"),
        (with("type", json!("x")), "#/type"),
        (with("a/b~c é", json!(1)), "#/a~1b~0c%20%C3%A9"),
    ];
    for bad in [json!(null), json!(1), json!(""), json!("connected"), json!("ping"), json!("$gap"), json!("$")] {
        cases.push((with("event", bad), "#/event"));
    }
    for bad in ["\n", "\r", "\u{0}", "a\nb", "a\r\ndata: x", "a\u{0}", "\u{1f}", "\u{7f}", "\u{85}", "a\u{2028}b"] {
        cases.push((with("event", json!(bad)), "#/event"));
    }
    let bad_ids = ["", "a b", "a~b", "a\nb", "a\r", "\u{0}", "é", "\u{7f}", "a\tb", "~"];
    cases.extend(bad_ids.map(|bad| (with("id", json!(bad)), "#/id")));
    cases.extend([json!(null), json!(7)].map(|bad| (with("id", bad), "#/id")));
    let bad_retries = [json!(-1), json!(1.5), json!("5"), json!(null), json!(86_400_001), json!(1e300)];
    cases.extend(bad_retries.map(|bad| (with("retry", bad), "#/retry")));
    cases.extend([json!(null), json!(1), json!("true")].map(|bad| (with("ephemeral", bad), "#/ephemeral")));
    for (body, pointer) in &cases {
        let answer = server.post("/api/sse/publish", body).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &[pointer]), "{body}");
    }
    assert_eq!(server.stats().await["totalEventsPublished"], 0);
}

#[tokio::test]
async fn several_faults_are_named_together() {
    let server = open().await;
    let answer = server.post("/api/sse/publish", json!({ "id": 1, "retry": -1, "x": 1, "to": { "topic": 1 } })).await;
    let (status, _, mut pointers) = answer.problem();
    pointers.sort();
    assert_eq!(status, 422);
    assert_eq!(pointers, ["#/data", "#/event", "#/id", "#/retry", "#/to/topic", "#/x"]);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_malformed() {
    let server = open().await;
    let bodies: [&[u8]; 10] = [
        b"",
        b"{",
        b"{\"event\":\"n\",\"data\":1",
        b"{\"event\":\"n\",\"data\":1}}",
        b"{\"event\":\"n\",\"data\":1} x",
        b"{'event':'n'}",
        b"event=n&data=1",
        b"{\"event\":\"n\",\"data\":NaN}",
        b"{\"event\":\"n\",\"data\":\"\xff\"}",
        b"{\"event\":\"n\",\"data\":\"a\nb\"}",
    ];
    for body in bodies {
        for path in ["publish", "demo", "notify/success"] {
            let target = format!("/api/sse/{path}");
            let answer = server.request("POST", &target, &[("content-type", "application/json")], body).await;
            let (status, slug, _) = answer.problem();
            assert_eq!((status, slug.as_str()), (400, "malformed"), "{path}: {:?}", String::from_utf8_lossy(body));
        }
    }
}

#[tokio::test]
async fn a_key_given_twice_is_refused_and_free_data_is_not_looked_into() {
    let server = open().await;
    let (mut subscriber, _) = Subscriber::connect(&server, "").await;
    let twice = [
        (r#"{"event":"n","data":1,"event":"m"}"#, "#/event"),
        (r#"{"event":"n","data":1,"to":{"userId":"a","userId":"b"}}"#, "#/to/userId"),
        (r#"{"event":"n","data":1,"to":{"filter":{"metadata":{"a":"1","\u0061":"2"}}}}"#, "#/to/filter/metadata/a"),
    ];
    for (body, pointer) in twice {
        let answer = server.post("/api/sse/publish", body).await;
        assert_eq!(answer.problem(), refusal(422, "invalid", &[pointer]), "{body}");
    }
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for data in [r#"{"a":1,"a":2,"":{}}"#, "\"\\ud800\"", &deep] {
        let body = format!("{{\"event\":\"n\",\"data\":{data}}}");
        let answer = server.post("/api/sse/publish", &body).await;
        assert_eq!(answer.head.status, 200, "{}", answer.text());
        assert_eq!(subscriber.next_own().await.data, *data);
    }
}
