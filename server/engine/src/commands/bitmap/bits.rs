//! Bits of a byte string, counted from the most significant one of the first byte.

use std::ops::Range;

/// How many bits are set.
pub(super) fn count(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(size_of::<u64>());
    let whole: u64 = chunks.by_ref().map(|chunk| u64::from(word(chunk).count_ones())).sum();
    whole + chunks.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bits of the range are set. It must lie within the bytes and not be empty.
pub(super) fn count_in(bytes: &[u8], bits: Range<usize>) -> u64 {
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let before = bytes[first] & !after_mask(bits.start);
    let behind = bytes[last] & before_mask(bits.end);
    count(&bytes[first..=last]) - u64::from(before.count_ones()) - u64::from(behind.count_ones())
}

/// The first bit of this value in the range, which must lie within the bytes.
pub(super) fn find(bytes: &[u8], value: bool, bits: Range<usize>) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    // Looked for as set bits: clear ones are the set ones of the complement.
    let flip = if value { 0 } else { 0xff };
    let at = |byte: usize| {
        let mut found = bytes[byte] ^ flip;
        if byte == first {
            found &= after_mask(bits.start);
        }
        if byte == last {
            found &= !before_mask(bits.end);
        }
        (found != 0).then(|| byte * 8 + found.leading_zeros() as usize)
    };
    if let Some(bit) = at(first) {
        return Some(bit);
    }
    let none = u64::from_ne_bytes([flip; 8]);
    let mut byte = first + 1;
    while byte < last {
        if byte + 8 <= last && word(&bytes[byte..byte + 8]) == none {
            byte += 8;
        } else if let Some(bit) = at(byte) {
            return Some(bit);
        } else {
            byte += 1;
        }
    }
    if last > first { at(last) } else { None }
}

/// Ones from the bit's place in its byte on.
fn after_mask(bit: usize) -> u8 {
    0xff >> (bit % 8)
}

/// Ones behind the end of a range in its last byte.
fn before_mask(end: usize) -> u8 {
    0x7f >> ((end - 1) % 8)
}

fn word(chunk: &[u8]) -> u64 {
    u64::from_ne_bytes(chunk.try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_looking_at_each_bit(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1..80),
            a: usize,
            b: usize,
            value: bool,
        ) {
            let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1 == 1;
            let len = bytes.len() * 8;
            let (start, end) = ((a % len).min(b % len), (a % len).max(b % len) + 1);
            let expected = (start..end).filter(|&at| bit(at)).count() as u64;
            prop_assert_eq!(count_in(&bytes, start..end), expected);
            prop_assert_eq!(count(&bytes), (0..len).filter(|&at| bit(at)).count() as u64);
            prop_assert_eq!(find(&bytes, value, start..end), (start..end).find(|&at| bit(at) == value));
        }
    }
}
