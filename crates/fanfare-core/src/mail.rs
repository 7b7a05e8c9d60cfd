//! What travels from the hub to a shard, and the shard's door.

use crate::config::SlowPolicy;
use crate::control::Disconnect;
use crate::directory::Recipients;
use crate::disk::Chunk;
use crate::gzip::Member;
use crate::inbox::{Inbox, Queue};
use crate::limits::{INBOX_BYTES, INBOX_RECORDS, INBOX_SETS_BYTES};
use crate::sets::Sets;
use crate::sink::Token;
use crate::stats::ShardCounters;
use bytes::Bytes;
use core::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::OnceLock;

/// Options of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// Heartbeats as comments, which scripts do not see, instead of `ping` events.
    pub comment_heartbeat: bool,
    /// What becomes of it where it is slow; `None` is as the hub's settings say.
    pub slow_policy: Option<SlowPolicy>,
}

/// A connection that was just registered.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// What it has.
    pub(crate) position: u64,
    /// The log's tail when it was registered.
    pub(crate) tail: u64,
    /// When it was registered.
    pub(crate) opened_ms: u64,
    /// It came with a cursor that was honoured.
    pub(crate) resumes: bool,
    pub(crate) options: ConnectionOptions,
}

/// What a shard finds in its inbox.
#[derive(Debug)]
pub(crate) enum Message<S> {
    Add(Arrival),
    Attach {
        token: Token,
        sink: S,
        greeting: Bytes,
        /// What the greeting says so far as a gzip stream; `None` if it is none.
        member: Option<Member>,
    },
    Close {
        token: Token,
        reason: Disconnect,
    },
    /// A chunk that was read from disk, above `position`.
    Cold {
        token: Token,
        position: u64,
        chunk: Chunk,
    },
    Drain {
        reason: Disconnect,
        window_ms: u64,
    },
    Record {
        position: u64,
        frame: Bytes,
        recipients: Recipients,
        quick: bool,
    },
    /// Records from here on were not put in, for want of room: they are in the log.
    Skipped,
    Writable {
        token: Token,
    },
}

#[derive(Debug)]
pub(crate) struct Mail<S> {
    pub(crate) messages: Vec<Message<S>>,
    records: usize,
    bytes: usize,
    sets: Sets,
    skipping: bool,
    /// The last position that was left out.
    pub(crate) skipped_to: u64,
}

impl<S> Default for Mail<S> {
    fn default() -> Self {
        Self { messages: Vec::new(), records: 0, bytes: 0, sets: Sets::default(), skipping: false, skipped_to: 0 }
    }
}

impl<S> Queue for Mail<S> {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl<S> Mail<S> {
    /// An empty one that uses the memory of `messages` again.
    pub(crate) fn reusing(messages: Vec<Message<S>>) -> Self {
        debug_assert!(messages.is_empty());
        Self { messages, ..Self::default() }
    }

    pub(crate) fn put_record(&mut self, position: u64, frame: Bytes, recipients: Recipients, quick: bool) {
        let full =
            || self.records >= INBOX_RECORDS || self.bytes >= INBOX_BYTES || self.sets.bytes() >= INBOX_SETS_BYTES;
        if !self.skipping && full() {
            self.skipping = true;
            self.messages.push(Message::Skipped);
        }
        if self.skipping {
            self.skipped_to = position;
            return;
        }
        self.records += 1;
        self.bytes += frame.len();
        self.sets.enter(&recipients);
        self.messages.push(Message::Record { position, frame, recipients, quick });
    }
}

pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// A shard as everybody else sees it.
pub(crate) struct Port<S> {
    pub(crate) inbox: Inbox<Mail<S>>,
    /// The log's tail, stored under the release lock after the inbox was filled: a shard that reads it and then
    /// empties its inbox has everything up to it.
    pub(crate) tail: AtomicU64,
    pub(crate) counters: ShardCounters,
    /// A record for few connections is in the inbox: large fan-outs stand back for it.
    pub(crate) urgent: AtomicBool,
    wake: OnceLock<Wake>,
}

impl<S> Default for Port<S> {
    fn default() -> Self {
        Self {
            inbox: Inbox::new(),
            tail: AtomicU64::new(0),
            counters: ShardCounters::default(),
            urgent: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }
}

impl<S> Port<S> {
    /// Sets how to end the owner's sleep. Only the first call counts.
    pub(crate) fn set_wake(&self, wake: Wake) {
        _ = self.wake.set(wake);
    }

    pub(crate) fn wake_if_asleep(&self) {
        if self.inbox.claim_wake()
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::NoSink;
    use std::sync::Arc;

    /// Each connect and disconnect between two records of a topic makes another set.
    #[test]
    fn sets_of_recipients_keep_to_their_bound_and_a_shared_one_counts_once() {
        let set = || Recipients::Many(Arc::new((0..1_000_000).step_by(5).collect()));
        let put = |mail: &mut Mail<NoSink>, position, recipients| {
            mail.put_record(position, Bytes::from_static(b"x"), recipients, false);
        };
        let (one, other) = (set(), set());
        let mut mail = Mail::default();
        for position in 1..=2_000 {
            put(&mut mail, position, if position % 2 == 0 { one.clone() } else { other.clone() });
        }
        assert_eq!((mail.records, mail.skipped_to), (2_000, 0), "nothing is left out for two sets");
        let each = mail.sets.bytes() / 2;
        for position in 2_001..=2_400 {
            put(&mut mail, position, set());
        }
        assert_eq!(mail.records - 2_000, INBOX_SETS_BYTES.div_ceil(each) - 2);
        assert_eq!(mail.skipped_to, 2_400, "the rest is in the log");
    }
}
