//! Directories for logs: on the disk that the build is on, and on small file systems of their own.

use crate::support::PATIENCE;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A directory that is removed at the end, unless the test failed: then its log may say why.
pub(crate) struct Dir(PathBuf);

static NEXT: AtomicUsize = AtomicUsize::new(0);

fn fresh(name: &str) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
    _ = std::fs::remove_dir_all(&path);
    path
}

impl Dir {
    /// A path at which there is nothing yet.
    pub(crate) fn new(name: &str) -> Self {
        Self(fresh(name))
    }

    /// A copy of a directory of files.
    pub(crate) fn copy(name: &str, from: &Path) -> Self {
        let dir = Self(fresh(name));
        std::fs::create_dir(&dir.0).expect("a directory");
        for entry in std::fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("an entry");
            match std::fs::copy(entry.path(), dir.0.join(entry.file_name())) {
                // A server that runs has renamed or dropped it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => _ = copied.expect("a copy"),
            }
        }
        dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().expect("a path that is text")
    }

    /// The names of its files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// Waits until every segment of a log but the newest has its index, of several.
    pub(crate) fn wait_for_indices(&self) {
        let begun = Instant::now();
        loop {
            let names = self.names();
            let count = |ending| names.iter().filter(|name| name.ends_with(ending)).count();
            if count(".log") > 1 && count(".idx") + 1 == count(".log") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no indices: {names:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Up to where a file was written; behind it are zeroes.
pub(crate) fn written(path: &Path) -> usize {
    let bytes = std::fs::read(path).expect("a file");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A file system in memory, as small as a test wants it.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounting takes root, or `sudo` that asks nothing. Without either the test fails: a full disk is not to be
    /// skipped in silence.
    pub(crate) fn mount(size: &str) -> Self {
        let path = fresh("tmpfs");
        std::fs::create_dir_all(&path).expect("a directory");
        let options = format!("size={size},mode=0777");
        let at = path.to_str().expect("a path that is text");
        privileged(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", at]);
        Self(path)
    }

    pub(crate) fn make_read_only(&self) {
        privileged(&["mount", "-o", "remount,ro", self.0.to_str().expect("a path that is text")]);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().expect("a path that is text")
    }
}

/// Runs a command as root.
fn privileged(command: &[&str]) {
    let direct = Command::new(command[0]).args(&command[1..]).output().expect("the command runs");
    if direct.status.success() {
        return;
    }
    let sudo = Command::new("sudo").arg("-n").args(command).output();
    assert!(
        sudo.is_ok_and(|sudo| sudo.status.success()),
        "{command:?} failed, also under `sudo -n`: {}; this test needs to mount a file system, so run it as root",
        String::from_utf8_lossy(&direct.stderr)
    );
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still have files open.
        for command in [&["umount", "-l"][..], &["sudo", "-n", "umount", "-l"]] {
            let ended = Command::new(command[0]).args(&command[1..]).arg(&self.0).output();
            if ended.is_ok_and(|ended| ended.status.success()) {
                break;
            }
        }
        _ = std::fs::remove_dir(&self.0);
    }
}
