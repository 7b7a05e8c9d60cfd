//! The seam behind a publish: a store takes records in, and the sequencer releases them, in order, when they
//! are kept as well as the store promises. Memory releases inline; a disk log does so after its group commit.

use crate::cursor::Cursor;
use crate::expect::ExpectedLast;
use crate::limits::{BATCH_BYTES, EVENT_ID_MAX};
use crate::target::Matcher;
use crate::time::Now;
use crate::wire::{FrameBody, StampedId};
use bytes::Bytes;

/// What an acknowledged event has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The disk: kept through a loss of power, within the log's bounds.
    Disk,
    /// Nothing is kept: an ephemeral event, delivered to whoever is there, or one for nobody.
    Ephemeral,
    /// This process's memory: kept until it ends, within the log's bounds.
    Memory,
}

impl Durability {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Ephemeral => "ephemeral",
            Self::Memory => "memory",
        }
    }
}

/// An encoded event with its target, not yet visible.
#[derive(Debug)]
pub struct Draft {
    pub(crate) content: Content,
    pub(crate) matcher: Matcher,
    /// What must be the last event of its topic, which `matcher` then is.
    pub(crate) expected: Option<ExpectedLast>,
}

/// What a draft has of its frame.
#[derive(Debug)]
pub(crate) enum Content {
    /// Everything but the id line: it gets its place at the release.
    Body(FrameBody),
    /// All of it: its store gave it its place.
    Placed { position: u64, frame: Bytes, id: StampedId },
}

impl Draft {
    /// True if it is sent to nobody at all: nothing comes of it.
    pub(crate) fn is_for_nobody(&self) -> bool {
        matches!(&self.matcher, Matcher::AnyOf(keys) if keys.is_empty())
    }

    /// True if it takes a place in the log.
    pub(crate) fn is_kept(&self) -> bool {
        !matches!(&self.content, Content::Body(body) if body.ephemeral()) && !self.is_for_nobody()
    }

    /// Gives it its place.
    pub(crate) fn place(&mut self, cursor: Cursor) {
        if let Content::Body(body) = &mut self.content {
            let (frame, id) = core::mem::take(body).stamp(cursor);
            self.content = Content::Placed { position: cursor.position, frame, id };
        }
    }

    /// The frame, once it has its place.
    pub(crate) fn frame(&self) -> &[u8] {
        if let Content::Placed { frame, .. } = &self.content { frame } else { &[] }
    }

    /// The text of its id line, once it has its place.
    pub(crate) fn id(&self) -> Option<&str> {
        if let Content::Placed { id, .. } = &self.content { Some(id.as_str()) } else { None }
    }

    fn len(&self) -> usize {
        match &self.content {
            Content::Body(body) => body.len(),
            Content::Placed { frame, .. } => frame.len(),
        }
    }
}

/// The name that a publisher gives to one request, so that sending it again does not publish it again.
///
/// ```
/// use fanfare_core::IdempotencyKey;
/// let key = IdempotencyKey { key: "order-7".into(), fingerprint: 0xfeed };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the publisher wrote it.
    pub key: Box<str>,
    /// A hash of the request: a key that comes back with another one belongs to another request, and is refused.
    pub fingerprint: u128,
}

/// The answer for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The exact text of the frame's `id:` line; `None` for an ephemeral event, and for one sent to nobody.
    pub id: Option<String>,
    /// Connections it is for, each once: all that were registered at the release.
    pub clients: usize,
    /// What it has reached.
    pub durability: Durability,
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub was destroyed.
    #[error("the hub is closed")]
    Closed,
    /// The idempotency key belongs to another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The last event of a topic is not the expected one.
    #[error("draft {index} expects another last event of its topic")]
    Conflict {
        /// Which of the drafts, the first that is wrong.
        index: usize,
        /// The topic's last event, if it has one and the log knows of it.
        last: Option<Cursor>,
    },
    /// Too much waits for the disk: come back in a moment.
    #[error("too many events wait for the disk")]
    Busy,
    /// The disk is full: nothing was kept, nothing was sent. The next event is tried again.
    #[error("the disk is full")]
    Full,
    /// Split it.
    #[error("the events have {0} bytes together, more than {BATCH_BYTES}")]
    TooLarge(usize),
    /// An earlier write failed, after which nothing the disk says can be trusted: what was not answered yet may be kept
    /// or not, and nothing more is written until the log is opened anew.
    #[error("the log on disk failed and is read-only until the server is started again")]
    ReadOnly,
}

/// Called once, with the receipts in the order of the drafts. No lock of the hub is held meanwhile.
pub type Reply = Box<dyn FnOnce(Result<Vec<Receipt>, PublishError>) + Send>;

/// Drafts on their way, and who waits for the answer.
pub struct Submission {
    /// Released together, in this order, or not at all.
    pub drafts: Vec<Draft>,
    /// Under which name they were sent: a store that keeps records keeps it with them, for [`crate::Hub::remember`].
    pub key: Option<IdempotencyKey>,
    /// When they were submitted.
    pub now: Now,
    /// Who waits.
    pub reply: Reply,
}

impl Submission {
    /// True if it takes its turn with what is kept: it has an event to keep, or a key's answer, or it expects something
    /// of those before it.
    pub(crate) fn is_kept(&self) -> bool {
        self.key.is_some() || self.drafts.iter().any(|draft| draft.is_kept() || draft.expected.is_some())
    }

    /// At most so many bytes in a log on disk, whose overheads these are, generously.
    pub(crate) fn log_bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| 128 + key.key.len());
        let answer = if key > 0 { 48 + EVENT_ID_MAX } else { 0 };
        key + self.drafts.iter().map(|draft| 96 + answer + draft.len() + draft.matcher.extra_bytes()).sum::<usize>()
    }
}

/// Makes records visible: the hub, as a store sees it.
pub trait Sequencer {
    /// Gives the drafts their positions, where they have none yet, appends them, hands them to the shards, and answers
    /// that they are kept as well as `durability` says.
    fn release(&self, submission: Submission, durability: Durability);
}

/// Keeps records before they are released.
pub trait Store: Send + Sync + 'static {
    /// Takes the drafts and calls [`Sequencer::release`], now or later, in the order of submission.
    fn submit(&self, submission: Submission, sequencer: &dyn Sequencer);

    /// The hub takes no more.
    fn close(&self) {}
}

/// Keeps nothing beyond the log in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn submit(&self, submission: Submission, sequencer: &dyn Sequencer) {
        sequencer.release(submission, Durability::Memory);
    }
}
