//! The library with a history on disk: what a restart keeps, what it must not bring back, and who may use a directory.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod support;

use fanfare::{
    ConfigError, Connection, ConnectionOptions, ReceivedEvent, SendError, SseConfig, SseEvent, SseFilter, SseManager,
    StorageError, Target,
};
use std::path::Path;
use support::config;

fn on_disk(path: &Path) -> SseConfig {
    SseConfig { data_dir: Some(path.to_owned()), ..config() }
}

/// As little memory as is allowed: nearly every read is one of the disk.
fn cold(path: &Path) -> SseConfig {
    SseConfig { history_bytes: 64 * 1024, ..on_disk(path) }
}

fn user(user_id: &str, last_event_id: &str) -> ConnectionOptions {
    ConnectionOptions {
        user_id: Some(user_id.to_owned()),
        last_event_id: Some(last_event_id.to_owned()),
        ..ConnectionOptions::default()
    }
}

/// Everything until the ping of a connection that has caught up.
async fn replay(connection: &mut Connection) -> Vec<ReceivedEvent> {
    let mut events = Vec::new();
    loop {
        let event = connection.next_event().await.unwrap();
        match event.event.as_str() {
            "ping" => return events,
            "connected" => {}
            _ => events.push(event),
        }
    }
}

fn data(events: &[ReceivedEvent]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}

async fn publish(manager: &SseManager, data: u64, target: Target) -> String {
    let receipt = manager.publish(SseEvent::new("n", data), target).await.unwrap();
    assert_eq!(receipt.durability, "disk");
    receipt.id.unwrap()
}

#[tokio::test]
async fn a_restart_keeps_the_history_and_every_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for life in 0..3u64 {
        let manager = SseManager::new(on_disk(directory.path())).unwrap();
        for number in 0..3u64 {
            ids.push(publish(&manager, life * 3 + number, Target::user("ann")).await);
            publish(&manager, 100, Target::user("bob")).await;
        }
        let passing = manager.publish(SseEvent::new("n", 200).ephemeral(), Target::user("ann")).await.unwrap();
        assert_eq!((passing.id, passing.durability.as_ref()), (None, "ephemeral"));
        assert_eq!(manager.stats().durability, "disk");
    }
    let manager = SseManager::new(on_disk(directory.path())).unwrap();
    for (index, id) in ids.iter().enumerate() {
        let mut connection = manager.create_connection(user("ann", id)).unwrap();
        assert_eq!(connection.resume(), "resumed");
        let expected: Vec<String> = (index + 1..ids.len()).map(|number| number.to_string()).collect();
        assert_eq!(data(&replay(&mut connection).await), expected);
    }
    let mut last = manager.create_connection(user("ann", "last:2")).unwrap();
    assert_eq!(data(&replay(&mut last).await), ["7", "8"]);
    let mut all = manager.create_connection(user("ann", "earliest")).unwrap();
    assert_eq!(replay(&mut all).await.len(), 9);
    // What is published now comes behind it, and has an id of its own.
    let new = publish(&manager, 9, Target::user("ann")).await;
    assert!(!ids.contains(&new));
    assert_eq!(all.next_event().await.unwrap().data, "9");
}

#[tokio::test]
async fn without_a_directory_a_restart_is_a_reset() {
    let id = {
        let manager = SseManager::new(config()).unwrap();
        manager.publish(SseEvent::new("n", 1), Target::user("ann")).await.unwrap().id.unwrap()
    };
    let manager = SseManager::new(config()).unwrap();
    assert_eq!(manager.create_connection(user("ann", &id)).unwrap().resume(), "reset");
}

#[tokio::test]
async fn a_directory_belongs_to_one_manager_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let manager = SseManager::new(on_disk(directory.path())).unwrap();
    let error = SseManager::new(on_disk(directory.path())).unwrap_err();
    let holder = match &error {
        ConfigError::Storage { error: StorageError::Taken { holder }, .. } => *holder,
        other => panic!("{other}"),
    };
    assert_eq!(holder, Some(std::process::id()));
    drop(manager);
    SseManager::new(on_disk(directory.path())).unwrap();
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.tex"), "x").unwrap();
    let error = SseManager::new(on_disk(directory.path())).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("thesis.tex") && cause.contains("empty"), "{cause}");
    let file = directory.path().join("thesis.tex");
    assert!(matches!(
        SseManager::new(on_disk(&file)).unwrap_err(),
        ConfigError::Storage { error: StorageError::NotADirectory, .. }
    ));
}

