//! What clients ask a Sentinel: where the master is, and who the replicas and the other Sentinels are. Every node of a
//! cluster answers, for the one group that it is in, under the name `sentinel-master-name`; nobody else is needed. A
//! single server has no such command, as in Redis.

use std::sync::Arc;

use cairn_proto::ReplyWriter;

use crate::args::Args;
use crate::cluster::{ClusterNode, ClusterView};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&Command] = &[&SENTINEL];

static SENTINEL: Command = Command {
    name: "sentinel",
    arity: -2,
    summary: "Tells what a Sentinel would tell of this group.",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &CKQUORUM,
        &GET_MASTER_ADDR_BY_NAME,
        &HELP,
        &MASTER,
        &MASTERS,
        &MYID,
        &REPLICAS,
        &SENTINELS,
        &SLAVES,
    ],
    ..SUBCOMMAND
};

const SUBCOMMAND: Command =
    Command { group: Group::Sentinel, since: "2.8.4", flags: &[Flag::Admin, Flag::ClusterOnly], ..COMMAND };
const OF_A_MASTER: Command = Command { arity: 3, syntax: "master-name", ..SUBCOMMAND };

const NO_SUCH_MASTER: CommandError = CommandError::new("ERR No such master with that name");
const NO_LEADER: CommandError = CommandError::new("CLUSTERDOWN The group has no leader at the moment");

fn view(cx: &Context<'_>) -> CommandResult<Arc<ClusterView>> {
    super::cluster::view(cx)
}

/// The cluster, if argument 2 names it.
fn named(cx: &Context<'_>, args: Args<'_>) -> CommandResult<Arc<ClusterView>> {
    let view = view(cx)?;
    if is_master_name(cx, args) { Ok(view) } else { Err(NO_SUCH_MASTER) }
}

fn is_master_name(cx: &Context<'_>, args: Args<'_>) -> bool {
    args.at(2) == cx.config().sentinel_master_name.as_bytes()
}

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "6.2.0",
    flags: &[Flag::Loading, Flag::Stale, Flag::ClusterOnly],
    summary: "Describes the subcommands.",
    run: super::help::help,
    ..SUBCOMMAND
};

static MYID: Command = Command {
    name: "myid",
    arity: 2,
    since: "6.2.0",
    summary: "Returns the id of this node, in its part as a Sentinel.",
    run: myid,
    ..SUBCOMMAND
};

fn myid(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    cx.reply.bulk(view.me().id.as_bytes());
    Ok(())
}

static GET_MASTER_ADDR_BY_NAME: Command = Command {
    name: "get-master-addr-by-name",
    summary: "Returns the address of the leader; nothing for another name, or while there is none.",
    run: get_master_addr_by_name,
    ..OF_A_MASTER
};

fn get_master_addr_by_name(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    match view.leader_node() {
        Some(leader) if is_master_name(cx, args) => {
            cx.reply.array(2);
            cx.reply.bulk(leader.host.as_bytes());
            cx.reply.bulk_int(i64::from(leader.port));
        }
        _ => cx.reply.null_array(),
    }
    Ok(())
}

static MASTERS: Command = Command {
    name: "masters",
    arity: 2,
    summary: "Returns what MASTER returns, of all masters: of the leader, if there is one.",
    complexity: "O(N) where N is the number of nodes",
    run: masters,
    ..SUBCOMMAND
};

fn masters(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let view = view(cx)?;
    let described = view.leader_node().map(|leader| master_fields(cx, &view, leader));
    cx.reply.array(usize::from(described.is_some()));
    if let Some(fields) = described {
        fields.reply(cx.reply);
    }
    Ok(())
}

static MASTER: Command = Command {
    name: "master",
    summary: "Returns the address and the state of the leader.",
    complexity: "O(N) where N is the number of nodes",
    run: master,
    ..OF_A_MASTER
};

fn master(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = named(cx, args)?;
    let leader = view.leader_node().ok_or(NO_LEADER)?;
    master_fields(cx, &view, leader).reply(cx.reply);
    Ok(())
}

const REPLICAS_OF: Command = Command {
    summary: "Returns the addresses and states of the nodes that do not lead.",
    complexity: "O(N) where N is the number of replicas",
    run: replicas,
    ..OF_A_MASTER
};
static REPLICAS: Command = Command { name: "replicas", since: "5.0.0", ..REPLICAS_OF };
static SLAVES: Command = Command { name: "slaves", since: "2.8.0", ..REPLICAS_OF };

fn replicas(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = named(cx, args)?;
    let leader = view.leader_node().ok_or(NO_LEADER)?;
    cx.reply.array(view.replicas().count());
    for at in view.replicas() {
        replica_fields(cx, &view, leader, at).reply(cx.reply);
    }
    Ok(())
}

static SENTINELS: Command = Command {
    name: "sentinels",
    summary: "Returns the addresses and states of the other nodes, in their part as Sentinels.",
    complexity: "O(N) where N is the number of nodes",
    run: sentinels,
    ..OF_A_MASTER
};

