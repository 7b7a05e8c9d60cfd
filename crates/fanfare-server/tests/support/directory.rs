//! A data directory for one test, and what `fanfare log` says about it.

use crate::support::{PATIENCE, Server, fanfare};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Dropped, it is removed.
pub(crate) struct Directory(PathBuf);

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fanfare-log-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let mut all = vec!["--data-dir", self.text()];
        all.extend(arguments);
        Server::start(&all)
    }

    /// Runs `fanfare log <command> <directory> <arguments>`.
    pub(crate) fn log(&self, command: &str, arguments: &[&str]) -> Said {
        let mut all = vec!["log", command, self.text()];
        all.extend(arguments);
        run(&all)
    }

    /// Every event, as `dump` tells it.
    pub(crate) fn dump(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let said = self.log("dump", arguments);
        assert_eq!((said.code, said.errors.as_str()), (0, ""), "{said:?}");
        said.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The segments' paths, oldest first.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(ending));
        paths.sort_unstable();
        paths
    }

    /// Waits until every segment but the newest has its index.
    pub(crate) fn wait_for_indices(&self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.files(".idx").len() + 1 < self.files(".log").len() {
            assert!(std::time::Instant::now() < deadline, "an index is not written");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Everything in it.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.files("").into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays is in the system's place for what may be removed.
        _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    let output = fanfare(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code().expect("a code"), out: text(output.stdout), errors: text(output.stderr) }
}

/// Changes one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("a file that can be written");
}

/// CRC-32 as everybody computes it, going on from that of what came before.
pub(crate) fn crc32(before: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!before, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
