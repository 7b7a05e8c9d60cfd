//! The command line: what can be asked for, not what is done about it.

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use fanfare::SlowPolicy;
use fanfare::log::{Cursor, Name};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Server-Sent Events: publish over HTTP, subscribe with EventSource.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default)
    Serve(ServeOptions),
    /// Look at a history on disk. Nothing is changed, and a server may be using it
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// What a history is: its starts, segments and bounds
    Inspect(LogOptions),
    /// Read all of it and say what is wrong. Exit code 0: sound; 1: problems; 2: not to be read
    Verify(LogOptions),
    /// Its events, a line of JSON for each. What cannot be read is left out, and `verify` says where
    Dump(DumpOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// The server's data directory
    #[arg(env = "FANFARE_DATA_DIR", value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,

    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of the names any is enough: what is addressed by name to one of them.
#[derive(Debug, Args)]
pub(crate) struct DumpOptions {
    /// The server's data directory
    #[arg(env = "FANFARE_DATA_DIR", value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,

    /// Only what comes after this id
    #[arg(long, value_parser = cursor, value_name = "ID")]
    pub(crate) after: Option<Cursor>,

    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<u64>,

    /// Only events for this user by name; with several names, for any of them
    #[arg(long, value_parser = Name::new, value_name = "NAME")]
    pub(crate) user: Option<Name>,

    /// Only events for this session by name
    #[arg(long, value_parser = Name::new, value_name = "NAME")]
    pub(crate) session: Option<Name>,

    /// Only events for this topic
    #[arg(long, value_parser = Name::new, value_name = "NAME")]
    pub(crate) topic: Option<Name>,
}

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

/// Reads the command line and the environment, in which an empty variable is as if it were unset: that is how
/// container files leave one out.
pub(crate) fn parse() -> Cli {
    let matches = without_empty(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn without_empty(command: clap::Command) -> clap::Command {
    let empty = |argument: &clap::Arg| {
        argument.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
    };
    let command = command.mut_args(|argument| if empty(&argument) { argument.env(None) } else { argument });
    command.mut_subcommands(without_empty)
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text).ok_or_else(|| "write the id of an event as `dump` or a stream shows it: 1.2k8w….5".to_owned())
}

/// `500ms`, `30s`, `5m`, `2h`, `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    measured(text, &units)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a whole number with a unit: 500ms, 30s, 5m, 2h or 1d".to_owned())
}

fn slow_policy(text: &str) -> Result<SlowPolicy, String> {
    SlowPolicy::parse(text).ok_or_else(|| "write catch-up, gap or disconnect".to_owned())
}

/// `65536`, `512KiB`, `64MiB`, `1GiB`.
fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let size = measured(text, &units).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| "write a whole number of bytes, or one with a unit: 512KiB, 64MiB or 1GiB".to_owned())
}

/// A whole number with one of the units, the first that fits.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("65536"), Ok(65_536));
        for bad in ["", "5", "-5s", "1.5s", "5 s", "s", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
