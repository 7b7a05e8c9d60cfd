//! Where histories on a disk have been.

use super::record::{End, Fault, Record};
use fanfare_core::{PublishError, Resume};

/// The corners that count.
pub const CORNERS: [&str; 24] = [
    "clean restart",
    "kill",
    "power lost",
    "power lost with unsynced records",
    "in flight and kept",
    "full",
    "broken",
    "read-only",
    "reads fail",
    "segment rots",
    "index rots",
    "manifest rots",
    "segment cut",
    "segment deleted",
    "restored",
    "refused",
    "holes",
    "gap on a stream",
    "gap in a verdict",
    "reset",
    "resumed from an earlier life",
    "conflict",
    "key reused",
    "answered again after a restart",
];

/// Counts the corners one run was in.
pub fn count(record: &Record, counts: &mut [u64; CORNERS.len()]) {
    let mut seen = |corner: &str, times: usize| {
        let number = CORNERS.iter().position(|known| *known == corner).unwrap();
        counts[number] += times as u64;
    };
    let faults = |wanted: Fault| record.faults.iter().filter(|(_, fault)| *fault == wanted).count();
    seen("kill", faults(Fault::Kill));
    seen("power lost", faults(Fault::Power(false)));
    seen("power lost with unsynced records", faults(Fault::Power(true)));
    seen("full", faults(Fault::Full));
    seen("broken", faults(Fault::Broken));
    seen("reads fail", faults(Fault::Reads));
    seen("segment rots", faults(Fault::RotSegment));
    seen("index rots", faults(Fault::RotIndex));
    seen("manifest rots", faults(Fault::RotManifest));
    seen("segment cut", faults(Fault::Cut));
    seen("segment deleted", faults(Fault::Deleted));
    seen("restored", faults(Fault::Restored));
    seen("refused", record.refused.len());
    for life in &record.lives {
        seen("clean restart", usize::from(life.end == End::Clean));
        seen("holes", life.holes.len());
    }
    for (number, send) in record.sends.iter().enumerate() {
        match &send.answer {
            Some((_, Err(PublishError::Conflict { .. }))) => seen("conflict", 1),
            Some((_, Err(PublishError::KeyReused))) => seen("key reused", 1),
            Some((_, Err(PublishError::ReadOnly))) => seen("read-only", 1),
            Some((_, Ok(receipts))) if send.key.is_some() && receipts.iter().any(|receipt| receipt.id.is_some()) => {
                let same = |other: &&super::record::Send| {
                    let Some((_, Ok(given))) = &other.answer else { return false };
                    other.life < send.life
                        && other.key == send.key
                        && given.iter().map(|receipt| &receipt.id).eq(receipts.iter().map(|receipt| &receipt.id))
                };
                let again = record.sends[..number].iter().any(|other| same(&other));
                seen("answered again after a restart", usize::from(again));
            }
            _ => {}
        }
        let unheard = !matches!(&send.answer, Some((_, Ok(_)))) && record.lives[send.life].end == End::Crash;
        let later = record.lives.get(send.life + 1);
        let kept = |life: &super::record::Life| {
            let data = |event: &usize| super::check::as_read(&record.events[*event].data);
            life.records.iter().any(|kept| send.events.iter().any(|event| data(event) == kept.data))
        };
        seen("in flight and kept", usize::from(unheard && later.is_some_and(kept)));
    }
    for conn in &record.conns {
        let text = String::from_utf8_lossy(&conn.bytes);
        seen("gap on a stream", text.matches("event: $gap\n").count());
        match conn.verdict.resume {
            Resume::Gap => seen("gap in a verdict", 1),
            Resume::Reset => seen("reset", 1),
            Resume::Resumed => {
                let life = &record.lives[conn.life];
                let old = crate::check::place(&conn.verdict.cursor).is_some_and(|place| place.epoch != life.epoch);
                seen("resumed from an earlier life", usize::from(old && life.parent.is_some()));
            }
            Resume::Live => {}
        }
    }
}
