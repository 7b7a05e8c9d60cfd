//! Waiting until the shards have done what they were told.

use super::patience::PATIENCE;
use crate::driver::EngineHub;
use crate::transport::Transport;
use bytes::Bytes;
use fanfare_core::{Encoding, Token};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Handed to a shard as the transport of a connection that does not exist, which the shard drops when it comes to it.
#[derive(Debug)]
pub(crate) struct Barrier {
    _dropped: SyncSender<()>,
}

impl Barrier {
    pub(crate) fn refusal(&self) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, format!("{self:?} takes no bytes"))
    }
}

/// Blocks until every shard has done what was in its inbox, what its timers said, and a first round of visits. A shard's
/// thread waits for nobody, so this takes microseconds. Not to be called from that thread.
pub(super) fn settle(hub: &EngineHub) {
    // The first may be found by a turn that had looked at the clock before. The second is found by one that had not, and
    // when the third is found, that one is over.
    for _ in 0..3 {
        let shards = hub.config().shards as u64;
        let waits: Vec<_> = (0..shards)
            .map(|shard| {
                let (dropped, wait) = sync_channel(0);
                // No connection reaches this generation.
                let token = Token(u64::from(u32::MAX) << 32 | shard);
                hub.attach(
                    token,
                    Transport::Barrier(Barrier { _dropped: dropped }),
                    Vec::new(),
                    Bytes::new(),
                    Encoding::Identity,
                );
                wait
            })
            .collect();
        // A shard whose thread has ended does nothing any more: there is nothing to wait for.
        for wait in waits {
            _ = wait.recv_timeout(PATIENCE);
        }
    }
}
