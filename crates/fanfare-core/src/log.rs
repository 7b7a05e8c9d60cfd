//! The log in memory: ordered records in segments, and where each epoch begins.
//!
//! Owns history and its bounds. Knows no connection: readers come with sorted keys and a position.
//! A reader's cost follows the records that match it: each segment knows which of its records each key has.

use crate::cursor::Cursor;
use crate::dropped::{Dropped, LastOf, Loss};
use crate::epochs::Epochs;
use crate::key::Key;
use crate::target::Matcher;
use bytes::Bytes;

use std::collections::{BTreeSet, VecDeque, btree_set};

/// What one record costs besides its frame: itself, its index entry, and the frame's reference count.
const RECORD_OVERHEAD: usize = size_of::<Record>() + 112;
/// The log is dropped a segment at a time, so its bound is met to one part in this many.
const SEGMENTS_PER_LOG: usize = 128;
/// Most records of a segment: bounds how long dropping one holds the lock.
const SEGMENT_RECORDS: usize = 4_096;

/// One record: a frame with its target and its place.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) frame: Bytes,
    pub(crate) matcher: Matcher,
}

#[derive(Debug, Default)]
struct Segment {
    records: Vec<Record>,
    /// (key, record) for every index key of every record.
    index: BTreeSet<(Key, u32)>,
    broadcasts: Vec<u32>,
    bytes: usize,
    opened_at: u64,
    /// When the newest record came.
    closed_at: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    epochs: Epochs,
    /// What is dropped here is kept on disk, which remembers what is dropped there.
    on_disk: bool,
    /// The position of the newest record ever.
    tail: u64,
    dropped: Dropped,
    bytes: usize,
    bytes_max: usize,
    age_max_ms: u64,
}

/// How far one read of the log may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    /// Last position to look at.
    pub(crate) upto: u64,
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

impl Log {
    pub(crate) fn new(epoch: u64, bytes_max: usize, age_max_ms: u64) -> Self {
        Self {
            segments: VecDeque::new(),
            epochs: Epochs::new(epoch),
            on_disk: false,
            tail: 0,
            dropped: Dropped::default(),
            bytes: 0,
            bytes_max,
            age_max_ms,
        }
    }

