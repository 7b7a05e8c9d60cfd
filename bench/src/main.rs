//! What an idle subscriber and a paced delivery cost, beside the floor: a bare `write` for each delivery.
//!
//! `cargo run --release -p fanfare-bench [-- --clients 10000 --rounds 3]`. The parent starts one server process and one
//! process of subscribers at a time, pinned to a core each where `taskset` is there, and reads what the kernel counted
//! for the server. Floor and Fanfare alternate, so that a noisy minute hits both. `durable` in front of the options
//! measures the log on disk instead, `fair` whether a hot topic delays a quiet one, `scale` the engine with up to a million
//! connections and no sockets.

mod counting;
mod durable;
mod fair;
mod floor;
mod hub;
mod measure;
mod redb_log;
mod scale;
mod storm;
mod subscribers;

use measure::{Child, Usage};
use std::error::Error;
use std::time::Duration;

/// What is measured, and how much of it.
#[derive(Debug, Clone, Copy)]
struct Plan {
    clients: usize,
    rounds: usize,
    /// Events published in one paced measurement.
    events: usize,
    /// Time from one paced event to the next.
    pause: Duration,
    /// Events published in one saturated measurement.
    burst: usize,
}

/// One server's figures of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    idle_bytes: f64,
    connect_us: f64,
    paced_us: f64,
    burst_us: f64,
    burst_per_second: f64,
}

type AnyError = Box<dyn Error>;

#[expect(clippy::print_stdout, reason = "the result of a bench")]
fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve-floor") => return floor::serve(number(&arguments, 1)?),
        Some("serve-fanfare") => return hub::serve(),
        Some("scale") => return scale::run(&arguments[1..]),
        Some("scale-at") => return scale::measure_at(number(&arguments, 1)?),
        Some("serve-fair") => return fair::serve(),
        Some("fair-quiet") => return fair::quiet(argument(&arguments, 1)?, number(&arguments, 2)?),
        Some("fair-hot") => return fair::hot(argument(&arguments, 1)?, number(&arguments, 2)?),
        Some("resume") => return storm::resume(argument(&arguments, 1)?, number(&arguments, 2)?),
        Some("subscribe") => return subscribers::run(&arguments[1], number(&arguments, 2)?),
        _ => {}
    }
    let option = |name: &str, default: usize| -> Result<usize, AnyError> {
        match arguments.iter().position(|argument| argument == name) {
            Some(index) => number(&arguments, index + 1),
            None => Ok(default),
        }
    };
    if arguments.first().is_some_and(|first| first == "durable") {
        let directory = arguments.iter().position(|argument| argument == "--dir").map(|index| arguments.get(index + 1));
        let directory = directory.flatten().map_or("target/bench-durable", String::as_str).into();
        let duration = Duration::from_secs(option("--seconds", 3)? as u64);
        return durable::run(&durable::Plan { directory, duration, events: option("--events", 1_000_000)? });
    }
    if arguments.first().is_some_and(|first| first == "fair") {
        let listed = arguments.iter().position(|argument| argument == "--hot-subscribers");
        let listed = listed.map_or(Ok("1,10,100"), |index| argument(&arguments, index + 1))?;
        let hot_subscribers = listed.split(',').map(|text| number(&[text.to_owned()], 0)).collect::<Result<_, _>>()?;
        return fair::run(&fair::Plan {
            hot: option("--hot", 50_000)? as u64,
            hot_subscribers,
            seconds: option("--seconds", 10)? as u64,
            rounds: option("--rounds", 3)?,
        });
    }
    let clients = option("--clients", 10_000)?;
    let plan = Plan {
        clients,
        rounds: option("--rounds", 3)?,
        events: option("--events", 50)?,
        pause: Duration::from_millis(option("--pause-ms", 200)? as u64),
        burst: option("--burst", 500)?,
    };
    println!(
        "{} subscribers with user, session, two metadata pairs and a topic; {} events of 128 bytes, one every {} ms",
        plan.clients,
        plan.events,
        plan.pause.as_millis()
    );
    let mut figures: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=plan.rounds {
        for (index, name) in ["floor", "fanfare"].into_iter().enumerate() {
            // A write for each delivery takes its time: a tenth of the burst tells as much.
            let burst = if name == "floor" { (plan.burst / 10).max(1) } else { plan.burst };
            let found = measure_one(name, Plan { burst, ..plan })?;
            println!(
                "round {round} {name:8} {:7.0} B idle, {:6.1} µs/connect, {:6.2} µs/delivery paced, {:6.3} µs/delivery saturated, {:9.0}/s",
                found.idle_bytes, found.connect_us, found.paced_us, found.burst_us, found.burst_per_second
            );
            figures[index].push(found);
        }
    }
    let [floor, fanfare] = figures;
    let paced = |all: &[Figures]| median(all.iter().map(|figures| figures.paced_us));
    println!("\nmedians of {} rounds", plan.rounds);
    println!(
        "memory per idle subscriber: {:.0} B (bar 1024, floor {:.0})",
        median(fanfare.iter().map(|f| f.idle_bytes)),
        median(floor.iter().map(|f| f.idle_bytes))
    );
    println!("server CPU per connect: {:.1} µs (bar 60)", median(fanfare.iter().map(|f| f.connect_us)));
    println!(
        "server CPU per paced delivery: {:.2} µs, {:.3} times the floor's {:.2} (bar 1.15)",
        paced(&fanfare),
        paced(&fanfare) / paced(&floor),
        paced(&floor)
    );
    println!(
        "saturated broadcast: {:.2} M/s at {:.3} µs each",
        median(fanfare.iter().map(|f| f.burst_per_second)) / 1e6,
        median(fanfare.iter().map(|f| f.burst_us))
    );
    Ok(())
}

