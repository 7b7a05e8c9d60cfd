//! Publishing: from an event to a record that everybody sees.

use super::{Guarded, Hub};
use crate::directory::Recipients;
use crate::dropped::LastOf;
use crate::event::Event;
use crate::expect::{self, ExpectedLast};
use crate::key::Key;
use crate::limits::{BATCH_BYTES, QUICK_FANOUT};
use crate::log::Record;
use crate::store::{Content, Draft, Durability, IdempotencyKey, PublishError, Receipt, Reply, Sequencer, Submission};
use crate::target::{ClientId, Matcher, Name, Target};
use crate::time::Now;
use crate::wire::{FrameBody, StampedId};
use bytes::Bytes;
use core::sync::atomic::Ordering;

impl<S> Hub<S> {
    /// Encodes an event for a target. No lock is held.
    pub fn draft(&self, event: &Event, target: &Target) -> Draft {
        Draft { content: Content::Body(FrameBody::encode(event)), matcher: self.matcher(target), expected: None }
    }

    /// [`Hub::draft`] for a topic, to be published only if the topic's last event is the expected one by then. Drafts
    /// before it in the same publish count. If it is not, nothing of that publish is: [`PublishError::Conflict`].
    pub fn draft_expecting(&self, event: &Event, topic: &Name, expected: ExpectedLast) -> Draft {
        Draft { expected: Some(expected), ..self.draft(event, &Target::Topic(topic.clone())) }
    }

    /// Hands drafts to the store; `reply` gets the receipts when they are kept. All or nothing.
    ///
    /// Under a key, they are published once: whoever comes with a key and a fingerprint that are known gets the first
    /// answer, at once or together with the first, and another fingerprint is refused ([`PublishError::KeyReused`]).
    /// A publish that failed is not remembered.
    pub fn publish(&self, drafts: Vec<Draft>, key: Option<IdempotencyKey>, now: Now, reply: Reply) {
        let reply = match &key {
            None => reply,
            Some(key) => match self.inner.answers.claim(key, drafts.len(), now, reply) {
                Some(reply) => reply,
                None => return,
            },
        };
        if drafts.is_empty() {
            return reply(Ok(Vec::new()));
        }
        let submission = Submission { drafts, key, now, reply };
        let bytes = submission.log_bytes();
        if bytes > BATCH_BYTES {
            return (submission.reply)(Err(PublishError::TooLarge(bytes)));
        }
        self.inner.store.submit(submission, self);
    }

    /// Remembers an answer that was given `age_ms` ago: for keys that are read back from a log at the start, in its
    /// order. A key given twice has the later answer; bounds are kept as if they had been published here.
    pub fn remember(&self, key: IdempotencyKey, receipts: Vec<Receipt>, age_ms: u64, now: Now) {
        self.inner.answers.remember(&key, receipts, age_ms, now);
    }

    /// The connections a target has now.
    pub fn count(&self, target: &Target) -> usize {
        self.count_matcher(&self.matcher(target))
    }

    pub(crate) fn count_matcher(&self, matcher: &Matcher) -> usize {
        self.lock().directory.recipients(matcher).map_or(0, |(_, count)| count)
    }

    /// The newest event of a topic, as far as the log in memory knows.
    pub(crate) fn last_of(&self, topic: Key) -> LastOf {
        self.lock().log.last_of(topic)
    }

