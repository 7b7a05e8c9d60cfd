//! Where each epoch begins. Every start draws a new one, so that a cursor from a tail that was lost, or from the
//! time after a backup, is known for what it is.

use crate::cursor::Cursor;

/// Epochs that are remembered. A cursor of an older one is a reset.
pub(crate) const EPOCHS_MAX: usize = 1_024;

/// Epochs in the order in which they began, each with the log's tail at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(u64, u64)>);

impl Epochs {
    pub(crate) fn new(epoch: u64) -> Self {
        Self(vec![(epoch, 0)])
    }

    /// From a list in the order in which they began. `None` if it is empty.
    pub(crate) fn from_list(list: Vec<(u64, u64)>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }

    pub(crate) fn list(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// A new one begins behind `tail`.
    pub(crate) fn begin(&mut self, epoch: u64, tail: u64) {
        self.0.push((epoch, tail));
        if self.0.len() > EPOCHS_MAX {
            self.0.remove(0);
        }
    }

    /// The cursor of a position that is written in this epoch.
    pub(crate) fn cursor_in(&self, epoch: u64, position: u64) -> Cursor {
        debug_assert_eq!(self.cursor(position), Cursor { epoch, position });
        Cursor { epoch, position }
    }

    /// The cursor of a position: the newest epoch that began before it.
    pub(crate) fn cursor(&self, position: u64) -> Cursor {
        let began = self.0.iter().rev().find(|(_, start)| *start < position);
        let epoch = began.or(self.0.first()).map_or(0, |(epoch, _)| *epoch);
        Cursor { epoch, position }
    }

    /// The position a presented cursor stands for, `None` if it means nothing here: its epoch is unknown, or it is
    /// beyond that epoch's end, which is where the first later one began. `tail` is the end of the newest.
    pub(crate) fn resolve(&self, cursor: Cursor, tail: u64) -> Option<u64> {
        let place = self.0.iter().rposition(|(epoch, _)| *epoch == cursor.epoch)?;
        // After a lost tail a later epoch began earlier.
        let end = self.0[place + 1..].iter().map(|(_, start)| *start).min().unwrap_or(tail);
        (cursor.position <= end).then_some(cursor.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, position: u64) -> Cursor {
        Cursor { epoch, position }
    }

    #[test]
    fn a_restart_costs_no_cursor_and_a_lost_tail_costs_exactly_those_beyond() {
        let mut epochs = Epochs::new(7);
        assert_eq!(epochs.resolve(at(7, 10), 10), Some(10));
        epochs.begin(8, 10);
        assert_eq!(epochs.cursor(10), at(7, 10));
        assert_eq!(epochs.cursor(11), at(8, 11));
        assert_eq!(epochs.resolve(at(7, 10), 15), Some(10));
        assert_eq!(epochs.resolve(at(7, 11), 15), None, "never given out, or lost");
        assert_eq!(epochs.resolve(at(8, 10), 15), Some(10), "the present, right after the start");
        // The tail from 6 on was lost before this start.
        epochs.begin(9, 5);
        assert_eq!(epochs.cursor(8), at(9, 8));
        assert_eq!(epochs.resolve(at(7, 5), 20), Some(5));
        assert_eq!(epochs.resolve(at(7, 6), 20), None);
        assert_eq!(epochs.resolve(at(8, 12), 20), None);
        assert_eq!(epochs.resolve(at(9, 12), 20), Some(12));
        assert_eq!(epochs.resolve(at(1, 1), 20), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut epochs = Epochs::new(0);
        for epoch in 1..=EPOCHS_MAX as u64 {
            epochs.begin(epoch, epoch);
        }
        assert_eq!(epochs.list().len(), EPOCHS_MAX);
        assert_eq!(epochs.resolve(at(0, 0), 9_999), None);
        assert_eq!(epochs.resolve(at(1, 1), 9_999), Some(1));
    }
}
