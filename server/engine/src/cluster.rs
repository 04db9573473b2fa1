//! The cluster as commands see it: a picture that the host takes, and what commands ask of it.

/// The channel on which Sentinel says that somebody else leads. Every node says it to its own clients: a subscription at the
/// leader would end with the leader.
pub const SWITCH_MASTER: &[u8] = b"+switch-master";

/// The process as a node of a cluster, at some recent moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub nodes: Vec<ClusterNode>,
    /// Place of this node in `nodes`.
    pub myself: usize,
    /// Place of the leader, if one is known.
    pub leader: Option<usize>,
    /// Place of the last leader known, while there is none.
    pub last_leader: Option<usize>,
    /// This node leads and has everything that was ever acknowledged.
    pub serving: bool,
    /// `cluster-redirect moved`: commands for the leader are answered with -MOVED instead of being forwarded.
    pub redirect: bool,
    pub raft: RaftFigures,
}

impl ClusterView {
    /// As a client sees it that is connected by TLS: nodes are where it can get at them.
    pub fn by_tls(&self) -> Self {
        let mut view = self.clone();
        for node in view.nodes.iter_mut().filter(|node| node.tls_port != 0) {
            node.port = node.tls_port;
        }
        view
    }

    /// Can the group take writes, as far as this node knows?
    pub fn is_ok(&self) -> bool {
        self.leader.is_some()
    }

    /// This node.
    pub fn me(&self) -> &ClusterNode {
        &self.nodes[self.myself]
    }

    /// Does this node lead, as far as it knows? It may have been deposed without having heard of it.
    pub fn leads(&self) -> bool {
        self.leader == Some(self.myself)
    }

    /// The leader, if one is known.
    pub fn leader_node(&self) -> Option<&ClusterNode> {
        self.leader.map(|at| &self.nodes[at])
    }

    /// The place of the node that is shown as the master. As in Redis the last one keeps its slots until another has them:
    /// clients of a cluster take slots that nobody has for a cluster that was never made, and give up.
    pub fn master(&self) -> Option<usize> {
        self.leader.or(self.last_leader)
    }

    /// The places of all nodes that do not lead: what Redis calls replicas.
    pub fn replicas(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&at| self.master() != Some(at))
    }

    /// The node with these 40 digits, in any case.
    pub fn find(&self, id: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.as_bytes().eq_ignore_ascii_case(id))
    }

    /// How many nodes must agree, and how many of those that may vote can be reached.
    pub fn quorum(&self) -> (usize, usize) {
        let voters = self.nodes.iter().filter(|node| node.voter);
        (voters.clone().count() / 2 + 1, voters.filter(|node| node.connected).count())
    }

    /// How far a node has come, as an index of the log, in the place of Redis's replication offset: what it has
    /// applied (of this node), what is on its disk (on the leader, of another), or 0 where nobody here knows. The
    /// leader's own is the end of its log, which no other node can be past.
    pub fn offset(&self, at: usize) -> u64 {
        match () {
            () if at == self.myself && self.leads() => self.raft.last_index,
            () if at == self.myself => self.raft.applied,
            () => self.nodes[at].matched.unwrap_or(0),
        }
    }

    /// How many other nodes have the log up to `index` on their disks, as far as this one knows.
    pub fn others_with(&self, index: u64) -> usize {
        let others = self.nodes.iter().enumerate().filter(|(at, _)| *at != self.myself);
        others.filter(|(_, node)| node.matched.is_some_and(|matched| matched >= index)).count()
    }
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterNode {
    /// 40 hexadecimal digits.
    pub id: String,
    pub host: String,
    /// Clients' port; that for TLS if there is no other.
    pub port: u16,
    /// Clients' port for TLS; 0: there is none.
    pub tls_port: u16,
    pub cluster_port: u16,
    pub voter: bool,
    /// Heard of within `cluster-node-timeout`, by this node or by the leader that told it; always true of this node.
    /// Other nodes that a follower hears nothing about are taken to be there.
    pub connected: bool,
    /// Unix milliseconds of when it was last heard of (0: never, or itself).
    pub heard_at_ms: i64,
    /// On the leader: the last entry known to be on its disk.
    pub matched: Option<u64>,
}

impl ClusterNode {
    /// Milliseconds since it was last heard of, if it ever was; 0 of this node itself.
    pub fn silent_ms(&self, now_ms: i64) -> i64 {
        if self.heard_at_ms == 0 { 0 } else { (now_ms - self.heard_at_ms).max(0) }
    }
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
