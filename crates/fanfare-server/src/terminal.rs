//! How answers look: for people on a terminal, as JSON in a pipe. Colour only where it is wanted (a terminal, `NO_COLOR` and
//! `CLICOLOR` heeded), and nothing from outside that a terminal would obey.

use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// True if people read the answer.
pub(crate) fn is_for_people(json: bool) -> bool {
    !json && io::stdout().is_terminal()
}

/// Writes to standard output at once. Styles are taken out where they are not wanted.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error. Whoever closed it does not want to know.
pub(crate) fn note(text: &str) {
    _ = writeln!(anstream::stderr(), "{text}");
}

/// With a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Without anything that moves a cursor, changes a colour or the direction of writing: such characters are shown by
/// their number.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The two largest units that say something: `3d 4h`, `2m 30s`, `150ms`.
pub(crate) fn age(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let Some(largest) = UNITS.iter().position(|(size, _)| ms >= *size) else { return format!("{ms}ms") };
    let (size, unit) = UNITS[largest];
    let mut text = format!("{}{unit}", ms / size);
    if let Some((smaller, unit)) = UNITS.get(largest + 1)
        && ms % size / smaller > 0
    {
        _ = write!(text, " {}{unit}", ms % size / smaller);
    }
    text
}

/// `4.9 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Unix milliseconds now.
pub(crate) fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_millis() as u64
}

/// Columns as wide as their widest cell; the first row is the heading. Cells are made plain.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| plain(&row[column]).chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{:<width$}  ", plain(cell));
        }
        let line = line.trim_end();
        out.push_str(&if index == 0 { styled(STRONG, line) } else { line.to_owned() });
        out.push('\n');
    }
    out
}

/// `1 client`, `2 clients`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(plain("ümlaut 😀"), "ümlaut 😀");
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c\u{202e}d\u{61c}\n"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\u{61c}\\u{a}");
    }

    #[test]
    fn ages_have_two_units() {
        for (ms, text) in
            [(0, "0ms"), (999, "999ms"), (1_000, "1s"), (150_000, "2m 30s"), (3_600_000, "1h"), (273_600_000, "3d 4h")]
        {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!([0, 1_023, 1_024, 1_572_864, 1 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 GiB"]);
    }
}
