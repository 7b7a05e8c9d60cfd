//! Chance: from one number a whole run, its settings, its operations and their order.

use super::model::{From, To, Trace, Who};
use super::publish::{Draw, Key};
use super::world::World;
use fanfare_core::limits::DATA_MAX;
use fanfare_core::{ConnectionOptions, Disconnect, HubConfig, SlowPolicy};
use std::collections::{BTreeMap, BTreeSet};

/// splitmix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn maybe(&mut self, end: usize) -> Option<u8> {
        self.one_in(2).then(|| self.below(end) as u8)
    }

    pub fn seed(&mut self) -> [u64; 6] {
        std::array::from_fn(|_| self.next())
    }

    fn config(&mut self) -> HubConfig {
        HubConfig {
            shards: 1 + self.below(3),
            max_clients: self.pick(&[usize::MAX, usize::MAX, 6]),
            ping_interval_ms: self.pick(&[1_000, 15_000, 30_000]),
            client_timeout_ms: self.pick(&[20_000, 60_000]),
            stall_timeout_ms: self.pick(&[5_000, 300_000]),
            slow_policy: self.pick(&SlowPolicy::ALL),
            lifetime_ms: self.pick(&[None, None, Some(20_000)]),
            log_bytes: self.pick(&[1, 8_192, 32_768, 1 << 20, 64 << 20]),
            log_age_ms: self.pick(&[2_000, 600_000, 600_000]),
            idempotency_keys: self.pick(&[3, 100_000]),
            retry_ms: self.pick(&[(2_000, 6_000), (1, 1)]),
        }
    }

    fn options(&mut self) -> ConnectionOptions {
        let slow_policy = self.one_in(2).then(|| self.pick(&SlowPolicy::ALL));
        ConnectionOptions { comment_heartbeat: self.one_in(5), slow_policy }
    }

    pub fn metadata(&mut self) -> Vec<(u8, u8)> {
        (0..2).filter_map(|key| self.maybe(2).map(|value| (key, value))).collect()
    }

    pub fn who(&mut self) -> Who {
        let topics: BTreeSet<u8> = (0..self.below(3)).map(|_| self.below(4) as u8).collect();
        if self.one_in(6) {
            return Who::default();
        }
        Who { user: self.maybe(4), session: self.maybe(4), topics, metadata: self.metadata() }
    }

    /// `ids` are the names of all connections so far.
    pub fn to(&mut self, ids: &[&str]) -> To {
        let number = self.below(4) as u8;
        match self.below(14) {
            0..=2 => To::All,
            3..=4 => To::User(number),
            5 => To::Users((0..self.below(5)).map(|_| self.below(5) as u8).collect()),
            6..=7 => To::Topic(number),
            8 => To::Session(number),
            9..=10 if !ids.is_empty() => {
                let conn = self.below(ids.len());
                if self.one_in(3) { To::Forged(forged(ids[conn])) } else { To::Client(conn) }
            }
            _ => {
                let (user, session, metadata) = (self.maybe(4), self.maybe(4), self.metadata());
                if user.is_none() && session.is_none() && metadata.is_empty() {
                    return To::All;
                }
                To::Filter { user, session, metadata }
            }
        }
    }

    pub fn draw(&mut self, ids: &[&str], serial: &mut usize) -> Draw {
        *serial += 1;
        let (to, serial) = (self.to(ids), *serial);
        let data = match self.below(6) {
            0 => format!("{serial}\n\ndata: x\r\nid: 9\r: y\n"),
            1 => format!("{{\"n\":{serial},\"pad\":\"{}\"}}", "ü".repeat(self.below(300))),
            2 => format!(" {serial}"),
            _ => format!("{{\"n\":{serial}}}"),
        };
        let mut draw = Draw::new(to, &data);
        self.pick(&["update", "message", "open: x", "grün"]).clone_into(&mut draw.event_type);
        draw.own_id = self.one_in(5).then(|| self.pick(&["order-7", "1.a.b", "x"]).to_owned());
        draw.retry = self.one_in(9).then(|| self.next() % 9_000);
        draw.ephemeral = self.one_in(4);
        draw
    }

    /// An event that may expect one before it.
    fn draw_expecting(&mut self, world: &World, plans: &mut Plans) -> Draw {
        let mut draw = self.draw(&ids(world), &mut plans.serial);
        if let (To::Topic(topic), false) = (&draw.to, draw.ephemeral) {
            draw.expected = (!self.one_in(3)).then(|| self.expected(world, *topic));
        }
        draw
    }

    /// What a publisher may take to be the last of a topic.
    fn expected(&mut self, world: &World, topic: u8) -> String {
        let hub = world.hub_number();
        let mut here = world.trace.published.iter().rev().filter(|event| event.hub == hub && event.durable());
        let mut of_topic =
            here.clone().filter(|event| event.to == To::Topic(topic)).filter_map(|event| event.id.clone());
        let cursor = world.hub.cursor();
        let ahead = fanfare_core::Cursor { position: cursor.position + self.next() % 4, ..cursor }.to_string();
        let own = (of_topic.next(), of_topic.next());
        match (self.below(8), own) {
            (0..=3, (Some(last), _)) => last,
            (0..=4, (None, _)) => "none".to_owned(),
            (4, (_, Some(before))) => before,
            (5, (Some(last), _)) if self.one_in(2) => last.replacen("1.", "1.1", 1),
            (5, _) => self.pick(&["none", "garbage", "", "1.zz.5"]).to_owned(),
            // Of an event before it in the same list, with luck.
            (6, _) => ahead,
            _ => here.find_map(|event| event.id.clone()).unwrap_or_default(),
        }
    }

    /// Events, and the name under which they are sent: sometimes the same ones under the same name again, sometimes
    /// others under a name that was used.
    fn request(&mut self, world: &World, plans: &mut Plans, most: usize) -> (Key, Vec<Draw>) {
        let keyed = self.one_in(4);
        let name = self.below(5) as u8;
        if let (true, Some((fingerprint, draws))) = (keyed && self.one_in(2), plans.sent.get(&name)) {
            // The fingerprint says that it is the same; the data shows if it was published again.
            let (fingerprint, mut draws) = (*fingerprint, draws.clone());
            for draw in &mut draws {
                plans.serial += 1;
                draw.data = format!("{{\"again\":{}}}", plans.serial);
            }
            return (Some((name, fingerprint)), draws);
        }
        let draws: Vec<Draw> = (0..=self.below(most)).map(|_| self.draw_expecting(world, plans)).collect();
        if !keyed {
            return (None, draws);
        }
        let fingerprint = plans.serial as u128;
        plans.sent.insert(name, (fingerprint, draws.clone()));
        (Some((name, fingerprint)), draws)
    }

    /// The last event id a client would send: after all its bytes, or cut somewhere before.
    fn offered(&mut self, world: &World) -> From {
        if world.conns.is_empty() || self.one_in(12) {
            let cursor = world.hub.cursor();
            let beyond = fanfare_core::Cursor { position: cursor.position + 1 + self.next() % 9, ..cursor };
            let garbage = ["", "garbage", "1.zz.5", "42", "1.0.0~~"].map(str::to_owned);
            let long = format!("{cursor}~{}", "x".repeat(600));
            let mut all = garbage.to_vec();
            all.extend([beyond.to_string(), long, cursor.to_string()]);
            return From::After(self.pick(&all));
        }
        let conn = self.below(world.conns.len());
        let pipe = world.conns[conn].pipe.lock().unwrap();
        let bytes = if pipe.taken.is_empty() { &world.trace.conns[conn].bytes } else { &pipe.taken };
        let seen = if self.one_in(2) { bytes.len() } else { self.below(bytes.len() + 1) };
        let before = if let From::After(id) = &world.trace.conns[conn].from { id.as_str() } else { "" };
        let id = crate::whatwg::read(&bytes[..seen], before).last_event_id;
        if id.is_empty() { From::Live } else { From::After(id) }
    }
}

