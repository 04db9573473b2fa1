//! How much memory keys take, and how much of what was given up is not free yet.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Db, ExpireEntry, KeyEntry};
use crate::ds::Key;
use crate::ds::cow::copied_bytes;

/// What a table's index and its spare room take for each entry, on average.
const INDEX_BYTES_PER_KEY: usize = 8;
/// Keys that stand for a database.
const KEY_SAMPLES: usize = 32;
/// Elements that stand for a collection.
pub(crate) const ELEMENT_SAMPLES: usize = 5;

impl Db {
    /// Bytes that the key takes with its value, its time to live and its share of the tables. `samples` elements of
    /// a large collection stand for the rest (0: all).
    pub(crate) fn key_size(&self, key: &[u8], samples: usize) -> Option<usize> {
        let entry = self.dict.get(key)?;
        let tables = match self.expire_at(key) {
            Some(_) => size_of::<KeyEntry>() + size_of::<ExpireEntry>() + 2 * INDEX_BYTES_PER_KEY,
            None => size_of::<KeyEntry>() + INDEX_BYTES_PER_KEY,
        };
        // A long key is shared by both tables' entries or copied; either way small beside the value.
        Some(tables + Key::heap_size(&entry.key) + entry.value.heap_size(samples))
    }

    /// Bytes that the database takes, estimated from a few keys.
    pub(crate) fn size_estimate(&self) -> usize {
        let len = self.len();
        let samples = len.min(KEY_SAMPLES);
        let heap_of = |entry: &KeyEntry| Key::heap_size(&entry.key) + entry.value.heap_size(ELEMENT_SAMPLES);
        let sampled: usize =
            (0..samples).flat_map(|i| self.dict.at_rank(len / samples * i)).map(heap_of).sum();
        let tables = self.dict.heap_size() + self.expires.heap_size() + self.field_expiries.heap_size();
        tables + sampled.checked_div(samples).unwrap_or(0) * len
    }
}

/// What is as good as free: its owner is gone, and another thread is about to drop it. Eviction must not take more keys
/// on its account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<PendingFigures>);

#[derive(Debug, Default)]
struct PendingFigures {
    bytes: AtomicUsize,
    objects: AtomicUsize,
    /// Objects dropped since the start or [`Pending::forget_dropped`].
    dropped: AtomicUsize,
}

impl Pending {
    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.0.objects.load(Relaxed)
    }

    /// How many objects there were.
    pub fn dropped(&self) -> usize {
        self.0.dropped.load(Relaxed)
    }

    /// Counts those dropped from zero again.
    pub fn forget_dropped(&self) {
        self.0.dropped.store(0, Relaxed);
    }

    /// Counts `objects` of `bytes` in all until what is returned is dropped.
    pub fn add(&self, objects: usize, bytes: usize) -> PendingShare {
        self.0.bytes.fetch_add(bytes, Relaxed);
        self.0.objects.fetch_add(objects, Relaxed);
        PendingShare { all: self.clone(), objects, bytes }
    }
}

/// A part of a [`Pending`], counted as long as it lives: put it where it is dropped right after what it speaks of.
#[derive(Debug)]
pub(crate) struct PendingShare {
    all: Pending,
    objects: usize,
    bytes: usize,
}

impl Drop for PendingShare {
    fn drop(&mut self) {
        let figures = &self.all.0;
        figures.bytes.fetch_sub(self.bytes, Relaxed);
        figures.dropped.fetch_add(self.objects, Relaxed);
        figures.objects.fetch_sub(self.objects, Relaxed);
    }
}

/// What snapshots cost while they live: originals that only they still hold. It comes back by itself, and no eviction
/// brings it back sooner, so that eviction leaves it out. (A Redis's child process pays the same price unseen.)
#[derive(Debug, Default)]
pub(crate) struct SnapshotCost {
    /// [`copied_bytes`] when the oldest living snapshot was taken.
    copied_before: Cell<u64>,
    /// Values that were given up since, and that a snapshot still holds.
    held: Cell<usize>,
}

impl SnapshotCost {
    /// A snapshot is taken and no other one lives.
    pub fn begin(&self) {
        self.copied_before.set(copied_bytes());
        self.held.set(0);
    }

    /// A value of so many bytes was given up, and is not free because a snapshot holds it.
    pub fn hold(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    /// The cost so far.
    pub fn bytes(&self) -> usize {
        (copied_bytes() - self.copied_before.get()) as usize + self.held.get()
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;

    #[test]
    fn what_is_pending_counts_until_its_share_is_dropped() {
        let pending = Pending::default();
        let (a, b) = (pending.add(1, 3), pending.add(2, 4));
        assert_eq!((pending.objects(), pending.bytes(), pending.dropped()), (3, 7, 0));
        drop(a);
        assert_eq!((pending.objects(), pending.bytes(), pending.dropped()), (2, 4, 1));
        pending.forget_dropped();
        drop(b);
        assert_eq!((pending.objects(), pending.bytes(), pending.dropped()), (0, 0, 2));
    }
}
