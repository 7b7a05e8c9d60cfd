//! The one writer of the log on disk: takes what was submitted, gives it its places, writes and syncs it as one
//! group, and only then has it released. While one group is synced the next gathers, so that load makes larger
//! groups by itself.
//!
//! A full disk refuses a group and nothing else; it is tried again with the next. After any other error the state
//! of the file is unknown: nothing more is written until the log is opened anew.

use super::answers::put_answer;
use super::clock::LogClock;
use super::config::DiskConfig;
use super::files::{Disk, is_full};
use super::format::{Commit, Kind, Place, RECORD_HEAD, SEGMENT_HEAD, put_commit, put_record, segment_head};
use super::index::{EVERYBODY, Entry, OpenIndex, Summary};
use super::log::DiskLog;
use super::queue::{Condition, Queue};
use super::scan::SEGMENT_MAX;
use super::segment::{Segment, log_name, remove_segment};
use crate::dropped::LastOf;
use crate::epochs::Epochs;
use crate::expect;
use crate::hub::Hub;
use crate::key::Key;
use crate::store::{Durability, PublishError, Sequencer, Submission};
use crate::target::Matcher;
use crate::time::Now;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

/// A group takes no more once it has so many bytes.
const GROUP_BYTES: usize = 1 << 20;
/// A file grows by so much at a time.
const ALLOCATE_STEP: u64 = 1 << 20;
/// How often the active segment's age is looked at.
const AGE_CHECK_MS: u64 = 1_000;

/// What a turn of the writer left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterTurn {
    /// Turn again.
    Busy,
    /// Nothing until something is submitted, or for a second.
    Idle,
    /// The hub is closed and everything submitted is answered.
    Ended,
}

/// See the module.
pub struct DiskWriter {
    pub(super) log: Arc<DiskLog>,
    pub(super) queue: Arc<Queue>,
    pub(super) config: DiskConfig,
    pub(super) log_id: u64,
    pub(super) epochs: Epochs,
    pub(super) epoch: u64,
    pub(super) clock: LogClock,
    pub(super) active: Arc<Segment>,
    /// When the active segment got its first record.
    pub(super) began_ms: Option<u64>,
    /// Everything before is committed.
    pub(super) end: u64,
    pub(super) allocated: u64,
    pub(super) group: u64,
    pub(super) tail: u64,
    pub(super) age_due_ms: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl core::fmt::Debug for DiskWriter {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("DiskWriter").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Drop for DiskWriter {
    /// Its thread ended, by a panic if it was not told to.
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// Why a group was not written.
enum Refusal {
    Full,
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Failed(error) }
    }
}

impl DiskWriter {
    /// Commits one group, if anything was submitted.
    pub fn turn<S>(&mut self, hub: &Hub<S>, now: Now) -> WriterTurn {
        if now.mono_ms >= self.age_due_ms {
            self.age_due_ms = now.mono_ms + AGE_CHECK_MS;
            self.end_what_is_old(now);
        }
        let (group, ended) = self.queue.take(GROUP_BYTES);
        if group.is_empty() {
            return if ended { WriterTurn::Ended } else { WriterTurn::Idle };
        }
        self.commit(group, hub, now);
        WriterTurn::Busy
    }

    fn commit<S>(&mut self, group: Vec<Submission>, hub: &Hub<S>, now: Now) {
        if self.queue.condition() == Condition::Failed {
            for submission in group {
                (submission.reply)(Err(PublishError::ReadOnly));
            }
            return;
        }
        let needed: usize = group.iter().map(Submission::log_bytes).sum::<usize>() + RECORD_HEAD + 24;
        match self.make_room(needed as u64, now) {
            Ok(()) => {}
            // What is too much together may fit one by one.
            Err(Refusal::Full) if group.len() > 1 => {
                for submission in group {
                    self.commit(vec![submission], hub, now);
                }
                return;
            }
            Err(refusal) => return self.refuse(group, refusal),
        }
        let (group, position) = self.encode(group, hub, now);
        if !self.buffer.is_empty() {
            if let Err(refusal) = self.write(position, now) {
                return self.refuse(group.into_iter().map(|(submission, _)| submission).collect(), refusal);
            }
            self.queue.set_condition(Condition::Ok);
        }
        for (submission, conflict) in group {
            match conflict {
                None => hub.release(submission, Durability::Disk),
                Some(error) => (submission.reply)(Err(error)),
            }
        }
    }

