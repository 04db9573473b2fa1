//! [`CowTree`]: an ordered map that knows ranks, and whose clones are O(1) and never change.
//!
//! ```text
//!                 Inner: 64 children at most            seps[i] parts children[i] (all keys below it)
//!              ┌─────────────────────────────┐                    from children[i + 1] (none below it)
//!              │ seps      40      90        │          counts[i]: entries under children[i]
//!              │ counts  3      4       2    │
//!              │ children│      │       │    │
//!              └─────────┼──────┼───────┼────┘          every node behind an `Arc`, so that trees share them
//!            ┌───────────┘      │       └────────┐
//!      ┌─────┴────┐     ┌───────┴──────┐    ┌────┴───┐
//!      │ 10 20 30 │     │ 40 50 60 70  │    │ 90 95  │  Leaf: 64 entries at most, side by side
//!      └──────────┘     └──────────────┘    └────────┘
//! ```
//!
//! A persistent B+tree. Sorted sets, streams and pending entry lists live in it. Writing to a tree that shares
//! nodes with a clone copies the nodes from the root to the leaf (some hundred entries, whatever the size): a
//! snapshot of a huge collection costs one counter, and no single write after it copies megabytes.
//!
//! Lean by these means: vectors grow from allocation class to allocation class instead of doubling; a full node
//! at the right end (ids that ascend: streams) or at the left end (scores that descend) is left full and a
//! new one begun, instead of splitting it in halves; deleting merges.
//!
//! Invariants (`check` in the tests):
//! - all leaves are at the same depth; keys ascend strictly; separators and counts as drawn;
//! - no node is empty or has more than 64; one that is not at the left or the right end has at least 16;
//! - `root` is `None` only for the empty tree, and an inner root has two children at least.
//!
//! Separators are clones of keys and can outlive them: they part, no more.

mod iter;
mod node;

use std::cmp::Ordering;
use std::ops::{Bound, RangeBounds};

pub use iter::Iter;
use node::{ByKey, ByRank, Edge, Inner, Inserted, Node, Packer, Seek};

/// An ordered map with ranks. `CowTree<K, ()>` is an ordered set: the `()` takes no room.
///
/// A *rank* is the number of smaller keys. Every operation is O(log n) unless it says otherwise. Keys can be
/// looked up without making one: the `…_by` forms take what [`slice::binary_search_by`] takes.
pub struct CowTree<K, V> {
    root: Option<Node<K, V>>,
    len: usize,
}

