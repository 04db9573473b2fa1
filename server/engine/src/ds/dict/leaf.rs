//! A leaf: up to [`LEAF_MAX`] entries, dense, and a small open-addressing index over them.
//!
//! ```text
//!  entries  Vec<E>     0     1     2     3     4    …
//!                      ▲           ▲
//!  index    [u16]    ┌─┴──┬───┬────┴─┬───┬───┬─ 2^k ─┐    slot: 7 bits tag of the hash | 9 bits entry + 1
//!                    │t,1 │ 0 │ t,3  │ 0 │ … │       │    0: free
//!                    └────┴───┴──────┴───┴───┴───────┘    home slot: low k bits of the hash; then linear
//! ```
//!
//! The tag answers most mismatches without touching an entry. Removal moves the last entry into the gap and
//! closes the index by shifting back, so there are no tombstones and nothing to clean up later.
//!
//! Invariants: the index is empty, and search linear, exactly while the leaf is small (it appears above
//! [`LINEAR_MAX`] entries, goes at half of that) or too large for the slots' 9 bits (possible only for hashes that
//! share all their digits). Otherwise every entry has one slot, and at most 7/8 of the slots are taken.

use super::{Entry, HashSeed, LEAF_MAX};
use crate::ds::size_class::{capacity_for, size_class};

/// Up to this many entries a scan is as fast as an index.
const LINEAR_MAX: usize = 8;
const SLOTS_MIN: usize = 16;
const NUMBER_BITS: u32 = 9;
const NUMBER_MASK: u16 = (1 << NUMBER_BITS) - 1;
const TAG_MASK: u16 = !NUMBER_MASK;

const _: () = assert!(LEAF_MAX < 1 << NUMBER_BITS && LEAF_MAX <= load_max(1 << NUMBER_BITS));

/// How many entries an index of so many slots may serve.
const fn load_max(slots: usize) -> usize {
    slots / 8 * 7
}

/// The part of a slot that comes from the hash: bits 9 to 15, which neither digits nor home slots use.
#[inline]
fn tag(hash: u64) -> u16 {
    hash as u16 & TAG_MASK
}

pub(super) struct Leaf<E> {
    entries: Vec<E>,
    index: Box<[u16]>,
}

