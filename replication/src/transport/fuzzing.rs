//! Entry point for fuzzing: arbitrary bytes from the network must end in an error or an answer, never in a panic, an endless loop or
//! an allocation out of proportion.
//!
//! Arbitrary bytes alone would stop at the first checksum, and at the handshake. So the input is also taken as orders: shake
//! hands, then send frames whose checksums are right and whose contents are not.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cairn_storage::disk::SimDisk;
use cairn_storage::snapshot::SnapshotDir;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::client::{Link, Target};
use super::conn::Conn;
use super::frame::{Decoded, Decoder, Kind, Limits, Message};
use super::message::{Control, Purpose, decode_append, decode_chunk};
use super::net::{Io, Listener, Net};
use super::{Options, Peers, client, handshake, server};
use crate::admin::*;
use crate::snapshot::Received;
use crate::types::{NodeId, Peer, Vote};

/// Bytes that a connection holds on its way.
const PIPE_LEN: usize = 64 * 1024;

/// A peer that shakes hands, asks for a vote, sends an entry, and begins a snapshot of nine bytes of which it sends some.
pub const SAMPLE: &[u8] = b"\x01\
    \0\x06\0\x06\x05\x01\x01\0\0\
    \x01\x11\0\x09\0\0\0\x01\x01\x01\x01\0\0\x01\x01\x04\x01abc\
    \0\x0a\0\x0a\x01\x01\x01\0\0\x02\0\0\x09\
    \0\x02\0\x0b\0\
    \x02\x0b\0\0\0\0\0\0\0\0\0xyz\
    \0\x02\0\x0c\0";

/// Decodes `data`, and sends it to a node.
pub fn fuzz_peer(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else { return };
    decode(data);
    // With its own clock: whatever waits for a silent peer must not make the fuzzer wait.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O needs nothing").block_on(async {
        match mode % 3 {
            0 => raw(data).await,
            1 => call(data).await,
            _ => answer(data).await,
        }
    });
}

fn decode(data: &[u8]) {
    for limits in [Limits::STRANGER, Limits::PEER] {
        let mut inbox = BytesMut::from(data);
        let mut decoder = Decoder::new(limits);
        while let Ok(Decoded::Message(_)) = decoder.decode(&mut inbox) {}
    }
    let payload = Bytes::copy_from_slice(data);
    let _ = decode_append(payload.clone());
    let _ = decode_chunk(payload.clone());
    let _ = Control::decode(&Message { kind: Kind::Control, number: 0, payload });
}

/// Bytes from nobody knows whom.
async fn raw(data: &[u8]) {
    let (mut mine, theirs) = duplex(PIPE_LEN);
    let serving = serve(theirs);
    let writing = async {
        let _ = mine.write_all(data).await;
        // The input is over; what is answered is of no interest.
        drop(mine);
    };
    tokio::join!(serving, writing);
}

/// A peer that has shaken hands and then sends nonsense.
async fn call(data: &[u8]) {
    let (mine, theirs) = duplex(PIPE_LEN);
    let serving = serve(theirs);
    let calling = async {
        let mut conn = Conn::new(Box::new(mine));
        let (net, me) = (Wire::default(), info(1));
        let credentials = handshake::Credentials { secret: None, net: &net, me };
        let called = handshake::call(&mut conn, &credentials, None, Purpose::Admin, 1000).await;
        called.expect("both sides are sound so far");
        conn.flush().await.expect("the callee reads");
        let mut rest = data;
        // Each message: its kind, its length in two bytes, its payload.
        for number in 0.. {
            let Some((&[kind, low, high], after)) = rest.split_first_chunk() else { break };
            let (payload, after) =
                after.split_at(after.len().min(usize::from(u16::from_le_bytes([low, high]))));
            rest = after;
            let kind = [Kind::Control, Kind::Append, Kind::Chunk][usize::from(kind) % 3];
            conn.send(kind, number, [Bytes::copy_from_slice(payload)]);
            if conn.flush().await.is_err() {
                break;
            }
        }
        drop(conn);
    };
    tokio::join!(serving, calling);
}

