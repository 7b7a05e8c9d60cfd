//! The world's publishes: what is drawn, handed to a hub, answered now or later, and recorded when it is.

use super::model::{Attempt, Call, Published, Said, To, Wanted};
use super::sink::{Done, Work};
use super::store::{Request, answer_held, lose_held};
use super::world::World;
use fanfare_core::{Event, IdempotencyKey, Receipt, Target};

/// Below these no inbox and no window runs over, with room for what is meanwhile published.
const SAFE_BYTES: usize = 2 << 20;
const SAFE_RECORDS: usize = 16_000;

/// One event to publish.
#[derive(Debug, Clone)]
pub struct Draw {
    pub to: To,
    pub event_type: String,
    pub data: String,
    pub own_id: Option<String>,
    pub retry: Option<u64>,
    pub ephemeral: bool,
    /// What must be the last of its topic.
    pub expected: Option<String>,
}

/// The name of a request: which key, and which body.
pub type Key = Option<(u8, u128)>;

impl Draw {
    pub fn new(to: To, data: &str) -> Self {
        let data = data.to_owned();
        Self { to, event_type: "update".into(), data, own_id: None, retry: None, ephemeral: false, expected: None }
    }

    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }

    pub fn expecting(mut self, id: &str) -> Self {
        self.expected = Some(id.to_owned());
        self
    }

    fn cost_max(&self) -> usize {
        let lines = self.data.split(['\r', '\n']).count();
        let keys = if let To::Users(users) = &self.to { users.len() } else { 6 };
        900 + self.data.len() + self.event_type.len() + 7 * lines + 48 * keys
    }

    pub fn event(&self) -> Event {
        let mut event = Event::new(&self.event_type, self.data.as_str()).unwrap().with_ephemeral(self.ephemeral);
        if let Some(id) = &self.own_id {
            event = event.with_id(id).unwrap();
        }
        if let Some(retry) = self.retry {
            event = event.with_retry(retry).unwrap();
        }
        event
    }

    fn wanted(&self) -> Wanted {
        let topic = if let To::Topic(topic) = self.to { Some(topic) } else { None };
        Wanted { topic, durable: !self.ephemeral && !self.to.is_nobody(), expected: self.expected.clone() }
    }
}

impl World {
    pub fn publish(&mut self, draws: Vec<Draw>) {
        self.publish_under(None, draws);
    }

    pub fn publish_under(&mut self, key: Key, draws: Vec<Draw>) {
        self.begin(|| match draws.as_slice() {
            [one] => format!("publish under {key:?} {one:.60?}"),
            many => format!("publish under {key:?} a batch of {}, first {:.60?}", many.len(), many[0]),
        });
        let request = self.request(key, draws, false);
        let counts: Vec<usize> = request.events.iter().map(|(_, target, _)| self.hub.count(target)).collect();
        let (attempt, first) = (request.attempt, self.trace.published.len());
        request.publish(&self.hub, &self.desk, self.clock.now());
        self.gather_calls();
        let receipts: Vec<usize> = self.trace.published[first..].iter().map(|event| event.clients).collect();
        if !receipts.is_empty() && counts != receipts {
            self.fault(format!("count() says {counts:?}, the receipts of attempt {attempt} {receipts:?}"));
        }
        self.end();
    }

    /// Publishes during the next write of any sink, as another thread would.
    pub fn publish_meanwhile(&mut self, key: Key, draws: Vec<Draw>) {
        self.begin(|| format!("plan to publish {} under {key:?} during a write, first {:.60?}", draws.len(), draws[0]));
        let request = self.request(key, draws, true);
        self.meanwhile.lock().unwrap().planned.push_back(Work::Publish(request));
        self.end();
    }

    fn request(&mut self, key: Key, draws: Vec<Draw>, meanwhile: bool) -> Request {
        let attempt = self.trace.attempts.len();
        let event = |draw: &Draw| -> (Event, Target, Option<String>) {
            (draw.event(), draw.to.target(|conn| self.client_id(conn)), draw.expected.clone())
        };
        let events = draws.iter().map(event).collect();
        let wanted = draws.iter().map(Draw::wanted).collect();
        // The hub and the time are those of the moment in which it is handed over.
        self.trace.attempts.push(Attempt { hub: usize::MAX, at_ms: 0, key, wanted, meanwhile });
        self.waiting.insert(attempt, draws);
        let key = key.map(|(name, fingerprint)| IdempotencyKey { key: format!("key {name}").into(), fingerprint });
        Request { attempt, events, key }
    }

