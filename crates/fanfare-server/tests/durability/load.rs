//! Publishers and subscribers that go on until their server is gone, and record what they saw.

use crate::chance::Chance;
use crate::checker::{Attempt, From, Outcome, Publish, Reading, Sent, To, Who};
use crate::record::{Listener, batch, body, event, large, outcome};
use crate::wire::{Answer, Client};
use std::io;
use std::net::SocketAddr;

/// Readers of one run: two users with a topic each, one without a name.
pub(crate) fn readers() -> Vec<Who> {
    let named = |user: &str, topics: &[&str]| Who {
        user: Some(user.to_owned()),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..Who::default()
    };
    vec![named("ada", &["red"]), named("bob", &["red", "blue"]), Who::default()]
}

fn target(chance: &mut Chance) -> To {
    match chance.below(8) {
        0 | 1 => To::User("ada".to_owned()),
        2 => To::User("bob".to_owned()),
        3 => To::Topic("red".to_owned()),
        4 => To::Topic("blue".to_owned()),
        5 => To::Users(vec!["ada".to_owned(), "bob".to_owned()]),
        _ => To::All,
    }
}

/// A request that may be made again.
struct Request {
    headers: String,
    body: String,
    publish: Publish,
    keyed: bool,
}

/// One that publishes without a pause, and repeats what it has no answer for if it gave it a key.
pub(crate) struct Publisher {
    name: String,
    chance: Chance,
    count: usize,
    /// Most bytes of one payload.
    bytes: usize,
    /// The disk may have no room.
    pub(crate) may_be_full: bool,
    /// The last one, where it may be made again.
    again: Option<Request>,
    done: Vec<Publish>,
}

impl Publisher {
    pub(crate) fn new(name: String, chance: Chance, bytes: usize) -> Self {
        Self { name, chance, count: 0, bytes, may_be_full: false, again: None, done: Vec::new() }
    }

    /// Publishes until the server is gone.
    pub(crate) fn run(&mut self, address: SocketAddr, life: usize) {
        self.some(address, life, usize::MAX);
    }

    /// Makes so many requests, unless the server is gone before.
    pub(crate) fn some(&mut self, address: SocketAddr, life: usize, requests: usize) {
        let mut client = Client::new(address);
        let mut next = self.again.take();
        for _ in 0..requests {
            let mut request = next.take().unwrap_or_else(|| self.request());
            let answer = client.request("POST", "/api/sse/publish", &request.headers, &request.body);
            let outcome = outcome(&answer);
            let ended = answer.is_err() || matches!(&answer, Ok(Answer { status: 503, .. }));
            request.publish.attempts.push(Attempt { life, outcome: outcome.clone() });
            if ended {
                return self.keep(request);
            }
            if outcome == Outcome::Refused {
                assert!(self.may_be_full && matches!(&answer, Ok(Answer { status: 507, .. })), "{answer:?}");
            }
            // Now and then also what was answered is asked again, in this life or in the next.
            if request.keyed && request.publish.attempts.len() < 3 && self.chance.one_in(4) {
                next = Some(request);
            } else {
                self.done.push(request.publish);
            }
        }
        self.again = next;
    }

    fn keep(&mut self, request: Request) {
        if request.keyed {
            self.again = Some(request);
        } else {
            self.done.push(request.publish);
        }
    }

    /// Nothing more is published: what was on its way is part of the record too.
    pub(crate) fn finish(mut self) -> Vec<Publish> {
        self.done.extend(self.again.take().map(|request| request.publish));
        self.done
    }

    fn request(&mut self) -> Request {
        let several = match self.chance.below(4) {
            0 => 2 + self.chance.below(6),
            _ => 1,
        };
        let events: Vec<Sent> = (0..several).map(|_| self.event()).collect();
        let ndjson = self.chance.one_in(4);
        let own_id = self.chance.one_in(3).then(|| format!("own-{}", self.count));
        let text = match &events[..] {
            events if ndjson => events.iter().map(|event| body(event, None) + "\n").collect(),
            [only] => body(only, own_id.as_deref()),
            events => batch(events),
        };
        let kind = if ndjson { "application/x-ndjson" } else { "application/json" };
        let keyed = self.chance.one_in(2);
        let key = if keyed { format!("idempotency-key: {}-{}\r\n", self.name, self.count) } else { String::new() };
        Request {
            headers: format!("content-type: {kind}\r\n{key}"),
            body: text,
            publish: Publish { publisher: self.name.clone(), events, attempts: Vec::new() },
            keyed,
        }
    }

    fn event(&mut self) -> Sent {
        self.count += 1;
        let name = format!("{}-{}", self.name, self.count);
        let to = target(&mut self.chance);
        let mut sent = if self.chance.one_in(3) {
            let bytes = self.chance.below(self.bytes);
            large(&name, to, bytes)
        } else {
            event(&name, to)
        };
        sent.ephemeral = self.chance.one_in(12);
        sent
    }
}

/// One that is always connected, goes on where it was, and now and then leaves on its own.
pub(crate) struct Subscriber {
    who: Who,
    chance: Chance,
    last: Option<String>,
    pub(crate) readings: Vec<Reading>,
}

impl Subscriber {
    pub(crate) fn new(who: Who, chance: Chance) -> Self {
        Self { who, chance, last: None, readings: Vec::new() }
    }

    /// Reads until the server is gone.
    pub(crate) fn run(&mut self, address: SocketAddr, life: usize) {
        while self.connect(address, life).is_ok() {}
    }

    fn connect(&mut self, address: SocketAddr, life: usize) -> io::Result<()> {
        let from = self.last.clone().map_or(From::Now, From::After);
        let mut listener = Listener::open(address, life, &self.who, from)?;
        let leaves_after = 1 + self.chance.below(300);
        let mut ended = Ok(());
        for _ in 0..leaves_after {
            match listener.next() {
                Ok(Some(_)) => {}
                Ok(None) => {
                    ended = Err(io::ErrorKind::UnexpectedEof.into());
                    break;
                }
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        self.last = Some(listener.last_id());
        self.readings.push(listener.reading);
        ended
    }
}
