//! What was published, whether anybody was there or not.

use super::patience;
use crate::connection::ConnectionOptions;
use crate::error::ConnectError;
use crate::event::SseEvent;
use crate::lock::lock;
use crate::manager::SseManager;
use crate::target::Target;
use fanfare_core::{Parsed, Parser};
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::Location;
use std::sync::{Arc, Mutex};

/// Most events that a [`Recorder`] keeps; beyond them the oldest are forgotten.
pub const RECORDED_MAX: usize = 10_000;

/// Events that a failed assertion lists.
const LISTED: usize = 20;

/// An event that was published.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// Its type.
    pub event: String,
    /// Its data.
    pub data: Value,
    /// The application's own id.
    pub id: Option<String>,
    /// For whom.
    pub target: Target,
    /// Connections it was for.
    pub clients: usize,
    /// Its place, as it stands in the event's `id:` line; `None` where nothing was kept.
    pub cursor: Option<String>,
    /// True if it was for those present only.
    pub ephemeral: bool,
    /// The reconnection time that went with it, in milliseconds.
    pub retry_ms: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Published>,
    forgotten: usize,
}

/// One publish on its way.
pub(crate) struct Note {
    recorders: Vec<Arc<Records>>,
    events: Vec<Published>,
    repeatable: bool,
}

impl Note {
    pub(super) fn new(recorders: Vec<Arc<Records>>, events: &[(SseEvent, Target)], repeatable: bool) -> Self {
        let published = |(event, target): &(SseEvent, Target)| {
            let event = event.check().ok()?;
            Some(Published {
                event: event.event_type().to_owned(),
                data: json(event.data().to_owned()),
                id: event.id().map(str::to_owned),
                target: target.clone(),
                clients: 0,
                cursor: None,
                ephemeral: event.ephemeral(),
                retry_ms: event.retry(),
            })
        };
        let recorded = if recorders.is_empty() { &[] } else { events };
        Self { recorders, events: recorded.iter().filter_map(published).collect(), repeatable }
    }

    /// It was published.
    pub(crate) fn answered(mut self, receipts: &[fanfare_core::Receipt]) {
        for (event, receipt) in self.events.iter_mut().zip(receipts) {
            (event.clients, event.cursor) = (receipt.clients, receipt.id.clone());
        }
        for records in &self.recorders {
            let mut kept = lock(&records.0);
            for event in &self.events {
                // A publish repeated under its idempotency key got the first one's answer, and was not published.
                let known = |known: &Published| known.cursor.is_some() && known.cursor == event.cursor;
                if self.repeatable && kept.events.iter().any(known) {
                    continue;
                }
                kept.events.push_back(event.clone());
                if kept.events.len() > RECORDED_MAX {
                    kept.events.pop_front();
                    kept.forgotten += 1;
                }
            }
        }
    }
}

pub(super) fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// What was published since it was made, in the order of the answers; from [`SseManager::record`].
///
/// Refused events are not in it. With a history on disk an event is in it once it is kept: await `publish`, or
/// [`Recorder::next`]. It keeps the newest [`RECORDED_MAX`] that have not been taken out.
#[derive(Debug, Clone)]
pub struct Recorder {
    records: Arc<Records>,
}

