//! ROLE, and what INFO says of this node's part among others: its sections replication, cluster and raft.
//!
//! The offsets in them are indices of the log, see [`ClusterView::offset`]; those of a single node are bytes of the stream
//! that its replicas are fed.

use super::info::Text;
use crate::args::Args;
use crate::client::{ClientState, FeedStage, Replica};
use crate::cluster::{ClusterNode, ClusterView};
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::host::{Facts, Host};
use crate::shared::Shared;

pub(super) static ROLE: Command = Command {
    name: "role",
    arity: 1,
    group: Group::Server,
    since: "2.8.12",
    flags: &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast],
    categories: &[Category::Admin, Category::Dangerous],
    summary: "Tells whether this node is a master or a replica, and of whom.",
    run: role,
    ..COMMAND
};

fn role(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = cx.cluster();
    let reply = &mut *cx.reply;
    if let Some(following) = &cx.shared.following {
        super::follow::role(following, reply);
        return Ok(());
    }
    let Some(view) = view else {
        reply.array(3);
        reply.bulk(b"master");
        reply.int(cx.shared.effects.fed_offset() as i64);
        let online: Vec<_> =
            fed(cx.shared).filter(|(_, replica)| replica.stage == Some(FeedStage::Online)).collect();
        reply.array(online.len());
        for (client, replica) in online {
            reply.array(3);
            reply.bulk(&address(client, replica));
            reply.bulk_int(i64::from(replica.port));
            reply.bulk_int(replica.acknowledged as i64);
        }
        return Ok(());
    };
    let offset = view.offset(view.myself) as i64;
    if !view.leads() {
        let (host, port) = view.leader_node().map_or(("", 0), |leader| (&*leader.host, leader.port));
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(host.as_bytes());
        reply.int(i64::from(port));
        reply.bulk(if follows(&view) { b"connected".as_slice() } else { b"connect" });
        reply.int(offset);
        return Ok(());
    }
    let replicas: Vec<usize> = online_replicas(&view).collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.int(offset);
    reply.array(replicas.len());
    for at in replicas {
        let node = &view.nodes[at];
        reply.array(3);
        reply.bulk(node.host.as_bytes());
        reply.bulk_int(i64::from(node.port));
        reply.bulk_int(view.offset(at) as i64);
    }
    Ok(())
}

/// What HELLO and INFO call the way in which this server is used. Clients that are told `cluster` expect -MOVED; while
/// every node takes every command, they had better not.
pub(in crate::commands) fn mode(host: &dyn Host) -> &'static str {
    if is_redis_cluster(host) { "cluster" } else { "standalone" }
}

/// Are clients sent to the leader, as the nodes of a Redis cluster send them to each other?
pub(in crate::commands) fn is_redis_cluster(host: &dyn Host) -> bool {
    host.cluster().is_some_and(|view| view.redirect)
}

/// Does this node hear from a leader?
fn follows(view: &ClusterView) -> bool {
    view.leader_node().is_some_and(|leader| leader.connected)
}

fn online_replicas(view: &ClusterView) -> impl Iterator<Item = usize> + '_ {
    view.replicas().filter(|&at| view.nodes[at].connected)
}

/// How many replicas (in a cluster: other nodes that vote) have been heard of within `min-replicas-max-lag`.
fn good_replicas(shared: &Shared, host: &dyn Host) -> usize {
    let lag_ms_max = i64::from(shared.config.min_replicas_max_lag) * 1000;
    let Some(view) = host.cluster() else {
        let good = |replica: &Replica| {
            let silent_ms = shared.now_ms - replica.acknowledged_at_ms;
            replica.stage == Some(FeedStage::Online) && silent_ms <= lag_ms_max
        };
        return fed(shared).filter(|(_, replica)| good(replica)).count();
    };
    let good = |node: &ClusterNode| node.voter && node.silent_ms(shared.now_ms) <= lag_ms_max;
    online_replicas(&view).filter(|&at| good(&view.nodes[at])).count()
}

