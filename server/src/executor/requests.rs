//! What commands ask of the server beyond the engine: snapshots, shutdown, configuration, rebuilding.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_engine::config::{self, Config, ConfigError, DirectiveId};
use cairn_engine::host::{ConfigChange, Request};
use cairn_engine::{Engine, Slot, rdb};
use cairn_replication::transport::tls::Tls;
use cairn_storage::snapshot::{SnapshotDir, write_file_atomically};
use tokio_rustls::rustls::ServerConfig;

use super::lead::Cluster;
use super::{Executor, Exit, Listener, Traffic, now_ms, tls};
use crate::cluster::boot;
use crate::journal::{LocalJournal, Retention};
use crate::pace::Pace;
use crate::snapshots;
use crate::start::{listen, shown_port, sync_policy};

/// A shutdown under way: writes are held, what was appended becomes safe, then the process ends.
pub(super) struct Shutdown {
    /// The ids of those who asked, to be told when it fails.
    clients: Vec<u64>,
    save: bool,
    force: bool,
    snapshot_started: bool,
    /// Until when replicas may catch up; `None`: they are left behind.
    patience: Option<Instant>,
    /// The offset that they have to have, once nothing is written any more.
    last_offset: Option<u64>,
}

/// POSIX fixes this number.
const SIGINT: i32 = 2;

/// What [`tls::acceptor`] goes by.
const TLS_DIRECTIVES: [DirectiveId; 8] = [
    DirectiveId::tls_cert_file,
    DirectiveId::tls_key_file,
    DirectiveId::tls_ca_cert_file,
    DirectiveId::tls_ca_cert_dir,
    DirectiveId::tls_auth_clients,
    DirectiveId::tls_protocols,
    DirectiveId::tls_session_caching,
    DirectiveId::tls_session_cache_size,
];

/// Somebody insists: everything acknowledged is in the log.
pub(super) fn stop_at_once() -> ! {
    tracing::warn!("asked to stop a second time: stopping at once; the log has everything acknowledged");
    std::process::exit(1);
}

/// What came of reading the files that the `tls-` directives name.
#[derive(Default)]
struct Renewed {
    clients: Option<Arc<ServerConfig>>,
    peers: Option<Tls>,
}

/// A CONFIG SET that is being put into effect.
pub(super) struct PendingChange {
    /// The id of who waits for the answer.
    client: Option<u64>,
    names: Vec<&'static str>,
    before: Box<Config>,
}

