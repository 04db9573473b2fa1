//! Clusters of real processes: started, killed, paused, cut off; what their clients saw is recorded and judged.
//!
//! - [`process`], [`group`]: nodes and what they say about themselves.
//! - [`trials`]: what a state has to outlast.
//! - [`network`]: loopback, or a network namespace for each node, in which single directions can be cut.
//! - [`client`], [`load`]: clients that follow a failover and record what they saw as a [`history`].
//! - [`check`]: is the history linearizable?
//! - [`scenarios`]: what is done to a cluster while clients work with it, and what must hold afterwards.

pub mod check;
pub mod client;
pub mod group;
pub mod history;
pub mod load;
pub mod network;
pub mod process;
pub mod scenarios;
pub mod trials;
