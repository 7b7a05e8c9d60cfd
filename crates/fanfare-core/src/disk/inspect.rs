//! Looking at a log without opening it: nothing is written, so a server may go on using it meanwhile.

use super::files::{Disk, read_all};
use super::format::{BadHead, Kind, RecordRef, SEGMENT_HEAD, TargetKind, read_record, read_segment_head, salt};
use super::index::{IndexError, OpenIndex, SealedIndex};
use super::manifest::{self, Found, Manifest};
use super::open::{OpenError, failed};
use super::scan::{SEGMENT_MAX, Tail, scan_bytes};
use super::segment::{base_of, index_name, log_name};
use crate::key::{Key, Keyer, Kind as NameKind};
use crate::target::Name;
use core::ops::ControlFlow;

/// A log, as its files tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogInfo {
    /// The format's version.
    pub version: u32,
    /// Drawn when the log was made.
    pub log_id: u64,
    /// Every start with the position behind which it began.
    pub epochs: Vec<(u64, u64)>,
    /// The newest position that retention dropped.
    pub floor: u64,
    /// Keys whose last dropped position is remembered.
    pub dropped_keys: usize,
    /// Oldest first.
    pub segments: Vec<SegmentInfo>,
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

/// What [`verify`] found wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Readers who pass are told a gap.
    #[error("{name}: records up to position {until} cannot be read, or are known to be lost")]
    Hole {
        /// The segment.
        name: String,
        /// The last position of the hole.
        until: u64,
    },
    /// Positions between two segments are missing.
    #[error("{name}: positions {from} to {until} in front of it are missing")]
    Missing {
        /// The segment behind the hole.
        name: String,
        /// The first of them.
        from: u64,
        /// The last.
        until: u64,
    },
    /// The end of the newest segment is no interrupted write: something acknowledged may be lost.
    #[error("{name}: what is behind byte {end} may have been acknowledged, and cannot be read")]
    Tail {
        /// The segment.
        name: String,
        /// Where its sound part ends.
        end: u64,
    },
    /// The next start, or the next read, makes it anew from the records.
    #[error("{name}: the index is damaged, or does not fit the records")]
    Index {
        /// The index file.
        name: String,
    },
    /// Nothing is lost by it: what a head says is known from the file's name and the manifest.
    #[error("{name}: the head is damaged; its records are read all the same")]
    Head {
        /// The segment.
        name: String,
    },
    /// The file is no segment of this log.
    #[error("{name}: not a segment of this log")]
    Foreign {
        /// The file.
        name: String,
    },
}

/// A record, with its event still as the frame that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord<'a> {
    /// Its place in the log.
    pub position: u64,
    /// When it was committed, Unix milliseconds.
    pub wall_ms: u64,
    /// `all`, `one` (a user, a session or a topic), `any` (users), `every` (a filter) or `client`.
    pub target: &'static str,
    /// Hashes of the names it is for; the names themselves are not kept.
    pub keys: Vec<String>,
    /// The whole frame.
    pub frame: &'a [u8],
}

/// Which records [`dump`] shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only positions above.
    pub after: u64,
    /// Only events addressed to this user by name.
    pub user: Option<Name>,
    /// Only events addressed to this session by name.
    pub session: Option<Name>,
    /// Only events of this topic.
    pub topic: Option<Name>,
}

/// Reads what is known of a log from manifest and indices. The segment without an index is read whole.
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
    look(disk, true, &mut problem)
}

fn look(disk: &dyn Disk, thorough: bool, problem: &mut dyn FnMut(Problem)) -> Result<LogInfo, OpenError> {
    let (manifest, bases) = read_manifest(disk)?;
    let Manifest { log_id, dropped, .. } = &manifest;
    let mut info = LogInfo {
        version: manifest::VERSION,
        log_id: *log_id,
        epochs: manifest.epochs.list().to_vec(),
        floor: dropped.floor,
        dropped_keys: dropped.keys.len(),
        segments: Vec::with_capacity(bases.len()),
    };
    let mut reached = dropped.floor;
    for (number, base) in bases.iter().copied().enumerate() {
        let name = log_name(base);
        let newest = number + 1 == bases.len();
        let sealed = match disk.open(&index_name(base)) {
            Ok(file) => Some(SealedIndex::open(file, *log_id, base)),
            Err(_) => None,
        };
        if matches!(sealed, Some(Err(_))) {
            problem(Problem::Index { name: index_name(base) });
        }
        let index = sealed.and_then(Result::ok);
        let summary = match &index {
            Some(index) if !thorough => index.summary.clone(),
            _ => {
                let bytes = read_segment(disk, base)?;
                match read_segment_head(&bytes) {
                    Ok(found) if found == (*log_id, base) => {}
                    Err(BadHead::Version(version)) => return Err(OpenError::Version(version)),
                    // As the next start does: its records tell of themselves.
                    Err(BadHead::Damaged) => problem(Problem::Head { name: name.clone() }),
                    Ok(_) => {
                        problem(Problem::Foreign { name });
                        continue;
                    }
                }
                let scan = scan_bytes(&bytes, salt(*log_id, base), base, newest);
                let holes = scan.index.above(super::index::EVERYBODY, None).filter(|found| found.offset == 0);
                holes.for_each(|hole| {
                    problem(Problem::Hole { name: name.clone(), until: base + u64::from(hole.delta) })
                });
                if scan.tail == Tail::Damaged {
                    problem(Problem::Tail { name: name.clone(), end: u64::from(scan.index.summary.bytes) });
                }
                if index.as_ref().is_some_and(|index| !fits(index, &scan.index)) {
                    problem(Problem::Index { name: index_name(base) });
                }
                scan.index.summary
            }
        };
        if base > reached {
            problem(Problem::Missing { name: name.clone(), from: reached + 1, until: base });
        }
        reached = summary.last_position.max(base);
        info.segments.push(SegmentInfo {
            name,
            base,
            last_position: summary.last_position,
            records: u64::from(summary.records),
            bytes: u64::from(summary.bytes),
            last_wall_ms: summary.last_wall_ms,
            sealed: index.is_some(),
        });
    }
    Ok(info)
}

