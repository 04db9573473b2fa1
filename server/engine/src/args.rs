//! The arguments of one command: byte slices, the name first.

use std::ops::Deref;

use crate::error::{CommandError, CommandResult};

/// Arguments borrowed from a read buffer, a MULTI queue, a script or the log. `args[0]` is the command's name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a>(&'a [&'a [u8]]);

impl<'a> Args<'a> {
    /// Wraps slices that are already there.
    pub fn new(slices: &'a [&'a [u8]]) -> Self {
        Self(slices)
    }

    /// The slices, with the lifetime of the buffer.
    pub fn as_slice(&self) -> &'a [&'a [u8]] {
        self.0
    }

    /// The argument at `i`; the arity check has made sure that it is there.
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.0[i]
    }

    /// The arguments from `i` on.
    pub fn from(&self, i: usize) -> &'a [&'a [u8]] {
        &self.0[i..]
    }

    /// Argument `i` as a 64-bit integer.
    pub fn int(&self, i: usize) -> CommandResult<i64> {
        parse_i64(self.0[i]).ok_or(CommandError::NotInteger)
    }

    /// Argument `i` as a 32-bit integer.
    pub fn int32(&self, i: usize) -> CommandResult<i32> {
        i32::try_from(self.int(i)?).map_err(|_| {
            CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647")
        })
    }

    /// Argument `i` as a double.
    pub fn double(&self, i: usize) -> CommandResult<f64> {
        parse_f64(self.0[i]).ok_or(CommandError::NotFloat)
    }

    /// Is argument `i` there, and this keyword, in any case?
    pub fn is(&self, i: usize, keyword: &str) -> bool {
        self.0.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

impl<'a> Deref for Args<'a> {
    type Target = [&'a [u8]];
    fn deref(&self) -> &Self::Target {
        self.0
    }
}

/// Arguments that outlive their buffer: queued by MULTI, held by a blocked client. One allocation for all bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    ends: Box<[usize]>,
}

impl OwnedArgs {
    /// Copies the arguments.
    pub fn copy(args: Args<'_>) -> Self {
        let mut bytes = Vec::with_capacity(args.iter().map(|a| a.len()).sum());
        let ends = args
            .iter()
            .map(|arg| {
                bytes.extend_from_slice(arg);
                bytes.len()
            })
            .collect();
        Self { bytes: bytes.into_boxed_slice(), ends }
    }

    /// The arguments as slices.
    pub fn slices(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let arg = &self.bytes[start..end];
                start = end;
                arg
            })
            .collect()
    }

    /// Bytes held, for the client's memory figures.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

/// A decimal 64-bit integer exactly as Redis's `string2ll` takes it: no sign but `-`, no leading zeros, no spaces.
pub fn parse_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// A double as Redis takes it from a client (`strtod`, the whole string): decimal, exponent, hexadecimal, `inf` and
/// `infinity` in any case; no spaces, no `nan`, nothing too large or too small to be told from infinity or zero.
pub fn parse_f64(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = parse_hex_float(hex)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    match unsigned.as_bytes().first()? {
        b'0'..=b'9' | b'.' | b'i' | b'I' => {}
        _ => return None,
    }
    let value: f64 = text.parse().ok()?;
    // strtod reports ERANGE for a finite literal that does not fit; Redis refuses it.
    let infinite_by_name = matches!(unsigned.as_bytes()[0], b'i' | b'I');
    let out_of_range = (value.is_infinite() && !infinite_by_name) || (value == 0.0 && !is_zero(unsigned));
    if value.is_nan() || out_of_range { None } else { Some(value) }
}

/// Is the number zero as it is written, and not only too small for a double?
fn is_zero(unsigned: &str) -> bool {
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// The digits of a C hexadecimal float, after `0x`: `1.8p3`.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.find(['p', 'P']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for c in whole.chars() {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let mut scale = 1.0 / 16.0;
    for c in fraction.chars() {
        value += f64::from(c.to_digit(16)?) * scale;
        scale /= 16.0;
    }
    let zero = value == 0.0;
    // In two steps: the power alone may be out of range where the number is not.
    let value = value * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
    (value.is_finite() && (zero || value != 0.0)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_parsed_as_string2ll_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", None),
            ("-1", Some(-1)),
            ("+1", None),
            ("01", None),
            ("", None),
            ("-", None),
            (" 1", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_parsed_as_strtod_does() {
        for (text, expected) in [
            ("1.5", Some(1.5)),
            ("+1", Some(1.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("nan", None),
            (" 1", None),
            ("1 ", None),
            ("1e999", None),
            ("1e-310", Some(1e-310)),
            ("5e-324", Some(5e-324)),
            ("2e-324", None),
            ("-1e-400", None),
            ("0e-500", Some(0.0)),
            ("0.00e5", Some(0.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1080", None),
            ("0x0p-5000", Some(0.0)),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn owned_arguments_give_back_what_was_copied() {
        let slices: Vec<&[u8]> = vec![b"set", b"", b"a\0b"];
        let owned = OwnedArgs::copy(Args::new(&slices));
        assert_eq!(owned.slices(), slices);
    }
}
