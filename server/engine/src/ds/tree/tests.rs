use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::node::{WIDTH_MAX, WIDTH_MIN};
use super::*;

/// Asserts the invariants of the module's page; answers (nodes, leaves).
fn check<K: Ord + Clone + std::fmt::Debug, V>(tree: &CowTree<K, V>) -> (usize, usize) {
    let Some(root) = &tree.root else {
        assert_eq!(tree.len, 0);
        return (0, 0);
    };
    if let Node::Inner(inner) = root {
        assert!(inner.children.len() > 1, "an inner root with one child");
    }
    let mut seen = Seen { depth: None, nodes: 0, leaves: 0 };
    assert_eq!(check_node(root, 0, (None, None), (true, true), &mut seen), tree.len);
    (seen.nodes, seen.leaves)
}

struct Seen {
    depth: Option<usize>,
    nodes: usize,
    leaves: usize,
}

fn check_node<K: Ord + std::fmt::Debug, V>(
    node: &Node<K, V>,
    depth: usize,
    (low, high): (Option<&K>, Option<&K>),
    (leftmost, rightmost): (bool, bool),
    seen: &mut Seen,
) -> usize {
    seen.nodes += 1;
    let min = if leftmost || rightmost { 1 } else { WIDTH_MIN };
    match node {
        Node::Leaf(leaf) => {
            seen.leaves += 1;
            let entries = &leaf.entries;
            assert_eq!(*seen.depth.get_or_insert(depth), depth, "leaves at different depths");
            assert!((min..=WIDTH_MAX).contains(&entries.len()), "a leaf of {}", entries.len());
            assert!(entries.capacity() <= WIDTH_MAX || size_of::<(K, V)>() == 0);
            assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
            assert!(low.is_none_or(|low| *low <= entries[0].0));
            assert!(high.is_none_or(|high| entries[entries.len() - 1].0 < *high));
            entries.len()
        }
        Node::Inner(inner) => {
            let n = inner.children.len();
            assert!((min..=WIDTH_MAX).contains(&n), "an inner node of {n}");
            assert_eq!((inner.seps.len(), inner.counts.len()), (n - 1, n));
            for (i, child) in inner.children.iter().enumerate() {
                let low = if i == 0 { low } else { Some(&inner.seps[i - 1]) };
                let high = inner.seps.get(i).or(high);
                let edge = (leftmost && i == 0, rightmost && i + 1 == n);
                assert_eq!(check_node(child, depth + 1, (low, high), edge, seen), inner.counts[i]);
            }
            inner.counts.iter().sum()
        }
    }
}

/// Every way to ask, against the model.
fn compare(tree: &CowTree<u32, u32>, model: &BTreeMap<u32, u32>) {
    check(tree);
    assert_eq!(tree.len(), model.len());
    assert!(tree.iter().eq(model.iter()));
    assert!(tree.iter().rev().eq(model.iter().rev()));
    assert_eq!(tree.first(), model.iter().next());
    assert_eq!(tree.last(), model.iter().next_back());
}

fn shuffled(n: u32, seed: u64) -> Vec<u32> {
    let mut keys: Vec<u32> = (0..n).collect();
    keys.shuffle(&mut StdRng::seed_from_u64(seed));
    keys
}

#[test]
fn ascending_and_descending_inserts_leave_full_nodes() {
    let n = 100 * WIDTH_MAX as u32;
    let mut up = CowTree::new();
    let mut down = CowTree::new();
    for key in 0..n {
        up.insert(key, ());
        down.insert(n - key, ());
    }
    assert_eq!(check(&up).1, 100);
    assert_eq!(check(&down).1, 100);
    let packed = CowTree::from_sorted((0..n).map(|key| (key, ())));
    assert_eq!(check(&packed).1, 100);
}

#[test]
fn bytes_per_key_of_a_large_sorted_set() {
    type Key = [u64; 3];
    const N: u32 = 100_000;
    let per_key = |tree: &CowTree<Key, ()>| tree.heap_size() as f64 / f64::from(N);
    let key = |i: u32| [u64::from(i), 0, 0];

    let mut sequential = CowTree::new();
    (0..N).for_each(|i| assert!(sequential.insert(key(i), ()).is_none()));
    assert!(per_key(&sequential) < 26.0, "sequential: {} bytes", per_key(&sequential));

    let mut random = CowTree::new();
    shuffled(N, 1).into_iter().for_each(|i| assert!(random.insert(key(i), ()).is_none()));
    assert!(per_key(&random) < 31.0, "random: {} bytes", per_key(&random));

    for i in shuffled(N, 2).into_iter().take(N as usize * 9 / 10) {
        random.remove(&key(i));
    }
    check(&random);
    let left = random.heap_size() as f64 / random.len() as f64;
    assert!(left < 38.0, "after deleting nine of ten: {left} bytes");

    let packed = CowTree::from_sorted((0..N).map(|i| (key(i), ())));
    assert!(per_key(&packed) < 26.0, "packed: {} bytes", per_key(&packed));
}

