//! The checker's look at what readers of a log on disk got: connections and pages of history.

use super::check::{Case, Entry, as_read};
use super::record::{Conn, Event, Fault, Page};
use crate::check::place;
use crate::model::{From, Verdict, Who};
use crate::whatwg::{self, Block};
use fanfare_core::Resume;
use std::collections::HashSet;

/// Who reads, in which life, in which step.
#[derive(Clone, Copy)]
struct Reader<'a> {
    case: &'a Case<'a>,
    life: usize,
    who: &'a Who,
    conn: Option<usize>,
}

impl<'a> Reader<'a> {
    /// What it may see, dropped or not.
    fn visible(self) -> Vec<&'a Entry> {
        let entries = &self.case.models[self.life].entries;
        entries.iter().filter(|entry| self.case.event(entry).to.matches(self.who, self.conn)).collect()
    }

    fn tail(self, step: usize) -> u64 {
        self.case.models[self.life].tail(&self.case.record.lives[self.life], step)
    }

    fn resolve(self, id: &str, step: usize) -> Option<u64> {
        let place = place(id)?;
        self.case.models[self.life].resolve(&self.case.record.lives[self.life], place.epoch, place.position, step)
    }

    /// Epochs may be missing from a manifest that is not the newest.
    fn epochs_known(self, step: usize) -> bool {
        !self.case.faulted(0..=step, |fault| fault == Fault::RotManifest)
    }

    /// What is wrong with a gap from one position to another.
    fn gap(self, have: u64, until: u64, step: usize) -> Option<String> {
        let record = self.case.record;
        // Once the world has stopped, files that were dropped are not taken away, which is what the floor is read from.
        if self.case.damaged(step) || record.marks[step].stopped {
            return None;
        }
        let (life, floor) = (&record.lives[self.life], record.marks[step].floor);
        let between = |position: u64| position > have && position <= until;
        let entries = &self.case.models[self.life].entries;
        let touched = entries
            .iter()
            .any(|entry| between(entry.position) && self.case.event(entry).to.touches(self.who, self.conn));
        let dropped = until <= floor && touched;
        // Also one that was dropped meanwhile.
        let hole = record.lives[..=self.life].iter().flat_map(|life| &life.holes).any(|hole| between(*hole));
        // The manifest's last word on what was dropped may not have fitted.
        let forgotten = until <= life.floor && self.case.faulted(0..=life.step, |fault| fault == Fault::Full);
        if !dropped && !hole && !forgotten {
            return Some(format!("a gap from {have} to {until}, dropped up to {floor}"));
        }
        let hidden = self.visible().into_iter().find(|entry| between(entry.position) && entry.position > floor)?;
        Some(format!("a gap from {have} to {until} hides {}", hidden.id))
    }
}

/// The answer to a start.
fn verdict(
    reader: Reader<'_>,
    from: &From,
    verdict: &Verdict,
    step: usize,
    say: &mut impl FnMut(&'static str, String),
) {
    let life = &reader.case.record.lives[reader.life];
    let (floor, tail) = (reader.case.record.marks[step].floor, reader.tail(step));
    let shown = if verdict.cursor.is_empty() { None } else { reader.resolve(&verdict.cursor, step) };
    if shown.is_none() && !verdict.cursor.is_empty() && reader.epochs_known(step) {
        return say("verdict", format!("{verdict:?} shows a cursor that means nothing"));
    }
    let at = |position: u64| shown.is_none_or(|shown| shown == position);
    let damaged = reader.case.damaged(step);
    let right = match from {
        From::Live => verdict.resume == Resume::Live && at(tail),
        From::Earliest => {
            // Memory may reach further back than a disk with a smaller bound.
            verdict.resume == Resume::Resumed && (damaged || shown.is_none_or(|shown| shown <= floor))
                || verdict.cursor.is_empty() && verdict.resume == Resume::Gap
        }
        From::Last(count) => {
            let follow = |position| {
                reader.visible().iter().filter(|entry| entry.position > position && entry.step <= step).count() as u64
            };
            let exact = shown.is_none_or(|shown| {
                follow(shown) == *count || (shown <= floor && follow(shown) <= *count) || (*count == 0 && shown == tail)
            });
            (verdict.resume == Resume::Resumed && (exact || damaged))
                || verdict.cursor.is_empty() && verdict.resume == Resume::Gap
        }
        From::After(text) => match reader.resolve(text, step) {
            None => verdict.resume == Resume::Reset && at(tail) || !reader.epochs_known(step),
            Some(presented) => {
                let gone = |entry: &&Entry| entry.position > presented && entry.position <= floor.min(life.tail);
                match verdict.resume {
                    // What memory has beyond the disk's floor is not lost; what was there before this life is.
                    Resume::Resumed => (damaged || !reader.visible().iter().any(gone)) && at(presented),
                    Resume::Gap => {
                        reader.gap(presented, floor.max(shown.unwrap_or(floor)), step).is_none()
                            || verdict.cursor.is_empty()
                    }
                    Resume::Reset => !reader.epochs_known(step) && at(tail),
                    Resume::Live => false,
                }
            }
        },
    };
    if !right {
        say(
            "verdict",
            format!("{verdict:?} for {from:?} as {:?}, with {floor} dropped and {tail} released", reader.who),
        );
    }
}

/// The event that a durable block carries, if it is right in itself.
fn payload<'a>(reader: Reader<'a>, block: &Block, step: usize) -> Result<&'a Entry, (&'static str, String)> {
    let id = block.id.as_deref().unwrap_or_default();
    let data = block.data.as_deref().unwrap_or_default();
    let entries = &reader.case.models[reader.life].entries;
    let Some(entry) = entries.iter().find(|entry| entry.id == id) else {
        return Err(("visible early", format!("{block:.200?} is not in the log")));
    };
    let event = reader.case.event(entry);
    if as_read(&event.data) != data {
        return Err(("one meaning", format!("{block:.200?} is {event:.200?}")));
    }
    if entry.step > step {
        return Err(("visible early", format!("{id} came in step {step}, and was acknowledged in {}", entry.step)));
    }
    right(block, event)?;
    if !event.to.matches(reader.who, reader.conn) {
        return Err(("identity", format!("{id} is for {:?}", event.to)));
    }
    Ok(entry)
}

