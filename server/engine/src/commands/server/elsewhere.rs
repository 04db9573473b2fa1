//! What Redis has and Cairn does in another way: moving keys between servers, modules. Each of these commands says what to use instead.

use crate::args::Args;
use crate::command::{COMMAND, Category, Command, Flag, Group, KeyAccess, Keys, READ_DELETE};
use crate::commands::help::help;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

const NO_MODULES: CommandError = CommandError::new(
    "ERR modules cannot be loaded into this server: use scripts (EVAL) or functions (FUNCTION LOAD) instead",
);
const NO_MIGRATE: CommandError = CommandError::new(
    "ERR this server does not connect to others to move keys: use DUMP here and RESTORE there",
);

pub(super) static MODULE: Command = Command {
    name: "module",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    summary: "Lists what other servers have as modules.",
    complexity: "Depends on the subcommand.",
    subcommands: &[&MODULE_HELP, &MODULE_LIST, &MODULE_LOAD, &MODULE_LOADEX, &MODULE_UNLOAD],
    ..COMMAND
};

/// What the subcommands that would change something have in common.
const REFUSED: Command = Command {
    group: Group::Server,
    since: "4.0.0",
    flags: &[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading],
    run: |_, _| Err(NO_MODULES),
    ..COMMAND
};

static MODULE_HELP: Command = Command {
    name: "help",
    arity: 2,
    group: Group::Server,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Lists the subcommands.",
    run: help,
    ..COMMAND
};

static MODULE_LIST: Command = Command {
    name: "list",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    flags: &[Flag::Admin, Flag::NoScript],
    summary: "Lists what is built in here and a module in Redis.",
    tips: &["nondeterministic_output_order"],
    run: list,
    ..COMMAND
};

/// What is built in here and a module in Redis, with the version whose behaviour it has: libraries (redisvl, LangChain) look for
/// them before they use the commands.
const BUILT_IN: &[(&str, i64)] = &[("search", 80_200), ("ReJSON", 80_400)];

fn list(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    cx.reply.array(BUILT_IN.len());
    for (name, version) in BUILT_IN {
        cx.reply.map(4);
        cx.reply.bulk(b"name");
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(b"ver");
        cx.reply.int(*version);
        cx.reply.bulk(b"path");
        cx.reply.bulk(b"");
        cx.reply.bulk(b"args");
        cx.reply.array(0);
    }
    Ok(())
}

static MODULE_LOAD: Command = Command {
    name: "load",
    arity: -3,
    summary: "Is refused: modules cannot be loaded.",
    syntax: "path:string [arg:string ...]",
    ..REFUSED
};

static MODULE_LOADEX: Command = Command {
    name: "loadex",
    arity: -3,
    since: "7.0.0",
    summary: "Is refused: modules cannot be loaded.",
    syntax: "path:string [CONFIG name:string value:string [CONFIG name:string value:string ...]] [ARGS args:string [args:string ...]]",
    ..REFUSED
};

static MODULE_UNLOAD: Command = Command {
    name: "unload",
    arity: 3,
    summary: "Is refused: modules cannot be loaded.",
    syntax: "name:string",
    run: |_, _| Err("ERR Error unloading module: no such module with that name".into()),
    ..REFUSED
};

pub(super) static MIGRATE: Command = Command {
    name: "migrate",
    arity: -6,
    group: Group::Generic,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::MovableKeys],
    keys: &[Keys::at(3, READ_DELETE), Keys::after("KEYS", -2, -1, 0, MIGRATED)],
    find_keys: Some(find_keys),
    categories: &[Category::Dangerous],
    summary: "Answers NOKEY if there is nothing to move; otherwise is refused: DUMP and RESTORE move keys between servers.",
    complexity: "O(1)",
    syntax: "host:string port:integer <key | \"\"> destination-db:integer timeout:integer [COPY] [REPLACE] \
             [AUTH password:string | AUTH2 username:string password:string] [KEYS key [key ...]]",
    tips: &["nondeterministic_output"],
    run: migrate,
    ..COMMAND
};

fn migrate(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut keys = &args.from(3)[..1];
    let mut i = 6;
    while i < args.len() {
        i += match () {
            () if args.is(i, "COPY") || args.is(i, "REPLACE") => 1,
            () if args.is(i, "AUTH") && i + 1 < args.len() => 2,
            () if args.is(i, "AUTH2") && i + 2 < args.len() => 3,
            () if args.is(i, "KEYS") && !args.at(3).is_empty() => {
                return Err(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                        .into(),
                );
            }
            () if args.is(i, "KEYS") => {
                keys = args.from(i + 1);
                break;
            }
            () => return Err(CommandError::Syntax),
        };
    }
    args.int(5)?;
    args.int(4)?;
    if keys.iter().any(|key| cx.keys.get(key).is_some()) {
        return Err(NO_MIGRATE);
    }
    cx.reply.simple("NOKEY");
    Ok(())
}

/// RW ACCESS DELETE, and these may not be all.
const MIGRATED: KeyAccess = KeyAccess { mode: "RW", flags: &["ACCESS", "DELETE", "incomplete"] };

/// One key, or those after KEYS when that one is empty.
fn find_keys(args: Args<'_>, found: &mut dyn FnMut(usize, KeyAccess)) {
    let mut i = 6;
    while args.at(3).is_empty() && i < args.len() {
        if args.is(i, "KEYS") {
            return (i + 1..args.len()).for_each(|i| found(i, READ_DELETE));
        }
        // A password may be called like the keyword.
        i += match () {
            () if args.is(i, "AUTH") => 2,
            () if args.is(i, "AUTH2") => 3,
            () => 1,
        };
    }
    found(3, READ_DELETE);
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn each_refusal_says_what_to_use_instead() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SET k v");
        for (line, instead) in [
            ("MODULE LOAD /a.so", "FUNCTION LOAD"),
            ("MODULE LOADEX /a.so", "FUNCTION LOAD"),
            ("MIGRATE h 1 k 0 10", "RESTORE"),
        ] {
            let reply = server.run(a, line);
            assert!(reply.starts_with("-ERR ") && reply.contains(instead), "{line}: {reply}");
        }
        let one_is_there: &[&[u8]] = &[b"MIGRATE", b"h", b"1", b"", b"0", b"10", b"KEYS", b"none", b"k"];
        assert!(server.send(a, one_is_there).starts_with(b"-ERR this server does not connect"));
    }
}
