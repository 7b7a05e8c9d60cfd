//! What can go wrong, one type for each operation.

use crate::event::EXPECTED;
use fanfare_core::Cursor;
use std::borrow::Cow;
use std::fmt::Display;

/// Why an event was not sent. Nothing was published then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The manager was destroyed.
    #[error("the manager is closed")]
    Closed,
    /// The last event of the topic is not the expected one; see
    /// [`SseEvent::with_expected_last_id`](crate::SseEvent::with_expected_last_id).
    #[error("{pointer}: {detail}")]
    Conflict {
        /// Which expectation.
        pointer: Cow<'static, str>,
        /// What is there instead.
        detail: String,
        /// The id of the topic's last event; `None` if there is none, or if it is not known any more. It is the last
        /// one published, also where events of the same batch would have come before.
        last_id: Option<String>,
    },
    /// Something about the event or its target is not allowed; `pointer` says what, as a JSON pointer into the
    /// event as it would be published over HTTP.
    #[error("{pointer}: {detail}")]
    Invalid {
        /// Where.
        pointer: Cow<'static, str>,
        /// What, and what to do.
        detail: String,
    },
    /// The idempotency key belongs to another request: use a new one for a new event.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// Something is larger than its limit.
    #[error("{pointer}: {detail}")]
    TooLarge {
        /// Where.
        pointer: Cow<'static, str>,
        /// What, and the limit.
        detail: String,
    },
}

impl SendError {
    pub(crate) fn conflict(last: Option<Cursor>) -> Self {
        let last_id = last.map(|cursor| cursor.to_string());
        let detail = match &last_id {
            Some(id) => format!("the topic's last event is {id}, and events before this one in the same list count"),
            None => "the topic has no event, or it is not known any more".to_owned(),
        };
        Self::Conflict { pointer: EXPECTED.into(), detail, last_id }
    }

    pub(crate) fn invalid(pointer: impl Into<Cow<'static, str>>, detail: impl Display) -> Self {
        Self::Invalid { pointer: pointer.into(), detail: detail.to_string() }
    }

    /// Where the fault is, without a metadata name at the pointer's end: for the log, which never quotes an event.
    pub(crate) fn place(&self) -> &str {
        const METADATA: &str = "/to/filter/metadata";
        match self {
            Self::Closed | Self::KeyReused => "",
            Self::Conflict { pointer, .. } | Self::Invalid { pointer, .. } | Self::TooLarge { pointer, .. } => {
                if pointer.starts_with(METADATA) {
                    METADATA
                } else {
                    pointer
                }
            }
        }
    }
}

/// Why a connection was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// `max_clients` is reached. Browsers must hear of it in a stream (they give up on any other status for good):
    /// turn this error into a response with [`ConnectError::into_response_for`].
    #[error("all {0} places for clients are taken")]
    Capacity(usize),
    /// The manager drains or is destroyed.
    #[error("the manager is closing")]
    Closing,
    /// Something about the identity is not allowed.
    #[error("{field}: {detail}")]
    Invalid {
        /// The option, by its name in the query string.
        field: Cow<'static, str>,
        /// What, and what to do.
        detail: String,
    },
}

/// Why a manager could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// [`crate::initialize_sse`] was called, or one of the free functions was used, before.
    #[error("the process-wide manager exists already; call initialize_sse once, before anything is sent")]
    AlreadyInitialized,
    /// A setting does not make sense.
    #[error("{setting}: {detail}")]
    Invalid {
        /// Its name.
        setting: &'static str,
        /// Why, and what to do.
        detail: String,
    },
    /// The system gave no poller, thread or random number.
    #[error("the system refused what a manager needs")]
    System(#[from] std::io::Error),
}
