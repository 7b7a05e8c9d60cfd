//! The model: identities, targets and everything that a run recorded, in plain data. A run writes a [`Trace`],
//! the checker reads it, and a falsified one is how the checker itself is tested.

use fanfare_core::{
    Disconnect, Filter, HubConfig, Identity, Name, PublishError, Receipt, Resume, SlowPolicy, Stats, Target,
};
use std::collections::BTreeSet;

/// Names are drawn from a few, the same for users, sessions, topics and metadata, so that kinds can be confused.
const NAMES: [&str; 6] = ["anna", "b", "грета", "d d", "~e:", "f=1&x"];

pub fn name(number: u8) -> Name {
    Name::new(NAMES[number as usize % NAMES.len()]).unwrap()
}

/// Who a connection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub user: Option<u8>,
    pub session: Option<u8>,
    pub topics: BTreeSet<u8>,
    pub metadata: Vec<(u8, u8)>,
}

impl Who {
    pub fn identity(&self) -> Identity {
        let mut identity = Identity::anonymous();
        if let Some(user) = self.user {
            identity = identity.with_user(name(user));
        }
        if let Some(session) = self.session {
            identity = identity.with_session(name(session));
        }
        let topics = self.topics.iter().map(|topic| name(*topic)).collect();
        let metadata = self.metadata.iter().map(|(key, value)| (name(*key), name(*value))).collect();
        identity.with_topics(topics).unwrap().with_metadata(metadata).unwrap()
    }
}

/// Who an event is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    All,
    /// A connection of this trace, living or dead.
    Client(usize),
    Filter {
        user: Option<u8>,
        session: Option<u8>,
        metadata: Vec<(u8, u8)>,
    },
    /// A client id that no hub made.
    Forged(String),
    Session(u8),
    Topic(u8),
    User(u8),
    Users(Vec<u8>),
}

impl To {
    /// What the engine is told. `client_id` is the text of the connection's id, for [`To::Client`].
    pub fn target(&self, client_id: impl Fn(usize) -> String) -> Target {
        let id = |text: &str| fanfare_core::ClientId::parse(text).unwrap();
        match self {
            Self::All => Target::All,
            Self::Client(conn) => Target::Client(id(&client_id(*conn))),
            Self::Forged(text) => Target::Client(id(text)),
            Self::Filter { user, session, metadata } => {
                let metadata = metadata.iter().map(|(key, value)| (name(*key), name(*value))).collect();
                Target::Filter(Filter::new(user.map(name), session.map(name), metadata).unwrap())
            }
            Self::Session(number) => Target::Session(name(*number)),
            Self::Topic(number) => Target::Topic(name(*number)),
            Self::User(number) => Target::User(name(*number)),
            Self::Users(numbers) => Target::users(numbers.iter().map(|number| name(*number)).collect()).unwrap(),
        }
    }

    /// Whether connection number `conn`, being `who`, shall get it.
    pub fn matches(&self, who: &Who, conn: Option<usize>) -> bool {
        match self {
            Self::All => true,
            Self::Client(number) => conn == Some(*number),
            Self::Filter { user, session, metadata } => {
                (user.is_none() || *user == who.user)
                    && (session.is_none() || *session == who.session)
                    && metadata.iter().all(|pair| who.metadata.contains(pair))
            }
            Self::Forged(_) => false,
            Self::Session(number) => who.session == Some(*number),
            Self::Topic(number) => who.topics.contains(number),
            Self::User(number) => who.user == Some(*number),
            Self::Users(numbers) => who.user.is_some_and(|user| numbers.contains(&user)),
        }
    }

    /// Whether its loss may be told to `who` as a gap: it matches, or one term of the filter does.
    pub fn touches(&self, who: &Who, conn: Option<usize>) -> bool {
        match self {
            Self::Filter { user, session, metadata } => {
                (user.is_some() && *user == who.user)
                    || (session.is_some() && *session == who.session)
                    || metadata.iter().any(|pair| who.metadata.contains(pair))
            }
            other => other.matches(who, conn),
        }
    }

    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Users(users) if users.is_empty())
    }
}

/// One event that was published, and the answer.
#[derive(Debug, Clone)]
pub struct Published {
    pub hub: usize,
    pub step: usize,
    pub at_ms: u64,
    pub to: To,
    pub event_type: String,
    pub data: String,
    pub own_id: Option<String>,
    pub retry: Option<u64>,
    pub ephemeral: bool,
    /// Handed in while a shard was in the middle of a write.
    pub meanwhile: bool,
    /// More bytes than it can cost in a log.
    pub cost_max: usize,
    /// The receipt.
    pub id: Option<String>,
    pub clients: usize,
    /// Its place; of an ephemeral one, the place before it.
    pub position: u64,
}

impl Published {
    pub fn durable(&self) -> bool {
        !self.ephemeral && !self.to.is_nobody()
    }
}

