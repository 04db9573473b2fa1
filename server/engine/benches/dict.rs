//! `Dict` beside `std::collections::HashMap` with the same hash function and allocator: a million keys of 16
//! bytes in 48-byte entries, the shape of a keyspace. `cargo bench -p cairn-engine --bench dict`.

use std::array;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::time::Duration;

use cairn_engine::ds::{Dict, Entry, HashSeed, Key};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 1_000_000;
const SEED: HashSeed = HashSeed::new([1, 2, 3, 4]);

type Value = [u64; 3];

#[derive(Clone)]
struct Item {
    key: Key,
    value: Value,
}

impl Entry for Item {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

fn item(key: &Key) -> Item {
    Item { key: key.clone(), value: [7; 3] }
}

type Map = HashMap<Key, Value, BuildHasherDefault<DictHasher>>;

/// The dict's hash function for the `HashMap`: the key's bytes, without the length that `[u8]` hashes first.
#[derive(Default)]
struct DictHasher(u64);

impl Hasher for DictHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = SEED.hash(bytes);
    }
    fn write_usize(&mut self, _len: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Keys number `from` to `from + KEYS`, shuffled.
fn keys(from: u64) -> Vec<Key> {
    let mut keys: Vec<Key> =
        (from..from + KEYS).map(|number| Key::from(&*format!("key:{number:012}"))).collect();
    keys.shuffle(&mut StdRng::seed_from_u64(1));
    keys
}

fn filled_dict(keys: &[Key]) -> Dict<Item> {
    let mut dict = Dict::new(SEED);
    dict.extend(keys.iter().map(item));
    dict
}

fn filled_map(keys: &[Key]) -> Map {
    keys.iter().map(|key| (key.clone(), [7; 3])).collect()
}

/// Each operation on one key, chosen at random of a million.
fn one_key(c: &mut Criterion) {
    let present = keys(0);
    let absent = keys(KEYS);
    let mut dict = filled_dict(&present);
    let mut map = filled_map(&present);
    let next = |keys: &[Key]| {
        let keys = keys.to_vec();
        let mut at = 0;
        move || {
            at = if at + 1 == keys.len() { 0 } else { at + 1 };
            keys[at].clone()
        }
    };
    let mut group = c.benchmark_group("one_key");
    group.throughput(Throughput::Elements(1));

    let mut key = next(&present);
    group.bench_function("get_hit/dict", |b| b.iter(|| dict.get(&key()).map(|item| item.value[0])));
    let mut key = next(&present);
    group.bench_function("get_hit/hashmap", |b| b.iter(|| map.get(&*key()).map(|value| value[0])));

    // As a turn of the event loop does it: hash sixteen keys, prefetch, then look up one by one.
    group.throughput(Throughput::Elements(16));
    let mut key = next(&present);
    group.bench_function("get_hit_16_prefetched/dict", |b| {
        b.iter(|| {
            let keys: [Key; 16] = array::from_fn(|_| key());
            let hashes = array::from_fn::<u64, 16, _>(|i| dict.hash(&keys[i]));
            dict.prefetch(&hashes);
            keys.iter()
                .zip(hashes)
                .filter_map(|(key, hash)| dict.get_hashed(hash, key))
                .map(|item| item.value[0])
                .sum::<u64>()
        })
    });
    group.throughput(Throughput::Elements(1));

    let mut key = next(&absent);
    group.bench_function("get_miss/dict", |b| b.iter(|| dict.contains(&key())));
    let mut key = next(&absent);
    group.bench_function("get_miss/hashmap", |b| b.iter(|| map.contains_key(&*key())));

    let mut key = next(&present);
    group.bench_function("get_mut/dict", |b| b.iter(|| dict.get_mut(&key()).map(|item| item.value[0] += 1)));
    let mut key = next(&present);
    group.bench_function("get_mut/hashmap", |b| b.iter(|| map.get_mut(&*key()).map(|value| value[0] += 1)));

    let mut key = next(&present);
    group.bench_function("remove_insert/dict", |b| {
        b.iter(|| {
            let key = key();
            let item = dict.remove(&key).expect("present");
            dict.insert(item)
        })
    });
    let mut key = next(&present);
    group.bench_function("remove_insert/hashmap", |b| {
        b.iter(|| {
            let key = key();
            let value = map.remove(&*key).expect("present");
            map.insert(key, value)
        })
    });

    let mut rng = StdRng::seed_from_u64(2);
    group.bench_function("random/dict", |b| {
        b.iter(|| dict.random(&mut |below| rng.random_range(0..below)).map(|item| item.value[0]))
    });
    let mut cursor = 0;
    group.bench_function("scan_10/dict", |b| {
        b.iter(|| cursor = dict.scan(cursor, 10, &mut |item| _ = black_box(item.value[0])))
    });
    group.finish();
}

/// A million keys from nothing, and a snapshot after whose clone every leaf is written to.
fn whole(c: &mut Criterion) {
    let keys = keys(0);
    let mut group = c.benchmark_group("million");
    group.sample_size(10).throughput(Throughput::Elements(KEYS));
    group.bench_function("insert/dict", |b| b.iter_with_large_drop(|| filled_dict(&keys)));
    group.bench_function("insert/hashmap", |b| b.iter_with_large_drop(|| filled_map(&keys)));

    let dict = filled_dict(&keys);
    group.bench_function("iterate/dict", |b| b.iter(|| dict.iter().map(|item| item.value[0]).sum::<u64>()));
    group.bench_function("write_all_after_snapshot/dict", |b| {
        b.iter_batched(
            || dict.clone(),
            |mut dict| {
                for key in &keys {
                    dict.get_mut(key).expect("present").value[0] += 1;
                }
                dict
            },
            BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = one_key, whole
}
criterion_main!(benches);
