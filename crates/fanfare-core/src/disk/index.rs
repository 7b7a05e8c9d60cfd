//! Which keys a segment holds, and where: in memory for the segment that is written, in a file beside it once it
//! is sealed, of which only a filter and every page's first entry stay in memory.
//!
//! An entry is a key, a position and an offset. Broadcasts are entries under a key of their own; what was lost is
//! one of those, with no offset. So a reader's cost follows its own entries, and a damaged index is found out by its
//! checksums and made anew from the records.

use super::files::{DiskFile, read_full};
use super::format::{VERSION, checksum, get_key, get_u32, get_u64, put_key, put_u32, put_u64, salt};
use crate::key::Key;
use std::collections::{BTreeSet, btree_set};
use std::io;

/// What broadcasts, and holes, are found under. No name has it: names are hashed with a secret.
pub(super) const EVERYBODY: Key = Key::from_words(0, 0);

const MAGIC: &[u8; 8] = b"FANFIDX\n";
const HEAD: usize = 80;
const ENTRY: usize = 24;
const PAGE_ENTRIES: usize = 170;
/// A page's entries and their checksum.
const PAGE: usize = PAGE_ENTRIES * ENTRY + 4;
const FENCE: usize = 12;
/// Set in an entry's offset for a key that names a connection, whose loss is remembered apart.
const CLIENT: u32 = 1 << 31;
/// Bits of the filter for each key, and probes: about one false answer in a hundred.
const FILTER_BITS: usize = 10;
const FILTER_PROBES: u64 = 5;

/// One key of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Position less the segment's base.
    pub(super) delta: u32,
    offset: u32,
}

/// Where a record is that a reader may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) delta: u32,
    /// 0 where the record was lost.
    pub(super) offset: u32,
}

impl Entry {
    pub(super) fn new(key: Key, delta: u32, offset: u32, client: bool) -> Self {
        Self { key, delta, offset: if client { offset | CLIENT } else { offset } }
    }

    /// Records up to here were lost, for whoever they were.
    pub(super) fn hole(delta: u32) -> Self {
        Self { key: EVERYBODY, delta, offset: 0 }
    }

    pub(super) fn is_client(self) -> bool {
        self.offset & CLIENT != 0
    }

    fn found(self) -> Found {
        Found { delta: self.delta, offset: self.offset & !CLIENT }
    }
}

/// What else is known of a segment's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) records: u32,
    /// Bytes of the segment, its head included.
    pub(super) bytes: u32,
    pub(super) last_position: u64,
    pub(super) last_wall_ms: u64,
    pub(super) last_group: u64,
    /// Position less the base up to which records were lost last, 0 if none were.
    pub(super) last_hole: u32,
    /// Offsets of the answers under idempotency keys.
    pub(super) answers: Vec<u32>,
}

/// The index of a segment that is still written.
#[derive(Debug)]
pub(super) struct OpenIndex {
    pub(super) entries: BTreeSet<Entry>,
    pub(super) summary: Summary,
}

/// The index of a sealed segment.
pub(super) struct SealedIndex {
    file: Box<dyn DiskFile>,
    salt: u32,
    entries: usize,
    pages_at: u64,
    filter: Box<[u8]>,
    fences: Box<[(u64, u32)]>,
    pub(super) summary: Summary,
}

/// The index file is not what was written.
#[derive(Debug)]
pub(super) enum IndexError {
    Damaged,
    Version(u32),
    Io(io::Error),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl OpenIndex {
    /// Entries of `key` above `delta`.
    pub(super) fn above(&self, key: Key, delta: Option<u32>) -> impl Iterator<Item = Found> {
        self.range(key, delta).map(|entry| entry.found())
    }

    fn range(&self, key: Key, delta: Option<u32>) -> btree_set::Range<'_, Entry> {
        let last = Entry { key, delta: u32::MAX, offset: u32::MAX };
        let first = match delta {
            None => Entry { key, delta: 0, offset: 0 },
            Some(u32::MAX) => return self.entries.range(last..last),
            Some(delta) => Entry { key, delta: delta + 1, offset: 0 },
        };
        self.entries.range(first..=last)
    }

