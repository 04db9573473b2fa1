//! The life of one command, from its arguments to its reply, effects and figures.

use cairn_planted::planted;
use cairn_proto::{ReplyWriter, Resp};

use crate::acl::log::Setting;
use crate::args::{Args, OwnedArgs};
use crate::client::{BlockedOn, ClientState, ReplyMode, TimeoutReply};
use crate::command::{Entry, Flag, Flags, Group, table};
use crate::context::{Context, Mode};
use crate::effects::removal;
use crate::error::{CommandError, CommandResult, printed};
use crate::following::STALE;
use crate::host::LogLevel;
use crate::keyspace::dirty::DirtyKeys;
use crate::keyspace::fields::Expired;
use crate::latency::Event;
use crate::notify::Class;
use crate::tracking::Place;

/// Bytes of the arguments repeated in the error for an unknown command.
const UNKNOWN_ARGS_BYTES_MAX: usize = 128;
/// A script or transaction is one entry of the journal, which has a largest length.
pub(crate) const UNIT_TOO_LARGE: CommandError =
    CommandError::new("ERR this script or transaction has written more than can be made durable as a whole");
/// The refusal of a follower.
pub(crate) const READONLY: CommandError =
    CommandError::new("READONLY You can't write against a read only replica.");
/// The refusal of DEBUG.
const PROTECTED: CommandError = CommandError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// Takes a client's command through all checks and runs it, queues it, or refuses it. `cx.command` is found here. Answers
/// where the reply begins: behind messages about keys that had to go first.
pub(crate) fn process(cx: &mut Context<'_>) -> u64 {
    let admitted = admit(cx);
    let start = cx.reply.out.end();
    match admitted {
        Ok(Admitted::Run) => {
            if let Err(error) = call(cx) {
                refuse_reply(cx, start, &error);
            }
        }
        Ok(Admitted::Queue(flags)) => queue(cx, flags),
        Ok(Admitted::Postponed) => {}
        Ok(Admitted::Attack) => {
            cx.host.log(
                LogLevel::Warning,
                &format!(
                    "Possible SECURITY ATTACK detected: {} speaks HTTP. Connection aborted.",
                    cx.client.info.address
                ),
            );
            cx.client.close_now = true;
        }
        Err(error) => reject(cx, start, error),
    }
    let of_client = cx.client.last_command.is_some_and(|command| command.parent == Some("client"));
    if let Some(tracking) = &mut cx.client.tracking
        && cx.client.transaction.is_none()
        && !of_client
    {
        // It was said of one command, or of one transaction.
        tracking.caching = false;
    }
    start
}

enum Admitted {
    Run,
    /// For EXEC, which is then also what these flags say.
    Queue(Flags),
    /// CLIENT PAUSE holds it: it will come again.
    Postponed,
    /// A browser was made to send this: the connection goes.
    Attack,
}

