//! Keys: what records and connections are matched by.
//!
//! A key is a 128-bit keyed hash of (kind, name, value), each length-prefixed so that no two triples
//! share an input. It is stable for the life of the log, unlike the directory's reusable numbers, and
//! an outsider who does not know the secret cannot make two names collide.

use core::hash::Hasher as _;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    User = 0,
    Session = 1,
    Topic = 2,
    Metadata = 3,
    Client = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::User,
            1 => Self::Session,
            2 => Self::Topic,
            3 => Self::Metadata,
            _ => Self::Client,
        }
    }
}

/// A 128-bit keyed hash, as two words so that it aligns to eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64, u64);

impl Key {
    /// Its first half.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn words(self) -> (u64, u64) {
        (self.0, self.1)
    }

    pub(crate) const fn from_words(first: u64, second: u64) -> Self {
        Self(first, second)
    }
}

/// Hashed in front of a client id's tag: no [`Kind`].
const CLIENT_TAG: u8 = 0xff;

/// Makes keys; holds the secret.
#[derive(Clone)]
pub(crate) struct Keyer {
    hasher: SipHasher13,
}

impl Keyer {
    pub(crate) fn new(secret: [u64; 2]) -> Self {
        Self { hasher: SipHasher13::new_with_keys(secret[0], secret[1]) }
    }

    pub(crate) fn key(&self, kind: Kind, name: &str, value: &str) -> Key {
        let mut hasher = self.hasher;
        hasher.write_u8(kind as u8);
        hasher.write_u32(name.len() as u32);
        hasher.write(name.as_bytes());
        hasher.write_u32(value.len() as u32);
        hasher.write(value.as_bytes());
        let hash = hasher.finish128();
        Key(hash.h1, hash.h2)
    }

    /// The key of a connection.
    pub(crate) fn client(&self, slot: u32, generation: u32) -> Key {
        self.numbers(Kind::Client as u8, slot, generation)
    }

    /// What makes a client id unguessable. It is public, so it is no part of the connection's key.
    pub(crate) fn client_tag(&self, slot: u32, generation: u32) -> u64 {
        self.numbers(CLIENT_TAG, slot, generation).word()
    }

    fn numbers(&self, kind: u8, slot: u32, generation: u32) -> Key {
        let mut hasher = self.hasher;
        hasher.write_u8(kind);
        hasher.write_u32(slot);
        hasher.write_u32(generation);
        let hash = hasher.finish128();
        Key(hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_names_do_not_collide() {
        let keyer = Keyer::new([1, 2]);
        assert_ne!(keyer.key(Kind::Metadata, "ab", "c"), keyer.key(Kind::Metadata, "a", "bc"));
        assert_ne!(keyer.key(Kind::User, "", "a"), keyer.key(Kind::Session, "", "a"));
        assert_eq!(keyer.key(Kind::User, "", "a"), keyer.key(Kind::User, "", "a"));
        assert_ne!(keyer.key(Kind::User, "", "a"), Keyer::new([1, 3]).key(Kind::User, "", "a"));
    }
}
