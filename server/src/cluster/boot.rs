//! How a node of a cluster starts: from its directory to a Raft that runs.
//!
//! | the directory holds | then |
//! |---|---|
//! | nothing | an empty node: it begins a group with its peers, or waits to be taken in |
//! | a snapshot of a cluster, perhaps a log after it | the state is the snapshot's; what is committed after it comes out of Raft |
//! | a log of Raft alone | the same, from the beginning |
//! | snapshot or log of a single server | it becomes the first node of a cluster, which begins with its state |

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_engine::config::Config;
use cairn_engine::{Engine, Host};
use cairn_replication::entry::{self, Members};
use cairn_replication::handle::{Handle, Taken};
use cairn_replication::identity;
use cairn_replication::node::{DiskDelay, Node, Options, Timing};
use cairn_replication::transport::net::{Net, TokioNet};
use cairn_replication::transport::tls::Tls;
use cairn_replication::transport::{self, ListenAt, Peers};
use cairn_replication::types::{Membership, NodeId, Peer};
use cairn_storage::disk::Disk;
use cairn_storage::log::{Log, LogOptions, Recovered};
use cairn_storage::snapshot::SnapshotDir;

use super::group::RaftGroup;
use super::position::Position;
use crate::executor::wake::Ready;
use crate::journal::RaftJournal;
use crate::journal::raft::{Chain, Start};
use crate::recovery::{self, LOG_DIR, RecoveryError};
use crate::snapshots;
use crate::start::shown_port;
use crate::start::sync_policy;

/// What the node keeps of itself, in the data directory.
pub const CLUSTER_DIR: &str = "cluster";
/// From clients' port to peers' port, as in Redis.
const CLUSTER_PORT_OFFSET: u16 = 10_000;
/// A batch that was not committed for so many times `cluster-node-timeout`, and at least so long, ends the leadership.
const RELEASE_TIMEOUTS: u32 = 5;
const RELEASE_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// A node that runs.
pub struct Started {
    pub journal: RaftJournal,
    pub handle: Handle,
    pub me: Peer,
    /// With `tls-cluster`; renewed when the files are.
    pub tls: Option<Tls>,
    /// Bytes of the snapshot that was loaded.
    pub snapshot_bytes: u64,
}

/// What a start needs.
pub struct Needs<'a> {
    pub disk: &'a Arc<dyn Disk>,
    pub dir: &'a Path,
    pub config: &'a Config,
    pub ready: &'a Arc<Ready>,
}

/// What Raft runs on.
pub struct Machine {
    pub net: Arc<dyn Net>,
    /// In a simulation: Raft runs as tasks of the present runtime, and this says how long the disk takes for each group of
    /// the log's records.
    pub disk_delay: Option<DiskDelay>,
}

impl Machine {
    /// The operating system's sockets, threads of Raft's own.
    pub fn real() -> Self {
        Self { net: Arc::new(TokioNet), disk_delay: None }
    }
}

/// The state of the directory goes into `engine` (fresh, empty), then Raft starts.
pub fn start(
    needs: &Needs<'_>,
    machine: Machine,
    engine: &mut Engine,
    host: &mut dyn Host,
) -> Result<Started> {
    let Needs { disk, dir, config, ready } = *needs;
    if !config.requirepass.is_empty() && config.cluster_secret.is_empty() && !config.tls_cluster {
        bail!(
            "requirepass is of no use while any stranger may be a peer: set cluster-secret on all nodes (or tls-cluster) too"
        );
    }
    let id = identity::node_id(disk, &dir.join(CLUSTER_DIR)).context("cannot tell this node's id")?;
    let me = me(config);
    let snapshots = SnapshotDir::open(Arc::clone(disk), dir)?;
    let found = recover(needs, &snapshots, Origin { id, me: &me }, engine, host)?;
    let taken = match &found.position {
        Some(position) => {
            let file = snapshots.map(&config.dbfilename).context("cannot map the snapshot")?;
            Some(Taken { meta: position.meta(), file })
        }
        None => None,
    };
    let node_timeout = Duration::from_millis(config.cluster_node_timeout);
    let tls = if config.tls_cluster { Some(peer_tls(config)?) } else { None };
    let transport = Peers::new(
        machine.net,
        transport::Options {
            listen: listen_addresses(config),
            port: me_cluster_port(config),
            secret: Some(config.cluster_secret.clone().into_bytes()).filter(|secret| !secret.is_empty()),
            tls: tls.clone(),
            silence: node_timeout,
            snapshots: snapshots.clone(),
            snapshot_file: config.dbfilename.clone(),
        },
    );
    let waker = Arc::clone(ready);
    let options = Options {
        id,
        me: me.clone(),
        peers: config.cluster_peers.iter().map(|peer| peer_of(&peer.host, peer.port, config)).collect(),
        timing: Timing::from_node_timeout(node_timeout),
        log: found.log,
        recovered: found.recovered,
        policy: sync_policy(config.appendfsync),
        snapshot: taken,
        wake: Arc::new(move || waker.wake()),
    };
    let handle = match machine.disk_delay {
        None => Node::start(options, transport)?,
        Some(delay) => Node::spawn(options, transport, delay)?,
    };
    let start = match found.position {
        Some(position) => {
            Start { chain: position.chain, applied: Some(position.log_id), membership: position.membership }
        }
        None => Start { chain: Chain::default(), applied: None, membership: Arc::default() },
    };
    let group = RaftGroup::new(handle.clone(), snapshots, config.dbfilename.clone());
    let release_timeout = (node_timeout * RELEASE_TIMEOUTS).max(RELEASE_TIMEOUT_MIN);
    let journal = RaftJournal::new(Box::new(group), start, release_timeout);
    engine.follow();
    Ok(Started { journal, handle, me, tls, snapshot_bytes: found.snapshot_bytes })
}

