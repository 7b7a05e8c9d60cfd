//! A coarse wheel: one pass over all connections in a period, a bucket at a time, without a timer for anyone.
//!
//! Bucket `b` is every connection whose index leaves the remainder `b`, so nothing is stored for it.

/// Most buckets; a connection's turn is met to one part in this many of the period.
const BUCKETS_MAX: u64 = 64;
/// Shortest time between two buckets.
const STEP_MIN_MS: u64 = 20;

#[derive(Debug)]
pub(super) struct Wheel {
    buckets: u64,
    period_ms: u64,
    began_ms: u64,
    /// Buckets passed since the beginning.
    passed: u64,
}

impl Wheel {
    pub(super) fn new(period_ms: u64, now_ms: u64) -> Self {
        let buckets = (period_ms / STEP_MIN_MS).clamp(1, BUCKETS_MAX);
        Self { buckets, period_ms, began_ms: now_ms, passed: 0 }
    }

    /// Begins anew: after a time without anybody to go round for.
    pub(super) fn restart(&mut self, now_ms: u64) {
        *self = Self::new(self.period_ms, now_ms);
    }

    /// When the next bucket is due.
    pub(super) fn due(&self) -> u64 {
        self.began_ms + (self.passed + 1) * self.period_ms / self.buckets
    }

    /// The next bucket that is due, as first index and step.
    pub(super) fn turn(&mut self, now_ms: u64) -> Option<(usize, usize)> {
        if now_ms < self.due() {
            return None;
        }
        // After a long pause (a suspended machine) one round is enough, and it is a whole one.
        let steps_due = ((now_ms - self.began_ms + 1) * self.buckets - 1) / self.period_ms;
        self.passed = self.passed.max(steps_due.saturating_sub(self.buckets));
        // From the highest down: indices are handed out from the lowest up, so whoever comes first to an empty hub hears
        // its first heartbeat after a whole period, and not at once.
        let bucket = self.buckets - 1 - self.passed % self.buckets;
        self.passed += 1;
        Some((bucket as usize, self.buckets as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_comes_once_a_period_also_after_a_pause() {
        let mut wheel = Wheel::new(30_000, 0);
        let round = |wheel: &mut Wheel, now| {
            let mut buckets = Vec::new();
            while let Some((bucket, _)) = wheel.turn(now) {
                buckets.push(bucket);
            }
            buckets
        };
        assert_eq!(round(&mut wheel, 29_999).len(), 63);
        assert_eq!(round(&mut wheel, 30_000), [0], "the first connection's turn is the last");
        for (round_number, pause_until) in [300_000_000, 300_041_000, 300_071_001].into_iter().enumerate() {
            let mut buckets = round(&mut wheel, pause_until);
            buckets.sort_unstable();
            assert_eq!(buckets, (0..64).collect::<Vec<_>>(), "pause {round_number}: each once, none left out");
        }
    }
}
