//! Chance on a disk: from one number a whole run of lives, faults and operations.

use super::lives::Birth;
use super::record::{End, Expectation, Fault, Record};
use super::world::World;
use crate::chance::Chance;
use crate::model::{From, To};
use crate::publish::Draw;
use fanfare_core::disk::DiskConfig;
use fanfare_core::{Cursor, HubConfig};

/// What kinds of faults a run has. Each alone most of the time, so that exactness is not always excused.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Mood {
    crashes: bool,
    short: bool,
    broken: bool,
    rots: bool,
    jumps: bool,
    stalls: bool,
}

impl Chance {
    fn disk_config(&mut self) -> DiskConfig {
        DiskConfig {
            bytes: self.pick(&[1, 100_000, 200_000, 1 << 20]),
            age_ms: self.pick(&[3_000, 60_000, 7 * 86_400_000, 7 * 86_400_000]),
            records: self.pick(&[None, None, Some(4), Some(30)]),
        }
    }

    fn birth(&mut self) -> Birth {
        let config = HubConfig {
            shards: 1 + self.below(2),
            log_bytes: self.pick(&[1, 1, 4_096, 32_768, 1 << 20]),
            log_age_ms: self.pick(&[500, 600_000]),
            idempotency_keys: self.pick(&[2, 100_000, 100_000, 100_000]),
            ..HubConfig::default()
        };
        let disk_seed = std::array::from_fn(|_| self.next());
        Birth { config, disk: self.disk_config(), seed: self.seed(), disk_seed }
    }

    fn disk_draw(&mut self, world: &World, serial: &mut usize, large: bool) -> Draw {
        let ids: Vec<&str> = world.record.conns.iter().map(|conn| conn.client_id.as_str()).collect();
        let mut draw = self.draw(&ids, serial);
        if large {
            draw.data = format!("{serial} {}", "x".repeat(4_000 + self.below(20_000)));
        }
        draw
    }

    /// The last event id of some client of any life, or something that is none.
    fn last_id(&mut self, world: &World) -> From {
        let live = world.run.as_ref().map(|run| run.hub.cursor());
        if let Some(cursor) = live
            && (world.record.conns.is_empty() || self.one_in(12))
        {
            let beyond = Cursor { position: cursor.position + 1 + self.next() % 9, ..cursor };
            let garbage = ["", "garbage", "1.zz.5", "1.0.0~~"].map(str::to_owned);
            let all = [garbage.to_vec(), vec![beyond.to_string(), cursor.to_string()]].concat();
            return From::After(self.pick(&all));
        }
        // Also an id that a publisher was told.
        if self.one_in(4) && !world.record.sends.is_empty() {
            let send = self.below(world.record.sends.len());
            if let Some((_, Ok(receipts))) = &world.record.sends[send].answer
                && let Some(id) = receipts.iter().find_map(|receipt| receipt.id.clone())
            {
                return From::After(id);
            }
        }
        let conn = self.below(world.record.conns.len());
        let (record, pipe) = (&world.record.conns[conn], world.held[conn].pipe.lock().unwrap());
        let bytes = if pipe.taken.is_empty() { &record.bytes } else { &pipe.taken };
        let seen = if self.one_in(2) { bytes.len() } else { self.below(bytes.len() + 1) };
        let before = if let From::After(id) = &record.from { id.as_str() } else { "" };
        let id = crate::whatwg::read(&bytes[..seen], before).last_event_id;
        if id.is_empty() { From::Live } else { From::After(id) }
    }

    fn from(&mut self, world: &World) -> From {
        match self.below(9) {
            0..=1 => From::Earliest,
            2 => From::Last(self.next() % 12),
            3 => From::Live,
            _ => self.last_id(world),
        }
    }

    /// Some publisher's belief about a topic: right, outdated or made up.
    fn expectations(&mut self, world: &World, draws: &mut [Draw]) -> Vec<Expectation> {
        if !self.one_in(4) {
            return Vec::new();
        }
        let mut expects = Vec::new();
        for (index, draw) in draws.iter_mut().enumerate() {
            if !self.one_in(2) {
                continue;
            }
            let topic = self.below(4) as u8;
            draw.to = To::Topic(topic);
            let of_topic = world.record.sends.iter().rev().find_map(|send| {
                let Some((_, Ok(receipts))) = &send.answer else { return None };
                let mut pairs = send.events.iter().zip(receipts).rev();
                pairs.find(|(event, _)| world.record.events[**event].to == To::Topic(topic))?.1.id.clone()
            });
            let text = match (self.below(5), of_topic) {
                (0, _) => "garbage".to_owned(),
                (1, _) | (_, None) => "none".to_owned(),
                (_, Some(id)) => id,
            };
            expects.push(Expectation { index, text });
        }
        expects
    }
}

