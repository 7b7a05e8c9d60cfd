//! The manager: connections and events of one hub.

use crate::clock::Clock;
use crate::config::{SseConfig, millis};
use crate::connection::{Connection, ConnectionOptions};
use crate::driver::{self, EngineHub, ShardThread};
use crate::error::{ConfigError, ConnectError, SendError};
use crate::event::SseEvent;
use crate::lock::lock;
use crate::storage::{self, DiskThreads, Lock};
use crate::target::{SseFilter, Target};
use crate::transport::Transport;
use fanfare_core::disk::{Condition, DiskWriter, OpenReport};
use fanfare_core::{
    ClientId, Disconnect, Draft, Durability, Hub, IdempotencyKey, MemoryStore, Now, PublishError, RegisterError, Seed,
    Shard, Store,
};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Most users that [`SseStats::clients_by_user`] names.
pub(crate) const STATS_USERS_MAX: usize = 1_000;

/// Longest time over which a drain is spread.
const DRAIN_MAX: Duration = Duration::from_secs(86_400);

/// Manages Server-Sent Events connections and sends events to them. A cheap clone; the last one dropped ends
/// everything.
///
/// ```
/// use fanfare::{SseConfig, SseEvent, SseManager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = SseManager::new(SseConfig::default())?;
/// let sent = manager.send_to_user("user123", SseEvent::new("notification", serde_json::json!({ "title": "Hi" })))?;
/// assert_eq!(sent, 0, "nobody is connected yet");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SseManager {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: EngineHub,
    pub(crate) config: SseConfig,
    pub(crate) clock: Clock,
    pub(crate) threads: Vec<ShardThread>,
    destroyed: AtomicBool,
    /// It drains, was destroyed, or has lost a shard's thread.
    draining: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    #[cfg(feature = "test-util")]
    pub(crate) kit: Arc<crate::test_util::Kit>,
    /// Ends last: what was submitted is still written.
    _disk: Option<DiskThreads>,
}

impl Inner {
    /// A number from 0 to `span`, for reconnection times.
    pub(crate) fn jitter(&self, span: u64) -> u64 {
        self.hub.jitter(span)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.hub.destroy();
        self.stop.store(true, Ordering::Release);
        for thread in &self.threads {
            // A thread that cannot be woken ends at its next timer.
            _ = thread.waker.wake();
        }
    }
}

/// Randomness from the system, for secrets and epochs.
fn random_words<const N: usize>() -> std::io::Result<[u64; N]> {
    let mut words = [0u64; N];
    for word in &mut words {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}

fn log_opened(report: &OpenReport, logging: bool) {
    let OpenReport { new, segments, records, torn, holes, .. } = *report;
    if logging {
        tracing::info!(target: "fanfare", new, segments, records, torn, "log on disk opened");
    }
    if holes > 0 {
        tracing::error!(
            target: "fanfare",
            holes,
            "records on disk are damaged or missing; whoever reads there is told a gap (`fanfare log verify` says where)"
        );
    }
}

/// What became of a published event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The exact text of the event's `id:` line; `None` for an ephemeral event, and for one sent to nobody at all.
    pub id: Option<String>,
    /// Connections it is for, each counted once: all that were registered when it was released.
    pub clients: usize,
    /// How well it is kept: `disk`, `memory`, or `ephemeral`.
    pub durability: Cow<'static, str>,
}

impl From<fanfare_core::Receipt> for Receipt {
    fn from(receipt: fanfare_core::Receipt) -> Self {
        Self { id: receipt.id, clients: receipt.clients, durability: receipt.durability.as_str().into() }
    }
}

