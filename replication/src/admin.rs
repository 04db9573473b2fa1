//! Between the node and its peer transport: what the one needs of the other.
//!
//! [`Transport`] is what the node calls: openraft's network, and the few questions that nodes ask each other outside of Raft.
//! [`Inbound`] is what the transport calls when a peer has sent something. A peer that gets here has proved to be one.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use openraft::network::NetSnapshot;
use openraft::raft::{SnapshotResponse, StreamAppendResult};
use openraft::{RaftNetworkFactory, raft};

use crate::snapshot::{Received, SnapshotData};
use crate::types::{NodeId, Peer, TypeConfig, Vote};

pub type AppendEntriesRequest = raft::AppendEntriesRequest<TypeConfig>;
pub type VoteRequest = raft::VoteRequest<TypeConfig>;
pub type VoteResponse = raft::VoteResponse<TypeConfig>;
pub type TransferLeaderRequest = raft::TransferLeaderRequest<TypeConfig>;
pub type TransferLeaderResponse = raft::TransferLeaderResponse<TypeConfig>;
/// How far a follower's log is on its disk after one request of a stream, or why it did not take it.
pub type Appended = StreamAppendResult<TypeConfig>;
/// What a follower answers when it has been sent a snapshot.
pub type Installed = SnapshotResponse<TypeConfig>;

/// Whether a node belongs to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It has never been a member: no vote, no log.
    Empty,
    Member,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    pub id: NodeId,
    /// Where it wants to be reached.
    pub peer: Peer,
    pub state: PeerState,
    /// The leader that it knows of; itself, if it leads.
    pub leader: Option<(NodeId, Peer)>,
    /// What a session forwarded to it has to show. Random, new at each start.
    pub session_token: [u8; 16],
    /// How long it refuses its vote to others after it has heard from a leader. A leader's lease must not be longer.
    pub promise_ms: u64,
}

/// A node to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    pub id: NodeId,
    pub peer: Peer,
}

/// Why a request of a peer was not carried out. The transport sends the text back; the peer sees a node that cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The peer transport, as the node uses it. Cheap to clone. Everything runs on the runtime of the node; futures and streams
/// need no other.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Makes openraft's connections.
    type Factory: RaftNetworkFactory<TypeConfig, Network: NetSnapshot<TypeConfig, SnapshotData = SnapshotData>>;

    fn factory(&self) -> Self::Factory;

    /// Listens for peers and serves them, until the future is dropped. An error ends the node.
    fn serve(&self, inbound: Arc<dyn Inbound>) -> BoxFuture<'static, io::Result<()>>;

    /// Asks the node at this address who it is. Bounded in time.
    fn hello(&self, host: &str, cluster_port: u16) -> BoxFuture<'static, Result<PeerInfo, String>>;

    /// Asks the leader to take a node in; answered when it is a voter, or with a text for people. Bounded in time by the leader:
    /// it takes as long as the snapshot and the log take to get there.
    fn join(&self, leader: &Peer, joiner: Joiner) -> BoxFuture<'static, Result<(), String>>;
}

/// The node, as the transport uses it.
pub trait Inbound: Send + Sync + 'static {
    /// What this node says of itself now.
    fn me(&self) -> PeerInfo;

    /// A peer, connected in either direction, has proved who it is and said this of itself.
    fn met(&self, peer: &PeerInfo);

    /// Something has come from this node; called often.
    fn heard(&self, node: NodeId);

    fn vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>>;

    fn pre_vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>>;

    /// Answers come in the order of the requests, each as soon as the entries are on disk. The stream ends after the first
    /// answer that is not `Ok(Ok(_))`.
    fn stream_append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest>,
    ) -> BoxStream<'static, Result<Appended, Refused>>;

    /// Answered when the snapshot has been installed, which may take seconds.
    fn install_snapshot(
        &self,
        vote: Vote,
        received: Received,
    ) -> BoxFuture<'static, Result<Installed, Refused>>;

    fn transfer_leader(
        &self,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Refused>>;

    /// A node asks to be taken in, or another one asks for it.
    fn join(&self, joiner: Joiner) -> BoxFuture<'static, Result<(), String>>;
}
