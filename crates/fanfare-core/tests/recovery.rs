//! The log on disk where it once went wrong: over files that are not as they were left, and beside the log in memory.

#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, dead_code, reason = "modules of several tests")]

#[path = "support/memory_disk.rs"]
mod memory_disk;
#[path = "support/tap.rs"]
mod tap;

use fanfare_core::disk::{DiskConfig, DiskSeed, OpenReport, Problem, WriterTurn, open, verify};
use fanfare_core::{
    ConnectionOptions, Cursor, Encoding, Event, ExpectedLast, Hub, HubConfig, Identity, Name, Now, PublishError,
    Receipt, Resume, Seed, Shard, Start, Target,
};
use memory_disk::MemoryDisk;
use std::sync::Arc;
use tap::Tap;

const NOW: Now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };

struct Running {
    hub: Hub<Tap>,
    shards: Vec<Shard<Tap>>,
    writer: fanfare_core::disk::DiskWriter,
    report: OpenReport,
}

/// Starts over a disk; a segment is `records / 64` records long.
fn start(disk: &MemoryDisk, number: u64, records: u64) -> Running {
    // Nothing stays in memory but the newest record, so that what is read is read from the disk.
    start_with(disk, number, records, HubConfig { log_bytes: 1, ..HubConfig::default() })
}

fn start_with(disk: &MemoryDisk, number: u64, records: u64, hub_config: HubConfig) -> Running {
    let config = DiskConfig { records: Some(records), ..DiskConfig::default() };
    let seed = DiskSeed([1, 2, 3, number << 16]);
    let opened = open(Arc::new(disk.clone()), config, seed, 100, NOW).unwrap();
    let report = opened.report;
    let (hub, shards, writer) = Hub::on_disk(hub_config, opened, Seed([number; 6]), NOW);
    Running { hub, shards, writer, report }
}

impl Running {
    fn publish(&mut self, data: &str) {
        self.publish_to(&Target::All, data);
    }

    fn publish_to(&mut self, target: &Target, data: &str) {
        let draft = self.hub.draft(&Event::new("e", data).unwrap(), target);
        self.hub.publish(vec![draft], None, NOW, Box::new(|answer| drop(answer.unwrap())));
        while self.writer.turn(&self.hub, NOW) == WriterTurn::Busy {}
    }

    /// The data of everything there is, `gap` where something is missing.
    fn read(&self) -> Vec<String> {
        self.read_as(&Identity::anonymous(), Start::Earliest)
    }

    fn read_as(&self, identity: &Identity, mut start: Start) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let history = self.hub.history(identity, start, false, 1_000, 1 << 20, NOW);
            if history.resume == Resume::Gap {
                all.push("gap".to_owned());
            }
            let mut events = Vec::new();
            let mut parser = fanfare_core::Parser::new(1 << 20);
            history.frames.iter().for_each(|frame| parser.feed(frame, &mut events).unwrap());
            all.extend(events.into_iter().map(|event| event.data));
            if start == Start::After(Some(history.next)) {
                return all;
            }
            start = Start::After(Some(history.next));
        }
    }
}

/// A backup that lacks the newest segment has an index for the one before, which is then written to again. That index
/// was taken for the truth at a later start.
#[test]
fn an_index_from_before_a_segment_was_written_to_again_is_not_believed() {
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 256);
    (1..=5).for_each(|n| first.publish(&n.to_string()));
    assert!(first.hub.maintain(NOW).unwrap());
    drop(first);
    let mut files = disk.files();
    files.remove("00000000000000000004.log").unwrap();

    let disk = MemoryDisk::with(files);
    let mut problems = Vec::new();
    verify(&disk, |problem| problems.push(problem)).unwrap();
    assert!(matches!(&problems[..], [Problem::Lost { .. }]), "{problems:?}");

    // A larger segment than before, ended without its index.
    let mut second = start(&disk, 2, 64 * 7);
    for data in ["a", "b", "c", "d"] {
        second.publish(data);
    }
    drop(second);
    let third = start(&disk, 3, 64 * 7);
    assert_eq!(third.read(), ["1", "2", "3", "4", "gap", "a", "b", "c", "d"]);
    assert_eq!((third.report.segments, third.report.holes), (2, 0));
    let mut problems = Vec::new();
    verify(&disk, |problem| problems.push(problem)).unwrap();
    assert!(matches!(&problems[..], [Problem::Hole { until: 5, .. }]), "{problems:?}");
}

/// What was written next got positions below the floor, and was served to nobody who had to read it from the disk.
#[test]
fn segments_from_before_the_manifest_are_dropped_ones() {
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 2);
    (1..=3).for_each(|n| first.publish(&n.to_string()));
    let earlier = disk.files();
    for n in 0..10 {
        first.publish(&n.to_string());
        first.hub.maintain(NOW).unwrap();
    }
    drop(first);
    let mut files = disk.files();
    files.retain(|name, _| name.starts_with("manifest"));
    files.extend(earlier.into_iter().filter(|(name, _)| !name.starts_with("manifest")));
    let disk = MemoryDisk::with(files);
    let mut problems = Vec::new();
    verify(&disk, |problem| problems.push(problem)).unwrap();
    assert!(problems.iter().any(|problem| matches!(problem, Problem::Old { until: 3, .. })), "{problems:?}");
    let mut second = start(&disk, 2, 64);
    second.publish("new");
    assert_eq!(second.read(), ["gap", "new"]);
}