    fn refuse(&mut self, group: Vec<Submission>, refusal: Refusal) {
        let error = match refusal {
            Refusal::Full => {
                self.queue.set_condition(Condition::Full);
                PublishError::Full
            }
            Refusal::Failed(error) => {
                self.queue.fail(error);
                PublishError::ReadOnly
            }
        };
        for submission in group {
            (submission.reply)(Err(error.clone()));
        }
    }

    /// Gives the drafts their places and writes their records into the buffer. Returns the last position, and what is
    /// to be released or told of its conflict, which may be one with this very group: nobody hears of it before the
    /// group is kept.
    fn encode<S>(
        &mut self,
        group: Vec<Submission>,
        hub: &Hub<S>,
        now: Now,
    ) -> (Vec<(Submission, Option<PublishError>)>, u64) {
        let wall_ms = self.clock.read(now);
        let salt = self.active.salt();
        self.buffer.clear();
        self.entries.clear();
        let mut position = self.tail;
        // The newest place of each topic in this group, for those who expect one.
        let mut newest: HashMap<Key, u64> = HashMap::new();
        let mut placed = Vec::with_capacity(group.len());
        for mut submission in group {
            let last_of =
                |key| newest.get(&key).map_or_else(|| self.last_of(hub, key), |position| LastOf::At(*position));
            let cursor_of = |position| self.epochs.cursor(position);
            if let Some((index, last)) = expect::conflict(&submission.drafts, position, last_of, cursor_of) {
                placed.push((submission, Some(PublishError::Conflict { index, last })));
                continue;
            }
            for draft in submission.drafts.iter_mut().filter(|draft| draft.is_kept()) {
                position += 1;
                draft.place(self.epochs.cursor_in(self.epoch, position));
                let offset = (self.end as usize + self.buffer.len()) as u32;
                let delta = (position - self.active.base) as u32;
                let matcher = &draft.matcher;
                if matches!(matcher, Matcher::All) {
                    self.entries.push(Entry::new(EVERYBODY, delta, offset, false));
                }
                let client = matches!(matcher, Matcher::Client(..));
                self.entries.extend(matcher.index_keys().iter().map(|key| Entry::new(*key, delta, offset, client)));
                if let Matcher::Key(key) = matcher {
                    newest.insert(*key, position);
                }
                let place = Place { kind: Kind::Event, position, wall_ms };
                put_record(&mut self.buffer, salt, place, matcher, draft.frame());
            }
            if let Some(key) = &submission.key {
                let place = Place { kind: Kind::Answer, position, wall_ms };
                put_answer(&mut self.buffer, salt, place, key, &submission.drafts, hub);
            }
            placed.push((submission, None));
        }
        (placed, position)
    }

    /// The newest event of a topic. Everything written before this group is released, so memory and disk know it all.
    fn last_of<S>(&self, hub: &Hub<S>, topic: Key) -> LastOf {
        match hub.last_of(topic) {
            LastOf::Unknown => {}
            known => return known,
        }
        match self.log.last_of(topic) {
            Ok(Some(last)) => last,
            Ok(None) => self.log.view().dropped.keys.last_of(&topic),
            Err(_) => LastOf::Unknown,
        }
    }

    pub(crate) fn age_ms(&self) -> u64 {
        self.config.age_ms
    }

    pub(crate) fn wall_ms(&self, now: Now) -> u64 {
        self.clock.read(now)
    }

    /// Writes the buffer with its commit, and waits until it is kept.
    fn write(&mut self, position: u64, now: Now) -> Result<(), Refusal> {
        let wall_ms = self.clock.read(now);
        let (group, salt) = (self.group + 1, self.active.salt());
        let commit = Commit { group, bytes: self.buffer.len() as u32 };
        put_commit(&mut self.buffer, salt, position, wall_ms, commit);
        if let Err(error) = self.active.file.write_at(&self.buffer, self.end) {
            // What was written of it must not be found later, behind something shorter.
            self.active.file.truncate(self.end).map_err(Refusal::Failed)?;
            self.allocated = self.end;
            return Err(error.into());
        }
        // Not tried again: the system may have dropped what it could not write, and then says all is well.
        self.active.file.sync().map_err(Refusal::Failed)?;
        let start = self.end;
        self.end += self.buffer.len() as u64;
        (self.group, self.tail) = (group, position);
        self.began_ms.get_or_insert(wall_ms);
        let (end, records) = (self.end, position - self.active.last_position());
        let answers: Vec<u32> = answer_offsets(&self.buffer, start);
        self.active.extend(&self.entries, |summary| {
            summary.records += records as u32;
            summary.bytes = end as u32;
            summary.last_position = position;
            summary.last_wall_ms = wall_ms;
            summary.last_group = group;
            summary.answers.extend(answers);
        });
        Ok(())
    }

