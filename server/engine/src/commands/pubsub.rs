//! Messages: SUBSCRIBE and its relatives, PUBLISH, PUBSUB.

use crate::args::Args;
use crate::client::{ReplyMode, Slot};
use crate::command::{CHANNEL, COMMAND, Command, Flag, Group, Keys};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::glob;
use crate::pubsub::{Scope, subscribe, unsubscribe};

pub(super) const COMMANDS: &[&Command] = &[
    &PSUBSCRIBE,
    &PUBLISH,
    &PUBSUB,
    &PUNSUBSCRIBE,
    &SPUBLISH,
    &SSUBSCRIBE,
    &SUBSCRIBE,
    &SUNSUBSCRIBE,
    &UNSUBSCRIBE,
];

const SUBSCRIBING: &[Flag] = &[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale];
const PUBLISHING: &[Flag] = &[Flag::PubSub, Flag::Loading, Flag::Stale, Flag::Fast, Flag::MayReplicate];
const LOOKING: &[Flag] = &[Flag::PubSub, Flag::Loading, Flag::Stale];

static SUBSCRIBE: Command = Command {
    name: "subscribe",
    arity: -2,
    group: Group::PubSub,
    since: "2.0.0",
    flags: SUBSCRIBING,
    summary: "Listens to the messages of channels.",
    complexity: "O(N) where N is the number of channels",
    syntax: "channel [channel ...]",
    run: |cx, args| subscribe_all(cx, args, Scope::Channel),
    ..COMMAND
};

static PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    arity: -2,
    group: Group::PubSub,
    since: "2.0.0",
    flags: SUBSCRIBING,
    summary: "Listens to the messages of all channels that match a pattern.",
    complexity: "O(N) where N is the number of patterns",
    syntax: "pattern:pattern [pattern:pattern ...]",
    run: |cx, args| subscribe_all(cx, args, Scope::Pattern),
    ..COMMAND
};

static SSUBSCRIBE: Command = Command {
    name: "ssubscribe",
    arity: -2,
    group: Group::PubSub,
    since: "7.0.0",
    flags: SUBSCRIBING,
    keys: &[Keys::range(1, -1, 1, CHANNEL)],
    summary: "Listens to the messages of shard channels.",
    complexity: "O(N) where N is the number of shard channels",
    syntax: "shardchannel [shardchannel ...]",
    run: |cx, args| subscribe_all(cx, args, Scope::Shard),
    ..COMMAND
};

fn subscribe_all(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> CommandResult {
    // SUBSCRIBE and PSUBSCRIBE in MULTI are allowed for compatibility, though they have several replies.
    if cx.mode.in_script || (cx.mode.in_exec && scope == Scope::Shard) {
        let name = cx.command.full_name.to_uppercase();
        return Err(format!("ERR {name} isn't allowed for a DENY BLOCKING client").into());
    }
    for name in args.from(1) {
        subscribe(cx.shared, cx.client, scope, name);
        confirm(cx, scope, true, Some(name));
    }
    Ok(())
}

static UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    arity: -1,
    group: Group::PubSub,
    since: "2.0.0",
    flags: SUBSCRIBING,
    summary: "Stops listening to channels, or to all.",
    complexity: "O(N) where N is the number of channels",
    syntax: "[channel [channel ...]]",
    run: |cx, args| unsubscribe_all(cx, args, Scope::Channel),
    ..COMMAND
};

static PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    arity: -1,
    group: Group::PubSub,
    since: "2.0.0",
    flags: SUBSCRIBING,
    summary: "Stops listening to patterns, or to all.",
    complexity: "O(N) where N is the number of patterns",
    syntax: "[pattern:pattern [pattern:pattern ...]]",
    run: |cx, args| unsubscribe_all(cx, args, Scope::Pattern),
    ..COMMAND
};

static SUNSUBSCRIBE: Command = Command {
    name: "sunsubscribe",
    arity: -1,
    group: Group::PubSub,
    since: "7.0.0",
    flags: SUBSCRIBING,
    keys: &[Keys::range(1, -1, 1, CHANNEL)],
    summary: "Stops listening to shard channels, or to all.",
    complexity: "O(N) where N is the number of shard channels",
    syntax: "[shardchannel [shardchannel ...]]",
    run: |cx, args| unsubscribe_all(cx, args, Scope::Shard),
    ..COMMAND
};

