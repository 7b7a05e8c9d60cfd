//! What a start makes of files that are not as they were left. Each test is a case that once went wrong.

#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, dead_code, reason = "modules of several tests")]

#[path = "support/memory_disk.rs"]
mod memory_disk;

use fanfare_core::disk::{DiskConfig, DiskSeed, OpenReport, Problem, WriterTurn, open, verify};
use fanfare_core::{Ending, Event, Hub, HubConfig, Identity, Input, Now, Resume, Seed, Sink, Start, Target, Token};
use memory_disk::MemoryDisk;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Nobody is connected here.
struct NoSink;

impl Sink for NoSink {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(Input::Open)
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}

const NOW: Now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };

struct Running {
    hub: Hub<NoSink>,
    writer: fanfare_core::disk::DiskWriter,
    report: OpenReport,
}

/// Starts over a disk; a segment is `records / 64` records long.
fn start(disk: &MemoryDisk, number: u64, records: u64) -> Running {
    let config = DiskConfig { records: Some(records), ..DiskConfig::default() };
    let seed = DiskSeed([1, 2, 3, number << 16]);
    let opened = open(Arc::new(disk.clone()), config, seed, 100, NOW).unwrap();
    let report = opened.report;
    // Nothing stays in memory but the newest record, so that what is read is read from the disk.
    let config = HubConfig { log_bytes: 1, ..HubConfig::default() };
    let (hub, _, writer) = Hub::on_disk(config, opened, Seed([number; 6]), NOW);
    Running { hub, writer, report }
}

impl Running {
    fn publish(&mut self, data: &str) {
        let draft = self.hub.draft(&Event::new("e", data).unwrap(), &Target::All);
        self.hub.publish(vec![draft], None, NOW, Box::new(|answer| drop(answer.unwrap())));
        while self.writer.turn(&self.hub, NOW) == WriterTurn::Busy {}
    }

    /// The data of everything there is, `gap` where something is missing.
    fn read(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut start = Start::Earliest;
        loop {
            let history = self.hub.history(&Identity::anonymous(), start, false, 1_000, 1 << 20, NOW);
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

    // A larger segment than before, ended without its index.
    let disk = MemoryDisk::with(files);
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
