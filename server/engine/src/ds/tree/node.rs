//! The nodes of a [`CowTree`](super::CowTree): searching, splitting, mending.

use std::cmp::Ordering;
use std::mem;
use std::ops::Range;

use triomphe::Arc;

use crate::ds::size_class::{capacity_for, size_class};

/// Most entries of a leaf and most children of an inner node.
pub(super) const WIDTH_MAX: usize = 64;
/// Fewest, but for the nodes at the ends. A node that falls below is joined with a neighbour.
pub(super) const WIDTH_MIN: usize = 16;

pub(super) enum Node<K, V> {
    Leaf(Arc<Leaf<K, V>>),
    Inner(Arc<Inner<K, V>>),
}

pub(super) struct Leaf<K, V> {
    pub(super) entries: Vec<(K, V)>,
}

pub(super) struct Inner<K, V> {
    /// One less than there are children.
    pub(super) seps: Vec<K>,
    pub(super) counts: Vec<usize>,
    pub(super) children: Vec<Node<K, V>>,
}

/// What an insertion did below.
pub(super) enum Inserted<K, V> {
    Replaced(V),
    /// The node may have become two.
    Added(Option<Split<K, V>>),
}

/// The right part of a node that was split, and the separator between the two.
pub(super) struct Split<K, V> {
    sep: K,
    right: Node<K, V>,
}

/// Whether a node is the first, the last, both or none on its level.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    left: bool,
    right: bool,
}

impl Edge {
    pub(super) const BOTH: Self = Self { left: true, right: true };

    fn of_child(self, i: usize, children: usize) -> Self {
        Self { left: self.left && i == 0, right: self.right && i + 1 == children }
    }

    fn is_any(self) -> bool {
        self.left || self.right
    }
}

/// What to look for on the way down.
pub(super) trait Seek<K> {
    fn child(&mut self, seps: &[K], counts: &[usize]) -> usize;
    fn entry<V>(&mut self, entries: &[(K, V)]) -> Option<usize>;
}

/// By what `cmp(key)` says, as [`slice::binary_search_by`] understands it.
pub(super) struct ByKey<'a, F>(pub(super) &'a mut F);

impl<K, F: FnMut(&K) -> Ordering> Seek<K> for ByKey<'_, F> {
    #[inline]
    fn child(&mut self, seps: &[K], _counts: &[usize]) -> usize {
        partition_point(seps, |sep| (self.0)(sep).is_le())
    }

    #[inline]
    fn entry<V>(&mut self, entries: &[(K, V)]) -> Option<usize> {
        let i = partition_point(entries, |(key, _)| (self.0)(key).is_lt());
        entries.get(i).filter(|(key, _)| (self.0)(key).is_eq()).map(|_| i)
    }
}

/// By rank within the node at hand.
pub(super) struct ByRank(pub(super) usize);

impl<K> Seek<K> for ByRank {
    #[inline]
    fn child(&mut self, _seps: &[K], counts: &[usize]) -> usize {
        let (i, offset) = child_of_rank(counts, self.0);
        self.0 = offset;
        i
    }

    #[inline]
    fn entry<V>(&mut self, entries: &[(K, V)]) -> Option<usize> {
        (self.0 < entries.len()).then_some(self.0)
    }
}

/// As [`slice::partition_point`], but with steps instead of halves: as many comparisons in a node of this size,
/// and which memory they need is known before they are made. A large tree's leaf is not in the cache; halving
/// waits for it six times, one after the other, this once or twice.
#[inline]
pub(super) fn partition_point<T>(items: &[T], mut pred: impl FnMut(&T) -> bool) -> usize {
    const STEP: usize = 8;
    let mut i = 0;
    while let Some(item) = items.get(i + STEP - 1)
        && pred(item)
    {
        i += STEP;
    }
    while let Some(item) = items.get(i)
        && pred(item)
    {
        i += 1;
    }
    i
}

/// The child in which `rank` lies, and the rank within it.
#[inline]
fn child_of_rank(counts: &[usize], rank: usize) -> (usize, usize) {
    let mut offset = rank;
    for (i, &count) in counts.iter().enumerate() {
        if offset < count {
            return (i, offset);
        }
        offset -= count;
    }
    unreachable!("rank {rank} is not below the sum of {counts:?}")
}

impl<K, V> Node<K, V> {
    pub(super) fn single(key: K, value: V) -> Self {
        Leaf { entries: vec![(key, value)] }.into()
    }

