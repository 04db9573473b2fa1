//! The log-writer thread: group commit, and the promise of each `appendfsync` policy.
//!
//! ```text
//!   executor ── append ──▶ queue ──▶ cairn-log: one pwritev for all that is queued
//!      ▲                               │ always: one fdatasync, then the next group
//!      │                               │ everysec: a sync is handed over once a second
//!      └── notify ◀── written, synced ─┤
//!                                      ▼
//!                       cairn-log-aux: background syncs, spare segments, removals
//! ```
//!
//! While a group is being synced the next one collects in the queue: the slower the disk, the larger the groups.
//!
//! # Order
//!
//! Entries are written in the order of the calls. `synced ≤ written` always, both only rise, and an entry counts as
//! synced only after an `fdatasync` that *began* after its write had returned. Under `everysec` the sync
//! runs on the second thread, on the same open files, so that `written` keeps rising meanwhile; bytes written during
//! a sync count with the next one.
//!
//! # When it cannot write
//!
//! No room: the entries stay queued, the state is [`WriterState::Full`], and the thread tries again every
//! 500 ms, and at once when segments have been removed. Anything else: [`WriterState::Failed`], for good. What
//! is queued then is dropped; the server has to abort, because only recovery can tell what is on the disk.

mod worker;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::worker::Worker;
use crate::log::{Kind, Log, LogError, LogReader, Record, SegmentInfo, SpareFile, SyncOutcome};

/// How long a full disk is left alone before the next attempt.
pub const FULL_RETRY: Duration = Duration::from_millis(500);

/// How often `everysec` syncs.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The longest entry, in bytes of payload, that [`LogWriter::append_now`] writes itself: copying more is better left to
/// the other thread.
pub const ON_THE_SPOT_BYTES_MAX: usize = 64 * 1024;

/// A write on the spot that takes longer has met a busy disk: a write into the page cache takes microseconds. (Not so
/// short that a thread that merely had to give up its core for a moment looks like one.)
pub const ON_THE_SPOT_SLOW: Duration = Duration::from_millis(5);

/// How long nothing is written on the spot after a slow one.
pub const ON_THE_SPOT_PAUSE: Duration = Duration::from_secs(1);

/// When an entry is safe enough to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncPolicy {
    /// After an `fdatasync`. Survives the loss of power.
    Always = 0,
    /// After the write; an `fdatasync` follows within a second or so. Survives `kill -9`; a loss of power
    /// takes the last second or two.
    EverySecond = 1,
    /// After the write; only the ends of segments are synced. Survives `kill -9`; a loss of power takes whatever the
    /// kernel had not yet written by itself.
    Never = 2,
}

/// Whether entries get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// They do.
    Healthy,
    /// There has been no room since this moment.
    Full {
        /// When the disk was first found full.
        since: Instant,
    },
    /// The disk has failed; the process has to end.
    Failed(String),
}

/// How far the writer is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Last entry handed to the operating system: survives the end of the process.
    pub written: u64,
    /// Last entry synced: survives the loss of power.
    pub synced: u64,
    /// Whether entries get through.
    pub state: WriterState,
    /// Bytes of payload that wait to be written.
    pub queued_bytes: u64,
    /// Duration of the last sync, in microseconds.
    pub last_sync_us: u64,
    /// Groups written since the start.
    pub groups: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Whether a background sync is under way.
    pub sync_in_progress: bool,
}

/// Why [`LogWriter::flush_and_sync`] could not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// There is no room for what is queued.
    #[error("the disk has been full for {} ms and entries are waiting to be written", since.elapsed().as_millis())]
    Full {
        /// When the disk was first found full.
        since: Instant,
    },
    /// The disk has failed.
    #[error("the log has failed: {0}")]
    Failed(String),
}

/// One record to be written; see [`LogWriter::submit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An entry. Its index must be the last one plus 1, its term at least the last entry's.
    Entry {
        /// Its index.
        index: u64,
        /// The term that it was made in.
        term: u64,
        /// The beginning of its payload, for whoever has it in two pieces.
        head: Bytes,
        /// The rest of its payload.
        payload: Bytes,
    },
    /// The newest vote: bytes of no meaning to the log.
    Vote(Bytes),
    /// Entries after this one do not count any more.
    TruncateAfter(u64),
    /// Everything up to this entry, and beyond the last one, is given up: the next entry is the one after it.
    Restart(u64),
}

