//! `POST /api/sse/publish`: an event, a list of events, or NDJSON; all or nothing.

use super::access::Action;
use super::json::{Object, kind, parse};
use super::problem::{Fault, Problem, fragment};
use super::{RouterState, json_response, read_body};
use crate::event::SseEvent;
use crate::manager::Receipt;
use crate::target::{SseFilter, Target};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use fanfare_core::IdempotencyKey;
use fanfare_core::limits::BATCH_MAX;
use http::request::Parts;
use serde_json::value::RawValue;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

/// Longest `Idempotency-Key`, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;

pub(super) async fn publish(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    state.policy.check(Action::Publish, &parts, None).await?;
    let (format, body) = read_body(&parts, body).await?;
    let (events, list) = match format {
        Format::Json => read_json(&body)?,
        Format::Ndjson => (read_ndjson(&body)?, true),
    };
    let receipts = send(&state, &parts, &body, events, list).await?;
    if list { json_response(&receipts) } else { json_response(&receipts.first()) }
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Ndjson,
}

/// Publishes under the request's idempotency key, if it has one. In a `list`, pointers begin with an index.
pub(super) async fn send(
    state: &RouterState,
    parts: &Parts,
    body: &Bytes,
    events: Vec<(SseEvent, Target)>,
    list: bool,
) -> Result<Vec<Receipt>, Problem> {
    let key = idempotency_key(parts)?;
    let key = key.map(|key| IdempotencyKey { key: key.into(), fingerprint: fingerprint(parts, body) });
    let receipts = state.manager.publish_all(events, list, key).await?;
    Ok(receipts.into_iter().map(Receipt::from).collect())
}

fn idempotency_key(parts: &Parts) -> Result<Option<&str>, Problem> {
    let mut values = parts.headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX);
    match key {
        Some(key) if values.next().is_none() => Ok(Some(key)),
        _ => {
            let detail =
                format!("Idempotency-Key must be given once, with 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters");
            Err(Problem::bad_request(detail).at("#/header/Idempotency-Key"))
        }
    }
}

/// What makes two requests the same: path, content type and body.
fn fingerprint(parts: &Parts, body: &Bytes) -> u128 {
    let mut hasher = SipHasher13::new();
    for part in [
        parts.uri.path().as_bytes(),
        parts.headers.get(http::header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes()),
        body,
    ] {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish128().as_u128()
}

fn read_json(body: &[u8]) -> Result<(Vec<(SseEvent, Target)>, bool), Problem> {
    let value = parse(body)?;
    if !value.get().starts_with('[') {
        return Ok((vec![read_whole(value, "").map_err(Problem::of_faults)?], false));
    }
    let values: Vec<&RawValue> =
        serde_json::from_str(value.get()).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok((read_all(&values)?, true))
}

fn read_ndjson(body: &[u8]) -> Result<Vec<(SseEvent, Target)>, Problem> {
    let mut values = Vec::new();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let value = parse(line).map_err(|problem| problem.at(format!("#/{}", values.len())));
        values.push(value.inspect_err(|_| tracing::debug!(target: "fanfare", line = number + 1, "NDJSON refused"))?);
    }
    if values.is_empty() {
        return Err(Problem::bad_request("the body has no events"));
    }
    read_all(&values)
}

