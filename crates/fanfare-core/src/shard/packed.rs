//! Blocks for the shard's compressed connections: each made once for everybody who gets the same frames, and the
//! checksums of each connection.
//!
//! Who gets the same is found out from the frames themselves: connections that are visited one after the other with the
//! same frames pending get the block that the first of them had made.

use crate::gzip::{Block, Deflater, Member};
use core::ops::Range;
use std::collections::VecDeque;

/// Blocks kept for the next connection. Those with the same frames pending are visited one after the other: there are
/// rarely more kinds of them at a time.
const KEPT: usize = 16;
/// Bytes compressed in one turn, about a millisecond's work: then the inbox and the poller are served.
const TURN_BYTES: usize = 512 * 1024;
/// Frames for one connection alone are compressed from this size on: nobody shares the work, and few bytes save little.
const ALONE_MIN: usize = 1_024;

/// Which frames a block holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frames {
    pub(super) source: Source,
    /// Their numbers there, in order.
    numbers: Vec<Range<u64>>,
    /// Their sizes, added up.
    pub(super) bytes: usize,
    pub(super) count: u32,
    /// True if each of them is for several connections: then others may have the same ones pending.
    pub(super) shared: bool,
}

/// What frames are numbered by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// Positions in the log.
    Log,
    /// Numbers in the window.
    #[default]
    Window,
}

impl Frames {
    pub(super) fn clear(&mut self, source: Source) {
        self.numbers.clear();
        (self.source, self.bytes, self.count, self.shared) = (source, 0, 0, true);
    }

    pub(super) fn push(&mut self, number: u64, bytes: usize) {
        match self.numbers.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => self.numbers.push(number..number + 1),
        }
        self.bytes += bytes;
        self.count += 1;
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.numbers.iter().cloned().flatten()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Packer {
    deflater: Deflater,
    kept: VecDeque<(Frames, Block)>,
    raw: Vec<u8>,
    spent: usize,
    members: Vec<Option<Box<[Member; PAGE]>>>,
}

const PAGE: usize = 256;

impl Packer {
    pub(super) fn begin_turn(&mut self) {
        self.spent = 0;
    }

    /// True if this turn has compressed enough.
    pub(super) fn is_spent(&self) -> bool {
        self.spent >= TURN_BYTES
    }

    /// The block of these frames: the one made before, or a new one.
    pub(super) fn pack<'a>(&mut self, frames: &Frames, bytes: impl Iterator<Item = &'a [u8]>) -> Block {
        if let Some((_, block)) = self.kept.iter().find(|(kept, _)| kept == frames) {
            return block.clone();
        }
        let alone = !frames.shared;
        let block = self.block(alone, bytes);
        if frames.shared {
            // The newest first: it is asked for most.
            self.kept.truncate(KEPT - 1);
            self.kept.push_front((frames.clone(), block.clone()));
        }
        block
    }

    /// A block for one connection.
    pub(super) fn alone<'a>(&mut self, bytes: impl Iterator<Item = &'a [u8]>) -> Block {
        self.block(true, bytes)
    }

    fn block<'a>(&mut self, alone: bool, bytes: impl Iterator<Item = &'a [u8]>) -> Block {
        self.raw.clear();
        bytes.for_each(|frame| self.raw.extend_from_slice(frame));
        if alone && self.raw.len() < ALONE_MIN {
            return Block::stored(&self.raw);
        }
        self.spent += self.raw.len();
        let block = self.deflater.block(&self.raw);
        // One event may be larger than a whole batch of others.
        self.raw.shrink_to(2 * crate::limits::VISIT_BYTES);
        block
    }

    /// The checksums of a connection. Only compressed ones have any; the others' pages are not there.
    pub(super) fn member(&mut self, local: usize) -> &mut Member {
        if self.members.len() <= local / PAGE {
            self.members.resize_with(local / PAGE + 1, || None);
        }
        let page = self.members[local / PAGE].get_or_insert_with(|| Box::new([Member::default(); PAGE]));
        &mut page[local % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(numbers: &[u64], shared: bool) -> Frames {
        let mut frames = Frames::default();
        for number in numbers {
            frames.push(*number, 100);
        }
        frames.shared = shared;
        frames
    }

    fn ask(packer: &mut Packer, frames: &Frames) -> Block {
        let event = |number| format!("event: a\ndata: {{\"number\":{number}}}\n\n").into_bytes();
        let bytes: Vec<Vec<u8>> = frames.numbers().map(event).collect();
        packer.pack(frames, bytes.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_block_is_made_once_for_the_same_frames_and_never_given_for_others() {
        let mut packer = Packer::default();
        let first = ask(&mut packer, &frames(&[1, 2, 5], true));
        let same = |block: &Block| block.bytes.as_ptr() == first.bytes.as_ptr();
        assert!(same(&ask(&mut packer, &frames(&[1, 2, 5], true))));
        for others in [&[1, 2][..], &[1, 2, 3, 5], &[2, 5], &[1, 2, 4, 5]] {
            assert!(!same(&ask(&mut packer, &frames(others, true))), "{others:?}");
        }
        let mut log = frames(&[1, 2, 5], true);
        log.source = Source::Log;
        assert!(!same(&ask(&mut packer, &log)));
        for number in 10..10 + KEPT as u64 {
            ask(&mut packer, &frames(&[number], true));
        }
        assert_eq!(packer.kept.len(), KEPT);
        assert!(!same(&ask(&mut packer, &frames(&[1, 2, 5], true))), "the oldest is given up");
    }

    #[test]
    fn what_one_connection_gets_alone_is_neither_kept_nor_compressed_while_it_is_small() {
        let mut packer = Packer::default();
        let small = ask(&mut packer, &frames(&[1], false));
        assert_eq!((packer.kept.len(), packer.spent), (0, 0));
        assert!(small.bytes.windows(8).any(|bytes| bytes == b"event: a"), "stored as it is");
        let many: Vec<u64> = (0..100).collect();
        let large = ask(&mut packer, &frames(&many, false));
        assert!(packer.kept.is_empty() && packer.spent > large.bytes.len() * 3);
    }

    #[test]
    fn members_are_where_they_were_left_and_take_a_page_for_those_around_them() {
        let mut packer = Packer::default();
        let block = Block::stored(b"x");
        packer.member(700).add(&block);
        assert_ne!(*packer.member(700), Member::default());
        assert_eq!(*packer.member(701), Member::default());
        assert_eq!(packer.members.iter().flatten().count(), 1);
    }
}
