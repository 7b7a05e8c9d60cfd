//! The world: hubs, shards and sinks under one clock, the operations on them, and the record of what happened.
//! Chance is elsewhere: a test can write its own history with these operations.

use super::model::{HubTrace, Mark, Trace};
use super::publish::Draw;
use super::sink::{Clock, Meanwhile, Pipe, SimSink, Work};
use super::store::{Desk, SimStore};
use fanfare_core::{ClientId, Disconnect, Hub, HubConfig, Registration, Seed, Shard};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

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
    pub desk: Arc<Mutex<Desk>>,
    /// Events of attempts that are not answered yet, and attempts that reached the store.
    pub waiting: HashMap<usize, Vec<Draw>>,
    pub reached: HashSet<usize>,
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
        let desk = Arc::<Mutex<Desk>>::default();
        let store = SimStore(Arc::clone(&desk));
        let (hub, shards) = Hub::new(config.clone(), Box::new(store), Seed(seed), clock.now());
        let meanwhile = Meanwhile { hub: Some(hub.clone()), desk: Arc::clone(&desk), ..Meanwhile::default() };
        let meanwhile = Arc::new(Mutex::new(meanwhile));
        let epoch = hub.cursor().epoch;
        let mut world = Self {
            trace: Trace::default(),
            hub,
            shards,
            conns: Vec::new(),
            clock,
            meanwhile,
            desk,
            waiting: HashMap::new(),
            reached: HashSet::new(),
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

    pub fn close_meanwhile(&mut self, conn: usize, reason: Disconnect) {
        self.begin(|| format!("plan to close {conn} during a write: {reason:?}"));
        let client_id = self.conns[conn].registration.client_id;
        self.trace.conns[conn].causes.push(reason);
        self.meanwhile.lock().unwrap().planned.push_back(Work::Close(client_id, reason));
        self.end();
    }

    /// The record; the hub is let go.
    pub fn into_trace(mut self) -> Trace {
        self.meanwhile.lock().unwrap().hub = None;
        std::mem::take(&mut self.trace)
    }
}
