//! Any order of publishes, commits, restarts and reads over a log on disk, judged by the checker of promises. A failure
//! is made as short as it can be, which the simulation does not do.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]
#![allow(unreachable_pub, dead_code, reason = "modules of several tests")]

#[path = "support/memory_disk.rs"]
mod memory_disk;
#[path = "support/promises/mod.rs"]
mod promises;
#[path = "support/tap.rs"]
mod tap;

use fanfare_core::disk::{DiskConfig, DiskSeed, DiskWriter, WriterTurn, open};
use fanfare_core::{
    Cursor, Event, Hub, HubConfig, IdempotencyKey, Identity, Name, Now, Receipt, Resume, Seed, Start, Target,
};
use memory_disk::MemoryDisk;
use promises::{Attempt, From, Item, Outcome, Publish, Reading, Run, Sent, To, Verdict, Who, check};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tap::Tap;

const NOW: Now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };

#[derive(Debug, Clone)]
enum Op {
    /// For one of five, so many events, under one of three keys or none.
    Publish {
        to: u8,
        count: u8,
        key: Option<u8>,
    },
    Commit,
    Maintain,
    /// The process dies with whatever it has not committed.
    Restart,
    /// One of three reads from a place that was given before, or from the beginning.
    Read {
        who: u8,
        from: Option<prop::sample::Index>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u8..5, 1u8..4, prop::option::weighted(0.3, 0u8..3)).prop_map(|(to, count, key)| Op::Publish { to, count, key }),
        3 => Just(Op::Commit),
        1 => Just(Op::Maintain),
        1 => Just(Op::Restart),
        2 => (0u8..3, any::<Option<prop::sample::Index>>()).prop_map(|(who, from)| Op::Read { who, from }),
    ]
}

type Answers = Arc<Mutex<Vec<(usize, usize, Vec<Receipt>)>>>;

struct World {
    disk: MemoryDisk,
    config: DiskConfig,
    hub: Hub<Tap>,
    writer: DiskWriter,
    life: usize,
    run: Run,
    /// Publish, attempt and receipts, as they come.
    answers: Answers,
    keys: BTreeMap<u8, usize>,
    given: Vec<String>,
}

fn start(disk: &MemoryDisk, config: DiskConfig, life: usize) -> (Hub<Tap>, DiskWriter) {
    let number = life as u64 + 1;
    let opened = open(Arc::new(disk.clone()), config, DiskSeed([1, 2, 3, number << 16]), 1_000, NOW).unwrap();
    // Nearly every read is one of the disk.
    let hub_config = HubConfig { log_bytes: 1, ..HubConfig::default() };
    let (hub, _, writer) = Hub::on_disk(hub_config, opened, Seed([number; 6]), NOW);
    (hub, writer)
}

fn who(number: u8) -> (Identity, Who) {
    let name = |text: &str| Name::new(text).unwrap();
    match number {
        0 => (Identity::anonymous(), Who::default()),
        1 => (Identity::anonymous().with_user(name("ada")), Who { user: Some("ada".into()), ..Who::default() }),
        _ => {
            let identity = Identity::anonymous().with_user(name("bob")).with_topics(vec![name("red")]).unwrap();
            (identity, Who { user: Some("bob".into()), topics: vec!["red".into()], ..Who::default() })
        }
    }
}

fn target(number: u8) -> (Target, To) {
    let name = |text: &str| Name::new(text).unwrap();
    match number {
        0 => (Target::User(name("ada")), To::User("ada".into())),
        1 => (Target::User(name("bob")), To::User("bob".into())),
        2 => (Target::Topic(name("red")), To::Topic("red".into())),
        3 => (Target::users(vec![name("ada"), name("bob")]).unwrap(), To::Users(vec!["ada".into(), "bob".into()])),
        _ => (Target::All, To::All),
    }
}

impl World {
    fn new(segments_of: u64) -> Self {
        let (disk, config) =
            (MemoryDisk::default(), DiskConfig { records: Some(64 * segments_of), ..DiskConfig::default() });
        let (hub, writer) = start(&disk, config, 0);
        let (run, answers) = (Run::default(), Answers::default());
        Self { disk, config, hub, writer, life: 0, run, answers, keys: BTreeMap::new(), given: Vec::new() }
    }