impl Executor {
    /// Carries out what the commands of this turn asked for. Their effects are with the journal already.
    pub(super) fn handle_requests(&mut self) {
        // Before anything is done to the state, or to the snapshot of it, it must be clear which that is.
        self.finish_naming();
        if std::mem::take(&mut self.host.background_save) {
            if self.snapshots.running() {
                self.snapshots.scheduled = true;
            } else {
                self.start_snapshot(Vec::new());
            }
        }
        for request in std::mem::take(&mut self.host.requests) {
            match request {
                Request::Save { client } if self.snapshots.running() => {
                    self.answer_error(client, "ERR Background save already in progress");
                }
                Request::Save { client } => {
                    let waiting = self.client_id(client).into_iter().collect();
                    self.start_snapshot(waiting);
                }
                Request::ResetFigures => {
                    let sampled_at_ms = self.figures.sampled_at_ms;
                    self.figures = Traffic { sampled_at_ms, ..Traffic::default() };
                }
                Request::ConfigChanged(change) => self.apply_config(change),
                Request::ConfigRewrite { client, all } => self.rewrite_config(client, all),
                Request::Shutdown { client, save, now, force } => {
                    let save = save.unwrap_or(!self.engine.shared.config.save.is_empty());
                    let client = self.client_id(client);
                    self.begin_shutdown(client, save, now, force);
                }
                Request::ShutdownAbort { client } if self.shutdown.is_some() => {
                    self.give_up_shutdown("Shutdown manually aborted");
                    self.answer_ok(client);
                }
                Request::ShutdownAbort { client } => {
                    self.answer_error(client, "ERR No shutdown in progress.");
                }
                Request::Rebuild { .. } if self.cluster.is_some() && self.has_unreleased() => {
                    // What is in flight would be lost. The release wakes the executor.
                    self.host.requests.push(request);
                }
                Request::Reload { client, save: true } if self.cluster.is_some() => {
                    // Its snapshots wait for what is committed, which is nothing to stand still for.
                    self.answer_error(client, "ERR a node of a cluster reloads with NOSAVE only, see BGSAVE");
                }
                Request::Rebuild { client } => match self.reload_log() {
                    Ok(()) => self.answer_ok(client),
                    Err(error) => {
                        // The old state is gone and the new one is not whole: never serve from it.
                        tracing::error!("rebuilding the state failed, stopping: {error}");
                        crate::process::abort();
                    }
                },
                Request::Reload { client, save } => match self.reload(save) {
                    Ok(()) => self.answer_ok(client),
                    Err(error) => self.answer_error(client, &format!("ERR {error}")),
                },
                Request::CompactLog => {
                    self.snapshots.log_wanted = true;
                    if self.snapshots.running() {
                        self.snapshots.scheduled = true;
                    } else {
                        self.start_snapshot(Vec::new());
                    }
                }
                Request::WaitSynced { client, position } => {
                    // Whoever gave up and waits again is on the list already.
                    if !self.wait_synced.contains(&(position, client)) {
                        self.wait_synced.push((position, client));
                    }
                }
                Request::Cluster { client, request } => self.cluster_request(client, request),
                Request::Feed { client } => self.begin_feed(client),
                Request::Follow => self.follow_anew(),
                Request::Sleep { microseconds } => std::thread::sleep(Duration::from_micros(microseconds)),
                Request::Crash => crate::process::abort(),
            }
        }
        self.refresh_facts();
    }

    /// What to remember a client by that is answered in a later turn, when its slot may have another owner.
    pub(super) fn client_id(&mut self, client: Slot) -> Option<u64> {
        self.engine.client(client).map(|client| client.state.id)
    }

    pub(super) fn slot_of(&self, id: u64) -> Option<Slot> {
        self.engine.shared.slots_by_id.get(&id).copied()
    }

    pub(super) fn answer_ok(&mut self, client: Slot) {
        self.engine.answer(client, |reply| reply.ok());
    }

    pub(super) fn answer_error(&mut self, client: Slot, text: &str) {
        self.engine.answer(client, |reply| reply.error(text));
    }

    /// WAITAOF: clients whose position is on disk are answered `[1, 0]`.
    pub(super) fn answer_synced(&mut self) {
        if self.wait_synced.is_empty() {
            return;
        }
        let synced = self.journal.as_ref().map_or(0, |journal| journal.figures().synced);
        let waiting = std::mem::take(&mut self.wait_synced);
        for (position, client) in waiting {
            if position <= synced {
                self.engine.answer_synced(client, position);
            } else if self.engine.waits_for_sync(client, position) {
                self.wait_synced.push((position, client));
            }
        }
    }

    fn start_snapshot(&mut self, waiting: Vec<u64>) {
        self.finish_naming();
        let snapshot = self.engine.snapshot();
        if let Some(journal) = &mut self.journal {
            // Marks the position; the answer comes later.
            let _ = journal.position(snapshot.seq);
        }
        let compress = self.engine.shared.config.rdbcompression;
        self.snapshot_begun_at_bytes =
            self.journal.as_ref().map_or(0, |journal| journal.figures().appended_bytes);
        self.snapshots.start(snapshot, compress, now_ms() / 1000, waiting);
        self.refresh_facts();
    }

