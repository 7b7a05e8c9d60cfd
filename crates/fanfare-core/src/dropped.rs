//! What was dropped from a log, as far as returning readers must be told: for each key the last position that is
//! gone. So a hot topic makes no gap for a reader of another.

use crate::key::Key;
use crate::limits::DROPPED_KEYS_MAX;
use crate::target::Matcher;
use std::collections::{BTreeSet, HashMap};

/// What a reader is told of the records that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing this reader would have got.
    Nothing,
    /// Something; it may go on after this position.
    GapUntil(u64),
}

/// The newest record of a topic, dropped or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastOf {
    At(u64),
    /// There never was one.
    Nothing,
    /// There is none in the log, and what was dropped is forgotten.
    Unknown,
}

/// Last dropped position by key, bounded: when full, the oldest entries are forgotten and stand as one position.
#[derive(Debug, Default, Clone)]
pub(crate) struct DroppedKeys {
    last: HashMap<Key, u64>,
    oldest: BTreeSet<(u64, Key)>,
    pub(crate) forgotten: u64,
}

impl DroppedKeys {
    pub(crate) fn note(&mut self, key: Key, position: u64) {
        if let Some(before) = self.last.insert(key, position) {
            self.oldest.remove(&(before, key));
        }
        self.oldest.insert((position, key));
        if self.last.len() > DROPPED_KEYS_MAX
            && let Some((position, key)) = self.oldest.pop_first()
        {
            self.last.remove(&key);
            self.forgotten = self.forgotten.max(position);
        }
    }

    /// The last position under this key, if the truth is known.
    pub(crate) fn last_of(&self, key: &Key) -> LastOf {
        match self.last.get(key) {
            Some(position) => LastOf::At(*position),
            None if self.forgotten == 0 => LastOf::Nothing,
            None => LastOf::Unknown,
        }
    }

    /// Anything up to here may be gone under any key.
    fn forget_all(&mut self, position: u64) {
        *self = Self { forgotten: self.forgotten.max(position), ..Self::default() };
    }

    /// True if a record under this key above `position` may have been dropped.
    fn lost_above(&self, key: &Key, position: u64) -> bool {
        self.last.get(key).copied().unwrap_or(self.forgotten) > position
    }

    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }

    /// The entries in the order of their positions.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, Key)> {
        self.oldest.iter().copied()
    }
}

/// See the module.
#[derive(Debug, Default, Clone)]
pub(crate) struct Dropped {
    /// The position of the newest record dropped.
    pub(crate) floor: u64,
    pub(crate) broadcast: u64,
    pub(crate) keys: DroppedKeys,
    /// Apart, since connection keys come and go by the thousand and would push out lasting ones.
    pub(crate) clients: DroppedKeys,
}

impl Dropped {
    /// A record is gone. Records go in the order of their positions.
    pub(crate) fn note(&mut self, matcher: &Matcher, position: u64) {
        self.floor = position;
        match matcher {
            Matcher::All => self.broadcast = position,
            Matcher::Client(_, key) => self.clients.note(*key, position),
            other => other.index_keys().iter().for_each(|key| self.keys.note(*key, position)),
        }
    }

    /// Everything up to here is gone, nobody knows what it was.
    pub(crate) fn note_unknown(&mut self, position: u64) {
        self.floor = self.floor.max(position);
        self.broadcast = self.broadcast.max(position);
        self.keys.forget_all(position);
        self.clients.forget_all(position);
    }

    /// Whether a reader at `position` has lost something. `client` is the reader's own connection, if it has one yet.
    pub(crate) fn loss(&self, keys: &[Key], client: Option<Key>, position: u64) -> Loss {
        if position >= self.floor {
            return Loss::Nothing;
        }
        let lost = self.broadcast > position
            || keys.iter().any(|key| self.keys.lost_above(key, position))
            || client.is_some_and(|key| self.clients.lost_above(&key, position));
        if lost { Loss::GapUntil(self.floor) } else { Loss::Nothing }
    }
}
