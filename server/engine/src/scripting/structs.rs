//! The `struct` library (Roberto Ierusalimschy's, 0.2 with Redis's fixes): values to and from C layouts.
//!
//! | letter | is |
//! |---|---|
//! | `>` `<` `!n` | big endian, little endian, alignment |
//! | `x` | a padding byte |
//! | `b B h H l L T` | signed and unsigned 1, 2, 8 bytes, size_t |
//! | `in In` | an integer of n bytes (4) |
//! | `f d` | float, double |
//! | `cn` | n characters; `c0`: all (pack), as many as the number read before (unpack) |
//! | `s` | a zero-terminated string |

use super::LIBRARY_BYTES_MAX;
use super::stack::{Raise, Results, Stack};
use super::vm::Shared;

/// The largest integer, in bytes.
const INTEGER_SIZE_MAX: usize = 32;
/// The alignment of `!` alone.
const NATIVE_ALIGNMENT: usize = 8;

/// Pushes the library's table.
pub(super) fn push(stack: Stack, shared: *mut Shared) {
    stack.new_table();
    stack.register("pack", shared, pack);
    stack.register("unpack", shared, unpack);
    stack.register("size", shared, size);
}

/// A format being read, and the options that it has set so far.
struct Format<'a> {
    text: &'a [u8],
    little: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Format<'a> {
        // The C library sees a C string.
        let end = text.iter().position(|&c| c == 0).unwrap_or(text.len());
        Format { text: &text[..end], little: true, align: 1 }
    }

    /// The next letter and the size of its element.
    fn next(&mut self) -> Result<Option<(u8, usize)>, Raise> {
        let Some((&letter, rest)) = self.text.split_first() else { return Ok(None) };
        self.text = rest;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_SIZE_MAX {
                    return Err(Raise::at(format!(
                        "integral size {size} is larger than limit of {INTEGER_SIZE_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((letter, size)))
    }

    fn number(&mut self, default: usize) -> Result<usize, Raise> {
        if !self.text.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut n = 0i32;
        while let Some((digit, rest)) = self.text.split_first().filter(|(c, _)| c.is_ascii_digit()) {
            n = n
                .checked_mul(10)
                .and_then(|n| n.checked_add(i32::from(digit - b'0')))
                .ok_or_else(|| Raise::at("integral size overflow"))?;
            self.text = rest;
        }
        Ok(n as usize)
    }

    /// How many bytes bring an element of this size into alignment at `position`.
    fn padding(&self, position: usize, letter: u8, size: usize) -> usize {
        if size == 0 || letter == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        size.wrapping_sub(position & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    fn control(&mut self, letter: u8) -> Result<(), Raise> {
        match letter {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let align = self.number(NATIVE_ALIGNMENT)?;
                if !align.is_power_of_two() {
                    return Err(Raise::at(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => return Err(Raise::arg(1, format!("invalid format option '{}'", char::from(letter)))),
        }
        Ok(())
    }
}

fn pack(stack: Stack) -> Results {
    let mut format = Format::new(stack.check_bytes(1)?);
    let out = stack.scratch();
    // As in the C library, an argument that is missing is nil, not nothing: it shows in the error's text.
    stack.push_nil();
    let mut arg = 2;
    while let Some((letter, size)) = format.next()? {
        let padding = format.padding(out.len(), letter, size);
        if out.len() + padding + size > LIBRARY_BYTES_MAX {
            return Err(Raise::at("resulting string too large"));
        }
        out.resize(out.len() + padding, 0);
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                put_integer(out, stack.check_number(arg)?, format.little, size);
                arg += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let bits = stack.check_number(arg)? as f32;
                out.extend(if format.little { bits.to_le_bytes() } else { bits.to_be_bytes() });
                arg += 1;
            }
            b'd' => {
                let bits = stack.check_number(arg)?;
                out.extend(if format.little { bits.to_le_bytes() } else { bits.to_be_bytes() });
                arg += 1;
            }
            b'c' | b's' => {
                let bytes = stack.check_bytes(arg)?;
                arg += 1;
                let size = if size == 0 { bytes.len() } else { size };
                let bytes = bytes.get(..size).ok_or_else(|| Raise::arg(arg, "string too short"))?;
                if out.len() + size + 1 > LIBRARY_BYTES_MAX {
                    return Err(Raise::at("resulting string too large"));
                }
                out.extend_from_slice(bytes);
                if letter == b's' {
                    out.push(0);
                }
            }
            _ => format.control(letter)?,
        }
    }
    stack.push_bytes(out);
    Ok(1)
}

/// `n` as C converts it to a long, its lowest `size` bytes; bytes above the eighth are zero.
fn put_integer(out: &mut Vec<u8>, n: f64, little: bool, size: usize) {
    let value = if n < 0.0 { super::number::c_cast_i64(n) as u64 } else { cast_u64(n) };
    let mut bytes = [0; INTEGER_SIZE_MAX];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    let bytes = &mut bytes[..size];
    if !little {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

/// `(unsigned long)d` as x86-64 computes it for what is not negative.
fn cast_u64(d: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if d.is_nan() {
        1 << 63
    } else if d < 2.0 * HALF {
        d as u64
    } else {
        0
    }
}

fn unpack(stack: Stack) -> Results {
    let mut format = Format::new(stack.check_bytes(1)?);
    let data = stack.check_bytes(2)?;
    let start = stack.integer_or(3, 1)?;
    // The C library compares as unsigned: a negative offset is far past the end.
    if start == 0 {
        return Err(Raise::arg(3, "offset must be 1 or greater"));
    }
    let mut position = (start as usize) - 1;
    let mut results = 0;
    while let Some((letter, mut size)) = format.next()? {
        position = position.saturating_add(format.padding(position, letter, size));
        if size > data.len() || position > data.len() - size {
            return Err(Raise::arg(2, "data string too short"));
        }
        if !stack.check(2) {
            return Err(Raise::at("stack overflow (too many results)"));
        }
        let bytes = &data[position..position + size];
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                stack.push_number(get_integer(bytes, format.little, letter.is_ascii_lowercase()));
                results += 1;
            }
            b'x' => {}
            b'f' => {
                let bytes: [u8; 4] = bytes.try_into().expect("f has 4 bytes");
                let value = if format.little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) };
                stack.push_number(value.into());
                results += 1;
            }
            b'd' => {
                let bytes: [u8; 8] = bytes.try_into().expect("d has 8 bytes");
                stack.push_number(if format.little {
                    f64::from_le_bytes(bytes)
                } else {
                    f64::from_be_bytes(bytes)
                });
                results += 1;
            }
            b'c' if size == 0 => {
                if results == 0 || !stack.is_numeric(-1) {
                    return Err(Raise::at("format 'c0' needs a previous size"));
                }
                let wanted = stack.number(-1);
                stack.pop(1);
                size = if wanted < 0.0 { usize::MAX } else { cast_u64(wanted) as usize };
                if size > data.len() || position > data.len() - size {
                    return Err(Raise::arg(2, "data string too short"));
                }
                stack.push_bytes(&data[position..position + size]);
            }
            b'c' => {
                stack.push_bytes(bytes);
                results += 1;
            }
            b's' => {
                let tail = &data[position..];
                let len = tail
                    .iter()
                    .position(|&c| c == 0)
                    .ok_or_else(|| Raise::at("unfinished string in data"))?;
                stack.push_bytes(&tail[..len]);
                size = len + 1;
                results += 1;
            }
            _ => format.control(letter)?,
        }
        position += size;
    }
    stack.push_number((position + 1) as f64);
    Ok(results + 1)
}

fn get_integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let mut value = 0u64;
    let mut push = |byte: u8| value = (value << 8) | u64::from(byte);
    if little {
        bytes.iter().rev().copied().for_each(&mut push);
    } else {
        bytes.iter().copied().for_each(&mut push);
    }
    if !signed {
        return value as f64;
    }
    // A shift by 64 or more wraps, as the C library's does on x86-64.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    if value & mask != 0 {
        value |= mask;
    }
    value as i64 as f64
}

fn size(stack: Stack) -> Results {
    let mut format = Format::new(stack.check_bytes(1)?);
    let mut position = 0usize;
    while let Some((letter, size)) = format.next()? {
        position += format.padding(position, letter, size);
        match letter {
            b's' => return Err(Raise::arg(1, "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(Raise::arg(1, "option 'c0' has no fixed size")),
            _ if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        position += size;
    }
    stack.push_number(position as f64);
    Ok(1)
}
