//! What is logged: the events of a connection's life with their fields, and never what users said.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod support;

use fanfare::{ConnectionOptions, SseConfig, SseEvent, SseManager};
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use support::{Subscriber, Subscription, Wire, config, eventually, serve_app};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Our lines, and where they are about a connection, about this one: threads of an earlier test may still talk.
    fn lines(&self, client_id: &str) -> Vec<Value> {
        let ours = |line: &Value| {
            line["target"] == "fanfare" && line["fields"]["client_id"].as_str().is_none_or(|about| about == client_id)
        };
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).filter(ours).collect()
    }

    /// The only line with this message, once it is there.
    async fn line(&self, message: &str, client_id: &str) -> Value {
        let found = || -> Vec<Value> {
            self.lines(client_id).into_iter().filter(|line| line["fields"]["message"] == message).collect()
        };
        eventually(message, || !found().is_empty()).await;
        let lines = found();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }
}

/// Everything that is logged in this process, for one test at a time.
fn log() -> (Buffer, tokio::sync::MutexGuard<'static, ()>) {
    static LOG: OnceLock<Buffer> = OnceLock::new();
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let guard = loop {
        if let Ok(guard) = ONE_AT_A_TIME.try_lock() {
            break guard;
        }
        std::thread::yield_now();
    };
    let log = LOG.get_or_init(|| {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(move || writer.clone());
        subscriber.init();
        buffer
    });
    let mut bytes: MutexGuard<'_, Vec<u8>> = log.0.lock().unwrap();
    bytes.clear();
    (log.clone(), guard)
}

#[tokio::test]
async fn a_connection_is_logged_when_it_comes_and_when_it_goes() {
    let (log, _guard) = log();
    let manager = SseManager::new(config()).unwrap();
    let mut connection = manager.create_connection(ConnectionOptions::default()).unwrap();
    let client_id = connection.client_id().to_owned();
    let line = log.line("client connected", &client_id).await;
    assert_eq!(line["level"], "INFO");
    assert_eq!((&line["fields"]["client_id"], &line["fields"]["resume"]), (&json!(client_id), &json!("live")));

    connection.next_event().await.unwrap();
    manager.broadcast(SseEvent::new("n", 1)).unwrap();
    connection.expect_event("n").await;
    assert!(manager.disconnect_client(&client_id));
    while connection.next_event().await.is_some() {}
    let line = log.line("client disconnected", &client_id).await;
    let fields = &line["fields"];
    assert_eq!((&line["level"], &fields["client_id"]), (&json!("INFO"), &json!(client_id)));
    assert_eq!((&fields["reason"], &fields["events"]), (&json!("disconnected"), &json!(1)));
    assert!(fields["bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{line}");
    assert!(fields["duration_ms"].is_u64(), "{line}");
}

#[tokio::test]
async fn a_publish_is_logged_for_debugging_and_a_refusal_as_a_warning() {
    let (log, _guard) = log();
    let manager = SseManager::new(SseConfig { max_clients: 1, ..config() }).unwrap();
    let _connection = manager.create_connection(ConnectionOptions::default()).unwrap();
    manager.broadcast(SseEvent::new("n", 1)).unwrap();
    let line = log.line("event published", "").await;
    assert_eq!((&line["level"], &line["fields"]["clients"]), (&json!("DEBUG"), &json!(1)));
    assert_eq!(line["fields"]["id"], manager.cursor());

    manager.broadcast(SseEvent::new("ping", 1)).unwrap_err();
    let line = log.line("event refused", "").await;
    assert_eq!((&line["level"], &line["fields"]["pointer"]), (&json!("WARN"), &json!("/event")));
    manager.create_connection(ConnectionOptions::default()).unwrap_err();
    assert_eq!(log.line("client refused: no room", "").await["level"], "WARN");
}

#[tokio::test]
async fn without_logging_only_warnings_are_left() {
    let (log, _guard) = log();
    let manager = SseManager::new(SseConfig { enable_logging: false, ..config() }).unwrap();
    let mut connection = manager.create_connection(ConnectionOptions::default()).unwrap();
    manager.broadcast(SseEvent::new("n", 1)).unwrap();
    connection.expect_event("n").await;
    let client_id = connection.client_id().to_owned();
    assert!(manager.disconnect_client(&client_id));
    while connection.next_event().await.is_some() {}
    manager.broadcast(SseEvent::new("ping", 1)).unwrap_err();
    let lines = log.lines(&client_id);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["fields"]["message"]), (&json!("WARN"), &json!("event refused")));
}

