//! JSON bodies, read key by key, so that every fault can be named and unknown or repeated keys are refused.

use super::problem::{Fault, Problem, fragment};
use crate::target::pointer_token;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A JSON object whose values are not looked at yet.
pub(super) struct Object<'a> {
    /// Pointer to the object itself.
    at: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    pub(super) faults: Vec<Fault>,
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Reads any JSON value without looking into it.
pub(super) fn parse(body: &[u8]) -> Result<&RawValue, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Problem::bad_request(format!("the body is not valid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    serde_json::from_str(text).map_err(|error| Problem::bad_request(format!("the body is not valid JSON: {error}")))
}

impl<'a> Object<'a> {
    /// Opens a value that must be an object. `at` is its pointer, empty for the whole body.
    pub(super) fn open(value: &'a RawValue, at: &str) -> Result<Self, Fault> {
        let Ok(Members(mut members)) = serde_json::from_str(value.get()) else {
            let detail = if value.get().starts_with('{') {
                "has a key with an escape that is no character".to_owned()
            } else {
                format!("must be an object, not {}", kind(value))
            };
            return Err(Fault::new(fragment(at), detail));
        };
        let mut faults = Vec::new();
        let mut index = 0;
        while index < members.len() {
            if members[..index].iter().any(|(key, _)| *key == members[index].0) {
                let (key, _) = members.remove(index);
                faults.push(Fault::new(fragment(&format!("{at}/{}", pointer_token(&key))), "is given twice"));
            } else {
                index += 1;
            }
        }
        Ok(Self { at: at.to_owned(), members, faults })
    }

    pub(super) fn pointer(&self, key: &str) -> String {
        format!("{}/{}", self.at, pointer_token(key))
    }

    pub(super) fn fault(&mut self, key: &str, detail: impl Into<String>) {
        let pointer = fragment(&self.pointer(key));
        // A missing or mistyped value is one fault, not two.
        if !self.faults.iter().any(|fault| fault.pointer == pointer) {
            self.faults.push(Fault::new(pointer, detail));
        }
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        let index = self.members.iter().position(|(name, _)| name == key)?;
        Some(self.members.remove(index).1)
    }

    /// `None`, and a fault, if a member that must be there is not.
    pub(super) fn demand(&mut self, key: &str) -> Option<()> {
        let there = self.keys().any(|known| known == key);
        if !there {
            self.fault(key, "is required");
        }
        there.then_some(())
    }

    /// Takes a member that must be there.
    pub(super) fn required(&mut self, key: &str) -> Option<&'a RawValue> {
        self.demand(key)?;
        self.take(key)
    }

    fn typed<T: Deserialize<'a>>(&mut self, key: &str, value: Option<&'a RawValue>, expected: &str) -> Option<T> {
        let value = value?;
        let typed = serde_json::from_str(value.get()).ok();
        if typed.is_none() {
            let detail = if kind(value) == expected && expected == "a string" {
                "has an escape that is no character".to_owned()
            } else if kind(value) == "a number" && expected.contains("number") {
                format!("must be {expected}; {} is not", short(value.get()))
            } else {
                format!("must be {expected}, not {}", kind(value))
            };
            self.fault(key, detail);
        }
        typed
    }

    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        let value = self.take(key);
        self.typed(key, value, "a string")
    }

    pub(super) fn required_string(&mut self, key: &str) -> Option<String> {
        let value = self.required(key);
        self.typed(key, value, "a string")
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key);
        self.typed(key, value, "true or false")
    }

    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key);
        self.typed(key, value, "a number")
    }

    pub(super) fn unsigned(&mut self, key: &str) -> Option<u64> {
        let value = self.take(key);
        self.typed(key, value, "a whole number that is not negative")
    }

    /// One of several words.
    pub(super) fn word<T>(&mut self, key: &str, words: &[&str], parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.string(key)?;
        let word = parse(&text);
        if word.is_none() {
            self.fault(key, format!("must be one of {}", words.join(", ")));
        }
        word
    }

    /// An object that is passed on as it is.
    pub(super) fn record(&mut self, key: &str) -> Option<&'a RawValue> {
        let value = self.take(key)?;
        if value.get().starts_with('{') {
            return Some(value);
        }
        self.fault(key, format!("must be an object, not {}", kind(value)));
        None
    }

    /// A list of strings; a fault points at the element.
    pub(super) fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key);
        let elements: Vec<&RawValue> = self.typed(key, value, "a list")?;
        let mut strings = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            if let Ok(text) = serde_json::from_str::<String>(element.get()) {
                strings.push(text);
            } else {
                let pointer = fragment(&format!("{}/{index}", self.pointer(key)));
                self.faults.push(Fault::new(pointer, format!("must be a string, not {}", kind(element))));
                return None;
            }
        }
        Some(strings)
    }

    /// Every member whose value must be a string.
    pub(super) fn all_strings(mut self) -> Result<Vec<(String, String)>, Vec<Fault>> {
        let members = std::mem::take(&mut self.members);
        let mut strings = Vec::with_capacity(members.len());
        for (key, value) in members {
            if let Some(text) = self.typed(&key, Some(value), "a string") {
                strings.push((key.into_owned(), text));
            }
        }
        if self.faults.is_empty() { Ok(strings) } else { Err(self.faults) }
    }

    /// The keys that are still there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(key, _)| key.as_ref())
    }

    /// Every key has been taken, or is unknown. `known` is for the message.
    pub(super) fn refuse_unknown(&mut self, known: &[&str]) {
        let unknown: Vec<String> = self.keys().map(str::to_owned).collect();
        for key in unknown {
            self.fault(&key, format!("is not known; known are {}", known.join(", ")));
        }
    }
}

fn short(text: &str) -> &str {
    text.get(..40).unwrap_or(text)
}

/// What a JSON value is, for messages.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
