//! Opening a directory: a new log, or what an earlier run left, whatever became of it meanwhile.
//!
//! What is kept is synced before anybody sees it, no record gets another number, and what is missing is on record:
//! a hole in the log, a floor, or an epoch that ended earlier than some cursor says.

use super::answers::KeptAnswer;
use super::config::DiskConfig;
use super::files::{Disk, DiskFile, read_all, read_full};
use super::format::{BadHead, Commit, Kind, Place, SEGMENT_HEAD, put_commit, put_record, read_segment_head};
use super::index::{Entry, IndexError, SealedIndex};
use super::log::{DiskLog, INDEX_TMP, View};
use super::manifest::{self, Found, Manifest};
use super::queue::{DiskStore, Queue};
use super::retention::{Retention, remove_segment};
use super::scan::{Tail, scan};
use super::segment::{Segment, base_of, index_name, log_name};
use super::writer::{DiskWriter, LogClock, new_segment};
use crate::config::EPOCH_BITS;
use crate::cursor::Cursor;
use crate::dropped::Dropped;
use crate::epochs::Epochs;
use crate::target::Matcher;
use crate::time::Now;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// Names that may be in a directory that is taken for a new log.
pub(super) const HARMLESS: [&str; 2] = ["LOCK", "lost+found"];
/// Answers older than this are not read back.
const ANSWERS_AGE_MS: u64 = 86_400_000;

/// Why a directory is not a log that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It has files, and they are none of ours.
    #[error("the directory has no log, and is not empty: it has {0:?}; choose an empty one")]
    Foreign(String),
    /// What is needed to make sense of the rest cannot be read.
    #[error("the log is damaged: {0}; put a backup in its place, or begin with an empty directory")]
    Damaged(String),
    /// There is none.
    #[error("the directory has no log{}", other.as_ref().map(|name| format!("; what it has, {name:?} for one, belongs to something else")).unwrap_or_default())]
    Missing {
        /// One of the files that are there instead.
        other: Option<String>,
    },
    /// An id to begin after is from another log, or from a part of this one that was lost.
    #[error("the id {0} means nothing in this log")]
    Cursor(Cursor),
    /// A newer program wrote it.
    #[error("the log has format {0}, and this program reads format {version}; use a newer one", version = manifest::VERSION)]
    Version(u32),
    /// The system said no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    |error| OpenError::Io { what, error }
}

/// Randomness for opening: what a new log begins with, and this start's epoch. Draw it anew at every start.
#[derive(Debug, Clone, Copy)]
pub struct DiskSeed(pub [u64; 4]);

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// There was no log yet.
    pub new: bool,
    /// Segments.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
    /// A write that nobody was told of was interrupted, and is cut off.
    pub torn: bool,
    /// Places where records were lost, and are told to whoever passes.
    pub holes: usize,
}

/// An open log, not yet in a hub.
pub struct OpenLog {
    pub(crate) log: Arc<DiskLog>,
    pub(crate) store: DiskStore,
    pub(crate) queue: Arc<Queue>,
    pub(crate) writer: DiskWriter,
    pub(crate) secret: [u64; 2],
    pub(crate) epochs: Epochs,
    pub(crate) tail: u64,
    pub(crate) answers: Vec<KeptAnswer>,
    /// What was found.
    pub report: OpenReport,
}

impl core::fmt::Debug for OpenLog {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("OpenLog").field("report", &self.report).finish_non_exhaustive()
    }
}

/// A file in a directory that has no log, and is not one that may be in a new one. For a look before anything is
/// written, a lock included.
pub fn foreign(names: &[String]) -> Option<&str> {
    let ours = |name: &String| manifest::NAMES.contains(&name.as_str()) || base_of(name, ".log").is_some();
    if names.iter().any(ours) {
        return None;
    }
    names.iter().map(String::as_str).find(|name| !HARMLESS.contains(name))
}

