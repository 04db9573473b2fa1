//! Hashes.

mod expire;
mod read;
mod with_time;
mod write;

use crate::command::Command;
pub(super) use read::{check_drawn, random_count};

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &expire::HEXPIRE,
    &expire::HEXPIREAT,
    &expire::HEXPIRETIME,
    &expire::HPERSIST,
    &expire::HPEXPIRE,
    &expire::HPEXPIREAT,
    &expire::HPEXPIRETIME,
    &expire::HPTTL,
    &expire::HTTL,
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
    &with_time::HGETDEL,
    &with_time::HGETEX,
    &with_time::HSETEX,
    &write::HDEL,
    &write::HINCRBY,
    &write::HINCRBYFLOAT,
    &write::HMSET,
    &write::HSET,
    &write::HSETNX,
];

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