fn ids(world: &World) -> Vec<&str> {
    world.trace.conns.iter().map(|conn| conn.client_id.as_str()).collect()
}

/// The same slot and generation with another tag.
pub fn forged(client_id: &str) -> String {
    let last = if client_id.ends_with('a') { 'b' } else { 'a' };
    format!("{}{last}", &client_id[..client_id.len() - 1])
}

/// What a run has sent so far.
#[derive(Default)]
pub struct Plans {
    serial: usize,
    /// The newest request under each idempotency key.
    sent: BTreeMap<u8, (u128, Vec<Draw>)>,
}

/// How rough a run is.
struct Mood {
    stalls: bool,
    floods: bool,
    huge: bool,
}

/// A whole run.
pub fn run(seed: u64) -> Trace {
    let mut chance = Chance(seed.wrapping_mul(0x1000_0001));
    let config = chance.config();
    let mut world = World::new(config, chance.seed());
    play(&mut chance, &mut world);
    world.into_trace()
}

/// Plays into a world that a caller may look at when the engine panics.
pub fn play(chance: &mut Chance, world: &mut World) {
    let huge = chance.one_in(16);
    let mood = Mood { stalls: huge || !chance.one_in(3), floods: chance.one_in(3), huge };
    let mut plans = Plans::default();
    for _ in 0..40 + chance.below(120) {
        operate(chance, world, &mood, &mut plans);
    }
    if chance.one_in(3) {
        world.settle();
    }
    world.converge();
    match chance.below(6) {
        0 => world.drain(Disconnect::Shutdown, 0),
        1 => world.destroy(),
        _ => {}
    }
    if world.closed {
        world.publish(vec![chance.draw_expecting(world, &mut plans)]);
    }
    world.finish(chance.one_in(2));
}

