use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ds::listpack::Item;

const SEED: HashSeed = HashSeed::new([1, 2, 3, 4]);

fn limits(entries: usize) -> Limits {
    Limits { entries, value: 20, seed: SEED }
}

fn pairs(set: &Zset) -> Vec<(Vec<u8>, f64)> {
    set.iter().map(|(member, score)| (member.to_vec(), score)).collect()
}

fn of(pairs: &[(&str, f64)], entries: usize) -> Zset {
    let limits = limits(entries);
    let mut set = Zset::new(&limits, 0, 0);
    for (member, score) in pairs {
        set.insert(member.as_bytes(), *score, &limits);
    }
    set
}

/// Both forms.
fn both(pairs: &[(&str, f64)]) -> [Zset; 2] {
    let sets = [of(pairs, 100), of(pairs, 0)];
    assert_eq!(sets.each_ref().map(Zset::encoding), ["listpack", "skiplist"]);
    sets
}

fn lex(set: &Zset, min: LexBound<'_>, max: LexBound<'_>) -> String {
    let ranks = set.ranks_by_lex(&LexRange { min, max });
    let texts = set.range(ranks, false).map(|(member, _)| String::from_utf8(member.to_vec()).unwrap());
    texts.collect()
}

#[test]
fn it_outgrows_the_listpack_by_number_by_length_and_never_shrinks_back() {
    let limits = limits(2);
    let mut set = of(&[("a", 1.0), ("b", 2.0)], 2);
    assert_eq!(set.insert(b"a", 3.0, &limits), Some(1.0));
    assert_eq!(set.encoding(), "listpack");
    set.insert(b"c", 3.0, &limits);
    assert_eq!(set.encoding(), "skiplist");
    set.remove(b"c");
    assert_eq!(set.encoding(), "skiplist");

    let mut set = of(&[("a", 1.0)], 2);
    set.insert(&[b'x'; 20], 0.0, &limits);
    assert_eq!(set.encoding(), "listpack");
    set.remove(b"a");
    set.insert(&[b'x'; 21], 0.0, &limits);
    assert_eq!(set.encoding(), "skiplist");
    assert_eq!(Zset::new(&limits, 3, 0).encoding(), "skiplist");
    assert_eq!(Zset::new(&limits, 2, 21).encoding(), "skiplist");
}

#[test]
fn the_listpack_is_laid_out_as_redis_does() {
    let set = of(&[("b", 1.5), ("7", -3.0), ("inf", f64::INFINITY), ("big", 1e20)], 10);
    let items: Vec<String> = set
        .as_listpack()
        .unwrap()
        .iter()
        .map(|item| match item {
            Item::Int(i) => format!("int {i}"),
            Item::Str(s) => String::from_utf8(s.to_vec()).unwrap(),
        })
        .collect();
    assert_eq!(items, ["int 7", "int -3", "b", "1.5", "big", "1e+20", "inf", "inf"]);
}

#[test]
fn equal_scores_are_ordered_by_member_and_both_zeros_are_equal() {
    for set in both(&[("b", 0.0), ("10", 0.0), ("a", -0.0), ("9", 0.0), ("c", -1.0)]) {
        let members: Vec<Vec<u8>> = set.iter().map(|(member, _)| member.to_vec()).collect();
        assert_eq!(members, [&b"c"[..], b"10", b"9", b"a", b"b"]);
        assert_eq!(set.rank(b"a").unwrap().0, 3);
    }
}

#[test]
fn ranges_of_scores_know_exclusive_and_infinite_bounds() {
    let inf = f64::INFINITY;
    for set in both(&[("a", 1.0), ("b", 2.0), ("c", 2.0), ("d", 3.0), ("e", inf)]) {
        let ranks = |min, min_exclusive, max, max_exclusive| {
            set.ranks_by_score(&ScoreRange {
                min: ScoreBound { score: min, exclusive: min_exclusive },
                max: ScoreBound { score: max, exclusive: max_exclusive },
            })
        };
        assert_eq!(ranks(-inf, false, inf, false), 0..5);
        assert_eq!(ranks(-inf, false, inf, true), 0..4);
        assert_eq!(ranks(2.0, false, 2.0, false), 1..3);
        assert_eq!(ranks(1.0, true, 3.0, true), 1..3);
        assert!(ranks(2.0, true, 2.0, false).is_empty());
        assert!(ranks(3.0, false, 1.0, false).is_empty());
    }
}

