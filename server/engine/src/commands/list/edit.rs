//! Commands that change what is between the ends.

use super::{index_range, limits};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, INSERT, Keys, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::End;
use crate::value::Value;

pub(super) static LINSERT: Command = Command {
    name: "linsert",
    arity: 5,
    group: Group::List,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, INSERT)],
    summary: "Puts an element before or after another in a list.",
    complexity: "O(N) with N the elements before the one that is looked for",
    syntax: "key BEFORE | AFTER pivot:string element:string",
    run: linsert,
    ..COMMAND
};

fn linsert(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let after = match args.at(2).to_ascii_lowercase().as_slice() {
        b"after" => 1,
        b"before" => 0,
        _ => return Err(CommandError::Syntax),
    };
    let limits = limits(cx);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let list = value.as_list_mut()?;
    let Some(pivot) = list.matches(args.at(3), End::Left, usize::MAX).next() else {
        cx.reply.int(-1);
        return Ok(());
    };
    list.insert(pivot + after, args.at(4), &limits);
    let len = list.len();
    cx.changed(key, Class::List, "linsert");
    cx.log_self();
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static LSET: Command = Command {
    name: "lset",
    arity: 4,
    group: Group::List,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Puts another element in the place of the one at an index of a list.",
    complexity: "O(N) with N the nodes between the element and the nearer end",
    syntax: "key index:integer element:string",
    run: lset,
    ..COMMAND
};

fn lset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let limits = limits(cx);
    let list = cx.keys.get_mut(key).ok_or(CommandError::NoSuchKey)?.as_list_mut()?;
    if !list.set(args.int(2)?, args.at(3), &limits) {
        return Err(CommandError::IndexOutOfRange);
    }
    list.shrink(&limits);
    cx.changed(key, Class::List, "lset");
    cx.log_self();
    cx.reply.ok();
    Ok(())
}

pub(super) static LREM: Command = Command {
    name: "lrem",
    arity: 4,
    group: Group::List,
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Takes some or all elements that are equal to one out of a list; an empty list goes away.",
    complexity: "O(N+M) for a list of N elements of which M are taken out",
    syntax: "key count:integer element:string",
    run: lrem,
    ..COMMAND
};

fn lrem(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let (from, max) = match args.int(2)? {
        0 => (End::Left, usize::MAX),
        count @ 1.. => (End::Left, count as usize),
        count => (End::Right, count.unsigned_abs() as usize),
    };
    let limits = limits(cx);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let list = value.as_list_mut()?;
    let removed = list.remove_matches(args.at(3), max, from, &limits);
    if removed > 0 {
        list.shrink(&limits);
        let empty = list.is_empty();
        cx.changed(key, Class::List, "lrem");
        cx.shared.effects.add_dirty(removed as u64 - 1);
        cx.remove_if_empty(key, empty);
        cx.log_self();
    }
    cx.reply.int(removed as i64);
    Ok(())
}

pub(super) static LTRIM: Command = Command {
    name: "ltrim",
    arity: 4,
    group: Group::List,
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Takes all elements but those from one index to another out of a list; an empty list goes away.",
    complexity: "O(N) for N elements taken out",
    syntax: "key start:integer stop:integer",
    run: ltrim,
    ..COMMAND
};

fn ltrim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let limits = limits(cx);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.ok();
        return Ok(());
    };
    let list = value.as_list_mut()?;
    let len = list.len();
    let (first, count) = index_range(start, stop, len).unwrap_or((0, 0));
    if count == len {
        // Redis publishes this, too, tells who watches the key, and writes it down as little.
        cx.touch_key_unchanged(key);
        cx.notify(Class::List, "ltrim", key);
        cx.reply.ok();
        return Ok(());
    }
    // From the right, so that the indices stay true.
    let right = list.remove_range(first + count, len, &limits);
    let left = list.remove_range(0, first, &limits);
    list.shrink(&limits);
    for cut in [left, right].into_iter().flatten() {
        cx.keys.discard(Value::List(cut));
    }
    cx.changed(key, Class::List, "ltrim");
    cx.shared.effects.add_dirty((len - count) as u64 - 1);
    cx.remove_if_empty(key, count == 0);
    cx.log_self();
    cx.reply.ok();
    Ok(())
}
