//! The helpers: one function for each common kind of event, as data and target.
//!
//! Payloads are built here and nowhere else, for Rust and for `POST …/notify/{helper}` alike. `fixtures/helpers.json`
//! holds every one of them.

use crate::error::SendError;
use crate::event::SseEvent;
use crate::target::Target;
use serde::{Serialize, Serializer};
use std::time::{SystemTime, UNIX_EPOCH};

/// An event on its way, with who shall get it.
pub(crate) type Outgoing = Result<(SseEvent, Target), SendError>;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every word, for messages.
            pub(crate) const WORDS: &[&str] = &[$($text),+];

            /// The word for it on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub(crate) fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// How grave a system notification is.
    #[derive(Default)]
    Level {
        /// Something failed.
        Error = "error",
        /// Something to know.
        #[default]
        Info = "info",
        /// Something to beware of.
        Warning = "warning",
    }
}

words! {
    /// How grave a system announcement is.
    #[derive(Default)]
    Severity {
        /// Something that affects everybody now.
        Critical = "critical",
        /// Something to know.
        #[default]
        Info = "info",
        /// Something to beware of.
        Warning = "warning",
    }
}

words! {
    /// How a job ended.
    JobResult {
        /// It failed.
        Error = "error",
        /// It succeeded.
        Success = "success",
    }
}

words! {
    /// What happened to an entity.
    ChangeType {
        /// It is new.
        Created = "created",
        /// It is gone.
        Deleted = "deleted",
        /// It is another.
        Updated = "updated",
    }
}

words! {
    /// What a user is doing.
    Activity {
        /// Nothing for a while.
        Idle = "idle",
        /// They left.
        Offline = "offline",
        /// They came.
        Online = "online",
        /// They write something. Sent as an ephemeral event: it means nothing later.
        Typing = "typing",
    }
}

/// A number that is written without a fraction where it has none, as JavaScript does.
#[derive(Debug, Clone, Copy)]
struct Tidy(f64);

/// The largest whole number that a double holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl Serialize for Tidy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// The value of a metric: a number or a text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A finite number.
    Number(f64),
    /// A text, such as `1.2 k`.
    Text(String),
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for MetricValue {
    fn from(number: i32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<&str> for MetricValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => Tidy(*number).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// Serializes a struct of named fields, and puts `timestamp` behind the last.
fn stamped(event: &str, payload: &impl Serialize) -> Result<SseEvent, SendError> {
    let mut json = serde_json::to_string(payload).map_err(|error| SendError::invalid("/data", error))?;
    debug_assert!(json.ends_with('}') && json.len() > 2, "payloads have named fields");
    json.pop();
    json.push_str(",\"timestamp\":");
    json.push_str(&unix_ms().to_string());
    json.push('}');
    let json = serde_json::value::RawValue::from_string(json).map_err(|error| SendError::invalid("/data", error))?;
    Ok(SseEvent::from_json(event, &json))
}

fn finite(pointer: &'static str, number: f64) -> Result<Tidy, SendError> {
    if number.is_finite() { Ok(Tidy(number)) } else { Err(SendError::invalid(pointer, "must be a finite number")) }
}

fn percent(progress: f64) -> Result<Tidy, SendError> {
    if (0.0..=100.0).contains(&progress) {
        Ok(Tidy(progress))
    } else {
        Err(SendError::invalid("/progress", "must be a number from 0 to 100"))
    }
}

/// `notification {message, data?}`: what the demo sends to everybody or to one user.
pub(crate) fn notification<D: Serialize>(message: &str, data: Option<D>, target: Target) -> Outgoing {
    #[derive(Serialize)]
    struct Payload<'a, D> {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<D>,
    }
    Ok((stamped("notification", &Payload { message, data })?, target))
}

pub(crate) fn system_notification(message: &str, level: Level) -> Outgoing {
    system_to(message, level, Target::All)
}

pub(crate) fn system_to(message: &str, level: Level, target: Target) -> Outgoing {
    #[derive(Serialize)]
    struct Payload<'a> {
        message: &'a str,
        level: &'a str,
    }
    Ok((stamped("system", &Payload { message, level: level.as_str() })?, target))
}

