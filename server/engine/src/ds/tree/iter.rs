//! Iteration over a [`CowTree`](super::CowTree), from either end.

use std::iter::FusedIterator;
use std::ops::Range;
use std::slice;

use super::node::Node;

/// Entries of a range of ranks.
///
/// Holds the rest of one leaf at either end and, between them, the ranks for which no leaf has been looked up
/// yet. The next leaf is found from the root by its rank: a few dozen additions for some 40 entries, which is
/// less than it takes to keep two paths up to date.
pub struct Iter<'a, K, V> {
    root: Option<&'a Node<K, V>>,
    front: slice::Iter<'a, (K, V)>,
    between: Range<usize>,
    back: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iter<'a, K, V> {
    /// `ranks` lie within the tree.
    pub(super) fn new(root: Option<&'a Node<K, V>>, ranks: Range<usize>) -> Self {
        Self { root, front: [].iter(), between: ranks, back: [].iter() }
    }

    /// Looks up the leaf of the first rank between.
    #[cold]
    fn load_front(&mut self) -> bool {
        let Some(root) = self.root.filter(|_| !self.between.is_empty()) else { return false };
        let (entries, offset) = root.leaf_at(self.between.start);
        let entries = &entries[offset..];
        let entries = &entries[..entries.len().min(self.between.len())];
        self.between.start += entries.len();
        self.front = entries.iter();
        true
    }

    /// Looks up the leaf of the last rank between.
    #[cold]
    fn load_back(&mut self) -> bool {
        let Some(root) = self.root.filter(|_| !self.between.is_empty()) else { return false };
        let (entries, offset) = root.leaf_at(self.between.end - 1);
        let entries = &entries[..=offset];
        let entries = &entries[entries.len() - entries.len().min(self.between.len())..];
        self.between.end -= entries.len();
        self.back = entries.iter();
        true
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.front.next() {
                return Some((key, value));
            }
            if !self.load_front() {
                return self.back.next().map(|(key, value)| (key, value));
            }
        }
    }

    /// O(log n), whatever `n`.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let rest = n.checked_sub(self.front.len());
        let Some(rest) = rest else { return self.front.nth(n).map(|(key, value)| (key, value)) };
        self.front = [].iter();
        let skipped = rest.min(self.between.len());
        self.between.start += skipped;
        if self.between.is_empty() {
            return self.back.nth(rest - skipped).map(|(key, value)| (key, value));
        }
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.len() + self.between.len() + self.back.len();
        (len, Some(len))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.back.next_back() {
                return Some((key, value));
            }
            if !self.load_back() {
                return self.front.next_back().map(|(key, value)| (key, value));
            }
        }
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            root: self.root,
            front: self.front.clone(),
            between: self.between.clone(),
            back: self.back.clone(),
        }
    }
}
