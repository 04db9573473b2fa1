//! REPLICAOF: following another server by hand, and what a server that does so says of itself.

use cairn_proto::ReplyWriter;

use super::info::Text;
use super::is_redis_cluster;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::following::{Following, Link};
use crate::host::{LogLevel, Request};

const NOT_IN_CLUSTER: CommandError = CommandError::new("ERR REPLICAOF not allowed in cluster mode.");

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
    let in_cluster = cx.host.cluster().is_some();
    if is_redis_cluster(cx.host) {
        return Err(NOT_IN_CLUSTER);
    }
    if args.is(1, "no") && args.is(2, "one") {
        if in_cluster && cx.shared.replica {
            return Err(
                "ERR the nodes of a cluster elect their leader: use CLUSTER FAILOVER on this node".into()
            );
        }
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
    if in_cluster {
        return Err(NOT_IN_CLUSTER);
    }
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

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::following::{History, Link};
    use crate::host::Request;
    use crate::testing::{TestEngine, three_nodes};

    const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

    #[test]
    fn who_follows_reads_and_does_not_write() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "SET k v");
        server.run(b, "BLPOP list 0");
        assert_eq!(server.run(a, "REPLICAOF 127.0.0.1 7000"), "+OK\r\n");
        assert_eq!(server.host.requests, [Request::Follow]);
        assert!(server.output(b).starts_with(b"-UNBLOCKED force unblock"));
        assert_eq!(server.run(a, "SLAVEOF 127.0.0.1 7000"), "+OK Already connected to specified master\r\n");
        assert_eq!(
            server.run(a, "CONFIG GET replicaof"),
            "*2\r\n$9\r\nreplicaof\r\n$14\r\n127.0.0.1 7000\r\n"
        );
        assert_eq!(server.run(a, "GET k"), "$1\r\nv\r\n");
        assert_eq!(server.run(a, "SET k w"), READONLY);
        server.run(a, "MULTI");
        assert_eq!(server.run(a, "SET k w"), READONLY);
        assert!(server.run(a, "EXEC").starts_with("-EXECABORT "));
        assert!(server.run(a, "ROLE").contains("slave\r\n$9\r\n127.0.0.1\r\n:7000\r\n$7\r\nconnect\r\n:-1"));
        assert!(server.run(a, "INFO replication").contains("role:slave\r\nmaster_host:127.0.0.1"));
        assert!(server.run(a, "WAIT 0 0").starts_with("-ERR WAIT cannot be used with replica instances."));
        assert!(server.run(a, "PSYNC ? -1").starts_with("-NOMASTERLINK "));
        server.run(a, "CONFIG SET replica-serve-stale-data no");
        assert!(server.run(a, "GET k").starts_with("-MASTERDOWN "));
        assert!(server.run(a, "INFO replication").contains("master_link_status:down"));
        assert_eq!(server.run(a, "REPLICAOF NO ONE"), "+OK\r\n");
        assert_eq!(server.run(a, "SET k w"), "+OK\r\n");
        assert_eq!(server.run(a, "REPLICAOF NO ONE"), "+OK\r\n");
    }

    #[test]
    fn the_primary_is_obeyed_and_not_answered() {
        let mut server = TestEngine::new();
        let (a, primary) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "REPLICAOF 127.0.0.1 7000");
        let following = server.engine.shared.following.as_mut().expect("it follows");
        following.link = Link::Up;
        following.history = Some(History { id: "0".repeat(40), offset: 0, db: 0 });
        server.engine.client(primary).expect("it is there").state.primary = true;
        assert_eq!(server.run(primary, "SET k v PX 10"), "");
        server.advance(20);
        assert_eq!(server.run(a, "GET k"), "$-1\r\n", "its time has come");
        assert_eq!(server.run(a, "DBSIZE"), ":1\r\n", "but nobody has removed it");
        assert_eq!(server.run(primary, "APPEND k w"), "", "the primary has it still");
        assert_eq!(server.run(primary, "PERSIST k"), "");
        assert_eq!(server.run(a, "GET k"), "$2\r\nvw\r\n");
        let before = server.batches.len();
        for line in ["MULTI", "SET a 1", "PEXPIREAT a 1", "SELECT 3", "SET b 2"] {
            assert_eq!(server.run(primary, line), "");
        }
        assert_eq!(server.run(a, "EXISTS a"), ":0\r\n");
        assert_eq!(server.run(primary, "EXEC"), "");
        assert_eq!(server.batches.len(), before + 1, "a transaction is one batch");
        assert_eq!(server.run(a, "DBSIZE"), ":2\r\n", "what is over is the primary's to say");
        assert_eq!(server.run(primary, "NOSUCH"), "");
        assert_eq!(server.engine.shared.stats.unexpected_error_replies, 1);
        assert_eq!(server.run(primary, "SELECT 99"), "");
        assert!(server.engine.client(primary).is_none_or(|client| client.state.close_now));
    }

    #[test]
    fn nodes_of_a_cluster_follow_nobody_by_hand() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.host.show(three_nodes(0, Some(1)));
        server.engine.follow();
        assert!(server.run(a, "REPLICAOF NO ONE").contains("CLUSTER FAILOVER"));
        assert_eq!(server.run(a, "REPLICAOF h 1"), "-ERR REPLICAOF not allowed in cluster mode.\r\n");
        server.engine.lead(1);
        assert_eq!(server.run(a, "REPLICAOF NO ONE"), "+OK\r\n");
    }
}
