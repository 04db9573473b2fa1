use cairn_proto::Resp;

use crate::client::Slot;
use crate::cluster::ClusterRequest;
use crate::host::Request;
use crate::testing::{TestEngine, three_nodes};

const ID: [&str; 3] = [
    "0000000000000000000000000000000000000001",
    "0000000000000000000000000000000000000002",
    "0000000000000000000000000000000000000003",
];

fn node(myself: usize, leader: Option<usize>) -> (TestEngine, Slot) {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    server.host.show(three_nodes(myself, leader));
    (server, client)
}

/// The request that the line leads to; the host answers OK.
fn request(server: &mut TestEngine, client: Slot, line: &str) -> ClusterRequest {
    assert_eq!(server.run(client, line), "", "{line} waits for the host");
    let request = server.host.requests.pop();
    server.engine.answer(client, |reply| reply.ok());
    assert_eq!(server.output(client), b"+OK\r\n");
    match request {
        Some(Request::Cluster { client: who, request }) if who == client => request,
        other => panic!("{line} led to {other:?}"),
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[test]
fn without_a_cluster_there_is_none_to_ask() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    for line in [
        "CLUSTER INFO",
        "CLUSTER KEYSLOT k",
        "CLUSTER HELP",
        "CLUSTER MEET h 1",
        "READONLY",
        "READWRITE",
        "ASKING",
    ] {
        assert_eq!(server.run(a, line), "-ERR This instance has cluster support disabled\r\n", "{line}");
    }
    assert!(server.run(a, "SENTINEL").starts_with("-ERR unknown command 'SENTINEL', with args"));
    assert!(server.run(a, "SENTINEL NOSUCH x").starts_with("-ERR unknown command 'SENTINEL', with args"));
    assert_eq!(server.run(a, "COMMAND INFO sentinel sentinel|masters"), "*2\r\n$-1\r\n$-1\r\n");
    assert_eq!(server.run(a, "COMMAND LIST FILTERBY PATTERN sentinel*"), "*0\r\n");
    assert_eq!(server.run(a, "FAILOVER"), "-ERR FAILOVER requires connected replicas.\r\n");
    assert_eq!(server.run(a, "FAILOVER ABORT"), "-ERR No failover in progress.\r\n");
}

#[test]
fn info_says_whether_the_slots_are_served() {
    let (mut server, a) = node(0, Some(0));
    let info = server.run(a, "CLUSTER INFO");
    for line in [
        "cluster_state:ok",
        "cluster_slots_assigned:16384",
        "cluster_slots_ok:16384",
        "cluster_slots_fail:0",
        "cluster_known_nodes:3",
        "cluster_size:1",
        "cluster_current_epoch:5",
    ] {
        assert!(info.lines().any(|found| found == line), "{line} in\n{info}");
    }
    server.host.show(three_nodes(0, None));
    let info = server.run(a, "CLUSTER INFO");
    for line in ["cluster_state:fail", "cluster_slots_ok:0", "cluster_slots_fail:16384"] {
        assert!(info.lines().any(|found| found == line), "{line} in\n{info}");
    }
}

#[test]
fn nodes_has_a_line_for_each() {
    let (mut server, a) = node(1, Some(0));
    let mut view = three_nodes(1, Some(0));
    view.nodes[2].connected = false;
    server.host.show(view.clone());
    let lines = format!(
        "{} 127.0.0.1:7001@17001 master - 0 1699999999001 5 connected 0-16383\n\
         {} 127.0.0.1:7002@17002 myself,slave {} 0 0 5 connected\n\
         {} 127.0.0.1:7003@17003 slave,fail? {} 0 1699999999003 5 disconnected\n",
        ID[0], ID[1], ID[0], ID[2], ID[0]
    );
    assert_eq!(server.run(a, "CLUSTER NODES"), bulk(&lines));
    let of_leader: Vec<&str> = lines.lines().skip(1).collect();
    let expected = format!("*2\r\n{}{}", bulk(of_leader[0]), bulk(of_leader[1]));
    assert_eq!(server.run(a, &format!("CLUSTER REPLICAS {}", ID[0])), expected);
    assert_eq!(server.run(a, &format!("CLUSTER SLAVES {}", ID[0])), expected);
    assert_eq!(
        server.run(a, &format!("CLUSTER REPLICAS {}", ID[1])),
        "-ERR The specified node is not a master\r\n"
    );
    assert_eq!(server.run(a, "CLUSTER REPLICAS x"), "-ERR Unknown node x\r\n");
    assert_eq!(server.run(a, &format!("CLUSTER COUNT-FAILURE-REPORTS {}", ID[2])), ":1\r\n");
    assert_eq!(server.run(a, &format!("CLUSTER COUNT-FAILURE-REPORTS {}", ID[0])), ":0\r\n");

    view.leader = None;
    view.nodes[2].voter = false;
    server.host.show(view);
    let nodes = server.run(a, "CLUSTER NODES");
    assert!(nodes.contains("myself,slave - 0 0 5 connected\n"), "{nodes}");
    assert!(nodes.contains("slave,fail?,nofailover - "), "{nodes}");
    assert!(!nodes.contains("master") && !nodes.contains("16383"), "{nodes}");
}

#[test]
fn slots_are_all_the_leaders_and_its_replicas() {
    let (mut server, a) = node(1, Some(1));
    let entry = |at: usize, rest: &str| {
        format!("*4\r\n{}:{}\r\n{}{rest}", bulk("127.0.0.1"), 7001 + at, bulk(ID[at]))
    };
    let both = ["*0\r\n", "%0\r\n"];
    for (resp, rest) in [Resp::V2, Resp::V3].into_iter().zip(both) {
        let client = server.connect(resp);
        assert_eq!(
            server.run(client, "CLUSTER SLOTS"),
            format!("*1\r\n*5\r\n:0\r\n:16383\r\n{}{}{}", entry(1, rest), entry(0, rest), entry(2, rest))
        );
    }
    let mut view = three_nodes(1, Some(1));
    // The one was never heard of, the other not for a moment.
    (view.nodes[0].connected, view.nodes[0].heard_at_ms) = (false, 0);
    view.nodes[2].connected = false;
    server.host.show(view.clone());
    let slots = server.run(a, "CLUSTER SLOTS");
    assert!(slots.starts_with("*1\r\n*5\r\n"), "a leader that has just been elected: {slots}");
    view.nodes[0].heard_at_ms = view.nodes[2].heard_at_ms - 15_000;
    view.nodes[2].voter = false;
    server.host.show(view);
    assert_eq!(
        server.run(a, "CLUSTER SLOTS"),
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n{}", entry(1, "*0\r\n")),
        "nobody is sent to a node that is down or has not got the data yet"
    );
    server.host.show(three_nodes(1, None));
    assert_eq!(server.run(a, "CLUSTER SLOTS"), "*0\r\n");
}

#[test]
fn the_last_leader_keeps_its_slots_until_another_has_them() {
    let (mut server, a) = node(1, Some(0));
    let shown = |server: &mut TestEngine| {
        ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"].map(|command| server.run(a, command))
    };
    let before = shown(&mut server);
    let mut view = three_nodes(1, None);
    view.last_leader = Some(0);
    server.host.show(view);
    assert_eq!(shown(&mut server), before);
    assert!(server.run(a, "CLUSTER INFO").contains("cluster_state:fail"));
}

#[test]
fn shards_is_one_shard_with_the_master_first() {
    let (mut server, _) = node(1, Some(1));
    let mut view = three_nodes(1, Some(1));
    view.raft.last_index = 9;
    view.nodes[0].matched = Some(7);
    view.nodes[2].connected = false;
    server.host.show(view);
    let client = server.connect(Resp::V3);
    let entry = |at: usize, role: &str, offset: u64, health: &str| {
        let texts =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| bulk(a) + &bulk(b)).collect::<String>();
        format!(
            "%7\r\n{}{}:{}\r\n{}{}:{offset}\r\n{}",
            texts(&[("id", ID[at])]),
            bulk("port"),
            7001 + at,
            texts(&[("ip", "127.0.0.1"), ("endpoint", "127.0.0.1"), ("role", role)]),
            bulk("replication-offset"),
            texts(&[("health", health)])
        )
    };
    let expected = format!(
        "*1\r\n%2\r\n{}*2\r\n:0\r\n:16383\r\n{}*3\r\n{}{}{}",
        bulk("slots"),
        bulk("nodes"),
        entry(1, "master", 9, "online"),
        entry(0, "replica", 7, "online"),
        entry(2, "replica", 0, "fail")
    );
    assert_eq!(server.run(client, "CLUSTER SHARDS"), expected);
}