/// Opens the log in a directory that nobody else uses, or makes one there. `answers_max` is how many answers under
/// idempotency keys are read back.
///
/// # Errors
///
/// [`OpenError`]; nothing was changed then that matters to another try.
pub fn open(
    disk: Arc<dyn Disk>,
    config: DiskConfig,
    seed: DiskSeed,
    answers_max: usize,
    now: Now,
) -> Result<OpenLog, OpenError> {
    let DiskSeed([log_id, secret_0, secret_1, epoch]) = seed;
    let epoch = epoch >> (64 - EPOCH_BITS);
    let names = disk.list().map_err(failed("list the directory"))?;
    let mut report = OpenReport::default();
    let mut manifest = match Manifest::read(&*disk).map_err(failed("read the manifest"))? {
        Found::Manifest(manifest) => *manifest,
        Found::Version(version) => return Err(OpenError::Version(version)),
        Found::Nothing | Found::Damaged => {
            if names.iter().any(|name| base_of(name, ".log").is_some()) {
                return Err(OpenError::Damaged("neither of the two manifest files can be read".into()));
            }
            // A first start that was interrupted leaves manifests that cannot be read, and nothing else.
            let allowed = |name: &str| HARMLESS.contains(&name) || manifest::NAMES.contains(&name);
            if let Some(name) = names.iter().find(|name| !allowed(name)) {
                return Err(OpenError::Foreign(name.clone()));
            }
            report.new = true;
            Manifest {
                generation: 0,
                log_id,
                secret: [secret_0, secret_1],
                reached: 0,
                epochs: Epochs::new(epoch),
                dropped: Dropped::default(),
            }
        }
    };
    if !report.new {
        manifest.settle(&*disk).map_err(failed("write the manifest"))?;
    }
    let mut state = read_segments(&*disk, &names, &mut manifest, &mut report)?;
    let lost_tail = state.last_position < manifest.reached || state.lost_segment;
    if state.segments.is_empty() {
        // The manifest goes first: segments without one would be unreadable.
        if report.new {
            manifest.write(&*disk).map_err(failed("write the manifest"))?;
        }
        let segment = new_segment(&*disk, manifest.log_id, state.last_position, state.last_group)
            .map_err(failed("make the first segment"))?;
        state.segments.push(Arc::new(segment));
        (state.last_group_at, state.end) = (0, SEGMENT_HEAD as u64);
    }
    let Some(active) = state.segments.last().cloned() else {
        return Err(OpenError::Damaged("no segment".into()));
    };
    if !report.new {
        manifest.epochs.begin(epoch, state.epoch_start);
    }
    if state.damaged_tail || lost_tail {
        report.holes += 1;
        // The epoch goes first. An end in between would leave the hole to the epoch before, whose cursor for that
        // position may be the one of a record that is lost.
        manifest.write(&*disk).map_err(failed("write the manifest"))?;
        state.write_hole(&active, now).map_err(failed("write to the newest segment"))?;
    }
    settle(&*disk, &*active.file, state.last_group_at, state.end).map_err(failed("sync the newest segment"))?;
    if state.lost_segment {
        // It is written to again, and the index would hide what comes.
        disk.remove(&index_name(active.base)).map_err(failed("remove an old index"))?;
    }
    manifest.reached = state.last_position;
    manifest.write(&*disk).map_err(failed("write the manifest"))?;
    report.segments = state.segments.len();
    let clock = LogClock::new(now, state.newest_ms);
    let (log_id, secret, epochs) = (manifest.log_id, manifest.secret, manifest.epochs.clone());
    let view = View { segments: state.segments, dropped: Arc::new(manifest.dropped.clone()) };
    let log = Arc::new(DiskLog::new(disk, view, Retention { manifest, config, clock }));
    report.records = log.size().records;
    log.enforce(now).map_err(failed("drop old segments"))?;
    let answers = log.answers(clock.read(now).saturating_sub(ANSWERS_AGE_MS), answers_max);
    let queue = Arc::new(Queue::default());
    let began_ms = (active.last_position() > active.base).then_some(state.newest_ms);
    let tail = state.last_position;
    let writer = DiskWriter {
        log: Arc::clone(&log),
        queue: Arc::clone(&queue),
        config,
        epoch,
        clock,
        active,
        began_ms,
        end: state.end,
        allocated: state.end,
        group: state.last_group,
        tail,
        age_due_ms: now.mono_ms,
        buffer: Vec::new(),
        entries: Vec::new(),
        log_id,
        epochs: epochs.clone(),
    };
    Ok(OpenLog {
        secret,
        epochs,
        tail,
        store: DiskStore { queue: Arc::clone(&queue) },
        log,
        queue,
        writer,
        answers,
        report,
    })
}

