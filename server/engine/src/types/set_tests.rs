use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

const LIMITS: SetLimits =
    SetLimits { max_ints: 12, max_packed: 8, max_value: 10, seed: HashSeed::new([1, 2, 3, 4]) };

fn set_of<'a>(members: impl IntoIterator<Item = &'a str>) -> Set {
    let mut set = Set::Ints(Intset::new());
    members.into_iter().for_each(|member| {
        set.insert(member.as_bytes(), &LIMITS);
    });
    set
}

fn numbered(count: usize, prefix: &str) -> Set {
    let members: Vec<String> = (0..count).map(|i| format!("{prefix}{i}")).collect();
    set_of(members.iter().map(String::as_str))
}

fn contents(set: &Set) -> HashSet<Vec<u8>> {
    let members: HashSet<_> = set.iter().map(|member| member.to_vec()).collect();
    assert_eq!((members.len(), set.iter().count()), (set.len(), set.len()));
    members
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-10i64..20).prop_map(|i| i.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
        2 => "[ab]{0,3}".prop_map_into(),
        1 => "0[0-9]{0,11}".prop_map_into(),
    ]
}

proptest! {
    #[test]
    fn a_set_is_a_set(ops in prop::collection::vec((0..3u8, member()), 1..100)) {
        let mut model = HashSet::new();
        let mut set = Set::Ints(Intset::new());
        for (op, member) in ops {
            let snapshot = (set.clone(), model.clone());
            if op < 2 {
                prop_assert_eq!(set.insert(&member[..], &LIMITS), model.insert(member));
            } else {
                prop_assert_eq!(set.remove(&member[..]), model.remove(&member));
            }
            prop_assert_eq!(contents(&set), model.clone());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(model.iter().all(|member| set.contains(&member[..])));
            prop_assert!(!set.contains(b"absent") && !set.contains(99));
            prop_assert_eq!(contents(&snapshot.0), snapshot.1, "a snapshot stays as it was");
        }
    }

    #[test]
    fn what_is_built_depends_on_the_members_alone(
        members in prop::collection::hash_set(member(), 0..30).prop_map(Vec::from_iter),
        max_ints in 0usize..20,
        max_packed in 0usize..20,
        rng in any::<u64>(),
    ) {
        let limits = SetLimits { max_ints, max_packed, ..LIMITS };
        let build = |members: &[Vec<u8>]| {
            let mut builder = SetBuilder::new(&limits);
            members.iter().for_each(|member| assert!(builder.insert(Elem::Bytes(member))));
            builder.finish()
        };
        let rng = Rng::new(rng);
        let mut shuffled = members.clone();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let (one, other) = (build(&members), build(&shuffled));
        prop_assert_eq!(one.encoding(), other.encoding());
        prop_assert_eq!(contents(&one), contents(&other));
        let ints = members.iter().all(|member| Elem::Bytes(member).as_int().is_some());
        let short = members.iter().all(|member| member.len() <= limits.max_value);
        let expected = match members.len() {
            len if ints && len <= max_ints => "intset",
            len if !ints && short && len <= max_packed => "listpack",
            _ => "hashtable",
        };
        prop_assert_eq!(one.encoding(), expected);
    }

    #[test]
    fn a_scan_visits_every_member_once(members in 0usize..2000, count in 1usize..50) {
        let set = numbered(members, "m");
        let mut seen = HashSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, count, &mut |member| assert!(seen.insert(member.to_vec())));
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(seen, contents(&set));
    }

    #[test]
    fn what_is_popped_is_gone(len in 1usize..40, count in 0usize..50, prefix in "m?", rng in any::<u64>()) {
        let rng = Rng::new(rng);
        let mut set = numbered(len, &prefix);
        let (before, encoding) = (contents(&set), set.encoding());
        let popped = set.pop_many(count, &rng);
        prop_assert_eq!(popped.len(), count.min(len));
        let popped: HashSet<Vec<u8>> = popped.iter().map(|member| member.to_vec()).collect();
        let rest = contents(&set);
        prop_assert!(rest.is_disjoint(&popped));
        prop_assert_eq!(rest.union(&popped).cloned().collect::<HashSet<_>>(), before);
        prop_assert_eq!(set.encoding(), encoding);
    }
}

#[test]
fn the_first_member_and_the_expected_number_choose_the_encoding() {
    let encoding = |first: &str, expected| Set::for_members(first.as_bytes(), expected, &LIMITS).encoding();
    assert_eq!(encoding("1", 12), "intset");
    assert_eq!(encoding("1", 13), "hashtable");
    assert_eq!(encoding("a", 8), "listpack");
    assert_eq!(encoding("a", 9), "hashtable");
    assert_eq!(encoding("01", 1), "listpack", "not the canonical form of an integer");
}