/// What has to have happened before somebody who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// What the policy promises for an entry: a write or a sync.
    Released,
    /// A sync, whatever the policy.
    Synced,
}

/// Told, from the writer's thread, when records are as safe as was asked for, or that the log has failed (with the cause).
/// Must be quick and must not call back.
pub type Completion = Box<dyn FnOnce(Result<(), String>) + Send>;

/// Whom the writer tells of itself, from its thread (a failure in [`append_now`](LogWriter::append_now) from there). It must be
/// quick and must not call back.
pub enum Notify {
    /// Told after `written` or `synced` has advanced, and of each change of state: for whoever waits for entries by number.
    Progress(Box<dyn Fn() + Send + Sync>),
    /// Told only of changes of state: for whoever waits through a [`Completion`], and needs no second call for each group.
    State(Box<dyn Fn() + Send + Sync>),
}

/// Handle of the log-writer thread. Dropping it writes and syncs what is queued, and waits for that.
pub struct LogWriter {
    shared: Arc<Shared>,
    reader: LogReader,
    engine: Engine,
}

/// Who does the work.
enum Engine {
    Thread(Option<JoinHandle<()>>),
    Manual(Box<Mutex<Worker>>),
}

/// A record on its way.
struct Queued {
    kind: Kind,
    index: u64,
    term: u64,
    head: Bytes,
    payload: Bytes,
    then: Option<Waiting>,
}

/// Somebody who waits for a record and all before it.
struct Waiting {
    until: Until,
    done: Completion,
}

impl Queued {
    fn entry(index: u64, term: u64, payload: Bytes) -> Queued {
        Queued { kind: Kind::Entry, index, term, head: Bytes::new(), payload, then: None }
    }

    fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    fn new(op: Op) -> Queued {
        let (kind, index, payload) = match op {
            Op::Entry { index, term, head, payload } => {
                return Queued { head, ..Queued::entry(index, term, payload) };
            }
            Op::Vote(vote) => (Kind::Vote, 0, vote),
            Op::TruncateAfter(index) => (Kind::Truncate, index, Bytes::new()),
            Op::Restart(index) => (Kind::Purge, index, Bytes::new()),
        };
        Queued { kind, index, term: 0, head: Bytes::new(), payload, then: None }
    }
}

/// What the two threads and the callers share. Locks are taken in the order `log`, `inbox`; whoever has the inbox
/// may only *try* to take the log.
struct Shared {
    log: Mutex<Log>,
    inbox: Mutex<Inbox>,
    /// The writer waits here for something in the inbox.
    arrived: Condvar,
    /// Callers of `flush_and_sync` wait here.
    flushed: Condvar,
    notify: Notify,
    /// Told when a turn is due, if there is no thread that waits for it.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    clock: fn() -> Instant,
    policy: AtomicU8,
    written: AtomicU64,
    synced: AtomicU64,
    queued_bytes: AtomicU64,
    /// 0, or the moment of the first failure for want of room, in microseconds since `started`, plus 1.
    full_since_us: AtomicU64,
    failure: OnceLock<String>,
    last_sync_us: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
    /// Whether the second thread has a sync to do.
    sync_in_flight: AtomicBool,
    started: Instant,
}

#[derive(Default)]
struct Inbox {
    entries: VecDeque<Queued>,
    /// A note for the next group.
    committed: Option<u64>,
    purge: Option<u64>,
    /// What the second thread has done.
    outcome: Option<SyncOutcome>,
    spare: Option<Result<SpareFile, LogError>>,
    room_made: bool,
    /// Something else to look at: the policy, the first unsynced bytes, a half-full segment.
    look: bool,
    flush_wanted: u64,
    flush_done: u64,
    flush_result: Option<Result<(), WriterError>>,
    /// Until then the disk is busy, and all entries take the way through the queue.
    queue_until: Option<Instant>,
    shutdown: bool,
    /// The thread has ended; nothing is written any more.
    closed: bool,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(log: Log, policy: SyncPolicy, notify: Notify) -> LogWriter {
        let reader = log.reader();
        let shared = Arc::new(Shared::new(log, policy, notify, None, Instant::now));
        let thread = worker::spawn(Arc::clone(&shared));
        LogWriter { shared, reader, engine: Engine::Thread(Some(thread)) }
    }

