//! Directories that cannot be used: each is refused with a message that says why, and nothing in it is touched.

use crate::checker::{From, Run, To, Who};
use crate::places::{Dir, Tmpfs};
use crate::record::{assert_sound, event, publish_ok, read_history};
use crate::support::{Server, fanfare, wait};
use crate::wire::Client;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Starts it on a directory that it cannot use: what it said.
fn refused(dir: &str) -> String {
    let mut child = fanfare(&["--listen", "127.0.0.1:0", "--data-dir", dir]).spawn().expect("the binary starts");
    let code = wait(&mut child).code();
    let mut said = String::new();
    child.stderr.take().expect("its stderr").read_to_string(&mut said).expect("text");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(dir) && said.contains("because:"), "the directory and the reason: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Every file and what is in it.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = crate::places::names(dir);
    names.into_iter().map(|name| (name.clone(), std::fs::read(dir.join(&name)).expect("a file"))).collect()
}

/// A log with one event.
fn with_a_log(name: &str) -> (Dir, Run) {
    let dir = Dir::new(name);
    let mut run = Run::default();
    let server = Server::start(&["--data-dir", dir.text()]);
    publish_ok(&mut run, 1, &mut Client::new(server.address), vec![event("kept", To::All)]);
    server.kill();
    (dir, run)
}

/// The log works, and everything is there.
fn assert_works(dir: &Dir, mut run: Run) {
    let server = Server::start(&["--data-dir", dir.text()]);
    publish_ok(&mut run, 2, &mut Client::new(server.address), vec![event("later", To::All)]);
    run.readings.extend(read_history(server.address, 3, &Who::default(), From::Earliest, true));
    assert_sound(&run, dir.text());
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let dir = Dir::new("second");
    let mut run = Run::default();
    let server = Server::start(&["--data-dir", dir.text()]);
    publish_ok(&mut run, 1, &mut Client::new(server.address), vec![event("first", To::All)]);
    let before = contents(dir.path());
    let said = refused(dir.text());
    assert!(said.contains(&format!("process {}", server.id())), "{said}");
    assert_eq!(contents(dir.path()), before, "nothing is changed by it");
    publish_ok(&mut run, 1, &mut Client::new(server.address), vec![event("second", To::All)]);
    server.kill();
    // However it ended, the directory is free.
    assert_works(&dir, run);
}

#[test]
fn of_several_that_start_at_once_one_has_the_directory() {
    let dir = Dir::new("race");
    let started: Vec<_> = std::thread::scope(|scope| {
        let start = || Server::try_spawn(fanfare(&["--listen", "127.0.0.1:0", "--data-dir", dir.text()]));
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ended")).collect()
    });
    let refusals: Vec<&String> = started.iter().filter_map(|one| one.as_ref().err()).collect();
    assert_eq!(refusals.len(), 4, "{refusals:?}");
    assert!(refusals.iter().all(|said| said.contains("another process has it")), "{refusals:?}");
    drop(started);
    assert_works(&dir, Run::default());
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let disk = Tmpfs::mount("1m");
    disk.make_read_only();
    let said = refused(disk.text());
    assert!(said.contains("Read-only file system"), "{said}");
    let below = disk.path().join("below");
    let said = refused(below.to_str().expect("text"));
    assert!(said.contains("Read-only file system"), "{said}");
    refused("/proc/fanfare");
}

#[test]
fn a_log_on_a_file_system_that_became_read_only_is_refused() {
    let disk = Tmpfs::mount("4m");
    let log = disk.path().join("log");
    let path = log.to_str().expect("text");
    let server = Server::start(&["--data-dir", path, "--disk-size", "1MiB"]);
    publish_ok(&mut Run::default(), 1, &mut Client::new(server.address), vec![event("kept", To::All)]);
    server.kill();
    disk.make_read_only();
    assert!(refused(path).contains("Read-only file system"));
}

#[test]
fn a_file_is_no_directory() {
    let dir = Dir::new("file");
    std::fs::write(dir.path(), "mine").expect("a file");
    assert!(refused(dir.text()).contains("not a directory"));
    assert_eq!(std::fs::read_to_string(dir.path()).expect("a file"), "mine");
    std::fs::remove_file(dir.path()).expect("it is removed");
}