fn right(block: &Block, event: &Event) -> Result<(), (&'static str, String)> {
    let right = block.event == event.event_type
        && block.data.as_deref() == Some(&as_read(&event.data))
        && block.retry == event.retry
        && block.comments == 0;
    if right { Ok(()) } else { Err(("torn", format!("{block:.300?} for {event:.300?}"))) }
}

/// A connection's bytes as they are gone through.
struct Walk<'a> {
    reader: Reader<'a>,
    conn: &'a Conn,
    visible: Vec<&'a Entry>,
    next: usize,
    have: u64,
    ephemerals: HashSet<usize>,
}

impl Walk<'_> {
    /// What it may see up to a position, and has not got.
    fn missing(&mut self, position: u64) -> Option<String> {
        let first = self.visible.get(self.next).filter(|entry| entry.position <= position)?;
        let text = format!("{} to {:?} never came", first.id, self.reader.case.event(first).to);
        self.pass(position);
        Some(text)
    }

    fn pass(&mut self, position: u64) {
        while self.visible.get(self.next).is_some_and(|entry| entry.position <= position) {
            self.next += 1;
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), (&'static str, String)> {
        let step = self.conn.chunks.iter().find(|(_, total, _)| *total >= block.end).map_or(0, |(step, ..)| *step);
        let Some(id) = &block.id else {
            return if block.event == "$closing" { Ok(()) } else { Err(("torn", format!("no id in {block:.300?}"))) };
        };
        let Some(at) = place(id) else { return Err(("torn", format!("the id of {block:.300?}"))) };
        let ephemeral = at.suffix.starts_with("~~");
        let control =
            matches!(block.event.as_str(), "connected" | "ping" | "$closing" | "$gap") || block.data.is_none();
        let have = self.have;
        self.have = have.max(at.position);
        if at.position < have || (at.position == have && !control && !ephemeral) {
            return Err(("order", format!("{} {id} after {have}", block.event)));
        }
        if control || ephemeral {
            if at.position > self.reader.tail(step) {
                return Err(("cursor ahead", format!("{} {id} before that was released", block.event)));
            }
            if self.reader.resolve(id, step) != Some(at.position) && self.reader.epochs_known(step) {
                return Err(("cursor ahead", format!("{} {id} means nothing here", block.event)));
            }
        }
        if block.event == "$gap" {
            self.pass_gap(have, at.position, step)?;
            return Ok(());
        }
        if block.event == "connected" {
            let right = *id == self.conn.verdict.cursor;
            return if right { Ok(()) } else { Err(("connected", format!("{block:?}"))) };
        }
        if ephemeral {
            self.ephemeral(block, at.position)?;
        }
        if control || ephemeral {
            let missing = self.missing(at.position);
            return missing
                .map_or(Ok(()), |text| Err(("cursor ahead", format!("{text}, but {} {id} did", block.event))));
        }
        payload(self.reader, block, step)?;
        let missing = self.missing(at.position - 1);
        self.pass(at.position);
        missing.map_or(Ok(()), |text| Err(("loss", format!("{text} before {id}"))))
    }

    fn pass_gap(&mut self, have: u64, until: u64, step: usize) -> Result<(), (&'static str, String)> {
        let wrong = self.reader.gap(have, until, step);
        self.pass(until);
        wrong.map_or(Ok(()), |text| Err(("false gap", text)))
    }

    fn ephemeral(&mut self, block: &Block, position: u64) -> Result<(), (&'static str, String)> {
        let data = block.data.as_deref().unwrap_or_default();
        let events = &self.reader.case.record.events;
        let found = events.iter().position(|event| event.ephemeral && as_read(&event.data) == data);
        let Some(event) = found else {
            return Err(("torn", format!("{block:.300?} was never published")));
        };
        right(block, &events[event])?;
        if !events[event].to.matches(self.reader.who, self.reader.conn) {
            return Err(("identity", format!("{block:.200?} at {position}")));
        }
        // A key that is forgotten lets it be published again.
        let sends = self.reader.case.record.sends.iter().filter(|send| send.events.contains(&event)).count();
        if !self.ephemerals.insert(event) && sends < 2 {
            return Err(("one meaning", format!("{data} came twice")));
        }
        Ok(())
    }
}