#[test]
fn a_write_after_a_clone_copies_one_path() {
    let mut tree = CowTree::from_sorted((0..300_000u32).map(|key| (key * 2, key)));
    let snapshot = tree.clone();
    let before = all_nodes(&tree);
    let copied = |tree: &CowTree<u32, u32>| all_nodes(tree).difference(&before).count();
    *tree.get_mut(&300_002).expect("an even key") += 1;
    assert_eq!(copied(&tree), 4, "one node of each of the four levels");
    tree.insert(300_001, 0);
    assert_eq!(copied(&tree), 7, "all of the path but the root were full, and split");
    tree.remove(&300_004);
    assert_eq!(copied(&tree), 7, "by now the path is the tree's own");
    assert!(snapshot.iter().map(|(key, _)| *key).eq((0..300_000).map(|key| key * 2)));
}

fn all_nodes<K, V>(tree: &CowTree<K, V>) -> std::collections::BTreeSet<usize> {
    fn walk<K, V>(node: &Node<K, V>, out: &mut std::collections::BTreeSet<usize>) {
        match node {
            Node::Leaf(leaf) => drop(out.insert(triomphe::Arc::as_ptr(leaf) as usize)),
            Node::Inner(inner) => {
                out.insert(triomphe::Arc::as_ptr(inner) as usize);
                inner.children.iter().for_each(|child| walk(child, out));
            }
        }
    }
    let mut out = std::collections::BTreeSet::new();
    tree.root.iter().for_each(|root| walk(root, &mut out));
    out
}

#[test]
fn from_sorted_takes_what_is_not_sorted() {
    let tree = CowTree::from_sorted([(1, 'a'), (3, 'b'), (3, 'c'), (2, 'd'), (9, 'e'), (1, 'f')]);
    assert!(tree.iter().eq([(&1, &'f'), (&2, &'d'), (&3, &'c'), (&9, &'e')]));
    for n in [0, 1, 63, 64, 65, 4096, 4097, 70_000] {
        let tree = CowTree::from_sorted((0..n).map(|key| (key, key)));
        check(&tree);
        assert!(tree.iter().map(|(key, _)| *key).eq(0..n));
    }
}

#[test]
fn ranges_by_key_and_by_rank() {
    let tree = CowTree::from_sorted((0..1_000u32).map(|key| (key * 10, ())));
    let keys = |iter: Iter<'_, u32, ()>| iter.map(|(key, _)| *key).collect::<Vec<_>>();
    assert_eq!(keys(tree.range(15..=40)), [20, 30, 40]);
    assert_eq!(keys(tree.range((Bound::Excluded(20), Bound::Excluded(40)))), [30]);
    assert_eq!(keys(tree.range(9_985..)), [9_990]);
    assert_eq!(keys(tree.range(..10)), [0]);
    let (low, high) = (500, 100);
    assert_eq!((keys(tree.range(low..high)).len(), tree.count_range(low..high)), (0, 0));
    assert_eq!(tree.count_range(..), 1_000);
    assert_eq!(keys(tree.range_by_rank(3..5)), [30, 40]);
    assert_eq!(keys(tree.range_by_rank(998..usize::MAX)), [9_980, 9_990]);
    assert!(keys(tree.range_by_rank(5_000..)).is_empty());
    assert!(tree.range_by_rank(..=200).rev().map(|(key, _)| *key).eq((0..=200).rev().map(|rank| rank * 10)));
    assert_eq!(tree.iter_from_rank(100).len(), 900);
    assert_eq!((tree.at_rank(1_000), tree.at_rank(999)), (None, Some((&9_990, &()))));
    assert_eq!(CowTree::<u32, ()>::new().iter().next_back(), None);
    assert_eq!((CowTree::<u32, ()>::new().last(), CowTree::<u32, ()>::new().first()), (None, None));
}

#[test]
fn an_iterator_is_used_from_both_ends_and_by_jumps() {
    let tree = CowTree::from_sorted((0..1_000u32).map(|key| (key, ())));
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..200 {
        let mut iter = tree.range_by_rank(rng.random_range(0..500)..rng.random_range(500..1_001));
        let mut model: Vec<u32> = iter.clone().map(|(key, _)| *key).collect();
        while !model.is_empty() {
            let jump = rng.random_range(0..90);
            let (got, expected) = match rng.random_range(0..4) {
                0 => (iter.next(), Some(model.remove(0))),
                1 => (iter.next_back(), model.pop()),
                2 => {
                    model.drain(..jump.min(model.len()));
                    (iter.nth(jump), (!model.is_empty()).then(|| model.remove(0)))
                }
                _ => {
                    model.truncate(model.len().saturating_sub(jump));
                    (iter.nth_back(jump), model.pop())
                }
            };
            assert_eq!(got.map(|(key, _)| *key), expected);
            assert_eq!(iter.len(), model.len());
        }
        assert_eq!((iter.next(), iter.next_back(), iter.nth(1)), (None, None, None));
    }
}

