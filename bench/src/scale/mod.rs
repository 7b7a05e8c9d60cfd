//! The engine beyond what this machine has descriptors and memory for: 10,000, 100,000 and 1,000,000 connections whose
//! sinks take everything. What each step costs, and how that grows.
//!
//! `cargo run --release -p fanfare-bench -- scale [--clients 1000000] [--rounds 3] [--plot docs/images/scaling.svg]`.
//! Each size and round has a process of its own, so that no heap is another's. The kernel's part is in none of it. Of
//! the rounds the median is taken; of what is the longest in a round, the least: whoever else runs here can only add.

mod plot;
mod threads;
mod world;

use crate::{AnyError, Child, counting, median, number};
use fanfare_core::{Disconnect, Filter, Target, Token};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use world::{GONE, Spent, World, identity, name};

/// Connects between two turns of the shard: what comes together in a storm.
const TOGETHER: usize = 64;
/// Time over which everybody is told to go.
const DRAIN_MS: u64 = 60_000;

/// One line of the table.
struct Row {
    key: &'static str,
    label: &'static str,
    /// Where it is a line of the plot too: its name there. Its unit is then nanoseconds.
    plotted: Option<&'static str>,
}

impl Row {
    /// True for a round's longest or nearly longest.
    fn is_extreme(&self) -> bool {
        ["_worst", "_turn", "_p99"].iter().any(|end| self.key.ends_with(end))
    }
}

const fn row(key: &'static str, label: &'static str, plotted: Option<&'static str>) -> Row {
    Row { key, label, plotted }
}

const ROWS: &[Row] = &[
    row("rss", "resident memory of each, bytes", None),
    row("live", "of these allocated, bytes", None),
    row("connect", "mass connect, each, ns", Some("connect")),
    row("connect_worst", "longest of them, µs", None),
    row("reconnect", "everybody again after a mass disconnect, each, ns", None),
    row("one", "one user, call and write in one thread, p50, ns", Some("one user")),
    row("one_p99", "the same, p99, ns", None),
    row("awake", "one user, call to write, shard awake, p50, ns", None),
    row("awake_p99", "the same, p99, ns", None),
    row("asleep", "one user, call to write, shard asleep, p50, ns", None),
    row("asleep_p99", "the same, p99, ns", None),
    row("broadcast_call", "broadcast, the call, ns", None),
    row("broadcast", "broadcast, each delivery, ns", Some("broadcast, each delivery")),
    row("broadcast_turn", "broadcast, longest turn, µs", None),
    row("topic_call", "a topic of one in 100, the call, ns", None),
    row("topic", "a topic of one in 100, each delivery, ns", Some("topic, each delivery")),
    row("filter_call", "a filter over two pairs, one in 250, the call, µs", None),
    row("filter", "a filter over two pairs, call included, each delivery, ns", Some("filter, each delivery")),
    row("ping", "a round of heartbeats, each, ns", Some("heartbeat")),
    row("ping_turn", "a round of heartbeats, longest turn, µs", None),
    row("changing", "publish to a fifth, then one comes and one goes: each such step, µs", None),
    row("changing_bytes", "the same, bytes held by each such step", None),
    row("drain", "everybody told to go within a minute, each, ns", None),
    row("drain_turn", "the same, longest turn, µs", None),
    row("gone", "mass disconnect, each, ns", Some("disconnect")),
    row("left", "memory left of each after that, bytes", None),
];