#[test]
fn ids_links_and_slots_of_keys() {
    let (mut server, a) = node(2, Some(0));
    assert_eq!(server.run(a, "CLUSTER MYID"), bulk(ID[2]));
    let shard = server.run(a, "CLUSTER MYSHARDID");
    assert!(shard.starts_with("$40\r\n"), "{shard}");
    assert_eq!(server.run(a, "CLUSTER LINKS"), "*0\r\n");
    assert_eq!(server.run(a, "CLUSTER SAVECONFIG"), "+OK\r\n");
    assert_eq!(server.run(a, "CLUSTER KEYSLOT foo{bar}"), ":5061\r\n");
    for line in ["SET foo 1", "SET {foo}x 1", "SET bar 1", "SELECT 1", "SET foo 1", "SELECT 0"] {
        server.run(a, line);
    }
    assert_eq!(server.run(a, "CLUSTER COUNTKEYSINSLOT 12182"), ":2\r\n");
    assert_eq!(server.run(a, "CLUSTER COUNTKEYSINSLOT 0"), ":0\r\n");
    assert_eq!(server.run(a, "CLUSTER COUNTKEYSINSLOT 16384"), "-ERR Invalid slot\r\n");
    assert_eq!(server.run(a, "CLUSTER GETKEYSINSLOT 5061 10"), "*1\r\n$3\r\nbar\r\n");
    assert!(server.run(a, "CLUSTER GETKEYSINSLOT 12182 1").starts_with("*1\r\n"));
    for line in ["CLUSTER GETKEYSINSLOT -1 1", "CLUSTER GETKEYSINSLOT 1 -1"] {
        assert_eq!(server.run(a, line), "-ERR Invalid slot or number of keys\r\n");
    }
}

