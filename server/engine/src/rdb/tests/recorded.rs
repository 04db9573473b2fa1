//! Files that redis-server 7.0.15 saved, each with the DEBUG DIGEST that it printed.
//!
//! `databases-and-expiries.rdb`, `lru.rdb` and `lfu.rdb` hold what stands around values; the others hold values of
//! one type in all of its encodings, made with lowered thresholds where that keeps the file small.

use super::*;
use crate::config::MaxmemoryPolicy;

macro_rules! recorded {
    ($($name:literal: $digest:literal,)*) => {
        pub(super) const FILES: &[(&str, &[u8], &str)] =
            &[$(($name, include_bytes!(concat!("../testdata/", $name)), $digest)),*];
    };
}

recorded! {
    "strings.rdb": "c4cecac32902fbe8b5cd5e2c1127dc788dd060ee",
    "expiries.rdb": "c26b7ff77af6266c464f9e73fb5127c79326df73",
    "lists.rdb": "9a40f456b70756b45843298d2f8648002b25b657",
    "sets.rdb": "a7fb8ae0a18e0612580179db446ee62352ee5ff7",
    "hashes.rdb": "e7d70b89d8aed7d79ef6e741a711343fbfb16674",
    "zsets.rdb": "0a247ef33b79eefd7223db53018e322cf2c2bbf8",
    "streams.rdb": "944cba98150cfec18fa9610ab374dca24a3f3f8e",
    "functions.rdb": "e2a7d3111de72d47fcb62eeac9bfd54c11028fa7",
    "lfu.rdb": "a26b7decac382ccc69714cb0ef3f3b01ec67ce51",
    "lru.rdb": "1ff4c9525c2736e77d08ef8b03cb98854d2c7441",
}

fn file(name: &str) -> &'static [u8] {
    FILES.iter().find(|(file, ..)| *file == name).expect("a recorded file").1
}

fn recorded(name: &str, config: &Config) -> Loaded {
    load(file(name), &options(config), &mut |_, _| {})
        .unwrap_or_else(|error| panic!("{name} is damaged: {error}"))
}

#[test]
fn files_of_redis_load_with_its_digest() {
    for (name, _, digest) in FILES {
        let loaded = recorded(name, &Config::default());
        assert_eq!(hex(crate::digest::keyspace(&loaded.dbs)), *digest, "{name}");
        assert_eq!(loaded.aux.seq, None);
    }
}

#[test]
fn what_was_loaded_is_saved_and_loaded_again() {
    for (name, _, digest) in FILES {
        let loaded = recorded(name, &Config::default());
        let again = super::loaded(&saved(&loaded.dbs, &loaded.aux))
            .unwrap_or_else(|error| panic!("our own {name} is damaged: {error}"));
        assert_eq!(hex(crate::digest::keyspace(&again.dbs)), *digest, "{name}");
        for (db, again) in loaded.dbs.iter().zip(&again.dbs) {
            for entry in db.dict.iter() {
                let other = again.dict.get(&entry.key).expect("the digests are the same");
                assert_eq!(other.value.encoding(), entry.value.encoding(), "{name}: {:?}", entry.key);
                assert_eq!(again.expire_at(&entry.key), db.expire_at(&entry.key));
            }
        }
    }
}

#[test]
fn expiries_and_databases_are_where_they_were() {
    let loaded = recorded("expiries.rdb", &Config::default());
    let expiries: Vec<(usize, Key, Option<i64>)> = (0..)
        .zip(&loaded.dbs)
        .flat_map(|(index, db)| {
            db.dict.iter().map(move |entry| (index, entry.key.clone(), db.expire_at(&entry.key)))
        })
        .collect();
    assert_eq!(expiries.len(), 5);
    for expected in [
        (0, Key::from("a"), Some(4_102_444_800_000)),
        (0, Key::from("h"), Some(4_102_444_800_123)),
        (0, Key::from("never"), None),
        (3, Key::from("s"), Some(4_102_444_800_000)),
        (15, Key::from("last"), None),
    ] {
        assert!(expiries.contains(&expected), "{expected:?} in {expiries:?}");
    }
}

#[test]
fn fewer_databases_than_the_file_has_are_refused() {
    let config = Config::default();
    let options = LoadOptions { databases: 4, ..options(&config) };
    let error = load(file("expiries.rdb"), &options, &mut |_, _| {}).map(drop).expect_err("database 15");
    assert_eq!(error.problem, Problem::Database { index: 15, databases: 4 });
}

