//! Where histories have been: a simulation that never gets into a corner says nothing of it.

use super::model::{Call, Trace};
use fanfare_core::{Disconnect, PublishError, Resume};
use std::collections::HashSet;

/// The corners that count.
pub const CORNERS: [&str; 28] = [
    "gap on a stream",
    "gap in a verdict",
    "reset",
    "resumed",
    "fell out of a window",
    "slow: went on from the log",
    "slow: skipped",
    "slow: ended",
    "slow: told of a gap",
    "dropped by the log",
    "a frame was cut",
    "comment heartbeat",
    "late response",
    "closing without a cursor",
    "dead",
    "slow",
    "lifetime",
    "unattached",
    "an inbox may have run over",
    "ephemeral delivered",
    "answered again",
    "a key that belongs to another",
    "waited for a twin",
    "answered later",
    "lost by the store",
    "conflict",
    "conflict in a list",
    "an expectation held",
];

/// Counts the corners one run was in.
pub fn count(trace: &Trace, counts: &mut [u64; CORNERS.len()]) {
    let mut seen = |corner: &str, times: u64| {
        let number = CORNERS.iter().position(|known| *known == corner).unwrap();
        counts[number] += times;
    };
    for hub in trace.hubs.iter().filter_map(|hub| hub.stats.as_ref()) {
        seen("gap on a stream", hub.gaps[0]);
        seen("fell out of a window", hub.lagged);
        for (corner, times) in
            ["slow: went on from the log", "slow: skipped", "slow: ended"].into_iter().zip(hub.slow_readers)
        {
            seen(corner, times);
        }
        seen("slow: told of a gap", hub.gaps[1]);
    }
    seen("dropped by the log", u64::from(trace.marks.iter().any(|mark| mark.floor > 0)));
    seen("an inbox may have run over", trace.overflows.len() as u64);
    calls(trace, &mut seen);
    for conn in &trace.conns {
        match conn.verdict.resume {
            Resume::Gap => seen("gap in a verdict", 1),
            Resume::Reset => seen("reset", 1),
            Resume::Resumed => seen("resumed", 1),
            Resume::Live => {}
        }
        match conn.closed.map(|closed| closed.reason) {
            Some(Disconnect::Dead) => seen("dead", 1),
            Some(Disconnect::Slow) => seen("slow", 1),
            Some(Disconnect::Lifetime) => seen("lifetime", 1),
            Some(Disconnect::Unattached) => seen("unattached", 1),
            _ => {}
        }
        let blocks = crate::whatwg::read(&conn.bytes, "").blocks;
        let cut = conn.chunks.iter().any(|(_, total, _)| !blocks.iter().any(|block| block.end == *total));
        seen("a frame was cut", u64::from(cut));
        seen("late response", u64::from(!conn.bytes.is_empty() && conn.attached >= conn.gone));
        for block in &blocks {
            seen("comment heartbeat", u64::from(block.data.is_none()));
            seen("closing without a cursor", u64::from(block.event == "$closing" && block.id.is_none()));
            seen("ephemeral delivered", u64::from(block.id.as_ref().is_some_and(|id| id.contains("~~"))));
        }
    }
}

fn calls(trace: &Trace, seen: &mut impl FnMut(&str, u64)) {
    let mut reached = HashSet::new();
    let mut before: Option<&Call> = None;
    for said in &trace.calls {
        match &said.call {
            Call::Asked(_) => {}
            Call::Reached(number) => _ = reached.insert(*number),
            Call::Lost(_) => seen("lost by the store", 1),
            Call::Answered(number, answer) => {
                let store = reached.contains(number);
                let at_once = matches!(before, Some(Call::Asked(asked) | Call::Reached(asked)) if asked == number);
                match answer {
                    Ok(_) if !store && at_once => seen("answered again", 1),
                    Ok(_) if !store => seen("waited for a twin", 1),
                    Err(PublishError::KeyReused) => seen("a key that belongs to another", 1),
                    Err(PublishError::Conflict { index, .. }) => {
                        seen("conflict", 1);
                        seen("conflict in a list", u64::from(*index > 0));
                    }
                    _ => {}
                }
                let wanted = &trace.attempts[*number].wanted;
                let expects = wanted.iter().any(|wanted| wanted.expected.is_some());
                seen("an expectation held", u64::from(store && answer.is_ok() && expects));
                seen("answered later", u64::from(store && answer.is_ok() && !at_once));
            }
        }
        before = Some(&said.call);
    }
}
