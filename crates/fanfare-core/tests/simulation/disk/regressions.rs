//! Lives of a log that once broke a promise, each cut down to what it takes. The checker judges them like all others.

use super::check::check;
use super::fake::is_segment;
use super::lives::Birth;
use super::record::{Expectation, Fault, Record};
use super::world::World;
use crate::model::{From, To, Who};
use crate::publish::Draw;
use fanfare_core::disk::DiskConfig;
use fanfare_core::{HubConfig, PublishError, Resume};

pub fn birth(number: u64) -> Birth {
    let config = HubConfig { log_bytes: 1, ..HubConfig::default() };
    let disk = DiskConfig { bytes: 1 << 20, ..DiskConfig::default() };
    Birth { config, disk, seed: [3, 1, 4, 1, 5, number], disk_seed: [2, 7, 1, (number + 1) << 20] }
}

/// The first life of a log.
pub fn world(change: impl FnOnce(&mut Birth)) -> World {
    let mut first = birth(0);
    change(&mut first);
    let mut world = World::new(1);
    assert!(world.open(&first));
    world
}

pub fn all(text: &str) -> Vec<Draw> {
    vec![Draw::new(To::All, text)]
}

pub fn say(world: &mut World, text: &str) {
    world.publish(all(text), None, Vec::new());
    world.commit();
}

fn join(world: &mut World, from: From) -> usize {
    let conn = world.connect(Who::default(), from, usize::MAX).unwrap();
    world.attach(conn);
    world.settle();
    conn
}

fn sound(world: World) -> Record {
    let record = world.finish();
    assert_eq!(check(&record), [], "{}", record.told.join("\n"));
    record
}

fn text(record: &Record, conn: usize) -> String {
    String::from_utf8_lossy(&record.conns[conn].bytes).into_owned()
}

fn answer(world: &World, send: usize) -> Result<Vec<Option<String>>, PublishError> {
    let (_, answer) = world.record.sends[send].answer.clone().unwrap();
    answer.map(|receipts| receipts.into_iter().map(|receipt| receipt.id).collect())
}

fn id(world: &World, send: usize) -> String {
    answer(world, send).unwrap()[0].clone().unwrap()
}

#[test]
fn a_reader_whom_memory_reaches_is_not_put_behind_what_the_disk_dropped() {
    let mut world = world(|birth| {
        birth.config.log_bytes = 1 << 20;
        birth.disk.records = Some(1);
    });
    (0..6).for_each(|number| say(&mut world, &format!("event {number}")));
    world.maintain();
    let first = From::After(id(&world, 0));
    let conn = join(&mut world, first);
    assert!(world.record.marks.last().unwrap().floor > 2, "the disk has dropped some of them");
    let record = sound(world);
    assert_eq!(record.conns[conn].verdict.resume, Resume::Resumed);
    assert!((1..6).all(|number| text(&record, conn).contains(&format!("event {number}"))));
}

#[test]
fn an_ephemeral_event_may_expect_something_too() {
    let mut world = world(|_| ());
    let expects = || vec![Expectation { index: 0, text: "none".into() }];
    world.publish(vec![Draw::new(To::Topic(1), "kept")], None, Vec::new());
    world.publish(vec![Draw::new(To::Topic(1), "passing").ephemeral()], None, expects());
    world.publish(vec![Draw::new(To::Topic(2), "passes").ephemeral()], None, expects());
    world.commit();
    assert!(matches!(answer(&world, 1), Err(PublishError::Conflict { index: 0, last: Some(_) })));
    assert!(answer(&world, 2).is_ok());
    sound(world);
}

#[test]
fn nothing_comes_from_behind_a_gap_that_was_read_from_disk() {
    let mut world = world(|birth| birth.disk.records = Some(1));
    (0..3).for_each(|number| say(&mut world, &format!("event {number}")));
    world.end_well();
    let mut next = birth(1);
    (next.disk.records, next.config.log_bytes) = (Some(2), 1 << 20);
    assert!(world.open(&next));
    // Asks for what retention then overtakes.
    join(&mut world, From::Earliest);
    (0..6).for_each(|number| say(&mut world, &format!("later {number}")));
    world.maintain();
    world.read_cold();
    sound(world);
}

