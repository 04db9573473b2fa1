//! One Lua state: compiling, running, and what the server answers meanwhile.

use cairn_proto::{ReplyWriter, Resp};
use mlua::Lua;
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use super::api::LogLevel;
use super::cache::Sha;
use super::convert::{push_error, write_reply};
use super::random::Lrand48;
use super::register::Registered;
use super::sandbox;
use super::stack::{NUMBER, STRING, Stack, TABLE};

/// Instructions of Lua between two looks at [`ScriptHost::interrupted`].
const INTERRUPT_PERIOD: c_int = 100_000;
/// Runs between two steps of garbage collection, and the size of such a step.
const GC_PERIOD: u32 = 50;

/// The reply to a command that is called when no script runs.
pub(crate) const OUTSIDE: &[u8] = b"-ERR redis.call() outside of a script\r\n";

/// The arguments of a command, its name first.
pub type CommandArgs<'a> = &'a [&'a [u8]];

/// What a script needs from the server while it runs.
///
/// A closure `FnMut(CommandArgs, Resp, &mut Vec<u8>)` is a host that only executes commands.
pub trait ScriptHost {
    /// Executes a command and appends its reply to `reply`, in the protocol version that the script has chosen.
    ///
    /// Errors are replies like any other (`-WRONGTYPE …\r\n`); those of Redis for what scripts may not do are
    /// `Unknown Redis command called from script`, `Wrong number of args calling Redis command from script`,
    /// `This Redis command is not allowed from script` and `Write commands are not allowed from read-only
    /// scripts.`, each after `-ERR `.
    fn call(&mut self, args: CommandArgs<'_>, resp: Resp, reply: &mut Vec<u8>);

    /// `redis.log`.
    fn log(&mut self, _level: LogLevel, _message: &[u8]) {}

    /// `redis.acl_check_cmd`: whether the user may run this, None if there is no such command.
    fn acl_check(&mut self, _args: CommandArgs<'_>) -> Option<bool> {
        Some(true)
    }

    /// Asked every 100,000 instructions: a text ends the script with this error, whatever it catches.
    fn interrupted(&mut self) -> Option<&'static str> {
        None
    }
}

impl<F: FnMut(CommandArgs<'_>, Resp, &mut Vec<u8>)> ScriptHost for F {
    fn call(&mut self, args: CommandArgs<'_>, resp: Resp, reply: &mut Vec<u8>) {
        self(args, resp, reply);
    }
}

/// Why there is no reply of a script: the reply is this error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The text of the error reply, its code included.
    pub message: Vec<u8>,
    /// The error is that of a command, which the error statistics have counted already.
    pub counted: bool,
}

impl ScriptError {
    pub(super) fn new(message: impl Into<Vec<u8>>) -> ScriptError {
        ScriptError { message: message.into(), counted: false }
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message))
    }
}

impl std::error::Error for ScriptError {}

/// What the C functions given to scripts work with. They reach it by a pointer in an upvalue.
pub(super) struct Shared {
    /// Set during a run.
    pub(super) host: Option<NonNull<dyn ScriptHost>>,
    /// What the script has chosen with `redis.setresp`.
    pub(super) resp: Resp,
    pub(super) random: Lrand48,
    /// The texts of a command's numbers.
    pub(super) numbers: Vec<u8>,
    /// A command's reply.
    pub(super) reply: Vec<u8>,
    /// See [`Stack::scratch`].
    pub(super) scratch: Vec<u8>,
    pub(super) environment: Environment,
    /// The functions of the library that is being loaded.
    pub(super) registering: Option<Vec<Registered>>,
    /// References in the registry: the table with the real globals, the message handler.
    pub(super) globals: c_int,
    pub(super) error_handler: c_int,
    /// Of functions only: the real globals while a library is loaded, and the metatable of the proxy that shows the one
    /// table of globals or the other.
    pub(super) load_globals: c_int,
    pub(super) proxy_metatable: c_int,
}

/// Buffers that have grown past this many bytes are given back after the run.
const BUFFER_KEPT_MAX: usize = 64 * 1024;

impl Shared {
    fn new(environment: Environment) -> Shared {
        Shared {
            host: None,
            resp: Resp::V2,
            random: Lrand48::default(),
            numbers: Vec::new(),
            reply: Vec::new(),
            scratch: Vec::new(),
            environment,
            registering: None,
            globals: ffi::LUA_NOREF,
            error_handler: ffi::LUA_NOREF,
            load_globals: ffi::LUA_NOREF,
            proxy_metatable: ffi::LUA_NOREF,
        }
    }
}

