//! The checker on trial: a sound record is falsified in one way each, and the checker must name the promise.

use super::check::check;
use super::model::{Call, From, To, Trace, Who};
use super::publish::Draw;
use super::world::World;
use fanfare_core::{HubConfig, PublishError};

/// A record with everything in it: broadcasts, a user's events, an ephemeral one, a resume and a gap. Connection 0
/// is user 0, connection 1 user 1, connection 2 user 0 again, resumed from what connection 0 had at first; the
/// log has dropped something of connection 3's.
fn sound() -> Trace {
    let config = HubConfig { log_bytes: 1, ..HubConfig::default() };
    let mut world = World::new(config, [3, 1, 4, 1, 5 << 40, 9]);
    let user = |number| Who { user: Some(number), ..Who::default() };
    let first = world.connect(user(0), From::Live).unwrap();
    world.attach(first);
    let second = world.connect(user(1), From::Live).unwrap();
    world.attach(second);
    let slow = world.connect(user(2), From::Live).unwrap();
    world.pipe(slow, "takes nothing after its greeting", |pipe| pipe.budget = 100);
    world.attach(slow);
    world.settle();
    for number in 0..6 {
        world.publish(vec![Draw::new(To::All, &format!("broadcast {number}"))]);
        world.publish(vec![Draw::new(To::User(0), &format!("mine {number}")), Draw::new(To::User(1), "other")]);
        world.publish(vec![Draw::new(To::All, &format!("passing {number}")).ephemeral()]);
        world.settle();
    }
    let resumed = world.connect(user(0), From::After(id_of(&world, 2))).unwrap();
    world.attach(resumed);
    world.settle();
    // Falls out of the window, and the log forgets: two runs of this are more than the window holds.
    for _ in 0..2 {
        let big = "x".repeat(200_000);
        world.publish((0..12).map(|number| Draw::new(To::User(2), &format!("{number}{big}"))).collect());
        world.settle();
    }
    world.advance(40_000);
    world.converge();
    world.finish(true);
    world.into_trace()
}

fn id_of(world: &World, number: usize) -> String {
    world.trace.published.iter().filter_map(|event| event.id.clone()).nth(number).unwrap()
}

/// Replaces one piece of what a connection's sink took; the chunks move along.
fn replace(trace: &mut Trace, conn: usize, from: &str, to: &str) {
    let conn = &mut trace.conns[conn];
    let at = conn.bytes.windows(from.len()).position(|bytes| bytes == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from:?} in {}", String::from_utf8_lossy(&conn.bytes)));
    conn.bytes.splice(at..at + from.len(), to.bytes());
    for (_, total, _) in &mut conn.chunks {
        if *total > at {
            *total = *total + to.len() - from.len();
        }
    }
}

fn rules(trace: &Trace) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(trace).iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn must_name(trace: &Trace, rule: &str) {
    let found = check(trace);
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule} is not among {found:.600?}");
}

/// The whole frame of the record that carries this data.
fn frame(trace: &Trace, conn: usize, data: &str) -> String {
    let text = String::from_utf8_lossy(&trace.conns[conn].bytes).into_owned();
    let block = text.split_inclusive("\n\n").find(|block| block.contains(&format!("data: {data}\n")));
    block.unwrap_or_else(|| panic!("{data:?} is not in {text:.3000}")).to_owned()
}

#[test]
fn a_sound_record_has_nothing_to_answer_for() {
    let trace = sound();
    assert_eq!(check(&trace), []);
    let text = |conn: usize| String::from_utf8_lossy(&trace.conns[conn].bytes).into_owned();
    assert!(text(3).contains("event: ping") && text(2).contains("event: $gap"), "the record has all there is");
}

#[test]
fn a_cursor_ahead_of_the_socket_is_caught() {
    let mut trace = sound();
    // The ephemeral event names the place before it; here it comes before what is there.
    let (passing, earlier) = (frame(&trace, 0, "passing 2"), frame(&trace, 0, "mine 2"));
    replace(&mut trace, 0, &passing, "");
    replace(&mut trace, 0, &earlier, &format!("{passing}{earlier}"));
    must_name(&trace, "cursor ahead");

    let mut trace = sound();
    let ping = frame(&trace, 3, &ping_data(&trace, 3));
    let first = frame(&trace, 3, "mine 5");
    // The ping of a resumed connection before the last record it stands for.
    replace(&mut trace, 3, &ping, "");
    replace(&mut trace, 3, &first, &format!("{ping}{first}"));
    must_name(&trace, "cursor ahead");

    // A place that nobody has reached.
    let mut trace = sound();
    let (text, epoch) = (ping_data(&trace, 3), trace.conns[3].verdict.cursor.rsplit_once('.').unwrap().0.to_owned());
    let ping = frame(&trace, 3, &text);
    let ahead = format!("id: {epoch}.zz\nevent: ping\ndata: {text}\n\n");
    replace(&mut trace, 3, &ping, &ahead);
    must_name(&trace, "cursor ahead");
}

