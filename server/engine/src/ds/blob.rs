//! `Blob`: a byte string that is stored in place when it is short and in a [`SharedBuf`] when it is long.
//!
//! ```text
//!              0     1     2                                     24
//!  Inline      │ tag │ len │ up to 22 bytes                      │      Key = Blob<22>, 24 bytes
//!  Heap        │ tag │ -   -   -   -   - │ SharedBuf │ -   -   - │
//!              0                         8           16
//! ```
//!
//! Most keys and members are short: in place they cost no allocation, no second cache miss and no counter.
//! The bytes are always at hand through `Deref`; which form they are in is nobody's business but `heap_size`'s.
//! A string of at most `N` bytes is always inline, so equal strings have the same form.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use super::shared_buf::SharedBuf;

/// A byte string; up to `N` bytes are stored in place. `N` is at most 255.
#[derive(Clone)]
pub struct Blob<const N: usize>(Repr<N>);

#[derive(Clone)]
enum Repr<const N: usize> {
    Inline { len: u8, data: [u8; N] },
    Heap(SharedBuf),
}

/// A key of the keyspace: 24 bytes.
pub type Key = Blob<22>;
/// A field, a member, a short value inside a collection: 16 bytes.
pub type Member = Blob<14>;

const _: () = assert!(size_of::<Key>() == 24 && size_of::<Option<Key>>() == 24);
const _: () = assert!(size_of::<Member>() == 16 && size_of::<Option<Member>>() == 16);

impl<const N: usize> Blob<N> {
    pub const EMPTY: Self = Self(Repr::Inline { len: 0, data: [0; N] });

    /// What it costs on the heap: nothing if it is stored in place.
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(buf) => buf.heap_size(),
        }
    }

    /// The bytes for a reply; without copying if they are on the heap.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Repr::Inline { .. } => Bytes::copy_from_slice(self),
            Repr::Heap(buf) => buf.clone().into(),
        }
    }

    /// The bytes as a buffer; without copying if they are on the heap.
    pub fn to_shared(&self) -> SharedBuf {
        match &self.0 {
            Repr::Inline { .. } => SharedBuf::from_slice(self),
            Repr::Heap(buf) => buf.clone(),
        }
    }
}

impl<const N: usize> From<&[u8]> for Blob<N> {
    fn from(bytes: &[u8]) -> Self {
        const { assert!(N <= u8::MAX as usize) };
        if bytes.len() > N {
            return Self(Repr::Heap(SharedBuf::from_slice(bytes)));
        }
        let mut data = [0; N];
        data[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Inline { len: bytes.len() as u8, data })
    }
}

impl<const N: usize, const M: usize> From<&[u8; M]> for Blob<N> {
    fn from(bytes: &[u8; M]) -> Self {
        Self::from(&bytes[..])
    }
}

impl<const N: usize> From<&str> for Blob<N> {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

/// Takes the buffer over if it is too long to be stored in place.
impl<const N: usize> From<SharedBuf> for Blob<N> {
    fn from(buf: SharedBuf) -> Self {
        if buf.len() > N { Self(Repr::Heap(buf)) } else { Self::from(&*buf) }
    }
}

impl<const N: usize> Deref for Blob<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, data } => &data[..*len as usize],
            Repr::Heap(buf) => buf,
        }
    }
}

impl<const N: usize> Default for Blob<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> AsRef<[u8]> for Blob<N> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// `Eq`, `Ord` and `Hash` are those of the bytes, as `Borrow` demands.
impl<const N: usize> Borrow<[u8]> for Blob<N> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> PartialEq for Blob<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const N: usize> Eq for Blob<N> {}

impl<const N: usize> PartialOrd for Blob<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Blob<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<const N: usize> Hash for Blob<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<const N: usize> fmt::Debug for Blob<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn short_strings_cost_no_heap() {
        for len in 0..=22 {
            let key = Key::from(&vec![b'k'; len][..]);
            assert_eq!((key.len(), key.heap_size()), (len, 0));
        }
        assert_eq!(Key::from(&[b'k'; 23]).heap_size(), 48);
        assert_eq!(Member::from(&[b'm'; 14]).heap_size(), 0);
        assert_eq!(Member::from(&[b'm'; 15]).heap_size(), 32);
    }

    #[test]
    fn long_strings_are_shared_not_copied() {
        let key = Key::from(&[b'x'; 100]);
        let copy = key.clone();
        assert_eq!(key.as_ptr(), copy.as_ptr());
        assert_eq!(key.to_bytes().as_ptr(), key.as_ptr());
        assert_eq!(Key::from(key.to_shared()).as_ptr(), key.as_ptr());
    }

    #[test]
    fn a_short_buffer_moves_inline() {
        let key = Key::from(SharedBuf::from_slice(b"short"));
        assert_eq!((key.heap_size(), &*key), (0, &b"short"[..]));
        assert_eq!(key, Key::from("short"));
    }

    #[test]
    fn order_and_hash_are_those_of_the_bytes() {
        let texts = ["", "a", "a\0", "a longer text than fits in place", "ab", "b"];
        let keys = texts.map(Key::from);
        assert!(keys.is_sorted());
        let map: HashMap<Key, usize> = keys.iter().cloned().zip(0..).collect();
        for (i, text) in texts.iter().enumerate() {
            assert_eq!(map.get(text.as_bytes()), Some(&i));
        }
    }

    #[test]
    fn debug_is_readable() {
        assert_eq!(format!("{:?}", Key::from(b"a\r\n\xff")), r#""a\r\n\xff""#);
    }
}
