//! A non-blocking TCP socket, taken over from hyper and owned by a shard.

use axum::body::Body;
use fanfare_core::{Ending, Input, Token};
use mio::net::TcpStream;
use mio::{Interest, Registry};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    registry: Arc<Registry>,
    /// The response's body: never read, but dropped with the connection, so that what a middleware tied to it ends
    /// when the stream does.
    _body: Body,
}

/// Most bytes read and thrown away at once: a peer that talks on an event stream does not get the thread to itself.
const DISCARD_MAX: usize = 256 * 1024;

impl Socket {
    pub(crate) fn new(stream: std::net::TcpStream, registry: Arc<Registry>, body: Body) -> Self {
        Self { stream: TcpStream::from_std(stream), registry, _body: body }
    }

    pub(super) fn attach(&mut self, token: Token) -> io::Result<()> {
        // Once, edge-triggered, for both directions. Closing the descriptor takes it out again.
        let token = mio::Token(usize::try_from(token.0).map_err(io::Error::other)?);
        self.registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match slices {
                [one] => self.stream.write(one),
                many => self.stream.write_vectored(many),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                #[cfg(windows)]
                Ok(written) => return Ok(self.write_rest(slices, written)),
                other => return other,
            }
        }
    }

    /// After a short write room is told of by itself, except on Windows: there mio asks for it only when a write has found
    /// none. Goes on until that, and returns how much was written in all.
    #[cfg(windows)]
    fn write_rest(&mut self, slices: &[IoSlice<'_>], mut written: usize) -> usize {
        let mut end = 0;
        for slice in slices {
            end += slice.len();
            while written < end {
                match self.stream.write(&slice[slice.len() - (end - written)..]) {
                    // An error comes again at the next write.
                    Ok(0) | Err(_) => return written,
                    Ok(more) => written += more,
                }
            }
        }
        written
    }

    pub(super) fn read_and_discard(&mut self) -> io::Result<Input> {
        let mut buffer = [0; 1_024];
        let mut total = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Input::Ended),
                Ok(read) => {
                    total += read;
                    if total > DISCARD_MAX {
                        return Err(io::Error::other("the peer sends without end on an event stream"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Input::Open),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn finish(&mut self) -> Ending {
        // After this the peer sees the end behind the last byte. A close now could throw that byte away, if the peer
        // had sent anything we did not read.
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => Ending::Linger,
            Err(_) => Ending::Done,
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn unacknowledged_ms(&mut self) -> Option<u64> {
        use std::os::fd::AsFd as _;
        crate::sys::unacknowledged_ms(self.stream.as_fd())
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "Linux asks the socket")]
    pub(super) fn unacknowledged_ms(&mut self) -> Option<u64> {
        None
    }
}
