//! The hub: the release lock and what it guards, and the doors through which everybody else comes.
//!
//! **One lock.** Log tail, directory and shard inboxes change together or not at all: a record gets its
//! position, is appended, is counted and is handed to its shards under one hold of the lock; a connection is
//! registered and learns its start under another. Taken apart, two publishers of one topic overtake each other
//! and a connecting client falls between replay and live. Shards are woken after it is let go.

use crate::control::{Disconnect, connected_frame};
use crate::cursor::Cursor;
use crate::directory::{ClientInfo, Directory, Recipients};
use crate::event::Event;
use crate::inbox::{Inbox, Queue};
use crate::key::{Key, Keyer, Kind};
use crate::limits::{INBOX_BYTES, INBOX_RECORDS, QUICK_FANOUT};
use crate::log::{Log, Loss, ReadLimit, Record};
use crate::shard::Shard;
use crate::sink::Token;
use crate::stats::{ShardCounters, Stats};
use crate::store::{Draft, Durability, PublishError, Receipt, Reply, Sequencer, Store, Submission};
use crate::sync::{Mutex, lock};
use crate::target::{ClientId, Identity, Matcher, Name, Target};
use crate::time::{Now, Random};
use crate::wire::FrameBody;
use bytes::Bytes;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Everything about a hub that can be chosen. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Threads that own connections, 1 to 64. More than one pays only when one core cannot write fast enough.
    pub shards: usize,
    /// Most connections at one time.
    pub max_clients: usize,
    /// Every connection hears something at least this often.
    pub ping_interval_ms: u64,
    /// A peer that acknowledges nothing for so long, while bytes are outstanding, is dead.
    pub client_timeout_ms: u64,
    /// A living peer that takes no byte for so long is slow.
    pub stall_timeout_ms: u64,
    /// A stream ends after so long, give or take a tenth; `None` is never.
    pub lifetime_ms: Option<u64>,
    /// The log's bound in bytes, overhead included.
    pub log_bytes: usize,
    /// The log's bound in age.
    pub log_age_ms: u64,
    /// Reconnection times sent to clients are spread over this range.
    pub retry_ms: (u32, u32),
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            max_clients: usize::MAX,
            ping_interval_ms: 30_000,
            client_timeout_ms: 60_000,
            stall_timeout_ms: 300_000,
            lifetime_ms: None,
            log_bytes: 64 << 20,
            log_age_ms: 600_000,
            retry_ms: (2_000, 6_000),
        }
    }
}

/// Randomness from outside: secrets and the epoch. Draw it anew at every start.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub [u64; 6]);

/// Epochs are cut to this many bits, so that a cursor stays short.
const EPOCH_BITS: u32 = 48;

/// Where a new connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After what the cursor stands for; `None` is a cursor that could not be read.
    After(Option<Cursor>),
    /// With the oldest event kept.
    Earliest,
    /// With so many events of its own from the end of the history.
    Last(u64),
    /// Now.
    Live,
}

/// The verdict on a new connection's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Some events between cursor and start are gone.
    Gap,
    /// No cursor was sent.
    Live,
    /// The cursor means nothing here.
    Reset,
    /// Everything after the cursor follows.
    Resumed,
}

impl Resume {
    /// The word for it in `connected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Live => "live",
            Self::Reset => "reset",
            Self::Resumed => "resumed",
        }
    }
}

/// Why a connection is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// `max_clients` is reached.
    #[error("all {0} places for clients are taken")]
    Capacity(usize),
    /// The hub drains or is destroyed.
    #[error("the hub is closing")]
    Closing,
}

/// A registered connection: in the directory, not yet attached to a sink.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its name.
    pub client_id: ClientId,
    /// The verdict on its start.
    pub resume: Resume,
    /// Its place.
    pub cursor: Cursor,
    /// A jittered reconnection time in milliseconds.
    pub retry_ms: u32,
}

impl Registration {
    /// What the poller and the shard know the connection by.
    pub fn token(&self) -> Token {
        Token::new(self.client_id.slot, self.client_id.generation)
    }

    /// The `connected` frame, with `data` as one line of JSON.
    pub fn connected_frame(&self, data: &str) -> Bytes {
        connected_frame(self.cursor, self.retry_ms, data)
    }
}

/// Options of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// Heartbeats as comments, which scripts do not see, instead of `ping` events.
    pub comment_heartbeat: bool,
}

