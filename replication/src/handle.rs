//! The executor's end of replication: what it proposes, what comes out of the log, who leads.
//!
//! The executor and Raft run on different threads (under simulation: in different tasks). Nothing here blocks: proposals
//! are queued, what was committed is taken from a queue, figures are read from a shared copy. The waker given to the node
//! is called whenever there is something new to look at.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cairn_storage::log::LogReader;
use cairn_storage::writer::SyncPolicy;

pub use crate::shared::SessionDoor;
use crate::shared::{Request, Shared};
use crate::snapshot::Received;
use crate::types::{LogId, Membership, NodeId, Peer, SnapshotMeta};

/// Bytes of entries that may wait for the executor; past it Raft's state machine waits.
pub const APPLIED_BYTES_MAX: usize = 64 << 20;

/// What comes out of the log, in the log's order, on every node alike.
pub enum Applied {
    /// A committed entry.
    Entry { log_id: LogId, entry: Committed },
    /// The leader has sent a snapshot: it replaces the state. Raft waits until `done` is called.
    Install { received: Box<Received>, done: Done },
    /// A snapshot of the state up to here is wanted, because a node needs one that is newer than what the log still has. One
    /// that is being written will do; [`Handle::snapshot_taken`] says when.
    SnapshotWanted,
}

/// What a committed entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The first entry of a term: everything older has come out before it.
    Blank,
    /// A batch of effects.
    Batch(Bytes),
    /// Voters and learners from here on.
    Membership(Arc<Membership>),
}

/// Told how something ended.
pub type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

/// What the administrator, or the executor itself, asks of the group. Answered when it is done or has failed, with a text
/// for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// CLUSTER MEET: the node at this address, which must be empty, becomes a learner, catches up, becomes a voter.
    Meet { host: String, port: u16, cluster_port: u16 },
    /// CLUSTER FORGET: the node is no longer a member. The leader is refused: it has to hand over first.
    Forget { node: NodeId },
    /// The leadership goes to this voter, or to the one that is furthest. The executor has stopped proposing and everything
    /// proposed is released.
    Transfer { to: Option<NodeId> },
    /// The epoch has ended but this node still leads the term: it leads no longer, or only in another term.
    GiveUpTerm { term: u64 },
}

/// A proposal's fate is not what was hoped for: it, and all later ones of the term, may or may not be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub term: u64,
    pub cause: String,
}

/// What this node is in the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Not a member of any group yet: it waits for its peers or for CLUSTER MEET.
    #[default]
    Alone,
    Learner,
    Follower,
    Candidate,
    Leader,
}

/// One member of the group as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    pub peer: Peer,
    pub voter: bool,
    /// On the leader: the last entry known to be on that node's disk.
    pub matched: Option<u64>,
    /// On the leader: when it last answered. On the others: when anything was last heard from it.
    pub heard_at: Option<Instant>,
}

/// A picture of the node, for INFO, CLUSTER and the log. Replaced as a whole, at least once a second and at every change of role,
/// leader or membership.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub id: NodeId,
    pub role: Role,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub members: Vec<Member>,
    pub last_index: u64,
    pub committed: u64,
    pub applied: u64,
    pub snapshot: u64,
    pub purged: u64,
    /// Terms in which this node was elected since it started.
    pub elections_won: u64,
    /// Changes of leader seen since it started.
    pub leader_changes: u64,
    pub snapshots_sent: u64,
    pub snapshots_received: u64,
    /// Bytes waiting to be written to this node's log.
    pub log_queued_bytes: u64,
    pub synced: u64,
    pub syncs: u64,
    pub last_sync_us: u64,
    /// This node's disk is full: its log waits for room.
    pub full: bool,
    /// The process has to end: the disk has failed or Raft has stopped. Says why.
    pub fatal: Option<String>,
}

/// The newest snapshot file, as the executor wrote it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub meta: SnapshotMeta,
    /// The whole file.
    pub file: Bytes,
}

