//! What a reader was sent, judged: nothing that was not written or not for them, in order, and what is left out is told.

use super::people::gets;
use super::whatwg;
use fanfare_core::Cursor;

/// An event that was acknowledged.
#[derive(Debug, Clone)]
pub struct Written {
    pub cursor: Cursor,
    pub target: usize,
    pub data: String,
}

/// All that was acknowledged and may still be there, in the order of positions.
#[derive(Debug, Default)]
pub struct Ledger {
    pub written: Vec<Written>,
    /// Events that were sent, and are kept nowhere.
    pub ephemeral: Vec<(usize, String)>,
}

impl Ledger {
    /// The first event for a reader behind one place, up to another.
    fn owed(&self, reader: usize, after: u64, upto: u64) -> Option<&Written> {
        let from = self.written.partition_point(|written| written.cursor.position <= after);
        let owed = self.written[from..].iter().take_while(|written| written.cursor.position <= upto);
        owed.into_iter().find(|written| gets(reader, written.target))
    }

    #[track_caller]
    fn nothing_owed(&self, reader: usize, after: u64, upto: u64) {
        let owed = self.owed(reader, after, upto);
        assert!(owed.is_none(), "reader {reader} was sent beyond {upto} without {owed:?}, and had {after}");
    }

    fn at(&self, position: u64) -> Option<&Written> {
        let index = self.written.binary_search_by_key(&position, |written| written.cursor.position).ok()?;
        Some(&self.written[index])
    }

    /// Judges all that a reader took. Returns the place up to which it is complete.
    #[track_caller]
    pub fn judge(&self, reader: usize, taken: &[u8]) -> u64 {
        let stream = whatwg::read(taken, "");
        let mut place = None;
        for block in stream.blocks {
            let id = block.id.as_deref().unwrap_or_default();
            let cursor = Cursor::parse(id);
            let data = block.data.as_deref().unwrap_or_default();
            let Some(before) = place else {
                assert_eq!(block.event, "connected", "first of all");
                place = Some(cursor.expect("a place").position);
                continue;
            };
            match block.event.as_str() {
                "$gap" => {
                    let position = cursor.expect("a place").position;
                    assert!(position >= before, "a gap that goes back");
                    place = Some(position);
                }
                "$closing" => {}
                "ping" => {
                    let position = cursor.expect("a place").position;
                    self.nothing_owed(reader, before, position);
                    place = Some(position.max(before));
                }
                _ if id.contains("~~") => {
                    let position = cursor.expect("a place").position;
                    self.nothing_owed(reader, before, position);
                    let sent = |(target, sent): &(usize, String)| gets(reader, *target) && sent == data;
                    assert!(self.ephemeral.iter().any(sent), "an ephemeral event that was not sent: {data}");
                    place = Some(position.max(before));
                }
                _ => {
                    let cursor = cursor.expect("a place");
                    assert!(cursor.position > before, "{} after {before}", cursor.position);
                    let written = self.at(cursor.position).expect("an event that was not written");
                    assert_eq!((written.cursor, written.data.as_str()), (cursor, data), "another event");
                    assert!(gets(reader, written.target), "an event for others: {written:?}");
                    self.nothing_owed(reader, before, cursor.position - 1);
                    place = Some(cursor.position);
                }
            }
        }
        place.unwrap_or_default()
    }

    /// [`Ledger::judge`] of a reader that took everything there was.
    #[track_caller]
    pub fn judge_complete(&self, reader: usize, taken: &[u8], tail: u64) {
        let place = self.judge(reader, taken);
        self.nothing_owed(reader, place, tail);
    }
}