    /// A writer without threads: whoever has it calls [`turn`](LogWriter::turn) some time after `wake` has been called, and at
    /// [`next_turn_at`](LogWriter::next_turn_at) by `clock`. Dropping it
    /// without a [`shutdown`](LogWriter::shutdown) leaves what is queued unwritten, as a crash would.
    pub fn manual(
        log: Log,
        policy: SyncPolicy,
        notify: Notify,
        wake: Box<dyn Fn() + Send + Sync>,
        clock: fn() -> Instant,
    ) -> LogWriter {
        let reader = log.reader();
        let shared = Arc::new(Shared::new(log, policy, notify, Some(wake), clock));
        let worker = Worker::new(Arc::clone(&shared), None);
        LogWriter { shared, reader, engine: Engine::Manual(Box::new(Mutex::new(worker))) }
    }

    /// On a writer without threads: writes and syncs one group, and whatever else is due. Returns whether anything was.
    pub fn turn(&self) -> bool {
        match &self.engine {
            Engine::Thread(_) => false,
            Engine::Manual(worker) => worker.lock().expect("a turn does not panic").turn_if_due(),
        }
    }

    /// On a writer without threads: when the next turn is due even if nobody calls for it.
    pub fn next_turn_at(&self) -> Option<Instant> {
        match &self.engine {
            Engine::Thread(_) => None,
            Engine::Manual(worker) => worker.lock().expect("a turn does not panic").next_deadline(),
        }
    }

    /// Queues records, all or, once the writer has ended, none, in one order with all other calls. `done` is called when the
    /// last of them, and so everything before it, is safe; or with the cause if the log has failed.
    ///
    /// # Panics
    /// In the writer, if the records are not ones that can come next.
    pub fn submit(&self, ops: impl IntoIterator<Item = Op>, until: Until, done: Completion) {
        let mut records: Vec<Queued> = ops.into_iter().map(Queued::new).collect();
        let Some(last) = records.last_mut() else { return done(Ok(())) };
        last.then = Some(Waiting { until, done });
        let mut inbox = self.shared.inbox();
        if inbox.closed {
            drop(inbox);
            let cause = self.shared.cause();
            records
                .into_iter()
                .filter_map(|record| record.then)
                .for_each(|then| (then.done)(Err(cause.clone())));
            return;
        }
        let bytes: usize = records.iter().map(Queued::len).sum();
        self.shared.queued_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let first = inbox.entries.is_empty();
        inbox.entries.extend(records);
        drop(inbox);
        if first {
            self.shared.wake();
        }
    }

    /// Has the next group say that entries up to `index` are committed. They have been appended before the call.
    pub fn note_committed(&self, index: u64) {
        let mut inbox = self.shared.inbox();
        inbox.committed = inbox.committed.max(Some(index));
    }

    /// Queues an entry, which never blocks on the disk. Its index must be the last one plus 1.
    /// [`queued_bytes`](LogWriter::queued_bytes) is there for the caller to bound.
    pub fn append(&self, index: u64, term: u64, payload: impl Into<Bytes>) {
        let entry = Queued::entry(index, term, payload.into());
        self.shared.push(self.shared.inbox(), entry);
    }

