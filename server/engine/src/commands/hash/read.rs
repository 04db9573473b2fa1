//! Commands that read hashes.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::commands::scanning::{Extra, ScanOptions, parse_cursor, reply_nothing, reply_scan};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::types::{Elem, Hash};

/// COUNT of HRANDFIELD: the negative end is cut so that it can be turned round.
const RANDOM_COUNT_MAX: i64 = i64::MAX;

pub(super) static HGET: Command = Command {
    name: "hget",
    arity: 3,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the value of a field of a hash.",
    syntax: "key field",
    run: hget,
    ..COMMAND
};

fn hget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let value = find(cx.keys, args.at(1))?.and_then(|hash| hash.get(args.at(2)));
    match value {
        Some(value) => value.reply(cx.reply),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static HMGET: Command = Command {
    name: "hmget",
    arity: -3,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the values of several fields of a hash.",
    complexity: "O(N) for N fields asked for",
    syntax: "key field [field ...]",
    run: hmget,
    ..COMMAND
};

fn hmget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let hash = find(cx.keys, args.at(1))?;
    let fields = args.from(2);
    cx.reply.array(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => value.reply(cx.reply),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

pub(super) static HGETALL: Command = Command {
    name: "hgetall",
    arity: 2,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns all fields of a hash with their values.",
    complexity: "O(N) for a hash of N fields",
    syntax: "key",
    tips: &["nondeterministic_output_order"],
    run: hgetall,
    ..COMMAND
};

fn hgetall(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(hash) = find(cx.keys, args.at(1))? else {
        cx.reply.map(0);
        return Ok(());
    };
    cx.reply.map(hash.len());
    for (field, value) in hash {
        field.reply(cx.reply);
        value.reply(cx.reply);
    }
    Ok(())
}

pub(super) static HKEYS: Command = Command {
    name: "hkeys",
    arity: 2,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns all fields of a hash, without their values.",
    complexity: "O(N) for a hash of N fields",
    syntax: "key",
    tips: &["nondeterministic_output_order"],
    run: hkeys,
    ..COMMAND
};

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    reply_each(cx, args.at(1), |(field, _)| field)
}

pub(super) static HVALS: Command = Command {
    name: "hvals",
    arity: 2,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns all values of a hash, without their fields.",
    complexity: "O(N) for a hash of N fields",
    syntax: "key",
    tips: &["nondeterministic_output_order"],
    run: hvals,
    ..COMMAND
};

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    reply_each(cx, args.at(1), |(_, value)| value)
}

pub(super) static HLEN: Command = Command {
    name: "hlen",
    arity: 2,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the number of fields of a hash.",
    syntax: "key",
    run: hlen,
    ..COMMAND
};

fn hlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = find(cx.keys, args.at(1))?.map_or(0, |hash| hash.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static HEXISTS: Command = Command {
    name: "hexists",
    arity: 3,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Says whether a hash has a field.",
    syntax: "key field",
    run: hexists,
    ..COMMAND
};

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let there = find(cx.keys, args.at(1))?.is_some_and(|hash| hash.contains(args.at(2)));
    cx.reply.int(i64::from(there));
    Ok(())
}

pub(super) static HSTRLEN: Command = Command {
    name: "hstrlen",
    arity: 3,
    group: Group::Hash,
    since: "3.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the length of the value of a field.",
    syntax: "key field",
    run: hstrlen,
    ..COMMAND
};

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let value = find(cx.keys, args.at(1))?.and_then(|hash| hash.get(args.at(2)));
    cx.reply.int(value.map_or(0, |value| value.len()) as i64);
    Ok(())
}

pub(super) static HSCAN: Command = Command {
    name: "hscan",
    arity: -3,
    group: Group::Hash,
    since: "2.8.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Walks over the fields of a hash with their values, some at each call.",
    complexity: "O(1) for each call, O(N) for a whole walk over N fields",
    syntax: "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]",
    tips: &["nondeterministic_output"],
    run: hscan,
    ..COMMAND
};

