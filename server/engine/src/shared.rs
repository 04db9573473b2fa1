//! The state that all commands share beside the keyspace: clients, subscriptions, watched and awaited keys, figures.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use slab::Slab;

use crate::client::{Client, Slot};
use crate::config::Config;
use crate::ds::HashSeed;
use crate::effects::Effects;
use crate::error::CommandError;
use crate::keyspace::dirty::DirtyKeys;
use crate::rng::Rng;

/// Everything but the keyspace.
pub struct Shared {
    pub config: Config,
    pub effects: Effects,
    pub dirty_keys: DirtyKeys,
    pub seed: HashSeed,
    pub rng: Rng,
    /// Unix milliseconds of this turn; never goes back.
    pub now_ms: i64,
    /// A client is `None` while its command runs.
    pub clients: Slab<Option<Box<Client>>>,
    pub next_client_id: u64,
    pub slots_by_id: HashMap<u64, Slot>,
    pub pubsub: PubSub,
    pub watchers: HashMap<(usize, Box<[u8]>), Vec<Slot>>,
    pub blocking: Blocking,
    pub pause: Pause,
    pub monitors: Vec<Slot>,
    /// Clients with output or a state change that the host has not seen yet.
    pub touched: Vec<Slot>,
    pub stats: Stats,
    pub slow_log: SlowLog,
    /// Set by the host while writes cannot be made durable: every write is refused with it.
    pub write_refusal: Option<CommandError>,
    /// The journal position that the running command's reply needs.
    pub hold: u64,
    /// Newest released position.
    pub released: u64,
    /// A blocked client that was tried again still waits.
    pub stay_blocked: bool,
    /// The host's monotonic clock when the last command ended.
    pub clock_us: u64,
    /// Scratch of the dispatcher.
    pub key_positions: Vec<usize>,
    pub active_expire: bool,
    /// `INFO server`'s run id and replication id, changeable by DEBUG CHANGE-REPL-ID.
    pub replication_id: String,
}

/// Who listens to what.
#[derive(Default)]
pub struct PubSub {
    pub channels: HashMap<Box<[u8]>, Vec<Slot>>,
    pub patterns: HashMap<Box<[u8]>, Vec<Slot>>,
    pub shard_channels: HashMap<Box<[u8]>, Vec<Slot>>,
}

/// Who waits for which key, and until when.
#[derive(Default)]
pub struct Blocking {
    /// In order of arrival.
    pub by_key: HashMap<(usize, Box<[u8]>), VecDeque<Slot>>,
    pub deadlines: BTreeSet<(i64, Slot)>,
    /// Keys that may serve somebody, in the order in which they changed.
    pub ready: VecDeque<(usize, Box<[u8]>)>,
    pub ready_set: HashSet<(usize, Box<[u8]>)>,
    /// Clients held by CLIENT PAUSE, in order of arrival.
    pub paused: VecDeque<Slot>,
    /// Clients that the host may read from again.
    pub resumed: Vec<Slot>,
    pub clients: usize,
}

/// CLIENT PAUSE.
#[derive(Default)]
pub struct Pause {
    pub until_ms: i64,
    /// Only writes are held.
    pub writes_only: bool,
}

/// Counters of INFO.
#[derive(Default)]
pub struct Stats {
    pub commands: u64,
    pub connections: u64,
    pub expired_keys: u64,
    pub evicted_keys: u64,
    pub evicted_clients: u64,
    pub total_error_replies: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
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

/// Counters of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    pub microseconds: u64,
    pub rejected: u64,
    pub failed: u64,
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

    /// Puts the client on the list that the host looks at after each turn.
    pub fn touch(&mut self, slot: Slot) {
        if let Some(Some(client)) = self.clients.get_mut(slot)
            && !client.state.touched
        {
            client.state.touched = true;
            self.touched.push(slot);
        }
    }

    /// The reply being made needs `seq` released.
    pub fn need(&mut self, seq: u64) {
        self.hold = self.hold.max(seq);
    }
}
