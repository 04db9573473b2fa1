//! Lua scripts, as Redis 7.2 runs them.
//!
//! - [`Interpreter`] compiles, keeps and runs scripts, [`Functions`] libraries of functions; each has a Lua state (`vm`) of
//!   its own. They know no command: `redis.call` goes to a [`ScriptHost`], which executes the command and answers in RESP.
//! - `sandbox` is what scripts can see; `api` is the `redis` table; `bit`, `cjson`, `cmsgpack` and `structs` are the
//!   libraries that Redis bundles, written from their documented behaviour; `convert` turns
//!   replies into Lua values and back; `stack` is the layer over the Lua C API under all of them.
//! - [`ScriptCache`] and [`Sha`]: scripts by SHA-1; [`ScriptFlags`]: what `#!lua flags=…` declares.
//! - `library` is what a library consists of, `register` the `redis.register_function` that it calls when it is loaded.
//!
//! # How EVAL uses it
//!
//! 1. [`Interpreter::load`] with the text (`EVAL`: [`Origin::Eval`], `SCRIPT LOAD`: [`Origin::Load`]), or
//!    [`Sha::parse`] for `EVALSHA`. An error is the reply.
//! 2. [`Interpreter::script`] has the flags: refuse or restrict the run by them.
//! 3. [`Interpreter::run`] with the keys, the arguments and a [`ScriptHost`] that borrows the engine. The host
//!    executes each command as a client's in the same atomic unit, so that its effects join the batch of the
//!    script; checks for `noscript` commands, arity and writes in read-only scripts are the host's.
//!
//! The interpreter must not be inside of what the host borrows: take it out of the engine for the run.
//!
//! # What differs from Redis
//!
//! `error({})`, which crashes Redis 7.0, is "ERR unknown error". Results of `cjson.encode`, `cmsgpack.pack` and
//! `struct.pack` are limited to 512 MB, as strings are. JSON nested more
//! than 1,000 deep is refused also after `cjson.encode_max_depth(5000)`, and other values nested more than 400 deep. `redis.set_repl` checks its argument and has no effect:
//! what a script changed is always logged. The table `redis` is there as `server` too, as in Valkey. A library may not register two functions whose names differ only in case; in Redis
//! it may, and crashes the server later. There is no step debugger (`redis-cli --ldb`).

mod api;
mod bit;
mod cache;
mod cjson;
mod cjson_decode;
mod cmsgpack;
mod convert;
mod functions;
mod interpreter;
mod library;
mod number;
mod random;
#[cfg(test)]
mod recorded;
mod register;
mod sandbox;
mod shebang;
mod stack;
mod structs;
#[cfg(test)]
mod tests;
mod vm;

pub use api::LogLevel;
pub use cache::{EVAL_SCRIPTS_MAX, Origin, Script, ScriptCache, Sha};
pub use functions::{Functions, LibraryCounts, RestorePolicy, Unattended};
pub use interpreter::Interpreter;
pub use library::{ENGINE, Function, Library};
pub use shebang::ScriptFlags;
pub(crate) use vm::OUTSIDE;
pub use vm::{CommandArgs, ScriptError, ScriptHost};

/// Everything that runs Lua.
pub struct Scripts {
    /// Scripts by SHA-1.
    pub eval: Interpreter,
    pub functions: Functions,
}

impl Scripts {
    /// Bounds what each of the two may have allocated in Lua, in bytes.
    pub fn set_memory_limit(&mut self, limit: Option<usize>) {
        self.eval.set_memory_limit(limit);
        self.functions.set_memory_limit(limit);
    }
}

/// The version that scripts and clients are told.
pub const REDIS_VERSION: &str = "7.4.0";
/// The same, a byte for each part.
pub const REDIS_VERSION_NUM: u32 = 0x0007_0400;

/// The largest string that a bundled library builds, in bytes: the largest that Redis stores by default.
const LIBRARY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The deepest nesting in JSON, whatever a script sets: lua-cjson's default.
const JSON_NESTING_MAX: i32 = 1000;
/// The deepest nesting of replies, of values returned and of MessagePack read. Redis goes on until Lua's stack is
/// full, at some thousands; here any thread's stack must be enough.
const NESTING_MAX: i32 = 400;
