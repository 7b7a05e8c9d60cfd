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
    /// What becomes of a slow reader whose connection does not say.
    pub slow_policy: SlowPolicy,
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
            slow_policy: SlowPolicy::default(),
            lifetime_ms: None,
            log_bytes: 64 << 20,
            log_age_ms: 600_000,
            idempotency_keys: 100_000,
            retry_ms: (2_000, 6_000),
        }
    }
}

/// What becomes of a slow reader: one that falls out of its shard's window of the newest events because its own socket
/// took too little. It costs one frame of memory, whatever the policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// It goes on from the log and gets everything late, as far as the log reaches back.
    #[default]
    CatchUp,
    /// It skips to the present, and is told so: `$gap` with the reason `slow`.
    Gap,
    /// It is ended with `$closing` and the reason `slow`, and shall come back.
    Disconnect,
}

impl SlowPolicy {
    /// Every policy, in the order in which statistics count them.
    pub const ALL: [Self; 3] = [Self::CatchUp, Self::Gap, Self::Disconnect];

    /// The word for it in requests, settings and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatchUp => "catch-up",
            Self::Gap => "gap",
            Self::Disconnect => "disconnect",
        }
    }

    /// The policy with this word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_policies_is_in_order_and_its_words_are_read_back() {
        for (index, policy) in SlowPolicy::ALL.into_iter().enumerate() {
            assert_eq!(policy.index(), index);
            assert_eq!(SlowPolicy::parse(policy.as_str()), Some(policy));
        }
        assert_eq!(SlowPolicy::parse("Gap"), None);
    }
}
