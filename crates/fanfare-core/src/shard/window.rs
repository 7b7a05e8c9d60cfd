//! The newest records of a shard, in the order in which they were released: durable and ephemeral alike.
//!
//! A connection that has fallen behind by less than this knows its place here by number. The frames are shared
//! with the log; a run of broadcasts that came together is copied once into one slice, so that it is written
//! as one.

use super::packed::{Frames, Source};
use crate::directory::Recipients;
use crate::limits::{WINDOW_BYTES, WINDOW_ENTRIES, WINDOW_SETS_BYTES};
use crate::sets::Sets;
use bytes::Bytes;
use std::collections::VecDeque;

/// Frames larger than this gain nothing from lying side by side.
const JOIN_MEAN_BYTES: usize = 2_048;

#[derive(Debug)]
pub(super) struct Entry {
    /// The record's position; of an ephemeral one, the position before it.
    pub(super) position: u64,
    pub(super) recipients: Recipients,
    /// The buffer that holds the frame, shared with its neighbours in a run.
    buffer: Bytes,
    start: usize,
    end: usize,
}

impl Entry {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    fn frame(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The frame from `from` on, for a connection that keeps it until its sink takes bytes again. Out of a run it is
    /// copied: a reference would keep the whole run alive, for each stalled reader another.
    pub(super) fn rest(&self, from: usize) -> Bytes {
        let rest = self.start + from..self.end;
        if self.buffer.len() == self.len() {
            self.buffer.slice(rest)
        } else {
            Bytes::copy_from_slice(&self.buffer[rest])
        }
    }

    /// True if `next` lies right behind in the same buffer.
    fn adjoins(&self, next: &Self) -> bool {
        self.end == next.start && self.buffer.as_ptr() == next.buffer.as_ptr() && self.buffer.len() == next.buffer.len()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    bytes: usize,
    sets: Sets,
}

impl Window {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number the next entry will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, position: u64, recipients: Recipients, frame: Bytes) {
        self.bytes += frame.len();
        let end = frame.len();
        self.sets.enter(&recipients);
        self.entries.push_back(Entry { position, recipients, buffer: frame, start: 0, end });
        // The newest entry stays whatever its size: it must be deliverable.
        while self.is_over() && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.len();
                self.sets.leave(&oldest.recipients);
                self.first += 1;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > WINDOW_BYTES || self.sets.bytes() > WINDOW_SETS_BYTES || self.entries.len() > WINDOW_ENTRIES
    }

    /// Copies the entries from number `from` on into one buffer, if all of them are broadcasts of modest size.
    pub(super) fn join_run(&mut self, from: u64) {
        let from = from.max(self.first);
        let start = (from - self.first) as usize;
        let count = self.entries.len() - start;
        if count < 2 {
            return;
        }
        let run = self.entries.range(start..);
        let bytes: usize = run.clone().map(Entry::len).sum();
        if bytes / count > JOIN_MEAN_BYTES {
            return;
        }
        let mut buffer = Vec::with_capacity(bytes);
        run.for_each(|entry| buffer.extend_from_slice(entry.frame()));
        let buffer = Bytes::from(buffer);
        let mut at = 0;
        for entry in self.entries.range_mut(start..) {
            let len = entry.len();
            entry.buffer = buffer.clone();
            (entry.start, entry.end) = (at, at + len);
            at += len;
        }
    }

    /// The position of the entry before number `next`.
    pub(super) fn position_before(&self, next: u64) -> Option<u64> {
        let index = next.checked_sub(self.first)?.checked_sub(1)?;
        self.entries.get(index as usize).map(|entry| entry.position)
    }

    /// Entries from number `from` on.
    pub(super) fn entries_from(&self, from: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range((from - self.first) as usize..)
    }

    /// The frame of an entry.
    pub(super) fn frame(&self, number: u64) -> Option<&[u8]> {
        self.entries.get(number.checked_sub(self.first)? as usize).map(Entry::frame)
    }

    /// Lists the frames for `slot` from number `from` on, until `bytes` are reached. Returns the number to go on with.
    pub(super) fn list(&self, slot: u32, from: u64, bytes: usize, frames: &mut Frames) -> u64 {
        frames.clear(Source::Window);
        let mut number = from;
        for entry in self.entries_from(from) {
            if entry.recipients.contains(slot) {
                frames.push(number, entry.len());
                frames.shared &= !matches!(entry.recipients, Recipients::One(_));
            }
            number += 1;
            if frames.bytes >= bytes {
                break;
            }
        }
        number
    }

    /// Calls `take` with slices of neighbouring frames for `slot`, from number `from` on, until it returns false
    /// or `bytes` are reached. Returns the number to go on with, and how many frames were taken.
    pub(super) fn gather<'a>(
        &'a self,
        slot: u32,
        from: u64,
        bytes: usize,
        mut take: impl FnMut(&'a [u8]) -> bool,
    ) -> (u64, u32) {
        let mut number = from;
        let (mut taken, mut total) = (0, 0);
        let mut run: Option<(&Entry, &Entry, u32)> = None;
        for entry in self.entries_from(from) {
            if !entry.recipients.contains(slot) {
                number += 1;
                continue;
            }
            run = match run {
                Some((first, last, count)) if last.adjoins(entry) => Some((first, entry, count + 1)),
                Some((first, last, count)) => {
                    taken += count;
                    if !take(&first.buffer[first.start..last.end]) {
                        return (number, taken);
                    }
                    Some((entry, entry, 1))
                }
                None => Some((entry, entry, 1)),
            };
            number += 1;
            total += entry.len();
            if total >= bytes {
                break;
            }
        }
        if let Some((first, last, count)) = run {
            taken += count;
            take(&first.buffer[first.start..last.end]);
        }
        (number, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_joined_run_is_one_slice_and_the_same_bytes() {
        let mut window = Window::default();
        window.push(1, Recipients::One(7), Bytes::from_static(b"one"));
        let from = window.end();
        for (position, text) in [(2, "a"), (3, "bb"), (4, "ccc")] {
            window.push(position, Recipients::All, Bytes::from_static(text.as_bytes()));
        }
        window.join_run(from);
        window.push(5, Recipients::All, Bytes::from_static(b"z"));
        let collect = |slot| {
            let mut slices = Vec::new();
            let (next, taken) = window.gather(slot, 0, 1 << 20, |slice| {
                slices.push(String::from_utf8(slice.to_vec()).unwrap());
                true
            });
            (slices.join("|"), next, taken)
        };
        assert_eq!(collect(7), ("one|abbccc|z".into(), 5, 5));
        assert_eq!(collect(8), ("abbccc|z".into(), 5, 4));
    }

    #[test]
    fn a_full_gather_goes_on_where_it_stopped() {
        let mut window = Window::default();
        for position in 1..=5 {
            window.push(position, Recipients::All, Bytes::from_static(b"12345"));
        }
        let mut slices = 0;
        let (next, taken) = window.gather(0, 0, 1 << 20, |_| {
            slices += 1;
            slices < 2
        });
        assert_eq!((slices, next, taken), (2, 2, 2));
        let (next, taken) = window.gather(0, next, 6, |_| true);
        assert_eq!((next, taken), (4, 2), "stops at the byte that reaches the budget");
    }

    /// Each connect and disconnect between two records of a topic makes another set.
    #[test]
    fn sets_of_recipients_keep_to_their_bound_and_a_shared_one_counts_once() {
        let set = || Recipients::Many(Arc::new((0..1_000_000).step_by(5).collect()));
        let mut window = Window::default();
        let shared = set();
        for position in 1..=2_000 {
            window.push(position, shared.clone(), Bytes::from_static(b"x"));
        }
        assert_eq!((window.first(), window.end()), (0, 2_000), "nothing was dropped for a set that is there once");
        let one = window.sets.bytes();
        assert!((100_000..200_000).contains(&one), "{one}");
        for position in 2_001..=2_400 {
            window.push(position, set(), Bytes::from_static(b"x"));
        }
        assert_eq!(window.entries.len(), WINDOW_SETS_BYTES / one);
        assert_eq!(window.sets.bytes(), window.entries.len() * one);
        for position in 2_401..=2_401 + WINDOW_ENTRIES as u64 {
            window.push(position, Recipients::All, Bytes::from_static(b"x"));
        }
        assert_eq!(window.sets.bytes(), 0);
    }

    /// A hundred stalled readers, each cut in another run, kept a hundred runs alive.
    #[test]
    fn the_rest_of_a_frame_keeps_no_run_alive() {
        let mut window = Window::default();
        for position in 1..=100 {
            window.push(position, Recipients::All, Bytes::from(vec![b'x'; 1_000]));
        }
        window.join_run(0);
        let entry = window.entries_from(50).next().unwrap();
        let rest = entry.rest(400);
        assert_eq!(rest.len(), 600);
        let run = entry.buffer.as_ptr_range();
        assert!(!run.contains(&rest.as_ptr()), "copied out of the run");
    }
}
