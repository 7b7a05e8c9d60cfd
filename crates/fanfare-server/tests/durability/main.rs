//! The log on disk as the binary keeps it: real processes that are killed, real disks that fail, fill up and rot.
//!
//! `checker` says what must hold of any run; `record` makes runs of what `wire` carries. Everything else is one way to
//! harm a server each. `FANFARE_KILLS` is how often one is killed, `FANFARE_SEED` repeats what chance did.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod backup;
mod chance;
#[allow(dead_code, reason = "the simulation in fanfare-core uses it too")]
#[path = "../../../fanfare-core/tests/support/promises/mod.rs"]
mod checker;
mod crowd;
mod damage;
mod directories;
mod full;
mod kill;
mod load;
mod places;
mod reads;
mod record;
mod restart;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod wire;