fn ping_data(trace: &Trace, conn: usize) -> String {
    let stream = crate::whatwg::read(&trace.conns[conn].bytes, "");
    stream.blocks.iter().find(|block| block.event == "ping").unwrap().data.clone().unwrap()
}

#[test]
fn positions_taken_outside_the_lock_are_caught() {
    // Two records that reach a socket in another order than that of their positions.
    let mut trace = sound();
    let (one, two) = (frame(&trace, 0, "broadcast 3"), frame(&trace, 0, "mine 3"));
    replace(&mut trace, 0, &format!("{one}{two}"), &format!("{two}{one}"));
    must_name(&trace, "order");
    // Two publishers that draw the same one.
    let mut trace = sound();
    let id = trace.published.iter().find_map(|event| event.id.clone());
    trace.published.iter_mut().rfind(|event| event.durable()).unwrap().id = id;
    must_name(&trace, "one meaning");
    // Two publishers that overtake each other between position and release.
    let mut trace = sound();
    let places: Vec<usize> = (0..trace.published.len()).filter(|at| trace.published[*at].durable()).collect();
    trace.published.swap(places[4], places[5]);
    must_name(&trace, "order");
}

#[test]
fn a_torn_frame_is_caught() {
    // The rest of a cut frame was overwritten by what came next.
    let mut trace = sound();
    let (cut, next) = (frame(&trace, 0, "broadcast 2"), frame(&trace, 0, "mine 2"));
    replace(&mut trace, 0, &format!("{cut}{next}"), &format!("{}{next}", &cut[..cut.len() / 2]));
    assert!(rules(&trace).iter().any(|rule| ["torn", "loss", "order"].contains(rule)), "{:?}", rules(&trace));
    // A control frame in the middle of an event.
    let mut trace = sound();
    let cut = frame(&trace, 0, "broadcast 2");
    let half = cut.len() - 8;
    let ping = "id: 1.a.1\nevent: ping\ndata: {}\n\n";
    replace(&mut trace, 0, &cut, &format!("{}{ping}{}", &cut[..half], &cut[half..]));
    must_name(&trace, "torn");
    // One byte of a payload.
    let mut trace = sound();
    replace(&mut trace, 0, "broadcast 2", "broadcasf 2");
    must_name(&trace, "torn");
}

