//! What a subscriber hands over.

use super::error::{ClosingReason, SubscribeError};
use crate::connected::Connected;
use fanfare_core::{Parsed, Resume};
use serde::Deserialize;
use std::time::Duration;

/// What happened to a subscription.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// The server ends the stream. The subscriber comes back if it is asked to; else this is followed by the error.
    Closing {
        /// Why.
        reason: ClosingReason,
        /// Whether it is to come back.
        reconnect: bool,
    },
    /// A connection is open, and this is the verdict on where it begins.
    Connected(Connected),
    /// An event of the application.
    Event(Event),
    /// Events were lost while the stream was open: fetch the state anew.
    Gap(Gap),
    /// There is no connection, and another attempt follows.
    Waiting {
        /// Why; `None` where the server planned it.
        error: Option<SubscribeError>,
        /// Time until the attempt.
        delay: Duration,
        /// Failures in a row.
        failures: u32,
    },
}

impl Update {
    /// True if events are gone, so that the state is to be fetched anew: for [`Update::Gap`], and where a connection begins
    /// with the verdict [`Resume::Gap`] or [`Resume::Reset`].
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Connected(connected) => matches!(connected.resume, Resume::Gap | Resume::Reset),
            Self::Gap(_) => true,
            _ => false,
        }
    }
}

/// A loss within an open stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Why, if the server said: `slow` for a reader that was skipped ahead.
    pub reason: Option<String>,
    /// What is fetched from now on is complete up to here.
    pub cursor: String,
    /// True if the place before means nothing to the server any more.
    pub reset: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its type.
    pub event: String,
    /// Its data as it came: JSON from a hub, any text from another server.
    pub data: String,
    /// The publisher's own id.
    pub id: Option<String>,
    /// Its place in the log: where a subscription that begins behind it goes on.
    pub cursor: String,
    /// True if it is in no history.
    pub ephemeral: bool,
}

impl Event {
    /// Its data as a value.
    ///
    /// # Errors
    ///
    /// If it is no JSON, or not of that shape.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(&self.data)
    }
}

impl From<Parsed> for Event {
    fn from(parsed: Parsed) -> Self {
        let (cursor, own) = match parsed.last_event_id.split_once('~') {
            Some((cursor, own)) => (cursor.to_owned(), Some(own)),
            None => (parsed.last_event_id.clone(), None),
        };
        let ephemeral = own.is_some_and(|own| own.starts_with('~'));
        let id = own.map(|own| own.trim_start_matches('~')).filter(|own| !own.is_empty()).map(str::to_owned);
        Self { event: parsed.event, data: parsed.data, id, cursor, ephemeral }
    }
}

/// What a block of the stream is.
pub(super) enum Block {
    Closing { reason: ClosingReason, reconnect: bool },
    Connected(Connected),
    Event,
    Gap(Gap),
    Ping,
}

impl Block {
    /// Other servers may use these names for something else: what does not read as Fanfare's is an ordinary event.
    pub(super) fn of(parsed: &Parsed) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Control {
            reason: Option<String>,
            reconnect: Option<bool>,
            timestamp: Option<u64>,
        }
        if let Some(connected) = Connected::read(parsed) {
            return Self::Connected(connected);
        }
        if !matches!(parsed.event.as_str(), "ping" | "$closing" | "$gap" | "$reset") {
            return Self::Event;
        }
        let Ok(control) = serde_json::from_str::<Control>(&parsed.data) else { return Self::Event };
        let cursor = || parsed.last_event_id.split('~').next().unwrap_or_default().to_owned();
        match (parsed.event.as_str(), control.reason) {
            ("ping", _) if control.timestamp.is_some() => Self::Ping,
            ("$closing", Some(reason)) => Self::Closing {
                reason: ClosingReason::parse(&reason),
                reconnect: control.reconnect.unwrap_or_default(),
            },
            (name @ ("$gap" | "$reset"), reason) => {
                Self::Gap(Gap { cursor: cursor(), reset: name == "$reset", reason })
            }
            _ => Self::Event,
        }
    }
}
