//! MULTI, EXEC and WATCH. The dispatcher queues; here a queue is opened, run and thrown away.

use cairn_planted::planted;

use crate::acl::log::Setting;
use crate::acl::selector::Denial;
use crate::args::Args;
use crate::client::WatchedKey;
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA};
use crate::context::Context;
use crate::dispatch;
use crate::error::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&Command] = &[&DISCARD, &EXEC, &MULTI, &UNWATCH, &WATCH];

const FLAGS: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy];

static MULTI: Command = Command {
    name: "multi",
    arity: 1,
    group: Group::Transactions,
    since: "1.2.0",
    flags: FLAGS,
    summary: "Begins a transaction: the commands that follow are kept until EXEC.",
    run: multi,
    ..COMMAND
};

fn multi(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if cx.client.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    cx.client.transaction = Some(Box::default());
    cx.reply.ok();
    Ok(())
}

static DISCARD: Command = Command {
    name: "discard",
    arity: 1,
    group: Group::Transactions,
    since: "2.0.0",
    flags: FLAGS,
    summary: "Throws the transaction away.",
    complexity: "O(N) where N is the number of commands kept",
    run: discard,
    ..COMMAND
};

fn discard(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if cx.client.transaction.take().is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    cx.shared.forget_watches(cx.client);
    cx.reply.ok();
    Ok(())
}

static EXEC: Command = Command {
    name: "exec",
    arity: 1,
    group: Group::Transactions,
    since: "1.2.0",
    flags: &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::SkipSlowlog],
    summary: "Runs the commands of the transaction, all as one.",
    complexity: "Depends on the commands of the transaction",
    run: exec,
    ..COMMAND
};

fn exec(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let Some(transaction) = cx.client.transaction.take() else {
        return Err("ERR EXEC without MULTI".into());
    };
    expire_watched(cx);
    let changed = cx.client.watch_broken;
    cx.shared.forget_watches(cx.client);
    if transaction.broken {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    if changed && planted!(FailedExecLogged) {
        transaction.commands.iter().for_each(|(_, args)| cx.log(&args.slices()));
    }
    if changed {
        // It tells of somebody's change, which may not be released yet.
        cx.depends_on_everything();
        cx.reply.null_array();
        return Ok(());
    }
    cx.reply.array(transaction.commands.len());
    let mode = cx.nested_mode(true, false);
    for (command, args) in &transaction.commands {
        let start = cx.reply.out.end();
        let slices = args.slices();
        let args = Args::new(&slices);
        let allowed = cx.check_permissions_for(command, args, Setting::Multi).map_err(no_longer_allowed);
        if let Err(error) = allowed.and_then(|()| cx.call(command, args, mode)) {
            // An error of one command is its reply; the others run.
            dispatch::refuse_reply(cx, start, &error);
        }
        if cx.client.primary && cx.client.close_now {
            // What has run cannot be taken back: this state is at no point of the primary's stream, and needs all of the data.
            crate::following::lose_place(cx.shared);
            break;
        }
    }
    Ok(())
}

/// The refusal of a command that could be queued.
fn no_longer_allowed(denial: Denial) -> CommandError {
    let reason = match denial {
        Denial::Command => "no permission to execute the command or subcommand",
        Denial::Key(_) => "no permission to touch the specified keys",
        Denial::Channel(_) => "no permission to access one of the channels used as arguments to the command",
    };
    CommandError::from(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: {reason}"
    ))
}

/// Removes the watched keys whose time has come with nobody having noticed yet, which breaks the WATCH. That EXEC is
/// refused tells of their expiry, so it has to be an effect that the reply waits for.
fn expire_watched(cx: &mut Context<'_>) {
    let selected = cx.keys.selected();
    for WatchedKey { db, key } in cx.client.watched.take() {
        cx.keys.select(db);
        // It may only have been hidden.
        cx.client.watch_broken |= dispatch::expire_if_due(cx, &key);
        cx.client.watched.push(WatchedKey { db, key });
    }
    cx.keys.select(selected);
}