#[test]
fn a_gap_that_is_not_told_is_caught() {
    let mut trace = sound();
    let gap = frame(&trace, 2, r#"{"reason":"retention"}"#);
    replace(&mut trace, 2, &gap, "");
    must_name(&trace, "loss");
    // A verdict that hides it.
    let mut trace = sound();
    let resumed = &mut trace.conns[3];
    resumed.verdict.resume = fanfare_core::Resume::Live;
    must_name(&trace, "verdict");
    // A gap where nothing is gone.
    let mut trace = sound();
    let next = frame(&trace, 0, "mine 2");
    let id = next.lines().next().unwrap();
    let gap = format!("{id}\nevent: $gap\ndata: {{\"reason\":\"retention\"}}\n\n");
    replace(&mut trace, 0, &next, &gap);
    must_name(&trace, "false gap");
}

#[test]
fn a_lost_record_is_caught() {
    for data in ["broadcast 0", "mine 3", "broadcast 5"] {
        let mut trace = sound();
        let lost = frame(&trace, 0, data);
        replace(&mut trace, 0, &lost, "");
        assert!(rules(&trace).iter().any(|rule| ["loss", "cursor ahead"].contains(rule)), "{data}");
    }
    let mut trace = sound();
    let lost = frame(&trace, 0, "passing 3");
    replace(&mut trace, 0, &lost, "");
    must_name(&trace, "ephemeral");
}

#[test]
fn a_count_taken_twice_is_caught() {
    let mut trace = sound();
    trace.published[0].clients += 1;
    assert_eq!(rules(&trace), ["count"]);
}

#[test]
fn a_replay_that_ignores_identity_is_caught() {
    // The same bytes, but it was somebody else who came with the cursor.
    let mut trace = sound();
    trace.conns[3].who.user = Some(4);
    must_name(&trace, "identity");
}

#[test]
fn bytes_after_the_end_and_a_missing_greeting_are_caught() {
    let mut trace = sound();
    let again = frame(&trace, 1, "broadcast 5");
    trace.conns[1].bytes.extend_from_slice(again.as_bytes());
    let total = trace.conns[1].bytes.len();
    trace.conns[1].chunks.last_mut().unwrap().1 = total;
    must_name(&trace, "closing");
    let mut trace = sound();
    let greeting = format!(r#"{{"clientId":"{}"}}"#, trace.conns[0].client_id);
    let connected = frame(&trace, 0, &greeting);
    replace(&mut trace, 0, &connected, "");
    must_name(&trace, "connected");
}

#[test]
fn a_second_ping_and_a_wrong_counter_are_caught() {
    let mut trace = sound();
    let ping = frame(&trace, 3, &ping_data(&trace, 3));
    replace(&mut trace, 3, &ping, "");
    must_name(&trace, "ping");
    let mut trace = sound();
    trace.hubs[0].stats.as_mut().unwrap().events_sent += 1;
    assert_eq!(rules(&trace), ["stats"]);
    let mut trace = sound();
    trace.hubs[0].left = Some([1, 0, 0, 0]);
    assert_eq!(rules(&trace), ["directory"]);
}

/// Keys and expectations: attempt 0 is published, 1 is 0 again, 2 another under its key; 3 and 4 conflict; 5 is held
/// by the store, 6 its twin; 7 is lost.
fn answered() -> Trace {
    let mut world = World::new(HubConfig::default(), [3, 1, 4, 1, 5 << 40, 9]);
    let topic = |data: &str, expected: &str| Draw::new(To::Topic(1), data).expecting(expected);
    world.publish_under(Some((0, 7)), vec![topic("first", "none")]);
    world.publish_under(Some((0, 7)), vec![topic("again", "none")]);
    world.publish_under(Some((0, 8)), vec![topic("another", "none")]);
    world.publish(vec![topic("late", "none")]);
    let last = world.trace.published[0].id.clone().unwrap();
    world.publish(vec![topic("next", &last), topic("stale", &last)]);
    world.hold();
    world.publish_under(Some((1, 9)), vec![topic("held", &last)]);
    world.publish_under(Some((1, 9)), vec![topic("twin", &last)]);
    world.answer_held();
    world.hold();
    world.publish_under(Some((2, 10)), vec![topic("lost", "none")]);
    world.lose_held();
    world.finish(true);
    world.into_trace()
}

/// Changes what an attempt was answered.
fn answer(trace: &mut Trace, attempt: usize) -> &mut Result<Vec<fanfare_core::Receipt>, PublishError> {
    let said = trace.calls.iter_mut().find_map(|said| match &mut said.call {
        Call::Answered(number, answer) if *number == attempt => Some(answer),
        _ => None,
    });
    said.unwrap()
}

#[test]
fn answers_that_are_not_the_first_one_are_caught() {
    let trace = answered();
    assert_eq!(check(&trace), []);
    // A retry, a twin or a stranger that hears something else.
    for attempt in [1, 6] {
        let mut trace = trace.clone();
        answer(&mut trace, attempt).as_mut().unwrap()[0].clients += 1;
        must_name(&trace, "answers");
    }
    for attempt in [1, 2, 3, 4, 5, 6, 7] {
        let mut trace = trace.clone();
        *answer(&mut trace, attempt) = Err(PublishError::Conflict { index: 0, last: None });
        must_name(&trace, "answers");
    }
    for attempt in [2, 3, 4] {
        let mut trace = trace.clone();
        let first = answer(&mut trace, 0).clone();
        *answer(&mut trace, attempt) = first;
        must_name(&trace, "answers");
    }
}

#[test]
fn a_retry_that_reaches_the_store_and_a_publisher_that_hears_nothing_are_caught() {
    let trace = answered();
    for attempt in [1, 2, 6] {
        let mut trace = trace.clone();
        let asked = trace.calls.iter().position(|said| said.call == Call::Asked(attempt)).unwrap();
        let mut said = trace.calls[asked].clone();
        said.call = Call::Reached(attempt);
        trace.calls.insert(asked + 1, said);
        must_name(&trace, "answers");
    }
    for attempt in 0..8 {
        let mut trace = trace.clone();
        trace.calls.retain(|said| !matches!(said.call, Call::Answered(number, _) if number == attempt));
        must_name(&trace, "answers");
    }
}