    /// The newest part of a log on disk, which ends at `tail`.
    pub(crate) fn of_disk(epochs: Epochs, tail: u64, bytes_max: usize, age_max_ms: u64) -> Self {
        let dropped = Dropped { floor: tail, ..Dropped::default() };
        Self { epochs, on_disk: true, tail, dropped, ..Self::new(0, bytes_max, age_max_ms) }
    }

    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// The position of the newest record dropped; everything above is here.
    pub(crate) fn floor(&self) -> u64 {
        self.dropped.floor
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn records(&self) -> usize {
        self.segments.iter().map(|segment| segment.records.len()).sum()
    }

    pub(crate) fn cursor(&self, position: u64) -> Cursor {
        self.epochs.cursor(position)
    }

    /// The position a presented cursor stands for, `None` if it means nothing here.
    pub(crate) fn resolve(&self, cursor: Cursor) -> Option<u64> {
        self.epochs.resolve(cursor, self.tail)
    }

    /// The cursor the next record will have.
    pub(crate) fn next_cursor(&self) -> Cursor {
        self.cursor(self.tail + 1)
    }

    /// Takes the record into the log. Its position must be above the tail.
    pub(crate) fn append(&mut self, record: Record, now: u64) {
        debug_assert!(record.position > self.tail, "positions rise strictly");
        self.tail = record.position;
        let segment_bytes = (self.bytes_max / SEGMENTS_PER_LOG).clamp(4_096, 1 << 20);
        let segment_age = self.age_max_ms / 16;
        let full = self.segments.back().is_none_or(|segment| {
            segment.bytes >= segment_bytes
                || segment.records.len() >= SEGMENT_RECORDS
                || now.saturating_sub(segment.opened_at) > segment_age
        });
        if full {
            if let Some(last) = self.segments.back_mut() {
                last.records.shrink_to_fit();
            }
            self.segments.push_back(Segment { opened_at: now, ..Segment::default() });
        }
        let Some(segment) = self.segments.back_mut() else {
            return;
        };
        let number = segment.records.len() as u32;
        if matches!(record.matcher, Matcher::All) {
            segment.broadcasts.push(number);
        }
        for key in record.matcher.index_keys() {
            segment.index.insert((*key, number));
        }
        let bytes = RECORD_OVERHEAD + record.frame.len() + 3 * record.matcher.extra_bytes();
        segment.bytes += bytes;
        segment.closed_at = now;
        segment.records.push(record);
        self.bytes += bytes;
        self.enforce(now);
    }

    /// Drops what is beyond the bounds. Cheap when there is nothing to drop.
    pub(crate) fn enforce(&mut self, now: u64) {
        while let Some(oldest) = self.segments.front() {
            let too_old = now.saturating_sub(oldest.closed_at) > self.age_max_ms;
            // The newest segment stays while it is young: a bound smaller than one segment still keeps something.
            let too_much = self.bytes > self.bytes_max && self.segments.len() > 1;
            if !too_old && !too_much {
                break;
            }
            let Some(segment) = self.segments.pop_front() else {
                break;
            };
            self.bytes -= segment.bytes;
            self.fold(&segment);
        }
    }

    /// Remembers of a dropped segment what returning readers must be told.
    fn fold(&mut self, segment: &Segment) {
        if self.on_disk {
            self.dropped.floor = segment.last_position();
            return;
        }
        for record in &segment.records {
            self.dropped.note(&record.matcher, record.position);
        }
    }

    /// Whether a reader at `position` has lost something. `client` is the reader's own connection, if it has one yet.
    pub(crate) fn loss(&self, keys: &[Key], client: Option<Key>, position: u64) -> Loss {
        self.dropped.loss(keys, client, position)
    }

    /// Reads matching records above `position` into `out`. Returns how far the reader is then complete.
    ///
    /// At least one record is returned if one matches, however large.
    pub(crate) fn read(
        &self,
        sorted_keys: &[Key],
        position: u64,
        limit: ReadLimit,
        out: &mut Vec<(u64, Bytes)>,
    ) -> u64 {
        let mut bytes = 0;
        let first = self.segments.partition_point(|segment| segment.last_position() <= position);
        for segment in self.segments.range(first..) {
            for record in segment.matching(sorted_keys, position) {
                if record.position > limit.upto {
                    return limit.upto;
                }
                if !out.is_empty() && (bytes + record.frame.len() > limit.bytes || out.len() >= limit.records) {
                    return out.last().map_or(position, |(position, _)| *position);
                }
                bytes += record.frame.len();
                out.push((record.position, record.frame.clone()));
            }
        }
        limit.upto
    }

    /// The newest record of a topic, given its key: one look into each segment from the newest back, and one into what
    /// was dropped. A topic occurs in no union and in no filter, so what its key leads to is for exactly this topic.
    pub(crate) fn last_of(&self, topic: Key) -> LastOf {
        let newest = |segment: &Segment| {
            let (_, number) = segment.index.range((topic, 0)..=(topic, u32::MAX)).next_back()?;
            let record = &segment.records[*number as usize];
            debug_assert_eq!(record.matcher, Matcher::Key(topic), "a topic stands alone");
            Some(LastOf::At(record.position))
        };
        match self.segments.iter().rev().find_map(newest) {
            Some(last) => last,
            None if self.on_disk => LastOf::Unknown,
            None => self.dropped.keys.last_of(&topic),
        }
    }

    /// The position after which `count` matching records follow, if there are so many here.
    pub(crate) fn last_matching(&self, sorted_keys: &[Key], count: u64) -> Option<u64> {
        let mut missing = count;
        if missing == 0 {
            return Some(self.tail);
        }
        for segment in self.segments.iter().rev() {
            let positions: Vec<u64> = segment.matching(sorted_keys, 0).map(|record| record.position).collect();
            if positions.len() as u64 >= missing {
                return Some(positions[positions.len() - missing as usize] - 1);
            }
            missing -= positions.len() as u64;
        }
        None
    }
}

impl Segment {
    fn last_position(&self) -> u64 {
        self.records.last().map_or(0, |record| record.position)
    }

