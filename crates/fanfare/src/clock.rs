//! The clocks a manager reads: the system's, or in tests one that is moved by hand.

use fanfare_core::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone)]
pub(crate) enum Clock {
    System {
        began: Instant,
    },
    #[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "made by `test-util` only"))]
    Manual {
        now: Arc<AtomicU64>,
    },
}

/// Where a manual clock begins, in Unix milliseconds.
const MANUAL_EPOCH_MS: u64 = 1_700_000_000_000;

impl Clock {
    pub(crate) fn system() -> Self {
        Self::System { began: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        match self {
            Self::System { began } => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Now { mono_ms: began.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
            }
            Self::Manual { now } => {
                let mono_ms = now.load(Ordering::Acquire);
                Now { mono_ms, wall_ms: MANUAL_EPOCH_MS + mono_ms }
            }
        }
    }

    /// How long a thread may sleep until `mono_ms`; `None` is until somebody wakes it.
    pub(crate) fn sleep_until(&self, mono_ms: u64) -> Option<Duration> {
        match self {
            Self::System { .. } if mono_ms == u64::MAX => None,
            Self::System { .. } => Some(Duration::from_millis(mono_ms.saturating_sub(self.now().mono_ms))),
            Self::Manual { .. } => None,
        }
    }
}