/// The executor's handle. Cheap to clone, good on any thread.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// This node.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Queues a batch. It becomes an entry only if this node still leads `term` when its turn comes; otherwise
    /// [`Handle::doubt`] tells. Proposals of a term become entries in the order of the calls, possibly with gaps.
    pub fn propose(&self, term: u64, batch: Bytes) {
        self.shared.proposals.propose(term, batch);
    }

    /// Bytes proposed whose fate is not known yet.
    pub fn proposed_bytes(&self) -> u64 {
        self.shared.proposals.bytes()
    }

    /// Bytes that wait to be written to this node's own log. They are in memory, whether or not others have them.
    pub fn log_queued_bytes(&self) -> u64 {
        self.shared.writer.queued_bytes()
    }

    /// The first proposal of the newest term with a doubt.
    pub fn doubt(&self) -> Option<Doubt> {
        self.shared.proposals.doubt()
    }

    /// Moves what has come out of the log to `into`, up to `bytes_max` and at least one; false when there is nothing.
    pub fn take_applied(&self, into: &mut VecDeque<Applied>, bytes_max: usize) -> bool {
        self.shared.applied.take(into, bytes_max)
    }

    /// The term that this node leads, as Raft sees it now: elected, and not deposed that it knows of.
    pub fn leading(&self) -> Option<u64> {
        self.shared.lease.leading()
    }

    /// Is it certain that no other leader can have committed anything by now? Only in the term that this node leads.
    pub fn lease_is_valid(&self, term: u64) -> bool {
        self.shared.lease.is_valid(term)
    }

    /// Milliseconds that the lease goes on; for INFO.
    pub fn lease_ms(&self) -> u64 {
        self.shared.lease.left().as_millis() as u64
    }

    /// Asks a quorum whether this node still leads; a yes prolongs the lease from the moment of asking. Calls during a round
    /// make one more round after it.
    pub fn confirm_lease(&self) {
        self.shared.confirm.notify_one();
    }

    /// Gives the lease up (before a hand-over): `lease_is_valid` is false until the next term.
    pub fn drop_lease(&self) {
        self.shared.lease.drop_for_this_term();
    }

    /// A picture of the node.
    pub fn status(&self) -> Arc<Status> {
        self.shared.status.get()
    }

    /// Has the group to do something. `done` is called on Raft's thread.
    pub fn order(&self, order: Order, done: Done) {
        self.shared.send(Request::Order(order, done));
    }

    /// A snapshot of the state after `taken.meta.last_log_id` is durable under its name.
    pub fn snapshot_taken(&self, taken: Taken) {
        self.shared.snapshots.taken(taken);
        self.shared.send(Request::SnapshotTaken);
    }

    /// Entries up to `index` are no longer wanted by the retention; they go once a snapshot covers them.
    pub fn purge(&self, index: u64) {
        self.shared.send(Request::Purge(index));
    }

    /// Reads committed entries `from..=to` (Raft's indexes) again, for rebuilding the state. The caller has seen `to`, or
    /// something after it, come out of the log.
    pub fn read(&self, from: u64, to: u64) -> impl Iterator<Item = io::Result<(LogId, Committed)>> + use<> {
        self.shared.store.read_committed(from, to)
    }

    /// The log's files, for retention.
    pub fn log(&self) -> LogReader {
        self.shared.writer.reader()
    }

    /// Changes when an entry counts as being on this node's disk. Votes are always synced.
    pub fn set_sync_policy(&self, policy: SyncPolicy) {
        self.shared.writer.set_policy(policy);
    }

    /// What a session forwarded to this node has to show: random, new at each start, known to the other members.
    pub fn session_token(&self) -> [u8; 16] {
        self.shared.session_token
    }

    /// How sessions get into another member, once it has said so.
    pub fn session_door_of(&self, node: NodeId) -> Option<SessionDoor> {
        self.shared.acquaintances.door_of(node)
    }

    /// Stops Raft and the log thread after everything queued is on disk. On a node that runs as tasks of somebody's
    /// runtime it only asks for that.
    pub fn stop(&self) -> Result<(), String> {
        self.shared.stop()
    }
}
