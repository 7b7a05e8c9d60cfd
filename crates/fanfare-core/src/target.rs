//! Who a connection is, and who an event is for. Parsed at the edge into types that cannot be wrong.

use crate::event::is_invisible;
use crate::key::{Key, Keyer, Kind};
use crate::limits::{METADATA_MAX, NAME_MAX, TOPICS_MAX, USERS_MAX};
use core::fmt;
use std::sync::Arc;

/// A user, session or topic name, or a metadata name or value: 1 to 255 bytes without invisible characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Leave it away instead.
    #[error("is empty")]
    Empty,
    /// Shorten it, or send a hash of it.
    #[error("has {0} bytes, more than {NAME_MAX}")]
    TooLong(usize),
    /// Such characters deceive readers of logs and pages.
    #[error("has the character {0:?}; control and format characters are not allowed")]
    Character(char),
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| is_invisible(*c)) {
            Some(bad) => Err(NameError::Character(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why an identity or a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Subscribe to fewer, or to one broader topic.
    #[error("{0} topics, more than {TOPICS_MAX}")]
    TooManyTopics(usize),
    /// Keep metadata to what is filtered by.
    #[error("{0} metadata pairs, more than {METADATA_MAX}")]
    TooMuchMetadata(usize),
    /// One name has one value.
    #[error("the metadata name {0:?} is given twice")]
    RepeatedMetadata(Box<str>),
    /// Send to a topic instead.
    #[error("{0} users, more than {USERS_MAX}")]
    TooManyUsers(usize),
    /// An empty filter would mean everybody; say so with `all`.
    #[error("the filter is empty")]
    EmptyFilter,
}

/// Who a connection is: what the application, or the query string, says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<Name>,
    session: Option<Name>,
    topics: Vec<Name>,
    metadata: Vec<(Name, Name)>,
}

impl Identity {
    /// Nobody in particular: receives what is for everybody, and for its own `clientId`.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Sets the user.
    pub fn with_user(mut self, user: Name) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets the session: what the application says survives reconnects.
    pub fn with_session(mut self, session: Name) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets the topics; the same topic twice is one.
    ///
    /// # Errors
    ///
    /// [`TargetError::TooManyTopics`] above 100.
    pub fn with_topics(mut self, mut topics: Vec<Name>) -> Result<Self, TargetError> {
        topics.sort_unstable();
        topics.dedup();
        if topics.len() > TOPICS_MAX {
            return Err(TargetError::TooManyTopics(topics.len()));
        }
        self.topics = topics;
        Ok(self)
    }

    /// Sets the metadata.
    ///
    /// # Errors
    ///
    /// [`TargetError::TooMuchMetadata`] above 32 pairs, [`TargetError::RepeatedMetadata`] for a name given twice.
    pub fn with_metadata(mut self, mut metadata: Vec<(Name, Name)>) -> Result<Self, TargetError> {
        check_metadata(&mut metadata)?;
        self.metadata = metadata;
        Ok(self)
    }

    /// The user.
    pub fn user(&self) -> Option<&Name> {
        self.user.as_ref()
    }

    /// The session.
    pub fn session(&self) -> Option<&Name> {
        self.session.as_ref()
    }

    /// The topics, sorted.
    pub fn topics(&self) -> &[Name] {
        &self.topics
    }

    /// The metadata, sorted by name.
    pub fn metadata(&self) -> &[(Name, Name)] {
        &self.metadata
    }

    /// Kind, name and value of everything records can be matched by.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (Kind, &str, &str)> {
        let user = self.user.iter().map(|user| (Kind::User, "", user.as_str()));
        let session = self.session.iter().map(|session| (Kind::Session, "", session.as_str()));
        let topics = self.topics.iter().map(|topic| (Kind::Topic, "", topic.as_str()));
        let metadata = self.metadata.iter().map(|(name, value)| (Kind::Metadata, name.as_str(), value.as_str()));
        user.chain(session).chain(topics).chain(metadata)
    }

    pub(crate) fn keys(&self, keyer: &Keyer) -> Vec<Key> {
        self.terms().map(|(kind, name, value)| keyer.key(kind, name, value)).collect()
    }
}

fn check_metadata(metadata: &mut [(Name, Name)]) -> Result<(), TargetError> {
    if metadata.len() > METADATA_MAX {
        return Err(TargetError::TooMuchMetadata(metadata.len()));
    }
    metadata.sort_unstable();
    match metadata.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(TargetError::RepeatedMetadata(pair[0].0.as_str().into())),
        None => Ok(()),
    }
}

/// Exact matches on user, session and metadata; all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Identity);

impl Filter {
    /// Builds a filter from what must match.
    ///
    /// # Errors
    ///
    /// [`TargetError`] for a filter that says nothing, or for bad metadata.
    pub fn new(user: Option<Name>, session: Option<Name>, metadata: Vec<(Name, Name)>) -> Result<Self, TargetError> {
        let identity = Identity { user, session, topics: Vec::new(), metadata: Vec::new() }.with_metadata(metadata)?;
        if identity == Identity::anonymous() { Err(TargetError::EmptyFilter) } else { Ok(Self(identity)) }
    }
}

/// The name of one connection: made by the hub from slot, generation and a secret; it dies with its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) tag: u64,
}

/// Letters of a client id: base 32 without look-alikes.
const CLIENT_ID_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 128 bits, five a letter.
const CLIENT_ID_LEN: usize = 26;

