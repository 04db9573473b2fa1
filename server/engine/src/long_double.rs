//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis computes them in C's `long double`, which on x86-64 is the x87's extended format: a mantissa of 64 bits, an
//! exponent of 15. Clients see it: 0.1 + 0.2 is 0.3 there, not 0.30000000000000004. No Rust type has this format, so
//! it is done here in integers: parsing (`strtold`), one addition, and printing (`%.17Lf`), each rounded correctly,
//! half to even, as glibc and the processor do.

mod big;

use std::fmt;

use big::Big;

/// Longest text that Redis looks at.
const TEXT_MAX: usize = 5 * 1024 - 1;
/// Bits of the mantissa.
const PRECISION: i32 = u64::BITS as i32;
/// The largest value is below 2 to one more than this.
const EXPONENT_MAX: i32 = 16_383;
/// The smallest value is 2 to this; values near it have fewer bits.
const STEP_MIN: i32 = -16_445;
/// Decimal exponents beyond these are infinite, or zero, whatever the digits: the bounds of the two above.
const DECIMAL_MAX: i64 = 4_932;
const DECIMAL_MIN: i64 = -4_951;
/// Decimals that are printed, before trailing zeros go.
const DECIMALS: usize = 17;
/// Digits that fit 64 bits, in base 10 and in base 16.
const CHUNK: usize = 15;

/// A number of the x87's extended format; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    Zero,
    /// `mantissa` times 2 to `exponent`; the mantissa's top bit is set.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

impl LongDouble {
    /// Reads what `strtold` reads, all of it: decimal, hexadecimal, `inf`. `None` for anything else, for NaN, and for
    /// numbers too large or too small to be told from infinity or zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', rest @ ..] => parse_digits::<16>(rest)?,
            [b'i' | b'I', ..] => {
                let known = [&b"inf"[..], b"infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
                known.then_some(Magnitude::Infinite)?
            }
            _ => parse_digits::<10>(unsigned)?,
        };
        Some(Self { negative, magnitude })
    }

    /// The nearest double; infinite if it is too large for one, and the smallest one if it is too small.
    pub fn to_f64(self) -> f64 {
        let magnitude = match self.magnitude {
            Magnitude::Zero => 0.0,
            Magnitude::Infinite => f64::INFINITY,
            Magnitude::Finite { mantissa, exponent } => {
                (mantissa as f64 * 2f64.powi(exponent)).max(f64::MIN_POSITIVE)
            }
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// Is it infinite?
    pub fn is_infinite(&self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// The sum; `None` when it would be infinite or not a number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        use Magnitude::{Finite, Infinite, Zero};
        let (a, b) = match (self.magnitude, other.magnitude) {
            (Infinite, _) | (_, Infinite) => return None,
            (_, Zero) => return Some(self),
            (Zero, _) => return Some(other),
            (Finite { mantissa: m, exponent: e }, Finite { mantissa: n, exponent: f }) => ((e, m), (f, n)),
        };
        // Mantissas have their top bits set: exponents decide first.
        let (large, small, negative) = if a >= b { (a, b, self.negative) } else { (b, a, other.negative) };
        // Two bits above for the carry, 62 below: what falls off there only matters as "a little more".
        const ROOM: u32 = 62;
        let high = u128::from(large.1) << ROOM;
        let low = u128::from(small.1) << ROOM;
        let distance = (large.0 - small.0) as u32;
        let shifted = low.checked_shr(distance).unwrap_or(0);
        let lost = shifted.checked_shl(distance).unwrap_or(0) != low;
        let sum = if self.negative == other.negative {
            high + shifted
        } else {
            // Less a little more: one unit less, and a little.
            high - shifted - u128::from(lost)
        };
        if sum == 0 {
            return Some(Self { negative: false, magnitude: Zero });
        }
        let exponent = large.0 - ROOM as i32;
        let lead = sum.leading_zeros();
        match round(sum << lead, exponent - lead as i32, lost) {
            Infinite => None,
            magnitude => Some(Self { negative, magnitude }),
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        let mantissa = value.unsigned_abs();
        let lead = mantissa.leading_zeros();
        let magnitude = match mantissa {
            0 => Magnitude::Zero,
            _ => Magnitude::Finite { mantissa: mantissa << lead, exponent: -(lead as i32) },
        };
        Self { negative: value < 0, magnitude }
    }
}

/// As Redis prints it: `%.17Lf` without trailing zeros; no `-0`.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.magnitude {
            Magnitude::Zero => "0".to_owned(),
            Magnitude::Infinite => "inf".to_owned(),
            Magnitude::Finite { mantissa, exponent: exponent @ 0.. } => {
                Big::from(mantissa).shifted(exponent as u32).to_string()
            }
            Magnitude::Finite { mantissa, exponent } => fraction(mantissa, exponent.unsigned_abs()),
        };
        let sign = if self.negative && digits != "0" { "-" } else { "" };
        write!(f, "{sign}{digits}")
    }
}

