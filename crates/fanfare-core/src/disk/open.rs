//! Opening a directory: a new log, or what an earlier run left, whatever became of it meanwhile.
//!
//! What is kept is synced before anybody sees it, no record gets another number, and what is missing is on record:
//! a hole in the log, a floor, or an epoch that ended earlier than some cursor says.

use super::answers::KeptAnswer;
use super::clock::LogClock;
use super::config::DiskConfig;
use super::files::{Disk, DiskFile, read_full};
use super::format::SEGMENT_HEAD;
use super::log::{DiskLog, Retention, View};
use super::manifest::{self, Found, Manifest};
use super::outcome::{OpenError, OpenReport, failed};
use super::queue::{DiskStore, Queue};
use super::recovery::Recovered;
use super::segment::{base_of, index_name};
use super::writer::{DiskWriter, new_segment};
use crate::config::EPOCH_BITS;
use crate::dropped::Dropped;
use crate::epochs::Epochs;
use crate::time::Now;
use std::io;
use std::sync::Arc;

/// Names that may be in a directory that is taken for a new log.
pub(super) const HARMLESS: [&str; 2] = ["LOCK", "lost+found"];
/// Answers older than this are not read back.
const ANSWERS_AGE_MS: u64 = 86_400_000;

/// Randomness for opening: what a new log begins with, and this start's epoch. Draw it anew at every start.
#[derive(Debug, Clone, Copy)]
pub struct DiskSeed(pub [u64; 4]);

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
    let mut state = Recovered::read(&*disk, &names, &mut manifest, &mut report)?;
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