/// What the directory held.
struct Found {
    log: Log,
    recovered: Recovered,
    /// Of the state that is in the engine now; `None`: it is empty.
    position: Option<Position>,
    snapshot_bytes: u64,
}

/// The node that a single server's state becomes.
struct Origin<'a> {
    id: NodeId,
    me: &'a Peer,
}

fn recover(
    needs: &Needs<'_>,
    snapshots: &SnapshotDir,
    origin: Origin<'_>,
    engine: &mut Engine,
    host: &mut dyn Host,
) -> Result<Found> {
    let Needs { disk, dir, config, .. } = *needs;
    let loaded = recovery::load_snapshot(snapshots, &config.dbfilename, engine)?;
    let position = match &loaded {
        Some(loaded) => Position::from_aux(&loaded.aux).map_err(anyhow::Error::msg)?,
        None => None,
    };
    let options = LogOptions { segment_bytes: config.log_segment_size, ..LogOptions::default() };
    let (mut log, recovered) = Log::open(Arc::clone(disk), &dir.join(LOG_DIR), options.clone())?;
    if let Some(position) = position {
        // An entry's place in the log is its index plus 1. A snapshot of the leader may be ahead of the log; and a server
        // that was about to become a node has entries of its own there, which the snapshot has in it.
        let place = position.log_id.index + 1;
        if recovered.first_index > place + 1 {
            return Err(RecoveryError::Gap { snapshot: place, first: recovered.first_index }.into());
        }
        let recovered = if recovered.last_index < place {
            log.purge(place)?;
            drop(log);
            let (reopened, recovered) = Log::open(Arc::clone(disk), &dir.join(LOG_DIR), options)?;
            log = reopened;
            recovered
        } else {
            recovered
        };
        let snapshot_bytes = loaded.map_or(0, |loaded| loaded.bytes);
        return Ok(Found { log, recovered, position: Some(position), snapshot_bytes });
    }
    if is_rafts(&log, &recovered)? {
        if loaded.is_some() {
            bail!(
                "'{}' was not made by a node of a cluster, but the log in '{}' was: move one of the two away",
                config.dbfilename,
                dir.join(LOG_DIR).display()
            );
        }
        return Ok(Found { log, recovered, position: None, snapshot_bytes: 0 });
    }
    if loaded.is_none() && recovered.last_index == 0 {
        return Ok(Found { log, recovered, position: None, snapshot_bytes: 0 });
    }
    drop(log);
    convert(needs, snapshots, origin, engine, host)
}

/// Is this Raft's log? Its first entry names the members or begins a term, and it has a vote before it has any other; a single
/// server's has batches from the beginning and never a vote.
fn is_rafts(log: &Log, recovered: &Recovered) -> Result<bool> {
    if recovered.vote.is_some() {
        return Ok(true);
    }
    match log.read(recovered.first_index)?.next() {
        Some(first) => Ok(entry::is_members(&first?.payload)),
        None => Ok(false),
    }
}