#[test]
fn keys_are_read_back_past_a_segment_that_was_only_begun() {
    let mut world = world(|_| ());
    world.publish(all("once"), Some((1, 7)), Vec::new());
    world.commit();
    // The next does not fit: a new segment is made, and then the world stops.
    let large = Draw::new(To::All, &"x".repeat(200_000));
    world.publish((0..90).map(|_| large.clone()).collect(), None, Vec::new());
    world.touch_disk("stops", None, |disk| disk.stop_after(6));
    world.commit();
    world.kill();
    assert_eq!(world.disk.names().iter().filter(|name| is_segment(name)).count(), 2);
    assert!(world.open(&birth(1)));
    world.send(vec![0], Some((1, 7)), Vec::new());
    world.commit();
    let last = world.record.sends.len() - 1;
    assert_eq!(answer(&world, last), answer(&world, 0));
    sound(world);
}

#[test]
fn answers_without_events_do_not_have_their_segment_replaced() {
    let mut world = world(|birth| birth.disk.bytes = 1);
    world.publish(vec![Draw::new(To::All, "passing").ephemeral()], Some((1, 7)), Vec::new());
    world.commit();
    world.publish(vec![Draw::new(To::All, &"x".repeat(70_000))], None, Vec::new());
    world.commit();
    say(&mut world, "more");
    world.advance(2_000);
    world.commit();
    world.lose_power();
    assert!(world.open(&birth(1)));
    sound(world);
}

#[test]
fn a_manifest_that_cannot_be_written_while_room_is_made_makes_the_disk_fail_for_good() {
    let mut world = world(|birth| birth.disk.records = Some(1));
    (0..2).for_each(|number| say(&mut world, &format!("event {number}")));
    // The truncated segment, the new one and its name are synced; the manifest is not.
    world.touch_disk("sync 3 from now fails", None, |disk| disk.fail_sync(3));
    for number in 2..6 {
        say(&mut world, &format!("event {number}"));
    }
    assert!(matches!(answer(&world, 5), Err(PublishError::ReadOnly)));
    sound(world);
}

#[test]
fn a_conflict_with_an_event_that_is_not_kept_is_not_told() {
    let mut world = world(|_| ());
    let expects = vec![Expectation { index: 0, text: "none".into() }];
    world.publish(vec![Draw::new(To::Topic(1), "first")], None, Vec::new());
    world.publish(vec![Draw::new(To::Topic(1), "second")], None, expects);
    world.touch_disk("the next write fails", None, |disk| disk.fail_write(0));
    world.commit();
    assert_eq!((answer(&world, 0), answer(&world, 1)), (Err(PublishError::ReadOnly), Err(PublishError::ReadOnly)));
    sound(world);
}

#[test]
fn what_a_failed_sync_gave_up_is_written_again_by_the_next_start() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        assert!(world.open(&birth(0)));
        say(&mut world, "kept");
        world.touch_disk("the next sync fails", None, |disk| disk.fail_sync(0));
        world.publish(all("given up"), Some((1, 7)), Vec::new());
        world.commit();
        world.kill();
        assert!(world.open(&birth(1)));
        // It is shown, so the retry is told that it is there.
        world.send(vec![1], Some((1, 7)), Vec::new());
        world.commit();
        world.lose_power();
        assert!(world.open(&birth(2)));
        join(&mut world, From::Earliest);
        sound(world);
    }
}

#[test]
fn a_segment_whose_maker_died_at_once_has_a_name_after_the_next_start() {
    for seed in 0..8 {
        for operations in 0..12 {
            let mut world = World::new(seed);
            assert!(world.open(&Birth { disk: DiskConfig { records: Some(1), ..birth(0).disk }, ..birth(0) }));
            say(&mut world, "first");
            world.touch_disk("stops", None, |disk| disk.stop_after(operations));
            say(&mut world, "second");
            world.kill();
            assert!(world.open(&birth(1)));
            say(&mut world, "third");
            world.lose_power();
            assert!(world.open(&birth(2)));
            sound(world);
        }
    }
}

