//! Log in, and get your own events and nobody else's: who you are comes from a cookie, never from the query.

use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use fanfare::{Access, AccessRequest, Action, ConnectionOptions, Denied, SseConfig, SseManager};
use fanfare_examples::Sessions;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize)]
struct User {
    name: &'static str,
    #[serde(skip)]
    password: &'static str,
    admin: bool,
}

/// For the demonstration. Yours are in a database, their passwords salted and hashed (argon2), and who guesses is slowed.
static USERS: [User; 3] = [
    User { name: "ada", password: "engine", admin: false },
    User { name: "bob", password: "builder", admin: false },
    User { name: "root", password: "toor", admin: true },
];

struct Application {
    sessions: Sessions<&'static User>,
    manager: SseManager,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A stream ends after an hour. Its browser comes back at once, and `authorize` is asked again.
    let lifetime = Some(Duration::from_secs(3_600));
    let manager = SseManager::new(SseConfig { lifetime, ..SseConfig::default() })?;
    let application = Arc::new(Application { sessions: Sessions::new("login"), manager: manager.clone() });

    let asked = Arc::clone(&application);
    let events = fanfare::router(manager.clone())
        .demo(false)
        .authorize(move |request| ready(authorize(&asked.sessions, &request)));
    let app = fanfare_examples::page(include_str!("../../pages/login.html"))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .with_state(application);
    fanfare_examples::serve(Router::merge(app, events), manager).await
}

/// Asked about every request under `/api/sse`.
fn authorize(sessions: &Sessions<&'static User>, request: &AccessRequest) -> Result<Access, Denied> {
    let user = sessions.who(&request.headers).ok_or_else(|| Denied::unauthorized("log in first"))?;
    match request.action {
        Action::Subscribe | Action::History => {
            let wanted = request.requested.as_ref().and_then(|requested| requested.user_id.as_deref());
            if wanted.is_some_and(|wanted| wanted != user.name) {
                return Err(Denied::forbidden(format!("you are {}, and get your own events only", user.name)));
            }
            // In place of all that the query asks for: topics, session and metadata, too.
            Ok(Access::allow_as(ConnectionOptions { user_id: Some(user.name.to_owned()), ..Default::default() }))
        }
        _ if user.admin => Ok(Access::allow()),
        _ => Err(Denied::forbidden("only an admin may do that")),
    }
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

async fn login(State(app): State<Arc<Application>>, Form(given): Form<Credentials>) -> impl IntoResponse {
    let found = USERS.iter().find(|user| user.name == given.name && user.password == given.password);
    match found {
        Some(user) => (app.sessions.begin(user), Redirect::to("/")).into_response(),
        None => Redirect::to("/?wrong").into_response(),
    }
}

/// Ends every session of the user, then every stream: in this order none of them can come back.
async fn logout(State(app): State<Arc<Application>>, headers: HeaderMap) -> Redirect {
    if let Some(user) = app.sessions.who(&headers) {
        app.sessions.end(|other| other.name == user.name);
        app.manager.disconnect_user(user.name);
    }
    Redirect::to("/")
}

/// `null` for somebody who is not logged in.
async fn me(State(app): State<Arc<Application>>, headers: HeaderMap) -> Json<Option<&'static User>> {
    Json(app.sessions.who(&headers))
}
