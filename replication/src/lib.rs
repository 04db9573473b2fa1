//! Replication (under construction): see `handle` for the executor's end.
pub mod admin;
pub mod snapshot;
pub mod types;
