//! Unions, intersections and differences of sorted sets and sets, replied or stored.

use super::read::{members_head, reply_member};
use super::{limits, store};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::element::Elem;
use crate::types::zset::ZsetBuilder;
use crate::types::{Set, Zset};
use crate::value::Value;

const UNION_COMPLEXITY: &str =
    "O(N)+O(M*log(M)), N being the sum of the sources' lengths and M the length of the result";
const INTER_COMPLEXITY: &str = "O(N*K)+O(M*log(M)) at worst, N being the length of the smallest source, K the number of \
     sources and M the length of the result";
const DIFF_COMPLEXITY: &str = "O(N*K)+O(M*log(M)) at worst, N being the length of the first source, K the number of sources and M the length of \
     the result";

pub(super) static ZUNION: Command = Command {
    name: "zunion",
    arity: -3,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::number(1, READ)],
    summary: "Returns the union of sorted sets, their scores added up or otherwise combined.",
    complexity: UNION_COMPLEXITY,
    syntax: "numkeys:integer key [key ...] [WEIGHTS weight:integer [weight:integer ...]] \
             [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
    run: |cx, args| reply(cx, args, Operation::Union),
    ..COMMAND
};

pub(super) static ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    arity: -4,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[Keys::at(1, OVERWRITE), Keys::number(2, READ)],
    summary: "Stores the union of sorted sets, their scores added up or otherwise combined.",
    complexity: UNION_COMPLEXITY,
    syntax: "destination:key numkeys:integer key [key ...] [WEIGHTS weight:integer [weight:integer ...]] \
             [AGGREGATE SUM | MIN | MAX]",
    run: |cx, args| store_result(cx, args, Operation::Union, "zunionstore"),
    ..COMMAND
};

pub(super) static ZINTER: Command = Command {
    name: "zinter",
    arity: -3,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::number(1, READ)],
    summary: "Returns the members that all the sorted sets have, their scores added up or otherwise combined.",
    complexity: INTER_COMPLEXITY,
    syntax: "numkeys:integer key [key ...] [WEIGHTS weight:integer [weight:integer ...]] \
             [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
    run: |cx, args| reply(cx, args, Operation::Inter),
    ..COMMAND
};

pub(super) static ZINTERSTORE: Command = Command {
    name: "zinterstore",
    arity: -4,
    group: Group::SortedSet,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[Keys::at(1, OVERWRITE), Keys::number(2, READ)],
    summary: "Stores the members that all the sorted sets have, their scores added up or otherwise combined.",
    complexity: INTER_COMPLEXITY,
    syntax: "destination:key numkeys:integer key [key ...] [WEIGHTS weight:integer [weight:integer ...]] \
             [AGGREGATE SUM | MIN | MAX]",
    run: |cx, args| store_result(cx, args, Operation::Inter, "zinterstore"),
    ..COMMAND
};

pub(super) static ZDIFF: Command = Command {
    name: "zdiff",
    arity: -3,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::number(1, READ)],
    summary: "Returns the members of the first sorted set that none of the others has.",
    complexity: DIFF_COMPLEXITY,
    syntax: "numkeys:integer key [key ...] [WITHSCORES]",
    run: |cx, args| reply(cx, args, Operation::Diff),
    ..COMMAND
};

pub(super) static ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    arity: -4,
    group: Group::SortedSet,
    since: "6.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::MovableKeys],
    keys: &[Keys::at(1, OVERWRITE), Keys::number(2, READ)],
    summary: "Stores the members of the first sorted set that none of the others has.",
    complexity: DIFF_COMPLEXITY,
    syntax: "destination:key numkeys:integer key [key ...]",
    run: |cx, args| store_result(cx, args, Operation::Diff, "zdiffstore"),
    ..COMMAND
};

pub(super) static ZINTERCARD: Command = Command {
    name: "zintercard",
    arity: -3,
    group: Group::SortedSet,
    since: "7.0.0",
    flags: &[Flag::ReadOnly, Flag::MovableKeys],
    keys: &[Keys::number(1, READ)],
    summary: "Returns how many members all the sorted sets have.",
    complexity: "O(N*K) at worst, N being the length of the smallest source and K the number of sources",
    syntax: "numkeys:integer key [key ...] [LIMIT limit:integer]",
    run: zintercard,
    ..COMMAND
};

fn reply(cx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> CommandResult {
    let request = Request::parse(cx, args, 1, operation, Extra::Scores)?;
    let result = request.run(ZsetBuilder::new(cx.keys.seed())).finish_to_read();
    let with_scores = request.with_scores;
    members_head(cx.reply, result.len(), with_scores);
    for element in &result {
        reply_member(cx.reply, element, with_scores);
    }
    cx.keys.discard(Value::Zset(result));
    Ok(())
}

fn store_result(cx: &mut Context<'_>, args: Args<'_>, operation: Operation, event: &str) -> CommandResult {
    let request = Request::parse(cx, args, 2, operation, Extra::Nothing)?;
    let result = request.run(ZsetBuilder::new(cx.keys.seed())).finish(&limits(cx));
    if store(cx, args.at(1), result, event) {
        cx.log_self();
    }
    Ok(())
}

fn zintercard(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(cx, args, 1, Operation::Inter, Extra::Limit)?;
    let limit = if request.limit == 0 { usize::MAX } else { request.limit };
    let mut count = 0;
    request.intersect(&mut |_, _| {
        count += 1;
        count < limit
    });
    cx.reply.int(count as i64);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What a command takes beside keys, weights and aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    Scores,
    Limit,
    Nothing,
}

/// How two scores of one member become one.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, sum: &mut f64, score: f64) {
        match self {
            Self::Sum => *sum = number_or_zero(*sum + score),
            Self::Min if score < *sum => *sum = score,
            Self::Max if score > *sum => *sum = score,
            Self::Min | Self::Max => {}
        }
    }
}

