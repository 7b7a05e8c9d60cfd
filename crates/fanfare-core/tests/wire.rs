//! The wire, byte by byte: what the encoder writes and what the parser reads, against the golden files and against
//! a second parser written from the standard alone.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, reason = "a module of two tests")]

#[path = "support/tap.rs"]
mod tap;
#[path = "support/whatwg.rs"]
mod whatwg;

use bytes::Bytes;
use fanfare_core::{
    ClientId, ConnectionOptions, Cursor, Disconnect, Encoding, Event, EventError, Hub, HubConfig, Identity,
    MemoryStore, Now, Parsed, Parser, Registration, Resume, Seed, Shard, Start, Target, closing_frame,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::sync::{Arc, Mutex, mpsc};
use tap::Tap;

const NOW: Now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };

/// The epoch and position of the golden frames.
fn golden() -> Cursor {
    Cursor::parse("1.k3f9a.42").unwrap()
}

/// A hub in that epoch.
fn hub(config: HubConfig) -> (Hub<Tap>, Vec<Shard<Tap>>) {
    Hub::new(config, Box::new(MemoryStore), Seed([1, 2, 3, 4, golden().epoch << 16, 5]), NOW)
}

fn publish(hub: &Hub<Tap>, event: &Event) -> Option<String> {
    let (sender, answers) = mpsc::channel();
    hub.publish(vec![hub.draft(event, &Target::All)], None, NOW, Box::new(move |answer| sender.send(answer).unwrap()));
    answers.recv().unwrap().unwrap().remove(0).id
}

/// Publishes so much that the next event has this position.
fn fill(hub: &Hub<Tap>, position: u64) {
    let event = Event::new("filler", "0").unwrap();
    (1..position).for_each(|_| _ = publish(hub, &event));
}

/// What a connection gets from here on, without a greeting.
fn stream(hub: &Hub<Tap>, shards: &mut [Shard<Tap>], start: Start, meanwhile: impl FnOnce()) -> Vec<u8> {
    let registration = hub.register(&Identity::anonymous(), start, ConnectionOptions::default(), NOW).unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    meanwhile();
    hub.attach(registration.token(), Tap(Arc::clone(&taken)), Vec::new(), Bytes::new(), Encoding::Identity);
    for _ in 0..4 {
        shards[0].turn(NOW);
    }
    let taken = taken.lock().unwrap();
    taken.clone()
}

fn fixture<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = format!("{}/../../fixtures/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

// Reading

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    input: Option<String>,
    input_base64: Option<String>,
    initial_last_event_id: Option<String>,
    events: Vec<Expected>,
    last_event_id: String,
    retry: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    r#type: String,
    data: String,
    last_event_id: String,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        match (&self.input, &self.input_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => base64(text),
            _ => panic!("{}: one input", self.name),
        }
    }

    fn expected(&self) -> Outcome {
        let parsed = |event: &Expected| Parsed {
            event: event.r#type.clone(),
            data: event.data.clone(),
            last_event_id: event.last_event_id.clone(),
            // The table says which is in force at the end, not which event brought it.
            retry: None,
        };
        Outcome {
            events: self.events.iter().map(parsed).collect(),
            last_event_id: self.last_event_id.clone(),
            retry: self.retry,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<Parsed>,
    last_event_id: String,
    retry: Option<u64>,
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | LETTERS.iter().position(|letter| *letter == byte).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, last_event_id: &str) -> Outcome {
    let mut parser = Parser::new(1 << 20).with_last_event_id(last_event_id);
    let mut events = Vec::new();
    pieces.into_iter().for_each(|piece| parser.feed(piece, &mut events).unwrap());
    Outcome { events, last_event_id: parser.last_event_id().to_owned(), retry: parser.retry() }
}

fn naive(bytes: &[u8], last_event_id: &str) -> Outcome {
    let stream = whatwg::read(bytes, last_event_id);
    let event = |block: whatwg::Block| {
        let event = if block.event.is_empty() { "message".to_owned() } else { block.event };
        let retry = block.retry.map(|retry| retry.min(i32::MAX as u64));
        Some(Parsed { event, data: block.data?, last_event_id: block.last_event_id, retry })
    };
    Outcome {
        events: stream.blocks.into_iter().filter_map(event).collect(),
        last_event_id: stream.last_event_id,
        retry: stream.retry.map(|retry| retry.min(i32::MAX as u64)),
    }
}

/// As the golden streams tell it.
fn told(mut outcome: Outcome) -> Outcome {
    outcome.events.iter_mut().for_each(|event| event.retry = None);
    outcome
}

#[test]
fn the_parser_reads_the_golden_streams_however_they_are_cut() {
    for vector in fixture::<Vec<Vector>>("parse.json") {
        let (bytes, expected) = (vector.bytes(), vector.expected());
        let before = vector.initial_last_event_id.as_deref().unwrap_or_default();
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(told(feed([front, back], before)), expected, "{} cut at {cut}", vector.name);
        }
        assert_eq!(told(feed(bytes.chunks(1), before)), expected, "{} byte by byte", vector.name);
        assert_eq!(told(feed(bytes.chunks(3), before)), expected, "{} in threes", vector.name);
    }
}

