//! The engine's promises under simulation: a hub of one to three shards with simulated sinks, clock and chance,
//! against a naive model, one history from one number.
//!
//! `FANFARE_SIM_SEED=n` runs one history and prints all of it, `FANFARE_SIM_SEEDS=n` sets how many are run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, reason = "modules of one test")]

#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/sink.rs"]
mod sink;
#[path = "simulation/streams.rs"]
mod streams;
#[path = "support/whatwg.rs"]
mod whatwg;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What a seed breaks, if anything, with the end of its history.
fn failure(seed: u64, told_max: usize) -> Option<String> {
    let trace = match catch_unwind(AssertUnwindSafe(|| chance::run(seed))) {
        Ok(trace) => trace,
        Err(_) => return Some(format!("seed {seed}: a panic")),
    };
    let found = check::check(&trace);
    if found.is_empty() && told_max < usize::MAX {
        return None;
    }
    let told = &trace.told[trace.told.len().saturating_sub(told_max)..];
    let broken: Vec<String> = found.iter().take(8).map(|v| format!("  [{}] {}", v.rule, v.text)).collect();
    let count = found.len();
    Some(format!("seed {seed} breaks {count}:\n{}\nhistory:\n{}", broken.join("\n"), told.join("\n")))
}

#[test]
fn no_history_breaks_a_promise() {
    if let Some(seed) = number("FANFARE_SIM_SEED") {
        println!("{}", failure(seed, usize::MAX).unwrap_or_default());
        assert!(failure(seed, 0).is_none());
        return;
    }
    let seeds = number("FANFARE_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || failures.lock().unwrap().len() > 3 {
                        break;
                    }
                    if let Some(text) = failure(seed, 60) {
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