    /// Entries under this node.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.entries.len(),
            Node::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// Entries or children in this node.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.entries.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }

    /// The leaf that holds `rank` (which is below `count`), and the rank within it.
    pub(super) fn leaf_at(&self, rank: usize) -> (&[(K, V)], usize) {
        let mut node = self;
        let mut offset = rank;
        loop {
            match node {
                Node::Leaf(leaf) => return (&leaf.entries, offset),
                Node::Inner(inner) => {
                    let (i, within) = child_of_rank(&inner.counts, offset);
                    node = &inner.children[i];
                    offset = within;
                }
            }
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        match self {
            Node::Leaf(leaf) => arc_size::<Leaf<K, V>>() + vec_size(&leaf.entries),
            Node::Inner(inner) => {
                let own = vec_size(&inner.seps) + vec_size(&inner.counts) + vec_size(&inner.children);
                let below: usize = inner.children.iter().map(Node::heap_size).sum();
                arc_size::<Inner<K, V>>() + own + below
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V, edge: Edge) -> Inserted<K, V> {
        match self {
            Node::Leaf(leaf) => Arc::make_mut(leaf).insert(key, value, edge),
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let i = partition_point(&inner.seps, |sep| *sep <= key);
                let child_edge = edge.of_child(i, inner.children.len());
                match inner.children[i].insert(key, value, child_edge) {
                    Inserted::Added(None) => {
                        inner.counts[i] += 1;
                        Inserted::Added(None)
                    }
                    Inserted::Added(Some(split)) => Inserted::Added(inner.adopt(i, split, edge)),
                    replaced => replaced,
                }
            }
        }
    }
}

impl<K: Clone, V: Clone> Node<K, V> {
    pub(super) fn get_mut(&mut self, seek: &mut impl Seek<K>) -> Option<(&K, &mut V)> {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let i = seek.entry(&leaf.entries)?;
                    let (key, value) = &mut Arc::make_mut(leaf).entries[i];
                    return Some((key, value));
                }
                Node::Inner(inner) => {
                    let i = seek.child(&inner.seps, &inner.counts);
                    node = &mut Arc::make_mut(inner).children[i];
                }
            }
        }
    }

    pub(super) fn remove(&mut self, seek: &mut impl Seek<K>, edge: Edge) -> Option<(K, V)> {
        match self {
            Node::Leaf(leaf) => {
                let i = seek.entry(&leaf.entries)?;
                let entries = &mut Arc::make_mut(leaf).entries;
                let entry = entries.remove(i);
                give_back(entries);
                Some(entry)
            }
            Node::Inner(inner) => {
                let i = seek.child(&inner.seps, &inner.counts);
                let inner = Arc::make_mut(inner);
                let child_edge = edge.of_child(i, inner.children.len());
                let entry = inner.children[i].remove(seek, child_edge)?;
                inner.counts[i] -= 1;
                inner.mend(i, edge);
                Some(entry)
            }
        }
    }

    /// Removes the entries of `ranks`, which are some but not all of this node's.
    pub(super) fn remove_range(&mut self, ranks: Range<usize>, edge: Edge, removed: &mut dyn FnMut(K, V)) {
        match self {
            Node::Leaf(leaf) => {
                let entries = &mut Arc::make_mut(leaf).entries;
                entries.drain(ranks).for_each(|(key, value)| removed(key, value));
                give_back(entries);
            }
            Node::Inner(inner) => Arc::make_mut(inner).remove_range(ranks, edge, removed),
        }
    }

    /// Hands over all entries.
    pub(super) fn consume(self, removed: &mut dyn FnMut(K, V)) {
        match self {
            Node::Leaf(leaf) => {
                let entries = Arc::unwrap_or_clone(leaf).entries;
                entries.into_iter().for_each(|(key, value)| removed(key, value));
            }
            Node::Inner(inner) => {
                let children = Arc::unwrap_or_clone(inner).children;
                children.into_iter().for_each(|child| child.consume(removed));
            }
        }
    }

    /// The child, if this is an inner node with no other.
    pub(super) fn take_only_child(&mut self) -> Option<Self> {
        match self {
            Node::Inner(inner) if inner.children.len() == 1 => Arc::make_mut(inner).children.pop(),
            _ => None,
        }
    }
}

