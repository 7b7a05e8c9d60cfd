//! The checker: a pure function over a recorded run that knows the promises and nothing of the engine's insides.

use super::model::{Closed, Conn, From, Page, Published, Trace, Verdict, Who};
use super::{answers, slow, streams};
use fanfare_core::{Disconnect, Resume};

/// A broken promise: which, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub text: String,
}

/// What an SSE id of ours says, read by the contract alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub epoch: u64,
    pub position: u64,
    /// From the first `~` on.
    pub suffix: &'a str,
}

/// Reads an id. `None` for whatever this version never wrote.
pub fn place(id: &str) -> Option<Place<'_>> {
    if id.len() > 512 {
        return None;
    }
    let end = id.find('~').unwrap_or(id.len());
    let mut parts = id[..end].split('.');
    let (version, epoch, position) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| {
        let canonical = !text.is_empty()
            && (text == "0" || !text.starts_with('0'))
            && text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
        canonical.then(|| u64::from_str_radix(text, 36).ok()).flatten()
    };
    (version == "1" && parts.next().is_none()).then_some(())?;
    Some(Place { epoch: number(epoch)?, position: number(position)?, suffix: &id[end..] })
}

/// Everything wrong with a run.
pub fn check(trace: &Trace) -> Vec<Violation> {
    let mut found: Vec<Violation> =
        trace.faults.iter().map(|text| Violation { rule: "fault", text: text.clone() }).collect();
    let mut say = |rule: &'static str, text: String| found.push(Violation { rule, text });
    receipts(trace, &mut say);
    answers::check(trace, &mut say);
    counts(trace, &mut say);
    retention(trace, &mut say);
    for (number, conn) in trace.conns.iter().enumerate() {
        let mut say = |rule: &'static str, text: String| say(rule, format!("connection {number}: {text}"));
        let mark = &trace.marks[conn.step];
        verdict(trace, conn.hub, &conn.who, &conn.from, &conn.verdict, (mark.floor, mark.tail), &mut say);
        streams::check(trace, number, &mut say);
        ending(trace, conn, &mut say);
    }
    for page in &trace.pages {
        history(trace, page, &mut say);
    }
    totals(trace, &mut say);
    found
}

/// Records of one hub that a reader may see, in order.
pub fn visible<'a>(
    trace: &'a Trace,
    hub: usize,
    who: &'a Who,
    conn: Option<usize>,
) -> impl Iterator<Item = &'a Published> {
    trace.published.iter().filter(move |event| event.hub == hub && event.durable() && event.to.matches(who, conn))
}

