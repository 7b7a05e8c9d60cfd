//! From requests and answers, frames and pages to what the checker reads.

use crate::checker::{Attempt, From, Item, Outcome, Publish, Reading, Run, Sent, To, Verdict, Who, check};
use crate::wire::{Answer, Client, Frame, Stream};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

/// Type of all events here.
const EVENT: &str = "tick";

pub(crate) fn user(name: &str) -> Who {
    Who { user: Some(name.to_owned()), ..Who::default() }
}

/// An event for somebody. `name` is one that no other event of the run has.
pub(crate) fn event(name: &str, to: To) -> Sent {
    Sent { payload: format!("{EVENT} {{\"name\":\"{name}\"}}"), to, ephemeral: false }
}

/// An event with a payload of about so many bytes.
pub(crate) fn large(name: &str, to: To, bytes: usize) -> Sent {
    let pad = "x".repeat(bytes);
    Sent { payload: format!("{EVENT} {{\"name\":\"{name}\",\"pad\":\"{pad}\"}}"), to, ephemeral: false }
}

/// An event as it is published.
pub(crate) fn body(sent: &Sent, own_id: Option<&str>) -> String {
    let data = sent.payload.split_once(' ').map_or("", |(_, data)| data);
    let to = match &sent.to {
        To::All => r#"{"all":true}"#.to_owned(),
        To::User(user) => format!(r#"{{"userId":"{user}"}}"#),
        To::Users(users) => format!(r#"{{"userIds":{users:?}}}"#),
        To::Topic(topic) => format!(r#"{{"topic":"{topic}"}}"#),
        To::Client(client) => format!(r#"{{"clientId":"{client}"}}"#),
        To::Session(session) => format!(r#"{{"sessionId":"{session}"}}"#),
        To::Filter { user, session, metadata } => {
            let metadata: BTreeMap<_, _> = metadata.iter().cloned().collect();
            let mut filter = serde_json::json!({ "metadata": metadata });
            for (key, value) in [("userId", user), ("sessionId", session)] {
                if let Some(value) = value {
                    filter[key] = value.as_str().into();
                }
            }
            serde_json::json!({ "filter": filter }).to_string()
        }
    };
    let id = own_id.map_or_else(String::new, |id| format!(r#","id":"{id}""#));
    let ephemeral = if sent.ephemeral { r#","ephemeral":true"# } else { "" };
    format!(r#"{{"event":"{EVENT}","data":{data},"to":{to}{id}{ephemeral}}}"#)
}

/// Several events in one request.
pub(crate) fn batch(events: &[Sent]) -> String {
    let bodies: Vec<String> = events.iter().map(|sent| body(sent, None)).collect();
    format!("[{}]", bodies.join(","))
}

/// What an answer to a publish says.
pub(crate) fn outcome(answer: &io::Result<Answer>) -> Outcome {
    let Ok(answer) = answer else { return Outcome::Unknown };
    if answer.status != 200 {
        // A log that failed while it wrote may have written.
        return if answer.problem() == "log-read-only" { Outcome::Unknown } else { Outcome::Refused };
    }
    let json = answer.json();
    let receipts = json.as_array().map_or_else(|| std::slice::from_ref(&json), Vec::as_slice);
    for receipt in receipts {
        let level = if receipt["id"].is_null() { "ephemeral" } else { "disk" };
        assert_eq!(receipt["durability"], level, "{receipt}");
    }
    Outcome::Acked(receipts.iter().map(|receipt| receipt["id"].as_str().map(str::to_owned)).collect())
}

/// Publishes events as one request, and records it.
pub(crate) fn publish(run: &mut Run, life: usize, client: &mut Client, events: Vec<Sent>) -> io::Result<Answer> {
    let text = if let [only] = &events[..] { body(only, None) } else { batch(&events) };
    let answer = client.publish(&text);
    let attempts = vec![Attempt { life, outcome: outcome(&answer) }];
    run.publishes.push(Publish { publisher: "test".to_owned(), events, attempts });
    answer
}

/// Publishes events as one request, which succeeds: their ids.
pub(crate) fn publish_ok(run: &mut Run, life: usize, client: &mut Client, events: Vec<Sent>) -> Vec<String> {
    let answer = publish(run, life, client, events).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    match outcome(&Ok(answer)) {
        Outcome::Acked(ids) => ids.into_iter().flatten().collect(),
        other => panic!("{other:?}"),
    }
}

fn verdict(text: &str) -> Verdict {
    match text {
        "live" => Verdict::Live,
        "resumed" => Verdict::Resumed,
        "gap" => Verdict::Gap,
        "reset" => Verdict::Reset,
        other => panic!("{other:?} is no verdict"),
    }
}

fn query(who: &Who) -> String {
    let user = who.user.iter().map(|user| format!("userId={user}"));
    user.chain(who.topics.iter().map(|topic| format!("topic={topic}"))).collect::<Vec<_>>().join("&")
}

/// Reads the history to its end, page by page, as somebody may see it.
pub(crate) fn read_history(address: SocketAddr, life: usize, who: &Who, from: From, complete: bool) -> Vec<Reading> {
    let mut client = Client::new(address);
    let mut from = from;
    let mut readings = Vec::new();
    loop {
        let presented = match &from {
            From::Now => "latest".to_owned(),
            From::Earliest => "earliest".to_owned(),
            From::After(id) => id.replace('~', "%7E"),
        };
        let path = format!("/api/sse/events?limit=1000&lastEventId={presented}&{}", query(who));
        let answer = client.get(path.trim_end_matches('&')).expect("a page");
        assert_eq!(answer.status, 200, "{answer:?}");
        let page: BTreeMap<&str, &RawValue> = serde_json::from_str(&answer.body).expect("a page");
        let text = |key: &str| serde_json::from_str::<String>(page[key].get()).expect("text");
        let events: Vec<BTreeMap<&str, &RawValue>> = serde_json::from_str(page["events"].get()).expect("events");
        let mut items: Vec<Item> = events.iter().map(item_of_page).collect();
        let next = text("next");
        items.push(Item::Place(next.clone()));
        let verdict = verdict(&text("resume"));
        let end = events.is_empty() && from == From::After(next.clone());
        let from = std::mem::replace(&mut from, From::After(next));
        readings.push(Reading { life, who: who.clone(), from, verdict, items, complete: end && complete });
        if end {
            return readings;
        }
    }
}

fn item_of_page(event: &BTreeMap<&str, &RawValue>) -> Item {
    let text = |key: &str| serde_json::from_str::<String>(event[key].get()).expect("text");
    Item::Event { id: text("id"), payload: format!("{} {}", text("event"), event["data"].get()) }
}

/// A stream that is being recorded.
pub(crate) struct Listener {
    stream: Stream,
    pub(crate) reading: Reading,
}

impl Listener {
    pub(crate) fn open(address: SocketAddr, life: usize, who: &Who, from: From) -> io::Result<Self> {
        let stream = match &from {
            From::Now => Stream::open(address, &query(who), None)?,
            From::Earliest => Stream::open(address, &query(who), Some("earliest"))?,
            From::After(id) => Stream::open(address, &query(who), Some(id))?,
        };
        let id = stream.first.id.clone().expect("connected has an id");
        let verdict = verdict(stream.resume());
        if verdict == Verdict::Resumed
            && let From::After(presented) = &from
        {
            assert_eq!(id.split('~').next(), presented.split('~').next(), "a resumed stream begins where it was");
        }
        let items = vec![Item::Place(id)];
        Ok(Self { stream, reading: Reading { life, who: who.clone(), from, verdict, items, complete: false } })
    }

    /// Records the next frame. `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<&Item>> {
        let Some(Frame { id, event, data }) = self.stream.next()? else { return Ok(None) };
        let item = match (id, &*event) {
            (None, "$closing") => return Ok(None),
            (None, _) => panic!("{event} {data:?} without an id"),
            (Some(id), "$gap") => Item::Gap(id),
            (Some(id), "$reset") => Item::Reset(id),
            (Some(id), "ping" | "$closing") => Item::Place(id),
            (Some(id), _) => Item::Event { id, payload: format!("{event} {data}") },
        };
        self.reading.items.push(item);
        Ok(self.reading.items.last())
    }

    /// Records up to this event.
    pub(crate) fn read_to(&mut self, payload: &str) {
        let is_it = |item: &Item| matches!(item, Item::Event { payload: found, .. } if found == payload);
        loop {
            match self.next() {
                Ok(Some(item)) if is_it(item) => return,
                Ok(Some(_)) => {}
                other => panic!("{other:?} before {payload}"),
            }
        }
    }

    /// Where the reader goes on.
    pub(crate) fn last_id(&self) -> String {
        let (Item::Event { id, .. } | Item::Place(id) | Item::Gap(id) | Item::Reset(id)) =
            self.reading.items.last().expect("connected");
        id.clone()
    }
}

/// Fails with the first of what is wrong with a run.
pub(crate) fn assert_sound(run: &Run, what: &str) {
    let violations = check(run);
    let shown: Vec<String> =
        violations.iter().take(12).map(|found| format!("{}: {}", found.rule, found.text)).collect();
    assert!(violations.is_empty(), "{what}: {} violations\n{}", violations.len(), shown.join("\n"));
}
