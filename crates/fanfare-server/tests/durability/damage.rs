//! Bits that change on the disk: what cannot be read any more is told to whoever comes back from before it, and nothing
//! wrong is served.

use crate::chance::{Chance, seed};
use crate::checker::{From, Item, Losses, Outcome, Run, To, Verdict};
use crate::load::{Publisher, readers};
use crate::places::{Dir, written};
use crate::record::{Listener, assert_sound, event, publish_ok, read_history};
use crate::support::{Server, fanfare};
use crate::wire::Client;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Starts on a damaged log, unless `FANFARE_FLIPS` says how many.
const RUNS: usize = 60;
/// Segments of forty events.
const ARGUMENTS: [&str; 4] = ["--disk-events", "2560", "--history-size", "64KiB"];

/// A log of one or two lives with several segments, and everything that is known of it.
struct Log {
    dir: Dir,
    run: Run,
    /// Places to come back to, oldest first.
    ids: Vec<String>,
    /// The last life.
    life: usize,
}

fn runs() -> usize {
    std::env::var("FANFARE_FLIPS").map_or(RUNS, |text| text.parse().expect("FANFARE_FLIPS is a number"))
}

fn start(dir: &Dir) -> Result<Server, String> {
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--data-dir", dir.text()];
    arguments.extend(ARGUMENTS);
    Server::try_spawn(fanfare(&arguments))
}

fn make(chance: &mut Chance, lives: usize) -> Log {
    let dir = Dir::new("damage-log");
    let mut run = Run { losses: Losses::Damaged, ..Run::default() };
    let mut publisher = Publisher::new("p".to_owned(), chance.fork(), 300);
    for life in 1..=lives {
        let server = start(&dir).expect("it starts");
        publisher.some(server.address, life, 120);
        for who in readers() {
            run.readings.extend(read_history(server.address, life, &who, From::Earliest, false));
        }
        dir.wait_for_indices();
        server.kill();
    }
    run.publishes = publisher.finish();
    let mut ids = Vec::new();
    for publish in &run.publishes {
        if let Outcome::Acked(acked) = &publish.attempts[0].outcome {
            ids.extend(acked.iter().flatten().cloned());
        }
    }
    Log { dir, run, ids, life: lives }
}

/// Flips a few bits somewhere in the directory: where.
///
/// Only the newest manifest knows of the last of several epochs. Without it that one's ids are resets, and its places
/// are told under the epoch before, which is as good to come back with and no order to check: so it is left alone.
fn flip(dir: &Dir, log: &Log, chance: &mut Chance) -> String {
    let mut names = dir.names();
    names.retain(|name| name != "LOCK" && (log.life == 1 || !name.starts_with("manifest")));
    let mut flipped = Vec::new();
    for _ in 0..=chance.below(2) {
        let name = names[chance.below(names.len())].clone();
        for _ in 0..=chance.below(3) {
            let offset = flip_one(&dir.path().join(&name), chance);
            flipped.push(format!("{name}@{offset}"));
        }
    }
    flipped.join(" ")
}

/// Loses a part of a file, or all of it: what. Not of the newest segment, where it looks like a write that was cut short.
fn lose(dir: &Dir, chance: &mut Chance) -> String {
    let mut names = dir.names();
    names.retain(|name| name.starts_with('0'));
    names.pop();
    let name = &names[chance.below(names.len())];
    let path = dir.path().join(name);
    let mut bytes = std::fs::read(&path).expect("a file");
    let sector = chance.below(bytes.len()) & !511;
    match chance.below(3) {
        0 => std::fs::remove_file(&path).expect("it is removed"),
        1 => std::fs::write(&path, &bytes[..sector]).expect("it is written"),
        _ => {
            let end = bytes.len().min(sector + 512);
            bytes[sector..end].fill(0);
            std::fs::write(&path, &bytes).expect("it is written");
        }
    }
    let left = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    format!("{name} lost something at {sector}, {left} of {} bytes left", bytes.len())
}

fn flip_one(path: &Path, chance: &mut Chance) -> usize {
    let mut bytes = std::fs::read(path).expect("a file");
    // Not in the zeroes that room was made for with.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let offset = chance.below(written.max(1));
    bytes[offset] ^= 1 << chance.below(8);
    // In place: a server may have it open.
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(offset as u64)).expect("the place is there");
    file.write_all(&bytes[offset..=offset]).expect("it is written");
    offset
}

/// Reads everything there is, as everybody who may come back, up to an event that is published for it.
fn read_all(run: &mut Run, log: &Log, server: &Server, chance: &mut Chance) {
    let last = event("the last one", To::All);
    let life = log.life + 1;
    publish_ok(run, life, &mut Client::new(server.address), vec![last.clone()]);
    for who in readers() {
        run.readings.extend(read_history(server.address, life, &who, From::Earliest, true));
        let mut from = vec![From::Earliest, From::After(log.ids[log.ids.len() - 1].clone())];
        from.extend((0..3).map(|_| From::After(log.ids[chance.below(log.ids.len())].clone())));
        for from in from {
            let mut listener = Listener::open(server.address, life, &who, from).expect("a stream");
            // A reset begins with the present, which is behind the last one.
            if listener.reading.verdict != Verdict::Reset {
                listener.read_to(&last.payload);
            }
            run.readings.push(listener.reading);
        }
    }
}

