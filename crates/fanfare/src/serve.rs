//! Serving an axum application so that its event streams cost next to nothing.
//!
//! hyper, the application's router and every middleware parse the request and make the response. If that response is
//! an untouched event stream on plain HTTP/1, the socket is taken out of hyper and given to the shard that owns the
//! connection; everything else is served as `axum::serve` would.
//!
//! *Untouched* means: our ticket, status 200, no header that says the body is recoded by somebody else, and a body that
//! still shows the ticket's number as the lower bound of its size, which a layer that replaces the data hides and a layer
//! that only watches keeps. The response's body stays with the connection, so what is tied to it lives as long as the
//! stream.

use crate::connection::{Ticket, content_encoding};
use crate::lock::lock;
use crate::sys;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioTimer;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

/// Longest silence before the first byte of a connection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for the whole head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// Most requests for streams inside the application at once. The next wait for their turn, with their sockets open:
/// otherwise a storm of connects and a slow handler leave a full set of buffers behind for each.
const REQUESTS_MAX: usize = 1_024;
/// Connections the kernel completes before they are accepted. With the usual 1,024, a thousand simultaneous connects
/// take two seconds of retries.
const BACKLOG: i32 = 4_096;
/// Bytes the kernel keeps unsent for a connection before it says it is full.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: i32 = 16 * 1024;
/// Pause after the system refused another descriptor: whoever leaves makes room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A storm is this many streams since the heap was last trimmed.
const STORM: u64 = 500;
/// Time without a new stream after which a storm is over.
const CALM: Duration = Duration::from_millis(500);
/// Time given to requests that are being answered when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Streams taken over so far.
static TAKEN_OVER: AtomicU64 = AtomicU64::new(0);

/// Serves an application on a listener. Await it; it returns only with an error of the listener, or after the signal of
/// [`Serve::with_graceful_shutdown`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fanfare::{SseConfig, SseManager};
/// let manager = SseManager::new(SseConfig::default())?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:4000").await?;
/// fanfare::serve(listener, fanfare::router(manager)).await?;
/// # Ok(())
/// # }
/// ```
pub fn serve(listener: TcpListener, app: impl Into<Router>) -> Serve {
    Serve { listener, app: app.into(), signal: None }
}

/// See [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve {
    listener: TcpListener,
    app: Router,
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Serve {
    /// Stops accepting when `signal` completes, and returns when the requests that are being answered are done, or
    /// after five seconds. Event streams are the manager's: end them with [`crate::SseManager::drain`].
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    async fn run(self) -> io::Result<()> {
        let Self { listener, app, signal } = self;
        prepare(&listener);
        let admission = Arc::new(Semaphore::new(REQUESTS_MAX));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(trim_after_storms(stopped.clone()));
        let mut signal = pin!(async move {
            match signal {
                Some(signal) => signal.await,
                None => std::future::pending().await,
            }
        });
        let mut pausing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut signal => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pausing = false;
                    let (app, admission, stopped) = (app.clone(), Arc::clone(&admission), stopped.clone());
                    tokio::spawn(async move {
                        // What goes wrong on one connection is between it and its peer.
                        if let Err(error) = connection(stream, peer, app, &admission, stopped).await {
                            tracing::debug!(target: "fanfare", %peer, %error, "connection failed");
                        }
                    });
                }
                Err(error) if is_peer_error(&error) => {}
                Err(error) => {
                    // No descriptor, or no memory: neither spin nor give up.
                    if !std::mem::replace(&mut pausing, true) {
                        tracing::warn!(target: "fanfare", %error, "accepting pauses until there is room");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        () = &mut signal => break,
                    }
                }
            }
        }
        drop(listener);
        drop(stopped);
        _ = stop.send(true);
        // Every connection's task holds a receiver until it is done.
        _ = tokio::time::timeout(STOP_TIMEOUT, stop.closed()).await;
        Ok(())
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Options that accepted sockets inherit, so that they cost no system call each.
fn prepare(listener: &TcpListener) {
    let socket = socket2::SockRef::from(listener);
    // Each is a refinement: a system that refuses one still serves.
    _ = socket.set_tcp_nodelay(true);
    _ = socket.listen(BACKLOG);
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsFd as _;
        _ = sys::set_notsent_lowat(listener.as_fd(), NOTSENT_LOWAT);
    }
}

