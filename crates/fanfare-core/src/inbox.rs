//! A shard's inbox: a queue that many fill and one empties, and the protocol by which that one goes to sleep.
//!
//! A sleeper sets its flag, fences, and looks once more; a filler puts its message in, fences, and reads the
//! flag. One of the two sees the other, so no message waits for a sleeper (the loom test below).

use crate::sync::{AtomicBool, Mutex, Ordering, fence, lock};

#[derive(Debug)]
pub(crate) struct Inbox<Q> {
    queue: Mutex<Q>,
    asleep: AtomicBool,
}

/// What an inbox holds.
pub(crate) trait Queue: Default {
    fn is_empty(&self) -> bool;
}

impl<Q: Queue> Inbox<Q> {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(Q::default()), asleep: AtomicBool::new(false) }
    }

    /// Puts something in. The caller then asks [`Inbox::claim_wake`], after it has let go of its own locks.
    pub(crate) fn fill<R>(&self, put: impl FnOnce(&mut Q) -> R) -> R {
        put(&mut lock(&self.queue))
    }

    /// True if the owner sleeps and it is for this caller to wake it.
    pub(crate) fn claim_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }

    /// Takes everything, leaving `empty` in its place, whose memory is used again.
    pub(crate) fn take(&self, empty: Q) -> Q {
        core::mem::replace(&mut *lock(&self.queue), empty)
    }

    /// The owner's last step before it blocks. False if there is something to do after all.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if lock(&self.queue).is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// The owner's first step after it blocked, whatever ended the sleep.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl<T> Queue for Vec<T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// The poller, as far as sleeping goes: a wake before the wait is not lost. It spins, so that a sleeper that
    /// nobody wakes shows as a model that never ends. (loom's `park` loses an `unpark` that comes while the thread
    /// waits for a mutex, which no real one does.)
    #[derive(Default)]
    struct Poller(Mutex<bool>);

    impl Poller {
        fn wait(&self) {
            while !core::mem::take(&mut *lock(&self.0)) {
                thread::yield_now();
            }
        }

        fn wake(&self) {
            *lock(&self.0) = true;
        }
    }

    /// Without the second look in `fall_asleep`, or with the flag set after it, loom finds the sleeper that
    /// is never woken.
    #[test]
    fn no_message_waits_for_a_sleeper() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let inbox = Arc::new(Inbox::<Vec<u32>>::new());
            let poller = Arc::new(Poller::default());
            let fillers: Vec<_> = (0..2)
                .map(|number| {
                    let (inbox, poller) = (Arc::clone(&inbox), Arc::clone(&poller));
                    thread::spawn(move || {
                        inbox.fill(|queue| queue.push(number));
                        if inbox.claim_wake() {
                            poller.wake();
                        }
                    })
                })
                .collect();
            let mut received = 0;
            while received < 2 {
                received += inbox.take(Vec::new()).len();
                if received < 2 && inbox.fall_asleep() {
                    poller.wait();
                    inbox.wake_up();
                }
            }
            for filler in fillers {
                filler.join().unwrap();
            }
        });
    }
}
