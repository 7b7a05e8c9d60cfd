//! Reading a segment from its first byte, without an index: what is whole, what is damaged, where it ends.
//!
//! A group of records is kept if its commit is there and fits. What is behind the last commit was never
//! acknowledged, if it looks as an interrupted write does; where it does not, it may have been, and that is told.
//! Damage in front of a later commit was acknowledged for sure: what can be read of it is kept, and the rest is a
//! hole, of which every reader who passes is told.

use super::files::{DiskFile, read_all};
use super::format::{
    BadHead, Kind, RECORD_HEAD, RecordRef, SEGMENT_HEAD, TargetKind, claimed_len, read_record, read_segment_head, salt,
};
use super::index::{EVERYBODY, Entry, IndexError, OpenIndex, Summary};
use std::collections::BTreeSet;

/// Larger than any segment can be, and all that an offset can say.
pub(super) const SEGMENT_MAX: u64 = 1 << 30;

/// What is behind the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing.
    Clean,
    /// A write that was interrupted: nobody was told of it.
    Torn,
    /// Something that may have been committed, and cannot be read.
    Damaged,
}

/// A segment that was read.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) index: OpenIndex,
    pub(super) tail: Tail,
    /// Records that could not be read, in runs.
    pub(super) holes: usize,
    /// Where the last group begins.
    pub(super) last_group_at: usize,
}

/// One step of the walk.
#[derive(Clone, Copy)]
enum Item<'a> {
    /// A record and its offset.
    Record(usize, RecordRef<'a>),
    /// Bytes between two offsets that are no record, with records behind.
    Damage(usize, usize),
}

impl Item<'_> {
    fn start(&self) -> usize {
        match self {
            Self::Record(at, _) | Self::Damage(at, _) => *at,
        }
    }

    fn end(&self) -> usize {
        match self {
            Self::Record(at, record) => at + record.len,
            Self::Damage(_, end) => *end,
        }
    }
}

/// Reads a segment. `Damaged` is the segment of another log. `newest` is the one that was written last: only there can a write have been interrupted.
pub(super) fn scan(file: &dyn DiskFile, log_id: u64, base: u64, newest: bool) -> Result<Scan, IndexError> {
    let bytes = read_all(file, SEGMENT_MAX)?;
    match read_segment_head(&bytes) {
        Ok(found) if found == (log_id, base) => {}
        Ok(_) => return Err(IndexError::Damaged),
        Err(BadHead::Version(version)) => return Err(IndexError::Version(version)),
        // All that is in it is known from the name and the manifest.
        Err(BadHead::Damaged) => {}
    }
    Ok(scan_bytes(&bytes, salt(log_id, base), base, newest))
}

/// [`scan`] of a segment's bytes, whose head is sound.
pub(super) fn scan_bytes(bytes: &[u8], salt: u32, base: u64, newest: bool) -> Scan {
    let items = walk(bytes, salt, base);
    let commits = items.iter().filter(|item| matches!(item, Item::Record(_, record) if record.kind == Kind::Commit));
    let mut commits_left = commits.count();
    let summary = Summary {
        records: 0,
        bytes: SEGMENT_HEAD as u32,
        last_position: base,
        last_wall_ms: 0,
        last_group: 0,
        last_hole: 0,
        answers: Vec::new(),
    };
    let index = OpenIndex { entries: BTreeSet::new(), summary };
    let mut scan = Scan { index, tail: Tail::Clean, holes: 0, last_group_at: SEGMENT_HEAD };
    let mut group: Vec<Item<'_>> = Vec::new();
    for item in items {
        group.push(item);
        let Item::Record(offset, record) = item else { continue };
        let Some(commit) = record.commit() else { continue };
        commits_left -= 1;
        // Usually where the last commit ended; not if that commit is what was damaged.
        let began = offset.saturating_sub(commit.bytes as usize).max(scan.index.summary.bytes as usize);
        let own = group.partition_point(|item| item.end() <= began);
        let whole = group[own].start() == began && !group[own..].iter().any(|item| matches!(item, Item::Damage(..)));
        scan.take(&group[..own], base);
        if !whole && newest && commits_left == 0 {
            // Either pages of an interrupted write came to the disk in another order, or an acknowledged group has
            // rotted. Nobody can tell, so it is treated as both: not served, and not kept quiet.
            scan.tail = Tail::Damaged;
            scan.index.summary.bytes = began as u32;
            return scan;
        }
        scan.take(&group[own..], base);
        scan.last_group_at = began;
        scan.index.summary.bytes = (offset + record.len) as u32;
        scan.index.summary.last_group = commit.group;
        group.clear();
    }
    let end = group.last().map_or(scan.index.summary.bytes as usize, Item::end);
    scan.tail = if group.iter().any(|item| matches!(item, Item::Damage(..))) {
        // An acknowledged commit may have rotted here, in front of a write that was interrupted.
        Tail::Damaged
    } else {
        tail(bytes, end, !group.is_empty())
    };
    scan
}

