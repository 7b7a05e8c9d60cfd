//! What can be chosen about a hub, and the randomness it is given.

/// Everything about a hub that can be chosen. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Threads that own connections, 1 to 64. More than one pays only when one core cannot write fast enough.
    pub shards: usize,
    /// Most connections at one time.
    pub max_clients: usize,
    /// Every connection hears something at least this often.
    pub ping_interval_ms: u64,
    /// A peer that acknowledges nothing for so long, while bytes are outstanding, is dead.
    pub client_timeout_ms: u64,
    /// A living peer that takes no byte for so long is slow.
    pub stall_timeout_ms: u64,
    /// A stream ends after so long, give or take a tenth; `None` is never.
    pub lifetime_ms: Option<u64>,
    /// The log's bound in bytes, overhead included.
    pub log_bytes: usize,
    /// The log's bound in age.
    pub log_age_ms: u64,
    /// Idempotency keys remembered at most; each for the log's age, and a day at most.
    pub idempotency_keys: usize,
    /// Reconnection times sent to clients are spread over this range.
    pub retry_ms: (u32, u32),
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            max_clients: usize::MAX,
            ping_interval_ms: 30_000,
            client_timeout_ms: 60_000,
            stall_timeout_ms: 300_000,
            lifetime_ms: None,
            log_bytes: 64 << 20,
            log_age_ms: 600_000,
            idempotency_keys: 100_000,
            retry_ms: (2_000, 6_000),
        }
    }
}

/// Randomness from outside: secrets and the epoch. Draw it anew at every start.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub [u64; 6]);

impl Seed {
    /// What names are hashed with, where no log on disk says otherwise.
    pub(crate) fn secret(self) -> [u64; 2] {
        [self.0[0], self.0[1]]
    }

    /// The epoch, likewise.
    pub(crate) fn epoch(self) -> u64 {
        self.0[4] >> (64 - EPOCH_BITS)
    }
}

/// Epochs are cut to this many bits, so that a cursor stays short.
pub(crate) const EPOCH_BITS: u32 = 48;
