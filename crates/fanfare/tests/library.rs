//! The library without a server: the manager's methods, connections as streams, the clock moved by hand.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod support;

use fanfare::{
    ConfigError, ConnectError, Connection, ConnectionOptions, SendError, SseConfig, SseEvent, SseFilter, SseManager,
    Target,
};
use serde_json::json;
use std::time::Duration;
use support::{Wire, config, eventually, serve_app};

fn user(user_id: &str) -> ConnectionOptions {
    ConnectionOptions { user_id: Some(user_id.to_owned()), ..ConnectionOptions::default() }
}

fn after(last_event_id: &str) -> ConnectionOptions {
    ConnectionOptions { last_event_id: Some(last_event_id.to_owned()), ..ConnectionOptions::default() }
}

async fn connect(manager: &SseManager, options: ConnectionOptions) -> Connection {
    let mut connection = manager.create_connection(options).unwrap();
    let connected = connection.next_event().await.unwrap();
    assert_eq!(connected.event, "connected");
    connection
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let seconds = Duration::from_secs;
    let cases = [
        ("client_timeout", SseConfig { client_timeout: seconds(30), ping_interval: seconds(30), ..config() }),
        ("client_timeout", SseConfig { client_timeout: seconds(1), ping_interval: seconds(30), ..config() }),
        ("ping_interval", SseConfig { ping_interval: Duration::ZERO, ..config() }),
        ("max_clients", SseConfig { max_clients: 0, ..config() }),
        ("stall_timeout", SseConfig { stall_timeout: Duration::ZERO, ..config() }),
        ("lifetime", SseConfig { lifetime: Some(Duration::ZERO), ..config() }),
        ("history_bytes", SseConfig { history_bytes: 0, ..config() }),
        ("history_age", SseConfig { history_age: Duration::ZERO, ..config() }),
        ("disk_bytes", SseConfig { disk_bytes: 1_000_000, ..config() }),
        ("disk_age", SseConfig { disk_age: Duration::from_millis(1), ..config() }),
        ("disk_events", SseConfig { disk_events: Some(0), ..config() }),
        ("shards", SseConfig { shards: 0, ..config() }),
        ("shards", SseConfig { shards: 65, ..config() }),
    ];
    for (expected, settings) in cases {
        let error = SseManager::new(settings).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{expected}: ")), "{error}");
        assert!(matches!(error, ConfigError::Invalid { setting, .. } if setting == expected));
    }
    assert!(SseManager::new(SseConfig { client_timeout: seconds(31), ping_interval: seconds(30), ..config() }).is_ok());
}

#[tokio::test]
async fn a_connection_is_a_stream_of_its_events() {
    let manager = SseManager::new(config()).unwrap();
    let mut connection = manager.create_connection(user("ann")).unwrap();
    assert_eq!(connection.resume(), "live");
    let connected = connection.next_event().await.unwrap();
    let data: serde_json::Value = serde_json::from_str(&connected.data).unwrap();
    assert_eq!((&data["clientId"], &data["userId"]), (&json!(connection.client_id()), &json!("ann")));

    assert_eq!(manager.send_to_client(connection.client_id(), SseEvent::new("one", 1)), Ok(1));
    assert_eq!(manager.send_to_user("ann", SseEvent::new("two", json!({ "x": 2 }))), Ok(1));
    assert_eq!(manager.broadcast(SseEvent::new("three", "3").with_id("own")), Ok(1));
    let filter = SseFilter { user_id: Some("ann".into()), ..SseFilter::default() };
    assert_eq!(manager.send_to_clients(filter, SseEvent::new("four", 4)), Ok(1));
    assert_eq!(connection.expect_event("one").await, json!(1));
    assert_eq!(connection.expect_event("two").await, json!({ "x": 2 }));
    let three = connection.next_event().await.unwrap();
    assert_eq!(three.last_event_id, format!("{}~own", three.last_event_id.split_once('~').unwrap().0));
    assert_eq!(connection.expect_event("four").await, json!(4));

    let client_id = connection.client_id().to_owned();
    assert!(manager.disconnect_client(&client_id));
    assert_eq!(connection.next_event().await.unwrap().event, "$closing");
    assert_eq!(connection.next_event().await, None);
    assert_eq!(manager.send_to_client(&client_id, SseEvent::new("late", 1)), Ok(0));
}

#[tokio::test]
async fn a_connection_is_counted_from_its_creation_to_its_drop() {
    let manager = SseManager::new(config()).unwrap();
    let unread = manager.create_connection(user("ann")).unwrap();
    let read = connect(&manager, user("ann")).await;
    let stats = manager.stats();
    assert_eq!((stats.total_clients, stats.clients_by_user.get("ann")), (2, Some(&2)));
    assert_eq!(manager.send_to_user("ann", SseEvent::new("n", 1)), Ok(2));
    drop(unread);
    assert_eq!(manager.stats().total_clients, 1);
    drop(read);
    assert_eq!(manager.stats().total_clients, 0);
    assert!(manager.stats().clients_by_user.is_empty());
}