fn operate(chance: &mut Chance, world: &mut World, mood: &Mood, plans: &mut Plans) {
    let owned: Vec<usize> = (0..world.conns.len()).filter(|conn| world.is_owned(*conn)).collect();
    let conn = if owned.is_empty() { None } else { Some(chance.pick(&owned)) };
    match (chance.below(104), conn) {
        (0..=27, _) => {
            let most = chance.pick(&[1, 1, 1, 1, 1, 7]);
            let (key, draws) = chance.request(world, plans, most);
            world.publish_under(key, draws);
        }
        (28..=35, _) if owned.len() < 12 => {
            let who = chance.who();
            let from = match chance.below(8) {
                0 => From::Earliest,
                1 => From::Last(chance.next() % 12),
                2..=4 => From::Live,
                _ => chance.offered(world),
            };
            let options = chance.options();
            if let Some(conn) = world.connect_with(who, from, options) {
                if chance.one_in(3) {
                    world.compress(conn);
                }
                if mood.stalls && chance.one_in(3) {
                    // Also room for the greeting and not one byte more.
                    let budget = if chance.one_in(3) { world.greeting(conn).len() } else { chance.below(400) };
                    world.pipe(conn, &format!("begins with {budget} bytes"), |pipe| pipe.budget = budget);
                }
                if chance.one_in(3) {
                    world.pipe(conn, "lingers", |pipe| pipe.lingers = true);
                }
                if chance.one_in(40) {
                    world.trace.conns[conn].causes.push(Disconnect::Error);
                    world.pipe(conn, "cannot be attached", |pipe| pipe.attach_fails = true);
                }
                if !chance.one_in(4) {
                    world.attach(conn);
                }
            }
        }
        (36..=39, _) => {
            // Also such as have ended meanwhile.
            let late: Vec<usize> = (0..world.conns.len())
                .filter(|conn| world.trace.conns[*conn].attached.is_none())
                .filter(|conn| world.conns[*conn].hub == world.hub_number())
                .collect();
            if !late.is_empty() {
                world.attach(chance.pick(&late));
            }
        }
        (40..=45, Some(conn)) if mood.stalls => {
            let budget = chance.below(300);
            world.pipe(conn, &format!("takes {budget} bytes more"), |pipe| pipe.budget = budget);
        }
        (46..=54, Some(_)) if mood.stalls => {
            let conn = chance.below(world.conns.len());
            if world.conns[conn].hub == world.hub_number() {
                let budget = if chance.one_in(2) { usize::MAX } else { chance.below(500) };
                world.writable(conn, budget, chance.one_in(2));
            }
        }
        (55..=57, Some(conn)) => {
            world.trace.conns[conn].causes.extend([Disconnect::Gone, Disconnect::Error]);
            match chance.below(4) {
                0 => world.pipe(conn, "breaks when read", |pipe| pipe.read_fails = true),
                1 => world.pipe(conn, "breaks when written", |pipe| pipe.write_fails = true),
                _ => world.pipe(conn, "hangs up", |pipe| pipe.ended = true),
            }
            if chance.one_in(2) {
                world.readable(conn, chance.one_in(2));
            }
        }
        (58, Some(conn)) => {
            let reason = chance.pick(&[Disconnect::Disconnected, Disconnect::Revoked, Disconnect::Token]);
            world.close_client(conn, reason);
        }
        (59, _) => world.close_user(chance.below(4) as u8, Disconnect::Revoked),
        (60..=73, _) => world.turn(chance.below(world.shards.len())),
        (74..=81, _) => world.settle(),
        (82..=85, _) => {
            let ms = chance.pick(&[1, 20, 450, 1_000, 3_000]);
            world.advance(ms);
        }
        (86, _) => {
            let ms = chance.pick(&[10_000, 31_000, 200_000]);
            world.advance(ms);
        }
        (87, Some(conn)) => {
            let silent = chance.pick(&[None, Some(1_000), Some(30_000), Some(90_000)]);
            world.unacknowledged(conn, silent);
        }
        (88..=90, _) if mood.huge => {
            let hot = if chance.one_in(2) { To::All } else { chance.to(&ids(world)) };
            // Who is full when the window passes it by is slow.
            let slow = if chance.one_in(2) { fill(chance, world, &owned, &hot, plans) } else { Vec::new() };
            // Beyond the window, sometimes beyond the inbox.
            let count = chance.pick(&[20, 20, 80]);
            let draws = (0..count).map(|_| flooding(&hot, plans, DATA_MAX - 100)).collect();
            world.publish(draws);
            if chance.one_in(2) {
                world.settle();
                for conn in slow {
                    let budget = chance.pick(&[0, 5, 50, 90, usize::MAX]);
                    world.writable(conn, budget, chance.one_in(2));
                }
                world.settle();
            }
        }
        (88..=89, _) if mood.floods => {
            let hot = chance.to(&ids(world));
            let count = chance.pick(&[30, 100, 400]);
            let draws = (0..count).map(|_| flooding(&hot, plans, 120)).collect();
            world.publish(draws);
        }
        (91..=92, _) => {
            let from = match chance.below(5) {
                0 => From::Earliest,
                1 => From::Last(chance.next() % 20),
                2 => From::Live,
                _ => chance.offered(world),
            };
            let who = chance.who();
            let (records, bytes) = (chance.below(40), chance.below(4_000));
            world.history(who, from, chance.one_in(4), records, bytes);
        }
        (93, _) => world.inspect(chance.below(5)),
        (94..=96, _) => {
            let (key, draws) = chance.request(world, plans, 3);
            world.publish_meanwhile(key, draws);
        }
        (97, Some(conn)) => world.close_meanwhile(conn, Disconnect::Token),
        (98, _) if chance.one_in(4) => {
            let config = chance.config();
            world.restart(config, chance.seed());
        }
        (99, _) if chance.one_in(8) => {
            let window = chance.pick(&[0, 50, 5_000]);
            world.drain(Disconnect::Shutdown, window);
        }
        (100, _) => world.hold(),
        (101..=102, _) => world.answer_held(),
        (103, _) if chance.one_in(3) => world.lose_held(),
        _ => {}
    }
}

/// Leaves some of them with a full sink, most in the middle of a frame, some of those with nothing else to come.
fn fill(chance: &mut Chance, world: &mut World, owned: &[usize], hot: &To, plans: &mut Plans) -> Vec<usize> {
    let mut full = Vec::new();
    for conn in owned {
        if chance.one_in(2) {
            let budget = chance.pick(&[0, 30, 170]);
            world.pipe(*conn, &format!("takes {budget} bytes more"), |pipe| pipe.budget = budget);
            full.push(*conn);
        }
    }
    world.settle();
    let count = chance.pick(&[1, 1, 3]);
    let mut draws: Vec<Draw> = (0..count).map(|_| flooding(&To::All, plans, 60)).collect();
    draws.push(flooding(hot, plans, 60));
    world.publish(draws);
    world.settle();
    full
}

fn flooding(hot: &To, plans: &mut Plans, size: usize) -> Draw {
    plans.serial += 1;
    Draw::new(hot.clone(), &format!("{} {}", plans.serial, "x".repeat(size)))
}
