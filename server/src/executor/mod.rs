//! The executor: one thread that owns the engine and the clients' sockets.
//!
//! One *turn* of its loop: sockets that became readable are read until they are empty, every complete command in
//! them is executed at once, what changed goes to the journal as one append, replies that need not wait (any more)
//! go out with one write for each connection. Nothing in a turn waits for the disk or the network.
//!
//! ```text
//! wake.rs         which sockets are ready
//! stream.rs       sockets
//! tls.rs          TLS on them
//! door.rs         how they come in
//! connection.rs   one client: socket, received bytes
//! turn.rs         the steps of a turn
//! route.rs        requests that another node has to answer
//! forward.rs      sessions at the leader of clients of this node
//! session.rs      what the two nodes say to each other, and the leader's end of it
//! attend.rs       other clients while a script runs for long
//! lead.rs         a cluster's node: leading and following
//! feed            replicas of Redis's kind
//! follow          being one
//! requests.rs     what commands ask of the server: snapshots, shutdown, configuration
//! ```

mod attend;
mod connection;
mod door;
mod feed;
mod follow;
mod forward;
mod lead;
mod requests;
pub mod route;
mod session;
mod stream;
pub mod tls;
mod turn;
pub mod wake;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_engine::effects::Batch;
use cairn_engine::host::Facts;
use cairn_engine::{Engine, Host, Slot};
use cairn_replication::handle::Handle;
use cairn_replication::transport::tls::Tls;
use cairn_replication::types::Peer;
use cairn_storage::writer::LogWriter;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::affinity::{Affinity, LogThread};
use crate::host::{ServerHost, Shared};
use crate::journal::Journal;
use crate::process::OomScore;
use crate::snapshots::Snapshots;
use connection::Connection;
use feed::Feeds;
use follow::Follower;
use lead::Cluster;
use route::Forwarding;
pub use stream::{Accept, Accepted, Io, Listener, Stream};
use wake::{Ready, Token};

/// Tokens from here on are listeners; the first ones are clients, by slot.
const LISTENER_TOKENS: usize = 1 << 48;
/// From here on, and below listeners, the leader's sockets of clients, by slot.
const UPSTREAM_TOKENS: usize = 1 << 47;

/// The link to the server that this one follows, until its primary is a client; no client has this slot.
const FOLLOW_TOKEN: usize = UPSTREAM_TOKENS - 1;

/// What the executor is made of.
pub struct Parts {
    pub engine: Engine,
    pub host: ServerHost,
    pub journal: Option<Box<dyn Journal>>,
    pub snapshots: Snapshots,
    pub listeners: Vec<Listener>,
    pub ready: Arc<Ready>,
    pub config_file: Option<PathBuf>,
    /// Bytes of the snapshot that was loaded.
    pub log_base_bytes: u64,
    pub stop: StopFlag,
    pub services: Services,
    /// A node of a cluster: Raft, and where this node is reached.
    pub cluster: Option<(Handle, Peer)>,
}

/// Set by a signal, to its number; the executor shuts down in order. 0: none has come.
pub type StopFlag = Arc<std::sync::atomic::AtomicI32>;

/// What the executor needs of the world beyond sockets, given by the server's main.
pub struct Services {
    pub disk: Arc<dyn cairn_storage::disk::Disk>,
    /// The data directory, absolute: where a start looks, whatever CONFIG SET dir says.
    pub dir: PathBuf,
    /// The snapshot that a start loads, whatever CONFIG SET dbfilename says.
    pub snapshot_file: String,
    /// Holds the data directory for this process.
    pub _lock: cairn_storage::disk::DirLock,
    /// Values to be dropped elsewhere.
    pub trash: std::sync::mpsc::Sender<cairn_engine::keyspace::Trash>,
    /// Puts a changed `loglevel` into effect.
    pub set_log_level: Box<dyn Fn(cairn_engine::config::LogLevel)>,
    /// The log's thread: the journal's, and there to begin one when the log is turned on. A cluster's log is Raft's.
    pub writer: Option<Arc<LogWriter>>,
    /// Where that thread runs. In a cluster it is Raft's thread that wakes, and goes on.
    pub log_thread: Option<Arc<LogThread>>,
    /// With `tls-cluster`, what this node shows the others.
    pub peer_tls: Option<Tls>,
}

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// In order: everything acknowledged is on disk.
    Clean,
}

