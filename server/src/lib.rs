//! (being written)

pub mod config_file;
pub mod flags;
