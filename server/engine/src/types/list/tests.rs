use proptest::prelude::*;

use super::*;

const SMALL: ListLimits = ListLimits { fill: 3, plain_min: Some(6) };
const DEFAULT: ListLimits = ListLimits { fill: -2, plain_min: None };

fn contents(list: &List) -> Vec<Vec<u8>> {
    list.iter().map(|element| element.to_vec()).collect()
}

fn list_of(elements: &[&str], limits: &ListLimits) -> List {
    List::from_elements(elements.iter().map(|element| element.as_bytes()), limits)
}

fn check(list: &List, model: &[Vec<u8>]) {
    if let List::Quick(quick) = list {
        quick.check();
    }
    assert_eq!(list.len(), model.len());
    assert_eq!(contents(list), model);
    let back: Vec<_> =
        list.range_back(model.len().saturating_sub(1), usize::MAX).map(|element| element.to_vec()).collect();
    assert!(back.iter().rev().eq(model));
    for end in [End::Left, End::Right] {
        let expected = if end == End::Left { model.first() } else { model.last() };
        assert_eq!(list.end(end).map(|element| element.to_vec()).as_ref(), expected);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<Vec<u8>>),
    Pop(End),
    Set(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(Vec<u8>, usize, End),
    Cut(prop::sample::Index, usize),
    Shrink,
}

fn op() -> impl Strategy<Value = Op> {
    let end = || prop_oneof![Just(End::Left), Just(End::Right)];
    let element = || {
        prop_oneof![
            4 => (0i64..4).prop_map(|i| i.to_string().into_bytes()),
            2 => "[ab]{0,4}".prop_map(String::into_bytes),
            1 => "[xy]{6,9}".prop_map(String::into_bytes),
        ]
    };
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (end(), prop::collection::vec(element(), 1..8)).prop_map(|(end, new)| Op::Push(end, new)),
        2 => end().prop_map(Op::Pop),
        3 => (index(), element()).prop_map(|(at, new)| Op::Set(at, new)),
        4 => (index(), element()).prop_map(|(at, new)| Op::Insert(at, new)),
        2 => (element(), prop_oneof![Just(usize::MAX), 0usize..3], end())
            .prop_map(|(old, max, from)| Op::Remove(old, max, from)),
        1 => (index(), 0usize..12).prop_map(|(at, count)| Op::Cut(at, count)),
        1 => Just(Op::Shrink),
    ]
}

fn apply(op: &Op, list: &mut List, model: &mut Vec<Vec<u8>>, limits: &ListLimits) {
    match op {
        Op::Push(end, new) => {
            let slices: Vec<&[u8]> = new.iter().map(|element| &element[..]).collect();
            list.push_all(*end, &slices, limits);
            for element in new {
                model.insert(if *end == End::Left { 0 } else { model.len() }, element.clone());
            }
        }
        Op::Pop(end) => {
            list.pop(*end);
            if !model.is_empty() {
                model.remove(if *end == End::Left { 0 } else { model.len() - 1 });
            }
        }
        Op::Set(at, new) => {
            let at = at.index(model.len() + 1);
            assert_eq!(list.set(at as i64, new, limits), at < model.len());
            if let Some(slot) = model.get_mut(at) {
                *slot = new.clone();
            }
        }
        Op::Insert(at, new) => {
            let at = at.index(model.len() + 1);
            list.insert(at, new, limits);
            model.insert(at, new.clone());
        }
        Op::Remove(old, max, from) => {
            let mut hits: Vec<usize> = (0..model.len()).filter(|&i| model[i] == *old).collect();
            if *from == End::Right {
                hits.reverse();
            }
            hits.truncate(*max);
            assert_eq!(list.remove_matches(old, *max, *from, limits), hits.len());
            hits.sort_unstable();
            for &i in hits.iter().rev() {
                model.remove(i);
            }
        }
        Op::Cut(at, count) => {
            let at = at.index(model.len() + 1);
            list.remove_range(at, *count, limits);
            model.drain(at..(at + count).min(model.len()));
        }
        Op::Shrink => list.shrink(limits),
    }
}

proptest! {
    #[test]
    fn a_list_is_a_vector(ops in prop::collection::vec(op(), 1..80)) {
        let (mut list, mut model) = (List::new(), Vec::new());
        for op in ops {
            let snapshot = (list.clone(), model.clone());
            apply(&op, &mut list, &mut model, &SMALL);
            check(&list, &model);
            check(&snapshot.0, &snapshot.1);
            for (i, element) in model.iter().enumerate() {
                prop_assert_eq!(&list.get(i as i64).expect("below the length").to_vec(), element);
            }
            prop_assert!(list.get(model.len() as i64).is_none());
        }
    }
}

/// Many chunks: the random operations above never leave the first.
#[test]
fn a_list_of_many_chunks_is_a_vector() {
    let limits = ListLimits { fill: 1, plain_min: None };
    let rng = crate::rng::Rng::new(5);
    let (mut list, mut model) = (List::new(), Vec::new());
    for i in 0..3_000 {
        let element = i.to_string().into_bytes();
        list.push(End::Right, &element[..], &limits);
        model.push(element);
    }
    for round in 0..3_000 {
        let at = rng.below(model.len() as u64) as usize;
        match round % 7 {
            0..=2 => {
                list.insert(at, b"new", &limits);
                model.insert(at, b"new".to_vec());
            }
            3 => {
                let count = rng.below(5) as usize;
                list.remove_range(at, count, &limits);
                model.drain(at..(at + count).min(model.len()));
            }
            4 => {
                assert!(list.set(at as i64, b"set", &limits));
                model[at] = b"set".to_vec();
            }
            5 => {
                list.push(End::Left, b"left", &limits);
                model.insert(0, b"left".to_vec());
            }
            _ => {
                assert_eq!(list.get(at as i64).expect("there").to_vec(), model[at]);
            }
        }
        if round % 100 == 0 {
            check(&list, &model);
        }
    }
    let cut = list.remove_range(100, 1_000, &limits).expect("whole chunks");
    assert!(cut.len() > 500);
    model.drain(100..1_100);
    check(&list, &model);
    let news = model.iter().filter(|element| **element == b"new").count();
    assert_eq!(list.remove_matches(b"new", usize::MAX, End::Right, &limits), news);
    model.retain(|element| element != b"new");
    check(&list, &model);
}