/// What is kept may never have been synced: it is before anybody sees it. A sync that failed in the process before may
/// have given up the last group's pages, which are shown still and never reach the disk; so they are written again. The
/// segment's own name may not have been synced either.
fn settle(disk: &dyn Disk, file: &dyn DiskFile, last_group_at: u64, end: u64) -> io::Result<()> {
    file.truncate(end)?;
    let mut group = vec![0; end.saturating_sub(last_group_at) as usize];
    let filled = read_full(file, &mut group, last_group_at)?;
    file.write_at(&group[..filled], last_group_at)?;
    file.sync()?;
    disk.sync()
}

/// What the segments say.
struct State {
    segments: Vec<Arc<Segment>>,
    last_position: u64,
    last_group: u64,
    newest_ms: u64,
    /// Where the newest segment's last group begins, and where its committed records end.
    last_group_at: u64,
    end: u64,
    damaged_tail: bool,
    /// There was a segment behind the newest.
    lost_segment: bool,
    /// Behind what was kept, before any hole that this start makes.
    epoch_start: u64,
}

fn read_segments(
    disk: &dyn Disk,
    names: &[String],
    manifest: &mut Manifest,
    report: &mut OpenReport,
) -> Result<State, OpenError> {
    if names.iter().any(|name| name == INDEX_TMP) {
        _ = disk.remove(INDEX_TMP);
    }
    let mut bases: BTreeSet<u64> = names.iter().filter_map(|name| base_of(name, ".log")).collect();
    for orphan in names.iter().filter_map(|name| base_of(name, ".idx")).filter(|base| !bases.contains(base)) {
        _ = disk.remove(&index_name(orphan));
    }
    // A segment that was made, and never written to.
    if let Some(newest) = bases.last().copied()
        && is_empty(disk, newest)?
    {
        remove_segment(disk, newest);
        bases.remove(&newest);
    }
    let floor = manifest.dropped.floor;
    let mut state = State {
        segments: Vec::new(),
        last_position: floor,
        last_group: 0,
        newest_ms: 0,
        last_group_at: 0,
        end: 0,
        damaged_tail: false,
        lost_segment: false,
        epoch_start: floor,
    };
    let mut dropped = Vec::new();
    let newest = bases.last().copied();
    // A segment gets its index once there is another behind it.
    state.lost_segment = newest.is_some_and(|base| names.contains(&index_name(base)));
    for base in bases {
        let opened = open_segment(disk, manifest.log_id, base, newest == Some(base))?;
        let last = opened.segment.last_position();
        if last < floor || last == floor && newest != Some(base) {
            // Dropped, but the end came before its files were taken away. It is the newest if the real one is lost.
            dropped.push(base);
            continue;
        }
        if base < state.last_position && !state.segments.is_empty() {
            if newest == Some(base) && opened.has_nothing() {
                // Made by a rotation that failed, and taken away in vain. The one before it is the newest.
                remove_segment(disk, base);
                let left: Vec<String> = names.iter().filter(|name| **name != log_name(base)).cloned().collect();
                *report = OpenReport { new: report.new, ..OpenReport::default() };
                return read_segments(disk, &left, manifest, report);
            }
            return Err(OpenError::Damaged(format!(
                "segment {} begins before the one in front of it ends",
                log_name(base)
            )));
        }
        let mut segment = opened.segment;
        if base > state.last_position {
            if state.segments.is_empty() {
                // The manifest's last word on what was dropped is missing, or segments are.
                manifest.dropped.note_unknown(base);
            } else {
                report.holes += 1;
                segment.hole_before = true;
            }
        }
        report.torn |= opened.tail == Tail::Torn;
        report.holes += opened.holes;
        state.damaged_tail = opened.tail == Tail::Damaged;
        let (bytes, wall_ms, group) = segment.summary(|s| (s.bytes, s.last_wall_ms, s.last_group));
        (state.last_group_at, state.end) = (opened.last_group_at, u64::from(bytes));
        state.newest_ms = state.newest_ms.max(wall_ms);
        state.last_group = state.last_group.max(group);
        state.last_position = last.max(base);
        state.segments.push(Arc::new(segment));
    }
    for base in dropped {
        remove_segment(disk, base);
    }
    state.epoch_start = state.last_position;
    Ok(state)
}

