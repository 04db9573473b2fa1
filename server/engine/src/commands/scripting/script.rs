//! SCRIPT.

use super::{NESTED, UNKNOWN, as_reply, bound_memory};
use crate::args::Args;
use crate::busy;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::commands::help;
use crate::context::Context;
use crate::error::CommandResult;
use crate::scripting::{Origin, Sha};

pub(super) static SCRIPT: Command = Command {
    name: "script",
    arity: -2,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Loads, looks up and forgets scripts.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        &SCRIPT_DEBUG,
        &SCRIPT_EXISTS,
        &SCRIPT_FLUSH,
        &SCRIPT_HELP,
        &SCRIPT_KILL,
        &SCRIPT_LOAD,
        &SCRIPT_SHOW,
    ],
    ..COMMAND
};

static SCRIPT_LOAD: Command = Command {
    name: "load",
    arity: 3,
    group: Group::Scripting,
    since: "2.6.0",
    flags: &[Flag::NoScript, Flag::Stale],
    summary: "Makes a script known, to be run by EVALSHA.",
    complexity: "O(N) with N the length of the script",
    syntax: "script:string",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: script_load,
    ..COMMAND
};

fn script_load(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    bound_memory(cx);
    let scripts = cx.scripts.as_mut().ok_or(NESTED)?;
    let sha = scripts.eval.load(args.at(2), Origin::Load).map_err(as_reply)?;
    cx.reply.bulk(&sha.hex());
    Ok(())
}

static SCRIPT_EXISTS: Command = Command {
    name: "exists",
    arity: -3,
    group: Group::Scripting,
    since: "2.6.0",
    flags: &[Flag::NoScript],
    summary: "Says which scripts are known.",
    complexity: "O(N) with N the number of digests",
    syntax: "sha1:string [sha1:string ...]",
    tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
    run: script_exists,
    ..COMMAND
};

fn script_exists(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let scripts = cx.scripts.as_ref().ok_or(NESTED)?;
    cx.reply.array(args.len() - 2);
    for digest in args.from(2) {
        let known = Sha::parse(digest).is_some_and(|sha| scripts.eval.script(&sha).is_some());
        cx.reply.int(known.into());
    }
    Ok(())
}

static SCRIPT_FLUSH: Command = Command {
    name: "flush",
    arity: -2,
    group: Group::Scripting,
    since: "2.6.0",
    flags: &[Flag::NoScript],
    summary: "Forgets all scripts.",
    complexity: "O(N) with N the number of scripts",
    syntax: "[ASYNC | SYNC]",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: script_flush,
    ..COMMAND
};

fn script_flush(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 || (args.len() == 3 && !args.is(2, "ASYNC") && !args.is(2, "SYNC")) {
        return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into());
    }
    let scripts = cx.scripts.as_mut().ok_or(NESTED)?;
    scripts.eval.flush().map_err(as_reply)?;
    cx.reply.ok();
    Ok(())
}

static SCRIPT_DEBUG: Command = Command {
    name: "debug",
    arity: 3,
    group: Group::Scripting,
    since: "3.2.0",
    flags: &[Flag::NoScript],
    summary: "Would step through the next script; there is no debugger here.",
    syntax: "YES | SYNC | NO",
    run: script_debug,
    ..COMMAND
};

fn script_debug(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.is(2, "NO") {
        cx.reply.ok();
        return Ok(());
    }
    if args.is(2, "YES") || args.is(2, "SYNC") {
        return Err("ERR there is no script debugger; redis.log() writes to the server's log".into());
    }
    Err("ERR Use SCRIPT DEBUG YES/SYNC/NO".into())
}

static SCRIPT_KILL: Command = Command {
    name: "kill",
    arity: 2,
    group: Group::Scripting,
    since: "2.6.0",
    flags: &[Flag::NoScript, Flag::AllowBusy],
    summary: "Ends the running script.",
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: script_kill,
    ..COMMAND
};

fn script_kill(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    busy::kill(cx.shared, false)?;
    cx.reply.ok();
    Ok(())
}

/// Valkey's, since its 8.0.
static SCRIPT_SHOW: Command = Command {
    name: "show",
    arity: 3,
    group: Group::Scripting,
    since: "8.0.0",
    flags: &[Flag::NoScript],
    summary: "Returns the text of a script that is known.",
    syntax: "sha1:string",
    run: script_show,
    ..COMMAND
};

fn script_show(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let scripts = cx.scripts.as_ref().ok_or(NESTED)?;
    let script = Sha::parse(args.at(2)).and_then(|sha| scripts.eval.script(&sha)).ok_or(UNKNOWN)?;
    cx.reply.bulk(&script.source);
    Ok(())
}

static SCRIPT_HELP: Command = Command {
    name: "help",
    arity: 2,
    group: Group::Scripting,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Says what SCRIPT can do.",
    run: help::help,
    ..COMMAND
};
