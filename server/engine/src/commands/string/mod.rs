//! Strings. `set.rs`: SET and the other ways to set; `counter.rs`: numbers; `lcs.rs`: LCS; here: reading and editing.

mod counter;
mod lcs;
mod set;

use std::cmp::min;

use crate::args::Args;
use crate::command::{
    COMMAND, Command, Flag, Group, INSERT, Keys, METADATA, READ, READ_DELETE, READ_UPDATE, UPDATE,
};
use crate::context::Context;
use crate::ds::SharedBuf;
use crate::ds::shared_buf::LEN_MAX as SHARED_BUF_LEN_MAX;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::Str;
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] = &[
    &APPEND,
    &GET,
    &GETDEL,
    &GETEX,
    &GETRANGE,
    &MGET,
    &SETRANGE,
    &STRLEN,
    &SUBSTR,
    &counter::DECR,
    &counter::DECRBY,
    &counter::INCR,
    &counter::INCRBY,
    &counter::INCRBYFLOAT,
    &lcs::LCS,
    &set::GETSET,
    &set::MSET,
    &set::MSETNX,
    &set::PSETEX,
    &set::SET,
    &set::SETEX,
    &set::SETNX,
];

/// The longest string that APPEND, SETRANGE and SETBIT may make, which is `proto-max-bulk-len`. What has been logged
/// was allowed when it was run, and must be applied whatever the directive says now.
pub(in crate::commands) fn check_length(cx: &Context<'_>, len: usize) -> CommandResult {
    let max = if cx.obeys() { usize::MAX } else { cx.shared.config.proto_max_bulk_len };
    if len > max.min(SHARED_BUF_LEN_MAX) {
        return Err(TOO_LONG);
    }
    Ok(())
}

const TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// The string at `key`, made empty when the key is not there; from now on it is changed in place.
pub(in crate::commands) fn raw_at<'k>(
    cx: &'k mut Context<'_>,
    key: &[u8],
) -> CommandResult<&'k mut SharedBuf> {
    let (value, _) = cx.keys.get_or_insert_with(key, || Value::Str(Str::raw(SharedBuf::with_capacity(0))));
    Ok(value.as_str_mut()?.make_raw())
}

static GET: Command = Command {
    name: "get",
    arity: 2,
    group: Group::String,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the string at a key.",
    syntax: "key",
    run: get,
    ..COMMAND
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    reply_string(cx, args.at(1)).map(drop)
}

/// Answers the string at `key`, or null; whether there is one.
fn reply_string(cx: &mut Context<'_>, key: &[u8]) -> CommandResult<bool> {
    if let Some(value) = cx.keys.get(key) {
        value.as_str()?.reply(cx.reply);
        return Ok(true);
    }
    cx.reply.null();
    Ok(false)
}

static GETDEL: Command = Command {
    name: "getdel",
    arity: 2,
    group: Group::String,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Returns the string at a key and removes the key.",
    syntax: "key",
    run: getdel,
    ..COMMAND
};

fn getdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    if reply_string(cx, key)? {
        cx.delete_key(key, Class::Generic, "del");
    }
    Ok(())
}

static GETEX: Command = Command {
    name: "getex",
    arity: -2,
    group: Group::String,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Returns the string at a key and changes its time to live.",
    syntax: "key [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | \
             PXAT unix-time-milliseconds:unix-time | PERSIST]",
    run: getex,
    ..COMMAND
};

fn getex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let options = set::Options::parse(args, 2, set::Dialect::GetEx)?;
    if !reply_string(cx, key)? {
        return Ok(());
    }
    let expire_at_ms = options.expire_at_ms(cx)?;
    if options.persist {
        if cx.keys.persist(key) {
            cx.changed(key, Class::Generic, "persist");
            cx.log(&[b"PERSIST", key]);
        }
    } else if let Some(at_ms) = expire_at_ms {
        super::keys::expire_at(cx, key, at_ms);
    }
    Ok(())
}

static MGET: Command = Command {
    name: "mget",
    arity: -2,
    group: Group::String,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::range(1, -1, 1, READ)],
    summary: "Returns the strings at several keys.",
    complexity: "O(N) with N the number of keys",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard"],
    run: mget,
    ..COMMAND
};

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.reply.array(args.len() - 1);
    for key in args.from(1) {
        match cx.keys.get(key) {
            Some(Value::Str(string)) => string.reply(cx.reply),
            Some(_) | None => cx.reply.null(),
        }
    }
    Ok(())
}

