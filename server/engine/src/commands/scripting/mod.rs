//! EVAL and FCALL and their kin; `script`: SCRIPT, `function`: FUNCTION.
//!
//! A script, or a function, is one atomic unit: its commands run through the same dispatcher as a client's, one after the other, and
//! their effects join one batch. What the script itself does is never logged.

mod function;
#[cfg(test)]
mod function_tests;
mod script;

use std::sync::Arc;

use cairn_proto::{ReplyWriter, Resp};

use crate::acl::log::Setting;
use crate::args::Args;
use crate::busy::{self, RunningScript};
use crate::command::{COMMAND, Command, Entry, Flag, Flags, Group, Keys, READ, READ_UPDATE, table};
use crate::context::{Context, Mode};
use crate::error::{CommandError, CommandResult};
use crate::host::{self, Host};
use crate::scripting::{CommandArgs, LogLevel, Origin, ScriptError, ScriptFlags, ScriptHost, Sha};

pub(super) const COMMANDS: &[&Command] =
    &[&EVAL, &EVAL_RO, &EVALSHA, &EVALSHA_RO, &FCALL, &FCALL_RO, &function::FUNCTION, &script::SCRIPT];

/// What the commands that run scripts and functions have in common.
const WRITES: Command = Command {
    arity: -3,
    group: Group::Scripting,
    flags: &[
        Flag::NoScript,
        Flag::SkipMonitor,
        Flag::MayReplicate,
        Flag::NoMandatoryKeys,
        Flag::Stale,
        Flag::MovableKeys,
    ],
    keys: &[Keys::number(2, READ_UPDATE)],
    ..COMMAND
};

/// The same of those that may only read.
const READS: Command = Command {
    flags: &[
        Flag::NoScript,
        Flag::SkipMonitor,
        Flag::NoMandatoryKeys,
        Flag::Stale,
        Flag::ReadOnly,
        Flag::MovableKeys,
    ],
    keys: &[Keys::number(2, READ)],
    ..WRITES
};

static EVAL: Command = Command {
    name: "eval",
    since: "2.6.0",
    summary: "Runs a Lua script.",
    complexity: "Depends on the script",
    syntax: "script:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| eval(cx, args, false),
    ..WRITES
};

static EVAL_RO: Command = Command {
    name: "eval_ro",
    since: "7.0.0",
    summary: "Runs a Lua script that may only read.",
    complexity: "Depends on the script",
    syntax: "script:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| eval(cx, args, true),
    ..READS
};

static EVALSHA: Command = Command {
    name: "evalsha",
    since: "2.6.0",
    summary: "Runs a Lua script that the server knows, by its SHA-1.",
    complexity: "Depends on the script",
    syntax: "sha1:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| evalsha(cx, args, false),
    ..WRITES
};

static EVALSHA_RO: Command = Command {
    name: "evalsha_ro",
    since: "7.0.0",
    summary: "Runs a Lua script that the server knows, and that may only read, by its SHA-1.",
    complexity: "Depends on the script",
    syntax: "sha1:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| evalsha(cx, args, true),
    ..READS
};

static FCALL: Command = Command {
    name: "fcall",
    since: "7.0.0",
    summary: "Runs a function of a library.",
    complexity: "Depends on the function",
    syntax: "function:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| fcall(cx, args, false),
    ..WRITES
};

static FCALL_RO: Command = Command {
    name: "fcall_ro",
    since: "7.0.0",
    summary: "Runs a function of a library that may only read.",
    complexity: "Depends on the function",
    syntax: "function:string numkeys:integer [key ...] [arg:string ...]",
    run: |cx, args| fcall(cx, args, true),
    ..READS
};

fn eval(cx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    let key_count = key_count(args, CommandError::NotInteger)?;
    bound_memory(cx);
    let scripts = cx.scripts.as_mut().ok_or(NESTED)?;
    let sha = scripts.eval.load(args.at(1), Origin::Eval).map_err(as_reply)?;
    run(cx, args, Program::Script(sha), key_count, read_only)
}

