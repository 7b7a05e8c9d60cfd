//! The binary as its users start, use and stop it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::Read as _;
use std::time::{Duration, Instant};
use support::fanfare as binary;
use support::{Server, read_until};

const EVENT: &str = r#"{"event":"hello","data":{"n":1}}"#;

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_published_event_reaches_a_subscriber() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("/api/sse?userId=ada");
    let (head, body) = server.request("POST", "/api/sse/publish", &[], EVENT);
    assert_eq!(status(&head), 200, "{head}");
    let receipt: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&receipt["clients"], &receipt["durability"]), (&1.into(), &"memory".into()));
    let seen = read_until(&mut stream, "data: {\"n\":1}");
    assert!(seen.contains(&format!("id: {}\nevent: hello\n", receipt["id"].as_str().unwrap())), "{seen}");
}

#[test]
fn serve_is_the_default_command() {
    let server = Server::spawn(binary(&["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(status(&server.request("GET", "/healthz", &[], "").0), 200);
}

#[test]
fn a_drain_tells_every_stream_and_ends_with_zero() {
    let mut server = Server::start(&["--drain", "2s"]);
    let mut streams: Vec<_> = (0..30).map(|_| server.subscribe("/api/sse")).collect();
    let begun = Instant::now();
    server.signal("TERM");
    let mut retries = std::collections::BTreeSet::new();
    for stream in &mut streams {
        let closing = read_until(stream, r#"data: {"reason":"shutdown","reconnect":true}"#);
        let retry = closing.lines().rev().find_map(|line| line.strip_prefix("retry: ")).unwrap();
        retries.insert(retry.parse::<u32>().unwrap());
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\n", "nothing after the end");
    }
    drop(streams);
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert!(
        retries.len() > 5 && *retries.first().unwrap() >= 2_000 && *retries.last().unwrap() <= 6_000,
        "{retries:?}"
    );
}

#[test]
fn an_interrupt_without_streams_ends_at_once() {
    let mut server = Server::start(&[]);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let mut server = Server::start(&["--drain", "60s"]);
    // Spread over the window, so that some are still there when the second signal comes.
    let streams: Vec<_> = (0..200).map(|_| server.subscribe("/api/sse")).collect();
    server.signal("TERM");
    while !server.log.recv_timeout(support::PATIENCE).unwrap().contains("draining") {}
    assert_eq!(status(&server.request("GET", "/readyz", &[], "").0), 503, "a draining server is not ready");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(streams);
}

#[test]
fn the_token_guards_everything_but_subscribing() {
    let server = Server::start(&["--token", "correct-horse-battery"]);
    drop(server.subscribe("/api/sse"));
    let guarded = [
        ("POST", "/api/sse/publish", EVENT),
        ("POST", "/api/sse/demo", r#"{"type":"broadcast","message":"m"}"#),
        ("POST", "/api/sse/notify/system", r#"{"message":"m"}"#),
        ("GET", "/api/sse/stats", ""),
        ("GET", "/api/sse/cursor", ""),
        ("GET", "/api/sse/events", ""),
        ("GET", "/api/sse/clients", ""),
        ("DELETE", "/api/sse/users/ada", ""),
        ("GET", "/metrics", ""),
    ];
    for (method, path, body) in guarded {
        for wrong in [None, Some("authorization: Bearer correct-horse-batterz"), Some("authorization: Basic eDp5")] {
            let headers: Vec<&str> = wrong.into_iter().collect();
            let (head, answer) = server.request(method, path, &headers, body);
            assert_eq!(status(&head), 401, "{method} {path} with {wrong:?}");
            assert!(head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
            assert!(answer.contains("urn:fanfare:problem:unauthorized"), "{answer}");
        }
        let (head, answer) = server.request(method, path, &["authorization: Bearer correct-horse-battery"], body);
        assert_eq!(status(&head), 200, "{method} {path}: {answer}");
    }
    for open in ["/healthz", "/readyz", "/sse-demo"] {
        assert_eq!(status(&server.request("GET", open, &[], "").0), 200, "{open}");
    }
}

#[test]
fn preflights_are_answered_for_the_origins_that_were_named() {
    let server = Server::start(&["--cors-origin", "https://app.example", "--cors-origin", "http://localhost:3000"]);
    let preflight = |origin: &str| {
        let wanted = "access-control-request-headers: last-event-id,authorization,idempotency-key,content-type";
        let headers = [&format!("origin: {origin}"), "access-control-request-method: POST", wanted];
        server.request("OPTIONS", "/api/sse/publish", &headers, "").0.to_lowercase()
    };
    let head = preflight("http://localhost:3000");
    assert!(head.contains("access-control-allow-origin: http://localhost:3000"), "{head}");
    for header in ["last-event-id", "authorization", "idempotency-key", "content-type"] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert!(!preflight("https://evil.example").contains("access-control-allow-origin"));
    let mut stream = server.open("GET", "/api/sse", &["origin: https://app.example"], "");
    let mut head = [0; 1_024];
    let read = stream.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    assert!(head.contains("access-control-allow-origin: https://app.example"), "also on a stream: {head}");
}

#[test]
fn metrics_tell_what_happened() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("/api/sse");
    server.request("POST", "/api/sse/publish", &[], EVENT);
    read_until(&mut stream, "data: {\"n\":1}");
    // What is sent is counted after it is.
    let deadline = Instant::now() + support::PATIENCE;
    for line in ["fanfare_events_sent_total 1", "fanfare_clients 1", "fanfare_events_published_total 1"] {
        loop {
            let (_, text) = server.request("GET", "/metrics", &[], "");
            if text.lines().any(|found| found == line) {
                break;
            }
            assert!(Instant::now() < deadline, "{line} in {text}");
        }
    }
}

#[test]
fn the_slow_policy_is_what_becomes_of_a_reader_that_falls_behind() {
    // The lifetime sets the pace at which connections are looked at.
    let server = Server::start(&["--slow-policy", "disconnect", "--lifetime", "30s"]);
    let unread = server.subscribe("/api/sse");
    let event = format!(r#"{{"event":"large","data":"{}"}}"#, "x".repeat(200_000));
    let batch = format!("[{event},{event},{event},{event}]");
    let deadline = Instant::now() + support::PATIENCE;
    for publish in 0.. {
        // Enough to fill every buffer and outrun what a shard keeps at hand.
        if publish < 40 {
            assert_eq!(status(&server.request("POST", "/api/sse/publish", &[], &batch).0), 200);
        }
        let (_, text) = server.request("GET", "/metrics", &[], "");
        let counted = |line: &str| text.lines().any(|found| found == line);
        if counted(r#"fanfare_slow_readers_total{policy="disconnect"} 1"#) {
            assert!(counted(r#"fanfare_slow_readers_total{policy="catch-up"} 0"#), "{text}");
            assert!(counted(r#"fanfare_disconnects_total{reason="slow"} 1"#), "{text}");
            assert!(counted(r#"fanfare_gaps_total{reason="slow"} 0"#), "{text}");
            break;
        }
        assert!(Instant::now() < deadline, "never ended: {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(unread);
}

/// Runs the binary to its end: exit code and what it said.
fn refused(mut command: std::process::Command) -> (i32, String) {
    let mut child = command.spawn().unwrap();
    let code = support::wait(&mut child).code().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

#[test]
fn beyond_loopback_it_wants_a_token_or_a_dangerous_flag() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = refused(binary(&["--listen", listen]));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("FANFARE_TOKEN") && said.contains("--dangerously-allow-anyone"), "{said}");
    }
    let server = Server::spawn(binary(&["--listen", "0.0.0.0:0", "--dangerously-allow-anyone"]));
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let answer = |server: &Server, path| status(&server.request("GET", path, &[], "").0);
    let server = {
        let mut server = server;
        server.address = local;
        server
    };
    assert_eq!(answer(&server, "/api/sse/stats"), 200);
    assert_eq!(answer(&server, "/sse-demo"), 404, "the demo is off unless asked for");
}

#[test]
fn bad_settings_are_refused_with_their_name() {
    let usage = [
        (vec!["--ping-interval", "5"], "whole number with a unit"),
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["--history-size=-1"], "--history-size"),
        (vec!["--slow-policy", "later"], "catch-up, gap or disconnect"),
    ];
    for (arguments, wanted) in usage {
        let (code, said) = refused(binary(&arguments));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
    let settings = [
        (vec!["--client-timeout", "30s"], "--client-timeout: must be longer than --ping-interval"),
        (vec!["--history-size", "1"], "--history-size: "),
        (vec!["--token", "short"], "openssl rand"),
        (vec!["--cors-origin", "app.example"], "scheme://host"),
        (vec!["--shards", "0"], "--shards: "),
        (vec!["--max-clients", "0"], "--max-clients: "),
    ];
    for (mut arguments, wanted) in settings {
        arguments.extend(["--listen", "127.0.0.1:0"]);
        let (code, said) = refused(binary(&arguments));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let (code, said) = refused(binary(&["--listen", &address]));
    assert_eq!(code, 1);
    assert!(said.contains(&address) && said.contains("because"), "{said}");
}

#[test]
fn empty_environment_variables_are_as_if_unset() {
    let mut command = binary(&["--listen", "127.0.0.1:0"]);
    for name in
        ["FANFARE_TOKEN", "FANFARE_CORS_ORIGIN", "FANFARE_MAX_CLIENTS", "FANFARE_PING_INTERVAL", "FANFARE_LISTEN"]
    {
        command.env(name, "");
    }
    let server = Server::spawn(command);
    assert_eq!(status(&server.request("GET", "/api/sse/stats", &[], "").0), 200);
}

/// Opens and closes so many streams that their log lines fill any pipe.
fn churn(server: &Server) {
    for _ in 0..600 {
        drop(server.subscribe("/api/sse"));
    }
}

/// Log lines were written on the threads that serve: a reader that stopped reading froze the server.
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (server, unread) = Server::with_unread_log();
    churn(&server);
    let mut stream = server.subscribe("/api/sse");
    assert_eq!(status(&server.request("POST", "/api/sse/publish", &[], EVENT).0), 200);
    read_until(&mut stream, "data: {\"n\":1}");
    drop(unread);
}

/// A failed write of a log line was reported by a second write, which panicked, and took the shard with it.
#[test]
fn a_log_whose_reader_is_gone_harms_nothing() {
    let (mut server, reader) = Server::with_unread_log();
    drop(reader);
    churn(&server);
    let mut stream = server.subscribe("/api/sse");
    assert_eq!(status(&server.request("POST", "/api/sse/publish", &[], EVENT).0), 200);
    read_until(&mut stream, "data: {\"n\":1}");
    drop(stream);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn half_a_head_does_not_hold_up_the_end() {
    let mut server = Server::start(&["--drain", "1s"]);
    let mut half = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut half, b"GET /healthz HT").unwrap();
    // Its bytes are with the server before the signal is.
    assert_eq!(status(&server.request("GET", "/healthz", &[], "").0), 200);
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn methods_that_do_not_apply_get_a_problem_document() {
    let server = Server::start(&[]);
    for path in ["/healthz", "/readyz", "/metrics", "/api/sse", "/sse-demo"] {
        let (head, body) = server.request("PATCH", path, &[], "");
        assert_eq!(status(&head), 405, "{path}");
        assert!(head.to_lowercase().contains("allow: get"), "{head}");
        assert!(body.contains("urn:fanfare:problem:method-not-allowed"), "{path}: {body}");
    }
}

/// A thousand bodies that never come held a place each in the application, and every other request waited.
#[test]
fn bodies_that_never_come_hold_up_no_other_request() {
    fanfare::raise_descriptor_limit();
    let server = Server::start(&[]);
    let slow: Vec<_> = (0..1_100)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            let head = "POST /api/sse/publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    drop(server.subscribe("/api/sse"));
    assert_eq!(status(&server.request("GET", "/healthz", &[], "").0), 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(slow);
}

/// The connection was closed under a sender that was not done, which then never saw the answer.
#[test]
fn a_body_that_is_too_large_is_refused_also_to_a_sender_who_sends_it_all_first() {
    let server = Server::start(&[]);
    let body = "x".repeat(3 << 20);
    let (head, answer) = server.request("POST", "/api/sse/publish", &[], &body);
    assert_eq!(status(&head), 413, "{head}");
    assert!(answer.contains("1048576"), "{answer}");
}

/// Lifetimes were looked at every 7.5 s, whatever they were.
#[test]
fn a_short_lifetime_is_met() {
    let server = Server::start(&["--lifetime", "1s"]);
    let begun = Instant::now();
    let mut stream = server.subscribe("/api/sse");
    read_until(&mut stream, r#"data: {"reason":"lifetime","reconnect":true}"#);
    let age = begun.elapsed();
    assert!(age > Duration::from_millis(700) && age < Duration::from_secs(4), "{age:?}");
}
