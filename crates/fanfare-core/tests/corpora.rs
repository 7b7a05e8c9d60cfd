//! The fuzz targets' seeds, and what they once found, replayed without a fuzzer.

#![allow(dead_code, clippy::must_use_candidate, reason = "a part of the fuzz targets' own crate")]

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut count = 0;
    let mut paths: Vec<_> = fs::read_dir(&seeds).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort_unstable();
    for path in paths {
        let bytes = fs::read(&path).expect("a seed");
        let done = std::panic::catch_unwind(|| run(&bytes));
        assert!(done.is_ok(), "{} breaks a promise, see above", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count} seeds for {target}");
}

#[test]
fn recovery() {
    replay("recovery", fuzz::recovery::run);
}

#[test]
fn cursor() {
    replay("cursor", fuzz::cursor::run);
}

#[test]
fn wire() {
    replay("wire", fuzz::wire::run);
}

#[test]
fn engine() {
    replay("engine", fuzz::engine::run);
}
