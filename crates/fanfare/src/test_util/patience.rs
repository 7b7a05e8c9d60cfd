//! Waiting with a deadline, without the runtime's clock: with tokio's paused, its timers run as soon as nothing else
//! does, and what an assertion waits for comes from another thread.

use crate::lock::lock;
use std::future::poll_fn;
use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long what an assertion expects may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a condition is looked at that nobody tells of.
const LOOK: Duration = Duration::from_millis(2);

/// Wakes the task every so often, until it is dropped.
struct Alarm {
    set_at: Instant,
    task: Arc<Mutex<Waker>>,
    _stop: SyncSender<()>,
}

impl Alarm {
    fn set(every: Duration, task: &Waker) -> Self {
        let task = Arc::new(Mutex::new(task.clone()));
        let (stop, stopped) = sync_channel(0);
        let wakes = Arc::clone(&task);
        std::thread::spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                lock(&wakes).wake_by_ref();
            }
        });
        Self { set_at: Instant::now(), task, _stop: stop }
    }
}

async fn wait<T>(every: Duration, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let mut alarm: Option<Alarm> = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = poll(context) {
            return Poll::Ready(Some(value));
        }
        let alarm = alarm.get_or_insert_with(|| Alarm::set(every, context.waker()));
        if alarm.set_at.elapsed() >= PATIENCE {
            return Poll::Ready(None);
        }
        lock(&alarm.task).clone_from(context.waker());
        Poll::Pending
    })
    .await
}

/// What is polled, which says itself when it is ready; `None` where it takes too long.
pub(super) async fn ready<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    wait(PATIENCE, poll).await
}

/// What is found, looked for again and again; `None` where it takes too long.
pub(super) async fn found<T>(mut find: impl FnMut() -> Option<T>) -> Option<T> {
    wait(LOOK, |_| find().map_or(Poll::Pending, Poll::Ready)).await
}

/// Fails a test. The place is the line of the test: a panic in an async function would name one of ours.
pub(super) fn fail(caller: &Location<'_>, what: impl std::fmt::Display) -> ! {
    panic!("{what}\n  expected at {caller}")
}
