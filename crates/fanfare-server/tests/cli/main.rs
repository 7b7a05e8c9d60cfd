//! The commands that ask a running server, as people and scripts use them: what they say, on which stream, with which exit
//! code. `INSTA_UPDATE=always cargo test -p fanfare-server --test cli` writes the snapshots anew.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod errors;
mod publish;
mod said;
mod shell;
mod subscribe;
#[path = "../support/mod.rs"]
mod support;
mod views;
