//! Expectations: what a publisher believes to be the last event of a topic, checked where positions are given out.

use crate::cursor::Cursor;
use crate::dropped::LastOf;
use crate::key::Key;
use crate::store::Draft;
use crate::target::Matcher;
use std::collections::HashMap;

/// What the last event of a topic must be for another one to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectedLast {
    /// There never was one.
    Nothing,
    /// The one with this cursor.
    Event(Cursor),
    /// One that was not published here: this never holds.
    Foreign,
}

/// The text for [`ExpectedLast::Nothing`]. No cursor reads like it.
const NOTHING: &str = "none";

impl ExpectedLast {
    /// Reads an SSE `id`, of which only the cursor in front of `~` counts, or `none`.
    ///
    /// Whatever is no cursor of ours is no error: no topic's last event has it.
    ///
    /// ```
    /// use fanfare_core::{Cursor, ExpectedLast};
    /// let cursor = Cursor { epoch: 35, position: 36 };
    /// assert_eq!(ExpectedLast::parse("1.z.10~order-7"), ExpectedLast::Event(cursor));
    /// assert_eq!(ExpectedLast::parse("none"), ExpectedLast::Nothing);
    /// assert_eq!(ExpectedLast::parse("42"), ExpectedLast::Foreign);
    /// ```
    pub fn parse(text: &str) -> Self {
        match Cursor::parse(text) {
            Some(cursor) => Self::Event(cursor),
            None if text == NOTHING => Self::Nothing,
            None => Self::Foreign,
        }
    }

    fn holds(self, last: LastOf, cursor_of: impl Fn(u64) -> Cursor) -> bool {
        match (self, last) {
            (Self::Nothing, LastOf::Nothing) => true,
            (Self::Event(cursor), LastOf::At(position)) => cursor == cursor_of(position),
            // Where the truth is not known, nothing is promised.
            _ => false,
        }
    }
}

