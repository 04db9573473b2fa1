//! Random values of every type come back from their payloads.

use cairn_json::Json;
use cairn_search::suggest::Suggestions;
use cairn_search::vector::quantised::Quantisation;
use cairn_search::vector::set::Normalised;
use proptest::prelude::*;

use super::*;
use crate::types::VectorSet;
use crate::types::list::{End, ListLimits};
use crate::types::stream::{Group, Nack, NodeLimits, StreamId};
use crate::types::vector_set::Projection;
use crate::types::zset::{Limits as ZsetLimits, Zset};
use crate::types::{Hash, HashLimits, List, Set, SetLimits, Stream};

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
    if let (Value::Hash(hash), Value::Hash(back)) = (value, &back) {
        prop_assert_eq!(times(back), times(hash));
    }
    Ok(())
}

/// The times of a hash's fields, the earliest first.
fn times(hash: &Hash) -> Vec<(i64, Vec<u8>)> {
    hash.times()
        .into_iter()
        .flat_map(|times| times.iter())
        .map(|(at_ms, name)| (at_ms, name.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn strings(text in text(), config in config()) {
        check(&Value::string(&text), &config)?;
    }

    #[test]
    fn lists(elements in texts(), node_len in -5i32..6, left in any::<bool>()) {
        let config = Config { list_max_listpack_size: node_len, ..Config::default() };
        let limits = ListLimits::new(&config);
        let mut list = List::new();
        for element in &elements {
            list.push(if left { End::Left } else { End::Right }, &element[..], &limits);
        }
        check(&Value::List(list), &config)?;
    }

    #[test]
    fn streams(texts in texts(), deleted in prop::collection::vec(any::<bool>(), 40), node_len in 1u64..10) {
        let limits = NodeLimits { max_bytes: 0, max_entries: node_len };
        let mut stream = Stream::new();
        for (text, i) in texts.iter().zip(1..) {
            let pairs: [&[u8]; 4] = [b"field", text, text, b"value"];
            stream.entries.append(StreamId::new(i, i), &pairs[..if i % 3 == 0 { 4 } else { 2 }], limits).expect("ids ascend");
        }
        for (name, last) in [("a", 0), ("b", 7)] {
            let mut group = Group::new(StreamId::new(last, 0), (last == 7).then_some(3));
            let consumers = ["x", "y", "idle"].map(|name| group.find_or_create_consumer(name.as_bytes(), 5).0);
            for (id, i) in stream.entries.iter().map(|entry| entry.id).zip(0..) {
                let nack = Nack { consumer: consumers[i % 2], delivered_at_ms: i as i64, deliveries: i as u64 };
                group.assign(id, nack);
            }
            group.note_visit(consumers[0], 77, true);
            stream.add_group(name.as_bytes(), group);
        }
        for (i, _) in (1..=texts.len() as u64).zip(&deleted).filter(|(_, deleted)| **deleted) {
            stream.entries.delete(StreamId::new(i, i));
        }
        let value = Value::Stream(triomphe::Arc::new(stream));
        check(&value, &Config::default())?;
        // What the digest does not see: counters and groups.
        let payload = dump_value(&value);
        let back = load_value(&payload, &options(&Config::default())).expect("seen above");
        prop_assert_eq!(dump_value(&back), payload);
    }

    #[test]
    fn documents(fields in prop::collection::vec((any::<String>(), prop::option::of(any::<f64>()), any::<i64>()), 0..40)) {
        let fields = fields.into_iter().map(|(name, double, int)| {
            let double = double.and_then(Json::double).unwrap_or_default();
            (name.as_str().into(), Json::array(vec![double, Json::Int(int), Json::Str(name.as_str().into())]))
        });
        let value = Value::Json(Json::Object(fields.collect()));
        check(&value, &Config::default())?;
        let payload = dump_value(&value);
        prop_assert_eq!(&payload[..11], b"\x07\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x05");
        let Ok(Value::Json(back)) = load_value(&payload, &options(&Config::default())) else {
            return Err(TestCaseError::fail("it is a document"));
        };
        prop_assert_eq!(Value::Json(back).kind(), value.kind());
    }

    #[test]
    fn suggestions(
        all in prop::collection::vec((".{1,30}", any::<f64>(), prop::option::of(any::<Vec<u8>>())), 1..40),
    ) {
        let mut suggestions = Suggestions::default();
        for (text, score, payload) in all.iter().filter(|(_, score, _)| !score.is_nan()) {
            suggestions.add(text.as_bytes(), *score, false, payload.as_deref());
        }
        if !suggestions.is_empty() {
            let value = Value::Suggestions(suggestions);
            check(&value, &Config::default())?;
            prop_assert_eq!(&dump_value(&value)[..11], b"\x07\x81\xb6\xb8\x9e\xb7\x2a\x5e\xd0\x01\x02");
        }
    }

    #[test]
    fn vector_sets(
        steps in prop::collection::vec((0u8..60, any::<bool>(), -9i8..9, -9i8..9), 1..80),
        form in 0u8..3, projected in any::<bool>(), m in prop::sample::select(vec![4usize, 16, 100]),
    ) {
        let form = [Quantisation::Floats, Quantisation::Bytes, Quantisation::Bits][form as usize];
        let projection = projected.then_some(Projection { from: 3, to: 2 });
        let mut set = VectorSet::new(2, projection, form, m);
        for (name, keeps, x, y) in steps {
            let vector = Normalised::new(vec![f32::from(x), f32::from(y)], form).expect("finite");
            if keeps || set.is_empty() {
                set.put(&[name], &vector, (name % 2 == 0).then_some(b"{}"), 20);
            } else {
                set.remove(&[name]);
            }
        }
        if !set.is_empty() {
            let value = Value::VectorSet(triomphe::Arc::new(set));
            check(&value, &Config::default())?;
            // The graph as well, which the figure of a value leaves out.
            let payload = dump_value(&value);
            let back = load_value(&payload, &options(&Config::default())).expect("seen above");
            prop_assert_eq!(dump_value(&back), payload);
        }
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
    fn hashes_with_fields_that_expire(
        texts in texts(),
        all_ms in prop::collection::vec(prop::option::of(prop_oneof![1i64..9, 1i64..1 << 46]), 40),
        config in config(),
    ) {
        let limits = HashLimits::new(&config, SEED);
        let mut hash = Hash::new();
        for ((field, value), at_ms) in texts.iter().zip(texts.iter().rev()).zip(all_ms) {
            hash.set(field, &value[..], &limits);
            if let Some(at_ms) = at_ms {
                hash.set_time(field, at_ms, SEED);
            }
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
