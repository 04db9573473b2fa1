//! Commands on the members of one set, and SMOVE.

use super::{find, limits};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, INSERT, Keys, METADATA, READ, READ_DELETE};
use crate::commands::scanning::{Extra, ScanOptions, parse_cursor, reply_nothing, reply_scan};
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::types::Set;
use crate::value::Value;

pub(super) static SADD: Command = Command {
    name: "sadd",
    arity: -3,
    group: Group::Set,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Adds members to a set.",
    complexity: "O(N) for N members to be added",
    syntax: "key member [member ...]",
    run: sadd,
    ..COMMAND
};

fn sadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, members) = (args.at(1), args.from(2));
    let limits = limits(cx);
    let make = || Value::Set(Set::for_members(members[0], members.len(), &limits));
    let (value, made) = cx.keys.get_or_insert_with(key, make);
    let set = value.as_set_mut()?;
    if !made {
        set.expect_members(members.len(), &limits);
    }
    let added = members.iter().filter(|member| set.insert(**member, &limits)).count();
    if added > 0 {
        cx.changed(key, Class::Set, "sadd");
        cx.shared.effects.add_dirty(added as u64 - 1);
        cx.log_self();
    }
    cx.reply.int(added as i64);
    Ok(())
}

pub(super) static SREM: Command = Command {
    name: "srem",
    arity: -3,
    group: Group::Set,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes members from a set; an empty set goes away.",
    complexity: "O(N) for N members to be removed",
    syntax: "key member [member ...]",
    run: srem,
    ..COMMAND
};

fn srem(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let set = value.as_set_mut()?;
    let removed = args.from(2).iter().filter(|member| set.remove(**member)).count();
    let empty = set.is_empty();
    if removed > 0 {
        cx.changed(key, Class::Set, "srem");
        cx.shared.effects.add_dirty(removed as u64 - 1);
        cx.remove_if_empty(key, empty);
        cx.log_self();
    }
    cx.reply.int(removed as i64);
    Ok(())
}

pub(super) static SMOVE: Command = Command {
    name: "smove",
    arity: 4,
    group: Group::Set,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE), Keys::at(2, INSERT)],
    summary: "Moves a member from one set to another.",
    syntax: "source:key destination:key member",
    run: smove,
    ..COMMAND
};

fn smove(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (source, destination, member) = (args.at(1), args.at(2), args.at(3));
    let limits = limits(cx);
    // Without a source Redis does not look at the destination, whatever it is.
    let Some(value) = cx.keys.get_mut(source) else {
        cx.reply.int(0);
        return Ok(());
    };
    value.as_set()?;
    if let Some(value) = cx.keys.peek(destination) {
        value.as_set()?;
    }
    let set = cx.keys.get_mut(source).expect("found above").as_set_mut()?;
    if source == destination {
        cx.reply.int(i64::from(set.contains(member)));
        return Ok(());
    }
    if !set.remove(member) {
        cx.reply.int(0);
        return Ok(());
    }
    let empty = set.is_empty();
    cx.changed(source, Class::Set, "srem");
    cx.remove_if_empty(source, empty);

    let make = || Value::Set(Set::for_members(member, 1, &limits));
    let (value, _) = cx.keys.get_or_insert_with(destination, make);
    if value.as_set_mut()?.insert(member, &limits) {
        cx.changed(destination, Class::Set, "sadd");
    }
    cx.log_self();
    cx.reply.int(1);
    Ok(())
}

pub(super) static SISMEMBER: Command = Command {
    name: "sismember",
    arity: 3,
    group: Group::Set,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Says whether a set has a member.",
    syntax: "key member",
    run: sismember,
    ..COMMAND
};

fn sismember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let there = find(cx.keys, args.at(1))?.is_some_and(|set| set.contains(args.at(2)));
    cx.reply.int(i64::from(there));
    Ok(())
}

pub(super) static SMISMEMBER: Command = Command {
    name: "smismember",
    arity: -3,
    group: Group::Set,
    since: "6.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Says for each of several members whether a set has it.",
    complexity: "O(N) for N members asked for",
    syntax: "key member [member ...]",
    run: smismember,
    ..COMMAND
};

fn smismember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = find(cx.keys, args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for &member in members {
        cx.reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(super) static SCARD: Command = Command {
    name: "scard",
    arity: 2,
    group: Group::Set,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the number of members of a set.",
    syntax: "key",
    run: scard,
    ..COMMAND
};

fn scard(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = find(cx.keys, args.at(1))?.map_or(0, Set::len);
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static SMEMBERS: Command = Command {
    name: "smembers",
    arity: 2,
    group: Group::Set,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns all members of a set.",
    complexity: "O(N) for a set of N members",
    syntax: "key",
    tips: &["nondeterministic_output_order"],
    run: smembers,
    ..COMMAND
};

fn smembers(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(set) = find(cx.keys, args.at(1))? else {
        cx.reply.set(0);
        return Ok(());
    };
    cx.reply.set(set.len());
    set.iter().for_each(|member| member.reply(cx.reply));
    Ok(())
}

pub(super) static SSCAN: Command = Command {
    name: "sscan",
    arity: -3,
    group: Group::Set,
    since: "2.8.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Walks over the members of a set, some at each call.",
    complexity: "O(1) for each call, O(N) for a whole walk over N members",
    syntax: "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
    tips: &["nondeterministic_output"],
    run: sscan,
    ..COMMAND
};

fn sscan(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let cursor = parse_cursor(args.at(2))?;
    // Redis does not look at the options when there is nothing to scan.
    let Some(set) = find(cx.keys, args.at(1))? else {
        reply_nothing(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::Nothing)?;
    reply_scan(cx.reply, |reply| {
        let mut written = 0;
        let next = set.scan(cursor, options.count, &mut |member| {
            if member.with_bytes(|name| options.matches(name)) {
                member.reply(reply);
                written += 1;
            }
        });
        (next, written)
    });
    Ok(())
}
