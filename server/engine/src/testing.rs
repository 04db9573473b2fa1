//! An engine in a box for tests: a fake host, a clock that the test moves, clients by number.

use std::sync::Arc;

use cairn_proto::Resp;

use crate::args::Args;
use crate::client::{ClientInfo, Slot};
use crate::cluster::{ClusterNode, ClusterView, RaftFigures};
use crate::config::Config;
use crate::effects::{Batch, effects};
use crate::engine::{Engine, EngineOptions};
use crate::error::CommandError;
use crate::host::{Facts, Host, LogLevel, Request};
use crate::pubsub::{Scope, subscribe};

/// A host whose figures the test sets.
#[derive(Default)]
pub struct FakeHost {
    pub used_memory: usize,
    pub monotonic_us: std::cell::Cell<u64>,
    /// By how much more than a microsecond the clock moves when it is looked at. It does move, so that time-bounded loops end.
    pub leap_us: u64,
    pub requests: Vec<Request>,
    pub background_saves: usize,
    pub facts: Facts,
    pub log: std::cell::RefCell<Vec<String>>,
    pub cluster: Option<Arc<ClusterView>>,
    pub acl_file: Option<Vec<u8>>,
}

impl FakeHost {
    /// From now on the host is a node of this cluster.
    pub fn show(&mut self, view: ClusterView) {
        self.cluster = Some(Arc::new(view));
    }
}

/// A picture of three voting nodes, on ports 7001 to 7003, in which all is well, taken by the one at `myself`.
pub fn three_nodes(myself: usize, leader: Option<usize>) -> ClusterView {
    let node = |number: u16| ClusterNode {
        id: format!("{number:040x}"),
        host: "127.0.0.1".to_owned(),
        port: 7000 + number,
        tls_port: 0,
        cluster_port: 17000 + number,
        voter: true,
        connected: true,
        heard_at_ms: if usize::from(number - 1) == myself {
            0
        } else {
            1_699_999_999_000 + i64::from(number)
        },
        matched: None,
    };
    ClusterView {
        nodes: (1..=3).map(node).collect(),
        myself,
        leader,
        last_leader: None,
        serving: leader == Some(myself),
        redirect: false,
        raft: RaftFigures {
            role: if leader == Some(myself) { "leader" } else { "follower" },
            term: 5,
            ..RaftFigures::default()
        },
    }
}

impl Host for FakeHost {
    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.set(self.monotonic_us.get() + 1 + self.leap_us);
        self.monotonic_us.get()
    }
    fn used_memory(&self) -> usize {
        self.used_memory
    }
    fn log(&self, _: LogLevel, text: &str) {
        self.log.borrow_mut().push(text.to_owned());
    }
    fn background_save(&mut self, _schedule: bool) -> Result<bool, CommandError> {
        self.background_saves += 1;
        Ok(false)
    }
    fn request(&mut self, request: Request) {
        self.requests.push(request);
    }
    fn fill_with_secrets(&mut self, secret: &mut [u8]) {
        secret.fill(0xa5);
    }
    fn read_acl_file(&mut self) -> Result<Vec<u8>, String> {
        self.acl_file.clone().ok_or("No such file or directory".to_owned())
    }
    fn replace_acl_file(&mut self, content: &[u8]) -> Result<(), String> {
        self.acl_file = Some(content.to_vec());
        Ok(())
    }
    fn facts(&self) -> Facts {
        self.facts.clone()
    }
    fn cluster(&self) -> Option<Arc<ClusterView>> {
        self.cluster.clone()
    }
}

/// An engine with a fake host and a journal that releases when told to.
pub struct TestEngine {
    pub engine: Engine,
    pub host: FakeHost,
    pub now_ms: i64,
    /// Every batch so far, in order.
    pub batches: Vec<Batch>,
}

impl TestEngine {
    /// Default configuration, seed 1, Unix time 1 700 000 000 000 ms.
    pub fn new() -> Self {
        Self::with_config(Config::default(), 1)
    }

    /// With this configuration and seed.
    pub fn with_config(config: Config, seed: u64) -> Self {
        let engine = Engine::new(EngineOptions { config, seed, journal: true });
        let mut this =
            Self { engine, host: FakeHost::default(), now_ms: 1_700_000_000_000, batches: Vec::new() };
        this.turn();
        this
    }