/// True if an index file says what the records say.
fn fits(index: &SealedIndex, records: &OpenIndex) -> bool {
    let mut expected = records.entries.iter();
    let mut same = true;
    let read: Result<(), IndexError> = index.for_each(|entry| same &= expected.next() == Some(&entry));
    read.is_ok() && same && expected.next().is_none() && index.summary == records.summary
}

/// Calls `each` with every event that fits the filter, in order, until it breaks. What cannot be read is left out.
///
/// # Errors
///
/// As [`inspect`].
pub fn dump(
    disk: &dyn Disk,
    filter: &LogFilter,
    mut each: impl FnMut(LogRecord<'_>) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let (manifest, bases) = read_manifest(disk)?;
    let keyer = Keyer::new(manifest.secret);
    let names =
        [(NameKind::User, &filter.user), (NameKind::Session, &filter.session), (NameKind::Topic, &filter.topic)];
    let wanted: Vec<Key> =
        names.into_iter().filter_map(|(kind, name)| Some(keyer.key(kind, "", name.as_ref()?.as_str()))).collect();
    for (number, base) in bases.iter().copied().enumerate() {
        if bases.get(number + 1).is_some_and(|next| *next <= filter.after) {
            continue;
        }
        let bytes = read_segment(disk, base)?;
        let salt = salt(manifest.log_id, base);
        let end = scan_bytes(&bytes, salt, base, number + 1 == bases.len()).index.summary.bytes as usize;
        let mut at = SEGMENT_HEAD;
        while at < end {
            let Some(record) = read_record(&bytes[at..end], salt) else {
                at += 8;
                continue;
            };
            at += record.len;
            let shown = record.kind == Kind::Event
                && record.position > filter.after
                && wanted.iter().all(|wanted| record.keys().any(|key| key == *wanted));
            if shown && each(shown_record(&record)).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn shown_record<'a>(record: &RecordRef<'a>) -> LogRecord<'a> {
    let hex = |key: Key| format!("{:016x}{:016x}", key.words().0, key.words().1);
    LogRecord {
        position: record.position,
        wall_ms: record.wall_ms,
        target: match record.target {
            TargetKind::All => "all",
            TargetKind::Key => "one",
            TargetKind::AnyOf => "any",
            TargetKind::AllOf => "every",
            TargetKind::Client => "client",
        },
        keys: record.keys().map(hex).collect(),
        frame: record.body,
    }
}

fn read_manifest(disk: &dyn Disk) -> Result<(Manifest, Vec<u64>), OpenError> {
    let names = disk.list().map_err(failed("list the directory"))?;
    let mut bases: Vec<u64> = names.iter().filter_map(|name| base_of(name, ".log")).collect();
    bases.sort_unstable();
    match Manifest::read(disk).map_err(failed("read the manifest"))? {
        Found::Manifest(manifest) => Ok((*manifest, bases)),
        Found::Version(version) => Err(OpenError::Version(version)),
        Found::Damaged => Err(OpenError::Damaged("neither of the two manifest files can be read".into())),
        Found::Nothing if bases.is_empty() => Err(OpenError::Missing),
        Found::Nothing => Err(OpenError::Damaged("there are segments, and no manifest".into())),
    }
}

fn read_segment(disk: &dyn Disk, base: u64) -> Result<Vec<u8>, OpenError> {
    let name = log_name(base);
    let read = disk.open(&name).and_then(|file| read_all(&*file, SEGMENT_MAX));
    read.map_err(failed(format!("read {name}")))
}
