//! Redis's listpack: a list of strings and integers in one run of bytes, byte for byte as Redis 7 writes it.
//!
//! ```text
//! ┌────────────┬───────────┬─────────┬─────┬─────────┬──────┐
//! │ total: u32 │ count:u16 │ entry 0 │  …  │ entry n │ 0xFF │   little endian, `total` counts every byte
//! └────────────┴───────────┴─────────┴─────┴─────────┴──────┘   count 65535: unknown, walk to find out
//!
//! entry:  encoding and payload                              then its own length, to be read backwards
//!   0xxxxxxx                            0 ..= 127           ┌──────────────────────────────────────┐
//!   10llllll  payload                   string  < 64 B      │ backlen: 1..=5 bytes, 7 bits a byte, │
//!   110xxxxx  xxxxxxxx                  13-bit integer      │ most significant first; every byte   │
//!   1110llll  llllllll  payload         string  < 4 KiB     │ but the first has its top bit set,   │
//!   11110000  len: u32  payload         string  < 4 GiB     │ so that a reader coming from the     │
//!   11110001..11110100  payload         16/24/32/64-bit     │ right knows when to stop             │
//!   11111111                            end                 └──────────────────────────────────────┘
//! ```
//!
//! Small hashes, sorted sets and sets, list nodes and stream nodes live in it, and it goes to RDB files and
//! `DUMP` payloads as it is. Reading allocates nothing; an edit is one move of the tail.
//!
//! Invariants, given by the constructors and kept by every edit:
//! - the bytes pass [`validate`] with `deep`, so that no reader below needs to check them again;
//! - a string that is the canonical decimal form of an `i64` is stored as that integer (what came from outside
//!   may hold such a string as a string; reading treats both alike).
//!
//! A *position* is the byte offset of an entry. Any edit invalidates the positions after it.

use std::cmp::Ordering;

use thiserror::Error;

use super::shared_buf::SharedBuf;

/// Redis's own limit for one listpack. Whoever adds to a listpack asks [`Listpack::has_room_for`] first and
/// changes to another encoding when there is none.
pub const LISTPACK_LEN_MAX: usize = 1 << 30;

const HEADER_LEN: usize = 6;
const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xFF;
const BACKLEN_MAX: usize = 5;
/// What an entry can cost beyond its payload: a tag with a 32-bit length, and the backlen.
const ENTRY_OVERHEAD_MAX: usize = 5 + BACKLEN_MAX;

const TAG_STR6: u8 = 0x80;
const TAG_INT13: u8 = 0xC0;
const TAG_STR12: u8 = 0xE0;
const TAG_STR32: u8 = 0xF0;
const TAG_INT16: u8 = 0xF1;
const TAG_INT24: u8 = 0xF2;
const TAG_INT32: u8 = 0xF3;
const TAG_INT64: u8 = 0xF4;

/// Why bytes are not a listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ListpackError {
    #[error("{len} bytes are too few for a listpack")]
    TooShort { len: usize },
    #[error("the header says {header} bytes, there are {actual}")]
    LenMismatch { header: usize, actual: usize },
    #[error("the last byte is {byte:#04x}, not the end mark")]
    NoEnd { byte: u8 },
    #[error("no encoding begins with {byte:#04x} (offset {offset})")]
    BadTag { offset: usize, byte: u8 },
    #[error("the entry at offset {offset} runs past the end")]
    Overrun { offset: usize },
    #[error("the entry at offset {offset} is {expected} bytes long, its backlen says {found}")]
    BadBacklen { offset: usize, expected: usize, found: usize },
    #[error("end mark at offset {offset}, before the end")]
    EarlyEnd { offset: usize },
    #[error("the header says {header} entries, there are {actual}")]
    CountMismatch { header: usize, actual: usize },
}

