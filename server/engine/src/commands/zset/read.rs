//! Scores, ranks, counts, random members, ZSCAN.

use cairn_proto::{ReplyWriter, Resp};

use super::{bounds, get};
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::commands::scanning::{self, Extra, ScanOptions};
use crate::context::Context;
use crate::digest;
use crate::error::{CommandError, CommandResult};
use crate::types::element::Elem;
use crate::types::sample::{self, Selection};

pub(super) static ZCARD: Command = Command {
    name: "zcard",
    arity: 2,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the number of members of a sorted set.",
    syntax: "key",
    run: zcard,
    ..COMMAND
};

fn zcard(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = get(cx, args.at(1))?.map_or(0, |set| set.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static ZSCORE: Command = Command {
    name: "zscore",
    arity: 3,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the score of a member.",
    syntax: "key member:string",
    run: zscore,
    ..COMMAND
};

fn zscore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let score = get(cx, args.at(1))?.and_then(|set| set.score(args.at(2)));
    reply_score(cx.reply, score);
    Ok(())
}

pub(super) static ZMSCORE: Command = Command {
    name: "zmscore",
    arity: -3,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the scores of members.",
    complexity: "O(N), N being the number of members asked for",
    syntax: "key member:string [member:string ...]",
    run: zmscore,
    ..COMMAND
};

fn zmscore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        reply_score(cx.reply, set.and_then(|set| set.score(member)));
    }
    Ok(())
}