/// What a state is for: what its code can see differs a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    /// EVAL: `KEYS` and `ARGV` are globals.
    Scripts,
    /// FCALL: keys and arguments are arguments; libraries are loaded under globals of their own.
    Functions,
}

/// What runs, as error texts name it.
#[derive(Clone, Copy)]
pub(super) enum Program<'a> {
    Script(&'a Sha),
    Function(&'a [u8]),
}

impl Program<'_> {
    fn append_name(self, text: &mut Vec<u8>) {
        match self {
            Self::Script(sha) => text.extend_from_slice(&sha.hex()),
            Self::Function(name) => text.extend_from_slice(name),
        }
    }
}

/// A Lua state in the sandbox. Compiled functions are references into its registry, which the owner gives back with
/// [`Vm::release`].
pub(super) struct Vm {
    lua: Lua,
    state: *mut lua_State,
    /// Owned; a raw pointer because the Lua functions hold copies of it. Freed after `lua`.
    shared: *mut Shared,
    runs: u32,
    memory_limit: Option<usize>,
    /// Bytes that were in use after the last full collection of garbage.
    in_use: usize,
}

impl Vm {
    pub(super) fn new(environment: Environment) -> Result<Vm, ScriptError> {
        let shared = Box::into_raw(Box::new(Shared::new(environment)));
        match sandbox::new_lua(shared) {
            Ok(lua) => {
                let state = lua.exec_raw_lua(|raw| raw.state());
                Ok(Vm { lua, state, shared, runs: 0, memory_limit: None, in_use: 0 })
            }
            Err(error) => {
                // SAFETY: made just above, and the Lua state that knew it is gone.
                drop(unsafe { Box::from_raw(shared) });
                Err(ScriptError::new(format!("ERR creating the Lua interpreter: {error}")))
            }
        }
    }

    /// Bounds what Lua may have allocated, in bytes: code that needs more fails with "not enough memory" (Redis has no such
    /// limit).
    pub(super) fn set_memory_limit(&mut self, limit: Option<usize>) {
        if limit != self.memory_limit {
            self.allow(limit);
            self.memory_limit = limit;
        }
    }

    fn allow(&self, limit: Option<usize>) {
        self.lua.set_memory_limit(limit.unwrap_or(0)).expect("the state was made with mlua's allocator");
    }