/// Statistics of a manager. Serializes to the JSON of `GET /api/sse/stats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SseStats {
    /// Connections now.
    pub total_clients: usize,
    /// Connections of each user: the 1,000 users with the most.
    pub clients_by_user: BTreeMap<String, usize>,
    /// Mean age of the open connections in milliseconds, 0 if there are none.
    pub average_connection_duration: u64,
    /// Application events fully handed to sockets, one per connection; no control events.
    pub total_events_sent: u64,
    /// When the last event was published, Unix milliseconds; `None` before the first.
    pub last_event_time: Option<u64>,
    /// True if there are more users than `clients_by_user` names.
    pub clients_by_user_truncated: bool,
    /// Events published.
    pub total_events_published: u64,
    /// Connections refused because `max_clients` was reached.
    pub clients_refused: u64,
    /// Ended connections by reason.
    pub disconnects: BTreeMap<&'static str, u64>,
    /// Bytes handed to sockets, heads and control events included.
    pub total_bytes_sent: u64,
    /// Heartbeats sent.
    pub total_pings_sent: u64,
    /// Gaps that connections were told of while they were open, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Times a connection was slow, by what became of it: its [`SlowPolicy`](crate::SlowPolicy).
    pub slow_readers: BTreeMap<&'static str, u64>,
    /// Times a connection fell behind so far that it went on from the history: slow ones that catch up, and everybody
    /// else after too much at once.
    pub lagged: u64,
    /// Where the history is kept: `memory` or `disk`.
    pub durability: &'static str,
    /// How the disk is: `ok`; `full`, which the next publish tries again; or `read-only` after an error, until the next
    /// start. Absent without a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<&'static str>,
    /// Events in the history.
    pub history_events: usize,
    /// Bytes of the history, with its overhead.
    pub history_bytes: usize,
    /// The manager's own settings.
    pub settings: SseSettings,
}

/// The settings that statistics report. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SseSettings {
    /// See [`SseConfig::ping_interval`].
    pub ping_interval: u64,
    /// See [`SseConfig::client_timeout`].
    pub client_timeout: u64,
    /// See [`SseConfig::max_clients`].
    pub max_clients: usize,
    /// See [`SseConfig::enable_logging`].
    pub enable_logging: bool,
}

impl SseManager {
    /// Makes a manager and starts the threads that own its connections.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] names a setting that does not make sense; [`ConfigError::System`] if the system gave
    /// no thread, poller or randomness.
    pub fn new(config: SseConfig) -> Result<Self, ConfigError> {
        Self::with_clock(config, Clock::system())
    }

    pub(crate) fn with_clock(config: SseConfig, clock: Clock) -> Result<Self, ConfigError> {
        let Some(path) = &config.data_dir else { return Self::with_store(config, clock, Box::new(MemoryStore)) };
        let hub_config = config.check()?;
        let now = clock.now();
        let failed = |error| ConfigError::Storage { path: path.clone(), error };
        let (open, lock) = storage::open(path, &config, random_words()?, now).map_err(failed)?;
        log_opened(&open.report, config.enable_logging);
        let (hub, shards, writer) = Hub::on_disk(hub_config, open, Seed(random_words()?), now);
        Self::start(config, clock, hub, shards, Some((writer, lock)))
    }

    fn with_store(config: SseConfig, clock: Clock, store: Box<dyn Store>) -> Result<Self, ConfigError> {
        let (hub, shards) = Hub::new(config.check()?, store, Seed(random_words()?), clock.now());
        Self::start(config, clock, hub, shards, None)
    }

