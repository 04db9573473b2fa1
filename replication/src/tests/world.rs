//! Nodes, disks and wires for tests. Time is tokio's, paused: it jumps to the next thing that happens.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::log::{Log, LogOptions};
use cairn_storage::snapshot::{SnapshotDir, SnapshotWriter};
use cairn_storage::writer::SyncPolicy;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesResponse, SnapshotResponse, TransferLeaderResponse};
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::admin::{
    AppendEntriesRequest, Inbound, Joiner, PeerInfo, TransferLeaderRequest, Transport, VoteRequest,
    VoteResponse,
};
use crate::handle::{Applied, Committed, Done, Handle, Order, Role, Taken};
use crate::node::{Node, Options, Timing};
use crate::snapshot::{Received, Snapshot, SnapshotData};
use crate::types::{LogId, Membership, NodeId, Peer, SnapshotMeta, TypeConfig, Vote};

/// How long a message takes, and a group on a disk.
const WIRE: Duration = Duration::from_millis(1);
const DISK: Duration = Duration::from_millis(2);

/// The longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn timing() -> Timing {
    Timing::from_node_timeout(Duration::from_secs(1))
}

/// Waits for something, with a limit.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Wires between nodes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Net(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    /// By peers' port.
    nodes: HashMap<u16, (NodeId, Arc<dyn Inbound>, SnapshotDir)>,
    cut: HashSet<NodeId>,
}

impl Net {
    /// Nothing gets to this node or from it.
    pub fn cut(&self, node: NodeId) {
        self.0.lock().unwrap().cut.insert(node);
    }

    pub fn heal(&self, node: NodeId) {
        self.0.lock().unwrap().cut.remove(&node);
    }

    pub fn serves(&self, node: NodeId) -> bool {
        self.0.lock().unwrap().nodes.values().any(|(id, ..)| *id == node)
    }

    pub fn inbound(&self, node: NodeId) -> Arc<dyn Inbound> {
        let found = self
            .0
            .lock()
            .unwrap()
            .nodes
            .values()
            .find(|(id, ..)| *id == node)
            .map(|(_, inbound, _)| Arc::clone(inbound));
        found.expect("the node serves")
    }

    async fn reach(&self, from: NodeId, port: u16) -> Result<(Arc<dyn Inbound>, SnapshotDir), String> {
        sleep(WIRE).await;
        let wires = self.0.lock().unwrap();
        let (id, inbound, dir) = wires.nodes.get(&port).ok_or("nobody listens there")?;
        if *id != from && (wires.cut.contains(id) || wires.cut.contains(&from)) {
            return Err("the wire is cut".into());
        }
        inbound.heard(from);
        Ok((Arc::clone(inbound), dir.clone()))
    }

    /// A connection is to a node, not to an address.
    async fn reach_node(
        &self,
        from: NodeId,
        to: NodeId,
        port: u16,
    ) -> Result<(Arc<dyn Inbound>, SnapshotDir), String> {
        let reached = self.reach(from, port).await?;
        if reached.0.me().id == to { Ok(reached) } else { Err("another node is there".into()) }
    }

    fn is_cut(&self, node: NodeId) -> bool {
        self.0.lock().unwrap().cut.contains(&node)
    }
}

#[derive(Clone)]
pub struct Wire {
    pub net: Net,
    pub id: NodeId,
    pub me: Peer,
    pub dir: SnapshotDir,
}

pub struct Client {
    net: Net,
    from: NodeId,
    to: NodeId,
    port: u16,
}

impl RaftNetworkFactory<TypeConfig> for Wire {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, peer: &Peer) -> Client {
        Client { net: self.net.clone(), from: self.id, to: target, port: peer.cluster_port }
    }
}

fn unreachable(cause: impl ToString) -> Unreachable<TypeConfig> {
    Unreachable::new(&AnyError::error(cause.to_string()))
}

impl Client {
    async fn inbound(&self) -> Result<(Arc<dyn Inbound>, SnapshotDir), RPCError<TypeConfig>> {
        self.net
            .reach_node(self.from, self.to, self.port)
            .await
            .map_err(|cause| RPCError::Unreachable(unreachable(cause)))
    }

    /// The answer goes back over the same wire.
    async fn back<T>(&self, answer: Result<T, crate::admin::Refused>) -> Result<T, RPCError<TypeConfig>> {
        sleep(WIRE).await;
        if self.net.is_cut(self.from) || self.net.is_cut(self.to) {
            return Err(RPCError::Network(NetworkError::from_string("the wire is cut")));
        }
        answer.map_err(|refused| RPCError::Unreachable(unreachable(refused)))
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (inbound, _) = self.inbound().await?;
        let answer = inbound.stream_append(futures_util::stream::iter([request]).boxed()).next().await;
        let answer = answer.unwrap_or_else(|| Err(crate::admin::Refused("no answer".into())));
        Ok(AppendEntriesResponse::from(self.back(answer).await?))
    }

