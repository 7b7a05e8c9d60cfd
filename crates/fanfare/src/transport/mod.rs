//! What the engine's connections are written to: a socket of our own, or a pipe to somebody else's HTTP body.

pub(crate) mod pipe;
mod socket;

use fanfare_core::{Ending, Input, Sink, Token};
use pipe::PipeWriter;
pub(crate) use socket::Socket;
use std::io::{self, IoSlice};

/// Both transports, without a virtual call.
#[derive(Debug)]
pub(crate) enum Transport {
    Pipe(PipeWriter),
    Socket(Socket),
    /// Either, behind a gate that tests stall and cut.
    #[cfg(feature = "test-util")]
    Gated(Box<crate::test_util::Gated>),
    /// None at all: its fate tells a test how far the shard is.
    #[cfg(feature = "test-util")]
    Barrier(crate::test_util::Barrier),
}

impl Sink for Transport {
    fn attach(&mut self, token: Token) -> io::Result<()> {
        match self {
            Self::Pipe(_) => Ok(()),
            Self::Socket(socket) => socket.attach(token),
            #[cfg(feature = "test-util")]
            Self::Gated(gated) => gated.attach(token),
            #[cfg(feature = "test-util")]
            Self::Barrier(barrier) => Err(barrier.refusal()),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write_vectored(slices),
            Self::Socket(socket) => socket.write_vectored(slices),
            #[cfg(feature = "test-util")]
            Self::Gated(gated) => gated.write_vectored(slices),
            #[cfg(feature = "test-util")]
            Self::Barrier(barrier) => Err(barrier.refusal()),
        }
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        match self {
            Self::Pipe(_) => Ok(Input::Open),
            Self::Socket(socket) => socket.read_and_discard(),
            #[cfg(feature = "test-util")]
            Self::Gated(gated) => gated.read_and_discard(),
            #[cfg(feature = "test-util")]
            Self::Barrier(barrier) => Err(barrier.refusal()),
        }
    }

    fn finish(&mut self) -> Ending {
        match self {
            Self::Pipe(pipe) => pipe.finish(),
            Self::Socket(socket) => socket.finish(),
            #[cfg(feature = "test-util")]
            Self::Gated(gated) => gated.finish(),
            #[cfg(feature = "test-util")]
            Self::Barrier(_) => Ending::Done,
        }
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        match self {
            // Whoever drains the pipe owns the transport, and finds out that its peer is dead.
            Self::Pipe(_) => None,
            Self::Socket(socket) => socket.unacknowledged_ms(),
            #[cfg(feature = "test-util")]
            Self::Gated(gated) => gated.unacknowledged_ms(),
            #[cfg(feature = "test-util")]
            Self::Barrier(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of what every subscriber costs, beside the state that the engine pins. Raising it needs a reason.
    /// mio keeps a number of its own where debug assertions are on, and a pointer on Windows.
    const TRANSPORT_BYTES_MAX: usize =
        32 + if cfg!(debug_assertions) { 16 } else { 0 } + if cfg!(windows) { 8 } else { 0 };

    #[test]
    fn the_size_of_a_transport_is_pinned() {
        assert!(size_of::<Option<Transport>>() <= TRANSPORT_BYTES_MAX, "{}", size_of::<Option<Transport>>());
    }
}