fn unsubscribe_all(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> CommandResult {
    if args.len() > 1 {
        for name in args.from(1) {
            unsubscribe(cx.shared, cx.client, scope, name);
            confirm(cx, scope, false, Some(name));
        }
        return Ok(());
    }
    let mut names: Vec<Box<[u8]>> = scope.of(&mut cx.client.subscriptions).iter().cloned().collect();
    names.sort_unstable();
    for name in &names {
        unsubscribe(cx.shared, cx.client, scope, name);
        confirm(cx, scope, false, Some(name));
    }
    if names.is_empty() {
        confirm(cx, scope, false, None);
    }
    Ok(())
}

/// Tells the client of a subscription that began or ended, and how many it has. These are messages, which CLIENT
/// REPLY does not turn off.
fn confirm(cx: &mut Context<'_>, scope: Scope, began: bool, name: Option<&[u8]>) {
    let kind: &[u8] = match (scope, began) {
        (Scope::Channel, true) => b"subscribe",
        (Scope::Channel, false) => b"unsubscribe",
        (Scope::Pattern, true) => b"psubscribe",
        (Scope::Pattern, false) => b"punsubscribe",
        (Scope::Shard, true) => b"ssubscribe",
        (Scope::Shard, false) => b"sunsubscribe",
    };
    let subscriptions = &cx.client.subscriptions;
    let count = match scope {
        Scope::Shard => subscriptions.shard_channels.len(),
        Scope::Channel | Scope::Pattern => subscriptions.count(),
    };
    let reply = if cx.client.reply_mode == ReplyMode::On {
        &mut *cx.reply
    } else {
        cx.shared.pushes.resp = cx.reply.resp;
        &mut cx.shared.pushes
    };
    reply.push(3);
    reply.bulk(kind);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

static PUBLISH: Command = Command {
    name: "publish",
    arity: 3,
    group: Group::PubSub,
    since: "2.0.0",
    flags: PUBLISHING,
    summary: "Sends a message to everybody who listens to a channel, and tells how many that were.",
    complexity: "O(N+M) where N is the number of clients that listen and M the number of patterns",
    syntax: "channel message",
    run: publish,
    ..COMMAND
};

fn publish(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let receivers = cx.publish(args.at(1), args.at(2));
    // Those who listen at replicas hear it as well.
    cx.tell_replicas(args.as_slice());
    cx.reply.int(receivers as i64);
    Ok(())
}

static SPUBLISH: Command = Command {
    name: "spublish",
    arity: 3,
    group: Group::PubSub,
    since: "7.0.0",
    flags: PUBLISHING,
    keys: &[Keys::at(1, CHANNEL)],
    summary: "Sends a message to everybody who listens to a shard channel, and tells how many that were.",
    complexity: "O(N) where N is the number of clients that listen",
    syntax: "shardchannel message",
    run: spublish,
    ..COMMAND
};

fn spublish(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let receivers = cx.publish_to_shard(args.at(1), args.at(2));
    cx.tell_replicas(args.as_slice());
    cx.reply.int(receivers as i64);
    Ok(())
}

static PUBSUB: Command = Command {
    name: "pubsub",
    arity: -2,
    group: Group::PubSub,
    since: "2.8.0",
    summary: "Looks at channels and patterns.",
    complexity: "Depends on subcommand.",
    subcommands: &[&CHANNELS, &HELP, &NUMPAT, &NUMSUB, &SHARDCHANNELS, &SHARDNUMSUB],
    ..COMMAND
};

const SUBCOMMAND: Command = Command { group: Group::PubSub, since: "2.8.0", flags: LOOKING, ..COMMAND };

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "6.2.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    run: super::help::help,
    ..SUBCOMMAND
};

static CHANNELS: Command = Command {
    name: "channels",
    arity: -2,
    summary: "Lists the channels that somebody listens to by name.",
    complexity: "O(N) where N is the number of channels",
    syntax: "[pattern:pattern]",
    run: |cx, args| list_channels(cx, args, Scope::Channel),
    ..SUBCOMMAND
};

static SHARDCHANNELS: Command = Command {
    name: "shardchannels",
    arity: -2,
    since: "7.0.0",
    summary: "Lists the shard channels that somebody listens to.",
    complexity: "O(N) where N is the number of shard channels",
    syntax: "[pattern:pattern]",
    run: |cx, args| list_channels(cx, args, Scope::Shard),
    ..SUBCOMMAND
};

fn list_channels(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> CommandResult {
    if args.len() > 3 {
        let name =
            [b"ERR unknown subcommand or wrong number of arguments for '", printed(args.at(1))].concat();
        return Err(CommandError::Bytes([&name, b"'. Try PUBSUB HELP.".as_slice()].concat()));
    }
    let table = match scope {
        Scope::Shard => &cx.shared.pubsub.shard_channels,
        Scope::Channel | Scope::Pattern => &cx.shared.pubsub.channels,
    };
    let wanted = |name: &[u8]| args.get(2).is_none_or(|pattern| glob::matches(pattern, name, false));
    let names: Vec<&[u8]> = table.keys().map(|name| &**name).filter(|name| wanted(name)).collect();
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name);
    }
    Ok(())
}

static NUMSUB: Command = Command {
    name: "numsub",
    arity: -2,
    summary: "Tells how many clients listen to each channel by name.",
    complexity: "O(N) where N is the number of channels",
    syntax: "[channel [channel ...]]",
    run: |cx, args| count_listeners(cx, args, Scope::Channel),
    ..SUBCOMMAND
};