/// `mantissa` divided by 2 to `shift`, with up to [`DECIMALS`] decimals.
fn fraction(mantissa: u64, shift: u32) -> String {
    const SCALE: u128 = 10u128.pow(DECIMALS as u32);
    // Below 2^64 times 10^17: 121 bits.
    let scaled = u128::from(mantissa) * SCALE;
    let kept = scaled.checked_shr(shift).unwrap_or(0);
    // What was shifted out, moved to the top; beyond 128 bits it is below one half.
    let rest = if shift > u128::BITS { 0 } else { scaled << (u128::BITS - shift) };
    let half = 1 << (u128::BITS - 1);
    let scaled = kept + u128::from(rest > half || rest == half && kept % 2 == 1);
    let text = format!("{}.{:0DECIMALS$}", scaled / SCALE, scaled % SCALE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The digits, point and exponent after the sign (and `0x`), in base `BASE`.
fn parse_digits<const BASE: u64>(text: &[u8]) -> Option<Magnitude> {
    let marks: &[u8] = if BASE == 16 { b"pP" } else { b"eE" };
    let (number, exponent) = match text.iter().position(|b| marks.contains(b)) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, decimals) = match number.iter().position(|&b| b == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b""[..]),
    };
    let digits: Vec<u64> = whole
        .iter()
        .chain(decimals)
        .map(|&b| char::from(b).to_digit(BASE as u32).map(u64::from))
        .collect::<Option<_>>()?;
    if digits.is_empty() {
        return None;
    }
    let Some(first) = digits.iter().position(|&digit| digit != 0) else {
        return Some(Magnitude::Zero);
    };
    let mut big = Big::default();
    for chunk in digits[first..].chunks(CHUNK) {
        let value = chunk.iter().fold(0, |value, digit| value * BASE + digit);
        big.multiply_add(BASE.pow(chunk.len() as u32), value);
    }
    let magnitude = if BASE == 16 {
        let exponent = exponent - 4 * decimals.len() as i64;
        // Clamped where the result is infinite or zero anyway.
        let (top, shift, sticky) = big.top();
        round(top, shift + exponent.clamp(-100_000, 100_000) as i32, sticky)
    } else {
        from_decimal(big, (digits.len() - first) as i64, exponent - decimals.len() as i64)
    };
    matches!(magnitude, Magnitude::Finite { .. }).then_some(magnitude)
}

/// A decimal exponent with its sign; a huge one is as good as any other huge one.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    const HUGE: i64 = 1_000_000_000;
    let value = digits.iter().fold(0i64, |value, b| (value * 10 + i64::from(b - b'0')).min(HUGE));
    Some(if negative { -value } else { value })
}

/// `digits` (so many of them) times 10 to `exponent`.
fn from_decimal(digits: Big, count: i64, exponent: i64) -> Magnitude {
    if count - 1 + exponent > DECIMAL_MAX {
        return Magnitude::Infinite;
    }
    if count + exponent < DECIMAL_MIN {
        return Magnitude::Zero;
    }
    let power = Big::power_of_ten(exponent.unsigned_abs() as usize);
    if exponent >= 0 {
        let (top, shift, sticky) = digits.times(&power).top();
        return round(top, shift, sticky);
    }
    // The quotient's first bits by long division, more than enough to round; the remainder is "a little more".
    const BITS: u32 = PRECISION as u32 + 2;
    let scale = digits.bits() as i32 - power.bits() as i32;
    let (mut rest, divisor) = if scale > 0 {
        (digits, power.shifted(scale as u32))
    } else {
        (digits.shifted(scale.unsigned_abs()), power)
    };
    let mut exponent = scale;
    if rest < divisor {
        rest = rest.shifted(1);
        exponent -= 1;
    }
    let mut quotient = 0u128;
    for _ in 0..BITS {
        quotient <<= 1;
        if rest >= divisor {
            rest.subtract(&divisor);
            quotient |= 1;
        }
        rest.double();
    }
    let top = quotient << (u128::BITS - BITS);
    round(top, exponent - (u128::BITS as i32 - 1), !rest.is_zero())
}

/// Rounds `top` times 2 to `exponent`, and a little more if `sticky`, to the nearest number, half to even. `top` has
/// its highest bit set.
fn round(top: u128, exponent: i32, sticky: bool) -> Magnitude {
    debug_assert!(top.leading_zeros() == 0);
    let lead = exponent + (u128::BITS as i32 - 1);
    if lead > EXPONENT_MAX {
        return Magnitude::Infinite;
    }
    if lead < STEP_MIN - 1 {
        return Magnitude::Zero;
    }
    let bits = (lead - STEP_MIN + 1).min(PRECISION) as u32;
    let kept = top.checked_shr(u128::BITS - bits).unwrap_or(0);
    let rest = top << bits;
    let half = 1 << (u128::BITS - 1);
    let up = rest > half || rest == half && (sticky || kept % 2 == 1);
    let kept = kept + u128::from(up);
    let exponent = exponent + (u128::BITS - bits) as i32;
    let (mantissa, exponent) = match u64::try_from(kept) {
        Ok(0) => return Magnitude::Zero,
        Ok(mantissa) => {
            let lead = mantissa.leading_zeros();
            (mantissa << lead, exponent - lead as i32)
        }
        // Rounded up to 2^64.
        Err(_) => (1 << 63, exponent + 1),
    };
    if exponent + PRECISION - 1 > EXPONENT_MAX {
        return Magnitude::Infinite;
    }
    Magnitude::Finite { mantissa, exponent }
}

#[cfg(test)]
#[path = "long_double/tests.rs"]
mod tests;
