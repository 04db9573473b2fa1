//! Who belongs to the group: taking nodes in, replacing one that lost its disk, letting one go, handing the leadership over.
//!
//! Everything here happens on the leader, one change at a time. A change that was cut short by a change of leader is finished by
//! the next leader as far as the protocol needs it (a joint configuration never stays), and otherwise by whoever asked for it
//! asking again: each step looks at what there is before it does anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::metrics::RaftMetrics;
use openraft::{ChangeMembers, ServerState};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::admin::{Joiner, VoteRequest};
use crate::identity::shown;
use crate::log_store::LogStore;
use crate::node::{Raft, Timing};
use crate::shared::Shared;
use crate::types::{NodeId, Peer, TypeConfig, Vote};

/// How long a newcomer may take to catch up: a snapshot of many gigabytes and the log since then.
const CATCH_UP_MAX: Duration = Duration::from_secs(3600);

/// A newcomer that has made no progress at all for so long is given up.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// A newcomer is caught up when so few entries are missing.
const CAUGHT_UP_LAG: u64 = 256;

/// How long a change of membership may take to be committed.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// How often the world is looked at while waiting for something that nobody announces.
const POLL: Duration = Duration::from_millis(20);

/// No node has this id.
const NOBODY: NodeId = 0;

type Metrics = RaftMetrics<TypeConfig>;
type Change = ChangeMembers<NodeId, Peer>;

/// The group's members, as the leader changes them.
pub(crate) struct Members {
    shared: Arc<Shared>,
    raft: Raft,
    store: LogStore,
    timing: Timing,
    /// One change at a time. Not held while a newcomer catches up, which may take long.
    changing: Mutex<()>,
    /// Who is being taken in.
    joining: std::sync::Mutex<BTreeSet<NodeId>>,
}

/// Takes a node off the list of those that are being taken in.
struct Joining<'a> {
    members: &'a Members,
    id: NodeId,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.members.joining().remove(&self.id);
    }
}

impl Members {
    pub(crate) fn new(shared: Arc<Shared>, raft: Raft, store: LogStore, timing: Timing) -> Members {
        Members { shared, raft, store, timing, changing: Mutex::new(()), joining: Default::default() }
    }

