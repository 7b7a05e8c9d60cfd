//! Which event is for which subscriber: all of them for everybody, or each for one, who differs each time.

/// The whole of it can be computed by every process for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    subscribers: u64,
    /// How far it is from one event's subscriber to the next one's, and the number that undoes it; `None` if all get all.
    step: Option<(u64, u64)>,
}

impl Spread {
    pub(super) fn new(subscribers: u32, one: bool) -> Self {
        let subscribers = u64::from(subscribers.max(1));
        // Golden: neighbours in time are far apart in number. Without a common divisor everybody has a turn in each round.
        let golden = (subscribers * 618 / 1_000).max(1);
        let step = (golden..=golden + subscribers).find(|step| gcd(*step, subscribers) == 1).unwrap_or(1);
        let inverse = (0..subscribers).find(|number| number * step % subscribers == 1 % subscribers).unwrap_or(0);
        Self { subscribers, step: one.then_some((step, inverse)) }
    }

    /// The subscriber an event is for; `None` if it is for all.
    pub(super) fn whom(&self, event: u32) -> Option<u32> {
        self.step.map(|(step, _)| (u64::from(event) % self.subscribers * step % self.subscribers) as u32)
    }

    /// Where an event stands among those of a subscriber; `None` if it is not for it.
    pub(super) fn place(&self, event: u32, subscriber: u32) -> Option<u32> {
        match self.whom(event) {
            None => Some(event),
            Some(whom) => (whom == subscriber).then_some((u64::from(event) / self.subscribers) as u32),
        }
    }

    /// The event at a place of a subscriber's.
    pub(super) fn event(&self, place: u32, subscriber: u32) -> u32 {
        match self.step {
            None => place,
            Some(_) => (u64::from(place) * self.subscribers + self.turn(subscriber)) as u32,
        }
    }

    /// How many of the first `published` events are for a subscriber.
    pub(super) fn count(&self, published: u32, subscriber: u32) -> u32 {
        if self.step.is_none() {
            return published;
        }
        let (rounds, rest) = (u64::from(published) / self.subscribers, u64::from(published) % self.subscribers);
        (rounds + u64::from(self.turn(subscriber) < rest)) as u32
    }

    fn turn(&self, subscriber: u32) -> u64 {
        self.step.map_or(0, |(_, inverse)| u64::from(subscriber) * inverse % self.subscribers)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_in_each_round() {
        for subscribers in [1, 2, 3, 6, 7, 100, 1_001] {
            let spread = Spread::new(subscribers, true);
            let mut counts = vec![0; subscribers as usize];
            for event in 0..subscribers * 2 + subscribers / 2 {
                let whom = spread.whom(event).unwrap();
                let place = spread.place(event, whom).unwrap();
                assert_eq!(place, counts[whom as usize], "the places of {whom} are dense");
                assert_eq!(spread.event(place, whom), event);
                counts[whom as usize] += 1;
                assert_eq!(spread.count(event + 1, whom), counts[whom as usize]);
            }
            if subscribers > 1 {
                assert_eq!(spread.place(0, spread.whom(1).unwrap()), None);
            }
        }
    }

    #[test]
    fn what_is_for_all_is_for_everybody() {
        let spread = Spread::new(10, false);
        assert_eq!((spread.whom(3), spread.place(3, 9), spread.event(3, 9), spread.count(4, 9)), (None, Some(3), 3, 4));
    }
}
