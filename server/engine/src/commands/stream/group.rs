//! XGROUP and XACK.

use triomphe::Arc;

use super::{new_stream, no_group_for_key, parse_id, parse_id_or_end, parse_ids, subcommand_syntax};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group as Family, INSERT, Keys, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::Stream;
use crate::types::stream::Group;
use crate::value::Value;

pub(super) static XGROUP: Command = Command {
    name: "xgroup",
    arity: -2,
    group: Family::Stream,
    since: "5.0.0",
    summary: "Makes, changes and removes consumer groups.",
    complexity: "Depends on the subcommand",
    subcommands: &[&CREATE, &CREATECONSUMER, &DELCONSUMER, &DESTROY, &HELP, &SETID],
    ..COMMAND
};

static CREATE: Command = Command {
    name: "create",
    arity: -5,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(2, INSERT)],
    summary: "Makes a consumer group that reads on after an id.",
    syntax: "key group:string id:string | $ [MKSTREAM] [ENTRIESREAD entries-read:integer]",
    run: create,
    ..COMMAND
};

static SETID: Command = Command {
    name: "setid",
    arity: -5,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(2, UPDATE)],
    summary: "Sets the id after which a consumer group reads on.",
    syntax: "key group:string id:string | $ [ENTRIESREAD entries-read:integer]",
    run: set_id,
    ..COMMAND
};

static DESTROY: Command = Command {
    name: "destroy",
    arity: 4,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(2, DELETE)],
    summary: "Removes a consumer group with all it has pending.",
    complexity: "O(1); its N pending entries are freed in the background",
    syntax: "key group:string",
    run: destroy,
    ..COMMAND
};

static CREATECONSUMER: Command = Command {
    name: "createconsumer",
    arity: 5,
    group: Family::Stream,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(2, INSERT)],
    summary: "Makes a consumer, unless the group has one of that name.",
    syntax: "key group:string consumer:string",
    run: create_consumer,
    ..COMMAND
};

static DELCONSUMER: Command = Command {
    name: "delconsumer",
    arity: 5,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(2, DELETE)],
    summary: "Removes a consumer with all it has pending; returns how much that was.",
    complexity: "O(N log P) with N entries pending for it and P for the group",
    syntax: "key group:string consumer:string",
    run: delete_consumer,
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Says what XGROUP can do.",
    run: super::super::help::help,
    ..COMMAND
};

pub(super) static XACK: Command = Command {
    name: "xack",
    arity: -4,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Marks entries as dealt with: they are pending no longer. Returns how many were.",
    complexity: "O(log P) for each id, with P pending entries",
    syntax: "key group:string id:string [id:string ...]",
    run: xack,
    ..COMMAND
};

/// What may follow the id in CREATE and SETID.
#[derive(Default)]
struct Options {
    mkstream: bool,
    entries_read: Option<u64>,
}

fn parse_options(args: Args<'_>, creating: bool) -> CommandResult<Options> {
    let mut options = Options::default();
    let mut at = 5;
    while at < args.len() {
        if creating && args.is(at, "mkstream") {
            options.mkstream = true;
            at += 1;
        } else if args.is(at, "entriesread") && at + 1 < args.len() {
            options.entries_read = match args.int(at + 1)? {
                -1 => None,
                n => Some(
                    u64::try_from(n)
                        .map_err(|_| CommandError::new("ERR value for ENTRIESREAD must be positive or -1"))?,
                ),
            };
            at += 2;
        } else {
            return Err(subcommand_syntax("XGROUP", args[1]));
        }
    }
    Ok(options)
}

const NO_KEY: CommandError = CommandError::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
     option to create an empty stream automatically.",
);

/// The stream of a subcommand that wants one.
fn stream_mut<'k>(cx: &'k mut Context<'_>, args: Args<'_>) -> CommandResult<&'k mut Stream> {
    cx.keys.get_mut(args.at(2)).ok_or(NO_KEY)?.as_stream_mut()
}

/// The group of a subcommand that wants one.
fn group_mut<'k>(cx: &'k mut Context<'_>, args: Args<'_>) -> CommandResult<&'k mut Group> {
    let group = stream_mut(cx, args)?.group_mut(args.at(3));
    group.map(|(group, _)| group).ok_or_else(|| no_group_for_key(args.at(2), args.at(3)))
}

fn create(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(2), args.at(3));
    let options = parse_options(args, true)?;
    let last_id = match cx.keys.peek(key) {
        Some(value) => value.as_stream()?.entries.last_id(),
        None if !options.mkstream => return Err(NO_KEY),
        None => Default::default(),
    };
    if args.len() > 8 {
        return Err(subcommand_syntax("XGROUP", args[1]));
    }
    let id = if args[4] == b"$" { last_id } else { parse_id(args[4])? };
    let (value, made) = cx.keys.get_or_insert_with(key, new_stream);
    if !value.as_stream_mut()?.add_group(name, Group::new(id, options.entries_read)) {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    if made {
        cx.notify(Class::New, "new", key);
        cx.changed(key, Class::Stream, "xgroup-create");
    } else {
        cx.changed_unwatched(key, Some("xgroup-create"));
    }
    cx.log_self();
    cx.reply.ok();
    Ok(())
}

fn set_id(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let options = parse_options(args, false)?;
    let stream = stream_mut(cx, args)?;
    let (group, entries) =
        stream.group_mut(args.at(3)).ok_or_else(|| no_group_for_key(args.at(2), args.at(3)))?;
    if args.len() > 7 {
        return Err(subcommand_syntax("XGROUP", args[1]));
    }
    group.last_id = if args[4] == b"$" { entries.last_id() } else { parse_id_or_end(args[4], 0)? };
    group.entries_read = options.entries_read;
    cx.changed_unwatched(args.at(2), Some("xgroup-setid"));
    cx.log_self();
    cx.reply.ok();
    Ok(())
}

fn destroy(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(2);
    let Some(rest) = stream_mut(cx, args)?.remove_group(args.at(3)) else {
        cx.reply.int(0);
        return Ok(());
    };
    cx.keys.discard(Value::Stream(Arc::new(rest)));
    cx.changed_unwatched(key, Some("xgroup-destroy"));
    // Consumers that wait for its entries must hear that it is gone.
    cx.signal_ready(key);
    cx.log_self();
    cx.reply.int(1);
    Ok(())
}

fn create_consumer(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = cx.now_ms();
    let (_, made) = group_mut(cx, args)?.find_or_create_consumer(args.at(4), now_ms);
    if made {
        cx.changed_unwatched(args.at(2), Some("xgroup-createconsumer"));
        cx.log_self();
    }
    cx.reply.int(i64::from(made));
    Ok(())
}

fn delete_consumer(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let pending = group_mut(cx, args)?.delete_consumer(args.at(4));
    if pending.is_some() {
        cx.changed_unwatched(args.at(2), Some("xgroup-delconsumer"));
        cx.log_self();
    }
    cx.reply.int(pending.unwrap_or(0) as i64);
    Ok(())
}

fn xack(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let group = match cx.keys.get_mut(key) {
        Some(value) => value.as_stream_mut()?.group_mut(args.at(2)),
        None => None,
    };
    let mut acknowledged = 0;
    if let Some((group, _)) = group {
        for id in parse_ids(args.from(3))? {
            acknowledged += u64::from(group.acknowledge(id));
        }
    }
    if acknowledged > 0 {
        cx.changed_unwatched(key, None);
        cx.shared.effects.add_dirty(acknowledged - 1);
        cx.log_self();
    }
    cx.reply.int(acknowledged as i64);
    Ok(())
}
