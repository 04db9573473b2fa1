//! Taking an element from one list and putting it into another, or into the same.

use super::{limits, parse_end, pop_event, push_event};
use crate::args::Args;
use crate::client::{BlockKind, TimeoutReply};
use crate::command::{COMMAND, Command, Flag, Group, INSERT, Keys, READ_DELETE};
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::types::{Elem, End, List};
use crate::value::Value;

/// The source and the destination.
const KEYS: &[Keys] = &[Keys::at(1, READ_DELETE), Keys::at(2, INSERT)];

pub(super) static LMOVE: Command = Command {
    name: "lmove",
    arity: 5,
    group: Group::List,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: KEYS,
    summary: "Takes an element from one end of a list, puts it at one end of another, and returns it.",
    syntax: "source:key destination:key LEFT | RIGHT LEFT | RIGHT",
    run: lmove,
    ..COMMAND
};

fn lmove(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let route = Route { from: parse_end(args.at(3))?, to: parse_end(args.at(4))? };
    if route.travel(cx, args)? {
        cx.log_self();
    } else {
        cx.reply.null();
    }
    Ok(())
}

pub(super) static RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    arity: 3,
    group: Group::List,
    since: "1.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: KEYS,
    summary: "Takes the last element of a list, makes it the first of another, and returns it. An older LMOVE.",
    syntax: "source:key destination:key",
    run: rpoplpush,
    ..COMMAND
};

fn rpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if Route::RIGHT_TO_LEFT.travel(cx, args)? {
        cx.log_self();
    } else {
        cx.reply.null();
    }
    Ok(())
}

pub(super) static BLMOVE: Command = Command {
    name: "blmove",
    arity: 6,
    group: Group::List,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Blocking],
    keys: KEYS,
    summary: "Moves an element from one list to another and returns it; waits while there is none.",
    syntax: "source:key destination:key LEFT | RIGHT LEFT | RIGHT timeout:double",
    run: blmove,
    ..COMMAND
};

fn blmove(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let route = Route { from: parse_end(args.at(3))?, to: parse_end(args.at(4))? };
    let deadline_ms = cx.deadline(args.at(5))?;
    if route.travel(cx, args)? {
        cx.log(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
    } else {
        wait(cx, args, deadline_ms);
    }
    Ok(())
}

pub(super) static BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    arity: 4,
    group: Group::List,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Blocking],
    keys: KEYS,
    summary: "Makes the last element of a list the first of another; waits while there is none. An older BLMOVE.",
    syntax: "source:key destination:key timeout:double",
    run: brpoplpush,
    ..COMMAND
};

fn brpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let deadline_ms = cx.deadline(args.at(3))?;
    if Route::RIGHT_TO_LEFT.travel(cx, args)? {
        cx.log(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
    } else {
        wait(cx, args, deadline_ms);
    }
    Ok(())
}

/// Waits for an element in the source.
fn wait(cx: &mut Context<'_>, args: Args<'_>, deadline_ms: Option<i64>) {
    if cx.may_block() {
        cx.block_on_keys(&[args.at(1)], BlockKind::List, deadline_ms, TimeoutReply::NullArray);
    } else {
        cx.reply.null();
    }
}

/// From which end to which.
struct Route {
    from: End,
    to: End,
}

impl Route {
    const RIGHT_TO_LEFT: Self = Self { from: End::Right, to: End::Left };

    /// Moves an element from the list at argument 1 to that at argument 2, and replies it. False when there is none.
    fn travel(&self, cx: &mut Context<'_>, args: Args<'_>) -> CommandResult<bool> {
        let (source, destination) = (args.at(1), args.at(2));
        let limits = limits(cx);
        match cx.keys.peek(source) {
            Some(value) => value.as_list()?,
            None => return Ok(false),
        };
        if let Some(value) = cx.keys.peek(destination) {
            value.as_list()?;
        }
        let list = cx.keys.get_mut(source).expect("just seen").as_list_mut()?;
        let element = list.end(self.from).expect("a list that is stored has elements").to_member();
        list.pop(self.from);
        let (value, _) = cx.keys.get_or_insert_with(destination, || Value::List(List::new()));
        value.as_list_mut()?.push(self.to, &element, &limits);
        cx.touch_key(destination);
        cx.notify(Class::List, push_event(self.to), destination);
        Elem::from(&element).reply(cx.reply);

        let list = cx.keys.get_mut(source).expect("just seen").as_list_mut()?;
        list.shrink(&limits);
        let empty = list.is_empty();
        cx.changed(source, Class::List, pop_event(self.from));
        cx.remove_if_empty(source, empty);
        Ok(true)
    }
}