fn is_peer_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// After thousands of connects the heap is full of holes where hyper's buffers were: give them back when it is calm.
async fn trim_after_storms(mut stopped: watch::Receiver<bool>) {
    let mut trimmed_at = TAKEN_OVER.load(Ordering::Relaxed);
    let mut before = trimmed_at;
    loop {
        tokio::select! {
            () = tokio::time::sleep(CALM) => {}
            _ = stopped.changed() => return,
        }
        let now = TAKEN_OVER.load(Ordering::Relaxed);
        if now == before && now - trimmed_at >= STORM {
            trimmed_at = now;
            // Walks the whole heap, some milliseconds: not on a thread that serves.
            _ = tokio::task::spawn_blocking(sys::trim_heap).await;
        }
        before = now;
    }
}

/// What the service leaves for the task that drives the connection.
#[derive(Default)]
struct Exchange {
    /// An untouched event stream, to be written by ourselves.
    stream: Option<Response>,
    /// A request has come, whole.
    requested: bool,
}

type SharedExchange = Arc<Mutex<Exchange>>;

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    admission: &Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Before hyper's buffers exist, so that a silent connection costs a socket and a small task.
    let mut first = [0; 4];
    let received = tokio::select! {
        received = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first)) => received??,
        _ = stopped.changed() => return Ok(()),
    };
    if received == 0 {
        return Ok(());
    }
    #[cfg(feature = "http2")]
    {
        let http2 = tokio::select! {
            http2 = begins_http2(&stream, first, received) => http2?,
            _ = stopped.changed() => return Ok(()),
        };
        if http2 {
            return self::http2(stream, peer, app, admission, stopped).await;
        }
    }
    let io = Arc::new(Mutex::new(Io { stream: Some(stream), flushed: false }));
    let exchange = SharedExchange::default();
    let service = hyper::service::service_fn({
        let exchange = Arc::clone(&exchange);
        move |request: Request<Incoming>| {
            let (app, admission, exchange) = (app.clone(), Arc::clone(admission), Arc::clone(&exchange));
            lock(&exchange).requested = true;
            async move {
                let may_stream = may_take_over(&request);
                let response = call(app, &admission, request, peer).await?;
                if may_stream && is_untouched_stream(&response) {
                    lock(&exchange).stream = Some(response);
                    // The socket is taken from under this future.
                    return std::future::pending().await;
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(SharedIo(Arc::clone(&io)), service)
            .with_upgrades()
    );
    let mut stopping = pin!(stopped.changed());
    let mut told = false;
    let taken = poll_fn(|context| {
        if !told && stopping.as_mut().poll(context).is_ready() {
            told = true;
            // Half a head is nobody's request: do not wait for the rest of it.
            if !lock(&exchange).requested {
                return Poll::Ready(Ok(None));
            }
            connection.as_mut().graceful_shutdown();
        }
        lock(&io).flushed = false;
        if let Poll::Ready(done) = connection.as_mut().poll(context) {
            return Poll::Ready(done.map(|()| None));
        }
        // Flushed in this very poll, so no earlier answer is left unsent in hyper.
        if lock(&io).flushed
            && let Some(response) = lock(&exchange).stream.take()
        {
            return Poll::Ready(Ok(Some(response)));
        }
        Poll::Pending
    })
    .await?;
    if let Some(response) = taken {
        let stream = lock(&io).stream.take();
        if let Some(stream) = stream {
            take_over(stream, response)?;
        }
    }
    Ok(())
}

async fn call(
    app: Router,
    admission: &Semaphore,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, std::convert::Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    // Only what asks for a stream: a storm of those is usual, and everything else may take its time in the application,
    // as a long poll or an upload does, without holding up anybody. Never closed, so always granted.
    let _permit = if asks_for_stream(&request) { admission.acquire().await.ok() } else { None };
    app.oneshot(request.map(Body::new)).await
}

/// Whether a connection begins with the preface of HTTP/2, which may come in pieces.
#[cfg(feature = "http2")]
async fn begins_http2(stream: &TcpStream, mut first: [u8; 4], mut received: usize) -> io::Result<bool> {
    /// No request of HTTP/1 begins like this.
    const PREFACE: &[u8] = b"PRI ";
    /// Time between two looks: a socket whose bytes were only looked at stays readable, so there is no wake-up.
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = tokio::time::Instant::now() + HEAD_TIMEOUT;
    while received < PREFACE.len() && PREFACE.starts_with(&first[..received]) {
        if tokio::time::Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tokio::time::sleep(PAUSE).await;
        received = stream.peek(&mut first).await?;
    }
    Ok(first == PREFACE)
}

#[cfg(feature = "http2")]
async fn http2(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    admission: &Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// Streams of one connection: one browser's tabs, many times over.
    const STREAMS_MAX: u32 = 200;
    /// Bytes buffered for a stream that does not take them.
    const SEND_BUFFER: usize = 32 * 1024;
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (app, admission) = (app.clone(), Arc::clone(admission));
        async move { call(app, &admission, request, peer).await }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX as u32)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut connection = pin!(builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
    tokio::select! {
        done = &mut connection => done?,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}

/// Whether a request's answer may be written past hyper.
fn may_take_over(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET
        && matches!(request.version(), Version::HTTP_11 | Version::HTTP_10)
        && request.body().is_end_stream()
        && !request.headers().contains_key(header::EXPECT)
}

fn asks_for_stream(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.body().is_end_stream()
        && request
            .headers()
            .get(header::ACCEPT)
            .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}

fn is_untouched_stream(response: &Response) -> bool {
    let recoded = [header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
    let encodings = || response.headers().get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    response.status() == StatusCode::OK
        && recoded.iter().all(|name| !response.headers().contains_key(name))
        && response.extensions().get::<Ticket>().is_some_and(|ticket| {
            response.body().size_hint().lower() == u64::from(ticket.marker)
                && encodings().eq(content_encoding(ticket.encoding).map(str::as_bytes))
        })
}

fn take_over(stream: TcpStream, response: Response) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let Some(unattached) = parts.extensions.get::<Ticket>().and_then(Ticket::take) else {
        return Err(io::Error::other("the stream has an owner already"));
    };
    let head = encode_head(&parts.headers);
    unattached.attach_socket(stream.into_std()?, body, head);
    TAKEN_OVER.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The head of a response that ends with its connection.
fn encode_head(headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in headers {
        if name != header::CONNECTION && name != header::DATE {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"date: ");
    head.extend_from_slice(httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    head.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    head
}

/// A socket that can be taken away from hyper.
struct Io {
    stream: Option<TcpStream>,
    /// hyper has nothing more to write: it flushed since this was last cleared.
    flushed: bool,
}

struct SharedIo(Arc<Mutex<Io>>);

impl SharedIo {
    fn with<T>(&self, work: impl FnOnce(Pin<&mut TcpStream>, &mut bool) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let mut io = lock(&self.0);
        let Io { stream, flushed } = &mut *io;
        match stream {
            Some(stream) => work(Pin::new(stream), flushed),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Read for SharedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer may be uninitialized, which safe code cannot hand to tokio: a small stop-over instead. Heads are
        // small, and bodies bounded.
        let mut stop_over = [0; 4_096];
        let len = cursor.remaining().min(stop_over.len());
        let mut buffer = ReadBuf::new(&mut stop_over[..len]);
        let polled = self.with(|stream, _| stream.poll_read(context, &mut buffer));
        if matches!(polled, Poll::Ready(Ok(()))) {
            cursor.put_slice(buffer.filled());
        }
        polled
    }
}

impl Write for SharedIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream, _| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream, flushed| {
            let polled = stream.poll_flush(context);
            *flushed = matches!(polled, Poll::Ready(Ok(())));
            polled
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream, _| stream.poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream, _| stream.poll_write_vectored(context, slices))
    }
}