/// True if a segment was not made to its end: it has no sound head, and nothing behind it.
pub(super) fn is_empty(disk: &dyn Disk, base: u64) -> Result<bool, OpenError> {
    let what = || failed(format!("read {}", log_name(base)));
    let file = disk.open(&log_name(base)).map_err(what())?;
    let mut head = [0; SEGMENT_HEAD];
    let filled = read_full(&*file, &mut head, 0).map_err(what())?;
    match read_segment_head(&head[..filled]) {
        Err(BadHead::Version(version)) => Err(OpenError::Version(version)),
        // With a sound head it is a segment like any other, and stays.
        Ok(_) => Ok(false),
        Err(BadHead::Damaged) => {
            let bytes = read_all(&*file, super::scan::SEGMENT_MAX).map_err(what())?;
            Ok(bytes.iter().skip(SEGMENT_HEAD).all(|byte| *byte == 0))
        }
    }
}

struct Opened {
    segment: Segment,
    tail: Tail,
    holes: usize,
    last_group_at: u64,
}

impl Opened {
    /// A head, and nothing behind it.
    fn has_nothing(&self) -> bool {
        let bytes = self.segment.summary(|summary| summary.bytes) as usize;
        bytes == SEGMENT_HEAD && self.tail == Tail::Clean && self.holes == 0
    }
}

fn open_segment(disk: &dyn Disk, log_id: u64, base: u64, newest: bool) -> Result<Opened, OpenError> {
    let name = log_name(base);
    let what = || failed(format!("read {name}"));
    let file = disk.open(&name).map_err(what())?;
    if !newest && let Ok(index) = disk.open(&index_name(base)) {
        match SealedIndex::open(index, log_id, base) {
            // A segment of another length than when it was sealed is looked at again, record by record.
            Ok(index) if file.len().map_err(what())? == u64::from(index.summary.bytes) => {
                let segment = Segment::sealed(file, log_id, base, false, index);
                return Ok(Opened { segment, tail: Tail::Clean, holes: 0, last_group_at: 0 });
            }
            Err(IndexError::Version(version)) => return Err(OpenError::Version(version)),
            // It is made anew from the records.
            Ok(_) | Err(_) => {}
        }
    }
    match scan(&*file, log_id, base, newest) {
        Ok(scan) => {
            let segment = Segment::new(file, log_id, base, false, scan.index);
            // A first group whose end was never synced may have a head that was not either.
            let last_group_at = if scan.last_group_at == SEGMENT_HEAD { 0 } else { scan.last_group_at as u64 };
            Ok(Opened { segment, tail: scan.tail, holes: scan.holes, last_group_at })
        }
        Err(IndexError::Version(version)) => Err(OpenError::Version(version)),
        Err(IndexError::Io(error)) => Err(what()(error)),
        Err(IndexError::Damaged) => Err(OpenError::Damaged(format!("{name} is a segment of another log"))),
    }
}

impl State {
    /// Puts on record that something was lost behind the end, nobody knows what.
    fn write_hole(&mut self, active: &Segment, now: Now) -> io::Result<()> {
        let wall_ms = self.newest_ms.max(now.wall_ms);
        let position = self.last_position + 1;
        let group = self.last_group + 1;
        let mut bytes = Vec::new();
        let place = Place { kind: Kind::Hole, position, wall_ms };
        put_record(&mut bytes, active.salt(), place, &Matcher::All, &[]);
        let commit = Commit { group, bytes: bytes.len() as u32 };
        put_commit(&mut bytes, active.salt(), position, wall_ms, commit);
        // Over what is damaged, which is cut off behind it: an end in between leaves one or the other to be found.
        active.file.write_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        (self.last_position, self.last_group, self.newest_ms) = (position, group, wall_ms);
        let end = self.end;
        active.extend(&[Entry::hole((position - active.base) as u32)], |summary| {
            summary.bytes = end as u32;
            summary.last_position = position;
            summary.last_wall_ms = wall_ms;
            summary.last_group = group;
        });
        Ok(())
    }
}
