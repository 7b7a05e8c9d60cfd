//! A shard: the one thread that owns its share of the connections, and everything that happens to them.
//!
//! The owner of the thread calls [`Shard::turn`] until it is idle, then sleeps until something happens, and
//! reports what the poller says through [`Shard::ready`]. No lock is held while a sink is written; the release
//! lock is taken for a moment to read the log for a connection that lags, and to forget one that ended.

mod conn;
mod packed;
mod slow;
mod visit;
mod wheel;
mod window;

pub use conn::Closed;

use crate::control::{Disconnect, closing_frame, comment_frame, ping_frame};
use crate::directory::Recipients;
use crate::gzip::{Block, Member};
use crate::hub::Hub;
use crate::key::Key;
use crate::limits::{ATTACH_TIMEOUT_MS, LINGER_MS};
use crate::mail::{Arrival, Mail, Message, Port};
use crate::sink::{Ending, Input, Sink, Token};
use crate::target::ClientId;
use crate::time::{Now, Random};
use bytes::Bytes;
use conn::{Conn, Conns, Flags, Progress, Unsent, Waits, since, visit_ticks};
use core::sync::atomic::Ordering;
use packed::{Frames, Packer};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use wheel::Wheel;
use window::Window;

/// Visits of small fan-outs in one turn.
const QUICK_VISITS: usize = 256;
/// Visits of large fan-outs in one turn: between two turns the inbox and the poller are served.
const BULK_VISITS: usize = 64;
/// The same while something for few connections waits in the inbox.
const BULK_VISITS_MIN: usize = 4;
/// The ready lists. Whatever has few recipients goes first, except to a connection that was visited just now: a hot topic
/// does not delay a quiet one.
const QUICK: u8 = 1;
const BUSY: u8 = 2;
const BULK: u8 = 4;
/// Room for messages that is kept however few come.
const MESSAGES_KEPT: usize = 256;
/// Connections closed in one turn of a drain.
const DRAIN_STEP_MS: u64 = 5;
/// With few connections a drain need not take its whole window: this much for each is spread enough.
const DRAIN_MS_PER_CLIENT: u64 = 20;

/// What a turn left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something: look at the poller without waiting, then turn again.
    Busy,
    /// Nothing before this monotonic millisecond.
    IdleUntil(u64),
}

/// A connection after its planned end, while the peer may still read.
#[derive(Debug)]
struct Lingering<S> {
    sink: S,
    unsent: VecDeque<Unsent>,
    deadline_ms: u64,
    finished: bool,
}

#[derive(Debug)]
struct Drain {
    reason: Disconnect,
    began_ms: u64,
    window_ms: u64,
    /// Local indices in the order in which they are closed, from the back.
    waiting: Vec<u32>,
    total: usize,
}

/// The heartbeat frames of this moment, made once for everybody who gets one.
#[derive(Debug, Default)]
struct Heartbeat {
    made_for: Option<(u64, u64)>,
    ping: Bytes,
    comment: Bytes,
    /// The same for compressed connections, made when the first asks.
    packed_ping: Option<Block>,
    packed_comment: Option<Block>,
}

/// Connections that a visit can do something for, by slot.
#[derive(Debug, Default)]
struct Ready {
    quick: VecDeque<u32>,
    busy: VecDeque<u32>,
    bulk: VecDeque<u32>,
    /// Of this turn.
    ticks: u8,
}

impl Ready {
    fn of(&mut self, list: u8) -> &mut VecDeque<u32> {
        match list {
            QUICK => &mut self.quick,
            BUSY => &mut self.busy,
            _ => &mut self.bulk,
        }
    }

    fn is_empty(&self) -> bool {
        self.quick.is_empty() && self.busy.is_empty() && self.bulk.is_empty()
    }