    /// Makes sure that so many bytes can be written behind the end: in this segment, or in a new one.
    fn make_room(&mut self, bytes: u64, now: Now) -> Result<(), Refusal> {
        // One that has answers and no event yet goes on: the next would bear its name.
        let has_events = self.tail > self.active.base;
        let is_large = self.end + bytes > SEGMENT_HEAD as u64 + self.config.segment_bytes();
        if has_events && is_large || self.is_long_enough(now) {
            self.rotate()?;
        }
        let needed = self.end + bytes;
        if needed > SEGMENT_MAX {
            return Err(Refusal::Full);
        }
        if needed <= self.allocated {
            return Ok(());
        }
        let ahead = needed.next_multiple_of(ALLOCATE_STEP).min(needed.max(self.config.segment_bytes()));
        let file = &self.active.file;
        self.allocated = match file.allocate(ahead) {
            Ok(()) => ahead,
            Err(error) if is_full(&error) => file.allocate(needed).map(|()| needed)?,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// A bound in records or age is met to a part of it, as the one in bytes is.
    fn is_long_enough(&self, now: Now) -> bool {
        let records = self.tail - self.active.base;
        let old = self.began_ms.is_some_and(|began| {
            self.clock.read(now).saturating_sub(began) > self.config.age_ms / DiskConfig::SEGMENTS
        });
        records > 0 && (old || self.config.records.is_some_and(|max| records >= (max / DiskConfig::SEGMENTS).max(1)))
    }

    /// Where nothing is published any more, the active segment ends once all of it is too old, and can be dropped.
    fn end_what_is_old(&mut self, now: Now) {
        let old = self.tail > self.active.base && self.active.is_older(self.clock.read(now), self.config.age_ms);
        if old && self.queue.condition() != Condition::Failed {
            match self.rotate() {
                // A full disk leaves it for the next time.
                Ok(()) | Err(Refusal::Full) => {}
                Err(Refusal::Failed(error)) => self.queue.fail(error),
            }
        }
    }

    /// Ends the active segment and begins another.
    fn rotate(&mut self) -> Result<(), Refusal> {
        self.active.file.truncate(self.end)?;
        self.allocated = self.end;
        self.active.file.sync().map_err(Refusal::Failed)?;
        let next = new_segment(&*self.log.disk, self.log_id, self.tail, self.group)?;
        self.active = Arc::new(next);
        self.end = SEGMENT_HEAD as u64;
        self.allocated = self.end;
        self.began_ms = None;
        let active = Arc::clone(&self.active);
        self.log.change(|view| view.segments.push(active));
        self.queue.wake_readers();
        Ok(())
    }
}

/// Makes the file of a new segment, and makes sure that it is there after a loss of power.
pub(super) fn new_segment(disk: &dyn Disk, log_id: u64, base: u64, group: u64) -> io::Result<Segment> {
    let name = log_name(base);
    // From an attempt that failed half-way: nothing was ever committed to it.
    remove_segment(disk, base);
    let file = disk.create(&name)?;
    let head = segment_head(log_id, base);
    let made = file.write_at(&head, 0).and_then(|()| file.sync()).and_then(|()| disk.sync());
    if made.is_err() {
        // The segment before it may be written to again, up to and beyond where this one begins.
        remove_segment(disk, base);
        made?;
    }
    let summary = Summary {
        records: 0,
        bytes: SEGMENT_HEAD as u32,
        last_position: base,
        last_wall_ms: 0,
        last_group: group,
        last_hole: 0,
        answers: Vec::new(),
    };
    Ok(Segment::new(file, log_id, base, OpenIndex { entries: BTreeSet::new(), summary }))
}

/// Where in a group's bytes the answers are, as offsets in the segment.
fn answer_offsets(buffer: &[u8], start: u64) -> Vec<u32> {
    let mut offsets = Vec::new();
    let mut at = 0;
    while let Some(len) = super::format::claimed_len(&buffer[at..]) {
        if buffer[at + 24] == Kind::Answer as u8 {
            offsets.push((start as usize + at) as u32);
        }
        at += len;
    }
    offsets
}
