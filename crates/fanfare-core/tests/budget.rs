//! What a connection and an event may cost in memory: bytes for an idle connection, and allocations for a publish, a
//! delivery and a ping. Each is the engine's price, multiplied by a million somewhere, so it must not grow by accident.
//!
//! Counted by an allocator that counts the calling thread's own calls, with one seed and one thread: the same numbers on
//! every run. A budget that fails names both numbers. Where the growth is meant, change the budget in the same commit
//! and give its reason there. One that is no longer used up fails too, since it would let the next growth pass:
//! lower it.

#![expect(unsafe_code, reason = "an allocator is unsafe to write")]
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

use fanfare_core::{
    ConnectionOptions, Cursor, Encoding, Ending, Event, Filter, Hub, HubConfig, Identity, Input, MemoryStore, Name,
    Now, Seed, Shard, Sink, Start, Target, Token, Turn,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, IoSlice};

// What this thread has allocated so far, and what of it lives.
thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn count(calls: u64, bytes: i64) {
    // A thread that ends may free after its counters are gone.
    _ = CALLS.try_with(|counter| counter.set(counter.get() + calls));
    _ = LIVE.try_with(|counter| counter.set(counter.get() + bytes));
}

fn signed(bytes: usize) -> i64 {
    bytes.cast_signed() as i64
}

struct Counting;

