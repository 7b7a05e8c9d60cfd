//! Where the engine writes: a socket, a pipe to somebody else's HTTP body, or a simulated one.

use std::io::{self, IoSlice};

/// What a sink's incoming side says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The peer has ended its side: it is gone.
    Ended,
    /// The peer is still there, as far as is known.
    Open,
}

/// What is left to do after a planned end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: the sink may be dropped.
    Done,
    /// The peer may still be reading: keep the sink until its input ends, for at most a second.
    Linger,
}

/// Identifies a connection to the poller: slot and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The engine's side of a connection's transport. Nothing here blocks.
///
/// A short write means full: the shard does not try again before it is told that the sink is writable.
pub trait Sink: Send + 'static {
    /// Called once in the shard's thread, before the first write: the moment to register with a poller.
    ///
    /// # Errors
    ///
    /// An error closes the connection.
    fn attach(&mut self, token: Token) -> io::Result<()>;

    /// Writes as much as fits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits; any other error closes the connection.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads and discards what came in, until there is nothing more.
    ///
    /// # Errors
    ///
    /// An error closes the connection.
    fn read_and_discard(&mut self) -> io::Result<Input>;

    /// Ends the outgoing side after everything was written.
    fn finish(&mut self) -> Ending;

    /// For how many milliseconds the peer has acknowledged nothing although bytes or probes are outstanding;
    /// `None` if nothing is outstanding, or if this transport cannot know.
    fn unacknowledged_ms(&mut self) -> Option<u64>;
}

/// For tests of hubs whose shards nobody turns.
#[cfg(test)]
pub(crate) struct NoSink;

#[cfg(test)]
impl Sink for NoSink {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        Ok(Input::Open)
    }

    fn finish(&mut self) -> Ending {
        Ending::Done
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}
