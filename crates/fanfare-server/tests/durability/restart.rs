//! What a restart means to those who come back, with the disk and without.

use crate::checker::{From, Item, Run, To, Verdict, Who};
use crate::places::Dir;
use crate::record::{Listener, assert_sound, event, publish_ok, read_history, user};
use crate::support::Server;
use crate::wire::{Client, Stream};
use std::net::SocketAddr;

/// A directory whose server is started anew again and again.
struct Lives {
    dir: Dir,
    server: Option<Server>,
    life: usize,
    run: Run,
}

impl Lives {
    fn new(name: &str) -> Self {
        let mut lives = Self { dir: Dir::new(name), server: None, life: 0, run: Run::default() };
        lives.restart();
        lives
    }

    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    fn restart(&mut self) {
        self.stop();
        self.life += 1;
        // Small segments, so that there are several.
        self.server = Some(Server::start(&["--data-dir", self.dir.text(), "--disk-events", "640"]));
    }

    fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("a server").address
    }

    /// Publishes so many events to one target: the id of the last.
    fn publish(&mut self, name: &str, to: &To, count: usize) -> String {
        let mut client = Client::new(self.address());
        let events = (0..count).map(|number| event(&format!("{name}-{number}"), to.clone())).collect();
        publish_ok(&mut self.run, self.life, &mut client, events).pop().expect("an id")
    }

    /// A stream that is read up to an event published for it, and recorded.
    fn read(&mut self, who: &Who, from: From, to: &str) -> Verdict {
        let mut listener = Listener::open(self.address(), self.life, who, from).expect("a stream");
        listener.read_to(&event(to, To::All).payload);
        let verdict = listener.reading.verdict;
        self.run.readings.push(listener.reading);
        verdict
    }

    fn newest_segment(&self) -> String {
        self.dir.names().into_iter().rfind(|name| name.strip_suffix(".log").is_some()).expect("a segment")
    }
}

#[test]
fn a_restart_costs_nobody_a_reset() {
    let mut lives = Lives::new("resume");
    let mut ids = Vec::new();
    for round in 0..6 {
        let everybody = lives.publish(&format!("all-{round}"), &To::All, 7);
        ids.push(everybody);
        ids.push(lives.publish(&format!("ada-{round}"), &To::User("ada".into()), 3));
        // The present is a place to come back to as well, and so is one that nobody was told of but a stream.
        let cursor = Client::new(lives.address()).get("/api/sse/cursor").expect("an answer");
        ids.push(cursor.json()["id"].as_str().expect("an id").to_owned());
        let live = Stream::open(lives.address(), "userId=eve", None).expect("a stream");
        ids.push(live.first.id.expect("an id"));
        lives.restart();
        lives.publish(&format!("mark-{round}"), &To::All, 1);
        for id in ids.clone() {
            let verdict = lives.read(&user("ada"), From::After(id), &format!("mark-{round}-0"));
            assert_eq!(verdict, Verdict::Resumed);
        }
        lives.read(&user("bob"), From::Earliest, &format!("mark-{round}-0"));
    }
    lives.restart();
    for who in [user("ada"), user("bob"), Who::default()] {
        let readings = read_history(lives.address(), lives.life, &who, From::Earliest, true);
        lives.run.readings.extend(readings);
    }
    assert_sound(&lives.run, "restarts");
}