/// One page of history, as a reader with an identity may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whole frames, in order.
    pub frames: Vec<Bytes>,
    /// Where the next page begins.
    pub next: Cursor,
    /// The verdict on the start.
    pub resume: Resume,
}

/// A connection that was just registered.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// What it has.
    pub(crate) position: u64,
    /// The log's tail when it was registered.
    pub(crate) tail: u64,
    /// When it was registered.
    pub(crate) opened_ms: u64,
    /// It came with a cursor that was honoured.
    pub(crate) resumes: bool,
    pub(crate) options: ConnectionOptions,
}

/// What a shard finds in its inbox.
#[derive(Debug)]
pub(crate) enum Message<S> {
    Add(Arrival),
    Attach {
        token: Token,
        sink: S,
        greeting: Bytes,
    },
    Close {
        token: Token,
        reason: Disconnect,
    },
    Drain {
        reason: Disconnect,
        window_ms: u64,
    },
    Record {
        position: u64,
        frame: Bytes,
        recipients: Recipients,
        quick: bool,
    },
    /// Records from here on were not put in, for want of room: they are in the log.
    Skipped,
    Writable {
        token: Token,
    },
}

#[derive(Debug)]
pub(crate) struct Mail<S> {
    pub(crate) messages: Vec<Message<S>>,
    records: usize,
    bytes: usize,
    skipping: bool,
    /// The last position that was left out.
    pub(crate) skipped_to: u64,
}

impl<S> Default for Mail<S> {
    fn default() -> Self {
        Self { messages: Vec::new(), records: 0, bytes: 0, skipping: false, skipped_to: 0 }
    }
}

impl<S> Queue for Mail<S> {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl<S> Mail<S> {
    /// An empty one that uses the memory of `messages` again.
    pub(crate) fn reusing(messages: Vec<Message<S>>) -> Self {
        debug_assert!(messages.is_empty());
        Self { messages, ..Self::default() }
    }

    fn put_record(&mut self, position: u64, frame: Bytes, recipients: Recipients, quick: bool) {
        if !self.skipping && (self.records >= INBOX_RECORDS || self.bytes >= INBOX_BYTES) {
            self.skipping = true;
            self.messages.push(Message::Skipped);
        }
        if self.skipping {
            self.skipped_to = position;
            return;
        }
        self.records += 1;
        self.bytes += frame.len();
        self.messages.push(Message::Record { position, frame, recipients, quick });
    }
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// A shard as everybody else sees it.
pub(crate) struct Port<S> {
    pub(crate) inbox: Inbox<Mail<S>>,
    /// The log's tail, stored under the release lock after the inbox was filled: a shard that reads it and then
    /// empties its inbox has everything up to it.
    pub(crate) tail: AtomicU64,
    pub(crate) counters: ShardCounters,
    wake: OnceLock<Wake>,
}

impl<S> Port<S> {
    fn wake_if_asleep(&self) {
        if self.inbox.claim_wake()
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

/// What the release lock guards.
pub(crate) struct Guarded {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) random: Random,
    /// No more connections.
    closing: bool,
    /// No more publishes either.
    closed: bool,
    published: u64,
    last_event_at: Option<u64>,
    refused: u64,
}

pub(crate) struct Inner<S> {
    pub(crate) config: HubConfig,
    pub(crate) keyer: Keyer,
    client_secret: Keyer,
    guarded: Mutex<Guarded>,
    pub(crate) ports: Box<[Port<S>]>,
    store: Box<dyn Store>,
}

/// The engine's front door; a cheap clone. `S` is what connections are written to.
pub struct Hub<S> {
    pub(crate) inner: Arc<Inner<S>>,
}

impl<S> Clone for Hub<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> core::fmt::Debug for Hub<S> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl<S> Hub<S> {
    /// Makes a hub and its shards, each of which wants a thread that drives it.
    ///
    /// # Panics
    ///
    /// If `config.shards` is not 1 to 64, or another setting is 0: the library checks settings before.
    pub fn new(config: HubConfig, store: Box<dyn Store>, seed: Seed, now: Now) -> (Self, Vec<Shard<S>>)
    where
        S: crate::Sink,
    {
        assert!((1..=64).contains(&config.shards), "one to 64 shards");
        assert!(config.ping_interval_ms > 0 && config.client_timeout_ms > 0 && config.stall_timeout_ms > 0);
        let Seed([key_0, key_1, client_0, client_1, epoch, jitter]) = seed;
        let guarded = Guarded {
            log: Log::new(epoch >> (64 - EPOCH_BITS), config.log_bytes, config.log_age_ms),
            directory: Directory::new(config.shards),
            random: Random::new(jitter),
            closing: false,
            closed: false,
            published: 0,
            last_event_at: None,
            refused: 0,
        };
        let ports = (0..config.shards)
            .map(|_| Port {
                inbox: Inbox::new(),
                tail: AtomicU64::new(0),
                counters: ShardCounters::default(),
                wake: OnceLock::new(),
            })
            .collect();
        let shards = config.shards;
        let inner = Arc::new(Inner {
            config,
            keyer: Keyer::new([key_0, key_1]),
            client_secret: Keyer::new([client_0, client_1]),
            guarded: Mutex::new(guarded),
            ports,
            store,
        });
        let hub = Self { inner };
        let shards = (0..shards)
            .map(|index| Shard::new(hub.clone(), index, Random::new(jitter ^ (index as u64 + 1)), now))
            .collect();
        (hub, shards)
    }

