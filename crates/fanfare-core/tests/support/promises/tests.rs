//! Violations planted in small runs: each is found, and by its own rule; the same runs without them are sound.

use super::*;

fn ids(ids: &[&str]) -> Outcome {
    Outcome::Acked(ids.iter().map(|id| Some((*id).to_owned())).collect())
}

fn publish(publisher: &str, payloads: &[(&str, To)], outcome: Outcome) -> Publish {
    let sent = |(payload, to): &(&str, To)| Sent { payload: (*payload).to_owned(), to: to.clone(), ephemeral: false };
    Publish {
        publisher: publisher.to_owned(),
        events: payloads.iter().map(sent).collect(),
        attempts: vec![Attempt { life: 1, outcome }],
    }
}

fn event(id: &str, payload: &str) -> Item {
    Item::Event { id: id.to_owned(), payload: payload.to_owned() }
}

fn reading(life: usize, who: Who, from: From, items: Vec<Item>) -> Reading {
    let verdict = if from == From::Now { Verdict::Live } else { Verdict::Resumed };
    let complete = from == From::Earliest;
    Reading { life, who, from, verdict, items, complete }
}

fn after(id: &str) -> From {
    From::After(id.to_owned())
}

fn place(id: &str) -> Item {
    Item::Place(id.to_owned())
}

fn user(name: &str) -> To {
    To::User(name.to_owned())
}

fn ada() -> Who {
    Who { user: Some("ada".to_owned()), ..Who::default() }
}

/// Two lives: four events in the first, one in the second.
fn sound() -> Run {
    let mut retried = publish("q", &[("e", To::All)], Outcome::Unknown);
    retried.attempts.push(Attempt { life: 2, outcome: ids(&["1.b.5"]) });
    Run {
        losses: Losses::Nothing,
        epochs: Vec::new(),
        publishes: vec![
            publish("p", &[("a", To::All)], ids(&["1.a.1"])),
            publish("p", &[("b", user("ada")), ("c", To::All)], ids(&["1.a.2", "1.a.3~own"])),
            publish("q", &[("d", user("bob"))], ids(&["1.a.4"])),
            retried,
            publish("q", &[("f", To::All)], Outcome::Refused),
        ],
        readings: vec![
            reading(1, ada(), From::Now, vec![place("1.a.0"), event("1.a.1", "a"), event("1.a.2", "b")]),
            reading(2, ada(), after("1.a.2"), vec![place("1.a.2"), event("1.a.3~own", "c"), place("1.a.4")]),
            reading(
                3,
                ada(),
                From::Earliest,
                vec![event("1.a.1", "a"), event("1.a.2", "b"), event("1.a.3~own", "c"), event("1.b.5", "e")],
            ),
        ],
    }
}

/// The rules that are broken, each once.
fn broken(run: &Run) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(run).into_iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn planted(plant: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    let mut run = sound();
    plant(&mut run);
    broken(&run)
}

#[test]
fn a_sound_run_breaks_nothing() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn an_acknowledged_event_that_is_gone_is_found() {
    let last = |run: &mut Run| _ = run.readings[2].items.pop();
    assert_eq!(planted(last), ["lost"], "the newest");
    assert_eq!(planted(|run| _ = run.readings[2].items.remove(1)), ["silent gap"], "one in between");
    let earliest = |run: &mut Run| _ = run.readings[2].items.remove(0);
    assert_eq!(planted(earliest), ["silent gap"], "the oldest");
    assert_eq!(planted(|run| run.readings[2].items.clear()), ["lost"], "everything");
}

#[test]
fn a_duplicate_is_found() {
    assert_eq!(planted(|run| run.readings[1].items.insert(1, event("1.a.2", "b"))), ["duplicate"], "after a resume");
    assert_eq!(planted(|run| run.readings[0].items.push(event("1.a.2", "b"))), ["duplicate"], "in a row");
    let twice = |run: &mut Run| run.readings[2].items.push(event("1.b.6", "e"));
    assert_eq!(planted(twice), ["duplicate"], "kept twice: a key that was forgotten");
}

