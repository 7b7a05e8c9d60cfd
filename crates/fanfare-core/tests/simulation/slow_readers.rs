//! Slow readers, one history for each way to be one and to be none. The checker judges them like all others.

use super::model::{From, To, Trace, Who};
use super::publish::Draw;
use super::regressions::{sound, text};
use super::world::World;
use fanfare_core::limits::DATA_MAX;
use fanfare_core::{ConnectionOptions, Disconnect, HubConfig, SlowPolicy};

fn world(config: HubConfig) -> World {
    World::new(config, [1, 6, 1, 8, 3 << 40, 3])
}

/// The types of a stream's events, in order; runs of one type shown once.
fn types(trace: &Trace, conn: usize) -> Vec<String> {
    let blocks = crate::whatwg::read(&trace.conns[conn].bytes, "").blocks;
    let mut types: Vec<String> = blocks.into_iter().map(|block| block.event).collect();
    types.dedup();
    types
}

/// A connection of user `user` that takes its greeting and `more` bytes, and is offered an event of its own.
fn reader(world: &mut World, user: u8, policy: SlowPolicy, more: usize) -> usize {
    let options = ConnectionOptions { slow_policy: Some(policy), ..ConnectionOptions::default() };
    let who = Who { user: Some(user), ..Who::default() };
    let conn = world.connect_with(who, From::Live, options).unwrap();
    let budget = world.greeting(conn).len().saturating_add(more);
    world.pipe(conn, "begins", |pipe| pipe.budget = budget);
    world.attach(conn);
    world.settle();
    world.publish(vec![Draw::new(To::User(user), "its own")]);
    world.settle();
    conn
}

/// More than a window and less than an inbox.
fn flood(world: &mut World, to: &To) {
    let big = "x".repeat(DATA_MAX);
    world.publish((0..20).map(|_| Draw::new(to.clone(), &big)).collect());
    world.settle();
}

fn counted(trace: &Trace) -> ([u64; 3], [u64; 3], u64) {
    let stats = trace.hubs[0].stats.as_ref().unwrap();
    (stats.slow_readers, stats.gaps, stats.lagged)
}

#[test]
fn a_reader_that_catches_up_gets_everything() {
    let mut world = world(HubConfig { slow_policy: SlowPolicy::Disconnect, ..HubConfig::default() });
    let conn = reader(&mut world, 1, SlowPolicy::CatchUp, 20);
    flood(&mut world, &To::All);
    let trace = sound(world);
    assert_eq!(text(&trace, conn).matches("event: update").count(), 21);
    assert_eq!(counted(&trace), ([1, 0, 0], [0; 3], 1));
}

#[test]
fn a_reader_that_skips_gets_the_rest_of_its_frame_then_the_gap_then_the_present() {
    let mut world = world(HubConfig { slow_policy: SlowPolicy::Gap, ..HubConfig::default() });
    let who = Who { user: Some(1), ..Who::default() };
    // By the hub's policy.
    let conn = world.connect(who, From::Live).unwrap();
    let budget = world.greeting(conn).len() + 20;
    world.pipe(conn, "takes part of a frame", |pipe| pipe.budget = budget);
    world.attach(conn);
    world.settle();
    world.publish(vec![Draw::new(To::All, "cut in the middle")]);
    world.settle();
    flood(&mut world, &To::All);
    // Its frame is taken in two more pieces, the gap in two as well.
    for budget in [5, 40, 10] {
        world.writable(conn, budget, false);
        world.settle();
    }
    let present = world.hub.cursor();
    world.writable(conn, usize::MAX, false);
    world.publish(vec![Draw::new(To::All, "the present")]);
    let trace = sound(world);
    let text = text(&trace, conn);
    let gap = format!("id: {present}\nevent: $gap\ndata: {{\"reason\":\"slow\"}}\n\n");
    assert!(text.contains(&format!("data: cut in the middle\n\n{gap}")), "{text:.2000}");
    assert!(text.contains("data: the present") && !text.contains("xxx"), "{text:.2000}");
    assert_eq!(counted(&trace), ([0, 1, 0], [0, 1, 0], 0));
}

#[test]
fn a_reader_that_stays_full_is_told_of_one_gap_after_another() {
    let mut world = world(HubConfig::default());
    let conn = reader(&mut world, 1, SlowPolicy::Gap, 0);
    flood(&mut world, &To::All);
    world.writable(conn, 30, false);
    world.settle();
    flood(&mut world, &To::All);
    world.publish(vec![Draw::new(To::User(9), "not for it")]);
    let trace = sound(world);
    assert_eq!(types(&trace, conn), ["connected", "$gap", "$closing"]);
    assert_eq!(counted(&trace), ([0, 2, 0], [0, 2, 0], 0));
}