    async fn vote(
        &mut self,
        request: VoteRequest,
        _option: RPCOption,
    ) -> Result<VoteResponse, RPCError<TypeConfig>> {
        let (inbound, _) = self.inbound().await?;
        let answer = inbound.vote(request).await;
        self.back(answer).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest,
        _option: RPCOption,
    ) -> Result<VoteResponse, RPCError<TypeConfig>> {
        let (inbound, _) = self.inbound().await?;
        let answer = inbound.pre_vote(request).await;
        self.back(answer).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let reached = self.net.reach_node(self.from, self.to, self.port).await;
        let (inbound, dir) = reached.map_err(unreachable)?;
        let SnapshotData::Stored(content) = snapshot.snapshot else {
            panic!("only what is stored can be sent")
        };
        let file = write(&dir, &content);
        let received = Received { meta: snapshot.meta, file, content };
        inbound.install_snapshot(vote, received).await.map_err(|refused| unreachable(refused).into())
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (inbound, _) = self.inbound().await?;
        let answer = inbound.transfer_leader(request).await;
        self.back(answer).await
    }
}

/// A file under the name of the snapshot, not committed.
pub fn write(dir: &SnapshotDir, content: &[u8]) -> SnapshotWriter {
    let mut file = dir.create("dump.rdb").unwrap();
    file.write_all(content).unwrap();
    file.flush().unwrap();
    file
}

impl Transport for Wire {
    type Factory = Wire;

    fn factory(&self) -> Wire {
        self.clone()
    }

    fn serve(&self, inbound: Arc<dyn Inbound>) -> BoxFuture<'static, io::Result<()>> {
        struct Listening(Net, u16);
        impl Drop for Listening {
            fn drop(&mut self) {
                self.0.0.lock().unwrap().nodes.remove(&self.1);
            }
        }
        let (net, port) = (self.net.clone(), self.me.cluster_port);
        net.0.lock().unwrap().nodes.insert(port, (self.id, inbound, self.dir.clone()));
        let listening = Listening(net, port);
        Box::pin(async move {
            let _listening = listening;
            std::future::pending().await
        })
    }

    fn hello(&self, _host: &str, cluster_port: u16) -> BoxFuture<'static, Result<PeerInfo, String>> {
        let (net, id) = (self.net.clone(), self.id);
        Box::pin(async move {
            let (inbound, _) = net.reach(id, cluster_port).await?;
            let info = inbound.me();
            net.inbound(id).met(&info);
            Ok(info)
        })
    }

    fn join(&self, leader: &Peer, joiner: Joiner) -> BoxFuture<'static, Result<(), String>> {
        let (net, id, port) = (self.net.clone(), self.id, leader.cluster_port);
        Box::pin(async move { net.reach(id, port).await?.0.join(joiner).await })
    }
}

/// What an executor has seen.
#[derive(Default)]
pub struct Seen {
    pub entries: Vec<(LogId, Committed)>,
    pub membership: Membership,
    pub installed: u64,
}

impl Seen {
    pub fn batches(&self) -> Vec<Bytes> {
        let batch = |entry: &(LogId, Committed)| match &entry.1 {
            Committed::Batch(batch) => Some(batch.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(batch).collect()
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.entries.last().map(|(log_id, _)| *log_id),
            last_membership: self.membership.clone(),
        }
    }

    /// The state is the batches, one to a line.
    fn content(&self) -> Bytes {
        self.batches().join(&b'\n').into()
    }
}

/// One node's machine: what survives a restart, and the process while it runs.
pub struct Machine {
    pub id: NodeId,
    pub peer: Peer,
    pub disk: SimDisk,
    pub slow_disk: Arc<AtomicU64>,
    pub net: Net,
    pub taken: Arc<Mutex<Option<(Taken, Membership)>>>,
    pub handle: Handle,
    pub seen: Arc<Mutex<Seen>>,
}

pub fn peer(n: u16) -> Peer {
    Peer { host: "127.0.0.1".into(), port: 7000 + n, cluster_port: 17000 + n, tls_port: 0 }
}

impl Machine {
    /// A node on a new disk.
    pub fn new(net: &Net, n: u16, id: NodeId, peers: &[Peer]) -> Machine {
        Machine::on(net, n, id, peers, SimDisk::new(id), Arc::default())
    }

