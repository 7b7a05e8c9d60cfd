//! Lives on a disk as the checker of promises reads them, which also judges real processes. It knows less than the
//! checker here, and nothing of the model: two opinions that must not differ.

use super::check::as_read;
use super::record::{Fault, Life, Record};
use crate::check::Violation;
use crate::model;
use crate::promises::{Attempt, From, Item, Losses, Outcome, Publish, Reading, Run, Sent, Verdict, check};
use crate::runs;
use fanfare_core::{PublishError, Resume};

/// Fewer keys than this, and one may be forgotten before it comes again.
const KEYS_ENOUGH: usize = 1_000;
/// And so if answers are kept for less than the longest run.
const AGE_ENOUGH: u64 = 86_400_000;

/// What the checker of promises finds wrong. It judges a row of lives, each of which found what the one before left, and
/// in which a key is not forgotten: other runs are left to the checker here.
pub fn violations(record: &Record) -> Vec<Violation> {
    let in_a_row = record.lives.iter().enumerate().all(|(number, life)| match life.parent {
        Some((parent, _)) => parent + 1 == number,
        None => number == 0,
    });
    // What the files that are left cannot tell: a tail, or all of it, that was there.
    let untold = |fault| matches!(fault, Fault::Cut | Fault::Deleted | Fault::Restored | Fault::RotManifest);
    let untold = record.faults.iter().any(|(_, fault)| untold(*fault));
    let repeats = record.sends.iter().any(|send| send.key.is_some());
    let forgetful =
        |life: &Life| life.config.idempotency_keys < KEYS_ENOUGH || life.disk.age_ms < AGE_ENOUGH || !life.wall_true;
    let forgets = losses(record) != Losses::Nothing || record.lives.iter().any(forgetful);
    if !in_a_row || untold || repeats && forgets {
        return Vec::new();
    }
    check(&run(record)).into_iter().map(|found| Violation { rule: found.rule, text: found.text }).collect()
}

fn run(record: &Record) -> Run {
    // Of starts that were interrupted, too: what was kept then may bear them.
    let epochs = record.lives.iter().flat_map(|life| life.attempts.iter().copied().chain([life.epoch])).collect();
    let mut run = Run { losses: losses(record), epochs, ..Run::default() };
    let mut numbers: Vec<&[usize]> = Vec::new();
    for (number, send) in record.sends.iter().enumerate() {
        let attempt = Attempt { life: send.life, outcome: outcome(record, number) };
        if let Some(known) = numbers.iter().position(|known| *known == send.events) {
            run.publishes[known].attempts.push(attempt);
            continue;
        }
        numbers.push(&send.events);
        let events = send.events.iter().map(|event| sent(record, *event)).collect();
        // Everybody sends without waiting, and the log keeps the order; a key may be first used by a refusal.
        let publisher = if send.key.is_some() { format!("key {number}") } else { "all".to_owned() };
        run.publishes.push(Publish { publisher, events, attempts: vec![attempt] });
    }
    for conn in &record.conns {
        let who = runs::who(&conn.who, Some(&conn.client_id));
        let items = runs::items(&conn.bytes);
        let (from, verdict) = start(record, &conn.from, conn.verdict.resume, (conn.life, conn.step));
        // Before the first frame it has been told of nothing.
        let complete = conn.converged.is_some() && !items.is_empty();
        run.readings.push(Reading { life: conn.life, who, from, verdict, items, complete });
    }
    for page in &record.pages {
        let mut items = runs::items(&page.bytes);
        items.push(Item::Place(page.next.clone()));
        let (from, verdict) = start(record, &page.from, page.verdict.resume, (page.life, page.step));
        run.readings.push(Reading {
            life: page.life,
            who: runs::who(&page.who, None),
            from,
            verdict,
            items,
            complete: false,
        });
    }
    run
}

fn losses(record: &Record) -> Losses {
    let any = |is: fn(Fault) -> bool| record.faults.iter().any(|(_, fault)| is(*fault));
    // After a loss of power nobody can tell an interrupted group from a rotten one.
    let told = any(|fault| matches!(fault, Fault::Power(true) | Fault::Full | Fault::Broken));
    // A world that has stopped reads nothing either.
    let told = told || record.marks.iter().any(|mark| mark.stopped);
    if any(Fault::damages) {
        Losses::Damaged
    } else if told || record.marks.iter().any(|mark| mark.floor > 0) {
        Losses::Dropped
    } else {
        Losses::Nothing
    }
}

fn outcome(record: &Record, number: usize) -> Outcome {
    let Some((step, answer)) = &record.sends[number].answer else { return Outcome::Unknown };
    match answer {
        // No process would have given it.
        _ if record.marks[*step].stopped => Outcome::Unknown,
        Ok(receipts) => Outcome::Acked(receipts.iter().map(|receipt| receipt.id.clone()).collect()),
        Err(PublishError::Busy | PublishError::Conflict { .. } | PublishError::Full | PublishError::KeyReused) => {
            Outcome::Refused
        }
        Err(_) => Outcome::Unknown,
    }
}

fn sent(record: &Record, event: usize) -> Sent {
    let event = &record.events[event];
    let client = |conn: usize| record.conns[conn].client_id.clone();
    Sent { payload: as_read(&event.data), to: runs::to(&event.to, client), ephemeral: !event.durable() }
}

/// Where a reader began, and what it was told. A cursor that nobody was given by then may be a reset, whatever happened
/// to the log: it is as if none had been presented.
fn start(record: &Record, from: &model::From, resume: Resume, (life, step): (usize, usize)) -> (From, Verdict) {
    match from {
        model::From::After(text) if resume == Resume::Reset && !was_given(record, text, life, step) => {
            (From::Now, Verdict::Live)
        }
        from => (runs::from(from), runs::verdict(resume)),
    }
}

fn was_given(record: &Record, text: &str, life: usize, step: usize) -> bool {
    let Some(cursor) = fanfare_core::Cursor::parse(text) else { return false };
    let epochs = record.lives[..=life].iter().filter(|life| life.epoch == cursor.epoch);
    let answered = record.sends.iter().filter_map(|send| send.answer.as_ref()).filter(|(at, _)| *at <= step);
    let ids =
        answered.filter_map(|(_, answer)| answer.as_ref().ok()).flatten().filter_map(|receipt| receipt.id.as_deref());
    let mut places = ids.filter_map(fanfare_core::Cursor::parse).filter(|place| place.epoch == cursor.epoch);
    epochs.clone().any(|life| cursor.position <= life.tail) || places.any(|place| cursor.position <= place.position)
}
