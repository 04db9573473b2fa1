//! Lua scripts, as Redis 7.2 runs them.
//!
//! - [`Interpreter`] compiles, keeps and runs scripts. It knows no command: `redis.call` goes to a [`ScriptHost`],
//!   which executes the command and answers in RESP.
//! - `sandbox` is what scripts can see; `api` is the `redis` table; `bit`, `cjson`, `cmsgpack` and `structs` are the
//!   libraries that Redis bundles, written from their documented behaviour; `convert` turns
//!   replies into Lua values and back; `stack` is the layer over the Lua C API under all of them.
//! - [`ScriptCache`] and [`Sha`]: scripts by SHA-1; [`ScriptFlags`]: what `#!lua flags=…` declares.
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
//! what a script changed is always logged. There is no step debugger (`redis-cli --ldb`).

mod api;
mod bit;
mod cache;
mod cjson;
mod cjson_decode;
mod cmsgpack;
mod convert;
mod interpreter;
mod number;
mod random;
#[cfg(test)]
mod recorded;
mod sandbox;
mod shebang;
mod stack;
mod structs;
#[cfg(test)]
mod tests;

pub use api::LogLevel;
pub use cache::{EVAL_SCRIPTS_MAX, Origin, Script, ScriptCache, Sha};
pub use interpreter::{CommandArgs, Interpreter, ScriptError, ScriptHost};
pub use shebang::ScriptFlags;

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
