//! The seed's free functions, over one manager for the whole process.
//!
//! Plain functions: callable from any thread, with or without a runtime, never blocking on I/O, never panicking.
//! Each returns the number of connections at submission. Users omitted means everybody; an empty list is nobody.
//! The manager is made on first use with default settings, unless [`initialize_sse`] made it before.

use crate::config::SseConfig;
use crate::error::{ConfigError, SendError};
use crate::event::SseEvent;
use crate::helpers::{self, Activity, ChangeType, JobResult, Level, MetricValue, Outgoing, Severity};
use crate::lock::lock;
use crate::manager::SseManager;
use crate::target::Target;
use serde::Serialize;
use std::sync::{Mutex, OnceLock};

static MANAGER: OnceLock<SseManager> = OnceLock::new();
/// Held while the manager is made, so that two first calls do not make two.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes the process-wide manager.
///
/// # Errors
///
/// [`ConfigError::AlreadyInitialized`] if it exists already, else as [`SseManager::new`].
///
/// ```
/// use fanfare::{SseConfig, SseEvent, broadcast, initialize_sse};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = initialize_sse(SseConfig { max_clients: 1_000, ..SseConfig::default() })?;
/// let app: axum::Router = fanfare::router(manager).into();
/// broadcast(SseEvent::new("announcement", serde_json::json!({ "message": "New feature released!" })))?;
/// # Ok(())
/// # }
/// ```
pub fn initialize_sse(config: SseConfig) -> Result<SseManager, ConfigError> {
    let _making = lock(&MAKING);
    if MANAGER.get().is_some() {
        return Err(ConfigError::AlreadyInitialized);
    }
    let manager = SseManager::new(config)?;
    Ok(MANAGER.get_or_init(|| manager).clone())
}

/// The process-wide manager; made with default settings if there is none yet.
///
/// # Errors
///
/// As [`SseManager::new`].
pub fn sse_manager() -> Result<SseManager, ConfigError> {
    if let Some(manager) = MANAGER.get() {
        return Ok(manager.clone());
    }
    match initialize_sse(SseConfig::default()) {
        Err(ConfigError::AlreadyInitialized) => MANAGER.get().cloned().ok_or(ConfigError::AlreadyInitialized),
        made => made,
    }
}

fn send(outgoing: Outgoing) -> Result<usize, SendError> {
    let (event, target) = outgoing?;
    sse_manager().map_err(|_| SendError::Closed)?.send(event, target)
}

fn to_users(user_ids: Option<&[&str]>) -> Target {
    Target::users_or_all(user_ids)
}

/// Sends an event to everybody.
///
/// # Errors
///
/// [`SendError`] names what is wrong; nothing was sent then. This holds for every function here.
pub fn broadcast(event: SseEvent) -> Result<usize, SendError> {
    send(Ok((event, Target::All)))
}

/// Sends an event to every connection of a user.
///
/// # Errors
///
/// As [`broadcast`].
pub fn notify_user(user_id: &str, event: SseEvent) -> Result<usize, SendError> {
    send(Ok((event, Target::user(user_id))))
}

/// Sends an event to every connection of several users, each once.
///
/// # Errors
///
/// As [`broadcast`]; more than 10,000 users are refused.
pub fn notify_users(user_ids: &[impl AsRef<str>], event: SseEvent) -> Result<usize, SendError> {
    send(Ok((event, Target::users(user_ids.iter().map(AsRef::as_ref)))))
}

/// Sends `system {message, level}` to everybody. `level` defaults to info.
///
/// # Errors
///
/// As [`broadcast`].
pub fn system_notification(message: &str, level: Option<Level>) -> Result<usize, SendError> {
    send(helpers::system_notification(message, level.unwrap_or_default()))
}

/// Sends `update {type, data}`.
///
/// # Errors
///
/// As [`broadcast`].
pub fn realtime_update(
    update_type: &str,
    data: impl Serialize,
    target_users: Option<&[&str]>,
) -> Result<usize, SendError> {
    send(helpers::realtime_update(update_type, data, to_users(target_users)))
}

/// Sends `progress {operationId, progress, message?}`. `progress` is a number from 0 to 100.
///
/// # Errors
///
/// As [`broadcast`]; also for a number outside that range.
pub fn progress_update(
    operation_id: &str,
    progress: f64,
    message: Option<&str>,
    user_id: Option<&str>,
) -> Result<usize, SendError> {
    send(helpers::progress_update(operation_id, progress, message, None::<()>, Target::user_or_all(user_id)))
}

