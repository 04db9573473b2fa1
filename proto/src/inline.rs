//! Redis's quoting rules (`sdssplitargs`), for inline requests and configuration files.

use crate::Span;

/// Splits a line into its arguments; `None` if quotes are unbalanced.
///
/// Blanks separate arguments. Within double quotes `\xHH`, `\n`, `\r`, `\t`, `\b` and `\a` are escapes, and a
/// backslash before any other byte stands for that byte; within single quotes only `\'` is an escape. A closing
/// quote must be followed by a blank or the end of the line. Unlike in Redis, whose lines are C strings, a NUL
/// is a byte like any other.
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    split_into(line, &mut text, &mut spans)?;
    Some(spans.iter().map(|span| text[span.range()].to_vec()).collect())
}

/// Like [`split_args`], but the arguments are appended to `text` and where they are to `spans`.
pub(crate) fn split_into(line: &[u8], text: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|&&byte| is_blank(byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(());
        }
        let start = text.len();
        rest = take_arg(rest, text)?;
        spans.push(Span { start, len: text.len() - start });
    }
}

/// Appends the argument that `rest` starts with; what follows it, or `None` if a quote is unbalanced.
fn take_arg<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            // Not every blank: a vertical tab or form feed ends only what a quote has closed, as in Redis.
            [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            // A quote may open within an argument (`a"b c"` is `ab c`), but always ends it.
            [b'"', after @ ..] => return closed(take_double_quoted(after, text)?),
            [b'\'', after @ ..] => return closed(take_single_quoted(after, text)?),
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// Up to and including the closing quote; what follows it.
fn take_double_quoted<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// Up to and including the closing quote; what follows it.
fn take_single_quoted<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                text.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// `rest`, if a closing quote may stand before it.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_blank(byte)).then_some(rest)
}

/// C's `isspace`, which unlike [`u8::is_ascii_whitespace`] includes the vertical tab.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn splits(line: &[u8], expected: &[&[u8]]) {
        assert_eq!(split_args(line).expect("balanced"), expected);
    }

    #[test]
    fn blanks_of_any_kind_and_number_separate() {
        splits(b"", &[]);
        splits(b" \t\r\n\x0b\x0c ", &[]);
        splits(b"  SET  key\tvalue ", &[b"SET", b"key", b"value"]);
    }

    #[test]
    fn a_vertical_tab_within_a_word_belongs_to_it() {
        splits(b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]);
    }

    #[test]
    fn double_quotes_keep_blanks_and_know_escapes() {
        splits(
            br#""a b" "\x41\xfF\x4g" "\n\r\t\b\a\"\\\q""#,
            &[b"a b", b"A\xff\x784g", b"\n\r\t\x08\x07\"\\q"],
        );
        splits(br#""""#, &[b""]);
    }

    #[test]
    fn single_quotes_know_only_the_escaped_quote() {
        splits(br"'a \n b' 'it\'s' ''", &[br"a \n b", b"it's", b""]);
    }

    #[test]
    fn a_quote_may_open_within_a_word_and_ends_it() {
        splits(br#"foo"bar baz" x'y z'"#, &[b"foobar baz", b"xy z"]);
        assert_eq!(split_args(br#"foo"bar"baz"#), None);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""abc"#, "'abc", r#""abc\""#, r#""abc\"#, "'abc\\'", r#""a"b"#, "'a'b", r#"""""#] {
            assert_eq!(split_args(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_backslash_outside_quotes_is_a_byte() {
        splits(br"\x41 a\ b", &[br"\x41", br"a\", b"b"]);
    }
}
