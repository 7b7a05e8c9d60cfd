//! A program beside a hub: it publishes, subscribes and asks over HTTP. Feature `client`.
//!
//! [`Client`] is a hub by its address. What it sends is tried again where that can help, under an idempotency key, so that
//! nothing is published twice. [`Client::subscribe`] gives a [`Subscriber`], which reconnects, resumes where it was, and
//! says when it could not.
//!
//! ```no_run
//! use fanfare::client::{Client, Update};
//! use fanfare::{ConnectionOptions, SseEvent, Target};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::new("http://127.0.0.1:4000")?;
//!     let options = ConnectionOptions { user_id: Some("user123".into()), ..ConnectionOptions::default() };
//!     let mut subscriber = client.subscribe(options)?;
//!
//!     let event = SseEvent::new("notification", serde_json::json!({ "title": "Welcome!" }));
//!     client.publish(event, Target::user("user123")).await?;
//!
//!     while let Some(update) = subscriber.next().await {
//!         match update? {
//!             Update::Event(event) => println!("{}: {}", event.event, event.data),
//!             update if update.is_loss() => println!("events are gone: fetch the state anew"),
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//! ```

mod backoff;
mod error;
mod publish;
mod query;
mod reads;
mod request;
mod subscriber;
mod update;

pub use crate::connected::Connected;
pub use error::{ClosingReason, Fault, Problem, RequestError, SubscribeError};
pub use publish::parse_event;
pub use reads::{ClientInfo, ClientsPage};
pub use request::Client;
pub use subscriber::{Reconnect, Subscriber};
pub use update::{Event, Gap, Update};

/// A number from 0 to 1, for delays. Without randomness from the system they are as long as they may be.
fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

/// The error at the bottom: what lies above it says only that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
