//! Reading entries, retention, and what the log tells about itself.

use std::path::Path;
use std::sync::Arc;

use cairn_storage::disk::{Disk, RealDisk, SimDisk};
use cairn_storage::log::{Log, LogError, LogOptions, Record};

use crate::model::{History, SEGMENT, Said, Step, open, recorded_workload};

#[test]
fn reading_from_every_index_gives_the_entries_that_count() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut history = History::new();
    let mut said = Said::nothing();
    let mut taken = 0;
    for step in recorded_workload() {
        history.run(&mut log, &step).unwrap();
        history.records[taken..].iter().for_each(|record| said.take(record));
        taken = history.records.len();
        for from in said.purged + 1..=said.last_index + 1 {
            let read = log.read(from).unwrap().map(|entry| {
                let entry = entry.unwrap();
                (entry.index, (entry.term, entry.payload.to_vec()))
            });
            assert!(
                read.eq(said.entries.range(from..).map(|(index, entry)| (*index, entry.clone()))),
                "{step:?}"
            );
        }
        if said.purged > 0 {
            assert!(matches!(log.read(said.purged), Err(LogError::Purged { .. })));
        }
    }
}

#[test]
fn a_reader_on_another_thread_follows_a_log_that_is_written_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = LogOptions { segment_bytes: SEGMENT, ..LogOptions::default() };
    let (mut log, _) = Log::open(disk, &dir.path().join("log"), options).unwrap();
    let reader = log.reader();
    let last = 3000;
    let follower = std::thread::spawn(move || {
        let mut next = 1;
        while next <= last {
            let entries = match reader.read(next) {
                Ok(entries) => entries,
                Err(LogError::Purged { first, .. }) => {
                    assert!(first > next);
                    next = first;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            for entry in entries {
                match entry {
                    Ok(entry) => {
                        assert_eq!(entry.index, next);
                        assert!(entry.payload.iter().all(|&byte| byte == next as u8));
                        next += 1;
                    }
                    Err(LogError::Purged { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            std::thread::yield_now();
        }
    });
    for index in 1..=last {
        log.append(&[Record::entry(index, 1, &[&[index as u8; 100]])]).unwrap();
        if index % 500 == 0 {
            log.purge(index - 300).unwrap();
        }
    }
    follower.join().unwrap();
    assert!(log.segments().len() < 8, "purging has kept it short");
}

#[test]
fn segments_tell_what_a_purge_would_free() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut history = History::new();
    for _ in 0..10 {
        history.run(&mut log, &Step::Append(vec![5000])).unwrap();
    }
    let segments = log.segments();
    assert_eq!(
        segments.iter().map(|segment| segment.first_index.unwrap()).collect::<Vec<_>>(),
        [1, 3, 5, 7, 9]
    );
    assert_eq!(segments.iter().map(|segment| segment.last_index).collect::<Vec<_>>(), [2, 4, 6, 8, 10]);
    assert_eq!(segments.iter().filter(|segment| !segment.sealed).count(), 1);
    assert_eq!(log.size_on_disk(), 5 * SEGMENT);
    let reader = log.reader();
    assert!(reader.modified(&segments[0]).unwrap() < reader.modified(&segments[4]).unwrap());
    log.purge(5).unwrap();
    assert_eq!(log.size_on_disk(), 3 * SEGMENT);
    assert_eq!(log.first_index(), 6);
    // Names are as documented.
    assert!(log.segments()[0].file.ends_with("00000000000000000005.seg"));
    // The newest segment is never removed.
    log.purge(10).unwrap();
    assert_eq!(log.size_on_disk(), SEGMENT);
    assert_eq!((log.first_index(), log.last_index()), (11, 10));
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let long = vec![3; 10 * SEGMENT as usize];
    log.append(&[
        Record::entry(1, 1, &[b"short"]),
        Record::entry(2, 1, &[&long]),
        Record::entry(3, 1, &[b"x"]),
    ])
    .unwrap();
    log.sync().unwrap();
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    let lengths: Vec<usize> = log.read(1).unwrap().map(|entry| entry.unwrap().payload.len()).collect();
    assert_eq!(lengths, [5, long.len(), 1]);
}

#[test]
#[should_panic(expected = "expected entry 2, found 3")]
fn an_index_left_out_is_a_bug_of_the_caller() {
    let (mut log, _) = open(&SimDisk::new(1)).unwrap();
    log.append(&[Record::entry(1, 1, &[]), Record::entry(3, 1, &[])]).unwrap();
}

#[test]
fn synced_index_counts_nothing_that_was_truncated_or_written_during_a_sync() {
    let (mut log, _) = open(&SimDisk::new(1)).unwrap();
    let entry = |index| Record::entry(index, 1, &[]);
    log.append(&[entry(1), entry(2), entry(3)]).unwrap();
    let sync = log.begin_sync().unwrap().unwrap();
    log.append(&[entry(4)]).unwrap();
    log.end_sync(sync.run()).unwrap();
    assert_eq!(log.synced_index(), 3);
    assert!(log.is_dirty());
    let sync = log.begin_sync().unwrap().unwrap();
    log.append(&[Record::truncate_after(1), entry(2), entry(3), entry(4)]).unwrap();
    log.end_sync(sync.run()).unwrap();
    assert_eq!(log.synced_index(), 1, "the entries 2 to 4 are other ones now");
    log.sync().unwrap();
    assert_eq!(log.synced_index(), 4);
    assert!(!log.is_dirty());
}

#[test]
fn the_real_disk_keeps_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/down/log");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = || LogOptions { segment_bytes: SEGMENT, ..LogOptions::default() };
    let mut history = History::new();
    let (mut log, _) = Log::open(Arc::clone(&disk), &path, options()).unwrap();
    for step in recorded_workload() {
        history.run(&mut log, &step).unwrap();
    }
    drop(log);
    let (log, recovered) = Log::open(Arc::clone(&disk), &path, options()).unwrap();
    assert_eq!(recovered.torn, None);
    history.acknowledged = history.records.len();
    history.check(&log, &recovered, "real disk");
    assert!(Log::inspect(disk, Path::new(&path)).unwrap().is_some());
}
