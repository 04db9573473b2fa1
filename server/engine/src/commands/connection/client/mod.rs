//! CLIENT: looking at connections and changing them.
//!
//! - `list`: how a connection is described (LIST, INFO). `kill`: KILL. `tracking`: client-side caching. Everything else is here.

mod kill;
mod list;
mod tracking;

use crate::args::{Args, parse_i64};
use crate::client::{BlockedOn, ReplyMode};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::shared::Pause;

use super::ALWAYS;

pub(crate) use list::{describe, describe_own};

pub(super) static CLIENT: Command = Command {
    name: "client",
    arity: -2,
    group: Group::Connection,
    since: "2.4.0",
    summary: "Looks at connections and changes them.",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &tracking::CACHING,
        &GETNAME,
        &tracking::GETREDIR,
        &HELP,
        &ID,
        &list::INFO,
        &kill::KILL,
        &list::LIST,
        &NO_EVICT,
        &NO_TOUCH,
        &PAUSE,
        &REPLY,
        &SETINFO,
        &SETNAME,
        &tracking::TRACKING,
        &tracking::TRACKINGINFO,
        &UNBLOCK,
        &UNPAUSE,
    ],
    ..COMMAND
};

const SUBCOMMAND: Command = Command { group: Group::Connection, flags: ALWAYS, ..COMMAND };
const ADMIN_FLAGS: &[Flag] = &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale];
const EVERY_NODE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    run: crate::commands::help::help,
    ..SUBCOMMAND
};

static ID: Command = Command {
    name: "id",
    arity: 2,
    since: "5.0.0",
    summary: "Returns the number of this connection.",
    run: id,
    ..SUBCOMMAND
};

fn id(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(cx.client.id as i64);
    Ok(())
}

static GETNAME: Command = Command {
    name: "getname",
    arity: 2,
    since: "2.6.9",
    summary: "Returns the name of this connection.",
    run: getname,
    ..SUBCOMMAND
};

fn getname(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if cx.client.name.is_empty() {
        cx.reply.null();
    } else {
        cx.reply.bulk(&cx.client.name);
    }
    Ok(())
}

static SETNAME: Command = Command {
    name: "setname",
    arity: 3,
    since: "2.6.9",
    summary: "Names this connection; an empty name takes the name away.",
    syntax: "connection-name",
    tips: EVERY_NODE,
    run: setname,
    ..SUBCOMMAND
};

fn setname(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(2);
    check_name(name)?;
    cx.client.name = name.to_vec();
    cx.reply.ok();
    Ok(())
}

/// Names must not break the lines of CLIENT LIST.
pub(super) fn check_name(name: &[u8]) -> CommandResult {
    if name.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
}

static SETINFO: Command = Command {
    name: "setinfo",
    arity: 4,
    since: "7.2.0",
    summary: "Tells which library the client uses.",
    syntax: "<LIB-NAME libname | LIB-VER libver>",
    tips: EVERY_NODE,
    run: setinfo,
    ..SUBCOMMAND
};

fn setinfo(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (attribute, value) = (args.at(2), args.at(3));
    let field = if args.is(2, "lib-name") {
        &mut cx.client.library_name
    } else if args.is(2, "lib-ver") {
        &mut cx.client.library_version
    } else {
        return Err(CommandError::Bytes([b"ERR Unrecognized option '", attribute, b"'"].concat()));
    };
    if !value.iter().all(u8::is_ascii_graphic) {
        let rest = b" cannot contain spaces, newlines or special characters.";
        return Err(CommandError::Bytes([b"ERR ", attribute, rest].concat()));
    }
    *field = value.to_vec();
    cx.reply.ok();
    Ok(())
}

static REPLY: Command = Command {
    name: "reply",
    arity: 3,
    since: "3.2.0",
    summary: "Turns replies on or off, or skips the next one.",
    syntax: "<ON | OFF | SKIP>",
    run: reply,
    ..SUBCOMMAND
};

