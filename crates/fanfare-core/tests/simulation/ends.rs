//! What is looked at from outside, and how a world ends: histories, the directory, drains, restarts and the end.

use super::lives::start;
use super::model::{From, HubTrace, Page, Verdict, Who, name};
use super::sink::Meanwhile;
use super::store::SimStore;
use super::world::World;
use fanfare_core::{Disconnect, Hub, HubConfig, Seed, Shard};
use std::collections::HashMap;
use std::sync::Arc;

impl World {
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
            let taken = pipe.take();
            (record.bytes, record.wire, record.cut) = (taken.bytes, taken.wire, taken.cut);
            (record.chunks, record.stalls, record.faults) = (taken.chunks, taken.stalls, taken.faults);
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
        self.answer_held();
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
        for conn in 0..self.conns.len() {
            let kept = {
                let pipe = self.conns[conn].pipe.lock().unwrap();
                pipe.attached && !pipe.dropped
            };
            if kept && self.conns[conn].hub == hub {
                self.fault(format!("the sink of {conn} is still kept"));
            }
        }
    }

    /// The process dies and another begins: nothing is told to anybody.
    pub fn restart(&mut self, config: HubConfig, seed: [u64; 6]) {
        self.lose_held();
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
        let store = SimStore(Arc::clone(&self.desk));
        let (hub, shards) = Hub::new(config.clone(), Box::new(store), Seed(seed), self.clock.now());
        let epoch = hub.cursor().epoch;
        *self.meanwhile.lock().unwrap() =
            Meanwhile { hub: Some(hub.clone()), desk: Arc::clone(&self.desk), ..Meanwhile::default() };
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
}
