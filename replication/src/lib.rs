//! Several nodes, one log: openraft over the server's own log.
//!
//! The leader's executor proposes batches of effects; Raft gets them onto the disks of a majority, in one order; every node's
//! executor takes them out again. This crate knows neither commands nor values: a batch is bytes.
//!
//! # Layout
//!
//! - [`handle`]: the executor's end. [`handle::Handle`] is all that the server uses of a running node.
//! - [`node`]: starts a node and its tasks. [`admin`]: what the node and its transport need of each other.
//! - [`log_store`]: openraft's log on `storage`'s. [`state_machine`]: hands committed entries over. [`entry`]: entries as bytes.
//! - `lease`, `acks`, `pause`: until when a leader may answer reads, what that rests on, and why a restarted node must not vote
//!   for a while.
//! - `network`: what is done to the streams of entries, whatever carries them.
//! - `membership`, `boot`: who belongs to the group. [`identity`]: who a node is.
//! - `status`: figures, and the story of the group in the log.
//! - [`transport`]: connections to the other nodes, and what goes over them.
//! - [`runtime`]: openraft's runtime, with chance that a simulation can fix.
//!
//! # What it is not
//!
//! Not several groups in one process, and not a general Raft library: what openraft does is not wrapped any further.

mod acks;
pub mod admin;
mod applied;
mod boot;
pub mod entry;
mod gate;
pub mod handle;
pub mod identity;
mod lease;
pub mod log_store;
mod membership;
mod network;
pub mod node;
mod pause;
pub mod runtime;
mod shared;
pub mod snapshot;
pub mod state_machine;
mod status;
pub mod transport;
pub mod types;

pub use applied::Wake;

#[cfg(test)]
mod tests;
