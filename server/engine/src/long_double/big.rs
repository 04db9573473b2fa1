//! Natural numbers of any size: just what parsing and printing need.

use std::cmp::Ordering;
use std::fmt;

/// The largest power of ten in a limb, and its exponent.
const TEN_POWER: u64 = 10u64.pow(TEN_EXPONENT as u32);
const TEN_EXPONENT: usize = 19;

/// A natural number; limbs of 64 bits, the least significant first, the last one not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Big(Vec<u64>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        Self(if value == 0 { Vec::new() } else { vec![value] })
    }
}

impl Big {
    pub fn power_of_ten(exponent: usize) -> Self {
        let mut power = Self::from(10u64.pow((exponent % TEN_EXPONENT) as u32));
        for _ in 0..exponent / TEN_EXPONENT {
            power.multiply_add(TEN_POWER, 0);
        }
        power
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of bits up to the highest that is set.
    pub fn bits(&self) -> u32 {
        self.0.last().map_or(0, |last| self.0.len() as u32 * u64::BITS - last.leading_zeros())
    }

    /// Multiplies by `factor`, then adds `addend`.
    pub fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = product as u64;
            carry = (product >> u64::BITS) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    pub fn times(&self, other: &Self) -> Self {
        let mut product = vec![0u64; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.0.iter().enumerate() {
                let sum = u128::from(a) * u128::from(b) + u128::from(product[i + j]) + u128::from(carry);
                product[i + j] = sum as u64;
                carry = (sum >> u64::BITS) as u64;
            }
            product[i + other.0.len()] = carry;
        }
        Self(product).trimmed()
    }

    /// Times 2 to `by`.
    pub fn shifted(&self, by: u32) -> Self {
        let bits = by % u64::BITS;
        let mut limbs = vec![0; (by / u64::BITS) as usize];
        let mut carry = 0;
        for &limb in &self.0 {
            limbs.push(limb << bits | carry);
            carry = limb.checked_shr(u64::BITS - bits).unwrap_or(0);
        }
        limbs.push(carry);
        Self(limbs).trimmed()
    }

    pub fn double(&mut self) {
        let mut carry = 0;
        for limb in &mut self.0 {
            let high = *limb >> (u64::BITS - 1);
            *limb = *limb << 1 | carry;
            carry = high;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    /// Subtracts a number that is not larger.
    pub fn subtract(&mut self, other: &Self) {
        debug_assert!(*self >= *other);
        let mut borrow = false;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let (difference, under) = limb.overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = under || under_again;
        }
        *self = Self(std::mem::take(&mut self.0)).trimmed();
    }

    /// The highest 128 bits with the top one set, the power of 2 that they are multiplied with, and whether any bit
    /// is set below them. Not of 0.
    pub fn top(&self) -> (u128, i32, bool) {
        let bits = self.bits();
        let exponent = bits as i32 - u128::BITS as i32;
        if exponent <= 0 {
            let value = self.0.iter().rev().fold(0u128, |value, &limb| value << u64::BITS | u128::from(limb));
            return (value << exponent.unsigned_abs(), exponent, false);
        }
        let (skip, shift) = (exponent as usize / 64, exponent as u32 % u64::BITS);
        let limb = |i: usize| u128::from(self.0.get(skip + i).copied().unwrap_or(0));
        let low = limb(1) << u64::BITS | limb(0);
        let top = if shift == 0 { low } else { low >> shift | limb(2) << (u128::BITS - shift) };
        let below = self.0[..skip].iter().any(|&limb| limb != 0) || limb(0) & ((1 << shift) - 1) != 0;
        (top, exponent, below)
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }
}

impl Ord for Big {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0;
            for limb in rest.0.iter_mut().rev() {
                let value = u128::from(remainder) << u64::BITS | u128::from(*limb);
                *limb = (value / u128::from(TEN_POWER)) as u64;
                remainder = (value % u128::from(TEN_POWER)) as u64;
            }
            rest = rest.trimmed();
            groups.push(remainder);
        }
        write!(f, "{}", groups.pop().unwrap_or(0))?;
        groups.iter().rev().try_for_each(|group| write!(f, "{group:0TEN_EXPONENT$}"))
    }
}
