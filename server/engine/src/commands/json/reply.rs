//! Values as replies.

use bytes::Bytes;
use cairn_json::{Format, Json};
use cairn_proto::{ReplyWriter, Resp};

use crate::args::Args;
use crate::error::{CommandError, CommandResult};

/// Bytes of one reply at most: as long as a string may be. Tests get there soon.
pub(super) const REPLY_LEN_MAX: usize = if cfg!(test) { 4 } else { 512 } * 1024 * 1024;
const TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// Where a reply began, that says how long it has become: what has been written is taken back when a command fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start(u64);

impl Start {
    /// The reply begins here.
    pub fn of(reply: &ReplyWriter) -> Self {
        Self(reply.out.end())
    }

    /// Bytes that may still be written.
    fn left(self, reply: &ReplyWriter) -> CommandResult<usize> {
        REPLY_LEN_MAX.checked_sub((reply.out.end() - self.0) as usize).ok_or(TOO_LONG)
    }

    /// Is the reply still short enough? To be asked for each value.
    pub fn check(self, reply: &ReplyWriter) -> CommandResult {
        self.left(reply).map(|_| ())
    }
}

/// FORMAT of JSON.GET and JSON.ARRPOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `STRING`, `STRINGS`: text.
    Text,
    /// `EXPAND1`: null, booleans and numbers as such, anything else as text.
    Scalars,
    /// `EXPAND`: the whole value as maps and arrays.
    Tree,
}

impl Shape {
    /// `text` is what this command calls [`Shape::Text`].
    pub fn parse(arg: &[u8], text: &str) -> CommandResult<Self> {
        match arg {
            b"EXPAND1" => Ok(Self::Scalars),
            b"EXPAND" => Ok(Self::Tree),
            _ if arg == text.as_bytes() => Ok(Self::Text),
            _ => Err("ERR wrong reply format".into()),
        }
    }
}

/// Writes a text that was made within the limit.
pub(super) fn text(reply: &mut ReplyWriter, text: Vec<u8>, start: Start) -> CommandResult {
    if text.len() > start.left(reply)? {
        return Err(TOO_LONG);
    }
    reply.bulk_shared(Bytes::from(text));
    Ok(())
}

/// Writes a value as text.
pub(super) fn value_text(
    reply: &mut ReplyWriter,
    value: &Json,
    format: &Format<'_>,
    start: Start,
) -> CommandResult {
    let mut out = Vec::new();
    let format = Format { len_max: start.left(reply)?, ..*format };
    value.write_formatted(&mut out, &format, 0);
    text(reply, out, start)
}

/// Writes several values as one text, an array.
pub(super) fn values_text(
    reply: &mut ReplyWriter,
    values: &[&Json],
    format: &Format<'_>,
    start: Start,
) -> CommandResult {
    let mut out = Vec::new();
    let format = Format { len_max: start.left(reply)?, ..*format };
    write_values(&mut out, values, &format, 0);
    text(reply, out, start)
}

/// Appends several values as an array at `level`.
pub(super) fn write_values(out: &mut Vec<u8>, values: &[&Json], format: &Format<'_>, level: usize) {
    format.container(out, *b"[]", level, values.iter(), |out, value| {
        value.write_formatted(out, format, level + 1);
    });
}

/// Writes a value in a shape that only RESP3 can express.
pub(super) fn shaped(
    reply: &mut ReplyWriter,
    value: &Json,
    shape: Shape,
    format: &Format<'_>,
    start: Start,
) -> CommandResult {
    start.check(reply)?;
    match value {
        _ if shape == Shape::Text => return value_text(reply, value, format, start),
        Json::Null => reply.null(),
        Json::Bool(value) => reply.bool(*value),
        Json::Int(value) => reply.int(*value),
        Json::Uint(value) => reply.double(*value as f64),
        Json::Double(value) => reply.double(*value),
        _ if shape == Shape::Scalars => return value_text(reply, value, format, start),
        Json::Str(text) => reply.bulk(text.as_bytes()),
        Json::Array(elements) => {
            reply.array(elements.len());
            for element in elements.iter() {
                shaped(reply, element, shape, format, start)?;
            }
        }
        Json::Object(object) => {
            reply.map(object.len());
            for (name, value) in object.iter() {
                reply.bulk(name.as_bytes());
                shaped(reply, value, shape, format, start)?;
            }
        }
    }
    Ok(())
}

/// Writes a value as JSON.RESP does: containers as arrays that begin with their bracket.
pub(super) fn resp(reply: &mut ReplyWriter, value: &Json, start: Start) -> CommandResult {
    start.check(reply)?;
    match value {
        Json::Null => reply.null(),
        Json::Bool(value) => reply.simple(if *value { "true" } else { "false" }),
        Json::Int(value) => reply.int(*value),
        Json::Uint(value) => reply.double(*value as f64),
        Json::Double(value) => reply.double(*value),
        Json::Str(text) => reply.bulk(text.as_bytes()),
        Json::Array(elements) => {
            reply.array(elements.len() + 1);
            reply.simple("[");
            for element in elements.iter() {
                resp(reply, element, start)?;
            }
        }
        Json::Object(object) => {
            reply.array(2 * object.len() + 1);
            reply.simple("{");
            for (name, value) in object.iter() {
                reply.bulk(name.as_bytes());
                resp(reply, value, start)?;
            }
        }
    }
    Ok(())
}

/// Writes a list of integers, null for what has none.
pub(super) fn ints(reply: &mut ReplyWriter, results: impl ExactSizeIterator<Item = Option<i64>>) {
    reply.array(results.len());
    for result in results {
        match result {
            Some(value) => reply.int(value),
            None => reply.null(),
        }
    }
}

/// Does the client speak RESP3?
pub(super) fn is_resp3(reply: &ReplyWriter) -> bool {
    reply.resp == Resp::V3
}

/// The argument at `at`; too few are an error of arity.
pub(super) fn required<'a>(args: Args<'a>, at: usize, command: &str) -> CommandResult<&'a [u8]> {
    args.get(at).copied().ok_or_else(|| CommandError::Arity(command.to_owned()))
}
