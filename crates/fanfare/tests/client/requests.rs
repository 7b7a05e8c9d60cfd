//! Publishing and asking from beside a hub: what arrives, what is tried again, and what is told of failures.

use crate::scripted::{Script, Scripted, header};
use crate::support::{Server, Wire, config, serve};
use fanfare::client::{Client, RequestError, Update};
use fanfare::{ConnectionOptions, SendError, SseEvent, SseFilter, Target};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn client_of(hub: &Server) -> Client {
    Client::new(&format!("http://{}", hub.addr)).unwrap()
}

/// Its data keep their spelling.
fn event() -> SseEvent {
    SseEvent::from_json("n", &RawValue::from_string("{ \"b\": 1.50, \"a\": 2 }".into()).unwrap())
}

const RECEIPT: &str = "{\"id\":\"1.e.1\",\"clients\":3,\"durability\":\"memory\"}";

#[tokio::test]
async fn every_target_reaches_whom_it_names() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = client_of(&hub);
    let ann = ConnectionOptions {
        user_id: Some("ann".into()),
        session_id: Some("s1".into()),
        topics: vec!["news".into()],
        metadata: [("page".into(), "home".into())].into(),
        ..ConnectionOptions::default()
    };
    let mut ann = client.subscribe(ann).unwrap();
    let Some(Ok(Update::Connected(connected))) = ann.next().await else { panic!() };
    let mut other = client.subscribe(ConnectionOptions::default()).unwrap();
    other.next().await.unwrap().unwrap();
    let filter = SseFilter {
        user_id: Some("ann".into()),
        session_id: Some("s1".into()),
        metadata: [("page".into(), "home".into())].into(),
    };
    for (target, clients) in [
        (Target::All, 2),
        (Target::user("ann"), 1),
        (Target::users(["ann", "bob"]), 1),
        (Target::users([""; 0]), 0),
        (Target::Session("s1".into()), 1),
        (Target::topic("news"), 1),
        (Target::Client(connected.client_id), 1),
        (Target::Filter(filter), 1),
        (Target::user("nobody"), 0),
    ] {
        let receipt = client.publish(event(), target.clone()).await.unwrap();
        assert_eq!(receipt.clients, clients, "{target:?}");
        if clients > 0 {
            assert_eq!(receipt.durability, "memory");
            let Some(Ok(Update::Event(event))) = ann.next().await else { panic!() };
            assert_eq!(
                (event.data.as_str(), Some(ann.last_event_id())),
                ("{\"b\":1.50,\"a\":2}", receipt.id.as_deref())
            );
        }
    }
    let receipt = client.publish(event().ephemeral(), Target::All).await.unwrap();
    assert_eq!((receipt.id, receipt.durability.as_ref()), (None, "ephemeral"));
    let whole = event().with_id("mine").with_retry_ms(5_000);
    let receipt = client.publish(whole, Target::All).await.unwrap();
    assert!(receipt.id.unwrap().ends_with("~mine"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_under_one_key() {
    let server = Scripted::new([
        Script::Bytes(Vec::new()),
        Script::answer(503, "retry-after: 0\r\n", "{\"detail\":\"not now\"}"),
        Script::answer(502, "", "<html>"),
        Script::answer(200, "", RECEIPT),
    ])
    .await;
    let retries = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&retries);
    let client = Client::new(&server.url).unwrap().on_retry(move |error, _| {
        assert!(error.is_transient());
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let receipt = client.publish(event(), Target::All).await.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.clients), (Some("1.e.1"), 3));
    let requests = server.requests();
    assert_eq!((requests.len(), retries.load(Ordering::Relaxed)), (4, 3));
    let keys: Vec<_> = requests.iter().map(|request| header(request, "idempotency-key").unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
    let other = Scripted::new([Script::answer(200, "", RECEIPT)]).await;
    Client::new(&other.url).unwrap().publish(event(), Target::All).await.unwrap();
    assert_ne!(header(&other.requests()[0], "idempotency-key"), Some(keys[0]), "each publish has a key of its own");
}

#[tokio::test]
async fn the_deadline_ends_it_after_one_attempt_at_least() {
    let server = Scripted::new([Script::answer(503, "", "{\"detail\":\"not now\"}")]).await;
    let client = Client::new(&server.url).unwrap().with_deadline(Duration::ZERO);
    let error = client.publish(event(), Target::All).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("not now"), "{error}");
    assert_eq!(server.requests().len(), 1);

    let nobody = { Scripted::new([Script::stream("")]).await.url.clone() };
    let error = Client::new(&nobody).unwrap().with_deadline(Duration::ZERO).cursor().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(&nobody), "{error}");

    let ready = Scripted::new([Script::answer(200, "", RECEIPT)]).await;
    let patient = Client::new(&ready.url).unwrap().with_deadline(Duration::MAX);
    patient.publish(event(), Target::All).await.unwrap();

    let slow = Scripted::new([Script::answer(503, "retry-after: 3600\r\n", "")]).await;
    let error = Client::new(&slow.url).unwrap().publish(event(), Target::All).await.unwrap_err();
    assert!(error.is_transient(), "nobody waits for what comes after the deadline: {error}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_the_deadline() {
    let server = Scripted::new([Script::Stays(Vec::new())]).await;
    let client = Client::new(&server.url).unwrap().with_deadline(Duration::ZERO);
    let error = client.cursor().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer within 1s"), "{error}");
}

#[tokio::test]
async fn a_key_publishes_once() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = client_of(&hub);
    let first = client.publish_with_key("order-7", event(), Target::All).await.unwrap();
    assert_eq!(client.publish_with_key("order-7", event(), Target::All).await.unwrap(), first);
    assert_eq!(hub.manager.stats().total_events_published, 1);
    let error = client.publish_with_key("order-7", event(), Target::user("ann")).await.unwrap_err();
    let RequestError::Refused(problem) = error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.kind.as_str()), (422, "urn:fanfare:problem:idempotency-key-reused"));
    for key in ["", "a b", "ü", &"x".repeat(256)] {
        let error = client.publish_with_key(key, event(), Target::All).await.unwrap_err();
        assert!(matches!(error, RequestError::Invalid { what: "idempotency key", .. }), "{key:?}: {error}");
    }
}

