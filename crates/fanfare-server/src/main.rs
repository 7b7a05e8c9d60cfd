//! The `fanfare` binary. `fanfare` alone is `fanfare serve`.

mod auth;
mod bench;
mod cli;
mod log;
mod metrics;
mod remote;
mod serve;
mod shell;
mod terminal;

use cli::Command;
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli::Cli { command, serve } = cli::parse();
    let options = match command {
        Some(Command::Bench(options)) => return bench::run(*options),
        Some(Command::Clients(options)) => return remote::run(remote::clients(options)),
        Some(Command::Completions { shell }) => return shell::completions(shell),
        Some(Command::Disconnect(options)) => return remote::run(remote::disconnect(options)),
        Some(Command::Log(command)) => return log::run(command),
        Some(Command::Man { command, directory }) => return shell::man(command.as_deref(), directory.as_deref()),
        Some(Command::Publish(options)) => return remote::run(remote::publish(options)),
        Some(Command::Serve(options)) => options,
        Some(Command::Stats(options)) => return remote::run(remote::stats(options)),
        Some(Command::Subscribe(options)) => return remote::run(remote::subscribe(options)),
        None => serve,
    };
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            if serve::is_about_settings(&*error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Says what went wrong, and why. What others said is in it, and must not drive the terminal.
fn complain(error: &dyn Error) {
    let said = error.to_string();
    terminal::note(&format!("{} {}", terminal::styled(terminal::BAD, "fanfare:"), terminal::plain(&said)));
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    // Where the message tells the last cause already, those in between say only that something failed.
    if causes.last().is_some_and(|cause| !said.contains(cause)) {
        for cause in causes {
            terminal::note(&format!("  because: {}", terminal::plain(&cause)));
        }
    }
}
