//! Who is in the cluster and who leads it. The engine checks what it can see; the host does the work, on the leader if
//! need be, and answers when it is done.

use super::{ADMIN_FLAGS, SUBCOMMAND, known_node, view};
use crate::args::{Args, parse_i64};
use crate::client::TimeoutReply;
use crate::cluster::{ClusterRequest, ClusterView};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::Request;

/// From a node's port for clients to its port for other nodes, unless told otherwise.
const CLUSTER_PORT_OFFSET: u16 = 10_000;

/// Hands the request to the host; the client waits for its answer.
fn ask(cx: &mut Context<'_>, request: ClusterRequest) -> CommandResult {
    if !cx.may_block() {
        return Err(
            "ERR the answer takes time, so that this is not possible in a transaction or script".into()
        );
    }
    cx.host.request(Request::Cluster { client: cx.client.slot, request });
    cx.block_on_host(None, TimeoutReply::Null);
    Ok(())
}

pub(super) static MEET: Command = Command {
    name: "meet",
    arity: -4,
    flags: ADMIN_FLAGS,
    summary: "Takes an empty node into the group; answers once it has caught up and may vote.",
    complexity: "O(N) where N is the size of the data",
    syntax: "ip port:integer [cluster-bus-port:integer]",
    run: meet,
    ..SUBCOMMAND
};

fn meet(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    view(cx)?;
    if args.len() > 5 {
        return Err(wrong_arguments(args));
    }
    let number = |at: usize, which: &str| {
        let invalid = [b"ERR Invalid ", which.as_bytes(), b" port specified: ", args.at(at)].concat();
        parse_i64(args.at(at)).ok_or(CommandError::Bytes(invalid))
    };
    let port = number(3, "base")?;
    let cluster_port = match args.len() {
        5 => number(4, "bus")?,
        _ => port.saturating_add(i64::from(CLUSTER_PORT_OFFSET)),
    };
    let valid = |port: i64| u16::try_from(port).ok().filter(|port| *port != 0);
    let host = std::str::from_utf8(args.at(2)).ok().filter(|host| !host.is_empty());
    let (Some(host), Some(port), Some(cluster_port)) = (host, valid(port), valid(cluster_port)) else {
        return Err(CommandError::Bytes(
            [b"ERR Invalid node address specified: ", args.at(2), b":", args.at(3)].concat(),
        ));
    };
    ask(cx, ClusterRequest::Meet { host: host.to_owned(), port, cluster_port })
}

pub(super) static FORGET: Command = Command {
    name: "forget",
    arity: 3,
    flags: ADMIN_FLAGS,
    summary: "Removes a node from the group: any of them, the leader and this one included.",
    syntax: "node-id",
    run: forget,
    ..SUBCOMMAND
};

fn forget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let at = known_node(&view, args, 2)?;
    if view.nodes.len() == 1 {
        return Err("ERR the last node of a group cannot be removed from it".into());
    }
    ask(cx, ClusterRequest::Forget { id: view.nodes[at].id.clone() })
}

pub(super) static SAVECONFIG: Command = Command {
    name: "saveconfig",
    arity: 2,
    flags: ADMIN_FLAGS,
    summary: "Does nothing: who is in the group is in its log, on the disk before anybody acts on it.",
    run: saveconfig,
    ..SUBCOMMAND
};

fn saveconfig(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.reply.ok();
    Ok(())
}

pub(super) static FAILOVER: Command = Command {
    name: "failover",
    arity: -2,
    flags: ADMIN_FLAGS,
    summary: "Makes this replica the leader; FORCE: even if it has to be elected without the old leader's help.",
    syntax: "[FORCE | TAKEOVER]",
    run: cluster_failover,
    ..SUBCOMMAND
};

