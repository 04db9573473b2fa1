//! SCAN: stateless iteration that survives any change of the dict between two calls.
//!
//! A cursor is a *place*: the top [`CURSOR_BITS`] bits of a hash, all those that the trie's digits use. A call visits
//! the entries from the cursor's place on, in the order of places, and stops after a whole place. An entry's
//! place depends on its key alone, so one that is there from the first call to the last lies in exactly one of
//! the stretches visited, however leaves split, collapse or are refilled in between. Redis promises "at least
//! once"; this is exactly once.

use super::leaf::Leaf;
use super::node::Node;
use super::{DEPTH_MAX, DIGIT_BITS, Dict, Entry, FANOUT, HashSeed, LEAF_MAX};

/// Cursors are below 2 to this power; the host may use the bits above.
pub const CURSOR_BITS: u32 = DIGIT_BITS * DEPTH_MAX;

impl<E: Entry> Dict<E> {
    /// Visits about `count` entries (more only if several have the same place) and returns the cursor for the
    /// next call, 0 when all is done. Start with cursor 0. A cursor beyond the last place is done, too.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&E)) -> u64 {
        if cursor >> CURSOR_BITS != 0 {
            return 0;
        }
        let mut scan = Scan { from: cursor, left: count.max(1), seed: self.seed, visit };
        scan.node(&self.root, 0, 0).unwrap_or(0)
    }
}

struct Scan<'a, E> {
    from: u64,
    /// How many entries are still wanted.
    left: usize,
    seed: HashSeed,
    visit: &'a mut dyn FnMut(&E),
}

impl<E: Entry> Scan<'_, E> {
    /// Visits a subtree whose places begin at `start`. Returns the next cursor if it stopped short of an entry.
    fn node(&mut self, node: &Node<E>, start: u64, depth: u32) -> Option<u64> {
        match node {
            Node::Empty => None,
            // Not 0: something before this node was visited.
            _ if self.left == 0 => Some(start),
            Node::Leaf { leaf, .. } => self.leaf(leaf, start, depth),
            Node::Inner { children, .. } => {
                let child_bits = CURSOR_BITS - DIGIT_BITS * (depth + 1);
                let first = (self.from.saturating_sub(start) >> child_bits) as usize;
                (first..FANOUT)
                    .find_map(|i| self.node(&children[i], start + ((i as u64) << child_bits), depth + 1))
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf<E>, start: u64, depth: u32) -> Option<u64> {
        let entries = leaf.entries();
        // At the greatest depth all entries have the same place, and there is no limit to how many.
        if self.from <= start && (entries.len() <= self.left || depth == DEPTH_MAX) {
            entries.iter().for_each(&mut *self.visit);
            self.left = self.left.saturating_sub(entries.len());
            return None;
        }

        // Place in the upper bits, number of the entry below.
        const NUMBER_BITS: u32 = u64::BITS - CURSOR_BITS;
        let mut buffer = [0; LEAF_MAX];
        let mut found = 0;
        for (number, entry) in entries.iter().enumerate() {
            let place = self.seed.hash(entry.key()) >> NUMBER_BITS;
            if place >= self.from {
                buffer[found] = place << NUMBER_BITS | number as u64;
                found += 1;
            }
        }
        let found = &mut buffer[..found];
        let stop = if found.len() <= self.left {
            u64::MAX
        } else {
            *found.select_nth_unstable(self.left - 1).1 >> NUMBER_BITS
        };
        let mut rest = false;
        for &mut item in found {
            if item >> NUMBER_BITS <= stop {
                (self.visit)(&entries[(item & ((1 << NUMBER_BITS) - 1)) as usize]);
                self.left = self.left.saturating_sub(1);
            } else {
                rest = true;
            }
        }
        rest.then(|| stop + 1)
    }
}
