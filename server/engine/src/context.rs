//! What a command handler sees, and what it must do about a change.
//!
//! A handler that changes a key does three things: changes it through `cx.keys`, calls [`Context::changed`] (watchers,
//! held reads, blocked clients, notifications), and writes the effect down ([`Context::log_self`] when running
//! the command again would do exactly the same, [`Context::log`] otherwise). A command that changes nothing calls neither.

use std::sync::Arc;

use cairn_proto::ReplyWriter;

use crate::args::{Args, OwnedArgs, parse_f64};
use crate::client::{BlockKind, Blocked, BlockedOn, ClientState, ReplicaWait, Slot, TimeoutReply};
use crate::cluster::ClusterView;
use crate::command::{Entry, Flag};
use crate::config::Config;
use crate::error::{CommandError, CommandResult};
use crate::host::Host;
use crate::keyspace::Keyspace;
use crate::keyspace::dirty::DirtyKeys;
use crate::long_double::LongDouble;
use crate::notify::Class;
use crate::scripting::Scripts;
use crate::shared::Shared;

/// The world of one running command. The fields are separate so that a value borrowed from `keys` does not stand in
/// the way of writing to `reply`.
pub struct Context<'a> {
    /// Who asks.
    pub client: &'a mut ClientState,
    /// The databases; the client's is selected.
    pub keys: &'a mut Keyspace,
    /// Where the reply goes.
    pub reply: &'a mut ReplyWriter,
    pub shared: &'a mut Shared,
    /// `None` while a script or a function runs: they do not nest.
    pub scripts: Option<&'a mut Scripts>,
    pub host: &'a mut dyn Host,
    /// The running command.
    pub command: &'static Entry,
    pub args: Args<'a>,
    pub mode: Mode,
}

/// In which circumstances a command runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    pub in_exec: bool,
    pub in_script: bool,
    /// An effect is applied: nothing expires, nothing is logged, nobody is told.
    pub applying: bool,
    /// A blocked client's command is tried again.
    pub reprocessing: bool,
    /// Another client's script is running: see [`crate::busy`].
    pub busy: bool,
}

impl<'a> Context<'a> {
    /// Unix milliseconds; stands still while a command, script or transaction runs.
    pub fn now_ms(&self) -> i64 {
        self.shared.now_ms
    }

