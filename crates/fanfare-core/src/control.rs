//! Control events: what the server itself says on a stream.

use crate::cursor::Cursor;
use crate::wire::control_frame;
use bytes::Bytes;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disconnect {
    /// No room: `max_clients` is reached.
    Capacity,
    /// Nothing was acknowledged for `client_timeout`.
    Dead,
    /// The application ended it.
    Disconnected,
    /// The transport failed.
    Error,
    /// The peer closed its side.
    Gone,
    /// The stream reached its lifetime.
    Lifetime,
    /// The right to it was taken back.
    Revoked,
    /// The server goes down.
    Shutdown,
    /// The peer lives, but took no byte for `stall_timeout`, or fell behind and its policy is to end it.
    Slow,
    /// Its token expired.
    Token,
    /// Its response was never sent.
    Unattached,
}

impl Disconnect {
    /// Every reason, in the order in which statistics count them.
    pub const ALL: [Self; 11] = [
        Self::Capacity,
        Self::Dead,
        Self::Disconnected,
        Self::Error,
        Self::Gone,
        Self::Lifetime,
        Self::Revoked,
        Self::Shutdown,
        Self::Slow,
        Self::Token,
        Self::Unattached,
    ];

    /// The word for it on the wire, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Dead => "dead",
            Self::Disconnected => "disconnected",
            Self::Error => "error",
            Self::Gone => "gone",
            Self::Lifetime => "lifetime",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::Token => "token",
            Self::Unattached => "unattached",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// True if the client shall come back; `None` if there is nobody left to be told.
    pub fn reconnect(self) -> Option<bool> {
        match self {
            Self::Capacity | Self::Lifetime | Self::Shutdown | Self::Slow | Self::Token => Some(true),
            Self::Disconnected | Self::Revoked => Some(false),
            Self::Dead | Self::Error | Self::Gone | Self::Unattached => None,
        }
    }
}

/// `$closing`, the last frame of a planned end. No cursor where the connection lags.
pub fn closing_frame(reason: Disconnect, cursor: Option<Cursor>, retry_ms: u32) -> Bytes {
    let reconnect = reason.reconnect().unwrap_or(true);
    let data = format!(r#"{{"reason":"{}","reconnect":{reconnect}}}"#, reason.as_str());
    control_frame("$closing", cursor, Some(retry_ms), &data)
}

/// Why an open connection misses events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The log has dropped them, within its bounds.
    Retention,
    /// The reader was slow, and its policy is to skip to the present.
    Slow,
    /// They were kept, and cannot be read any more.
    Damaged,
}

impl GapReason {
    /// Every reason, in the order in which statistics count them.
    pub const ALL: [Self; 3] = [Self::Retention, Self::Slow, Self::Damaged];

    /// The word for it on the wire and in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Slow => "slow",
            Self::Damaged => "damaged",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// `$gap`: events up to the cursor are gone for this connection; refetch.
pub(crate) fn gap_frame(cursor: Cursor, reason: GapReason) -> Bytes {
    control_frame("$gap", Some(cursor), None, &format!(r#"{{"reason":"{}"}}"#, reason.as_str()))
}

/// `connected`, the first frame of every stream. `data` is one line of JSON.
pub(crate) fn connected_frame(cursor: Cursor, retry_ms: u32, data: &str) -> Bytes {
    control_frame("connected", Some(cursor), Some(retry_ms), data)
}

/// `ping`, the heartbeat that scripts can see.
pub(crate) fn ping_frame(cursor: Cursor, wall_ms: u64) -> Bytes {
    control_frame("ping", Some(cursor), None, &format!(r#"{{"timestamp":{wall_ms}}}"#))
}

/// The heartbeat that scripts cannot see. A block with an id and no data moves the last event id and fires nothing.
pub(crate) fn comment_frame(cursor: Cursor) -> Bytes {
    Bytes::from(format!(":\nid: {cursor}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_reasons_are_in_order() {
        for (index, reason) in Disconnect::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
        for (index, reason) in GapReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
