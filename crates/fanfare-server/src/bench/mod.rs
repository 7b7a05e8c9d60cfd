//! `fanfare bench`: loads a server with subscribers and events, counts every delivery, and says what it cost.
//!
//! The process that is started publishes; others of the same program subscribe, as many as the limit on descriptors asks
//! for, and with `--floor` one more is a server that does nothing but write. They are told what to do on standard input,
//! and answer on standard output.

mod clock;
mod crew;
mod floor;
mod http;
mod load;
mod machine;
mod marker;
mod message;
mod progress;
mod publisher;
mod report;
mod request;
mod spread;
mod subscribers;
mod tally;

use crate::cli::{BenchOptions, Fan, Role};
use crate::terminal;
use ::http::Method;
use crew::Member;
use load::{Load, Place};
use machine::Processes;
use progress::Progress;
use report::{Asked, Figures, Whole};
use request::Request;
use std::io::{self, BufRead as _};
use std::process::ExitCode;

/// How many bytes of data an event may have: room for what is looked for, and no more than others take.
#[expect(clippy::cast_possible_wrap, reason = "as clap wants it; both are small")]
pub(crate) const SIZES: std::ops::RangeInclusive<i64> = marker::LEN as i64..=fanfare::limits::DATA_MAX as i64 / 2;

/// Where the API of a Fanfare server is, unless it is said.
const API: &str = "/api/sse";
const FAILED: u8 = 1;
const WRONG_INPUT: u8 = 2;
const TRY_LATER: u8 = 3;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// A process of its own.
    #[error("a process of the bench failed: {0}")]
    Died(String),
    #[error("{0}")]
    Input(String),
    #[error("{0}")]
    Refused(String),
    #[error("{} accepted, and nothing came to {}", terminal::counted(u64::from(*.0), "event"), terminal::counted(*.1, "stream"))]
    Silent(u32, u64),
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Input(_) => WRONG_INPUT,
            Self::Unreachable(_) => TRY_LATER,
            _ => FAILED,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Silent(..) => Some("do the streams and the publishes mean the same channel, topic or user?"),
            Self::Unreachable(_) => {
                Some("is the server running? `fanfare` starts one; --url or FANFARE_URL say where it is")
            }
            Self::Refused(message) if message.contains(" 401 ") || message.contains(" 403 ") => {
                Some("give the server's token with --token or FANFARE_TOKEN, or what it wants with --header")
            }
            _ => None,
        }
    }
}

