//! How a node becomes a member: the first boot of a group, joining one, CLUSTER MEET.
//!
//! A group begins once. When all nodes of the list answer and none of them has ever been a member, the one whose address sorts
//! first begins it with all of them; the others hear from it. If any of them is a member already, a node that is not asks the
//! leader to be taken in. A node that is a member does not look at the list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::admin::{Joiner, PeerInfo, PeerState, Transport};
use crate::identity::shown;
use crate::membership::Members;
use crate::node::{NewGroup, Raft};
use crate::shared::Shared;
use crate::types::{NodeId, Peer};

/// Between two rounds of asking everybody.
const ROUND: Duration = Duration::from_millis(250);

/// How often the log says what is being waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How long a node that is to be met may be silent.
const MEET_MAX: Duration = Duration::from_secs(3);

/// How long a new leader of itself alone may take.
const LEAD_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Boot<T> {
    pub shared: Arc<Shared>,
    pub raft: Raft,
    pub transport: T,
    pub members: Arc<Members>,
}

impl<T: Clone> Clone for Boot<T> {
    fn clone(&self) -> Boot<T> {
        Boot {
            shared: Arc::clone(&self.shared),
            raft: self.raft.clone(),
            transport: self.transport.clone(),
            members: Arc::clone(&self.members),
        }
    }
}

/// What a round of asking has led to.
enum Round {
    /// This node is a member, or is about to hear that it is.
    Done,
    /// Not yet, and why.
    Again(String),
}

impl<T: Transport> Boot<T> {
    async fn is_member(&self) -> Result<bool, String> {
        self.raft.is_initialized().await.map_err(|error| error.to_string())
    }

    /// Rounds until this node is a voter.
    pub(crate) async fn join_or_begin(&self, peers: Vec<Peer>) -> Result<(), String> {
        let mut said: Option<(String, Instant)> = None;
        while !self.is_voter() {
            if self.is_member().await? && !self.is_newcomer() {
                return Ok(());
            }
            match self.round(&peers).await? {
                Round::Done => return Ok(()),
                Round::Again(why) => {
                    let news =
                        said.as_ref().is_none_or(|(last, at)| *last != why || at.elapsed() >= SAY_EVERY);
                    if news {
                        tracing::info!(why, "not a member of the group yet");
                        said = Some((why, Instant::now()));
                    }
                }
            }
            sleep(ROUND).await;
        }
        Ok(())
    }

    fn is_voter(&self) -> bool {
        self.raft.voter_ids().any(|voter| voter == self.shared.id)
    }

    /// A learner whose admission may have been cut short. (A node that has been let go is not in the membership at all.)
    fn is_newcomer(&self) -> bool {
        self.raft.learner_ids().any(|learner| learner == self.shared.id)
    }

    async fn round(&self, peers: &[Peer]) -> Result<Round, String> {
        let asked = peers.iter().map(|peer| self.transport.hello(&peer.host, peer.cluster_port));
        let answers = futures_util::future::join_all(asked).await;
        let mut found: Vec<(&Peer, PeerInfo)> = Vec::new();
        let mut missing = Vec::new();
        for (peer, answer) in peers.iter().zip(answers) {
            match answer {
                Ok(info) => found.push((peer, info)),
                Err(cause) => missing.push(format!("{peer}: {cause}")),
            }
        }
        // The list has addresses; what else is to be known of a node, it says itself.
        let place =
            |(peer, info): &(&Peer, PeerInfo)| Peer { tls_port: info.peer.tls_port, ..(*peer).clone() };
        let here = found.iter().find(|(_, info)| info.id == self.shared.id).map(place);
        let Some(here) = here else {
            missing.sort();
            let missing = missing.join("; ");
            return Ok(Round::Again(format!("none of the listed addresses is this node's ({missing})")));
        };
        let member =
            found.iter().find(|(_, info)| info.id != self.shared.id && info.state == PeerState::Member);
        if let Some((at, member)) = member {
            let leader = member.leader.clone().map_or_else(|| (*at).clone(), |(_, peer)| peer);
            tracing::info!(%leader, "asking to be taken in");
            let joiner = Joiner { id: self.shared.id, peer: here };
            return Ok(match self.transport.join(&leader, joiner).await {
                Ok(()) => Round::Done,
                Err(cause) => Round::Again(format!("{leader} has not taken it in: {cause}")),
            });
        }
        if !missing.is_empty() {
            return Ok(Round::Again(format!(
                "waiting for all nodes of a new group ({})",
                missing.join("; ")
            )));
        }
        let group: NewGroup = found.iter().map(|answer| (answer.1.id, place(answer))).collect();
        if group.len() < peers.len() {
            return Ok(Round::Again("two of the listed addresses are the same node".into()));
        }
        let first = group.values().min_by_key(|peer| (&peer.host, peer.port));
        if first != Some(&here) {
            return Ok(Round::Again("waiting for the first of the list to begin the group".into()));
        }
        self.begin(group).await?;
        Ok(Round::Done)
    }

