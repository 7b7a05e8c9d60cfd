//! The checker's look at the answers of one life: receipts, refusals, idempotency keys and expectations, in the order in
//! which they came.

use super::check::{Case, Entry, Key, Model};
use super::record::{Conn, End, Fault, Life, Record};
use crate::check::place;
use fanfare_core::disk::Condition;
use fanfare_core::{Durability, PublishError};

/// Answers, in the order in which they came and were submitted.
pub fn check(case: &Case<'_>, number: usize, model: &mut Model, say: &mut impl FnMut(&'static str, String)) {
    let record = case.record;
    let life = &record.lives[number];
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (send, made) in record.sends.iter().enumerate().filter(|(_, made)| made.life == number) {
        match &made.answer {
            Some((step, _)) => order.push((*step, send)),
            None if life.end == End::Clean => say("unanswered", format!("publish {send}")),
            None => {}
        }
    }
    order.sort_unstable();
    conditions(record, &order, say);
    let mut failed: Option<usize> = None;
    for (step, send) in order {
        let made = &record.sends[send];
        let durable = made.events.iter().any(|event| record.events[*event].durable());
        // Whatever else takes its turn with what is kept.
        let waits = durable || made.key.is_some() || !made.expects.is_empty();
        let Some((_, answer)) = &made.answer else { continue };
        let mark = &record.marks[step];
        let broken = (life.step..step)
            .find(|step| record.marks[*step].turned && record.marks[*step].broken > record.marks[step - 1].broken);
        failed = failed.or(broken);
        let before = known(case, model, number, send);
        if let Before::Twin(first) = before {
            // What it says was judged with the first.
            if record.sends[first].answer != made.answer {
                say("idempotent", format!("publish {send} and its twin {first} have other answers"));
            }
            continue;
        }
        match answer {
            Ok(receipts) => {
                let ids: Vec<Option<String>> = receipts.iter().map(|receipt| receipt.id.clone()).collect();
                match before {
                    Before::Same(key) if key.ids == ids => {
                        let first = &record.sends[key.send];
                        let same =
                            first.life != number || first.answer.as_ref().map(|(_, answer)| answer) == Some(answer);
                        if !same && life.config.idempotency_keys > 100 && young(case, number, send, &key) {
                            say("idempotent", format!("publish {send} has another answer than {}", key.send));
                        }
                        if same || ids.iter().any(Option::is_some) {
                            continue;
                        }
                    }
                    Before::Same(key) | Before::Other(key) if key.certain && young(case, number, send, &key) => {
                        say("idempotent", format!("publish {send} was {} before, and done again", key.send));
                    }
                    _ => {}
                }
                if durable && failed.is_some_and(|failed| failed < made.step) {
                    say("read-only", format!("publish {send} is kept although the disk failed in step {failed:?}"));
                }
                released(case, number, model, send, step, say);
            }
            Err(PublishError::KeyReused) => {
                let other = record.sends[..send].iter().any(|other| {
                    other.key.zip(made.key).is_some_and(|(other, own)| other.0 == own.0 && other.1 != own.1)
                });
                // An older answer counts again where the newer one is lost.
                let wrong = matches!(before, Before::Same(_)) && !case.damaged(step);
                if !other || wrong {
                    say("idempotent", format!("publish {send} is refused for its key"));
                }
            }
            Err(PublishError::Conflict { index, last }) => {
                let expected = conflict(case, model, send);
                let last = last.map(|last| last.to_string());
                // Behind a hole nobody knows a topic's last event, and no expectation holds.
                let hidden = !life.holes.is_empty() && last.is_none();
                if expected != Some((*index, last.clone())) && !unknown(case, life, step) && !hidden {
                    say(
                        "expected last",
                        format!("publish {send}: conflict at {index} with {last:?}, not {expected:?}"),
                    );
                }
            }
            Err(PublishError::Full) if waits => {
                if mark.full == record.marks[step - 1].full {
                    say("full", format!("publish {send} is told so, and there was room"));
                }
            }
            Err(PublishError::ReadOnly) if waits => {
                let broken = mark.broken > record.marks[life.step - 1].broken || mark.stopped;
                if !broken {
                    say("read-only", format!("publish {send} is told so, and the disk is well"));
                }
            }
            Err(error) => say("refused", format!("publish {send}: {error}")),
        }
    }
}

