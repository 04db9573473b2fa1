use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::ds::SharedBuf;
use crate::rng::Rng;

const LIMITS: HashLimits = HashLimits { max_packed: 8, max_value: 16, seed: HashSeed::new([1, 2, 3, 4]) };

fn filled(fields: usize) -> Hash {
    let mut hash = Hash::new();
    for i in 0..fields {
        hash.set(format!("field:{i}").as_bytes(), i as i64, &LIMITS);
    }
    hash
}

fn contents(hash: &Hash) -> HashMap<Vec<u8>, Vec<u8>> {
    let map: HashMap<_, _> = hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
    assert_eq!((map.len(), hash.iter().count()), (hash.len(), hash.len()));
    map
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>),
    SetInt(Vec<u8>, i64),
    Remove(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let name =
        || prop_oneof![(0i64..30).prop_map(|i| i.to_string().into_bytes()), "[ab]{0,3}".prop_map_into()];
    let value =
        prop_oneof![any::<i64>().prop_map(|i| i.to_string().into_bytes()), "[a-z]{0,20}".prop_map_into()];
    prop_oneof![
        4 => (name(), value).prop_map(|(field, value)| Op::Set(field, value)),
        1 => (name(), any::<i64>()).prop_map(|(field, value)| Op::SetInt(field, value)),
        3 => name().prop_map(Op::Remove),
    ]
}

proptest! {
    #[test]
    fn a_hash_is_a_map(ops in prop::collection::vec(op(), 1..120)) {
        let mut model = HashMap::<Vec<u8>, Vec<u8>>::new();
        let mut hash = Hash::new();
        let mut fits = true;
        for op in ops {
            let snapshot = (hash.clone(), model.clone());
            match op {
                Op::Set(field, value) => {
                    fits &= value.len().max(field.len()) <= LIMITS.max_value;
                    prop_assert_eq!(hash.set(&field, &value[..], &LIMITS), !model.contains_key(&field));
                    model.insert(field, value);
                }
                Op::SetInt(field, value) => {
                    fits &= value.to_string().len() <= LIMITS.max_value;
                    prop_assert_eq!(hash.set(&field, value, &LIMITS), !model.contains_key(&field));
                    model.insert(field, value.to_string().into_bytes());
                }
                Op::Remove(field) => prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
            }
            fits &= model.len() <= LIMITS.max_packed;
            prop_assert_eq!(hash.encoding(), if fits { "listpack" } else { "hashtable" });
            prop_assert_eq!(contents(&hash), model.clone());
            prop_assert_eq!(hash.is_empty(), model.is_empty());
            for (field, value) in &model {
                prop_assert!(hash.contains(field));
                prop_assert_eq!(hash.get(field).map(|value| value.to_vec()), Some(value.clone()));
            }
            prop_assert!(hash.get(b"absent").is_none() && !hash.contains(b"absent"));
            prop_assert_eq!(contents(&snapshot.0), snapshot.1, "a snapshot stays as it was");
        }
    }

    #[test]
    fn a_scan_visits_every_field_once(fields in 0usize..2000, count in 1usize..50) {
        let hash = filled(fields);
        let mut seen = HashMap::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, count, &mut |field, value| {
                assert_eq!(seen.insert(field.to_vec(), value.to_vec()), None);
            });
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(seen, contents(&hash));
    }
}

#[test]
fn many_fields_at_once_make_a_table() {
    assert_eq!(Hash::for_fields(8, &LIMITS).encoding(), "listpack");
    assert_eq!(Hash::for_fields(9, &LIMITS).encoding(), "hashtable");
}

#[test]
fn a_value_may_become_too_long_for_a_listpack() {
    let mut hash = filled(2);
    hash.set(b"field:0", b"12345678901234567", &LIMITS);
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 2));
    assert_eq!(hash.get(b"field:1").and_then(|value| value.as_int()), Some(1));
}

#[test]
fn random_fields_are_uniform_in_both_encodings() {
    const ROUNDS: usize = 10_000;
    let rng = Rng::new(3);
    for fields in [5, 500] {
        let hash = filled(fields);
        let mut hits = HashMap::<i64, usize>::new();
        for _ in 0..ROUNDS * fields / 5 {
            let (field, value) = hash.random(&rng).expect("not empty");
            let number = value.as_int().expect("filled with integers");
            assert_eq!(field.to_vec(), format!("field:{number}").into_bytes());
            *hits.entry(number).or_default() += 1;
        }
        let expected = ROUNDS / 5;
        assert_eq!(hits.len(), fields);
        assert!(hits.values().all(|&n| n.abs_diff(expected) < expected / 7), "{hits:?}");
    }
    assert!(Hash::new().random(&rng).is_none());
    Hash::new().draw(3, &rng, |_, _| panic!("nothing to draw"));
    for fields in [5, 500] {
        let hash = filled(fields);
        let mut drawn = HashMap::<i64, usize>::new();
        hash.draw(ROUNDS, &rng, |field, value| {
            assert!(hash.get(&field.to_vec()).is_some_and(|v| v.to_vec() == value.to_vec()));
            *drawn.entry(value.as_int().expect("filled with integers")).or_default() += 1;
        });
        assert_eq!((drawn.len(), drawn.values().sum::<usize>()), (fields, ROUNDS));
    }
}

