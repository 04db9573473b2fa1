//! Keys of any type. `expire.rs`: times to live; `scan.rs`: walking over the keys; `object.rs`: how a value is stored;
//! `dump.rs`: values as bytes; `memory.rs`: what takes how much; `sort.rs`: SORT; here: removing, renaming, copying.

mod dump;
mod expire;
mod memory;
mod object;
mod scan;
mod sort;
#[cfg(test)]
mod tests;

pub(in crate::commands) use expire::expire_at;

use crate::args::Args;
use crate::command::{
    COMMAND, Command, Flag, Keys, METADATA, OVERWRITE, OVERWRITE_INSERT, READ, READ_DELETE, READ_UPDATE,
    REMOVE,
};
use crate::context::Context;
use crate::dispatch::prepare_undeclared;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;

pub(super) const COMMANDS: &[&Command] = &[
    &COPY,
    &DEL,
    &EXISTS,
    &MOVE,
    &RENAME,
    &RENAMENX,
    &TOUCH,
    &TYPE,
    &UNLINK,
    &dump::DUMP,
    &dump::RESTORE,
    &dump::RESTORE_ASKING,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &expire::EXPIRETIME,
    &expire::PERSIST,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &expire::PEXPIRETIME,
    &expire::PTTL,
    &expire::TTL,
    &memory::MEMORY,
    &object::OBJECT,
    &scan::KEYS,
    &scan::RANDOMKEY,
    &scan::SCAN,
    &sort::SORT,
    &sort::SORT_RO,
];

static DEL: Command = Command {
    name: "del",
    arity: -2,
    flags: &[Flag::Write],
    keys: &[Keys::range(1, -1, 1, REMOVE)],
    summary: "Removes keys and answers how many there were.",
    complexity: "O(N) with N the number of keys; large values are freed in the background",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: del,
    ..COMMAND
};

static UNLINK: Command = Command {
    name: "unlink",
    arity: -2,
    since: "4.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::range(1, -1, 1, REMOVE)],
    summary: "Removes keys and answers how many there were; the same as DEL, which never waits for memory either.",
    complexity: "O(N) with N the number of keys; large values are freed in the background",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: del,
    ..COMMAND
};

fn del(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut removed = 0;
    for &key in args.from(1) {
        if cx.keys.delete(key) {
            cx.changed(key, Class::Generic, "del");
            removed += 1;
        }
    }
    if removed > 0 {
        cx.log_self();
    }
    cx.reply.int(removed);
    Ok(())
}

static EXISTS: Command = Command {
    name: "exists",
    arity: -2,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::range(1, -1, 1, METADATA)],
    summary: "Answers how many of the keys are there; a key named twice counts twice.",
    complexity: "O(N) with N the number of keys",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: exists,
    ..COMMAND
};

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    count_present(cx, args, |cx, key| cx.keys.find(key).is_some())
}

static TOUCH: Command = Command {
    name: "touch",
    arity: -2,
    since: "3.2.1",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::range(1, -1, 1, METADATA)],
    summary: "Marks keys as used just now and answers how many are there.",
    complexity: "O(N) with N the number of keys",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: touch,
    ..COMMAND
};

fn touch(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    // CLIENT NO-TOUCH is for those who look at values; this asks for nothing but the mark.
    let no_touch = std::mem::take(&mut cx.keys.no_touch);
    let counted = count_present(cx, args, |cx, key| cx.keys.get(key).is_some());
    cx.keys.no_touch = no_touch;
    counted
}

fn count_present(
    cx: &mut Context<'_>,
    args: Args<'_>,
    look: impl Fn(&Context<'_>, &[u8]) -> bool,
) -> CommandResult {
    let mut count = 0;
    for &key in args.from(1) {
        if look(cx, key) {
            count += 1;
        }
    }
    cx.reply.int(count);
    Ok(())
}

static TYPE: Command = Command {
    name: "type",
    arity: 2,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Answers the type of the value at a key, or none.",
    syntax: "key",
    run: kind,
    ..COMMAND
};

fn kind(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    match cx.keys.find(key) {
        Some(entry) => cx.reply.simple(entry.value.kind().name()),
        None => cx.reply.simple("none"),
    }
    Ok(())
}

static RENAME: Command = Command {
    name: "rename",
    arity: 3,
    flags: &[Flag::Write],
    keys: &[Keys::at(1, READ_DELETE), Keys::at(2, OVERWRITE)],
    summary: "Gives a key another name, in place of what had that name.",
    syntax: "key newkey:key",
    run: |cx, args| {
        if rename(cx, args, false)? {
            cx.reply.ok();
        }
        Ok(())
    },
    ..COMMAND
};

static RENAMENX: Command = Command {
    name: "renamenx",
    arity: 3,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE), Keys::at(2, OVERWRITE_INSERT)],
    summary: "Gives a key another name, if nothing has that name.",
    syntax: "key newkey:key",
    run: |cx, args| {
        let renamed = rename(cx, args, true)?;
        cx.reply.int(renamed.into());
        Ok(())
    },
    ..COMMAND
};

