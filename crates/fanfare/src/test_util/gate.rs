//! The gate in front of each connection's sink: open, closed (a stall), or open for so many bytes more (a cut).

use super::Kit;
use crate::driver::EngineHub;
use crate::lock::lock;
use crate::transport::Transport;
use fanfare_core::{ClientId, Disconnect, Ending, Input, Sink, Token};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct State {
    stalled: bool,
    /// A write came since the stall, and was turned away.
    refused: bool,
    /// Bytes until the connection breaks.
    left: Option<usize>,
    broken: bool,
}

/// One connection, as faults see it; from its registration until its sink is gone.
#[derive(Debug)]
pub(crate) struct Gate {
    client_id: ClientId,
    token: Token,
    hub: EngineHub,
    state: Mutex<State>,
}

/// What the connection holds of its gate.
#[derive(Debug)]
struct Held {
    gate: Arc<Gate>,
    kit: Arc<Kit>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.kit.remove(self.gate.client_id);
    }
}

/// A transport behind its gate.
#[derive(Debug)]
pub(crate) struct Gated {
    inner: Transport,
    held: Held,
}

/// A connection that has no transport yet.
#[derive(Debug)]
pub(crate) struct Ungated(Held);

impl Ungated {
    /// `None` if it was cut already: the transport is gone with it.
    pub(crate) fn put_before(self, transport: Transport) -> Option<Transport> {
        let gated = Gated { inner: transport, held: self.0 };
        let broken = lock(&gated.held.gate.state).broken;
        (!broken).then(|| Transport::Gated(Box::new(gated)))
    }
}

impl Gate {
    pub(crate) fn make(kit: &Arc<Kit>, hub: &EngineHub, client_id: ClientId, token: Token) -> Ungated {
        let gate = Arc::new(Self { client_id, token, hub: hub.clone(), state: Mutex::default() });
        kit.insert(client_id, &gate);
        Ungated(Held { gate, kit: Arc::clone(kit) })
    }

    pub(super) fn stall(&self) {
        let mut state = lock(&self.state);
        (state.stalled, state.refused) = (true, false);
        drop(state);
        // A write is tried if anything is pending, also where the sink was full by itself.
        self.hub.writable(self.token);
    }

    /// True if a write was turned away since the stall.
    pub(super) fn has_refused(&self) -> bool {
        lock(&self.state).refused
    }

    pub(super) fn resume(&self) {
        lock(&self.state).stalled = false;
        self.hub.writable(self.token);
    }

    /// False if it has ended already.
    pub(super) fn cut(&self) -> bool {
        // Before the close: the shard may drop the sink at once.
        lock(&self.state).broken = true;
        let open = self.hub.close(self.token, Disconnect::Error);
        if !open {
            lock(&self.state).broken = false;
        }
        open
    }

    pub(super) fn cut_after(&self, bytes: usize) {
        lock(&self.state).left = Some(bytes);
    }
}

impl Gated {
    /// Writes what still goes through; with the last byte the connection is over.
    fn write_last(&mut self, slices: &[IoSlice<'_>], left: usize) -> io::Result<usize> {
        let mut room = left;
        let mut through = Vec::with_capacity(slices.len());
        for slice in slices {
            let taken = slice.len().min(room);
            through.push(IoSlice::new(&slice[..taken]));
            room -= taken;
            if room == 0 {
                break;
            }
        }
        let written = self.inner.write_vectored(&through)?;
        let gate = &self.held.gate;
        lock(&gate.state).left = Some(left - written);
        if written == left {
            gate.cut();
        }
        Ok(written)
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if let (true, Transport::Pipe(pipe)) = (lock(&self.held.gate.state).broken, &self.inner) {
            pipe.break_off();
        }
    }
}

impl Sink for Gated {
    fn attach(&mut self, token: Token) -> io::Result<()> {
        self.inner.attach(token)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = lock(&self.held.gate.state);
        if state.stalled {
            state.refused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let left = state.left;
        drop(state);
        match left {
            None => self.inner.write_vectored(slices),
            // The message that ends it is in the inbox.
            Some(0) => Err(io::ErrorKind::WouldBlock.into()),
            Some(left) => self.write_last(slices, left),
        }
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        self.inner.read_and_discard()
    }

    fn finish(&mut self) -> Ending {
        self.inner.finish()
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        self.inner.unacknowledged_ms()
    }
}
