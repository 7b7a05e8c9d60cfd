//! The checker: a pure function over what publishers sent and were answered, and what readers read. It knows the
//! promises and nothing of the server: plain data in, violations out, so that any kind of run can be judged by it.
//!
//! The simulation and the tests of real processes use it.
//!
//! A run is a row of lives of one log. Every event has a payload that no other has, so a payload says which event a
//! delivery is of, and ids are judged by the contract alone.

mod places;
mod walk;

#[cfg(test)]
mod tests;

use places::{Epochs, Place, is_ephemeral};
use std::collections::{BTreeMap, HashMap};

/// A recorded run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) losses: Losses,
    /// The log's epochs in the order in which they began, where the run knows it. Empty where it has to be worked out.
    pub(crate) epochs: Vec<u64>,
    /// Those of one publisher in the order in which it made them, each after the answer to the one before.
    pub(crate) publishes: Vec<Publish>,
    pub(crate) readings: Vec<Reading>,
}

/// What may have happened to what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Losses {
    /// It is all there.
    #[default]
    Nothing,
    /// Retention dropped some: gaps are told.
    Dropped,
    /// Somebody damaged the log: gaps and resets are told.
    Damaged,
}

/// One request to publish, with every attempt at it.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) publisher: String,
    pub(crate) events: Vec<Sent>,
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) payload: String,
    pub(crate) to: To,
    pub(crate) ephemeral: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) life: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 2xx, with the id of each event.
    Acked(Vec<Option<String>>),
    /// An answer that says nothing was kept.
    Refused,
    /// No answer, or one that leaves it open.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    All,
    User(String),
    Users(Vec<String>),
    Session(String),
    Topic(String),
    Client(String),
    /// Everything that is given must match.
    Filter {
        user: Option<String>,
        session: Option<String>,
        metadata: Vec<(String, String)>,
    },
}

/// Who reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Who {
    pub(crate) user: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) metadata: Vec<(String, String)>,
    /// The connection's own name, where it is one.
    pub(crate) client: Option<String>,
}

impl To {
    fn matches(&self, who: &Who) -> bool {
        match self {
            Self::All => true,
            Self::User(user) => who.user.as_ref() == Some(user),
            Self::Users(users) => who.user.as_ref().is_some_and(|user| users.contains(user)),
            Self::Session(session) => who.session.as_ref() == Some(session),
            Self::Topic(topic) => who.topics.contains(topic),
            Self::Filter { user, session, metadata } => {
                let same = |wanted: &Option<String>, own: &Option<String>| wanted.is_none() || wanted == own;
                same(user, &who.user)
                    && same(session, &who.session)
                    && metadata.iter().all(|pair| who.metadata.contains(pair))
            }
            Self::Client(client) => who.client.as_ref() == Some(client),
        }
    }
}

/// A stream, or a page of history, from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) life: usize,
    pub(crate) who: Who,
    pub(crate) from: From,
    pub(crate) verdict: Verdict,
    pub(crate) items: Vec<Item>,
    /// It went on until nothing more came, and nobody was publishing.
    pub(crate) complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Now,
    Earliest,
    After(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    Resumed,
    Gap,
    Reset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event {
        id: String,
        payload: String,
    },
    /// Any frame with an id that is no event: the reader has everything up to here.
    Place(String),
    /// Events up to here are gone.
    Gap(String),
    Reset(String),
}

/// A broken promise: which, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

/// An event whose place in the log is known.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    sent: &'a Sent,
    place: Place,
    /// The first life in which somebody was told of it.
    life: usize,
}

/// What is known of a run as a whole.
struct Facts<'a> {
    losses: Losses,
    epochs: Epochs,
    /// Payload to the event, and the publish it belongs to.
    sent: HashMap<&'a str, (&'a Sent, &'a Publish)>,
    known: HashMap<&'a str, Known<'a>>,
}

/// Everything wrong with a run.
pub(crate) fn check(run: &Run) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut say = |rule, text| found.push(Violation { rule, text });
    let facts = gather(run, &mut say);
    answers(run, &facts, &mut say);
    batches(run, &facts, &mut say);
    walk::readings(run, &facts, &mut say);
    found
}

