//! A disk without room: publishes are refused, nothing else is, and room that is made is used without a restart.

use crate::checker::{From, Losses, Run, To, Verdict, Who};
use crate::directories::crc32;
use crate::places::{Dir, Tmpfs};
use crate::record::{Listener, assert_sound, event, large, publish, publish_ok, read_history, user};
use crate::support::{Server, fanfare, fanfare_under};
use crate::sync::traced;
use crate::wire::{Client, Stream};
use std::process::Command;
use std::time::Duration;

/// Publishes until the disk is full: how many were kept.
fn fill(run: &mut Run, life: usize, client: &mut Client, name: &str) -> usize {
    for number in 0..1_000 {
        let sent = large(&format!("{name}-{number}"), To::All, 30_000);
        let answer = publish(run, life, client, vec![sent]).expect("an answer");
        if answer.status == 200 {
            continue;
        }
        assert_eq!((answer.status, &*answer.problem()), (507, "disk-full"), "{answer:?}");
        return number;
    }
    panic!("the disk does not fill up");
}

/// Reads, streams and live events are as always.
fn assert_reads(run: &mut Run, server: &Server, life: usize, stream: &mut Stream) {
    run.readings.extend(read_history(server.address, life, &Who::default(), From::Earliest, true));
    let answer = Client::new(server.address).publish(r#"{"event":"live","data":1,"ephemeral":true}"#);
    assert_eq!(answer.expect("an answer").json()["durability"], "ephemeral");
    stream.next_of("live");
    drop(Stream::open(server.address, "userId=eve", None).expect("a stream"));
}

#[test]
fn a_full_disk_refuses_publishes_until_there_is_room() {
    let disk = Tmpfs::mount("3m");
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).expect("a file");
    let log = disk.path().join("log");
    let arguments = ["--data-dir", log.to_str().expect("text"), "--disk-size", "16MiB"];
    let mut run = Run::default();
    let server = Server::start(&arguments);
    let mut client = Client::new(server.address);
    let mut stream = Stream::open(server.address, "userId=ada", None).expect("a stream");
    assert!(fill(&mut run, 1, &mut client, "first") > 10);
    assert_reads(&mut run, &server, 2, &mut stream);
    // Still full, also for several at once, of which none is kept.
    for number in 0..5 {
        let several = (0..3).map(|n| large(&format!("no-{number}-{n}"), To::All, 25_000)).collect();
        assert_eq!(publish(&mut run, 2, &mut client, several).expect("an answer").status, 507);
    }
    // Those who send without waiting hear of it in the log.
    let mut lines = std::iter::from_fn(|| server.log.recv_timeout(Duration::from_secs(10)).ok());
    assert!(lines.any(|line| line.contains("event not kept") && line.contains("the disk is full")));
    // What is refused is refused whole: the ephemeral one is not delivered either.
    let halves = r#"[{"event":"half","data":1,"ephemeral":true},{"event":"half","data":"#.to_owned();
    let halves = format!(r#"{halves}"{}"}}]"#, "x".repeat(100_000));
    assert_eq!(client.publish(&halves).expect("an answer").status, 507);
    client.publish(r#"{"event":"live","data":2,"ephemeral":true}"#).expect("an answer");
    let next = stream.next_where(|frame| frame.event == "half" || frame.event == "live");
    assert_eq!(next.event, "live");
    std::fs::remove_file(&filler).expect("it is removed");
    publish_ok(&mut run, 3, &mut client, vec![large("room", To::All, 30_000)]);
    assert!(fill(&mut run, 3, &mut client, "second") > 10);
    assert_reads(&mut run, &server, 4, &mut stream);
    server.kill();
    // Also a start finds no room, and what is there is still served.
    let server = Server::start(&arguments);
    let mut stream = Stream::open(server.address, "userId=ada", None).expect("a stream");
    assert_reads(&mut run, &server, 5, &mut stream);
    let mut client = Client::new(server.address);
    assert_eq!(publish(&mut run, 5, &mut client, vec![large("no", To::All, 200_000)]).expect("an answer").status, 507);
    assert_reads(&mut run, &server, 6, &mut stream);
    drop(server);
    assert_sound(&run, "a full disk");
}

#[test]
fn a_disk_that_is_full_from_the_first_start_on_is_told() {
    let disk = Tmpfs::mount("1m");
    let filler = disk.path().join("filler");
    let log = disk.path().join("log");
    let path = log.to_str().expect("text");
    // From no room for anything to room for a part of what a new log needs.
    for kept_free in [0, 4 << 10, 8 << 10, 12 << 10, 16 << 10] {
        std::fs::write(&filler, vec![1; (1 << 20) - kept_free]).unwrap_or_default();
        match Server::try_spawn(fanfare(&["--listen", "127.0.0.1:0", "--data-dir", path])) {
            Ok(server) => {
                let answer = Client::new(server.address).publish(r#"{"event":"e","data":1}"#).expect("an answer");
                assert!(matches!(answer.status, 200 | 507), "{answer:?}");
            }
            Err(said) => assert!(said.contains(path) && said.contains("No space left"), "{said}"),
        }
        std::fs::remove_file(&filler).expect("it is removed");
    }
    let server = Server::start(&["--data-dir", path, "--disk-size", "1MiB"]);
    let mut run = Run::default();
    publish_ok(&mut run, 1, &mut Client::new(server.address), vec![event("room", To::All)]);
}

/// The next segment was made but not kept, and its file stayed while the one before it was written to: the next start
/// found two segments for one place, and refused.
#[test]
fn a_rotation_without_room_leaves_nothing_behind() {
    let dir = Dir::new("rotation-full");
    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", dir.text(), "--disk-size", "4MiB"];
    drop(Server::spawn(fanfare(&arguments)));
    // The third sync of the directory by each thread: the first thread needs two for the start, the writer one for each
    // segment that it begins. The file is there, and may not last.
    let server = Server::spawn(traced("fsync:error=ENOSPC:when=3", &arguments[2..]));
    let mut client = Client::new(server.address);
    let mut run = Run::default();
    for name in ["first", "in the second segment", "in the third"] {
        publish_ok(&mut run, 1, &mut client, vec![large(name, To::All, 40_000)]);
    }
    let refused = publish(&mut run, 1, &mut client, vec![large("refused", To::All, 40_000)]).expect("an answer");
    assert_eq!((refused.status, &*refused.problem()), (507, "disk-full"), "{refused:?}");
    publish_ok(&mut run, 1, &mut client, vec![event("second", To::All)]);
    server.kill();
    let server = Server::spawn(fanfare(&arguments));
    publish_ok(&mut run, 2, &mut Client::new(server.address), vec![large("third", To::All, 40_000)]);
    run.readings.extend(read_history(server.address, 3, &Who::default(), From::Earliest, true));
    assert_sound(&run, "a rotation without room");
}

/// The same, where the file could not be taken away either.
#[test]
fn an_empty_segment_for_a_place_that_is_taken_is_taken_away() {
    let dir = Dir::new("rotation-left");
    let mut run = Run::default();
    let server = Server::start(&["--data-dir", dir.text()]);
    let events = (0..4).map(|number| event(&format!("kept-{number}"), To::All)).collect();
    let ids = publish_ok(&mut run, 1, &mut Client::new(server.address), events);
    server.kill();
    let first = std::fs::read(dir.path().join("00000000000000000000.log")).expect("a segment");
    let mut head = first[..60].to_vec();
    head[24..32].copy_from_slice(&2u64.to_le_bytes());
    head.extend(crc32(&head).to_le_bytes());
    std::fs::write(dir.path().join("00000000000000000002.log"), head).expect("it is written");
    for life in 2..5 {
        let server = Server::start(&["--data-dir", dir.text()]);
        let mut listener = Listener::open(server.address, life, &Who::default(), From::After(ids[0].clone()));
        let later = event(&format!("later-{life}"), To::All);
        publish_ok(&mut run, life, &mut Client::new(server.address), vec![later.clone()]);
        listener.as_mut().expect("a stream").read_to(&later.payload);
        run.readings.push(listener.expect("a stream").reading);
        run.readings.extend(read_history(server.address, life, &Who::default(), From::Earliest, true));
        server.kill();
    }
    assert_sound(&run, "an empty segment");
}

/// A manifest that could not be written was followed by a try at the other one, the last that was whole.
#[test]
fn manifests_that_do_not_fit_leave_one_that_can_be_read() {
    let dir = Dir::new("manifest-full");
    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", dir.text(), "--disk-size", "1MiB"];
    // Segments fit, and manifests up to some two thousand keys of what was dropped.
    let server = Server::spawn(fanfare_under(&["prlimit", "--fsize=66000:unlimited"], &arguments));
    let mut client = Client::new(server.address);
    let mut run = Run { losses: Losses::Dropped, ..Run::default() };
    let mut ids = Vec::new();
    for round in 0..80 {
        let events = (0..300).map(|n| event(&format!("{round}-{n}"), To::User(format!("user-{round}-{n}")))).collect();
        ids.extend(publish_ok(&mut run, 1, &mut client, events));
    }
    let largest =
        ["manifest-0", "manifest-1"].map(|name| std::fs::metadata(dir.path().join(name)).expect("a file").len());
    assert!(largest.contains(&66_000), "none was too large: {largest:?}");
    server.kill();
    let server = Server::start(&arguments[2..]);
    for who in [user("user-0-3"), user("user-79-299"), Who::default()] {
        run.readings.extend(read_history(server.address, 2, &who, From::After(ids[0].clone()), true));
    }
    assert_sound(&run, "manifests");
    let verdict = |who: &Who| {
        let listener = Listener::open(server.address, 2, who, From::After(ids[0].clone())).expect("a stream");
        listener.reading.verdict
    };
    assert_eq!(verdict(&user("user-0-3")), Verdict::Gap);
}

#[test]
fn a_full_disk_is_met_by_retention_without_a_refusal() {
    let disk = Tmpfs::mount("4m");
    let log = disk.path().join("log");
    let arguments = ["--data-dir", log.to_str().expect("text"), "--disk-size", "2MiB"];
    let server = Server::start(&arguments);
    let mut client = Client::new(server.address);
    let mut run = Run { losses: Losses::Dropped, ..Run::default() };
    for number in 0..400 {
        publish_ok(&mut run, 1, &mut client, vec![large(&format!("e{number}"), To::All, 20_000)]);
    }
    run.readings.extend(read_history(server.address, 2, &Who::default(), From::Earliest, true));
    server.kill();
    let server = Server::start(&arguments);
    run.readings.extend(read_history(server.address, 3, &Who::default(), From::Earliest, true));
    assert_sound(&run, "retention");
}

/// A limit on the size of files is a full disk too. Its signal ended the process.
#[test]
fn a_limit_on_file_sizes_refuses_publishes_and_kills_nobody() {
    let dir = Dir::new("file-size");
    let limit = ["prlimit", "--fsize=1048576:unlimited"];
    let server = Server::spawn(fanfare_under(&limit, &["--listen", "127.0.0.1:0", "--data-dir", dir.text()]));
    let mut client = Client::new(server.address);
    let mut stream = Stream::open(server.address, "userId=ada", None).expect("a stream");
    let mut run = Run::default();
    publish_ok(&mut run, 1, &mut client, vec![event("small", To::All)]);
    assert!(fill(&mut run, 1, &mut client, "limit") > 10);
    assert_reads(&mut run, &server, 2, &mut stream);
    let raised = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &server.id().to_string()]).status();
    assert!(raised.expect("prlimit runs").success());
    publish_ok(&mut run, 3, &mut client, vec![large("room", To::All, 30_000)]);
    let mut listener = Listener::open(server.address, 4, &user("ada"), From::Earliest).expect("a stream");
    listener.read_to(&large("room", To::All, 30_000).payload);
    run.readings.push(listener.reading);
    server.kill();
    let server = Server::start(&["--data-dir", dir.text()]);
    run.readings.extend(read_history(server.address, 5, &user("ada"), From::Earliest, true));
    assert_sound(&run, "a limit on file sizes");
}
