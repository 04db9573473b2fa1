//! Snapshots written beside the executor: when one is due, the thread that writes it, and what follows.
//!
//! A snapshot is a standard RDB file under `dbfilename`. The executor takes it in O(1) ([`Engine::snapshot`]), a
//! thread writes it to a temporary name. It replaces the old one only once the journal has released the position
//! that it was taken at; otherwise a crash could leave a snapshot that is ahead of its own log.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use cairn_engine::config::SaveRule;
use cairn_engine::keyspace::Snapshot;
use cairn_engine::rdb;
use cairn_storage::snapshot::SnapshotDir;

use crate::affinity;
use crate::executor::wake::Ready;
use crate::journal::AuxFields;
use crate::pace::Pace;

/// A save that failed is tried again after so long, as in Redis.
const RETRY_SECONDS: i64 = 5;

/// The snapshot being written, and the record of those before.
pub struct Snapshots {
    dir: SnapshotDir,
    file: String,
    /// Is that where a start looks for it?
    at_home: bool,
    ready: Arc<Ready>,
    /// `rdb-key-save-delay`, also for the one that is being written.
    pub pace: Arc<Pace>,
    /// The executor waits for each step of the thread, so that nothing happens at the same time: in a simulation.
    in_step: bool,
    running: Option<Running>,
    /// One more is to start when this one is done.
    pub scheduled: bool,
    /// The next one is asked for by BGREWRITEAOF, or by the length of the log.
    pub log_wanted: bool,
    /// So was the one being written.
    for_log: bool,
    pub last_save_at_s: i64,
    pub last_try_at_s: i64,
    pub last_ok: bool,
    pub last_seconds: i64,
    pub saves: u64,
}

struct Running {
    seq: u64,
    at_home: bool,
    dirty: u64,
    started: Instant,
    started_at_s: i64,
    /// Written and synced under its temporary name.
    written: bool,
    commit_asked: bool,
    from_thread: Receiver<Step>,
    /// `None` when it has been given up.
    to_thread: Option<Sender<Commit>>,
    waiting: Vec<u64>,
    /// It has ended, as [`Snapshots::settle`] has seen.
    settled: Option<Result<u64, String>>,
}

enum Step {
    Written,
    Done(Result<u64, String>),
}

/// The journal has released the snapshot's position, which these fields tell.
struct Commit(AuxFields);

/// A snapshot that came to its end.
pub struct Finished {
    pub seq: u64,
    /// A start will find it, so that the log before it can go.
    pub at_home: bool,
    /// Changes that it holds.
    pub dirty: u64,
    pub result: Result<u64, String>,
    /// Clients of SAVE to be answered, by id: a slot may have got another owner.
    pub waiting: Vec<u64>,
}

impl Snapshots {
    /// Snapshots go to `file` in `dir`; `ready` wakes the executor.
    pub fn new(dir: SnapshotDir, file: String, ready: Arc<Ready>, now_s: i64) -> Self {
        Self {
            dir,
            file,
            at_home: true,
            ready,
            pace: Arc::default(),
            in_step: false,
            running: None,
            scheduled: false,
            log_wanted: false,
            for_log: false,
            last_save_at_s: now_s,
            last_try_at_s: 0,
            last_ok: true,
            last_seconds: -1,
            saves: 0,
        }
    }

    /// From now on the executor waits for each step of the thread that writes a snapshot.
    pub fn keep_in_step(&mut self) {
        self.in_step = true;
    }

    /// Is one being written?
    pub fn running(&self) -> bool {
        self.running.is_some()
    }

    /// Is one being written to make the log shorter?
    pub fn runs_for_log(&self) -> bool {
        self.running() && self.for_log
    }

    /// When the one being written was started, in Unix seconds.
    pub fn started_at_s(&self) -> Option<i64> {
        self.running.as_ref().map(|running| running.started_at_s)
    }

    /// Other names for the files to come (CONFIG SET dir, dbfilename). `at_home`: they are those of the start.
    pub fn set_target(&mut self, dir: SnapshotDir, file: String, at_home: bool) {
        self.dir = dir;
        self.file = file;
        self.at_home = at_home;
    }

    /// Do snapshots go where a start looks for them?
    pub fn at_home(&self) -> bool {
        self.at_home
    }

    /// Does a `save` rule ask for a snapshot now?
    pub fn due(&self, rules: &[SaveRule], dirty: u64, now_s: i64) -> bool {
        self.running.is_none()
            && (self.last_ok || now_s - self.last_try_at_s > RETRY_SECONDS)
            && rules
                .iter()
                .any(|rule| dirty >= rule.changes && now_s - self.last_save_at_s > rule.seconds as i64)
    }

