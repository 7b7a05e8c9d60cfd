//! For whoever looks into a finding: with `FANFARE_FUZZ_TELL=<directory>` a target says what it does, and leaves the
//! files it works on there.

use super::memory_disk::Files;
use std::path::PathBuf;

fn directory() -> Option<PathBuf> {
    std::env::var_os("FANFARE_FUZZ_TELL").map(PathBuf::from)
}

pub fn tell(what: impl FnOnce() -> String) {
    if directory().is_some() {
        eprintln!("{}", what());
    }
}

/// Files for `fanfare log` to look at.
pub fn keep(name: &str, files: &Files) {
    let Some(directory) = directory() else { return };
    let directory = directory.join(name);
    // What a run before left.
    _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory that can be written to");
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("a file that can be written");
    }
    eprintln!("files in {}", directory.display());
}