#[test]
fn encodings_change_where_redis_changes_them() {
    assert_eq!(numbered(12, "").encoding(), "intset");
    assert_eq!(numbered(13, "").encoding(), "hashtable");
    assert_eq!(numbered(8, "m").encoding(), "listpack");
    assert_eq!(numbered(9, "m").encoding(), "hashtable");
    assert_eq!(set_of(["1", "2", "a"]).encoding(), "listpack");
    assert_eq!(set_of(["1", "2", "eleven bytes"]).encoding(), "hashtable");
    assert_eq!(set_of(["12345678901", "a"]).encoding(), "hashtable", "its text is too long");
    assert_eq!(set_of(["-1234567890", "a"]).encoding(), "hashtable", "its text is too long");
    let mut full = numbered(8, "");
    full.insert(b"a", &LIMITS);
    assert_eq!((full.encoding(), full.len()), ("hashtable", 9), "no room for one more");
    let mut shrunk = numbered(9, "m");
    (0..8).for_each(|i| assert!(shrunk.remove(format!("m{i}").as_bytes())));
    assert_eq!((shrunk.encoding(), shrunk.len()), ("hashtable", 1), "never back");
}

#[test]
fn many_members_at_once_make_a_table() {
    for (mut set, members, encoding) in [
        (set_of(["1"]), 12, "intset"),
        (set_of(["1"]), 13, "hashtable"),
        (set_of(["a"]), 8, "listpack"),
        (set_of(["a"]), 9, "hashtable"),
    ] {
        set.expect_members(members, &LIMITS);
        assert_eq!((set.encoding(), set.len()), (encoding, 1));
    }
}

#[test]
fn random_members_are_uniform_in_every_encoding() {
    const HITS: usize = 2_000;
    let rng = Rng::new(3);
    for set in [numbered(5, ""), numbered(5, "m"), numbered(500, "m")] {
        let mut hits = std::collections::HashMap::<Vec<u8>, usize>::new();
        for _ in 0..HITS * set.len() {
            *hits.entry(set.random(&rng).expect("not empty").to_vec()).or_default() += 1;
        }
        assert_eq!(hits.len(), set.len());
        let mut drawn = 0;
        set.draw(HITS, &rng, |member| drawn += usize::from(set.contains(member)));
        assert_eq!(drawn, HITS);
        assert!(hits.values().all(|&n| n.abs_diff(HITS) < HITS / 7), "{hits:?}");
    }
    assert!(set_of([]).random(&rng).is_none());
}

#[test]
fn a_sample_has_no_member_twice() {
    let rng = Rng::new(5);
    for set in [numbered(6, ""), numbered(6, "m"), numbered(900, "m")] {
        for count in [2, 6, 800, 2000] {
            let mut seen = HashSet::new();
            set.sample(count, &rng, |member| assert!(seen.insert(member.to_vec())));
            assert_eq!(seen.len(), count.min(set.len()));
            assert!(seen.is_subset(&contents(&set)));
        }
    }
}

#[test]
fn compact_bytes_from_outside_are_checked() {
    let ints = |count: i64| {
        let mut ints = Intset::new();
        (0..count).for_each(|i| assert!(ints.insert(i)));
        Set::from_intset(ints, &LIMITS).map(|set| (set.encoding(), set.len()))
    };
    assert_eq!(ints(0), Err(ElementsError::Empty));
    assert_eq!(ints(12), Ok(("intset", 12)));
    assert_eq!(ints(13), Ok(("hashtable", 13)));
    let pack = |items: &[&str]| {
        let mut pack = Listpack::new();
        items.iter().for_each(|item| pack.append(item.as_bytes()));
        Set::from_listpack(pack, &LIMITS).map(|set| (set.encoding(), set.len()))
    };
    assert_eq!(pack(&[]), Err(ElementsError::Empty));
    assert_eq!(pack(&["a", "b", "a"]), Err(ElementsError::Duplicate));
    assert_eq!(pack(&["a", "b", "7"]), Ok(("listpack", 3)));
    assert_eq!(pack(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]), Ok(("hashtable", 9)));
}

#[test]
fn the_heap_is_counted() {
    let small = numbered(3, "m");
    assert_eq!(small.heap_size(5), small.as_listpack().expect("compact").as_shared().heap_size());
    let mut large = numbered(1000, "m");
    let before = large.heap_size(0);
    assert!(before.abs_diff(large.heap_size(10)) < before / 20);
    large.insert(&[b'x'; 5000], &LIMITS);
    assert!(large.heap_size(0) >= before + 5000);
    assert_eq!((small.drop_effort(), large.drop_effort()), (1, 1001));
}
