//! Following another server by hand: the link to the primary, as the executor drives it.
//!
//! ```text
//! Resting    until the next attempt
//! Talking    the two come to an agreement ([`talk`]); with all of the data, a thread loads it ([`load`])
//! Loaded     the new state is there and its snapshot is written; waits until everything of the old is released
//! Naming     the snapshot gets the next position of the journal, and its name
//! Following  the primary is a client whose commands are executed
//! ```
//!
//! What this holds to:
//!
//! - The data on disk is whole at every moment: the old state up to the rename that ends `Naming`, the new one from there on. The
//!   new one is the state after a batch that nobody has logged, so that nothing of the old log is ever applied to it; the
//!   log begins again behind it. Between the position being told and the rename nothing is logged.
//! - An offset is acknowledged when everything up to it is as safe as `appendfsync` says, and `FACK` is what is synced.
//! - A link that breaks costs nothing that was executed: the next one asks for the stream from there on.
//! - The primary is read no faster than its commands are executed and logged, and not at all while the disk is full.

mod load;
mod talk;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cairn_engine::following::{History, Link};
use cairn_engine::{ClientInfo, Slot, rdb};
use cairn_proto::encode_request;
use cairn_storage::writer::{Op, Until};
use tokio::time::Instant;

use super::connection::Connection;
use super::door::prepare_socket;
use super::stream::Stream;
use super::wake::{Ready, Token};
use super::{Executor, FOLLOW_TOKEN, now_ms, tls};
use crate::start::shown_port;
use load::{Dataset, Loaded, NotNamed, Plan};
use talk::{Agreed, Data, Progress, Terms};

/// Between two attempts; doubled by each that fails when it has come as far as the data.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Marks that are looked at before an acknowledgement is due.
const MARKS_MAX: usize = 1024;

/// The link to the primary, and what is known of it.
pub(super) struct Follower {
    stage: Stage,
    progress: Rc<Progress>,
    token: Arc<Token>,
    waker: Waker,
    /// The future has something to do.
    woken: bool,
    /// The primary is not read from for now.
    waits: bool,
    attempts: u64,
    /// Alive as long as a thread that loads data is at work.
    loading: Weak<()>,
    /// Attempts in a row that failed over the data.
    refused: u32,
    /// Offsets, and the batches that have to be released for them, oldest first.
    marks: VecDeque<Mark>,
    /// Up to where it is safe; `None`: nothing is known yet.
    released: Option<u64>,
    synced: u64,
    acked_at: Instant,
    /// When the link last came up.
    attached_at: Instant,
}

/// Everything up to `offset` of the stream is in the batches up to `seq`.
#[derive(Clone, Copy)]
struct Mark {
    seq: u64,
    offset: u64,
    released: bool,
}

enum Stage {
    /// Nobody is followed, or the next attempt is due at this time.
    Resting(Option<Instant>),
    Talking(Pin<Box<dyn Future<Output = Result<Agreed, String>>>>),
    Loaded(Box<NewState>),
    Naming(Box<Naming>),
    Following(Slot),
}

/// The primary's data, and the connection over which it came.
struct NewState {
    agreed: Agreed,
    offset: u64,
    loaded: Loaded,
}

/// The same, waiting for the name of its snapshot, which is the state after the batch `seq`.
struct Naming {
    agreed: Agreed,
    offset: u64,
    data: Dataset,
    seq: u64,
    done: Receiver<Result<u64, NotNamed>>,
}

fn thread_gone() -> NotNamed {
    NotNamed { error: "its thread is gone".to_owned(), uncertain: true }
}

impl Follower {
    pub fn new(ready: &Arc<Ready>) -> Self {
        let token = Token::new(FOLLOW_TOKEN, Arc::clone(ready));
        Self {
            stage: Stage::Resting(None),
            progress: Rc::new(Progress { link: Cell::new(Link::Down), transfer: Cell::new(None) }),
            waker: Waker::from(Arc::clone(&token)),
            token,
            woken: false,
            waits: false,
            attempts: 0,
            loading: Weak::new(),
            refused: 0,
            marks: VecDeque::new(),
            released: None,
            synced: 0,
            acked_at: Instant::now(),
            attached_at: Instant::now(),
        }
    }

    /// The token was listed.
    pub fn wake(&mut self) {
        self.token.taken();
        self.woken = true;
    }

