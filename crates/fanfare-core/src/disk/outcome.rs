//! What opening a log, or looking at one, comes to: why it cannot be done, and what was found.

use super::manifest;
use crate::cursor::Cursor;
use std::io;

/// Why a directory is not a log that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It has files, and they are none of ours.
    #[error("the directory has no log, and is not empty: it has {0:?}; choose an empty one")]
    Foreign(String),
    /// What is needed to make sense of the rest cannot be read.
    #[error("the log is damaged: {0}; put a backup in its place, or begin with an empty directory")]
    Damaged(String),
    /// There is none.
    #[error("the directory has no log{}", other.as_ref().map(|name| format!("; what it has, {name:?} for one, belongs to something else")).unwrap_or_default())]
    Missing {
        /// One of the files that are there instead.
        other: Option<String>,
    },
    /// An id to begin after is from another log, or from a part of this one that was lost.
    #[error("the id {0} means nothing in this log")]
    Cursor(Cursor),
    /// A newer program wrote it.
    #[error("the log has format {0}, and this program reads format {version}; use a newer one", version = manifest::VERSION)]
    Version(u32),
    /// The system said no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    |error| OpenError::Io { what, error }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// There was no log yet.
    pub new: bool,
    /// Segments.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
    /// A write that nobody was told of was interrupted, and is cut off.
    pub torn: bool,
    /// Places where records were lost, and are told to whoever passes.
    pub holes: usize,
}
