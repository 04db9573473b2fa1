//! The connection itself: who is at the other end, which protocol and database it uses.
//!
//! - `auth`: HELLO and AUTH. `client`: CLIENT and its subcommands.

mod auth;
mod client;

use cairn_proto::Resp;

use crate::acl::DEFAULT;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;

pub(crate) use client::{describe, describe_own};

pub(super) const COMMANDS: &[&Command] =
    &[&auth::AUTH, &client::CLIENT, &ECHO, &auth::HELLO, &PING, &QUIT, &RESET, &SELECT];

/// What all connection commands but PING may be used for: before the data is loaded, while it is old.
const ALWAYS: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale];

static PING: Command = Command {
    name: "ping",
    arity: -1,
    group: Group::Connection,
    flags: &[Flag::Fast],
    summary: "Answers PONG, or the message given: is the server there?",
    syntax: "[message]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: ping,
    ..COMMAND
};

fn ping(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(crate::error::CommandError::Arity("ping".to_owned()));
    }
    if cx.reply.resp == Resp::V2 && cx.client.subscriptions.any() {
        // A subscriber of RESP2 can only read messages: the answer looks like one.
        cx.reply.array(2);
        cx.reply.bulk(b"pong");
        cx.reply.bulk(args.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match args.get(1) {
        Some(message) => cx.reply.bulk(message),
        None => cx.reply.simple("PONG"),
    }
    Ok(())
}

static ECHO: Command = Command {
    name: "echo",
    arity: 2,
    group: Group::Connection,
    flags: &[Flag::Loading, Flag::Stale, Flag::Fast],
    summary: "Answers with the message given.",
    syntax: "message",
    run: echo,
    ..COMMAND
};

fn echo(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.reply.bulk(args.at(1));
    Ok(())
}

static QUIT: Command = Command {
    name: "quit",
    arity: -1,
    group: Group::Connection,
    flags: &[Flag::AllowBusy, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth],
    summary: "Closes the connection once all replies have been sent.",
    run: quit,
    ..COMMAND
};

fn quit(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.ok();
    cx.client.close_after_reply = true;
    Ok(())
}

static RESET: Command = Command {
    name: "reset",
    arity: 1,
    group: Group::Connection,
    since: "6.2.0",
    flags: &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy],
    summary: "Makes the connection as if it were new.",
    run: reset,
    ..COMMAND
};

fn reset(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.client.transaction = None;
    cx.shared.forget_client(cx.client);
    cx.client.db = 0;
    cx.keys.select(0);
    cx.reply.resp = Resp::V2;
    // The name of the library stays: it is still the one at the other end.
    cx.client.name.clear();
    cx.client.login = cx.shared.acl.login(DEFAULT);
    cx.client.authenticated = cx.shared.acl.default_is_open();
    cx.client.reply_mode = Default::default();
    cx.client.no_evict = false;
    cx.client.no_touch = false;
    cx.client.readonly = false;
    cx.reply.simple("RESET");
    Ok(())
}

static SELECT: Command = Command {
    name: "select",
    arity: 2,
    group: Group::Connection,
    flags: &[Flag::Loading, Flag::Stale, Flag::Fast],
    summary: "Changes the database that the connection works on.",
    syntax: "index:integer",
    run: select,
    ..COMMAND
};

fn select(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let db = usize::try_from(args.int32(1)?).ok().filter(|&db| db < cx.keys.dbs().len());
    let db = db.ok_or(crate::error::CommandError::new("ERR DB index is out of range"))?;
    cx.client.db = db;
    cx.keys.select(db);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn ping_of_a_resp2_subscriber_looks_like_a_message() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V3));
        assert_eq!(server.run(a, "PING"), "+PONG\r\n");
        assert_eq!(server.run(a, "PING hi"), "$2\r\nhi\r\n");
        assert_eq!(server.run(a, "PING a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
        server.run(a, "SUBSCRIBE c");
        server.run(b, "SUBSCRIBE c");
        assert_eq!(server.run(a, "PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        assert_eq!(server.run(a, "PING hi"), "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
        assert_eq!(server.run(b, "PING"), "+PONG\r\n");
    }

    #[test]
    fn each_connection_has_its_own_database() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(a, "SELECT 3"), "+OK\r\n");
        server.run(a, "SET k v");
        assert_eq!(server.run(b, "GET k"), "$-1\r\n");
        assert_eq!(server.run(a, "GET k"), "$1\r\nv\r\n");
        assert_eq!(server.run(a, "SELECT 16"), "-ERR DB index is out of range\r\n");
        assert_eq!(server.run(a, "SELECT -1"), "-ERR DB index is out of range\r\n");
        assert_eq!(server.run(a, "SELECT 1.5"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(server.run(a, "GET k"), "$1\r\nv\r\n", "it stays where it was");
    }

    #[test]
    fn quit_closes_after_its_reply() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "QUIT"), "+OK\r\n");
        assert!(!server.engine.accepts_commands(a));
        assert!(server.engine.client(a).unwrap().state.close_after_reply);
    }

    #[test]
    fn reset_makes_a_connection_new() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V3);
        for line in ["CLIENT SETNAME n", "SELECT 2", "WATCH k", "SUBSCRIBE c", "CLIENT NO-TOUCH ON", "MULTI"]
        {
            server.run(a, line);
        }
        assert_eq!(server.run(a, "RESET"), "+RESET\r\n");
        assert_eq!(server.run(a, "CLIENT GETNAME"), "$-1\r\n");
        assert_eq!(server.run(a, "EXEC"), "-ERR EXEC without MULTI\r\n");
        assert_eq!(server.run(a, "PUBSUB NUMSUB c"), "*2\r\n$1\r\nc\r\n:0\r\n");
        let state = &server.engine.client(a).unwrap().state;
        assert_eq!((state.db, state.no_touch, state.watched.len()), (0, false, 0));
        assert!(server.engine.shared.watchers.is_empty());
    }

    #[test]
    fn http_is_not_answered() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "POST / HTTP/1.1"), "");
        assert!(server.engine.client(a).unwrap().state.close_now);
    }
}
