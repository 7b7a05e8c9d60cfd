//! Slow readers: each policy over real sockets, and that nobody else pays for them.

use crate::support::{Event, Server, Subscriber, Wire, config, noise, serve};
use fanfare::{SlowPolicy, SseConfig, SseEvent};
use serde_json::json;

/// Together more than a socket holds at both ends and the newest events of a shard.
const EVENTS: usize = 120;
/// Where HTTP/2 bounds what is under way, the newest events of a shard are nearly all.
const EVENTS_HTTP2: usize = 30;
const EVENT_BYTES: usize = 200_000;

fn event(number: usize) -> SseEvent {
    SseEvent::new("n", format!("{number}:{}", noise(EVENT_BYTES)))
}

fn number(event: &Event) -> usize {
    assert_eq!((event.event.as_str(), event.data.len() > EVENT_BYTES), ("n", true), "whole frames");
    event.json().as_str().unwrap().split(':').next().unwrap().parse().unwrap()
}

/// A reader that reads nothing yet and has been outrun, and how many events there were. Each is with a reader that keeps
/// up before the next comes: it is the socket that is slow, not the server.
async fn outrun(server: &Server, query: &str) -> (Subscriber, usize) {
    let (stalled, _) = Subscriber::connect(server, query).await;
    let (mut healthy, _) = Subscriber::connect(server, "").await;
    let events = if server.wire.is_http2() { EVENTS_HTTP2 } else { EVENTS };
    for published in 0..events {
        server.manager.broadcast(event(published)).unwrap();
        assert_eq!(number(&healthy.next_own().await), published, "a slow reader holds up nobody");
        if server.manager.stats().disconnects["slow"] > 0 {
            return (stalled, published + 1);
        }
    }
    (stalled, events)
}

async fn assert_counted(server: &Server, policy: &str, gaps: u64) {
    let stats = server.stats().await;
    let mut expected = json!({ "catch-up": 0, "gap": 0, "disconnect": 0 });
    expected[policy] = json!(1);
    assert_eq!(stats["slowReaders"], expected);
    assert_eq!(stats["gaps"], json!({ "retention": 0, "slow": gaps, "damaged": 0 }));
}

pub(crate) async fn a_slow_reader_that_catches_up_gets_everything_late(wire: Wire) {
    // The request is stronger than the setting.
    let server = serve(wire, SseConfig { slow_policy: SlowPolicy::Gap, ..config() }).await;
    let (mut slow, published) = outrun(&server, "sse.slow=catch-up").await;
    for expected in 0..published {
        assert_eq!(number(&slow.next_own().await), expected);
    }
    server.manager.broadcast(SseEvent::new("live", 1)).unwrap();
    assert_eq!(slow.next_own().await.event, "live");
    assert_counted(&server, "catch-up", 0).await;
}

pub(crate) async fn a_slow_reader_that_skips_is_told_of_the_gap_and_goes_on_in_the_present(wire: Wire) {
    let server = serve(wire, config()).await;
    let (mut slow, published) = outrun(&server, "sse.slow=gap").await;
    let present = server.manager.cursor();
    let mut expected = 0;
    let gap = loop {
        let event = slow.next().await;
        if event.is_control() {
            break event;
        }
        assert_eq!(number(&event), expected);
        expected += 1;
    };
    assert!(expected < published, "something is gone");
    assert_eq!((gap.event.as_str(), gap.json(), gap.id), ("$gap", json!({ "reason": "slow" }), present));
    server.manager.broadcast(SseEvent::new("live", 1)).unwrap();
    assert_eq!(slow.next_own().await.event, "live");
    assert_counted(&server, "gap", 1).await;
}

pub(crate) async fn a_slow_reader_that_is_to_go_is_told_to_come_back(wire: Wire) {
    let server = serve(wire, SseConfig { slow_policy: SlowPolicy::Disconnect, ..config() }).await;
    let (mut slow, published) = outrun(&server, "").await;
    let mut expected = 0;
    let closing = loop {
        let event = slow.next().await;
        if event.is_control() {
            break event;
        }
        assert_eq!(number(&event), expected);
        expected += 1;
    };
    assert!(expected < published, "it was not kept until it had everything");
    assert_eq!((closing.event.as_str(), closing.json()), ("$closing", json!({ "reason": "slow", "reconnect": true })));
    assert!(closing.retry.is_some() && !closing.has_id, "{closing:?}");
    slow.expect_end().await;
    assert_counted(&server, "disconnect", 0).await;
    assert_eq!(server.stats().await["disconnects"]["slow"], 1);
}