impl Recorder {
    /// What there is, left in place.
    pub fn all(&self) -> Vec<Published> {
        lock(&self.records.0).events.iter().cloned().collect()
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<Published> {
        lock(&self.records.0).events.drain(..).collect()
    }

    /// Takes out the first event of this type for this target, and returns its data. Others may stand before it.
    ///
    /// # Panics
    ///
    /// If there is none; the message lists what was published instead.
    #[track_caller]
    pub fn expect(&self, event_type: &str, target: &Target) -> Value {
        let mut kept = lock(&self.records.0);
        let place = kept.events.iter().position(|event| event.event == event_type && event.target == *target);
        let Some(event) = place.and_then(|place| kept.events.remove(place)) else {
            let listed = kept.listed();
            drop(kept);
            panic!("expected a published {event_type:?} for {target:?}, got {listed}");
        };
        event.data
    }

    /// Nothing was published, or all of it has been taken out.
    ///
    /// # Panics
    ///
    /// If there is something; the message lists it.
    #[track_caller]
    pub fn expect_nothing(&self) {
        let kept = lock(&self.records.0);
        if !kept.events.is_empty() {
            let listed = kept.listed();
            drop(kept);
            panic!("expected nothing published, got {listed}");
        }
    }

    /// Takes out the oldest event, and waits until there is one: for work that publishes on its own time.
    ///
    /// # Panics
    ///
    /// After ten seconds without one.
    #[track_caller]
    pub fn next(&self) -> impl Future<Output = Published> + use<> {
        let caller = Location::caller();
        let records = Arc::clone(&self.records);
        async move {
            let next = patience::found(|| lock(&records.0).events.pop_front()).await;
            next.unwrap_or_else(|| patience::fail(caller, "expected something published, got nothing for ten seconds"))
        }
    }
}

impl Kept {
    fn listed(&self) -> String {
        if self.events.is_empty() && self.forgotten == 0 {
            return "nothing".to_owned();
        }
        let mut text = format!("{} events:", self.events.len());
        for Published { event, target, data, .. } in self.events.iter().take(LISTED) {
            _ = write!(text, "\n  {event:?} for {target:?} with {data}");
        }
        if self.events.len() > LISTED {
            _ = write!(text, "\n  and {} more", self.events.len() - LISTED);
        }
        if self.forgotten > 0 {
            _ = write!(text, "\n  ({} older ones were forgotten: take them out earlier)", self.forgotten);
        }
        text
    }
}

impl SseManager {
    /// Keeps a record of what is published from now on, whether anybody is connected or not.
    ///
    /// ```
    /// use fanfare::{SseConfig, SseEvent, SseManager, Target};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SseManager::new(SseConfig::default())?;
    /// let published = manager.record();
    /// manager.send_to_user("ann", SseEvent::new("invoice", 7))?; // the code under test
    /// assert_eq!(published.expect("invoice", &Target::user("ann")), 7);
    /// published.expect_nothing();
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self) -> Recorder {
        let records = Arc::new(Records::default());
        self.inner.kit.add_recorder(&records);
        Recorder { records }
    }

    /// What a client with these options would get of the history, matched by the engine as for a real one: from the
    /// oldest event, or from `last_event_id`. Ephemeral events and those for one client id are not in the history.
    ///
    /// ```
    /// use fanfare::{ConnectionOptions, SseConfig, SseEvent, SseManager, Target};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SseManager::new(SseConfig::default())?;
    /// manager.send(SseEvent::new("goal", 1), Target::topic("football"))?;
    /// manager.send(SseEvent::new("goal", 2), Target::topic("handball"))?;
    /// let fan = ConnectionOptions { topics: vec!["football".into()], ..ConnectionOptions::default() };
    /// let got = manager.received_by(&fan)?;
    /// assert_eq!((got.len(), got[0].data.as_str()), (1, "1"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError::Invalid`] names what is wrong with the options.
    pub fn received_by(&self, options: &ConnectionOptions) -> Result<Vec<Parsed>, ConnectError> {
        let (identity, start, _) = options.check()?;
        let from_now = options.last_event_id.as_deref() == Some("latest");
        let start = self.inner.kit.start(start);
        let history = self.inner.hub.history(&identity, start, from_now, usize::MAX, usize::MAX, self.now());
        let mut parser = Parser::new(usize::MAX);
        let mut events = Vec::new();
        for frame in &history.frames {
            // Our own frames are well formed, and the parser has no bound here.
            _ = parser.feed(frame, &mut events);
        }
        Ok(events)
    }
}
