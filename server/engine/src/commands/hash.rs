//! Hashes.

mod read;
mod write;

use crate::command::Command;
pub(super) use read::{check_drawn, random_count};

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &read::HEXISTS,
    &read::HGET,
    &read::HGETALL,
    &read::HKEYS,
    &read::HLEN,
    &read::HMGET,
    &read::HRANDFIELD,
    &read::HSCAN,
    &read::HSTRLEN,
    &read::HVALS,
    &write::HDEL,
    &write::HINCRBY,
    &write::HINCRBYFLOAT,
    &write::HMSET,
    &write::HSET,
    &write::HSETNX,
];

#[cfg(test)]
mod tests;
