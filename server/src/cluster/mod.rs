//! The node as part of a cluster: how it starts, what a snapshot says of the cluster, what commands see of it.
//!
//! The executor's part is `executor/lead.rs`, the journal's `journal/raft.rs`; Raft itself is the crate `replication`.

pub mod boot;
pub mod group;
pub mod position;
pub mod view;
