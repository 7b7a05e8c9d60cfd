//! Thousands of clients that resume from disk at once, and one live client meanwhile: how long its events take, beside
//! how long they take when nobody resumes; and how fast one client replays a whole log.

use crate::{AnyError, percentile};
use fanfare::{SseEvent, SseManager, Target};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8_000;
/// Live events before and during the storm.
const PAUSE: Duration = Duration::from_millis(5);

/// Serves a manager from a thread of its own.
fn serve(runtime: &tokio::runtime::Runtime, manager: &SseManager) -> Result<SocketAddr, AnyError> {
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = axum::Router::new().merge(fanfare::router(manager.clone()).allow_all());
        tokio::spawn(async move { fanfare::serve(listener, app).await });
        Ok(address)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, AnyError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// One client reads all of a log of broadcasts.
#[expect(clippy::print_stdout, reason = "the result of a bench")]
pub(crate) fn replay(manager: &SseManager, events: usize) -> Result<(), AnyError> {
    let runtime = runtime()?;
    let address = serve(&runtime, manager)?;
    let begun = Instant::now();
    let got = count_until_ping(&mut connect(address, "lastEventId=earliest")?)?;
    if got != events {
        return Err(format!("{got} events came, not {events}").into());
    }
    println!("one client replayed {events} events from disk at {:.0}/s", events as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
pub(crate) fn run(manager: &SseManager) -> Result<(), AnyError> {
    fanfare::raise_descriptor_limit();
    let runtime = runtime()?;
    let address = serve(&runtime, manager)?;
    let quiet = live(manager, address, Duration::from_secs(2), &AtomicBool::new(false))?;
    let done = Arc::new(AtomicBool::new(false));
    let storm = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let result = resume_all(address).map_err(|error| error.to_string());
            done.store(true, Ordering::Release);
            result
        })
    };
    let during = live(manager, address, Duration::from_secs(60), &done)?;
    let (took, events) = storm.join().map_err(|_| "the storm panicked")??;
    println!(
        "{CLIENTS} clients resumed with {events} events in {:.1} s; a live event took p50 {:.0} µs, p99 {:.0} µs meanwhile, p50 {:.0} µs, p99 {:.0} µs before",
        took.as_secs_f64(),
        during.0,
        during.1,
        quiet.0,
        quiet.1
    );
    Ok(())
}

fn connect(address: SocketAddr, query: &str) -> Result<TcpStream, AnyError> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/sse?{query} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n")?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// So many clients resume the quiet topics of `fair` from the oldest event, one after the other, and read until they have
/// caught up. To be watched by a profiler.
#[expect(clippy::print_stdout, reason = "how whoever profiles learns that it is over")]
pub(crate) fn resume(address: &str, clients: usize) -> Result<(), AnyError> {
    fanfare::raise_descriptor_limit();
    let address = address.parse()?;
    let mut streams = Vec::with_capacity(clients);
    for client in 0..clients {
        let mut stream = connect(address, &format!("topic=quiet-{}&lastEventId=earliest", client % 100))?;
        count_until_ping(&mut stream)?;
        streams.push(stream);
    }
    println!("resumed");
    Ok(())
}

/// Events until the ping of a client that has caught up.
fn count_until_ping(stream: &mut TcpStream) -> Result<usize, AnyError> {
    let mut buffer = vec![0; 256 * 1024];
    let (mut kept, mut events) = (Vec::new(), 0);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the stream ended".into());
        }
        kept.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&kept);
        if text.contains("event: ping") {
            return Ok(events + text.matches("event: notification").count());
        }
        // Whole lines are counted once, the last one waits.
        let end = kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        events += String::from_utf8_lossy(&kept[..end]).matches("event: notification").count();
        kept.drain(..end);
    }
}

/// Sends to one live client until the time is over or somebody is done. The middle and the 99th of 100 latencies in µs.
fn live(
    manager: &SseManager,
    address: SocketAddr,
    longest: Duration,
    done: &AtomicBool,
) -> Result<(f64, f64), AnyError> {
    let mut stream = connect(address, "userId=live")?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4_096];
    // Head and `connected` come together.
    while !String::from_utf8_lossy(&buffer).contains("event: connected") {
        _ = stream.read(&mut buffer)?;
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < longest && !done.load(Ordering::Acquire) {
        let start = Instant::now();
        manager.send(SseEvent::new("live", 1).ephemeral(), Target::user("live"))?;
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the live stream ended".into());
        }
        times.push(start.elapsed().as_secs_f64() * 1e6);
        std::thread::sleep(PAUSE);
    }
    times.sort_by(f64::total_cmp);
    Ok((percentile(&times, 50), percentile(&times, 99)))
}

/// Everybody connects with the oldest cursor and reads until it has caught up.
fn resume_all(address: SocketAddr) -> Result<(Duration, usize), AnyError> {
    let begun = Instant::now();
    let mut streams = Vec::with_capacity(CLIENTS);
    for client in 0..CLIENTS {
        let user =
            if client % 2 == 0 { format!("quiet-{}", client % 1_000) } else { format!("busy-{}", client % 5_000) };
        streams.push(connect(address, &format!("userId={user}&lastEventId=earliest"))?);
    }
    let mut events = 0;
    for stream in &mut streams {
        events += count_until_ping(stream)?;
    }
    Ok((begun.elapsed(), events))
}