#[test]
fn the_second_parser_reads_the_golden_streams_too() {
    for vector in fixture::<Vec<Vector>>("parse.json") {
        let before = vector.initial_last_event_id.as_deref().unwrap_or_default();
        assert_eq!(told(naive(&vector.bytes(), before)), vector.expected(), "{}", vector.name);
    }
}

// Writing

#[derive(Debug, Deserialize)]
struct Golden {
    name: String,
    id: Option<String>,
    event: String,
    data: String,
    retry: Option<u64>,
    frame: String,
}

impl Golden {
    fn cursor(&self) -> Option<Cursor> {
        self.id.as_deref().map(|id| Cursor::parse(id).unwrap())
    }

    /// What the engine writes for this row; `None` where it never writes such a frame.
    fn written(&self) -> Option<Bytes> {
        match self.event.as_str() {
            "connected" => Some(self.connected()),
            "ping" => Some(self.ping()),
            "$gap" => Some(Self::gap()),
            // A reset is told in `connected`.
            "$reset" => None,
            "$closing" => Some(self.closing()),
            _ => self.event_frame(),
        }
    }

    fn connected(&self) -> Bytes {
        let client_id = ClientId::parse(&"a".repeat(26)).unwrap();
        let (cursor, retry_ms) = (self.cursor().unwrap(), self.retry.unwrap() as u32);
        Registration { client_id, resume: Resume::Live, cursor, retry_ms }.connected_frame(&self.data)
    }

    fn ping(&self) -> Bytes {
        let (hub, mut shards) = hub(HubConfig::default());
        fill(&hub, golden().position + 1);
        stream(&hub, &mut shards, Start::After(self.cursor()), || ()).into()
    }

    fn gap() -> Bytes {
        let (hub, mut shards) = hub(HubConfig { log_age_ms: 1_000, ..HubConfig::default() });
        fill(&hub, golden().position + 1);
        // It begins with the first event, and the log drops all before its response is sent.
        let forget = || {
            let later = Now { mono_ms: 5_000, ..NOW };
            hub.history(&Identity::anonymous(), Start::Live, false, 1, 1, later);
        };
        let bytes = stream(&hub, &mut shards, Start::Earliest, forget);
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
        Bytes::from(bytes).slice(..end)
    }