/// An infinity minus itself, or times zero, is 0 here (as in Redis).
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A source: in a plain set every member has the score 1.
#[derive(Clone, Copy)]
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Zset(&'a Zset),
    Set(&'a Set),
}

impl<'a> Members<'a> {
    fn of(value: Option<&'a Value>) -> CommandResult<Self> {
        match value {
            None => Ok(Self::None),
            Some(Value::Zset(set)) => Ok(Self::Zset(set)),
            Some(Value::Set(set)) => Ok(Self::Set(set)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Zset(set) => set.len(),
            Self::Set(set) => set.len(),
        }
    }

    fn score(self, member: Elem<'_>) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Zset(set) => member.with_bytes(|text| set.score(text)),
            Self::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Visits members and scores until `visit` says false.
    fn each(self, visit: &mut dyn FnMut(Elem<'a>, f64) -> bool) {
        // `all` for the early end; what it answers is of no interest.
        let _ = match self {
            Self::None => true,
            Self::Zset(set) => set.iter().all(|(member, score)| visit(member, score)),
            Self::Set(set) => set.iter().all(|member| visit(member, 1.0)),
        };
    }
}

struct Request<'a> {
    operation: Operation,
    sources: Vec<Source<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// ZINTERCARD's; 0: none.
    limit: usize,
}

impl<'a> Request<'a> {
    /// Reads the arguments from the number of keys on, and looks the keys up.
    fn parse(
        cx: &'a Context<'_>,
        args: Args<'_>,
        numkeys_at: usize,
        operation: Operation,
        extra: Extra,
    ) -> CommandResult<Self> {
        let numkeys = args.int(numkeys_at)?;
        if numkeys < 1 {
            let name = &cx.command.full_name;
            return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
        }
        let first = numkeys_at + 1;
        let numkeys = usize::try_from(numkeys).unwrap_or(usize::MAX);
        if numkeys > args.len() - first {
            return Err(CommandError::Syntax);
        }
        let mut at = first + numkeys;
        let keys = args.as_slice()[first..at].iter();
        let sources = keys.map(|key| Ok(Source { members: Members::of(cx.keys.get(key))?, weight: 1.0 }));
        let mut sources = sources.collect::<CommandResult<Vec<_>>>()?;

        let (mut aggregate, mut with_scores, mut limit) = (Aggregate::Sum, false, 0);
        let scores_count = operation != Operation::Diff && extra != Extra::Limit;
        while at < args.len() {
            let left = args.len() - at;
            if scores_count && left > numkeys && args.is(at, "WEIGHTS") {
                for source in &mut sources {
                    at += 1;
                    source.weight = crate::args::parse_f64(args.at(at))
                        .ok_or(CommandError::new("ERR weight value is not a float"))?;
                }
            } else if scores_count && left >= 2 && args.is(at, "AGGREGATE") {
                at += 1;
                aggregate = match () {
                    () if args.is(at, "SUM") => Aggregate::Sum,
                    () if args.is(at, "MIN") => Aggregate::Min,
                    () if args.is(at, "MAX") => Aggregate::Max,
                    () => return Err(CommandError::Syntax),
                };
            } else if extra == Extra::Scores && args.is(at, "WITHSCORES") {
                with_scores = true;
            } else if extra == Extra::Limit && left >= 2 && args.is(at, "LIMIT") {
                at += 1;
                limit = crate::args::parse_i64(args.at(at))
                    .and_then(|limit| usize::try_from(limit).ok())
                    .ok_or(CommandError::new("ERR LIMIT can't be negative"))?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        // From the smallest up: cheapest for an intersection. The order also decides how sums are rounded, so it is
        // Redis's: sources of the same length stay in the order of the arguments.
        if operation != Operation::Diff {
            sources.sort_by_key(|source| source.members.len());
        }
        Ok(Self { operation, sources, aggregate, with_scores, limit })
    }

    fn run(&self, mut result: ZsetBuilder) -> ZsetBuilder {
        match self.operation {
            Operation::Union => {
                for source in &self.sources {
                    source.members.each(&mut |member, score| {
                        let score = number_or_zero(source.weight * score);
                        let (sum, new) = result.score_mut(member, score);
                        if !new {
                            self.aggregate.apply(sum, score);
                        }
                        true
                    });
                }
            }
            Operation::Inter => self.intersect(&mut |member, score| {
                result.score_mut(member, score);
                true
            }),
            Operation::Diff => {
                let (first, others) = self.sources.split_first().expect("one source at least");
                first.members.each(&mut |member, score| {
                    if others.iter().all(|other| other.members.score(member).is_none()) {
                        result.score_mut(member, score);
                    }
                    true
                });
            }
        }
        result
    }

    /// Visits what is in every source, with the combined score, until `visit` says false.
    fn intersect(&self, visit: &mut dyn FnMut(Elem<'a>, f64) -> bool) {
        let (first, others) = self.sources.split_first().expect("one source at least");
        first.members.each(&mut |member, score| {
            let mut sum = number_or_zero(first.weight * score);
            for other in others {
                let Some(score) = other.members.score(member) else { return true };
                self.aggregate.apply(&mut sum, other.weight * score);
            }
            visit(member, sum)
        });
    }
}
