//! `fanfare completions` and `fanfare man`: the command line, as shells and `man` read it.

use crate::cli;
use clap_complete::Shell;
use std::io;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::definition(), "fanfare", &mut script);
    finish(io::Write::write_all(&mut io::stdout(), &script))
}

pub(crate) fn man(command: Option<&str>, directory: Option<&Path>) -> ExitCode {
    if let Some(directory) = directory {
        return finish(
            clap_mangen::generate_to(cli::definition(), directory)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()))),
        );
    }
    let mut whole = cli::definition();
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => match whole.find_subcommand(name) {
            Some(found) => found.clone(),
            None => cli::refuse("man", &format!("there is no command {name:?}; `fanfare --help` lists them")),
        },
    };
    finish(clap_mangen::Man::new(page).render(&mut io::stdout()))
}

fn finish(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            crate::complain(&error);
            ExitCode::FAILURE
        }
    }
}
