//! How streams end and are refused, and what is left afterwards.

use crate::support::{Event, Server, Subscriber, Subscription, Wire, config, eventually, noise, serve};
use fanfare::{ConnectError, SendError, SseConfig, SseEvent};
use serde_json::json;
use std::time::Duration;

async fn connect(server: &Server, query: &str) -> (Subscriber, String) {
    let (subscriber, connected) = Subscriber::connect(server, query).await;
    (subscriber, connected.json()["clientId"].as_str().unwrap().to_owned())
}

fn assert_closing(event: &Event, reason: &str, reconnect: bool) {
    assert_eq!(event.event, "$closing", "{event:?}");
    assert_eq!(event.json(), json!({ "reason": reason, "reconnect": reconnect }));
    assert!(event.retry.is_some(), "{event:?}");
}

pub(crate) async fn a_disconnected_client_is_told_not_to_come_back(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut leaving, client_id) = connect(&server, "userId=ann").await;
    let (mut staying, _) = connect(&server, "userId=ann").await;
    assert!(server.manager.disconnect_client(&client_id));
    assert!(!server.manager.disconnect_client(&client_id), "gone already");
    let closing = leaving.next().await;
    assert_closing(&closing, "disconnected", false);
    assert!(closing.has_id, "it missed nothing: {closing:?}");
    leaving.expect_end().await;
    assert_eq!(server.stats().await["totalClients"], 1);
    server.manager.broadcast(SseEvent::new("n", 1)).unwrap();
    assert_eq!(staying.data(1).await, ["1"]);
    for nobody in ["", "x", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "7zzzzzzzzzzzzzzzzzzzzzzzzz"] {
        assert!(!server.manager.disconnect_client(nobody), "{nobody:?}");
    }
}

pub(crate) async fn disconnecting_a_user_ends_every_stream_of_the_user_and_no_other(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut first, _) = connect(&server, "userId=ann").await;
    let (mut second, _) = connect(&server, "userId=ann&page=x").await;
    let (mut other, _) = connect(&server, "userId=bob").await;
    assert_eq!(server.manager.disconnect_user("ann"), 2);
    assert_eq!(server.manager.disconnect_user("ann"), 0);
    for subscriber in [&mut first, &mut second] {
        assert_closing(&subscriber.next().await, "disconnected", false);
        subscriber.expect_end().await;
    }
    let stats = server.stats().await;
    assert_eq!(stats["clientsByUser"], json!({ "bob": 1 }));
    assert_eq!(stats["disconnects"]["disconnected"], 2);
    server.manager.broadcast(SseEvent::new("n", 1)).unwrap();
    assert_eq!(other.data(1).await, ["1"]);
}

pub(crate) async fn a_drain_tells_everybody_to_come_back_and_refuses_newcomers_in_the_stream(wire: Wire) {
    let server = serve(wire, config()).await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        subscribers.push(connect(&server, "").await.0);
    }
    let manager = server.manager.clone();
    let drain = tokio::spawn(async move { manager.drain(Duration::from_secs(10)).await });
    eventually("draining", || server.manager.is_closing()).await;
    let mut newcomer = Subscriber::open(&server, &Subscription::default()).await;
    assert_eq!(newcomer.head.status, 200, "EventSource gives up on anything else");
    assert_closing(&newcomer.next().await, "shutdown", true);
    newcomer.expect_end().await;
    let answer = server.request("GET", "/api/sse", &[("accept", "*/*")], b"").await;
    assert_eq!((answer.head.status, answer.head.get("retry-after").is_some()), (503, true));

    let mut retries = std::collections::BTreeSet::new();
    for subscriber in &mut subscribers {
        let closing = subscriber.next().await;
        assert_closing(&closing, "shutdown", true);
        retries.insert(closing.retry.unwrap());
        subscriber.expect_end().await;
    }
    assert!(retries.len() > 10, "reconnection times are spread: {retries:?}");
    drop(subscribers);
    tokio::time::timeout(Duration::from_secs(5), drain).await.expect("few clients need no whole window").unwrap();
    let stats = server.stats().await;
    assert_eq!((&stats["totalClients"], &stats["disconnects"]["shutdown"]), (&json!(0), &json!(20)));
}