/// Everything that may stand between a command and its run. Order as in Redis's `processCommand`.
fn admit(cx: &mut Context<'_>) -> CommandResult<Admitted> {
    let args = cx.args;
    cx.client.last_command = None;
    let command = match find(args) {
        Ok(command) if cx.hides(command) => return Err(unknown_command(args)),
        Ok(command) => command,
        Err(_) if table().find(args[0]).is_some_and(|command| cx.hides(command)) => {
            return Err(unknown_command(args));
        }
        Err(_) if args.is(0, "post") || args.is(0, "host:") => return Ok(Admitted::Attack),
        Err(error) => return Err(error),
    };
    cx.command = command;
    cx.client.last_command = Some(command);
    if !command.arity_fits(args.len()) {
        return Err(CommandError::Arity(command.said_name()));
    }
    let mut flags = crate::commands::scripting::effective_flags(cx, command.flags);
    if flags.has(Flag::Protected) && !cx.shared.config.enable_debug_command.allows(cx.client.origin()) {
        return Err(PROTECTED);
    }
    if !flags.has(Flag::NoAuth) && cx.client.must_authenticate(&cx.shared.acl) {
        return Err("NOAUTH Authentication required.".into());
    }
    let in_multi = match &cx.client.transaction {
        Some(transaction) => {
            if flags.has(Flag::NoMulti) {
                return Err("ERR Command not allowed inside a transaction".into());
            }
            if is_exec(command) {
                // EXEC is as much as what it runs.
                flags = flags.union(transaction.flags);
            }
            true
        }
        None => false,
    };
    let setting = if in_multi { Setting::Multi } else { Setting::TopLevel };
    cx.check_permissions(setting).map_err(|denial| cx.no_permission(denial))?;
    if cx.mode.busy {
        // Before memory is looked at: nothing may be evicted under a script.
        if !flags.has(Flag::AllowBusy) {
            return Err(crate::busy::refusal(cx.shared));
        }
    } else if cx.shared.config.maxmemory > 0
        && !cx.shared.replica
        && !crate::eviction::make_room(cx)
        && (flags.has(Flag::DenyOom) || (in_multi && !ends_multi(command)))
    {
        // Within MULTI even a harmless command takes memory in the queue.
        return Err(CommandError::OutOfMemory);
    }
    if !cx.mode.busy {
        cx.limit_tracking();
        cx.send_invalidations(Place::BeforeReply);
    }
    if !cx.client.primary
        && let Some(refusal) = &cx.shared.write_refusal
        && (flags.has(Flag::Write) || command.full_name == "ping")
    {
        return Err(refusal.clone());
    }
    if flags.has(Flag::Write) && cx.shared.is_bound() {
        if !cx.shared.may_write_here(cx.client.primary) {
            return Err(READONLY);
        }
    } else if flags.has(Flag::Write) {
        crate::commands::server::check_replicas(cx.shared, cx.host)?;
    }
    if cx.reply.resp == Resp::V2 && cx.client.subscriptions.any() && !allowed_while_subscribed(command) {
        return Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            command.full_name
        )
        .into());
    }
    if cx.client.monitor && (flags.has_any(Flag::Write, Flag::MayReplicate) || flags.has(Flag::ReadOnly)) {
        return Err("ERR Replica can't interact with the keyspace".into());
    }
    let fresh = !flags.has(Flag::Stale)
        || (is_exec(command) && cx.client.transaction.as_ref().is_some_and(|queue| queue.wants_fresh));
    if fresh && !cx.client.primary && cx.shared.is_stale() {
        return Err(STALE);
    }
    if !cx.mode.busy && !cx.client.primary && is_paused(cx, command, flags) {
        cx.block_on_pause();
        return Ok(Admitted::Postponed);
    }
    if in_multi && !runs_inside_multi(command) {
        return Ok(Admitted::Queue(flags));
    }
    Ok(Admitted::Run)
}

/// Keeps the command for EXEC.
fn queue(cx: &mut Context<'_>, flags: Flags) {
    let dirty = cx.client.watch_broken;
    let transaction = cx.client.transaction.as_mut().expect("admitted to a queue");
    // EXEC will refuse anyway: nothing of it is worth keeping.
    if !(transaction.broken || dirty) {
        let owned = OwnedArgs::copy(cx.args);
        transaction.memory += owned.memory();
        transaction.commands.push((cx.command, owned));
        transaction.flags = transaction.flags.union(flags);
        transaction.wants_fresh |= !flags.has(Flag::Stale);
    }
    cx.reply.simple("QUEUED");
    crate::limits::check_queue(cx);
}

/// Answers a command that was not admitted; a MULTI that it was part of is spoilt.
fn reject(cx: &mut Context<'_>, start: u64, error: CommandError) {
    let Some(command) = cx.client.last_command else {
        spoil(cx);
        return refuse_reply(cx, start, &error);
    };
    cx.shared.stats.by_command[command.index].rejected += 1;
    if !is_exec(command) {
        spoil(cx);
        return refuse_reply(cx, start, &error);
    }
    cx.client.transaction = None;
    cx.shared.forget_watches(cx.client);
    let text = error.text();
    let reason = text.strip_prefix(b"ERR ").unwrap_or(&text);
    let aborted = [b"EXECABORT Transaction discarded because of: ", reason].concat();
    refuse_reply(cx, start, &CommandError::Bytes(aborted));
}

fn spoil(cx: &mut Context<'_>) {
    if let Some(transaction) = &mut cx.client.transaction {
        transaction.broken = true;
    }
}

fn is_exec(command: &Entry) -> bool {
    command.full_name == "exec"
}

