//! LZF, the compression of long strings in RDB files (the format of Marc Lehmann's liblzf).
//!
//! ```text
//! 000nnnnn  n+1 bytes                 literals, 1 to 32
//! lllooooo  oooooooo                  l+2 bytes (l in 1..=6) from o+1 bytes back
//! 111ooooo  nnnnnnnn  oooooooo        n+9 bytes from o+1 bytes back
//! ```

use crate::ds::SharedBuf;

const LITERALS_MAX: usize = 32;
const OFFSET_MAX: usize = 1 << 13;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;

/// What three bytes can grow to at most: the longest match.
const GROWTH_MAX: usize = MATCH_MAX / 3;

/// Slots of the table of places seen: 64 KiB, so that it stays in a core's cache.
const TABLE_BITS: u32 = 14;

/// Compresses one string after the other; the table lives on, so that a short string costs no clearing.
pub struct Compressor {
    /// For a hash of three bytes, where they were seen last: `base` of its string + offset in it.
    places: Box<[u32; 1 << TABLE_BITS]>,
    /// The next string's offset 0. What is below belongs to older strings.
    base: u32,
}

impl Compressor {
    /// A compressor that has seen nothing.
    pub fn new() -> Self {
        Self { places: Box::new([0; 1 << TABLE_BITS]), base: 1 }
    }

    /// Appends the compressed form of `input` to `out` when it is shorter than `limit` bytes. False: `out` is as
    /// it was.
    pub fn compress(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
        let Ok(input_len) = u32::try_from(input.len()) else { return false };
        let Some(next_base) = self.base.checked_add(input_len) else {
            *self = Self::new();
            return input_len < u32::MAX && self.compress(input, limit, out);
        };
        let start = out.len();
        let fits = self.compress_into(input, limit, out);
        self.base = next_base;
        if !fits {
            out.truncate(start);
        }
        fits
    }

    fn compress_into(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let (mut at, mut literals_from) = (0, 0);
        while at + MATCH_MIN <= input.len() {
            let three = [input[at], input[at + 1], input[at + 2]];
            let place = self.base + at as u32;
            let seen = std::mem::replace(&mut self.places[slot(three)], place);
            let back = (place - seen) as usize;
            if seen < self.base || back > OFFSET_MAX || input[at - back..at - back + MATCH_MIN] != three {
                at += 1;
                continue;
            }
            let room = (input.len() - at).min(MATCH_MAX);
            let len =
                MATCH_MIN + common_prefix(&input[at - back + MATCH_MIN..], &input[at + MATCH_MIN..at + room]);
            put_literals(&input[literals_from..at], out);
            put_match(back, len, out);
            if out.len() - start >= limit {
                return false;
            }
            // Two places inside of the match are enough to find the next ones.
            let end = at + len;
            for inside in [end - 2, end - 1] {
                if let Some(&three) = input[inside..].first_chunk() {
                    self.places[slot(three)] = self.base + inside as u32;
                }
            }
            (at, literals_from) = (end, end);
        }
        let literals = &input[literals_from..];
        // Checked first: incompressible text is not even copied.
        let literals_cost = literals.len() + literals.len().div_ceil(LITERALS_MAX);
        if out.len() - start + literals_cost >= limit {
            return false;
        }
        put_literals(literals, out);
        true
    }
}

fn slot(three: [u8; 3]) -> usize {
    let value = u32::from_le_bytes([three[0], three[1], three[2], 0]);
    (value.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn put_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn put_match(back: usize, len: usize, out: &mut Vec<u8>) {
    let (len, offset) = (len - 2, back - 1);
    let high = (offset >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (len - 7) as u8]);
    }
    out.push(offset as u8);
}