    /// A new client in the given protocol.
    pub fn connect(&mut self, resp: Resp) -> Slot {
        let slot = self.engine.connect(ClientInfo {
            address: "127.0.0.1:50000".to_owned(),
            local_address: "127.0.0.1:6379".to_owned(),
            fd: 8,
            unix_socket: false,
            tls: false,
        });
        self.engine.client(slot).expect("just connected").reply.resp = resp;
        slot
    }

    /// Lets time pass: deadlines are met, active expiry runs.
    pub fn advance(&mut self, ms: i64) {
        self.now_ms += ms;
        self.turn();
        self.engine.tick(&mut self.host);
        self.engine.cron(&mut self.host, 1_000);
        self.collect();
    }

    /// Runs one command as a turn of its own and returns what the client was sent, all of it released.
    pub fn send(&mut self, slot: Slot, args: &[&[u8]]) -> Vec<u8> {
        self.send_held(slot, args);
        self.release();
        self.output(slot)
    }

    /// Runs one command; its effects are collected but not released.
    pub fn send_held(&mut self, slot: Slot, args: &[&[u8]]) {
        self.turn();
        self.engine.execute(&mut self.host, slot, Args::new(args));
        self.collect();
    }

    /// Splits `line` at spaces and sends it.
    pub fn run(&mut self, slot: Slot, line: &str) -> String {
        let args: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.send(slot, &args)).into_owned()
    }

    /// Runs a line and returns the effects that it was written down as, a line for each.
    pub fn effects_of(&mut self, slot: Slot, line: &str) -> Vec<String> {
        let before = self.batches.len();
        self.run(slot, line);
        let mut lines = Vec::new();
        let mut argv = Vec::new();
        for batch in &self.batches[before..] {
            let mut effects = effects(&batch.payload).expect("a batch of our own");
            while effects.next(&mut argv).expect("a batch of our own").is_some() {
                lines.push(argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" "));
            }
        }
        lines
    }

    /// Runs a line and returns the keyspace events that it caused: `event key`. The configuration must have them all.
    pub fn events_of(&mut self, slot: Slot, line: &str) -> Vec<String> {
        const LINES_OF_MESSAGE: usize = 9;
        let listener = self.connect(Resp::V2);
        let mut client = self.engine.shared.clients[listener].take().expect("just connected");
        subscribe(&mut self.engine.shared, &mut client.state, Scope::Pattern, b"__keyevent@0__:*");
        self.engine.shared.clients[listener] = Some(client);
        self.run(slot, line);
        let heard = String::from_utf8_lossy(&self.output(listener)).into_owned();
        self.engine.disconnect(listener);
        let lines: Vec<&str> = heard.lines().collect();
        let messages = lines.chunks(LINES_OF_MESSAGE);
        messages
            .map(|lines| format!("{} {}", lines[6].trim_start_matches("__keyevent@0__:"), lines[8]))
            .collect()
    }

    /// Releases everything collected so far.
    pub fn release(&mut self) {
        if let Some(last) = self.batches.last() {
            self.engine.set_released(last.seq);
        }
    }

    /// What the client may be sent now.
    pub fn output(&mut self, slot: Slot) -> Vec<u8> {
        let released = self.engine.shared.released;
        let Some(client) = self.engine.client(slot) else { return Vec::new() };
        let end = client.reply.out.end();
        let upto = client.state.sendable(released, end);
        let mut bytes = Vec::new();
        loop {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let used = client.reply.out.io_slices(upto, &mut slices);
            let mut count = 0;
            for slice in &slices[..used] {
                bytes.extend_from_slice(slice);
                count += slice.len();
            }
            if count == 0 {
                return bytes;
            }
            client.reply.out.consume(count);
        }
    }

    /// A second engine that has applied every batch of this one.
    pub fn replica(&self) -> Self {
        self.replica_on(FakeHost::default())
    }

    /// The same, on this host.
    pub fn replica_on(&self, host: FakeHost) -> Self {
        let mut replica = Self::with_config(self.engine.shared.config.clone(), 2);
        replica.host = host;
        for batch in &self.batches {
            replica.engine.apply(&mut replica.host, &batch.payload).expect("a batch of our own applies");
        }
        replica
    }

    fn turn(&mut self) {
        let us = self.host.monotonic_us.get();
        self.engine.begin_turn(self.now_ms, us);
    }

    fn collect(&mut self) {
        self.engine.take_batches(&mut self.batches);
    }
}

impl Default for TestEngine {
    fn default() -> Self {
        Self::new()
    }
}