pub(crate) fn run(options: BenchOptions) -> ExitCode {
    let done = match options.role {
        Some(Role::Subscribers) => of_process("subscribing failed", subscribers::run()),
        Some(Role::Floor) => of_process("the floor failed", floor::run()),
        None => bench(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The figures are told, and what is wrong with them.
        Ok(false) => FAILED.into(),
        // Whoever read the answer has what they wanted.
        Err(Failure::System(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            crate::complain(&failure);
            if let Some(hint) = failure.hint() {
                terminal::note(&format!("  hint: {hint}"));
            }
            failure.code().into()
        }
    }
}

fn of_process(what: &'static str, done: io::Result<()>) -> Result<bool, Failure> {
    done.map(|()| true).map_err(|error| Failure::System(what, error))
}

/// True if nothing was lost, or may be.
fn bench(options: &BenchOptions) -> Result<bool, Failure> {
    let mut place = place(options)?;
    place.processes = Processes::new(&options.look.pids).map_err(Failure::Input)?;
    let cores = place.processes.cores();
    let mut progress = Progress::new(options.connect.quiet);
    let load = Load::new(&options.load);
    let mut yardstick = None;
    if options.look.floor {
        progress.about = "floor";
        yardstick = Some(measure_floor(&load, options, cores.as_deref(), &mut progress)?);
        progress.about = "server";
    }
    let mut server = load.measure(&place, &mut progress)?;
    server.cores = cores;
    let whole = server.is_whole();
    let asked = Asked::new(&options.load, &place.subscribe.url, &place.publish.url);
    let told = Whole::new(asked, yardstick, server);
    let text = if options.look.json { json(&told) } else { told.table() };
    terminal::print(&text).map_err(|error| Failure::System("cannot write the answer", error))?;
    Ok(whole || options.look.allow_loss)
}

fn json(told: &Whole) -> String {
    // Strings and numbers: this cannot fail.
    serde_json::to_string_pretty(told).unwrap_or_default() + "\n"
}

/// The same load on the floor, in a process of its own, which runs on these cores if they are known.
fn measure_floor(
    load: &Load<'_>,
    options: &BenchOptions,
    cores: Option<&str>,
    progress: &mut Progress,
) -> Result<Figures, Failure> {
    let start = || {
        if let Some(cores) = cores {
            // Where that cannot be, the report says where it ran instead.
            machine::run_on(cores);
        }
        Member::start(Role::Floor)
    };
    // A thread has cores of its own, and a process begins with those of the thread that starts it.
    let started = std::thread::scope(|scope| scope.spawn(start).join());
    let (member, mut output) = started.map_err(|_| Failure::Died("the floor".to_owned()))??;
    let mut address = String::new();
    output.read_line(&mut address).map_err(|error| Failure::System("the floor says nothing", error))?;
    let base = format!("http://{}", address.trim_end());
    let whom = if options.load.target == Fan::One { request::N } else { "*" };
    let body = Some(format!("{whom} {}", request::DATA));
    let processes = if cfg!(target_os = "linux") { vec![member.id()] } else { Vec::new() };
    let floor = Place {
        subscribe: Request::new("--floor", &Method::GET, &format!("{base}/{}", request::N), &[], None)?,
        publish: Request::new("--floor", &Method::POST, &format!("{base}/publish"), &[], body)?,
        processes: Processes::new(&processes).map_err(Failure::Input)?,
        compressed: false,
        // Those of the options may not reach it.
        local_addresses: Vec::new(),
    };
    let mut figures = load.measure(&floor, progress)?;
    figures.cores = floor.processes.cores();
    Ok(figures)
}

/// What the options say about the server: a Fanfare one, but for what is said otherwise.
fn place(options: &BenchOptions) -> Result<Place, Failure> {
    let BenchOptions { connect, load, other, .. } = options;
    let one = load.target == Fan::One;
    let base = base(&connect.url);
    if other.subscribe_url.is_none() || other.publish_url.is_none() {
        // So that what is said about it is about what was written.
        Request::new("--url", &Method::GET, &connect.url, &[], None)?;
    }
    let mut common = Vec::new();
    if let Some(token) = &connect.token {
        common.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    common.extend(connect.headers.iter().cloned());

    let from = |option: &Option<String>, name: &'static str, default: String| match option {
        Some(url) => (name, url.clone()),
        None => ("--url", default),
    };
    let mut headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
    if load.compressed {
        headers.push(("accept-encoding".to_owned(), "gzip".to_owned()));
    }
    headers.extend(common.iter().cloned());
    let compression = if load.compressed { "&sse.compression=gzip" } else { "" };
    let streams = format!("{base}?userId=bench-{}{compression}", request::N);
    let (option, url) = from(&other.subscribe_url, "--subscribe-url", streams);
    let subscribe = Request::new(option, &Method::GET, &url, &headers, None)?;

    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(common);
    headers.extend(other.publish_headers.iter().cloned());
    let (option, url) = from(&other.publish_url, "--publish-url", format!("{base}/publish"));
    let body = other.publish_body.clone().unwrap_or_else(|| {
        let to = if one { r#","to":{"userId":"bench-{n}"}"# } else { "" };
        format!(r#"{{"event":"bench","data":"{{data}}"{to}}}"#)
    });
    let publish = Request::new(option, &other.publish_method, &url, &headers, Some(body))?;
    if !publish.has(request::DATA) {
        return Err(Failure::Input(
            "what is published has no {data}, by which deliveries are told: write it in --publish-body".into(),
        ));
    }
    if one && !publish.has(request::N) {
        return Err(Failure::Input(
            "with --target one, write {n} in --publish-url or --publish-body: whom the event is for".into(),
        ));
    }
    if !one && publish.has(request::N) {
        return Err(Failure::Input("{n} in a publish is whom the event is for, and needs --target one".into()));
    }
    let local_addresses = load.local_addresses.clone();
    let (processes, compressed) = (Processes::default(), load.compressed);
    Ok(Place { subscribe, publish, processes, compressed, local_addresses })
}

/// Without a path, the API is where it is by default.
fn base(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { url.to_owned() } else { format!("{url}{API}") }
}
