//! The client's side of the protocol: reply bytes to values. For tests, tools, and scripts that read the
//! replies of the commands they call.

/// How deep aggregates may be nested in a reply.
pub const REPLY_DEPTH_MAX: usize = 128;

/// The most elements of one aggregate, and the most bytes of one string, that a reply may announce.
const LENGTH_MAX: i64 = i32::MAX as i64;

/// The length of the shortest element, RESP3's null. Elements that cannot have arrived are not made room for.
const ELEMENT_LEN_MIN: usize = 3;

/// Any reply of RESP2 or RESP3. Strings are bytes: nothing says that they are UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    /// With its code, as in `ERR syntax error`.
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Array(Vec<Value>),
    /// RESP2's `$-1`.
    NullBulk,
    /// RESP2's `*-1`.
    NullArray,
    /// RESP3's `_`.
    Null,
    Bool(bool),
    Double(f64),
    /// Decimal digits, perhaps after a sign.
    BigNumber(String),
    Verbatim {
        ext: [u8; 3],
        text: Vec<u8>,
    },
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// A value that attributes stand before.
    Attributed {
        attributes: Vec<(Value, Value)>,
        value: Box<Value>,
    },
}

impl Value {
    /// Whether this is one of the protocol's ways to say that there is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::NullBulk | Self::NullArray | Self::Null)
    }
}

/// Why bytes are not a reply, whatever may follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("unknown reply type {prefix:#04x} at offset {offset}")]
    UnknownType { prefix: u8, offset: usize },
    #[error("malformed {what} at offset {offset}")]
    Malformed { what: &'static str, offset: usize },
    #[error("reply nested deeper than {REPLY_DEPTH_MAX} at offset {offset}")]
    TooDeep { offset: usize },
}

