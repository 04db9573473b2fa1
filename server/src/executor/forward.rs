//! The follower's end of a session at the leader: one connection for each client that needs it.
//!
//! Requests are passed on as they come, without waiting for replies; replies go to the client's output unchanged. What
//! this node may answer itself is answered only when the leader owes nothing, so that replies keep their order.
//!
//! A request that has been passed on is never passed on again: when its answer does not come, its outcome is unknown, and
//! the client's connection ends, as it would have at the leader. A request that has not been passed on waits for a leader,
//! for as long as [`Executor::leader_wait`] says.

use std::future::Future;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cairn_engine::Slot;
use cairn_planted::planted;
use cairn_proto::{OutBuf, encode_request};
use cairn_replication::handle::SessionDoor;
use cairn_replication::transport::tls::Tls;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::{Connection, READ_BYTES, READ_BYTES_PER_TURN};
use super::door::prepare_tcp;
use super::route::Leading;
use super::session::{FrameReader, Identity, SUBCOMMAND, Said, Session, SessionState, WELCOME};
use super::stream::Stream;
use super::wake::Token;
use super::{Executor, UPSTREAM_TOKENS};

/// Bytes of requests that wait to be written to the leader; past it the client is not read from. One request of any
/// legal size fits nevertheless.
const RELAY_BYTES_MAX: usize = 1 << 20;
/// Slices handed to one write.
const SLICES_PER_WRITE: usize = 16;
/// The longest answer to the question for a session.
const ANSWER_BYTES_MAX: usize = 4096;
/// Between two attempts to reach the leader.
const RETRY: Duration = Duration::from_millis(20);
/// An attempt that has not led to a session by then is given up for another.
const ATTEMPT_MAX: Duration = Duration::from_millis(1000);
/// How long a leader that leads no longer may take to answer what it was asked before.
const FAREWELL_MAX: Duration = Duration::from_millis(200);
/// After a wait in vain, requests are refused at once for so long: those of a pipeline need not wait one after the other.
const GIVEN_UP_FOR: Duration = Duration::from_millis(500);

type Connecting = Pin<Box<dyn Future<Output = io::Result<Stream>>>>;

/// A session at the leader.
pub struct Away {
    link: Link,
    waits: Waits,
    /// What is to be written to the leader.
    out: OutBuf,
    /// The leader's socket took less than there was; its waker will come.
    write_blocked: bool,
    /// On the list of sessions to be written at the end of the turn.
    listed: bool,
    frames: FrameReader,
    /// Requests passed on, and those that the leader has answered.
    relayed: u64,
    answered: u64,
    /// The session's state when the leader last owed nothing.
    state: SessionState,
    /// The leader has said that the client is to be disconnected.
    bye: bool,
    /// The leader has changed: it may still say what it owes until then. Nothing more is passed on to it.
    leaves_by: Option<Instant>,
    /// No leader was found in time: until then requests are refused at once.
    given_up_until: Option<Instant>,
    /// The leader has been told that the client sends nothing more.
    half_closed: bool,
    /// Why the last attempt failed.
    refusal: String,
    token: Arc<Token>,
    waker: Waker,
}

enum Link {
    /// There is no connection; another attempt is due at this time.
    Seeking {
        again_at: Instant,
    },
    Connecting {
        connecting: Connecting,
        until: Instant,
    },
    /// The identity has been sent, or is being sent.
    Asking {
        stream: Stream,
        answer: Vec<u8>,
        until: Instant,
    },
    Open(Stream),
}

/// Why the next request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    No,
    /// For a session at a leader, at most until then.
    ForLeader(Instant),
    /// For the leader to take what it is sent.
    ForRoom,
    /// For the leader's answers, before which this node's must not come.
    ForAnswers,
}

/// What has become of a request to be passed on.
pub enum Next {
    Relayed,
    NoRoom,
    NoLeader,
}

/// What is to happen to the connection after its session was looked at.
enum After {
    Nothing,
    /// It may go on with what it has received, or will receive.
    Serve,
    /// Nothing comes any more from the leader: the session goes on here, until it needs a leader again.
    Detach,
    /// The client gets what has arrived for it, and is disconnected.
    Finish,
    /// It is disconnected.
    Close,
}

