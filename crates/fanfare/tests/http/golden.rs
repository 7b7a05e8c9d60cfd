//! The golden files of targets and helpers, over HTTP: what arrives, at whom, and what is refused with which pointer.

use crate::support::{Server, Subscriber, escape, fixture};
use crate::{open, refusal};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt::Write as _;

#[derive(Deserialize)]
struct Helpers {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    path: String,
    args: Box<RawValue>,
    target: Option<Value>,
    event: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(default)]
    ephemeral: bool,
    #[serde(default)]
    nobody: bool,
    error: Option<Pointer>,
}

#[derive(Deserialize)]
struct Pointer {
    pointer: String,
}

/// JSON without white space between its tokens, by another way than the product's.
fn minified(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|c| {
            let keep = in_string || !c.is_ascii_whitespace();
            if *c == '"' && !escaped {
                in_string = !in_string;
            }
            escaped = *c == '\\' && !escaped;
            keep
        })
        .collect()
}

/// Query strings of connections that a target names, each once.
fn recipients(target: &Value) -> Vec<String> {
    let one = |parameter: &str, value: &Value| format!("{parameter}={}", escape(value.as_str().unwrap()));
    let (kind, value) = target.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "all" => vec![String::new(), "userId=somebody".into()],
        "userId" | "sessionId" | "topic" => vec![one(kind, value)],
        "userIds" => value.as_array().unwrap().iter().map(|user| one("userId", user)).collect(),
        "clientId" => Vec::new(),
        "filter" => {
            let mut query = "other=1".to_owned();
            for name in ["userId", "sessionId"] {
                if let Some(value) = value.get(name) {
                    write!(query, "&{}", one(name, value)).unwrap();
                }
            }
            for (name, value) in value.get("metadata").and_then(Value::as_object).into_iter().flatten() {
                write!(query, "&{}", one(&escape(name), value)).unwrap();
            }
            vec![query]
        }
        other => panic!("a target of an unknown kind: {other}"),
    }
}

/// Sends something for a target; gives what everybody whom the target names received, after checking that it is the
/// same, and that nobody else received it.
async fn deliver(
    server: &Server,
    path: &str,
    body: &str,
    target: &Value,
    name: &str,
) -> (Value, Vec<(String, String)>) {
    let (mut outsider, _) = Subscriber::connect(server, "userId=outsider&page=none").await;
    let mut subscribers = Vec::new();
    for query in recipients(target) {
        subscribers.push(Subscriber::connect(server, &query).await.0);
    }
    let answer = server.post(path, body).await;
    assert_eq!(answer.head.status, 200, "{name}: {}", answer.text());
    let receipt = answer.json();
    let everybody = target.get("all").is_some();
    assert_eq!(receipt["clients"], subscribers.len() + usize::from(everybody), "{name}");
    let mut received = Vec::new();
    for subscriber in &mut subscribers {
        let event = subscriber.next_own().await;
        if !receipt["id"].is_null() {
            assert_eq!(receipt["id"], event.id, "{name}");
        }
        received.push((event.event, event.data));
    }
    received.dedup();
    server.manager.broadcast(fanfare::SseEvent::new("marker", 0)).unwrap();
    let first = outsider.next_own().await;
    assert_eq!(first.event == "marker", !everybody, "{name}: {first:?}");
    drop((outsider, subscribers));
    server.clients_become(0).await;
    (receipt, received)
}

#[tokio::test]
async fn every_helper_sends_the_golden_payload_to_the_golden_target() {
    let server = open().await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/helpers.json")).unwrap();
    let helpers: Helpers = serde_json::from_str(&text).unwrap();
    let mut sent = 0;
    for case in helpers.cases.iter().filter(|case| case.error.is_none()) {
        let name = format!("{}: {}", case.path, case.name);
        let path = format!("/api/sse/notify/{}", case.path);
        let target = case.target.as_ref().unwrap();
        let (receipt, received) = deliver(&server, &path, case.args.get(), target, &name).await;
        assert_eq!(receipt["id"].is_null(), case.ephemeral || case.nobody, "{name}: {receipt}");
        if case.nobody {
            assert!(received.is_empty(), "{name}: {received:?}");
            continue;
        }
        let [(event, data)] = received.as_slice() else { panic!("{name}: {received:?}") };
        assert_eq!(Some(event), case.event.as_ref(), "{name}");
        let (payload, timestamp) = data.rsplit_once(",\"timestamp\":").expect("timestamp is the last key");
        let expected = minified(case.data.as_ref().unwrap().get());
        assert_eq!(format!("{payload}}}"), expected, "{name}");
        assert!(timestamp.strip_suffix('}').is_some_and(|digits| digits.parse::<u64>().is_ok()), "{name}: {timestamp}");
        sent += 1;
    }
    assert!(sent > 40, "{sent} cases");
}

#[tokio::test]
async fn what_a_helper_may_not_take_is_refused_with_the_golden_pointer() {
    let server = open().await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/helpers.json")).unwrap();
    let helpers: Helpers = serde_json::from_str(&text).unwrap();
    let mut refused = 0;
    for case in &helpers.cases {
        let Some(error) = &case.error else { continue };
        let answer = server.post(&format!("/api/sse/notify/{}", case.path), case.args.get()).await;
        let name = format!("{}: {}: {}", case.path, case.name, answer.text());
        assert_eq!(answer.problem(), refusal(422, "invalid", &[&error.pointer]), "{name}");
        refused += 1;
    }
    assert!(refused > 60, "{refused} cases");
    assert_eq!(server.stats().await["totalEventsPublished"], 0, "nothing was published");
}

#[tokio::test]
async fn every_golden_target_reaches_whom_it_names() {
    let server = open().await;
    let cases = fixture("to.json");
    for case in cases["valid"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let body = case["body"].to_string();
        let (receipt, received) = deliver(&server, "/api/sse/publish", &body, &case["target"], name).await;
        let nobody = case["nobody"] == true;
        assert_eq!(receipt["id"].is_null(), nobody, "{name}");
        let client = case["target"].get("clientId").is_some();
        assert_eq!(received.is_empty(), nobody || client, "{name}");
        assert!(received.iter().all(|(event, data)| event == "update" && data == "1"), "{name}: {received:?}");
    }
}

#[tokio::test]
async fn every_golden_fault_of_a_target_is_refused_with_its_pointer() {
    let server = open().await;
    let cases = fixture("to.json");
    let before = server.manager.cursor();
    for case in cases["invalid"].as_array().unwrap() {
        let answer = server.post("/api/sse/publish", &case["body"]).await;
        let (status, slug, pointers) = answer.problem();
        let name = format!("{}: {}", case["name"], answer.text());
        assert_eq!((status, slug.as_str()), (422, "invalid"), "{name}");
        assert_eq!(pointers, [case["error"]["pointer"].as_str().unwrap()], "{name}");
    }
    assert_eq!(server.manager.cursor(), before, "nothing was logged");
}
