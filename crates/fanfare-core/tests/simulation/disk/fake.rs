//! A disk in memory that keeps apart what was synced and what was not, and fails in the ways of real ones: power
//! goes, the process dies in the middle of a write, room runs out, a sync fails and forgets, bits rot. What becomes
//! of unsynced bytes is drawn sector by sector. Knows nothing of logs but the endings of their files' names.

use crate::chance::Chance;
use fanfare_core::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// The files of a directory with their bytes: a backup.
pub type Snapshot = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Inode {
    /// As the system shows it.
    data: Vec<u8>,
    /// As the medium has it.
    synced: Vec<u8>,
    /// Sectors that were written since they were synced.
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync gave up: shown, and never written to the medium unless they are written again.
    lost: BTreeSet<usize>,
}

/// What the disk did to its user.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Harm {
    /// Refused for want of room.
    pub full: usize,
    /// The manifest among them.
    pub manifest_full: usize,
    /// A sync, a write or a read that failed.
    pub sync: usize,
    pub write: usize,
    pub read: usize,
}

struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    chance: Chance,
    /// After so many operations that change something the world stops.
    stop_after: Option<usize>,
    stopped: bool,
    /// Bytes that files may still grow by, or that may still be written where room cannot be reserved.
    room: Option<u64>,
    stingy: bool,
    fail_sync: Option<usize>,
    fail_write: Option<usize>,
    fail_reads: usize,
    harm: Harm,
}

/// See the module. Clones are the same disk.
#[derive(Clone)]
pub struct FakeDisk(Arc<Mutex<State>>);

struct Handle {
    disk: FakeDisk,
    inode: usize,
    manifest: bool,
}

pub fn is_segment(name: &str) -> bool {
    name.strip_suffix(".log").is_some()
}

