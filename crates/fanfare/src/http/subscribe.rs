//! `GET /api/sse`: a query string becomes an identity, and a request becomes a stream.

use super::access::Action;
use super::problem::{Fault, Problem, query_pointer};
use super::{RouterState, check_uri, off_thread};
use crate::config::Compression;
use crate::connection::{Connection, ConnectionOptions, Heartbeat, accepts_gzip, start, stream_headers};
use crate::error::ConnectError;
use crate::manager::SseManager;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use fanfare_core::{Disconnect, Encoding, SlowPolicy, closing_frame};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use std::borrow::Cow;

/// Prefix of options of ours; every other name is metadata.
const OPTION_PREFIX: &str = "sse.";
/// Stands for an id that cannot be one of ours: a reset, never an error.
const FOREIGN_ID: &str = "?";
/// Reconnection times after a refusal for want of room, in milliseconds: long, and spread wide.
const CAPACITY_RETRY_MS: (u64, u64) = (15_000, 45_000);
/// The same after a refusal because the server goes down: somebody else will be there soon.
const CLOSING_RETRY_MS: (u64, u64) = (2_000, 6_000);

pub(super) async fn subscribe(State(state): State<RouterState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match open(&state, &parts).await {
        // A stream that nobody can read would hold a place until it is found out.
        Ok(options) if parts.method == Method::HEAD => {
            (stream_headers(options.encoding), Body::empty()).into_response()
        }
        Ok(options) => match connect(&state.manager, options).await {
            Ok(Ok(connection)) => Connection::into_response(connection),
            Ok(Err(error)) => refused(&state.manager, &error, &parts.headers),
            Err(problem) => problem.into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// Registers the connection; where the disk has to say where it begins, not in a thread that drives others.
async fn connect(
    manager: &SseManager,
    options: ConnectionOptions,
) -> Result<Result<Connection, ConnectError>, Problem> {
    if manager.is_on_disk() && options.begins_by_count() {
        let manager = manager.clone();
        return off_thread(move || manager.create_connection(options)).await;
    }
    Ok(manager.create_connection(options))
}

async fn open(state: &RouterState, parts: &Parts) -> Result<ConnectionOptions, Problem> {
    check_uri(parts)?;
    let compression = state.manager.config().compression;
    let requested = read_options(parts.uri.query().unwrap_or_default(), &parts.headers, &[], compression)?;
    let access = state.policy.check(Action::Subscribe, parts, Some(&requested)).await?;
    Ok(with_identity(requested, access.identity))
}

/// The identity the hook gave, in the place of the requested one. How the client wants to be served stays.
pub(super) fn with_identity(requested: ConnectionOptions, identity: Option<ConnectionOptions>) -> ConnectionOptions {
    match identity {
        Some(identity) => ConnectionOptions {
            last_event_id: requested.last_event_id,
            heartbeat: requested.heartbeat,
            slow_policy: requested.slow_policy.or(identity.slow_policy),
            encoding: requested.encoding,
            ..identity
        },
        None => requested,
    }
}

/// The query string and `Last-Event-ID` as options. `own` are further parameters of the endpoint, not metadata.
pub(super) fn read_options(
    query: &str,
    headers: &HeaderMap,
    own: &[&str],
    compression: Compression,
) -> Result<ConnectionOptions, Problem> {
    let mut options = ConnectionOptions::default();
    let mut faults = Vec::new();
    let (mut heartbeat, mut gzip) = (None, None);
    for (name, value) in pairs(query)? {
        if own.contains(&name.as_ref()) {
            continue;
        }
        let mut refuse = |detail: &str| faults.push(Fault::new(query_pointer(&name), detail));
        if name.is_empty() {
            refuse("a parameter has no name");
            continue;
        }
        if value.is_empty() {
            refuse("has no value; leave the parameter away instead");
            continue;
        }
        let value = value.into_owned();
        let repeated = match name.as_ref() {
            "userId" => options.user_id.replace(value).is_some(),
            "sessionId" => options.session_id.replace(value).is_some(),
            "lastEventId" => options.last_event_id.replace(value).is_some(),
            "topic" => {
                options.topics.push(value);
                false
            }
            "sse.heartbeat" => match value.as_str() {
                "comment" => heartbeat.replace(Heartbeat::Comment).is_some(),
                "event" => heartbeat.replace(Heartbeat::Event).is_some(),
                _ => {
                    refuse("must be `comment` or `event`");
                    false
                }
            },
            "sse.compression" => match value.as_str() {
                "gzip" => gzip.replace(true).is_some(),
                "none" => gzip.replace(false).is_some(),
                _ => {
                    refuse("must be `gzip` or `none`");
                    false
                }
            },
            "sse.slow" => {
                let policy = SlowPolicy::parse(&value);
                if policy.is_none() {
                    refuse("must be `catch-up`, `gap` or `disconnect`");
                }
                policy.is_some_and(|policy| options.slow_policy.replace(policy).is_some())
            }
            option if option.starts_with(OPTION_PREFIX) => {
                refuse(
                    "is not a known option; known are `sse.compression`, `sse.heartbeat` and `sse.slow`, and names that begin with `sse.` are reserved",
                );
                false
            }
            metadata => options.metadata.insert(metadata.to_owned(), value).is_some(),
        };
        if repeated {
            refuse("is given twice");
        }
    }
    options.heartbeat = heartbeat.unwrap_or_default();
    let wanted = match compression {
        Compression::Off => false,
        Compression::OptIn => gzip.unwrap_or(false),
        Compression::On => gzip.unwrap_or(true),
    };
    if wanted && accepts_gzip(headers) {
        options.encoding = Encoding::Gzip;
    }
    if !faults.is_empty() {
        let detail = format!("{}: {}", faults[0].pointer, faults[0].detail);
        return Err(Problem::bad_request(detail).with_errors(faults));
    }
    // The header wins: a browser reconnects to the old URL with the new id. Bytes that are no text are a foreign id.
    if let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) {
        let id = id.to_str().ok().filter(|id| start(Some(id)).is_ok());
        options.last_event_id = Some(id.unwrap_or(FOREIGN_ID).to_owned());
    }
    // What is not allowed is told before the application's hook is asked.
    options.check().map_err(Problem::from)?;
    Ok(options)
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Pairs of a query string, decoded. `+` is a space, as forms and `URLSearchParams` write it.
pub(super) fn pairs(query: &str) -> Result<Vec<Pair<'_>>, Problem> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains(['%', '+']) {
        return Ok(text.into());
    }
    let spaced = text.replace('+', " ");
    let bytes = spaced.as_bytes();
    let broken = |i: usize| {
        !(bytes.get(i + 1).is_some_and(u8::is_ascii_hexdigit) && bytes.get(i + 2).is_some_and(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(|i| bytes[i] == b'%' && broken(i)) {
        return Err(Problem::bad_request("the query string has a `%` without two hexadecimal digits").at("#/query"));
    }
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| Problem::bad_request("the query string is not valid UTF-8").at("#/query"))?;
    Ok(decoded.into_owned().into())
}

/// True if the client asks for an event stream by name.
fn wants_stream(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|accept| {
        accept.split(',').any(|range| {
            let essence = range.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
    })
}

/// A refusal for want of room. `EventSource` gives up for good on any status but 200, so a client that asked for a
/// stream gets one that says so and ends; any other gets 503.
fn refused(manager: &SseManager, error: &ConnectError, headers: &HeaderMap) -> Response {
    let (reason, (low, high)) = match error {
        ConnectError::Invalid { .. } => return Problem::from(error.clone()).into_response(),
        ConnectError::Capacity(_) => (Disconnect::Capacity, CAPACITY_RETRY_MS),
        ConnectError::Closing => (Disconnect::Shutdown, CLOSING_RETRY_MS),
    };
    let retry_ms = low + manager.inner.jitter(high - low);
    if wants_stream(headers) {
        let frame = closing_frame(reason, None, retry_ms as u32);
        return (stream_headers(Encoding::Identity), [(header::CONNECTION, HeaderValue::from_static("close"))], frame)
            .into_response();
    }
    let seconds = HeaderValue::from(retry_ms.div_ceil(1_000));
    Problem::unavailable(error.to_string()).with_header(header::RETRY_AFTER, seconds).into_response()
}

impl ConnectError {
    /// The response for a client with these request headers: a stream that says why and ends, where the client asked
    /// for a stream by name; a problem document otherwise.
    pub fn into_response_for(self, manager: &SseManager, headers: &HeaderMap) -> Response {
        refused(manager, &self, headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_gives_an_identity_leaves_the_requested_policy() {
        let options = |slow_policy| ConnectionOptions { slow_policy, ..ConnectionOptions::default() };
        let given = |requested, identity| with_identity(options(requested), Some(options(identity))).slow_policy;
        let (gap, disconnect) = (Some(SlowPolicy::Gap), Some(SlowPolicy::Disconnect));
        assert_eq!(given(gap, None), gap);
        assert_eq!(given(gap, disconnect), gap);
        assert_eq!(given(None, disconnect), disconnect, "its own, where the client has no wish");
        assert_eq!(given(None, None), None);
    }
}