/// Decodes the reply that `buf` starts with: its value and how many bytes it took, or `None` if its end is not
/// there yet.
///
/// Holds nothing between calls, so call it again from the start when more has arrived. Memory is taken only for
/// elements that are in `buf`: what a reply announces is not believed.
pub fn decode_reply(buf: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
    let mut parser = Parser { buf, pos: 0 };
    match parser.value(0) {
        Ok(value) => Ok(Some((value, parser.pos))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// Why the parser cannot go on.
enum Stop {
    Incomplete,
    Wrong(ReplyError),
}

struct Parser<'b> {
    buf: &'b [u8],
    pos: usize,
}

impl<'b> Parser<'b> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let offset = self.pos;
        if depth > REPLY_DEPTH_MAX {
            return Err(Stop::Wrong(ReplyError::TooDeep { offset }));
        }
        let prefix = *self.buf.get(offset).ok_or(Stop::Incomplete)?;
        // Before looking for the end of a line that will never come.
        if !b"+-:$*_#,(!=%~>|".contains(&prefix) {
            return Err(Stop::Wrong(ReplyError::UnknownType { prefix, offset }));
        }
        self.pos += 1;
        let line = self.line()?;
        let malformed = |what| Stop::Wrong(ReplyError::Malformed { what, offset });
        Ok(match prefix {
            b'+' => Value::Simple(line.to_vec()),
            b'-' => Value::Error(line.to_vec()),
            b':' => {
                let digits = line.strip_prefix(b"+").unwrap_or(line);
                Value::Int(crate::parse_int(digits).ok_or_else(|| malformed("integer"))?)
            }
            b'$' if line == b"-1" => Value::NullBulk,
            b'$' => Value::Bulk(self.bulk(line, offset)?.to_vec()),
            b'!' => Value::Error(self.bulk(line, offset)?.to_vec()),
            b'=' => match self.bulk(line, offset)? {
                [a, b, c, b':', text @ ..] => Value::Verbatim { ext: [*a, *b, *c], text: text.to_vec() },
                _ => return Err(malformed("verbatim string")),
            },
            b'*' if line == b"-1" => Value::NullArray,
            b'*' => Value::Array(self.elements(line, depth)?),
            b'~' => Value::Set(self.elements(line, depth)?),
            b'>' => Value::Push(self.elements(line, depth)?),
            b'%' => Value::Map(self.pairs(line, depth)?),
            b'|' => {
                let attributes = self.pairs(line, depth)?;
                Value::Attributed { attributes, value: Box::new(self.value(depth + 1)?) }
            }
            b'_' if line.is_empty() => Value::Null,
            b'_' => return Err(malformed("null")),
            b'#' => match line {
                b"t" => Value::Bool(true),
                b"f" => Value::Bool(false),
                _ => return Err(malformed("boolean")),
            },
            b',' => {
                let text = std::str::from_utf8(line).map_err(|_| malformed("double"))?;
                Value::Double(text.parse().map_err(|_| malformed("double"))?)
            }
            b'(' => {
                let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
                if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    return Err(malformed("big number"));
                }
                Value::BigNumber(String::from_utf8_lossy(line).into_owned())
            }
            _ => unreachable!("the prefix was checked"),
        })
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Result<&'b [u8], Stop> {
        let rest = &self.buf[self.pos..];
        let len = rest.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).ok_or(Stop::Incomplete)?;
        self.line_end(self.pos + len)?;
        self.pos += len + 2;
        Ok(&rest[..len])
    }

    /// The string of the length that `line` says, and the line end behind it.
    fn bulk(&mut self, line: &[u8], offset: usize) -> Result<&'b [u8], Stop> {
        let len = Self::length(line, offset)?;
        let rest = &self.buf[self.pos..];
        if rest.len() < len {
            return Err(Stop::Incomplete);
        }
        self.line_end(self.pos + len)?;
        self.pos += len + 2;
        Ok(&rest[..len])
    }

    fn line_end(&self, at: usize) -> Result<(), Stop> {
        match &self.buf[at..] {
            [b'\r', b'\n', ..] => Ok(()),
            [] | [b'\r'] => Err(Stop::Incomplete),
            _ => Err(Stop::Wrong(ReplyError::Malformed { what: "line end", offset: at })),
        }
    }

    fn elements(&mut self, line: &[u8], depth: usize) -> Result<Vec<Value>, Stop> {
        let len = self.aggregate_len(line, 1)?;
        let mut elements = Vec::new();
        for _ in 0..len {
            elements.push(self.value(depth + 1)?);
        }
        Ok(elements)
    }

    fn pairs(&mut self, line: &[u8], depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let len = self.aggregate_len(line, 2)?;
        let mut pairs = Vec::new();
        for _ in 0..len {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    /// The length that `line` says, if so many times `per_unit` elements can have arrived at all: there is no
    /// use in decoding the first ones otherwise.
    fn aggregate_len(&self, line: &[u8], per_unit: usize) -> Result<usize, Stop> {
        let len = Self::length(line, self.pos)?;
        let bytes_min = len.saturating_mul(per_unit * ELEMENT_LEN_MIN);
        if bytes_min > self.buf.len() - self.pos { Err(Stop::Incomplete) } else { Ok(len) }
    }

    fn length(line: &[u8], offset: usize) -> Result<usize, Stop> {
        match crate::parse_int(line) {
            Some(len @ 0..=LENGTH_MAX) => Ok(len as usize),
            _ => Err(Stop::Wrong(ReplyError::Malformed { what: "length", offset })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decodes_to(bytes: &[u8], expected: Value) {
        let with_more = [bytes, b"+more\r\n"].concat();
        assert_eq!(decode_reply(&with_more), Ok(Some((expected, bytes.len()))));
        for len in 0..bytes.len() {
            assert_eq!(decode_reply(&bytes[..len]), Ok(None), "cut at {len}");
        }
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_type_is_decoded_and_every_prefix_of_it_is_incomplete() {
        decodes_to(b"+OK\r\n", Value::Simple(b"OK".to_vec()));
        decodes_to(b"-ERR no\r\n", Value::Error(b"ERR no".to_vec()));
        decodes_to(b"!6\r\nERR\r\n!\r\n", Value::Error(b"ERR\r\n!".to_vec()));
        decodes_to(b":-42\r\n", Value::Int(-42));
        decodes_to(b":+42\r\n", Value::Int(42));
        decodes_to(b"$4\r\n\r\n\0\xff\r\n", Value::Bulk(b"\r\n\0\xff".to_vec()));
        decodes_to(b"$-1\r\n", Value::NullBulk);
        decodes_to(b"*-1\r\n", Value::NullArray);
        decodes_to(b"_\r\n", Value::Null);
        decodes_to(b"#t\r\n", Value::Bool(true));
        decodes_to(b"#f\r\n", Value::Bool(false));
        decodes_to(b",-inf\r\n", Value::Double(f64::NEG_INFINITY));
        decodes_to(b",1.5e-7\r\n", Value::Double(1.5e-7));
        decodes_to(b"(-123456789012345678901\r\n", Value::BigNumber("-123456789012345678901".into()));
        decodes_to(b"=6\r\ntxt:hi\r\n", Value::Verbatim { ext: *b"txt", text: b"hi".to_vec() });
        decodes_to(b"*2\r\n$1\r\na\r\n*0\r\n", Value::Array(vec![bulk("a"), Value::Array(vec![])]));
        decodes_to(b"~1\r\n:1\r\n", Value::Set(vec![Value::Int(1)]));
        decodes_to(b">1\r\n:1\r\n", Value::Push(vec![Value::Int(1)]));
        decodes_to(b"%1\r\n$1\r\na\r\n:1\r\n", Value::Map(vec![(bulk("a"), Value::Int(1))]));
        decodes_to(
            b"|1\r\n$1\r\na\r\n:1\r\n_\r\n",
            Value::Attributed { attributes: vec![(bulk("a"), Value::Int(1))], value: Box::new(Value::Null) },
        );
    }

    #[test]
    fn not_a_number_is_a_double() {
        let decoded = decode_reply(b",nan\r\n");
        assert!(matches!(decoded, Ok(Some((Value::Double(value), 6))) if value.is_nan()));
    }

    #[test]
    fn the_three_nulls_are_null() {
        assert!([Value::NullBulk, Value::NullArray, Value::Null].iter().all(Value::is_null));
        assert!(!Value::Int(0).is_null());
    }

    #[test]
    fn malformed_replies_are_errors_with_their_offset() {
        let wrong = |bytes: &[u8]| decode_reply(bytes).expect_err("malformed");
        assert_eq!(wrong(b"hello"), ReplyError::UnknownType { prefix: b'h', offset: 0 });
        assert_eq!(wrong(b"*1\r\n?\r\n"), ReplyError::UnknownType { prefix: b'?', offset: 4 });
        for bytes in [
            "+a\rb",
            "+a\nb",
            ":x\r\n",
            ":\r\n",
            "$-2\r\n",
            "$x\r\n",
            "$1\r\nabc",
            "*-2\r\n",
            "*2147483648\r\n",
        ] {
            assert!(matches!(wrong(bytes.as_bytes()), ReplyError::Malformed { .. }), "{bytes:?}");
        }
        for bytes in [
            "%-1\r\n",
            "~-1\r\n",
            "_x\r\n",
            "#x\r\n",
            ",x\r\n",
            "(\r\n",
            "(1x\r\n",
            "=3\r\ntxt\r\n",
            "$?\r\n",
        ] {
            assert!(matches!(wrong(bytes.as_bytes()), ReplyError::Malformed { .. }), "{bytes:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(matches!(decode_reply(&nested(REPLY_DEPTH_MAX)), Ok(Some(_))));
        let offset = 4 * (REPLY_DEPTH_MAX + 1);
        assert_eq!(decode_reply(&nested(REPLY_DEPTH_MAX + 1)), Err(ReplyError::TooDeep { offset }));
        assert_eq!(decode_reply(&nested(1_000_000)), Err(ReplyError::TooDeep { offset }));
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        assert_eq!(decode_reply(b"*2147483647\r\n:1\r\n"), Ok(None));
        assert_eq!(decode_reply(b"%2147483647\r\n:1\r\n"), Ok(None));
        assert_eq!(decode_reply(b"$2147483647\r\nx"), Ok(None));
    }
}