    /// Puts a connection into a list, unless it is in that one or one before it.
    fn put<S>(&mut self, conn: &mut Conn<S>, slot: u32, quick: bool) {
        let (list, before) = match quick {
            true if !conn.is_busy(self.ticks) => (QUICK, QUICK),
            true => (BUSY, QUICK | BUSY),
            false => (BULK, QUICK | BUSY | BULK),
        };
        if conn.can_write() && conn.flags.queued & before == 0 {
            conn.flags.queued |= list;
            self.of(list).push_back(slot);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shard<S> {
    hub: Hub<S>,
    index: usize,
    stride: usize,
    conns: Conns<S>,
    window: Window,
    /// Everything up to here has come through the inbox.
    applied: u64,
    ready: Ready,
    pings: Wheel,
    checks: Wheel,
    drain: Option<Drain>,
    lingering: BTreeMap<Token, Lingering<S>>,
    /// When they are let go, in order, since each time is the same span from now: what passed or was set anew is still
    /// in here, until its turn.
    deadlines: VecDeque<(u64, Token)>,
    /// Ends that came before the response, to be told when it comes: the reason, and when it is forgotten.
    untold: BTreeMap<Token, (Disconnect, u64)>,
    heartbeat: Heartbeat,
    random: Random,
    closed: Vec<Closed>,
    /// Kept between turns for its memory.
    messages: Vec<Message<S>>,
    read: Vec<(u64, Bytes)>,
    keys: Vec<Key>,
    packer: Packer,
    frames: Frames,
}

impl<S: Sink> Shard<S> {
    pub(crate) fn new(hub: Hub<S>, index: usize, random: Random, now: Now) -> Self {
        let config = hub.config();
        // A lifetime is met to a tenth, which is under half of a quarter of it.
        let lifetime_ms = config.lifetime_ms.unwrap_or(u64::MAX) / 3;
        let shortest = config.client_timeout_ms.min(config.stall_timeout_ms).min(ATTACH_TIMEOUT_MS).min(lifetime_ms);
        let pings = Wheel::new(config.ping_interval_ms, now.mono_ms);
        let checks = Wheel::new((shortest / 4).max(1), now.mono_ms);
        let stride = hub.inner.ports.len();
        Self {
            hub,
            index,
            stride,
            conns: Conns::new(),
            window: Window::default(),
            applied: 0,
            ready: Ready::default(),
            pings,
            checks,
            drain: None,
            lingering: BTreeMap::new(),
            deadlines: VecDeque::new(),
            untold: BTreeMap::new(),
            heartbeat: Heartbeat::default(),
            random,
            closed: Vec::new(),
            messages: Vec::new(),
            read: Vec::new(),
            keys: Vec::new(),
            packer: Packer::default(),
            frames: Frames::default(),
        }
    }

    /// Which of the hub's shards this is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Connections that ended since the last call.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Closed> {
        self.closed.drain(..)
    }

    /// Connections this shard owns, those that linger included.
    pub fn len(&self) -> usize {
        self.conns.len() + self.lingering.len()
    }

    /// True if it owns none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last step before the thread blocks. False if there is something to do after all.
    pub fn fall_asleep(&self) -> bool {
        self.port().inbox.fall_asleep()
    }

    /// The first step after the thread blocked.
    pub fn wake_up(&self) {
        self.port().inbox.wake_up();
    }

    fn port(&self) -> &Port<S> {
        &self.hub.inner.ports[self.index]
    }

    fn local(&self, slot: u32) -> usize {
        slot as usize / self.stride
    }

    fn slot(&self, local: usize) -> u32 {
        (local * self.stride + self.index) as u32
    }

    fn conn(&mut self, token: Token) -> Option<&mut Conn<S>> {
        let local = self.local(token.slot());
        self.conns.get_mut(local).filter(|conn| conn.generation == token.generation())
    }

    /// Does a bounded amount of everything there is to do.
    pub fn turn(&mut self, now: Now) -> Turn {
        self.packer.begin_turn();
        self.ready.ticks = visit_ticks(now.mono_ms);
        self.empty_inbox(now);
        self.run_timers(now);
        for (list, most) in [(QUICK, QUICK_VISITS), (BUSY, BULK_VISITS), (BULK, BULK_VISITS)] {
            for visit in 0..most {
                let urgent = list != QUICK && self.port().urgent.load(Ordering::Relaxed);
                if urgent && visit >= BULK_VISITS_MIN || visit > 0 && self.packer.is_spent() {
                    break;
                }
                let Some(slot) = self.ready.of(list).pop_front() else {
                    break;
                };
                self.visit_queued(slot, now, list);
            }
        }
        self.port().counters.held.set(self.len() as u64);
        if self.ready.is_empty() { Turn::IdleUntil(self.next_timer(now)) } else { Turn::Busy }
    }

    /// What the poller says of a connection.
    pub fn ready(&mut self, token: Token, readable: bool, writable: bool, now: Now) {
        if readable && !self.read_input(token, now) {
            return;
        }
        if writable {
            self.writable(token, now);
        }
    }

    /// False if the connection is gone.
    fn read_input(&mut self, token: Token, now: Now) -> bool {
        if let Some(sink) = self.conn(token).and_then(|conn| conn.sink.as_mut()) {
            let reason = match sink.read_and_discard() {
                Ok(Input::Open) => return true,
                Ok(Input::Ended) => Disconnect::Gone,
                Err(_) => Disconnect::Error,
            };
            self.end(token, reason, now);
            return false;
        }
        if let Some(lingering) = self.lingering.get_mut(&token) {
            if matches!(lingering.sink.read_and_discard(), Ok(Input::Open)) {
                return true;
            }
            self.lingering.remove(&token);
        }
        false
    }

    fn writable(&mut self, token: Token, now: Now) {
        if let Some(conn) = self.conn(token) {
            if conn.flags.waits == Waits::Sink {
                conn.flags.waits = Waits::No;
            }
            self.enqueue(token.slot(), true);
        } else if self.lingering.contains_key(&token) {
            _ = self.flush_lingering(token, now);
        }
    }

    // The inbox

    fn empty_inbox(&mut self, now: Now) {
        // First the tail, then the inbox: what is in the inbox by then reaches at least to this tail.
        let tail = self.port().tail.load(Ordering::Acquire);
        self.port().urgent.store(false, Ordering::Relaxed);
        let empty = Mail::reusing(core::mem::take(&mut self.messages));
        let mail = self.port().inbox.take(empty);
        let mut messages = mail.messages;
        let received = messages.len();
        // Set once records were left out: from there on, everything is in the log only.
        let mut skipped = false;
        let mut reach = tail.max(mail.skipped_to);
        // The number in the window where the current run of broadcasts began.
        let mut run: Option<u64> = None;
        let mut everybody_dirty = false;
        for message in messages.drain(..) {
            if let Message::Record { position, frame, recipients, quick } = message {
                let broadcast = matches!(recipients, Recipients::All);
                if broadcast && run.is_none() {
                    run = Some(self.window.end());
                } else if let (false, Some(from)) = (broadcast, run) {
                    self.window.join_run(from);
                    run = None;
                }
                self.apply(position, frame, recipients, quick, &mut everybody_dirty);
                continue;
            }
            if let Some(from) = run.take() {
                self.window.join_run(from);
            }
            match message {
                Message::Add(arrival) => {
                    everybody_dirty = false;
                    reach = reach.max(arrival.tail);
                    self.add(arrival, skipped, now);
                }
                Message::Attach { token, sink, greeting, member } => self.attach(token, sink, greeting, member, now),
                Message::Close { token, reason } => self.end(token, reason, now),
                Message::Cold { token, position, chunk } => {
                    // It may be clean behind what was read.
                    everybody_dirty = false;
                    self.cold_arrived(token, position, chunk, now);
                }
                Message::Drain { reason, window_ms } => self.begin_drain(reason, window_ms, now),
                Message::Skipped => {
                    skipped = true;
                    self.lag_everybody();
                }
                Message::Writable { token } => self.writable(token, now),
                Message::Record { .. } => {}
            }
        }
        if let Some(from) = run {
            self.window.join_run(from);
        }
        self.applied = self.applied.max(reach);
        // A storm leaves a large vector behind: it goes by halves, where a turn would have done with an eighth.
        if received < messages.capacity() / 8 {
            messages.shrink_to((messages.capacity() / 2).max(MESSAGES_KEPT));
        }
        self.messages = messages;
        if skipped {
            for local in 0..self.conns.end() {
                self.enqueue(self.slot(local), false);
            }
        }
    }

    fn apply(&mut self, position: u64, frame: Bytes, recipients: Recipients, quick: bool, everybody_dirty: &mut bool) {
        let number = self.window.end();
        match &recipients {
            // Whoever the last broadcast made dirty is dirty still: nobody was visited in between.
            Recipients::All if *everybody_dirty => {}
            Recipients::All => {
                *everybody_dirty = true;
                let before = self.applied;
                for (local, conn) in self.conns.iter_mut() {
                    if conn.progress == Progress::Clean {
                        conn.progress = Progress::Dirty { next: number, position: before };
                    }
                    let slot = (local * self.stride + self.index) as u32;
                    self.ready.put(conn, slot, quick);
                }
            }
            Recipients::One(slot) => self.make_dirty(*slot, number, quick),
            Recipients::Few(slots) => {
                let slots = slots.clone();
                slots.iter().for_each(|slot| self.make_dirty(*slot, number, quick));
            }
            Recipients::Many(slots) => {
                let slots = slots.clone();
                slots.iter().for_each(|slot| self.make_dirty(slot, number, quick));
            }
        }
        self.window.push(position, recipients, frame);
        self.applied = self.applied.max(position);
    }

    fn make_dirty(&mut self, slot: u32, number: u64, quick: bool) {
        if slot as usize % self.stride != self.index {
            return;
        }
        let before = self.applied;
        let local = self.local(slot);
        if let Some(conn) = self.conns.get_mut(local) {
            if conn.progress == Progress::Clean {
                conn.progress = Progress::Dirty { next: number, position: before };
            }
            self.ready.put(conn, slot, quick);
        }
    }

    /// The inbox ran over: whatever anybody was going to get from the window is now read from the log.
    fn lag_everybody(&mut self) {
        let applied = self.applied;
        let mut lagged = 0;
        for (_, conn) in self.conns.iter_mut() {
            let position = match conn.progress {
                Progress::Clean => applied,
                Progress::Dirty { position, .. } => position,
                // Those that skip will skip this too.
                Progress::Lagging { .. } | Progress::Skipping { .. } => continue,
            };
            conn.progress = Progress::Lagging { position };
            lagged += 1;
        }
        self.port().counters.lagged.add(lagged);
    }

    fn add(&mut self, arrival: Arrival, skipped: bool, now: Now) {
        let Arrival { slot, generation, position, tail, opened_ms, resumes, options } = arrival;
        let progress = if position < tail || skipped {
            Progress::Lagging { position }
        } else {
            // What was released up to its registration has all been in this inbox, or is for other shards.
            self.applied = self.applied.max(tail);
            Progress::Clean
        };
        let flags = Flags {
            comment_heartbeat: options.comment_heartbeat,
            ping_when_clean: resumes,
            ping_due: resumes && progress == Progress::Clean,
            slow_policy: options.slow_policy.unwrap_or(self.hub.config().slow_policy),
            ..Flags::default()
        };
        let conn = Conn::new(generation, progress, flags, opened_ms);
        if self.conns.len() == 0 {
            self.pings.restart(now.mono_ms);
            self.checks.restart(now.mono_ms);
        }
        let local = self.local(slot);
        self.conns.insert(local, conn);
        if let Some(drain) = &mut self.drain {
            // Registered before the hub closed its door, heard of after.
            drain.waiting.push(local as u32);
        }
    }

    fn attach(&mut self, token: Token, mut sink: S, greeting: Bytes, member: Option<Member>, now: Now) {
        let attached = sink.attach(token).is_ok();
        let Some(conn) = self.conn(token) else {
            // Ended between its registration and its response: the planned end is all there is to say.
            let untold = self.untold.remove(&token);
            if attached {
                // A response that came too late is a sign of overload: the client shall come back.
                let reason = untold.map_or(Disconnect::Capacity, |(reason, _)| reason);
                let closing = last_words(self.closing_frame(reason, None), member);
                let unsent = [greeting, closing].map(|bytes| Unsent { bytes, events: 0 });
                self.linger(token, sink, unsent.into(), now);
                _ = self.flush_lingering(token, now);
            }
            return;
        };
        conn.sink = Some(sink);
        conn.flags.gzip = member.is_some();
        conn.unsent = (!greeting.is_empty()).then(|| Box::new(Unsent { bytes: greeting, events: 0 }));
        if let Some(member) = member {
            *self.packer.member(self.local(token.slot())) = member;
        }
        if attached {
            self.enqueue(token.slot(), true);
        } else {
            self.end(token, Disconnect::Error, now);
        }
    }

    fn enqueue(&mut self, slot: u32, quick: bool) {
        let local = self.local(slot);
        if let Some(conn) = self.conns.get_mut(local) {
            self.ready.put(conn, slot, quick);
        }
    }

    // Ends

    /// Ends a connection: forgets it, says so where somebody listens, and lets the sink linger or go.
    fn end(&mut self, token: Token, reason: Disconnect, now: Now) {
        if self.conn(token).is_none() {
            return;
        }
        let told = reason.reconnect().is_some();
        if told && reason != Disconnect::Slow {
            // What is pending goes first, as far as the sink takes it. It is not asked again whether it is slow: this
            // reason stands, and one that says not to come back must not become one that says to.
            self.write_pending(token.slot(), now);
        }
        // The write may have ended it for a reason of its own.
        if self.conn(token).is_none() {
            return;
        }
        let local = self.local(token.slot());
        let Some(conn) = self.conns.remove(local) else {
            return;
        };
        self.hub.forget(token);
        self.port().counters.disconnects[reason.index()].add(1);
        let (mut events, mut bytes) = (conn.events, conn.bytes);
        if told && conn.sink.is_none() {
            self.untold.insert(token, (reason, now.mono_ms + ATTACH_TIMEOUT_MS));
        }
        if let Some(sink) = conn.sink.filter(|_| told) {
            let position = match conn.progress {
                Progress::Clean => Some(self.applied),
                // A blocked connection may have fallen out of the window without a visit that noticed.
                Progress::Dirty { next, position } if next >= self.window.first() => Some(position),
                Progress::Dirty { .. } | Progress::Lagging { .. } | Progress::Skipping { .. } => None,
            };
            let mut unsent = VecDeque::with_capacity(2);
            unsent.extend(conn.unsent.map(|unsent| *unsent));
            let member = conn.flags.gzip.then(|| *self.packer.member(local));
            unsent.push_back(Unsent { bytes: last_words(self.closing_frame(reason, position), member), events: 0 });
            self.linger(token, sink, unsent, now);
            // A full sink says when it takes more.
            if conn.flags.waits != Waits::Sink {
                let (more_events, more_bytes) = self.flush_lingering(token, now);
                events = events.wrapping_add(more_events);
                bytes += more_bytes;
            }
        }
        let (slot, generation) = (token.slot(), token.generation());
        self.closed.push(Closed {
            client_id: ClientId { slot, generation, tag: self.hub.client_tag(slot, generation) },
            reason,
            duration_ms: since(conn.opened_at, now.mono_ms),
            events,
            bytes,
        });
    }

    fn closing_frame(&mut self, reason: Disconnect, position: Option<u64>) -> Bytes {
        let cursor = position.map(|position| self.hub.cursor_at(position));
        let (low, high) = self.hub.config().retry_ms;
        closing_frame(reason, cursor, self.random.between(low, high))
    }

    fn linger(&mut self, token: Token, sink: S, unsent: VecDeque<Unsent>, now: Now) {
        let deadline_ms = now.mono_ms + LINGER_MS;
        self.lingering.insert(token, Lingering { sink, unsent, deadline_ms, finished: false });
        self.deadlines.push_back((deadline_ms, token));
    }

    /// Writes what a connection that ended still has to say. Returns the events and bytes this handed over.
    fn flush_lingering(&mut self, token: Token, now: Now) -> (u32, u64) {
        let counters = &self.hub.inner.ports[self.index].counters;
        let (mut events, mut total) = (0, 0);
        let Some(lingering) = self.lingering.get_mut(&token) else {
            return (events, total);
        };
        while let Some(Unsent { bytes, events: completed }) = lingering.unsent.front_mut() {
            let written = match lingering.sink.write_vectored(&[IoSlice::new(bytes)]) {
                Ok(written) => written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    self.lingering.remove(&token);
                    return (events, total);
                }
            };
            total += written as u64;
            counters.writes.add(1);
            counters.bytes_sent.add(written as u64);
            if written < bytes.len() {
                _ = bytes.split_to(written);
                return (events, total);
            }
            events += *completed;
            counters.events_sent.add(u64::from(*completed));
            lingering.unsent.pop_front();
        }
        if !lingering.finished {
            lingering.finished = true;
            lingering.deadline_ms = now.mono_ms + LINGER_MS;
            self.deadlines.push_back((lingering.deadline_ms, token));
            if lingering.sink.finish() == Ending::Done {
                self.lingering.remove(&token);
            }
        }
        (events, total)
    }

    // Timers

    fn next_timer(&self, now: Now) -> u64 {
        let mut next = u64::MAX;
        if self.conns.len() > 0 {
            next = self.pings.due().min(self.checks.due());
        }
        if self.drain.as_ref().is_some_and(|drain| !drain.waiting.is_empty()) {
            next = next.min(now.mono_ms + DRAIN_STEP_MS);
        }
        if let Some((deadline, _)) = self.deadlines.front() {
            next = next.min(*deadline);
        }
        next
    }

    fn run_timers(&mut self, now: Now) {
        while let Some((first, step)) = self.pings.turn(now.mono_ms) {
            for local in (first..self.conns.end()).step_by(step) {
                if let Some(conn) = self.conns.get_mut(local) {
                    conn.flags.ping_due = true;
                    self.enqueue(self.slot(local), false);
                }
            }
        }
        while let Some((first, step)) = self.checks.turn(now.mono_ms) {
            self.hub.expire(now);
            self.untold.retain(|_, (_, until_ms)| *until_ms > now.mono_ms);
            for local in (first..self.conns.end()).step_by(step) {
                if let Some(reason) = self.check(local, now) {
                    let slot = self.slot(local);
                    if let Some(conn) = self.conns.get_mut(local) {
                        let token = Token::new(slot, conn.generation);
                        self.end(token, reason, now);
                    }
                }
            }
        }
        self.step_drain(now);
        self.let_go(now);
    }

    /// Ends the lingering whose time is over. Not a look at each: after a drain there are many.
    fn let_go(&mut self, now: Now) {
        while let Some((deadline, token)) = self.deadlines.front().copied() {
            let stands = self.lingering.get(&token).is_some_and(|lingering| lingering.deadline_ms == deadline);
            if stands && deadline > now.mono_ms {
                return;
            }
            self.deadlines.pop_front();
            if stands {
                self.lingering.remove(&token);
            }
        }
        if self.deadlines.is_empty() {
            self.deadlines.shrink_to(1_024);
        }
    }

    /// Whether a connection must end.
    fn check(&mut self, local: usize, now: Now) -> Option<Disconnect> {
        let config = self.hub.config();
        let (client_timeout, stall_timeout) = (config.client_timeout_ms, config.stall_timeout_ms);
        let lifetime = config.lifetime_ms;
        let conn = self.conns.get_mut(local)?;
        let age = since(conn.opened_at, now.mono_ms);
        let Some(sink) = &mut conn.sink else {
            return (age > ATTACH_TIMEOUT_MS).then_some(Disconnect::Unattached);
        };
        if sink.unacknowledged_ms().is_some_and(|silent| silent >= client_timeout) {
            return Some(Disconnect::Dead);
        }
        if conn.flags.waits == Waits::Sink && since(conn.blocked_at, now.mono_ms) >= stall_timeout {
            return Some(Disconnect::Slow);
        }
        // A tenth either way, by the connection's own numbers, so that those who came together leave apart.
        let spread = |lifetime: u64| {
            let part = (conn.opened_at ^ conn.generation.wrapping_mul(0x9e37_79b9) ^ (local as u32) << 7) % 201;
            lifetime.saturating_mul(900 + u64::from(part)) / 1_000
        };
        if lifetime.is_some_and(|lifetime| age >= spread(lifetime)) {
            return Some(Disconnect::Lifetime);
        }
        // Here too, since a sink that never takes another byte is never visited.
        self.fell_behind(local)
    }

    fn begin_drain(&mut self, reason: Disconnect, window_ms: u64, now: Now) {
        let waiting: Vec<u32> = self.conns.iter_mut().map(|(local, _)| local as u32).collect();
        let window_ms = window_ms.min(waiting.len() as u64 * DRAIN_MS_PER_CLIENT);
        self.drain = Some(Drain { reason, began_ms: now.mono_ms, window_ms, total: waiting.len(), waiting });
        self.step_drain(now);
    }

    fn step_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed = now.mono_ms - drain.began_ms;
        let remaining = if elapsed >= drain.window_ms {
            0
        } else {
            drain.total - (drain.total as u64 * elapsed / drain.window_ms) as usize
        };
        if drain.waiting.len() <= remaining {
            return;
        }
        let reason = drain.reason;
        let leaving = drain.waiting.split_off(remaining);
        for local in leaving {
            let slot = self.slot(local as usize);
            if let Some(conn) = self.conns.get_mut(local as usize) {
                let token = Token::new(slot, conn.generation);
                self.end(token, reason, now);
            }
        }
    }

