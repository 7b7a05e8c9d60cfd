//! What was submitted and is not written yet, and how the disk is.

use crate::mail::Wake;
use crate::store::Durability;
use crate::store::{PublishError, Sequencer, Store, Submission};
use crate::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

/// Most bytes of frames that wait for the disk: beyond it publishers are told to come back later.
pub(crate) const QUEUE_BYTES: usize = 32 << 20;
/// Most submissions that wait.
pub(crate) const QUEUE_SUBMISSIONS: usize = 65_536;

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Condition {
    /// Events are kept.
    #[default]
    Ok,
    /// The last event did not fit. The next is tried.
    Full,
    /// A write or sync failed, and nothing more is written until the log is opened anew.
    Failed,
}

impl Condition {
    /// The word for it in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Full => "full",
            Self::Failed => "read-only",
        }
    }
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    bytes: usize,
    closed: bool,
    condition: Condition,
    /// What made it fail.
    error: Option<io::Error>,
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    to_writer: OnceLock<Wake>,
    to_readers: OnceLock<Wake>,
}

impl Queue {
    /// Submissions of about so many bytes, at least one if there is any; and whether no more will come.
    pub(crate) fn take(&self, bytes: usize) -> (Vec<Submission>, bool) {
        let mut waiting = lock(&self.waiting);
        let mut taken = Vec::new();
        let mut sum = 0;
        while sum < bytes
            && let Some(submission) = waiting.submissions.pop_front()
        {
            sum += submission.log_bytes();
            taken.push(submission);
        }
        waiting.bytes -= sum;
        (taken, waiting.closed && waiting.submissions.is_empty())
    }

    pub(crate) fn condition(&self) -> Condition {
        lock(&self.waiting).condition
    }

    /// Full, or well again. What has failed stays so.
    pub(crate) fn set_condition(&self, condition: Condition) {
        let mut waiting = lock(&self.waiting);
        if waiting.condition != Condition::Failed {
            waiting.condition = condition;
        }
    }

    /// Nothing is written any more.
    pub(crate) fn fail(&self, error: io::Error) {
        let mut waiting = lock(&self.waiting);
        waiting.condition = Condition::Failed;
        waiting.error.get_or_insert(error);
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        lock(&self.waiting).error.take()
    }

    pub(crate) fn wake_readers(&self) {
        if let Some(wake) = self.to_readers.get() {
            wake();
        }
    }

    pub(crate) fn set_wakes(&self, writer: Wake, readers: Wake) {
        _ = self.to_writer.set(writer);
        _ = self.to_readers.set(readers);
    }
}

/// Hands publishes to the writer of the log on disk.
pub(crate) struct DiskStore {
    pub(crate) queue: Arc<Queue>,
}

impl Store for DiskStore {
    fn submit(&self, submission: Submission, sequencer: &dyn Sequencer) {
        if !submission.is_kept() {
            // Nothing to keep: live delivery does not wait for the disk, nor does it stop with it.
            if lock(&self.queue.waiting).closed {
                return (submission.reply)(Err(PublishError::Closed));
            }
            return sequencer.release(submission, Durability::Disk);
        }
        let bytes = submission.log_bytes();
        let mut waiting = lock(&self.queue.waiting);
        let refusal = if waiting.closed {
            Some(PublishError::Closed)
        } else if waiting.condition == Condition::Failed {
            Some(PublishError::ReadOnly)
        } else if waiting.bytes + bytes > QUEUE_BYTES || waiting.submissions.len() >= QUEUE_SUBMISSIONS {
            Some(PublishError::Busy)
        } else {
            None
        };
        if let Some(error) = refusal {
            drop(waiting);
            return (submission.reply)(Err(error));
        }
        waiting.bytes += bytes;
        let first = waiting.submissions.is_empty();
        waiting.submissions.push_back(submission);
        drop(waiting);
        if first && let Some(wake) = self.queue.to_writer.get() {
            wake();
        }
    }

    fn close(&self) {
        lock(&self.queue.waiting).closed = true;
        if let Some(wake) = self.queue.to_writer.get() {
            wake();
        }
    }
}
