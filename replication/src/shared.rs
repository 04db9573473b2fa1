//! What the executor's handle, Raft's tasks and the transport share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use cairn_storage::writer::LogWriter;
use tokio::sync::{Notify, mpsc};

use crate::acks::Acks;
use crate::admin::PeerInfo;
use crate::applied::{AppliedQueue, Snapshots};
use crate::handle::{Done, Doubt, Order};
use crate::lease::Lease;
use crate::log_store::LogStore;
use crate::status::StatusCell;
use crate::types::{NodeId, Peer};

pub(crate) struct Shared {
    pub id: NodeId,
    pub me: Peer,
    pub session_token: [u8; 16],
    pub writer: Arc<LogWriter>,
    pub store: LogStore,
    pub applied: AppliedQueue,
    pub snapshots: Snapshots,
    pub proposals: Proposals,
    pub lease: Lease,
    /// What the lease rests on.
    pub acks: Acks,
    /// A round to confirm the lease is wanted.
    pub confirm: Notify,
    pub status: StatusCell,
    pub counters: Counters,
    pub acquaintances: Acquaintances,
    pub requests: mpsc::UnboundedSender<Request>,
    /// The log thread has found the disk full, or not full any more, or has failed.
    pub log_news: Arc<Notify>,
    /// Entries up to here are to go, once a snapshot covers them.
    pub purge_wanted: AtomicU64,
    /// openraft runs; before, it looks at what there is.
    pub started: AtomicBool,
    /// Raft has ended, or is to end.
    pub stopping: AtomicBool,
    pub stop_wanted: Notify,
    pub thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the executor asks of Raft's tasks.
pub(crate) enum Request {
    Order(Order, Done),
    SnapshotTaken,
    Purge(u64),
}

#[derive(Default)]
pub(crate) struct Counters {
    pub elections_won: AtomicU64,
    pub leader_changes: AtomicU64,
    pub snapshots_sent: AtomicU64,
    pub snapshots_received: AtomicU64,
}

impl Shared {
    pub(crate) fn send(&self, request: Request) {
        // When Raft has ended, what was asked for is dropped with its `Done`; the status says why.
        let _ = self.requests.send(request);
    }

    /// `node` has answered what it was sent in `term` at `sent_at`.
    pub(crate) fn acked(&self, node: NodeId, term: u64, sent_at: tokio::time::Instant) {
        self.acks.note(node, term, sent_at);
        if let Some(quorum) = self.acks.quorum(term) {
            self.lease.extend(term, quorum);
        }
    }

    pub(crate) fn stop(&self) -> Result<(), String> {
        self.stopping.store(true, Ordering::SeqCst);
        self.stop_wanted.notify_one();
        self.applied.close();
        let thread = self.thread.lock().expect("nothing panics while it has the thread").take();
        if let Some(thread) = thread {
            thread.join().map_err(|_| "Raft's thread panicked".to_owned())?;
            return match &self.status.get().fatal {
                Some(cause) => Err(cause.clone()),
                None => Ok(()),
            };
        }
        Ok(())
    }
}

/// One batch on its way to Raft.
pub(crate) struct Proposed {
    pub term: u64,
    pub batch: Bytes,
}

/// What was proposed, and what became of it.
pub(crate) struct Proposals {
    queue: mpsc::UnboundedSender<Proposed>,
    bytes: AtomicU64,
    doubt: Mutex<Option<Doubt>>,
}

impl Proposals {
    pub(crate) fn new() -> (Proposals, mpsc::UnboundedReceiver<Proposed>) {
        let (queue, proposed) = mpsc::unbounded_channel();
        (Proposals { queue, bytes: AtomicU64::new(0), doubt: Mutex::new(None) }, proposed)
    }

    pub(crate) fn propose(&self, term: u64, batch: Bytes) {
        let bytes = batch.len() as u64;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.queue.send(Proposed { term, batch }).is_err() {
            self.fate_known(bytes);
            self.set_doubt(term, "Raft has stopped");
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn fate_known(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.locked().clone()
    }

    /// Whether a proposal of this term has failed already; then the later ones would only leave gaps.
    pub(crate) fn in_doubt(&self, term: u64) -> bool {
        self.locked().as_ref().is_some_and(|doubt| doubt.term >= term)
    }

    /// Returns whether it is the first of its term.
    pub(crate) fn set_doubt(&self, term: u64, cause: &str) -> bool {
        let mut doubt = self.locked();
        let first = doubt.as_ref().is_none_or(|doubt| doubt.term < term);
        if first {
            *doubt = Some(Doubt { term, cause: cause.to_owned() });
        }
        first
    }

    fn locked(&self) -> MutexGuard<'_, Option<Doubt>> {
        self.doubt.lock().expect("nothing panics while it has the doubt")
    }
}

/// How sessions get into a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionDoor {
    /// What a session has to show.
    pub token: [u8; 16],
    /// The port that it may go to by TLS. 0: there is none.
    pub tls_port: u16,
}

/// Who has been heard from, and what they said of themselves.
#[derive(Default)]
pub(crate) struct Acquaintances {
    known: Mutex<HashMap<NodeId, Acquaintance>>,
}

#[derive(Clone, Copy)]
struct Acquaintance {
    door: Option<SessionDoor>,
    heard_at: Instant,
}

impl Acquaintances {
    fn known(&self) -> MutexGuard<'_, HashMap<NodeId, Acquaintance>> {
        self.known.lock().expect("nothing panics while it has the acquaintances")
    }

    pub(crate) fn met(&self, peer: &PeerInfo) {
        let door = SessionDoor { token: peer.session_token, tls_port: peer.peer.tls_port };
        let acquaintance = Acquaintance { door: Some(door), heard_at: now() };
        self.known().insert(peer.id, acquaintance);
    }

    pub(crate) fn heard(&self, node: NodeId) {
        let heard_at = now();
        self.known()
            .entry(node)
            .and_modify(|known| known.heard_at = heard_at)
            .or_insert(Acquaintance { door: None, heard_at });
    }

    pub(crate) fn door_of(&self, node: NodeId) -> Option<SessionDoor> {
        self.known().get(&node)?.door
    }

    pub(crate) fn heard_at(&self, node: NodeId) -> Option<Instant> {
        Some(self.known().get(&node)?.heard_at)
    }
}

/// Now, by the clock that a simulation can set.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
