//! How long to wait before the next attempt. Pure: time and chance are handed in.

use std::time::Duration;

/// What delays grow from where neither the server nor the program said.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// No delay is shorter, so that nothing turns into a hot loop.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// No delay of ours is longer. A server may ask for more.
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A connection that lived so long proved usable, and ends the count of failures.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The most that `Retry-After` gets.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Doublings beyond which nothing grows: the largest delay is reached long before.
const DOUBLINGS_MAX: u32 = 30;

/// Full jitter: anything up to `base` doubled by each failure; `random` is from 0 to 1. Also the first time: a deploy
/// drops everybody at once.
pub(super) fn delay(base: Duration, failures: u32, random: f64) -> Duration {
    let bound = base.saturating_mul(1 << failures.min(DOUBLINGS_MAX)).min(DELAY_MAX);
    bound.mul_f64(random).max(DELAY_MIN)
}

/// `Retry-After`: seconds, or a date that is compared with `now` (RFC 9110 §10.2.3).
pub(super) fn retry_after(header: &str, now: std::time::SystemTime) -> Option<Duration> {
    let asked = match header.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(header.trim()).ok()?.duration_since(now).ok()?,
    };
    (!asked.is_zero()).then(|| asked.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delays_double_within_their_bounds() {
        assert_eq!(delay(ms(1_000), 0, 1.0), ms(1_000));
        assert_eq!(delay(ms(1_000), 0, 0.5), ms(500));
        assert_eq!(delay(ms(1_000), 0, 0.0), DELAY_MIN);
        assert_eq!(delay(ms(1_000), 3, 1.0), ms(8_000));
        assert_eq!(delay(ms(1_000), 5, 1.0), DELAY_MAX);
        assert_eq!(delay(ms(1_000), u32::MAX, 1.0), DELAY_MAX);
        assert_eq!(delay(Duration::ZERO, u32::MAX, 1.0), DELAY_MIN);
        assert_eq!(delay(Duration::MAX, 7, 1.0), DELAY_MAX);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + ms(784_111_777_000);
        assert_eq!(retry_after("7", now), Some(ms(7_000)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(ms(10_000)));
        assert_eq!(retry_after("99999999", now), Some(RETRY_AFTER_MAX));
        for nothing in ["", "0", "-1", "soon", "Sun, 06 Nov 1994 08:49:36 GMT", "99999999999999999999999"] {
            assert_eq!(retry_after(nothing, now), None, "{nothing}");
        }
    }
}
