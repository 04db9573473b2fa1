//! What peers ask of this node, on its way from the transport to Raft.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::admin::{
    AppendEntriesRequest, Appended, Inbound, Installed, Joiner, PeerInfo, PeerState, Refused,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::membership::Members;
use crate::node::Raft;
use crate::pause::VotePause;
use crate::shared::Shared;
use crate::snapshot::{Received, Snapshot, SnapshotData};
use crate::types::{NodeId, Vote};

pub(crate) struct Gate {
    pub shared: Arc<Shared>,
    pub raft: Raft,
    pub pause: VotePause,
    pub members: Arc<Members>,
    /// The node had voted or had entries when it started.
    pub was_member: bool,
}

fn refused(error: impl std::fmt::Display) -> Refused {
    Refused(error.to_string())
}

impl Inbound for Gate {
    fn me(&self) -> PeerInfo {
        let shared = &self.shared;
        let status = shared.status.get();
        let leader = status.leader.and_then(|id| {
            let member = status.members.iter().find(|member| member.id == id)?;
            Some((id, member.peer.clone()))
        });
        let empty = !self.was_member && status.members.is_empty() && status.term == 0;
        PeerInfo {
            id: shared.id,
            peer: shared.me.clone(),
            state: if empty { PeerState::Empty } else { PeerState::Member },
            leader,
            session_token: shared.session_token,
            promise_ms: shared.lease.promise().as_millis() as u64,
        }
    }

    fn met(&self, peer: &PeerInfo) {
        // Before anything that it answers counts.
        if self.shared.lease.shorten(Duration::from_millis(peer.promise_ms)) {
            tracing::warn!(
                peer = %peer.peer,
                promise_ms = peer.promise_ms,
                "a node has a shorter cluster-node-timeout: this node's lease goes by that; set the same on all nodes"
            );
        }
        self.shared.acquaintances.met(peer);
    }

    fn heard(&self, node: NodeId) {
        self.shared.acquaintances.heard(node);
    }

    fn vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        let (raft, pause) = (self.raft.clone(), self.pause);
        Box::pin(async move {
            pause.check()?;
            raft.vote(request).await.map_err(refused)
        })
    }

    fn pre_vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        let (raft, pause) = (self.raft.clone(), self.pause);
        Box::pin(async move {
            pause.check()?;
            raft.pre_vote(request).await.map_err(refused)
        })
    }

    fn stream_append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest>,
    ) -> BoxStream<'static, Result<Appended, Refused>> {
        Box::pin(self.raft.stream_append(requests).map(|appended| appended.map_err(refused)))
    }

    fn install_snapshot(
        &self,
        vote: Vote,
        received: Received,
    ) -> BoxFuture<'static, Result<Installed, Refused>> {
        let raft = self.raft.clone();
        Box::pin(async move {
            let Received { meta, file, content } = received;
            let snapshot = Snapshot { meta, snapshot: SnapshotData::Arrived { file, content } };
            raft.install_full_snapshot(vote, snapshot).await.map_err(refused)
        })
    }

    fn transfer_leader(
        &self,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Refused>> {
        let (raft, pause) = (self.raft.clone(), self.pause);
        Box::pin(async move {
            pause.check()?;
            raft.handle_transfer_leader(request).await.map_err(refused)
        })
    }

    fn join(&self, joiner: Joiner) -> BoxFuture<'static, Result<(), String>> {
        let members = Arc::clone(&self.members);
        Box::pin(async move { members.admit(joiner).await })
    }
}
