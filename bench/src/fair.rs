//! Whether a hot topic delays a quiet one: how long events of quiet topics take from the call that publishes them to the
//! client that reads them, alone and beside a topic of tens of thousands of events a second.
//!
//! `cargo run --release -p fanfare-bench -- fair [--hot 50000] [--hot-subscribers 1,10,100] [--seconds 10] [--rounds 3]`.
//! The server and both publishers are one process, pinned to a core; the hot subscribers and the quiet ones are a process
//! each, on the other core. Alone and beside alternate, so that a noisy minute hits both.

use crate::measure::{Child, EVENT_DATA};
use crate::{AnyError, median, percentile};
use fanfare::{SseConfig, SseEvent, SseManager, Target};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::value::RawValue;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Each gets one event a second, at a moment of its own in each second.
const QUIET_TOPICS: usize = 100;
const QUIET_SUBSCRIBERS: usize = 3;
/// The hot events come evenly: so many times a second, a few each time.
const STEPS: u64 = 1_000;
/// No event for so long means that one was lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Between looks whether everything has arrived.
const LOOK: Duration = Duration::from_millis(50);
const TICK: &str = "event: tick\ndata: ";

pub(crate) struct Plan {
    /// Events a second of the hot topic.
    pub(crate) hot: u64,
    pub(crate) hot_subscribers: Vec<usize>,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
}

