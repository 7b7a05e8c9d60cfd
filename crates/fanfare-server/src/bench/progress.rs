//! One line on standard error that says how far it is, while a terminal shows it.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const WIDTH: u64 = 28;
const EVERY: Duration = Duration::from_millis(100);

pub(super) struct Progress {
    shown: bool,
    /// Which server it is about, where there are two.
    pub(super) about: &'static str,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && std::io::stderr().is_terminal(), about: "", drawn: None }
    }

    pub(super) fn show(&mut self, what: &str, done: u64, all: u64) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        let full = if all == 0 { WIDTH } else { (done.min(all) * WIDTH).checked_div(all).unwrap_or(WIDTH) };
        let bar = "█".repeat(full as usize) + &"░".repeat((WIDTH - full) as usize);
        let about = if self.about.is_empty() { String::new() } else { format!("{}: ", self.about) };
        // To the end of the line is cleared: what was there may have been longer.
        draw(&format!("\r{bar} {about}{what} {} of {}\u{1b}[K", count(done), count(all)));
    }

    pub(super) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            draw("\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn draw(text: &str) {
    let mut err = std::io::stderr().lock();
    // Whoever closed it does not want to know.
    _ = err.write_all(text.as_bytes());
    _ = err.flush();
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
