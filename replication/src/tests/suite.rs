//! openraft's own tests of a log and a state machine.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::{Log, LogOptions};
use cairn_storage::snapshot::SnapshotDir;
use cairn_storage::writer::SyncPolicy;
use futures_util::Stream;
use openraft::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{AsyncRuntime, LogState, OptionalSend, RaftLogReader, StorageError};
use tokio::sync::Notify;

use super::world::{Net, Wire, peer, timing, write};
use crate::entry::log_id;
use crate::handle::{Applied, Committed, Handle, Taken};
use crate::log_store::LogStore;
use crate::node::{Options, prepare_for_test};
use crate::runtime::Runtime;
use crate::snapshot::SnapshotData;
use crate::state_machine::{SnapshotBuilder, StateMachine};
use crate::types::{Entry, LogId, Membership, SnapshotMeta, TypeConfig, Vote};

/// The log store, with a first entry anywhere. openraft itself begins with entry 0; its tests do not always.
struct Begun {
    store: LogStore,
    filler: Option<LogId>,
}

impl RaftLogReader<TypeConfig> for Begun {
    async fn try_get_log_entries<R: std::ops::RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.store.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.store.read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for Begun {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.store.get_log_state().await?;
        let real = |id: Option<LogId>| id.filter(|id| Some(*id) != self.filler);
        Ok(LogState {
            last_purged_log_id: real(state.last_purged_log_id),
            last_log_id: real(state.last_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.store.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.store.save_vote(vote).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let first = entries[0].log_id.index;
        if self.store.last().is_none() && first > 0 {
            self.filler = Some(log_id(0, first - 1));
            self.store.purge(log_id(0, first - 1)).await?;
        }
        self.store.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.store.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.store.purge(upto).await
    }
}

/// The state machine. openraft's tests install the very snapshot that another one has built.
struct Installing {
    machine: StateMachine,
    dir: SnapshotDir,
}

impl RaftStateMachine<TypeConfig> for Installing {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        self.machine.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        self.machine.apply(entries).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        self.machine.try_create_snapshot_builder(force).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.machine.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::Stored(content) = snapshot else { panic!("the tests build what they install") };
        let file = write(&self.dir, &content);
        self.machine.install_snapshot(meta, SnapshotData::Arrived { file, content }).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<crate::snapshot::Snapshot>> {
        self.machine.get_current_snapshot().await
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, Begun, Installing, Handle> for Builder {
    async fn build(&self) -> Result<(Handle, Begun, Installing), StorageError<TypeConfig>> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(7));
        let dir = SnapshotDir::attach(Arc::clone(&disk), "data".as_ref()).unwrap();
        let (log, recovered) =
            Log::open(disk, "data/log".as_ref(), LogOptions { segment_bytes: 64 << 10, salt: 1 }).unwrap();
        let news = Arc::new(Notify::new());
        let wake = Arc::clone(&news);
        let options = Options {
            id: 0,
            me: peer(0),
            peers: Vec::new(),
            timing: timing(),
            log,
            recovered,
            policy: SyncPolicy::Always,
            snapshot: None,
            wake: Arc::new(move || wake.notify_one()),
        };
        let wire = Wire { net: Net::default(), id: 0, me: peer(0), dir: dir.clone() };
        let (handle, store, machine) = prepare_for_test(options, wire);
        tokio::spawn(execute(handle.clone(), news));
        Ok((handle, Begun { store, filler: None }, Installing { machine, dir }))
    }
}

/// An executor that has no state but where it is.
async fn execute(handle: Handle, news: Arc<Notify>) {
    let mut meta = SnapshotMeta::default();
    let mut applied = VecDeque::new();
    loop {
        while handle.take_applied(&mut applied, 1 << 20) {
            for applied in applied.drain(..) {
                match applied {
                    Applied::Entry { log_id, entry } => {
                        meta.last_log_id = Some(log_id);
                        if let Committed::Membership(membership) = entry {
                            meta.last_membership = Membership::clone(&membership);
                        }
                    }
                    Applied::Install { received, done } => {
                        meta = received.meta.clone();
                        received.file.commit().unwrap();
                        done(Ok(()));
                    }
                    Applied::SnapshotWanted => {
                        let file = Bytes::from_static(b"state");
                        handle.snapshot_taken(Taken { meta: meta.clone(), file });
                    }
                }
            }
        }
        news.notified().await;
    }
}

#[test]
fn openrafts_own_tests_pass() {
    Runtime::run(async { Suite::test_all(Builder).await }).unwrap();
}
