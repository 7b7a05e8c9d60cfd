//! What can be asked of a hub and ended there: statistics, the cursor, connections.

use super::error::RequestError;
use super::request::{Asked, Client};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A connection, as a hub tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its id.
    pub client_id: String,
    /// Its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What filters can match.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The topics it is subscribed to.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Since when, Unix milliseconds.
    pub connected_at: u64,
}

/// Some of a hub's connections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClientsPage {
    /// At most 1,000.
    pub clients: Vec<ClientInfo>,
    /// All connections of the hub.
    pub total_clients: usize,
    /// Where the next page begins; `None` on the last one.
    #[serde(default)]
    pub next: Option<String>,
}

impl Client {
    /// The hub's statistics, the JSON of `GET /api/sse/stats`; with a user, how many connections that one has.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; this holds for every question.
    pub async fn stats(
        &self,
        user_id: Option<&str>,
    ) -> Result<serde_json::Map<String, serde_json::Value>, RequestError> {
        let query: Vec<_> = user_id.map(|user| ("userId", user)).into_iter().collect();
        let answered = self.ask(&Asked { query: &query, ..Asked::get(&["stats"]) }).await?;
        self.value(&answered.body)
    }

    /// Connections, of everybody or of one user, a page at a time: `after` is the `next` of the page before.
    ///
    /// # Errors
    ///
    /// As [`Client::stats`].
    pub async fn clients(&self, user_id: Option<&str>, after: Option<&str>) -> Result<ClientsPage, RequestError> {
        let query: Vec<_> = [("userId", user_id), ("after", after), ("limit", Some("1000"))]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let answered = self.ask(&Asked { query: &query, ..Asked::get(&["clients"]) }).await?;
        self.value(&answered.body)
    }

    /// Ends a connection and tells its client not to come back. False if it was gone already.
    ///
    /// # Errors
    ///
    /// As [`Client::stats`].
    pub async fn disconnect_client(&self, client_id: &str) -> Result<bool, RequestError> {
        let path = &["clients", part("client id", client_id)?];
        Ok(self.ask(&Asked { method: Method::DELETE, ..Asked::get(path) }).await?.found)
    }

    /// Ends every connection of a user and tells the clients not to come back. Returns their number.
    ///
    /// # Errors
    ///
    /// As [`Client::stats`].
    pub async fn disconnect_user(&self, user_id: &str) -> Result<u64, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            disconnected: u64,
        }
        let path = &["users", part("user", user_id)?];
        let answered = self.ask(&Asked { method: Method::DELETE, ..Asked::get(path) }).await?;
        let Answer { disconnected } = self.value(&answered.body)?;
        Ok(disconnected)
    }

    /// The hub's present as a cursor: read it, load state, then subscribe from it, and nothing falls in between.
    ///
    /// # Errors
    ///
    /// As [`Client::stats`].
    pub async fn cursor(&self) -> Result<String, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
        }
        let Answer { id } = self.value(&self.ask(&Asked::get(&["cursor"])).await?.body)?;
        Ok(id)
    }
}

/// A part of a path. URLs have no way to write these: whatever reads one takes them for steps up.
fn part<'a>(what: &'static str, text: &'a str) -> Result<&'a str, RequestError> {
    if matches!(text, "" | "." | "..") {
        return Err(RequestError::invalid(what, format!("{text:?} cannot be asked for over HTTP")));
    }
    Ok(text)
}
