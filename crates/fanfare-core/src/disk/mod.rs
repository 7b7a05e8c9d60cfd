//! The log on disk: append-only segments in one directory, written by one thread in synced groups, read by anybody.
//!
//! `docs/log-format.md` says what the bytes mean. From the bottom up: `files` is what a disk must offer, `format` a
//! record's bytes, `scan` and `index` find records, `segment` is one file, `log` all of them as readers see them,
//! `manifest` what survives them, `writer` the group commit, `retention` what is dropped, `queue` what waits,
//! `recovery` what a start finds, `open` the start and `outcome` what comes of it; `inspect` (with `problem`) and
//! `dump` look at it from outside. Nothing here runs in a shard's thread.

mod answers;
mod clock;
mod config;
mod dump;
mod files;
mod format;
mod index;
mod inspect;
mod log;
mod manifest;
mod open;
mod outcome;
mod problem;
mod queue;
mod recovery;
mod retention;
mod scan;
mod segment;
mod writer;

pub use answers::KeptAnswer;
pub use config::DiskConfig;
pub use dump::{LogFilter, LogRecord, dump};
pub use files::{Disk, DiskFile};
pub use inspect::{LogInfo, SegmentInfo, inspect, verify};
pub(crate) use log::{Chunk, DiskLog};
pub use open::{DiskSeed, OpenLog, foreign, open};
pub use outcome::{OpenError, OpenReport};
pub use problem::Problem;
pub use queue::Condition;
pub(crate) use queue::Queue;
pub use writer::{DiskWriter, WriterTurn};
