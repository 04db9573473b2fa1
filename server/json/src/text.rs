//! Strings of a document: the short ones without an allocation.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use triomphe::ThinArc;

/// As many bytes as fit beside the length.
const INLINE_MAX: usize = 14;

/// An immutable string in 16 bytes; a copy of a long one shares its bytes.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(ThinArc<(), u8>),
}

const _: () = assert!(size_of::<Text>() == 16);

impl Text {
    /// Copies `text`.
    pub fn new(text: &str) -> Self {
        if text.len() <= INLINE_MAX {
            let mut bytes = [0; INLINE_MAX];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            return Self(Repr::Inline { len: text.len() as u8, bytes });
        }
        Self(Repr::Heap(ThinArc::from_header_and_slice((), text.as_bytes())))
    }

    pub fn as_str(&self) -> &str {
        let bytes = match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(arc) => &arc.slice,
        };
        // SAFETY: both are made in `new` alone, of a whole `str`, and never changed.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            // Beside the bytes: the count of owners and the length.
            Repr::Heap(arc) => (arc.slice.len() + 2 * size_of::<usize>()).next_multiple_of(8),
        }
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_strings_are_equal_to_what_they_were_made_of() {
        for text in ["", "a", "fourteen bytes", "fifteen  bytes!", "żółć żółć żółć", &"x".repeat(1000)]
        {
            let made = Text::new(text);
            assert_eq!(&*made, text);
            assert_eq!(made.clone(), made);
            assert_eq!(made.heap_size() == 0, text.len() <= INLINE_MAX);
        }
    }
}
