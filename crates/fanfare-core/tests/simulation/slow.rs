//! The checker's rules for slow readers: what may be told to whom, and what must have happened before.

use super::check::place;
use super::model::{Closed, Conn, Mark, Published, Trace};
use crate::whatwg::{self, Block};
use fanfare_core::limits::{WINDOW_BYTES, WINDOW_ENTRIES};
use fanfare_core::{Disconnect, SlowPolicy, Stats};

/// Whether so much was published by `step` that a reader which has everything up to `have` can be out of the window.
fn window_passed(trace: &Trace, hub: usize, have: u64, step: usize) -> bool {
    let behind = |event: &&Published| event.hub == hub && event.position >= have && event.step <= step;
    let (records, bytes) = trace
        .published
        .iter()
        .filter(behind)
        .fold((0, 0), |(records, bytes), event| (records + 1, bytes + event.cost_max));
    records > WINDOW_ENTRIES || bytes > WINDOW_BYTES
}

/// A gap that a slow reader was told: it has that policy, its last write before was cut short, only the rest of what was
/// cut there comes before it, the window can have passed it by, and something for it lies in the gap.
pub fn gap(
    trace: &Trace,
    number: usize,
    block: &Block,
    have: u64,
    position: u64,
    mark: &Mark,
) -> Result<(), (&'static str, String)> {
    let conn = &trace.conns[number];
    let say = |why: &str| Err(("false gap", format!("slow from {have} to {position}, but {why}")));
    if conn.slow_policy != SlowPolicy::Gap {
        return say(conn.slow_policy.as_str());
    }
    let write = conn.chunks.iter().position(|(_, total, _)| *total > block.start).unwrap();
    let began = write.checked_sub(1).map_or(0, |before| conn.chunks[before].1);
    let step = conn.chunks[write].0;
    if !conn.stalls.iter().any(|stall| stall.total == began && stall.step <= step) {
        return say("the write before took everything");
    }
    let blocks = whatwg::read(&conn.bytes, "").blocks;
    // Of the greeting the sink may have taken nothing; it is the rest of a frame all the same.
    let between = |other: &Block| (began..block.start).contains(&other.start) && other.event != "connected";
    if blocks.iter().any(between) {
        return say("something was begun before it");
    }
    if !window_passed(trace, conn.hub, have, step) {
        return say("the window still has it");
    }
    // Of what the log has dropped only the newest position is known, which may be beyond the gap.
    let end = position.max(mark.floor);
    let lost = trace
        .published
        .iter()
        .filter(|event| event.hub == conn.hub && event.durable() && event.position > have && event.position <= end)
        .any(|event| event.to.touches(&conn.who, Some(number)));
    if !lost || position <= have {
        return say("nothing of its own is in it");
    }
    Ok(())
}

/// Whether its policy can have ended a connection: nothing but its end was begun after a write that was cut short, and
/// the window can have passed it by.
pub fn ended_by_policy(trace: &Trace, conn: &Conn, closed: &Closed) -> bool {
    let blocks = whatwg::read(&conn.bytes, "").blocks;
    let own = || blocks.iter().filter(|block| block.event != "$closing");
    // The greeting is begun before the first write.
    let begun = |block: &Block, total: usize| block.start < total || block.event == "connected";
    let stalled =
        conn.stalls.iter().any(|stall| stall.step <= closed.step && own().all(|block| begun(block, stall.total)));
    let told = own().filter_map(|block| place(block.id.as_deref()?)).map(|place| place.position).max();
    let have = told.or_else(|| place(&conn.verdict.cursor).map(|place| place.position)).unwrap_or(0);
    conn.slow_policy == SlowPolicy::Disconnect && stalled && window_passed(trace, conn.hub, have, closed.step)
}

/// Slow readers are counted under a policy that somebody has who stalled.
pub fn totals<'a>(
    conns: impl Iterator<Item = &'a Conn> + Clone,
    stats: &Stats,
    say: &mut impl FnMut(&'static str, String),
) {
    for (policy, count) in SlowPolicy::ALL.into_iter().zip(stats.slow_readers) {
        let stalled = conns.clone().filter(|conn| conn.slow_policy == policy && !conn.stalls.is_empty());
        let slow = |conn: &&Conn| conn.closed.is_some_and(|closed| closed.reason == Disconnect::Slow);
        let right = match policy {
            SlowPolicy::Gap => stats.gaps[1] <= count && (count == 0 || stalled.count() > 0),
            SlowPolicy::Disconnect => count <= stalled.filter(slow).count() as u64,
            _ => count == 0 || stalled.count() > 0,
        };
        if !right {
            say("stats", format!("{count} slow readers with {policy:?}: {stats:?}"));
        }
    }
}
