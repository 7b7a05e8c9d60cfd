//! The heartbeat: in which interval, in which shape, and what it carries.

use crate::support::{Subscriber, Subscription, Wire, config, serve};
use fanfare::{SseConfig, SseEvent};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(100);

fn beating() -> SseConfig {
    SseConfig { ping_interval: INTERVAL, ..config() }
}

pub(crate) async fn pings_come_in_the_interval_and_carry_the_present(wire: Wire) {
    let server = serve(wire, beating()).await;
    let began = Instant::now();
    let (mut subscriber, connected) = Subscriber::connect(&server, "").await;
    assert_eq!(connected.json()["heartbeatInterval"], 100);
    for _ in 0..4 {
        let ping = subscriber.next().await;
        assert_eq!(ping.event, "ping");
        assert_eq!(ping.id, connected.id);
        let data = ping.json();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        assert!(data["timestamp"].as_u64().is_some_and(|sent| now - sent < 10_000), "{data}");
        assert_eq!(data.as_object().unwrap().len(), 1);
    }
    // The first comes within one interval, the next one interval apart: not more often.
    assert!(began.elapsed() >= INTERVAL * 2, "four pings in {:?}", began.elapsed());
}

pub(crate) async fn comments_take_the_place_of_pings_where_asked_for(wire: Wire) {
    let server = serve(wire, beating()).await;
    let (mut subscriber, connected) = Subscriber::connect(&server, "sse.heartbeat=comment").await;
    server.manager.send_to_user("somebody", SseEvent::new("n", 1)).unwrap();
    while subscriber.parser.comments() < 3 {
        subscriber.pump().await;
    }
    assert_eq!(subscriber.parser.last_event_id(), server.manager.cursor(), "a comment moves the cursor, too");
    assert_ne!(subscriber.parser.last_event_id(), connected.id);
    server.manager.broadcast(SseEvent::new("n", 2)).unwrap();
    assert_eq!(subscriber.next().await.data, "2", "no ping was dispatched");
}

pub(crate) async fn a_ping_moves_the_cursor_of_a_client_that_nothing_is_for(wire: Wire) {
    let settings = SseConfig { history_bytes: 64 * 1024, ..beating() };
    let server = serve(wire, settings).await;
    let (mut subscriber, _) = Subscriber::connect(&server, "userId=quiet").await;
    for _ in 0..100 {
        server.manager.send_to_user("busy", SseEvent::new("n", "x".repeat(2_000))).unwrap();
    }
    let present = server.manager.cursor();
    let id = loop {
        let ping = subscriber.next().await;
        assert_eq!(ping.event, "ping");
        if ping.id == present {
            break ping.id;
        }
    };
    let (_, verdict) = Subscriber::resume(&server, &Subscription::new("userId=quiet").after(&id)).await;
    assert_eq!(verdict.json()["resume"], "resumed", "it never falls off the history");
}