#[expect(clippy::print_stdout, reason = "the result of a bench")]
pub(crate) fn run(arguments: &[String]) -> Result<(), AnyError> {
    let place = |name: &str| arguments.iter().position(|argument| argument == name).map(|place| place + 1);
    let largest = place("--clients").map_or(Ok(1_000_000), |place| number(arguments, place))?;
    let rounds = place("--rounds").map_or(Ok(3), |place| number(arguments, place))?;
    let sizes = [largest / 100, largest / 10, largest];
    if sizes[0] < 1_000 || rounds == 0 {
        return Err(
            "--clients is at least 100000, since a hundredth of it is measured too, and --rounds at least 1".into()
        );
    }
    let mut figures: Vec<Vec<f64>> = Vec::new();
    for size in sizes {
        let mut runs = Vec::new();
        for round in 1..=rounds {
            println!("{size} connections, round {round} of {rounds}");
            runs.push(one_run(size)?);
        }
        let of_rounds = |(index, row): (usize, &Row)| {
            let values = runs.iter().map(|run| run[index]);
            if row.is_extreme() { values.fold(f64::INFINITY, f64::min) } else { median(values) }
        };
        figures.push(ROWS.iter().enumerate().map(of_rounds).collect());
    }
    println!("\n| medians of {rounds} | {} |", sizes.map(|size| size.to_string()).join(" | "));
    println!("| --- | ---: | ---: | ---: |");
    for (index, row) in ROWS.iter().enumerate() {
        let cells: Vec<String> = figures.iter().map(|size| format!("{:.0}", size[index])).collect();
        println!("| {} | {} |", row.label, cells.join(" | "));
    }
    if let Some(path) = place("--plot") {
        let path = arguments.get(path).ok_or("--plot needs a file's name behind it")?;
        let lines: Vec<(&str, Vec<f64>)> = ROWS
            .iter()
            .enumerate()
            .filter_map(|(index, row)| Some((row.plotted?, figures.iter().map(|size| size[index]).collect())))
            .collect();
        std::fs::write(path, plot::draw(&sizes, &lines))?;
        println!("\nplot written to {path}");
    }
    Ok(())
}

/// The figures of a process of its own, in the order of the rows.
fn one_run(clients: usize) -> Result<Vec<f64>, AnyError> {
    let mut child = Child::start_anywhere(&["scale-at", &clients.to_string()])?;
    let mut found = vec![f64::NAN; ROWS.len()];
    loop {
        let line = child.line()?;
        let Some((key, value)) = line.split_once(' ') else { break };
        let index = ROWS.iter().position(|row| row.key == key).ok_or_else(|| format!("no row for {key}"))?;
        found[index] = value.parse()?;
    }
    match found.iter().position(|value| value.is_nan()) {
        Some(index) => Err(format!("nothing was measured for: {}", ROWS[index].label).into()),
        None => Ok(found),
    }
}

fn tell(key: &str, value: f64) {
    #[expect(clippy::print_stdout, reason = "how the parent learns it")]
    {
        println!("{key} {value}");
    }
}

fn nanoseconds(time: Duration, each: usize) -> f64 {
    time.as_secs_f64() * 1e9 / each as f64
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn resident() -> Result<f64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<f64>()? * 1_024.0)
}

/// Connects so many. Returns the time of all of it, and of the longest registration: for so long everybody waits, since
/// it holds the release lock.
fn connect(world: &mut World, tokens: &mut [Token]) -> Result<(Duration, Duration), AnyError> {
    let (mut total, mut worst) = (Duration::ZERO, Duration::ZERO);
    for first in (0..tokens.len()).step_by(TOGETHER) {
        let numbers = first..(first + TOGETHER).min(tokens.len());
        let identities: Result<Vec<_>, AnyError> = numbers.clone().map(identity).collect();
        let identities = identities?;
        let begin = Instant::now();
        let mut last = begin;
        for (number, identity) in numbers.zip(&identities) {
            tokens[number] = world.connect(identity)?;
            let now = Instant::now();
            worst = worst.max(now - last);
            last = now;
        }
        total += begin.elapsed() + world.settle().total;
    }
    Ok((total, worst))
}

/// Medians of so many deliveries: the call, one delivery with and without it, and the longest turn of all.
fn deliver(world: &mut World, targets: &[Target], clients: usize) -> Result<[f64; 4], AnyError> {
    let (mut calls, mut with, mut without, mut longest) = (Vec::new(), Vec::new(), Vec::new(), Duration::ZERO);
    for target in targets {
        let (call, spent) = world.deliver(target, clients)?;
        calls.push(nanoseconds(call, 1));
        with.push(nanoseconds(call + spent.total, clients));
        without.push(nanoseconds(spent.total, clients));
        longest = longest.max(spent.longest);
    }
    let [calls, with, without] = [calls, with, without].map(|values| median(values.into_iter()));
    Ok([calls, with, without, microseconds(longest)])
}

