//! Torn tails are dropped, damage is refused, and the two are never confused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_storage::disk::{Disk, Fault, SimDisk};
use cairn_storage::log::{Kind, Log, LogError, Record};

use crate::model::{DIR, History, Said, Step, newest, open};

/// Offset and length of each record of the newest segment.
fn records_of(file: &[u8]) -> Vec<(usize, usize)> {
    let mut records = Vec::new();
    let mut offset = u32::from_le_bytes(file[56..60].try_into().unwrap()) as usize;
    while offset + 4 <= file.len() {
        let length = u32::from_le_bytes(file[offset..offset + 4].try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        records.push((offset, length));
        offset += length.next_multiple_of(8);
    }
    records
}

/// A log with groups of one record each, all synced.
fn log_of_single_groups(disk: &SimDisk, count: usize) -> History {
    let (mut log, _) = open(disk).unwrap();
    let mut history = History::new();
    for nth in 0..count {
        history.run(&mut log, &Step::Append(vec![30 + 7 * nth])).unwrap();
        history.run(&mut log, &Step::Sync).unwrap();
    }
    history
}

fn copy_of(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new(7);
    disk.files().iter().for_each(|file| copy.write_file(file, &disk.read_file(file).unwrap()));
    copy
}

#[test]
fn the_last_segment_cut_at_every_byte_of_its_last_two_records_starts_and_loses_only_what_was_cut() {
    let disk = SimDisk::new(1);
    let history = log_of_single_groups(&disk, 6);
    let path = newest(&disk);
    let file = disk.read_file(&path).unwrap();
    let records = records_of(&file);
    let [.., fifth, sixth] = records[..] else { panic!("{records:?}") };
    for cut in fifth.0..=sixth.0 + sixth.1.next_multiple_of(8) {
        let disk = copy_of(&disk);
        disk.write_file(&path, &file[..cut]);
        let (mut log, recovered) = open(&disk).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let whole = records.iter().filter(|(at, len)| at + len.next_multiple_of(8) <= cut).count();
        assert_eq!(recovered.last_index, whole as u64, "cut at {cut}");
        // It goes on from there, durably.
        let mut history = history.clone();
        history.acknowledged = whole;
        history.check(&log, &recovered, &format!("cut at {cut}"));
        history.run(&mut log, &Step::Append(vec![50; 3])).unwrap();
        history.run(&mut log, &Step::Sync).unwrap();
        drop(log);
        disk.crash();
        let (log, recovered) = open(&disk).unwrap();
        history.check(&log, &recovered, &format!("cut at {cut}, then more"));
    }
}

#[test]
fn one_flipped_byte_in_any_record_before_the_last_group_is_refused_with_file_and_offset() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut history = History::new();
    for step in [
        Step::Append(vec![20, 0, 64]),
        Step::Sync,
        Step::Vote(3),
        Step::Sync,
        Step::Append(vec![33]),
        Step::Committed,
        Step::Sync,
    ] {
        history.run(&mut log, &step).unwrap();
    }
    let earlier = history.records.len();
    // The last group: two records, synced, with nothing after them.
    history.run(&mut log, &Step::Append(vec![40, 40])).unwrap();
    history.run(&mut log, &Step::Sync).unwrap();
    let path = newest(&disk);
    let file = disk.read_file(&path).unwrap();
    let records = records_of(&file);
    assert_eq!(records.len(), earlier + 2);

    for &(start, length) in &records[..earlier] {
        for at in start..start + length.next_multiple_of(8) {
            for flip in [0x01, 0xff] {
                let disk = copy_of(&disk);
                let mut bad = file.clone();
                bad[at] ^= flip;
                disk.write_file(&path, &bad);
                let error = open(&disk).err().unwrap_or_else(|| panic!("byte {at} flipped and opened"));
                let LogError::Corrupt { file, offset, .. } = &error else { panic!("byte {at}: {error}") };
                assert_eq!((file, *offset), (&path, start as u64), "byte {at}");
                let text = error.to_string();
                assert!(text.contains(path.to_str().unwrap()), "{text}");
                assert!(text.contains(&format!("offset {start}")), "{text}");
                assert!(text.contains("cairn-admin check") && text.contains("rejoin"), "{text}");
                assert_eq!(disk.read_file(&path).unwrap(), bad, "a refusal changes nothing");
            }
        }
    }
}

