//! `fanfare stats`, `clients` and `disconnect`.

use crate::assert_said;
use crate::said::{on_terminal, piped, to};
use crate::support::Server;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};

#[test]
fn statistics_are_a_table_for_people_and_json_for_programs() {
    let server = Server::start(&["--max-clients", "100"]);
    let _streams: Vec<_> =
        ["ann", "ann", "bob"].map(|user| server.subscribe(&format!("/api/sse?userId={user}"))).into();
    assert_eq!(piped(&server, &["publish", "n", "1", "--user", "eve"], "").code, 0);
    let mut terminal = on_terminal(&server, &["stats"], &[]);
    // How much was written to the streams so far, and how long they are open, differs.
    let lines: Vec<_> = terminal.out.lines().filter(|line| !line.contains("Bytes")).collect();
    terminal.out = lines.join(
        "
",
    );
    assert_said!("stats_terminal", terminal);
    let stats: Value = serde_json::from_str(&piped(&server, &["stats"], "").out).unwrap();
    assert_eq!((&stats["totalClients"], &stats["clientsByUser"]), (&json!(3), &json!({ "ann": 2, "bob": 1 })));
    assert_said!("stats_user", piped(&server, &["stats", "--user", "ann"], ""));
}

#[test]
fn watching_tells_again_and_again() {
    let server = Server::start(&[]);
    let mut child = to(&server, &["stats", "--watch", "20ms"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.take(3) {
        assert_eq!(serde_json::from_str::<Value>(&line.unwrap()).unwrap()["totalClients"], 0);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn watching_outlives_the_server() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    assert_eq!(piped(&server, &["publish", "n", "1"], "").code, 0);
    let mut child = to(&server, &["stats", "--watch", "20ms", "--timeout", "0s"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut published = move || {
        let line = lines.next().expect("it goes on").unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["totalEventsPublished"].clone()
    };
    assert_eq!(published(), 1);
    server.kill();
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(notes.next().unwrap().unwrap().contains("is not available"));
    let _server = Server::spawn(crate::support::fanfare(&["--listen", &address]));
    while published() != 0 {}
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_user_may_be_called_like_a_setting() {
    let server = Server::start(&[]);
    let _stream = server.subscribe("/api/sse?userId=pingInterval");
    let said = on_terminal(&server, &["stats"], &[("NO_COLOR", "1")]);
    let line = said.out.lines().find(|line| line.starts_with("  pingInterval")).unwrap();
    assert_eq!(line.split_whitespace().last(), Some("1"), "{said:?}");
}

#[test]
fn clients_are_listed_and_ended() {
    let server = Server::start(&[]);
    let _ann = server.subscribe("/api/sse?userId=ann&sessionId=s1&topic=news&topic=sport&page=home");
    let _eve = server.subscribe("/api/sse?userId=eve&sessionId=a%20b");
    assert_said!("clients_terminal", on_terminal(&server, &["clients"], &[]));
    assert_said!("clients", piped(&server, &["clients", "--user", "ann"], ""));
    assert_said!("disconnect_nobody", piped(&server, &["disconnect", "nobody"], ""));
    let client: Value = serde_json::from_str(&piped(&server, &["clients", "--user", "ann"], "").out).unwrap();
    assert_said!("disconnect", piped(&server, &["disconnect", client["clientId"].as_str().unwrap()], ""));
    assert_said!("disconnect_user_terminal", on_terminal(&server, &["disconnect", "--user", "ann"], &[]));
}

#[test]
fn more_clients_than_a_page_are_all_listed() {
    let server = Server::start(&["--max-clients", "1500"]);
    let _streams: Vec<_> = (0..1_100).map(|_| server.subscribe("/api/sse?userId=ann")).collect();
    let said = piped(&server, &["clients"], "");
    let ids: std::collections::BTreeSet<&str> = said.out.lines().collect();
    assert_eq!((said.code, ids.len(), said.out.lines().count()), (0, 1_100, 1_100));
}
