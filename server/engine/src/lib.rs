//! The deterministic core of Cairn: keyspace, data types, commands, scripting, pub/sub and blocked clients.
//!
//! Nothing in here does I/O, reads a clock, draws a random number from the system, or starts a thread: time, memory
//! figures and everything else of the outside world come in through [`Host`] and the turn's time. That is what makes
//! a run reproducible and what lets a follower, or a restart, reach the same state from the logged effects.
//!
//! Layout:
//!
//! - [`engine`]: [`Engine`], what a host (the server, a test) drives: connect, execute, cron, apply.
//! - [`dispatch`]: the life of one command: lookup, checks, MULTI queue, call, effects, replies held back.
//! - [`context`]: what a command handler sees. [`command`]: how a command is declared.
//! - [`keyspace`]: databases, expiry, eviction, dirty keys. [`value`], [`types`]: the data types.
//! - [`commands`]: one file or folder for each family of commands.
//! - [`acl`]: users, and what they may do.
//! - [`cluster`]: the group as commands see it; [`slot`]; [`routing`]: which commands only the leader can answer.
//! - [`effects`]: what a command changed, as canonical commands; batches for the journal.
//! - [`tracking`]: who caches which key. [`config`]: every directive, declared once. [`scripting`]: Lua. [`rdb`]: the dump codec.
//! - [`ds`]: the data structures underneath.
//!
//! What it is not: a server. It never sees a socket or a file, and never decides when a reply may leave; it only says
//! which journal position a reply depends on.

pub mod acl;
pub mod args;
pub mod busy;
pub mod by_key;
pub mod client;
pub mod client_memory;
pub mod cluster;
pub mod command;
pub mod commands;
pub mod config;
pub mod context;
pub mod digest;
pub mod dispatch;
pub mod ds;
pub mod effects;
pub mod engine;
#[cfg(test)]
mod engine_tests;
pub mod error;
pub mod eviction;
mod expire;
pub mod feed;
pub mod following;
pub mod glob;
pub mod host;
pub mod keyspace;
pub mod latency;
mod limits;
pub mod long_double;
pub mod notify;
#[cfg(test)]
mod property;
pub mod pubsub;
pub mod rdb;
pub mod rng;
pub mod routing;
pub mod scripting;
pub mod search;
pub mod shared;
pub mod slot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tracking;
pub mod types;
pub mod value;
mod waits;

/// Cairn's own version.
pub const CAIRN_VERSION: &str = env!("CARGO_PKG_VERSION");

pub use args::{Args, OwnedArgs};
pub use client::{ClientInfo, Slot};
pub use context::Context;
pub use engine::{Engine, EngineOptions};
pub use error::{CommandError, CommandResult};
pub use host::Host;
pub use keyspace::Keyspace;
pub use scripting::REDIS_VERSION;
pub use value::Value;
