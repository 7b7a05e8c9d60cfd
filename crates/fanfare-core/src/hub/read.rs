//! What can be read of a hub: history, connections, numbers.

use super::{Hub, Resume, Start};
use crate::cursor::Cursor;
use crate::directory::ClientInfo;
use crate::dropped::Loss;
use crate::key::{Key, Kind};
use crate::log::ReadLimit;
use crate::sink::Token;
use crate::stats::Stats;
use crate::target::{Identity, Name, Target};
use crate::time::Now;
use bytes::Bytes;

/// One page of history, as a reader with an identity may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whole frames, in order.
    pub frames: Vec<Bytes>,
    /// Where the next page begins.
    pub next: Cursor,
    /// The verdict on the start.
    pub resume: Resume,
}

/// What the log in memory says to a connection that lags.
pub(crate) enum ReadFor {
    /// What it lost, and how far it is with what was read.
    Found { loss: Loss, reached: u64 },
    /// What it needs is on disk.
    Cold,
    /// The hub does not know it any more.
    Gone,
}

impl<S> Hub<S> {
    /// The present.
    pub fn cursor(&self) -> Cursor {
        let guarded = self.lock();
        guarded.log.cursor(guarded.log.tail())
    }

    /// Reads history as an identity may see it: at most `records` events and about `bytes` bytes.
    ///
    /// Without a cursor ([`Start::Live`]) it begins with the oldest event, unless `from_now` says that the present
    /// was asked for by name.
    pub fn history(
        &self,
        identity: &Identity,
        start: Start,
        from_now: bool,
        records: usize,
        bytes: usize,
        now: Now,
    ) -> History {
        let mut keys = identity.keys(&self.inner.keyer);
        keys.sort_unstable();
        let start = if start == Start::Live && !from_now { Start::Earliest } else { start };
        let start = self.find_last(&keys, start);
        let mut guarded = self.lock();
        guarded.log.enforce(now.mono_ms);
        let (mut resume, _, position) = self.resolve(&guarded.log, &keys, start);
        let limit = ReadLimit { upto: guarded.log.tail(), bytes, records: records.max(1) };
        if let Some(disk) = &self.inner.disk
            && position < guarded.log.floor()
        {
            drop(guarded);
            let chunk = disk.log.read(&keys, None, position, limit);
            if chunk.gap.is_some() {
                resume = Resume::Gap;
            }
            let frames = chunk.frames.into_iter().map(|(_, frame)| frame).collect();
            return History { frames, next: self.cursor_at(chunk.reached), resume };
        }
        let mut read = Vec::new();
        let next = guarded.log.read(&keys, position, limit, &mut read);
        let next = guarded.log.cursor(next);
        History { frames: read.into_iter().map(|(_, frame)| frame).collect(), next, resume }
    }

    /// Reads for a connection that lags: what it lost, and what it gets next. See [`Log::read`].
    pub(crate) fn read_for(
        &self,
        token: Token,
        position: u64,
        limit: ReadLimit,
        keys: &mut Vec<Key>,
        out: &mut Vec<(u64, Bytes)>,
    ) -> ReadFor {
        let guarded = self.lock();
        if !guarded.directory.keys_of(token.slot(), token.generation(), keys) {
            return ReadFor::Gone;
        }
        if self.inner.disk.is_some() && position < guarded.log.floor() {
            return ReadFor::Cold;
        }
        let client = self.client_key(token.slot(), token.generation());
        let loss = guarded.log.loss(keys, Some(client), position);
        let from = position.max(guarded.log.floor());
        keys.push(client);
        keys.sort_unstable();
        let reached = if from < limit.upto { guarded.log.read(keys, from, limit, out) } else { from };
        ReadFor::Found { loss, reached }
    }

    /// The keys of a connection as it is now. False if it is gone.
    pub(crate) fn keys_of(&self, token: Token, keys: &mut Vec<Key>) -> bool {
        self.lock().directory.keys_of(token.slot(), token.generation(), keys)
    }

    /// Drops what is too old, also where nobody publishes or connects.
    pub(crate) fn expire(&self, now: Now) {
        self.lock().log.enforce(now.mono_ms);
    }

    pub(crate) fn cursor_at(&self, position: u64) -> Cursor {
        self.lock().log.cursor(position)
    }

    /// Connections from a slot on, at most `limit`; the second value is where to go on, `None` at the end.
    pub fn clients(&self, from: u32, limit: usize, user: Option<&Name>) -> (Vec<ClientInfo>, Option<u32>) {
        let guarded = self.lock();
        let mut found = Vec::new();
        let slots: Vec<u32> = match user {
            Some(user) => {
                let key = self.inner.keyer.key(Kind::User, "", user.as_str());
                let mut slots: Vec<u32> = guarded.directory.slots_of(key).into_iter().map(|(slot, _)| slot).collect();
                slots.sort_unstable();
                slots.into_iter().filter(|slot| *slot >= from).collect()
            }
            // Holes are skipped a bounded number at a time, so that the lock is not held for long.
            None => (from..guarded.directory.slots_end().min(from.saturating_add(20_000))).collect(),
        };
        for slot in &slots {
            if found.len() == limit {
                return (found, Some(*slot));
            }
            if let Some(mut info) = guarded.directory.info(*slot) {
                info.client_id.tag = self.client_tag(*slot, info.client_id.generation);
                found.push(info);
            }
        }
        let next =
            slots.last().map(|slot| slot + 1).filter(|next| user.is_none() && *next < guarded.directory.slots_end());
        (found, next)
    }

    /// Connections of one user.
    pub fn user_clients(&self, user: &Name) -> usize {
        self.count(&Target::User(user.clone()))
    }

    /// Counters and gauges, in one moment.
    pub fn stats(&self, now: Now) -> Stats {
        let guarded = self.lock();
        let mut stats = Stats {
            clients: guarded.directory.len(),
            mean_age_ms: guarded.directory.mean_age(now.mono_ms),
            published: guarded.published,
            last_event_at: guarded.last_event_at,
            refused: guarded.refused,
            log_records: guarded.log.records(),
            log_bytes: guarded.log.bytes(),
            floor: guarded.log.floor(),
            position: guarded.log.tail(),
            ..Stats::default()
        };
        drop(guarded);
        if let Some(disk) = &self.inner.disk {
            let size = disk.log.size();
            stats.log_records = size.records as usize;
            stats.log_bytes = size.bytes as usize;
            stats.log_segments = size.segments;
            stats.floor = disk.log.floor();
            stats.disk = Some(disk.queue.condition());
        }
        for port in &self.inner.ports {
            port.counters.add_to(&mut stats);
        }
        stats
    }

    /// The `limit` users with the most connections, and whether there are more users than that.
    ///
    /// The directory is looked at in pieces, so that publishers are not held up by a large one.
    pub fn largest_users(&self, limit: usize) -> (Vec<(String, usize)>, bool) {
        const PIECE: usize = 4_096;
        let mut largest: Vec<(String, usize)> = Vec::new();
        let mut truncated = false;
        let mut start = 0;
        loop {
            let guarded = self.lock();
            if start >= guarded.directory.entries_end() {
                break;
            }
            largest.extend(
                guarded.directory.users(start..start + PIECE).map(|(user, clients)| (user.to_owned(), clients)),
            );
            drop(guarded);
            start += PIECE;
            if largest.len() > limit {
                largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                largest.truncate(limit);
                truncated = true;
            }
        }
        largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (largest, truncated)
    }
}
