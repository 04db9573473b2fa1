//! FUNCTION: libraries of functions.
//!
//! Libraries are data, like keys: what changes them is an effect, and they are in snapshots.

use cairn_proto::Resp;

use super::{NESTED, as_reply, bound_memory, log};
use crate::args::Args;
use crate::busy;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::commands::help;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::glob;
use crate::host::Host;
use crate::rdb;
use crate::scripting::{
    CommandArgs, ENGINE, Library, LogLevel, OUTSIDE, RestorePolicy, ScriptError, ScriptHost,
};

/// What a library may take to load, in milliseconds.
const LOAD_MS_MAX: u64 = 500;

pub(super) static FUNCTION: Command = Command {
    name: "function",
    arity: -2,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Loads, lists and forgets libraries of functions.",
    complexity: "Depends on the subcommand",
    subcommands: &[&DELETE, &DUMP, &FLUSH, &HELP, &KILL, &LIST, &LOAD, &RESTORE, &STATS],
    ..COMMAND
};

static LOAD: Command = Command {
    name: "load",
    arity: -3,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::Write, Flag::DenyOom],
    summary: "Loads a library.",
    complexity: "O(1), and what it takes to compile the library",
    syntax: "[REPLACE] function-code:string",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: load,
    ..COMMAND
};

fn load(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.depends_on_functions();
    let (code, options) = args.from(2).split_last().expect("three arguments at least");
    if let Some(option) = options.iter().find(|option| !option.eq_ignore_ascii_case(b"replace")) {
        return Err(CommandError::Bytes([b"ERR Unknown option given: ", printed(option)].concat()));
    }
    bound_memory(cx);
    let mut loading = Loading::new(&*cx.host, cx.mode.applying);
    let scripts = cx.scripts.as_mut().ok_or(NESTED)?;
    let name = scripts.functions.load(code, !options.is_empty(), &mut loading).map_err(as_reply)?;
    cx.functions_changed();
    cx.reply.bulk(&name);
    Ok(())
}

/// The server as a library sees it while it is loaded: it can log.
struct Loading<'h> {
    host: &'h dyn Host,
    /// On the host's monotonic clock. None: what has been loaded once is loaded, however long it takes.
    deadline_us: Option<u64>,
}

impl<'h> Loading<'h> {
    fn new(host: &'h dyn Host, applying: bool) -> Self {
        let deadline_us = (!applying).then(|| host.monotonic_us() + LOAD_MS_MAX * 1000);
        Self { host, deadline_us }
    }
}

impl ScriptHost for Loading<'_> {
    fn call(&mut self, _: CommandArgs<'_>, _: Resp, reply: &mut Vec<u8>) {
        reply.extend_from_slice(OUTSIDE);
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(self.host, level, message);
    }

    fn interrupted(&mut self) -> Option<&'static str> {
        let late = self.deadline_us.is_some_and(|deadline_us| self.host.monotonic_us() > deadline_us);
        late.then_some("FUNCTION LOAD timeout")
    }
}

static DELETE: Command = Command {
    name: "delete",
    arity: 3,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::Write],
    summary: "Forgets a library and its functions.",
    syntax: "library-name:string",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: delete,
    ..COMMAND
};

fn delete(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    cx.depends_on_functions();
    if !cx.scripts.as_mut().ok_or(NESTED)?.functions.delete(args.at(2)) {
        return Err("ERR Library not found".into());
    }
    cx.functions_changed();
    cx.reply.ok();
    Ok(())
}

static FLUSH: Command = Command {
    name: "flush",
    arity: -2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::Write],
    summary: "Forgets all libraries.",
    complexity: "O(N) with N the number of functions",
    syntax: "[ASYNC | SYNC]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: flush,
    ..COMMAND
};

fn flush(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    if args.len() == 3 && !args.is(2, "SYNC") && !args.is(2, "ASYNC") {
        return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into());
    }
    cx.depends_on_functions();
    if cx.scripts.as_mut().ok_or(NESTED)?.functions.clear() {
        cx.functions_changed();
    }
    cx.reply.ok();
    Ok(())
}

fn subcommand_syntax(args: Args<'_>) -> CommandError {
    let text = [
        b"ERR unknown subcommand or wrong number of arguments for '".as_slice(),
        printed(args.at(1)),
        b"'. Try FUNCTION HELP.",
    ];
    CommandError::Bytes(text.concat())
}

