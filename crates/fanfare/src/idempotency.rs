//! Publishes that are not done twice: the answers given under an `Idempotency-Key`.
//!
//! Remembered for the shorter of the history's age and a day, at most so many, and at most so many bytes. Concurrent
//! twins wait for the first one's answer.

use crate::lock::lock;
use fanfare_core::Receipt;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

type Cell = Arc<OnceCell<Vec<Receipt>>>;

#[derive(Debug)]
struct Entry {
    fingerprint: u128,
    began_ms: u64,
    /// What it costs, about.
    bytes: usize,
    cell: Cell,
}

#[derive(Debug, Default)]
struct Known {
    by_key: HashMap<Box<str>, Entry>,
    /// Keys in the order in which they began.
    order: VecDeque<(u64, Box<str>)>,
    bytes: usize,
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
/// Bytes of keys and answers, about.
const BYTES_MAX: usize = 64 << 20;
/// What a key costs besides its text, and an answer for each event.
const KEY_BYTES: usize = 200;
const RECEIPT_BYTES: usize = 100;

impl Idempotency {
    pub(crate) fn new(keys_max: usize, history_age_ms: u64) -> Self {
        Self { known: Mutex::default(), keys_max, age_max_ms: history_age_ms.min(DAY_MS) }
    }

    /// Publishes `events` events once for a key. A failed publish is not remembered: it may be tried again under the same key.
    ///
    /// # Cancel safety
    ///
    /// A caller that goes away before the answer leaves the work to its waiting twin, or to the next try.
    pub(crate) async fn once<E>(
        &self,
        key: &str,
        fingerprint: u128,
        events: usize,
        now_ms: u64,
        publish: impl Future<Output = Result<Vec<Receipt>, E>>,
    ) -> Result<Result<Vec<Receipt>, E>, Reused> {
        let cell = self.claim(key, fingerprint, KEY_BYTES + 2 * key.len() + RECEIPT_BYTES * events, now_ms)?;
        Ok(cell.get_or_try_init(|| publish).await.cloned())
    }

    fn claim(&self, key: &str, fingerprint: u128, bytes: usize, now_ms: u64) -> Result<Cell, Reused> {
        let mut known = lock(&self.known);
        known.forget_while(|known, began_ms| {
            // Room is made after the look for the key: a retry must not push itself out.
            now_ms.saturating_sub(began_ms) > self.age_max_ms || known.by_key.len() > self.keys_max
        });
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
        known.forget_while(|known, _| known.by_key.len() >= self.keys_max.max(1) || known.bytes + bytes > BYTES_MAX);
        let entry = Entry { fingerprint, began_ms: now_ms, bytes, cell: Arc::clone(&cell) };
        known.bytes += bytes;
        known.by_key.insert(key.into(), entry);
        known.order.push_back((now_ms, key.into()));
        Ok(cell)
    }
}

impl Known {
    /// Forgets the oldest keys while `must` says so of the next.
    fn forget_while(&mut self, must: impl Fn(&Self, u64) -> bool) {
        while let Some((began_ms, _)) = self.order.front() {
            if !must(self, *began_ms) {
                break;
            }
            if let Some((began_ms, key)) = self.order.pop_front()
                && self.by_key.get(&key).is_some_and(|entry| entry.began_ms == began_ms)
                && let Some(entry) = self.by_key.remove(&key)
            {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_large_batches_is_bounded() {
        let idempotency = Idempotency::new(100_000, DAY_MS);
        for number in 0..2_000 {
            let bytes = KEY_BYTES + RECEIPT_BYTES * 1_000;
            idempotency.claim(&number.to_string(), 1, bytes, 0).unwrap();
        }
        let known = idempotency.known.lock().unwrap();
        assert!(known.bytes <= BYTES_MAX && known.by_key.len() > 500, "{} bytes", known.bytes);
        assert!(known.by_key.contains_key("1999") && !known.by_key.contains_key("0"), "the oldest go first");
    }

    #[test]
    fn a_retry_at_a_full_table_finds_its_own_answer() {
        let idempotency = Idempotency::new(2, DAY_MS);
        let first = idempotency.claim("a", 1, 1, 0).unwrap();
        idempotency.claim("b", 1, 1, 0).unwrap();
        assert!(Arc::ptr_eq(&first, &idempotency.claim("a", 1, 1, 0).unwrap()));
        assert_eq!(idempotency.claim("a", 2, 1, 0).unwrap_err(), Reused);
    }
}
