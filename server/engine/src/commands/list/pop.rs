//! Taking elements from the ends, and waiting until there are any.

use super::{limits, parse_end, pop_command, pop_event};
use crate::args::{Args, parse_i64};
use crate::client::{BlockKind, TimeoutReply};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_DELETE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::{End, List};
use crate::value::Value;

pub(super) static LPOP: Command = Command {
    name: "lpop",
    arity: -2,
    group: Group::List,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Takes the first element, or several, out of a list and returns it; an empty list goes away.",
    complexity: "O(N) for N elements returned",
    syntax: "key [count:integer]",
    run: |cx, args| pop(cx, args, End::Left),
    ..COMMAND
};

pub(super) static RPOP: Command = Command {
    name: "rpop",
    arity: -2,
    group: Group::List,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Takes the last element, or several, out of a list and returns it; an empty list goes away.",
    complexity: "O(N) for N elements returned",
    syntax: "key [count:integer]",
    run: |cx, args| pop(cx, args, End::Right),
    ..COMMAND
};

fn pop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    let key = args.at(1);
    if args.len() > 3 {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    let count = match args.get(2) {
        Some(arg) => {
            let count = parse_i64(arg).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(CommandError::new("ERR value is out of range, must be positive"))?)
        }
        None => None,
    };
    if find(cx, key)?.is_none() {
        match count {
            Some(_) => cx.reply.null_array(),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    match count {
        None => pop_one(cx, key, end),
        Some(0) => {
            cx.reply.array(0);
            return Ok(());
        }
        Some(count) => {
            pop_many(cx, key, end, count);
        }
    }
    cx.log_self();
    Ok(())
}

pub(super) static LMPOP: Command = Command {
    name: "lmpop",
    arity: -4,
    group: Group::List,
    since: "7.0.0",
    flags: &[Flag::Write, Flag::MovableKeys],
    keys: &[Keys::number(1, READ_DELETE)],
    summary: "Takes elements out of the first of several lists that has any, and returns them.",
    complexity: "O(N+M) for N keys and M elements returned",
    syntax: "numkeys:integer key [key ...] LEFT | RIGHT [COUNT count:integer]",
    run: lmpop,
    ..COMMAND
};

fn lmpop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse_many(args, 1)?;
    if !request.serve(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

pub(super) static BLPOP: Command = Command {
    name: "blpop",
    arity: -3,
    group: Group::List,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::Blocking],
    keys: &[Keys::range(1, -2, 1, READ_DELETE)],
    summary: "Takes the first element out of the first of several lists that has any; waits when none has.",
    complexity: "O(N) for N keys",
    syntax: "key [key ...] timeout:double",
    run: |cx, args| blocking_pop(cx, args, End::Left),
    ..COMMAND
};

pub(super) static BRPOP: Command = Command {
    name: "brpop",
    arity: -3,
    group: Group::List,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::Blocking],
    keys: &[Keys::range(1, -2, 1, READ_DELETE)],
    summary: "Takes the last element out of the first of several lists that has any; waits when none has.",
    complexity: "O(N) for N keys",
    syntax: "key [key ...] timeout:double",
    run: |cx, args| blocking_pop(cx, args, End::Right),
    ..COMMAND
};

fn blocking_pop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    let (timeout, keys) = args.from(1).split_last().expect("the arity makes sure of two");
    let deadline_ms = cx.deadline(timeout)?;
    Request { keys, end, count: None }.serve_or_wait(cx, deadline_ms)
}

pub(super) static BLMPOP: Command = Command {
    name: "blmpop",
    arity: -5,
    group: Group::List,
    since: "7.0.0",
    flags: &[Flag::Write, Flag::Blocking, Flag::MovableKeys],
    keys: &[Keys::number(2, READ_DELETE)],
    summary: "Takes elements out of the first of several lists that has any; waits when none has.",
    complexity: "O(N+M) for N keys and M elements returned",
    syntax: "timeout:double numkeys:integer key [key ...] LEFT | RIGHT [COUNT count:integer]",
    run: blmpop,
    ..COMMAND
};