/// Refuses a write while fewer replicas than `min-replicas-to-write` are in reach.
pub(crate) fn check_replicas(shared: &Shared, host: &dyn Host) -> CommandResult {
    let config = &shared.config;
    let wanted = config.min_replicas_to_write as usize;
    if wanted == 0 || config.min_replicas_max_lag == 0 || good_replicas(shared, host) >= wanted {
        return Ok(());
    }
    Err("NOREPLICAS Not enough good replicas to write.".into())
}

pub(super) fn replication(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    let view = cx.cluster();
    let zeros = "0".repeat(40);
    let (offset, id) = match &view {
        // The history of writes goes on from leader to leader; its name, as in Redis, is the master's.
        Some(view) => (view.offset(view.myself), view.leader_node().map_or(&*zeros, |leader| &leader.id)),
        None => match cx.shared.following.as_ref().and_then(|following| following.history.as_ref()) {
            Some(history) => (history.offset, &*history.id),
            None => (cx.shared.effects.fed_offset(), &*cx.shared.replication_id),
        },
    };
    let former =
        cx.shared.former_history.as_ref().filter(|_| view.is_none() && cx.shared.following.is_none());
    match &view {
        Some(view) if !view.leads() => replica(text, cx, view),
        Some(view) => master(text, cx, view),
        None => {
            match &cx.shared.following {
                Some(following) => super::follow::describe(text, cx, following),
                None => text.field("role", "master"),
            }
            text.field("connected_slaves", cx.shared.replicas.len());
            list_fed(text, cx, "slave");
        }
    }
    if cx.config().min_replicas_to_write > 0 && cx.config().min_replicas_max_lag > 0 {
        text.field("min_slaves_good_slaves", good_replicas(cx.shared, cx.host));
    }
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", id);
    text.field("master_replid2", former.map_or(&*zeros, |(id, _)| id));
    text.field("master_repl_offset", offset);
    text.field("second_repl_offset", former.map_or(-1, |&(_, offset)| offset as i64));
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", cx.config().repl_backlog_size);
    text.field("repl_backlog_first_byte_offset", 0);
    text.field("repl_backlog_histlen", 0);
}

fn master(text: &mut Text, cx: &Context<'_>, view: &ClusterView) {
    text.field("role", "master");
    text.field("connected_slaves", online_replicas(view).count());
    for (number, at) in online_replicas(view).enumerate() {
        let node @ ClusterNode { host, port, .. } = &view.nodes[at];
        // What Redis calls the state of a replica that is still given the data.
        let state = if node.voter { "online" } else { "send_bulk" };
        let (offset, lag_s) = (view.offset(at), node.silent_ms(cx.now_ms()) / 1000);
        text.line(format_args!(
            "slave{number}:ip={host},port={port},state={state},offset={offset},lag={lag_s}"
        ));
    }
    if !cx.shared.replicas.is_empty() {
        // Replicas of Redis's kind are no nodes that anybody could turn to, and count bytes.
        text.field("fed_replicas", cx.shared.replicas.len());
        text.field("fed_offset", cx.shared.effects.fed_offset());
        list_fed(text, cx, "fed");
    }
}

/// The clients that are fed as replicas of Redis's kind.
fn fed(shared: &Shared) -> impl Iterator<Item = (&ClientState, &Replica)> {
    shared.replicas.iter().filter_map(|&slot| {
        let client = &shared.clients.get(slot)?.as_ref()?.state;
        Some((client, client.replica.as_deref()?))
    })
}

/// Where a replica says that it is reached, or where it comes from.
fn address(client: &ClientState, replica: &Replica) -> Vec<u8> {
    let from = client.info.address.rsplit_once(':').map_or("", |(host, _)| host);
    let from = from.trim_start_matches('[').trim_end_matches(']');
    replica.address.clone().filter(|said| !said.is_empty()).unwrap_or_else(|| from.as_bytes().to_vec())
}