/// A single server's directory becomes that of the first node of a cluster. A crash on the way leaves a directory with which
/// this begins again, or goes on.
fn convert(
    needs: &Needs<'_>,
    snapshots: &SnapshotDir,
    origin: Origin<'_>,
    engine: &mut Engine,
    host: &mut dyn Host,
) -> Result<Found> {
    let Needs { disk, dir, config, .. } = *needs;
    let mut fresh = engine.empty_copy();
    let found = recovery::recover(disk, dir, config, &mut fresh, host)?;
    drop(found.log);
    *engine = fresh;
    let seq = engine.shared.effects.newest_seq();
    let nodes = BTreeMap::from([(origin.id, origin.me.clone())]);
    let members = Members::new(vec![[origin.id].into()], nodes).context("a group of one is a group")?;
    let log_id = entry::log_id(0, seq);
    let position = Position {
        chain: Chain { epoch: 0, seq },
        log_id,
        membership: Arc::new(Membership::new(Some(log_id), members)),
    };
    tracing::info!(seq, "this server becomes the first node of a cluster");
    let fields = position.to_aux();
    let snapshot_bytes =
        snapshots::write(snapshots, &config.dbfilename, engine.snapshot(), config.rdbcompression, || {
            Ok(fields)
        })
        .map_err(anyhow::Error::msg)?;
    let options = LogOptions { segment_bytes: config.log_segment_size, ..LogOptions::default() };
    let (mut log, _) = Log::open(Arc::clone(disk), &dir.join(LOG_DIR), options.clone())?;
    log.purge(seq + 1)?;
    drop(log);
    let (log, recovered) = Log::open(Arc::clone(disk), &dir.join(LOG_DIR), options)?;
    Ok(Found { log, recovered, position: Some(position), snapshot_bytes })
}

/// Refuses to serve a cluster node's directory as a single server: its log is not a single server's.
pub fn refuse_single(disk: &Arc<dyn Disk>, dir: &Path) -> Result<()> {
    let file = dir.join(CLUSTER_DIR).join(identity::NODE_FILE);
    if cairn_storage::snapshot::read_file(disk, &file)?.is_some() {
        bail!(
            "'{}' is the directory of a node of a cluster: start it with --cluster-enabled yes. (To go on with its data as a \
             single server, copy its snapshot alone into an empty directory.)",
            dir.display()
        );
    }
    Ok(())
}

fn me_cluster_port(config: &Config) -> u16 {
    if config.cluster_port > 0 {
        config.cluster_port
    } else {
        shown_port(config).saturating_add(CLUSTER_PORT_OFFSET)
    }
}

/// Another node of the list. All have the same distance between their ports, or the same peers' port on other machines.
fn peer_of(host: &str, port: u16, config: &Config) -> Peer {
    let cluster_port = if config.cluster_port > 0 && port == shown_port(config) {
        config.cluster_port
    } else {
        port.saturating_add(CLUSTER_PORT_OFFSET)
    };
    // For TLS it says itself where.
    Peer { host: host.to_owned(), port, cluster_port, tls_port: 0 }
}

/// Where this node is reached: as announced, as the list has it, or where it listens.
fn me(config: &Config) -> Peer {
    let announced = |value: u16, otherwise: u16| if value > 0 { value } else { otherwise };
    let port = announced(config.cluster_announce_port, shown_port(config));
    let cluster_port = announced(config.cluster_announce_bus_port, me_cluster_port(config));
    let host = if config.cluster_announce_ip.is_empty() {
        listed_host(config, port).or_else(|| bound_host(config)).unwrap_or_default()
    } else {
        config.cluster_announce_ip.clone()
    };
    let tls_port = match config.tls_port {
        0 => 0,
        listening => announced(config.cluster_announce_tls_port, listening),
    };
    Peer { host, port, cluster_port, tls_port }
}

/// This node's name in the list of peers: the only one with its port, or the one with this machine's name.
fn listed_host(config: &Config, port: u16) -> Option<String> {
    let mut with_port = config.cluster_peers.iter().filter(|peer| peer.port == port);
    if let (Some(only), None) = (with_port.next(), with_port.next()) {
        return Some(only.host.clone());
    }
    let machine = crate::process::host_name()?;
    let named =
        |host: &str| host == machine || host.strip_prefix(&machine).is_some_and(|rest| rest.starts_with('.'));
    config.cluster_peers.iter().find(|peer| named(&peer.host)).map(|peer| peer.host.clone())
}

/// The first address that is one: clients and peers reach it there. Others learn it from whoever meets this node.
fn bound_host(config: &Config) -> Option<String> {
    let addresses = config.bind.iter().map(|address| address.trim_start_matches('-'));
    addresses.filter(|address| !matches!(*address, "*" | "::*" | "0.0.0.0" | "::")).map(str::to_owned).next()
}

/// Where clients are listened for, `bind`, peers are too.
fn listen_addresses(config: &Config) -> Vec<ListenAt> {
    let plain = |address: &String| {
        let host = match address.trim_start_matches('-') {
            "*" => "0.0.0.0",
            "::*" => "::",
            address => address,
        };
        ListenAt { host: host.to_owned(), optional: address.starts_with('-') }
    };
    config.bind.iter().map(plain).collect()
}

/// What nodes prove themselves to each other with, as the files are now.
pub fn peer_tls(config: &Config) -> Result<Tls> {
    let files = [&config.tls_cert_file, &config.tls_key_file, &config.tls_ca_cert_file];
    let [cert, key, authority] = files.map(Path::new);
    Tls::load(cert, key, authority).map_err(anyhow::Error::msg)
}
