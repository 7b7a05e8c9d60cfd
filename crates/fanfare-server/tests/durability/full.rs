//! A disk without room: publishes are refused, nothing else is, and room that is made is used without a restart.

use crate::checker::{From, Run, To, Who};
use crate::places::{Dir, Tmpfs};
use crate::record::{Listener, assert_sound, event, large, publish, publish_ok, read_history, user};
use crate::support::{Server, fanfare_under};
use crate::wire::{Client, Stream};
use std::process::Command;

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
fn a_full_disk_is_met_by_retention_without_a_refusal() {
    let disk = Tmpfs::mount("4m");
    let log = disk.path().join("log");
    let arguments = ["--data-dir", log.to_str().expect("text"), "--disk-size", "2MiB"];
    let server = Server::start(&arguments);
    let mut client = Client::new(server.address);
    let mut run = Run { losses: crate::checker::Losses::Dropped, ..Run::default() };
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
