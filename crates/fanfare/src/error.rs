//! What can go wrong, one type for each operation.

use crate::event::EXPECTED;
use fanfare_core::Cursor;
use std::borrow::Cow;
use std::fmt::Display;

/// Why an event was not sent. Nothing was published then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// More waits for the disk than it takes: come back in a moment.
    #[error("too many events wait for the disk; try again in a moment")]
    Busy,
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
    /// The disk is full, and the event is not kept. Make room; the next publish is tried again.
    #[error("the disk is full, and the event was not kept; it may be sent again once there is room")]
    Full,
    /// The disk failed. What was sent when it did may be kept or not; nothing is until the log is opened anew.
    #[error("the log on disk failed; publishes are refused until the server is started again")]
    ReadOnly,
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
            Self::Busy | Self::Closed | Self::Full | Self::KeyReused | Self::ReadOnly => "",
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
    /// The data directory cannot be used.
    #[error("the data directory {path:?} cannot be used")]
    Storage {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: StorageError,
    },
    /// The system gave no poller, thread or random number.
    #[error("the system refused what a manager needs")]
    System(#[from] std::io::Error),
}

/// Why a directory cannot be used for the history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another process, or another manager, has it.
    #[error("another process has it{}; a directory belongs to one server at a time", holder.map(|id: u32| format!(" (process {id})")).unwrap_or_default())]
    Taken {
        /// That process, as far as it is known.
        holder: Option<u32>,
    },
    /// There is no such directory.
    #[error("there is no such directory")]
    Missing,
    /// It is a file.
    #[error("it is not a directory")]
    NotADirectory,
    /// The system said no.
    #[error("cannot {what} it")]
    Directory {
        /// What was tried.
        what: &'static str,
        /// What it said.
        #[source]
        error: std::io::Error,
    },
    /// There is something in it that is not a log, or not a sound one.
    #[error(transparent)]
    Open(fanfare_core::disk::OpenError),
}
