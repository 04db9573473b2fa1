//! The node's picture of itself, and the story of the group in the log.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_storage::writer::WriterState;
use openraft::metrics::{RaftMetrics, RaftServerMetrics};
use openraft::{RaftTypeConfig, ServerState};
use tokio::time::Instant;

use crate::applied::Wake;
use crate::handle::{Member, Role, Status};
use crate::identity::shown;
use crate::membership::Members;
use crate::node::Raft;
use crate::shared::{Shared, now};
use crate::types::{NodeId, TypeConfig};

/// The status is renewed at least so often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Changes that openraft does not tell apart from its progress with each entry are looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type Metrics = RaftMetrics<TypeConfig>;
type ServerMetrics = RaftServerMetrics<TypeConfig>;
type RaftInstant = <<TypeConfig as RaftTypeConfig>::AsyncRuntime as openraft::AsyncRuntime>::Instant;

/// Where the newest status is.
pub(crate) struct StatusCell {
    status: Mutex<Arc<Status>>,
    wake: Wake,
}

impl StatusCell {
    pub(crate) fn new(id: NodeId, wake: Wake) -> StatusCell {
        StatusCell { status: Mutex::new(Arc::new(Status { id, ..Status::default() })), wake }
    }

    pub(crate) fn get(&self) -> Arc<Status> {
        Arc::clone(&self.status.lock().expect("nothing panics while it has the status"))
    }

    fn set(&self, mut status: Status) {
        let mut current = self.status.lock().expect("nothing panics while it has the status");
        // What is fatal stays so.
        status.fatal = status.fatal.or_else(|| current.fatal.clone());
        *current = Arc::new(status);
    }

    pub(crate) fn set_fatal(&self, cause: &str) {
        let mut status = Status::clone(&self.get());
        status.fatal = Some(cause.to_owned());
        self.set(status);
        self.wake();
    }

    /// Has the executor look.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }
}

/// An instant of openraft's, by the clock of the rest. Never later than it was.
fn instant(at: RaftInstant) -> Instant {
    let before = Instant::now();
    before.checked_sub(openraft::Instant::elapsed(&at)).unwrap_or(before)
}

/// The term that the node leads: its vote for itself is on its disk and a quorum has granted it.
fn led(metrics: &ServerMetrics) -> Option<u64> {
    let vote = &metrics.vote;
    let leads =
        metrics.state == ServerState::Leader && vote.committed && vote.leader_id.voted_for == metrics.id;
    leads.then_some(vote.leader_id.term)
}

/// Whose lease it is, and whose answers it needs, from what openraft says now.
fn renew_lease(shared: &Shared, metrics: &ServerMetrics) -> Option<u64> {
    let term = led(metrics).filter(|_| !shared.is_stopping());
    shared.lease.set_leading(term);
    if let Some(term) = term {
        shared.acks.set_voters(metrics.membership_config.membership().get_joint_config());
        if let Some(quorum) = shared.acks.quorum(term) {
            shared.lease.extend(term, quorum);
        }
        let others = metrics.membership_config.voter_ids().any(|voter| voter != metrics.id);
        shared.lease.set_alone(!others);
    }
    term
}

fn picture(shared: &Shared, metrics: &Metrics) -> Status {
    let membership = &metrics.membership_config;
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    let member = |(&id, peer): (&NodeId, &crate::types::Peer)| Member {
        id,
        peer: peer.clone(),
        voter: voters.contains(&id),
        matched: metrics.replication.as_ref().and_then(|nodes| nodes.get(&id)?.map(|log_id| log_id.index)),
        heard_at: match &metrics.heartbeat {
            _ if id == shared.id => Some(now()),
            Some(acked) => acked.get(&id).and_then(|at| at.as_ref()).map(|at| instant(**at).into_std()),
            None => shared.acquaintances.heard_at(id),
        },
    };
    let members: Vec<Member> = membership.nodes().map(member).collect();
    let role = match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner | ServerState::Shutdown if members.is_empty() => Role::Alone,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
    };
    let progress = shared.writer.progress();
    let index = |log_id: &Option<crate::types::LogId>| log_id.map_or(0, |log_id| log_id.index);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Status {
        id: shared.id,
        role,
        term: metrics.current_term,
        leader: metrics.current_leader,
        members,
        last_index: metrics.last_log_index.unwrap_or(0),
        committed: index(&metrics.local_committed),
        applied: index(&metrics.last_applied),
        snapshot: index(&metrics.snapshot),
        purged: index(&metrics.purged),
        elections_won: count(&shared.counters.elections_won),
        leader_changes: count(&shared.counters.leader_changes),
        snapshots_sent: count(&shared.counters.snapshots_sent),
        snapshots_received: count(&shared.counters.snapshots_received),
        log_queued_bytes: progress.queued_bytes,
        synced: progress.synced.saturating_sub(1),
        syncs: progress.syncs,
        last_sync_us: progress.last_sync_us,
        full: matches!(progress.state, WriterState::Full { .. }),
        fatal: None,
    }
}

/// Renews status and lease now.
pub(crate) fn refresh(shared: &Shared, raft: &Raft) {
    use openraft::async_runtime::WatchReceiver;
    renew_lease(shared, &raft.server_metrics().borrow_watched());
    shared.status.set(picture(shared, &raft.metrics().borrow_watched()));
}

/// What a change of makes it into the log, and is a reason to renew the status at once.
#[derive(Clone, PartialEq, Eq)]
struct Standing {
    role: Role,
    led: Option<u64>,
    leader: Option<NodeId>,
    membership: Option<crate::types::LogId>,
    snapshot: Option<crate::types::LogId>,
    full: bool,
}