/// The records told of a hole only after the index had been asked where holes are.
#[test]
fn a_hole_found_by_the_key_that_finds_a_damaged_index_is_told() {
    let ada = Name::new("ada").unwrap();
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 64);
    first.publish_to(&Target::User(ada.clone()), "for ada");
    first.publish("2");
    assert!(first.hub.maintain(NOW).unwrap());
    drop(first);
    let mut files = disk.files();
    let index = files.get_mut("00000000000000000000.idx").unwrap();
    *index.last_mut().unwrap() ^= 1;
    let segment = files.get_mut("00000000000000000000.log").unwrap();
    segment[64 + 60] ^= 1;
    let second = start(&MemoryDisk::with(files), 2, 64);
    let reader = Identity::anonymous().with_user(ada);
    assert_eq!(second.read_as(&reader, Start::Earliest), ["gap", "2"]);
}

/// A connection that came back began where the disk does, without what the memory had in front of it.
#[test]
fn memory_that_reaches_further_back_than_the_disk_is_read() {
    let mut running = start_with(&MemoryDisk::default(), 1, 2, HubConfig::default());
    let before = running.hub.cursor();
    (1..=10).for_each(|n| running.publish(&n.to_string()));
    let all: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
    let resumed = running.read_as(&Identity::anonymous(), Start::After(Some(before)));
    assert_eq!(resumed, all);
    assert_eq!(running.read(), all);
}

/// The chunk that was read told a gap up to where retention was, and said that it reached less far.
#[test]
fn a_gap_beyond_what_a_shard_has_heard_of_is_not_followed_by_what_is_in_it() {
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 64);
    (1..=15).for_each(|n| first.publish(&n.to_string()));
    let middle = Cursor { position: 10, ..first.hub.cursor() };
    drop(first);
    // The memory has what comes from here on.
    let mut running = start_with(&disk, 2, 64, HubConfig::default());
    (16..=20).for_each(|n| running.publish(&n.to_string()));
    running.shards[0].turn(NOW);
    let anonymous = Identity::anonymous();
    let start = Start::After(Some(middle));
    let registration = running.hub.register(&anonymous, start, ConnectionOptions::default(), NOW).unwrap();
    let tap = Tap::default();
    let connected = registration.connected_frame("{}");
    running.hub.attach(registration.token(), tap.clone(), Vec::new(), connected, Encoding::Identity);
    // The shard asks for what it knows of; before that is read, all of it is dropped and more.
    running.shards[0].turn(NOW);
    (21..=100).for_each(|n| running.publish(&n.to_string()));
    running.hub.maintain(NOW).unwrap();
    for _ in 0..20 {
        while running.hub.read_cold() {}
        running.shards[0].turn(NOW);
    }
    let mut events = Vec::new();
    fanfare_core::Parser::new(1 << 20).feed(&tap.0.lock().unwrap(), &mut events).unwrap();
    let places: Vec<u64> = events.iter().map(|event| Cursor::parse(&event.last_event_id).unwrap().position).collect();
    assert!(places.is_sorted() && places.last() == Some(&100), "{places:?}");
    assert!(events.iter().any(|event| event.event == "$gap"));
}

/// The damage was looked for at the end of the newest file, which a start takes away.
#[test]
fn a_damaged_end_in_front_of_a_segment_that_was_not_made_is_told() {
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 128);
    (1..=3).for_each(|n| first.publish(&n.to_string()));
    drop(first);
    let mut files = disk.files();
    files.get_mut("00000000000000000002.log").unwrap().truncate(20);
    let segment = files.get_mut("00000000000000000000.log").unwrap();
    let end = segment.len();
    segment[end - 20] ^= 1;
    let disk = MemoryDisk::with(files);
    let mut problems = Vec::new();
    verify(&disk, |problem| problems.push(problem)).unwrap();
    assert!(matches!(problems.as_slice(), [Problem::Tail { .. }]), "{problems:?}");
    assert_eq!(start(&disk, 2, 128).report.holes, 1);
}

/// The event that was lost may have been the topic's newest, and a publisher who had not seen it was let through.
#[test]
fn behind_a_hole_nobody_knows_the_last_of_a_topic() {
    let topic = Name::new("t").unwrap();
    let disk = MemoryDisk::default();
    let mut first = start(&disk, 1, 64);
    first.publish_to(&Target::Topic(topic.clone()), "seen");
    let seen = first.hub.cursor();
    first.publish_to(&Target::Topic(topic.clone()), "lost");
    drop(first);
    let mut files = disk.files();
    let segment = files.get_mut("00000000000000000001.log").unwrap();
    segment[64 + 60] ^= 1;
    let mut second = start(&MemoryDisk::with(files), 2, 64);
    let reader = Identity::anonymous().with_topics(vec![topic.clone()]).unwrap();
    assert_eq!(second.read_as(&reader, Start::Earliest), ["seen", "gap"]);
    for expected in [ExpectedLast::Event(seen), ExpectedLast::Nothing] {
        let draft = second.hub.draft_expecting(&Event::new("e", "new").unwrap(), &topic, expected);
        let refused = |answer: Result<Vec<Receipt>, PublishError>| {
            assert!(matches!(answer, Err(PublishError::Conflict { .. })), "{answer:?}");
        };
        second.hub.publish(vec![draft], None, NOW, Box::new(refused));
        while second.writer.turn(&second.hub, NOW) == WriterTurn::Busy {}
    }
    // Whoever does not ask is let through, and known from then on.
    second.publish_to(&Target::Topic(topic.clone()), "known");
    let known = ExpectedLast::Event(second.hub.cursor());
    let draft = second.hub.draft_expecting(&Event::new("e", "next").unwrap(), &topic, known);
    second.hub.publish(vec![draft], None, NOW, Box::new(|answer| drop(answer.unwrap())));
    while second.writer.turn(&second.hub, NOW) == WriterTurn::Busy {}
    assert_eq!(second.read_as(&reader, Start::Earliest), ["seen", "gap", "known", "next"]);
}
