//! The engine's steps by themselves: encode an event, append it to the log, route it to those it is for, resume.
//!
//! `cargo bench -p fanfare-core` for all of them, `cargo bench -p fanfare-core -- route` for some. Criterion keeps each
//! run and tells the difference to the one before. No sockets: what these cost is the system's, not the engine's.

#![allow(missing_docs, reason = "a bench")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_core::{
    ConnectionOptions, Cursor, Disconnect, Encoding, Ending, Event, FrameBody, Hub, HubConfig, Identity, Input,
    MemoryStore, Name, Now, Seed, Shard, Sink, Start, Target, Token, Turn,
};
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Takes everything.
struct Null;

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
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn user(number: usize) -> Name {
    name(&format!("user-{number}"))
}

impl World {
    fn new(clients: usize) -> Self {
        let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
        let seed = Seed([1, 2, 3, 4, 5 << 40, 6]);
        let (hub, mut shards) = Hub::new(HubConfig::default(), Box::new(MemoryStore), seed, now);
        let mut world = Self { hub, shard: shards.pop().expect("a shard"), now };
        for number in 0..clients {
            let topic = vec![name(&format!("topic-{}", number % 100))];
            let identity = Identity::anonymous().with_user(user(number)).with_topics(topic).expect("an identity");
            world.connect(&identity, Start::Live);
        }
        world
    }

    fn connect(&mut self, identity: &Identity, start: Start) -> Token {
        let registered = self.hub.register(identity, start, ConnectionOptions::default(), self.now).expect("room");
        self.hub.attach(registered.token(), Null, Vec::new(), registered.connected_frame("{}"), Encoding::Identity);
        self.turn();
        registered.token()
    }

    fn turn(&mut self) {
        while self.shard.turn(self.now) == Turn::Busy {}
        self.shard.take_closed().for_each(drop);
    }

    fn publish(&self, event: &Event, target: &Target) {
        let draft = self.hub.draft(event, target);
        self.hub.publish(vec![draft], None, self.now, Box::new(|answer| _ = black_box(answer)));
    }
}

fn event(data_bytes: usize) -> Event {
    Event::new("notification", format!("\"{}\"", "x".repeat(data_bytes - 2))).expect("an event")
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for bytes in [100, 10_000, 256 * 1024] {
        let event = event(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &event, |bencher, event| {
            bencher.iter(|| FrameBody::encode(black_box(event)));
        });
    }
    group.finish();
}

/// A publish with nobody connected: encode, position, id line, log with its index and its bounds, answer.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    let (world, event) = (World::new(0), event(100));
    group.bench_function("for everybody", |bencher| bencher.iter(|| world.publish(&event, &Target::All)));
    let users: Vec<Target> = (0..1_000).map(|number| Target::User(user(number))).collect();
    let mut next = users.iter().cycle();
    group.bench_function("for a user", |bencher| {
        bencher.iter(|| world.publish(&event, next.next().unwrap_or(&Target::All)));
    });
    group.finish();
}

/// From the publish to the last sink written, with ten thousand connected.
fn route(criterion: &mut Criterion) {
    const CLIENTS: usize = 10_000;
    let mut group = criterion.benchmark_group("route");
    let (mut world, event) = (World::new(CLIENTS), event(100));
    let mut run = |name: &str, deliveries: usize, targets: &[Target]| {
        group.throughput(Throughput::Elements(deliveries as u64));
        let mut next = targets.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                world.publish(&event, next.next().unwrap_or(&Target::All));
                world.turn();
            });
        });
    };
    // In steps that leave no two neighbours in one place of memory.
    let users: Vec<Target> = (0..CLIENTS).map(|number| Target::User(user(number * 7_919 % CLIENTS))).collect();
    run("one of 10000", 1, &users);
    let topics: Vec<Target> = (0..100).map(|number| Target::Topic(name(&format!("topic-{number}")))).collect();
    run("a topic of 100", CLIENTS / 100, &topics);
    run("everybody", CLIENTS, &[Target::All]);
    group.finish();
}

/// A connection that comes back with ten events of its own behind its cursor, among as many of others as the log holds.
fn resume(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resume");
    for others in [1_000, 100_000] {
        let (mut world, event) = (World::new(0), event(100));
        let mine = Target::User(user(0));
        let (sender, receiver) = channel();
        let draft = world.hub.draft(&event, &Target::Topic(name("first")));
        world.hub.publish(vec![draft], None, world.now, Box::new(move |answer| _ = sender.send(answer)));
        let receipt = receiver.recv().expect("an answer").expect("a receipt").pop().and_then(|receipt| receipt.id);
        let start = Start::After(receipt.as_deref().and_then(Cursor::parse));
        for number in 0..others {
            if number % (others / 10) == 0 {
                world.publish(&event, &mine);
            }
            world.publish(&event, &Target::User(user(1 + number % 1_000)));
        }
        let identity = Identity::anonymous().with_user(user(0));
        group.bench_function(BenchmarkId::new("ten of one's own among", others), |bencher| {
            bencher.iter(|| {
                let token = world.connect(&identity, start);
                world.hub.close(token, Disconnect::Gone);
                world.turn();
            });
        });
        let sent = world.hub.stats(world.now).events_sent;
        world.connect(&identity, start);
        assert_eq!(world.hub.stats(world.now).events_sent - sent, 10, "each resume delivers its events");
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = encode, append, route, resume
}
criterion_main!(benches);
