//! One time for all processes of this machine: that of day at the start, and from there on the one that never jumps.

use std::sync::OnceLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Readings of both clocks, of which the closest pair counts: between two of them the system may run something else.
const READINGS: usize = 16;

static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();

fn anchor() -> (Instant, u64) {
    let mut best: Option<(Duration, Instant, u64)> = None;
    for _ in 0..READINGS {
        let before = Instant::now();
        let day = UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_nanos() as u64;
        let gap = before.elapsed();
        if best.is_none_or(|(smallest, ..)| gap < smallest) {
            best = Some((gap, before, day));
        }
    }
    best.map_or_else(|| (Instant::now(), 0), |(_, instant, day)| (instant, day))
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let (instant, day) = *ANCHOR.get_or_init(anchor);
    day + instant.elapsed().as_nanos() as u64
}

/// When something is due that is done so often in a second, counted from 0.
pub(super) fn due(begun: u64, number: u64, rate: f64) -> u64 {
    begun + Duration::from_secs_f64(number as f64 / rate).as_nanos() as u64
}

/// Waits until then, or not at all.
pub(super) fn sleep_until(then: u64) {
    std::thread::sleep(Duration::from_nanos(then.saturating_sub(now())));
}
