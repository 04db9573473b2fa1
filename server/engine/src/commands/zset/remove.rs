//! ZREM, and the removal of ranges.

use std::ops::Range;

use super::{bounds, ranks_of_indexes};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys};
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::types::Zset;
use crate::value::Value;

pub(super) static ZREM: Command = Command {
    name: "zrem",
    arity: -3,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes members from a sorted set.",
    complexity: "O(M*log(N)), N being the length of the sorted set and M the number of members to remove",
    syntax: "key member:string [member:string ...]",
    run: zrem,
    ..COMMAND
};

fn zrem(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Some(set) = cx.keys.get_mut(key).map(Value::as_zset_mut).transpose()? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = args.from(2).iter().filter(|member| set.remove(member).is_some()).count();
    let empty = set.is_empty();
    finish(cx, key, removed, empty, "zrem");
    Ok(())
}

pub(super) static ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    arity: 4,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes the members of a range of indexes from a sorted set.",
    complexity: "O(log(N)+M), N being the length of the sorted set and M the number of members removed",
    syntax: "key start:integer stop:integer",
    run: zremrangebyrank,
    ..COMMAND
};

fn zremrangebyrank(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    remove_range(cx, args.at(1), "zremrangebyrank", |set| ranks_of_indexes(start, stop, set.len()))
}

pub(super) static ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    arity: 4,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes the members of a range of scores from a sorted set.",
    complexity: "O(log(N)+M), N being the length of the sorted set and M the number of members removed",
    syntax: "key min:double max:double",
    run: zremrangebyscore,
    ..COMMAND
};

fn zremrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let range = bounds::score_range(args.at(2), args.at(3))?;
    remove_range(cx, args.at(1), "zremrangebyscore", |set| set.ranks_by_score(&range))
}

pub(super) static ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    arity: 4,
    group: Group::SortedSet,
    since: "2.8.9",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes the members between two texts from a sorted set whose scores are all equal.",
    complexity: "O(log(N)+M), N being the length of the sorted set and M the number of members removed",
    syntax: "key min:string max:string",
    run: zremrangebylex,
    ..COMMAND
};

fn zremrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let range = bounds::lex_range(args.at(2), args.at(3))?;
    remove_range(cx, args.at(1), "zremrangebylex", |set| set.ranks_by_lex(&range))
}

fn remove_range(
    cx: &mut Context<'_>,
    key: &[u8],
    event: &str,
    ranks: impl FnOnce(&Zset) -> Range<usize>,
) -> CommandResult {
    let Some(set) = cx.keys.get_mut(key).map(Value::as_zset_mut).transpose()? else {
        cx.reply.int(0);
        return Ok(());
    };
    let ranks = ranks(set);
    let removed = set.remove_range(ranks);
    let empty = set.is_empty();
    finish(cx, key, removed, empty, event);
    Ok(())
}

fn finish(cx: &mut Context<'_>, key: &[u8], removed: usize, empty: bool, event: &str) {
    if removed > 0 {
        cx.changed(key, Class::Zset, event);
        cx.shared.effects.add_dirty(removed as u64 - 1);
        cx.remove_if_empty(key, empty);
        cx.log_self();
    }
    cx.reply.int(removed as i64);
}
