//! Ziplists and zipmaps: how versions before 7.0 packed small collections. They are only ever read.

use super::error::Problem;
use crate::ds::Listpack;
use crate::ds::listpack::Item;

const END: u8 = 0xff;
/// Total length, offset of the last entry, number of entries.
const ZIPLIST_HEADER_LEN: usize = 10;
/// The number of entries is not known.
const ZIPLIST_COUNT_UNKNOWN: u16 = u16::MAX;
/// First byte of a length that follows in four bytes.
const LONG_LEN: u8 = 0xfe;
/// From this number of pairs on, a zipmap does not say how many it has.
const ZIPMAP_COUNT_UNKNOWN: u8 = 0xfe;

const BAD_ZIPLIST: Problem = Problem::Content("a ziplist is damaged");
const BAD_ZIPMAP: Problem = Problem::Content("a zipmap is damaged");

/// The elements of a ziplist; every field of it is checked, in one walk.
///
/// ```text
/// ┌────────────┬───────────┬────────────┬─────────┬─────┬──────┐
/// │ bytes: u32 │ last: u32 │ count: u16 │ entry 0 │  …  │ 0xff │   entry: length of the one before, encoding, data
/// └────────────┴───────────┴────────────┴─────────┴─────┴──────┘
/// ```
pub fn ziplist(bytes: &[u8]) -> Result<Vec<Item<'_>>, Problem> {
    let (header, entries) = bytes.split_first_chunk::<ZIPLIST_HEADER_LEN>().ok_or(BAD_ZIPLIST)?;
    let [l0, l1, l2, l3, t0, t1, t2, t3, c0, c1] = *header;
    let (len, last) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([t0, t1, t2, t3]));
    let Some((&END, mut rest)) = entries.split_last() else { return Err(BAD_ZIPLIST) };
    if len as usize != bytes.len() {
        return Err(BAD_ZIPLIST);
    }
    let end = bytes.len() - 1;
    let mut items = Vec::new();
    let (mut before_len, mut before_at) = (0, ZIPLIST_HEADER_LEN);
    while !rest.is_empty() {
        let at = end - rest.len();
        let (item, after) = ziplist_entry(rest, before_len).ok_or(BAD_ZIPLIST)?;
        items.push(item);
        before_len = rest.len() - after.len();
        before_at = at;
        rest = after;
    }
    let count = u16::from_le_bytes([c0, c1]);
    let count_is_right = count == ZIPLIST_COUNT_UNKNOWN || usize::from(count) == items.len();
    if !count_is_right || (!items.is_empty() && last as usize != before_at) {
        return Err(BAD_ZIPLIST);
    }
    Ok(items)
}

