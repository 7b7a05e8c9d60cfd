//! The manager over a store that answers when it is told to, as a log on disk will.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

use super::*;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use fanfare_core::{Sequencer, Submission};

#[derive(Clone, Default)]
struct Later(Arc<Mutex<Vec<Submission>>>);

impl Store for Later {
    fn submit(&self, submission: Submission, _: &dyn Sequencer) {
        lock(&self.0).push(submission);
    }
}

impl Later {
    fn release_all(&self, manager: &SseManager) {
        let held = std::mem::take(&mut *lock(&self.0));
        for submission in held {
            manager.inner.hub.release(submission, Durability::Memory);
        }
    }
}

fn manager() -> (SseManager, Later) {
    let (store, config) = (Later::default(), SseConfig { max_clients: 10, ..SseConfig::default() });
    (SseManager::with_store(config, Clock::system(), Box::new(store.clone())).unwrap(), store)
}

fn key(fingerprint: u128) -> IdempotencyKey {
    IdempotencyKey { key: "k".into(), fingerprint }
}

async fn publish(manager: &SseManager, data: u32, fingerprint: u128) -> Result<Vec<fanfare_core::Receipt>, SendError> {
    manager.publish_all(vec![(SseEvent::new("n", data), Target::All)], false, Some(key(fingerprint))).await
}

/// Polls once and drops: the caller went away between submission and answer.
fn begin<T>(work: impl Future<Output = T>) -> Option<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Once the work lived in the caller's future: who went away and came again published twice.
#[tokio::test]
async fn a_publish_whose_caller_went_away_is_not_done_again_by_its_retry() {
    let (manager, store) = manager();
    assert!(begin(publish(&manager, 1, 1)).is_none(), "the store has not answered");
    let retry = publish(&manager, 1, 1);
    assert!(begin(publish(&manager, 1, 1)).is_none(), "a retry waits, too, and may go away");
    let reused = publish(&manager, 2, 2).await;
    assert_eq!(reused, Err(SendError::KeyReused), "the key is taken before there is an answer");
    let mut retry = pin!(retry);
    assert!(retry.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(lock(&store.0).len(), 1, "the store has it once");
    store.release_all(&manager);
    let first = retry.await.unwrap();
    assert_eq!(publish(&manager, 1, 1).await.unwrap(), first, "and whoever comes later");
    assert_eq!((manager.stats().total_events_published, lock(&store.0).len()), (1, 0));
}

#[tokio::test]
async fn a_store_that_gives_up_is_an_error_and_the_key_is_free_again() {
    let (manager, store) = manager();
    let work = publish(&manager, 1, 1);
    let mut work = pin!(work);
    assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    lock(&store.0).clear();
    assert_eq!(work.await, Err(SendError::Closed));
    assert!(begin(publish(&manager, 2, 2)).is_none());
    store.release_all(&manager);
    assert_eq!(manager.stats().total_events_published, 1);
}

#[tokio::test]
async fn what_is_not_allowed_takes_no_key() {
    let (manager, store) = manager();
    let ping = vec![(SseEvent::new("ping", 1), Target::All)];
    let refused = manager.publish_all(ping, false, Some(key(1))).await;
    assert!(matches!(refused, Err(SendError::Invalid { .. })));
    assert!(begin(publish(&manager, 2, 2)).is_none());
    assert_eq!(lock(&store.0).len(), 1);
    // Without waiting there is no count yet but that of now.
    assert_eq!(manager.broadcast(SseEvent::new("n", 1)), Ok(0));
    store.release_all(&manager);
    assert_eq!(manager.stats().total_events_published, 2);
}
