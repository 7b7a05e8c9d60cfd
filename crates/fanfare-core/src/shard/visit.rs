//! Visits: everything pending for one connection, up to a bound, in one write.
//!
//! For a compressed connection that is one block, begun or not begun: once a byte of it has gone out the rest must follow,
//! and is kept by the connection as the rest of a cut frame is.

use super::Shard;
use super::conn::{Conn, Progress, Unsent, Waits, ticks, visit_ticks};
use super::packed::Source;
use super::window::Window;
use crate::control::{Disconnect, GapReason, gap_frame};
use crate::disk::Chunk;
use crate::dropped::Loss;
use crate::gzip::Block;
use crate::hub::ReadFor;
use crate::limits::{VISIT_BYTES, VISIT_SLICES};
use crate::log::ReadLimit;
use crate::sink::{Sink, Token};
use crate::time::Now;
use bytes::Bytes;
use std::io::{self, IoSlice};

/// Most records that a compressed connection reads from the log at once: they become one block, not slices.
const PACKED_RECORDS: usize = 256;
/// Room for slices in a first try.
const FEW_SLICES: usize = 4;

/// What one write achieved.
struct Written {
    bytes: usize,
    full: bool,
}

impl<S: Sink> Shard<S> {
    pub(super) fn visit_queued(&mut self, slot: u32, now: Now, list: u8) {
        let local = self.local(slot);
        if let Some(conn) = self.conns.get_mut(local) {
            conn.flags.queued &= !list;
            conn.flags.visited_at = visit_ticks(now.mono_ms);
            self.visit(slot, now);
        }
    }

    /// Asks whether a connection is slow; if that does not end it, writes what is pending.
    pub(super) fn visit(&mut self, slot: u32, now: Now) {
        let local = self.local(slot);
        if let Some(reason) = self.fell_behind(local)
            && let Some(conn) = self.conns.get_mut(local)
        {
            let token = Token::new(slot, conn.generation);
            return self.end(token, reason, now);
        }
        self.write_pending(slot, now);
    }

    /// Writes what is pending for a connection, if anything is and the sink takes it.
    pub(super) fn write_pending(&mut self, slot: u32, now: Now) {
        let local = self.local(slot);
        let window_first = self.window.first();
        let Some(conn) = self.conns.get_mut(local) else {
            return;
        };
        if !conn.can_write() {
            return;
        }
        let token = Token::new(slot, conn.generation);
        let done = match conn.progress {
            Progress::Clean => self.visit_clean(local, now),
            Progress::Dirty { next, .. } if next >= window_first => {
                if conn.flags.gzip {
                    self.visit_window_packed(slot, local, next, now)
                } else {
                    self.visit_window(slot, local, next, now)
                }
            }
            Progress::Dirty { position, .. } | Progress::Lagging { position } => {
                self.visit_log(token, local, position, now)
            }
            Progress::Skipping { position } => self.skip(token, local, position, now),
        };
        if done.is_err() {
            self.end(token, Disconnect::Error, now);
            return;
        }
        let Some(conn) = self.conns.get_mut(local) else {
            return;
        };
        let pending = conn.progress != Progress::Clean || conn.unsent.is_some() || conn.flags.ping_due;
        if pending && conn.can_write() {
            self.enqueue(slot, false);
        }
    }