/// What `input` is the compressed form of, if that is exactly `len` bytes. Allocates no more than `input` can
/// justify.
pub fn decompress(input: &[u8], len: usize) -> Option<SharedBuf> {
    if len.div_ceil(GROWTH_MAX) > input.len() {
        return None;
    }
    let mut buf = SharedBuf::with_capacity(len);
    buf.resize(len, 0);
    decompress_into(input, buf.make_mut())?;
    Some(buf)
}

fn decompress_into(mut input: &[u8], out: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while let Some((&control, rest)) = input.split_first() {
        let control = usize::from(control);
        if control < LITERALS_MAX {
            let (literals, rest) = rest.split_at_checked(control + 1)?;
            out.get_mut(at..at + literals.len())?.copy_from_slice(literals);
            at += literals.len();
            input = rest;
            continue;
        }
        let (len, low, rest) = match (control >> 5, rest) {
            (7, [more, low, rest @ ..]) => (usize::from(*more) + 9, *low, rest),
            (7, _) => return None,
            (short, [low, rest @ ..]) => (short + 2, *low, rest),
            _ => return None,
        };
        let back = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        let from = at.checked_sub(back)?;
        if at + len > out.len() {
            return None;
        }
        if back >= len {
            out.copy_within(from..from + len, at);
        } else {
            // The match overlaps what it makes: a repetition of the last `back` bytes.
            for i in 0..len {
                out[at + i] = out[from + i];
            }
        }
        at += len;
        input = rest;
    }
    (at == out.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compressed(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        Compressor::new().compress(input, input.len(), &mut out).then_some(out)
    }

    #[test]
    fn a_repetition_becomes_one_match() {
        let out = compressed(&[b'a'; 100]).expect("compressible");
        assert_eq!(out, [0, b'a', 7 << 5, 99 - 9, 0]);
        assert_eq!(&*decompress(&out, 100).expect("valid"), &[b'a'; 100]);
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = b"before".to_vec();
        assert!(!Compressor::new().compress(&bytes, bytes.len(), &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn an_earlier_string_is_never_referred_to() {
        let mut compressor = Compressor::new();
        let text = b"the quick brown fox jumps over the lazy dog, the quick brown fox";
        let first = compressed(text).expect("compressible");
        for _ in 0..3 {
            let mut out = Vec::new();
            assert!(compressor.compress(text, text.len(), &mut out));
            assert_eq!(out, first);
        }
    }

    #[test]
    fn a_length_that_no_input_can_reach_allocates_nothing() {
        assert!(decompress(&[0, b'a', 7 << 5, 255, 0], usize::MAX).is_none());
        assert!(decompress(&[], 1).is_none());
    }

    #[test]
    fn broken_input_is_refused() {
        for (input, len) in [
            (&[3, b'a'][..], 4),            // literals are missing
            (&[0, b'a', 1 << 5], 4),        // the offset is missing
            (&[0, b'a', 7 << 5, 0], 10),    // of a long match, too
            (&[0, b'a', 1 << 5, 1], 4),     // refers to before the start
            (&[0, b'a', 1 << 5, 0], 3),     // makes more than was said
            (&[0, b'a', 1 << 5, 0], 5),     // makes less than was said
            (&[1, b'a', b'b', 0, b'c'], 2), // literals beyond the end
        ] {
            assert!(decompress(input, len).is_none(), "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            words in prop::collection::vec(prop::collection::vec(0u8..4, 1..12), 1..6),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
            repeats in 1usize..4,
        ) {
            let mut compressor = Compressor::new();
            for _ in 0..repeats {
                let text: Vec<u8> = picks.iter().flat_map(|pick| pick.get(&words).clone()).collect();
                let mut out = Vec::new();
                if compressor.compress(&text, text.len(), &mut out) {
                    prop_assert!(out.len() < text.len());
                    prop_assert_eq!(&*decompress(&out, text.len()).expect("valid"), &text[..]);
                }
            }
        }

        #[test]
        fn any_input_is_survived(input in prop::collection::vec(any::<u8>(), 0..64), len in 0usize..10_000) {
            if let Some(out) = decompress(&input, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
