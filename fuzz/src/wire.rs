//! From event to bytes and back: whatever may be published comes out as it was, however the bytes are cut, and any
//! bytes at all mean the same to the parser as to one written from the standard.

use super::input::Input;
use super::node::{Choice, Node};
use super::whatwg;
use fanfare_core::disk::DiskConfig;
use fanfare_core::{Event, Now, Parsed, Parser, Start};

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.one_in(2) {
        let cut = input.below(64) + 1;
        let raw = input.rest();
        same_events(raw, cut);
        return;
    }
    let event_type = input.text(140);
    let id = input.text(140);
    let retry = input.one_in(3).then(|| input.number() as u64 * 2_000);
    let cut = input.below(64) + 1;
    let data = String::from_utf8_lossy(input.rest()).into_owned();
    let Ok(mut event) = Event::new(&event_type, data.as_str()) else { return };
    let mut own_id = None;
    if let Ok(with_id) = event.clone().with_id(&id) {
        (event, own_id) = (with_id, Some(id));
    }
    let mut kept_retry = None;
    if let Some(ms) = retry
        && let Ok(with_retry) = event.clone().with_retry(ms)
    {
        (event, kept_retry) = (with_retry, Some(ms));
    }
    let choice = Choice { shards: 1, log_bytes: 1 << 20, disk: DiskConfig::default() };
    let mut node = Node::in_memory(choice, 35, Now::default());
    let line = node.connect(0, Start::Live, usize::MAX).unwrap();
    node.publish(vec![(0, event)], None);
    node.settle();
    let taken = line.far.lock().unwrap().taken.clone();
    let events = same_events(&taken, cut);
    assert_eq!(events.len(), 2, "connected, and the event");
    let got = &events[1];
    assert_eq!(got.event, event_type);
    // The standard has one line end.
    assert_eq!(got.data, data.replace("\r\n", "\n").replace('\r', "\n"));
    let wanted = own_id.map_or_else(|| "1.z.1".to_owned(), |id| format!("1.z.1~{id}"));
    assert_eq!(got.last_event_id, wanted);
    if let Some(ms) = kept_retry {
        assert_eq!(whatwg::read(&taken, "").retry, Some(ms));
    }
}

/// Parses in pieces, and compares.
fn same_events(bytes: &[u8], cut: usize) -> Vec<Parsed> {
    let mut parser = Parser::new(usize::MAX / 2);
    let mut events = Vec::new();
    for piece in bytes.chunks(cut) {
        parser.feed(piece, &mut events).unwrap();
    }
    let stream = whatwg::read(bytes, "");
    let wanted: Vec<Parsed> = stream
        .blocks
        .into_iter()
        .filter_map(|block| {
            let event = if block.event.is_empty() { "message".to_owned() } else { block.event };
            let retry = block.retry.map(|retry| retry.min(i32::MAX as u64));
            Some(Parsed { event, data: block.data?, last_event_id: block.last_event_id, retry })
        })
        .collect();
    // A CR at the very end may be half of a line end: the standard's reader, who has all, sees no more either.
    assert_eq!(events, wanted);
    assert_eq!(parser.last_event_id(), stream.last_event_id);
    events
}
