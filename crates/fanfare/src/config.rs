//! The settings of a manager, their defaults, and what they cost.

use crate::error::ConfigError;
use crate::sys;
use fanfare_core::SlowPolicy;
use fanfare_core::disk::DiskConfig;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a manager. Write `SseConfig { ping_interval: …, ..SseConfig::default() }`.
///
/// ```
/// use fanfare::SseConfig;
/// use std::time::Duration;
/// let config = SseConfig { ping_interval: Duration::from_secs(15), max_clients: 5_000, ..SseConfig::default() };
/// ```
#[derive(Debug, Clone)]
pub struct SseConfig {
    /// Every connection hears something at least this often. Default 30 s: idle limits of proxies begin at 60 s.
    /// From 10 ms to a day.
    pub ping_interval: Duration,
    /// A peer that acknowledges nothing for so long, while bytes are outstanding, is dead. Default 60 s; must be
    /// longer than `ping_interval`, or a healthy idle connection could not prove that it lives.
    pub client_timeout: Duration,
    /// Most connections at one time. Default: 80 % of the soft limit on open descriptors. Costs nothing until used;
    /// each connection then costs about half a KiB and the kernel's own memory.
    pub max_clients: usize,
    /// Logs connects, disconnects and publishes under the `tracing` target `fanfare`; false leaves warnings only.
    /// Default true.
    pub enable_logging: bool,
    /// A living peer that takes no byte for so long is closed as slow. Default 5 min. Until then it costs one frame
    /// of memory, whatever it missed.
    pub stall_timeout: Duration,
    /// What becomes of a slow reader whose connection does not say. Default: it catches up.
    pub slow_policy: SlowPolicy,
    /// Which of the router's event streams are compressed. Default: those whose clients ask for it.
    pub compression: Compression,
    /// A stream ends after so long, give or take a tenth, and its client reconnects. Default `None`: never.
    pub lifetime: Option<Duration>,
    /// Where the history is kept on disk, through restarts and losses of power. The directory is made if there is none,
    /// and belongs to one manager at a time. Default `None`: the history is in memory only, and its bounds are the two
    /// settings that follow; with a directory they bound the newest part, which is read without the disk.
    pub data_dir: Option<PathBuf>,
    /// Bound of the history on disk in bytes. Default 1 GiB, at least 1 MiB. It is dropped in 64 parts, and each takes
    /// two open files.
    pub disk_bytes: u64,
    /// Bound of the history on disk in age. Default 7 days.
    pub disk_age: Duration,
    /// Bound of the history on disk in events. Default `None`: any number.
    pub disk_events: Option<u64>,
    /// Bound of the history in memory in bytes, with its overhead (about 250 bytes for each event). Default 64 MiB, at least 64 KiB.
    pub history_bytes: usize,
    /// Bound of the history in memory in age. Default 10 min.
    pub history_age: Duration,
    /// `Idempotency-Key`s remembered at most. Default 100,000. About 200 bytes each, and 100 for each event published
    /// under it; 64 MiB together, beyond which the oldest are forgotten.
    pub idempotency_keys: usize,
    /// Threads that own connections. Default 1, which writes some hundred thousand events a second; 1 to 64.
    pub shards: usize,
}

/// Which event streams are sent as gzip, of those whose clients accept it. Frames are compressed once for everybody who
/// gets the same, not for each connection: a broadcast costs a few microseconds more, and each delivery next to nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// None.
    Off,
    /// Those that ask for it with `sse.compression=gzip`.
    #[default]
    OptIn,
    /// All but those that ask for `sse.compression=none`.
    On,
}

impl Compression {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Off, Self::OptIn, Self::On];

    /// The word for it in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OptIn => "opt-in",
            Self::On => "on",
        }
    }

    /// The choice with this word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == text)
    }
}

