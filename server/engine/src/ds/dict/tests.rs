//! The dict against a `HashMap`, with good hashes and with hashes that collide in every way the trie could mind.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::ds::Key;

/// Hashes kept: all; none; one digit; only what the index uses; only what the trie uses; the first and the last
/// digit of the trie (ten levels with one child); nothing but tags.
const MASKS: [u64; 7] =
    [u64::MAX, 0, 0xf << 60, 0xffff, !0xffff, 0xf000_0000_000f_0000, 0xffff_0000_0000_fe00];

#[derive(Clone, Debug, PartialEq)]
struct Pair {
    key: Key,
    value: u64,
}

impl Entry for Pair {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

fn key(number: u64) -> Key {
    Key::from(&*format!("key:{number}"))
}

fn pair(number: u64, value: u64) -> Pair {
    Pair { key: key(number), value }
}

fn seed(mask: u64) -> HashSeed {
    HashSeed { mask, ..HashSeed::new([1, 2, 3, 4]) }
}

fn filled(numbers: std::ops::Range<u64>, mask: u64) -> Dict<Pair> {
    let mut dict = Dict::new(seed(mask));
    dict.extend(numbers.map(|number| pair(number, number)));
    dict
}

fn contents(dict: &Dict<Pair>) -> HashMap<Key, u64> {
    let map: HashMap<Key, u64> = dict.iter().map(|pair| (pair.key.clone(), pair.value)).collect();
    assert_eq!((map.len(), dict.iter().len(), dict.iter().count()), (dict.len(), dict.len(), dict.len()));
    map
}

impl<E: Entry> Dict<E> {
    fn assert_valid(&self) {
        self.root.assert_valid(&self.seed, 0, 0);
        for entry in self {
            let found = self.get(entry.key()).expect("every entry is found by its key");
            assert!(std::ptr::eq(found, entry), "a key is there once");
        }
    }

    fn leaves(&self) -> Vec<*const Leaf<E>> {
        let mut leaves = Vec::new();
        self.root.collect_leaves(&mut leaves);
        leaves
    }
}

impl<E: Entry> Node<E> {
    fn assert_valid(&self, seed: &HashSeed, depth: u32, prefix: u64) {
        match self {
            Node::Empty => {}
            Node::Leaf { count, leaf } => {
                assert!(*count > 0 && *count as usize == leaf.len());
                assert!(leaf.len() <= LEAF_MAX || depth == DEPTH_MAX);
                leaf.assert_valid(seed);
                for entry in leaf.entries() {
                    let hash = seed.hash(entry.key());
                    assert_eq!(hash.checked_shr(u64::BITS - DIGIT_BITS * depth).unwrap_or(0), prefix);
                }
            }
            Node::Inner { count, children } => {
                assert!(*count as usize > COLLAPSE_MAX && depth < DEPTH_MAX);
                assert_eq!(children.iter().map(Node::count).sum::<usize>(), *count as usize);
                for (digit, child) in children.iter().enumerate() {
                    child.assert_valid(seed, depth + 1, prefix << DIGIT_BITS | digit as u64);
                }
            }
        }
    }

