//! Answers given under idempotency keys: a publish that is sent again is not done again.
//!
//! Owns the table of keys and its bounds. A key is *pending* from the moment its submission goes to the store until the
//! store answers, whoever still listens: a caller that went away between the two and comes again finds what it began.
//! Then it is *done*, with its receipts, or forgotten if nothing was published. The table has a lock of its own, under
//! which no reply is called: whoever is answered may publish.

use crate::limits::{IDEMPOTENCY_AGE_MS, IDEMPOTENCY_BYTES};
use crate::store::{IdempotencyKey, PublishError, Receipt, Reply};
use crate::sync::{Mutex, lock};
use crate::time::Now;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Answer = Result<Vec<Receipt>, PublishError>;

/// What a key costs besides its text, about, and an answer for each event.
const KEY_BYTES: usize = 200;
const RECEIPT_BYTES: usize = 100;

enum State {
    /// The store has it; these wait besides the first.
    Pending(Vec<Reply>),
    Done(Vec<Receipt>),
}

struct Entry {
    fingerprint: u128,
    /// What it costs, about.
    bytes: usize,
    /// Until when it is remembered, and a number that tells it from others of that millisecond.
    until: (u64, u64),
    state: State,
}

#[derive(Default)]
struct Known {
    by_key: HashMap<Arc<str>, Entry>,
    /// Keys that are done, the oldest first. Pending ones are not among them: nobody pushes them out, or what they
    /// stand for could be published twice. Their number is that of the publishes in flight.
    done: BTreeMap<(u64, u64), Arc<str>>,
    bytes: usize,
    serial: u64,
}

/// See the module.
pub(super) struct Answers {
    known: Mutex<Known>,
    keys_max: usize,
    age_max_ms: u64,
}

impl Answers {
    pub(super) fn new(keys_max: usize, history_age_ms: u64) -> Self {
        let age_max_ms = history_age_ms.min(IDEMPOTENCY_AGE_MS);
        Self { known: Mutex::new(Known::default()), keys_max: keys_max.max(1), age_max_ms }
    }

    /// Claims a key for a submission of `events` events. The first gets its reply back, wrapped so that the table hears
    /// the store's answer. For all others nothing is to be done: they are answered, at once or with the first.
    pub(super) fn claim(
        self: &Arc<Self>,
        key: &IdempotencyKey,
        events: usize,
        now: Now,
        reply: Reply,
    ) -> Option<Reply> {
        let answer = {
            let mut known = lock(&self.known);
            // Room is made after the look for the key: a retry must not push itself out.
            known.forget_while(|_, until_ms| now.mono_ms > until_ms);
            match known.by_key.get_mut(&*key.key) {
                None => {
                    let name = self.insert(&mut known, key, events, now.mono_ms + self.age_max_ms, State::pending());
                    let mut claim = Claim { answers: Arc::clone(self), key: name, reply: Some(reply) };
                    return Some(Box::new(move |answer| claim.settle(answer)));
                }
                Some(entry) if entry.fingerprint != key.fingerprint => Err(PublishError::KeyReused),
                Some(Entry { state: State::Pending(waiting), .. }) => {
                    waiting.push(reply);
                    return None;
                }
                Some(Entry { state: State::Done(receipts), .. }) => Ok(receipts.clone()),
            }
        };
        reply(answer);
        None
    }

    /// Takes an answer in that was given `age_ms` ago, in another life.
    pub(super) fn remember(&self, key: &IdempotencyKey, receipts: Vec<Receipt>, age_ms: u64, now: Now) {
        let Some(left_ms) = self.age_max_ms.checked_sub(age_ms) else { return };
        let mut known = lock(&self.known);
        match known.by_key.get(&*key.key).map(|entry| (entry.until, &entry.state)) {
            Some((_, State::Pending(_))) => return,
            Some((until, State::Done(_))) => known.forget(until),
            None => {}
        }
        let events = receipts.len();
        self.insert(&mut known, key, events, now.mono_ms + left_ms, State::Done(receipts));
    }

    /// Makes room, then enters a key that is not in the table.
    fn insert(&self, known: &mut Known, key: &IdempotencyKey, events: usize, until_ms: u64, state: State) -> Arc<str> {
        let bytes = KEY_BYTES + 2 * key.key.len() + RECEIPT_BYTES * events;
        known.forget_while(|known, _| known.by_key.len() >= self.keys_max || known.bytes + bytes > IDEMPOTENCY_BYTES);
        known.serial += 1;
        known.bytes += bytes;
        let (name, until): (Arc<str>, _) = (key.key.as_ref().into(), (until_ms, known.serial));
        if matches!(state, State::Done(_)) {
            known.done.insert(until, Arc::clone(&name));
        }
        known.by_key.insert(Arc::clone(&name), Entry { fingerprint: key.fingerprint, bytes, until, state });
        name
    }

    /// Keeps the answer for a pending key, or forgets the key if nothing was published. Gives those who wait.
    fn settle(&self, key: &Arc<str>, answer: &Answer) -> Vec<Reply> {
        let mut lock = lock(&self.known);
        let known = &mut *lock;
        let Some(entry) = known.by_key.get_mut(key) else { return Vec::new() };
        let State::Pending(waiting) = &mut entry.state else { return Vec::new() };
        let waiting = core::mem::take(waiting);
        if let Ok(receipts) = answer {
            entry.state = State::Done(receipts.clone());
            known.done.insert(entry.until, Arc::clone(key));
        } else if let Some(entry) = known.by_key.remove(key) {
            known.bytes -= entry.bytes;
        }
        waiting
    }
}

impl State {
    fn pending() -> Self {
        Self::Pending(Vec::new())
    }
}

impl Known {
    /// Forgets the oldest keys that are done while `must` says so of the next.
    fn forget_while(&mut self, must: impl Fn(&Self, u64) -> bool) {
        while let Some((until, _)) = self.done.first_key_value() {
            let until = *until;
            if !must(self, until.0) {
                break;
            }
            self.forget(until);
        }
    }

    fn forget(&mut self, until: (u64, u64)) {
        if let Some(entry) = self.done.remove(&until).and_then(|key| self.by_key.remove(&key)) {
            self.bytes -= entry.bytes;
        }
    }
}

/// A pending key in the hands of the store.
struct Claim {
    answers: Arc<Answers>,
    key: Arc<str>,
    /// Taken when it is settled.
    reply: Option<Reply>,
}

impl Claim {
    fn settle(&mut self, answer: Answer) {
        let Some(first) = self.reply.take() else { return };
        let waiting = self.answers.settle(&self.key, &answer);
        first(answer.clone());
        for reply in waiting {
            reply(answer.clone());
        }
    }
}

impl Drop for Claim {
    /// A store that lets go of a submission unanswered must not leave its key pending for ever.
    fn drop(&mut self) {
        self.settle(Err(PublishError::Closed));
    }
}

#[cfg(test)]
mod tests;