fn evalsha(cx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    if args.at(1).len() != Sha::DIGITS {
        return Err(UNKNOWN);
    }
    let key_count = key_count(args, CommandError::NotInteger)?;
    let scripts = cx.scripts.as_ref().ok_or(NESTED)?;
    let sha = Sha::parse(args.at(1)).filter(|sha| scripts.eval.script(sha).is_some()).ok_or(UNKNOWN)?;
    run(cx, args, Program::Script(sha), key_count, read_only)
}

fn fcall(cx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    cx.depends_on_functions();
    let scripts = cx.scripts.as_ref().ok_or(NESTED)?;
    let function = scripts.functions.function(args.at(1)).ok_or("ERR Function not found")?;
    let name = Arc::clone(&function.name);
    let key_count = key_count(args, CommandError::new("ERR Bad number of keys provided"))?;
    run(cx, args, Program::Function(name), key_count, read_only)
}

/// Holds Lua to `lua-memory-limit`, before it compiles or runs something. Not while effects are applied: what a library
/// needed where it was loaded, it gets on every node.
fn bound_memory(cx: &mut Context<'_>) {
    let limit = if cx.mode.applying { 0 } else { cx.shared.config.lua_memory_limit };
    if let Some(scripts) = &mut cx.scripts {
        scripts.set_memory_limit(usize::try_from(limit).ok().filter(|limit| *limit > 0));
    }
}

/// The dispatcher keeps scripts out of scripts; this is for whoever changes that.
const NESTED: CommandError = CommandError::new("ERR scripts do not nest");

const UNKNOWN: CommandError = CommandError::new("NOSCRIPT No matching script. Please use EVAL.");

/// How many of the arguments are keys.
fn key_count(args: Args<'_>, not_a_number: CommandError) -> CommandResult<usize> {
    let count = args.int(2).map_err(|_| not_a_number)?;
    if count > (args.len() - 3) as i64 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative".into())
}

fn as_reply(error: ScriptError) -> CommandError {
    match error.counted {
        true => CommandError::Counted(error.message),
        false => CommandError::Bytes(error.message),
    }
}

/// What is to run. It is known.
enum Program {
    Script(Sha),
    Function(Arc<[u8]>),
}

fn run(
    cx: &mut Context<'_>,
    args: Args<'_>,
    program: Program,
    key_count: usize,
    read_only: bool,
) -> CommandResult {
    let (keys, argv) = args.from(3).split_at(key_count);
    let out_of_memory = cx.shared.config.maxmemory > 0 && !crate::eviction::make_room(cx);
    bound_memory(cx);
    let scripts = cx.scripts.take().ok_or(NESTED)?;
    let flags = match &program {
        Program::Script(sha) => scripts.eval.script(sha).map(|script| script.flags),
        Program::Function(name) => scripts.functions.function(name).map(|function| function.flags),
    };
    let limits = match limits(cx, &flags.unwrap_or_default(), read_only, out_of_memory) {
        Ok(limits) => limits,
        Err(error) => {
            cx.scripts = Some(scripts);
            return Err(error);
        }
    };
    // SELECT inside of the script is the script's own.
    let db = cx.client.db;
    let mut reply = ReplyWriter::new(cx.reply.resp);
    std::mem::swap(&mut reply, cx.reply);
    let result = {
        cx.shared.running_script = Some(RunningScript {
            started_us: cx.host.monotonic_us(),
            function: match &program {
                Program::Script(_) => None,
                Program::Function(name) => Some(Arc::clone(name)),
            },
            loaded: scripts.functions.counts(),
            ..RunningScript::default()
        });
        let mut caller = Caller { cx, limits, writer: ReplyWriter::default() };
        match &program {
            Program::Script(sha) => scripts.eval.run(sha, keys, argv, &mut caller, &mut reply),
            Program::Function(name) => scripts.functions.call(name, keys, argv, &mut caller, &mut reply),
        }
    };
    cx.shared.running_script = None;
    std::mem::swap(&mut reply, cx.reply);
    cx.client.db = db;
    cx.keys.select(db);
    cx.scripts = Some(scripts);
    result.map_err(as_reply)
}