    /// Does what must not fail for a lack of memory.
    fn without_limit<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.allow(None);
        let result = f(self);
        self.allow(self.memory_limit);
        result
    }

    /// Compiles a text; `name` is the chunk's. The error is the compiler's message.
    pub(super) fn compile(&mut self, source: &[u8], name: &CStr) -> Result<c_int, Vec<u8>> {
        let mut compile = Compile { source, name, outcome: Err(b"not compiled".to_vec()) };
        self.protected(Compile::body, &mut compile).map_err(Failure::message)?;
        compile.outcome
    }

    /// Forgets a compiled function.
    pub(super) fn release(&mut self, function: c_int) {
        // SAFETY: the state is live; freeing a reference allocates nothing and cannot fail.
        unsafe { ffi::luaL_unref(self.state, ffi::LUA_REGISTRYINDEX, function) };
    }

    /// Bytes that Lua has allocated.
    pub(super) fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Runs a compiled function and writes what it returns to `reply`; nothing is written if it fails.
    pub(super) fn run<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &mut self,
        program: Program<'_>,
        function: c_int,
        keys: &[K],
        args: &[A],
        host: &mut dyn ScriptHost,
        reply: &mut ReplyWriter,
    ) -> Result<(), ScriptError> {
        let shared = self.before_run(host);
        let (globals, handler) = (shared.globals, shared.error_handler);
        let start = reply.out.end();
        let mut run = Run {
            shared: self.shared,
            globals,
            handler,
            function,
            program,
            keys,
            args,
            reply,
            outcome: Ok(()),
        };
        let ran = self.protected(Run::<K, A>::body, &mut run);
        let outcome = run.outcome;
        self.after_run();
        if let Err(error) = ran {
            // Lua ran out of memory, perhaps with half of the reply written.
            reply.out.truncate(start);
            return Err(match error {
                Failure::Memory => out_of_memory(program),
                Failure::Other(message) => running_error(program, &message),
            });
        }
        outcome
    }

    /// Runs the body of a library, which can do no more than register functions. On failure, with the message, nothing
    /// stays registered.
    pub(super) fn register(
        &mut self,
        body: c_int,
        host: &mut dyn ScriptHost,
    ) -> Result<Vec<Registered>, Vec<u8>> {
        self.before_run(host).registering = Some(Vec::new());
        let mut load = Load { shared: self.shared, body, outcome: Ok(()) };
        let ran = self.protected(Load::body, &mut load).map_err(Failure::message);
        let outcome = ran.and(load.outcome);
        let shared = self.shared_mut();
        self.without_limit(|vm| vm.protected(sandbox::show_run_globals, shared))
            .expect("keys that are there are assigned");
        let registered = shared.registering.take().unwrap_or_default();
        self.after_run();
        match outcome {
            Ok(()) => Ok(registered),
            Err(message) => {
                registered.iter().for_each(|function| self.release(function.callback));
                Err(message)
            }
        }
    }

    fn shared_mut<'a>(&mut self) -> &'a mut Shared {
        // SAFETY: no code of this state runs, so nobody else uses it.
        unsafe { &mut *self.shared }
    }

    fn before_run<'a>(&mut self, host: &mut dyn ScriptHost) -> &'a mut Shared {
        // SAFETY: only the lifetime is erased. The pointer is only used while a script runs; `after_run` resets it, and
        // should a panic leave it behind, the next run replaces it. `host` is not used otherwise meanwhile.
        let host = unsafe { std::mem::transmute::<&mut dyn ScriptHost, NonNull<dyn ScriptHost>>(host) };
        let shared = self.shared_mut();
        shared.host = Some(host);
        shared.resp = Resp::V2;
        shared
    }

    fn after_run(&mut self) {
        // SAFETY: no script runs any more; the hook is a plain field of the state.
        let shared = unsafe {
            ffi::lua_sethook(self.state, None, 0, 0);
            &mut *self.shared
        };
        shared.host = None;
        for buffer in [&mut shared.numbers, &mut shared.reply, &mut shared.scratch] {
            if buffer.capacity() > BUFFER_KEPT_MAX {
                *buffer = Vec::new();
            }
        }
        self.collect_garbage();
    }

    fn collect_garbage(&mut self) {
        self.runs += 1;
        if self.is_short_of_memory() {
            self.runs = 0;
            self.collect(ffi::LUA_GCCOLLECT, 0);
            self.in_use = self.used_memory();
        } else if self.runs >= GC_PERIOD {
            self.runs = 0;
            self.collect(ffi::LUA_GCSTEP, GC_PERIOD as c_int);
        }
    }

    /// Lua collects garbage by itself when it has twice of what it had in use, which may be beyond the limit. What a script
    /// has left, and above all one that failed, must not be what the next one fails for.
    fn is_short_of_memory(&self) -> bool {
        self.memory_limit.is_some_and(|limit| {
            let room = limit.saturating_sub(self.in_use);
            self.used_memory() > self.in_use + room / 2
        })
    }

    fn collect(&mut self, what: c_int, size: c_int) {
        // Lua makes a smaller table of strings in place of a large one, and nothing would catch its failure.
        self.without_limit(|vm| {
            // SAFETY: the state is live and idle. No finalizer of a script's can run: `newproxy` is absent.
            unsafe { ffi::lua_gc(vm.state, what, size) };
        });
    }

    /// Calls a C function with a pointer to `data`. The error is Lua's own, such as a lack of memory.
    fn protected<T>(&mut self, body: ffi::lua_CFunction, data: &mut T) -> Result<(), Failure> {
        // SAFETY: the state is live, used by one thread at a time, and idle. The function takes its argument from
        // the pointer, which is valid for the duration of the call.
        unsafe {
            let top = ffi::lua_gettop(self.state);
            let status = ffi::lua_cpcall(self.state, body, std::ptr::from_mut(data).cast());
            if status == ffi::LUA_OK {
                return Ok(());
            }
            let failure = match status {
                ffi::LUA_ERRMEM => Failure::Memory,
                _ => Failure::Other(Stack::new(self.state).bytes(-1).unwrap_or(b"unknown error").to_vec()),
            };
            ffi::lua_settop(self.state, top);
            Err(failure)
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // The functions of the old state may be collected later than this, but none runs again.
        let shared = self.shared;
        // SAFETY: made by Box::into_raw in `new`, freed once; Lua functions only use it when called.
        drop(unsafe { Box::from_raw(shared) });
    }
}

/// Why a protected call has failed.
#[derive(Debug)]
enum Failure {
    /// A lack of memory.
    Memory,
    Other(Vec<u8>),
}

