//! The directory: who is connected, under which names. The only authority, and the only copy of the names.
//!
//! Lives behind the release lock, so the count that a publish returns is exact. Names are interned once; a
//! connection holds their numbers, a name holds its posting: the connections that carry it.

use crate::key::{Key, Keyer, Kind};
use crate::limits::{POSTING_LIST_MAX, QUICK_FANOUT};
use crate::target::{ClientId, Identity, Matcher, Name};
use hashbrown::HashTable;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// The connections of one record.
#[derive(Debug, Clone)]
pub(crate) enum Recipients {
    All,
    Few(Arc<[u32]>),
    Many(Arc<RoaringBitmap>),
    One(u32),
}

impl Recipients {
    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::All => true,
            Self::Few(slots) => slots.binary_search(&slot).is_ok(),
            Self::Many(slots) => slots.contains(slot),
            Self::One(only) => *only == slot,
        }
    }
}

/// The connections that carry one name.
#[derive(Debug)]
enum Posting {
    /// Sorted, at most `POSTING_LIST_MAX`.
    List(Box<[u32]>),
    Bitmap(Arc<RoaringBitmap>),
    One(u32),
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// Kind, length of the metadata name, metadata name, value.
    text: Box<[u8]>,
    posting: Posting,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// Numbers of entries; `None` where nobody is.
    entries: Option<Box<[u32]>>,
    connected_at: u64,
}

/// Slots are allocated by the page: growing moves nothing and leaves at most one page unused.
const PAGE: usize = 256;

/// Keys are spread over so many tables: one that grows is moved while everybody waits, and one of two million keys took
/// a tenth of a second.
const TABLES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Directory {
    by_key: Box<[HashTable<u32>]>,
    entries: Vec<Option<Entry>>,
    free_entries: Vec<u32>,
    pages: Vec<Box<[Slot]>>,
    /// Free slots of each shard; a slot belongs to the shard `slot % shards`.
    free_slots: Vec<Vec<u32>>,
    /// Slots ever handed out, for each shard.
    used_slots: Vec<u32>,
    /// Connections of each shard.
    per_shard: Vec<u32>,
    len: usize,
    connected_at_sum: u128,
}

/// What the directory knows of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name.
    pub client_id: ClientId,
    /// Who it is.
    pub identity: Identity,
    /// When it was registered, on the clock handed in (monotonic milliseconds).
    pub connected_at: u64,
}

impl Directory {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            by_key: (0..TABLES).map(|_| HashTable::new()).collect(),
            entries: Vec::new(),
            free_entries: Vec::new(),
            pages: Vec::new(),
            free_slots: vec![Vec::new(); shards],
            used_slots: vec![0; shards],
            per_shard: vec![0; shards],
            len: 0,
            connected_at_sum: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn shard_len(&self, shard: usize) -> usize {
        self.per_shard[shard] as usize
    }

    pub(crate) fn mean_age(&self, now: u64) -> u64 {
        let sum = (u128::from(now) * self.len as u128).saturating_sub(self.connected_at_sum);
        sum.checked_div(self.len as u128).unwrap_or(0) as u64
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.pages.get(slot as usize / PAGE).map(|page| &page[slot as usize % PAGE])
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.pages.get_mut(slot as usize / PAGE).map(|page| &mut page[slot as usize % PAGE])
    }

    /// True if this slot holds this generation now.
    pub(crate) fn is_current(&self, slot: u32, generation: u32) -> bool {
        self.slot(slot).is_some_and(|slot| slot.generation == generation && slot.entries.is_some())
    }

    /// Registers a connection. Returns its slot and generation.
    pub(crate) fn insert(&mut self, identity: &Identity, keyer: &Keyer, now: u64) -> (u32, u32) {
        let shards = self.per_shard.len();
        let shard = (0..shards).min_by_key(|shard| self.per_shard[*shard]).unwrap_or(0);
        let slot = self.free_slots[shard].pop().unwrap_or_else(|| {
            let slot = self.used_slots[shard] * shards as u32 + shard as u32;
            self.used_slots[shard] += 1;
            slot
        });
        while self.pages.len() <= slot as usize / PAGE {
            self.pages.push((0..PAGE).map(|_| Slot::default()).collect());
        }
        let entries: Box<[u32]> =
            identity.terms().map(|(kind, name, value)| self.enter(keyer, kind, name, value, slot)).collect();
        self.per_shard[shard] += 1;
        self.len += 1;
        self.connected_at_sum += u128::from(now);
        let place = &mut self.pages[slot as usize / PAGE][slot as usize % PAGE];
        place.generation = place.generation.wrapping_add(1);
        place.connected_at = now;
        place.entries = Some(entries);
        (slot, place.generation)
    }

