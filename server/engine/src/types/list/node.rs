//! Nodes of a long list, and what a node may hold.

use crate::config::Config;
use crate::ds::listpack::LISTPACK_LEN_MAX;
use crate::ds::{Listpack, SharedBuf};
use crate::types::Elem;

/// What a negative `list-max-listpack-size` stands for: -1 for the first of these, and so on.
const NODE_BYTES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
/// Bytes of a node whose elements are counted: many large ones must not make it any larger.
const COUNTED_NODE_BYTES_MAX: usize = 8192;
/// What an element is taken to cost beyond its bytes when a node is asked whether it has room. More than it can be
/// by the header of the listpack's buffer: a full node should not just miss the allocator's class of 8 KB.
const ELEMENT_OVERHEAD: usize = 20;
/// Bytes that two listpacks spend twice on header and end.
const PACK_FRAME: usize = 7;
/// Even when told to pack everything, no listpack may come near its own limit.
const PLAIN_MIN_MAX: usize = LISTPACK_LEN_MAX / 2;

/// What a node, and a list that is still one listpack, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// `list-max-listpack-size`: so many elements, or a size by number when negative.
    pub fill: i32,
    /// DEBUG QUICKLIST-PACKED-THRESHOLD: elements this long stand alone. `None`: those too long for a node.
    pub plain_min: Option<usize>,
}

impl ListLimits {
    /// Those of the configuration.
    pub fn new(config: &Config) -> Self {
        Self { fill: config.list_max_listpack_size, plain_min: None }
    }

    /// The bytes and the elements that a node may have.
    pub(super) fn bounds(&self) -> (usize, usize) {
        match usize::try_from(self.fill) {
            Ok(count) => (usize::MAX, count.max(1)),
            Err(_) => {
                let level = self.fill.unsigned_abs() as usize - 1;
                (NODE_BYTES[level.min(NODE_BYTES.len() - 1)], usize::MAX)
            }
        }
    }

    /// Are these too many bytes, or too many elements, for a node?
    pub(super) fn exceeded_by(&self, bytes: usize, count: usize) -> bool {
        let (bytes_max, count_max) = self.bounds();
        bytes > bytes_max.min(if self.fill >= 0 { COUNTED_NODE_BYTES_MAX } else { usize::MAX })
            || count > count_max
    }

    /// Does an element of this length stand alone?
    pub(super) fn is_plain(&self, len: usize) -> bool {
        match self.plain_min {
            Some(min) => len >= min.min(PLAIN_MIN_MAX),
            None => self.exceeded_by(len, 0),
        }
    }
}

/// Some elements in a listpack, or one large element by itself. 16 bytes; a clone shares the bytes.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `count` stands here so that looking for an index touches no listpack.
    Packed {
        count: u32,
        pack: Listpack,
    },
    Plain(SharedBuf),
}

const _: () = assert!(size_of::<Node>() == 16);

impl Node {
    /// A node with one element.
    pub fn new(element: Elem<'_>, limits: &ListLimits) -> Self {
        if limits.is_plain(element.len()) {
            return Self::Plain(shared(element));
        }
        let mut pack = Listpack::new();
        pack.append(element.to_item());
        Self::Packed { count: 1, pack }
    }