#[test]
fn members_come_and_go_by_requests_to_the_host() {
    let (mut server, a) = node(0, Some(0));
    let meet =
        |host: &str, port, cluster_port| ClusterRequest::Meet { host: host.to_owned(), port, cluster_port };
    assert_eq!(request(&mut server, a, "CLUSTER MEET 10.0.0.9 7004"), meet("10.0.0.9", 7004, 17004));
    assert_eq!(request(&mut server, a, "CLUSTER MEET n4 7004 9"), meet("n4", 7004, 9));
    for (line, error) in [
        ("CLUSTER MEET h x", "Invalid base port specified: x"),
        ("CLUSTER MEET h 1 y", "Invalid bus port specified: y"),
        ("CLUSTER MEET h 0", "Invalid node address specified: h:0"),
        ("CLUSTER MEET h 60000", "Invalid node address specified: h:60000"),
        ("CLUSTER MEET h 9223372036854775807", "Invalid node address specified: h:9223372036854775807"),
        (
            "CLUSTER MEET h 1 2 3",
            "unknown subcommand or wrong number of arguments for 'MEET'. Try CLUSTER HELP.",
        ),
        ("CLUSTER FORGET nobody", "Unknown node nobody"),
    ] {
        assert_eq!(server.run(a, line), format!("-ERR {error}\r\n"), "{line}");
    }
    for id in ID {
        assert_eq!(
            request(&mut server, a, &format!("CLUSTER FORGET {id}")),
            ClusterRequest::Forget { id: id.to_owned() }
        );
    }
    server.run(a, "MULTI");
    server.run(a, "CLUSTER MEET h 1");
    assert!(server.run(a, "EXEC").starts_with("*1\r\n-ERR the answer takes time"));
    assert!(server.host.requests.is_empty());
    let mut view = three_nodes(0, Some(0));
    view.nodes.truncate(1);
    server.host.show(view);
    assert!(server.run(a, &format!("CLUSTER FORGET {}", ID[0])).starts_with("-ERR the last node"));
}