#[tokio::test]
async fn payloads_tokens_and_query_strings_are_never_logged() {
    let (log, _guard) = log();
    let manager = SseManager::new(SseConfig { max_clients: 1, ..config() }).unwrap();
    let hook = |request: fanfare::AccessRequest| async move {
        let known = request.headers.contains_key("authorization");
        if known { Ok(fanfare::Access::allow()) } else { Err(fanfare::Denied::forbidden("who is that")) }
    };
    let app = fanfare::router(manager.clone()).authorize(hook).into_router();
    let server = serve_app(Wire::Takeover, manager, app).await;
    let query = "userId=SECRET-user&sessionId=SECRET-session&topic=SECRET-topic&token=SECRET-query";
    let authorized = Subscription::new(query).header("authorization", "Bearer SECRET-token");
    let (subscriber, connected) = Subscriber::resume(&server, &authorized.clone().after("SECRET-cursor")).await;
    drop(Subscriber::open(&server, &authorized).await);
    drop(Subscriber::open(&server, &Subscription::new(query)).await);
    let requests = std::cell::Cell::new(0);
    let post = async |path: &str, content_type: &str, body: String| {
        let key = format!("SECRET-key-{}", requests.replace(requests.get() + 1));
        let headers = [
            ("content-type", content_type),
            ("authorization", "Bearer SECRET-token"),
            ("idempotency-key", key.as_str()),
        ];
        server.request("POST", path, &headers, body.as_bytes()).await
    };
    let publish = "/api/sse/publish?token=SECRET-query";
    let bodies = [
        json!({ "event": "SECRET-type", "data": { "SECRET-name": "SECRET-value" } }),
        json!({ "event": "SECRET\ntype", "data": 1 }),
        json!({ "event": "$SECRET-type", "data": 1 }),
        json!({ "event": "n", "data": 1, "id": "SECRET~id" }),
        json!({ "event": "n", "data": 1, "SECRET-unknown": 1 }),
        json!({ "event": "n", "data": 1, "to": { "userId": "SECRET\nuser" } }),
        json!({ "event": "n", "data": 1, "to": { "filter": { "metadata": { "SECRET-pair": "" } } } }),
        json!({ "event": "n", "data": 1, "to": { "filter": { "metadata": { "SECRET\n": "v" } } } }),
        json!({ "event": "n", "data": 1, "to": { "SECRET-target": "x" } }),
        json!({ "event": "n", "data": "SECRET".repeat(50_000) }),
    ];
    for body in &bodies {
        post(publish, "application/json", body.to_string()).await;
        post(publish, "application/x-ndjson", format!("{body}\n{{\"SECRET")).await;
    }
    post("/api/sse/notify/SECRET-helper", "application/json", "{}".into()).await;
    post("/api/sse/notify/success", "application/json", json!({ "message": "SECRET", "userId": "\n" }).to_string())
        .await;
    post("/api/sse/demo", "SECRET/type", "SECRET".into()).await;
    server.request("DELETE", "/api/sse/clients/SECRET", &[("authorization", "SECRET")], b"").await;
    drop(subscriber);
    server.clients_become(0).await;
    log.line("client disconnected", connected.json()["clientId"].as_str().unwrap()).await;
    let text = log.text();
    assert!(text.contains("event refused") && text.contains("request denied"), "refusals are logged: {text}");
    for line in text.lines() {
        assert!(!line.contains("SECRET"), "{line}");
    }
}
