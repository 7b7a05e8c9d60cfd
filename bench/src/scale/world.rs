//! A hub with sinks that take everything, and the thread that turns its shard: no sockets, no kernel.

use crate::AnyError;
use crate::measure::EVENT_DATA;
use fanfare_core::{
    ConnectionOptions, Encoding, Ending, Event, Hub, HubConfig, Identity, Input, MemoryStore, Name, Now, Seed, Shard,
    Sink, Start, Target, Token, Turn,
};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Writes of all sinks. Only the shard's thread adds.
pub(super) static WRITES: AtomicU64 = AtomicU64::new(0);
/// The peers have gone: sinks say so when they are read.
pub(super) static GONE: AtomicBool = AtomicBool::new(false);
/// What the last publish said: how many it is for.
static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// With the byte that says whether it is there, of a socket's 32 bytes. Takes everything; after a planned end its peer reads on, as a socket's does.
pub(super) struct Null(#[expect(dead_code, reason = "its size")] [u64; 3]);

impl Sink for Null {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        WRITES.store(WRITES.load(Ordering::Relaxed) + 1, Ordering::Release);
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(if GONE.load(Ordering::Relaxed) { Input::Ended } else { Input::Open })
    }

    fn finish(&mut self) -> Ending {
        Ending::Linger
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}

/// Time spent, all of it and in the longest turn: for so long everybody else on the shard waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) total: Duration,
    pub(super) longest: Duration,
}

pub(super) struct World {
    pub(super) hub: Hub<Null>,
    pub(super) shard: Shard<Null>,
    pub(super) now: Now,
    pub(super) event: Event,
}

pub(super) fn name(text: &str) -> Result<Name, AnyError> {
    Ok(Name::new(text)?)
}

pub(super) fn user(number: usize) -> Result<Target, AnyError> {
    Ok(Target::User(name(&format!("user-{number:07}"))?))
}

/// A user and a session of its own, one of 100 topics, one of 50 pages and one of 5 regions.
pub(super) fn identity(number: usize) -> Result<Identity, AnyError> {
    Ok(Identity::anonymous()
        .with_user(name(&format!("user-{number:07}"))?)
        .with_session(name(&format!("session-{number:07}"))?)
        .with_topics(vec![name(&format!("topic-{}", number % 100))?])?
        .with_metadata(vec![
            (name("page")?, name(&format!("/page/{}", number % 50))?),
            (name("region")?, name(&format!("region-{}", number / 50 % 5))?),
        ])?)
}

impl World {
    pub(super) fn new() -> Result<Self, AnyError> {
        let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
        let seed = Seed([0x5eed, 2, 3, 4, 5 << 40, 6]);
        let (hub, mut shards) = Hub::new(HubConfig::default(), Box::new(MemoryStore), seed, now);
        let shard = shards.pop().ok_or("no shard")?;
        Ok(Self { hub, shard, now, event: Event::new("announcement", EVENT_DATA)? })
    }

    /// Registers one, and hands over its sink.
    pub(super) fn connect(&self, identity: &Identity) -> Result<Token, AnyError> {
        let registered = self.hub.register(identity, Start::Live, ConnectionOptions::default(), self.now)?;
        let connected = registered.connected_frame("{}");
        self.hub.attach(registered.token(), Null([0; 3]), Vec::new(), connected, Encoding::Identity);
        Ok(registered.token())
    }

    /// Turns until there is nothing to do.
    pub(super) fn settle(&mut self) -> Spent {
        let mut spent = Spent::default();
        loop {
            let begin = Instant::now();
            let turn = self.shard.turn(self.now);
            let elapsed = begin.elapsed();
            spent.total += elapsed;
            spent.longest = spent.longest.max(elapsed);
            self.shard.take_closed().for_each(drop);
            if turn != Turn::Busy {
                return spent;
            }
        }
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    pub(super) fn pass(&mut self, milliseconds: u64) -> Spent {
        let until = self.now.mono_ms + milliseconds;
        let mut spent = Spent::default();
        loop {
            let begin = Instant::now();
            let turn = self.shard.turn(self.now);
            let elapsed = begin.elapsed();
            spent.total += elapsed;
            spent.longest = spent.longest.max(elapsed);
            self.shard.take_closed().for_each(drop);
            match turn {
                Turn::Busy => {}
                Turn::IdleUntil(_) if self.now.mono_ms == until => return spent,
                Turn::IdleUntil(next) => {
                    let next = next.clamp(self.now.mono_ms + 1, until);
                    self.now.wall_ms += next - self.now.mono_ms;
                    self.now.mono_ms = next;
                }
            }
        }
    }

    pub(super) fn publish(&self, target: &Target) {
        publish(&self.hub, &self.event, target, self.now);
    }

    /// Publishes, delivers, and sees that it was for so many. Returns the time of the call and of the rest.
    pub(super) fn deliver(&mut self, target: &Target, clients: usize) -> Result<(Duration, Spent), AnyError> {
        let before = WRITES.load(Ordering::Relaxed);
        let begin = Instant::now();
        self.publish(target);
        let call = begin.elapsed();
        let spent = self.settle();
        let (said, written) = (CLIENTS.load(Ordering::Relaxed), WRITES.load(Ordering::Relaxed) - before);
        if said != clients || written != clients as u64 {
            return Err(format!("{target:?} was for {said} and written to {written}, not {clients}").into());
        }
        Ok((call, spent))
    }
}

/// From a call of the library's to the release.
pub(super) fn publish(hub: &Hub<Null>, event: &Event, target: &Target, now: Now) {
    let draft = hub.draft(event, target);
    let reply = |answer: Result<Vec<fanfare_core::Receipt>, _>| {
        let clients = answer.ok().and_then(|receipts| receipts.first().map(|receipt| receipt.clients));
        CLIENTS.store(clients.unwrap_or(usize::MAX), Ordering::Relaxed);
    };
    hub.publish(vec![draft], None, now, Box::new(reply));
}
