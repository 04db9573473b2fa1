//! The work behind a [`LogWriter`](super::LogWriter), and the two threads that do it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{
    FULL_RETRY, Inbox, Notify, Queued, SYNC_INTERVAL, Shared, SyncPolicy, Until, Waiting, WriterError,
    WriterState,
};
use crate::log::{Kind, Log, LogError, PendingSync, Record, Retired, SpareFile, SpareJob, SyncOutcome};

/// Work that may take long and that no entry waits for.
pub(super) enum Chore {
    Sync(PendingSync),
    Spare(SpareJob),
    Remove(Retired),
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    /// The second thread's; `None` if there is none, and chores are done on the spot.
    chores: Option<Sender<Chore>>,
    /// Records that did not fit on the disk.
    waiting: VecDeque<Queued>,
    /// A note for the next group.
    committed: Option<u64>,
    /// Who waits for records that have been written.
    answers: Vec<Waiting>,
    purge: Option<u64>,
    retry_at: Option<Instant>,
    /// When the oldest unsynced byte was seen first.
    dirty_since: Option<Instant>,
    /// What has been told through `notify`.
    told: Standing,
}

/// What is told of.
#[derive(PartialEq, Eq)]
struct Standing {
    /// Written and synced, for who wants to know.
    progress: Option<(u64, u64)>,
    state: WriterState,
    policy: SyncPolicy,
}

/// What there was in the inbox.
struct Work {
    purge: Option<u64>,
    outcome: Option<SyncOutcome>,
    spare: Option<Result<SpareFile, LogError>>,
    flush: Option<u64>,
    shutdown: bool,
}

pub(super) fn spawn(shared: Arc<Shared>) -> JoinHandle<()> {
    let (chores, todo) = channel();
    let helper_shared = Arc::clone(&shared);
    let helper = thread::Builder::new()
        .name("cairn-log-aux".into())
        .spawn(move || do_chores(&helper_shared, &todo))
        .expect("a process that cannot start two threads cannot serve");
    let writer = move || {
        // If the thread panics, nobody may wait for it for ever.
        let guard = FailOnPanic(Arc::clone(&shared));
        Worker::new(shared, Some(chores)).run();
        // The channel is closed now, so the helper ends when it has done what it was asked.
        let _ = helper.join();
        drop(guard);
    };
    let thread = thread::Builder::new().name("cairn-log".into()).spawn(writer);
    thread.expect("a process that cannot start two threads cannot serve")
}

struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("the log-writer thread panicked");
        }
    }
}

fn do_chores(shared: &Shared, todo: &Receiver<Chore>) {
    while let Ok(chore) = todo.recv() {
        do_chore(shared, chore);
    }
}

