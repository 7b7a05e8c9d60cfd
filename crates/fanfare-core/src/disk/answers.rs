//! Answers given under an idempotency key, as they are kept with the records they answer for.

use super::format::{Kind, Place, get_u32, get_u64, put_record, put_u32, put_u64};
use super::log::DiskLog;
use super::segment::Window;
use crate::hub::Hub;
use crate::store::{Draft, Durability, IdempotencyKey, Receipt};
use crate::target::Matcher;

/// Bytes of an answer besides its key and ids, and for each event.
pub(super) const ANSWER_BYTES: usize = 32;
pub(super) const RECEIPT_BYTES: usize = 8;

/// An answer read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The key it was given under.
    pub key: IdempotencyKey,
    /// The answer. Connections are counted as they were just before the event was written.
    pub receipts: Vec<Receipt>,
    /// When, in the log's Unix milliseconds.
    pub wall_ms: u64,
}

pub(super) fn put_answer<S>(
    out: &mut Vec<u8>,
    salt: u32,
    place: Place,
    key: &IdempotencyKey,
    drafts: &[Draft],
    hub: &Hub<S>,
) {
    let mut body = Vec::with_capacity(ANSWER_BYTES + key.key.len() + drafts.len() * 48);
    put_u64(&mut body, key.fingerprint as u64);
    put_u64(&mut body, (key.fingerprint >> 64) as u64);
    put_u32(&mut body, key.key.len() as u32);
    put_u32(&mut body, drafts.len() as u32);
    body.extend_from_slice(key.key.as_bytes());
    for draft in drafts {
        let id = draft.id().unwrap_or_default();
        put_u32(&mut body, hub.count_matcher(&draft.matcher) as u32);
        put_u32(&mut body, id.len() as u32);
        body.extend_from_slice(id.as_bytes());
    }
    put_record(out, salt, place, &Matcher::All, &body);
}

fn read_answer(body: &[u8]) -> Option<(IdempotencyKey, Vec<Receipt>)> {
    let text = |at: usize, len: usize| Some(core::str::from_utf8(body.get(at..at.checked_add(len)?)?).ok()?.to_owned());
    let fingerprint = u128::from(get_u64(body, 8)) << 64 | u128::from(get_u64(body, 0));
    let (key_len, count) = (get_u32(body, 16) as usize, get_u32(body, 20) as usize);
    let key = text(24, key_len)?.into();
    let mut at = 24 + key_len;
    let mut receipts = Vec::new();
    for _ in 0..count {
        body.get(at..at + RECEIPT_BYTES)?;
        let (clients, len) = (get_u32(body, at) as usize, get_u32(body, at + 4) as usize);
        let id = text(at + RECEIPT_BYTES, len)?;
        at += RECEIPT_BYTES + len;
        let durability = if id.is_empty() { Durability::Ephemeral } else { Durability::Disk };
        receipts.push(Receipt { id: (!id.is_empty()).then_some(id), clients, durability });
    }
    Some((IdempotencyKey { key, fingerprint }, receipts))
}

impl DiskLog {
    /// The newest answers given since `since_ms`, at most `max`, oldest first.
    pub(super) fn answers(&self, since_ms: u64, max: usize) -> Vec<KeptAnswer> {
        let mut answers = Vec::new();
        for segment in self.view().segments.iter().rev() {
            let (offsets, last_ms) = segment.summary(|summary| (summary.answers.clone(), summary.last_wall_ms));
            if answers.len() >= max {
                break;
            }
            // Not the end of the search: one that was begun and has nothing yet has no time.
            if last_ms < since_ms {
                continue;
            }
            let mut window = Window::default();
            for offset in offsets.into_iter().rev() {
                let Ok(Some(record)) = window.any(segment, offset, Kind::Answer) else { continue };
                if record.wall_ms >= since_ms
                    && let Some((key, receipts)) = read_answer(record.body)
                {
                    answers.push(KeptAnswer { key, receipts, wall_ms: record.wall_ms });
                }
            }
        }
        answers.truncate(max);
        answers.reverse();
        answers
    }
}
