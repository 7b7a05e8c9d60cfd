//! What a run on a fake disk recorded, in plain data: lives of one log, what was handed in and answered, what
//! connections and pages of history got, and what was done to the disk.

use crate::model::{From, To, Verdict, Who};
use fanfare_core::disk::{Condition, DiskConfig};
use fanfare_core::{HubConfig, PublishError, Receipt};

/// What was done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process was killed; everything it wrote is there.
    Kill,
    /// The power was lost; `true` if something of the segments was not synced.
    Power(bool),
    /// It refused something for want of room; the manifest's last word may be missing.
    Full,
    /// A write or sync of the log failed.
    Broken,
    /// Reads fail for a while.
    Reads,
    /// A bit of a segment, an index or a manifest has changed.
    RotSegment,
    RotIndex,
    RotManifest,
    /// A segment was cut, or taken away.
    Cut,
    Deleted,
    /// An earlier state of the whole directory was put back.
    Restored,
}

impl Fault {
    /// Acknowledged records may be unreadable, or gone.
    pub fn damages(self) -> bool {
        matches!(
            self,
            Self::Reads
                | Self::RotSegment
                | Self::RotIndex
                | Self::RotManifest
                | Self::Cut
                | Self::Deleted
                | Self::Restored
        )
    }
}

/// An event as a publisher made it. Its data is like no other's.
#[derive(Debug, Clone)]
pub struct Event {
    pub to: To,
    pub event_type: String,
    pub data: String,
    pub own_id: Option<String>,
    pub retry: Option<u64>,
    pub ephemeral: bool,
}

impl Event {
    pub fn durable(&self) -> bool {
        !self.ephemeral && !self.to.is_nobody()
    }
}

/// What a publisher believed to be the last event of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Which draft.
    pub index: usize,
    pub text: String,
}

/// One publish.
#[derive(Debug, Clone)]
pub struct Send {
    pub life: usize,
    pub step: usize,
    pub at_ms: u64,
    /// Events, by number: those of an earlier publish if this repeats it.
    pub events: Vec<usize>,
    /// Number and fingerprint of an idempotency key.
    pub key: Option<(u8, u128)>,
    pub expects: Vec<Expectation>,
    /// The step of the answer.
    pub answer: Option<(usize, Result<Vec<Receipt>, PublishError>)>,
}

/// A record as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub position: u64,
    pub id: String,
    pub data: String,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Still going, or the run is over.
    Open,
    /// Everything submitted was answered before.
    Clean,
    Crash,
}

/// One time the log was open.
#[derive(Debug, Clone)]
pub struct Life {
    /// The life whose log this one found, and the step up to which it had come. `None` for a new log.
    pub parent: Option<(usize, usize)>,
    pub step: usize,
    pub config: HubConfig,
    pub disk: DiskConfig,
    pub epoch: u64,
    /// Epochs of openings that were interrupted: what was kept then may bear them.
    pub attempts: Vec<u64>,
    /// The present when it began, the last position kept of what it found, and the newest that was dropped.
    pub tail: u64,
    pub kept_until: u64,
    pub floor: u64,
    /// What the segments held, read past the engine's indices.
    pub records: Vec<Kept>,
    /// What was dropped in the moment it began.
    pub aged: Vec<Kept>,
    /// Last positions of the holes that the log tells of.
    pub holes: Vec<u64>,
    /// The wall clock was where it had been at the start of the run.
    pub wall_true: bool,
    pub end: End,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Conn {
    pub life: usize,
    pub who: Who,
    pub client_id: String,
    pub from: From,
    pub verdict: Verdict,
    pub step: usize,
    /// The step in which it stopped being counted.
    pub gone: Option<usize>,
    pub bytes: Vec<u8>,
    /// How much its sink had taken by which step.
    pub chunks: Vec<(usize, usize, u64)>,
    /// The step in which it certainly had everything.
    pub converged: Option<usize>,
    pub faults: Vec<String>,
}

/// One page of history.
#[derive(Debug, Clone)]
pub struct Page {
    pub life: usize,
    pub step: usize,
    pub who: Who,
    pub from: From,
    pub verdict: Verdict,
    pub bytes: Vec<u8>,
    pub next: String,
    pub records: usize,
}

/// After a step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    pub now_ms: u64,
    /// The newest position dropped: where the oldest segment in the directory begins.
    pub floor: u64,
    /// Refusals for want of room, and failures, so far.
    pub full: usize,
    pub broken: usize,
    /// Records that the log says it has.
    pub records: u64,
    /// The writer turned.
    pub turned: bool,
    /// How the disk is said to be.
    pub condition: Option<Condition>,
    /// Room was short in this step.
    pub short: bool,
    /// The world had stopped: what was answered since, no process would have.
    pub stopped: bool,
}

/// Everything a run recorded.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub events: Vec<Event>,
    pub sends: Vec<Send>,
    pub lives: Vec<Life>,
    pub conns: Vec<Conn>,
    pub pages: Vec<Page>,
    /// One for each step.
    pub marks: Vec<Mark>,
    pub faults: Vec<(usize, Fault)>,
    /// Directories that were refused, with what the opening said.
    pub refused: Vec<(usize, String)>,
    /// What the driver saw at once.
    pub wrong: Vec<String>,
    /// What was done, for people.
    pub told: Vec<String>,
}
