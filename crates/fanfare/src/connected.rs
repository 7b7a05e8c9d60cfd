//! What a server says first on every stream, as those read it who stand at its other end.

use fanfare_core::{Parsed, Resume};
use serde::Deserialize;
use std::time::Duration;

/// What a server says at the beginning of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// The connection's id.
    pub client_id: String,
    /// The user that the server knows it by.
    pub user_id: Option<String>,
    /// Its session.
    pub session_id: Option<String>,
    /// The server sends something at least this often.
    pub heartbeat_interval: Duration,
    /// The verdict on its start: whether what was missed follows.
    pub resume: Resume,
    /// Where it begins: what a client that reconnects now would send.
    pub cursor: String,
}

impl Connected {
    /// `None` for what is something else, also under this name: other servers may use it.
    pub(crate) fn read(event: &Parsed) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            client_id: String,
            user_id: Option<String>,
            session_id: Option<String>,
            heartbeat_interval: u64,
            resume: String,
        }
        if event.event != "connected" {
            return None;
        }
        let data: Data = serde_json::from_str(&event.data).ok()?;
        Some(Self {
            client_id: data.client_id,
            user_id: data.user_id,
            session_id: data.session_id,
            heartbeat_interval: Duration::from_millis(data.heartbeat_interval),
            resume: Resume::parse(&data.resume)?,
            cursor: event.last_event_id.split('~').next().unwrap_or_default().to_owned(),
        })
    }
}