    /// Sets how to end the sleep of a shard's thread. Only the first call counts.
    pub fn set_wake(&self, shard: usize, wake: impl Fn() + Send + Sync + 'static) {
        _ = self.inner.ports[shard].wake.set(Box::new(wake));
    }

    /// The settings it was made with.
    pub fn config(&self) -> &HubConfig {
        &self.inner.config
    }

    pub(crate) fn lock(&self) -> impl core::ops::DerefMut<Target = Guarded> {
        lock(&self.inner.guarded)
    }

    fn port(&self, slot: u32) -> &Port<S> {
        &self.inner.ports[slot as usize % self.inner.ports.len()]
    }

    fn send(&self, slot: u32, message: Message<S>) {
        let port = self.port(slot);
        port.inbox.fill(|mail| mail.messages.push(message));
        port.wake_if_asleep();
    }

    // Publishing

    /// Encodes an event for a target. No lock is held.
    pub fn draft(&self, event: &Event, target: &Target) -> Draft {
        Draft { body: FrameBody::encode(event), matcher: target.matcher(&self.inner.keyer) }
    }

    /// Hands drafts to the store; `reply` gets the receipts when they are kept. All or nothing.
    pub fn publish(&self, drafts: Vec<Draft>, now: Now, reply: Reply) {
        self.inner.store.submit(Submission { drafts, now, reply }, self);
    }

    /// The connections a target has now.
    pub fn count(&self, target: &Target) -> usize {
        let matcher = self.known_client(target.matcher(&self.inner.keyer));
        self.lock().directory.recipients(&matcher).map_or(0, |(_, count)| count)
    }

    fn release_now(&self, drafts: Vec<Draft>, now: Now) -> Result<Vec<Receipt>, PublishError> {
        let mut stamped = Vec::with_capacity(drafts.len());
        let mut touched = 0u64;
        {
            let mut guarded = self.lock();
            if guarded.closed {
                return Err(PublishError::Closed);
            }
            for draft in drafts {
                stamped.push(self.release_one(&mut guarded, draft, now, &mut touched));
            }
            guarded.last_event_at = Some(now.wall_ms);
            let tail = guarded.log.tail();
            for port in &self.inner.ports {
                port.tail.store(tail, Ordering::Release);
            }
        }
        for (index, port) in self.inner.ports.iter().enumerate() {
            if touched & 1 << index != 0 {
                port.wake_if_asleep();
            }
        }
        Ok(stamped
            .into_iter()
            .map(|(id, clients, durability)| Receipt {
                id: id.map(|id: crate::wire::StampedId| id.as_str().to_owned()),
                clients,
                durability,
            })
            .collect())
    }

    fn release_one(
        &self,
        guarded: &mut Guarded,
        draft: Draft,
        now: Now,
        touched: &mut u64,
    ) -> (Option<crate::wire::StampedId>, usize, Durability) {
        let Draft { body, matcher } = draft;
        if matches!(&matcher, Matcher::AnyOf(keys) if keys.is_empty()) {
            return (None, 0, Durability::Ephemeral);
        }
        guarded.published += 1;
        let matcher = self.known_client(matcher);
        let ephemeral = body.ephemeral();
        let tail = guarded.log.tail();
        let cursor = if ephemeral { guarded.log.cursor(tail) } else { guarded.log.next_cursor() };
        let (frame, id) = body.stamp(cursor);
        let mut clients = 0;
        if let Some((recipients, count)) = guarded.directory.recipients(&matcher) {
            clients = count;
            self.hand_over(guarded, cursor.position, &frame, &recipients, count <= QUICK_FANOUT, touched);
        }
        if ephemeral {
            return (None, clients, Durability::Ephemeral);
        }
        guarded.log.append(Record { position: cursor.position, frame, matcher }, now.mono_ms);
        (Some(id), clients, Durability::Memory)
    }

