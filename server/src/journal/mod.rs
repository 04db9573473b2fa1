//! Where batches of effects are made to last, and when their replies may leave.
//!
//! The executor appends and never waits; the journal wakes it when something has changed. One node has a
//! [`LocalJournal`]. A node of a cluster has a [`RaftJournal`]: for it `released` means committed, and its events tell of
//! batches made elsewhere and of a leadership won or lost.

mod local;
pub mod raft;
#[cfg(test)]
mod raft_tests;

use std::time::{Duration, SystemTime};

pub use local::LocalJournal;
pub use raft::RaftJournal;

use bytes::Bytes;
use cairn_replication::handle::Done;
use cairn_replication::snapshot::Received;
use cairn_storage::log::LogReader;

use cairn_engine::effects::Batch;
use cairn_engine::rdb::Aux;

/// Bytes that may wait in the journal before clients are read from no more.
pub const QUEUED_BYTES_MAX: u64 = 64 << 20;

/// What is done with each batch that is read again.
pub type ApplyBatch<'a> = dyn FnMut(&[u8]) -> Result<(), String> + 'a;

/// AUX fields of a snapshot that tell which position of the journal it is the state of.
pub type AuxFields = Vec<(&'static str, String)>;

/// A sequence of batches, numbered without gaps.
pub trait Journal {
    /// Takes the next batch. Never blocks on a disk or a network.
    fn append(&mut self, batch: Batch);
    /// Every batch up to this one is as safe as the configuration asks; grows, never falls.
    fn released(&mut self) -> u64;
    /// What has happened since the last call, one at a time.
    fn poll(&mut self) -> Option<Event>;
    /// Bytes that wait to be made safe.
    fn queued_bytes(&self) -> u64;
    /// What a snapshot of the state after `seq` says of its position, once `seq` is released. To be asked first in the turn in
    /// which that state was taken, and only for one snapshot at a time.
    fn position(&mut self, seq: u64) -> Option<AuxFields>;
    /// A snapshot of the state after `seq` is durable: older batches may go, as far as retention allows.
    fn compact(&mut self, seq: u64, retention: Retention);
    /// Makes everything appended safe, and waits for that. Only for shutdown and rebuilding; a node of a cluster takes part in
    /// it no more afterwards.
    fn flush(&mut self) -> Result<(), String>;
    /// Reads batches again, those after the position of a loaded snapshot, for rebuilding the state.
    fn replay(&self, after: &Aux, apply: &mut ApplyBatch<'_>) -> Result<(), String>;
    /// A cluster's: the state is now that of a snapshot that the leader has sent, whose fields these are.
    ///
    /// # Errors
    /// If they do not say of which position. Nothing has changed then.
    fn adopt(&mut self, snapshot: &Aux) -> Result<(), String>;
    /// A single node's: the state is now another, that after `seq`, which is safe; nothing has been appended since the last
    /// release, and the next batch is the one after `seq`.
    fn begin_after(&mut self, seq: u64);
    /// What is on this node's disk: a batch, in a cluster an index of the log.
    fn synced(&self) -> u64 {
        self.figures().synced
    }
    /// Figures for INFO.
    fn figures(&self) -> Figures;
}

/// What the journal tells the executor.
pub enum Event {
    /// A batch of the leader, committed: it is applied before anything else is asked of the journal.
    Apply(Bytes),
    /// This node leads: it executes commands from here on, in this epoch.
    Lead { term: u64 },
    /// It leads no longer. `unreleased`: it has executed what was not committed, so its state has to be dropped.
    Lost { term: u64, cause: String, unreleased: bool },
    /// The leader has sent a snapshot, which replaces the state.
    Install { received: Box<Received>, done: Done },
    /// A node needs a snapshot of the present state.
    SnapshotWanted,
    /// The disk is full: what is queued stays queued; nothing new should come.
    Full,
    /// There is room again.
    Room,
    /// The disk has failed. What was appended since the last release may or may not survive; the process must end.
    Failed(String),
}

/// What is kept of the log before a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub bytes: u64,
    pub seconds: u64,
}

/// Figures of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub appended: u64,
    pub released: u64,
    /// In a cluster: the epoch of the batch `released`, and the index of the last entry that the state has in it.
    pub epoch: u64,
    pub applied_index: u64,
    pub synced: u64,
    pub syncs: u64,
    pub last_sync_us: u64,
    pub bytes_on_disk: u64,
    /// Payload bytes appended since this journal began, and those before that the start has replayed; grows, never
    /// falls. The difference of two is what a snapshot is behind by.
    pub appended_bytes: u64,
}

/// The last entry of the log that may go, when a snapshot of the state after entry `upto` is there; 0: none.
pub fn purgeable(log: &LogReader, upto: u64, retention: Retention) -> u64 {
    let segments = log.segments();
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut last = 0;
    for segment in &segments {
        let old = retention.seconds == 0
            || log
                .modified(segment)
                .ok()
                .and_then(|at| SystemTime::now().duration_since(at).ok())
                .is_some_and(|age| age > Duration::from_secs(retention.seconds));
        // A segment goes when the snapshot covers it and it is beyond what retention keeps.
        if segment.last_index > upto || (total <= retention.bytes && !(retention.seconds > 0 && old)) {
            break;
        }
        total -= segment.bytes;
        last = segment.last_index;
    }
    last
}
