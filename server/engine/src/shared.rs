//! The state that all commands share beside the keyspace: clients, subscriptions, watched and awaited keys, figures.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use cairn_proto::ReplyWriter;
use slab::Slab;

use crate::acl::Acl;
use crate::busy::RunningScript;
use crate::by_key::ByKey;
use crate::client::{BlockKind, BlockedOn, Client, ClientInfo, ClientState, Slot, TimeoutReply};
use crate::client_memory::ClientMemory;
use crate::config::Config;
use crate::ds::HashSeed;
use crate::effects::Effects;
use crate::error::CommandError;
use crate::host::Host;
use crate::keyspace::Db;
use crate::keyspace::dirty::DirtyKeys;
use crate::latency::{Event, Histogram, Monitor};
use crate::rng::Rng;
use crate::search::Search;
use crate::tracking;

/// Error codes counted in INFO errorstats. A script can invent them; past it new ones are counted together, as
/// [`OTHER_ERROR_CODES`].
const ERROR_CODES_MAX: usize = 128;
/// Codes that look like the server's own, in capitals, are still added up to so many.
const CAPITAL_ERROR_CODES_MAX: usize = 256;
/// Valkey's name for the rest.
const OTHER_ERROR_CODES: &str = "ERRORSTATS_OVERFLOW";

/// Everything but the keyspace.
pub struct Shared {
    pub config: Config,
    pub acl: Acl,
    pub effects: Effects,
    pub dirty_keys: DirtyKeys,
    pub seed: HashSeed,
    pub rng: Rng,
    /// Unix milliseconds of this turn; never goes back.
    pub now_ms: i64,
    /// A client is `None` while its command runs.
    pub clients: Slab<Option<Box<Client>>>,
    pub client_memory: ClientMemory,
    pub next_client_id: u64,
    pub slots_by_id: HashMap<u64, Slot>,
    pub pubsub: PubSub,
    pub tracking: tracking::Table,
    /// The indexes of `FT.*`.
    pub search: Search,
    /// Who watches which key.
    pub watchers: ByKey<Vec<Slot>>,
    pub blocking: Blocking,
    pub pause: Pause,
    pub monitors: Vec<Slot>,
    /// Clients that are fed as replicas of Redis's kind, or wait to be, in the order in which they came.
    pub replicas: Vec<Slot>,
    /// Bytes that the host holds for them: eviction does not count what goes away by itself, and would make more of it.
    pub fed_bytes: usize,
    /// Clients with output or a state change that the host has not seen yet.
    pub touched: Vec<Slot>,
    pub stats: Stats,
    pub slow_log: SlowLog,
    /// What took longer than `latency-monitor-threshold`.
    pub latency: Monitor,
    /// Set by the host while writes cannot be made durable: every write is refused with it.
    pub write_refusal: Option<CommandError>,
    /// No background work, and no end of the process by a signal (DEBUG PAUSE-CRON).
    pub cron_paused: bool,
    /// The host is putting a CONFIG SET into effect that it may have to take back.
    pub config_unsettled: bool,
    /// Set while one runs.
    pub running_script: Option<RunningScript>,
    /// The journal position that the running command's reply needs.
    pub hold: u64,
    /// Newest released position.
    pub released: u64,
    /// This node follows: the state changes only by batches of the leader, or by what the primary sends. Commands that write are refused, nothing expires
    /// or is evicted here.
    pub replica: bool,
    /// Whom this server follows by hand; then it is a [replica](Shared::replica) as well.
    pub following: Option<Box<crate::following::Following>>,
    /// The state is about to be replaced, at a position that may have been told: nothing is logged before it is, whoever is followed
    /// meanwhile.
    pub replacing: bool,
    /// May the running unit write? What it was when it began, whatever it has made of it.
    pub unit_writes: bool,
    /// The name of the stream that this server followed before it was told to follow nobody, and the first byte that is not of it.
    pub former_history: Option<(String, u64)>,
    /// A blocked client that was tried again still waits.
    pub stay_blocked: bool,
    /// Messages for the client whose command runs; they follow its reply.
    pub pushes: ReplyWriter,
    /// Where messages to other clients start that were written in this unit: they wait for it.
    pub deliveries: Vec<(Slot, u64)>,
    /// Clients over the soft limit of their output.
    pub over_soft_limit: BTreeSet<Slot>,
    /// The host's monotonic clock when the turn began.
    pub turn_us: u64,
    /// The wall clock is behind the engine's since then: the engine's time and the monotonic clock at that moment.
    pub ahead_since: Option<(i64, u64)>,
    /// The host's monotonic clock when the last command ended.
    pub clock_us: u64,
    /// While the running unit runs nothing expires: what has is only hidden from it. CLIENT PAUSE held when it began, so that
    /// what follows this server's writes stands still. Not in a cluster, where an expiry that somebody has seen must
    /// outlast a failover: the next leader's clock may be behind.
    pub expiry_held: bool,
    /// How long the host is going to sleep for the running command (DEBUG SLEEP); counts as its run time.
    pub sleep_us: u64,
    /// How long the host is going to sleep for the commands of the running unit.
    pub unit_sleep_us: u64,
    /// Scratch of the dispatcher.
    pub key_positions: Vec<usize>,
    pub active_expire: bool,
    /// Scripts may call what they normally may not (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub scripts_may_all: bool,
    /// Elements of lists this long are nodes of their own (DEBUG QUICKLIST-PACKED-THRESHOLD).
    pub list_plain_min: Option<usize>,
    /// `INFO server`'s run id and replication id, changeable by DEBUG CHANGE-REPL-ID.
    pub replication_id: String,
}

