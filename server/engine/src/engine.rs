//! The engine as its host drives it: connections come and go, commands run, time passes, batches are applied.

use cairn_planted::planted;
use cairn_proto::ReplyWriter;
use slab::Slab;

use crate::acl::{Acl, DEFAULT, Login, text};
use crate::args::Args;
use crate::client::{BlockKind, BlockedOn, Client, ClientInfo, ClientState, Slot, TimeoutReply};
use crate::client_memory::ClientMemory;
use crate::cluster::SWITCH_MASTER;
use crate::command::{Flag, table};
use crate::commands::server::WAITAOF_WITHOUT_LOG;
use crate::config::Config;
use crate::context::{Context, Mode};
use crate::dispatch;
use crate::ds::HashSeed;
use crate::effects::{self, Batch, BatchError, Effects};
use crate::following::UNBLOCKED;
use crate::host::Host;
use crate::keyspace::dirty::DirtyKeys;
use crate::keyspace::{Db, Keyspace, Snapshot, Trash};
use crate::latency::Monitor;
use crate::rng::Rng;
use crate::scripting::{Functions, Interpreter, Scripts, Unattended};
use crate::search::Search;
use crate::shared::{Blocking, Pause, PubSub, Shared, SlowLog, Stats};
use crate::tracking::{self, Place};
use crate::value::Kind;