    /// Nothing but what is left of the greeting or of a cut frame, or a heartbeat.
    pub(super) fn visit_clean(&mut self, local: usize, now: Now) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(());
        };
        if conn.unsent.is_some() {
            return self.write_unsent(local, now).map(drop);
        }
        if !core::mem::take(&mut conn.flags.ping_due) {
            return Ok(());
        }
        let (comment, gzip) = (conn.flags.comment_heartbeat, conn.flags.gzip);
        let heartbeat = self.heartbeat(now);
        let begun = if gzip {
            let block = heartbeat.block(comment).clone();
            self.write_block(local, &block, 0, now)?
        } else {
            let frame = heartbeat.frame(comment).clone();
            self.write_heartbeat(local, &frame, now)?
        };
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(());
        };
        if begun {
            conn.flags.ping_when_clean = false;
            self.port().counters.pings_sent.add(1);
        } else {
            // Nothing of it went out, so it is due still.
            conn.flags.ping_due = true;
        }
        Ok(())
    }

    fn write_heartbeat(&mut self, local: usize, frame: &Bytes, now: Now) -> io::Result<bool> {
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(false);
        };
        let written = write(conn, &[IoSlice::new(frame)], now)?;
        if !written.full && written.bytes > 0 {
            conn.unsent = Some(Box::new(Unsent { bytes: frame.slice(written.bytes..), events: 0 }));
        }
        self.count(local, written.bytes, 0);
        Ok(written.bytes > 0)
    }

    fn has_unsent(&mut self, local: usize) -> bool {
        self.conns.get_mut(local).is_some_and(|conn| conn.unsent.is_some())
    }

    /// What goes before everything else. True if nothing is left of it.
    fn write_unsent(&mut self, local: usize, now: Now) -> io::Result<bool> {
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(false);
        };
        let Some(unsent) = &conn.unsent else {
            return Ok(true);
        };
        let bytes = unsent.bytes.clone();
        let written = write(conn, &[IoSlice::new(&bytes)], now)?;
        let (_, events) = settle_unsent(conn, written.bytes);
        self.count(local, written.bytes, events);
        Ok(written.full)
    }

    /// What goes before everything else, and a block behind it. True if the block was begun: what the sink left of it is
    /// then what goes first.
    fn write_block(&mut self, local: usize, block: &Block, events: u32, now: Now) -> io::Result<bool> {
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(false);
        };
        let unsent = conn.unsent.as_ref().map(|unsent| unsent.bytes.clone());
        let slice = IoSlice::new(&block.bytes);
        let written = match &unsent {
            Some(unsent) => write(conn, &[IoSlice::new(unsent), slice], now)?,
            None => write(conn, &[slice], now)?,
        };
        let (taken, mut completed) = settle_unsent(conn, written.bytes);
        if taken == block.bytes.len() {
            completed += events;
        } else if taken > 0 {
            // A copy, or each of many stalled readers would keep another block alive.
            let bytes = Bytes::copy_from_slice(&block.bytes[taken..]);
            conn.unsent = Some(Box::new(Unsent { bytes, events }));
        }
        if taken > 0 {
            self.packer.member(local).add(block);
        }
        self.count(local, written.bytes, completed);
        Ok(taken > 0)
    }

    /// From the window, as one block for everybody who goes on with the same frames.
    fn visit_window_packed(&mut self, slot: u32, local: usize, from: u64, now: Now) -> io::Result<()> {
        let next = self.window.list(slot, from, VISIT_BYTES, &mut self.frames);
        let events = self.frames.count;
        let heard = events > 0 || self.has_unsent(local);
        let done = if events > 0 {
            let block = self.packer.pack(&self.frames, self.frames.numbers().filter_map(|at| self.window.frame(at)));
            self.write_block(local, &block, events, now)?
        } else {
            self.write_unsent(local, now)?
        };
        if let Some(conn) = self.conns.get_mut(local).filter(|_| done) {
            move_to(conn, next, &self.window);
            if conn.progress == Progress::Clean {
                after_catching_up(conn, heard);
            }
        }
        Ok(())
    }

    /// From the window: frames are not copied, and neighbours in a run are one slice.
    fn visit_window(&mut self, slot: u32, local: usize, from: u64, now: Now) -> io::Result<()> {
        // One slice is the usual, and room for many costs more than everything else here.
        if self.write_window::<FEW_SLICES>(slot, local, from, now)? {
            return Ok(());
        }
        self.write_window::<VISIT_SLICES>(slot, local, from, now)?;
        Ok(())
    }

    /// False if there are as many slices as there is room for, fewer than a write may have: nothing was written.
    fn write_window<const ROOM: usize>(&mut self, slot: u32, local: usize, from: u64, now: Now) -> io::Result<bool> {
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(true);
        };
        let unsent = conn.unsent.as_ref().map(|unsent| unsent.bytes.clone());
        let mut slices = [IoSlice::new(&[]); ROOM];
        let mut used = 0;
        if let Some(bytes) = &unsent {
            slices[0] = IoSlice::new(bytes);
            used = 1;
        }
        let (next, taken) = self.window.gather(slot, from, VISIT_BYTES, |slice| {
            slices[used] = IoSlice::new(slice);
            used += 1;
            used < ROOM
        });
        if used == ROOM && ROOM < VISIT_SLICES {
            return Ok(false);
        }
        if used == 0 {
            move_to(conn, next, &self.window);
            return Ok(true);
        }
        let written = write(conn, &slices[..used], now)?;
        let (rest, mut events) = settle_unsent(conn, written.bytes);
        if written.full {
            events += taken;
            move_to(conn, next, &self.window);
        } else if conn.unsent.is_none() {
            events += settle_window(conn, slot, from, rest, &self.window);
        }
        if conn.progress == Progress::Clean {
            after_catching_up(conn, written.bytes > 0);
        }
        self.count(local, written.bytes, events);
        Ok(true)
    }

    /// From the log: one bounded read, one write.
    fn visit_log(&mut self, token: Token, local: usize, position: u64, now: Now) -> io::Result<()> {
        let mut read = core::mem::take(&mut self.read);
        let packed = self.conns.get_mut(local).is_some_and(|conn| conn.flags.gzip);
        let records = if packed { PACKED_RECORDS } else { VISIT_SLICES - 2 };
        let limit = ReadLimit { upto: self.applied, bytes: VISIT_BYTES, records };
        let found = self.hub.read_for(token, position, limit, &mut self.keys, &mut read);
        let result = match found {
            ReadFor::Found { loss, reached } => {
                let gap = match loss {
                    Loss::Nothing => None,
                    Loss::GapUntil(end) => Some((end, GapReason::Retention)),
                };
                self.write_log(local, position, gap, reached, &read, now)
            }
            ReadFor::Cold => self.read_cold(token, local, position, now),
            // Forgotten by the hub: the message that ends it is in the inbox.
            ReadFor::Gone => Ok(()),
        };
        read.clear();
        self.read = read;
        result
    }

    /// What it needs is on disk, and is asked for as soon as the sink has taken what goes before.
    fn read_cold(&mut self, token: Token, local: usize, position: u64, now: Now) -> io::Result<()> {
        if self.write_unsent(local, now)?
            && let Some(conn) = self.conns.get_mut(local)
        {
            conn.flags.waits = Waits::Disk;
            self.hub.want_cold(token, position, self.applied);
        }
        Ok(())
    }

    /// What was asked for has been read.
    pub(super) fn cold_arrived(&mut self, token: Token, position: u64, chunk: Chunk, now: Now) {
        self.hub.cold_arrived();
        let Some(conn) = self.conn(token) else { return };
        conn.flags.waits = Waits::No;
        if conn.progress == (Progress::Lagging { position }) && conn.can_write() {
            let Chunk { gap, frames, reached } = chunk;
            if self.write_log(self.local(token.slot()), position, gap, reached, &frames, now).is_err() {
                return self.end(token, Disconnect::Error, now);
            }
        }
        self.enqueue(token.slot(), false);
    }

    /// What is left of a cut frame, then a gap and where it ends, then what was read. With all of it the connection is
    /// complete up to `progress`; with none it stays as it is.
    pub(super) fn write_log(
        &mut self,
        local: usize,
        position: u64,
        gap: Option<(u64, GapReason)>,
        progress: u64,
        read: &[(u64, Bytes)],
        now: Now,
    ) -> io::Result<()> {
        let reason = gap.map(|(_, reason)| reason);
        let gap = gap.map(|(end, reason)| (end, gap_frame(self.hub.cursor_at(end), reason)));
        let packed = self.conns.get_mut(local).is_some_and(|conn| conn.flags.gzip);
        let LogWritten { reached, gap_told, heard } = if packed {
            self.write_log_packed(local, position, gap, progress, read, now)?
        } else {
            self.write_log_slices(local, position, gap, progress, read, now)?
        };
        let applied = self.applied;
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(());
        };
        // It may be beyond `applied`: where the log has dropped what this shard has yet to hear of, the gap reaches
        // that far. It is clean only once the shard is there too, or what is in the inbox would come behind the gap.
        if reached == applied {
            conn.progress = Progress::Clean;
        } else if reached != position {
            conn.progress = Progress::Lagging { position: reached };
        }
        if conn.progress == Progress::Clean {
            after_catching_up(conn, heard);
        }
        if let Some(reason) = reason.filter(|_| gap_told) {
            self.port().counters.gaps[reason.index()].add(1);
        }
        Ok(())
    }

    fn write_log_slices(
        &mut self,
        local: usize,
        position: u64,
        gap: Option<(u64, Bytes)>,
        progress: u64,
        read: &[(u64, Bytes)],
        now: Now,
    ) -> io::Result<LogWritten> {
        let mut reached = position;
        let mut gap_told = false;
        let Some(conn) = self.conns.get_mut(local) else {
            return Ok(LogWritten { reached, gap_told, heard: false });
        };
        let unsent = conn.unsent.as_ref().map(|unsent| unsent.bytes.clone());
        let mut slices = [IoSlice::new(&[]); VISIT_SLICES];
        let frames = unsent.iter().chain(gap.iter().map(|(_, frame)| frame)).chain(read.iter().map(|(_, frame)| frame));
        let mut used = 0;
        for frame in frames {
            slices[used] = IoSlice::new(frame);
            used += 1;
        }
        let written = if used > 0 { write(conn, &slices[..used], now)? } else { Written { bytes: 0, full: true } };
        let (mut rest, mut events) = settle_unsent(conn, written.bytes);
        if written.full {
            events += read.len() as u32;
            gap_told = gap.is_some();
            reached = progress;
        } else if conn.unsent.is_none() {
            let pieces = gap.iter().map(|(end, frame)| (*end, frame, 0)).chain(read.iter().map(|(p, f)| (*p, f, 1)));
            for (at, frame, event) in pieces {
                if rest == 0 {
                    break;
                }
                reached = at;
                gap_told |= event == 0;
                if rest < frame.len() {
                    conn.unsent = Some(Box::new(Unsent { bytes: frame.slice(rest..), events: event }));
                    break;
                }
                rest -= frame.len();
                events += event;
            }
        }
        self.count(local, written.bytes, events);
        Ok(LogWritten { reached, gap_told, heard: written.bytes > 0 })
    }

    /// The same as one block. Without a gap it is kept for the next connection: after a restart of the application
    /// thousands resume at the same place.
    fn write_log_packed(
        &mut self,
        local: usize,
        position: u64,
        gap: Option<(u64, Bytes)>,
        progress: u64,
        read: &[(u64, Bytes)],
        now: Now,
    ) -> io::Result<LogWritten> {
        let bytes = gap.iter().chain(read).map(|(_, frame)| &frame[..]);
        let something = gap.is_some() || !read.is_empty();
        let heard = something || self.has_unsent(local);
        let done = if something {
            let block = if gap.is_some() {
                self.packer.alone(bytes)
            } else {
                self.frames.clear(Source::Log);
                for (position, frame) in read {
                    self.frames.push(*position, frame.len());
                }
                self.packer.pack(&self.frames, bytes)
            };
            self.write_block(local, &block, read.len() as u32, now)?
        } else {
            self.write_unsent(local, now)?
        };
        let reached = if done { progress } else { position };
        Ok(LogWritten { reached, gap_told: done && gap.is_some(), heard: done && heard })
    }

    fn count(&mut self, local: usize, bytes: usize, events: u32) {
        let Some(conn) = self.conns.get_mut(local) else {
            return;
        };
        conn.events = conn.events.wrapping_add(events);
        conn.bytes += bytes as u64;
        let counters = &self.port().counters;
        counters.writes.add(1);
        counters.bytes_sent.add(bytes as u64);
        counters.events_sent.add(u64::from(events));
    }
}

