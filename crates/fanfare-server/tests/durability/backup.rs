//! A copy of the directory that is made while the server writes to it, file by file, as `cp` does.

use crate::checker::{From, Item, Losses, Run, To, Who};
use crate::places::Dir;
use crate::record::{assert_sound, event, large, publish_ok, read_history};
use crate::support::{PATIENCE, Server};
use crate::wire::Client;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const COPIES: usize = 12;

#[test]
fn a_copy_made_under_load_has_what_was_answered_before_it() {
    let dir = Dir::new("copied");
    // Segments of a hundred events, none of which is dropped here.
    let arguments = ["--data-dir", dir.text(), "--disk-events", "6400", "--disk-size", "64MiB"];
    let server = Server::start(&arguments);
    let address = server.address;
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (run, copies) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut run = Run { losses: Losses::Damaged, ..Run::default() };
            let mut client = Client::new(address);
            while !stop.load(Ordering::Relaxed) {
                let number = answered.load(Ordering::Relaxed);
                publish_ok(&mut run, 1, &mut client, vec![large(&format!("e{number}"), To::All, number * 7 % 3_000)]);
                answered.store(number + 1, Ordering::Release);
            }
            run
        });
        let copies: Vec<(usize, Dir)> = (1..=COPIES)
            .map(|number| {
                let begun = Instant::now();
                while answered.load(Ordering::Acquire) < number * 50 {
                    assert!(begun.elapsed() < PATIENCE, "nothing is published");
                    std::thread::sleep(Duration::from_millis(1));
                }
                (answered.load(Ordering::Acquire), Dir::copy("copy", dir.path()))
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        (publisher.join().expect("a run"), copies)
    });
    server.kill();
    for (before, copy) in &copies {
        let server = Server::start(&["--data-dir", copy.text()]);
        let mut run = run.clone();
        publish_ok(&mut run, 2, &mut Client::new(server.address), vec![event("later", To::All)]);
        run.readings.extend(read_history(server.address, 2, &Who::default(), From::Earliest, false));
        let items = run.readings.iter().flat_map(|reading| &reading.items);
        let payloads: Vec<&str> = items
            .filter_map(|item| if let Item::Event { payload, .. } = item { Some(&**payload) } else { None })
            .collect();
        let kept: Vec<&str> = run.publishes[..*before].iter().map(|publish| &*publish.events[0].payload).collect();
        assert!(payloads.starts_with(&kept), "what {before} answers told of is not all there, in order");
        assert_eq!(payloads.last(), Some(&&*event("later", To::All).payload));
        // What came while it was copied is there or not, and its ids are no others' then.
        for publish in &mut run.publishes[*before..] {
            publish.publisher = "unknown".to_owned();
        }
        run.publishes
            .retain(|publish| publish.publisher != "unknown" || payloads.contains(&&*publish.events[0].payload));
        assert_sound(&run, &format!("a copy after {before} answers"));
    }
}
