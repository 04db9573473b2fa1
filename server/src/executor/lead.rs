//! The executor of a cluster's node: when it leads and when it follows.
//!
//! A node follows until the journal says [`Event::Lead`](crate::journal::Event::Lead); from then on it executes commands, until
//! `Lost`. What it has executed and could not get committed is dropped with the whole state, and rebuilt from what was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_engine::Slot;
use cairn_engine::cluster::{ClusterRequest, ClusterView, SWITCH_MASTER};
use cairn_engine::rdb;
use cairn_planted::planted;
use cairn_replication::handle::{Done, Handle, Order, Status};
use cairn_replication::identity::shown;
use cairn_replication::snapshot::Received;
use cairn_replication::types::{NodeId, Peer};
use cairn_storage::snapshot::SnapshotDir;
use tokio::time::Instant;

use super::Executor;
use super::route::Leading;
use super::wake::Ready;
use crate::cluster::view;

/// A hand-over that has not come about after so many times `cluster-node-timeout` is given up.
const HAND_OVER_TIMEOUTS: u32 = 5;

/// What the executor knows of the cluster that it belongs to.
pub(super) struct Cluster {
    pub handle: Handle,
    /// The term in which this node executes commands.
    pub term: Option<u64>,
    me: Peer,
    node_timeout: Duration,
    hand_over: Option<HandOver>,
    /// Times that the state was dropped and built again.
    pub rebuilds: u64,
    /// The status that the view was made of.
    seen: Option<Arc<Status>>,
    view: Arc<ClusterView>,
    /// The leader that clients were last told of.
    announced: Option<(String, u16)>,
    answers: Arc<Answers>,
}

/// A planned change of leader. No commands are taken meanwhile: they wait in their sockets.
struct HandOver {
    to: Option<NodeId>,
    deadline: Instant,
    transferring: bool,
}

/// What Raft has answered to orders, for the executor to pass on.
struct Answers {
    done: Mutex<Vec<(Asked, Result<(), String>)>>,
    ready: Arc<Ready>,
}

/// Who waits for an order.
enum Asked {
    /// A client, by id.
    Client(u64),
    HandOver,
}

impl Cluster {
    /// A node that follows.
    pub fn new(handle: Handle, me: Peer, node_timeout: Duration, ready: Arc<Ready>) -> Self {
        let answers = Arc::new(Answers { done: Mutex::default(), ready });
        Self {
            handle,
            term: None,
            me,
            node_timeout,
            hand_over: None,
            rebuilds: 0,
            seen: None,
            view: Arc::default(),
            announced: None,
            answers,
        }
    }

    /// Is the leadership being handed over?
    pub fn is_handing_over(&self) -> bool {
        self.hand_over.is_some()
    }

    /// This node as the group knows it; `None`: it is no member.
    pub fn me_as_member(&self) -> Option<Peer> {
        let status = self.handle.status();
        status.members.iter().find(|member| member.id == status.id).map(|member| member.peer.clone())
    }

    /// Is this the id of this node, as clients see it?
    pub fn is_called(&self, name: &[u8]) -> bool {
        shown(self.handle.id()).as_bytes().eq_ignore_ascii_case(name)
    }

    /// Who answers what only a leader may answer, as far as this node knows.
    pub fn leading(&self) -> Leading {
        if self.term.is_some() {
            return Leading::Myself;
        }
        let status = self.handle.status();
        // Elected is not enough for this node itself: the journal says when it serves.
        let leader = status.leader.filter(|&leader| leader != status.id);
        match leader.and_then(|leader| status.members.iter().find(|member| member.id == leader)) {
            Some(leader) => Leading::Elsewhere {
                host: leader.peer.host.clone(),
                port: leader.peer.port,
                tls_port: leader.peer.tls_port,
                door: self.handle.session_door_of(leader.id),
            },
            None => Leading::Nobody,
        }
    }

    /// Rule 4 of the Raft journal: what is sent now is still true. A leader whose lease has run out may have been replaced
    /// without knowing; it asks a quorum, and what it has to say waits meanwhile.
    pub fn may_send(&self) -> bool {
        let Some(term) = self.term else { return true };
        let valid = self.handle.lease_is_valid(term);
        // A lease that was given up for a successor's sake is not coming back.
        let given_up = self.hand_over.as_ref().is_some_and(|hand_over| hand_over.transferring);
        if !valid && !given_up {
            self.handle.confirm_lease();
        }
        valid || planted!(LeaseIgnored)
    }

