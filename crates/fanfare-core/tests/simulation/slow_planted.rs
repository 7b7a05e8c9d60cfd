//! The checker on trial over slow readers: a sound record is falsified in one way each.

use super::check::check;
use super::model::{From, Stall, To, Trace, Who};
use super::publish::Draw;
use super::world::World;
use fanfare_core::{ConnectionOptions, HubConfig, SlowPolicy};

/// Connection 0 skipped and was told so, connection 1 was ended; both were cut in the middle of a frame before.
fn sound() -> Trace {
    let mut world = World::new(HubConfig::default(), [5, 7, 7, 2, 1 << 40, 5]);
    for policy in [SlowPolicy::Gap, SlowPolicy::Disconnect] {
        let options = ConnectionOptions { slow_policy: Some(policy), ..ConnectionOptions::default() };
        let conn = world.connect_with(Who::default(), From::Live, options).unwrap();
        let budget = world.greeting(conn).len() + 30;
        world.pipe(conn, "takes little more than its greeting", |pipe| pipe.budget = budget);
        world.attach(conn);
    }
    world.settle();
    let big = "x".repeat(200_000);
    world.publish(vec![Draw::new(To::All, "first"), Draw::new(To::All, "second")]);
    world.settle();
    world.publish((0..30).map(|number| Draw::new(To::All, &format!("{number}{big}"))).collect());
    world.settle();
    (0..2).for_each(|conn| world.writable(conn, usize::MAX, false));
    world.settle();
    world.publish(vec![Draw::new(To::All, "afterwards")]);
    world.converge();
    world.finish(true);
    world.into_trace()
}

const GAP: &str = "event: $gap\ndata: {\"reason\":\"slow\"}\n\n";

fn rules(trace: &Trace) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(trace).iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Takes the first piece of this text out of what a sink took, back to the beginning of its line before.
fn replace(trace: &mut Trace, conn: usize, from: &str, to: &str) {
    let text = String::from_utf8(trace.conns[conn].bytes.clone()).unwrap();
    let at = text.find(from).unwrap();
    let conn = &mut trace.conns[conn];
    conn.bytes.splice(at..at + from.len(), to.bytes());
    for (_, total, _) in &mut conn.chunks {
        if *total > at {
            *total = *total + to.len() - from.len();
        }
    }
}

/// The whole gap.
fn gap(trace: &Trace) -> String {
    let text = String::from_utf8(trace.conns[0].bytes.clone()).unwrap();
    text.split_inclusive("\n\n").find(|block| block.ends_with(GAP)).unwrap().to_owned()
}

#[test]
fn a_sound_record_has_nothing_to_answer_for() {
    let trace = sound();
    assert_eq!(check(&trace), []);
    let stats = trace.hubs[0].stats.as_ref().unwrap();
    assert_eq!((stats.slow_readers, stats.gaps), ([0, 1, 1], [0, 1, 0]), "the record has all there is");
}

#[test]
fn a_gap_for_a_reader_with_another_policy_or_without_a_stall_is_caught() {
    for policy in [SlowPolicy::CatchUp, SlowPolicy::Disconnect] {
        let mut trace = sound();
        trace.conns[0].slow_policy = policy;
        assert!(rules(&trace).contains(&"false gap"), "{policy:?}");
    }
    let mut trace = sound();
    trace.conns[0].stalls.clear();
    assert!(rules(&trace).contains(&"false gap"));
    // It stalled, but took everything since.
    let mut trace = sound();
    for stall in &mut trace.conns[0].stalls {
        *stall = Stall { total: 1, ..*stall };
    }
    assert!(rules(&trace).contains(&"false gap"));
}

#[test]
fn a_gap_for_a_reader_that_the_window_still_served_is_caught() {
    let mut trace = sound();
    for event in &mut trace.published {
        event.cost_max = event.cost_max.min(1_000);
    }
    assert!(rules(&trace).contains(&"false gap"));
    assert!(rules(&trace).contains(&"ending"), "and so is the end of the other: {:?}", rules(&trace));
}

#[test]
fn a_gap_that_is_not_told_or_is_told_twice_or_with_another_reason_is_caught() {
    let mut trace = sound();
    let told = gap(&trace);
    replace(&mut trace, 0, &told, "");
    assert!(rules(&trace).contains(&"loss"));
    let mut trace = sound();
    replace(&mut trace, 0, &told, &told.repeat(2));
    assert!(rules(&trace).contains(&"false gap"));
    let mut trace = sound();
    replace(&mut trace, 0, &told, &told.replace("slow", "retention"));
    assert!(rules(&trace).contains(&"false gap"));
    let mut trace = sound();
    replace(&mut trace, 0, &told, &told.replace("slow", "damaged"));
    assert!(rules(&trace).contains(&"torn"));
}

#[test]
fn a_gap_inside_a_frame_or_behind_another_is_caught() {
    let mut trace = sound();
    let told = gap(&trace);
    replace(&mut trace, 0, &format!("data: first\n\n{told}"), &format!("{told}data: first\n\n"));
    assert!(rules(&trace).contains(&"torn"), "{:?}", rules(&trace));
    // As if the second event had been written behind the rest of the first.
    let mut trace = sound();
    let second = trace.published[1].id.clone().unwrap();
    let between = format!("id: {second}\nevent: update\ndata: second\n\n{told}");
    replace(&mut trace, 0, &told, &between);
    assert!(rules(&trace).contains(&"false gap"), "{:?}", rules(&trace));
}

#[test]
fn a_gap_that_names_another_place_than_it_skips_to_is_caught() {
    let trace = sound();
    let (told, last) = (gap(&trace), trace.published.len() - 1);
    let id = |number: usize| trace.published[number].id.clone().unwrap();
    let moved = |number: usize| {
        let mut trace = sound();
        replace(&mut trace, 0, &told, &format!("id: {}\n{GAP}", id(number)));
        rules(&trace)
    };
    assert!(moved(last).contains(&"order"), "beyond: {:?}", moved(last));
    assert!(moved(last - 2).contains(&"loss"), "before: {:?}", moved(last - 2));
}

#[test]
fn an_end_by_policy_for_a_reader_with_another_or_one_that_took_everything_is_caught() {
    for policy in [SlowPolicy::CatchUp, SlowPolicy::Gap] {
        let mut trace = sound();
        trace.conns[1].slow_policy = policy;
        assert!(rules(&trace).contains(&"ending"), "{policy:?}");
    }
    let mut trace = sound();
    trace.conns[1].stalls.clear();
    assert!(rules(&trace).contains(&"ending"));
}
