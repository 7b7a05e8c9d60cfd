//! The log on disk as this library runs it: the directory with its lock, and the threads that write and read.

mod directory;
mod threads;

pub(crate) use directory::{Directory, Lock};
pub(crate) use threads::DiskThreads;

use crate::config::SseConfig;
use crate::error::StorageError;
use fanfare_core::Now;
use fanfare_core::disk::{DiskSeed, OpenLog};
use std::path::Path;
use std::sync::Arc;

/// Takes a directory for this process, and opens the log in it.
pub(crate) fn open(path: &Path, config: &SseConfig, seed: [u64; 4], now: Now) -> Result<(OpenLog, Lock), StorageError> {
    let (directory, lock) = Directory::take(path)?;
    let disk_config = config.disk();
    let answers_max = config.idempotency_keys;
    let open = fanfare_core::disk::open(Arc::new(directory), disk_config, DiskSeed(seed), answers_max, now)
        .map_err(StorageError::Open)?;
    Ok((open, lock))
}
