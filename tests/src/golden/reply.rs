//! Replies as the scripts show them: a decoder of its own, so that a mistake of the server's codec shows.

use anyhow::{Context, bail, ensure};
use std::fmt;

/// A line longer than this is broken up, one element per line.
const LINE_WIDTH_MAX: usize = 110;

/// One RESP2 or RESP3 value as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    Integer(i64),
    Bulk(Vec<u8>),
    Simple(Vec<u8>),
    Error(Vec<u8>),
    /// `_`, the null of RESP3, or `$-1` from a RESP2 connection.
    Nil,
    /// `$-1` on a connection where null is `_`.
    NilBulk,
    /// `*-1`.
    NilArray,
    Boolean(bool),
    /// The digits as sent.
    Double(Vec<u8>),
    BigNumber(Vec<u8>),
    /// Format and text.
    Verbatim(Vec<u8>, Vec<u8>),
    Array(Vec<Reply>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    /// What a tag made of a value.
    Masked(String),
}

impl Reply {
    /// The value at the start of `input` and how many bytes it took; `None` while it is incomplete.
    pub fn decode(input: &[u8]) -> anyhow::Result<Option<(Reply, usize)>> {
        let Some(end) = input.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        ensure!(end > 0, "a line without a type byte");
        let (kind, line, body) = (input[0], &input[1..end], &input[end + 2..]);
        let header = end + 2;
        let count = || -> anyhow::Result<i64> {
            std::str::from_utf8(line)?.parse().with_context(|| format!("bad number {line:?}"))
        };
        let reply = match kind {
            b'+' => Reply::Simple(line.to_vec()),
            b'-' => Reply::Error(line.to_vec()),
            b':' => Reply::Integer(count()?),
            b'_' => Reply::Nil,
            b'#' => Reply::Boolean(line == b"t"),
            b',' => Reply::Double(line.to_vec()),
            b'(' => Reply::BigNumber(line.to_vec()),
            b'$' | b'=' => {
                let length = count()?;
                if length == -1 {
                    return Ok(Some((Reply::NilBulk, header)));
                }
                let length = usize::try_from(length).context("negative length")?;
                if body.len() < length + 2 {
                    return Ok(None);
                }
                ensure!(&body[length..length + 2] == b"\r\n", "no CRLF behind a bulk of {length} bytes");
                let text = &body[..length];
                let reply = if kind == b'$' {
                    Reply::Bulk(text.to_vec())
                } else {
                    ensure!(length >= 4 && text[3] == b':', "verbatim text without its format");
                    Reply::Verbatim(text[..3].to_vec(), text[4..].to_vec())
                };
                return Ok(Some((reply, header + length + 2)));
            }
            b'*' | b'~' | b'>' | b'%' => return Self::decode_aggregate(kind, count()?, input, header),
            other => bail!("unknown type byte {:?}", other as char),
        };
        Ok(Some((reply, header)))
    }

