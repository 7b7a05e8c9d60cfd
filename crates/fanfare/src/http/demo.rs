//! `POST /api/sse/demo`: the seed's endpoint for trying things out.

use super::access::Action;
use super::json::{Object, parse};
use super::problem::Problem;
use super::publish::{Format, send};
use super::{RouterState, json_response, read_body};
use crate::helpers::{self, Level, Outgoing};
use crate::target::Target;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::value::RawValue;

const TYPES: &[&str] = &["broadcast", "user", "system", "update", "progress", "success", "error"];

pub(super) async fn demo(State(state): State<RouterState>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    state.policy.check(Action::Demo, &parts, None).await?;
    let (format, body) = read_body(&parts, body).await?;
    if format == Format::Ndjson {
        return Err(Problem::unsupported("the demo takes one object as application/json"));
    }
    let mut object = Object::open(parse(&body)?, "").map_err(|fault| Problem::of_faults(vec![fault]))?;
    let outgoing = call(&mut object);
    if !object.faults.is_empty() {
        return Err(Problem::of_faults(object.faults));
    }
    let outgoing = outgoing.ok_or_else(|| Problem::bad_request("the body is incomplete"))?;
    // The helpers' own parameters come out of `data` here.
    let (event, target) = outgoing.map_err(Problem::from).map_err(|problem| problem.moved("/data"))?;
    let receipts =
        send(&state, &parts, &body, vec![(event, target)], false).await.map_err(|problem| problem.renamed("userId"))?;
    json_response(&receipts.first())
}

fn call(object: &mut Object<'_>) -> Option<Outgoing> {
    let kind = object
        .demand("type")
        .and_then(|()| object.word("type", TYPES, |text| TYPES.iter().find(|known| **known == text).copied()));
    let message = object.required_string("message");
    let user_id = object.string("userId");
    let data = object.take("data");
    object.refuse_unknown(&["type", "userId", "message", "data"]);
    let (kind, message) = (kind?, message?);
    if kind == "user" && user_id.is_none() {
        object.fault("userId", "is required for the type `user`");
        return None;
    }
    let target = Target::user_or_all(user_id.as_deref());
    Some(match kind {
        "broadcast" => helpers::notification(&message, data, Target::All),
        "user" => helpers::notification(&message, data, target),
        "system" => {
            let level = read(object, data, |data| data.word("level", Level::WORDS, Level::parse))?;
            helpers::system_to(&message, level.unwrap_or_default(), target)
        }
        "update" => {
            let update_type = read(object, data, |data| data.string("type"))?;
            let update_type = update_type.unwrap_or_else(|| "demo".to_owned());
            helpers::realtime_update(&update_type, Update { message: &message, data }, target)
        }
        "progress" => {
            let (operation_id, progress) =
                read(object, data, |data| (data.string("operationId"), data.number("progress")))?;
            let operation_id = operation_id.unwrap_or_else(|| "demo".to_owned());
            helpers::progress_update(&operation_id, progress.unwrap_or(0.0), Some(&message), None::<()>, target)
        }
        "success" => helpers::success_notification(&message, data, target),
        _ => helpers::error_notification(&message, data, target),
    })
}

/// What a demo update carries.
#[derive(serde::Serialize)]
struct Update<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// Reads known members of `data`, if it is an object. `None` leaves a fault behind.
fn read<T>(object: &mut Object<'_>, data: Option<&RawValue>, look: impl FnOnce(&mut Object<'_>) -> T) -> Option<T> {
    let empty = serde_json::from_str::<&RawValue>("{}").ok()?;
    let value = data.filter(|data| data.get().starts_with('{')).unwrap_or(empty);
    let mut inner = Object::open(value, "/data").ok()?;
    // A key given twice in free data is the sender's affair.
    inner.faults.clear();
    let found = look(&mut inner);
    let sound = inner.faults.is_empty();
    object.faults.append(&mut inner.faults);
    sound.then_some(found)
}
