//! `fanfare stats`: a server's numbers, once or again and again.

use super::{Failure, ask, json_line, print};
use crate::cli::StatsOptions;
use crate::terminal::{DIM, STRONG, WARNING, age, is_for_people, note, now_ms, plain, size, styled};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What people look for first; the rest follows as it comes.
const FIRST: [&str; 6] = [
    "totalClients",
    "clientsByUser",
    "averageConnectionDuration",
    "totalEventsSent",
    "totalEventsPublished",
    "lastEventTime",
];
/// Users that are shown: those with the most connections.
const USERS: usize = 10;
/// Clears a terminal from its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

type Stats = Map<String, Value>;

pub(crate) async fn stats(options: StatsOptions) -> Result<(), Failure> {
    let client = ask(&options.answered)?;
    let people = is_for_people(options.answered.json);
    let mut before: Option<(Stats, Instant)> = None;
    loop {
        match client.stats(options.user.as_deref()).await {
            Ok(stats) => {
                let now = Instant::now();
                let since = before.as_ref().map(|(before, at)| (before, now - *at));
                let text = if people { for_people(&stats, since) } else { json_line(&stats) };
                if options.watch.is_none() {
                    return print(&text);
                }
                print(&if people { format!("{CLEAR}{text}") } else { text })?;
                before = Some((stats, now));
            }
            // Who watches wants to see it come back.
            Err(error) if before.is_some() && error.is_transient() => {
                if !options.answered.connect.quiet {
                    note(&styled(WARNING, &plain(&error.to_string())));
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(options.watch.unwrap_or_default()).await;
    }
}

fn for_people(stats: &Stats, before: Option<(&Stats, Duration)>) -> String {
    let rest = stats.keys().map(String::as_str).filter(|key| !FIRST.contains(key));
    let mut rows = Vec::new();
    for key in FIRST.into_iter().chain(rest) {
        match stats.get(key) {
            Some(Value::Object(parts)) => {
                let mut parts: Vec<_> = parts.iter().filter(|(_, value)| value.as_u64() != Some(0)).collect();
                // Users are many; of everything else there are a few, in the order of their names.
                let more = if key == "clientsByUser" {
                    parts.sort_by_key(|(_, value)| std::cmp::Reverse(value.as_u64()));
                    parts.len().saturating_sub(USERS)
                } else {
                    0
                };
                parts.truncate(parts.len() - more);
                if parts.is_empty() {
                    rows.push((plain(key).into_owned(), "none".to_owned(), String::new()));
                    continue;
                }
                // A user may be called like a setting that is a time.
                let shown = |part: &str, value| shown(if key == "settings" { part } else { key }, value);
                rows.push((plain(key).into_owned(), String::new(), String::new()));
                rows.extend(
                    parts.iter().map(|(part, value)| (format!("  {}", plain(part)), shown(part, value), String::new())),
                );
                if more > 0 {
                    rows.push((format!("  and {more} more"), String::new(), String::new()));
                }
            }
            Some(value) => {
                let rate = before.and_then(|(before, every)| rate(before.get(key)?.as_u64()?, value.as_u64()?, every));
                let rate = rate.filter(|_| key.starts_with("total") && key != "totalClients");
                rows.push((plain(key).into_owned(), shown(key, value), rate.unwrap_or_default()));
            }
            None => {}
        }
    }
    let width = rows.iter().map(|(key, ..)| key.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (key, value, rate) in rows {
        let mut line = key;
        if !value.is_empty() {
            line = format!("{line:<width$}  {}", styled(STRONG, &value));
        }
        if !rate.is_empty() {
            _ = write!(line, "  {}", styled(DIM, &rate));
        }
        _ = writeln!(out, "{line}");
    }
    out
}

fn rate(before: u64, now: u64, every: Duration) -> Option<String> {
    let rate = now.checked_sub(before)? as f64 / every.as_secs_f64();
    Some(format!("{rate:.0}/s"))
}

fn shown(key: &str, value: &Value) -> String {
    match (key, value.as_u64()) {
        ("averageConnectionDuration" | "pingInterval" | "clientTimeout", Some(ms)) => age(ms),
        (_, Some(bytes)) if key.ends_with("Bytes") || key.ends_with("BytesSent") => size(bytes),
        ("lastEventTime", Some(at)) => format!("{} ago", age(now_ms().saturating_sub(at))),
        ("lastEventTime", None) => "never".to_owned(),
        _ => match value {
            Value::String(text) => plain(text).into_owned(),
            other => plain(&other.to_string()).into_owned(),
        },
    }
}
