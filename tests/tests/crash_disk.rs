//! The whole stack on the simulated disk: a node writes its log and its snapshots, the power fails at one operation
//! after the other, and what recovery finds must be a state that the node was in, no older than what it had
//! acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_engine::config::Config;
use cairn_engine::digest::{self, Digest};
use cairn_engine::host::Host;
use cairn_engine::rng::Rng;
use cairn_engine::testing::{FakeHost, TestEngine};
use cairn_engine::{Engine, EngineOptions, Slot};
use cairn_proto::Resp;
use cairn_server::{recovery, snapshots};
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::Record;
use cairn_storage::snapshot::SnapshotDir;

const DIR: &str = "/data";
/// Commands of the recorded workload.
const COMMANDS: usize = 60;

fn config() -> Config {
    // Small segments, so that the workload crosses their borders and purges some.
    Config { log_segment_size: 16 << 10, ..Config::default() }
}

fn command(rng: &Rng, i: usize) -> Vec<Vec<u8>> {
    let key = format!("k{}", rng.below(8));
    let words = match rng.below(6) {
        0 => format!("SET {key} v{i}"),
        1 => format!("SET {key} v{i} PX {}", 1 + rng.below(5000)),
        2 => "INCR counter".to_owned(),
        3 => format!("DEL {key}"),
        4 => format!("SET big{} {}", rng.below(3), "x".repeat(rng.below(6000) as usize)),
        _ => format!("MSET a {i} b {i}"),
    };
    words.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// What the node was like after each batch, by its seq; and the last one acknowledged.
struct History {
    digests: Vec<Digest>,
    acknowledged: usize,
}

/// Runs the workload until its end or until the disk fails, and says which.
fn run(disk: &Arc<dyn Disk>, seed: u64) -> (History, Result<(), String>) {
    let mut history = History { digests: vec![[0; 20]], acknowledged: 0 };
    let mut server = TestEngine::with_config(config(), seed);
    let client = server.connect(Resp::V2);
    let outcome = work(disk, seed, &mut server, client, &mut history);
    (history, outcome)
}

fn work(
    disk: &Arc<dyn Disk>,
    seed: u64,
    server: &mut TestEngine,
    client: Slot,
    history: &mut History,
) -> Result<(), String> {
    let dir = Path::new(DIR);
    let rng = Rng::new(seed);
    let text = |error: &dyn std::fmt::Display| error.to_string();
    disk.create_dir_all(dir).map_err(|e| text(&e))?;
    let found = recovery::recover(disk, dir, &config(), &mut server.engine, &mut server.host)
        .map_err(|e| text(&e))?;
    let mut log = found.log;
    for i in 0..COMMANDS {
        let args = command(&rng, i);
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        server.send_held(client, &slices);
        let first_new = history.digests.len();
        for batch in server.batches.iter().skip(first_new - 1) {
            assert_eq!(batch.seq as usize, history.digests.len(), "one digest for each batch");
            history.digests.push(digest::keyspace(server.engine.keys.dbs()));
            log.append(&[Record::entry(batch.seq, 0, &[&batch.payload])]).map_err(|e| text(&e))?;
        }
        // Group commit: some syncs cover several batches.
        let snapshot_due = i % 17 == 16;
        if snapshot_due || rng.below(3) > 0 {
            log.sync().map_err(|e| text(&e))?;
            server.release();
            history.acknowledged = history.digests.len() - 1;
            server.output(client);
        }
        if snapshot_due {
            let target = SnapshotDir::open(Arc::clone(disk), dir).map_err(|e| text(&e))?;
            let snapshot = server.engine.snapshot();
            let seq = snapshot.seq;
            snapshots::write(&target, &config().dbfilename, snapshot, true, || Ok(Vec::new()))?;
            log.purge(seq).map_err(|e| text(&e))?;
        }
    }
    Ok(())
}

fn recovered_digest(disk: &Arc<dyn Disk>) -> Result<(usize, Digest), String> {
    let mut host = FakeHost::default();
    let mut engine = Engine::new(EngineOptions { config: config(), seed: 99, journal: true });
    engine.begin_turn(0, host.monotonic_us());
    recovery::recover(disk, &PathBuf::from(DIR), &config(), &mut engine, &mut host)
        .map_err(|error| error.to_string())?;
    let seq = engine.shared.effects.newest_seq() as usize;
    Ok((seq, digest::keyspace(engine.keys.dbs())))
}

#[test]
fn whatever_the_moment_of_the_crash_recovery_finds_everything_acknowledged() {
    // The whole run tells how many operations there are to cut at.
    let probe = SimDisk::new(1);
    let (_, outcome) = run(&(Arc::new(probe.clone()) as Arc<dyn Disk>), 7);
    outcome.expect("a disk without faults takes the whole workload");
    let operations = probe.operations();
    assert!(operations > 100, "the workload writes and syncs: {operations}");

    for cut in 1..=operations {
        for tearing in 0..3 {
            let sim = SimDisk::new(cut * 1000 + tearing);
            sim.cut_at(cut);
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            let (history, _) = run(&disk, 7);
            sim.crash();
            let (seq, found) = recovered_digest(&disk)
                .unwrap_or_else(|error| panic!("cut {cut}, tearing {tearing}: does not start: {error}"));
            assert!(
                seq >= history.acknowledged,
                "cut {cut}, tearing {tearing}: recovered {seq}, acknowledged {}",
                history.acknowledged
            );
            assert_eq!(
                found, history.digests[seq],
                "cut {cut}, tearing {tearing}: batch {seq} gave another state"
            );
            // And once more: what recovery itself writes must not hurt.
            let again = recovered_digest(&disk).expect("a recovered directory opens again");
            assert_eq!(again, (seq, found), "cut {cut}, tearing {tearing}: the second start differs");
        }
    }
}