    fn decode_aggregate(
        kind: u8,
        count: i64,
        input: &[u8],
        header: usize,
    ) -> anyhow::Result<Option<(Reply, usize)>> {
        if count == -1 {
            return Ok(Some((Reply::NilArray, header)));
        }
        let count = usize::try_from(count).context("negative length")? * if kind == b'%' { 2 } else { 1 };
        let (mut items, mut used) = (Vec::new(), header);
        for _ in 0..count {
            let Some((item, size)) = Self::decode(&input[used..])? else { return Ok(None) };
            items.push(item);
            used += size;
        }
        let reply = match kind {
            b'*' => Reply::Array(items),
            b'~' => Reply::Set(items),
            b'>' => Reply::Push(items),
            _ => {
                let mut items = items.into_iter();
                Reply::Map(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
            }
        };
        Ok(Some((reply, used)))
    }

    /// The same reply with `$-1` read as the null that it is in RESP2.
    pub fn with_resp2_nulls(self) -> Reply {
        self.map_leaves(&mut |leaf| if leaf == Reply::NilBulk { Reply::Nil } else { leaf })
    }

    /// Applies `f` to everything that is not an aggregate.
    pub fn map_leaves(self, f: &mut impl FnMut(Reply) -> Reply) -> Reply {
        let mut all =
            |items: Vec<Reply>| -> Vec<Reply> { items.into_iter().map(|r| r.map_leaves(f)).collect() };
        match self {
            Reply::Array(items) => Reply::Array(all(items)),
            Reply::Set(items) => Reply::Set(all(items)),
            Reply::Push(items) => Reply::Push(all(items)),
            Reply::Map(pairs) => {
                Reply::Map(pairs.into_iter().map(|(k, v)| (k.map_leaves(f), v.map_leaves(f))).collect())
            }
            leaf => f(leaf),
        }
    }

    fn fmt_at(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let line = self.one_line();
        if line.len() + indent <= LINE_WIDTH_MAX {
            return f.write_str(&line);
        }
        let pad = " ".repeat(indent + 2);
        let (open, items, close) = match self {
            Reply::Array(items) => ("[", items, "]"),
            Reply::Set(items) => ("~[", items, "]"),
            Reply::Push(items) => ("push[", items, "]"),
            Reply::Map(pairs) => {
                f.write_str("{\n")?;
                for (key, value) in pairs {
                    write!(f, "{pad}{}: ", key.one_line())?;
                    value.fmt_at(f, indent + 2)?;
                    f.write_str(",\n")?;
                }
                return write!(f, "{}}}", " ".repeat(indent));
            }
            _ => return f.write_str(&line),
        };
        writeln!(f, "{open}")?;
        for item in items {
            f.write_str(&pad)?;
            item.fmt_at(f, indent + 2)?;
            f.write_str(",\n")?;
        }
        write!(f, "{}{close}", " ".repeat(indent))
    }

    fn one_line(&self) -> String {
        let list = |items: &[Reply]| items.iter().map(Reply::one_line).collect::<Vec<_>>().join(", ");
        match self {
            Reply::Integer(n) => n.to_string(),
            Reply::Bulk(bytes) => quote(bytes),
            Reply::Simple(text) => format!("+{}", escape(text, b"")),
            Reply::Error(text) => format!("-{}", String::from_utf8_lossy(text).replace(['\r', '\n'], " ")),
            Reply::Nil => "nil".into(),
            Reply::NilBulk => "nil-bulk".into(),
            Reply::NilArray => "nil-array".into(),
            Reply::Boolean(value) => value.to_string(),
            Reply::Double(digits) => format!("double({})", digits.escape_ascii()),
            Reply::BigNumber(digits) => format!("bignum({})", digits.escape_ascii()),
            Reply::Verbatim(format, text) => format!("{}:{}", format.escape_ascii(), quote(text)),
            Reply::Array(items) => format!("[{}]", list(items)),
            Reply::Set(items) => format!("~[{}]", list(items)),
            Reply::Push(items) => format!("push[{}]", list(items)),
            Reply::Map(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(k, v)| format!("{}: {}", k.one_line(), v.one_line())).collect();
                format!("{{{}}}", pairs.join(", "))
            }
            Reply::Masked(text) => text.clone(),
        }
    }
}

/// Shows the type of everything: `1` is an integer, `"1"` a bulk string, `+1` a simple string, `-…` an error,
/// `double(1)` a double, `[…]` an array, `~[…]` a set, `{…}` a map, `push[…]` a push. Never an empty line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_at(f, 0)
    }
}

fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", escape(bytes, b"\"\\"))
}

/// Printable ASCII as it is, all else and the `special` characters with a backslash.
fn escape(bytes: &[u8], special: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            byte if special.contains(&byte) => text.extend(['\\', byte as char]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(wire: &[u8]) -> String {
        let (reply, used) = Reply::decode(wire).unwrap().unwrap();
        assert_eq!(used, wire.len());
        reply.to_string()
    }

    #[test]
    fn every_type_reads_differently() {
        let all =
            b"*11\r\n:1\r\n$1\r\n1\r\n+1\r\n-1\r\n_\r\n#t\r\n,1\r\n(1\r\n=5\r\ntxt:1\r\n~1\r\n:1\r\n*-1\r\n";
        assert_eq!(
            shown(all),
            r#"[1, "1", +1, -1, nil, true, double(1), bignum(1), txt:"1", ~[1], nil-array]"#
        );
        assert_eq!(shown(b"%1\r\n+k\r\n$-1\r\n"), "{+k: nil-bulk}");
        assert_eq!(shown(b"$3\r\na\"\x00\r\n"), r#""a\"\x00""#);
    }

    #[test]
    fn an_incomplete_reply_is_not_a_reply() {
        let whole = b"*2\r\n$2\r\nab\r\n%1\r\n:1\r\n,2\r\n";
        for cut in 0..whole.len() {
            assert_eq!(Reply::decode(&whole[..cut]).unwrap(), None, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_protocol_is_an_error() {
        assert!(Reply::decode(b"hello\r\n").is_err());
        assert!(Reply::decode(b"$2\r\nabc\r\n").is_err());
    }
}
