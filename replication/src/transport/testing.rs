//! A network in memory, and nodes that note what reaches them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::disk::{Disk, SimDisk};
use cairn_storage::snapshot::SnapshotDir;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use openraft::EntryPayload;
use openraft::raft::StreamAppendError;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

use super::net::{Io, Listener, Net, Running};
use super::{ListenAt, Options, Peers};
use crate::admin::*;
use crate::snapshot::Received;
use crate::types::{Entry, LogId, NodeId, Peer, Proposal, Vote};

/// Bytes that a connection holds on its way.
const PIPE_LEN: usize = 64 * 1024;
/// No connection is cut.
pub const NEVER: u64 = u64::MAX;

/// Hosts are names; every node has its own.
#[derive(Default)]
pub struct MemoryNet {
    listeners: Mutex<HashMap<(String, u16), mpsc::UnboundedSender<DuplexStream>>>,
    random: AtomicU64,
    pub connections: AtomicUsize,
    /// The connections made next break after the caller has sent so many bytes.
    pub cut_after: Arc<AtomicU64>,
    pub sent: Arc<AtomicU64>,
    /// Nothing comes back from the other sides, as from a process that has been stopped.
    pub stopped: Arc<AtomicBool>,
}

struct MemoryListener(mpsc::UnboundedReceiver<DuplexStream>);

impl MemoryNet {
    pub fn new() -> Arc<MemoryNet> {
        let net = MemoryNet::default();
        net.cut_after.store(NEVER, Relaxed);
        Arc::new(net)
    }
}

impl Net for MemoryNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        let (mine, theirs) = duplex(PIPE_LEN);
        let listeners = self.listeners.lock().expect("no test panics with it");
        let listener = listeners.get(&(host.to_owned(), port));
        let connected = listener.is_some_and(|listener| listener.send(theirs).is_ok());
        self.connections.fetch_add(usize::from(connected), Relaxed);
        let left = self.cut_after.load(Relaxed);
        let (sent, stopped) = (Arc::clone(&self.sent), Arc::clone(&self.stopped));
        let stream = Cut { stream: mine, left, sent, stopped };
        Box::pin(async move {
            if connected {
                Ok(Box::new(stream) as Box<dyn Io>)
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        })
    }

    fn bind<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.lock().expect("no test panics with it").insert((host.to_owned(), port), sender);
        Box::pin(async { Ok(Box::new(MemoryListener(receiver)) as Box<dyn Listener>) })
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.random.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) as u8;
        }
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(async {})
    }
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>> {
        Box::pin(async {
            let stream = self.0.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok((Box::new(stream) as Box<dyn Io>, SocketAddr::from(([127, 0, 0, 1], 1))))
        })
    }
}