/// The executor's state between turns.
pub struct Executor {
    engine: Engine,
    host: ServerHost,
    shared: Rc<RefCell<Shared>>,
    journal: Option<Box<dyn Journal>>,
    snapshots: Snapshots,
    services: Services,
    cluster: Option<Cluster>,
    config_file: Option<PathBuf>,
    stop: StopFlag,

    ready: Arc<Ready>,
    listeners: Vec<(Listener, Arc<Token>, Waker)>,
    /// By the engine's slot.
    connections: Vec<Option<Box<Connection>>>,
    connected: usize,

    /// Sockets to look at in this turn.
    tokens: Vec<usize>,
    /// Sockets put off to the next turn: unfinished work, or the journal's queue was full.
    deferred: VecDeque<usize>,
    /// Connections to be flushed at the end of this turn.
    flush: Vec<Slot>,
    /// Connections whose output waits for the journal.
    held: Vec<Slot>,
    batches: Vec<Batch>,
    slots: Vec<Slot>,
    /// The read buffer that idle connections share.
    spare: Vec<u8>,
    /// Room for a command's arguments, reused.
    args: Vec<&'static [u8]>,

    released: u64,
    /// Indexes lack older keys: there is something to do in the next turn.
    indexing: bool,
    cron_at: Instant,
    cron_count: u64,
    shutdown: Option<requests::Shutdown>,
    /// CONFIG SET appendonly, until the log is turned on or off.
    log_switch: Option<requests::PendingChange>,
    /// Clients of WAITAOF, and the positions that they wait for.
    wait_synced: Vec<(u64, Slot)>,
    /// Bytes of the last snapshot, which is what the log is shortened to: the measure of `auto-aof-rewrite-percentage`.
    log_base_bytes: u64,
    /// The journal's `appended_bytes` at the position of the last snapshot, and of the one being written.
    snapshot_at_bytes: u64,
    snapshot_begun_at_bytes: u64,
    figures: Traffic,
    forwarding: Forwarding,
    feeds: Feeds,
    follower: Follower,
    oom_score: OomScore,
    affinity: Affinity,
    /// A connection could not be accepted, for want of file descriptors or of time: the next cron looks again.
    accept_later: bool,
}

/// Counters of bytes and turns, and their rates.
#[derive(Default)]
struct Traffic {
    turns: u64,
    turns_us: u64,
    turn_us_max: u64,
    turn_commands_max: u64,
    cron_us: u64,
    journal_us: u64,
    sampled_turns: u64,
    sampled_turns_us: u64,
    input_bytes: u64,
    output_bytes: u64,
    rejected: u64,
    sampled_at_ms: i64,
    sampled_input: u64,
    sampled_output: u64,
    sampled_commands: u64,
}

impl Traffic {
    fn note_turn(&mut self, took_us: u64, commands: u64) {
        self.turns += 1;
        self.turns_us += took_us;
        self.turn_us_max = self.turn_us_max.max(took_us);
        self.turn_commands_max = self.turn_commands_max.max(commands);
    }

    /// Of each turn: INFO shows what has been up to the one that it is in.
    fn show_turns(&self, facts: &mut Facts) {
        facts.turns = self.turns;
        facts.turns_us = self.turns_us;
        facts.cron_us = self.cron_us;
        facts.journal_us = self.journal_us;
        facts.turn_us_max = self.turn_us_max;
        facts.turn_commands_max = self.turn_commands_max;
    }
}

