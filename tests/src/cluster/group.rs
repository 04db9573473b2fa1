//! A cluster under test: its nodes, what they say about themselves, and waiting until they say something.

use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::network::{Namespaces, Network, addr_of};
use super::process::Node;
use crate::golden::Reply;
use crate::server::Connection;

/// A question to a node that runs is answered within this time, or it counts as not answered.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// What a cluster may take to form, and a node to be level with the others.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// From a clients' port to the peers' port, where nothing else is said.
const CLUSTER_PORT_OFFSET: u16 = 10_000;
/// In namespaces every node has this port.
const PORT_IN_NAMESPACE: u16 = 7000;

/// The way to the nodes, for clients: where they are and how to connect.
#[derive(Clone)]
pub struct Directory {
    network: Arc<Network>,
    addrs: Arc<RwLock<Vec<SocketAddr>>>,
}

impl Directory {
    /// Servers on 127.0.0.1 that somebody else looks after.
    pub fn of(addrs: &[SocketAddr]) -> Directory {
        Directory { network: Arc::new(Network::Loopback), addrs: Arc::new(RwLock::new(addrs.to_vec())) }
    }

    /// How many nodes clients know of.
    pub fn len(&self) -> usize {
        self.addrs.read().expect("nobody panics with it").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connects to a node.
    pub fn connect(&self, node: usize, limit: Duration) -> anyhow::Result<Connection> {
        let addr = self.addrs.read().expect("nobody panics with it")[node];
        Ok(Connection::over(self.network.dial(addr, limit)?))
    }
}

/// How a cluster is made.
pub struct Plan<'a> {
    /// Nodes that form it.
    pub nodes: usize,
    /// More nodes that there will be room for: [`Cluster::add_node`].
    pub more: usize,
    /// Each node in a network namespace.
    pub namespaces: bool,
    /// Flags for every node.
    pub flags: &'a [&'a str],
    /// Files that every node's directory begins with: name and content.
    pub files: &'a [(&'a str, &'a str)],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan { nodes: 3, more: 0, namespaces: false, flags: &[], files: &[] }
    }
}

/// The nodes of a test.
pub struct Cluster {
    pub nodes: Vec<Node>,
    directory: Directory,
    flags: Vec<String>,
    root: tempfile::TempDir,
}

