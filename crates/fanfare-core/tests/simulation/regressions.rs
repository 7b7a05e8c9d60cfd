//! Histories that once broke a promise, each cut down to what it takes, and one that chance seldom gets to. The
//! checker judges them like all others.

use super::check::check;
use super::model::{From, To, Trace, Who};
use super::publish::Draw;
use super::world::World;
use fanfare_core::limits::DATA_MAX;
use fanfare_core::{Disconnect, HubConfig};

fn world(config: HubConfig) -> World {
    World::new(config, [2, 7, 1, 8, 2 << 40, 8])
}

/// The history, judged by the checker.
pub fn sound(mut world: World) -> Trace {
    world.converge();
    world.finish(true);
    let trace = world.into_trace();
    assert_eq!(check(&trace), [], "{}", trace.told.join("\n"));
    trace
}

/// What a stream got.
pub fn text(trace: &Trace, conn: usize) -> String {
    String::from_utf8_lossy(&trace.conns[conn].bytes).into_owned()
}

fn live(world: &mut World, budget: usize) -> usize {
    let conn = world.connect(Who::default(), From::Live).unwrap();
    world.pipe(conn, "begins", |pipe| pipe.budget = budget);
    world.attach(conn);
    conn
}

/// A place with something before it.
fn cursor(world: &World) -> String {
    world.hub.cursor().to_string()
}

#[test]
fn a_forged_client_id_reaches_nobody_not_even_one_that_lags() {
    let mut world = world(HubConfig::default());
    world.publish(vec![Draw::new(To::All, "before")]);
    let conn = world.connect(Who::default(), From::Earliest).unwrap();
    let forged = super::chance::forged(&world.trace.conns[conn].client_id);
    world.publish(vec![Draw::new(To::Forged(forged), "not for you")]);
    world.attach(conn);
    let trace = sound(world);
    assert!(text(&trace, conn).contains("before") && !text(&trace, conn).contains("not for you"));
    assert_eq!(trace.published[1].clients, 0);
}

#[test]
fn nothing_comes_behind_a_gap_that_was_told_while_the_log_ran_ahead_of_the_shard() {
    let mut world = world(HubConfig { log_bytes: 1, ..HubConfig::default() });
    let busy = live(&mut world, usize::MAX);
    world.publish(vec![Draw::new(To::All, "first")]);
    let lags = world.connect(Who::default(), From::Earliest).unwrap();
    world.pipe(lags, "takes nothing", |pipe| pipe.budget = 0);
    world.attach(lags);
    world.settle();
    // While the busy one is written, the log drops what the shard has yet to hear of; then the lagging one reads.
    world.publish(vec![Draw::new(To::All, "second")]);
    let many = (0..100).map(|number| Draw::new(To::All, &format!("{number} {}", "x".repeat(300)))).collect();
    world.publish_meanwhile(None, many);
    world.writable(lags, usize::MAX, true);
    world.turn(0);
    let trace = sound(world);
    assert!(text(&trace, lags).contains("$gap") && !text(&trace, busy).contains("$gap"));
}

/// The checker once took the last attempt to write for the beginning of a stall.
#[test]
fn who_is_written_to_in_vain_is_slow_from_its_last_byte_on() {
    let mut world = world(HubConfig { stall_timeout_ms: 5_000, ..HubConfig::default() });
    let conn = live(&mut world, 30);
    world.settle();
    world.advance(4_990);
    world.writable(conn, usize::MAX, false);
    world.pipe(conn, "takes nothing after all", |pipe| pipe.budget = 0);
    world.settle();
    world.advance(200);
    world.settle();
    let trace = sound(world);
    assert_eq!(trace.conns[conn].closed.map(|closed| closed.reason), Some(Disconnect::Slow));
}

#[test]
fn a_cut_frame_that_is_finished_after_a_planned_end_counts_as_sent() {
    let mut world = world(HubConfig::default());
    let conn = live(&mut world, usize::MAX);
    world.settle();
    world.pipe(conn, "takes half a frame", |pipe| pipe.budget = 20);
    world.publish(vec![Draw::new(To::All, "whole in the end")]);
    world.settle();
    world.close_client(conn, Disconnect::Revoked);
    world.settle();
    world.writable(conn, usize::MAX, false);
    let trace = sound(world);
    assert!(text(&trace, conn).contains("whole in the end"));
    assert_eq!(trace.hubs[0].stats.as_ref().unwrap().events_sent, 1);
}