    fn order(&self, order: Order, asked: Asked) {
        let answers = Arc::clone(&self.answers);
        let done: Done = Box::new(move |result| {
            answers.done.lock().unwrap_or_else(PoisonError::into_inner).push((asked, result));
            answers.ready.wake();
        });
        self.handle.order(order, done);
    }
}

impl Executor {
    /// May replies leave?
    pub(super) fn may_send(&self) -> bool {
        self.cluster.as_ref().is_none_or(Cluster::may_send)
    }

    /// Rules 1 and 2 hold, as the journal says: commands are executed from here on.
    pub(super) fn lead(&mut self, term: u64) {
        let seq = self.engine.shared.effects.newest_seq();
        tracing::info!(term, seq, "this node leads");
        self.engine.lead(term);
        self.follow_oom_score();
        if let Some(cluster) = &mut self.cluster {
            cluster.term = Some(term);
        }
        self.refresh_view();
        // Sessions are looked at in the next turn, which is now.
        self.ready.wake();
    }

    /// Rule 3: whoever could have been told something that never was is sent away, and the state is what was committed.
    pub(super) fn lose(&mut self, term: u64, cause: &str, unreleased: bool) {
        tracing::warn!(term, cause, unreleased, "this node leads no longer");
        self.end_feeds();
        self.engine.release_clients();
        self.follow_oom_score();
        if !planted!(SnapshotNotCancelled) {
            self.snapshots.cancel();
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.term = None;
            cluster.hand_over = None;
            cluster.rebuilds += u64::from(unreleased);
        }
        self.let_writes_go_on();
        if unreleased
            && !planted!(StateKept)
            && let Err(error) = self.rebuild()
        {
            // The old state is wrong and the new one is not whole: never serve from it.
            tracing::error!("rebuilding the state failed, stopping: {error}");
            crate::process::abort();
        }
        self.engine.follow();
        self.refresh_view();
        self.ready.wake();
    }

    /// The leader's snapshot replaces the state, the file first: a crash in between finds it.
    pub(super) fn install(&mut self, received: Received, done: Done) {
        let result = self.try_install(received);
        if let Err(error) = &result {
            tracing::error!("the leader's snapshot cannot be installed: {error}");
        }
        done(result);
    }

    fn try_install(&mut self, received: Received) -> Result<(), String> {
        let started = Instant::now();
        self.snapshots.settle();
        let options = rdb::LoadOptions {
            databases: self.engine.keys.dbs().len(),
            seed: self.engine.keys.seed(),
            config: &self.engine.shared.config,
        };
        let loaded =
            rdb::load(&received.content, &options, &mut |_, _| {}).map_err(|error| error.to_string())?;
        let journal = self.journal.as_mut().expect("a cluster's node has a journal");
        // It checks that the file says where it belongs before the old snapshot is gone.
        journal.adopt(&loaded.aux)?;
        received.file.commit().map_err(|error| error.to_string())?;
        let seq = loaded.aux.seq.expect("checked when it was adopted");
        let keys: usize = loaded.dbs.iter().map(|db| db.len()).sum();
        self.engine.restore(loaded.dbs, loaded.functions, seq, loaded.aux.taken_at_ms.unwrap_or(0));
        self.engine.restore_users(loaded.aux.users.as_deref())?;
        self.engine.restore_indexes(loaded.aux.indexes.as_deref())?;
        self.released = self.released.max(seq);
        tracing::info!(
            seq,
            keys,
            ms = started.elapsed().as_millis() as u64,
            "installed the leader's snapshot"
        );
        Ok(())
    }

    /// A node needs a snapshot that is newer than what the log still has.
    pub(super) fn snapshot_wanted(&mut self) {
        if self.snapshots.running() {
            // That one will do.
            return;
        }
        tracing::info!("writing a snapshot for a node that is too far behind");
        self.snapshots.scheduled = true;
    }

