//! Streams.
//!
//! | file      | commands                                                             |
//! |-----------|----------------------------------------------------------------------|
//! | `add`     | XADD, XTRIM: what goes in at the end and out at the beginning         |
//! | `range`   | XLEN, XRANGE, XREVRANGE, XDEL, XSETID                                 |
//! | `read`    | XREAD, XREADGROUP                                                     |
//! | `group`   | XGROUP, XACK                                                          |
//! | `pending` | XPENDING, XCLAIM, XAUTOCLAIM                                          |
//! | `info`    | XINFO                                                                 |
//!
//! Effects say ids and times outright. When a consumer was last seen is no effect of its own: a read that delivers
//! nothing writes nothing down, so after a restart that time can be older, as after a failover of Redis.

mod add;
mod group;
mod info;
mod pending;
mod range;
mod read;
#[cfg(test)]
mod tests;

use cairn_proto::{ReplyWriter, SHARED_BULK_MIN};

use crate::command::Command;
use crate::context::Context;
use crate::ds::listpack::Item;
use crate::error::{CommandError, CommandResult, printed};
use crate::types::Stream;
use crate::types::stream::{Entry, Range, StreamId};
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] = &[
    &add::XADD,
    &add::XTRIM,
    &group::XACK,
    &group::XGROUP,
    &info::XINFO,
    &pending::XAUTOCLAIM,
    &pending::XCLAIM,
    &pending::XPENDING,
    &range::XDEL,
    &range::XLEN,
    &range::XRANGE,
    &range::XREVRANGE,
    &range::XSETID,
    &read::XREAD,
    &read::XREADGROUP,
];

const INVALID_ID: CommandError =
    CommandError::new("ERR Invalid stream ID specified as stream command argument");

/// Arguments of an effect that are collected on the stack.
const EFFECT_ARGS_INLINE: usize = 32;

fn new_stream() -> Value {
    Value::Stream(triomphe::Arc::new(Stream::new()))
}

/// The stream at `key` for a command that says so when there is none.
fn stream_at<'k>(cx: &'k Context<'_>, key: &[u8]) -> CommandResult<Option<&'k Stream>> {
    cx.keys.get(key).map(Value::as_stream).transpose()
}

/// `ms-seq` or `ms`, but none of the special ids.
fn parse_id(arg: &[u8]) -> CommandResult<StreamId> {
    StreamId::parse(arg, 0).ok_or(INVALID_ID)
}

/// As [`parse_id`]; also `-` and `+`, the first and the last id there can be.
fn parse_id_or_end(arg: &[u8], missing_seq: u64) -> CommandResult<StreamId> {
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(arg, missing_seq).ok_or(INVALID_ID),
    }
}

/// All ids, checked before the first is used.
fn parse_ids<'a>(args: &'a [&'a [u8]]) -> CommandResult<impl Iterator<Item = StreamId> + 'a> {
    args.iter().try_for_each(|arg| parse_id(arg).map(|_| ()))?;
    Ok(args.iter().filter_map(|arg| StreamId::parse(arg, 0)))
}

/// The start of an interval; `(` leaves the id itself out.
fn parse_start(arg: &[u8]) -> CommandResult<StreamId> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => {
            parse_id(id)?.next().ok_or(CommandError::new("ERR invalid start ID for the interval"))
        }
        _ => parse_id_or_end(arg, 0),
    }
}

/// The end of an interval; `(` leaves the id itself out.
fn parse_end(arg: &[u8]) -> CommandResult<StreamId> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, u64::MAX)
            .ok_or(INVALID_ID)?
            .previous()
            .ok_or(CommandError::new("ERR invalid end ID for the interval")),
        _ => parse_id_or_end(arg, u64::MAX),
    }
}

/// An error line with what the client named in it.
fn error_with(parts: &[&[u8]]) -> CommandError {
    CommandError::Bytes(parts.iter().flat_map(|part| printed(part)).copied().collect())
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    error_with(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"])
}

fn no_group_for_key(key: &[u8], group: &[u8]) -> CommandError {
    error_with(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// The arguments of a subcommand do not fit together.
fn subcommand_syntax(container: &str, subcommand: &[u8]) -> CommandError {
    error_with(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        subcommand,
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ])
}

fn reply_id(reply: &mut ReplyWriter, id: StreamId) {
    reply.bulk(&id.text());
}

/// An entry: its id, and the array of its fields and values.
fn reply_entry(reply: &mut ReplyWriter, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.len());
    for (field, value) in entry.fields() {
        reply_item(reply, entry, field);
        reply_item(reply, entry, value);
    }
}

fn reply_item(reply: &mut ReplyWriter, entry: &Entry<'_>, item: Item<'_>) {
    match item {
        Item::Int(value) => reply.bulk_int(value),
        Item::Str(text) if text.len() < SHARED_BULK_MIN => reply.bulk(text),
        Item::Str(text) => {
            let whole = bytes::Bytes::from(entry.buffer().clone());
            reply.bulk_shared(whole.slice_ref(text));
        }
    }
}

/// An array of entries, `count` at most (0: all).
fn reply_entries(reply: &mut ReplyWriter, entries: Range<'_>, count: usize) {
    let array = reply.defer();
    let mut len = 0;
    for entry in entries {
        reply_entry(reply, &entry);
        len += 1;
        if len == count {
            break;
        }
    }
    reply.finish_array(array, len);
}

/// Writes an effect down whose last arguments are the running command's own.
fn log_with_tail(cx: &mut Context<'_>, head: &[&[u8]], tail: &[&[u8]]) {
    let len = head.len() + tail.len();
    if len <= EFFECT_ARGS_INLINE {
        let mut argv = [&b""[..]; EFFECT_ARGS_INLINE];
        argv[..head.len()].copy_from_slice(head);
        argv[head.len()..len].copy_from_slice(tail);
        cx.log(&argv[..len]);
    } else {
        cx.log(&[head, tail].concat());
    }
}
