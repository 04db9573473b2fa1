//! `Dict`: the project's one hash table: a copy-on-write hash trie with dense leaves.
//!
//! ```text
//!  Dict
//!  ┌──────┬──────┐
//!  │ root │ seed │       64-bit hash of the key:  dddd dddd dddd …12 digits… dddd ttttttt sssssssss
//!  └──┬───┴──────┘                                depth 0    1    2                tag     group
//!     ▼
//!  Inner, shared by count (Arc)                       Leaf, shared by count (Arc)
//!  ┌────┬────┬────┬─ 16 ─┬────┐   digit d of the hash ┌─────────────────────────┐ dense: no holes, no chains
//!  │ 0  │ 1  │ 2  │  …   │ 15 ├──────────────────────►│ entries  E E E E E E E  │
//!  └────┴────┴────┴──────┴────┘                       │ index  [u16; 2^k] slots │ tag | entry number + 1
//!   a node is (kind, count of entries below, Arc)     └─────────────────────────┘
//! ```
//!
//! Why not an ordinary table:
//!
//! - **Snapshots.** `clone` is O(1). The first write after it copies the path to one leaf (at most
//!   [`LEAF_MAX`] entries), so neither the snapshot nor any write after it stalls.
//! - **No resize.** A leaf that is full splits in 16, an inner node with few entries left becomes a leaf again.
//!   Nothing but dropping the whole is ever O(n).
//! - **Memory.** Entries lie side by side in blocks that grow by 1/8 to 1/4; the index costs 2 to 5 bytes per entry.
//! - **SCAN and RANDOMKEY.** The trie takes the hash from its top digit, so walking it is walking the keys in
//!   the order of their hashes. A cursor is a place in that order and stays true whatever splits or collapses
//!   between two calls. Counts in the nodes make a pick by rank exact: every entry is equally likely.
//!
//! Invariants (checked by `assert_valid` in the tests):
//! - An entry is in the leaf that the digits of its hash lead to; a key is there once.
//! - A node's count is the number of entries below it; only [`Node::Empty`] has count 0.
//! - A leaf has more than [`LEAF_MAX`] entries only at depth [`DEPTH_MAX`], where the digits are used up.
//! - An inner node has more than [`COLLAPSE_MAX`] entries.

mod index;
mod iter;
mod leaf;
mod node;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hasher};

pub use iter::Iter;
use leaf::Leaf;
use node::{Node, digit};
pub use scan::CURSOR_BITS;
use triomphe::Arc;

use super::prefetch::prefetch;

/// Entries in a leaf before it splits. The index's slots number them with 9 bits.
pub const LEAF_MAX: usize = 448;
/// An inner node becomes a leaf again at this count: far enough below [`LEAF_MAX`] that alternating inserts and
/// removes do not split and collapse every time.
const COLLAPSE_MAX: usize = LEAF_MAX / 4;
/// Children of an inner node: one hexadecimal digit of the hash.
const FANOUT: usize = 16;
const DIGIT_BITS: u32 = FANOUT.ilog2();
/// Levels of inner nodes. The hash's low 16 bits are the index's: digits and slots are independent.
const DEPTH_MAX: u32 = 12;

/// What a [`Dict`] holds. The key must not change while the entry is in it.
pub trait Entry: Clone {
    fn key(&self) -> &[u8];
}

/// The secret that makes hashes unpredictable to clients. Tables with the same seed give the same key the same
/// hash, so a caller may hash once and ask several of them (`*_hashed`).
#[derive(Clone, Copy)]
pub struct HashSeed {
    keys: [u64; 4],
    /// Lets tests make hashes collide.
    #[cfg(test)]
    mask: u64,
}

impl HashSeed {
    pub const fn new(keys: [u64; 4]) -> Self {
        Self {
            keys,
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let [k0, k1, k2, k3] = self.keys;
        let mut hasher = ahash::RandomState::with_seeds(k0, k1, k2, k3).build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }
}

/// Does not show the secret.
impl fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashSeed")
    }
}

/// A hash table of entries that know their key; see the module's page. Holds at most 2^32 - 1 entries, as
/// Redis's collections do.
///
/// Every method that takes a `hash` expects [`Dict::hash`] of that same key.
#[derive(Clone)]
pub struct Dict<E> {
    root: Node<E>,
    seed: HashSeed,
}

impl<E: Entry> Dict<E> {
    /// An empty dict; allocates nothing.
    pub const fn new(seed: HashSeed) -> Self {
        Self { root: Node::Empty, seed }
    }

