//! SSE bytes: events to frames, and bytes back to events. Pure; knows nothing of logs or connections.

mod encode;
mod parse;

pub use encode::FrameBody;
pub(crate) use encode::{StampedId, control_frame};
pub use parse::{Parsed, Parser, ParserError};