    fn release_now(&self, drafts: Vec<Draft>, now: Now, kept: Durability) -> Result<Vec<Receipt>, PublishError> {
        let mut stamped = Vec::with_capacity(drafts.len());
        let mut touched = 0u64;
        {
            let mut guarded = self.lock();
            // What is on disk has happened, whoever is still there to hear of it.
            if guarded.closed && kept != Durability::Disk {
                return Err(PublishError::Closed);
            }
            // Under the same hold as the release: what is true here is true until the drafts are in the log. A store
            // that gives places has looked before it did.
            let log = &guarded.log;
            if kept == Durability::Memory
                && let Some((index, last)) =
                    expect::conflict(&drafts, log.tail(), |key| log.last_of(key), |position| log.cursor(position))
            {
                return Err(PublishError::Conflict { index, last });
            }
            for draft in drafts {
                stamped.push(self.release_one(&mut guarded, draft, now, kept, &mut touched));
            }
            guarded.last_event_at = Some(now.wall_ms);
            let tail = guarded.log.tail();
            for port in &self.inner.ports {
                port.tail.store(tail, Ordering::Release);
            }
        }
        for (index, port) in self.inner.ports.iter().enumerate() {
            if touched & 1 << index != 0 {
                port.wake_if_asleep();
            }
        }
        Ok(stamped
            .into_iter()
            .map(|(id, clients, durability)| Receipt {
                id: id.map(|id: StampedId| id.as_str().to_owned()),
                clients,
                durability,
            })
            .collect())
    }

    fn release_one(
        &self,
        guarded: &mut Guarded,
        draft: Draft,
        now: Now,
        kept: Durability,
        touched: &mut u64,
    ) -> (Option<StampedId>, usize, Durability) {
        if draft.is_for_nobody() {
            return (None, 0, Durability::Ephemeral);
        }
        let Draft { content, matcher, .. } = draft;
        guarded.published += 1;
        let (ephemeral, position, frame, id) = match content {
            Content::Placed { position, frame, id } => (false, position, frame, id),
            Content::Body(body) => {
                let ephemeral = body.ephemeral();
                let log = &guarded.log;
                let cursor = if ephemeral { log.cursor(log.tail()) } else { log.next_cursor() };
                let (frame, id) = body.stamp(cursor);
                (ephemeral, cursor.position, frame, id)
            }
        };
        let mut clients = 0;
        if let Some((recipients, count)) = guarded.directory.recipients(&matcher) {
            clients = count;
            self.hand_over(guarded, position, &frame, &recipients, count <= QUICK_FANOUT, touched);
        }
        if ephemeral {
            return (None, clients, Durability::Ephemeral);
        }
        guarded.log.append(Record { position, frame, matcher }, now.mono_ms);
        (Some(id), clients, kept)
    }

    /// A target in keys. A client id that was not made here names nobody, whatever slot it points to: not in the
    /// directory, and not by its key, which is what a connection that lags is matched by.
    fn matcher(&self, target: &Target) -> Matcher {
        target.matcher(&self.inner.keyer, |id| {
            let known = id.tag == self.client_tag(id.slot, id.generation);
            let id = if known { id } else { ClientId { slot: u32::MAX, ..id } };
            Matcher::Client(id, self.client_key(id.slot, id.generation))
        })
    }

    fn hand_over(
        &self,
        guarded: &Guarded,
        position: u64,
        frame: &Bytes,
        recipients: &Recipients,
        quick: bool,
        touched: &mut u64,
    ) {
        let shards = self.inner.ports.len();
        let put = |shard: usize| {
            let (frame, recipients) = (frame.clone(), recipients.clone());
            let port = &self.inner.ports[shard];
            port.inbox.fill(|mail| mail.put_record(position, frame, recipients, quick));
            // A hint: whoever misses it serves the inbox a turn later.
            if quick && !port.urgent.load(Ordering::Relaxed) {
                port.urgent.store(true, Ordering::Relaxed);
            }
        };
        let mut holders = 0u64;
        match recipients {
            Recipients::One(slot) => holders |= 1 << (*slot as usize % shards),
            Recipients::Few(slots) => slots.iter().for_each(|slot| holders |= 1 << (*slot as usize % shards)),
            Recipients::All | Recipients::Many(_) => {
                for shard in (0..shards).filter(|shard| guarded.directory.shard_len(*shard) > 0) {
                    holders |= 1 << shard;
                }
            }
        }
        (0..shards).filter(|shard| holders & 1 << shard != 0).for_each(put);
        *touched |= holders;
    }
}

impl<S> Sequencer for Hub<S> {
    fn release(&self, submission: Submission, durability: Durability) {
        let Submission { drafts, now, reply, .. } = submission;
        reply(self.release_now(drafts, now, durability));
    }
}