fn stop() -> io::Error {
    io::Error::other("the world has stopped")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

/// Counts down to the operation that fails.
fn strikes(after: &mut Option<usize>) -> bool {
    match after {
        Some(0) => {
            *after = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl State {
    /// Before everything that changes something.
    fn operate(&mut self) -> io::Result<()> {
        self.stopped |= strikes(&mut self.stop_after);
        if self.stopped { Err(stop()) } else { Ok(()) }
    }

    fn alive(&self) -> io::Result<()> {
        if self.stopped { Err(stop()) } else { Ok(()) }
    }

    /// So many of the bytes that are asked for fit.
    fn take_room(&mut self, bytes: u64) -> u64 {
        let Some(room) = &mut self.room else { return bytes };
        let taken = bytes.min(*room);
        *room -= taken;
        taken
    }

    fn give_room(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            *room += bytes as u64;
        }
    }
}

impl Inode {
    fn resize(&mut self, len: usize) {
        if len == self.data.len() {
            return;
        }
        let (short, long) = (self.data.len().min(len), self.data.len().max(len));
        // What was cut off must not come back where the file grows again.
        for sector in short / SECTOR..long.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
        self.data.resize(len, 0);
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.data.len() {
            self.resize(end);
        }
        self.data[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
    }

    fn keep(&mut self, sector: usize, from: usize, to: usize) {
        let (start, end) = (sector * SECTOR + from, (sector * SECTOR + to).min(self.data.len()).min(self.synced.len()));
        if start < end {
            self.synced[start..end].copy_from_slice(&self.data[start..end]);
        }
    }

    fn sync(&mut self) {
        self.synced.resize(self.data.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector, 0, SECTOR);
        }
    }

    /// What the medium has of it when the power goes: any part of what was not synced, in any order.
    fn lose_power(&mut self, chance: &mut Chance) {
        let (short, long) = (self.synced.len().min(self.data.len()), self.synced.len().max(self.data.len()));
        let len = match chance.below(4) {
            0 => self.synced.len(),
            1 | 2 => self.data.len(),
            _ => short + chance.below(long - short + 1),
        };
        self.synced.resize(len, 0);
        let given_up = std::mem::take(&mut self.lost);
        let dirty: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        let (way, upto) = (chance.below(4), chance.below(dirty.len() + 1));
        for (number, sector) in dirty.into_iter().enumerate() {
            let whole = match way {
                0 => false,
                1 => true,
                2 => number < upto,
                _ => chance.below(2) == 0,
            };
            if whole {
                self.keep(sector, 0, SECTOR);
            } else if way == 2 && number == upto || way == 3 && chance.below(8) == 0 {
                let at = chance.below(SECTOR);
                if chance.below(4) == 0 { self.keep(sector, at, SECTOR) } else { self.keep(sector, 0, at) }
            }
        }
        for sector in given_up {
            if chance.below(4) == 0 {
                self.keep(sector, 0, SECTOR);
            }
        }
        self.data.clone_from(&self.synced);
    }
}

impl FakeDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            chance: Chance(seed),
            stop_after: None,
            stopped: false,
            room: None,
            stingy: false,
            fail_sync: None,
            fail_write: None,
            fail_reads: 0,
            harm: Harm::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    // What it does to its user

    /// The world stops at the n-th operation from now that would change something.
    pub fn stop_after(&self, operations: usize) {
        self.state().stop_after = Some(operations);
    }

    pub fn has_stopped(&self) -> bool {
        self.state().stopped
    }

    /// So many bytes are left, `None` for any number. A stingy disk reserves nothing, and is full in the middle of
    /// a write.
    pub fn leave_room(&self, room: Option<u64>, stingy: bool) {
        let mut state = self.state();
        (state.room, state.stingy) = (room, stingy);
    }

    pub fn fail_sync(&self, after: usize) {
        self.state().fail_sync = Some(after);
    }

    pub fn fail_write(&self, after: usize) {
        self.state().fail_write = Some(after);
    }

    pub fn fail_reads(&self, count: usize) {
        self.state().fail_reads = count;
    }

    pub fn harm(&self) -> Harm {
        self.state().harm
    }

    /// True if a loss of power could change what a segment says.
    pub fn has_unsynced_records(&self) -> bool {
        let state = self.state();
        let segments = state.names.iter().filter(|(name, _)| is_segment(name));
        segments.map(|(_, inode)| &state.inodes[*inode]).any(|inode| !inode.dirty.is_empty() || !inode.lost.is_empty())
    }

    /// The process is dead, the machine goes on.
    pub fn kill(&self) {
        let mut state = self.state();
        state.stopped = false;
        (state.stop_after, state.fail_sync, state.fail_write, state.fail_reads) = (None, None, None, 0);
    }

    pub fn lose_power(&self) {
        self.kill();
        let mut guard = self.state();
        let state = &mut *guard;
        let all: BTreeSet<String> = state.names.keys().chain(state.synced_names.keys()).cloned().collect();
        let mut kept = BTreeMap::new();
        for name in all {
            let side = if state.chance.below(2) == 0 { &state.names } else { &state.synced_names };
            if let Some(inode) = side.get(&name) {
                kept.insert(name, *inode);
            }
        }
        state.names.clone_from(&kept);
        state.synced_names = kept;
        for inode in &mut state.inodes {
            inode.lose_power(&mut state.chance);
        }
    }

    // What happens to the medium

    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].data.clone())).collect()
    }

    pub fn restore(&self, snapshot: &Snapshot) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.names.clear();
        for (name, bytes) in snapshot {
            state.names.insert(name.clone(), state.inodes.len());
            let (data, synced) = (bytes.clone(), bytes.clone());
            state.inodes.push(Inode { data, synced, ..Inode::default() });
        }
        state.synced_names = state.names.clone();
    }

    /// A disk with the same bytes and no faults, to look at.
    pub fn peek(&self) -> Self {
        let peek = Self::new(0);
        peek.restore(&self.snapshot());
        peek
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The bytes that a file has, up to the last that is not zero.
    pub fn written(&self, name: &str) -> usize {
        let state = self.state();
        let data = state.names.get(name).map(|inode| &state.inodes[*inode].data);
        data.and_then(|data| data.iter().rposition(|byte| *byte != 0)).map_or(0, |last| last + 1)
    }

    pub fn flip(&self, name: &str, at: usize, bit: u8) {
        let mut state = self.state();
        let Some(inode) = state.names.get(name).copied() else { return };
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.data, &mut inode.synced] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    pub fn cut(&self, name: &str, len: usize) {
        let mut state = self.state();
        let Some(inode) = state.names.get(name).copied() else { return };
        state.inodes[inode].data.truncate(len);
        state.inodes[inode].synced.truncate(len);
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.synced_names.remove(name);
    }

    fn handle(&self, inode: usize, name: &str) -> Box<dyn DiskFile> {
        Box::new(Handle { disk: self.clone(), inode, manifest: name.starts_with("manifest") })
    }
}