    /// A client id that was not made here names nobody, whatever slot it points to: not in the directory, and not
    /// by its key, which is what a connection that lags is matched by.
    fn known_client(&self, matcher: Matcher) -> Matcher {
        match matcher {
            Matcher::Client(id, _) if id.tag != self.client_tag(id.slot, id.generation) => {
                let nobody = ClientId { slot: u32::MAX, ..id };
                Matcher::Client(nobody, self.inner.keyer.client(nobody.slot, nobody.generation))
            }
            other => other,
        }
    }

    fn hand_over(
        &self,
        guarded: &Guarded,
        position: u64,
        frame: &Bytes,
        recipients: &Recipients,
        quick: bool,
        touched: &mut u64,
    ) {
        let shards = self.inner.ports.len();
        let put = |shard: usize| {
            let (frame, recipients) = (frame.clone(), recipients.clone());
            self.inner.ports[shard].inbox.fill(|mail| mail.put_record(position, frame, recipients, quick));
        };
        let mut holders = 0u64;
        match recipients {
            Recipients::One(slot) => holders |= 1 << (*slot as usize % shards),
            Recipients::Few(slots) => slots.iter().for_each(|slot| holders |= 1 << (*slot as usize % shards)),
            Recipients::All | Recipients::Many(_) => {
                for shard in (0..shards).filter(|shard| guarded.directory.shard_len(*shard) > 0) {
                    holders |= 1 << shard;
                }
            }
        }
        (0..shards).filter(|shard| holders & 1 << shard != 0).for_each(put);
        *touched |= holders;
    }

    // Connections

    /// Registers a connection: from this moment it is counted, and everything for it is kept for it.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when there is no room, or when the hub is closing.
    pub fn register(
        &self,
        identity: &Identity,
        start: Start,
        options: ConnectionOptions,
        now: Now,
    ) -> Result<Registration, RegisterError> {
        let mut keys = identity.keys(&self.inner.keyer);
        keys.sort_unstable();
        let mut lock = self.lock();
        let guarded = &mut *lock;
        if guarded.closing {
            return Err(RegisterError::Closing);
        }
        if guarded.directory.len() >= self.inner.config.max_clients {
            guarded.refused += 1;
            return Err(RegisterError::Capacity(self.inner.config.max_clients));
        }
        guarded.log.enforce(now.mono_ms);
        let (resume, shown, position) = resolve(&guarded.log, &keys, start);
        let (slot, generation) = guarded.directory.insert(identity, &self.inner.keyer, now.mono_ms);
        let client_id = ClientId { slot, generation, tag: self.client_tag(slot, generation) };
        let cursor = guarded.log.cursor(shown);
        let (low, high) = self.inner.config.retry_ms;
        let retry_ms = guarded.random.between(low, high);
        // Under the lock, so that the shard finds it before every record it is to get.
        let tail = guarded.log.tail();
        // A shard with connections has timers that will see this one; the first must set them going.
        let first = guarded.directory.shard_len(slot as usize % self.inner.ports.len()) == 1;
        let resumes = matches!(resume, Resume::Resumed | Resume::Gap);
        let opened_ms = now.mono_ms;
        let arrival = Arrival { slot, generation, position, tail, opened_ms, resumes, options };
        let port = self.port(slot);
        port.inbox.fill(|mail| mail.messages.push(Message::Add(arrival)));
        drop(lock);
        if first {
            port.wake_if_asleep();
        }
        Ok(Registration { client_id, resume, cursor, retry_ms })
    }

    /// Gives a registered connection its sink. `greeting` is written before everything else.
    pub fn attach(&self, token: Token, sink: S, greeting: Bytes) {
        self.send(token.slot(), Message::Attach { token, sink, greeting });
    }

    /// Tells the shard that a sink which was full takes bytes again.
    pub fn writable(&self, token: Token) {
        self.send(token.slot(), Message::Writable { token });
    }

