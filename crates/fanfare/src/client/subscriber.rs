//! The life of a subscription over many connections: when it tries again, and what it hands to whom.
//!
//! There is no task behind it: it moves when it is asked for the next update. The rules are those of the TypeScript client.

use super::backoff::{self, INTERVAL, STABLE_AFTER};
use super::error::{RequestError, SubscribeError};
use super::query::add_identity;
use super::request::{Client, problem, retry_after};
use super::update::{Block, Event, Update};
use super::{random, root};
use crate::connection::ConnectionOptions;
use fanfare_core::{Cursor, Parsed, Parser, Resume};
use futures_core::Stream;
use http::{HeaderValue, header};
use reqwest::{Response, Url};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// For an answer to begin.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Silence that is accepted before the server has announced its heartbeat.
const IDLE_DEFAULT: Duration = Duration::from_secs(60);
/// Added to two heartbeats.
const IDLE_SLACK: Duration = Duration::from_secs(5);
/// What waits to be read after this process stood still gets this time.
const GRACE: Duration = Duration::from_secs(3);
/// Stands for what is longer than there is time.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
/// Bytes of one event.
const EVENT_SIZE_MAX: usize = 1 << 20;
/// Bytes of a refusal that are kept.
const BODY_KEPT: usize = 2_048;
/// Time in which they have to come.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// Bytes of the longest id that is sent: more would make other servers refuse the request.
const PLACE_MAX: usize = 4_096;

/// How a subscriber comes back, and what it takes for a failure.
///
/// ```
/// use fanfare::client::Reconnect;
/// use std::time::Duration;
/// let patient = Reconnect { max_failures: Some(10), ..Reconnect::default() };
/// assert_eq!(patient.connect_timeout, Duration::from_secs(20));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    /// Whether it comes back at all; true unless set.
    pub enabled: bool,
    /// What delays grow from: random between 0 and this, doubled by each failure, from 100 ms to 30 s. `None` is what the
    /// server says, else 1 s.
    pub interval: Option<Duration>,
    /// Failures in a row after which it gives up: with 1, the first is the last. `None` is never. Ten seconds of an open
    /// stream end a row.
    pub max_failures: Option<u32>,
    /// For an answer to begin; 20 s unless set.
    pub connect_timeout: Duration,
    /// Silence on an open stream; `None` is two heartbeats of the server and 5 s, and 60 s while it has announced none.
    pub idle_timeout: Option<Duration>,
    /// Bytes of one event; 1 MiB unless set. A larger one ends the subscription for good.
    pub event_size_max: usize,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: None,
            max_failures: None,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: None,
            event_size_max: EVENT_SIZE_MAX,
        }
    }
}

/// A subscription: a stream of [`Update`]s over as many connections as it takes.
///
/// It follows what a hub says: `retry`, `$closing`, `Retry-After`, heartbeats. It resumes behind the last event it had, drops what
/// it has had, and tries again with growing, random delays. It ends with an error where trying again cannot help: the
/// server closed it for good, or refused it with a status other than 408, 425, 429 or 5xx; a 401 or 403 gets one more
/// attempt if the token comes from a source.
///
/// It moves only while it is asked for updates. Who asks slowly is a slow reader to the server, and buffers nothing here but what
/// one read brought.
pub struct Subscriber {
    client: Client,
    url: Url,
    reconnect: Reconnect,
    state: State,
    /// What was read, each with the place behind it.
    updates: VecDeque<(Option<String>, Update)>,
    /// The end, told behind them.
    failure: Option<SubscribeError>,
    /// The place behind what was read, and behind what was handed over.
    read: String,
    handed: String,
    /// What delays grow from, as the server last said.
    interval: Duration,
    failures: u32,
    /// The attempt before was refused for want of rights.
    refused: bool,
}

enum State {
    Closed,
    Connecting(Pin<Box<dyn Future<Output = Result<Response, SubscribeError>> + Send>>),
    Open(Box<Open>),
    Waiting(Pin<Box<Sleep>>),
}