fn blmpop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse_many(args, 2)?;
    let deadline_ms = cx.deadline(args.at(1))?;
    request.serve_or_wait(cx, deadline_ms)
}

/// Elements wanted from the first of several lists that has any.
struct Request<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    /// `None`: one, as BLPOP replies it.
    count: Option<usize>,
}

impl<'a> Request<'a> {
    /// `numkeys key [key ...] LEFT | RIGHT [COUNT count]`, from argument `at` on.
    fn parse_many(args: Args<'a>, at: usize) -> CommandResult<Self> {
        let positive = |arg: &[u8]| parse_i64(arg).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let keys = positive(args.at(at)).ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
        let rest = args.from(at + 1);
        let (keys, options) = rest.split_at_checked(keys).ok_or(CommandError::Syntax)?;
        let (end, options) = options.split_first().ok_or(CommandError::Syntax)?;
        let end = parse_end(end)?;
        let count = match options {
            [] => 1,
            [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
                let count = positive(count).ok_or(CommandError::new("ERR count should be greater than 0"))?;
                if !rest.is_empty() {
                    return Err(CommandError::Syntax);
                }
                count
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { keys, end, count: Some(count) })
    }

    /// Serves the request from the first list; false when there is none.
    fn serve(&self, cx: &mut Context<'_>) -> CommandResult<bool> {
        for key in self.keys {
            if find(cx, key)?.is_none() {
                continue;
            }
            cx.reply.array(2);
            cx.reply.bulk(key);
            match self.count {
                None => {
                    pop_one(cx, key, self.end);
                    cx.log(&[pop_command(self.end), key]);
                }
                Some(count) => {
                    let popped = pop_many(cx, key, self.end, count);
                    cx.log(&[pop_command(self.end), key, itoa::Buffer::new().format(popped).as_bytes()]);
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn serve_or_wait(&self, cx: &mut Context<'_>, deadline_ms: Option<i64>) -> CommandResult {
        if self.serve(cx)? {
            return Ok(());
        }
        if cx.may_block() {
            cx.block_on_keys(self.keys, BlockKind::List, deadline_ms, TimeoutReply::NullArray);
        } else {
            cx.reply.null_array();
        }
        Ok(())
    }
}

/// The list at `key`, to be popped from.
fn find<'k>(cx: &'k mut Context<'_>, key: &[u8]) -> CommandResult<Option<&'k mut List>> {
    cx.keys.get_mut(key).map(Value::as_list_mut).transpose()
}

/// Takes one element out of the list that is at `key`, and replies it.
fn pop_one(cx: &mut Context<'_>, key: &[u8], end: End) {
    let limits = limits(cx);
    let list = list_at(cx.keys.get_mut(key));
    list.end(end).expect("a list that is stored has elements").reply(cx.reply);
    list.pop(end);
    list.shrink(&limits);
    let empty = list.is_empty();
    cx.changed(key, Class::List, pop_event(end));
    cx.remove_if_empty(key, empty);
}

/// Takes up to `count` elements out of the list that is at `key`, and replies them; answers how many.
fn pop_many(cx: &mut Context<'_>, key: &[u8], end: End, count: usize) -> usize {
    let limits = limits(cx);
    let list = list_at(cx.keys.get_mut(key));
    let len = list.len();
    let count = count.min(len);
    cx.reply.array(count);
    let (first, elements) = match end {
        End::Left => (0, list.range(0, count)),
        End::Right => (len - count, list.range_back(len - 1, count)),
    };
    for element in elements {
        element.reply(cx.reply);
    }
    let cut = list.remove_range(first, count, &limits);
    list.shrink(&limits);
    if let Some(cut) = cut {
        cx.keys.discard(Value::List(cut));
    }
    cx.changed(key, Class::List, pop_event(end));
    cx.shared.effects.add_dirty(count as u64 - 1);
    cx.remove_if_empty(key, count == len);
    count
}

fn list_at(value: Option<&mut Value>) -> &mut List {
    match value {
        Some(Value::List(list)) => list,
        _ => unreachable!("the caller has found a list"),
    }
}
