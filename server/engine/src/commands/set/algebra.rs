//! Intersections, unions and differences of sets.

use super::limits;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::notify::Class;
use crate::types::{Elem, Set, SetBuilder, SetLimits};
use crate::value::Value;

pub(super) static SINTER: Command = Command {
    name: "sinter",
    arity: -2,
    group: Group::Set,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::range(1, -1, 1, READ)],
    summary: "Returns the members that several sets have in common.",
    complexity: "O(N*M) at worst for N members of the smallest of M sets",
    syntax: "key [key ...]",
    tips: &["nondeterministic_output_order"],
    run: sinter,
    ..COMMAND
};

fn sinter(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let sets = lookup(cx.keys, args.from(1))?;
    let deferred = cx.reply.defer();
    let mut count = 0;
    for member in intersection(&sets) {
        member.reply(cx.reply);
        count += 1;
    }
    cx.reply.finish_set(deferred, count);
    Ok(())
}

pub(super) static SINTERCARD: Command = Command {
    name: "sintercard",
    arity: -3,
    group: Group::Set,
    since: "7.0.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::number(1, READ)],
    summary: "Returns the number of members that several sets have in common.",
    complexity: "O(N*M) at worst for N members of the smallest of M sets",
    syntax: "numkeys:integer key [key ...] [LIMIT limit:integer]",
    run: sintercard,
    ..COMMAND
};

fn sintercard(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let positive = |arg: &[u8]| parse_i64(arg).and_then(|n| usize::try_from(n).ok());
    let keys = positive(args.at(1))
        .filter(|&n| n > 0)
        .ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
    if keys > args.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let mut limit = 0;
    let mut at = 2 + keys;
    while at < args.len() {
        let Some(value) = args.get(at + 1).filter(|_| args.is(at, "LIMIT")) else {
            return Err(CommandError::Syntax);
        };
        limit = positive(value).ok_or(CommandError::new("ERR LIMIT can't be negative"))?;
        at += 2;
    }
    // 0: no limit.
    let limit = if limit == 0 { usize::MAX } else { limit };
    let sets = lookup(cx.keys, &args.from(2)[..keys])?;
    cx.reply.int(intersection(&sets).take(limit).count() as i64);
    Ok(())
}

pub(super) static SINTERSTORE: Command = Command {
    name: "sinterstore",
    arity: -3,
    group: Group::Set,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE), Keys::range(2, -1, 1, READ)],
    summary: "Stores the members that several sets have in common as a set.",
    complexity: "O(N*M) at worst for N members of the smallest of M sets",
    syntax: "destination:key key [key ...]",
    run: sinterstore,
    ..COMMAND
};

fn sinterstore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(cx);
    let sets = lookup(cx.keys, args.from(2))?;
    let mut result = SetBuilder::new(&limits);
    intersection(&sets).for_each(|member| {
        result.insert(member);
    });
    store(cx, args.at(1), result.finish(), "sinterstore")
}

pub(super) static SUNION: Command = Command {
    name: "sunion",
    arity: -2,
    group: Group::Set,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::range(1, -1, 1, READ)],
    summary: "Returns the members of several sets together.",
    complexity: "O(N) for N members in all",
    syntax: "key [key ...]",
    tips: &["nondeterministic_output_order"],
    run: sunion,
    ..COMMAND
};

fn sunion(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(cx);
    let result = union(&lookup(cx.keys, args.from(1))?, &limits);
    reply(cx, result);
    Ok(())
}

pub(super) static SUNIONSTORE: Command = Command {
    name: "sunionstore",
    arity: -3,
    group: Group::Set,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE), Keys::range(2, -1, 1, READ)],
    summary: "Stores the members of several sets together as a set.",
    complexity: "O(N) for N members in all",
    syntax: "destination:key key [key ...]",
    run: sunionstore,
    ..COMMAND
};

fn sunionstore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(cx);
    let result = union(&lookup(cx.keys, args.from(2))?, &limits);
    store(cx, args.at(1), result, "sunionstore")
}

