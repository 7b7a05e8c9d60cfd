//! A second reader of event streams, written from the standard's text (WHATWG HTML, "Interpreting an event
//! stream") and from nothing of ours: the whole buffer at once, naive, for judging the engine. Refuses to know
//! frames, cursors or the engine's own parser.

/// What stands between two empty lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The value of the last `id` field, if the block has one.
    pub id: Option<String>,
    /// The event type buffer; empty if no field set it.
    pub event: String,
    /// The data buffer without its last line end; `None` if the block fires no event.
    pub data: Option<String>,
    /// The value of the last valid `retry` field.
    pub retry: Option<u64>,
    /// Lines that are comments.
    pub comments: usize,
    /// The last event id after the block.
    pub last_event_id: String,
    /// Where the block begins in the buffer.
    pub start: usize,
    /// One past the line end that closes the block.
    pub end: usize,
}

/// A whole stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Every block that was closed by an empty line.
    pub blocks: Vec<Block>,
    /// The last event id: what a reconnect offers.
    pub last_event_id: String,
    /// The reconnection time in force; a `retry` counts at once.
    pub retry: Option<u64>,
    /// Where the unfinished block begins, which is discarded at the end of the stream.
    pub rest: usize,
}

/// Reads a stream that ends after `bytes`, with the last event id an earlier connection left.
pub fn read(bytes: &[u8], last_event_id: &str) -> Stream {
    let mut stream = Stream { last_event_id: last_event_id.to_owned(), ..Stream::default() };
    let mut at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut id_buffer = last_event_id.to_owned();
    let mut data = String::new();
    let mut block = Block { start: at, ..Block::default() };
    stream.rest = at;
    while let Some(length) = bytes[at..].iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        at += length;
        at += if bytes[at..].starts_with(b"\r\n") { 2 } else { 1 };
        if line.is_empty() {
            stream.last_event_id.clone_from(&id_buffer);
            block.last_event_id.clone_from(&id_buffer);
            block.end = at;
            if let Some(text) = data.strip_suffix('\n') {
                block.data = Some(text.to_owned());
            }
            data.clear();
            stream.blocks.push(std::mem::replace(&mut block, Block { start: at, ..Block::default() }));
            stream.rest = at;
            continue;
        }
        if line.starts_with(':') {
            block.comments += 1;
            continue;
        }
        let (field, value) = match line.find(':') {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(' ').unwrap_or(value))
            }
            None => (line.as_str(), ""),
        };
        match field {
            "event" => value.clone_into(&mut block.event),
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => {
                value.clone_into(&mut id_buffer);
                block.id = Some(value.to_owned());
            }
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                block.retry = Some(value.parse().unwrap_or(u64::MAX));
                stream.retry = block.retry;
            }
            _ => {}
        }
    }
    stream
}
