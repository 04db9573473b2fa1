//! The calling side: openraft's network.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::RaftNetworkFactory;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkV2};
use openraft::raft::AppendEntriesResponse;
use tokio::time::{Instant, Sleep};

use super::Shared;
use super::conn::{Conn, ConnError};
use super::frame::Kind;
use super::handshake::{self, HandshakeError};
use super::message::{Control, Purpose, encode_append};
use super::net::Running;
use super::snapshot;
use crate::admin::{
    AppendEntriesRequest, Appended, Installed, Joiner, PeerInfo, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::snapshot::{Snapshot, SnapshotData};
use crate::types::{NodeId, Peer, TypeConfig, Vote};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// Requests with entries under way on one connection: as many as openraft itself takes at the other end.
const WINDOW_REQUESTS: usize = 64;
/// Their bytes; one request may be longer.
const WINDOW_BYTES: u64 = 32 << 20;
/// Requests that nobody waits for any more. With more of them, or longer ones, than this, a new connection is quicker.
const ABANDONED_MAX: u64 = 64;
const ABANDONED_BYTES: u64 = 64 * 1024;
/// After a connection could not be made the next attempt waits for so long. openraft has pauses of its own, but they come with the
/// requests, which it makes only once there is a connection: a node that is down, and refuses at once, would be called as fast
/// as the processor goes.
const CALL_AGAIN: Duration = Duration::from_millis(20);
/// Connections for votes kept for each target.
const SPARE_LANES: usize = 4;

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// None when it is not known who is there.
    pub id: Option<NodeId>,
    pub host: String,
    pub port: u16,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection.
    #[error("{0}")]
    Unreachable(String),
    /// There was one.
    #[error("{0}")]
    Lost(#[from] ConnError),
    #[error("refused: {0}")]
    Refused(String),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("this node: {0}")]
    Here(#[from] std::io::Error),
}

impl CallError {
    pub fn unexpected(control: &Control) -> CallError {
        match control {
            Control::Refused(text) => CallError::Refused(text.clone()),
            other => ConnError::Unexpected(other.name()).into(),
        }
    }
}

/// A connection on which requests are numbered and answered in their order.
pub struct Link {
    pub conn: Conn,
    peer: NodeId,
    sent: u64,
    answered: u64,
}

impl Link {
    pub fn new(conn: Conn, peer: NodeId) -> Link {
        Link { conn, peer, sent: 0, answered: 0 }
    }

    pub fn send_control(&mut self, control: &Control) -> u64 {
        let number = self.next();
        self.conn.send_control(number, control);
        number
    }

    /// More of a request that has been begun.
    pub fn send_numbered(&mut self, number: u64, control: &Control) {
        self.conn.send_control(number, control);
    }

    fn next(&mut self) -> u64 {
        if self.sent == self.answered {
            self.conn.restart_silence();
        }
        self.sent += 1;
        self.sent
    }

    /// The next message that belongs to this request.
    pub async fn answer(
        &mut self,
        shared: &Shared,
        number: u64,
        silence: Duration,
    ) -> Result<Control, CallError> {
        loop {
            let (answered, control) = self.conn.recv_control_within(silence).await?;
            shared.heard(self.peer);
            if control != Control::Alive {
                self.answered = self.answered.max(answered);
            }
            if answered == number {
                return Ok(control);
            }
        }
    }

    /// Whether it can be used for another request. Answers that nobody waits for any more are dropped.
    fn is_good(&mut self, silence: Duration) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while !self.conn.has_failed()
            && let Poll::Ready(Ok(message)) = self.conn.poll_recv(&mut cx)
        {
            if Control::decode(&message).is_ok_and(|control| control != Control::Alive) {
                self.answered = self.answered.max(message.number);
            }
        }
        let waiting = self.sent - self.answered;
        let silent = waiting > 0 && self.conn.progress() + silence <= Instant::now();
        !self.conn.has_failed() && !silent && waiting <= ABANDONED_MAX
    }
}

/// Opens a connection. Bounded in time.
async fn open(shared: &Shared, target: &Target, purpose: Purpose) -> Result<(Conn, PeerInfo), CallError> {
    let Some(inbound) = shared.inbound.get() else {
        return Err(CallError::Unreachable("this node does not serve yet".to_owned()));
    };
    let limit = shared.options.silence;
    let opening = async {
        let mut stream = shared.net.connect(&target.host, target.port).await.map_err(ConnError::from)?;
        if let Some(tls) = &shared.options.tls {
            stream = tls.connect(&target.host, stream).await.map_err(ConnError::from)?;
        }
        let mut conn = Conn::new(stream);
        let credentials = shared.credentials(inbound.me());
        let alive = shared.alive_ms();
        let info = handshake::call(&mut conn, &credentials, target.id, purpose, alive).await?;
        conn.flush().await?;
        Ok::<_, HandshakeError>((conn, info))
    };
    let (conn, info) = tokio::time::timeout(limit, opening)
        .await
        .map_err(|_| format!("no connection within {limit:?}"))
        .and_then(|opened| opened.map_err(|error| error.to_string()))
        .map_err(|text| CallError::Unreachable(format!("{}:{}: {text}", target.host, target.port)))?;
    inbound.met(&info);
    inbound.heard(info.id);
    Ok((conn, info))
}

