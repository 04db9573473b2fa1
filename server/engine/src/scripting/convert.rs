//! Command replies as Lua values, and Lua values as replies.
//!
//! | reply | in Lua |
//! |---|---|
//! | integer, bulk string, array | number, string, table |
//! | status, error | `{ok=…}`, `{err=…}` |
//! | RESP2 null | `false` |
//! | RESP3 null, boolean | `nil`, boolean |
//! | RESP3 map, set | `{map={…}}`, `{set={member=true…}}` |
//! | RESP3 double, big number, verbatim | `{double=…}`, `{big_number=…}`, `{verbatim_string={format=, string=}}` |
//!
//! The way back knows the same tables; numbers are truncated, `true` is 1 (RESP2), `false` and `nil` are null, and
//! an array ends at its first nil.

use cairn_proto::{ReplyWriter, Resp};

use super::NESTING_MAX;
use super::number::{c_cast_i64, parse_prefix};
use super::stack::{BOOLEAN, NIL, NUMBER, Raise, STRING, Stack, TABLE};

/// Pushes the Lua value of one reply in RESP. True if it is an error.
pub(super) fn push_reply(stack: Stack, reply: &[u8]) -> Result<bool, Raise> {
    Reply { rest: reply, depth: 0 }.push(stack)?;
    Ok(reply.first() == Some(&b'-'))
}

/// Pushes `{err="ERR text"}`: an error of this module's own functions.
pub(super) fn push_error(stack: Stack, text: &[u8]) {
    stack.new_table();
    stack.push_bytes(b"ERR ");
    stack.push_bytes(text);
    stack.concat(2);
    stack.raw_set_field(b"err");
}

/// Pushes `{err=…}` for a text whose first word is its code; a single word gets the code `ERR`.
pub(super) fn push_coded_error(stack: Stack, mut text: &[u8]) {
    while let [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    stack.new_table();
    if text.contains(&b' ') {
        stack.push_bytes(text);
    } else {
        stack.push_bytes(b"ERR ");
        stack.push_bytes(text);
        stack.concat(2);
    }
    stack.raw_set_field(b"err");
}

/// A reply being read. The server wrote it itself; that it is well formed is checked all the same.
struct Reply<'a> {
    rest: &'a [u8],
    depth: i32,
}

const MALFORMED: &str = "malformed command reply";

impl<'a> Reply<'a> {
    /// The type and the rest of the first line.
    fn line(&mut self) -> Result<(u8, &'a [u8]), Raise> {
        let end = self.rest.iter().position(|&c| c == b'\r').ok_or(Raise::Bare(MALFORMED))?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(2..).ok_or(Raise::Bare(MALFORMED))?;
        let (&kind, text) = line.split_first().ok_or(Raise::Bare(MALFORMED))?;
        Ok((kind, text))
    }

    /// The payload of a bulk string.
    fn payload(&mut self, len: i64) -> Result<&'a [u8], Raise> {
        let len = usize::try_from(len).map_err(|_| Raise::Bare(MALFORMED))?;
        let payload = self.rest.get(..len).ok_or(Raise::Bare(MALFORMED))?;
        self.rest = self.rest.get(len + 2..).ok_or(Raise::Bare(MALFORMED))?;
        Ok(payload)
    }

    fn push(&mut self, stack: Stack) -> Result<(), Raise> {
        if self.depth > NESTING_MAX || !stack.check(6) {
            return Err(Raise::Bare("reached lua stack limit"));
        }
        self.depth += 1;
        let (kind, text) = self.line()?;
        match kind {
            b':' => stack.push_number(parse_integer(text)? as f64),
            b'$' => match parse_integer(text)? {
                -1 => stack.push_bool(false),
                len => stack.push_bytes(self.payload(len)?),
            },
            b'*' => match parse_integer(text)? {
                -1 => stack.push_bool(false),
                len => {
                    stack.new_table();
                    for index in 1..=len {
                        self.push(stack)?;
                        stack.raw_set_index(-2, index as i32);
                    }
                }
            },
            b'+' => push_field(stack, b"ok", text),
            b'-' => {
                push_coded_error(stack, text);
                // The command that failed has been counted in the statistics.
                stack.push_bool(true);
                stack.raw_set_field(b"ignore_error_stats_update");
            }
            b'%' => {
                let pairs = parse_integer(text)?;
                stack.new_table();
                stack.new_table();
                for _ in 0..pairs {
                    self.push(stack)?;
                    self.push(stack)?;
                    if stack.type_of(-2) == NIL {
                        return Err(Raise::Bare("table index is nil"));
                    }
                    stack.raw_set(-3);
                }
                stack.raw_set_field(b"map");
            }
            b'~' => {
                let members = parse_integer(text)?;
                stack.new_table();
                stack.new_table();
                for _ in 0..members {
                    self.push(stack)?;
                    if stack.type_of(-1) == NIL {
                        return Err(Raise::Bare("table index is nil"));
                    }
                    stack.push_bool(true);
                    stack.raw_set(-3);
                }
                stack.raw_set_field(b"set");
            }
            b'_' => stack.push_nil(),
            b'#' => stack.push_bool(text == b"t"),
            b',' => {
                stack.new_table();
                stack.push_number(parse_prefix(text).map_or(0.0, |(value, _)| value));
                stack.raw_set_field(b"double");
            }
            b'(' => push_field(stack, b"big_number", text),
            b'=' => {
                let payload = self.payload(parse_integer(text)?)?;
                let (format, string) = payload.split_at_checked(4).ok_or(Raise::Bare(MALFORMED))?;
                stack.new_table();
                stack.new_table();
                stack.push_bytes(string);
                stack.raw_set_field(b"string");
                stack.push_bytes(&format[..3]);
                stack.raw_set_field(b"format");
                stack.raw_set_field(b"verbatim_string");
            }
            b'|' => {
                // Attributes are not shown to scripts.
                for _ in 0..parse_integer(text)?.saturating_mul(2) {
                    self.push(stack)?;
                    stack.pop(1);
                }
                self.push(stack)?;
            }
            _ => return Err(Raise::Bare(MALFORMED)),
        }
        self.depth -= 1;
        Ok(())
    }
}

