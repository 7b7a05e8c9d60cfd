//! What can be read and ended: statistics, the cursor, history, connections.

use super::access::Action;
use super::problem::{Problem, query_pointer};
use super::subscribe::{pairs, read_options, with_identity};
use super::{RouterState, check_uri, json_response, off_thread, path_part};
use crate::config::Compression;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use fanfare_core::{Name, Parser};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Events, or connections, in one page unless asked otherwise, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Bytes of frames in one page of history, beyond its first event.
const PAGE_BYTES: usize = 1 << 20;

/// The parameters of an endpoint whose every parameter is known.
fn known_parameters<'a>(query: &'a str, known: &[&str]) -> Result<BTreeMap<Cow<'a, str>, Cow<'a, str>>, Problem> {
    let mut found = BTreeMap::new();
    for (name, value) in pairs(query)? {
        let refuse = |detail: String| Err(Problem::bad_request(detail).at(query_pointer(&name)));
        if !known.contains(&name.as_ref()) {
            return refuse(format!("{name:?} is not known here; known are {}", known.join(", ")));
        }
        if value.is_empty() {
            return refuse(format!("{name} has no value"));
        }
        if found.contains_key(&name) {
            return refuse(format!("{name} is given twice"));
        }
        found.insert(name, value);
    }
    Ok(found)
}

fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(PAGE_DEFAULT) };
    text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
        Problem::bad_request(format!("limit must be a number from 1 to {PAGE_MAX}")).at(query_pointer("limit"))
    })
}

fn user_name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| Problem::invalid(format!("userId {error}")).at(query_pointer("userId")))
}

pub(super) async fn stats(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OneUser<'a> {
        user_id: &'a str,
        total_clients: usize,
    }
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    state.policy.check(Action::Stats, &parts, None).await?;
    let parameters = known_parameters(parts.uri.query().unwrap_or_default(), &["userId"])?;
    match parameters.get("userId") {
        Some(user) => {
            let total_clients = state.manager.inner.hub.user_clients(&user_name(user)?);
            json_response(&OneUser { user_id: user, total_clients })
        }
        None => json_response(&state.manager.stats()),
    }
}

pub(super) async fn cursor(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer {
        id: String,
    }
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    state.policy.check(Action::Cursor, &parts, None).await?;
    known_parameters(parts.uri.query().unwrap_or_default(), &[])?;
    json_response(&Answer { id: state.manager.cursor() })
}

pub(super) async fn events(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct HistoryEvent {
        id: String,
        event: String,
        data: Box<RawValue>,
    }
    #[derive(Serialize)]
    struct Page {
        events: Vec<HistoryEvent>,
        next: String,
        resume: &'static str,
    }
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    let query = parts.uri.query().unwrap_or_default();
    let requested = read_options(query, &parts.headers, &["limit"], Compression::Off)?;
    let access = state.policy.check(Action::History, &parts, Some(&requested)).await?;
    let options = with_identity(requested, access.identity);
    let mut limits = pairs(query)?.into_iter().filter(|(name, _)| name == "limit");
    let text = limits.next().map(|(_, value)| value);
    if limits.next().is_some() {
        return Err(Problem::bad_request("limit is given twice").at(query_pointer("limit")));
    }
    let limit = limit(text.as_deref())?;
    let (identity, start, _) = options.check().map_err(Problem::from)?;
    let from_now = options.last_event_id.as_deref() == Some("latest");
    let manager = state.manager.clone();
    #[cfg(feature = "test-util")]
    let start = manager.inner.kit.start(start);
    let read = move || manager.inner.hub.history(&identity, start, from_now, limit, PAGE_BYTES, manager.now());
    let history = if state.manager.is_on_disk() { off_thread(read).await? } else { read() };
    let mut parser = Parser::new(usize::MAX);
    let mut parsed = Vec::new();
    for frame in &history.frames {
        // Our own frames are well formed, and the parser has no bound here.
        _ = parser.feed(frame, &mut parsed);
    }
    let events = parsed
        .into_iter()
        .map(|event| {
            // Events sent by Rust code with data that is not JSON cannot exist: data is serialized on the way in.
            let data = RawValue::from_string(event.data).unwrap_or_default();
            HistoryEvent { id: event.last_event_id, event: event.event, data }
        })
        .collect();
    json_response(&Page { events, next: history.next.to_string(), resume: history.resume.as_str() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientView {
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    metadata: BTreeMap<String, String>,
    topics: Vec<String>,
    /// Unix milliseconds.
    connected_at: u64,
}

pub(super) async fn clients(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        clients: Vec<ClientView>,
        total_clients: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    state.policy.check(Action::Clients, &parts, None).await?;
    let parameters = known_parameters(parts.uri.query().unwrap_or_default(), &["userId", "limit", "after"])?;
    let limit = limit(parameters.get("limit").map(AsRef::as_ref))?;
    let user = parameters.get("userId").map(|user| user_name(user)).transpose()?;
    let mut from = match parameters.get("after") {
        None => 0,
        Some(after) => after.parse().map_err(|_| {
            Problem::bad_request("after must be the `next` of an earlier page").at(query_pointer("after"))
        })?,
    };
    let hub = &state.manager.inner.hub;
    let mut found = Vec::new();
    // The hub looks at a bounded number of places at a time; a page goes on until it is full.
    let next = loop {
        let (more, next) = hub.clients(from, limit - found.len(), user.as_ref());
        found.extend(more);
        match next {
            Some(next) if found.len() < limit => from = next,
            next => break next,
        }
    };
    let now = state.manager.now();
    let view = |info: fanfare_core::ClientInfo| ClientView {
        client_id: info.client_id.to_string(),
        user_id: info.identity.user().map(ToString::to_string),
        session_id: info.identity.session().map(ToString::to_string),
        metadata: info.identity.metadata().iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        topics: info.identity.topics().iter().map(ToString::to_string).collect(),
        connected_at: now.wall_ms.saturating_sub(now.mono_ms.saturating_sub(info.connected_at)),
    };
    json_response(&Page {
        clients: found.into_iter().map(view).collect(),
        total_clients: hub.stats(now).clients,
        next: next.map(|next| next.to_string()),
    })
}

pub(super) async fn disconnect_client(
    State(state): State<RouterState>,
    client_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    state.policy.check(Action::Disconnect, &parts, None).await?;
    let client_id = path_part(client_id)?;
    if state.manager.disconnect_client(&client_id) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found("no client with this id is connected").at("#/path/clientId"))
    }
}

pub(super) async fn disconnect_user(
    State(state): State<RouterState>,
    user_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer {
        disconnected: usize,
    }
    let (parts, _) = request.into_parts();
    check_uri(&parts)?;
    state.policy.check(Action::Disconnect, &parts, None).await?;
    let user_id = path_part(user_id)?;
    Name::new(&user_id).map_err(|error| Problem::invalid(format!("userId {error}")).at("#/path/userId"))?;
    json_response(&Answer { disconnected: state.manager.disconnect_user(&user_id) })
}
