//! Values on the command line, read once into types that cannot be wrong.

use super::bench::Rate;
use fanfare::log::Cursor;
use fanfare::{Compression, SlowPolicy};
use std::time::Duration;

pub(super) fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text).ok_or_else(|| "write the id of an event as `dump` or a stream shows it: 1.2k8w….5".to_owned())
}

/// `500ms`, `30s`, `5m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    measured(text, &units)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a whole number with a unit: 500ms, 30s, 5m, 2h or 1d".to_owned())
}

/// A time between one thing and the next: without one, it would never rest.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("write more than nothing".to_owned()) } else { Ok(time) })
}

pub(super) fn slow_policy(text: &str) -> Result<SlowPolicy, String> {
    SlowPolicy::parse(text).ok_or_else(|| "write catch-up, gap or disconnect".to_owned())
}

pub(super) fn compression(text: &str) -> Result<Compression, String> {
    Compression::parse(text).ok_or_else(|| "write off, opt-in or on".to_owned())
}

/// `65536`, `512KiB`, `64MiB`, `1GiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let size = measured(text, &units).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| "write a whole number of bytes, or one with a unit: 512KiB, 64MiB or 1GiB".to_owned())
}

/// A whole number with one of the units, the first that fits.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor))
}

/// `name=value`; the value may be anything, the name not empty.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as name=value".to_owned()),
    }
}

/// `Name: value`, as in a request.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as in a request: \"Name: value\"".to_owned()),
    }
}

/// `5/s`, `0.5/s`, `max`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let number = text.strip_suffix("/s").and_then(|number| number.parse::<f64>().ok());
    match number {
        // An hour from one to the next, and what a clock of nanoseconds can tell apart.
        Some(number) if (1.0 / 3_600.0..=10_000_000.0).contains(&number) => Ok(Rate::PerSecond(number)),
        _ => Err("write how often in a second, 5/s, 0.5/s or 20000/s, or max".to_owned()),
    }
}

/// Where a subscription begins that has seen nothing.
pub(super) fn from(text: &str) -> Result<String, String> {
    let count = text.strip_prefix("last:").map(str::parse::<u64>);
    if matches!(text, "earliest" | "latest") || matches!(count, Some(Ok(1..=10_000))) {
        return Ok(text.to_owned());
    }
    Err("write earliest, latest or last:N, with N from 1 to 10000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("65536"), Ok(65_536));
        for bad in ["", "5", "-5s", "1.5s", "5 s", "s", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_read() {
        assert_eq!(rate("max"), Ok(Rate::Max));
        assert_eq!(rate("0.5/s"), Ok(Rate::PerSecond(0.5)));
        for bad in ["", "5", "0/s", "-1/s", "inf/s", "NaN/s", "5/m", "1e9/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