    /// Where its records are, in their order and once each.
    pub(super) fn offsets(&self) -> Vec<u32> {
        let mut offsets: Vec<u32> =
            self.entries.iter().map(|entry| entry.found().offset).filter(|offset| *offset > 0).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    pub(super) fn last(&self, key: Key) -> Option<Found> {
        self.range(key, None).next_back().map(|entry| entry.found())
    }
}

fn probes(key: Key, bits: u64) -> impl Iterator<Item = u64> {
    let (first, second) = key.words();
    (0..FILTER_PROBES).map(move |n| first.wrapping_add(second.wrapping_mul(n + 1).rotate_left(n as u32 * 7)) % bits)
}

/// The bytes of an index file for these entries.
pub(super) fn encode(log_id: u64, base: u64, index: &OpenIndex) -> Vec<u8> {
    let OpenIndex { entries, summary } = index;
    let salt = salt(log_id, base);
    let mut keys = 0;
    let mut before = None;
    for entry in entries {
        keys += usize::from(before.replace(entry.key) != Some(entry.key));
    }
    let filter_len = (keys * FILTER_BITS).div_ceil(64).max(1) * 8;
    let pages = entries.len().div_ceil(PAGE_ENTRIES);
    let mut out = Vec::with_capacity(HEAD + filter_len + pages * (PAGE + FENCE) + 4 * summary.answers.len() + 4);
    out.extend_from_slice(MAGIC);
    put_u32(&mut out, VERSION);
    put_u32(&mut out, summary.records);
    put_u64(&mut out, log_id);
    put_u64(&mut out, base);
    put_u64(&mut out, summary.last_position);
    put_u64(&mut out, summary.last_wall_ms);
    put_u64(&mut out, summary.last_group);
    put_u32(&mut out, summary.bytes);
    put_u32(&mut out, summary.answers.len() as u32);
    put_u32(&mut out, filter_len as u32);
    put_u32(&mut out, entries.len() as u32);
    put_u32(&mut out, summary.last_hole);
    let sum = checksum(salt, &out);
    put_u32(&mut out, sum);
    let tables = out.len();
    let mut filter = vec![0u8; filter_len];
    for entry in entries {
        for bit in probes(entry.key, filter_len as u64 * 8) {
            filter[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    out.extend_from_slice(&filter);
    for entry in entries.iter().step_by(PAGE_ENTRIES) {
        put_u64(&mut out, entry.key.words().0);
        put_u32(&mut out, entry.delta);
    }
    for offset in &summary.answers {
        put_u32(&mut out, *offset);
    }
    let sum = checksum(salt, &out[tables..]);
    put_u32(&mut out, sum);
    let mut page_start = out.len();
    for (number, entry) in entries.iter().enumerate() {
        put_key(&mut out, entry.key);
        put_u32(&mut out, entry.delta);
        put_u32(&mut out, entry.offset);
        if (number + 1) % PAGE_ENTRIES == 0 || number + 1 == entries.len() {
            let sum = checksum(salt, &out[page_start..]);
            put_u32(&mut out, sum);
            page_start = out.len();
        }
    }
    out
}

impl SealedIndex {
    /// Reads all but the pages.
    pub(super) fn open(file: Box<dyn DiskFile>, log_id: u64, base: u64) -> Result<Self, IndexError> {
        let salt = salt(log_id, base);
        let mut head = [0; HEAD];
        if read_full(&*file, &mut head, 0)? < HEAD || &head[..8] != MAGIC {
            return Err(IndexError::Damaged);
        }
        if checksum(salt, &head[..HEAD - 4]) != get_u32(&head, HEAD - 4) {
            return Err(IndexError::Damaged);
        }
        if get_u32(&head, 8) != VERSION {
            return Err(IndexError::Version(get_u32(&head, 8)));
        }
        if (get_u64(&head, 16), get_u64(&head, 24)) != (log_id, base) {
            return Err(IndexError::Damaged);
        }
        let (answers, filter_len, entries) =
            (get_u32(&head, 60) as usize, get_u32(&head, 64) as usize, get_u32(&head, 68) as usize);
        let pages = entries.div_ceil(PAGE_ENTRIES);
        let tables_len = filter_len + pages * FENCE + answers * 4;
        let pages_at = (HEAD + tables_len + 4) as u64;
        if filter_len == 0 || file.len()? != pages_at + (entries * ENTRY + pages * 4) as u64 {
            return Err(IndexError::Damaged);
        }
        let mut tables = vec![0; tables_len + 4];
        if read_full(&*file, &mut tables, HEAD as u64)? < tables.len()
            || checksum(salt, &tables[..tables_len]) != get_u32(&tables, tables_len)
        {
            return Err(IndexError::Damaged);
        }
        let fences = tables[filter_len..filter_len + pages * FENCE].chunks_exact(FENCE);
        let fences = fences.map(|fence| (get_u64(fence, 0), get_u32(fence, 8))).collect();
        let answers = (0..answers).map(|n| get_u32(&tables, filter_len + pages * FENCE + 4 * n)).collect();
        tables.truncate(filter_len);
        let summary = Summary {
            records: get_u32(&head, 12),
            last_position: get_u64(&head, 32),
            last_wall_ms: get_u64(&head, 40),
            last_group: get_u64(&head, 48),
            last_hole: get_u32(&head, 72),
            bytes: get_u32(&head, 56),
            answers,
        };
        Ok(Self { file, salt, entries, pages_at, filter: tables.into(), fences, summary })
    }

    fn may_have(&self, key: Key) -> bool {
        probes(key, self.filter.len() as u64 * 8).all(|bit| self.filter[(bit / 8) as usize] & 1 << (bit % 8) != 0)
    }

    fn page(&self, number: usize) -> Result<Vec<Entry>, IndexError> {
        let count = PAGE_ENTRIES.min(self.entries - number * PAGE_ENTRIES);
        let mut bytes = [0; PAGE];
        let bytes = &mut bytes[..count * ENTRY + 4];
        let filled = read_full(&*self.file, bytes, self.pages_at + (number * PAGE) as u64)?;
        let (entries, sum) = bytes.split_at(count * ENTRY);
        if filled < count * ENTRY + 4 || checksum(self.salt, entries) != get_u32(sum, 0) {
            return Err(IndexError::Damaged);
        }
        let entry =
            |bytes: &[u8]| Entry { key: get_key(bytes, 0), delta: get_u32(bytes, 16), offset: get_u32(bytes, 20) };
        Ok(entries.chunks_exact(ENTRY).map(entry).collect())
    }

    /// At most `max` entries of `key` above `delta`. One page is read for most keys, none for most absent ones.
    pub(super) fn above(&self, key: Key, delta: Option<u32>, max: usize) -> Result<Vec<Found>, IndexError> {
        let mut found = Vec::new();
        let first = match delta {
            None => 0,
            Some(u32::MAX) => return Ok(found),
            Some(delta) => delta + 1,
        };
        if !self.may_have(key) {
            return Ok(found);
        }
        let word = key.words().0;
        let start = self.fences.partition_point(|fence| *fence < (word, first)).saturating_sub(1);
        for number in start..self.fences.len() {
            for entry in self.page(number)? {
                if entry.key > key || found.len() >= max {
                    return Ok(found);
                }
                if entry.key == key && entry.delta >= first {
                    found.push(entry.found());
                }
            }
        }
        Ok(found)
    }

    pub(super) fn last(&self, key: Key) -> Result<Option<Found>, IndexError> {
        let after = self.fences.partition_point(|fence| *fence <= (key.words().0, u32::MAX));
        if after == 0 || !self.may_have(key) {
            return Ok(None);
        }
        Ok(self.page(after - 1)?.into_iter().rfind(|entry| entry.key == key).map(Entry::found))
    }

    /// Calls `each` with every entry, in order.
    pub(super) fn for_each(&self, mut each: impl FnMut(Entry)) -> Result<(), IndexError> {
        for number in 0..self.fences.len() {
            self.page(number)?.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}
