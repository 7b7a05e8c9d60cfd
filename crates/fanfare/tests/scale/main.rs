//! Ten thousand connections, stalled readers, churn and want of descriptors, against a server in a process of its own,
//! whose memory, descriptors and processor time are then the server's alone.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]
#![cfg(target_os = "linux")]

mod server;
#[path = "../support/mod.rs"]
mod support;
mod swarm;

use fanfare::{SseConfig, SseManager};
use serde_json::json;
use server::{MIB, Process};
use std::time::{Duration, Instant};
use support::{Event, SseParser, eventually};
use swarm::Client;

/// One at a time: each takes most of the descriptors that a process may have.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[test]
fn a_child_process_serves_until_it_is_ended() {
    server::serve_if_asked_to();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_get_everything_are_counted_and_leave_nothing_behind() {
    const CLIENTS: usize = 10_000;
    const BROADCASTS: usize = 40;
    let _one = ONE_AT_A_TIME.lock().await;
    let limit = fanfare::raise_descriptor_limit().unwrap();
    assert!(limit >= 10_500, "the hard limit on descriptors, {limit}, is too low for this test");
    let server = Process::start(None, 64 * MIB, CLIENTS);
    let descriptors = server.descriptors();
    let mut clients = swarm::connect(server.addr, CLIENTS, |number| format!("userId=u{}", number % 100)).await;
    let stats = server.stats().await;
    assert_eq!(stats["totalClients"], CLIENTS);
    let users = stats["clientsByUser"].as_object().unwrap();
    assert!(users.len() == 100 && users.values().all(|clients| *clients == 100), "{users:?}");
    let refused = swarm::connect(server.addr, 1, |_| String::new()).await;
    assert!(refused[0].text().contains("\"reason\":\"capacity\""), "{}", refused[0].text());

    let reading: Vec<_> = clients.drain(..).map(|client| tokio::spawn(client.read_until("event: end\n"))).collect();
    for number in 0..BROADCASTS {
        let body = json!({ "event": "n", "data": format!("{number}:{}", "x".repeat(500)) });
        assert_eq!(server.publish(&body).await["clients"], CLIENTS);
    }
    let one = json!({ "event": "one", "data": 1, "to": { "userId": "u7" } });
    assert_eq!(server.publish(&one).await["clients"], 100);
    assert_eq!(server.publish(&json!({ "event": "end", "data": 0 })).await["clients"], CLIENTS);
    for (number, reading) in reading.into_iter().enumerate() {
        let client = reading.await.unwrap();
        let text = client.text();
        let found: Vec<&str> = text.matches("event: n\n").collect();
        assert_eq!(found.len(), BROADCASTS, "client {number}");
        assert_eq!(text.contains("event: one\n"), number % 100 == 7, "client {number}");
        clients.push(client);
    }
    let sent = CLIENTS * (BROADCASTS + 1) + 100;
    server.becomes("totalEventsSent", sent as u64).await;

    for (number, client) in clients.into_iter().enumerate() {
        client.leave(number % 2 == 0);
    }
    server.becomes("totalClients", 0).await;
    eventually("every descriptor is free again", || server.descriptors() <= descriptors + 1).await;
    let stats = server.stats().await;
    assert_eq!((&stats["clientsByUser"], &stats["totalEventsSent"]), (&json!({}), &json!(sent)));
    let ended: u64 = stats["disconnects"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(ended, CLIENTS as u64, "{stats}");
}

fn number(event: &Event) -> usize {
    event.json().as_str().unwrap_or_else(|| panic!("{event:?}")).split(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_stalled_readers_cost_others_nothing_and_are_told_what_they_missed() {
    const IDLE: usize = 9_000;
    const STALLED: usize = 100;
    const HEALTHY: usize = 20;
    const BATCHES: usize = 24;
    const BATCH: usize = 200;
    let _one = ONE_AT_A_TIME.lock().await;
    fanfare::raise_descriptor_limit().unwrap();
    let server = Process::start(None, 4 * MIB, 20_000);
    let idle = swarm::connect(server.addr, IDLE, |number| format!("userId=u{number}")).await;
    let stalled = swarm::connect_with_small_buffers(server.addr, STALLED, "topic=heavy&page=stalled").await;
    let mut healthy = swarm::connect(server.addr, HEALTHY, |_| "topic=heavy".into()).await;
    let mut memory = Vec::new();
    for batch in 0..BATCHES {
        let events: Vec<_> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|number| format!("{number}:{}", "x".repeat(4_000)))
            .map(|data| json!({ "event": "n", "data": data, "to": { "topic": "heavy" } }))
            .collect();
        let receipts = server.publish(&json!(events)).await;
        assert!(receipts.as_array().unwrap().iter().all(|receipt| receipt["clients"] == STALLED + HEALTHY));
        // Steady traffic: as fast as those take it who read.
        for client in &mut healthy {
            let events = client.read_events(BATCH).await;
            assert!(events.iter().map(number).eq(batch * BATCH..(batch + 1) * BATCH), "each, in order");
        }
        memory.push(server.memory());
    }
    let (early, late) = (memory[BATCHES / 3], memory[BATCHES - 1]);
    assert!(late < early + 8 * MIB, "it grew from {early} to {late}: {memory:?}");

    let quiet = json!({ "event": "quiet", "data": 1, "to": { "userId": "u77" } });
    assert_eq!(server.publish(&quiet).await["clients"], 1);
    assert_eq!(server.publish(&json!({ "event": "end", "data": "0:" })).await["clients"], IDLE + STALLED + HEALTHY);
    for (number, client) in idle.into_iter().enumerate() {
        let client = client.read_until("event: end\n").await;
        assert_eq!(client.text().contains("event: quiet\n"), number == 77);
        assert!(!client.text().contains("$gap"), "what is not for it leaves no gap");
    }
    for client in stalled {
        let (events, mut parser) = (client.read_until("event: end\n").await, SseParser::default());
        let mut found = Vec::new();
        parser.feed(events.text().as_bytes(), &mut found);
        let (mut next, mut gaps) = (Some(0), 0);
        for event in &found[1..] {
            match event.event.as_str() {
                "$gap" => (next, gaps) = (None, gaps + 1),
                "n" => {
                    assert!(next.is_none_or(|next| next == number(event)), "{next:?} was next, not {}", event.data);
                    next = Some(number(event) + 1);
                }
                other => assert_eq!(other, "end"),
            }
        }
        assert_eq!(next, Some(BATCHES * BATCH), "it caught up");
        assert!(gaps > 0, "and was told of what is gone");
    }
    assert_eq!(server.stats().await["totalClients"], HEALTHY, "the others have left by now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_connects_and_disconnects_leave_memory_and_descriptors_as_they_were() {
    const WARM_UP: usize = 5_000;
    const CHURN: usize = 20_000;
    let _one = ONE_AT_A_TIME.lock().await;
    fanfare::raise_descriptor_limit().unwrap();
    let server = Process::start(None, MIB, 20_000);
    let descriptors = server.descriptors();
    let settled = async || {
        server.becomes("totalClients", 0).await;
        eventually("every descriptor is free again", || server.descriptors() <= descriptors + 1).await;
        server.memory()
    };
    swarm::churn(server.addr, WARM_UP).await;
    let before = settled().await;
    swarm::churn(server.addr, CHURN).await;
    let after = settled().await;
    assert!(after < before + 4 * MIB, "it grew from {before} to {after}");
    let stats = server.stats().await;
    assert_eq!(stats["clientsByUser"], json!({}));
    let mut clients = swarm::connect(server.addr, 1, |_| String::new()).await;
    server.publish(&json!({ "event": "n", "data": "1:" })).await;
    assert_eq!(number(&clients[0].read_events(1).await[0]), 1, "it serves as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_accepting_waits_neither_spinning_nor_dying_and_goes_on_by_itself() {
    const DESCRIPTORS: u64 = 64;
    const CLIENTS: usize = 100;
    let _one = ONE_AT_A_TIME.lock().await;
    let server = Process::start(Some(DESCRIPTORS), MIB, 1_000);
    assert_eq!(server.default_max_clients, DESCRIPTORS / 5 * 4, "the default leaves a reserve");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::request(server.addr, "").await);
    }
    eventually("no descriptor is left", || server.descriptors() as u64 >= DESCRIPTORS).await;

    // A loop that spins takes all of a core: over a second there is no mistaking the two.
    let (began, before) = (Instant::now(), server.processor_time());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = server.processor_time().saturating_sub(before);
    assert!(used < began.elapsed() / 4, "{used:?} of the processor in {:?}", began.elapsed());

    // Those who are in are served all the while.
    let mut inside = clients.remove(0);
    inside.read_connected().await;
    let mut waiting = clients.split_off(CLIENTS / 2);
    for client in clients {
        client.leave(true);
    }
    drop(waiting.split_off(20));
    for client in &mut waiting {
        client.read_connected().await;
    }
    server.publish(&json!({ "event": "n", "data": "7:" })).await;
    assert_eq!(number(&inside.read_events(1).await[0]), 7);
    for client in &mut waiting {
        assert_eq!(number(&client.read_events(1).await[0]), 7);
    }
    drop((inside, waiting));
    server.becomes("totalClients", 0).await;
}

#[tokio::test]
async fn managers_leave_no_thread_behind() {
    let _one = ONE_AT_A_TIME.lock().await;
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
            // A thread may end while it is looked at.
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        });
        names.filter(|name| name.starts_with("fanfare-")).count()
    };
    assert_eq!(threads(), 0);
    let managers: Vec<_> =
        (0..20).map(|_| SseManager::new(SseConfig { shards: 2, ..SseConfig::default() }).unwrap()).collect();
    eventually("they have their threads", || threads() == 40).await;
    let held = managers[0].create_connection(fanfare::ConnectionOptions::default()).unwrap();
    drop(managers);
    drop(held);
    eventually("they are gone", || threads() == 0).await;
}