    /// Begins a group. If this node has become a member in the meantime, that stands.
    async fn begin(&self, group: NewGroup) -> Result<(), String> {
        let members: Vec<String> = group.values().map(Peer::to_string).collect();
        match self.raft.initialize(group).await {
            Ok(()) => tracing::info!(members = members.join(" "), "a new group begins"),
            Err(error) if self.is_member().await? => tracing::debug!(%error, "the group has begun already"),
            Err(error) => return Err(format!("cannot begin a group: {error}")),
        }
        Ok(())
    }

    /// CLUSTER MEET: one of the two is empty, and becomes a member of the other's group; a node that is in no group yet begins
    /// one for both.
    pub(crate) async fn meet(&self, at: Peer) -> Result<(), String> {
        let limit = Instant::now() + MEET_MAX;
        let other = loop {
            match self.transport.hello(&at.host, at.cluster_port).await {
                Ok(other) => break other,
                Err(cause) if Instant::now() > limit => return Err(cause),
                // It answers clients a little earlier than peers when it starts.
                Err(_) => sleep(ROUND).await,
            }
        };
        if other.id == self.shared.id {
            return Err("this is the node itself".into());
        }
        let known = self.member(other.id);
        let here = Joiner { id: self.shared.id, peer: self.shared.me.clone() };
        let place = if other.peer.host.is_empty() {
            Peer { tls_port: other.peer.tls_port, ..at.clone() }
        } else {
            other.peer.clone()
        };
        let there = Joiner { id: other.id, peer: place };
        match (self.is_member().await?, other.state) {
            (true, PeerState::Member) if known.is_some() && self.is_voter_id(other.id) => Ok(()),
            (true, PeerState::Member) if known.is_none() => {
                Err("the node is a member of a group already; only an empty one can be taken in".into())
            }
            (true, _) => self.have_taken_in(there).await,
            (false, PeerState::Member) => {
                let leader = other.leader.map_or(at, |(_, peer)| peer);
                self.transport.join(&leader, here).await
            }
            (false, PeerState::Empty) => {
                self.begin(BTreeMap::from([(self.shared.id, self.shared.me.clone())])).await?;
                let limit = Instant::now() + LEAD_MAX;
                while self.shared.lease.leading().is_none() {
                    if Instant::now() > limit {
                        return Err("this node has begun a group, but does not lead it yet".into());
                    }
                    sleep(Duration::from_millis(10)).await;
                }
                self.have_taken_in(there).await
            }
        }
    }

    /// By the leader, whoever that is.
    async fn have_taken_in(&self, joiner: Joiner) -> Result<(), String> {
        if self.shared.lease.leading().is_some() {
            return self.members.admit(joiner).await;
        }
        let leader = self.shared.status.get().leader.and_then(|leader| self.member(leader));
        let leader = leader.ok_or("there is no leader now, try again")?;
        self.transport.join(&leader, joiner).await
    }

    fn member(&self, id: NodeId) -> Option<Peer> {
        let status = self.shared.status.get();
        let member = status.members.iter().find(|member| member.id == id)?;
        tracing::debug!(node = shown(id), "is a member");
        Some(member.peer.clone())
    }

    fn is_voter_id(&self, id: NodeId) -> bool {
        self.raft.voter_ids().any(|voter| voter == id)
    }
}