/// What came of a write from the log.
struct LogWritten {
    /// How far the connection is complete.
    reached: u64,
    gap_told: bool,
    /// Some bytes went out.
    heard: bool,
}

/// One call of the sink. `WouldBlock` is a write of nothing; a short write blocks the connection.
fn write<S: Sink>(conn: &mut Conn<S>, slices: &[IoSlice<'_>], now: Now) -> io::Result<Written> {
    let Some(sink) = &mut conn.sink else {
        return Ok(Written { bytes: 0, full: false });
    };
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let bytes = match sink.write_vectored(slices) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    let full = bytes == total;
    if full {
        conn.blocked_at = 0;
    } else {
        conn.flags.waits = Waits::Sink;
        // A sink that says it is writable and then takes nothing has not moved: its time goes on.
        if bytes > 0 || conn.blocked_at == 0 {
            conn.blocked_at = ticks(now.mono_ms).max(1);
        }
    }
    Ok(Written { bytes, full })
}

/// Takes what was written off the bytes that go first. Returns the bytes written beyond them, and the
/// application events that this completed.
fn settle_unsent<S>(conn: &mut Conn<S>, written: usize) -> (usize, u32) {
    let Some(unsent) = &mut conn.unsent else {
        return (written, 0);
    };
    if written < unsent.bytes.len() {
        _ = unsent.bytes.split_to(written);
        return (0, 0);
    }
    let (rest, events) = (written - unsent.bytes.len(), unsent.events);
    conn.unsent = None;
    (rest, events)
}

/// After a short write from the window: finds the frame it ended in. Returns the frames completed.
fn settle_window<S>(conn: &mut Conn<S>, slot: u32, from: u64, written: usize, window: &Window) -> u32 {
    let mut rest = written;
    let mut events = 0;
    let mut next = from;
    for entry in window.entries_from(from) {
        if entry.recipients.contains(slot) {
            if rest == 0 {
                break;
            }
            if rest < entry.len() {
                conn.unsent = Some(Box::new(Unsent { bytes: entry.rest(rest), events: 1 }));
                next += 1;
                break;
            }
            rest -= entry.len();
            events += 1;
        }
        next += 1;
    }
    move_to(conn, next, window);
    events
}

/// Everything before number `next` is done with.
fn move_to<S>(conn: &mut Conn<S>, next: u64, window: &Window) {
    conn.progress = if next >= window.end() {
        Progress::Clean
    } else {
        let Progress::Dirty { next: before, position } = conn.progress else {
            return;
        };
        // Complete up to the entry before; where that is gone from the window nothing has moved.
        let position = if next > before { window.position_before(next).unwrap_or(position) } else { position };
        Progress::Dirty { next, position }
    };
}

/// A connection that just became clean: it is owed its first ping, or if it heard something no ping is due now.
pub(super) fn after_catching_up<S>(conn: &mut Conn<S>, heard: bool) {
    conn.flags.ping_due = conn.flags.ping_when_clean || (conn.flags.ping_due && !heard);
}
