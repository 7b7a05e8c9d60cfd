//! What the examples share, and nothing about events: pages, sessions in cookies, how a server starts and ends.

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::Html;
use axum::routing::get;
use fanfare::SseManager;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Sessions at one time; the oldest makes room for a new one.
const SESSIONS_MAX: usize = 10_000;
/// A session ends after so long.
const SESSION_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// The page of an example and the style of all.
pub fn page<S: Clone + Send + Sync + 'static>(html: &'static str) -> Router<S> {
    let style = ([(header::CONTENT_TYPE, "text/css")], include_str!("../pages/style.css"));
    Router::new().route("/", get(async move || Html(html))).route("/style.css", get(async move || style))
}

/// Serves on the address in `LISTEN` until Ctrl-C, which tells every browser to come back a little later.
///
/// # Errors
///
/// If the address cannot be used, or the listener fails.
pub async fn serve(app: Router, manager: SseManager) -> Result<(), Box<dyn Error>> {
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let failed = |error| format!("cannot listen on {address:?}: {error}; LISTEN is like 127.0.0.1:3000");
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    #[expect(clippy::print_stdout, reason = "who starts it wants to know where to look")]
    {
        println!("Open http://{}", listener.local_addr()?);
    }
    let stop = async move {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
        manager.drain(Duration::from_secs(1)).await;
    };
    fanfare::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// A lock that a panic elsewhere does not break.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is who: random ids, each in the cookie of one browser. In memory, so a restart ends them all.
#[derive(Debug)]
pub struct Sessions<T> {
    cookie: &'static str,
    begun: Mutex<HashMap<String, (Instant, T)>>,
}

impl<T: Clone> Sessions<T> {
    /// Under a cookie of this name. Cookies do not know ports: each example has its own.
    pub fn new(cookie: &'static str) -> Self {
        Self { cookie, begun: Mutex::default() }
    }

    /// Begins a session; the answer is the `set-cookie` header. Behind HTTPS, `; Secure` belongs to it.
    ///
    /// # Panics
    ///
    /// If the system gives no random number: then there is no safe way to go on.
    pub fn begin(&self, who: T) -> [(header::HeaderName, String); 1] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random numbers");
        let id = format!("{:032x}", u128::from_ne_bytes(bytes));
        let (cookie, seconds) = (self.cookie, SESSION_AGE.as_secs());
        let set = format!("{cookie}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}");
        let mut begun = lock(&self.begun);
        begun.retain(|_, (at, _)| at.elapsed() < SESSION_AGE);
        if begun.len() >= SESSIONS_MAX
            && let Some(oldest) = begun.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone())
        {
            begun.remove(&oldest);
        }
        begun.insert(id, (Instant::now(), who));
        [(header::SET_COOKIE, set)]
    }

    /// Who sent these headers.
    pub fn who(&self, headers: &HeaderMap) -> Option<T> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split("; ")).filter_map(|pair| pair.split_once('='));
        let (_, id) = pairs.find(|(name, _)| *name == self.cookie)?;
        let begun = lock(&self.begun);
        begun.get(id).filter(|(at, _)| at.elapsed() < SESSION_AGE).map(|(_, who)| who.clone())
    }

    /// Ends the sessions of whom `these` says.
    pub fn end(&self, these: impl Fn(&T) -> bool) {
        lock(&self.begun).retain(|_, (_, who)| !these(who));
    }
}