/// A callee that answers with nonsense.
async fn answer(data: &[u8]) {
    let (mut mine, theirs) = duplex(PIPE_LEN);
    let net = Wire::default();
    net.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(theirs);
    let shared = peers(Arc::new(net)).shared;
    let _ = shared.inbound.set(Arc::new(Agreeing));
    let target = Target { id: None, host: String::new(), port: 0 };
    let calling = async { drop(client::hello(&shared, &target).await) };
    let answering = async {
        let _ = mine.write_all(data).await;
        drop(mine);
    };
    tokio::join!(calling, answering);

    // And once it is trusted.
    let (mut mine, theirs) = duplex(PIPE_LEN);
    let mut conn = Conn::new(Box::new(theirs));
    conn.trust();
    let mut link = Link::new(conn, 1);
    let waiting = async { drop(link.answer(&shared, 1, Duration::from_secs(1)).await) };
    let answering = async {
        let _ = mine.write_all(data).await;
        drop(mine);
    };
    tokio::join!(waiting, answering);
}

async fn serve(stream: DuplexStream) {
    let shared = peers(Arc::new(Wire::default())).shared;
    server::serve_stream(shared, Arc::new(Agreeing), Box::new(stream)).await;
}

fn peers(net: Arc<dyn Net>) -> Peers {
    let snapshots = SnapshotDir::open(Arc::new(SimDisk::new(0)), Path::new("snapshots"));
    let snapshots = snapshots.expect("an empty disk can be written to");
    let options = Options {
        listen: vec![],
        port: 0,
        secret: None,
        tls: None,
        silence: Duration::from_secs(1),
        snapshots,
        snapshot_file: "dump.rdb".to_owned(),
    };
    Peers::new(net, options)
}

/// A network of the connections that were put into it.
#[derive(Default)]
struct Wire(Mutex<VecDeque<DuplexStream>>);

impl Net for Wire {
    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Box::pin(async { Ok(Box::new(stream.ok_or(io::ErrorKind::ConnectionRefused)?) as Box<dyn Io>) })
    }

    fn bind<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(async {})
    }
}

fn info(id: NodeId) -> PeerInfo {
    PeerInfo {
        id,
        peer: Peer::default(),
        state: PeerState::Empty,
        leader: None,
        session_token: [0; 16],
        promise_ms: 600,
    }
}

/// A node that takes whatever comes.
struct Agreeing;

impl Inbound for Agreeing {
    fn me(&self) -> PeerInfo {
        info(2)
    }

    fn met(&self, _peer: &PeerInfo) {}

    fn heard(&self, _node: NodeId) {}

    fn vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        Box::pin(async move { Ok(VoteResponse::new(request.vote, request.last_log_id, true)) })
    }

    fn pre_vote(&self, request: VoteRequest) -> BoxFuture<'static, Result<VoteResponse, Refused>> {
        self.vote(request)
    }

    fn stream_append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest>,
    ) -> BoxStream<'static, Result<Appended, Refused>> {
        requests.map(|request| Ok(Ok(request.entries.last().map(|entry| entry.log_id)))).boxed()
    }

    fn install_snapshot(
        &self,
        vote: Vote,
        _received: Received,
    ) -> BoxFuture<'static, Result<Installed, Refused>> {
        Box::pin(async move { Ok(Installed::new(vote)) })
    }

    fn transfer_leader(
        &self,
        _request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Refused>> {
        Box::pin(async { Ok(Ok(())) })
    }

    fn join(&self, _joiner: Joiner) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_gets_past_the_decoders() {
        let (mut rest, mut controls) = (&SAMPLE[1..], 0);
        while let Some((&[kind, low, high], after)) = rest.split_first_chunk() {
            let (payload, after) = after.split_at(usize::from(u16::from_le_bytes([low, high])));
            rest = after;
            let payload = Bytes::copy_from_slice(payload);
            match kind {
                0 => {
                    let message = Message { kind: Kind::Control, number: 0, payload };
                    Control::decode(&message).expect("a message");
                    controls += 1;
                }
                1 => assert_eq!(decode_append(payload).expect("a message").1.entries.len(), 1),
                _ => assert_eq!(decode_chunk(payload).expect("a message").1, "xyz"),
            }
        }
        assert_eq!((controls, rest.len()), (4, 0));
    }
}
