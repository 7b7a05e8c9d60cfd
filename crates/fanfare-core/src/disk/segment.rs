//! One segment: a file of records, and the index that finds them.

use super::files::{Disk, DiskFile, read_full};
use super::format::{Kind, RECORD_MAX, RecordRef, claimed_len, read_record, salt};
use super::index::{Entry, Found, IndexError, OpenIndex, SealedIndex, Summary, encode};
use super::scan::scan;
use crate::key::Key;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// What is read at once while records are looked up one by one.
const WINDOW: usize = 16 * 1024;

pub(super) struct Segment {
    /// The position before its first record.
    pub(super) base: u64,
    /// Records between the segment before and this one were lost.
    pub(super) hole_before: bool,
    pub(super) file: Box<dyn DiskFile>,
    log_id: u64,
    salt: u32,
    index: RwLock<Index>,
    /// How often the index was made anew.
    rebuilt: AtomicU32,
}

enum Index {
    /// Of a segment that is written, or was not sealed yet.
    Open(OpenIndex),
    Sealed(SealedIndex),
}

pub(super) fn log_name(base: u64) -> String {
    format!("{base:020}.log")
}

pub(super) fn index_name(base: u64) -> String {
    format!("{base:020}.idx")
}

/// The base in a segment's file name.
pub(super) fn base_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Takes the segment's files away. One that stays is taken away at the next start.
pub(super) fn remove_segment(disk: &dyn Disk, base: u64) {
    _ = disk.remove(&log_name(base));
    _ = disk.remove(&index_name(base));
}

impl Segment {
    pub(super) fn new(file: Box<dyn DiskFile>, log_id: u64, base: u64, index: OpenIndex) -> Self {
        Self::with(file, log_id, base, Index::Open(index))
    }

    pub(super) fn sealed(file: Box<dyn DiskFile>, log_id: u64, base: u64, index: SealedIndex) -> Self {
        Self::with(file, log_id, base, Index::Sealed(index))
    }

    fn with(file: Box<dyn DiskFile>, log_id: u64, base: u64, index: Index) -> Self {
        Self {
            base,
            hole_before: false,
            file,
            log_id,
            salt: salt(log_id, base),
            index: RwLock::new(index),
            rebuilt: AtomicU32::new(0),
        }
    }

    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_index(&self, index: Index) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    pub(super) fn summary<R>(&self, read: impl FnOnce(&Summary) -> R) -> R {
        match &*self.index() {
            Index::Open(index) => read(&index.summary),
            Index::Sealed(index) => read(&index.summary),
        }
    }

    pub(super) fn last_position(&self) -> u64 {
        self.summary(|summary| summary.last_position)
    }

    /// True if its newest record is older than so many milliseconds.
    pub(super) fn is_older(&self, wall_ms: u64, age_ms: u64) -> bool {
        self.summary(|summary| wall_ms.saturating_sub(summary.last_wall_ms) > age_ms)
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(&*self.index(), Index::Sealed(_))
    }

    /// Adds what was committed to the index of the segment that is written.
    pub(super) fn extend(&self, entries: &[Entry], update: impl FnOnce(&mut Summary)) {
        if let Index::Open(index) = &mut *self.index.write().unwrap_or_else(PoisonError::into_inner) {
            index.entries.extend(entries);
            update(&mut index.summary);
        }
    }

