//! One connection as its shard sees it, and the pages they live in.
//!
//! The size of this state is the price of an idle subscriber; a test in `mod.rs` pins it.

use crate::config::SlowPolicy;
use crate::control::Disconnect;
use bytes::Bytes;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has everything up to the shard's applied position.
    Clean,
    /// It has everything up to `position`, and goes on with number `next` in the window.
    Dirty { next: u64, position: u64 },
    /// It fell out of the window, or resumes: it has everything up to `position`, and reads the log.
    Lagging { position: u64 },
    /// It was slow and skips to the present: it has everything up to `position`, and is owed the `$gap`.
    Skipping { position: u64 },
}

/// Bytes that go before everything else: a greeting, or the rest of a frame or of a compressed block that was cut.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) bytes: Bytes,
    /// Application events that this completes: of a frame 1, of a compressed block all that are in it.
    pub(super) events: u32,
}

#[derive(Debug)]
pub(super) struct Conn<S> {
    pub(super) sink: Option<S>,
    pub(super) unsent: Option<Box<Unsent>>,
    pub(super) progress: Progress,
    pub(super) generation: u32,
    pub(super) flags: Flags,
    /// Registered at, in ticks.
    pub(super) opened_at: u32,
    /// Has taken no byte since, in ticks; 0 if it took everything.
    pub(super) blocked_at: u32,
    pub(super) events: u32,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, one byte each")]
pub(super) struct Flags {
    pub(super) waits: Waits,
    /// The ready lists it is in, a bit each.
    pub(super) queued: u8,
    /// When it was last visited, in [`visit_ticks`].
    pub(super) visited_at: u8,
    pub(super) ping_due: bool,
    pub(super) comment_heartbeat: bool,
    /// Its stream is compressed.
    pub(super) gzip: bool,
    /// A resumed connection hears a ping as soon as it has caught up; set until it has.
    pub(super) ping_when_clean: bool,
    pub(super) slow_policy: SlowPolicy,
}

/// What a connection waits for before it can be written to again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Waits {
    #[default]
    No,
    /// What comes next is being read from disk.
    Disk,
    /// The sink was full, and has not said yet that it takes more.
    Sink,
}

/// Long times are kept in tenths of a second, in 32 bits: good for thirteen years.
pub(super) fn ticks(mono_ms: u64) -> u32 {
    (mono_ms / 100) as u32
}

/// Pairs of milliseconds, in the eight bits there are for them. They come round in half a second: of those who were visited
/// longer ago, one in 128 looks as if it had been just now.
pub(super) fn visit_ticks(mono_ms: u64) -> u8 {
    (mono_ms / 2) as u8
}

/// Milliseconds between a tick and now.
pub(super) fn since(tick: u32, mono_ms: u64) -> u64 {
    u64::from(ticks(mono_ms).saturating_sub(tick)) * 100
}

impl<S> Conn<S> {
    pub(super) fn new(generation: u32, progress: Progress, flags: Flags, mono_ms: u64) -> Self {
        Self {
            sink: None,
            unsent: None,
            progress,
            generation,
            flags,
            opened_at: ticks(mono_ms),
            blocked_at: 0,
            events: 0,
            bytes: 0,
        }
    }

    /// True if it was visited in the last two to four milliseconds.
    pub(super) fn is_busy(&self, now_ticks: u8) -> bool {
        now_ticks.wrapping_sub(self.flags.visited_at) < 2
    }

    /// True if a visit can do something for it.
    pub(super) fn can_write(&self) -> bool {
        self.sink.is_some() && self.flags.waits == Waits::No
    }
}

const PAGE: usize = 256;

/// Connections by local index: page after page, so that growing moves nothing.
#[derive(Debug)]
pub(super) struct Conns<S> {
    pages: Vec<Box<[Option<Conn<S>>]>>,
    len: usize,
}

impl<S> Conns<S> {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One past the highest index there is room for.
    pub(super) fn end(&self) -> usize {
        self.pages.len() * PAGE
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Conn<S>> {
        self.pages.get_mut(index / PAGE)?[index % PAGE].as_mut()
    }

    pub(super) fn insert(&mut self, index: usize, conn: Conn<S>) {
        while self.pages.len() <= index / PAGE {
            self.pages.push((0..PAGE).map(|_| None).collect());
        }
        if self.pages[index / PAGE][index % PAGE].replace(conn).is_none() {
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Conn<S>> {
        let conn = self.pages.get_mut(index / PAGE)?[index % PAGE].take();
        self.len -= usize::from(conn.is_some());
        conn
    }

    /// Every connection with its index.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Conn<S>)> {
        self.pages
            .iter_mut()
            .flat_map(|page| page.iter_mut())
            .enumerate()
            .filter_map(|(index, conn)| Some((index, conn.as_mut()?)))
    }
}

/// How a connection ended, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Its name.
    pub client_id: crate::ClientId,
    /// Why.
    pub reason: Disconnect,
    /// How long it was registered.
    pub duration_ms: u64,
    /// Application events handed to its sink.
    pub events: u32,
    /// Bytes handed to its sink.
    pub bytes: u64,
}
