//! The engine's promises under simulation: a hub of one to three shards with simulated sinks, clock and chance,
//! against a naive model, one history from one number. Every third is in memory only; the others are lives of one
//! log on a simulated disk (`disk`), which loses power, fills up, fails and rots.
//!
//! `FANFARE_SIM_SEED=n` runs one history and prints all of it, `FANFARE_SIM_SEEDS=n` sets how many are run.
//!
//! A driver (`world`, `publish`, `lives`, `ends`) does what `chance` says and records it as plain data (`model`); the
//! checker (`check`, `answers`, `streams`) is a pure function over that record. It reads streams with a parser written
//! from the standard; a third of them are compressed, and read by `gunzip`. Sinks also publish and close in the middle of
//! a write, as other threads do between two visits.
//! The `store` answers at once, or holds what it got until it answers or loses it, as one on a disk does.
//!
//! These bugs were planted in a copy of the engine; each was caught within 4,000 histories, by the rule named:
//!
//! | planted | caught by |
//! | --- | --- |
//! | the cursor of `$closing` is the shard's, also for a connection that has more pending | `cursor ahead` |
//! | a ping goes to a connection with frames pending | `cursor ahead`, `order` |
//! | records are handed to the shards in another order than that of their positions | `order`, `loss` |
//! | the position is drawn under an earlier hold of the lock | `one meaning`, `order` |
//! | the rest of a cut frame is overwritten; it is left out before `$closing` | `torn`, `loss` |
//! | `$gap` is not written; the verdict hides a gap | `loss`, `verdict` |
//! | a connection is counted twice; one that ended stays in the count; a filter counts any of its terms | `count` |
//! | a replay matches index terms only, or nothing | `identity`, `history` |
//! | a foreign epoch, or a cursor beyond the end, is honoured | `verdict` |
//! | an inbox that ran over is not noticed | `cursor ahead` |
//! | a newcomer between two broadcasts is taken for one that has the first | `loss`, `ephemeral` |
//! | a slot's generation is not looked at | `loss`, `identity`, `sink` |
//! | retention forgets a key; it tells a gap whatever was dropped | `verdict`, `loss`, `false gap` |
//! | a short write from the window loses a frame, or says it reached the newest | `loss`, `cursor ahead` |
//! | a frame that was cut is not counted when it is complete | `stats` |
//! | a twin reaches the store, or is never answered; a fingerprint is not looked at | `answers` |
//! | a failed publish is remembered; a reply that the store drops leaves its key pending | `answers` |
//! | a key is forgotten too late, a millisecond too early, the newest first, or while it is pending | `answers` |
//! | a topic's last is looked for in one segment, from its wrong end, or not among what was dropped | `answers` |
//! | an expectation takes a foreign epoch, or is checked before the key, or of the first event only | `answers` |
//! | events before it in a list do not count, or ephemeral ones do; a conflict names one of them | `answers` |
//! | the events of a list before its conflict are published | `fault`, `torn` |
//! | a slow reader skips and no `$gap` is written; it counts as clean before the gap is begun | `loss`, `cursor ahead` |
//! | the `$gap` goes before the rest of a cut frame; that rest is left out | `torn`, `connected`, `loss` |
//! | a compressed block is not in the sum; the rest of one that was cut is left out | `sink`, `loss` |
//! | a compressed block is given for other frames; one that was not begun counts as written | `identity`, `cursor ahead` |
//! | the id of the `$gap` is one beyond what was skipped, or one before | `order`, `cursor ahead`, `loss` |
//! | a skip is told as `retention` | `false gap` |
//! | whoever falls out of the window is slow, with a full socket or not; whoever is blocked is | `ending`, `stats`, `false gap` |
//! | a connection's own slow policy is not looked at | `ending`, `stats`, `false gap` |
//!
//! And these in a copy of the log on disk, each caught within 2,400 histories:
//!
//! | planted | caught by |
//! | --- | --- |
//! | an answer before the sync; a release before the commit | `acknowledged` |
//! | a start that draws no epoch | `receipt`, `half done` |
//! | memory and disk hand a reader over one record late; a full chunk reaches one beyond its last | `cursor ahead`, `loss`, `history` |
//! | a gap is not told: of retention, of what cannot be read; the verdict hides one | `cursor ahead`, `loss`, `verdict` |
//! | a replay from disk ignores identity | `identity` |
//! | answers are not read back at a start | `idempotent` |
//! | the floor is not raised | `false gap`, `verdict`, `expected last` |
//! | dropped keys are forgotten, at once or at a start | `expected last`, `loss`, `history` |
//! | an index entry is missing, in memory or in the file | `loss`, `cursor ahead` |
//! | a torn tail is kept | `half done` |
//! | a hole is not written; one between segments, or inside one, is not told | `acknowledged`, `loss` |
//! | a failed sync is tried again | `read-only`, `acknowledged` |
//! | what a full disk took of a group is not cut off | `false gap` |
//! | a full disk counts as failed; it is full for ever | `read-only`, `condition` |
//! | keys of connections survive a start | `count`, `identity` |
//! | a segment's name, or a manifest, is not synced | `acknowledged`, `refused` |
//! | segments are removed before the manifest says so | `verdict` |
//!
//! Chance does not get to one: a `$gap` for who skips nothing of its own is a `false gap` in `slow_readers` only.
//!
//! The tests in `planted` and `slow_planted` do the same to records instead of code, those in `regressions` are histories
//! that once broke a promise, and those in `slow_readers` one for each way to be slow.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, reason = "modules of one test")]

