//! Damage to the files of a real directory: the last segment cut at every byte of its last two records, and one byte
//! flipped in every record before them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_engine::config::Config;
use cairn_engine::testing::{FakeHost, TestEngine};
use cairn_engine::{Engine, EngineOptions};
use cairn_proto::Resp;
use cairn_server::recovery::{self, LOG_DIR};
use cairn_storage::disk::{Disk, RealDisk};
use cairn_storage::log::Record;

const WRITES: usize = 12;

fn config() -> Config {
    Config { log_segment_size: 1 << 20, ..Config::default() }
}

/// A directory whose log has `WRITES` batches, each synced by itself, and where each of them ends in the segment.
fn written(dir: &Path) -> (PathBuf, Vec<u64>) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut server = TestEngine::with_config(config(), 1);
    let client = server.connect(Resp::V2);
    let mut log = recovery::recover(&disk, dir, &config(), &mut server.engine, &mut server.host).unwrap().log;
    let mut ends = Vec::new();
    for i in 0..WRITES {
        server.send_held(client, &[b"SET", format!("key{i}").as_bytes(), b"value"]);
        let batch = server.batches.last().unwrap();
        log.append(&[Record::entry(batch.seq, 0, &[&batch.payload])]).unwrap();
        log.sync().unwrap();
        ends.push(log.segments()[0].used);
    }
    let file = log.segments()[0].file.clone();
    (file, ends)
}

/// Recovers a copy of the directory whose segment is `bytes`; the number of keys, or the error.
fn recover(original: &Path, file: &Path, bytes: &[u8]) -> Result<usize, String> {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join(LOG_DIR)).unwrap();
    for entry in std::fs::read_dir(original.join(LOG_DIR)).unwrap() {
        let entry = entry.unwrap();
        let target = copy.path().join(LOG_DIR).join(entry.file_name());
        if entry.path() == file {
            std::fs::write(&target, bytes).unwrap();
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut host = FakeHost::default();
    let mut engine = Engine::new(EngineOptions { config: config(), seed: 2, journal: true });
    recovery::recover(&disk, copy.path(), &config(), &mut engine, &mut host)
        .map_err(|error| error.to_string())?;
    Ok(engine.keys.dbs()[0].len())
}

#[test]
fn a_log_cut_anywhere_in_its_last_two_records_loses_only_what_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (file, ends) = written(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let (from, to) = (ends[WRITES - 3] as usize, ends[WRITES - 1] as usize);
    for cut in from..=to {
        let whole = ends.iter().filter(|&&end| end as usize <= cut).count();
        assert_eq!(recover(dir.path(), &file, &bytes[..cut]), Ok(whole), "cut at byte {cut}");
    }
}

#[test]
fn one_flipped_byte_in_an_earlier_record_stops_the_start_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (file, ends) = written(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    for record in 1..WRITES - 1 {
        let (from, to) = (ends[record - 1] as usize, ends[record] as usize);
        // Every eighth byte of every record, and each byte of one.
        let step = if record == WRITES / 2 { 1 } else { 8 };
        for at in (from..to).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let error = match recover(dir.path(), &file, &damaged) {
                Err(error) => error,
                // Padding between records means nothing: a flip there must lose nothing either.
                Ok(keys) => {
                    assert_eq!(keys, WRITES, "byte {at} of record {record} flipped: data is lost silently");
                    continue;
                }
            };
            assert!(error.contains(name), "byte {at}: no file in {error:?}");
            assert!(
                error.contains(&format!("{from}")) || error.contains("offset"),
                "byte {at}: no offset in {error:?}"
            );
            assert!(error.contains("cairn-admin check"), "byte {at}: no remedy in {error:?}");
        }
    }
}