/// One element. `Str` borrows from the listpack; an `Int` stands for its canonical decimal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Item<'a> {
    /// Whether the element reads as `bytes`.
    pub fn eq_bytes(&self, bytes: &[u8]) -> bool {
        match *self {
            Item::Str(s) => s == bytes,
            Item::Int(i) => canonical_int(bytes) == Some(i),
        }
    }

    /// The element's text; `buf` lends the room for an integer's digits.
    pub fn to_bytes<'b>(&self, buf: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Item::Str(s) => s,
            Item::Int(i) => buf.format(i).as_bytes(),
        }
    }

    /// Length of the element's text.
    pub fn text_len(&self) -> usize {
        self.to_bytes(&mut itoa::Buffer::new()).len()
    }

    /// The element as an integer, also where it is stored as a canonical decimal string.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Item::Int(i) => Some(i),
            Item::Str(s) => canonical_int(s),
        }
    }

    /// The order of the elements' texts, byte by byte.
    pub fn cmp_bytes(&self, bytes: &[u8]) -> Ordering {
        self.to_bytes(&mut itoa::Buffer::new()).cmp(bytes)
    }

    /// The form in which it is stored: an integer if its text is that of one.
    fn canonical(self) -> Self {
        self.as_int().map_or(self, Item::Int)
    }

    /// Bytes of tag and payload, without the backlen. Of the canonical form.
    fn encoded_len(&self) -> usize {
        match *self {
            Item::Int(i) => match i {
                0..=127 => 1,
                -4096..=4095 => 2,
                -32_768..=32_767 => 3,
                -8_388_608..=8_388_607 => 4,
                -2_147_483_648..=2_147_483_647 => 5,
                _ => 9,
            },
            Item::Str(s) => s.len() + str_tag_len(s.len()),
        }
    }

    /// Bytes of the whole entry. Of the canonical form.
    fn entry_len(&self) -> usize {
        let len = self.encoded_len();
        len + backlen_len(len)
    }

    /// Writes the entry to the start of `out`, which has room for it; answers its length.
    fn encode(&self, out: &mut [u8]) -> usize {
        let len = self.encoded_len();
        match *self {
            Item::Int(i) => {
                let le = i.to_le_bytes();
                match len {
                    1 => out[0] = le[0],
                    2 => {
                        out[0] = TAG_INT13 | (le[1] & 0x1F);
                        out[1] = le[0];
                    }
                    _ => {
                        out[0] = match len {
                            3 => TAG_INT16,
                            4 => TAG_INT24,
                            5 => TAG_INT32,
                            _ => TAG_INT64,
                        };
                        out[1..len].copy_from_slice(&le[..len - 1]);
                    }
                }
            }
            Item::Str(s) => {
                let n = s.len();
                let tag_len = len - n;
                match tag_len {
                    1 => out[0] = TAG_STR6 | n as u8,
                    2 => {
                        out[0] = TAG_STR12 | (n >> 8) as u8;
                        out[1] = n as u8;
                    }
                    _ => {
                        out[0] = TAG_STR32;
                        out[1..5].copy_from_slice(&(n as u32).to_le_bytes());
                    }
                }
                out[tag_len..len].copy_from_slice(s);
            }
        }
        let backlen_len = backlen_len(len);
        for (i, byte) in out[len..len + backlen_len].iter_mut().enumerate() {
            let more = if i == 0 { 0 } else { 0x80 };
            *byte = (len >> (7 * (backlen_len - 1 - i))) as u8 & 0x7F | more;
        }
        len + backlen_len
    }
}

impl<'a> From<&'a [u8]> for Item<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Item::Str(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Item<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Item::Str(bytes)
    }
}

impl From<i64> for Item<'_> {
    fn from(int: i64) -> Self {
        Item::Int(int)
    }
}