impl Away {
    /// A session that starts with a client in this state, and whose first request waits at most `until`.
    pub fn new(state: SessionState, token: Arc<Token>, until: Instant) -> Self {
        Self {
            link: Link::Seeking { again_at: Instant::now() },
            waits: Waits::ForLeader(until),
            out: OutBuf::new(),
            write_blocked: false,
            listed: false,
            frames: FrameReader::default(),
            relayed: 0,
            answered: 0,
            state,
            bye: false,
            leaves_by: None,
            given_up_until: None,
            half_closed: false,
            refusal: String::new(),
            waker: Waker::from(Arc::clone(&token)),
            token,
        }
    }

    /// Is there a request that must not be looked at now?
    pub fn waits(&self) -> bool {
        self.waits != Waits::No
    }

    /// Does the leader owe nothing?
    pub fn is_idle(&self) -> bool {
        self.relayed == self.answered
    }

    /// Does the session end with its leader?
    pub fn is_bound(&self) -> bool {
        self.state.is_bound()
    }

    /// Is the session at the leader, rather than on its way there?
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Must the leader answer everything?
    pub fn claims_all(&self) -> bool {
        self.is_open() && self.state.claims_all()
    }

    /// Was a leader sought in vain just now?
    pub fn is_given_up(&self) -> bool {
        self.given_up_until.is_some_and(|until| Instant::now() < until)
    }

    /// Does it wait for the leader to take what it is sent?
    pub fn is_full(&self) -> bool {
        self.waits == Waits::ForRoom
    }

    /// What comes next has to wait until the leader owes nothing.
    pub fn wait_for_answers(&mut self) {
        self.waits = Waits::ForAnswers;
    }

    /// The next request has to wait for a leader.
    pub fn wait_for_leader(&mut self, until: Instant) {
        self.waits = Waits::ForLeader(until);
    }

    /// Passes a request on.
    pub fn relay(&mut self, request: &[u8]) -> Next {
        if !self.is_open() || self.leaves_by.is_some() || self.half_closed {
            return Next::NoLeader;
        }
        if self.out.len() >= RELAY_BYTES_MAX {
            self.waits = Waits::ForRoom;
            return Next::NoRoom;
        }
        self.out.append(request);
        self.relayed += 1;
        Next::Relayed
    }

    /// Puts the session on the list of those to be written. False when it is on it.
    pub fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    /// Forgets the connection; another is sought from `again_at` on.
    fn unlink(&mut self, again_at: Instant) {
        self.link = Link::Seeking { again_at };
        self.out.clear();
        self.frames = FrameReader::default();
        self.write_blocked = false;
        (self.relayed, self.answered) = (0, 0);
        self.leaves_by = None;
    }

    /// The connection to the leader is over.
    fn lost(&mut self) -> After {
        if self.bye && self.half_closed {
            // It has answered all that was asked before it was told that no more would come.
            return After::Detach;
        }
        if planted!(LostForwardForgotten) {
            return After::Detach;
        }
        if self.bye || !self.is_idle() || self.is_bound() { After::Finish } else { After::Detach }
    }

    /// When something is to be done that no socket tells.
    fn due(&self) -> Option<Instant> {
        let wait = match self.waits {
            Waits::ForLeader(until) => Some(until),
            _ => None,
        };
        let attempt = match &self.link {
            Link::Seeking { again_at } => wait.map(|_| *again_at),
            Link::Connecting { until, .. } | Link::Asking { until, .. } => Some(*until),
            Link::Open(_) => self.leaves_by,
        };
        wait.into_iter().chain(attempt).min()
    }

