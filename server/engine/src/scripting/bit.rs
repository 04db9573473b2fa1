//! The `bit` library (BitOp 1.0.3): 32-bit operations on Lua numbers.

use super::stack::{Raise, Results, Stack};
use super::vm::Shared;

/// Pushes the library's table.
pub(super) fn push(stack: Stack, shared: *mut Shared) {
    stack.new_table();
    stack.register("tobit", shared, tobit);
    stack.register("bnot", shared, bnot);
    stack.register("band", shared, |s| fold(s, |a, b| a & b));
    stack.register("bor", shared, |s| fold(s, |a, b| a | b));
    stack.register("bxor", shared, |s| fold(s, |a, b| a ^ b));
    stack.register("lshift", shared, |s| shift(s, |b, n| b << n));
    stack.register("rshift", shared, |s| shift(s, |b, n| b >> n));
    stack.register("arshift", shared, |s| shift(s, |b, n| ((b as i32) >> n) as u32));
    stack.register("rol", shared, |s| shift(s, u32::rotate_left));
    stack.register("ror", shared, |s| shift(s, u32::rotate_right));
    stack.register("bswap", shared, bswap);
    stack.register("tohex", shared, tohex);
}

/// An argument modulo 2^32, halves rounded to even: the low word of the mantissa after adding 2^52 + 2^51.
fn argument(stack: Stack, index: i32) -> Result<u32, Raise> {
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    let bits = (stack.number(index) + ROUNDING).to_bits() as u32;
    if bits == 0 && !stack.is_numeric(index) {
        return Err(Raise::Type(index, c"number"));
    }
    Ok(bits)
}

fn result(stack: Stack, bits: u32) -> Results {
    stack.push_number(f64::from(bits as i32));
    Ok(1)
}

fn tobit(stack: Stack) -> Results {
    result(stack, argument(stack, 1)?)
}

fn bnot(stack: Stack) -> Results {
    result(stack, !argument(stack, 1)?)
}

fn bswap(stack: Stack) -> Results {
    result(stack, argument(stack, 1)?.swap_bytes())
}

fn fold(stack: Stack, f: impl Fn(u32, u32) -> u32) -> Results {
    let mut bits = argument(stack, 1)?;
    for index in (2..=stack.top()).rev() {
        bits = f(bits, argument(stack, index)?);
    }
    result(stack, bits)
}

fn shift(stack: Stack, f: impl Fn(u32, u32) -> u32) -> Results {
    let bits = argument(stack, 1)?;
    result(stack, f(bits, argument(stack, 2)? & 31))
}

fn tohex(stack: Stack) -> Results {
    let mut bits = argument(stack, 1)?;
    let width = if stack.is_none(2) { 8 } else { argument(stack, 2)? as i32 };
    let digits = if width < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let width = width.unsigned_abs().min(8) as usize;
    let mut text = [0; 8];
    for place in text[..width].iter_mut().rev() {
        *place = digits[(bits & 15) as usize];
        bits >>= 4;
    }
    stack.push_bytes(&text[..width]);
    Ok(1)
}
