//! The log store alone: what a crash leaves of it, what it gives back.

use std::sync::Arc;

use bytes::Bytes;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::{Log, LogOptions};
use cairn_storage::writer::{LogWriter, Notify, SyncPolicy};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader};

use crate::entry::log_id;
use crate::handle::Committed;
use crate::log_store::{LogStore, Opened, READ_BYTES_MAX, RECENT_BYTES_MAX};
use crate::types::{Entry, LogId, Proposal, TypeConfig, Vote};

fn open(disk: &SimDisk, snapshot: Option<LogId>) -> LogStore {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = LogOptions { segment_bytes: 64 << 10, salt: 1 };
    let (log, recovered) = Log::open(disk, "log".as_ref(), options).unwrap();
    let opened = Opened::new(&log, &recovered, snapshot).unwrap();
    let writer = LogWriter::start(log, SyncPolicy::Always, Notify::State(Box::new(|| ())));
    LogStore::new(Arc::new(writer), opened)
}

fn batch(term: u64, index: u64, bytes: usize) -> Entry {
    let batch = Bytes::from(vec![index as u8; bytes]);
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Proposal(batch)) }
}

async fn append(store: &mut LogStore, term: u64, indexes: std::ops::Range<u64>) {
    store.blocking_append(indexes.map(|index| batch(term, index, 100))).await.unwrap();
}

async fn ids(store: &mut LogStore) -> (Option<LogId>, Option<LogId>) {
    let state = store.get_log_state().await.unwrap();
    (state.last_purged_log_id, state.last_log_id)
}

/// The power fails, and the log is opened again.
fn crash(disk: &SimDisk, store: LogStore) -> LogStore {
    disk.crash();
    drop(store);
    open(disk, None)
}

#[tokio::test]
async fn vote_and_entries_survive_a_crash() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk, None);
    store.save_vote(&Vote::new(3, 22)).await.unwrap();
    append(&mut store, 3, 0..5).await;
    store.save_vote(&Vote::new_committed(4, 33)).await.unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new_committed(4, 33)));
    assert_eq!(ids(&mut store).await, (None, Some(log_id(3, 4))));
    let entries = store.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries, (0..5).map(|index| batch(3, index, 100)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_truncated_stays_so_after_a_crash() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk, None);
    append(&mut store, 1, 0..10).await;
    store.truncate_after(Some(log_id(1, 6))).await.unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (None, Some(log_id(1, 6))));
    append(&mut store, 2, 7..9).await;
    let terms = store.try_get_log_entries(5..).await.unwrap();
    assert_eq!(
        terms.iter().map(|entry| entry.log_id).collect::<Vec<_>>(),
        [log_id(1, 5), log_id(1, 6), log_id(2, 7), log_id(2, 8)]
    );
    store.truncate_after(None).await.unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (None, None));
}

#[tokio::test]
async fn the_id_of_the_last_purged_entry_survives_a_crash() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk, None);
    append(&mut store, 2, 0..5).await;
    append(&mut store, 5, 5..10).await;
    store.purge(log_id(2, 4)).await.unwrap();
    assert_eq!(ids(&mut store).await, (Some(log_id(2, 4)), Some(log_id(5, 9))));
    store.writer().flush_and_sync().unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (Some(log_id(2, 4)), Some(log_id(5, 9))));
    assert_eq!(store.try_get_log_entries(0..7).await.unwrap(), [batch(5, 5, 100), batch(5, 6, 100)]);
    // All of it.
    store.purge(log_id(5, 9)).await.unwrap();
    store.writer().flush_and_sync().unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (Some(log_id(5, 9)), Some(log_id(5, 9))));
    append(&mut store, 5, 10..12).await;
    assert_eq!(store.try_get_log_entries(0..).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_log_restarts_after_an_installed_snapshot() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk, None);
    store.save_vote(&Vote::new_committed(7, 11)).await.unwrap();
    append(&mut store, 2, 0..5).await;
    store.purge(log_id(6, 100)).await.unwrap();
    for _ in 0..2 {
        store = crash(&disk, store);
        assert_eq!(ids(&mut store).await, (Some(log_id(6, 100)), Some(log_id(6, 100))));
        assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new_committed(7, 11)));
    }
    append(&mut store, 7, 101..105).await;
    store.save_vote(&Vote::new(8, 11)).await.unwrap();
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (Some(log_id(6, 100)), Some(log_id(7, 104))));
}

/// The note of a restart and the restart itself are two records: whatever a crash leaves of them makes sense.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_restart_leaves_the_old_log_or_the_new() {
    let mut seen = (false, false);
    for cut in 0..40 {
        let disk = SimDisk::new(cut);
        let mut store = open(&disk, None);
        append(&mut store, 2, 0..5).await;
        disk.cut_at(disk.operations() + 1 + cut % 5);
        let done = store.purge(log_id(6, 100)).await.is_ok();
        let mut store = crash(&disk, store);
        match ids(&mut store).await {
            (None, Some(last)) if last == log_id(2, 4) => {
                assert!(!done);
                seen.0 = true;
                append(&mut store, 2, 5..6).await;
            }
            (Some(purged), Some(last)) if purged == last && last == log_id(6, 100) => {
                seen.1 = true;
                append(&mut store, 6, 101..102).await;
            }
            other => panic!("{other:?}"),
        }
        let last = ids(&mut store).await.1;
        let mut store = crash(&disk, store);
        assert_eq!(ids(&mut store).await.1, last);
    }
    assert_eq!(seen, (true, true));
}

