//! Looking at a log without opening it: nothing is written and no lock is taken, so a server may go on using it.
//!
//! What it does meanwhile must not look like damage. Manifest and list of files are read in this order, so that what
//! the manifest knows of is there, unless retention took it since: a segment that is gone or missing is looked up in
//! the manifest of that moment. The segment that is written is read twice, see [`read_segment`].

use super::files::{Disk, read_all};
use super::format::{BadHead, SEGMENT_HEAD, read_segment_head, salt};
use super::index::{EVERYBODY, IndexError, OpenIndex, SealedIndex};
use super::log::INDEX_TMP;
use super::manifest::{self, Found, Manifest};
use super::open::HARMLESS;
use super::outcome::{OpenError, failed};
use super::problem::Problem;
use super::recovery::is_empty;
use super::scan::{SEGMENT_MAX, Tail, scan_bytes};
use super::segment::{base_of, index_name, log_name};
use crate::cursor::Cursor;
use std::io;

/// A manifest that cannot be read may be in the middle of a write: it is read so often before that is believed.
const ATTEMPTS: usize = 3;

/// A log, as its files tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogInfo {
    /// The format's version.
    pub version: u32,
    /// Drawn when the log was made.
    pub log_id: u64,
    /// For every start that is remembered, the place at which it began.
    pub starts: Vec<Cursor>,
    /// The newest position that retention dropped.
    pub floor: u64,
    /// Keys whose last dropped position is remembered.
    pub dropped_keys: usize,
    /// Oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Files in the directory that do not belong to a log.
    pub others: Vec<String>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The file's name.
    pub name: String,
    /// The position before its first record.
    pub base: u64,
    /// Its newest position.
    pub last_position: u64,
    /// Events.
    pub records: u64,
    /// Bytes that are committed.
    pub bytes: u64,
    /// Unix milliseconds of its newest record, 0 if it has none.
    pub last_wall_ms: u64,
    /// It has an index file.
    pub sealed: bool,
}

/// Reads what is known of a log from manifest and indices. A segment without an index is read whole.
///
/// # Errors
///
/// [`OpenError`] if there is no log, or none that this program can read.
pub fn inspect(disk: &dyn Disk) -> Result<LogInfo, OpenError> {
    look(disk, false, &mut |_| ())
}

/// Reads every record of every segment, and tells what is wrong.
///
/// # Errors
///
/// As [`inspect`].
pub fn verify(disk: &dyn Disk, mut problem: impl FnMut(Problem)) -> Result<LogInfo, OpenError> {
    let damaged = || Manifest::damaged(disk).map_err(failed("read the manifest"));
    let before = damaged()?;
    let info = look(disk, true, &mut problem)?;
    // Now and then one of them is being written.
    let after = damaged()?;
    for name in before.into_iter().filter(|name| after.contains(name)) {
        problem(Problem::Manifest { name: name.to_owned() });
    }
    Ok(info)
}