pub(crate) async fn destroying_ends_streams_and_refuses_events(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, _) = connect(&server, "").await;
    server.manager.destroy();
    server.manager.destroy();
    assert_closing(&subscriber.next().await, "shutdown", true);
    subscriber.expect_end().await;
    assert_eq!(server.manager.broadcast(SseEvent::new("n", 1)), Err(SendError::Closed));
    let refused = server.manager.create_connection(fanfare::ConnectionOptions::default());
    assert_eq!(refused.err(), Some(ConnectError::Closing));
    let answer = server.post("/api/sse/publish", json!({ "event": "n", "data": 1 })).await;
    assert_eq!(answer.problem(), (503, "unavailable".into(), Vec::new()));
    assert!(answer.head.get("retry-after").is_some());
}

pub(crate) async fn want_of_room_is_said_in_a_stream_that_was_asked_for(wire: Wire) {
    let server = serve(wire, SseConfig { max_clients: 1, ..config() }).await;
    let (_first, _) = connect(&server, "").await;
    let mut retries = std::collections::BTreeSet::new();
    for accept in ["text/event-stream", "text/html, Text/Event-Stream;q=0.5", "application/json,text/event-stream"] {
        let mut refused = Subscriber::open(&server, &Subscription::default().header("accept", accept)).await;
        assert_eq!((refused.head.status, refused.head.get("content-type")), (200, Some("text/event-stream")));
        assert_eq!(refused.head.get("cache-control"), Some("no-store, no-transform"));
        let closing = refused.next().await;
        assert_closing(&closing, "capacity", true);
        assert!(!closing.has_id, "{closing:?}");
        assert!(closing.retry.unwrap() >= 10_000, "long: {closing:?}");
        retries.insert(closing.retry.unwrap());
        refused.expect_end().await;
    }
    assert!(retries.len() > 1, "jittered: {retries:?}");
    let stats = server.stats().await;
    assert_eq!((&stats["totalClients"], &stats["clientsRefused"]), (&json!(1), &json!(3)));
}

pub(crate) async fn want_of_room_is_503_for_everybody_else(wire: Wire) {
    let server = serve(wire, SseConfig { max_clients: 1, ..config() }).await;
    let (_first, _) = connect(&server, "").await;
    for headers in [&[][..], &[("accept", "*/*")], &[("accept", "text/*")], &[("accept", "application/json")]] {
        let answer = server.request("GET", "/api/sse", headers, b"").await;
        assert_eq!(answer.problem(), (503, "unavailable".into(), Vec::new()), "{headers:?}");
        let seconds: u64 = answer.head.get("retry-after").unwrap().parse().unwrap();
        assert!(seconds >= 10, "{seconds}");
    }
}

pub(crate) async fn a_place_that_becomes_free_is_given_again(wire: Wire) {
    let server = serve(wire, SseConfig { max_clients: 2, ..config() }).await;
    for _ in 0..20 {
        let (first, _) = connect(&server, "").await;
        let (second, _) = connect(&server, "").await;
        first.abort();
        server.clients_become(1).await;
        let (third, _) = connect(&server, "").await;
        assert_eq!(server.manager.engine_stats().clients, 2);
        drop((second, third));
        server.clients_become(0).await;
    }
}

