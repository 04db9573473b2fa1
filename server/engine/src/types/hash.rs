//! Hash values (being written).

/// A hash.
#[derive(Clone, Debug)]
pub struct Hash;

impl Hash {
    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        1
    }

    /// Bytes of heap that the value holds; `samples` elements stand for the rest (0: all).
    pub fn heap_size(&self, _samples: usize) -> usize {
        0
    }
}
