//! The log-writer thread: what it promises under each policy, and what it does when the disk fails or fills up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_storage::disk::{Disk, Fault, RealDisk, SimDisk};
use cairn_storage::log::{Log, LogOptions};
use cairn_storage::writer::{
    LogWriter, Notify, ON_THE_SPOT_BYTES_MAX, ON_THE_SPOT_PAUSE, ON_THE_SPOT_SLOW, SyncPolicy, WriterError,
    WriterState,
};

const SEGMENT: u64 = 16 * 1024;
const LIMIT: Duration = Duration::from_secs(20);

fn open(disk: &SimDisk) -> Log {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Path::new("log"), LogOptions { segment_bytes: SEGMENT, salt: 1 }).unwrap().0
}

fn start(disk: &SimDisk, policy: SyncPolicy) -> LogWriter {
    LogWriter::start(open(disk), policy, Notify::Progress(Box::new(|| ())))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn last_after_crash(disk: &SimDisk) -> u64 {
    disk.crash();
    open(disk).last_index()
}

#[test]
fn under_always_an_entry_is_released_only_after_its_sync() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let writer = start(&disk, SyncPolicy::Always);
        for index in 1..=50 {
            writer.append(index, 1, vec![index as u8; 300]);
        }
        wait_until("something is released", || writer.released() >= 1);
        // Whatever is released at this moment must be there after a loss of power at the next.
        let released = writer.released();
        disk.crash();
        drop(writer);
        let found = open(&disk).last_index();
        assert!(found >= released, "released {released}, found {found}");
    }
}

#[test]
fn entries_that_wait_are_written_and_synced_as_one_group() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    let (before, last) = (disk.syncs(), 10_000);
    for index in 1..=last {
        writer.append(index, 1, &b"x"[..]);
    }
    writer.flush_and_sync().unwrap();
    let progress = writer.progress();
    assert_eq!((progress.written, progress.synced, progress.queued_bytes), (last, last, 0));
    assert!(disk.syncs() - before < last / 4, "{} syncs for {last} entries", disk.syncs() - before);
    drop(writer);
    assert_eq!(last_after_crash(&disk), last);
}

#[test]
fn every_second_syncs_by_itself_and_lets_writes_pass_meanwhile() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::EverySecond);
    writer.append(1, 1, &b"one"[..]);
    wait_until("it is written", || writer.progress().written == 1);
    assert_eq!(writer.released(), 1);
    assert_eq!(writer.progress().synced, 0);
    let begun = Instant::now();
    wait_until("it is synced", || writer.progress().synced == 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let syncs = disk.syncs();
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(disk.syncs(), syncs, "there is nothing to sync");
    disk.crash();
    drop(writer);
    assert_eq!(open(&disk).last_index(), 1);
}

#[test]
fn never_syncs_only_what_it_must() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Never);
    let syncs = disk.syncs();
    for index in 1..=10 {
        writer.append(index, 1, vec![1; 100]);
    }
    wait_until("they are written", || writer.released() == 10);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(disk.syncs(), syncs);
    for index in 11..=400 {
        writer.append(index, 1, vec![1; 100]);
    }
    // Sealed segments are synced in the background.
    wait_until("the sealed segments are synced", || writer.progress().synced > 10);
    drop(writer);
    assert_eq!(last_after_crash(&disk), 400, "a clean end syncs everything");
}

#[test]
fn a_stricter_policy_takes_effect_at_once() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Never);
    writer.append(1, 1, &b"one"[..]);
    wait_until("it is written", || writer.released() == 1);
    writer.set_policy(SyncPolicy::Always);
    assert_eq!(writer.policy(), SyncPolicy::Always);
    wait_until("it is synced", || writer.released() == 1);
    disk.crash();
    drop(writer);
    assert_eq!(open(&disk).last_index(), 1);
}

#[test]
fn a_full_disk_holds_entries_back_and_goes_on_by_itself() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    disk.set_capacity(SEGMENT + 100);
    for index in 1..=30 {
        writer.append(index, 1, vec![1; 1000]);
    }
    wait_until("the disk is full", || matches!(writer.progress().state, WriterState::Full { .. }));
    assert!(matches!(writer.flush_and_sync(), Err(WriterError::Full { .. })));
    let progress = writer.progress();
    assert!(progress.queued_bytes > 0 && progress.synced < 30, "{progress:?}");
    disk.set_capacity(u64::MAX);
    wait_until("there is room again", || writer.released() == 30);
    assert_eq!(writer.progress().state, WriterState::Healthy);
    drop(writer);
    assert_eq!(last_after_crash(&disk), 30);
}