    /// The cluster as the client can use it: who came by TLS is shown the ports for that.
    pub fn cluster(&self) -> Option<Arc<ClusterView>> {
        let view = self.host.cluster()?;
        Some(if self.client.info.tls { Arc::new(view.by_tls()) } else { view })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The key of the selected database has changed: breaks WATCHes, holds reads of it back until the change is
    /// released, wakes clients blocked on it, publishes `event`, counts one change.
    pub fn changed(&mut self, key: &[u8], class: Class, event: &str) {
        self.touch_key(key);
        self.notify(class, event, key);
        self.shared.effects.add_dirty(1);
    }

    /// [`Context::changed`] without an event and without counting.
    pub fn touch_key(&mut self, key: &[u8]) {
        let db = self.keys.selected();
        let by = self.client.slot;
        touch_key(self.shared, self.client, db, key, Some(by));
    }

    /// [`Context::touch_key`] for what Redis counts as a change though nothing is another than before: there is no effect
    /// that reads would have to wait for.
    pub fn touch_key_unchanged(&mut self, key: &[u8]) {
        let (db, by) = (self.keys.selected(), self.client.slot);
        tell_watchers(self.shared, self.client, db, key, Some(by));
    }

    /// [`Context::touch_key`] for a change that nobody has made: the key has expired, or was evicted.
    pub fn touch_key_gone(&mut self, key: &[u8]) {
        let db = self.keys.selected();
        touch_key(self.shared, self.client, db, key, None);
    }

    /// [`Context::changed`] for what Redis lets change under a WATCH: consumer groups and their pending entries.
    /// Reads of the key are held back, one change is counted; nobody is woken.
    pub fn changed_unwatched(&mut self, key: &[u8], event: Option<&str>) {
        mark_unreleased(self.shared, self.keys.selected(), key);
        if let Some(event) = event {
            self.notify(Class::Stream, event, key);
        }
        self.shared.effects.add_dirty(1);
    }

    /// [`Context::changed_unwatched`] for what Redis does not count as a change.
    pub fn changed_uncounted(&mut self, key: &[u8]) {
        mark_unreleased(self.shared, self.keys.selected(), key);
    }

    /// Clients blocked on the key get another try after this command.
    pub fn signal_ready(&mut self, key: &[u8]) {
        signal_ready(self.shared, self.keys.selected(), key);
    }

    /// Writes the running command down as its own effect: it must be deterministic and have no relative times.
    pub fn log_self(&mut self) {
        let args = self.args;
        self.log(args.as_slice());
    }

    /// Writes down an effect on the selected database.
    pub fn log(&mut self, argv: &[&[u8]]) {
        let db = self.keys.selected();
        self.log_in(db, argv);
    }

    /// Writes down an effect on database `db`.
    pub fn log_in(&mut self, db: usize, argv: &[&[u8]]) {
        self.keep_in(db, argv);
        self.shared.effects.tell(db, argv);
    }

    /// Writes down an effect of which replicas of Redis's kind hear in other words ([`Context::tell_replicas`]), or not at all.
    pub fn keep(&mut self, argv: &[&[u8]]) {
        let db = self.keys.selected();
        self.keep_in(db, argv);
    }

    fn keep_in(&mut self, db: usize, argv: &[&[u8]]) {
        if self.shared.effects.enabled() {
            let seq = self.shared.effects.open_seq();
            self.shared.effects.keep(db, argv);
            self.shared.need(seq);
        }
    }

    /// Tells replicas of Redis's kind, and nobody else.
    pub fn tell_replicas(&mut self, argv: &[&[u8]]) {
        let db = self.keys.selected();
        self.shared.effects.tell(db, argv);
    }

    /// Removes the key with all that belongs to it (event `event`, effect `DEL`). False when there was none.
    pub fn delete_key(&mut self, key: &[u8], class: Class, event: &str) -> bool {
        self.delete_key_as(b"DEL", key, class, event)
    }

    /// [`Context::delete_key`] with the effect `word`, which is DEL or UNLINK.
    pub fn delete_key_as(&mut self, word: &[u8], key: &[u8], class: Class, event: &str) -> bool {
        if !self.keys.delete(key) {
            return false;
        }
        self.changed(key, class, event);
        self.log(&[word, key]);
        true
    }

    /// After elements were taken out: removes the key when `empty`, with the event `del`. The effect of the removal
    /// is part of the effect that emptied it.
    pub fn remove_if_empty(&mut self, key: &[u8], empty: bool) {
        if empty {
            self.keys.delete(key);
            self.notify(Class::Generic, "del", key);
        }
    }

    /// Is the running command what another server has executed: an effect, or from the primary that this server follows? It is
    /// not for this one to have limits, a clock or an opinion of its own then.
    pub fn obeys(&self) -> bool {
        self.mode.applying || self.client.primary
    }

    /// May the running command wait? Not inside MULTI, a script or while an effect is applied.
    pub fn may_block(&self) -> bool {
        !(self.mode.in_exec || self.mode.in_script || self.obeys())
    }

    /// Makes the client wait until one of `keys` may serve it (the command is then run again), or until
    /// `deadline_ms`. The handler returns right after, without a reply. Only when [`Context::may_block`].
    pub fn block_on_keys(
        &mut self,
        keys: &[&[u8]],
        kind: BlockKind,
        deadline_ms: Option<i64>,
        on_timeout: TimeoutReply,
    ) {
        debug_assert!(self.may_block());
        if self.mode.reprocessing {
            // It is in the queues already and keeps its old place.
            self.shared.stay_blocked = true;
            return;
        }
        let db = self.keys.selected();
        let mut own: Vec<Box<[u8]>> = Vec::with_capacity(keys.len());
        for &key in keys {
            if !own.iter().any(|k| **k == *key) {
                own.push(key.into());
            }
        }
        self.block(BlockedOn::Keys { db, keys: own, kind }, deadline_ms, on_timeout);
    }

    /// [`Context::block_on_keys`] for a command that must not run again as it came: `args` run in its place. (XREAD's
    /// `$` means the last id at the time of the call.)
    pub fn block_on_keys_as(
        &mut self,
        args: Args<'_>,
        keys: &[&[u8]],
        kind: BlockKind,
        deadline_ms: Option<i64>,
        on_timeout: TimeoutReply,
    ) {
        self.block_on_keys(keys, kind, deadline_ms, on_timeout);
        if let Some(blocked) = self.client.blocked.as_mut().filter(|_| !self.mode.reprocessing) {
            blocked.args = OwnedArgs::copy(args);
        }
    }

    /// Makes the client wait for the host, which answers with [`crate::Engine::answer`].
    pub fn block_on_host(&mut self, deadline_ms: Option<i64>, on_timeout: TimeoutReply) {
        self.block(BlockedOn::Host, deadline_ms, on_timeout);
    }

    /// Makes the client wait until enough nodes have its writes.
    pub(crate) fn block_on_replicas(&mut self, wait: ReplicaWait, deadline_ms: Option<i64>) {
        self.shared.blocking.on_replicas.push(self.client.slot);
        self.block(BlockedOn::Replicas(wait), deadline_ms, TimeoutReply::Replicas);
    }

    pub(crate) fn block(&mut self, on: BlockedOn, deadline_ms: Option<i64>, on_timeout: TimeoutReply) {
        let slot = self.client.slot;
        if let BlockedOn::Keys { db, keys, kind } = &on {
            self.shared.blocking.of_groups += usize::from(*kind == BlockKind::StreamGroup);
            for key in keys {
                self.shared.blocking.by_key.entry(*db, key).push_back(slot);
            }
        }
        if let Some(deadline) = deadline_ms {
            self.shared.blocking.deadlines.insert((deadline, slot));
        }
        self.shared.blocking.clients += 1;
        self.client.blocked = Some(Box::new(Blocked {
            on,
            deadline_ms,
            since_ms: self.shared.now_ms,
            command: self.command,
            args: OwnedArgs::copy(self.args),
            on_timeout,
        }));
    }

    /// The time-out argument of a blocking command (seconds, may be fractional; 0: for ever) as a deadline.
    pub fn deadline(&self, arg: &[u8]) -> CommandResult<Option<i64>> {
        // Redis reads a long double: what is too large for a double is a number all the same.
        let seconds = parse_f64(arg)
            .or_else(|| LongDouble::parse(arg).map(LongDouble::to_f64))
            .ok_or(CommandError::new("ERR timeout is not a float or out of range"))?;
        let ms = (seconds * 1000.0).ceil();
        if ms > i64::MAX as f64 / 2.0 {
            return Err("ERR timeout is out of range".into());
        }
        self.deadline_after(ms as i64)
    }

    /// A time-out in milliseconds (0: for ever) as a deadline.
    pub fn deadline_after(&self, ms: i64) -> CommandResult<Option<i64>> {
        match ms {
            0 => Ok(None),
            ..0 => Err("ERR timeout is negative".into()),
            _ => self.now_ms().checked_add(ms).map(Some).ok_or("ERR timeout is out of range".into()),
        }
    }

    /// The reply depends on more than the declared keys (KEYS, DBSIZE …): it waits for everything unreleased.
    pub fn depends_on_everything(&mut self) {
        if self.shared.effects.enabled() {
            let newest = self.shared.effects.newest_seq();
            if newest > self.shared.released {
                self.shared.need(newest);
            }
        }
    }

    /// The reply depends on which libraries of functions there are.
    pub fn depends_on_functions(&mut self) {
        if let Some(scripts) = &self.scripts {
            self.shared.need(scripts.functions.changed_seq);
        }
    }

    /// The libraries have changed, which the running command is written down as.
    pub fn functions_changed(&mut self) {
        if self.shared.effects.enabled()
            && let Some(scripts) = &mut self.scripts
        {
            scripts.functions.changed_seq = self.shared.effects.open_seq();
        }
        self.shared.effects.add_dirty(1);
        self.log_self();
    }

    /// Writes to another client (or this one, after its reply): a message, a monitor line. It waits for everything
    /// unreleased and for the running unit, so that nobody hears of what could still be lost.
    pub fn deliver(&mut self, slot: Slot, write: impl FnOnce(&mut ReplyWriter)) {
        if slot == self.client.slot {
            self.shared.pushes.resp = self.reply.resp;
            write(&mut self.shared.pushes);
            return;
        }
        let Some(client) = self.shared.client(slot).filter(|client| !client.state.closing()) else { return };
        let from = client.reply.out.end();
        write(&mut client.reply);
        // Checked at once, not only when the unit ends: one script can publish without end.
        let large = client.unread_bytes() > 0;
        self.shared.deliveries.push((slot, from));
        self.shared.touch(slot);
        if large {
            self.shared.check_output_of(slot, self.host);
        }
    }

    /// Runs another command in this one's place: EXEC and scripts. The reply goes to `self.reply`.
    pub fn call(&mut self, command: &'static Entry, args: Args<'_>, mode: Mode) -> CommandResult {
        crate::dispatch::call(&mut Context {
            client: self.client,
            keys: self.keys,
            reply: self.reply,
            shared: self.shared,
            scripts: self.scripts.as_deref_mut(),
            host: self.host,
            command,
            args,
            mode,
        })
    }

    /// Does the running command write?
    pub fn is_write(&self) -> bool {
        self.command.flags.has(Flag::Write)
    }
}

/// A key of `db` has changed, by a client's command or by itself: watchers, held reads, blocked clients, caches.
fn touch_key(shared: &mut Shared, client: &mut ClientState, db: usize, key: &[u8], by: Option<Slot>) {
    mark_unreleased(shared, db, key);
    tell_watchers(shared, client, db, key, by);
}

fn tell_watchers(shared: &mut Shared, client: &mut ClientState, db: usize, key: &[u8], by: Option<Slot>) {
    shared.tracking.key_changed(key, by);
    if shared.watchers.is_empty() && shared.blocking.by_key.is_empty() {
        return;
    }
    if let Some(slots) = shared.watchers.get(db, key) {
        for &slot in slots {
            if slot == client.slot {
                client.watch_broken = true;
            } else if let Some(Some(other)) = shared.clients.get_mut(slot) {
                other.state.watch_broken = true;
            }
        }
    }
    signal_ready(shared, db, key);
}

/// Reads of the key wait for the effects that are being written down; indexes follow it.
fn mark_unreleased(shared: &mut Shared, db: usize, key: &[u8]) {
    if shared.search.is_on() {
        shared.search.note(db, key);
    }
    if shared.effects.enabled() {
        let seq = shared.effects.open_seq();
        let hash = DirtyKeys::hash(shared.seed, db, key);
        shared.dirty_keys.mark(hash, seq);
    }
}

fn signal_ready(shared: &mut Shared, db: usize, key: &[u8]) {
    if shared.blocking.by_key.get(db, key).is_some() {
        let name: (usize, Box<[u8]>) = (db, key.into());
        if shared.blocking.ready_set.insert(name.clone()) {
            shared.blocking.ready.push_back(name);
        }
    }
}
