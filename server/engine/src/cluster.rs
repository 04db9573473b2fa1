//! The cluster as commands see it: a picture that the host takes, and what commands ask of it.

/// The process as a node of a cluster, at some recent moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub nodes: Vec<ClusterNode>,
    /// Place of this node in `nodes`.
    pub myself: usize,
    /// Place of the leader, if one is known.
    pub leader: Option<usize>,
    /// This node leads and has everything that was ever acknowledged.
    pub serving: bool,
    /// `cluster-redirect moved`: commands for the leader are answered with -MOVED instead of being forwarded.
    pub redirect: bool,
    pub raft: RaftFigures,
}

impl ClusterView {
    /// Can the group take writes, as far as this node knows?
    pub fn is_ok(&self) -> bool {
        self.leader.is_some()
    }
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterNode {
    /// 40 hexadecimal digits.
    pub id: String,
    pub host: String,
    pub port: u16,
    pub cluster_port: u16,
    pub voter: bool,
    /// Heard of within `cluster-node-timeout`; always true of this node.
    pub connected: bool,
    /// Unix milliseconds of when it was last heard of (0: never, or itself).
    pub heard_at_ms: i64,
    /// On the leader: the last entry known to be on its disk.
    pub matched: Option<u64>,
}

/// INFO raft.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RaftFigures {
    /// `leader`, `follower`, `learner`, `candidate`, `alone`.
    pub role: &'static str,
    pub term: u64,
    pub last_index: u64,
    pub committed: u64,
    pub applied: u64,
    pub snapshot: u64,
    pub purged: u64,
    /// Of the batches: the leadership and the number of the last one applied.
    pub epoch: u64,
    pub seq: u64,
    pub lease_ms: u64,
    pub elections_won: u64,
    pub leader_changes: u64,
    pub rebuilds: u64,
    pub snapshots_sent: u64,
    pub snapshots_received: u64,
    pub log_queued_bytes: u64,
    pub proposed_bytes: u64,
}

/// What a command asks of the cluster; the client waits for [`crate::Engine::answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRequest {
    /// CLUSTER MEET.
    Meet { host: String, port: u16, cluster_port: u16 },
    /// CLUSTER FORGET, with the 40 digits.
    Forget { id: String },
    /// FAILOVER, CLUSTER FAILOVER: a planned hand-over. `timeout_ms` 0: until it is done or given up.
    Failover { to: Option<(String, u16)>, force: bool, timeout_ms: u64 },
    /// FAILOVER ABORT.
    FailoverAbort,
}
