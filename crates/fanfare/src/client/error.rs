//! What can go wrong between this program and a hub: of a request, and of a subscription.

use crate::error::SendError;
use fanfare_core::Disconnect;
use serde::Deserialize;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What lies under an error, such as a name that does not resolve.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Why a hub did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// An event, a target or an identity is not allowed. Nothing was sent.
    #[error(transparent)]
    Event(#[from] SendError),
    /// What answers there is no hub.
    #[error("{url} is no hub: it answered {answer}")]
    Foreign {
        /// Where it was looked for.
        url: String,
        /// Its status, or the beginning of what it said.
        answer: String,
    },
    /// An address, a token, a header or an option is not allowed. Nothing was sent.
    #[error("{what}: {detail}")]
    Invalid {
        /// Which.
        what: &'static str,
        /// Why, and what to do.
        detail: String,
    },
    /// The hub refused it, and would again. Nothing was published.
    #[error("the hub refused: {0}")]
    Refused(Box<Problem>),
    /// The hub could not be reached, or said that it cannot now, until the deadline. Whether an event was published is not
    /// known: publish it again under the same key.
    #[error("the hub at {url} is not available: {detail}")]
    Unavailable {
        /// Where it was looked for.
        url: String,
        /// What happened the last time.
        detail: String,
        /// What lies under it.
        #[source]
        source: Option<Cause>,
    },
}

impl RequestError {
    pub(super) fn invalid(what: &'static str, detail: impl fmt::Display) -> Self {
        Self::Invalid { what, detail: detail.to_string() }
    }

    /// True if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// A refusal as the hub words it: a problem document, RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Problem {
    /// The status of the answer.
    #[serde(skip)]
    pub status: u16,
    /// The stable type, such as `urn:fanfare:problem:invalid`; empty where the answer was no problem document.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was wrong.
    pub detail: String,
    /// What was wrong, and where.
    pub errors: Vec<Fault>,
    /// Of a conflict: the id of the topic's last event.
    pub last_id: Option<String>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Fault {
    /// A JSON pointer into the body, as a URI fragment, such as `#/to/userId`.
    pub pointer: String,
    /// What is wrong there, and what to do.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (status {})", self.detail, self.status)
    }
}

/// Why a subscription has no connection, for now or for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The server said so in the stream.
    #[error("the server closed the stream: {0}")]
    Closing(ClosingReason),
    /// The answer is no event stream.
    #[error("the answer is no event stream, but {0}")]
    ContentType(String),
    /// The stream ended without a word.
    #[error("the stream ended")]
    Ended,
    /// A status other than 200.
    #[error("the server answered {status}{}", if body.is_empty() { String::new() } else { format!(": {body}") })]
    Http {
        /// Which.
        status: u16,
        /// What was wrong, in the server's words: at most 2,048 bytes.
        body: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// An open stream fell silent.
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    /// No answer, or the stream broke off.
    #[error("{0}")]
    Network(String, #[source] Cause),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// One event is larger than the limit.
    #[error("an event is larger than {0} bytes")]
    TooLarge(usize),
}

impl SubscribeError {
    /// True if trying again can help: a subscriber does so by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Closing(reason) => *reason == ClosingReason::Capacity,
            Self::Ended | Self::Idle(_) | Self::Network(..) | Self::Timeout(_) => true,
            Self::ContentType(_) | Self::TooLarge(_) => false,
            Self::Http { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
        }
    }

    /// The server wants to know better who asks.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Http { status: 401 | 403, .. })
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Why a server ends a stream: what `$closing` says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosingReason {
    /// It has no room now.
    Capacity,
    /// The application ended it.
    Disconnected,
    /// The stream reached its lifetime.
    Lifetime,
    /// The right to it was taken back.
    Revoked,
    /// The server goes down.
    Shutdown,
    /// This reader fell too far behind.
    Slow,
    /// Its token expired.
    Token,
    /// A word that this version does not know.
    Other(String),
}

impl ClosingReason {
    const KNOWN: [(Self, Disconnect); 7] = [
        (Self::Capacity, Disconnect::Capacity),
        (Self::Disconnected, Disconnect::Disconnected),
        (Self::Lifetime, Disconnect::Lifetime),
        (Self::Revoked, Disconnect::Revoked),
        (Self::Shutdown, Disconnect::Shutdown),
        (Self::Slow, Disconnect::Slow),
        (Self::Token, Disconnect::Token),
    ];

    pub(super) fn parse(word: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|(_, reason)| reason.as_str() == word);
        known.map_or_else(|| Self::Other(word.to_owned()), |(reason, _)| reason)
    }

    /// The word for it on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            known => Self::KNOWN.iter().find(|(reason, _)| reason == known).map_or("", |(_, reason)| reason.as_str()),
        }
    }
}

impl fmt::Display for ClosingReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