/// Who listens to what. The lists of clients are in order.
#[derive(Default)]
pub struct PubSub {
    pub channels: HashMap<Box<[u8]>, Vec<Slot>>,
    pub patterns: BTreeMap<Box<[u8]>, Vec<Slot>>,
    pub shard_channels: HashMap<Box<[u8]>, Vec<Slot>>,
}

/// Who waits for which key, and until when.
#[derive(Default)]
pub struct Blocking {
    /// In order of arrival.
    pub by_key: ByKey<VecDeque<Slot>>,
    pub deadlines: BTreeSet<(i64, Slot)>,
    /// Keys that may serve somebody, in the order in which they changed.
    pub ready: VecDeque<(usize, Box<[u8]>)>,
    pub ready_set: HashSet<(usize, Box<[u8]>)>,
    /// Clients held by CLIENT PAUSE, in order of arrival.
    pub paused: VecDeque<Slot>,
    /// Clients in WAIT and WAITAOF for other nodes.
    pub on_replicas: Vec<Slot>,
    /// Clients that the host may read from again.
    pub resumed: Vec<Slot>,
    pub clients: usize,
    /// Those of them in XREADGROUP, who also wait for the key to go.
    pub of_groups: usize,
}

/// CLIENT PAUSE.
#[derive(Default)]
pub struct Pause {
    pub until_ms: i64,
    /// Only writes are held.
    pub writes_only: bool,
    /// The rules were relaxed: those held are tried again in the next tick.
    pub relaxed: bool,
    /// The host is about to end the process or to hand the leadership over: writes are held, whatever CLIENT PAUSE and
    /// UNPAUSE say.
    pub stopping: bool,
}

impl Pause {
    /// May nothing change now, not even by itself?
    pub fn holds_writes(&self, now_ms: i64) -> bool {
        self.stopping || self.until_ms > now_ms
    }

    /// It has not come to that, or it is over.
    pub fn stop_no_more(&mut self) {
        self.stopping = false;
        self.relaxed = true;
    }
}

/// Counters of INFO.
#[derive(Default)]
pub struct Stats {
    pub commands: u64,
    /// How long all of them took together.
    pub command_us: u64,
    pub connections: u64,
    pub expired_keys: u64,
    /// Fields of hashes.
    pub expired_fields: u64,
    pub evicted_keys: u64,
    pub evicted_clients: u64,
    /// Replicas that began to be fed, and how many of them had hoped to go on where they were.
    pub full_syncs: u64,
    pub refused_partial_syncs: u64,
    pub total_error_replies: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
    /// Set by the host.
    pub instantaneous_ops: u64,
    pub peak_clients: usize,
    pub expire_cycle_cpu_ms: u64,
    pub expired_time_cap_reached: u64,
    pub unexpected_error_replies: u64,
    /// By [`crate::command::Entry::index`].
    pub by_command: Vec<CommandStats>,
    /// By error code (`WRONGTYPE`), bounded.
    pub errors: HashMap<String, u64>,
}

impl Stats {
    /// All zero.
    pub fn new() -> Self {
        Self {
            by_command: vec![CommandStats::default(); crate::command::table().entries().len()],
            ..Self::default()
        }
    }

    /// Counts an error reply by its code.
    pub(crate) fn count_error(&mut self, text: &[u8]) {
        self.total_error_replies += 1;
        let code = text.split(|&b| b == b' ').next().unwrap_or(b"ERR");
        let known = self.errors.len();
        let is_own = code.iter().all(u8::is_ascii_uppercase) && known < CAPITAL_ERROR_CODES_MAX;
        let mut code = String::from_utf8_lossy(code).into_owned();
        if known >= ERROR_CODES_MAX && !is_own && !self.errors.contains_key(&code) {
            code = OTHER_ERROR_CODES.to_owned();
        }
        *self.errors.entry(code).or_default() += 1;
    }