    /// Asks the index; where it turns out to be damaged, it is made anew from the records first.
    fn ask<R>(
        &self,
        open: impl FnOnce(&OpenIndex) -> R,
        sealed: impl FnOnce(&SealedIndex) -> Result<R, IndexError>,
    ) -> io::Result<R> {
        match &*self.index() {
            Index::Open(index) => return Ok(open(index)),
            Index::Sealed(index) => match sealed(index) {
                Ok(answer) => return Ok(answer),
                Err(IndexError::Io(error)) => return Err(error),
                Err(_) => {}
            },
        }
        self.scan_again()?;
        match &*self.index() {
            Index::Open(index) => Ok(open(index)),
            Index::Sealed(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn scan_again(&self) -> io::Result<()> {
        match scan(&*self.file, self.log_id, self.base, false) {
            Ok(mut scan) => {
                // The end is known from when it was whole: what is missing before it now is a hole.
                let last = self.summary(|summary| summary.last_position);
                if scan.index.summary.last_position < last {
                    let delta = (last - self.base) as u32;
                    scan.index.entries.insert(Entry::hole(delta));
                    (scan.index.summary.last_position, scan.index.summary.last_hole) = (last, delta);
                }
                self.set_index(Index::Open(scan.index));
                self.rebuilt.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Err(IndexError::Io(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Changes when the index was made anew: what it said before knows nothing of the holes it has now.
    pub(super) fn rebuilt(&self) -> u32 {
        self.rebuilt.load(Ordering::SeqCst)
    }

    /// At most `max` records under `key` above `delta`.
    pub(super) fn above(&self, key: Key, delta: Option<u32>, max: usize) -> io::Result<Vec<Found>> {
        self.ask(|index| index.above(key, delta).take(max).collect(), |index| index.above(key, delta, max))
    }

    /// The newest record under `key`.
    pub(super) fn last(&self, key: Key) -> io::Result<Option<Found>> {
        self.ask(|index| index.last(key), |index| index.last(key))
    }

    /// Every entry, in the order of keys.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        self.ask(
            |index| index.entries.iter().copied().collect(),
            |index| {
                let mut all = Vec::new();
                index.for_each(|entry| all.push(entry))?;
                Ok(all)
            },
        )
    }

    /// Writes the index to its file, from which it is read from now on. `tmp` is a name nobody else uses.
    pub(super) fn seal(&self, disk: &dyn Disk, tmp: &str) -> io::Result<()> {
        let bytes = match &*self.index() {
            Index::Open(index) => encode(self.log_id, self.base, index),
            Index::Sealed(_) => return Ok(()),
        };
        match disk.remove(tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(tmp)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(tmp, &index_name(self.base))?;
        disk.sync()?;
        match SealedIndex::open(file, self.log_id, self.base) {
            Ok(index) => self.set_index(Index::Sealed(index)),
            Err(IndexError::Io(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    }
}

/// A part of a segment's file that was read, from which records are taken one by one.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The record at an offset: `None` if it is damaged, or not the one that the index means.
    pub(super) fn record<'a>(
        &'a mut self,
        segment: &Segment,
        offset: u32,
        position: u64,
        kind: Kind,
    ) -> io::Result<Option<RecordRef<'a>>> {
        Ok(self.any(segment, offset, kind)?.filter(|record| record.position == position))
    }

    /// The record at an offset, whatever its position.
    pub(super) fn any<'a>(
        &'a mut self,
        segment: &Segment,
        offset: u32,
        kind: Kind,
    ) -> io::Result<Option<RecordRef<'a>>> {
        let offset = u64::from(offset);
        let at = offset.checked_sub(self.start).map(|at| at as usize);
        let have = at.and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if claimed_len(have).is_none_or(|len| have.len() < len) {
            self.fill(segment, offset, WINDOW)?;
            if let Some(len) = claimed_len(&self.bytes).filter(|len| *len > self.bytes.len()) {
                self.fill(segment, offset, len.min(RECORD_MAX))?;
            }
        }
        let at = (offset - self.start) as usize;
        let record = read_record(self.bytes.get(at..).unwrap_or_default(), segment.salt);
        Ok(record.filter(|record| record.kind == kind))
    }

    fn fill(&mut self, segment: &Segment, offset: u64, len: usize) -> io::Result<()> {
        self.start = offset;
        self.bytes.resize(len, 0);
        let filled = read_full(&*segment.file, &mut self.bytes, offset);
        self.bytes.truncate(*filled.as_ref().unwrap_or(&0));
        filled.map(|_| ())
    }
}