fn reply_score(reply: &mut ReplyWriter, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub(super) static ZRANK: Command = Command {
    name: "zrank",
    arity: -3,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns how many members have a lower place than a member, from the lowest score up.",
    complexity: "O(log(N)), N being the length of the sorted set",
    syntax: "key member:string [WITHSCORE]",
    run: |cx, args| rank(cx, args, false),
    ..COMMAND
};

pub(super) static ZREVRANK: Command = Command {
    name: "zrevrank",
    arity: -3,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns how many members have a higher place than a member, from the highest score down.",
    complexity: "O(log(N)), N being the length of the sorted set",
    syntax: "key member:string [WITHSCORE]",
    run: |cx, args| rank(cx, args, true),
    ..COMMAND
};

fn rank(cx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> CommandResult {
    let with_score = match args.len() {
        3 => false,
        4 if args.is(3, "WITHSCORE") => true,
        4 => return Err(CommandError::Syntax),
        _ => return Err(CommandError::Arity(cx.command.full_name.clone())),
    };
    let found = get(cx, args.at(1))?.and_then(|set| {
        let (rank, score) = set.rank(args.at(2))?;
        Some((if reverse { set.len() - 1 - rank } else { rank }, score))
    });
    match found {
        Some((rank, score)) if with_score => {
            cx.reply.array(2);
            cx.reply.int(rank as i64);
            cx.reply.double(score);
        }
        Some((rank, _)) => cx.reply.int(rank as i64),
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static ZCOUNT: Command = Command {
    name: "zcount",
    arity: 4,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the number of members of a range of scores.",
    complexity: "O(log(N)), N being the length of the sorted set",
    syntax: "key min:double max:double",
    run: zcount,
    ..COMMAND
};

fn zcount(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let range = bounds::score_range(args.at(2), args.at(3))?;
    let count = get(cx, args.at(1))?.map_or(0, |set| set.ranks_by_score(&range).len());
    cx.reply.int(count as i64);
    Ok(())
}

pub(super) static ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    arity: 4,
    group: Group::SortedSet,
    since: "2.8.9",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the number of members between two texts, of a sorted set whose scores are all equal.",
    complexity: "O(log(N)), N being the length of the sorted set",
    syntax: "key min:string max:string",
    run: zlexcount,
    ..COMMAND
};

fn zlexcount(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let range = bounds::lex_range(args.at(2), args.at(3))?;
    let count = get(cx, args.at(1))?.map_or(0, |set| set.ranks_by_lex(&range).len());
    cx.reply.int(count as i64);
    Ok(())
}

pub(super) static ZRANDMEMBER: Command = Command {
    name: "zrandmember",
    arity: -2,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns random members: different ones, or, for a negative count, any.",
    complexity: "O(N), N being the number of members returned",
    syntax: "key [count:integer [WITHSCORES]]",
    tips: &["nondeterministic_output"],
    run: zrandmember,
    ..COMMAND
};

fn zrandmember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return random_members(cx, args);
    }
    let set = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()?;
    match set.and_then(|set| set.at_rank(cx.shared.rng.below(set.len() as u64) as usize)) {
        Some((member, _)) => member.reply(cx.reply),
        None => cx.reply.null(),
    }
    Ok(())
}

fn random_members(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let wanted = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    if wanted == i64::MIN {
        let bound = i64::MAX;
        return Err(format!("ERR value is out of range, value must between -{bound} and {bound}").into());
    }
    let with_scores = match args.len() {
        3 => false,
        4 if args.is(3, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_scores && wanted.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err("ERR value is out of range".into());
    }
    let count = wanted.unsigned_abs() as usize;
    let rng = &cx.shared.rng;
    let set = match cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()? {
        Some(set) if count > 0 => set,
        _ => {
            cx.reply.array(0);
            return Ok(());
        }
    };
    crate::commands::hash::check_drawn(wanted)?;
    let len = set.len();
    let reply = &mut *cx.reply;
    if wanted < 0 {
        members_head(reply, count, with_scores);
        for _ in 0..count {
            let element = set.at_rank(rng.below(len as u64) as usize);
            reply_member(reply, element.expect("the rank is below the length"), with_scores);
        }
        return Ok(());
    }
    members_head(reply, count.min(len), with_scores);
    if sample::is_sparse(count, len) {
        for rank in sample::ranks(len, count, rng) {
            let element = set.at_rank(rank).expect("the rank is below the length");
            reply_member(reply, element, with_scores);
        }
    } else {
        let mut selection = Selection::new(len, count);
        for element in set.iter().filter(|_| selection.takes(rng)) {
            reply_member(reply, element, with_scores);
        }
    }
    Ok(())
}

/// The start of a reply of `count` members. With scores, RESP3 gets pairs, RESP2 members and scores by turns.
pub(super) fn members_head(reply: &mut ReplyWriter, count: usize, with_scores: bool) {
    let flat_pairs = with_scores && reply.resp == Resp::V2;
    reply.array(if flat_pairs { count * 2 } else { count });
}

/// One of the members announced by [`members_head`].
pub(super) fn reply_member(reply: &mut ReplyWriter, (member, score): (Elem<'_>, f64), with_scores: bool) {
    if with_scores && reply.resp == Resp::V3 {
        reply.array(2);
    }
    member.reply(reply);
    if with_scores {
        reply.double(score);
    }
}

pub(super) static ZSCAN: Command = Command {
    name: "zscan",
    arity: -3,
    group: Group::SortedSet,
    since: "2.8.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Goes through the members and scores of a sorted set, a part with each call.",
    complexity: "O(1) for a call, O(N) for a whole iteration, N being the length of the sorted set",
    syntax: "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOSCORES]",
    tips: &["nondeterministic_output"],
    run: zscan,
    ..COMMAND
};

fn zscan(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let cursor = scanning::parse_cursor(args.at(2))?;
    let Some(set) = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()? else {
        scanning::reply_nothing(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::Bare("NOSCORES"))?;
    let packed = set.as_listpack().is_some();
    scanning::reply_scan(cx.reply, |reply| {
        let mut count = 0;
        let next = set.scan(cursor, options.count, &mut |member, score| {
            if !member.with_bytes(|text| options.matches(text)) {
                return;
            }
            count += 1;
            member.reply(reply);
            if options.bare {
                return;
            }
            count += 1;
            // Redis gives what a listpack holds as it is, and prints a skiplist's scores with 17 digits.
            if packed {
                reply.bulk_double(score);
            } else {
                reply.bulk(digest::score_text(score).as_bytes());
            }
        });
        (next, count)
    });
    Ok(())
}