static WATCH: Command = Command {
    name: "watch",
    arity: -2,
    group: Group::Transactions,
    since: "2.2.0",
    flags: FLAGS,
    keys: &[Keys::range(1, -1, 1, METADATA)],
    summary: "Makes the next EXEC run nothing if one of the keys changes before.",
    complexity: "O(1) for every key",
    syntax: "key [key ...]",
    run: watch,
    ..COMMAND
};

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if cx.client.transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    cx.reply.ok();
    if cx.client.watch_broken {
        return Ok(());
    }
    let db = cx.keys.selected();
    for key in args.from(1) {
        let slots = cx.shared.watchers.entry(db, key);
        if !slots.contains(&cx.client.slot) {
            slots.push(cx.client.slot);
            cx.client.watched.push(WatchedKey { db, key: (*key).into() });
        }
    }
    Ok(())
}

static UNWATCH: Command = Command {
    name: "unwatch",
    arity: 1,
    group: Group::Transactions,
    since: "2.2.0",
    flags: FLAGS,
    summary: "Forgets the watched keys.",
    run: unwatch,
    ..COMMAND
};

fn unwatch(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.shared.forget_watches(cx.client);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::error::CommandError;
    use crate::testing::TestEngine;

    #[test]
    fn a_transaction_runs_as_one_batch_with_the_errors_among_its_replies() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "MULTI"), "+OK\r\n");
        for line in ["SET k v", "SELECT 99", "GET k", "SELECT 1", "SET k w"] {
            assert_eq!(server.run(a, line), "+QUEUED\r\n");
        }
        let before = server.batches.len();
        assert_eq!(
            server.run(a, "EXEC"),
            "*5\r\n+OK\r\n-ERR DB index is out of range\r\n$1\r\nv\r\n+OK\r\n+OK\r\n"
        );
        assert_eq!(server.batches.len(), before + 1);
        let mut replica = server.replica();
        let b = replica.connect(Resp::V2);
        assert_eq!(replica.run(b, "GET k"), "$1\r\nv\r\n");
        replica.run(b, "SELECT 1");
        assert_eq!(replica.run(b, "GET k"), "$1\r\nw\r\n");
    }

    #[test]
    fn a_command_that_cannot_be_queued_spoils_the_transaction() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "MULTI");
        server.run(a, "SET k v");
        assert!(server.run(a, "NOSUCH").starts_with("-ERR unknown command"));
        assert_eq!(server.run(a, "SET k w"), "+QUEUED\r\n");
        assert_eq!(server.run(a, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
        assert_eq!(server.run(a, "GET k"), "$-1\r\n");
        assert_eq!(server.run(a, "EXEC"), "-ERR EXEC without MULTI\r\n");
        assert_eq!(server.run(a, "DISCARD"), "-ERR DISCARD without MULTI\r\n");
    }

    #[test]
    fn nested_multi_and_watch_are_errors_that_spoil_nothing() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "MULTI"), "-ERR MULTI calls can not be nested\r\n");
        assert_eq!(server.run(a, "WATCH k"), "-ERR WATCH inside MULTI is not allowed\r\n");
        server.run(a, "PING");
        assert_eq!(server.run(a, "EXEC"), "*1\r\n+PONG\r\n");
    }

    #[test]
    fn a_change_of_a_watched_key_makes_exec_run_nothing() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        for (change, expected) in [
            ("SET k v", "*-1\r\n"),
            ("SET other v", "*1\r\n+PONG\r\n"),
            ("FLUSHALL", "*-1\r\n"),
            ("GET k", "*1\r\n+PONG\r\n"),
        ] {
            server.run(a, "WATCH k");
            server.run(b, change);
            server.run(a, "MULTI");
            server.run(a, "PING");
            assert_eq!(server.run(a, "EXEC"), expected, "{change}");
        }
        server.run(a, "WATCH k");
        server.run(b, "SET k v");
        server.run(a, "UNWATCH");
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "EXEC"), "*0\r\n");
        server.run(a, "WATCH k");
        server.run(a, "SET k own");
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "EXEC"), "*-1\r\n", "its own change counts");
        assert!(server.engine.shared.watchers.is_empty());
    }

    #[test]
    fn flushing_a_database_without_the_watched_key_changes_nothing() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(b, "SET other v");
        server.run(a, "WATCH k");
        server.run(b, "FLUSHDB");
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "EXEC"), "*0\r\n");
    }

    #[test]
    fn a_watched_key_whose_time_has_come_makes_exec_run_nothing() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SET k v");
        server.engine.keys.select(0);
        server.engine.keys.set_expire(b"k", server.now_ms + 10);
        server.run(a, "WATCH k");
        server.now_ms += 20;
        server.run(a, "MULTI");
        server.run(a, "PING");
        assert_eq!(server.run(a, "EXEC"), "*-1\r\n");
        // Somebody has seen now that it has expired: it is an effect, and stays so.
        let mut replica = server.replica();
        let b = replica.connect(Resp::V2);
        assert_eq!(replica.run(b, "DBSIZE"), ":0\r\n");
        // A key that had expired already when WATCH came is just not there.
        server.run(a, "WATCH k");
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "EXEC"), "*0\r\n");
    }

    #[test]
    fn an_exec_refused_for_an_expiry_waits_for_the_expiry_to_be_released() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "SELECT 1");
        server.run(a, "SET k v PX 10");
        server.run(a, "WATCH k");
        server.run(a, "SELECT 2");
        server.run(a, "MULTI");
        server.now_ms += 20;
        let before = server.batches.len();
        server.send_held(a, &[b"EXEC"]);
        assert_eq!(server.batches.len(), before + 1, "the key goes");
        assert_eq!(server.output(a), b"");
        server.release();
        assert_eq!(server.output(a), b"*-1\r\n");
        assert_eq!(server.run(a, "SELECT 1"), "+OK\r\n");
        assert_eq!(server.run(a, "DBSIZE"), ":0\r\n");
        assert!(server.engine.shared.watchers.is_empty());
    }

    #[test]
    fn exec_is_refused_for_what_it_would_do() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let refusal = CommandError::new("MISCONF no disk");
        server.run(a, "MULTI");
        server.run(a, "SET k v");
        server.engine.shared.write_refusal = Some(refusal.clone());
        assert_eq!(server.run(a, "EXEC"), "-EXECABORT Transaction discarded because of: MISCONF no disk\r\n");
        assert_eq!(server.run(a, "PING"), "-MISCONF no disk\r\n");
        server.run(a, "MULTI");
        server.run(a, "GET k");
        assert_eq!(server.run(a, "EXEC"), "*1\r\n$-1\r\n", "reads may go on");
        server.engine.shared.write_refusal = None;

        server.run(a, "MULTI");
        server.run(a, "SET k v");
        server.host.used_memory = 2;
        server.engine.shared.config.maxmemory = 1;
        let oom = "OOM command not allowed when used memory > 'maxmemory'.";
        assert_eq!(server.run(a, "GET k"), format!("-{oom}\r\n"), "the queue takes memory");
        assert_eq!(server.run(a, "EXEC"), format!("-EXECABORT Transaction discarded because of: {oom}\r\n"));
        assert_eq!(server.run(a, "GET k"), "$-1\r\n");
    }

    #[test]
    fn exec_with_arguments_ends_the_transaction() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "MULTI");
        assert_eq!(
            server.run(a, "EXEC now"),
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"
        );
        assert_eq!(server.run(a, "EXEC"), "-ERR EXEC without MULTI\r\n");
    }

    #[test]
    fn a_refused_exec_hides_that_somebody_else_changed_the_key_until_it_is_released() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "WATCH k");
        server.run(a, "MULTI");
        server.send_held(b, &[b"SET", b"k", b"v"]);
        server.send_held(a, &[b"EXEC"]);
        assert_eq!(server.output(a), b"");
        server.release();
        assert_eq!(server.output(a), b"*-1\r\n");
    }

    #[test]
    fn a_refused_exec_has_no_effects() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        for broken_by in ["SET k other", "FLUSHALL"] {
            server.run(b, "SET k v");
            server.run(a, "WATCH k");
            server.run(a, "MULTI");
            server.run(a, "SET refused 1");
            server.run(b, broken_by);
            assert_eq!(server.effects_of(a, "EXEC"), [] as [String; 0], "WATCH was broken by {broken_by}");
        }
        server.run(a, "MULTI");
        server.run(a, "SET refused 1");
        server.run(a, "NOSUCH");
        assert_eq!(server.effects_of(a, "EXEC"), [] as [String; 0], "a command could not be queued");
        let mut replica = server.replica();
        let c = replica.connect(Resp::V2);
        assert_eq!(replica.run(c, "EXISTS refused"), ":0\r\n");
    }
}
