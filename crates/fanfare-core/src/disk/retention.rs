//! Retention: which segments go, and what is remembered of them. Done beside the writer, which it never holds up.

use super::files::is_full;
use super::index::{EVERYBODY, Entry};
use super::log::{DiskLog, Retention, View};
use super::manifest::Manifest;
use super::segment::{Segment, remove_segment};
use crate::dropped::Dropped;
use crate::sync::lock;
use crate::time::Now;
use std::io;
use std::sync::Arc;

impl DiskLog {
    /// Drops the segments that are beyond the bounds. The newest stays: its writer ends it when it is too old.
    ///
    /// # Errors
    ///
    /// Whatever the disk says, unless it is full: dropping is what makes room.
    pub(crate) fn enforce(&self, now: Now) -> io::Result<()> {
        let mut retention = lock(&self.retention);
        let Retention { manifest, config, clock } = &mut *retention;
        let wall_ms = clock.read(now);
        let view = self.view();
        let size = view.size();
        let (mut bytes, mut records) = (size.bytes, size.records);
        let Some((_, older)) = view.segments.split_last() else { return Ok(()) };
        let mut gone = 0;
        for segment in older {
            let too_many = config.records.is_some_and(|max| records > max);
            if bytes <= config.bytes && !too_many && !segment.is_older(wall_ms, config.age_ms) {
                break;
            }
            gone += 1;
            segment.summary(|summary| {
                bytes -= u64::from(summary.bytes);
                records -= u64::from(summary.records);
            });
        }
        if gone == 0 { Ok(()) } else { self.drop_segments(manifest, &view, gone) }
    }

    fn drop_segments(&self, manifest: &mut Manifest, view: &View, count: usize) -> io::Result<()> {
        let mut dropped = Dropped::clone(&view.dropped);
        for segment in &view.segments[..count] {
            fold(&mut dropped, segment);
        }
        manifest.dropped = dropped;
        manifest.reached = view.segments.last().map_or(0, |newest| newest.last_position());
        match manifest.write(&*self.disk) {
            Ok(()) => {}
            // Without the new manifest the next start knows less of what was dropped, and says so to everybody who may
            // have lost something.
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error),
        }
        let dropped = Arc::new(manifest.dropped.clone());
        self.change(|view| {
            view.segments.drain(..count);
            view.dropped = dropped;
        });
        for segment in &view.segments[..count] {
            remove_segment(&*self.disk, segment.base);
        }
        Ok(())
    }
}

/// Remembers of a segment what returning readers must be told.
fn fold(dropped: &mut Dropped, segment: &Segment) {
    if segment.hole_before {
        dropped.note_unknown(segment.base);
    }
    let last = segment.last_position();
    match segment.entries() {
        Ok(entries) => {
            // They are in the order of keys: the last of each counts, and they are noted in the order of positions.
            let runs = entries.chunk_by(|a, b| a.key == b.key);
            let mut newest: Vec<Entry> = runs.filter_map(|run| run.last().copied()).collect();
            newest.sort_unstable_by_key(|entry| entry.delta);
            for entry in newest {
                let position = segment.base + u64::from(entry.delta);
                match entry.key {
                    EVERYBODY => dropped.broadcast = position,
                    key if entry.is_client() => dropped.clients.note(key, position),
                    key => dropped.keys.note(key, position),
                }
            }
        }
        Err(_) => dropped.note_unknown(last),
    }
    dropped.floor = last;
}
