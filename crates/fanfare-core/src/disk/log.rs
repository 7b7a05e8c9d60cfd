//! The log on disk as readers see it: segments, what was dropped, and reads that follow a reader's own keys.
//!
//! Shared by everybody; the writer alone adds segments, retention alone drops them. No lock is held across a read.

use super::clock::LogClock;
use super::config::DiskConfig;
use super::files::Disk;
use super::format::Kind;
use super::index::{EVERYBODY, Found};
use super::manifest::Manifest;
use super::segment::{Segment, Window, index_name};
use crate::control::GapReason;
use crate::dropped::{Dropped, LastOf, Loss};
use crate::key::Key;
use crate::log::ReadLimit;
use crate::sync::{Mutex, lock};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// Where an index is written before it gets its name.
pub(super) const INDEX_TMP: &str = "index.tmp";

/// One moment's segments, oldest first, and what is gone before them.
#[derive(Clone)]
pub(super) struct View {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) dropped: Arc<Dropped>,
}

/// What is needed to drop segments.
pub(super) struct Retention {
    pub(super) manifest: Manifest,
    pub(super) config: DiskConfig,
    pub(super) clock: LogClock,
}

/// See the module.
pub(crate) struct DiskLog {
    pub(super) disk: Arc<dyn Disk>,
    view: Mutex<Arc<View>>,
    pub(super) retention: Mutex<Retention>,
    /// Held while an index is written: its temporary name is one.
    sealing: Mutex<()>,
}

impl core::fmt::Debug for DiskLog {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("DiskLog").finish_non_exhaustive()
    }
}

/// A part of what a reader is owed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// What is gone before the frames: up to where, and why.
    pub(crate) gap: Option<(u64, GapReason)>,
    /// Positions and frames, in order.
    pub(crate) frames: Vec<(u64, Bytes)>,
    /// How far the reader is then complete.
    pub(crate) reached: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskLogSize {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: usize,
}

impl View {
    pub(super) fn size(&self) -> DiskLogSize {
        let mut size = DiskLogSize { segments: self.segments.len(), ..DiskLogSize::default() };
        for segment in &self.segments {
            segment.summary(|summary| {
                size.records += u64::from(summary.records);
                size.bytes += u64::from(summary.bytes);
            });
        }
        size
    }
}

impl DiskLog {
    pub(super) fn new(disk: Arc<dyn Disk>, view: View, retention: Retention) -> Self {
        let (view, retention) = (Mutex::new(Arc::new(view)), Mutex::new(retention));
        Self { disk, view, retention, sealing: Mutex::new(()) }
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&lock(&self.view))
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut guard = lock(&self.view);
        let mut view = View::clone(&guard);
        change(&mut view);
        *guard = Arc::new(view);
    }

    /// The position of the newest record dropped.
    pub(crate) fn floor(&self) -> u64 {
        self.view().dropped.floor
    }

    pub(crate) fn size(&self) -> DiskLogSize {
        self.view().size()
    }

    /// Whether a reader at `position` has lost something to retention.
    pub(crate) fn loss(&self, keys: &[Key], client: Option<Key>, position: u64) -> Loss {
        self.view().dropped.loss(keys, client, position)
    }

    /// Reads what a reader is owed above `position`. Reads files: not for a shard's thread.
    ///
    /// At least one record is returned if one matches, however large. What cannot be read is a gap.
    pub(crate) fn read(&self, keys: &[Key], client: Option<Key>, position: u64, limit: ReadLimit) -> Chunk {
        let view = self.view();
        let mut chunk = Chunk { reached: position, ..Chunk::default() };
        if let Loss::GapUntil(until) = view.dropped.loss(keys, client, position) {
            chunk.gap = Some((until, GapReason::Retention));
        }
        let mut sorted_keys: Vec<Key> = keys.iter().copied().chain(client).collect();
        sorted_keys.sort_unstable();
        chunk.reached = chunk.reached.max(view.dropped.floor);
        if chunk.reached >= limit.upto {
            // What was dropped reaches beyond what was asked for, and nobody goes back behind a gap.
            return chunk;
        }
        let first = view.segments.partition_point(|segment| segment.last_position() <= chunk.reached);
        for segment in &view.segments[first..] {
            if !chunk.read_segment(segment, &sorted_keys, limit) {
                return chunk;
            }
        }
        chunk.reached = chunk.reached.max(limit.upto);
        chunk
    }

    /// The position after which `count` records for these keys follow, if there are so many.
    pub(crate) fn last_matching(&self, sorted_keys: &[Key], count: u64) -> Option<u64> {
        let mut missing = count as usize;
        let view = self.view();
        let mut window = Window::default();
        for segment in view.segments.iter().rev() {
            let Ok((found, _)) = candidates(segment, sorted_keys, None, usize::MAX) else { continue };
            for Found { delta, offset } in found.into_iter().rev() {
                let position = segment.base + u64::from(delta);
                let record = window.record(segment, offset, position, Kind::Event);
                if !matches!(record, Ok(Some(record)) if record.matches(sorted_keys)) {
                    continue;
                }
                missing -= 1;
                if missing == 0 {
                    return Some(position - 1);
                }
            }
            window = Window::default();
        }
        None
    }

    /// The newest record under a key that is kept. Nothing is known of it where something was lost behind.
    pub(crate) fn last_of(&self, key: Key) -> io::Result<Option<LastOf>> {
        let mut holes = false;
        for segment in self.view().segments.iter().rev() {
            let found = segment.last(key)?;
            let last_hole = segment.summary(|summary| summary.last_hole);
            if let Some(found) = found {
                let position = segment.base + u64::from(found.delta);
                return Ok(Some(if holes || last_hole > found.delta { LastOf::Unknown } else { LastOf::At(position) }));
            }
            holes |= last_hole > 0 || segment.hole_before;
        }
        Ok(holes.then_some(LastOf::Unknown))
    }

    /// Writes the index of one segment that is no longer written to, if there is one. False if there is nothing to do.
    ///
    /// # Errors
    ///
    /// Whatever the disk says: the index stays in memory then.
    pub(crate) fn seal_one(&self) -> io::Result<bool> {
        let _one = lock(&self.sealing);
        let view = self.view();
        let Some((_, older)) = view.segments.split_last() else { return Ok(false) };
        let Some(segment) = older.iter().find(|segment| !segment.is_sealed()) else { return Ok(false) };
        segment.seal(&*self.disk, INDEX_TMP)?;
        if !self.view().segments.iter().any(|kept| kept.base == segment.base) {
            // Dropped meanwhile.
            _ = self.disk.remove(&index_name(segment.base));
        }
        Ok(true)
    }
}

