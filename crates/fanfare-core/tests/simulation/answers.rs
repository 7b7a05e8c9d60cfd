//! What publishers were answered, against a model that knows keys, topics and nothing of the engine's insides: a key
//! and a body that are known get the first answer and do not reach the store, another body is refused, and a conflict
//! is told exactly where there is one.

use super::check::place;
use super::model::{Attempt, Call, Said, Trace};
use fanfare_core::{Cursor, PublishError, Receipt};
use std::collections::{HashMap, VecDeque};

type Answer = Result<Vec<Receipt>, PublishError>;

/// A day.
const AGE_MAX_MS: u64 = 86_400_000;

enum State {
    Pending(Vec<usize>),
    Done(Vec<Receipt>),
}

struct Known {
    fingerprint: u128,
    /// By which it is forgotten, and when it was claimed among others of that time.
    until_ms: u64,
    serial: usize,
    state: State,
}

/// One hub by the model.
#[derive(Default)]
struct Model {
    hub: usize,
    keys: HashMap<u8, Known>,
    /// In the store, in order.
    queue: VecDeque<usize>,
    /// Must reach the store with the next call.
    reaches: Option<usize>,
    /// Must be answered with the next calls, in any order.
    due: Vec<(usize, Answer)>,
    tail: u64,
    last: HashMap<u8, u64>,
    /// Keys claimed so far.
    claims: usize,
}