#[test]
fn a_foreign_directory_is_left_as_it_is() {
    for name in ["holiday.jpg", "manifest-2", "00000000000000000000.txt", "1.log", ".hidden"] {
        let dir = Dir::new("foreign");
        std::fs::create_dir(dir.path()).expect("a directory");
        std::fs::write(dir.path().join(name), "mine").expect("a file");
        let before = contents(dir.path());
        let said = refused(dir.text());
        assert!(said.contains(name) && said.contains("not empty"), "{said}");
        assert_eq!(contents(dir.path()), before, "nothing is written into it");
    }
}

/// A file that happens to have a manifest's name was taken for one that an interrupted start had left.
#[test]
fn a_foreign_file_with_a_manifests_name_is_not_written_over() {
    let dir = Dir::new("foreign-manifest");
    std::fs::create_dir(dir.path()).expect("a directory");
    for name in ["manifest-0", "ship.txt"] {
        std::fs::write(dir.path().join(name), "mine").expect("a file");
    }
    let before = without_lock(&dir);
    assert!(refused(dir.text()).contains("ship.txt"));
    assert_eq!(without_lock(&dir), before);
}

#[test]
fn an_empty_directory_is_taken_whoever_made_it() {
    let dir = Dir::new("empty");
    std::fs::create_dir(dir.path()).expect("a directory");
    assert_works(&dir, Run::default());
}

/// CRC-32 as zip has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Another format version at `at`, with the checksum at the end of `part` bytes made right again.
fn change_version(path: &Path, part: Option<usize>) {
    let mut bytes = std::fs::read(path).expect("a file");
    let end = part.unwrap_or(bytes.len());
    let sum = u32::from_le_bytes(bytes[end - 4..end].try_into().expect("four bytes"));
    assert_eq!(sum, crc32(&bytes[..end - 4]), "the checksum is where it is said to be");
    bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
    let sum = crc32(&bytes[..end - 4]);
    bytes[end - 4..end].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, bytes).expect("it is written");
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let is_segment = |name: &str| name.strip_suffix(".log").is_some();
    let is_first = |name: &str| name == "manifest-0";
    let is_second = |name: &str| name == "manifest-1";
    let chosen: [&dyn Fn(&str) -> bool; 4] =
        [&|name| is_first(name) || is_second(name), &is_first, &is_second, &is_segment];
    for chosen in chosen {
        let (dir, _) = with_a_log("version");
        let mut changed = 0;
        for name in dir.names().iter().filter(|name| chosen(name)) {
            change_version(&dir.path().join(name), is_segment(name).then_some(64));
            changed += 1;
        }
        assert!(changed > 0);
        let before = without_lock(&dir);
        let said = refused(dir.text());
        assert!(said.contains("format 7") && said.contains("newer"), "{said}");
        assert_eq!(without_lock(&dir), before, "a newer program still finds what it wrote");
    }
}

/// The lock says which process was there last.
fn without_lock(dir: &Dir) -> BTreeMap<String, Vec<u8>> {
    let mut contents = contents(dir.path());
    contents.remove("LOCK");
    contents
}

#[test]
fn a_log_without_a_manifest_that_can_be_read_is_refused() {
    type Harm = fn(&Path);
    let harms: [Harm; 3] = [
        |path| {
            let mut bytes = std::fs::read(path).expect("a file");
            bytes[40] ^= 1;
            std::fs::write(path, bytes).expect("it is written");
        },
        |path| std::fs::write(path, "").expect("it is written"),
        |path| std::fs::remove_file(path).expect("it is removed"),
    ];
    for harm in harms {
        let (dir, _) = with_a_log("manifests");
        for name in ["manifest-0", "manifest-1"] {
            harm(&dir.path().join(name));
        }
        let before = without_lock(&dir);
        let said = refused(dir.text());
        assert!(said.contains("manifest") && said.contains("backup"), "{said}");
        assert_eq!(without_lock(&dir), before);
    }
}

#[test]
fn one_manifest_is_enough() {
    for name in ["manifest-0", "manifest-1"] {
        let (dir, run) = with_a_log("one-manifest");
        std::fs::write(dir.path().join(name), "torn").expect("it is written");
        assert_works(&dir, run);
    }
}
