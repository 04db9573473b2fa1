//! List values: one listpack while the list is small, a deque of nodes beyond.
//!
//! | file    | what                                                        |
//! |---------|-------------------------------------------------------------|
//! | `node`  | [`ListLimits`]; a node: a listpack or one large element       |
//! | `quick` | [`Quicklist`]: the nodes of a long list                       |
//! | `iter`  | [`Iter`]: elements in order, from either end                  |
//!
//! When a list changes its encoding follows Redis 7.2: it grows out of the listpack before it would exceed one node's
//! limits, and goes back once it is a single node of at most half of them (see [`List::shrink`]).

mod iter;
mod node;
mod quick;
#[cfg(test)]
mod tests;

pub use iter::Iter;
pub use node::ListLimits;
pub use quick::Quicklist;

use triomphe::Arc;

use super::Elem;
use crate::ds::listpack::canonical_int;
use crate::ds::{Listpack, SharedBuf};
use node::Node;

/// A list. 16 bytes; a clone shares everything with it, and a write then copies no more than one node and a small
/// index of the nodes.
#[derive(Clone, Debug)]
pub enum List {
    Packed(Listpack),
    Quick(Arc<Quicklist>),
}

/// One of a list's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

/// A node as RDB files hold it.
#[derive(Clone, Copy, Debug)]
pub enum ListNode<'a> {
    Packed(&'a Listpack),
    Plain(&'a [u8]),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// A list of these elements.
    pub fn from_elements<'a>(elements: impl IntoIterator<Item: Into<Elem<'a>>>, limits: &ListLimits) -> Self {
        let mut list = Self::new();
        for element in elements {
            list.push(End::Right, element, limits);
        }
        list
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len(),
            Self::Quick(quick) => quick.len(),
        }
    }

    /// Has it no elements?
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Quick(quick) => quick.is_empty(),
        }
    }

    /// The element `index`; -1 is the last one.
    pub fn get(&self, index: i64) -> Option<Elem<'_>> {
        match self {
            Self::Packed(pack) => pack.at(index).map(Elem::from),
            Self::Quick(quick) => {
                let place = quick.locate(self.position(index)?);
                Some(quick.node(place).get(place.offset))
            }
        }
    }

    /// The element at one end.
    pub fn end(&self, end: End) -> Option<Elem<'_>> {
        match (self, end) {
            (Self::Packed(pack), End::Left) => pack.first().map(|pos| pack.get(pos).into()),
            (Self::Packed(pack), End::Right) => pack.last().map(|pos| pack.get(pos).into()),
            (Self::Quick(quick), end) => quick.end(end),
        }
    }

    /// All elements, from the left.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0, usize::MAX)
    }

    /// Up to `count` elements from `index` on, to the right.
    pub fn range(&self, index: usize, count: usize) -> Iter<'_> {
        Iter::new(self, index, count, End::Left)
    }

    /// Up to `count` elements from `index` on, to the left. `index` is that of an element.
    pub fn range_back(&self, index: usize, count: usize) -> Iter<'_> {
        Iter::new(self, index, count, End::Right)
    }

    /// The indices, counted from the left, of elements that read as `needle` among the first `max_len` from one end
    /// on, in that order.
    pub fn matches(&self, needle: &[u8], from: End, max_len: usize) -> impl Iterator<Item = usize> {
        let int = canonical_int(needle);
        let len = self.len();
        let elements = match from {
            End::Left => self.range(0, max_len),
            End::Right => self.range_back(len.saturating_sub(1), max_len),
        };
        let is_match = move |element: &Elem<'_>| match element {
            Elem::Int(value) => int == Some(*value),
            _ => element.with_bytes(|bytes| bytes == needle),
        };
        elements.enumerate().filter(move |(_, element)| is_match(element)).map(move |(i, _)| match from {
            End::Left => i,
            End::Right => len - 1 - i,
        })
    }

    /// Adds an element at one end.
    pub fn push<'a>(&mut self, end: End, element: impl Into<Elem<'a>>, limits: &ListLimits) {
        let element = element.into();
        self.grow(element.len(), 1, limits);
        self.push_grown(end, element, limits);
    }

    /// Adds elements at one end, one after the other.
    pub fn push_all(&mut self, end: End, elements: &[&[u8]], limits: &ListLimits) {
        self.grow(elements.iter().map(|element| element.len()).sum(), elements.len(), limits);
        match self {
            Self::Packed(pack) if end == End::Right && elements.len() > 1 => {
                pack.append_many(elements.iter().copied());
            }
            _ => elements.iter().for_each(|&element| self.push_grown(end, element.into(), limits)),
        }
    }

    fn push_grown(&mut self, end: End, element: Elem<'_>, limits: &ListLimits) {
        match (self, end) {
            (Self::Packed(pack), End::Left) => pack.prepend(element.to_item()),
            (Self::Packed(pack), End::Right) => pack.append(element.to_item()),
            (Self::Quick(quick), end) => Arc::make_mut(quick).push(end, element, limits),
        }
    }

    /// Takes the element at one end out, if there is one. The encoding stays as it is: see [`List::shrink`].
    pub fn pop(&mut self, end: End) {
        match (self, end) {
            (Self::Packed(pack), End::Left) => {
                pack.first().map(|pos| pack.delete(pos));
            }
            (Self::Packed(pack), End::Right) => {
                pack.last().map(|pos| pack.delete(pos));
            }
            (Self::Quick(quick), end) if !quick.is_empty() => Arc::make_mut(quick).pop(end),
            _ => {}
        }
    }

    /// Puts another element in the place of the one at `index` (-1: the last). False when there is none.
    pub fn set(&mut self, index: i64, element: &[u8], limits: &ListLimits) -> bool {
        let Some(index) = self.position(index) else { return false };
        self.grow(element.len(), 1, limits);
        match self {
            Self::Packed(pack) => {
                let pos = pack.seek(index as i64).expect("a position below the length");
                pack.replace(pos, element);
            }
            Self::Quick(quick) => Arc::make_mut(quick).set(index, element.into(), limits),
        }
        true
    }

    /// Puts an element before the one at `index`, or at the end when `index` is the length.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &ListLimits) {
        self.grow(element.len(), 1, limits);
        match self {
            Self::Packed(pack) => {
                let pos = pack.seek(index as i64).unwrap_or(pack.end());
                pack.insert_before(pos, element);
            }
            Self::Quick(quick) => Arc::make_mut(quick).insert(index, element.into(), limits),
        }
    }

    /// Takes up to `max` elements that read as `needle` out, from one end on; answers how many. The encoding stays.
    pub fn remove_matches(&mut self, needle: &[u8], max: usize, from: End, limits: &ListLimits) -> usize {
        match self {
            Self::Packed(pack) => node::remove_matches(pack, needle, max, from == End::Right),
            // Looked for first: to take nothing out must not copy what a snapshot shares.
            Self::Quick(quick) if quick.nodes().any(|node| node.contains(needle)) => {
                Arc::make_mut(quick).remove_matches(needle, max, from, limits)
            }
            Self::Quick(_) => 0,
        }
    }

    /// Takes up to `count` elements from `index` on out; the encoding stays. What was cut out of a long list comes
    /// back if it is much, to be dropped elsewhere.
    pub fn remove_range(&mut self, index: usize, count: usize, limits: &ListLimits) -> Option<Self> {
        match self {
            Self::Packed(pack) => {
                pack.delete_range(index as i64, count);
                None
            }
            Self::Quick(quick) => {
                let cut = Arc::make_mut(quick).remove_range(index, count, limits);
                (!cut.is_empty()).then(|| Self::Quick(Arc::new(cut)))
            }
        }
    }

    /// After elements were taken out or replaced: goes back to a listpack when that would be at most half full,
    /// so that a list that grows and shrinks by a little does not change all the time.
    pub fn shrink(&mut self, limits: &ListLimits) {
        let (bytes_max, count_max) = limits.bounds();
        self.unite(bytes_max / 2, count_max / 2);
    }

    /// Becomes a listpack when it is a single node within these bounds.
    fn unite(&mut self, bytes_max: usize, count_max: usize) {
        if let Self::Quick(quick) = self
            && let Some(Node::Packed { count, pack }) = quick.single_node()
            && pack.bytes().len() <= bytes_max
            && *count as usize <= count_max
        {
            *self = Self::Packed(pack.clone());
        }
    }

    /// Becomes a deque of nodes when so much more would be too much for a listpack.
    fn grow(&mut self, bytes: usize, count: usize, limits: &ListLimits) {
        if let Self::Packed(pack) = self
            && limits.exceeded_by(pack.bytes().len() + bytes, pack.len() + count)
        {
            *self = Self::Quick(Arc::new(Quicklist::from(std::mem::take(pack))));
        }
    }

    /// The index of an element, counted from the left; `None` when there is none.
    fn position(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = if index < 0 { index + len as i64 } else { index };
        usize::try_from(index).ok().filter(|&index| index < len)
    }

    /// The number of nodes, for RDB files. One for a listpack.
    pub fn node_count(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Quick(quick) => quick.node_count(),
        }
    }

    /// The nodes from the left, for RDB files.
    pub fn nodes(&self) -> impl Iterator<Item = ListNode<'_>> {
        let (pack, quick) = match self {
            Self::Packed(pack) => (Some(ListNode::Packed(pack)), None),
            Self::Quick(quick) => (None, Some(quick)),
        };
        pack.into_iter().chain(quick.into_iter().flat_map(|quick| quick.nodes()).map(|node| match node {
            Node::Packed { pack, .. } => ListNode::Packed(pack),
            Node::Plain(buf) => ListNode::Plain(buf),
        }))
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Quick(_) => "quicklist",
        }
    }

    /// Allocations that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        self.node_count()
    }

    /// Bytes of heap that the value holds; `samples` nodes stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.as_shared().heap_size(),
            Self::Quick(quick) => quick.heap_size(samples),
        }
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = Elem<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// A list made of nodes that were read from an RDB file.
#[derive(Default)]
pub struct ListLoader(Quicklist);

impl ListLoader {
    /// No nodes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node of packed elements; one without any is passed over.
    pub fn packed(&mut self, pack: Listpack) {
        if !pack.is_empty() {
            self.0.push_node(Node::packed(pack));
        }
    }

    /// Adds a node that is one element.
    pub fn plain(&mut self, element: SharedBuf) {
        self.0.push_node(Node::Plain(element));
    }

    /// The list, in the encoding that fits; `None` when it has no elements.
    pub fn finish(self, limits: &ListLimits) -> Option<List> {
        if self.0.is_empty() {
            return None;
        }
        let mut list = List::Quick(Arc::new(self.0));
        let (bytes_max, count_max) = limits.bounds();
        list.unite(bytes_max, count_max);
        Some(list)
    }
}
