//! A connection as the application holds it: a response for a handler, or a stream of events to read in process.

use crate::driver::EngineHub;
use crate::error::ConnectError;
use crate::lock::lock;
use crate::manager::SseManager;
use crate::transport::Transport;
use crate::transport::pipe::{PipeReader, pipe};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fanfare_core::limits::LAST_MAX;
use fanfare_core::{
    Cursor, Disconnect, Encoding, Identity, Name, NameError, Parsed, Parser, ParserError, Registration, SlowPolicy,
    Start, Token,
};
use futures_core::Stream;
use http::header::{self, HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use mio::Registry;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

/// Who connects, and from where.
///
/// ```
/// use fanfare::ConnectionOptions;
/// let options = ConnectionOptions { user_id: Some("user123".into()), ..ConnectionOptions::default() };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The user. Names and values here have 1–255 bytes and no control characters.
    pub user_id: Option<String>,
    /// The session: what the application says survives reconnects.
    pub session_id: Option<String>,
    /// What filters can match; at most 32 pairs.
    pub metadata: BTreeMap<String, String>,
    /// Topics to receive; at most 100.
    pub topics: Vec<String>,
    /// Where to begin: the last id that was seen, `earliest`, `latest` or `last:N` (N at most 10,000). An id that
    /// means nothing here gives `reset`. `None` is now.
    pub last_event_id: Option<String>,
    /// How heartbeats look.
    pub heartbeat: Heartbeat,
    /// What becomes of it where it is slow; `None` is as [`SseConfig::slow_policy`](crate::SseConfig::slow_policy) says.
    pub slow_policy: Option<SlowPolicy>,
    /// How the response is encoded. [`Encoding::Gzip`] is for requests that accept it: see [`accepts_gzip`]. What is
    /// compressed is compressed once for everybody who gets it. A connection that is read as a [`Stream`] is never encoded.
    pub encoding: Encoding,
}

/// Whether a request takes gzip for an answer: its `accept-encoding` names `gzip`, or anything, and not with `q=0`
/// (RFC 9110, 12.5.3). A request without the header does not.
///
/// ```
/// use fanfare::{ConnectionOptions, Encoding, accepts_gzip};
/// # let headers = axum::http::HeaderMap::new();
/// let encoding = if accepts_gzip(&headers) { Encoding::Gzip } else { Encoding::Identity };
/// let options = ConnectionOptions { encoding, ..ConnectionOptions::default() };
/// ```
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut anything) = (None, None);
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for coding in lines.flat_map(|line| line.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let value = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            value.is_some_and(|value| value.parse().is_ok_and(|weight: f32| weight <= 0.0))
        });
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = Some(!refused);
        } else if name == "*" {
            anything = Some(!refused);
        }
    }
    gzip.or(anything).unwrap_or(false)
}

/// How heartbeats look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heartbeat {
    /// Comments: fewer bytes, and no script sees them, so none can tell a dead connection from a quiet one.
    Comment,
    /// `ping` events, as in the seed's list of standard events.
    #[default]
    Event,
}

impl ConnectionOptions {
    /// True if its start takes a look at the history.
    pub(crate) fn begins_by_count(&self) -> bool {
        self.last_event_id.as_deref().is_some_and(|text| text.starts_with(LAST))
    }

    pub(crate) fn check(&self) -> Result<(Identity, Start, fanfare_core::ConnectionOptions), ConnectError> {
        let mut identity = Identity::anonymous();
        if let Some(user) = &self.user_id {
            identity = identity.with_user(name("userId", user)?);
        }
        if let Some(session) = &self.session_id {
            identity = identity.with_session(name("sessionId", session)?);
        }
        let topics: Result<Vec<Name>, ConnectError> = self.topics.iter().map(|topic| name("topic", topic)).collect();
        identity = identity.with_topics(topics?).map_err(|error| invalid("topic", error))?;
        let mut metadata = Vec::with_capacity(self.metadata.len());
        for (key, value) in &self.metadata {
            let shown = || key.chars().take(40).collect::<String>();
            let key = Name::new(key).map_err(|error| invalid(shown(), error))?;
            metadata.push((key, Name::new(value).map_err(|error: NameError| invalid(shown(), error))?));
        }
        identity = identity.with_metadata(metadata).map_err(|error| invalid("metadata", error))?;
        let options = fanfare_core::ConnectionOptions {
            comment_heartbeat: self.heartbeat == Heartbeat::Comment,
            slow_policy: self.slow_policy,
        };
        Ok((identity, start(self.last_event_id.as_deref())?, options))
    }
}

/// What stands before the number where a connection begins with so many events from the end.
const LAST: &str = "last:";