pub(crate) async fn statistics_are_exact_after_clients_come_and_go(wire: Wire) {
    let server = serve(wire, config()).await;
    let empty = server.stats().await;
    for (key, value) in [
        ("totalClients", json!(0)),
        ("clientsByUser", json!({})),
        ("averageConnectionDuration", json!(0)),
        ("totalEventsSent", json!(0)),
        ("lastEventTime", json!(null)),
        ("clientsByUserTruncated", json!(false)),
    ] {
        assert_eq!(empty[key], value, "{key}");
    }
    let mut subscribers = Vec::new();
    for number in 0..12 {
        subscribers.push(connect(&server, &format!("userId=u{}", number % 3)).await.0);
    }
    let stats = server.stats().await;
    assert_eq!(stats["totalClients"], 12);
    assert_eq!(stats["clientsByUser"], json!({ "u0": 4, "u1": 4, "u2": 4 }));
    assert_eq!(server.get("/api/sse/stats?userId=u1").await.json()["totalClients"], 4);

    server.manager.broadcast(SseEvent::new("n", 1)).unwrap();
    server.manager.send_to_user("u0", SseEvent::new("n", 2)).unwrap();
    server.manager.send_to_user("absent", SseEvent::new("n", 3)).unwrap();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.data(if number % 3 == 0 { 2 } else { 1 }).await;
    }
    // What a client has may be counted a moment after.
    eventually("16 deliveries", || server.manager.stats().total_events_sent == 16).await;
    let stats = server.stats().await;
    assert_eq!(stats["totalEventsPublished"], 3);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(stats["lastEventTime"].as_u64().is_some_and(|at| at <= now && now - at < 20_000), "{stats}");

    for (number, subscriber) in subscribers.into_iter().enumerate() {
        match number % 4 {
            0 => subscriber.finish().await,
            1 => subscriber.reset(),
            2 => subscriber.abort(),
            _ => drop(subscriber),
        }
    }
    server.clients_become(0).await;
    let stats = server.stats().await;
    assert_eq!((&stats["clientsByUser"], &stats["averageConnectionDuration"]), (&json!({}), &json!(0)));
    assert_eq!(stats["totalEventsSent"], 16, "ends deliver nothing");
    let ended = || server.manager.disconnects().map(|(_, count)| count).sum::<u64>();
    eventually("every end is counted, once", || ended() == 12).await;
}

pub(crate) async fn a_lifetime_ends_a_stream_that_then_resumes(wire: Wire) {
    let settings = SseConfig {
        lifetime: Some(Duration::from_secs(1)),
        // Sets the pace of the checks.
        stall_timeout: Duration::from_millis(200),
        ..config()
    };
    let server = serve(wire, settings).await;
    let (mut subscriber, _) = connect(&server, "").await;
    server.manager.broadcast(SseEvent::new("n", 1)).unwrap();
    assert_eq!(subscriber.data(1).await, ["1"]);
    let closing = subscriber.next().await;
    assert_closing(&closing, "lifetime", true);
    assert_eq!(closing.id, server.manager.cursor());
    subscriber.expect_end().await;
    server.manager.broadcast(SseEvent::new("n", 2)).unwrap();
    let (mut again, connected) = Subscriber::resume(&server, &Subscription::default().after(&closing.id)).await;
    assert_eq!(connected.json()["resume"], "resumed");
    assert_eq!(again.data(1).await, ["2"]);
}

pub(crate) async fn a_reader_that_takes_nothing_is_told_it_was_slow(wire: Wire) {
    let settings = SseConfig { stall_timeout: Duration::from_millis(300), history_bytes: 4 << 20, ..config() };
    let server = serve(wire, settings).await;
    let (mut stalled, _) = connect(&server, "").await;
    let text = noise(200_000);
    eventually("the stall is noticed", || {
        server.manager.broadcast(SseEvent::new("n", &text)).unwrap();
        server.manager.stats().disconnects["slow"] == 1
    })
    .await;
    assert_eq!(server.manager.engine_stats().clients, 0);
    let mut last = stalled.next().await;
    while let Some(event) = stalled.try_next().await {
        assert!(last.event == "n" && last.data.len() == text.len() + 2, "frames are whole: {}", last.event);
        last = event;
    }
    assert_closing(&last, "slow", true);
    assert!(!stalled.parser.inside_a_frame());
}

pub(crate) async fn what_is_pending_arrives_before_a_planned_end(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut subscriber, client_id) = connect(&server, "").await;
    for number in 0..50 {
        server.manager.broadcast(SseEvent::new("n", number)).unwrap();
    }
    assert!(server.manager.disconnect_client(&client_id));
    let expected: Vec<String> = (0..50).map(|number: u32| number.to_string()).collect();
    assert_eq!(subscriber.data(50).await, expected);
    assert_closing(&subscriber.next().await, "disconnected", false);
    subscriber.expect_end().await;
}
