//! `fanfare log` over histories that the binary itself wrote: whole, damaged, and in use.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each target needs a part of it")]
#[path = "support/directory.rs"]
mod directory;
mod support;

use directory::{Directory, crc32, flip, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Server, fanfare, wait};

fn publish(server: &Server, body: &Value) -> Value {
    let (head, answer) = server.request("POST", "/api/sse/publish", &[], &body.to_string());
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
    serde_json::from_str(&answer).unwrap()
}

fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// A history of this many events, four to a segment, whose server has stopped.
fn history(events: usize) -> Directory {
    let directory = Directory::new();
    let server = directory.serve(&["--disk-events", "256"]);
    for n in 1..=events {
        publish(&server, &json!({ "event": "count", "data": { "n": n } }));
    }
    directory.wait_for_indices();
    stop(server);
    directory
}

fn positions(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["position"].as_u64().unwrap()).collect()
}

#[test]
fn a_dump_tells_every_event_as_it_was_published() {
    let directory = Directory::new();
    let server = directory.serve(&[]);
    let exact = r#"{ "event": "a", "data": { "z": 1, "a": [1.50, "ü\n"] }, "id": "order-7", "retry": 1500 }"#;
    let (_, answer) = server.request("POST", "/api/sse/publish", &[], exact);
    let mut ids = vec![serde_json::from_str::<Value>(&answer).unwrap()["id"].clone()];
    for event in [
        json!({ "event": "b", "data": "text", "to": { "userId": "ada" } }),
        json!({ "event": "c", "data": null, "to": { "userIds": ["ada", "bob"] } }),
        json!({ "event": "d", "data": 4, "to": { "filter": { "userId": "ada", "sessionId": "s1" } } }),
        json!({ "event": "e", "data": 5, "to": { "topic": "news" } }),
        json!({ "event": "f", "data": 6, "to": { "sessionId": "s2" } }),
    ] {
        ids.push(publish(&server, &event)["id"].clone());
    }
    publish(&server, &json!({ "event": "gone", "data": 7, "ephemeral": true }));
    let lines = directory.dump(&[]);
    assert_eq!(lines.iter().map(|line| line["id"].clone()).collect::<Vec<_>>(), ids);
    assert_eq!(positions(&lines), [1, 2, 3, 4, 5, 6]);
    let first = directory.log("dump", &["--limit", "1"]).out;
    let wanted = r#""event":"a","data":{"z":1,"a":[1.50,"ü\n"]},"ownId":"order-7","retry":1500,"to":{"kind":"all"}}"#;
    assert!(first.trim_end().ends_with(wanted), "{first}");
    let kinds: Vec<&str> = lines.iter().map(|line| line["to"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["all", "one", "any", "every", "one", "one"]);
    assert!(lines[3]["to"]["keys"].as_array().unwrap().contains(&lines[1]["to"]["keys"][0]), "one name, one hash");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(lines.iter().all(|line| now - u128::from(line["time"].as_u64().unwrap()) < 600_000));

    for (arguments, wanted) in [
        (vec!["--user", "ada"], vec![2, 3, 4]),
        (vec!["--user", "bob"], vec![3]),
        (vec!["--topic", "news"], vec![5]),
        (vec!["--session", "s1"], vec![4]),
        (vec!["--session", "s2", "--topic", "news"], vec![5, 6]),
        (vec!["--user", "news"], vec![]),
        (vec!["--after", ids[3].as_str().unwrap()], vec![5, 6]),
        (vec!["--after", ids[0].as_str().unwrap(), "--limit", "2"], vec![2, 3]),
        (vec!["--limit", "0"], vec![]),
    ] {
        assert_eq!(positions(&directory.dump(&arguments)), wanted, "{arguments:?}");
    }
    for bytes in directory.contents().values() {
        assert!(!bytes.windows(3).any(|window| window == b"bob"), "names are not kept");
    }
}

#[test]
fn inspect_tells_segments_starts_and_what_was_dropped() {
    let directory = history(20);
    stop(directory.serve(&["--disk-events", "8"]));
    let text = directory.log("inspect", &[]);
    assert_eq!((text.code, text.errors.as_str()), (0, ""));
    assert!(text.out.contains("dropped up to position 12") && text.out.contains("2 starts"), "{}", text.out);
    let shown: Value = serde_json::from_str(&directory.log("inspect", &["--json"]).out).unwrap();
    assert_eq!((&shown["events"], &shown["droppedTo"], &shown["lastPosition"]), (&8.into(), &12.into(), &20.into()));
    assert_eq!(shown["segments"][0]["after"], 12);
    assert_eq!(shown["starts"].as_array().unwrap().len(), 2);
    let said = directory.log("verify", &[]);
    assert_eq!((said.code, said.out.as_str()), (0, "sound: 8 events in 2 segments\n"));
    assert_eq!(positions(&directory.dump(&[])), (13..=20).collect::<Vec<_>>());
}

#[test]
fn looking_changes_nothing_and_needs_no_lock() {
    let directory = history(9);
    let before = directory.contents();
    for command in ["inspect", "verify", "dump"] {
        assert_eq!(directory.log(command, &[]).code, 0);
    }
    assert_eq!(directory.contents(), before);
    let server = directory.serve(&[]);
    publish(&server, &json!({ "event": "more", "data": 1 }));
    assert_eq!(directory.dump(&[]).len(), 10);
    assert_eq!(directory.log("verify", &["--json"]).code, 0);
}

/// Every segment has one event, and none lives long.
#[test]
fn a_server_that_rotates_and_drops_meanwhile_looks_sound() {
    let directory = Directory::new();
    let server = directory.serve(&["--disk-events", "12"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let event = json!({ "event": "count", "data": "x".repeat(2_000) });
            let batch = Value::Array(vec![event; 7]);
            for _ in 0..150 {
                publish(&server, &batch);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let said = directory.log("verify", &[]);
            assert_eq!((said.code, said.errors.as_str()), (0, ""), "{said:?}");
            let found = positions(&directory.dump(&[]));
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
            assert_eq!(directory.log("inspect", &[]).code, 0);
        }
    });
    let last = directory.dump(&[]).pop().unwrap();
    assert_eq!(last["position"], 1_050);
}

/// The bytes of the newest segment, without the room that was reserved behind them.
fn written(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    bytes
}

/// `verify` says this, with exit code 1.
#[track_caller]
fn problems(directory: &Directory, wanted: &[(&str, &str)]) {
    let said = directory.log("verify", &[]);
    assert_eq!((said.code, said.errors.as_str()), (1, ""), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), wanted.len() + 1, "{}", said.out);
    for (line, (file, text)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(&format!("{file}: ")) && line.contains(text), "{text:?} in {line:?}");
    }
    let verdict: Value = serde_json::from_str(&directory.log("verify", &["--json"]).out).unwrap();
    assert_eq!((&verdict["sound"], verdict["problems"].as_array().unwrap().len()), (&false.into(), wanted.len()));
}