/// Where `lastEventId` says to begin.
pub(crate) fn start(last_event_id: Option<&str>) -> Result<Start, ConnectError> {
    Ok(match last_event_id {
        None | Some("latest") => Start::Live,
        Some("earliest") => Start::Earliest,
        Some(text) => match text.strip_prefix(LAST) {
            Some(count) => {
                let count = count.parse().ok().filter(|count| (1..=LAST_MAX).contains(count));
                let detail = || format!("`last:N` takes a number from 1 to {LAST_MAX}");
                Start::Last(count.ok_or_else(|| invalid("lastEventId", detail()))?)
            }
            None => Start::After(Cursor::parse(text)),
        },
    })
}

fn name(field: &'static str, text: &str) -> Result<Name, ConnectError> {
    Name::new(text).map_err(|error| invalid(field, error))
}

fn invalid(field: impl Into<std::borrow::Cow<'static, str>>, detail: impl std::fmt::Display) -> ConnectError {
    ConnectError::Invalid { field: field.into(), detail: detail.to_string() }
}

/// The data of `connected`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connected<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    heartbeat_interval: u64,
    resume: &'static str,
}

/// A registered connection that nobody has attached yet. Whoever takes it out attaches it, once.
#[derive(Debug)]
pub(crate) struct Unattached {
    hub: EngineHub,
    token: Token,
    connected: Bytes,
    encoding: Encoding,
    registry: Arc<Registry>,
    #[cfg(feature = "test-util")]
    ungated: Option<crate::test_util::Ungated>,
}

impl Unattached {
    /// Hands a socket, taken out of hyper, to the shard. `head` goes before `connected`, in the same write.
    pub(crate) fn attach_socket(mut self, stream: std::net::TcpStream, body: Body, head: Vec<u8>) {
        let socket = crate::transport::Socket::new(stream, Arc::clone(&self.registry), body);
        self.attach(Transport::Socket(socket), head);
    }

    fn attach_pipe(mut self) -> PipeReader {
        let (writer, reader) = pipe(self.hub.clone(), self.token);
        self.attach(Transport::Pipe(writer), Vec::new());
        reader
    }

    fn attach(&mut self, transport: Transport, head: Vec<u8>) {
        #[cfg(feature = "test-util")]
        let Some(transport) = self.ungated.take().and_then(|ungated| ungated.put_before(transport)) else { return };
        self.hub.attach(self.token, transport, head, self.connected.clone(), self.encoding);
        // The connection has an owner now: dropping this is not its end.
        self.token = Token(u64::MAX);
    }
}

impl Drop for Unattached {
    fn drop(&mut self) {
        if self.token != Token(u64::MAX) {
            self.hub.close(self.token, Disconnect::Unattached);
        }
    }
}

/// Boxed, since the slot stays as long as the response's body, which is as long as the stream.
type Slot = Arc<Mutex<Option<Box<Unattached>>>>;

/// Travels with the response, so that `serve` can take the connection over.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    slot: Slot,
    /// What the untouched body shows as the lower bound of its size. A layer that replaces the data hides it.
    pub(crate) marker: u8,
    /// What the untouched head says of the body.
    pub(crate) encoding: Encoding,
}

impl Ticket {
    pub(crate) fn take(&self) -> Option<Box<Unattached>> {
        take(&self.slot)
    }
}

fn take(slot: &Slot) -> Option<Box<Unattached>> {
    lock(slot).take()
}

/// A registered connection.
///
/// As a response it is an event stream with the heads that proxies need. As a [`Stream`] it yields the events that
/// this connection receives, `connected` first, control events included. Dropped before either, it is gone.
#[derive(Debug)]
pub struct Connection {
    client_id: String,
    resume: &'static str,
    marker: u8,
    encoding: Encoding,
    body: ConnectionBody,
    parser: Parser,
    parsed: Vec<Parsed>,
    ready: VecDeque<Parsed>,
    #[cfg(feature = "test-util")]
    pub(crate) probe: crate::test_util::Probe,
}

/// Most bytes of one event that the in-process stream keeps: what the largest data becomes on the wire, and more.
const STREAM_EVENT_MAX: usize = 16 * fanfare_core::limits::DATA_MAX;