#[test]
fn a_reader_that_misses_nothing_is_told_of_no_gap() {
    let mut world = world(HubConfig { slow_policy: SlowPolicy::Gap, ..HubConfig::default() });
    reader(&mut world, 2, SlowPolicy::CatchUp, usize::MAX);
    let conn = world.connect(Who { user: Some(1), ..Who::default() }, From::Live).unwrap();
    let budget = world.greeting(conn).len() + 20;
    world.pipe(conn, "takes part of a frame", |pipe| pipe.budget = budget);
    world.attach(conn);
    world.settle();
    // Cut in the last frame that is for it, with another's behind it in the window.
    world.publish(vec![Draw::new(To::User(1), "its own"), Draw::new(To::User(2), "another's")]);
    world.settle();
    flood(&mut world, &To::User(2));
    let trace = sound(world);
    assert_eq!(types(&trace, conn), ["connected", "update", "$closing"]);
    assert_eq!(counted(&trace), ([0, 1, 0], [0; 3], 1), "it was slow; the other met a burst");
}

#[test]
fn a_reader_whose_policy_is_to_go_goes_although_it_never_takes_another_byte() {
    let mut world = world(HubConfig::default());
    let conn = reader(&mut world, 1, SlowPolicy::Disconnect, 20);
    flood(&mut world, &To::All);
    // Half the time that is given to one which stalls.
    world.advance(150_000);
    world.settle();
    let closed = world.trace.conns[conn].closed.expect("it is ended");
    assert_eq!(closed.reason, Disconnect::Slow);
    world.writable(conn, usize::MAX, false);
    let trace = sound(world);
    assert_eq!(counted(&trace), ([0, 0, 1], [0; 3], 0));
}

#[test]
fn a_reader_whose_policy_is_to_go_is_told_so_as_soon_as_it_takes_bytes() {
    let mut world = world(HubConfig::default());
    let conn = reader(&mut world, 1, SlowPolicy::Disconnect, 20);
    flood(&mut world, &To::All);
    world.writable(conn, usize::MAX, false);
    let trace = sound(world);
    assert_eq!(types(&trace, conn), ["connected", "update", "$closing"]);
    let text = text(&trace, conn);
    assert!(text.ends_with("data: {\"reason\":\"slow\",\"reconnect\":true}\n\n"), "{}", &text[text.len() - 200..]);
    assert_eq!(text.matches("event: update").count(), 1, "the rest of its frame, and nothing more");
    assert_eq!(counted(&trace), ([0, 0, 1], [0; 3], 0));
}

#[test]
fn a_slow_reader_that_is_revoked_is_not_told_to_come_back() {
    for policy in SlowPolicy::ALL {
        let mut world = world(HubConfig::default());
        let conn = reader(&mut world, 1, policy, 20);
        flood(&mut world, &To::All);
        // It takes bytes again, and before it is visited its end is in the inbox.
        world.writable(conn, usize::MAX, false);
        world.close_client(conn, Disconnect::Revoked);
        world.settle();
        assert_eq!(world.trace.conns[conn].closed.unwrap().reason, Disconnect::Revoked, "{policy:?}");
        let trace = sound(world);
        assert!(text(&trace, conn).ends_with("\"reason\":\"revoked\",\"reconnect\":false}\n\n"), "{policy:?}");
    }
}

#[test]
fn a_burst_beyond_the_window_makes_no_reader_slow_that_takes_everything() {
    for policy in SlowPolicy::ALL {
        let mut world = world(HubConfig::default());
        let conn = reader(&mut world, 1, policy, usize::MAX);
        flood(&mut world, &To::All);
        let trace = sound(world);
        assert_eq!(text(&trace, conn).matches("event: update").count(), 21, "{policy:?}");
        assert_eq!(counted(&trace), ([0; 3], [0; 3], 1), "{policy:?}");
    }
}

#[test]
fn an_inbox_that_ran_over_makes_nobody_slow() {
    for policy in SlowPolicy::ALL {
        let mut world = world(HubConfig::default());
        let conn = reader(&mut world, 1, policy, 20);
        let big = "x".repeat(DATA_MAX);
        world.publish((0..70).map(|_| Draw::new(To::All, &big)).collect());
        world.settle();
        let trace = sound(world);
        assert_eq!(text(&trace, conn).matches("event: update").count(), 71, "{policy:?}");
        assert_eq!(counted(&trace), ([0; 3], [0; 3], 1), "{policy:?}");
    }
}