    /// The records above `position` that a reader with these keys gets, in order.
    fn matching<'a>(&'a self, sorted_keys: &'a [Key], position: u64) -> impl Iterator<Item = &'a Record> {
        let start = self.records.partition_point(|record| record.position <= position) as u32;
        let broadcasts = &self.broadcasts[self.broadcasts.partition_point(|number| *number < start)..];
        // Nothing is allocated for a segment without a match: a reader that resumes looks into all of them.
        let mut lanes = Vec::new();
        if !broadcasts.is_empty() {
            lanes.push(Lane::Broadcasts(broadcasts));
        }
        for key in sorted_keys {
            // Its end is told by the next key: to search for it would take as long again.
            let mut rest = self.index.range((*key, start)..);
            if let Some((_, head)) = rest.next().filter(|(found, _)| found == key) {
                lanes.push(Lane::Key { key: *key, head: *head, rest });
            }
        }
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                // Few lanes: one for broadcasts and one for each key that occurs here. A heap costs more.
                let (lane, number) =
                    lanes.iter().enumerate().filter_map(|(i, lane)| Some((i, lane.head()?))).min_by_key(|(_, n)| *n)?;
                lanes[lane].advance();
                if last == Some(number) {
                    continue; // a record indexed under several keys of this reader
                }
                last = Some(number);
                let record = &self.records[number as usize];
                if record.matcher.matches(sorted_keys) {
                    return Some(record);
                }
            }
        })
    }
}

