//! A chat: messages are kept, typing is not, and who is there is who has a stream.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Form, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, RequestPartsExt as _};
use fanfare::{Activity, ConnectionOptions, SseConfig, SseEvent, SseManager, Target};
use fanfare_examples::{Sessions, lock};
use http_body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// Each is a topic.
const ROOMS: [&str; 3] = ["lobby", "garden", "workshop"];
const NAME_CHARS_MAX: usize = 30;
const TEXT_CHARS_MAX: usize = 2_000;
/// Messages that somebody who comes gets to see.
const HISTORY: &str = "last:50";

struct Chat {
    manager: SseManager,
    sessions: Sessions<String>,
    presence: Mutex<Presence>,
}

#[derive(Default)]
struct Presence {
    /// Rises with every change.
    version: u64,
    /// Open streams, by room and person.
    tabs: BTreeMap<(&'static str, String), usize>,
}

/// Who is in a room.
#[derive(Serialize)]
struct People {
    /// Of two lists, the higher one is the newer.
    version: u64,
    people: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = fanfare::initialize_sse(SseConfig {
        history_age: Duration::from_secs(7 * 86_400),
        // With a directory, what was said outlives a restart.
        data_dir: std::env::var_os("DATA_DIR").map(Into::into),
        ..SseConfig::default()
    })?;
    let (sessions, presence) = (Sessions::new("chat"), Mutex::default());
    let chat = Arc::new(Chat { manager: manager.clone(), sessions, presence });
    let app = fanfare_examples::page(include_str!("../../pages/chat.html"))
        .route("/join", post(join))
        .route("/rooms/{room}/events", get(events))
        .route("/rooms/{room}/people", get(people))
        .route("/rooms/{room}/messages", post(message))
        .route("/rooms/{room}/typing", post(typing))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .with_state(chat);
    fanfare_examples::serve(app, manager).await
}

#[derive(Deserialize)]
struct Join {
    name: String,
}

async fn join(State(chat): State<Arc<Chat>>, Form(join): Form<Join>) -> Result<Response, (StatusCode, &'static str)> {
    let name = join.name.trim();
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "A name has 1 to 30 characters."));
    }
    let same = |other: &str| other.to_lowercase() == name.to_lowercase();
    if lock(&chat.presence).tabs.keys().any(|(_, person)| same(person)) {
        return Err((StatusCode::CONFLICT, "Somebody of this name is here already."));
    }
    // A name belongs to who is here under it. There are no accounts: for those, see the example `login`.
    chat.sessions.end(|other| same(other));
    Ok((StatusCode::NO_CONTENT, chat.sessions.begin(name.to_owned())).into_response())
}

/// Who asks, and about which room.
struct Place {
    person: String,
    room: &'static str,
}

impl FromRequestParts<Arc<Chat>> for Place {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, chat: &Arc<Chat>) -> Result<Self, StatusCode> {
        let person = chat.sessions.who(&parts.headers).ok_or(StatusCode::UNAUTHORIZED)?;
        let Path(wanted) = parts.extract::<Path<String>>().await.map_err(|_| StatusCode::NOT_FOUND)?;
        let room = ROOMS.into_iter().find(|room| *room == wanted).ok_or(StatusCode::NOT_FOUND)?;
        Ok(Self { person, room })
    }
}

async fn events(State(chat): State<Arc<Chat>>, place: Place, headers: HeaderMap) -> Response {
    // A browser that comes back says where it was.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let options = ConnectionOptions {
        user_id: Some(place.person.clone()),
        topics: vec![place.room.to_owned()],
        last_event_id: Some(last.unwrap_or(HISTORY).to_owned()),
        ..ConnectionOptions::default()
    };
    match chat.manager.create_connection(options) {
        Ok(connection) => {
            let tab = Tab::open(Arc::clone(&chat), place);
            connection.into_response().map(|body| Body::new(Kept { body, _tab: tab }))
        }
        Err(error) => error.into_response_for(&chat.manager, &headers),
    }
}

/// The list is also an event; this is for who comes, or has missed one.
async fn people(State(chat): State<Arc<Chat>>, place: Place) -> Json<People> {
    Json(chat.people(place.room))
}

#[derive(Deserialize)]
struct Message {
    text: String,
}

async fn message(
    State(chat): State<Arc<Chat>>,
    place: Place,
    Form(Message { text }): Form<Message>,
) -> Result<StatusCode, (StatusCode, String)> {
    #[derive(Serialize)]
    struct Said<'a> {
        from: &'a str,
        text: &'a str,
    }
    let text = text.trim();
    if !(1..=TEXT_CHARS_MAX).contains(&text.chars().count()) {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "A message has 1 to 2,000 characters.".to_owned()));
    }
    let event = SseEvent::new("message", Said { from: &place.person, text });
    match chat.manager.publish(event, Target::topic(place.room)).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

/// To the others in the room. Such an event is not kept: who comes later need not know.
async fn typing(State(chat): State<Arc<Chat>>, Place { person, room }: Place) -> StatusCode {
    let here = chat.people(room).people;
    let others: Vec<&str> = here.iter().map(String::as_str).filter(|other| *other != person).collect();
    let about = Some(json!({ "room": room }));
    match fanfare::notify_user_activity(&person, Activity::Typing, Some(&others), about) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl Chat {
    fn people(&self, room: &str) -> People {
        let presence = lock(&self.presence);
        let here = presence.tabs.keys().filter(|(there, _)| *there == room);
        People { version: presence.version, people: here.map(|(_, person)| person.clone()).collect() }
    }

    fn tell_people(&self, room: &str) {
        let event = SseEvent::new("people", self.people(room)).ephemeral();
        // It fails where the server ends, and nobody is there to be told.
        _ = self.manager.send(event, Target::topic(room));
    }
}

/// Somebody's tab, for as long as its stream. Several tabs of one person are one presence.
struct Tab {
    chat: Arc<Chat>,
    key: (&'static str, String),
}

impl Tab {
    fn open(chat: Arc<Chat>, place: Place) -> Self {
        let key = (place.room, place.person);
        let tab = Self { chat, key };
        tab.count(|tabs| tabs + 1);
        tab
    }

    /// Tells the room if it changes who is there.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut presence = lock(&self.chat.presence);
        let before = presence.tabs.remove(&self.key).unwrap_or(0);
        let now = change(before);
        if now > 0 {
            presence.tabs.insert(self.key.clone(), now);
        }
        if (before > 0) == (now > 0) {
            return;
        }
        presence.version += 1;
        drop(presence);
        self.chat.tell_people(self.key.0);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.count(|tabs| tabs - 1);
    }
}

/// A stream's body with its tab. Bodies are kept until a stream ends, however that comes: so the tab ends with it.
struct Kept {
    body: Body,
    _tab: Tab,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// As the body says: by this `fanfare::serve` knows that its data is untouched, and serves it at its low price.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
