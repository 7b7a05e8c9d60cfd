//! The pages of the documentation that are made from the command line. `FANFARE_UPDATE=1 cargo test -p fanfare-server` writes
//! them anew; otherwise the test fails where they are stale.

use super::{Cli, EXIT_CODES};
use clap::CommandFactory as _;
use std::fmt::Write as _;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
const COMMAND_LINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/command-line.md");
const BEGIN: &str = "<!-- generated from the command line -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Compares what stands between the marks, or writes it.
fn keep_fresh(path: &str, generated: &str) {
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (front, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{path} has no mark {BEGIN:?}"));
    let (_, back) = rest.split_once(END).unwrap_or_else(|| panic!("{path} has no mark {END:?}"));
    let fresh = format!("{front}{BEGIN}\n{generated}\n{END}{back}");
    if std::env::var_os("FANFARE_UPDATE").is_some() {
        std::fs::write(path, fresh).unwrap();
    } else {
        assert!(page == fresh, "{path} is stale: FANFARE_UPDATE=1 cargo test -p fanfare-server makes it anew");
    }
}

#[test]
fn the_page_of_settings_is_fresh() {
    let mut out = String::from("| Flag and environment | Default | |\n| --- | --- | --- |\n");
    let mut command = Cli::command();
    command.build();
    for argument in command.find_subcommand("serve").unwrap().get_arguments() {
        let Some(long) = argument.get_long().filter(|long| !matches!(*long, "help" | "version")) else { continue };
        let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value = value.map(|names| format!(" {}", names[0])).unwrap_or_default();
        let environment =
            argument.get_env().map(|name| format!("<br>`{}`", name.to_str().unwrap())).unwrap_or_default();
        let help = argument.get_help().unwrap().to_string().replace('|', "\\|");
        // Some say their default in words.
        let (help, words) = match help.split_once(" [default: ") {
            Some((help, words)) => (help.to_owned(), words.trim_end_matches(']').to_owned()),
            None => (help, String::new()),
        };
        let default = argument.get_default_values().first().filter(|_| argument.get_action().takes_values());
        let default = default.map_or(words, |value| format!("`{}`", value.to_str().unwrap()));
        _ = writeln!(out, "| `--{long}{value}`{environment} | {default} | {help} |");
    }
    keep_fresh(CONFIGURATION, &out);
}

#[test]
fn the_page_of_commands_is_fresh() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut out = format!("```text\n{EXIT_CODES}\n```\n");
    for section in command.get_subcommands_mut() {
        let parts: Vec<String> = section.get_subcommands().map(|part| part.get_name().to_owned()).collect();
        page(&mut out, section, 2);
        for part in parts {
            page(&mut out, section.find_subcommand_mut(&part).unwrap(), 3);
        }
    }
    keep_fresh(COMMAND_LINE, out.trim_end());
}

fn page(out: &mut String, command: &mut clap::Command, level: usize) {
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let help = command.clone().term_width(100).render_help().to_string().replace(&format!("\n\n{EXIT_CODES}"), "");
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    _ = write!(out, "\n{} `{name}`\n\n```text\n{}\n```\n", "#".repeat(level), lines.join("\n").trim_end());
}