fn hscan(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let cursor = parse_cursor(args.at(2))?;
    // Redis does not look at the options when there is nothing to scan.
    let Some(hash) = find(cx.keys, args.at(1))? else {
        reply_nothing(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::Bare("NOVALUES"))?;
    reply_scan(cx.reply, |reply| {
        let mut written = 0;
        let next = hash.scan(cursor, options.count, &mut |field, value| {
            if field.with_bytes(|name| options.matches(name)) {
                field.reply(reply);
                written += 1;
                if !options.bare {
                    value.reply(reply);
                    written += 1;
                }
            }
        });
        (next, written)
    });
    Ok(())
}

pub(super) static HRANDFIELD: Command = Command {
    name: "hrandfield",
    arity: -2,
    group: Group::Hash,
    since: "6.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns random fields of a hash: different ones, or with repetition for a negative count.",
    complexity: "O(N) for N fields returned",
    syntax: "key [count:integer [WITHVALUES]]",
    tips: &["nondeterministic_output"],
    run: hrandfield,
    ..COMMAND
};

fn hrandfield(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 2 {
        let keys = &*cx.keys;
        match find(keys, args.at(1))?.and_then(|hash| hash.random(&keys.rng)) {
            Some((field, _)) => field.reply(cx.reply),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let count = random_count(args)?;
    if args.len() > 4 || (args.len() == 4 && !args.is(3, "WITHVALUES")) {
        return Err(CommandError::Syntax);
    }
    let with_values = args.len() == 4;
    if with_values && count.unsigned_abs() > RANDOM_COUNT_MAX as u64 / 2 {
        return Err("ERR value is out of range".into());
    }

    let keys = &*cx.keys;
    let Some(hash) = find(keys, args.at(1))? else {
        cx.reply.array(0);
        return Ok(());
    };
    check_drawn(count)?;
    let resp3 = cx.reply.resp == cairn_proto::Resp::V3;
    let reply = &mut *cx.reply;
    let returned = match usize::try_from(count) {
        Ok(distinct) => distinct.min(hash.len()),
        Err(_) => count.unsigned_abs() as usize,
    };
    // RESP3 has a pair for each field, RESP2 one flat array.
    reply.array(if with_values && !resp3 { 2 * returned } else { returned });
    let write = |field: Elem<'_>, value: Elem<'_>| {
        if with_values && resp3 {
            reply.array(2);
        }
        field.reply(reply);
        if with_values {
            value.reply(reply);
        }
    };
    if count >= 0 {
        hash.sample(returned, &keys.rng, write);
    } else {
        hash.draw(returned, &keys.rng, write);
    }
    Ok(())
}

/// The count of HRANDFIELD and SRANDMEMBER: any integer but the smallest, which cannot be turned round.
pub(in crate::commands) fn random_count(args: Args<'_>) -> CommandResult<i64> {
    match args.int(2)? {
        i64::MIN => Err(format!(
            "ERR value is out of range, value must between {} and {RANDOM_COUNT_MAX}",
            -RANDOM_COUNT_MAX
        )
        .into()),
        count => Ok(count),
    }
}

/// A negative count draws with repetition, so that nothing but this bounds the reply: Redis fills its memory.
const DRAWN_MAX: u64 = 1 << 24;

/// Refuses to draw so many elements with repetition.
pub(in crate::commands) fn check_drawn(count: i64) -> CommandResult {
    if count < 0 && count.unsigned_abs() > DRAWN_MAX {
        return Err("ERR value is out of range".into());
    }
    Ok(())
}

/// Replies with one part of every pair.
fn reply_each(
    cx: &mut Context<'_>,
    key: &[u8],
    part: for<'e> fn((Elem<'e>, Elem<'e>)) -> Elem<'e>,
) -> CommandResult {
    let Some(hash) = find(cx.keys, key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash.len());
    hash.iter().for_each(|pair| part(pair).reply(cx.reply));
    Ok(())
}

/// The hash at `key`, if there is one.
pub(super) fn find<'k>(keys: &'k Keyspace, key: &[u8]) -> CommandResult<Option<&'k Hash>> {
    keys.get(key).map(|value| value.as_hash()).transpose()
}
