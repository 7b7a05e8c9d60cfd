//! The engine of Fanfare: one log, cursors, and shards that own the connections.
//!
//! No socket, clock, source of randomness or runtime is known here: they are handed in, so that a hub with
//! thousands of connections, stalls, cuts and clock jumps runs deterministically in a test. Most people want the
//! `fanfare` crate; `ARCHITECTURE.md` in the repository tells the way of one event through this one.

mod config;
mod control;
mod cursor;
mod directory;
pub mod disk;
mod dropped;
mod epochs;
mod event;
mod expect;
mod gzip;
mod hub;
mod inbox;
mod key;
pub mod limits;
mod log;
mod mail;
mod sets;
mod shard;
mod sink;
mod stats;
mod store;
mod sync;
mod target;
mod time;
mod wire;

pub use config::{HubConfig, Seed, SlowPolicy};
pub use control::{Disconnect, GapReason, closing_frame};
pub use cursor::Cursor;
pub use directory::ClientInfo;
pub use event::{Event, EventError};
pub use expect::ExpectedLast;
pub use gzip::Encoding;
pub use hub::{History, Hub, RegisterError, Registration, Resume, Start};
pub use mail::ConnectionOptions;
pub use shard::{Closed, Shard, Turn};
pub use sink::{Ending, Input, Sink, Token};
pub use stats::Stats;
pub use store::{
    Draft, Durability, IdempotencyKey, MemoryStore, PublishError, Receipt, Reply, Sequencer, Store, Submission,
};
pub use target::{ClientId, Filter, Identity, Name, NameError, Target, TargetError};
pub use time::Now;
pub use wire::{FrameBody, Parsed, Parser, ParserError};