    /// Moves a running snapshot on; after it, the log is cut and clients of SAVE are answered.
    pub(super) fn poll_snapshot(&mut self) {
        let journal = &mut self.journal;
        let mut position = |seq| match journal {
            Some(journal) => journal.position(seq),
            None => Some(Vec::new()),
        };
        let Some(finished) = self.snapshots.poll(&mut position, now_ms() / 1000) else { return };
        match &finished.result {
            Ok(bytes) => {
                self.engine.shared.effects.forget_dirty(finished.dirty);
                if finished.at_home {
                    self.log_base_bytes = *bytes;
                    self.snapshot_at_bytes = self.snapshot_begun_at_bytes;
                    self.compact_log(finished.seq);
                } else {
                    tracing::warn!("the log stays as long as it is: a start would not find this snapshot");
                }
                for client in finished.waiting.iter().filter_map(|&id| self.slot_of(id)).collect::<Vec<_>>() {
                    self.answer_ok(client);
                }
            }
            Err(error) => {
                for client in finished.waiting.iter().filter_map(|&id| self.slot_of(id)).collect::<Vec<_>>() {
                    self.answer_error(client, &format!("ERR {error}"));
                }
            }
        }
        self.switch_log_if_due();
        if self.snapshots.scheduled && self.shutdown.is_none() {
            self.start_snapshot(Vec::new());
        }
        self.refresh_facts();
    }

    /// The snapshot that a start loads holds everything up to `seq`.
    fn compact_log(&mut self, seq: u64) {
        let config = &self.engine.shared.config;
        let retention = Retention { bytes: config.log_retention_size, seconds: config.log_retention_time };
        if let Some(journal) = &mut self.journal {
            journal.compact(seq, retention);
        }
    }

    /// Starts a snapshot when a `save` rule or the size of the log asks for one.
    pub(super) fn save_if_due(&mut self) {
        if self.snapshots.running() || self.shutdown.is_some() {
            return;
        }
        let config = &self.engine.shared.config;
        let dirty = self.engine.shared.effects.dirty();
        let log_grown = self.snapshots.at_home()
            && self.journal.as_ref().is_some_and(|journal| {
                let grown = journal.figures().appended_bytes - self.snapshot_at_bytes;
                let base = self.log_base_bytes;
                config.auto_aof_rewrite_percentage > 0
                    && grown >= config.auto_aof_rewrite_min_size
                    && grown >= base * u64::from(config.auto_aof_rewrite_percentage) / 100
            });
        self.snapshots.log_wanted |= log_grown;
        if log_grown || self.snapshots.due(&config.save, dirty, now_ms() / 1000) {
            self.start_snapshot(Vec::new());
        }
    }

    /// Puts changed directives into effect, or takes them back when that fails; answers the client, if it waits.
    fn apply_config(&mut self, change: ConfigChange) {
        let ConfigChange { names, before, client } = change;
        let pending = PendingChange { client: client.and_then(|slot| self.client_id(slot)), names, before };
        let changed = |id: DirectiveId| pending.names.contains(&id.name());
        let mut renewed = Renewed::default();
        if let Some(id) = TLS_DIRECTIVES.into_iter().find(|&id| changed(id)) {
            match self.read_tls_files() {
                Ok(read) => renewed = read,
                Err(error) => {
                    tracing::error!("CONFIG SET is taken back: {error:#}");
                    let reason = "Unable to update TLS configuration. Check server logs.";
                    return self.refuse_config(&pending, id, reason);
                }
            }
        }
        let moves = [DirectiveId::port, DirectiveId::tls_port, DirectiveId::bind].into_iter().any(changed);
        if moves && let Err(error) = self.listen_anew(&pending.before) {
            tracing::error!("CONFIG SET is taken back: {error:#}");
            let moved = [DirectiveId::port, DirectiveId::tls_port].into_iter().find(|&id| changed(id));
            let (id, reason) = if let Some(id) = moved {
                (id, "Unable to listen on this port. Check server logs.")
            } else {
                (DirectiveId::bind, "Failed to bind to specified addresses.")
            };
            return self.refuse_config(&pending, id, reason);
        }
        let scores = [DirectiveId::oom_score_adj, DirectiveId::oom_score_adj_values];
        if let Some(id) = scores.into_iter().find(|&id| changed(id))
            && let Err(error) = self.adjust_oom_score()
        {
            tracing::error!("CONFIG SET is taken back: {}: {error}", id.name());
            let reason = "Failed to set current oom_score_adj. Check server logs.";
            return self.refuse_config(&pending, id, reason);
        }
        self.renew_tls(renewed);
        self.put_into_effect(&pending.names);
        if changed(DirectiveId::appendonly) {
            self.log_switch = Some(pending);
        } else if client.is_some() {
            self.settle_config(pending.client, |engine, slot| engine.answer(slot, |reply| reply.ok()));
        }
        self.switch_log_if_due();
    }