impl Scan {
    /// Takes the records of a group into the index, and a hole for what is missing between them.
    fn take(&mut self, group: &[Item<'_>], base: u64) {
        let OpenIndex { entries, summary } = &mut self.index;
        for item in group {
            let Item::Record(offset, record) = item else { continue };
            // Positions have no gaps but where records are missing, with or without damage to show for it.
            let lost = match record.kind {
                Kind::Event | Kind::Hole => record.position - 1,
                Kind::Commit | Kind::Answer => record.position,
            };
            if lost > summary.last_position {
                self.holes += 1;
                summary.last_hole = (lost - base) as u32;
                entries.insert(Entry::hole(summary.last_hole));
            }
            summary.last_position = summary.last_position.max(record.position);
            summary.last_wall_ms = summary.last_wall_ms.max(record.wall_ms);
            let delta = (record.position - base) as u32;
            match record.kind {
                Kind::Event => {
                    summary.records += 1;
                    if record.target == TargetKind::All {
                        entries.insert(Entry::new(EVERYBODY, delta, *offset as u32, false));
                    }
                    let client = record.target == TargetKind::Client;
                    entries.extend(record.index_keys().map(|key| Entry::new(key, delta, *offset as u32, client)));
                }
                Kind::Answer => summary.answers.push(*offset as u32),
                Kind::Hole => {
                    summary.last_hole = delta;
                    entries.insert(Entry::hole(delta));
                }
                Kind::Commit => {}
            }
        }
    }
}

/// Every record that can be read, in order.
fn walk(bytes: &[u8], salt: u32, base: u64) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let (mut position, mut group) = (base, 0);
    let mut at = SEGMENT_HEAD;
    let mut damaged_from = None;
    while at + RECORD_HEAD <= bytes.len() {
        let record = read_record(&bytes[at..], salt).filter(|record| {
            record.position.checked_sub(base).is_some_and(|delta| delta < u64::from(u32::MAX))
                && match record.kind {
                    Kind::Event | Kind::Hole => record.position > position,
                    Kind::Answer => record.position >= position,
                    Kind::Commit => {
                        record.position >= position && record.commit().is_some_and(|commit| commit.group > group)
                    }
                }
        });
        let Some(record) = record else {
            // Records lie at multiples of eight: whatever comes next that is whole is one.
            damaged_from.get_or_insert(at);
            at += 8;
            continue;
        };
        if let Some(from) = damaged_from.take() {
            items.push(Item::Damage(from, at));
        }
        position = record.position;
        if let Some(commit) = record.commit() {
            group = commit.group;
        }
        items.push(Item::Record(at, record));
        at += record.len;
    }
    items
}

