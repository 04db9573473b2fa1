//! openraft's state machine: hands committed entries to the executor, which has the state.
//!
//! "Applied" means here: in the executor's queue, in order. The state is not on disk but in snapshots and the log, so nothing
//! is lost when the queue is; the executor starts from the newest snapshot and gets everything after it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::oneshot;

use crate::entry;
use crate::handle::{Applied, Taken};
use crate::shared::Shared;
use crate::snapshot::{Received, Snapshot, SnapshotData};
use crate::types::{LogId, Membership, SnapshotMeta, TypeConfig};

/// The adapter. One task of openraft has it.
pub struct StateMachine {
    shared: Arc<Shared>,
    last: Option<LogId>,
    membership: Membership,
}

/// Waits for a snapshot of the executor's.
pub struct SnapshotBuilder {
    shared: Arc<Shared>,
    /// At least this entry has to be in it; `None`: whatever there is.
    wanted: Option<u64>,
}

impl StateMachine {
    /// Begins after the executor's newest snapshot.
    pub(crate) fn new(shared: Arc<Shared>) -> StateMachine {
        let newest = shared.snapshots.newest().map(|taken| taken.meta).unwrap_or_default();
        StateMachine { shared, last: newest.last_log_id, membership: newest.last_membership }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the node stops")
}

fn stored(taken: Taken) -> Snapshot {
    Snapshot { meta: taken.meta, snapshot: SnapshotData::Stored(taken.file) }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        Ok(stored(self.shared.snapshots.covering(self.wanted).await))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.shared.applied.wait_for_room().await.map_err(|_| stopped())?;
            self.last = Some(entry.log_id);
            if let EntryPayload::Membership(members) = &entry.payload {
                self.membership = Membership::new(Some(entry.log_id), members.clone());
            }
            let (log_id, entry) = entry::committed(entry);
            self.shared.applied.push(Applied::Entry { log_id, entry });
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    /// When a follower needs a snapshot there is one already, for nothing is purged that none covers. So `force` means that
    /// there is none at all; otherwise the executor has just written one.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let newest = self.shared.snapshots.newest().map(|taken| taken.meta.last_log_id);
        if !force {
            return newest.map(|_| SnapshotBuilder { shared: Arc::clone(&self.shared), wanted: None });
        }
        let wanted = self.last.map(|last| last.index);
        if newest.is_none_or(|newest| newest < self.last) {
            self.shared.applied.push(Applied::SnapshotWanted);
        }
        Some(SnapshotBuilder { shared: Arc::clone(&self.shared), wanted })
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { shared: Arc::clone(&self.shared), wanted: None }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::Arrived { file, content } = snapshot else {
            // The node's own file, which it has started from.
            return Err(io::Error::other("a snapshot of this node's own cannot be installed"));
        };
        let index = meta.last_log_id.map_or(0, |id| id.index);
        tracing::info!(
            index,
            bytes = content.len(),
            "the leader's snapshot has arrived and replaces the state"
        );
        let received = Box::new(Received { meta: meta.clone(), file, content: content.clone() });
        let (done, installed) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.shared.applied.push(Applied::Install { received, done });
        match installed.await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => return Err(io::Error::other(cause)),
            Err(_) => return Err(stopped()),
        }
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.shared.snapshots.taken(Taken { meta: meta.clone(), file: content });
        self.shared.counters.snapshots_received.fetch_add(1, Ordering::Relaxed);
        tracing::info!(index, "the leader's snapshot is installed");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.shared.snapshots.newest();
        if self.shared.started.load(Ordering::SeqCst) {
            let index = newest.as_ref().and_then(|taken| taken.meta.last_log_id).map(|id| id.index);
            tracing::info!(index, "a node needs more than the log has, it is sent the snapshot");
            self.shared.counters.snapshots_sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(newest.map(stored))
    }
}
