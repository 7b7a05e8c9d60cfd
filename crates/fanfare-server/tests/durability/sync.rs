//! Syncs that fail, and syncs that take long, through `strace`, which answers in the kernel's place.

use crate::checker::{From, Outcome, Run, To};
use crate::places::{Dir, written};
use crate::record::{Listener, assert_sound, event, outcome, publish, publish_ok, read_history, user};
use crate::support::{Server, fanfare_under, wait};
use crate::wire::{Client, Stream};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// More syncs than a start on a new directory makes in its thread: from here on it is the writer whose turn it is.
/// `strace` counts for each thread.
const STARTED: usize = 8;

/// The binary under `strace`, which does to its system calls what `inject` says.
pub(crate) fn traced(inject: &str, arguments: &[&str]) -> Command {
    traced_files(inject, &[], arguments)
}

/// The same, for calls on these files alone, if there are any.
pub(crate) fn traced_files(inject: &str, files: &[String], arguments: &[&str]) -> Command {
    let known = Command::new("strace").arg("-V").output();
    assert!(known.is_ok(), "strace is missing; scripts/test installs it, or: apt-get install strace");
    // -D: the server is our child, and strace its companion, so that signals and exit codes are the server's.
    let call = inject.split(':').next().unwrap_or_default();
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    let mut strace = vec!["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    for file in files {
        strace.extend(["-P", file]);
    }
    let mut server = vec!["--listen", "127.0.0.1:0"];
    server.extend(arguments);
    fanfare_under(&strace, &server)
}

fn problem(run: &mut Run, client: &mut Client, name: &str) -> (u16, String) {
    let answer = publish(run, 1, client, vec![event(name, To::All)]).expect("an answer");
    (answer.status, answer.problem())
}

