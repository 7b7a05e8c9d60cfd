//! The checker of lives on a disk: a pure function over a record. It rebuilds what each life's log must hold from
//! what was acknowledged before, and compares that with what was found, answered and delivered.

use super::record::{Event, Fault, Life, Record, Send};
use super::{answers, readers};
use crate::check::{Violation, place};
use fanfare_core::PublishError;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A record that a life's log holds, or held until retention dropped it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub position: u64,
    pub id: String,
    pub event: usize,
    /// Visible from this step on.
    pub step: usize,
}

/// An answer under an idempotency key, as it is known in a life.
#[derive(Debug, Clone)]
pub struct Key {
    pub send: usize,
    pub ids: Vec<Option<String>>,
    /// It must be known, not only may.
    pub certain: bool,
}

impl Key {
    /// The position of its last event.
    fn last(&self) -> Option<u64> {
        self.ids.iter().flatten().filter_map(|id| place(id)).map(|place| place.position).max()
    }
}

/// An epoch of a log.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    pub epoch: u64,
    /// What was kept when it began.
    pub kept: u64,
    /// Of an opening that was interrupted. Those before one life are not told apart.
    pub attempt: bool,
}

/// What a life's log must hold.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// In the order of positions.
    pub entries: Vec<Entry>,
    /// Epochs of the log.
    pub chain: Vec<Began>,
    pub keys: Vec<Key>,
}

impl Model {
    pub fn tail(&self, life: &Life, step: usize) -> u64 {
        let last = self.entries.iter().rev().find(|entry| entry.step <= step);
        last.map_or(0, |entry| entry.position).max(life.tail)
    }

    /// The position that a cursor stands for, `None` if it means nothing in this log.
    pub fn resolve(&self, life: &Life, epoch: u64, position: u64, step: usize) -> Option<u64> {
        let place = self.chain.iter().rposition(|known| known.epoch == epoch)?;
        let attempt = self.chain[place].attempt;
        let later = self.chain[place + 1..].iter().filter(|later| !(attempt && later.attempt)).map(|later| later.kept);
        let end = later.min().unwrap_or_else(|| self.tail(life, step));
        (position <= end).then_some(position)
    }
}

/// The record with what is derived from it.
pub struct Case<'a> {
    pub record: &'a Record,
    pub models: Vec<Model>,
}

impl Case<'_> {
    pub fn event(&self, entry: &Entry) -> &Event {
        &self.record.events[entry.event]
    }

    pub fn faulted(&self, steps: std::ops::RangeInclusive<usize>, is: impl Fn(Fault) -> bool) -> bool {
        faulted(self.record, steps, is)
    }

    /// Records may be unreadable by this step.
    pub fn damaged(&self, step: usize) -> bool {
        self.faulted(0..=step, Fault::damages)
    }
}

fn faulted(record: &Record, steps: std::ops::RangeInclusive<usize>, is: impl Fn(Fault) -> bool) -> bool {
    record.faults.iter().any(|(step, fault)| steps.contains(step) && is(*fault))
}

