//! Sorted sets. `add.rs`: ZADD; `remove.rs`: ZREM and ranges; `pop.rs`: the ends, blocking or not; `range.rs`: ZRANGE
//! and its many names; `combine.rs`: unions, intersections, differences; `read.rs`: the rest.

mod add;
mod bounds;
mod combine;
mod pop;
mod range;
mod read;
mod remove;
#[cfg(test)]
mod tests;

pub(super) use add::{Conditions, add};

use crate::command::Command;
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::types::Zset;
use crate::types::zset::Limits;
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] = &[
    &add::ZADD,
    &add::ZINCRBY,
    &combine::ZDIFF,
    &combine::ZDIFFSTORE,
    &combine::ZINTER,
    &combine::ZINTERCARD,
    &combine::ZINTERSTORE,
    &combine::ZUNION,
    &combine::ZUNIONSTORE,
    &pop::BZMPOP,
    &pop::BZPOPMAX,
    &pop::BZPOPMIN,
    &pop::ZMPOP,
    &pop::ZPOPMAX,
    &pop::ZPOPMIN,
    &range::ZRANGE,
    &range::ZRANGEBYLEX,
    &range::ZRANGEBYSCORE,
    &range::ZRANGESTORE,
    &range::ZREVRANGE,
    &range::ZREVRANGEBYLEX,
    &range::ZREVRANGEBYSCORE,
    &read::ZCARD,
    &read::ZCOUNT,
    &read::ZLEXCOUNT,
    &read::ZMSCORE,
    &read::ZRANDMEMBER,
    &read::ZRANK,
    &read::ZREVRANK,
    &read::ZSCAN,
    &read::ZSCORE,
    &remove::ZREM,
    &remove::ZREMRANGEBYLEX,
    &remove::ZREMRANGEBYRANK,
    &remove::ZREMRANGEBYSCORE,
];

/// The thresholds of the configuration.
pub(super) fn limits(cx: &Context<'_>) -> Limits {
    Limits::new(cx.config(), cx.keys.seed())
}

/// The sorted set at the key, for a command that reads it.
pub(super) fn get<'c>(cx: &'c Context<'_>, key: &[u8]) -> CommandResult<Option<&'c Zset>> {
    cx.keys.get(key).map(Value::as_zset).transpose()
}

/// Puts a result in the place of whatever the key held and replies with its length; an empty result removes the key.
/// True when there was a change; one that stored something is yet to be logged, a removal is.
pub(super) fn store(cx: &mut Context<'_>, key: &[u8], result: Zset, event: &str) -> bool {
    let len = result.len();
    cx.reply.int(len as i64);
    if len == 0 {
        cx.delete_key(key, Class::Generic, "del");
        return false;
    }
    cx.keys.set(key, Value::Zset(result));
    cx.changed(key, Class::Zset, event);
    true
}

/// The ranks that indexes from `start` to `stop`, both included and negative ones counted from the end, select.
fn ranks_of_indexes(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let start = from_front(start).max(0);
    let stop = from_front(stop).min(len - 1);
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}