/// A line for each of the clients that are fed, `slave0`, `slave1` …
fn list_fed(text: &mut Text, cx: &Context<'_>, name: &str) {
    for (number, (client, replica)) in fed(cx.shared).enumerate() {
        let stage = replica.stage.unwrap_or(FeedStage::Waiting);
        let address = address(client, replica);
        let address = String::from_utf8_lossy(&address);
        let silent_s = (cx.now_ms() - replica.acknowledged_at_ms).max(0) / 1000;
        let lag_s = if stage == FeedStage::Online { silent_s } else { 0 };
        let (port, state, offset) = (replica.port, stage.name(), replica.acknowledged);
        text.line(format_args!(
            "{name}{number}:ip={address},port={port},state={state},offset={offset},lag={lag_s}"
        ));
    }
}

fn replica(text: &mut Text, cx: &Context<'_>, view: &ClusterView) {
    let leader = view.leader_node();
    let silent_s = leader.map_or(-1, |leader| leader.silent_ms(cx.now_ms()) / 1000);
    let up = follows(view);
    text.field("role", "slave");
    text.field("master_host", leader.map_or("", |leader| &leader.host));
    text.field("master_port", leader.map_or(0, |leader| leader.port));
    text.field("master_link_status", if up { "up" } else { "down" });
    text.field("master_last_io_seconds_ago", silent_s);
    text.field("master_sync_in_progress", 0);
    text.field("slave_read_repl_offset", view.raft.last_index);
    text.field("slave_repl_offset", view.offset(view.myself));
    if !up {
        text.field("master_link_down_since_seconds", silent_s);
    }
    text.field("slave_priority", cx.config().replica_priority);
    text.field("slave_read_only", 1);
    text.field("replica_announced", 1);
    text.field("connected_slaves", 0);
}

pub(super) fn cluster(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    text.flag("cluster_enabled", is_redis_cluster(cx.host));
}

/// Cairn's own: the group as its log sees it. Only a node of a cluster has it.
pub(super) fn raft(text: &mut Text, cx: &Context<'_>, _facts: &Facts) {
    let Some(view) = cx.host.cluster() else { return };
    let raft = &view.raft;
    text.field("raft_role", raft.role);
    text.field("raft_id", &view.me().id);
    text.field("raft_leader", view.leader_node().map_or("", |leader| &leader.id));
    text.flag("raft_serving", view.serving);
    for (name, figure) in [
        ("term", raft.term),
        ("last_index", raft.last_index),
        ("committed", raft.committed),
        ("applied", raft.applied),
        ("snapshot", raft.snapshot),
        ("purged", raft.purged),
        ("epoch", raft.epoch),
        ("seq", raft.seq),
        ("lease_ms", raft.lease_ms),
        ("elections_won", raft.elections_won),
        ("leader_changes", raft.leader_changes),
        ("rebuilds", raft.rebuilds),
        ("snapshots_sent", raft.snapshots_sent),
        ("snapshots_received", raft.snapshots_received),
        ("log_queued_bytes", raft.log_queued_bytes),
        ("proposed_bytes", raft.proposed_bytes),
    ] {
        text.field(format_args!("raft_{name}"), figure);
    }
    let (quorum, reachable) = view.quorum();
    text.field("raft_nodes", view.nodes.len());
    text.field("raft_quorum", quorum);
    text.field("raft_reachable_voters", reachable);
    let peers = view.nodes.iter().enumerate().filter(|(at, _)| *at != view.myself);
    for (number, (_, node)) in peers.enumerate() {
        text.field(format_args!("raft_peer{number}"), peer(&view, node, cx.now_ms()));
    }
}

