//! Saving and loading two million short strings, and a few values that are not short.
//!
//! `RDB_FILE=dump.rdb cargo bench --bench rdb` loads that file instead, to compare with what `redis-server` says that
//! the same file took it.

use std::hint::black_box;

use cairn_engine::Value;
use cairn_engine::config::Config;
use cairn_engine::ds::{HashSeed, Key};
use cairn_engine::keyspace::{Db, KeyEntry, Snapshot};
use cairn_engine::rdb::{self, Aux, LoadOptions};
use cairn_engine::types::{Hash, HashLimits};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 2_000_000;
const SEED: HashSeed = HashSeed::new([1, 2, 3, 4]);

fn snapshot_of(db: Db) -> Snapshot {
    let mut dbs = vec![db];
    dbs.resize_with(16, || Db::new(SEED));
    Snapshot::of(dbs)
}

fn small_strings() -> Snapshot {
    let mut db = Db::new(SEED);
    for i in 0..KEYS {
        let (key, value) = (format!("key:{i:012}"), format!("value:{i}"));
        db.dict.insert(KeyEntry::new(Key::from(key.as_str()), Value::string(value.as_bytes()), 0));
    }
    snapshot_of(db)
}

/// Compressible values of 1000 bytes, and hashes of 20 fields.
fn larger_values(config: &Config) -> Snapshot {
    let limits = HashLimits::new(config, SEED);
    let mut db = Db::new(SEED);
    for i in 0..50_000 {
        let text = format!("a part of value {i} that comes again, ").repeat(25);
        let key = format!("text:{i}");
        db.dict.insert(KeyEntry::new(Key::from(key.as_str()), Value::string(text.as_bytes()), 0));
        let mut hash = Hash::new();
        for field in 0..20 {
            hash.set(
                format!("field:{field}").as_bytes(),
                format!("value {field} of {i}").as_bytes(),
                &limits,
            );
        }
        let key = format!("hash:{i}");
        db.dict.insert(KeyEntry::new(Key::from(key.as_str()), Value::Hash(hash), 0));
    }
    snapshot_of(db)
}

fn saved(snapshot: &Snapshot, compress: bool) -> Vec<u8> {
    let mut file = Vec::new();
    rdb::save(snapshot.clone(), &Aux::default(), compress, &mut file).expect("a Vec takes everything");
    file
}

fn bench_snapshot(c: &mut Criterion, name: &str, snapshot: &Snapshot, config: &Config) {
    let options = LoadOptions { databases: 16, seed: SEED, config };
    let keys = snapshot.dbs.iter().map(|db| db.len() as u64).sum();
    let mut group = c.benchmark_group(format!("rdb/{name}"));
    group.sample_size(10).throughput(Throughput::Elements(keys));
    for compress in [false, true] {
        let file = saved(snapshot, compress);
        let how = if compress { "compressed" } else { "plain" };
        println!("rdb/{name}, {how}: {} bytes", file.len());
        let mut out = Vec::with_capacity(file.len());
        group.bench_function(format!("save {how}"), |b| {
            b.iter(|| {
                out.clear();
                rdb::save(snapshot.clone(), &Aux::default(), compress, &mut out)
                    .expect("a Vec takes everything");
            });
        });
        group.bench_function(format!("load {how}"), |b| {
            b.iter_with_large_drop(|| {
                rdb::load(black_box(&file), &options, &mut |_, _| {}).expect("our own file")
            });
        });
    }
    group.finish();
}

fn bench(c: &mut Criterion) {
    let config = Config::default();
    if let Ok(path) = std::env::var("RDB_FILE") {
        let file = std::fs::read(&path).expect("RDB_FILE names a file");
        let options = LoadOptions { databases: 16, seed: SEED, config: &config };
        let loaded = rdb::load(&file, &options, &mut |_, _| {}).expect("RDB_FILE can be loaded");
        let snapshot = Snapshot::of(loaded.dbs);
        return bench_snapshot(c, "file", &snapshot, &config);
    }
    bench_snapshot(c, "2M short strings", &small_strings(), &config);
    bench_snapshot(c, "larger values", &larger_values(&config), &config);
}

criterion_group!(benches, bench);
criterion_main!(benches);
