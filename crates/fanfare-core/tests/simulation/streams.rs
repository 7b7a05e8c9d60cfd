//! The checker's look at one connection's bytes: order, loss, cursors, identity, frames and control events.

use super::check::{place, visible};
use super::model::{Conn, Published, Trace};
use super::slow;
use crate::whatwg::{self, Block};
use fanfare_core::{Disconnect, GapReason, Resume};
use std::collections::HashSet;

/// What the bytes of one sink hold.
pub struct Sent {
    pub events: u64,
    /// By reason, in the order of the engine's table.
    pub gaps: [u64; GapReason::ALL.len()],
    pub pings: u64,
    /// An unfinished block at the end.
    pub rest: bool,
}

enum Kind {
    Closing,
    Connected,
    Durable,
    Ephemeral,
    Gap(GapReason),
    Ping,
    Unknown,
}

fn kind(block: &Block) -> Kind {
    let ephemeral = block.id.as_ref().is_some_and(|id| id.contains("~~"));
    match (block.event.as_str(), &block.data) {
        ("connected", _) => Kind::Connected,
        ("$closing", _) => Kind::Closing,
        ("$gap", data) => {
            let said = |reason: &GapReason| {
                data.as_ref().is_some_and(|data| *data == format!(r#"{{"reason":"{}"}}"#, reason.as_str()))
            };
            GapReason::ALL.into_iter().find(said).map_or(Kind::Unknown, Kind::Gap)
        }
        ("ping", _) | (_, None) => Kind::Ping,
        _ if ephemeral => Kind::Ephemeral,
        _ => Kind::Durable,
    }
}

pub fn sent(bytes: &[u8]) -> Sent {
    let stream = whatwg::read(bytes, "");
    let mut sent = Sent { events: 0, gaps: [0; 3], pings: 0, rest: stream.rest < bytes.len() };
    for block in &stream.blocks {
        match kind(block) {
            Kind::Durable | Kind::Ephemeral => sent.events += 1,
            Kind::Gap(reason) => {
                sent.gaps[GapReason::ALL.iter().position(|known| *known == reason).unwrap()] += 1;
            }
            Kind::Ping => sent.pings += 1,
            Kind::Closing | Kind::Connected | Kind::Unknown => {}
        }
    }
    sent
}

/// Data as a reader gets it: line ends become LF.
fn as_read(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// What a reader has of a stream, as the checker goes through it.
struct Reader<'a> {
    trace: &'a Trace,
    number: usize,
    conn: &'a Conn,
    /// Everything it may see, and how much of that is dealt with.
    visible: Vec<&'a Published>,
    next: usize,
    /// The last place it was told.
    have: u64,
}

impl Reader<'_> {
    /// Visible records up to `position` that have not come.
    fn missing(&mut self, position: u64) -> Option<String> {
        let first = self.visible.get(self.next).filter(|event| event.position <= position)?;
        let text = format!("{:?} to {:?} never came", first.id, first.to);
        self.pass(position);
        Some(text)
    }

    fn pass(&mut self, position: u64) {
        while self.visible.get(self.next).is_some_and(|event| event.position <= position) {
            self.next += 1;
        }
    }

    fn step_of(&self, end: usize) -> usize {
        self.conn.chunks.iter().find(|(_, total, _)| *total >= end).map_or(0, |(step, ..)| *step)
    }
}

pub fn check(trace: &Trace, number: usize, say: &mut impl FnMut(&'static str, String)) {
    let conn = &trace.conns[number];
    let stream = whatwg::read(&conn.bytes, "");
    let Some(shown) = place(&conn.verdict.cursor) else { return };
    let visible: Vec<&Published> = visible(trace, conn.hub, &conn.who, Some(number)).collect();
    let mut reader = Reader { trace, number, conn, visible, next: 0, have: shown.position };
    reader.pass(shown.position);
    let mut ephemerals = HashSet::new();
    let mut closed = false;
    for (index, block) in stream.blocks.iter().enumerate() {
        if std::mem::replace(&mut closed, matches!(kind(block), Kind::Closing)) {
            say("closing", format!("{block:?} comes after $closing"));
        }
        if (index == 0) != matches!(kind(block), Kind::Connected) {
            say("connected", format!("block {index} is {block:.300?}"));
        }
        if let Err((rule, text)) = reader.block(block, &mut ephemerals) {
            say(rule, format!("{text}; block {index} of {}", stream.blocks.len()));
        }
    }
    if let Some(tail) = conn.converged {
        if let Some(text) = reader.missing(tail) {
            say("loss", format!("{text}, though it has caught up"));
        }
        if stream.rest != conn.bytes.len() && conn.closed.is_none_or(|closed| closed.taken != conn.bytes.len()) {
            say("torn", "an unfinished frame at the end".into());
        }
    }
    pings(trace, conn, &stream.blocks, say);
    expected_ephemerals(trace, number, &ephemerals, say);
    planned_end(conn, &stream, say);
}

impl Reader<'_> {
    fn block(&mut self, block: &Block, ephemerals: &mut HashSet<usize>) -> Result<(), (&'static str, String)> {
        let step = self.step_of(block.end);
        let kind = kind(block);
        let Some(id) = &block.id else {
            // Only a planned end of a connection that lags may lack its place.
            return if matches!(kind, Kind::Closing) {
                Ok(())
            } else {
                Err(("torn", format!("no id in {block:.300?}")))
            };
        };
        let Some(at) = place(id).filter(|at| at.epoch == self.trace.hubs[self.conn.hub].epoch) else {
            return Err(("torn", format!("the id of {block:.300?}")));
        };
        let have = self.have;
        self.have = have.max(at.position);
        if at.position < have || (at.position == have && matches!(kind, Kind::Durable)) {
            return Err(("order", format!("{} {id} after {have}", block.event)));
        }
        let mark = &self.trace.marks[step];
        if at.position > mark.tail {
            return Err(("cursor ahead", format!("{} {id} before that was released", block.event)));
        }
        match kind {
            Kind::Connected => {
                let right = *id == self.conn.verdict.cursor
                    && block.retry == Some(u64::from(self.conn.retry_ms))
                    && block.data.as_ref().is_some_and(|data| data.contains(&self.conn.client_id));
                if !right {
                    return Err(("connected", format!("{block:?}")));
                }
                Ok(())
            }
            Kind::Closing | Kind::Ping => {
                let sound = match (&block.data, &kind) {
                    (None, _) => self.conn.comment_heartbeat && block.comments == 1 && block.event.is_empty(),
                    (Some(data), Kind::Ping) => {
                        let made = self.conn.chunks.iter().find(|(_, total, _)| *total > block.start);
                        let wall_ms = made.map_or(0, |(.., at_ms)| 1_700_000_000_000 + at_ms);
                        !self.conn.comment_heartbeat && *data == format!(r#"{{"timestamp":{wall_ms}}}"#)
                    }
                    (Some(data), _) => data.starts_with(r#"{"reason":""#) && block.retry.is_some(),
                };
                if !sound {
                    return Err(("torn", format!("{block:.300?}")));
                }
                self.missing(at.position)
                    .map_or(Ok(()), |text| Err(("cursor ahead", format!("{text}, but {} {id} did", block.event))))
            }
            Kind::Gap(GapReason::Slow) => {
                slow::gap(self.trace, self.number, block, have, at.position, mark)?;
                self.pass(at.position);
                Ok(())
            }
            Kind::Gap(GapReason::Retention) => {
                let trace = self.trace;
                let dropped = trace
                    .published
                    .iter()
                    .filter(|event| event.hub == self.conn.hub && event.durable())
                    .filter(|event| event.position > have && event.position <= mark.floor)
                    .any(|event| event.to.touches(&self.conn.who, Some(self.number)));
                if !dropped || at.position > mark.floor || at.position <= have {
                    return Err(("false gap", format!("to {id} from {have}, dropped up to {}", mark.floor)));
                }
                self.pass(at.position);
                Ok(())
            }
            Kind::Gap(_) | Kind::Unknown => Err(("torn", format!("nobody says {block:.300?}"))),
            Kind::Durable => {
                let own = self.visible.binary_search_by_key(&at.position, |event| event.position);
                let of_hub = |event: &&Published| event.hub == self.conn.hub && event.durable();
                let anybody = || self.trace.published.iter().filter(of_hub).find(|e| e.position == at.position);
                let Some(event) = own.ok().map(|place| self.visible[place]).or_else(anybody) else {
                    return Err(("torn", format!("{block:.300?} was never published")));
                };
                payload(block, event)?;
                if event.id.as_ref() != Some(id) {
                    return Err(("one meaning", format!("{id} and {:?}", event.id)));
                }
                if !event.to.matches(&self.conn.who, Some(self.number)) {
                    return Err(("identity", format!("{id} is for {:?}", event.to)));
                }
                let missing = self.missing(at.position - 1);
                self.pass(at.position);
                missing.map_or(Ok(()), |text| Err(("loss", format!("{text} before {id}"))))
            }
            Kind::Ephemeral => {
                let data = block.data.as_deref().unwrap_or_default();
                let Some((number, event)) = self.trace.published.iter().enumerate().find(|(_, event)| {
                    event.hub == self.conn.hub
                        && event.ephemeral
                        && event.position == at.position
                        && as_read(&event.data) == data
                }) else {
                    return Err(("torn", format!("{block:.300?} was never published")));
                };
                payload(block, event)?;
                let own = event.own_id.as_deref().unwrap_or_default();
                if at.suffix.strip_prefix("~~") != Some(own) || event.position != at.position {
                    return Err(("one meaning", format!("{id} for {event:.200?}")));
                }
                if !event.to.matches(&self.conn.who, Some(self.number)) {
                    return Err(("identity", format!("{id} is for {:?}", event.to)));
                }
                if !ephemerals.insert(number) {
                    return Err(("one meaning", format!("{data} came twice")));
                }
                self.missing(at.position)
                    .map_or(Ok(()), |text| Err(("cursor ahead", format!("{text}, but the ephemeral {id} did"))))
            }
        }
    }
}

fn payload(block: &Block, event: &Published) -> Result<(), (&'static str, String)> {
    let right = block.event == event.event_type
        && block.data.as_deref() == Some(&as_read(&event.data))
        && block.retry == event.retry
        && block.comments == 0;
    if right { Ok(()) } else { Err(("torn", format!("{block:.300?} for {event:.300?}"))) }
}

/// Exactly one ping as soon as a resumed connection has caught up, and a heartbeat in every interval.
fn pings(trace: &Trace, conn: &Conn, blocks: &[Block], say: &mut impl FnMut(&'static str, String)) {
    let interval = trace.hubs[conn.hub].config.ping_interval_ms;
    let resumed = matches!(conn.verdict.resume, Resume::Resumed | Resume::Gap);
    if let Some(calm) = conn.calms.first() {
        let count = blocks.iter().filter(|block| block.end <= calm.taken && matches!(kind(block), Kind::Ping)).count();
        let exact = conn.timers_quiet && conn.at_ms == calm.at_ms;
        if (resumed && count == 0) || (exact && count != usize::from(resumed)) {
            say("ping", format!("{count} pings by step {} for {:?}", calm.step, conn.verdict.resume));
        }
    }
    for calm in &conn.calms {
        let heard = conn.chunks.iter().rev().find(|(_, total, _)| *total <= calm.taken);
        if heard.is_none_or(|(.., at_ms)| calm.at_ms.saturating_sub(*at_ms) > interval + 25) {
            say("heartbeat", format!("heard last at {heard:?}, and it is {} ms in step {}", calm.at_ms, calm.step));
        }
    }
}

/// Whoever is clean and takes everything at once gets ephemeral events too.
fn expected_ephemerals(trace: &Trace, number: usize, got: &HashSet<usize>, say: &mut impl FnMut(&'static str, String)) {
    let conn = &trace.conns[number];
    let clean_at_start = matches!(conn.verdict.resume, Resume::Live | Resume::Reset);
    let events = trace.published.iter().enumerate().filter(|(_, event)| {
        event.hub == conn.hub && event.ephemeral && event.step > conn.step && event.to.matches(&conn.who, Some(number))
    });
    for (index, event) in events {
        let Some(by) = conn.calms.iter().find(|calm| calm.step >= event.step) else { continue };
        // The last moment before the event in which it certainly had everything.
        let calm = conn.calms.iter().rev().find(|calm| calm.step < event.step).map(|calm| calm.step);
        let Some(since) = calm.or(clean_at_start.then_some(conn.step)) else { continue };
        let stalled = conn.stalls.iter().any(|stall| (since..=by.step).contains(&stall.step) && stall.step != since);
        let overflow = trace.overflows.iter().any(|(from, to)| *from <= by.step && since <= *to);
        if !stalled && !overflow && !got.contains(&index) {
            say("ephemeral", format!("{event:.200?} never came, clean since step {since}, calm in {}", by.step));
        }
    }
}

/// A planned end is told, with its reason, to whoever could hear it.
fn planned_end(conn: &Conn, stream: &whatwg::Stream, say: &mut impl FnMut(&'static str, String)) {
    let closing = stream.blocks.last().filter(|block| block.event == "$closing");
    let reason = closing.and_then(|block| block.data.as_deref()?.strip_prefix(r#"{"reason":""#)?.split('"').next());
    let Some(closed) = &conn.closed else {
        if reason.is_some() {
            say("closing", format!("{reason:?} although it lives"));
        }
        return;
    };
    let broken = conn.causes.iter().any(|cause| matches!(cause, Disconnect::Gone | Disconnect::Error));
    let late = conn.attached.is_some_and(|step| step >= conn.gone.unwrap_or(closed.step));
    let told = closed.reason.reconnect().is_some();
    let right = match reason {
        // A response that came after the end, but not for one of the planned reasons, was too late.
        Some("capacity") => late && !told,
        Some(reason) => told && reason == closed.reason.as_str(),
        None => !told || late || broken || conn.attached.is_none() || !conn.stalls.is_empty(),
    };
    // Of an end long ago nobody knows the reason any more.
    let forgotten = late && conn.attached_ms.saturating_sub(closed.at_ms) >= 30_000;
    if !right && !forgotten {
        say("closing", format!("{reason:?} is told, and {closed:?}"));
    }
}
