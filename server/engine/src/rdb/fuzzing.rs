//! Entry points for fuzzers: any bytes may come in, a panic is a bug.

use super::{Aux, LoadOptions, dump_value, load, load_value, save};
use crate::config::Config;
use crate::ds::HashSeed;
use crate::keyspace::Snapshot;

/// Files to start from: those that a real Redis saved.
pub const RDB_SAMPLES: &[&[u8]] = &[
    include_bytes!("testdata/expiries.rdb"),
    include_bytes!("testdata/functions.rdb"),
    include_bytes!("testdata/hashes.rdb"),
    include_bytes!("testdata/lfu.rdb"),
    include_bytes!("testdata/lists.rdb"),
    include_bytes!("testdata/lru.rdb"),
    include_bytes!("testdata/sets.rdb"),
    include_bytes!("testdata/streams.rdb"),
    include_bytes!("testdata/strings.rdb"),
    include_bytes!("testdata/zsets.rdb"),
];

/// Loads a file, whatever its checksum says; what loads must survive being saved and loaded again.
pub fn fuzz_rdb(data: &[u8]) {
    let mut data = data.to_vec();
    if let Some(checksum) = data.last_chunk_mut::<8>() {
        *checksum = [0; 8];
    }
    let config = Config::default();
    let options = LoadOptions { databases: 16, seed: HashSeed::new([1, 2, 3, 4]), config: &config };
    let Ok(loaded) = load(&data, &options, &mut |_, _| {}) else { return };
    let digest = crate::digest::keyspace(&loaded.dbs);
    let snapshot = Snapshot::of(loaded.dbs);
    let mut again = Vec::new();
    save(snapshot, &Aux::default(), true, &mut again).expect("a Vec takes everything");
    let loaded = load(&again, &options, &mut |_, _| {}).expect("our own file");
    assert_eq!(crate::digest::keyspace(&loaded.dbs), digest);
}

/// Restores a value from a payload whose footer is made right, so that the fuzzer need not find checksums.
pub fn fuzz_restore(data: &[u8]) {
    let config = Config::default();
    let options = LoadOptions { databases: 16, seed: HashSeed::new([1, 2, 3, 4]), config: &config };
    let payload = super::save::with_footer(data.to_vec(), super::format::VERSION);
    let Ok(value) = load_value(&payload, &options) else { return };
    let again = load_value(&dump_value(&value), &options).expect("our own payload");
    assert_eq!(crate::digest::value(&again, None), crate::digest::value(&value, None));
}