#[test]
fn a_sample_has_no_field_twice() {
    let rng = Rng::new(5);
    for (fields, count) in [(6, 2), (6, 6), (6, 9), (900, 3), (900, 800), (900, 2000)] {
        let hash = filled(fields);
        let mut seen = HashMap::new();
        hash.sample(count, &rng, |field, value| {
            assert_eq!(seen.insert(field.to_vec(), value.to_vec()), None)
        });
        assert_eq!(seen.len(), count.min(fields));
        assert!(seen.iter().all(|(field, value)| hash.get(field).is_some_and(|v| v.to_vec() == *value)));
    }
}

#[test]
fn a_listpack_from_outside_is_checked() {
    let pack = |items: &[&[u8]]| {
        let mut pack = Listpack::new();
        items.iter().for_each(|&item| pack.append(item));
        pack
    };
    let load = |pack| Hash::from_listpack(pack, &LIMITS).map(|hash| (hash.encoding(), hash.len()));
    assert_eq!(load(pack(&[])), Err(ElementsError::Empty));
    assert_eq!(load(pack(&[b"a", b"1", b"b"])), Err(ElementsError::NotPairs { count: 3 }));
    assert_eq!(load(pack(&[b"1", b"x", b"1", b"y"])), Err(ElementsError::Duplicate));
    assert_eq!(load(pack(&[b"a", b"x", b"b", b"x"])), Ok(("listpack", 2)));
    let many = filled(8);
    let mut many = many.as_listpack().expect("compact").clone();
    assert_eq!(load(many.clone()), Ok(("listpack", 8)));
    many.append_many([&b"ninth"[..], b"9"]);
    assert_eq!(load(many), Ok(("hashtable", 9)));
    // The string "7" beside the integer 7, which no encoder of ours writes.
    let raw = [15, 0, 0, 0, 4, 0, 7, 1, 1, 1, 0x81, b'7', 2, 1, 1];
    let mut raw = raw.to_vec();
    raw.push(0xff);
    raw[0] = raw.len() as u8;
    let raw = Listpack::from_bytes(SharedBuf::from_slice(&raw)).expect("a listpack");
    assert_eq!(load(raw), Err(ElementsError::Duplicate));
}

#[test]
fn the_heap_is_counted() {
    let small = filled(3);
    assert_eq!(small.heap_size(5), small.as_listpack().expect("compact").as_shared().heap_size());
    let mut large = filled(1000);
    let (before, sampled) = (large.heap_size(0), large.heap_size(10));
    assert!(before.abs_diff(sampled) < before / 20, "{before} {sampled}");
    large.set(b"field:0", &[b'x'; 5000], &LIMITS);
    assert!(large.heap_size(0) >= before + 5000);
    assert_eq!((small.drop_effort(), large.drop_effort()), (1, 1000));
}

proptest! {
    /// Times come with fields, go with them and with their values, and change nothing else.
    #[test]
    fn times_belong_to_fields(ops in prop::collection::vec((0u8..6, 0u8..14, 0i64..6), 1..150)) {
        let mut model = HashMap::<Vec<u8>, (i64, Option<i64>)>::new();
        let mut hash = Hash::new();
        for (op, number, n) in ops {
            let field = format!("field {number}").split_off(usize::from(number % 2) * 5).into_bytes();
            let snapshot = (hash.clone(), model.clone());
            match op {
                0 => {
                    hash.set(&field, n, &LIMITS);
                    model.insert(field, (n, None));
                }
                1 => {
                    hash.set_keeping_time(&field, n, &LIMITS);
                    model.entry(field).or_default().0 = n;
                }
                2 => prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                3 => {
                    let old_ms = model.get_mut(&field).and_then(|(_, at_ms)| at_ms.take());
                    prop_assert_eq!(hash.persist(&field), old_ms.is_some());
                }
                _ => {
                    if let Some((_, at_ms)) = model.get_mut(&field) {
                        hash.set_time(&field, n, LIMITS.seed);
                        *at_ms = Some(n);
                    }
                }
            }
            for (hash, model) in [(&hash, &model), (&snapshot.0, &snapshot.1)] {
                let values = model.iter().map(|(field, (value, _))| (field.clone(), value.to_string().into_bytes()));
                prop_assert_eq!(contents(hash), values.collect());
                let timed = || model.iter().filter_map(|(field, (_, at_ms))| Some((at_ms.as_ref()?, field)));
                for (field, (_, at_ms)) in model {
                    prop_assert_eq!(hash.time_of(field), *at_ms);
                }
                prop_assert_eq!(hash.has_times(), timed().next().is_some());
                prop_assert_eq!(hash.next_time(), timed().map(|(at_ms, _)| *at_ms).min());
                let mut due: Vec<_> = timed().filter(|(at_ms, _)| **at_ms <= 3).collect();
                due.sort();
                let due: Vec<Vec<u8>> = due.into_iter().map(|(_, field)| field.clone()).collect();
                let found: Vec<Vec<u8>> = hash.due_by(3, 5).into_iter().map(|field| field.to_vec()).collect();
                prop_assert_eq!(&found[..], &due[..due.len().min(5)]);
                prop_assert_eq!(hash.is_gone_by(3), !due.is_empty() && due.len() == model.len());
                let plain = if hash.as_listpack().is_some() { "listpack" } else { "hashtable" };
                let encoding = if hash.has_times() && plain == "listpack" { "listpackex" } else { plain };
                prop_assert_eq!(hash.encoding(), encoding);
            }
        }
    }
}
