//! Disks that fail and disks that fill up.

use cairn_storage::disk::{Fault, SimDisk};
use cairn_storage::log::{LogError, Record};

use crate::model::{History, SEGMENT, Step, open, recorded_workload};

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    for sync_fails in [false, true] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk).unwrap();
        log.append(&[Record::entry(1, 1, &[b"one"])]).unwrap();
        log.sync().unwrap();
        disk.fail(disk.operations() + 1 + u64::from(sync_fails), Fault::Io);
        let appended = log.append(&[Record::entry(2, 1, &[b"two"])]);
        let failed = if sync_fails { appended.and_then(|()| log.sync()) } else { appended };
        assert!(matches!(failed, Err(LogError::Io { .. })), "{failed:?}");
        // The disk works again, and it does not matter.
        let operations = disk.operations();
        assert!(matches!(log.append(&[Record::entry(2, 1, &[b"two"])]), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.sync(), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.purge(1), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.mark(), Err(LogError::Poisoned { .. })));
        assert_eq!(disk.operations(), operations, "a poisoned log does not touch the disk");
        assert_eq!(log.read(1).unwrap().next().unwrap().unwrap().payload, "one", "but can be read");
        drop(log);
        disk.crash();
        let (_, recovered) = open(&disk).unwrap();
        assert!(recovered.last_index >= 1);
    }
}

#[test]
fn an_error_at_any_operation_is_reported_and_what_was_acknowledged_survives_it() {
    let steps = recorded_workload();
    for seed in 0..2 {
        for nth in 1.. {
            let disk = SimDisk::new(seed << 32 | nth);
            disk.fail(nth, Fault::Io);
            let mut history = History::new();
            let failed = open(&disk)
                .and_then(|(mut log, _)| steps.iter().try_for_each(|step| history.run(&mut log, step)));
            if disk.operations() < nth {
                failed.unwrap();
                break;
            }
            assert!(failed.is_err(), "operation {nth} failed unnoticed");
            disk.crash();
            let (log, recovered) = open(&disk).unwrap_or_else(|error| panic!("operation {nth}: {error}"));
            history.check(&log, &recovered, &format!("operation {nth} failed"));
        }
    }
}

#[test]
fn no_room_at_any_operation_leaves_the_log_as_it_was_or_stops_it() {
    let steps = recorded_workload();
    let mut recovered_from = 0;
    for nth in 1.. {
        let disk = SimDisk::new(nth);
        disk.fail(nth, Fault::Full);
        let mut history = History::new();
        let mut refused = false;
        let opened = open(&disk);
        let Ok((mut log, _)) = opened else { continue };
        for step in &steps {
            let before = history.clone();
            let first_try = history.run(&mut log, step);
            if let Err(LogError::Full { .. }) = &first_try {
                refused = true;
                recovered_from += 1;
                assert_eq!(log.last_index(), last_index(&before), "operation {nth}: {step:?}");
                // The same again, now with room.
                history = before;
                history.run(&mut log, step).unwrap_or_else(|error| panic!("operation {nth}, retry: {error}"));
            } else if first_try.is_err() {
                // Lack of room where nothing can be taken back, as in a sync.
                assert!(
                    matches!(log.append(&[]), Err(LogError::Poisoned { .. }))
                        || matches!(step, Step::Purge(_))
                );
                break;
            }
        }
        let done = disk.operations() < nth;
        drop(log);
        disk.crash();
        let (log, recovered) = open(&disk).unwrap_or_else(|error| panic!("operation {nth}: {error}"));
        history.check(&log, &recovered, &format!("no room at operation {nth}, refused {refused}"));
        if done {
            break;
        }
    }
    assert!(recovered_from > 20, "{recovered_from}");
}

#[test]
fn remains_of_a_write_that_ran_out_of_room_do_not_come_back() {
    let payload = [7; 600];
    let three: Vec<_> = (1..=3).map(|index| (index, [&payload[..]])).collect();
    let three: Vec<Record<'_>> =
        three.iter().map(|(index, payload)| Record::entry(*index, 1, payload)).collect();
    for seed in 0..20 {
        // A file system that copies on write: some of the group is there when the room ends.
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk).unwrap();
        disk.fail(disk.operations() + 1, Fault::Full);
        assert!(matches!(log.append(&three), Err(LogError::Full { .. })));
        // A record as long as the first one of those that were refused.
        log.append(&[Record::entry(1, 1, &[&[8; 600]])]).unwrap();
        drop(log);
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!((recovered.last_index, recovered.torn), (1, None), "seed {seed}");
        assert_eq!(log.read(1).unwrap().next().unwrap().unwrap().payload, [8; 600][..]);
    }
}

fn last_index(history: &History) -> u64 {
    let mut said = crate::model::Said::nothing();
    history.records.iter().for_each(|record| said.take(record));
    said.last_index
}

#[test]
fn a_full_disk_refuses_before_the_first_byte_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    disk.set_capacity(2 * SEGMENT + 100);
    let mut index = 0;
    let payload = [7; 1000];
    let refused = loop {
        index += 1;
        match log.append(&[Record::entry(index, 1, &[&payload])]) {
            Ok(()) => log.sync().unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, LogError::Full { bytes: SEGMENT, .. }), "{refused}");
    assert_eq!(log.last_index(), index - 1);
    assert!(matches!(log.append(&[Record::entry(index, 1, &[&payload])]), Err(LogError::Full { .. })));
    // A purge needs no new room, and makes some.
    let operations = disk.operations();
    log.purge(log.segments()[0].last_index).unwrap();
    assert!(disk.operations() > operations);
    log.append(&[Record::entry(index, 1, &[&payload])]).unwrap();
    log.sync().unwrap();
    disk.crash();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.last_index, index);
}

#[test]
fn a_full_disk_leaves_no_temporary_files_behind() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    disk.set_capacity(3 * SEGMENT);
    // Needs three new segments at once and gets two.
    let payload = [7; 10_000];
    let records: Vec<_> = (1..=4).map(|index| (index, [&payload[..]])).collect();
    let records: Vec<Record<'_>> =
        records.iter().map(|(index, payload)| Record::entry(*index, 1, payload)).collect();
    assert!(matches!(log.append(&records), Err(LogError::Full { .. })));
    assert_eq!(log.last_index(), 0);
    assert!(disk.used() <= 2 * SEGMENT, "one spare may stay, {} bytes do", disk.used());
    disk.set_capacity(4 * SEGMENT);
    log.append(&records).unwrap();
    log.sync().unwrap();
    drop(log);
    disk.crash();
    assert_eq!(open(&disk).unwrap().1.last_index, 4);
}

#[test]
fn a_record_that_is_too_long_is_refused_and_nothing_else_happens() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    assert!(matches!(log.save_vote(&[0; 1025]), Err(LogError::RecordTooLarge { bytes: 1025, max: 1024 })));
    // Four gigabytes out of one megabyte.
    let piece = vec![0; 1 << 20];
    let pieces: Vec<&[u8]> = (0..4096).map(|_| &piece[..]).collect();
    let record = Record::entry(1, 1, &pieces);
    assert!(matches!(log.append(&[record]), Err(LogError::RecordTooLarge { .. })));
    log.append(&[Record::entry(1, 1, &[])]).unwrap();
}