/// What one measurement found.
#[derive(Debug, Clone, Copy)]
struct Found {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// Hot events published, and delivered to each subscriber, a second.
    hot_published: f64,
    hot_delivered: f64,
    /// Hot deliveries that were owed and did not happen.
    hot_lost: u64,
    /// The latest that a step of hot events began.
    hot_late_us: u64,
    /// Of the server's process, publishers included.
    cpu: f64,
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
pub(crate) fn run(plan: &Plan) -> Result<(), AnyError> {
    println!(
        "{QUIET_TOPICS} quiet topics of one event a second and {QUIET_SUBSCRIBERS} subscribers each, {} s; beside a hot topic of {} events of 128 bytes a second",
        plan.seconds, plan.hot
    );
    let mut quiet = Vec::new();
    let mut beside: Vec<Vec<Found>> = vec![Vec::new(); plan.hot_subscribers.len()];
    for round in 1..=plan.rounds {
        for (index, subscribers) in plan.hot_subscribers.iter().enumerate() {
            let alone = measure(plan, 0)?;
            let found = measure(plan, *subscribers)?;
            println!(
                "round {round} alone                p50 {:4.0} µs, p99 {:5.0} µs, max {:6.0} µs",
                alone.p50_us, alone.p99_us, alone.max_us
            );
            println!(
                "round {round} beside {subscribers:5} readers p50 {:4.0} µs, p99 {:5.0} µs, max {:6.0} µs; hot {:.0}/s to each, {} lost, at most {} µs late, server {:.0} % of a core",
                found.p50_us,
                found.p99_us,
                found.max_us,
                found.hot_delivered,
                found.hot_lost,
                found.hot_late_us,
                found.cpu * 100.0
            );
            quiet.push(alone);
            beside[index].push(found);
        }
    }
    println!("\nmedians of {} rounds: the quiet topics' latency, from the call to the client", plan.rounds);
    let middle = |all: &[Found], value: fn(&Found) -> f64| median(all.iter().map(value));
    println!(
        "alone                p50 {:4.0} µs, p99 {:5.0} µs, max {:6.0} µs",
        middle(&quiet, |f| f.p50_us),
        middle(&quiet, |f| f.p99_us),
        middle(&quiet, |f| f.max_us)
    );
    for (subscribers, found) in plan.hot_subscribers.iter().zip(&beside) {
        println!(
            "beside {subscribers:5} readers p50 {:4.0} µs, p99 {:5.0} µs, max {:6.0} µs: p99 {:.2} times alone (bar 2); hot {:.0} published, {:.0} deliveries a second, {:.0} lost",
            middle(found, |f| f.p50_us),
            middle(found, |f| f.p99_us),
            middle(found, |f| f.max_us),
            middle(found, |f| f.p99_us) / middle(&quiet, |f| f.p99_us),
            middle(found, |f| f.hot_published),
            middle(found, |f| f.hot_delivered) * *subscribers as f64,
            median(found.iter().map(|f| f.hot_lost as f64)),
        );
    }
    Ok(())
}

fn measure(plan: &Plan, hot_subscribers: usize) -> Result<Found, AnyError> {
    let mut server = Child::start(0, &["serve-fair"])?;
    let address = server.line()?;
    let quiet_events = QUIET_TOPICS * plan.seconds as usize;
    let quiet_deliveries = quiet_events * QUIET_SUBSCRIBERS;
    let mut quiet = Child::start_first(1, &["fair-quiet", &address, &quiet_deliveries.to_string()])?;
    quiet.expect("connected")?;
    let mut hot = Child::start(1, &["fair-hot", &address, &hot_subscribers.to_string()])?;
    hot.expect("connected")?;
    let before = server.usage()?;
    let rate = if hot_subscribers == 0 { 0 } else { plan.hot };
    server.say(&format!("run {} {rate}", plan.seconds))?;
    let [published, late_us, elapsed_us] = numbers(&server.line()?)?;
    let cpu_us = server.usage()?.since(before).cpu_us;
    let line = quiet.line()?;
    let (times, bytes) = line.rsplit_once(' ').ok_or_else(|| format!("half a line: {line:?}"))?;
    let quiet_bytes: u64 = bytes.parse()?;
    let times: Vec<f64> = times.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [p50_us, p99_us, max_us] = times[..] else { return Err(format!("half a line: {line:?}").into()) };
    // What was written is read, too: the readers were not what it waited for.
    let begun = Instant::now();
    let delivered = loop {
        std::thread::sleep(LOOK);
        hot.say("bytes")?;
        let [read] = numbers(&hot.line()?)?;
        server.say("sent")?;
        let [events, bytes] = numbers(&server.line()?)?;
        let owed = published * hot_subscribers as u64 + quiet_deliveries as u64;
        if read + quiet_bytes == bytes && (events == owed || begun.elapsed() > SILENCE / 2) {
            break events - quiet_deliveries as u64;
        }
        if begun.elapsed() > SILENCE {
            return Err(format!("{bytes} bytes were written, {read} and {quiet_bytes} read").into());
        }
    };
    let seconds = elapsed_us as f64 / 1e6;
    Ok(Found {
        p50_us,
        p99_us,
        max_us,
        hot_published: published as f64 / seconds,
        hot_delivered: delivered as f64 / hot_subscribers.max(1) as f64 / seconds,
        hot_lost: published * hot_subscribers as u64 - delivered,
        hot_late_us: late_us,
        cpu: cpu_us / elapsed_us as f64,
    })
}

fn numbers<const N: usize>(line: &str) -> Result<[u64; N], AnyError> {
    let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
    Ok(numbers?.try_into().map_err(|_| format!("not {N} numbers: {line:?}"))?)
}

/// A server, and what publishes in it when it is told to.
#[expect(clippy::print_stdout, reason = "how the parent learns what happened")]
pub(crate) fn serve() -> Result<(), AnyError> {
    fanfare::raise_descriptor_limit();
    // No heartbeats: every byte is one of an event, and is counted on both sides.
    let manager = SseManager::new(SseConfig {
        ping_interval: Duration::from_secs(36_000),
        client_timeout: Duration::from_secs(72_000),
        enable_logging: false,
        ..SseConfig::default()
    })?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let app = axum::Router::new().merge(fanfare::router(manager.clone()).allow_all());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { fanfare::serve(tokio::net::TcpListener::from_std(listener)?, app).await })
    });
    for line in std::io::stdin().lines() {
        let line = line?;
        if line == "sent" {
            let stats = manager.stats();
            println!("{} {}", stats.total_events_sent, stats.total_bytes_sent);
            continue;
        }
        let [seconds, rate] = numbers(line.trim_start_matches("run "))?;
        let begun = Instant::now();
        let quiet = {
            let manager = manager.clone();
            std::thread::spawn(move || publish_quiet(&manager, begun, seconds).map_err(|error| error.to_string()))
        };
        let (published, late) = publish_hot(&manager, begun, seconds, rate)?;
        quiet.join().map_err(|_| "the quiet publisher panicked")??;
        println!("{published} {} {}", late.as_micros(), begun.elapsed().as_micros());
    }
    Ok(())
}

fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// The same number of events in each step. A step that is late is not left out. Returns the events and the latest step's
/// lateness.
fn publish_hot(manager: &SseManager, begun: Instant, seconds: u64, rate: u64) -> Result<(u64, Duration), AnyError> {
    let data: Box<RawValue> = RawValue::from_string(EVENT_DATA.to_owned())?;
    let mut latest = Duration::ZERO;
    let mut published = 0;
    for step in 0..seconds * STEPS {
        if rate > 0 {
            let due = begun + Duration::from_secs(1) * step as u32 / STEPS as u32;
            sleep_until(due);
            latest = latest.max(due.elapsed());
        }
        while published < rate * (step + 1) / STEPS {
            manager.send(SseEvent::from_json("announcement", &data), Target::topic("hot"))?;
            published += 1;
        }
    }
    Ok((published, latest))
}