    fn publish(&mut self, to: u8, count: u8, key: Option<u8>) {
        let known = key.and_then(|key| self.keys.get(&key).copied());
        let number = known.unwrap_or_else(|| {
            let number = self.run.publishes.len();
            let sent = |index| Sent { payload: format!("{number}.{index}"), to: target(to).1, ephemeral: false };
            // Nobody waits for an answer, and the log keeps the order; a key may come again later.
            let publisher = key.map_or_else(|| "all".to_owned(), |key| format!("key {key}"));
            self.run.publishes.push(Publish {
                publisher,
                events: (0..count).map(sent).collect(),
                attempts: Vec::new(),
            });
            self.keys.extend(key.map(|key| (key, number)));
            number
        });
        let publish = &mut self.run.publishes[number];
        publish.attempts.push(Attempt { life: self.life, outcome: Outcome::Unknown });
        let attempt = publish.attempts.len() - 1;
        let draft = |sent: &Sent| {
            let target = [0, 1, 2, 3, 4].map(target).into_iter().find(|(_, to)| *to == sent.to).unwrap().0;
            self.hub.draft(&Event::new("e", sent.payload.as_str()).unwrap(), &target)
        };
        let drafts = publish.events.iter().map(draft).collect();
        let key = key.map(|key| IdempotencyKey { key: key.to_string().into(), fingerprint: number as u128 });
        let answers = Arc::clone(&self.answers);
        let reply = move |answer: Result<Vec<Receipt>, _>| {
            if let Ok(receipts) = answer {
                answers.lock().unwrap().push((number, attempt, receipts));
            }
        };
        self.hub.publish(drafts, key, NOW, Box::new(reply));
    }

    fn commit(&mut self) {
        while self.writer.turn(&self.hub, NOW) == WriterTurn::Busy {}
        for (number, attempt, receipts) in std::mem::take(&mut *self.answers.lock().unwrap()) {
            let ids: Vec<Option<String>> = receipts.into_iter().map(|receipt| receipt.id).collect();
            self.given.extend(ids.iter().flatten().cloned());
            self.run.publishes[number].attempts[attempt].outcome = Outcome::Acked(ids);
        }
    }

    fn restart(&mut self) {
        self.life += 1;
        (self.hub, self.writer) = start(&self.disk, self.config, self.life);
        self.answers.lock().unwrap().clear();
    }

    /// Page after page to the end.
    fn read(&mut self, number: u8, from: Option<&str>) {
        let (identity, who) = who(number);
        let mut from = from.map_or(From::Earliest, |id| From::After(id.to_owned()));
        loop {
            let start = match &from {
                From::After(id) => Start::After(Cursor::parse(id)),
                _ => Start::Earliest,
            };
            let page = self.hub.history(&identity, start, false, 3, 1 << 20, NOW);
            let mut events = Vec::new();
            let mut parser = fanfare_core::Parser::new(1 << 20);
            page.frames.iter().for_each(|frame| parser.feed(frame, &mut events).unwrap());
            let event = |event: fanfare_core::Parsed| Item::Event { id: event.last_event_id, payload: event.data };
            let next = page.next.to_string();
            let items = events.into_iter().map(event).chain([Item::Place(next.clone())]).collect();
            let verdict = match page.resume {
                Resume::Gap => Verdict::Gap,
                Resume::Reset => Verdict::Reset,
                Resume::Live => Verdict::Live,
                Resume::Resumed => Verdict::Resumed,
            };
            let complete = page.frames.is_empty();
            let next = From::After(next);
            let from_now = std::mem::replace(&mut from, next);
            self.run.readings.push(Reading {
                life: self.life,
                who: who.clone(),
                from: from_now,
                verdict,
                items,
                complete,
            });
            if complete {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_order_of_operations_keeps_the_promises(ops in prop::collection::vec(op(), 0..40), segments_of in 1u64..6) {
        let mut world = World::new(segments_of);
        for op in ops {
            match op {
                Op::Publish { to, count, key } => world.publish(to, count, key),
                Op::Commit => world.commit(),
                Op::Maintain => _ = world.hub.maintain(NOW).unwrap(),
                Op::Restart => world.restart(),
                Op::Read { who, from } => {
                    let from = from.filter(|_| !world.given.is_empty()).map(|from| from.get(&world.given).clone());
                    world.read(who, from.as_deref());
                }
            }
        }
        world.commit();
        world.restart();
        (0..3).for_each(|who| world.read(who, None));
        // Segments are small, and nothing is dropped before there are 64 of them.
        prop_assert_eq!(check(&world.run), []);
    }
}
