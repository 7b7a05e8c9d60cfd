//! `POST /api/sse/notify/{helper}`: the helpers for any language, with the same parameter names.

use super::access::Action;
use super::json::{Object, kind, parse};
use super::problem::Problem;
use super::publish::{Format, send};
use super::{RouterState, check_uri, json_response, path_part, read_body};
use crate::helpers::{self, Activity, ChangeType, JobResult, Level, MetricValue, Outgoing, Severity};
use crate::target::Target;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::value::RawValue;

/// Every helper by its name in the path.
pub(super) const HELPERS: &[&str] = &[
    "system",
    "update",
    "progress",
    "success",
    "error",
    "job-completion",
    "operation-progress",
    "system-update",
    "data-change",
    "new-message",
    "user-activity",
    "metrics-update",
];

pub(super) async fn notify(
    State(state): State<RouterState>,
    helper: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    state.policy.check(Action::Publish, &parts, None).await?;
    check_uri(&parts)?;
    let helper = path_part(helper)?;
    if !HELPERS.contains(&helper.as_str()) {
        let shown: String = helper.chars().take(40).collect();
        let detail = format!("there is no helper {shown:?}; there are {}", HELPERS.join(", "));
        return Err(Problem::not_found(detail).at("#/path/helper"));
    }
    let (format, body) = read_body(&parts, body).await?;
    if format == Format::Ndjson {
        return Err(Problem::unsupported("a helper takes one object as application/json"));
    }
    let mut object = Object::open(parse(&body)?, "").map_err(|fault| Problem::of_faults(vec![fault]))?;
    let outgoing = call(&helper, &mut object);
    if !object.faults.is_empty() {
        return Err(Problem::of_faults(object.faults));
    }
    let outgoing = outgoing.ok_or_else(|| Problem::bad_request("the arguments are incomplete"))?;
    let (event, target) = outgoing.map_err(Problem::from)?;
    let receipts = send(&state, &parts, &body, vec![(event, target)], false)
        .await
        .map_err(|problem| problem.renamed(target_parameter(&helper)))?;
    json_response(&receipts.first())
}

/// The parameter that a helper's target comes from: a fault of the target is a fault of it.
fn target_parameter(helper: &str) -> &'static str {
    match helper {
        "update" | "system-update" | "metrics-update" => "targetUsers",
        "data-change" => "affectedUsers",
        "new-message" => "recipientIds",
        "user-activity" => "contextUsers",
        _ => "userId",
    }
}

