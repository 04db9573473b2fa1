//! What SCAN, HSCAN, SSCAN and ZSCAN have in common: the cursor, the options, the frame of the reply.

use cairn_proto::ReplyWriter;

use crate::args::Args;
use crate::error::{CommandError, CommandResult, printed};

/// Elements of one call without COUNT.
const COUNT_DEFAULT: usize = 10;

/// The options of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanOptions<'a> {
    /// COUNT: about so many elements are looked at.
    pub count: usize,
    /// MATCH; `None` when everything matches.
    pub pattern: Option<&'a [u8]>,
    /// TYPE, as it was given.
    pub kind: Option<&'a [u8]>,
    /// Only names are wanted, not what belongs to them.
    pub bare: bool,
}

/// What the options of one command have that those of the others do not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    Nothing,
    /// SCAN's TYPE.
    Type,
    /// NOVALUES or NOSCORES, which leave out what belongs to the names.
    Bare(&'static str),
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from argument `from` on.
    pub fn parse(args: Args<'a>, from: usize, extra: Extra) -> CommandResult<Self> {
        let mut options = Self { count: COUNT_DEFAULT, pattern: None, kind: None, bare: false };
        let mut at = from;
        while at < args.len() {
            if let Extra::Bare(word) = extra
                && args.is(at, word)
            {
                options.bare = true;
                at += 1;
                continue;
            }
            let Some(&value) = args.get(at + 1) else { return Err(CommandError::Syntax) };
            if args.is(at, "COUNT") {
                options.count = usize::try_from(args.int(at + 1)?).unwrap_or(0);
                if options.count == 0 {
                    return Err(CommandError::Syntax);
                }
            } else if args.is(at, "MATCH") {
                options.pattern = (value != b"*").then_some(value);
            } else if extra == Extra::Type && args.is(at, "TYPE") {
                options.kind = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Does MATCH let this name through?
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| crate::glob::matches(pattern, name, false))
    }
}

/// A cursor as Redis takes it (`strtoul`, the whole argument): a sign is allowed, and nothing at all is 0.
pub(super) fn parse_cursor(arg: &[u8]) -> CommandResult<u64> {
    let arg = printed(arg);
    let (negative, digits) = match arg {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, arg),
    };
    let value = match digits {
        [] if arg.is_empty() => Some(0),
        [] => None,
        _ => digits.iter().try_fold(0u64, |value, b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        }),
    };
    match value {
        Some(value) => Ok(if negative { value.wrapping_neg() } else { value }),
        None => Err("ERR invalid cursor".into()),
    }
}

/// The reply to a scan of a key that is not there.
pub(super) fn reply_nothing(reply: &mut ReplyWriter) {
    reply.array(2);
    reply.bulk_int(0);
    reply.array(0);
}

/// The reply to a scan: `visit` writes the elements and answers the next cursor and how many it wrote.
pub(super) fn reply_scan(reply: &mut ReplyWriter, visit: impl FnOnce(&mut ReplyWriter) -> (u64, usize)) {
    let start = reply.out.end();
    let elements = reply.defer();
    let (cursor, count) = visit(reply);
    reply.finish_array(elements, count);
    // The cursor comes before the elements, and is known only now. Redis prints it signed.
    let mut buf = itoa::Buffer::new();
    let cursor = buf.format(cursor as i64);
    reply.out.insert_at(start, format!("*2\r\n${}\r\n{cursor}\r\n", cursor.len()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_parsed_as_strtoul_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            (" 1", None),
            ("1 ", None),
            ("x", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn options_are_checked() {
        let parse = |line: &'static str, extra| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let options = ScanOptions::parse(Args::new(&args), 2, extra);
            options.map(|o| (o.count, o.pattern.map(<[u8]>::to_vec), o.kind.map(<[u8]>::to_vec)))
        };
        assert_eq!(parse("scan 0", Extra::Type), Ok((10, None, None)));
        assert_eq!(parse("scan 0 match * count 3", Extra::Nothing), Ok((3, None, None)));
        assert_eq!(
            parse("scan 0 type set match a*", Extra::Type),
            Ok((10, Some(b"a*".to_vec()), Some(b"set".to_vec())))
        );
        assert_eq!(parse("scan 0 type set", Extra::Nothing), Err(CommandError::Syntax));
        assert_eq!(parse("scan 0 count 0", Extra::Type), Err(CommandError::Syntax));
        assert_eq!(parse("scan 0 count x", Extra::Type), Err(CommandError::NotInteger));
        assert_eq!(parse("scan 0 novalues", Extra::Type), Err(CommandError::Syntax));
        assert_eq!(parse("hscan 0 novalues count 3", Extra::Bare("NOVALUES")), Ok((3, None, None)));
        assert_eq!(parse("scan 0 count", Extra::Type), Err(CommandError::Syntax));
    }
}
