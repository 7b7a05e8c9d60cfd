//! An event stream parser for the tests, written from the standard's text and independent of the product's own.
//!
//! `fixtures/wire/parse.json` is its test.

use serde_json::Value;

/// An event as a browser would dispatch it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
pub(crate) struct Event {
    pub(crate) event: String,
    pub(crate) data: String,
    /// The last event id when it was dispatched.
    pub(crate) id: String,
    /// The reconnection time that came in the same block.
    pub(crate) retry: Option<u64>,
    /// The block had an id line of its own.
    pub(crate) has_id: bool,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    /// `connected`, `ping`, or one of the `$` events.
    pub(crate) fn is_control(&self) -> bool {
        self.event.starts_with('$') || self.event == "connected" || self.event == "ping"
    }

    /// The cursor in the id.
    pub(crate) fn cursor(&self) -> &str {
        self.id.split('~').next().unwrap()
    }
}

/// Takes bytes in any pieces, gives events.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    began: bool,
    after_cr: bool,
    event: String,
    data: Option<String>,
    block_retry: Option<u64>,
    block_has_id: bool,
    id: String,
    last_event_id: String,
    retry: Option<u64>,
    comments: usize,
}

impl SseParser {
    /// What the reader would offer in `Last-Event-ID`.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    pub(crate) fn seed(&mut self, last_event_id: &str) {
        last_event_id.clone_into(&mut self.id);
        last_event_id.clone_into(&mut self.last_event_id);
    }

    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Comment lines seen.
    pub(crate) fn comments(&self) -> usize {
        self.comments
    }

    /// True inside a block: a cut here tears a frame.
    pub(crate) fn inside_a_frame(&self) -> bool {
        !self.line.is_empty() || self.data.is_some() || self.block_has_id || !self.event.is_empty()
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        for byte in bytes {
            if std::mem::take(&mut self.after_cr) && *byte == b'\n' {
                continue;
            }
            match byte {
                b'\r' | b'\n' => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.end_line(&line, out);
                }
                other => self.line.push(*other),
            }
        }
    }

    fn end_line(&mut self, line: &[u8], out: &mut Vec<Event>) {
        let line = if self.began { line } else { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) };
        self.began = true;
        if line.is_empty() {
            self.dispatch(out);
            return;
        }
        let line = String::from_utf8_lossy(line);
        let (name, value) = match line.split_once(':') {
            Some((name, value)) => (name, value.strip_prefix(' ').unwrap_or(value)),
            None => (&*line, ""),
        };
        match name {
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.event),
            "data" => {
                let data = self.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => {
                value.clone_into(&mut self.id);
                self.block_has_id = true;
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let retry = value.parse().unwrap_or(u64::MAX).min(i32::MAX as u64);
                (self.block_retry, self.retry) = (Some(retry), Some(retry));
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, out: &mut Vec<Event>) {
        self.last_event_id.clone_from(&self.id);
        let event = std::mem::take(&mut self.event);
        let (retry, has_id) = (self.block_retry.take(), std::mem::take(&mut self.block_has_id));
        if let Some(mut data) = self.data.take() {
            data.pop();
            let event = if event.is_empty() { "message".to_owned() } else { event };
            out.push(Event { event, data, id: self.last_event_id.clone(), retry, has_id });
        }
    }
}

/// The golden vectors, at every split into two pieces.
pub(crate) fn assert_agrees_with_the_golden_vectors() {
    let vectors: Value = super::fixture("wire/parse.json");
    for vector in vectors.as_array().unwrap() {
        // Bytes that are not text are the product parser's affair; what the server sends is UTF-8.
        let Some(input) = vector["input"].as_str() else { continue };
        for split in 0..=input.len().min(400) {
            let mut parser = SseParser::default();
            parser.seed(vector["initialLastEventId"].as_str().unwrap_or_default());
            let mut events = Vec::new();
            parser.feed(&input.as_bytes()[..split], &mut events);
            parser.feed(&input.as_bytes()[split..], &mut events);
            let name = &vector["name"];
            let found: Vec<Value> = events
                .iter()
                .map(|event| serde_json::json!({ "type": event.event, "data": event.data, "lastEventId": event.id }))
                .collect();
            assert_eq!(Value::from(found), vector["events"], "{name}, split at {split}");
            assert_eq!(parser.last_event_id(), vector["lastEventId"].as_str().unwrap(), "{name}");
            assert_eq!(parser.retry(), vector["retry"].as_u64(), "{name}");
        }
    }
}
