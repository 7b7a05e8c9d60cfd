//! Publishes that are not done twice: the answers given under an `Idempotency-Key`.
//!
//! Remembered for the shorter of the history's age and a day, and at most so many. Concurrent twins wait for the
//! first one's answer.

use fanfare_core::Receipt;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

type Cell = Arc<OnceCell<Vec<Receipt>>>;

#[derive(Debug)]
struct Entry {
    fingerprint: u128,
    began_ms: u64,
    cell: Cell,
}

#[derive(Debug, Default)]
struct Known {
    by_key: HashMap<Box<str>, Entry>,
    /// Keys in the order in which they began.
    order: VecDeque<(u64, Box<str>)>,
}

#[derive(Debug)]
pub(crate) struct Idempotency {
    known: Mutex<Known>,
    keys_max: usize,
    age_max_ms: u64,
}

/// The key was used with another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reused;

const DAY_MS: u64 = 86_400_000;

impl Idempotency {
    pub(crate) fn new(keys_max: usize, history_age_ms: u64) -> Self {
        Self { known: Mutex::default(), keys_max, age_max_ms: history_age_ms.min(DAY_MS) }
    }

    /// Publishes once for a key. A failed publish is not remembered: it may be tried again under the same key.
    ///
    /// # Cancel safety
    ///
    /// A caller that goes away before the answer leaves the work to its waiting twin, or to the next try.
    pub(crate) async fn once<E>(
        &self,
        key: &str,
        fingerprint: u128,
        now_ms: u64,
        publish: impl Future<Output = Result<Vec<Receipt>, E>>,
    ) -> Result<Result<Vec<Receipt>, E>, Reused> {
        let cell = self.claim(key, fingerprint, now_ms)?;
        Ok(cell.get_or_try_init(|| publish).await.cloned())
    }

    fn claim(&self, key: &str, fingerprint: u128, now_ms: u64) -> Result<Cell, Reused> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.expire(now_ms, self.age_max_ms, self.keys_max);
        if let Some(entry) = known.by_key.get_mut(key) {
            if entry.fingerprint == fingerprint {
                return Ok(Arc::clone(&entry.cell));
            }
            // Nothing was published under it yet: what was refused may be sent again, mended.
            if entry.cell.initialized() || Arc::strong_count(&entry.cell) > 1 {
                return Err(Reused);
            }
            entry.fingerprint = fingerprint;
            return Ok(Arc::clone(&entry.cell));
        }
        let cell = Cell::default();
        let entry = Entry { fingerprint, began_ms: now_ms, cell: Arc::clone(&cell) };
        known.by_key.insert(key.into(), entry);
        known.order.push_back((now_ms, key.into()));
        Ok(cell)
    }
}

impl Known {
    fn expire(&mut self, now_ms: u64, age_max_ms: u64, keys_max: usize) {
        while let Some((began_ms, _)) = self.order.front() {
            if self.by_key.len() < keys_max.max(1) && now_ms.saturating_sub(*began_ms) <= age_max_ms {
                break;
            }
            if let Some((began_ms, key)) = self.order.pop_front()
                && self.by_key.get(&key).is_some_and(|entry| entry.began_ms == began_ms)
            {
                self.by_key.remove(&key);
            }
        }
    }
}
