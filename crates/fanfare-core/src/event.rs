//! Events: what a publisher hands over, checked once, at the edge. Inside, nothing is checked again.

use crate::limits::{DATA_MAX, EVENT_ID_MAX, EVENT_TYPE_MAX, RETRY_MAX};

/// A valid event: type, data, and what may travel with them.
///
/// ```
/// let event = fanfare_core::Event::new("announcement", r#"{"message":"hello"}"#).unwrap();
/// assert_eq!(event.event_type(), "announcement");
/// assert!(fanfare_core::Event::new("ping", "{}").is_err(), "the server's own");
/// assert!(fanfare_core::Event::new("a\nb", "{}").is_err(), "would be a second field");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    event_type: Box<str>,
    data: Box<str>,
    id: Option<Box<str>>,
    retry: Option<u32>,
    ephemeral: bool,
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Give the event a type; `message` is the browsers' default one.
    #[error("the event type is empty")]
    TypeEmpty,
    /// Shorten it.
    #[error("the event type has {0} bytes, more than {EVENT_TYPE_MAX}")]
    TypeTooLong(usize),
    /// A line end would start a second field on the wire; other invisible characters deceive readers of logs.
    #[error("the event type has the character {0:?}; control and format characters are not allowed")]
    TypeCharacter(char),
    /// `connected`, `ping` and everything that begins with `$` is the server's own.
    #[error("the event type {0:?} is reserved for the server; `connected`, `ping` and types that begin with `$` are")]
    TypeReserved(Box<str>),
    /// Leave the id away instead.
    #[error("the event id is empty")]
    IdEmpty,
    /// Shorten it.
    #[error("the event id has {0} bytes, more than {EVENT_ID_MAX}")]
    IdTooLong(usize),
    /// The id travels in a header on the way back, where only visible ASCII survives every client.
    #[error("the event id has the character {0:?}; only visible ASCII without `~` is allowed")]
    IdCharacter(char),
    /// Send a reference instead of the thing.
    #[error("the data has {0} bytes, more than {DATA_MAX}")]
    DataTooLong(usize),
    /// NUL is legal on the wire, but no JSON text has one, and some clients stop at it.
    #[error("the data has a NUL character")]
    DataNul,
    /// Shorten it.
    #[error("the retry of {0} ms is more than {RETRY_MAX} ms")]
    RetryTooLong(u64),
}

impl Event {
    /// Checks type and data. `data` is JSON text as far as Fanfare's own clients go; the engine sends any text.
    ///
    /// # Errors
    ///
    /// [`EventError`] names what is wrong.
    pub fn new(event_type: &str, data: impl Into<Box<str>>) -> Result<Self, EventError> {
        check_type(event_type)?;
        let data = data.into();
        if data.len() > DATA_MAX {
            return Err(EventError::DataTooLong(data.len()));
        }
        if memchr::memchr(0, data.as_bytes()).is_some() {
            return Err(EventError::DataNul);
        }
        Ok(Self { event_type: event_type.into(), data, id: None, retry: None, ephemeral: false })
    }

    /// Adds the publisher's own id, which travels behind the cursor.
    ///
    /// # Errors
    ///
    /// [`EventError`] unless it is 1 to 128 visible ASCII characters without `~`.
    pub fn with_id(mut self, id: &str) -> Result<Self, EventError> {
        if id.is_empty() {
            return Err(EventError::IdEmpty);
        }
        if id.len() > EVENT_ID_MAX {
            return Err(EventError::IdTooLong(id.len()));
        }
        if let Some(bad) = id.chars().find(|c| !c.is_ascii_graphic() || *c == '~') {
            return Err(EventError::IdCharacter(bad));
        }
        self.id = Some(id.into());
        Ok(self)
    }

    /// Sets the reconnection time browsers keep from now on, in milliseconds.
    ///
    /// # Errors
    ///
    /// [`EventError::RetryTooLong`] above one day.
    pub fn with_retry(mut self, retry_ms: u64) -> Result<Self, EventError> {
        self.retry =
            Some(u32::try_from(retry_ms).ok().filter(|ms| *ms <= RETRY_MAX).ok_or(EventError::RetryTooLong(retry_ms))?);
        Ok(self)
    }

    /// Marks the event as delivered to whoever is there, and not kept.
    pub fn with_ephemeral(mut self, ephemeral: bool) -> Self {
        self.ephemeral = ephemeral;
        self
    }

    /// The type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The data.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// The publisher's own id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The reconnection time in milliseconds.
    pub fn retry(&self) -> Option<u32> {
        self.retry
    }

    /// True if the event is not kept.
    pub fn ephemeral(&self) -> bool {
        self.ephemeral
    }
}

fn check_type(event_type: &str) -> Result<(), EventError> {
    if event_type.is_empty() {
        return Err(EventError::TypeEmpty);
    }
    if event_type.len() > EVENT_TYPE_MAX {
        return Err(EventError::TypeTooLong(event_type.len()));
    }
    if let Some(bad) = event_type.chars().find(|c| is_invisible(*c)) {
        return Err(EventError::TypeCharacter(bad));
    }
    if event_type.starts_with('$') || matches!(event_type, "connected" | "ping") {
        return Err(EventError::TypeReserved(event_type.into()));
    }
    Ok(())
}

/// Control characters (Unicode category Cc), format characters (Cf) and the two Unicode line separators.
pub(crate) fn is_invisible(c: char) -> bool {
    // Nearly every character of a name: none of the ranges below need be looked at.
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_cause() {
        assert_eq!(Event::new("", "{}"), Err(EventError::TypeEmpty));
        assert_eq!(Event::new(&"x".repeat(129), "{}"), Err(EventError::TypeTooLong(129)));
        for bad in ['\r', '\n', '\0', '\u{7f}', '\u{85}', '\u{202e}', '\u{feff}'] {
            assert_eq!(Event::new(&format!("a{bad}b"), "{}"), Err(EventError::TypeCharacter(bad)));
        }
        for reserved in ["connected", "ping", "$", "$gap", "$anything"] {
            assert_eq!(Event::new(reserved, "{}"), Err(EventError::TypeReserved(reserved.into())));
        }
        assert_eq!(Event::new("a", "x\0").unwrap_err(), EventError::DataNul);
        assert_eq!(Event::new("a", "x".repeat(DATA_MAX + 1)).unwrap_err(), EventError::DataTooLong(DATA_MAX + 1));
        let event = Event::new("a", "x".repeat(DATA_MAX)).unwrap();
        assert_eq!(event.clone().with_id(""), Err(EventError::IdEmpty));
        assert_eq!(event.clone().with_id(&"x".repeat(129)), Err(EventError::IdTooLong(129)));
        for bad in ['~', ' ', '\n', 'é', '\u{7f}'] {
            assert_eq!(event.clone().with_id(&format!("a{bad}")), Err(EventError::IdCharacter(bad)));
        }
        assert_eq!(event.with_retry(86_400_001), Err(EventError::RetryTooLong(86_400_001)));
    }

    #[test]
    fn the_standard_types_and_lifecycle_words_are_allowed() {
        for fine in ["message", "error", "open", "close", "system", "a b", "grün", &"x".repeat(128)] {
            assert!(Event::new(fine, "{}").is_ok(), "{fine}");
        }
    }
}
