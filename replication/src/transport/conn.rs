//! One connection: messages in, messages out.
//!
//! All its state is in [`Conn`], none in a future: whoever waits for a message may stop waiting at any point, and nothing is
//! torn or lost. openraft does so with every request that takes too long.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::frame::{Decoded, Decoder, FrameError, HEADER_LEN, Kind, Limits, Message, Outbox};
use super::message::{Control, MessageError};
use super::net::Io;

/// Room for what comes next; more when a frame is known to be longer.
const INBOX_LEN: usize = 64 * 1024;
/// With less room than this, new room is made.
const INBOX_LEN_MIN: usize = 4 * 1024;
/// Bytes read or written before others have their turn: all connections and Raft share one thread.
const TURN_BYTES: usize = 4 << 20;
/// Pieces given to one system call.
const SLICES: usize = 64;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Message(#[from] MessageError),
    #[error("a message ({0}) that does not belong here")]
    Unexpected(String),
    #[error("nothing has come for {0:?}")]
    Silent(Duration),
}

pub struct Conn {
    stream: Box<dyn Io>,
    inbox: BytesMut,
    decoder: Decoder,
    outbox: Outbox,
    /// The last write found no room.
    congested: bool,
    /// When the peer last showed that it lives: something came, or it made room for more.
    progress: Instant,
    failed: bool,
}

impl Conn {
    /// A connection to a stranger: see [`Conn::trust`].
    pub fn new(stream: Box<dyn Io>) -> Conn {
        Conn {
            stream,
            inbox: BytesMut::new(),
            decoder: Decoder::new(Limits::STRANGER),
            outbox: Outbox::default(),
            congested: false,
            progress: Instant::now(),
            failed: false,
        }
    }

    /// The other side has proved to be a peer: it may send what peers send.
    pub fn trust(&mut self) {
        self.decoder.set_limits(Limits::PEER);
    }

    pub fn send(&mut self, kind: Kind, number: u64, parts: impl IntoIterator<Item = Bytes>) {
        self.outbox.push(kind, number, parts);
    }

    pub fn send_control(&mut self, number: u64, control: &Control) {
        self.outbox.push(Kind::Control, number, [control.encode()]);
    }

    /// Bytes that wait to be written.
    pub fn unsent(&self) -> u64 {
        self.outbox.len()
    }

    /// When the peer last showed that it lives.
    pub fn progress(&self) -> Instant {
        self.progress
    }

    /// From here on its silence counts.
    pub fn restart_silence(&mut self) {
        self.progress = Instant::now();
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Not to be used again.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Writes what can be written. Ready when nothing is left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        let done = self.poll_write(cx);
        self.failed |= matches!(done, Poll::Ready(Err(_)));
        done
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        let mut turn = 0;
        while !self.outbox.is_empty() {
            if turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.outbox.slices(&mut slices);
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled])
            else {
                self.congested = true;
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(ConnError::Closed));
            }
            // Room in a buffer that was full means that the peer has taken something. Room in one that was not means nothing.
            if std::mem::take(&mut self.congested) {
                self.progress = Instant::now();
            }
            self.outbox.advance(written);
            turn += written;
        }
        // TLS keeps bytes to itself until it is flushed.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// The next message.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, ConnError>> {
        let message = self.poll_read(cx);
        self.failed |= matches!(message, Poll::Ready(Err(_)));
        message
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, ConnError>> {
        let mut turn = 0;
        loop {
            let missing = match self.decoder.decode(&mut self.inbox)? {
                Decoded::Message(message) => return Poll::Ready(Ok(message)),
                Decoded::More(missing) => missing,
            };
            if turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let room = self.inbox.capacity() - self.inbox.len();
            if room < missing.max(INBOX_LEN_MIN) {
                // A frame and the next one's header, so that a row of long frames takes one read each.
                self.inbox.reserve((missing + HEADER_LEN).max(INBOX_LEN));
            }
            let read = {
                let future = pin!(self.stream.read_buf(&mut self.inbox));
                ready!(future.poll(cx))?
            };
            if read == 0 {
                return Poll::Ready(Err(ConnError::Closed));
            }
            self.progress = Instant::now();
            turn += read;
        }
    }

    /// The next message. Writes meanwhile.
    pub async fn recv(&mut self) -> Result<Message, ConnError> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            self.poll_recv(cx)
        })
        .await
    }

    /// The next message, which must be a short one.
    pub async fn recv_control(&mut self) -> Result<(u64, Control), ConnError> {
        let message = self.recv().await?;
        Ok((message.number, Control::decode(&message)?))
    }

    /// The next short message, unless the peer is silent for too long before it comes.
    pub async fn recv_control_within(&mut self, silence: Duration) -> Result<(u64, Control), ConnError> {
        self.restart_silence();
        loop {
            let deadline = self.progress + silence;
            tokio::select! {
                biased;
                received = self.recv_control() => return received,
                () = tokio::time::sleep_until(deadline) => {}
            }
            if self.progress + silence <= Instant::now() {
                self.fail();
                return Err(ConnError::Silent(silence));
            }
        }
    }

    /// Writes everything.
    pub async fn flush(&mut self) -> Result<(), ConnError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}