impl Cluster {
    /// Starts `plan.nodes` nodes with the same line and waits until they have a leader.
    pub fn start(plan: &Plan) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster::prepare_group(plan)?;
        for number in 0..plan.nodes {
            cluster.spawn(number)?;
        }
        cluster.explained(|cluster| cluster.await_leader(SETTLE_LIMIT).map(drop))?;
        Ok(cluster)
    }

    /// `plan.nodes` nodes with the same line, which are not started yet: their flags may still change.
    pub fn prepare_group(plan: &Plan) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster::prepare(plan)?;
        let mut addrs = Vec::new();
        for number in 0..plan.nodes {
            addrs.push(cluster.free_addr(number)?);
        }
        let peers: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
        for addr in addrs {
            cluster.push_node(addr, &["--cluster-enabled", "yes", "--cluster-peers", &peers.join(",")]);
        }
        for number in 0..plan.nodes {
            cluster.nodes[number].write_files(plan.files)?;
        }
        Ok(cluster)
    }

    /// Starts one node that is no cluster.
    pub fn start_single(plan: &Plan) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster::prepare(plan)?;
        let addr = cluster.free_addr(0)?;
        cluster.push_node(addr, &[]);
        cluster.spawn(0)?;
        cluster.explained(|cluster| cluster.await_serving(0, SETTLE_LIMIT))?;
        Ok(cluster)
    }

    fn prepare(plan: &Plan) -> anyhow::Result<Cluster> {
        let network = match plan.namespaces {
            true => Network::Namespaces(Namespaces::new(plan.nodes + plan.more)?),
            false => Network::Loopback,
        };
        let directory = Directory { network: Arc::new(network), addrs: Arc::default() };
        let flags = plan.flags.iter().map(|&flag| flag.to_owned()).collect();
        Ok(Cluster { nodes: Vec::new(), directory, flags, root: tempfile::tempdir()? })
    }

    /// Prepares one more node, empty and in no cluster; it is not started.
    pub fn add_node(&mut self, flags: &[&str]) -> anyhow::Result<usize> {
        let number = self.nodes.len();
        let addr = self.free_addr(number)?;
        self.push_node(addr, flags);
        Ok(number)
    }

    fn push_node(&mut self, addr: SocketAddr, flags: &[&str]) {
        let number = self.nodes.len();
        let mut all = self.flags.clone();
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let (dir, log) = (self.root.path().join(format!("n{number}")), format!("n{number}.log"));
        self.nodes.push(Node::new(number, addr, dir, self.root.path().join(log), all));
        self.directory.addrs.write().expect("nobody panics with it").push(addr);
    }

    /// An address where nobody listens, nor 10,000 ports above it.
    pub fn free_addr(&self, number: usize) -> anyhow::Result<SocketAddr> {
        if let Network::Namespaces(_) = *self.directory.network {
            return Ok(SocketAddr::new(addr_of(number), PORT_IN_NAMESPACE));
        }
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let taken = |port| self.nodes.iter().any(|node| node.addr.port() == port);
        // Both below the ports that the system gives to outgoing connections.
        let ports = 11_000..22_000;
        let chance = RandomState::new();
        for attempt in 0..1000 {
            let port = ports.start + (chance.hash_one(attempt) % u64::from(ports.end - ports.start)) as u16;
            if !taken(port) && free(port) && free(port + CLUSTER_PORT_OFFSET) {
                return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
            }
        }
        bail!("no free port in {ports:?}")
    }

    /// The way to the nodes, for clients.
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// The network, for cuts.
    pub fn namespaces(&self) -> anyhow::Result<&Namespaces> {
        self.directory.network.namespaces()
    }

    /// Starts a node that does not run, and does not wait for it.
    pub fn spawn(&mut self, node: usize) -> anyhow::Result<()> {
        let network = self.directory.network.clone();
        self.nodes[node].spawn(&network)
    }

    /// Asks a node something.
    pub fn ask(&self, node: usize, command: &[&str]) -> anyhow::Result<Reply> {
        self.ask_within(node, command, ANSWER_LIMIT)
    }

    /// Asks a node what it has itself, leader or not.
    pub fn ask_itself(&self, node: usize, command: &[&str]) -> anyhow::Result<Reply> {
        let mut connection = self.directory.connect(node, ANSWER_LIMIT)?;
        let readonly = connection.call(&["READONLY"], ANSWER_LIMIT)?;
        ensure!(readonly == Reply::Simple(b"OK".to_vec()), "node {node}: READONLY answers {readonly}");
        connection.call(command, ANSWER_LIMIT)
    }

    /// Asks a node something that may take its time.
    pub fn ask_within(&self, node: usize, command: &[&str], limit: Duration) -> anyhow::Result<Reply> {
        let asked = || self.directory.connect(node, ANSWER_LIMIT)?.call(command, limit);
        asked().with_context(|| format!("node {node}, {}", command.join(" ")))
    }

    /// The fields of a section of INFO.
    pub fn info(&self, node: usize, section: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let text = match self.ask(node, &["INFO", section])? {
            Reply::Bulk(text) | Reply::Verbatim(_, text) => text,
            other => bail!("node {node}: INFO {section} answers {other}"),
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A figure of `INFO raft`.
    pub fn figure(&self, node: usize, name: &str) -> anyhow::Result<u64> {
        let fields = self.info(node, "raft")?;
        let value = fields.get(name).with_context(|| format!("INFO raft has no {name}: {fields:?}"))?;
        value.parse().with_context(|| format!("{name}:{value}"))
    }

    /// The node that leads the newest term, if one that is awake says that it leads.
    pub fn leader(&self) -> Option<usize> {
        let claims = self.awake().filter_map(|node| {
            let fields = self.info(node, "raft").ok()?;
            let leads = fields.get("raft_role").is_some_and(|role| role == "leader");
            let term: u64 = fields.get("raft_term")?.parse().ok()?;
            leads.then_some((term, node))
        });
        claims.max().map(|(_, node)| node)
    }

    /// The nodes that run and are not paused.
    pub fn awake(&self) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().filter(|node| node.is_awake()).map(|node| node.number)
    }

    /// Waits for a leader that takes writes.
    pub fn await_leader(&mut self, limit: Duration) -> anyhow::Result<usize> {
        self.wait("a leader that takes writes", limit, |cluster| {
            let leader = cluster.leader()?;
            let set = cluster.ask(leader, &["SET", "probe", "1"]).ok()?;
            (set == Reply::Simple(b"OK".to_vec())).then_some(leader)
        })
    }

    /// Waits until a node answers PING.
    pub fn await_serving(&mut self, node: usize, limit: Duration) -> anyhow::Result<()> {
        let what = format!("node {node} to serve");
        self.wait(&what, limit, |cluster| {
            let pong = cluster.ask(node, &["PING"]).ok()?;
            (pong == Reply::Simple(b"PONG".to_vec())).then_some(())
        })
    }

    /// Waits until everybody awake has applied the same entries; returns the index.
    pub fn await_level(&mut self, limit: Duration) -> anyhow::Result<u64> {
        self.wait("all nodes to be level", limit, |cluster| {
            let applied: anyhow::Result<Vec<(u64, u64)>> = cluster
                .awake()
                .map(|node| {
                    Ok((cluster.figure(node, "raft_applied")?, cluster.figure(node, "raft_last_index")?))
                })
                .collect();
            let applied = applied.ok()?;
            let (first, _) = *applied.first()?;
            applied.iter().all(|&(applied, last)| applied == first && last == first).then_some(first)
        })
    }

    /// Waits until all nodes that are awake have the same state. A node that got there by another way than its neighbour
    /// shows here.
    pub fn await_equal_digests(&mut self, limit: Duration) -> anyhow::Result<String> {
        // A moment's difference is no fault (a key expires, a lease's entry comes); one that stays is.
        let deadline = Instant::now() + limit;
        loop {
            let level = self.await_level(deadline.saturating_duration_since(Instant::now()))?;
            let digests: anyhow::Result<Vec<(usize, String)>> =
                self.awake().map(|node| Ok((node, self.digest(node)?))).collect();
            let digests = digests?;
            let first = digests.first().context("no node is awake")?.1.clone();
            if digests.iter().all(|(_, digest)| *digest == first) {
                return Ok(first);
            }
            ensure!(Instant::now() < deadline, "the nodes differ at index {level}: {digests:?}");
            std::thread::sleep(POLL);
        }
    }

    /// DEBUG DIGEST-STATE of the node's own: data, libraries, users.
    pub fn digest(&self, node: usize) -> anyhow::Result<String> {
        match self.ask_within(node, &["DEBUG", "DIGEST-STATE"], SETTLE_LIMIT)? {
            Reply::Simple(digest) => Ok(String::from_utf8_lossy(&digest).into_owned()),
            other => bail!("node {node}: DEBUG DIGEST-STATE answers {other}"),
        }
    }

    /// Polls until `condition` is met. A node that ends meanwhile is an error at once.
    pub fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Cluster) -> Option<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            if let Some(result) = condition(self) {
                return Ok(result);
            }
            for node in &mut self.nodes {
                if let Some(status) = node.has_ended() {
                    bail!("node {} has ended ({status}) while the test waited for {what}", node.number);
                }
            }
            ensure!(started.elapsed() < limit, "waited {limit:?} for {what}");
            std::thread::sleep(POLL);
        }
    }

    /// Runs `f`; its error gets what the nodes say and where their logs are kept.
    pub fn explained<T>(&mut self, f: impl FnOnce(&mut Cluster) -> anyhow::Result<T>) -> anyhow::Result<T> {
        f(self).map_err(|error| {
            let story = self.story();
            error.context(story)
        })
    }

    /// What each node says about itself, the end of its log, and where the whole logs are.
    fn story(&self) -> String {
        let mut story = String::from("the cluster's test failed\n");
        for node in &self.nodes {
            let state = match (node.is_running(), node.is_awake()) {
                (false, _) => "does not run".to_owned(),
                (_, false) => "is paused".to_owned(),
                _ => match self.info(node.number, "raft") {
                    Ok(fields) => format!("{fields:?}"),
                    Err(error) => format!("{error:#}"),
                },
            };
            let _ =
                writeln!(story, "--- node {} at {}: {state}\n{}", node.number, node.addr, node.log_tail(25));
        }
        match self.keep_logs() {
            Ok(kept) => story + &format!("--- whole logs: {}\n", kept.display()),
            Err(error) => story + &format!("--- the logs cannot be kept: {error:#}\n"),
        }
    }

    /// Copies the logs to where they outlive the test.
    fn keep_logs(&self) -> anyhow::Result<PathBuf> {
        let kept = std::env::current_exe()?
            .ancestors()
            .find(|dir| dir.ends_with("target"))
            .unwrap_or(Path::new("target"))
            .join("cluster-failures")
            // The cluster's own name, which nobody else has.
            .join(self.root.path().file_name().context("a directory has a name")?);
        std::fs::create_dir_all(&kept)?;
        for node in &self.nodes {
            // A node that was never started has none.
            let _ = std::fs::copy(&node.log, kept.join(node.log.file_name().context("a log has a name")?));
        }
        Ok(kept)
    }
}
