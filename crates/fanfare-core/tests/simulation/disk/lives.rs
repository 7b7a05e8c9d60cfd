//! How a life of the log begins and ends: openings, also such as are interrupted, clean ends, kills and losses of
//! power, and what lies on the disk in between.

use super::record::{End, Fault, Kept, Life};
use super::world::{Running, World};
use crate::model::To;
use crate::publish::Draw;
use crate::whatwg;
use core::ops::ControlFlow;
use fanfare_core::disk::{self, DiskConfig, DiskSeed, LogFilter, Problem, WriterTurn};
use fanfare_core::{Disconnect, Hub, HubConfig, PublishError, Seed};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a start is given.
#[derive(Debug, Clone)]
pub struct Birth {
    pub config: HubConfig,
    pub disk: DiskConfig,
    pub seed: [u64; 6],
    pub disk_seed: [u64; 4],
}

impl World {
    /// Last positions of the holes that the log tells of, and of what is missing in front of its segments.
    fn holes(&self) -> [BTreeSet<u64>; 2] {
        let mut holes = [BTreeSet::new(), BTreeSet::new()];
        _ = disk::verify(&self.disk.peek(), |problem| match problem {
            Problem::Hole { until, .. } => _ = holes[0].insert(until),
            Problem::Missing { until, .. } => _ = holes[1].insert(until),
            _ => {}
        });
        holes
    }

    fn records(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        _ = disk::dump(&self.disk.peek(), &LogFilter::default(), |record| {
            kept.push(Kept { position: record.position, id: record.id, data: record.data });
            ControlFlow::Continue(())
        });
        kept
    }

    /// Opens the log. False if that failed: the world stopped, or the directory was refused.
    pub fn open(&mut self, birth: &Birth) -> bool {
        self.begin(|| format!("open, {:?}, {:?}", birth.config, birth.disk));
        let mut aged = self.records();
        let before = match self.pre_holes.take() {
            Some(holes) => holes,
            None => self.holes()[0].clone(),
        };
        let now = self.clock.now();
        let shared: Arc<dyn disk::Disk> = Arc::new(self.disk.clone());
        let opened = disk::open(shared, birth.disk, DiskSeed(birth.disk_seed), birth.config.idempotency_keys, now);
        let open = match opened {
            Ok(open) => open,
            Err(error) => {
                self.record.told.push(format!("             refused: {error}"));
                self.pre_holes = Some(before);
                self.attempts.push(birth.disk_seed[3] >> 16);
                if !self.disk.has_stopped() {
                    self.record.refused.push((self.step(), error.to_string()));
                }
                self.end();
                return false;
            }
        };
        self.record.told.push(format!("             {:?}, {:?}", open.report, self.disk.names()));
        let (hub, shards, writer) = Hub::on_disk(birth.config.clone(), open, Seed(birth.seed), now);
        let present = hub.cursor();
        let [holes, missing] = self.holes();
        // Holes that this opening made, or tries before it.
        let made = |position: &u64| holes.contains(position) && !before.contains(position);
        let kept = (0..=present.position).rev().find(|position| !made(position)).unwrap_or(0);
        // A hole that a look from outside finds may be where this opening made one.
        let epoch = birth.disk_seed[3] >> 16;
        let attempts = std::mem::take(&mut self.attempts);
        let epochs = disk::inspect(&self.disk.peek()).map(|info| info.starts).unwrap_or_default();
        let own = epochs.into_iter().filter(|start| start.epoch == epoch || attempts.contains(&start.epoch));
        let began = own.map(|start| start.position).min();
        let kept_until = began.map_or(kept, |began| began.min(kept));
        let floor = hub.stats(now).floor;
        aged.retain(|kept| kept.position <= floor);
        self.record.lives.push(Life {
            parent: self.parent,
            step: self.step(),
            config: birth.config.clone(),
            disk: birth.disk,
            epoch,
            attempts,
            tail: present.position,
            kept_until,
            floor,
            records: self.records(),
            aged,
            holes: holes.union(&missing).copied().collect(),
            wall_true: self.clock.wall_offset_ms.load(Ordering::Relaxed) == 0,
            end: End::Open,
        });
        self.run = Some(Running { hub, shards, writer });
        self.record.told.push(format!(
            "             tail {present}, life {}, holes {before:?} before, {:?} now",
            self.life(),
            self.record.lives[self.life()].holes
        ));
        self.end();
        true
    }