impl Failure {
    fn message(self) -> Vec<u8> {
        match self {
            Self::Memory => b"not enough memory".to_vec(),
            Self::Other(message) => message,
        }
    }
}

/// The error of a program that needs more memory than there is for Lua.
fn out_of_memory(program: Program<'_>) -> ScriptError {
    let mut text = b"OOM Error running script ".to_vec();
    program.append_name(&mut text);
    text.extend_from_slice(b", not enough memory: see lua-memory-limit");
    ScriptError::new(text)
}

/// Redis's error for a failure outside of the script's own code.
fn running_error(program: Program<'_>, message: &[u8]) -> ScriptError {
    const MESSAGE_MAX: usize = 100;
    let mut text = b"ERR Error running script ".to_vec();
    program.append_name(&mut text);
    text.extend_from_slice(b", ");
    text.extend_from_slice(&message[..message.len().min(MESSAGE_MAX)]);
    ScriptError::new(text)
}

struct Compile<'a> {
    source: &'a [u8],
    name: &'a CStr,
    /// The reference of the function.
    outcome: Result<c_int, Vec<u8>>,
}

impl Compile<'_> {
    /// # Safety
    /// Called by [`Vm::protected`] with a `Compile`.
    unsafe extern "C-unwind" fn body(l: *mut lua_State) -> c_int {
        // SAFETY: as said above. The outcome is assigned when no call of Lua follows.
        unsafe {
            let compile: *mut Compile<'_> = ffi::lua_touserdata(l, 1).cast();
            let stack = Stack::new(l);
            stack.push_bytes((*compile).source);
            if sandbox::load_text(l, 2, (*compile).name.as_ptr()) == ffi::LUA_OK {
                let reference = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
                (*compile).outcome = Ok(reference);
            } else {
                (*compile).outcome = Err(stack.bytes(-1).unwrap_or_default().to_vec());
            }
            0
        }
    }
}

struct Load {
    shared: *mut Shared,
    body: c_int,
    outcome: Result<(), Vec<u8>>,
}

impl Load {
    /// # Safety
    /// Called by [`Vm::protected`] with a `Load`.
    unsafe extern "C-unwind" fn body(l: *mut lua_State) -> c_int {
        // SAFETY: as said above. The outcome is assigned when no call of Lua that can fail follows.
        unsafe {
            let load: *mut Load = ffi::lua_touserdata(l, 1).cast();
            let stack = Stack::new(l);
            sandbox::show_globals(l, (*load).shared, (*(*load).shared).load_globals);
            watch(l, (*load).shared);
            stack.set_top(0);
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*load).body as _);
            if ffi::lua_pcall(l, 0, 0, 0) == ffi::LUA_OK {
                return 0;
            }
            // What Rust functions raise is a table, with its code in front already.
            let mut message = Vec::new();
            if stack.type_of(1) == TABLE {
                stack.raw_get_field(1, b"err");
            } else {
                message.extend_from_slice(b"ERR ");
            }
            message.extend_from_slice(stack.bytes(-1).unwrap_or(b"unknown error"));
            (*load).outcome = Err(message);
            0
        }
    }
}

struct Run<'a, K, A> {
    shared: *mut Shared,
    globals: c_int,
    handler: c_int,
    function: c_int,
    program: Program<'a>,
    keys: &'a [K],
    args: &'a [A],
    reply: &'a mut ReplyWriter,
    outcome: Result<(), ScriptError>,
}

impl<K: AsRef<[u8]>, A: AsRef<[u8]>> Run<'_, K, A> {
    /// # Safety
    /// Called by [`Vm::protected`] with a `Run` of the same types.
    unsafe extern "C-unwind" fn body(l: *mut lua_State) -> c_int {
        // SAFETY: as said above. Errors are made of Rust values only when no call of Lua that can fail follows.
        unsafe {
            let run: *mut Self = ffi::lua_touserdata(l, 1).cast();
            let stack = Stack::new(l);
            watch(l, (*run).shared);
            stack.set_top(0);
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*run).handler as _);
            let arguments = match (*run).program {
                Program::Script(_) => {
                    ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*run).globals as _);
                    push_array(stack, (*run).keys);
                    stack.raw_set_field(b"KEYS");
                    push_array(stack, (*run).args);
                    stack.raw_set_field(b"ARGV");
                    stack.pop(1);
                    ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*run).function as _);
                    0
                }
                Program::Function(_) => {
                    ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*run).function as _);
                    push_array(stack, (*run).keys);
                    push_array(stack, (*run).args);
                    2
                }
            };
            let status = ffi::lua_pcall(l, arguments, 1, 1);
            if status == ffi::LUA_ERRMEM {
                (*run).outcome = Err(out_of_memory((*run).program));
                return 0;
            }
            if status == ffi::LUA_OK {
                if let Some(error) = returned_error(stack) {
                    (*run).outcome = Err(error);
                    return 0;
                }
                write_reply(stack, (*(*run).shared).resp, (*run).reply);
                return 0;
            }
            if stack.type_of(2) != TABLE {
                // The error handler failed.
                (*run).outcome =
                    Err(running_error((*run).program, stack.bytes(2).unwrap_or(b"execution failure")));
                return 0;
            }
            ffi::lua_sethook(l, None, 0, 0);
            for name in [c"err", c"source", c"line", c"ignore_error_stats_update"] {
                ffi::lua_getfield(l, 2, name.as_ptr());
            }
            // A number becomes a string here, not later.
            for index in 3..=5 {
                if stack.type_of(index) == NUMBER {
                    ffi::lua_tolstring(l, index, std::ptr::null_mut());
                }
            }
            (*run).outcome = Err(describe(stack, (*run).program));
            0
        }
    }
}

