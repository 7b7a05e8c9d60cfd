//! A bounded pipe between a shard and an HTTP body that somebody else drives.
//!
//! The buffer is allocated while it is not empty. The reader takes everything there is in one chunk, so a stream
//! that fell behind by many small events is not sent as many small HTTP/2 frames, which some clients take for an
//! attack; and it never yields an empty one.

use crate::driver::EngineHub;
use crate::lock::lock;
use bytes::Bytes;
use fanfare_core::limits::PIPE_BYTES;
use fanfare_core::{Disconnect, Ending, Token};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
#[cfg_attr(feature = "test-util", expect(clippy::struct_excessive_bools, reason = "independent facts"))]
struct State {
    buffer: Vec<u8>,
    reader: Option<Waker>,
    /// The writer met a full pipe and waits to be told.
    writer_waits: bool,
    finished: bool,
    reader_gone: bool,
    /// A test broke the connection: the end is not to look like one.
    #[cfg(feature = "test-util")]
    broken: bool,
}

type Shared = Arc<Mutex<State>>;

/// The shard's end.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    shared: Shared,
}

/// The HTTP body's end. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct PipeReader {
    shared: Shared,
    hub: EngineHub,
    token: Token,
}

pub(crate) fn pipe(hub: EngineHub, token: Token) -> (PipeWriter, PipeReader) {
    let shared = Shared::default();
    (PipeWriter { shared: Arc::clone(&shared) }, PipeReader { shared, hub, token })
}

impl PipeWriter {
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = lock(&self.shared);
        if state.reader_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = state.buffer.len();
        for slice in slices {
            let room = PIPE_BYTES - state.buffer.len();
            let taken = slice.len().min(room);
            state.buffer.extend_from_slice(&slice[..taken]);
            if taken < slice.len() {
                state.writer_waits = true;
                break;
            }
        }
        let written = state.buffer.len() - before;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    pub(super) fn finish(&mut self) -> Ending {
        self.end();
        Ending::Done
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn break_off(&self) {
        lock(&self.shared).broken = true;
    }

    fn end(&self) {
        let mut state = lock(&self.shared);
        state.finished = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.end();
    }
}

impl PipeReader {
    /// Everything there is; `None` after the end.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = lock(&self.shared);
        if state.buffer.is_empty() {
            if state.finished {
                return Poll::Ready(None);
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let bytes = Bytes::from(std::mem::take(&mut state.buffer));
        let writer_waits = std::mem::take(&mut state.writer_waits);
        drop(state);
        if writer_waits {
            self.hub.writable(self.token);
        }
        Poll::Ready(Some(bytes))
    }
}

#[cfg(feature = "test-util")]
impl PipeReader {
    pub(crate) fn is_broken(&self) -> bool {
        lock(&self.shared).broken
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.reader_gone = true;
        let finished = state.finished;
        drop(state);
        if !finished {
            self.hub.close(self.token, Disconnect::Gone);
        }
    }
}
