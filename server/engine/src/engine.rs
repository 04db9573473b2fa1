//! The engine as its host drives it: connections come and go, commands run, time passes, batches are applied.

use cairn_proto::ReplyWriter;
use slab::Slab;

use crate::args::Args;
use crate::client::{BlockKind, BlockedOn, Client, ClientInfo, ClientState, Slot};
use crate::command::table;
use crate::config::Config;
use crate::context::{Context, Mode};
use crate::dispatch;
use crate::ds::HashSeed;
use crate::effects::{self, Batch, BatchError, Effects};
use crate::host::Host;
use crate::keyspace::dirty::DirtyKeys;
use crate::keyspace::{Db, Keyspace, Snapshot, Trash};
use crate::rng::Rng;
use crate::scripting::Interpreter;
use crate::shared::{Blocking, CommandStats, Pause, PubSub, Shared, SlowLog, Stats};
use crate::value::Kind;

/// How an engine is made.
pub struct EngineOptions {
    pub config: Config,
    /// Seeds the hash tables and every random choice.
    pub seed: u64,
    /// Is there a journal? Without one no effects are written down and no reply waits.
    pub journal: bool,
}

/// The whole state of one node, and the code that changes it. Owned by one thread.
pub struct Engine {
    pub keys: Keyspace,
    pub shared: Shared,
    scripts: Interpreter,
    seed: u64,
    /// Runs effects; never has an output.
    applier: Box<Client>,
}

impl Engine {
    /// An engine with no keys and no clients.
    pub fn new(options: EngineOptions) -> Self {
        let EngineOptions { config, seed, journal } = options;
        let seeds = Rng::new(seed);
        let hash_seed = HashSeed::new([seeds.next(), seeds.next(), seeds.next(), seeds.next()]);
        let mut keys = Keyspace::new(config.databases as usize, hash_seed, seeds.next());
        keys.usage.set_policy(config.maxmemory_policy);
        let shared = Shared {
            effects: Effects::new(journal, 0),
            dirty_keys: DirtyKeys::default(),
            seed: hash_seed,
            rng: Rng::new(seeds.next()),
            now_ms: 0,
            clients: Slab::new(),
            next_client_id: 1,
            slots_by_id: Default::default(),
            pubsub: PubSub::default(),
            watchers: Default::default(),
            blocking: Blocking::default(),
            pause: Pause::default(),
            monitors: Vec::new(),
            touched: Vec::new(),
            stats: Stats {
                by_command: vec![CommandStats::default(); table().entries().len()],
                ..Stats::default()
            },
            slow_log: SlowLog::default(),
            write_refusal: None,
            hold: 0,
            released: 0,
            stay_blocked: false,
            clock_us: 0,
            key_positions: Vec::new(),
            active_expire: true,
            replication_id: replication_id(&seeds),
            config,
        };
        let applier = Client {
            state: ClientState::new(0, usize::MAX, ClientInfo::default(), 0),
            reply: ReplyWriter::default(),
        };
        let scripts = Interpreter::new(None).expect("Lua starts unless memory is out");
        Self { keys, shared, scripts, seed, applier: Box::new(applier) }
    }

    /// Starts a turn of the event loop. The engine's clock never goes back, whatever `now_ms` says.
    pub fn begin_turn(&mut self, now_ms: i64, monotonic_us: u64) {
        self.shared.now_ms = self.shared.now_ms.max(now_ms);
        self.shared.clock_us = monotonic_us;
        self.keys.set_now(self.shared.now_ms);
        self.shared.effects.set_time(self.shared.now_ms);
    }

    /// A new connection.
    pub fn connect(&mut self, info: ClientInfo) -> Slot {
        let id = self.shared.next_client_id;
        self.shared.next_client_id += 1;
        let entry = self.shared.clients.vacant_entry();
        let slot = entry.key();
        let mut state = ClientState::new(id, slot, info, self.shared.now_ms);
        state.authenticated = self.shared.config.requirepass.is_empty();
        entry.insert(Some(Box::new(Client { state, reply: ReplyWriter::default() })));
        self.shared.slots_by_id.insert(id, slot);
        self.shared.stats.connections += 1;
        self.shared.stats.peak_clients = self.shared.stats.peak_clients.max(self.shared.clients.len());
        slot
    }

