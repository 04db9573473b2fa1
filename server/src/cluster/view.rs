//! The picture of the cluster that commands show.

use std::time::{Duration, Instant};

use cairn_engine::cluster::{ClusterNode, ClusterView, RaftFigures};
use cairn_replication::handle::{Member, Role, Status};
use cairn_replication::identity::shown;
use cairn_replication::types::{NodeId, Peer};

use crate::executor::now_ms;

/// What the executor knows and Raft's status does not.
pub struct Facts {
    pub serving: bool,
    pub redirect: bool,
    pub node_timeout: Duration,
    /// The last batch that is applied here, its epoch, and the index of its entry or of one after it without a batch.
    pub seq: u64,
    pub epoch: u64,
    pub applied: u64,
    pub rebuilds: u64,
    pub lease_ms: u64,
    pub proposed_bytes: u64,
    /// Where this node is reached.
    pub me: Peer,
}

/// The member with this name of 40 digits.
pub fn node_by_name(status: &Status, wanted: &str) -> Option<NodeId> {
    status.members.iter().map(|member| member.id).find(|&id| shown(id).eq_ignore_ascii_case(wanted))
}

/// Makes the picture.
pub fn of(status: &Status, facts: &Facts) -> ClusterView {
    let now = Instant::now();
    let node = |member: &Member| {
        let silent = member.heard_at.map(|at| now.saturating_duration_since(at));
        let myself = member.id == status.id;
        ClusterNode {
            id: shown(member.id),
            host: member.peer.host.clone(),
            port: member.peer.port,
            tls_port: member.peer.tls_port,
            cluster_port: member.peer.cluster_port,
            voter: member.voter,
            // A follower hears from the leader only; of the others it knows nothing bad.
            connected: myself
                || silent.is_some_and(|silent| silent <= facts.node_timeout)
                || (status.role != Role::Leader && status.leader.is_some_and(|leader| leader != member.id)),
            heard_at_ms: silent.map_or(0, |silent| now_ms() - silent.as_millis() as i64),
            matched: member.matched,
        }
    };
    let place = |id: NodeId| status.members.iter().position(|member| member.id == id);
    let mut nodes: Vec<ClusterNode> = status.members.iter().map(node).collect();
    let myself = place(status.id).unwrap_or(nodes.len());
    if myself == nodes.len() {
        // No member yet, or no longer.
        let alone =
            Member { id: status.id, peer: facts.me.clone(), voter: false, matched: None, heard_at: None };
        nodes.push(node(&alone));
    }
    ClusterView {
        nodes,
        myself,
        leader: status.leader.and_then(place),
        last_leader: None,
        serving: facts.serving,
        redirect: facts.redirect,
        raft: RaftFigures {
            role: match status.role {
                Role::Alone => "alone",
                Role::Learner => "learner",
                Role::Follower => "follower",
                Role::Candidate => "candidate",
                Role::Leader => "leader",
            },
            term: status.term,
            last_index: status.last_index,
            committed: status.committed,
            applied: facts.applied,
            snapshot: status.snapshot,
            purged: status.purged,
            epoch: facts.epoch,
            seq: facts.seq,
            lease_ms: facts.lease_ms,
            elections_won: status.elections_won,
            leader_changes: status.leader_changes,
            rebuilds: facts.rebuilds,
            snapshots_sent: status.snapshots_sent,
            snapshots_received: status.snapshots_received,
            log_queued_bytes: status.log_queued_bytes,
            proposed_bytes: facts.proposed_bytes,
        },
    }
}