/// Descriptors assumed where the system does not say.
const DESCRIPTORS_ASSUMED: u64 = 1_024;
const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(86_400);
const HISTORY_BYTES_MIN: usize = 64 * 1024;
const DISK_BYTES_MIN: u64 = 1 << 20;

impl Default for SseConfig {
    fn default() -> Self {
        let descriptors = sys::soft_descriptor_limit().unwrap_or(DESCRIPTORS_ASSUMED);
        Self {
            ping_interval: Duration::from_secs(30),
            client_timeout: Duration::from_secs(60),
            max_clients: usize::try_from(descriptors / 5 * 4).unwrap_or(usize::MAX),
            enable_logging: true,
            stall_timeout: Duration::from_secs(300),
            slow_policy: SlowPolicy::default(),
            compression: Compression::default(),
            lifetime: None,
            data_dir: None,
            disk_bytes: DiskConfig::default().bytes,
            disk_age: Duration::from_millis(DiskConfig::default().age_ms),
            disk_events: DiskConfig::default().records,
            history_bytes: 64 << 20,
            history_age: Duration::from_secs(600),
            idempotency_keys: 100_000,
            shards: 1,
        }
    }
}

impl SseConfig {
    pub(crate) fn check(&self) -> Result<fanfare_core::HubConfig, ConfigError> {
        let refuse = |setting, detail: &str| Err(ConfigError::Invalid { setting, detail: detail.to_owned() });
        if self.ping_interval < PING_INTERVAL_MIN || self.ping_interval > DAY {
            return refuse("ping_interval", "must be from 10 ms to a day");
        }
        if self.client_timeout <= self.ping_interval {
            return refuse(
                "client_timeout",
                "must be longer than ping_interval: a healthy idle connection proves that it lives by the ping it acknowledges",
            );
        }
        if self.client_timeout > 30 * DAY {
            return refuse("client_timeout", "must be at most 30 days");
        }
        if self.max_clients == 0 {
            return refuse("max_clients", "must be at least 1");
        }
        if self.stall_timeout < PING_INTERVAL_MIN || self.stall_timeout > 30 * DAY {
            return refuse("stall_timeout", "must be from 10 ms to 30 days");
        }
        if self.lifetime.is_some_and(|lifetime| lifetime < Duration::from_secs(1) || lifetime > 365 * DAY) {
            return refuse("lifetime", "must be from a second to a year; None is for ever");
        }
        if self.history_bytes < HISTORY_BYTES_MIN {
            return refuse("history_bytes", "must be at least 65536");
        }
        if self.history_age < Duration::from_secs(1) || self.history_age > 3_650 * DAY {
            return refuse("history_age", "must be from a second to ten years");
        }
        if self.disk_bytes < DISK_BYTES_MIN {
            return refuse("disk_bytes", "must be at least 1048576");
        }
        if self.disk_age < Duration::from_secs(1) || self.disk_age > 3_650 * DAY {
            return refuse("disk_age", "must be from a second to ten years");
        }
        if self.disk_events == Some(0) {
            return refuse("disk_events", "must be at least 1; None is any number");
        }
        if !(1..=64).contains(&self.shards) {
            return refuse("shards", "must be from 1 to 64");
        }
        Ok(fanfare_core::HubConfig {
            shards: self.shards,
            max_clients: self.max_clients,
            ping_interval_ms: millis(self.ping_interval),
            client_timeout_ms: millis(self.client_timeout),
            stall_timeout_ms: millis(self.stall_timeout),
            slow_policy: self.slow_policy,
            lifetime_ms: self.lifetime.map(millis),
            log_bytes: self.history_bytes,
            log_age_ms: millis(self.history_age),
            idempotency_keys: self.idempotency_keys,
            ..fanfare_core::HubConfig::default()
        })
    }
}

impl SseConfig {
    /// The bounds of the log on disk.
    pub(crate) fn disk(&self) -> DiskConfig {
        DiskConfig { bytes: self.disk_bytes, age_ms: millis(self.disk_age), records: self.disk_events }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