#[test]
fn a_record_replaced_by_zeros_in_the_middle_is_refused() {
    let disk = SimDisk::new(1);
    log_of_single_groups(&disk, 5);
    let path = newest(&disk);
    let file = disk.read_file(&path).unwrap();
    for &(start, length) in &records_of(&file)[..4] {
        let mut bad = file.clone();
        bad[start..start + length].fill(0);
        disk.write_file(&path, &bad);
        assert!(matches!(open(&disk), Err(LogError::Corrupt { offset, .. }) if offset == start as u64));
    }
}

#[test]
fn after_a_mark_even_the_last_group_is_protected() {
    let disk = SimDisk::new(1);
    let mut history = log_of_single_groups(&disk, 3);
    let (mut log, _) = open(&disk).unwrap();
    history.run(&mut log, &Step::Mark).unwrap();
    let path = newest(&disk);
    let file = disk.read_file(&path).unwrap();
    let records = records_of(&file);
    for &(start, length) in &records[..3] {
        for at in start..start + length {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            disk.write_file(&path, &bad);
            assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })), "byte {at}");
        }
    }
}

#[test]
fn an_unsynced_group_with_any_of_its_records_destroyed_starts() {
    let disk = SimDisk::new(1);
    let mut history = log_of_single_groups(&disk, 3);
    let (mut log, _) = open(&disk).unwrap();
    history.run(&mut log, &Step::Append(vec![100, 200, 300, 400])).unwrap();
    let path = newest(&disk);
    let file = disk.read_file(&path).unwrap();
    let records = records_of(&file);
    assert_eq!(records.len(), 7);
    for (nth, &(start, length)) in records.iter().enumerate().skip(3) {
        for garbage in [0x00, 0xa5] {
            let disk = copy_of(&disk);
            let mut torn = file.clone();
            torn[start..start + length].fill(garbage);
            disk.write_file(&path, &torn);
            let (log, recovered) = open(&disk).unwrap();
            assert_eq!(recovered.last_index, nth as u64);
            let report = recovered.torn.clone().map(|torn| (torn.file, torn.offset));
            // Zeros with nothing behind them are simply the end.
            let nothing_there = nth == 6 && garbage == 0;
            assert_eq!(report, (!nothing_there).then(|| (path.clone(), start as u64)));
            let mut history = history.clone();
            history.check(&log, &recovered, "torn group");
            // The good records behind the hole must not come back behind a new one of the same length.
            drop(log);
            let (mut log, _) = open(&disk).unwrap();
            history.run(&mut log, &Step::Append(vec![100 * (nth - 2)])).unwrap();
            drop(log);
            let (log, recovered) = open(&disk).unwrap();
            history.acknowledged = history.records.len();
            history.check(&log, &recovered, "after the torn group");
        }
    }
}

#[test]
fn a_payload_that_contains_a_copy_of_the_log_is_no_witness() {
    let disk = SimDisk::new(1);
    log_of_single_groups(&disk, 4);
    let path = newest(&disk);
    let copy = disk.read_file(&path).unwrap();
    let (mut log, _) = open(&disk).unwrap();
    let payload = &copy[..4096];
    // Shifted by every alignment there is, so that some copy of a header lies on an aligned place.
    for shift in 0..8 {
        let index = log.last_index() + 1;
        log.append(&[Record::entry(index, 1, &[&[1; 8][..shift], payload])]).unwrap();
        drop(log);
        let file = disk.read_file(&newest(&disk)).unwrap();
        let (start, _) = *records_of(&file).last().unwrap();
        let mut torn = file;
        torn[start] ^= 1;
        disk.write_file(&newest(&disk), &torn);
        let (opened, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.last_index, index - 1);
        log = opened;
    }
}

/// A log of several segments, each group synced.
fn log_of_segments() -> (SimDisk, Vec<PathBuf>) {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut history = History::new();
    for _ in 0..12 {
        history.run(&mut log, &Step::Append(vec![2000, 1900])).unwrap();
        history.run(&mut log, &Step::Sync).unwrap();
    }
    let files = disk.files();
    assert!(files.len() >= 4, "{files:?}");
    (disk, files)
}

#[test]
fn a_sealed_segment_cut_short_or_missing_is_refused() {
    let (disk, files) = log_of_segments();
    for (nth, path) in files[..files.len() - 1].iter().enumerate() {
        let file = disk.read_file(path).unwrap();
        let (last, _) = *records_of(&file).last().unwrap();
        let short = copy_of(&disk);
        short.write_file(path, &file[..last + 100]);
        match open(&short) {
            Err(LogError::Corrupt { file, offset, .. }) => assert_eq!((&file, offset), (path, last as u64)),
            other => panic!("{:?}", other.map(|(_, recovered)| recovered)),
        }
        let missing = copy_of(&disk);
        missing.remove(path).unwrap();
        let refused = open(&missing).err().unwrap_or_else(|| panic!("segment {nth} is missing"));
        assert!(matches!(refused, LogError::Corrupt { .. }), "{refused}");
    }
}