#[test]
fn a_purge_makes_room_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::Always);
    disk.set_capacity(2 * SEGMENT + 100);
    for index in 1..=30 {
        writer.append(index, 1, vec![1; 1000]);
        wait_until("it is there or the disk is full", || {
            writer.released() == index || writer.progress().state != WriterState::Healthy
        });
    }
    assert!(matches!(writer.progress().state, WriterState::Full { .. }));
    let sealed = writer.segments()[0].last_index;
    writer.purge(sealed);
    wait_until("there is room again", || writer.released() == 30);
    assert_eq!(writer.reader().first_index(), sealed + 1);
}

#[test]
fn a_failed_sync_stops_the_writer_for_good_and_is_told() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let disk = SimDisk::new(1);
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let notify = Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let log = open(&disk);
        disk.fail(disk.operations() + 2, Fault::Io);
        let writer = LogWriter::start(log, policy, Notify::State(notify));
        writer.append(1, 1, &b"lost"[..]);
        wait_until("it has failed", || matches!(writer.progress().state, WriterState::Failed(_)));
        assert!(calls.load(Ordering::SeqCst) > 0);
        assert_eq!(writer.progress().synced, 0);
        let WriterState::Failed(cause) = writer.progress().state else { panic!() };
        assert!(cause.contains("sync") && cause.contains(".seg"), "{cause}");
        let operations = disk.operations();
        writer.append(2, 1, &b"too late"[..]);
        assert!(matches!(writer.flush_and_sync(), Err(WriterError::Failed(_))));
        assert!(!writer.append_now(3, 1, &b"much too late"[..]));
        assert_eq!((writer.queued_bytes(), disk.operations()), (0, operations));
        drop(writer);
    }
}

#[test]
fn who_asks_for_the_state_is_not_told_of_entries() {
    let disk = SimDisk::new(1);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let notify = Notify::State(Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    let writer = LogWriter::start(open(&disk), SyncPolicy::Always, notify);
    writer.append(1, 1, &b"x"[..]);
    writer.flush_and_sync().unwrap();
    assert_eq!((writer.progress().synced, calls.load(Ordering::SeqCst)), (1, 0));
    writer.set_policy(SyncPolicy::EverySecond);
    wait_until("it is told of the policy", || calls.load(Ordering::SeqCst) == 1);
}

#[test]
fn notify_is_called_when_entries_are_released() {
    let disk = SimDisk::new(1);
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let (tell, told) = std::sync::mpsc::channel();
        let log = open(&disk);
        let first = log.last_index() + 1;
        let writer = LogWriter::start(
            log,
            policy,
            Notify::Progress(Box::new(move || tell.send(()).unwrap_or_default())),
        );
        for index in first..first + 100 {
            writer.append(index, 1, &b"x"[..]);
            while writer.released() < index {
                told.recv_timeout(LIMIT).expect("a notification for each release");
            }
        }
    }
}