/// In each second each topic once, at a moment that nothing else knows. An event is when it was published.
fn publish_quiet(manager: &SseManager, begun: Instant, seconds: u64) -> Result<(), AnyError> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut dues: Vec<(u64, usize)> = Vec::new();
    for second in 0..seconds {
        for topic in 0..QUIET_TOPICS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            dues.push((second * 1_000_000 + random % 1_000_000, topic));
        }
    }
    dues.sort_unstable();
    for (due_us, topic) in dues {
        sleep_until(begun + Duration::from_micros(due_us));
        let target = Target::topic(format!("quiet-{topic}"));
        manager.send(SseEvent::new("tick", unix_ns()?), target)?;
    }
    Ok(())
}

/// A clock that both processes read.
fn unix_ns() -> Result<u64, AnyError> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// Subscribers of every quiet topic, which read the time in each event.
#[expect(clippy::print_stdout, reason = "how the parent learns the result")]
pub(crate) fn quiet(address: &str, deliveries: usize) -> Result<(), AnyError> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    let mut bytes = 0;
    for subscriber in 0..QUIET_TOPICS * QUIET_SUBSCRIBERS {
        let topic = format!("quiet-{}", subscriber % QUIET_TOPICS);
        let (stream, greeting) = connect(address, &topic, Token(subscriber), &poll)?;
        bytes += greeting;
        streams.push((stream, Vec::new()));
    }
    println!("connected");
    let mut events = Events::with_capacity(1_024);
    let mut times: Vec<f64> = Vec::with_capacity(deliveries);
    let mut buffer = [0; 4_096];
    while times.len() < deliveries {
        poll.poll(&mut events, Some(SILENCE))?;
        if events.is_empty() {
            return Err(format!("{} quiet events came, not {deliveries}", times.len()).into());
        }
        for event in &events {
            let (stream, kept) = &mut streams[event.token().0];
            while let Some(read) = read(stream, &mut buffer)? {
                let now = unix_ns()?;
                bytes += read;
                kept.extend_from_slice(&buffer[..read]);
                while let Some(end) = kept.windows(2).position(|two| two == b"\n\n") {
                    let frame = std::str::from_utf8(&kept[..end])?;
                    if let Some((_, sent)) = frame.split_once(TICK) {
                        times.push(now.saturating_sub(sent.parse()?) as f64 / 1e3);
                    }
                    kept.drain(..end + 2);
                }
            }
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{} {} {} {bytes}", percentile(&times, 50), percentile(&times, 99), percentile(&times, 100));
    // Its sockets stay open until it is killed: a server that cleans up is not what is measured.
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

/// Subscribers of the hot topic, which throw away what they read.
#[expect(clippy::print_stdout, reason = "how the parent learns the result")]
pub(crate) fn hot(address: &str, subscribers: usize) -> Result<(), AnyError> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    let total = Arc::new(AtomicU64::new(0));
    for subscriber in 0..subscribers {
        let (stream, greeting) = connect(address, "hot", Token(subscriber), &poll)?;
        total.fetch_add(greeting as u64, Ordering::Relaxed);
        streams.push(stream);
    }
    println!("connected");
    let counted = Arc::clone(&total);
    std::thread::spawn(move || -> Result<(), String> {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            poll.poll(&mut events, None).map_err(|error| error.to_string())?;
            for event in &events {
                while let Some(read) =
                    read(&mut streams[event.token().0], &mut buffer).map_err(|error| error.to_string())?
                {
                    counted.fetch_add(read as u64, Ordering::Relaxed);
                }
            }
        }
    });
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", total.load(Ordering::Relaxed));
    }
    Ok(())
}

/// A subscriber of a topic that has got its `connected`, and the bytes it read for that.
fn connect(address: &str, topic: &str, token: Token, poll: &Poll) -> Result<(TcpStream, usize), AnyError> {
    let address: SocketAddr = address.parse()?;
    let mut stream = std::net::TcpStream::connect(address)?;
    let head = format!("GET /api/sse?topic={topic} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut kept = Vec::new();
    let mut buffer = [0; 4_096];
    while !(kept.ends_with(b"\n\n") && String::from_utf8_lossy(&kept).contains("event: connected")) {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed a stream".into()),
            read => kept.extend_from_slice(&buffer[..read]),
        }
    }
    stream.set_nonblocking(true)?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, token, Interest::READABLE)?;
    Ok((stream, kept.len()))
}

/// `None` where there is nothing to read now.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, AnyError> {
    match stream.read(buffer) {
        Ok(0) => Err("the server closed a stream".into()),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}