/// The flags of a command that runs a script: what the script declares counts, where it declares anything.
/// (`getCommandFlags` of Redis's server.c)
pub(crate) fn effective_flags(cx: &Context<'_>, flags: Flags) -> Flags {
    // SCRIPT and FUNCTION find no keys.
    if cx.command.spec.group != Group::Scripting || !flags.has(Flag::MovableKeys) {
        return flags;
    }
    let scripts = cx.scripts.as_ref();
    let declared = match cx.command.spec.name {
        "eval" | "eval_ro" => ScriptFlags::of_source(cx.args.at(1)),
        "fcall" | "fcall_ro" => scripts
            .and_then(|scripts| scripts.functions.function(cx.args.at(1)))
            .map(|function| function.flags),
        _ => {
            let script = Sha::parse(cx.args.at(1)).and_then(|sha| scripts?.eval.script(&sha));
            script.map(|script| script.flags)
        }
    };
    let Some(declared) = declared.filter(|flags| flags.declared) else { return flags };
    flags
        .with(Flag::MayReplicate, false)
        .with(Flag::Write, !declared.no_writes)
        .with(Flag::DenyOom, !(declared.no_writes || declared.allow_oom))
        .with(Flag::Stale, declared.allow_stale)
}

/// What a running script may not do.
#[derive(Clone, Copy)]
struct Limits {
    read_only: bool,
    /// Memory was full when it started: commands that need more are refused until it has written.
    out_of_memory: bool,
}

/// Checks the flags that the script declares against the state of the server.
fn limits(
    cx: &Context<'_>,
    flags: &ScriptFlags,
    read_only: bool,
    out_of_memory: bool,
) -> CommandResult<Limits> {
    if !flags.declared {
        return Ok(Limits { read_only, out_of_memory });
    }
    // To clients that see no cluster it is none.
    if flags.no_cluster && cx.host.cluster().is_some_and(|view| view.redirect) {
        return Err("ERR Can not run script on cluster, 'no-cluster' flag is set.".into());
    }
    if !flags.no_writes {
        if !cx.shared.unit_writes {
            return Err("READONLY Can not run script with write flag on readonly replica".into());
        }
        if let Some(refusal) = &cx.shared.write_refusal {
            return Err(refusal.clone());
        }
        if read_only {
            return Err("ERR Can not execute a script with write flag using *_ro command.".into());
        }
        if cx.shared.following.is_none() {
            crate::commands::server::check_replicas(cx.shared, cx.host)?;
        }
    }
    if out_of_memory && !flags.allow_oom && !flags.no_writes {
        return Err(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
                .into(),
        );
    }
    Ok(Limits { read_only: read_only || flags.no_writes, out_of_memory: out_of_memory && !flags.allow_oom })
}

/// The server as a script sees it.
struct Caller<'c, 'a> {
    cx: &'c mut Context<'a>,
    limits: Limits,
    /// Where each command's reply is made.
    writer: ReplyWriter,
}

impl Caller<'_, '_> {
    fn execute(&mut self, args: Args<'_>) -> CommandResult {
        let command =
            table().resolve(args).ok_or(CommandError::new("ERR Unknown Redis command called from script"))?;
        if let Err(refusal) = self.admit(command, args) {
            self.cx.shared.stats.by_command[command.index].rejected += 1;
            return Err(refusal);
        }
        let mode = Mode { in_script: true, ..self.cx.mode };
        let cx = &mut *self.cx;
        crate::dispatch::call(&mut Context {
            client: cx.client,
            keys: cx.keys,
            reply: &mut self.writer,
            shared: cx.shared,
            scripts: None,
            host: cx.host,
            command,
            args,
            mode,
        })
    }

