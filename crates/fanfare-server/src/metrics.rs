//! `/metrics`: the engine's numbers in the Prometheus text format.

use fanfare::{DiskCondition, EngineStats, SseManager};
use std::fmt::Write as _;

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn render(manager: &SseManager) -> String {
    let stats = manager.engine_stats();
    let EngineStats {
        clients,
        published,
        refused,
        log_records,
        log_segments,
        disk,
        log_bytes,
        events_sent,
        bytes_sent,
        writes,
        pings_sent,
        lagged,
        ..
    } = stats;
    let mut out = String::with_capacity(4_096);
    let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a string does not fail.
        _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    metric("fanfare_clients", "gauge", "Connections now.", clients as u64);
    metric("fanfare_clients_max", "gauge", "Most connections at one time.", manager.config().max_clients as u64);
    metric("fanfare_clients_refused_total", "counter", "Connections refused for want of room.", refused);
    metric("fanfare_events_published_total", "counter", "Events published.", published);
    metric("fanfare_events_sent_total", "counter", "Events handed to sockets, one per connection.", events_sent);
    metric("fanfare_sent_bytes_total", "counter", "Bytes handed to sockets.", bytes_sent);
    metric("fanfare_writes_total", "counter", "Writes to sockets.", writes);
    metric("fanfare_pings_sent_total", "counter", "Heartbeats handed to sockets.", pings_sent);
    metric("fanfare_lagged_total", "counter", "Times a connection fell behind and went on from the history.", lagged);
    metric("fanfare_history_events", "gauge", "Events in the history.", log_records as u64);
    metric("fanfare_history_bytes", "gauge", "Bytes of the history, with its overhead.", log_bytes as u64);
    if let Some(disk) = disk {
        metric("fanfare_history_segments", "gauge", "Segments of the history on disk.", log_segments as u64);
        let name = "fanfare_disk_condition";
        _ = write!(out, "# HELP {name} How the disk is: 1 for the word that holds.\n# TYPE {name} gauge\n");
        for condition in DiskCondition::ALL {
            let holds = u64::from(condition == disk);
            _ = writeln!(out, "{name}{{condition=\"{}\"}} {holds}", condition.as_str());
        }
    }
    let gaps = stats.gaps_by_reason().collect();
    labelled(&mut out, "fanfare_gaps_total", "Gaps that open connections were told of.", "reason", gaps);
    let slow = stats.slow_readers_by_policy().collect();
    labelled(&mut out, "fanfare_slow_readers_total", "Times a connection was slow, by its policy.", "policy", slow);
    let ended = stats.disconnects_by_reason().collect();
    labelled(&mut out, "fanfare_disconnects_total", "Ended connections by reason.", "reason", ended);
    let (name, version) = ("fanfare_build_info", env!("CARGO_PKG_VERSION"));
    _ = write!(out, "# HELP {name} The version.\n# TYPE {name} gauge\n{name}{{version=\"{version}\"}} 1\n");
    out
}

/// A counter for each value of a label.
fn labelled(out: &mut String, name: &str, help: &str, label: &str, counts: Vec<(&'static str, u64)>) {
    _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n");
    for (value, count) in counts {
        _ = writeln!(out, "{name}{{{label}=\"{value}\"}} {count}");
    }
}
