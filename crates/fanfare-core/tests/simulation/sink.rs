//! The simulated sink: takes as many bytes as it was told to, remembers them with the step in which they came,
//! and notes what a shard must not do to it. In the middle of a write it can let other threads' work happen:
//! a publish or a close that a real hub would see between two visits of one turn.

use super::gunzip::Gunzip;
use super::model::Stall;
use super::store::{Desk, Request};
use fanfare_core::{ClientId, Disconnect, Ending, Hub, Input, Now, Sink, Token};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub struct Clock {
    pub step: AtomicUsize,
    pub ms: AtomicU64,
    /// How far the wall clock is off.
    pub wall_offset_ms: AtomicI64,
}

impl Clock {
    pub fn now(&self) -> Now {
        let mono_ms = self.ms.load(Ordering::Relaxed);
        let wall_ms = (1_700_000_000_000 + mono_ms).saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed));
        Now { mono_ms, wall_ms }
    }

    pub fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }
}

/// Work of other threads, done during the next writes.
pub enum Work {
    Close(ClientId, Disconnect),
    Publish(Request),
}

/// Which connection was closed, and whether it was there. What came of a publish is at the desk.
pub struct Done(pub ClientId, pub bool);

#[derive(Default)]
pub struct Meanwhile {
    pub hub: Option<Hub<SimSink>>,
    pub desk: Arc<Mutex<Desk>>,
    pub planned: VecDeque<Work>,
    pub done: Vec<Done>,
}

/// The two ends' shared state of one connection.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Pipe {
    /// What it took; of a compressed connection what is in the blocks that were begun.
    pub taken: Vec<u8>,
    pub gunzip: Option<Box<Gunzip>>,
    pub chunks: Vec<(usize, usize, u64)>,
    pub stalls: Vec<Stall>,
    /// Bytes it takes before it is full.
    pub budget: usize,
    /// It was full, and the shard was not told since that it takes more.
    pub full: bool,
    /// How often the shard was told, as far as it may not have heard of it yet.
    pub told: usize,
    pub unacknowledged: Option<u64>,
    pub ended: bool,
    pub read_fails: bool,
    pub write_fails: bool,
    pub attach_fails: bool,
    pub lingers: bool,
    pub attached: bool,
    pub finished: bool,
    pub dropped: bool,
    pub faults: Vec<String>,
}

/// What a run records of a connection's far end.
pub struct Taken {
    pub bytes: Vec<u8>,
    /// As they came; of a compressed connection fewer.
    pub wire: usize,
    pub chunks: Vec<(usize, usize, u64)>,
    pub stalls: Vec<Stall>,
    pub faults: Vec<String>,
    /// A compressed block was begun and not ended: nothing of it is in the bytes.
    pub cut: bool,
}

impl Pipe {
    pub fn take(&mut self) -> Taken {
        let mut bytes = std::mem::take(&mut self.taken);
        let mut faults = std::mem::take(&mut self.faults);
        let (mut wire, mut cut) = (bytes.len(), false);
        if let Some(gunzip) = self.gunzip.take() {
            cut = gunzip.complete < bytes.len();
            bytes.truncate(gunzip.complete);
            wire = gunzip.wire;
            faults.extend(gunzip.faults);
        }
        let (chunks, stalls) = (std::mem::take(&mut self.chunks), std::mem::take(&mut self.stalls));
        Taken { bytes, wire, chunks, stalls, faults, cut }
    }
}

pub struct SimSink {
    pub pipe: Arc<Mutex<Pipe>>,
    pub clock: Arc<Clock>,
    pub meanwhile: Arc<Mutex<Meanwhile>>,
}

impl Drop for SimSink {
    fn drop(&mut self) {
        self.pipe.lock().unwrap().dropped = true;
    }
}

impl SimSink {
    fn let_others_work(&self) {
        let mut meanwhile = self.meanwhile.lock().unwrap();
        let Some(work) = meanwhile.planned.pop_front() else { return };
        let (hub, desk) = (meanwhile.hub.clone().unwrap(), Arc::clone(&meanwhile.desk));
        drop(meanwhile);
        match work {
            Work::Close(client_id, reason) => {
                let done = Done(client_id, hub.close_client(client_id, reason));
                self.meanwhile.lock().unwrap().done.push(done);
            }
            Work::Publish(request) => request.publish(&hub, &desk, self.clock.now()),
        }
    }
}

impl Sink for SimSink {
    fn attach(&mut self, _: Token) -> io::Result<()> {
        let mut pipe = self.pipe.lock().unwrap();
        if std::mem::replace(&mut pipe.attached, true) {
            pipe.faults.push("attached twice".into());
        }
        if pipe.attach_fails { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.let_others_work();
        let mut pipe = self.pipe.lock().unwrap();
        if pipe.full && pipe.told > 0 {
            pipe.told -= 1;
        } else if pipe.full {
            let step = self.clock.step();
            pipe.faults.push(format!("step {step}: written although it was full and nobody said otherwise"));
        }
        if pipe.finished {
            pipe.faults.push("written after its end".into());
        }
        if pipe.write_fails {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            pipe.faults.push("written nothing".into());
        }
        let mut room = pipe.budget.min(offered);
        pipe.budget -= if pipe.budget == usize::MAX { 0 } else { room };
        let (took, step, now_ms) = (room, self.clock.step(), self.clock.now().mono_ms);
        if let Some(gunzip) = &mut pipe.gunzip {
            let begun = gunzip.write(slices.iter().map(|slice| &slice[..]), took);
            pipe.taken.extend(begun);
        } else {
            for slice in slices {
                let part = room.min(slice.len());
                pipe.taken.extend_from_slice(&slice[..part]);
                room -= part;
            }
        }
        if took > 0 {
            let total = pipe.taken.len();
            pipe.chunks.push((step, total, now_ms));
        }
        if took < offered {
            pipe.full = true;
            let total = pipe.taken.len();
            pipe.stalls.push(Stall { step, at_ms: now_ms, total });
        }
        if took == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(took) }
    }

    fn read_and_discard(&mut self) -> io::Result<Input> {
        let pipe = self.pipe.lock().unwrap();
        match (pipe.read_fails, pipe.ended) {
            (true, _) => Err(io::ErrorKind::ConnectionReset.into()),
            (_, true) => Ok(Input::Ended),
            _ => Ok(Input::Open),
        }
    }

    fn finish(&mut self) -> Ending {
        let mut pipe = self.pipe.lock().unwrap();
        pipe.finished = true;
        if pipe.lingers { Ending::Linger } else { Ending::Done }
    }

    fn unacknowledged_ms(&mut self) -> Option<u64> {
        self.pipe.lock().unwrap().unacknowledged
    }
}
