//! The log's clock.

use crate::time::Now;

/// Unix time as the log tells it: read once at the start, then moved by the monotonic clock, so that a wall clock
/// that jumps drops nothing. It never goes back behind what the log has.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogClock {
    wall_ms: u64,
    mono_ms: u64,
}

impl LogClock {
    pub(super) fn new(now: Now, newest_ms: u64) -> Self {
        Self { wall_ms: now.wall_ms.max(newest_ms), mono_ms: now.mono_ms }
    }

    pub(super) fn read(self, now: Now) -> u64 {
        self.wall_ms + now.mono_ms.saturating_sub(self.mono_ms)
    }
}