// SAFETY: everything is handed to the system's allocator as it came; the counters neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, signed(size) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// With the byte that says whether it is there, of a socket's 32 bytes; takes everything.
struct Null(#[expect(dead_code, reason = "its size")] [u64; 3]);

impl Sink for Null {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(Input::Open)
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}

struct World {
    hub: Hub<Null>,
    shard: Shard<Null>,
    now: Now,
    encoding: Encoding,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// User and session of its own, two metadata pairs and a topic shared with others.
fn identity(number: usize) -> Identity {
    Identity::anonymous()
        .with_user(name(&format!("user-{number:07}")))
        .with_session(name(&format!("session-{number:07}")))
        .with_topics(vec![name(&format!("topic-{}", number % 100))])
        .unwrap()
        .with_metadata(vec![
            (name("page"), name(&format!("/page/{}", number % 50))),
            (name("region"), name(&format!("region-{}", number % 5))),
        ])
        .unwrap()
}

impl World {
    fn new(clients: usize) -> Self {
        Self::encoded(clients, Encoding::Identity)
    }

    fn encoded(clients: usize, encoding: Encoding) -> Self {
        let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
        let seed = Seed([1, 2, 3, 4, 5 << 40, 6]);
        let (hub, mut shards) = Hub::new(HubConfig::default(), Box::new(MemoryStore), seed, now);
        let mut world = Self { hub, shard: shards.pop().unwrap(), now, encoding };
        world.connect(0..clients);
        world
    }

    fn connect(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.register(&identity(number), Start::Live);
        }
    }

    fn register(&mut self, identity: &Identity, start: Start) {
        let registered = self.hub.register(identity, start, ConnectionOptions::default(), self.now).unwrap();
        let connected = registered.connected_frame("{}");
        self.hub.attach(registered.token(), Null([0; 3]), Vec::new(), connected, self.encoding);
        self.turn();
    }

    fn turn(&mut self) -> u64 {
        loop {
            if let Turn::IdleUntil(next) = self.shard.turn(self.now) {
                return next;
            }
        }
    }

    /// Publishes and delivers.
    fn publish(&mut self, event: &Event, target: &Target) {
        let draft = self.hub.draft(event, target);
        self.hub.publish(vec![draft], None, self.now, Box::new(|answer| assert_eq!(answer.unwrap().len(), 1)));
        self.turn();
    }

    fn sent(&self) -> u64 {
        self.hub.stats(self.now).events_sent
    }
}

fn event() -> Event {
    Event::new("notification", r#"{"message":"the quick brown fox jumps over the lazy dog again","n":12345}"#).unwrap()
}

/// Calls of the allocator while `run` ran.
fn calls(run: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    run();
    CALLS.get() - before
}

/// Fails beyond the budget, and also where a tenth of it is left over.
#[track_caller]
fn assert_budget(what: &str, found: u64, budget: u64) {
    assert!(found <= budget, "{what}: {found}, more than the budget of {budget}");
    assert!(found * 10 >= budget * 9, "{what}: {found} only; lower the budget of {budget}");
}

/// The average of so many publishes, in hundredths of an allocation: what grows now and then is part of the price.
fn hundredths_per_publish(world: &mut World, target: impl Fn(usize) -> Target) -> u64 {
    const EVENTS: usize = 4_096;
    let event = event();
    let targets: Vec<Target> = (0..EVENTS).map(target).collect();
    // The queues' first growth.
    targets[..512].iter().for_each(|target| world.publish(&event, target));
    calls(|| targets.iter().for_each(|target| world.publish(&event, target))) * 100 / EVENTS as u64
}

#[test]
fn an_idle_connection_keeps_to_its_bytes() {
    const CLIENTS: usize = 20_000;
    let mut world = World::new(1_000);
    let before = LIVE.get();
    world.connect(1_000..1_000 + CLIENTS);
    let bytes = (LIVE.get() - before).unsigned_abs() / CLIENTS as u64;
    // State in the shard, place in the directory, its names and their postings, and what the tables hold in reserve.
    assert_budget("bytes of an idle connection", bytes, 380);
}

/// A hundred is one allocation. Seven: the caller's list of drafts, the frame, its reference count, its id line, and the
/// lists and the text of the answer. What is beyond is the log's index, and the growth of its segments.
#[test]
fn a_publish_keeps_to_its_allocations() {
    let world = &mut World::new(1_000);
    let user = |n: usize| Target::User(name(&format!("user-{:07}", n % 1_000)));
    let absent = |n: usize| Target::User(name(&format!("absent-{}", n % 1_000)));
    let topic = |n: usize| Target::Topic(name(&format!("topic-{}", n % 100)));
    let pair = |n: usize| vec![(name("page"), name(&format!("/page/{}", n % 50))), (name("region"), name("region-1"))];
    let filter = |n: usize| Target::Filter(Filter::new(None, None, pair(n)).unwrap());
    assert_budget("for everybody, in hundredths", hundredths_per_publish(world, |_| Target::All), 705);
    assert_budget("for one user, in hundredths", hundredths_per_publish(world, user), 720);
    assert_budget("for a user who is not there, in hundredths", hundredths_per_publish(world, absent), 720);
    assert_budget("for a topic of ten, in hundredths", hundredths_per_publish(world, topic), 820);
    assert_budget("for a filter, in hundredths", hundredths_per_publish(world, filter), 1_260);
}

#[test]
fn a_delivery_allocates_nothing() {
    deliveries_allocate_nothing(Encoding::Identity);
}

/// Events are compressed once, however many they are for.
#[test]
fn a_compressed_delivery_allocates_nothing() {
    deliveries_allocate_nothing(Encoding::Gzip);
}

fn deliveries_allocate_nothing(encoding: Encoding) {
    let [few, many] = [1_000, 10_000].map(|clients| {
        let mut world = World::encoded(clients, encoding);
        let event = event();
        // Lists of that many have grown by then.
        (0..3).for_each(|_| world.publish(&event, &Target::All));
        let sent = world.sent();
        let found = calls(|| (0..100).for_each(|_| world.publish(&event, &Target::All)));
        assert_eq!(world.sent() - sent, 100 * clients as u64);
        found
    });
    assert_eq!(few, many, "a hundred broadcasts cost the same allocations, however many they are for");
}

#[test]
fn a_ping_allocates_nothing() {
    let [few, many] = [1_000, 10_000].map(|clients| {
        let mut world = World::new(clients);
        let mut round = || {
            let until = world.now.mono_ms + 30_000;
            while world.now.mono_ms < until {
                let next = world.turn().min(until);
                world.now.wall_ms += next - world.now.mono_ms;
                world.now.mono_ms = next;
            }
            world.turn();
            world.hub.stats(world.now).pings_sent
        };
        let before = round();
        let mut after = 0;
        let found = calls(|| after = round());
        assert_eq!(after - before, clients as u64);
        found
    });
    assert_eq!(few, many, "a round of heartbeats costs the same allocations, however many hear them");
    // Both forms of the heartbeat, once for each of 64 steps.
    assert_budget("allocations of a round", few, 64 * 7);
}

/// Whatever lies between: nine events of its own among five thousand of others.
#[test]
fn a_resume_keeps_to_its_allocations() {
    let mut world = World::new(10);
    let event = event();
    let me = identity(1_000_000);
    let mut first = None;
    for number in 0..5_000 {
        let target = if number % 500 == 0 { Target::User(name("user-1000000")) } else { Target::Topic(name("hot")) };
        let draft = world.hub.draft(&event, &target);
        let cell = std::sync::Arc::new(std::sync::Mutex::new(None));
        let reply = std::sync::Arc::clone(&cell);
        world.hub.publish(
            vec![draft],
            None,
            world.now,
            Box::new(move |answer| {
                *reply.lock().unwrap() = answer.unwrap()[0].id.clone();
            }),
        );
        first = first.or(cell.lock().unwrap().take());
    }
    let start = Start::After(Cursor::parse(&first.unwrap()));
    world.register(&me, start);
    let sent = world.sent();
    let found = calls(|| world.register(&me, start));
    assert_eq!(world.sent() - sent, 9);
    assert_budget("allocations of a resume with nine events", found, 17);
}
