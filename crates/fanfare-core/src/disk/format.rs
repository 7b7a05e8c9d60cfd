//! How records and segment heads look on disk. `docs/log-format.md` is the same for people; change both.
//!
//! Little-endian throughout. A record is a head of 40 bytes, the keys of its target, its body, and one to eight
//! bytes of padding that are never zero: a write that was cut short shows in zeroes where they should be.
//! Records begin at multiples of eight, so that the next one can be found behind damage.

use crate::key::Key;
use crate::target::Matcher;

/// Bytes before a segment's first record.
pub(super) const SEGMENT_HEAD: usize = 64;
/// Bytes before a record's keys.
pub(super) const RECORD_HEAD: usize = 40;
/// Larger than any record can be: the largest data, all of it line ends, for the most users.
pub(super) const RECORD_MAX: usize = 4 << 20;
/// The format's version. A change that an older program would read wrongly raises it.
pub(super) const VERSION: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"FANFLOG\n";
/// Never zero.
const PADDING: u8 = 0xa5;
const KEY_BYTES: usize = 16;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// An event: the body is its frame.
    Event = 1,
    /// The answer to a publish under an idempotency key.
    Answer = 2,
    /// Everything since the last commit belongs together, and was synced before anybody heard of it.
    Commit = 3,
    /// Records before this were lost, nobody knows for whom.
    Hole = 4,
}

/// A record, still in the bytes it was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordRef<'a> {
    pub(super) kind: Kind,
    pub(super) position: u64,
    pub(super) wall_ms: u64,
    pub(super) target: TargetKind,
    keys: &'a [u8],
    pub(super) body: &'a [u8],
    /// Bytes of the whole record.
    pub(super) len: usize,
}

/// Who a record is for, without the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum TargetKind {
    All = 0,
    Key = 1,
    AnyOf = 2,
    AllOf = 3,
    Client = 4,
}

/// What a commit says of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Groups are numbered through all segments and starts.
    pub(super) group: u64,
    /// Bytes of the group's records before this one.
    pub(super) bytes: u32,
}

pub(super) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// The number at `at`, 0 where the bytes end before: lengths are checked where they matter.
pub(super) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn put_key(out: &mut Vec<u8>, key: Key) {
    let (first, second) = key.words();
    put_u64(out, first);
    put_u64(out, second);
}

pub(super) fn get_key(bytes: &[u8], at: usize) -> Key {
    Key::from_words(get_u64(bytes, at), get_u64(bytes, at + 8))
}

/// CRC-32 of the bytes, begun with a number of its own for each segment, so that a payload cannot pass for a record.
pub(super) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// What segments' checksums begin with.
pub(super) fn salt(log_id: u64, base: u64) -> u32 {
    let mixed = (log_id ^ base.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

pub(super) fn segment_head(log_id: u64, base: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(SEGMENT_HEAD);
    head.extend_from_slice(SEGMENT_MAGIC);
    put_u32(&mut head, VERSION);
    put_u32(&mut head, 0);
    put_u64(&mut head, log_id);
    put_u64(&mut head, base);
    head.resize(SEGMENT_HEAD - 4, 0);
    let sum = checksum(0, &head);
    put_u32(&mut head, sum);
    head
}

/// Why a head is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHead {
    Damaged,
    Version(u32),
}

/// The log's number and the base of a segment, from its first bytes.
pub(super) fn read_segment_head(head: &[u8]) -> Result<(u64, u64), BadHead> {
    if head.len() < SEGMENT_HEAD || &head[..8] != SEGMENT_MAGIC {
        return Err(BadHead::Damaged);
    }
    if checksum(0, &head[..SEGMENT_HEAD - 4]) != get_u32(head, SEGMENT_HEAD - 4) {
        return Err(BadHead::Damaged);
    }
    match get_u32(head, 8) {
        VERSION => Ok((get_u64(head, 16), get_u64(head, 24))),
        other => Err(BadHead::Version(other)),
    }
}

/// What goes before the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) position: u64,
    pub(super) wall_ms: u64,
}