fn cluster_failover(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    if args.len() > 3 {
        return Err(wrong_arguments(args));
    }
    let force = match args.len() {
        2 => false,
        _ if args.is(2, "force") => true,
        _ if args.is(2, "takeover") => {
            return Err(
                "ERR a leader without a majority could lose writes: use CLUSTER FAILOVER FORCE".into()
            );
        }
        _ => return Err(CommandError::Syntax),
    };
    if view.leads() {
        return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
    }
    let me = view.me();
    if !me.voter {
        return Err("ERR this node may not lead yet: it is catching up".into());
    }
    if !force && !view.leader_node().is_some_and(|leader| leader.connected) {
        return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
    }
    let to = Some((me.host.clone(), me.port));
    ask(cx, ClusterRequest::Failover { to, force, timeout_ms: 0 })
}

pub(super) static FAILOVER_COMMAND: Command = Command {
    name: "failover",
    arity: -1,
    group: Group::Server,
    since: "6.2.0",
    flags: &[Flag::Admin, Flag::NoScript, Flag::Stale],
    summary: "Hands the lead over to another node, which gets every write first.",
    syntax: "[TO host port:integer [FORCE]] [ABORT] [TIMEOUT milliseconds:integer]",
    run: failover,
    ..COMMAND
};

#[derive(Default)]
struct Failover<'a> {
    to: Option<(&'a [u8], i64)>,
    force: bool,
    timeout_ms: Option<u64>,
}

impl<'a> Failover<'a> {
    fn parse(args: Args<'a>) -> CommandResult<Self> {
        let mut this = Self::default();
        let mut at = 1;
        while at < args.len() {
            let left = args.len() - 1 - at;
            if args.is(at, "timeout") && left >= 1 && this.timeout_ms.is_none() {
                let ms = u64::try_from(args.int(at + 1)?).ok().filter(|ms| *ms > 0);
                let positive = CommandError::new("ERR FAILOVER timeout must be greater than 0");
                this.timeout_ms = Some(ms.ok_or(positive)?);
                at += 2;
            } else if args.is(at, "to") && left >= 2 && this.to.is_none() {
                this.to = Some((args.at(at + 1), args.int(at + 2)?));
                at += 3;
            } else if args.is(at, "force") && !this.force {
                this.force = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(this)
    }
}

fn failover(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = cx.host.cluster();
    if args.len() == 2 && args.is(1, "abort") {
        return match view {
            Some(_) => ask(cx, ClusterRequest::FailoverAbort),
            None => Err("ERR No failover in progress.".into()),
        };
    }
    let wanted = Failover::parse(args)?;
    let Some(view) = view.filter(|view| view.nodes.len() > 1) else {
        return Err("ERR FAILOVER requires connected replicas.".into());
    };
    if wanted.force && (wanted.timeout_ms.is_none() || wanted.to.is_none()) {
        return Err("ERR FAILOVER with force option requires both a timeout and target HOST and IP.".into());
    }
    let to = wanted.to.map(|(host, port)| target(&view, host, port)).transpose()?;
    let timeout_ms = wanted.timeout_ms.unwrap_or(0);
    ask(cx, ClusterRequest::Failover { to, force: wanted.force, timeout_ms })
}

/// The node that is to lead, if it can.
fn target(view: &ClusterView, host: &[u8], port: i64) -> CommandResult<(String, u16)> {
    let is = |at: &usize| {
        let node = &view.nodes[*at];
        node.host.as_bytes().eq_ignore_ascii_case(host)
            && [node.port, node.tls_port].map(i64::from).contains(&port)
            && port != 0
    };
    let Some(at) = view.replicas().find(is) else {
        return Err("ERR FAILOVER target HOST and PORT is not a replica.".into());
    };
    let node = &view.nodes[at];
    if !(node.connected && node.voter) {
        return Err("ERR FAILOVER target replica is not online.".into());
    }
    Ok((node.host.clone(), node.port))
}

/// More arguments than the subcommand takes, although its arity allows them.
fn wrong_arguments(args: Args<'_>) -> CommandError {
    let name = &args.at(1)[..args.at(1).len().min(128)];
    let text = [b"ERR unknown subcommand or wrong number of arguments for '", name, b"'. Try CLUSTER HELP."];
    CommandError::Bytes(text.concat())
}
