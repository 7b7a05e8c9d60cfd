//! What can be asked of a history on disk.

use super::values::cursor;
use clap::{Args, Subcommand};
use fanfare::log::{Cursor, Name};
use std::path::PathBuf;

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