const FIRST: &str = "00000000000000000000.log";
const SECOND: &str = "00000000000000000004.log";
const THIRD: &str = "00000000000000000008.log";

#[test]
fn damaged_records_are_named_and_left_out() {
    let directory = history(10);
    // In the body of the second record: a head of 40 bytes and a frame come before it.
    let path = directory.path().join(SECOND);
    flip(&path, 64 + 150);
    problems(&directory, &[(SECOND, "positions 6 to 6 cannot be read")]);
    let left = [1, 2, 3, 4, 5, 7, 8, 9, 10];
    assert_eq!(positions(&directory.dump(&[])), left);
    let server = directory.serve(&[]);
    let mut stream = server.subscribe("/api/sse?lastEventId=earliest");
    support::read_until(&mut stream, "event: $gap");
}

#[test]
fn a_damaged_end_is_told_before_the_next_start_cuts_it() {
    let directory = history(10);
    let path = directory.path().join(THIRD);
    // In the last group's commit, of 40 + 12 bytes and padding.
    flip(&path, written(&path).len() - 30);
    problems(&directory, &[(THIRD, "may have been acknowledged")]);
    assert_eq!(positions(&directory.dump(&[])), (1..=9).collect::<Vec<_>>());
    stop(directory.serve(&[]));
    problems(&directory, &[(THIRD, "positions 10 to 10 cannot be read, or are known to be lost")]);
}