    /// Writes what the leader takes. An error means that the connection is over.
    fn write(&mut self) -> io::Result<()> {
        let (out, mut context) = (&mut self.out, Context::from_waker(&self.waker));
        while !out.is_empty() && !self.write_blocked {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let used = out.io_slices(out.end(), &mut slices);
            let poll = match &mut self.link {
                Link::Open(stream) | Link::Asking { stream, .. } => {
                    stream.poll_write(&mut context, &slices[..used])
                }
                Link::Seeking { .. } | Link::Connecting { .. } => return Ok(()),
            };
            match poll {
                Poll::Pending => self.write_blocked = true,
                Poll::Ready(Ok(count)) => out.consume(count),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if let Link::Open(stream) | Link::Asking { stream, .. } = &mut self.link
            && !self.write_blocked
        {
            match stream.poll_flush(&mut context) {
                Poll::Pending => self.write_blocked = true,
                Poll::Ready(flushed) => flushed?,
            }
        }
        if self.waits == Waits::ForRoom && self.out.len() < RELAY_BYTES_MAX / 2 {
            self.waits = Waits::No;
            // The client may have sent more already.
            self.token.list();
        }
        Ok(())
    }

    /// Tells the leader that nothing more comes, once it has been sent everything: what the client was waiting for, it has
    /// given up.
    fn half_close(&mut self) {
        let to_be_sent = matches!(self.waits, Waits::ForLeader(_) | Waits::ForRoom) || !self.out.is_empty();
        if to_be_sent || self.half_closed {
            return;
        }
        if let Link::Open(stream) = &mut self.link {
            // A connection that is over says so when it is read from. One that takes no more now is tried again with its waker.
            self.half_closed = stream.poll_shutdown(&mut Context::from_waker(&self.waker)).is_ready();
        }
    }

    /// Takes the next step towards a session, by TLS if nodes speak it. `Some` when there is nothing more to do now.
    fn advance(
        &mut self,
        leading: &Leading,
        tls: Option<&Tls>,
        keepalive_s: u32,
        identity: impl Fn() -> Identity,
    ) -> Option<After> {
        let now = Instant::now();
        let mut context = Context::from_waker(&self.waker);
        match &mut self.link {
            Link::Seeking { again_at } => {
                let Waits::ForLeader(_) = self.waits else {
                    return Some(if self.is_given_up() { After::Nothing } else { After::Detach });
                };
                match leading {
                    Leading::Myself => return Some(After::Detach),
                    Leading::Elsewhere { host, port, door: Some(door), .. } if *again_at <= now => {
                        let connecting: Connecting = match tls {
                            None => Box::pin(connect(host.clone(), *port, keepalive_s)),
                            Some(tls) => {
                                let tls = tls.clone();
                                Box::pin(connect_by_tls(tls, host.clone(), door.tls_port, keepalive_s))
                            }
                        };
                        self.link = Link::Connecting { connecting, until: now + ATTEMPT_MAX };
                    }
                    Leading::Elsewhere { .. } | Leading::Nobody => {
                        *again_at = (*again_at).max(now + RETRY);
                        return Some(After::Nothing);
                    }
                }
            }
            Link::Connecting { connecting, until } => match connecting.as_mut().poll(&mut context) {
                Poll::Pending if *until > now => return Some(After::Nothing),
                Poll::Pending => self.unlink(now),
                Poll::Ready(Err(error)) => {
                    self.refusal = error.to_string();
                    self.unlink(now + RETRY);
                }
                Poll::Ready(Ok(stream)) => {
                    let Leading::Elsewhere { door: Some(SessionDoor { token, .. }), .. } = leading else {
                        self.unlink(now + RETRY);
                        return None;
                    };
                    let mut question = Vec::new();
                    let identity = identity().encode();
                    encode_request::<&[u8]>(&[b"CLUSTER", SUBCOMMAND, token, &identity], &mut question);
                    self.out.append(&question);
                    self.link = Link::Asking { stream, answer: Vec::new(), until: *until };
                }
            },
            Link::Asking { until, .. } if *until <= now => self.unlink(now),
            Link::Asking { .. } => {
                if self.write().is_err() {
                    self.unlink(now + RETRY);
                    return None;
                }
                return self.read_answer();
            }
            Link::Open(_) => return Some(After::Nothing),
        }
        None
    }

    /// Reads whether the leader takes the session.
    fn read_answer(&mut self) -> Option<After> {
        let again_at = Instant::now() + RETRY;
        let Link::Asking { stream, answer, .. } = &mut self.link else { return None };
        loop {
            // One line at most, so that nothing behind it is taken here.
            let mut byte = [0];
            match stream.poll_read(&mut Context::from_waker(&self.waker), &mut byte) {
                Poll::Pending => return Some(After::Nothing),
                Poll::Ready(Ok(1)) if answer.len() < ANSWER_BYTES_MAX => answer.push(byte[0]),
                Poll::Ready(_) => {
                    self.unlink(again_at);
                    return None;
                }
            }
            if answer.ends_with(b"\r\n") {
                break;
            }
        }
        if answer == WELCOME {
            let Link::Asking { stream, .. } = std::mem::replace(&mut self.link, Link::Seeking { again_at })
            else {
                return None;
            };
            self.link = Link::Open(stream);
            self.waits = Waits::No;
            self.given_up_until = None;
            return None;
        }
        // Another attempt follows; this is told when there is no time left for one.
        self.refusal = String::from_utf8_lossy(answer).trim_end().to_owned();
        self.unlink(again_at);
        None
    }
}

/// Watched by keepalive: what a box in between has forgotten would be waited for without end.
async fn reach(host: &str, port: u16, keepalive_s: u32) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    prepare_tcp(&stream, keepalive_s);
    Ok(stream)
}

async fn connect(host: String, port: u16, keepalive_s: u32) -> io::Result<Stream> {
    Ok(Stream::Tcp(reach(&host, port, keepalive_s).await?))
}

/// With `tls-cluster` nothing of a client goes between nodes in the clear.
async fn connect_by_tls(tls: Tls, host: String, port: u16, keepalive_s: u32) -> io::Result<Stream> {
    if port == 0 {
        return Err(io::Error::other("the leader has no tls-port, which tls-cluster needs"));
    }
    let stream = reach(&host, port, keepalive_s).await?;
    Ok(Stream::Boxed(Box::new(tls.connect(&host, Box::new(stream)).await?)))
}

impl Executor {
    /// What wakes the executor when the leader's socket of a client is ready.
    pub(super) fn upstream_token(&self, slot: Slot) -> Arc<Token> {
        Token::new(UPSTREAM_TOKENS + slot, Arc::clone(&self.ready))
    }

