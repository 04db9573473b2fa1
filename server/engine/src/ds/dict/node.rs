//! The trie's nodes: splitting, collapsing, finding by rank.

use triomphe::Arc;

use super::leaf::Leaf;
use super::{COLLAPSE_MAX, DIGIT_BITS, Entry, FANOUT, HashSeed, LEAF_MAX};
use crate::ds::size_class::size_class;

/// A subtree. The count of its entries is kept here, beside the pointer, so that finding a rank does not have to
/// visit all sixteen children.
#[derive(Clone)]
pub(super) enum Node<E> {
    Empty,
    Leaf { count: u32, leaf: Arc<Leaf<E>> },
    Inner { count: u32, children: Arc<[Node<E>; FANOUT]> },
}

const _: () = assert!(size_of::<Node<[u8; 48]>>() == 16);

/// The digit of the hash that chooses the child at a depth: the topmost first.
#[inline]
pub(super) fn digit(hash: u64, depth: u32) -> usize {
    (hash >> (u64::BITS - DIGIT_BITS * (depth + 1))) as usize % FANOUT
}

impl<E> Node<E> {
    /// The block of an inner node: reference count and children.
    const INNER_BYTES: usize = size_class(size_of::<usize>() + FANOUT * size_of::<Node<E>>());
    /// A leaf's share of the inner nodes above it, in a trie of about uniform depth (1/16 + 1/256 + …).
    pub(super) const INNER_BYTES_PER_LEAF: usize = Self::INNER_BYTES / (FANOUT - 1);

    #[inline]
    pub(super) fn count(&self) -> usize {
        match self {
            Node::Empty => 0,
            Node::Leaf { count, .. } | Node::Inner { count, .. } => *count as usize,
        }
    }
}

impl<E: Entry> Node<E> {
    fn from_leaf(leaf: Leaf<E>) -> Self {
        match leaf.len() {
            0 => Node::Empty,
            len => Node::Leaf { count: len as u32, leaf: Arc::new(leaf) },
        }
    }

    /// Turns a full leaf at `depth` into an inner node with up to sixteen leaves.
    pub(super) fn split(&mut self, seed: &HashSeed, depth: u32) {
        let Node::Leaf { count, leaf } = std::mem::replace(self, Node::Empty) else {
            unreachable!("only leaves split")
        };
        let entries = Arc::unwrap_or_clone(leaf).into_entries();
        let mut hashes = [0; LEAF_MAX];
        let mut counts = [0; FANOUT];
        for (hash, entry) in hashes.iter_mut().zip(&entries) {
            *hash = seed.hash(entry.key());
            counts[digit(*hash, depth)] += 1;
        }
        let mut leaves = counts.map(Leaf::with_capacity);
        for (hash, entry) in hashes.into_iter().zip(entries) {
            leaves[digit(hash, depth)].push(seed, hash, entry);
        }
        *self = Node::Inner { count, children: Arc::new(leaves.map(Node::from_leaf)) };
    }

    /// Turns an inner node with few entries into one leaf.
    pub(super) fn collapse_if_small(&mut self, seed: &HashSeed) {
        if !matches!(self, Node::Inner { count, .. } if *count as usize <= COLLAPSE_MAX) {
            return;
        }
        let mut merged = Leaf::with_capacity(self.count());
        std::mem::replace(self, Node::Empty).drain_into(seed, &mut merged);
        *self = Node::from_leaf(merged);
    }

    fn drain_into(self, seed: &HashSeed, target: &mut Leaf<E>) {
        match self {
            Node::Empty => {}
            Node::Leaf { leaf, .. } => {
                for entry in Arc::unwrap_or_clone(leaf).into_entries() {
                    target.push(seed, seed.hash(entry.key()), entry);
                }
            }
            Node::Inner { children, .. } => {
                for child in Arc::unwrap_or_clone(children) {
                    child.drain_into(seed, target);
                }
            }
        }
    }

    /// The leaf with the entry at `rank` in the trie's order, and where in it.
    pub(super) fn leaf_at_rank(&self, mut rank: usize) -> Option<(&Leaf<E>, usize)> {
        let mut node = self;
        if rank >= node.count() {
            return None;
        }
        loop {
            match node {
                Node::Empty => unreachable!("its count is 0, so no rank is in it"),
                Node::Leaf { leaf, .. } => return Some((leaf, rank)),
                Node::Inner { children, .. } => {
                    let mut children = children.iter();
                    node = loop {
                        let child = children.next().expect("the counts of the children add up to the node's");
                        match rank.checked_sub(child.count()) {
                            Some(beyond) => rank = beyond,
                            None => break child,
                        }
                    };
                }
            }
        }
    }

    /// What the subtree takes on the heap, by visiting all of it.
    pub(super) fn heap_size(&self) -> usize {
        match self {
            Node::Empty => 0,
            Node::Leaf { leaf, .. } => leaf.heap_size(),
            Node::Inner { children, .. } => {
                Self::INNER_BYTES + children.iter().map(Node::heap_size).sum::<usize>()
            }
        }
    }
}