#[test]
fn a_list_grows_out_of_its_listpack_and_goes_back_below_half() {
    let limits = ListLimits { fill: 4, plain_min: None };
    let mut list = list_of(&["a", "b", "c", "d"], &limits);
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Right, b"e", &limits);
    assert_eq!(list.encoding(), "quicklist");
    for (left, encoding) in [(4, "quicklist"), (3, "quicklist"), (2, "listpack")] {
        list.pop(End::Right);
        list.shrink(&limits);
        assert_eq!((list.len(), list.encoding()), (left, encoding));
    }
}

#[test]
fn odd_limits_mean_what_redis_makes_of_them() {
    let zero = ListLimits { fill: 0, plain_min: None };
    assert_eq!(list_of(&["a"], &zero).encoding(), "listpack");
    assert_eq!(list_of(&["a", "b"], &zero).encoding(), "quicklist");
    let far = ListLimits { fill: -6, plain_min: None };
    let mut list = list_of(&[&"x".repeat(60_000)], &far);
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Right, &[b'x'; 5_536], &far);
    assert_eq!(list.encoding(), "quicklist");
}

#[test]
fn a_large_element_stands_alone_until_it_is_replaced() {
    let large = "x".repeat(9_000);
    let mut list = list_of(&["a", "b", "c"], &DEFAULT);
    list.set(1, large.as_bytes(), &DEFAULT);
    assert_eq!((list.encoding(), list.node_count()), ("quicklist", 3));
    assert!(matches!(list.nodes().nth(1), Some(ListNode::Plain(bytes)) if bytes == large.as_bytes()));
    list.set(1, b"B", &DEFAULT);
    list.shrink(&DEFAULT);
    assert_eq!((list.encoding(), list.node_count()), ("listpack", 1));
    assert_eq!(contents(&list), [b"a", b"B", b"c"]);
}

#[test]
fn nodes_from_a_file_become_a_listpack_when_they_fit() {
    let pack = |elements: &[&'static str]| {
        let mut pack = Listpack::new();
        elements.iter().for_each(|element| pack.append(element.as_bytes()));
        pack
    };
    let mut loader = ListLoader::new();
    assert!(ListLoader::new().finish(&SMALL).is_none());
    loader.packed(pack(&[]));
    loader.packed(pack(&["a", "b"]));
    let list = loader.finish(&SMALL).expect("elements");
    assert_eq!((list.encoding(), contents(&list)), ("listpack", vec![b"a".to_vec(), b"b".to_vec()]));

    let mut loader = ListLoader::new();
    loader.packed(pack(&["a", "b"]));
    loader.plain(SharedBuf::from_slice(b"large"));
    let list = loader.finish(&SMALL).expect("elements");
    assert_eq!((list.encoding(), list.node_count(), list.len()), ("quicklist", 2, 3));
    let copy = list.nodes().fold(ListLoader::new(), |mut loader, node| {
        match node {
            ListNode::Packed(pack) => loader.packed(pack.clone()),
            ListNode::Plain(bytes) => loader.plain(SharedBuf::from_slice(bytes)),
        }
        loader
    });
    assert_eq!(contents(&copy.finish(&SMALL).expect("elements")), contents(&list));
}

#[test]
fn a_push_after_a_snapshot_copies_one_node_and_a_small_spine() {
    let mut list = List::new();
    for i in 0..100_000u32 {
        list.push(End::Right, format!("{i:0500}").as_bytes(), &DEFAULT);
    }
    let snapshot = list.clone();
    list.push(End::Right, b"last", &DEFAULT);
    let (List::Quick(old), List::Quick(new)) = (&snapshot, &list) else { panic!("a long list") };
    let of_snapshot: std::collections::HashSet<_> = snapshot
        .nodes()
        .filter_map(|node| match node {
            ListNode::Packed(pack) => Some(pack.bytes().as_ptr()),
            ListNode::Plain(_) => None,
        })
        .collect();
    let own = list
        .nodes()
        .filter(
            |node| matches!(node, ListNode::Packed(pack) if !of_snapshot.contains(&pack.bytes().as_ptr())),
        )
        .count();
    assert_eq!(own, 1);
    let (chunks, chunk) = new.spine_bytes();
    assert!(chunks * 100 + chunk < 100_000, "of ten million elements: {chunks} * 100 + {chunk} bytes");
    assert_eq!(old.len() + 1, new.len());
}

#[test]
fn the_heap_size_is_that_of_all_nodes() {
    let mut list = List::new();
    for i in 0..10_000 {
        list.push(End::Right, i64::from(i), &DEFAULT);
    }
    let bytes: usize = list
        .nodes()
        .map(|node| match node {
            ListNode::Packed(pack) => pack.bytes().len(),
            ListNode::Plain(bytes) => bytes.len(),
        })
        .sum();
    let all = list.heap_size(0);
    assert!(all > bytes && all < bytes * 5 / 4, "{all} for {bytes}");
    let sampled = list.heap_size(2);
    assert!(sampled.abs_diff(all) < all / 4, "{sampled} for {all}");
}
