//! The events of a log, one after the other, as its readers would get them.

use super::files::Disk;
use super::format::{RECORD_MAX, RecordRef, TargetKind, read_record, salt};
use super::inspect::{Files, read_segment};
use super::outcome::OpenError;
use super::scan::scan_bytes;
use crate::cursor::Cursor;
use crate::key::{Key, Keyer, Kind as NameKind};
use crate::target::Name;
use crate::wire::Parser;
use core::ops::ControlFlow;

/// An event with its place and who it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// Its place in the log.
    pub position: u64,
    /// When it was committed, Unix milliseconds.
    pub wall_ms: u64,
    /// The text of its id line: the cursor, and the publisher's own id behind a `~`.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data.
    pub data: String,
    /// The reconnection time it carries.
    pub retry: Option<u64>,
    /// `all`, `one` (a user, a session or a topic), `any` (users), `every` (a filter) or `client`.
    pub target: &'static str,
    /// Hashes of the names it is for; the names themselves are not kept.
    pub keys: Vec<String>,
}

/// Which events [`dump`] shows. Of the three names any that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only what comes after this.
    pub after: Option<Cursor>,
    /// Only events addressed to this user by name.
    pub user: Option<Name>,
    /// Only events addressed to this session by name.
    pub session: Option<Name>,
    /// Only events of this topic.
    pub topic: Option<Name>,
}

/// Calls `each` with every event that fits the filter, in order, until it breaks. What cannot be read is left out.
///
/// # Errors
///
/// As [`super::inspect`], and [`OpenError::Cursor`] for one that means nothing in this log.
pub fn dump(
    disk: &dyn Disk,
    filter: &LogFilter,
    mut each: impl FnMut(LogRecord) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let Files { manifest, bases, .. } = Files::read(disk)?;
    // What is dropped is gone, even if its file is not.
    let mut after = manifest.dropped.floor;
    if let Some(cursor) = filter.after {
        let position = manifest.epochs.resolve(cursor, u64::MAX).ok_or(OpenError::Cursor(cursor))?;
        after = after.max(position);
    }
    let keyer = Keyer::new(manifest.secret);
    let names =
        [(NameKind::User, &filter.user), (NameKind::Session, &filter.session), (NameKind::Topic, &filter.topic)];
    let wanted: Vec<Key> =
        names.into_iter().filter_map(|(kind, name)| Some(keyer.key(kind, "", name.as_ref()?.as_str()))).collect();
    for (number, base) in bases.iter().copied().enumerate() {
        let next = bases.get(number + 1);
        if next.is_some_and(|next| *next <= after) {
            continue;
        }
        let Some(bytes) = read_segment(disk, base, next.is_none())? else { continue };
        let salt = salt(manifest.log_id, base);
        for offset in scan_bytes(&bytes, salt, base, next.is_none()).index.offsets() {
            let Some(record) = read_record(bytes.get(offset as usize..).unwrap_or_default(), salt) else { continue };
            let shown =
                record.position > after && (wanted.is_empty() || record.keys().any(|key| wanted.contains(&key)));
            if shown
                && let Some(record) = shown_record(&record)
                && each(record).is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn shown_record(record: &RecordRef<'_>) -> Option<LogRecord> {
    let hex = |key: Key| format!("{:016x}{:016x}", key.words().0, key.words().1);
    let mut parser = Parser::new(2 * RECORD_MAX);
    let mut events = Vec::new();
    parser.feed(record.body, &mut events).ok()?;
    let event = events.pop()?;
    Some(LogRecord {
        position: record.position,
        wall_ms: record.wall_ms,
        id: event.last_event_id,
        event: event.event,
        data: event.data,
        retry: parser.retry(),
        target: match record.target {
            TargetKind::All => "all",
            TargetKind::Key => "one",
            TargetKind::AnyOf => "any",
            TargetKind::AllOf => "every",
            TargetKind::Client => "client",
        },
        keys: record.keys().map(hex).collect(),
    })
}