#[test]
fn with_memory_alone_a_restart_is_a_reset() {
    let server = Server::start(&[]);
    let answer = Client::new(server.address).publish(r#"{"event":"e","data":1}"#).expect("an answer");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.json()["durability"], "memory");
    assert_eq!(Stream::open(server.address, "", Some(&id)).expect("a stream").resume(), "resumed");
    server.kill();
    let server = Server::start(&[]);
    assert_eq!(Stream::open(server.address, "", Some(&id)).expect("a stream").resume(), "reset");
}

#[test]
fn a_lost_tail_is_a_reset_for_those_beyond_and_for_nobody_else() {
    let mut lives = Lives::new("lost-tail");
    // Ten events fill a segment.
    let ids: Vec<String> = (0..5).map(|round| lives.publish(&format!("e-{round}"), &To::All, 10)).collect();
    lives.dir.wait_for_indices();
    lives.stop();
    let newest = lives.newest_segment();
    std::fs::remove_file(lives.dir.path().join(newest)).expect("it is removed");
    lives.restart();
    lives.publish("mark", &To::All, 12);
    let open = |id: &str| Stream::open(lives.address(), "", Some(id)).expect("a stream");
    assert_eq!(open(&ids[4]).resume(), "reset", "it saw what is gone");
    // They saw less: either all of it follows, or they are told.
    let mut earlier = open(&ids[1]);
    assert_eq!(earlier.resume(), "resumed");
    let told = earlier.next_where(|frame| frame.event == "$gap" || frame.data.contains("mark-0"));
    assert_eq!(told.event, "$gap", "what is lost is told");
    earlier.next_where(|frame| frame.data.contains("mark-11"));
    // Nor does an old id mean something new, and the index of what is now written to again hides nothing.
    lives.restart();
    let pages = read_history(lives.address(), lives.life, &Who::default(), From::Earliest, true);
    let read: Vec<&Item> = pages.iter().flat_map(|page| &page.items).collect();
    assert!(!read.iter().any(|item| matches!(item, Item::Event { id, .. } if *id == ids[4])), "{read:?}");
    for number in 0..12 {
        let mark = event(&format!("mark-{number}"), To::All).payload;
        assert!(read.iter().any(|item| matches!(item, Item::Event { payload, .. } if *payload == mark)), "{read:?}");
    }
}

#[test]
fn a_restored_backup_is_a_reset_for_those_beyond_it() {
    let mut lives = Lives::new("backup");
    let before = lives.publish("before", &To::All, 15);
    lives.stop();
    let backup = Dir::copy("backup-copy", lives.dir.path());
    lives.restart();
    let after = lives.publish("after", &To::All, 15);
    lives.stop();
    let restored = Server::start(&["--data-dir", backup.text(), "--disk-events", "640"]);
    let mut client = Client::new(restored.address);
    let open = |id: &str| Stream::open(restored.address, "", Some(id)).expect("a stream");
    assert_eq!(open(&before).resume(), "resumed");
    assert_eq!(open(&after).resume(), "reset");
    // The same positions are written again, under other ids.
    let mut run = Run::default();
    let ids: Vec<String> =
        (0..20).flat_map(|n| publish_ok(&mut run, 1, &mut client, vec![event(&n.to_string(), To::All)])).collect();
    assert!(!ids.contains(&after), "one id, two payloads: {after}");
    assert_eq!(open(&after).resume(), "reset", "also when the log has come as far again");
}

#[test]
fn last_and_earliest_reach_back_before_a_restart() {
    let mut lives = Lives::new("last");
    lives.publish("a", &To::All, 20);
    lives.publish("ada", &To::User("ada".into()), 5);
    lives.publish("b", &To::All, 3);
    lives.restart();
    lives.publish("c", &To::All, 2);
    let names = |query: &str, last: &str| -> Vec<String> {
        let mut stream = Stream::open(lives.address(), query, Some(last)).expect("a stream");
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "c-1") {
            let frame = stream.next_of("tick");
            let json: serde_json::Value = serde_json::from_str(&frame.data).expect("JSON");
            names.push(json["name"].as_str().expect("a name").to_owned());
        }
        names
    };
    assert_eq!(names("userId=ada", "last:7"), ["ada-3", "ada-4", "b-0", "b-1", "b-2", "c-0", "c-1"]);
    assert_eq!(names("userId=bob", "last:6"), ["a-19", "b-0", "b-1", "b-2", "c-0", "c-1"], "what bob may see");
    assert_eq!(names("userId=bob", "last:2"), ["c-0", "c-1"]);
    assert_eq!(names("userId=ada", "last:10000").len(), 30, "more than there are");
    assert_eq!(names("userId=ada", "earliest").len(), 30);
    assert_eq!(names("", "earliest").len(), 25);
    let page = |lives: &Lives, query: &str| {
        let page = Client::new(lives.address()).get(&format!("/api/sse/events?{query}")).expect("a page").json();
        page["events"].as_array().expect("events").len()
    };
    assert_eq!(page(&lives, "userId=ada&lastEventId=last:7"), 7);
    assert_eq!(page(&lives, "userId=ada&lastEventId=earliest"), 30);
    assert_eq!(page(&lives, "userId=ada&lastEventId=latest"), 0);
}

