//! `fanfare publish`.

use crate::assert_said;
use crate::said::{on_terminal, piped, run, to};
use crate::support::{Server, read_until};
use serde_json::{Value, json};
use std::io::BufRead as _;

/// The stream's next event: its type and data.
fn next(stream: &mut impl std::io::BufRead) -> (String, Value) {
    let (mut event, mut data) = (String::new(), String::new());
    for line in stream.lines().map(Result::unwrap) {
        if let Some(text) = line.strip_prefix("event: ") {
            text.clone_into(&mut event);
        } else if let Some(text) = line.strip_prefix("data: ") {
            text.clone_into(&mut data);
        } else if line.is_empty() && !data.is_empty() {
            return (event, serde_json::from_str(&data).unwrap());
        }
    }
    panic!("the stream ended");
}

/// Past `connected`, up to its end.
fn subscribe(server: &Server, query: &str) -> impl std::io::BufRead {
    let mut stream = server.subscribe(&format!("/api/sse{query}"));
    read_until(&mut stream, "data: ");
    stream
}

/// A number on each line.
fn numbers(count: u32) -> String {
    (0..count).fold(String::new(), |lines, number| lines + &number.to_string() + "\n")
}

fn published(server: &Server) -> u64 {
    let stats: Value = serde_json::from_str(&piped(server, &["stats"], "").out).unwrap();
    stats["totalEventsPublished"].as_u64().unwrap()
}