impl Disk for FakeDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        let inode = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.handle(inode, name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operate()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.room == Some(0) {
            state.harm.full += 1;
            state.harm.manifest_full += usize::from(name.starts_with("manifest"));
            return Err(full());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        drop(state);
        Ok(self.handle(inode, name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let inode = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        let len = state.inodes[inode].data.len();
        state.give_room(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if strikes(&mut state.fail_sync) {
            state.harm.sync += 1;
            return Err(broken());
        }
        state.synced_names = state.names.clone();
        Ok(())
    }
}

impl Handle {
    /// What the room left allows of a growth; the rest is an error.
    fn grow(state: &mut State, manifest: bool, bytes: u64) -> (u64, io::Result<()>) {
        let taken = state.take_room(bytes);
        if taken == bytes {
            return (taken, Ok(()));
        }
        state.harm.full += 1;
        state.harm.manifest_full += usize::from(manifest);
        (taken, Err(full()))
    }
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.inodes[self.inode].data.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.alive()?;
        if state.fail_reads > 0 {
            state.fail_reads -= 1;
            state.harm.read += 1;
            return Err(broken());
        }
        let data = &state.inodes[self.inode].data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        // A short read now and then, as the system may.
        let mut count = rest.len().min(buffer.len());
        if count > 1 && offset % 7 == 3 {
            count = count.div_ceil(2);
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        state.alive()?;
        let mut result = state.operate();
        let mut whole = bytes.len();
        if result.is_err() {
            whole = state.chance.below(bytes.len() + 1);
        } else if strikes(&mut state.fail_write) {
            state.harm.write += 1;
            whole = state.chance.below(bytes.len() + 1);
            result = Err(broken());
        } else {
            let grows = (offset + bytes.len() as u64).saturating_sub(state.inodes[self.inode].data.len() as u64);
            let costs = if state.stingy { bytes.len() as u64 } else { grows };
            let (taken, room) = Self::grow(state, self.manifest, costs);
            whole -= (costs - taken) as usize;
            result = room;
        }
        if whole > 0 {
            state.inodes[self.inode].write(&bytes[..whole], offset as usize);
        }
        result
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        state.operate()?;
        let old = state.inodes[self.inode].data.len();
        if len as usize <= old {
            return Ok(());
        }
        let costs = if state.stingy { 0 } else { len - old as u64 };
        let (taken, result) = Self::grow(state, self.manifest, costs);
        if result.is_err() {
            state.give_room(taken as usize);
            return result;
        }
        state.inodes[self.inode].resize(len as usize);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        state.operate()?;
        let old = state.inodes[self.inode].data.len();
        state.give_room(old.saturating_sub(len as usize));
        state.inodes[self.inode].resize(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        state.operate()?;
        let inode = &mut state.inodes[self.inode];
        if strikes(&mut state.fail_sync) {
            state.harm.sync += 1;
            // As on Linux: the pages are clean from now on, whatever became of them.
            if state.chance.below(4) > 0 {
                inode.lost.append(&mut inode.dirty);
            }
            return Err(broken());
        }
        inode.sync();
        Ok(())
    }
}