    /// Forgets a connection. False if it was gone already.
    pub(crate) fn remove(&mut self, slot: u32, generation: u32) -> bool {
        if !self.is_current(slot, generation) {
            return false;
        }
        let Some(place) = self.slot_mut(slot) else {
            return false;
        };
        let connected_at = place.connected_at;
        let entries = place.entries.take().unwrap_or_default();
        for number in entries {
            self.leave(number, slot);
        }
        let shard = slot as usize % self.per_shard.len();
        self.per_shard[shard] -= 1;
        self.free_slots[shard].push(slot);
        self.len -= 1;
        self.connected_at_sum -= u128::from(connected_at);
        true
    }

    fn find(&self, key: Key) -> Option<u32> {
        let entry = |number: u32| self.entries[number as usize].as_ref();
        self.by_key[table(key)].find(key.word(), |number| entry(*number).is_some_and(|entry| entry.key == key)).copied()
    }

    fn enter(&mut self, keyer: &Keyer, kind: Kind, name: &str, value: &str, slot: u32) -> u32 {
        let key = keyer.key(kind, name, value);
        if let Some(number) = self.find(key) {
            if let Some(entry) = &mut self.entries[number as usize] {
                entry.posting.insert(slot);
            }
            return number;
        }
        let mut text = Vec::with_capacity(2 + name.len() + value.len());
        text.extend_from_slice(&[kind as u8, name.len() as u8]);
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(value.as_bytes());
        let entry = Some(Entry { key, text: text.into(), posting: Posting::One(slot) });
        let number = if let Some(number) = self.free_entries.pop() {
            self.entries[number as usize] = entry;
            number
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        let entries = &self.entries;
        self.by_key[table(key)].insert_unique(key.word(), number, |number| {
            entries[*number as usize].as_ref().map_or(0, |entry| entry.key.word())
        });
        number
    }

    fn leave(&mut self, number: u32, slot: u32) {
        let Some(entry) = &mut self.entries[number as usize] else {
            return;
        };
        if entry.posting.remove(slot) {
            return;
        }
        let key = entry.key;
        let by_key = &mut self.by_key[table(key)];
        if let Ok(found) = by_key.find_entry(key.word(), |candidate| *candidate == number) {
            found.remove();
        }
        self.entries[number as usize] = None;
        self.free_entries.push(number);
        // After a storm the tables may be mostly holes: give the memory back.
        if by_key.len() < by_key.capacity() / 8 && by_key.capacity() > 64 {
            let entries = &self.entries;
            by_key.shrink_to(0, |number| entries[*number as usize].as_ref().map_or(0, |entry| entry.key.word()));
        }
    }

    fn posting(&self, key: Key) -> Option<&Posting> {
        self.find(key).and_then(|number| self.entries[number as usize].as_ref()).map(|entry| &entry.posting)
    }

    /// The connections a record is for, each once, and their number. `None` for nobody.
    pub(crate) fn recipients(&self, matcher: &Matcher) -> Option<(Recipients, usize)> {
        match matcher {
            Matcher::All => (self.len > 0).then_some((Recipients::All, self.len)),
            Matcher::Client(id, _) => self.is_current(id.slot, id.generation).then_some((Recipients::One(id.slot), 1)),
            Matcher::Key(key) => self.posting(*key).map(Posting::recipients),
            Matcher::AnyOf(keys) => self.union(keys),
            Matcher::AllOf(keys) => self.intersection(keys),
        }
    }

    fn union(&self, keys: &[Key]) -> Option<(Recipients, usize)> {
        let mut slots = RoaringBitmap::new();
        for posting in keys.iter().filter_map(|key| self.posting(*key)) {
            match posting {
                Posting::One(slot) => _ = slots.insert(*slot),
                Posting::List(list) => slots.extend(list.iter()),
                Posting::Bitmap(bitmap) => slots |= &**bitmap,
            }
        }
        from_bitmap(slots)
    }

    fn intersection(&self, keys: &[Key]) -> Option<(Recipients, usize)> {
        let postings: Option<Vec<&Posting>> = keys.iter().map(|key| self.posting(*key)).collect();
        let mut postings = postings?;
        postings.sort_by_key(|posting| posting.len());
        let (smallest, others) = postings.split_first()?;
        if let Posting::Bitmap(bitmap) = smallest {
            let mut slots = (**bitmap).clone();
            for other in others {
                if let Posting::Bitmap(other) = other {
                    slots &= &**other;
                }
            }
            return from_bitmap(slots);
        }
        let in_all = |slot: &u32| others.iter().all(|other| other.contains(*slot));
        from_bitmap(smallest.iter().filter(in_all).collect())
    }

    /// The connections that carry a user's name.
    pub(crate) fn slots_of(&self, key: Key) -> Vec<(u32, u32)> {
        let slots = self.posting(key).map(|posting| posting.iter().collect::<Vec<u32>>()).unwrap_or_default();
        slots.into_iter().filter_map(|slot| Some((slot, self.slot(slot)?.generation))).collect()
    }

    /// The sorted keys of a connection, without its own client key.
    pub(crate) fn keys_of(&self, slot: u32, generation: u32, out: &mut Vec<Key>) -> bool {
        out.clear();
        if !self.is_current(slot, generation) {
            return false;
        }
        let numbers = self.slot(slot).and_then(|slot| slot.entries.as_deref()).unwrap_or_default();
        out.extend(numbers.iter().filter_map(|number| Some(self.entries[*number as usize].as_ref()?.key)));
        out.sort_unstable();
        true
    }

    /// Who is in this slot. The caller completes the client id's tag.
    pub(crate) fn info(&self, slot: u32) -> Option<ClientInfo> {
        let place = self.slot(slot)?;
        let numbers = place.entries.as_deref()?;
        let mut identity = Identity::anonymous();
        let (mut topics, mut metadata) = (Vec::new(), Vec::new());
        for entry in numbers.iter().filter_map(|number| self.entries[*number as usize].as_ref()) {
            let (kind, name, value) = entry.parts();
            let value = Name::new(value).ok()?;
            match kind {
                Kind::User => identity = identity.with_user(value),
                Kind::Session => identity = identity.with_session(value),
                Kind::Topic => topics.push(value),
                Kind::Metadata => metadata.push((Name::new(name).ok()?, value)),
                Kind::Client => {}
            }
        }
        let identity = identity.with_topics(topics).ok()?.with_metadata(metadata).ok()?;
        let client_id = ClientId { slot, generation: place.generation, tag: 0 };
        Some(ClientInfo { client_id, identity, connected_at: place.connected_at })
    }

    /// One past the highest slot ever used.
    pub(crate) fn slots_end(&self) -> u32 {
        (self.pages.len() * PAGE) as u32
    }

    /// Users among the entries in `range`, each with its number of connections.
    pub(crate) fn users(&self, range: core::ops::Range<usize>) -> impl Iterator<Item = (&str, usize)> {
        let end = range.end.min(self.entries.len());
        self.entries[range.start.min(end)..end].iter().flatten().filter_map(|entry| {
            let (kind, _, value) = entry.parts();
            (kind == Kind::User).then(|| (value, entry.posting.len()))
        })
    }

    pub(crate) fn entries_end(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    fn parts(&self) -> (Kind, &str, &str) {
        let name_len = usize::from(self.text[1]);
        let (name, value) = self.text[2..].split_at(name_len);
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        (Kind::from_byte(self.text[0]), text(name), text(value))
    }
}

/// The table a key is in. Not by the word that the tables hash by: within each they would all be alike.
fn table(key: Key) -> usize {
    key.words().1 as usize % TABLES
}

fn from_bitmap(slots: RoaringBitmap) -> Option<(Recipients, usize)> {
    let count = slots.len() as usize;
    let recipients = match count {
        0 => return None,
        1 => Recipients::One(slots.min()?),
        2..=QUICK_FANOUT => Recipients::Few(slots.iter().collect()),
        _ => Recipients::Many(Arc::new(slots)),
    };
    Some((recipients, count))
}

impl Posting {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::List(slots) => slots.len(),
            Self::Bitmap(slots) => slots.len() as usize,
        }
    }