/// Keys that [`Engine::prefetch`] looks at in one call.
pub const PREFETCH_MAX: usize = 32;

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
    scripts: Scripts,
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
        keys.configure(&config);
        let acl = Acl::new(&config).expect("the users of a configuration are checked when it is read");
        let shared = Shared {
            acl,
            effects: Effects::new(journal, 0),
            dirty_keys: DirtyKeys::default(),
            seed: hash_seed,
            rng: Rng::new(seeds.next()),
            now_ms: 0,
            clients: Slab::new(),
            client_memory: ClientMemory::default(),
            next_client_id: 1,
            slots_by_id: Default::default(),
            pubsub: PubSub::default(),
            tracking: tracking::Table::new(hash_seed),
            search: Search::new(seeds.next()),
            watchers: Default::default(),
            blocking: Blocking::default(),
            pause: Pause::default(),
            monitors: Vec::new(),
            replicas: Vec::new(),
            fed_bytes: 0,
            touched: Vec::new(),
            stats: Stats::new(),
            slow_log: SlowLog::default(),
            latency: Monitor::default(),
            write_refusal: None,
            cron_paused: false,
            config_unsettled: false,
            running_script: None,
            hold: 0,
            released: 0,
            replica: false,
            following: None,
            replacing: false,
            unit_writes: true,
            former_history: None,
            stay_blocked: false,
            pushes: ReplyWriter::default(),
            deliveries: Vec::new(),
            over_soft_limit: Default::default(),
            turn_us: 0,
            ahead_since: None,
            clock_us: 0,
            expiry_held: false,
            sleep_us: 0,
            unit_sleep_us: 0,
            key_positions: Vec::new(),
            active_expire: true,
            scripts_may_all: false,
            list_plain_min: None,
            replication_id: replication_id(&seeds),
            config,
        };
        let applier = Client {
            state: ClientState::new(0, usize::MAX, ClientInfo::default(), 0),
            reply: ReplyWriter::default(),
        };
        let eval = Interpreter::new().expect("Lua starts unless memory is out");
        let scripts = Scripts { eval, functions: Functions::new() };
        Self { keys, shared, scripts, seed, applier: Box::new(applier) }
    }

    /// Starts a turn of the event loop. The engine's clock never goes back, whatever `now_ms` says: while the wall
    /// clock is behind (somebody has set it back), the engine's goes on with the monotonic one.
    pub fn begin_turn(&mut self, now_ms: i64, monotonic_us: u64) {
        let shared = &mut self.shared;
        if now_ms >= shared.now_ms {
            shared.now_ms = now_ms;
            shared.ahead_since = None;
        } else {
            let (since_ms, since_us) = *shared.ahead_since.get_or_insert((shared.now_ms, monotonic_us));
            let elapsed_ms = (monotonic_us.saturating_sub(since_us) / 1000) as i64;
            shared.now_ms = shared.now_ms.max(since_ms.saturating_add(elapsed_ms));
        }
        shared.turn_us = monotonic_us;
        shared.clock_us = monotonic_us;
        self.keys.set_now(shared.now_ms);
        shared.effects.set_time(shared.now_ms);
    }

    /// A new connection.
    pub fn connect(&mut self, info: ClientInfo) -> Slot {
        self.shared.connect(info)
    }

    /// The connection is gone: so are its subscriptions, watches and waits.
    pub fn disconnect(&mut self, slot: Slot) {
        self.shared.disconnect(slot);
    }

    /// Runs one command of a client. Its reply is in the client's output; see [`Engine::client`].
    pub fn execute(&mut self, host: &mut dyn Host, slot: Slot, args: Args<'_>) {
        self.shared.evict_clients(host);
        if self.shared.client(slot).is_some_and(|client| client.state.close_now) {
            // It has just been the largest.
            return;
        }
        self.with_client(host, slot, args, |cx| {
            cx.client.last_command_at_ms = cx.shared.now_ms;
            let start = dispatch::process(cx);
            dispatch::apply_reply_mode(cx, start);
            if cx.client.is_fed() && cx.reply.out.end() > start {
                // A reply would get between the commands that it is fed.
                cx.reply.out.truncate(start);
                cx.client.close_now = true;
            }
            if cx.client.primary {
                // It asks for none.
                cx.reply.out.truncate(start);
            }
        });
        let slept_ms = std::mem::take(&mut self.shared.unit_sleep_us) / 1000;
        if slept_ms > 0 {
            // The host sleeps later: to who waits for what this unit has made, the time has passed.
            let now_ms = self.shared.now_ms.saturating_add_unsigned(slept_ms);
            self.begin_turn(now_ms, self.shared.clock_us);
        }
        self.serve_blocked(host);
    }

    /// Starts loading into the processor's caches what commands of this client on these keys will read. Only a hint;
    /// it pays for pipelines, whose look-ups then wait for memory together instead of one after the other.
    pub fn prefetch(&mut self, slot: Slot, keys: &[&[u8]]) {
        let Some(client) = self.shared.client(slot) else { return };
        let dict = &self.keys.dbs()[client.state.db].dict;
        let mut hashes = [0; PREFETCH_MAX];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = dict.hash(key);
        }
        let hashes = &hashes[..keys.len().min(PREFETCH_MAX)];
        dict.prefetch(hashes);
        for (&hash, key) in hashes.iter().zip(keys) {
            if let Some(entry) = dict.get_hashed(hash, key) {
                entry.value.prefetch();
            }
        }
    }

    /// Gives blocked clients whose keys became ready their turn, in order of arrival, until nothing more is ready.
    fn serve_blocked(&mut self, host: &mut dyn Host) {
        while let Some(name) = self.shared.blocking.ready.pop_front() {
            self.shared.blocking.ready_set.remove(&name);
            let (db, key) = &name;
            let Some(queue) = self.shared.blocking.by_key.get(*db, key) else { continue };
            for slot in queue.iter().copied().collect::<Vec<_>>() {
                self.keys.select(*db);
                // One that has expired serves nobody, and goes when somebody asks for it.
                let found = self.keys.db().dict.get(key).filter(|_| !self.keys.is_expired(key));
                let kind = found.map(|entry| entry.value.kind());
                if kind.is_none() && self.shared.blocking.of_groups == 0 {
                    // Used up: however many wait, nobody else is served.
                    break;
                }
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
            BlockedOn::Pause | BlockedOn::Host | BlockedOn::Penalty | BlockedOn::Replicas(_) => false,
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
            let start = cx.reply.out.end();
            served = dispatch::retry(cx);
            if served {
                dispatch::end_reply(cx.client, cx.reply, start);
            }
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
        self.shared.unblock(slot)
    }

    /// The host's answer to a client blocked with [`Context::block_on_host`]. Nothing happens when it is not.
    pub fn answer(&mut self, slot: Slot, write: impl FnOnce(&mut ReplyWriter)) {
        let Some(client) = self.shared.client(slot) else { return };
        if !client.state.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Host) {
            return;
        }
        let from = client.reply.out.end();
        write(&mut client.reply);
        dispatch::end_reply(&mut client.state, &mut client.reply, from);
        self.unblock(slot);
        self.shared.touch(slot);
    }

    /// The answer to a client that waits for [`crate::host::Request::WaitSynced`]: the local log is synced up to
    /// `position`. Nothing happens when it has given up, and may be waiting for something else by now.
    pub fn answer_synced(&mut self, slot: Slot, position: u64) {
        if !self.waits_for_sync(slot, position) {
            return;
        }
        self.answer(slot, |reply| {
            reply.array(2);
            reply.int(1);
            reply.int(0);
        });
    }

    /// Does the client wait, by WAITAOF, for the local log to be synced up to `position`?
    pub fn waits_for_sync(&mut self, slot: Slot, position: u64) -> bool {
        let blocked = self.shared.client(slot).and_then(|client| client.state.blocked.as_deref());
        blocked.is_some_and(
            |blocked| matches!(blocked.on_timeout, TimeoutReply::Synced { position: at, .. } if at == position),
        )
    }

    /// The journal has been turned off: what was appended is as safe as it will ever be, and those who wait for it to be
    /// synced are told that it never will.
    pub fn stop_journal(&mut self) {
        self.shared.effects.set_enabled(false);
        self.set_released(self.shared.effects.newest_seq());
        let waits = |client: &Client| {
            let Some(blocked) = client.state.blocked.as_deref() else { return false };
            let with_replicas = matches!(&blocked.on, BlockedOn::Replicas(wait) if wait.local == Some(true));
            with_replicas || matches!(blocked.on_timeout, TimeoutReply::Synced { local: true, .. })
        };
        let clients =
            self.shared.clients.iter().filter_map(|(slot, client)| Some((slot, client.as_deref()?)));
        let waiting: Vec<Slot> = clients.filter(|(_, client)| waits(client)).map(|(slot, _)| slot).collect();
        for slot in waiting {
            self.shared.unblock_with_error(slot, WAITAOF_WITHOUT_LOG);
        }
    }

    /// Answers those in WAIT and WAITAOF whose writes enough nodes have by now. Done by every [`Engine::tick`]; a host
    /// that has news of [`Host::cluster`] need not wait for that.
    pub fn serve_waits(&mut self, host: &dyn Host) {
        self.shared.serve_waits(host);
    }

    /// Answers a client's command with an error in place of running it: the host knows why. A MULTI that it was to be part
    /// of is spoilt.
    pub fn refuse(&mut self, slot: Slot, error: &str) {
        self.shared.stats.count_error(error.as_bytes());
        let Some(client) = self.shared.client(slot) else { return };
        if let Some(transaction) = &mut client.state.transaction {
            transaction.broken = true;
        }
        let from = client.reply.out.end();
        client.reply.error(error);
        dispatch::end_reply(&mut client.state, &mut client.reply, from);
    }

    /// Output was added that is not this engine's: closes the client if that is too much.
    pub fn check_output(&mut self, host: &dyn Host, slot: Slot) {
        self.shared.check_output_of(slot, host);
    }

    /// What time brings about: blocked clients give up, CLIENT PAUSE ends.
    pub fn tick(&mut self, host: &mut dyn Host) {
        self.shared.evict_clients(host);
        self.shared.serve_waits(host);
        while let Some(&(deadline, slot)) = self.shared.blocking.deadlines.first() {
            if deadline > self.shared.now_ms {
                break;
            }
            self.shared.blocking.deadlines.remove(&(deadline, slot));
            self.shared.time_out(host, slot);
        }
        if self.shared.pause.relaxed || !self.shared.pause.holds_writes(self.shared.now_ms) {
            self.shared.pause.relaxed = false;
            // Some may have to wait again.
            for slot in std::mem::take(&mut self.shared.blocking.paused) {
                self.resume_paused(host, slot);
            }
        }
    }

    /// The time of the next thing that [`Engine::tick`] has to do, in Unix milliseconds.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let blocked = self.shared.blocking.deadlines.first().map(|&(at, _)| at);
        let pause = &self.shared.pause;
        let end_ms = match pause {
            Pause { relaxed: true, .. } => Some(self.shared.now_ms),
            Pause { stopping: true, .. } => None,
            Pause { until_ms, .. } => Some(*until_ms),
        };
        let paused = end_ms.filter(|_| !self.shared.blocking.paused.is_empty());
        blocked.into_iter().chain(paused).min()
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
            Some(Some(client)) => client.state.blocked.is_none() && !client.state.closing(),
            _ => false,
        }
    }

    /// Bytes of unfinished commands that the host may hold for the client; past it the connection is closed.
    pub fn query_bytes_max(&self, slot: Slot) -> usize {
        self.shared
            .clients
            .get(slot)
            .and_then(Option::as_deref)
            .map_or(0, |client| client.state.query_bytes_max(&self.shared))
    }

    /// Has the client said who it is, if it must? Until then the protocol's limits are tight.
    pub fn is_authenticated(&self, slot: Slot) -> bool {
        let client = self.shared.clients.get(slot).and_then(Option::as_deref);
        client.is_some_and(|client| !client.state.must_authenticate(&self.shared.acl))
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

    /// Begins the stream for replicas of Redis's kind, or ends it. Between turns. A stream has a name of its own: replicas
    /// of replicas must not take it for the one before, which knew less.
    pub fn feed(&mut self, on: bool) {
        assert!(self.shared.effects.is_settled(), "a stream begins between batches");
        self.shared.effects.set_fed(on);
        if on {
            self.shared.replication_id = replication_id(&self.shared.rng);
        }
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
        let report_new = std::mem::take(&mut self.keys.report_new);
        let report_misses = std::mem::take(&mut self.keys.report_misses);
        let result = self.apply_effects(host, payload, header.seq);
        self.shared.search.catch_up(&self.keys);
        self.keys.no_touch = false;
        self.keys.report_new = report_new;
        self.keys.report_misses = report_misses;
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
            let databases = self.keys.dbs().len();
            if db >= databases {
                return Err(BatchError::Database { seq, db, databases });
            }
            let Client { state, reply } = &mut *self.applier;
            self.keys.select(db);
            let mut cx = Context {
                client: state,
                keys: &mut self.keys,
                reply,
                shared: &mut self.shared,
                scripts: Some(&mut self.scripts),
                host,
                command,
                args,
                mode: Mode { applying: true, ..Mode::default() },
            };
            dispatch::call(&mut cx).map_err(|error| BatchError::failed(seq, args[0], &error))?;
            self.applier.reply.out.clear();
            if self.shared.search.is_behind() {
                self.shared.search.catch_up(&self.keys);
            }
        }
        Ok(())
    }

    /// An engine with this one's configuration and seeds, and no keys: to rebuild the state in.
    pub fn empty_copy(&self) -> Self {
        let config = self.shared.config.clone();
        let mut copy = Self::new(EngineOptions { config, seed: self.seed, journal: true });
        copy.shared.acl = self.shared.acl.without_replication();
        copy.begin_turn(self.shared.now_ms, self.shared.clock_us);
        copy
    }

    /// The state as it is now, shared with whoever writes it to disk. Costs O(1) for each database.
    ///
    /// To be called when the turn's batches have been taken: a state in the middle of a batch has no position, and
    /// recovery would take the rest of that batch for done.
    pub fn snapshot(&self) -> Snapshot {
        assert!(self.shared.effects.is_settled(), "a snapshot in the middle of a batch");
        let mut snapshot = self.keys.snapshot(self.shared.effects.newest_seq(), self.shared.effects.dirty());
        snapshot.users = self.shared.acl.snapshot();
        snapshot.libraries = self.scripts.functions.codes();
        snapshot.indexes = self.shared.search.to_text();
        snapshot
    }

    /// As the user of this name, who may be one that this node does not know.
    pub fn login(&self, name: &[u8]) -> Login {
        self.shared.acl.login(name)
    }

    /// Is this a log-in that would fail here? Another node may have heard more of users.
    pub fn would_refuse_login(&self, args: Args<'_>) -> bool {
        let accepts = |name: &[u8], password: &[u8]| self.shared.acl.accepts(name, password);
        match args.as_slice() {
            [_, password] if args.is(0, "auth") => !accepts(DEFAULT, password),
            [_, name, password] if args.is(0, "auth") => !accepts(name, password),
            [_, _, options @ ..] if args.is(0, "hello") => options
                .windows(3)
                .find(|window| window[0].eq_ignore_ascii_case(b"auth"))
                .is_some_and(|window| !accepts(window[1], window[2])),
            _ => false,
        }
    }

    /// `requirepass` has changed.
    pub fn requirepass_changed(&mut self) {
        self.shared.requirepass_changed();
    }

    /// Takes over the users of an ACL file, before anybody is connected.
    pub fn load_users(&mut self, file: &[u8]) -> Result<(), String> {
        let config = &self.shared.config;
        let users = text::parse_file(&config.aclfile, file, crate::acl::all_channels(config))?;
        self.shared.replace_users(&mut self.applier.state, users);
        Ok(())
    }

    /// Takes over the users that belong to a state that was [restored](Engine::restore), as its snapshot says: none if they
    /// were no part of the replicated state yet. A single server's are no part of it.
    pub fn restore_users(&mut self, users: Option<&str>) -> Result<(), String> {
        if !self.shared.config.cluster_enabled {
            return Ok(());
        }
        let users = users.map(text::decode_all).transpose()?;
        let mut acl = self.shared.acl.without_replication();
        let users = match users {
            Some(users) => {
                acl.begin_replication();
                users
            }
            None => acl.users().cloned().collect(),
        };
        self.shared.acl.take_origin_of(acl);
        self.shared.replace_users(&mut self.applier.state, users);
        Ok(())
    }

    /// Takes over the users of another engine, in which this one's state was built again.
    pub fn adopt_users(&mut self, other: &Self) {
        let users = other.shared.acl.users().cloned().collect();
        self.shared.acl.take_origin_of(other.shared.acl.clone());
        self.shared.replace_users(&mut self.applier.state, users);
    }

    /// Takes over the indexes that belong to a state that was [restored](Engine::restore), or
    /// [replaced](Engine::replace_state), as its snapshot says. They are built beside the commands.
    pub fn restore_indexes(&mut self, indexes: Option<&str>) -> Result<(), String> {
        self.shared.search.restore(indexes, self.shared.now_ms)
    }

    /// Takes over the indexes of another engine, in which this one's state was built again, with all that is in them.
    pub fn adopt_indexes(&mut self, other: &mut Self) {
        self.shared.search.adopt(&mut other.shared.search);
    }

    /// Puts older keys into indexes that lack them, for about `budget_us`. True if there is more to do.
    pub fn build_indexes(&mut self, host: &dyn Host, budget_us: u64) -> bool {
        self.shared.search.build(&self.keys, host, budget_us)
    }

    /// The libraries of functions.
    pub fn functions(&self) -> &Functions {
        &self.scripts.functions
    }

    /// Gives databases and libraries away and is empty.
    pub fn take_state(&mut self) -> (Vec<Db>, Functions) {
        let functions = std::mem::replace(&mut self.scripts.functions, Functions::new());
        (self.keys.take_dbs(), functions)
    }

    /// Replaces databases and libraries by others of the same state (DEBUG RELOAD, LOADAOF); what is released stays as
    /// it is.
    pub fn replace_state(&mut self, dbs: Vec<Db>, functions: Functions) {
        self.keys.replace_dbs(dbs);
        self.shared.search.rebuild_all();
        let old = std::mem::replace(&mut self.scripts.functions, functions);
        self.scripts.functions.changed_seq = old.changed_seq;
    }

    /// Takes over loaded databases and libraries as the state after `seq`, which is safe: at start-up, from the leader's snapshot, or when
    /// a deposed leader goes back to what was committed. What was executed and not released is forgotten. The engine's time
    /// was `taken_at_ms` then (0: unknown) and goes on from there even if the wall clock has been set back: what was seen
    /// to expire before the snapshot stays expired.
    pub fn restore(&mut self, dbs: Vec<Db>, functions: Functions, seq: u64, taken_at_ms: i64) {
        self.begin_turn(taken_at_ms, self.shared.clock_us);
        self.keys.replace_dbs(dbs);
        self.shared.search.rebuild_all();
        self.scripts.functions = functions;
        self.shared.effects.abandon();
        self.shared.effects.set_last_seq(seq);
        self.shared.dirty_keys.forget(seq);
        self.shared.released = self.shared.released.max(seq);
    }

    /// Replaces everything by what a primary has sent, as the state after `seq`, which is safe. Clients hear of it as of a
    /// FLUSHALL: their watches are broken, what they track is invalid.
    pub fn take_over(
        &mut self,
        host: &mut dyn Host,
        dbs: Vec<Db>,
        libraries: &[std::sync::Arc<[u8]>],
        seq: u64,
    ) -> Result<(), String> {
        let mut functions = Functions::new();
        for code in libraries {
            functions.load(code, false, &mut Unattended).map_err(|error| error.to_string())?;
        }
        for (at, (old, new)) in self.keys.dbs().iter().zip(&dbs).enumerate() {
            let applier = &mut self.applier.state;
            self.shared.touch_all(old, at, applier);
            self.shared.touch_all(new, at, applier);
        }
        self.shared.tracking.all_changed();
        self.restore(dbs, functions, seq, self.shared.now_ms);
        // The primary has none that it would tell of, and neither has the snapshot of its data.
        self.restore_indexes(None)?;
        self.shared.effects.forget_dirty(u64::MAX);
        self.with_applier(host, |_| {});
        self.serve_blocked(host);
        Ok(())
    }

    /// Follows the server that `replicaof` names, if it names one; at the start.
    pub fn follow_as_configured(&mut self) {
        let named = self.shared.config.replicaof.clone();
        if let Some((host, port)) = named.split_once(' ')
            && let Ok(port) = port.parse()
        {
            self.shared.follow(host, port);
        }
    }

    /// This node follows from here on; see [`Shared::replica`].
    pub fn follow(&mut self) {
        self.shared.replica = true;
        self.shared.effects.set_refused(true);
    }

    /// This node leads: the batches from here on belong to `epoch`.
    pub fn lead(&mut self, epoch: u64) {
        assert!(self.shared.effects.is_settled(), "a leadership begins between batches");
        self.shared.replica = false;
        self.shared.search.begin_use(self.shared.now_ms);
        self.shared.effects.set_refused(false);
        self.shared.effects.set_epoch(epoch);
    }

    /// The leadership is over. Clients who wait for a key are told so, as Redis does; those who have been sent less than
    /// they were answered, whose replies may be of a state that never was, are closed; and so are those with a
    /// transaction, subscriptions or tracked keys, which live where the leader is.
    pub fn release_clients(&mut self) {
        for client in self.shared.clients.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            let Some(Some(found)) = self.shared.clients.get(client) else { continue };
            let state = &found.state;
            let unsent = !found.reply.out.is_empty() && !planted!(StaleSession);
            // Held by a pause, its command has not run; it says it again to whoever leads.
            let paused = state.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Pause);
            if unsent
                || paused
                || state.transaction.is_some()
                || !state.watched.is_empty()
                || state.subscriptions.any_but(SWITCH_MASTER)
                || state.tracking.is_some()
            {
                self.unblock(client);
                if let Some(found) = self.shared.client(client) {
                    found.close_now();
                }
                self.shared.touch(client);
                continue;
            }
            let waits = state.blocked.as_ref().is_some_and(|blocked| blocked.on != BlockedOn::Host);
            if waits && let Some(found) = self.shared.client(client) {
                found.reply.error(UNBLOCKED);
                found.state.close_after_reply = true;
                self.unblock(client);
                self.shared.touch(client);
            }
        }
    }

    /// Large values to be dropped on another thread.
    pub fn take_trash(&mut self) -> Option<Trash> {
        self.keys.discard_indexes(&mut self.shared.search.trash);
        self.keys.take_trash()
    }

    /// Publishes to this node's own clients, in nobody's name.
    pub fn announce(&mut self, host: &mut dyn Host, channel: &[u8], message: &[u8]) {
        self.with_applier(host, |cx| {
            cx.publish(channel, message);
        });
    }

    /// Work that goes on beside commands: active expiry, eviction. `budget_us` bounds it.
    pub fn cron(&mut self, host: &mut dyn Host, budget_us: u64) {
        self.with_applier(host, |cx| {
            // Redis lets nothing change while CLIENT PAUSE holds; and what cannot be logged had better not happen.
            let may_change = !cx.shared.pause.holds_writes(cx.shared.now_ms)
                && cx.shared.write_refusal.is_none()
                && !cx.shared.replica;
            if cx.shared.active_expire && may_change {
                crate::expire::cycle(cx, budget_us);
            }
            if may_change {
                crate::commands::search::drop_idle(cx);
            }
            cx.limit_tracking();
            if cx.shared.config.maxmemory > 0 && !cx.shared.replica {
                crate::eviction::go_on(cx, budget_us);
            }
        });
        self.shared.check_soft_limits(host);
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
        let paused = self.shared.pause.until_ms > self.shared.now_ms;
        self.shared.expiry_held = paused && host.cluster().is_none();
        if self.shared.is_bound() {
            let writes = self.shared.may_write_here(client.state.primary);
            self.shared.unit_writes = writes;
            self.shared.effects.set_refused(!writes);
        } else {
            self.shared.unit_writes = !self.shared.replica;
        }
        let Client { state, reply } = &mut *client;
        let mut cx = Context {
            client: state,
            keys: &mut self.keys,
            reply,
            shared: &mut self.shared,
            scripts: Some(&mut self.scripts),
            host,
            command: &table().entries()[0],
            args,
            mode: Mode::default(),
        };
        f(&mut cx);
        cx.send_invalidations(Place::AfterReply);
        // A command that reads has only removed what it found expired.
        let apart = cx.command.flags.has(Flag::ReadOnly);
        self.keys.no_touch = false;
        self.shared.expiry_held = false;
        self.keys.show_hidden();
        self.shared.search.catch_up(&self.keys);
        let seq = self.shared.effects.open_seq();
        let told = self.shared.effects.tells_in_unit();
        if self.shared.effects.end_unit(apart) {
            client.state.written_seq = seq;
        }
        if told {
            client.state.written_offset = self.shared.effects.fed_offset();
        }
        if self.shared.is_bound() {
            self.shared.effects.set_refused(true);
        }
        self.shared.settle_deliveries(host);
        if !self.shared.pushes.out.is_empty() {
            client.reply.out.append(self.shared.pushes.out.contiguous());
            self.shared.pushes.out.clear();
            self.shared.need(self.shared.effects.newest_seq());
        }
        let hold = self.shared.hold;
        if hold > self.shared.released && client.reply.out.end() > from {
            client.state.hold(from, hold);
        }
        if client.unread_bytes() > 0 {
            self.shared.check_output(&mut client, host);
        }
        self.shared.weigh(&mut client);
        if client.state.closing() {
            if client.state.close_now {
                client.close_now();
            }
            self.shared.clients[slot] = Some(client);
            self.shared.touch(slot);
        } else {
            self.shared.clients[slot] = Some(client);
        }
    }

    /// Runs `f` as one atomic unit in nobody's name.
    fn with_applier(&mut self, host: &mut dyn Host, f: impl FnOnce(&mut Context<'_>)) {
        let Client { state, reply } = &mut *self.applier;
        self.keys.select(0);
        let mut cx = Context {
            client: state,
            keys: &mut self.keys,
            reply,
            shared: &mut self.shared,
            scripts: None,
            host,
            command: &table().entries()[0],
            args: Args::new(&[]),
            mode: Mode::default(),
        };
        f(&mut cx);
        cx.send_invalidations(Place::AfterReply);
        reply.out.clear();
        self.shared.search.catch_up(&self.keys);
        self.shared.effects.end_unit(true);
        self.shared.settle_deliveries(host);
    }
}

/// 40 random hexadecimal digits.
pub(crate) fn replication_id(rng: &Rng) -> String {
    let text = format!("{:016x}{:016x}{:016x}", rng.next(), rng.next(), rng.next());
    text[..40].to_owned()
}
