//! What one subscriber got of a numbered sequence: exactly which are missing, came twice, or came late.

/// What a delivery was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The first of its number, after all lower ones that came.
    Next,
    /// The first of its number, after a higher one.
    Late,
    /// Not the first of its number.
    Again,
}

/// As small as order lets it be: nothing but a number while nothing is missing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// One more than the highest that came.
    next: u32,
    /// What did not come below it: from, and up to but not including.
    missing: Vec<(u32, u32)>,
}

impl Tally {
    pub(super) fn take(&mut self, number: u32) -> Delivery {
        if number >= self.next {
            if number > self.next {
                self.missing.push((self.next, number));
            }
            self.next = number + 1;
            return Delivery::Next;
        }
        // The first gap that ends behind it.
        let at = self.missing.partition_point(|(_, end)| *end <= number);
        let Some(&(begin, end)) = self.missing.get(at).filter(|(begin, _)| *begin <= number) else {
            return Delivery::Again;
        };
        let parts = [(begin, number), (number + 1, end)];
        self.missing.splice(at..=at, parts.into_iter().filter(|(begin, end)| begin < end));
        Delivery::Late
    }

    /// The numbers below `count` that did not come.
    pub(super) fn missing(&self, count: u32) -> impl Iterator<Item = u32> {
        let rest = (self.next.min(count), count);
        self.missing.iter().copied().chain([rest]).flat_map(move |(begin, end)| begin..end.min(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Delivery::{Again, Late, Next};

    #[test]
    fn order_holes_and_repetitions_are_told_apart() {
        let mut tally = Tally::default();
        for (number, what) in
            [(0, Next), (0, Again), (5, Next), (2, Late), (2, Again), (1, Late), (4, Late), (9, Next), (5, Again)]
        {
            assert_eq!(tally.take(number), what, "{number}");
        }
        assert_eq!(tally.missing(12).collect::<Vec<_>>(), [3, 6, 7, 8, 10, 11]);
        assert_eq!(tally.missing(7).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(Tally::default().missing(2).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn it_agrees_with_a_plain_set() {
        let mut seed = 7_u64;
        for _ in 0..200 {
            let (mut tally, mut set) = (Tally::default(), std::collections::BTreeSet::new());
            for _ in 0..60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (seed >> 33) as u32 % 40;
                let late = set.last().is_some_and(|last| *last > number);
                let expected = if !set.insert(number) {
                    Again
                } else if late {
                    Late
                } else {
                    Next
                };
                assert_eq!(tally.take(number), expected);
            }
            let missing: Vec<u32> = (0..50).filter(|number| !set.contains(number)).collect();
            assert_eq!(tally.missing(50).collect::<Vec<_>>(), missing);
        }
    }
}
