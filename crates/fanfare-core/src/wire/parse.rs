//! A parser of event streams, exact to the WHATWG standard ("Server-sent events", §9.2.6), fed in any pieces.
//!
//! Linear in its input, with a cap on what it keeps. A CR that ends a piece ends the line at once; an LF that
//! then opens the next piece is swallowed, so a stream with CR line ends is not one event late.

/// Browser timers overflow above 2³¹−1 ms and fire at once.
const RETRY_CLAMP: u64 = (1 << 31) - 1;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The event type; `message` where the stream named none.
    pub event: String,
    /// The data, lines joined by LF.
    pub data: String,
    /// The last event id as it stands after this event's block.
    pub last_event_id: String,
    /// The reconnection time in milliseconds that this event's block carried.
    pub retry: Option<u64>,
}

/// The stream kept more unfinished bytes than the parser's cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event exceeds the limit of {limit} bytes")]
pub struct ParserError {
    /// The cap it was made with.
    pub limit: usize,
}

/// The state between two pieces of a stream.
///
/// ```
/// let mut parser = fanfare_core::Parser::new(1 << 20);
/// let mut events = Vec::new();
/// parser.feed(b"event: hi\ndata: {}\n\n", &mut events).unwrap();
/// assert_eq!(events[0].event, "hi");
/// ```
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    event: String,
    data: String,
    id: String,
    committed_id: String,
    retry: Option<u64>,
    block_retry: Option<u64>,
    at_start: bool,
    skip_lf: bool,
}

impl Parser {
    /// A parser that keeps at most `limit` bytes of one event.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: String::new(),
            data: String::new(),
            id: String::new(),
            committed_id: String::new(),
            retry: None,
            block_retry: None,
            at_start: true,
            skip_lf: false,
        }
    }

    /// Seeds the last event id, as after a reconnect: the id survives the connection.
    pub fn with_last_event_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        id.clone_into(&mut self.committed_id);
        self
    }

    /// The id to send on a reconnect.
    pub fn last_event_id(&self) -> &str {
        &self.committed_id
    }

    /// The latest reconnection time in milliseconds the stream asked for.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The reconnection time among the lines of a block that has not ended.
    pub fn unfinished_retry(&self) -> Option<u64> {
        self.block_retry
    }

    /// Reads one piece; finished events are appended to `events`.
    ///
    /// # Errors
    ///
    /// [`ParserError`] when one event exceeds the cap; the parser is then of no further use.
    pub fn feed(&mut self, mut piece: &[u8], events: &mut Vec<Parsed>) -> Result<(), ParserError> {
        while !piece.is_empty() {
            if self.skip_lf {
                self.skip_lf = false;
                if piece[0] == b'\n' {
                    piece = &piece[1..];
                    continue;
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', piece) else {
                self.line.extend_from_slice(piece);
                return self.check_limit();
            };
            self.line.extend_from_slice(&piece[..end]);
            self.check_limit()?;
            self.skip_lf = piece[end] == b'\r';
            piece = &piece[end + 1..];
            let line = core::mem::take(&mut self.line);
            let text = if self.at_start { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line) } else { &line };
            self.at_start = false;
            self.end_line(&String::from_utf8_lossy(text), events);
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    fn check_limit(&self) -> Result<(), ParserError> {
        if self.line.len() + self.data.len() > self.limit { Err(ParserError { limit: self.limit }) } else { Ok(()) }
    }

    fn end_line(&mut self, line: &str, events: &mut Vec<Parsed>) {
        if line.is_empty() {
            self.dispatch(events);
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = Some(value.parse().unwrap_or(RETRY_CLAMP).min(RETRY_CLAMP));
                self.block_retry = self.retry;
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Parsed>) {
        self.id.clone_into(&mut self.committed_id);
        let event = core::mem::take(&mut self.event);
        let retry = self.block_retry.take();
        if self.data.is_empty() {
            return;
        }
        let mut data = core::mem::take(&mut self.data);
        data.pop();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        events.push(Parsed { event, data, last_event_id: self.committed_id.clone(), retry });
    }
}