#[derive(Serialize)]
struct Update<'a, D> {
    r#type: &'a str,
    data: D,
}

pub(crate) fn realtime_update(update_type: &str, data: impl Serialize, target: Target) -> Outgoing {
    Ok((stamped("update", &Update { r#type: update_type, data })?, target))
}

pub(crate) fn progress_update<M: Serialize>(
    operation_id: &str,
    progress: f64,
    message: Option<&str>,
    metadata: Option<M>,
    target: Target,
) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload<'a, M> {
        operation_id: &'a str,
        progress: Tidy,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<M>,
    }
    let progress = percent(progress)?;
    Ok((stamped("progress", &Payload { operation_id, progress, message, metadata })?, target))
}

pub(crate) fn success_notification<D: Serialize>(message: &str, data: Option<D>, target: Target) -> Outgoing {
    #[derive(Serialize)]
    struct Payload<'a, D> {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<D>,
    }
    Ok((stamped("success", &Payload { message, data })?, target))
}

pub(crate) fn error_notification<C: Serialize>(error: &str, context: Option<C>, target: Target) -> Outgoing {
    #[derive(Serialize)]
    struct Payload<'a, C> {
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        context: Option<C>,
    }
    Ok((stamped("error", &Payload { error, context })?, target))
}

pub(crate) fn job_completion<D: Serialize>(
    job_id: &str,
    user_id: &str,
    result: JobResult,
    details: Option<D>,
) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Job<'a, D> {
        job_id: &'a str,
        result: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<D>,
    }
    let job = Some(Job { job_id, result: result.as_str(), details });
    match result {
        JobResult::Success => {
            success_notification(&format!("Job {job_id} completed successfully"), job, Target::user(user_id))
        }
        JobResult::Error => error_notification(&format!("Job {job_id} failed"), job, Target::user(user_id)),
    }
}

pub(crate) fn system_update(title: &str, message: &str, severity: Severity, target: Target) -> Outgoing {
    #[derive(Serialize)]
    struct Payload<'a> {
        title: &'a str,
        message: &'a str,
        severity: &'a str,
        level: &'a str,
    }
    let level = match severity {
        Severity::Critical => Level::Error,
        Severity::Info => Level::Info,
        Severity::Warning => Level::Warning,
    };
    let payload = Payload { title, message, severity: severity.as_str(), level: level.as_str() };
    Ok((stamped("system", &payload)?, target))
}

pub(crate) fn data_change(
    entity_type: &str,
    entity_id: &str,
    change_type: ChangeType,
    data: impl Serialize,
    target: Target,
) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Change<'a, D> {
        entity_type: &'a str,
        entity_id: &'a str,
        change_type: &'a str,
        data: D,
    }
    realtime_update("data_change", Change { entity_type, entity_id, change_type: change_type.as_str(), data }, target)
}

pub(crate) fn new_message<M: Serialize>(
    conversation_id: &str,
    sender_id: &str,
    recipients: Target,
    message_preview: &str,
    metadata: Option<M>,
) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload<'a, M> {
        r#type: &'a str,
        conversation_id: &'a str,
        sender_id: &'a str,
        message_preview: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<M>,
    }
    let payload = Payload { r#type: "new_message", conversation_id, sender_id, message_preview, metadata };
    Ok((stamped("notification", &payload)?, recipients))
}

pub(crate) fn user_activity<M: Serialize>(
    user_id: &str,
    activity: Activity,
    metadata: Option<M>,
    target: Target,
) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Who<'a, M> {
        user_id: &'a str,
        activity: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<M>,
    }
    let who = Who { user_id, activity: activity.as_str(), metadata };
    let (event, target) = realtime_update("user_activity", who, target)?;
    Ok((if activity == Activity::Typing { event.ephemeral() } else { event }, target))
}

pub(crate) fn metrics_update(metric_type: &str, value: &MetricValue, change: Option<f64>, target: Target) -> Outgoing {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Metric<'a> {
        metric_type: &'a str,
        value: &'a MetricValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        change: Option<Tidy>,
    }
    if let MetricValue::Number(number) = value {
        finite("/value", *number)?;
    }
    let change = change.map(|change| finite("/change", change)).transpose()?;
    realtime_update("metrics", Metric { metric_type, value, change }, target)
}
