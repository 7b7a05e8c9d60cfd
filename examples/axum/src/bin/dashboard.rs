//! A dashboard of this process and machine, whose pages miss nothing between their loading and their stream.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use fanfare::{SendError, SseConfig, SseManager};
use fanfare_examples::lock;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);
/// Values of each metric that a page begins with.
const VALUES: usize = 60;

type Metrics = BTreeMap<&'static str, VecDeque<f64>>;

struct Board {
    manager: SseManager,
    metrics: Mutex<Metrics>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = fanfare::initialize_sse(SseConfig::default())?;
    let board = Arc::new(Board { manager: manager.clone(), metrics: Mutex::default() });
    let app = fanfare_examples::page(include_str!("../../pages/dashboard.html"))
        .route("/state", get(state))
        .with_state(Arc::clone(&board));
    tokio::spawn(async move {
        let mut probe = Probe::default();
        // Some are differences.
        probe.measure(&board.manager);
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = board.update(probe.measure(&board.manager)) {
                return eprintln!("no more metrics: {error}");
            }
        }
    });
    // Unless told otherwise, the endpoints let everybody subscribe, and do nothing else.
    fanfare_examples::serve(Router::merge(app, fanfare::router(manager.clone())), manager).await
}

#[derive(Serialize)]
struct Snapshot {
    /// Where in the stream it was taken. Who subscribes from there gets what came later, all of it and once.
    id: String,
    metrics: Metrics,
}

async fn state(State(board): State<Arc<Board>>) -> Json<Snapshot> {
    // Under this lock state and stream move together, so these two are of one moment.
    let metrics = lock(&board.metrics);
    Json(Snapshot { id: board.manager.cursor(), metrics: metrics.clone() })
}

impl Board {
    fn update(&self, measured: Vec<(&'static str, f64)>) -> Result<(), SendError> {
        let mut metrics = lock(&self.metrics);
        for (name, value) in measured {
            let values = metrics.entry(name).or_default();
            let change = values.back().map(|before| value - before);
            fanfare::notify_metrics_update(name, value, change, None)?;
            values.push_back(value);
            if values.len() > VALUES {
                values.pop_front();
            }
        }
        Ok(())
    }
}

/// What the last measurement found, for those that are differences.
#[derive(Default)]
struct Probe {
    cpu: Option<(f64, f64)>,
    sent: u64,
}

impl Probe {
    /// Without `/proc`, on other systems than Linux, what it would say is left out.
    fn measure(&mut self, manager: &SseManager) -> Vec<(&'static str, f64)> {
        let stats = manager.stats();
        let mut measured = vec![
            ("clients", stats.total_clients as f64),
            ("published", stats.total_events_published as f64),
            ("delivered", (stats.total_events_sent - self.sent) as f64),
        ];
        self.sent = stats.total_events_sent;
        // user nice system idle iowait …, in ticks since the start of the machine
        if let Some(ticks) = numbers("/proc/stat", 1..9) {
            let (idle, total) = (ticks[3] + ticks[4], ticks.iter().sum::<f64>());
            if let Some((idle_before, total_before)) = self.cpu.replace((idle, total)) {
                let passed = (total - total_before).max(1.0);
                measured.push(("cpu", (100.0 * (1.0 - (idle - idle_before) / passed)).clamp(0.0, 100.0)));
            }
        }
        if let Some(load) = numbers("/proc/loadavg", 0..1) {
            measured.push(("load", load[0]));
        }
        // The second is how many pages of 4 KiB are in memory.
        if let Some(pages) = numbers("/proc/self/statm", 1..2) {
            measured.push(("memory", pages[0] / 256.0));
        }
        measured
    }
}

/// Words of the first line of a file, as numbers.
fn numbers(path: &str, words: std::ops::Range<usize>) -> Option<Vec<f64>> {
    let text = std::fs::read_to_string(path).ok()?;
    let line: Vec<&str> = text.lines().next()?.split_whitespace().collect();
    line.get(words)?.iter().map(|word| word.parse().ok()).collect()
}
