//! Raft as the journal sees it.

use std::collections::VecDeque;

use bytes::Bytes;
use cairn_replication::handle::{Applied, Doubt, Handle, Order, Taken};
use cairn_replication::types::SnapshotMeta;
use cairn_storage::snapshot::SnapshotDir;

use crate::journal::raft::{Group, ReadEntry};
use crate::journal::{Figures, Retention, purgeable};

/// A node's Raft, and the directory of its snapshot.
pub struct RaftGroup {
    handle: Handle,
    dir: SnapshotDir,
    snapshot_file: String,
}

impl RaftGroup {
    /// The snapshot that a start loads is `snapshot_file` in `dir`.
    pub fn new(handle: Handle, dir: SnapshotDir, snapshot_file: String) -> Self {
        Self { handle, dir, snapshot_file }
    }
}

impl Group for RaftGroup {
    fn propose(&self, term: u64, batch: Bytes) {
        self.handle.propose(term, batch);
    }

    fn queued_bytes(&self) -> u64 {
        self.handle.proposed_bytes().max(self.handle.log_queued_bytes())
    }

    fn doubt(&self) -> Option<Doubt> {
        self.handle.doubt()
    }

    fn take_applied(&self, into: &mut VecDeque<Applied>, bytes_max: usize) -> bool {
        self.handle.take_applied(into, bytes_max)
    }

    fn leading(&self) -> Option<u64> {
        self.handle.leading()
    }

    fn give_up(&self, term: u64) {
        // However it ends, the journal sees it in the terms that follow.
        self.handle.order(Order::GiveUpTerm { term }, Box::new(|_| {}));
    }

    fn read(&self, from: u64, to: u64, each: &mut ReadEntry<'_>) -> Result<(), String> {
        for entry in self.handle.read(from, to) {
            let (log_id, entry) = entry.map_err(|error| error.to_string())?;
            each(log_id, entry)?;
        }
        Ok(())
    }

    fn compact(&self, meta: SnapshotMeta, retention: Retention) {
        let Some(last) = meta.last_log_id else { return };
        match self.dir.map(&self.snapshot_file) {
            Ok(file) => self.handle.snapshot_taken(Taken { meta, file }),
            Err(error) => {
                tracing::error!("the new snapshot cannot be read, the log stays as it is: {error}");
                return;
            }
        }
        // An entry's place in the log is its index plus 1.
        let upto = purgeable(&self.handle.log(), last.index + 1, retention);
        if let Some(index) = upto.checked_sub(1) {
            self.handle.purge(index);
        }
    }

    fn is_full(&self) -> bool {
        self.handle.status().full
    }

    fn figures(&self) -> Figures {
        let status = self.handle.status();
        Figures {
            synced: status.synced,
            syncs: status.syncs,
            last_sync_us: status.last_sync_us,
            bytes_on_disk: self.handle.log().size_on_disk(),
            ..Figures::default()
        }
    }

    fn flush(&self) -> Result<(), String> {
        self.handle.stop()
    }
}
