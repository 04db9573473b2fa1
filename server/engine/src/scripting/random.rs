//! `math.random` and `math.randomseed` as Redis provides them: the same sequence on every machine.

use super::stack::{Raise, Results, Stack};
use super::vm::Shared;

/// The 48-bit linear congruential generator of `drand48`, with its standard constants.
pub(super) struct Lrand48(u64);

const MULTIPLIER: u64 = 0x5_deec_e66d;
const INCREMENT: u64 = 0xb;
const MODULUS_MASK: u64 = (1 << 48) - 1;

impl Default for Lrand48 {
    fn default() -> Self {
        Lrand48(0x1234_abcd_330e)
    }
}

impl Lrand48 {
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed as u32) << 16) | 0x330e;
    }

    /// A number below 2^31.
    pub(super) fn next(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MODULUS_MASK;
        (self.0 >> 17) as i32
    }
}

/// Replaces the two functions in the `math` table on top.
pub(super) fn register(stack: Stack, shared: *mut Shared) {
    stack.register("random", shared, random);
    stack.register("randomseed", shared, randomseed);
}

fn random(stack: Stack) -> Results {
    const MAX: i32 = i32::MAX;
    // SAFETY: the interpreter's state outlives its functions; nothing else borrows the generator.
    let drawn = unsafe { (*stack.shared()).random.next() };
    let r = f64::from(drawn % MAX) / f64::from(MAX);
    let bound = |index| stack.check_integer(index).map(|n| n as i32);
    let value = match stack.top() {
        0 => r,
        1 => {
            let upper = bound(1)?;
            if upper < 1 {
                return Err(Raise::arg(1, "interval is empty"));
            }
            (r * f64::from(upper)).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (bound(1)?, bound(2)?);
            if lower > upper {
                return Err(Raise::arg(2, "interval is empty"));
            }
            (r * f64::from(upper.wrapping_sub(lower).wrapping_add(1))).floor() + f64::from(lower)
        }
        _ => return Err(Raise::at("wrong number of arguments")),
    };
    stack.push_number(value);
    Ok(1)
}

fn randomseed(stack: Stack) -> Results {
    let seed = stack.check_integer(1)? as i32;
    // SAFETY: as in `random`.
    unsafe { (*stack.shared()).random.seed(seed) };
    Ok(0)
}
