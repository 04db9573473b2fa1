//! What the cluster looks like from this node.

use cairn_proto::ReplyWriter;

use super::{NO_CLUSTER, SUBCOMMAND, known_node, view};
use crate::args::Args;
use crate::cluster::{ClusterNode, ClusterView};
use crate::command::{Command, Flag};
use crate::context::Context;
use crate::error::CommandResult;
use crate::slot;

const CHANGING: &[&str] = &["nondeterministic_output"];
const LAST_SLOT: u16 = slot::SLOTS - 1;
/// A replica that was not heard of for so long is left out of CLUSTER SLOTS: as long as Redis waits by default until it calls a
/// node failed. Not sooner: clients keep just the nodes that they were told of last, and are lost if it was the leader alone,
/// which has heard of nobody yet, and the leader dies.
const FAILED_MS: i64 = 15_000;
/// There is one shard, so that any id which all nodes agree on names it.
const SHARD_ID: &str = "0000000000000000000000000000000000000001";

pub(super) static INFO: Command = Command {
    name: "info",
    arity: 2,
    summary: "Returns the state of the cluster and some figures.",
    tips: CHANGING,
    run: info,
    ..SUBCOMMAND
};

fn info(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let ok = view.is_ok();
    let slots_if = |yes: bool| if yes { slot::SLOTS } else { 0 };
    let term = view.raft.term;
    let text = format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{}\r\ncluster_slots_pfail:0\r\n\
         cluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\ncluster_size:1\r\ncluster_current_epoch:{term}\r\n\
         cluster_my_epoch:{term}\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n",
        if ok { "ok" } else { "fail" },
        slot::SLOTS,
        slots_if(ok),
        slots_if(!ok),
        view.nodes.len(),
    );
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) static NODES: Command = Command {
    name: "nodes",
    arity: 2,
    summary: "Returns a line for each node: id, address, role, link, slots.",
    complexity: "O(N) where N is the number of nodes",
    tips: CHANGING,
    run: nodes,
    ..SUBCOMMAND
};

fn nodes(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let lines: String = (0..view.nodes.len()).map(|at| line(&view, at) + "\n").collect();
    cx.reply.verbatim(b"txt", lines.as_bytes());
    Ok(())
}

/// A node as CLUSTER NODES shows it:
/// `<id> <ip:port@cport> <flags> <master> <ping-sent> <pong-recv> <config-epoch> <link-state> <slots>`.
fn line(view: &ClusterView, at: usize) -> String {
    let node = &view.nodes[at];
    let leads = view.master() == Some(at);
    let flags = [
        ("myself", at == view.myself),
        ("master", leads),
        ("slave", !leads),
        ("fail?", !node.connected),
        // It may not vote yet, let alone lead.
        ("nofailover", !node.voter),
    ];
    let flags: Vec<&str> = flags.into_iter().filter(|&(_, is)| is).map(|(flag, _)| flag).collect();
    let master = match view.master() {
        Some(master) if !leads => &view.nodes[master].id,
        _ => "-",
    };
    let link = if node.connected { "connected" } else { "disconnected" };
    let slots = if leads { format!(" 0-{LAST_SLOT}") } else { String::new() };
    let ClusterNode { id, host, port, cluster_port, heard_at_ms, .. } = node;
    let epoch = view.raft.term;
    format!(
        "{id} {host}:{port}@{cluster_port} {} {master} 0 {heard_at_ms} {epoch} {link}{slots}",
        flags.join(",")
    )
}

const REPLICAS_OF: Command = Command {
    arity: 3,
    flags: &[Flag::Admin, Flag::Stale],
    summary: "Returns the lines of CLUSTER NODES of a master's replicas.",
    complexity: "O(N) where N is the number of replicas",
    syntax: "node-id",
    tips: CHANGING,
    run: replicas,
    ..SUBCOMMAND
};

pub(super) static REPLICAS: Command = Command { name: "replicas", since: "5.0.0", ..REPLICAS_OF };
pub(super) static SLAVES: Command = Command { name: "slaves", ..REPLICAS_OF };

fn replicas(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    if view.master() != Some(known_node(&view, args, 2)?) {
        return Err("ERR The specified node is not a master".into());
    }
    cx.reply.array(view.replicas().count());
    for at in view.replicas() {
        cx.reply.bulk(line(&view, at).as_bytes());
    }
    Ok(())
}

pub(super) static SLOTS: Command = Command {
    name: "slots",
    arity: 2,
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Returns which nodes serve which slots: the leader and its replicas all of them.",
    complexity: "O(N) where N is the number of nodes",
    tips: CHANGING,
    run: slots,
    ..SUBCOMMAND
};

