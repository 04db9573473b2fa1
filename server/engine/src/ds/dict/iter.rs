//! Walking the whole dict, leaf by leaf in the order of the hashes.

use std::iter::FusedIterator;
use std::slice;

use super::Entry;
use super::node::Node;

/// All entries; see [`super::Dict::iter`].
pub struct Iter<'a, E> {
    /// Children still to visit, of each inner node on the path.
    path: Vec<slice::Iter<'a, Node<E>>>,
    leaf: slice::Iter<'a, E>,
    left: usize,
}

impl<'a, E: Entry> Iter<'a, E> {
    pub(super) fn new(root: &'a Node<E>) -> Self {
        Self { path: vec![slice::from_ref(root).iter()], leaf: [].iter(), left: root.count() }
    }
}

impl<'a, E: Entry> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(entry) = self.leaf.next() {
                self.left -= 1;
                return Some(entry);
            }
            match self.path.last_mut()?.next() {
                Some(Node::Empty) => {}
                Some(Node::Leaf { leaf, .. }) => self.leaf = leaf.entries().iter(),
                Some(Node::Inner { children, .. }) => self.path.push(children.iter()),
                None => {
                    self.path.pop();
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<E: Entry> ExactSizeIterator for Iter<'_, E> {}
impl<E: Entry> FusedIterator for Iter<'_, E> {}