    /// `oom-score-adj`, for what this node is now.
    pub fn adjust_oom_score(&mut self) -> std::io::Result<()> {
        let config = &self.engine.shared.config;
        let [master, replica, _] = config.oom_score_adj_values;
        let value = if self.engine.shared.replica { replica } else { master };
        self.oom_score.adjust(config.oom_score_adj, value)
    }

    /// [`Executor::adjust_oom_score`] when nobody asked: at the start, and when the node's role changes.
    pub fn follow_oom_score(&mut self) {
        if self.engine.shared.config.oom_score_adj != "no"
            && let Err(error) = self.adjust_oom_score()
        {
            tracing::warn!("oom-score-adj is not in effect: {error}");
        }
    }

    /// Takes a change back that could not be put into effect, and says so.
    fn refuse_config(&mut self, pending: &PendingChange, id: DirectiveId, reason: &str) {
        self.engine.shared.config.take_back(&pending.names, &pending.before);
        if pending.names.contains(&DirectiveId::requirepass.name()) {
            self.engine.requirepass_changed();
        }
        let Engine { keys, shared, .. } = &mut self.engine;
        keys.configure(&shared.config);
        shared.weigh_all();
        self.put_into_effect(&pending.names);
        let error = ConfigError::Refused { name: id.name().to_owned(), reason: reason.to_owned() };
        let text = format!("ERR {error}");
        self.settle_config(pending.client, |engine, slot| engine.answer(slot, |reply| reply.error(&text)));
    }

    /// A change that might have failed has not, or has been taken back.
    fn settle_config(&mut self, client: Option<u64>, answer: impl FnOnce(&mut Engine, Slot)) {
        self.engine.shared.config_unsettled = false;
        if let Some(slot) = client.and_then(|id| self.slot_of(id)) {
            answer(&mut self.engine, slot);
        }
    }