    fn contains(&self, slot: u32) -> bool {
        match self {
            Self::One(only) => *only == slot,
            Self::List(slots) => slots.binary_search(&slot).is_ok(),
            Self::Bitmap(slots) => slots.contains(slot),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::One(slot) => Box::new(std::iter::once(*slot)),
            Self::List(slots) => Box::new(slots.iter().copied()),
            Self::Bitmap(slots) => Box::new(slots.iter()),
        }
    }

    fn recipients(&self) -> (Recipients, usize) {
        let recipients = match self {
            Self::One(slot) => Recipients::One(*slot),
            Self::List(slots) => Recipients::Few(slots[..].into()),
            Self::Bitmap(slots) => Recipients::Many(Arc::clone(slots)),
        };
        (recipients, self.len())
    }

    fn insert(&mut self, slot: u32) {
        match self {
            Self::One(first) if *first == slot => {}
            Self::One(first) => *self = Self::List([(*first).min(slot), (*first).max(slot)].into()),
            Self::List(slots) => {
                let Err(place) = slots.binary_search(&slot) else {
                    return;
                };
                if slots.len() == POSTING_LIST_MAX {
                    let mut bitmap: RoaringBitmap = slots.iter().collect();
                    bitmap.insert(slot);
                    *self = Self::Bitmap(Arc::new(bitmap));
                } else {
                    let mut list = core::mem::take(slots).into_vec();
                    list.insert(place, slot);
                    *slots = list.into();
                }
            }
            // Copied only while a shard still holds the set of an earlier publish.
            Self::Bitmap(slots) => _ = Arc::make_mut(slots).insert(slot),
        }
    }