#[test]
fn draining_from_the_ends_and_from_within() {
    for order in 0..4 {
        let mut tree = CowTree::new();
        let mut model = BTreeMap::new();
        for key in shuffled(20_000, 4) {
            tree.insert(key, key);
            model.insert(key, key);
        }
        for step in 0u32.. {
            let (got, expected) = match order {
                0 => (tree.pop_first(), model.pop_first()),
                1 => (tree.pop_last(), model.pop_last()),
                2 if step % 2 == 0 => (tree.pop_first(), model.pop_first()),
                2 => (tree.pop_last(), model.pop_last()),
                _ => {
                    let key = model
                        .len()
                        .checked_sub(1)
                        .and_then(|last| tree.at_rank(last / 2))
                        .map(|(key, _)| *key);
                    (key.and_then(|key| tree.remove(&key)), key.and_then(|key| model.remove_entry(&key)))
                }
            };
            assert_eq!(got, expected);
            if step % 500 == 0 {
                compare(&tree, &model);
            }
            if got.is_none() {
                break;
            }
        }
        assert!(tree.is_empty() && tree.heap_size() == 0);
    }
}

#[test]
fn ranges_are_removed_from_trees_of_every_shape() {
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..60u32 {
        let n = rng.random_range(1..40_000u32);
        let mut tree = match round % 3 {
            0 => CowTree::from_sorted((0..n).map(|key| (key, key))),
            1 => {
                let mut tree = CowTree::new();
                shuffled(n.min(9_000), u64::from(round)).into_iter().for_each(|key| {
                    tree.insert(key, key);
                });
                tree
            }
            _ => {
                let mut tree = CowTree::new();
                (0..n.min(9_000)).rev().for_each(|key| {
                    tree.insert(key, key);
                });
                tree
            }
        };
        let mut model: Vec<u32> = tree.iter().map(|(key, _)| *key).collect();
        let snapshot = (round % 5 == 0).then(|| (tree.clone(), model.clone()));
        while !model.is_empty() {
            let start = rng.random_range(0..model.len());
            let longest = if rng.random_bool(0.3) { model.len() } else { 200 };
            let count = rng.random_range(0..=longest);
            let mut removed = Vec::new();
            let said = tree.remove_range_by_rank(start, count, &mut |key, _| removed.push(key));
            let expected: Vec<u32> = model.drain(start..model.len().min(start + count)).collect();
            assert_eq!((said, &removed), (expected.len(), &expected));
            check(&tree);
            assert!(tree.iter().map(|(key, _)| key).eq(&model));
            if rng.random_bool(0.1) {
                break;
            }
        }
        // The tree is as good as new.
        for key in 0..200 {
            assert_eq!(tree.insert(key, key).is_some(), model.binary_search(&key).is_ok());
        }
        check(&tree);
        if let Some((snapshot, model)) = snapshot {
            check(&snapshot);
            assert!(snapshot.iter().map(|(key, _)| key).eq(&model));
        }
    }
}

