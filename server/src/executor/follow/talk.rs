//! The conversation with a primary up to the point where its stream can be followed.
//!
//! ```text
//! PING                                     it is there (or wants to know who asks)
//! AUTH [masteruser] masterauth             if `masterauth` is set
//! REPLCONF listening-port, ip-address      where this server is reached
//! REPLCONF capa eof capa psync2            what it understands
//! REPLCONF version                         so that the snapshot is of a kind that is read here
//! PSYNC id offset+1                        from where it wants the stream, `? -1` if it has nothing
//!     +CONTINUE [id]                       the stream goes on there
//!     +FULLRESYNC id offset                all of the data follows: `$len` and as many bytes, or `$EOF:mark`, bytes and the mark
//! ```
//!
//! One future, polled by the executor, which it never keeps waiting: what is received goes to a thread by a bounded channel,
//! and nothing is read while that is full.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cairn_engine::following::{History, Link, Transfer};
use cairn_proto::encode_request;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::ClientConfig;

use super::load::{self, Loaded, Loading, Part, Plan};
use crate::executor::now_ms;
use crate::executor::stream::Stream;
use crate::executor::tls::TlsStream;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// So often before clients have their turn.
const READS_PER_TURN: u32 = 4;
/// A longer line is none that a primary says.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Letters of the mark at the end of data of unknown length.
const MARK_BYTES: usize = 40;
/// A primary hears of this end so often while the data is being loaded.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What the conversation goes by.
pub struct Terms {
    pub host: String,
    pub port: u16,
    /// `bind-source-addr`.
    pub source: String,
    pub tls: Option<Arc<ClientConfig>>,
    pub user: String,
    pub password: String,
    pub listening_port: u16,
    pub announced_ip: String,
    pub history: Option<History>,
    /// Silence after which the primary is given up.
    pub patience: Duration,
    pub plan: Plan,
    pub waker: Waker,
}

/// How far it is, for INFO.
pub struct Progress {
    pub link: Cell<Link>,
    pub transfer: Cell<Option<Transfer>>,
}

/// How it ended.
pub struct Agreed {
    pub stream: Stream,
    /// Bytes of the primary's stream that have come already.
    pub received: Vec<u8>,
    pub address: String,
    pub local_address: String,
    /// The name of the stream that follows.
    pub id: String,
    pub data: Data,
}

pub enum Data {
    /// The state is the primary's where it was.
    Same,
    /// All of it, as of `offset`.
    New { offset: u64, loaded: Loaded },
}