#[test]
fn reordering_is_found() {
    assert_eq!(planted(|run| run.readings[2].items.swap(1, 2)), ["order", "silent gap"]);
    assert_eq!(planted(|run| run.readings[1].items.push(place("1.a.1"))), ["order"], "a place that runs back");
    let swapped = |run: &mut Run| {
        run.publishes.swap(0, 1);
    };
    assert_eq!(planted(swapped), ["publisher order"]);
}

#[test]
fn a_torn_batch_is_found() {
    let torn = |run: &mut Run| {
        run.publishes[1].attempts[0].outcome = Outcome::Unknown;
        run.readings[0].items.pop();
        run.readings[1].from = after("1.a.1");
        run.readings[1].items[0] = place("1.a.1");
        run.readings[2].items.remove(1);
    };
    assert_eq!(planted(torn), ["torn batch"]);
}

#[test]
fn two_payloads_under_one_id_are_found() {
    let reused = |run: &mut Run| run.publishes[2].attempts[0].outcome = ids(&["1.a.3"]);
    assert_eq!(planted(reused), ["one meaning"]);
}

#[test]
fn a_silent_gap_is_found() {
    assert_eq!(planted(|run| _ = run.readings[1].items.remove(1)), ["silent gap"], "a cursor that ran ahead");
    let told = |run: &mut Run| run.readings[1].items[1] = Item::Gap("1.a.3".to_owned());
    assert_eq!(planted(told), ["gap"], "told, where nothing was dropped");
    let dropped = |run: &mut Run| {
        told(run);
        run.losses = Losses::Dropped;
    };
    assert_eq!(planted(dropped), [""; 0], "told, where something was");
}

#[test]
fn a_resume_that_is_refused_is_found() {
    let reset = |run: &mut Run| {
        run.readings[1].verdict = Verdict::Reset;
        run.readings[1].items = vec![place("1.a.4")];
    };
    assert_eq!(planted(reset), ["reset"]);
    assert_eq!(planted(|run| run.readings[1].verdict = Verdict::Gap), ["gap"]);
    assert_eq!(planted(|run| run.readings[1].verdict = Verdict::Live), ["verdict"]);
}

#[test]
fn a_replay_to_a_stranger_is_found() {
    let stranger = |run: &mut Run| run.readings[2].items.insert(3, event("1.a.4", "d"));
    assert_eq!(planted(stranger), ["stranger"]);
}

#[test]
fn what_nobody_sent_or_was_refused_is_found() {
    assert_eq!(planted(|run| run.readings[2].items.push(event("1.b.6", "z"))), ["foreign"]);
    assert_eq!(planted(|run| run.readings[2].items.push(event("1.b.6", "f"))), ["refused"]);
    assert_eq!(planted(|run| run.readings[2].items.push(event("x", "e"))), ["id"]);
}

#[test]
fn another_answer_under_a_key_is_found() {
    let again = Attempt { life: 3, outcome: ids(&["1.b.6"]) };
    assert_eq!(planted(|run| run.publishes[3].attempts.push(again)), ["duplicate", "same answer"]);
    assert_eq!(planted(|run| run.publishes[1].attempts[0].outcome = ids(&["1.a.2"])), ["answer"]);
}

#[test]
fn a_lost_tail_is_covered_by_what_is_told_and_by_nothing_else() {
    // The second life lost what the first wrote from 3 on, and wrote something else there.
    let mut run = sound();
    run.losses = Losses::Damaged;
    run.publishes[3].attempts[1].outcome = ids(&["1.b.4"]);
    let told = vec![place("1.a.2"), Item::Gap("1.b.3".to_owned()), event("1.b.4", "e")];
    run.readings[1].items = told.clone();
    run.readings[2].items.truncate(2);
    run.readings[2].items.extend(told[1..].to_vec());
    assert_eq!(broken(&run), [""; 0]);
    run.readings[1].items.remove(1);
    assert_eq!(broken(&run), ["silent gap"]);
}
