//! The answering side.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, warn};

use super::conn::{Conn, ConnError};
use super::frame::{Kind, Message};
use super::handshake::{self, Caller, HandshakeError};
use super::message::{Control, MessageError, Refusal, WireMeta, WireVote, decode_append, decode_chunk};
use super::net::{Io, Listener};
use super::snapshot::Transfer;
use super::{ListenAt, Shared};
use crate::admin::{
    AppendEntriesRequest, Appended, Inbound, Joiner, PeerInfo, Refused, TransferLeaderRequest,
};
use crate::types::{NodeId, SnapshotMeta};

/// Who has not proved by then to be a peer is turned away.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Connections whose callers have proved nothing yet.
const STRANGERS_MAX: usize = 64;
/// Connections of peers, and those of one of them: past that the oldest goes, which is one that was cut off without our knowing.
const CONNECTIONS_MAX: usize = 512;
const CONNECTIONS_OF_PEER_MAX: usize = 16;
/// Requests with entries of one connection that wait for Raft, and their bytes. Then no more is read.
const UNANSWERED_MAX: usize = 128;
const UNANSWERED_BYTES: usize = 64 << 20;
/// Answers are sent when so much has come together, or nothing else is to be done.
const ANSWERS_BYTES: u64 = 16 * 1024;
/// A complaint about one address is repeated so often.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 1024;
/// A listener that fails, as it does while file descriptors are short, is tried again so often.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often what is left of old transfers is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Bounds of how often a waiting peer is told that this node lives.
const ALIVE_MIN: Duration = Duration::from_millis(10);
const ALIVE_MAX: Duration = Duration::from_secs(10);

/// Listens and serves until dropped. Fails only at the start.
pub async fn serve(shared: Arc<Shared>, inbound: Arc<dyn Inbound>) -> io::Result<()> {
    let mut listeners = Vec::new();
    for ListenAt { host, optional } in &shared.options.listen {
        let port = shared.options.port;
        match shared.net.bind(host, port).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if *optional => tracing::debug!("not listening for peers at {host}:{port}: {error}"),
            Err(error) => {
                let what = format!("listen for peers at {host}:{port}: {error}");
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    if listeners.is_empty() && !shared.options.listen.is_empty() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to listen for peers at"));
    }
    let hall = Arc::new(Hall { shared, inbound, guests: Mutex::default() });
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(Arc::clone(&hall), listener));
    }
    loop {
        sleep(SWEEP_EVERY).await;
        hall.shared.receiving.forget_old(&hall.shared.net).await;
    }
}

/// Serves one connection as if it had been accepted.
#[cfg(any(test, feature = "fuzzing"))]
pub async fn serve_stream(shared: Arc<Shared>, inbound: Arc<dyn Inbound>, stream: Box<dyn Io>) {
    let hall = Arc::new(Hall { shared, inbound, guests: Mutex::default() });
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    if hall.admit(address) {
        hall.receive(stream, address).await;
    }
}

async fn accept(hall: Arc<Hall>, mut listener: Box<dyn Listener>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    if hall.admit(address) {
                        connections.spawn(Arc::clone(&hall).receive(stream, address));
                    }
                }
                Err(error) => {
                    warn!("no connection of a peer can be taken: {error}");
                    sleep(ACCEPT_AGAIN).await;
                }
            },
            // What has ended is cleared away.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Where callers come in.
struct Hall {
    shared: Arc<Shared>,
    inbound: Arc<dyn Inbound>,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    strangers: usize,
    peers: HashMap<NodeId, VecDeque<Arc<Notify>>>,
    complaints: HashMap<IpAddr, Instant>,
}

/// One more or less stranger.
struct Stranger<'a>(&'a Hall);

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        self.0.guests().strangers -= 1;
    }
}

/// A peer's connection, which may be told to go.
struct Guest<'a> {
    hall: &'a Hall,
    id: NodeId,
    leave: Arc<Notify>,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut guests = self.hall.guests();
        if let Some(connections) = guests.peers.get_mut(&self.id) {
            connections.retain(|leave| !Arc::ptr_eq(leave, &self.leave));
            if connections.is_empty() {
                guests.peers.remove(&self.id);
            }
        }
    }
}

impl Hall {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a stranger in, if there is room.
    fn admit(&self, address: SocketAddr) -> bool {
        let mut guests = self.guests();
        let peers: usize = guests.peers.values().map(VecDeque::len).sum();
        let room = guests.strangers < STRANGERS_MAX && peers < CONNECTIONS_MAX;
        guests.strangers += usize::from(room);
        drop(guests);
        if !room {
            self.complain(address, "there are too many connections");
        }
        room
    }