fn push_field(stack: Stack, name: &[u8], value: &[u8]) {
    stack.new_table();
    stack.push_bytes(value);
    stack.raw_set_field(name);
}

fn parse_integer(text: &[u8]) -> Result<i64, Raise> {
    cairn_proto::parse_int(text).ok_or(Raise::Bare(MALFORMED))
}

/// Writes the value on top as a reply and pops it. `resp` is the version that the script has set.
pub(super) fn write_reply(stack: Stack, resp: Resp, reply: &mut ReplyWriter) {
    write_value(stack, resp, reply, 0);
}

fn write_value(stack: Stack, resp: Resp, reply: &mut ReplyWriter, depth: i32) {
    if depth > NESTING_MAX || !stack.check(6) {
        reply.error("ERR reached lua stack limit");
        stack.pop(1);
        return;
    }
    match stack.type_of(-1) {
        STRING => reply.bulk(stack.bytes(-1).expect("a string")),
        NUMBER => reply.int(c_cast_i64(stack.number(-1))),
        BOOLEAN => match (resp, stack.boolean(-1)) {
            (Resp::V2, true) => reply.int(1),
            (Resp::V2, false) => reply.null(),
            (Resp::V3, value) => reply.bool(value),
        },
        TABLE => write_table(stack, resp, reply, depth + 1),
        _ => reply.null(),
    }
    stack.pop(1);
}

/// Writes the table on top, which stays.
fn write_table(stack: Stack, resp: Resp, reply: &mut ReplyWriter, depth: i32) {
    let table = stack.top();
    // Pushes table[name], for as long as it is of the type asked for.
    let has = |name: &[u8], of: i32| {
        stack.raw_get_field(table, name);
        let found = stack.type_of(-1) == of;
        if !found {
            stack.set_top(table);
        }
        found
    };
    if has(b"err", STRING) {
        reply.error(stack.bytes(-1).expect("a string"));
    } else if has(b"ok", STRING) {
        reply.simple(c_string(stack.bytes(-1).expect("a string")));
    } else if has(b"double", NUMBER) {
        reply.double(stack.number(-1));
    } else if has(b"big_number", STRING) {
        let digits = stack.text(-1).replace(['\r', '\n'], " ");
        reply.big_number(&digits);
    } else if has(b"verbatim_string", TABLE) && write_verbatim(stack, reply) {
    } else if has(b"map", TABLE) {
        reply.map(count(stack));
        stack.push_nil();
        while stack.next(table + 1) {
            stack.push_copy(-2);
            write_value(stack, resp, reply, depth);
            write_value(stack, resp, reply, depth);
        }
    } else if has(b"set", TABLE) {
        reply.set(count(stack));
        stack.push_nil();
        while stack.next(table + 1) {
            stack.pop(1);
            stack.push_copy(-1);
            write_value(stack, resp, reply, depth);
        }
    } else {
        let mut len = 0;
        loop {
            stack.raw_get_index(table, len + 1);
            let end = stack.type_of(-1) == NIL;
            stack.pop(1);
            if end {
                break;
            }
            len += 1;
        }
        reply.array(len as usize);
        for index in 1..=len {
            stack.raw_get_index(table, index);
            write_value(stack, resp, reply, depth);
        }
    }
    stack.set_top(table);
}

/// Writes the verbatim string described by the table on top, if it is one.
fn write_verbatim(stack: Stack, reply: &mut ReplyWriter) -> bool {
    let table = stack.top();
    stack.raw_get_field(table, b"format");
    stack.raw_get_field(table, b"string");
    if stack.type_of(-2) != STRING || stack.type_of(-1) != STRING {
        stack.set_top(table - 1);
        return false;
    }
    let mut format = [b' '; 3];
    for (place, byte) in format.iter_mut().zip(c_string(stack.bytes(-2).expect("a string"))) {
        *place = *byte;
    }
    reply.verbatim(&format, stack.bytes(-1).expect("a string"));
    true
}

/// The number of pairs in the table on top.
fn count(stack: Stack) -> usize {
    let table = stack.top();
    let mut pairs = 0;
    stack.push_nil();
    while stack.next(table) {
        stack.pop(1);
        pairs += 1;
    }
    pairs
}

fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|&c| c == 0).next().unwrap_or_default()
}
