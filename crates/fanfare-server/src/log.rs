//! `fanfare log`: a history on disk as people and scripts want to see it.
//!
//! Exit codes: 0, 1 where `verify` found problems, 2 where the history cannot be read. A reader of the output who
//! goes away ends it without a word.

use crate::cli::{DumpOptions, LogCommand, LogOptions};
use crate::terminal::size;
use fanfare::StorageError;
use fanfare::log::{self, LogFilter, LogInfo, LogRecord, Problem};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROBLEMS: u8 = 1;
const UNREADABLE: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the history in {path:?} cannot be read")]
    Log {
        path: PathBuf,
        #[source]
        error: StorageError,
    },
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

pub(crate) fn run(command: LogCommand) -> ExitCode {
    let done = match command {
        LogCommand::Inspect(options) => inspect(&options),
        LogCommand::Verify(options) => verify(&options),
        LogCommand::Dump(options) => dump(options),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            crate::complain(&failure);
            UNREADABLE.into()
        }
    }
}

fn unreadable(path: &Path) -> impl FnOnce(StorageError) -> Failure {
    let path = path.to_owned();
    |error| Failure::Log { path, error }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

fn inspect(options: &LogOptions) -> Result<ExitCode, Failure> {
    let info = log::inspect(&options.directory).map_err(unreadable(&options.directory))?;
    print(&if options.json { json(&Shown::new(&info)) } else { text(&info) })?;
    Ok(ExitCode::SUCCESS)
}

fn verify(options: &LogOptions) -> Result<ExitCode, Failure> {
    let mut problems = Vec::new();
    let info = log::verify(&options.directory, |problem| problems.push(problem));
    let info = info.map_err(unreadable(&options.directory))?;
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { PROBLEMS.into() };
    let answer = if options.json {
        json(&Verdict::new(&info, &problems))
    } else {
        let mut out = String::new();
        for problem in &problems {
            _ = writeln!(out, "{}: {problem}; {}", problem.file(), problem.meaning());
        }
        let (events, segments) = (counted(events(&info), "event"), counted(info.segments.len() as u64, "segment"));
        let verdict = if problems.is_empty() { "sound".to_owned() } else { counted(problems.len() as u64, "problem") };
        _ = writeln!(out, "{verdict}: {events} in {segments}");
        out
    };
    match print(&answer) {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        printed => printed.map(|()| code),
    }
}

fn dump(options: DumpOptions) -> Result<ExitCode, Failure> {
    let DumpOptions { directory, after, limit, user, session, topic } = options;
    let mut left = limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let filter = LogFilter { after, user, session, topic };
    let read = log::dump(&directory, &filter, |record| {
        written = out.write_all(json_line(&record).as_bytes());
        left -= 1;
        if written.is_err() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // What could be read is shown also where the rest could not.
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    read.map_err(unreadable(&directory))?;
    Ok(ExitCode::SUCCESS)
}

fn events(info: &LogInfo) -> u64 {
    info.segments.iter().map(|segment| segment.records).sum()
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and lists: this cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A history, for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    format: u32,
    log: String,
    events: u64,
    bytes: u64,
    /// The newest position that retention dropped.
    dropped_to: u64,
    last_position: u64,
    /// An id for the beginning of every start.
    starts: Vec<String>,
    segments: Vec<ShownSegment<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    other_files: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSegment<'a> {
    file: &'a str,
    after: u64,
    last_position: u64,
    events: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time: Option<u64>,
    index: bool,
}

impl<'a> Shown<'a> {
    fn new(info: &'a LogInfo) -> Self {
        let segments = info.segments.iter().map(|segment| ShownSegment {
            file: &segment.name,
            after: segment.base,
            last_position: segment.last_position,
            events: segment.records,
            bytes: segment.bytes,
            last_time: (segment.last_wall_ms > 0).then_some(segment.last_wall_ms),
            index: segment.sealed,
        });
        Self {
            format: info.version,
            log: format!("{:016x}", info.log_id),
            events: events(info),
            bytes: info.segments.iter().map(|segment| segment.bytes).sum(),
            dropped_to: info.floor,
            last_position: info.segments.last().map_or(info.floor, |segment| segment.last_position),
            starts: info.starts.iter().map(ToString::to_string).collect(),
            segments: segments.collect(),
            other_files: &info.others,
        }
    }
}

/// A history, for people.
fn text(info: &LogInfo) -> String {
    let shown = Shown::new(info);
    let mut out = String::new();
    _ = writeln!(out, "log {}, format {}", shown.log, shown.format);
    _ = writeln!(out, "{} in {}", counted(shown.events, "event"), size(shown.bytes));
    _ = match shown.dropped_to {
        0 => writeln!(out, "nothing dropped yet"),
        position => writeln!(out, "dropped up to position {position}"),
    };
    let last = shown.starts.last().map_or_else(String::new, |last| format!(", the last at {last}"));
    _ = writeln!(out, "{}{last}", counted(shown.starts.len() as u64, "start"));
    if let Some(other) = shown.other_files.first() {
        _ = writeln!(out, "{}, such as {other:?}", counted(shown.other_files.len() as u64, "foreign file"));
    }
    _ = writeln!(
        out,
        "\n{:<24} {:>21} {:>10} {:>10}  {:<20}",
        "segment", "positions", "events", "size", "newest event"
    );
    for segment in &shown.segments {
        let positions = match segment.last_position {
            last if last > segment.after => format!("{}-{last}", segment.after + 1),
            _ => "none".to_owned(),
        };
        let time = segment.last_time.map_or_else(String::new, utc);
        let index = if segment.index { "" } else { "  no index yet" };
        let row = format!(
            "{:<24} {positions:>21} {:>10} {:>10}  {time:<20}{index}",
            segment.file,
            segment.events,
            size(segment.bytes)
        );
        _ = writeln!(out, "{}", row.trim_end());
    }
    out
}

/// Unix milliseconds as `2026-01-31T12:00:00Z`.
fn utc(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // Years of 365.2425 days that begin in March, so that the odd day is the last of one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What `verify` found, for machines.
#[derive(Serialize)]
struct Verdict<'a> {
    sound: bool,
    events: u64,
    segments: usize,
    problems: Vec<ShownProblem<'a>>,
}

#[derive(Serialize)]
struct ShownProblem<'a> {
    file: &'a str,
    problem: String,
    meaning: &'static str,
}

impl<'a> Verdict<'a> {
    fn new(info: &LogInfo, problems: &'a [Problem]) -> Self {
        let shown = |problem: &'a Problem| ShownProblem {
            file: problem.file(),
            problem: problem.to_string(),
            meaning: problem.meaning(),
        };
        Self {
            sound: problems.is_empty(),
            events: events(info),
            segments: info.segments.len(),
            problems: problems.iter().map(shown).collect(),
        }
    }
}

/// An event, in the order in which people look for things.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    position: u64,
    time: u64,
    event: &'a str,
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    to: To<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    /// To the letter, but on one line.
    Json(Box<RawValue>),
    Text(&'a str),
}

#[derive(Serialize)]
struct To<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    keys: &'a [String],
}

fn json_line(record: &LogRecord) -> String {
    // Between the parts of a JSON text a space is as good as a line end, and within them there is none.
    let one_line = if record.data.contains('\n') {
        Cow::Owned(record.data.replace('\n', " "))
    } else {
        Cow::Borrowed(record.data.as_str())
    };
    let data = match serde_json::from_str::<&RawValue>(&record.data) {
        Ok(_) => RawValue::from_string(one_line.into_owned()).map_or(Data::Text(&record.data), Data::Json),
        Err(_) => Data::Text(&record.data),
    };
    let line = Line {
        id: &record.id,
        position: record.position,
        time: record.wall_ms,
        event: &record.event,
        data,
        own_id: record.id.split_once('~').map(|(_, own)| own),
        retry: record.retry,
        to: To { kind: record.target, keys: &record.keys },
    };
    // Strings, numbers and lists: this cannot fail.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }
}
