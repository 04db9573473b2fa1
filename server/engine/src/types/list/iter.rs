//! Walking over a list.

use super::node::Node;
use super::quick::{Place, Quicklist};
use super::{End, List};
use crate::ds::{SharedBuf, listpack};
use crate::types::Elem;

/// Elements from some index on, in either direction. See [`List::range`] and [`List::range_back`].
#[derive(Clone)]
pub struct Iter<'a> {
    /// Where the nodes after the present one are.
    quick: Option<(&'a Quicklist, Place)>,
    items: Items<'a>,
    from: End,
    left: usize,
}

/// What remains of the present node.
#[derive(Clone)]
enum Items<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a SharedBuf>),
}

impl<'a> Iter<'a> {
    /// `count` elements (all, when there are fewer) from `index` on, going away from the end `from`.
    pub(super) fn new(list: &'a List, index: usize, count: usize, from: End) -> Self {
        let available = match from {
            End::Left => list.len() - index.min(list.len()),
            End::Right if list.is_empty() => 0,
            End::Right => index.min(list.len() - 1) + 1,
        };
        let left = count.min(available);
        let (quick, items) = match list {
            List::Packed(pack) if left > 0 => (None, Items::of_pack(pack, index, list.len(), from)),
            List::Quick(quick) if left > 0 => {
                let place = quick.locate(index);
                (Some((&**quick, place)), Items::of(quick.node(place), place.offset, from))
            }
            _ => (None, Items::Plain(None)),
        };
        Self { quick, items, from, left }
    }
}

impl<'a> Items<'a> {
    fn of(node: &'a Node, offset: usize, from: End) -> Self {
        match node {
            Node::Packed { count, pack } => Self::of_pack(pack, offset, *count as usize, from),
            Node::Plain(buf) => Self::Plain(Some(buf)),
        }
    }

    fn of_pack(pack: &'a listpack::Listpack, offset: usize, count: usize, from: End) -> Self {
        match from {
            End::Left => Self::Packed(match pack.seek(offset as i64) {
                Some(pos) => pack.iter_from(pos),
                None => pack.iter_from(pack.end()),
            }),
            End::Right => {
                let mut items = pack.iter();
                for _ in offset + 1..count {
                    items.next_back();
                }
                Self::Packed(items)
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    fn next(&mut self) -> Option<Elem<'a>> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let item = match &mut self.items {
                Items::Packed(items) if self.from == End::Left => items.next().map(Elem::from),
                Items::Packed(items) => items.next_back().map(Elem::from),
                Items::Plain(buf) => buf.take().map(Elem::from),
            };
            if item.is_some() {
                return item;
            }
            let (quick, place) = self.quick.as_mut()?;
            *place = match self.from {
                End::Left => quick.next_node(*place)?,
                End::Right => quick.prev_node(*place)?,
            };
            self.items = Items::of(quick.node(*place), place.offset, self.from);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
