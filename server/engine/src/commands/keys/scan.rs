//! Walking over the keys: KEYS, SCAN, RANDOMKEY. They are told of no key beforehand, so that they look for expired
//! ones themselves. Not to show a key because its time has come is to tell that it is gone, so that this must
//! outlast a failover: the effect of one removal carries this turn's time to every other node.

use crate::args::Args;
use crate::command::{COMMAND, Category, Command, Flag};
use crate::commands::scanning::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::context::Context;
use crate::dispatch::expire_due;
use crate::error::{CommandError, CommandResult, printed};
use crate::value::Kind;

/// Random picks before RANDOMKEY looks systematically.
const RANDOM_TRIES: usize = 100;

pub(super) static KEYS: Command = Command {
    name: "keys",
    arity: 2,
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    categories: &[Category::Dangerous],
    summary: "Returns all keys that match a pattern.",
    complexity: "O(N) with N the number of keys in the database; O(1) for a pattern without wildcards",
    syntax: "pattern:pattern",
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    run: keys,
    ..COMMAND
};

fn keys(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let pattern = args.at(1);
    if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
        // Only one name can match.
        expire_due(cx, pattern);
        let found = cx.keys.contains(pattern);
        cx.reply.array(found.into());
        if found {
            cx.reply.bulk(pattern);
        }
        return Ok(());
    }
    let all = pattern == b"*";
    let array = cx.reply.defer();
    let mut count = 0;
    let mut due: Option<Box<[u8]>> = None;
    let keys = &*cx.keys;
    for entry in keys.db().dict.iter() {
        if !all && !crate::glob::matches(pattern, &entry.key, false) {
            continue;
        }
        if keys.is_due(&entry.key) {
            due.get_or_insert_with(|| (*entry.key).into());
            continue;
        }
        cx.reply.bulk(&entry.key);
        count += 1;
    }
    cx.reply.finish_array(array, count);
    if let Some(key) = due {
        expire_due(cx, &key);
    }
    Ok(())
}

pub(super) static SCAN: Command = Command {
    name: "scan",
    arity: -2,
    since: "2.8.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Walks over the keys, some at each call.",
    complexity: "O(COUNT) for each call",
    syntax: "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type:string]",
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    run: scan,
    ..COMMAND
};

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let cursor = parse_cursor(args.at(1))?;
    let options = ScanOptions::parse(args, 2, Extra::Type)?;
    if let Some(name) = options.kind
        && !Kind::ALL.iter().any(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    {
        return Err(CommandError::Bytes([b"ERR unknown type name '", printed(name), b"'"].concat()));
    }
    let keys = &*cx.keys;
    let mut due: Vec<Box<[u8]>> = Vec::new();
    reply_scan(cx.reply, |reply| {
        let mut count = 0;
        let next = keys.db().dict.scan(cursor, options.count, &mut |entry| {
            if !options.matches(&entry.key) {
                return;
            }
            let kind = entry.value.kind().name().as_bytes();
            if options.kind.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(kind)) {
                return;
            }
            if keys.is_due(&entry.key) {
                due.push((*entry.key).into());
                return;
            }
            reply.bulk(&entry.key);
            count += 1;
        });
        (next, count)
    });
    for key in due {
        expire_due(cx, &key);
    }
    Ok(())
}

pub(super) static RANDOMKEY: Command = Command {
    name: "randomkey",
    arity: 1,
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns a key picked at random.",
    tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
    run: randomkey,
    ..COMMAND
};

fn randomkey(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    for _ in 0..RANDOM_TRIES {
        let Some(entry) = cx.keys.random_entry() else {
            cx.reply.null();
            return Ok(());
        };
        if !cx.keys.is_due(&entry.key) {
            cx.reply.bulk(&entry.key);
            return Ok(());
        }
        let key: Box<[u8]> = (*entry.key).into();
        expire_due(cx, &key);
    }
    // Hardly anything has not expired. What has is left to active expiry.
    match cx.keys.db().dict.iter().find(|entry| !cx.keys.is_due(&entry.key)) {
        Some(entry) => cx.reply.bulk(&entry.key),
        None => cx.reply.null(),
    }
    Ok(())
}
