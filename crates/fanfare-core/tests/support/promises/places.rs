//! Ids as the contract has them, and the order of places through all lives of a log.

use super::{Item, Run, mentions};
use std::collections::BTreeMap;

/// A place in the log, in the order of time: epochs in the order in which they began, then positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    epoch: usize,
    position: u64,
}

impl Place {
    /// Before everything.
    pub(super) const START: Self = Self { epoch: 0, position: 0 };
}

/// Epoch to its rank.
pub(super) struct Epochs(BTreeMap<u64, usize>);

impl Epochs {
    /// Epochs began in the order of the lives that first spoke of them; where one life is the first to speak of several,
    /// since nobody heard of what another had done, in the order of their positions.
    pub(super) fn in_order(run: &Run) -> Self {
        if !run.epochs.is_empty() {
            return Self(run.epochs.iter().enumerate().map(|(rank, epoch)| (*epoch, rank)).collect());
        }
        let of_readings = run.readings.iter().flat_map(|reading| {
            reading.items.iter().filter_map(move |item| match item {
                Item::Place(id) | Item::Gap(id) | Item::Reset(id) => Some((reading.life, &**id)),
                Item::Event { .. } => None,
            })
        });
        let mut first: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (life, id) in of_readings.chain(mentions(run).map(|(life, id, _)| (life, id))) {
            let Some((epoch, position)) = read(id) else { continue };
            let entry = first.entry(epoch).or_insert((life, position));
            *entry = if life < entry.0 { (life, position) } else { (entry.0, entry.1.min(position)) };
        }
        let mut order: Vec<_> = first.into_iter().map(|(epoch, first)| (first, epoch)).collect();
        order.sort_unstable();
        Self(order.into_iter().enumerate().map(|(rank, (_, epoch))| (epoch, rank)).collect())
    }

    /// Where an id is. `None` for what is no id.
    pub(super) fn place(&self, id: &str) -> Option<Place> {
        let (epoch, position) = read(id)?;
        // Position 0 is before the first event of all, whatever epoch says so.
        if position == 0 {
            return Some(Place::START);
        }
        Some(Place { epoch: self.0.get(&epoch).copied().unwrap_or(usize::MAX), position })
    }
}

/// Epoch and position of an id.
fn read(id: &str) -> Option<(u64, u64)> {
    let cursor = id.split('~').next()?;
    let (epoch, position) = cursor.strip_prefix("1.")?.split_once('.')?;
    Some((u64::from_str_radix(epoch, 36).ok()?, u64::from_str_radix(position, 36).ok()?))
}

/// The id of an ephemeral event names the place before it; what the publisher called it may follow.
pub(super) fn is_ephemeral(id: &str) -> bool {
    id.contains("~~")
}