#[test]
fn a_replay_after_a_restart_is_for_its_reader_alone() {
    let mut lives = Lives::new("strangers");
    for round in 0..3 {
        lives.publish(&format!("all-{round}"), &To::All, 2);
        lives.publish(&format!("ada-{round}"), &To::User("ada".into()), 2);
        lives.publish(&format!("bob-{round}"), &To::User("bob".into()), 2);
        lives.publish(&format!("both-{round}"), &To::Users(vec!["ada".into(), "bob".into()]), 2);
        lives.publish(&format!("red-{round}"), &To::Topic("red".into()), 2);
        lives.publish(&format!("blue-{round}"), &To::Topic("blue".into()), 2);
    }
    let cursor = lives.publish("cursor", &To::User("ada".into()), 1);
    lives.publish("secret", &To::User("ada".into()), 3);
    lives.restart();
    lives.publish("mark", &To::All, 1);
    let red = Who { topics: vec!["red".into()], ..user("ada") };
    for who in [user("ada"), user("bob"), user("eve"), Who::default(), red] {
        lives.read(&who, From::Earliest, "mark-0");
        // Ada's cursor grants nothing.
        assert_eq!(lives.read(&who, From::After(cursor.clone()), "mark-0"), Verdict::Resumed);
    }
    assert_sound(&lives.run, "strangers");
}

#[test]
fn events_to_a_connection_die_with_it() {
    let mut lives = Lives::new("clients");
    let mut stream = Stream::open(lives.address(), "userId=ada", None).expect("a stream");
    let client = stream.connected["clientId"].as_str().expect("a name").to_owned();
    let to = To::Client(client.clone());
    lives.publish("mine", &to, 3);
    stream.next_where(|frame| frame.data.contains("mine-2"));
    let cursor = stream.first.id.clone().expect("an id");
    lives.restart();
    // The first connection of the new life, in the same place as the old one.
    let mut again = Listener::open(lives.address(), lives.life, &user("ada"), From::After(cursor)).expect("a stream");
    let fresh = Stream::open(lives.address(), "userId=ada", None).expect("a stream");
    assert_ne!(fresh.connected["clientId"].as_str(), Some(&*client), "a name is not given twice");
    // Sent to the old name, it is for nobody.
    let answer = Client::new(lives.address()).publish(&crate::record::body(&event("late", to), None));
    let answer = answer.expect("an answer");
    assert!(answer.status == 404 || answer.json()["clients"] == 0, "{answer:?}");
    lives.publish("mark", &To::All, 1);
    again.read_to(&event("mark-0", To::All).payload);
    lives.run.readings.push(again.reading);
    lives.read(&user("ada"), From::Earliest, "mark-0");
    assert_sound(&lives.run, "events to a connection");
}

#[test]
fn a_key_means_the_same_publish_after_a_restart() {
    let mut lives = Lives::new("keys");
    let headers = "content-type: application/json\r\nidempotency-key: order-7\r\n";
    let body = r#"[{"event":"e","data":1},{"event":"e","data":2,"to":{"userId":"ada"}},{"event":"e","data":3,"ephemeral":true}]"#;
    let post = |lives: &Lives, body: &str| {
        Client::new(lives.address()).request("POST", "/api/sse/publish", headers, body).expect("an answer")
    };
    let first = post(&lives, body);
    assert_eq!(first.status, 200, "{first:?}");
    let levels: Vec<_> = first.json().as_array().unwrap().iter().map(|one| one["durability"].clone()).collect();
    assert_eq!(levels, ["disk", "disk", "ephemeral"]);
    for _ in 0..3 {
        assert_eq!(post(&lives, body).json(), first.json(), "the first answer");
        let other = post(&lives, r#"{"event":"e","data":4}"#);
        assert_eq!((other.status, &*other.problem()), (422, "idempotency-key-reused"));
        lives.restart();
    }
    let page = Client::new(lives.address()).get("/api/sse/events?userId=ada").expect("a page").json();
    assert_eq!(page["events"].as_array().expect("events").len(), 2, "{page}");
}
