//! A node: openraft, its log, its transport, and the tasks around them.
//!
//! ```text
//!  executor ── propose ──▶ proposer ─▶ Raft ─▶ log store ─▶ cairn-log
//!           ◀─ take_applied ──── state machine ◀─┘ │
//!           ── order ──▶ orders ─▶ members         └▶ transport ─▶ peers
//!           ◀─ status, lease ─── observer
//! ```
//!
//! In production all of it runs on one thread of its own ([`Node::start`]), so that neither a long script nor a slow disk keeps
//! the node from answering its peers. A simulation runs the same tasks on its own runtime ([`Node::spawn`]), with its clock,
//! and drives the log itself.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use cairn_storage::log::{Log, LogError, Recovered};
use cairn_storage::writer::{self, LogWriter, SyncPolicy};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::{Config, ReadPolicy, SnapshotPolicy, StepDownPolicy};
use rand::Rng;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::admin::Transport;
use crate::applied::{AppliedQueue, Snapshots, Wake};
use crate::boot;
use crate::gate::Gate;
use crate::handle::{Done, Handle, Order, Taken};
use crate::lease::Lease;
use crate::log_store::{LogStore, Opened};
use crate::membership::Members;
use crate::network;
use crate::pause::VotePause;
use crate::runtime::chance;
use crate::shared::{Acquaintances, Counters, Proposals, Proposed, Request, Shared};
use crate::state_machine::StateMachine;
use crate::status::{self, StatusCell};
use crate::types::{NodeId, Peer, Proposal, TypeConfig};

/// openraft with this server's parts.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Commands for openraft's state machine that may wait while the executor is busy. Past it openraft itself would wait, and
/// its heartbeats with it; each is a few words, for the entries stay in the log.
const WAITING_COMMANDS_MAX: u64 = 1 << 20;

/// Entries in one request to a follower; their bytes are bounded by [`crate::log_store::READ_BYTES_MAX`].
const REQUEST_ENTRIES_MAX: u64 = 4096;

/// After a quorum did not confirm the lease it is not asked again for so long.
const CONFIRM_AGAIN: Duration = Duration::from_millis(5);

/// How often the group's clocks tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader is heard from at least so often.
    pub heartbeat: Duration,
    /// A follower that has not heard from a leader for [`Timing::election_max`], and then for a random time between these two,
    /// stands for election.
    pub election_min: Duration,
    /// And a follower that has heard from a leader votes for nobody else for so long.
    pub election_max: Duration,
}

impl Timing {
    /// From `cluster-node-timeout`: a leader that is gone that long has a successor, as a rule.
    pub fn from_node_timeout(timeout: Duration) -> Timing {
        // Below this openraft's ticks are too coarse.
        let timeout = timeout.max(Duration::from_millis(50));
        Timing { heartbeat: timeout / 10, election_min: timeout * 3 / 10, election_max: timeout * 6 / 10 }
    }
}

/// What a node starts with.
pub struct Options {
    pub id: NodeId,
    /// Where other nodes and clients reach it.
    pub me: Peer,
    /// The nodes of a new group, this one among them; empty: it waits for CLUSTER MEET.
    pub peers: Vec<Peer>,
    pub timing: Timing,
    pub log: Log,
    pub recovered: Recovered,
    pub policy: SyncPolicy,
    /// The newest snapshot, which the executor has loaded.
    pub snapshot: Option<Taken>,
    /// Called when the executor has something new to look at.
    pub wake: Wake,
}

/// A node that runs; see [`Handle`] for what to do with it.
pub struct Node;

/// How long the simulated disk takes for the next group.
pub type DiskDelay = Box<dyn FnMut() -> Duration + Send>;

/// What is needed to run, besides what is shared.
struct Parts<T> {
    shared: Arc<Shared>,
    options: Starting,
    proposed: mpsc::UnboundedReceiver<Proposed>,
    requests: mpsc::UnboundedReceiver<Request>,
    transport: T,
}

struct Starting {
    peers: Vec<Peer>,
    timing: Timing,
    /// As the log said when it was opened.
    has_voted: bool,
    was_member: bool,
}