impl<K: Ord + Clone, V> Leaf<K, V> {
    fn insert(&mut self, key: K, value: V, edge: Edge) -> Inserted<K, V> {
        let i = partition_point(&self.entries, |(probe, _)| *probe < key);
        if let Some((_, old)) = self.entries.get_mut(i).filter(|(probe, _)| *probe == key) {
            return Inserted::Replaced(mem::replace(old, value));
        }
        let entry = (key, value);
        if self.entries.len() < WIDTH_MAX {
            insert_lean(&mut self.entries, i, entry);
            return Inserted::Added(None);
        }
        let right = if edge.right && i == WIDTH_MAX {
            vec![entry]
        } else if edge.left && i == 0 {
            mem::replace(&mut self.entries, vec![entry])
        } else {
            let middle = WIDTH_MAX / 2;
            let mut right = split_off_lean(&mut self.entries, middle);
            if i <= middle {
                insert_lean(&mut self.entries, i, entry);
            } else {
                insert_lean(&mut right, i - middle, entry);
            }
            right
        };
        let sep = right[0].0.clone();
        Inserted::Added(Some(Split { sep, right: Leaf { entries: right }.into() }))
    }
}

impl<K, V> Inner<K, V> {
    /// A new root over the two parts of the old one.
    pub(super) fn joining(left: Node<K, V>, split: Split<K, V>) -> Self {
        let counts = vec![left.count(), split.right.count()];
        Self { seps: vec![split.sep], counts, children: vec![left, split.right] }
    }

    fn alone(child: Node<K, V>) -> Self {
        Self { seps: Vec::new(), counts: vec![child.count()], children: vec![child] }
    }

    /// Child `i` was split: takes in its right part. May have to split itself.
    fn adopt(&mut self, i: usize, split: Split<K, V>, edge: Edge) -> Option<Split<K, V>> {
        self.counts[i] = self.children[i].count();
        if self.children.len() < WIDTH_MAX {
            self.insert_child(i + 1, split);
            return None;
        }
        if edge.right && i + 1 == WIDTH_MAX {
            return Some(Split { sep: split.sep, right: Self::alone(split.right).into() });
        }
        if edge.left && i == 0 {
            self.counts[0] = split.right.count();
            let first = Self::alone(mem::replace(&mut self.children[0], split.right));
            let right = mem::replace(self, first);
            return Some(Split { sep: split.sep, right: right.into() });
        }
        let middle = WIDTH_MAX / 2;
        let (sep, mut right) = self.split_off(middle);
        if i < middle {
            self.insert_child(i + 1, split);
        } else {
            right.insert_child(i + 1 - middle, split);
        }
        Some(Split { sep, right: right.into() })
    }

    /// Makes the right part of a split child number `i`, which is not 0.
    fn insert_child(&mut self, i: usize, split: Split<K, V>) {
        insert_lean(&mut self.seps, i - 1, split.sep);
        insert_lean(&mut self.counts, i, split.right.count());
        insert_lean(&mut self.children, i, split.right);
    }

    /// Removes child `i`; answers the separator before it (or, of the first, after it) with it.
    fn remove_child(&mut self, i: usize) -> (Option<K>, Node<K, V>) {
        let sep = (!self.seps.is_empty()).then(|| self.seps.remove(i.saturating_sub(1)));
        self.counts.remove(i);
        (sep, self.children.remove(i))
    }

    /// Cuts before child `middle`; answers the separator there and the right part.
    fn split_off(&mut self, middle: usize) -> (K, Self) {
        let seps = split_off_lean(&mut self.seps, middle);
        let counts = split_off_lean(&mut self.counts, middle);
        let children = split_off_lean(&mut self.children, middle);
        let sep = self.seps.pop().expect("two parts have a separator between them");
        (sep, Self { seps, counts, children })
    }
}

