//! The life of one command, from its arguments to its reply, effects and figures.

use cairn_proto::Resp;

use crate::args::{Args, OwnedArgs};
use crate::client::{BlockedOn, ReplyMode, TimeoutReply};
use crate::command::{Entry, Flag, table};
use crate::context::{Context, Mode};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::dirty::DirtyKeys;
use crate::notify::Class;

/// Error codes counted in INFO errorstats; past it new codes are not added (a script can invent them).
const ERROR_CODES_MAX: usize = 128;
/// Bytes of the arguments repeated in the error for an unknown command.
const UNKNOWN_ARGS_BYTES_MAX: usize = 128;

/// Takes a client's command through all checks and runs it, queues it, or refuses it. `cx.command` is found here.
pub(crate) fn process(cx: &mut Context<'_>) {
    let args = cx.args;
    let start = cx.reply.out.end();
    match admit(cx) {
        Ok(Admitted::Run) => {
            if let Err(error) = call(cx) {
                refuse_reply(cx, start, &error);
            }
        }
        Ok(Admitted::Queue) => {
            let transaction = cx.client.transaction.as_mut().expect("admitted to a queue");
            let owned = OwnedArgs::copy(args);
            transaction.memory += owned.memory();
            transaction.commands.push((cx.command, owned));
            cx.reply.simple("QUEUED");
        }
        Ok(Admitted::Postponed) => {}
        Err(error) => {
            if let Some(transaction) = &mut cx.client.transaction {
                transaction.broken = true;
            }
            if let Some(stats) = cx.shared.stats.by_command.get_mut(cx.command.index) {
                stats.rejected += 1;
            }
            refuse_reply(cx, start, &error);
        }
    }
}

enum Admitted {
    Run,
    Queue,
    /// CLIENT PAUSE holds it: it will come again.
    Postponed,
}

/// Everything that may stand between a command and its run. Order as in Redis's `processCommand`.
fn admit(cx: &mut Context<'_>) -> CommandResult<Admitted> {
    let args = cx.args;
    let command = find(args)?;
    cx.command = command;
    cx.client.last_command = Some(command);
    if !command.arity_fits(args.len()) {
        return Err(CommandError::Arity(command.full_name.clone()));
    }
    let flags = command.flags;
    if !cx.client.authenticated && !flags.has(Flag::NoAuth) {
        return Err("NOAUTH Authentication required.".into());
    }
    if cx.client.transaction.is_some() && flags.has(Flag::NoMulti) {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    if cx.shared.config.maxmemory > 0 && !crate::eviction::make_room(cx) && flags.has(Flag::DenyOom) {
        return Err(CommandError::OutOfMemory);
    }
    if flags.has(Flag::Write)
        && let Some(refusal) = &cx.shared.write_refusal
    {
        return Err(refusal.clone());
    }
    if cx.reply.resp == Resp::V2 && cx.client.subscriptions.any() && !allowed_while_subscribed(command) {
        return Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            command.full_name
        )
        .into());
    }
    if cx.client.transaction.is_some() && !runs_inside_multi(command) {
        return Ok(Admitted::Queue);
    }
    if is_paused(cx, command) {
        cx.block_on_pause();
        return Ok(Admitted::Postponed);
    }
    Ok(Admitted::Run)
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
        text.extend_from_slice(&args[1][..args[1].len().min(UNKNOWN_ARGS_BYTES_MAX)]);
        text.extend_from_slice(format!("'. Try {} HELP.", command.spec.name.to_uppercase()).as_bytes());
        CommandError::Bytes(text)
    })
}

fn unknown_command(args: Args<'_>) -> CommandError {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(&args[0][..args[0].len().min(UNKNOWN_ARGS_BYTES_MAX)]);
    text.extend_from_slice(b"', with args beginning with: ");
    let mut listed = 0;
    for arg in args.from(1) {
        if listed >= UNKNOWN_ARGS_BYTES_MAX {
            break;
        }
        let shown = &arg[..arg.len().min(UNKNOWN_ARGS_BYTES_MAX - listed)];
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        listed += shown.len() + 3;
    }
    CommandError::Bytes(text)
}

