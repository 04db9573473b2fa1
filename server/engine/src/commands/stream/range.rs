//! XLEN, XRANGE, XREVRANGE, XDEL, XSETID.

use super::{parse_end, parse_id, parse_ids, parse_start, reply_entries, stream_at};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys, METADATA, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::stream::StreamId;

pub(super) static XLEN: Command = Command {
    name: "xlen",
    arity: 2,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the number of entries of a stream.",
    syntax: "key",
    run: xlen,
    ..COMMAND
};

fn xlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = stream_at(cx, args.at(1))?.map(|stream| stream.entries.len());
    cx.reply.int(len.unwrap_or(0) as i64);
    Ok(())
}

pub(super) static XRANGE: Command = Command {
    name: "xrange",
    arity: -4,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the entries of a stream between two ids.",
    complexity: "O(log N + M) with M entries returned",
    syntax: "key start:string end:string [COUNT count:integer]",
    run: xrange,
    ..COMMAND
};

fn xrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    range(cx, args, false)
}

pub(super) static XREVRANGE: Command = Command {
    name: "xrevrange",
    arity: -4,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the entries of a stream between two ids, the newest first.",
    complexity: "O(log N + M) with M entries returned",
    syntax: "key end:string start:string [COUNT count:integer]",
    run: xrevrange,
    ..COMMAND
};

fn xrevrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    range(cx, args, true)
}

fn range(cx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> CommandResult {
    let key = args.at(1);
    let (start, end) = if reverse { (args[3], args[2]) } else { (args[2], args[3]) };
    let (start, end) = (parse_start(start)?, parse_end(end)?);
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        if !args.is(at, "count") || at + 1 == args.len() {
            return Err(CommandError::Syntax);
        }
        count = Some(args.int(at + 1)?.max(0) as usize);
        at += 2;
    }
    let Some(value) = cx.keys.get(key) else {
        cx.reply.array(0);
        return Ok(());
    };
    let stream = value.as_stream()?;
    match count {
        Some(0) => cx.reply.null_array(),
        _ => reply_entries(cx.reply, stream.entries.range(start, end, reverse), count.unwrap_or(0)),
    }
    Ok(())
}

pub(super) static XDEL: Command = Command {
    name: "xdel",
    arity: -3,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes entries from a stream, wherever they are; returns how many there were.",
    complexity: "O(log N) for each entry",
    syntax: "key id:string [id:string ...]",
    run: xdel,
    ..COMMAND
};

fn xdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let mut deleted = 0;
    if let Some(value) = cx.keys.get_mut(key) {
        let stream = value.as_stream_mut()?;
        for id in parse_ids(args.from(2))? {
            deleted += u64::from(stream.entries.delete(id));
        }
    }
    if deleted > 0 {
        cx.changed(key, Class::Stream, "xdel");
        cx.shared.effects.add_dirty(deleted - 1);
        cx.log_self();
    }
    cx.reply.int(deleted as i64);
    Ok(())
}

pub(super) static XSETID: Command = Command {
    name: "xsetid",
    arity: -3,
    group: Group::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets the last id of a stream, and its counters. For tools that copy streams.",
    syntax: "key last-id:string [ENTRIESADDED entries-added:integer] [MAXDELETEDID max-deleted-id:string]",
    run: xsetid,
    ..COMMAND
};

fn xsetid(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let id = parse_id(args.at(2))?;
    let mut added = None;
    let mut max_deleted_id = None;
    let mut at = 3;
    while at < args.len() {
        let more = at + 1 < args.len();
        if more && args.is(at, "entriesadded") {
            let n = u64::try_from(args.int(at + 1)?);
            added = Some(n.map_err(|_| CommandError::new("ERR entries_added must be positive"))?);
        } else if more && args.is(at, "maxdeletedid") {
            let deleted = parse_id(args[at + 1])?;
            if id < deleted {
                return Err(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id".into(),
                );
            }
            max_deleted_id = Some(deleted);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let value = cx.keys.get_mut(key).ok_or(CommandError::NoSuchKey)?;
    let entries = &mut value.as_stream_mut()?.entries;
    if id < entries.max_deleted_id() {
        return Err("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id".into());
    }
    if entries.last_entry_id().is_some_and(|last| id < last) {
        return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
    }
    if added.is_some_and(|added| added < entries.len()) {
        return Err(
            "ERR The entries_added specified in XSETID is smaller than the target stream length".into()
        );
    }
    entries.set_ids(id, added, max_deleted_id.filter(|&id| id != StreamId::MIN));
    cx.changed_unwatched(key, Some("xsetid"));
    cx.log_self();
    cx.reply.ok();
    Ok(())
}