/// Writes a record behind what `out` has.
pub(super) fn put_record(out: &mut Vec<u8>, salt: u32, place: Place, matcher: &Matcher, body: &[u8]) {
    let start = out.len();
    let (target, keys): (TargetKind, &[Key]) = match matcher {
        Matcher::All => (TargetKind::All, &[]),
        Matcher::Key(key) => (TargetKind::Key, core::slice::from_ref(key)),
        Matcher::AnyOf(keys) => (TargetKind::AnyOf, keys),
        Matcher::AllOf(keys) => (TargetKind::AllOf, keys),
        Matcher::Client(_, key) => (TargetKind::Client, core::slice::from_ref(key)),
    };
    let len = padded(RECORD_HEAD + keys.len() * KEY_BYTES + body.len());
    put_u32(out, 0);
    put_u32(out, len as u32);
    put_u64(out, place.position);
    put_u64(out, place.wall_ms);
    out.extend_from_slice(&[place.kind as u8, target as u8, 0, 0]);
    put_u32(out, keys.len() as u32);
    put_u32(out, body.len() as u32);
    put_u32(out, 0);
    for key in keys {
        put_key(out, *key);
    }
    out.extend_from_slice(body);
    out.resize(start + len, PADDING);
    let sum = checksum(salt, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

pub(super) fn put_commit(out: &mut Vec<u8>, salt: u32, position: u64, wall_ms: u64, commit: Commit) {
    let mut body = Vec::with_capacity(12);
    put_u64(&mut body, commit.group);
    put_u32(&mut body, commit.bytes);
    put_record(out, salt, Place { kind: Kind::Commit, position, wall_ms }, &Matcher::All, &body);
}

/// At least one byte of padding, up to a multiple of eight.
fn padded(len: usize) -> usize {
    (len + 8) & !7
}

/// The length a record claims, if it can be one. `bytes` are at least a head.
pub(super) fn claimed_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < RECORD_HEAD {
        return None;
    }
    let (len, keys, body) = (get_u32(bytes, 4) as usize, get_u32(bytes, 28) as usize, get_u32(bytes, 32) as usize);
    if len > RECORD_MAX || keys > RECORD_MAX / KEY_BYTES || body > RECORD_MAX {
        return None;
    }
    (len == padded(RECORD_HEAD + keys * KEY_BYTES + body)).then_some(len)
}

/// Reads the record at the front of `bytes`: `None` if it is not whole, or not what was written.
pub(super) fn read_record(bytes: &[u8], salt: u32) -> Option<RecordRef<'_>> {
    let len = claimed_len(bytes)?;
    let bytes = bytes.get(..len)?;
    if checksum(salt, &bytes[4..]) != get_u32(bytes, 0) {
        return None;
    }
    let kind = match bytes[24] {
        1 => Kind::Event,
        2 => Kind::Answer,
        3 => Kind::Commit,
        4 => Kind::Hole,
        _ => return None,
    };
    let target = match bytes[25] {
        0 => TargetKind::All,
        1 => TargetKind::Key,
        2 => TargetKind::AnyOf,
        3 => TargetKind::AllOf,
        4 => TargetKind::Client,
        _ => return None,
    };
    let keys_end = RECORD_HEAD + get_u32(bytes, 28) as usize * KEY_BYTES;
    let body_end = keys_end + get_u32(bytes, 32) as usize;
    let sound = match target {
        TargetKind::All => keys_end == RECORD_HEAD,
        TargetKind::Key | TargetKind::Client => keys_end == RECORD_HEAD + KEY_BYTES,
        TargetKind::AllOf => keys_end > RECORD_HEAD,
        TargetKind::AnyOf => true,
    };
    sound.then(|| RecordRef {
        kind,
        position: get_u64(bytes, 8),
        wall_ms: get_u64(bytes, 16),
        target,
        keys: &bytes[RECORD_HEAD..keys_end],
        body: &bytes[keys_end..body_end],
        len,
    })
}

