//! Nodes that speak TLS with each other: nothing of a client's goes between them in the clear, and clients that come by TLS
//! are shown where they can go on by TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::tls::{Authority, Client};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::version::TLS13;

const POLL: Duration = Duration::from_millis(20);
/// A value that fills every buffer on its way.
const BIG: usize = 8 << 20;

fn flags(authority: &Authority) -> Vec<String> {
    let files = [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")];
    let mut flags =
        vec!["--tls-cluster".to_owned(), "yes".to_owned(), "--tls-auth-clients".to_owned(), "no".to_owned()];
    for (which, file) in files {
        flags.extend([format!("--tls-{which}-file"), authority.path(file)]);
    }
    flags
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A client by TLS, once the node answers it `+PONG`.
fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> anyhow::Result<Client> {
    let limit = Instant::now() + SETTLE_LIMIT;
    while Client::try_connect(addr, config).is_none_or(Client::ping_fails) {
        ensure!(Instant::now() < limit, "{addr} does not answer by TLS");
        std::thread::sleep(POLL);
    }
    Ok(Client::connect(addr, config))
}

/// Nodes without a plain port, and the addresses that they listen on for TLS.
fn start_without_plain_port(authority: &Authority) -> (Cluster, Vec<SocketAddr>) {
    let flags = flags(authority);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare_group(&Plan { flags: &flags, ..Plan::default() }).unwrap();
    for node in &mut cluster.nodes {
        let port = node.addr.port().to_string();
        node.flags.extend(["--port", "0", "--tls-port", &port].map(str::to_owned));
    }
    (0..3).for_each(|node| cluster.spawn(node).unwrap());
    let addrs = cluster.nodes.iter().map(|node| node.addr).collect();
    (cluster, addrs)
}

#[test]
fn a_group_without_a_plain_port_serves_by_way_of_any_node_and_fails_over() {
    let authority = Authority::create();
    let config = authority.client(None, &TLS13);
    let (mut cluster, addrs) = start_without_plain_port(&authority);
    cluster
        .explained(|cluster| {
            let mut clients = Vec::new();
            for &addr in &addrs {
                clients.push(connect(addr, &config)?);
            }
            let big = "x".repeat(BIG);
            for (n, client) in clients.iter_mut().enumerate() {
                // Two of the three pass it on. The first waits until there is a leader.
                client.talk(format!("SET k{n} {n}\r\n").as_bytes(), b"+OK\r\n");
                client.talk(
                    format!("*3\r\n{}{}{}", bulk("SET"), bulk("big"), bulk(&big)).as_bytes(),
                    b"+OK\r\n",
                );
                client.talk(b"GET big\r\n", bulk(&big).as_bytes());
                client.talk(b"PING\r\n", b"+PONG\r\n");
            }
            // A blocked client of one node is woken by way of another.
            clients[0].send(b"BLPOP list 0\r\n");
            clients[1].send(b"BLPOP list 0\r\n");
            clients[2].talk(b"RPUSH list v v\r\n", b":2\r\n");
            for client in &mut clients[..2] {
                client.expect(b"*2\r\n$4\r\nlist\r\n$1\r\nv\r\n");
            }
            let shards = clients[0].ask(b"CLUSTER SHARDS\r\n");
            ensure!(shards.contains("tls-port"), "{shards}");
            ensure!(!shards.contains("$4\r\nport"), "{shards}");

            let leader = leader(&mut clients[0], &addrs)?;
            cluster.nodes[leader].kill();
            for (n, &addr) in addrs.iter().enumerate().filter(|(n, _)| *n != leader) {
                let mut client = connect(addr, &config)?;
                let limit = Instant::now() + SETTLE_LIMIT;
                while client.ask(b"INCR after\r\n").starts_with("-CLUSTERDOWN") {
                    ensure!(Instant::now() < limit, "node {n} finds no leader");
                }
                for n in 0..3 {
                    client.talk(format!("GET k{n}\r\n").as_bytes(), format!("$1\r\n{n}\r\n").as_bytes());
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Which node leads: CLUSTER SLOTS has it first.
fn leader(client: &mut Client, addrs: &[SocketAddr]) -> anyhow::Result<usize> {
    let slots = client.ask(b"CLUSTER SLOTS\r\n");
    let first = slots.split("\r\n:").nth(3).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default();
    let place = addrs.iter().position(|addr| addr.port().to_string() == first);
    place.ok_or_else(|| anyhow::anyhow!("no node in {slots}"))
}

#[test]
fn each_client_is_shown_the_ports_that_it_can_use() {
    let authority = Authority::create();
    let config = authority.client(None, &TLS13);
    let flags = flags(&authority);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare_group(&Plan { flags: &flags, ..Plan::default() }).unwrap();
    // One more than nodes, for one that moves.
    let mut by_tls: Vec<SocketAddr> = Vec::new();
    while by_tls.len() < 4 {
        let free = cluster.free_addr(0).unwrap();
        if !by_tls.contains(&free) {
            by_tls.push(free);
        }
    }
    for (node, addr) in cluster.nodes.iter_mut().zip(&by_tls) {
        node.flags.extend(["--tls-port".to_owned(), addr.port().to_string()]);
    }
    (0..3).for_each(|node| cluster.spawn(node).unwrap());
    cluster
        .explained(|cluster| {
            let leader = cluster.await_leader(SETTLE_LIMIT)?;
            let node = (leader + 1) % 3;
            let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.addr).collect();
            let mut secure = connect(by_tls[node], &config)?;
            for command in ["CLUSTER SLOTS", "CLUSTER NODES", "SENTINEL REPLICAS mymaster"] {
                let words: Vec<&str> = command.split(' ').collect();
                let plain = cluster.ask(node, &words)?.to_string();
                let shown = secure.ask(format!("{command}\r\n").as_bytes());
                for (addr, by_tls) in addrs.iter().zip(&by_tls) {
                    let [plain_port, tls_port] = [addr, by_tls].map(|addr| addr.port().to_string());
                    // REPLICAS has the leader as their master.
                    ensure!(plain.contains(&plain_port) && !plain.contains(&tls_port), "{command}: {plain}");
                    ensure!(shown.contains(&tls_port), "{command} by TLS: {shown}");
                }
            }
            // A node comes back with another port: all hear of it.
            cluster.nodes[node].kill();
            let moved = by_tls[3].port().to_string();
            *cluster.nodes[node].flags.last_mut().expect("the port") = moved.clone();
            cluster.spawn(node)?;
            for other in 0..3 {
                cluster.wait("the new port is shown", SETTLE_LIMIT, |cluster| {
                    let shards = cluster.ask(other, &["CLUSTER", "SHARDS"]).ok()?;
                    shards.to_string().contains(&moved).then_some(())
                })?;
            }
            Ok(())
        })
        .unwrap();
}
