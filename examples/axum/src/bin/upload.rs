//! How far an upload is, told by who knows: the server counts the bytes as they arrive.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fanfare::{Access, Action, ConnectionOptions, Denied, JobResult, SendError, SseConfig};
use fanfare_examples::Sessions;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Largest file.
const BYTES_MAX: u64 = 64 << 20;
/// Longest silence of a sender.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Every browser is a user of its own, and known by its cookie.
type Users = Arc<Sessions<String>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = fanfare::initialize_sse(SseConfig::default())?;
    let users: Users = Arc::new(Sessions::new("upload"));
    let asked = Arc::clone(&users);
    let events = fanfare::router(manager.clone()).demo(false).authorize(move |request| {
        ready(match (request.action, asked.who(&request.headers)) {
            (Action::Subscribe, Some(user_id)) => {
                Ok(Access::allow_as(ConnectionOptions { user_id: Some(user_id), ..Default::default() }))
            }
            (Action::Subscribe, None) => Err(Denied::unauthorized("open the page first: it sets a cookie")),
            _ => Err(Denied::forbidden("not from outside")),
        })
    });
    let app = fanfare_examples::page(include_str!("../../pages/upload.html"))
        .route("/hello", get(hello))
        .route("/upload", post(upload))
        .with_state(users);
    fanfare_examples::serve(Router::merge(app, events), manager).await
}

/// Makes the browser a user, unless it is one.
async fn hello(State(users): State<Users>, headers: HeaderMap) -> Response {
    static USERS: AtomicU64 = AtomicU64::new(1);
    if users.who(&headers).is_some() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let name = format!("browser-{}", USERS.fetch_add(1, Ordering::Relaxed));
    (StatusCode::NO_CONTENT, users.begin(name)).into_response()
}

#[derive(Deserialize)]
struct File {
    /// The page's own name for this upload.
    id: String,
    name: String,
}

type Refusal = (StatusCode, String);

async fn upload(
    State(users): State<Users>,
    Query(file): Query<File>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let refuse = |status, text: &str| Err((status, text.to_owned()));
    let Some(user) = users.who(&headers) else { return refuse(StatusCode::UNAUTHORIZED, "open the page first") };
    if !(1..=64).contains(&file.id.len()) || !(1..=255).contains(&file.name.len()) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "id has 1 to 64 bytes, name 1 to 255");
    }
    let mut upload = Upload { user, file, received: 0 };
    let result = upload.receive(&headers, body).await;
    match &result {
        Ok(_) => upload.end(JobResult::Success, "complete"),
        Err((_, error)) => upload.end(JobResult::Error, error),
    }
    result
}

/// An upload on its way.
struct Upload {
    user: String,
    file: File,
    received: u64,
}

impl Upload {
    /// Piece by piece: there is never more of the file in memory than one of them.
    async fn receive(&mut self, headers: &HeaderMap, mut body: Body) -> Result<StatusCode, Refusal> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let Some(total) = length else {
            return Err((StatusCode::LENGTH_REQUIRED, "content-length is missing".to_owned()));
        };
        if total > BYTES_MAX {
            let error = format!("too large: {total} bytes, and {BYTES_MAX} is the most");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        let mut told = 0;
        loop {
            let piece = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(None) => return Ok(StatusCode::CREATED),
                Ok(Some(Err(_))) => return Err((StatusCode::BAD_REQUEST, "cut off".to_owned())),
                Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "nothing came for too long".to_owned())),
            };
            // Here it would go to a file or a bucket. Whoever waits for that, does it in a task of its own: under HTTP/2
            // a handler is dropped when its client hangs up, unless it waits for the body as here, which then fails.
            self.received += piece.len() as u64;
            let percent = self.received * 100 / total.max(1);
            if percent > told {
                told = percent;
                let about = json!({ "name": self.file.name });
                let sent =
                    fanfare::update_operation_progress(&self.file.id, &self.user, percent as f64, None, Some(about));
                log(sent);
            }
        }
    }

    fn end(&self, result: JobResult, message: &str) {
        let details = json!({ "name": self.file.name, "received": self.received, "message": message });
        log(fanfare::notify_job_completion(&self.file.id, &self.user, result, Some(details)));
    }
}

/// An upload goes on, whether it can be told or not.
fn log(sent: Result<usize, SendError>) {
    if let Err(error) = sent {
        eprintln!("not told: {error}");
    }
}