impl Executor {
    /// Puts the parts together; runs when [`Executor::run`] is called.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            mut engine,
            host,
            journal,
            snapshots,
            listeners,
            ready,
            config_file,
            log_base_bytes,
            stop,
            services,
            cluster,
        } = parts;
        if let Some((handle, _)) = &cluster {
            engine.shared.next_client_id = route::first_client_id(handle.id());
        }
        let node_timeout = Duration::from_millis(engine.shared.config.cluster_node_timeout);
        let cluster = cluster.map(|(handle, me)| Cluster::new(handle, me, node_timeout, Arc::clone(&ready)));
        let listeners = Self::with_tokens(listeners, &ready);
        let follower = Follower::new(&ready);
        let released = engine.shared.released;
        let shared = Rc::clone(&host.shared);
        Self {
            engine,
            host,
            shared,
            journal,
            snapshots,
            services,
            cluster,
            config_file,
            stop,
            ready,
            listeners,
            connections: Vec::new(),
            connected: 0,
            tokens: Vec::new(),
            deferred: VecDeque::new(),
            flush: Vec::new(),
            held: Vec::new(),
            batches: Vec::new(),
            slots: Vec::new(),
            spare: Vec::new(),
            args: Vec::new(),
            released,
            indexing: false,
            cron_at: Instant::now(),
            cron_count: 0,
            shutdown: None,
            log_switch: None,
            wait_synced: Vec::new(),
            log_base_bytes,
            snapshot_at_bytes: 0,
            snapshot_begun_at_bytes: 0,
            figures: Traffic::default(),
            forwarding: Forwarding::default(),
            feeds: Feeds::default(),
            follower,
            oom_score: OomScore::default(),
            affinity: Affinity::default(),
            accept_later: false,
        }
    }

    /// Listeners with their wakers, to be looked at in the next turn.
    fn with_tokens(listeners: Vec<Listener>, ready: &Arc<Ready>) -> Vec<(Listener, Arc<Token>, Waker)> {
        let with_token = |(i, listener)| {
            let token = Token::new(LISTENER_TOKENS + i, Arc::clone(ready));
            token.list();
            let waker = Waker::from(Arc::clone(&token));
            (listener, token, waker)
        };
        listeners.into_iter().enumerate().map(with_token).collect()
    }

    /// Turns until the server ends.
    pub async fn run(mut self) -> Exit {
        let mut timer = Box::pin(sleep_until(self.cron_at));
        // tokio's budget would make sockets look unready in the middle of a turn.
        tokio::task::unconstrained(std::future::poll_fn(move |cx| {
            self.ready.set_executor(cx.waker());
            if let Some(exit) = self.turn() {
                return Poll::Ready(exit);
            }
            let unfinished = !self.deferred.is_empty() || !self.engine.shared.blocking.resumed.is_empty();
            if unfinished && self.takes_commands() || self.indexing {
                cx.waker().wake_by_ref();
            }
            self.arm(&mut timer, cx);
            let log = self.services.log_thread.as_deref();
            self.affinity.before_sleep(log, self.held.len(), self.engine.shared.turn_us);
            Poll::Pending
        }))
        .await
    }

    /// Sets the timer to what is due next.
    fn arm(&mut self, timer: &mut std::pin::Pin<Box<Sleep>>, cx: &mut std::task::Context<'_>) {
        let mut due = self.cron_at;
        if let Some(deadline_ms) = self.engine.next_deadline_ms() {
            let wait_ms = deadline_ms.saturating_sub(now_ms()).max(0) as u64;
            due = due.min(Instant::now() + Duration::from_millis(wait_ms));
        }
        due = due.min(self.forwarding.due.unwrap_or(due));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(cx).is_ready() {
            // It is due already: another turn, at once.
            cx.waker().wake_by_ref();
        }
    }

    /// Are clients read from?
    fn takes_commands(&self) -> bool {
        let handing_over = self.cluster.as_ref().is_some_and(Cluster::is_handing_over);
        !handing_over && !self.journal_is_full()
    }

    /// Must the journal catch up first? Not while writes are refused, when reads go on and add nothing to its queue.
    fn journal_is_full(&self) -> bool {
        let queued_bytes = self.journal.as_ref().map_or(0, |journal| journal.queued_bytes());
        queued_bytes > crate::journal::QUEUED_BYTES_MAX && self.engine.shared.write_refusal.is_none()
    }

    fn begin_turn(&mut self) {
        let us = self.host.monotonic_us();
        self.engine.begin_turn(now_ms(), us);
    }
}

/// The wall clock, in Unix milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