impl<K, V> CowTree<K, V> {
    pub const fn new() -> Self {
        Self { root: None, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    // ---- by comparison ----

    /// The entry for which `cmp(key)` is `Equal`.
    pub fn get_by(&self, mut cmp: impl FnMut(&K) -> Ordering) -> Option<(&K, &V)> {
        let mut node = self.root.as_ref()?;
        let mut seek = ByKey(&mut cmp);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (key, value) = &leaf.entries[seek.entry(&leaf.entries)?];
                    return Some((key, value));
                }
                Node::Inner(inner) => node = &inner.children[seek.child(&inner.seps, &inner.counts)],
            }
        }
    }

    /// The rank of the entry for which `cmp(key)` is `Equal`.
    pub fn rank_by(&self, mut cmp: impl FnMut(&K) -> Ordering) -> Option<usize> {
        let mut node = self.root.as_ref()?;
        let mut seek = ByKey(&mut cmp);
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(rank + seek.entry(&leaf.entries)?),
                Node::Inner(inner) => {
                    let i = seek.child(&inner.seps, &inner.counts);
                    rank += inner.counts[..i].iter().sum::<usize>();
                    node = &inner.children[i];
                }
            }
        }
    }

    /// How many keys satisfy `pred`, which holds for the smallest keys up to some key and for none beyond:
    /// the rank of the first key for which it does not hold. Ranges of scores and of texts are made of two.
    pub fn partition_point(&self, mut pred: impl FnMut(&K) -> bool) -> usize {
        let Some(mut node) = self.root.as_ref() else { return 0 };
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return rank + node::partition_point(&leaf.entries, |(key, _)| pred(key)),
                Node::Inner(inner) => {
                    let i = node::partition_point(&inner.seps, &mut pred);
                    rank += inner.counts[..i].iter().sum::<usize>();
                    node = &inner.children[i];
                }
            }
        }
    }

    // ---- by rank ----

    /// The entry of rank `rank`.
    pub fn at_rank(&self, rank: usize) -> Option<(&K, &V)> {
        if rank >= self.len {
            return None;
        }
        let (entries, offset) = self.root.as_ref()?.leaf_at(rank);
        let (key, value) = &entries[offset];
        Some((key, value))
    }

    pub fn first(&self) -> Option<(&K, &V)> {
        self.at_rank(0)
    }

    pub fn last(&self) -> Option<(&K, &V)> {
        self.at_rank(self.len.wrapping_sub(1))
    }

    // ---- iteration ----

    /// All entries in ascending order, from either end.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.range_by_rank(..)
    }

    /// The entries of the given ranks, cut to those that there are. O(log n) to begin, then O(1) per entry.
    pub fn range_by_rank(&self, ranks: impl RangeBounds<usize>) -> Iter<'_, K, V> {
        let start = match ranks.start_bound() {
            Bound::Included(&rank) => rank,
            Bound::Excluded(&rank) => rank.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match ranks.end_bound() {
            Bound::Included(&rank) => rank.saturating_add(1),
            Bound::Excluded(&rank) => rank,
            Bound::Unbounded => self.len,
        };
        let end = end.min(self.len);
        Iter::new(self.root.as_ref(), start.min(end)..end)
    }

    /// The entries from rank `rank` on. `.range_by_rank(..=rank).rev()` goes the other way.
    pub fn iter_from_rank(&self, rank: usize) -> Iter<'_, K, V> {
        self.range_by_rank(rank..)
    }

    /// Bytes on the heap, as if nothing were shared and without what keys and values own. O(nodes).
    pub fn heap_size(&self) -> usize {
        self.root.as_ref().map_or(0, Node::heap_size)
    }
}

impl<K: Ord, V> CowTree<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.get_by(|probe| probe.cmp(key)).map(|(_, value)| value)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// How many keys are smaller than `key`, if `key` is there.
    pub fn rank(&self, key: &K) -> Option<usize> {
        self.rank_by(|probe| probe.cmp(key))
    }

    /// The rank of the first key that is not less than `key`.
    pub fn lower_bound(&self, key: &K) -> usize {
        self.partition_point(|probe| probe < key)
    }

    /// The rank of the first key that is greater than `key`.
    pub fn upper_bound(&self, key: &K) -> usize {
        self.partition_point(|probe| probe <= key)
    }

    /// The entries with keys in `keys`, from either end; none if the bounds are the wrong way round.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Iter<'_, K, V> {
        let (start, end) = self.rank_bounds(keys);
        self.range_by_rank(start..end)
    }

    /// How many keys are in `keys`.
    pub fn count_range(&self, keys: impl RangeBounds<K>) -> usize {
        let (start, end) = self.rank_bounds(keys);
        end.saturating_sub(start)
    }

    fn rank_bounds(&self, keys: impl RangeBounds<K>) -> (usize, usize) {
        let start = match keys.start_bound() {
            Bound::Included(key) => self.lower_bound(key),
            Bound::Excluded(key) => self.upper_bound(key),
            Bound::Unbounded => 0,
        };
        let end = match keys.end_bound() {
            Bound::Included(key) => self.upper_bound(key),
            Bound::Excluded(key) => self.lower_bound(key),
            Bound::Unbounded => self.len,
        };
        (start, end)
    }
}

impl<K: Clone, V: Clone> CowTree<K, V> {
    /// Looking for a key that is not there may copy shared nodes for nothing; it changes nothing else.
    pub fn get_mut_by(&mut self, mut cmp: impl FnMut(&K) -> Ordering) -> Option<(&K, &mut V)> {
        self.root.as_mut()?.get_mut(&mut ByKey(&mut cmp))
    }

