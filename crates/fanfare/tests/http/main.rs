//! The HTTP interface over real sockets: every endpoint, every refusal with its problem document, every limit.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod access;
mod compression;
mod endpoints;
mod expect;
mod golden;
mod idempotency;
mod limits;
mod publish;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use support::{Server, Wire, config, serve};

/// A server with every endpoint open.
async fn open() -> Server {
    serve(Wire::Takeover, config()).await
}

/// What a 4xx answer says: status, name of the type, pointers.
fn refusal(status: u16, slug: &str, pointers: &[&str]) -> (u16, String, Vec<String>) {
    (status, slug.to_owned(), pointers.iter().map(|&pointer| pointer.to_owned()).collect())
}
