//! What is wrong, where, and what to do: the command line, the input, the way to the server.

use crate::assert_said;
use crate::said::{Said, on_terminal, piped, run, to};
use crate::support::{Server, fanfare};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

fn alone(arguments: &[&str]) -> Said {
    run(fanfare(arguments), "")
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    assert_said!("error_no_event", alone(&["publish"]));
    assert_said!("error_unknown_command", alone(&["pubish"]));
    assert_said!("error_targets", alone(&["publish", "n", "1", "--user", "a", "--user", "b", "--session", "c"]));
    assert_said!("error_topic_and_user", alone(&["publish", "n", "1", "--user", "a", "--topic", "b"]));
    assert_said!("error_metadata", alone(&["publish", "n", "1", "--metadata", "page"]));
    assert_said!("error_metadata_twice", alone(&["publish", "n", "1", "--metadata", "a=1", "--metadata", "a=2"]));
    assert_said!("error_expect", alone(&["publish", "n", "1", "--expect-last-id", "none"]));
    assert_said!("error_from", alone(&["subscribe", "--from", "yesterday"]));
    assert_said!("error_from_and_id", alone(&["subscribe", "--from", "earliest", "--last-event-id", "1.a.b"]));
    assert_said!("error_last_event_id", alone(&["subscribe", "--last-event-id", ""]));
    assert_said!("error_count", alone(&["subscribe", "--count", "0"]));
    assert_said!("error_disconnect", alone(&["disconnect"]));
    assert_said!("error_header", alone(&["stats", "-H", "Authorization"]));
    assert_said!("error_time", alone(&["stats", "--watch", "2"]));
    assert_said!("error_rest", alone(&["stats", "--watch", "0s"]));
    assert_said!("error_url", alone(&["stats", "--url", "localhost:4000"]));
    assert_said!("error_token", alone(&["stats", "--token", "a b"]));
    assert_said!("error_shell", alone(&["completions", "tcsh"]));
    assert_said!("error_man", alone(&["man", "pubish"]));
    assert_said!(
        "error_setting",
        alone(&["--ping-interval", "30s", "--client-timeout", "10s", "--listen", "127.0.0.1:0"])
    );
}

#[test]
fn input_that_makes_no_sense_is_refused_before_anything_is_sent() {
    let server = Server::start(&[]);
    assert_said!("error_not_json", piped(&server, &["publish", "n", "hello"], ""));
    assert_said!("error_no_data", piped(&server, &["publish", "n"], ""));
    assert_said!("error_no_data_terminal", on_terminal(&server, &["publish", "n"], &[]));
    assert_said!("error_reserved", piped(&server, &["publish", "$gap", "1"], ""));
    assert_said!("error_type", piped(&server, &["publish", "a\nb", "1"], ""));
    assert_said!("error_user", piped(&server, &["publish", "n", "1", "--user", ""], ""));
    assert_said!("error_id", piped(&server, &["publish", "n", "1", "--id", "a~b"], ""));
    assert_said!("error_key", piped(&server, &["publish", "n", "1", "--idempotency-key", "a b"], ""));
    assert_said!("error_identity", piped(&server, &["subscribe", "--metadata", "userId=eve"], ""));
    let large = format!("\"{}\"", "x".repeat(300_000));
    assert_said!("error_too_large", piped(&server, &["publish", "n"], &large));
    let larger = "x".repeat(600_000);
    assert_said!("error_much_too_large", piped(&server, &["publish", "n", "--text"], &larger));
    let stats = piped(&server, &["stats"], "");
    assert!(stats.out.contains("\"totalEventsPublished\":0,"), "{stats:?}");
}

#[test]
fn a_server_that_is_not_there_can_be_tried_later() {
    // A port that was free a moment ago.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    assert_said!("error_unreachable", alone(&["publish", "n", "1", "--url", &url, "--timeout", "0s"]));
    let retried = alone(&["stats", "--url", &url, "--timeout", "1s"]);
    assert_eq!(retried.code, 3);
    assert!(retried.err.contains("; trying again in "), "{retried:?}");
    let quiet = alone(&["stats", "--url", &url, "--timeout", "1s", "--quiet"]);
    assert!(!quiet.err.contains("trying again"), "{quiet:?}");
    assert_said!("error_subscribe_unreachable", alone(&["subscribe", "--url", &url, "--no-reconnect"]));
    let given_up = alone(&["subscribe", "--url", &url, "--max-failures", "2"]);
    assert_eq!(given_up.code, 3);
    assert!(given_up.err.contains("reconnecting in"), "{given_up:?}");
}

#[test]
fn a_proxy_is_not_asked_for_this_machine() {
    let server = Server::start(&[]);
    let mut command = to(&server, &["stats"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        command.env_remove(name);
    }
    let said = run(command, "");
    assert_eq!(said.code, 0, "{said:?}");
}

/// Something that answers every request with these bytes.
fn foreign(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            _ = stream.read(&mut [0; 4096]);
            _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn what_is_no_server_of_ours_is_told() {
    let url = foreign(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 12\r\nconnection: close\r\n\r\n<html>\u{1b}[2Jhi",
    );
    assert_said!("error_foreign", alone(&["stats", "--url", &url]));
    assert_said!("error_foreign_stream", alone(&["subscribe", "--url", &url]));
    let url = foreign("HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot here!");
    assert_said!("error_not_found", alone(&["publish", "n", "1", "--url", &url]));
    let url = foreign("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let said = run(fanfare(&["publish", "--ndjson", "n", "--url", &url, "--timeout", "0s"]), "1\n\n2\n");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("may have been published or not; 0 events before them were"), "{said:?}");
    let tls = foreign("HTTP/1.1 400 Bad Request\r\n\r\n").replace("http:", "https:");
    let said = alone(&["stats", "--url", &tls, "--timeout", "0s"]);
    assert_eq!(said.code, 3, "{said:?}");
}
