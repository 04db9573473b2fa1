//! The ordered map at the size of a large sorted set: keys of 24 bytes, a million of them.
//!
//! Inserts replace a key by another, so that the size stays. Bytes per key are printed first.

use std::hint::black_box;

use cairn_engine::ds::CowTree;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// As a sorted set's (score, member).
type Key = (u64, [u8; 16]);

const KEYS: u64 = 1_000_000;

fn key(score: u64) -> Key {
    (score, [7; 16])
}

fn random_tree(rng: &mut StdRng) -> CowTree<Key, ()> {
    let mut scores: Vec<u64> = (0..KEYS).map(|i| i * 2).collect();
    scores.shuffle(rng);
    let mut tree = CowTree::new();
    scores.into_iter().for_each(|score| {
        tree.insert(key(score), ());
    });
    tree
}

fn per_key(tree: &CowTree<Key, ()>) -> f64 {
    tree.heap_size() as f64 / tree.len() as f64
}

fn bench(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(7);
    let mut tree = random_tree(&mut rng);
    let mut ascending = CowTree::new();
    (0..KEYS).for_each(|score| {
        ascending.insert(key(score), ());
    });
    println!("bytes per 24-byte key: random {:.1}, ascending {:.1}", per_key(&tree), per_key(&ascending));
    drop(ascending);

    let mut group = c.benchmark_group("tree/1M");
    group.bench_function("insert and remove, random", |b| {
        b.iter(|| {
            let score = rng.random_range(0..KEYS * 2);
            if tree.insert(key(score), ()).is_none() {
                tree.remove_at(rng.random_range(0..tree.len()));
            }
        });
    });
    group.bench_function("get, random", |b| {
        b.iter(|| black_box(tree.get(&key(rng.random_range(0..KEYS * 2)))));
    });
    group.bench_function("rank, random", |b| {
        b.iter(|| black_box(tree.lower_bound(&key(rng.random_range(0..KEYS * 2)))));
    });
    group.bench_function("100 entries from a random rank", |b| {
        b.iter(|| {
            let start = rng.random_range(0..tree.len() - 100);
            tree.range_by_rank(start..start + 100).map(|(key, ())| key.0).fold(0, u64::wrapping_add)
        });
    });
    group.bench_function("write after a clone", |b| {
        b.iter(|| {
            let snapshot = tree.clone();
            let rank = rng.random_range(0..tree.len());
            black_box(tree.at_rank_mut(rank));
            snapshot
        });
    });
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("all entries", |b| {
        b.iter(|| tree.iter().map(|(key, ())| key.0).fold(0, u64::wrapping_add));
    });
    group.bench_function("all entries, backwards", |b| {
        b.iter(|| tree.iter().rev().map(|(key, ())| key.0).fold(0, u64::wrapping_add));
    });
    group.sample_size(10);
    group.bench_function("insert all, random", |b| {
        let mut scores: Vec<u64> = (0..KEYS).collect();
        scores.shuffle(&mut rng);
        b.iter(|| {
            let mut tree = CowTree::new();
            scores.iter().for_each(|&score| {
                tree.insert(key(score), ());
            });
            tree
        });
    });
    group.bench_function("insert all, ascending", |b| {
        b.iter(|| {
            let mut tree = CowTree::new();
            (0..KEYS).for_each(|score| {
                tree.insert(key(score), ());
            });
            tree
        });
    });
    group.bench_function("from_sorted", |b| {
        b.iter(|| CowTree::from_sorted((0..KEYS).map(|score| (key(score), ()))));
    });
    group.bench_function("pop_first until empty", |b| {
        b.iter_batched(
            || tree.iter().map(|(key, ())| (*key, ())).collect::<Vec<_>>(),
            |entries| {
                let mut tree = CowTree::from_sorted(entries);
                while tree.pop_first().is_some() {}
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