    /// Moves what the sinks hold into the records, and lets the process go.
    fn let_go(&mut self, end: End) {
        if self.run.take().is_none() {
            return;
        }
        let life = self.life();
        for (conn, held) in self.record.conns.iter_mut().zip(&self.held).filter(|(conn, _)| conn.life == life) {
            let mut pipe = held.pipe.lock().unwrap();
            let taken = pipe.take();
            (conn.bytes, conn.chunks, conn.faults) = (taken.bytes, taken.chunks, taken.faults);
            let blocks = whatwg::read(&conn.bytes, "").blocks;
            let shown: Vec<String> =
                blocks.iter().map(|block| format!("{}={}", block.event, block.id.as_deref().unwrap_or("-"))).collect();
            self.record.told.push(format!("             {} got {}", conn.client_id, shown.join(" ")));
            conn.gone.get_or_insert(usize::MAX);
        }
        self.record.lives[life].end = end;
        self.parent = Some((life, self.step()));
        // Submissions that the writer still held are answered by their end, which nobody hears.
        self.answers.lock().unwrap().clear();
    }

    /// The process ends as it should: everything submitted is answered.
    pub fn end_well(&mut self) {
        self.begin(|| "destroy".into());
        if let Some(run) = &self.run {
            run.hub.destroy();
        }
        self.end();
        for _ in 0..10_000 {
            if matches!(self.commit(), None | Some(WriterTurn::Ended)) || self.disk.has_stopped() {
                break;
            }
        }
        self.settle();
        if !self.disk.has_stopped() {
            // Nothing is taken any more, whatever it is.
            let first = self.record.sends.len();
            self.publish(vec![Draw::new(To::All, "too late")], None, Vec::new());
            self.publish(vec![Draw::new(To::All, "too late").ephemeral()], None, Vec::new());
            for send in self.record.sends.drain(first..).collect::<Vec<_>>() {
                if !matches!(send.answer, Some((_, Err(PublishError::Closed)))) {
                    self.wrong(format!("after its end {:?}", send.answer));
                }
            }
            let events = self.record.events.len() - 2;
            self.record.events.truncate(events);
        }
        self.begin(|| "the process ends".into());
        self.let_go(End::Clean);
        self.end();
    }

    pub fn kill(&mut self) {
        self.begin(|| "kill".into());
        self.let_go(End::Crash);
        self.disk.kill();
        self.fault(Fault::Kill);
        self.end();
    }

    pub fn lose_power(&mut self) {
        self.begin(|| "the power is lost".into());
        self.let_go(End::Crash);
        let unsynced = self.disk.has_unsynced_records();
        self.disk.lose_power();
        self.fault(Fault::Power(unsynced));
        self.end();
    }

    /// Puts the backup back, or begins with an empty directory where there is none.
    pub fn restore(&mut self) {
        self.begin(|| "an earlier state of the directory is put back".into());
        let backup = self.backup.as_ref();
        self.disk.restore(&backup.map(|backup| backup.files.clone()).unwrap_or_default());
        self.parent = backup.map(|backup| (backup.life, backup.step));
        if self.parent.is_some() {
            self.fault(Fault::Restored);
        }
        self.pre_holes = None;
        self.attempts.clear();
        self.end();
    }

    /// Everything to the end of this life, with what it is owed.
    pub fn finish(mut self) -> super::record::Record {
        if self.run.is_some() {
            self.converge();
            if let Some(run) = &self.run {
                run.hub.drain(Disconnect::Shutdown, 0);
            }
            self.settle();
            self.end_well();
        }
        std::mem::take(&mut self.record)
    }
}
