//! The clock that is moved by hand.

use super::barrier::settle;
use crate::clock::Clock;
use crate::config::SseConfig;
use crate::error::ConfigError;
use crate::manager::SseManager;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Moves the clock of one manager.
///
/// These follow it: heartbeats and their timestamps, [`stall_timeout`](SseConfig::stall_timeout),
/// [`lifetime`](SseConfig::lifetime), the steps of a [drain](SseManager::drain), the time for which a connection may wait
/// for its response (30 s) or for its peer to read the end (1 s), the age of history and of idempotency keys, statistics.
///
/// Nothing else does: not tokio's timers and what is built on them, the time limits of [`serve`](crate::serve) and of a
/// drain among them; not the `timestamp` of the helpers' payloads; not the kernel, which alone knows for how long a peer
/// has acknowledged nothing ([`client_timeout`](SseConfig::client_timeout)).
///
/// It holds the manager: that one ends when the clock is dropped, too.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
    manager: SseManager,
}

impl ManualClock {
    /// Moves the clock forward, and waits until every due timer of a connection has run. The history on disk looks at the
    /// clock in its own time, every second.
    ///
    /// A timer that came due many times meanwhile runs once: three heartbeats take three steps.
    ///
    /// ```
    /// use fanfare::{ConnectionOptions, SseConfig, SseManager};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = SseConfig { lifetime: Some(Duration::from_secs(3_600)), ..SseConfig::default() };
    /// let (manager, clock) = SseManager::with_manual_clock(config)?;
    /// let mut page = manager.create_connection(ConnectionOptions::default())?;
    /// page.expect_connected().await;
    /// clock.advance(Duration::from_secs(30));
    /// page.expect_event("ping").await;
    /// // A lifetime is met to a tenth.
    /// clock.advance(Duration::from_secs(4_000));
    /// page.expect_closing("lifetime").await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(crate::config::millis(by), Ordering::AcqRel);
        settle(&self.manager.inner.hub);
    }
}

impl SseManager {
    /// A manager whose clock stands still until it is moved. See [`ManualClock`] for what follows it.
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
