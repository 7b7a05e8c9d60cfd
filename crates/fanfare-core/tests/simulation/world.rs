//! The world: hubs, shards and sinks under one clock, the operations on them, and the record of what happened.
//! Chance is elsewhere: a test can write its own history with these operations.

use super::model::{HubTrace, Mark, Published, To, Trace};
use super::sink::{Clock, Done, Meanwhile, Pipe, SimSink, Work, publish};
use fanfare_core::{ClientId, Disconnect, Event, Hub, HubConfig, MemoryStore, Registration, Seed, Shard, Target};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Below these no inbox and no window runs over, with room for what is meanwhile published.
const SAFE_BYTES: usize = 2 << 20;
const SAFE_RECORDS: usize = 16_000;

/// One event to publish.
#[derive(Debug, Clone)]
pub struct Draw {
    pub to: To,
    pub event_type: String,
    pub data: String,
    pub own_id: Option<String>,
    pub retry: Option<u64>,
    pub ephemeral: bool,
}

impl Draw {
    pub fn new(to: To, data: &str) -> Self {
        let data = data.to_owned();
        Self { to, event_type: "update".into(), data, own_id: None, retry: None, ephemeral: false }
    }

    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }

    fn cost_max(&self) -> usize {
        let lines = self.data.split(['\r', '\n']).count();
        let keys = if let To::Users(users) = &self.to { users.len() } else { 6 };
        900 + self.data.len() + self.event_type.len() + 7 * lines + 48 * keys
    }

    pub fn event(&self) -> Event {
        let mut event = Event::new(&self.event_type, self.data.as_str()).unwrap().with_ephemeral(self.ephemeral);
        if let Some(id) = &self.own_id {
            event = event.with_id(id).unwrap();
        }
        if let Some(retry) = self.retry {
            event = event.with_retry(retry).unwrap();
        }
        event
    }
}

/// A connection as the driver holds it, beside its record.
pub struct Live {
    pub registration: Registration,
    pub pipe: Arc<Mutex<Pipe>>,
    pub hub: usize,
    pub shard: usize,
}

pub struct World {
    pub trace: Trace,
    pub hub: Hub<SimSink>,
    pub shards: Vec<Shard<SimSink>>,
    pub conns: Vec<Live>,
    pub clock: Arc<Clock>,
    pub meanwhile: Arc<Mutex<Meanwhile>>,
    pub by_client: HashMap<ClientId, usize>,
    /// Of every record of this hub, from the receipts.
    pub positions: Vec<u64>,
    /// Bytes and records published since every shard was idle, and that step.
    pub loose: (usize, usize, usize),
    pub quiet_at_ms: u64,
    /// The first connection its shard has not heard of.
    pub unheard: usize,
    pub enforced: bool,
    pub closing: bool,
    pub closed: bool,
}

impl World {
    pub fn new(config: HubConfig, seed: [u64; 6]) -> Self {
        let clock = Arc::new(Clock::default());
        let (hub, shards) = Hub::new(config.clone(), Box::new(MemoryStore), Seed(seed), clock.now());
        let meanwhile = Arc::new(Mutex::new(Meanwhile { hub: Some(hub.clone()), ..Meanwhile::default() }));
        let epoch = hub.cursor().epoch;
        let mut world = Self {
            trace: Trace::default(),
            hub,
            shards,
            conns: Vec::new(),
            clock,
            meanwhile,
            by_client: HashMap::new(),
            positions: Vec::new(),
            loose: (0, 0, 0),
            quiet_at_ms: u64::MAX,
            unheard: 0,
            enforced: false,
            closing: false,
            closed: false,
        };
        world.trace.told.push(format!("{config:?}"));
        world.trace.hubs.push(HubTrace { config, epoch, stats: None, left: None });
        world.trace.marks.push(Mark::default());
        world
    }

    pub fn hub_number(&self) -> usize {
        self.trace.hubs.len() - 1
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now().mono_ms
    }

    pub fn step(&self) -> usize {
        self.clock.step()
    }

    pub fn begin(&mut self, told: impl FnOnce() -> String) {
        let step = self.clock.step.fetch_add(1, Ordering::Relaxed) + 1;
        let told = told();
        self.trace.told.push(format!("{step:>4} {:>7} ms  {told}", self.now_ms()));
        self.enforced = false;
    }

    /// The log after this step.
    pub fn end(&mut self) {
        let stats = self.hub.stats(self.clock.now());
        let hub = self.hub_number();
        // Positions rise, so what is kept is the end of the list.
        let dropped = self.positions.len().checked_sub(stats.log_records);
        let floor = dropped.and_then(|count| count.checked_sub(1)).map_or(0, |last| self.positions[last]);
        let mark = Mark {
            hub,
            now_ms: self.now_ms(),
            bytes: stats.log_bytes,
            floor,
            tail: stats.position,
            enforced: self.enforced,
        };
        if dropped.is_none() || Some(stats.position) != self.positions.last().copied().or(Some(0)) {
            self.fault(format!("the log says {stats:?}, the receipts {:?}", self.positions.last()));
        }
        self.trace.marks.push(mark);
        debug_assert_eq!(self.trace.marks.len(), self.step() + 1);
    }

    pub fn fault(&mut self, text: impl std::fmt::Display) {
        let step = self.step();
        self.trace.faults.push(format!("step {step}: {text}"));
    }

    pub fn client_id(&self, conn: usize) -> String {
        self.trace.conns[conn].client_id.clone()
    }

    pub fn is_open(&self, conn: usize) -> bool {
        self.conns[conn].hub == self.hub_number() && self.trace.conns[conn].gone.is_none()
    }