fn peer(view: &ClusterView, node: &ClusterNode, now_ms: i64) -> String {
    let ClusterNode { id, host, port, voter, connected, matched, .. } = node;
    let state = match (connected, voter) {
        (false, _) => "down",
        (true, false) => "catching-up",
        (true, true) => "online",
    };
    // Only the leader knows how far the others are.
    let progress = matched.map_or(String::new(), |matched| {
        format!(",matched={matched},lag_entries={}", view.raft.last_index.saturating_sub(matched))
    });
    let voter = u8::from(*voter);
    let heard = node.silent_ms(now_ms);
    format!("id={id},addr={host}:{port},voter={voter}{progress},heard_ms_ago={heard},state={state}")
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::{TestEngine, three_nodes};

    fn fields<'a>(info: &'a str, prefix: &str) -> Vec<&'a str> {
        info.lines().filter(|line| line.starts_with(prefix)).collect()
    }

    /// A leader at index 100, a replica that is behind and one that is down.
    fn leader() -> TestEngine {
        let mut server = TestEngine::new();
        let mut view = three_nodes(0, Some(0));
        view.raft.last_index = 100;
        view.raft.applied = 99;
        view.nodes[1].matched = Some(90);
        view.nodes[2].matched = Some(40);
        view.nodes[2].connected = false;
        server.host.show(view);
        server
    }

    #[test]
    fn a_leader_is_a_master_with_replicas() {
        let mut server = leader();
        let a = server.connect(Resp::V2);
        assert_eq!(
            server.run(a, "ROLE"),
            "*3\r\n$6\r\nmaster\r\n:100\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n7002\r\n$2\r\n90\r\n"
        );
        let info = server.run(a, "INFO replication");
        for line in [
            "role:master",
            "connected_slaves:1",
            "slave0:ip=127.0.0.1,port=7002,state=online,offset=90,lag=0",
            "master_repl_offset:100",
            "master_replid:0000000000000000000000000000000000000001",
        ] {
            assert!(info.lines().any(|found| found == line), "{line} in\n{info}");
        }
    }

    #[test]
    fn writes_are_refused_while_too_few_replicas_are_in_reach() {
        let refusal = "-NOREPLICAS Not enough good replicas to write.\r\n";
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "MULTI");
        server.run(a, "SET k v");
        let b = server.connect(Resp::V2);
        assert_eq!(server.run(b, "CONFIG SET min-replicas-to-write 1"), "+OK\r\n");
        assert_eq!(
            server.run(a, "EXEC"),
            "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to write.\r\n"
        );
        assert_eq!(server.run(a, "SET k v"), refusal);
        assert_eq!(server.run(a, "GET k"), "$-1\r\n");
        let scripts: [(&[u8], &[u8]); 4] = [
            (b"return redis.call('GET', 'k')", b"$-1\r\n"),
            (b"#!lua flags=no-writes\nreturn redis.call('GET', 'k')", b"$-1\r\n"),
            (b"#!lua\nreturn redis.call('GET', 'k')", refusal.as_bytes()),
            (
                b"return redis.call('SET', 'k', 'v')",
                b"-NOREPLICAS Not enough good replicas to write. script: ",
            ),
        ];
        for (script, expected) in scripts {
            let reply = server.send(a, &[b"EVAL", script, b"0"]);
            assert!(reply.starts_with(expected), "{}", String::from_utf8_lossy(&reply));
        }
        assert_eq!(fields(&server.run(a, "INFO replication"), "min_slaves"), ["min_slaves_good_slaves:0"]);
        server.run(a, "CONFIG SET min-replicas-max-lag 0");
        assert_eq!(server.run(a, "SET k v"), "+OK\r\n", "switched off");
    }

    #[test]
    fn the_other_nodes_of_a_cluster_are_its_replicas() {
        let mut server = leader();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET min-replicas-to-write 1");
        assert_eq!(server.run(a, "SET k v"), "+OK\r\n");
        server.now_ms += 10_000;
        assert!(server.run(a, "SET k v").starts_with("-NOREPLICAS"), "not heard of for eleven seconds");
        server.now_ms -= 10_000;
        server.run(a, "CONFIG SET min-replicas-to-write 2");
        assert!(server.run(a, "SET k v").starts_with("-NOREPLICAS"), "one is down");
    }

    #[test]
    fn a_follower_is_a_replica_of_the_leader() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let mut view = three_nodes(1, Some(0));
        view.raft.last_index = 100;
        view.raft.applied = 99;
        server.host.show(view.clone());
        let role = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7001\r\n$9\r\nconnected\r\n:99\r\n";
        assert_eq!(server.run(a, "ROLE"), role);
        let info = server.run(a, "INFO replication");
        for line in [
            "role:slave",
            "master_host:127.0.0.1",
            "master_port:7001",
            "master_link_status:up",
            "slave_read_repl_offset:100",
            "slave_repl_offset:99",
            "slave_read_only:1",
            "master_repl_offset:99",
        ] {
            assert!(info.lines().any(|found| found == line), "{line} in\n{info}");
        }
        assert_eq!(fields(&info, "master_link_down"), [""; 0]);
        view.nodes[0].connected = false;
        server.host.show(view.clone());
        let info = server.run(a, "INFO replication");
        assert_eq!(fields(&info, "master_link_s"), ["master_link_status:down"]);
        assert_eq!(fields(&info, "master_link_down"), ["master_link_down_since_seconds:0"]);
        view.leader = None;
        server.host.show(view);
        assert_eq!(server.run(a, "ROLE"), "*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n:99\r\n");
        assert_eq!(fields(&server.run(a, "INFO replication"), "master_port"), ["master_port:0"]);
    }

    #[test]
    fn plain_clients_are_not_told_of_a_cluster_unless_they_must_know() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let mut view = three_nodes(1, Some(0));
        for (redirect, enabled, mode) in [(false, "0", "standalone"), (true, "1", "cluster")] {
            view.redirect = redirect;
            server.host.show(view.clone());
            assert_eq!(
                fields(&server.run(a, "INFO cluster"), "cluster_"),
                [format!("cluster_enabled:{enabled}")]
            );
            assert_eq!(fields(&server.run(a, "INFO server"), "redis_mode"), [format!("redis_mode:{mode}")]);
            let hello = server.run(a, "HELLO");
            assert!(hello.contains(&format!("mode\r\n${}\r\n{mode}\r\n", mode.len())), "{hello}");
            assert!(hello.contains("role\r\n$7\r\nreplica\r\n"), "{hello}");
        }
    }

    #[test]
    fn info_raft_tells_of_every_peer() {
        let mut server = leader();
        let a = server.connect(Resp::V2);
        let info = server.run(a, "INFO raft");
        for line in [
            "raft_role:leader",
            "raft_leader:0000000000000000000000000000000000000001",
            "raft_serving:1",
            "raft_term:5",
            "raft_last_index:100",
            "raft_applied:99",
            "raft_quorum:2",
            "raft_reachable_voters:2",
            "raft_peer0:id=0000000000000000000000000000000000000002,addr=127.0.0.1:7002,voter=1,matched=90,\
             lag_entries=10,heard_ms_ago=998,state=online",
            "raft_peer1:id=0000000000000000000000000000000000000003,addr=127.0.0.1:7003,voter=1,matched=40,\
             lag_entries=60,heard_ms_ago=997,state=down",
        ] {
            assert!(info.lines().any(|found| found == line), "{line} in\n{info}");
        }
        assert!(server.run(a, "INFO").contains("\r\n# Raft\r\nraft_role:leader\r\n"));
        server.host.cluster = None;
        assert_eq!(server.run(a, "INFO raft"), "$0\r\n\r\n", "a single server has no such section");
    }

    #[test]
    fn a_single_server_is_a_master_of_nobody() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "ROLE"), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
        assert_eq!(server.run(a, "INFO replication").lines().nth(3), Some("connected_slaves:0"));
    }
}