/// Sends `success {message, data?}`.
///
/// # Errors
///
/// As [`broadcast`].
pub fn success_notification(
    message: &str,
    data: Option<serde_json::Value>,
    user_id: Option<&str>,
) -> Result<usize, SendError> {
    send(helpers::success_notification(message, data, Target::user_or_all(user_id)))
}

/// Sends `error {error, context?}`. A bare `EventSource` hears it on the same listener as its own failures: there,
/// `event.data` tells the two apart.
///
/// # Errors
///
/// As [`broadcast`].
pub fn error_notification(
    error: &str,
    context: Option<serde_json::Value>,
    user_id: Option<&str>,
) -> Result<usize, SendError> {
    send(helpers::error_notification(error, context, Target::user_or_all(user_id)))
}

/// Tells a user that a job ended: `success {message, data: {jobId, result, details?}}` or
/// `error {error, context: {jobId, result, details?}}`.
///
/// # Errors
///
/// As [`broadcast`].
pub fn notify_job_completion(
    job_id: &str,
    user_id: &str,
    result: JobResult,
    details: Option<serde_json::Value>,
) -> Result<usize, SendError> {
    send(helpers::job_completion(job_id, user_id, result, details))
}

/// Tells a user how far an operation is: `progress {operationId, progress, message?, metadata?}`.
///
/// # Errors
///
/// As [`progress_update`].
pub fn update_operation_progress(
    operation_id: &str,
    user_id: &str,
    progress: f64,
    message: Option<&str>,
    metadata: Option<serde_json::Value>,
) -> Result<usize, SendError> {
    send(helpers::progress_update(operation_id, progress, message, metadata, Target::user(user_id)))
}

/// Announces something about the system: `system {title, message, severity, level}`. `severity` defaults to info.
///
/// # Errors
///
/// As [`broadcast`].
pub fn announce_system_update(
    title: &str,
    message: &str,
    severity: Option<Severity>,
    target_users: Option<&[&str]>,
) -> Result<usize, SendError> {
    send(helpers::system_update(title, message, severity.unwrap_or_default(), to_users(target_users)))
}

/// Tells that an entity changed: `update {type: "data_change", data: {entityType, entityId, changeType, data}}`.
///
/// # Errors
///
/// As [`broadcast`].
pub fn notify_data_change(
    entity_type: &str,
    entity_id: &str,
    change_type: ChangeType,
    data: impl Serialize,
    affected_users: Option<&[&str]>,
) -> Result<usize, SendError> {
    send(helpers::data_change(entity_type, entity_id, change_type, data, to_users(affected_users)))
}

/// Tells recipients of a new message:
/// `notification {type: "new_message", conversationId, senderId, messagePreview, metadata?}`.
///
/// # Errors
///
/// As [`broadcast`].
pub fn notify_new_message(
    conversation_id: &str,
    sender_id: &str,
    recipient_ids: &[&str],
    message_preview: &str,
    metadata: Option<serde_json::Value>,
) -> Result<usize, SendError> {
    let recipients = to_users(Some(recipient_ids));
    send(helpers::new_message(conversation_id, sender_id, recipients, message_preview, metadata))
}

/// Tells what a user is doing: `update {type: "user_activity", data: {userId, activity, metadata?}}`. `user_id` is
/// the actor; `context_users` are told, or everybody. [`Activity::Typing`] is ephemeral.
///
/// # Errors
///
/// As [`broadcast`].
pub fn notify_user_activity(
    user_id: &str,
    activity: Activity,
    context_users: Option<&[&str]>,
    metadata: Option<serde_json::Value>,
) -> Result<usize, SendError> {
    send(helpers::user_activity(user_id, activity, metadata, to_users(context_users)))
}

/// Sends the value of a metric: `update {type: "metrics", data: {metricType, value, change?}}`.
///
/// # Errors
///
/// As [`broadcast`]; also for a number that is not finite.
pub fn notify_metrics_update(
    metric_type: &str,
    value: impl Into<MetricValue>,
    change: Option<f64>,
    target_users: Option<&[&str]>,
) -> Result<usize, SendError> {
    send(helpers::metrics_update(metric_type, &value.into(), change, to_users(target_users)))
}
