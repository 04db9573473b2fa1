//! The `redis` table, which is there as `server` too: commands, replies, logging.

use cairn_proto::Resp;

use super::convert::{push_coded_error, push_error, push_reply};
use super::number;
use super::stack::{Entry, NUMBER, Raise, Results, STRING, Stack};
use super::vm::{CommandArgs, Environment, OUTSIDE, Shared};
use super::{REDIS_VERSION, REDIS_VERSION_NUM, Sha};

/// Arguments of a command that are gathered without an allocation.
const ARGS_INLINE: usize = 16;

/// What `redis.set_repl` takes. Cairn logs every effect whatever a script asks for.
const REPL_ALL: i64 = 3;

const WRONG_ARGUMENTS: &str = "wrong number or type of arguments";

/// A table of functions being made, on top of the stack.
#[derive(Clone, Copy)]
pub(super) struct Api {
    pub(super) stack: Stack,
    pub(super) shared: *mut Shared,
    /// The table is called `server`, as in Valkey, and so it is in the functions' errors.
    pub(super) is_server: bool,
}

impl Api {
    /// Adds a function to the table.
    pub(super) fn register<F: Entry>(self, name: &str, function: F) {
        if self.is_server {
            self.stack.push_bool(true);
            self.stack.push_function(self.shared, 1, function);
            self.stack.raw_set_field(name.as_bytes());
        } else {
            self.stack.register(name, self.shared, function);
        }
    }
}

/// Pushes the table `redis`.
pub(super) fn push(stack: Stack, shared: *mut Shared) {
    push_api(Api { stack, shared, is_server: false });
}

/// Pushes the table `server`.
pub(super) fn push_server(stack: Stack, shared: *mut Shared) {
    push_api(Api { stack, shared, is_server: true });
}

fn push_api(api: Api) {
    let Api { stack, shared, .. } = api;
    stack.new_table();
    api.register("call", |s| command(s, true));
    api.register("pcall", |s| command(s, false));
    api.register("error_reply", error_reply);
    api.register("status_reply", status_reply);
    api.register("sha1hex", sha1hex);
    api.register("setresp", setresp);
    api.register("set_repl", set_repl);
    api.register("acl_check_cmd", acl_check_cmd);
    add_log(api);
    add_version(stack);
    // SAFETY: it is being set up, and nobody else uses it.
    if unsafe { (*shared).environment } == Environment::Scripts {
        api.register("replicate_commands", |s| {
            s.push_bool(true);
            Ok(1)
        });
        // Without the debugger of redis-cli --ldb these two do nothing.
        api.register("breakpoint", |s| {
            s.push_bool(false);
            Ok(1)
        });
        api.register("debug", |_| Ok(0));
    }
    for (name, value) in [
        ("REPL_NONE", 0.0),
        ("REPL_AOF", 1.0),
        ("REPL_SLAVE", 2.0),
        ("REPL_REPLICA", 2.0),
        ("REPL_ALL", REPL_ALL as f64),
    ] {
        stack.push_number(value);
        stack.raw_set_field(name.as_bytes());
    }
}

/// Adds `redis.log` and its levels to the table on top.
pub(super) fn add_log(api: Api) {
    let stack = api.stack;
    api.register("log", log);
    for (name, level) in [("LOG_DEBUG", 0.0), ("LOG_VERBOSE", 1.0), ("LOG_NOTICE", 2.0), ("LOG_WARNING", 3.0)]
    {
        stack.push_number(level);
        stack.raw_set_field(name.as_bytes());
    }
}

/// Adds the version to the table on top.
pub(super) fn add_version(stack: Stack) {
    stack.push_bytes(REDIS_VERSION.as_bytes());
    stack.raw_set_field(b"REDIS_VERSION");
    stack.push_number(f64::from(REDIS_VERSION_NUM));
    stack.raw_set_field(b"REDIS_VERSION_NUM");
}

