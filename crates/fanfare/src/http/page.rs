//! The demo page, and the description of the interface.

use super::RouterState;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use std::sync::LazyLock;

const TEMPLATE: &str = include_str!("../../assets/demo.html");
/// The package's client as browsers load it, made by its build: what visitors try is what they install.
const CLIENT: &str = include_str!("../../assets/client.js");
const OPENAPI: &str = include_str!("../../assets/openapi.json");
/// What the page's file has in the place of the base path.
const BASE_PATH_PLACEHOLDER: &str = "__FANFARE_BASE_PATH__";
/// And in the place of the client.
const CLIENT_PLACEHOLDER: &str = "__FANFARE_CLIENT__";
/// The page loads nothing from anywhere, and talks to its own origin only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page with its client, cut where the base path goes in: so nothing in the client's text is taken for its place.
static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
    let (before, after) = TEMPLATE.split_once(BASE_PATH_PLACEHOLDER).unwrap_or((TEMPLATE, ""));
    (before.to_owned(), after.replacen(CLIENT_PLACEHOLDER, CLIENT, 1))
});

pub(super) async fn demo_page(State(state): State<RouterState>) -> Response {
    if let Some(problem) = state.policy.refuses_demo_page() {
        return problem.into_response();
    }
    let (before, after) = &*PAGE;
    let page = [before, &*state.base_path, after].concat();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_stands_whole_in_a_script_element_of_its_own() {
        for ending in ["</script", "<!--"] {
            assert!(!CLIENT.to_ascii_lowercase().contains(ending), "{ending} would end or open what the page did not");
        }
        let (before, after) = &*PAGE;
        assert!(before.ends_with("content=\""), "the base path is the value of an attribute");
        assert!(after.contains(&format!("<script>{CLIENT}</script>\n<script>\n")));
    }

    #[test]
    fn each_place_is_there_once_and_no_other_text_is_taken_for_it() {
        for placeholder in [BASE_PATH_PLACEHOLDER, CLIENT_PLACEHOLDER] {
            assert_eq!(TEMPLATE.matches(placeholder).count(), 1, "{placeholder}");
            assert!(!CLIENT.contains(placeholder), "{placeholder}");
        }
    }
}