pub fn as_read(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// Everything wrong with a run.
pub fn check(record: &Record) -> Vec<Violation> {
    let mut found: Vec<Violation> =
        record.wrong.iter().map(|text| Violation { rule: "fault", text: text.clone() }).collect();
    let mut say = |rule: &'static str, text: String| found.push(Violation { rule, text });
    let mut case = Case { record, models: Vec::new() };
    for number in 0..record.lives.len() {
        let mut say = |rule: &'static str, text: String| say(rule, format!("life {number}: {text}"));
        let mut model = inherit(&case, number, &mut say);
        answers::check(&case, number, &mut model, &mut say);
        case.models.push(model);
    }
    meanings(&case, &mut say);
    refusals(record, &mut say);
    retention(&case, &mut say);
    for number in 0..record.conns.len() {
        readers::connection(&case, number, &mut |rule, text| say(rule, format!("connection {number}: {text}")));
    }
    for page in &record.pages {
        readers::page(&case, page, &mut |rule, text| say(rule, format!("page in step {}: {text}", page.step)));
    }
    found
}

/// What a life finds is what the life before had acknowledged or shown, once, in order, and of what was in flight
/// whole publishes or nothing.
fn inherit(case: &Case<'_>, number: usize, say: &mut impl FnMut(&'static str, String)) -> Model {
    let record = case.record;
    let life = &record.lives[number];
    let mut model = Model::default();
    let mut since = 0;
    if let Some((parent, upto)) = life.parent {
        let before = &case.models[parent];
        let visible = before.entries.iter().filter(|entry| entry.step <= upto);
        model.entries = visible.map(|entry| Entry { step: entry.step.min(life.step), ..entry.clone() }).collect();
        model.chain.clone_from(&before.chain);
        model.keys.clone_from(&before.keys);
        since = record.lives[parent].step;
    }
    let harmed = |is: fn(Fault) -> bool| faulted(record, since..=life.step, is);
    holes(case, number, since, say);
    // The end: nothing acknowledged may be missing, unless somebody took it away.
    let lost = model.entries.iter().filter(|entry| entry.position > life.kept_until).count();
    if lost > 0 {
        let text = || format!("{lost} records beyond {} are gone", life.kept_until);
        if !harmed(Fault::damages) {
            say("acknowledged", text());
        }
        let taken = |fault| {
            matches!(fault, Fault::Cut | Fault::Deleted | Fault::Restored | Fault::RotManifest | Fault::Power(_))
        };
        if !harmed(taken) && life.tail == life.kept_until {
            say("acknowledged", format!("{}, and nothing tells of it", text()));
        }
    }
    model.entries.retain(|entry| entry.position <= life.kept_until);
    model.keys.retain(|key| key.last().is_none_or(|last| last <= life.kept_until));
    let mut position = 0;
    for kept in &life.records {
        if kept.position <= position {
            say("order", format!("{kept:.200?} lies behind {position}"));
        }
        position = kept.position;
    }
    // Everything else.
    let found: HashMap<u64, _> = life.records.iter().map(|kept| (kept.position, kept)).collect();
    // Without the newest manifest, a segment may be back that was dropped, and the next one not.
    let harms = |f| matches!(f, Fault::RotSegment | Fault::Cut | Fault::Deleted | Fault::RotManifest);
    let unreadable = faulted(record, 0..=life.step, harms);
    let full = faulted(record, 0..=life.step, |fault| fault == Fault::Full);
    for entry in model.entries.iter().filter(|entry| entry.position > life.floor) {
        match found.get(&entry.position) {
            Some(kept) if kept.id == entry.id && kept.data == as_read(&case.event(entry).data) => {}
            Some(kept) => say("one meaning", format!("{} is {kept:.200?} now", entry.id)),
            None if unreadable => {}
            // Dropped when there was no room to say so; that is told as a hole then.
            None if full && life.holes.iter().any(|hole| *hole >= entry.position) => {}
            None => say("acknowledged", format!("{} is gone", entry.id)),
        }
    }
    survivors(case, number, &mut model, say);
    let kept = life.kept_until;
    model.chain.extend(life.attempts.iter().map(|epoch| Began { epoch: *epoch, kept, attempt: true }));
    // A hole at the end may have been made by one of those, and is theirs then.
    let kept = if life.attempts.is_empty() { kept } else { life.tail };
    model.chain.push(Began { epoch: life.epoch, kept, attempt: false });
    for key in &mut model.keys {
        key.certain = key.last().is_some_and(|last| last > life.floor)
            && !faulted(record, 0..=life.step, Fault::damages)
            && life.config.idempotency_keys > 100
            && record.lives[..=number].iter().all(|life| life.wall_true);
    }
    model
}

/// A hole is told only where something may have been lost.
fn holes(case: &Case<'_>, number: usize, since: usize, say: &mut impl FnMut(&'static str, String)) {
    let life = &case.record.lives[number];
    let excused = case.damaged(life.step)
        || case.faulted(since..=life.step, |fault| matches!(fault, Fault::Power(true) | Fault::Broken));
    let before: &[u64] = life.parent.map_or(&[], |(parent, _)| &case.record.lives[parent].holes);
    // What was dropped when the manifest had no room is missing for all that the files say.
    let forgotten = case.faulted(0..=life.step, |fault| fault == Fault::Full);
    let dropped = |hole: u64| forgotten && hole == life.floor;
    let new: Vec<_> = life.holes.iter().filter(|hole| !before.contains(hole) && !dropped(**hole)).collect();
    if !new.is_empty() && !excused {
        say("false gap", format!("holes at {new:?}, and nothing happened"));
    }
}

