//! The demo page, and the description of the interface.

use super::RouterState;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

const PAGE: &str = include_str!("../../assets/demo.html");
const OPENAPI: &str = include_str!("../../assets/openapi.json");
/// What the page's file has in the place of the base path.
const BASE_PATH_PLACEHOLDER: &str = "__FANFARE_BASE_PATH__";
/// The page loads nothing from anywhere, and talks to its own origin only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn demo_page(State(state): State<RouterState>) -> Response {
    if let Some(problem) = state.policy.refuses_demo_page() {
        return problem.into_response();
    }
    let page = PAGE.replacen(BASE_PATH_PLACEHOLDER, &state.base_path, 1);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, Body::from(page)).into_response()
}

pub(super) async fn openapi(State(state): State<RouterState>) -> Response {
    let document = OPENAPI.replace("\"/api/sse", &format!("\"{}", state.base_path));
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response()
}