#[tokio::test]
async fn an_expectation_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let topic = || Target::Topic("t".to_owned());
    let expecting = |id: &str| SseEvent::new("n", 1).with_expected_last_id(id);
    let first = {
        let manager = SseManager::new(cold(directory.path())).unwrap();
        let first = manager.publish(expecting("none"), topic()).await.unwrap().id.unwrap();
        for _ in 0..2_000 {
            manager.send(SseEvent::new("noise", "x".repeat(200)), Target::user("ann")).unwrap();
        }
        first
    };
    let manager = SseManager::new(cold(directory.path())).unwrap();
    let conflict = manager.publish(expecting("none"), topic()).await.unwrap_err();
    assert!(
        matches!(&conflict, SendError::Conflict { last_id, .. } if last_id.as_deref() == Some(&first)),
        "{conflict}"
    );
    let second = manager.publish(expecting(&first), topic()).await.unwrap().id.unwrap();
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (manager, event) = (manager.clone(), expecting(&second));
            tokio::spawn(async move { manager.publish(event, Target::Topic("t".to_owned())).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += usize::from(racer.await.unwrap());
    }
    assert_eq!(won, 1);
}

/// Slots are numbered from the beginning in every life, and a client id dies with its socket.
#[tokio::test]
async fn an_event_for_a_client_finds_no_client_of_a_later_life() {
    let directory = tempfile::tempdir().unwrap();
    let id = {
        let manager = SseManager::new(on_disk(directory.path())).unwrap();
        let connection = manager.create_connection(user("ann", "latest")).unwrap();
        let id = publish(&manager, 0, Target::user("ann")).await;
        assert_eq!(manager.send_to_client(connection.client_id(), SseEvent::new("secret", 1)).unwrap(), 1);
        publish(&manager, 2, Target::user("ann")).await;
        id
    };
    let manager = SseManager::new(on_disk(directory.path())).unwrap();
    let mut connection = manager.create_connection(user("ann", &id)).unwrap();
    assert_eq!(data(&replay(&mut connection).await), ["2"]);
}

#[tokio::test]
async fn retention_makes_a_gap_for_whom_it_concerns_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let settings = || SseConfig { disk_bytes: 1 << 20, ..cold(directory.path()) };
    let (before, quiet) = {
        let manager = SseManager::new(settings()).unwrap();
        let before = manager.cursor();
        let quiet = publish(&manager, 1, Target::user("quiet")).await;
        for _ in 0..40 {
            let events = (0..500).map(|_| (SseEvent::new("n", "x".repeat(100)), Target::user("hot"))).collect();
            manager.publish_batch(events).await.unwrap();
        }
        let bytes = manager.stats().history_bytes;
        assert!(bytes <= (1 << 20) + 256 * 1024, "{bytes}");
        (before, quiet)
    };
    for _ in 0..2 {
        let manager = SseManager::new(settings()).unwrap();
        let verdict = |user_id: &str, id: &str| manager.create_connection(user(user_id, id)).unwrap().resume();
        assert_eq!(verdict("quiet", &before), "gap", "its one event is gone");
        assert_eq!(verdict("quiet", &quiet), "resumed", "it has seen it");
        assert_eq!(verdict("stranger", &before), "resumed");
        assert_eq!(verdict("hot", &quiet), "gap");
    }
}

#[tokio::test]
async fn what_memory_has_not_comes_from_disk_and_then_live_without_a_seam() {
    let directory = tempfile::tempdir().unwrap();
    let manager = SseManager::new(cold(directory.path())).unwrap();
    let batch = |from: u64| {
        let filter = || Target::Filter(SseFilter { user_id: Some("ann".to_owned()), ..SseFilter::default() });
        (from..from + 500)
            .map(move |n| {
                let target = match n % 4 {
                    0 => Target::All,
                    1 => Target::user("ann"),
                    2 => Target::Users(vec!["ann".to_owned(), "bob".to_owned()]),
                    _ => filter(),
                };
                (SseEvent::new("n", serde_json::json!([n, "x".repeat(150)])), target)
            })
            .collect()
    };
    for round in 0..10 {
        manager.publish_batch(batch(round * 500)).await.unwrap();
    }
    let mut connection = manager.create_connection(user("ann", "earliest")).unwrap();
    assert_eq!(connection.next_event().await.unwrap().event, "connected");
    let publisher = manager.clone();
    let more = tokio::spawn(async move {
        for round in 10..20 {
            publisher.publish_batch(batch(round * 500)).await.unwrap();
        }
    });
    let mut expected = 0;
    while expected < 10_000 {
        let event = connection.next_event().await.unwrap();
        if event.event == "n" {
            assert!(event.data.starts_with(&format!("[{expected},")), "{} after {expected}", event.data);
            expected += 1;
        }
    }
    more.await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_the_disk_is_answered_when_the_manager_goes() {
    let directory = tempfile::tempdir().unwrap();
    let manager = SseManager::new(on_disk(directory.path())).unwrap();
    let publishing: Vec<_> = (0..200)
        .map(|n| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.publish(SseEvent::new("n", n), Target::All).await })
        })
        .collect();
    tokio::task::yield_now().await;
    manager.destroy();
    let mut kept = 0;
    for answer in publishing {
        match answer.await.unwrap() {
            Ok(receipt) => kept += usize::from(receipt.id.is_some()),
            Err(error) => assert_eq!(error, SendError::Closed),
        }
    }
    drop(manager);
    let manager = SseManager::new(on_disk(directory.path())).unwrap();
    assert!(manager.stats().history_events >= kept, "what was answered is there");
}
