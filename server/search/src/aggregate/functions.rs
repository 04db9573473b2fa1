//! The functions of expressions.

use super::time;
use super::value::{Value, number_text};
use crate::index::{geo, parse_place};
use crate::query::QueryError;

/// Pieces that `split` makes at most, as Redis does.
const SPLIT_MAX: usize = 1024;
/// Bytes that `format` makes at most.
const FORMAT_MAX: usize = 1 << 24;
/// Terms that `matched_terms` names unless told otherwise.
const TERMS_MAX: usize = 100;

macro_rules! functions {
    ($($variant:ident $name:literal $min:literal $max:expr,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function {
            $($variant,)*
        }

        impl Function {
            /// By its name, in any case.
            pub fn parse(name: &[u8]) -> Option<Self> {
                match name.to_ascii_lowercase().as_slice() {
                    $(name if name == $name.as_bytes() => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// How many arguments it takes, at least and at most.
            pub fn arguments(self) -> (usize, usize) {
                match self {
                    $(Self::$variant => ($min, $max),)*
                }
            }
        }
    };
}

functions! {
    Log "log" 1 1,
    Floor "floor" 1 1,
    Abs "abs" 1 1,
    Ceil "ceil" 1 1,
    Sqrt "sqrt" 1 1,
    Log2 "log2" 1 1,
    Exp "exp" 1 1,
    Lower "lower" 1 1,
    Upper "upper" 1 1,
    Substr "substr" 3 3,
    Format "format" 1 usize::MAX,
    Split "split" 1 3,
    MatchedTerms "matched_terms" 0 1,
    ToNumber "to_number" 1 1,
    ToStr "to_str" 1 1,
    Exists "exists" 1 1,
    Case "case" 3 3,
    StartsWith "startswith" 2 2,
    Contains "contains" 2 2,
    StrLen "strlen" 1 1,
    TimeFormat "timefmt" 1 2,
    ParseTime "parsetime" 2 2,
    Hour "hour" 1 1,
    Minute "minute" 1 1,
    Day "day" 1 1,
    Month "month" 1 1,
    MonthOfYear "monthofyear" 1 1,
    Year "year" 1 1,
    DayOfMonth "dayofmonth" 1 1,
    DayOfWeek "dayofweek" 1 1,
    DayOfYear "dayofyear" 1 1,
    GeoDistance "geodistance" 2 4,
}

impl Function {
    /// Calls it; its number of arguments was checked. `Case` and `Exists` do not come here: they look at arguments that may
    /// not be there. `terms` are those that the row's document matched.
    pub(super) fn call(self, arguments: &[Value], terms: &[Vec<u8>]) -> Result<Value, QueryError> {
        let number = |f: fn(f64) -> f64| Ok(Value::Number(arguments[0].number().map_or(f64::NAN, f)));
        let time = |f: fn(i64) -> i64| {
            let seconds = arguments[0].number().filter(|&n| (0.0..=TIME_MAX).contains(&n));
            Ok(seconds.map_or(Value::Null, |n| Value::Number(f(n as i64) as f64)))
        };
        match self {
            Self::Log => number(f64::ln),
            Self::Floor => number(f64::floor),
            Self::Abs => number(f64::abs),
            Self::Ceil => number(f64::ceil),
            Self::Sqrt => number(f64::sqrt),
            Self::Log2 => number(f64::log2),
            Self::Exp => number(f64::exp),
            Self::Lower => Ok(mapped(&arguments[0], <[u8]>::to_ascii_lowercase)),
            Self::Upper => Ok(mapped(&arguments[0], <[u8]>::to_ascii_uppercase)),
            Self::Substr => self.substr(arguments),
            Self::Format => self.format(arguments),
            Self::Split => self.split(arguments),
            Self::MatchedTerms => {
                let asked = arguments.first().and_then(Value::number).filter(|n| (1.0..=100.0).contains(n));
                let max = asked.map_or(TERMS_MAX, |n| n as usize);
                let terms: Vec<Value> = terms.iter().take(max).map(|t| Value::Text(t.clone())).collect();
                Ok(if terms.is_empty() { Value::Null } else { Value::Array(terms) })
            }
            Self::ToNumber => match arguments[0].number() {
                Some(number) => Ok(Value::Number(number)),
                None => {
                    let text = arguments[0].to_text().unwrap_or_default();
                    let shown = String::from_utf8_lossy(&text);
                    Err(QueryError::expression(format!("to_number: cannot convert string '{shown}'")))
                }
            },
            Self::ToStr => Ok(Value::Text(arguments[0].to_text().unwrap_or_default())),
            Self::StartsWith => {
                let starts = self.text(arguments, 0)?.starts_with(self.text(arguments, 1)?);
                Ok(Value::Number(f64::from(u8::from(starts))))
            }
            Self::Contains => {
                let (text, part) = (self.text(arguments, 0)?, self.text(arguments, 1)?);
                Ok(Value::Number(occurrences(text, part) as f64))
            }
            Self::StrLen => Ok(Value::Number(self.text(arguments, 0)?.len() as f64)),
            Self::TimeFormat => {
                let format = if arguments.len() == 2 { self.text(arguments, 1)? } else { b"%FT%TZ" };
                let seconds = arguments[0].number().filter(|n| n.abs() <= TIME_MAX);
                let text = seconds.and_then(|n| time::format(n as i64, format));
                Ok(text.map_or(Value::Null, Value::Text))
            }
            Self::ParseTime => {
                let seconds = time::parse(self.text(arguments, 0)?, self.text(arguments, 1)?);
                Ok(seconds.map_or(Value::Null, |n| Value::Number(n as f64)))
            }
            Self::Minute => time(|s| s - s % 60),
            Self::Hour => time(|s| s - s % 3600),
            Self::Day => time(|s| s - s % time::DAY),
            Self::Month => time(|s| s - s % time::DAY - (time::Civil::of(s).day - 1) * time::DAY),
            Self::MonthOfYear => time(|s| time::Civil::of(s).month - 1),
            Self::Year => time(|s| time::Civil::of(s).year),
            Self::DayOfMonth => time(|s| time::Civil::of(s).day),
            Self::DayOfWeek => time(|s| time::Civil::of(s).weekday),
            Self::DayOfYear => time(|s| time::Civil::of(s).yearday),
            Self::GeoDistance => Ok(Value::Number(geo_distance(arguments).unwrap_or(f64::NAN))),
            Self::Exists | Self::Case => unreachable!("the evaluator does these itself"),
        }
    }

    fn text(self, arguments: &[Value], at: usize) -> Result<&[u8], QueryError> {
        match &arguments[at] {
            Value::Text(text) => Ok(text),
            _ => Err(QueryError::expression(format!(
                "Invalid type for argument {at} in function '{}'. `IsString(v)` was false.",
                self.name()
            ))),
        }
    }

    fn whole(self, arguments: &[Value], at: usize) -> Result<i64, QueryError> {
        match &arguments[at] {
            Value::Number(number) => Ok(*number as i64),
            _ => Err(QueryError::expression(format!(
                "Invalid type for argument {at} in function '{}'. Expected number",
                self.name()
            ))),
        }
    }

    /// `substr(text, from, len)`: from the end if `from` is negative, to so many before the end if `len` is.
    fn substr(self, arguments: &[Value]) -> Result<Value, QueryError> {
        let (from, len) = (self.whole(arguments, 1)?, self.whole(arguments, 2)?);
        let Value::Text(text) = &arguments[0] else {
            return Err(QueryError::expression("Invalid type for substr. Expected string"));
        };
        let size = text.len() as i64;
        let from = if from < 0 { size.saturating_add(from) } else { from }.clamp(0, size);
        let len = if len < 0 { (size - from).saturating_add(len).max(0) } else { len }.min(size - from);
        Ok(Value::text(&text[from as usize..(from + len) as usize]))
    }

    fn format(self, arguments: &[Value]) -> Result<Value, QueryError> {
        let mut rest = self.text(arguments, 0)?;
        let mut values = arguments[1..].iter();
        let mut out = Vec::new();
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            if first != b'%' {
                out.push(first);
                continue;
            }
            let Some((&kind, tail)) = rest.split_first() else {
                return Err(QueryError::expression("Bad format string!"));
            };
            rest = tail;
            if kind == b'%' {
                out.push(b'%');
                continue;
            }
            let Some(value) = values.next() else {
                return Err(QueryError::expression("Not enough arguments for format"));
            };
            if kind != b's' {
                return Err(QueryError::expression("Unknown format specifier passed"));
            }
            match value {
                Value::Null => out.extend_from_slice(b"(null)"),
                Value::Text(text) => out.extend_from_slice(text),
                Value::Number(number) => out.extend_from_slice(number_text(*number).as_bytes()),
                Value::Array(_) => {}
            }
            if out.len() > FORMAT_MAX {
                return Err(QueryError::limit("The text that format makes is too long"));
            }
        }
        Ok(Value::Text(out))
    }

    /// `split(text, [separators, [around]])`: pieces between any of the separators, with what is around them taken off.
    fn split(self, arguments: &[Value]) -> Result<Value, QueryError> {
        let text = self.text(arguments, 0)?;
        let separators = if arguments.len() > 1 { self.text(arguments, 1)? } else { b"," };
        let around = if arguments.len() > 2 { self.text(arguments, 2)? } else { b" " };
        let trimmed = |piece: &[u8]| {
            let keep = |b: &u8| !around.contains(b);
            let from = piece.iter().position(keep)?;
            let to = piece.iter().rposition(keep)?;
            Some(Value::text(&piece[from..=to]))
        };
        let pieces = text.split(|b| separators.contains(b)).filter_map(trimmed);
        Ok(Value::Array(pieces.take(SPLIT_MAX).collect()))
    }
}

/// Seconds that still have a date.
const TIME_MAX: f64 = 253_402_300_799.0;

/// How often a part begins in a text, by Knuth, Morris and Pratt: both may be megabytes long.
fn occurrences(text: &[u8], part: &[u8]) -> usize {
    if part.is_empty() {
        return text.len() + 1;
    }
    if part.len() > text.len() {
        return 0;
    }
    // Of each beginning of the part the length of the longest beginning that it ends with.
    let mut ends = vec![0_usize; part.len()];
    let mut len = 0;
    for at in 1..part.len() {
        while len > 0 && part[at] != part[len] {
            len = ends[len - 1];
        }
        len += usize::from(part[at] == part[len]);
        ends[at] = len;
    }
    let (mut times, mut len) = (0, 0);
    for byte in text {
        while len > 0 && (len == part.len() || *byte != part[len]) {
            len = ends[len - 1];
        }
        len += usize::from(*byte == part[len]);
        times += usize::from(len == part.len());
    }
    times
}

fn mapped(value: &Value, f: fn(&[u8]) -> Vec<u8>) -> Value {
    match value {
        Value::Text(text) => Value::Text(f(text)),
        _ => Value::Null,
    }
}

/// Metres, to the centimetre, between places given as `"lon,lat"` or as two numbers each.
fn geo_distance(arguments: &[Value]) -> Option<f64> {
    let place = |value: &Value| match value {
        Value::Text(text) => parse_place(text),
        Value::Number(cell) if (0.0..9e15).contains(cell) => Some(geo::decode(*cell as u64)),
        _ => None,
    };
    let pair = |at: usize| Some((arguments[at].number()?, arguments[at + 1].number()?));
    let (a, b) = match arguments.len() {
        2 => (place(&arguments[0])?, place(&arguments[1])?),
        3 if arguments[0].number().is_some() => (pair(0)?, place(&arguments[2])?),
        3 => (place(&arguments[0])?, pair(1)?),
        _ => (pair(0)?, pair(2)?),
    };
    Some((geo::distance(a, b) * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn occurrences_are_windows_that_are_the_part(text in "[ab]{0,40}", part in "[ab]{1,6}") {
            let windows = text.as_bytes().windows(part.len()).filter(|window| *window == part.as_bytes());
            prop_assert_eq!(occurrences(text.as_bytes(), part.as_bytes()), windows.count());
        }
    }

    #[test]
    fn long_parts_of_long_texts_are_counted_in_one_pass() {
        let (text, part) = (vec![b'a'; 1 << 20], vec![b'a'; 1 << 19]);
        assert_eq!(occurrences(&text, &part), (1 << 19) + 1);
        assert_eq!(occurrences(&part, &text), 0);
    }
}
