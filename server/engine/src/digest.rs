//! DEBUG DIGEST and DEBUG DIGEST-VALUE: a fingerprint of data, whatever its encoding and the order of its tables.
//!
//! The figures are those of Redis up to 7.0 for the same data, so that a test can compare with a real one. (Since 7.2
//! Redis prints scores in their shortest form instead of with 17 digits, which changes the figure of sorted sets
//! whose scores are not short.)
//!
//! DEBUG DIGEST-STATE is our own: a fingerprint of all that the log and snapshots carry from node to node, of which
//! Redis's figure leaves out when keys expire, the groups of streams, the libraries and the users.
//!
//! Two operations: *xor* adds something unordered, *mix* something whose place matters.

use std::sync::Arc;

use sha1::{Digest as _, Sha1};

use crate::keyspace::Db;
use crate::types::VectorSet;
use crate::value::{Kind, Value};

/// A fingerprint. Of nothing: zeros.
pub type Digest = [u8; 20];

/// The fingerprint of all databases.
pub fn keyspace(dbs: &[Db]) -> Digest {
    let mut all = Digest::default();
    for (index, db) in dbs.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        mix(&mut all, &(index as u32).to_be_bytes());
        for entry in db.dict.iter() {
            let mut digest = Digest::default();
            mix(&mut digest, &entry.key);
            add_value(&mut digest, &entry.value, db.expire_at(&entry.key));
            xor(&mut all, &digest);
        }
    }
    all
}

/// The fingerprint of everything that is replicated: two nodes that have applied the same log have the same. Users are
/// `None` as long as they are a node's own; of indexes it is what they are, not what is in them.
pub fn state(dbs: &[Db], libraries: &[Arc<[u8]>], users: Option<&str>, indexes: Option<&str>) -> Digest {
    let mut all = keyspace(dbs);
    for (index, db) in dbs.iter().enumerate() {
        for entry in db.dict.iter() {
            if let Some(digest) = beside_the_value(index, &entry.key, &entry.value, db.expire_at(&entry.key))
            {
                xor(&mut all, &digest);
            }
        }
    }
    for library in libraries {
        mix(&mut all, library);
    }
    if let Some(users) = users {
        mix(&mut all, users.as_bytes());
    }
    if let Some(indexes) = indexes {
        mix(&mut all, indexes.as_bytes());
    }
    all
}

/// What of a key [`keyspace`] leaves out.
fn beside_the_value(db: usize, key: &[u8], value: &Value, expire: Option<i64>) -> Option<Digest> {
    let times = match value {
        Value::Hash(hash) => hash.times(),
        _ => None,
    };
    let stream = match value {
        Value::Stream(stream) => Some(stream.state_text()),
        _ => None,
    };
    let graph = match value {
        Value::VectorSet(set) => Some(graph(set)),
        _ => None,
    };
    if expire.is_none() && times.is_none() && stream.is_none() && graph.is_none() {
        return None;
    }
    let mut digest = Digest::default();
    mix(&mut digest, &(db as u32).to_be_bytes());
    mix(&mut digest, key);
    mix(&mut digest, &expire.unwrap_or_default().to_be_bytes());
    for (at_ms, field) in times.into_iter().flat_map(|times| times.iter()) {
        let mut time = Digest::default();
        mix(&mut time, &at_ms.to_be_bytes());
        mix(&mut time, field);
        xor(&mut digest, &time);
    }
    if let Some(text) = stream {
        mix(&mut digest, text.as_bytes());
    }
    if let Some(graph) = graph {
        xor(&mut digest, &graph);
    }
    Some(digest)
}

/// The graph of a vector set: two nodes with the same one give the same answers.
fn graph(set: &VectorSet) -> Digest {
    let mut digest = Sha1::new();
    for slot in 0..set.len() as u32 {
        digest.update(set.name(slot));
        for links in set.slots().layers(slot) {
            digest.update((links.len() as u32).to_be_bytes());
            links.iter().for_each(|link| digest.update(link.to_be_bytes()));
        }
        digest.update([0xff]);
    }
    digest.finalize().into()
}

/// The fingerprint of one value and of whether, not when, it expires.
pub fn value(value: &Value, expire: Option<i64>) -> Digest {
    let mut digest = Digest::default();
    add_value(&mut digest, value, expire);
    digest
}

