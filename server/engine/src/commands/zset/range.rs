//! ZRANGE, ZRANGESTORE, and the older names for parts of ZRANGE.

use std::ops::Range;

use super::read::{members_head, reply_member};
use super::{bounds, limits, ranks_of_indexes, store};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::Zset;
use crate::types::zset::{LexRange, ScoreRange, ZsetBuilder};

const RANGE_COMPLEXITY: &str =
    "O(log(N)+M), N being the length of the sorted set and M the number of members returned";

pub(super) static ZRANGE: Command = Command {
    name: "zrange",
    arity: -4,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members of a range of indexes, scores or texts.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key start:string stop:string [BYSCORE | BYLEX] [REV] [LIMIT offset:integer count:integer] [WITHSCORES]",
    run: |cx, args| range(cx, args, Form::default()),
    ..COMMAND
};

pub(super) static ZREVRANGE: Command = Command {
    name: "zrevrange",
    arity: -4,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members of a range of indexes, counted from the highest score down.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key start:integer stop:integer [WITHSCORES]",
    run: |cx, args| range(cx, args, Form { by: Some(By::Index), reverse: Some(true) }),
    ..COMMAND
};

pub(super) static ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    arity: -4,
    group: Group::SortedSet,
    since: "1.0.5",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members of a range of scores.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key min:double max:double [WITHSCORES] [LIMIT offset:integer count:integer]",
    run: |cx, args| range(cx, args, Form { by: Some(By::Score), reverse: Some(false) }),
    ..COMMAND
};

pub(super) static ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    arity: -4,
    group: Group::SortedSet,
    since: "2.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members of a range of scores, from the highest down.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key max:double min:double [WITHSCORES] [LIMIT offset:integer count:integer]",
    run: |cx, args| range(cx, args, Form { by: Some(By::Score), reverse: Some(true) }),
    ..COMMAND
};

pub(super) static ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    arity: -4,
    group: Group::SortedSet,
    since: "2.8.9",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members between two texts, of a sorted set whose scores are all equal.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key min:string max:string [LIMIT offset:integer count:integer]",
    run: |cx, args| range(cx, args, Form { by: Some(By::Text), reverse: Some(false) }),
    ..COMMAND
};

pub(super) static ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    arity: -4,
    group: Group::SortedSet,
    since: "2.8.9",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the members between two texts from the last down, of a sorted set whose scores are all equal.",
    complexity: RANGE_COMPLEXITY,
    syntax: "key max:string min:string [LIMIT offset:integer count:integer]",
    run: |cx, args| range(cx, args, Form { by: Some(By::Text), reverse: Some(true) }),
    ..COMMAND
};

fn range(cx: &mut Context<'_>, args: Args<'_>, form: Form) -> CommandResult {
    let request = Request::parse(args, 1, form, true)?;
    let Some(set) = cx.keys.get(args.at(1)).map(|value| value.as_zset()).transpose()? else {
        cx.reply.array(0);
        return Ok(());
    };
    let ranks = request.ranks(set);
    members_head(cx.reply, ranks.len(), request.with_scores);
    for element in set.range(ranks, request.reverse) {
        reply_member(cx.reply, element, request.with_scores);
    }
    Ok(())
}

pub(super) static ZRANGESTORE: Command = Command {
    name: "zrangestore",
    arity: -5,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE), Keys::at(2, READ)],
    summary: "Stores the members of a range of indexes, scores or texts in another key.",
    complexity: "O(log(N)+M), N being the length of the sorted set and M the number of members stored",
    syntax: "dst:key src:key min:string max:string [BYSCORE | BYLEX] [REV] [LIMIT offset:integer count:integer]",
    run: zrangestore,
    ..COMMAND
};

fn zrangestore(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(args, 2, Form::default(), false)?;
    let limits = limits(cx);
    let mut result = ZsetBuilder::new(limits.seed);
    if let Some(set) = super::get(cx, args.at(2))? {
        for (member, score) in set.range(request.ranks(set), request.reverse) {
            result.score_mut(member, score);
        }
    }
    if store(cx, args.at(1), result.finish(&limits), "zrangestore") {
        cx.log_self();
    }
    Ok(())
}

/// What the name of a command fixes; the rest is left to options.
#[derive(Clone, Copy, Debug, Default)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Index,
    Score,
    Text,
}

/// The arguments of a range command.
struct Request<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    with_scores: bool,
}

enum Bounds<'a> {
    Indexes(i64, i64),
    Scores(ScoreRange),
    Texts(LexRange<'a>),
}

impl<'a> Request<'a> {
    /// Reads the arguments after the source key, which is argument `source`.
    fn parse(args: Args<'a>, source: usize, form: Form, scores_allowed: bool) -> CommandResult<Self> {
        let Form { mut by, mut reverse } = form;
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut at = source + 3;
        while at < args.len() {
            if scores_allowed && args.is(at, "WITHSCORES") {
                with_scores = true;
            } else if args.is(at, "LIMIT") && at + 2 < args.len() {
                (offset, count) = (args.int(at + 1)?, args.int(at + 2)?);
                at += 2;
            } else if reverse.is_none() && args.is(at, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args.is(at, "BYLEX") {
                by = Some(By::Text);
            } else if by.is_none() && args.is(at, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Index), reverse.unwrap_or(false));

        if count != -1 && by == By::Index {
            return Err(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
                    .into(),
            );
        }
        if with_scores && by == By::Text {
            return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
        }
        let (first, second) = (args.at(source + 1), args.at(source + 2));
        let (min, max) = if reverse { (second, first) } else { (first, second) };
        let bounds = match by {
            By::Index => Bounds::Indexes(args.int(source + 1)?, args.int(source + 2)?),
            By::Score => Bounds::Scores(bounds::score_range(min, max)?),
            By::Text => Bounds::Texts(bounds::lex_range(min, max)?),
        };
        Ok(Self { bounds, reverse, offset, count, with_scores })
    }

    /// The ranks that are asked for, from the lowest.
    fn ranks(&self, set: &Zset) -> Range<usize> {
        let ranks = match &self.bounds {
            Bounds::Indexes(start, stop) => {
                let ranks = ranks_of_indexes(*start, *stop, set.len());
                return if self.reverse { set.len() - ranks.end..set.len() - ranks.start } else { ranks };
            }
            Bounds::Scores(range) => set.ranks_by_score(range),
            Bounds::Texts(range) => set.ranks_by_lex(range),
        };
        // A negative offset skips everything, as in Redis.
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(ranks.len());
        let taken = usize::try_from(self.count).unwrap_or(usize::MAX).min(ranks.len() - skipped);
        if self.reverse {
            let end = ranks.end - skipped;
            end - taken..end
        } else {
            let start = ranks.start + skipped;
            start..start + taken
        }
    }
}