    fn heartbeat(&mut self, now: Now) -> &mut Heartbeat {
        if self.heartbeat.made_for != Some((self.applied, now.wall_ms)) {
            let cursor = self.hub.cursor_at(self.applied);
            self.heartbeat = Heartbeat {
                made_for: Some((self.applied, now.wall_ms)),
                ping: ping_frame(cursor, now.wall_ms),
                comment: comment_frame(cursor),
                packed_ping: None,
                packed_comment: None,
            };
        }
        &mut self.heartbeat
    }
}

/// A closing frame in the encoding of its stream, and the stream's end.
fn last_words(closing: Bytes, member: Option<Member>) -> Bytes {
    let Some(mut member) = member else { return closing };
    let block = Block::stored(&closing);
    member.add(&block);
    [&block.bytes[..], &member.trailer()].concat().into()
}

impl Heartbeat {
    fn frame(&self, comment: bool) -> &Bytes {
        if comment { &self.comment } else { &self.ping }
    }

    fn block(&mut self, comment: bool) -> &Block {
        let (frame, block) =
            if comment { (&self.comment, &mut self.packed_comment) } else { (&self.ping, &mut self.packed_ping) };
        block.get_or_insert_with(|| Block::stored(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole state of a connection in its shard. Raising this number costs every subscriber: give the reason.
    const CONN_BYTES_MAX: usize = 96;

    #[test]
    fn the_size_of_a_connection_is_pinned() {
        let size = size_of::<Option<Conn<Box<()>>>>();
        assert!(size <= CONN_BYTES_MAX, "{size}");
    }
}
