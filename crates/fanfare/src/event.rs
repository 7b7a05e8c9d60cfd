//! Events as an application writes them: a type and anything that serializes to JSON.

use crate::error::SendError;
use fanfare_core::{ExpectedLast, Name};
use serde::Serialize;

/// Where an expectation stands in an event, as a JSON pointer.
pub(crate) const EXPECTED: &str = "/expectLastId";

/// An event: a type, JSON data, and what may travel with them.
///
/// Building one never fails; what is wrong with it is said by the send.
///
/// ```
/// use fanfare::SseEvent;
/// let event = SseEvent::new("notification", serde_json::json!({ "title": "Welcome!" })).with_id("welcome-1");
/// ```
#[derive(Debug, Clone)]
pub struct SseEvent {
    event: String,
    data: Result<String, String>,
    id: Option<String>,
    retry: Option<u64>,
    ephemeral: bool,
    expected_last_id: Option<String>,
}

impl SseEvent {
    /// An event of this type (1–128 bytes; not `connected`, `ping`, or beginning with `$`) with this data (at most
    /// 256 KiB of JSON).
    pub fn new(event: impl Into<String>, data: impl Serialize) -> Self {
        let data = serde_json::to_string(&data).map_err(|error| error.to_string());
        Self::of(event.into(), data)
    }

    /// An event whose data is JSON text already; it is minified, its numbers and key order stay as they are.
    pub fn from_json(event: impl Into<String>, data: &serde_json::value::RawValue) -> Self {
        Self::of(event.into(), Ok(minify(data.get())))
    }

    fn of(event: String, data: Result<String, String>) -> Self {
        Self { event, data, id: None, retry: None, ephemeral: false, expected_last_id: None }
    }

    /// Gives it an id of the application's own: 1–128 visible ASCII characters without `~`.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Asks browsers to wait so many milliseconds before they reconnect, from now on. At most a day.
    pub fn with_retry_ms(mut self, retry_ms: u64) -> Self {
        self.retry = Some(retry_ms);
        self
    }

    /// Delivers it to whoever is there, and does not keep it.
    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }

    /// Publishes it only if the last event of its topic has this id by then; `none` stands for a topic that never had
    /// one. It must be for [`Target::Topic`](crate::Target::Topic), and not be ephemeral.
    ///
    /// For writers that change what they have read: of those that read the same, one is first, and the others get
    /// [`SendError::Conflict`], with nothing published. Of the id only the cursor counts, the part in front of `~`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fanfare::{SendError, SseConfig, SseEvent, SseManager, Target};
    /// let manager = SseManager::new(SseConfig::default())?;
    /// let bid = |euros: u32, last: &str| SseEvent::new("bid", euros).with_expected_last_id(last);
    /// let first = manager.publish(bid(10, "none"), Target::topic("lot-7")).await?;
    /// // Somebody who has not seen it comes too late, and is told what to look at.
    /// let late = manager.publish(bid(11, "none"), Target::topic("lot-7")).await;
    /// assert!(matches!(late, Err(SendError::Conflict { last_id, .. }) if last_id == first.id));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_expected_last_id(mut self, id: impl Into<String>) -> Self {
        self.expected_last_id = Some(id.into());
        self
    }

    #[cfg(feature = "client")]
    pub(crate) fn event_type(&self) -> &str {
        &self.event
    }

    /// Its data as JSON text.
    #[cfg(feature = "client")]
    pub(crate) fn raw_data(&self) -> Result<&serde_json::value::RawValue, SendError> {
        let data = self.data.as_ref().map_err(|error| SendError::invalid("/data", error.clone()))?;
        serde_json::from_str(data).map_err(|error| SendError::invalid("/data", error))
    }

    #[cfg(feature = "client")]
    pub(crate) fn own_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    #[cfg(feature = "client")]
    pub(crate) fn retry_ms(&self) -> Option<u64> {
        self.retry
    }

    #[cfg(feature = "client")]
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    #[cfg(feature = "client")]
    pub(crate) fn expected_last_id(&self) -> Option<&str> {
        self.expected_last_id.as_deref()
    }

    /// The topic and what is expected of it, if anything is.
    pub(crate) fn expectation<'a>(
        &self,
        target: &'a fanfare_core::Target,
    ) -> Result<Option<(&'a Name, ExpectedLast)>, SendError> {
        let refuse = |detail: &str| Err(SendError::invalid(EXPECTED, detail));
        match (&self.expected_last_id, target) {
            (None, _) => Ok(None),
            (Some(id), _) if id.is_empty() => refuse("is empty; `none` stands for a topic that never had an event"),
            (Some(_), _) if self.ephemeral => refuse("an ephemeral event has no place behind another"),
            (Some(id), fanfare_core::Target::Topic(topic)) => Ok(Some((topic, ExpectedLast::parse(id)))),
            _ => refuse("only an event for a topic can expect another: write `to` as {\"topic\": …}"),
        }
    }

    pub(crate) fn check(&self) -> Result<fanfare_core::Event, SendError> {
        use fanfare_core::EventError;
        let data = self.data.as_ref().map_err(|error| SendError::invalid("/data", error.clone()))?;
        let event = fanfare_core::Event::new(&self.event, data.as_str()).map_err(|error| match error {
            EventError::DataTooLong(_) => SendError::TooLarge { pointer: "/data".into(), detail: error.to_string() },
            EventError::DataNul => SendError::invalid("/data", error),
            _ => SendError::invalid("/event", error),
        })?;
        let event = match &self.id {
            Some(id) => event.with_id(id).map_err(|error| SendError::invalid("/id", error))?,
            None => event,
        };
        let event = match self.retry {
            Some(retry) => event.with_retry(retry).map_err(|error| SendError::invalid("/retry", error))?,
            None => event,
        };
        Ok(event.with_ephemeral(self.ephemeral))
    }
}

/// Takes the white space out of valid JSON, and touches nothing else.
pub(crate) fn minify(json: &str) -> String {
    let bytes = json.as_bytes();
    let mut out = String::with_capacity(json.len());
    // Start of what is to be copied next.
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(&json[start..at]);
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    out.push_str(&json[start..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minifying_keeps_numbers_order_and_strings() {
        let json = "{ \"b\" : 1.50e+3 ,\r\n\t\"a\" : [ 12345678901234567890 , \" x \\\" y \\\\\" , \"\\u00e9 é\" ] }";
        assert_eq!(minify(json), "{\"b\":1.50e+3,\"a\":[12345678901234567890,\" x \\\" y \\\\\",\"\\u00e9 é\"]}");
        assert_eq!(minify(" \"\\\\\" "), "\"\\\\\"");
    }
}
