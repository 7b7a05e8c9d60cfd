//! The settings of the server: flags, each with its environment variable.

use super::values::{bytes, compression, duration, slow_policy};
use clap::{ArgAction, Args};
use fanfare::{Compression, SlowPolicy};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct ServeOptions {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "FANFARE_LISTEN", default_value = "127.0.0.1:4000", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// Bearer token for everything but subscribing
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// Origin whose pages may connect, such as <https://app.example.com>; `*` is any, without credentials (repeatable)
    #[arg(long = "cors-origin", env = "FANFARE_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) cors_origins: Vec<String>,

    /// Serve everybody everything beyond loopback without a token. Anyone who reaches the port can publish to everyone
    #[arg(long)]
    pub(crate) dangerously_allow_anyone: bool,

    /// Serve the demo page and its endpoint beyond loopback too
    #[arg(long)]
    pub(crate) demo: bool,

    /// Most connections at one time [default: the hard limit on open descriptors, less a reserve]
    #[arg(long, env = "FANFARE_MAX_CLIENTS", value_name = "NUMBER")]
    pub(crate) max_clients: Option<usize>,

    /// Every connection hears something at least this often
    #[arg(long, env = "FANFARE_PING_INTERVAL", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(crate) ping_interval: Duration,

    /// A peer that acknowledges nothing for so long is dead; longer than the ping interval
    #[arg(long, env = "FANFARE_CLIENT_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) client_timeout: Duration,

    /// A living peer that takes no byte for so long is closed as slow
    #[arg(long, env = "FANFARE_STALL_TIMEOUT", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub(crate) stall_timeout: Duration,

    /// What becomes of a reader that falls behind and does not say: catch-up, gap or disconnect
    #[arg(long, env = "FANFARE_SLOW_POLICY", default_value = "catch-up", value_parser = slow_policy, value_name = "POLICY")]
    pub(crate) slow_policy: SlowPolicy,

    /// Which event streams are sent as gzip, of those whose clients accept it: off, opt-in or on
    #[arg(long, env = "FANFARE_COMPRESSION", default_value = "opt-in", value_parser = compression, value_name = "WHICH")]
    pub(crate) compression: Compression,

    /// End every stream after so long, give or take a tenth; its client reconnects [default: never]
    #[arg(long, env = "FANFARE_LIFETIME", value_parser = duration, value_name = "TIME")]
    pub(crate) lifetime: Option<Duration>,

    /// Directory to keep the history in, through restarts and losses of power [default: in memory only]
    #[arg(long, env = "FANFARE_DATA_DIR", value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Bytes of history on disk
    #[arg(long, env = "FANFARE_DISK_SIZE", default_value = "1GiB", value_parser = bytes, value_name = "SIZE")]
    pub(crate) disk_size: usize,

    /// Age of history on disk
    #[arg(long, env = "FANFARE_DISK_AGE", default_value = "7d", value_parser = duration, value_name = "TIME")]
    pub(crate) disk_age: Duration,

    /// Events of history on disk [default: any number]
    #[arg(long, env = "FANFARE_DISK_EVENTS", value_name = "NUMBER")]
    pub(crate) disk_events: Option<u64>,

    /// Bytes of history in memory, such as 64MiB
    #[arg(long, env = "FANFARE_HISTORY_SIZE", default_value = "64MiB", value_parser = bytes, value_name = "SIZE")]
    pub(crate) history_size: usize,

    /// Age of history in memory
    #[arg(long, env = "FANFARE_HISTORY_AGE", default_value = "10m", value_parser = duration, value_name = "TIME")]
    pub(crate) history_age: Duration,

    /// Time over which connections are closed at the end
    #[arg(long, env = "FANFARE_DRAIN", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain: Duration,

    /// Threads that own connections
    #[arg(long, env = "FANFARE_SHARDS", default_value_t = 1, value_name = "NUMBER")]
    pub(crate) shards: usize,

    /// Log warnings only
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,

    /// Log every publish too
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}