    /// What commands ask of the cluster.
    pub(super) fn cluster_request(&mut self, client: Slot, request: ClusterRequest) {
        let Some(cluster) = &self.cluster else {
            return self.answer_error(client, "ERR This instance has cluster support disabled");
        };
        let found = self.engine.shared.clients.get(client).and_then(Option::as_ref);
        let Some(id) = found.map(|client| client.state.id) else { return };
        match request {
            ClusterRequest::Meet { host, port, cluster_port } => {
                cluster.order(Order::Meet { host, port, cluster_port }, Asked::Client(id));
            }
            ClusterRequest::Forget { id: name } => {
                match view::node_by_name(&cluster.handle.status(), &name) {
                    Some(node) => cluster.order(Order::Forget { node }, Asked::Client(id)),
                    None => self.answer_error(client, &format!("ERR Unknown node {name}")),
                }
            }
            ClusterRequest::Failover { to, force: _, timeout_ms } => {
                self.begin_failover(client, to, timeout_ms)
            }
            ClusterRequest::FailoverAbort => self.answer_error(client, "ERR No failover in progress."),
        }
    }

    fn begin_failover(&mut self, client: Slot, to: Option<(String, u16)>, timeout_ms: u64) {
        let cluster = self.cluster.as_ref().expect("asked for above");
        if cluster.term.is_none() {
            return self.answer_error(client, "ERR FAILOVER is not valid when server is a replica.");
        }
        if cluster.is_handing_over() {
            return self.answer_error(client, "ERR FAILOVER already in progress.");
        }
        let status = cluster.handle.status();
        let others: Vec<_> =
            status.members.iter().filter(|member| member.voter && member.id != status.id).collect();
        if others.is_empty() {
            return self.answer_error(client, "ERR FAILOVER requires connected replicas.");
        }
        let target = match &to {
            None => None,
            Some((host, port)) => {
                let named = others.iter().find(|member| {
                    member.peer.host == *host && [member.peer.port, member.peer.tls_port].contains(port)
                });
                match named {
                    Some(member) => Some(member.id),
                    None => {
                        return self
                            .answer_error(client, "ERR FAILOVER target HOST and PORT is not a replica.");
                    }
                }
            }
        };
        // As in Redis the answer says that it has begun; INFO and ROLE say how it ended.
        self.answer_ok(client);
        let timeout = if timeout_ms == 0 { None } else { Some(Duration::from_millis(timeout_ms)) };
        self.begin_hand_over(target, timeout);
    }

