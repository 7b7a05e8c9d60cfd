//! What is published and looked for: data that says which event of which run it is, and when it was due.
//!
//! Words, `-fb` run `-` number `-` time: letters, digits and hyphens, which no server and no framing changes. The marker is
//! at the end of the data, so that an event counts when it is there. The words differ from event to event, so that events
//! compress as text does, and are the same in each bench, so that benches can be compared.

use memchr::memmem;
use std::fmt::Write as _;

/// `-fb`, 8 digits of the run, `-`, 8 of the number, `-`, 16 of the time.
pub(super) const LEN: usize = TAG + 8 + 1 + 16;
/// What all events of a run have in common.
const TAG: usize = 3 + 8 + 1;

#[rustfmt::skip]
const WORDS: [&str; 64] = [
    "account", "added", "after", "alert", "amount", "answer", "before", "billing", "build", "cancelled", "cart", "change",
    "channel", "closed", "comment", "confirmed", "customer", "delayed", "delivered", "device", "draft", "email", "error",
    "failed", "finished", "from", "invoice", "item", "joined", "left", "level", "line", "login", "message", "minutes",
    "moved", "new", "note", "opened", "order", "over", "paid", "payment", "pending", "price", "queue", "ready", "refund",
    "removed", "reply", "report", "room", "score", "sent", "shipped", "started", "status", "stock", "team", "ticket",
    "today", "update", "user", "with",
];

/// Which event, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) number: u32,
    pub(super) due: u64,
}

fn tag(run: u32) -> String {
    format!("-fb{run:08x}-")
}

/// The data of an event, of this many bytes.
pub(super) fn data(run: u32, marker: Marker, size: usize) -> String {
    let Marker { number, due } = marker;
    format!("{}{}{number:08x}-{due:016x}", words(number, size.saturating_sub(LEN)), tag(run))
}

/// So many bytes of words, and of numbers here and there, in an order that is chance and the same each time.
fn words(seed: u32, size: usize) -> String {
    let mut text = String::with_capacity(size + 16);
    // One of Knuth's, whose upper bits are good.
    let mut state = u64::from(seed);
    while text.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chance = (state >> 33) as usize;
        match chance % 8 {
            0 => _ = write!(text, "{}-", chance / 8 % 10_000),
            _ => text.extend([WORDS[chance / 8 % WORDS.len()], "-"]),
        }
    }
    text.truncate(size);
    text
}

/// Finds the markers of one run in pieces of a stream.
pub(super) struct Finder(memmem::Finder<'static>);

impl Finder {
    pub(super) fn new(run: u32) -> Self {
        Self(memmem::Finder::new(&tag(run)).into_owned())
    }

    /// Tells every marker that ends in `piece`. `rest` is kept from one piece of a stream to the next.
    pub(super) fn find(&self, rest: &mut Vec<u8>, piece: &[u8], found: &mut impl FnMut(Marker)) {
        if rest.is_empty() {
            self.scan(piece, piece.len(), found);
            rest.extend_from_slice(self.open_end(piece));
            return;
        }
        let kept = rest.len();
        rest.extend_from_slice(&piece[..piece.len().min(LEN - 1)]);
        // Those that begin in what was kept; the piece itself has the others.
        self.scan(rest, kept, found);
        self.scan(piece, piece.len(), found);
        let end = if piece.len() < LEN - 1 { rest.as_slice() } else { piece };
        let end = self.open_end(end).to_vec();
        rest.clear();
        rest.extend_from_slice(&end);
    }

    /// Whole markers that begin before `limit`.
    fn scan(&self, bytes: &[u8], limit: usize, found: &mut impl FnMut(Marker)) {
        for at in self.0.find_iter(bytes).take_while(|at| *at < limit) {
            if let Some(marker) = bytes.get(at + TAG..at + LEN).and_then(parse) {
                found(marker);
            }
        }
    }

    /// The end that may be the beginning of a marker.
    fn open_end<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let tag = self.0.needle();
        let last = &bytes[bytes.len().saturating_sub(LEN - 1)..];
        let open = memchr::memchr_iter(b'-', last).find(|at| {
            let from_here = &last[*at..];
            from_here.starts_with(tag) || tag.starts_with(from_here)
        });
        open.map_or(&[], |at| &last[at..])
    }
}

fn parse(bytes: &[u8]) -> Option<Marker> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (number, due) = text.split_once('-')?;
    Some(Marker { number: u32::from_str_radix(number, 16).ok()?, due: u64::from_str_radix(due, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(run: u32, pieces: &[&[u8]]) -> Vec<u32> {
        let (finder, mut rest, mut numbers) = (Finder::new(run), Vec::new(), Vec::new());
        for piece in pieces {
            finder.find(&mut rest, piece, &mut |marker| numbers.push(marker.number));
            assert!(rest.len() < LEN);
        }
        numbers
    }

    #[test]
    fn markers_are_found_wherever_a_stream_is_cut() {
        let mut stream = Vec::new();
        for number in 0..3 {
            // Beginnings that come to nothing, another run, and a whole one.
            let other = data(8, Marker { number: 9, due: 1 }, LEN);
            let own = data(7, Marker { number, due: u64::MAX }, 50);
            stream.extend_from_slice(format!("id: -fb-fb00000007\ndata: {other}-fb{own}\n\n").as_bytes());
        }
        for cut in 0..=stream.len() {
            for second in [cut, (cut + 1).min(stream.len()), (cut + 20).min(stream.len())] {
                let pieces = [&stream[..cut], &stream[cut..second], &stream[second..]];
                assert_eq!(found(7, &pieces), [0, 1, 2], "cut at {cut} and {second}");
            }
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(found(7, &single), [0, 1, 2]);
    }

    #[test]
    fn data_is_as_long_as_asked() {
        let marker = Marker { number: u32::MAX, due: u64::MAX };
        assert_eq!(data(u32::MAX, marker, 128).len(), 128);
        assert_eq!(data(1, marker, LEN).len(), LEN);
    }

    #[test]
    fn data_needs_no_quoting_and_is_not_the_same_in_each_event() {
        let all: std::collections::BTreeSet<String> = (0..100).map(|number| words(number, 90)).collect();
        assert_eq!(all.len(), 100);
        for text in all {
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{text}");
            assert!(!text.contains("-fb") && text.len() == 90, "{text}");
        }
        assert_eq!(words(7, 2_000), words(7, 2_000));
    }
}
