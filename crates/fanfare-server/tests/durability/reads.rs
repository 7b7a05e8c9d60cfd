//! Reads that fail, through `strace`: what cannot be read is told, and the server lives.

use crate::checker::{From, Item, Losses, Reading, Run, To, Verdict, Who};
use crate::places::Dir;
use crate::record::{Listener, assert_sound, event, large, publish_ok, read_history, user};
use crate::support::Server;
use crate::sync::traced_files;
use crate::wire::Client;

/// Every so many reads one fails, of the segments or of the indices.
#[test]
fn reads_that_fail_are_told_and_harm_nobody_else() {
    for (ending, inject) in [
        (".log", "pread64:error=EIO:when=2+3"),
        (".log", "pread64:error=EIO:when=1+1"),
        (".idx", "pread64:error=EIO:when=40+3"),
    ] {
        let dir = Dir::new("read-error");
        // Segments of forty events.
        let arguments = ["--data-dir", dir.text(), "--disk-events", "2560", "--history-size", "64KiB"];
        let mut run = Run { losses: Losses::Damaged, ..Run::default() };
        let server = Server::start(&arguments);
        let mut client = Client::new(server.address);
        let mut ids = Vec::new();
        for round in 0..30 {
            let to = |n: usize| if n.is_multiple_of(2) { To::All } else { To::User("ada".into()) };
            let batch = (0..10).map(|n| large(&format!("{round}-{n}"), to(n), 2_000)).collect();
            ids.extend(publish_ok(&mut run, 1, &mut client, batch));
        }
        dir.wait_for_indices();
        server.kill();
        let mut names = dir.names();
        names.retain(|name| name.strip_suffix(ending).is_some());
        if ending == ".log" {
            // The newest is read whole by the start, which may refuse.
            names.pop();
        }
        let paths: Vec<String> =
            names.iter().map(|name| dir.path().join(name).to_string_lossy().into_owned()).collect();
        let server = Server::spawn(traced_files(inject, &paths, &arguments));
        let last = event("the last one", To::All);
        publish_ok(&mut run, 2, &mut Client::new(server.address), vec![last.clone()]);
        for who in [user("ada"), user("bob"), Who::default()] {
            for from in [From::Earliest, From::After(ids[0].clone()), From::After(ids[170].clone())] {
                run.readings.extend(read_history(server.address, 2, &who, from.clone(), false));
                let mut listener = Listener::open(server.address, 2, &who, from).expect("a stream");
                listener.read_to(&last.payload);
                run.readings.push(listener.reading);
            }
        }
        let told = |reading: &Reading| {
            reading.verdict == Verdict::Gap || reading.items.iter().any(|item| matches!(item, Item::Gap(_)))
        };
        assert!(run.readings.iter().any(told), "{inject} of {ending}: no read failed");
        server.kill();
        // The disk is well again, and so is the log.
        let server = Server::start(&arguments);
        let mut well = Run { losses: Losses::Nothing, readings: Vec::new(), ..run.clone() };
        for who in [user("ada"), user("bob")] {
            well.readings.extend(read_history(server.address, 3, &who, From::Earliest, true));
        }
        assert_sound(&run, &format!("{inject} of {ending}"));
        assert_sound(&well, &format!("after {inject} of {ending}"));
    }
}
