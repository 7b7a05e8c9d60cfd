//! Counters: plain numbers that one thread adds to and everybody may read.

use crate::config::SlowPolicy;
use crate::control::{Disconnect, GapReason};
use crate::disk::Condition;
use core::sync::atomic::{AtomicU64, Ordering};

/// One moment's numbers.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections registered now.
    pub clients: usize,
    /// Mean age of those connections in milliseconds, 0 if there are none.
    pub mean_age_ms: u64,
    /// Events published.
    pub published: u64,
    /// When the last event was published, Unix milliseconds.
    pub last_event_at: Option<u64>,
    /// Connections refused for want of room.
    pub refused: u64,
    /// Records in the log, on disk if there is one.
    pub log_records: usize,
    /// Bytes of the log, overhead included.
    pub log_bytes: usize,
    /// Segments of the log on disk, 0 without one.
    pub log_segments: usize,
    /// How the disk is, if the log is on one.
    pub disk: Option<Condition>,
    /// The newest position that retention dropped from the log, on disk if there is one.
    pub floor: u64,
    /// The newest position.
    pub position: u64,
    /// Application events fully handed to sinks, one per connection.
    pub events_sent: u64,
    /// Bytes handed to sinks.
    pub bytes_sent: u64,
    /// Calls of `write_vectored`.
    pub writes: u64,
    /// Heartbeats handed to sinks.
    pub pings_sent: u64,
    /// `$gap` frames begun by reason, in the order of [`GapReason::ALL`].
    pub gaps: [u64; GapReason::ALL.len()],
    /// Times a connection was slow, by its policy, in the order of [`SlowPolicy::ALL`].
    pub slow_readers: [u64; SlowPolicy::ALL.len()],
    /// Times a connection fell behind its shard's window and went on from the log, because of its own socket or of
    /// too much at once for the shard.
    pub lagged: u64,
    /// Connections that shards still hold: those above, and those that ended and may still be reading.
    pub held: u64,
    /// Ended connections by reason, in the order of [`Disconnect::ALL`].
    pub disconnects: [u64; Disconnect::ALL.len()],
}

impl Stats {
    /// Gaps with the word for their reason, every reason included.
    pub fn gaps_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        GapReason::ALL.iter().map(|reason| reason.as_str()).zip(self.gaps)
    }

    /// Slow readers with the word for their policy, every policy included.
    pub fn slow_readers_by_policy(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        SlowPolicy::ALL.iter().map(|policy| policy.as_str()).zip(self.slow_readers)
    }

    /// Ended connections with the word for their reason, every reason included.
    pub fn disconnects_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Disconnect::ALL.iter().map(|reason| reason.as_str()).zip(self.disconnects)
    }
}

/// One shard's counters. Only the shard's thread adds.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    pub(crate) events_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) writes: Counter,
    pub(crate) pings_sent: Counter,
    pub(crate) gaps: [Counter; GapReason::ALL.len()],
    pub(crate) slow_readers: [Counter; SlowPolicy::ALL.len()],
    pub(crate) lagged: Counter,
    pub(crate) held: Counter,
    pub(crate) disconnects: [Counter; Disconnect::ALL.len()],
}

/// A counter with one writer: no read-modify-write instruction is needed.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ShardCounters {
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        stats.events_sent += self.events_sent.get();
        stats.bytes_sent += self.bytes_sent.get();
        stats.writes += self.writes.get();
        stats.pings_sent += self.pings_sent.get();
        stats.lagged += self.lagged.get();
        stats.held += self.held.get();
        add_each(&mut stats.gaps, &self.gaps);
        add_each(&mut stats.slow_readers, &self.slow_readers);
        add_each(&mut stats.disconnects, &self.disconnects);
    }
}

fn add_each(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.get();
    }
}
