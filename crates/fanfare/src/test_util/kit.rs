//! What a manager keeps for the test kit, and the few places where it looks there.

use super::gate::Gate;
use super::patience;
use super::recorder::{Note, Records};
use crate::clock::Clock;
use crate::driver::EngineHub;
use crate::error::SendError;
use crate::event::SseEvent;
use crate::lock::lock;
use crate::manager::SseManager;
use crate::target::Target;
use fanfare_core::{ClientId, Event, Start};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

#[derive(Debug, Default)]
pub(crate) struct Kit {
    gates: Mutex<HashMap<ClientId, Arc<Gate>>>,
    recorders: Mutex<Vec<Weak<Records>>>,
    refusal: Mutex<Option<SendError>>,
    /// Cursors below this position are from before the last `restart`.
    began: AtomicU64,
}

impl Kit {
    pub(super) fn insert(&self, client_id: ClientId, gate: &Arc<Gate>) {
        lock(&self.gates).insert(client_id, Arc::clone(gate));
    }

    pub(super) fn remove(&self, client_id: ClientId) {
        lock(&self.gates).remove(&client_id);
    }

    pub(super) fn gate(&self, client_id: &str) -> Option<Arc<Gate>> {
        lock(&self.gates).get(&ClientId::parse(client_id)?).cloned()
    }

    pub(super) fn gates(&self) -> Vec<Arc<Gate>> {
        lock(&self.gates).values().cloned().collect()
    }

    pub(super) fn add_recorder(&self, records: &Arc<Records>) {
        let mut recorders = lock(&self.recorders);
        recorders.retain(|known| known.strong_count() > 0);
        recorders.push(Arc::downgrade(records));
    }

    pub(super) fn refuse(&self, error: Option<SendError>) {
        *lock(&self.refusal) = error;
    }

    pub(super) fn begin_at(&self, position: u64) {
        self.began.store(position, Ordering::Release);
    }

    /// Asked by every send.
    pub(crate) fn refusal(&self) -> Result<(), SendError> {
        lock(&self.refusal).clone().map_or(Ok(()), Err)
    }

    /// Asked by every send: what recorders are told once it is answered.
    pub(crate) fn note(&self, events: &[(SseEvent, Target)], repeatable: bool) -> Note {
        let recorders = lock(&self.recorders).iter().filter_map(Weak::upgrade).collect();
        Note::new(recorders, events, repeatable)
    }

    /// Asked by everybody who begins to read: a cursor from before a restart means nothing.
    pub(crate) fn start(&self, start: Start) -> Start {
        match start {
            Start::After(Some(cursor)) if cursor.position < self.began.load(Ordering::Acquire) => Start::After(None),
            other => other,
        }
    }
}

/// Publishes an event of the kit's own, past recorders and refusals, and waits until it is kept. `None` if it is not.
pub(super) fn publish_own(
    hub: &EngineHub,
    clock: &Clock,
    event: &Event,
    target: &fanfare_core::Target,
) -> Option<fanfare_core::Receipt> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    hub.publish(vec![hub.draft(event, target)], None, clock.now(), Box::new(move |result| _ = sender.send(result)));
    receiver.recv().ok()?.ok()?.pop()
}

/// What a connection needs to ask the engine whether anything is on its way.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) hub: EngineHub,
    pub(crate) clock: Clock,
    pub(crate) client_id: ClientId,
}

impl SseManager {
    /// Waits until so many connections are registered, and returns their client ids. For tests of real clients: a
    /// connection is registered before its client reads the first byte.
    ///
    /// # Panics
    ///
    /// After ten seconds with another number.
    #[track_caller]
    pub fn expect_clients(&self, count: usize) -> impl Future<Output = Vec<String>> {
        self.clients_become(None, count, Location::caller())
    }

    /// [`SseManager::expect_clients`] for those of one user.
    ///
    /// # Panics
    ///
    /// After ten seconds with another number.
    #[track_caller]
    pub fn expect_clients_of(&self, user_id: &str, count: usize) -> impl Future<Output = Vec<String>> {
        self.clients_become(Some(user_id.to_owned()), count, Location::caller())
    }

    fn clients_become(
        &self,
        user_id: Option<String>,
        count: usize,
        caller: &'static Location<'static>,
    ) -> impl Future<Output = Vec<String>> + use<> {
        let manager = self.clone();
        async move {
            let of_user = user_id.as_deref();
            let exactly = || Some(manager.client_ids(of_user)).filter(|found| found.len() == count);
            patience::found(exactly).await.unwrap_or_else(|| {
                let whose = of_user.map_or_else(String::new, |user_id| format!(" of {user_id:?}"));
                let found = manager.client_ids(of_user);
                let expected = format!("expected the number of clients{whose} to become {count}");
                patience::fail(caller, format_args!("{expected}, got {} after ten seconds: {found:?}", found.len()))
            })
        }
    }

    pub(super) fn client_ids(&self, user_id: Option<&str>) -> Vec<String> {
        let user = match user_id.map(fanfare_core::Name::new) {
            Some(Ok(user)) => Some(user),
            // Nobody can have such a name.
            Some(Err(_)) => return Vec::new(),
            None => None,
        };
        let mut ids = Vec::new();
        let mut from = Some(0);
        while let Some(slot) = from {
            let (found, next) = self.inner.hub.clients(slot, usize::MAX, user.as_ref());
            ids.extend(found.into_iter().map(|info| info.client_id.to_string()));
            from = next;
        }
        ids
    }
}