impl<K: Clone, V: Clone> Inner<K, V> {
    fn remove_range(&mut self, ranks: Range<usize>, edge: Edge, removed: &mut dyn FnMut(K, V)) {
        let (mut i, offset) = child_of_rank(&self.counts, ranks.start);
        let mut rest = ranks.len();
        let trimmed = self.counts[i] - offset;
        if offset > 0 || rest < self.counts[i] {
            let taken = rest.min(trimmed);
            self.remove_from_child(i, offset..offset + taken, edge, removed);
            rest -= taken;
            i += 1;
        }
        let first_whole = i;
        while i < self.counts.len() && rest >= self.counts[i] {
            rest -= self.counts[i];
            i += 1;
        }
        if first_whole < i {
            // Of the separators around the gap, the one on its left goes, unless there is none.
            let first_sep = first_whole.saturating_sub(1);
            let seps = self.seps.len();
            self.seps.drain(first_sep..(first_sep + i - first_whole).min(seps));
            self.counts.drain(first_whole..i);
            self.children.drain(first_whole..i).for_each(|child| child.consume(removed));
        }
        let i = first_whole;
        if rest > 0 {
            self.remove_from_child(i, 0..rest, edge, removed);
        }
        // What is left of the two trimmed children now lies side by side. The right one first: mending it
        // moves nothing to its left.
        if i < self.children.len() {
            self.mend(i, edge);
        }
        if i > 0 {
            self.mend(i - 1, edge);
        }
        self.give_back();
    }

    fn remove_from_child(
        &mut self,
        i: usize,
        ranks: Range<usize>,
        edge: Edge,
        removed: &mut dyn FnMut(K, V),
    ) {
        let child_edge = edge.of_child(i, self.children.len());
        self.counts[i] -= ranks.len();
        self.children[i].remove_range(ranks, child_edge, removed);
    }

    /// Child `i` may have become too small: if it is empty it goes, otherwise it is joined with a neighbour.
    fn mend(&mut self, i: usize, edge: Edge) {
        let width = self.children[i].width();
        if width == 0 {
            self.remove_child(i);
            self.give_back();
            return;
        }
        // With no neighbour here, the parent joins this node with one of its own, and looks at the seam.
        let children = self.children.len();
        if width < WIDTH_MIN && !edge.of_child(i, children).is_any() && children > 1 {
            self.join(i.saturating_sub(1), edge);
        }
    }

    /// Makes of children `i` and `i + 1` one, or two of even size if they are too much for one.
    fn join(&mut self, i: usize, edge: Edge) {
        let (sep, right) = self.remove_child(i + 1);
        let child_edge = edge.of_child(i, self.children.len());
        let split = match (&mut self.children[i], right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let entries = &mut Arc::make_mut(left).entries;
                append_lean(entries, Arc::unwrap_or_clone(right).entries);
                (entries.len() > WIDTH_MAX).then(|| {
                    let right = split_off_lean(entries, entries.len() / 2);
                    Split { sep: right[0].0.clone(), right: Leaf { entries: right }.into() }
                })
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let left = Arc::make_mut(left);
                let right = Arc::unwrap_or_clone(right);
                let seam = left.children.len();
                insert_lean(
                    &mut left.seps,
                    seam - 1,
                    sep.expect("two children have a separator between them"),
                );
                append_lean(&mut left.seps, right.seps);
                append_lean(&mut left.counts, right.counts);
                append_lean(&mut left.children, right.children);
                // An only child had no neighbour to be joined with; now it has.
                left.mend(seam, child_edge);
                left.mend(seam - 1, child_edge);
                (left.children.len() > WIDTH_MAX).then(|| {
                    let (sep, right) = left.split_off(left.children.len() / 2);
                    Split { sep, right: right.into() }
                })
            }
            _ => unreachable!("all leaves are at the same depth"),
        };
        self.counts[i] = self.children[i].count();
        if let Some(split) = split {
            self.insert_child(i + 1, split);
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        give_back(&mut self.seps);
        give_back(&mut self.counts);
        give_back(&mut self.children);
    }
}

/// Builds a tree from entries in order, with all nodes full but the last of each level.
pub(super) struct Packer<K, V> {
    leaf: Vec<(K, V)>,
    leaves: Vec<Node<K, V>>,
    seps: Vec<K>,
    len: usize,
}

impl<K: Clone, V> Packer<K, V> {
    pub(super) fn new() -> Self {
        Self { leaf: Vec::new(), leaves: Vec::new(), seps: Vec::new(), len: 0 }
    }

    pub(super) fn last_key(&self) -> Option<&K> {
        self.leaf.last().map(|(key, _)| key)
    }

    /// `key` is greater than the last.
    pub(super) fn push(&mut self, key: K, value: V) {
        if self.leaf.len() == WIDTH_MAX {
            self.seps.push(key.clone());
            // The first leaf grows as needed, for there may be no second.
            let full = mem::replace(&mut self.leaf, Vec::with_capacity(WIDTH_MAX));
            self.leaves.push(Leaf { entries: full }.into());
        }
        push_lean(&mut self.leaf, (key, value));
        self.len += 1;
    }