    /// Everything up to `offset` is in the batches up to `seq`.
    fn mark(&mut self, seq: u64, offset: u64) {
        match self.marks.back_mut() {
            // Bounded by the batches that the journal has queued.
            Some(last) if last.seq >= seq => (last.offset, last.released) = (offset, false),
            _ => self.marks.push_back(Mark { seq, offset, released: false }),
        }
    }

    /// Notes what has been released and synced.
    fn note_safe(&mut self, released: u64, synced: Option<u64>) {
        for mark in self.marks.iter_mut().filter(|mark| !mark.released && mark.seq <= released) {
            mark.released = true;
            self.released = Some(mark.offset);
        }
        while let Some(&mark) = self.marks.front()
            && mark.released
            && synced.is_none_or(|synced| mark.seq <= synced)
        {
            self.synced = mark.offset;
            self.marks.pop_front();
        }
    }
}

impl Executor {
    /// Follows the server that `replicaof` names; at the start.
    pub fn follow_as_configured(&mut self) {
        self.engine.follow_as_configured();
        self.follow_anew();
    }

    /// REPLICAOF has been said, or the server starts: takes up what [`cairn_engine::following`] says now.
    pub(super) fn follow_anew(&mut self) {
        self.finish_naming();
        // Of one that has been loaded and not been told a position nothing remains.
        self.engine.shared.end_replacing();
        if self.engine.shared.following.is_none() {
            // Under the name that the state has now they have to begin anew.
            self.end_feeds();
        }
        if let Stage::Following(slot) = std::mem::replace(&mut self.follower.stage, Stage::Resting(None)) {
            self.close(slot);
            if let Some(following) = &mut self.engine.shared.following {
                (following.link, following.slot) = (Link::Down, None);
            }
        }
        self.follower.marks.clear();
        self.follower.refused = 0;
        self.follow_oom_score();
        if self.engine.shared.following.is_some() {
            self.follower.stage = Stage::Resting(Some(Instant::now()));
        }
        self.move_link();
    }

    /// Moves the link on as far as it goes.
    pub(super) fn move_link(&mut self) {
        if self.engine.shared.following.is_none() {
            return;
        }
        self.let_primary_go_on();
        match &mut self.follower.stage {
            Stage::Resting(Some(at)) if *at <= Instant::now() && self.shutdown.is_none() => {
                if self.follower.loading.strong_count() > 0 {
                    // The thread of an attempt that was given up is still at work: not a second copy of the data beside its.
                    *at = Instant::now() + RETRY;
                    return;
                }
                self.call_primary()
            }
            Stage::Talking(talking) if std::mem::take(&mut self.follower.woken) => {
                let mut context = Context::from_waker(&self.follower.waker);
                if let Poll::Ready(outcome) = talking.as_mut().poll(&mut context) {
                    self.agreed(outcome);
                }
                self.show_progress();
            }
            Stage::Loaded(_) => self.begin_naming(),
            Stage::Naming(naming) => match naming.done.try_recv() {
                Ok(outcome) => self.named(outcome),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.named(Err(thread_gone())),
            },
            Stage::Resting(_) | Stage::Talking(_) | Stage::Following(_) => {}
        }
    }

    fn call_primary(&mut self) {
        match self.terms() {
            Ok(terms) => {
                tracing::info!(host = terms.host, port = terms.port, "calling the primary");
                self.follower.progress.transfer.set(None);
                let talking = talk::agree(terms, Rc::clone(&self.follower.progress));
                self.follower.stage = Stage::Talking(Box::pin(talking));
                self.follower.woken = true;
                self.move_link();
            }
            Err(error) => self.link_failed(&error),
        }
    }

    fn terms(&mut self) -> Result<Terms, String> {
        self.follower.attempts += 1;
        let at_work = Arc::new(());
        self.follower.loading = Arc::downgrade(&at_work);
        let config = &self.engine.shared.config;
        let following = self.engine.shared.following.as_ref().ok_or("nobody is followed")?;
        let tls = config.tls_replication.then(|| tls::connector(config)).transpose();
        let own_port =
            if config.tls_replication && config.tls_port != 0 { config.tls_port } else { shown_port(config) };
        let announced = config.replica_announce_port;
        Ok(Terms {
            host: following.host.clone(),
            port: following.port,
            source: config.bind_source_addr.clone(),
            tls: tls.map_err(|error| format!("tls-replication: {error:#}"))?,
            user: config.masteruser.clone(),
            password: config.masterauth.clone(),
            listening_port: if announced == 0 { own_port } else { announced },
            announced_ip: config.replica_announce_ip.clone(),
            history: following.history.clone(),
            patience: Duration::from_secs(config.repl_timeout.into()),
            plan: Plan {
                home: self.home()?,
                file: self.services.snapshot_file.clone(),
                attempt: self.follower.attempts,
                at_work,
                config: config.clone(),
                seed: self.engine.keys.seed(),
                usage: self.engine.keys.usage,
            },
            waker: self.follower.waker.clone(),
        })
    }

