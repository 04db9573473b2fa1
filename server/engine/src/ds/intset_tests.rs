use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn set(values: &[i64]) -> Intset {
    let mut set = Intset::new();
    values.iter().for_each(|&value| assert!(set.insert(value)));
    set
}

/// From the DUMP of redis-server 7.0.15 after `SADD i 3 -1 …`, one for each width.
#[test]
fn bytes_are_those_of_redis() {
    let golden: [(&[i64], &[u8]); 3] = [
        (&[3, -1, 300], &[2, 0, 0, 0, 3, 0, 0, 0, 0xFF, 0xFF, 3, 0, 0x2C, 1]),
        (
            &[3, -1, -70_000],
            &[4, 0, 0, 0, 3, 0, 0, 0, 0x90, 0xEE, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 3, 0, 0, 0],
        ),
        (
            &[3, -1, 5_000_000_000],
            &[
                8, 0, 0, 0, 3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 3, 0, 0, 0, 0, 0, 0,
                0, 0, 0xF2, 5, 0x2A, 1, 0, 0, 0,
            ],
        ),
    ];
    for (values, bytes) in golden {
        assert_eq!(set(values).bytes(), bytes);
        let read = Intset::from_bytes(SharedBuf::from_slice(bytes)).expect("from Redis");
        assert!(values.iter().all(|&value| read.contains(value)));
    }
}

#[test]
fn the_width_never_shrinks() {
    let mut set = set(&[1, i64::MAX]);
    assert!(set.remove(i64::MAX));
    assert_eq!((set.width(), set.len(), set.get(0), set.get(1)), (8, 1, Some(1), None));
}

#[test]
fn each_kind_of_damage_has_its_error() {
    use IntsetError::*;
    assert_eq!(validate(&[2, 0, 0, 0, 0, 0, 0]), Err(TooShort { len: 7 }));
    assert_eq!(validate(&[2, 0, 0, 0, 0, 0, 0, 0]), Err(Empty));
    assert_eq!(validate(&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Err(BadWidth { width: 3 }));
    assert_eq!(validate(&[2, 0, 0, 0, 1, 0, 0, 0, 1]), Err(LenMismatch { expected: 10, actual: 9 }));
    let huge = [8, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(validate(&huge), Err(LenMismatch { expected: 8 + 8 * 0xFFFF_FFFF, actual: 8 }));
    assert_eq!(validate(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0]), Err(NotAscending { index: 1 }));
}

fn value() -> impl Strategy<Value = i64> {
    let borders = [0, 32_767, -32_768, 2_147_483_647, -2_147_483_648, i64::MAX, i64::MIN];
    prop_oneof![
        6 => -20i64..20,
        1 => any::<i64>(),
        1 => (prop::sample::select(borders.to_vec()), -2i64..=2).prop_map(|(b, step)| b.saturating_add(step)),
    ]
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_set(ops in prop::collection::vec((0..3u8, value()), 1..120)) {
        let mut set = Intset::new();
        let mut model = BTreeSet::new();
        let mut snapshots = Vec::new();
        for (op, value) in ops {
            match op {
                0 => prop_assert_eq!(set.remove(value), model.remove(&value)),
                _ => prop_assert_eq!(set.insert(value), model.insert(value)),
            }
            prop_assert_eq!(set.contains(value), model.contains(&value));
            prop_assert_eq!(set.len(), model.len());
            if value == 7 {
                snapshots.push((set.clone(), model.clone()));
            }
        }
        snapshots.push((set, model));
        for (set, model) in snapshots {
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(set.iter().rev().eq(model.iter().rev().copied()));
            prop_assert_eq!(validate(set.bytes()).is_ok(), !model.is_empty());
            prop_assert!((0..model.len()).all(|i| set.get(i) == model.iter().nth(i).copied()));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_safe(width in 0u8..10, len in 0u8..6, body in prop::collection::vec(any::<u8>(), 0..50)) {
        let bytes = [&[width, 0, 0, 0, len, 0, 0, 0], &body[..]].concat();
        if let Ok(mut set) = Intset::from_bytes(SharedBuf::from_slice(&bytes)) {
            let values: Vec<_> = set.iter().collect();
            prop_assert!(values.is_sorted() && values.len() == len as usize);
            set.insert(i64::MIN);
            prop_assert!(values.into_iter().all(|value| set.remove(value)));
        }
    }
}
