//! A log that was written, damaged, opened, read by everybody, written to, and so again: it never panics, serves
//! nothing that was not written, and tells what it cannot serve. Where the damage is forged, only that it lives.

use super::damage::{accident, forgery};
use super::input::Input;
use super::memory_disk::{Files, MemoryDisk};
use super::node::{Choice, Node, settled};
use super::people::{READERS, TARGETS};
use super::streams::Ledger;
use super::tell::{keep, tell};
use fanfare_core::disk::{DiskConfig, LogFilter, dump, inspect, verify};
use fanfare_core::{Event, Now, Resume, Start};
use std::ops::ControlFlow;
use std::sync::OnceLock;

const BEGIN_MS: u64 = 1_700_000_000_000;
/// Events in a segment, and segments.
const SEGMENT: u64 = 5;
const ROUNDS: usize = 2;

fn now(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: BEGIN_MS + ms }
}

fn choice(events: u64, log_bytes: usize) -> Choice {
    let disk = DiskConfig { bytes: 1 << 20, records: Some(events), ..DiskConfig::default() };
    Choice { shards: 1, log_bytes, disk }
}

fn event(number: usize) -> Event {
    let mut event = Event::new("e", format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(number % 7 * 40))).unwrap();
    if number.is_multiple_of(5) {
        event = event.with_id("own-id").unwrap();
    }
    event
}

/// The same log at several moments, whole.
struct Original {
    moments: Vec<Files>,
    ledger: Ledger,
}

fn publish(node: &mut Node, ledger: &mut Ledger, numbers: std::ops::Range<usize>, group: usize) {
    let mut sent = Vec::new();
    for number in numbers {
        // An answer is kept for some.
        let key = (number % 6 == 1).then(|| format!("key-{number}"));
        let target = (number * 5 + number / 3) % TARGETS;
        sent.extend(node.publish(vec![(target, event(number))], key.as_deref()));
        if number.is_multiple_of(group) {
            node.settle();
        }
    }
    node.settle();
    ledger.written.extend(settled(sent));
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let disk = MemoryDisk::default();
        let (mut moments, mut ledger) = (Vec::new(), Ledger::default());
        // Three starts: 40 events in segments of five; the last start keeps a part, in longer segments.
        for (start, events) in [(0, 64 * SEGMENT), (1, 64 * SEGMENT), (2, 20)] {
            let at = now(start * 1_000);
            let (mut node, _) = Node::on_disk(&disk, choice(events, 1), start + 1, at).unwrap();
            for part in 0..2 {
                let first = (start as usize * 2 + part) * 8;
                publish(&mut node, &mut ledger, first..first + 8, 1 + part * 2);
                moments.push(disk.files());
                while node.hub.maintain(node.now).unwrap() {}
            }
            moments.push(disk.files());
        }
        Original { moments, ledger }
    })
}

pub fn run(bytes: &[u8]) {
    let Original { moments, ledger } = original();
    let mut input = Input::new(bytes);
    let forged = input.one_in(3);
    let mut files = moments[input.below(moments.len())].clone();
    let mut ledger = Ledger { written: ledger.written.clone(), ..Ledger::default() };
    for round in 0..ROUNDS {
        for _ in 0..input.below(6) {
            if forged {
                forgery(&mut input, &mut files, 7);
            } else {
                // Later on, what is there is no longer the log that it was at an earlier moment.
                accident(&mut input, &mut files, if round == 0 { moments } else { &[] });
            }
        }
        let log_bytes = if input.one_in(3) { 1 << 20 } else { 1 };
        let events = if input.one_in(4) { 20 } else { 64 * SEGMENT };
        let number = 100 + round as u64;
        let Some(next) = open_and_judge(&mut input, files, &mut ledger, choice(events, log_bytes), number, forged)
        else {
            return;
        };
        files = next;
    }
}

/// The files as a run left them, if it could start.
fn open_and_judge(
    input: &mut Input<'_>,
    files: Files,
    ledger: &mut Ledger,
    choice: Choice,
    number: u64,
    forged: bool,
) -> Option<Files> {
    let disk = MemoryDisk::with(files.clone());
    keep(&number.to_string(), &files);
    let looked = look(&disk, ledger, forged);
    assert_eq!(disk.files(), files, "a look changes nothing");
    let at = now(10_000 + number);
    let Ok((mut node, report)) = Node::on_disk(&disk, choice, number, at) else { return None };
    tell(|| format!("{report:?}"));
    let sound = looked.is_some_and(|problems| problems == 0);
    assert!(forged || !sound || report.holes == 0, "sound, and yet {report:?}");
    let tail = node.hub.cursor().position;
    let mut lost = Vec::new();
    ledger.written.retain(|written| {
        let kept = written.cursor.position <= tail;
        if !kept {
            lost.push(written.cursor);
        }
        kept
    });
    let mut lines = Vec::new();
    for reader in 0..READERS {
        lines.extend(node.connect(reader, Start::Earliest, usize::MAX));
        let after = input.below(ledger.written.len() + 1);
        let cursor = ledger.written.get(after).map(|written| written.cursor);
        lines.extend(node.connect(reader, Start::After(cursor), usize::MAX));
        lines.extend(node.connect(reader, Start::Last(u64::from(input.byte() % 16)), usize::MAX));
    }
    if !forged && let Some(cursor) = lost.first() {
        let line = node.connect(0, Start::After(Some(*cursor)), usize::MAX).unwrap();
        assert_eq!(line.registration.resume, Resume::Reset, "{cursor:?} was lost");
    }
    node.settle();
    // From the middle of reading on, something new.
    let first = number as usize * 100;
    publish(&mut node, ledger, first..first + 7, 2);
    while node.hub.maintain(node.now).unwrap() {}
    node.settle();
    let tail = node.hub.cursor().position;
    for line in lines {
        let taken = std::mem::take(&mut line.far.lock().unwrap().taken);
        tell(|| format!("reader {}, {:?}: {}", line.reader, line.registration, String::from_utf8_lossy(&taken)));
        if !forged {
            ledger.judge_complete(line.reader, &taken, tail);
        }
    }
    drop(node);
    Some(disk.files())
}

/// The number of problems, if it is a log.
fn look(disk: &MemoryDisk, ledger: &Ledger, forged: bool) -> Option<usize> {
    let mut problems = 0;
    let seen = verify(disk, |problem| {
        problems += 1;
        tell(|| format!("{problem:?}"));
    });
    let mut before = 0;
    let dumped = dump(disk, &LogFilter::default(), |record| {
        if !forged {
            assert!(record.position > before, "in order");
            before = record.position;
            let known = |written: &&super::streams::Written| {
                written.data == record.data && record.id.split('~').next() == Some(&written.cursor.to_string())
            };
            assert!(ledger.written.iter().any(|written| known(&written)), "not written: {record:?}");
        }
        ControlFlow::Continue(())
    });
    let inspected = inspect(disk);
    assert!(forged || seen.is_err() || dumped.is_ok() && inspected.is_ok());
    seen.ok().map(|_| problems)
}