    /// Ends a connection. False if it was gone already.
    pub fn close(&self, token: Token, reason: Disconnect) -> bool {
        let mut guarded = self.lock();
        let known = self.remove_and_tell(&mut guarded, token, reason);
        drop(guarded);
        self.port(token.slot()).wake_if_asleep();
        known
    }

    fn remove_and_tell(&self, guarded: &mut Guarded, token: Token, reason: Disconnect) -> bool {
        let known = guarded.directory.remove(token.slot(), token.generation());
        if known {
            // Under the lock, so that the shard hears of it before the slot is used again.
            self.port(token.slot()).inbox.fill(|mail| mail.messages.push(Message::Close { token, reason }));
        }
        known
    }

    /// Ends the connection with this name. False if there is none.
    pub fn close_client(&self, client_id: ClientId, reason: Disconnect) -> bool {
        client_id.tag == self.client_tag(client_id.slot, client_id.generation)
            && self.close(Token::new(client_id.slot, client_id.generation), reason)
    }

    /// Ends every connection of a user, and says how many there were.
    pub fn close_user(&self, user: &Name, reason: Disconnect) -> usize {
        let key = self.inner.keyer.key(Kind::User, "", user.as_str());
        let mut guarded = self.lock();
        let slots = guarded.directory.slots_of(key);
        for (slot, generation) in &slots {
            self.remove_and_tell(&mut guarded, Token::new(*slot, *generation), reason);
        }
        drop(guarded);
        self.inner.ports.iter().for_each(Port::wake_if_asleep);
        slots.len()
    }

    /// Takes no more connections and ends those that are there, spread over the window.
    pub fn drain(&self, reason: Disconnect, window_ms: u64) {
        self.lock().closing = true;
        for port in &self.inner.ports {
            port.inbox.fill(|mail| mail.messages.push(Message::Drain { reason, window_ms }));
            port.wake_if_asleep();
        }
    }

    /// Drains at once and takes no more events.
    pub fn destroy(&self) {
        self.lock().closed = true;
        self.drain(Disconnect::Shutdown, 0);
    }

    pub(crate) fn forget(&self, token: Token) -> bool {
        self.lock().directory.remove(token.slot(), token.generation())
    }

    pub(crate) fn client_tag(&self, slot: u32, generation: u32) -> u64 {
        self.inner.client_secret.client(slot, generation).word()
    }

    /// A number from 0 to `span`, for whoever spreads something over time.
    pub fn jitter(&self, span: u64) -> u64 {
        self.lock().random.next() % span.saturating_add(1)
    }

    // Reading

    /// The present.
    pub fn cursor(&self) -> Cursor {
        let guarded = self.lock();
        guarded.log.cursor(guarded.log.tail())
    }

    /// Reads history as an identity may see it: at most `records` events and about `bytes` bytes.
    ///
    /// Without a cursor ([`Start::Live`]) it begins with the oldest event, unless `from_now` says that the present
    /// was asked for by name.
    pub fn history(
        &self,
        identity: &Identity,
        start: Start,
        from_now: bool,
        records: usize,
        bytes: usize,
        now: Now,
    ) -> History {
        let mut keys = identity.keys(&self.inner.keyer);
        keys.sort_unstable();
        let mut guarded = self.lock();
        guarded.log.enforce(now.mono_ms);
        let start = if start == Start::Live && !from_now { Start::Earliest } else { start };
        let (resume, _, position) = resolve(&guarded.log, &keys, start);
        let mut read = Vec::new();
        let limit = ReadLimit { upto: guarded.log.tail(), bytes, records: records.max(1) };
        let next = guarded.log.read(&keys, position, limit, &mut read);
        let next = guarded.log.cursor(next);
        History { frames: read.into_iter().map(|(_, frame)| frame).collect(), next, resume }
    }

    /// Reads for a connection that lags: what it lost, and what it gets next. See [`Log::read`].
    pub(crate) fn read_for(
        &self,
        token: Token,
        position: u64,
        limit: ReadLimit,
        keys: &mut Vec<Key>,
        out: &mut Vec<(u64, Bytes)>,
    ) -> Option<(Loss, u64)> {
        let guarded = self.lock();
        if !guarded.directory.keys_of(token.slot(), token.generation(), keys) {
            return None;
        }
        let client = self.inner.keyer.client(token.slot(), token.generation());
        let loss = guarded.log.loss(keys, Some(client), position);
        let from = position.max(guarded.log.floor());
        keys.push(client);
        keys.sort_unstable();
        let progress = if from < limit.upto { guarded.log.read(keys, from, limit, out) } else { from };
        Some((loss, progress))
    }

