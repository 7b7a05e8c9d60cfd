//! `fanfare serve`: from options to a running server, and to its orderly end.

use crate::auth::Token;
use crate::cli::ServeOptions;
use crate::metrics;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use fanfare::{ConfigError, SseConfig, SseManager};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use std::error::Error;
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;

/// Descriptors kept for listener, pollers, logs, and requests that are not streams: a part of all, within bounds.
const RESERVE_PART: u64 = 20;
const RESERVE_MIN: u64 = 32;
const RESERVE_MAX: u64 = 1_024;
/// Besides, for the files of a log on disk: two for each of about 64 segments.
const RESERVE_DISK: u64 = 160;
/// Longest time a browser may remember the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);

pub(crate) fn run(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    // Dropped at the end, when it waits a moment for the last lines.
    let _log = start_logging(&options);
    let descriptors = fanfare::raise_descriptor_limit();
    let token =
        options.token.as_deref().filter(|token| !token.is_empty()).map(Token::new).transpose().map_err(Setting)?;
    let local = options.listen.ip().is_loopback();
    if !local && token.is_none() && !options.dangerously_allow_anyone {
        return Err(Box::new(Setting(format!(
            "{} is reachable from outside, and without a token anyone could publish to everyone: set FANFARE_TOKEN, \
             listen on 127.0.0.1, or pass --dangerously-allow-anyone",
            options.listen
        ))));
    }
    let cors = cors(&options.cors_origins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        survive_file_size_limit()?;
        let manager = SseManager::new(config(&options, descriptors)).map_err(in_flags)?;
        let app = app(&manager, token.clone(), cors, local || options.demo);
        let listener =
            TcpListener::bind(options.listen).await.map_err(|error| Bind { address: options.listen, error })?;
        let address = listener.local_addr()?;
        // Before anybody can know that it runs: the first signal, too, is to drain it.
        let signals = Signals::new()?;
        let access = if token.is_some() { "token" } else { "open to everybody who reaches it" };
        tracing::info!(
            target: "fanfare",
            %address,
            max_clients = manager.config().max_clients,
            descriptors = descriptors.unwrap_or_default(),
            access,
            "listening on http://{address}"
        );
        if local || options.demo {
            tracing::info!(target: "fanfare", "demo page: http://{address}/sse-demo");
        }
        serve_until_stopped(listener, app, &manager, options.drain, signals).await
    })
}

/// Logs to standard error from a thread of its own: whoever reads the log may be slow, or gone, and that holds up no
/// event. Lines that do not fit its queue are lost.
fn start_logging(options: &ServeOptions) -> WorkerGuard {
    let level = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    // An error of the writer is not worth a second write to the same place.
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        builder.with_ansi(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())).init();
    } else {
        builder.json().flatten_event(true).init();
    }
    guard
}

fn config(options: &ServeOptions, descriptors: Option<u64>) -> SseConfig {
    let default = SseConfig::default();
    let from_descriptors = descriptors.map(|limit| {
        let disk = if options.data_dir.is_some() { RESERVE_DISK } else { 0 };
        let reserve = ((limit / RESERVE_PART).clamp(RESERVE_MIN, RESERVE_MAX) + disk).min(limit / 2);
        usize::try_from(limit - reserve).unwrap_or(usize::MAX).max(1)
    });
    SseConfig {
        ping_interval: options.ping_interval,
        client_timeout: options.client_timeout,
        max_clients: options.max_clients.or(from_descriptors).unwrap_or(default.max_clients),
        enable_logging: !options.quiet,
        stall_timeout: options.stall_timeout,
        slow_policy: options.slow_policy,
        compression: options.compression,
        lifetime: options.lifetime,
        data_dir: options.data_dir.clone(),
        disk_bytes: options.disk_size as u64,
        disk_age: options.disk_age,
        disk_events: options.disk_events,
        history_bytes: options.history_size,
        history_age: options.history_age,
        shards: options.shards,
        ..default
    }
}

/// A setting that does not make sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Setting(String);

/// A setting of the library by the name of its flag.
fn in_flags(error: ConfigError) -> Box<dyn Error> {
    const FLAGS: [(&str, &str); 11] = [
        ("client_timeout", "--client-timeout"),
        ("disk_age", "--disk-age"),
        ("disk_bytes", "--disk-size"),
        ("disk_events", "--disk-events"),
        ("history_age", "--history-age"),
        ("history_bytes", "--history-size"),
        ("lifetime", "--lifetime"),
        ("max_clients", "--max-clients"),
        ("ping_interval", "--ping-interval"),
        ("shards", "--shards"),
        ("stall_timeout", "--stall-timeout"),
    ];
    let ConfigError::Invalid { setting, detail } = error else { return error.into() };
    let text = FLAGS.iter().fold(format!("{setting}: {detail}"), |text, (name, flag)| text.replace(name, flag));
    Box::new(Setting(text))
}

