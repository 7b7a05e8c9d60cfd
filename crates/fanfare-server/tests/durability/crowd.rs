//! Many who come back at once, and what is large: all of it is read from disk.

use crate::checker::{From, Losses, Run, To, Verdict, Who};
use crate::places::Dir;
use crate::record::{Listener, assert_sound, event, large, publish_ok, read_history, user};
use crate::support::{PATIENCE, Server};
use crate::wire::Client;
use std::time::{Duration, Instant};

/// Streams that come back.
const CROWD: usize = 200;

#[test]
fn a_crowd_that_comes_back_gets_everything_while_more_comes() {
    let dir = Dir::new("crowd");
    let arguments = ["--data-dir", dir.text(), "--shards", "2", "--history-size", "64KiB"];
    let mut run = Run::default();
    let server = Server::start(&arguments);
    let mut client = Client::new(server.address);
    let mut ids = Vec::new();
    for round in 0..60 {
        let names = ["ada", "bob", "eve"];
        let to = |n: usize| if n % 4 == 3 { To::All } else { To::User(names[n % 4].into()) };
        let batch = (0..40).map(|n| large(&format!("{round}-{n}"), to(n), 100 + 13 * n)).collect();
        ids.extend(publish_ok(&mut run, 1, &mut client, batch));
    }
    server.kill();
    let server = Server::start(&arguments);
    let address = server.address;
    let last = event("the last one", To::All);
    let readings: Vec<_> = std::thread::scope(|scope| {
        let read = |number: usize| {
            let who = user(["ada", "bob", "eve", "dan"][number % 4]);
            let from = match number % 3 {
                0 => From::Earliest,
                _ => From::After(ids[number * 997 % ids.len()].clone()),
            };
            let last = &last.payload;
            scope.spawn(move || {
                let mut listener = Listener::open(address, 2, &who, from).expect("a stream");
                assert_eq!(listener.reading.verdict, Verdict::Resumed);
                listener.read_to(last);
                listener.reading
            })
        };
        let threads: Vec<_> = (0..CROWD).map(read).collect();
        let mut client = Client::new(address);
        for number in 0..100 {
            publish_ok(&mut run, 2, &mut client, vec![event(&format!("live-{number}"), To::All)]);
        }
        publish_ok(&mut run, 2, &mut client, vec![last.clone()]);
        threads.into_iter().map(|thread| thread.join().expect("a reading")).collect()
    });
    run.readings.extend(readings);
    assert_sound(&run, "a crowd");
}

#[test]
fn the_largest_events_survive_in_the_smallest_segments() {
    let dir = Dir::new("largest");
    let arguments = ["--data-dir", dir.text(), "--disk-size", "4MiB", "--history-size", "64KiB"];
    let server = Server::start(&arguments);
    let mut client = Client::new(server.address);
    let mut run = Run::default();
    // Each is larger than a segment of 64 KiB; so is one for ten thousand users by its keys alone.
    let users: Vec<String> = (0..10_000).map(|number| format!("user-{number}")).chain(["ada".into()]).skip(1).collect();
    publish_ok(&mut run, 1, &mut client, vec![event("first", To::All)]);
    publish_ok(&mut run, 1, &mut client, vec![large("data", To::All, 260_000)]);
    publish_ok(&mut run, 1, &mut client, vec![event("users", To::Users(users))]);
    publish_ok(&mut run, 1, &mut client, (0..3).map(|n| large(&format!("batch-{n}"), To::All, 250_000)).collect());
    publish_ok(&mut run, 1, &mut client, (0..1_000).map(|n| event(&format!("small-{n}"), To::All)).collect());
    let mut server = server;
    for life in 2..5 {
        for who in [user("ada"), user("user-1"), user("user-0"), Who::default()] {
            run.readings.extend(read_history(server.address, life, &who, From::Earliest, true));
            let mut listener = Listener::open(server.address, life, &who, From::Earliest).expect("a stream");
            listener.read_to(&event("small-999", To::All).payload);
            run.readings.push(listener.reading);
        }
        server.kill();
        server = Server::start(&arguments);
    }
    assert_sound(&run, "the largest");
}

#[test]
fn a_history_that_is_all_too_old_is_a_gap_also_after_a_restart() {
    let dir = Dir::new("old");
    let arguments = ["--data-dir", dir.text(), "--disk-age", "1s", "--history-age", "1s"];
    let server = Server::start(&arguments);
    let mut run = Run { losses: Losses::Dropped, ..Run::default() };
    let mut client = Client::new(server.address);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.extend(publish_ok(&mut run, 1, &mut client, vec![event(&number.to_string(), To::All)]));
    }
    let hers = publish_ok(&mut run, 1, &mut client, vec![event("hers", To::User("ada".into()))]);
    let events = |client: &mut Client| {
        let page = client.get("/api/sse/events?userId=ada&lastEventId=earliest").expect("a page").json();
        page["events"].as_array().expect("events").len()
    };
    let begun = Instant::now();
    while events(&mut client) > 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is dropped");
        std::thread::sleep(Duration::from_millis(20));
    }
    let verdict = |server: &Server, who: &Who, id: &str| {
        let listener = Listener::open(server.address, 1, who, From::After(id.to_owned())).expect("a stream");
        listener.reading.verdict
    };
    let mut server = server;
    for _ in 0..2 {
        assert_eq!(verdict(&server, &user("ada"), &ids[2]), Verdict::Gap);
        assert_eq!(verdict(&server, &user("ada"), &ids[4]), Verdict::Gap, "one for her alone is gone");
        assert_eq!(verdict(&server, &user("bob"), &ids[4]), Verdict::Resumed, "nothing for him is");
        assert_eq!(verdict(&server, &user("ada"), &hers[0]), Verdict::Resumed);
        server.kill();
        server = Server::start(&arguments);
    }
    publish_ok(&mut run, 3, &mut Client::new(server.address), vec![event("new", To::All)]);
    run.readings.extend(read_history(server.address, 4, &user("ada"), From::After(ids[0].clone()), true));
    assert_sound(&run, "old");
}
