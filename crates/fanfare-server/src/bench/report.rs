//! What came out, in numbers, as a table and as JSON.

use super::machine::{Machine, in_list, share};
use super::message::{Connected, Failures, Received};
use super::progress::count;
use super::publisher::Published;
use crate::cli::{Fan, LoadOptions, Rate};
use crate::terminal;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Write as _;

/// What was counted.
pub(super) struct Measured {
    pub(super) asked_compressed: bool,
    pub(super) connected: Connected,
    pub(super) warm_up_lost: u64,
    pub(super) published: Published,
    pub(super) received: Received,
    pub(super) processes: usize,
    pub(super) rate: Rate,
    pub(super) publishers: u32,
    pub(super) cpu_connects: Option<u64>,
    pub(super) cpu_deliveries: Option<u64>,
    pub(super) memory: Option<u64>,
}

/// One server under the load.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    /// On which cores it may run, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cores: Option<String>,
    pub(super) processes: usize,
    pub(super) connected: u64,
    /// Of them, those that came in gzip; absent if it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compressed: Option<u64>,
    pub(super) connect_failures: Failures,
    pub(super) connect_seconds: f64,
    pub(super) connects_per_second: f64,
    pub(super) warm_up_lost: u64,
    pub(super) published: u64,
    pub(super) publish_failures: Failures,
    /// What the server said to the first it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish_refusal: Option<String>,
    pub(super) publishes_per_second: f64,
    pub(super) publish_late_us: Spans,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    /// Absent if several connections published: there was no order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reordered: Option<u64>,
    pub(super) misdirected: u64,
    pub(super) streams_ended: u64,
    /// Why they did.
    pub(super) stream_failures: Failures,
    pub(super) seconds: f64,
    pub(super) deliveries_per_second: f64,
    pub(super) events_per_read: f64,
    /// As they came, with what frames them in HTTP.
    pub(super) bytes_per_delivery: f64,
    /// Of the body, decoded.
    pub(super) decoded_bytes_per_delivery: f64,
    pub(super) latency_us: Spans,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_per_connect_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_per_delivery_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_per_subscriber: Option<u64>,
}

/// Microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Spans {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Spans {
    fn new(nanoseconds: &Histogram<u64>) -> Self {
        let at = |quantile| rounded(nanoseconds.value_at_quantile(quantile) as f64 / 1e3);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// Three digits behind the point: more is noise.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn per(number: f64, many: u64) -> f64 {
    if many == 0 { 0.0 } else { rounded(number / many as f64) }
}

fn seconds(begun: u64, ended: u64) -> f64 {
    ended.saturating_sub(begun) as f64 / 1e9
}