pub fn check(trace: &Trace, say: &mut impl FnMut(&'static str, String)) {
    let mut model = Model::default();
    for Said { call, closed } in &trace.calls {
        let (Call::Asked(number) | Call::Reached(number) | Call::Lost(number) | Call::Answered(number, _)) = call;
        let attempt = &trace.attempts[*number];
        if attempt.hub != model.hub {
            model.must_be_quiet(say);
            model = Model { hub: attempt.hub, ..Model::default() };
        }
        if let Err(text) = model.follow(trace, call, *closed) {
            say("answers", format!("{call:.300?}: {text}, for {attempt:.300?}"));
            // What comes after it would be more of the same.
            return;
        }
    }
    model.must_be_quiet(say);
}

impl Model {
    fn must_be_quiet(&self, say: &mut impl FnMut(&'static str, String)) {
        let pending = self.keys.values().filter(|known| matches!(known.state, State::Pending(_))).count();
        if pending > 0 || !self.queue.is_empty() || !self.due.is_empty() || self.reaches.is_some() {
            say("answers", format!("{:?} were never answered, {pending} keys are pending for ever", self.queue));
        }
    }

    fn follow(&mut self, trace: &Trace, call: &Call, closed: bool) -> Result<(), String> {
        if let Some(number) = self.reaches.take() {
            self.queue.push_back(number);
            return if *call == Call::Reached(number) { Ok(()) } else { Err(format!("{number} is new")) };
        }
        if !self.due.is_empty() {
            let Call::Answered(number, answer) = call else { return Err(format!("{:?} are due", self.due)) };
            let place = self.due.iter().position(|(due, _)| due == number);
            let (_, right) = self.due.swap_remove(place.ok_or("others are due")?);
            return if right == *answer { Ok(()) } else { Err(format!("not {right:?}")) };
        }
        match call {
            Call::Asked(number) => self.ask(trace, *number),
            Call::Reached(_) => return Err("it is known".into()),
            Call::Lost(number) => {
                self.must_be_next(*number)?;
                // Without a key there is nobody who would tell.
                if trace.attempts[*number].key.is_some() {
                    self.settle(&trace.attempts[*number], *number, &Err(PublishError::Closed));
                }
            }
            Call::Answered(number, answer) => {
                self.must_be_next(*number)?;
                let attempt = &trace.attempts[*number];
                let right = match self.refusal(trace, attempt, closed) {
                    Some(error) => Err(error),
                    None => Ok(self.publish(attempt, answer)?),
                };
                if right != *answer {
                    return Err(format!("not {right:?}"));
                }
                self.settle(attempt, *number, &right);
                self.due.retain(|(due, _)| due != number);
            }
        }
        Ok(())
    }

    fn must_be_next(&mut self, number: usize) -> Result<(), String> {
        let next = self.queue.pop_front();
        if next == Some(number) { Ok(()) } else { Err(format!("not {next:?}")) }
    }

    fn ask(&mut self, trace: &Trace, number: usize) {
        let attempt = &trace.attempts[number];
        let Some((name, fingerprint)) = attempt.key else {
            self.reaches = Some(number);
            return;
        };
        self.keys.retain(|_, known| matches!(known.state, State::Pending(_)) || known.until_ms >= attempt.at_ms);
        if let Some(known) = self.keys.get_mut(&name) {
            match &mut known.state {
                _ if known.fingerprint != fingerprint => self.due.push((number, Err(PublishError::KeyReused))),
                State::Pending(waiting) => waiting.push(number),
                State::Done(receipts) => self.due.push((number, Ok(receipts.clone()))),
            }
            return;
        }
        let config = &trace.hubs[self.hub].config;
        while self.keys.len() >= config.idempotency_keys {
            let done = self.keys.iter().filter(|(_, known)| matches!(known.state, State::Done(_)));
            let Some(oldest) = done.min_by_key(|(_, known)| (known.until_ms, known.serial)) else { break };
            let oldest = *oldest.0;
            self.keys.remove(&oldest);
        }
        let until_ms = attempt.at_ms + config.log_age_ms.min(AGE_MAX_MS);
        let state = State::Pending(Vec::new());
        self.claims += 1;
        self.keys.insert(name, Known { fingerprint, until_ms, serial: self.claims, state });
        self.reaches = Some(number);
    }

    /// Why an attempt must be refused when the store is done with it.
    fn refusal(&self, trace: &Trace, attempt: &Attempt, closed: bool) -> Option<PublishError> {
        if closed {
            return Some(PublishError::Closed);
        }
        let epoch = trace.hubs[self.hub].epoch;
        let (mut tail, mut last) = (self.tail, self.last.clone());
        for (index, wanted) in attempt.wanted.iter().enumerate() {
            if let (Some(expected), Some(topic)) = (&wanted.expected, wanted.topic) {
                let there = last.get(&topic).copied();
                let place = place(expected).filter(|place| place.epoch == epoch).map(|place| place.position);
                let holds = if expected == "none" { there.is_none() } else { place.is_some() && place == there };
                if !holds {
                    let last = self.last.get(&topic).map(|position| Cursor { epoch, position: *position });
                    return Some(PublishError::Conflict { index, last });
                }
            }
            if wanted.durable {
                tail += 1;
                last.extend(wanted.topic.map(|topic| (topic, tail)));
            }
        }
        None
    }

    /// Takes what was published into the model. What the receipts say is judged elsewhere.
    fn publish(&mut self, attempt: &Attempt, answer: &Answer) -> Result<Vec<Receipt>, String> {
        let receipts = answer.as_ref().map_err(|_| "nothing speaks against it")?;
        if receipts.len() != attempt.wanted.len() {
            return Err(format!("{} receipts", receipts.len()));
        }
        for (wanted, receipt) in attempt.wanted.iter().zip(receipts) {
            if let Some(place) = receipt.id.as_deref().and_then(place) {
                self.tail = place.position;
                self.last.extend(wanted.topic.map(|topic| (topic, place.position)));
            }
        }
        Ok(receipts.clone())
    }

    /// Everybody who came under the key hears the same, and a success is remembered.
    fn settle(&mut self, attempt: &Attempt, number: usize, answer: &Answer) {
        let Some((name, _)) = attempt.key else { return };
        self.due.push((number, answer.clone()));
        let Some(known) = self.keys.get_mut(&name) else { return };
        if let State::Pending(waiting) = &mut known.state {
            self.due.extend(waiting.drain(..).map(|twin| (twin, answer.clone())));
        }
        match answer {
            Ok(receipts) => known.state = State::Done(receipts.clone()),
            Err(_) => _ = self.keys.remove(&name),
        }
    }
}