    fn closing(&self) -> Bytes {
        let said = |reason: &&Disconnect| self.data.contains(&format!(r#""reason":"{}""#, reason.as_str()));
        let reason = Disconnect::ALL.iter().find(said).unwrap();
        closing_frame(*reason, self.cursor(), self.retry.unwrap() as u32)
    }

    /// An application event, through a hub whose next position is the golden one. `None` if it is refused.
    fn event_frame(&self) -> Option<Bytes> {
        let id = self.id.as_deref().unwrap();
        let ephemeral = id.contains("~~");
        let mut event = match Event::new(&self.event, self.data.as_str()) {
            Ok(event) => event.with_ephemeral(ephemeral),
            Err(error) => {
                // The standard lets NUL through, and so must a parser; no JSON text has one, so nobody may send it.
                assert_eq!(error, EventError::DataNul, "{}", self.name);
                return None;
            }
        };
        if let Some((_, own)) = id.split_once('~').filter(|_| !ephemeral) {
            event = event.with_id(own).unwrap();
        }
        if let Some(retry) = self.retry {
            event = event.with_retry(retry).unwrap();
        }
        let (hub, mut shards) = hub(HubConfig::default());
        fill(&hub, golden().position + u64::from(ephemeral));
        let publish = || {
            let answered = publish(&hub, &event);
            assert_eq!(answered.as_deref(), (!ephemeral).then_some(id), "{}: the receipt has the exact id", self.name);
        };
        let streamed = stream(&hub, &mut shards, Start::Live, publish);
        if !ephemeral {
            let page = hub.history(&Identity::anonymous(), Start::Last(1), false, 1, 1, NOW);
            assert_eq!(page.frames.concat(), streamed, "{}: one frame for all", self.name);
        }
        Some(streamed.into())
    }
}

#[test]
fn the_encoder_writes_the_golden_frames() {
    let rows: Vec<Golden> = fixture("encode.json");
    let unwritten: Vec<&str> = rows
        .iter()
        .filter(|row| match row.written() {
            Some(written) => {
                assert_eq!(String::from_utf8_lossy(&written), row.frame, "{}", row.name);
                false
            }
            None => true,
        })
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(unwritten, ["NUL in data", "$reset"]);
}

#[test]
fn every_golden_frame_is_read_back_as_it_was_meant() {
    for row in fixture::<Vec<Golden>>("encode.json") {
        let outcome = naive(row.frame.as_bytes(), "");
        let data = row.data.replace("\r\n", "\n").replace('\r', "\n");
        let last_event_id = row.id.unwrap_or_default();
        let event = Parsed { event: row.event, data, last_event_id: last_event_id.clone(), retry: row.retry };
        assert_eq!(outcome, Outcome { events: vec![event], last_event_id, retry: row.retry }, "{}", row.name);
    }
}

// Both

/// Text that looks like the wire, and text that does not.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("id: 9".to_owned()),
        Just("data:".to_owned()),
        Just(":".to_owned()),
        Just(" ".to_owned()),
        Just("\u{2028}".to_owned()),
        "[^\0]{0,6}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_event_survives_the_wire_wherever_it_is_cut(
        event_type in "[^\\p{C}\\p{Zl}\\p{Zp}$]{1,20}",
        data in hostile(),
        own in proptest::option::of("[!-}]{1,20}"),
        retry in proptest::option::of(0u64..86_400_000),
        ephemeral: bool,
    ) {
        let Ok(mut event) = Event::new(&event_type, data.as_str()) else {
            // The two reserved words, and whatever this and the engine's table of invisible characters see apart.
            return Ok(());
        };
        if let Some(own) = &own {
            event = event.with_id(own).unwrap();
        }
        if let Some(retry) = retry {
            event = event.with_retry(retry).unwrap();
        }
        let (hub, mut shards) = hub(HubConfig::default());
        let event = event.with_ephemeral(ephemeral);
        let bytes = stream(&hub, &mut shards, Start::Live, || _ = publish(&hub, &event));
        let cursor = hub.cursor();
        let id = match (&own, ephemeral) {
            (Some(own), false) => format!("{cursor}~{own}"),
            (own, true) => format!("{cursor}~~{}", own.as_deref().unwrap_or_default()),
            (None, false) => cursor.to_string(),
        };
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        let expected = Outcome {
            events: vec![Parsed { event: event_type, data, last_event_id: id.clone(), retry }],
            last_event_id: id,
            retry,
        };
        prop_assert_eq!(&naive(&bytes, ""), &expected);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            prop_assert_eq!(&feed([front, back], ""), &expected);
        }
    }

    #[test]
    fn both_parsers_read_any_bytes_alike_wherever_they_are_cut(
        lines in proptest::collection::vec(
            prop_oneof![
                hostile().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..8),
                Just(b"data: x".to_vec()),
                Just(b"event: y".to_vec()),
                Just(b"id: 1".to_vec()),
                Just(b"id".to_vec()),
                Just(b"id: \0".to_vec()),
                Just(b"retry: 007".to_vec()),
                Just(b"retry: 99999999999999999999999".to_vec()),
            ],
            0..12,
        ),
        ends in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n")], 12),
    ) {
        let bytes: Vec<u8> =
            lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_slice(), end.as_bytes()].concat()).collect();
        let expected = naive(&bytes, "before");
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            prop_assert_eq!(&feed([front, back], "before"), &expected, "cut at {}", cut);
        }
    }
}