/// One id, one payload; ids rise; the id is what the publisher's own id says it is.
fn receipts(trace: &Trace, say: &mut impl FnMut(&'static str, String)) {
    let mut ids = std::collections::HashSet::new();
    let mut last = (0, 0);
    for event in &trace.published {
        let Some(id) = &event.id else {
            if event.durable() {
                say("receipt", format!("no id for {event:.200?}"));
            }
            continue;
        };
        if !event.durable() {
            say("receipt", format!("an id for {event:.200?}"));
        }
        let cursor = id.split('~').next().unwrap_or_default().to_owned();
        if !ids.insert(cursor) {
            say("one meaning", format!("{id} stands for two events"));
        }
        let Some(place) = place(id) else {
            say("receipt", format!("{id} is no id"));
            continue;
        };
        let own = event.own_id.as_ref().map_or(String::new(), |own| format!("~{own}"));
        if place.suffix != own || place.epoch != trace.hubs[event.hub].epoch {
            say("receipt", format!("{id} for {event:.200?}"));
        }
        if (event.hub, place.position) <= last {
            say("order", format!("{id} was released after {last:?}"));
        }
        last = (event.hub, place.position);
    }
}

/// A receipt counts every connection registered at the release, each once.
fn counts(trace: &Trace, say: &mut impl FnMut(&'static str, String)) {
    for event in &trace.published {
        let (mut least, mut most) = (0, 0);
        for (number, conn) in trace.conns.iter().enumerate() {
            if conn.hub != event.hub || conn.step > event.step || !event.to.matches(&conn.who, Some(number)) {
                continue;
            }
            let gone = conn.gone.unwrap_or(usize::MAX);
            // What was published in the middle of a turn may have come before or after an end in that turn.
            most += usize::from(gone > event.step || (event.meanwhile && gone == event.step));
            least += usize::from(gone > event.step);
        }
        if !(least..=most).contains(&event.clients) {
            say("count", format!("{} and not {least}..={most} for {event:.200?}", event.clients));
        }
    }
}

/// The log keeps what its bounds allow, and no more.
fn retention(trace: &Trace, say: &mut impl FnMut(&'static str, String)) {
    for step in 1..trace.marks.len() {
        let (before, mark) = (&trace.marks[step - 1], &trace.marks[step]);
        if mark.hub != before.hub {
            continue;
        }
        let config = &trace.hubs[mark.hub].config;
        if mark.floor < before.floor {
            say("retention", format!("the floor fell in step {step}"));
        }
        let records = || trace.published.iter().filter(|event| event.hub == mark.hub && event.durable());
        if mark.floor > before.floor {
            let newest = records().find(|event| event.position == mark.floor);
            let old = newest.is_some_and(|event| mark.now_ms - event.at_ms > config.log_age_ms);
            let added: usize = records().filter(|event| event.step == step).map(|event| event.cost_max).sum();
            if !old && before.bytes + added <= config.log_bytes {
                say("retention", format!("step {step} dropped {} within the bounds: {mark:?}", mark.floor));
            }
        }
        if mark.enforced {
            let largest = records().map(|event| event.cost_max).max().unwrap_or(0);
            let segment = (config.log_bytes / 128).clamp(4_096, 1 << 20) + largest;
            if mark.bytes > config.log_bytes.max(segment) {
                say("retention", format!("step {step}: {} bytes kept", mark.bytes));
            }
            let oldest = records().find(|event| event.position > mark.floor && event.step <= step);
            if oldest.is_some_and(|event| mark.now_ms - event.at_ms > config.log_age_ms + config.log_age_ms / 16 + 1) {
                say("retention", format!("step {step}: {oldest:?} is kept too long"));
            }
        }
    }
}

/// The answer to a start: exact about loss, except that one term of a filter may stand for all.
fn verdict(
    trace: &Trace,
    hub: usize,
    who: &Who,
    from: &From,
    verdict: &Verdict,
    (floor, tail): (u64, u64),
    say: &mut impl FnMut(&'static str, String),
) {
    let epoch = trace.hubs[hub].epoch;
    let shown = place(&verdict.cursor);
    if shown.is_none_or(|shown| shown.epoch != epoch || !shown.suffix.is_empty()) && !verdict.cursor.is_empty() {
        return say("verdict", format!("{verdict:?} is of another epoch"));
    }
    // A page of history shows no cursor.
    let at = |position: u64| shown.is_none_or(|shown| shown.position == position);
    let right = match from {
        From::Live => verdict.resume == Resume::Live && at(tail),
        From::Earliest => verdict.resume == Resume::Resumed && at(floor),
        From::Last(count) => {
            let start = last_start(trace, hub, who, *count, (floor, tail));
            let follow = |position| {
                visible(trace, hub, who, None)
                    .filter(|event| event.position > position && event.position <= tail)
                    .count()
            };
            verdict.resume == Resume::Resumed
                && shown.is_none_or(|shown| {
                    shown.position >= floor && shown.position <= tail && follow(shown.position) == follow(start)
                })
        }
        From::After(text) => match place(text).filter(|place| place.epoch == epoch && place.position <= tail) {
            None => verdict.resume == Resume::Reset && at(tail),
            Some(presented) => {
                let dropped = |event: &&Published| event.position > presented.position && event.position <= floor;
                let lost = visible(trace, hub, who, None).any(|event| dropped(&event));
                let touched = trace
                    .published
                    .iter()
                    .filter(|event| event.hub == hub && event.durable())
                    .filter(dropped)
                    .any(|event| event.to.touches(who, None));
                match verdict.resume {
                    Resume::Resumed => !lost && at(presented.position),
                    Resume::Gap => touched && at(floor),
                    _ => false,
                }
            }
        },
    };
    if !right {
        say("verdict", format!("{verdict:?} for {from:?} as {who:?}, with {floor} dropped and {tail} released"));
    }
}

/// Where the last `count` events of a reader begin, by the model.
fn last_start(trace: &Trace, hub: usize, who: &Who, count: u64, (floor, tail): (u64, u64)) -> u64 {
    let positions: Vec<u64> = visible(trace, hub, who, None)
        .map(|event| event.position)
        .filter(|position| *position > floor && *position <= tail)
        .collect();
    match count {
        0 => tail,
        count if count > positions.len() as u64 => floor,
        count => positions[positions.len() - count as usize] - 1,
    }
}

/// A page holds what its reader may see, in order, from its start to its `next`.
fn history(trace: &Trace, page: &Page, say: &mut impl FnMut(&'static str, String)) {
    let mark = &trace.marks[page.step];
    verdict(trace, page.hub, &page.who, &page.from, &page.verdict, (mark.floor, mark.tail), say);
    let presented = if let From::After(text) = &page.from { place(text).map(|place| place.position) } else { None };
    let start = match (page.verdict.resume, &page.from) {
        (Resume::Reset, _) | (_, From::Live) => mark.tail,
        (_, From::Last(count)) => last_start(trace, page.hub, &page.who, *count, (mark.floor, mark.tail)),
        (Resume::Resumed, From::After(_)) => presented.unwrap_or(0).max(mark.floor),
        _ => mark.floor,
    };
    let next = place(&page.next).map_or(0, |next| next.position);
    let expected: Vec<&str> = visible(trace, page.hub, &page.who, None)
        .filter(|event| event.position > start && event.position <= next && event.step <= page.step)
        .filter_map(|event| event.id.as_deref())
        .collect();
    let stream = crate::whatwg::read(&page.bytes, "");
    let got: Vec<&str> = stream.blocks.iter().filter_map(|block| block.id.as_deref()).collect();
    let complete = next == mark.tail || got.len() == page.records || !got.is_empty();
    if got != expected || stream.rest != page.bytes.len() || !complete || next > mark.tail || got.len() > page.records {
        say("history", format!("{got:?} and not {expected:?} from {start} to {next} in step {}", page.step));
    }
}

/// A connection ends for a reason that there was, and in time.
fn ending(trace: &Trace, conn: &Conn, say: &mut impl FnMut(&'static str, String)) {
    for fault in &conn.faults {
        say("sink", fault.clone());
    }
    let config = &trace.hubs[conn.hub].config;
    let since = conn.at_ms;
    let heard = conn.heard_ms.unwrap_or(u64::MAX);
    if let Some(lifetime) = config.lifetime_ms {
        // A tenth either way, and then the next check of one that is attached.
        let by = since.saturating_add(lifetime * 11 / 10).max(conn.attached_ms).max(heard).saturating_add(7_600);
        for calm in conn.calms.iter().filter(|calm| calm.at_ms > by) {
            say("lifetime", format!("lives on in step {}, {} ms old of {lifetime}", calm.step, calm.at_ms - since));
        }
    }
    let Some(closed) = &conn.closed else {
        if trace.hubs[conn.hub].left.is_some() {
            say("ending", "its end was never told".into());
        }
        return;
    };
    let age = closed.at_ms.saturating_sub(since);
    let right = match closed.reason {
        Disconnect::Dead => conn.max_unacknowledged >= config.client_timeout_ms,
        // From the first attempt in vain after the last byte: later ones change nothing.
        Disconnect::Slow => {
            let taken = conn.chunks.iter().rfind(|(step, ..)| *step < closed.step).map_or(0, |(step, ..)| *step);
            let mut stalls = conn.stalls.iter().filter(|stall| (taken..closed.step).contains(&stall.step));
            stalls.next().is_some_and(|stall| closed.at_ms - stall.at_ms + 100 >= config.stall_timeout_ms)
                || slow::ended_by_policy(trace, conn, closed)
        }
        Disconnect::Lifetime => config.lifetime_ms.is_some_and(|lifetime| age + 100 >= lifetime * 9 / 10),
        Disconnect::Unattached => conn.attached.is_none_or(|step| step >= closed.step) && age + 100 > 30_000,
        reason => conn.causes.contains(&reason),
    };
    if !right {
        say("ending", format!("{closed:?} after {age} ms, but {:?}", conn.causes));
    }
}

/// Counters and what is left at the end.
fn totals(trace: &Trace, say: &mut impl FnMut(&'static str, String)) {
    for (number, hub) in trace.hubs.iter().enumerate() {
        let Some(stats) = &hub.stats else { continue };
        let conns = || trace.conns.iter().filter(move |conn| conn.hub == number);
        let (mut events, mut bytes, mut gaps, mut pings, mut open, mut cut) = (0, 0, [0; 3], 0, 0, 0);
        for conn in conns() {
            let sent = streams::sent(&conn.bytes);
            events += sent.events;
            bytes += conn.wire as u64;
            cut += u64::from(conn.cut);
            gaps.iter_mut().zip(sent.gaps).for_each(|(sum, gaps)| *sum += gaps);
            pings += sent.pings;
            open += u64::from(sent.rest);
            // What a stalled sink takes after the end is counted, but the end was told before.
            let knew = |closed: &Closed| closed.taken == conn.bytes.len() && conn.stalls.is_empty() && closed.bytes > 0;
            let sums = (sent.events, conn.wire as u64);
            if let Some(closed) = conn.closed.filter(knew)
                && (u64::from(closed.events), closed.bytes) != sums
            {
                say("stats", format!("{closed:?}, but events and bytes are {sums:?}"));
            }
        }
        if (stats.events_sent, stats.bytes_sent) != (events, bytes) {
            let counted = (stats.events_sent, stats.bytes_sent);
            say("stats", format!("hub {number} counted {counted:?} events and bytes, the sinks {:?}", (events, bytes)));
        }
        let counted = |least: u64, count: u64| (least..=least + open + cut).contains(&count);
        if !gaps.into_iter().zip(stats.gaps).all(|(least, count)| counted(least, count))
            || !counted(pings, stats.pings_sent)
        {
            say("stats", format!("{:?} gaps and {} pings, not {gaps:?} and {pings}", stats.gaps, stats.pings_sent));
        }
        slow::totals(conns(), stats, say);
        let published =
            trace.published.iter().filter(|event| event.hub == number && !event.to.is_nobody()).count() as u64;
        if stats.published != published {
            say("stats", format!("{} published, not {published}", stats.published));
        }
        if let Some(left) = hub.left {
            let ends: u64 = stats.disconnects.iter().sum();
            if left != [0; 4] || ends != conns().count() as u64 {
                say("directory", format!("left at the end: {left:?}, {ends} ends"));
            }
        }
    }
}
