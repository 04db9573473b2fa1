//! XINFO.

use cairn_proto::ReplyWriter;

use super::{no_group_for_key, reply_entries, reply_entry, reply_id, subcommand_syntax};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group as Family, Keys, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::Stream;
use crate::types::stream::{Consumer, Entries, Group, StreamId};

/// Entries shown by FULL when COUNT does not say.
const FULL_COUNT_DEFAULT: usize = 10;

pub(super) static XINFO: Command = Command {
    name: "xinfo",
    arity: -2,
    group: Family::Stream,
    since: "5.0.0",
    summary: "Shows what streams, groups and consumers are made of.",
    complexity: "Depends on the subcommand",
    subcommands: &[&CONSUMERS, &GROUPS, &HELP, &STREAM],
    ..COMMAND
};

static STREAM: Command = Command {
    name: "stream",
    arity: -3,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, READ)],
    summary: "Describes a stream, with FULL down to its pending entries.",
    syntax: "key [FULL [COUNT count:integer]]",
    run: stream,
    ..COMMAND
};

static GROUPS: Command = Command {
    name: "groups",
    arity: 3,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, READ)],
    summary: "Describes the consumer groups of a stream.",
    complexity: "O(G) with G groups",
    syntax: "key",
    run: groups,
    ..COMMAND
};

static CONSUMERS: Command = Command {
    name: "consumers",
    arity: 4,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, READ)],
    summary: "Describes the consumers of a group.",
    complexity: "O(C) with C consumers",
    syntax: "key group:string",
    tips: &["nondeterministic_output"],
    run: consumers,
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    group: Family::Stream,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Says what XINFO can do.",
    run: super::super::help::help,
    ..COMMAND
};

fn stream(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let value = cx.keys.get(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    let stream = value.as_stream()?;
    match parse_full(args)? {
        None => {
            cx.reply.map(10);
            describe(cx.reply, stream);
            summary(cx.reply, stream);
        }
        Some(count) => {
            cx.reply.map(9);
            describe(cx.reply, stream);
            full(cx.reply, stream, count);
        }
    }
    Ok(())
}

/// `FULL` and how much of everything to show (0: all).
fn parse_full(args: Args<'_>) -> CommandResult<Option<usize>> {
    let syntax = || subcommand_syntax("XINFO", args[1]);
    match args.len() {
        3 => Ok(None),
        4 if args.is(3, "full") => Ok(Some(FULL_COUNT_DEFAULT)),
        6 if args.is(3, "full") && args.is(4, "count") => {
            Ok(Some(usize::try_from(args.int(5)?).unwrap_or(FULL_COUNT_DEFAULT)))
        }
        _ => Err(syntax()),
    }
}

fn describe(reply: &mut ReplyWriter, stream: &Stream) {
    let entries = &stream.entries;
    let nodes = entries.node_count() as i64;
    reply.bulk(b"length");
    reply.int(entries.len() as i64);
    // Not a radix tree here, but tools ask: the listpacks, and those with the tree's root.
    reply.bulk(b"radix-tree-keys");
    reply.int(nodes);
    reply.bulk(b"radix-tree-nodes");
    reply.int(nodes + 1);
    reply.bulk(b"last-generated-id");
    reply_id(reply, entries.last_id());
    reply.bulk(b"max-deleted-entry-id");
    reply_id(reply, entries.max_deleted_id());
    reply.bulk(b"entries-added");
    reply.int(entries.added() as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, entries.first_id());
}

fn summary(reply: &mut ReplyWriter, stream: &Stream) {
    reply.bulk(b"groups");
    reply.int(stream.groups().len() as i64);
    for (name, reverse) in [(&b"first-entry"[..], false), (b"last-entry", true)] {
        reply.bulk(name);
        match stream.entries.range(StreamId::MIN, StreamId::MAX, reverse).next() {
            Some(entry) => reply_entry(reply, &entry),
            None => reply.null(),
        }
    }
}

fn full(reply: &mut ReplyWriter, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    reply_entries(reply, stream.entries.iter(), count);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    let shown = if count == 0 { usize::MAX } else { count };
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        progress(reply, group, &stream.entries);
        reply.bulk(b"pel-count");
        reply.int(group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(shown.min(group.pending().len()));
        for (&id, nack) in group.pending().iter().take(shown) {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(&group.consumer(nack.consumer).name);
            reply.int(nack.delivered_at_ms);
            reply.int(nack.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        for consumer in group.consumers() {
            full_consumer(reply, group, consumer, shown);
        }
    }
}

fn full_consumer(reply: &mut ReplyWriter, group: &Group, consumer: &Consumer, shown: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(&consumer.name);
    reply.bulk(b"seen-time");
    reply.int(consumer.seen_at_ms);
    reply.bulk(b"active-time");
    reply.int(consumer.active_at_ms.unwrap_or(-1));
    reply.bulk(b"pel-count");
    reply.int(consumer.pending().len() as i64);
    reply.bulk(b"pending");
    let place = reply.defer();
    let own = consumer.pending().iter().take(shown);
    let mut len = 0;
    for (id, nack) in own.filter_map(|(id, ())| Some((*id, group.pending().get(id)?))) {
        reply.array(3);
        reply_id(reply, id);
        reply.int(nack.delivered_at_ms);
        reply.int(nack.deliveries as i64);
        len += 1;
    }
    reply.finish_array(place, len);
}

/// How far the group has come.
fn progress(reply: &mut ReplyWriter, group: &Group, entries: &Entries) {
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id);
    reply.bulk(b"entries-read");
    reply_int_or_null(reply, group.entries_read.map(|read| read as i64));
    reply.bulk(b"lag");
    reply_int_or_null(reply, group.lag(entries));
}

fn reply_int_or_null(reply: &mut ReplyWriter, value: Option<i64>) {
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

fn groups(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let value = cx.keys.get(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    let stream = value.as_stream()?;
    cx.reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        cx.reply.map(6);
        cx.reply.bulk(b"name");
        cx.reply.bulk(name);
        cx.reply.bulk(b"consumers");
        cx.reply.int(group.consumers().len() as i64);
        cx.reply.bulk(b"pending");
        cx.reply.int(group.pending().len() as i64);
        progress(cx.reply, group, &stream.entries);
    }
    Ok(())
}

fn consumers(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = cx.now_ms();
    let value = cx.keys.get(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    let group = value.as_stream()?.group(args.at(3));
    let group = group.ok_or_else(|| no_group_for_key(args.at(2), args.at(3)))?;
    cx.reply.array(group.consumers().len());
    for consumer in group.consumers() {
        cx.reply.map(4);
        cx.reply.bulk(b"name");
        cx.reply.bulk(&consumer.name);
        cx.reply.bulk(b"pending");
        cx.reply.int(consumer.pending().len() as i64);
        cx.reply.bulk(b"idle");
        cx.reply.int(now_ms.saturating_sub(consumer.seen_at_ms).max(0));
        cx.reply.bulk(b"inactive");
        cx.reply.int(consumer.active_at_ms.map_or(-1, |at_ms| now_ms.saturating_sub(at_ms)));
    }
    Ok(())
}
