//! What the sets of recipients take that a queue of records refers to, so that it can be bounded.

use crate::directory::Recipients;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The large sets that records refer to. One that nobody joined or left meanwhile is shared by all the
/// records of its topic; else each record has a set of its own, and a thousand records for half a million connections
/// would hold sixty megabytes.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    /// By place in memory, which is theirs while a record refers to them: how many do, and the bytes.
    known: BTreeMap<usize, (u32, usize)>,
    bytes: usize,
}

impl Sets {
    /// What they take, each counted once.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn enter(&mut self, recipients: &Recipients) {
        if let Recipients::Many(slots) = recipients {
            let (records, _) = self.known.entry(Arc::as_ptr(slots).addr()).or_insert_with(|| {
                let bytes = slots.serialized_size();
                self.bytes += bytes;
                (0, bytes)
            });
            *records += 1;
        }
    }

    pub(crate) fn leave(&mut self, recipients: &Recipients) {
        if let Recipients::Many(slots) = recipients {
            let place = Arc::as_ptr(slots).addr();
            if let Some((records, bytes)) = self.known.get_mut(&place) {
                *records -= 1;
                if *records == 0 {
                    self.bytes -= *bytes;
                    self.known.remove(&place);
                }
            }
        }
    }
}