    // The store

    /// From now on the store answers when it is told.
    pub fn hold(&mut self) {
        self.begin(|| "the store holds what comes".into());
        self.desk.lock().unwrap().holds = true;
        self.end();
    }

    /// The store answers what it holds, and from now on at once.
    pub fn answer_held(&mut self) {
        self.begin(|| "the store answers".into());
        self.desk.lock().unwrap().holds = false;
        answer_held(&self.hub, &self.desk);
        self.gather_calls();
        self.end();
    }

    /// The store loses what it holds.
    pub fn lose_held(&mut self) {
        self.begin(|| "the store loses what it holds".into());
        self.desk.lock().unwrap().holds = false;
        lose_held(&self.desk);
        self.gather_calls();
        self.end();
    }

    // What came of it

    pub fn gather_meanwhile(&mut self) {
        let done = std::mem::take(&mut self.meanwhile.lock().unwrap().done);
        for Done(client_id, closed) in done {
            if closed {
                let step = self.step();
                let conn = self.by_client[&client_id];
                self.trace.conns[conn].gone.get_or_insert(step);
            }
        }
        self.gather_calls();
    }

    fn gather_calls(&mut self) {
        let calls = std::mem::take(&mut self.desk.lock().unwrap().calls);
        for call in calls {
            match &call {
                Call::Asked(attempt) => {
                    let (hub, at_ms) = (self.hub_number(), self.now_ms());
                    let asked = &mut self.trace.attempts[*attempt];
                    (asked.hub, asked.at_ms) = (hub, at_ms);
                }
                Call::Reached(attempt) => _ = self.reached.insert(*attempt),
                Call::Answered(attempt, answer) => {
                    self.trace.told.push(format!("             answered {attempt}: {answer:.100?}"));
                    let draws = self.waiting.remove(attempt).unwrap_or_default();
                    // Who was answered without the store was published before, or not at all.
                    if let (true, Ok(receipts)) = (self.reached.remove(attempt), answer) {
                        self.record(*attempt, draws, receipts);
                    }
                }
                Call::Lost(_) => {}
            }
            let closed = self.closed;
            self.trace.calls.push(Said { call, closed });
        }
    }

    /// Takes what was published into the record, in the order of the log.
    fn record(&mut self, attempt: usize, draws: Vec<Draw>, receipts: &[Receipt]) {
        let Attempt { at_ms, meanwhile, .. } = self.trace.attempts[attempt];
        if draws.len() != receipts.len() {
            return self.fault(format!("{} events, {} receipts", draws.len(), receipts.len()));
        }
        for (draw, receipt) in draws.into_iter().zip(receipts) {
            if let Some(place) = receipt.id.as_deref().and_then(super::check::place) {
                self.positions.push(place.position);
                // What was held is looked at with the time of its submission.
                self.enforced |= at_ms == self.now_ms();
            }
            self.loose.0 += draw.cost_max();
            self.loose.1 += 1;
            self.trace.published.push(Published {
                cost_max: draw.cost_max(),
                hub: self.hub_number(),
                step: self.step(),
                at_ms,
                to: draw.to,
                event_type: draw.event_type,
                data: draw.data,
                own_id: draw.own_id,
                retry: draw.retry,
                ephemeral: draw.ephemeral,
                meanwhile,
                id: receipt.id.clone(),
                clients: receipt.clients,
                position: self.positions.last().copied().unwrap_or(0),
            });
        }
        if self.loose.0 > SAFE_BYTES || self.loose.1 > SAFE_RECORDS {
            let (since, step) = (self.loose.2, self.step());
            match self.trace.overflows.last_mut() {
                Some(last) if last.0 == since => last.1 = step,
                _ => self.trace.overflows.push((since, step)),
            }
        }
    }
}
