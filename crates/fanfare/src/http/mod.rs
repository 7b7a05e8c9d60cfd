//! The HTTP interface: a router for any axum application.

mod access;
mod demo;
mod json;
mod notify;
mod page;
mod problem;
mod publish;
mod reads;
mod subscribe;

pub use access::{Access, AccessRequest, Action, Denied};

use crate::manager::SseManager;
use access::Policy;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use futures_core::Stream as _;
use http::request::Parts;
use http::{HeaderValue, header};
use problem::Problem;
use publish::Format;
#[cfg(feature = "client")]
pub(crate) use publish::read_text;
use serde::Serialize;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Largest request body, in bytes.
pub const BODY_MAX: usize = 1 << 20;
/// Longest URL, in bytes.
pub const URL_MAX: usize = 8 * 1024;
/// Bytes of a body that is too large which are still read, so that its sender comes to see the refusal.
const DISCARD_MAX: usize = 8 << 20;
/// Longest time a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct RouterState {
    manager: SseManager,
    policy: Policy,
    base_path: Arc<str>,
    demo: bool,
}

/// The endpoints of a manager, on their way into an axum application.
///
/// Turn it into a [`Router`] with `into()`, or hand it to [`Router::merge`] or [`crate::serve`] as it is.
///
/// Unless the application says otherwise, only subscribing is open, to anybody who asks, under any name; everything
/// that reveals or changes something answers 403. Give [`SseRouter::authorize`], or say [`SseRouter::allow_all`].
///
/// ```
/// use fanfare::{Access, Action, Denied, SseConfig, SseManager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = SseManager::new(SseConfig::default())?;
/// let events = fanfare::router(manager.clone()).authorize(|request| async move {
///     match request.action {
///         Action::Subscribe => Ok(Access::allow()),
///         _ => Err(Denied::forbidden("not from outside")),
///     }
/// });
/// let app = axum::Router::new().merge(events);
/// # let _: axum::Router = app;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SseRouter {
    state: RouterState,
}

impl std::fmt::Debug for SseRouter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SseRouter").field("base_path", &self.state.base_path).finish_non_exhaustive()
    }
}

/// Makes the endpoints of a manager, under `/api/sse`.
pub fn router(manager: SseManager) -> SseRouter {
    SseRouter {
        state: RouterState { manager, policy: Policy::SubscribeOnly, base_path: "/api/sse".into(), demo: true },
    }
}

impl SseRouter {
    /// Puts the endpoints under another path, such as `/events`. Default `/api/sse`.
    ///
    /// # Panics
    ///
    /// If the path does not begin with `/`, ends with one, or has characters that a path of axum's treats specially.
    pub fn base_path(mut self, path: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        assert!(
            path.len() > 1 && path.starts_with('/') && !path.ends_with('/') && path.chars().all(plain),
            "a base path is like /api/sse, not {path:?}"
        );
        self.state.base_path = path.into();
        self
    }

    /// Opens every endpoint to everybody. For development, or where something in front decides.
    pub fn allow_all(mut self) -> Self {
        self.state.policy = Policy::AllowAll;
        self
    }