    fn on(
        net: &Net,
        n: u16,
        id: NodeId,
        peers: &[Peer],
        disk: SimDisk,
        taken: Arc<Mutex<Option<(Taken, Membership)>>>,
    ) -> Machine {
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let dir = SnapshotDir::attach(Arc::clone(&dyn_disk), "data".as_ref()).unwrap();
        let options = LogOptions { segment_bytes: 64 << 10, salt: 1 };
        let (log, recovered) = Log::open(dyn_disk, "data/log".as_ref(), options).unwrap();
        let slow_disk = Arc::new(AtomicU64::new(0));
        let slow = Arc::clone(&slow_disk);
        let news = Arc::new(Notify::new());
        let wake = Arc::clone(&news);
        let options = Options {
            id,
            me: peer(n),
            peers: peers.to_vec(),
            timing: timing(),
            log,
            recovered,
            policy: SyncPolicy::Always,
            snapshot: taken.lock().unwrap().as_ref().map(|(taken, _)| taken.clone()),
            wake: Arc::new(move || wake.notify_one()),
        };
        let wire = Wire { net: net.clone(), id, me: peer(n), dir };
        let delay = move || DISK + Duration::from_millis(slow.load(Ordering::Relaxed));
        let handle = Node::spawn(options, wire, Box::new(delay)).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        tokio::spawn(execute(handle.clone(), news, Arc::clone(&seen), Arc::clone(&taken)));
        Machine { id, peer: peer(n), disk, slow_disk, net: net.clone(), taken, handle, seen }
    }

    /// Stops the process and starts it again on the same disk.
    pub async fn restart(self) -> Machine {
        self.stop().await;
        let n = self.peer.port - 7000;
        Machine::on(&self.net, n, self.id, &[], self.disk.clone(), self.taken)
    }

    pub async fn stop(&self) {
        self.handle.stop().unwrap();
        let net = self.net.clone();
        until("a node stops", || !net.0.lock().unwrap().nodes.contains_key(&self.peer.cluster_port)).await;
        // Whatever it had not synced is gone.
        self.disk.crash();
    }

    pub fn leads(&self) -> Option<u64> {
        self.handle.leading()
    }

    pub fn batches(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().batches()
    }

    /// Has the executor write a snapshot of what it has seen.
    pub fn snapshot(&self) -> u64 {
        let seen = self.seen.lock().unwrap();
        let taken = Taken { meta: seen.meta(), file: seen.content() };
        let index = taken.meta.last_log_id.unwrap().index;
        *self.taken.lock().unwrap() = Some((taken.clone(), seen.membership.clone()));
        self.handle.snapshot_taken(taken);
        index
    }

    pub async fn order(&self, order: Order) -> Result<(), String> {
        let (done, answer) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |result| drop(done.send(result)));
        self.handle.order(order, done);
        tokio::time::timeout(PATIENCE, answer).await.expect("an order is answered").expect("by its callback")
    }

    pub fn role(&self) -> Role {
        self.handle.status().role
    }

    pub fn voters(&self) -> Vec<NodeId> {
        let status = self.handle.status();
        status.members.iter().filter(|member| member.voter).map(|member| member.id).collect()
    }
}

/// An executor that remembers everything.
async fn execute(
    handle: Handle,
    news: Arc<Notify>,
    seen: Arc<Mutex<Seen>>,
    kept: Arc<Mutex<Option<(Taken, Membership)>>>,
) {
    if let Some((taken, membership)) = &*kept.lock().unwrap() {
        load(&mut seen.lock().unwrap(), &taken.meta, &taken.file);
        seen.lock().unwrap().membership = membership.clone();
    }
    let mut applied = VecDeque::new();
    loop {
        while handle.take_applied(&mut applied, 1 << 20) {
            for applied in applied.drain(..) {
                match applied {
                    Applied::Entry { log_id, entry } => {
                        let mut seen = seen.lock().unwrap();
                        let last = seen.entries.last().map(|(last, _)| last.index);
                        assert!(last.is_none_or(|last| log_id.index == last + 1), "{log_id} after {last:?}");
                        if let Committed::Membership(membership) = &entry {
                            seen.membership = Membership::clone(membership);
                        }
                        seen.entries.push((log_id, entry));
                    }
                    Applied::Install { received, done } => {
                        let Received { meta, file, content } = *received;
                        file.commit().unwrap();
                        load(&mut seen.lock().unwrap(), &meta, &content);
                        let taken = Taken { meta: meta.clone(), file: content };
                        *kept.lock().unwrap() = Some((taken, meta.last_membership));
                        seen.lock().unwrap().installed += 1;
                        done(Ok(()));
                    }
                    Applied::SnapshotWanted => {
                        let (meta, file) = {
                            let seen = seen.lock().unwrap();
                            (seen.meta(), seen.content())
                        };
                        handle.snapshot_taken(Taken { meta, file });
                    }
                }
            }
        }
        news.notified().await;
    }
}