    fn welcome(&self, id: NodeId) -> Guest<'_> {
        let leave = Arc::new(Notify::new());
        let mut guests = self.guests();
        let connections = guests.peers.entry(id).or_default();
        if connections.len() >= CONNECTIONS_OF_PEER_MAX
            && let Some(oldest) = connections.pop_front()
        {
            oldest.notify_one();
        }
        connections.push_back(Arc::clone(&leave));
        Guest { hall: self, id, leave }
    }

    /// Once per address and minute: a log that anybody can fill is of no use.
    fn complain(&self, address: SocketAddr, what: &str) {
        let now = Instant::now();
        let mut guests = self.guests();
        let complaints = &mut guests.complaints;
        if complaints.len() >= COMPLAINTS_MAX {
            complaints.retain(|_, said| now.duration_since(*said) < COMPLAINT_EVERY);
        }
        let said =
            complaints.get(&address.ip()).is_some_and(|said| now.duration_since(*said) < COMPLAINT_EVERY);
        if !said && complaints.len() < COMPLAINTS_MAX {
            complaints.insert(address.ip(), now);
            warn!("peer at {address} is turned away: {what}");
        }
    }

    async fn receive(self: Arc<Self>, stream: Box<dyn Io>, address: SocketAddr) {
        let stranger = Stranger(&self);
        let greeted = match timeout(HANDSHAKE_LIMIT, greet(&self.shared, &*self.inbound, stream)).await {
            Ok(greeted) => greeted.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no handshake within {HANDSHAKE_LIMIT:?}")),
        };
        let (conn, caller) = match greeted {
            Ok(greeted) => greeted,
            Err(why) => return self.complain(address, &why),
        };
        let guest = self.welcome(caller.id);
        drop(stranger);
        let serving = Serving::new(conn, &self.shared, &*self.inbound, caller);
        let why = tokio::select! {
            Err(error) = serving.run() => error,
            () = guest.leave.notified() => ConnError::Closed,
        };
        debug!("node {:016x} at {address} ({:?}): {why}", caller.id, caller.purpose);
        if let ConnError::Frame(_) | ConnError::Message(_) | ConnError::Unexpected(_) = why {
            self.complain(address, &why.to_string());
        }
    }
}

/// Everything until it is certain that this is a peer.
async fn greet(
    shared: &Shared,
    inbound: &dyn Inbound,
    mut stream: Box<dyn Io>,
) -> Result<(Conn, Caller), HandshakeError> {
    if let Some(tls) = &shared.options.tls {
        stream = tls.accept(stream).await.map_err(ConnError::from)?;
    }
    let mut conn = Conn::new(stream);
    let caller = handshake::answer(&mut conn, &shared.credentials(inbound.me())).await?;
    let Control::Introduction(info) = conn.recv_control().await?.1 else {
        return Err(Refusal::Magic.into());
    };
    let info = PeerInfo::from(info);
    if info.id != caller.id {
        return Err(Refusal::Identity.into());
    }
    inbound.met(&info);
    Ok((conn, caller))
}

/// A connection of a peer.
struct Serving<'a> {
    conn: Conn,
    shared: &'a Shared,
    inbound: &'a dyn Inbound,
    caller: Caller,
    alive: Duration,
    alarm: Pin<Box<Sleep>>,
    session: Option<Session>,
    /// The first request of the next session, which waits for the end of this one.
    held: Option<Append>,
    /// A session that has ended with an error: what is left of it is dropped.
    dead: Option<u64>,
}

/// Entries that have arrived.
struct Append {
    number: u64,
    session: u64,
    bytes: usize,
    request: AppendEntriesRequest,
}

/// One stream of the caller's openraft.
struct Session {
    id: u64,
    /// None when no more come.
    requests: Option<mpsc::UnboundedSender<AppendEntriesRequest>>,
    answers: BoxStream<'static, Result<Appended, Refused>>,
    /// Number and bytes of each request without an answer.
    unanswered: VecDeque<(u64, usize)>,
    bytes: usize,
}

enum Event {
    Message(Message),
    Answer(Option<Result<Appended, Refused>>),
    /// The caller has waited for a while.
    Alive,
}

