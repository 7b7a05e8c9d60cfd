//! Slow readers: who is one, and what its policy makes of it.
//!
//! A reader is slow if it fell out of the window while its own socket had not taken everything. One that falls out with
//! a socket that took all it was offered met a burst larger than the window, or a shard with too much to do; like one
//! whose inbox ran over, it goes on from the log whatever its policy.

use super::Shard;
use super::conn::Progress;
use super::visit::after_catching_up;
use crate::config::SlowPolicy;
use crate::control::{Disconnect, GapReason};
use crate::dropped::Loss;
use crate::hub::ReadFor;
use crate::log::ReadLimit;
use crate::sink::{Sink, Token};
use crate::time::Now;
use std::io;

impl<S: Sink> Shard<S> {
    /// Decides once for each fall out of the window how a connection goes on; `Some` if it must end.
    pub(super) fn fell_behind(&mut self, local: usize) -> Option<Disconnect> {
        let first = self.window.first();
        let conn = self.conns.get_mut(local)?;
        let Progress::Dirty { next, position } = conn.progress else {
            return None;
        };
        if next >= first {
            return None;
        }
        let counters = &self.hub.inner.ports[self.index].counters;
        // Zero if the last write took everything, or if there was none yet.
        let slow = conn.blocked_at != 0;
        let policy = conn.flags.slow_policy;
        if slow {
            counters.slow_readers[policy.index()].add(1);
        }
        match policy {
            SlowPolicy::Disconnect if slow => return Some(Disconnect::Slow),
            SlowPolicy::Gap if slow => conn.progress = Progress::Skipping { position },
            _ => {
                conn.progress = Progress::Lagging { position };
                counters.lagged.add(1);
            }
        }
        None
    }

    /// Skips to the present: the rest of a cut frame, then the `$gap`, and nothing between. Until the gap is begun the
    /// connection stays where it is, so that the gap reaches as far as it can when the sink takes bytes again.
    pub(super) fn skip(&mut self, token: Token, local: usize, position: u64, now: Now) -> io::Result<()> {
        let applied = self.applied;
        // One record of its own is enough to know that it misses something.
        let limit = ReadLimit { upto: applied, bytes: 0, records: 1 };
        let mut read = core::mem::take(&mut self.read);
        let found = self.hub.read_for(token, position, limit, &mut self.keys, &mut read);
        let kept = !read.is_empty();
        read.clear();
        self.read = read;
        let missed = match found {
            // Forgotten by the hub: the message that ends it is in the inbox.
            ReadFor::Gone => return Ok(()),
            ReadFor::Found { loss, .. } => kept || loss != Loss::Nothing,
            // Something of its own was pending when it fell out. The disk would say whether that was ephemeral, and
            // nothing else was for it; that is not worth a read.
            ReadFor::Cold => true,
        };
        if position < applied && missed {
            return self.write_log(local, position, Some((applied, GapReason::Slow)), applied, &[], now);
        }
        // Others' events pushed it out, or ephemeral ones: there is no gap to tell.
        if let Some(conn) = self.conns.get_mut(local) {
            conn.progress = Progress::Clean;
            after_catching_up(conn, false);
        }
        self.visit_clean(local, now)
    }
}
