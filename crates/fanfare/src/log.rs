//! Looking at a history on disk from outside: what it is, whether it is sound, and the events in it. Nothing is
//! written and no lock is taken, so it works beside the server that the directory belongs to.
//!
//! ```no_run
//! use fanfare::log::{self, LogFilter};
//! use std::{ops::ControlFlow, path::Path};
//!
//! log::dump(Path::new("/var/lib/fanfare"), &LogFilter::default(), |record| {
//!     println!("{} {}", record.id, record.event);
//!     ControlFlow::Continue(())
//! })?;
//! # Ok::<(), fanfare::StorageError>(())
//! ```

pub use fanfare_core::disk::{LogFilter, LogInfo, LogRecord, Problem, SegmentInfo};
pub use fanfare_core::{Cursor, Name, NameError};

use crate::error::StorageError;
use crate::storage::Directory;
use fanfare_core::disk;
use std::ops::ControlFlow;
use std::path::Path;

/// What is known of a history without reading all of it.
///
/// # Errors
///
/// [`StorageError`] if there is none, or none that this program can read.
pub fn inspect(path: &Path) -> Result<LogInfo, StorageError> {
    disk::inspect(&Directory::look_at(path)?).map_err(StorageError::Open)
}

/// Reads every record, and calls `problem` with what is wrong.
///
/// # Errors
///
/// As [`inspect`]; a problem is no error.
pub fn verify(path: &Path, problem: impl FnMut(Problem)) -> Result<LogInfo, StorageError> {
    disk::verify(&Directory::look_at(path)?, problem).map_err(StorageError::Open)
}

/// Calls `each` with every event that fits the filter, in order, until it breaks. What cannot be read is left out.
///
/// # Errors
///
/// As [`inspect`], and for a cursor that means nothing in this history.
pub fn dump(
    path: &Path,
    filter: &LogFilter,
    each: impl FnMut(LogRecord) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    disk::dump(&Directory::look_at(path)?, filter, each).map_err(StorageError::Open)
}