    pub fn is_owned(&self, conn: usize) -> bool {
        self.conns[conn].hub == self.hub_number() && self.trace.conns[conn].closed.is_none()
    }

    // Publishing

    pub fn publish(&mut self, draws: Vec<Draw>) {
        self.begin(|| match draws.as_slice() {
            [one] => format!("publish {one:.60?}"),
            many => format!("publish a batch of {}, first {:.60?}", many.len(), many[0]),
        });
        self.publish_in_step(draws);
        self.end();
    }

    fn publish_in_step(&mut self, draws: Vec<Draw>) {
        let target = |draw: &Draw| draw.to.target(|conn| self.client_id(conn));
        let events: Vec<(Event, Target)> = draws.iter().map(|draw| (draw.event(), target(draw))).collect();
        let counts: Vec<usize> = events.iter().map(|(_, target)| self.hub.count(target)).collect();
        let first = self.record_draws(draws, false);
        let receipts = publish(&self.hub, &events, self.clock.now());
        if self.closed != receipts.is_empty() {
            self.fault(format!("{} receipts, and the hub is closed: {}", receipts.len(), self.closed));
        }
        if !receipts.is_empty() && counts != receipts.iter().map(|receipt| receipt.clients).collect::<Vec<_>>() {
            self.fault(format!("count() says {counts:?}, the receipts {receipts:?}"));
        }
        self.settle_receipts((first..first + events.len()).collect(), receipts);
    }

    fn record_draws(&mut self, draws: Vec<Draw>, meanwhile: bool) -> usize {
        let first = self.trace.published.len();
        let (hub, step, at_ms) = (self.hub_number(), self.step(), self.now_ms());
        self.trace.published.extend(draws.into_iter().map(|draw| Published {
            cost_max: draw.cost_max(),
            hub,
            step,
            at_ms,
            to: draw.to,
            event_type: draw.event_type,
            data: draw.data,
            own_id: draw.own_id,
            retry: draw.retry,
            ephemeral: draw.ephemeral,
            meanwhile,
            id: None,
            clients: 0,
            position: 0,
        }));
        first
    }

    fn settle_receipts(&mut self, numbers: Vec<usize>, receipts: Vec<fanfare_core::Receipt>) {
        if receipts.is_empty() {
            for number in numbers {
                // Nothing came of it: as if it were for nobody.
                self.trace.published[number].to = To::Users(Vec::new());
            }
            return;
        }
        for (number, receipt) in numbers.into_iter().zip(receipts) {
            let event = &mut self.trace.published[number];
            if let Some(place) = receipt.id.as_deref().and_then(super::check::place) {
                self.positions.push(place.position);
                self.enforced = true;
            }
            event.position = self.positions.last().copied().unwrap_or(0);
            event.id = receipt.id;
            event.clients = receipt.clients;
            self.loose.0 += event.cost_max;
            self.loose.1 += 1;
        }
        if self.loose.0 > SAFE_BYTES || self.loose.1 > SAFE_RECORDS {
            let (since, step) = (self.loose.2, self.step());
            match self.trace.overflows.last_mut() {
                Some(last) if last.0 == since => last.1 = step,
                _ => self.trace.overflows.push((since, step)),
            }
        }
    }

    /// Publishes during the next write of any sink, as another thread would.
    pub fn publish_meanwhile(&mut self, draws: Vec<Draw>) {
        self.begin(|| format!("plan to publish {} during a write, first {:.60?}", draws.len(), draws[0]));
        let target = |draw: &Draw| draw.to.target(|conn| self.client_id(conn));
        let events: Vec<(Event, Target)> = draws.iter().map(|draw| (draw.event(), target(draw))).collect();
        // Recorded when it happens; the draws wait beside the plan.
        let first = self.trace.published.len();
        let numbers = (first..first + events.len()).collect();
        self.record_draws(draws, true);
        for event in &mut self.trace.published[first..] {
            event.hub = usize::MAX;
        }
        self.meanwhile.lock().unwrap().planned.push_back(Work::Publish(numbers, events));
        self.end();
    }

    pub fn close_meanwhile(&mut self, conn: usize, reason: Disconnect) {
        self.begin(|| format!("plan to close {conn} during a write: {reason:?}"));
        let client_id = self.conns[conn].registration.client_id;
        self.trace.conns[conn].causes.push(reason);
        self.meanwhile.lock().unwrap().planned.push_back(Work::Close(client_id, reason));
        self.end();
    }

    pub fn gather_meanwhile(&mut self) {
        let done = std::mem::take(&mut self.meanwhile.lock().unwrap().done);
        for done in done {
            match done {
                Done::Closed(client_id, true) => {
                    let step = self.step();
                    let conn = self.by_client[&client_id];
                    self.trace.conns[conn].gone.get_or_insert(step);
                }
                Done::Closed(..) => {}
                Done::Published(numbers, receipts) => {
                    // Moved to the end, where the order of the log has them.
                    let mut moved = Vec::new();
                    for number in &numbers {
                        let mut event = self.trace.published[*number].clone();
                        (event.hub, event.step, event.at_ms) = (self.hub_number(), self.step(), self.now_ms());
                        moved.push(event);
                    }
                    let first = self.trace.published.len();
                    self.trace.told.push(format!("             published during a write: {} events", moved.len()));
                    self.trace.published.extend(moved);
                    self.settle_receipts((first..first + numbers.len()).collect(), receipts);
                }
            }
        }
    }

    /// The record; the hub is let go.
    pub fn into_trace(mut self) -> Trace {
        self.meanwhile.lock().unwrap().hub = None;
        std::mem::take(&mut self.trace)
    }
}