/// True if nothing but another setting can help: a service manager need not start it again.
pub(crate) fn is_about_settings(error: &(dyn Error + 'static)) -> bool {
    error.is::<Setting>()
}

#[derive(Debug)]
struct Bind {
    address: std::net::SocketAddr,
    error: std::io::Error,
}

impl std::fmt::Display for Bind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "cannot listen on {}; is another server there? Choose another with --listen", self.address)
    }
}

impl Error for Bind {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Exact origins, or any.
fn cors(origins: &[String]) -> Result<Option<CorsLayer>, Box<dyn Error>> {
    let origins: Vec<&str> = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty()).collect();
    if origins.is_empty() {
        return Ok(None);
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            HeaderName::from_static("last-event-id"),
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    if origins == ["*"] {
        return Ok(Some(layer.allow_origin(AllowOrigin::any())));
    }
    let mut exact: Vec<HeaderValue> = Vec::with_capacity(origins.len());
    for origin in origins {
        let bad = || {
            format!("--cors-origin {origin:?} is not an origin: write scheme://host or scheme://host:port, or * alone")
        };
        let (scheme, host) = origin.split_once("://").ok_or_else(|| Setting(bad()))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
        if !matches!(scheme, "http" | "https") || host.is_empty() || !host.chars().all(plain) {
            return Err(Box::new(Setting(bad())));
        }
        exact.push(origin.parse()?);
    }
    Ok(Some(layer.allow_origin(AllowOrigin::list(exact)).allow_credentials(true)))
}

#[derive(Clone)]
struct AppState {
    manager: SseManager,
    token: Option<Token>,
}

fn app(manager: &SseManager, token: Option<Token>, cors: Option<CorsLayer>, demo: bool) -> Router {
    let events = fanfare::router(manager.clone()).demo(demo);
    let events = match token.clone() {
        Some(token) => events.authorize(move |request| std::future::ready(token.check(&request))),
        None => events.allow_all(),
    };
    let state = AppState { manager: manager.clone(), token };
    let own = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .fallback(not_found)
        .method_not_allowed_fallback(async || fanfare::method_not_allowed())
        .with_state(state);
    let app = own.merge(events);
    match cors {
        Some(cors) => app.layer(cors),
        None => app,
    }
}

async fn readyz(State(state): State<AppState>) -> Response {
    if state.manager.is_closing() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    "ready\n".into_response()
}

async fn metrics_text(State(state): State<AppState>, request: Request) -> Response {
    if state.token.as_ref().is_some_and(|token| !token.is_in(request.headers())) {
        return fanfare::Denied::unauthorized("send `Authorization: Bearer …` with the server's token").into_response();
    }
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&state.manager)).into_response()
}

async fn not_found(request: Request) -> Response {
    fanfare::not_found(format!(
        "nothing is at this path; the stream is at /api/sse, not {:?}",
        short(request.uri().path())
    ))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Serves until a signal, then drains; a second signal ends it at once.
async fn serve_until_stopped(
    listener: TcpListener,
    app: Router,
    manager: &SseManager,
    window: Duration,
    mut signals: Signals,
) -> Result<(), Box<dyn Error>> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = fanfare::serve(listener, app).with_graceful_shutdown(async move {
        // Dropped is stopped as well.
        _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return Ok(ended??),
        () = signals.next() => {}
    }
    let clients = manager.engine_stats().clients;
    tracing::info!(target: "fanfare", clients, window_ms = window.as_millis() as u64, "draining; a second signal exits at once");
    tokio::select! {
        () = manager.drain(window) => {}
        () = signals.next() => {
            tracing::warn!(target: "fanfare", "exiting without a drain");
            return Ok(());
        }
    }
    _ = stop.send(());
    tokio::select! {
        ended = &mut server => ended??,
        () = signals.next() => {}
    }
    tracing::info!(target: "fanfare", "stopped");
    Ok(())
}

/// A limit on the size of files is met with a signal, which ends a process that does not handle it. Handled, the write
/// fails instead, as on a full disk.
#[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "where there is such a limit it can fail"))]
fn survive_file_size_limit() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // The handler stays when this is dropped.
        _ = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    }
    Ok(())
}

/// SIGTERM and Ctrl-C.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "the other systems can fail")]
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without Ctrl-C there is no signal to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