    /// The root and the number of entries.
    pub(super) fn finish(mut self) -> (Option<Node<K, V>>, usize) {
        if self.leaf.is_empty() {
            return (None, 0);
        }
        give_back(&mut self.leaf);
        self.leaves.push(Leaf { entries: self.leaf }.into());
        let (mut level, mut seps) = (self.leaves, self.seps);
        while level.len() > 1 {
            let mut upper = Vec::with_capacity(level.len().div_ceil(WIDTH_MAX));
            let mut upper_seps = Vec::with_capacity(upper.capacity());
            let mut nodes = level.into_iter().peekable();
            let mut seps_between = seps.into_iter();
            while nodes.peek().is_some() {
                let children: Vec<_> = nodes.by_ref().take(WIDTH_MAX).collect();
                let counts = children.iter().map(Node::count).collect();
                let seps = seps_between.by_ref().take(children.len() - 1).collect();
                upper.push(Inner { seps, counts, children }.into());
                upper_seps.extend(seps_between.next());
            }
            (level, seps) = (upper, upper_seps);
        }
        (level.pop(), self.len)
    }
}

impl<K, V> From<Leaf<K, V>> for Node<K, V> {
    fn from(leaf: Leaf<K, V>) -> Self {
        Node::Leaf(Arc::new(leaf))
    }
}

impl<K, V> From<Inner<K, V>> for Node<K, V> {
    fn from(inner: Inner<K, V>) -> Self {
        Node::Inner(Arc::new(inner))
    }
}

/// Shares the node.
impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(leaf) => Node::Leaf(Arc::clone(leaf)),
            Node::Inner(inner) => Node::Inner(Arc::clone(inner)),
        }
    }
}

/// Copies the node before it is written to, hence with room for one more.
impl<K: Clone, V: Clone> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        Self { entries: clone_lean(&self.entries) }
    }
}

/// As that of a leaf; the children stay shared.
impl<K: Clone, V> Clone for Inner<K, V> {
    fn clone(&self) -> Self {
        Self {
            seps: clone_lean(&self.seps),
            counts: clone_lean(&self.counts),
            children: clone_lean(&self.children),
        }
    }
}

// ---- vectors that grow and shrink by allocation classes ----

/// Room for `len`: all that the allocator hands out for that, but no more than a full node needs.
fn lean_capacity<T>(len: usize) -> usize {
    capacity_for::<T>(len).min(WIDTH_MAX.max(len))
}

fn reserve_lean<T>(vec: &mut Vec<T>, additional: usize) {
    let needed = vec.len() + additional;
    if needed > vec.capacity() {
        vec.reserve_exact(lean_capacity::<T>(needed) - vec.len());
    }
}

fn push_lean<T>(vec: &mut Vec<T>, item: T) {
    reserve_lean(vec, 1);
    vec.push(item);
}

fn insert_lean<T>(vec: &mut Vec<T>, i: usize, item: T) {
    reserve_lean(vec, 1);
    vec.insert(i, item);
}

fn append_lean<T>(vec: &mut Vec<T>, mut more: Vec<T>) {
    reserve_lean(vec, more.len());
    vec.append(&mut more);
}

fn clone_lean<T: Clone>(vec: &[T]) -> Vec<T> {
    let mut copy = Vec::with_capacity(lean_capacity::<T>((vec.len() + 1).min(WIDTH_MAX)));
    copy.extend_from_slice(vec);
    copy
}

fn split_off_lean<T>(vec: &mut Vec<T>, middle: usize) -> Vec<T> {
    let mut right = Vec::with_capacity(lean_capacity::<T>(vec.len() - middle + 1));
    right.extend(vec.drain(middle..));
    vec.shrink_to(lean_capacity::<T>(vec.len() + 1));
    right
}

/// Shrinks a vector that lost items, leaving some room so that the next ones cost nothing either way.
fn give_back<T>(vec: &mut Vec<T>) {
    let roomy = lean_capacity::<T>(vec.len() + vec.len() / 4 + 1);
    if vec.capacity() > roomy {
        vec.shrink_to(roomy);
    }
}

fn vec_size<T>(vec: &Vec<T>) -> usize {
    if size_of::<T>() == 0 { 0 } else { size_class(vec.capacity() * size_of::<T>()) }
}

fn arc_size<T>() -> usize {
    size_class(size_of::<usize>() + size_of::<T>())
}
