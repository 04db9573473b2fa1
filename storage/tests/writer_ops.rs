//! The log writer's other records and call-backs, and the writer without threads.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_storage::disk::{Disk, Fault, SimDisk};
use cairn_storage::log::{Log, LogOptions, Recovered};
use cairn_storage::writer::{
    Completion, FULL_RETRY, LogWriter, Notify, Op, SYNC_INTERVAL, SyncPolicy, Until, WriterState,
};

const SEGMENT: u64 = 16 * 1024;
const LIMIT: Duration = Duration::from_secs(20);

fn open(disk: &SimDisk) -> (Log, Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Path::new("log"), LogOptions { segment_bytes: SEGMENT, salt: 1 }).unwrap()
}

fn nobody() -> Notify {
    Notify::State(Box::new(|| ()))
}

fn start(disk: &SimDisk, policy: SyncPolicy) -> LogWriter {
    LogWriter::start(open(disk).0, policy, nobody())
}

fn entry(index: u64) -> Op {
    Op::Entry { index, term: 1, head: Bytes::from_static(b"h"), payload: Bytes::from(vec![index as u8; 100]) }
}

fn answer() -> (Completion, Receiver<Result<(), String>>) {
    let (sender, receiver) = channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

fn submit(writer: &LogWriter, ops: Vec<Op>, until: Until) {
    let (done, answer) = answer();
    writer.submit(ops, until, done);
    answer.recv_timeout(LIMIT).expect("answered").expect("written");
}

/// The clock of the writers without threads, which only moves when a test says so.
mod clock {
    use super::*;

    static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
    static ELAPSED_MS: AtomicU64 = AtomicU64::new(0);

    pub fn now() -> Instant {
        let begun = *BEGUN.lock().unwrap().get_or_insert_with(Instant::now);
        begun + Duration::from_millis(ELAPSED_MS.load(Ordering::SeqCst))
    }

    pub fn advance(by: Duration) {
        ELAPSED_MS.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

#[test]
fn votes_truncations_and_restarts_survive_in_their_order() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Never);
    submit(&writer, (1..=9).map(entry).collect(), Until::Released);
    submit(&writer, vec![Op::Vote("one".into())], Until::Synced);
    submit(&writer, vec![Op::TruncateAfter(5), entry(6), Op::Vote("two".into())], Until::Synced);
    disk.crash();
    drop(writer);
    let (log, recovered) = open(&disk);
    assert_eq!((recovered.vote.as_deref(), recovered.last_index), (Some(&b"two"[..]), 6));
    let entry6 = log.read(6).unwrap().next().unwrap().unwrap();
    assert_eq!(&entry6.payload[..2], [b'h', 6], "head and payload are one");

    let writer = LogWriter::start(log, SyncPolicy::Never, nobody());
    submit(&writer, vec![entry(7), Op::Restart(100), entry(101)], Until::Synced);
    disk.crash();
    drop(writer);
    let recovered = open(&disk).1;
    assert_eq!((recovered.purged, recovered.first_index, recovered.last_index), (100, 101, 101));
    assert_eq!(recovered.vote.as_deref(), Some(&b"two"[..]));
}

#[test]
fn a_record_that_has_to_be_synced_is_whatever_the_policy() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::Never] {
        for seed in 0..10 {
            let disk = SimDisk::new(seed);
            let writer = start(&disk, policy);
            submit(&writer, vec![entry(1), Op::Vote("mine".into())], Until::Synced);
            disk.crash();
            drop(writer);
            assert_eq!(open(&disk).1.vote.as_deref(), Some(&b"mine"[..]), "{policy:?}");
        }
    }
}

#[test]
fn under_always_an_entry_is_answered_after_its_sync() {
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        let writer = start(&disk, SyncPolicy::Always);
        submit(&writer, vec![entry(1)], Until::Released);
        disk.crash();
        drop(writer);
        assert_eq!(open(&disk).1.last_index, 1);
    }
}