impl Node {
    /// Starts a node on a thread of its own.
    pub fn start<T: Transport>(options: Options, transport: T) -> Result<Handle, LogError> {
        let log_news = Arc::new(Notify::new());
        let notify = notifier(&log_news);
        let parts =
            prepare(options, transport, log_news, |log, policy| LogWriter::start(log, policy, notify))?;
        let handle = Handle { shared: Arc::clone(&parts.shared) };
        let shared = Arc::clone(&parts.shared);
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let guard = FatalOnPanic(Arc::clone(&shared));
            match runtime {
                Ok(runtime) => runtime.block_on(run(parts)),
                Err(error) => shared.fatal(&format!("no runtime for Raft: {error}")),
            }
            drop(guard);
        };
        let thread = thread::Builder::new().name("cairn-raft".into()).spawn(body);
        let thread = thread.expect("a process that cannot start a thread cannot serve");
        *handle.shared.thread.lock().expect("nobody else has it yet") = Some(thread);
        Ok(handle)
    }

    /// Starts a node as tasks of the current runtime. The log has no threads: a task does each group after `disk_delay`.
    pub fn spawn<T: Transport>(
        options: Options,
        transport: T,
        mut disk_delay: DiskDelay,
    ) -> Result<Handle, LogError> {
        let log_news = Arc::new(Notify::new());
        let notify = notifier(&log_news);
        let due = Arc::new(Notify::new());
        let wake = Arc::clone(&due);
        let parts = prepare(options, transport, log_news, |log, policy| {
            let wake = Box::new(move || wake.notify_one());
            LogWriter::manual(log, policy, notify, wake, || Instant::now().into_std())
        })?;
        let writer = Arc::downgrade(&parts.shared.writer);
        tokio::spawn(async move {
            loop {
                let deadline = match writer.upgrade() {
                    Some(writer) => writer.next_turn_at().map(Instant::from_std),
                    None => return,
                };
                let limit = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
                let called = tokio::time::timeout_at(limit, due.notified()).await.is_ok();
                if !called && deadline.is_none() {
                    continue;
                }
                tokio::time::sleep(disk_delay()).await;
                match writer.upgrade() {
                    Some(writer) => drop(writer.turn()),
                    None => return,
                }
            }
        });
        let handle = Handle { shared: Arc::clone(&parts.shared) };
        tokio::spawn(run(parts));
        Ok(handle)
    }
}

/// What the log thread calls. That entries are on disk openraft is told itself, by its callbacks.
fn notifier(log_news: &Arc<Notify>) -> writer::Notify {
    let log_news = Arc::clone(log_news);
    writer::Notify::State(Box::new(move || log_news.notify_one()))
}

fn prepare<T: Transport>(
    options: Options,
    transport: T,
    log_news: Arc<Notify>,
    writer: impl FnOnce(Log, SyncPolicy) -> LogWriter,
) -> Result<Parts<T>, LogError> {
    let snapshot = options.snapshot.as_ref().and_then(|taken| taken.meta.last_log_id);
    let opened = Opened::new(&options.log, &options.recovered, snapshot)?;
    let (has_voted, was_member) = (opened.has_voted(), opened.is_member());
    let writer = Arc::new(writer(options.log, options.policy));
    let store = LogStore::new(Arc::clone(&writer), opened);
    let (proposals, proposed) = Proposals::new();
    let (requests, requested) = mpsc::unbounded_channel();
    let mut session_token = [0; 16];
    chance().fill_bytes(&mut session_token);
    let shared = Shared {
        id: options.id,
        me: options.me,
        session_token,
        writer,
        store,
        status: StatusCell::new(options.id, Arc::clone(&options.wake)),
        applied: AppliedQueue::new(options.wake),
        snapshots: Snapshots::new(options.snapshot),
        proposals,
        lease: Lease::new(options.timing.election_max),
        acks: Acks::new(options.id),
        confirm: Notify::new(),
        counters: Counters::default(),
        acquaintances: Acquaintances::default(),
        requests,
        log_news,
        purge_wanted: 0.into(),
        started: false.into(),
        stopping: false.into(),
        stop_wanted: Notify::new(),
        thread: None.into(),
    };
    let starting = Starting { peers: options.peers, timing: options.timing, has_voted, was_member };
    let shared = Arc::new(shared);
    Ok(Parts { shared, options: starting, proposed, requests: requested, transport })
}

struct FatalOnPanic(Arc<Shared>);

impl Drop for FatalOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fatal("Raft's thread panicked");
        }
    }
}

impl Shared {
    /// The process has to end.
    pub(crate) fn fatal(&self, cause: &str) {
        self.lease.set_leading(None);
        self.status.set_fatal(cause);
        self.applied.close();
    }
}

fn config(timing: &Timing, may_elect: bool) -> Config {
    let ms = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: "cairn".into(),
        heartbeat_interval: ms(timing.heartbeat).max(1),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        max_payload_entries: REQUEST_ENTRIES_MAX,
        state_machine_channel_size: Some(WAITING_COMMANDS_MAX),
        // The executor decides when to write a snapshot, and what of the log is to go.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A leader that is to go hands over first.
        removed_leader_step_down: StepDownPolicy::Never,
        enable_pre_vote: Some(true),
        // A restarted leader takes a new term, or it would go on with proposals that it has forgotten.
        enable_leader_restore: Some(false),
        enable_elect: may_elect,
        // Under `everysec` and `no` a loss of power takes the end of a follower's log; that must not stop the leader.
        allow_log_reversion: Some(true),
        backoff: format!("{0}ms {0}ms {0}ms", ms(timing.heartbeat).max(1)),
        ..Config::default()
    }
}