/// The first draft whose expectation does not hold, if they are released now and in this order, and the last event that
/// its topic has. That is one of the log, never one of the drafts: they are not published then. `tail` is where the log
/// ends, `last_of` its newest event of a topic, and `cursor_of` what stands for a place in it, or in its future.
pub(crate) fn conflict(
    drafts: &[Draft],
    mut tail: u64,
    last_of: impl Fn(Key) -> LastOf,
    cursor_of: impl Fn(u64) -> Cursor,
) -> Option<(usize, Option<Cursor>)> {
    if drafts.iter().all(|draft| draft.expected.is_none()) {
        return None;
    }
    // Where the drafts before the one that is looked at will be.
    let mut earlier: HashMap<Key, u64> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let key = if let Matcher::Key(key) = draft.matcher { Some(key) } else { None };
        if let (Some(expected), Some(key)) = (draft.expected, key) {
            let kept = last_of(key);
            let last = earlier.get(&key).map_or(kept, |position| LastOf::At(*position));
            if !expected.holds(last, &cursor_of) {
                let last = if let LastOf::At(position) = kept { Some(cursor_of(position)) } else { None };
                return Some((index, last));
            }
        }
        if draft.is_kept() {
            tail += 1;
            if let Some(key) = key {
                earlier.insert(key, tail);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::NoSink;
    use crate::store::{MemoryStore, PublishError, Receipt};
    use crate::target::{Name, Target};
    use crate::time::Now;
    use crate::{Event, Hub, HubConfig, Seed};

    fn hub(config: HubConfig) -> Hub<NoSink> {
        Hub::new(config, Box::new(MemoryStore), Seed([1, 2, 3, 4, 5 << 40, 6]), Now::default()).0
    }

    fn topic(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn event() -> Event {
        Event::new("n", "1").unwrap()
    }

    fn publish(hub: &Hub<NoSink>, drafts: Vec<Draft>) -> Result<Vec<Receipt>, PublishError> {
        let (sender, answers) = std::sync::mpsc::channel();
        hub.publish(drafts, None, Now::default(), Box::new(move |answer| sender.send(answer).unwrap()));
        answers.try_recv().unwrap()
    }

    /// A draft for a topic that expects an id.
    fn expecting(hub: &Hub<NoSink>, name: &str, id: &str) -> Draft {
        hub.draft_expecting(&event(), &topic(name), ExpectedLast::parse(id))
    }

    fn only_id(answer: Result<Vec<Receipt>, PublishError>) -> String {
        answer.unwrap().remove(0).id.unwrap()
    }

    fn conflict_at(index: usize, last: Option<&str>) -> Result<Vec<Receipt>, PublishError> {
        Err(PublishError::Conflict { index, last: last.map(|id| Cursor::parse(id).unwrap()) })
    }

    #[test]
    fn an_event_follows_the_one_that_was_expected_and_no_other() {
        let hub = hub(HubConfig::default());
        assert_eq!(publish(&hub, vec![expecting(&hub, "t", "1.a.1")]), conflict_at(0, None));
        let first = only_id(publish(&hub, vec![expecting(&hub, "t", "none")]));
        assert_eq!(publish(&hub, vec![expecting(&hub, "t", "none")]), conflict_at(0, Some(&first)));
        // Events for others, and ephemeral ones, are none of the topic's.
        for target in [Target::All, Target::User(topic("t")), Target::Topic(topic("u"))] {
            publish(&hub, vec![hub.draft(&event(), &target)]).unwrap();
        }
        let passing = hub.draft(&event().with_ephemeral(true), &Target::Topic(topic("t")));
        publish(&hub, vec![passing]).unwrap();
        let second = only_id(publish(&hub, vec![expecting(&hub, "t", &format!("{first}~own"))]));
        let epoch = Cursor { epoch: 1, ..Cursor::parse(&second).unwrap() }.to_string();
        for id in [&first, "none", "garbage", "", &epoch, &hub.cursor().to_string().replace(".4", ".5")] {
            if id != second {
                assert_eq!(publish(&hub, vec![expecting(&hub, "t", id)]), conflict_at(0, Some(&second)), "{id}");
            }
        }
        assert_eq!(hub.stats(Now::default()).published, 6, "what was refused left nothing");
    }

    #[test]
    fn a_batch_is_checked_as_if_its_events_came_one_by_one_and_published_whole_or_not() {
        let hub = hub(HubConfig::default());
        let last = only_id(publish(&hub, vec![expecting(&hub, "t", "none")]));
        let plain = |target| hub.draft(&event(), &target);
        // The second of the topic expects what the first replaces. The lost ids are not told.
        let drafts = vec![plain(Target::All), expecting(&hub, "t", &last), expecting(&hub, "t", &last)];
        assert_eq!(publish(&hub, drafts), conflict_at(2, Some(&last)));
        let drafts = vec![expecting(&hub, "u", "none"), plain(Target::Topic(topic("u"))), expecting(&hub, "u", "none")];
        assert_eq!(publish(&hub, drafts), conflict_at(2, None));
        assert_eq!(hub.cursor().to_string(), last, "nothing was published");
        // Nobody's events and ephemeral ones take no place.
        let follows = Cursor { position: 3, ..Cursor::parse(&last).unwrap() }.to_string();
        let drafts = vec![
            plain(Target::Users(Vec::new())),
            hub.draft(&event().with_ephemeral(true), &Target::Topic(topic("t"))),
            plain(Target::All),
            expecting(&hub, "t", &last),
            expecting(&hub, "t", &follows),
            expecting(&hub, "u", "none"),
        ];
        assert_eq!(publish(&hub, drafts).unwrap()[3].id.as_ref(), Some(&follows));
    }

    #[test]
    fn what_the_log_dropped_still_counts() {
        let hub = hub(HubConfig { log_bytes: 1, ..HubConfig::default() });
        let last = only_id(publish(&hub, vec![expecting(&hub, "t", "none")]));
        let start = crate::Start::After(Cursor::parse(&last));
        for _ in 0..100 {
            publish(&hub, vec![hub.draft(&event(), &Target::All)]).unwrap();
        }
        let history = hub.history(&crate::Identity::anonymous(), start, false, 1, 1, Now::default());
        assert_eq!(history.resume, crate::Resume::Gap, "it is gone");
        assert_eq!(publish(&hub, vec![expecting(&hub, "t", "none")]), conflict_at(0, Some(&last)));
        only_id(publish(&hub, vec![expecting(&hub, "t", &last)]));
    }
}
