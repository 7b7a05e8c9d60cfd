//! The command line: what can be asked for, not what is done about it.

mod bench;
mod log;
#[cfg(test)]
mod reference;
mod remote;
mod serve;
mod values;

pub(crate) use bench::{BenchOptions, Fan, LoadOptions, Rate, Role};
pub(crate) use log::{DumpOptions, LogCommand, LogOptions};
pub(crate) use remote::{
    Answered, ClientsOptions, Connect, DisconnectOptions, PublishOptions, StatsOptions, SubscribeOptions, TargetOptions,
};
pub(crate) use serve::ServeOptions;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// What the exit code of every command but `log` says.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed: refused, or ended by the server
  2  the command line, a setting or the input is wrong
  3  the server could not be reached or was too busy; the same command may work later";

const EXAMPLES: &str = "\
Examples:
  fanfare                                          run the server on 127.0.0.1:4000
  fanfare publish news '{\"title\":\"Hello\"}'         send an event to everybody
  fanfare subscribe --topic sport                  watch a stream
  fanfare stats --watch                            watch the numbers";

/// Server-Sent Events: publish over HTTP, subscribe with EventSource.
#[derive(Debug, Parser)]
#[command(
    name = "fanfare",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
)]
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
    /// Publish an event, or a stream of them
    Publish(PublishOptions),
    /// Watch a stream of events
    Subscribe(SubscribeOptions),
    /// Show a server's statistics
    Stats(StatsOptions),
    /// List the connections of a server
    Clients(ClientsOptions),
    /// End a connection, or all of a user, and tell them not to come back
    Disconnect(DisconnectOptions),
    /// Load a server with subscribers and events, and measure it: this one, or any other
    Bench(Box<BenchOptions>),
    /// Look at a history on disk. Nothing is changed, and a server may be using it
    #[command(subcommand)]
    Log(LogCommand),
    /// Print a script that completes commands in a shell
    #[command(after_help = "\
Examples:
  fanfare completions bash > /etc/bash_completion.d/fanfare
  fanfare completions zsh > \"${fpath[1]}/_fanfare\"
  fanfare completions fish > ~/.config/fish/completions/fanfare.fish")]
    Completions {
        /// Whose
        shell: Shell,
    },
    /// Print the manual page, as `man` reads it
    #[command(after_help = "\
Examples:
  fanfare man publish | man -l -
  fanfare man --directory /usr/local/share/man/man1")]
    Man {
        /// Of which command; of `fanfare` itself without one
        #[arg(conflicts_with = "directory")]
        command: Option<String>,
        /// Write the pages of all commands into this directory
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// Reads the command line and the environment, in which an empty variable is as if it were unset: that is how
/// container files leave one out.
pub(crate) fn parse() -> Cli {
    let matches = without_empty(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The whole command line, for completions and manual pages.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// Ends the process as clap does, for what it cannot know: options that do not go together.
pub(crate) fn refuse(command: &str, message: &str) -> ! {
    let mut whole = Cli::command();
    whole.build();
    let command = whole.find_subcommand_mut(command);
    let error = clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message);
    match command {
        Some(command) => error.format(command).exit(),
        None => error.exit(),
    }
}

fn without_empty(command: clap::Command) -> clap::Command {
    let empty = |argument: &clap::Arg| {
        argument.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
    };
    let command = command.mut_args(|argument| if empty(&argument) { argument.env(None) } else { argument });
    command.mut_subcommands(without_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