#[test]
fn a_note_of_what_is_committed_goes_with_the_next_group() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    submit(&writer, vec![entry(1), entry(2)], Until::Released);
    let (operations, groups) = (disk.operations(), writer.progress().groups);
    writer.note_committed(2);
    assert_eq!((disk.operations(), writer.progress().groups), (operations, groups));
    submit(&writer, vec![entry(3)], Until::Released);
    assert_eq!(writer.progress().groups, groups + 1);
    disk.crash();
    drop(writer);
    assert_eq!(open(&disk).1.committed, 2);
}

#[test]
fn everybody_is_told_that_the_disk_has_failed() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    disk.fail(disk.operations() + 2, Fault::Io);
    let (done, first) = answer();
    writer.submit([entry(1)], Until::Released, done);
    assert!(first.recv_timeout(LIMIT).expect("answered").is_err());
    let (done, later) = answer();
    writer.submit([entry(2)], Until::Released, done);
    assert!(later.recv_timeout(LIMIT).expect("answered").is_err());
}

#[test]
fn a_full_disk_keeps_callers_waiting_and_a_writer_that_ends_tells_them() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    disk.set_capacity(disk.used());
    let (done, first) = answer();
    writer.submit((1..=300).map(entry), Until::Released, done);
    let begun = Instant::now();
    while writer.progress().state == WriterState::Healthy {
        assert!(begun.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    assert!(first.try_recv().is_err(), "there is no room yet");
    disk.set_capacity(u64::MAX);
    first.recv_timeout(LIMIT).expect("answered").expect("there is room");

    disk.set_capacity(disk.used());
    let (done, second) = answer();
    writer.submit((301..=600).map(entry), Until::Released, done);
    drop(writer);
    assert!(second.recv_timeout(LIMIT).expect("answered").is_err());
}

#[test]
fn a_writer_without_threads_does_one_group_at_a_turn() {
    let disk = SimDisk::new(1);
    let woken = Arc::new(AtomicU64::new(0));
    let wakes = Arc::clone(&woken);
    let wake = Box::new(move || {
        wakes.fetch_add(1, Ordering::SeqCst);
    });
    let writer = LogWriter::manual(open(&disk).0, SyncPolicy::Always, nobody(), wake, clock::now);
    assert!(!writer.turn(), "there is nothing to do");
    let (done, first) = answer();
    writer.submit([entry(1)], Until::Released, done);
    let (done, second) = answer();
    writer.submit([entry(2)], Until::Released, done);
    assert_eq!(woken.load(Ordering::SeqCst), 1, "one call for a group");
    assert!(first.try_recv().is_err() && writer.progress().written == 0, "nothing happens by itself");
    let syncs = disk.syncs();
    assert!(writer.turn());
    assert_eq!(disk.syncs(), syncs + 1);
    first.try_recv().unwrap().unwrap();
    second.try_recv().unwrap().unwrap();
    drop(writer);
    assert_eq!(open(&disk).1.last_index, 2);
}

#[test]
fn a_writer_without_threads_goes_by_the_clock_it_was_given() {
    let disk = SimDisk::new(1);
    let writer =
        LogWriter::manual(open(&disk).0, SyncPolicy::EverySecond, nobody(), Box::new(|| ()), clock::now);
    let (done, answer1) = answer();
    writer.submit([entry(1)], Until::Released, done);
    while writer.turn() {}
    answer1.try_recv().unwrap().unwrap();
    assert_eq!((writer.progress().written, writer.progress().synced), (1, 0));
    clock::advance(SYNC_INTERVAL);
    assert!(writer.next_turn_at().unwrap() <= clock::now());
    while writer.turn() {}
    assert_eq!(writer.progress().synced, 1);

    disk.set_capacity(disk.used());
    let (done, answer2) = answer();
    writer.submit((2..=300).map(entry), Until::Released, done);
    while writer.turn() {}
    disk.set_capacity(u64::MAX);
    assert!(!writer.turn() && answer2.try_recv().is_err(), "a full disk is left alone for a while");
    clock::advance(FULL_RETRY);
    while writer.turn() {}
    answer2.try_recv().unwrap().unwrap();
}