async fn run<T: Transport>(parts: Parts<T>) {
    let shared = Arc::clone(&parts.shared);
    let stop_wanted = Arc::clone(&shared);
    let served = serve(parts);
    if let Err(cause) = served.await {
        tracing::error!(cause, "this node takes no part in the group any more");
        stop_wanted.fatal(&cause);
    }
    shared.lease.set_leading(None);
}

/// Runs until the node is stopped (`Ok`) or cannot go on.
async fn serve<T: Transport>(parts: Parts<T>) -> Result<(), String> {
    let Parts { shared, options, proposed, requests, transport } = parts;
    let Starting { peers, timing, has_voted, was_member } = options;
    let store = shared.store.clone();
    let machine = StateMachine::new(Arc::clone(&shared));
    // Elections begin once it is known whether this node has to wait.
    let config = config(&timing, false).validate().map_err(|error| error.to_string())?;
    let heard = Arc::clone(&shared);
    let acked = Arc::new(move |node, term, sent_at| heard.acked(node, term, sent_at));
    let network = network::Factory::new(transport.factory(), acked);
    let raft = Raft::new(shared.id, Arc::new(config), network, store.clone(), machine).await;
    let raft = raft.map_err(|error| error.to_string())?;

    // From the log, through openraft's own loop: what it publishes may not be there yet.
    let me = shared.id;
    let others =
        raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().any(|id| id != me));
    let others = others.await.map_err(|error| error.to_string())?;
    shared.started.store(true, Ordering::SeqCst);
    let pause = VotePause::at_start(has_voted, others, timing.election_max);
    let members = Arc::new(Members::new(Arc::clone(&shared), raft.clone(), store, timing));
    status::refresh(&shared, &raft);
    let gate = Gate {
        shared: Arc::clone(&shared),
        raft: raft.clone(),
        pause,
        members: Arc::clone(&members),
        was_member,
    };

    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    let serving = transport.serve(Arc::new(gate));
    tasks.spawn(
        async move { serving.await.map_err(|error: io::Error| format!("cannot serve peers: {error}")) },
    );
    tasks.spawn(elect_after(raft.clone(), pause));
    tasks.spawn(status::observe(Arc::clone(&shared), raft.clone(), Arc::clone(&members)));
    tasks.spawn(propose(Arc::clone(&shared), raft.clone(), proposed));
    tasks.spawn(confirm_lease(Arc::clone(&shared), raft.clone(), timing.election_max));
    let boot = boot::Boot { shared: Arc::clone(&shared), raft: raft.clone(), transport, members };
    tasks.spawn(obey(Arc::clone(&shared), boot.clone(), requests));
    if !peers.is_empty() {
        tasks.spawn(async move { boot.join_or_begin(peers).await });
    }

    let ended = {
        let stop = pin!(shared.stop_wanted.notified());
        let failure = pin!(first_failure(&mut tasks));
        match futures_util::future::select(stop, failure).await {
            futures_util::future::Either::Left(_) => Ok(()),
            futures_util::future::Either::Right((cause, _)) => Err(cause),
        }
    };
    shared.lease.set_leading(None);
    shared.applied.close();
    tasks.shutdown().await;
    let _ = raft.shutdown().await;
    ended?;
    shared.writer.flush_and_sync().map_err(|error| error.to_string())
}

/// Waits for a task that cannot go on. Tasks that are done are none of it.
async fn first_failure(tasks: &mut JoinSet<Result<(), String>>) -> String {
    loop {
        match tasks.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(cause))) => return cause,
            Some(Err(error)) => return format!("a task of Raft's ended: {error}"),
            None => return "all tasks of Raft's ended".into(),
        }
    }
}

async fn elect_after(raft: Raft, pause: VotePause) -> Result<(), String> {
    pause.over().await;
    raft.runtime_config().elect(true);
    Ok(())
}

/// A proposal's answer from openraft.
struct Sent {
    term: u64,
    bytes: u64,
    answer: OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>,
}