#[test]
fn an_event_in_a_pipe_and_on_a_terminal() {
    let server = Server::start(&[]);
    let mut stream = subscribe(&server, "?userId=ann");
    assert_said!("publish", piped(&server, &["publish", "news", r#"{ "b": 1.50, "a": "ü" }"#], ""));
    assert_eq!(next(&mut stream), ("news".into(), json!({ "b": 1.5, "a": "ü" })));
    assert_said!("publish_terminal", on_terminal(&server, &["publish", "news", "1", "--id", "mine"], &[]));
    assert_eq!(next(&mut stream), ("news".into(), json!(1)));
    assert_said!("publish_no_color", on_terminal(&server, &["publish", "news", "2"], &[("NO_COLOR", "1")]));
    assert_eq!(next(&mut stream), ("news".into(), json!(2)));
    let quiet = piped(&server, &["publish", "news", "3", "--quiet"], "");
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
    let forced = on_terminal(&server, &["publish", "news", "4", "--json", "--ephemeral"], &[]);
    assert_eq!(forced.out.trim_end(), r#"{"id":null,"clients":1,"durability":"ephemeral"}"#);
}

#[test]
fn data_comes_from_arguments_or_standard_input() {
    let server = Server::start(&[]);
    let mut stream = subscribe(&server, "");
    for (arguments, input, data) in [
        (vec!["publish", "n", "[1, 2]"], "", json!([1, 2])),
        (vec!["publish", "n", "it works", "--text"], "", json!("it works")),
        (vec!["publish", "n"], "{\"a\":1}\n", json!({ "a": 1 })),
        (vec!["publish", "n", "-"], "null", json!(null)),
        (vec!["publish", "n", "--text"], "two\nlines\r\n", json!("two\nlines")),
        (vec!["publish", "n", "--text", "--", "--not-a-flag"], "", json!("--not-a-flag")),
    ] {
        assert_eq!(piped(&server, &arguments, input).code, 0, "{arguments:?}");
        assert_eq!(next(&mut stream).1, data, "{arguments:?}");
    }
}

#[test]
fn every_target_is_a_flag() {
    let server = Server::start(&[]);
    let _ann = subscribe(&server, "?userId=ann&sessionId=s1&topic=news&page=home&lang=de");
    let _bob = subscribe(&server, "?userId=bob&page=home");
    let _nobody = subscribe(&server, "");
    let clients: Vec<Value> = piped(&server, &["clients", "--user", "bob"], "")
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bob = clients[0]["clientId"].as_str().unwrap();
    for (target, reached) in [
        (vec![], 3),
        (vec!["--user", "ann"], 1),
        (vec!["--user", "ann", "--user", "bob", "--user", "eve"], 2),
        (vec!["--session", "s1"], 1),
        (vec!["--topic", "news"], 1),
        (vec!["--client", bob], 1),
        (vec!["--metadata", "page=home"], 2),
        (vec!["--metadata", "page=home", "--metadata", "lang=de"], 1),
        (vec!["--metadata", "page=home", "--user", "bob"], 1),
        (vec!["--user", "ann", "--session", "s1"], 1),
        (vec!["--user", "bob", "--session", "s1"], 0),
        (vec!["--metadata", "page="], -1),
    ] {
        let mut arguments = vec!["publish", "n", "1"];
        arguments.extend(&target);
        let said = piped(&server, &arguments, "");
        if reached < 0 {
            assert_eq!(said.code, 2, "{said:?}");
            continue;
        }
        let receipt: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        assert_eq!(receipt["clients"], reached, "{target:?}");
    }
}

#[test]
fn a_stream_of_lines_is_published_as_it_comes() {
    let server = Server::start(&[]);
    let mut stream = subscribe(&server, "?userId=ann");
    let lines = "{\"event\":\"a\",\"data\":1}\n\n  \r\n{\"event\":\"b\",\"data\":2,\"id\":\"x\",\"to\":{\"userId\":\"ann\"}}\r\n\
                 {\"event\":\"c\",\"data\":3,\"to\":{\"userId\":\"bob\"}}\n{\"event\":\"d\",\"data\":4}";
    assert_said!("publish_ndjson", piped(&server, &["publish", "--ndjson"], lines));
    for expected in [("a", 1), ("b", 2), ("d", 4)] {
        assert_eq!(next(&mut stream), (expected.0.to_owned(), json!(expected.1)));
    }
    let lines = numbers(3_000);
    let said = piped(&server, &["publish", "--ndjson", "n", "--user", "ann"], &lines);
    assert_eq!((said.code, said.out.lines().count()), (0, 3_000), "{}", said.err);
    for number in 0..3_000 {
        assert_eq!(next(&mut stream), ("n".to_owned(), json!(number)));
    }
}

#[test]
fn a_line_is_out_before_the_next_one_comes() {
    let server = Server::start(&[]);
    let mut command = to(&server, &["publish", "--ndjson", "n"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut receipts = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        std::io::Write::write_all(&mut input, format!("{number}\n").as_bytes()).unwrap();
        let receipt: Value = serde_json::from_str(&receipts.next().unwrap().unwrap()).unwrap();
        assert_eq!(receipt["durability"], "memory");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_bad_line_says_its_number_and_what_was_published() {
    let server = Server::start(&[]);
    let said = piped(&server, &["publish", "--ndjson"], "{\"event\":\"a\",\"data\":1}\n\n{\"event\":\"b\"}\nmore\n");
    assert_said!("publish_ndjson_bad_line", said);
    let lines = "{\"event\":\"a\",\"data\":1}\n{\"event\":\"b\",\"data\":1,\"to\":{\"user\":\"x\"}}\n";
    assert_said!("publish_ndjson_bad_target", piped(&server, &["publish", "--ndjson"], lines));
    assert_said!("publish_ndjson_not_json", piped(&server, &["publish", "--ndjson", "n"], "hello\n"));
    let lines = "{\"event\":\"a\",\"data\":1}\n{\"event\":\"ping\",\"data\":1}\n";
    assert_said!("publish_ndjson_reserved", piped(&server, &["publish", "--ndjson", "--idempotency-key", "k"], lines));
    assert_eq!(piped(&server, &["publish", "--ndjson"], "").out, "");
}

#[test]
fn a_key_publishes_once_however_often_the_command_runs() {
    let server = Server::start(&[]);
    let arguments = ["publish", "order", "7", "--idempotency-key", "order-7"];
    let first = piped(&server, &arguments, "");
    assert_eq!((first.code, piped(&server, &arguments, "").out), (0, first.out));
    let lines = numbers(2_500);
    let arguments = ["publish", "--ndjson", "n", "--idempotency-key", "import"];
    let first = piped(&server, &arguments, &lines);
    assert_eq!((first.code, first.out.lines().count()), (0, 2_500), "{}", first.err);
    assert_eq!(piped(&server, &arguments, &lines).out, first.out);
    assert_eq!(published(&server), 2_501);
    assert_said!("publish_key_reused", piped(&server, &["publish", "order", "8", "--idempotency-key", "order-7"], ""));
}

#[test]
fn who_comes_too_late_is_told_what_is_there() {
    let server = Server::start(&[]);
    let arguments = ["publish", "bid", "10", "--topic", "lot-7", "--expect-last-id", "none"];
    assert_eq!(piped(&server, &arguments, "").code, 0);
    assert_said!("publish_conflict", piped(&server, &arguments, ""));
}

#[test]
fn a_header_and_a_token_travel_with_it() {
    let server = Server::start(&["--token", "secret-token"]);
    assert_said!("publish_without_token", piped(&server, &["publish", "n", "1"], ""));
    assert_eq!(piped(&server, &["publish", "n", "1", "--token", "secret-token"], "").code, 0);
    assert_eq!(piped(&server, &["publish", "n", "1", "-H", "Authorization: Bearer secret-token"], "").code, 0);
    let mut command = to(&server, &["publish", "n", "1"]);
    command.env("FANFARE_TOKEN", "secret-token");
    assert_eq!(run(command, "").code, 0);
    let mut command = to(&server, &["publish", "n", "1", "-H", "Authorization: Bearer secret-token"]);
    command.env("FANFARE_TOKEN", "another");
    assert_eq!(run(command, "").code, 0, "what is nearer holds");
}

#[test]
fn a_reader_of_receipts_that_has_enough_stops_no_line() {
    let server = Server::start(&[]);
    let line = format!("'{}' publish --ndjson n | head -n 1", env!("CARGO_BIN_EXE_fanfare"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]).env("FANFARE_URL", format!("http://{}", server.address));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let said = run(command, &numbers(20_000));
    assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""), "{said:?}");
    assert_eq!(published(&server), 20_000);
}

#[test]
fn lines_go_together_only_as_far_as_a_body_takes_them() {
    let server = Server::start(&[]);
    let escaped = format!("{}\n", "\u{1}".repeat(40_000)).repeat(10);
    let said = piped(&server, &["publish", "--ndjson", "--text", "n"], &escaped);
    assert_eq!((said.code, said.out.lines().count()), (0, 10), "{}", said.err);
    let users: Vec<String> = (0..100).map(|number| format!("--user=somebody-{number}")).collect();
    let metadata: Vec<String> = (0..32).map(|number| format!("--metadata=k{number}={}", "v".repeat(200))).collect();
    for target in [users, metadata] {
        let arguments = ["publish", "--ndjson", "n"].into_iter().chain(target.iter().map(String::as_str));
        let said = piped(&server, &arguments.collect::<Vec<_>>(), &numbers(1_000));
        assert_eq!((said.code, said.out.lines().count()), (0, 1_000), "{}", said.err);
    }
}

#[test]
fn a_key_is_not_spent_on_lines_before_a_bad_one() {
    let server = Server::start(&[]);
    let arguments = ["publish", "--ndjson", "n", "--idempotency-key", "import"];
    assert_eq!(piped(&server, &arguments, "1\nhello\n").code, 2);
    assert_eq!(published(&server), 0);
    let said = piped(&server, &arguments, "1\n2\n");
    assert_eq!((said.code, published(&server)), (0, 2), "{said:?}");
}
