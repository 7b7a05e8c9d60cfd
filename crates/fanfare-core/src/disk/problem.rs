//! What can be wrong with a log, and what it means for those who read it.

/// What [`super::verify`] found wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The log is shorter than it was.
    #[error("the log ends before position {from}, and had come to {until}")]
    End {
        /// The newest segment.
        name: String,
        /// The first position that is missing.
        from: u64,
        /// How far it is known to have come.
        until: u64,
    },
    /// The file is a segment of another log.
    #[error("it is a segment of another log")]
    Foreign {
        /// The file.
        name: String,
    },
    /// A segment's first bytes cannot be read. What they say is known from elsewhere.
    #[error("its head is damaged")]
    Head {
        /// The segment.
        name: String,
    },
    /// Records in a segment cannot be read, or were found to be lost when the log was opened.
    #[error("positions {from} to {until} cannot be read, or are known to be lost")]
    Hole {
        /// The segment.
        name: String,
        /// The first position of the hole.
        from: u64,
        /// The last.
        until: u64,
    },
    /// An index file cannot be read.
    #[error("the index is damaged")]
    Index {
        /// The index file.
        name: String,
    },
    /// The newest segment has an index, which is written once there is another behind it.
    #[error("it has an index, so there was a segment behind it, which is missing")]
    Lost {
        /// The segment in front.
        name: String,
    },
    /// One of the two manifest files cannot be read.
    #[error("this one of the two manifest files is damaged")]
    Manifest {
        /// The file.
        name: String,
    },
    /// An index file is sound in itself, and says something else than the records.
    #[error("the index does not fit the records")]
    Misfit {
        /// The index file.
        name: String,
    },
    /// Positions between two segments are missing.
    #[error("positions {from} to {until}, which belong in front of it, are missing")]
    Missing {
        /// The segment behind the hole.
        name: String,
        /// The first of them.
        from: u64,
        /// The last.
        until: u64,
    },
    /// The manifest is from a later time than the segments.
    #[error("it is the newest and ends at position {until}, and the manifest says that all up to {floor} was dropped")]
    Old {
        /// The newest segment.
        name: String,
        /// Where it ends.
        until: u64,
        /// What the manifest says.
        floor: u64,
    },
    /// Two segments have the same positions.
    #[error("it begins behind position {base}, and the segment in front of it goes to {until}")]
    Overlap {
        /// The segment behind.
        name: String,
        /// Where it begins.
        base: u64,
        /// Where the one in front ends.
        until: u64,
    },
    /// The end of the newest segment does not look as an interrupted write does.
    #[error("what is behind byte {end} cannot be read, and may have been acknowledged")]
    Tail {
        /// The segment.
        name: String,
        /// Where its sound part ends.
        end: u64,
    },
}

impl Problem {
    /// The file it is about.
    pub fn file(&self) -> &str {
        match self {
            Self::End { name, .. }
            | Self::Foreign { name }
            | Self::Head { name }
            | Self::Hole { name, .. }
            | Self::Index { name }
            | Self::Lost { name }
            | Self::Manifest { name }
            | Self::Misfit { name }
            | Self::Missing { name, .. }
            | Self::Old { name, .. }
            | Self::Overlap { name, .. }
            | Self::Tail { name, .. } => name,
        }
    }

    /// What readers notice of it, and what can be done where something can.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::End { .. } | Self::Lost { .. } | Self::Tail { .. } => {
                "the next start leaves a hole there: readers who pass are told a gap, and ids beyond it a reset"
            }
            Self::Foreign { .. } | Self::Overlap { .. } => {
                "the server does not start with it: put the right file back, or take this one away and readers are \
                 told a gap"
            }
            Self::Head { .. } => "readers notice nothing: its records are read all the same",
            Self::Hole { .. } | Self::Missing { .. } => "readers who pass are told a gap",
            Self::Index { .. } => "readers notice nothing: it is made anew from the records",
            Self::Manifest { .. } => {
                "the other one counts: if this was the newer, ids of the last start are answered with a reset"
            }
            Self::Old { .. } => {
                "the next start takes it for dropped and removes it: if it was restored, put the manifests of its time with it"
            }
            Self::Misfit { .. } => {
                "readers may miss events: stop the server and remove this file, and it is made anew from the records"
            }
        }
    }
}