fn sentinels(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let view = named(cx, args)?;
    cx.reply.array(view.nodes.len() - 1);
    for (_, node) in view.nodes.iter().enumerate().filter(|(at, _)| *at != view.myself) {
        sentinel_fields(cx, &view, node).reply(cx.reply);
    }
    Ok(())
}

static CKQUORUM: Command = Command {
    name: "ckquorum",
    summary: "Tells whether enough nodes can be reached to elect a leader.",
    complexity: "O(N) where N is the number of nodes",
    run: ckquorum,
    ..OF_A_MASTER
};

fn ckquorum(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (needed, usable) = named(cx, args)?.quorum();
    if usable < needed {
        return Err(format!(
            "NOQUORUM {usable} usable Sentinels. Not enough available Sentinels to reach the specified quorum for \
             this master. Not enough available Sentinels to reach the majority and authorize a failover"
        )
        .into());
    }
    cx.reply
        .simple(&format!("OK {usable} usable Sentinels. Quorum and failover authorization can be reached"));
    Ok(())
}

/// A node as Sentinel describes it: names and values, all of them texts.
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    /// What Sentinel says of masters, replicas and Sentinels alike.
    fn new(cx: &Context<'_>, name: String, node: &ClusterNode, part: &str) -> Self {
        let silent_ms = node.silent_ms(cx.now_ms());
        let flags = match node.connected {
            true => part.to_owned(),
            false => format!("s_down,{part},disconnected"),
        };
        let mut fields = Self(vec![
            ("name", name),
            ("ip", node.host.clone()),
            ("port", node.port.to_string()),
            ("runid", node.id.clone()),
            ("flags", flags),
        ]);
        fields.add("link-pending-commands", 0);
        fields.add("link-refcount", 1);
        fields.add("last-ping-sent", 0);
        fields.add("last-ok-ping-reply", silent_ms);
        fields.add("last-ping-reply", silent_ms);
        if !node.connected {
            fields.add("s-down-time", silent_ms);
        }
        fields.add("down-after-milliseconds", cx.config().cluster_node_timeout as i64);
        fields
    }

    fn add(&mut self, name: &'static str, value: i64) {
        self.0.push((name, value.to_string()));
    }

    fn role(&mut self, cx: &Context<'_>, node: &ClusterNode, role: &str) {
        self.add("info-refresh", node.silent_ms(cx.now_ms()));
        self.0.push(("role-reported", role.to_owned()));
        self.add("role-reported-time", 0);
    }

    fn reply(self, reply: &mut ReplyWriter) {
        reply.map(self.0.len());
        for (name, value) in self.0 {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

fn master_fields(cx: &Context<'_>, view: &ClusterView, leader: &ClusterNode) -> Fields {
    let name = cx.config().sentinel_master_name.clone();
    let mut fields = Fields::new(cx, name, leader, "master");
    fields.role(cx, leader, "master");
    fields.add("config-epoch", view.raft.term as i64);
    fields.add("num-slaves", view.replicas().count() as i64);
    fields.add("num-other-sentinels", view.nodes.len() as i64 - 1);
    fields.add("quorum", view.quorum().0 as i64);
    fields.add("failover-timeout", cx.config().cluster_node_timeout as i64);
    fields.add("parallel-syncs", 1);
    fields
}

fn replica_fields(cx: &Context<'_>, view: &ClusterView, leader: &ClusterNode, at: usize) -> Fields {
    let node = &view.nodes[at];
    let mut fields = Fields::new(cx, format!("{}:{}", node.host, node.port), node, "slave");
    fields.role(cx, node, "slave");
    let down_ms = if node.connected { 0 } else { node.silent_ms(cx.now_ms()) };
    fields.add("master-link-down-time", down_ms);
    let link = if node.connected { "ok" } else { "err" };
    fields.0.push(("master-link-status", link.to_owned()));
    fields.0.push(("master-host", leader.host.clone()));
    fields.add("master-port", i64::from(leader.port));
    // Redis's way to say that it will never be made the master.
    fields.add("slave-priority", if node.voter { i64::from(cx.config().replica_priority) } else { 0 });
    fields.add("slave-repl-offset", view.offset(at) as i64);
    fields.add("replica-announced", 1);
    fields
}

fn sentinel_fields(cx: &Context<'_>, view: &ClusterView, node: &ClusterNode) -> Fields {
    let mut fields = Fields::new(cx, node.id.clone(), node, "sentinel");
    fields.add("last-hello-message", node.silent_ms(cx.now_ms()));
    let leader = view.leader_node().map_or("?", |leader| &leader.id);
    fields.0.push(("voted-leader", leader.to_owned()));
    fields.add("voted-leader-epoch", view.raft.term as i64);
    fields
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cairn_proto::Resp;

    use crate::config::Config;
    use crate::testing::{TestEngine, three_nodes};

    const ID: [&str; 3] = [
        "0000000000000000000000000000000000000001",
        "0000000000000000000000000000000000000002",
        "0000000000000000000000000000000000000003",
    ];

    /// The maps of texts in a RESP3 reply: one, or an array of them.
    fn maps(reply: &str) -> Vec<BTreeMap<String, String>> {
        let mut maps: Vec<BTreeMap<String, String>> = Vec::new();
        let mut lines = reply.split("\r\n");
        while let Some(line) = lines.next() {
            if let Some(pairs) = line.strip_prefix('%') {
                let mut text = || lines.nth(1).unwrap().to_owned();
                maps.push((0..pairs.parse().unwrap()).map(|_| (text(), text())).collect());
            }
        }
        maps
    }

    #[test]
    fn the_leader_is_found_under_the_name_of_the_group() {
        let config = Config { sentinel_master_name: "shop".to_owned(), ..Config::default() };
        let mut server = TestEngine::with_config(config, 1);
        let a = server.connect(Resp::V2);
        server.host.show(three_nodes(2, Some(1)));
        let address = "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7002\r\n";
        assert_eq!(server.run(a, "SENTINEL get-master-addr-by-name shop"), address);
        assert_eq!(server.run(a, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster"), "*-1\r\n");
        for line in ["MASTER", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM"] {
            let reply = server.run(a, &format!("SENTINEL {line} mymaster"));
            assert_eq!(reply, "-ERR No such master with that name\r\n", "{line}");
        }
        assert_eq!(server.run(a, "SENTINEL MYID"), format!("$40\r\n{}\r\n", ID[2]));
        assert_eq!(
            server.run(a, "SENTINEL NOSUCH"),
            "-ERR unknown subcommand 'NOSUCH'. Try SENTINEL HELP.\r\n"
        );
        assert!(server.run(a, "SENTINEL HELP").contains("+GET-MASTER-ADDR-BY-NAME <master-name>\r\n"));
    }

    #[test]
    fn masters_replicas_and_sentinels_have_the_fields_that_clients_read() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V3);
        let mut view = three_nodes(1, Some(0));
        view.nodes[2].connected = false;
        view.nodes[2].voter = false;
        view.raft.applied = 42;
        server.host.show(view);

        let masters = maps(&server.run(a, "SENTINEL MASTERS"));
        assert_eq!(masters, maps(&server.run(a, "SENTINEL MASTER mymaster")));
        assert_eq!(masters.len(), 1);
        for (field, value) in [
            ("name", "mymaster"),
            ("ip", "127.0.0.1"),
            ("port", "7001"),
            ("runid", ID[0]),
            ("flags", "master"),
            ("role-reported", "master"),
            ("config-epoch", "5"),
            ("num-slaves", "2"),
            ("num-other-sentinels", "2"),
            ("quorum", "2"),
            ("down-after-milliseconds", "1000"),
            ("last-ok-ping-reply", "999"),
        ] {
            assert_eq!(masters[0][field], value, "{field}");
        }

        let replicas = maps(&server.run(a, "SENTINEL REPLICAS mymaster"));
        assert_eq!(replicas, maps(&server.run(a, "SENTINEL SLAVES mymaster")));
        let field = |name: &str| replicas.iter().map(|replica| &*replica[name]).collect::<Vec<_>>();
        assert_eq!(field("name"), ["127.0.0.1:7002", "127.0.0.1:7003"]);
        assert_eq!(field("flags"), ["slave", "s_down,slave,disconnected"]);
        assert_eq!(field("master-link-status"), ["ok", "err"]);
        assert_eq!(field("master-port"), ["7001", "7001"]);
        assert_eq!(field("slave-priority"), ["100", "0"]);
        assert_eq!(field("slave-repl-offset"), ["42", "0"]);

        let sentinels = maps(&server.run(a, "SENTINEL SENTINELS mymaster"));
        let field = |name: &str| sentinels.iter().map(|sentinel| &*sentinel[name]).collect::<Vec<_>>();
        assert_eq!(field("name"), [ID[0], ID[2]], "the others");
        assert_eq!(field("port"), ["7001", "7003"]);
        assert_eq!(field("flags"), ["sentinel", "s_down,sentinel,disconnected"]);
        assert_eq!(field("voted-leader"), [ID[0], ID[0]]);
    }

    #[test]
    fn without_a_leader_there_is_no_master() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.host.show(three_nodes(1, None));
        assert_eq!(server.run(a, "SENTINEL MASTERS"), "*0\r\n");
        assert_eq!(server.run(a, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster"), "*-1\r\n");
        for line in ["SENTINEL MASTER mymaster", "SENTINEL REPLICAS mymaster"] {
            assert!(server.run(a, line).starts_with("-CLUSTERDOWN "), "{line}");
        }
    }

    #[test]
    fn a_quorum_is_a_majority_of_those_who_vote() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let mut view = three_nodes(0, Some(0));
        for (lost, expected) in [
            (None, "+OK 3 usable Sentinels. Quorum and failover authorization can be reached\r\n"),
            (Some(1), "+OK 2 usable Sentinels. Quorum and failover authorization can be reached\r\n"),
            (
                Some(2),
                "-NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this \
                 master. Not enough available Sentinels to reach the majority and authorize a failover\r\n",
            ),
        ] {
            if let Some(lost) = lost {
                view.nodes[lost].connected = false;
            }
            server.host.show(view.clone());
            assert_eq!(server.run(a, "SENTINEL CKQUORUM mymaster"), expected);
        }
    }
}