#[test]
fn a_replica_asks_to_lead() {
    let (mut server, a) = node(1, Some(0));
    let mine =
        |force| ClusterRequest::Failover { to: Some(("127.0.0.1".to_owned(), 7002)), force, timeout_ms: 0 };
    assert_eq!(request(&mut server, a, "CLUSTER FAILOVER"), mine(false));
    assert_eq!(request(&mut server, a, "CLUSTER FAILOVER FORCE"), mine(true));
    assert!(server.run(a, "CLUSTER FAILOVER TAKEOVER").starts_with("-ERR a leader without a majority"));
    assert_eq!(server.run(a, "CLUSTER FAILOVER NOW"), "-ERR syntax error\r\n");
    server.host.show(three_nodes(1, None));
    assert!(server.run(a, "CLUSTER FAILOVER").starts_with("-ERR Master is down or failed"));
    assert_eq!(request(&mut server, a, "CLUSTER FAILOVER FORCE"), mine(true));
    let mut view = three_nodes(1, Some(0));
    view.nodes[1].voter = false;
    server.host.show(view);
    assert!(server.run(a, "CLUSTER FAILOVER").starts_with("-ERR this node may not lead yet"));
    server.host.show(three_nodes(0, Some(0)));
    assert_eq!(server.run(a, "CLUSTER FAILOVER"), "-ERR You should send CLUSTER FAILOVER to a replica\r\n");
}

#[test]
fn failover_hands_over_to_a_node_that_can_lead() {
    let (mut server, a) = node(0, Some(0));
    let failover = |to: Option<u16>, force, timeout_ms| ClusterRequest::Failover {
        to: to.map(|port| ("127.0.0.1".to_owned(), port)),
        force,
        timeout_ms,
    };
    assert_eq!(request(&mut server, a, "FAILOVER"), failover(None, false, 0));
    assert_eq!(request(&mut server, a, "FAILOVER TIMEOUT 50"), failover(None, false, 50));
    let to = "FAILOVER TO 127.0.0.1 7003";
    assert_eq!(request(&mut server, a, to), failover(Some(7003), false, 0));
    assert_eq!(request(&mut server, a, &format!("{to} FORCE TIMEOUT 9")), failover(Some(7003), true, 9));
    assert_eq!(request(&mut server, a, "FAILOVER ABORT"), ClusterRequest::FailoverAbort);
    let mut view = three_nodes(0, Some(0));
    view.nodes[2].connected = false;
    server.host.show(view);
    for (line, error) in [
        ("FAILOVER TO 127.0.0.1 7001", "FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO elsewhere 7002", "FAILOVER target HOST and PORT is not a replica."),
        (to, "FAILOVER target replica is not online."),
        ("FAILOVER FORCE", "FAILOVER with force option requires both a timeout and target HOST and IP."),
        ("FAILOVER TIMEOUT 0", "FAILOVER timeout must be greater than 0"),
        ("FAILOVER TIMEOUT x", "value is not an integer or out of range"),
        ("FAILOVER TO h", "syntax error"),
        ("FAILOVER TIMEOUT 1 TIMEOUT 2", "syntax error"),
        ("FAILOVER ABORT NOW", "syntax error"),
    ] {
        assert_eq!(server.run(a, line), format!("-ERR {error}\r\n"), "{line}");
    }
    let mut alone = three_nodes(0, Some(0));
    alone.nodes.truncate(1);
    server.host.show(alone);
    assert_eq!(server.run(a, "FAILOVER"), "-ERR FAILOVER requires connected replicas.\r\n");
}

