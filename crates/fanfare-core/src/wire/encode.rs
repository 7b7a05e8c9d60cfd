//! The one place where frames are written.
//!
//! A frame is `id`, `event`, `retry`, `data` lines and a blank line, each field with one space after its
//! colon, lines ended by LF. The body, everything but the id line, is encoded by the publisher before any
//! lock is taken, into a buffer with room in front; the id line is stamped into that room at release.

use crate::cursor::Cursor;
use crate::event::Event;
use bytes::Bytes;

/// `id: ` + version + two base-36 numbers + `.` + `~~` + LF.
const ID_ROOM: usize = 4 + 2 + 13 + 1 + 13 + 2 + 1;

/// An encoded frame without its id line: made once per event, whoever and however many receive it.
#[derive(Debug, Default)]
pub struct FrameBody {
    /// `room` unused bytes, then the body.
    buffer: Vec<u8>,
    room: usize,
    own_id: Option<Box<str>>,
    ephemeral: bool,
}

impl FrameBody {
    /// Encodes everything but the id line. One allocation, linear in the data.
    pub fn encode(event: &Event) -> Self {
        let own_id = event.id().map(Box::from);
        let room = ID_ROOM + event.id().map_or(0, str::len);
        let lines = memchr::memchr2_iter(b'\n', b'\r', event.data().as_bytes()).count() + 1;
        let mut buffer = Vec::with_capacity(room + event.event_type().len() + event.data().len() + 7 * lines + 40);
        buffer.resize(room, b'\n');
        push_field(&mut buffer, "event", event.event_type());
        if let Some(retry) = event.retry() {
            push_retry(&mut buffer, retry);
        }
        push_data(&mut buffer, event.data());
        buffer.push(b'\n');
        Self { buffer, room, own_id, ephemeral: event.ephemeral() }
    }

    /// True for an event that is delivered but not kept.
    pub fn ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Bytes of the body, for budgets.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// A body is never empty.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the id line in front of the body. Returns the frame and the exact text of its id.
    pub(crate) fn stamp(mut self, cursor: Cursor) -> (Bytes, StampedId) {
        let mut line = Vec::with_capacity(self.room);
        line.extend_from_slice(b"id: ");
        cursor.write_to(&mut line);
        if self.ephemeral {
            line.extend_from_slice(b"~~");
        }
        if let Some(own) = &self.own_id {
            if !self.ephemeral {
                line.push(b'~');
            }
            line.extend_from_slice(own.as_bytes());
        }
        line.push(b'\n');
        let start = self.room - line.len();
        self.buffer[start..self.room].copy_from_slice(&line);
        let id_end = self.room - 1 - start;
        let frame = Bytes::from(self.buffer).slice(start..);
        (frame.clone(), StampedId { frame, end: id_end })
    }
}

/// The id of a stamped frame, read from the frame itself so that it costs nothing until asked for.
#[derive(Debug, Clone)]
pub(crate) struct StampedId {
    frame: Bytes,
    end: usize,
}

impl StampedId {
    pub(crate) fn as_str(&self) -> &str {
        // Cursor and own id are visible ASCII by construction.
        core::str::from_utf8(&self.frame["id: ".len()..self.end]).unwrap_or_default()
    }
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

fn push_retry(out: &mut Vec<u8>, retry_ms: u32) {
    push_field(out, "retry", &retry_ms.to_string());
}

/// Data splits on CR, LF and CRLF, the three ends of a line that the standard knows.
fn push_data(out: &mut Vec<u8>, data: &str) {
    let bytes = data.as_bytes();
    let mut start = 0;
    for end in memchr::memchr2_iter(b'\n', b'\r', bytes) {
        if end < start {
            continue; // the LF of a CRLF
        }
        push_line(out, &bytes[start..end]);
        start = if bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 1 };
    }
    push_line(out, &bytes[start..]);
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// A frame the server makes itself. `data` must be one line.
pub(crate) fn control_frame(event: &str, cursor: Option<Cursor>, retry_ms: Option<u32>, data: &str) -> Bytes {
    debug_assert!(!data.contains(['\r', '\n']));
    let mut out = Vec::with_capacity(ID_ROOM + 48 + event.len() + data.len());
    if let Some(cursor) = cursor {
        out.extend_from_slice(b"id: ");
        cursor.write_to(&mut out);
        out.push(b'\n');
    }
    push_field(&mut out, "event", event);
    if let Some(retry) = retry_ms {
        push_retry(&mut out, retry);
    }
    push_line(&mut out, data.as_bytes());
    out.push(b'\n');
    Bytes::from(out)
}
