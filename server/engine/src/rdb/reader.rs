//! Reads lengths, strings and numbers. Never past the end, and never allocates more than the bytes left can justify.

use super::error::Problem;
use super::format::len;
use super::lzf;
use crate::args::parse_f64;
use crate::ds::{Blob, Member, SharedBuf};
use crate::types::element::Elem;

/// The bytes, and how far they have been read.
pub struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Where the newest item began, for errors.
    item: usize,
}

/// A string of the file. `Slice` borrows from the file.
pub enum Text<'a> {
    Slice(&'a [u8]),
    Inflated(SharedBuf),
    Int(i64),
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, item: 0 }
    }

    /// Bytes read so far.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Goes back to where [`Reader::pos`] was before.
    pub fn rewind(&mut self, pos: usize) {
        debug_assert!(pos <= self.pos, "what was not read is not skipped");
        self.pos = pos;
    }

    /// Where the newest item began.
    pub fn item(&self) -> u64 {
        self.item as u64
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next bytes, as part of the item that has begun.
    fn take_more(&mut self, count: u64) -> Result<&'a [u8], Problem> {
        let left = self.left() as u64;
        if count > left {
            return Err(Problem::Truncated { needed: count, left });
        }
        let taken = &self.bytes[self.pos..self.pos + count as usize];
        self.pos += count as usize;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.item = self.pos;
        self.array_more()
    }

    fn array_more<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let bytes = self.take_more(N as u64)?;
        Ok(*bytes.first_chunk().expect("N bytes were taken"))
    }

    pub fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.array::<1>()?[0])
    }

    /// A length, or any other unsigned number.
    pub fn len(&mut self) -> Result<u64, Problem> {
        let first = self.byte()?;
        self.len_after(first)
    }

    #[inline]
    fn len_after(&mut self, first: u8) -> Result<u64, Problem> {
        Ok(match first {
            0..len::BITS_14 => u64::from(first),
            len::BITS_14..len::BITS_32 => {
                u64::from(first - len::BITS_14) << 8 | u64::from(self.array_more::<1>()?[0])
            }
            len::BITS_32 => u64::from(u32::from_be_bytes(self.array_more()?)),
            len::BITS_64 => u64::from_be_bytes(self.array_more()?),
            _ => return Err(Problem::NotALength(first)),
        })
    }

    /// The number of elements that follow, of `size_min` bytes at least.
    pub fn count(&mut self, size_min: usize) -> Result<usize, Problem> {
        let count = self.len()?;
        let left = self.left();
        if count > (left / size_min) as u64 {
            return Err(Problem::TooMany { count, left: left as u64 });
        }
        Ok(count as usize)
    }

    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Problem> {
        let first = self.byte()?;
        Ok(match first {
            len::INT8 => Text::Int(i64::from(i8::from_le_bytes(self.array_more()?))),
            len::INT16 => Text::Int(i64::from(i16::from_le_bytes(self.array_more()?))),
            len::INT32 => Text::Int(i64::from(i32::from_le_bytes(self.array_more()?))),
            len::LZF => {
                let item = self.item;
                let packed_len = self.len()?;
                let unpacked_len = self.len()?;
                self.item = item;
                let packed = self.take_more(packed_len)?;
                let unpacked =
                    usize::try_from(unpacked_len).ok().and_then(|len| lzf::decompress(packed, len));
                Text::Inflated(unpacked.ok_or(Problem::Lzf(unpacked_len))?)
            }
            _ => {
                let len = self.len_after(first)?;
                Text::Slice(self.take_more(len)?)
            }
        })
    }

    /// A string as a buffer: the raw bytes of a listpack and the like.
    pub fn blob(&mut self) -> Result<SharedBuf, Problem> {
        Ok(match self.string()? {
            Text::Slice(bytes) => SharedBuf::from_slice(bytes),
            Text::Inflated(buf) => buf,
            Text::Int(value) => SharedBuf::from_slice(itoa::Buffer::new().format(value).as_bytes()),
        })
    }

    pub fn i64_le(&mut self) -> Result<i64, Problem> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A double in eight bytes.
    pub fn double(&mut self) -> Result<f64, Problem> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A double as old versions wrote it: its decimal text behind one byte of length, or one of three marks.
    pub fn double_text(&mut self) -> Result<f64, Problem> {
        let len = self.byte()?;
        Ok(match len {
            253 => f64::NAN,
            254 => f64::INFINITY,
            255 => f64::NEG_INFINITY,
            _ => {
                let text = self.take_more(u64::from(len))?;
                parse_f64(text).ok_or(Problem::Content("a score is not a number"))?
            }
        })
    }
}