    /// CONFIG RESETSTAT: forgets everything but what describes the present.
    pub fn reset(&mut self) {
        let peak_clients = self.peak_clients;
        *self = Self { peak_clients, ..Self::new() };
    }
}

/// Counters of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    pub microseconds: u64,
    pub rejected: u64,
    pub failed: u64,
    /// Run times, while `latency-tracking` is on.
    pub latency: Histogram,
}

/// The slow log, newest first.
#[derive(Default)]
pub struct SlowLog {
    pub entries: VecDeque<SlowEntry>,
    pub next_id: u64,
}

/// One slow command.
pub struct SlowEntry {
    pub id: u64,
    pub at_s: i64,
    pub microseconds: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub name: Vec<u8>,
}

impl Shared {
    /// A client that is not the one whose command runs.
    pub fn client(&mut self, slot: Slot) -> Option<&mut Client> {
        self.clients.get_mut(slot)?.as_deref_mut()
    }

    /// A new connection.
    pub fn connect(&mut self, info: ClientInfo) -> Slot {
        while self.slots_by_id.contains_key(&self.next_client_id) {
            // Adopted from another node.
            self.next_client_id += 1;
        }
        let id = self.next_client_id;
        self.next_client_id += 1;
        let entry = self.clients.vacant_entry();
        let slot = entry.key();
        let mut state = ClientState::new(id, slot, info, self.now_ms);
        state.login = self.acl.login(crate::acl::DEFAULT);
        state.authenticated = self.acl.default_is_open();
        entry.insert(Some(Box::new(Client { state, reply: ReplyWriter::default() })));
        self.slots_by_id.insert(id, slot);
        self.weigh_at(slot);
        self.stats.connections += 1;
        self.stats.peak_clients = self.stats.peak_clients.max(self.clients.len());
        slot
    }

    /// Gives a client the number that it has at another node, unless somebody here has it: numbers of nodes of one
    /// cluster start far apart.
    pub fn adopt_id(&mut self, slot: Slot, id: u64) {
        if self.slots_by_id.contains_key(&id) {
            return;
        }
        let Some(client) = self.client(slot) else { return };
        let own = std::mem::replace(&mut client.state.id, id);
        self.slots_by_id.remove(&own);
        self.slots_by_id.insert(id, slot);
    }

    /// The connection is gone: so are its subscriptions, watches and waits.
    pub fn disconnect(&mut self, slot: Slot) {
        self.unblock(slot);
        let Some(Some(mut client)) = self.clients.try_remove(slot) else { return };
        self.slots_by_id.remove(&client.state.id);
        self.forget_client(&mut client.state);
    }

    /// Puts the client on the list that the host looks at after each turn.
    pub fn touch(&mut self, slot: Slot) {
        if let Some(Some(client)) = self.clients.get_mut(slot)
            && !client.state.touched
        {
            client.state.touched = true;
            self.touched.push(slot);
        }
    }

    /// Takes the client out of every queue; the host may read from it again. False when it was not blocked.
    pub fn unblock(&mut self, slot: Slot) -> bool {
        let Some(blocked) = self.client(slot).and_then(|client| client.state.blocked.take()) else {
            return false;
        };
        let blocking = &mut self.blocking;
        match blocked.on {
            BlockedOn::Keys { db, keys, kind } => {
                blocking.of_groups -= usize::from(kind == BlockKind::StreamGroup);
                for key in keys {
                    if let Some(queue) = blocking.by_key.get_mut(db, &key) {
                        queue.retain(|&other| other != slot);
                        if queue.is_empty() {
                            blocking.by_key.remove(db, &key);
                        }
                    }
                }
            }
            BlockedOn::Pause => blocking.paused.retain(|&other| other != slot),
            BlockedOn::Replicas(_) => blocking.on_replicas.retain(|&other| other != slot),
            BlockedOn::Host | BlockedOn::Penalty => {}
        }
        if let Some(deadline) = blocked.deadline_ms {
            blocking.deadlines.remove(&(deadline, slot));
        }
        blocking.clients -= 1;
        blocking.resumed.push(slot);
        true
    }

