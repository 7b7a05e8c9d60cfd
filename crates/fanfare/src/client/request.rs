//! A hub by its address: requests, and their retries until a deadline.

use super::backoff;
use super::error::{Cause, Problem, RequestError};
use super::{random, root};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one that begins close to the deadline.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
/// From the call on, in which to try again.
const DEADLINE: Duration = Duration::from_secs(30);
/// What delays between attempts grow from.
const RETRY_BASE: Duration = Duration::from_millis(200);
/// Largest answer that is read, in bytes: more than any of a hub's own.
const ANSWER_MAX: usize = 16 << 20;
/// Bytes of an answer that an error quotes.
const QUOTED: usize = 200;
/// Where a hub's API is, unless the address says.
const API: &str = "/api/sse";

/// A hub, by its address. A cheap clone; all clones share their connections.
///
/// ```
/// use fanfare::client::Client;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new("https://events.example.com")?.with_token("secret")?;
/// assert_eq!(client.url(), "https://events.example.com/api/sse");
/// assert!(Client::new("events.example.com").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    url: Url,
    /// Without what may be secret in it.
    shown: String,
    headers: HeaderMap,
    token: Option<TokenSource>,
    /// The token may be another one the next time.
    refreshes: bool,
    timeout: Duration,
    deadline: Duration,
    on_retry: Option<RetryHook>,
    /// Follows no redirect: that would make a GET of a POST, and would take what is published elsewhere.
    requests: reqwest::Client,
    pub(super) streams: reqwest::Client,
}

/// Is asked for each attempt.
type TokenSource = Arc<dyn Fn() -> String + Send + Sync>;
/// Is told of each attempt that failed and is followed by another, and when that will be.
type RetryHook = Arc<dyn Fn(&RequestError, Duration) + Send + Sync>;

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// One request.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Bytes>,
    pub(super) key: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], body: None, key: None }
    }
}

/// An answer that was not refused; or not found, which may be an answer too.
pub(super) struct Answered {
    pub(super) found: bool,
    pub(super) body: Bytes,
}

impl Client {
    /// A hub at `http://host:port` or `https://…`. Without a path its API is at `/api/sse`; else at that path. Nothing is
    /// sent yet.
    ///
    /// Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on), but for this machine itself; certificates are
    /// checked as the system does.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] for what is no such address.
    pub fn new(url: &str) -> Result<Self, RequestError> {
        let refuse = |why: &dyn fmt::Display| {
            let shown = url.rsplit_once('@').map_or(Cow::Borrowed(url), |(_, host)| format!("…@{host}").into());
            RequestError::invalid("url", format!("{shown:?} {why}; write http://host:port or https://host"))
        };
        let mut url_read: Url = url.parse().map_err(|error| refuse(&format_args!("is not a URL ({error})")))?;
        if !matches!(url_read.scheme(), "http" | "https") || !url_read.has_host() {
            return Err(refuse(&"is not an address of the web"));
        }
        if url_read.query().is_some() || url_read.fragment().is_some() {
            return Err(refuse(&"has something behind its path"));
        }
        let path = url_read.path().trim_end_matches('/').to_owned();
        url_read.set_path(if path.is_empty() { API } else { &path });
        let mut shown = url_read.clone();
        // An address of the web can be without both.
        _ = (shown.set_username(""), shown.set_password(None));
        let near = is_loopback(&url_read);
        // One stream is one connection, over HTTP/1.1: readers over HTTP/2 that fall behind many small events are
        // taken for attackers by the other side's protection, and cut off.
        let made = |policy| {
            let builder = reqwest::Client::builder().redirect(policy).referer(false).http1_only();
            // To a proxy, this machine would be another one.
            let builder = if near { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| RequestError::invalid("client", root(&error)))
        };
        Ok(Self {
            url: url_read,
            shown: shown.into(),
            headers: HeaderMap::new(),
            token: None,
            refreshes: false,
            timeout: TIMEOUT,
            deadline: DEADLINE,
            on_retry: None,
            requests: made(Policy::none())?,
            streams: made(Policy::limited(10))?,
        })
    }

    /// Where the hub's API is, without a user and password that the address may have.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// Sends this bearer token with everything, unless [`Client::with_header`] gives an `Authorization`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] if it cannot be part of a header.
    pub fn with_token(self, token: &str) -> Result<Self, RequestError> {
        bearer(token)?;
        let token = token.to_owned();
        Ok(Self { refreshes: false, ..self.with_token_source(move || token.clone()) })
    }

    /// Asks for the bearer token before each attempt, so that it is fresh: also once more after a 401 or 403 on a stream,
    /// and for the new stream after `$closing` with the reason `token`. The function shall not block.
    pub fn with_token_source(mut self, source: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.token = Some(Arc::new(source));
        self.refreshes = true;
        self
    }