#[test]
fn an_interrupted_write_is_no_problem() {
    let directory = history(10);
    let path = directory.path().join(THIRD);
    let mut bytes = written(&path);
    // The front of a record.
    bytes.extend_from_within(64..64 + 77);
    bytes.extend_from_slice(&[0; 5_000]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(directory.log("verify", &[]).code, 0);
    assert_eq!(positions(&directory.dump(&[])), (1..=10).collect::<Vec<_>>());
}

#[test]
fn missing_segments_are_named() {
    let directory = history(10);
    fs::remove_file(directory.path().join(SECOND)).unwrap();
    problems(&directory, &[(THIRD, "positions 5 to 8, which belong in front of it, are missing")]);
    fs::remove_file(directory.path().join(FIRST)).unwrap();
    problems(&directory, &[(THIRD, "positions 1 to 8, which belong in front of it, are missing")]);
}

#[test]
fn a_lost_end_is_named() {
    let directory = history(10);
    // Writes down how far the log has come.
    stop(directory.serve(&[]));
    fs::remove_file(directory.path().join(THIRD)).unwrap();
    problems(&directory, &[(SECOND, "ends before position 9, and had come to 10")]);
}

#[test]
fn damaged_heads_indices_and_manifests_are_named() {
    let directory = history(10);
    let index = FIRST.replace(".log", ".idx");
    flip(&directory.path().join(FIRST), 20);
    flip(&directory.path().join(&index), 100);
    flip(&directory.path().join("manifest-1"), 50);
    problems(
        &directory,
        &[(&index, "made anew"), (FIRST, "read all the same"), ("manifest-1", "the other one counts")],
    );
    assert_eq!(positions(&directory.dump(&[])), (1..=10).collect::<Vec<_>>());
}

#[test]
fn an_index_that_says_something_else_is_named() {
    let directory = history(10);
    let path = directory.path().join(FIRST.replace(".log", ".idx"));
    let mut bytes = fs::read(&path).unwrap();
    // One record less, under a checksum that is right.
    let log_id = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    let salt = (log_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    bytes[12] -= 1;
    let sum = crc32(salt, &bytes[..76]);
    bytes[76..80].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    problems(&directory, &[(path.file_name().unwrap().to_str().unwrap(), "remove this file")]);
}

#[test]
fn a_segment_of_another_log_is_named() {
    let (directory, other) = (history(10), history(10));
    fs::copy(other.path().join(FIRST), directory.path().join(FIRST)).unwrap();
    fs::remove_file(directory.path().join(FIRST.replace(".log", ".idx"))).unwrap();
    problems(&directory, &[(FIRST, "another log"), (SECOND, "positions 1 to 4")]);
}

#[test]
fn what_is_no_history_is_refused_with_its_reason() {
    let directory = Directory::new();
    let refused = |path: &str, wanted: &str| {
        for command in ["inspect", "verify", "dump"] {
            let said = run(&["log", command, path]);
            assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
            assert!(said.errors.contains(wanted) && said.errors.contains(path), "{wanted:?} in {}", said.errors);
        }
    };
    refused("/no/such/directory", "no such directory");
    refused(directory.text(), "the directory has no log");
    let file = directory.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    refused(file.to_str().unwrap(), "not a directory");
    refused(directory.text(), "\"notes.txt\"");

    let history = history(3);
    fs::write(history.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(history.log("verify", &[]).code, 0, "files of others are no harm");
    assert!(history.log("inspect", &[]).out.contains("1 foreign file, such as \"notes.txt\""));
    for name in ["manifest-0", "manifest-1"] {
        let path = history.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() - 4;
        bytes[8] = 9;
        let sum = crc32(0, &bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
    refused(history.text(), "format 9");
    for name in ["manifest-0", "manifest-1"] {
        fs::write(history.path().join(name), "FANFMAN\n").unwrap();
    }
    refused(history.text(), "neither of the two manifest files can be read");
    for name in ["manifest-0", "manifest-1"] {
        fs::remove_file(history.path().join(name)).unwrap();
    }
    refused(history.text(), "no manifest");
}

#[test]
fn faults_of_usage_have_code_2() {
    let directory = history(3);
    for (arguments, wanted) in [
        (vec!["log"], "inspect"),
        (vec!["log", "inspect"], "DIRECTORY"),
        (vec!["log", "dump", directory.text(), "--after", "5"], "the id of an event"),
        (vec!["log", "dump", directory.text(), "--after", "1.zz.1"], "1.zz.1 means nothing in this log"),
        (vec!["log", "dump", directory.text(), "--user", ""], "empty"),
        (vec!["log", "dump", directory.text(), "--json"], "--json"),
    ] {
        let said = run(&arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.errors.contains(wanted), "{wanted:?} in {}", said.errors);
    }
    let mut command = fanfare(&["log", "verify"]);
    command.env("FANFARE_DATA_DIR", directory.text());
    assert!(command.output().unwrap().status.success(), "the directory may be in the environment");
}

#[test]
fn a_reader_who_goes_away_ends_a_dump_quietly() {
    let directory = Directory::new();
    let server = directory.serve(&[]);
    let event = json!({ "event": "large", "data": "x".repeat(50_000) });
    publish(&server, &Value::Array(vec![event; 15]));
    let mut child = fanfare(&["log", "dump", directory.text()]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.len() > 50_000);
    assert_eq!(wait(&mut child).code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
}