impl RecordRef<'_> {
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = Key> {
        self.keys.chunks_exact(KEY_BYTES).map(|bytes| get_key(bytes, 0))
    }

    /// The keys it is indexed under: all of a union, one of a conjunction.
    pub(super) fn index_keys(&self) -> impl Iterator<Item = Key> {
        let count = if self.target == TargetKind::AllOf { 1 } else { usize::MAX };
        self.keys().take(count)
    }

    /// True if a connection with these keys, sorted, shall get it.
    pub(super) fn matches(&self, sorted_keys: &[Key]) -> bool {
        let has = |key: Key| sorted_keys.binary_search(&key).is_ok();
        match self.target {
            TargetKind::All => true,
            TargetKind::Key | TargetKind::Client => self.keys().any(has),
            // A union may name thousands, in order; a connection has a few.
            TargetKind::AnyOf => sorted_keys.iter().any(|key| self.names(*key)),
            TargetKind::AllOf => self.keys().all(has),
        }
    }

    fn names(&self, key: Key) -> bool {
        let (mut low, mut high) = (0, self.keys.len() / KEY_BYTES);
        while low < high {
            let middle = usize::midpoint(low, high);
            match get_key(self.keys, middle * KEY_BYTES).cmp(&key) {
                core::cmp::Ordering::Equal => return true,
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    pub(super) fn commit(&self) -> Option<Commit> {
        (self.kind == Kind::Commit && self.body.len() == 12)
            .then(|| Commit { group: get_u64(self.body, 0), bytes: get_u32(self.body, 8) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Keyer, Kind as Of};
    use crate::target::ClientId;
    use proptest::prelude::*;

    fn keys(count: usize) -> Vec<Key> {
        let keyer = Keyer::new([1, 2]);
        let mut keys: Vec<Key> = (0..count).map(|n| keyer.key(Of::User, "", &n.to_string())).collect();
        keys.sort_unstable();
        keys
    }

    proptest! {
        #[test]
        fn every_record_survives_and_no_flip_passes(
            body in prop::collection::vec(any::<u8>(), 0..300),
            count in 1usize..5,
            position: u64,
            wall_ms: u64,
            salt: u32,
            tag in 0u8..5,
            flip in any::<prop::sample::Index>(),
        ) {
            let keys = keys(count);
            let id = ClientId { slot: 1, generation: 2, tag: 3 };
            let matcher = match tag {
                0 => Matcher::All,
                1 => Matcher::Key(keys[0]),
                2 => Matcher::AnyOf(keys.clone().into()),
                3 => Matcher::AllOf(keys.clone().into()),
                _ => Matcher::Client(id, keys[0]),
            };
            let mut bytes = vec![9; 16];
            put_record(&mut bytes, salt, Place { kind: Kind::Event, position, wall_ms }, &matcher, &body);
            let mut bytes = bytes.split_off(16);
            prop_assert_eq!(bytes.len() % 8, 0);
            prop_assert_ne!(bytes[bytes.len() - 1], 0);
            let record = read_record(&bytes, salt).unwrap();
            prop_assert_eq!((record.position, record.wall_ms, record.body), (position, wall_ms, &body[..]));
            prop_assert_eq!(record.matches(&keys), matcher.matches(&keys));
            prop_assert_eq!(record.index_keys().collect::<Vec<_>>(), matcher.index_keys().to_vec());
            prop_assert!(read_record(&bytes, salt ^ 1).is_none());
            prop_assert!(read_record(&bytes[..bytes.len() - 1], salt).is_none());
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read_record(&bytes, salt).is_none(), "bit {bit}");
        }

        #[test]
        fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..200), salt: u32) {
            _ = read_record(&bytes, salt);
            _ = read_segment_head(&bytes);
        }
    }

    #[test]
    fn a_segment_head_survives_and_names_its_version() {
        let head = segment_head(7, 9);
        assert_eq!(head.len(), SEGMENT_HEAD);
        assert_eq!(read_segment_head(&head), Ok((7, 9)));
        let mut newer = head.clone();
        newer[8] = 2;
        let sum = checksum(0, &newer[..SEGMENT_HEAD - 4]);
        newer[SEGMENT_HEAD - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read_segment_head(&newer), Err(BadHead::Version(2)));
        let mut damaged = head;
        damaged[20] ^= 1;
        assert_eq!(read_segment_head(&damaged), Err(BadHead::Damaged));
    }
}