    /// Starts writing; none may be running.
    pub fn start(&mut self, snapshot: Snapshot, compress: bool, now_s: i64, waiting: Vec<u64>) {
        assert!(self.running.is_none(), "two snapshots at a time");
        self.scheduled = false;
        self.for_log = std::mem::take(&mut self.log_wanted);
        self.last_try_at_s = now_s;
        let (to_executor, from_thread) = channel();
        let (to_thread, from_executor) = channel::<Commit>();
        let (dir, file) = (self.dir.clone(), self.file.clone());
        // Whoever waits for the steps need not be called.
        let ready = (!self.in_step).then(|| Arc::clone(&self.ready));
        let pace = Arc::clone(&self.pace);
        let (seq, dirty) = (snapshot.seq, snapshot.dirty);
        tracing::info!(seq, file, "writing a snapshot");
        let thread = affinity::spawn("snapshot", move || {
            let tell = |step| {
                // The executor may be gone; then nobody wants to know.
                let _ = to_executor.send(step);
                if let Some(ready) = &ready {
                    ready.wake();
                }
            };
            let mut key_done = |nth| pace.key_done(nth);
            let result = write_at(&mut key_done, &dir, &file, snapshot, compress, || {
                tell(Step::Written);
                from_executor
                    .recv()
                    .map_err(|_| "it was given up".to_owned())
                    .map(|Commit(position)| position)
            });
            tell(Step::Done(result));
        });
        let failed = thread.err().map(|error| format!("cannot start a thread: {error}"));
        self.running = Some(Running {
            seq,
            at_home: self.at_home,
            dirty,
            started: Instant::now(),
            started_at_s: now_s,
            written: false,
            commit_asked: false,
            from_thread: match failed {
                None => from_thread,
                Some(error) => {
                    let (sender, receiver) = channel();
                    sender.send(Step::Done(Err(error))).expect("the receiver is here");
                    receiver
                }
            },
            to_thread: Some(to_thread),
            waiting,
            settled: None,
        });
        self.await_step();
    }

    /// Waits for the thread's next step, if that is how it is to be.
    fn await_step(&mut self) {
        if !self.in_step {
            return;
        }
        if let Some(running) = &mut self.running
            && let Ok(step) = running.from_thread.recv()
        {
            running.note(step);
            self.ready.wake();
        }
    }

    /// Gives the running snapshot up: what it shows was never released and never will be. It comes to its end as a failure.
    pub fn cancel(&mut self) {
        if let Some(running) = &mut self.running {
            // Without a sender the thread stops at the latest when it would ask for the commit.
            let waits =
                running.to_thread.take().is_some() && !running.commit_asked && running.settled.is_none();
            if waits {
                self.await_step();
            }
        }
    }

    /// Waits for a running snapshot that is about to replace its file, and gives up one that is not that far: the file is about
    /// to be replaced by a newer one.
    pub fn settle(&mut self) {
        self.cancel();
        let Some(running) = &mut self.running else { return };
        if !running.commit_asked {
            return;
        }
        // What remains is a sync and a rename.
        while let Ok(step) = running.from_thread.recv() {
            if let Step::Done(outcome) = step {
                running.settled = Some(outcome);
                return;
            }
        }
    }

    /// Moves the running snapshot on; returns it when it has come to its end. `position` tells what the state after a batch
    /// is in the journal, once that batch is released.
    pub fn poll(
        &mut self,
        position: &mut dyn FnMut(u64) -> Option<AuxFields>,
        now_s: i64,
    ) -> Option<Finished> {
        let running = self.running.as_mut()?;
        while let Ok(step) = running.from_thread.try_recv() {
            running.note(step);
        }
        if running.written
            && !running.commit_asked
            && let Some(to_thread) = &running.to_thread
            && let Some(position) = position(running.seq)
        {
            running.commit_asked = to_thread.send(Commit(position)).is_ok();
            self.await_step();
        }
        let result = self.running.as_mut().and_then(|running| running.settled.take())?;
        let running = self.running.take().expect("looked at above");
        self.last_seconds = running.started.elapsed().as_secs() as i64;
        self.last_ok = result.is_ok();
        match &result {
            Ok(bytes) => {
                self.last_save_at_s = now_s;
                self.saves += 1;
                tracing::info!(
                    seq = running.seq,
                    bytes,
                    ms = running.started.elapsed().as_millis() as u64,
                    "snapshot done"
                );
            }
            Err(error) => tracing::error!(seq = running.seq, error, "snapshot failed; the log goes on"),
        }
        let Running { seq, at_home, dirty, waiting, .. } = running;
        Some(Finished { seq, at_home, dirty, result, waiting })
    }
}

impl Running {
    fn note(&mut self, step: Step) {
        match step {
            Step::Written => self.written = true,
            Step::Done(outcome) => self.settled = Some(outcome),
        }
    }
}

/// Writes the whole file, waits for the position, and makes it last under its name. Returns its length.
pub fn write(
    dir: &SnapshotDir,
    file: &str,
    snapshot: Snapshot,
    compress: bool,
    position: impl FnOnce() -> Result<AuxFields, String>,
) -> Result<u64, String> {
    write_at(&mut |_| {}, dir, file, snapshot, compress, position)
}

/// The same at the pace of `key_done`, which hears of each key.
fn write_at(
    key_done: &mut dyn FnMut(u64),
    dir: &SnapshotDir,
    file: &str,
    snapshot: Snapshot,
    compress: bool,
    position: impl FnOnce() -> Result<AuxFields, String>,
) -> Result<u64, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", dir.path().join(file).display());
    let mut out = dir.create(file).map_err(fail)?;
    let aux = rdb::Aux {
        seq: Some(snapshot.seq),
        created_at_s: snapshot.taken_at_ms / 1000,
        ..rdb::Aux::default()
    };
    let last = || position().map_err(std::io::Error::other);
    rdb::save_with(snapshot, &aux, compress, &mut out, key_done, last).map_err(fail)?;
    out.flush().map_err(fail)?;
    out.commit().map_err(fail)
}
