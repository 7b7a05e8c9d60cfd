//! What the processes of a bench say to each other: a line of JSON each.

use super::request::Request;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What went wrong, and how often.
pub(super) type Failures = BTreeMap<String, u64>;

/// The part of one process of subscribers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) request: Request,
    /// The number of its first subscriber, and how many it has.
    pub(super) first: u32,
    pub(super) count: u32,
    /// Of all processes.
    pub(super) subscribers: u32,
    /// Each event is for one of them.
    pub(super) one: bool,
    pub(super) connects_per_second: Option<f64>,
    pub(super) local_addresses: Vec<IpAddr>,
    /// Gzip is asked for.
    pub(super) compressed: bool,
    pub(super) timeout_ms: u64,
}

/// What subscribers are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Connect.
    Start(Box<Part>),
    /// From now on events of this run count, of which there are so many.
    Count { run: u32, events: u32 },
    /// So many were published, but for those: say when all of them are there.
    Await { published: u32, refused: Vec<u32> },
    /// Tell what came.
    Tell,
}

/// What they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Report {
    /// How many it may have.
    Room(Option<u64>),
    Connecting {
        connected: u64,
        failed: u64,
    },
    Connected(Connected),
    Counting,
    Delivered(u64),
    /// Everything that was awaited is there.
    Complete,
    Received(Box<Received>),
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Connected {
    pub(super) connected: u64,
    /// Of them, those that come in gzip, and are decoded.
    pub(super) compressed: u64,
    pub(super) failures: Failures,
    /// When the first and the last of them were opened.
    pub(super) begun: u64,
    pub(super) ended: u64,
}

/// What came of one run.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Received {
    /// What had to come.
    pub(super) expected: u64,
    /// What came, each once.
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    /// For somebody else, or never published.
    pub(super) misdirected: u64,
    /// Streams that have ended, from the beginning, and why.
    pub(super) ended: u64,
    pub(super) ends: Failures,
    /// Reads that brought events, and bytes of all reads, heartbeats too.
    pub(super) reads: u64,
    pub(super) bytes: u64,
    /// Of them, what is body, decoded.
    pub(super) decoded: u64,
    /// When the last one came.
    pub(super) last: u64,
    /// Nanoseconds from when it was due, and how often.
    pub(super) latency: Vec<(u64, u64)>,
}

impl Received {
    pub(super) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.misdirected += other.misdirected;
        self.ended += other.ended;
        add_failures(&mut self.ends, &other.ends);
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.decoded += other.decoded;
        self.last = self.last.max(other.last);
        self.latency.extend_from_slice(&other.latency);
    }

    pub(super) fn histogram(&self) -> Histogram<u64> {
        let mut all = histogram();
        for (value, count) in &self.latency {
            all.saturating_record_n(*value, *count);
        }
        all
    }
}

/// For nanoseconds up to an hour, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    Histogram::new_with_max(HOUR, 3)
        .unwrap_or_else(|_| unreachable!("an hour is more than two, and 3 digits are allowed"))
}

pub(super) fn add_failures(all: &mut Failures, other: &Failures) {
    for (reason, count) in other {
        *all.entry(reason.clone()).or_default() += count;
    }
}