#[test]
fn every_flipped_byte_of_a_segment_header_is_refused() {
    let (disk, files) = log_of_segments();
    for path in &files {
        for at in 0..64 {
            let disk = copy_of(&disk);
            let mut file = disk.read_file(path).unwrap();
            file[at] ^= 0x40;
            disk.write_file(path, &file);
            assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })), "{} byte {at}", path.display());
        }
    }
}

#[test]
fn a_renamed_segment_is_refused() {
    let (disk, files) = log_of_segments();
    disk.rename(&files[1], &Path::new(DIR).join("00000000000000000002.seg")).unwrap();
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[test]
fn inspection_finds_the_same_damage_and_changes_nothing() {
    let (disk, files) = log_of_segments();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (reader, recovered) = Log::inspect(Arc::clone(&shared), Path::new(DIR)).unwrap().unwrap();
    assert_eq!(reader.read(1).unwrap().count() as u64, recovered.last_index);
    let mut file = disk.read_file(&files[1]).unwrap();
    file[200] ^= 1;
    disk.write_file(&files[1], &file);
    let operations = disk.operations();
    assert!(matches!(Log::inspect(shared, Path::new(DIR)), Err(LogError::Corrupt { .. })));
    assert_eq!(disk.operations(), operations);
}

#[test]
fn a_purge_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let (disk, files) = log_of_segments();
    let (mut log, _) = open(&disk).unwrap();
    let upto = log.segments()[1].last_index;
    let retired = log.retire(upto).unwrap();
    assert_eq!(retired.files(), &files[..2]);
    drop((retired, log));
    assert_eq!(disk.files().len(), files.len());
    let (log, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.purged, recovered.first_index), (upto, upto + 1));
    assert_eq!(disk.files(), &files[2..]);
    let said = Said::by(&log, &recovered);
    assert_eq!(said.entries.keys().next(), Some(&(upto + 1)));
}

#[test]
fn unknown_kinds_and_versions_are_refused_as_such() {
    // Made by hand as the format's documentation says, so that it is a test of the documentation too.
    let disk = SimDisk::new(1);
    log_of_single_groups(&disk, 1);
    let path = newest(&disk);
    let mut file = disk.read_file(&path).unwrap();
    let (start, _) = records_of(&file)[0];
    file[start + 12] = 9;
    let mut covered = Vec::new();
    covered.extend_from_slice(&file[16..24]);
    covered.extend_from_slice(&file[48..56]);
    covered.extend_from_slice(&(start as u64).to_le_bytes());
    covered.extend_from_slice(&file[start..start + 4]);
    covered.extend_from_slice(&file[start + 8..start + 40]);
    let crc = crc32fast::hash(&covered);
    file[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&path, &file);
    assert!(matches!(open(&disk), Err(LogError::Unsupported { offset, .. }) if offset == start as u64));

    file[8] = 2;
    let mut covered = file[..12].to_vec();
    covered.extend_from_slice(&file[16..64]);
    let crc = crc32fast::hash(&covered);
    file[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&path, &file);
    assert!(matches!(open(&disk), Err(LogError::Unsupported { offset: 0, .. })));
}

#[test]
fn a_failed_write_of_a_vote_does_not_make_it_count() {
    let disk = SimDisk::new(3);
    let mut history = History::new();
    let (mut log, _) = open(&disk).unwrap();
    history.run(&mut log, &Step::Vote(1)).unwrap();
    history.run(&mut log, &Step::Sync).unwrap();
    disk.fail(disk.operations() + 2, Fault::Io);
    history.run(&mut log, &Step::Vote(2)).unwrap();
    assert!(matches!(history.run(&mut log, &Step::Sync), Err(LogError::Io { .. })));
    disk.crash();
    let (_, recovered) = open(&disk).unwrap();
    // The failed sync has lost it, as Linux does; what must not be is that somebody was told otherwise.
    assert_eq!(recovered.vote.as_deref(), Some(&[1; 20][..]));
    assert_eq!(history.records[history.acknowledged - 1].kind, Kind::Vote);
}