#[tokio::test]
async fn connections_are_counted_by_user() {
    let manager = SseManager::new(config()).unwrap();
    let ann = [connect(&manager, user("ann")).await, connect(&manager, user("ann")).await];
    let _bob = connect(&manager, user("bob")).await;
    assert_eq!(["ann", "bob", "eve", "", "a\nb"].map(|name| manager.user_clients(name)), [2, 1, 0, 0, 0]);
    drop(ann);
    assert_eq!(manager.user_clients("ann"), 0);
}

#[tokio::test]
async fn events_sent_before_a_connection_is_read_are_kept_for_it() {
    const EVENTS: usize = 3_000;
    let manager = SseManager::new(config()).unwrap();
    let mut connection = manager.create_connection(ConnectionOptions::default()).unwrap();
    for number in 0..EVENTS {
        manager.broadcast(SseEvent::new("n", json!({ "number": number, "text": "x".repeat(500) }))).unwrap();
    }
    for number in 0..EVENTS {
        assert_eq!(connection.expect_event("n").await["number"], number);
    }
}

#[tokio::test]
async fn the_last_manager_dropped_ends_everything() {
    let manager = SseManager::new(config()).unwrap();
    let mut connection = connect(&manager, ConnectionOptions::default()).await;
    let clone = manager.clone();
    drop(manager);
    clone.broadcast(SseEvent::new("n", 1)).unwrap();
    assert_eq!(connection.expect_event("n").await, json!(1));
    drop(clone);
    let closing = connection.next_event().await.unwrap();
    assert_eq!((closing.event.as_str(), closing.data.contains("shutdown")), ("$closing", true));
    assert_eq!(connection.next_event().await, None);
}

#[tokio::test]
async fn moving_the_clock_runs_what_is_due() {
    let settings = SseConfig {
        ping_interval: Duration::from_secs(30),
        client_timeout: Duration::from_secs(60),
        ..SseConfig::default()
    };
    let (manager, clock) = SseManager::with_manual_clock(settings).unwrap();
    let mut connection = connect(&manager, ConnectionOptions::default()).await;
    for beat in 1..=3 {
        clock.advance(Duration::from_secs(30));
        let ping = connection.next_event().await.unwrap();
        assert_eq!((ping.event.as_str(), ping.last_event_id), ("ping", manager.cursor()));
        assert_eq!(manager.stats().average_connection_duration, beat * 30_000);
    }
    let first: serde_json::Value = connection.expect_event_after(&clock).await;
    assert!(first["timestamp"].is_u64(), "{first}");
}

/// A ping after one more interval.
trait Beat {
    async fn expect_event_after(&mut self, clock: &fanfare::ManualClock) -> serde_json::Value;
}

impl Beat for Connection {
    async fn expect_event_after(&mut self, clock: &fanfare::ManualClock) -> serde_json::Value {
        clock.advance(Duration::from_secs(30));
        self.expect_event("ping").await
    }
}

#[tokio::test]
async fn history_ages_with_the_clock() {
    let (manager, clock) =
        SseManager::with_manual_clock(SseConfig { history_age: Duration::from_secs(600), ..SseConfig::default() })
            .unwrap();
    let start = manager.cursor();
    manager.broadcast(SseEvent::new("n", 1)).unwrap();
    clock.advance(Duration::from_secs(590));
    assert_eq!(manager.create_connection(after(&start)).unwrap().resume(), "resumed");
    clock.advance(Duration::from_secs(60));
    assert_eq!(manager.create_connection(after(&start)).unwrap().resume(), "gap");
    assert_eq!(manager.create_connection(after(&manager.cursor())).unwrap().resume(), "resumed");
    assert_eq!(manager.stats().history_events, 0);
}