fn argument(arguments: &[String], index: usize) -> Result<&str, AnyError> {
    Ok(arguments.get(index).ok_or("an option needs a value behind it")?)
}

fn number(arguments: &[String], index: usize) -> Result<usize, AnyError> {
    let text = arguments.get(index).ok_or("an option needs a number behind it")?;
    Ok(text.parse().map_err(|_| format!("{text:?} is not a number"))?)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Starts a server and its subscribers, and measures the server.
fn measure_one(name: &str, plan: Plan) -> Result<Figures, AnyError> {
    let clients = plan.clients.to_string();
    let mut server = Child::start(0, &[&format!("serve-{name}"), &clients])?;
    let address = server.line()?;
    let before = server.settled_memory()?;
    let connecting = server.usage()?;
    let mut subscribers = Child::start(1, &["subscribe", &address, &clients])?;
    subscribers.expect("connected")?;
    let connected = server.usage()?;
    let after = server.settled_memory()?;

    let per_delivery = |usage: Usage, events: usize| usage.cpu_us / (plan.clients * events) as f64;
    let mut published = plan.events;
    // A first event warms caches and shows that everybody is there.
    server.say("publish 1 0")?;
    subscribers.say("until 1")?;
    subscribers.expect("received")?;
    let start = server.usage()?;
    server.say(&format!("publish {} {}", plan.events, plan.pause.as_micros()))?;
    subscribers.say(&format!("until {}", 1 + published))?;
    subscribers.expect("received")?;
    let paced = server.usage()?.since(start);

    let start = server.usage()?;
    let clock = std::time::Instant::now();
    server.say(&format!("publish {} 0", plan.burst))?;
    published += plan.burst;
    subscribers.say(&format!("until {}", 1 + published))?;
    subscribers.expect("received")?;
    let elapsed = clock.elapsed();
    let burst = server.usage()?.since(start);
    Ok(Figures {
        idle_bytes: (after as f64 - before as f64) / plan.clients as f64,
        connect_us: connected.since(connecting).cpu_us / plan.clients as f64,
        paced_us: per_delivery(paced, plan.events),
        burst_us: per_delivery(burst, plan.burst),
        burst_per_second: (plan.clients * plan.burst) as f64 / elapsed.as_secs_f64(),
    })
}

/// The value below which so many in a hundred of the sorted values are.
fn percentile(sorted: &[f64], per_cent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * per_cent / 100).copied().unwrap_or(f64::NAN)
}