/// A connection that breaks.
struct Cut {
    stream: DuplexStream,
    left: u64,
    sent: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stopped.load(Relaxed) {
            // Whoever waits has a time limit, which wakes it.
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let len = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..len]);
        if let Poll::Ready(Ok(written)) = written {
            self.left -= written as u64;
            self.sent.fetch_add(written as u64, Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a node does with entries.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// Time that each request takes.
    pub delay: Duration,
    /// From this index on, entries do not fit.
    pub conflict_from: Option<u64>,
    pub refuse_from: Option<u64>,
}

/// A node that takes everything, and notes it.
pub struct Node {
    pub id: NodeId,
    pub manner: Mutex<Manner>,
    /// What has come, in order.
    pub log: Mutex<Vec<String>>,
    pub entries: Mutex<Vec<Entry>>,
    pub snapshots: Mutex<Vec<Received>>,
    pub met: Mutex<Vec<PeerInfo>>,
    pub heard: AtomicUsize,
}

impl Node {
    pub fn note(&self, what: impl Into<String>) {
        self.log.lock().expect("no test panics with it").push(what.into());
    }

    pub fn notes(&self) -> Vec<String> {
        self.log.lock().expect("no test panics with it").clone()
    }

    fn append(&self, request: &AppendEntriesRequest, manner: Manner) -> Result<Appended, Refused> {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let beyond = |from: Option<u64>| from.is_some_and(|from| last.is_some_and(|last| last.index >= from));
        if beyond(manner.refuse_from) {
            return Err(Refused("the disk is gone".to_owned()));
        }
        if beyond(manner.conflict_from) {
            return Ok(Err(StreamAppendError::Conflict(last.expect("beyond"))));
        }
        self.note(match request.entries.is_empty() {
            true => "heartbeat".to_owned(),
            false => format!("entries up to {}", last.expect("there are entries").index),
        });
        self.entries.lock().expect("no test panics with it").extend(request.entries.iter().cloned());
        Ok(Ok(last))
    }
}

/// The node as the transport sees it.
struct Door(Arc<Node>);

impl Inbound for Door {
    fn me(&self) -> PeerInfo {
        info(self.0.id)
    }

    fn met(&self, peer: &PeerInfo) {
        self.0.met.lock().expect("no test panics with it").push(peer.clone());
    }

    fn heard(&self, _node: NodeId) {
        self.0.heard.fetch_add(1, Relaxed);
    }

    fn vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        self.0.note("vote");
        let manner = *self.0.manner.lock().expect("no test panics with it");
        Box::pin(async move {
            tokio::time::sleep(manner.delay).await;
            Ok(VoteResponse::new(request.vote, request.last_log_id, request.leadership_transfer))
        })
    }

    fn pre_vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        self.0.note("pre-vote");
        Box::pin(async move { Ok(VoteResponse::new(request.vote, None, false)) })
    }

    fn stream_append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest>,
    ) -> BoxStream<'static, Result<Appended, Refused>> {
        let node = Arc::clone(&self.0);
        let answers = requests.then(move |request| {
            let node = Arc::clone(&node);
            async move {
                let manner = *node.manner.lock().expect("no test panics with it");
                tokio::time::sleep(manner.delay).await;
                node.append(&request, manner)
            }
        });
        let mut ended = false;
        answers
            .take_while(move |answer| {
                let goes_on = !ended;
                ended |= !matches!(answer, Ok(Ok(_)));
                std::future::ready(goes_on)
            })
            .boxed()
    }

    fn install_snapshot(
        &self,
        vote: Vote,
        received: Received,
    ) -> BoxFuture<'static, Result<Installed, Refused>> {
        self.0.note("snapshot");
        self.0.snapshots.lock().expect("no test panics with it").push(received);
        Box::pin(async move { Ok(Installed::new(vote)) })
    }

    fn transfer_leader(
        &self,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Refused>> {
        self.0.note(format!("transfer to {}", request.to_node_id()));
        Box::pin(async { Ok(Ok(())) })
    }

    fn join(&self, joiner: Joiner) -> BoxFuture<'static, Result<(), String>> {
        self.0.note(format!("join {}", joiner.id));
        let manner = *self.0.manner.lock().expect("no test panics with it");
        Box::pin(async move {
            tokio::time::sleep(manner.delay).await;
            Err("there is no room".to_owned())
        })
    }
}

pub fn peer(id: NodeId) -> Peer {
    Peer { host: format!("n{id}"), port: 1, cluster_port: 2, tls_port: 3 }
}

pub fn info(id: NodeId) -> PeerInfo {
    PeerInfo {
        id,
        peer: peer(id),
        state: PeerState::Member,
        leader: None,
        session_token: [id as u8; 16],
        promise_ms: 600,
    }
}

pub fn options(id: NodeId) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(id));
    Options {
        listen: vec![ListenAt { host: format!("n{id}"), optional: false }],
        port: 2,
        secret: None,
        tls: None,
        silence: Duration::from_secs(1),
        snapshots: SnapshotDir::open(disk, Path::new("snapshots")).expect("an empty disk"),
        snapshot_file: "dump.rdb".to_owned(),
    }
}

/// A node that serves until this is dropped.
pub struct Started {
    pub peers: Peers,
    pub node: Arc<Node>,
    pub snapshots: SnapshotDir,
    _serving: Running<io::Result<()>>,
}

pub async fn start(net: Arc<dyn Net>, id: NodeId, options: Options) -> Started {
    let node = Arc::new(Node {
        id,
        manner: Mutex::default(),
        log: Mutex::default(),
        entries: Mutex::default(),
        snapshots: Mutex::default(),
        met: Mutex::default(),
        heard: AtomicUsize::new(0),
    });
    let snapshots = options.snapshots.clone();
    let peers = Peers::new(net, options);
    let serving = Running::start(peers.serve(Arc::new(Door(Arc::clone(&node)))));
    tokio::task::yield_now().await;
    Started { peers, node, snapshots, _serving: serving }
}

/// Nodes 1 and 2.
pub async fn pair(net: &Arc<MemoryNet>) -> (Started, Started) {
    (start(net.clone(), 1, options(1)).await, start(net.clone(), 2, options(2)).await)
}

pub fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true }
}

pub fn log_id(index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId { term: 1 }, index }
}

/// The entry `index` and nothing else.
pub fn append(index: u64, batch: Bytes) -> AppendEntriesRequest {
    AppendEntriesRequest {
        vote: vote(1),
        prev_log_id: index.checked_sub(1).map(log_id),
        entries: vec![Entry { log_id: log_id(index), payload: EntryPayload::Normal(Proposal(batch)) }],
        leader_commit: None,
    }
}

pub fn heartbeat() -> AppendEntriesRequest {
    AppendEntriesRequest { vote: vote(1), prev_log_id: None, entries: vec![], leader_commit: None }
}