/// Reads the arguments and builds the event. `None` leaves a fault behind.
fn call(helper: &str, object: &mut Object<'_>) -> Option<Outgoing> {
    match helper {
        "system" => {
            let message = object.required_string("message");
            let level = object.word("level", Level::WORDS, Level::parse);
            object.refuse_unknown(&["message", "level"]);
            Some(helpers::system_notification(&message?, level.unwrap_or_default()))
        }
        "update" => {
            let update_type = object.required_string("type");
            let data = object.required("data");
            let target = users(object, "targetUsers");
            object.refuse_unknown(&["type", "data", "targetUsers"]);
            Some(helpers::realtime_update(&update_type?, data?, target?))
        }
        "progress" => {
            let operation_id = object.required_string("operationId");
            let progress = required_number(object, "progress");
            let message = object.string("message");
            let target = user(object);
            object.refuse_unknown(&["operationId", "progress", "message", "userId"]);
            Some(helpers::progress_update(&operation_id?, progress?, message.as_deref(), None::<()>, target?))
        }
        "success" => {
            let message = object.required_string("message");
            let data = object.take("data");
            let target = user(object);
            object.refuse_unknown(&["message", "data", "userId"]);
            Some(helpers::success_notification(&message?, data, target?))
        }
        "error" => {
            let error = object.required_string("error");
            let context = object.record("context");
            let target = user(object);
            object.refuse_unknown(&["error", "context", "userId"]);
            Some(helpers::error_notification(&error?, context, target?))
        }
        "job-completion" => {
            let job_id = object.required_string("jobId");
            let user_id = object.required_string("userId");
            let result = required_word(object, "result", JobResult::WORDS, JobResult::parse);
            let details = object.record("details");
            object.refuse_unknown(&["jobId", "userId", "result", "details"]);
            Some(helpers::job_completion(&job_id?, &user_id?, result?, details))
        }
        "operation-progress" => {
            let operation_id = object.required_string("operationId");
            let user_id = object.required_string("userId");
            let progress = required_number(object, "progress");
            let message = object.string("message");
            let metadata = object.record("metadata");
            object.refuse_unknown(&["operationId", "userId", "progress", "message", "metadata"]);
            let target = Target::user(user_id?);
            Some(helpers::progress_update(&operation_id?, progress?, message.as_deref(), metadata, target))
        }
        "system-update" => {
            let title = object.required_string("title");
            let message = object.required_string("message");
            let severity = object.word("severity", Severity::WORDS, Severity::parse);
            let target = users(object, "targetUsers");
            object.refuse_unknown(&["title", "message", "severity", "targetUsers"]);
            Some(helpers::system_update(&title?, &message?, severity.unwrap_or_default(), target?))
        }
        "data-change" => {
            let entity_type = object.required_string("entityType");
            let entity_id = object.required_string("entityId");
            let change_type = required_word(object, "changeType", ChangeType::WORDS, ChangeType::parse);
            let data = object.required("data");
            let target = users(object, "affectedUsers");
            object.refuse_unknown(&["entityType", "entityId", "changeType", "data", "affectedUsers"]);
            Some(helpers::data_change(&entity_type?, &entity_id?, change_type?, data?, target?))
        }
        "new-message" => {
            let conversation_id = object.required_string("conversationId");
            let sender_id = object.required_string("senderId");
            let recipients = required_users(object, "recipientIds");
            let preview = object.required_string("messagePreview");
            let metadata = object.record("metadata");
            object.refuse_unknown(&["conversationId", "senderId", "recipientIds", "messagePreview", "metadata"]);
            Some(helpers::new_message(&conversation_id?, &sender_id?, recipients?, &preview?, metadata))
        }
        "user-activity" => {
            let user_id = object.required_string("userId");
            let activity = required_word(object, "activity", Activity::WORDS, Activity::parse);
            let target = users(object, "contextUsers");
            let metadata = object.record("metadata");
            object.refuse_unknown(&["userId", "activity", "contextUsers", "metadata"]);
            Some(helpers::user_activity(&user_id?, activity?, metadata, target?))
        }
        "metrics-update" => {
            let metric_type = object.required_string("metricType");
            let value = metric_value(object);
            let change = object.number("change");
            let target = users(object, "targetUsers");
            object.refuse_unknown(&["metricType", "value", "change", "targetUsers"]);
            Some(helpers::metrics_update(&metric_type?, &value?, change, target?))
        }
        _ => None,
    }
}

/// One user, or everybody.
fn user(object: &mut Object<'_>) -> Option<Target> {
    let faults = object.faults.len();
    let user = object.string("userId");
    (object.faults.len() == faults).then(|| Target::user_or_all(user.as_deref()))
}

/// A list of users, or everybody.
fn users(object: &mut Object<'_>, key: &str) -> Option<Target> {
    let faults = object.faults.len();
    let users = object.strings(key);
    (object.faults.len() == faults).then(|| users.map_or(Target::All, Target::Users))
}

fn required_users(object: &mut Object<'_>, key: &str) -> Option<Target> {
    object.demand(key)?;
    users(object, key)
}

fn required_number(object: &mut Object<'_>, key: &str) -> Option<f64> {
    object.demand(key)?;
    object.number(key)
}

fn required_word<T>(
    object: &mut Object<'_>,
    key: &str,
    words: &[&str],
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    object.demand(key)?;
    object.word(key, words, parse)
}

fn metric_value(object: &mut Object<'_>) -> Option<MetricValue> {
    let value: &RawValue = object.required("value")?;
    if let Ok(text) = serde_json::from_str(value.get()) {
        return Some(MetricValue::Text(text));
    }
    if let Ok(number) = serde_json::from_str(value.get()) {
        return Some(MetricValue::Number(number));
    }
    object.fault("value", format!("must be a number or a string, not {}", kind(value)));
    None
}