#[test]
fn a_full_sink_is_left_alone_at_a_planned_end() {
    let mut world = world(HubConfig::default());
    let conn = live(&mut world, 0);
    world.settle();
    world.close_client(conn, Disconnect::Revoked);
    world.settle();
    world.writable(conn, usize::MAX, false);
    let trace = sound(world);
    assert!(text(&trace, conn).ends_with("\"reason\":\"revoked\",\"reconnect\":false}\n\n"));
}

#[test]
fn a_resumed_connection_hears_its_first_ping_although_an_event_comes_before_it() {
    let mut world = world(HubConfig::default());
    let from = From::After(cursor(&world));
    let conn = world.connect(Who::default(), from).unwrap();
    world.publish(vec![Draw::new(To::All, "at once")]);
    world.attach(conn);
    let trace = sound(world);
    assert_eq!(text(&trace, conn).matches("event: ping").count(), 1);
}

#[test]
fn a_ping_that_found_no_room_comes_when_there_is_some() {
    let mut world = world(HubConfig::default());
    let from = From::After(cursor(&world));
    let conn = world.connect(Who::default(), from).unwrap();
    let room = world.greeting(conn).len();
    world.pipe(conn, "has room for its greeting only", |pipe| pipe.budget = room);
    world.attach(conn);
    world.settle();
    world.writable(conn, usize::MAX, false);
    let trace = sound(world);
    assert_eq!(text(&trace, conn).matches("event: ping").count(), 1);
}

#[test]
fn a_heartbeat_is_not_skipped_because_others_made_the_inbox_run_over() {
    let mut world = world(HubConfig { ping_interval_ms: 20_000, ..HubConfig::default() });
    let busy = world.connect(Who { user: Some(1), ..Who::default() }, From::Live).unwrap();
    world.attach(busy);
    let quiet = live(&mut world, usize::MAX);
    world.settle();
    world.advance(20_000);
    // More than an inbox holds, none of it for the quiet one.
    let big = "x".repeat(DATA_MAX);
    world.publish((0..70).map(|_| Draw::new(To::User(1), &big)).collect());
    world.settle();
    let trace = sound(world);
    assert_eq!(text(&trace, quiet).matches("event: ping").count(), 1);
}

#[test]
fn an_inbox_that_ran_over_loses_nothing_that_the_log_has() {
    let mut world = world(HubConfig::default());
    let busy = world.connect(Who { user: Some(1), ..Who::default() }, From::Live).unwrap();
    world.attach(busy);
    let quiet = live(&mut world, usize::MAX);
    world.settle();
    // For the busy one alone until there is no more room; what comes then is in the log only.
    let big = "x".repeat(DATA_MAX);
    world.publish((0..70).map(|_| Draw::new(To::User(1), &big)).collect());
    world.publish(vec![Draw::new(To::All, "after them")]);
    let late = live(&mut world, usize::MAX);
    world.publish(vec![Draw::new(To::All, "the last")]);
    let trace = sound(world);
    let events = |conn: usize| text(&trace, conn).matches("event: update").count();
    assert_eq!([busy, quiet, late].map(events), [72, 2, 1]);
}

#[test]
fn a_response_that_comes_after_the_end_tells_the_reason_of_the_end() {
    for (reason, told) in [(Disconnect::Token, true), (Disconnect::Revoked, false), (Disconnect::Disconnected, false)] {
        let mut world = world(HubConfig::default());
        let conn = world.connect(Who::default(), From::Live).unwrap();
        world.close_client(conn, reason);
        world.settle();
        world.attach(conn);
        let trace = sound(world);
        let expected = format!(r#"{{"reason":"{}","reconnect":{told}}}"#, reason.as_str());
        assert!(text(&trace, conn).contains(&expected), "{}", text(&trace, conn));
    }
}

#[test]
fn a_response_that_comes_too_late_tells_the_client_to_come_back() {
    let mut world = world(HubConfig::default());
    let conn = world.connect(Who::default(), From::Live).unwrap();
    world.settle();
    world.advance(45_000);
    world.settle();
    assert_eq!(world.trace.conns[conn].closed.unwrap().reason, Disconnect::Unattached);
    world.attach(conn);
    let trace = sound(world);
    assert!(text(&trace, conn).contains(r#""reconnect":true"#), "{}", text(&trace, conn));
}
