//! The subcommands of ACL that tell of users, categories and refusals.

use super::{FOR_ALL, SUBCOMMAND, wrong_arguments};
use crate::acl::category;
use crate::acl::selector::Selector;
use crate::args::{Args, parse_i64};
use crate::command::{Command, Flag, table};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use cairn_proto::ReplyWriter;

pub(super) static CAT: Command = Command {
    name: "cat",
    arity: -2,
    flags: FOR_ALL,
    summary: "Lists the categories of commands, or the commands of one.",
    complexity: "O(N) where N is the number of commands",
    syntax: "[category:string]",
    run: cat,
    ..SUBCOMMAND
};

fn cat(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    const SHOWN_BYTES_MAX: usize = 128;
    let name = match *args.from(2) {
        [] => {
            cx.reply.array(category::CATEGORIES.len());
            category::CATEGORIES.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
            return Ok(());
        }
        [name] => name,
        _ => return Err(wrong_arguments(args)),
    };
    let category = category::find(name).ok_or_else(|| {
        let shown = printed(&name[..name.len().min(SHOWN_BYTES_MAX)]);
        CommandError::Bytes([b"ERR Unknown category '", shown, b"'"].concat())
    })?;
    let commands: Vec<_> = table()
        .entries()
        .iter()
        .filter(|entry| category::contains(category, entry) && !cx.hides(entry))
        .collect();
    cx.reply.array(commands.len());
    commands.iter().for_each(|entry| cx.reply.bulk(entry.full_name.as_bytes()));
    Ok(())
}

pub(super) static DRYRUN: Command = Command {
    name: "dryrun",
    arity: -4,
    since: "7.0.0",
    summary: "Tells whether a user may run a command, without running it.",
    complexity: "O(1)",
    syntax: "username command [arg:string [arg:string ...]]",
    run: dryrun,
    ..SUBCOMMAND
};

fn dryrun(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (name, inner) = (args.at(2), Args::new(args.from(3)));
    let not_found = |what: &str, name: &[u8]| {
        CommandError::Bytes([b"ERR ", what.as_bytes(), b" '", printed(name), b"' not found"].concat())
    };
    cx.depends_on_users();
    let user = cx.shared.acl.get(name).ok_or_else(|| not_found("User", name))?;
    let entry = table().resolve(inner).filter(|entry| !cx.hides(entry));
    let entry = entry.ok_or_else(|| not_found("Command", inner.at(0)))?;
    if !entry.arity_fits(inner.len()) {
        return Err(CommandError::Arity(entry.said_name()));
    }
    match user.check(entry, inner) {
        Ok(()) => cx.reply.ok(),
        Err(denial) => {
            let text = denial.text(name, entry, inner.as_slice(), true);
            cx.reply.bulk(&text);
        }
    }
    Ok(())
}

pub(super) static GETUSER: Command = Command {
    name: "getuser",
    arity: 3,
    summary: "Describes a user: flags, hashes of passwords, permissions.",
    complexity: "O(N) where N is the number of the user's passwords and rules",
    syntax: "username",
    run: getuser,
    ..SUBCOMMAND
};

fn getuser(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.depends_on_users();
    let Some(user) = cx.shared.acl.get(args.at(2)) else {
        cx.reply.null();
        return Ok(());
    };
    let reply = &mut *cx.reply;
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords.len());
    user.passwords.iter().for_each(|hash| reply.bulk(hash.hex().as_bytes()));
    describe(reply, &user.root);
    reply.bulk(b"selectors");
    reply.array(user.selectors.len());
    for selector in &user.selectors {
        reply.map(3);
        describe(reply, selector);
    }
    Ok(())
}

/// Three fields of a map.
fn describe(reply: &mut ReplyWriter, selector: &Selector) {
    for (field, value) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ] {
        reply.bulk(field.as_bytes());
        reply.bulk(&value);
    }
}

pub(super) static LIST: Command = Command {
    name: "list",
    arity: 2,
    summary: "Describes all users, as in the ACL file.",
    complexity: "O(N) where N is the number of users",
    run: |cx, _| {
        cx.depends_on_users();
        let users = cx.shared.acl.users();
        cx.reply.array(users.len());
        users.for_each(|user| cx.reply.bulk(&user.line()));
        Ok(())
    },
    ..SUBCOMMAND
};

pub(super) static USERS: Command = Command {
    name: "users",
    arity: 2,
    summary: "Lists the names of all users.",
    complexity: "O(N) where N is the number of users",
    run: |cx, _| {
        cx.depends_on_users();
        let users = cx.shared.acl.users();
        cx.reply.array(users.len());
        users.for_each(|user| cx.reply.bulk(&user.name));
        Ok(())
    },
    ..SUBCOMMAND
};

pub(super) static WHOAMI: Command = Command {
    name: "whoami",
    arity: 2,
    flags: FOR_ALL,
    summary: "Tells as which user the connection is logged in.",
    run: |cx, _| {
        cx.reply.bulk(cx.client.login.name());
        Ok(())
    },
    ..SUBCOMMAND
};

pub(super) static LOG: Command = Command {
    name: "log",
    arity: -2,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale],
    summary: "Lists what this node refused to users, newest first, or forgets it.",
    complexity: "O(N) where N is the number of entries shown",
    syntax: "[count:integer | RESET]",
    run: log,
    ..SUBCOMMAND
};

fn log(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    const SHOWN_BY_DEFAULT: usize = 10;
    let count = match args.from(2) {
        [] => SHOWN_BY_DEFAULT,
        [_] if args.is(2, "reset") => {
            cx.shared.acl.log.entries.clear();
            cx.reply.ok();
            return Ok(());
        }
        [count] => {
            let count = parse_i64(count).ok_or(CommandError::NotInteger)?;
            usize::try_from(count).unwrap_or(0)
        }
        _ => return Err(wrong_arguments(args)),
    };
    let now_ms = cx.now_ms();
    let entries = &cx.shared.acl.log.entries;
    let count = count.min(entries.len());
    let reply = &mut *cx.reply;
    reply.array(count);
    for entry in entries.iter().take(count) {
        let refusal = &entry.refusal;
        reply.map(10);
        reply.bulk(b"count");
        reply.int(entry.count as i64);
        for (field, value) in [
            ("reason", refusal.reason.name().as_bytes()),
            ("context", refusal.setting.name().as_bytes()),
            ("object", &refusal.object),
            ("username", &refusal.user),
        ] {
            reply.bulk(field.as_bytes());
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.last_at_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        for (field, value) in [
            ("entry-id", entry.id as i64),
            ("timestamp-created", entry.first_at_ms),
            ("timestamp-last-updated", entry.last_at_ms),
        ] {
            reply.bulk(field.as_bytes());
            reply.int(value);
        }
    }
    Ok(())
}
