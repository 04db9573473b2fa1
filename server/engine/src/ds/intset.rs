//! Redis's intset: a sorted set of integers in one run of bytes, byte for byte as Redis writes it.
//!
//! ```text
//! ┌────────────┬─────────────┬─────────┬─────┬───────────┐
//! │ width: u32 │ length: u32 │ value 0 │  …  │ value n-1 │   all little endian, two's complement
//! └────────────┴─────────────┴─────────┴─────┴───────────┘   width 2, 4 or 8 bytes, the same for all values
//! ```
//!
//! Small sets of integers live in it, and it goes to RDB files and `DUMP` payloads as it is.
//!
//! Invariants: the values ascend strictly; the buffer is exactly as long as the header says; the width is
//! large enough for every value. It never shrinks again, just as in Redis.

use thiserror::Error;

use super::shared_buf::SharedBuf;

const HEADER_LEN: usize = 8;

/// Why bytes are not an intset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IntsetError {
    #[error("{len} bytes are too few for an intset")]
    TooShort { len: usize },
    #[error("no intset has values of {width} bytes")]
    BadWidth { width: u32 },
    #[error("the header says {expected} bytes, there are {actual}")]
    LenMismatch { expected: u64, actual: usize },
    #[error("an intset that is stored has values, this one has none")]
    Empty,
    #[error("value {index} is not larger than the one before")]
    NotAscending { index: usize },
}

/// A set of integers. Cloning shares the bytes; the first edit after that copies them.
#[derive(Clone)]
pub struct Intset(SharedBuf);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Intset {
    pub fn new() -> Self {
        Self(SharedBuf::from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]))
    }

    /// Takes over bytes from outside, after checking all of them.
    pub fn from_bytes(bytes: SharedBuf) -> Result<Self, IntsetError> {
        validate(&bytes)?;
        Ok(Self(bytes))
    }

    /// The whole intset as Redis stores it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The buffer beneath, to be shared or written without a copy.
    pub fn as_shared(&self) -> &SharedBuf {
        &self.0
    }

    pub fn len(&self) -> usize {
        (self.0.len() - HEADER_LEN) / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of rank `index`, if there are that many. A random member is `get` of a random index.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| read(&self.0, self.width(), index))
    }

    /// The values in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        let (bytes, width) = (self.bytes(), self.width());
        (0..self.len()).map(move |index| read(bytes, width, index))
    }

    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// Adds a value; `false` if it was there.
    pub fn insert(&mut self, value: i64) -> bool {
        let width = width_of(value);
        if width > self.width() {
            self.widen(width, value);
            return true;
        }
        let Err(index) = self.search(value) else { return false };
        let width = self.width();
        let at = HEADER_LEN + index * width;
        self.0.splice(at..at, &value.to_le_bytes()[..width]);
        self.write_len();
        true
    }

    /// Removes a value; `false` if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let width = self.width();
        let at = HEADER_LEN + index * width;
        self.0.splice(at..at + width, &[]);
        self.write_len();
        true
    }

    fn width(&self) -> usize {
        // Validated to be 2, 4 or 8.
        self.0[0] as usize
    }

    /// The rank of `value`, or the rank that it would have.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (bytes, width) = (self.bytes(), self.width());
        let len = self.len();
        // Redis's own short cut: ascending inserts are the common case.
        if len == 0 || value > read(bytes, width, len - 1) {
            return Err(len);
        }
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low.midpoint(high);
            match read(bytes, width, middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Rewrites all values with `width` bytes, and adds the value that needs them. It lies outside of the
    /// range of all others, so it comes first or last.
    fn widen(&mut self, width: usize, value: i64) {
        let mut wide = SharedBuf::with_capacity(HEADER_LEN + (self.len() + 1) * width);
        wide.extend_from_slice(&(width as u32).to_le_bytes());
        wide.extend_from_slice(&(self.len() as u32 + 1).to_le_bytes());
        if value < 0 {
            wide.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        for old in self.iter() {
            wide.extend_from_slice(&old.to_le_bytes()[..width]);
        }
        if value >= 0 {
            wide.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        self.0 = wide;
    }

    fn write_len(&mut self) {
        let len = self.len() as u32;
        self.0.make_mut()[4..HEADER_LEN].copy_from_slice(&len.to_le_bytes());
    }
}

impl std::fmt::Debug for Intset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Checks bytes from outside: frame, order, no duplicates. Never panics.
pub fn validate(bytes: &[u8]) -> Result<(), IntsetError> {
    let Some((header, values)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(IntsetError::TooShort { len: bytes.len() });
    };
    let width = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if !matches!(width, 2 | 4 | 8) {
        return Err(IntsetError::BadWidth { width });
    }
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if u64::from(len) * u64::from(width) != values.len() as u64 {
        let expected = HEADER_LEN as u64 + u64::from(len) * u64::from(width);
        return Err(IntsetError::LenMismatch { expected, actual: bytes.len() });
    }
    if len == 0 {
        return Err(IntsetError::Empty);
    }
    let width = width as usize;
    match (1..len as usize).find(|&index| read(bytes, width, index) <= read(bytes, width, index - 1)) {
        Some(index) => Err(IntsetError::NotAscending { index }),
        None => Ok(()),
    }
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// Value `index` of an intset's `bytes`.
#[inline]
fn read(bytes: &[u8], width: usize, index: usize) -> i64 {
    let at = HEADER_LEN + index * width;
    let value = &bytes[at..at + width];
    match *value {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("the width is 2, 4 or 8"),
    }
}

#[cfg(test)]
#[path = "intset_tests.rs"]
mod tests;
