//! `kill -9` under load, again and again on one directory: what was answered is there, in order, once, and whoever comes
//! back with an id goes on where they were.

use crate::chance::{Chance, seed};
use crate::checker::{From, Losses, Reading, Run, Who};
use crate::load::{Publisher, Subscriber, readers};
use crate::places::Dir;
use crate::record::{Listener, assert_sound, event, publish_ok, read_history};
use crate::support::{Server, fanfare};
use crate::wire::Client;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Kills in each of the four tests, unless `FANFARE_KILLS` says how many there are in all.
const KILLS: usize = 10;
/// Lives of one directory at most: a log of a bounded number of segments is to have small ones, and to drop none.
const LIVES: usize = 12;
const PUBLISHERS: usize = 4;
/// Most requests of a publisher in one life, however fast the disk.
const REQUESTS: usize = 400;
/// More events than so many requests can have in all lives of a directory.
const EVENTS: &str = "60000";

fn kills() -> usize {
    match std::env::var("FANFARE_KILLS") {
        Ok(text) => text.parse::<usize>().expect("FANFARE_KILLS is a number").div_ceil(4),
        Err(_) => KILLS,
    }
}

/// One directory's lives.
struct Lives<'a> {
    name: &'a str,
    arguments: Vec<&'a str>,
    losses: Losses,
    /// Most bytes of one payload.
    bytes: usize,
}

impl Lives<'_> {
    fn run(self) {
        let seed = seed();
        eprintln!("{}: FANFARE_SEED={seed}", self.name);
        let mut chance = Chance::new(seed);
        let (mut left, begun) = (kills(), Instant::now());
        let (mut publishes, mut readings) = (0, 0);
        while left > 0 {
            let kills = left.min(LIVES);
            // The directory is kept if the check fails.
            let (_dir, run) = self.directory(kills, &mut chance);
            assert_sound(&run, &format!("{}, FANFARE_SEED={seed}", self.name));
            assert!(run.publishes.len() > kills, "the load was no load");
            publishes += run.publishes.len();
            readings += run.readings.len();
            left -= kills;
        }
        let (name, kills, took) = (self.name, kills(), begun.elapsed());
        eprintln!("{name}: {kills} kills, {publishes} publishes, {readings} readings, {took:?}");
    }

    fn directory(&self, kills: usize, chance: &mut Chance) -> (Dir, Run) {
        let dir = Dir::new(self.name);
        let mut arguments = vec!["--data-dir", dir.text()];
        arguments.extend(&self.arguments);
        let mut publishers: Vec<_> =
            (0..PUBLISHERS).map(|number| Publisher::new(format!("p{number}"), chance.fork(), self.bytes)).collect();
        let mut subscribers: Vec<_> = readers().into_iter().map(|who| Subscriber::new(who, chance.fork())).collect();
        let mut run = Run { losses: self.losses, ..Run::default() };
        for life in 1..=kills {
            if chance.one_in(5) {
                kill_while_opening(&arguments, chance);
            }
            let server = Server::start(&arguments);
            run.readings.extend(histories(server.address, life));
            one_life(server, life, &mut publishers, &mut subscribers, chance.below(130) as u64 + 20);
        }
        let server = Server::start(&arguments);
        let life = kills + 1;
        run.publishes = publishers.into_iter().flat_map(Publisher::finish).collect();
        run.readings.extend(subscribers.into_iter().flat_map(|subscriber| subscriber.readings));
        run.readings.extend(histories(server.address, life));
        let streams = streams(&mut run, server.address, life);
        run.readings.extend(streams);
        (dir, run)
    }
}

/// Recovery may be interrupted as well.
fn kill_while_opening(arguments: &[&str], chance: &mut Chance) {
    let mut all = vec!["--listen", "127.0.0.1:0"];
    all.extend(arguments);
    let mut child = fanfare(&all).spawn().expect("the binary starts");
    // At any moment: that is what is tested.
    std::thread::sleep(Duration::from_micros(chance.below(30_000) as u64));
    child.kill().expect("it is killed");
    child.wait().expect("it ended");
}

fn one_life(server: Server, life: usize, publishers: &mut [Publisher], subscribers: &mut [Subscriber], millis: u64) {
    let address = server.address;
    std::thread::scope(|scope| {
        for subscriber in subscribers {
            scope.spawn(move || subscriber.run(address, life));
        }
        for publisher in publishers {
            scope.spawn(move || publisher.some(address, life, REQUESTS));
        }
        std::thread::sleep(Duration::from_millis(millis));
        server.kill();
    });
}

/// The whole history as each reader may see it.
fn histories(address: SocketAddr, life: usize) -> Vec<Reading> {
    readers().iter().flat_map(|who| read_history(address, life, who, From::Earliest, true)).collect()
}

/// The same as streams, up to an event that is published for it.
fn streams(run: &mut Run, address: SocketAddr, life: usize) -> Vec<Reading> {
    let last = event("the last one", crate::checker::To::All);
    publish_ok(run, life, &mut Client::new(address), vec![last.clone()]);
    let read = |who: &Who| {
        let mut listener = Listener::open(address, life, who, From::Earliest).expect("a stream");
        listener.read_to(&last.payload);
        listener.reading.complete = true;
        listener.reading
    };
    readers().iter().map(read).collect()
}

#[test]
fn killed_under_load_it_keeps_what_it_acknowledged() {
    Lives { name: "kill-plain", arguments: vec!["--disk-size", "64MiB"], losses: Losses::Nothing, bytes: 2_000 }.run();
}

#[test]
fn killed_under_load_with_many_segments_and_little_memory() {
    // What is read again is read from disk.
    let arguments = vec!["--disk-events", EVENTS, "--history-size", "64KiB"];
    Lives { name: "kill-segments", arguments, losses: Losses::Nothing, bytes: 5_000 }.run();
}

#[test]
fn killed_under_load_with_two_shards_and_large_events() {
    let arguments = vec!["--shards", "2", "--disk-size", "1GiB"];
    Lives { name: "kill-large", arguments, losses: Losses::Nothing, bytes: 60_000 }.run();
}

#[test]
fn killed_under_load_while_retention_drops() {
    // Segments of 20 records, of which the oldest go all the time.
    let arguments = vec!["--disk-events", "1280", "--history-size", "64KiB"];
    Lives { name: "kill-retention", arguments, losses: Losses::Dropped, bytes: 500 }.run();
}
