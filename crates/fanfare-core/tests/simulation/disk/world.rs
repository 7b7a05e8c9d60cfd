//! The world on a fake disk: one log through many lives, the operations of one life, and the record of what happened.
//! How lives begin and end is in `lives`; chance is elsewhere.

use super::fake::{FakeDisk, Snapshot};
use super::record::{Conn, Event, Expectation, Fault, Mark, Page, Record, Send};
use crate::lives::start;
use crate::model::{From, Verdict, Who};
use crate::publish::Draw;
use crate::sink::{Clock, Meanwhile, Pipe, SimSink};
use fanfare_core::disk::{DiskWriter, WriterTurn};
use fanfare_core::{
    ClientId, ConnectionOptions, Disconnect, Draft, Encoding, ExpectedLast, Hub, IdempotencyKey, PublishError, Receipt,
    Registration, Shard, Target, Turn,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

type Answers = Arc<Mutex<Vec<(usize, Result<Vec<Receipt>, PublishError>)>>>;

/// One process.
pub struct Running {
    pub hub: Hub<SimSink>,
    pub shards: Vec<Shard<SimSink>>,
    pub writer: DiskWriter,
}

/// A connection as the driver holds it, beside its record.
pub struct Held {
    pub registration: Registration,
    pub pipe: Arc<Mutex<Pipe>>,
    pub attached: bool,
}

/// What a backup holds, and when it was made.
pub struct Backup {
    pub life: usize,
    pub step: usize,
    pub files: Snapshot,
}

pub struct World {
    pub record: Record,
    pub disk: FakeDisk,
    pub clock: Arc<Clock>,
    pub run: Option<Running>,
    pub held: Vec<Held>,
    pub backup: Option<Backup>,
    /// Where the next life's log comes from.
    pub parent: Option<(usize, usize)>,
    pub pre_holes: Option<BTreeSet<u64>>,
    /// Epochs of openings that failed since the last life.
    pub attempts: Vec<u64>,
    pub answers: Answers,
    by_client: HashMap<ClientId, usize>,
    short: bool,
    turned: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut record = Record::default();
        record.marks.push(Mark::default());
        Self {
            record,
            disk: FakeDisk::new(seed),
            clock: Arc::default(),
            run: None,
            held: Vec::new(),
            backup: None,
            parent: None,
            pre_holes: None,
            attempts: Vec::new(),
            answers: Answers::default(),
            by_client: HashMap::new(),
            short: false,
            turned: false,
        }
    }

    pub fn step(&self) -> usize {
        self.clock.step()
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now().mono_ms
    }

    pub fn life(&self) -> usize {
        self.record.lives.len() - 1
    }

    pub fn begin(&mut self, told: impl FnOnce() -> String) {
        let step = self.clock.step.fetch_add(1, Ordering::Relaxed) + 1;
        self.record.told.push(format!("{step:>4} {:>7} ms  {}", self.now_ms(), told()));
    }

    /// Notes what came of a step.
    pub fn end(&mut self) {
        let step = self.step();
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (send, answer) in answers {
            let text = format!("{answer:?}");
            self.record.told.push(format!("             {send} is answered {text:.200}"));
            if self.record.sends[send].answer.replace((step, answer)).is_some() {
                self.wrong(format!("publish {send} is answered twice"));
            }
        }
        let harm = self.disk.harm();
        let stats = self.run.as_ref().map(|run| run.hub.stats(self.clock.now()));
        let before = self.record.marks.last().copied().unwrap_or_default();
        self.record.marks.push(Mark {
            now_ms: self.now_ms(),
            floor: stats.as_ref().map_or(before.floor, |stats| stats.floor),
            full: harm.full,
            broken: harm.sync + harm.write,
            records: stats.as_ref().map_or(0, |stats| stats.log_records as u64),
            turned: std::mem::take(&mut self.turned),
            condition: stats.as_ref().and_then(|stats| stats.disk),
            short: self.short,
            stopped: self.disk.has_stopped(),
        });
        if harm.full > before.full {
            self.record.faults.push((step, Fault::Full));
        }
        if harm.sync + harm.write > before.broken {
            self.record.faults.push((step, Fault::Broken));
        }
        debug_assert_eq!(self.record.marks.len(), step + 1);
    }

    pub fn wrong(&mut self, text: impl std::fmt::Display) {
        let step = self.step();
        self.record.wrong.push(format!("step {step}: {text}"));
    }

    pub fn fault(&mut self, fault: Fault) {
        self.record.faults.push((self.step(), fault));
    }

    pub fn is_open(&self, conn: usize) -> bool {
        self.run.is_some() && self.record.conns[conn].life == self.life() && self.record.conns[conn].gone.is_none()
    }

    // Publishing

    pub fn publish(&mut self, draws: Vec<Draw>, key: Option<(u8, u128)>, expects: Vec<Expectation>) {
        let first = self.record.events.len();
        let count = draws.len();
        self.record.events.extend(draws.into_iter().map(|draw| Event {
            to: draw.to,
            event_type: draw.event_type,
            data: draw.data,
            own_id: draw.own_id,
            retry: draw.retry,
            ephemeral: draw.ephemeral,
        }));
        self.send((first..first + count).collect(), key, expects);
    }

    /// Publishes events, which may have been published before.
    pub fn send(&mut self, events: Vec<usize>, key: Option<(u8, u128)>, expects: Vec<Expectation>) {
        let number = self.record.sends.len();
        self.begin(|| {
            format!("publish {number}: {} events from {:?}, key {key:?}, {expects:?}", events.len(), events.first())
        });
        let Some(run) = &self.run else { return self.end() };
        let mut drafts: Vec<Draft> = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let event = &self.record.events[*event];
            self.record.told.push(format!("             {:?} {:.60?}", event.to, event.data));
            let draw = Draw {
                to: event.to.clone(),
                event_type: event.event_type.clone(),
                data: event.data.clone(),
                own_id: event.own_id.clone(),
                retry: event.retry,
                ephemeral: event.ephemeral,
                expected: None,
            };
            let target = event.to.target(|conn| self.record.conns[conn].client_id.clone());
            let expected = expects.iter().find(|expected| expected.index == index);
            drafts.push(match (&target, expected) {
                (Target::Topic(topic), Some(expected)) => {
                    run.hub.draft_expecting(&draw.event(), topic, ExpectedLast::parse(&expected.text))
                }
                _ => run.hub.draft(&draw.event(), &target),
            });
        }
        let (life, step, at_ms) = (self.life(), self.step(), self.now_ms());
        self.record.sends.push(Send { life, step, at_ms, events, key, expects, answer: None });
        let name = key.map(|(key, fingerprint)| IdempotencyKey { key: format!("key-{key}").into(), fingerprint });
        let answers = Arc::clone(&self.answers);
        let reply = Box::new(move |answer| answers.lock().unwrap().push((number, answer)));
        run.hub.publish(drafts, name, self.clock.now(), reply);
        self.end();
    }

    /// The writer turns once.
    pub fn commit(&mut self) -> Option<WriterTurn> {
        self.begin(|| "the writer turns".into());
        self.turned = true;
        let now = self.clock.now();
        let turn = self.run.as_mut().map(|run| run.writer.turn(&run.hub, now));
        self.end();
        turn
    }

    pub fn maintain(&mut self) {
        self.begin(|| "the log is maintained".into());
        let now = self.clock.now();
        let sealed = self.run.as_ref().map(|run| run.hub.maintain(now));
        self.record.told.push(format!("             {sealed:?}"));
        self.end();
    }

    // Connections

    pub fn connect(&mut self, who: Who, from: From, budget: usize) -> Option<usize> {
        let number = self.record.conns.len();
        self.begin(|| format!("connect {number} from {from:?} as {who:?}, takes {budget} bytes"));
        let Some(run) = &self.run else {
            self.end();
            return None;
        };
        let now = self.clock.now();
        let options = ConnectionOptions { comment_heartbeat: number.is_multiple_of(5), slow_policy: None };
        let result = run.hub.register(&who.identity(), start(&from), options, now);
        let Ok(registration) = result else {
            self.wrong(format!("not registered: {result:?}"));
            self.end();
            return None;
        };
        self.record.told.push(format!("             {:?} at {}", registration.resume, registration.cursor));
        self.record.conns.push(Conn {
            life: self.life(),
            who,
            client_id: registration.client_id.to_string(),
            from,
            verdict: Verdict { resume: registration.resume, cursor: registration.cursor.to_string() },
            step: self.step(),
            gone: None,
            bytes: Vec::new(),
            chunks: Vec::new(),
            converged: None,
            faults: Vec::new(),
        });
        self.by_client.insert(registration.client_id, number);
        let gunzip = encoding(number).eq(&Encoding::Gzip).then(Box::default);
        let pipe = Arc::new(Mutex::new(Pipe { gunzip, budget, ..Pipe::default() }));
        self.held.push(Held { registration, pipe, attached: false });
        self.end();
        Some(number)
    }

    pub fn attach(&mut self, conn: usize) {
        self.begin(|| format!("attach {conn}"));
        if let Some(run) = &self.run {
            let held = &mut self.held[conn];
            held.attached = true;
            let (pipe, clock) = (Arc::clone(&held.pipe), Arc::clone(&self.clock));
            let sink = SimSink { pipe, clock, meanwhile: Arc::new(Mutex::new(Meanwhile::default())) };
            let data = format!(r#"{{"clientId":"{}"}}"#, self.record.conns[conn].client_id);
            let connected = held.registration.connected_frame(&data);
            run.hub.attach(held.registration.token(), sink, Vec::new(), connected, encoding(conn));
        }
        self.end();
    }

    /// Its sink takes so many bytes more, and the shard is told.
    pub fn writable(&mut self, conn: usize, budget: usize) {
        self.begin(|| format!("{conn} takes {budget} bytes more"));
        if let Some(run) = &mut self.run {
            let held = &self.held[conn];
            {
                let mut pipe = held.pipe.lock().unwrap();
                (pipe.budget, pipe.full) = (budget, false);
            }
            let shard = held.registration.client_id.shard(run.shards.len());
            run.shards[shard].ready(held.registration.token(), false, true, self.clock.now());
        }
        self.after_shards();
        self.end();
    }

    pub fn stall(&mut self, conn: usize, budget: usize) {
        self.begin(|| format!("{conn} takes {budget} bytes and no more"));
        self.held[conn].pipe.lock().unwrap().budget = budget;
        self.end();
    }

    pub fn close(&mut self, conn: usize) {
        self.begin(|| format!("close {conn}"));
        let step = self.step();
        if let Some(run) = &self.run
            && run.hub.close_client(self.held[conn].registration.client_id, Disconnect::Disconnected)
        {
            self.record.conns[conn].gone.get_or_insert(step);
        }
        self.end();
    }

    fn after_shards(&mut self) {
        let step = self.step();
        let Some(run) = &mut self.run else { return };
        for closed in run.shards.iter_mut().flat_map(Shard::take_closed) {
            let conn = self.by_client[&closed.client_id];
            self.record.conns[conn].gone.get_or_insert(step);
            self.record.told.push(format!("             {conn} ended: {:?}", closed.reason));
        }
    }

    fn turn_in_step(&mut self, shard: usize) -> bool {
        let now = self.clock.now();
        let Some(run) = &mut self.run else { return true };
        let turn = run.shards[shard].turn(now);
        self.after_shards();
        matches!(turn, Turn::IdleUntil(_))
    }

    pub fn turn(&mut self, shard: usize) {
        self.begin(|| format!("shard {shard} turns"));
        let shards = self.run.as_ref().map_or(1, |run| run.shards.len());
        self.turn_in_step(shard % shards);
        self.end();
    }

    /// One read from disk for a connection that lags.
    pub fn read_cold(&mut self) -> bool {
        self.begin(|| "a cold read".into());
        let read = self.run.as_ref().is_some_and(|run| run.hub.read_cold());
        self.end();
        read
    }

    /// Turns until every shard would sleep; what lags beyond memory waits for its reads.
    pub fn settle(&mut self) {
        self.begin(|| "settle".into());
        self.settle_in_step();
        self.end();
    }

    fn settle_in_step(&mut self) {
        let shards = self.run.as_ref().map_or(0, |run| run.shards.len());
        for round in 0.. {
            let mut idle = true;
            for shard in 0..shards {
                idle &= self.turn_in_step(shard);
            }
            for shard in self.run.iter().flat_map(|run| &run.shards) {
                idle &= shard.fall_asleep();
                shard.wake_up();
            }
            if idle {
                break;
            }
            if round > 20_000 {
                self.wrong("the shards never sleep");
                break;
            }
        }
    }

    /// Lets everybody catch up: every living connection must then have everything.
    pub fn converge(&mut self) {
        for round in 0.. {
            if matches!(self.commit(), None | Some(WriterTurn::Idle | WriterTurn::Ended)) || self.disk.has_stopped() {
                break;
            }
            if round > 1_000 {
                self.wrong("the writer never rests");
                break;
            }
        }
        for conn in 0..self.record.conns.len() {
            if self.is_open(conn) && !self.held[conn].attached {
                self.attach(conn);
            }
            if self.is_open(conn) {
                self.writable(conn, usize::MAX);
            }
        }
        self.begin(|| "catch up".into());
        for round in 0.. {
            self.settle_in_step();
            if !self.run.as_ref().is_some_and(|run| run.hub.read_cold()) {
                break;
            }
            if round > 20_000 {
                self.wrong("cold reads never end");
                break;
            }
        }
        let step = self.step();
        for conn in 0..self.record.conns.len() {
            if self.is_open(conn) && !self.held[conn].pipe.lock().unwrap().full {
                self.record.conns[conn].converged = Some(step);
            }
        }
        self.end();
    }

    pub fn history(&mut self, who: Who, from: From, from_now: bool, records: usize, bytes: usize) {
        self.begin(|| format!("read history from {from:?} as {who:?}, {records} records and {bytes} bytes"));
        if let Some(run) = &self.run {
            let read = run.hub.history(&who.identity(), start(&from), from_now, records, bytes, self.clock.now());
            let from = if from == From::Live && !from_now { From::Earliest } else { from };
            self.record.pages.push(Page {
                life: self.life(),
                step: self.step(),
                who,
                from,
                verdict: Verdict { resume: read.resume, cursor: String::new() },
                bytes: read.frames.concat(),
                next: read.next.to_string(),
                records: records.max(1),
            });
        }
        self.end();
    }

    // Time and the disk

    pub fn advance(&mut self, ms: u64) {
        self.begin(|| format!("{ms} ms pass"));
        self.clock.ms.fetch_add(ms, Ordering::Relaxed);
        self.end();
    }

    /// The wall clock is set; nothing else is.
    pub fn set_wall(&mut self, offset_ms: i64) {
        self.begin(|| format!("the wall clock is {offset_ms} ms off"));
        self.clock.wall_offset_ms.store(offset_ms, Ordering::Relaxed);
        self.end();
    }

    /// Something is done to the disk.
    pub fn touch_disk(&mut self, told: &str, fault: Option<Fault>, change: impl FnOnce(&FakeDisk)) {
        self.begin(|| format!("the disk: {told}"));
        change(&self.disk);
        if let Some(fault) = fault {
            self.fault(fault);
        }
        self.end();
    }

    pub fn leave_room(&mut self, room: Option<u64>, stingy: bool) {
        self.short = room.is_some();
        self.touch_disk(&format!("room for {room:?}, stingy {stingy}"), None, |disk| disk.leave_room(room, stingy));
    }

    pub fn back_up(&mut self) {
        self.begin(|| "a backup".into());
        self.backup = Some(Backup { life: self.life(), step: self.step(), files: self.disk.snapshot() });
        self.end();
    }
}

/// Every third connection is compressed.
fn encoding(conn: usize) -> Encoding {
    if conn % 3 == 2 { Encoding::Gzip } else { Encoding::Identity }
}
