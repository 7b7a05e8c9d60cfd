//! Cursors: what travels as the SSE `id`, opaque to users.
//!
//! The text is `<version>.<epoch>.<position>`, numbers in base 36, so it is compact visible ASCII, safe in
//! a header and in a URL. Behind a `~` comes the publisher's own id; an ephemeral event has `~~` and
//! names the place before it. Reading is lenient in one way only: whatever is not a cursor of ours is
//! [`Cursor::parse`]d to `None`, which means `reset`, never an error.

use crate::limits::CURSOR_MAX;
use core::fmt;

/// A place in the log: the epoch in which the record was written, and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The random number drawn at the start in which the record was written.
    pub epoch: u64,
    /// The record's place in the log; 0 is before the first.
    pub position: u64,
}

/// The version in front of every cursor.
const VERSION: &str = "1.";

impl Cursor {
    /// Reads the cursor at the front of an SSE `id`; what follows a `~` is not looked at.
    ///
    /// `None` for anything that is not a cursor of this version: the caller answers `reset`.
    ///
    /// ```
    /// use fanfare_core::Cursor;
    /// let cursor = Cursor { epoch: 35, position: 36 };
    /// assert_eq!(cursor.to_string(), "1.z.10");
    /// assert_eq!(Cursor::parse("1.z.10~order-7"), Some(cursor));
    /// assert_eq!(Cursor::parse("42"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CURSOR_MAX {
            return None;
        }
        let text = text.split_once('~').map_or(text, |(cursor, _)| cursor);
        let (epoch, position) = text.strip_prefix(VERSION)?.split_once('.')?;
        Some(Self { epoch: parse_base36(epoch)?, position: parse_base36(position)? })
    }

    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(VERSION.as_bytes());
        write_base36(self.epoch, out);
        out.push(b'.');
        write_base36(self.position, out);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(32);
        self.write_to(&mut text);
        formatter.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn write_base36(mut number: u64, out: &mut Vec<u8>) {
    // 36^13 > 2^64.
    let mut digits = [0u8; 13];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Only the text that `write_base36` makes: one number has one spelling.
fn parse_base36(text: &str) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return None,
        };
        number.checked_mul(36)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_cursor_survives_its_text(epoch: u64, position: u64, own in "[!-}]{0,20}") {
            let cursor = Cursor { epoch, position };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            prop_assert_eq!(Cursor::parse(&format!("{cursor}~{own}")), Some(cursor));
            prop_assert_eq!(Cursor::parse(&format!("{cursor}~~")), Some(cursor));
        }

        #[test]
        fn arbitrary_text_never_panics_and_has_one_spelling(text in ".{0,40}") {
            if let Some(cursor) = Cursor::parse(&text) {
                let front = text.split('~').next().unwrap_or_default();
                prop_assert_eq!(cursor.to_string(), front);
            }
        }
    }

    #[test]
    fn foreign_and_damaged_cursors_are_none() {
        for text in [
            "",
            "1",
            "1.",
            "1..",
            "1.a.",
            "1..a",
            "2.a.b",
            "1.A.b",
            "1.a.b.c",
            "1.01.2",
            "1.a.-1",
            "1.zzzzzzzzzzzzzz.1",
            " 1.a.b",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
        assert_eq!(Cursor::parse(&format!("1.a.b~{}", "x".repeat(CURSOR_MAX))), None);
    }
}
