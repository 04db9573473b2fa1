//! Numbers as Redis reads and prints them.

/// The longest text of [`format_double`], rounded up: 17 digits, 7 zeros and a sign.
pub const DOUBLE_TEXT_MAX: usize = 32;

/// Doubles up to this magnitude (2^62) are printed as integers when they are whole, as in Redis's `d2string`.
const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;

/// Fractions of this magnitude are printed plainly by Redis and by ryu alike.
const PLAIN_RANGE: std::ops::Range<f64> = 0.001..10_000.0;

/// The integer that `text` spells in the only form Redis accepts: no plus sign, no blanks, no leading zeros,
/// no `-0`. (Redis's `string2ll`.)
pub fn parse_int(text: &[u8]) -> Option<i64> {
    /// Fewer digits than would overflow a u64, and as many as an i64 can have.
    const DIGITS_MAX: usize = 19;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let mut magnitude = 0_u64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(byte - b'0');
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// `value` as Redis 7.2 prints doubles in replies: `3`, `3.5`, `1e+21`, `1.5e-7`, `-0`, `inf`, `-inf`, `nan`.
///
/// The digits are the shortest that read back as the same double, and of those the nearest. Redis finds them with
/// Grisu2, which for a few doubles in a thousand yields a digit more or one less near: there alone the texts
/// differ, though never the values. Where digits end and exponents begin follows Redis (`d2string` and the
/// fpconv library) exactly.
/// Redis 7.0 differs more: it prints 17 significant digits always.
pub fn format_double(value: f64, buf: &mut [u8; DOUBLE_TEXT_MAX]) -> &str {
    let mut text = Text { buf, len: 0 };
    if value.is_nan() {
        text.put(b"nan");
        return text.finish();
    }
    if value.abs() <= WHOLE_MAX && value.trunc() == value && value != 0.0 {
        text.put(itoa::Buffer::new().format(value as i64).as_bytes());
        return text.finish();
    }
    if value.is_sign_negative() {
        text.put(b"-");
    }
    if value == 0.0 {
        text.put(b"0");
    } else if value.is_infinite() {
        text.put(b"inf");
    } else {
        let mut shortest = ryu::Buffer::new();
        let shortest = shortest.format_finite(value.abs()).as_bytes();
        if PLAIN_RANGE.contains(&value.abs()) {
            text.put(shortest);
        } else {
            text.put_decimal(&Decimal::parse(shortest));
        }
    }
    text.finish()
}

/// A positive number as its significant digits, first and last not zero: 0.0525 is 525 × 10^-4.
struct Decimal {
    digits: [u8; 17],
    len: usize,
    exponent: i32,
}

impl Decimal {
    /// What ryu has printed: digits with at most one point, perhaps an exponent.
    fn parse(printed: &[u8]) -> Self {
        let mut decimal = Self { digits: [0; 17], len: 0, exponent: 0 };
        let mut fraction = false;
        // Zeros are kept back until a digit follows: leading and trailing ones never reach `digits`.
        let mut zeros = 0;
        let mut bytes = printed.iter();
        for byte in bytes.by_ref() {
            match *byte {
                b'.' => fraction = true,
                b'e' => break,
                digit => {
                    decimal.exponent -= i32::from(fraction);
                    if digit == b'0' {
                        zeros += usize::from(decimal.len > 0);
                        continue;
                    }
                    decimal.digits[decimal.len..decimal.len + zeros].fill(b'0');
                    decimal.len += zeros;
                    decimal.digits[decimal.len] = digit;
                    decimal.len += 1;
                    zeros = 0;
                }
            }
        }
        decimal.exponent += zeros as i32;
        let mut scale = 0_i32;
        let mut scale_sign = 1;
        for byte in bytes {
            match *byte {
                b'-' => scale_sign = -1,
                digit => scale = scale * 10 + i32::from(digit - b'0'),
            }
        }
        decimal.exponent += scale_sign * scale;
        decimal
    }
}

/// Text being put together in the caller's buffer.
struct Text<'b> {
    buf: &'b mut [u8; DOUBLE_TEXT_MAX],
    len: usize,
}