/// One ordered source of record numbers.
enum Lane<'a> {
    Broadcasts(&'a [u32]),
    Key { key: Key, head: u32, rest: btree_set::Range<'a, (Key, u32)> },
    Done,
}

impl Lane<'_> {
    fn head(&self) -> Option<u32> {
        match self {
            Self::Broadcasts(numbers) => numbers.first().copied(),
            Self::Key { head, .. } => Some(*head),
            Self::Done => None,
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Broadcasts(numbers) => *numbers = &numbers[1..],
            Self::Key { key, head, rest } => match rest.next().filter(|(found, _)| found == key) {
                Some((_, number)) => *head = *number,
                None => *self = Self::Done,
            },
            Self::Done => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Keyer, Kind};
    use crate::limits::DROPPED_KEYS_MAX;

    const ALL: ReadLimit = ReadLimit { upto: u64::MAX, bytes: usize::MAX, records: usize::MAX };

    fn user(name: &str) -> Key {
        Keyer::new([7, 8]).key(Kind::User, "", name)
    }

    fn log(bytes: usize) -> Log {
        Log::new(9, bytes, 600_000)
    }

    fn append(log: &mut Log, matcher: Matcher, size: usize) {
        let position = log.tail() + 1;
        log.append(Record { position, frame: Bytes::from(vec![b'x'; size]), matcher }, 0);
    }

    fn positions(log: &Log, keys: &[Key], from: u64) -> Vec<u64> {
        let mut out = Vec::new();
        log.read(keys, from, ALL, &mut out);
        out.into_iter().map(|(position, _)| position).collect()
    }

    #[test]
    fn a_reader_gets_broadcasts_and_its_own_in_order_and_once() {
        let mut log = log(1 << 20);
        let mut keys = [user("a"), user("b")];
        append(&mut log, Matcher::All, 10);
        append(&mut log, Matcher::Key(user("a")), 10);
        append(&mut log, Matcher::Key(user("c")), 10);
        keys.sort_unstable();
        append(&mut log, Matcher::AnyOf(keys.into()), 10);
        append(&mut log, Matcher::AllOf(keys.into()), 10);
        append(&mut log, Matcher::All, 10);
        assert_eq!(positions(&log, &[user("a")], 0), [1, 2, 4, 6]);
        assert_eq!(positions(&log, &keys, 0), [1, 2, 4, 5, 6]);
        assert_eq!(positions(&log, &keys, 4), [5, 6]);
        assert_eq!(positions(&log, &[], 0), [1, 6]);
        assert_eq!(log.last_matching(&[user("a")], 2), Some(3));
        assert_eq!(log.last_matching(&[user("a")], 99), None);
    }

    #[test]
    fn a_hot_topic_makes_no_gap_for_a_quiet_one() {
        let mut log = log(64 * 1024);
        append(&mut log, Matcher::Key(user("mine")), 10);
        for _ in 0..2_000 {
            append(&mut log, Matcher::Key(user("hot")), 100);
        }
        assert!(log.floor() > 1);
        assert_eq!(log.loss(&[user("mine")], None, 0), Loss::GapUntil(log.floor()), "its first event is gone");
        assert_eq!(log.loss(&[user("mine")], None, 1), Loss::Nothing, "it has seen its only event");
        assert_eq!(log.loss(&[user("other")], None, 0), Loss::Nothing);
        assert_eq!(log.loss(&[user("hot")], None, 1), Loss::GapUntil(log.floor()));
        assert_eq!(log.loss(&[user("hot")], None, log.floor()), Loss::Nothing);
    }

    #[test]
    fn a_forgotten_key_is_told_a_gap_rather_than_nothing() {
        let mut log = log(4_096);
        let keyer = Keyer::new([1, 1]);
        for number in 0..DROPPED_KEYS_MAX + 20_000 {
            append(&mut log, Matcher::Key(keyer.key(Kind::User, "", &number.to_string())), 100);
        }
        let first = keyer.key(Kind::User, "", "0");
        assert!(log.dropped.keys.len() <= DROPPED_KEYS_MAX);
        assert!(
            matches!(log.loss(&[first], None, 0), Loss::GapUntil(_)),
            "its entry is gone, so the truth is not known"
        );
        assert_eq!(log.loss(&[first], None, log.dropped.keys.forgotten), Loss::Nothing);
        assert_eq!(log.last_of(first), LastOf::Unknown);
        assert_eq!(log.last_of(keyer.key(Kind::Topic, "", "new")), LastOf::Unknown, "it may have been forgotten, too");
        let kept = keyer.key(Kind::User, "", &(DROPPED_KEYS_MAX + 100).to_string());
        assert!(matches!(log.last_of(kept), LastOf::At(position) if position <= log.floor()));
    }

    #[test]
    fn events_for_dead_connections_forget_no_lasting_key() {
        let mut log = log(4_096);
        let keyer = Keyer::new([1, 1]);
        for number in 0..DROPPED_KEYS_MAX as u32 + 20_000 {
            let id = crate::target::ClientId { slot: number, generation: 0, tag: 0 };
            append(&mut log, Matcher::Client(id, keyer.client(number, 0)), 100);
        }
        assert_eq!(log.loss(&[user("a")], None, 0), Loss::Nothing);
        assert!(matches!(log.loss(&[user("a")], Some(keyer.client(5, 0)), 0), Loss::GapUntil(_)));
    }

    #[test]
    fn the_last_of_a_topic_is_found_in_every_segment_and_among_what_was_dropped() {
        let mut log = log(16 * 1024);
        let topic = |name: &str| Keyer::new([7, 8]).key(Kind::Topic, "", name);
        assert_eq!(log.last_of(topic("a")), LastOf::Nothing);
        append(&mut log, Matcher::Key(topic("a")), 10);
        append(&mut log, Matcher::Key(topic("b")), 10);
        append(&mut log, Matcher::Key(topic("a")), 10);
        append(&mut log, Matcher::Key(user("a")), 10);
        append(&mut log, Matcher::All, 10);
        let mut segments = 0;
        while log.floor() < 3 {
            assert_eq!((log.last_of(topic("a")), log.last_of(topic("b"))), (LastOf::At(3), LastOf::At(2)));
            append(&mut log, Matcher::Key(topic("hot")), 300);
            segments = segments.max(log.segments.len());
        }
        assert!(segments > 2, "it was looked for behind several segments");
        assert_eq!((log.last_of(topic("a")), log.last_of(topic("b"))), (LastOf::At(3), LastOf::At(2)));
        assert_eq!(log.last_of(topic("hot")), LastOf::At(log.tail()));
        assert_eq!(log.last_of(topic("never")), LastOf::Nothing);
    }

    #[test]
    fn age_drops_whole_segments_and_size_keeps_its_bound() {
        let mut log = Log::new(9, 1 << 20, 1_000);
        for now in 0..10_000u64 {
            let position = log.tail() + 1;
            log.append(Record { position, frame: Bytes::from_static(b"x"), matcher: Matcher::All }, now);
        }
        assert!(log.floor() >= 8_900 && log.floor() < 9_001, "{}", log.floor());
        log.enforce(20_000);
        assert_eq!((log.records(), log.bytes(), log.floor()), (0, 0, log.tail()));
    }
}