/// A whole run.
pub fn run(seed: u64) -> Record {
    let mut chance = Chance(seed.wrapping_mul(0x1000_0001) ^ 0xd15c);
    let mut world = World::new(chance.next());
    play(&mut chance, &mut world);
    world.finish()
}

fn play(chance: &mut Chance, world: &mut World) {
    let kind = chance.below(10);
    let mood = Mood {
        crashes: kind > 0,
        short: matches!(kind, 3 | 4 | 9),
        broken: matches!(kind, 5 | 9),
        rots: kind >= 6,
        jumps: chance.one_in(4),
        stalls: !chance.one_in(4),
    };
    world.record.told.push(format!("{mood:?}"));
    let mut birth = chance.birth();
    while !world.open(&birth) {}
    let mut serial = 0;
    let lives = 2 + chance.below(4);
    for life in 0..lives {
        for _ in 0..10 + chance.below(50) {
            operate(chance, world, mood, &mut serial);
            if world.disk.has_stopped() {
                break;
            }
        }
        if life + 1 < lives {
            die(chance, world, mood);
            if chance.one_in(3) {
                birth = chance.birth();
            } else {
                let fresh = chance.birth();
                (birth.seed, birth.disk_seed) = (fresh.seed, fresh.disk_seed);
            }
            be_born(chance, world, mood, &mut birth);
        }
    }
    if world.disk.has_stopped() {
        world.lose_power();
        let fresh = chance.birth();
        (birth.seed, birth.disk_seed) = (fresh.seed, fresh.disk_seed);
        be_born(chance, world, mood, &mut birth);
    }
    world.touch_disk("all is well", None, |disk| {
        disk.kill();
        disk.leave_room(None, false);
    });
}

fn die(chance: &mut Chance, world: &mut World, mood: Mood) {
    if chance.one_in(3) && !world.disk.has_stopped() {
        world.converge();
    }
    match chance.below(4) {
        0 | 1 if mood.crashes => world.lose_power(),
        2 if mood.crashes => world.kill(),
        _ if world.disk.has_stopped() => world.kill(),
        _ => world.end_well(),
    }
    let open = world.record.lives.last().is_some_and(|life| life.end == End::Open);
    debug_assert!(!open);
    if mood.rots && chance.one_in(2) {
        damage(chance, world, true);
    }
    if mood.jumps && chance.one_in(4) {
        let years = chance.pick(&[-10, 0, 10]);
        world.set_wall(years * 365 * 86_400_000);
    } else {
        world.set_wall(0);
    }
    if chance.one_in(6) {
        world.advance(chance.pick(&[1, 4_000, 100_000]));
    }
}

/// Opens until there is a log: the first tries may be interrupted.
fn be_born(chance: &mut Chance, world: &mut World, mood: Mood, birth: &mut Birth) {
    for attempt in 0.. {
        let interrupted = mood.crashes && attempt < 3 && chance.one_in(4);
        if interrupted {
            let operations = chance.below(12);
            world.touch_disk(&format!("stops after {operations} operations"), None, |disk| disk.stop_after(operations));
        }
        if mood.rots && attempt == 0 && chance.one_in(12) {
            world.touch_disk("a read fails", Some(Fault::Reads), |disk| disk.fail_reads(1));
        }
        let open = world.open(birth);
        if world.disk.has_stopped() {
            if chance.one_in(2) { world.lose_power() } else { world.kill() }
        } else if open {
            return;
        } else if attempt > 3 {
            world.touch_disk("has room again", None, |disk| disk.leave_room(None, false));
            // An operator's way out of a directory that is refused; the backup may be no better.
            if attempt > 5 {
                world.backup = None;
            }
            if attempt > 4 {
                world.restore();
            }
        }
        let fresh = chance.birth();
        (birth.seed, birth.disk_seed) = (fresh.seed, fresh.disk_seed);
        if attempt > 20 {
            world.wrong("no way to open the log");
        }
    }
}

/// Something happens to what is stored.
fn damage(chance: &mut Chance, world: &mut World, down: bool) {
    let names = world.disk.names();
    let of = |ending: &str| names.iter().filter(|name| name.contains(ending)).cloned().collect::<Vec<_>>();
    let (kind, fault) = match chance.below(6) {
        0..=2 => (".log", Fault::RotSegment),
        3..=4 => (".idx", Fault::RotIndex),
        _ => ("manifest", Fault::RotManifest),
    };
    let some = of(kind);
    match chance.below(8) {
        0 if down && !of(".log").is_empty() => {
            let name = chance.pick(&of(".log"));
            let len = chance.below(world.disk.written(&name) + 1);
            world.touch_disk(&format!("{name} is cut to {len}"), Some(Fault::Cut), |disk| disk.cut(&name, len));
        }
        1 if down && !of(".log").is_empty() => {
            let name = chance.pick(&of(".log"));
            world.touch_disk(&format!("{name} is deleted"), Some(Fault::Deleted), |disk| disk.delete(&name));
        }
        2 if down && world.backup.is_some() => world.restore(),
        3 if !down => world.touch_disk("reads fail", Some(Fault::Reads), |disk| disk.fail_reads(1 + chance.below(3))),
        _ if !some.is_empty() => {
            let name = chance.pick(&some);
            let (at, bit) = (chance.below(world.disk.written(&name).max(1)), chance.below(8) as u8);
            world.touch_disk(&format!("bit {bit} of byte {at} of {name} rots"), Some(fault), |disk| {
                disk.flip(&name, at, bit);
            });
        }
        _ => {}
    }
}

