//! REPLICAOF: following another server by hand, and what a server that does so says of itself.

use cairn_proto::ReplyWriter;

use super::info::Text;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::following::{Following, Link};
use crate::host::{LogLevel, Request};

pub(super) static REPLICAOF: Command = Command {
    name: "replicaof",
    since: "5.0.0",
    summary: "Makes this server a replica of another, whose data replaces its own, or a master again.",
    ..FOLLOW
};

pub(super) static SLAVEOF: Command =
    Command { name: "slaveof", since: "1.0.0", summary: "The old name of REPLICAOF.", ..FOLLOW };

const FOLLOW: Command = Command {
    arity: 3,
    group: Group::Server,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Stale, Flag::NoAsyncLoading],
    syntax: "<host:string port:integer | NO ONE>",
    run: replicaof,
    ..COMMAND
};

fn replicaof(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if cx.host.cluster().is_some() {
        return Err("ERR REPLICAOF not allowed in cluster mode.".into());
    }
    if args.is(1, "no") && args.is(2, "one") {
        if cx.shared.following.is_some() {
            cx.shared.follow_nobody();
            cx.host.request(Request::Follow);
            log(cx, "this server follows nobody any more");
        }
        cx.reply.ok();
        return Ok(());
    }
    if cx.client.is_fed() {
        return Err("ERR Command is not valid when client is a replica.".into());
    }
    let Ok(port @ 0..=65535) = args.int(2) else { return Err("ERR Invalid master port".into()) };
    let host = String::from_utf8_lossy(args.at(1)).into_owned();
    if host.contains(char::is_whitespace) || host.is_empty() {
        return Err("ERR Invalid master host".into());
    }
    let port = port as u16;
    if let Some(following) = &cx.shared.following
        && following.host.eq_ignore_ascii_case(&host)
        && following.port == port
    {
        cx.reply.simple("OK Already connected to specified master");
        return Ok(());
    }
    cx.shared.follow(&host, port);
    cx.host.request(Request::Follow);
    log(cx, &format!("this server follows {host}:{port}"));
    cx.reply.ok();
    Ok(())
}

fn log(cx: &Context<'_>, what: &str) {
    let by = &cx.client.info.address;
    cx.host.log(LogLevel::Notice, &format!("{what} (asked for by client id={} addr={by})", cx.client.id));
}

/// ROLE.
pub(super) fn role(following: &Following, reply: &mut ReplyWriter) {
    reply.array(5);
    reply.bulk(b"slave");
    reply.bulk(following.host.as_bytes());
    reply.int(i64::from(following.port));
    reply.bulk(following.link.name().as_bytes());
    let up = following.history.as_ref().filter(|_| following.link == Link::Up);
    reply.int(up.map_or(-1, |history| history.offset as i64));
}

/// The fields of INFO that only a replica has.
pub(super) fn describe(text: &mut Text, cx: &Context<'_>, following: &Following) {
    let now_ms = cx.now_ms();
    let up = following.link == Link::Up;
    let silent_s = if up { ((now_ms - following.last_io_ms) / 1000).max(0) } else { -1 };
    text.field("role", "slave");
    text.field("master_host", &following.host);
    text.field("master_port", following.port);
    text.field("master_link_status", if up { "up" } else { "down" });
    text.field("master_last_io_seconds_ago", silent_s);
    text.field("master_sync_in_progress", u8::from(following.link == Link::Sync));
    // Redis's figure when there has been no primary yet.
    let (read, executed) =
        following.history.as_ref().map_or((1, 1), |history| (following.read_to, history.offset));
    text.field("slave_read_repl_offset", read);
    text.field("slave_repl_offset", executed);
    if let Some(transfer) = following.transfer.filter(|_| following.link == Link::Sync) {
        let percent =
            if transfer.total > 0 { transfer.read as f64 * 100.0 / transfer.total as f64 } else { 0.0 };
        text.field("master_sync_total_bytes", transfer.total);
        text.field("master_sync_read_bytes", transfer.read);
        text.field("master_sync_left_bytes", transfer.total as i64 - transfer.read as i64);
        text.field("master_sync_perc", format_args!("{percent:.2}"));
        text.field("master_sync_last_io_seconds_ago", ((now_ms - transfer.last_io_ms) / 1000).max(0));
    }
    if !up {
        let down_s = following.down_since_ms.map_or(-1, |since_ms| (now_ms - since_ms) / 1000);
        text.field("master_link_down_since_seconds", down_s);
    }
    text.field("slave_priority", cx.config().replica_priority);
    text.field("slave_read_only", u8::from(cx.config().replica_read_only));
    text.field("replica_announced", u8::from(cx.config().replica_announced));
}