#[tokio::test]
async fn a_list_is_published_whole_or_not_at_all() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = client_of(&hub);
    let receipts = client.publish_batch(&[(event(), Target::All), (event(), Target::user("ann"))]).await.unwrap();
    assert_eq!(receipts.len(), 2);
    let error = client.publish_batch(&[(event(), Target::All), (event(), Target::user(""))]).await.unwrap_err();
    let RequestError::Event(SendError::Invalid { pointer, .. }) = error else { panic!("{error:?}") };
    assert_eq!(pointer, "/1/to/userId");
    assert_eq!(hub.manager.stats().total_events_published, 2);
    assert_eq!(client.publish_batch(&[]).await.unwrap_or_default(), []);
}

#[tokio::test]
async fn what_is_not_allowed_is_not_sent() {
    // Nobody is there: an attempt would be another error.
    let client = Client::new("http://127.0.0.1:1").unwrap();
    for (event, target, pointer) in [
        (SseEvent::new("ping", 1), Target::All, "/event"),
        (SseEvent::new("a\nb", 1), Target::All, "/event"),
        (SseEvent::new("a", "x".repeat(300_000)), Target::All, "/data"),
        (event().with_id("~"), Target::All, "/id"),
        (event(), Target::Filter(SseFilter::default()), "/to/filter"),
        (event().with_expected_last_id("none"), Target::All, "/expectLastId"),
    ] {
        let error = client.publish(event, target).await.unwrap_err();
        assert!(matches!(error, RequestError::Event(_)) && error.to_string().contains(pointer), "{error}");
    }
}

#[tokio::test]
async fn a_conflict_says_what_is_there() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = client_of(&hub);
    let expecting = |id: &str| event().with_expected_last_id(id);
    let first = client.publish(expecting("none"), Target::topic("lot")).await.unwrap();
    let error = client.publish(expecting("none"), Target::topic("lot")).await.unwrap_err();
    let RequestError::Refused(problem) = error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.last_id), (409, first.id));
    assert_eq!(problem.errors[0].pointer, "#/expectLastId");
}

