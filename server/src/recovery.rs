//! From a data directory to a running state: the newest snapshot, then the log after it.
//!
//! This is the one way to a state from disk; DEBUG LOADAOF takes it too.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cairn_engine::config::Config;
use cairn_engine::rdb;
use cairn_engine::{Engine, Host};
use cairn_storage::disk::Disk;
use cairn_storage::log::{Log, LogOptions, LogReader};
use cairn_storage::snapshot::SnapshotDir;

use crate::pace::Pace;

/// The log's directory in the data directory.
pub const LOG_DIR: &str = "log";
/// A long load says how far it is this often.
const PROGRESS_SECONDS: u64 = 2;

/// Why the server cannot start from its data. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("{0}")]
    Log(#[from] cairn_storage::log::LogError),
    #[error("cannot read {file}: {error}")]
    Read { file: String, error: std::io::Error },
    #[error(
        "snapshot {file} is damaged: {error}. Restore the file from a backup, or move it away if the log reaches back \
         to its beginning (`cairn-admin check` tells)"
    )]
    Snapshot { file: String, error: rdb::LoadError },
    #[error(
        "snapshot {file} has users that cannot be read: {error}. This version of Cairn is older than the one that wrote it"
    )]
    Users { file: String, error: String },
    #[error(
        "snapshot {file} has indexes that cannot be read: {error}. This version of Cairn is older than the one that wrote it"
    )]
    Indexes { file: String, error: String },
    #[error(
        "snapshot {file} was made by another server, but the log in '{log}' has entries of its own, up to {last}. To \
         start from the snapshot, move the log away; to start from the log, move the snapshot away"
    )]
    Foreign { file: String, log: String, last: u64 },
    #[error(
        "the log begins at entry {first} but the snapshot ends at {snapshot}: the entries between are missing. \
         Restore the snapshot that belongs to this log from a backup"
    )]
    Gap { snapshot: u64, first: u64 },
    #[error("log entry {seq} cannot be applied: {error}. Run `cairn-admin check` and report this as a bug")]
    Apply { seq: u64, error: String },
}

/// What recovery found.
pub struct Recovered {
    pub log: Log,
    /// A dump of Redis was taken over; it is to be saved as a snapshot of our own before anything else.
    pub imported: bool,
    /// Length of the snapshot's file; 0: there is none.
    pub snapshot_bytes: u64,
    /// Bytes of payload in the log after the snapshot.
    pub replayed_bytes: u64,
}

/// Brings `engine` (fresh, empty) to the state of the data directory.
pub fn recover(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    config: &Config,
    engine: &mut Engine,
    host: &mut dyn Host,
) -> Result<Recovered, RecoveryError> {
    let options = LogOptions { segment_bytes: config.log_segment_size, ..LogOptions::default() };
    let (mut log, found) = Log::open(Arc::clone(disk), &dir.join(LOG_DIR), options)?;
    let snapshots = SnapshotDir::open(Arc::clone(disk), dir)?;
    let loaded = load_snapshot(&snapshots, &config.dbfilename, engine)?;
    let snapshot_seq = match loaded {
        Some(Loaded { seq: Some(seq), .. }) => seq,
        // A dump that is not ours is the state before our first entry.
        Some(Loaded { seq: None, .. }) | None => 0,
    };
    let imported = matches!(loaded, Some(Loaded { seq: None, .. }));
    let mut replayed_bytes = 0;
    if imported && found.last_index > 0 {
        // Applied to another state than the one they were made from, its entries would make one that never was.
        return Err(RecoveryError::Foreign {
            file: dir.join(&config.dbfilename).display().to_string(),
            log: dir.join(LOG_DIR).display().to_string(),
            last: found.last_index,
        });
    }
    if found.last_index < snapshot_seq {
        // Snapshots were taken while the log was off, or a power failure under `everysec` took the log's end: it goes on
        // after them. It looks the same if somebody has taken the log away, who should hear of it.
        tracing::warn!(
            snapshot = snapshot_seq,
            log = found.last_index,
            "the snapshot is newer than the log, which goes on after it"
        );
        log.purge(snapshot_seq)?;
    } else if found.first_index > snapshot_seq + 1 {
        return Err(RecoveryError::Gap { snapshot: snapshot_seq, first: found.first_index });
    } else {
        replayed_bytes = replay(&log.reader(), snapshot_seq, engine, host)?;
    }
    // A marker: damage to what has been read now can never again pass for a torn write.
    log.mark()?;
    let snapshot_bytes = loaded.map_or(0, |loaded| loaded.bytes);
    Ok(Recovered { log, imported, snapshot_bytes, replayed_bytes })
}