impl Connection {
    pub(crate) fn new(
        manager: &SseManager,
        registration: &Registration,
        identity: &Identity,
        encoding: Encoding,
    ) -> Self {
        let client_id = registration.client_id.to_string();
        let data = serde_json::to_string(&Connected {
            client_id: &client_id,
            user_id: identity.user().map(Name::as_str),
            session_id: identity.session().map(Name::as_str),
            heartbeat_interval: crate::config::millis(manager.config().ping_interval),
            resume: registration.resume.as_str(),
        })
        .unwrap_or_default();
        let token = registration.token();
        let inner = &manager.inner;
        let thread = &inner.threads[registration.client_id.shard(inner.threads.len())];
        let unattached = Unattached {
            hub: inner.hub.clone(),
            token,
            connected: registration.connected_frame(&data),
            encoding,
            registry: Arc::clone(&thread.registry),
            #[cfg(feature = "test-util")]
            ungated: Some(crate::test_util::Gate::make(&inner.kit, &inner.hub, registration.client_id, token)),
        };
        // 1 to 255, unlike any other body of unknown length, which says 0.
        let marker = 1 + (registration.retry_ms % 255) as u8;
        Self {
            client_id,
            resume: registration.resume.as_str(),
            marker,
            encoding,
            body: ConnectionBody {
                slot: Arc::new(Mutex::new(Some(Box::new(unattached)))),
                reader: None,
                marker,
                #[cfg(feature = "test-util")]
                breaks: false,
            },
            parser: Parser::new(STREAM_EVENT_MAX),
            parsed: Vec::new(),
            ready: VecDeque::new(),
            #[cfg(feature = "test-util")]
            probe: crate::test_util::Probe {
                hub: inner.hub.clone(),
                clock: inner.clock.clone(),
                client_id: registration.client_id,
            },
        }
    }

    /// Its name: what [`SseManager::send_to_client`] takes. It dies with the connection.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The verdict on its start: `live`, `resumed`, `gap` or `reset`.
    pub fn resume(&self) -> &'static str {
        self.resume
    }
}

impl IntoResponse for Connection {
    fn into_response(self) -> Response {
        let ticket = Ticket { slot: Arc::clone(&self.body.slot), marker: self.marker, encoding: self.encoding };
        let mut response = Response::new(Body::new(self.body));
        *response.headers_mut() = stream_headers(self.encoding);
        response.extensions_mut().insert(ticket);
        response
    }
}

/// The head of every event stream: no cache keeps it, no proxy holds it back or recodes it.
pub(crate) fn stream_headers(encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding, origin"));
    if let Some(encoding) = content_encoding(encoding) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    headers
}

/// The word for an encoding in the head of a response.
pub(crate) fn content_encoding(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip"),
    }
}

impl Stream for Connection {
    type Item = Result<Parsed, ParserError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            // Nobody but this reads it, and it reads events.
            let Some(bytes) = ready!(self.body.poll_bytes(context, Some(Encoding::Identity))) else {
                return Poll::Ready(None);
            };
            let this = &mut *self;
            if let Err(error) = this.parser.feed(&bytes, &mut this.parsed) {
                return Poll::Ready(Some(Err(error)));
            }
            this.ready.extend(this.parsed.drain(..));
        }
    }
}

/// The body of the response. Polled by an HTTP server that is not ours, it attaches itself as a pipe. Taken over, it stays
/// with the socket, as part of what every subscriber costs: so it is small.
#[derive(Debug)]
struct ConnectionBody {
    slot: Slot,
    reader: Option<Box<PipeReader>>,
    marker: u8,
    /// A break has been noticed, and is told when the body is polled again.
    #[cfg(feature = "test-util")]
    breaks: bool,
}

/// What the body of a stream can fail with: nothing, unless a test breaks it.
#[cfg(not(feature = "test-util"))]
type BodyError = std::convert::Infallible;
#[cfg(feature = "test-util")]
type BodyError = std::io::Error;

impl ConnectionBody {
    /// `encoding` stands in for the one that was asked for.
    fn poll_bytes(&mut self, context: &mut Context<'_>, encoding: Option<Encoding>) -> Poll<Option<Bytes>> {
        if self.reader.is_none() {
            self.reader = take(&self.slot).map(|mut unattached| {
                unattached.encoding = encoding.unwrap_or(unattached.encoding);
                Box::new(unattached.attach_pipe())
            });
        }
        match &self.reader {
            Some(reader) => reader.poll_take(context),
            // Taken over by `serve`, which does not poll it.
            None => Poll::Ready(None),
        }
    }
}

#[cfg(not(feature = "test-util"))]
const _: () = assert!(size_of::<ConnectionBody>() <= 24, "each subscriber has one");

#[cfg(feature = "test-util")]
impl ConnectionBody {
    /// Fails the second time: whoever serves it writes what came before in between.
    fn poll_break(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if std::mem::replace(&mut self.breaks, true) {
            return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl http_body::Body for ConnectionBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let bytes = ready!(self.poll_bytes(context, None));
        #[cfg(feature = "test-util")]
        if bytes.is_none() && self.reader.as_ref().is_some_and(|reader| reader.is_broken()) {
            return self.poll_break(context);
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.marker.into());
        hint
    }
}