static SHARDNUMSUB: Command = Command {
    name: "shardnumsub",
    arity: -2,
    since: "7.0.0",
    summary: "Tells how many clients listen to each shard channel.",
    complexity: "O(N) where N is the number of shard channels",
    syntax: "[shardchannel [shardchannel ...]]",
    run: |cx, args| count_listeners(cx, args, Scope::Shard),
    ..SUBCOMMAND
};

fn count_listeners(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> CommandResult {
    let names = args.from(2);
    cx.reply.array(names.len() * 2);
    for name in names {
        let listeners =
            cx.shared.pubsub.listeners(scope, name).map_or(0, |slots: &mut Vec<Slot>| slots.len());
        cx.reply.bulk(name);
        cx.reply.int(listeners as i64);
    }
    Ok(())
}

static NUMPAT: Command = Command {
    name: "numpat",
    arity: 2,
    summary: "Tells how many patterns somebody listens to.",
    run: numpat,
    ..SUBCOMMAND
};

fn numpat(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(cx.shared.pubsub.patterns.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn a_message_reaches_listeners_by_name_and_by_pattern_in_their_own_protocol() {
        let mut server = TestEngine::new();
        let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V3));
        assert_eq!(
            server.run(b, "SUBSCRIBE news sport"),
            "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nsport\r\n:2\r\n"
        );
        assert_eq!(server.run(c, "PSUBSCRIBE n*"), ">3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n");
        assert_eq!(server.run(a, "PUBLISH news hello"), ":2\r\n");
        assert_eq!(server.output(b), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        assert_eq!(server.output(c), b">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        assert_eq!(server.run(a, "PUBLISH nothing x"), ":1\r\n");
        assert_eq!(server.run(a, "PUBLISH other x"), ":0\r\n");
        assert_eq!(server.run(a, "PUBSUB CHANNELS s*"), "*1\r\n$5\r\nsport\r\n");
        assert_eq!(server.run(a, "PUBSUB NUMSUB news x"), "*4\r\n$4\r\nnews\r\n:1\r\n$1\r\nx\r\n:0\r\n");
        assert_eq!(server.run(a, "PUBSUB NUMPAT"), ":1\r\n");
    }

    #[test]
    fn unsubscribing_from_everything_names_each_or_nothing() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
        server.run(a, "SUBSCRIBE x y");
        server.run(a, "PSUBSCRIBE p");
        assert_eq!(
            server.run(a, "UNSUBSCRIBE"),
            "*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\ny\r\n:1\r\n"
        );
        assert!(server.run(a, "GET k").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
        assert!(server.run(a, "SLOWLOG RESET").starts_with("-ERR Can't execute 'slowlog|reset'"));
        assert_eq!(server.run(a, "PUNSUBSCRIBE p"), "*3\r\n$12\r\npunsubscribe\r\n$1\r\np\r\n:0\r\n");
        assert_eq!(server.run(a, "GET k"), "$-1\r\n", "back to normal");
    }

    #[test]
    fn shard_channels_are_their_own() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(b, "SSUBSCRIBE c"), "*3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n");
        assert_eq!(server.run(a, "PUBLISH c x"), ":0\r\n");
        assert_eq!(server.run(a, "SPUBLISH c x"), ":1\r\n");
        assert_eq!(server.output(b), b"*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
        assert_eq!(server.run(a, "PUBSUB SHARDCHANNELS"), "*1\r\n$1\r\nc\r\n");
        assert_eq!(server.run(a, "PUBSUB SHARDNUMSUB c"), "*2\r\n$1\r\nc\r\n:1\r\n");
        assert_eq!(server.run(b, "SUNSUBSCRIBE"), "*3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n");
    }

    #[test]
    fn own_messages_follow_the_reply() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V3);
        server.run(a, "SUBSCRIBE c");
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n";
        assert_eq!(server.run(a, "PUBLISH c x"), format!(":1\r\n{message}"));
        server.run(a, "MULTI");
        server.run(a, "PUBLISH c x");
        server.run(a, "PING");
        assert_eq!(server.run(a, "EXEC"), format!("*2\r\n:1\r\n+PONG\r\n{message}"));
    }

    #[test]
    fn an_event_waits_until_its_change_is_released() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "CONFIG SET notify-keyspace-events KEA");
        server.run(b, "PSUBSCRIBE *");
        server.send_held(a, &[b"SET", b"k", b"v"]);
        assert_eq!(server.output(b), b"", "the change could still be lost");
        server.release();
        assert!(String::from_utf8(server.output(b)).unwrap().contains("__keyspace@0__:k"));
    }

    #[test]
    fn a_client_that_leaves_takes_its_subscriptions_with_it() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(b, "SUBSCRIBE c");
        server.run(b, "PSUBSCRIBE p");
        server.run(b, "SSUBSCRIBE s");
        server.engine.disconnect(b);
        assert_eq!(server.run(a, "PUBLISH c x"), ":0\r\n");
        let tables = &server.engine.shared.pubsub;
        assert!(tables.channels.is_empty() && tables.patterns.is_empty() && tables.shard_channels.is_empty());
    }
}
