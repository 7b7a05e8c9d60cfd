//! Damage to a log's files: what rots, is cut, lost, exchanged with another time or forged.

use super::input::Input;
use super::memory_disk::Files;
use super::tell::tell;

/// Where a file's bytes end, without the room reserved behind them.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Does one thing to one file. `earlier` are the same files at other moments.
pub fn accident(input: &mut Input<'_>, files: &mut Files, earlier: &[Files]) {
    let names: Vec<String> = files.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = names[input.below(names.len())].clone();
    let action = input.below(8);
    tell(|| format!("{name}: {action}"));
    match action {
        5 => {
            files.remove(&name);
        }
        6 if !earlier.is_empty() => match earlier[input.below(earlier.len())].get(&name) {
            Some(bytes) => _ = files.insert(name, bytes.clone()),
            None => _ = files.remove(&name),
        },
        7 => {
            let other = names[input.below(names.len())].clone();
            if let Some(bytes) = files.get(&other).cloned() {
                files.insert(name, bytes);
            }
        }
        _ => {
            let Some(bytes) = files.get_mut(&name) else { return };
            let end = written(bytes);
            if end == 0 {
                return;
            }
            let at = input.number() * 8 % end + input.below(8);
            let at = at.min(end - 1);
            match action {
                0 | 1 => bytes[at] ^= 1 << input.below(8),
                2 => {
                    let len = (input.number() % 512).min(end - at);
                    bytes[at..at + len].fill(0);
                }
                3 => bytes.truncate(at),
                _ => {
                    let from = input.number() * 8 % end;
                    let len = (input.number() % 512).min(end - at).min(end - from);
                    bytes.copy_within(from..from + len, at);
                }
            }
        }
    }
}

/// Writes what the input says, and may set the checksum of a record right, as no accident does.
pub fn forgery(input: &mut Input<'_>, files: &mut Files, log_id: u64) {
    let names: Vec<String> = files.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = names[input.below(names.len())].clone();
    let Some(bytes) = files.get_mut(&name) else { return };
    let end = written(bytes);
    let at = if end == 0 { 0 } else { input.number() * 8 % end };
    let count = input.below(64);
    let new = input.take(count);
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
    let base = name.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or_default();
    let salt = (((log_id ^ u64::rotate_left(base, 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32) as u32;
    match input.below(4) {
        1 => {
            // A record.
            let len = bytes.get(at + 4..at + 8).map_or(0, |len| u32::from_le_bytes(len.try_into().unwrap())) as usize;
            if let Some(record) = bytes.get_mut(at..at.saturating_add(len)).filter(|record| record.len() >= 8) {
                let sum = crc32(salt, &record[4..]).to_le_bytes();
                record[..4].copy_from_slice(&sum);
            }
        }
        2 if bytes.len() > 100 => {
            // A whole manifest, or the head of an index or a segment.
            let (end, salt) = match (name.get(..8), name.get(20..)) {
                (Some("manifest"), _) => (bytes.len() - 4, 0),
                (_, Some(".idx")) => (76, salt),
                _ => (60, 0),
            };
            let sum = crc32(salt, &bytes[..end]).to_le_bytes();
            bytes[end..end + 4].copy_from_slice(&sum);
        }
        _ => {}
    }
}

fn crc32(before: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!before, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