fn allowed_while_subscribed(command: &Entry) -> bool {
    matches!(
        command.spec.name,
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
    matches!(command.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn is_paused(cx: &Context<'_>, command: &Entry) -> bool {
    let pause = &cx.shared.pause;
    if pause.until_ms <= cx.shared.now_ms {
        return false;
    }
    let writes = command.flags.has_any(Flag::Write, Flag::MayReplicate)
        || (command.spec.name == "exec"
            && cx.client.transaction.as_ref().is_some_and(|transaction| {
                transaction.commands.iter().any(|(c, _)| c.flags.has_any(Flag::Write, Flag::MayReplicate))
            }));
    // CLIENT must get through, or nobody could lift the pause.
    (!pause.writes_only || writes) && command.parent != Some("client")
}

/// Runs `cx.command`: removes what has expired among its keys, works out what its reply depends on, calls the
/// handler, keeps the figures. Used for clients, EXEC, scripts, blocked clients and effects alike.
pub(crate) fn call(cx: &mut Context<'_>) -> CommandResult {
    if !cx.mode.applying {
        prepare_keys(cx);
        if !cx.shared.monitors.is_empty() {
            crate::commands::server::monitor::feed(cx);
        }
    }
    let started_us = cx.shared.clock_us;
    let run = cx.command.spec.run;
    let args = cx.args;
    let result = run(cx, args);
    if cx.mode.applying {
        return result;
    }
    let now_us = cx.host.monotonic_us();
    cx.shared.clock_us = now_us;
    let elapsed_us = now_us.saturating_sub(started_us);
    let stats = &mut cx.shared.stats;
    stats.commands += 1;
    let by_command = &mut stats.by_command[cx.command.index];
    by_command.calls += 1;
    by_command.microseconds += elapsed_us;
    by_command.failed += u64::from(result.is_err());
    let threshold_us = cx.shared.config.slowlog_log_slower_than;
    if threshold_us >= 0 && elapsed_us >= threshold_us as u64 && !cx.command.flags.has(Flag::SkipSlowlog) {
        crate::commands::server::slowlog::record(cx, elapsed_us);
    }
    result
}

/// Before a command runs: its expired keys go, and its reply is tied to what it may be about to read.
fn prepare_keys(cx: &mut Context<'_>) {
    let expires = !cx.keys.db().expires.is_empty();
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

fn prepare_key(cx: &mut Context<'_>, key: &[u8], expires: bool, dirty: bool) {
    if expires {
        expire_if_due(cx, key);
    }
    if dirty {
        let hash = DirtyKeys::hash(cx.shared.seed, cx.keys.selected(), key);
        let seq = cx.shared.dirty_keys.position(hash);
        cx.shared.need(seq);
    }
}

/// Removes the key of the selected database if its time has come: an effect like any other. True when it went.
pub(crate) fn expire_if_due(cx: &mut Context<'_>, key: &[u8]) -> bool {
    if !cx.keys.is_expired(key) {
        return false;
    }
    cx.keys.delete(key);
    // The reply is about to say that the key is gone; `touch_key` makes others' reads wait for that as well.
    cx.touch_key(key);
    cx.log(&[b"DEL", key]);
    cx.notify(Class::Expired, "expired", key);
    cx.shared.stats.expired_keys += 1;
    true
}

/// Takes back what was written since `start` and writes the error instead.
pub(crate) fn refuse_reply(cx: &mut Context<'_>, start: u64, error: &CommandError) {
    cx.reply.out.truncate(start);
    let text = error.text();
    count_error(cx, &text);
    cx.reply.error(&text);
}

/// Counts an error reply by its code.
pub(crate) fn count_error(cx: &mut Context<'_>, text: &[u8]) {
    let stats = &mut cx.shared.stats;
    stats.total_error_replies += 1;
    let code = text.split(|&b| b == b' ').next().unwrap_or(b"ERR");
    let code = String::from_utf8_lossy(code).into_owned();
    if stats.errors.len() < ERROR_CODES_MAX || stats.errors.contains_key(&code) {
        *stats.errors.entry(code).or_default() += 1;
    }
}

/// After a command, as CLIENT REPLY wants it: drops what was written since `start`, or not.
pub(crate) fn apply_reply_mode(cx: &mut Context<'_>, start: u64) {
    match cx.client.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => cx.reply.out.truncate(start),
        ReplyMode::SkipNext => {
            cx.reply.out.truncate(start);
            cx.client.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            cx.reply.out.truncate(start);
            cx.client.reply_mode = ReplyMode::On;
        }
    }
}

/// Runs a blocked client's command once more. True when it has been served (or failed), false when it still waits.
pub(crate) fn retry(cx: &mut Context<'_>) -> bool {
    let start = cx.reply.out.end();
    cx.shared.stay_blocked = false;
    if let Err(error) = call(cx) {
        refuse_reply(cx, start, &error);
    }
    !cx.shared.stay_blocked
}

/// The reply to a client whose time is up.
pub(crate) fn timeout_reply(reply: &mut cairn_proto::ReplyWriter, what: TimeoutReply) {
    match what {
        TimeoutReply::NullArray => reply.null_array(),
        TimeoutReply::Null => reply.null(),
        TimeoutReply::Integer(n) => reply.int(n),
    }
}

impl Context<'_> {
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
