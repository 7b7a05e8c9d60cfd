//! A send to one user while the shard has a thread of its own, as in the library: awake, and asleep in its poller.

use super::world::{Null, WRITES, World, publish, user};
use crate::{AnyError, percentile};
use fanfare_core::{Now, Shard, Target, Turn};
use mio::{Events, Poll, Token, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sends measured with the shard awake; a fifth of them with the shard asleep.
const SENDS: usize = 20_000;
/// Long enough for the shard to have gone to sleep again.
const PAUSE: Duration = Duration::from_micros(200);

/// From the call to the write, seen from the calling thread, in microseconds: awake p50 and p99, asleep p50 and p99.
pub(super) fn one_user(mut world: World, clients: usize) -> Result<(World, [f64; 4]), AnyError> {
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    let wake = Arc::clone(&waker);
    world.hub.set_wake(0, move || _ = wake.wake());
    let (stop, sleeps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (stopped, may_sleep, now, mut shard) = (Arc::clone(&stop), Arc::clone(&sleeps), world.now, world.shard);
    let thread = std::thread::spawn(move || {
        let mut events = Events::with_capacity(16);
        while !stopped.load(Ordering::Acquire) {
            if turn(&mut shard, now) && may_sleep.load(Ordering::Relaxed) && shard.fall_asleep() {
                let polled = poll.poll(&mut events, None);
                shard.wake_up();
                if polled.is_err() {
                    break;
                }
            }
        }
        shard
    });
    let send = |number: usize| -> Result<f64, AnyError> {
        let target = user(number.wrapping_mul(7_919) % clients)?;
        let before = WRITES.load(Ordering::Acquire);
        let begin = Instant::now();
        publish(&world.hub, &world.event, &target, now);
        while WRITES.load(Ordering::Acquire) == before {
            std::hint::spin_loop();
        }
        Ok(begin.elapsed().as_secs_f64() * 1e6)
    };
    let measure = |sends: usize, pause: Duration| -> Result<[f64; 2], AnyError> {
        let mut found = Vec::with_capacity(sends);
        for number in 0..sends {
            let begin = Instant::now();
            while begin.elapsed() < pause {
                std::hint::spin_loop();
            }
            found.push(send(number)?);
        }
        found.sort_by(f64::total_cmp);
        Ok([percentile(&found, 50), percentile(&found, 99)])
    };
    let awake = measure(SENDS, Duration::from_micros(1));
    sleeps.store(true, Ordering::Release);
    let asleep = measure(SENDS / 5, PAUSE);
    stop.store(true, Ordering::Release);
    waker.wake()?;
    world.shard = thread.join().map_err(|_| "the shard's thread panicked")?;
    let ([awake, awake_p99], [asleep, asleep_p99]) = (awake?, asleep?);
    Ok((world, [awake, awake_p99, asleep, asleep_p99]))
}

/// True if there is nothing to do.
fn turn(shard: &mut Shard<Null>, now: Now) -> bool {
    shard.turn(now) != Turn::Busy
}

/// The same in one thread, which publishes and then turns: the work alone, without what two cores say to each other.
pub(super) fn one_user_alone(world: &mut World, clients: usize) -> Result<[f64; 2], AnyError> {
    let targets: Result<Vec<Target>, AnyError> = (0..SENDS).map(|n| user(n.wrapping_mul(7_919) % clients)).collect();
    let mut found = Vec::with_capacity(SENDS);
    for target in targets? {
        let before = WRITES.load(Ordering::Relaxed);
        let begin = Instant::now();
        world.publish(&target);
        _ = world.shard.turn(world.now);
        found.push(begin.elapsed().as_secs_f64() * 1e6);
        if WRITES.load(Ordering::Relaxed) != before + 1 {
            return Err("a send to one user was not written in one turn".into());
        }
    }
    found.sort_by(f64::total_cmp);
    Ok([percentile(&found, 50), percentile(&found, 99)])
}