pub fn connection(case: &Case<'_>, number: usize, say: &mut impl FnMut(&'static str, String)) {
    let conn = &case.record.conns[number];
    let reader = Reader { case, life: conn.life, who: &conn.who, conn: Some(number) };
    verdict(Reader { conn: None, ..reader }, &conn.from, &conn.verdict, conn.step, say);
    for fault in &conn.faults {
        say("sink", fault.clone());
    }
    let Some(shown) = place(&conn.verdict.cursor) else { return };
    let visible = reader.visible();
    let mut walk = Walk { reader, conn, visible, next: 0, have: shown.position, ephemerals: HashSet::new() };
    walk.pass(shown.position);
    let stream = whatwg::read(&conn.bytes, "");
    for (index, block) in stream.blocks.iter().enumerate() {
        if (index == 0) != (block.event == "connected") {
            say("connected", format!("block {index} is {block:.300?}"));
        }
        if let Err((rule, text)) = walk.block(block) {
            say(rule, format!("{text}; block {index} of {}", stream.blocks.len()));
        }
    }
    if let Some(step) = conn.converged
        && let Some(text) = walk.missing(reader.tail(step))
    {
        say("loss", format!("{text}, though it had caught up in step {step}"));
    }
}

pub fn page(case: &Case<'_>, page: &Page, say: &mut impl FnMut(&'static str, String)) {
    let reader = Reader { case, life: page.life, who: &page.who, conn: None };
    verdict(reader, &page.from, &page.verdict, page.step, say);
    let (floor, tail) = (case.record.marks[page.step].floor, reader.tail(page.step));
    let stream = whatwg::read(&page.bytes, "");
    let mut got = Vec::new();
    for block in &stream.blocks {
        match payload(reader, block, page.step) {
            Ok(entry) => got.push(entry.position),
            Err((rule, text)) => say(rule, text),
        }
    }
    if !got.is_sorted_by(|a, b| a < b) {
        say("order", format!("{got:?}"));
    }
    let Some(next) = place(&page.next).map(|place| place.position) else {
        return say("history", format!("next is {}", page.next));
    };
    let start = match (&page.from, page.verdict.resume) {
        (_, Resume::Reset) | (From::Live, _) => tail,
        (From::After(text), _) => {
            // An epoch that was forgotten leaves the one before without its end.
            let presented = reader.resolve(text, page.step).or(place(text).map(|place| place.position));
            presented.unwrap_or(floor)
        }
        (From::Last(_), _) => got.first().map_or(next, |first| first - 1),
        _ => floor,
    };
    let lost = |entry: &&&Entry| {
        let between = entry.position > start && entry.position <= next && entry.step <= page.step;
        between && !got.contains(&entry.position)
    };
    let visible = reader.visible();
    for entry in visible.iter().filter(lost) {
        // A gap stands before everything that a page holds.
        let before = got.first().is_none_or(|first| entry.position < *first);
        if page.verdict.resume != Resume::Gap || !before {
            say("history", format!("{} is missing from {got:?}, {start} to {next}", entry.id));
        }
    }
    // Where it ends is not shown: at the floor, or at a hole before the first that came.
    let ends = [floor, got.first().map_or(next, |first| first - 1)];
    let false_gap = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.contains("hides"));
    // Nor is where the last N begin.
    let start = if matches!(page.from, From::Last(_)) { floor } else { start };
    let wrong: Vec<_> = ends.into_iter().map(|end| reader.gap(start, end.max(start), page.step)).collect();
    if page.verdict.resume == Resume::Gap && wrong.iter().all(false_gap) {
        say("false gap", format!("{wrong:?}"));
    }
    let whole = got.len() <= page.records && stream.rest == page.bytes.len() && next <= tail;
    // Nothing in it, and not at the end, only where a gap ends it early.
    let complete = next == tail || !got.is_empty() || page.verdict.resume == Resume::Gap;
    if !whole || !complete {
        say("history", format!("{got:?} up to {next} of {tail}"));
    }
}
