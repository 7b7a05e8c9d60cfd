//! Any sequence of operations on a hub in memory or over a disk: everybody gets what is theirs, once and in order, or is
//! told what they do not get.

use super::input::Input;
use super::memory_disk::MemoryDisk;
use super::node::{Choice, Line, Node, Sent, settled};
use super::people::{READERS, TARGETS};
use super::streams::Ledger;
use super::tell::tell;
use fanfare_core::disk::DiskConfig;
use fanfare_core::{Cursor, Disconnect, Event, Now, Start};

/// Longer histories say no more, and are slower.
const OPERATIONS: usize = 300;
const LINES: usize = 12;

struct World {
    node: Node,
    disk: Option<MemoryDisk>,
    choice: Choice,
    starts: u64,
    ledger: Ledger,
    sent: Vec<Sent>,
    lines: Vec<Line>,
    /// Ids that some reader has seen.
    seen: Vec<String>,
    number: usize,
}

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        world.operate(&mut input);
    }
    world.end();
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let disk = input.one_in(2).then(MemoryDisk::default);
        let shards = input.below(2) + 1;
        let log_bytes = [1, 2_000, 1 << 20][input.below(3)];
        let records = [None, Some(64 * 3), Some(10)][input.below(3)];
        let choice =
            Choice { shards, log_bytes, disk: DiskConfig { bytes: 1 << 20, records, ..DiskConfig::default() } };
        let node = start(disk.as_ref(), choice, 1, Now { mono_ms: 0, wall_ms: 1_700_000_000_000 });
        Self {
            node,
            disk,
            choice,
            starts: 1,
            ledger: Ledger::default(),
            sent: Vec::new(),
            lines: Vec::new(),
            seen: Vec::new(),
            number: 0,
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let operation = input.below(16);
        tell(|| format!("operation {operation}, {:?}, {} bytes left", self.node.now, input.left()));
        match operation {
            0..=3 => self.publish(input),
            4 | 5 if self.lines.len() < LINES => {
                let start = match input.below(5) {
                    0 => Start::Live,
                    1 => Start::Earliest,
                    2 => Start::Last(u64::from(input.byte() % 20)),
                    _ if self.seen.is_empty() => Start::After(None),
                    _ => Start::After(Cursor::parse(&self.seen[input.below(self.seen.len())])),
                };
                let room = if input.one_in(3) { input.number() % 2_000 } else { usize::MAX };
                let reader = input.below(READERS);
                tell(|| format!("reader {reader} from {start:?} with room for {room}"));
                self.lines.extend(self.node.connect(reader, start, room));
            }
            6 => {
                let shard = input.below(self.node.shards.len());
                self.node.shards[shard].turn(self.node.now);
            }
            7 => {
                if let Some(writer) = &mut self.node.writer {
                    writer.turn(&self.node.hub, self.node.now);
                }
            }
            8 => _ = self.node.hub.read_cold(),
            9 => _ = self.node.hub.maintain(self.node.now).unwrap(),
            10 if !self.lines.is_empty() => {
                let line = &self.lines[input.below(self.lines.len())];
                let room = input.number() % 3_000;
                self.node.give_room(line, room);
            }
            11 if !self.lines.is_empty() => {
                let line = &self.lines[input.below(self.lines.len())];
                // It takes nothing more for now.
                line.far.lock().unwrap().room = input.below(100);
            }
            12 if !self.lines.is_empty() => self.disconnect(input),
            13 => {
                let ms = [1, 1_000, 29_000, 61_000][input.below(4)];
                self.node.now.mono_ms += ms;
                self.node.now.wall_ms += ms;
            }
            14 if input.one_in(3) => self.restart(),
            _ => self.node.settle(),
        }
    }

    fn publish(&mut self, input: &mut Input<'_>) {
        let count = if input.one_in(4) { input.below(20) + 1 } else { 1 };
        let mut events = Vec::new();
        for _ in 0..count {
            self.number += 1;
            let target = input.below(TARGETS);
            let pad = if input.one_in(8) { 30_000 } else { input.below(200) };
            let ephemeral = input.one_in(6);
            let data = format!("{} {}", self.number, "x".repeat(pad));
            if ephemeral {
                self.ledger.ephemeral.push((target, data.clone()));
            }
            events.push((target, Event::new("e", data).unwrap().with_ephemeral(ephemeral)));
        }
        tell(|| format!("publish {:.120?}", events.iter().map(|(target, _)| target).collect::<Vec<_>>()));
        let key = input.one_in(5).then(|| format!("key-{}", self.number));
        self.sent.extend(self.node.publish(events, key.as_deref()));
    }

    fn disconnect(&mut self, input: &mut Input<'_>) {
        let line = self.lines.remove(input.below(self.lines.len()));
        let token = line.registration.token();
        if input.one_in(2) {
            line.far.lock().unwrap().gone = true;
            let shard = line.registration.client_id.shard(self.choice.shards);
            self.node.shards[shard].ready(token, true, false, self.node.now);
        } else {
            self.node.hub.close(token, Disconnect::Disconnected);
        }
        self.node.settle();
        self.collect();
        self.judge(&line, false);
    }

    /// What is answered by now is written.
    fn collect(&mut self) {
        self.ledger.written.extend(settled(std::mem::take(&mut self.sent)));
    }

    fn judge(&mut self, line: &Line, complete: bool) {
        let taken = std::mem::take(&mut line.far.lock().unwrap().taken);
        tell(|| format!("reader {}, {:?}: {}", line.reader, line.registration, String::from_utf8_lossy(&taken)));
        if complete {
            self.ledger.judge_complete(line.reader, &taken, self.node.hub.cursor().position);
        } else {
            self.ledger.judge(line.reader, &taken);
        }
        let stream = super::whatwg::read(&taken, "");
        self.seen.extend(stream.blocks.into_iter().filter_map(|block| block.id));
    }

    /// Everybody takes everything there is.
    fn converge(&mut self) {
        self.node.settle();
        for line in &self.lines {
            self.node.give_room(line, usize::MAX);
        }
        self.node.settle();
        self.collect();
        for line in std::mem::take(&mut self.lines) {
            // Some were ended for what they did, or did not do.
            let open = self.node.hub.close(line.registration.token(), Disconnect::Disconnected);
            self.judge(&line, open);
        }
    }

    fn restart(&mut self) {
        self.node.settle();
        self.collect();
        for line in std::mem::take(&mut self.lines) {
            self.judge(&line, false);
        }
        self.starts += 1;
        self.node = start(self.disk.as_ref(), self.choice, self.starts, self.node.now);
        if self.disk.is_none() {
            // Another log: nothing of the last one comes back.
            self.ledger.written.clear();
            self.ledger.ephemeral.clear();
        }
    }

    fn end(mut self) {
        self.converge();
        if let Some(disk) = &self.disk {
            let mut problems = Vec::new();
            fanfare_core::disk::verify(disk, |problem| problems.push(problem)).unwrap();
            assert_eq!(problems, []);
            self.restart();
        }
        for reader in 0..READERS {
            self.lines.extend(self.node.connect(reader, Start::Earliest, usize::MAX));
            let cursor = self.seen.get(self.number % self.seen.len().max(1)).and_then(|id| Cursor::parse(id));
            self.lines.extend(self.node.connect(reader, Start::After(cursor), usize::MAX));
        }
        self.converge();
    }
}

fn start(disk: Option<&MemoryDisk>, choice: Choice, number: u64, now: Now) -> Node {
    match disk {
        None => Node::in_memory(choice, number, now),
        Some(disk) => {
            let (node, report) = Node::on_disk(disk, choice, number, now).unwrap();
            assert_eq!((report.holes, report.torn), (0, false));
            node
        }
    }
}
