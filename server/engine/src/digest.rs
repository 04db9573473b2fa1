//! DEBUG DIGEST and DEBUG DIGEST-VALUE: a fingerprint of data, whatever its encoding and the order of its tables.
//!
//! The figures are those of Redis up to 7.0 for the same data, so that a test can compare with a real one. (Since 7.2
//! Redis prints scores in their shortest form instead of with 17 digits, which changes the figure of sorted sets
//! whose scores are not short.)
//!
//! Two operations: *xor* adds something unordered, *mix* something whose place matters.

use sha1::{Digest as _, Sha1};

use crate::keyspace::Db;
use crate::value::Value;

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

/// The fingerprint of one value and of whether, not when, it expires.
pub fn value(value: &Value, expire: Option<i64>) -> Digest {
    let mut digest = Digest::default();
    add_value(&mut digest, value, expire);
    digest
}

fn add_value(digest: &mut Digest, value: &Value, expire: Option<i64>) {
    mix(digest, &(value.kind() as u32).to_be_bytes());
    match value {
        Value::Str(text) => text.with_bytes(|bytes| mix(digest, bytes)),
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
                xor(digest, &pair);
            }
        }
        _ => todo!(),
    }
    if expire.is_some() {
        xor(digest, b"!!expire!!");
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
    *digest = Sha1::digest(&*digest).into();
}
