//! The manifest: what must be known of a log before its segments are read, and what remains of those that were
//! dropped. Two files take turns, so that a write that is interrupted spares the other.

use super::files::{Disk, read_all};
use super::format::{checksum, get_key, get_u32, get_u64, put_key, put_u32, put_u64};
use crate::dropped::{Dropped, DroppedKeys};
use crate::epochs::{EPOCHS_MAX, Epochs};
use crate::limits::DROPPED_KEYS_MAX;
use std::io;

const MAGIC: &[u8; 8] = b"FANFMAN\n";
/// The version of the whole log: segments and indices carry the same.
pub(super) const VERSION: u32 = super::format::VERSION;
pub(super) const NAMES: [&str; 2] = ["manifest-0", "manifest-1"];
const HEAD: usize = 96;
const BYTES_MAX: u64 = (HEAD + 16 * EPOCHS_MAX + 2 * 24 * DROPPED_KEYS_MAX + 4_096) as u64;

#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// Rises with every write: the higher of the two files is the newer.
    pub(super) generation: u64,
    /// Drawn when the log was made; every segment bears it.
    pub(super) log_id: u64,
    /// What names are hashed with.
    pub(super) secret: [u64; 2],
    /// The log had come this far when this was written.
    pub(super) reached: u64,
    pub(super) epochs: Epochs,
    pub(super) dropped: Dropped,
}

/// What the two files say.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Manifest(Box<Manifest>),
    /// Both, or the only one, cannot be read.
    Damaged,
    /// Written by a newer program.
    Version(u32),
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let Dropped { floor, broadcast, keys, clients } = &self.dropped;
        let epochs = self.epochs.list();
        let mut out = Vec::with_capacity(HEAD + 16 * epochs.len() + 24 * (keys.len() + clients.len()) + 4);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, epochs.len() as u32);
        for number in [
            self.generation,
            self.log_id,
            self.secret[0],
            self.secret[1],
            self.reached,
            *floor,
            *broadcast,
            keys.forgotten,
            clients.forgotten,
        ] {
            put_u64(&mut out, number);
        }
        put_u32(&mut out, keys.len() as u32);
        put_u32(&mut out, clients.len() as u32);
        for (epoch, start) in epochs {
            put_u64(&mut out, *epoch);
            put_u64(&mut out, *start);
        }
        for (position, key) in keys.entries().chain(clients.entries()) {
            put_key(&mut out, key);
            put_u64(&mut out, position);
        }
        let sum = checksum(0, &out);
        put_u32(&mut out, sum);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Option<u32>> {
        if bytes.len() < HEAD + 4 || &bytes[..8] != MAGIC {
            return Err(None);
        }
        let (bytes, sum) = bytes.split_at(bytes.len() - 4);
        if checksum(0, bytes) != get_u32(sum, 0) {
            return Err(None);
        }
        match get_u32(bytes, 8) {
            VERSION => {}
            other => return Err(Some(other)),
        }
        let number = |n: usize| get_u64(bytes, 16 + 8 * n);
        let epochs = get_u32(bytes, 12) as usize;
        let (keys, clients) = (get_u32(bytes, 88) as usize, get_u32(bytes, 92) as usize);
        if bytes.len() != HEAD + 16 * epochs + 24 * (keys + clients) {
            return Err(None);
        }
        let pairs = bytes[HEAD..].chunks_exact(16).take(epochs);
        let epochs_list = pairs.map(|pair| (get_u64(pair, 0), get_u64(pair, 8))).collect();
        let mut entries = bytes[HEAD + 16 * epochs..].chunks_exact(24);
        let mut table = |count: usize, forgotten: u64| {
            let mut table = DroppedKeys::default();
            table.forgotten = forgotten;
            entries.by_ref().take(count).for_each(|entry| table.note(get_key(entry, 0), get_u64(entry, 16)));
            table
        };
        Ok(Self {
            generation: number(0),
            log_id: number(1),
            secret: [number(2), number(3)],
            reached: number(4),
            epochs: Epochs::from_list(epochs_list).ok_or(None)?,
            dropped: Dropped {
                floor: number(5),
                broadcast: number(6),
                keys: table(keys, number(7)),
                clients: table(clients, number(8)),
            },
        })
    }

    pub(super) fn read(disk: &dyn Disk) -> io::Result<Found> {
        let mut newest: Option<Self> = None;
        let (mut files, mut version) = (0, None);
        for name in NAMES {
            let file = match disk.open(name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            files += 1;
            let bytes = match read_all(&*file, BYTES_MAX) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(error),
            };
            match Self::decode(&bytes) {
                Ok(manifest) if newest.as_ref().is_none_or(|other| other.generation < manifest.generation) => {
                    newest = Some(manifest);
                }
                Ok(_) | Err(None) => {}
                Err(Some(other)) => version = Some(other),
            }
        }
        Ok(match (newest, version) {
            // A newer program was here after this one: what it wrote counts.
            (_, Some(version)) => Found::Version(version),
            (Some(manifest), None) => Found::Manifest(Box::new(manifest)),
            (None, None) if files == 0 => Found::Nothing,
            (None, None) => Found::Damaged,
        })
    }

    /// The files that are there and cannot be read.
    pub(super) fn damaged(disk: &dyn Disk) -> io::Result<Vec<&'static str>> {
        let mut damaged = Vec::new();
        for name in NAMES {
            let read = disk.open(name).and_then(|file| read_all(&*file, BYTES_MAX));
            match read.map(|bytes| Self::decode(&bytes)) {
                Ok(Err(None)) => damaged.push(name),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => damaged.push(name),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(damaged)
    }

    /// Writes the next generation over the older of the two files. It counts once this returns.
    pub(super) fn write(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.generation += 1;
        let written = self.put(disk).and_then(|new| if new { disk.sync() } else { Ok(()) });
        if written.is_err() {
            // What it was written over is spoiled now, and the other file is all there is: the next try leaves it alone too.
            self.generation -= 1;
        }
        written
    }

    /// Writes what was read once more, where it was read from. The process that wrote it may have died before it was
    /// synced, and the other file, over which the next generation goes, is then the only one that is safe.
    pub(super) fn settle(&self, disk: &dyn Disk) -> io::Result<()> {
        self.put(disk)?;
        disk.sync()
    }

    /// True if the file is new, and its name not safe yet.
    fn put(&self, disk: &dyn Disk) -> io::Result<bool> {
        let name = NAMES[(self.generation % 2) as usize];
        let (file, new) = match disk.open(name) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (disk.create(name)?, true),
            Err(error) => return Err(error),
        };
        let bytes = self.encode();
        file.write_at(&bytes, 0)?;
        file.truncate(bytes.len() as u64)?;
        file.sync()?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Keyer, Kind};

    #[test]
    fn a_manifest_survives_and_no_flip_passes() {
        let mut dropped = Dropped { floor: 9, broadcast: 3, ..Dropped::default() };
        let keyer = Keyer::new([1, 2]);
        for n in 0..5u64 {
            dropped.keys.note(keyer.key(Kind::User, "", &n.to_string()), n);
            dropped.clients.note(keyer.client(n as u32, 0), n + 1);
        }
        let mut epochs = Epochs::new(1);
        epochs.begin(2, 8);
        let manifest = Manifest { generation: 4, log_id: 5, secret: [6, 7], reached: 10, epochs, dropped };
        let bytes = manifest.encode();
        let read = Manifest::decode(&bytes).unwrap();
        assert_eq!(format!("{:?}", read.epochs), format!("{:?}", manifest.epochs));
        assert_eq!(read.encode(), bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err());
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err());
        }
    }
}