    /// Looks at the session of a connection that is at the leader: its socket may be ready, its time may be up.
    pub(super) fn attend_upstream(&mut self, slot: Slot) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        let after = self.attend_upstream_of(&mut connection, slot);
        self.conclude(connection, slot, after);
    }

    /// Puts the connection back and does what its session's state asks for.
    fn conclude(&mut self, mut connection: Box<Connection>, slot: Slot, after: After) {
        if matches!(after, After::Detach) {
            connection.session = Session::Local;
        }
        self.connections[slot] = Some(connection);
        match after {
            After::Nothing => {}
            // In the next turn, which follows at once: this one's limits of reading still hold.
            After::Serve | After::Detach => self.deferred.push_back(slot),
            After::Finish => {
                if let Some(connection) = self.connection(slot) {
                    connection.read_closed = true;
                }
                if let Some(client) = self.engine.client(slot) {
                    client.state.close_after_reply = true;
                }
            }
            After::Close => self.close(slot),
        }
        self.list_for_flush(slot);
    }

    fn attend_upstream_of(&mut self, connection: &mut Connection, slot: Slot) -> After {
        let Session::Away(away) = &mut connection.session else { return After::Nothing };
        away.token.taken();
        away.write_blocked = false;
        while !matches!(away.link, Link::Open(_)) {
            let now = Instant::now();
            if let Waits::ForLeader(until) = away.waits
                && until <= now
            {
                tracing::warn!(refusal = away.refusal, "found no leader for a client in time");
                away.unlink(now);
                away.waits = Waits::No;
                away.given_up_until = Some(now + GIVEN_UP_FOR);
                return After::Serve;
            }
            let keepalive_s = self.engine.shared.config.tcp_keepalive;
            let Some(client) = self.engine.client(slot) else { return After::Close };
            let identity = || Identity {
                id: client.state.id,
                address: client.state.info.address.clone(),
                local_address: client.state.info.local_address.clone(),
                tls: client.state.info.tls,
                state: SessionState::of(client),
            };
            let tls = self.services.peer_tls.as_ref();
            if let Some(after) = away.advance(&self.forwarding.leading, tls, keepalive_s, identity) {
                self.note_due(away.due());
                return after;
            }
        }
        if away.write().is_err() {
            return away.lost();
        }
        let after = self.read_upstream(away, slot);
        if !matches!(after, After::Nothing) {
            return after;
        }
        if away.leaves_by.is_some() && away.is_idle() {
            // It has answered everything: what is bound to it ends, everything else goes on.
            return away.lost();
        }
        if away.leaves_by.is_some_and(|until| until <= Instant::now()) {
            return After::Finish;
        }
        if matches!(away.waits, Waits::ForLeader(until) if until <= Instant::now()) {
            // The old connection does not end, so that no other can be made.
            return After::Finish;
        }
        let answered = away.is_idle() && away.waits == Waits::ForAnswers;
        if answered {
            away.waits = Waits::No;
        }
        let more = !connection.inbox.is_empty() && !away.waits();
        if answered || more {
            return After::Serve;
        }
        if connection.input_ended {
            away.half_close();
        }
        After::Nothing
    }