/// The command or subcommand that `args` name, or the error that says what is wrong with the name.
pub(crate) fn find(args: Args<'_>) -> CommandResult<&'static Entry> {
    let Some(command) = table().find(args[0]) else {
        return Err(unknown_command(args));
    };
    if command.subcommands.is_empty() || args.len() < 2 {
        return Ok(command);
    }
    table().find_sub(command, args[1]).ok_or_else(|| {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(printed(&args[1][..args[1].len().min(UNKNOWN_ARGS_BYTES_MAX)]));
        text.extend_from_slice(format!("'. Try {} HELP.", command.spec.name.to_uppercase()).as_bytes());
        CommandError::Bytes(text)
    })
}

fn unknown_command(args: Args<'_>) -> CommandError {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(printed(&args[0][..args[0].len().min(UNKNOWN_ARGS_BYTES_MAX)]));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut listed = 0;
    for arg in args.from(1) {
        if listed >= UNKNOWN_ARGS_BYTES_MAX {
            break;
        }
        let shown = printed(&arg[..arg.len().min(UNKNOWN_ARGS_BYTES_MAX - listed)]);
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        listed += shown.len() + 3;
    }
    CommandError::Bytes(text)
}

fn allowed_while_subscribed(command: &Entry) -> bool {
    matches!(
        command.full_name.as_str(),
        "ping"
            | "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "quit"
            | "reset"
    )
}

fn runs_inside_multi(command: &Entry) -> bool {
    ends_multi(command) || matches!(command.full_name.as_str(), "multi" | "watch")
}

fn ends_multi(command: &Entry) -> bool {
    matches!(command.full_name.as_str(), "exec" | "discard" | "quit" | "reset")
}

fn is_paused(cx: &Context<'_>, command: &Entry, flags: Flags) -> bool {
    let pause = &cx.shared.pause;
    if !pause.holds_writes(cx.shared.now_ms) {
        return false;
    }
    let all = pause.until_ms > cx.shared.now_ms && !pause.writes_only;
    let writes = flags.has_any(Flag::Write, Flag::MayReplicate);
    // CLIENT must get through, or nobody could lift the pause.
    (all || writes) && command.parent != Some("client")
}

/// Runs `cx.command`: removes what has expired among its keys, works out what its reply depends on, calls the
/// handler, keeps the figures. Used for clients, EXEC, scripts, blocked clients and effects alike.
pub(crate) fn call(cx: &mut Context<'_>) -> CommandResult {
    let run = cx.command.spec.run;
    let args = cx.args;
    if cx.mode.applying {
        return run(cx, args);
    }
    if cx.shared.replica && cx.command.flags.has(Flag::Write) && !cx.shared.unit_writes {
        return Err(READONLY);
    }
    if cx.shared.effects.unit_is_full() && cx.command.flags.has(Flag::Write) {
        return Err(UNIT_TOO_LARGE);
    }
    prepare_keys(cx);
    let started_us = cx.shared.clock_us;
    // Monitors see a script before the commands that it calls, and EXEC after its own.
    let monitored = !cx.shared.monitors.is_empty() && !cx.mode.reprocessing;
    let shown_first = cx.command.flags.has(Flag::SkipMonitor);
    if monitored && shown_first {
        crate::commands::server::monitor::feed(cx);
    }
    let result = run(cx, args);
    if cx.client.tracking.is_some()
        && cx.command.flags.has(Flag::ReadOnly)
        && cx.command.spec.group != Group::Scripting
    {
        cx.remember_read_keys();
    }
    cx.notify_noted_keys();
    if cx.shared.search.is_behind() {
        cx.shared.search.catch_up(cx.keys);
    }
    let now_us = cx.host.monotonic_us();
    cx.shared.clock_us = now_us;
    let elapsed_us = now_us.saturating_sub(started_us) + std::mem::take(&mut cx.shared.sleep_us);
    if monitored && !shown_first {
        crate::commands::server::monitor::feed(cx);
    }
    if cx.still_waits() {
        // It is not over: it counts when it has been served.
        return result;
    }
    cx.client.commands += 1;
    let nested = cx.mode.in_exec || cx.mode.in_script;
    let stats = &mut cx.shared.stats;
    stats.commands += 1;
    stats.command_us += if nested { 0 } else { elapsed_us };
    let by_command = &mut stats.by_command[cx.command.index];
    by_command.calls += 1;
    by_command.microseconds += elapsed_us;
    by_command.failed += u64::from(result.is_err());
    if cx.shared.config.latency_tracking {
        by_command.latency.record(elapsed_us);
    }
    if cx.shared.config.latency_monitor_threshold > 0 {
        let fast = cx.command.flags.has(Flag::Fast);
        cx.shared.note_latency(if fast { Event::FastCommand } else { Event::Command }, elapsed_us);
    }
    let threshold_us = cx.shared.config.slowlog_log_slower_than;
    if threshold_us >= 0 && elapsed_us >= threshold_us as u64 && !cx.command.flags.has(Flag::SkipSlowlog) {
        crate::commands::server::slowlog::record(cx, elapsed_us);
    }
    result
}

/// Before a command runs: its expired keys and their expired fields go, and its reply is tied to what it may be about to read.
fn prepare_keys(cx: &mut Context<'_>) {
    let expires = cx.keys.db().has_times();
    let dirty = !cx.shared.dirty_keys.is_clean();
    if cx.command.flags.has(Flag::KeylessRead) {
        cx.depends_on_everything();
    }
    if !expires && !dirty {
        return;
    }
    let args = cx.args;
    if let Some(at) = cx.command.single_key {
        if let Some(key) = args.get(at) {
            prepare_key(cx, key, expires, dirty);
        }
        return;
    }
    if cx.command.spec.keys.is_empty() {
        return;
    }
    let mut positions = std::mem::take(&mut cx.shared.key_positions);
    // Keys that cannot be told apart here make the handler fail on the same arguments.
    let _ = cx.command.key_positions(args, &mut positions);
    for &at in &positions {
        prepare_key(cx, args[at], expires, dirty);
    }
    cx.shared.key_positions = positions;
}

/// For a handler that looks at a key which the dispatcher did not prepare, one of another database than the client's
/// or one that it was not told of: the key goes if it has expired, and the reply waits for what the key waits for.
pub(crate) fn prepare_undeclared(cx: &mut Context<'_>, key: &[u8]) {
    if !cx.mode.applying {
        let expires = cx.keys.db().has_times();
        let dirty = !cx.shared.dirty_keys.is_clean();
        prepare_key(cx, key, expires, dirty);
    }
}

fn prepare_key(cx: &mut Context<'_>, key: &[u8], expires: bool, dirty: bool) {
    if expires {
        expire_if_due(cx, key);
        expire_fields(cx, key, usize::MAX);
    }
    if dirty && !planted!(DirtyReadsNotHeld) {
        let hash = DirtyKeys::hash(cx.shared.seed, cx.keys.selected(), key);
        let seq = cx.shared.dirty_keys.position(hash);
        cx.shared.need(seq);
    }
}

/// Removes the key of the selected database if its time has come: an effect like any other. True when it went. A
/// follower waits for the leader to do so, and only hides the key from the running command; so does CLIENT PAUSE.
pub(crate) fn expire_if_due(cx: &mut Context<'_>, key: &[u8]) -> bool {
    if cx.client.primary || !cx.keys.is_expired(key) {
        // Whom this server follows knows of its own keys whether they are there.
        return false;
    }
    if cx.shared.replica && planted!(FollowerExpires) {
        cx.keys.delete(key);
        return true;
    }
    if cx.shared.replica || cx.shared.expiry_held {
        // Only the leader's clock decides; this reader merely does not see the key.
        cx.keys.hide(key);
        return true;
    }
    cx.keys.delete(key);
    // The reply is about to say that the key is gone; `touch_key` makes others' reads wait for that as well.
    cx.touch_key_gone(key);
    let word = removal(cx.config().lazyfree_lazy_expire);
    cx.log(&[word, key]);
    cx.notify(Class::Expired, "expired", key);
    cx.shared.stats.expired_keys += 1;
    true
}

/// Removes up to `count` fields of the hash at `key` whose time has come, and the key if it has come for all of them: an
/// effect like any other. How many went. A follower only hides them from the running command.
pub(crate) fn expire_fields(cx: &mut Context<'_>, key: &[u8], count: usize) -> usize {
    if cx.client.primary || !cx.keys.has_due_fields(key) {
        return 0;
    }
    if cx.shared.replica || cx.shared.expiry_held {
        cx.keys.hide_fields(key);
        return 0;
    }
    let Some(expired) = cx.keys.remove_due_fields(key, count) else { return 0 };
    cx.touch_key_gone(key);
    let gone = match &expired {
        Expired::Key { fields } => {
            let word = removal(cx.config().lazyfree_lazy_expire);
            cx.log(&[word, key]);
            *fields
        }
        Expired::Fields(fields) => {
            let mut effect: Vec<&[u8]> = vec![b"HDEL", key];
            effect.extend(fields.iter().map(|field| &**field));
            cx.log(&effect);
            fields.len()
        }
    };
    cx.notify(Class::Hash, "hexpired", key);
    if matches!(expired, Expired::Key { .. }) {
        cx.notify(Class::Generic, "del", key);
    }
    cx.shared.stats.expired_fields += gone as u64;
    gone
}

/// For handlers that walk the keyspace and have met a key with [`crate::keyspace::Keyspace::is_due`]: it goes.
pub(crate) fn expire_due(cx: &mut Context<'_>, key: &[u8]) {
    if !expire_if_due(cx, key) {
        expire_fields(cx, key, usize::MAX);
    }
}

/// Takes back what was written since `start` and writes the error instead.
pub(crate) fn refuse_reply(cx: &mut Context<'_>, start: u64, error: &CommandError) {
    cx.reply.out.truncate(start);
    let text = error.text();
    if cx.client.primary {
        crate::following::note_refusal(cx, &text);
    }
    if !matches!(error, CommandError::Counted(_)) {
        cx.shared.stats.count_error(&text);
    }
    cx.reply.error(&text);
}

/// Counts an error reply by its code.
pub(crate) fn count_error(cx: &mut Context<'_>, text: &[u8]) {
    cx.shared.stats.count_error(text);
}

/// After a command that need not wait: its reply, written since `start`, is dropped if CLIENT REPLY says so.
pub(crate) fn apply_reply_mode(cx: &mut Context<'_>, start: u64) {
    if cx.client.blocked.is_none() {
        end_reply(cx.client, cx.reply, start);
    }
}

/// A reply is complete: drops what was written since `start` if CLIENT REPLY says so.
pub(crate) fn end_reply(client: &mut ClientState, reply: &mut ReplyWriter, start: u64) {
    match client.reply_mode {
        ReplyMode::On => return,
        ReplyMode::SkipNext => {
            // CLIENT REPLY SKIP says nothing itself; EXEC, if it was part of one, does.
            client.reply_mode = ReplyMode::Skip;
            return;
        }
        ReplyMode::Off => {}
        ReplyMode::Skip => client.reply_mode = ReplyMode::On,
    }
    reply.out.truncate(start);
}

/// Runs a blocked client's command once more. True when it has been served (or failed), false when it still waits.
pub(crate) fn retry(cx: &mut Context<'_>) -> bool {
    let start = cx.reply.out.end();
    cx.shared.stay_blocked = false;
    // Its user may have changed meanwhile.
    if let Err(denial) = cx.check_permissions(Setting::TopLevel) {
        cx.shared.stats.by_command[cx.command.index].rejected += 1;
        refuse_reply(cx, start, &cx.no_permission(denial));
    } else if let Err(error) = call(cx) {
        refuse_reply(cx, start, &error);
    }
    !cx.shared.stay_blocked
}

impl Context<'_> {
    /// Has the command that just ran only begun to wait, or waits it still?
    fn still_waits(&self) -> bool {
        if self.mode.reprocessing { self.shared.stay_blocked } else { self.client.blocked.is_some() }
    }

    /// Is there no such command here?
    pub(crate) fn hides(&self, command: &Entry) -> bool {
        command.flags.has(Flag::ClusterOnly) && self.host.cluster().is_none()
    }

    fn block_on_pause(&mut self) {
        self.shared.blocking.paused.push_back(self.client.slot);
        self.block(BlockedOn::Pause, None, TimeoutReply::Null);
    }

    /// The mode of commands that this one calls.
    pub fn nested_mode(&self, in_exec: bool, in_script: bool) -> Mode {
        Mode {
            in_exec: self.mode.in_exec || in_exec,
            in_script: self.mode.in_script || in_script,
            ..self.mode
        }
    }
}
