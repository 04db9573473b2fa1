//! What a group costs: `cargo bench -p cairn-storage`. It writes to the directory for temporary files, which should lie on
//! the kind of disk that is of interest (`TMPDIR`), not in memory.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cairn_storage::disk::RealDisk;
use cairn_storage::log::{Log, LogOptions, Record};
use cairn_storage::writer::{LogWriter, Notify, SyncPolicy};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A batch of one small write.
const PAYLOAD: [u8; 100] = [b'x'; 100];

fn open(dir: &tempfile::TempDir) -> Log {
    let options = LogOptions { segment_bytes: 16 << 20, ..LogOptions::default() };
    Log::open(Arc::new(RealDisk), &dir.path().join("log"), options).expect("room for a bench").0
}

/// Records per group, with and without the sync.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for (name, records, sync) in
        [("1", 1, false), ("50", 50, false), ("1, synced", 1, true), ("50, synced", 50, true)]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = open(&dir);
        group.throughput(Throughput::Elements(records));
        group.bench_function(name, |b| {
            b.iter(|| {
                let next = log.last_index() + 1;
                let payload: [&[u8]; 1] = [&PAYLOAD];
                let batch: Vec<Record<'_>> =
                    (next..next + records).map(|index| Record::entry(index, 1, &payload)).collect();
                log.append(&batch).expect("the disk works");
                if sync {
                    log.sync().expect("the disk works");
                }
                if next.is_multiple_of(1 << 20) {
                    log.purge(next - 1).expect("the disk works");
                }
            });
        });
    }
    group.finish();
}

/// One entry through the writer and back, as a lone client sees it.
fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    for (name, policy, now) in [
        ("always", SyncPolicy::Always, false),
        ("everysec, queued", SyncPolicy::EverySecond, false),
        ("everysec, on the spot", SyncPolicy::EverySecond, true),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let (tell, told) = channel();
        let writer = LogWriter::start(
            open(&dir),
            policy,
            Notify::Progress(Box::new(move || tell.send(()).unwrap_or_default())),
        );
        let mut index = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                index += 1;
                if now {
                    black_box(writer.append_now(index, 1, &PAYLOAD[..]));
                } else {
                    writer.append(index, 1, &PAYLOAD[..]);
                }
                while writer.released() < index {
                    told.recv_timeout(Duration::from_secs(10)).expect("the disk works");
                }
            });
        });
    }
    group.finish();
}

/// Verifying a log at the start, and reading its entries.
fn recovery(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(&dir);
    let payload: [&[u8]; 1] = [&[b'x'; 1000]];
    for first in (0..64u64).map(|nth| nth * 1000 + 1) {
        let batch: Vec<Record<'_>> =
            (first..first + 1000).map(|index| Record::entry(index, 1, &payload)).collect();
        log.append(&batch).expect("the disk works");
    }
    log.sync().expect("the disk works");
    let mut group = c.benchmark_group("recovery of 64 MB");
    group.throughput(Throughput::Elements(log.last_index())).sample_size(10);
    drop(log);
    group.bench_function("open", |b| b.iter(|| open(&dir).last_index()));
    let log = open(&dir);
    group.bench_function("read", |b| {
        b.iter_custom(|rounds| {
            let begun = Instant::now();
            for _ in 0..rounds {
                let read = log.read(1).expect("nothing is purged");
                assert!(read.map(|entry| entry.expect("sound").payload.len()).sum::<usize>() > 0);
            }
            begun.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, append, round_trip, recovery);
criterion_main!(benches);
