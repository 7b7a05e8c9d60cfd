//! For users' own tests: a manager whose clock is moved by hand, and a way to look at what arrives.

use crate::clock::Clock;
use crate::config::SseConfig;
use crate::connection::Connection;
use crate::error::ConfigError;
use crate::manager::SseManager;
use fanfare_core::Parsed;
use futures_core::Stream as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Moves the clock of one manager. Heartbeats, timeouts and the age of the history follow it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
    manager: SseManager,
}

impl ManualClock {
    /// Moves the clock forward, and has every due timer run.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(crate::config::millis(by), Ordering::AcqRel);
        for thread in &self.manager.inner.threads {
            // A thread that cannot be woken has ended.
            _ = thread.waker.wake();
        }
    }
}

impl SseManager {
    /// A manager whose clock stands still until it is moved.
    ///
    /// # Errors
    ///
    /// As [`SseManager::new`].
    pub fn with_manual_clock(config: SseConfig) -> Result<(Self, ManualClock), ConfigError> {
        let now = Arc::new(AtomicU64::new(0));
        let manager = Self::with_clock(config, Clock::Manual { now: Arc::clone(&now) })?;
        Ok((manager.clone(), ManualClock { now, manager }))
    }
}

/// How long an expected event may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Connection {
    /// The next event, control events included; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// After ten seconds without one.
    pub async fn next_event(&mut self) -> Option<Parsed> {
        let next = poll_fn(|context| Pin::new(&mut *self).poll_next(context));
        let event = tokio::time::timeout(PATIENCE, next).await.expect("an event, or the end, within ten seconds");
        event.map(|event| event.expect("events below the size limit"))
    }

    /// The next event, which must have this type; control events of other types are passed over. Returns its data.
    ///
    /// # Panics
    ///
    /// If another application event comes first, if the stream ends, or after ten seconds.
    pub async fn expect_event(&mut self, event_type: &str) -> serde_json::Value {
        loop {
            let event = self.next_event().await.unwrap_or_else(|| panic!("the stream ended before {event_type:?}"));
            if event.event == event_type {
                return serde_json::from_str(&event.data).unwrap_or(serde_json::Value::String(event.data));
            }
            let control = event.event.starts_with('$') || matches!(event.event.as_str(), "connected" | "ping");
            assert!(control, "expected {event_type:?}, got {:?} with {}", event.event, event.data);
        }
    }
}