fn in_a_second(many: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (many as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

impl Figures {
    pub(super) fn new(measured: &Measured) -> Self {
        let Measured { connected, published, received, .. } = measured;
        let deliveries = received.delivered + received.duplicates;
        // The last event has its share of the schedule too: ten at 10/s take a second.
        let scheduled = match measured.rate {
            Rate::Max => 0.0,
            Rate::PerSecond(rate) => f64::from(published.count) / rate,
        };
        let connect_seconds = seconds(connected.begun, connected.ended);
        let publishing = seconds(published.begun, published.ended).max(scheduled);
        let delivering = seconds(published.begun, received.last).max(scheduled);
        let accepted = u64::from(published.count) - published.refused.len() as u64;
        Self {
            cores: None,
            processes: measured.processes,
            connected: connected.connected,
            compressed: measured.asked_compressed.then_some(connected.compressed),
            connect_failures: connected.failures.clone(),
            connect_seconds: rounded(connect_seconds),
            connects_per_second: in_a_second(connected.connected, connect_seconds),
            warm_up_lost: measured.warm_up_lost,
            published: accepted,
            publish_failures: published.failures.clone(),
            publish_refusal: published.said.clone(),
            publishes_per_second: in_a_second(accepted, publishing),
            publish_late_us: Spans::new(&published.late),
            expected: received.expected,
            delivered: received.delivered,
            lost: received.lost,
            duplicates: received.duplicates,
            reordered: (measured.publishers == 1).then_some(received.reordered),
            misdirected: received.misdirected,
            streams_ended: received.ended,
            stream_failures: received.ends.clone(),
            seconds: rounded(delivering),
            deliveries_per_second: in_a_second(deliveries, delivering),
            events_per_read: per(deliveries as f64, received.reads),
            bytes_per_delivery: per(received.bytes as f64, deliveries),
            decoded_bytes_per_delivery: per(received.decoded as f64, deliveries),
            latency_us: Spans::new(&received.histogram()),
            cpu_per_connect_us: measured.cpu_connects.map(|cpu| per(cpu as f64 / 1e3, connected.connected)),
            cpu_per_delivery_us: measured.cpu_deliveries.map(|cpu| per(cpu as f64 / 1e3, deliveries)),
            memory_per_subscriber: measured.memory.and_then(|memory| memory.checked_div(connected.connected)),
        }
    }

    /// True if everything came that should have, to everybody who was to be there.
    pub(super) fn is_whole(&self) -> bool {
        let failures = self.connect_failures.len() + self.publish_failures.len();
        failures == 0 && self.lost + self.warm_up_lost + self.streams_ended == 0
    }
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    subscribe_url: String,
    publish_url: String,
    subscribers: u32,
    /// In a second; absent if it is as many as are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_rate: Option<f64>,
    events: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    size: u32,
    target: &'static str,
    publishers: u32,
    warm_up: u32,
    compressed: bool,
}

impl Asked {
    pub(super) fn new(options: &LoadOptions, subscribe_url: &str, publish_url: &str) -> Self {
        let rate = |rate| match rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(rate),
        };
        Self {
            subscribe_url: subscribe_url.to_owned(),
            publish_url: publish_url.to_owned(),
            subscribers: options.subscribers,
            connect_rate: rate(options.connect_rate),
            events: options.events,
            rate: rate(options.rate),
            size: options.size,
            target: if options.target == Fan::All { "all" } else { "one" },
            publishers: options.publishers,
            warm_up: options.warm_up,
            compressed: options.compressed,
        }
    }
}

/// The server's figures in those of the floor. Below 1 it takes less.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ratio {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_per_connect: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_per_delivery: Option<f64>,
    deliveries_per_second: f64,
    latency_p50: f64,
    latency_p99: f64,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Whole {
    machine: Machine,
    load: Asked,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Figures>,
    server: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
    /// What the figures are not, although they look like it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Whole {
    pub(super) fn new(load: Asked, floor: Option<Figures>, server: Figures) -> Self {
        let by = |one: f64, other: f64| if other > 0.0 { rounded(one / other) } else { 0.0 };
        let both = |one: Option<f64>, other: Option<f64>| Some(by(one?, other?));
        let ratio = floor.as_ref().map(|floor| Ratio {
            cpu_per_connect: both(server.cpu_per_connect_us, floor.cpu_per_connect_us),
            cpu_per_delivery: both(server.cpu_per_delivery_us, floor.cpu_per_delivery_us),
            deliveries_per_second: by(server.deliveries_per_second, floor.deliveries_per_second),
            latency_p50: by(server.latency_us.p50, floor.latency_us.p50),
            latency_p99: by(server.latency_us.p99, floor.latency_us.p99),
        });
        let machine = Machine::here();
        let warnings = warnings(&machine, floor.as_ref(), &server);
        Self { machine, load, floor, server, ratio, warnings }
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut out = self.heading();
        out.push('\n');
        let mut rows = vec![vec![String::new(), "server".to_owned()]];
        if self.floor.is_some() {
            rows[0].extend(["floor".to_owned(), "ratio".to_owned()]);
        }
        for (name, cell, ratio) in ROWS {
            let Some(server) = cell(&self.server) else { continue };
            let mut row = vec![(*name).to_owned(), server];
            if let (Some(floor), Some(all)) = (&self.floor, &self.ratio) {
                row.push(cell(floor).unwrap_or_default());
                row.push(ratio(all).map(|ratio| format!("{ratio:.2}")).unwrap_or_default());
            }
            rows.push(row);
        }
        out.push_str(&terminal::table(&rows));
        for (name, figures) in [("floor: ", self.floor.as_ref()), ("", Some(&self.server))] {
            for note in figures.map(notes).unwrap_or_default() {
                _ = write!(out, "\n{name}{}", terminal::plain(&note));
            }
        }
        for warning in &self.warnings {
            _ = write!(out, "\n{} {}", terminal::styled(terminal::WARNING, "warning:"), terminal::plain(warning));
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    /// Where and with what it was made.
    fn heading(&self) -> String {
        let Self { machine, load, server, .. } = self;
        let cpu = machine.cpu.as_deref().unwrap_or("unknown processor");
        let bench = machine.bench_cores.as_deref();
        let cores = match (bench, server.cores.as_deref()) {
            (Some(bench), Some(server)) if share(bench, server) => {
                format!("; bench on {bench}, server on {server}: they share cores and disturb each other")
            }
            (Some(bench), Some(server)) => format!("; bench on {bench}, server on {server}: apart"),
            (Some(bench), None) => format!("; bench on {bench}, server: not known without --pid"),
            _ => String::new(),
        };
        let rate = |rate: Option<f64>| rate.map_or("max".to_owned(), |rate| format!("{rate}/s"));
        let whom = if load.target == "all" { "all" } else { "one of them each" };
        let text = format!(
            "{}, {cpu}, {}{cores}\n{} streams of {} in {}, opened at {}\n{} events of {} bytes for {whom}, published at {} by {} \
             to {}, after {} to warm up\n",
            machine.system,
            terminal::counted(machine.cores as u64, "core"),
            count(u64::from(load.subscribers)),
            load.subscribe_url,
            terminal::counted(server.processes as u64, "process").replace("processs", "processes"),
            rate(load.connect_rate),
            count(u64::from(load.events)),
            count(u64::from(load.size)),
            rate(load.rate),
            terminal::counted(u64::from(load.publishers), "connection"),
            load.publish_url,
            count(u64::from(load.warm_up)),
        );
        text.lines().map(|line| terminal::plain(line).into_owned() + "\n").collect()
    }
}

type Row = (&'static str, fn(&Figures) -> Option<String>, fn(&Ratio) -> Option<f64>);

const ROWS: &[Row] = &[
    (
        "connected",
        |f| Some(format!("{} in {:.2} s, {}/s", count(f.connected), f.connect_seconds, whole(f.connects_per_second))),
        |_| None,
    ),
    ("  compressed", |f| f.compressed.map(|many| format!("{} of {}", count(many), count(f.connected))), |_| None),
    ("  CPU for each", |f| f.cpu_per_connect_us.map(micro), |r| r.cpu_per_connect),
    ("  memory for each", |f| f.memory_per_subscriber.map(|bytes| format!("{} B", count(bytes))), |_| None),
    ("published", |f| Some(format!("{}, {}/s", count(f.published), whole(f.publishes_per_second))), |_| None),
    ("  behind schedule, p99", |f| Some(micro(f.publish_late_us.p99)), |_| None),
    (
        "delivered",
        |f| Some(format!("{} of {}, {}/s", count(f.delivered), count(f.expected), whole(f.deliveries_per_second))),
        |r| Some(r.deliveries_per_second),
    ),
    ("  CPU for each", |f| f.cpu_per_delivery_us.map(micro), |r| r.cpu_per_delivery),
    ("  events in a read", |f| Some(format!("{:.2}", f.events_per_read)), |_| None),
    ("  bytes for each", |f| Some(format!("{:.0}", f.bytes_per_delivery)), |_| None),
    (
        "  decoded",
        |f| f.compressed.filter(|many| *many > 0).map(|_| format!("{:.0}", f.decoded_bytes_per_delivery)),
        |_| None,
    ),
    ("lost", |f| Some(count(f.lost)), |_| None),
    ("duplicates", |f| Some(count(f.duplicates)), |_| None),
    ("reordered", |f| f.reordered.map(count), |_| None),
    ("latency p50", |f| Some(micro(f.latency_us.p50)), |r| Some(r.latency_p50)),
    ("  p90", |f| Some(micro(f.latency_us.p90)), |_| None),
    ("  p99", |f| Some(micro(f.latency_us.p99)), |r| Some(r.latency_p99)),
    ("  p99.9", |f| Some(micro(f.latency_us.p999)), |_| None),
    ("  max", |f| Some(micro(f.latency_us.max)), |_| None),
];

fn whole(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { count(format!("{number:.0}").parse().unwrap_or(0)) }
}

fn micro(us: f64) -> String {
    match us {
        ..10.0 => format!("{us:.2} µs"),
        ..1_000.0 => format!("{us:.0} µs"),
        ..1e6 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// What did not go as it should.
fn notes(figures: &Figures) -> Vec<String> {
    let mut notes = Vec::new();
    for (reason, number) in &figures.connect_failures {
        notes.push(format!("{} not opened: {reason}", terminal::counted(*number, "stream")));
    }
    for (reason, number) in &figures.publish_failures {
        notes.push(format!("{} not accepted: {reason}", terminal::counted(*number, "event")));
    }
    if let Some(said) = &figures.publish_refusal {
        notes.push(format!("the server said to the first of them: {said}"));
    }
    for (reason, number) in &figures.stream_failures {
        notes.push(format!("{} ended before the end: {reason}", terminal::counted(*number, "stream")));
    }
    if figures.misdirected > 0 {
        let counted = terminal::counted(figures.misdirected, "delivery").replace("deliverys", "deliveries");
        notes.push(format!("{counted} to somebody else than the one it was for"));
    }
    if figures.warm_up_lost > 0 {
        notes.push(format!("{} of the warm-up lost", count(figures.warm_up_lost)));
    }
    notes
}

/// Where figures are of something else than what was meant.
fn warnings(machine: &Machine, floor: Option<&Figures>, server: &Figures) -> Vec<String> {
    let mut warnings = Vec::new();
    match server.compressed {
        Some(0) => warnings.push("no stream came in gzip, although --compressed asked for it".to_owned()),
        Some(many) if many < server.connected => {
            warnings.push(format!(
                "{} of {} streams did not come in gzip",
                count(server.connected - many),
                server.connected
            ));
        }
        _ => {}
    }
    let Some(floor_cores) = floor.and_then(|floor| floor.cores.as_deref()) else { return warnings };
    match server.cores.as_deref() {
        Some(cores) if in_list(cores) != in_list(floor_cores) => warnings.push(format!(
            "the floor ran on {floor_cores} and the server on {cores}: their ratio is that of different cores too"
        )),
        None if in_list(floor_cores).len() < machine.cores => warnings.push(format!(
            "the floor ran on the cores of the bench, {floor_cores}, and the server may have had others; with --pid the \
             floor runs on those of the server"
        )),
        _ => {}
    }
    warnings
}
