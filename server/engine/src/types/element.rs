//! An element of a collection, whichever encoding it is stored in.

use cairn_proto::ReplyWriter;
use thiserror::Error;
use triomphe::Arc;

use crate::ds::listpack::{Item, canonical_int};
use crate::ds::size_class::size_class;
use crate::ds::{Dict, Entry, Listpack, Member, SharedBuf};

/// A member, a field or a value, borrowed from its collection or from a command's arguments.
#[derive(Clone, Copy, Debug)]
pub enum Elem<'a> {
    /// Stands for its canonical decimal form.
    Int(i64),
    Bytes(&'a [u8]),
    /// In a table: what is long is shared, not copied.
    Member(&'a Member),
    /// A large element of a list: shared, not copied.
    Shared(&'a SharedBuf),
}

/// Why elements from outside are no collection of the type that they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ElementsError {
    #[error("a collection that is stored has elements, this one has none")]
    Empty,
    #[error("{count} elements are not pairs")]
    NotPairs { count: usize },
    #[error("an element is there twice")]
    Duplicate,
}

impl<'a> Elem<'a> {
    /// Calls `f` with the text; an integer's is made on the stack.
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.to_bytes(&mut itoa::Buffer::new()))
    }

    /// The text; `buf` lends the room for an integer's digits.
    pub fn to_bytes<'b>(&self, buf: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(value) => buf.format(value).as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Member(member) => member,
            Self::Shared(buf) => buf,
        }
    }

    /// A copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer whose canonical decimal form it is.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            Self::Bytes(bytes) => canonical_int(bytes),
            Self::Member(member) => canonical_int(member),
            Self::Shared(buf) => canonical_int(buf),
        }
    }

    /// As a table stores it; bytes that are shared already are not copied.
    pub fn to_member(&self) -> Member {
        match *self {
            Self::Member(member) => member.clone(),
            Self::Shared(buf) => Member::from(buf.clone()),
            _ => self.with_bytes(|bytes| Member::from(bytes)),
        }
    }

    /// As a listpack stores it.
    pub fn to_item(self) -> Item<'a> {
        match self {
            Self::Int(value) => Item::Int(value),
            Self::Bytes(bytes) => Item::Str(bytes),
            Self::Member(member) => Item::Str(member),
            Self::Shared(buf) => Item::Str(buf),
        }
    }

    /// Writes it as a bulk string.
    pub fn reply(&self, reply: &mut ReplyWriter) {
        match *self {
            Self::Int(value) => reply.bulk_int(value),
            Self::Bytes(bytes) => reply.bulk(bytes),
            Self::Member(member) if member.len() < cairn_proto::SHARED_BULK_MIN => reply.bulk(member),
            Self::Member(member) => reply.bulk_shared(member.to_bytes()),
            Self::Shared(buf) if buf.len() < cairn_proto::SHARED_BULK_MIN => reply.bulk(buf),
            Self::Shared(buf) => reply.bulk_shared(buf.clone().into()),
        }
    }
}

impl<'a> From<&'a [u8]> for Elem<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Elem<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Member> for Elem<'a> {
    fn from(member: &'a Member) -> Self {
        Self::Member(member)
    }
}

impl<'a> From<&'a SharedBuf> for Elem<'a> {
    fn from(buf: &'a SharedBuf) -> Self {
        Self::Shared(buf)
    }
}

impl<'a> From<Item<'a>> for Elem<'a> {
    fn from(item: Item<'a>) -> Self {
        match item {
            Item::Int(value) => Self::Int(value),
            Item::Str(bytes) => Self::Bytes(bytes),
        }
    }
}

impl From<i64> for Elem<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Is one of the elements of a listpack, taken every `step`, there twice? For what comes from outside.
pub(super) fn has_duplicates(pack: &Listpack, step: usize) -> bool {
    // A string may be stored that should have been an integer: both read the same and must compare the same.
    let mut keys: Vec<(Option<i64>, &[u8])> = pack
        .iter()
        .step_by(step)
        .map(|item| match (item.as_int(), item) {
            (None, Item::Str(bytes)) => (None, bytes),
            (int, _) => (int, &b""[..]),
        })
        .collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// Bytes of heap of a table: the table itself, and what `of` says of its entries, `samples` of them standing for
/// the rest (0: all).
pub(super) fn table_heap_size<E: Entry>(
    dict: &Arc<Dict<E>>,
    samples: usize,
    of: impl Fn(&E) -> usize,
) -> usize {
    let counted = if samples == 0 { dict.len() } else { samples.min(dict.len()) };
    let bytes: usize = dict.iter().take(counted).map(of).sum();
    let entries = if counted == 0 { 0 } else { (bytes as f64 / counted as f64 * dict.len() as f64) as usize };
    let head = size_class(size_of::<usize>() + size_of::<Dict<E>>());
    head + dict.heap_size() + entries
}
