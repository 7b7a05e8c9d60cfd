//! The checker of lives on trial: a sound record is falsified in one way each, and the checker must name the promise.

use super::check::check;
use super::record::{Kept, Record};
use super::regressions::{all, birth, say, world};
use crate::model::{From, To, Who};
use crate::publish::Draw;
use fanfare_core::{PublishError, Resume};

/// Two lives with a loss of power in between. Send 0 is a batch for everybody, 1 has a key, 2 is user 1's; 3 repeats 1
/// in the second life. Connection 0 is of the first life, 1 resumes in the second, and is nobody by name.
fn sound() -> Record {
    let mut world = world(|_| ());
    let live = world.connect(Who::default(), From::Live, usize::MAX).unwrap();
    world.attach(live);
    world.publish(vec![Draw::new(To::All, "one"), Draw::new(To::All, "two")], None, Vec::new());
    world.publish(all("keyed"), Some((1, 7)), Vec::new());
    world.publish(vec![Draw::new(To::User(1), "for another")], None, Vec::new());
    world.commit();
    world.settle();
    world.lose_power();
    assert!(world.open(&birth(1)));
    let first = world.record.lives[1].records[0].id.clone();
    let back = world.connect(Who::default(), From::After(first), usize::MAX).unwrap();
    world.attach(back);
    world.send(vec![2], Some((1, 7)), Vec::new());
    world.commit();
    say(&mut world, "later");
    world.finish()
}

fn must_name(change: impl FnOnce(&mut Record), rule: &str) {
    let mut record = sound();
    assert_eq!(check(&record), [], "{}", record.told.join("\n"));
    change(&mut record);
    let found = check(&record);
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule} is not among {found:.600?}");
}

/// Takes one frame out of what a connection got, or puts another in its place.
fn replace(record: &mut Record, conn: usize, data: &str, by: &str) {
    let conn = &mut record.conns[conn];
    let text = String::from_utf8(conn.bytes.clone()).unwrap();
    let frame = text.split_inclusive("\n\n").find(|frame| frame.contains(&format!("data: {data}\n"))).unwrap();
    conn.bytes = text.replace(frame, by).into_bytes();
    let end = (conn.chunks.last().unwrap().0, usize::MAX, 0);
    conn.chunks.push(end);
}

#[test]
fn what_was_acknowledged_and_is_gone_is_caught() {
    must_name(|record| _ = record.lives[1].records.remove(1), "acknowledged");
    must_name(|record| (record.lives[1].kept_until, record.lives[1].tail) = (3, 3), "acknowledged");
    must_name(|record| record.lives[1].records.swap(0, 1), "order");
}

#[test]
fn another_payload_under_an_id_is_caught() {
    must_name(|record| record.lives[1].records[0].data = "other".into(), "one meaning");
    must_name(|record| replace(record, 1, "two", ""), "loss");
    must_name(
        |record| {
            let id = record.lives[1].records[1].id.clone();
            replace(record, 1, "two", &format!("id: {id}\nevent: update\ndata: other\n\n"));
        },
        "one meaning",
    );
}

#[test]
fn what_was_refused_or_half_done_and_is_there_is_caught() {
    must_name(|record| record.sends[2].answer.as_mut().unwrap().1 = Err(PublishError::Full), "half done");
    must_name(|record| record.sends[2].answer.as_mut().unwrap().1 = Err(PublishError::Full), "full");
    must_name(
        |record| {
            // Nobody heard of the batch, and of two events one is there.
            record.sends[0].answer = None;
            record.lives[1].records.remove(0);
        },
        "half done",
    );
    let unknown = Kept { position: 9, id: "1.g.9".into(), data: "never made".into() };
    must_name(|record| record.lives[1].records.push(unknown), "torn");
}

#[test]
fn a_key_that_is_forgotten_is_caught() {
    must_name(
        |record| {
            // As if the repeated publish had been done again, behind the newest.
            let (_, answer) = record.sends[3].answer.as_mut().unwrap();
            answer.as_mut().unwrap()[0].id = Some("1.w.9".into());
        },
        "idempotent",
    );
    must_name(|record| record.sends[3].answer.as_mut().unwrap().1 = Err(PublishError::KeyReused), "idempotent");
}

#[test]
fn false_verdicts_gaps_and_holes_are_caught() {
    must_name(|record| record.conns[1].verdict.resume = Resume::Reset, "verdict");
    must_name(|record| record.conns[1].verdict.resume = Resume::Gap, "verdict");
    must_name(
        |record| {
            let id = record.lives[1].records[1].id.clone();
            replace(record, 1, "two", &format!("id: {id}\nevent: $gap\ndata: {{}}\n\n"));
        },
        "false gap",
    );
    must_name(
        |record| {
            record.faults.clear();
            record.lives[1].holes.push(2);
        },
        "false gap",
    );
}

#[test]
fn another_readers_event_is_caught() {
    must_name(
        |record| {
            let id = record.lives[1].records[3].id.clone();
            replace(record, 1, "keyed", &format!("id: {id}\nevent: update\ndata: for another\n\n"));
        },
        "identity",
    );
}

#[test]
fn an_event_that_is_seen_before_it_is_kept_is_caught() {
    must_name(
        |record| {
            let step = record.sends[0].answer.as_ref().unwrap().0;
            for chunk in record.conns[0].chunks.iter_mut().filter(|chunk| chunk.0 > step) {
                chunk.0 = step - 1;
            }
        },
        "visible early",
    );
    must_name(|record| record.sends[4].answer = None, "unanswered");
}

/// The checker that judges real processes too, on the same record.
#[test]
fn the_checker_of_promises_has_the_same_opinion() {
    let named = |change: fn(&mut Record)| -> Vec<&'static str> {
        let mut record = sound();
        change(&mut record);
        super::promises::violations(&record).into_iter().map(|violation| violation.rule).collect()
    };
    assert_eq!(named(|_| ()), [""; 0]);
    assert!(named(|record| replace(record, 1, "two", "")).contains(&"silent gap"));
    assert!(named(|record| record.events[0].to = To::User(1)).contains(&"stranger"));
    let acked = |record: &mut Record| record.sends[2].answer.as_mut().unwrap().1 = Err(PublishError::Full);
    assert!(named(|record| record.events[3].to = To::All).contains(&"silent gap"));
    let mut record = sound();
    acked(&mut record);
    record.events[3].to = To::All;
    assert_eq!(super::promises::violations(&record), [], "what was refused is owed to nobody");
}