impl<'a> Serving<'a> {
    fn new(conn: Conn, shared: &'a Shared, inbound: &'a dyn Inbound, caller: Caller) -> Serving<'a> {
        let alive = Duration::from_millis(u64::from(caller.alive_ms)).clamp(ALIVE_MIN, ALIVE_MAX);
        let alarm = Box::pin(sleep(alive));
        Serving { conn, shared, inbound, caller, alive, alarm, session: None, held: None, dead: None }
    }

    /// Serves until the connection ends, which is the error.
    async fn run(mut self) -> Result<std::convert::Infallible, ConnError> {
        loop {
            match poll_fn(|cx| self.poll_event(cx)).await? {
                Event::Message(message) => self.on_message(message).await?,
                Event::Answer(answer) => self.on_answer(answer),
                Event::Alive => self.on_alive(),
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, ConnError>> {
        // Not for each answer: many come together, after one sync of the disk.
        if self.conn.unsent() >= ANSWERS_BYTES
            && let Poll::Ready(Err(error)) = self.conn.poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        if let Some(session) = &mut self.session
            && let Poll::Ready(answer) = session.answers.poll_next_unpin(cx)
        {
            return Poll::Ready(Ok(Event::Answer(answer)));
        }
        let room = self.held.is_none() && self.session.as_ref().is_none_or(Session::has_room);
        if room && let Poll::Ready(message) = self.conn.poll_recv(cx) {
            return Poll::Ready(message.map(Event::Message));
        }
        if let Poll::Ready(Err(error)) = self.conn.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        let waited_for = self.session.as_ref().is_some_and(|session| !session.unanswered.is_empty());
        if waited_for && self.alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Event::Alive));
        }
        Poll::Pending
    }

    fn on_alive(&mut self) {
        self.alarm.as_mut().reset(Instant::now() + self.alive);
        if let Some((number, _)) = self.session.as_ref().and_then(|session| session.unanswered.front()) {
            self.conn.send_control(*number, &Control::Alive);
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), ConnError> {
        self.inbound.heard(self.caller.id);
        match message.kind {
            Kind::Append => {
                let (number, bytes) = (message.number, message.payload.len());
                let (session, request) = decode_append(message.payload)?;
                self.on_append(Append { number, session, bytes, request });
                Ok(())
            }
            Kind::Control => {
                let control = Control::decode(&message)?;
                self.on_control(message.number, control).await
            }
            Kind::Chunk => Err(MessageError::Unexpected(Kind::Chunk).into()),
        }
    }

    fn on_append(&mut self, append: Append) {
        match &mut self.session {
            _ if self.dead == Some(append.session) => {}
            Some(session) if session.id == append.session => session.push(append),
            Some(session) => {
                // Its answers still come; then it is the next one's turn.
                session.requests = None;
                self.held = Some(append);
            }
            None => self.begin(append),
        }
    }

    fn begin(&mut self, append: Append) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let requests = stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
        let mut session = Session {
            id: append.session,
            requests: Some(sender),
            answers: self.inbound.stream_append(requests),
            unanswered: VecDeque::new(),
            bytes: 0,
        };
        session.push(append);
        self.session = Some(session);
        self.alarm.as_mut().reset(Instant::now() + self.alive);
    }

    fn on_answer(&mut self, answer: Option<Result<Appended, Refused>>) {
        let Some(session) = &mut self.session else { return };
        let request = session.unanswered.pop_front();
        if let (Some(Ok(Ok(_))), Some((_, bytes))) = (&answer, request) {
            session.bytes -= bytes;
        } else {
            self.dead = Some(session.id);
            self.session = None;
        }
        self.alarm.as_mut().reset(Instant::now() + self.alive);
        if let Some((number, _)) = request {
            let control = match answer {
                Some(Ok(appended)) => Control::Appended((&appended).into()),
                Some(Err(Refused(text))) => Control::Refused(text),
                None => Control::Refused("the node takes no more entries".to_owned()),
            };
            self.conn.send_control(number, &control);
        }
        if self.session.is_none()
            && let Some(held) = self.held.take()
        {
            self.begin(held);
        }
    }

    async fn on_control(&mut self, number: u64, control: Control) -> Result<(), ConnError> {
        let answer = match control {
            Control::Vote(request) => {
                let voted = self.wait(number, self.inbound.vote(request.into())).await?;
                voted.map(|voted| Control::from(&voted))
            }
            Control::PreVote(request) => {
                let voted = self.wait(number, self.inbound.pre_vote(request.into())).await?;
                voted.map(|voted| Control::from(&voted))
            }
            Control::TransferLeader { from, to, last } => {
                let request = TransferLeaderRequest::new(from.into(), to, last.map(Into::into));
                let transferred = self.wait(number, self.inbound.transfer_leader(request)).await?;
                transferred.map(|transferred| Control::from(&transferred))
            }
            Control::Join { id, peer } => {
                Ok(Control::Joined(self.wait(number, self.inbound.join(Joiner { id, peer })).await?))
            }
            Control::SnapshotBegin { vote, meta, len } => {
                return self.on_snapshot(number, vote, meta, len).await;
            }
            other => return Err(ConnError::Unexpected(other.name())),
        };
        let answer = answer.unwrap_or_else(|Refused(text)| Control::Refused(text));
        self.conn.send_control(number, &answer);
        Ok(())
    }

    /// Waits for something, and tells the caller meanwhile that this node lives.
    async fn wait<T>(&mut self, number: u64, future: impl Future<Output = T>) -> Result<T, ConnError> {
        wait(&mut self.conn, number, self.alive, future).await
    }

    /// A whole snapshot. What arrives is kept if the connection breaks.
    async fn on_snapshot(
        &mut self,
        number: u64,
        vote: WireVote,
        meta: WireMeta,
        len: u64,
    ) -> Result<(), ConnError> {
        let meta: SnapshotMeta = meta.try_into()?;
        let shared = self.shared;
        let begin = shared.receiving.begin(&shared.net, &meta, len);
        let received = match self.wait(number, begin).await? {
            Ok((transfer, offset, crc)) => {
                self.conn.send_control(number, &Control::SnapshotOffer { offset, crc });
                self.take_snapshot(number, &transfer, meta).await?
            }
            Err(error) => Err(error),
        };
        let answer = match received {
            Ok(received) => {
                let installed =
                    self.wait(number, self.inbound.install_snapshot(vote.into(), received)).await?;
                installed.map(|installed| Control::SnapshotInstalled { vote: (&installed.vote).into() })
            }
            // The disk has failed or is full, or the pieces are not what was announced.
            Err(error) => Err(Refused(format!("the snapshot cannot be stored: {error}"))),
        };
        match answer {
            Ok(answer) => self.conn.send_control(number, &answer),
            Err(Refused(text)) => {
                self.conn.send_control(number, &Control::Refused(text.clone()));
                self.conn.flush().await?;
                // Pieces may be on their way yet.
                return Err(ConnError::Io(io::Error::other(text)));
            }
        }
        Ok(())
    }

    async fn take_snapshot(
        &mut self,
        number: u64,
        transfer: &Transfer,
        meta: SnapshotMeta,
    ) -> Result<io::Result<crate::snapshot::Received>, ConnError> {
        loop {
            let message = self.conn.recv().await?;
            self.inbound.heard(self.caller.id);
            let done = if message.kind == Kind::Chunk {
                let (offset, bytes): (u64, Bytes) = decode_chunk(message.payload)?;
                self.wait(number, transfer.write(offset, bytes)).await?
            } else {
                match Control::decode(&message)? {
                    Control::SnapshotStart { offset } => {
                        let started = self.wait(number, transfer.start(offset)).await?;
                        started.map(|()| offset)
                    }
                    Control::SnapshotEnd { crc } => {
                        return self.wait(number, transfer.finish(meta, crc)).await;
                    }
                    other => return Err(ConnError::Unexpected(other.name())),
                }
            };
            match done {
                Ok(offset) => self.conn.send_control(number, &Control::SnapshotTaken { offset }),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

impl Session {
    fn has_room(&self) -> bool {
        self.unanswered.len() < UNANSWERED_MAX && self.bytes < UNANSWERED_BYTES
    }

    fn push(&mut self, append: Append) {
        self.unanswered.push_back((append.number, append.bytes));
        self.bytes += append.bytes;
        if let Some(requests) = &self.requests {
            // If nobody takes it any more, the answers end, which answers this one too.
            let _ = requests.send(append.request);
        }
    }
}

async fn wait<T>(
    conn: &mut Conn,
    number: u64,
    alive: Duration,
    future: impl Future<Output = T>,
) -> Result<T, ConnError> {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            Err(error) = async {
                match conn.flush().await {
                    Ok(()) => pending().await,
                    error => error,
                }
            } => return Err(error),
            () = sleep(alive) => {}
        }
        conn.send_control(number, &Control::Alive);
    }
}