    /// Sends this header with everything, beside others of its name.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] if it is no header, or one that belongs to the client.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        const OWN: [HeaderName; 7] = [
            header::ACCEPT,
            header::ACCEPT_ENCODING,
            header::CONNECTION,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::HOST,
            header::TRANSFER_ENCODING,
        ];
        let refuse = |why: &str| RequestError::invalid("header", format!("{name:?} {why}"));
        let read = HeaderName::try_from(name).map_err(|_| refuse("is not the name of a header"))?;
        if OWN.contains(&read) || matches!(read.as_str(), "last-event-id" | "idempotency-key") {
            return Err(refuse("is set by the client itself"));
        }
        let mut value = HeaderValue::try_from(value).map_err(|_| refuse("has a value that no header can have"))?;
        value.set_sensitive(true);
        self.headers.append(read, value);
        Ok(self)
    }

    /// How long a request is tried again, from its call on; 30 s unless set. Each is tried once at least. No single attempt
    /// takes longer than 10 s, nor goes on for more than a second beyond the deadline.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Calls `hook` when an attempt of a request failed and another follows, with the time until then.
    pub fn on_retry(mut self, hook: impl Fn(&RequestError, Duration) + Send + Sync + 'static) -> Self {
        self.on_retry = Some(Arc::new(hook));
        self
    }

    /// The headers of one attempt.
    pub(super) fn headers(&self) -> Result<HeaderMap, RequestError> {
        let mut headers = self.headers.clone();
        if let Some(source) = &self.token
            && !headers.contains_key(header::AUTHORIZATION)
        {
            headers.insert(header::AUTHORIZATION, bearer(&source())?);
        }
        Ok(headers)
    }

    pub(super) fn refreshes_token(&self) -> bool {
        self.refreshes
    }

    /// The address of a part of the API.
    pub(super) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        // An address of the web has a path that can be extended.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Asks until there is an answer that another attempt would not change, or the deadline passes.
    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Result<Answered, RequestError> {
        let mut url = self.at(asked.path);
        if !asked.query.is_empty() {
            url.query_pairs_mut().extend_pairs(asked.query);
        }
        // None is longer than there is time.
        let end = Instant::now().checked_add(self.deadline);
        let mut failures = 0;
        loop {
            // The deadline holds for an attempt too, but for a moment in which an answer can come.
            let left = end.map_or(self.timeout, |end| end.saturating_duration_since(Instant::now()));
            let limit = left.max(ATTEMPT_MIN).min(self.timeout);
            let (error, wait) = match tokio::time::timeout(limit, self.attempt(asked, &url)).await {
                Ok(Ok(answered)) => return answered,
                Ok(Err((error, wait))) => (error, wait),
                Err(_) => (self.unavailable(format!("no answer within {limit:?}"), None), None),
            };
            let delay = wait.unwrap_or_default() + backoff::delay(RETRY_BASE, failures, random());
            if end.is_some_and(|end| Instant::now() + delay >= end) {
                return Err(error);
            }
            failures += 1;
            if let Some(hook) = &self.on_retry {
                hook(&error, delay);
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// One attempt: what it came to, or an error that may pass, and how long the hub wants to be left alone.
    async fn attempt(
        &self,
        asked: &Asked<'_>,
        url: &Url,
    ) -> Result<Result<Answered, RequestError>, (RequestError, Option<Duration>)> {
        let headers = match self.headers() {
            Ok(headers) => headers,
            Err(error) => return Ok(Err(error)),
        };
        let mut request = self.requests.request(asked.method.clone(), url.clone()).headers(headers);
        if let Some(key) = asked.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &asked.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let network = |error: reqwest::Error| (self.unavailable(root(&error), Some(error.without_url().into())), None);
        let mut response = request.send().await.map_err(network)?;
        let status = response.status().as_u16();
        let wait = retry_after(&response);
        let Some(body) = read(&mut response, ANSWER_MAX).await.map_err(network)? else {
            return Ok(Err(self.foreign(format!("more than {ANSWER_MAX} bytes"))));
        };
        Ok(match status {
            200..=299 => Ok(Answered { found: true, body }),
            // A hub names what it does not know; a path that is not there is something else.
            404 if asked.method == Method::DELETE && !problem(status, &body).errors.is_empty() => {
                Ok(Answered { found: false, body })
            }
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                return Err((self.unavailable(problem(status, &body).to_string(), None), wait));
            }
            300..=399 => {
                let to = response
                    .headers()
                    .get(header::LOCATION)
                    .map_or(String::new(), |to| format!(" to {}", quoted(to.as_bytes())));
                Err(self.foreign(format!("with a redirect{to} (status {status})")))
            }
            _ => Err(RequestError::Refused(Box::new(problem(status, &body)))),
        })
    }

    pub(super) fn foreign(&self, answer: String) -> RequestError {
        RequestError::Foreign { url: self.shown.clone(), answer }
    }

    fn unavailable(&self, detail: String, source: Option<Cause>) -> RequestError {
        RequestError::Unavailable { url: self.shown.clone(), detail, source }
    }

    /// The value of an answer; or it is told that this is no hub.
    pub(super) fn value<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T, RequestError> {
        serde_json::from_slice(body).map_err(|_| self.foreign(quoted(body)))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn bearer(token: &str) -> Result<HeaderValue, RequestError> {
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| visible);
    let mut value = value.ok_or_else(|| RequestError::invalid("token", "must be visible ASCII characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    backoff::retry_after(header, SystemTime::now())
}

/// The whole answer, `None` if it is longer than `limit`.
async fn read(response: &mut Response, limit: usize) -> reqwest::Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.freeze()))
}

/// What a refusal says. Others than the hub, a proxy perhaps, say it in words of their own.
pub(super) fn problem(status: u16, body: &[u8]) -> Problem {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if problem.detail.is_empty() {
        problem.detail = quoted(body);
    }
    Problem { status, ..problem }
}

/// The beginning of an answer on one line, without what a terminal would obey.
fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    if line.is_empty() { "nothing".to_owned() } else { line }
}
