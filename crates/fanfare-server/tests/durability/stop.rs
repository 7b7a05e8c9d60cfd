//! A graceful stop while events come in.

use crate::chance::{Chance, seed};
use crate::checker::{From, Run};
use crate::load::{Publisher, Subscriber, readers};
use crate::places::Dir;
use crate::record::{assert_sound, read_history};
use crate::support::Server;
use std::time::Duration;

#[test]
fn stopped_while_events_come_in_it_keeps_what_it_answered() {
    let seed = seed();
    eprintln!("stop: FANFARE_SEED={seed}");
    let mut chance = Chance::new(seed);
    let dir = Dir::new("stop");
    let arguments = ["--data-dir", dir.text(), "--drain", "300ms"];
    let mut publishers: Vec<_> =
        (0..4).map(|number| Publisher::new(format!("p{number}"), chance.fork(), 2_000)).collect();
    let mut subscribers: Vec<_> = readers().into_iter().map(|who| Subscriber::new(who, chance.fork())).collect();
    let mut run = Run::default();
    for life in 1..=8 {
        let mut server = Server::start(&arguments);
        let address = server.address;
        std::thread::scope(|scope| {
            for subscriber in &mut subscribers {
                scope.spawn(move || subscriber.run(address, life));
            }
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address, life));
            }
            std::thread::sleep(Duration::from_millis(chance.below(130) as u64 + 20));
            server.signal("TERM");
            assert_eq!(server.wait().code(), Some(0));
        });
    }
    let server = Server::start(&arguments);
    run.publishes = publishers.into_iter().flat_map(Publisher::finish).collect();
    run.readings.extend(subscribers.into_iter().flat_map(|subscriber| subscriber.readings));
    for who in readers() {
        run.readings.extend(read_history(server.address, 9, &who, From::Earliest, true));
    }
    assert_sound(&run, &format!("stop, FANFARE_SEED={seed}"));
}