    fn joining(&self) -> std::sync::MutexGuard<'_, BTreeSet<NodeId>> {
        self.joining.lock().expect("nothing panics while it has the list")
    }

    fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    fn leading(&self) -> Result<u64, String> {
        self.shared.lease.leading().ok_or_else(|| "this node does not lead the group".to_owned())
    }

    /// Waits until `found` finds something in openraft's state.
    async fn wait<T>(&self, limit: Instant, mut found: impl FnMut(&Metrics) -> Option<T>) -> Option<T> {
        let mut metrics = self.raft.metrics();
        loop {
            if let Some(found) = found(&metrics.borrow_and_update()) {
                return Some(found);
            }
            match timeout_at(limit, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    /// Commits a change of membership. Another one that is under way is waited for.
    async fn change(&self, change: Change) -> Result<(), String> {
        let limit = Instant::now() + CHANGE_MAX;
        loop {
            let changed = timeout_at(limit, self.raft.change_membership(change.clone(), false)).await;
            match changed {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                )))) if Instant::now() < limit => sleep(POLL).await,
                // Its lease has lapsed for a moment, or it is deposed and does not know it yet.
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))))
                    if self.leading().is_ok() && Instant::now() < limit =>
                {
                    sleep(POLL).await
                }
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => {
                    let waited = CHANGE_MAX.as_secs();
                    return Err(format!(
                        "no quorum has agreed within {waited} seconds; the change may still happen"
                    ));
                }
            }
        }
    }

    /// Takes a node in: learner, caught up, voter. If it has the address of a member with another id, which has lost its
    /// disk then, it takes its place.
    pub(crate) async fn admit(&self, joiner: Joiner) -> Result<(), String> {
        self.leading()?;
        let Joiner { id, peer } = joiner;
        if !self.joining().insert(id) {
            return Err("the node is being taken in already, it has to catch up first".into());
        }
        let _joining = Joining { members: self, id };
        let replaced = self.add_learner(id, &peer).await?;
        if !self.is_voter(id) {
            self.wait_until_caught_up(id).await?;
        }
        self.make_voter(id, &peer, &replaced).await
    }

    fn is_voter(&self, id: NodeId) -> bool {
        self.metrics().membership_config.voter_ids().any(|voter| voter == id)
    }

    /// Returns the members whose place it takes.
    async fn add_learner(&self, id: NodeId, peer: &Peer) -> Result<BTreeSet<NodeId>, String> {
        let _one = self.changing.lock().await;
        self.leading()?;
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        let same_place = |other: &Peer| other.host == peer.host && other.port == peer.port;
        let elsewhere = |other: &NodeId, at: &Peer| *other == id || !same_place(at);
        let replaced: BTreeSet<NodeId> =
            members.nodes().filter(|(other, at)| !elsewhere(other, at)).map(|(other, _)| *other).collect();
        for other in &replaced {
            self.check_is_gone(*other, &metrics)?;
        }
        match members.get_node(&id) {
            None => {
                tracing::info!(node = shown(id), %peer, "taking a node in as a learner");
                self.change(ChangeMembers::AddNodes([(id, peer.clone())].into())).await?;
            }
            // It knows best where it is; peers prove who they are, so nobody is taken for somebody else.
            Some(known) if known != peer => {
                tracing::info!(node = shown(id), from = %known, to = %peer, "a member has another address");
                self.change(ChangeMembers::SetNodes([(id, peer.clone())].into())).await?;
            }
            Some(_) => {}
        }
        Ok(replaced)
    }

    async fn make_voter(&self, id: NodeId, peer: &Peer, replaced: &BTreeSet<NodeId>) -> Result<(), String> {
        let _one = self.changing.lock().await;
        self.leading()?;
        let metrics = self.metrics();
        if metrics.membership_config.membership().get_node(&id).is_none() {
            return Err("the node was removed while it caught up".into());
        }
        let before: BTreeSet<NodeId> = metrics.membership_config.voter_ids().collect();
        let mut voters = before.clone();
        voters.insert(id);
        voters.retain(|voter| !replaced.contains(voter));
        if voters != before {
            self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
            tracing::info!(node = shown(id), %peer, "the node has caught up and is a voter");
        }
        self.remove_learners(replaced).await
    }

    /// A member whose place somebody else wants must not be alive there.
    fn check_is_gone(&self, node: NodeId, metrics: &Metrics) -> Result<(), String> {
        if node == self.shared.id {
            return Err("this is the leader's own address".into());
        }
        let acked = metrics.heartbeat.as_ref().and_then(|nodes| nodes.get(&node).cloned().flatten());
        let alive = acked.is_some_and(|at| openraft::Instant::elapsed(&*at) < 2 * self.timing.election_max);
        if alive {
            let node = shown(node);
            return Err(format!("member {node} has this address and is alive"));
        }
        Ok(())
    }

    async fn remove_learners(&self, nodes: &BTreeSet<NodeId>) -> Result<(), String> {
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        let left: BTreeSet<NodeId> =
            nodes.iter().copied().filter(|node| members.get_node(node).is_some()).collect();
        if left.is_empty() { Ok(()) } else { self.change(ChangeMembers::RemoveNodes(left)).await }
    }

    async fn wait_until_caught_up(&self, id: NodeId) -> Result<(), String> {
        let limit = Instant::now() + CATCH_UP_MAX;
        let mut furthest = None;
        let mut moved_at = Instant::now();
        loop {
            self.leading()?;
            let metrics = self.metrics();
            if metrics.membership_config.membership().get_node(&id).is_none() {
                return Err("the node was removed while it caught up".into());
            }
            let matched = metrics.replication.as_ref().and_then(|nodes| nodes.get(&id).cloned().flatten());
            let matched = matched.map(|log_id| log_id.index);
            let last = metrics.last_log_index.unwrap_or(0);
            if matched.is_some_and(|matched| matched + CAUGHT_UP_LAG >= last) {
                return Ok(());
            }
            if matched > furthest {
                furthest = matched;
                moved_at = Instant::now();
            }
            // A snapshot on its way shows no progress, but the node answers.
            let heard = self
                .shared
                .acquaintances
                .heard_at(id)
                .is_some_and(|at| crate::shared::now().saturating_duration_since(at) < STALLED_MAX);
            if moved_at.elapsed() > STALLED_MAX && !heard {
                return Err("the node does not answer; it stays a learner, ask again when it does".into());
            }
            if Instant::now() > limit {
                return Err("the node did not catch up in time; it stays a learner, ask again".into());
            }
            sleep(POLL).await;
        }
    }

    /// Lets a member go. The leader has to hand over first.
    pub(crate) async fn forget(&self, node: NodeId) -> Result<(), String> {
        self.leading()?;
        let _one = self.changing.lock().await;
        self.leading()?;
        if node == self.shared.id {
            return Err("the leader cannot be forgotten, it has to hand over first".into());
        }
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        if members.get_node(&node).is_none() {
            return Err(format!("there is no member {}", shown(node)));
        }
        let mut voters: BTreeSet<NodeId> = members.voter_ids().collect();
        if voters.remove(&node) {
            self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
        }
        self.remove_learners(&BTreeSet::from([node])).await
    }

    /// The members, and this node, that listen for TLS elsewhere than the membership says: restarted with another `tls-port`.
    pub(crate) fn with_other_tls_ports(&self) -> BTreeMap<NodeId, Peer> {
        let now = |id: NodeId| match id == self.shared.id {
            true => Some(self.shared.me.tls_port),
            false => Some(self.shared.acquaintances.door_of(id)?.tls_port),
        };
        let metrics = self.metrics();
        let nodes = metrics.membership_config.membership().nodes();
        let moved = |(id, peer): (&NodeId, &Peer)| {
            let tls_port = now(*id).filter(|port| *port != peer.tls_port)?;
            Some((*id, Peer { tls_port, ..peer.clone() }))
        };
        nodes.filter_map(moved).collect()
    }

    /// Puts the ports for TLS into the membership that nodes have now. Not while it changes: the next round will.
    pub(crate) async fn correct_tls_ports(&self) {
        let Ok(_one) = self.changing.try_lock() else { return };
        let moved = self.with_other_tls_ports();
        if self.leading().is_err() || moved.is_empty() {
            return;
        }
        for (id, peer) in &moved {
            tracing::info!(node = shown(*id), %peer, tls_port = peer.tls_port, "a member has another port for TLS");
        }
        if let Err(cause) = self.change(ChangeMembers::SetNodes(moved)).await {
            tracing::warn!(cause, "clients are told a port for TLS that is none any more");
        }
    }

    /// Ends a joint configuration that another leader has left behind.
    pub(crate) async fn finish_change(&self) {
        let _one = self.changing.lock().await;
        let joint = |metrics: &Metrics| metrics.membership_config.get_joint_config().len() > 1;
        if self.shared.lease.leading().is_some() && joint(&self.metrics()) {
            tracing::info!("finishing a change of membership that the last leader has begun");
            if let Err(cause) = self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await {
                tracing::warn!(cause, "the change of membership is not finished");
            }
        }
    }

    /// The voter that is furthest and was heard from lately.
    fn best_successor(&self, metrics: &Metrics) -> Option<NodeId> {
        let replication = metrics.replication.as_ref()?;
        let heartbeat = metrics.heartbeat.as_ref()?;
        let alive = |id: &NodeId| {
            let acked = heartbeat.get(id).cloned().flatten();
            acked.is_some_and(|at| openraft::Instant::elapsed(&*at) < self.timing.election_max)
        };
        let others = metrics.membership_config.voter_ids().filter(|id| *id != metrics.id && alive(id));
        others.max_by_key(|id| (replication.get(id).cloned().flatten(), std::cmp::Reverse(*id)))
    }

    /// Hands the leadership over, and waits until the successor leads.
    pub(crate) async fn transfer(&self, to: Option<NodeId>) -> Result<(), String> {
        let term = self.leading()?;
        let _one = self.changing.lock().await;
        let metrics = self.metrics();
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        let to = match to {
            Some(to) if to == self.shared.id => return Err("this node leads already".into()),
            Some(to) if !voters.contains(&to) => return Err(format!("{} is no voter", shown(to))),
            Some(to) => to,
            None => self.best_successor(&metrics).ok_or("no other voter answers")?,
        };
        let last = metrics.last_log_index;
        let limit = Instant::now() + self.timing.election_max * 2;
        let caught_up = self
            .wait(limit, |metrics| {
                let matched = metrics.replication.as_ref()?.get(&to).cloned().flatten();
                (matched.map(|log_id| log_id.index) >= last).then_some(())
            })
            .await;
        if caught_up.is_none() {
            return Err(format!("{} is not caught up and does not get there in time", shown(to)));
        }
        if self.leading() != Ok(term) {
            return Err("this node does not lead the group any more".into());
        }
        tracing::info!(term, to = shown(to), "handing the leadership over");
        // The successor is elected in spite of the promises that the lease rests on.
        self.shared.lease.drop_for_this_term();
        self.raft.trigger().transfer_leader(to).await.map_err(|error| error.to_string())?;
        let limit = Instant::now() + self.timing.election_max * 4;
        let leader = self
            .wait(limit, |metrics| {
                metrics
                    .current_leader
                    .filter(|&leader| leader != self.shared.id && metrics.current_term > term)
            })
            .await;
        match leader {
            Some(leader) if leader == to => Ok(()),
            Some(leader) => Err(format!("another node than asked for leads now: {}", shown(leader))),
            None => Err("no other node has taken the leadership over".into()),
        }
    }

    /// This node leads this term no longer: somebody else does, or it itself in another term.
    pub(crate) async fn give_up(&self, term: u64) -> Result<(), String> {
        if self.shared.lease.leading() != Some(term) {
            return Ok(());
        }
        self.shared.lease.drop_for_this_term();
        if let Some(successor) = self.best_successor(&self.metrics()) {
            tracing::info!(term, to = shown(successor), "giving the term up");
            self.raft.trigger().transfer_leader(successor).await.map_err(|error| error.to_string())?;
            let limit = Instant::now() + self.timing.election_max * 2;
            let over = |metrics: &Metrics| {
                (metrics.current_term > term || metrics.state != ServerState::Leader).then_some(())
            };
            if self.wait(limit, over).await.is_some() {
                return Ok(());
            }
        }
        // Nobody takes it. A vote for nobody in the next term ends this one. It is not bound by the promises made to this
        // leader: it is this leader that ends them.
        tracing::info!(term, "giving the term up, with nobody to take over");
        let limit = Instant::now() + self.timing.election_max * 2;
        while self.shared.lease.leading() == Some(term) && Instant::now() < limit {
            let vote = Vote::new(term + 1, NOBODY);
            let request =
                VoteRequest { leadership_transfer: true, ..VoteRequest::new(vote, self.store.last()) };
            self.raft.vote(request).await.map_err(|error| error.to_string())?;
            sleep(POLL).await;
        }
        if self.shared.lease.leading() == Some(term) {
            Err("this node still leads the term".into())
        } else {
            Ok(())
        }
    }
}
