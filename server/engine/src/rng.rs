//! The engine's own source of chance: seeded by the host, so that a run can be repeated.

use std::cell::Cell;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, good enough to pick keys, and the same on every machine.
/// Works through a shared reference because reads (LFU counters, RANDOMKEY) need chance too.
#[derive(Debug)]
pub struct Rng(Cell<u64>);

impl Rng {
    /// A generator that will repeat itself for an equal seed.
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// 64 uniform bits.
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform number in `0..n`. `n` must not be 0.
    pub fn below(&self, n: u64) -> u64 {
        assert!(n > 0, "a draw from nothing");
        // Multiply-shift; the bias is below n / 2^64.
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A uniform double in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