fn read_all(values: &[&RawValue]) -> Result<Vec<(SseEvent, Target)>, Problem> {
    if values.len() > BATCH_MAX {
        return Err(
            Problem::too_large(format!("{} events, more than {BATCH_MAX} in one publish", values.len())).at("#")
        );
    }
    let mut faults = Vec::new();
    let mut events = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match read_whole(value, &format!("/{index}")) {
            Ok(event) => events.push(event),
            Err(more) => faults.extend(more),
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if faults.is_empty() { Ok(events) } else { Err(Problem::of_faults(faults)) }
}

/// Faults named in one answer at most, give or take one event's.
const FAULTS_MAX: usize = 20;
const EVENT_KEYS: &[&str] = &["event", "data", "id", "retry", "ephemeral", "to", "expectLastId"];

fn read_whole(value: &RawValue, at: &str) -> Result<(SseEvent, Target), Vec<Fault>> {
    read_event(value, at).map(|(event, target)| (event, target.unwrap_or(Target::All)))
}

/// One event as text, and whom it is for if it says so.
#[cfg(feature = "client")]
pub(crate) fn read_text(text: &str) -> Result<(SseEvent, Option<Target>), String> {
    let value: &RawValue = serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
    read_event(value, "").map_err(|faults| {
        let told: Vec<_> = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
        told.join("; ")
    })
}

/// Without a target if it names none.
fn read_event(value: &RawValue, at: &str) -> Result<(SseEvent, Option<Target>), Vec<Fault>> {
    let mut object = Object::open(value, at).map_err(|fault| vec![fault])?;
    let event_type = object.required_string("event");
    let data = object.required("data");
    let id = object.string("id");
    let retry = object.unsigned("retry");
    let ephemeral = object.boolean("ephemeral");
    let to = object.take("to");
    let expected = object.string("expectLastId");
    object.refuse_unknown(EVENT_KEYS);
    let target = to.map(|to| read_target(to, &object.pointer("to"))).transpose();
    let mut faults = object.faults;
    let target = target.map_err(|more| faults.extend(more));
    if let (Some(event_type), Some(data), Ok(target), true) = (event_type, data, target, faults.is_empty()) {
        let mut event = SseEvent::from_json(event_type, data);
        if let Some(id) = id {
            event = event.with_id(id);
        }
        if let Some(retry) = retry {
            event = event.with_retry_ms(retry);
        }
        if let Some(expected) = expected {
            event = event.with_expected_last_id(expected);
        }
        return Ok((if ephemeral == Some(true) { event.ephemeral() } else { event }, target));
    }
    Err(faults)
}

const TARGET_KEYS: &[&str] = &["all", "userId", "userIds", "sessionId", "clientId", "topic", "filter"];

fn read_target(value: &RawValue, at: &str) -> Result<Target, Vec<Fault>> {
    let mut object = Object::open(value, at).map_err(|fault| vec![fault])?;
    let known = object.keys().filter(|key| TARGET_KEYS.contains(key)).count();
    let everybody = object.take("all");
    if everybody.is_some_and(|all| all.get() != "true") {
        object.fault("all", "must be true; leave `to` away, or name somebody else");
    }
    let user = object.string("userId").map(Target::User);
    let users = object.strings("userIds").map(Target::Users);
    let session = object.string("sessionId").map(Target::Session);
    let client = object.string("clientId").map(Target::Client);
    let topic = object.string("topic").map(Target::Topic);
    let filter_value = object.take("filter");
    object.refuse_unknown(TARGET_KEYS);
    if object.faults.is_empty() && known != 1 {
        let detail = format!("must have exactly one key of {}; leave `to` away for everybody", TARGET_KEYS.join(", "));
        object.faults.push(Fault::new(fragment(at), detail));
    }
    let filter = match filter_value {
        Some(value) => match read_filter(value, &object.pointer("filter")) {
            Ok(filter) => Some(Target::Filter(filter)),
            Err(faults) => {
                object.faults.extend(faults);
                None
            }
        },
        None => None,
    };
    let target = everybody.map(|_| Target::All).or(user).or(users).or(session).or(client).or(topic).or(filter);
    match target {
        Some(target) if object.faults.is_empty() => Ok(target),
        _ => Err(object.faults),
    }
}

fn read_filter(value: &RawValue, at: &str) -> Result<SseFilter, Vec<Fault>> {
    let mut object = Object::open(value, at).map_err(|fault| vec![fault])?;
    let user_id = object.string("userId");
    let session_id = object.string("sessionId");
    let metadata = object.take("metadata");
    object.refuse_unknown(&["userId", "sessionId", "metadata"]);
    let mut faults = std::mem::take(&mut object.faults);
    let mut pairs = Vec::new();
    if let Some(value) = metadata {
        let pointer = object.pointer("metadata");
        match Object::open(value, &pointer).map_err(|fault| vec![fault]).and_then(Object::all_strings) {
            Ok(found) => pairs = found,
            Err(more) => faults.extend(more),
        }
        debug_assert!(kind(value) == "an object" || !faults.is_empty());
    }
    if faults.is_empty() {
        Ok(SseFilter { user_id, session_id, metadata: pairs.into_iter().collect() })
    } else {
        Err(faults)
    }
}
