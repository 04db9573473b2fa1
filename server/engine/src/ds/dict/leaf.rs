//! A leaf: up to [`LEAF_MAX`] entries, dense, and an [`Index`] over them.
//!
//! ```text
//!  Arc ► count │ entries: Vec<E> │ index ├──► [tag | number + 1] …            2 bytes per slot, 7/8 full at most
//!                     │                                  ▼
//!                     └─────────────────────► E  E  E  E  E  E  E  (spare)    spare: the rest of the size class
//! ```
//!
//! Removal moves the last entry into the gap, so entries stay dense and there is nothing to clean up later.
//!
//! Invariant: there is no index, and search is linear, exactly while the leaf is small (the index appears above
//! [`LINEAR_MAX`] entries and goes at half of that) or too large for the index's numbers (possible only for
//! hashes that share all their digits; the index comes back at half of [`LEAF_MAX`]).

use super::index::Index;
use super::{Entry, HashSeed, LEAF_MAX};
use crate::ds::cow::note_copy;
use crate::ds::prefetch::prefetch;
use crate::ds::size_class::{capacity_for, size_class};

/// Up to this many entries a linear search is as fast as an index.
const LINEAR_MAX: usize = 8;

pub(super) struct Leaf<E> {
    entries: Vec<E>,
    index: Index,
}

impl<E: Entry> Leaf<E> {
    pub(super) fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty leaf that will get so many entries, at most [`LEAF_MAX`].
    pub(super) fn with_capacity(entries: usize) -> Self {
        let index = if entries > LINEAR_MAX { Index::for_entries(entries) } else { Index::none() };
        Self { entries: Vec::with_capacity(capacity_for::<E>(entries)), index }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[E] {
        &self.entries
    }

    pub(super) fn entry_mut(&mut self, at: usize) -> &mut E {
        &mut self.entries[at]
    }

    pub(super) fn into_entries(self) -> Vec<E> {
        self.entries
    }

    /// Where in `entries` the key is.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        if self.index.is_none() {
            return self.entries.iter().position(|entry| entry.key() == key);
        }
        let place = self.index.find(hash, |at| self.entries[at].key() == key)?;
        Some(self.index.number(place))
    }

    /// First step of a prefetch: what `find` will read of the index.
    #[inline]
    pub(super) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: the entry that `find` will look at first.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let likely = if self.index.is_none() { Some(0) } else { self.index.likely(hash) };
        if let Some(entry) = likely.and_then(|at| self.entries.get(at)) {
            let start = (&raw const *entry).cast::<u8>();
            prefetch(start);
            // An entry may cross into a second cache line.
            prefetch(start.wrapping_add(size_of::<E>().saturating_sub(1)));
        }
    }

    /// Adds an entry whose key is not here.
    pub(super) fn push(&mut self, seed: &HashSeed, hash: u64, entry: E) -> &mut E {
        let at = self.entries.len();
        if at == self.entries.capacity() {
            self.entries.reserve_exact(capacity_for::<E>(at + 1) - at);
        }
        self.entries.push(entry);
        if at < self.index.capacity() && at < LEAF_MAX {
            self.index.link(hash, at);
        } else if at >= LEAF_MAX {
            self.index = Index::none();
        } else if at >= LINEAR_MAX {
            self.rebuild_index(seed);
        }
        &mut self.entries[at]
    }

    pub(super) fn remove(&mut self, seed: &HashSeed, hash: u64, key: &[u8]) -> Option<E> {
        let at;
        if self.index.is_none() {
            at = self.find(hash, key)?;
        } else {
            let Self { entries, index } = self;
            let hash_of = |at: usize| seed.hash(entries[at].key());
            let place = index.find(hash, |at| entries[at].key() == key)?;
            at = index.number(place);
            index.unlink(place, hash_of);
            let last = entries.len() - 1;
            if at != last {
                let place = index.find(hash_of(last), |number| number == last);
                index.renumber(place.expect("every entry has a slot"), at);
            }
        }
        let removed = self.entries.swap_remove(at);
        self.give_back(seed);
        Some(removed)
    }

    /// What the leaf takes on the heap, its own block (with the reference count) included.
    pub(super) fn heap_size(&self) -> usize {
        size_class(size_of::<usize>() + size_of::<Self>())
            + size_class(self.entries.capacity() * size_of::<E>())
            + size_class(self.index.heap_bytes())
    }

    fn rebuild_index(&mut self, seed: &HashSeed) {
        self.index = Index::for_entries(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            self.index.link(seed.hash(entry.key()), at);
        }
    }

    /// After a removal: keeps capacity and index in proportion to the entries.
    fn give_back(&mut self, seed: &HashSeed) {
        let len = self.entries.len();
        if self.entries.capacity() > capacity_for::<E>(len + len / 2 + 4) {
            self.entries.shrink_to(capacity_for::<E>(len));
        }
        if self.index.is_none() {
            // Only a leaf that was too large for an index has none at this size.
            if len > LINEAR_MAX && len <= LEAF_MAX / 2 {
                self.rebuild_index(seed);
            }
        } else if len <= LINEAR_MAX / 2 {
            self.index = Index::none();
        } else if len > LINEAR_MAX && len < self.index.slots() / 4 {
            self.rebuild_index(seed);
        }
    }

    #[cfg(test)]
    pub(super) fn assert_valid(&self, seed: &HashSeed) {
        let len = self.entries.len();
        assert!(self.entries.capacity() <= capacity_for::<E>(len + len / 2 + 5));
        if self.index.is_none() {
            assert!(len <= LINEAR_MAX || len > LEAF_MAX / 2);
            return;
        }
        assert!(len > LINEAR_MAX / 2);
        assert!(len >= self.index.slots() / 4 || self.index.slots() <= 4 * LINEAR_MAX);
        let hashes: Vec<u64> = self.entries.iter().map(|entry| seed.hash(entry.key())).collect();
        self.index.assert_valid(&hashes);
    }
}

/// With the same capacity: who copies a leaf is about to write to it.
impl<E: Clone> Clone for Leaf<E> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.capacity());
        entries.extend_from_slice(&self.entries);
        note_copy(entries.capacity() * size_of::<E>() + self.index.heap_bytes());
        Self { entries, index: self.index.clone() }
    }
}
