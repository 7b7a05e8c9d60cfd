//! docs/log-format.md is true: a reader written from it, in another language, finds the same events as the binary.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each target needs a part of it")]
#[path = "support/directory.rs"]
mod directory;
mod support;

use directory::{Directory, flip};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/read_log.py");

fn read(directory: &Directory, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new("python3");
    let output = command.arg(READER).arg(directory.path()).args(arguments).env("PYTHONUTF8", "1").output();
    let output = output.expect("python3, which scripts/test installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Events of every kind, in segments of two and three, over two starts and with the oldest dropped.
fn history() -> Directory {
    let directory = Directory::new();
    for start in 0..2 {
        let mut server = directory.serve(&["--disk-events", "128"]);
        for n in 0..120 {
            let to = match n % 6 {
                0 => json!({ "all": true }),
                1 => json!({ "userId": "ada" }),
                2 => json!({ "userIds": ["ada", "grün", "bob"] }),
                3 => json!({ "topic": "ada" }),
                4 => json!({ "filter": { "userId": "ada", "metadata": { "page": "ada" } } }),
                _ => json!({ "sessionId": "s" }),
            };
            let data = match n % 4 {
                0 => json!({ "n": n, "text": "ü\n: \r\u{2028}" }),
                1 => json!("x".repeat(n * 100)),
                _ => json!([start, n]),
            };
            let mut event = json!({ "event": format!("e: {n}"), "data": data, "to": to });
            if n % 5 == 0 {
                event["id"] = json!("order-7");
                event["retry"] = json!(n);
            }
            // Some in groups, some with an answer that is kept.
            let body = if n % 7 == 0 { json!([event, event, event]) } else { event };
            let key = format!("idempotency-key: {start}-{n}");
            let headers: Vec<&str> = if n % 3 == 0 { vec![&key] } else { Vec::new() };
            let (head, answer) = server.request("POST", "/api/sse/publish", &headers, &body.to_string());
            assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        }
        directory.wait_for_indices();
        server.signal("TERM");
        assert!(server.wait().success());
    }
    directory
}

#[track_caller]
fn agree(directory: &Directory) -> Vec<Value> {
    let lines = directory.dump(&[]);
    let read = read(directory, &[]);
    for (ours, theirs) in lines.iter().zip(&read) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(lines.len(), read.len());
    lines
}

#[test]
fn a_reader_written_from_the_document_finds_the_same_events() {
    let directory = history();
    let lines = agree(&directory);
    assert!(lines.len() > 100 && lines[0]["position"].as_u64() > Some(1), "some were dropped");
    let to_ada = directory.dump(&["--user", "ada"]);
    assert!(to_ada.len() > 30 && to_ada.len() < lines.len());
    assert_eq!(read(&directory, &["--user", "ada"]), to_ada, "names are hashed as the document says");
    assert_eq!(read(&directory, &["--user", "grün"]), directory.dump(&["--user", "grün"]));
}

#[test]
fn it_also_agrees_on_what_is_left_of_damaged_segments() {
    let directory = history();
    let segments = directory.files(".log");
    let whole = agree(&directory).len();
    // In every part of a segment: a record's head, a body, a commit.
    for (number, path) in segments.iter().enumerate() {
        let end = fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
        flip(path, 64 + number * 97 % (end - 64));
    }
    let damaged = agree(&directory).len();
    assert!(damaged < whole && damaged > 20, "{damaged} of {whole}");
    // The newest, cut at different places.
    let newest = segments.last().unwrap();
    let bytes = fs::read(newest).unwrap();
    for part in 1..8 {
        fs::write(newest, &bytes[..64 + (bytes.len() - 64) / part]).unwrap();
        agree(&directory);
    }
}

#[cfg(unix)]
#[test]
fn its_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(directory.serve(&[]));
    let files = directory.files("");
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
}
