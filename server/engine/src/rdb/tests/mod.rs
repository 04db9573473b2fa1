//! Whole files and payloads.

mod damage;
mod payloads;
mod recorded;
mod roundtrip;
mod vector_sets;

use super::*;
use crate::config::Config;
use crate::ds::{HashSeed, Key};
use crate::keyspace::{Db, ExpireEntry, KeyEntry, Snapshot};
use crate::value::Value;

const SEED: HashSeed = HashSeed::new([1, 2, 3, 4]);

fn options(config: &Config) -> LoadOptions<'_> {
    LoadOptions { databases: 16, seed: SEED, config }
}

/// Databases with these keys: database, key, value, expiry.
fn databases(keys: &[(usize, &str, Value, Option<i64>)]) -> Vec<Db> {
    let mut dbs: Vec<Db> = (0..16).map(|_| Db::new(SEED)).collect();
    for (db, key, value, expire_at) in keys {
        dbs[*db].dict.insert(KeyEntry::new(Key::from(*key), value.clone(), 0));
        if let Some(at_ms) = *expire_at {
            dbs[*db].expires.insert(ExpireEntry { key: Key::from(*key), at_ms });
        }
    }
    dbs
}

fn saved(dbs: &[Db], aux: &Aux) -> Vec<u8> {
    let snapshot = Snapshot::of(dbs.to_vec());
    let mut file = Vec::new();
    save(snapshot, aux, true, &mut file).expect("a Vec takes everything");
    file
}

fn databases_of_integers(count: usize) -> Vec<Db> {
    let mut dbs = databases(&[]);
    for i in 0..count {
        let text = i.to_string();
        dbs[0].dict.insert(KeyEntry::new(Key::from(text.as_str()), Value::string(text.as_bytes()), 0));
    }
    dbs
}

fn hex(digest: crate::digest::Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn loaded(file: &[u8]) -> Result<Loaded, LoadError> {
    load(file, &options(&Config::default()), &mut |_, _| {})
}

#[test]
fn strings_expiries_databases_and_fields_come_back() {
    let long = "compressible, compressible, compressible".repeat(100);
    let dbs = databases(&[
        (0, "short", Value::string(b"hello"), None),
        (0, "int", Value::string(b"-12345678901"), Some(1_700_000_000_123)),
        (0, "a key that is longer than what is kept in place", Value::string(b""), Some(-1)),
        (3, "long", Value::string(long.as_bytes()), None),
    ]);
    let aux = Aux {
        seq: Some(u64::MAX),
        taken_at_ms: None,
        created_at_s: 1_700_000_000,
        used_memory: 123,
        users: None,
        indexes: None,
        other: vec![("repl-id".to_owned(), "abc".to_owned()), ("redis-ver".to_owned(), "6.0.0".to_owned())],
    };
    let back = loaded(&saved(&dbs, &aux)).map_err(|error| error.to_string()).expect("our own file");
    assert_eq!(crate::digest::keyspace(&back.dbs), crate::digest::keyspace(&dbs));
    assert_eq!(back.dbs[0].expire_at(b"int"), Some(1_700_000_000_123));
    assert_eq!(back.dbs[0].expires.len(), 2);
    assert_eq!(
        (back.aux.seq, back.aux.created_at_s, back.aux.used_memory),
        (Some(u64::MAX), 1_700_000_000, 123)
    );
    assert_eq!(back.aux.taken_at_ms, Some(0), "the snapshot's");
    let field =
        |name: &str| back.aux.other.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    let (versions, ids): (Vec<_>, Vec<_>) = (field("redis-ver"), field("repl-id"));
    assert_eq!((versions, ids), (vec!["7.4.0"], vec!["abc"]));
}