static STRLEN: Command = Command {
    name: "strlen",
    arity: 2,
    group: Group::String,
    since: "2.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the length of the string at a key.",
    syntax: "key",
    run: strlen,
    ..COMMAND
};

fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = match cx.keys.get(args.at(1)) {
        Some(value) => value.as_str()?.len(),
        None => 0,
    };
    cx.reply.int(len as i64);
    Ok(())
}

static APPEND: Command = Command {
    name: "append",
    arity: 3,
    group: Group::String,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Appends to the string at a key; makes it when it is not there.",
    complexity: "O(1) amortized",
    syntax: "key value:string",
    run: append,
    ..COMMAND
};

fn append(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, tail) = (args.at(1), args.at(2));
    let len = match cx.keys.get_mut(key) {
        None => {
            cx.keys.set_keep_ttl(key, Value::string(tail));
            tail.len()
        }
        Some(value) => {
            let len = value.as_str()?.len() + tail.len();
            check_length(cx, len)?;
            raw_at(cx, key)?.extend_from_slice(tail);
            len
        }
    };
    cx.changed(key, Class::String, "append");
    cx.log_self();
    cx.reply.int(len as i64);
    Ok(())
}

static SETRANGE: Command = Command {
    name: "setrange",
    arity: 4,
    group: Group::String,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Overwrites a part of the string at a key, padding it with zero bytes as needed.",
    complexity: "O(1) beside the length of the value",
    syntax: "key offset:integer value:string",
    run: setrange,
    ..COMMAND
};

fn setrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, offset, patch) = (args.at(1), args.int(2)?, args.at(3));
    if offset < 0 {
        return Err("ERR offset is out of range".into());
    }
    let len = match cx.keys.peek(key) {
        Some(value) => value.as_str()?.len(),
        None => 0,
    };
    if patch.is_empty() {
        cx.reply.int(len as i64);
        return Ok(());
    }
    let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(patch.len()));
    let end = end.ok_or(TOO_LONG)?;
    check_length(cx, end)?;
    let buf = raw_at(cx, key)?;
    if buf.len() < end {
        buf.resize(end, 0);
    }
    buf.make_mut()[end - patch.len()..end].copy_from_slice(patch);
    cx.changed(key, Class::String, "setrange");
    cx.log_self();
    cx.reply.int(end.max(len) as i64);
    Ok(())
}

static GETRANGE: Command = Command {
    name: "getrange",
    arity: 4,
    group: Group::String,
    since: "2.4.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns a part of the string at a key.",
    complexity: "O(N) with N the length returned",
    syntax: "key start:integer end:integer",
    run: getrange,
    ..COMMAND
};

static SUBSTR: Command = Command {
    name: "substr",
    since: "1.0.0",
    summary: "Returns a part of the string at a key; an older name of GETRANGE.",
    arity: 4,
    group: Group::String,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    complexity: "O(N) with N the length returned",
    syntax: "key start:integer end:integer",
    run: getrange,
    ..COMMAND
};

fn getrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (start, end) = (args.int(2)?, args.int(3)?);
    let Some(value) = cx.keys.get(args.at(1)) else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    value.as_str()?.with_bytes(|bytes| {
        let range = byte_range(start, end, bytes.len());
        cx.reply.bulk(range.map_or(b"".as_slice(), |range| &bytes[range]));
    });
    Ok(())
}

/// The bytes that an inclusive range names, whose negative ends count from the end of `len` bytes.
fn byte_range(start: i64, end: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len = len as i64;
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return None;
    }
    let start = if start < 0 { (start.saturating_add(len)).max(0) } else { start };
    let end = min(if end < 0 { (end.saturating_add(len)).max(0) } else { end }, len - 1);
    (start <= end).then(|| start as usize..end as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn ranges_are_cut_as_in_redis() {
        for (start, end, expected) in [
            (0, 3, Some(0..4)),
            (0, -1, Some(0..5)),
            (-3, -1, Some(2..5)),
            (5, 3, None),
            (-1, -5, None),
            (0, 100, Some(0..5)),
            (-100, 2, Some(0..3)),
            (-100, -90, Some(0..1)),
            (i64::MIN, i64::MAX, Some(0..5)),
        ] {
            assert_eq!(byte_range(start, end, 5), expected, "{start} {end}");
        }
        assert_eq!(byte_range(0, -1, 0), None);
    }
}