#[test]
fn flipped_bits_between_two_starts_are_told_and_never_served() {
    let seed = seed();
    eprintln!("damage: FANFARE_SEED={seed}");
    let mut chance = Chance::new(seed);
    let logs = [make(&mut chance, 1), make(&mut chance, 2)];
    let mut refusals = 0;
    for number in 0..runs() {
        let log = &logs[usize::from(chance.one_in(2))];
        let dir = Dir::copy("damaged", log.dir.path());
        let flipped = if number % 3 == 2 { lose(&dir, &mut chance) } else { flip(&dir, log, &mut chance) };
        let what = format!("run {number}, FANFARE_SEED={seed}, {flipped}");
        let server = match start(&dir) {
            Ok(server) => server,
            Err(said) => {
                assert!(said.contains("the log is damaged") && !said.contains("panicked"), "{what}: {said}");
                refusals += 1;
                continue;
            }
        };
        let mut run = log.run.clone();
        read_all(&mut run, log, &server, &mut chance);
        server.kill();
        // What was found out is still known after one more start.
        let server = start(&dir).unwrap_or_else(|said| panic!("{what}: {said}"));
        for who in readers() {
            run.readings.extend(read_history(server.address, log.life + 2, &who, From::Earliest, true));
        }
        assert_sound(&run, &what);
    }
    assert!(refusals < runs() / 4, "{refusals} of {} starts refused", runs());
}

#[test]
fn bits_that_flip_under_a_running_server_are_told_and_never_served() {
    let seed = seed();
    eprintln!("rot: FANFARE_SEED={seed}");
    let mut chance = Chance::new(seed);
    let logs = [make(&mut chance, 1), make(&mut chance, 2)];
    for number in 0..runs() / 2 {
        let log = &logs[usize::from(chance.one_in(2))];
        let dir = Dir::copy("rotten", log.dir.path());
        let server = start(&dir).expect("it starts");
        let flipped = flip(&dir, log, &mut chance);
        let mut run = log.run.clone();
        read_all(&mut run, log, &server, &mut chance);
        assert_sound(&run, &format!("run {number}, FANFARE_SEED={seed}, {flipped}"));
    }
}

#[test]
fn a_write_that_was_cut_short_is_cut_off_as_a_whole_and_in_silence() {
    let dir = Dir::new("torn");
    let server = start(&dir).expect("it starts");
    let mut client = Client::new(server.address);
    let mut run = Run::default();
    for number in 0..5 {
        publish_ok(&mut run, 1, &mut client, vec![event(&format!("kept-{number}"), To::All)]);
    }
    let segment = dir.path().join("00000000000000000000.log");
    let begin = written(&segment);
    let batch = (0..6).map(|number| event(&format!("torn-{number}"), To::All)).collect();
    let torn = publish_ok(&mut run, 1, &mut client, batch);
    let end = written(&segment);
    server.kill();
    // As if nobody had been answered.
    run.publishes.last_mut().expect("the batch").attempts[0].outcome = Outcome::Unknown;
    for cut in (begin..end).step_by(37).chain([begin + 1, end - 1]) {
        for zeroes in [false, true] {
            let dir = Dir::copy("torn-copy", dir.path());
            let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("00000000000000000000.log"));
            let file = file.expect("a file");
            file.set_len(cut as u64).expect("it is cut");
            if zeroes {
                file.set_len(1 << 20).expect("it is made longer");
            }
            let what = format!("cut at {cut} of {begin}..{end}, zeroes behind: {zeroes}");
            let server = start(&dir).unwrap_or_else(|said| panic!("{what}: {said}"));
            let mut run = run.clone();
            publish_ok(&mut run, 2, &mut Client::new(server.address), vec![event("later", To::All)]);
            for who in readers() {
                let pages = read_history(server.address, 3, &who, From::Earliest, true);
                let seen = |name: &str| {
                    let events = pages.iter().flat_map(|page| &page.items);
                    events.filter(|item| matches!(item, Item::Event { payload, .. } if payload.contains(name))).count()
                };
                assert_eq!((seen("kept-"), seen("torn-"), seen("later")), (5, 0, 1), "{what}");
                run.readings.extend(pages);
            }
            assert_sound(&run, &what);
            let beyond = Listener::open(server.address, 3, &readers()[0], From::After(torn[0].clone()));
            assert_eq!(beyond.expect("a stream").reading.verdict, Verdict::Reset, "{what}");
        }
    }
}
