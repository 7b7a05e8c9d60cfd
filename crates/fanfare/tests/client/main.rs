//! The feature `client`: subscriptions over a hub, over a network that is cut, and over servers that do what no hub
//! would; requests with their retries.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod requests;
mod scripted;
mod subscriber;
#[path = "../support/mod.rs"]
mod support;
