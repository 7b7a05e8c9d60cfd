//! What `fanfare bench` can be told: where, how much, and what to look at.

use super::EXIT_CODES;
use super::remote::Connect;
use super::values::{duration, rate};
use clap::{Args, ValueEnum};
use std::net::IpAddr;
use std::time::Duration;

/// `{n}` for help, in which clap makes a new line of it: with a style, which is none, in the middle.
const N: &str = "{\u{1b}[0mn}";

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// As fast as it is accepted.
    Max,
    PerSecond(f64),
}

/// Whom each event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fan {
    /// Every subscriber
    All,
    /// One subscriber, another one each time
    One,
}

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Some of the subscribers.
    Subscribers,
    /// The server that does nothing but write.
    Floor,
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
Events go to everybody who is connected: use a server that nobody else uses. Plain HTTP only.

In a template, {N} is the number of the subscriber, from 0 (in a publish: of the one it is for), {{seq}} the number of \
the event, and {{data}} what is looked for in the streams: --size letters, digits and hyphens.

Examples:
  fanfare bench --subscribers 10000 --rate 5/s --events 50
  fanfare bench --rate max --events 500 --floor --pid $(pidof -s fanfare)
  fanfare bench --subscribe-url http://127.0.0.1:8080/sub \\
    --publish-url http://127.0.0.1:8080/pub --publish-body '{{data}}'

{EXIT_CODES}

Code 1 also says that events were lost, streams ended, or subscribers or events were refused; --allow-loss makes it 0."))]
pub(crate) struct BenchOptions {
    #[command(flatten)]
    pub(crate) connect: Connect,

    #[command(flatten)]
    pub(crate) load: LoadOptions,

    #[command(flatten)]
    pub(crate) other: OtherOptions,

    #[command(flatten)]
    pub(crate) look: LookOptions,

    /// What this process is, started by another one.
    #[arg(long, hide = true, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadOptions {
    /// How many streams
    #[arg(long, default_value = "1000", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) subscribers: u32,

    /// How often an event is published, or `max`: the next one as soon as the last one is accepted
    #[arg(long, default_value = "10/s", value_name = "RATE", value_parser = rate)]
    pub(crate) rate: Rate,

    /// How many events
    #[arg(long, default_value = "50", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) events: u32,

    /// How many bytes of data each has
    #[arg(long, default_value = "128", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(crate::bench::SIZES))]
    pub(crate) size: u32,

    /// Ask for streams in gzip, and decode them
    #[arg(long)]
    pub(crate) compressed: bool,

    /// Whom an event is for
    #[arg(long, value_enum, default_value = "all", value_name = "WHOM")]
    pub(crate) target: Fan,

    /// How many events before, which are not measured
    #[arg(long, default_value = "5", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) warm_up: u32,

    /// How often a stream is opened, or `max`: with up to 256 on the way in each process
    #[arg(long, default_value = "2000/s", value_name = "RATE", value_parser = rate)]
    pub(crate) connect_rate: Rate,

    /// How many connections publish. Between several there is no order
    #[arg(long, default_value = "1", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) publishers: u32,

    /// How many processes subscribe, a thread each [default: as many as the limit on descriptors asks for]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) processes: Option<u32>,

    /// Connect from this address (repeatable: in turn) [default: the system's choice; several of 127.0.0.0/8 where needed]
    #[arg(long = "local-address", value_name = "ADDRESS")]
    pub(crate) local_addresses: Vec<IpAddr>,

    /// How long to wait for connects, answers and deliveries that do not come
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Other servers")]
pub(crate) struct OtherOptions {
    #[arg(long, value_name = "TEMPLATE", help = format!("Where streams are [default: those of a Fanfare server, of users bench-{N}]"))]
    pub(crate) subscribe_url: Option<String>,

    /// Where events are published [default: that of a Fanfare server]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) publish_url: Option<String>,

    /// With which method
    #[arg(long, default_value = "POST", value_name = "METHOD")]
    pub(crate) publish_method: http::Method,

    /// Another header of a publish, instead of a --header of the same name (repeatable)
    #[arg(long = "publish-header", value_parser = super::values::header, value_name = "NAME: VALUE")]
    pub(crate) publish_headers: Vec<(String, String)>,

    /// What is published, as JSON unless a --publish-header has another content-type [default: an event `bench`]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) publish_body: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Measuring")]
pub(crate) struct LookOptions {
    /// The server's process, whose CPU and memory are measured, with its children; Linux, on this machine (repeatable)
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,

    /// Before, the same load on a server that does nothing but write the same bytes, as a yardstick; with --pid on its cores
    #[arg(long)]
    pub(crate) floor: bool,

    /// Exit code 0 even if events were lost
    #[arg(long)]
    pub(crate) allow_loss: bool,

    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
