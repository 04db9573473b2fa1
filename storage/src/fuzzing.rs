//! Entry points for fuzzing: arbitrary bytes in place of a log must end in an error or in a working log, never in a panic, an
//! endless loop or an allocation out of proportion.
//!
//! Arbitrary bytes alone would nearly always stop at the first CRC. So the input is also taken as orders: build a sound log,
//! then damage it here and there, with CRCs made good again if the order says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, SimDisk};
use crate::log::{Log, LogError, LogOptions, Record};

const DIR: &str = "log";
const SEGMENT_BYTES: u64 = 16 * 1024;

/// Opens a log made from `data`, and uses it if it opens.
pub fn fuzz_log(data: &[u8]) {
    let mut input = Input(data);
    let disk = SimDisk::new(u64::from(input.byte()));
    if input.byte().is_multiple_of(4) {
        let cut = usize::from(input.u16()).min(input.0.len());
        let (first, second) = input.0.split_at(cut);
        disk.write_file(&segment(1), first);
        disk.write_file(&segment(2), second);
    } else {
        build(&disk, &mut input);
        damage(&disk, &mut input);
    }
    exercise(&disk);
}

/// Random bytes, zeros when they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

fn segment(id: u64) -> PathBuf {
    Path::new(DIR).join(format!("{id:020}.seg"))
}

fn open(disk: &SimDisk) -> Result<(Log, u64), LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, salt: 0 };
    let (log, recovered) = Log::open(disk, Path::new(DIR), options)?;
    Ok((log, recovered.last_index))
}

/// Writes a legal log as ordered.
fn build(disk: &SimDisk, input: &mut Input<'_>) {
    let (mut log, _) = open(disk).expect("an empty disk takes a log");
    for _ in 0..input.byte() % 32 {
        let (last, first) = (log.last_index(), log.first_index());
        let done = match input.byte() % 8 {
            0 => log.save_vote(&[input.byte(); 16]),
            1 => log.truncate_after(last.saturating_sub(u64::from(input.byte() % 4)).max(first - 1)),
            2 => log.committed(last),
            3 => log.purge(first + u64::from(input.byte() % 4)),
            4 | 5 => log.sync(),
            _ => {
                let payload = vec![input.byte(); usize::from(input.u16() % 9000)];
                log.append(&[Record::entry(last + 1, 0, &[&payload])])
            }
        };
        done.expect("a sound disk takes a legal record");
    }
}

/// Changes bytes, cuts files and swaps them, as ordered.
fn damage(disk: &SimDisk, input: &mut Input<'_>) {
    let files = disk.files();
    for _ in 0..1 + input.byte() % 4 {
        let path = &files[usize::from(input.byte()) % files.len()];
        let mut bytes = disk.read_file(path).unwrap_or_default();
        let at = usize::from(input.u16());
        match input.byte() % 8 {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            2 => {
                let other = &files[usize::from(input.byte()) % files.len()];
                bytes = disk.read_file(other).unwrap_or_default();
            }
            3 => {
                let len = usize::from(input.u16()).min(bytes.len());
                let at = at.min(bytes.len() - len);
                bytes[at..at + len].fill(input.byte());
            }
            // A header field with its CRC made good: what only a bug or malice could write.
            4 | 5 if bytes.len() >= 64 => {
                bytes[usize::from(input.byte() % 48) + 16] = input.byte();
                reseal_segment(&mut bytes);
            }
            6 if bytes.len() >= 64 && bytes.len() > at % 4096 * 8 + 40 => {
                let record = at % 4096 * 8;
                bytes[record + usize::from(input.byte() % 40)] = input.byte();
                reseal_record(&mut bytes, record);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= input.byte();
                }
            }
        }
        disk.write_file(path, &bytes);
    }
}

fn reseal_segment(bytes: &mut [u8]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..12]);
    crc.update(&bytes[16..64]);
    bytes[12..16].copy_from_slice(&crc.finalize().to_le_bytes());
}

fn reseal_record(bytes: &mut [u8], at: usize) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[16..24]);
    crc.update(&bytes[48..56]);
    crc.update(&(at as u64).to_le_bytes());
    crc.update(&bytes[at..at + 4]);
    crc.update(&bytes[at + 8..at + 40]);
    bytes[at + 4..at + 8].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// A log that opens must work: read, take records, survive a crash.
fn exercise(disk: &SimDisk) {
    let before: Vec<_> = disk.files().iter().map(|file| (file.clone(), disk.read_file(file))).collect();
    let Ok((mut log, last)) = open(disk) else {
        for (file, bytes) in before {
            assert!(disk.read_file(&file) == bytes, "a log that is refused stays as it is");
        }
        return;
    };
    let read = log.read(log.first_index()).expect("the first entry kept can be read");
    let kept = read
        .inspect(|entry| assert!(entry.is_ok(), "what recovery has verified can be read: {entry:?}"))
        .count();
    assert_eq!(kept as u64, last + 1 - log.first_index());
    // Near the end of the numbers there is no room for more.
    if last < u64::MAX - 10 {
        let entry = Record::entry(last + 1, u64::MAX, &[b"more"]);
        if log.append(&[entry]).and_then(|()| log.sync()).is_ok() {
            drop(log);
            disk.crash();
            let (_, again) = open(disk).expect("what was synced opens again");
            assert_eq!(again, last + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_inputs_find_nothing() {
        // The real search is `cargo xtask fuzz log`; this keeps the target itself from rotting.
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..3_000 {
            let len = random() % 200;
            let data: Vec<u8> = (0..len).map(|_| (random() >> 24) as u8).collect();
            fuzz_log(&data);
        }
    }
}
