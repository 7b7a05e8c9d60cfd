//! The world's connections: registered, attached, stalled, cut and closed, the shards that own them, and time.

use super::model::{Calm, Closed, Conn, From, Verdict, Who, name};
use super::sink::{Pipe, SimSink};
use super::world::{Live, World};
use fanfare_core::{ConnectionOptions, Cursor, Disconnect, Encoding, RegisterError, Start, Turn};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

impl World {
    // Connections

    pub fn connect(&mut self, who: Who, from: From) -> Option<usize> {
        self.connect_with(who, from, ConnectionOptions::default())
    }

    pub fn connect_with(&mut self, who: Who, from: From, options: ConnectionOptions) -> Option<usize> {
        let number = self.trace.conns.len();
        self.begin(|| format!("connect {number} from {from:?} as {who:?} with {options:?}"));
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
            self.fault("registered although closing or full");
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
            comment_heartbeat: options.comment_heartbeat,
            slow_policy: options.slow_policy.unwrap_or(self.trace.hubs[hub].config.slow_policy),
            heard_ms: None,
            attached: None,
            attached_ms: 0,
            gone: None,
            bytes: Vec::new(),
            gzip: false,
            wire: 0,
            cut: false,
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

    pub fn greeting(&self, conn: usize) -> bytes::Bytes {
        let data = format!(r#"{{"clientId":"{}"}}"#, self.trace.conns[conn].client_id);
        self.conns[conn].registration.connected_frame(&data)
    }

    /// Its stream shall be compressed. Before it is attached.
    pub fn compress(&mut self, conn: usize) {
        self.trace.conns[conn].gzip = true;
        self.pipe(conn, "is compressed", |pipe| pipe.gunzip = Some(Box::default()));
    }

    pub fn attach(&mut self, conn: usize) {
        self.begin(|| format!("attach {conn}"));
        let live = &self.conns[conn];
        let sink = SimSink {
            pipe: Arc::clone(&live.pipe),
            clock: Arc::clone(&self.clock),
            meanwhile: Arc::clone(&self.meanwhile),
        };
        let greeting = self.greeting(conn);
        let encoding = if self.trace.conns[conn].gzip { Encoding::Gzip } else { Encoding::Identity };
        self.trace.conns[conn].attached = Some(self.step());
        self.trace.conns[conn].attached_ms = self.now_ms();
        self.hub.attach(live.registration.token(), sink, Vec::new(), greeting, encoding);
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
            pipe.told += usize::from(through_hub);
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
                idle &= self.turn_in_step(shard);
            }
            // Also of what one shard's turn put into another's inbox.
            for shard in &self.shards {
                idle &= shard.fall_asleep();
                shard.wake_up();
            }
            if idle {
                break;
            }
            if round > 20_000 {
                self.fault("the shards never sleep");
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
}

pub fn start(from: &From) -> Start {
    match from {
        From::After(text) => Start::After(Cursor::parse(text)),
        From::Earliest => Start::Earliest,
        From::Last(count) => Start::Last(*count),
        From::Live => Start::Live,
    }
}
