//! The table of answers, and a hub over a store that answers when it is told to.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

use super::*;
use crate::sink::NoSink;
use crate::store::{Durability, Sequencer, Store, Submission};
use crate::{Event, Hub, HubConfig, Seed, Target};
use std::sync::mpsc::{Receiver, channel};

fn key(text: &str, fingerprint: u128) -> IdempotencyKey {
    IdempotencyKey { key: text.into(), fingerprint }
}

fn receipts(id: &str) -> Vec<Receipt> {
    vec![Receipt { id: Some(id.into()), clients: 0, durability: Durability::Memory }]
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn reply() -> (Reply, Receiver<Answer>) {
    let (sender, told) = channel();
    (Box::new(move |answer| _ = sender.send(answer)), told)
}

/// Claims for `events` events; gives what the store would call, if the claim is the first, and what is answered.
fn claim(answers: &Arc<Answers>, key: &IdempotencyKey, events: usize, now: Now) -> (Option<Reply>, Receiver<Answer>) {
    let (reply, told) = reply();
    (answers.claim(key, events, now, reply), told)
}

/// A whole publish under a key that must be new.
fn done(answers: &Arc<Answers>, text: &str, now: Now) {
    claim(answers, &key(text, 1), 1, now).0.unwrap()(Ok(receipts(text)));
}

/// Whether a key has an answer. It is not claimed by asking.
fn knows(answers: &Arc<Answers>, text: &str, now: Now) -> bool {
    let (first, told) = claim(answers, &key(text, 1), 1, now);
    first.is_none() && told.try_recv().unwrap() == Ok(receipts(text))
}

#[test]
fn twins_wait_for_the_first_and_get_its_answer() {
    let answers = Arc::new(Answers::new(10, 1_000));
    let (first, first_told) = claim(&answers, &key("k", 1), 1, at(0));
    let (second, second_told) = claim(&answers, &key("k", 1), 1, at(0));
    let (other, other_told) = claim(&answers, &key("k", 2), 1, at(0));
    assert!(second.is_none() && other.is_none());
    assert_eq!(other_told.try_recv().unwrap(), Err(PublishError::KeyReused), "another request is refused at once");
    assert!(second_told.try_recv().is_err(), "the second waits");
    // Who is answered may come back to the table: no lock is held.
    let (sender, told) = channel();
    let table = Arc::clone(&answers);
    let third = answers.claim(
        &key("k", 1),
        1,
        at(0),
        Box::new(move |answer| sender.send((answer, knows(&table, "k", at(0)))).unwrap()),
    );
    assert!(third.is_none());
    // The first caller went away meanwhile.
    drop(first_told);
    first.unwrap()(Ok(receipts("k")));
    assert_eq!(second_told.try_recv().unwrap(), Ok(receipts("k")));
    assert_eq!(told.try_recv().unwrap(), (Ok(receipts("k")), true));
    assert!(knows(&answers, "k", at(0)), "and who comes later");
    assert_eq!(claim(&answers, &key("k", 2), 1, at(0)).1.try_recv().unwrap(), Err(PublishError::KeyReused));
}

#[test]
fn a_failure_is_told_to_all_and_remembered_by_nobody() {
    let answers = Arc::new(Answers::new(10, 1_000));
    let failure = Err(PublishError::Conflict { index: 0, last: None });
    let (first, first_told) = claim(&answers, &key("k", 1), 1, at(0));
    let (_, second_told) = claim(&answers, &key("k", 1), 1, at(0));
    first.unwrap()(failure.clone());
    assert_eq!((first_told.try_recv().unwrap(), second_told.try_recv().unwrap()), (failure.clone(), failure));
    assert_eq!(lock(&answers.known).bytes, 0);
    assert!(claim(&answers, &key("k", 2), 1, at(0)).0.is_some(), "another request may have the key now");
}

#[test]
fn a_reply_that_is_dropped_uncalled_is_a_failure() {
    let answers = Arc::new(Answers::new(10, 1_000));
    let (first, first_told) = claim(&answers, &key("k", 1), 1, at(0));
    let (_, second_told) = claim(&answers, &key("k", 1), 1, at(0));
    drop(first);
    assert_eq!(first_told.try_recv().unwrap(), Err(PublishError::Closed));
    assert_eq!(second_told.try_recv().unwrap(), Err(PublishError::Closed));
    done(&answers, "k", at(0));
    assert!(knows(&answers, "k", at(0)));
}

#[test]
fn the_memory_of_large_batches_is_bounded() {
    let answers = Arc::new(Answers::new(100_000, 1_000));
    for number in 0..2_000 {
        let text = number.to_string();
        claim(&answers, &key(&text, 1), 1_000, at(0)).0.unwrap()(Ok(receipts(&text)));
    }
    let known = lock(&answers.known);
    assert!(known.bytes <= IDEMPOTENCY_BYTES && known.by_key.len() > 500, "{} bytes", known.bytes);
    assert!(known.by_key.contains_key("1999") && !known.by_key.contains_key("0"), "the oldest go first");
    assert_eq!(known.by_key.values().map(|entry| entry.bytes).sum::<usize>(), known.bytes);
}

#[test]
fn a_retry_at_a_full_table_finds_its_own_answer_and_pending_keys_stay() {
    let answers = Arc::new(Answers::new(2, 1_000));
    done(&answers, "a", at(0));
    done(&answers, "b", at(0));
    assert!(knows(&answers, "a", at(0)));
    assert_eq!(claim(&answers, &key("a", 2), 1, at(0)).1.try_recv().unwrap(), Err(PublishError::KeyReused));
    let (pending, _told) = claim(&answers, &key("c", 1), 1, at(0));
    assert!(lock(&answers.known).by_key.len() == 2 && knows(&answers, "b", at(0)), "the oldest made room");
    for number in 0..5 {
        done(&answers, &number.to_string(), at(2_000));
    }
    assert!(lock(&answers.known).by_key.len() == 2 && knows(&answers, "4", at(2_000)));
    let (twin, told) = claim(&answers, &key("c", 1), 1, at(9_000));
    assert!(twin.is_none() && told.try_recv().is_err(), "neither room nor age push a pending key out");
    pending.unwrap()(Ok(receipts("c")));
    assert_eq!(told.try_recv().unwrap(), Ok(receipts("c")));
}

#[test]
fn answers_are_remembered_as_long_as_the_history_and_a_day_at_most() {
    for (history_ms, age_ms) in [(1_000, 1_000), (u64::MAX, IDEMPOTENCY_AGE_MS)] {
        let answers = Arc::new(Answers::new(10, history_ms));
        done(&answers, "k", at(5));
        assert!(knows(&answers, "k", at(5 + age_ms)));
        assert!(claim(&answers, &key("k", 2), 1, at(6 + age_ms)).0.is_some());
    }
}

#[test]
fn answers_of_another_life_are_remembered_for_what_is_left_of_their_time() {
    let answers = Arc::new(Answers::new(3, 1_000));
    answers.remember(&key("too old", 1), receipts("too old"), 1_001, at(0));
    answers.remember(&key("old", 1), receipts("old"), 900, at(0));
    answers.remember(&key("twice", 1), receipts("first"), 800, at(0));
    answers.remember(&key("twice", 1), receipts("twice"), 100, at(0));
    assert_eq!(lock(&answers.known).by_key.len(), 2);
    assert!(knows(&answers, "old", at(100)) && knows(&answers, "twice", at(100)));
    assert_eq!(claim(&answers, &key("old", 2), 1, at(100)).1.try_recv().unwrap(), Err(PublishError::KeyReused));
    assert!(claim(&answers, &key("old", 1), 1, at(101)).0.is_some() && knows(&answers, "twice", at(101)));
    // What is pending is what is true now.
    let (pending, told) = claim(&answers, &key("now", 1), 1, at(101));
    answers.remember(&key("now", 2), receipts("before"), 0, at(101));
    pending.unwrap()(Ok(receipts("now")));
    assert_eq!(told.try_recv().unwrap(), Ok(receipts("now")));
    for number in 0..5 {
        answers.remember(&key(&number.to_string(), 1), receipts(&number.to_string()), 0, at(200));
    }
    assert!(knows(&answers, "4", at(200)) && lock(&answers.known).by_key.len() == 3, "bounds are kept");
}

/// Holds submissions until told.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<Vec<Submission>>>);

impl Store for Later {
    fn submit(&self, submission: Submission, _: &dyn Sequencer) {
        lock(&self.0).push(submission);
    }
}

fn publish(hub: &Hub<NoSink>, data: &str, key: Option<IdempotencyKey>) -> Receiver<Answer> {
    let (reply, told) = reply();
    let event = Event::new("n", data).unwrap();
    hub.publish(vec![hub.draft(&event, &Target::All)], key, at(0), reply);
    told
}

#[test]
fn a_store_that_answers_later_gets_each_key_once() {
    let store = Later::default();
    let held = store.clone();
    let hub = Hub::<NoSink>::new(HubConfig::default(), Box::new(store), Seed([1, 2, 3, 4, 5, 6]), at(0)).0;
    // The caller goes away between submission and answer, and comes again.
    drop(publish(&hub, "1", Some(key("k", 1))));
    let again = publish(&hub, "1", Some(key("k", 1)));
    let submission = lock(&held.0).pop().unwrap();
    assert!(lock(&held.0).is_empty(), "the second was not submitted");
    assert_eq!(submission.key, Some(key("k", 1)), "the store may keep it");
    hub.release(submission, crate::store::Durability::Memory);
    let first = again.try_recv().unwrap().unwrap();
    assert_eq!(publish(&hub, "1", Some(key("k", 1))).try_recv().unwrap(), Ok(first));
    assert!(publish(&hub, "2", None).try_recv().is_err());
    assert_eq!((lock(&held.0).len(), hub.stats(at(0)).published), (1, 1));
    // A store that gives up.
    let lost = publish(&hub, "3", Some(key("lost", 1)));
    lock(&held.0).clear();
    assert_eq!(lost.try_recv().unwrap(), Err(PublishError::Closed));
    // Nothing to publish is nothing to keep, but its key is taken.
    let (nothing, told) = reply();
    hub.publish(Vec::new(), Some(key("nothing", 1)), at(0), nothing);
    assert_eq!(told.try_recv().unwrap(), Ok(Vec::new()));
    assert_eq!(publish(&hub, "4", Some(key("nothing", 2))).try_recv().unwrap(), Err(PublishError::KeyReused));
    // Answers of another life.
    hub.remember(key("before", 1), receipts("before"), 0, at(0));
    assert_eq!(publish(&hub, "5", Some(key("before", 1))).try_recv().unwrap(), Ok(receipts("before")));
    assert!(lock(&held.0).is_empty());
}