    fn start(
        config: SseConfig,
        clock: Clock,
        hub: EngineHub,
        shards: Vec<Shard<Transport>>,
        disk: Option<(DiskWriter, Lock)>,
    ) -> Result<Self, ConfigError> {
        let stop = Arc::new(AtomicBool::new(false));
        let draining = Arc::new(AtomicBool::new(false));
        let threads = driver::start(&hub, shards, &clock, &stop, &draining, config.enable_logging)?;
        let disk = disk.map(|(writer, lock)| DiskThreads::start(&hub, writer, &clock, lock)).transpose()?;
        let destroyed = AtomicBool::new(false);
        let inner = Inner {
            hub,
            config,
            clock,
            threads,
            destroyed,
            draining,
            stop,
            #[cfg(feature = "test-util")]
            kit: Arc::default(),
            _disk: disk,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The settings it was made with.
    pub fn config(&self) -> &SseConfig {
        &self.inner.config
    }

    pub(crate) fn now(&self) -> Now {
        self.inner.clock.now()
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.inner.config.data_dir.is_some()
    }

    /// Creates a connection: a response to return from a handler, or a stream of events to read in process.
    ///
    /// From this moment it is counted, and events for it are kept for it. Dropped, it is gone; so it is if its
    /// response is not sent within 30 s. With a history on disk, `last:N` may read there, for about a millisecond.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no room, when the manager is closing, or when a name is not allowed.
    pub fn create_connection(&self, options: ConnectionOptions) -> Result<Connection, ConnectError> {
        let (identity, start, engine_options) = options.check()?;
        let encoding = options.encoding;
        #[cfg(feature = "test-util")]
        let start = self.inner.kit.start(start);
        let now = self.now();
        let registration =
            self.inner.hub.register(&identity, start, engine_options, now).map_err(|error| match error {
                RegisterError::Capacity(max) => {
                    tracing::warn!(target: "fanfare", max_clients = max, "client refused: no room");
                    ConnectError::Capacity(max)
                }
                _ => ConnectError::Closing,
            })?;
        if self.inner.config.enable_logging {
            tracing::info!(
                target: "fanfare",
                client_id = %registration.client_id,
                resume = registration.resume.as_str(),
                "client connected"
            );
        }
        Ok(Connection::new(self, &registration, &identity, encoding))
    }

    /// Sends to one connection. Returns 1, or 0 if it is gone.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong with the event; this holds for every send.
    pub fn send_to_client(&self, client_id: &str, event: SseEvent) -> Result<usize, SendError> {
        self.send(event, Target::Client(client_id.to_owned()))
    }

    /// Sends to every connection that matches the filter. Returns their number.
    ///
    /// # Errors
    ///
    /// [`SendError`], also for an empty filter: say [`SseManager::broadcast`] for everybody.
    pub fn send_to_clients(&self, filter: SseFilter, event: SseEvent) -> Result<usize, SendError> {
        self.send(event, Target::Filter(filter))
    }

    /// Sends to everybody. Returns the number of connections.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong with the event.
    pub fn broadcast(&self, event: SseEvent) -> Result<usize, SendError> {
        self.send(event, Target::All)
    }

    /// Sends to every connection of a user. Returns their number.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong with the event or the name.
    pub fn send_to_user(&self, user_id: &str, event: SseEvent) -> Result<usize, SendError> {
        self.send(event, Target::user(user_id))
    }

    /// Sends to any target, without waiting for more than a lock. Callable from any thread; never blocks on I/O.
    /// Returns the number of connections at submission. With a history on disk the event goes out once it is kept, and if
    /// it is not, the log says so: [`SseManager::publish`] waits for the answer.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong with the event or the target.
    pub fn send(&self, event: SseEvent, target: Target) -> Result<usize, SendError> {
        let checked = target.check()?;
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        self.submit(vec![(event, target)], false, None, move |receipts| {
            *lock(&slot) = Some(receipts);
        })?;
        let answered = lock(&answer).take();
        match answered {
            Some(receipts) => Ok(receipts?.first().map_or(0, |receipt| receipt.clients)),
            // A store that answers later: what it will be, as far as is known now.
            None => Ok(self.inner.hub.count(&checked)),
        }
    }

    /// Publishes an event and waits until it is kept as well as the store promises.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong; nothing was published then.
    ///
    /// # Cancel safety
    ///
    /// The event is handed over before the first wait: dropping the future loses the receipt, not the event.
    pub async fn publish(&self, event: SseEvent, target: Target) -> Result<Receipt, SendError> {
        let receipts = self.publish_all(vec![(event, target)], false, None).await?;
        receipts.into_iter().next().map(Receipt::from).ok_or(SendError::Closed)
    }

    /// Publishes several events together: all of them, next to each other and in this order, or none.
    ///
    /// # Errors
    ///
    /// [`SendError`], its pointer beginning with the index of the event; more than 1,000 events are refused.
    ///
    /// # Cancel safety
    ///
    /// As [`SseManager::publish`].
    pub async fn publish_batch(&self, events: Vec<(SseEvent, Target)>) -> Result<Vec<Receipt>, SendError> {
        Ok(self.publish_all(events, true, None).await?.into_iter().map(Receipt::from).collect())
    }

    /// [`SseManager::publish`] for threads without a runtime: blocks until the event is kept.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what is wrong; nothing was published then.
    pub fn publish_blocking(&self, event: SseEvent, target: Target) -> Result<Receipt, SendError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.submit(vec![(event, target)], false, None, move |receipts| _ = sender.send(receipts))?;
        let receipts = receiver.recv().map_err(|_| SendError::Closed)??;
        receipts.into_iter().next().map(Receipt::from).ok_or(SendError::Closed)
    }

    /// Publishes under an idempotency key, if there is one: what was published under it before is not published again,
    /// and gets the answer that it got. A request that is refused may be sent again under its key, mended.
    pub(crate) async fn publish_all(
        &self,
        events: Vec<(SseEvent, Target)>,
        list: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<fanfare_core::Receipt>, SendError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(events, list, key, move |receipts| _ = sender.send(receipts))?;
        receiver.await.map_err(|_| SendError::Closed)?
    }

    /// Checks everything, then hands it over; `reply` is called once. In a `list`, pointers begin with an index.
    fn submit(
        &self,
        events: Vec<(SseEvent, Target)>,
        list: bool,
        key: Option<IdempotencyKey>,
        reply: impl FnOnce(Result<Vec<fanfare_core::Receipt>, SendError>) + Send + 'static,
    ) -> Result<(), SendError> {
        if events.len() > fanfare_core::limits::BATCH_MAX {
            let detail = format!("{} events, more than {}", events.len(), fanfare_core::limits::BATCH_MAX);
            return Err(SendError::TooLarge { pointer: "".into(), detail });
        }
        let mut drafts: Vec<Draft> = Vec::with_capacity(events.len());
        for (index, (event, target)) in events.iter().enumerate() {
            let draft = self.draft(event, target);
            drafts.push(draft.map_err(|error| {
                // The place only: the detail, which the caller gets, may quote the event.
                tracing::warn!(target: "fanfare", pointer = error.place(), "event refused");
                if list { error.at(index) } else { error }
            })?);
        }
        if self.inner.destroyed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        #[cfg(feature = "test-util")]
        let note = {
            self.inner.kit.refusal()?;
            self.inner.kit.note(&events, key.is_some())
        };
        let logging = self.inner.config.enable_logging;
        self.inner.hub.publish(
            drafts,
            key,
            self.now(),
            Box::new(move |result| {
                let result = result.map_err(|error| match error {
                    PublishError::Conflict { index, last } if list => SendError::conflict(last).at(index),
                    PublishError::Conflict { last, .. } => SendError::conflict(last),
                    PublishError::KeyReused => SendError::KeyReused,
                    PublishError::Busy => SendError::Busy,
                    PublishError::Full => SendError::Full,
                    PublishError::ReadOnly => SendError::ReadOnly,
                    PublishError::TooLarge(_) => SendError::TooLarge { pointer: "".into(), detail: error.to_string() },
                    _ => SendError::Closed,
                });
                if let Err(error @ (SendError::Busy | SendError::Full | SendError::ReadOnly)) = &result {
                    // Those who send without waiting hear of it nowhere else.
                    tracing::warn!(target: "fanfare", %error, "event not kept");
                }
                #[cfg(feature = "test-util")]
                if let Ok(receipts) = &result {
                    note.answered(receipts);
                }
                if logging {
                    for receipt in result.iter().flatten() {
                        tracing::debug!(
                            target: "fanfare",
                            id = receipt.id.as_deref().unwrap_or("-"),
                            clients = receipt.clients,
                            ephemeral = receipt.durability == Durability::Ephemeral,
                            "event published"
                        );
                    }
                }
                reply(result);
            }),
        );
        Ok(())
    }

    fn draft(&self, event: &SseEvent, target: &Target) -> Result<Draft, SendError> {
        let (checked, target) = (event.check()?, target.check()?);
        Ok(match event.expectation(&target)? {
            Some((topic, expected)) => self.inner.hub.draft_expecting(&checked, topic, expected),
            None => self.inner.hub.draft(&checked, &target),
        })
    }

    /// Ends a connection and tells its client not to come back. False if it was gone already.
    pub fn disconnect_client(&self, client_id: &str) -> bool {
        ClientId::parse(client_id).is_some_and(|id| self.inner.hub.close_client(id, Disconnect::Disconnected))
    }

    /// Ends every connection of a user and tells the clients not to come back. Returns their number.
    pub fn disconnect_user(&self, user_id: &str) -> usize {
        fanfare_core::Name::new(user_id).map_or(0, |user| self.inner.hub.close_user(&user, Disconnect::Disconnected))
    }

    /// Connections of a user, 0 for a name that none can have. Cheap: for an `authorize` hook that limits them.
    ///
    /// ```
    /// use fanfare::{Access, Action, Denied, SseConfig, SseManager};
    ///
    /// const STREAMS_MAX: usize = 20;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SseManager::new(SseConfig::default())?;
    /// let hub = manager.clone();
    /// let events = fanfare::router(manager).authorize(move |request| {
    ///     // The user that the application knows, not the one that the URL claims.
    ///     let streams = request.extensions.get::<String>().map_or(0, |user| hub.user_clients(user));
    ///     async move {
    ///         match request.action {
    ///             Action::Subscribe if streams < STREAMS_MAX => Ok(Access::allow()),
    ///             _ => Err(Denied::forbidden("that is enough")),
    ///         }
    ///     }
    /// });
    /// # drop(events);
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_clients(&self, user_id: &str) -> usize {
        fanfare_core::Name::new(user_id).map_or(0, |user| self.inner.hub.user_clients(&user))
    }

    /// The present as a cursor: read it, load state, then subscribe from it, and nothing falls in between.
    pub fn cursor(&self) -> String {
        self.inner.hub.cursor().to_string()
    }

    /// Statistics, in one moment.
    ///
    /// Cost: linear in the number of connected users, in pieces that hold nobody up.
    pub fn stats(&self) -> SseStats {
        let hub = &self.inner.hub;
        let stats = hub.stats(self.now());
        let (users, truncated) = hub.largest_users(STATS_USERS_MAX);
        let config = &self.inner.config;
        SseStats {
            total_clients: stats.clients,
            clients_by_user: users.into_iter().collect(),
            average_connection_duration: stats.mean_age_ms,
            total_events_sent: stats.events_sent,
            last_event_time: stats.last_event_at,
            clients_by_user_truncated: truncated,
            total_events_published: stats.published,
            clients_refused: stats.refused,
            disconnects: stats.disconnects_by_reason().collect(),
            total_bytes_sent: stats.bytes_sent,
            total_pings_sent: stats.pings_sent,
            gaps: stats.gaps_by_reason().collect(),
            slow_readers: stats.slow_readers_by_policy().collect(),
            lagged: stats.lagged,
            durability: if stats.disk.is_some() { Durability::Disk } else { Durability::Memory }.as_str(),
            disk: stats.disk.map(Condition::as_str),
            history_events: stats.log_records,
            history_bytes: stats.log_bytes,
            settings: SseSettings {
                ping_interval: millis(config.ping_interval),
                client_timeout: millis(config.client_timeout),
                max_clients: config.max_clients,
                enable_logging: config.enable_logging,
            },
        }
    }

    /// Counters and gauges of the engine, cheap to read: for metrics.
    pub fn engine_stats(&self) -> fanfare_core::Stats {
        self.inner.hub.stats(self.now())
    }

    /// Ended connections by reason, every reason included.
    pub fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.engine_stats().disconnects_by_reason()
    }

