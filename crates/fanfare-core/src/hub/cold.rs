//! Reads from disk for connections that lag: asked for by shards, done by whoever has time, never in a shard's thread.
//!
//! Each connection asks for one chunk at a time, when its sink takes bytes; a bounded number of chunks is on its way to
//! the shards. So ten thousand resuming clients cost a place in a queue each, and live delivery goes on between two
//! chunks.

use super::Hub;
use crate::disk::{Condition, DiskLog, Queue};
use crate::limits::{COLD_READS, VISIT_BYTES, VISIT_SLICES};
use crate::log::ReadLimit;
use crate::mail::Message;
use crate::sink::Token;
use crate::sync::{Mutex, lock};
use crate::time::Now;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The log on disk, as the hub uses it.
pub(crate) struct OnDisk {
    pub(crate) log: Arc<DiskLog>,
    pub(crate) queue: Arc<Queue>,
    pub(super) cold: ColdReads,
}

/// A chunk that a connection waits for: above `position`, and not beyond `upto`.
struct Wanted {
    token: Token,
    position: u64,
    upto: u64,
}

#[derive(Default)]
pub(super) struct ColdReads(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wanted: VecDeque<Wanted>,
    /// Chunks that are being read, or wait in an inbox.
    under_way: usize,
}

impl<S> Hub<S> {
    /// Asks for a chunk; it comes as a message.
    pub(crate) fn want_cold(&self, token: Token, position: u64, upto: u64) {
        let Some(disk) = &self.inner.disk else { return };
        lock(&disk.cold.0).wanted.push_back(Wanted { token, position, upto });
        disk.queue.wake_readers();
    }

    /// A chunk came to its shard.
    pub(crate) fn cold_arrived(&self) {
        let Some(disk) = &self.inner.disk else { return };
        let more = {
            let mut waiting = lock(&disk.cold.0);
            waiting.under_way -= 1;
            !waiting.wanted.is_empty()
        };
        if more {
            disk.queue.wake_readers();
        }
    }

    /// Reads one chunk from disk for a connection that waits for it. False if there is nothing to do now. Blocks on
    /// the disk; call it from a thread of its own, several if you like.
    pub fn read_cold(&self) -> bool {
        let Some(disk) = &self.inner.disk else { return false };
        let Wanted { token, position, upto } = {
            let mut waiting = lock(&disk.cold.0);
            if waiting.under_way >= COLD_READS {
                return false;
            }
            let Some(wanted) = waiting.wanted.pop_front() else { return false };
            waiting.under_way += 1;
            wanted
        };
        // As it is now, not as it was when it asked.
        let mut keys = Vec::new();
        if !self.keys_of(token, &mut keys) {
            self.cold_arrived();
            return true;
        }
        let client = self.client_key(token.slot(), token.generation());
        let limit = ReadLimit { upto, bytes: VISIT_BYTES, records: VISIT_SLICES - 2 };
        let chunk = disk.log.read(&keys, Some(client), position, limit);
        self.send(token.slot(), Message::Cold { token, position, chunk });
        true
    }

    /// Drops what is beyond the bounds, and writes the index of one segment that is complete. False if there is none to
    /// write. Blocks on the disk; call it every second, and whenever the threads that read are woken.
    ///
    /// # Errors
    ///
    /// Whatever the disk says to the index. Nothing is lost by it, and it is worth another try after the next segment.
    pub fn maintain(&self, now: Now) -> io::Result<bool> {
        let Some(disk) = &self.inner.disk else { return Ok(false) };
        if disk.queue.condition() == Condition::Failed {
            return Ok(false);
        }
        if let Err(error) = disk.log.enforce(now) {
            disk.queue.fail(error);
            return Ok(false);
        }
        disk.log.seal_one()
    }

    /// Sets how to wake the threads that drive the writer, and those that call [`Hub::read_cold`] and [`Hub::maintain`].
    /// Only the first call counts.
    pub fn set_disk_wakes(
        &self,
        writer: impl Fn() + Send + Sync + 'static,
        readers: impl Fn() + Send + Sync + 'static,
    ) {
        if let Some(disk) = &self.inner.disk {
            disk.queue.set_wakes(Box::new(writer), Box::new(readers));
        }
    }

    /// How the disk is; ok without one.
    pub fn disk_condition(&self) -> Condition {
        self.inner.disk.as_ref().map_or(Condition::Ok, |disk| disk.queue.condition())
    }

    /// What made the disk fail, once.
    pub fn take_disk_error(&self) -> Option<io::Error> {
        self.inner.disk.as_ref()?.queue.take_error()
    }
}
