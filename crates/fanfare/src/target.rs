//! Targets and filters as an application writes them: plain strings, checked by the send.

use crate::error::SendError;
use fanfare_core::{ClientId, Filter, Name};
use std::collections::BTreeMap;

/// Exact matches on user, session and metadata; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseFilter {
    /// The user.
    pub user_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// Metadata names and values.
    pub metadata: BTreeMap<String, String>,
}

/// Who shall get an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Everybody.
    All,
    /// One connection, by its `clientId`; such an event is never replayed to another.
    Client(String),
    /// Every connection that matches.
    Filter(SseFilter),
    /// Every connection of a session.
    Session(String),
    /// Every connection subscribed to a topic.
    Topic(String),
    /// Every connection of a user.
    User(String),
    /// Every connection of any of the users; an empty list is nobody. At most 10,000.
    Users(Vec<String>),
}

/// Well formed, and signed by nobody.
const FORGED_CLIENT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

impl Target {
    /// One user.
    pub fn user(user_id: impl Into<String>) -> Self {
        Self::User(user_id.into())
    }

    /// Several users.
    pub fn users(user_ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Users(user_ids.into_iter().map(Into::into).collect())
    }

    /// A topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self::Topic(topic.into())
    }

    /// A user if one is given, else everybody.
    pub(crate) fn user_or_all(user_id: Option<&str>) -> Self {
        user_id.map_or(Self::All, Self::user)
    }

    /// Users if a list is given, else everybody.
    pub(crate) fn users_or_all(user_ids: Option<&[&str]>) -> Self {
        user_ids.map_or(Self::All, |users| Self::users(users.iter().copied()))
    }

    pub(crate) fn check(&self) -> Result<fanfare_core::Target, SendError> {
        use fanfare_core::Target as Core;
        Ok(match self {
            Self::All => Core::All,
            Self::Client(id) if id.is_empty() => return Err(SendError::invalid("/to/clientId", "is empty")),
            // A text that cannot be a client id names nobody, like the id of a connection that is gone.
            Self::Client(id) => match ClientId::parse(id).or_else(|| ClientId::parse(FORGED_CLIENT)) {
                Some(id) => Core::Client(id),
                None => Core::Users(Vec::new()),
            },
            Self::Session(session) => Core::Session(name("/to/sessionId", session)?),
            Self::Topic(topic) => Core::Topic(name("/to/topic", topic)?),
            Self::User(user) => Core::User(name("/to/userId", user)?),
            Self::Users(users) => {
                let limit = |error| SendError::invalid("/to/userIds", error);
                if users.len() > fanfare_core::limits::USERS_MAX {
                    return Err(limit(fanfare_core::TargetError::TooManyUsers(users.len())));
                }
                let names: Result<Vec<Name>, SendError> = users
                    .iter()
                    .enumerate()
                    .map(|(index, user)| {
                        Name::new(user).map_err(|error| SendError::invalid(format!("/to/userIds/{index}"), error))
                    })
                    .collect();
                Core::users(names?).map_err(limit)?
            }
            Self::Filter(filter) => Core::Filter(filter.check()?),
        })
    }
}

impl SseFilter {
    fn check(&self) -> Result<Filter, SendError> {
        let user = self.user_id.as_deref().map(|user| name("/to/filter/userId", user)).transpose()?;
        let session = self.session_id.as_deref().map(|session| name("/to/filter/sessionId", session)).transpose()?;
        let mut metadata = Vec::with_capacity(self.metadata.len());
        for (key, value) in &self.metadata {
            let key_name = name("/to/filter/metadata", key)?;
            let value = Name::new(value)
                .map_err(|error| SendError::invalid(format!("/to/filter/metadata/{}", pointer_token(key)), error))?;
            metadata.push((key_name, value));
        }
        Filter::new(user, session, metadata).map_err(|error| {
            let pointer = match error {
                fanfare_core::TargetError::EmptyFilter => "/to/filter",
                _ => "/to/filter/metadata",
            };
            SendError::invalid(pointer, error)
        })
    }
}

fn name(pointer: &'static str, text: &str) -> Result<Name, SendError> {
    Name::new(text).map_err(|error| SendError::invalid(pointer, error))
}

/// A key as a step of a JSON pointer (RFC 6901).
pub(crate) fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