    /// The connection is gone: so are its subscriptions, watches and waits.
    pub fn disconnect(&mut self, slot: Slot) {
        self.unblock(slot);
        let Some(Some(mut client)) = self.shared.clients.try_remove(slot) else { return };
        self.shared.slots_by_id.remove(&client.state.id);
        self.shared.forget_client(&mut client.state);
    }

    /// Runs one command of a client. Its reply is in the client's output; see [`Engine::client`].
    pub fn execute(&mut self, host: &mut dyn Host, slot: Slot, args: Args<'_>) {
        self.with_client(host, slot, args, |cx| {
            let start = cx.reply.out.end();
            cx.client.last_command_at_ms = cx.shared.now_ms;
            cx.client.commands += 1;
            dispatch::process(cx);
            dispatch::apply_reply_mode(cx, start);
        });
        self.serve_blocked(host);
    }

    /// Gives blocked clients whose keys became ready their turn, in order of arrival, until nothing more is ready.
    fn serve_blocked(&mut self, host: &mut dyn Host) {
        while let Some(name) = self.shared.blocking.ready.pop_front() {
            self.shared.blocking.ready_set.remove(&name);
            let Some(queue) = self.shared.blocking.by_key.get(&name) else { continue };
            let (db, key) = &name;
            for slot in queue.iter().copied().collect::<Vec<_>>() {
                let kind = self.keys.dbs()[*db].dict.get(key).map(|entry| entry.value.kind());
                if self.waits_for(slot, kind) {
                    self.retry(host, slot);
                }
            }
        }
    }

    /// Is this the type of value that the client waits for?
    fn waits_for(&mut self, slot: Slot, kind: Option<Kind>) -> bool {
        let Some(blocked) = self.shared.client(slot).and_then(|client| client.state.blocked.as_deref())
        else {
            return false;
        };
        match blocked.on {
            BlockedOn::Keys { kind: wanted, .. } => match wanted {
                BlockKind::List => kind == Some(Kind::List),
                BlockKind::SortedSet => kind == Some(Kind::Zset),
                BlockKind::Stream => kind == Some(Kind::Stream),
                // It must hear that its group went away with the key.
                BlockKind::StreamGroup => true,
            },
            BlockedOn::Pause | BlockedOn::Host => false,
        }
    }

    /// Runs a blocked client's command again.
    fn retry(&mut self, host: &mut dyn Host, slot: Slot) {
        let Some(blocked) = self.shared.client(slot).and_then(|client| client.state.blocked.take()) else {
            return;
        };
        let mut served = false;
        let slices = blocked.args.slices();
        self.with_client(host, slot, Args::new(&slices), |cx| {
            cx.command = blocked.command;
            cx.mode.reprocessing = true;
            served = dispatch::retry(cx);
        });
        drop(slices);
        let Some(client) = self.shared.client(slot) else { return };
        client.state.blocked = Some(blocked);
        if served {
            self.unblock(slot);
            self.shared.touch(slot);
        }
    }

    /// Takes the client out of every queue; the host may read from it again. False when it was not blocked.
    pub fn unblock(&mut self, slot: Slot) -> bool {
        let Some(blocked) = self.shared.client(slot).and_then(|client| client.state.blocked.take()) else {
            return false;
        };
        let blocking = &mut self.shared.blocking;
        if let BlockedOn::Keys { db, keys, .. } = blocked.on {
            for key in keys {
                let name = (db, key);
                if let Some(queue) = blocking.by_key.get_mut(&name) {
                    queue.retain(|&other| other != slot);
                    if queue.is_empty() {
                        blocking.by_key.remove(&name);
                    }
                }
            }
        } else if blocked.on == BlockedOn::Pause {
            blocking.paused.retain(|&other| other != slot);
        }
        if let Some(deadline) = blocked.deadline_ms {
            blocking.deadlines.remove(&(deadline, slot));
        }
        blocking.clients -= 1;
        blocking.resumed.push(slot);
        true
    }

