//! The `fanfare` binary. `fanfare` alone is `fanfare serve`.

mod auth;
mod cli;
mod metrics;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli::Cli { command, serve } = cli::parse();
    let options = match command {
        Some(cli::Command::Serve(options)) => options,
        None => serve,
    };
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error}");
            let mut source = std::error::Error::source(&*error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
