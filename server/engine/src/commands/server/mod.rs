//! (being written)

use crate::command::Command;

pub(super) const COMMANDS: &[&Command] = &[];

pub(crate) mod monitor;
pub(crate) mod slowlog;