#[test]
fn ranges_of_texts_know_their_bounds() {
    use LexBound::*;
    for set in both(&[("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)]) {
        assert_eq!(lex(&set, Lowest, Highest), "abcd");
        assert_eq!(lex(&set, Inclusive(b"b"), Inclusive(b"c")), "bc");
        assert_eq!(lex(&set, Exclusive(b"b"), Exclusive(b"d")), "c");
        assert_eq!(lex(&set, Exclusive(b""), Inclusive(b"aa")), "a");
        assert_eq!(lex(&set, Highest, Lowest), "");
        assert_eq!(lex(&set, Lowest, Lowest), "");
        assert_eq!(lex(&set, Inclusive(b"c"), Inclusive(b"a")), "");
    }
}

#[test]
fn a_listpack_from_outside_is_checked() {
    let limits = limits(10);
    let listpack = |items: &[&str]| {
        let mut listpack = Listpack::new();
        items.iter().for_each(|item| listpack.append(item.as_bytes()));
        listpack
    };
    let load = |items: &[&str]| Zset::from_listpack(listpack(items), &limits);
    assert_eq!(load(&["a"]).unwrap_err(), ZsetError::OddLength);
    assert_eq!(load(&["a", "nan"]).unwrap_err(), ZsetError::BadScore);
    assert_eq!(load(&["a", "x"]).unwrap_err(), ZsetError::BadScore);
    assert_eq!(load(&["a", "1", "a", "2"]).unwrap_err(), ZsetError::DuplicateMember);
    assert_eq!(load(&["a", "2", "b", "1", "a", "1"]).unwrap_err(), ZsetError::DuplicateMember);
    assert_eq!(pairs(&load(&["b", "2", "a", "1.5"]).unwrap()), [(b"a".to_vec(), 1.5), (b"b".to_vec(), 2.0)]);
    let sorted = listpack(&["a", "-inf", "b", "1", "c", "1"]);
    let set = Zset::from_listpack(sorted.clone(), &limits).unwrap();
    assert_eq!(set.as_listpack().unwrap().bytes(), sorted.bytes());
    let few = Limits { entries: 2, ..limits };
    assert_eq!(Zset::from_listpack(sorted, &few).unwrap().encoding(), "skiplist");
}

#[test]
fn long_members_are_stored_once_for_both_halves() {
    let limits = limits(0);
    let mut set = Zset::new(&limits, 1, 0);
    let empty = set.heap_size(0);
    set.insert(&[b'x'; 10_000], 1.0, &limits);
    let size = set.heap_size(0) - empty;
    assert!((10_000..13_000).contains(&size), "{size}");
}

#[test]
fn a_large_set_takes_less_than_a_skiplist_would() {
    let pairs = (0..100_000u32).map(|i| (Member::from(format!("member:{i}").as_str()), f64::from(i)));
    let set = Zset::from_pairs(pairs, &limits(128)).unwrap();
    // Redis 7.0.15 says 104 bytes per member of these (MEMORY USAGE z SAMPLES 0).
    let per_member = set.heap_size(0) / set.len();
    assert!((48..70).contains(&per_member), "{per_member}");
}

/// What a test does to a set and to its model.
#[derive(Clone, Debug)]
enum Op {
    Insert(u8, i8),
    Remove(u8),
    RemoveRange(u8, u8),
    Snapshot,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (any::<u8>(), any::<i8>()).prop_map(|(member, score)| Op::Insert(member, score)),
        3 => any::<u8>().prop_map(Op::Remove),
        1 => (any::<u8>(), 0..8u8).prop_map(|(start, len)| Op::RemoveRange(start, len)),
        1 => Just(Op::Snapshot),
    ];
    prop::collection::vec(op, 0..300)
}

/// Some are numbers, some long.
fn member(number: u8) -> Vec<u8> {
    match number % 3 {
        0 => number.to_string().into_bytes(),
        1 => format!("m{number}").into_bytes(),
        _ => format!("a long member, number {number}").into_bytes(),
    }
}

/// Whole numbers and others.
fn score(number: i8) -> f64 {
    f64::from(number / 4) / 2.0
}

fn in_order(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut sorted: Vec<(Vec<u8>, f64)> =
        model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    sorted.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    sorted
}

proptest! {
    #[test]
    fn it_behaves_as_the_model_does(ops in ops(), entries in prop_oneof![Just(0), Just(20), Just(1000)]) {
        let limits = Limits { entries, value: 1000, seed: SEED };
        let mut set = Zset::new(&limits, 0, 0);
        let mut model = BTreeMap::new();
        let mut snapshots = Vec::new();
        for op in ops {
            match op {
                Op::Insert(m, s) => {
                    let (m, s) = (member(m), score(s));
                    prop_assert_eq!(set.insert(&m, s, &limits), model.insert(m, s));
                }
                Op::Remove(m) => {
                    let m = member(m);
                    prop_assert_eq!(set.remove(&m), model.remove(&m));
                }
                Op::RemoveRange(start, len) => {
                    let start = usize::from(start);
                    let count = set.remove_range(start..start + usize::from(len));
                    let expected: Vec<_> =
                        in_order(&model).into_iter().skip(start).take(usize::from(len)).collect();
                    prop_assert_eq!(count, expected.len());
                    for (member, _) in &expected {
                        model.remove(member);
                    }
                }
                Op::Snapshot => snapshots.push((set.clone(), in_order(&model))),
            }
        }

        let expected = in_order(&model);
        prop_assert_eq!(set.len(), expected.len());
        prop_assert_eq!(&pairs(&set), &expected);
        for (rank, (member, score)) in expected.iter().enumerate() {
            prop_assert_eq!(set.rank(member), Some((rank, *score)));
            prop_assert_eq!(set.score(member), Some(*score));
            prop_assert_eq!(set.at_rank(rank).unwrap().0.to_vec(), &member[..]);
        }
        let third = expected.len() / 3;
        let mut back: Vec<_> = set
            .range(third..2 * third, true)
            .map(|(member, score)| (member.to_vec(), score))
            .collect();
        back.reverse();
        prop_assert_eq!(&back[..], &expected[third..2 * third]);

        let mut scanned = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 10, &mut |member, score| {
                scanned.insert(member.to_vec(), score);
            });
            if cursor == 0 { break; }
        }
        prop_assert_eq!(scanned, model);

        let shuffled = expected.iter().rev().map(|(member, score)| (Member::from(&member[..]), *score));
        prop_assert_eq!(&pairs(&Zset::from_pairs(shuffled, &limits).unwrap()), &expected);
        if let Some(listpack) = set.as_listpack() {
            let reread = Listpack::from_bytes(listpack.as_shared().clone()).unwrap();
            prop_assert_eq!(&pairs(&Zset::from_listpack(reread, &limits).unwrap()), &expected);
        }
        for (snapshot, then) in snapshots {
            prop_assert_eq!(pairs(&snapshot), then);
        }
    }
}
