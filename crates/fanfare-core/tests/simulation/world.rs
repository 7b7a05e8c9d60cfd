//! The world: hubs, shards and sinks under one clock, the operations on them, and the record of what happened.
//! Chance is elsewhere: a test can write its own history with these operations.

use super::model::{Calm, Closed, Conn, From, HubTrace, Mark, Page, Published, To, Trace, Verdict, Who, name};
use super::sink::{Clock, Done, Meanwhile, Pipe, SimSink, Work, publish};
use fanfare_core::{
    ClientId, ConnectionOptions, Cursor, Disconnect, Event, Hub, HubConfig, MemoryStore, RegisterError, Registration,
    Seed, Shard, Start, Target, Turn,
};
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
    clock: Arc<Clock>,
    meanwhile: Arc<Mutex<Meanwhile>>,
    by_client: HashMap<ClientId, usize>,
    /// Of every record of this hub, from the receipts.
    positions: Vec<u64>,
    /// Bytes and records published since every shard was idle, and that step.
    loose: (usize, usize, usize),
    quiet_at_ms: u64,
    /// The first connection its shard has not heard of.
    unheard: usize,
    enforced: bool,
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

    fn step(&self) -> usize {
        self.clock.step()
    }

    fn begin(&mut self, told: impl FnOnce() -> String) {
        let step = self.clock.step.fetch_add(1, Ordering::Relaxed) + 1;
        let told = told();
        self.trace.told.push(format!("{step:>4} {:>7} ms  {told}", self.now_ms()));
        self.enforced = false;
    }

    /// The log after this step.
    fn end(&mut self) {
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

    fn fault(&mut self, text: String) {
        let step = self.step();
        self.trace.faults.push(format!("step {step}: {text}"));
    }

    fn client_id(&self, conn: usize) -> String {
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
            self.loose.0 += event.cost_max();
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

    fn gather_meanwhile(&mut self) {
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

    // Connections

    pub fn connect(&mut self, who: Who, from: From, comment_heartbeat: bool) -> Option<usize> {
        let number = self.trace.conns.len();
        self.begin(|| format!("connect {number} from {from:?} as {who:?}"));
        let options = ConnectionOptions { comment_heartbeat };
        let result = self.hub.register(&who.identity(), start(&from), options, self.clock.now());
        self.enforced = result.is_ok();
        let hub = self.hub_number();
        let open = (0..self.conns.len()).filter(|conn| self.is_open(*conn)).count();
        let room = open < self.trace.hubs[hub].config.max_clients;
        let registration = match result {
            Ok(registration) => registration,
            Err(error) => {
                let right = match error {
                    RegisterError::Capacity(_) => !room && !self.closing,
                    _ => self.closing,
                };
                if !right {
                    self.fault(format!("refused: {error}"));
                }
                self.end();
                return None;
            }
        };
        if self.closing || !room {
            self.fault("registered although closing or full".into());
        }
        let shard = registration.client_id.shard(self.shards.len());
        self.trace.conns.push(Conn {
            hub,
            who,
            client_id: registration.client_id.to_string(),
            from,
            verdict: Verdict { resume: registration.resume, cursor: registration.cursor.to_string() },
            retry_ms: registration.retry_ms,
            step: self.step(),
            at_ms: self.now_ms(),
            timers_quiet: self.quiet_at_ms == self.now_ms(),
            comment_heartbeat,
            heard_ms: None,
            attached: None,
            gone: None,
            bytes: Vec::new(),
            chunks: Vec::new(),
            stalls: Vec::new(),
            calms: Vec::new(),
            closed: None,
            causes: Vec::new(),
            max_unacknowledged: 0,
            converged: None,
            faults: Vec::new(),
        });
        self.by_client.insert(registration.client_id, number);
        let pipe = Arc::new(Mutex::new(Pipe { budget: usize::MAX, ..Pipe::default() }));
        self.conns.push(Live { registration, pipe, hub, shard });
        self.end();
        Some(number)
    }

    pub fn attach(&mut self, conn: usize) {
        self.begin(|| format!("attach {conn}"));
        let live = &self.conns[conn];
        let sink = SimSink {
            pipe: Arc::clone(&live.pipe),
            clock: Arc::clone(&self.clock),
            meanwhile: Arc::clone(&self.meanwhile),
        };
        let data = format!(r#"{{"clientId":"{}"}}"#, self.trace.conns[conn].client_id);
        let greeting = live.registration.connected_frame(&data);
        self.trace.conns[conn].attached = Some(self.step());
        self.hub.attach(live.registration.token(), sink, greeting);
        self.end();
    }

    /// Changes the far end of a connection.
    pub fn pipe(&mut self, conn: usize, told: &str, change: impl FnOnce(&mut Pipe)) {
        self.begin(|| format!("{conn}: {told}"));
        change(&mut self.conns[conn].pipe.lock().unwrap());
        self.end();
    }

    /// The sink takes `budget` bytes more from now on, and the shard is told.
    pub fn writable(&mut self, conn: usize, budget: usize, through_hub: bool) {
        self.begin(|| {
            format!("{conn} takes {budget} bytes, told {}", if through_hub { "the hub" } else { "the shard" })
        });
        {
            let mut pipe = self.conns[conn].pipe.lock().unwrap();
            pipe.budget = budget;
            pipe.full = false;
        }
        let token = self.conns[conn].registration.token();
        if through_hub {
            self.hub.writable(token);
        } else {
            let shard = self.conns[conn].shard;
            self.shards[shard].ready(token, false, true, self.clock.now());
            self.after_shard(shard);
        }
        self.end();
    }

    pub fn unacknowledged(&mut self, conn: usize, silent_ms: Option<u64>) {
        self.pipe(conn, &format!("unacknowledged for {silent_ms:?}"), |pipe| pipe.unacknowledged = silent_ms);
        let record = &mut self.trace.conns[conn];
        record.max_unacknowledged = record.max_unacknowledged.max(silent_ms.unwrap_or(0));
    }

    /// The poller reports what came in on a connection.
    pub fn readable(&mut self, conn: usize, writable: bool) {
        self.begin(|| format!("{conn} is readable"));
        if writable {
            self.conns[conn].pipe.lock().unwrap().full = false;
        }
        let (token, shard) = (self.conns[conn].registration.token(), self.conns[conn].shard);
        self.shards[shard].ready(token, true, writable, self.clock.now());
        self.after_shard(shard);
        self.end();
    }

    pub fn close_client(&mut self, conn: usize, reason: Disconnect) {
        self.begin(|| format!("close {conn}: {reason:?}"));
        let open = self.is_open(conn);
        let known = self.hub.close_client(self.conns[conn].registration.client_id, reason);
        if known != open {
            self.fault(format!("close_client of {conn} says {known}"));
        }
        if known {
            let step = self.step();
            self.trace.conns[conn].gone = Some(step);
            self.trace.conns[conn].causes.push(reason);
        }
        self.end();
    }

    pub fn close_user(&mut self, user: u8, reason: Disconnect) {
        self.begin(|| format!("close user {user}: {reason:?}"));
        let step = self.step();
        let mut closed = 0;
        for conn in 0..self.conns.len() {
            if self.is_open(conn) && self.trace.conns[conn].who.user == Some(user) {
                self.trace.conns[conn].gone = Some(step);
                self.trace.conns[conn].causes.push(reason);
                closed += 1;
            }
        }
        let said = self.hub.close_user(&name(user), reason);
        if said != closed {
            self.fault(format!("close_user says {said}, not {closed}"));
        }
        self.end();
    }

    // Shards and time

    fn after_shard(&mut self, shard: usize) {
        self.gather_meanwhile();
        let (step, at_ms) = (self.step(), self.now_ms());
        let closed: Vec<_> = self.shards[shard].take_closed().collect();
        for end in closed {
            let conn = self.by_client[&end.client_id];
            let taken = self.conns[conn].pipe.lock().unwrap().taken.len();
            let record = &mut self.trace.conns[conn];
            record.gone.get_or_insert(step);
            let (reason, events, bytes) = (end.reason, end.events, end.bytes);
            let again = record.closed.replace(Closed { step, at_ms, reason, events, bytes, taken }).is_some();
            self.trace.told.push(format!("             {conn} ended: {reason:?}"));
            if again {
                self.fault(format!("{conn} ended twice"));
            }
        }
    }

    fn turn_in_step(&mut self, shard: usize) -> bool {
        let now_ms = self.now_ms();
        for (conn, live) in self.conns.iter().enumerate().skip(self.unheard) {
            if live.shard == shard && live.hub == self.trace.hubs.len() - 1 {
                self.trace.conns[conn].heard_ms.get_or_insert(now_ms);
            }
        }
        while self.trace.conns.get(self.unheard).is_some_and(|conn| conn.heard_ms.is_some()) {
            self.unheard += 1;
        }
        let turn = self.shards[shard].turn(self.clock.now());
        self.after_shard(shard);
        matches!(turn, Turn::IdleUntil(_))
    }

    pub fn turn(&mut self, shard: usize) {
        self.begin(|| format!("turn shard {shard}"));
        self.turn_in_step(shard);
        self.end();
    }

    /// Turns until every shard would sleep.
    pub fn settle(&mut self) {
        self.begin(|| "settle".into());
        for round in 0.. {
            let mut idle = true;
            for shard in 0..self.shards.len() {
                let quiet = self.turn_in_step(shard);
                let asleep = quiet && self.shards[shard].fall_asleep();
                self.shards[shard].wake_up();
                idle &= asleep;
            }
            if idle {
                break;
            }
            if round > 20_000 {
                self.fault("the shards never sleep".into());
                break;
            }
        }
        let (step, at_ms) = (self.step(), self.now_ms());
        // Until here connections may have been catching up.
        let since = self.loose.2;
        if let Some(last) = self.trace.overflows.last_mut().filter(|last| last.0 == since) {
            last.1 = step;
        }
        self.loose = (0, 0, step);
        self.quiet_at_ms = at_ms;
        for conn in 0..self.conns.len() {
            if !self.is_open(conn) || self.trace.conns[conn].attached.is_none() {
                continue;
            }
            let pipe = self.conns[conn].pipe.lock().unwrap();
            if !pipe.full {
                self.trace.conns[conn].calms.push(Calm { step, at_ms, taken: pipe.taken.len() });
            }
        }
        self.end();
    }

    pub fn advance(&mut self, ms: u64) {
        self.begin(|| format!("{ms} ms pass"));
        self.clock.ms.fetch_add(ms, Ordering::Relaxed);
        self.end();
    }

    // Looking

    pub fn history(&mut self, who: Who, from: From, from_now: bool, records: usize, bytes: usize) {
        self.begin(|| format!("read history from {from:?} as {who:?}"));
        let read = self.hub.history(&who.identity(), start(&from), from_now, records, bytes, self.clock.now());
        self.enforced = true;
        let from = if from == From::Live && !from_now { From::Earliest } else { from };
        self.trace.pages.push(Page {
            hub: self.hub_number(),
            step: self.step(),
            who,
            from,
            verdict: Verdict { resume: read.resume, cursor: String::new() },
            bytes: read.frames.concat(),
            next: read.next.to_string(),
            records: records.max(1),
        });
        self.end();
    }

    /// Compares what the directory lists with the model.
    pub fn inspect(&mut self, limit: usize) {
        self.begin(|| "look at the directory".into());
        let mut listed = Vec::new();
        let mut from = 0;
        loop {
            let (clients, next) = self.hub.clients(from, limit.max(1), None);
            listed.extend(clients);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        let open: Vec<usize> = (0..self.conns.len()).filter(|conn| self.is_open(*conn)).collect();
        let mut found: Vec<usize> = Vec::new();
        for info in &listed {
            match self.by_client.get(&info.client_id) {
                Some(conn) if self.trace.conns[*conn].who.identity() == info.identity => found.push(*conn),
                Some(conn) => self.fault(format!("{conn} is listed as {info:?}")),
                None => self.fault(format!("unknown client {info:?}")),
            }
        }
        found.sort_unstable();
        if found != open {
            self.fault(format!("listed {found:?}, open {open:?}"));
        }
        let mut users: HashMap<String, usize> = HashMap::new();
        for conn in &open {
            if let Some(user) = self.trace.conns[*conn].who.user {
                *users.entry(name(user).to_string()).or_default() += 1;
            }
        }
        let (largest, truncated) = self.hub.largest_users(100);
        if truncated || largest.iter().cloned().collect::<HashMap<_, _>>() != users {
            self.fault(format!("users {largest:?}, not {users:?}"));
        }
        for user in 0..6 {
            let expected = users.get(name(user).as_str()).copied().unwrap_or(0);
            let listed = self.hub.clients(0, 100, Some(&name(user))).0.len();
            if self.hub.user_clients(&name(user)) != expected || listed != expected {
                self.fault(format!("user {user} has {expected} clients"));
            }
        }
        self.end();
    }

    // Ends

    pub fn drain(&mut self, reason: Disconnect, window_ms: u64) {
        self.begin(|| format!("drain: {reason:?} within {window_ms} ms"));
        self.closing = true;
        self.mark_causes(reason);
        self.hub.drain(reason, window_ms);
        self.end();
    }

    pub fn destroy(&mut self) {
        self.begin(|| "destroy".into());
        (self.closing, self.closed) = (true, true);
        self.mark_causes(Disconnect::Shutdown);
        self.hub.destroy();
        self.end();
    }

    fn mark_causes(&mut self, reason: Disconnect) {
        for conn in 0..self.conns.len() {
            if self.is_open(conn) {
                self.trace.conns[conn].causes.push(reason);
            }
        }
    }

    /// Moves what the sinks hold into the records.
    fn gather(&mut self) {
        let hub = self.hub_number();
        for (conn, live) in self.conns.iter().enumerate().filter(|(_, live)| live.hub == hub) {
            let mut pipe = live.pipe.lock().unwrap();
            let record = &mut self.trace.conns[conn];
            record.bytes = std::mem::take(&mut pipe.taken);
            record.chunks = std::mem::take(&mut pipe.chunks);
            record.stalls = std::mem::take(&mut pipe.stalls);
            record.faults = std::mem::take(&mut pipe.faults);
        }
        self.trace.hubs[hub].stats = Some(self.hub.stats(self.clock.now()));
    }

    /// Lets everybody catch up: every living connection must then have everything.
    pub fn converge(&mut self) {
        for conn in 0..self.conns.len() {
            if !self.is_open(conn) {
                continue;
            }
            if self.trace.conns[conn].attached.is_none() {
                self.attach(conn);
            }
            let broken = {
                let pipe = self.conns[conn].pipe.lock().unwrap();
                pipe.ended || pipe.read_fails || pipe.write_fails || pipe.attach_fails
            };
            if !broken {
                self.unacknowledged(conn, None);
                self.writable(conn, usize::MAX, conn % 2 == 0);
            }
        }
        self.settle();
        for conn in 0..self.conns.len() {
            if self.is_open(conn) && !self.conns[conn].pipe.lock().unwrap().full {
                self.trace.conns[conn].converged = Some(self.hub.cursor().position);
            }
        }
    }

    /// Ends everything and keeps the record of this hub.
    pub fn finish(&mut self, by_drain: bool) {
        if by_drain && !self.closing {
            self.drain(Disconnect::Shutdown, 100);
        }
        for conn in 0..self.conns.len() {
            if !by_drain && self.is_owned(conn) {
                self.trace.conns[conn].causes.push(Disconnect::Gone);
                self.pipe(conn, "ends", |pipe| pipe.ended = true);
                self.settle();
                self.readable(conn, false);
            }
        }
        for _ in 0..5 {
            self.settle();
            // Whoever is never attached leaves after half a minute, and who lingers after a second.
            self.advance(if by_drain { 400 } else { 40_000 });
        }
        self.settle();
        self.advance(2_000);
        self.settle();
        self.gather();
        let left = [
            self.hub.stats(self.clock.now()).clients,
            self.shards.iter().map(Shard::len).sum(),
            self.hub.clients(0, 100, None).0.len(),
            self.hub.largest_users(10).0.len(),
        ];
        let hub = self.hub_number();
        self.trace.hubs[hub].left = Some(left);
    }

    /// The process dies and another begins: nothing is told to anybody.
    pub fn restart(&mut self, config: HubConfig, seed: [u64; 6]) {
        self.begin(|| "restart".into());
        self.end();
        self.gather();
        let hub = self.hub_number();
        for conn in &mut self.trace.conns {
            if conn.hub == hub {
                conn.gone.get_or_insert(usize::MAX);
            }
        }
        self.begin(|| "a new hub".into());
        let (hub, shards) = Hub::new(config.clone(), Box::new(MemoryStore), Seed(seed), self.clock.now());
        let epoch = hub.cursor().epoch;
        *self.meanwhile.lock().unwrap() = Meanwhile { hub: Some(hub.clone()), ..Meanwhile::default() };
        (self.hub, self.shards) = (hub, shards);
        self.trace.told.push(format!("{config:?}"));
        self.trace.hubs.push(HubTrace { config, epoch, stats: None, left: None });
        (self.closing, self.closed) = (false, false);
        self.positions.clear();
        self.loose = (0, 0, self.step());
        self.quiet_at_ms = u64::MAX;
        self.unheard = self.conns.len();
        self.end();
    }

    /// The record; the hub is let go.
    pub fn into_trace(mut self) -> Trace {
        self.meanwhile.lock().unwrap().hub = None;
        std::mem::take(&mut self.trace)
    }
}

fn start(from: &From) -> Start {
    match from {
        From::After(text) => Start::After(Cursor::parse(text)),
        From::Earliest => Start::Earliest,
        From::Last(count) => Start::Last(*count),
        From::Live => Start::Live,
    }
}
