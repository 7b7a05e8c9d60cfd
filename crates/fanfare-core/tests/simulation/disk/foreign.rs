//! Directories that are no log, or what damage left of one: an error that says so, never a panic.

use super::fake::{FakeDisk, Snapshot, is_segment};
use super::regressions::{all, birth, say, world};
use super::world::World;
use crate::chance::Chance;
use crate::model::{From, Who};
use fanfare_core::Now;
use fanfare_core::disk::{DiskConfig, DiskSeed, OpenError, OpenReport, open};
use std::sync::Arc;

fn opened(files: &Snapshot) -> Result<OpenReport, OpenError> {
    let disk = FakeDisk::new(1);
    disk.restore(files);
    open(Arc::new(disk), DiskConfig::default(), DiskSeed([1, 2, 3, 4 << 20]), 10, Now::default())
        .map(|open| open.report)
}

/// A log of a few segments.
fn files(seed: u64) -> Snapshot {
    let mut world = World::new(seed);
    let mut first = birth(seed);
    (first.disk.records, first.disk_seed[0]) = (Some(64 * 3), seed);
    assert!(world.open(&first));
    for number in 0..10 {
        world.publish(all(&format!("event {number}")), Some((number, 1)), Vec::new());
        world.commit();
    }
    world.seal();
    world.end_well();
    world.disk.snapshot()
}

#[test]
fn a_directory_with_other_files_is_refused_and_an_empty_one_is_taken() {
    let with = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), b"mine".to_vec())).collect::<Snapshot>();
    assert!(opened(&with(&[])).unwrap().new && opened(&with(&["LOCK", "lost+found"])).unwrap().new);
    // What an interrupted first start leaves.
    assert!(opened(&with(&["manifest-0"])).unwrap().new);
    for name in ["notes.txt", "1.log", "manifest", "00000000000000000000.log.old"] {
        let Err(OpenError::Foreign(found)) = opened(&with(&[name])) else { panic!("{name} is taken") };
        assert_eq!(found, name);
    }
}

#[test]
fn segments_without_a_manifest_or_of_another_log_are_refused() {
    let files = files(1);
    assert!(files.keys().filter(|name| is_segment(name)).count() > 2);
    let mut bare = files.clone();
    bare.retain(|name, _| !name.starts_with("manifest"));
    assert!(matches!(opened(&bare), Err(OpenError::Damaged(_))), "no manifest");
    let mut damaged = files.clone();
    for (_, bytes) in damaged.iter_mut().filter(|(name, _)| name.starts_with("manifest")) {
        bytes[30] ^= 1;
    }
    assert!(matches!(opened(&damaged), Err(OpenError::Damaged(_))), "damaged manifests");
    let other = self::files(2);
    let newest = other.keys().rfind(|name| is_segment(name)).unwrap();
    let mut mixed = files.clone();
    mixed.insert(newest.clone(), other[newest].clone());
    assert!(matches!(opened(&mixed), Err(OpenError::Damaged(_))), "a segment of another log");
    let mut doubled = files;
    let oldest = doubled.keys().find(|name| is_segment(name)).unwrap().clone();
    doubled.insert("00000000000000000002.log".into(), doubled[&oldest].clone());
    assert!(opened(&doubled).is_err(), "a segment under another's name");
}

/// Whatever became of the files: an error, or a log that is read, written and opened again.
#[test]
fn no_damage_makes_it_panic() {
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let mut damaged = files(3);
        for _ in 0..=chance.below(6) {
            let names: Vec<String> = damaged.keys().cloned().collect();
            if names.is_empty() {
                break;
            }
            let name = chance.pick(&names);
            let mut bytes = damaged.remove(&name).unwrap();
            let at = chance.below(bytes.len().max(1));
            match chance.below(7) {
                0 => continue,
                1 => bytes.truncate(at),
                2 => bytes.splice(at.., (0..chance.below(400)).map(|_| chance.next() as u8)).for_each(drop),
                3 => bytes.extend((0..chance.below(400)).map(|_| chance.next() as u8)),
                4 => _ = damaged.insert(chance.pick(&names), bytes.clone()),
                _ => bytes.iter_mut().skip(at).take(1 + chance.below(12)).for_each(|byte| *byte = chance.next() as u8),
            }
            damaged.insert(name, bytes);
        }
        let mut world = world(|_| ());
        world.end_well();
        world.disk.restore(&damaged);
        for number in 1..3 {
            if !world.open(&birth(number)) {
                break;
            }
            world.history(Who::default(), From::Earliest, false, 100, 1 << 20);
            let conn = world.connect(Who::default(), From::Last(5), usize::MAX).unwrap();
            world.attach(conn);
            say(&mut world, "goes on");
            world.seal();
            world.converge();
            world.end_well();
        }
    }
}