#[path = "simulation/answers.rs"]
mod answers;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/corners.rs"]
mod corners;
#[path = "simulation/disk/mod.rs"]
mod disk;
#[path = "simulation/ends.rs"]
mod ends;
#[path = "simulation/gunzip.rs"]
mod gunzip;
#[path = "simulation/lives.rs"]
mod lives;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/planted.rs"]
mod planted;
#[allow(dead_code, reason = "the tests of real processes use it too")]
#[path = "support/promises/mod.rs"]
mod promises;
#[path = "simulation/publish.rs"]
mod publish;
#[path = "simulation/regressions.rs"]
mod regressions;
#[path = "simulation/runs.rs"]
mod runs;
#[path = "simulation/sink.rs"]
mod sink;
#[path = "simulation/slow.rs"]
mod slow;
#[path = "simulation/slow_planted.rs"]
mod slow_planted;
#[path = "simulation/slow_readers.rs"]
mod slow_readers;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/streams.rs"]
mod streams;
#[path = "support/whatwg.rs"]
mod whatwg;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 12_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// How often histories were in each corner: in memory and on disk.
#[derive(Default)]
struct Corners {
    memory: [u64; corners::CORNERS.len()],
    disk: [u64; disk::CORNERS.len()],
}

impl Corners {
    fn add(&mut self, other: &Self) {
        self.memory.iter_mut().zip(other.memory).for_each(|(sum, count)| *sum += count);
        self.disk.iter_mut().zip(other.disk).for_each(|(sum, count)| *sum += count);
    }

    fn named(&self) -> Vec<(&'static str, u64)> {
        let memory = corners::CORNERS.into_iter().zip(self.memory);
        memory.chain(disk::CORNERS.into_iter().zip(self.disk)).collect()
    }
}

/// What one history breaks, and what was done in it. Every third is in memory only.
fn history(seed: u64, corners: &mut Corners) -> (Vec<check::Violation>, Vec<String>) {
    if seed.is_multiple_of(3) {
        let trace = chance::run(seed / 3);
        corners::count(&trace, &mut corners.memory);
        let mut found = check::check(&trace);
        found.extend(runs::violations(&trace));
        return (found, trace.told);
    }
    let record = disk::run(seed);
    disk::count(&record, &mut corners.disk);
    let mut found = disk::check(&record);
    found.extend(disk::violations(&record));
    (found, record.told)
}

/// What a seed breaks, if anything, with the end of its history.
fn failure(seed: u64, told_max: usize, corners: &mut Corners) -> Option<String> {
    let Ok((found, told)) = catch_unwind(AssertUnwindSafe(|| history(seed, corners))) else {
        return Some(format!("seed {seed}: a panic"));
    };
    if found.is_empty() && told_max < usize::MAX {
        return None;
    }
    let told = &told[told.len().saturating_sub(told_max)..];
    let broken: Vec<String> = found.iter().take(8).map(|found| format!("  [{}] {}", found.rule, found.text)).collect();
    let count = found.len();
    Some(format!("seed {seed} breaks {count}:\n{}\nhistory:\n{}", broken.join("\n"), told.join("\n")))
}

#[test]
fn no_history_breaks_a_promise() {
    if let Some(seed) = number("FANFARE_SIM_SEED") {
        let mut corners = Corners::default();
        println!("{}", failure(seed, usize::MAX, &mut corners).unwrap_or_default());
        assert!(failure(seed, 0, &mut corners).is_none());
        return;
    }
    let seeds = number("FANFARE_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let failures = Mutex::new(Vec::new());
    let reached = Mutex::new(Corners::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut corners = Corners::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || failures.lock().unwrap().len() > 3 {
                        break;
                    }
                    if let Some(text) = failure(seed, 60, &mut corners) {
                        failures.lock().unwrap().push(text);
                    }
                }
                reached.lock().unwrap().add(&corners);
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let reached = reached.into_inner().unwrap().named();
    println!("{seeds} histories, and how often they were in each corner: {reached:?}");
    assert!(seeds < SEEDS || reached.iter().all(|(_, count)| *count >= 10), "{reached:?}");
}
