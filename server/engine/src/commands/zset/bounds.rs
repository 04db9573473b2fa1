//! The ends of ranges as clients write them.

use crate::args::parse_f64;
use crate::error::{CommandError, CommandResult};
use crate::types::zset::{LexBound, LexRange, ScoreBound, ScoreRange};

const BAD_SCORE: CommandError = CommandError::new("ERR min or max is not a float");
const BAD_TEXT: CommandError = CommandError::new("ERR min or max not valid string range item");

/// `1.5`, `(1.5` (not 1.5 itself), `-inf`, `+inf`.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> CommandResult<ScoreRange> {
    Ok(ScoreRange { min: score_bound(min)?, max: score_bound(max)? })
}

fn score_bound(arg: &[u8]) -> CommandResult<ScoreBound> {
    let (exclusive, text) = match arg {
        [b'(', text @ ..] => (true, text),
        text => (false, text),
    };
    Ok(ScoreBound { score: lenient_double(text).ok_or(BAD_SCORE)?, exclusive })
}

/// Unlike scores, bounds go through a bare `strtod` in Redis: nothing is 0, blanks may stand in front, the text ends
/// at a zero byte, what is too large is infinite, and what is too small is 0.
fn lenient_double(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let digits = match text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')) {
        Some(start) => &text[start..],
        None => return None,
    };
    parse_f64(digits).or_else(|| {
        let unsigned = digits.strip_prefix(b"-").or(digits.strip_prefix(b"+")).unwrap_or(digits);
        let number = matches!(unsigned.first(), Some(b'0'..=b'9' | b'.'));
        let value: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (number && (value.is_infinite() || value == 0.0)).then_some(value)
    })
}

/// `[text`, `(text` (not the text itself), `-`, `+`.
pub(super) fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> CommandResult<LexRange<'a>> {
    Ok(LexRange { min: lex_bound(min)?, max: lex_bound(max)? })
}

fn lex_bound(arg: &[u8]) -> CommandResult<LexBound<'_>> {
    match arg {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'[', text @ ..] => Ok(LexBound::Inclusive(text)),
        [b'(', text @ ..] => Ok(LexBound::Exclusive(text)),
        _ => Err(BAD_TEXT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_scores_are_read_as_strtod_does() {
        for (text, expected) in [
            ("1.5", Some((1.5, false))),
            ("(1.5", Some((1.5, true))),
            ("(-inf", Some((f64::NEG_INFINITY, true))),
            ("+inf", Some((f64::INFINITY, false))),
            ("0x1p3", Some((8.0, false))),
            ("1e999", Some((f64::INFINITY, false))),
            ("-1e999", Some((f64::NEG_INFINITY, false))),
            ("", Some((0.0, false))),
            ("(", Some((0.0, true))),
            (" 7", Some((7.0, false))),
            ("7\0x", Some((7.0, false))),
            ("7 ", None),
            (" ", None),
            ("nan", None),
            ("((1", None),
            ("x", None),
        ] {
            let bound = score_bound(text.as_bytes()).ok().map(|bound| (bound.score, bound.exclusive));
            assert_eq!(bound, expected, "{text:?}");
        }
    }

    #[test]
    fn bounds_of_texts_need_their_mark() {
        assert_eq!(lex_bound(b"-"), Ok(LexBound::Lowest));
        assert_eq!(lex_bound(b"+"), Ok(LexBound::Highest));
        assert_eq!(lex_bound(b"["), Ok(LexBound::Inclusive(b"")));
        assert_eq!(lex_bound(b"(a"), Ok(LexBound::Exclusive(b"a")));
        for bad in [&b""[..], b"a", b"-a", b"++"] {
            assert_eq!(lex_bound(bad), Err(BAD_TEXT));
        }
    }
}
