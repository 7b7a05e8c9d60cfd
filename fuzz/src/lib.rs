//! What the fuzz targets do with their bytes: each target is one function that panics where a promise is broken.
//!
//! `crates/fanfare-core/tests/corpora.rs` includes this file too, and replays the seeds on a stable toolchain; so
//! nothing here knows that it is a crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a broken promise ends in a panic, which is what a fuzzer looks for"
)]
#![allow(missing_docs, unreachable_pub, reason = "for the targets and the test only")]

pub mod cursor;
pub mod damage;
pub mod engine;
pub mod input;
#[path = "../../crates/fanfare-core/tests/support/memory_disk.rs"]
pub mod memory_disk;
pub mod node;
pub mod people;
pub mod recovery;
pub mod streams;
pub mod tell;
#[path = "../../crates/fanfare-core/tests/support/whatwg.rs"]
pub mod whatwg;
pub mod wire;