    /// May the script call this?
    fn admit(&mut self, command: &'static Entry, args: Args<'_>) -> CommandResult {
        if !command.arity_fits(args.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if command.flags.has(Flag::NoScript) && !self.cx.shared.scripts_may_all {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        if let Err(denial) = self.cx.check_permissions_for(command, args, Setting::Lua) {
            let text = denial.text(self.cx.client.login.name(), command, args.as_slice(), false);
            return Err(CommandError::Bytes([b"ERR ACL failure in script: ", &*text].concat()));
        }
        if !command.flags.has(Flag::Stale) && !self.cx.client.primary && self.cx.shared.is_stale() {
            return Err("ERR Can not execute the command on a stale replica".into());
        }
        let writes = command.flags.has(Flag::Write);
        // What others may hear of counts as a write: a read-only script runs even where writes are paused.
        if self.limits.read_only && command.flags.has_any(Flag::Write, Flag::MayReplicate) {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        if writes {
            if let Some(refusal) = &self.cx.shared.write_refusal {
                return Err(refusal.clone());
            }
            crate::commands::server::check_replicas(self.cx.shared, self.cx.host)?;
        }
        let running = self.cx.shared.running_script.as_mut().expect("set for as long as it runs");
        if self.limits.out_of_memory && !running.wrote && command.flags.has(Flag::DenyOom) {
            return Err(CommandError::OutOfMemory);
        }
        running.wrote |= writes;
        Ok(())
    }
}

impl ScriptHost for Caller<'_, '_> {
    fn call(&mut self, args: CommandArgs<'_>, resp: Resp, reply: &mut Vec<u8>) {
        self.writer.resp = resp;
        self.writer.out.clear();
        if let Err(error) = self.execute(Args::new(args)) {
            self.writer.out.clear();
            let text = error.text();
            crate::dispatch::count_error(self.cx, &text);
            self.writer.error(&*text);
        }
        reply.extend_from_slice(self.writer.out.contiguous());
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(self.cx.host, level, message);
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        if !busy::interrupted(self.cx) {
            return None;
        }
        let is_function =
            self.cx.shared.running_script.as_ref().is_some_and(|running| running.function.is_some());
        Some(match is_function {
            true => "Script killed by user with FUNCTION KILL...",
            false => "Script killed by user with SCRIPT KILL...",
        })
    }

    fn acl_check(&mut self, args: CommandArgs<'_>) -> Option<bool> {
        let args = Args::new(args);
        let command = table().resolve(args)?;
        let user = self.cx.shared.acl.user(&self.cx.client.login);
        Some(user.is_some_and(|user| user.check(command, args).is_ok()))
    }
}

/// `redis.log`.
fn log(host: &dyn Host, level: LogLevel, message: &[u8]) {
    let level = match level {
        LogLevel::Debug => host::LogLevel::Debug,
        LogLevel::Verbose => host::LogLevel::Verbose,
        LogLevel::Notice => host::LogLevel::Notice,
        LogLevel::Warning => host::LogLevel::Warning,
    };
    host.log(level, &String::from_utf8_lossy(message));
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::config::Config;
    use crate::testing::TestEngine;

    /// The figure after `name` in a section of INFO.
    fn figure(server: &mut TestEngine, section: &str, name: &str) -> String {
        let a = server.connect(Resp::V2);
        let text = server.run(a, &format!("INFO {section}"));
        let line = text.lines().find(|line| line.starts_with(name));
        line.map(|line| line[name.len()..].to_owned()).unwrap_or_default()
    }

    #[test]
    fn an_error_is_counted_once_whether_a_script_raises_or_returns_it() {
        let scripts: [(&[u8], &str); 6] = [
            (b"return redis.call('SELECT', 99)", "errorstat_ERR:"),
            (b"return redis.pcall('SELECT', 99)", "errorstat_ERR:"),
            (b"return redis.error_reply('MINE is this')", "errorstat_MINE:"),
            (b"return redis.call('SUBSCRIBE', 'c')", "errorstat_ERR:"),
            (b"error('no')", "errorstat_ERR:"),
            (b"return nosuch", "errorstat_ERR:"),
        ];
        for (script, name) in scripts {
            let shown = String::from_utf8_lossy(script);
            let mut server = TestEngine::new();
            let a = server.connect(Resp::V2);
            assert!(server.send(a, &[b"EVAL", script, b"0"]).starts_with(b"-"), "{shown}");
            assert_eq!(figure(&mut server, "errorstats", name), "count=1", "{shown}");
            assert_eq!(figure(&mut server, "stats", "total_error_replies:"), "1", "{shown}");
            let eval = figure(&mut server, "commandstats", "cmdstat_eval:");
            assert!(eval.ends_with("rejected_calls=0,failed_calls=1"), "{shown}: {eval}");
        }
    }

    #[test]
    fn a_command_refused_to_a_script_counts_as_rejected() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.send(a, &[b"EVAL_RO", b"return redis.pcall('SET', 'k', 'v')['err']", b"0"]);
        let set = figure(&mut server, "commandstats", "cmdstat_set:");
        assert!(set.starts_with("calls=0,") && set.ends_with("rejected_calls=1,failed_calls=0"), "{set}");
    }

    #[test]
    fn time_stands_still_in_a_script() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let script = b"local a = redis.call('TIME') redis.call('GET', 'k') local b = redis.call('TIME') \
                       return {a[1] == b[1], a[2] == b[2]}";
        assert_eq!(server.send(a, &[b"EVAL", script, b"0"]), b"*2\r\n:1\r\n:1\r\n");
    }

    #[test]
    fn scripts_may_be_allowed_everything_for_tests() {
        let mut server = TestEngine::new();
        server.engine.shared.config.enable_debug_command = crate::config::ProtectedAction::Yes;
        let a = server.connect(Resp::V2);
        let script = b"return redis.pcall('DEBUG', 'PROTOCOL', 'integer')";
        assert!(
            server.send(a, &[b"EVAL", script, b"0"]).starts_with(b"-ERR This Redis command is not allowed")
        );
        server.run(a, "DEBUG SET-DISABLE-DENY-SCRIPTS 1");
        assert_eq!(server.send(a, &[b"EVAL", script, b"0"]), b":12345\r\n");
        server.run(a, "DEBUG SET-DISABLE-DENY-SCRIPTS 0");
        assert!(
            server.send(a, &[b"EVAL", script, b"0"]).starts_with(b"-ERR This Redis command is not allowed")
        );
    }

    #[test]
    fn a_script_that_needs_too_much_memory_fails_and_what_it_did_before_stays() {
        let config = Config { lua_memory_limit: 64 << 20, ..Config::default() };
        let mut server = TestEngine::with_config(config, 1);
        let client = server.connect(Resp::V2);
        // Different strings: equal ones are one to Lua.
        let script = b"redis.call('SET', 'k', 'v') local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end";
        let told = server.send(client, &[b"EVAL", script, b"0"]);
        assert!(told.starts_with(b"-OOM "), "{}", told.escape_ascii());
        assert_eq!(figure(&mut server, "memory", "lua_memory_limit:"), (64 << 20).to_string());
        let used: usize = figure(&mut server, "memory", "used_memory_vm_eval:").parse().unwrap();
        assert!(used < 1 << 20, "{used} bytes are left");
        assert_eq!(server.run(client, "EVAL return(7) 0"), ":7\r\n");
        assert_eq!(server.run(client, "GET k"), "$1\r\nv\r\n");
        let mut replica = server.replica();
        let there = replica.connect(Resp::V2);
        assert_eq!(replica.run(there, "GET k"), "$1\r\nv\r\n");

        // What the limit refuses here is loaded where it was not refused.
        let library = b"#!lua name=l\nlocal t = {} for i = 1, 300000 do t[i] = {i} end\nredis.register_function('f', function() return #t end)";
        server.run(client, "CONFIG SET lua-memory-limit 8mb");
        let refused = server.send(client, &[b"FUNCTION", b"LOAD", library]);
        assert_eq!(
            refused.escape_ascii().to_string(),
            "-ERR Error registering functions: ERR not enough memory\\r\\n"
        );
        server.run(client, "CONFIG SET lua-memory-limit 0");
        assert_eq!(server.send(client, &[b"FUNCTION", b"LOAD", library]), b"$1\r\nl\r\n");
        let mut bounded =
            TestEngine::with_config(Config { lua_memory_limit: 1 << 20, ..Config::default() }, 1);
        for batch in &server.batches {
            bounded.engine.apply(&mut bounded.host, &batch.payload).expect("a batch of our own");
        }
        assert_eq!(bounded.engine.functions().codes(), server.engine.functions().codes());
    }
}