/// Records in a segment that a reader may want, above `delta`, in order and once each. `complete` up to the second
/// value, beyond which there may be more.
fn candidates(segment: &Segment, sorted_keys: &[Key], delta: Option<u32>, max: usize) -> io::Result<(Vec<Found>, u32)> {
    let rebuilt = segment.rebuilt();
    let mut complete = u32::MAX;
    let mut all = Vec::new();
    // Holes are found under the last one: whichever key it is whose page turns out to be damaged, those that the
    // records then show are seen.
    for key in sorted_keys.iter().chain([&EVERYBODY]) {
        let found = segment.above(*key, delta, max)?;
        if let Some(last) = found.last().filter(|_| found.len() >= max) {
            complete = complete.min(last.delta);
        }
        all.extend(found);
    }
    if segment.rebuilt() != rebuilt {
        // Damaged, which only a later key showed: the holes are among the first.
        return candidates(segment, sorted_keys, delta, max);
    }
    all.retain(|found| found.delta <= complete);
    all.sort_unstable();
    all.dedup();
    Ok((all, complete))
}

impl Chunk {
    /// False if the chunk is full, or ends here for another reason.
    fn read_segment(&mut self, segment: &Segment, sorted_keys: &[Key], limit: ReadLimit) -> bool {
        if segment.hole_before && self.reached < segment.base && !self.lost(segment.base.min(limit.upto)) {
            return false;
        }
        let mut window = Window::default();
        let mut bytes: usize = self.frames.iter().map(|(_, frame)| frame.len()).sum();
        loop {
            let above = self.reached.checked_sub(segment.base).map(|delta| delta as u32);
            let Ok((found, complete)) = candidates(segment, sorted_keys, above, limit.records + 1) else {
                // Neither index nor records can be read.
                let last = segment.last_position().min(limit.upto);
                return self.lost(last) && last < limit.upto;
            };
            for Found { delta, offset } in found {
                let position = segment.base + u64::from(delta);
                if position > limit.upto {
                    self.reached = limit.upto;
                    return false;
                }
                let record = match offset {
                    0 => None,
                    offset => window.record(segment, offset, position, Kind::Event).unwrap_or_default(),
                };
                let Some(record) = record else {
                    if !self.lost(position) {
                        return false;
                    }
                    continue;
                };
                if !record.matches(sorted_keys) {
                    continue;
                }
                let full = bytes + record.body.len() > limit.bytes || self.frames.len() >= limit.records;
                if full && let Some((last, _)) = self.frames.last() {
                    self.reached = *last;
                    return false;
                }
                bytes += record.body.len();
                self.frames.push((position, Bytes::copy_from_slice(record.body)));
            }
            if complete == u32::MAX {
                break;
            }
            self.reached = segment.base + u64::from(complete);
        }
        self.reached = self.reached.max(segment.last_position().min(limit.upto));
        self.reached < limit.upto
    }

    /// Something up to `position` cannot be read. A gap goes in front of a chunk: false if this one must end before.
    fn lost(&mut self, position: u64) -> bool {
        if let Some((last, _)) = self.frames.last() {
            self.reached = *last;
            return false;
        }
        self.reached = position;
        self.gap = Some((position, GapReason::Damaged));
        true
    }
}
