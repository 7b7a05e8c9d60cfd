//! The log on disk: append-only segments in one directory, written by one thread in synced groups, read by anybody.
//!
//! `docs/log-format.md` says what the bytes mean. From the bottom up: `files` is what a disk must offer, `format` a
//! record's bytes, `scan` and `index` find records, `segment` is one file, `log` all of them as readers see them,
//! `manifest` what survives them, `writer` the group commit and retention, `queue` what waits for it, `open` the
//! start, `inspect` a look from outside. Nothing here runs in a shard's thread.

mod answers;
mod config;
mod files;
mod format;
mod index;
mod inspect;
mod log;
mod manifest;
mod open;
mod queue;
mod scan;
mod segment;
mod writer;

pub use answers::KeptAnswer;
pub use config::DiskConfig;
pub use files::{Disk, DiskFile};
pub use inspect::{LogFilter, LogInfo, LogRecord, Problem, SegmentInfo, dump, inspect, verify};
pub(crate) use log::{Chunk, DiskLog, Gap};
pub use open::{DiskSeed, OpenError, OpenLog, OpenReport, foreign, open};
pub use queue::Condition;
pub(crate) use queue::Queue;
pub use writer::{DiskWriter, WriterTurn};