impl Text<'_> {
    /// Calls `f` with the bytes; an integer's are made on the stack.
    #[inline]
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Slice(bytes) => f(bytes),
            Self::Inflated(buf) => f(buf),
            Self::Int(value) => f(itoa::Buffer::new().format(*value).as_bytes()),
        }
    }

    /// Calls `f` with the string as an element; unpacked bytes that are long are not copied again.
    pub fn with_elem<R>(self, f: impl FnOnce(Elem<'_>) -> R) -> R {
        match self {
            Self::Slice(bytes) => f(Elem::Bytes(bytes)),
            Self::Inflated(buf) => f(Elem::Member(&Member::from(buf))),
            Self::Int(value) => f(Elem::Int(value)),
        }
    }

    #[cfg(test)]
    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// As a key or a member; unpacked bytes are not copied again.
    #[inline]
    pub fn into_blob<const N: usize>(self) -> Blob<N> {
        match self {
            Self::Inflated(buf) => buf.into(),
            other => other.with_bytes(|bytes| Blob::from(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width() {
        let bytes =
            [&[0x3f][..], &[0x7f, 0xff], &[0x80, 0, 1, 0, 0], &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
        let mut reader = Reader::new(&bytes);
        let lens: Vec<u64> = std::iter::repeat_with(|| reader.len().expect("a length")).take(4).collect();
        assert_eq!(lens, [63, 16_383, 65_536, 1 << 32]);
        assert_eq!(reader.len(), Err(Problem::Truncated { needed: 1, left: 0 }));
    }

    #[test]
    fn bytes_that_are_no_length_are_named() {
        for byte in [0x82, 0xbf, 0xc0, 0xff] {
            assert_eq!(Reader::new(&[byte; 9]).len(), Err(Problem::NotALength(byte)));
        }
        assert!(matches!(Reader::new(&[0xc4; 9]).string(), Err(Problem::NotALength(0xc4))));
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_is_allocated() {
        let huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x'];
        let needed = i64::MAX as u64;
        assert!(
            matches!(Reader::new(&huge).string(), Err(Problem::Truncated { needed: n, left: 1 }) if n == needed)
        );
        assert_eq!(Reader::new(&huge).count(1), Err(Problem::TooMany { count: needed, left: 1 }));
    }

    #[test]
    fn integers_are_their_decimal_text() {
        for (bytes, text) in [
            (&[0xc0, 0x80][..], "-128"),
            (&[0xc1, 0xff, 0x7f], "32767"),
            (&[0xc2, 0, 0, 0, 0x80], "-2147483648"),
        ] {
            assert_eq!(Reader::new(bytes).string().expect("a string").to_vec(), text.as_bytes());
        }
    }

    #[test]
    fn old_doubles() {
        let mut reader = Reader::new(b"\x043.25\xfe\xff\xfd\x02xy");
        assert_eq!(reader.double_text(), Ok(3.25));
        assert_eq!(reader.double_text(), Ok(f64::INFINITY));
        assert_eq!(reader.double_text(), Ok(f64::NEG_INFINITY));
        assert!(reader.double_text().expect("a double").is_nan());
        assert!(reader.double_text().is_err());
        assert_eq!(reader.item(), 8);
    }
}
