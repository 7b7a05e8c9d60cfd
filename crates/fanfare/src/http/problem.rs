//! Refusals: RFC 9457 problem documents with stable types, that say what was wrong, where, and what to do.

use crate::error::{ConnectError, SendError};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// A JSON pointer into the body, as a URI fragment; `#/query/…`, `#/path/…` or `#/header/…` for what is not in it.
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Box<str>,
    errors: Vec<Fault>,
    /// What a conflict says besides: the last id of a topic.
    last_id: Option<Box<str>>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    #[serde(rename = "lastId", skip_serializing_if = "Option::is_none")]
    last_id: Option<&'a str>,
}

/// The part of a type's URI before its name.
const TYPE_PREFIX: &str = "urn:fanfare:problem:";

macro_rules! problems {
    ($($(#[$meta:meta])* $name:ident $status:ident $slug:literal $title:literal;)+) => {
        impl Problem {
            $($(#[$meta])* pub(crate) fn $name(detail: impl Into<String>) -> Self {
                Self {
                    status: StatusCode::$status,
                    slug: $slug,
                    title: $title,
                    detail: detail.into().into(),
                    errors: Vec::new(),
                    last_id: None,
                    headers: Vec::new(),
                }
            })+
        }
    };
}

problems! {
    bad_request BAD_REQUEST "malformed" "The request could not be understood";
    unauthorized UNAUTHORIZED "unauthorized" "Authorisation is needed";
    forbidden FORBIDDEN "forbidden" "This is not allowed";
    not_found NOT_FOUND "not-found" "There is no such thing";
    method_not_allowed METHOD_NOT_ALLOWED "method-not-allowed" "This method does not apply here";
    conflict CONFLICT "conflict" "Something else came first";
    timeout REQUEST_TIMEOUT "timeout" "The request took too long to arrive";
    too_large PAYLOAD_TOO_LARGE "too-large" "The request is larger than its limit";
    uri_too_long URI_TOO_LONG "uri-too-long" "The URL is longer than its limit";
    unsupported UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "This content type is not understood";
    invalid UNPROCESSABLE_ENTITY "invalid" "Something in the request is not allowed";
    idempotency_reused UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key belongs to another request";
    read_only SERVICE_UNAVAILABLE "log-read-only" "The log on disk failed";
    storage_full INSUFFICIENT_STORAGE "disk-full" "The disk is full";
    unavailable SERVICE_UNAVAILABLE "unavailable" "Not now";
}

impl Problem {
    pub(crate) fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    pub(crate) fn at(self, pointer: impl Into<String>) -> Self {
        let fault = Fault::new(pointer, self.detail.as_ref());
        self.with_errors(vec![fault])
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Faults of an event's target become faults of the parameter it came from.
    pub(crate) fn renamed(mut self, parameter: &str) -> Self {
        for fault in &mut self.errors {
            for to in ["#/to/userIds", "#/to/userId"] {
                if let Some(rest) = fault.pointer.strip_prefix(to) {
                    fault.pointer = format!("#/{parameter}{rest}");
                    break;
                }
            }
        }
        self
    }

    /// Faults that point at the top point below `prefix` instead.
    pub(crate) fn moved(mut self, prefix: &str) -> Self {
        for fault in &mut self.errors {
            fault.pointer = format!("#{prefix}{}", fault.pointer.trim_start_matches('#'));
        }
        self
    }

    /// Several faults at once.
    pub(crate) fn of_faults(faults: Vec<Fault>) -> Self {
        let detail = faults.first().map_or_else(String::new, |fault| format!("{}: {}", fault.pointer, fault.detail));
        Self::invalid(detail).with_errors(faults)
    }
}

/// A JSON pointer as a URI fragment: what RFC 6901 §6 leaves as it is, and the rest in per cent.
pub(crate) fn fragment(pointer: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const ESCAPED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    format!("#{}", utf8_percent_encode(pointer, ESCAPED))
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Busy => {
                Self::unavailable(error.to_string()).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            SendError::Closed => Self::unavailable("the server is closing")
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("5")),
            SendError::Full => Self::storage_full(error.to_string()),
            SendError::ReadOnly => Self::read_only(error.to_string()),
            SendError::Conflict { pointer, detail, last_id } => {
                let pointer = fragment(&pointer);
                Self { last_id: last_id.map(Into::into), ..Self::conflict(detail).at(pointer) }
            }
            SendError::KeyReused => Self::idempotency_reused(
                "this idempotency key was used with another body; use a new key for a new event",
            )
            .at("#/header/Idempotency-Key"),
            SendError::Invalid { pointer, detail } => Self::of_faults(vec![Fault::new(fragment(&pointer), detail)]),
            SendError::TooLarge { pointer, detail } => {
                let pointer = fragment(&pointer);
                Self::too_large(detail).at(pointer)
            }
        }
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Invalid { field, detail } => {
                Self::invalid(format!("{field}: {detail}")).with_errors(vec![Fault::new(query_pointer(&field), detail)])
            }
            other => Self::unavailable(other.to_string()),
        }
    }
}

/// The pointer of a query parameter.
pub(crate) fn query_pointer(name: &str) -> String {
    fragment(&format!("/query/{}", crate::target::pointer_token(name)))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("{TYPE_PREFIX}{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            last_id: self.last_id.as_deref(),
        };
        let mut body = serde_json::to_vec(&document).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}
