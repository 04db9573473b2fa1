//! OBJECT: how a value is stored, and how much it is used.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Keys, METADATA};
use crate::commands::help::help;
use crate::context::Context;
use crate::error::CommandResult;
use crate::keyspace::KeyEntry;

pub(super) static OBJECT: Command = Command {
    name: "object",
    arity: -2,
    since: "2.2.3",
    summary: "Tells how a value is stored and used.",
    complexity: "Depends on the subcommand.",
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    ..COMMAND
};

/// What the subcommands on a key have in common.
const ON_KEY: Command = Command {
    arity: 3,
    since: "2.2.3",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, METADATA)],
    syntax: "key",
    tips: &["nondeterministic_output"],
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "6.2.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Lists the subcommands.",
    run: help,
    ..COMMAND
};

static ENCODING: Command = Command {
    name: "encoding",
    summary: "Names the representation of the value in memory.",
    run: |cx, args| {
        match find(cx, args) {
            Some(entry) => cx.reply.bulk(entry.value.encoding().as_bytes()),
            None => cx.reply.null(),
        }
        Ok(())
    },
    ..ON_KEY
};

static REFCOUNT: Command = Command {
    name: "refcount",
    summary: "Answers the number of references to the value, which is 1: keys do not share values.",
    run: |cx, args| {
        match find(cx, args) {
            Some(_) => cx.reply.int(1),
            None => cx.reply.null(),
        }
        Ok(())
    },
    ..ON_KEY
};

static IDLETIME: Command = Command {
    name: "idletime",
    summary: "Answers for how many seconds the key has not been used.",
    run: idletime,
    ..ON_KEY
};

fn idletime(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(usage) = find(cx, args).map(KeyEntry::usage) else {
        cx.reply.null();
        return Ok(());
    };
    if cx.keys.usage.is_lfu() {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                    switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into());
    }
    cx.reply.int(cx.keys.usage.idle_seconds(usage) as i64);
    Ok(())
}

static FREQ: Command = Command {
    name: "freq",
    since: "4.0.0",
    summary: "Answers the key's access counter, which is logarithmic and decays.",
    run: freq,
    ..ON_KEY
};

fn freq(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(usage) = find(cx, args).map(KeyEntry::usage) else {
        cx.reply.null();
        return Ok(());
    };
    if !cx.keys.usage.is_lfu() {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
                    that when switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into());
    }
    cx.reply.int(cx.keys.usage.decayed(usage).into());
    Ok(())
}

/// The entry, left as unused as it was.
fn find<'k>(cx: &'k Context<'_>, args: Args<'_>) -> Option<&'k KeyEntry> {
    cx.keys.find(args.at(2))
}