    /// Reads what the leader has sent: replies go to the client.
    fn read_upstream(&mut self, away: &mut Away, slot: Slot) -> After {
        let mut buf = std::mem::take(&mut self.spare);
        if buf.is_empty() {
            buf = vec![0; READ_BYTES];
        }
        let mut budget = READ_BYTES_PER_TURN;
        let after = loop {
            if budget == 0 {
                away.token.list();
                break After::Nothing;
            }
            let Link::Open(stream) = &mut away.link else { break After::Nothing };
            match stream.poll_read(&mut Context::from_waker(&away.waker), &mut buf) {
                Poll::Pending => break After::Nothing,
                Poll::Ready(Ok(0) | Err(_)) => break away.lost(),
                Poll::Ready(Ok(count)) => {
                    budget = budget.saturating_sub(count);
                    if let Err(after) = self.hear(away, slot, &buf[..count]) {
                        break after;
                    }
                }
            }
        };
        self.spare = buf;
        self.check_output(slot);
        after
    }

    /// Takes apart what the leader has sent.
    fn hear(&mut self, away: &mut Away, slot: Slot, mut input: &[u8]) -> Result<(), After> {
        let databases = self.engine.keys.dbs().len();
        loop {
            let Some(client) = self.engine.client(slot) else { return Err(After::Close) };
            match away.frames.next(&mut input) {
                Ok(None) => return Ok(()),
                Ok(Some(Said::Data(data))) => client.reply.out.append(data),
                Ok(Some(Said::Bye)) => {
                    away.bye = true;
                    return Err(away.lost());
                }
                Ok(Some(Said::Idle { answered, state })) => {
                    if answered > away.relayed {
                        tracing::warn!("the leader has answered more than it was asked: closing the client");
                        return Err(After::Close);
                    }
                    away.answered = answered;
                    if let Some(state) = state {
                        // Within what both nodes have; the session's own database is the leader's to know.
                        let login = self.engine.login(&state.user);
                        let Some(client) = self.engine.client(slot) else { return Err(After::Close) };
                        state.give_to(client, login, databases);
                        client.state.listens_elsewhere = state.subscribed;
                        away.state = state;
                    }
                }
                Err(error) => {
                    tracing::warn!("the leader does not keep to the protocol, closing the client: {error}");
                    return Err(After::Close);
                }
            }
        }
    }

    /// Writes what this turn's requests have left for the leader.
    pub(super) fn flush_upstreams(&mut self) {
        let mut outgoing = std::mem::take(&mut self.forwarding.outgoing);
        for slot in outgoing.drain(..) {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
            let Session::Away(away) = &mut connection.session else { continue };
            away.listed = false;
            let over = away.write().is_err();
            if connection.input_ended {
                away.half_close();
            }
            if over {
                // What it has sent before it went is read first.
                away.token.list();
            }
        }
        self.forwarding.outgoing = outgoing;
    }

    /// Looks at every session that waits, when one of them is due.
    pub(super) fn attend_waiting(&mut self) {
        let now = Instant::now();
        if self.forwarding.due.is_none_or(|due| due > now) {
            return;
        }
        self.forwarding.due = None;
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get(slot) else { continue };
            let Session::Away(away) = &connection.session else { continue };
            match away.due() {
                Some(due) if due <= now => {
                    self.attend_upstream(slot);
                    self.note_due_of(slot);
                }
                due => self.note_due(due),
            }
        }
    }

    fn note_due_of(&mut self, slot: Slot) {
        if let Some(Some(connection)) = self.connections.get(slot)
            && let Session::Away(away) = &connection.session
        {
            let due = away.due();
            self.note_due(due);
        }
    }

    fn note_due(&mut self, due: Option<Instant>) {
        let forwarding = &mut self.forwarding;
        forwarding.due = forwarding.due.into_iter().chain(due).min();
    }

    /// Another node leads than the one that this session is at, or is on its way to.
    pub(super) fn leader_changed(&mut self, slot: Slot) {
        let now = Instant::now();
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        let Session::Away(away) = &mut connection.session else { return };
        away.given_up_until = None;
        if matches!(away.link, Link::Open(_)) {
            away.leaves_by = Some(now + FAREWELL_MAX);
        } else {
            away.unlink(now);
        }
        self.attend_upstream(slot);
        self.note_due_of(slot);
    }

    /// The client has sent its last. True when answers of the leader are outstanding, or requests yet to be passed on.
    pub(super) fn awaits_upstream(&mut self, slot: Slot) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return false };
        connection.read_closed = true;
        connection.input_ended = true;
        let Session::Away(away) = &mut connection.session else { return false };
        away.half_close();
        away.waits() || (away.is_open() && !away.is_idle())
    }
}