    /// Drops what is too old, also where nobody publishes or connects.
    pub(crate) fn expire(&self, now: Now) {
        self.lock().log.enforce(now.mono_ms);
    }

    pub(crate) fn cursor_at(&self, position: u64) -> Cursor {
        self.lock().log.cursor(position)
    }

    /// Connections from a slot on, at most `limit`; the second value is where to go on, `None` at the end.
    pub fn clients(&self, from: u32, limit: usize, user: Option<&Name>) -> (Vec<ClientInfo>, Option<u32>) {
        let guarded = self.lock();
        let mut found = Vec::new();
        let slots: Vec<u32> = match user {
            Some(user) => {
                let key = self.inner.keyer.key(Kind::User, "", user.as_str());
                let mut slots: Vec<u32> = guarded.directory.slots_of(key).into_iter().map(|(slot, _)| slot).collect();
                slots.sort_unstable();
                slots.into_iter().filter(|slot| *slot >= from).collect()
            }
            // Holes are skipped a bounded number at a time, so that the lock is not held for long.
            None => (from..guarded.directory.slots_end().min(from.saturating_add(20_000))).collect(),
        };
        for slot in &slots {
            if found.len() == limit {
                return (found, Some(*slot));
            }
            if let Some(mut info) = guarded.directory.info(*slot) {
                info.client_id.tag = self.client_tag(*slot, info.client_id.generation);
                found.push(info);
            }
        }
        let next =
            slots.last().map(|slot| slot + 1).filter(|next| user.is_none() && *next < guarded.directory.slots_end());
        (found, next)
    }

    /// Connections of one user.
    pub fn user_clients(&self, user: &Name) -> usize {
        self.count(&Target::User(user.clone()))
    }

    /// Counters and gauges, in one moment.
    pub fn stats(&self, now: Now) -> Stats {
        let guarded = self.lock();
        let mut stats = Stats {
            clients: guarded.directory.len(),
            mean_age_ms: guarded.directory.mean_age(now.mono_ms),
            published: guarded.published,
            last_event_at: guarded.last_event_at,
            refused: guarded.refused,
            log_records: guarded.log.records(),
            log_bytes: guarded.log.bytes(),
            position: guarded.log.tail(),
            ..Stats::default()
        };
        drop(guarded);
        for port in &self.inner.ports {
            port.counters.add_to(&mut stats);
        }
        stats
    }

    /// The `limit` users with the most connections, and whether there are more users than that.
    ///
    /// The directory is looked at in pieces, so that publishers are not held up by a large one.
    pub fn largest_users(&self, limit: usize) -> (Vec<(String, usize)>, bool) {
        const PIECE: usize = 4_096;
        let mut largest: Vec<(String, usize)> = Vec::new();
        let mut truncated = false;
        let mut start = 0;
        loop {
            let guarded = self.lock();
            if start >= guarded.directory.entries_end() {
                break;
            }
            largest.extend(
                guarded.directory.users(start..start + PIECE).map(|(user, clients)| (user.to_owned(), clients)),
            );
            drop(guarded);
            start += PIECE;
            if largest.len() > limit {
                largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                largest.truncate(limit);
                truncated = true;
            }
        }
        largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (largest, truncated)
    }
}

impl<S> Sequencer for Hub<S> {
    fn release(&self, submission: Submission) {
        let Submission { drafts, now, reply } = submission;
        reply(self.release_now(drafts, now));
    }
}

/// The verdict on a start, the position shown in `connected`, and the position to read from.
fn resolve(log: &Log, keys: &[Key], start: Start) -> (Resume, u64, u64) {
    match start {
        Start::Live => (Resume::Live, log.tail(), log.tail()),
        Start::Earliest => (Resume::Resumed, log.floor(), log.floor()),
        Start::Last(count) => {
            let position = log.last_matching(keys, count);
            (Resume::Resumed, position, position)
        }
        Start::After(cursor) => match cursor.and_then(|cursor| log.resolve(cursor)) {
            None => (Resume::Reset, log.tail(), log.tail()),
            Some(position) => match log.loss(keys, None, position) {
                Loss::Nothing => (Resume::Resumed, position, position.max(log.floor())),
                Loss::GapUntil(end) => (Resume::Gap, end, end),
            },
        },
    }
}