fn operate(chance: &mut Chance, world: &mut World, mood: Mood, serial: &mut usize) {
    let open: Vec<usize> = (0..world.record.conns.len()).filter(|conn| world.is_open(*conn)).collect();
    let conn = if open.is_empty() { None } else { Some(chance.pick(&open)) };
    match (chance.below(100), conn) {
        (0..=26, _) => publish(chance, world, serial),
        (27..=41, _) => _ = world.commit(),
        (42..=50, _) if open.len() < 8 => {
            let ids_from = chance.from(world);
            let who = chance.who();
            let budget = if mood.stalls && chance.one_in(3) { chance.below(3_000) } else { usize::MAX };
            if let Some(conn) = world.connect(who, ids_from, budget)
                && !chance.one_in(6)
            {
                world.attach(conn);
            }
        }
        (51..=53, _) => {
            let late: Vec<usize> = open.iter().copied().filter(|conn| !world.held[*conn].attached).collect();
            if !late.is_empty() {
                world.attach(chance.pick(&late));
            }
        }
        (54..=56, Some(conn)) if mood.stalls => world.stall(conn, chance.below(600)),
        (57..=62, Some(conn)) => {
            let budget = if chance.one_in(2) { usize::MAX } else { chance.below(2_000) };
            world.writable(conn, budget);
        }
        (63, Some(conn)) => world.close(conn),
        (64..=69, _) => world.turn(chance.below(2)),
        (70..=74, _) => world.settle(),
        (75..=81, _) => _ = world.read_cold(),
        (82..=85, _) => world.maintain(),
        (86..=88, _) => {
            let from = chance.from(world);
            let who = chance.who();
            let (records, bytes) = (chance.below(40), chance.below(8_000));
            world.history(who, from, chance.one_in(4), records, bytes);
        }
        (89..=91, _) => world.advance(chance.pick(&[1, 40, 1_000, 1_000, 4_000, 30_000])),
        (92, _) => world.back_up(),
        (93, _) if mood.jumps => {
            let years = chance.pick(&[-10, 10]);
            world.set_wall(years * 365 * 86_400_000);
        }
        (94, _) if chance.one_in(3) => world.converge(),
        (95..=99, _) => trouble(chance, world, mood),
        _ => {}
    }
}

fn publish(chance: &mut Chance, world: &mut World, serial: &mut usize) {
    let repeated: Vec<usize> =
        (0..world.record.sends.len()).rev().filter(|send| world.record.sends[*send].key.is_some()).take(6).collect();
    if !repeated.is_empty() && chance.one_in(6) {
        let send = &world.record.sends[chance.pick(&repeated)];
        let (events, (key, fingerprint), expects) = (send.events.clone(), send.key.unwrap(), send.expects.clone());
        if chance.one_in(4) {
            // The key of another request.
            let draws = vec![chance.disk_draw(world, serial, false)];
            return world.publish(draws, Some((key, chance.next().into())), Vec::new());
        }
        return world.send(events, Some((key, fingerprint)), expects);
    }
    let count = if chance.one_in(4) { 1 + chance.below(7) } else { 1 };
    let large = chance.one_in(5);
    let mut draws: Vec<Draw> = (0..count).map(|_| chance.disk_draw(world, serial, large)).collect();
    let expects = chance.expectations(world, &mut draws);
    let key = chance.one_in(4).then(|| (*serial as u8, chance.next().into()));
    world.publish(draws, key, expects);
}

fn trouble(chance: &mut Chance, world: &mut World, mood: Mood) {
    match chance.below(5) {
        0 if mood.crashes => {
            let operations = chance.below(9);
            world.touch_disk(&format!("stops after {operations} operations"), None, |disk| disk.stop_after(operations));
        }
        1 | 2 if mood.short => {
            if chance.one_in(2) {
                world.leave_room(Some(chance.next() % 3_000), chance.one_in(2));
            } else {
                world.leave_room(None, false);
            }
        }
        3 if mood.broken => {
            let after = chance.below(4);
            if chance.one_in(2) {
                world.touch_disk(&format!("sync {after} from now fails"), None, |disk| disk.fail_sync(after));
            } else {
                world.touch_disk(&format!("write {after} from now fails"), None, |disk| disk.fail_write(after));
            }
        }
        4 if mood.rots => damage(chance, world, false),
        _ => {}
    }
}