/// An ephemeral event still reaches a stream.
fn assert_live(address: SocketAddr, stream: &mut Stream, name: &str) {
    let text = format!(r#"{{"event":"live","data":"{name}","ephemeral":true}}"#);
    let answer = Client::new(address).publish(&text).expect("an answer");
    assert_eq!((answer.status, &answer.json()["durability"]), (200, &"ephemeral".into()), "{answer:?}");
    let data = format!("{name:?}");
    stream.next_where(|frame| frame.event == "live" && frame.data == data);
}

#[test]
fn a_sync_that_fails_ends_writing_and_nothing_else() {
    for failing in [STARTED, STARTED + 1, STARTED + 9] {
        let dir = Dir::new("sync-error");
        let inject = format!("fdatasync:error=EIO:when={failing}");
        let server = Server::spawn(traced(&inject, &["--data-dir", dir.text()]));
        let mut stream = Stream::open(server.address, "userId=ada", None).unwrap();
        let mut client = Client::new(server.address);
        let mut run = Run::default();
        let mut kept = 0;
        let refused = loop {
            let answer = publish(&mut run, 1, &mut client, vec![event(&format!("e{kept}"), To::All)]).unwrap();
            if answer.status != 200 {
                break answer;
            }
            kept += 1;
            assert!(kept < 100, "no sync failed");
        };
        // The sync does not fail again, and must not be believed.
        assert_eq!((refused.status, &*refused.problem()), (503, "log-read-only"), "{refused:?}");
        assert_eq!(problem(&mut run, &mut client, "later"), (503, "log-read-only".to_owned()));
        assert_eq!(problem(&mut run, &mut client, "later still"), (503, "log-read-only".to_owned()));
        assert_live(server.address, &mut stream, "after the failure");
        let readings = read_history(server.address, 2, &user("ada"), From::Earliest, true);
        run.readings.extend(readings);
        let mut replay = Listener::open(server.address, 2, &user("ada"), From::Earliest).unwrap();
        if kept > 0 {
            replay.read_to(&event(&format!("e{}", kept - 1), To::All).payload);
        }
        run.readings.push(replay.reading);
        let said = wait_for_log(&server, "the disk failed");
        assert!(said.contains("\"error\""), "it says why: {said}");
        server.kill();
        let server = Server::start(&["--data-dir", dir.text()]);
        publish_ok(&mut run, 3, &mut Client::new(server.address), vec![event("works again", To::All)]);
        run.readings.extend(read_history(server.address, 4, &user("ada"), From::Earliest, true));
        assert_sound(&run, &inject);
    }
}

fn wait_for_log(server: &Server, wanted: &str) -> String {
    loop {
        let line = server.log.recv_timeout(crate::support::PATIENCE).expect("a log line");
        if line.contains(wanted) {
            return line;
        }
    }
}

#[test]
fn a_sync_that_fails_while_it_starts_is_told_and_harms_nothing() {
    let dir = Dir::new("sync-start");
    let mut run = Run::default();
    let server = Server::start(&["--data-dir", dir.text()]);
    publish_ok(&mut run, 1, &mut Client::new(server.address), vec![event("first", To::All)]);
    server.kill();
    let mut refusals = 0;
    for failing in 1..10 {
        let mut child = traced(&format!("fdatasync:error=EIO:when={failing}"), &["--data-dir", dir.text()]);
        let mut child = child.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("\"address\"") && stderr.read_line(&mut said).unwrap() > 0 {}
        if said.contains("\"address\"") {
            // It does not sync so often.
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        }
        assert_eq!(wait(&mut child).code(), Some(1), "{said}");
        assert!(said.contains(dir.text()) && said.contains("Input/output error"), "{said}");
        refusals += 1;
    }
    assert!(refusals > 0, "no start was refused");
    let server = Server::start(&["--data-dir", dir.text()]);
    publish_ok(&mut run, 2, &mut Client::new(server.address), vec![event("second", To::All)]);
    run.readings.extend(read_history(server.address, 3, &user("ada"), From::Earliest, true));
    assert_sound(&run, "after refused starts");
}

#[test]
fn a_slow_sync_holds_up_publishes_and_nothing_live() {
    const SLOW: Duration = Duration::from_secs(1);
    let dir = Dir::new("sync-slow");
    let inject = format!("fdatasync:delay_enter={}:when={STARTED}+", SLOW.as_micros());
    let arguments = ["--data-dir", dir.text(), "--ping-interval", "100ms", "--client-timeout", "30s"];
    let server = Server::spawn(traced(&inject, &arguments));
    let address = server.address;
    let mut stream = Stream::open(address, "userId=ada", None).unwrap();
    let mut client = Client::new(address);
    let mut run = Run::default();
    // The first ones find a disk that is quick.
    let mut count = 0;
    loop {
        let begun = Instant::now();
        publish_ok(&mut run, 1, &mut client, vec![event(&format!("quick {count}"), To::All)]);
        if begun.elapsed() >= SLOW {
            break;
        }
        count += 1;
        assert!(count < 100, "no sync was slow");
    }
    for round in 0..3 {
        let (sender, answered) = std::sync::mpsc::channel();
        let publisher = std::thread::spawn(move || {
            let begun = Instant::now();
            let answer = Client::new(address).publish(r#"{"event":"slow","data":1}"#);
            sender.send(()).unwrap();
            (begun.elapsed(), answer)
        });
        let (mut live, mut pings) = (0, 0);
        while answered.try_recv().is_err() {
            assert_live(address, &mut stream, &format!("{round} {live}"));
            live += 1;
            stream.next_of("ping");
            pings += 1;
        }
        let (took, answer) = publisher.join().unwrap();
        assert_eq!(
            outcome(&answer).clone(),
            Outcome::Acked(vec![answer.unwrap().json()["id"].as_str().map(str::to_owned)])
        );
        assert!(took >= SLOW / 2, "{took:?}: answered before it was synced");
        assert!(live >= 3 && pings >= 3, "{live} live events and {pings} pings in {took:?}");
    }
    // Those that wait are synced together.
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let answer = Client::new(address).publish(r#"{"event":"slow","data":1}"#).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
    });
    assert!(begun.elapsed() < SLOW * 6, "{:?} for twenty at once", begun.elapsed());
}

/// A start that found a new segment with nothing in it looked no further for answers, and every key was forgotten.
#[test]
fn keys_are_known_after_an_end_right_behind_a_rotation() {
    let dir = Dir::new("rotation");
    // Ten events fill a segment. The writer's writes are those ten, the head of the next segment, and the one that fails.
    let arguments = ["--data-dir", dir.text(), "--disk-events", "640"];
    let server = Server::spawn(traced("pwrite64:error=EIO:when=12", &arguments));
    let mut run = Run::default();
    let mut client = Client::new(server.address);
    let headers = "content-type: application/json\r\nidempotency-key: once\r\n";
    let keyed = |client: &mut Client| {
        let answer = client.request("POST", "/api/sse/publish", headers, r#"{"event":"e","data":1}"#).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let first = keyed(&mut client);
    for number in 0..9 {
        publish_ok(&mut run, 1, &mut client, vec![event(&number.to_string(), To::All)]);
    }
    assert_eq!(problem(&mut run, &mut client, "not written"), (503, "log-read-only".to_owned()));
    server.kill();
    let newest = dir.names().into_iter().rfind(|name| name.strip_suffix(".log").is_some()).unwrap();
    assert_eq!(std::fs::metadata(dir.path().join(newest)).unwrap().len(), 64, "a segment with nothing but its head");
    let server = Server::start(&arguments);
    assert_eq!(keyed(&mut Client::new(server.address)), first);
}

#[test]
fn a_stop_waits_for_the_sync_of_what_it_answers() {
    let dir = Dir::new("sync-stop");
    let inject = format!("fdatasync:delay_enter=700000:when={STARTED}+");
    let mut server = Server::spawn(traced(&inject, &["--data-dir", dir.text(), "--drain", "100ms"]));
    let address = server.address;
    let mut run = Run::default();
    for number in 0..=STARTED {
        publish_ok(&mut run, 1, &mut Client::new(address), vec![event(&format!("before-{number}"), To::All)]);
    }
    let segment = dir.path().join("00000000000000000000.log");
    let before = written(&segment);
    let under_way: Vec<Run> = std::thread::scope(|scope| {
        let publish = |number: usize| {
            let mut run = Run::default();
            _ = publish(&mut run, 1, &mut Client::new(address), vec![event(&format!("under way-{number}"), To::All)]);
            run
        };
        let publishers: Vec<_> = (0..4).map(|number| scope.spawn(move || publish(number))).collect();
        // One is written, and waits for its sync; others may wait behind it.
        while written(&segment) == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    run.publishes.extend(under_way.into_iter().flat_map(|run| run.publishes));
    for (number, publish) in run.publishes.iter_mut().enumerate() {
        publish.publisher = number.to_string();
    }
    let answered = run.publishes.iter().filter(|publish| matches!(publish.attempts[0].outcome, Outcome::Acked(_)));
    assert!(answered.count() > STARTED + 1, "nobody who waited was answered");
    let server = Server::start(&["--data-dir", dir.text()]);
    run.readings.extend(read_history(server.address, 2, &user("ada"), From::Earliest, true));
    assert_sound(&run, "a stop");
}
