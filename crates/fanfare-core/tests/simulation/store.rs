//! The simulated store: it answers at once, or holds what it gets until it is told to answer or to lose it, and notes
//! what reached it. The desk is where everything that publishers see comes together, in order.

use super::model::Call;
use super::sink::SimSink;
use fanfare_core::{Draft, Event, ExpectedLast, Hub, IdempotencyKey, Now, Sequencer, Store, Submission, Target};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What goes on between publishers and a store.
#[derive(Default)]
pub struct Desk {
    /// Since they were last gathered.
    pub calls: Vec<Call>,
    /// The attempt that is being handed to the hub.
    asking: Option<usize>,
    pub holds: bool,
    pub held: VecDeque<(usize, Submission)>,
}

pub struct SimStore(pub Arc<Mutex<Desk>>);

impl Store for SimStore {
    fn submit(&self, submission: Submission, sequencer: &dyn Sequencer) {
        let mut desk = self.0.lock().unwrap();
        let number = desk.asking.unwrap();
        desk.calls.push(Call::Reached(number));
        if desk.holds {
            desk.held.push_back((number, submission));
            return;
        }
        drop(desk);
        sequencer.release(submission, fanfare_core::Durability::Memory);
    }
}

/// One publish as it is handed to a hub.
#[derive(Debug, Clone)]
pub struct Request {
    pub attempt: usize,
    pub events: Vec<(Event, Target, Option<String>)>,
    pub key: Option<IdempotencyKey>,
}

impl Request {
    pub fn publish(self, hub: &Hub<SimSink>, desk: &Arc<Mutex<Desk>>, now: Now) {
        let draft = |(event, target, expected): &(Event, Target, Option<String>)| -> Draft {
            match (target, expected) {
                (Target::Topic(topic), Some(id)) => hub.draft_expecting(event, topic, ExpectedLast::parse(id)),
                _ => hub.draft(event, target),
            }
        };
        let (number, drafts) = (self.attempt, self.events.iter().map(draft).collect());
        let put = |call: Call| desk.lock().unwrap().calls.push(call);
        put(Call::Asked(number));
        desk.lock().unwrap().asking = Some(number);
        let answers = Arc::clone(desk);
        let reply = move |answer| answers.lock().unwrap().calls.push(Call::Answered(number, answer));
        hub.publish(drafts, self.key, now, Box::new(reply));
        desk.lock().unwrap().asking = None;
    }
}

/// Answers everything that is held, in order.
pub fn answer_held(hub: &Hub<SimSink>, desk: &Mutex<Desk>) {
    let held = std::mem::take(&mut desk.lock().unwrap().held);
    for (_, submission) in held {
        hub.release(submission, fanfare_core::Durability::Memory);
    }
}

/// Loses everything that is held: replies are dropped uncalled.
pub fn lose_held(desk: &Mutex<Desk>) {
    let held = std::mem::take(&mut desk.lock().unwrap().held);
    for (number, submission) in held {
        desk.lock().unwrap().calls.push(Call::Lost(number));
        drop(submission);
    }
}