impl ClientId {
    /// Which of a hub's shards owns the connection.
    pub fn shard(self, shards: usize) -> usize {
        self.slot as usize % shards
    }

    /// Reads a client id's text. `None` if it cannot be one; whether it names a living connection is the hub's to say.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CLIENT_ID_LEN {
            return None;
        }
        let mut bits = 0u128;
        for (index, byte) in text.bytes().enumerate() {
            let digit = CLIENT_ID_LETTERS.iter().position(|letter| *letter == byte)? as u128;
            if index == 0 && digit >= 8 {
                return None; // 26 letters hold 130 bits
            }
            bits = bits << 5 | digit;
        }
        Some(Self { slot: (bits >> 96) as u32, generation: (bits >> 64) as u32, tag: bits as u64 })
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.slot) << 96 | u128::from(self.generation) << 64 | u128::from(self.tag);
        for index in (0..CLIENT_ID_LEN).rev() {
            let letter = CLIENT_ID_LETTERS[(bits >> (5 * index)) as usize & 31];
            fmt::Write::write_char(formatter, char::from(letter))?;
        }
        Ok(())
    }
}

/// Who shall get an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Everybody.
    All,
    /// One connection. Such an event dies with the connection: it is never replayed to another.
    Client(ClientId),
    /// Every connection that matches the filter.
    Filter(Filter),
    /// Every connection of a session.
    Session(Name),
    /// Every connection subscribed to a topic.
    Topic(Name),
    /// Every connection of a user.
    User(Name),
    /// Every connection of any of the users; build it with [`Target::users`].
    Users(Vec<Name>),
}

impl Target {
    /// A target of several users; the same user twice is one. An empty list is nobody.
    ///
    /// # Errors
    ///
    /// [`TargetError::TooManyUsers`] above 10,000.
    pub fn users(mut users: Vec<Name>) -> Result<Self, TargetError> {
        users.sort_unstable();
        users.dedup();
        if users.len() > USERS_MAX { Err(TargetError::TooManyUsers(users.len())) } else { Ok(Self::Users(users)) }
    }

    /// In keys. What a client id stands for is `client`'s to say.
    pub(crate) fn matcher(&self, keyer: &Keyer, client: impl FnOnce(ClientId) -> Matcher) -> Matcher {
        let one = |kind, name: &Name| Matcher::Key(keyer.key(kind, "", name.as_str()));
        match self {
            Self::All => Matcher::All,
            Self::Client(id) => client(*id),
            Self::Session(session) => one(Kind::Session, session),
            Self::Topic(topic) => one(Kind::Topic, topic),
            Self::User(user) => one(Kind::User, user),
            Self::Users(users) => {
                let mut keys: Vec<Key> = users.iter().map(|user| keyer.key(Kind::User, "", user.as_str())).collect();
                keys.sort_unstable();
                keys.dedup();
                match keys.as_slice() {
                    [key] => Matcher::Key(*key),
                    _ => Matcher::AnyOf(keys.into()),
                }
            }
            Self::Filter(filter) => {
                let mut keys = filter.0.keys(keyer);
                keys.sort_unstable();
                match keys.as_slice() {
                    [key] => Matcher::Key(*key),
                    _ => Matcher::AllOf(keys.into()),
                }
            }
        }
    }
}

/// A target in keys: what a record is kept and matched with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matcher {
    All,
    Key(Key),
    /// Sorted. Empty means nobody.
    AnyOf(Arc<[Key]>),
    /// Sorted, at least two.
    AllOf(Arc<[Key]>),
    Client(ClientId, Key),
}

impl Matcher {
    /// The keys a record is indexed under: all of a union, one of a conjunction, none of a broadcast.
    pub(crate) fn index_keys(&self) -> &[Key] {
        match self {
            Self::All => &[],
            Self::Key(key) | Self::Client(_, key) => core::slice::from_ref(key),
            Self::AnyOf(keys) => keys,
            Self::AllOf(keys) => &keys[..1],
        }
    }

    /// True if a connection with these keys, sorted, shall get the record.
    pub(crate) fn matches(&self, sorted_keys: &[Key]) -> bool {
        let has = |key: &Key| sorted_keys.binary_search(key).is_ok();
        match self {
            Self::All => true,
            Self::Key(key) | Self::Client(_, key) => has(key),
            Self::AnyOf(keys) => sorted_keys.iter().any(|own| keys.binary_search(own).is_ok()),
            Self::AllOf(keys) => keys.iter().all(has),
        }
    }

    /// Bytes kept besides the record itself, for budgets.
    pub(crate) fn extra_bytes(&self) -> usize {
        match self {
            Self::AnyOf(keys) | Self::AllOf(keys) => size_of_val::<[Key]>(keys),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_client_id_survives_its_text(slot: u32, generation: u32, tag: u64) {
            let id = ClientId { slot, generation, tag };
            prop_assert_eq!(ClientId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn arbitrary_text_is_no_client_id_or_its_only_spelling(text in "[a-z0-9]{26}|.{0,30}") {
            if let Some(id) = ClientId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn an_empty_filter_is_refused() {
        assert_eq!(Filter::new(None, None, Vec::new()), Err(TargetError::EmptyFilter));
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(Name::new("a\nb"), Err(NameError::Character('\n')));
        assert!(Name::new(&"x".repeat(255)).is_ok());
    }
}