fn add_value(digest: &mut Digest, value: &Value, expire: Option<i64>) {
    mix(digest, &type_number(value.kind()).to_be_bytes());
    match value {
        Value::Str(text) => text.with_bytes(|bytes| mix(digest, bytes)),
        Value::List(list) => {
            for element in list {
                element.with_bytes(|bytes| mix(digest, bytes));
            }
        }
        Value::Set(set) => {
            for member in set {
                member.with_bytes(|bytes| xor(digest, bytes));
            }
        }
        Value::Hash(hash) => {
            for (field, value) in hash {
                let mut pair = Digest::default();
                field.with_bytes(|bytes| mix(&mut pair, bytes));
                value.with_bytes(|bytes| mix(&mut pair, bytes));
                if field.with_bytes(|name| hash.time_of(name)).is_some() {
                    xor(&mut pair, b"!!hexpire!!");
                }
                xor(digest, &pair);
            }
        }
        Value::Zset(zset) => {
            for (member, score) in zset.iter() {
                let mut pair = Digest::default();
                member.with_bytes(|bytes| mix(&mut pair, bytes));
                mix(&mut pair, score_text(score).as_bytes());
                xor(digest, &pair);
            }
        }
        Value::Stream(stream) => {
            for entry in stream.entries.iter() {
                mix(digest, format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (field, value) in entry.fields() {
                    mix(digest, field.to_bytes(&mut itoa::Buffer::new()));
                    mix(digest, value.to_bytes(&mut itoa::Buffer::new()));
                }
            }
        }
        // Redis has no figure for a module's data. The order of fields is part of it: clients see it.
        Value::Json(document) => mix(digest, document.to_text().as_bytes()),
        Value::Suggestions(suggestions) => suggestions.for_each(|text, score, payload| {
            mix(digest, text.as_bytes());
            mix(digest, score_text(score).as_bytes());
            mix(digest, payload.unwrap_or_default());
        }),
        Value::VectorSet(set) => {
            let slots = set.slots();
            let shape = (slots.dim(), slots.quantisation(), slots.m(), set.projection());
            mix(digest, format!("{shape:?}").as_bytes());
            for slot in 0..slots.len() as u32 {
                let mut element = Digest::default();
                let quants = slots.quants(slot);
                mix(&mut element, set.name(slot));
                mix(&mut element, set.attributes(slot));
                mix(&mut element, &quants.to_bytes());
                mix(&mut element, &slots.length(slot).to_bits().to_be_bytes());
                mix(&mut element, &quants.range().to_bits().to_be_bytes());
                xor(digest, &element);
            }
        }
    }
    if expire.is_some() {
        xor(digest, b"!!expire!!");
    }
}

/// Redis's number of the type; 5 is that of modules.
fn type_number(kind: Kind) -> u32 {
    match kind {
        Kind::Str => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::Zset => 3,
        Kind::Hash => 4,
        Kind::Json | Kind::Suggestions | Kind::VectorSet => 5,
        Kind::Stream => 6,
    }
}

fn xor(digest: &mut Digest, bytes: &[u8]) {
    let sha1 = Sha1::digest(bytes);
    for (byte, other) in digest.iter_mut().zip(sha1) {
        *byte ^= other;
    }
}

fn mix(digest: &mut Digest, bytes: &[u8]) {
    xor(digest, bytes);
    *digest = Sha1::digest(*digest).into();
}

/// C's `%.17g`.
pub(crate) fn score_text(score: f64) -> String {
    const DIGITS: i32 = 17;
    if score.is_infinite() {
        return if score > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{score:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent was asked for");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..DIGITS).contains(&exponent) {
        let fixed = format!("{score:.*}", (DIGITS - 1 - exponent) as usize);
        return without_trailing_zeros(&fixed).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::ds::HashSeed;
    use crate::types::{Set, SetLimits};

    #[test]
    fn scores_are_printed_as_c_does() {
        for (score, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(score_text(score), text);
        }
    }

    #[test]
    fn the_encoding_does_not_matter() {
        let limits = SetLimits::new(&Config::default(), HashSeed::new([1, 2, 3, 4]));
        let table = SetLimits { max_ints: 0, max_packed: 0, ..limits };
        let digests = [limits, table].map(|limits| {
            let mut set = Set::for_members(1, 3, &limits);
            for member in [3, 1, 2] {
                set.insert(member, &limits);
            }
            value(&Value::Set(set), None)
        });
        assert_eq!(digests[0], digests[1]);
    }
}
