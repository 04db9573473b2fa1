//! Walking the whole dict, leaf by leaf in the order of the hashes.

use std::iter::FusedIterator;
use std::slice;

use triomphe::Arc;

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

/// Visits all entries below `node` and lets go of each leaf once it has been visited; false when `visit` ended it.
pub(super) fn consume<E: Entry>(node: Node<E>, visit: &mut dyn FnMut(&E) -> bool) -> bool {
    match node {
        Node::Empty => true,
        Node::Leaf { leaf, .. } => leaf.entries().iter().all(visit),
        Node::Inner { children, .. } => {
            // The inner node goes before its children are visited: whoever shares it has it alone from here on, and
            // copies only the leaves that are still to come.
            let children = Arc::try_unwrap(children).unwrap_or_else(|shared| (*shared).clone());
            children.into_iter().all(|child| consume(child, visit))
        }
    }
}

impl<E: Entry> ExactSizeIterator for Iter<'_, E> {}
impl<E: Entry> FusedIterator for Iter<'_, E> {}