#[test]
fn removed_values_are_moved_out_of_an_unshared_tree_and_cloned_out_of_a_shared_one() {
    use std::rc::Rc;
    let value = Rc::new(());
    let mut tree = CowTree::from_sorted((0..1_000u32).map(|key| (key, Rc::clone(&value))));
    assert_eq!(Rc::strong_count(&value), 1_001);
    tree.remove_range_by_rank(100, 500, &mut |_, _| {});
    assert_eq!(Rc::strong_count(&value), 501);
    let snapshot = tree.clone();
    tree.remove_range_by_rank(0, usize::MAX, &mut |_, _| {});
    assert_eq!((Rc::strong_count(&value), snapshot.len(), tree.len()), (501, 500, 0));
    drop(snapshot);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u32),
    Ascending(u32),
    Descending(u32),
    Remove(u32),
    RemoveNear(u32),
    PopFirst,
    PopLast,
    RemoveAt(u32),
    RemoveRange(u32, u32),
    Write(u32),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0u32..4_000;
    prop_oneof![
        8 => key().prop_map(Op::Insert),
        2 => (1u32..300).prop_map(Op::Ascending),
        2 => (1u32..300).prop_map(Op::Descending),
        4 => key().prop_map(Op::Remove),
        4 => key().prop_map(Op::RemoveNear),
        1 => Just(Op::PopFirst),
        1 => Just(Op::PopLast),
        2 => any::<u32>().prop_map(Op::RemoveAt),
        2 => (any::<u32>(), 0u32..400).prop_map(|(at, n)| Op::RemoveRange(at, n)),
        2 => key().prop_map(Op::Write),
        1 => Just(Op::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn behaves_as_a_sorted_map_with_ranks(
        bulk in 0u32..3_000,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let base = 1 << 20;
        let mut tree = CowTree::from_sorted((0..bulk).map(|i| (base + i * 2, i)));
        let mut model: BTreeMap<u32, u32> = (0..bulk).map(|i| (base + i * 2, i)).collect();
        let mut snapshots = Vec::new();
        for (value, op) in (0u32..).zip(ops) {
            match op {
                Op::Insert(key) => {
                    let key = base + key;
                    prop_assert_eq!(tree.insert(key, value), model.insert(key, value));
                }
                Op::Ascending(n) => {
                    let first = model.last_key_value().map_or(base, |(key, _)| key + 1);
                    for key in first..first + n {
                        prop_assert_eq!(tree.insert(key, value), model.insert(key, value));
                    }
                }
                Op::Descending(n) => {
                    let last = model.first_key_value().map_or(base, |(key, _)| *key);
                    for key in (last - n..last).rev() {
                        prop_assert_eq!(tree.insert(key, value), model.insert(key, value));
                    }
                }
                Op::Remove(key) => prop_assert_eq!(tree.remove(&(base + key)), model.remove_entry(&(base + key))),
                Op::RemoveNear(key) => {
                    // A run of neighbours, so that nodes fall below their least width.
                    let keys: Vec<u32> = model.range(base + key..).take(40).map(|(key, _)| *key).collect();
                    for key in keys {
                        prop_assert_eq!(tree.remove_by(|probe| probe.cmp(&key)), model.remove_entry(&key));
                    }
                }
                Op::PopFirst => prop_assert_eq!(tree.pop_first(), model.pop_first()),
                Op::PopLast => prop_assert_eq!(tree.pop_last(), model.pop_last()),
                Op::RemoveAt(at) => {
                    let at = at as usize % (model.len() + 1);
                    let key = model.keys().nth(at).copied();
                    prop_assert_eq!(tree.remove_at(at), key.and_then(|key| model.remove_entry(&key)));
                }
                Op::RemoveRange(at, n) => {
                    let at = at as usize % (model.len() + 1);
                    let keys: Vec<u32> = model.keys().skip(at).take(n as usize).copied().collect();
                    let expected: Vec<_> = keys.iter().filter_map(|key| model.remove_entry(key)).collect();
                    let mut removed = Vec::new();
                    tree.remove_range_by_rank(at, n as usize, &mut |key, value| removed.push((key, value)));
                    prop_assert_eq!(removed, expected);
                }
                Op::Write(key) => {
                    let key = base + key;
                    let found = tree.get_mut(&key).map(|old| *old = value).is_some();
                    prop_assert_eq!(found, model.get_mut(&key).map(|old| *old = value).is_some());
                    if let Some((key, old)) = tree.last_mut() {
                        *old = value;
                        model.insert(*key, value);
                    }
                }
                Op::Snapshot => snapshots.push((tree.clone(), model.clone())),
            }
            prop_assert_eq!(tree.len(), model.len());
            if value % 8 == 0 {
                compare(&tree, &model);
            }
        }
        snapshots.push((tree, model));
        for (tree, model) in snapshots {
            compare(&tree, &model);
            for (rank, (key, value)) in model.iter().enumerate().step_by(3) {
                prop_assert_eq!(tree.at_rank(rank), Some((key, value)));
                prop_assert_eq!(tree.rank(key), Some(rank));
                prop_assert_eq!(tree.get(key), Some(value));
                prop_assert_eq!((tree.lower_bound(key), tree.upper_bound(key)), (rank, rank + 1));
                let absent = key + 1;
                if !model.contains_key(&absent) {
                    prop_assert!(!tree.contains(&absent));
                    prop_assert_eq!(tree.rank(&absent), None);
                    prop_assert_eq!((tree.lower_bound(&absent), tree.upper_bound(&absent)), (rank + 1, rank + 1));
                }
                let sample = rank % 99 == 0;
                if sample {
                    prop_assert!(tree.range(key..).eq(model.range(key..)));
                    prop_assert!(tree.range(..key).rev().eq(model.range(..key).rev()));
                    prop_assert_eq!(tree.count_range(key..), model.len() - rank);
                }
            }
        }
    }
}
