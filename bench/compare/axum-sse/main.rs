//! The peer `axum`: what an application makes of axum's `Sse` and tokio's `broadcast`, and nothing else.
//!
//! `axum-sse ADDRESS [tuned|gzip]`. `GET /events` is the stream of everybody, `GET /events/NAME` that of one user; what is posted
//! to `/publish` or `/publish/NAME` goes there. README.md says what is tuned; `gzip` is tuned, and compresses for who asks.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use futures_util::stream::{self, Stream};
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};
use tower_http::compression::CompressionLayer;

/// Events a reader may be behind before it loses some.
const CAPACITY: usize = 16;
const CAPACITY_TUNED: usize = 4_096;
/// Connections the kernel may hold before they are accepted, as far as net.core.somaxconn lets it; 1,024 is tokio's.
const BACKLOG_TUNED: i32 = 4_096;

type Sender = broadcast::Sender<Event>;
type Hub = Arc<Senders>;

struct Senders {
    all: Sender,
    users: Mutex<HashMap<String, Sender>>,
    capacity: usize,
}

fn stream_of(sender: &Sender) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let events = stream::unfold(sender.subscribe(), async |mut receiver| {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((Ok(event), receiver)),
                // What this one lost, the bench counts.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn publish_to(sender: Option<&Sender>, data: String) -> StatusCode {
    let sent = sender.is_some_and(|sender| sender.send(Event::default().event("bench").data(data)).is_ok());
    if sent { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn application(capacity: usize) -> Router {
    let everybody = async |State(hub): State<Hub>| stream_of(&hub.all);
    let one = async |State(hub): State<Hub>, Path(name): Path<String>| {
        let mut users = hub.users.lock().unwrap_or_else(PoisonError::into_inner);
        stream_of(users.entry(name).or_insert_with(|| broadcast::Sender::new(hub.capacity)))
    };
    let to_everybody = async |State(hub): State<Hub>, data: String| publish_to(Some(&hub.all), data);
    let to_one = async |State(hub): State<Hub>, Path(name): Path<String>, data: String| {
        publish_to(hub.users.lock().unwrap_or_else(PoisonError::into_inner).get(&name), data)
    };
    Router::new()
        .route("/events", get(everybody))
        .route("/events/{name}", get(one))
        .route("/publish", post(to_everybody))
        .route("/publish/{name}", post(to_one))
        .with_state(Arc::new(Senders { all: Sender::new(capacity), users: Mutex::default(), capacity }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = arguments.first().ok_or("usage: axum-sse ADDRESS [tuned|gzip]")?;
    let settings = arguments.get(1).map_or("default", String::as_str);
    let tuned = matches!(settings, "tuned" | "gzip");
    let mut application = application(if tuned { CAPACITY_TUNED } else { CAPACITY });
    if settings == "gzip" {
        // By itself the layer leaves event streams alone.
        application = application.layer(CompressionLayer::new().compress_when(|_, _, _: &_, _: &_| true));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        if !tuned {
            return axum::serve(listener, application).await;
        }
        socket2::SockRef::from(&listener).listen(BACKLOG_TUNED)?;
        // A stream whose delay stays on is slower, and works.
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        axum::serve(listener, application).await
    })?;
    Ok(())
}