impl<'b> Text<'b> {
    fn put(&mut self, bytes: &[u8]) {
        self.buf[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_zeros(&mut self, count: usize) {
        self.buf[self.len..self.len + count].fill(b'0');
        self.len += count;
    }

    /// Plain, fractional or scientific notation by the thresholds of fpconv's `emit_digits`.
    fn put_decimal(&mut self, decimal: &Decimal) {
        let digits = &decimal.digits[..decimal.len];
        // The exponent of the first digit: the one that scientific notation shows.
        let magnitude = decimal.exponent + digits.len() as i32 - 1;

        if decimal.exponent >= 0 && magnitude.unsigned_abs() < digits.len() as u32 + 7 {
            self.put(digits);
            self.put_zeros(decimal.exponent as usize);
        } else if decimal.exponent < 0 && (decimal.exponent > -7 || magnitude.unsigned_abs() < 4) {
            if magnitude < 0 {
                self.put(b"0.");
                self.put_zeros(magnitude.unsigned_abs() as usize - 1);
                self.put(digits);
            } else {
                let (whole, fraction) = digits.split_at(magnitude as usize + 1);
                self.put(whole);
                self.put(b".");
                self.put(fraction);
            }
        } else {
            self.put(&digits[..1]);
            if digits.len() > 1 {
                self.put(b".");
                self.put(&digits[1..]);
            }
            self.put(if magnitude < 0 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(magnitude.unsigned_abs()).as_bytes());
        }
    }

    fn finish(self) -> &'b str {
        std::str::from_utf8(&self.buf[..self.len]).expect("digits, signs and letters only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        format_double(value, &mut [0; DOUBLE_TEXT_MAX]).to_owned()
    }

    #[test]
    fn whole_doubles_print_as_integers_up_to_two_to_the_62() {
        assert_eq!(text(3.0), "3");
        assert_eq!(text(-17.0), "-17");
        assert_eq!(text(1e17), "100000000000000000");
        assert_eq!(text(9_007_199_254_740_993.0), "9007199254740992");
        assert_eq!(text(WHOLE_MAX), "4611686018427387904");
        assert_eq!(text(-WHOLE_MAX), "-4611686018427387904");
    }

    #[test]
    fn larger_whole_doubles_print_their_shortest_digits_padded_with_zeros() {
        assert_eq!(text(9_223_372_036_854_775_808.0), "9223372036854776000");
        assert_eq!(text(-9_223_372_036_854_775_808.0), "-9223372036854776000");
        assert_eq!(text(123_456_789_012_345_680_000.0), "123456789012345680000");
        assert_eq!(text(1.234_567_890_123_456_7e23), "123456789012345670000000");
        assert_eq!(text(1.234_567_890_123_456_8e24), "1.2345678901234568e+24");
    }

    #[test]
    fn few_digits_with_a_large_exponent_are_scientific() {
        assert_eq!(text(1e19), "1e+19");
        assert_eq!(text(1e21), "1e+21");
        assert_eq!(text(1.5e300), "1.5e+300");
        assert_eq!(text(-1.5e-300), "-1.5e-300");
        assert_eq!(text(f64::MAX), "1.7976931348623157e+308");
        assert_eq!(text(f64::MIN_POSITIVE), "2.2250738585072014e-308");
        assert_eq!(text(5e-324), "5e-324");
    }

    #[test]
    fn fractions_are_plain_until_seven_decimals_or_a_magnitude_of_four() {
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(3.5), "3.5");
        assert_eq!(text(-3.3), "-3.3");
        assert_eq!(text(100.05), "100.05");
        assert_eq!(text(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(text(0.000001), "0.000001");
        assert_eq!(text(0.0000001), "1e-7");
        assert_eq!(text(0.1234567), "0.1234567");
        assert_eq!(text(0.000123), "0.000123");
        assert_eq!(text(0.00012345678), "1.2345678e-4");
        assert_eq!(text(0.0012345678), "0.0012345678");
        assert_eq!(text(12345.123456), "12345.123456");
        assert_eq!(text(1234567.12345678), "1.23456712345678e+6");
        assert_eq!(text(1234.123456789), "1234.123456789");
        assert_eq!(text(13.361389338970184), "13.361389338970184");
    }

    #[test]
    fn zeros_infinities_and_nan_have_fixed_texts() {
        assert_eq!(text(0.0), "0");
        assert_eq!(text(-0.0), "-0");
        assert_eq!(text(f64::INFINITY), "inf");
        assert_eq!(text(f64::NEG_INFINITY), "-inf");
        assert_eq!(text(f64::NAN), "nan");
        assert_eq!(text(-f64::NAN), "nan");
    }

    #[test]
    fn integers_have_one_accepted_spelling() {
        assert_eq!(parse_int(b"0"), Some(0));
        assert_eq!(parse_int(b"-1"), Some(-1));
        assert_eq!(parse_int(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_int(b"-9223372036854775808"), Some(i64::MIN));
        for wrong in ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1a", "0x1", "--1"] {
            assert_eq!(parse_int(wrong.as_bytes()), None, "{wrong:?}");
        }
        for overflow in
            ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999"]
        {
            assert_eq!(parse_int(overflow.as_bytes()), None, "{overflow}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_double_reads_back_as_itself(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }

        #[test]
        fn every_integer_reads_back_as_itself(value: i64) {
            prop_assert_eq!(parse_int(value.to_string().as_bytes()), Some(value));
        }
    }
}