pub async fn hello(shared: &Shared, target: &Target) -> Result<PeerInfo, String> {
    let (_, info) = open(shared, target, Purpose::Admin).await.map_err(|error| error.to_string())?;
    Ok(info)
}

pub async fn join(shared: &Shared, target: &Target, joiner: Joiner) -> Result<(), String> {
    let joining = async {
        let (conn, info) = open(shared, target, Purpose::Admin).await?;
        let mut link = Link::new(conn, info.id);
        let number = link.send_control(&joiner.into());
        loop {
            match link.answer(shared, number, shared.options.silence).await? {
                Control::Joined(joined) => return Ok(joined),
                Control::Alive => {}
                other => return Err(CallError::unexpected(&other)),
            }
        }
    };
    joining.await.map_err(|error: CallError| error.to_string())?
}

/// A place for one connection: opened when it is needed, and again when it has broken. That a caller has given up waiting for it
/// does not stop it from being opened: the next one will want it.
struct Lane {
    purpose: Purpose,
    state: LaneState,
    /// When the last attempt to open it failed.
    failed_at: Option<Instant>,
}

enum LaneState {
    Closed,
    Opening(Running<Result<Link, CallError>>),
    Open(Box<Link>),
}

impl Lane {
    fn new(purpose: Purpose) -> Lane {
        Lane { purpose, state: LaneState::Closed, failed_at: None }
    }

    async fn link(
        &mut self,
        shared: &Arc<Shared>,
        target: &Target,
        wait: Duration,
    ) -> Result<&mut Link, CallError> {
        if let LaneState::Open(link) = &mut self.state
            && !link.is_good(shared.options.silence)
        {
            self.state = LaneState::Closed;
        }
        if let LaneState::Closed = self.state {
            let (shared, target, purpose) = (Arc::clone(shared), target.clone(), self.purpose);
            let pause = self.failed_at.map(|failed_at| failed_at + CALL_AGAIN);
            self.state = LaneState::Opening(Running::start(async move {
                if let Some(until) = pause {
                    tokio::time::sleep_until(until).await;
                }
                let (conn, info) = open(&shared, &target, purpose).await?;
                Ok(Link::new(conn, info.id))
            }));
        }
        if let LaneState::Opening(opening) = &mut self.state {
            let Ok(opened) = tokio::time::timeout(wait, opening).await else {
                let text = format!("{}:{}: no connection yet", target.host, target.port);
                return Err(CallError::Unreachable(text));
            };
            self.state = LaneState::Closed;
            self.failed_at = Some(Instant::now());
            self.state = LaneState::Open(Box::new(opened??));
            self.failed_at = None;
        }
        match &mut self.state {
            LaneState::Open(link) => Ok(link),
            LaneState::Closed | LaneState::Opening(_) => unreachable!("opened above"),
        }
    }
}

/// Lanes for votes and the like, which openraft asks for with a new client each time.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<Target, Vec<Lane>>>);

impl Lanes {
    fn borrow<'a>(&'a self, target: &'a Target) -> Borrowed<'a> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = lanes.get_mut(target).and_then(Vec::pop);
        Borrowed { lanes: self, target, lane: spare.unwrap_or_else(|| Lane::new(Purpose::Votes)) }
    }
}

/// A lane that goes back when it is dropped.
struct Borrowed<'a> {
    lanes: &'a Lanes,
    target: &'a Target,
    lane: Lane,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let lane = std::mem::replace(&mut self.lane, Lane::new(Purpose::Votes));
        let mut lanes = self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Members that are gone for good leave nothing behind: their lanes are closed.
        lanes.retain(|_, spare| spare.iter().any(|lane| !matches!(lane.state, LaneState::Closed)));
        if !matches!(lane.state, LaneState::Closed) {
            let spare = lanes.entry(self.target.clone()).or_default();
            spare.truncate(SPARE_LANES - 1);
            spare.push(lane);
        }
    }
}

/// Makes openraft's clients.
pub struct Factory {
    shared: Arc<Shared>,
}

impl Factory {
    pub(super) fn new(shared: Arc<Shared>) -> Factory {
        Factory { shared }
    }

