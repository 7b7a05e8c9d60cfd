//! Faults that an application must survive, made on purpose.

use super::barrier::settle;
use super::gate::Gate;
use super::kit::publish_own;
use super::patience;
use crate::error::SendError;
use crate::manager::SseManager;
use fanfare_core::limits::{DATA_MAX, WINDOW_BYTES};
use fanfare_core::{ClientId, Event, Identity, Name, Now, Start, Target};
use std::panic::Location;
use std::sync::Arc;

/// Makes things go wrong, for connections of any kind: read in process, under [`serve`](crate::serve) or under
/// `axum::serve`. From [`SseManager::faults`]; a cheap clone.
///
/// A connection is named by its client id, which is in [`Connection::client_id`](crate::Connection::client_id), in its
/// `connected`, and for real clients comes from [`SseManager::expect_clients`]. A client that reconnects is another
/// connection: faults stay behind.
///
/// ```
/// use fanfare::Resume;
/// use fanfare::{ConnectionOptions, SseConfig, SseEvent, SseManager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = SseManager::new(SseConfig::default())?;
/// let faults = manager.faults();
/// let mut page = manager.create_connection(ConnectionOptions::default())?;
/// let last_event_id = page.expect_connected().await.cursor;
///
/// faults.stall(page.client_id());
/// manager.broadcast(SseEvent::new("news", 1))?;
/// faults.forget_history();
/// faults.cut(page.client_id());
/// page.expect_end().await;
///
/// let back = ConnectionOptions { last_event_id: Some(last_event_id), ..ConnectionOptions::default() };
/// manager.create_connection(back)?.expect_resume(Resume::Gap).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Faults {
    manager: SseManager,
}

impl SseManager {
    /// The ways to make things go wrong.
    pub fn faults(&self) -> Faults {
        Faults { manager: self.clone() }
    }
}

impl Faults {
    #[track_caller]
    fn gate(&self, client_id: &str) -> Arc<Gate> {
        let Some(gate) = self.manager.inner.kit.gate(client_id) else {
            let open = self.manager.client_ids(None);
            panic!("no connection has the client id {client_id:?}; open are {open:?}");
        };
        gate
    }

    /// The client takes no byte more, until [`Faults::resume`]. What was published before still reaches it.
    ///
    /// It is not slow yet by that: up to 4 MiB of newer events wait for it, and it then gets all of them. See
    /// [`Faults::fall_behind`]. One that stalls for [`stall_timeout`](crate::SseConfig::stall_timeout) is ended.
    ///
    /// # Panics
    ///
    /// If there is no such connection.
    #[track_caller]
    pub fn stall(&self, client_id: &str) {
        let gate = self.gate(client_id);
        settle(&self.manager.inner.hub);
        gate.stall();
    }

    /// The client reads again.
    ///
    /// # Panics
    ///
    /// If there is no such connection.
    #[track_caller]
    pub fn resume(&self, client_id: &str) {
        self.gate(client_id).resume();
        // What its slow policy decides is decided before the test goes on.
        settle(&self.manager.inner.hub);
    }

    /// Stalls a client, and lets so much pass that it falls behind: what comes now is for its
    /// [`SlowPolicy`](crate::SlowPolicy) to decide, at the latest when it [resumes](Faults::resume). It catches up from
    /// the history, or is told of a `$gap` if any event of its own lies there, or of its end.
    ///
    /// What passes are some megabytes of ephemeral events for this connection that nobody ever receives; statistics count
    /// them. A connection that is still replaying when it stalls goes on replaying, whatever its policy.
    ///
    /// # Panics
    ///
    /// If there is no such connection, or if its stream has not begun within ten seconds.
    #[track_caller]
    pub fn fall_behind(&self, client_id: &str) -> impl Future<Output = ()> + use<> {
        let caller = Location::caller();
        let gate = self.gate(client_id);
        let name = client_id.to_owned();
        let faults = self.clone();
        async move {
            settle(&faults.manager.inner.hub);
            gate.stall();
            // First it must be known to be stuck: whoever falls behind with an empty socket is not slow.
            faults.publish_filler(&name, 1);
            if patience::found(|| gate.has_refused().then_some(())).await.is_none() {
                patience::fail(
                    caller,
                    format_args!("client {name:?} has no stream that could stall: read its `connected` first"),
                );
            }
            for _ in 0..=WINDOW_BYTES / DATA_MAX {
                faults.publish_filler(&name, DATA_MAX);
            }
        }
    }