/// What a checker has to know of one event that somebody wanted to publish.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For exactly this topic.
    pub topic: Option<u8>,
    pub durable: bool,
    pub expected: Option<String>,
}

/// Events that were handed to a hub together.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// `usize::MAX` if it never came to that.
    pub hub: usize,
    pub at_ms: u64,
    /// Which idempotency key, and the fingerprint.
    pub key: Option<(u8, u128)>,
    pub wanted: Vec<Wanted>,
    /// Handed in while a shard was in the middle of a write.
    pub meanwhile: bool,
}

/// What publishers and the store saw of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// It was handed to the hub.
    Asked(usize),
    /// The store got it.
    Reached(usize),
    /// The store let go of it without an answer.
    Lost(usize),
    Answered(usize, Result<Vec<Receipt>, PublishError>),
}

/// A call, and whether the hub was destroyed by then.
#[derive(Debug, Clone)]
pub struct Said {
    pub call: Call,
    pub closed: bool,
}

/// Where a connection asked to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    After(String),
    Earliest,
    Last(u64),
    Live,
}

/// The verdict on a start, as it was answered.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub resume: Resume,
    pub cursor: String,
}

/// A write that was cut short.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    pub step: usize,
    pub at_ms: u64,
    /// All that its sink had taken then.
    pub total: usize,
}

/// A moment in which every shard was idle and this connection could be written to.
#[derive(Debug, Clone, Copy)]
pub struct Calm {
    pub step: usize,
    pub at_ms: u64,
    /// Bytes its sink had taken.
    pub taken: usize,
}

/// One connection, from its registration to its end.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Conn {
    pub hub: usize,
    pub who: Who,
    pub client_id: String,
    pub from: From,
    pub verdict: Verdict,
    pub retry_ms: u32,
    pub step: usize,
    pub at_ms: u64,
    /// Every shard had been idle at this very millisecond: no timer was due any more.
    pub timers_quiet: bool,
    pub comment_heartbeat: bool,
    /// Its stream is compressed.
    pub gzip: bool,
    /// Its own, or the hub's where it has none.
    pub slow_policy: SlowPolicy,
    /// When its shard first could hear of it: its checks begin there, its times at its registration.
    pub heard_ms: Option<u64>,
    /// When it got its sink.
    pub attached: Option<usize>,
    pub attached_ms: u64,
    /// The step in which it stopped being counted.
    pub gone: Option<usize>,
    /// What its sink took, and how much of it by which step.
    pub bytes: Vec<u8>,
    /// The same as it went over the wire, and whether that ends within a compressed block.
    pub wire: usize,
    pub cut: bool,
    pub chunks: Vec<(usize, usize, u64)>,
    /// Writes of which its sink took less than it was offered.
    pub stalls: Vec<Stall>,
    pub calms: Vec<Calm>,
    pub closed: Option<Closed>,
    /// What the driver did to it that may end it.
    pub causes: Vec<Disconnect>,
    pub max_unacknowledged: u64,
    /// Alive, attached and drained when this was the tail.
    pub converged: Option<u64>,
    /// What the sink saw the shard do that it must not.
    pub faults: Vec<String>,
}

/// The end of a connection as the shard told it.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    pub step: usize,
    pub at_ms: u64,
    pub reason: Disconnect,
    pub events: u32,
    pub bytes: u64,
    /// What the sink had taken when the end was told.
    pub taken: usize,
}

/// One page of history as it was read.
#[derive(Debug, Clone)]
pub struct Page {
    pub hub: usize,
    pub step: usize,
    pub who: Who,
    pub from: From,
    pub verdict: Verdict,
    pub bytes: Vec<u8>,
    pub next: String,
    pub records: usize,
}

/// The log after a step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    pub hub: usize,
    pub now_ms: u64,
    /// Of the records in the log, overhead included.
    pub bytes: usize,
    /// The position of the newest record that was dropped, and of the newest of all.
    pub floor: u64,
    pub tail: u64,
    /// A publish or a registration, which look at the log's bounds.
    pub enforced: bool,
}

/// One hub of the run: a restart makes another.
#[derive(Debug, Clone)]
pub struct HubTrace {
    pub config: HubConfig,
    pub epoch: u64,
    pub stats: Option<Stats>,
    /// Nothing was left at its end: clients, owned connections, listed clients, users.
    pub left: Option<[usize; 4]>,
}

/// Everything a run recorded.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub hubs: Vec<HubTrace>,
    pub published: Vec<Published>,
    pub attempts: Vec<Attempt>,
    /// In order.
    pub calls: Vec<Said>,
    pub conns: Vec<Conn>,
    pub pages: Vec<Page>,
    /// One for each step.
    pub marks: Vec<Mark>,
    /// Steps between which an inbox or a window may have run over.
    pub overflows: Vec<(usize, usize)>,
    /// What the driver saw at once.
    pub faults: Vec<String>,
    /// What was done, for people.
    pub told: Vec<String>,
}
