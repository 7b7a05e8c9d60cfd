//! What is published, as the hub's endpoint takes it, under a key that makes trying again safe.

use super::error::RequestError;
use super::request::{Asked, Client};
use crate::error::SendError;
use crate::event::SseEvent;
use crate::manager::Receipt;
use crate::target::{SseFilter, Target};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An event of `POST /api/sse/publish`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Published<'a> {
    event: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ephemeral: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect_last_id: Option<&'a str>,
    to: To<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum To<'a> {
    All(bool),
    ClientId(&'a str),
    Filter(FilterTo<'a>),
    SessionId(&'a str),
    Topic(&'a str),
    UserId(&'a str),
    UserIds(&'a [String]),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FilterTo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Target> for To<'a> {
    fn from(target: &'a Target) -> Self {
        match target {
            Target::All => Self::All(true),
            Target::Client(id) => Self::ClientId(id),
            Target::Filter(SseFilter { user_id, session_id, metadata }) => {
                Self::Filter(FilterTo { user_id: user_id.as_deref(), session_id: session_id.as_deref(), metadata })
            }
            Target::Session(session) => Self::SessionId(session),
            Target::Topic(topic) => Self::Topic(topic),
            Target::User(user) => Self::UserId(user),
            Target::Users(users) => Self::UserIds(users),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    clients: usize,
    durability: String,
}

impl From<Answer> for Receipt {
    fn from(Answer { id, clients, durability }: Answer) -> Self {
        Self { id, clients, durability: Cow::Owned(durability) }
    }
}

/// Reads an event as `POST /api/sse/publish` takes it, one object or one line of NDJSON, and its target if it names one. What
/// is read is as it would be read there: a key that is not known is refused, and so is what is not allowed.
///
/// ```
/// use fanfare::client::parse_event;
/// let (_event, target) = parse_event(r#"{"event":"news","data":{"title":"Hi"},"to":{"topic":"sport"}}"#)?;
/// assert_eq!(target, Some(fanfare::Target::topic("sport")));
/// # Ok::<(), fanfare::client::RequestError>(())
/// ```
///
/// # Errors
///
/// [`RequestError::Invalid`] and [`RequestError::Event`] name what is wrong, and where.
pub fn parse_event(json: &str) -> Result<(SseEvent, Option<Target>), RequestError> {
    let (event, target) = crate::http::read_text(json).map_err(|detail| RequestError::invalid("event", detail))?;
    published(&event, target.as_ref().unwrap_or(&Target::All))?;
    Ok((event, target))
}

impl Client {
    /// Publishes an event, and waits until it is kept as well as the hub promises. What fails in a way that may pass is
    /// tried again until the deadline, under an idempotency key of its own: the event is published once.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; only after `Unavailable` it is not known whether the event was published.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops trying; whether the event was published is not known then.
    pub async fn publish(&self, event: SseEvent, target: Target) -> Result<Receipt, RequestError> {
        self.publish_with_key(&random_key()?, event, target).await
    }

    /// [`Client::publish`] under a key of 1 to 255 visible ASCII characters: the same event under the same key is
    /// published once, whoever sends it and however often, and gets the same receipt.
    ///
    /// # Errors
    ///
    /// As [`Client::publish`]; `Refused` if the key belongs to another event.
    ///
    /// # Cancel safety
    ///
    /// As [`Client::publish`]; publish it again under its key.
    pub async fn publish_with_key(&self, key: &str, event: SseEvent, target: Target) -> Result<Receipt, RequestError> {
        let body = json(&published(&event, &target)?);
        let answer: Answer = self.send(key, body).await?;
        Ok(answer.into())
    }

    /// Publishes several events together: all of them, next to each other and in this order, or none. At most 1,000, and
    /// 1 MiB of JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::publish`]; pointers begin with the index of the event.
    ///
    /// # Cancel safety
    ///
    /// As [`Client::publish`].
    pub async fn publish_batch(&self, events: &[(SseEvent, Target)]) -> Result<Vec<Receipt>, RequestError> {
        self.publish_batch_with_key(&random_key()?, events).await
    }

    /// [`Client::publish_batch`] under a key, as [`Client::publish_with_key`].
    ///
    /// # Errors
    ///
    /// As [`Client::publish_batch`].
    ///
    /// # Cancel safety
    ///
    /// As [`Client::publish_with_key`].
    pub async fn publish_batch_with_key(
        &self,
        key: &str,
        events: &[(SseEvent, Target)],
    ) -> Result<Vec<Receipt>, RequestError> {
        let mut list = Vec::with_capacity(events.len());
        for (index, (event, target)) in events.iter().enumerate() {
            list.push(published(event, target).map_err(|error| error.at(index))?);
        }
        let answers: Vec<Answer> = self.send(key, json(&list)).await?;
        if answers.len() != events.len() {
            return Err(self.foreign(format!("{} receipts for {} events", answers.len(), events.len())));
        }
        Ok(answers.into_iter().map(Receipt::from).collect())
    }

    async fn send<T: serde::de::DeserializeOwned>(&self, key: &str, body: Vec<u8>) -> Result<T, RequestError> {
        if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = format!("must be 1 to {KEY_MAX} visible ASCII characters");
            return Err(RequestError::invalid("idempotency key", detail));
        }
        let path = &["publish"];
        let asked = Asked { method: Method::POST, body: Some(body.into()), key: Some(key), ..Asked::get(path) };
        self.value(&self.ask(&asked).await?.body)
    }
}

/// Longest idempotency key, in bytes.
const KEY_MAX: usize = 255;

/// Checked here, so that what a hub would refuse is not sent.
fn published<'a>(event: &'a SseEvent, target: &'a Target) -> Result<Published<'a>, SendError> {
    event.check()?;
    event.expectation(&target.check()?)?;
    Ok(Published {
        event: event.event_type(),
        data: event.raw_data()?,
        id: event.own_id(),
        retry: event.retry_ms(),
        ephemeral: event.is_ephemeral(),
        expect_last_id: event.expected_last_id(),
        to: To::from(target),
    })
}

/// Strings, numbers and JSON that was read before: this cannot fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn random_key() -> Result<String, RequestError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| RequestError::invalid("random number", error))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
