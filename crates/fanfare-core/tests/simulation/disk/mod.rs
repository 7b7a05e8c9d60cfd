//! Histories on a disk: many lives of one log, with what real disks do to it in between and in the middle.

mod answers;
mod chance;
pub mod check;
mod corners;
mod fake;
mod foreign;
mod lives;
mod planted;
mod promises;
mod readers;
pub mod record;
mod regressions;
mod world;

pub use chance::run;
pub use check::check;
pub use corners::{CORNERS, count};
pub use promises::violations;