fn reply(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.is(2, "on") {
        cx.client.reply_mode = ReplyMode::On;
        cx.reply.ok();
    } else if args.is(2, "off") {
        cx.client.reply_mode = ReplyMode::Off;
    } else if args.is(2, "skip") {
        if cx.client.reply_mode != ReplyMode::Off {
            cx.client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

static NO_EVICT: Command = Command {
    name: "no-evict",
    arity: 3,
    since: "7.0.0",
    flags: ADMIN_FLAGS,
    summary: "Protects this connection from maxmemory-clients.",
    syntax: "<ON | OFF>",
    run: no_evict,
    ..SUBCOMMAND
};

fn no_evict(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.client.no_evict = on_or_off(args)?;
    cx.reply.ok();
    Ok(())
}

static NO_TOUCH: Command = Command {
    name: "no-touch",
    arity: 3,
    since: "7.2.0",
    summary: "Lets this connection's commands leave keys' times of use alone.",
    syntax: "<ON | OFF>",
    run: no_touch,
    ..SUBCOMMAND
};

fn no_touch(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.client.no_touch = on_or_off(args)?;
    cx.keys.no_touch = cx.client.no_touch;
    cx.reply.ok();
    Ok(())
}

fn on_or_off(args: Args<'_>) -> CommandResult<bool> {
    if args.is(2, "on") {
        Ok(true)
    } else if args.is(2, "off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

static PAUSE: Command = Command {
    name: "pause",
    arity: -3,
    since: "3.0.0",
    flags: ADMIN_FLAGS,
    summary: "Holds all commands, or just writes, for some milliseconds.",
    syntax: "timeout:integer [WRITE | ALL]",
    run: pause,
    ..SUBCOMMAND
};

fn pause(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let writes_only = match args.len() {
        3 => false,
        4 if args.is(3, "write") => true,
        4 if args.is(3, "all") => false,
        4 => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        _ => return Err(wrong_arguments(args)),
    };
    let timeout_ms =
        parse_i64(args.at(2)).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?;
    let until_ms = cx.deadline_after(timeout_ms)?.unwrap_or(0);
    let now_ms = cx.now_ms();
    let pause = &mut cx.shared.pause;
    let holds_all = pause.until_ms > now_ms && !pause.writes_only;
    // The stricter rule and the longer time count, until UNPAUSE.
    pause.writes_only = writes_only && !holds_all;
    pause.until_ms = pause.until_ms.max(until_ms);
    cx.reply.ok();
    Ok(())
}

static UNPAUSE: Command = Command {
    name: "unpause",
    arity: 2,
    since: "6.2.0",
    flags: ADMIN_FLAGS,
    summary: "Ends CLIENT PAUSE.",
    complexity: "O(N) where N is the number of clients held",
    run: unpause,
    ..SUBCOMMAND
};

fn unpause(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let stopping = cx.shared.pause.stopping;
    cx.shared.pause = Pause { relaxed: true, stopping, ..Pause::default() };
    cx.reply.ok();
    Ok(())
}

static UNBLOCK: Command = Command {
    name: "unblock",
    arity: -3,
    since: "5.0.0",
    flags: ADMIN_FLAGS,
    summary: "Ends the waiting of a client in a blocking command.",
    complexity: "O(log N) where N is the number of clients",
    syntax: "client-id:integer [TIMEOUT | ERROR]",
    run: unblock,
    ..SUBCOMMAND
};

fn unblock(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let with_error = match args.len() {
        3 => false,
        4 if args.is(3, "timeout") => false,
        4 if args.is(3, "error") => true,
        4 => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(wrong_arguments(args)),
    };
    let id = args.int(2)?;
    let slot = u64::try_from(id).ok().and_then(|id| cx.shared.slots_by_id.get(&id).copied());
    let slot = slot.filter(|&slot| slot != cx.client.slot && may_be_unblocked(cx, slot));
    match slot {
        Some(slot) if with_error => {
            cx.shared.unblock_with_error(slot, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        }
        Some(slot) => cx.shared.time_out(cx.host, slot),
        None => {}
    }
    cx.reply.int(i64::from(slot.is_some()));
    Ok(())
}

/// Waits the client for something that may also not come? CLIENT PAUSE ends by itself, and what only the host can
/// answer (SAVE, SHUTDOWN) cannot be given up; WAIT and WAITAOF have a time-out.
fn may_be_unblocked(cx: &mut Context<'_>, slot: usize) -> bool {
    let Some(client) = cx.shared.client(slot) else { return false };
    client.state.blocked.as_ref().is_some_and(|blocked| match blocked.on {
        BlockedOn::Keys { .. } | BlockedOn::Replicas(_) => true,
        BlockedOn::Host => matches!(blocked.command.full_name.as_str(), "wait" | "waitaof"),
        BlockedOn::Pause | BlockedOn::Penalty => false,
    })
}

/// Too many arguments for a subcommand whose arity does not say so.
fn wrong_arguments(args: Args<'_>) -> CommandError {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(printed(args.at(1)));
    text.extend_from_slice(b"'. Try CLIENT HELP.");
    CommandError::Bytes(text)
}

#[cfg(test)]
mod tests;