static LIST: Command = Command {
    name: "list",
    arity: -2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript],
    summary: "Says which libraries there are, and which functions they have.",
    complexity: "O(N) with N the number of functions",
    syntax: "[LIBRARYNAME library-name-pattern:string] [WITHCODE]",
    tips: &["nondeterministic_output_order"],
    run: list,
    ..COMMAND
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut with_code = false;
    let mut pattern = None;
    let mut options = args.from(2).iter();
    while let Some(option) = options.next() {
        if !with_code && option.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && option.eq_ignore_ascii_case(b"libraryname") {
            pattern = Some(*options.next().ok_or("ERR library name argument was not given")?);
        } else {
            return Err(CommandError::Bytes([b"ERR Unknown argument ", printed(option)].concat()));
        }
    }
    cx.depends_on_functions();
    let functions = &cx.scripts.as_ref().ok_or(NESTED)?.functions;
    let is_meant = |library: &&Library| pattern.is_none_or(|p| glob::matches(p, &library.name, true));
    let libraries: Vec<&Library> = functions.libraries().filter(is_meant).collect();
    let reply = &mut *cx.reply;
    reply.array(libraries.len());
    for library in libraries {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(&library.name);
        reply.bulk(b"engine");
        reply.bulk(ENGINE.as_bytes());
        reply.bulk(b"functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&function.name);
            reply.bulk(b"description");
            match &function.description {
                Some(description) => reply.bulk(description),
                None => reply.null(),
            }
            reply.bulk(b"flags");
            let flags = function.flags.names();
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(*flag));
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

static STATS: Command = Command {
    name: "stats",
    arity: 2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::AllowBusy],
    summary: "Says which function runs, and how many there are.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: stats,
    ..COMMAND
};

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    let running = cx.shared.running_script.as_ref();
    if running.is_some_and(|running| running.function.is_none()) {
        return Err(busy::refusal(cx.shared));
    }
    let counts = match (running, &cx.scripts) {
        (Some(running), _) => running.loaded,
        (None, Some(scripts)) => scripts.functions.counts(),
        (None, None) => return Err(NESTED),
    };
    let reply = &mut *cx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running.and_then(|running| Some((running, running.function.as_ref()?))) {
        Some((running, name)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(name);
            reply.bulk(b"command");
            reply.array(running.command.len());
            running.command.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(b"duration_ms");
            reply.int((cx.host.monotonic_us().saturating_sub(running.started_us) / 1000) as i64);
        }
        None => reply.null(),
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(ENGINE.as_bytes());
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(counts.libraries as i64);
    reply.bulk(b"functions_count");
    reply.int(counts.functions as i64);
    cx.depends_on_functions();
    Ok(())
}

static KILL: Command = Command {
    name: "kill",
    arity: 2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::AllowBusy],
    summary: "Ends the running function.",
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: |cx, _| {
        busy::kill(cx.shared, true)?;
        cx.reply.ok();
        Ok(())
    },
    ..COMMAND
};

static DUMP: Command = Command {
    name: "dump",
    arity: 2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript],
    summary: "Returns all libraries in a form for FUNCTION RESTORE.",
    complexity: "O(N) with N the number of functions",
    run: dump,
    ..COMMAND
};

fn dump(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    cx.depends_on_functions();
    let codes = cx.scripts.as_ref().ok_or(NESTED)?.functions.codes();
    cx.reply.bulk_shared(rdb::dump_libraries(&codes).into());
    Ok(())
}

static RESTORE: Command = Command {
    name: "restore",
    arity: -3,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::NoScript, Flag::Write, Flag::DenyOom],
    summary: "Loads the libraries that FUNCTION DUMP has returned.",
    complexity: "O(N) with N the number of functions",
    syntax: "serialized-value:string [FLUSH | APPEND | REPLACE]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: restore,
    ..COMMAND
};

fn restore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 4 {
        return Err(subcommand_syntax(args));
    }
    let policy = match args.get(3) {
        None => RestorePolicy::default(),
        Some(_) if args.is(3, "APPEND") => RestorePolicy::Append,
        Some(_) if args.is(3, "REPLACE") => RestorePolicy::Replace,
        Some(_) if args.is(3, "FLUSH") => RestorePolicy::Flush,
        Some(_) => {
            return Err(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.".into()
            );
        }
    };
    cx.depends_on_functions();
    bound_memory(cx);
    let mut loading = Loading::new(&*cx.host, true);
    let functions = &mut cx.scripts.as_mut().ok_or(NESTED)?.functions;
    functions
        .restore(policy, &mut loading, |load| rdb::read_libraries(args.at(2), load))
        .map_err(as_reply)?;
    cx.functions_changed();
    cx.reply.ok();
    Ok(())
}

impl From<rdb::LibrariesError> for ScriptError {
    fn from(error: rdb::LibrariesError) -> Self {
        Self { message: format!("ERR {error}").into_bytes(), counted: false }
    }
}

static HELP: Command = Command {
    name: "help",
    arity: 2,
    group: Group::Scripting,
    since: "7.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Says what FUNCTION can do.",
    run: help::help,
    ..COMMAND
};