    /// False if nobody is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(only) => *only != slot,
            Self::List(slots) => {
                if let Ok(place) = slots.binary_search(&slot) {
                    let mut list = core::mem::take(slots).into_vec();
                    list.remove(place);
                    *self = match list.as_slice() {
                        [only] => Self::One(*only),
                        _ => Self::List(list.into()),
                    };
                }
                true
            }
            Self::Bitmap(slots) => {
                Arc::make_mut(slots).remove(slot);
                // Half-way down, so that a set at the border does not change form at every step.
                if slots.len() as usize <= POSTING_LIST_MAX / 2 {
                    *self = Self::List(slots.iter().collect());
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Filter, Target};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn count(directory: &Directory, keyer: &Keyer, target: &Target) -> usize {
        directory
            .recipients(&target.matcher(keyer, |id| Matcher::Client(id, keyer.client(id.slot, id.generation))))
            .map_or(0, |(_, count)| count)
    }

    #[test]
    fn a_directory_that_empties_keeps_nothing() {
        let keyer = Keyer::new([1, 2]);
        let mut directory = Directory::new(3);
        let mut places = Vec::new();
        for number in 0..5_000u32 {
            let identity = Identity::anonymous()
                .with_user(name(&format!("u{}", number % 500)))
                .with_topics(vec![name("all")])
                .unwrap()
                .with_metadata(vec![(name("page"), name(if number % 2 == 0 { "a" } else { "b" }))])
                .unwrap();
            places.push(directory.insert(&identity, &keyer, 100));
        }
        assert_eq!(count(&directory, &keyer, &Target::All), 5_000);
        assert_eq!(count(&directory, &keyer, &Target::Topic(name("all"))), 5_000);
        assert_eq!(count(&directory, &keyer, &Target::User(name("u7"))), 10);
        let users = Target::users(vec![name("u7"), name("u8"), name("u7"), name("nobody")]).unwrap();
        assert_eq!(count(&directory, &keyer, &users), 20);
        let filter = |user, page| Target::Filter(Filter::new(user, None, vec![(name("page"), name(page))]).unwrap());
        assert_eq!(count(&directory, &keyer, &filter(None, "a")), 2_500);
        assert_eq!(count(&directory, &keyer, &filter(Some(name("u7")), "b")), 10);
        assert_eq!(count(&directory, &keyer, &filter(Some(name("u7")), "a")), 0);
        for (slot, generation) in places {
            assert!(directory.remove(slot, generation));
            assert!(!directory.remove(slot, generation), "gone once");
        }
        assert_eq!((directory.len(), directory.by_key.iter().map(HashTable::len).sum::<usize>()), (0, 0));
        assert_eq!(directory.free_entries.len(), directory.entries.len());
        assert_eq!(directory.connected_at_sum, 0);
        let (slot, generation) = directory.insert(&Identity::anonymous(), &keyer, 1);
        assert!(slot < 5_000 && generation == 2, "slots are used again under a new generation");
    }
}