/// What was in flight when the life before ended, and is there.
fn survivors(case: &Case<'_>, number: usize, model: &mut Model, say: &mut impl FnMut(&'static str, String)) {
    let record = case.record;
    let life = &record.lives[number];
    let known: HashSet<u64> = model.entries.iter().map(|entry| entry.position).collect();
    let by_data: HashMap<String, usize> =
        record.events.iter().enumerate().map(|(event, made)| (as_read(&made.data), event)).collect();
    let mut of_send: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    let end = life.parent.map_or(0, |(parent, upto)| case.models[parent].tail(&record.lives[parent], upto));
    let mut last_send = 0;
    // What retention dropped at once was there for all that.
    let found = life.aged.iter().chain(life.records.iter().filter(|kept| kept.position > life.floor));
    for kept in found.filter(|kept| !known.contains(&kept.position)) {
        let Some(event) = by_data.get(&kept.data).copied() else {
            say("torn", format!("{kept:.200?} was never published"));
            continue;
        };
        let in_flight = |send: &&usize| {
            let send = &record.sends[**send];
            life.parent.is_some_and(|(parent, upto)| send.life == parent && send.step <= upto)
                && send.events.contains(&event)
                && may_survive(record, send)
        };
        let Some(send) = (0..record.sends.len()).collect::<Vec<_>>().iter().find(in_flight).copied() else {
            say("half done", format!("{kept:.200?} was not in flight when the life before ended"));
            continue;
        };
        if kept.position <= end || send < last_send {
            say(
                "order",
                format!("{kept:.200?} of publish {send}, behind {last_send}, and that life had come to {end}"),
            );
        }
        last_send = send;
        let entry = Entry { position: kept.position, id: kept.id.clone(), event, step: life.step };
        of_send.entry(send).or_default().push(entry);
    }
    for (send, entries) in of_send {
        let made = &record.sends[send];
        let durable = made.events.iter().filter(|event| record.events[**event].durable());
        if !case.damaged(life.step) && !durable.eq(entries.iter().map(|entry| &entry.event)) {
            say("half done", format!("of publish {send} there is only {entries:.300?}"));
        }
        if made.key.is_some() {
            let id = |event: &usize| entries.iter().find(|entry| entry.event == *event).map(|entry| entry.id.clone());
            model.keys.push(Key { send, ids: made.events.iter().map(id).collect(), certain: false });
        }
        model.entries.extend(entries);
    }
    model.entries.sort_by_key(|entry| entry.position);
}

/// Its end did not come to its publisher, or it came as an error that says nothing.
fn may_survive(record: &Record, send: &Send) -> bool {
    match &send.answer {
        None => true,
        Some((_, Err(PublishError::ReadOnly))) => {
            first_read_only(record, send.life).is_none_or(|first| send.step <= first)
        }
        Some(_) => false,
    }
}

fn first_read_only(record: &Record, life: usize) -> Option<usize> {
    let answers = record.sends.iter().filter(|send| send.life == life).filter_map(|send| send.answer.as_ref());
    answers.filter(|(_, answer)| *answer == Err(PublishError::ReadOnly)).map(|(step, _)| *step).min()
}

/// An id never stands for two payloads, over all lives.
fn meanings(case: &Case<'_>, say: &mut impl FnMut(&'static str, String)) {
    let mut meaning: HashMap<(u64, u64), usize> = HashMap::new();
    for entry in case.models.iter().flat_map(|model| &model.entries) {
        let Some(place) = place(&entry.id) else {
            say("receipt", format!("{} is no id", entry.id));
            continue;
        };
        let first = *meaning.entry((place.epoch, place.position)).or_insert(entry.event);
        if first != entry.event || place.position != entry.position {
            say("one meaning", format!("{} stands for events {first} and {}", entry.id, entry.event));
        }
    }
}

/// A directory is refused only if something was done to it.
fn refusals(record: &Record, say: &mut impl FnMut(&'static str, String)) {
    for (step, error) in &record.refused {
        let excused = |fault: Fault| fault.damages() || matches!(fault, Fault::Full);
        let broken = record.marks[*step].broken > record.marks[step - 1].broken;
        if !faulted(record, 0..=*step, excused) && !record.marks[*step].short && !broken {
            say("refused", format!("the log in step {step}: {error}"));
        }
    }
}

/// Nothing is dropped within the bounds.
fn retention(case: &Case<'_>, say: &mut impl FnMut(&'static str, String)) {
    let record = case.record;
    for step in 1..record.marks.len() {
        let (before, mark) = (&record.marks[step - 1], &record.marks[step]);
        let Some(number) = record.lives.iter().rposition(|life| life.step < step) else { continue };
        let life = &record.lives[number];
        let running =
            record.lives.get(number + 1).is_none_or(|next| step < next.step) && mark.records + before.records > 0;
        if mark.floor <= before.floor || !running || case.damaged(step) {
            continue;
        }
        let entries = &case.models[number].entries;
        let newest = entries.iter().rev().find(|entry| entry.position <= mark.floor);
        let (records, bytes): (u64, usize) = entries
            .iter()
            .filter(|entry| entry.position > before.floor && entry.step <= step)
            .fold((0, 0), |sum, entry| (sum.0 + 1, sum.1 + 700 + 2 * case.event(entry).data.len()));
        // What an earlier life wrote and never told of is as old as that life.
        let old = newest.is_none_or(|entry| {
            entry.step <= life.step || mark.now_ms - record.marks[entry.step].now_ms > life.disk.age_ms
        });
        let many = life.disk.records.is_some_and(|max| records > max);
        let wall = record.lives[..=number].iter().all(|life| life.wall_true);
        if !old && !many && bytes as u64 <= life.disk.bytes && wall {
            say("retention", format!("step {step} dropped up to {}: {records} records, {bytes} bytes", mark.floor));
        }
    }
}