    pub fn len(&self) -> usize {
        self.root.count()
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.root, Node::Empty)
    }

    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&E> {
        self.get_hashed(self.hash(key), key)
    }

    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&E> {
        let leaf = self.leaf(hash)?;
        Some(&leaf.entries()[leaf.find(hash, key)?])
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    pub fn contains_hashed(&self, hash: u64, key: &[u8]) -> bool {
        self.get_hashed(hash, key).is_some()
    }

    /// Starts loading what look-ups of these hashes will read. Together they wait for memory about as long as one
    /// look-up alone would, so it pays from two hashes on, if the look-ups follow soon.
    pub fn prefetch(&self, hashes: &[u64]) {
        const BATCH: usize = 32;
        for hashes in hashes.chunks(BATCH) {
            let mut leaves = [None; BATCH];
            for (leaf, &hash) in leaves.iter_mut().zip(hashes) {
                *leaf = self.leaf(hash);
            }
            let found = || leaves.iter().zip(hashes).filter_map(|(leaf, &hash)| Some(((*leaf)?, hash)));
            found().for_each(|(leaf, _)| prefetch(&raw const *leaf));
            found().for_each(|(leaf, hash)| leaf.prefetch_index(hash));
            found().for_each(|(leaf, hash)| leaf.prefetch_entry(hash));
        }
    }

    /// The entry, for changing anything but its key. Copies what a snapshot shares; nothing if the key is absent.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut E> {
        self.get_mut_hashed(self.hash(key), key)
    }

    #[inline]
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut E> {
        let at = self.leaf(hash)?.find(hash, key)?;
        // A copied leaf has its entries in the same places.
        Some(self.leaf_mut(hash).entry_mut(at))
    }

    /// Puts the entry in; returns the one with the same key that it replaced.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        self.insert_hashed(self.hash(entry.key()), entry)
    }

    pub fn insert_hashed(&mut self, hash: u64, entry: E) -> Option<E> {
        match self.get_mut_hashed(hash, entry.key()) {
            Some(present) => Some(std::mem::replace(present, entry)),
            None => {
                self.insert_absent(hash, entry);
                None
            }
        }
    }

    /// The entry with this key, and whether `make` made it just now.
    pub fn get_or_insert_with(&mut self, key: &[u8], make: impl FnOnce() -> E) -> (&mut E, bool) {
        self.get_or_insert_with_hashed(self.hash(key), key, make)
    }

    pub fn get_or_insert_with_hashed(
        &mut self,
        hash: u64,
        key: &[u8],
        make: impl FnOnce() -> E,
    ) -> (&mut E, bool) {
        match self.leaf(hash).and_then(|leaf| leaf.find(hash, key)) {
            Some(at) => (self.leaf_mut(hash).entry_mut(at), false),
            None => {
                let entry = make();
                debug_assert_eq!(entry.key(), key);
                (self.insert_absent(hash, entry), true)
            }
        }
    }

    /// Takes the entry out. Copies what a snapshot shares; nothing if the key is absent.
    pub fn remove(&mut self, key: &[u8]) -> Option<E> {
        self.remove_hashed(self.hash(key), key)
    }

    pub fn remove_hashed(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        self.leaf(hash)?.find(hash, key)?;
        let seed = self.seed;
        let mut node = &mut self.root;
        let mut depth = 0;
        loop {
            node.collapse_if_small(&seed);
            match node {
                Node::Inner { count, children } => {
                    *count -= 1;
                    node = &mut Arc::make_mut(children)[digit(hash, depth)];
                    depth += 1;
                }
                Node::Leaf { count: 1, .. } => {
                    let Node::Leaf { leaf, .. } = std::mem::replace(node, Node::Empty) else {
                        unreachable!("matched as a leaf")
                    };
                    return Arc::unwrap_or_clone(leaf).into_entries().pop();
                }
                Node::Leaf { count, leaf } => {
                    *count -= 1;
                    return Arc::make_mut(leaf).remove(&seed, hash, key);
                }
                Node::Empty => unreachable!("the key was found on this path"),
            }
        }
    }

    /// Empties the dict. Dropping what it held takes time in proportion, unless a snapshot shares it.
    pub fn clear(&mut self) {
        self.root = Node::Empty;
    }

    /// All entries, by ascending hash from leaf to leaf, in no order inside a leaf.
    pub fn iter(&self) -> Iter<'_, E> {
        Iter::new(&self.root)
    }

    /// Visits all entries in the order of [`Dict::iter`] and lets go of each leaf once it has been visited, so that a
    /// dict that shares it need not copy it any more. Ends early when `visit` says false.
    pub fn consume(self, visit: &mut dyn FnMut(&E) -> bool) {
        iter::consume(self.root, visit);
    }

    /// The entry at `rank` in the order of [`Dict::iter`]; `None` at `len` or beyond.
    pub fn at_rank(&self, rank: usize) -> Option<&E> {
        let (leaf, at) = self.root.leaf_at_rank(rank)?;
        Some(&leaf.entries()[at])
    }

    /// An entry, each with the same probability. `below(n)` must give a uniform number in `0..n`.
    pub fn random(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<&E> {
        match self.len() {
            0 => None,
            len => self.at_rank(below(len as u64) as usize),
        }
    }

    /// What the structure itself takes on the heap, as if nothing were shared with a snapshot; without what the
    /// entries have on the heap. Exact for a small dict, estimated from a few leaves for a large one.
    pub fn heap_size(&self) -> usize {
        const EXACT_MAX: usize = 8 * LEAF_MAX;
        const SAMPLES: usize = 16;
        let len = self.len();
        if len <= EXACT_MAX {
            return self.root.heap_size();
        }
        // A leaf is met in proportion to its entries, so the mean of its bytes per entry is an unbiased estimate.
        let mut per_entry = 0.0;
        for sample in 0..SAMPLES {
            let rank = len / SAMPLES * sample + len / (2 * SAMPLES);
            let (leaf, _) = self.root.leaf_at_rank(rank).expect("the rank is below len");
            per_entry += (leaf.heap_size() + Node::<E>::INNER_BYTES_PER_LEAF) as f64 / leaf.len() as f64;
        }
        (per_entry / SAMPLES as f64 * len as f64) as usize
    }

    /// The leaf where an entry of this hash is, if it is anywhere.
    #[inline]
    fn leaf(&self, hash: u64) -> Option<&Leaf<E>> {
        let mut node = &self.root;
        let mut depth = 0;
        loop {
            match node {
                Node::Inner { children, .. } => {
                    node = &children[digit(hash, depth)];
                    depth += 1;
                }
                Node::Leaf { leaf, .. } => return Some(leaf),
                Node::Empty => return None,
            }
        }
    }

    /// As `leaf`, for a hash that has one; copies the shared part of the path.
    #[inline]
    fn leaf_mut(&mut self, hash: u64) -> &mut Leaf<E> {
        let mut node = &mut self.root;
        let mut depth = 0;
        loop {
            match node {
                Node::Inner { children, .. } => {
                    node = &mut Arc::make_mut(children)[digit(hash, depth)];
                    depth += 1;
                }
                Node::Leaf { leaf, .. } => return Arc::make_mut(leaf),
                Node::Empty => unreachable!("the caller found a leaf on this path"),
            }
        }
    }

    fn insert_absent(&mut self, hash: u64, entry: E) -> &mut E {
        assert!(self.len() < u32::MAX as usize, "a dict holds at most 2^32 - 1 entries");
        let seed = self.seed;
        let mut node = &mut self.root;
        let mut depth = 0;
        loop {
            if let Node::Leaf { count, .. } = node
                && *count as usize >= LEAF_MAX
                && depth < DEPTH_MAX
            {
                node.split(&seed, depth);
            }
            if let Node::Empty = node {
                *node = Node::Leaf { count: 0, leaf: Arc::new(Leaf::new()) };
            }
            match node {
                Node::Inner { count, children } => {
                    *count += 1;
                    node = &mut Arc::make_mut(children)[digit(hash, depth)];
                    depth += 1;
                }
                Node::Leaf { count, leaf } => {
                    *count += 1;
                    return Arc::make_mut(leaf).push(&seed, hash, entry);
                }
                Node::Empty => unreachable!("replaced by a leaf above"),
            }
        }
    }
}

impl<E: Entry> Extend<E> for Dict<E> {
    fn extend<I: IntoIterator<Item = E>>(&mut self, entries: I) {
        for entry in entries {
            self.insert(entry);
        }
    }
}

impl<'a, E: Entry> IntoIterator for &'a Dict<E> {
    type Item = &'a E;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}

impl<E: Entry + fmt::Debug> fmt::Debug for Dict<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}