impl<E: Entry> Leaf<E> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), index: Box::default() }
    }

    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity_for::<E>(entries)), index: slots_for(entries) }
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
        if self.index.is_empty() {
            return self.entries.iter().position(|entry| entry.key() == key);
        }
        self.probe(hash, |at| self.entries[at].key() == key).map(|slot| self.number(slot))
    }

    /// Adds an entry whose key is not here.
    pub(super) fn push(&mut self, seed: &HashSeed, hash: u64, entry: E) -> &mut E {
        let at = self.entries.len();
        if at == self.entries.capacity() {
            self.entries.reserve_exact(capacity_for::<E>(at + 1) - at);
        }
        self.entries.push(entry);
        if at + 1 > LEAF_MAX {
            self.index = Box::default();
        } else if !self.index.is_empty() && at < load_max(self.index.len()) {
            self.link(hash, at);
        } else if at + 1 > LINEAR_MAX {
            self.rebuild_index(seed);
        }
        &mut self.entries[at]
    }

    pub(super) fn remove(&mut self, seed: &HashSeed, hash: u64, key: &[u8]) -> Option<E> {
        let at;
        if self.index.is_empty() {
            at = self.find(hash, key)?;
        } else {
            let slot = self.probe(hash, |at| self.entries[at].key() == key)?;
            at = self.number(slot);
            self.close_gap(seed, slot);
            let last = self.entries.len() - 1;
            if at != last {
                let slot = self
                    .probe(seed.hash(self.entries[last].key()), |number| number == last)
                    .expect("every entry has a slot");
                self.index[slot] = self.index[slot] & TAG_MASK | (at + 1) as u16;
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
            + size_class(self.index.len() * size_of::<u16>())
    }

    /// Finds the slot of the hash for whose entry number `is_it`.
    #[inline]
    fn probe(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.index.len() - 1;
        let tag = tag(hash);
        let mut slot = hash as usize & mask;
        loop {
            let found = self.index[slot];
            if found == 0 {
                return None;
            }
            if found & TAG_MASK == tag && is_it((found & NUMBER_MASK) as usize - 1) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[inline]
    fn number(&self, slot: usize) -> usize {
        (self.index[slot] & NUMBER_MASK) as usize - 1
    }

    fn link(&mut self, hash: u64, at: usize) {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = tag(hash) | (at + 1) as u16;
    }

    /// Frees a slot and moves back those after it that it had pushed away from their home.
    fn close_gap(&mut self, seed: &HashSeed, mut gap: usize) {
        let mask = self.index.len() - 1;
        let mut slot = gap;
        loop {
            slot = (slot + 1) & mask;
            if self.index[slot] == 0 {
                break;
            }
            let home = seed.hash(self.entries[self.number(slot)].key()) as usize;
            let from_home = slot.wrapping_sub(home) & mask;
            let from_gap = slot.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.index[gap] = self.index[slot];
                gap = slot;
            }
        }
        self.index[gap] = 0;
    }

    fn rebuild_index(&mut self, seed: &HashSeed) {
        self.index = slots_for(self.entries.len());
        for at in 0..self.entries.len() {
            self.link(seed.hash(self.entries[at].key()), at);
        }
    }

    /// After a removal: keeps capacity and index in proportion to the entries.
    fn give_back(&mut self, seed: &HashSeed) {
        let len = self.entries.len();
        if self.entries.capacity() > capacity_for::<E>(len + len / 2 + 4) {
            self.entries.shrink_to(capacity_for::<E>(len));
        }
        let slots = self.index.len();
        if slots == 0 {
            // Only a leaf that was too large for an index has none at this size.
            if len > LINEAR_MAX && len <= LEAF_MAX / 2 {
                self.rebuild_index(seed);
            }
        } else if len <= LINEAR_MAX / 2 {
            self.index = Box::default();
        } else if len > LINEAR_MAX && len < slots / 4 {
            self.rebuild_index(seed);
        }
    }

    #[cfg(test)]
    pub(super) fn assert_valid(&self, seed: &HashSeed) {
        let len = self.entries.len();
        assert!(self.entries.capacity() <= capacity_for::<E>(len + len / 2 + 5));
        if self.index.is_empty() {
            // Between the two limits after a removal from an overlarge leaf, which only DEPTH_MAX allows.
            assert!(len <= LINEAR_MAX || len > LEAF_MAX / 2);
            return;
        }
        assert!(len > LINEAR_MAX / 2 && len <= load_max(self.index.len()));
        assert!(len >= self.index.len() / 4 || self.index.len() <= 4 * LINEAR_MAX);
        assert_eq!(self.index.iter().filter(|&&slot| slot != 0).count(), len);
        for (at, entry) in self.entries.iter().enumerate() {
            let hash = seed.hash(entry.key());
            let slot = self.probe(hash, |number| number == at).expect("every entry has a slot");
            assert_eq!(self.index[slot] & TAG_MASK, tag(hash));
        }
    }
}

/// A free index for so many entries, or none if they need or can have none.
fn slots_for(entries: usize) -> Box<[u16]> {
    if entries <= LINEAR_MAX || entries > LEAF_MAX {
        return Box::default();
    }
    let mut slots = SLOTS_MIN;
    while load_max(slots) < entries {
        slots *= 2;
    }
    vec![0; slots].into_boxed_slice()
}

/// With the same capacity: who copies a leaf is about to write to it.
impl<E: Clone> Clone for Leaf<E> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.capacity());
        entries.extend_from_slice(&self.entries);
        Self { entries, index: self.index.clone() }
    }
}
