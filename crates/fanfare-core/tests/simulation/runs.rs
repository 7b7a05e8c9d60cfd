//! From histories to what the checker of promises reads, which also judges real processes. It knows less than the
//! checkers here, and nothing of their models: two opinions that must not differ.

use super::check::Violation;
use super::model::{self, Trace};
use super::promises::{Attempt, From, Item, Losses, Outcome, Publish, Reading, Run, Sent, To, Verdict, Who, check};
use super::whatwg;
use fanfare_core::{Cursor, Resume, SlowPolicy};

pub fn to(to: &model::To, client_id: impl Fn(usize) -> String) -> To {
    let name = |number: &u8| number.to_string();
    match to {
        model::To::All => To::All,
        model::To::Client(conn) => To::Client(client_id(*conn)),
        model::To::Forged(client) => To::Client(client.clone()),
        model::To::Session(session) => To::Session(name(session)),
        model::To::Topic(topic) => To::Topic(name(topic)),
        model::To::User(user) => To::User(name(user)),
        model::To::Users(users) => To::Users(users.iter().map(name).collect()),
        model::To::Filter { user, session, metadata } => To::Filter {
            user: user.as_ref().map(name),
            session: session.as_ref().map(name),
            metadata: metadata.iter().map(|(key, value)| (name(key), name(value))).collect(),
        },
    }
}

pub fn who(who: &model::Who, client: Option<&str>) -> Who {
    let name = |number: &u8| number.to_string();
    Who {
        user: who.user.as_ref().map(name),
        session: who.session.as_ref().map(name),
        topics: who.topics.iter().map(name).collect(),
        metadata: who.metadata.iter().map(|(key, value)| (name(key), name(value))).collect(),
        client: client.map(str::to_owned),
    }
}

pub fn verdict(resume: Resume) -> Verdict {
    match resume {
        Resume::Gap => Verdict::Gap,
        Resume::Live => Verdict::Live,
        Resume::Reset => Verdict::Reset,
        Resume::Resumed => Verdict::Resumed,
    }
}

pub fn from(from: &model::From) -> From {
    match from {
        model::From::After(text) => From::After(text.clone()),
        model::From::Earliest => From::Earliest,
        // Where the last N begin is what the first frame says.
        model::From::Last(_) | model::From::Live => From::Now,
    }
}

pub fn items(bytes: &[u8]) -> Vec<Item> {
    let item = |block: whatwg::Block| {
        let id = block.id?;
        Some(match block.event.as_str() {
            "$gap" => Item::Gap(id),
            "" | "connected" | "ping" | "$closing" => Item::Place(id),
            _ => Item::Event { id, payload: block.data.unwrap_or_default() },
        })
    };
    whatwg::read(bytes, "").blocks.into_iter().filter_map(item).collect()
}

/// What the checker of promises finds wrong with a history in memory. Each hub has a log of its own.
pub fn violations(trace: &Trace) -> Vec<Violation> {
    let found = (0..trace.hubs.len()).flat_map(|hub| check(&run(trace, hub)));
    found.map(|found| Violation { rule: found.rule, text: found.text }).collect()
}

fn run(trace: &Trace, hub: usize) -> Run {
    let as_read = |data: &str| data.replace("\r\n", "\n").replace('\r', "\n");
    let skips = trace.conns.iter().any(|conn| conn.hub == hub && conn.slow_policy == SlowPolicy::Gap);
    let drops = trace.marks.iter().any(|mark| mark.hub == hub && mark.floor > 0);
    let losses = if skips || drops { Losses::Dropped } else { Losses::Nothing };
    let mut run = Run { losses, epochs: vec![trace.hubs[hub].epoch], ..Run::default() };
    for (number, event) in trace.published.iter().enumerate().filter(|(_, event)| event.hub == hub) {
        let to = to(&event.to, |conn| trace.conns[conn].client_id.clone());
        let sent = Sent { payload: as_read(&event.data), to, ephemeral: !event.durable() };
        let attempt = Attempt { life: 0, outcome: Outcome::Acked(vec![event.id.clone()]) };
        // A store may answer late: the order is that of the answers.
        run.publishes.push(Publish { publisher: number.to_string(), events: vec![sent], attempts: vec![attempt] });
    }
    let start = |started: &model::From, resume: Resume, step: usize| match started {
        // What nobody was given by then, or by another hub, is a reset.
        model::From::After(text) if resume == Resume::Reset && !was_given(trace, hub, text, step) => {
            (From::Now, Verdict::Live)
        }
        started => (from(started), verdict(resume)),
    };
    for conn in trace.conns.iter().filter(|conn| conn.hub == hub) {
        let items = items(&conn.bytes);
        let (from, verdict) = start(&conn.from, conn.verdict.resume, conn.step);
        let (who, complete) = (who(&conn.who, Some(&conn.client_id)), conn.converged.is_some() && !items.is_empty());
        run.readings.push(Reading { life: 0, who, from, verdict, items, complete });
    }
    for page in trace.pages.iter().filter(|page| page.hub == hub) {
        let mut items = items(&page.bytes);
        items.push(Item::Place(page.next.clone()));
        let (from, verdict) = start(&page.from, page.verdict.resume, page.step);
        run.readings.push(Reading { life: 0, who: who(&page.who, None), from, verdict, items, complete: false });
    }
    run
}

fn was_given(trace: &Trace, hub: usize, text: &str, step: usize) -> bool {
    let tail = trace.marks[..=step].iter().filter(|mark| mark.hub == hub).map(|mark| mark.tail).max();
    Cursor::parse(text)
        .is_some_and(|cursor| cursor.epoch == trace.hubs[hub].epoch && cursor.position <= tail.unwrap_or_default())
}