#[test]
fn append_now_writes_on_the_spot_and_keeps_the_order() {
    let disk = SimDisk::new(1);
    let writer = start(&disk, SyncPolicy::EverySecond);
    let (mut index, mut on_the_spot) = (0, 0);
    let begun = Instant::now();
    // Long enough for a background sync to get in the way, and with queued entries in between.
    while begun.elapsed() < Duration::from_millis(1500) {
        for _ in 0..20 {
            index += 1;
            if index % 7 == 0 {
                writer.append(index, 1, vec![index as u8; 40]);
            } else if writer.append_now(index, 1, vec![index as u8; 40]) {
                assert!(writer.released() >= index);
                on_the_spot += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.flush_and_sync().unwrap();
    assert!(on_the_spot > index / 10, "{on_the_spot} of {index}");
    let read: Vec<u64> = writer.reader().read(1).unwrap().map(|entry| entry.unwrap().index).collect();
    assert_eq!(read, (1..=index).collect::<Vec<_>>());
    writer.set_policy(SyncPolicy::Always);
    assert!(!writer.append_now(index + 1, 1, &b"x"[..]), "always waits for the sync");
    wait_until("it is synced", || writer.released() == index + 1);
}

/// A writer whose thread is at rest, so that the next entry can be written on the spot.
fn at_rest(disk: &SimDisk, segment_bytes: u64, notify: Box<dyn Fn() + Send + Sync>) -> LogWriter {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) = Log::open(shared, Path::new("log"), LogOptions { segment_bytes, salt: 1 }).unwrap();
    let writer = LogWriter::start(log, SyncPolicy::EverySecond, Notify::Progress(notify));
    writer.flush_and_sync().unwrap();
    writer
}

#[test]
fn what_was_released_on_the_spot_survives_the_end_of_the_process() {
    let disk = SimDisk::new(1);
    let writer = at_rest(&disk, SEGMENT, Box::new(|| ()));
    let mut on_the_spot = 0;
    for index in 1..=200 {
        on_the_spot += u64::from(writer.append_now(index, 1, vec![index as u8; 200]));
        let released = writer.released();
        // What the operating system has, now that the process is no more.
        let left = SimDisk::new(2);
        disk.files().iter().for_each(|file| left.write_file(file, &disk.read_file(file).unwrap_or_default()));
        let found = open(&left).last_index();
        assert!(found >= released, "released {released}, found {found}");
    }
    assert!(on_the_spot > 0, "nothing was written on the spot");
}

#[test]
fn a_failed_write_on_the_spot_stops_the_writer_for_good_and_is_told() {
    let disk = SimDisk::new(1);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let writer = at_rest(&disk, SEGMENT, Box::new(move || _ = counted.fetch_add(1, Ordering::SeqCst)));
    assert!(writer.append_now(1, 1, &b"kept"[..]));
    writer.flush_and_sync().unwrap();
    let told = calls.load(Ordering::SeqCst);
    disk.fail(disk.operations() + 1, Fault::Io);
    assert!(!writer.append_now(2, 1, &b"lost"[..]));
    assert!(matches!(writer.progress().state, WriterState::Failed(_)));
    assert!(calls.load(Ordering::SeqCst) > told);
    assert_eq!(writer.released(), 1);
    let operations = disk.operations();
    assert!(!writer.append_now(3, 1, &b"too late"[..]));
    assert!(matches!(writer.flush_and_sync(), Err(WriterError::Failed(_))));
    assert_eq!((writer.queued_bytes(), disk.operations()), (0, operations));
    drop(writer);
    assert_eq!(last_after_crash(&disk), 1);
}

#[test]
fn a_large_entry_is_left_to_the_thread() {
    let disk = SimDisk::new(1);
    let writer = at_rest(&disk, 1 << 20, Box::new(|| ()));
    assert!(writer.append_now(1, 1, vec![1; ON_THE_SPOT_BYTES_MAX]));
    writer.flush_and_sync().unwrap();
    assert!(!writer.append_now(2, 1, vec![2; ON_THE_SPOT_BYTES_MAX + 1]));
    wait_until("it is written", || writer.released() == 2);
}

#[test]
fn a_slow_disk_is_left_to_the_thread_for_a_while() {
    let disk = SimDisk::new(1);
    let writer = at_rest(&disk, SEGMENT, Box::new(|| ()));
    disk.delay(disk.operations() + 1, 2 * ON_THE_SPOT_SLOW);
    assert!(writer.append_now(1, 1, &b"slow"[..]));
    let (begun, mut index) = (Instant::now(), 1);
    loop {
        // The thread is at rest: nothing else keeps an entry from being written here.
        writer.flush_and_sync().unwrap();
        index += 1;
        if writer.append_now(index, 1, &b"x"[..]) {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "still avoiding the disk");
    }
    assert!(index > 2 && begun.elapsed() > ON_THE_SPOT_PAUSE / 2, "{index} {:?}", begun.elapsed());
}

#[test]
fn a_clean_end_leaves_nothing_to_lose() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let open = || {
        let options = LogOptions { segment_bytes: SEGMENT, ..LogOptions::default() };
        Log::open(Arc::new(RealDisk), &path, options).unwrap()
    };
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::Never] {
        let (log, _) = open();
        let last = log.last_index();
        let writer = LogWriter::start(log, policy, Notify::Progress(Box::new(|| ())));
        for index in last + 1..=last + 500 {
            writer.append(index, 1, vec![5; 200]);
        }
        writer.shutdown().unwrap();
        let (log, recovered) = open();
        assert_eq!((recovered.last_index, recovered.torn), (last + 500, None));
        assert!(log.segments().len() > 3);
    }
    let leftovers = std::fs::read_dir(&path).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_none_or(|extension| extension != "seg")
    });
    assert_eq!(leftovers.count(), 0, "open() removes spare files");
}