    /// What follows from the values of directives that cannot fail.
    fn put_into_effect(&mut self, names: &[&'static str]) {
        let changed = |id: DirectiveId| names.contains(&id.name());
        let config = &self.engine.shared.config;
        if changed(DirectiveId::appendfsync)
            && let Some(writer) = &self.services.writer
        {
            writer.set_policy(sync_policy(config.appendfsync));
        }
        if changed(DirectiveId::appendfsync)
            && let Some(cluster) = &self.cluster
        {
            cluster.handle.set_sync_policy(sync_policy(config.appendfsync));
        }
        if changed(DirectiveId::rdb_key_save_delay) {
            self.snapshots.pace.set(config.rdb_key_save_delay);
        }
        if changed(DirectiveId::loglevel) {
            (self.services.set_log_level)(config.loglevel);
        }
        if changed(DirectiveId::dir) || changed(DirectiveId::dbfilename) {
            let dir = self.services.dir.join(&config.dir);
            match SnapshotDir::attach(Arc::clone(&self.services.disk), &dir) {
                Ok(target) => {
                    // Only the snapshot that a start loads can stand for the log before it.
                    let at_home =
                        dir == self.services.dir && config.dbfilename == self.services.snapshot_file;
                    self.snapshots.set_target(target, config.dbfilename.clone(), at_home);
                }
                Err(error) => tracing::error!("snapshots stay where they were: {error}"),
            }
        }
    }

    fn read_tls_files(&self) -> anyhow::Result<Renewed> {
        let config = &self.engine.shared.config;
        Ok(Renewed {
            clients: (config.tls_port != 0).then(|| tls::acceptor(config)).transpose()?,
            peers: self.services.peer_tls.as_ref().map(|_| boot::peer_tls(config)).transpose()?,
        })
    }

    /// Connections that come from now on are made as the files and directives say now.
    fn renew_tls(&mut self, renewed: Renewed) {
        if let Some(renewed) = renewed.clients {
            for (listener, ..) in &mut self.listeners {
                if let Listener::Tls(_, acceptor) = listener {
                    *acceptor = Arc::clone(&renewed);
                }
            }
            tracing::info!("clients' new connections go by the tls- directives and files as they are now");
        }
        if let (Some(tls), Some(renewed)) = (&self.services.peer_tls, renewed.peers) {
            tls.renew(renewed);
            tracing::info!("new connections between nodes go by the tls- files as they are now");
        }
    }

    /// CONFIG SET port, tls-port, bind: other listening sockets, with those of `before` as they were when that fails. Connections
    /// stay.
    fn listen_anew(&mut self, before: &Config) -> anyhow::Result<()> {
        let config = &self.engine.shared.config;
        let mut old =
            std::mem::take(&mut self.listeners).into_iter().map(|(listener, ..)| listener).collect();
        let mut opened = listen(config, &mut old);
        if opened.is_err() && config.port == before.port && config.tls_port == before.tls_port {
            // One of the old may be in the way, as 127.0.0.1 is in that of 0.0.0.0. Connections that wait in it are lost.
            old.retain(|listener| matches!(listener, Listener::Unix(..)));
            opened = listen(config, &mut old);
        }
        let outcome = match opened {
            Ok(listeners) => {
                old = listeners;
                tracing::info!(port = config.port, tls_port = config.tls_port, "listening anew");
                self.shared.borrow_mut().facts.tcp_port = shown_port(config);
                Ok(())
            }
            Err(error) => {
                match listen(before, &mut old) {
                    Ok(listeners) => old = listeners,
                    Err(error) => {
                        tracing::error!("not listening any more: {error:#}; CONFIG SET port or bind")
                    }
                }
                Err(error)
            }
        };
        self.listeners = Self::with_tokens(old, &self.ready);
        outcome
    }

    /// Turns the log on or off as `appendonly` says, once no snapshot is being written, and answers who asked for it.
    pub(super) fn switch_log_if_due(&mut self) {
        let wanted = self.engine.shared.config.appendonly;
        if wanted != self.journal.is_some() {
            if self.snapshots.running() {
                return;
            }
            let switched = if wanted { self.turn_log_on() } else { self.turn_log_off() };
            if let Err(error) = switched {
                tracing::error!("the log stays {}: {error}", if wanted { "off" } else { "on" });
                self.engine.shared.config.appendonly = !wanted;
                let turn = if wanted { "on" } else { "off" };
                let reason = format!("Unable to turn {turn} AOF. Check server logs.");
                if let Some(pending) = self.log_switch.take() {
                    self.refuse_config(&pending, DirectiveId::appendonly, &reason);
                }
                return;
            }
        }
        if let Some(pending) = self.log_switch.take() {
            self.settle_config(pending.client, |engine, slot| engine.answer(slot, |reply| reply.ok()));
        }
    }

    fn turn_log_off(&mut self) -> Result<(), String> {
        if self.cluster.is_some() {
            return Err("a cluster is its log".to_owned());
        }
        tracing::warn!("the log is turned off: what is written from now on is lost in a crash");
        if let Some(journal) = &mut self.journal {
            // It fails when the disk is full; had the disk failed, the journal's next event would end the process.
            journal.flush()?;
        }
        self.journal = None;
        self.engine.shared.write_refusal = None;
        self.engine.stop_journal();
        self.released = self.engine.shared.released;
        self.wait_synced.clear();
        self.flush_held();
        Ok(())
    }

    /// Needs a snapshot of everything that was never logged, durable before the first batch: without it the log would be
    /// applied to a state that it does not belong to. Nobody is served while it is written.
    fn turn_log_on(&mut self) -> Result<(), String> {
        let Some(writer) = self.services.writer.clone() else {
            return Err("a cluster is its log".to_owned());
        };
        let snapshot = self.engine.snapshot();
        let compress = self.engine.shared.config.rdbcompression;
        let target = SnapshotDir::attach(Arc::clone(&self.services.disk), &self.services.dir)
            .map_err(|error| error.to_string())?;
        let bytes =
            snapshots::write(&target, &self.services.snapshot_file, snapshot, compress, || Ok(Vec::new()))?;
        tracing::info!("the log is turned on");
        self.engine.shared.effects.set_enabled(true);
        let last = self.engine.shared.effects.newest_seq();
        self.journal = Some(Box::new(LocalJournal::new(writer, last, 0)));
        self.log_base_bytes = bytes;
        self.snapshot_at_bytes = 0;
        Ok(())
    }

    /// CONFIG REWRITE.
    fn rewrite_config(&mut self, client: Slot, all: bool) {
        let Some(path) = self.config_file.clone() else {
            return self.answer_error(client, "ERR The server is running without a config file");
        };
        let written = std::fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|old| {
            let mut config = self.engine.shared.config.clone();
            if config.aclfile.is_empty() {
                let users = self.engine.shared.acl.users();
                config.users = users.map(|user| [vec![user.name.to_vec()], user.rules()].concat()).collect();
            }
            let new = config::rewrite(&old, &config, all);
            write_file_atomically(&self.services.disk, &path, new.as_bytes())
                .map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => self.answer_ok(client),
            Err(error) => self.answer_error(client, &format!("ERR Rewriting config file: {error}")),
        }
    }

    /// Drops the state and builds it again from snapshot and log, up to what is released: DEBUG LOADAOF, and a leader that was
    /// deposed.
    pub(super) fn rebuild(&mut self) -> Result<(), String> {
        let started = std::time::Instant::now();
        let home = self.home()?;
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let mut fresh = self.engine.empty_copy();
        let loaded = crate::recovery::load_snapshot(&home, &self.services.snapshot_file, &mut fresh)
            .map_err(|error| error.to_string())?;
        let aux = loaded.map(|loaded| loaded.aux).unwrap_or_default();
        let mut batches = 0u64;
        journal.replay(&aux, &mut |payload| {
            batches += 1;
            fresh.apply(&mut self.host, payload).map_err(|error| error.to_string())
        })?;
        let last = fresh.shared.effects.newest_seq();
        assert_eq!(last, journal.released(), "a rebuild ends at what is released");
        let (dbs, functions) = fresh.take_state();
        self.engine.restore(dbs, functions, last, fresh.shared.now_ms);
        self.engine.adopt_users(&fresh);
        self.engine.adopt_indexes(&mut fresh);
        self.released = last;
        tracing::info!(
            seq = last,
            batches,
            ms = started.elapsed().as_millis() as u64,
            "the state was built again"
        );
        Ok(())
    }

    /// Has something been executed that is not safe yet?
    pub(super) fn has_unreleased(&self) -> bool {
        self.journal.is_some() && self.released < self.engine.shared.effects.newest_seq()
    }

    /// DEBUG LOADAOF.
    fn reload_log(&mut self) -> Result<(), String> {
        match &mut self.journal {
            None => return Ok(()),
            // A cluster's log is read as far as it is committed, which is on disk.
            Some(_) if self.cluster.is_some() => {}
            Some(journal) => journal.flush()?,
        }
        self.rebuild()
    }

    /// DEBUG RELOAD: through the dump format and back.
    fn reload(&mut self, save: bool) -> Result<(), String> {
        let snapshot = self.engine.snapshot();
        let mut bytes = Vec::new();
        let compress = self.engine.shared.config.rdbcompression;
        let aux = rdb::Aux { seq: Some(snapshot.seq), ..rdb::Aux::default() };
        rdb::save(snapshot.clone(), &aux, compress, &mut bytes).map_err(|error| error.to_string())?;
        if save && !self.snapshots.running() {
            let dir = SnapshotDir::attach(Arc::clone(&self.services.disk), &self.services.dir)
                .map_err(|error| error.to_string())?;
            if let Some(journal) = &mut self.journal {
                journal.flush()?;
            }
            let position =
                self.journal.as_mut().and_then(|journal| journal.position(snapshot.seq)).unwrap_or_default();
            snapshots::write(&dir, &self.services.snapshot_file, snapshot, compress, || Ok(position))?;
        }
        let options = rdb::LoadOptions {
            databases: self.engine.keys.dbs().len(),
            seed: self.engine.keys.seed(),
            config: &self.engine.shared.config,
        };
        let pace = Pace::new(options.config.key_load_delay);
        let loaded = rdb::load(&bytes, &options, &mut |_, keys| pace.key_done(keys))
            .map_err(|error| error.to_string())?;
        self.engine.replace_state(loaded.dbs, loaded.functions);
        self.engine.restore_indexes(loaded.aux.indexes.as_deref())
    }

    /// SIGTERM and SIGINT.
    pub(super) fn begin_shutdown_by_signal(&mut self, signal: i32) {
        if self.shutdown.is_some() {
            stop_at_once();
        }
        let config = &self.engine.shared.config;
        let flags = if signal == SIGINT { config.shutdown_on_sigint } else { config.shutdown_on_sigterm };
        // A node of a cluster has its log; a long snapshot would only keep it away.
        let save = flags.save || (!flags.nosave && !config.save.is_empty() && self.cluster.is_none());
        self.begin_shutdown(None, save, flags.now, flags.force);
    }

    fn begin_shutdown(&mut self, client: Option<u64>, save: bool, now: bool, force: bool) {
        tracing::info!(save, force, "stopping: writes are taken no more");
        // Asked again, perhaps with FORCE: the last one counts, and all hear of it.
        let mut clients = self.shutdown.take().map_or_else(Vec::new, |earlier| earlier.clients);
        clients.extend(client);
        let timeout = Duration::from_secs(self.engine.shared.config.shutdown_timeout.into());
        let patience = (!now).then(|| Instant::now() + timeout);
        self.shutdown =
            Some(Shutdown { clients, save, force, snapshot_started: false, patience, last_offset: None });
        if self.can_hand_over() {
            self.begin_hand_over(None, None);
        }
        // What is written now would have to become safe as well, and so on.
        self.engine.shared.pause.stopping = true;
        // Woken at once; the snapshot and the journal wake it later.
        self.ready.wake();
    }

    /// The process does not end: those who asked are told, those who were held go on.
    fn give_up_shutdown(&mut self, reason: &str) {
        let Some(shutdown) = self.shutdown.take() else { return };
        tracing::error!("not stopping: {reason} (SHUTDOWN FORCE stops all the same)");
        self.let_writes_go_on();
        for client in shutdown.clients.into_iter().filter_map(|id| self.slot_of(id)).collect::<Vec<_>>() {
            self.answer_error(client, "ERR Errors trying to SHUTDOWN. Check logs.");
        }
        self.ready.wake();
    }

    /// Goes on with a shutdown. `Some` when everything is safe.
    pub(super) fn poll_shutdown(&mut self) -> Option<Exit> {
        self.shutdown.as_ref()?;
        self.finish_naming();
        if self.engine.shared.cron_paused {
            return None;
        }
        let handing_over = self.cluster.as_ref().is_some_and(Cluster::is_handing_over);
        if handing_over {
            // It has a time limit: what could not be committed by then was never acknowledged.
            return None;
        }
        let unreleased = self.has_unreleased();
        // A leader that could hand over to nobody in time has lost its quorum: what is in flight was never acknowledged.
        let pending = unreleased && !self.can_hand_over();
        let shutdown = self.shutdown.as_mut()?;
        // With FORCE a full disk, which releases nothing, does not keep the process.
        if pending && !shutdown.force {
            if self.engine.shared.write_refusal.is_some() {
                self.give_up_shutdown("the disk is full, and writes that nobody was told of wait for room");
            }
            return None;
        }
        if shutdown.save && !unreleased {
            if self.snapshots.running() {
                return None;
            }
            if !shutdown.snapshot_started {
                shutdown.snapshot_started = true;
                self.start_snapshot(Vec::new());
                return None;
            }
            if !self.snapshots.last_ok && !shutdown.force {
                self.give_up_shutdown("Error trying to save the DB, can't exit");
                return None;
            }
        }
        if self.waits_for_replicas() {
            return None;
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.flush()
        {
            tracing::error!("the log could not be flushed: {error}");
        }
        Some(Exit::Clean)
    }

    /// Before the process ends: are there replicas that may still get what they have not? Their word is what counts.
    fn waits_for_replicas(&mut self) -> bool {
        let Some(shutdown) = &mut self.shutdown else { return false };
        let Some(patience) = shutdown.patience else { return false };
        let effects = &mut self.engine.shared.effects;
        let first = shutdown.last_offset.is_none();
        let offset = *shutdown.last_offset.get_or_insert(effects.fed_offset());
        let behind = self.feeds.behind(&mut self.engine, offset);
        if behind == 0 {
            return false;
        }
        if first {
            tracing::info!(replicas = behind, "replicas may catch up before this process ends");
            self.engine.shared.effects.ask_replicas();
        } else if Instant::now() >= patience {
            tracing::warn!(replicas = behind, "replicas are left behind: shutdown-timeout");
            return false;
        }
        true
    }

    /// Figures for INFO that change seldom.
    pub(super) fn refresh_facts(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.save_running = self.snapshots.running();
        let facts = &mut shared.facts;
        facts.last_save_at_s = self.snapshots.last_save_at_s;
        facts.last_save_ok = self.snapshots.last_ok;
        facts.save_in_progress = self.snapshots.running();
        facts.rewrite_in_progress = self.snapshots.runs_for_log();
        facts.rewrite_scheduled = self.snapshots.scheduled && self.snapshots.log_wanted;
        facts.save_started_at_s = self.snapshots.started_at_s().unwrap_or(0);
        facts.last_save_seconds = self.snapshots.last_seconds;
        facts.saves = self.snapshots.saves;
        facts.changes_since_save = self.engine.shared.effects.dirty();
        facts.total_connections = self.engine.shared.stats.connections;
        facts.rejected_connections = self.figures.rejected;
        facts.net_input_bytes = self.figures.input_bytes;
        facts.net_output_bytes = self.figures.output_bytes;
        facts.log_enabled = self.journal.is_some();
        if let Some(journal) = &self.journal {
            let figures = journal.figures();
            facts.log_bytes = figures.bytes_on_disk;
            facts.log_base_bytes = self.log_base_bytes;
            facts.log_queued_bytes = journal.queued_bytes();
            facts.log_grown_bytes = figures.appended_bytes - self.snapshot_at_bytes;
            facts.log_last_write_ok = self.engine.shared.write_refusal.is_none();
            facts.log_appended = figures.appended;
            facts.log_released = figures.released;
            facts.log_synced = figures.synced;
            facts.log_syncs = figures.syncs;
            facts.log_last_sync_us = figures.last_sync_us;
        }
    }
}