    /// Like [`append`](LogWriter::append), but where the policy asks for no more than a write, the write is done here
    /// and now if it is certain to be a plain one: nothing queued, no sync in progress, room in the segment, not much to
    /// copy, and a disk that has not kept such a write waiting of late. That saves two switches of threads.
    /// Returns whether `written` covers the entry already; `notify` is not called for it then.
    pub fn append_now(&self, index: u64, term: u64, payload: impl Into<Bytes>) -> bool {
        let entry = Queued::entry(index, term, payload.into());
        let shared = &*self.shared;
        let mut inbox = shared.inbox();
        let queue = shared.policy() == SyncPolicy::Always
            || entry.payload.len() > ON_THE_SPOT_BYTES_MAX
            || shared.sync_in_flight.load(Ordering::Relaxed)
            || inbox.closed
            || !inbox.entries.is_empty()
            || inbox.queue_until.is_some_and(|until| Instant::now() < until);
        // The writer takes entries out of the inbox only while it has the log; so if the log is free and the inbox
        // is empty, nothing is between them.
        let log = if queue { None } else { shared.try_log() };
        let Some(mut log) = log else {
            shared.push(inbox, entry);
            return false;
        };
        let busy = shared.state() != WriterState::Healthy || !log.has_room(entry.payload.len() as u64);
        if busy {
            drop(log);
            shared.push(inbox, entry);
            return false;
        }
        let was_dirty = log.is_dirty();
        let begun = Instant::now();
        match log.append(&[Record::entry(entry.index, entry.term, &[&entry.payload])]) {
            Ok(()) => {
                shared.written.store(entry.index, Ordering::Release);
                shared.groups.fetch_add(1, Ordering::Relaxed);
                let end = Instant::now();
                inbox.queue_until = (end - begun > ON_THE_SPOT_SLOW).then(|| end + ON_THE_SPOT_PAUSE);
                // The clock of the next sync starts with the first unsynced byte.
                if !was_dirty || log.needs_spare() {
                    inbox.look = true;
                    shared.wake();
                }
                true
            }
            Err(error) if error.leaves_log_intact() => {
                drop(log);
                shared.push(inbox, entry);
                false
            }
            Err(error) => {
                drop(log);
                drop(inbox);
                shared.fail(&error.to_string());
                false
            }
        }
    }

    /// How far the writer is. Takes no lock.
    pub fn progress(&self) -> Progress {
        let shared = &*self.shared;
        // In this order, so that synced ≤ written in the answer too.
        let synced = shared.synced.load(Ordering::Acquire);
        Progress {
            synced,
            written: shared.written.load(Ordering::Acquire),
            state: shared.state(),
            queued_bytes: self.queued_bytes(),
            last_sync_us: shared.last_sync_us.load(Ordering::Relaxed),
            groups: shared.groups.load(Ordering::Relaxed),
            syncs: shared.syncs.load(Ordering::Relaxed),
            sync_in_progress: shared.sync_in_flight.load(Ordering::Relaxed),
        }
    }

    /// The last entry that may be acknowledged under the policy. Takes no lock.
    pub fn released(&self) -> u64 {
        match self.shared.policy() {
            SyncPolicy::Always => self.shared.synced.load(Ordering::Acquire),
            SyncPolicy::EverySecond | SyncPolicy::Never => self.shared.written.load(Ordering::Acquire),
        }
    }

    /// Bytes of payload that wait to be written.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    /// The policy in force.
    pub fn policy(&self) -> SyncPolicy {
        self.shared.policy()
    }

    /// Changes the policy. From a weaker one to [`SyncPolicy::Always`]: what has been written but not synced is synced
    /// at once, and [`released`](LogWriter::released) may fall back until then.
    pub fn set_policy(&self, policy: SyncPolicy) {
        self.shared.policy.store(policy as u8, Ordering::Release);
        self.shared.inbox().look = true;
        self.shared.wake();
    }

    /// Gives up the entries up to `upto`, after what is queued has been written, and removes the segments that hold no
    /// others. Does not wait for it. Entries that wait for room do not keep it from happening, unless they are to be purged.
    pub fn purge(&self, upto: u64) {
        let mut inbox = self.shared.inbox();
        inbox.purge = inbox.purge.max(Some(upto));
        drop(inbox);
        self.shared.wake();
    }

    /// Writes and syncs all that has been appended before the call, and waits for that.
    pub fn flush_and_sync(&self) -> Result<(), WriterError> {
        let mut inbox = self.shared.inbox();
        inbox.flush_wanted += 1;
        let ticket = inbox.flush_wanted;
        if let Engine::Manual(_) = self.engine {
            drop(inbox);
            self.turn();
            inbox = self.shared.inbox();
        }
        self.shared.arrived.notify_one();
        while inbox.flush_done < ticket && !inbox.closed {
            inbox = self.shared.flushed.wait(inbox).expect("nothing panics while it has the inbox");
        }
        if inbox.flush_done < ticket {
            return Err(WriterError::Failed(self.shared.cause()));
        }
        inbox.flush_result.clone().expect("a flush that is done has a result")
    }

