//! The queue between the log and the executor, and the snapshots that go the other way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::handle::{APPLIED_BYTES_MAX, Applied, Committed, Taken};

/// Called when the executor has something new to look at.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What an entry costs besides its batch.
const ENTRY_OVERHEAD: usize = 64;

/// What has come out of the log and has not been taken yet. Bounded: the state machine waits for room.
pub(crate) struct AppliedQueue {
    queue: Mutex<Queue>,
    room: Notify,
    wake: Wake,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Applied>,
    bytes: usize,
    /// Nobody will take anything any more.
    closed: bool,
}

/// The node stops.
pub(crate) struct Closed;

fn cost(applied: &Applied) -> usize {
    match applied {
        Applied::Entry { entry: Committed::Batch(batch), .. } => batch.len() + ENTRY_OVERHEAD,
        _ => ENTRY_OVERHEAD,
    }
}

impl AppliedQueue {
    pub(crate) fn new(wake: Wake) -> AppliedQueue {
        AppliedQueue { queue: Mutex::default(), room: Notify::new(), wake }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it has the queue")
    }

    /// Waits for room. One task pushes, so the room is still there when it does.
    pub(crate) async fn wait_for_room(&self) -> Result<(), Closed> {
        loop {
            let freed = self.room.notified();
            {
                let queue = self.queue();
                if queue.closed {
                    return Err(Closed);
                }
                if queue.bytes < APPLIED_BYTES_MAX {
                    return Ok(());
                }
            }
            freed.await;
        }
    }

    pub(crate) fn push(&self, applied: Applied) {
        let mut queue = self.queue();
        queue.bytes += cost(&applied);
        queue.items.push_back(applied);
        // The first one calls; whoever is called takes all there is.
        let first = queue.items.len() == 1;
        drop(queue);
        if first {
            (self.wake)();
        }
    }

    pub(crate) fn take(&self, into: &mut VecDeque<Applied>, bytes_max: usize) -> bool {
        let mut queue = self.queue();
        let before = queue.bytes;
        let mut taken = 0;
        while let Some(applied) =
            queue.items.pop_front_if(|next| taken == 0 || taken + cost(next) <= bytes_max)
        {
            taken += cost(&applied);
            into.push_back(applied);
        }
        queue.bytes -= taken;
        if before >= APPLIED_BYTES_MAX && queue.bytes < APPLIED_BYTES_MAX {
            self.room.notify_one();
        }
        // What stays behind is a reason to come back.
        let more = !queue.items.is_empty();
        drop(queue);
        if more && taken > 0 {
            (self.wake)();
        }
        taken > 0
    }

    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.room.notify_one();
    }
}

/// The newest snapshot that the executor has written.
#[derive(Default)]
pub(crate) struct Snapshots {
    newest: Mutex<Option<Taken>>,
    changed: Notify,
}

impl Snapshots {
    pub(crate) fn new(newest: Option<Taken>) -> Snapshots {
        Snapshots { newest: Mutex::new(newest), changed: Notify::new() }
    }

    pub(crate) fn taken(&self, taken: Taken) {
        let mut newest = self.newest.lock().expect("nothing panics while it has the snapshot");
        // A snapshot that was being written while a newer one was installed is of no use any more.
        if newest.as_ref().is_none_or(|newest| newest.meta.last_log_id <= taken.meta.last_log_id) {
            *newest = Some(taken);
        }
        drop(newest);
        self.changed.notify_waiters();
    }

    pub(crate) fn newest(&self) -> Option<Taken> {
        self.newest.lock().expect("nothing panics while it has the snapshot").clone()
    }

    /// Waits for one that covers at least the entry `index`.
    pub(crate) async fn covering(&self, index: Option<u64>) -> Taken {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let newest = self.newest();
            if let Some(taken) = newest.filter(|taken| taken.meta.last_log_id.map(|id| id.index) >= index) {
                return taken;
            }
            changed.await;
        }
    }
}