#[tokio::test]
async fn what_is_no_hub_is_told() {
    let big = "x".repeat(17 << 20);
    for (script, told) in [
        (Script::answer(200, "content-type: text/html\r\n", "<html>\u{1b}[2J"), "<html>"),
        (Script::answer(200, "", "{}"), "{}"),
        (Script::answer(200, "", ""), "nothing"),
        (Script::answer(302, "location: /login\r\n", ""), "a redirect to /login"),
        (Script::answer(200, "", &big), "more than"),
    ] {
        let server = Scripted::new([script]).await;
        let error = Client::new(&server.url).unwrap().publish(event(), Target::All).await.unwrap_err();
        assert!(matches!(error, RequestError::Foreign { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(told) && text.contains(&server.url) && !text.contains('\u{1b}'), "{text:?}");
    }
}

#[tokio::test]
async fn addresses_tokens_and_headers_are_checked() {
    for (url, api) in [
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000/api/sse"),
        ("http://127.0.0.1:4000/", "http://127.0.0.1:4000/api/sse"),
        ("https://example.com/events/", "https://example.com/events"),
    ] {
        assert_eq!(Client::new(url).unwrap().url(), api);
    }
    for url in ["", "localhost:4000", "example.com", "ftp://example.com", "http://", "http://a/?b", "http://a/#b"] {
        let error = Client::new(url).unwrap_err();
        assert!(matches!(error, RequestError::Invalid { what: "url", .. }), "{url}: {error}");
        assert!(error.to_string().contains("http://host:port"), "{error}");
    }
    let client = || Client::new("http://127.0.0.1:1").unwrap();
    for token in ["", "a b", "a\nb", "ü"] {
        assert!(client().with_token(token).is_err(), "{token:?}");
    }
    for (name, value) in
        [("a b", "c"), ("", "c"), ("x", "a\r\nb: c"), ("Last-Event-ID", "1"), ("host", "x"), ("Connection", "x")]
    {
        assert!(client().with_header(name, value).is_err(), "{name:?}: {value:?}");
    }
    let server = Scripted::new([Script::answer(200, "", RECEIPT)]).await;
    let client = Client::new(&server.url).unwrap().with_token("secret").unwrap().with_header("x-a", "1").unwrap();
    client.publish(event(), Target::All).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!((header(request, "authorization"), header(request, "x-a")), (Some("Bearer secret"), Some("1")));
    assert!(!format!("{client:?}").contains("secret"));
    let hub = serve(Wire::Takeover, config()).await;
    let bad_source = client_of(&hub).with_token_source(|| "a\nb".into());
    assert!(matches!(bad_source.cursor().await, Err(RequestError::Invalid { what: "token", .. })));
}

#[tokio::test]
async fn a_password_in_the_address_is_sent_and_not_told() {
    let server = Scripted::new([Script::answer(503, "", "")]).await;
    let address = |tail: &str| format!("{}{tail}", server.url.replace("http://", "http://ann:sekret@"));
    let client = Client::new(&address("")).unwrap().with_deadline(Duration::ZERO);
    let unavailable = client.publish(event(), Target::All).await.unwrap_err();
    assert_eq!(header(&server.requests()[0], "authorization"), Some("Basic YW5uOnNla3JldA=="));
    let foreign = Scripted::new([Script::answer(200, "", "")]).await;
    let foreign = Client::new(&foreign.url.replace("//", "//ann:sekret@")).unwrap().cursor().await.unwrap_err();
    let wrong = [address("?x"), address("#x"), "ann:sekret@hub".into()].map(|url| Client::new(&url).unwrap_err());
    for error in wrong.into_iter().chain([unavailable, foreign]) {
        assert!(!format!("{error} {error:?}").contains("sekret"), "{error:?}");
    }
    assert!(!format!("{client:?} {}", client.url()).contains("sekret"));
}

#[tokio::test]
async fn an_authorization_of_ones_own_goes_before_the_token() {
    let server = Scripted::new([Script::answer(200, "", RECEIPT)]).await;
    let client = Client::new(&server.url).unwrap().with_token("secret").unwrap();
    client.with_header("Authorization", "Basic eA==").unwrap().publish(event(), Target::All).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(header(request, "authorization"), Some("Basic eA=="));
    assert_eq!(request.matches("authorization").count(), 1);
}

#[tokio::test]
async fn where_no_hub_is_nobody_is_gone() {
    let gone = r##"{"detail":"no client","errors":[{"pointer":"#/path/clientId","detail":"no client"}]}"##;
    let server =
        Scripted::new([Script::answer(404, "", gone), Script::answer(404, "", "{\"detail\":\"no path\"}")]).await;
    let client = Client::new(&server.url).unwrap();
    assert!(!client.disconnect_client("c").await.unwrap());
    for error in [client.disconnect_client("c").await.map(u64::from), client.disconnect_user("ann").await] {
        assert!(matches!(&error, Err(RequestError::Refused(problem)) if problem.detail == "no path"), "{error:?}");
    }
}

#[tokio::test]
async fn a_hub_can_be_asked_about_its_clients_and_end_them() {
    let hub = serve(Wire::Takeover, config()).await;
    let client = client_of(&hub);
    let user = "a/b?c%20ü";
    let mut streams = Vec::new();
    for index in 0..3 {
        let user_id = Some(if index == 0 { "ann" } else { user }.to_owned());
        let mut stream = client.subscribe(ConnectionOptions { user_id, ..ConnectionOptions::default() }).unwrap();
        stream.next().await.unwrap().unwrap();
        streams.push(stream);
    }
    assert_eq!(client.stats(None).await.unwrap()["totalClients"], 3);
    assert_eq!(client.stats(Some(user)).await.unwrap()["totalClients"], 2);
    let page = client.clients(Some("ann"), None).await.unwrap();
    let [ann] = page.clients.try_into().unwrap();
    assert_eq!((ann.user_id.as_deref(), page.total_clients, page.next), (Some("ann"), 3, None));
    assert!(client.disconnect_client(&ann.client_id).await.unwrap());
    assert!(!client.disconnect_client(&ann.client_id).await.unwrap());
    assert!(!client.disconnect_client("no such client").await.unwrap());
    assert_eq!(client.disconnect_user(user).await.unwrap(), 2);
    assert_eq!(client.disconnect_user(user).await.unwrap(), 0);
    for part in ["", ".", ".."] {
        assert!(matches!(client.disconnect_user(part).await, Err(RequestError::Invalid { .. })), "{part:?}");
    }
    assert_eq!(client.cursor().await.unwrap(), hub.manager.cursor());
    let error = client.clients(None, Some("nonsense")).await.unwrap_err();
    assert!(matches!(error, RequestError::Refused(_)), "{error}");
}
