//! For tests of applications that embed Fanfare, feature `test-util`: put it into `[dev-dependencies]`.
//!
//! - **Time**: [`SseManager::with_manual_clock`](crate::SseManager::with_manual_clock) gives a manager whose time stands
//!   still until [`ManualClock::advance`] moves it.
//! - **What arrives**: the assertions on a [`Connection`](crate::Connection), such as
//!   [`expect_event`](crate::Connection::expect_event), [`expect_resume`](crate::Connection::expect_resume) and
//!   [`expect_silence`](crate::Connection::expect_silence).
//! - **What was published**, with or without clients: [`SseManager::record`](crate::SseManager::record) and
//!   [`SseManager::received_by`](crate::SseManager::received_by).
//! - **Faults**: [`SseManager::faults`](crate::SseManager::faults) stalls and cuts connections, served ones too, forgets
//!   history, restarts and refuses sends.
//!
//! Nothing here sleeps for luck. An assertion waits until what it asks for is there, ten seconds at most, on a clock of
//! its own: a paused clock of tokio does not disturb it.
//!
//! ```
//! use fanfare::{ConnectionOptions, SseConfig, SseEvent, SseManager};
//! use serde_json::json;
//!
//! #[tokio::main(flavor = "current_thread")] // in a test: #[tokio::test]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let manager = SseManager::new(SseConfig::default())?;
//!     let ann = ConnectionOptions { user_id: Some("ann".into()), ..ConnectionOptions::default() };
//!     let mut page = manager.create_connection(ann)?;
//!     manager.send_to_user("ann", SseEvent::new("greeting", json!({ "text": "hello" })))?;
//!     assert_eq!(page.expect_event("greeting").await["text"], "hello");
//!     page.expect_silence().await;
//!     Ok(())
//! }
//! ```
//!
//! # Tests beside each other
//!
//! Managers know nothing of each other: let each test make its own, and hand it to the application as state. The free
//! functions ([`broadcast`](crate::broadcast), [`notify_user`](crate::notify_user), …) share one manager, which is made
//! once for the process by [`initialize_sse`](crate::initialize_sse) or by their first use, and whose clock is the
//! system's. Tests of one binary run in one process, so they share it, too: reach it by
//! [`sse_manager`](crate::sse_manager), and give each test users, sessions or topics of its own. Faults that concern
//! everybody ([`Faults::forget_history`], [`Faults::restart`], [`Faults::refuse_sends`]) belong into a test binary of
//! their own then.

mod assertions;
mod barrier;
mod clock;
mod faults;
mod gate;
mod kit;
mod patience;
mod recorder;

pub use crate::connected::Connected;
pub(crate) use barrier::Barrier;
pub use clock::ManualClock;
pub use faults::Faults;
pub(crate) use gate::{Gate, Gated, Ungated};
pub(crate) use kit::{Kit, Probe};
pub use recorder::{Published, RECORDED_MAX, Recorder};