    /// Gaps that open connections were told of, by reason, every reason included.
    pub fn gaps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.engine_stats().gaps_by_reason()
    }

    /// Times a connection was slow, by its policy, every policy included.
    pub fn slow_readers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.engine_stats().slow_readers_by_policy()
    }

    /// True once the manager drains, was destroyed, or has lost one of its threads: it takes no more connections.
    pub fn is_closing(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Takes no more connections, and ends those that are there, spread over `window` (a day at most): each gets `$closing` with a
    /// jittered `retry:`. Events go on being sent. Returns when the last peer has read its end, or two seconds after the
    /// window.
    ///
    /// # Cancel safety
    ///
    /// The drain goes on without the caller.
    pub async fn drain(&self, window: Duration) {
        let window = window.min(DRAIN_MAX);
        self.inner.draining.store(true, Ordering::Release);
        self.inner.hub.drain(Disconnect::Shutdown, millis(window));
        let deadline = tokio::time::Instant::now() + window + Duration::from_secs(2);
        let busy = || {
            let stats = self.engine_stats();
            stats.clients > 0 || stats.held > 0
        };
        while busy() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends every connection and takes neither connections nor events any more. Idempotent; does not wait.
    pub fn destroy(&self) {
        self.inner.destroyed.store(true, Ordering::Release);
        self.inner.draining.store(true, Ordering::Release);
        self.inner.hub.destroy();
    }
}

impl SendError {
    /// The same error about one event of a batch.
    pub(crate) fn at(self, index: usize) -> Self {
        let prefix = |pointer: std::borrow::Cow<'static, str>| format!("/{index}{pointer}").into();
        match self {
            Self::Conflict { pointer, detail, last_id } => Self::Conflict { pointer: prefix(pointer), detail, last_id },
            Self::Invalid { pointer, detail } => Self::Invalid { pointer: prefix(pointer), detail },
            Self::TooLarge { pointer, detail } => Self::TooLarge { pointer: prefix(pointer), detail },
            whole @ (Self::Busy | Self::Closed | Self::Full | Self::KeyReused | Self::ReadOnly) => whole,
        }
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