/// The error that a script returns as its result: it fails as if it had raised it, but nothing is added to the text.
fn returned_error(stack: Stack) -> Option<ScriptError> {
    let result = stack.top();
    if stack.type_of(result) != TABLE {
        return None;
    }
    stack.raw_get_field(result, b"err");
    stack.raw_get_field(result, b"ignore_error_stats_update");
    let text = if stack.type_of(-2) == STRING { stack.bytes(-2) } else { None };
    let error = text.map(|text| ScriptError { message: text.to_vec(), counted: stack.boolean(-1) });
    stack.set_top(result);
    error
}

/// The reply for an error: its text, source, line and whether it is counted are at 3 to 6.
fn describe(stack: Stack, program: Program<'_>) -> ScriptError {
    // Redis crashes on an error that is a table without a text.
    let mut message = match stack.type_of(3) {
        STRING => stack.bytes(3).unwrap_or_default().to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    if let (Some(source), Some(line)) = (stack.bytes(4), stack.bytes(5)) {
        message.extend_from_slice(b" script: ");
        program.append_name(&mut message);
        message.extend_from_slice(b", on ");
        message.extend_from_slice(source);
        message.push(b':');
        message.extend_from_slice(line);
        message.push(b'.');
    }
    ScriptError { message, counted: stack.boolean(6) }
}

fn push_array<T: AsRef<[u8]>>(stack: Stack, items: &[T]) {
    stack.new_table();
    for (index, item) in (1..).zip(items) {
        stack.push_bytes(item.as_ref());
        stack.raw_set_index(-2, index);
    }
}

/// Where the registry has the pointer to [`Shared`], for the hook.
fn interrupt_key() -> *mut std::ffi::c_void {
    static KEY: u8 = 0;
    std::ptr::from_ref(&KEY).cast_mut().cast()
}

/// Has the host asked from time to time whether to go on.
///
/// # Safety
/// Within a C function with room for two more values.
unsafe fn watch(l: *mut lua_State, shared: *mut Shared) {
    // SAFETY: as said above.
    unsafe {
        ffi::lua_pushlightuserdata(l, interrupt_key());
        ffi::lua_pushlightuserdata(l, shared.cast());
        ffi::lua_rawset(l, ffi::LUA_REGISTRYINDEX);
        ffi::lua_sethook(l, Some(interrupt), ffi::LUA_MASKCOUNT, INTERRUPT_PERIOD);
    }
}

/// The count hook of a run.
unsafe extern "C-unwind" fn interrupt(l: *mut lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: called by Lua while a script runs, so the registry has the pointer and the host is set; the script is
    // not inside `redis.call`, which executes no Lua instructions, so nobody else borrows it.
    unsafe {
        if ffi::lua_checkstack(l, 4) == 0 {
            return;
        }
        ffi::lua_pushlightuserdata(l, interrupt_key());
        ffi::lua_rawget(l, ffi::LUA_REGISTRYINDEX);
        let shared: *mut Shared = ffi::lua_touserdata(l, -1).cast();
        ffi::lua_settop(l, -2);
        let Some(mut host) = (*shared).host else { return };
        let Some(reason) = host.as_mut().interrupted() else { return };
        // From now on at every line, or the script could catch the error and go on.
        ffi::lua_sethook(l, Some(interrupt), ffi::LUA_MASKLINE, 0);
        push_error(Stack::new(l), reason.as_bytes());
        ffi::lua_error(l);
    }
}
