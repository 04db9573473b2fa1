//! The two threads behind a [`LogWriter`](super::LogWriter).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{FULL_RETRY, Inbox, Queued, SYNC_INTERVAL, Shared, SyncPolicy, WriterError, WriterState};
use crate::log::{Log, LogError, PendingSync, Record, Retired, SpareFile, SpareJob, SyncOutcome};

/// Work that may take long and that no entry waits for.
enum Chore {
    Sync(PendingSync),
    Spare(SpareJob),
    Remove(Retired),
}

struct Worker {
    shared: Arc<Shared>,
    chores: Sender<Chore>,
    /// Entries that did not fit on the disk.
    waiting: VecDeque<Queued>,
    purge: Option<u64>,
    retry_at: Option<Instant>,
    /// When the oldest unsynced byte was seen first.
    dirty_since: Option<Instant>,
    /// What has been told through `notify`.
    told: (u64, u64, WriterState, SyncPolicy),
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
        let worker = Worker {
            told: shared.standing(),
            shared,
            chores,
            waiting: VecDeque::new(),
            purge: None,
            retry_at: None,
            dirty_since: None,
        };
        worker.run();
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
        shared.arrived.notify_one();
    }
}

impl Worker {
    fn run(mut self) {
        loop {
            self.wait();
            match self.turn() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    self.shared.fail(&error.to_string());
                    return;
                }
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.inbox();
        loop {
            if std::mem::take(&mut inbox.room_made) {
                self.retry_at = self.retry_at.map(|_| Instant::now());
            }
            // While the disk is full, further entries are no reason to try again sooner.
            let entries = !inbox.entries.is_empty() && self.retry_at.is_none();
            let asked = inbox.purge.is_some() || inbox.flush_wanted > inbox.flush_done || inbox.look;
            let done = inbox.outcome.is_some() || inbox.spare.is_some();
            if entries || asked || done || inbox.shutdown || inbox.closed {
                inbox.look = false;
                return;
            }
            let Some(limit) = self.next_deadline() else {
                inbox = shared.arrived.wait(inbox).expect("nothing panics while it has the inbox");
                continue;
            };
            let now = Instant::now();
            if limit <= now {
                return;
            }
            let waited = shared.arrived.wait_timeout(inbox, limit - now);
            inbox = waited.expect("nothing panics while it has the inbox").0;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
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
        self.sync(&mut log, work.flush.is_some() || work.shutdown)?;
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

        if let Some(ticket) = work.flush {
            self.answer_flush(ticket);
        }
        let standing = shared.standing();
        if self.told != standing {
            self.told = standing;
            (shared.notify)();
        }
        if work.shutdown {
            shared.inbox().closed = true;
            shared.flushed.notify_all();
        }
        Ok(work.shutdown)
    }

    fn take_work(&mut self, mut inbox: MutexGuard<'_, Inbox>) -> Work {
        self.waiting.append(&mut inbox.entries);
        Work {
            purge: inbox.purge.take(),
            outcome: inbox.outcome.take(),
            spare: inbox.spare.take(),
            flush: (inbox.flush_wanted > inbox.flush_done).then_some(inbox.flush_wanted),
            shutdown: inbox.shutdown,
        }
    }

    /// Writes all that waits, in one go.
    fn write(&mut self, log: &mut Log) -> Result<(), LogError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let payloads: Vec<[&[u8]; 1]> = self.waiting.iter().map(|entry| [&*entry.payload]).collect();
        let records: Vec<Record<'_>> = self
            .waiting
            .iter()
            .zip(&payloads)
            .map(|(entry, payload)| Record::entry(entry.index, entry.term, payload))
            .collect();
        let shared = &self.shared;
        match log.append(&records) {
            Ok(()) => {
                if shared.full_since_us.swap(0, Ordering::AcqRel) > 0 {
                    tracing::info!("there is room again, the log goes on");
                }
                self.retry_at = None;
                let bytes: usize = self.waiting.iter().map(|entry| entry.payload.len()).sum();
                shared.queued_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
                shared.written.store(log.last_index(), Ordering::Release);
                shared.groups.fetch_add(1, Ordering::Relaxed);
                self.waiting.clear();
                Ok(())
            }
            Err(error @ LogError::Full { .. }) => {
                self.retry_at = Some(Instant::now() + FULL_RETRY);
                if shared.full_since_us.load(Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "no room for the log, writes wait until there is");
                    let since = shared.started.elapsed().as_micros() as u64;
                    shared.full_since_us.store(since + 1, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn purge(&mut self, log: &mut Log) -> Result<(), LogError> {
        let Some(upto) = self.purge else { return Ok(()) };
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
                self.retry_at = Some(Instant::now() + FULL_RETRY);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs what the policy asks for: here and now, or on the other thread.
    fn sync(&mut self, log: &mut Log, now: bool) -> Result<(), LogError> {
        let policy = self.shared.policy();
        if !log.is_dirty() {
            self.dirty_since = None;
        } else if now || policy == SyncPolicy::Always {
            let begun = Instant::now();
            log.sync()?;
            self.shared.note_sync(begun);
            self.dirty_since = None;
        } else {
            let since = *self.dirty_since.get_or_insert_with(Instant::now);
            let due = match policy {
                SyncPolicy::EverySecond => since.elapsed() >= SYNC_INTERVAL,
                // A sealed segment is synced even so: it lets recovery tell damage in it from a torn write.
                _ => log.is_dirty_behind(),
            };
            if due
                && !self.shared.sync_in_flight.load(Ordering::Relaxed)
                && let Some(sync) = log.begin_sync()?
            {
                self.shared.sync_in_flight.store(true, Ordering::Relaxed);
                // What is written from now on is younger than this.
                self.dirty_since = Some(Instant::now());
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
        // It fails only if the helper has panicked; then the next sync never completes, and the server sees that.
        let _ = self.chores.send(chore);
    }
}

impl Shared {
    /// All that a notified caller may want to look at again.
    fn standing(&self) -> (u64, u64, WriterState, SyncPolicy) {
        let (written, synced) = (self.written.load(Ordering::Relaxed), self.synced.load(Ordering::Relaxed));
        (written, synced, self.state(), self.policy())
    }

    fn note_sync(&self, begun: Instant) {
        let took = begun.elapsed().max(Duration::from_micros(1));
        self.last_sync_us.store(took.as_micros() as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}
