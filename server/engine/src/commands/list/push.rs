//! Adding elements at the ends.

use super::{limits, push_event};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, INSERT, Keys};
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::types::{End, List};
use crate::value::Value;

pub(super) static LPUSH: Command = Command {
    name: "lpush",
    arity: -3,
    group: Group::List,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Puts elements one after the other at the left end of a list, which is made if it is not there.",
    complexity: "O(N) for N elements",
    syntax: "key element:string [element:string ...]",
    run: |cx, args| push(cx, args, End::Left),
    ..COMMAND
};

pub(super) static RPUSH: Command = Command {
    name: "rpush",
    arity: -3,
    group: Group::List,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Puts elements one after the other at the right end of a list, which is made if it is not there.",
    complexity: "O(N) for N elements",
    syntax: "key element:string [element:string ...]",
    run: |cx, args| push(cx, args, End::Right),
    ..COMMAND
};

fn push(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    let key = args.at(1);
    let limits = limits(cx);
    let (value, _) = cx.keys.get_or_insert_with(key, || Value::List(List::new()));
    let list = value.as_list_mut()?;
    list.push_all(end, args.from(2), &limits);
    let len = list.len();
    pushed(cx, args, end, len);
    Ok(())
}

pub(super) static LPUSHX: Command = Command {
    name: "lpushx",
    arity: -3,
    group: Group::List,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Puts elements one after the other at the left end of a list that is there.",
    complexity: "O(N) for N elements",
    syntax: "key element:string [element:string ...]",
    run: |cx, args| push_to_existing(cx, args, End::Left),
    ..COMMAND
};

pub(super) static RPUSHX: Command = Command {
    name: "rpushx",
    arity: -3,
    group: Group::List,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Puts elements one after the other at the right end of a list that is there.",
    complexity: "O(N) for N elements",
    syntax: "key element:string [element:string ...]",
    run: |cx, args| push_to_existing(cx, args, End::Right),
    ..COMMAND
};

fn push_to_existing(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    let limits = limits(cx);
    let Some(value) = cx.keys.get_mut(args.at(1)) else {
        cx.reply.int(0);
        return Ok(());
    };
    let list = value.as_list_mut()?;
    list.push_all(end, args.from(2), &limits);
    let len = list.len();
    pushed(cx, args, end, len);
    Ok(())
}

fn pushed(cx: &mut Context<'_>, args: Args<'_>, end: End, len: usize) {
    cx.changed(args.at(1), Class::List, push_event(end));
    cx.shared.effects.add_dirty(args.len() as u64 - 3);
    cx.log_self();
    cx.reply.int(len as i64);
}