/// Every mention of an id beside a payload: answers and deliveries.
fn mentions(run: &Run) -> impl Iterator<Item = (usize, &str, &str)> {
    let answered = run.publishes.iter().flat_map(|publish| {
        publish.attempts.iter().flat_map(move |attempt| {
            let ids = if let Outcome::Acked(ids) = &attempt.outcome { &ids[..] } else { &[] };
            let pairs = ids.iter().zip(&publish.events);
            pairs.filter_map(move |(id, sent)| Some((attempt.life, id.as_deref()?, &*sent.payload)))
        })
    });
    let read = run.readings.iter().flat_map(|reading| {
        reading.items.iter().filter_map(move |item| match item {
            Item::Event { id, payload } => Some((reading.life, &**id, &**payload)),
            _ => None,
        })
    });
    answered.chain(read)
}

/// One id, one payload; one payload, one id; and nothing that nobody sent, or that was refused.
fn gather<'a>(run: &'a Run, say: &mut impl FnMut(&'static str, String)) -> Facts<'a> {
    let mut sent = HashMap::new();
    for publish in &run.publishes {
        for event in &publish.events {
            sent.insert(&*event.payload, (event, publish));
        }
    }
    let epochs = Epochs::in_order(run);
    let mut known: HashMap<&str, Known<'_>> = HashMap::new();
    let mut meaning: BTreeMap<Place, &str> = BTreeMap::new();
    for (life, id, payload) in mentions(run) {
        let Some((event, publish)) = sent.get(payload).copied() else {
            say("foreign", format!("{id} has {payload:.200}, which nobody sent"));
            continue;
        };
        if !publish.attempts.iter().any(|attempt| attempt.outcome != Outcome::Refused) {
            say("refused", format!("{id} has {payload:.200}, which was refused"));
        }
        let Some(place) = epochs.place(id) else {
            say("id", format!("{id} is no id"));
            continue;
        };
        if event.ephemeral {
            if !is_ephemeral(id) {
                say("id", format!("{id} is the id of an ephemeral event"));
            }
            continue;
        }
        let other = *meaning.entry(place).or_insert(payload);
        if other != payload {
            say("one meaning", format!("{id} has {payload:.200} and {other:.200}"));
        }
        let first = known.entry(payload).or_insert(Known { sent: event, place, life });
        if first.place != place {
            let attempts = &publish.attempts;
            say("duplicate", format!("{payload:.200} has {id} in life {life}, and {first:?}: {attempts:?}"));
        }
        first.life = first.life.min(life);
    }
    Facts { losses: run.losses, epochs, sent, known }
}

/// An answer is for all events, the same each time, and a publisher's events are in its order.
fn answers(run: &Run, facts: &Facts<'_>, say: &mut impl FnMut(&'static str, String)) {
    let mut newest: HashMap<&str, (Place, &str)> = HashMap::new();
    for publish in &run.publishes {
        let mut answers = publish.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Acked(ids) => Some(ids),
            _ => None,
        });
        let Some(ids) = answers.next() else { continue };
        if let Some(other) = answers.find(|other| *other != ids) {
            say("same answer", format!("{ids:?} and then {other:?} under one key"));
        }
        if ids.len() != publish.events.len() {
            say("answer", format!("{} ids for {} events", ids.len(), publish.events.len()));
        }
        for (id, event) in ids.iter().zip(&publish.events) {
            if id.is_none() != event.ephemeral {
                say("answer", format!("{id:?} for {event:?}"));
            }
            let Some((id, place)) = id.as_ref().and_then(|id| Some((id, facts.epochs.place(id)?))) else { continue };
            if let Some((before, other)) = newest.insert(&publish.publisher, (place, id))
                && before >= place
            {
                say("publisher order", format!("{} had {other} before {id}", publish.publisher));
            }
        }
    }
}

/// All events of a publish were kept, or none: as far as complete readings can tell.
fn batches(run: &Run, facts: &Facts<'_>, say: &mut impl FnMut(&'static str, String)) {
    if facts.losses != Losses::Nothing {
        return;
    }
    let readers: Vec<&Reading> = run.readings.iter().filter(|reading| reading.complete).collect();
    for publish in &run.publishes {
        let durable = || publish.events.iter().filter(|event| !event.ephemeral);
        let Some(kept) = durable().find(|event| facts.known.contains_key(&*event.payload)) else { continue };
        let life = facts.known[&*kept.payload].life;
        let seen = |event: &Sent| readers.iter().any(|reading| reading.life > life && event.to.matches(&reading.who));
        if let Some(torn) = durable().find(|event| seen(event) && !facts.known.contains_key(&*event.payload)) {
            say("torn batch", format!("{:.100} is there, and {:.100} is not", kept.payload, torn.payload));
        }
    }
}
