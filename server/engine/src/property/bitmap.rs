//! Random commands on bitmaps.

use super::{pick, words};
use crate::rng::Rng;

const LINES: &[&str] = &[
    "GETBIT K 5",
    "SETBIT K 5 2",
    "SETBIT K -1 1",
    "SETBIT K 4294967296 1",
    "BITCOUNT K",
    "BITCOUNT K 1 -2 BIT",
    "BITCOUNT K 1",
    "BITPOS K 1",
    "BITPOS K 0 2 -1 BIT",
    "BITOP AND K K K",
    "BITOP OR K K K K",
    "BITOP XOR K K K",
    "BITOP NOT K K",
    "BITOP NOT K K K",
    "BITFIELD K GET u8 0",
    "BITFIELD K SET i5 3 -7 GET u16 #1",
    "BITFIELD K INCRBY u4 100 3 INCRBY i64 7 9223372036854775807",
    "BITFIELD K OVERFLOW SAT INCRBY u2 0 3 OVERFLOW FAIL INCRBY u2 0 3",
    "BITFIELD K OVERFLOW FAIL INCRBY u2 900 7",
    "BITFIELD K SET u64 0 1",
    "BITFIELD_RO K GET i9 4",
    "BITFIELD_RO K SET i9 4 1",
];

/// A command, sometimes a wrong one.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    if rng.below(2) == 0 {
        return words(rng, &format!("SETBIT K {} {}", rng.below(300), rng.below(2)));
    }
    words(rng, pick(rng, LINES))
}