    /// Asks `hook` about every request: it turns the request into a permission, with an identity if it likes, or into
    /// a refusal.
    pub fn authorize<F, A>(mut self, hook: F) -> Self
    where
        F: Fn(AccessRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Access, Denied>> + Send + 'static,
    {
        self.state.policy = Policy::hook(hook);
        self
    }

    /// Leaves out the demo page and its endpoint, or puts them in. Default true; the endpoint still asks the hook.
    pub fn demo(mut self, demo: bool) -> Self {
        self.state.demo = demo;
        self
    }

    /// The finished router.
    pub fn into_router(self) -> Router {
        let base = Arc::clone(&self.state.base_path);
        let path = |rest: &str| format!("{base}{rest}");
        let mut router = Router::new()
            .route(&path(""), get(subscribe::subscribe))
            .route(&path("/stats"), get(reads::stats))
            .route(&path("/cursor"), get(reads::cursor))
            .route(&path("/events"), get(reads::events))
            .route(&path("/publish"), post(publish::publish))
            .route(&path("/notify/{helper}"), post(notify::notify))
            .route(&path("/clients"), get(reads::clients))
            .route(&path("/clients/{client_id}"), delete(reads::disconnect_client))
            .route(&path("/users/{user_id}"), delete(reads::disconnect_user))
            .route(&path("/openapi.json"), get(page::openapi));
        if self.state.demo {
            router = router.route(&path("/demo"), post(demo::demo)).route("/sse-demo", get(page::demo_page));
        }
        router.method_not_allowed_fallback(async || method_not_allowed()).with_state(self.state)
    }
}

impl From<SseRouter> for Router {
    fn from(router: SseRouter) -> Self {
        router.into_router()
    }
}

fn check_uri(parts: &Parts) -> Result<(), Problem> {
    // Where the application nests the endpoints, the request's own URI has lost its front.
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let len = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if len > URL_MAX {
        return Err(Problem::uri_too_long(format!("the URL has {len} bytes, more than {URL_MAX}")));
    }
    Ok(())
}

/// A part of the path that was taken as text, which bytes that are no UTF-8 cannot be.
fn path_part(part: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let part = part.map(|Path(part)| part);
    part.map_err(|_| Problem::bad_request("the path is not valid UTF-8 once it is decoded").at("#/path"))
}

/// Reads a body whose type is one of those we know.
async fn read_body(parts: &Parts, body: Body) -> Result<(Format, Bytes), Problem> {
    check_uri(parts)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = match essence.as_str() {
        "application/json" => Format::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Ndjson,
        _ => {
            let given = content_type.map_or_else(|| "none".to_owned(), |given| format!("{given:?}"));
            return Err(Problem::unsupported(format!(
                "send `content-type: application/json`, or application/x-ndjson for many events; given was {given}"
            ))
            .at("#/header/Content-Type"));
        }
    };
    let coding = parts.headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(
            Problem::unsupported("send the body as it is, without a content coding").at("#/header/Content-Encoding")
        );
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(Ok(Some(bytes))) => Ok((format, bytes)),
        Ok(Ok(None)) => Err(Problem::too_large(format!("the body has more than {BODY_MAX} bytes"))),
        Ok(Err(_)) => Err(Problem::bad_request("the body could not be read to its end")),
        Err(_) => Err(Problem::timeout(format!("the body took more than {} s", BODY_TIMEOUT.as_secs()))),
    }
}

/// Reads a body to its end. `None` for one that is too large: of that, some more is read and thrown away, since a
/// client that is still sending when the connection closes does not see the answer.
async fn collect(body: Body) -> Result<Option<Bytes>, axum::Error> {
    let mut stream = body.into_data_stream();
    let mut collected = Vec::new();
    let mut total = 0;
    while let Some(piece) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
        let piece = piece?;
        total += piece.len();
        if total <= BODY_MAX {
            collected.extend_from_slice(&piece);
        } else if total > BODY_MAX + DISCARD_MAX {
            break;
        }
    }
    Ok((total <= BODY_MAX).then(|| collected.into()))
}

/// Does something that may wait for the disk where nobody else waits for it.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    // It fails if the work panicked, or the runtime goes down.
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::unavailable(error.to_string()))
}

fn json_response(answer: &impl Serialize) -> Result<Response, Problem> {
    let mut body = serde_json::to_vec(answer).map_err(|error| Problem::unavailable(error.to_string()))?;
    // For people with `curl`: their prompt begins on a line of its own.
    body.push(b'\n');
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// A problem document with status 404, for an application's own fallback.
pub fn not_found(detail: impl Into<String>) -> Response {
    Problem::not_found(detail).into_response()
}

/// A problem document with status 405, for an application's own fallback; the router adds the `allow` header.
pub fn method_not_allowed() -> Response {
    Problem::method_not_allowed("see the `allow` header for what does").into_response()
}
