//! The threads that drive the shards: one poller each, nothing else on them.

use crate::clock::Clock;
use crate::transport::Transport;
use fanfare_core::{Closed, Hub, Shard, Token, Turn};
use mio::{Events, Poll, Registry, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) type EngineHub = Hub<Transport>;

/// Connections tell themselves apart by slot and generation in 64 bits, which the poller keeps in a pointer's width.
const _: () = assert!(usize::BITS >= 64, "fanfare needs a 64-bit system");
/// Slots stay far below this value's low half.
const WAKE: mio::Token = mio::Token(usize::MAX);
/// Readiness taken from the kernel at once.
const EVENTS: usize = 1_024;

/// What the rest of the library keeps of a shard's thread.
#[derive(Debug)]
pub(crate) struct ShardThread {
    pub(crate) registry: Arc<Registry>,
    pub(crate) waker: Arc<Waker>,
}

/// Starts the threads of a hub's shards.
pub(crate) fn start(
    hub: &EngineHub,
    shards: Vec<Shard<Transport>>,
    clock: &Clock,
    stop: &Arc<AtomicBool>,
    failed: &Arc<AtomicBool>,
    logging: bool,
) -> io::Result<Vec<ShardThread>> {
    let mut threads = Vec::with_capacity(shards.len());
    for shard in shards {
        let poll = Poll::new()?;
        let registry = Arc::new(poll.registry().try_clone()?);
        let waker = Arc::new(Waker::new(&registry, WAKE)?);
        let wake = Arc::clone(&waker);
        // A failed wake-up leaves the shard to its next timer; there is nobody to tell.
        hub.set_wake(shard.index(), move || _ = wake.wake());
        let (clock, stop) = (clock.clone(), Arc::clone(stop));
        let watch = Watch { hub: hub.clone(), stop: Arc::clone(&stop), failed: Arc::clone(failed) };
        std::thread::Builder::new().name(format!("fanfare-{}", shard.index())).spawn(move || {
            let _watch = watch;
            drive(shard, poll, &clock, &stop, logging);
        })?;
        threads.push(ShardThread { registry, waker });
    }
    Ok(threads)
}

/// Lives as long as a shard's thread. One that ends before it is told to leaves connections without an owner: the hub
/// takes no more then, and says so, instead of accepting streams that never hear anything.
struct Watch {
    hub: EngineHub,
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.stop.load(Ordering::Acquire) {
            self.failed.store(true, Ordering::Release);
            self.hub.destroy();
        }
    }
}

fn drive(mut shard: Shard<Transport>, mut poll: Poll, clock: &Clock, stop: &AtomicBool, logging: bool) {
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let turn = shard.turn(clock.now());
        shard.take_closed().for_each(|closed| log_closed(closed, logging));
        let mut asleep = false;
        let timeout = match turn {
            Turn::Busy => Some(Duration::ZERO),
            Turn::IdleUntil(_) if stop.load(Ordering::Acquire) && shard.is_empty() => return,
            Turn::IdleUntil(deadline) => {
                asleep = shard.fall_asleep();
                if asleep { clock.sleep_until(deadline) } else { Some(Duration::ZERO) }
            }
        };
        let polled = poll.poll(&mut events, timeout);
        if asleep {
            shard.wake_up();
        }
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!(target: "fanfare", %error, "the poller failed; its connections end");
                return;
            }
        }
        let now = clock.now();
        for event in &events {
            if event.token() == WAKE {
                continue;
            }
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            shard.ready(Token(event.token().0 as u64), readable, event.is_writable(), now);
        }
    }
}

fn log_closed(closed: Closed, logging: bool) {
    if logging {
        tracing::info!(
            target: "fanfare",
            client_id = %closed.client_id,
            reason = closed.reason.as_str(),
            duration_ms = closed.duration_ms,
            events = closed.events,
            bytes = closed.bytes,
            "client disconnected"
        );
    }
}
