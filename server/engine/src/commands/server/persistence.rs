//! What is kept and when: snapshots, the log, the end of the process. The host does the work.

use crate::args::{Args, parse_i64};
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
    let scheduled = cx.host.facts().save_in_progress;
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
        return Err(crate::busy::BUSY);
    }
    cx.host.request(if abort {
        Request::ShutdownAbort { client }
    } else {
        Request::Shutdown { client, save: (save || nosave).then_some(save), now, force }
    });
    cx.block_on_host(None, TimeoutReply::Null);
    Ok(())
}

pub(super) static WAIT: Command = Command {
    name: "wait",
    arity: 3,
    group: Group::Generic,
    since: "3.0.0",
    categories: &[Category::Connection],
    summary: "Waits until so many replicas have this connection's writes, and returns how many have.",
    syntax: "numreplicas:integer timeout:integer",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    run: wait,
    ..COMMAND
};

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let wanted = args.int(1)?;
    let deadline_ms = timeout(cx, args.at(2))?;
    // A single node has no replicas: either none is wanted, or they never come.
    if wanted <= 0 || !cx.may_block() {
        cx.reply.int(0);
    } else {
        cx.block_on_host(deadline_ms, TimeoutReply::Integer(0));
    }
    Ok(())
}

pub(super) static WAITAOF: Command = Command {
    name: "waitaof",
    arity: 4,
    group: Group::Generic,
    since: "7.2.0",
    flags: &[Flag::NoScript],
    categories: &[Category::Connection],
    summary: "Waits until this connection's writes are on the disk here and on so many replicas.",
    syntax: "numlocal:integer numreplicas:integer timeout:integer",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    run: waitaof,
    ..COMMAND
};

/// What WAITAOF says when there is no log, and when it goes away meanwhile.
pub(crate) const WAITAOF_WITHOUT_LOG: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

fn waitaof(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let local = args.int(1)?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1".into());
    }
    let replicas = args.int(2)?;
    if replicas < 0 {
        return Err("ERR value is out of range, must be positive".into());
    }
    let deadline_ms = timeout(cx, args.at(3))?;
    if local == 1 && !cx.shared.effects.enabled() {
        return Err(WAITAOF_WITHOUT_LOG.into());
    }
    let position = cx.client.written_seq;
    let synced = cx.shared.effects.enabled() && cx.host.facts().log_synced >= position;
    if (replicas == 0 && (synced || local == 0)) || !cx.may_block() {
        cx.reply.array(2);
        cx.reply.int(i64::from(synced));
        cx.reply.int(0);
        return Ok(());
    }
    if replicas == 0 {
        cx.host.request(Request::WaitSynced { client: cx.client.slot, position });
    }
    cx.block_on_host(deadline_ms, TimeoutReply::Synced { position, local: local == 1 });
    Ok(())
}

fn timeout(cx: &Context<'_>, arg: &[u8]) -> CommandResult<Option<i64>> {
    cx.deadline_after(
        parse_i64(arg).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?,
    )
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
    fn waitaof_waits_for_its_own_writes_to_be_synced() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n", "nothing was written");
        server.run(a, "SET k v");
        assert_eq!(server.run(a, "WAITAOF 1 0 100"), "");
        let position = server.batches.last().unwrap().seq;
        assert_eq!(server.host.requests, [Request::WaitSynced { client: a, position }]);
        server.engine.answer_synced(a, position + 1);
        assert_eq!(server.output(a), b"", "that was for another wait");
        server.engine.answer_synced(a, position);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:0\r\n");
        server.run(a, "WAITAOF 1 0 100");
        server.advance(101);
        assert_eq!(server.output(a), b"*2\r\n:0\r\n:0\r\n");
        server.host.facts.log_synced = position;
        assert_eq!(server.run(a, "WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n");
        assert_eq!(server.run(a, "WAITAOF 1 1 100"), "", "there are no replicas");
        server.advance(101);
        assert_eq!(server.output(a), b"*2\r\n:1\r\n:0\r\n");
        assert_eq!(
            server.run(a, "WAITAOF 2 0 0"),
            "-ERR value is out of range, value must between 0 and 1\r\n"
        );
        assert_eq!(server.run(a, "WAITAOF 0 -1 0"), "-ERR value is out of range, must be positive\r\n");
        assert_eq!(server.run(a, "WAITAOF 0 0 -1"), "-ERR timeout is negative\r\n");
    }

    #[test]
    fn waitaof_ends_with_the_log_that_it_waits_for() {
        let mut server = TestEngine::new();
        let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "SET k v");
        server.run(a, "WAITAOF 1 0 0");
        server.run(b, "WAITAOF 1 1 0");
        server.run(c, "WAITAOF 0 1 100");
        server.engine.stop_journal();
        let refusal = format!("-{}\r\n", super::WAITAOF_WITHOUT_LOG);
        for client in [a, b] {
            assert_eq!(String::from_utf8(server.output(client)).unwrap(), refusal);
            assert_eq!(server.run(client, "WAITAOF 1 0 0"), refusal);
        }
        assert_eq!(server.output(c), b"", "it waits for a replica only");
        server.advance(101);
        assert_eq!(server.output(c), b"*2\r\n:0\r\n:0\r\n");
    }

    #[test]
    fn wait_has_no_replicas_to_wait_for() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "WAIT 0 0"), ":0\r\n");
        assert_eq!(server.run(a, "WAIT 1 100"), "");
        server.advance(99);
        assert_eq!(server.output(a), b"");
        server.advance(1);
        assert_eq!(server.output(a), b":0\r\n");
        assert_eq!(server.run(a, "WAIT x 0"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(server.run(a, "WAIT 1 x"), "-ERR timeout is not an integer or out of range\r\n");
        server.run(a, "MULTI");
        server.run(a, "WAIT 1 0");
        assert_eq!(server.run(a, "EXEC"), "*1\r\n:0\r\n");
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
    }
}