/// Watches openraft: renews the lease with every change of leader or members, the status with every change that matters and
/// each second. Progress with entries wakes it not.
pub(crate) async fn observe(shared: Arc<Shared>, raft: Raft, members: Arc<Members>) -> Result<(), String> {
    use openraft::async_runtime::WatchReceiver;
    let metrics = raft.metrics();
    let mut server = raft.server_metrics();
    let mut standing = Standing {
        role: Role::Alone,
        led: None,
        leader: None,
        membership: None,
        snapshot: None,
        full: false,
    };
    let mut renewed_at = Instant::now();
    let mut silence = Silence::default();
    loop {
        let (now_standing, running) = {
            let led = renew_lease(&shared, &server.borrow_and_update());
            let metrics = metrics.borrow_watched();
            let full = matches!(shared.writer.progress().state, WriterState::Full { .. });
            let role = match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Follower => Role::Follower,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            };
            let membership = *metrics.membership_config.log_id();
            let (leader, snapshot) = (metrics.current_leader, metrics.snapshot);
            let now = Standing { role, led, leader, membership, snapshot, full };
            (now, metrics.running_state.clone())
        };
        let changed = now_standing != standing;
        if changed || renewed_at.elapsed() >= REFRESH_EVERY {
            let status = picture(&shared, &metrics.borrow_watched());
            tell(&shared, &standing, &now_standing, &status);
            silence.tell(now_standing.led, &status);
            shared.status.set(picture(&shared, &metrics.borrow_watched()));
            renewed_at = Instant::now();
            if changed {
                shared.status.wake();
            }
            if now_standing.led.is_some() && standing.led != now_standing.led {
                let members = Arc::clone(&members);
                tokio::spawn(async move { members.finish_change().await });
            }
            if now_standing.led.is_some() && !members.with_other_tls_ports().is_empty() {
                let members = Arc::clone(&members);
                tokio::spawn(async move { members.correct_tls_ports().await });
            }
            // openraft purges what a snapshot covers, and forgets what else was asked for.
            let wanted = shared.purge_wanted.load(Ordering::SeqCst);
            if now_standing.snapshot != standing.snapshot && wanted > 0 {
                raft.trigger().purge_log(wanted).await.map_err(|error| error.to_string())?;
            }
            standing = now_standing;
        }
        running.map_err(|error| error.to_string())?;
        let limit = Instant::now() + LOOK_EVERY;
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                let running = metrics.borrow_watched().running_state.clone();
                return Err(running.map_or_else(|error| error.to_string(), |()| "Raft has ended".to_owned()));
            },
            () = shared.log_news.notified() => if let WriterState::Failed(cause) = shared.writer.progress().state {
                return Err(cause);
            },
            () = tokio::time::sleep_until(limit) => {}
        }
    }
}

/// Members that a leader has not heard from for so long are told of.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Which members the leader does not hear from.
#[derive(Default)]
struct Silence {
    /// The term that is led, and since when.
    led: Option<(u64, Instant)>,
    silent: BTreeSet<NodeId>,
}

impl Silence {
    fn tell(&mut self, led: Option<u64>, status: &Status) {
        let Some(term) = led else {
            *self = Self::default();
            return;
        };
        let (led, since) = *self.led.get_or_insert((term, Instant::now()));
        if led != term {
            *self = Self::default();
            return;
        }
        if since.elapsed() < SILENT_AFTER {
            return;
        }
        for member in status.members.iter().filter(|member| member.id != status.id) {
            let silent = member.heard_at.is_none_or(|at| now().saturating_duration_since(at) > SILENT_AFTER);
            let node = member.peer.to_string();
            if silent && self.silent.insert(member.id) {
                tracing::warn!(term, node, matched = member.matched, "a node is not heard from any more");
            } else if !silent && self.silent.remove(&member.id) {
                tracing::info!(term, node, "a node is heard from again");
            }
        }
        self.silent.retain(|id| status.members.iter().any(|member| member.id == *id));
    }
}

/// The story, for whoever reads the log at night.
fn tell(shared: &Shared, before: &Standing, after: &Standing, status: &Status) {
    let name = |id: NodeId| {
        let member = status.members.iter().find(|member| member.id == id);
        member.map_or_else(|| shown(id), |member| member.peer.to_string())
    };
    let term = status.term;
    if after.led != before.led {
        match after.led {
            Some(term) => {
                shared.counters.elections_won.fetch_add(1, Ordering::Relaxed);
                tracing::info!(term, last_index = status.last_index, "this node has been elected and leads");
            }
            None => tracing::warn!(term, committed = status.committed, "this node leads no longer"),
        }
    }
    if after.leader != before.leader {
        match after.leader {
            Some(leader) => {
                shared.counters.leader_changes.fetch_add(1, Ordering::Relaxed);
                if leader != shared.id {
                    tracing::info!(term, leader = name(leader), "following");
                }
            }
            None => tracing::info!(term, "there is no leader that this node knows of"),
        }
    }
    if after.role != before.role && after.role == Role::Candidate {
        tracing::info!(
            term,
            last_index = status.last_index,
            "nothing has been heard from a leader, this node stands for election"
        );
    }
    if after.membership != before.membership {
        let list = |voter: bool| {
            let members = status.members.iter().filter(|member| member.voter == voter);
            members.map(|member| member.peer.to_string()).collect::<Vec<_>>().join(" ")
        };
        tracing::info!(term, voters = list(true), learners = list(false), "the members of the group");
    }
}
