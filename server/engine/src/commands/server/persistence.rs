//! What is kept and when: snapshots, the log, the end of the process. The host does the work.

use crate::args::Args;
use crate::client::TimeoutReply;
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::Request;

pub(super) static SAVE: Command = Command {
    name: "save",
    arity: 1,
    group: Group::Server,
    flags: &[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript, Flag::NoMulti],
    summary: "Writes a snapshot, and answers when it is on the disk. Others are served meanwhile.",
    complexity: "O(N) where N is the number of keys in all databases",
    run: save,
    ..COMMAND
};

fn save(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if cx.host.facts().save_in_progress {
        return Err("ERR Background save already in progress".into());
    }
    cx.host.request(Request::Save { client: cx.client.slot });
    cx.block_on_host(None, TimeoutReply::Null);
    Ok(())
}

pub(super) static BGSAVE: Command = Command {
    name: "bgsave",
    arity: -1,
    group: Group::Server,
    flags: &[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript],
    summary: "Begins to write a snapshot.",
    syntax: "[SCHEDULE]",
    run: bgsave,
    ..COMMAND
};

fn bgsave(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let schedule = match args.len() {
        1 => false,
        2 if args.is(1, "schedule") => true,
        _ => return Err(CommandError::Syntax),
    };
    let scheduled = cx.host.background_save(schedule)?;
    cx.reply.simple(if scheduled { "Background saving scheduled" } else { "Background saving started" });
    Ok(())
}

pub(super) static BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    arity: 1,
    group: Group::Server,
    flags: &[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript],
    summary: "Makes the log shorter: begins to write a snapshot, after which the log before it can go.",
    run: bgrewriteaof,
    ..COMMAND
};

fn bgrewriteaof(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let facts = cx.host.facts();
    if facts.rewrite_in_progress {
        return Err("ERR Background append only file rewriting already in progress".into());
    }
    let scheduled = facts.save_in_progress;
    cx.host.request(Request::CompactLog);
    cx.reply.simple(if scheduled {
        "Background append only file rewriting scheduled"
    } else {
        "Background append only file rewriting started"
    });
    Ok(())
}

pub(super) static LASTSAVE: Command = Command {
    name: "lastsave",
    arity: 1,
    group: Group::Server,
    flags: &[Flag::Loading, Flag::Stale, Flag::Fast],
    categories: &[Category::Admin, Category::Dangerous],
    summary: "Returns when the last snapshot was written, in seconds since 1970.",
    tips: &["nondeterministic_output"],
    run: lastsave,
    ..COMMAND
};

fn lastsave(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(cx.host.facts().last_save_at_s);
    Ok(())
}

pub(super) static SHUTDOWN: Command = Command {
    name: "shutdown",
    arity: -1,
    group: Group::Server,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::NoMulti, Flag::AllowBusy],
    summary: "Ends the server, with or without a last snapshot.",
    complexity: "O(N) when a snapshot is written, where N is the number of keys in all databases; otherwise O(1)",
    syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    run: shutdown,
    ..COMMAND
};

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let client = cx.client.slot;
    let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
    for at in 1..args.len() {
        match () {
            () if args.is(at, "save") => save = true,
            () if args.is(at, "nosave") => nosave = true,
            () if args.is(at, "now") => now = true,
            () if args.is(at, "force") => force = true,
            () if args.is(at, "abort") => abort = true,
            () => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || now || force)) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if cx.mode.busy && !nosave {
        // A snapshot would hold half of the running script's work.
        return Err(crate::busy::refusal(cx.shared));
    }
    cx.host.request(if abort {
        Request::ShutdownAbort { client }
    } else {
        Request::Shutdown { client, save: (save || nosave).then_some(save), now, force }
    });
    cx.block_on_host(None, TimeoutReply::Null);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::host::Request;
    use crate::testing::TestEngine;

    #[test]
    fn shutdown_is_the_hosts_unless_its_options_contradict_each_other() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        for line in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN PLEASE"] {
            assert_eq!(server.run(a, line), "-ERR syntax error\r\n", "{line}");
        }
        assert!(server.host.requests.is_empty());
        assert_eq!(server.run(a, "SHUTDOWN NOSAVE NOW FORCE"), "");
        assert_eq!(
            server.host.requests.pop(),
            Some(Request::Shutdown { client: a, save: Some(false), now: true, force: true })
        );
        server.engine.answer(a, |reply| reply.error("ERR Errors trying to SHUTDOWN. Check logs."));
        assert_eq!(server.output(a), b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
        assert_eq!(server.run(a, "SHUTDOWN"), "");
        assert_eq!(
            server.host.requests.pop(),
            Some(Request::Shutdown { client: a, save: None, now: false, force: false })
        );
    }

    #[test]
    fn saves_are_the_hosts() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "SAVE"), "");
        assert_eq!(server.host.requests, [Request::Save { client: a }]);
        server.engine.answer(a, |reply| reply.ok());
        assert_eq!(server.output(a), b"+OK\r\n");
        assert_eq!(server.run(a, "BGSAVE"), "+Background saving started\r\n");
        assert_eq!(server.host.background_saves, 1);
        assert_eq!(server.run(a, "BGSAVE NOW"), "-ERR syntax error\r\n");
        server.host.facts.last_save_at_s = 42;
        assert_eq!(server.run(a, "LASTSAVE"), ":42\r\n");
        server.host.facts.save_in_progress = true;
        assert_eq!(server.run(a, "SAVE"), "-ERR Background save already in progress\r\n");
        assert_eq!(server.run(a, "BGREWRITEAOF"), "+Background append only file rewriting scheduled\r\n");
        server.host.facts.rewrite_in_progress = true;
        let refusal = "-ERR Background append only file rewriting already in progress\r\n";
        assert_eq!(server.run(a, "BGREWRITEAOF"), refusal);
    }
}
