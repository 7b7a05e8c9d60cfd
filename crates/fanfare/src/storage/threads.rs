//! The threads of a log on disk: one that writes, and two that read for connections that lag.

use super::Lock;
use crate::clock::Clock;
use crate::driver::EngineHub;
use fanfare_core::disk::{Condition, DiskWriter, WriterTurn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One can wait for the disk while the other finds what it needs in the system's cache.
const READERS: usize = 2;
/// Ages are looked at so often where nothing is published.
const IDLE: Duration = Duration::from_secs(1);

/// See the module. Dropped, they finish what was submitted, and let go of the directory.
#[derive(Debug)]
pub(crate) struct DiskThreads {
    handles: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    _lock: Lock,
}

impl DiskThreads {
    pub(crate) fn start(hub: &EngineHub, writer: DiskWriter, clock: &Clock, lock: Lock) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut handles = Vec::with_capacity(1 + READERS);
        let (writer_hub, writer_clock) = (hub.clone(), clock.clone());
        let named = |name: String| std::thread::Builder::new().name(name);
        handles.push(named("fanfare-disk".into()).spawn(move || write(&writer_hub, writer, &writer_clock))?);
        for number in 0..READERS {
            let (hub, stop, clock) = (hub.clone(), Arc::clone(&stop), clock.clone());
            let maintains = (number == 0).then_some(clock);
            handles.push(named(format!("fanfare-read-{number}")).spawn(move || read(&hub, &stop, maintains.as_ref()))?);
        }
        let writer = handles[0].thread().clone();
        let readers: Vec<_> = handles[1..].iter().map(|handle| handle.thread().clone()).collect();
        hub.set_disk_wakes(move || writer.unpark(), move || readers.iter().for_each(std::thread::Thread::unpark));
        // What was submitted before the wakes were set finds a writer that has not slept yet, or sleeps a second.
        Ok(Self { handles, stop, _lock: lock })
    }
}

impl Drop for DiskThreads {
    /// The hub is closed by now.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // A thread that panicked has said so; one cannot wait for itself.
            if handle.thread().id() != std::thread::current().id() {
                _ = handle.join();
            }
        }
    }
}

fn write(hub: &EngineHub, mut writer: DiskWriter, clock: &Clock) {
    let mut known = Condition::Ok;
    loop {
        let turn = writer.turn(hub, clock.now());
        let condition = hub.disk_condition();
        if condition != known {
            known = condition;
            tell(condition, hub.take_disk_error());
        }
        match turn {
            WriterTurn::Busy => {}
            WriterTurn::Idle => std::thread::park_timeout(IDLE),
            WriterTurn::Ended => return,
        }
    }
}

fn tell(condition: Condition, error: Option<io::Error>) {
    match condition {
        Condition::Ok => tracing::info!(target: "fanfare", "there is room on the disk again; events are kept"),
        Condition::Full => {
            tracing::error!(target: "fanfare", "the disk is full: publishes are refused, streams and reads go on");
        }
        _ => {
            let error = error.map_or_else(String::new, |error| error.to_string());
            tracing::error!(
                target: "fanfare",
                error,
                "the disk failed: publishes are refused until the server is started again; streams and reads go on"
            );
        }
    }
}

/// Reads for whoever waits. One of the threads also maintains the log, by a clock.
fn read(hub: &EngineHub, stop: &AtomicBool, maintains: Option<&Clock>) {
    let mut told = false;
    while !stop.load(Ordering::Acquire) {
        while hub.read_cold() {}
        let Some(clock) = maintains else {
            std::thread::park();
            continue;
        };
        match hub.maintain(clock.now()) {
            Ok(true) => {
                told = false;
                continue;
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(target: "fanfare", %error, "an index was not written; it stays in memory");
            }
            Ok(false) | Err(_) => {}
        }
        std::thread::park_timeout(IDLE);
    }
}