/// The first entry of `bytes`, and what follows it. The entry before it has `before_len` bytes (0: none).
fn ziplist_entry(bytes: &[u8], before_len: usize) -> Option<(Item<'_>, &[u8])> {
    let (prev, bytes) = match bytes {
        [LONG_LEN, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [short @ 0..LONG_LEN, rest @ ..] => (usize::from(*short), rest),
        _ => return None,
    };
    if prev != before_len {
        return None;
    }
    let (&encoding, bytes) = bytes.split_first()?;
    match encoding {
        0x00..0x40 => ziplist_string(bytes, usize::from(encoding)),
        0x40..0x80 => {
            let (&low, bytes) = bytes.split_first()?;
            ziplist_string(bytes, usize::from(encoding & 0x3f) << 8 | usize::from(low))
        }
        0x80 => {
            let (len, bytes) = bytes.split_first_chunk()?;
            ziplist_string(bytes, u32::from_be_bytes(*len) as usize)
        }
        0xc0 => ziplist_int::<2>(bytes),
        0xd0 => ziplist_int::<4>(bytes),
        0xe0 => ziplist_int::<8>(bytes),
        0xf0 => ziplist_int::<3>(bytes),
        0xfe => ziplist_int::<1>(bytes),
        0xf1..=0xfd => Some((Item::Int(i64::from(encoding - 0xf1)), bytes)),
        _ => None,
    }
}

fn ziplist_string(bytes: &[u8], len: usize) -> Option<(Item<'_>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((Item::Str(text), rest))
}

fn ziplist_int<const N: usize>(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<N>()?;
    // Into the high bytes, and down again with the sign.
    let mut wide = [0; 8];
    wide[8 - N..].copy_from_slice(value);
    Some((Item::Int(i64::from_le_bytes(wide) >> (64 - 8 * N)), rest))
}

/// A ziplist as a listpack.
pub fn ziplist_to_listpack(bytes: &[u8]) -> Result<Listpack, Problem> {
    let items = ziplist(bytes)?;
    let mut pack = Listpack::new();
    let payload = items.iter().map(Item::text_len).sum();
    if !pack.has_room_for(payload, items.len()) {
        return Err(Problem::Content("a ziplist is too long for a listpack"));
    }
    pack.append_many(items.iter().copied());
    Ok(pack)
}

/// A field and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The fields of a zipmap with their values.
///
/// ```text
/// ┌───────────┬─────────────────┬───────┬──────────────────────────┬───────┬───────┬─────┬──────┐
/// │ count: u8 │ length of field │ field │ length of value, free: u8│ value │ free  │  …  │ 0xff │
/// └───────────┴─────────────────┴───────┴──────────────────────────┴───────┴───────┴─────┴──────┘
/// ```
pub fn zipmap(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Problem> {
    let [count, rest @ .., END] = bytes else { return Err(BAD_ZIPMAP) };
    let mut rest = rest;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (pair, after) = zipmap_pair(rest).ok_or(BAD_ZIPMAP)?;
        pairs.push(pair);
        rest = after;
    }
    if *count < ZIPMAP_COUNT_UNKNOWN && usize::from(*count) != pairs.len() {
        return Err(BAD_ZIPMAP);
    }
    Ok(pairs)
}

fn zipmap_pair(bytes: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let (len, bytes) = zipmap_len(bytes)?;
    let (field, bytes) = bytes.split_at_checked(len)?;
    let (len, bytes) = zipmap_len(bytes)?;
    let (&free, bytes) = bytes.split_first()?;
    let (value, bytes) = bytes.split_at_checked(len)?;
    let (_, rest) = bytes.split_at_checked(usize::from(free))?;
    Some(((field, value), rest))
}

fn zipmap_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [LONG_LEN, a, b, c, d, rest @ ..] => Some((u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest)),
        [short @ 0..LONG_LEN, rest @ ..] => Some((usize::from(*short), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ziplist of these encoded entries (encoding and data, without the length of the one before).
    fn ziplist_of(entries: &[&[u8]]) -> Vec<u8> {
        let mut body = Vec::new();
        let (mut last, mut before_len) = (ZIPLIST_HEADER_LEN, 0);
        for entry in entries {
            last = ZIPLIST_HEADER_LEN + body.len();
            let start = body.len();
            match u8::try_from(before_len) {
                Ok(short @ 0..LONG_LEN) => body.push(short),
                _ => {
                    body.push(LONG_LEN);
                    body.extend_from_slice(&(before_len as u32).to_le_bytes());
                }
            }
            body.extend_from_slice(entry);
            before_len = body.len() - start;
        }
        let mut bytes = ((ZIPLIST_HEADER_LEN + body.len() + 1) as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(last as u32).to_le_bytes());
        bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.push(END);
        bytes
    }

    fn texts(items: &[Item<'_>]) -> Vec<Vec<u8>> {
        items.iter().map(|item| item.to_bytes(&mut itoa::Buffer::new()).to_vec()).collect()
    }

    #[test]
    fn every_encoding_of_a_ziplist() {
        let medium = [&[0x41, 0x2c][..], &[b'm'; 300]].concat();
        let long = [&[0x80, 0, 0, 0x40, 0x00][..], &[b'l'; 16_384]].concat();
        let bytes = ziplist_of(&[
            b"\x05short",
            &medium,
            &long,
            &[0xfe, 0x80],
            &[0xc0, 0xff, 0x7f],
            &[0xf0, 0x00, 0x00, 0x80],
            &[0xd0, 0x00, 0x00, 0x00, 0x80],
            &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0xf1],
            &[0xfd],
        ]);
        let found = texts(&ziplist(&bytes).expect("valid"));
        let expected: [&[u8]; 10] = [
            b"short",
            &[b'm'; 300],
            &[b'l'; 16_384],
            b"-128",
            b"32767",
            b"-8388608",
            b"-2147483648",
            b"-9223372036854775808",
            b"0",
            b"12",
        ];
        assert_eq!(found, expected);
        assert_eq!(ziplist_to_listpack(&bytes).expect("valid").len(), 10);
    }

    #[test]
    fn an_empty_ziplist_has_no_elements() {
        assert_eq!(ziplist(&ziplist_of(&[])).expect("valid").len(), 0);
    }

    #[test]
    fn every_wrong_field_of_a_ziplist_is_noticed() {
        let good = ziplist_of(&[b"\x01a", b"\x02bc", &[0xc0, 1, 2]]);
        assert!(ziplist(&good).is_ok());
        for at in [0, 4, 8, 10, 11, 13, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(ziplist(&bad), Err(BAD_ZIPLIST), "byte {at}");
        }
        for len in 0..good.len() {
            assert_eq!(ziplist(&good[..len]), Err(BAD_ZIPLIST), "{len} bytes");
        }
    }

    #[test]
    fn zipmaps_may_have_free_bytes_and_long_strings() {
        let mut bytes = b"\x02\x03foo\x03\x02bar??\xfe".to_vec();
        bytes.extend_from_slice(&300u32.to_le_bytes());
        bytes.extend_from_slice(&[b'f'; 300]);
        bytes.extend_from_slice(b"\x00\x00\xff");
        assert_eq!(zipmap(&bytes), Ok(vec![(&b"foo"[..], &b"bar"[..]), (&[b'f'; 300][..], &b""[..])]));
        bytes[0] = ZIPMAP_COUNT_UNKNOWN;
        assert!(zipmap(&bytes).is_ok());
        bytes[0] = 3;
        assert_eq!(zipmap(&bytes), Err(BAD_ZIPMAP));
        for bad in [
            &b""[..],
            b"\x01",
            b"\x01\xff\xff",
            b"\x01\x03fo\xff",
            b"\x01\x01f\x05\x00v\xff",
            b"\x01\x01f\x01\x09v\xff",
        ] {
            assert_eq!(zipmap(bad), Err(BAD_ZIPMAP), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..64), fix in any::<bool>()) {
            if fix && bytes.len() > ZIPLIST_HEADER_LEN {
                let len = bytes.len() as u32;
                bytes[..4].copy_from_slice(&len.to_le_bytes());
                *bytes.last_mut().expect("not empty") = END;
            }
            let _ = ziplist(&bytes);
            let _ = zipmap(&bytes);
        }
    }
}
