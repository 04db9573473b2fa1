//! Ids of stream entries: a time and a sequence number, written `1526919030474-55`.

use std::fmt;

/// The id of an entry. Ids only ever grow within a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix milliseconds, unless the client chose otherwise.
    pub ms: u64,
    pub seq: u64,
}

/// Bytes of the longest id: two numbers of 20 digits and the dash.
const TEXT_MAX: usize = 41;
/// Redis reads no more than this (leading blanks and zeros are allowed).
const PARSED_TEXT_MAX: usize = 127;

/// An id as text, on the stack.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; TEXT_MAX],
    len: u8,
}

impl StreamId {
    pub const MIN: Self = Self::new(0, 0);
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);

    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id right after this one; `None` after the last.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The id right before this one; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// `ms-seq`, or `ms` alone, whose sequence number is then `missing_seq`.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        if text.len() > PARSED_TEXT_MAX {
            return None;
        }
        match text.iter().position(|&byte| byte == b'-') {
            Some(dash) => Some(Self::new(parse_u64(&text[..dash])?, parse_u64(&text[dash + 1..])?)),
            None => Some(Self::new(parse_u64(text)?, missing_seq)),
        }
    }

    /// The id as text.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; TEXT_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl IdText {
    /// A number alone, for where an id or a count may stand.
    pub fn number(n: u64) -> Self {
        let mut text = Self { bytes: [0; TEXT_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(n).as_bytes());
        text
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A number as Redis's `string2ull` takes it: what C's `strtoull` takes, except a plain negative number.
fn parse_u64(text: &[u8]) -> Option<u64> {
    if let Some(value) = crate::args::parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_and_printed() {
        for (text, expected) in [
            ("0-0", Some(StreamId::MIN)),
            ("5", Some(StreamId::new(5, 7))),
            ("5-1", Some(StreamId::new(5, 1))),
            ("18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            ("18446744073709551616", None),
            ("1-", None),
            ("-1", None),
            ("1-2-3", None),
            ("1 -2", None),
            ("1--2", None),
            ("007- 08", Some(StreamId::new(7, 8))),
            ("", None),
            ("+", None),
        ] {
            assert_eq!(StreamId::parse(text.as_bytes(), 7), expected, "{text:?}");
        }
        assert_eq!(&*StreamId::MAX.text(), b"18446744073709551615-18446744073709551615");
        assert_eq!(&*StreamId::new(12, 0).text(), b"12-0");
    }

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).previous(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }
}