    fn publish_filler(&self, client_id: &str, bytes: usize) {
        let event = Event::new("fanfare.filler", "0".repeat(bytes)).map(|event| event.with_ephemeral(true));
        if let (Ok(event), Some(client_id)) = (event, ClientId::parse(client_id)) {
            let inner = &self.manager.inner;
            publish_own(&inner.hub, &inner.clock, &event, &Target::Client(client_id));
        }
    }

    /// Its connection breaks, as networks do it, without `$closing`. What was published before still reaches it, unless it
    /// is stalled, or speaks HTTP/2, where a break takes with it what is under way. Where HTTP can tell a broken body from
    /// a finished one, it is broken. Statistics count it under `error`.
    ///
    /// Its place in `max_clients` is free at once. A client that reconnects resumes where it was.
    ///
    /// # Panics
    ///
    /// If there is no such connection.
    #[track_caller]
    pub fn cut(&self, client_id: &str) {
        let gate = self.gate(client_id);
        settle(&self.manager.inner.hub);
        assert!(gate.cut(), "the connection {client_id:?} has ended already");
    }

    /// Lets so many bytes more through, then [cuts](Faults::cut): with a number smaller than its next event, in the
    /// middle of that. Over HTTP/2 some of those bytes may be lost, too.
    ///
    /// # Panics
    ///
    /// If there is no such connection.
    #[track_caller]
    pub fn cut_after(&self, client_id: &str, bytes: usize) {
        if bytes == 0 {
            return self.cut(client_id);
        }
        self.gate(client_id).cut_after(bytes);
    }

    /// Forgets every event published so far, as if it were too old: a client that comes back and missed one of its own is
    /// told `gap`, an open one that has [fallen behind](Faults::fall_behind) gets `$gap`. A client that missed nothing of
    /// its own loses nothing by it.
    ///
    /// A client that reconnects by itself may be quicker than the test. So [stall](Faults::stall) it, publish what it
    /// shall miss, forget, and [cut](Faults::cut) it last.
    ///
    /// # Panics
    ///
    /// With a history on disk ([`data_dir`](crate::SseConfig::data_dir)), which is not for a test to delete: use one in
    /// memory.
    #[track_caller]
    pub fn forget_history(&self) {
        assert!(!self.manager.is_on_disk(), "forget_history: the history is on disk; test with one in memory");
        // The history as it will be when everything in it is too old; nothing else is decided by this clock.
        let never = Now { mono_ms: u64::MAX, ..self.manager.now() };
        self.manager.inner.hub.history(&Identity::anonymous(), Start::Live, true, 1, 0, never);
    }

    /// As if the process had died and come back with an empty memory: every connection is [cut](Faults::cut), the history
    /// is forgotten, and cursors given out before mean nothing, so that those who come back with one are told `reset`.
    ///
    /// Statistics and idempotency keys stay as they are.
    ///
    /// # Panics
    ///
    /// With a history on disk, since a restart then costs nobody anything: make another manager over the directory. If
    /// the manager was destroyed.
    #[track_caller]
    pub fn restart(&self) {
        assert!(!self.manager.is_on_disk(), "restart: the history is on disk; make another manager over its directory");
        let inner = &self.manager.inner;
        let gates = inner.kit.gates();
        // An event for a topic nobody asked for, so that the first cursor given out from here on is not an old one.
        let began = Event::new("fanfare.restart", "0").ok().zip(Name::new("fanfare.restart").ok());
        let receipt =
            began.and_then(|(event, topic)| publish_own(&inner.hub, &inner.clock, &event, &Target::Topic(topic)));
        assert!(receipt.is_some(), "restart: the manager was destroyed; make another one");
        inner.kit.begin_at(inner.hub.cursor().position);
        self.forget_history();
        for gate in gates {
            // One that has ended meanwhile is gone as it should be.
            _ = gate.cut();
        }
    }

    /// Every send and publish fails with this error from now on, in Rust and over HTTP, until [`Faults::accept_sends`].
    /// Events that are wrong are still told what is wrong with them.
    ///
    /// ```
    /// use fanfare::{SendError, SseConfig, SseEvent, SseManager};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SseManager::new(SseConfig::default())?;
    /// manager.faults().refuse_sends(SendError::Full);
    /// assert_eq!(manager.broadcast(SseEvent::new("news", 1)), Err(SendError::Full));
    /// manager.faults().accept_sends();
    /// assert_eq!(manager.broadcast(SseEvent::new("news", 1)), Ok(0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse_sends(&self, error: SendError) {
        self.manager.inner.kit.refuse(Some(error));
    }

    /// Sends work again.
    pub fn accept_sends(&self) {
        self.manager.inner.kit.refuse(None);
    }
}
