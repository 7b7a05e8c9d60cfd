//! Events as an application writes them: a type and anything that serializes to JSON.

use crate::error::SendError;
use serde::Serialize;

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
}

impl SseEvent {
    /// An event of this type (1–128 bytes; not `connected`, `ping`, or beginning with `$`) with this data (at most
    /// 256 KiB of JSON).
    pub fn new(event: impl Into<String>, data: impl Serialize) -> Self {
        let data = serde_json::to_string(&data).map_err(|error| error.to_string());
        Self { event: event.into(), data, id: None, retry: None, ephemeral: false }
    }

    /// An event whose data is JSON text already; it is minified, its numbers and key order stay as they are.
    pub fn from_json(event: impl Into<String>, data: &serde_json::value::RawValue) -> Self {
        Self { event: event.into(), data: Ok(minify(data.get())), id: None, retry: None, ephemeral: false }
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