fn do_chore(shared: &Shared, chore: Chore) {
    match chore {
        Chore::Sync(sync) => {
            let begun = Instant::now();
            let outcome = sync.run();
            shared.note_sync(begun);
            shared.inbox().outcome = Some(outcome);
            shared.sync_in_flight.store(false, Ordering::Relaxed);
        }
        Chore::Spare(job) => {
            let spare = job.run();
            shared.inbox().spare = Some(spare);
        }
        Chore::Remove(retired) => {
            // The entries are purged either way; a file that stays costs room only, until the next start.
            if let Err(error) = retired.remove() {
                tracing::warn!(%error, "could not remove a log segment that is not needed any more");
            }
            shared.inbox().room_made = true;
        }
    }
    shared.wake();
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, chores: Option<Sender<Chore>>) -> Worker {
        Worker {
            told: shared.standing(),
            shared,
            chores,
            waiting: VecDeque::new(),
            committed: None,
            answers: Vec::new(),
            purge: None,
            retry_at: None,
            dirty_since: None,
        }
    }

    fn run(mut self) {
        loop {
            self.wait();
            if self.turn_or_fail() {
                return;
            }
        }
    }

    /// Does a turn if there is something to do, whether or not anybody has waited for it.
    pub(super) fn turn_if_due(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let now = (shared.clock)();
        let due = self.is_due(&mut shared.inbox()) || self.next_deadline().is_some_and(|limit| limit <= now);
        if due {
            self.turn_or_fail();
        }
        due
    }

    /// Returns whether that was the last turn.
    fn turn_or_fail(&mut self) -> bool {
        self.turn().unwrap_or_else(|error| {
            let cause = error.to_string();
            self.shared.fail(&cause);
            self.drop_waiting();
            true
        })
    }

    /// Nothing will be written any more.
    fn drop_waiting(&mut self) {
        let waiting = self.waiting.drain(..).filter_map(|record| record.then);
        let cause = self.shared.cause();
        for then in self.answers.drain(..).chain(waiting) {
            (then.done)(Err(cause.clone()));
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.inbox();
        while !self.is_due(&mut inbox) {
            let Some(limit) = self.next_deadline() else {
                inbox = shared.arrived.wait(inbox).expect("nothing panics while it has the inbox");
                continue;
            };
            let now = (shared.clock)();
            if limit <= now {
                return;
            }
            let waited = shared.arrived.wait_timeout(inbox, limit - now);
            inbox = waited.expect("nothing panics while it has the inbox").0;
        }
    }

    fn is_due(&mut self, inbox: &mut Inbox) -> bool {
        if std::mem::take(&mut inbox.room_made) {
            self.retry_at = self.retry_at.map(|_| (self.shared.clock)());
        }
        // While the disk is full, further entries are no reason to try again sooner.
        let entries = !inbox.entries.is_empty() && self.retry_at.is_none();
        let asked = inbox.purge.is_some() || inbox.flush_wanted > inbox.flush_done || inbox.look;
        let done = inbox.outcome.is_some() || inbox.spare.is_some();
        let due = entries || asked || done || inbox.shutdown || inbox.closed;
        inbox.look &= !due;
        due
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // A sync in flight wakes the thread when it ends.
        let in_flight = self.shared.sync_in_flight.load(Ordering::Relaxed);
        let every_second = self.shared.policy() == SyncPolicy::EverySecond && !in_flight;
        let sync_at = self.dirty_since.filter(|_| every_second).map(|since| since + SYNC_INTERVAL);
        match (self.retry_at, sync_at) {
            (Some(retry), Some(sync)) => Some(retry.min(sync)),
            (retry, sync) => retry.or(sync),
        }
    }

    /// One group: write, sync, tell. Returns whether that was the last.
    fn turn(&mut self) -> Result<bool, LogError> {
        let shared = Arc::clone(&self.shared);
        let mut log =
            shared.log.lock().map_err(|_| LogError::Poisoned { cause: "a writer panicked".into() })?;
        // `append_now` relies on this: the inbox is emptied only by who has the log.
        let work = self.take_work(shared.inbox());
        if shared.failure.get().is_some() {
            drop(log);
            self.drop_waiting();
            return Ok(true);
        }
        if let Some(outcome) = work.outcome {
            log.end_sync(outcome)?;
        }
        match work.spare {
            Some(Ok(spare)) => log.keep_spare(spare),
            // No harm yet: the log makes its next segment itself, or fails when it cannot.
            Some(Err(error)) => tracing::debug!(%error, "no spare log segment"),
            None => {}
        }
        self.write(&mut log)?;
        self.purge = self.purge.max(work.purge);
        self.purge(&mut log)?;
        let asked = self.answers.iter().any(|then| then.until == Until::Synced);
        self.sync(&mut log, asked || work.flush.is_some() || work.shutdown)?;
        if work.shutdown && !self.waiting.is_empty() {
            let entries = self.waiting.len();
            tracing::error!(
                entries,
                "the disk is full and the writer ends: entries that were never released are dropped"
            );
        } else if work.shutdown {
            // Recovery can then tell damage to the last group from a torn write. If there is no room, it goes without.
            match log.mark() {
                Err(error) if !error.leaves_log_intact() => return Err(error),
                _ => {}
            }
        }
        if let Some(job) = log.wants_spare() {
            self.chore(Chore::Spare(job));
        }
        shared.synced.store(log.synced_index(), Ordering::Release);
        drop(log);

        // What one of them or the policy has asked for has been done for all.
        self.answers.drain(..).for_each(|then| (then.done)(Ok(())));
        if let Some(ticket) = work.flush {
            self.answer_flush(ticket);
        }
        let standing = shared.standing();
        if self.told != standing {
            self.told = standing;
            shared.notify.call();
        }
        if work.shutdown {
            shared.inbox().closed = true;
            shared.flushed.notify_all();
            self.drop_waiting();
        }
        Ok(work.shutdown)
    }

    fn take_work(&mut self, mut inbox: MutexGuard<'_, Inbox>) -> Work {
        self.waiting.append(&mut inbox.entries);
        self.committed = self.committed.max(inbox.committed.take());
        Work {
            purge: inbox.purge.take(),
            outcome: inbox.outcome.take(),
            spare: inbox.spare.take(),
            flush: (inbox.flush_wanted > inbox.flush_done).then_some(inbox.flush_wanted),
            shutdown: inbox.shutdown,
        }
    }

    /// Writes all that waits: in one go, but for the rare record that gives up everything before it.
    fn write(&mut self, log: &mut Log) -> Result<(), LogError> {
        while !self.waiting.is_empty() {
            let run = self.waiting.iter().position(|record| record.kind == Kind::Purge);
            let written = match run {
                Some(0) => self.restart(log),
                run => self.write_run(log, run.unwrap_or(self.waiting.len())),
            };
            match written {
                Ok(()) => {
                    if self.shared.full_since_us.swap(0, Ordering::AcqRel) > 0 {
                        tracing::info!("there is room again, the log goes on");
                    }
                    self.retry_at = None;
                }
                Err(error @ LogError::Full { .. }) => {
                    self.note_full(&error);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_run(&mut self, log: &mut Log, len: usize) -> Result<(), LogError> {
        let run = || self.waiting.iter().take(len);
        let payloads: Vec<[&[u8]; 2]> = run().map(|record| [&*record.head, &*record.payload]).collect();
        let mut records: Vec<Record<'_>> = run()
            .zip(&payloads)
            .map(|(record, payload)| match record.kind {
                Kind::Entry => Record::entry(record.index, record.term, payload),
                Kind::Vote => Record::vote(payload),
                Kind::Truncate => Record::truncate_after(record.index),
                Kind::Committed | Kind::Purge => unreachable!("neither is in a run"),
            })
            .collect();
        let last = run().filter(|record| record.kind != Kind::Vote).last().map(|record| record.index);
        // It is only worth a note if recovery finds the entry too.
        let last = last.unwrap_or_else(|| log.last_index());
        records.extend(self.committed.filter(|&index| index <= last).map(Record::committed));
        log.append(&records)?;
        drop(records);
        self.committed = self.committed.filter(|&index| index > last);
        self.note_written(log, len);
        Ok(())
    }

    fn restart(&mut self, log: &mut Log) -> Result<(), LogError> {
        let retired = log.retire(self.waiting[0].index)?;
        self.chore(Chore::Remove(retired));
        self.note_written(log, 1);
        Ok(())
    }

    fn note_written(&mut self, log: &Log, len: usize) {
        let mut bytes = 0;
        for record in self.waiting.drain(..len) {
            bytes += record.len();
            self.answers.extend(record.then);
        }
        self.shared.queued_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.shared.written.store(log.last_index(), Ordering::Release);
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
    }

    fn note_full(&mut self, error: &LogError) {
        let shared = &self.shared;
        let now = (shared.clock)();
        self.retry_at = Some(now + FULL_RETRY);
        if shared.full_since_us.load(Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "no room for the log, writes wait until there is");
            let since = now.duration_since(shared.started).as_micros() as u64;
            shared.full_since_us.store(since + 1, Ordering::Release);
        }
    }

    fn purge(&mut self, log: &mut Log) -> Result<(), LogError> {
        let Some(upto) = self.purge else { return Ok(()) };
        if upto > log.last_index() && !self.waiting.is_empty() {
            // It is about entries that wait for room.
            return Ok(());
        }
        match log.retire(upto) {
            Ok(retired) => {
                self.purge = None;
                if self.waiting.is_empty() {
                    self.retry_at = None;
                }
                self.chore(Chore::Remove(retired));
                Ok(())
            }
            // It waits for room, as the entries do.
            Err(LogError::Full { .. }) => {
                self.retry_at = Some((self.shared.clock)() + FULL_RETRY);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs what the policy asks for: here and now, or on the other thread.
    fn sync(&mut self, log: &mut Log, now: bool) -> Result<(), LogError> {
        let policy = self.shared.policy();
        let clock = self.shared.clock;
        if !log.is_dirty() {
            self.dirty_since = None;
        } else if now || policy == SyncPolicy::Always {
            let begun = Instant::now();
            log.sync()?;
            self.shared.note_sync(begun);
            self.dirty_since = None;
        } else {
            let since = *self.dirty_since.get_or_insert_with(clock);
            let due = match policy {
                SyncPolicy::EverySecond => clock().duration_since(since) >= SYNC_INTERVAL,
                // A sealed segment is synced even so: it lets recovery tell damage in it from a torn write.
                _ => log.is_dirty_behind(),
            };
            if due
                && !self.shared.sync_in_flight.load(Ordering::Relaxed)
                && let Some(sync) = log.begin_sync()?
            {
                self.shared.sync_in_flight.store(true, Ordering::Relaxed);
                // What is written from now on is younger than this.
                self.dirty_since = Some(clock());
                self.chore(Chore::Sync(sync));
            }
        }
        Ok(())
    }

    fn answer_flush(&self, ticket: u64) {
        let result = match self.shared.state() {
            _ if self.waiting.is_empty() => Ok(()),
            WriterState::Full { since } => Err(WriterError::Full { since }),
            WriterState::Failed(cause) => Err(WriterError::Failed(cause)),
            WriterState::Healthy => unreachable!("entries wait only while the disk is full"),
        };
        let mut inbox = self.shared.inbox();
        inbox.flush_done = ticket;
        inbox.flush_result = Some(result);
        self.shared.flushed.notify_all();
    }

    fn chore(&self, chore: Chore) {
        match &self.chores {
            // It fails only if the helper has panicked; then the next sync never completes, and the server sees that.
            Some(chores) => drop(chores.send(chore)),
            None => do_chore(&self.shared, chore),
        }
    }
}

impl Shared {
    /// All that who is notified may want to look at again.
    fn standing(&self) -> Standing {
        let progress = match &self.notify {
            Notify::Progress(_) => {
                Some((self.written.load(Ordering::Relaxed), self.synced.load(Ordering::Relaxed)))
            }
            Notify::State(_) => None,
        };
        Standing { progress, state: self.state(), policy: self.policy() }
    }

    fn note_sync(&self, begun: Instant) {
        let took = begun.elapsed().max(Duration::from_micros(1));
        self.last_sync_us.store(took.as_micros() as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}
