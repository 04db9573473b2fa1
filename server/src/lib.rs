//! The server around the engine: sockets, journal, snapshots, configuration files.
//!
//! - [`start`]: from a configuration to a serving process.
//! - [`executor`]: the one thread that owns the engine and the clients' sockets.
//! - [`journal`]: where effects are made to last, and when replies may leave.
//! - [`cluster`]: the node as part of a cluster.
//! - [`recovery`], [`snapshots`]: from disk to a state, and back.
//! - [`host`], [`process`], [`memory`], [`pace`]: what the engine asks of the outside.
//! - [`affinity`]: on which CPU the executor and the log's thread run.
//! - [`config_file`], [`flags`]: redis.conf files and the command line.
//! - [`admin`]: what `cairn-admin` asks a running server.

pub mod admin;
pub mod affinity;
pub mod cluster;
pub mod config_file;
pub mod executor;
pub mod flags;
pub mod host;
pub mod journal;
pub mod memory;
pub mod pace;
pub mod process;
pub mod recovery;
pub mod snapshots;
pub mod start;