/// An error in the use of these functions, as a table like those of failed commands.
pub(super) fn fail(stack: Stack, message: &'static str) -> Raise {
    stack.set_top(0);
    match message.split_once("redis.") {
        Some((before, after)) if stack.boolean(Stack::upvalue(2)) => {
            let text = stack.scratch();
            for part in [before, "server.", after] {
                text.extend_from_slice(part.as_bytes());
            }
            push_error(stack, text);
        }
        _ => push_error(stack, message.as_bytes()),
    }
    Raise::Top
}

/// Calls `f` with the arguments of a command: strings as they are, numbers as text. The arguments stay on the stack
/// meanwhile; nothing here may raise an error of Lua's own, for `f` and the argument list are Rust values.
fn with_args<R>(stack: Stack, f: impl FnOnce(&mut Shared, CommandArgs<'_>) -> R) -> Result<R, &'static str> {
    let count = stack.top();
    if count == 0 {
        return Err("Please specify at least one argument for this redis lib call");
    }
    // SAFETY: set for as long as the interpreter lives, and not borrowed by anyone else while a script runs.
    let shared = unsafe { &mut *stack.shared() };
    let mut numbers = std::mem::take(&mut shared.numbers);
    numbers.clear();
    let mut ends = [0usize; ARGS_INLINE];
    let mut more_ends = Vec::new();
    for index in 1..=count {
        match stack.type_of(index) {
            NUMBER => number::append_argument(&mut numbers, stack.number(index)),
            STRING => {}
            _ => {
                shared.numbers = numbers;
                return Err("Lua redis lib command arguments must be strings or integers");
            }
        }
        match ends.get_mut(index as usize - 1) {
            Some(end) => *end = numbers.len(),
            None => more_ends.push(numbers.len()),
        }
    }
    let mut start = 0;
    let mut arg = |index: usize| {
        let end = ends.get(index).copied().unwrap_or_else(|| more_ends[index - ARGS_INLINE]);
        let text = &numbers[std::mem::replace(&mut start, end)..end];
        let index = index as i32 + 1;
        if stack.type_of(index) == NUMBER { text } else { stack.bytes(index).expect("a string") }
    };
    let count = count as usize;
    let result = if count <= ARGS_INLINE {
        let mut args = [&[][..]; ARGS_INLINE];
        for (index, place) in args[..count].iter_mut().enumerate() {
            *place = arg(index);
        }
        f(shared, &args[..count])
    } else {
        let args: Vec<&[u8]> = (0..count).map(arg).collect();
        f(shared, &args)
    };
    shared.numbers = numbers;
    Ok(result)
}

/// What Valkey says in place of this error, to those who call the table `server` as it does.
fn valkeys_words(error: &[u8]) -> Option<&'static str> {
    Some(match error {
        b"Please specify at least one argument for this redis lib call" => {
            "Please specify at least one argument for this call"
        }
        b"Lua redis lib command arguments must be strings or integers" => {
            "Command arguments must be strings or integers"
        }
        b"Unknown Redis command called from script" => "Unknown command called from script",
        b"Wrong number of args calling Redis command from script" => {
            "Wrong number of args calling command from script"
        }
        _ => return None,
    })
}

fn command(stack: Stack, raise: bool) -> Results {
    let called = with_args(stack, |shared, args| {
        shared.reply.clear();
        let resp = shared.resp;
        // SAFETY: the host of the run that is going on; see `Vm::run`.
        match shared.host.map(|mut host| unsafe { host.as_mut() }) {
            Some(host) => host.call(args, resp, &mut shared.reply),
            None => shared.reply.extend_from_slice(OUTSIDE),
        }
    });
    stack.set_top(0);
    let is_server = stack.boolean(Stack::upvalue(2));
    let failed = match called {
        Ok(()) => {
            // SAFETY: as in `with_args`; pushing the reply does not come back here.
            let reply = unsafe { &(*stack.shared()).reply };
            let error = reply.strip_prefix(b"-ERR ").and_then(|text| text.strip_suffix(b"\r\n"));
            match error.filter(|_| is_server).and_then(valkeys_words) {
                Some(words) => {
                    push_error(stack, words.as_bytes());
                    stack.push_bool(true);
                    stack.raw_set_field(b"ignore_error_stats_update");
                    true
                }
                None => push_reply(stack, reply)?,
            }
        }
        Err(message) => {
            let words = if is_server { valkeys_words(message.as_bytes()) } else { None };
            push_error(stack, words.unwrap_or(message).as_bytes());
            true
        }
    };
    if failed && raise { Err(Raise::Top) } else { Ok(1) }
}

fn acl_check_cmd(stack: Stack) -> Results {
    let checked = with_args(stack, |shared, args| {
        // SAFETY: as in `command`.
        shared.host.and_then(|mut host| unsafe { host.as_mut() }.acl_check(args))
    });
    match checked {
        Ok(Some(allowed)) => {
            stack.set_top(0);
            stack.push_bool(allowed);
            Ok(1)
        }
        Ok(None) => Err(fail(stack, "Invalid command passed to redis.acl_check_cmd()")),
        Err(message) => Err(fail(stack, message)),
    }
}

fn one_string(stack: Stack) -> bool {
    stack.top() == 1 && stack.type_of(1) == STRING
}

fn error_reply(stack: Stack) -> Results {
    if one_string(stack) {
        let text = stack.bytes(1).expect("a string");
        push_coded_error(stack, text.strip_prefix(b"-").unwrap_or(text));
    } else {
        push_error(stack, WRONG_ARGUMENTS.as_bytes());
    }
    Ok(1)
}

fn status_reply(stack: Stack) -> Results {
    if !one_string(stack) {
        push_error(stack, WRONG_ARGUMENTS.as_bytes());
        return Ok(1);
    }
    stack.new_table();
    stack.push_copy(1);
    stack.raw_set_field(b"ok");
    Ok(1)
}

fn sha1hex(stack: Stack) -> Results {
    if stack.top() != 1 {
        return Err(fail(stack, "wrong number of arguments"));
    }
    let hex = Sha::of(stack.check_bytes(1)?).hex();
    stack.push_bytes(&hex);
    Ok(1)
}

fn log(stack: Stack) -> Results {
    let count = stack.top();
    if count < 2 {
        return Err(fail(stack, "redis.log() requires two arguments or more."));
    }
    if !stack.is_numeric(1) {
        return Err(fail(stack, "First argument must be a number (log level)."));
    }
    let level = match stack.integer(1) {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return Err(fail(stack, "Invalid debug level.")),
    };
    let text = stack.scratch();
    for index in 2..=count {
        if let Some(part) = stack.bytes(index) {
            if index > 2 {
                text.push(b' ');
            }
            text.extend_from_slice(part);
        }
    }
    // SAFETY: as in `command`.
    if let Some(host) = unsafe { (*stack.shared()).host.as_mut().map(|host| host.as_mut()) } {
        host.log(level, text);
    }
    Ok(0)
}

/// The levels of `redis.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

fn setresp(stack: Stack) -> Results {
    if stack.top() != 1 {
        return Err(fail(stack, "redis.setresp() requires one argument."));
    }
    let resp = match stack.integer(1) {
        2 => Resp::V2,
        3 => Resp::V3,
        _ => return Err(fail(stack, "RESP version must be 2 or 3.")),
    };
    // SAFETY: as in `with_args`.
    unsafe { (*stack.shared()).resp = resp };
    Ok(0)
}

fn set_repl(stack: Stack) -> Results {
    if stack.top() != 1 {
        return Err(fail(stack, "redis.set_repl() requires one argument."));
    }
    if stack.integer(1) & !REPL_ALL != 0 {
        return Err(fail(
            stack,
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    Ok(0)
}
