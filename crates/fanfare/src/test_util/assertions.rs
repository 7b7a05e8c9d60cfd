//! Assertions on what a connection that is read in process receives.

use super::kit::publish_own;
use super::patience;
use super::recorder::json;
use crate::connected::Connected;
use crate::connection::Connection;
use fanfare_core::{Event, Parsed, Resume, Target};
use futures_core::Stream as _;
use serde_json::Value;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

/// The type of the event by which silence is measured.
const MARKER: &str = "fanfare.marker";

type Caller = &'static Location<'static>;

/// An event as a message shows it.
fn shown(event: &Parsed) -> String {
    format!("{:?} with {}", event.event, event.data)
}

/// What goes on beside the application's events, and changes nothing for it.
fn is_routine(event: &Parsed) -> bool {
    matches!(event.event.as_str(), "connected" | "ping")
}

impl Connection {
    /// The next event, control events included; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// After ten seconds without one.
    #[track_caller]
    pub fn next_event(&mut self) -> impl Future<Output = Option<Parsed>> {
        self.next_before(Location::caller(), "an event, or the end")
    }

    async fn next_before(&mut self, caller: Caller, expected: &str) -> Option<Parsed> {
        match patience::ready(|context| Pin::new(&mut *self).poll_next(context)).await {
            Some(Some(Ok(event))) => Some(event),
            Some(Some(Err(error))) => patience::fail(caller, format_args!("expected {expected}, got {error}")),
            Some(None) => None,
            None => patience::fail(caller, format_args!("expected {expected}, got nothing for ten seconds")),
        }
    }

    /// The next event that is not routine, or of the given type.
    async fn next_notable(&mut self, caller: Caller, wanted: &str, expected: &str) -> Option<Parsed> {
        loop {
            let event = self.next_before(caller, expected).await?;
            if event.event == wanted || !is_routine(&event) {
                return Some(event);
            }
        }
    }

    /// The next event, which must have this type; `connected` and `ping` are passed over. Returns its data.
    ///
    /// Control events can be asked for: `expect_event("$gap").await["reason"]`.
    ///
    /// # Panics
    ///
    /// If another event comes first, `$gap` and `$closing` included, if the stream ends, or after ten seconds.
    #[track_caller]
    pub fn expect_event(&mut self, event_type: &str) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let expected = format!("{event_type:?}");
            match self.next_notable(caller, event_type, &expected).await {
                Some(event) if event.event == event_type => json(event.data),
                Some(event) => patience::fail(caller, format_args!("expected {expected}, got {}", shown(&event))),
                None => patience::fail(caller, format_args!("expected {expected}, got the end of the stream")),
            }
        }
    }

    /// The next event, which must be `connected`: the first of every stream.
    ///
    /// # Panics
    ///
    /// If it is not, if the stream ends, or after ten seconds.
    #[track_caller]
    pub fn expect_connected(&mut self) -> impl Future<Output = Connected> {
        self.connected(Location::caller())
    }

    /// The next event, which must be `connected` with this verdict on the connection's start: all that it missed follows
    /// ([`Resume::Resumed`]), some of it is gone ([`Resume::Gap`]), its cursor means nothing here ([`Resume::Reset`]), or
    /// it came without one ([`Resume::Live`]).
    ///
    /// ```
    /// use fanfare::{Resume, ConnectionOptions, SseConfig, SseManager};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SseManager::new(SseConfig::default())?;
    /// let of_another_start = SseManager::new(SseConfig::default())?.cursor();
    /// let options = ConnectionOptions { last_event_id: Some(of_another_start), ..ConnectionOptions::default() };
    /// manager.create_connection(options)?.expect_resume(Resume::Reset).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If it says something else, and as [`Connection::expect_connected`].
    #[track_caller]
    pub fn expect_resume(&mut self, verdict: Resume) -> impl Future<Output = Connected> {
        let caller = Location::caller();
        async move {
            let connected = self.connected(caller).await;
            if connected.resume != verdict {
                let (expected, got) = (verdict.as_str(), connected.resume.as_str());
                patience::fail(caller, format_args!("expected `connected` with {expected:?}, got it with {got:?}"));
            }
            connected
        }
    }

    async fn connected(&mut self, caller: Caller) -> Connected {
        let event = self.next_before(caller, "`connected`").await;
        let got = event.as_ref().map_or_else(|| "the end of the stream".to_owned(), shown);
        event
            .as_ref()
            .and_then(Connected::read)
            .unwrap_or_else(|| patience::fail(caller, format_args!("expected `connected`, got {got}")))
    }

    /// Nothing that the application could see is on its way to this connection: all that was published for it has been
    /// read. `connected` and `ping` are passed over.
    ///
    /// Exact, without waiting for time to pass: it publishes an event of its own to this connection, and reads up to it.
    /// So the present moves on by one event, as in [`SseManager::cursor`](crate::SseManager::cursor) and in statistics.
    ///
    /// It says nothing of what a task will publish later: wait for the task first.
    ///
    /// # Panics
    ///
    /// If an event comes before that, `$gap` and `$closing` included, if the stream has ended, or after ten seconds.
    #[track_caller]
    pub fn expect_silence(&mut self) -> impl Future<Output = ()> {
        static MARKERS: AtomicU64 = AtomicU64::new(0);
        let caller = Location::caller();
        async move {
            let marker = MARKERS.fetch_add(1, Ordering::Relaxed).to_string();
            if let Ok(event) = Event::new(MARKER, marker.as_str()) {
                // Where it is refused, the stream has ended, and that is what is read.
                let probe = &self.probe;
                publish_own(&probe.hub, &probe.clock, &event, &Target::Client(probe.client_id));
            }
            match self.next_notable(caller, MARKER, "silence, and the event of the kit that ends it").await {
                Some(event) if event.event == MARKER && event.data == marker => {}
                Some(event) => patience::fail(caller, format_args!("expected silence, got {}", shown(&event))),
                None => patience::fail(caller, "expected silence, got the end of the stream"),
            }
        }
    }

    /// The next event, which must be `$closing` for this reason (`shutdown`, `lifetime`, `slow`, `capacity`, `token`,
    /// `revoked` or `disconnected`), and then the end. Returns its data. `connected` and `ping` are passed over.
    ///
    /// # Panics
    ///
    /// If something else comes first, if the reason is another one, or after ten seconds.
    #[track_caller]
    pub fn expect_closing(&mut self, reason: &str) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let expected = format!("`$closing` for {reason:?}");
            let event = self.next_notable(caller, "$closing", &expected).await;
            let got = event.as_ref().map_or_else(|| "the end of the stream".to_owned(), shown);
            let data = event.filter(|event| event.event == "$closing").map(|event| json(event.data));
            let Some(data) = data.filter(|data| data["reason"] == reason) else {
                patience::fail(caller, format_args!("expected {expected}, got {got}"));
            };
            self.end(caller).await;
            data
        }
    }

    /// Nothing more but the end of the stream, as after [`Faults::cut`](super::Faults::cut). `connected` and `ping` are
    /// passed over.
    ///
    /// # Panics
    ///
    /// If an event comes, `$closing` included, or after ten seconds.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        self.end(Location::caller())
    }

    async fn end(&mut self, caller: Caller) {
        if let Some(event) = self.next_notable(caller, "", "the end of the stream").await {
            patience::fail(caller, format_args!("expected the end of the stream, got {}", shown(&event)));
        }
    }
}