    /// A blocked client's time is up: it is told so and goes on.
    pub(crate) fn time_out(&mut self, host: &dyn Host, slot: Slot) {
        let newest = self.effects.newest_seq();
        let released = self.released;
        let logs = self.effects.enabled();
        let waited = self.wait_so_far(host, slot);
        let Some(client) = self.client(slot) else { return };
        let Some(blocked) = client.state.blocked.as_ref() else { return };
        let from = client.reply.out.end();
        match blocked.on_timeout {
            TimeoutReply::NullArray => client.reply.null_array(),
            TimeoutReply::Null => client.reply.null(),
            TimeoutReply::Integer(n) => client.reply.int(n),
            TimeoutReply::Error(text) => client.reply.error(text),
            TimeoutReply::Replicas => {
                let (wait, so_far) = waited.expect("it waits for replicas");
                so_far.reply(&wait, &mut client.reply);
            }
            TimeoutReply::Synced { position, .. } => {
                client.reply.array(2);
                client.reply.int(i64::from(logs && host.facts().log_synced >= position));
                client.reply.int(0);
            }
        }
        if newest > released {
            // "Nothing came" may rest on a removal that is not released yet.
            client.state.hold(from, newest);
        }
        self.end_wait(slot, from);
    }

    /// CLIENT UNBLOCK … ERROR.
    pub(crate) fn unblock_with_error(&mut self, slot: Slot, error: &str) {
        let Some(client) = self.client(slot) else { return };
        let from = client.reply.out.end();
        client.reply.error(error);
        let command = client.state.blocked.as_ref().map(|blocked| blocked.command.index);
        self.stats.count_error(error.as_bytes());
        if let Some(index) = command {
            self.stats.by_command[index].failed += 1;
        }
        self.end_wait(slot, from);
    }

    /// A blocked client has been answered (from `from` on) without its command having run.
    pub(crate) fn end_wait(&mut self, slot: Slot, from: u64) {
        let Some(client) = self.client(slot) else { return };
        let command = client.state.blocked.as_ref().map(|blocked| blocked.command.index);
        crate::dispatch::end_reply(&mut client.state, &mut client.reply, from);
        client.state.commands += u64::from(command.is_some());
        if let Some(index) = command {
            self.stats.by_command[index].calls += 1;
            self.stats.commands += 1;
        }
        self.unblock(slot);
        self.touch(slot);
    }

    /// Cuts a client off that is not the one whose command runs: it is out of all tables at once, and the host closes
    /// its connection.
    pub fn kill(&mut self, slot: Slot) {
        self.unblock(slot);
        let Some(mut client) = self.clients.get_mut(slot).and_then(Option::take) else { return };
        self.slots_by_id.remove(&client.state.id);
        self.forget_client(&mut client.state);
        client.close_now();
        self.clients[slot] = Some(client);
        self.touch(slot);
    }

    /// All keys of `db` are about to go: breaks the WATCHes of those that are there, and tells those who wait for a
    /// stream to come or go.
    pub(crate) fn touch_all(&mut self, keys: &Db, db: usize, own: &mut ClientState) {
        for (_, slots) in self.watchers.of_db(db).filter(|(key, _)| keys.dict.contains(key)) {
            for &slot in slots {
                if slot == own.slot {
                    own.watch_broken = true;
                } else if let Some(Some(other)) = self.clients.get_mut(slot) {
                    other.state.watch_broken = true;
                }
            }
        }
        for (key, _) in self.blocking.by_key.of_db(db).filter(|(key, _)| keys.dict.contains(key)) {
            let name: (usize, Box<[u8]>) = (db, key.into());
            if self.blocking.ready_set.insert(name.clone()) {
                self.blocking.ready.push_back(name);
            }
        }
    }

    /// Unix microseconds, as fine as the host's clock: TIME, MONITOR.
    pub fn now_us(&self) -> i64 {
        self.us_at(self.clock_us)
    }

    /// Unix microseconds when the host's monotonic clock showed `clock_us`, in this turn.
    pub fn us_at(&self, clock_us: u64) -> i64 {
        self.now_ms * 1000 + clock_us.saturating_sub(self.turn_us) as i64
    }

    /// Something has taken so long: kept for LATENCY if that is too long.
    pub fn note_latency(&mut self, event: Event, microseconds: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        self.latency.note(event, threshold_ms, microseconds, self.now_ms / 1000);
    }

    /// At the end of a unit: what was written to other clients waits for the unit, which may have logged more since.
    pub(crate) fn settle_deliveries(&mut self, host: &dyn Host) {
        if self.deliveries.is_empty() {
            return;
        }
        let newest = self.effects.newest_seq();
        let hold = self.effects.enabled() && newest > self.released;
        let mut deliveries = std::mem::take(&mut self.deliveries);
        for (slot, from) in deliveries.drain(..) {
            if hold
                && let Some(client) = self.client(slot)
                && !client.state.close_now
            {
                client.state.hold(from, newest);
            }
            self.check_output_of(slot, host);
        }
        self.deliveries = deliveries;
    }

    /// The reply being made needs `seq` released.
    pub fn need(&mut self, seq: u64) {
        self.hold = self.hold.max(seq);
    }
}