pub(super) static SDIFF: Command = Command {
    name: "sdiff",
    arity: -2,
    group: Group::Set,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::range(1, -1, 1, READ)],
    summary: "Returns the members of the first set that no other set has.",
    complexity: "O(N) for N members in all",
    syntax: "key [key ...]",
    tips: &["nondeterministic_output_order"],
    run: sdiff,
    ..COMMAND
};

fn sdiff(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(cx);
    let result = difference(&lookup(cx.keys, args.from(1))?, &limits);
    reply(cx, result);
    Ok(())
}

pub(super) static SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    arity: -3,
    group: Group::Set,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE), Keys::range(2, -1, 1, READ)],
    summary: "Stores the members of the first set that no other set has as a set.",
    complexity: "O(N) for N members in all",
    syntax: "destination:key key [key ...]",
    run: sdiffstore,
    ..COMMAND
};

fn sdiffstore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(cx);
    let result = difference(&lookup(cx.keys, args.from(2))?, &limits);
    store(cx, args.at(1), result, "sdiffstore")
}

/// The sets at these keys. All are looked at, so that a wrong type among them is always an error.
fn lookup<'k>(keys: &'k Keyspace, names: &[&[u8]]) -> CommandResult<Vec<Option<&'k Set>>> {
    names.iter().map(|name| super::find(keys, name)).collect()
}

/// The members of all sets, found by asking the others for each member of the smallest.
fn intersection<'s>(sets: &[Option<&'s Set>]) -> impl Iterator<Item = Elem<'s>> + use<'s> {
    // One that is missing is empty, and so is the result.
    let mut sets: Vec<&Set> = sets.iter().copied().collect::<Option<_>>().unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    let smallest = sets.first().copied();
    sets.retain(|set| !smallest.is_some_and(|smallest| std::ptr::eq(*set, smallest)));
    smallest.into_iter().flatten().filter(move |member| sets.iter().all(|set| set.contains(*member)))
}

fn union(sets: &[Option<&Set>], limits: &SetLimits) -> Set {
    let mut result = SetBuilder::new(limits);
    for member in sets.iter().copied().flatten().flatten() {
        result.insert(member);
    }
    result.finish()
}

/// The first set less the others, in whichever of Redis's two ways is expected to be less work.
fn difference(sets: &[Option<&Set>], limits: &SetLimits) -> Set {
    let mut result = SetBuilder::new(limits);
    let Some((Some(first), others)) = sets.split_first() else { return result.finish() };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    if others.iter().any(|other| std::ptr::eq(*other, *first)) {
        return result.finish();
    }
    let lookups = first.len() * (1 + others.len());
    let members = first.len() + others.iter().map(|other| other.len()).sum::<usize>();
    if lookups / 2 <= members {
        // The largest is the most likely to have a member.
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        for member in first.iter().filter(|member| !others.iter().any(|other| other.contains(*member))) {
            result.insert(member);
        }
    } else {
        for member in *first {
            result.insert(member);
        }
        for other in others {
            for member in other {
                result.remove(member);
            }
            if result.is_empty() {
                break;
            }
        }
    }
    result.finish()
}

/// Replies with a set made for the reply.
fn reply(cx: &mut Context<'_>, result: Set) {
    cx.reply.set(result.len());
    result.iter().for_each(|member| member.reply(cx.reply));
    cx.keys.discard(Value::Set(result));
}

/// Makes the result the value of `destination`, or removes the key when there is none; replies with its length.
fn store(cx: &mut Context<'_>, destination: &[u8], result: Set, event: &str) -> CommandResult {
    let len = result.len();
    if len == 0 {
        cx.delete_key(destination, Class::Generic, "del");
    } else {
        cx.keys.set(destination, Value::Set(result));
        cx.changed(destination, Class::Set, event);
        cx.log_self();
    }
    cx.reply.int(len as i64);
    Ok(())
}
