//! What keeping events on disk costs: publishes by one, eight and 64 at a time and in batches, beside redb with a group
//! commit of the same shape and beside a bare write with `fdatasync`; then opening, replaying and resuming over logs of
//! several lengths.
//!
//! `cargo run --release -p fanfare-bench -- durable [--dir target/bench-durable] [--seconds 3] [--events 1000000]`

use crate::redb_log::RedbLog;
use crate::storm;
use crate::{AnyError, median, percentile};
use fanfare::{ConnectionOptions, SseConfig, SseEvent, SseManager, Target};
use futures_core::Stream as _;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// About what a notification has: with type, id and target some 200 bytes on disk.
const DATA: &str = r#"{"message":"the quick brown fox jumps over the lazy dog again","n":12345}"#;
/// Users that resume, each with ten events of its own in every log.
const QUIET_USERS: usize = 500;
const QUIET_EVENTS: usize = 10;
/// Half of them are the quiet users'.
const MIN_EVENTS: usize = 2 * QUIET_USERS * QUIET_EVENTS;

pub(crate) struct Plan {
    pub(crate) directory: PathBuf,
    pub(crate) duration: Duration,
    pub(crate) events: usize,
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
pub(crate) fn run(plan: &Plan) -> Result<(), AnyError> {
    std::fs::create_dir_all(&plan.directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let syncs = bare_syncs(&plan.directory, plan.duration)?;
    println!("bare write of 256 bytes and fdatasync: {syncs:.0}/s\n");
    println!("durable publishes       fanfare                              redb");
    for (publishers, batch) in [(1, 1), (8, 1), (64, 1), (1, 100), (8, 100), (1, 1_000)] {
        let mut lines = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            let manager = open(&fresh(&plan.directory, "fanfare")?)?;
            lines[0].push(runtime.block_on(publish(publishers, plan.duration, batch, move |batch| {
                let manager = manager.clone();
                async move {
                    let events = (0..batch).map(|n| (event(), Target::user(format!("user-{n}")))).collect();
                    manager.publish_batch(events).await.map(|_| ()).map_err(|error| error.to_string())
                }
            }))?);
            let log = Arc::new(RedbLog::open(&fresh(&plan.directory, "redb")?)?);
            lines[1].push(runtime.block_on(publish(publishers, plan.duration, batch, move |batch| {
                let log = Arc::clone(&log);
                async move { log.append((0..batch).map(|n| (format!("user-{n}"), DATA.to_owned())).collect()).await }
            }))?);
        }
        let show = |runs: &[Rate]| {
            let of = |value: fn(&Rate) -> f64| median(runs.iter().map(value));
            format!("{:8.0}/s, p50 {:6.0} µs, p99 {:6.0} µs", of(|r| r.per_second), of(|r| r.p50_us), of(|r| r.p99_us))
        };
        println!("{publishers:3} at once, {batch:4} each  {}   {}", show(&lines[0]), show(&lines[1]));
    }
    println!();
    for events in [plan.events / 100, plan.events / 10, plan.events].map(|events| events.max(MIN_EVENTS)) {
        runtime.block_on(over_a_log(plan, events))?;
    }
    storm::run(&open(&plan.directory.join("fanfare"))?)?;
    replay(&runtime, plan)?;
    std::fs::remove_dir_all(&plan.directory)?;
    Ok(())
}

fn event() -> SseEvent {
    let data = serde_json::json!({ "message": "the quick brown fox jumps over the lazy dog again", "n": 12_345 });
    SseEvent::new("notification", data)
}

fn fresh(directory: &Path, name: &str) -> Result<PathBuf, AnyError> {
    let path = directory.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn open(path: &Path) -> Result<SseManager, AnyError> {
    Ok(SseManager::new(SseConfig {
        data_dir: Some(path.to_owned()),
        enable_logging: false,
        max_clients: 20_000,
        ..SseConfig::default()
    })?)
}

/// How often the disk can be synced at all.
fn bare_syncs(directory: &Path, duration: Duration) -> Result<f64, AnyError> {
    use std::os::unix::fs::FileExt as _;
    let path = directory.join("bare");
    let file = std::fs::File::create(&path)?;
    file.write_all_at(&vec![0; 16 << 20], 0)?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut count = 0u32;
    while begun.elapsed() < duration {
        file.write_all_at(&[b'x'; 256], u64::from(count % 65_536) * 256)?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

struct Rate {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

/// So many publishers, each of which waits for its answer before it goes on.
async fn publish<F: Future<Output = Result<(), String>> + 'static>(
    publishers: usize,
    duration: Duration,
    batch: usize,
    once: impl Fn(usize) -> F + Clone + 'static,
) -> Result<Rate, AnyError> {
    let begun = Instant::now();
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..publishers)
        .map(|_| {
            let once = once.clone();
            local.spawn_local(async move {
                let mut times = Vec::new();
                while begun.elapsed() < duration {
                    let start = Instant::now();
                    once(batch).await?;
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                Ok::<_, String>(times)
            })
        })
        .collect();
    local.await;
    let elapsed = begun.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    times.sort_by(f64::total_cmp);
    Ok(Rate {
        per_second: (times.len() * batch) as f64 / elapsed,
        p50_us: percentile(&times, 50),
        p99_us: percentile(&times, 99),
    })
}

/// Opening, replaying and resuming over a log of so many events, ten of which are each quiet user's.
#[expect(clippy::print_stdout, reason = "the result of a bench")]
async fn over_a_log(plan: &Plan, events: usize) -> Result<(), AnyError> {
    let path = fresh(&plan.directory, "fanfare")?;
    let redb_path = fresh(&plan.directory, "redb")?;
    let manager = open(&path)?;
    let redb = RedbLog::open(&redb_path)?;
    let quiet = (QUIET_USERS * QUIET_EVENTS).min(events / 2);
    // Spread evenly: every so many events one of a quiet user, the users in turn.
    let every = events / quiet;
    for start in (0..events).step_by(1_000) {
        let name = |n: usize| match n % every {
            0 => format!("quiet-{}", n / every % QUIET_USERS),
            _ => format!("busy-{}", n % 5_000),
        };
        let batch = start..(start + 1_000).min(events);
        manager.publish_batch(batch.clone().map(|n| (event(), Target::user(name(n)))).collect()).await?;
        redb.append(batch.map(|n| (name(n), DATA.to_owned())).collect()).await?;
    }
    let bytes = directory_bytes(&path)?;
    let redb_bytes = directory_bytes(&redb_path)?;
    drop((manager, redb));
    let begun = Instant::now();
    let manager = open(&path)?;
    let opened = begun.elapsed();
    let begun = Instant::now();
    let redb = RedbLog::open(&redb_path)?;
    let redb_opened = begun.elapsed();
    let own = quiet / QUIET_USERS;
    let mut times = Vec::new();
    let mut redb_times = Vec::new();
    for user in 0..QUIET_USERS {
        let begun = Instant::now();
        let got = resume(&manager, &format!("quiet-{user}")).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        let begun = Instant::now();
        let redb_got = redb.read(&format!("quiet-{user}"))?;
        redb_times.push(begun.elapsed().as_secs_f64() * 1e6);
        if got != own || redb_got != own {
            return Err(format!("{got} and {redb_got} events came, not {own}").into());
        }
    }
    println!(
        "{events:8} events: {:4.0} B each (redb {:4.0}); opened in {:4.0} ms (redb {:4.0}); a resume with {own} events of its own {:4.0} µs (redb, read alone {:4.0})",
        bytes as f64 / events as f64,
        redb_bytes as f64 / events as f64,
        opened.as_secs_f64() * 1e3,
        redb_opened.as_secs_f64() * 1e3,
        median(times.into_iter()),
        median(redb_times.into_iter()),
    );
    Ok(())
}

/// A log of broadcasts, opened anew so that memory has none of it, and read by one client.
fn replay(runtime: &tokio::runtime::Runtime, plan: &Plan) -> Result<(), AnyError> {
    let path = fresh(&plan.directory, "fanfare")?;
    let manager = open(&path)?;
    let events = plan.events / 1_000 * 1_000;
    for _ in 0..events / 1_000 {
        runtime.block_on(manager.publish_batch((0..1_000).map(|_| (event(), Target::All)).collect()))?;
    }
    drop(manager);
    storm::replay(&open(&path)?, events)
}

fn directory_bytes(path: &Path) -> Result<u64, AnyError> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// A connection in process that begins with the oldest event: its events until it has caught up.
async fn resume(manager: &SseManager, user: &str) -> Result<usize, AnyError> {
    let options = ConnectionOptions {
        user_id: Some(user.to_owned()),
        last_event_id: Some("earliest".to_owned()),
        ..ConnectionOptions::default()
    };
    let mut connection = manager.create_connection(options)?;
    let mut events = 0;
    loop {
        let event =
            poll_fn(|context| Pin::new(&mut connection).poll_next(context)).await.ok_or("the stream ended")??;
        match event.event.as_str() {
            "notification" => events += 1,
            "ping" => return Ok(events),
            _ => {}
        }
    }
}
