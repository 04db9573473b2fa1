//! What a replica hears when, with a journal that releases when the test says so.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_engine::effects::Batch;
use cairn_engine::rdb::Aux;

use super::*;
use crate::flags::{self, Invocation};
use crate::journal::{ApplyBatch, AuxFields, Event, Figures, Journal, Retention};
use crate::{config_file, start};

const LIMIT: Duration = Duration::from_secs(20);
const OPEN: u64 = u64::MAX;

/// A journal that has released nothing past the gate.
struct Gated {
    inner: Box<dyn Journal>,
    gate: Arc<AtomicU64>,
}

impl Journal for Gated {
    fn append(&mut self, batch: Batch) {
        self.inner.append(batch);
    }
    fn released(&mut self) -> u64 {
        self.inner.released().min(self.gate.load(Ordering::Relaxed))
    }
    fn poll(&mut self) -> Option<Event> {
        self.inner.poll()
    }
    fn queued_bytes(&self) -> u64 {
        self.inner.queued_bytes()
    }
    fn position(&mut self, seq: u64) -> Option<AuxFields> {
        self.inner.position(seq)
    }
    fn compact(&mut self, seq: u64, retention: Retention) {
        self.inner.compact(seq, retention);
    }
    fn flush(&mut self) -> Result<(), String> {
        self.inner.flush()
    }
    fn replay(&self, after: &Aux, apply: &mut ApplyBatch<'_>) -> Result<(), String> {
        self.inner.replay(after, apply)
    }
    fn adopt(&mut self, snapshot: &Aux) -> Result<(), String> {
        self.inner.adopt(snapshot)
    }
    fn begin_after(&mut self, seq: u64) {
        self.inner.begin_after(seq);
    }
    fn figures(&self) -> Figures {
        self.inner.figures()
    }
}

/// A server whose turns the test takes.
struct Server {
    executor: Executor,
    gate: Arc<AtomicU64>,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

/// A connection of the test's, which never waits.
struct Client {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("it has one");
        drop(listener);
        let (port, path) = (addr.port().to_string(), dir.path().display().to_string());
        let flags = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", &path];
        let Ok(Invocation::Serve(sources)) = flags::parse(flags.into_iter().map(Into::into)) else {
            panic!("flags of a server")
        };
        let config = config_file::load(&sources, &mut std::io::empty()).expect("good flags");
        let mut executor = start::prepare(config, None, Box::new(|_| ())).expect("a server");
        let gate = Arc::new(AtomicU64::new(OPEN));
        let inner = executor.journal.take().expect("it has a log");
        executor.journal = Some(Box::new(Gated { inner, gate: Arc::clone(&gate) }));
        Self { executor, gate, addr, _dir: dir }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_nonblocking(true).expect("a socket");
        Client { stream, got: Vec::new() }
    }

    /// Nothing is released from here on that is not yet.
    fn close_gate(&mut self) {
        self.gate.store(self.executor.released, Ordering::Relaxed);
    }

    fn open_gate(&mut self) {
        self.gate.store(OPEN, Ordering::Relaxed);
    }

    /// Takes turns until `done`.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Executor) -> bool) {
        let started = Instant::now();
        while !done(&mut self.executor) {
            assert!(started.elapsed() < LIMIT, "{what}");
            assert_eq!(self.executor.turn(), None);
            // The sockets' readiness is found out meanwhile.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes turns until the client has received `text`.
    async fn hears(&mut self, client: &mut Client, text: &str) {
        self.until(text, |_| client.has(text)).await;
    }

    /// Output of the one replica up to here, sent or not.
    fn output_of_replica(&mut self) -> u64 {
        let slot = self.executor.engine.shared.replicas[0];
        self.executor.engine.client(slot).expect("it is there").reply.out.end()
    }
}

impl Client {
    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).expect("there is room for a line");
    }

    /// Reads what has come.
    fn has(&mut self, text: &str) -> bool {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => break,
                Ok(count) => self.got.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.got.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// The end of an RDB file without the checksum that follows is not text; this is the version that it begins with.
const SNAPSHOT: &str = "REDIS0010";

fn run(test: impl AsyncFnOnce(Server)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Server::start();
        test(server).await;
    });
}

