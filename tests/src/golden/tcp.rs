//! A server on the network as a target, or a cluster of which clients know one node.

use super::{Protocol, Received, Reply, Target};
use crate::server::Connection;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the server may take for anything that the runner itself asks of it.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// Clients over TCP, and one more connection to each node to look after it between scripts.
pub struct Tcp {
    protocol: Protocol,
    clients: BTreeMap<String, Connection>,
    /// Those of a cluster, the one that clients talk to first; or just the server.
    nodes: Vec<Node>,
    /// Which node executes what clients say.
    leader: usize,
}

/// A node, and its CONFIG GET * as it was at first: what a script changed is put back.
struct Node {
    addr: SocketAddr,
    control: Connection,
    config: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Tcp {
    /// Connects to a server that nobody else is using.
    pub fn connect(addr: SocketAddr) -> anyhow::Result<Tcp> {
        Tcp::through(addr, &[], addr)
    }

    /// Connects to a cluster that nobody else is using: clients talk to the node at `addr`, and `leader` is among `others`.
    pub fn through(addr: SocketAddr, others: &[SocketAddr], leader: SocketAddr) -> anyhow::Result<Tcp> {
        let addrs: Vec<SocketAddr> = [addr].into_iter().chain(others.iter().copied()).collect();
        let leader = addrs.iter().position(|node| *node == leader).context("the leader is a node")?;
        let nodes = addrs.into_iter().map(Node::connect).collect::<anyhow::Result<_>>()?;
        Ok(Tcp { protocol: Protocol::Resp2, clients: BTreeMap::new(), nodes, leader })
    }

    /// Closes the connections of the script that was played last.
    pub fn hang_up(&mut self) {
        self.clients.clear();
    }

    fn client(&mut self, name: &str) -> anyhow::Result<&mut Connection> {
        if !self.clients.contains_key(name) {
            let addr = self.nodes[0].addr;
            let mut connection = Connection::open(addr)?;
            if self.protocol == Protocol::Resp3 {
                match connection.call(&["HELLO", "3"], CONTROL_LIMIT)? {
                    Reply::Map(_) => {}
                    // Who has yet to authenticate is in RESP2 until then.
                    Reply::Error(text) if text.starts_with(b"NOAUTH") => {
                        connection = Connection::open(addr)?;
                    }
                    other => bail!("HELLO 3 answered {other}"),
                }
            }
            self.clients.insert(name.into(), connection);
        }
        Ok(self.clients.get_mut(name).expect("inserted above"))
    }
}

impl Node {
    fn connect(addr: SocketAddr) -> anyhow::Result<Node> {
        let mut control = Connection::open(addr)?;
        let config = config_of(&mut control)?;
        Ok(Node { addr, control, config })
    }

    fn expect_ok(&mut self, command: &[&str]) -> anyhow::Result<()> {
        let reply = self.control.call(command, CONTROL_LIMIT)?;
        ensure!(reply == Reply::Simple(b"OK".to_vec()), "{} answered {reply}", command.join(" "));
        Ok(())
    }

    fn ping(&mut self) -> anyhow::Result<()> {
        let reply = self.control.call(&["PING"], CONTROL_LIMIT)?;
        ensure!(reply == Reply::Simple(b"PONG".to_vec()), "PING answered {reply}");
        Ok(())
    }

    /// Puts back what a script has changed.
    fn restore(&mut self) -> anyhow::Result<()> {
        if self.ping().is_err() {
            // A script has killed this connection, too.
            self.control = Connection::open(self.addr)?;
        }
        for (name, value) in config_of(&mut self.control)? {
            if let Some(original) = self.config.get(&name).filter(|original| **original != value) {
                let args = [b"CONFIG".to_vec(), b"SET".to_vec(), name.clone(), original.clone()];
                self.control.send(&args)?;
                let reply = self.control.reply(CONTROL_LIMIT)?;
                let name = name.escape_ascii();
                ensure!(reply == Reply::Simple(b"OK".to_vec()), "CONFIG SET {name} answered {reply}");
            }
        }
        self.expect_ok(&["CONFIG", "RESETSTAT"])
    }
}

impl Target for Tcp {
    fn reset(&mut self, protocol: Protocol) -> anyhow::Result<()> {
        self.clients.clear();
        self.protocol = protocol;
        self.nodes.iter_mut().try_for_each(Node::restore)?;
        let leader = &mut self.nodes[self.leader];
        leader.expect_ok(&["CLIENT", "UNPAUSE"])?;
        leader.expect_ok(&["FLUSHALL"])?;
        leader.expect_ok(&["FUNCTION", "FLUSH"])?;
        leader.expect_ok(&["SCRIPT", "FLUSH"])
    }

    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> anyhow::Result<()> {
        if let [config, set, ..] = args
            && config.eq_ignore_ascii_case(b"CONFIG")
            && set.eq_ignore_ascii_case(b"SET")
        {
            // A node's configuration is its own; a cluster's nodes are configured alike.
            for node in &mut self.nodes[1..] {
                node.control.send(args)?;
                // What is wrong with it, the script hears from the node that it talks to.
                node.control.reply(CONTROL_LIMIT)?;
            }
        }
        self.client(client)?.send(args)
    }

    fn send_raw(&mut self, client: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.client(client)?.send_raw(bytes)
    }

    fn receive(&mut self, client: &str, limit: Duration) -> anyhow::Result<Received> {
        self.client(client)?.receive(limit)
    }

    fn blocked_clients(&mut self) -> anyhow::Result<usize> {
        let info = self.nodes[self.leader].control.call(&["INFO", "clients"], CONTROL_LIMIT)?;
        let Reply::Bulk(text) = &info else { bail!("INFO clients answered {info}") };
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        Ok(line.context("INFO clients has no blocked_clients")?.trim().parse()?)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        // Whatever earlier turns of a node's event loop wrote to others has left it before this answer: first what the
        // leader wrote, then what the other node passed on.
        let leader = self.leader;
        self.nodes[leader].ping()?;
        if leader > 0 {
            self.nodes[0].ping()?;
        }
        Ok(())
    }

    fn elapse(&mut self, time: Duration) -> anyhow::Result<()> {
        std::thread::sleep(time);
        Ok(())
    }
}

fn config_of(control: &mut Connection) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let reply = control.call(&["CONFIG", "GET", "*"], CONTROL_LIMIT)?;
    let Reply::Array(items) = reply else { bail!("CONFIG GET * answered {reply}") };
    let mut pairs = BTreeMap::new();
    for pair in items.chunks(2) {
        let [Reply::Bulk(name), Reply::Bulk(value)] = pair else { bail!("CONFIG GET * is not pairs") };
        pairs.insert(name.clone(), value.clone());
    }
    Ok(pairs)
}