    /// The host's answer to a client blocked with [`Context::block_on_host`]. Nothing happens when it is not.
    pub fn answer(&mut self, slot: Slot, write: impl FnOnce(&mut ReplyWriter)) {
        let Some(client) = self.shared.client(slot) else { return };
        if !client.state.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Host) {
            return;
        }
        write(&mut client.reply);
        self.unblock(slot);
        self.shared.touch(slot);
    }

    /// What time brings about: blocked clients give up, CLIENT PAUSE ends.
    pub fn tick(&mut self, host: &mut dyn Host) {
        while let Some(&(deadline, slot)) = self.shared.blocking.deadlines.first() {
            if deadline > self.shared.now_ms {
                break;
            }
            self.shared.blocking.deadlines.remove(&(deadline, slot));
            self.time_out(slot);
        }
        if self.shared.pause.until_ms <= self.shared.now_ms {
            while let Some(slot) = self.shared.blocking.paused.pop_front() {
                self.resume_paused(host, slot);
            }
        }
    }

    /// The time of the next thing that [`Engine::tick`] has to do, in Unix milliseconds.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let blocked = self.shared.blocking.deadlines.first().map(|&(at, _)| at);
        let paused = (!self.shared.blocking.paused.is_empty()).then_some(self.shared.pause.until_ms);
        blocked.into_iter().chain(paused).min()
    }

    fn time_out(&mut self, slot: Slot) {
        let newest = self.shared.effects.newest_seq();
        let released = self.shared.released;
        let Some(client) = self.shared.client(slot) else { return };
        let Some(blocked) = client.state.blocked.as_ref() else { return };
        let from = client.reply.out.end();
        dispatch::timeout_reply(&mut client.reply, blocked.on_timeout);
        if newest > released {
            // "Nothing came" may rest on a removal that is not released yet.
            client.state.hold(from, newest);
        }
        self.unblock(slot);
        self.shared.touch(slot);
    }

    fn resume_paused(&mut self, host: &mut dyn Host, slot: Slot) {
        let Some(blocked) = self.shared.client(slot).and_then(|client| client.state.blocked.take()) else {
            return;
        };
        self.shared.blocking.clients -= 1;
        self.shared.blocking.resumed.push(slot);
        let slices = blocked.args.slices();
        self.execute(host, slot, Args::new(&slices));
        self.shared.touch(slot);
    }

    /// May the host hand this client's next command over?
    pub fn accepts_commands(&self, slot: Slot) -> bool {
        match self.shared.clients.get(slot) {
            Some(Some(client)) => {
                client.state.blocked.is_none() && !client.state.close_now && !client.state.close_after_reply
            }
            _ => false,
        }
    }

    /// A client, for the host to send its output and look at its marks.
    pub fn client(&mut self, slot: Slot) -> Option<&mut Client> {
        self.shared.client(slot)
    }

    /// Clients with new output or a changed state since the last call.
    pub fn take_touched(&mut self, into: &mut Vec<Slot>) {
        for &slot in &self.shared.touched {
            if let Some(Some(client)) = self.shared.clients.get_mut(slot) {
                client.state.touched = false;
                into.push(slot);
            }
        }
        self.shared.touched.clear();
    }

    /// Clients that were blocked and may be read from again.
    pub fn take_resumed(&mut self, into: &mut Vec<Slot>) {
        into.append(&mut self.shared.blocking.resumed);
    }

    /// The batches made since the last call, oldest first: to be appended to the journal before anything is sent.
    pub fn take_batches(&mut self, into: &mut Vec<Batch>) {
        self.shared.effects.take(into);
    }

    /// Everything up to `seq` is released: replies that waited for it may leave.
    pub fn set_released(&mut self, seq: u64) {
        self.shared.released = self.shared.released.max(seq);
        self.shared.dirty_keys.release(seq);
    }

    /// Applies a batch of the journal: at start-up, or on a follower. It must follow the last one.
    pub fn apply(&mut self, host: &mut dyn Host, payload: &[u8]) -> Result<(), BatchError> {
        let header = effects::header(payload)?;
        let last = self.shared.effects.newest_seq();
        if header.seq != last + 1 {
            return Err(BatchError::Chain { epoch: header.epoch, seq: header.seq, last });
        }
        self.begin_turn(header.time_ms, self.shared.clock_us);
        self.shared.effects.set_applying(true);
        self.keys.no_touch = true;
        let result = self.apply_effects(host, payload, header.seq);
        self.keys.no_touch = false;
        self.shared.effects.set_applying(false);
        self.shared.effects.set_last_seq(header.seq);
        self.shared.released = self.shared.released.max(header.seq);
        result
    }

    fn apply_effects(&mut self, host: &mut dyn Host, payload: &[u8], seq: u64) -> Result<(), BatchError> {
        let mut effects = effects::effects(payload)?;
        let mut argv = Vec::new();
        while let Some(db) = effects.next(&mut argv)? {
            let args = Args::new(&argv);
            let command = dispatch::find(args).map_err(|error| BatchError::failed(seq, args[0], &error))?;
            let Client { state, reply } = &mut *self.applier;
            self.keys.select(db);
            let mut cx = Context {
                client: state,
                keys: &mut self.keys,
                reply,
                shared: &mut self.shared,
                scripts: None,
                host,
                command,
                args,
                mode: Mode { applying: true, ..Mode::default() },
            };
            dispatch::call(&mut cx).map_err(|error| BatchError::failed(seq, args[0], &error))?;
            self.applier.reply.out.clear();
        }
        Ok(())
    }

    /// An engine with this one's configuration and seeds, and no keys: to rebuild the state in.
    pub fn empty_copy(&self) -> Self {
        let config = self.shared.config.clone();
        let mut copy = Self::new(EngineOptions { config, seed: self.seed, journal: true });
        copy.begin_turn(self.shared.now_ms, self.shared.clock_us);
        copy
    }

    /// The state as it is now, shared with whoever writes it to disk. Costs O(1) for each database.
    pub fn snapshot(&self) -> Snapshot {
        self.keys.snapshot(self.shared.effects.newest_seq(), self.shared.effects.dirty())
    }

    /// Takes over loaded databases as the state after `seq`.
    pub fn restore(&mut self, dbs: Vec<Db>, seq: u64) {
        self.keys.replace_dbs(dbs);
        self.shared.effects.set_last_seq(seq);
        self.shared.released = self.shared.released.max(seq);
    }

    /// Large values to be dropped on another thread.
    pub fn take_trash(&mut self) -> Option<Trash> {
        self.keys.take_trash()
    }

    /// Work that goes on beside commands: active expiry, eviction. `budget_us` bounds it.
    pub fn cron(&mut self, host: &mut dyn Host, budget_us: u64) {
        self.with_applier(host, |cx| {
            if cx.shared.active_expire {
                crate::expire::cycle(cx, budget_us);
            }
            if cx.shared.config.maxmemory > 0 {
                crate::eviction::make_room(cx);
            }
        });
        self.serve_blocked(host);
    }

    /// Runs `f` as one atomic unit in the name of a client; its reply waits for what it depends on.
    fn with_client(
        &mut self,
        host: &mut dyn Host,
        slot: Slot,
        args: Args<'_>,
        f: impl FnOnce(&mut Context<'_>),
    ) {
        let mut client = self.shared.clients[slot].take().expect("a client's command runs alone");
        let from = client.reply.out.end();
        self.shared.hold = 0;
        self.keys.select(client.state.db);
        self.keys.no_touch = client.state.no_touch;
        let Client { state, reply } = &mut *client;
        f(&mut Context {
            client: state,
            keys: &mut self.keys,
            reply,
            shared: &mut self.shared,
            scripts: Some(&mut self.scripts),
            host,
            command: &table().entries()[0],
            args,
            mode: Mode::default(),
        });
        self.keys.no_touch = false;
        self.shared.effects.end_unit();
        let hold = self.shared.hold;
        if hold > self.shared.released && client.reply.out.end() > from {
            client.state.hold(from, hold);
        }
        self.shared.clients[slot] = Some(client);
    }

    /// Runs `f` as one atomic unit in nobody's name.
    fn with_applier(&mut self, host: &mut dyn Host, f: impl FnOnce(&mut Context<'_>)) {
        let Client { state, reply } = &mut *self.applier;
        self.keys.select(0);
        f(&mut Context {
            client: state,
            keys: &mut self.keys,
            reply,
            shared: &mut self.shared,
            scripts: None,
            host,
            command: &table().entries()[0],
            args: Args::new(&[]),
            mode: Mode::default(),
        });
        reply.out.clear();
        self.shared.effects.end_unit();
    }
}

/// 40 random hexadecimal digits.
pub(crate) fn replication_id(rng: &Rng) -> String {
    let text = format!("{:016x}{:016x}{:016x}", rng.next(), rng.next(), rng.next());
    text[..40].to_owned()
}