    fn collect_leaves(&self, leaves: &mut Vec<*const Leaf<E>>) {
        match self {
            Node::Empty => {}
            Node::Leaf { leaf, .. } => leaves.push(&raw const **leaf),
            Node::Inner { children, .. } => children.iter().for_each(|child| child.collect_leaves(leaves)),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert { from: u64, count: u64 },
    Remove { from: u64, count: u64 },
    Write { from: u64, count: u64 },
    GetOrInsert { number: u64 },
    Snapshot,
    Restore,
    Clear,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let from = || 0..2500u64;
    let count = || prop_oneof![3 => 1..4u64, 1 => 1..1200u64];
    let op = prop_oneof![
        8 => (from(), count()).prop_map(|(from, count)| Op::Insert { from, count }),
        8 => (from(), count()).prop_map(|(from, count)| Op::Remove { from, count }),
        4 => (from(), count()).prop_map(|(from, count)| Op::Write { from, count }),
        4 => from().prop_map(|number| Op::GetOrInsert { number }),
        3 => Just(Op::Snapshot),
        1 => Just(Op::Restore),
        1 => Just(Op::Clear),
    ];
    proptest::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn behaves_as_a_hash_map_and_snapshots_never_change(
        ops in ops(),
        mask in proptest::sample::select(&MASKS[..]),
    ) {
        let mut dict = Dict::new(seed(mask));
        let mut model: HashMap<Key, u64> = HashMap::new();
        let mut snapshots = Vec::new();
        for (value, op) in (0u64..).zip(ops) {
            match op {
                Op::Insert { from, count } => {
                    for number in from..from + count {
                        let replaced = dict.insert(pair(number, value)).map(|old| old.value);
                        prop_assert_eq!(replaced, model.insert(key(number), value));
                    }
                }
                Op::Remove { from, count } => {
                    for number in from..from + count {
                        let removed = dict.remove(&key(number)).map(|old| old.value);
                        prop_assert_eq!(removed, model.remove(&key(number)));
                    }
                }
                Op::Write { from, count } => {
                    for number in from..from + count {
                        match (dict.get_mut(&key(number)), model.get_mut(&key(number))) {
                            (Some(pair), Some(expected)) => {
                                prop_assert_eq!(pair.value, *expected);
                                pair.value += value;
                                *expected += value;
                            }
                            (None, None) => {}
                            (found, expected) => prop_assert!(false, "{found:?}, expected {expected:?}"),
                        }
                    }
                }
                Op::GetOrInsert { number } => {
                    let absent = !model.contains_key(&key(number));
                    let (pair, made) = dict.get_or_insert_with(&key(number), || pair(number, value));
                    prop_assert_eq!(made, absent);
                    prop_assert_eq!(pair.value, *model.entry(key(number)).or_insert(value));
                }
                Op::Snapshot => snapshots.push((dict.clone(), model.clone())),
                Op::Restore => if let Some(snapshot) = snapshots.pop() {
                    (dict, model) = snapshot;
                }
                Op::Clear => {
                    dict.clear();
                    model.clear();
                }
            }
            prop_assert_eq!((dict.len(), dict.is_empty()), (model.len(), model.is_empty()));
        }
        dict.assert_valid();
        prop_assert_eq!(contents(&dict), model);
        for (snapshot, expected) in snapshots {
            snapshot.assert_valid();
            prop_assert_eq!(contents(&snapshot), expected);
        }
    }
}

#[test]
fn colliding_hashes_are_slow_at_worst() {
    for mask in MASKS {
        let mut dict = filled(0..3000, mask);
        dict.assert_valid();
        for number in 0..3000 {
            assert_eq!(dict.get(&key(number)), Some(&pair(number, number)), "mask {mask:x}");
        }
        assert_eq!(dict.get(b"absent"), None);
        for number in 0..2990 {
            assert_eq!(dict.remove(&key(number)), Some(pair(number, number)), "mask {mask:x}");
            if number % 97 == 0 {
                dict.assert_valid();
            }
        }
        dict.assert_valid();
        assert_eq!((dict.len(), dict.leaves().len()), (10, 1), "mask {mask:x}: deletes collapse the trie");
    }
}

#[test]
fn prefetching_changes_nothing_whatever_is_asked_for() {
    for mask in MASKS {
        for len in [0, 1, 8, 9, 500, 3000] {
            let dict = filled(0..len, mask);
            let hashes: Vec<u64> = (0..2 * len + 3).map(|number| dict.hash(&key(number))).collect();
            dict.prefetch(&hashes);
            dict.assert_valid();
            assert_eq!(contents(&dict), contents(&filled(0..len, mask)));
        }
    }
}

#[test]
fn the_first_write_after_a_snapshot_copies_one_leaf() {
    let mut dict = filled(0..20_000, u64::MAX);
    let snapshot = dict.clone();
    assert_eq!(dict.leaves(), snapshot.leaves());

    dict.get_mut(&key(7)).expect("it is there").value = 0;
    let shared: HashSet<_> = snapshot.leaves().into_iter().collect();
    let copied = |dict: &Dict<Pair>| dict.leaves().iter().filter(|leaf| !shared.contains(*leaf)).count();
    assert_eq!(copied(&dict), 1);
    dict.get_mut(&key(7)).expect("it is there").value = 1;
    assert_eq!(copied(&dict), 1, "the second write to the same leaf copies nothing");
    dict.remove(&key(8));
    dict.insert(pair(20_001, 0));
    assert!(copied(&dict) <= 3);
    assert_eq!(contents(&snapshot), contents(&filled(0..20_000, u64::MAX)));
}

#[test]
fn asking_for_an_absent_key_copies_nothing() {
    let mut dict = filled(0..20_000, u64::MAX);
    let snapshot = dict.clone();
    for number in 20_000..21_000 {
        assert_eq!(dict.get_mut(&key(number)), None);
        assert_eq!(dict.remove(&key(number)), None);
    }
    assert_eq!(dict.leaves(), snapshot.leaves());
    let (Node::Inner { children: ours, .. }, Node::Inner { children: theirs, .. }) =
        (&dict.root, &snapshot.root)
    else {
        panic!("20,000 entries are more than a leaf holds")
    };
    assert!(Arc::ptr_eq(ours, theirs));
}

#[test]
fn a_leaf_at_the_brink_does_not_split_and_collapse_every_time() {
    let mut dict = filled(0..LEAF_MAX as u64 + 1, u64::MAX);
    assert!(dict.leaves().len() > 1);
    for number in 0..100 {
        dict.remove(&key(number));
    }
    assert!(dict.leaves().len() > 1, "a collapse waits until far fewer are left");
}

#[test]
fn iteration_is_by_ascending_hash_from_leaf_to_leaf() {
    let dict = filled(0..50_000, u64::MAX);
    let mut last_of_previous = 0;
    let mut entries = dict.iter();
    for &leaf in &dict.leaves() {
        // SAFETY: `dict` is alive and not changed, and the pointers are to its leaves.
        let len = unsafe { &*leaf }.len();
        let mut hashes: Vec<u64> = entries.by_ref().take(len).map(|entry| dict.hash(entry.key())).collect();
        hashes.sort_unstable();
        assert!(last_of_previous <= hashes[0]);
        last_of_previous = hashes[len - 1];
    }
    assert_eq!(entries.next(), None);
}

/// Scans to the end, changing the dict between calls by `churn`; returns how often each key was met.
fn scan_all(
    dict: &mut Dict<Pair>,
    count: usize,
    churn: &mut dyn FnMut(&mut Dict<Pair>),
) -> HashMap<Key, usize> {
    let mut met: HashMap<Key, usize> = HashMap::new();
    let mut cursor = 0;
    loop {
        let next = dict.scan(cursor, count, &mut |pair| *met.entry(pair.key.clone()).or_default() += 1);
        assert!(next == 0 || next > cursor, "a scan goes forward, so it ends");
        if next == 0 {
            return met;
        }
        cursor = next;
        churn(dict);
    }
}

#[test]
fn scan_meets_whatever_stays_exactly_once() {
    for (round, mask) in (0..).zip(MASKS.into_iter().cycle().take(21)) {
        let mut rng = StdRng::seed_from_u64(round);
        let mut dict = filled(0..2000, mask);
        let count = rng.random_range(1..60);
        let met = scan_all(&mut dict, count, &mut |dict| {
            // Phases of growth and of shrinking, so that leaves split and collapse under the cursor.
            let grow = rng.random_range(0..3) > 0;
            for _ in 0..rng.random_range(0..300) {
                let number = rng.random_range(2000..8000);
                if grow {
                    dict.insert(pair(number, 0));
                } else {
                    dict.remove(&key(number));
                }
            }
        });
        dict.assert_valid();
        for number in 0..2000 {
            assert_eq!(met.get(&key(number)), Some(&1), "key {number}, mask {mask:x}, count {count}");
        }
    }
}

#[test]
fn scan_survives_a_collapse_under_its_cursor() {
    let mut dict = filled(0..20_000, u64::MAX);
    let mut removed = false;
    let met = scan_all(&mut dict, 10, &mut |dict| {
        if !removed {
            (50..20_000).for_each(|number| drop(dict.remove(&key(number))));
            removed = true;
        }
    });
    assert_eq!(dict.leaves().len(), 1);
    assert!((0..50).all(|number| met.get(&key(number)) == Some(&1)));
}

#[test]
fn scan_visits_as_many_as_asked_for() {
    let dict = filled(0..5000, u64::MAX);
    let (mut cursor, mut calls) = (0, 0);
    loop {
        let mut visited = 0;
        cursor = dict.scan(cursor, 10, &mut |_| visited += 1);
        calls += 1;
        if cursor == 0 {
            break;
        }
        assert_eq!(visited, 10);
    }
    assert_eq!(calls, 500, "the call that visits the last entry says that it was the last");
    assert_eq!(dict.scan(0, 5000, &mut |_| {}), 0);
    assert_eq!(dict.scan(u64::MAX, 10, &mut |_| panic!("beyond the end")), 0);
    assert_eq!(Dict::<Pair>::new(seed(0)).scan(0, 10, &mut |_| panic!("empty")), 0);
}

#[test]
fn every_rank_is_one_entry() {
    for mask in MASKS {
        let dict = filled(0..3000, mask);
        for (rank, entry) in dict.iter().enumerate() {
            assert!(std::ptr::eq(dict.at_rank(rank).expect("below len"), entry));
        }
        assert_eq!(dict.at_rank(3000), None);
    }
}

#[test]
fn random_is_uniform() {
    const KEYS: u64 = 1000;
    const DRAWS: u64 = 200_000;
    let dict = filled(0..KEYS, u64::MAX);
    let mut rng = StdRng::seed_from_u64(1);
    let mut drawn = vec![0u64; KEYS as usize];
    for _ in 0..DRAWS {
        let pair = dict.random(&mut |below| rng.random_range(0..below)).expect("not empty");
        drawn[pair.value as usize] += 1;
    }
    let expected = (DRAWS / KEYS) as f64;
    let chi_square: f64 = drawn.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
    // 999 degrees of freedom: mean 999, standard deviation 45.
    assert!((850.0..1150.0).contains(&chi_square), "chi-square {chi_square}");
    assert_eq!(Dict::<Pair>::new(seed(0)).random(&mut |_| panic!("nothing to choose from")), None);
}

#[derive(Clone)]
struct Entry48 {
    key: Key,
    _value: [u64; 3],
}

impl Entry for Entry48 {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

#[test]
fn an_entry_costs_at_most_fourteen_bytes_beyond_itself() {
    // Redis: 24 (dictEntry) + 8 to 16 (bucket) + 16 (robj), and the same figure for the value's own block.
    const LIMIT: f64 = 48.0 + 14.0;
    let mut dict = Dict::new(HashSeed::new([5, 6, 7, 8]));
    let mut next_check = 1000;
    for number in 0..1_000_000 {
        dict.insert(Entry48 { key: key(number), _value: [0; 3] });
        if dict.len() == next_check || number == 999_999 {
            let exact = dict.root.heap_size() as f64;
            let per_entry = exact / dict.len() as f64;
            assert!(per_entry < LIMIT, "{per_entry:.1} bytes per entry at {} entries", dict.len());
            let estimate = dict.heap_size() as f64;
            assert!((estimate / exact - 1.0).abs() < 0.08, "estimated {estimate}, really {exact}");
            next_check += next_check / 5;
        }
    }
    for number in 1000..1_000_000 {
        dict.remove(&key(number));
    }
    let per_entry = dict.root.heap_size() as f64 / 1000.0;
    assert!(per_entry < 1.5 * LIMIT, "{per_entry:.1} bytes per entry after nearly all were removed");
}

#[test]
fn a_dict_is_small_and_an_empty_one_free() {
    assert!(size_of::<Dict<Pair>>() <= 16 + size_of::<HashSeed>());
    let mut dict = filled(0..1000, u64::MAX);
    dict.clear();
    assert_eq!((dict.len(), dict.heap_size()), (0, 0));
}

#[test]
fn what_a_consumed_snapshot_has_left_behind_is_not_copied() {
    let mut dict = filled(0..20_000, u64::MAX);
    let before: HashSet<_> = dict.leaves().into_iter().collect();
    let mut visited = Vec::new();
    dict.clone().consume(&mut |pair| {
        visited.push(pair.key.clone());
        if visited.len() == 10_000 {
            // Their leaves have gone, all but the one at hand: they are changed where they are.
            for key in &visited[..9_000] {
                dict.get_mut(key).expect("it is there").value = 0;
            }
        }
        true
    });
    assert_eq!(visited.len(), 20_000);
    let copied = dict.leaves().iter().filter(|leaf| !before.contains(*leaf)).count();
    assert!(copied <= 1, "{copied} leaves were copied");
}