/// A single server's log, purged up to the snapshot that it became a node with.
#[tokio::test]
async fn a_log_that_was_purged_up_to_the_snapshot_begins_after_it() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) =
        Log::open(shared, "log".as_ref(), LogOptions { segment_bytes: 64 << 10, salt: 1 }).unwrap();
    log.purge(43).unwrap();
    drop(log);
    let snapshot = log_id(0, 42);
    let mut store = open(&disk, Some(snapshot));
    assert_eq!(ids(&mut store).await, (Some(snapshot), Some(snapshot)));
    store.save_vote(&Vote::new_committed(1, 11)).await.unwrap();
    append(&mut store, 1, 43..46).await;
    let mut store = crash(&disk, store);
    assert_eq!(ids(&mut store).await, (Some(snapshot), Some(log_id(1, 45))));
}

#[tokio::test]
async fn entries_can_be_read_before_they_are_on_disk_and_long_after() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, recovered) =
        Log::open(shared, "log".as_ref(), LogOptions { segment_bytes: 64 << 10, salt: 1 }).unwrap();
    let opened = Opened::new(&log, &recovered, None).unwrap();
    // Nothing is written until somebody says so.
    let writer = LogWriter::manual(
        log,
        SyncPolicy::Always,
        Notify::State(Box::new(|| ())),
        Box::new(|| ()),
        std::time::Instant::now,
    );
    let mut store = LogStore::new(Arc::new(writer), opened);
    let size = RECENT_BYTES_MAX / 8;
    let (done, flushed) = TypeConfig::oneshot();
    let callback = openraft::storage::IOFlushed::signal(done);
    store.append((0..16).map(|index| batch(1, index, size)), callback).await.unwrap();
    assert_eq!(store.try_get_log_entries(0..16).await.unwrap().len(), 16);
    let mut flushed = flushed;
    assert!(flushed.try_recv().is_err(), "nothing is on disk yet");
    let last = store.last().unwrap().index;
    let unwritten = store.read_committed(0, last).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(unwritten.len() as u64, last + 1, "others may have committed it without this disk");
    while store.writer().turn() {}
    flushed.try_recv().unwrap().unwrap();

    // Now the older half is given up in memory.
    let (done, _) = TypeConfig::oneshot();
    store.append([batch(1, 16, 10)], openraft::storage::IOFlushed::signal(done)).await.unwrap();
    for from in [0, 7, 8, 9, 15, 16] {
        let entries = store.try_get_log_entries(from..17).await.unwrap();
        let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id.index).collect();
        assert_eq!(indexes, (from..17).collect::<Vec<_>>());
        let limited = store.limited_get_log_entries(from, 17).await.unwrap();
        assert_eq!(limited[0], entries[0]);
        assert!(limited.len() <= 2 && size > READ_BYTES_MAX, "a request is bounded by bytes");
    }
    let again: Vec<_> = store.read_committed(3, 5).collect::<Result<_, _>>().unwrap();
    assert_eq!(again.iter().map(|(id, _)| id.index).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(matches!(&again[0].1, Committed::Batch(batch) if batch.len() == size));
}

#[tokio::test]
async fn a_disk_that_fails_fails_what_waits_for_it() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk, None);
    disk.fail(disk.operations() + 1, cairn_storage::disk::Fault::Io);
    assert!(store.save_vote(&Vote::new(1, 1)).await.is_err());
    assert!(store.blocking_append([batch(1, 0, 10)]).await.is_err());
    assert_eq!(store.read_vote().await.unwrap(), None);
}

/// As in production: Raft and the log on threads of their own.
#[test]
fn a_node_on_its_own_thread_serves_stops_and_starts_again() {
    let disk = SimDisk::new(1);
    for round in 1..=2_u64 {
        let (handle, executor) = super::world::start_thread(&disk);
        let begun = std::time::Instant::now();
        let wait = |what: &str, holds: &dyn Fn() -> bool| {
            while !holds() {
                assert!(begun.elapsed().as_secs() < 20, "waited in vain: {what}");
                executor.wait();
            }
        };
        wait("it leads", &|| handle.leading().is_some() && executor.has_blank(handle.leading().unwrap()));
        let term = handle.leading().unwrap();
        assert!(handle.lease_is_valid(term), "the only voter needs nobody's promise");
        handle.propose(term, Bytes::from(format!("batch {round}")));
        wait("the batch is committed", &|| executor.batches().len() as u64 == round);
        assert_eq!(handle.stop(), Ok(()));
        assert_eq!((handle.leading(), handle.status().fatal.clone()), (None, None));
        disk.crash();
    }
}
