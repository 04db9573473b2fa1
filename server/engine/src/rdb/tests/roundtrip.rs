//! Random values of every type come back from their payloads.

use proptest::prelude::*;

use super::*;
use crate::types::zset::{Limits as ZsetLimits, Zset};
use crate::types::{Hash, HashLimits, Set, SetLimits};

/// Texts that take every way through the format: integers of all widths, short, long, compressible.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i64>().prop_flat_map(|value| (0u32..64).prop_map(move |shift| (value >> shift).to_string().into_bytes())),
        3 => prop::collection::vec(any::<u8>(), 0..30),
        1 => prop::collection::vec(any::<u8>(), 60..200),
        1 => ("[ab]{1,8}", 1usize..40).prop_map(|(unit, times)| unit.repeat(times).into_bytes()),
    ]
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(text(), 1..40)
}

/// Thresholds that make small collections tables now and then.
fn config() -> impl Strategy<Value = Config> {
    (0usize..60, 0usize..100).prop_map(|(entries, value)| Config {
        hash_max_listpack_entries: entries,
        hash_max_listpack_value: value,
        set_max_intset_entries: entries,
        set_max_listpack_entries: entries,
        set_max_listpack_value: value,
        zset_max_listpack_entries: entries,
        zset_max_listpack_value: value,
        ..Config::default()
    })
}

/// Dumps and restores with the same thresholds: the same data, in the same encoding.
fn check(value: &Value, config: &Config) -> Result<(), TestCaseError> {
    let payload = dump_value(value);
    let back =
        load_value(&payload, &options(config)).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(crate::digest::value(&back, None), crate::digest::value(value, None));
    prop_assert_eq!(back.encoding(), value.encoding());
    Ok(())
}

proptest! {
    #[test]
    fn strings(text in text(), config in config()) {
        check(&Value::string(&text), &config)?;
    }

    #[test]
    fn sets(members in texts(), config in config()) {
        let limits = SetLimits::new(&config, SEED);
        let mut set = Set::for_members(&members[0][..], 1, &limits);
        for member in &members {
            set.insert(&member[..], &limits);
        }
        check(&Value::Set(set), &config)?;
    }

    #[test]
    fn hashes(texts in texts(), config in config()) {
        let limits = HashLimits::new(&config, SEED);
        let mut hash = Hash::new();
        for (field, value) in texts.iter().zip(texts.iter().rev()) {
            hash.set(field, &value[..], &limits);
        }
        check(&Value::Hash(hash), &config)?;
    }

    #[test]
    fn sorted_sets(members in texts(), scores in prop::collection::vec(any::<f64>(), 1..40), config in config()) {
        let limits = ZsetLimits::new(&config, SEED);
        let mut zset = Zset::new(&limits, 1, 1);
        for (member, score) in members.iter().zip(scores.iter().cycle()) {
            if !score.is_nan() {
                zset.insert(member, *score, &limits);
            }
        }
        if !zset.is_empty() {
            check(&Value::Zset(zset), &config)?;
        }
    }
}