#[test]
fn thresholds_of_the_configuration_decide_between_encodings() {
    let config = Config {
        hash_max_listpack_entries: 2,
        zset_max_listpack_entries: 2,
        set_max_intset_entries: 2,
        ..Config::default()
    };
    for (name, key, usual, lowered) in [
        ("hashes.rdb", "small", "listpack", "hashtable"),
        ("hashes.rdb", "many", "listpack", "hashtable"),
        ("zsets.rdb", "small", "listpack", "skiplist"),
        ("sets.rdb", "ints16", "intset", "hashtable"),
        ("sets.rdb", "ints-as-table", "intset", "listpack"),
    ] {
        for (config, expected) in [(&Config::default(), usual), (&config, lowered)] {
            let loaded = recorded(name, config);
            let entry = loaded.dbs[0].dict.get(key.as_bytes()).expect("recorded");
            assert_eq!(entry.value.encoding(), expected, "{name}: {key}");
        }
    }
}

#[test]
fn how_often_and_how_recently_keys_were_used_is_kept() {
    let config = |maxmemory_policy| Config { maxmemory_policy, ..Config::default() };
    let usage =
        |loaded: &Loaded, key: &str| loaded.dbs[0].dict.get(key.as_bytes()).expect("recorded").usage();

    let lfu = recorded("lfu.rdb", &config(MaxmemoryPolicy::AllkeysLfu));
    assert_eq!(usage(&lfu, "hot") & 0xff, 13);
    assert_eq!(usage(&lfu, "cold") & 0xff, 5);
    assert_eq!(usage(&lfu, "hot") >> 8, (lfu.aux.created_at_s / 60) as u32 & 0xffff);

    let lru = recorded("lru.rdb", &config(MaxmemoryPolicy::AllkeysLru));
    assert_eq!(usage(&lru, "fresh") - usage(&lru, "idle"), 3);
}

#[test]
fn libraries_are_loaded_and_saved() {
    let loaded = recorded("functions.rdb", &Config::default());
    let codes = loaded.functions.codes();
    assert_eq!(codes.len(), 1);
    assert!(codes[0].starts_with(b"#!lua name=lib\n"));
    let snapshot = Snapshot { libraries: codes.clone(), ..Snapshot::of(loaded.dbs) };
    let mut file = Vec::new();
    save(snapshot, &loaded.aux, true, &mut file).expect("a Vec takes everything");
    let again = super::loaded(&file).unwrap_or_else(|error| panic!("our own file is damaged: {error}"));
    assert_eq!(again.functions.codes(), codes);
    assert!(again.functions.counts().functions > 0);
}

#[test]
fn a_library_that_does_not_load_is_an_error() {
    let broken: std::sync::Arc<[u8]> = b"#!lua name=lib\nnonsense".as_slice().into();
    let snapshot = Snapshot { libraries: vec![broken], ..Snapshot::of(databases(&[])) };
    let mut file = Vec::new();
    save(snapshot, &Aux::default(), true, &mut file).expect("a Vec takes everything");
    let error = super::loaded(&file).map(drop).expect_err("the library is no Lua");
    assert!(
        error
            .to_string()
            .contains(": a library of functions cannot be loaded: ERR Error compiling function: "),
        "{error}"
    );
}

#[test]
fn progress_is_told_and_ends_at_the_end() {
    let dbs = databases_of_integers(5000);
    let file = saved(&dbs, &Aux::default());
    let mut reports = Vec::new();
    let config = Config::default();
    load(&file, &options(&config), &mut |bytes, keys| reports.push((bytes, keys)))
        .map(drop)
        .expect("our own");
    assert!(reports.len() > 3 && reports.is_sorted());
    assert_eq!(reports.last(), Some(&(file.len() as u64, 5000)));
}

#[test]
fn how_often_and_how_recently_keys_were_used_is_saved() {
    for (policy, file, key, other) in [
        (MaxmemoryPolicy::AllkeysLfu, "lfu.rdb", "hot", "cold"),
        (MaxmemoryPolicy::VolatileLru, "lru.rdb", "fresh", "idle"),
    ] {
        let config = Config { maxmemory_policy: policy, ..Config::default() };
        let loaded = recorded(file, &config);
        let mut keyspace = crate::Keyspace::new(16, SEED, 1);
        keyspace.usage.configure(&config);
        keyspace.set_now(loaded.aux.created_at_s * 1000);
        let usage =
            |dbs: &[Db]| [key, other].map(|key| dbs[0].dict.get(key.as_bytes()).expect("recorded").usage());
        let expected = usage(&loaded.dbs);
        keyspace.replace_dbs(loaded.dbs);

        let mut file = Vec::new();
        save(keyspace.snapshot(0, 0), &Aux::default(), true, &mut file).expect("a Vec takes everything");
        let again =
            load(&file, &options(&config), &mut |_, _| {}).map_err(|e| e.to_string()).expect("our own");
        assert_eq!(again.aux.created_at_s, loaded.aux.created_at_s);
        assert_eq!(usage(&again.dbs), expected);
    }
}
