//! A hub with its shards, and over a disk its writer, all turned by hand; and the sinks it writes to.

use super::memory_disk::MemoryDisk;
use super::people;
use super::streams::Written;
use fanfare_core::disk::{DiskConfig, DiskSeed, DiskWriter, OpenError, OpenReport, WriterTurn, open};
use fanfare_core::{
    ConnectionOptions, Cursor, Encoding, Ending, Event, Hub, HubConfig, IdempotencyKey, Input, MemoryStore, Now,
    PublishError, Receipt, Registration, Seed, Shard, Sink, Start, Token, Turn,
};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

/// The far end of a connection.
#[derive(Debug, Default)]
pub struct Far {
    pub taken: Vec<u8>,
    /// Bytes it takes before it is full.
    pub room: usize,
    pub full: bool,
    /// How often the shard was told that it takes more; it may hear of it late.
    pub told: usize,
    pub gone: bool,
}

pub struct Tap(Arc<Mutex<Far>>);

impl Sink for Tap {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut far = self.0.lock().unwrap();
        if far.full {
            assert!(far.told > 0, "written although it was full");
            far.told -= 1;
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let took = offered.min(far.room);
        let mut left = took;
        for slice in slices {
            let part = left.min(slice.len());
            far.taken.extend_from_slice(&slice[..part]);
            left -= part;
        }
        far.room -= took;
        far.full = took < offered;
        if took == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(took) }
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(if self.0.lock().unwrap().gone { Input::Ended } else { Input::Open })
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}

/// A connection, seen from its far end.
pub struct Line {
    pub reader: usize,
    pub registration: Registration,
    pub far: Arc<Mutex<Far>>,
}

/// What a publish comes to, once it is known.
type Answer = Arc<Mutex<Option<Result<Vec<Receipt>, PublishError>>>>;

/// An event on its way, and its answer.
pub struct Sent {
    pub target: usize,
    pub data: String,
    pub answer: Answer,
}

pub struct Node {
    pub hub: Hub<Tap>,
    pub shards: Vec<Shard<Tap>>,
    pub writer: Option<DiskWriter>,
    pub now: Now,
}

/// What can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    pub shards: usize,
    /// Of the log in memory.
    pub log_bytes: usize,
    pub disk: DiskConfig,
}

impl Choice {
    fn hub(self) -> HubConfig {
        HubConfig { shards: self.shards, log_bytes: self.log_bytes, max_clients: 64, ..HubConfig::default() }
    }
}

impl Node {
    pub fn in_memory(choice: Choice, number: u64, now: Now) -> Self {
        let (hub, shards) =
            Hub::new(choice.hub(), Box::new(MemoryStore), Seed([1, 2, 3, number, number << 16, 5]), now);
        Self { hub, shards, writer: None, now }
    }

    pub fn on_disk(disk: &MemoryDisk, choice: Choice, number: u64, now: Now) -> Result<(Self, OpenReport), OpenError> {
        let opened = open(Arc::new(disk.clone()), choice.disk, DiskSeed([7, 8, 9, number << 16]), 100, now)?;
        let report = opened.report;
        let (hub, shards, writer) = Hub::on_disk(choice.hub(), opened, Seed([1, 2, 3, number, 0, 5]), now);
        Ok((Self { hub, shards, writer: Some(writer), now }, report))
    }

    /// Hands events over; they are answered when the writer has turned.
    pub fn publish(&self, events: Vec<(usize, Event)>, key: Option<&str>) -> Vec<Sent> {
        let answer = Answer::default();
        let drafts = events.iter().map(|(target, event)| self.hub.draft(event, &people::target(*target))).collect();
        let key = key.map(|key| IdempotencyKey { key: key.into(), fingerprint: 5 });
        let reply = Arc::clone(&answer);
        self.hub.publish(drafts, key, self.now, Box::new(move |answer| *reply.lock().unwrap() = Some(answer)));
        let sent = |(target, event): &(usize, Event)| Sent {
            target: *target,
            data: event.data().to_owned(),
            answer: Arc::clone(&answer),
        };
        events.iter().map(sent).collect()
    }

    pub fn connect(&self, reader: usize, start: Start, room: usize) -> Option<Line> {
        let options = ConnectionOptions::default();
        let registration = self.hub.register(&people::reader(reader), start, options, self.now).ok()?;
        let far = Arc::new(Mutex::new(Far { room, ..Far::default() }));
        let data = format!(r#"{{"resume":"{}"}}"#, registration.resume.as_str());
        let connected = registration.connected_frame(&data);
        self.hub.attach(registration.token(), Tap(Arc::clone(&far)), Vec::new(), connected, Encoding::Identity);
        Some(Line { reader, registration, far })
    }

    /// The far end takes so much more.
    pub fn give_room(&self, line: &Line, room: usize) {
        let mut far = line.far.lock().unwrap();
        far.room = far.room.saturating_add(room);
        far.told += 1;
        drop(far);
        self.hub.writable(line.registration.token());
    }

    /// Turns everything until there is nothing left to do.
    pub fn settle(&mut self) {
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 100_000, "it does not come to rest");
            let mut busy = false;
            if let Some(writer) = &mut self.writer {
                busy |= writer.turn(&self.hub, self.now) == WriterTurn::Busy;
            }
            for shard in &mut self.shards {
                busy |= shard.turn(self.now) == Turn::Busy || !shard.fall_asleep();
                shard.wake_up();
            }
            // Last, since shards ask for it.
            while self.hub.read_cold() {
                busy = true;
            }
            if !busy {
                return;
            }
        }
    }
}

/// What came of events that were answered, in the order of their places.
pub fn settled(sent: Vec<Sent>) -> Vec<Written> {
    let mut written = Vec::new();
    let mut index = 0;
    let mut before: Option<Answer> = None;
    for Sent { target, data, answer } in sent {
        index = if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &answer)) { index + 1 } else { 0 };
        before = Some(Arc::clone(&answer));
        let answer = answer.lock().unwrap();
        let id = match answer.as_ref().expect("every publish is answered") {
            Ok(receipts) => receipts[index].id.clone(),
            Err(_) => None,
        };
        if let Some(cursor) = id.as_deref().and_then(Cursor::parse) {
            written.push(Written { cursor, target, data });
        }
    }
    written.sort_by_key(|written| written.cursor.position);
    written
}