    /// What INFO and ROLE say.
    fn show_progress(&mut self) {
        if let Some(following) = &mut self.engine.shared.following
            && matches!(self.follower.stage, Stage::Talking(_))
        {
            following.link = self.follower.progress.link.get();
            following.transfer = self.follower.progress.transfer.get();
        }
    }

    fn agreed(&mut self, outcome: Result<Agreed, String>) {
        self.follower.stage = Stage::Resting(None);
        let mut agreed = match outcome {
            Ok(agreed) => agreed,
            Err(error) => return self.link_failed(&error),
        };
        match std::mem::replace(&mut agreed.data, Data::Same) {
            Data::Same => {
                let Some(history) =
                    self.engine.shared.following.as_ref().and_then(|following| following.history.clone())
                else {
                    return self.link_failed("it goes on with what was never begun");
                };
                tracing::info!(offset = history.offset, "the primary's stream goes on where it was");
                if history.id != agreed.id {
                    // Who follows this server must not take the new stream for the old one's.
                    self.end_feeds();
                }
                let history = History { id: agreed.id.clone(), ..history };
                self.attach(agreed, history);
            }
            Data::New { offset, loaded } => {
                if let Some(following) = &mut self.engine.shared.following {
                    following.link = Link::Sync;
                }
                // Or clients of a writable replica would keep the old state from ever coming to rest.
                self.engine.shared.replacing = true;
                self.follower.stage = Stage::Loaded(Box::new(NewState { agreed, offset, loaded }));
                self.begin_naming();
            }
        }
    }

    /// Tells the new state's snapshot its position, once the old state has come to rest.
    fn begin_naming(&mut self) {
        let effects = &self.engine.shared.effects;
        if !effects.is_settled()
            || self.has_unreleased()
            || self.shutdown.is_some()
            || self.log_switch.is_some()
        {
            return;
        }
        if self.snapshots.running() {
            // One of the old state, which must not replace the new one's.
            self.snapshots.cancel();
            return;
        }
        let Stage::Loaded(new) = std::mem::replace(&mut self.follower.stage, Stage::Resting(None)) else {
            return;
        };
        let NewState { agreed, offset, loaded } = *new;
        let Loaded { data, commit, done } = loaded;
        let seq = self.engine.shared.effects.newest_seq() + 1;
        // If nobody takes it, the thread says why.
        let _ = commit.send(rdb::position_fields(seq, self.engine.shared.now_ms));
        self.follower.stage = Stage::Naming(Box::new(Naming { agreed, offset, data, seq, done }));
    }

    /// Waits for a snapshot of the new state that is about to get its name: what is to be done next must know which state counts.
    /// What remains is a sync and a rename.
    pub(super) fn finish_naming(&mut self) {
        if let Stage::Naming(naming) = &self.follower.stage {
            let outcome = naming.done.recv().unwrap_or_else(|_| Err(thread_gone()));
            self.named(outcome);
        }
    }

