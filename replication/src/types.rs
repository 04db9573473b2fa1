//! What Raft's parts are here: node ids, addresses, entries.

use std::fmt;

use bincode::{Decode, Encode};
use bytes::Bytes;
use openraft::impls::leader_id_std;

/// A node's id: random, made once, kept in its data directory. An empty directory gets a new one, so that a node that has
/// lost its disk never votes as its former self.
pub type NodeId = u64;

/// Where a node is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Peer {
    /// Name or address that other nodes and clients reach it by.
    pub host: String,
    /// Clients' port; that for TLS if there is no other.
    pub port: u16,
    /// Peers' port.
    pub cluster_port: u16,
    /// Clients' port for TLS. 0: there is none, or nobody has said so yet.
    pub tls_port: u16,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.host, self.port, self.cluster_port)
    }
}

/// A batch of effects, as the engine made it. Raft does not look inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    /// openraft's types for this server: at most one leader for each term, as in the paper.
    pub TypeConfig:
        D = Proposal,
        R = (),
        NodeId = NodeId,
        Node = Peer,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = crate::runtime::Runtime,
);

/// Which entry: its term and index.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// Who is voted for, and whether a quorum has.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// One entry of the log.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// The voters and learners, and the entry that says so.
pub type Membership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot is the state of.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