/// What a snapshot file said of itself.
pub struct Loaded {
    /// Its position in the log; `None` for a dump made by Redis.
    pub seq: Option<u64>,
    /// The file's length.
    pub bytes: u64,
    pub aux: rdb::Aux,
}

/// Loads the snapshot `file`, if there is one, into `engine`.
pub fn load_snapshot(
    dir: &SnapshotDir,
    file: &str,
    engine: &mut Engine,
) -> Result<Option<Loaded>, RecoveryError> {
    let path = dir.path().join(file).display().to_string();
    let bytes = match dir.map(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecoveryError::Read { file: path, error }),
    };
    let started = Instant::now();
    let pace = Pace::new(engine.shared.config.key_load_delay);
    let mut shown_s = 0;
    let mut progress = |read: u64, keys: u64| {
        pace.key_done(keys);
        let elapsed_s = started.elapsed().as_secs();
        if elapsed_s >= shown_s + PROGRESS_SECONDS {
            shown_s = elapsed_s;
            tracing::info!(keys, percent = read * 100 / (bytes.len() as u64).max(1), "loading {path}");
        }
    };
    let options = rdb::LoadOptions {
        databases: engine.keys.dbs().len(),
        seed: engine.keys.seed(),
        config: &engine.shared.config,
    };
    let loaded = rdb::load(&bytes, &options, &mut progress)
        .map_err(|error| RecoveryError::Snapshot { file: path.clone(), error })?;
    let keys: usize = loaded.dbs.iter().map(|db| db.len()).sum();
    let seq = loaded.aux.seq;
    // A file without the exact time is of another server, whose clock is not ours.
    engine.restore(loaded.dbs, loaded.functions, seq.unwrap_or(0), loaded.aux.taken_at_ms.unwrap_or(0));
    engine
        .restore_users(loaded.aux.users.as_deref())
        .map_err(|error| RecoveryError::Users { file: path.clone(), error })?;
    engine
        .restore_indexes(loaded.aux.indexes.as_deref())
        .map_err(|error| RecoveryError::Indexes { file: path.clone(), error })?;
    tracing::info!(keys, seq, ms = started.elapsed().as_millis() as u64, "loaded {path}");
    Ok(Some(Loaded { seq, bytes: bytes.len() as u64, aux: loaded.aux }))
}

/// Applies the entries after `seq`; returns how many bytes of payload they have.
pub fn replay(
    log: &LogReader,
    seq: u64,
    engine: &mut Engine,
    host: &mut dyn Host,
) -> Result<u64, RecoveryError> {
    let started = Instant::now();
    let pace = Pace::new(engine.shared.config.key_load_delay);
    let mut shown_s = 0;
    let mut applied = 0u64;
    let mut bytes = 0;
    let last = log.last_index();
    for entry in log.read(seq + 1)? {
        let entry = entry?;
        engine
            .apply(host, &entry.payload)
            .map_err(|error| RecoveryError::Apply { seq: entry.index, error: error.to_string() })?;
        // Values replaced while replaying are dropped here and now: nobody waits yet.
        drop(engine.take_trash());
        applied += 1;
        pace.key_done(applied);
        bytes += entry.payload.len() as u64;
        let elapsed_s = started.elapsed().as_secs();
        if elapsed_s >= shown_s + PROGRESS_SECONDS {
            shown_s = elapsed_s;
            tracing::info!(applied, left = last - entry.index, "replaying the log");
        }
    }
    if applied > 0 {
        tracing::info!(entries = applied, ms = started.elapsed().as_millis() as u64, "replayed the log");
    }
    Ok(bytes)
}