/// A listpack. Cloning shares the bytes; the first edit after that copies them.
///
/// Elements go in as anything that is [`Into<Item>`](Item): bytes, an `i64`, or an item of another listpack.
#[derive(Clone)]
pub struct Listpack(SharedBuf);

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    pub fn new() -> Self {
        Self(SharedBuf::from_slice(&[HEADER_LEN as u8 + 1, 0, 0, 0, 0, 0, END]))
    }

    /// Takes over bytes from outside, after checking all of them.
    pub fn from_bytes(bytes: SharedBuf) -> Result<Self, ListpackError> {
        validate(&bytes, true)?;
        Ok(Self(bytes))
    }

    /// The whole listpack as Redis stores it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The buffer beneath, to be shared or written without a copy.
    pub fn as_shared(&self) -> &SharedBuf {
        &self.0
    }

    /// Number of elements. O(1) up to 65534 elements, O(n) beyond.
    pub fn len(&self) -> usize {
        match self.header_count() {
            COUNT_UNKNOWN => self.iter().count(),
            n => n as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == HEADER_LEN + 1
    }

    /// Whether `elements` more elements with `payload` bytes in all surely fit under [`LISTPACK_LEN_MAX`].
    pub fn has_room_for(&self, payload: usize, elements: usize) -> bool {
        self.0.len() + payload + elements * ENTRY_OVERHEAD_MAX <= LISTPACK_LEN_MAX
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.0, front: HEADER_LEN, back: self.end() }
    }

    /// The elements from `pos` to the end.
    pub fn iter_from(&self, pos: usize) -> Iter<'_> {
        Iter { front: pos, ..self.iter() }
    }

    // ---- positions ----

    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER_LEN)
    }

    pub fn last(&self) -> Option<usize> {
        self.prev(self.end())
    }

    /// The position after `pos`.
    pub fn next(&self, pos: usize) -> Option<usize> {
        let next = pos + entry_len_at(&self.0, pos);
        (next < self.end()).then_some(next)
    }

    /// The position before `pos`, which may also be [`Listpack::end`].
    pub fn prev(&self, pos: usize) -> Option<usize> {
        (pos > HEADER_LEN).then(|| entry_before(&self.0, pos))
    }

    /// The offset of the end mark: the position before which an element is appended.
    pub fn end(&self) -> usize {
        self.0.len() - 1
    }

    /// The position of element `index`; -1 is the last one. Walks from the nearer end.
    pub fn seek(&self, index: i64) -> Option<usize> {
        let mut index = index;
        let count = self.header_count();
        if count != COUNT_UNKNOWN {
            let count = i64::from(count);
            if index < 0 {
                index += count;
            }
            if index < 0 || index >= count {
                return None;
            }
            if index > count / 2 {
                index -= count;
            }
        }
        if index >= 0 {
            let mut pos = self.first()?;
            for _ in 0..index {
                pos = self.next(pos)?;
            }
            Some(pos)
        } else {
            let mut pos = self.last()?;
            for _ in index..-1 {
                pos = self.prev(pos)?;
            }
            Some(pos)
        }
    }

    /// The element at `pos`.
    pub fn get(&self, pos: usize) -> Item<'_> {
        decode(&self.0, pos).0
    }

    /// The element `index`; -1 is the last one.
    pub fn at(&self, index: i64) -> Option<Item<'_>> {
        self.seek(index).map(|pos| self.get(pos))
    }

    /// The first element that reads as `needle`, comparing one, skipping `skip`, and so on: `skip` 1 finds a
    /// field among fields and values.
    pub fn find(&self, needle: &[u8], skip: usize) -> Option<usize> {
        self.find_from(HEADER_LEN, needle, skip)
    }

    /// As [`Listpack::find`], from `pos` on; `pos` is compared.
    pub fn find_from(&self, pos: usize, needle: &[u8], skip: usize) -> Option<usize> {
        let bytes = self.bytes();
        let needle_int = canonical_int(needle);
        let end = self.end();
        let mut pos = pos;
        while pos < end {
            let (item, next) = decode(bytes, pos);
            let found = match item {
                Item::Str(s) => s == needle,
                Item::Int(i) => needle_int == Some(i),
            };
            if found {
                return Some(pos);
            }
            pos = next;
            for _ in 0..skip {
                if pos >= end {
                    break;
                }
                pos += entry_len_at(bytes, pos);
            }
        }
        None
    }

    // ---- edits ----

    pub fn append<'a>(&mut self, item: impl Into<Item<'a>>) {
        self.insert_before(self.end(), item);
    }

    pub fn prepend<'a>(&mut self, item: impl Into<Item<'a>>) {
        self.insert_before(HEADER_LEN, item);
    }

    /// Inserts before the element at `pos` (or at [`Listpack::end`]); the new element is then at `pos`.
    pub fn insert_before<'a>(&mut self, pos: usize, item: impl Into<Item<'a>>) {
        let item = item.into().canonical();
        let gap = self.open(pos, 0, item.entry_len(), 1);
        item.encode(gap);
    }

    /// Inserts after the element at `pos`; answers the new element's position.
    pub fn insert_after<'a>(&mut self, pos: usize, item: impl Into<Item<'a>>) -> usize {
        let next = pos + entry_len_at(&self.0, pos);
        self.insert_before(next, item);
        next
    }

    /// Puts another element in the place of the one at `pos`, which stays its position.
    pub fn replace<'a>(&mut self, pos: usize, item: impl Into<Item<'a>>) {
        let item = item.into().canonical();
        let old = entry_len_at(&self.0, pos);
        let gap = self.open(pos, old, item.entry_len(), 0);
        item.encode(gap);
    }

    /// Deletes the element at `pos`; answers the position of the one that followed, if any.
    pub fn delete(&mut self, pos: usize) -> Option<usize> {
        self.delete_from(pos, 1)
    }

    /// Deletes up to `count` elements from `pos` on; answers the position of the one that followed, if any.
    pub fn delete_from(&mut self, pos: usize, count: usize) -> Option<usize> {
        let end = self.end();
        let mut stop = pos;
        let mut deleted = 0;
        while deleted < count && stop < end {
            stop += entry_len_at(&self.0, stop);
            deleted += 1;
        }
        self.open(pos, stop - pos, 0, -(deleted as isize));
        (pos < self.end()).then_some(pos)
    }

    /// Deletes up to `count` elements from element `index` on (-1 is the last one); answers how many.
    pub fn delete_range(&mut self, index: i64, count: usize) -> usize {
        let Some(pos) = self.seek(index) else { return 0 };
        let before = self.len();
        self.delete_from(pos, count);
        before - self.len()
    }

    /// Appends all of `items`, growing once.
    pub fn append_many<'a, I>(&mut self, items: I)
    where
        I: IntoIterator<Item: Into<Item<'a>>, IntoIter: Clone>,
    {
        let items = items.into_iter().map(|item| item.into().canonical());
        let (len, count) = items.clone().fold((0, 0), |(len, n), item| (len + item.entry_len(), n + 1));
        let mut gap = self.open(self.end(), 0, len, count);
        for item in items {
            let written = item.encode(gap);
            gap = &mut gap[written..];
        }
    }

    /// Appends the elements of another listpack by one copy of its bytes.
    pub fn append_all(&mut self, other: &Listpack) {
        let entries = &other.bytes()[HEADER_LEN..other.end()];
        let count = other.len() as isize;
        self.open(self.end(), 0, entries.len(), count).copy_from_slice(entries);
    }

    /// Cuts in two before the element at `pos`; answers the part from there on.
    pub fn split_off(&mut self, pos: usize) -> Listpack {
        let end = self.end();
        let mut tail = Listpack::new();
        let entries = &self.bytes()[pos..end];
        let count = Iter { bytes: &self.0, front: pos, back: end }.count() as isize;
        tail.open(HEADER_LEN, 0, entries.len(), count).copy_from_slice(entries);
        self.open(pos, end - pos, 0, -count);
        tail
    }

    fn header_count(&self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    /// The one edit: makes the `old` bytes at `at` `new` bytes long, moving the tail once, brings the header
    /// up to date, and answers those `new` bytes, to be written by the caller.
    fn open(&mut self, at: usize, old: usize, new: usize, added: isize) -> &mut [u8] {
        let len = self.0.len();
        let total = len - old + new;
        // The header's u32 would wrap at 4 GiB. Callers change the encoding long before (`has_room_for`).
        assert!(total <= u32::MAX as usize, "a listpack of {total} bytes");
        let count = match self.header_count() {
            COUNT_UNKNOWN => COUNT_UNKNOWN,
            n => u16::try_from(n as isize + added).unwrap_or(COUNT_UNKNOWN),
        };
        if new > old {
            // Reserved first: `resize` alone would double the buffer.
            self.0.reserve(new - old);
            self.0.resize(total, 0);
            self.0.make_mut().copy_within(at + old..len, at + new);
        } else if new < old {
            self.0.splice(at + new..at + old, &[]);
        }
        let bytes = self.0.make_mut();
        bytes[..4].copy_from_slice(&(total as u32).to_le_bytes());
        bytes[4..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
        &mut bytes[at..at + new]
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements between two positions, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl Iter<'_> {
    /// The position of the element that `next` answers.
    pub fn pos(&self) -> usize {
        self.front
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, next) = decode(self.bytes, self.front);
        self.front = next;
        Some(item)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = entry_before(self.bytes, self.back);
        Some(decode(self.bytes, self.back).0)
    }
}

/// The integer whose canonical decimal form `bytes` is: no sign but a minus, no leading zeros, no blanks.
pub fn canonical_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 19 digits are the longest i64 and never overflow a u64.
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > 19 {
        return None;
    }
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Checks bytes from outside: the frame, and with `deep` every entry and the count. Without an error (and with
/// `deep`) every operation above is safe on them. Never panics and reads each byte at most a few times.
pub fn validate(bytes: &[u8], deep: bool) -> Result<(), ListpackError> {
    let actual = bytes.len();
    if actual < HEADER_LEN + 1 {
        return Err(ListpackError::TooShort { len: actual });
    }
    let header = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if header != actual {
        return Err(ListpackError::LenMismatch { header, actual });
    }
    let end = actual - 1;
    if bytes[end] != END {
        return Err(ListpackError::NoEnd { byte: bytes[end] });
    }
    if !deep {
        return Ok(());
    }
    let mut offset = HEADER_LEN;
    let mut count = 0;
    while offset < end {
        offset = validate_entry(bytes, offset)?;
        count += 1;
    }
    let header = u16::from_le_bytes([bytes[4], bytes[5]]);
    if header != COUNT_UNKNOWN && header as usize != count {
        return Err(ListpackError::CountMismatch { header: header as usize, actual: count });
    }
    Ok(())
}

/// Checks the entry at `offset`; answers the offset after it, at most that of the end mark.
fn validate_entry(bytes: &[u8], offset: usize) -> Result<usize, ListpackError> {
    let end = bytes.len() - 1;
    let tag = bytes[offset];
    let tag_len = match tag {
        TAG_STR12..TAG_STR32 => 2,
        TAG_STR32 => 5,
        END => return Err(ListpackError::EarlyEnd { offset }),
        0xF5..END => return Err(ListpackError::BadTag { offset, byte: tag }),
        _ => 1,
    };
    if offset + tag_len > end {
        return Err(ListpackError::Overrun { offset });
    }
    let len = encoded_len_at(bytes, offset);
    let next = offset + len + backlen_len(len);
    if next > end {
        return Err(ListpackError::Overrun { offset });
    }
    let found = read_backlen(bytes, next);
    if found != len {
        return Err(ListpackError::BadBacklen { offset, expected: len, found });
    }
    Ok(next)
}

fn str_tag_len(len: usize) -> usize {
    match len {
        0..64 => 1,
        64..4096 => 2,
        _ => 5,
    }
}

/// Bytes of tag and payload of the entry at `pos`.
#[inline]
fn encoded_len_at(bytes: &[u8], pos: usize) -> usize {
    let tag = bytes[pos];
    match tag {
        0..TAG_STR6 => 1,
        TAG_STR6..TAG_INT13 => 1 + (tag & 0x3F) as usize,
        TAG_INT13..TAG_STR12 => 2,
        TAG_STR12..TAG_STR32 => 2 + str12_len(bytes, pos),
        TAG_STR32 => 5 + str32_len(bytes, pos),
        TAG_INT16 => 3,
        TAG_INT24 => 4,
        TAG_INT32 => 5,
        _ => 9,
    }
}

#[inline]
fn entry_len_at(bytes: &[u8], pos: usize) -> usize {
    let len = encoded_len_at(bytes, pos);
    len + backlen_len(len)
}

/// The element at `pos`, and the offset after its entry.
#[inline]
fn decode(bytes: &[u8], pos: usize) -> (Item<'_>, usize) {
    let tag = bytes[pos];
    let payload = &bytes[pos + 1..];
    let (item, len) = match tag {
        0..TAG_STR6 => (Item::Int(i64::from(tag)), 1),
        TAG_STR6..TAG_INT13 => {
            let n = (tag & 0x3F) as usize;
            (Item::Str(&payload[..n]), 1 + n)
        }
        TAG_INT13..TAG_STR12 => (Item::Int(sign_extend(&[payload[0], tag & 0x1F], 13)), 2),
        TAG_STR12..TAG_STR32 => {
            let n = str12_len(bytes, pos);
            (Item::Str(&payload[1..1 + n]), 2 + n)
        }
        TAG_STR32 => {
            let n = str32_len(bytes, pos);
            (Item::Str(&payload[4..4 + n]), 5 + n)
        }
        TAG_INT16 => (Item::Int(sign_extend(&payload[..2], 16)), 3),
        TAG_INT24 => (Item::Int(sign_extend(&payload[..3], 24)), 4),
        TAG_INT32 => (Item::Int(sign_extend(&payload[..4], 32)), 5),
        _ => (Item::Int(sign_extend(&payload[..8], 64)), 9),
    };
    (item, pos + len + backlen_len(len))
}

/// The position of the entry that ends where `pos` begins.
#[inline]
fn entry_before(bytes: &[u8], pos: usize) -> usize {
    let len = read_backlen(bytes, pos);
    pos - len - backlen_len(len)
}

/// The backlen that ends before `pos`. Five bytes at most, so that it stays behind the header.
#[inline]
fn read_backlen(bytes: &[u8], pos: usize) -> usize {
    let mut len = 0;
    for i in 0..BACKLEN_MAX {
        let byte = bytes[pos - 1 - i];
        len |= ((byte & 0x7F) as usize) << (7 * i);
        if byte & 0x80 == 0 {
            break;
        }
    }
    len
}

/// Bytes of the backlen of an entry of `len` bytes. Redis leaves the largest value of each width but the
/// first to the next wider one.
#[inline]
fn backlen_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn str12_len(bytes: &[u8], pos: usize) -> usize {
    ((bytes[pos] & 0x0F) as usize) << 8 | bytes[pos + 1] as usize
}

fn str32_len(bytes: &[u8], pos: usize) -> usize {
    u32::from_le_bytes([bytes[pos + 1], bytes[pos + 2], bytes[pos + 3], bytes[pos + 4]]) as usize
}

/// The little-endian two's complement number of `bits` bits in `bytes`.
fn sign_extend(bytes: &[u8], bits: u32) -> i64 {
    let mut le = [0; 8];
    le[..bytes.len()].copy_from_slice(bytes);
    let unused = 64 - bits;
    i64::from_le_bytes(le) << unused >> unused
}

#[cfg(test)]
#[path = "listpack_tests.rs"]
mod tests;