#[tokio::test]
async fn idempotency_keys_are_remembered_as_long_as_the_history() {
    let settings = SseConfig { history_age: Duration::from_secs(600), ..SseConfig::default() };
    let (manager, clock) = SseManager::with_manual_clock(settings).unwrap();
    let app = fanfare::router(manager.clone()).allow_all().into_router();
    let server = serve_app(Wire::Takeover, manager, app).await;
    let post = async || {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        server.request("POST", "/api/sse/publish", &headers, br#"{"event":"n","data":1}"#).await.json()
    };
    let first = post().await;
    clock.advance(Duration::from_secs(599));
    assert_eq!(post().await, first);
    clock.advance(Duration::from_secs(2));
    assert_ne!(post().await, first);
}

/// The first connection of a hub that sleeps must wake it: a shard without connections has no timer, and the place
/// was held until something else came along.
#[tokio::test]
async fn the_first_response_that_is_never_sent_does_not_hold_its_place_on_an_idle_hub() {
    let (manager, clock) = SseManager::with_manual_clock(config()).unwrap();
    let kept = manager.create_connection(ConnectionOptions::default()).unwrap();
    // Steps, since nobody says when the shard has seen it.
    eventually("the place is free", || {
        clock.advance(Duration::from_secs(1));
        manager.stats().total_clients == 0
    })
    .await;
    drop(kept);
}

#[tokio::test]
async fn a_response_that_is_never_sent_does_not_hold_its_place() {
    let (manager, clock) = SseManager::with_manual_clock(SseConfig::default()).unwrap();
    let held = manager.create_connection(ConnectionOptions::default()).unwrap();
    // Its thread knows of both when this one was greeted.
    let read = connect(&manager, ConnectionOptions::default()).await;
    clock.advance(Duration::from_secs(20));
    assert_eq!(manager.stats().total_clients, 2);
    clock.advance(Duration::from_secs(30));
    eventually("the place is free", || manager.stats().total_clients == 1).await;
    eventually("it is counted", || manager.stats().disconnects["unattached"] == 1).await;
    drop(held);
    assert_eq!(manager.send_to_client(read.client_id(), SseEvent::new("n", 1)), Ok(1), "the other is there still");
}

#[test]
fn publishing_works_from_threads_without_a_runtime() {
    let manager = SseManager::new(config()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let manager = manager.clone();
            std::thread::spawn(move || {
                (0..250)
                    .map(|number| {
                        manager.publish_blocking(SseEvent::new("n", number), Target::All).unwrap().id.unwrap()
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut ids: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), manager.stats().total_events_published), (1_000, 1_000), "an id for each event");
}

#[tokio::test]
async fn a_batch_is_published_whole_or_not_at_all() {
    let manager = SseManager::new(config()).unwrap();
    let mut connection = connect(&manager, user("ann")).await;
    let event = |number: u32| SseEvent::new("n", number);
    let bad = vec![(event(1), Target::All), (SseEvent::new("ping", 2), Target::All), (event(3), Target::All)];
    let error = manager.publish_batch(bad).await.unwrap_err();
    assert!(matches!(&error, SendError::Invalid { pointer, .. } if pointer == "/1/event"), "{error}");
    let many = vec![(event(0), Target::All); 1_001];
    assert!(matches!(manager.publish_batch(many).await, Err(SendError::TooLarge { .. })));
    assert_eq!(manager.stats().total_events_published, 0);
    assert_eq!(manager.publish_batch(Vec::new()).await, Ok(Vec::new()));

    let good = vec![(event(1), Target::All), (event(2), Target::user("bob")), (event(3), Target::user("ann"))];
    let receipts = manager.publish_batch(good).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.clients).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(connection.expect_event("n").await, json!(1));
    assert_eq!(connection.expect_event("n").await, json!(3));
}

#[tokio::test]
async fn what_is_wrong_with_a_send_is_pointed_at_and_nothing_is_published() {
    let manager = SseManager::new(config()).unwrap();
    let event = || SseEvent::new("n", 1);
    let filter = |user_id: &str| Target::Filter(SseFilter { user_id: Some(user_id.into()), ..SseFilter::default() });
    let unserializable = std::collections::BTreeMap::from([(vec![1], 1)]);
    let cases = [
        ("/event", SseEvent::new("", 1), Target::All),
        ("/event", SseEvent::new("connected", 1), Target::All),
        ("/event", SseEvent::new("$own", 1), Target::All),
        ("/event", SseEvent::new("a\r\nid: 1", 1), Target::All),
        ("/data", SseEvent::new("n", unserializable), Target::All),
        ("/id", event().with_id("a~b"), Target::All),
        ("/id", event().with_id("a\nb"), Target::All),
        ("/retry", event().with_retry_ms(u64::MAX), Target::All),
        ("/to/userId", event(), Target::user("")),
        ("/to/userId", event(), Target::user("a\u{0}b")),
        ("/to/userIds/1", event(), Target::users(["a", "\n"])),
        ("/to/userIds", event(), Target::users((0..10_001).map(|number| number.to_string()))),
        ("/to/sessionId", event(), Target::Session("x".repeat(256))),
        ("/to/topic", event(), Target::topic("\r")),
        ("/to/clientId", event(), Target::Client(String::new())),
        ("/to/filter", event(), Target::Filter(SseFilter::default())),
        ("/to/filter/userId", event(), filter("")),
        ("/expectLastId", event().with_expected_last_id(""), Target::topic("t")),
        ("/expectLastId", event().with_expected_last_id("none"), Target::All),
        ("/expectLastId", event().with_expected_last_id("none").ephemeral(), Target::topic("t")),
    ];
    for (expected, event, target) in cases {
        let error = manager.send(event.clone(), target.clone()).unwrap_err();
        assert!(matches!(&error, SendError::Invalid { pointer, .. } if pointer == expected), "{expected}: {error}");
        assert_eq!(manager.publish(event.clone(), target.clone()).await.unwrap_err(), error);
        assert_eq!(manager.publish_blocking(event, target).unwrap_err(), error);
    }
    let large = manager.broadcast(SseEvent::new("n", "x".repeat(256 * 1024)));
    assert!(matches!(large, Err(SendError::TooLarge { pointer, .. }) if pointer == "/data"));
    assert_eq!(manager.stats().total_events_published, 0);
}

#[tokio::test]
async fn every_way_to_send_hears_of_a_conflict() {
    let manager = SseManager::new(config()).unwrap();
    let expecting = |id: &str| (SseEvent::new("n", 1).with_expected_last_id(id), Target::topic("t"));
    let (event, target) = expecting("none");
    assert_eq!(manager.send(event.clone(), target.clone()), Ok(0));
    let last_id = Some(manager.cursor());
    let is_conflict = |error: &SendError, at: &str| matches!(error, SendError::Conflict { pointer, last_id: known, .. } if pointer == at && *known == last_id);
    for error in [
        manager.send(event.clone(), target.clone()).unwrap_err(),
        manager.publish(event.clone(), target.clone()).await.unwrap_err(),
        manager.publish_blocking(event, target).unwrap_err(),
    ] {
        assert!(is_conflict(&error, "/expectLastId"), "{error}");
    }
    let batch = vec![(SseEvent::new("n", 1), Target::All), expecting("none")];
    let error = manager.publish_batch(batch).await.unwrap_err();
    assert!(is_conflict(&error, "/1/expectLastId"), "{error}");
    let batch = vec![(SseEvent::new("n", 1), Target::All), expecting(&last_id.clone().unwrap())];
    assert_eq!(manager.publish_batch(batch).await.unwrap().len(), 2);
    assert_eq!(manager.stats().total_events_published, 3);
}

#[tokio::test]
async fn a_connection_that_may_not_be_says_why() {
    let manager = SseManager::new(SseConfig { max_clients: 1, ..config() }).unwrap();
    let error = manager.create_connection(user("a\nb")).unwrap_err();
    assert!(matches!(&error, ConnectError::Invalid { field, .. } if field == "userId"), "{error}");
    let topics = ConnectionOptions { topics: (0..101).map(|n| n.to_string()).collect(), ..Default::default() };
    let error = manager.create_connection(topics).unwrap_err();
    assert!(matches!(&error, ConnectError::Invalid { field, .. } if field == "topic"), "{error}");
    let _first = connect(&manager, ConnectionOptions::default()).await;
    let error = manager.create_connection(ConnectionOptions::default()).unwrap_err();
    assert_eq!(error, ConnectError::Capacity(1));
    let mut headers = http::HeaderMap::new();
    assert_eq!(error.clone().into_response_for(&manager, &headers).status(), 503);
    headers.insert("accept", "text/event-stream".parse().unwrap());
    assert_eq!(error.into_response_for(&manager, &headers).status(), 200);
    assert_eq!(manager.stats().clients_refused, 1);
}

#[tokio::test]
async fn everything_works_with_several_shards() {
    let manager = SseManager::new(SseConfig { shards: 4, ..config() }).unwrap();
    let mut connections = Vec::new();
    for number in 0..40 {
        connections.push(connect(&manager, user(&format!("u{}", number % 8))).await);
    }
    for number in 0..200 {
        assert_eq!(manager.broadcast(SseEvent::new("n", number)), Ok(40));
        assert_eq!(manager.send_to_user("u3", SseEvent::new("three", number)), Ok(5));
    }
    for (index, connection) in connections.iter_mut().enumerate() {
        for number in 0..200 {
            assert_eq!(connection.expect_event("n").await, json!(number));
            if index % 8 == 3 {
                assert_eq!(connection.expect_event("three").await, json!(number));
            }
        }
    }
    tokio::time::timeout(Duration::from_secs(10), manager.drain(Duration::from_millis(50))).await.unwrap();
    for connection in &mut connections {
        assert_eq!(connection.next_event().await.unwrap().event, "$closing");
        assert_eq!(connection.next_event().await, None);
    }
    assert_eq!(manager.stats().disconnects["shutdown"], 40);
}
