//! Who may do what: the hook that turns a request into an identity, or into a refusal.

use super::problem::Problem;
use crate::connection::ConnectionOptions;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Uri, header, request::Parts};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// List connections.
    Clients,
    /// Read the present cursor.
    Cursor,
    /// Use the demo endpoint.
    Demo,
    /// End connections.
    Disconnect,
    /// Read history as JSON.
    History,
    /// Send events, also through the helpers.
    Publish,
    /// Read statistics.
    Stats,
    /// Open an event stream.
    Subscribe,
}

/// A request, as the hook sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccessRequest {
    /// What it wants to do.
    pub action: Action,
    /// Its method.
    pub method: Method,
    /// Its URL.
    pub uri: Uri,
    /// Its head.
    pub headers: http::HeaderMap,
    /// What middleware put there: a session, a peer address.
    pub extensions: http::Extensions,
    /// The identity it asks for, where it subscribes or reads history. Do not take its word for it.
    pub requested: Option<ConnectionOptions>,
}

/// A permission.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub(crate) identity: Option<ConnectionOptions>,
}

impl Access {
    /// As requested.
    pub fn allow() -> Self {
        Self::default()
    }

    /// With this identity in place of the requested one. Where to begin and the heartbeat stay as requested.
    pub fn allow_as(identity: ConnectionOptions) -> Self {
        Self { identity: Some(identity) }
    }
}

/// A refusal. A browser's `EventSource` gives up for good on any of them.
#[derive(Debug, Clone)]
pub struct Denied(Box<Problem>);

impl Denied {
    /// 401: who is asking is not known.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Bearer");
        Self(Box::new(Problem::unauthorized(detail).with_header(header::WWW_AUTHENTICATE, challenge)))
    }

    /// 403: who is asking is known, and may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::forbidden(detail)))
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Access, Denied>> + Send>>;
type Hook = Arc<dyn Fn(AccessRequest) -> Answer + Send + Sync>;

#[derive(Clone)]
pub(super) enum Policy {
    AllowAll,
    Hook(Hook),
    SubscribeOnly,
}

impl Policy {
    pub(super) fn hook<F, A>(hook: F) -> Self
    where
        F: Fn(AccessRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Access, Denied>> + Send + 'static,
    {
        Self::Hook(Arc::new(move |request| Box::pin(hook(request))))
    }

    /// The page holds nothing secret, and asks for a token where one is needed: only the closed default refuses it.
    pub(super) fn refuses_demo_page(&self) -> Option<Problem> {
        matches!(self, Self::SubscribeOnly).then(closed)
    }

    pub(super) async fn check(
        &self,
        action: Action,
        parts: &Parts,
        requested: Option<&ConnectionOptions>,
    ) -> Result<Access, Problem> {
        match self {
            Self::AllowAll => Ok(Access::allow()),
            Self::SubscribeOnly if matches!(action, Action::Subscribe | Action::Cursor) => Ok(Access::allow()),
            Self::SubscribeOnly => Err(closed()),
            Self::Hook(hook) => {
                let request = AccessRequest {
                    action,
                    method: parts.method.clone(),
                    uri: parts.uri.clone(),
                    headers: parts.headers.clone(),
                    extensions: parts.extensions.clone(),
                    requested: requested.cloned(),
                };
                hook(request).await.map_err(|denied| {
                    tracing::warn!(target: "fanfare", action = ?action, "request denied");
                    *denied.0
                })
            }
        }
    }
}

fn closed() -> Problem {
    Problem::forbidden(
        "only subscribing is open: the application must give `router(manager).authorize(…)`, or say `.allow_all()`",
    )
}