struct Open {
    response: Response,
    parser: Parser,
    since: Instant,
    heard: Instant,
    /// Silence that is accepted.
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    /// A `connected` came: ids are cursors.
    cursors: bool,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Subscriber").field("last_event_id", &self.handed).finish_non_exhaustive()
    }
}

impl Client {
    /// Subscribes. The first connection is made when the first update is asked for; it begins where
    /// [`ConnectionOptions::last_event_id`] says, later ones behind the last event.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] for an identity that is not allowed.
    pub fn subscribe(&self, options: ConnectionOptions) -> Result<Subscriber, RequestError> {
        self.subscribe_with(options, Reconnect::default())
    }

    /// [`Client::subscribe`] with other than the usual ways to come back.
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`].
    pub fn subscribe_with(&self, options: ConnectionOptions, reconnect: Reconnect) -> Result<Subscriber, RequestError> {
        let mut url = self.at(&[]);
        add_identity(&mut url, &options)?;
        let place = options.last_event_id.unwrap_or_default();
        let mut subscriber = Subscriber {
            client: self.clone(),
            url,
            reconnect,
            state: State::Closed,
            updates: VecDeque::new(),
            failure: None,
            read: place.clone(),
            handed: place,
            interval: INTERVAL,
            failures: 0,
            refused: false,
        };
        subscriber.connect();
        Ok(subscriber)
    }
}

impl Subscriber {
    /// The next update; `None` once it has ended. An error is the end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Update, SubscribeError>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Where a new subscription would go on, behind the last update that was handed over; empty before the first.
    pub fn last_event_id(&self) -> &str {
        &self.handed
    }

    /// Ends the connection and every attempt. What was read before is still handed over.
    pub fn disconnect(&mut self) {
        self.state = State::Closed;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Update, SubscribeError>>> {
        loop {
            if let Some((place, update)) = self.updates.pop_front() {
                if let Some(place) = place {
                    self.handed = place;
                }
                return Poll::Ready(Some(Ok(update)));
            }
            match &mut self.state {
                State::Closed => return Poll::Ready(self.failure.take().map(Err)),
                State::Connecting(attempt) => match ready!(attempt.as_mut().poll(context)) {
                    Ok(response) => self.open(response),
                    Err(error) => self.refuse(error),
                },
                State::Waiting(until) => {
                    ready!(until.as_mut().poll(context));
                    self.connect();
                }
                State::Open(open) => {
                    // Its state is in the response: the future may be made anew each time.
                    let piece = pin!(open.response.chunk()).poll(context);
                    match piece {
                        Poll::Ready(Ok(Some(piece))) => self.take(&piece),
                        Poll::Ready(Ok(None)) => self.end(Some(SubscribeError::Ended)),
                        Poll::Ready(Err(error)) => self.end(Some(network(error))),
                        Poll::Pending => {
                            ready!(open.silence.as_mut().poll(context));
                            let idle = open.idle;
                            if open.silence.deadline().elapsed() > GRACE / 2 {
                                // This process stood still: what came meanwhile gets a moment to be read.
                                open.silence.as_mut().reset(Instant::now() + GRACE);
                            } else {
                                self.end(Some(SubscribeError::Idle(idle)));
                            }
                        }
                    }
                }
            }
        }
    }

    fn connect(&mut self) {
        let (client, url, place) = (self.client.clone(), self.url.clone(), self.read.clone());
        let limit = self.reconnect.connect_timeout;
        self.state = State::Connecting(Box::pin(async move {
            let attempt = timeout(limit, request(&client, url, &place)).await;
            attempt.unwrap_or(Err(SubscribeError::Timeout(limit)))
        }));
    }

    fn open(&mut self, response: Response) {
        self.refused = false;
        let now = Instant::now();
        let idle = self.reconnect.idle_timeout.unwrap_or(IDLE_DEFAULT);
        self.state = State::Open(Box::new(Open {
            response,
            parser: Parser::new(self.reconnect.event_size_max).with_last_event_id(&self.read),
            since: now,
            heard: now,
            idle,
            silence: Box::pin(sleep(idle)),
            cursors: false,
        }));
    }

    /// An attempt came to nothing.
    fn refuse(&mut self, error: SubscribeError) {
        let again = error.is_refusal() && self.client.refreshes_token() && !self.refused;
        self.refused = error.is_refusal();
        if again { self.connect() } else { self.end(Some(error)) }
    }

    /// A connection, or an attempt, is over: unplanned with an error, as the server planned it without.
    fn end(&mut self, error: Option<SubscribeError>) {
        self.end_with(error, Duration::ZERO);
    }

    /// The server may want a longest wait after this connection.
    fn end_with(&mut self, error: Option<SubscribeError>, floor: Duration) {
        if let State::Open(open) = &self.state
            && open.since.elapsed() >= STABLE_AFTER
        {
            self.failures = 0;
        }
        let Reconnect { enabled, interval, max_failures, .. } = self.reconnect;
        let for_good = error.as_ref().is_some_and(|error| {
            !error.is_retryable() || max_failures.is_some_and(|max| self.failures.saturating_add(1) >= max)
        });
        if !enabled || for_good {
            self.state = State::Closed;
            self.failure = error;
            return;
        }
        let delay = backoff::delay(interval.unwrap_or(self.interval), self.failures, random()).max(floor)
            + error.as_ref().and_then(SubscribeError::retry_after).unwrap_or_default();
        self.failures += u32::from(error.is_some());
        self.state = State::Waiting(Box::pin(sleep(delay)));
        self.updates.push_back((None, Update::Waiting { error, delay, failures: self.failures }));
    }

    /// Bytes of the stream.
    fn take(&mut self, piece: &[u8]) {
        let State::Open(open) = &mut self.state else { return };
        let mut parsed = Vec::new();
        let fed = open.parser.feed(piece, &mut parsed);
        let (place, retry) = (open.parser.last_event_id().to_owned(), open.parser.retry());
        open.heard = Instant::now();
        // The `retry` of `$closing` is for once; all others hold for all connections to come. Whose it is, the end of its
        // block tells.
        let mut closing = open.parser.unfinished_retry().is_some();
        for event in parsed {
            if event.event == "$closing" {
                closing = true;
            } else if let Some(retry) = event.retry {
                self.interval = Duration::from_millis(retry);
            }
            self.receive(event);
            if !matches!(self.state, State::Open(_)) {
                return;
            }
        }
        if let Some(retry) = retry.filter(|_| !closing) {
            self.interval = Duration::from_millis(retry);
        }
        // Blocks without data move the place too.
        if place != self.read && !is_at_or_before(&place, &self.read) {
            self.read.clone_from(&place);
            match self.updates.back_mut() {
                Some((last, _)) => *last = Some(place),
                None => self.handed = place,
            }
        }
        if fed.is_err() {
            return self.end(Some(SubscribeError::TooLarge(self.reconnect.event_size_max)));
        }
        self.listen();
    }

    /// Waits for the next bytes, or for too long a silence.
    fn listen(&mut self) {
        if let State::Open(open) = &mut self.state {
            let deadline = open.heard.checked_add(open.idle);
            open.silence.as_mut().reset(deadline.unwrap_or(open.heard + NEVER));
        }
    }

    fn receive(&mut self, parsed: Parsed) {
        let State::Open(open) = &mut self.state else { return };
        let block = Block::of(&parsed);
        let seen = is_at_or_before(&parsed.last_event_id, &self.read);
        let anew = matches!(&block, Block::Connected(connected) if connected.resume == Resume::Reset)
            || matches!(&block, Block::Gap(gap) if gap.reset);
        if parsed.last_event_id != self.read && (!seen || anew) {
            self.read.clone_from(&parsed.last_event_id);
        }
        let floor = Duration::from_millis(parsed.retry.unwrap_or_default());
        let place = self.read.clone();
        let update = match block {
            Block::Ping => {
                return match self.updates.back_mut() {
                    Some((last, _)) => *last = Some(place),
                    None => self.handed = place,
                };
            }
            Block::Connected(connected) => {
                open.cursors = true;
                let announced = 2 * connected.heartbeat_interval + IDLE_SLACK;
                let usual = if connected.heartbeat_interval.is_zero() { IDLE_DEFAULT } else { announced };
                open.idle = self.reconnect.idle_timeout.unwrap_or(usual);
                Update::Connected(connected)
            }
            Block::Gap(gap) => Update::Gap(gap),
            Block::Event => {
                let (event, cursors) = (Event::from(parsed), open.cursors);
                if seen && cursors && !event.ephemeral {
                    return;
                }
                Update::Event(event)
            }
            Block::Closing { reason, reconnect } => {
                self.updates.push_back((Some(place), Update::Closing { reason: reason.clone(), reconnect }));
                let error = SubscribeError::Closing(reason);
                if reconnect {
                    // Having no room is a failure like others; the rest is as planned.
                    self.end_with(error.is_retryable().then_some(error), floor);
                } else {
                    self.state = State::Closed;
                    self.failure = Some(error);
                }
                return;
            }
        };
        self.updates.push_back((Some(place), update));
    }
}

impl Stream for Subscriber {
    type Item = Result<Update, SubscribeError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

/// One attempt, up to the head of an event stream.
async fn request(client: &Client, url: Url, place: &str) -> Result<Response, SubscribeError> {
    let headers = client.headers().map_err(|error| SubscribeError::Network(error.to_string(), error.into()))?;
    let mut request = client.streams.get(url).headers(headers);
    request = request.header(header::ACCEPT, "text/event-stream").header(header::CACHE_CONTROL, "no-store");
    if let Ok(place) = HeaderValue::from_bytes(place.as_bytes())
        && (1..=PLACE_MAX).contains(&place.len())
    {
        request = request.header("last-event-id", place);
    }
    let response = request.send().await.map_err(network)?;
    let status = response.status().as_u16();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type =
        content_type.map_or(String::new(), |value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if status != 200 {
        let retry_after = retry_after(&response);
        let body = problem(status, &beginning(response).await).detail;
        return Err(SubscribeError::Http { status, body, retry_after });
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/event-stream") {
        let what = if essence.is_empty() { "has no content type".to_owned() } else { essence.to_owned() };
        return Err(SubscribeError::ContentType(what));
    }
    // No encoding was asked for, and none can be read.
    let encoding = response.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let encoding = String::from_utf8_lossy(encoding);
        return Err(SubscribeError::ContentType(format!(
            "one in {encoding}: what lies in between must not compress it"
        )));
    }
    Ok(response)
}

/// The beginning of a refusal. What does not come soon is not waited for: the status is what counts.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece[..piece.len().min(BODY_KEPT - body.len())]);
            if body.len() == BODY_KEPT {
                break;
            }
        }
    };
    // What came in time is kept.
    _ = timeout(BODY_WAIT, read).await;
    body
}

fn network(error: reqwest::Error) -> SubscribeError {
    SubscribeError::Network(root(&error), error.without_url().into())
}

/// True if what has the id `id` comes no later in the log than `than`; false where that cannot be told: for ids of
/// another epoch, or of another server.
fn is_at_or_before(id: &str, than: &str) -> bool {
    match (Cursor::parse(id), Cursor::parse(than)) {
        (Some(id), Some(than)) => id.epoch == than.epoch && id.position <= than.position,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whose_a_retry_is_the_end_of_its_block_tells() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let mut subscriber = client.subscribe(ConnectionOptions::default()).unwrap();
        let mut told = |pieces: &[&str]| {
            subscriber.open(http::Response::new("").into());
            for piece in pieces {
                subscriber.take(piece.as_bytes());
            }
            subscriber.interval
        };
        let closing = ["event: $closing\nretry: 9000\n", "data: {\"reason\":\"shutdown\",\"reconnect\":true}\n\n"];
        assert_eq!(told(&closing), INTERVAL, "it is for once, also where the network cuts it in two");
        assert_eq!(told(&["retry: 2", "000\n", "\n"]), Duration::from_secs(2), "without data");
        assert_eq!(told(&["retry: 3000\n", "data: 1\n\n"]), Duration::from_secs(3));
    }
}