#[test]
fn what_needs_no_operator_says_what_to_do_instead() {
    let (mut server, a) = node(0, Some(0));
    for (line, remedy) in [
        ("CLUSTER ADDSLOTS 1", "CLUSTER MEET"),
        ("CLUSTER ADDSLOTSRANGE 1 2", "CLUSTER MEET"),
        ("CLUSTER DELSLOTS 1", "CLUSTER MEET"),
        ("CLUSTER DELSLOTSRANGE 1 2", "CLUSTER MEET"),
        ("CLUSTER FLUSHSLOTS", "CLUSTER MEET"),
        ("CLUSTER SETSLOT 1 STABLE", "CLUSTER MEET"),
        ("CLUSTER BUMPEPOCH", "CLUSTER FAILOVER"),
        ("CLUSTER SET-CONFIG-EPOCH 1", "CLUSTER FAILOVER"),
        ("CLUSTER REPLICATE x", "CLUSTER MEET"),
        ("CLUSTER RESET HARD", "CLUSTER FORGET"),
    ] {
        let reply = server.run(a, line);
        assert!(reply.starts_with("-ERR ") && reply.contains(remedy), "{line}: {reply}");
    }
    let help = server.run(a, "CLUSTER HELP");
    assert!(help.contains("+MEET <ip> <port> [<cluster-bus-port>]\r\n"), "{help}");
}

#[test]
fn readonly_is_remembered_until_it_is_taken_back() {
    let (mut server, a) = node(1, Some(0));
    let flags = |server: &mut TestEngine| {
        let info = server.run(a, "CLIENT INFO");
        info.split(' ').find_map(|field| field.strip_prefix("flags=")).unwrap().to_owned()
    };
    for back in ["READWRITE", "RESET"] {
        assert_eq!(server.run(a, "READONLY"), "+OK\r\n");
        assert_eq!(flags(&mut server), "r");
        server.run(a, back);
        assert_eq!(flags(&mut server), "N", "{back}");
    }
    assert_eq!(server.run(a, "ASKING"), "+OK\r\n");
}

#[test]
fn a_client_by_tls_is_shown_the_ports_for_that() {
    let (mut server, plain) = node(0, Some(1));
    let mut view = three_nodes(0, Some(1));
    for (node, tls_port) in view.nodes.iter_mut().zip([8001, 8002, 0]) {
        node.tls_port = tls_port;
    }
    server.host.show(view);
    let secure = server.connect(Resp::V2);
    server.engine.client(secure).unwrap().state.info.tls = true;
    for command in ["CLUSTER NODES", "CLUSTER SLOTS", "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", "ROLE"] {
        let [by_plain, by_tls] =
            [plain, secure].map(|client| server.run(client, command).replace("@17002", ""));
        assert!(by_plain.contains("7002") && !by_plain.contains("8002"), "{command}: {by_plain}");
        assert!(by_tls.contains("8002") && !by_tls.contains("7002"), "{command}: {by_tls}");
    }
    let nodes = server.run(secure, "CLUSTER NODES");
    assert!(nodes.contains(":7003@"), "it has no other: {nodes}");
    let shards = [plain, secure].map(|client| server.run(client, "CLUSTER SHARDS"));
    assert_eq!(shards[0], shards[1]);
    assert!(shards[0].contains("$4\r\nport\r\n:7001\r\n$8\r\ntls-port\r\n:8001\r\n"), "{}", shards[0]);
}
