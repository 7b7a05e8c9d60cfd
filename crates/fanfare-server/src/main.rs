//! The `fanfare` binary. `fanfare` alone is `fanfare serve`.

mod auth;
mod cli;
mod log;
mod metrics;
mod serve;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli::Cli { command, serve } = cli::parse();
    let options = match command {
        Some(cli::Command::Log(command)) => return log::run(command),
        Some(cli::Command::Serve(options)) => options,
        None => serve,
    };
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong, and why.
fn complain(error: &dyn Error) {
    eprintln!("fanfare: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
}
