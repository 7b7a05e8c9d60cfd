//! `fanfare subscribe`.

use crate::assert_said;
use crate::said::{on_terminal, piped, run, to};
use crate::support::Server;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Command;

fn publish(server: &Server, arguments: &[&str]) -> Value {
    let mut all = vec!["publish"];
    all.extend(arguments);
    let said = piped(server, &all, "");
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn events_are_lines_of_json_in_a_pipe_and_for_people_on_a_terminal() {
    let server = Server::start(&[]);
    publish(&server, &["notification", r#"{ "title": "Hi", "n": 1.50 }"#, "--user", "ann", "--id", "own"]);
    publish(&server, &["news", "\"sport\"", "--topic", "sport"]);
    publish(&server, &["secret", "1", "--user", "bob"]);
    let arguments = ["subscribe", "--user", "ann", "--topic", "sport", "--from", "earliest", "--count", "2"];
    assert_said!("subscribe", piped(&server, &arguments, ""));
    assert_said!("subscribe_terminal", on_terminal(&server, &arguments, &[]));
    assert_said!("subscribe_no_color", on_terminal(&server, &arguments, &[("NO_COLOR", "1")]));
    let said =
        piped(&server, &["subscribe", "--topic", "sport", "--from", "last:1", "--event", "news", "--count", "1"], "");
    assert_eq!(said.out.lines().count(), 1, "{said:?}");
    assert!(said.err.starts_with("Connected, resumed"), "{said:?}");
}

#[test]
fn nothing_that_comes_drives_the_terminal() {
    let server = Server::start(&[]);
    publish(&server, &["n", "\"\u{9b}31m\u{202e}\u{7f}\""]);
    let said = on_terminal(&server, &["subscribe", "--from", "earliest", "--count", "1"], &[("NO_COLOR", "1")]);
    assert_said!("subscribe_hostile", said);
    let said = piped(&server, &["subscribe", "--from", "earliest", "--count", "1"], "");
    let event = said.out.lines().last().unwrap();
    assert_eq!(serde_json::from_str::<Value>(event).unwrap()["data"], "\u{9b}31m\u{202e}\u{7f}", "nothing is lost");
    assert!(event.contains("\\u009b31m") && event.contains("\\u007f"), "nor obeyed: {event:?}");
}

#[test]
fn it_begins_where_it_is_told_and_says_the_verdict() {
    let server = Server::start(&[]);
    let first = publish(&server, &["n", "1"]);
    publish(&server, &["n", "2"]);
    let verdict = |place: &[&str]| {
        let mut arguments = vec!["subscribe", "--count", "1"];
        arguments.extend(place);
        let said = piped(&server, &arguments, "");
        let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines[0]["data"]["resume"].clone(), lines[1]["data"].clone())
    };
    assert_eq!(verdict(&["--last-event-id", first["id"].as_str().unwrap()]), (json!("resumed"), json!(2)));
    assert_eq!(verdict(&["--from", "last:1"]), (json!("resumed"), json!(2)));
    // Nothing comes behind a reset: the server's end is that of the stream.
    let mut child = to(&server, &["subscribe", "--last-event-id", "old", "--no-reconnect"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let connected: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(connected["data"]["resume"], "reset");
    server.signal("TERM");
    let closing: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(closing["data"], json!({ "reason": "shutdown", "reconnect": true }));
    assert_eq!(child.wait().unwrap().code(), Some(0), "it was planned, and not to come back was asked for");
}

#[test]
fn a_restart_of_the_server_costs_nothing() {
    let directory = std::env::temp_dir().join(format!("fanfare-cli-{}", std::process::id()));
    let path = directory.to_str().unwrap();
    let server = Server::start(&["--data-dir", path, "--drain", "100ms"]);
    let address = server.address.to_string();
    let mut child = to(&server, &["subscribe", "--count", "3"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["event"], "connected");
    publish(&server, &["n", "1"]);
    assert_eq!(next()["data"], 1);
    server.kill();
    let server =
        Server::spawn(crate::support::fanfare(&["--listen", &address, "--data-dir", path, "--drain", "100ms"]));
    publish(&server, &["n", "2"]);
    let back = next();
    assert_eq!((&back["event"], &back["data"]["resume"]), (&json!("connected"), &json!("resumed")));
    assert_eq!(next()["data"], 2);
    publish(&server, &["n", "3"]);
    assert_eq!(next()["data"], 3);
    assert!(child.wait().unwrap().success());
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_end_for_good_says_why() {
    let server = Server::start(&[]);
    let mut child = to(&server, &["subscribe", "--user", "ann"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    assert_eq!(piped(&server, &["disconnect", "--user", "ann"], "").out, "{\"disconnected\":1}\n");
    let closing: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(closing, json!({ "event": "$closing", "data": { "reason": "disconnected", "reconnect": false } }));
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let told = String::from_utf8(said.stderr).unwrap();
    let expected = format!("fanfare: http://{}/api/sse: the server closed the stream: disconnected\n", server.address);
    assert_eq!(told, expected);
}

#[test]
fn an_end_before_the_last_event_that_was_asked_for_is_a_failure() {
    let server = Server::start(&[]);
    publish(&server, &["n", "1"]);
    let mut command = to(&server, &["subscribe", "--from", "earliest", "--count", "2", "--no-reconnect"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.by_ref().take(2).for_each(|line| _ = line.unwrap());
    server.signal("TERM");
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8(said.stderr).unwrap().contains("ended after 1 of 2 events"));
}

#[test]
fn a_reader_that_has_enough_ends_it_without_a_word() {
    let server = Server::start(&[]);
    for number in 0..200 {
        publish(&server, &["n", &number.to_string()]);
    }
    let line = format!("'{}' subscribe --from earliest --no-reconnect | head -n 1", env!("CARGO_BIN_EXE_fanfare"));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{line}; echo done")]);
    command.env("FANFARE_URL", format!("http://{}", server.address));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    // More events come until it notices.
    let publisher = std::thread::spawn(move || {
        for _ in 0..20 {
            publish(&server, &["more", "1"]);
        }
    });
    let said = run(command, "");
    assert_eq!((said.out.lines().count(), said.err.as_str()), (2, ""), "{said:?}");
    publisher.join().unwrap();
}
