//! What a start finds: every segment as it is, what is missing between them, and where the newest ends.

use super::files::{Disk, read_all, read_full};
use super::format::{BadHead, Commit, Kind, Place, SEGMENT_HEAD, put_commit, put_record, read_segment_head};
use super::index::{Entry, IndexError, SealedIndex};
use super::log::INDEX_TMP;
use super::manifest::Manifest;
use super::outcome::{OpenError, OpenReport, failed};
use super::scan::{Tail, scan};
use super::segment::{Segment, base_of, index_name, log_name, remove_segment};
use crate::target::Matcher;
use crate::time::Now;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// What the segments say.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) last_position: u64,
    pub(super) last_group: u64,
    pub(super) newest_ms: u64,
    /// Where the newest segment's last group begins, and where its committed records end.
    pub(super) last_group_at: u64,
    pub(super) end: u64,
    pub(super) damaged_tail: bool,
    /// There was a segment behind the newest.
    pub(super) lost_segment: bool,
    /// Behind what was kept, before any hole that this start makes.
    pub(super) epoch_start: u64,
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
                let segment = Segment::sealed(file, log_id, base, index);
                return Ok(Opened { segment, tail: Tail::Clean, holes: 0, last_group_at: 0 });
            }
            Err(IndexError::Version(version)) => return Err(OpenError::Version(version)),
            // It is made anew from the records.
            Ok(_) | Err(_) => {}
        }
    }
    match scan(&*file, log_id, base, newest) {
        Ok(scan) => {
            let segment = Segment::new(file, log_id, base, scan.index);
            // A first group whose end was never synced may have a head that was not either.
            let last_group_at = if scan.last_group_at == SEGMENT_HEAD { 0 } else { scan.last_group_at as u64 };
            Ok(Opened { segment, tail: scan.tail, holes: scan.holes, last_group_at })
        }
        Err(IndexError::Version(version)) => Err(OpenError::Version(version)),
        Err(IndexError::Io(error)) => Err(what()(error)),
        Err(IndexError::Damaged) => Err(OpenError::Damaged(format!("{name} is a segment of another log"))),
    }
}

impl Recovered {
    /// Reads the segments, and takes away what is not worth keeping. What turns out to be missing goes into the manifest
    /// and the report.
    pub(super) fn read(
        disk: &dyn Disk,
        names: &[String],
        manifest: &mut Manifest,
        report: &mut OpenReport,
    ) -> Result<Self, OpenError> {
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
        let mut state = Self {
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
                    return Self::read(disk, &left, manifest, report);
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

    /// Puts on record that something was lost behind the end, nobody knows what.
    pub(super) fn write_hole(&mut self, active: &Segment, now: Now) -> io::Result<()> {
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
        let delta = (position - active.base) as u32;
        active.extend(&[Entry::hole(delta)], |summary| {
            summary.last_hole = delta;
            summary.bytes = end as u32;
            summary.last_position = position;
            summary.last_wall_ms = wall_ms;
            summary.last_group = group;
        });
        Ok(())
    }
}
