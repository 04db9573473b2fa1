//! Where batches of effects are made to last, and when their replies may leave.
//!
//! The executor appends and never waits; the journal wakes it when something has changed. One node has a
//! [`LocalJournal`]. A cluster will have one that appends to Raft's log: for it `released` means committed, and
//! its events tell of batches made elsewhere and of a leadership won or lost.

mod local;

pub use local::LocalJournal;

use cairn_engine::effects::Batch;

/// Bytes that may wait in the journal before clients are read from no more.
pub const QUEUED_BYTES_MAX: u64 = 64 << 20;

/// What is done with each batch that is read again: its position and its payload.
pub type ApplyBatch<'a> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'a;

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
    /// A snapshot of the state after `seq` is durable: older batches may go, as far as retention allows.
    fn compact(&mut self, seq: u64, retention: Retention);
    /// Makes everything appended safe, and waits for that. Only for shutdown and rebuilding.
    fn flush(&mut self) -> Result<(), String>;
    /// Reads batches again, from `seq` on, for rebuilding the state.
    fn replay(&self, from: u64, apply: &mut ApplyBatch<'_>) -> Result<(), String>;
    /// Figures for INFO.
    fn figures(&self) -> Figures;
}

/// What the journal tells the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
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
    pub synced: u64,
    pub syncs: u64,
    pub last_sync_us: u64,
    pub bytes_on_disk: u64,
    /// Payload bytes appended since this journal began, and those before that the start has replayed; grows, never
    /// falls. The difference of two is what a snapshot is behind by.
    pub appended_bytes: u64,
}