    fn client(&self, target: NodeId, node: &Peer, purpose: Purpose) -> Client {
        let target = Target { id: Some(target), host: node.host.clone(), port: node.cluster_port };
        Client { shared: Arc::clone(&self.shared), target, lane: Lane::new(purpose), session: 0 }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Client {
        self.client(target, node, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Peer) -> Client {
        self.client(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Peer) -> Client {
        self.client(target, node, Purpose::Snapshot)
    }
}

/// One target, as openraft sees it.
pub struct Client {
    shared: Arc<Shared>,
    target: Target,
    lane: Lane,
    session: u64,
}

impl Client {
    /// A short question and its answer, over a connection that others may use afterwards.
    async fn ask(&self, question: Control, wait: Duration) -> Result<Control, CallError> {
        let mut borrowed = self.shared.lanes.borrow(&self.target);
        let asking = async {
            let link = borrowed.lane.link(&self.shared, &self.target, wait).await?;
            let number = link.send_control(&question);
            loop {
                match link.answer(&self.shared, number, self.shared.options.silence).await? {
                    Control::Alive => {}
                    answer => return Ok(answer),
                }
            }
        };
        tokio::time::timeout(wait, asking).await.unwrap_or(Err(CallError::Late(wait)))
    }

    fn error(&self, action: RPCTypes, error: CallError) -> RPCError<TypeConfig> {
        rpc_error(&self.shared, &self.target, action, error)
    }

    async fn ask_for_vote(&self, question: Control, option: &RPCOption) -> Rpc<VoteResponse> {
        match self.ask(question, option.soft_ttl()).await {
            Ok(Control::Voted { vote, granted, last }) => {
                Ok(VoteResponse::new(Vote::from(vote), last.map(Into::into), granted))
            }
            Ok(other) => Err(self.error(RPCTypes::Vote, CallError::unexpected(&other))),
            Err(error) => Err(self.error(RPCTypes::Vote, error)),
        }
    }

    /// Waiting for a connection, a heartbeat must not take longer than its turn; entries do not mind.
    fn opening_wait(&self, option: &RPCOption) -> Duration {
        match self.lane.purpose {
            Purpose::Heartbeat => option.soft_ttl(),
            _ => option.soft_ttl().max(self.shared.options.silence / 2),
        }
    }
}

/// What openraft makes of it: it comes back at once after `Network` and `Timeout`, and waits a little after `Unreachable`.
fn rpc_error(shared: &Shared, target: &Target, action: RPCTypes, error: CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::Late(timeout) | CallError::Lost(ConnError::Silent(timeout)) => {
            let id = shared.inbound.get().map_or(0, |inbound| inbound.me().id);
            RPCError::Timeout(Timeout { action, id, target: target.id.unwrap_or_default(), timeout })
        }
        CallError::Lost(error) => RPCError::Network(NetworkError::new(&error)),
        other => RPCError::Unreachable(Unreachable::new(&other)),
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let target = self.target.id;
        let requests = Box::pin(stream::iter([request]));
        let mut answers = self.stream_append(requests, option).await?;
        match answers.next().await {
            Some(Ok(Ok(matching))) if matching < last => Ok(AppendEntriesResponse::PartialSuccess(matching)),
            Some(appended) => Ok(appended?.into()),
            None => {
                let text = format!("node {target:?} has ended the stream without an answer");
                Err(RPCError::Network(NetworkError::from_string(text)))
            }
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<Appended>>>>
    where
        S: Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            self.session += 1;
            let wait = self.opening_wait(&option);
            let (shared, target) = (&self.shared, &self.target);
            let purpose = self.lane.purpose;
            let link = match self.lane.link(shared, target, wait).await {
                Ok(link) => link,
                Err(error) => return Err(rpc_error(shared, target, RPCTypes::AppendEntries, error)),
            };
            let limit = match purpose {
                // A heartbeat that is late is of no use any more.
                Purpose::Heartbeat => option.soft_ttl(),
                // Entries may take the follower's disk as long as they take, as long as it says that it lives.
                _ => option.soft_ttl().max(shared.options.silence),
            };
            let stream = AppendStream {
                shared,
                target,
                link,
                requests,
                session: self.session,
                exhausted: false,
                ended: false,
                under_way: VecDeque::new(),
                bytes: 0,
                limit,
                alarm: Box::pin(tokio::time::sleep(limit)),
            };
            Ok(Box::pin(stream) as BoxStream<'s, Rpc<Appended>>)
        })
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        self.ask_for_vote(Control::Vote((&request).into()), &option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        self.ask_for_vote(Control::PreVote((&request).into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<Installed, StreamingError<TypeConfig>> {
        let SnapshotData::Stored(content) = snapshot.snapshot else {
            // The state machine hands out only what it has stored.
            let text = "a snapshot that has just arrived cannot be sent";
            return Err(Unreachable::from_string(text).into());
        };
        let silence = option.soft_ttl().max(self.shared.options.silence);
        let (shared, target) = (&self.shared, &self.target);
        let lane = &mut self.lane;
        let sending = async {
            lane.link(shared, target, silence).await?;
            // Taken out of its lane: if this is stopped half-way, the connection must not be used again.
            let LaneState::Open(mut link) = std::mem::replace(&mut lane.state, LaneState::Closed) else {
                unreachable!("opened above");
            };
            let sent = snapshot::send(shared, &mut link, &vote, &snapshot.meta, content, silence).await;
            if sent.is_ok() {
                lane.state = LaneState::Open(link);
            }
            sent
        };
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = sending => {
                sent.map_err(|error| rpc_error(shared, target, RPCTypes::InstallSnapshot, error).into())
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse> {
        match self.ask((&request).into(), option.soft_ttl()).await {
            Ok(Control::Transferred(transferred)) => Ok(transferred.map_err(Into::into)),
            Ok(other) => Err(self.error(RPCTypes::TransferLeader, CallError::unexpected(&other))),
            Err(error) => Err(self.error(RPCTypes::TransferLeader, error)),
        }
    }
}

/// Requests with entries go out as they come, answers come back in their order.
struct AppendStream<'s, S> {
    shared: &'s Shared,
    target: &'s Target,
    link: &'s mut Link,
    requests: S,
    session: u64,
    /// There are no more requests.
    exhausted: bool,
    ended: bool,
    /// Number and bytes of the requests without an answer.
    under_way: VecDeque<(u64, u64)>,
    bytes: u64,
    limit: Duration,
    /// Goes off when the peer may have been silent for `limit`.
    alarm: Pin<Box<Sleep>>,
}

impl<S: Stream<Item = AppendEntriesRequest> + Unpin> AppendStream<'_, S> {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Appended, CallError>>> {
        while !self.exhausted && self.under_way.len() < WINDOW_REQUESTS && self.bytes < WINDOW_BYTES {
            match self.requests.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) => self.send(&request),
                Poll::Ready(None) => self.exhausted = true,
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = self.link.conn.poll_flush(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        while let Poll::Ready(received) = self.link.conn.poll_recv(cx) {
            let (number, control) = match received.and_then(|m| Ok((m.number, Control::decode(&m)?))) {
                Ok(received) => received,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            self.shared.heard(self.link.peer);
            if let Some(answer) = self.take(number, control) {
                return Poll::Ready(Some(answer));
            }
        }
        if self.exhausted && self.under_way.is_empty() {
            return Poll::Ready(None);
        }
        while !self.under_way.is_empty() && self.alarm.as_mut().poll(cx).is_ready() {
            let deadline = self.link.conn.progress() + self.limit;
            if deadline <= Instant::now() {
                return Poll::Ready(Some(Err(CallError::Late(self.limit))));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn send(&mut self, request: &AppendEntriesRequest) {
        if self.under_way.is_empty() {
            self.link.conn.restart_silence();
            self.alarm.as_mut().reset(Instant::now() + self.limit);
        }
        let number = self.link.next();
        let parts = encode_append(self.session, request);
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.link.conn.send(Kind::Append, number, parts);
        self.under_way.push_back((number, bytes));
        self.bytes += bytes;
    }

    /// What a message means to who waits; nothing, if it answers a request that nobody waits for any more.
    fn take(&mut self, number: u64, control: Control) -> Option<Result<Appended, CallError>> {
        if control == Control::Alive {
            return None;
        }
        self.link.answered = self.link.answered.max(number);
        let (_, bytes) = self.under_way.pop_front_if(|(awaited, _)| *awaited == number)?;
        self.bytes -= bytes;
        Some(match control {
            Control::Appended(appended) => Ok(appended.into()),
            other => {
                let error = CallError::unexpected(&other);
                if let CallError::Lost(_) = error {
                    self.link.conn.fail();
                }
                Err(error)
            }
        })
    }
}

impl<S: Stream<Item = AppendEntriesRequest> + Unpin> Stream for AppendStream<'_, S> {
    type Item = Rpc<Appended>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Rpc<Appended>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let answer = std::task::ready!(this.poll_answer(cx));
        this.ended = !matches!(answer, Some(Ok(Ok(_))));
        if let Some(Ok(Err(_))) | Some(Err(CallError::Refused(_))) = answer {
            // The other side drops what else it has of this stream, without a word.
            this.link.answered = this.link.sent;
        }
        Poll::Ready(answer.map(|answer| {
            answer.map_err(|error| rpc_error(this.shared, this.target, RPCTypes::AppendEntries, error))
        }))
    }
}

impl<S> Drop for AppendStream<'_, S> {
    /// What has been sent stays sent. But rather than to wait until much of it has gone by for nothing, it is cut off.
    fn drop(&mut self) {
        let abandoned = if self.ended { self.link.conn.unsent() } else { self.bytes };
        if abandoned > ABANDONED_BYTES {
            self.link.conn.fail();
        }
    }
}