/// What the bytes behind the last record that can be read say of what was meant to be there.
fn tail(bytes: &[u8], end: usize, uncommitted: bool) -> Tail {
    let Some(last) = bytes[end.min(bytes.len())..].iter().rposition(|byte| *byte != 0) else {
        return if uncommitted { Tail::Torn } else { Tail::Clean };
    };
    let rest = &bytes[end..];
    let written = last + 1;
    let interrupted = match claimed_len(rest) {
        // The padding at its end was not written.
        Some(len) => written < len,
        None => written < RECORD_HEAD,
    };
    if interrupted { Tail::Torn } else { Tail::Damaged }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Commit, Place, put_commit, put_record, segment_head};
    use super::*;
    use crate::target::Matcher;
    use proptest::prelude::*;

    const LOG: u64 = 77;

    /// A segment of groups with so many broadcasts each, and where each group ends.
    fn segment(groups: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let salt = salt(LOG, 0);
        let mut bytes = segment_head(LOG, 0);
        let (mut position, mut ends) = (0, Vec::new());
        for (number, records) in groups.iter().enumerate() {
            let start = bytes.len();
            for _ in 0..*records {
                position += 1;
                let place = Place { kind: Kind::Event, position, wall_ms: position };
                let body = format!("id: {position}\n\n");
                put_record(&mut bytes, salt, place, &Matcher::All, body.as_bytes());
            }
            let commit = Commit { group: number as u64 + 1, bytes: (bytes.len() - start) as u32 };
            put_commit(&mut bytes, salt, position, position, commit);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn positions(scan: &Scan) -> Vec<u32> {
        scan.index.entries.iter().map(|entry| entry.delta).collect()
    }

    fn read(bytes: &[u8]) -> Scan {
        scan_bytes(bytes, salt(LOG, 0), 0, true)
    }

    #[test]
    fn a_whole_segment_is_read_to_its_end() {
        let (mut bytes, ends) = segment(&[2, 1, 3]);
        bytes.resize(bytes.len() + 4_096, 0);
        let scan = read(&bytes);
        assert_eq!((positions(&scan), scan.tail, scan.holes), (vec![1, 2, 3, 4, 5, 6], Tail::Clean, 0));
        assert_eq!((scan.index.summary.bytes as usize, scan.index.summary.last_group), (ends[2], 3));
    }

    #[test]
    fn an_interrupted_write_is_cut_in_silence_wherever_it_stopped() {
        let (bytes, ends) = segment(&[2, 3]);
        for cut in ends[0]..ends[1] {
            for zeroes in [0, 200] {
                let mut torn = bytes[..cut].to_vec();
                torn.resize(bytes.len() + zeroes, 0);
                if zeroes == 0 {
                    torn.truncate(cut);
                }
                let scan = read(&torn);
                assert_eq!(positions(&scan), [1, 2], "cut at {cut}");
                assert_ne!(scan.tail, Tail::Damaged, "cut at {cut}, {zeroes}");
            }
        }
    }

    #[test]
    fn damage_before_a_later_commit_is_a_hole() {
        let (bytes, ends) = segment(&[2, 3, 1]);
        for at in ends[0]..ends[1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let scan = read(&damaged);
            let got = positions(&scan);
            assert_eq!(got.last(), Some(&6), "byte {at}: what comes after is there");
            assert_eq!(scan.tail, Tail::Clean);
            let real: Vec<_> = scan.index.above(EVERYBODY, None).collect();
            let whole = real.iter().filter(|found| found.offset > 0).count();
            assert!(whole == 6 || (whole >= 3 && scan.holes == 1), "byte {at}: {real:?}");
        }
    }

    /// The answer behind the damage moved the end of what is known, so that the commit behind it found nothing missing.
    #[test]
    fn damage_in_front_of_an_answer_is_a_hole() {
        let salt = salt(LOG, 0);
        let mut bytes = segment_head(LOG, 0);
        let mut starts = Vec::new();
        for position in 1..=3 {
            let start = bytes.len();
            starts.push(start);
            let place = |kind| Place { kind, position, wall_ms: 1 };
            put_record(&mut bytes, salt, place(Kind::Event), &Matcher::All, b"id: 1\n\n");
            put_record(&mut bytes, salt, place(Kind::Answer), &Matcher::All, b"an answer");
            let commit = Commit { group: position, bytes: (bytes.len() - start) as u32 };
            put_commit(&mut bytes, salt, position, 1, commit);
        }
        bytes[starts[1] + RECORD_HEAD] ^= 1;
        let scan = read(&bytes);
        assert_eq!((positions(&scan), scan.holes), (vec![1, 2, 3], 1));
        let holes: Vec<_> = scan.index.above(EVERYBODY, None).filter(|found| found.offset == 0).collect();
        assert_eq!(holes.len(), 1, "the second is a hole: {holes:?}");
    }

    /// The answer has the position of the event, and hid that it was missing.
    #[test]
    fn a_damaged_event_in_front_of_its_answer_leaves_a_hole() {
        let (mut bytes, _) = segment(&[1]);
        let (salt, start) = (salt(LOG, 0), bytes.len());
        for kind in [Kind::Event, Kind::Answer] {
            put_record(&mut bytes, salt, Place { kind, position: 2, wall_ms: 2 }, &Matcher::All, b"body");
        }
        let commit = Commit { group: 2, bytes: (bytes.len() - start) as u32 };
        put_commit(&mut bytes, salt, 2, 2, commit);
        bytes[start + 44] ^= 1;
        // In the newest segment the whole group would not count.
        let scan = scan_bytes(&bytes, salt, 0, false);
        let found: Vec<_> = scan.index.above(EVERYBODY, None).map(|found| (found.delta, found.offset > 0)).collect();
        assert_eq!((found, scan.holes), (vec![(1, true), (2, false)], 1));
    }

    /// As a write to the wrong place leaves it: every byte belongs to a whole record.
    #[test]
    fn a_record_in_the_place_of_another_leaves_a_hole() {
        let (mut bytes, _) = segment(&[4, 1]);
        let records: Vec<usize> = walk(&bytes, salt(LOG, 0), 0).iter().map(Item::start).collect();
        bytes.copy_within(records[2]..records[3], records[1]);
        let scan = read(&bytes);
        let found: Vec<_> = scan.index.above(EVERYBODY, None).map(|found| (found.delta, found.offset > 0)).collect();
        assert_eq!(found, [(1, true), (2, false), (3, true), (4, true), (5, true)]);
        assert_eq!((scan.holes, scan.tail), (1, Tail::Clean));
    }

    #[test]
    fn damage_in_the_last_group_is_told_and_not_served() {
        let (mut bytes, ends) = segment(&[2, 3]);
        let len = bytes.len();
        bytes.resize(len + 1_000, 0);
        for at in ends[0]..ends[1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let scan = read(&damaged);
            assert_eq!(positions(&scan), [1, 2], "byte {at}");
            assert_eq!(scan.tail, Tail::Damaged, "byte {at}");
            let older = scan_bytes(&damaged, salt(LOG, 0), 0, false);
            assert!(older.index.entries.len() >= 2, "in an older segment the rest is kept");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_damage_serves_nothing_that_was_not_written(
            groups in prop::collection::vec(1usize..4, 1..5),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            newest: bool,
        ) {
            let (bytes, _) = segment(&groups);
            let mut damaged = bytes.clone();
            for (at, value) in flips {
                let at = SEGMENT_HEAD + at.index(bytes.len() - SEGMENT_HEAD);
                damaged[at] = value;
            }
            damaged.truncate(SEGMENT_HEAD + cut.index(bytes.len() + 1 - SEGMENT_HEAD));
            let scan = scan_bytes(&damaged, salt(LOG, 0), 0, newest);
            let mut before = 0;
            for found in scan.index.above(EVERYBODY, None) {
                prop_assert!(found.delta > before, "positions rise");
                before = found.delta;
                if found.offset > 0 {
                    let at = found.offset as usize;
                    let record = read_record(&damaged[at..], salt(LOG, 0)).unwrap();
                    prop_assert_eq!(record.position, u64::from(found.delta));
                    prop_assert_eq!(&damaged[at..at + record.len], &bytes[at..at + record.len]);
                }
            }
        }
    }
}