fn look(disk: &dyn Disk, thorough: bool, problem: &mut dyn FnMut(Problem)) -> Result<LogInfo, OpenError> {
    let Files { manifest, bases, others } = Files::read(disk)?;
    let Manifest { log_id, dropped, .. } = &manifest;
    let start = |(epoch, position): &(u64, u64)| Cursor { epoch: *epoch, position: *position };
    let mut info = LogInfo {
        version: manifest::VERSION,
        log_id: *log_id,
        starts: manifest.epochs.list().iter().map(start).collect(),
        floor: dropped.floor,
        dropped_keys: dropped.keys.len(),
        segments: Vec::with_capacity(bases.len()),
        others,
    };
    let mut reached = dropped.floor;
    for (number, base) in bases.iter().copied().enumerate() {
        let next = bases.get(number + 1);
        if next.is_some_and(|next| *next <= info.floor) {
            // Dropped, and about to be removed: now, or at the next start.
            continue;
        }
        let Some(segment) = look_at(disk, *log_id, base, next.is_none(), thorough, problem)? else { continue };
        let name = segment.name.clone();
        if next.is_none() && segment.last_position < manifest.dropped.floor {
            problem(Problem::Old { name, until: segment.last_position, floor: manifest.dropped.floor });
            info.segments.push(segment);
            return Ok(info);
        }
        if base < reached && !info.segments.is_empty() {
            problem(Problem::Overlap { name, base, until: reached });
        } else if base > reached {
            info.floor = floor_now(disk, info.floor)?;
            reached = reached.max(info.floor);
            if base > reached {
                problem(Problem::Missing { name, from: reached + 1, until: base });
            }
        }
        reached = reached.max(segment.last_position).max(base);
        info.segments.push(segment);
    }
    if reached < manifest.reached && floor_now(disk, info.floor)? < manifest.reached {
        let name = bases.last().copied().map_or_else(String::new, log_name);
        problem(Problem::End { name, from: reached + 1, until: manifest.reached });
    } else if let Some(newest) = bases.last()
        && disk.open(&index_name(*newest)).is_ok()
        // A server may have made it meanwhile.
        && Files::read(disk)?.bases.last() == Some(newest)
    {
        problem(Problem::Lost { name: log_name(*newest) });
    }
    Ok(info)
}

/// `None` if it is gone, empty, or none of this log.
fn look_at(
    disk: &dyn Disk,
    log_id: u64,
    base: u64,
    newest: bool,
    thorough: bool,
    problem: &mut dyn FnMut(Problem),
) -> Result<Option<SegmentInfo>, OpenError> {
    let name = log_name(base);
    // As when the log is opened, nothing but the records counts for the newest.
    let sealed = if newest { None } else { disk.open(&index_name(base)).ok() };
    let index = match sealed.map(|file| SealedIndex::open(file, log_id, base)) {
        Some(Ok(index)) => Some(index),
        Some(Err(IndexError::Version(version))) => return Err(OpenError::Version(version)),
        Some(Err(_)) => {
            problem(Problem::Index { name: index_name(base) });
            None
        }
        None => None,
    };
    let summary = match &index {
        Some(index) if !thorough => index.summary.clone(),
        _ => {
            let Some(bytes) = read_segment(disk, base, newest)? else { return Ok(None) };
            match read_segment_head(&bytes) {
                Ok(found) if found == (log_id, base) => {}
                Ok(_) => {
                    problem(Problem::Foreign { name });
                    return Ok(None);
                }
                Err(BadHead::Version(version)) => return Err(OpenError::Version(version)),
                Err(BadHead::Damaged) => problem(Problem::Head { name: name.clone() }),
            }
            let scan = scan_bytes(&bytes, salt(log_id, base), base, newest);
            let mut whole = true;
            for (from, until) in holes(&scan.index) {
                whole = false;
                problem(Problem::Hole { name: name.clone(), from: base + from, until: base + until });
            }
            if newest && scan.tail == Tail::Damaged {
                problem(Problem::Tail { name: name.clone(), end: u64::from(scan.index.summary.bytes) });
            }
            if let Some(index) = &index {
                // Where records are missing, the index is expected to know of more.
                let last = index.summary.last_position;
                if whole && last == scan.index.summary.last_position {
                    match fits(index, &scan.index) {
                        Ok(true) => {}
                        Ok(false) => problem(Problem::Misfit { name: index_name(base) }),
                        Err(_) => problem(Problem::Index { name: index_name(base) }),
                    }
                }
            }
            scan.index.summary
        }
    };
    Ok(Some(SegmentInfo {
        name,
        base,
        last_position: summary.last_position,
        records: u64::from(summary.records),
        bytes: u64::from(summary.bytes),
        last_wall_ms: summary.last_wall_ms,
        sealed: index.is_some(),
    }))
}