#[test]
fn an_effect_is_not_sent_before_it_is_released() {
    run(async |mut server| {
        let (mut replica, mut client) = (server.connect(), server.connect());
        replica.say("SYNC");
        server.hears(&mut replica, SNAPSHOT).await;
        server.until("it is online", |executor| matches!(executor.feeds.feeds[0].step, Step::Online)).await;
        let before = server.output_of_replica();
        server.close_gate();
        client.say("SET k v");
        server.until("it is executed", |executor| executor.has_unreleased()).await;
        server.until("its turn is over", |executor| executor.feeds.unreleased.len() == 1).await;
        // What it has been sent, and what it is going to be sent, is as it was.
        assert_eq!(server.output_of_replica(), before);
        assert!(!client.has("+OK"));
        server.open_gate();
        server
            .hears(&mut replica, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
            .await;
        server.hears(&mut client, "+OK").await;
    });
}

#[test]
fn a_snapshot_is_not_sent_before_its_batch_is_released_and_is_followed_by_the_next() {
    run(async |mut server| {
        let (mut replica, mut client) = (server.connect(), server.connect());
        server.close_gate();
        client.say("SET inside v");
        server.until("it is executed", |executor| executor.has_unreleased()).await;
        replica.say("PSYNC ? -1");
        server
            .until("it is taken", |executor| {
                matches!(&executor.feeds.feeds[..], [Feed { step: Step::Taken(_), .. }])
            })
            .await;
        client.say("SET after v");
        server.until("it is executed", |executor| executor.feeds.unreleased.len() == 1).await;
        server.hears(&mut replica, "+FULLRESYNC ").await;
        assert!(matches!(server.executor.feeds.feeds[0].step, Step::Taken(_)), "nothing was released");
        server.open_gate();
        server.hears(&mut replica, "after").await;
        assert!(replica.has("inside") && !replica.has("SET\r\n$6\r\ninside"), "it is in the snapshot alone");
    });
}

#[test]
fn a_replica_that_does_not_read_is_closed_at_its_limit() {
    run(async |mut server| {
        let (mut replica, mut client) = (server.connect(), server.connect());
        client.say("CONFIG SET client-output-buffer-limit \"replica 3mb 0 0\"");
        server.hears(&mut client, "+OK").await;
        replica.say("SYNC");
        server
            .until("it is online", |executor| {
                matches!(&executor.feeds.feeds[..], [Feed { step: Step::Online, .. }])
            })
            .await;
        // More than the sockets take by themselves: it is asked for in one command, and written by many.
        client.say("EVAL \"for i = 1, 40 do redis.call('SET', 'k', string.rep('v', 1000000)) end\" 0");
        server.until("it is closed", |executor| executor.engine.shared.replicas.is_empty()).await;
        assert_eq!(server.executor.engine.shared.stats.output_limit_disconnections, 1);
        server
            .until("nothing is written for nobody", |executor| !executor.engine.shared.effects.is_fed())
            .await;
        assert!(server.executor.feeds.unreleased.is_empty());
        assert_eq!(server.executor.engine.shared.fed_bytes, 0);
    });
}

#[test]
fn a_replica_that_talks_is_closed() {
    run(async |mut server| {
        let mut replica = server.connect();
        replica.say("SYNC");
        server.hears(&mut replica, SNAPSHOT).await;
        replica.say("REPLCONF ACK 7");
        server
            .until("it is heard", |executor| {
                let slot = executor.engine.shared.replicas[0];
                let replica = executor.engine.client(slot).and_then(|client| client.state.replica.as_deref());
                replica.is_some_and(|replica| replica.acknowledged == 7)
            })
            .await;
        replica.say("PING");
        server.until("it is closed", |executor| executor.engine.shared.replicas.is_empty()).await;
        assert!(!replica.has("PONG"));
    });
}

#[test]
fn who_loses_the_leadership_feeds_nobody() {
    run(async |mut server| {
        let (mut replica, mut client) = (server.connect(), server.connect());
        replica.say("SYNC");
        server.hears(&mut replica, SNAPSHOT).await;
        server.close_gate();
        client.say("SET k v");
        server.until("it is executed", |executor| executor.feeds.unreleased.len() == 1).await;
        server.executor.end_feeds();
        server.open_gate();
        server.until("the effect is released", |executor| !executor.has_unreleased()).await;
        assert!(server.executor.feeds.is_idle() && server.executor.engine.shared.replicas.is_empty());
        assert!(!replica.has("SET"));
    });
}