fn slots(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let Some(leader) = view.master().map(|at| &view.nodes[at]) else {
        // There has been no leader yet: nobody serves any slot.
        cx.reply.array(0);
        return Ok(());
    };
    // As in Redis, without replicas that cannot be read from.
    let is_there = |node: &&ClusterNode| node.voter && node.silent_ms(cx.now_ms()) < FAILED_MS;
    let replicas: Vec<&ClusterNode> = view.replicas().map(|at| &view.nodes[at]).filter(is_there).collect();
    cx.reply.array(1);
    cx.reply.array(3 + replicas.len());
    cx.reply.int(0);
    cx.reply.int(i64::from(LAST_SLOT));
    for node in [leader].into_iter().chain(replicas) {
        cx.reply.array(4);
        cx.reply.bulk(node.host.as_bytes());
        cx.reply.int(i64::from(node.port));
        cx.reply.bulk(node.id.as_bytes());
        cx.reply.map(0);
    }
    Ok(())
}

pub(super) static SHARDS: Command = Command {
    name: "shards",
    arity: 2,
    since: "7.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Returns the one shard: its slots and its nodes.",
    complexity: "O(N) where N is the number of nodes",
    tips: CHANGING,
    run: shards,
    ..SUBCOMMAND
};

fn shards(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    // With both ports, whichever way the client came.
    let view = cx.host.cluster().ok_or(NO_CLUSTER)?;
    cx.reply.array(1);
    cx.reply.map(2);
    cx.reply.bulk(b"slots");
    if view.master().is_some() {
        cx.reply.array(2);
        cx.reply.int(0);
        cx.reply.int(i64::from(LAST_SLOT));
    } else {
        cx.reply.array(0);
    }
    cx.reply.bulk(b"nodes");
    cx.reply.array(view.nodes.len());
    // The master first, as clients expect.
    for at in view.master().into_iter().chain(view.replicas()) {
        shard_node(cx.reply, &view, at);
    }
    Ok(())
}

fn shard_node(reply: &mut ReplyWriter, view: &ClusterView, at: usize) {
    let node = &view.nodes[at];
    let text = |reply: &mut ReplyWriter, name: &str, value: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    };
    let plain = Some(("port", node.port)).filter(|_| node.port != node.tls_port);
    let ports = [plain, Some(("tls-port", node.tls_port)).filter(|_| node.tls_port != 0)];
    reply.map(6 + ports.iter().flatten().count());
    text(reply, "id", &node.id);
    for (name, port) in ports.into_iter().flatten() {
        reply.bulk(name.as_bytes());
        reply.int(i64::from(port));
    }
    text(reply, "ip", &node.host);
    text(reply, "endpoint", &node.host);
    text(reply, "role", if view.master() == Some(at) { "master" } else { "replica" });
    reply.bulk(b"replication-offset");
    reply.int(view.offset(at) as i64);
    let health = match node {
        ClusterNode { connected: false, .. } => "fail",
        ClusterNode { voter: false, .. } => "loading",
        _ => "online",
    };
    text(reply, "health", health);
}

pub(super) static LINKS: Command = Command {
    name: "links",
    arity: 2,
    since: "7.0.0",
    summary: "Returns the links of Redis's cluster bus: there is no such bus. INFO raft tells of each peer.",
    complexity: "O(1)",
    tips: CHANGING,
    run: links,
    ..SUBCOMMAND
};

/// An entry would describe a connection of the gossip protocol: its buffers, and which way it was made. Nodes do not
/// gossip here. What one knows of its peers is in CLUSTER NODES and INFO raft.
fn links(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.reply.array(0);
    Ok(())
}

pub(super) static MYID: Command =
    Command { name: "myid", arity: 2, summary: "Returns the id of this node.", run: myid, ..SUBCOMMAND };

fn myid(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    cx.reply.bulk(view.me().id.as_bytes());
    Ok(())
}

pub(super) static MYSHARDID: Command = Command {
    name: "myshardid",
    arity: 2,
    since: "7.2.0",
    summary: "Returns the id of this node's shard: the same on every node.",
    tips: CHANGING,
    run: myshardid,
    ..SUBCOMMAND
};

fn myshardid(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.reply.bulk(SHARD_ID.as_bytes());
    Ok(())
}

pub(super) static COUNT_FAILURE_REPORTS: Command = Command {
    name: "count-failure-reports",
    arity: 3,
    flags: &[Flag::Admin, Flag::Stale],
    summary: "Returns how many nodes report that one has failed: 1 if this one cannot reach it, for nodes do not gossip.",
    complexity: "O(1)",
    syntax: "node-id",
    tips: CHANGING,
    run: count_failure_reports,
    ..SUBCOMMAND
};

fn count_failure_reports(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let node = known_node(&view, args, 2)?;
    cx.reply.int(i64::from(!view.nodes[node].connected));
    Ok(())
}