/// Runs of positions, less the base, that an index knows to be lost.
fn holes(index: &OpenIndex) -> Vec<(u64, u64)> {
    let mut deltas: Vec<u32> = index.entries.iter().map(|entry| entry.delta).collect();
    deltas.sort_unstable();
    let lost = index.above(EVERYBODY, None).filter(|found| found.offset == 0);
    let run = |until: u32| {
        let before = deltas.partition_point(|delta| *delta < until);
        let from = before.checked_sub(1).map_or(0, |at| deltas[at]) + 1;
        (u64::from(from), u64::from(until))
    };
    lost.map(|found| run(found.delta)).collect()
}

/// True if an index file says what the records say.
fn fits(index: &SealedIndex, records: &OpenIndex) -> Result<bool, IndexError> {
    let mut expected = records.entries.iter();
    let mut same = true;
    index.for_each(|entry| same &= expected.next() == Some(&entry))?;
    Ok(same && expected.next().is_none() && index.summary == records.summary)
}

/// What a look begins with.
pub(super) struct Files {
    pub(super) manifest: Manifest,
    /// Of the segments, in order.
    pub(super) bases: Vec<u64>,
    others: Vec<String>,
}

impl Files {
    pub(super) fn read(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            let found = Manifest::read(disk).map_err(failed("read the manifest"))?;
            let names = disk.list().map_err(failed("list the directory"))?;
            let mut bases: Vec<u64> = names.iter().filter_map(|name| base_of(name, ".log")).collect();
            bases.sort_unstable();
            let mut others: Vec<String> = names.into_iter().filter(|name| !is_ours(name)).collect();
            others.sort_unstable();
            return match found {
                Found::Manifest(manifest) => {
                    // What is being made, or never was to its end, makes the one before the newest.
                    if let Some(newest) = bases.last()
                        && is_being_made(disk, *newest)?
                    {
                        bases.pop();
                    }
                    Ok(Self { manifest: *manifest, bases, others })
                }
                Found::Version(version) => Err(OpenError::Version(version)),
                _ if attempts_left > 0 => continue,
                Found::Damaged => Err(OpenError::Damaged("neither of the two manifest files can be read".into())),
                Found::Nothing if bases.is_empty() => Err(OpenError::Missing { other: others.into_iter().next() }),
                Found::Nothing => Err(OpenError::Damaged("there are segments, and no manifest".into())),
            };
        }
    }
}

fn is_being_made(disk: &dyn Disk, base: u64) -> Result<bool, OpenError> {
    match is_empty(disk, base) {
        Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

fn is_ours(name: &str) -> bool {
    let segment = base_of(name, ".log").or_else(|| base_of(name, ".idx")).is_some();
    segment || name == INDEX_TMP || HARMLESS.contains(&name) || manifest::NAMES.contains(&name)
}

/// What retention has dropped by now; `known` if the manifest cannot be read at this moment.
fn floor_now(disk: &dyn Disk, known: u64) -> Result<u64, OpenError> {
    match Manifest::read(disk).map_err(failed("read the manifest"))? {
        Found::Manifest(manifest) => Ok(manifest.dropped.floor.max(known)),
        _ => Ok(known),
    }
}

/// A segment's bytes, `None` if retention has taken it away meanwhile.
///
/// A writer may overtake whoever reads a file from front to back, who then sees zeroes in front of what was written
/// behind them, as if by damage. So the newest segment is read twice: everything before the last byte that the first
/// reading saw was there before the second began.
pub(super) fn read_segment(disk: &dyn Disk, base: u64, newest: bool) -> Result<Option<Vec<u8>>, OpenError> {
    let name = log_name(base);
    let read = disk.open(&name).and_then(|file| {
        let mut bytes = read_all(&*file, SEGMENT_MAX)?;
        if newest {
            let seen = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes = read_all(&*file, SEGMENT_MAX)?;
            bytes.truncate(seen.max(SEGMENT_HEAD));
        }
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(format!("read {name}"))(error)),
    }
}