    /// Rule 5: no commands are taken from here on.
    pub(super) fn begin_hand_over(&mut self, to: Option<NodeId>, timeout: Option<Duration>) {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.hand_over.is_none()) else {
            return;
        };
        let timeout = timeout.unwrap_or(cluster.node_timeout * HAND_OVER_TIMEOUTS);
        tracing::info!(to, "handing the leadership over: no commands are taken until somebody else leads");
        cluster.hand_over = Some(HandOver { to, deadline: Instant::now() + timeout, transferring: false });
        // Nor does anything change by itself: what expires now would not be committed any more, and cost the whole state.
        self.engine.shared.pause.stopping = true;
        self.ready.wake();
    }

    /// Is there somebody to hand the leadership to?
    pub(super) fn can_hand_over(&self) -> bool {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.term.is_some()) else {
            return false;
        };
        let status = cluster.handle.status();
        status.members.iter().any(|member| member.voter && member.id != status.id)
    }

    /// Moves a hand-over on: first what is in flight is released and answered, then the leadership goes.
    pub(super) fn poll_hand_over(&mut self) {
        let nothing_held = self.flush.is_empty() && self.held.is_empty();
        let released = self.released >= self.engine.shared.effects.newest_seq();
        let Some(cluster) = &mut self.cluster else { return };
        let Some(hand_over) = &mut cluster.hand_over else { return };
        let late = Instant::now() >= hand_over.deadline;
        if !hand_over.transferring && released && nothing_held && !late {
            hand_over.transferring = true;
            let to = hand_over.to;
            // From here on this node answers nothing: the next leader does not wait for a lease to end.
            cluster.handle.drop_lease();
            cluster.order(Order::Transfer { to }, Asked::HandOver);
        } else if late {
            self.end_hand_over(Err("it took too long".to_owned()));
        }
    }

    fn end_hand_over(&mut self, result: Result<(), String>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(hand_over) = cluster.hand_over.take() else { return };
        self.let_writes_go_on();
        let Some(cluster) = &self.cluster else { return };
        if let Err(error) = result {
            tracing::warn!("the leadership was not handed over: {error}");
            if hand_over.transferring
                && let Some(term) = cluster.term
            {
                // The lease is gone; whoever is elected next, perhaps this node, has a new one.
                cluster.handle.order(Order::GiveUpTerm { term }, Box::new(|_| {}));
            }
        }
    }

    /// Unless the leadership is being handed over, or the process is about to end.
    pub(super) fn let_writes_go_on(&mut self) {
        if self.shutdown.is_none() && !self.cluster.as_ref().is_some_and(Cluster::is_handing_over) {
            self.engine.shared.pause.stop_no_more();
        }
    }

    /// Passes on what Raft has answered, and takes a new picture of the cluster when it has changed.
    pub(super) fn observe_cluster(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let done = std::mem::take(&mut *cluster.answers.done.lock().unwrap_or_else(PoisonError::into_inner));
        let status = cluster.handle.status();
        if let Some(cause) = &status.fatal {
            // Crash-only: a stopped node is a fault that the cluster survives, a wrong one is not.
            tracing::error!("stopping at once: {cause}");
            crate::process::abort();
        }
        let changed = cluster.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &status));
        for (asked, result) in done {
            match asked {
                Asked::HandOver => {
                    // After a success the journal's next event says that the term is over.
                    if result.is_err() {
                        self.end_hand_over(result);
                    }
                }
                Asked::Client(id) => {
                    let Some(client) = self.slot_of(id) else { continue };
                    match result {
                        Ok(()) => self.answer_ok(client),
                        Err(error) => self.answer_error(client, &format!("ERR {error}")),
                    }
                }
            }
        }
        if changed {
            self.refresh_view();
        }
    }

    /// Takes a new picture of the cluster for INFO and the CLUSTER commands.
    pub(super) fn refresh_view(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let status = cluster.handle.status();
        let config = &self.engine.shared.config;
        let figures = self.journal.as_ref().map(|journal| journal.figures()).unwrap_or_default();
        let facts = view::Facts {
            serving: cluster.term.is_some(),
            redirect: config.cluster_redirect == cairn_engine::config::ClusterRedirect::Moved,
            node_timeout: cluster.node_timeout,
            seq: figures.released,
            epoch: figures.epoch,
            applied: figures.applied_index,
            rebuilds: cluster.rebuilds,
            lease_ms: cluster.handle.lease_ms(),
            proposed_bytes: cluster.handle.proposed_bytes(),
            me: cluster.me.clone(),
        };
        let mut view = view::of(&status, &facts);
        if view.leader.is_none() {
            let last = cluster.view.master().map(|at| &cluster.view.nodes[at].id);
            view.last_leader = last.and_then(|id| view.find(id.as_bytes()));
        }
        cluster.view = Arc::new(view);
        cluster.seen = Some(status);
        self.shared.borrow_mut().cluster = Some(Arc::clone(&cluster.view));
        self.announce_master();
    }

    /// A push must not get into the middle of a reply that is still on its way from another node. A client to which one is
    /// owed has lost the leader that owes it, so its connection would end in any case.
    fn close_torn_listeners(&mut self) {
        for slot in 0..self.connections.len() {
            let owed = self.connections[slot].as_ref().is_some_and(|connection| connection.session.owes());
            if owed && self.engine.client(slot).is_some_and(|client| client.state.subscriptions.any()) {
                self.close(slot);
            }
        }
    }

    /// Tells clients that take this node for a Sentinel when somebody else leads.
    fn announce_master(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(leader) = cluster.view.leader_node() else { return };
        let new = (leader.host.clone(), leader.port);
        let Some(old) = cluster.announced.replace(new.clone()).filter(|old| *old != new) else { return };
        self.close_torn_listeners();
        let name = &self.engine.shared.config.sentinel_master_name;
        let message = format!("{name} {} {} {} {}", old.0, old.1, new.0, new.1);
        self.engine.announce(&mut self.host, SWITCH_MASTER, message.as_bytes());
    }

    /// Writes the snapshot's directory for a rebuild or an installation.
    pub(super) fn home(&self) -> Result<SnapshotDir, String> {
        SnapshotDir::attach(Arc::clone(&self.services.disk), &self.services.dir)
            .map_err(|error| error.to_string())
    }
}
