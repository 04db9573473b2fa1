//! Sets.

mod algebra;
mod random;
mod single;

use crate::command::Command;
use crate::context::Context;
use crate::error::CommandResult;
use crate::keyspace::Keyspace;
use crate::types::{Set, SetLimits};

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &algebra::SDIFF,
    &algebra::SDIFFSTORE,
    &algebra::SINTER,
    &algebra::SINTERCARD,
    &algebra::SINTERSTORE,
    &algebra::SUNION,
    &algebra::SUNIONSTORE,
    &random::SPOP,
    &random::SRANDMEMBER,
    &single::SADD,
    &single::SCARD,
    &single::SISMEMBER,
    &single::SMEMBERS,
    &single::SMISMEMBER,
    &single::SMOVE,
    &single::SREM,
    &single::SSCAN,
];

/// The set at `key`, if there is one.
fn find<'k>(keys: &'k Keyspace, key: &[u8]) -> CommandResult<Option<&'k Set>> {
    keys.get(key).map(|value| value.as_set()).transpose()
}

fn limits(cx: &Context<'_>) -> SetLimits {
    SetLimits::new(cx.config(), cx.keys.seed())
}

#[cfg(test)]
mod tests;