    /// A node with these elements.
    pub fn packed(pack: Listpack) -> Self {
        Self::Packed { count: pack.len() as u32, pack }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed { count, .. } => *count as usize,
            Self::Plain(_) => 1,
        }
    }

    /// The element `index`, which is there.
    pub fn get(&self, index: usize) -> Elem<'_> {
        match self {
            Self::Packed { pack, .. } => pack.at(index as i64).expect("an index below the count").into(),
            Self::Plain(buf) => buf.into(),
        }
    }

    /// May an element of so many bytes be added?
    pub fn has_room_for(&self, len: usize, limits: &ListLimits) -> bool {
        match self {
            Self::Packed { count, pack } => {
                let bytes = pack.bytes().len() + len + ELEMENT_OVERHEAD;
                !limits.is_plain(len) && !limits.exceeded_by(bytes, *count as usize + 1)
            }
            Self::Plain(_) => false,
        }
    }

    /// May this and `other` be one node?
    pub fn fits_with(&self, other: &Self, limits: &ListLimits) -> bool {
        match (self, other) {
            (Self::Packed { pack: a, .. }, Self::Packed { pack: b, .. }) => {
                let bytes = a.bytes().len() + b.bytes().len() - PACK_FRAME;
                !limits.exceeded_by(bytes, self.len() + other.len())
            }
            _ => false,
        }
    }

    /// Puts an element before the one at `index`, or at the end. Only after [`Node::has_room_for`].
    pub fn insert(&mut self, index: usize, element: Elem<'_>) {
        let Self::Packed { count, pack } = self else {
            unreachable!("a large element has no room beside it")
        };
        let pos = match index {
            0 => pack.first().unwrap_or(pack.end()),
            _ if index == *count as usize => pack.end(),
            _ => pack.seek(index as i64).expect("an index below the count"),
        };
        pack.insert_before(pos, element.to_item());
        *count += 1;
    }

    /// Puts another element in the place of one, if the node may hold it; false when not.
    pub fn replace(&mut self, index: usize, element: Elem<'_>, limits: &ListLimits) -> bool {
        if self.len() == 1 {
            *self = Self::new(element, limits);
            return true;
        }
        let Self::Packed { count, pack } = self else { unreachable!("a large element is alone") };
        let pos = pack.seek(index as i64).expect("an index below the count");
        let bytes = pack.bytes().len() - pack.get(pos).text_len() + element.len();
        if limits.is_plain(element.len()) || limits.exceeded_by(bytes, *count as usize) {
            return false;
        }
        pack.replace(pos, element.to_item());
        true
    }

    /// Takes `n` elements from `index` on out; some must stay.
    pub fn remove(&mut self, index: usize, n: usize) {
        let Self::Packed { count, pack } = self else { unreachable!("a large element is alone") };
        debug_assert!(index + n <= *count as usize && n < *count as usize);
        let pos = pack.seek(index as i64).expect("an index below the count");
        pack.delete_from(pos, n);
        *count -= n as u32;
    }

    /// Takes up to `max` elements that read as `needle` out, from the left or the right; answers how many.
    /// None may stay.
    pub fn remove_matches(&mut self, needle: &[u8], max: usize, from_right: bool) -> usize {
        match self {
            Self::Packed { count, pack } => {
                let removed = remove_matches(pack, needle, max, from_right);
                *count -= removed as u32;
                removed
            }
            Self::Plain(_) => unreachable!("removed as a whole"),
        }
    }

    /// Does any element read as `needle`?
    pub fn contains(&self, needle: &[u8]) -> bool {
        match self {
            Self::Packed { pack, .. } => pack.find(needle, 0).is_some(),
            Self::Plain(buf) => **buf == *needle,
        }
    }

    /// Cuts in two before `index`, which is neither end.
    pub fn split_off(&mut self, index: usize) -> Self {
        let Self::Packed { count, pack } = self else { unreachable!("one element cannot be split") };
        let pos = pack.seek(index as i64).expect("an index below the count");
        let tail = pack.split_off(pos);
        let tail_count = *count - index as u32;
        *count = index as u32;
        Self::Packed { count: tail_count, pack: tail }
    }

    /// Appends the elements of another node. Only after [`Node::fits_with`].
    pub fn append_all(&mut self, other: &Self) {
        match (self, other) {
            (Self::Packed { count, pack }, Self::Packed { count: more, pack: tail }) => {
                pack.append_all(tail);
                *count += more;
            }
            _ => unreachable!("a large element has no room beside it"),
        }
    }

    /// Bytes of heap beneath the node.
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Packed { pack, .. } => pack.as_shared().heap_size(),
            Self::Plain(buf) => buf.heap_size(),
        }
    }
}

/// The element's bytes in a buffer of their own; not copied when they are in one already.
fn shared(element: Elem<'_>) -> SharedBuf {
    match element {
        Elem::Member(member) => member.to_shared(),
        Elem::Shared(buf) => buf.clone(),
        _ => element.with_bytes(SharedBuf::from_slice),
    }
}

/// Takes up to `max` elements that read as `needle` out of a listpack; answers how many.
pub(super) fn remove_matches(pack: &mut Listpack, needle: &[u8], max: usize, from_right: bool) -> usize {
    let mut removed = 0;
    if !from_right {
        let mut at = pack.find(needle, 0);
        while let Some(pos) = at.filter(|_| removed < max) {
            removed += 1;
            at = pack.delete(pos).and_then(|next| pack.find_from(next, needle, 0));
        }
        return removed;
    }
    // What lies to the left of a deleted element keeps its position.
    let mut at = pack.last();
    while let Some(pos) = at.filter(|_| removed < max) {
        at = pack.prev(pos);
        if pack.get(pos).eq_bytes(needle) {
            pack.delete(pos);
            removed += 1;
        }
    }
    removed
}
