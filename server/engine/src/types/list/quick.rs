//! Long lists: nodes of a few kilobytes in chunks of some hundred nodes.
//!
//! ```text
//! Quicklist   chunks (deque)      nodes of a chunk            node
//! ┌─────┐    ┌────────────┐      ┌───────────────────┐      ┌──────────┐
//! │ len ├───►│ len, Arc ──┼─────►│ count, ptr ───────┼─────►│ listpack │  up to 8 KB, or
//! └─────┘    │ len, Arc   │      │ count, ptr        │      └──────────┘  one large element
//!            └────────────┘      └───────────────────┘ up to CHUNK_NODES_MAX
//! ```
//!
//! Redis links its nodes; here they are in two levels of arrays, for snapshots: after one, a write copies the deque
//! of chunks (16 bytes for each chunk, that is for some 2 MB of elements), one chunk (4 KB) and one node, never the
//! list. An index is found by adding up the chunks' lengths, then the nodes', from the nearer end.
//!
//! Invariants: no chunk and no node is empty; the lengths are sums of what is beneath.

use std::collections::VecDeque;

use triomphe::Arc;

use super::End;
use super::node::{ListLimits, Node};
use crate::ds::Listpack;
use crate::ds::size_class::size_class;
use crate::types::Elem;

/// Nodes of a full chunk.
const CHUNK_NODES_MAX: usize = 256;
/// Neighbours that are this small together become one chunk.
const CHUNK_NODES_MERGE: usize = CHUNK_NODES_MAX / 2;

/// Neighbouring nodes.
#[derive(Clone, Debug)]
struct Chunk {
    /// The number of elements.
    len: usize,
    nodes: Arc<Vec<Node>>,
}

impl Chunk {
    fn new(node: Node) -> Self {
        Self { len: node.len(), nodes: Arc::new(vec![node]) }
    }

    fn is_full(&self) -> bool {
        self.nodes.len() >= CHUNK_NODES_MAX
    }
}

/// A list of any length.
#[derive(Clone, Debug, Default)]
pub struct Quicklist {
    len: usize,
    chunks: VecDeque<Chunk>,
}

/// A node, and an index in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub chunk: usize,
    pub node: usize,
    pub offset: usize,
}