/// Hands batches to Raft, one after the other: one task that awaits each call keeps their order.
async fn propose(
    shared: Arc<Shared>,
    raft: Raft,
    mut proposed: mpsc::UnboundedReceiver<Proposed>,
) -> Result<(), String> {
    let (sent, answers) = mpsc::unbounded_channel();
    let collector = collect(Arc::clone(&shared), answers);
    let sender = async {
        while let Some(Proposed { term, batch }) = proposed.recv().await {
            let bytes = batch.len() as u64;
            if shared.proposals.in_doubt(term) {
                shared.proposals.fate_known(bytes);
                continue;
            }
            let (responder, answer) = ProgressResponder::complete_only();
            let write = raft.write(Proposal(batch)).with_leader(term).responder(responder);
            write.await.map_err(|error| error.to_string())?;
            let _ = sent.send(Sent { term, bytes, answer });
        }
        Ok(())
    };
    tokio::select! {
        ended = sender => ended,
        () = collector => Ok(()),
    }
}

/// Sees what becomes of proposals, in their order.
async fn collect(shared: Arc<Shared>, mut answers: mpsc::UnboundedReceiver<Sent>) {
    while let Some(Sent { term, bytes, answer }) = answers.recv().await {
        let cause = match answer.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("Raft gave no answer".to_owned()),
        };
        if let Some(cause) = cause
            && shared.proposals.set_doubt(term, &cause)
        {
            tracing::warn!(term, cause, "a proposal may or may not be in the log");
            shared.status.wake();
        }
        shared.proposals.fate_known(bytes);
    }
}

/// One round at a time. A call during a round leaves a permit behind, which makes one more.
async fn confirm_lease(shared: Arc<Shared>, raft: Raft, limit: Duration) -> Result<(), String> {
    loop {
        shared.confirm.notified().await;
        // A lease that was given up stays so, whatever a quorum says.
        let Some(term) = shared.lease.leading().filter(|_| !shared.lease.is_dropped()) else { continue };
        let begun = Instant::now();
        // It sends heartbeats. The lease itself grows with each answer, from when that was asked for; openraft's word is not
        // enough, for to it an older answer may be one to a newer request (see `acks`).
        match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok(_) if shared.acks.confirmed(term, begun, limit).await => {}
            Ok(_) => tracing::debug!(term, "a quorum has answered, but not what it was asked now"),
            Err(error) => {
                tracing::debug!(term, %error, "a quorum does not confirm that this node leads");
                // Whoever waits for the lease asks again when it is woken. openraft can refuse at once, as it does when another
                // leader is known: the two would go round as fast as the processor.
                tokio::time::sleep(CONFIRM_AGAIN).await;
            }
        }
        shared.status.wake();
    }
}

async fn obey<T: Transport>(
    shared: Arc<Shared>,
    boot: boot::Boot<T>,
    mut requests: mpsc::UnboundedReceiver<Request>,
) -> Result<(), String> {
    while let Some(request) = requests.recv().await {
        match request {
            Request::Order(order, done) => {
                let boot = boot.clone();
                tokio::spawn(async move { carry_out(boot, order, done).await });
            }
            // openraft learns of it by asking for one.
            Request::SnapshotTaken => {
                if let Some(meta) = shared.snapshots.newest().map(|taken| taken.meta) {
                    tracing::info!(
                        index = meta.last_log_id.map(|id| id.index),
                        "a new snapshot can be sent to nodes that need it"
                    );
                }
                boot.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            }
            Request::Purge(index) => {
                shared.purge_wanted.fetch_max(index, Ordering::SeqCst);
                boot.raft.trigger().purge_log(index).await.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

async fn carry_out<T: Transport>(boot: boot::Boot<T>, order: Order, done: Done) {
    tracing::info!(?order, "ordered");
    let result = match order.clone() {
        Order::Meet { host, port, cluster_port } => {
            boot.meet(Peer { host, port, cluster_port, tls_port: 0 }).await
        }
        Order::Forget { node } => boot.members.forget(node).await,
        Order::Transfer { to } => boot.members.transfer(to).await,
        Order::GiveUpTerm { term } => boot.members.give_up(term).await,
    };
    match &result {
        Ok(()) => tracing::info!(?order, "done"),
        Err(cause) => tracing::warn!(?order, cause, "not done"),
    }
    done(result);
}

/// The nodes of a new group.
pub(crate) type NewGroup = BTreeMap<NodeId, Peer>;

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// A log store and a state machine without openraft.
#[cfg(test)]
pub(crate) fn prepare_for_test<T: Transport>(
    options: Options,
    transport: T,
) -> (Handle, LogStore, StateMachine) {
    let log_news = Arc::new(Notify::new());
    let notify = notifier(&log_news);
    let parts = prepare(options, transport, log_news, |log, policy| LogWriter::start(log, policy, notify));
    let parts = parts.expect("a new log can be opened");
    let store = parts.shared.store.clone();
    let machine = StateMachine::new(Arc::clone(&parts.shared));
    (Handle { shared: parts.shared }, store, machine)
}
