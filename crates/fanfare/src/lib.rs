//! Server-Sent Events for axum applications: targeting, history, resume, native `EventSource` on the other end.
//!
//! ```no_run
//! use fanfare::{SseConfig, SseEvent, SseManager};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let manager = SseManager::new(SseConfig::default())?;
//!     let app = axum::Router::new().merge(fanfare::router(manager.clone()));
//!
//!     manager.send_to_user("user123", SseEvent::new("notification", serde_json::json!({ "title": "Welcome!" })))?;
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:4000").await?;
//!     fanfare::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! In the browser: `new EventSource("/api/sse?userId=user123")`.
//!
//! [`serve`] takes the sockets of event streams out of hyper and gives them to a thread that owns them; under any other
//! server, `axum::serve` for one, the same streams run through a small pipe. Both behave alike; the first costs about
//! half a KiB for a subscriber, the second what the server's own connection costs.
//!
//! # Features
//!
//! - `client`: a subscriber that reconnects and resumes, and a publisher that tries again, for programs beside a hub.
//! - `http2`: HTTP/2 with prior knowledge under [`serve`].
//! - `test-util`: for tests of applications: a clock moved by hand, assertions on events, faults. See `test_util`.

mod book;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod config;
#[cfg(any(feature = "client", feature = "test-util"))]
mod connected;
mod connection;
mod driver;
mod error;
mod event;
mod global;
mod helpers;
mod http;
mod lock;
pub mod log;
mod manager;
mod serve;
mod storage;
mod sys;
mod target;
#[cfg(feature = "test-util")]
pub mod test_util;
mod transport;

pub use crate::http::{
    Access, AccessRequest, Action, BODY_MAX, Denied, SseRouter, URL_MAX, method_not_allowed, not_found, router,
};
pub use config::{Compression, SseConfig};
pub use connection::{Connection, ConnectionOptions, Heartbeat, accepts_gzip};
pub use error::{ConfigError, ConnectError, SendError, StorageError};
pub use event::SseEvent;
pub use fanfare_core::disk::Condition as DiskCondition;
pub use fanfare_core::{
    Encoding, Parsed as ReceivedEvent, ParserError, Resume, SlowPolicy, Stats as EngineStats, limits,
};
pub use global::{
    announce_system_update, broadcast, error_notification, initialize_sse, notify_data_change, notify_job_completion,
    notify_metrics_update, notify_new_message, notify_user, notify_user_activity, notify_users, progress_update,
    realtime_update, sse_manager, success_notification, system_notification, update_operation_progress,
};
pub use helpers::{Activity, ChangeType, JobResult, Level, MetricValue, Severity};
pub use manager::{Receipt, SseManager, SseSettings, SseStats};
pub use serve::{HEAD_MAX, Serve, serve};
pub use target::{SseFilter, Target};
#[cfg(feature = "test-util")]
pub use test_util::ManualClock;

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Raises the soft limit on open descriptors to the hard one, and returns it where the system says: each connection
/// takes one. For binaries, at their start; a library has no business changing it.
pub fn raise_descriptor_limit() -> Option<u64> {
    sys::raise_descriptor_limit()
}
