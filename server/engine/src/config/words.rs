//! Values as they stand in a config file: quoting, and byte counts with a unit.

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// Reads a byte count as Redis does: digits, then nothing, `b`, a decimal unit (`k`, `m`, `g`) or
/// a binary one (`kb`, `mb`, `gb`) in any case. Digits may be missing and then mean 0. `None` for
/// anything else, and for what does not fit 64 bits (Redis would quietly keep another number).
pub(crate) fn parse_memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => KB,
        "m" => 1_000_000,
        "mb" => MB,
        "g" => 1_000_000_000,
        "gb" => GB,
        _ => return None,
    };
    let number: u64 = if number.is_empty() { 0 } else { number.parse().ok()? };
    number.checked_mul(factor)
}

/// Writes a byte count for a config file, in the largest binary unit that leaves no remainder.
pub(super) fn format_memory(bytes: u64) -> String {
    for (factor, unit) in [(GB, "gb"), (MB, "mb"), (KB, "kb")] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Reads a decimal integer as Redis does: no sign but `-`, no leading zero, no blank.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let canonical = magnitude == "0" && text != "-0"
        || magnitude.bytes().next().is_some_and(|first| (b'1'..=b'9').contains(&first));
    if canonical { text.parse().ok() } else { None }
}

/// Quotes a value so that `split_args` gives it back, whatever bytes it holds.
pub(crate) fn quote(value: &[u8]) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for &byte in value {
        match byte {
            b'\\' | b'"' => quoted.extend(['\\', char::from(byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            0x07 => quoted.push_str("\\a"),
            0x08 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}
