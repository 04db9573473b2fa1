//! CLIENT LIST and INFO: a line of text for each connection.

use std::fmt::Write;

use cairn_proto::{ReplyWriter, Resp};

use super::tracking::redirection;
use super::{ADMIN_FLAGS, SUBCOMMAND};
use crate::args::Args;
use crate::client::{Client, ClientClass, ClientState};
use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::limits::unread_bytes;
use crate::tracking::TrackingMode;

pub(super) static INFO: Command = Command {
    name: "info",
    arity: 2,
    since: "6.2.0",
    summary: "Describes this connection.",
    tips: &["nondeterministic_output"],
    run: info,
    ..SUBCOMMAND
};

fn info(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let mut text = describe_own(cx);
    text.push('\n');
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) static LIST: Command = Command {
    name: "list",
    arity: -2,
    flags: ADMIN_FLAGS,
    since: "2.4.0",
    summary: "Describes all connections, or some of them.",
    complexity: "O(N) where N is the number of clients",
    syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id:integer [client-id:integer ...]]",
    tips: &["nondeterministic_output"],
    run: list,
    ..SUBCOMMAND
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut class = None;
    match args.from(2) {
        [] => {}
        [option, name] if option.eq_ignore_ascii_case(b"type") => class = Some(parse_class(name)?),
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            for id in ids {
                let id = crate::args::parse_i64(id).ok_or(CommandError::new("ERR Invalid client ID"))?;
                // In the order asked for, and as often.
                let place = lines.len() as u64;
                if let Some(line) = u64::try_from(id).ok().and_then(|id| describe_by_id(cx, id)) {
                    lines.push((place, line));
                }
            }
            return write(cx, lines);
        }
        _ => return Err(CommandError::Syntax),
    }
    let listed =
        |state: &ClientState| !state.close_now && class.is_none_or(|class| class == Some(state.class()));
    let now_ms = cx.now_ms();
    for (_, client) in &cx.shared.clients {
        if let Some(client) = client.as_deref().filter(|client| listed(&client.state)) {
            lines.push((client.state.id, describe(client, now_ms, 0)));
        }
    }
    if listed(cx.client) {
        lines.push((cx.client.id, describe_own(cx)));
    }
    write(cx, lines)
}

fn write(cx: &mut Context<'_>, mut lines: Vec<(u64, String)>) -> CommandResult {
    lines.sort_by_key(|&(order, _)| order);
    let mut text = String::new();
    for (_, line) in lines {
        text.push_str(&line);
        text.push('\n');
    }
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

/// A class of clients by the name that LIST and KILL give it; a class that has no members here is `None`.
pub(super) fn parse_class(name: &[u8]) -> CommandResult<Option<ClientClass>> {
    let classes = [
        ("normal", Some(ClientClass::Normal)),
        ("pubsub", Some(ClientClass::PubSub)),
        ("replica", Some(ClientClass::Replica)),
        ("slave", Some(ClientClass::Replica)),
        ("master", Some(ClientClass::Primary)),
        ("primary", Some(ClientClass::Primary)),
    ];
    let found = classes.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    let Some((_, class)) = found else {
        return Err(CommandError::Bytes([b"ERR Unknown client type '", name, b"'"].concat()));
    };
    Ok(class)
}

fn describe_by_id(cx: &mut Context<'_>, id: u64) -> Option<String> {
    if id == cx.client.id {
        return Some(describe_own(cx));
    }
    let slot = *cx.shared.slots_by_id.get(&id)?;
    let now_ms = cx.now_ms();
    Some(describe(cx.shared.client(slot)?, now_ms, 0))
}

/// The line of CLIENT LIST, without its end, of the client whose command runs.
pub(crate) fn describe_own(cx: &Context<'_>) -> String {
    let argv_bytes = cx.args.iter().map(|arg| arg.len()).sum();
    line(cx.client, cx.reply, cx.now_ms(), argv_bytes, request_bytes(cx.args))
}

/// The line of CLIENT LIST, without its end, of a client whose running command has so many bytes of arguments.
pub(crate) fn describe(client: &Client, now_ms: i64, argv_bytes: usize) -> String {
    line(&client.state, &client.reply, now_ms, argv_bytes, 0)
}

/// The length of the running command as it came, which in Redis is in the query buffer until it is over.
fn request_bytes(args: Args<'_>) -> usize {
    // `*3` or `$12`, with the line's end.
    let head = |count: usize| 1 + count.to_string().len() + 2;
    head(args.len()) + args.iter().map(|arg| head(arg.len()) + arg.len() + 2).sum::<usize>()
}

fn line(
    client: &ClientState,
    reply: &ReplyWriter,
    now_ms: i64,
    argv_bytes: usize,
    request_bytes: usize,
) -> String {
    let seconds_since = |at_ms: i64| (now_ms - at_ms).max(0) / 1000;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (queued, queue_bytes) = match &client.transaction {
        Some(transaction) => (transaction.commands.len() as i64, transaction.memory),
        None => (-1, 0),
    };
    let unread = reply.out.len();
    let unread_bytes = unread_bytes(reply);
    let output_bytes = reply.out.memory();
    let total = client.memory() + argv_bytes + output_bytes;
    let argv_bytes = argv_bytes + client.query_args;
    let mut line = String::with_capacity(512);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
         qbuf={} qbuf-free={} argv-mem={argv_bytes} multi-mem={queue_bytes} rbs={output_bytes} rbp={output_bytes} \
         obl={unread} oll=0 omem={unread_bytes} tot-mem={total} events={} cmd={} user={} redir={} resp={} lib-name={} \
         lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        client.id,
        client.info.address,
        client.info.local_address,
        client.info.fd,
        text(&client.name),
        seconds_since(client.connected_at_ms),
        seconds_since(client.last_command_at_ms),
        flags(client),
        client.db,
        client.subscriptions.channels.len(),
        client.subscriptions.patterns.len(),
        client.subscriptions.shard_channels.len(),
        queued,
        client.watched.len(),
        client.query_buffer + request_bytes,
        client.query_buffer_free,
        if unread > 0 { "rw" } else { "r" },
        client.last_command.map_or("NULL", |command| &command.full_name),
        text(client.login.name()),
        redirection(client.tracking.as_deref()),
        if reply.resp == Resp::V3 { 3 } else { 2 },
        text(&client.library_name),
        text(&client.library_version),
        client.net_input_bytes,
        client.net_output_bytes,
        client.commands,
    );
    line
}

/// The letters of `flags=`, as the manual of CLIENT LIST explains them.
fn flags(client: &ClientState) -> String {
    let tracking = client.tracking.as_deref();
    let letters = [
        ('M', client.primary),
        ('S', client.is_fed()),
        ('O', client.monitor),
        ('P', client.subscriptions.any()),
        ('x', client.transaction.is_some()),
        ('b', client.blocked.is_some()),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|tracking| tracking.redirect_broken)),
        ('B', tracking.is_some_and(|tracking| tracking.mode == TrackingMode::Broadcast)),
        ('d', client.watch_broken),
        ('c', client.close_after_reply),
        ('A', client.close_now),
        ('U', client.info.unix_socket),
        ('r', client.readonly),
        ('e', client.no_evict),
        ('T', client.no_touch),
    ];
    let set: String = letters.into_iter().filter(|&(_, set)| set).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}
