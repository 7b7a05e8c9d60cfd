//! What can be asked of a server that runs: publish, subscribe, and look at it.

use super::EXIT_CODES;
use super::values::{duration, from, header, interval, pair};
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use std::time::Duration;

/// Where the server is, and who asks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connect {
    /// Where the server is. Without a path, its API is at /api/sse; else at that path
    #[arg(
        long,
        env = "FANFARE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:4000",
        value_name = "URL"
    )]
    pub(crate) url: String,

    /// Bearer token
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// Another header for every request, such as "Cookie: session=…"; an Authorization takes the place of the token
    /// (repeatable)
    #[arg(long = "header", short = 'H', value_parser = header, value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<(String, String)>,

    /// Do not say on standard error what happens meanwhile
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// For commands that ask and have an answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Answered {
    #[command(flatten)]
    pub(crate) connect: Connect,

    /// How long to try where the server cannot be reached or is too busy; once at least
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,

    /// JSON also on a terminal
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
Several of --user make a list of users. Otherwise every target that is given must hold: a user and metadata are \
the connections of that user with that metadata. Without any, the event is for everybody.

Examples:
  fanfare publish announcement '{{\"message\":\"New feature released!\"}}'
  fanfare publish notification '{{\"title\":\"Welcome!\"}}' --user user123
  fanfare publish log-line --text 'it works' --topic builds
  jq -n '{{n: 1}}' | fanfare publish numbers
  tail -f events.ndjson | fanfare publish --ndjson

{EXIT_CODES}"))]
pub(crate) struct PublishOptions {
    /// The event's type, such as `notification`
    #[arg(required_unless_present = "ndjson")]
    pub(crate) event: Option<String>,

    /// The event's data, as JSON; read from standard input if it is `-` or not given
    #[arg(conflicts_with = "ndjson")]
    pub(crate) data: Option<String>,

    /// The data is text, and is sent as a JSON string
    #[arg(long)]
    pub(crate) text: bool,

    /// Publish standard input line by line, as it comes: each line is an event `{event, data, id?, retry?, ephemeral?, to?}`, or,
    /// with an event's type as argument, the data of one
    #[arg(long, conflicts_with_all = ["id", "retry", "expect_last_id"])]
    pub(crate) ndjson: bool,

    /// The event's own id, up to 128 visible ASCII characters
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// Ask browsers to wait so long before they reconnect, from now on
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) retry: Option<Duration>,

    /// Deliver it to whoever is there, and do not keep it
    #[arg(long)]
    pub(crate) ephemeral: bool,

    /// Publish only if the last event of the topic has this id; `none` if it never had one
    #[arg(long, value_name = "ID", requires = "topic")]
    pub(crate) expect_last_id: Option<String>,

    /// Publish once under this key, however often this command is run. With --ndjson, the key of each thousand lines is this
    /// one with the number of the first of them, and lines wait until there are so many (or 512 KiB) or the input ends
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,

    #[command(flatten)]
    pub(crate) target: TargetOptions,

    #[command(flatten)]
    pub(crate) answered: Answered,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// For the connections of this user (repeatable)
    #[arg(long = "user", value_name = "NAME")]
    pub(crate) users: Vec<String>,

    /// For the connections of this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,

    /// For the connections with this metadata (repeatable)
    #[arg(long, value_parser = pair, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<(String, String)>,

    /// For the subscribers of this topic
    #[arg(long, value_name = "NAME", conflicts_with_all = ["users", "session", "metadata", "client"])]
    pub(crate) topic: Option<String>,

    /// For one connection
    #[arg(long, value_name = "CLIENT_ID", conflicts_with_all = ["users", "session", "metadata"])]
    pub(crate) client: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
On a terminal each event is a line for people; in a pipe it is a line of JSON, and so is what the server says about the \
stream: `connected`, which says whether events are gone, `$gap`, `$closing`.

Examples:
  fanfare subscribe --user user123
  fanfare subscribe --topic sport --topic weather --from last:10
  fanfare subscribe --event order_paid --count 1 | jq .data
  fanfare subscribe --from earliest > events.ndjson

{EXIT_CODES}"))]
pub(crate) struct SubscribeOptions {
    /// As this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// In this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,

    /// To this topic (repeatable)
    #[arg(long = "topic", value_name = "NAME")]
    pub(crate) topics: Vec<String>,

    /// With this metadata (repeatable)
    #[arg(long, value_parser = pair, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<(String, String)>,

    /// Begin behind this event: the cursor, as shown behind each
    #[arg(long, value_name = "CURSOR", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) last_event_id: Option<String>,

    /// Begin with the oldest event that is kept, the next one, or so many of the latest: earliest, latest or last:N
    #[arg(long, value_parser = from, value_name = "PLACE", conflicts_with = "last_event_id")]
    pub(crate) from: Option<String>,

    /// Only events of this type (repeatable). What the server says about the stream goes to standard error then
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,

    /// End after so many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// End with the connection
    #[arg(long)]
    pub(crate) no_reconnect: bool,

    /// Give up after so many failures in a row: with 1, the first is the last [default: never]
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_reconnect")]
    pub(crate) max_failures: Option<u32>,

    /// JSON also on a terminal
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  fanfare stats
  fanfare stats --watch 1s
  fanfare stats | jq .totalClients

{EXIT_CODES}"))]
pub(crate) struct StatsOptions {
    /// Only how many connections this user has
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Again and again, every two seconds unless it is said how often
    #[arg(long, value_name = "TIME", value_parser = interval, num_args = 0..=1, default_missing_value = "2s")]
    pub(crate) watch: Option<Duration>,

    #[command(flatten)]
    pub(crate) answered: Answered,
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  fanfare clients
  fanfare clients --user user123 | jq -r .clientId

{EXIT_CODES}"))]
pub(crate) struct ClientsOptions {
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    #[command(flatten)]
    pub(crate) answered: Answered,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").required(true).args(["client", "user"]))]
#[command(after_help = format!("\
Our own clients stay away. A browser's bare EventSource comes back: only authorisation keeps it out.

Examples:
  fanfare disconnect --user user123
  fanfare clients --user user123 | jq -r .clientId | xargs -n 1 fanfare disconnect

{EXIT_CODES}"))]
pub(crate) struct DisconnectOptions {
    /// This connection
    #[arg(value_name = "CLIENT_ID")]
    pub(crate) client: Option<String>,

    /// Every connection of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    #[command(flatten)]
    pub(crate) answered: Answered,
}
