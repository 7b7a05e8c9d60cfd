//! The hub: the release lock and what it guards, and the doors through which everybody else comes.
//!
//! **One lock.** Log tail, directory and shard inboxes change together or not at all: a record gets its
//! position, is appended, is counted and is handed to its shards under one hold of the lock (`publish`); a
//! connection is registered and learns its start under another (`connect`). Taken apart, two publishers of one
//! topic overtake each other and a connecting client falls between replay and live. Shards are woken after it
//! is let go. The answers under idempotency keys have a lock of their own, never held together with it (`answers`).

mod answers;
mod cold;
mod connect;
mod publish;
mod read;

pub use connect::{RegisterError, Registration, Resume, Start};
pub use read::History;
pub(crate) use read::ReadFor;

use crate::config::{HubConfig, Seed};
use crate::directory::Directory;
use crate::disk::{DiskWriter, KeptAnswer, OpenLog};
use crate::key::{Key, Keyer};
use crate::log::Log;
use crate::mail::{Message, Port};
use crate::shard::Shard;
use crate::store::Store;
use crate::sync::{Mutex, lock};
use crate::time::{Now, Random};
use answers::Answers;
use cold::ColdReads;
pub(crate) use cold::OnDisk;
use std::sync::Arc;

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
    pub(crate) disk: Option<OnDisk>,
    /// Shared with the submissions that the store holds: it hears of their end even if the hub is gone.
    answers: Arc<Answers>,
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
        let log = Log::new(seed.epoch(), config.log_bytes, config.log_age_ms);
        let answers_age_ms = config.log_age_ms;
        Self::build(config, seed.secret(), log, answers_age_ms, store, None, seed, now)
    }

    /// Makes a hub over a log on disk, with its shards and the writer, each of which wants a thread that drives it;
    /// [`Hub::read_cold`] and [`Hub::maintain`] want one or two more.
    ///
    /// # Panics
    ///
    /// As [`Hub::new`].
    pub fn on_disk(config: HubConfig, open: OpenLog, seed: Seed, now: Now) -> (Self, Vec<Shard<S>>, DiskWriter)
    where
        S: crate::Sink,
    {
        let OpenLog { log: disk_log, store, queue, writer, secret, epochs, tail, answers, .. } = open;
        let log = Log::of_disk(epochs, tail, config.log_bytes, config.log_age_ms);
        let on_disk = OnDisk { log: disk_log, queue, cold: ColdReads::default() };
        let age_ms = writer.age_ms();
        let (hub, shards) = Self::build(config, secret, log, age_ms, Box::new(store), Some(on_disk), seed, now);
        let wall_ms = writer.wall_ms(now);
        for KeptAnswer { key, receipts, wall_ms: given_ms } in answers {
            hub.remember(key, receipts, wall_ms.saturating_sub(given_ms), now);
        }
        (hub, shards, writer)
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a hub is put together")]
    fn build(
        config: HubConfig,
        secret: [u64; 2],
        log: Log,
        answers_age_ms: u64,
        store: Box<dyn Store>,
        disk: Option<OnDisk>,
        seed: Seed,
        now: Now,
    ) -> (Self, Vec<Shard<S>>)
    where
        S: crate::Sink,
    {
        assert!((1..=64).contains(&config.shards), "one to 64 shards");
        assert!(config.ping_interval_ms > 0 && config.client_timeout_ms > 0 && config.stall_timeout_ms > 0);
        let Seed([_, _, client_0, client_1, _, jitter]) = seed;
        let tail = log.tail();
        let guarded = Guarded {
            log,
            directory: Directory::new(config.shards),
            random: Random::new(jitter),
            closing: false,
            closed: false,
            published: 0,
            last_event_at: None,
            refused: 0,
        };
        let ports: Box<[Port<S>]> = (0..config.shards).map(|_| Port::default()).collect();
        ports.iter().for_each(|port| port.tail.store(tail, core::sync::atomic::Ordering::Release));
        let shards = config.shards;
        let answers = Arc::new(Answers::new(config.idempotency_keys, answers_age_ms));
        let inner = Arc::new(Inner {
            config,
            keyer: Keyer::new(secret),
            client_secret: Keyer::new([client_0, client_1]),
            guarded: Mutex::new(guarded),
            ports,
            store,
            disk,
            answers,
        });
        let hub = Self { inner };
        let shards = (0..shards)
            .map(|index| Shard::new(hub.clone(), index, Random::new(jitter ^ (index as u64 + 1)), now))
            .collect();
        (hub, shards)
    }

    /// Sets how to end the sleep of a shard's thread. Only the first call counts.
    pub fn set_wake(&self, shard: usize, wake: impl Fn() + Send + Sync + 'static) {
        self.inner.ports[shard].set_wake(Box::new(wake));
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

    /// What a connection is matched by: made with this start's secret, since an event in a log that lasts must not find
    /// a connection of a later start in the same slot.
    pub(crate) fn client_key(&self, slot: u32, generation: u32) -> Key {
        self.inner.client_secret.client(slot, generation)
    }

    pub(crate) fn client_tag(&self, slot: u32, generation: u32) -> u64 {
        self.inner.client_secret.client_tag(slot, generation)
    }

    /// A number from 0 to `span`, for whoever spreads something over time.
    pub fn jitter(&self, span: u64) -> u64 {
        self.lock().random.next() % span.saturating_add(1)
    }
}