impl Quicklist {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has it no elements?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of nodes.
    pub(super) fn node_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.nodes.len()).sum()
    }

    /// The nodes, from the left.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flat_map(|chunk| chunk.nodes.iter())
    }

    /// The only node, if there is just one.
    pub(super) fn single_node(&self) -> Option<&Node> {
        let chunk = self.chunks.front().filter(|_| self.chunks.len() == 1)?;
        chunk.nodes.first().filter(|_| chunk.nodes.len() == 1)
    }

    /// The node at a place.
    pub(super) fn node(&self, place: Place) -> &Node {
        &self.chunks[place.chunk].nodes[place.node]
    }

    /// The place of the first element of the node after this one.
    pub(super) fn next_node(&self, place: Place) -> Option<Place> {
        if place.node + 1 < self.chunks[place.chunk].nodes.len() {
            return Some(Place { node: place.node + 1, offset: 0, ..place });
        }
        (place.chunk + 1 < self.chunks.len()).then_some(Place { chunk: place.chunk + 1, node: 0, offset: 0 })
    }

    /// The place of the last element of the node before this one.
    pub(super) fn prev_node(&self, place: Place) -> Option<Place> {
        let (chunk, node) = match place.node {
            0 => (place.chunk.checked_sub(1)?, None),
            node => (place.chunk, Some(node - 1)),
        };
        let nodes = &self.chunks[chunk].nodes;
        let node = node.unwrap_or(nodes.len() - 1);
        Some(Place { chunk, node, offset: nodes[node].len() - 1 })
    }

    /// The place of an element that is there, found from the nearer end.
    pub(super) fn locate(&self, index: usize) -> Place {
        assert!(index < self.len, "element {index} of {}", self.len);
        let (chunk, index) = locate_in(self.chunks.len(), |i| self.chunks[i].len, self.len, index);
        let Chunk { len, nodes } = &self.chunks[chunk];
        let (node, offset) = locate_in(nodes.len(), |i| nodes[i].len(), *len, index);
        Place { chunk, node, offset }
    }

    /// The element at one end.
    pub fn end(&self, end: End) -> Option<Elem<'_>> {
        let node = match end {
            End::Left => self.chunks.front()?.nodes.first()?,
            End::Right => self.chunks.back()?.nodes.last()?,
        };
        Some(match end {
            End::Left => node.get(0),
            End::Right => node.get(node.len() - 1),
        })
    }

    /// Adds an element at one end.
    pub fn push(&mut self, end: End, element: Elem<'_>, limits: &ListLimits) {
        self.len += 1;
        let chunk = match end {
            End::Left => self.chunks.front_mut(),
            End::Right => self.chunks.back_mut(),
        };
        if let Some(chunk) = chunk {
            let full = chunk.is_full();
            let last = chunk.nodes.len() - 1;
            let at = if end == End::Left { 0 } else { last };
            if chunk.nodes[at].has_room_for(element.len(), limits) {
                chunk.len += 1;
                let node = &mut Arc::make_mut(&mut chunk.nodes)[at];
                node.insert(if end == End::Left { 0 } else { node.len() }, element);
                return;
            }
            if !full {
                chunk.len += 1;
                let at = if end == End::Left { 0 } else { last + 1 };
                Arc::make_mut(&mut chunk.nodes).insert(at, Node::new(element, limits));
                return;
            }
        }
        let chunk = Chunk::new(Node::new(element, limits));
        match end {
            End::Left => self.chunks.push_front(chunk),
            End::Right => self.chunks.push_back(chunk),
        }
    }

    /// Adds a node on the right.
    pub(super) fn push_node(&mut self, node: Node) {
        self.len += node.len();
        match self.chunks.back_mut() {
            Some(chunk) if !chunk.is_full() => {
                chunk.len += node.len();
                Arc::make_mut(&mut chunk.nodes).push(node);
            }
            _ => self.chunks.push_back(Chunk::new(node)),
        }
    }

    /// Takes the element at one end out; there is one.
    pub fn pop(&mut self, end: End) {
        let chunk = if end == End::Left { 0 } else { self.chunks.len() - 1 };
        let node = if end == End::Left { 0 } else { self.chunks[chunk].nodes.len() - 1 };
        let len = self.chunks[chunk].nodes[node].len();
        let offset = if end == End::Left { 0 } else { len - 1 };
        self.remove_in_node(Place { chunk, node, offset }, 1);
    }

    /// Puts an element before the one at `index`, or at the end.
    pub fn insert(&mut self, index: usize, element: Elem<'_>, limits: &ListLimits) {
        if index == self.len {
            return self.push(End::Right, element, limits);
        }
        let place = self.locate(index);
        let len = element.len();
        if self.node(place).has_room_for(len, limits) {
            return self.insert_in_node(place, element);
        }
        if place.offset > 0 {
            return self.insert_splitting(place, element, limits);
        }
        match self.prev_node(place) {
            Some(prev) if self.node(prev).has_room_for(len, limits) => {
                self.insert_in_node(Place { offset: prev.offset + 1, ..prev }, element);
            }
            _ => {
                self.insert_node(place, Node::new(element, limits));
            }
        }
    }

    /// Puts an element into the middle of a node that has no room for it.
    fn insert_splitting(&mut self, place: Place, element: Elem<'_>, limits: &ListLimits) {
        let nodes = self.nodes_mut(place.chunk);
        let tail = nodes[place.node].split_off(place.offset);
        self.len -= tail.len();
        self.chunks[place.chunk].len -= tail.len();
        let mut right = self.insert_node(Place { node: place.node + 1, ..place }, tail);
        let mut left = self.prev_node(right).expect("the other half");
        if self.node(right).has_room_for(element.len(), limits) {
            self.insert_in_node(Place { offset: 0, ..right }, element);
        } else if self.node(left).has_room_for(element.len(), limits) {
            self.insert_in_node(Place { offset: left.offset + 1, ..left }, element);
        } else {
            let between = self.insert_node(right, Node::new(element, limits));
            left = self.prev_node(between).expect("the left half");
            right = self.next_node(between).expect("the right half");
        }
        // Halves must not pile up where a list is inserted into again and again.
        self.merge_after(right, limits);
        if let Some(before) = self.prev_node(left) {
            self.merge_after(before, limits);
        }
    }

    /// Puts another element in the place of the one at `index`.
    pub fn set(&mut self, index: usize, element: Elem<'_>, limits: &ListLimits) {
        let place = self.locate(index);
        if self.nodes_mut(place.chunk)[place.node].replace(place.offset, element, limits) {
            if self.node(place).len() == 1 {
                // A large element that kept its neighbours apart may be gone.
                self.merge_around(place, limits);
            }
        } else {
            self.remove_in_node(place, 1);
            self.insert(index, element, limits);
        }
    }

    /// Takes `count` elements from `index` on out. Whole chunks of them are handed back: the caller may want to drop
    /// them elsewhere.
    pub fn remove_range(&mut self, index: usize, count: usize, limits: &ListLimits) -> Quicklist {
        let mut cut = Quicklist::default();
        let mut left = count.min(self.len - index.min(self.len));
        while left > 0 {
            let place = self.locate(index);
            if place.node == 0 && place.offset == 0 {
                let from = place.chunk;
                let mut upto = from;
                let mut len = 0;
                while let Some(chunk) = self.chunks.get(upto).filter(|chunk| len + chunk.len <= left) {
                    len += chunk.len;
                    upto += 1;
                }
                if len > 0 {
                    cut.chunks.extend(self.chunks.drain(from..upto));
                    cut.len += len;
                    self.len -= len;
                    left -= len;
                    continue;
                }
            }
            let here = left.min(self.node(place).len() - place.offset);
            self.remove_in_node(place, here);
            left -= here;
        }
        if index > 0 && index < self.len {
            let place = self.locate(index);
            if place.offset == 0
                && let Some(before) = self.prev_node(place)
            {
                self.merge_after(before, limits);
            }
        }
        cut
    }

    /// Takes up to `max` elements that read as `needle` out, from the left or the right; answers how many.
    pub fn remove_matches(&mut self, needle: &[u8], max: usize, from: End, limits: &ListLimits) -> usize {
        let mut removed = 0;
        let start = match from {
            End::Left => 0,
            End::Right => self.len - 1,
        };
        let mut at = Some(self.locate(start));
        while let Some(place) = at.filter(|_| removed < max) {
            let prev = self.prev_node(place);
            let mut next = self.next_node(place);
            if self.node(place).contains(needle) {
                let here = self.remove_matches_in_node(place, needle, max - removed, from);
                removed += here.removed;
                if here.node_is_gone {
                    // Places on the left of it have stayed the same.
                    next = match prev {
                        // The half that has been searched already holds nothing more to be removed.
                        Some(prev) if self.merge_after(prev, limits) => Some(prev),
                        Some(prev) => self.next_node(prev),
                        None => (self.len > 0).then(|| self.locate(0)),
                    };
                }
            }
            at = match from {
                End::Left => next,
                End::Right => prev,
            };
        }
        removed
    }

    fn remove_matches_in_node(&mut self, place: Place, needle: &[u8], max: usize, from: End) -> Removed {
        let count = self.node(place).len();
        if count == 1 {
            self.remove_in_node(Place { offset: 0, ..place }, 1);
            return Removed { removed: 1, node_is_gone: true };
        }
        let node = &mut self.nodes_mut(place.chunk)[place.node];
        let removed = node.remove_matches(needle, max, from == End::Right);
        self.len -= removed;
        self.chunks[place.chunk].len -= removed;
        if removed == count {
            self.remove_node(place);
        }
        Removed { removed, node_is_gone: removed == count }
    }

    /// Bytes of heap; `samples` nodes stand for the rest (0: all).
    pub(super) fn heap_size(&self, samples: usize) -> usize {
        let nodes = self.node_count();
        let counted = if samples == 0 { nodes } else { samples.min(nodes) };
        let bytes: usize = self.nodes().take(counted).map(Node::heap_size).sum();
        let beneath = if counted == 0 { 0 } else { (bytes as f64 / counted as f64 * nodes as f64) as usize };
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| {
                size_class(size_of::<usize>() + size_of::<Vec<Node>>())
                    + size_class(chunk.nodes.capacity() * size_of::<Node>())
            })
            .sum();
        let spine = size_class(self.chunks.capacity() * size_of::<Chunk>());
        size_class(size_of::<usize>() + size_of::<Self>()) + spine + chunks + beneath
    }

    fn nodes_mut(&mut self, chunk: usize) -> &mut Vec<Node> {
        Arc::make_mut(&mut self.chunks[chunk].nodes)
    }

    fn insert_in_node(&mut self, place: Place, element: Elem<'_>) {
        self.len += 1;
        self.chunks[place.chunk].len += 1;
        self.nodes_mut(place.chunk)[place.node].insert(place.offset, element);
    }

    /// Puts a node before the one at `place` (or at the end of that chunk); answers where it is.
    fn insert_node(&mut self, place: Place, node: Node) -> Place {
        let mut place = Place { offset: 0, ..place };
        if self.chunks[place.chunk].is_full() {
            let tail = self.nodes_mut(place.chunk).split_off(CHUNK_NODES_MAX / 2);
            let len = tail.iter().map(Node::len).sum();
            self.chunks[place.chunk].len -= len;
            self.chunks.insert(place.chunk + 1, Chunk { len, nodes: Arc::new(tail) });
            if place.node > CHUNK_NODES_MAX / 2 {
                place = Place { chunk: place.chunk + 1, node: place.node - CHUNK_NODES_MAX / 2, offset: 0 };
            }
        }
        self.len += node.len();
        self.chunks[place.chunk].len += node.len();
        self.nodes_mut(place.chunk).insert(place.node, node);
        place
    }

    /// Takes `count` elements from `place` on, all of one node, out.
    fn remove_in_node(&mut self, place: Place, count: usize) {
        self.len -= count;
        self.chunks[place.chunk].len -= count;
        if count == self.node(place).len() {
            self.remove_node(place);
        } else {
            self.nodes_mut(place.chunk)[place.node].remove(place.offset, count);
        }
    }

    /// Takes a node out whose elements have been subtracted already.
    fn remove_node(&mut self, place: Place) {
        if self.chunks[place.chunk].nodes.len() == 1 {
            self.chunks.remove(place.chunk);
        } else {
            self.nodes_mut(place.chunk).remove(place.node);
            self.merge_chunks(place.chunk);
        }
    }

    /// Joins a chunk that has become small with its neighbour on the right, so that a list thinned out keeps few.
    fn merge_chunks(&mut self, left: usize) {
        let Some(right) = self.chunks.get(left + 1) else { return };
        // Both ends of a queue wear down and fill up all the time: they are left alone.
        let at_an_end = left == 0 || left + 2 == self.chunks.len();
        if at_an_end || self.chunks[left].nodes.len() + right.nodes.len() > CHUNK_NODES_MERGE {
            return;
        }
        let right = self.chunks.remove(left + 1).expect("just seen");
        self.chunks[left].len += right.len;
        self.nodes_mut(left).extend(right.nodes.iter().cloned());
    }

    /// Makes one node of this and the next if they fit; false when not.
    fn merge_after(&mut self, place: Place, limits: &ListLimits) -> bool {
        let Some(next) = self.next_node(place) else { return false };
        if !self.node(place).fits_with(self.node(next), limits) {
            return false;
        }
        let tail = self.node(next).clone();
        // The elements change chunk, at most.
        self.chunks[next.chunk].len -= tail.len();
        self.chunks[place.chunk].len += tail.len();
        self.nodes_mut(place.chunk)[place.node].append_all(&tail);
        self.remove_node(next);
        true
    }

    /// Joins a node with its neighbours where they fit.
    fn merge_around(&mut self, place: Place, limits: &ListLimits) {
        self.merge_after(place, limits);
        if let Some(before) = self.prev_node(place) {
            self.merge_after(before, limits);
        }
    }

    /// Panics when the figures are not those of the nodes.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for chunk in &self.chunks {
            assert!(!chunk.nodes.is_empty() && chunk.nodes.len() <= CHUNK_NODES_MAX);
            assert_eq!(chunk.len, chunk.nodes.iter().map(Node::len).sum::<usize>());
            for node in chunk.nodes.iter() {
                assert!(node.len() > 0);
                if let Node::Packed { count, pack } = node {
                    assert_eq!(*count as usize, pack.len());
                }
            }
        }
        assert_eq!(self.len, self.chunks.iter().map(|chunk| chunk.len).sum::<usize>());
    }

    /// Bytes that a write copies after a snapshot beside a node: for all chunks, and for the one that changes.
    #[cfg(test)]
    pub(super) fn spine_bytes(&self) -> (usize, usize) {
        (self.chunks.len() * size_of::<Chunk>(), CHUNK_NODES_MAX * size_of::<Node>())
    }
}

/// What [`Quicklist::remove_matches_in_node`] did.
struct Removed {
    removed: usize,
    node_is_gone: bool,
}

impl From<Listpack> for Quicklist {
    /// The elements of a listpack as the first node, if there are any.
    fn from(pack: Listpack) -> Self {
        let mut quick = Self::default();
        if !pack.is_empty() {
            quick.push_node(Node::packed(pack));
        }
        quick
    }
}

/// Which of `parts` runs of elements, `total` in all, holds element `index`, and where in it.
fn locate_in(parts: usize, len: impl Fn(usize) -> usize, total: usize, index: usize) -> (usize, usize) {
    if index < total / 2 {
        let mut index = index;
        for part in 0..parts {
            if index < len(part) {
                return (part, index);
            }
            index -= len(part);
        }
    } else {
        let mut after = total - index;
        for part in (0..parts).rev() {
            if after <= len(part) {
                return (part, len(part) - after);
            }
            after -= len(part);
        }
    }
    unreachable!("the parts have {total} elements in all")
}