/// Renames; whether it may, when `only_if_free`. A key renamed to itself counts as taken, and nothing happens.
fn rename(cx: &mut Context<'_>, args: Args<'_>, only_if_free: bool) -> CommandResult<bool> {
    let (key, new_key) = (args.at(1), args.at(2));
    if !cx.keys.find_to_change(key) {
        return Err(CommandError::NoSuchKey);
    }
    if key == new_key {
        return Ok(!only_if_free);
    }
    if only_if_free && cx.keys.find_to_change(new_key) {
        return Ok(false);
    }
    let taken = cx.keys.take(key).expect("the key was found above");
    cx.keys.put(new_key, taken);
    cx.touch_key(key);
    cx.touch_key(new_key);
    cx.notify(Class::Generic, "rename_from", key);
    cx.notify(Class::Generic, "rename_to", new_key);
    cx.shared.effects.add_dirty(1);
    cx.log_self();
    Ok(true)
}

static COPY: Command = Command {
    name: "copy",
    arity: -3,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ), Keys::at(2, OVERWRITE)],
    summary: "Copies a key, its time to live included.",
    complexity: "O(1): the copies share what neither of them changes",
    syntax: "source:key destination:key [DB destination-db:integer] [REPLACE]",
    run: copy,
    ..COMMAND
};

fn copy(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (source, destination) = (args.at(1), args.at(2));
    let home = cx.keys.selected();
    let (mut db, mut replace) = (home, false);
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "REPLACE") {
            replace = true;
        } else if args.is(i, "DB") && i + 1 < args.len() {
            db = parse_db(cx, args, i + 1)?;
            i += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    if db == home && source == destination {
        return Err(SAME_OBJECT);
    }
    let Some(value) = cx.keys.get(source).cloned() else {
        cx.reply.int(0);
        return Ok(());
    };
    let expire_at_ms = cx.keys.expire_at(source);
    cx.keys.select(db);
    prepare_undeclared(cx, destination);
    let free = replace || !cx.keys.find_to_change(destination);
    if free {
        cx.keys.delete(destination);
        cx.keys.set(destination, value);
        if let Some(at_ms) = expire_at_ms {
            cx.keys.set_expire(destination, at_ms);
        }
        cx.changed(destination, Class::Generic, "copy_to");
    }
    cx.keys.select(home);
    if free {
        cx.log_self();
    }
    cx.reply.int(free.into());
    Ok(())
}

static MOVE: Command = Command {
    name: "move",
    arity: 3,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Moves a key to another database, if that has no such key.",
    syntax: "key db:integer",
    run: move_key,
    ..COMMAND
};

fn move_key(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let home = cx.keys.selected();
    let db = parse_db(cx, args, 2)?;
    if db == home {
        return Err(SAME_OBJECT);
    }
    if !cx.keys.find_to_change(key) {
        cx.reply.int(0);
        return Ok(());
    }
    cx.keys.select(db);
    prepare_undeclared(cx, key);
    let taken = cx.keys.find_to_change(key);
    cx.keys.select(home);
    if taken {
        cx.reply.int(0);
        return Ok(());
    }
    let taken = cx.keys.take(key).expect("the key was found above");
    cx.touch_key(key);
    cx.keys.select(db);
    cx.keys.put(key, taken);
    cx.touch_key(key);
    cx.keys.select(home);
    cx.notify_in(home, Class::Generic, "move_from", key);
    cx.notify_in(db, Class::Generic, "move_to", key);
    cx.shared.effects.add_dirty(1);
    cx.log_self();
    cx.reply.int(1);
    Ok(())
}

const SAME_OBJECT: CommandError = CommandError::new("ERR source and destination objects are the same");

/// Argument `i` as a database that is there.
fn parse_db(cx: &Context<'_>, args: Args<'_>, i: usize) -> CommandResult<usize> {
    match usize::try_from(args.int32(i)?) {
        Ok(db) if db < cx.keys.dbs().len() => Ok(db),
        _ => Err("ERR DB index is out of range".into()),
    }
}