    /// The snapshot of the new state has its name, so that state is the one that counts; or it has not.
    fn named(&mut self, outcome: Result<u64, NotNamed>) {
        let Stage::Naming(naming) = std::mem::replace(&mut self.follower.stage, Stage::Resting(None)) else {
            return;
        };
        self.engine.shared.end_replacing();
        let Naming { agreed, offset, data, seq, .. } = *naming;
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(NotNamed { error, uncertain: false }) => return self.link_failed(&error),
            Err(NotNamed { error, .. }) => {
                // Only a start can tell which state counts.
                tracing::error!(
                    "stopping at once: what has become of the snapshot of the primary's data is unknown: {error}"
                );
                crate::process::abort();
            }
        };
        let Dataset { dbs, libraries, keys, stream_db } = data;
        self.end_feeds();
        if let Err(error) = self.engine.take_over(&mut self.host, dbs, &libraries, seq) {
            tracing::error!("stopping at once: a library of the primary's cannot be loaded again: {error}");
            crate::process::abort();
        }
        if let Some(journal) = &mut self.journal {
            journal.begin_after(seq);
        } else if let Some(writer) = &self.services.writer {
            // Should it be turned on again.
            writer.submit([Op::Restart(seq)], Until::Synced, Box::new(|_| {}));
        }
        self.released = self.released.max(seq);
        self.log_base_bytes = bytes;
        self.snapshot_at_bytes = self.journal.as_ref().map_or(0, |journal| journal.figures().appended_bytes);
        self.follower.refused = 0;
        tracing::info!(keys, seq, bytes, "the primary's data has replaced the old");
        let history = History { id: agreed.id.clone(), offset, db: stream_db };
        if self.engine.shared.following.is_some() {
            self.attach(agreed, history);
        } else {
            // The end of following came while the name was being given.
            self.engine.shared.note_former(history);
        }
        self.flush_held();
    }

    /// From here on the primary is a client.
    fn attach(&mut self, agreed: Agreed, history: History) {
        let Agreed { stream, received, address, local_address, .. } = agreed;
        let now_ms = now_ms();
        let tls = matches!(stream, Stream::Tls(_));
        let fd = prepare_socket(&stream, self.engine.shared.config.tcp_keepalive);
        let slot = self.engine.connect(ClientInfo { address, local_address, fd, unix_socket: false, tls });
        if let Some(client) = self.engine.client(slot) {
            client.state.primary = true;
            client.state.authenticated = true;
            client.state.db = history.db;
        }
        let token = Token::new(slot, Arc::clone(&self.ready));
        // What came with the data, and the socket itself, are looked at in the next turn.
        token.list();
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        let mut connection = Connection::new(stream, token, now_ms);
        connection.inbox.put(&received);
        self.connections[slot] = Some(Box::new(connection));
        self.connected += 1;
        let follower = &mut self.follower;
        follower.stage = Stage::Following(slot);
        follower.attached_at = Instant::now();
        follower.marks.clear();
        (follower.released, follower.synced) = (Some(history.offset), history.offset);
        if let Some(following) = &mut self.engine.shared.following {
            following.link = Link::Up;
            following.slot = Some(slot);
            following.read_to = history.offset;
            following.history = Some(history);
            following.transfer = None;
            following.last_io_ms = now_ms;
            following.ack_wanted = None;
        }
        // What was executed before the link broke may not be released yet.
        self.mark_executed();
        if self.has_unreleased() {
            self.follower.released = None;
            self.follower.synced = 0;
        }
        self.acknowledge(true);
    }

    /// The link is down; another attempt comes.
    fn link_failed(&mut self, error: &str) {
        self.engine.shared.end_replacing();
        let Some(following) = &mut self.engine.shared.following else { return };
        let over_data = following.link == Link::Sync;
        following.link = Link::Down;
        following.transfer = None;
        following.slot = None;
        let follower = &mut self.follower;
        follower.refused = if over_data { (follower.refused + 1).min(u32::BITS) } else { 0 };
        let wait = RETRY.saturating_mul(1 << follower.refused.min(16)).min(RETRY_MAX);
        let wait = if over_data { wait } else { RETRY };
        follower.stage = Stage::Resting(Some(Instant::now() + wait));
        follower.progress.link.set(Link::Down);
        let (host, port) = (&following.host, following.port);
        tracing::warn!(host, port, retry_s = wait.as_secs(), "not following the primary: {error}");
    }

    /// The connection of a client has ended; if that was the primary's, another one is sought.
    pub(super) fn note_primary_gone(&mut self, slot: Slot) {
        if !matches!(self.follower.stage, Stage::Following(at) if at == slot) {
            return;
        }
        // One that ends as soon as it has begun is not called again without a pause.
        let again_at = Instant::now().max(self.follower.attached_at + RETRY);
        self.follower.stage = Stage::Resting(Some(again_at));
        self.follower.marks.clear();
        let now_ms = self.engine.shared.now_ms;
        if let Some(following) = &mut self.engine.shared.following {
            tracing::warn!(offset = following.read_to, "the connection to the primary is gone");
            following.link = Link::Down;
            following.slot = None;
            following.down_since_ms = Some(now_ms);
            following.ack_wanted = None;
            // Of an open transaction nothing was executed.
            following.read_to = following.history.as_ref().map_or(0, |history| history.offset);
        }
    }

    /// Is this the primary, and may nothing more be executed of what it sends now? CLIENT PAUSE holds it, too, as in Redis.
    pub(super) fn primary_has_to_wait(&self, slot: Slot) -> bool {
        let shared = &self.engine.shared;
        matches!(self.follower.stage, Stage::Following(at) if at == slot)
            && (shared.write_refusal.is_some() || shared.pause.holds_writes(shared.now_ms))
    }

    /// Looks at the primary's connection again when it need not wait any more.
    fn let_primary_go_on(&mut self) {
        let Stage::Following(slot) = self.follower.stage else { return };
        let waits = self.primary_has_to_wait(slot);
        let has_waited = std::mem::replace(&mut self.follower.waits, waits);
        if has_waited
            && !waits
            && let Some(connection) = self.connection(slot)
        {
            connection.token.list();
        }
    }

    /// `bytes` of the primary's stream have been executed.
    pub(super) fn count_executed(&mut self, slot: Slot, bytes: usize) {
        let Some(client) = self.engine.client(slot) else { return };
        let state = &client.state;
        if !state.primary || state.close_now {
            // Refused in such a way that it has to come again.
            return;
        }
        let (db, whole) = (state.db, state.transaction.is_none());
        let now_ms = self.engine.shared.now_ms;
        if let Some(following) = &mut self.engine.shared.following {
            following.executed(bytes as u64, db, whole);
            following.last_io_ms = now_ms;
        }
    }

    /// The turn's batches are with the journal: what they are of the stream is as safe as they are.
    pub(super) fn mark_executed(&mut self) {
        if !matches!(self.follower.stage, Stage::Following(_)) {
            return;
        }
        let Some(following) = &self.engine.shared.following else { return };
        let Some(history) = &following.history else { return };
        let last = self.follower.marks.back().map_or(self.follower.synced, |mark| mark.offset);
        if history.offset > last || self.has_unreleased() {
            self.follower.mark(self.engine.shared.effects.newest_seq(), history.offset);
        }
    }

    /// Acknowledges what is safe, if the primary has asked for that, or `now`.
    pub(super) fn acknowledge(&mut self, now: bool) {
        let Stage::Following(slot) = self.follower.stage else { return };
        let asked =
            self.engine.shared.following.as_ref().is_some_and(|following| following.ack_wanted.is_some());
        if !(asked || now) && self.follower.marks.len() < MARKS_MAX {
            return;
        }
        let (released, synced) = match &self.journal {
            Some(journal) => (self.released, Some(journal.synced())),
            None => (u64::MAX, None),
        };
        self.follower.note_safe(released, synced);
        let Some(safe) = self.follower.released else { return };
        let Some(following) = &mut self.engine.shared.following else { return };
        let asked = following.ack_wanted.is_some_and(|wanted| wanted <= safe);
        if asked {
            following.ack_wanted = None;
        }
        if !(asked || now) {
            return;
        }
        self.follower.acked_at = Instant::now();
        let (ack, fack) = (safe.to_string(), self.follower.synced.to_string());
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", ack.as_bytes()];
        if self.journal.is_some() {
            words.extend([b"FACK".as_slice(), fack.as_bytes()]);
        }
        let mut request = Vec::new();
        encode_request(&words, &mut request);
        if let Some(client) = self.engine.client(slot)
            && !client.state.closing()
        {
            client.reply.out.append(&request);
            self.engine.shared.touch(slot);
        }
    }

    /// What is due every second: a word to the primary, and an end to one that gives no sign of life.
    pub(super) fn look_after_primary(&mut self) {
        let Stage::Following(slot) = self.follower.stage else { return };
        let timeout_ms = i64::from(self.engine.shared.config.repl_timeout) * 1000;
        let heard_at_ms = self.connection(slot).map_or(0, |connection| connection.last_read_ms);
        if now_ms() - heard_at_ms > timeout_ms && !self.primary_has_to_wait(slot) {
            tracing::warn!("the primary says nothing for repl-timeout");
            return self.close(slot);
        }
        self.acknowledge(true);
    }
}
