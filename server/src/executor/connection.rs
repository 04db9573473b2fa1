//! One client's connection: its socket and what has been received and not yet executed.

use std::sync::Arc;
use std::task::Waker;

use cairn_proto::RequestDecoder;

use super::session::Session;
use super::stream::Stream;
use super::wake::Token;

/// Bytes read at once, and the size of the buffer that idle connections share.
pub const READ_BYTES: usize = 64 * 1024;
/// Bytes read from one connection in one turn, so that a fast sender does not starve the others.
pub const READ_BYTES_PER_TURN: usize = 1 << 20;

/// A connection.
pub struct Connection {
    pub stream: Stream,
    pub token: Arc<Token>,
    pub waker: Waker,
    pub decoder: RequestDecoder,
    pub inbox: Inbox,
    /// Bytes known to be missing from the request being received.
    pub wanted: usize,
    /// The socket took less than there was to send; its waker will come.
    pub write_blocked: bool,
    /// On the list of connections to be flushed at the end of this turn.
    pub flush_listed: bool,
    /// On the list of connections with output that waits for the journal.
    pub held_listed: bool,
    /// The client has closed its end, or broke the protocol: nothing more is read.
    pub read_closed: bool,
    /// The client has closed its end: what it has sent is still answered.
    pub input_ended: bool,
    pub session: Session,
    pub last_read_ms: i64,
}

impl Connection {
    /// A fresh connection.
    pub fn new(stream: Stream, token: Arc<Token>, now_ms: i64) -> Self {
        let waker = Waker::from(Arc::clone(&token));
        Self {
            stream,
            token,
            waker,
            decoder: RequestDecoder::new(),
            inbox: Inbox::default(),
            wanted: 1,
            write_blocked: false,
            flush_listed: false,
            held_listed: false,
            read_closed: false,
            input_ended: false,
            session: Session::default(),
            last_read_ms: now_ms,
        }
    }
}

/// Received bytes: `buf[start..end]`. Holds memory only while a request is incomplete or cannot be executed yet.
#[derive(Default)]
pub struct Inbox {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// What has been received and not consumed.
    pub fn filled(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Is there nothing left?
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Adds bytes that were received elsewhere.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buf.truncate(self.end);
        self.buf.extend_from_slice(bytes);
        self.end = self.buf.len();
    }

    /// Takes `count` bytes off the front.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
    }

    /// Room to read into. Takes `spare` when it has none of its own; grows when `more` bytes are known to come, but
    /// never beyond double what has really been received: a length is only a client's word.
    pub fn room(&mut self, spare: &mut Vec<u8>, more: usize) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.buf.is_empty() {
            self.buf = std::mem::take(spare);
            if self.buf.is_empty() {
                self.buf = vec![0; READ_BYTES];
            }
        }
        if self.buf.len() - self.end < READ_BYTES.min(more.max(1)) || self.buf.len() == self.end {
            // Move to the front first: the request must begin at a fixed place only relative to `start`.
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let wanted = (self.end + more).min(self.end * 2).max(self.end + READ_BYTES);
            if wanted > self.buf.len() {
                self.buf.resize(wanted, 0);
            }
        }
        &mut self.buf[self.end..]
    }

    /// `count` bytes were read into the room.
    pub fn received(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buf.len());
    }

    /// Gives the buffer back when it is empty, and shrinks one that a large request has left behind.
    pub fn settle(&mut self, spare: &mut Vec<u8>) {
        if self.start != self.end {
            return;
        }
        let buf = std::mem::take(&mut self.buf);
        self.start = 0;
        self.end = 0;
        if spare.is_empty() && buf.len() == READ_BYTES {
            *spare = buf;
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.buf.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_gives_back_what_was_received() {
        let mut spare = Vec::new();
        let mut inbox = Inbox::default();
        let mut expected = Vec::new();
        for round in 0..100u32 {
            let chunk: Vec<u8> = (0..round * 37).map(|i| i as u8).collect();
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let room = inbox.room(&mut spare, rest.len());
                let n = room.len().min(rest.len()).min(1000);
                room[..n].copy_from_slice(&rest[..n]);
                inbox.received(n);
                rest = &rest[n..];
            }
            expected.extend_from_slice(&chunk);
            let take = expected.len() / 3;
            assert_eq!(inbox.filled(), expected);
            inbox.consume(take);
            expected.drain(..take);
            inbox.settle(&mut spare);
        }
        inbox.consume(expected.len());
        inbox.settle(&mut spare);
        assert_eq!(inbox.memory(), 0);
    }

    #[test]
    fn a_length_alone_reserves_little() {
        let mut spare = Vec::new();
        let mut inbox = Inbox::default();
        let room = inbox.room(&mut spare, 512 << 20).len();
        assert!(room <= 2 * READ_BYTES, "{room}");
    }
}