fn load(seen: &mut Seen, meta: &SnapshotMeta, content: &Bytes) {
    let last = meta.last_log_id.expect("a snapshot is of something");
    let batches = content.split(|&byte| byte == b'\n').filter(|batch| !batch.is_empty());
    let entries = batches.map(|batch| (last, Committed::Batch(content.slice_ref(batch))));
    seen.entries = entries.collect();
    // So that the next entry is known to follow, even if there were no batches.
    seen.entries.push((last, Committed::Blank));
    seen.membership = meta.last_membership.clone();
}

/// A group of nodes.
pub struct Group {
    pub net: Net,
    pub machines: Vec<Machine>,
}

impl Group {
    /// Boots a group of `n` and waits until all follow one leader.
    pub async fn boot(n: u16) -> Group {
        let net = Net::default();
        let peers: Vec<Peer> = (1..=n).map(peer).collect();
        let machines = (1..=n).map(|n| Machine::new(&net, n, u64::from(n) * 11, &peers)).collect();
        let group = Group { net, machines };
        group.leader().await;
        until("all know all voters", || {
            group.machines.iter().all(|machine| machine.voters().len() == usize::from(n))
        })
        .await;
        group
    }

    pub fn machine(&self, id: NodeId) -> &Machine {
        self.machines.iter().find(|machine| machine.id == id).unwrap()
    }

    /// Waits for a leader, among the nodes that are not cut off, whose own term's blank has come out, and tells its term.
    pub async fn leader(&self) -> (NodeId, u64) {
        let mut found = None;
        until("a node leads", || {
            let reachable = self.machines.iter().filter(|machine| !self.net.is_cut(machine.id));
            found = reachable
                .filter_map(|machine| Some((machine.id, machine.leads()?)))
                .max_by_key(|&(_, term)| term);
            found.is_some_and(|(id, term)| {
                let seen = self.machine(id).seen.lock().unwrap();
                seen.entries.iter().any(|(log_id, entry)| {
                    crate::entry::term_of(log_id) == term && *entry == Committed::Blank
                })
            })
        })
        .await;
        found.unwrap()
    }

    /// Proposes batches and waits until the leader's executor has them.
    pub async fn write(&self, names: &[&str]) {
        let (leader, term) = self.leader().await;
        let machine = self.machine(leader);
        for name in names {
            machine.handle.propose(term, Bytes::copy_from_slice(name.as_bytes()));
        }
        let last = names.last().expect("something is written").as_bytes();
        until("the batches are committed", || machine.batches().last().is_some_and(|batch| batch == last))
            .await;
    }

    /// Waits until all nodes have the same batches as this one.
    pub async fn agree(&self) -> Vec<Bytes> {
        let (leader, _) = self.leader().await;
        until("all nodes agree", || {
            let expected = self.machine(leader).batches();
            self.machines.iter().all(|machine| machine.batches() == expected)
        })
        .await;
        self.machine(leader).batches()
    }
}

/// An executor on the test's own thread.
pub struct ThreadExecutor {
    handle: Handle,
    news: std::sync::mpsc::Receiver<()>,
    entries: std::cell::RefCell<VecDeque<Applied>>,
}

impl ThreadExecutor {
    /// Until there is something new, or a little while.
    pub fn wait(&self) {
        let _ = self.news.recv_timeout(Duration::from_millis(50));
        while self.handle.take_applied(&mut self.entries.borrow_mut(), 1 << 20) {}
    }

    fn committed(&self) -> Vec<(LogId, Committed)> {
        let entry = |applied: &Applied| match applied {
            Applied::Entry { log_id, entry } => (*log_id, entry.clone()),
            _ => panic!("a lone node needs no snapshot"),
        };
        self.entries.borrow().iter().map(entry).collect()
    }

    pub fn has_blank(&self, term: u64) -> bool {
        self.committed()
            .iter()
            .any(|(id, entry)| crate::entry::term_of(id) == term && *entry == Committed::Blank)
    }

    pub fn batches(&self) -> Vec<Bytes> {
        Seen { entries: self.committed(), ..Seen::default() }.batches()
    }
}

/// A group of one, on threads.
pub fn start_thread(disk: &SimDisk) -> (Handle, ThreadExecutor) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = SnapshotDir::attach(Arc::clone(&disk), "data".as_ref()).unwrap();
    let (log, recovered) =
        Log::open(disk, "data/log".as_ref(), LogOptions { segment_bytes: 64 << 10, salt: 1 }).unwrap();
    let (news, woken) = std::sync::mpsc::channel();
    let options = Options {
        id: 11,
        me: peer(1),
        peers: vec![peer(1)],
        timing: timing(),
        log,
        recovered,
        policy: SyncPolicy::Always,
        snapshot: None,
        wake: Arc::new(move || {
            let _ = news.send(());
        }),
    };
    let handle = Node::start(options, Wire { net: Net::default(), id: 11, me: peer(1), dir }).unwrap();
    (handle.clone(), ThreadExecutor { handle, news: woken, entries: Default::default() })
}