#[test]
fn a_start_that_dies_after_another_that_died_leaves_a_manifest() {
    for seed in 0..3 {
        for (first, second) in (0..12).flat_map(|first| (0..12).map(move |second| (first, second))) {
            let mut world = World::new(seed);
            assert!(world.open(&birth(0)));
            say(&mut world, "kept");
            world.end_well();
            for (number, operations, power) in [(1, first, false), (2, second, true)] {
                world.touch_disk("stops", None, |disk| disk.stop_after(operations));
                world.open(&birth(number));
                if power { world.lose_power() } else { world.kill() }
            }
            assert!(world.open(&birth(3)));
            sound(world);
        }
    }
}

#[test]
fn a_reader_that_catches_up_from_disk_between_two_broadcasts_gets_the_second() {
    let mut world = world(|_| ());
    say(&mut world, "old");
    world.end_well();
    assert!(world.open(&birth(1)));
    let conn = join(&mut world, From::Earliest);
    // Into one inbox: a broadcast, what was read, and another.
    world.publish(vec![Draw::new(To::All, "passing").ephemeral()], None, Vec::new());
    assert!(world.read_cold());
    say(&mut world, "new");
    let record = sound(world);
    assert!(text(&record, conn).contains("old") && text(&record, conn).contains("new"));
}

#[test]
fn the_last_events_are_the_last_though_memory_forgets_them_in_that_moment() {
    let mut world = world(|birth| birth.config.log_age_ms = 500);
    (0..5).for_each(|number| say(&mut world, &format!("event {number}")));
    world.advance(1_000);
    let conn = join(&mut world, From::Last(1));
    let record = sound(world);
    assert!(text(&record, conn).contains("event 4") && !text(&record, conn).contains("event 3"));
}

#[test]
fn an_index_that_is_made_anew_under_a_later_key_tells_its_holes() {
    let mut world = world(|birth| birth.disk.bytes = 200_000);
    let topic = |text: &str| vec![Draw::new(To::Topic(1), text)];
    world.publish(topic("first"), None, Vec::new());
    world.commit();
    world.publish(topic("second"), None, Vec::new());
    world.commit();
    let large = "x".repeat(70_000);
    say(&mut world, &large);
    world.maintain();
    assert!(world.disk.names().iter().any(|name| name.contains("0.idx")));
    world.end_well();
    assert!(world.open(&birth(1)));
    let page = world.disk.written("00000000000000000000.idx") - 10;
    world.touch_disk("rots", Some(Fault::RotIndex), |disk| disk.flip("00000000000000000000.idx", page, 1));
    world.touch_disk("rots", Some(Fault::RotSegment), |disk| disk.flip("00000000000000000000.log", 64 + 70, 1));
    let topics = [1].into_iter().collect();
    let who = Who { topics, ..Who::default() };
    let conn = world.connect(who, From::Earliest, usize::MAX).unwrap();
    world.attach(conn);
    let record = sound(world);
    assert!(text(&record, conn).contains("event: $gap") && text(&record, conn).contains("second"));
}

#[test]
fn a_log_without_its_newest_segment_does_not_go_on_below_its_floor() {
    let mut world = world(|birth| birth.disk.records = Some(1));
    (0..3).for_each(|number| say(&mut world, &format!("event {number}")));
    let old = world.disk.snapshot();
    (3..9).for_each(|number| say(&mut world, &format!("event {number}")));
    world.end_well();
    // Files of a dropped segment are back, and the newest is gone.
    let (mut files, newest) = (world.disk.snapshot(), world.disk.names());
    newest.iter().filter(|name| is_segment(name)).for_each(|name| _ = files.remove(name));
    files.extend(old.into_iter().filter(|(name, _)| is_segment(name)));
    world.touch_disk("the newest segment is lost", Some(Fault::Deleted), |disk| disk.restore(&files));
    assert!(world.open(&birth(1)));
    say(&mut world, "later");
    join(&mut world, From::Earliest);
    sound(world);
}