/// The child's part.
pub(crate) fn measure_at(clients: usize) -> Result<(), AnyError> {
    let mut world = World::new()?;
    let mut tokens = vec![Token(0); clients];
    tokens.fill(Token(1));
    let resident_before = resident()?;
    counting::begin();
    let live_before = counting::live();
    let live_each = || (counting::live() - live_before) as f64 / clients as f64;

    let (time, worst) = connect(&mut world, &mut tokens)?;
    tell("connect", nanoseconds(time, clients));
    tell("connect_worst", microseconds(worst));
    tell("rss", (resident()? - resident_before) / clients as f64);
    tell("live", live_each());

    let pings = world.hub.stats(world.now).pings_sent;
    let spent = world.pass(30_000);
    if world.hub.stats(world.now).pings_sent - pings != clients as u64 {
        return Err("a round of heartbeats did not reach everybody once".into());
    }
    tell("ping", nanoseconds(spent.total, clients));
    tell("ping_turn", microseconds(spent.longest));

    let [p50, p99] = threads::one_user_alone(&mut world, clients)?;
    tell("one", p50 * 1e3);
    tell("one_p99", p99 * 1e3);

    let [call, _, each, longest] = deliver(&mut world, &vec![Target::All; 11], clients)?;
    tell("broadcast_call", call);
    tell("broadcast", each);
    tell("broadcast_turn", longest);

    let topic = |number: usize| Ok(Target::Topic(name(&format!("topic-{number}"))?));
    let topics: Result<Vec<Target>, AnyError> = (0..100).map(topic).collect();
    let [call, _, each, _] = deliver(&mut world, &topics?, clients / 100)?;
    tell("topic_call", call);
    tell("topic", each);

    let filter = |page: usize| -> Result<Target, AnyError> {
        let page = (name("page")?, name(&format!("/page/{page}"))?);
        let region = (name("region")?, name("region-3")?);
        Ok(Target::Filter(Filter::new(None, None, vec![page, region])?))
    };
    let filters: Result<Vec<Target>, AnyError> = (0..50).map(filter).collect();
    let [call, each, _, _] = deliver(&mut world, &filters?, clients / 250)?;
    tell("filter_call", call / 1e3);
    tell("filter", each);

    let (world, [awake, awake_p99, asleep, asleep_p99]) = threads::one_user(world, clients)?;
    tell("awake", awake * 1e3);
    tell("awake_p99", awake_p99 * 1e3);
    tell("asleep", asleep * 1e3);
    tell("asleep_p99", asleep_p99 * 1e3);

    measure_change_and_ends(world, tokens, live_each)
}

fn measure_change_and_ends(
    mut world: World,
    mut tokens: Vec<Token>,
    live_each: impl Fn() -> f64,
) -> Result<(), AnyError> {
    let clients = tokens.len();
    let region = Filter::new(None, None, vec![(name("region")?, name("region-3")?)])?;
    let (target, newcomer) = (Target::Filter(region), identity(150)?);
    let (steps, live) = (100, counting::live());
    let mut times = Vec::new();
    for _ in 0..steps {
        let begin = Instant::now();
        world.publish(&target);
        let token = world.connect(&newcomer)?;
        world.hub.close(token, Disconnect::Gone);
        times.push(microseconds(begin.elapsed()));
        world.settle();
    }
    tell("changing", median(times.into_iter()));
    tell("changing_bytes", (counting::live() - live) as f64 / f64::from(steps));

    let ended = disconnect(&mut world, &tokens)?;
    tell("gone", nanoseconds(ended, clients));
    tell("left", live_each());
    let (time, _) = connect(&mut world, &mut tokens)?;
    tell("reconnect", nanoseconds(time, clients));

    world.hub.drain(Disconnect::Shutdown, DRAIN_MS);
    let Spent { total, longest } = world.pass(DRAIN_MS + 2_000);
    if !world.shard.is_empty() {
        return Err(format!("{} are left after the drain", world.shard.len()).into());
    }
    tell("drain", nanoseconds(total, clients));
    tell("drain_turn", microseconds(longest));
    #[expect(clippy::print_stdout, reason = "how the parent learns it")]
    {
        println!("end");
    }
    Ok(())
}

/// Everybody's peer goes at once.
fn disconnect(world: &mut World, tokens: &[Token]) -> Result<Duration, AnyError> {
    GONE.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    for some in tokens.chunks(1_024) {
        for token in some {
            world.shard.ready(*token, true, false, world.now);
        }
        world.settle();
    }
    let elapsed = begin.elapsed();
    GONE.store(false, Ordering::Relaxed);
    if world.shard.is_empty() { Ok(elapsed) } else { Err("some are left after a mass disconnect".into()) }
}