/// The disk is said to be as the last publish of a turn found it.
fn conditions(record: &Record, order: &[(usize, usize)], say: &mut impl FnMut(&'static str, String)) {
    for of_step in order.chunk_by(|one, other| one.0 == other.0).filter(|of_step| record.marks[of_step[0].0].turned) {
        let durable = |send: usize| record.sends[send].events.iter().any(|event| record.events[*event].durable());
        // The last that the writer looked at; a conflict, or an answer alone, may not have needed the disk, and
        // one with a key may be the twin of an earlier one.
        let waited = |send: &usize| {
            let made = &record.sends[*send];
            durable(*send) || made.key.is_some() || !made.expects.is_empty()
        };
        let Some(last) = of_step.iter().rev().map(|(_, send)| *send).find(waited) else { continue };
        let told = match record.sends[last].answer.as_ref().map(|(_, answer)| answer) {
            _ if record.sends[last].key.is_some() => None,
            Some(Ok(_)) if durable(last) => Some(Condition::Ok),
            Some(Err(PublishError::Full)) => Some(Condition::Full),
            Some(Err(PublishError::ReadOnly)) => Some(Condition::Failed),
            _ => None,
        };
        let said = record.marks[of_step[0].0].condition;
        // It may have failed while room was made for one that then did not fit.
        let (step, _) = of_step[0];
        let broke = record.marks[step].broken > record.marks[step - 1].broken && said == Some(Condition::Failed);
        if told.is_some() && told != said && !broke {
            say("condition", format!("{said:?} after step {step}, in which it was {told:?}"));
        }
    }
}

/// What a publish with a key must be answered by.
enum Before {
    Nothing,
    /// The first with this key waits still.
    Twin(usize),
    Same(Key),
    /// The key has another fingerprint.
    Other(Key),
}

fn known(case: &Case<'_>, model: &Model, number: usize, send: usize) -> Before {
    let record = case.record;
    let made = &record.sends[send];
    let Some((name, fingerprint)) = made.key else { return Before::Nothing };
    let waits = record.sends[..send].iter().position(|first| {
        first.life == number
            && first.key.is_some_and(|key| key.0 == name)
            && first
                .answer
                .as_ref()
                .is_none_or(|(step, answer)| *step > made.step && !matches!(answer, Err(PublishError::KeyReused)))
    });
    if let Some(first) = waits {
        let same = record.sends[first].key.is_some_and(|key| key.1 == fingerprint);
        let key = Key { send: first, ids: Vec::new(), certain: true };
        return if same { Before::Twin(first) } else { Before::Other(key) };
    }
    let known = model.keys.iter().rev().find(|key| record.sends[key.send].key.is_some_and(|key| key.0 == name));
    match known {
        None => Before::Nothing,
        Some(key) if record.sends[key.send].key == made.key => Before::Same(key.clone()),
        Some(key) => Before::Other(key.clone()),
    }
}

/// Its answer cannot be too old to be remembered.
fn young(case: &Case<'_>, number: usize, send: usize, key: &Key) -> bool {
    let age_ms = case.record.lives[number].disk.age_ms.min(86_400_000);
    case.record.sends[send].at_ms - case.record.sends[key.send].at_ms < age_ms
}

/// A publish that was released: its receipts are right, and its events are in the log from now on.
fn released(
    case: &Case<'_>,
    number: usize,
    model: &mut Model,
    send: usize,
    step: usize,
    say: &mut impl FnMut(&'static str, String),
) {
    let record = case.record;
    let life = &record.lives[number];
    let made = &record.sends[send];
    let Some((_, Ok(receipts))) = &made.answer else { return };
    if receipts.len() != made.events.len() {
        return say("receipt", format!("{} receipts for publish {send}", receipts.len()));
    }
    if let Some(conflict) = conflict(case, model, send)
        && !unknown(case, life, step)
    {
        say("expected last", format!("publish {send} is released, but conflicts: {conflict:?}"));
    }
    for (event, receipt) in made.events.iter().zip(receipts) {
        let thing = &record.events[*event];
        let level = if thing.durable() { Durability::Disk } else { Durability::Ephemeral };
        if receipt.durability != level || receipt.id.is_some() != thing.durable() {
            say("receipt", format!("{receipt:?} for {thing:.200?}"));
        }
        let counted = |conn: &(usize, &Conn)| {
            let (conn, made) = conn;
            made.life == number
                && made.step <= step
                && made.gone.unwrap_or(usize::MAX) > step
                && thing.to.matches(&made.who, Some(*conn))
        };
        let clients = record.conns.iter().enumerate().filter(counted).count();
        // An answer without an id, given again: nothing tells it from a first.
        let again = receipt.id.is_none() && made.key.is_some();
        if clients != receipt.clients && !thing.to.is_nobody() && !again {
            say("count", format!("{} and not {clients} for {thing:.200?}", receipt.clients));
        }
        let Some(id) = &receipt.id else { continue };
        let own = thing.own_id.as_ref().map_or(String::new(), |own| format!("~{own}"));
        let Some(place) = place(id).filter(|place| place.epoch == life.epoch && place.suffix == own) else {
            say("receipt", format!("{id} for {thing:.200?}"));
            continue;
        };
        if place.position <= model.tail(life, usize::MAX) {
            say("order", format!("{id} was released after {}", model.tail(life, usize::MAX)));
        }
        model.entries.push(Entry { position: place.position, id: id.clone(), event: *event, step });
    }
    let ids: Vec<Option<String>> = receipts.iter().map(|receipt| receipt.id.clone()).collect();
    if made.key.is_some() {
        // Without an id nobody can tell an answer that is given again from a first.
        let certain = life.config.idempotency_keys > 100 && ids.iter().any(Option::is_some);
        model.keys.push(Key { send, ids, certain });
    }
}

/// The last event of a topic need not be known to the log.
fn unknown(case: &Case<'_>, life: &Life, step: usize) -> bool {
    case.damaged(step) || case.faulted(0..=life.step, |fault| fault == Fault::Full)
}

/// The first expectation of a publish that does not hold, with the last event that its topic has.
fn conflict(case: &Case<'_>, model: &Model, send: usize) -> Option<(usize, Option<String>)> {
    let made = &case.record.sends[send];
    for expected in &made.expects {
        let to = &case.record.events[made.events[expected.index]].to;
        let last = model.entries.iter().rev().find(|entry| case.event(entry).to == *to);
        let last = last.map(|entry| entry.id.split('~').next().unwrap_or_default().to_owned());
        let earlier = made.events[..expected.index].iter().map(|event| &case.record.events[*event]);
        let overtaken = earlier.clone().any(|event| event.durable() && event.to == *to);
        let holds = match &last {
            _ if overtaken => false,
            None => expected.text == "none",
            Some(last) => expected.text.split('~').next() == Some(last),
        };
        if !holds {
            return Some((expected.index, last));
        }
    }
    None
}