    pub fn at_rank_mut(&mut self, rank: usize) -> Option<(&K, &mut V)> {
        if rank >= self.len {
            return None;
        }
        self.root.as_mut()?.get_mut(&mut ByRank(rank))
    }

    pub fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        self.at_rank_mut(self.len.wrapping_sub(1))
    }

    /// Removes the entry for which `cmp(key)` is `Equal`. As [`Self::get_mut_by`] if there is none.
    pub fn remove_by(&mut self, mut cmp: impl FnMut(&K) -> Ordering) -> Option<(K, V)> {
        self.remove_entry(&mut ByKey(&mut cmp))
    }

    /// Removes the entry of rank `rank`.
    pub fn remove_at(&mut self, rank: usize) -> Option<(K, V)> {
        if rank >= self.len {
            return None;
        }
        self.remove_entry(&mut ByRank(rank))
    }

    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.remove_at(0)
    }

    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.remove_at(self.len.wrapping_sub(1))
    }

    /// Removes up to `count` entries from rank `start` on, handing them over in ascending order; answers how
    /// many. O(log n) for the borders, then O(1) per entry.
    pub fn remove_range_by_rank(
        &mut self,
        start: usize,
        count: usize,
        removed: &mut dyn FnMut(K, V),
    ) -> usize {
        let start = start.min(self.len);
        let end = start.saturating_add(count).min(self.len);
        if start == end {
            return 0;
        }
        self.len -= end - start;
        if self.len == 0 {
            if let Some(root) = self.root.take() {
                root.consume(removed);
            }
        } else if let Some(root) = self.root.as_mut() {
            root.remove_range(start..end, Edge::BOTH, removed);
            self.lower_root();
        }
        end - start
    }

    fn remove_entry(&mut self, seek: &mut impl Seek<K>) -> Option<(K, V)> {
        let entry = self.root.as_mut()?.remove(seek, Edge::BOTH)?;
        self.len -= 1;
        self.lower_root();
        Some(entry)
    }

    /// After a removal: the tree is as high as it must be.
    fn lower_root(&mut self) {
        while let Some(root) = self.root.as_mut()
            && let Some(child) = root.take_only_child()
        {
            self.root = Some(child);
        }
        if self.len == 0 {
            self.root = None;
        }
    }
}

impl<K: Ord + Clone, V: Clone> CowTree<K, V> {
    /// Adds an entry; answers the value that it replaces. The key that was there stays.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(root) = self.root.as_mut() else {
            self.root = Some(Node::single(key, value));
            self.len = 1;
            return None;
        };
        match root.insert(key, value, Edge::BOTH) {
            Inserted::Replaced(old) => return Some(old),
            Inserted::Added(None) => {}
            Inserted::Added(Some(split)) => {
                if let Some(left) = self.root.take() {
                    self.root = Some(Inner::joining(left, split).into());
                }
            }
        }
        self.len += 1;
        None
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.get_mut_by(|probe| probe.cmp(key)).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) -> Option<(K, V)> {
        self.remove_by(|probe| probe.cmp(key))
    }

    /// A tree with full nodes, in O(n), from entries that ascend strictly. From the first that does not on,
    /// entries are inserted one by one (so this never fails, and of two equal keys the later value stays).
    pub fn from_sorted(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut entries = entries.into_iter();
        let mut packer = Packer::new();
        let mut odd = None;
        for (key, value) in entries.by_ref() {
            if packer.last_key().is_some_and(|last| *last >= key) {
                odd = Some((key, value));
                break;
            }
            packer.push(key, value);
        }
        let (root, len) = packer.finish();
        let mut tree = Self { root, len };
        for (key, value) in odd.into_iter().chain(entries) {
            tree.insert(key, value);
        }
        tree
    }
}

/// O(1): the clone shares all nodes.
impl<K, V> Clone for CowTree<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<K, V> Default for CowTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, K, V> IntoIterator for &'a CowTree<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: std::fmt::Debug, V: std::fmt::Debug> std::fmt::Debug for CowTree<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests;