    /// Like dropping it, but says whether everything got to the disk.
    pub fn shutdown(self) -> Result<(), WriterError> {
        self.flush_and_sync()
    }

    /// A handle for reading entries, on any thread.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.reader.segments()
    }
}

impl Notify {
    fn call(&self) {
        match self {
            Notify::Progress(notify) | Notify::State(notify) => notify(),
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Engine::Thread(thread) = &mut self.engine {
            self.shared.inbox().shutdown = true;
            self.shared.arrived.notify_one();
            if let Some(thread) = thread.take() {
                // A panic of the thread has been recorded as a failure there.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn new(
        log: Log,
        policy: SyncPolicy,
        notify: Notify,
        wake: Option<Box<dyn Fn() + Send + Sync>>,
        clock: fn() -> Instant,
    ) -> Shared {
        Shared {
            written: AtomicU64::new(log.last_index()),
            synced: AtomicU64::new(log.synced_index()),
            log: Mutex::new(log),
            inbox: Mutex::new(Inbox::default()),
            arrived: Condvar::new(),
            flushed: Condvar::new(),
            notify,
            wake,
            clock,
            policy: AtomicU8::new(policy as u8),
            queued_bytes: AtomicU64::new(0),
            full_since_us: AtomicU64::new(0),
            failure: OnceLock::new(),
            last_sync_us: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            sync_in_flight: AtomicBool::new(false),
            started: clock(),
        }
    }

    /// Has the writer look into its inbox.
    fn wake(&self) {
        self.arrived.notify_one();
        if let Some(wake) = &self.wake {
            wake();
        }
    }

    /// Why nothing is written any more.
    fn cause(&self) -> String {
        self.failure.get().cloned().unwrap_or_else(|| "the writer has ended".into())
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("nothing panics while it has the inbox")
    }

    fn try_log(&self) -> Option<MutexGuard<'_, Log>> {
        match self.log.try_lock() {
            Ok(log) => Some(log),
            Err(TryLockError::WouldBlock) => None,
            // The writer panicked while it had the log, and has said so.
            Err(TryLockError::Poisoned(_)) => None,
        }
    }

    fn push(&self, mut inbox: MutexGuard<'_, Inbox>, entry: Queued) {
        if inbox.closed {
            return;
        }
        self.queued_bytes.fetch_add(entry.payload.len() as u64, Ordering::Relaxed);
        inbox.entries.push_back(entry);
        // One wake-up per group: whoever finds the queue empty wakes the writer, and it takes all there is.
        let first = inbox.entries.len() == 1;
        drop(inbox);
        if first {
            self.wake();
        }
    }

    fn policy(&self) -> SyncPolicy {
        match self.policy.load(Ordering::Acquire) {
            0 => SyncPolicy::Always,
            1 => SyncPolicy::EverySecond,
            _ => SyncPolicy::Never,
        }
    }

    fn state(&self) -> WriterState {
        if let Some(cause) = self.failure.get() {
            return WriterState::Failed(cause.clone());
        }
        match self.full_since_us.load(Ordering::Acquire) {
            0 => WriterState::Healthy,
            us => WriterState::Full { since: self.started + Duration::from_micros(us - 1) },
        }
    }

    /// Records the first failure and lets everybody know.
    fn fail(&self, cause: &str) {
        let _ = self.failure.set(cause.to_owned());
        let mut inbox = self.inbox();
        inbox.closed = true;
        let dropped = std::mem::take(&mut inbox.entries);
        self.queued_bytes.store(0, Ordering::Relaxed);
        drop(inbox);
        for then in dropped.into_iter().filter_map(|record| record.then) {
            (then.done)(Err(cause.to_owned()));
        }
        self.arrived.notify_one();
        self.flushed.notify_all();
        self.notify.call();
    }
}
