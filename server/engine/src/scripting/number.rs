//! Numbers as C prints, reads and casts them.

/// `(long long)d` as x86-64 computes it: what does not fit, and NaN, is the smallest integer.
pub(super) fn c_cast_i64(d: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&d) { d as i64 } else { i64::MIN }
}

/// Appends `printf("%.<precision>g")`.
pub(super) fn append_g(out: &mut Vec<u8>, d: f64, precision: usize) {
    if !d.is_finite() {
        let text: &str = match (d.is_nan(), d.is_sign_negative()) {
            (true, false) => "nan",
            (true, true) => "-nan",
            (false, false) => "inf",
            (false, true) => "-inf",
        };
        out.extend_from_slice(text.as_bytes());
        return;
    }
    if d == d.trunc() && d.abs() < 1e14 && precision >= 14 && !(d == 0.0 && d.is_sign_negative()) {
        out.extend_from_slice(itoa::Buffer::new().format(d as i64).as_bytes());
        return;
    }
    let precision = precision.max(1);
    let (negative, digits, exponent) = decimal(&format!("{:.*e}", precision - 1, d));
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    if negative {
        out.push(b'-');
    }
    if exponent < -4 || exponent >= precision as i32 {
        out.extend_from_slice(&digits.as_bytes()[..1]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    } else {
        append_plain(out, digits, exponent);
    }
}

/// Appends a number given as an argument to `redis.call`: integers in full, others with the fewest
/// digits that read back the same.
pub(super) fn append_argument(out: &mut Vec<u8>, d: f64) {
    const EXACT: f64 = 4_503_599_627_370_496.0; // 2^52
    if d > -EXACT && d <= EXACT && d == d.trunc() {
        out.extend_from_slice(itoa::Buffer::new().format(d as i64).as_bytes());
        return;
    }
    if !d.is_finite() {
        append_g(out, if d.is_nan() { f64::NAN } else { d }, 14);
        return;
    }
    let (negative, digits, exponent) = decimal(&format!("{d:e}"));
    if negative {
        out.push(b'-');
    }
    let scale = exponent + 1 - digits.len() as i32; // the value is digits * 10^scale
    let size = exponent.abs();
    if scale >= 0 && size < digits.len() as i32 + 7 {
        out.extend_from_slice(digits.as_bytes());
        out.extend(std::iter::repeat_n(b'0', scale as usize));
    } else if scale < 0 && (scale > -7 || size < 4) {
        append_plain(out, &digits, exponent);
    } else {
        out.extend_from_slice(&digits.as_bytes()[..1]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{size}").as_bytes());
    }
}

/// Sign, digits without the point, and exponent of the first digit, of a Rust `{:e}` text.
fn decimal(text: &str) -> (bool, String, i32) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once('e').expect("{:e} always writes an exponent");
    let digits = mantissa.replace('.', "");
    (negative, digits, exponent.parse().expect("{:e} writes an integer exponent"))
}

/// Digits with the point after the digit of weight 10^0, zeros filled in.
fn append_plain(out: &mut Vec<u8>, digits: &str, exponent: i32) {
    let digits = digits.as_bytes();
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// `strtod`: the number at the start of `text` and its length. None if there is none.
pub(super) fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    let negative = text.first() == Some(&b'-');
    let body = &text[usize::from(signed)..];
    let (value, len) = parse_unsigned(body)?;
    Some((if negative { -value } else { value }, len + usize::from(signed)))
}

fn parse_unsigned(text: &[u8]) -> Option<(f64, usize)> {
    let starts = |word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
    if starts(b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if starts(b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if starts(b"nan") {
        // strtod also takes a bracketed sequence of letters, digits and underscores.
        let tail = &text[3..];
        let inner = tail.iter().skip(1).take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
        let bracketed = tail.first() == Some(&b'(') && tail.get(inner + 1) == Some(&b')');
        return Some((f64::NAN, if bracketed { 3 + inner + 2 } else { 3 }));
    }
    if starts(b"0x")
        && let Some(found) = parse_hex(&text[2..])
    {
        return Some((found.0, found.1 + 2));
    }
    let digits = |from: usize| text[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut fraction = 0;
    if text.get(whole) == Some(&b'.') {
        fraction = digits(whole + 1);
        if whole + fraction > 0 {
            end = whole + 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    end += exponent_len(&text[end..], b'e');
    let text = std::str::from_utf8(&text[..end]).expect("only ASCII was accepted");
    Some((text.parse().expect("the grammar of Rust's floats contains C's decimal ones"), end))
}

/// The length of an exponent at the start of `text`, 0 if there is none.
fn exponent_len(text: &[u8], mark: u8) -> usize {
    if !text.first().is_some_and(|c| c.eq_ignore_ascii_case(&mark)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'+' | b'-')));
    match text[1 + sign..].iter().take_while(|c| c.is_ascii_digit()).count() {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// A hexadecimal float after its `0x`.
fn parse_hex(text: &[u8]) -> Option<(f64, usize)> {
    let (mut value, mut exponent, mut digits, mut end, mut point) = (0.0f64, 0i32, 0usize, 0usize, false);
    for &c in text {
        match (c as char).to_digit(16) {
            Some(digit) => {
                value = value * 16.0 + f64::from(digit);
                digits += 1;
                exponent -= if point { 4 } else { 0 };
            }
            None if c == b'.' && !point => point = true,
            None => break,
        }
        end += 1;
        // Past the range of doubles more digits only cost time; infinity stays infinity.
        if !value.is_finite() {
            value = f64::INFINITY;
        }
    }
    if digits == 0 {
        return None;
    }
    let len = exponent_len(&text[end..], b'p');
    if len > 0 {
        let given = std::str::from_utf8(&text[end + 1..end + len]).expect("only ASCII was accepted");
        let limit = if given.starts_with('-') { -1_000_000 } else { 1_000_000 };
        exponent = exponent.saturating_add(given.parse().unwrap_or(limit));
    }
    Some((value * 2f64.powi(exponent.clamp(-2200, 2200)), end + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn g(d: f64) -> String {
        let mut out = Vec::new();
        append_g(&mut out, d, 14);
        String::from_utf8(out).unwrap()
    }

    fn argument(d: f64) -> String {
        let mut out = Vec::new();
        append_argument(&mut out, d);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn percent_g_is_as_in_c() {
        for (d, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.25, "3.25"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e300, "1e+300"),
            (0.1 + 0.2, "0.3"),
            (-1.5, "-1.5"),
            (123456789012345678.0, "1.2345678901235e+17"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(g(d), text);
        }
    }

    #[test]
    fn arguments_keep_every_digit() {
        for (d, text) in [
            (1e9, "1000000000"),
            (-0.0, "0"),
            (3.25, "3.25"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e21, "1e+21"),
            (1e-7, "1e-7"),
            (0.001, "0.001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(argument(d), text);
        }
    }

    #[test]
    fn strtod_takes_the_longest_prefix() {
        for (text, value, len) in [
            ("12", 12.0, 2),
            ("-1.5e3,", -1500.0, 6),
            ("1e", 1.0, 1),
            ("1.", 1.0, 2),
            (".5", 0.5, 2),
            ("0x10", 16.0, 4),
            ("0x", 0.0, 1),
            ("0x1p4]", 16.0, 5),
            ("0x.8", 0.5, 4),
            ("-Infinity", f64::NEG_INFINITY, 9),
            ("1e999", f64::INFINITY, 5),
        ] {
            assert_eq!(parse_prefix(text.as_bytes()), Some((value, len)), "{text}");
        }
        assert_eq!(parse_prefix(b"-"), None);
        assert_eq!(parse_prefix(b"."), None);
        assert_eq!(parse_prefix(b"nan(1_a)x").unwrap().1, 8);
    }
}
