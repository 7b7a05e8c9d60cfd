//! What one reader may hear, item by item: everything for it up to every place it is told of, in order, once, and
//! nothing that is for somebody else.

use super::places::is_ephemeral;
use super::{Facts, From, Item, Known, Losses, Place, Reading, Run, Verdict, Who};
use std::collections::BTreeMap;

pub(super) fn readings(run: &Run, facts: &Facts<'_>, say: &mut impl FnMut(&'static str, String)) {
    let mut visible: BTreeMap<&Who, Vec<Known<'_>>> = BTreeMap::new();
    for (number, reading) in run.readings.iter().enumerate() {
        let owed = visible.entry(&reading.who).or_insert_with(|| {
            let mut owed: Vec<_> =
                facts.known.values().filter(|known| known.sent.to.matches(&reading.who)).copied().collect();
            owed.sort_unstable_by_key(|known| known.place);
            owed
        });
        let mut say = |rule, text: String| {
            let Reading { life, who, from, .. } = reading;
            say(rule, format!("reading {number} of life {life}, {who:?} from {from:?}: {text}"));
        };
        Walk { facts, reading, owed, last: None }.check(&mut say);
    }
}

struct Walk<'a> {
    facts: &'a Facts<'a>,
    reading: &'a Reading,
    /// What is for this reader, in order.
    owed: &'a [Known<'a>],
    /// The reader has everything up to here. `None` before the first place it is told of.
    last: Option<Place>,
}

impl Walk<'_> {
    fn check(mut self, say: &mut impl FnMut(&'static str, String)) {
        let Reading { from, verdict, items, .. } = self.reading;
        match (from, verdict) {
            (_, Verdict::Gap) => self.gap(say),
            (_, Verdict::Reset) => self.reset(say),
            (From::After(id), _) => {
                self.last = self.facts.epochs.place(id);
                if *verdict == Verdict::Live {
                    say("verdict", "live for a cursor".into());
                }
                if self.last.is_none() {
                    say("verdict", format!("{verdict:?} for what is no cursor"));
                }
            }
            (From::Earliest, _) if self.facts.losses == Losses::Nothing => self.last = Some(Place::START),
            // The oldest may be anywhere then, and the present is where it is.
            (From::Earliest | From::Now, _) => {}
        }
        for item in items {
            self.item(item, say);
        }
        if self.reading.complete {
            self.complete(say);
        }
    }

    fn item(&mut self, item: &Item, say: &mut impl FnMut(&'static str, String)) {
        let (Item::Event { id, .. } | Item::Place(id) | Item::Gap(id) | Item::Reset(id)) = item;
        let Some(place) = self.facts.epochs.place(id) else { return say("id", format!("{id} is no id")) };
        let ephemeral = is_ephemeral(id);
        if self.last.is_some_and(|last| last > place) {
            say("order", format!("{id} comes too late"));
        }
        match item {
            Item::Gap(_) => {
                self.gap(say);
                self.last = self.last.max(Some(place));
                return;
            }
            Item::Reset(_) => {
                self.reset(say);
                self.last = Some(place);
                return;
            }
            Item::Place(_) => self.owed_up_to(place, true, id, say),
            Item::Event { payload, .. } => {
                if !ephemeral && self.last == Some(place) {
                    say("duplicate", format!("{id} comes again"));
                }
                self.owed_up_to(place, ephemeral, id, say);
                if let Some((sent, _)) = self.facts.sent.get(&**payload)
                    && !sent.to.matches(&self.reading.who)
                {
                    say("stranger", format!("{id} is for {:?}", sent.to));
                }
            }
        }
        self.last = self.last.max(Some(place));
    }

    /// Everything before a place, and what is at it if that is no event of its own, was delivered.
    fn owed_up_to(&self, place: Place, with: bool, id: &str, say: &mut impl FnMut(&'static str, String)) {
        let Some(last) = self.last else { return };
        let from = self.owed.partition_point(|known| known.place <= last);
        let missing = self.owed[from..].iter().take_while(|known| known.place < place || with && known.place == place);
        let missing: Vec<_> = missing.collect();
        if let Some(first) = missing.first() {
            let count = missing.len();
            say("silent gap", format!("{count} events before {id} are missing, first {:.200}", first.sent.payload));
        }
    }

    /// Everything anybody was told of in an earlier life is there.
    fn complete(&self, say: &mut impl FnMut(&'static str, String)) {
        let known = self.owed.iter().filter(|known| known.life < self.reading.life);
        let lost: Vec<_> = known.filter(|known| self.last.is_none_or(|last| known.place > last)).collect();
        if let Some(first) = lost.first() {
            let count = lost.len();
            say("lost", format!("{count} events are not there at the end, first {:.200}", first.sent.payload));
        }
    }

    fn gap(&self, say: &mut impl FnMut(&'static str, String)) {
        if self.facts.losses == Losses::Nothing {
            say("gap", "a gap where nothing was dropped".into());
        }
    }

    fn reset(&mut self, say: &mut impl FnMut(&'static str, String)) {
        self.last = None;
        if self.facts.losses != Losses::Damaged {
            say("reset", "a reset where nothing was damaged".into());
        }
    }
}