/// Comes to an agreement with the primary. The error says what went wrong, for the log.
pub async fn agree(terms: Terms, progress: Rc<Progress>) -> Result<Agreed, String> {
    let Terms { host, port, patience, .. } = &terms;
    progress.link.set(Link::Connecting);
    let until = Instant::now() + *patience;
    let socket = timeout_at(until, connect(host, *port, &terms.source))
        .await
        .map_err(|_| "it does not answer within repl-timeout".to_owned())?
        .map_err(|error| format!("cannot connect: {error}"))?;
    // A failure leaves a working, only slower, socket.
    let _ = socket.set_nodelay(true);
    let name = |address: io::Result<SocketAddr>| address.map_or(String::new(), |found| found.to_string());
    let (address, local_address) = (name(socket.peer_addr()), name(socket.local_addr()));
    let stream = match &terms.tls {
        None => Stream::Tcp(socket),
        Some(config) => {
            let stream = TlsStream::connect(socket, Arc::clone(config), host);
            Stream::Tls(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
        }
    };
    let mut wire = Wire { stream, received: Vec::new(), taken: 0, patience: *patience, reads: 0 };
    progress.link.set(Link::Handshake);
    wire.introduce(&terms).await?;
    let (id, offset) = match wire.ask_for_stream(terms.history.as_ref()).await? {
        Answer::Continue { id } => {
            let known = terms.history.map(|history| history.id).unwrap_or_default();
            let id = id.unwrap_or(known);
            return Ok(wire.agreed(address, local_address, id, Data::Same));
        }
        Answer::Full { id, offset } => (id, offset),
    };
    tracing::info!(id, offset, "the primary sends all of its data");
    progress.link.set(Link::Sync);
    let loaded = wire.receive_data(terms.plan, terms.waker, &progress).await?;
    Ok(wire.agreed(address, local_address, id, Data::New { offset, loaded }))
}

/// To the first of the host's addresses that can be reached from `source` (empty: from any).
async fn connect(host: &str, port: u16, source: &str) -> io::Result<TcpStream> {
    if source.is_empty() {
        return TcpStream::connect((host, port)).await;
    }
    let from: IpAddr = source.parse().map_err(|_| io::Error::other("bind-source-addr is no address"))?;
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for to in lookup_host((host, port)).await?.filter(|to| to.is_ipv4() == from.is_ipv4()) {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(from, 0))?;
        match socket.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

enum Answer {
    Continue { id: Option<String> },
    Full { id: String, offset: u64 },
}

/// The connection, and what has come over it.
struct Wire {
    stream: Stream,
    received: Vec<u8>,
    /// So much of that has been looked at.
    taken: usize,
    patience: Duration,
    reads: u32,
}

impl Wire {
    fn agreed(mut self, address: String, local_address: String, id: String, data: Data) -> Agreed {
        self.received.drain(..self.taken);
        Agreed { stream: self.stream, received: self.received, address, local_address, id, data }
    }

    async fn introduce(&mut self, terms: &Terms) -> Result<(), String> {
        self.say(&[b"PING"]).await?;
        let pong = self.line().await?;
        let wants_login = ["-NOAUTH", "-NOPERM", "-ERR operation not permitted"];
        if !pong.starts_with('+') && !wants_login.iter().any(|error| pong.starts_with(error)) {
            return Err(format!("it answers PING with '{pong}'"));
        }
        if !terms.password.is_empty() {
            let (user, password) = (terms.user.as_bytes(), terms.password.as_bytes());
            if user.is_empty() {
                self.say(&[b"AUTH", password]).await?;
            } else {
                self.say(&[b"AUTH", user, password]).await?;
            }
            let answer = self.line().await?;
            if !answer.starts_with('+') {
                // Valkey's words.
                return Err(format!("Unable to AUTH to PRIMARY (masterauth, masteruser): {answer}"));
            }
        }
        let port = terms.listening_port.to_string();
        self.describe(&[b"listening-port", port.as_bytes()]).await?;
        if !terms.announced_ip.is_empty() {
            self.describe(&[b"ip-address", terms.announced_ip.as_bytes()]).await?;
        }
        self.describe(&[b"capa", b"eof", b"capa", b"psync2"]).await?;
        self.describe(&[b"version", cairn_engine::REDIS_VERSION.as_bytes()]).await
    }

    /// Says something of this end. An old primary that does not know the word can do without it.
    async fn describe(&mut self, words: &[&[u8]]) -> Result<(), String> {
        self.say(&[&[b"REPLCONF".as_slice()], words].concat()).await?;
        let answer = self.line().await?;
        if ["-NOAUTH", "-NOPERM"].iter().any(|error| answer.starts_with(error)) {
            return Err(format!(
                "it does not let this server follow, see masterauth and masteruser: '{answer}'"
            ));
        }
        if answer.starts_with('-') {
            tracing::debug!(answer, "the primary does not know a word of REPLCONF");
        }
        Ok(())
    }

    async fn ask_for_stream(&mut self, history: Option<&History>) -> Result<Answer, String> {
        match history {
            Some(History { id, offset, .. }) => {
                self.say(&[b"PSYNC", id.as_bytes(), (offset + 1).to_string().as_bytes()]).await?;
            }
            None => self.say(&[b"PSYNC", b"?", b"-1"]).await?,
        }
        let answer = self.line().await?;
        let words: Vec<&str> = answer.split(' ').collect();
        match words[..] {
            ["+CONTINUE", ref rest @ ..] if history.is_some() => {
                let id = rest.first().map(|id| (*id).to_owned());
                if id.as_deref().is_some_and(|id| !is_stream_id(id)) {
                    return Err(format!("it goes on under a name that is none: '{answer}'"));
                }
                Ok(Answer::Continue { id })
            }
            ["+FULLRESYNC", id, offset] if is_stream_id(id) => {
                let offset = offset.parse().map_err(|_| format!("its offset is no number: '{answer}'"))?;
                Ok(Answer::Full { id: id.to_owned(), offset })
            }
            _ => Err(format!("it answers PSYNC with '{answer}'")),
        }
    }

    /// Hands the data to the thread that loads it, and waits for what becomes of it.
    async fn receive_data(
        &mut self,
        plan: Plan,
        waker: Waker,
        progress: &Progress,
    ) -> Result<Loaded, String> {
        let header = self.line().await?;
        let (length, mark) = match header.strip_prefix('$') {
            None => return Err(format!("its data begins with '{header}'")),
            Some(form) => match form.strip_prefix("EOF:") {
                Some(mark) if mark.len() == MARK_BYTES => (None, mark.as_bytes().to_vec()),
                _ => match form.parse::<u64>() {
                    Ok(length) => (Some(length), Vec::new()),
                    Err(_) => return Err(format!("its data begins with '{header}'")),
                },
            },
        };
        let Loading { parts, mut loaded } = load::start(plan, waker)?;
        let mut read = 0u64;
        let mut tail = Vec::new();
        loop {
            let transfer = Transfer { total: length.unwrap_or(0), read, last_io_ms: now_ms() };
            progress.transfer.set(Some(transfer));
            if length == Some(read) {
                break;
            }
            let mut part =
                self.some().await.map_err(|error| format!("{error} after {read} bytes of its data"))?;
            if let Some(length) = length {
                let left = length - read;
                if part.len() as u64 > left {
                    // The stream has begun.
                    self.received.splice(..0, part.drain(left as usize..));
                }
            }
            read += part.len() as u64;
            let ended = length.is_none() && {
                // The mark may come in pieces, so the last bytes are kept back until more have come.
                tail.append(&mut part);
                let ended = tail.ends_with(&mark);
                let keep = if ended { 0 } else { MARK_BYTES.min(tail.len()) };
                let end = if ended { tail.len() - MARK_BYTES } else { tail.len() - keep };
                part = tail.drain(..end).collect();
                ended
            };
            if !part.is_empty() && parts.send(Part::Bytes(Bytes::from(part))).await.is_err() {
                // It says why.
                return loaded.await.map_err(|_| THREAD_GONE)?;
            }
            if ended {
                break;
            }
        }
        tracing::info!(
            bytes = read,
            "the primary's data has come; the old data is served until it is loaded"
        );
        // If the thread is gone, it has said why.
        let _ = parts.send(Part::End).await;
        loop {
            match timeout_at(Instant::now() + SIGN_OF_LIFE, &mut loaded).await {
                Ok(outcome) => return outcome.map_err(|_| THREAD_GONE)?,
                Err(_) => self.write(b"\n").await?,
            }
        }
    }

    /// What has been received and not been looked at, or what comes next.
    async fn some(&mut self) -> Result<Vec<u8>, String> {
        if self.taken == self.received.len() {
            self.read().await?;
        }
        let part = self.received.split_off(self.taken);
        self.received.clear();
        self.taken = 0;
        Ok(part)
    }

    /// The next line that says anything; empty ones are signs of life.
    async fn line(&mut self) -> Result<String, String> {
        loop {
            let fresh = &self.received[self.taken..];
            let Some(end) = fresh.iter().position(|&byte| byte == b'\n') else {
                if fresh.len() > LINE_BYTES_MAX {
                    return Err("it speaks another protocol: a line has no end".to_owned());
                }
                self.received.drain(..self.taken);
                self.taken = 0;
                self.read().await?;
                continue;
            };
            let line = fresh[..end].strip_suffix(b"\r").unwrap_or(&fresh[..end]);
            let line = String::from_utf8_lossy(line).into_owned();
            self.taken += end + 1;
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    async fn say(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.write(&request).await
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let until = Instant::now() + self.patience;
        while !bytes.is_empty() {
            let writing = poll_fn(|cx| self.poll_write(cx, bytes));
            let count = timeout_at(until, writing)
                .await
                .map_err(|_| "it takes nothing for repl-timeout".to_owned())?
                .map_err(|error| format!("the connection broke: {error}"))?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let poll = self.stream.poll_write(cx, &[IoSlice::new(bytes)]);
            let handshaking = matches!(&self.stream, Stream::Tls(stream) if stream.is_handshaking());
            if poll.is_ready() || !handshaking {
                return poll;
            }
            // A handshake goes on as a part of reading.
            let mut part = [0; LINE_BYTES_MAX / 16];
            match self.stream.poll_read(cx, &mut part) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(count)) => self.received.extend_from_slice(&part[..count]),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if matches!(&self.stream, Stream::Tls(stream) if stream.is_handshaking()) => {
                    return Poll::Pending;
                }
                // It is over: now it can be written.
                Poll::Pending => {}
            }
        }
    }

    /// Adds what comes next to what was received.
    async fn read(&mut self) -> Result<(), String> {
        let at = self.received.len();
        self.received.resize(at + READ_BYTES, 0);
        let until = Instant::now() + self.patience;
        let Self { stream, received, .. } = self;
        let reading = poll_fn(|cx| stream.poll_read(cx, &mut received[at..]));
        let outcome = timeout_at(until, reading).await;
        let count = match &outcome {
            Ok(Ok(count)) => *count,
            _ => 0,
        };
        self.received.truncate(at + count);
        match outcome {
            Err(_) => Err("it says nothing for repl-timeout".to_owned()),
            Ok(Err(error)) => Err(format!("the connection broke: {error}")),
            Ok(Ok(0)) => Err("it has closed the connection".to_owned()),
            Ok(Ok(_)) => {
                self.reads += 1;
                if self.reads.is_multiple_of(READS_PER_TURN) {
                    // However fast it sends, clients are served in between.
                    yield_now().await;
                }
                Ok(())
            }
        }
    }
}

const THREAD_GONE: &str = "the thread that loads its data is gone";

/// Forty letters and digits.
fn is_stream_id(id: &str) -> bool {
    id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
