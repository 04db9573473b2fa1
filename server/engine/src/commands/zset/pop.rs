//! Taking members from the ends: ZPOPMIN, ZPOPMAX, ZMPOP, and their blocking forms.

use crate::args::{Args, parse_i64};
use crate::client::{BlockKind, TimeoutReply};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_DELETE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::value::Value;
use cairn_proto::{ReplyWriter, Resp};

const POP_COMPLEXITY: &str =
    "O(log(N)*M), N being the length of the sorted set and M the number of members popped";
const BLOCKING_COMPLEXITY: &str = "O(log(N)), N being the length of the sorted set";
const MPOP_COMPLEXITY: &str =
    "O(K) + O(M*log(N)), K being the number of keys, N the length of the sorted set, M the members popped";

/// The end to take from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            Self::Min => "zpopmin",
            Self::Max => "zpopmax",
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            Self::Min => b"ZPOPMIN",
            Self::Max => b"ZPOPMAX",
        }
    }
}

pub(super) static ZPOPMIN: Command = Command {
    name: "zpopmin",
    arity: -2,
    group: Group::SortedSet,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Removes the members with the lowest scores and returns them.",
    complexity: POP_COMPLEXITY,
    syntax: "key [count:integer]",
    run: |cx, args| zpop(cx, args, End::Min),
    ..COMMAND
};

pub(super) static ZPOPMAX: Command = Command {
    name: "zpopmax",
    arity: -2,
    group: Group::SortedSet,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Removes the members with the highest scores and returns them.",
    complexity: POP_COMPLEXITY,
    syntax: "key [count:integer]",
    run: |cx, args| zpop(cx, args, End::Max),
    ..COMMAND
};

fn zpop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = match args.get(2) {
        None => None,
        Some(count) => Some(
            parse_i64(count)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(CommandError::new("ERR value is out of range, must be positive"))?,
        ),
    };
    // Pairs as pairs only for who asked for several and knows RESP3.
    let nested = args.len() == 3 && cx.reply.resp == Resp::V3;
    let popped = pop(cx, args.at(1), end, count, nested, |reply, popped| {
        reply.array(if nested { popped } else { popped * 2 });
    })?;
    if !popped {
        cx.reply.array(0);
    }
    Ok(())
}

pub(super) static BZPOPMIN: Command = Command {
    name: "bzpopmin",
    arity: -3,
    group: Group::SortedSet,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast, Flag::Blocking],
    keys: &[Keys::range(1, -2, 1, READ_DELETE)],
    summary: "Removes and returns the member with the lowest score of the first sorted set there is; waits for one.",
    complexity: BLOCKING_COMPLEXITY,
    syntax: "key [key ...] timeout:double",
    run: |cx, args| bzpop(cx, args, End::Min),
    ..COMMAND
};

pub(super) static BZPOPMAX: Command = Command {
    name: "bzpopmax",
    arity: -3,
    group: Group::SortedSet,
    since: "5.0.0",
    flags: &[Flag::Write, Flag::Fast, Flag::Blocking],
    keys: &[Keys::range(1, -2, 1, READ_DELETE)],
    summary: "Removes and returns the member with the highest score of the first sorted set there is; waits for one.",
    complexity: BLOCKING_COMPLEXITY,
    syntax: "key [key ...] timeout:double",
    run: |cx, args| bzpop(cx, args, End::Max),
    ..COMMAND
};

fn bzpop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> CommandResult {
    let (timeout, keys) = args.from(1).split_last().expect("the arity demands a key and a time-out");
    let deadline_ms = cx.deadline(timeout)?;
    for key in keys {
        let popped = pop(cx, key, end, None, false, |reply, popped| {
            reply.array(1 + popped * 2);
            reply.bulk(key);
        })?;
        if popped {
            return Ok(());
        }
    }
    wait(cx, keys, deadline_ms);
    Ok(())
}

pub(super) static ZMPOP: Command = Command {
    name: "zmpop",
    arity: -4,
    group: Group::SortedSet,
    since: "7.0.0",
    flags: &[Flag::Write, Flag::MovableKeys],
    keys: &[Keys::number(1, READ_DELETE)],
    summary: "Removes and returns members from one end of the first sorted set there is.",
    complexity: MPOP_COMPLEXITY,
    syntax: "numkeys:integer key [key ...] MIN | MAX [COUNT count:integer]",
    run: zmpop,
    ..COMMAND
};

fn zmpop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = MultiPop::parse(args, 1)?;
    if !request.run(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

pub(super) static BZMPOP: Command = Command {
    name: "bzmpop",
    arity: -5,
    group: Group::SortedSet,
    since: "7.0.0",
    flags: &[Flag::Write, Flag::Blocking, Flag::MovableKeys],
    keys: &[Keys::number(2, READ_DELETE)],
    summary: "Removes and returns members from one end of the first sorted set there is; waits for one.",
    complexity: MPOP_COMPLEXITY,
    syntax: "timeout:double numkeys:integer key [key ...] MIN | MAX [COUNT count:integer]",
    run: bzmpop,
    ..COMMAND
};

fn bzmpop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = MultiPop::parse(args, 2)?;
    let deadline_ms = cx.deadline(args.at(1))?;
    if !request.run(cx)? {
        wait(cx, request.keys, deadline_ms);
    }
    Ok(())
}

/// The arguments that ZMPOP and BZMPOP have in common.
struct MultiPop<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    fn parse(args: Args<'a>, numkeys_at: usize) -> CommandResult<Self> {
        let positive = |at: usize, error: &'static str| {
            let number = parse_i64(args.at(at)).and_then(|number| usize::try_from(number).ok());
            number.filter(|&number| number > 0).ok_or(CommandError::new(error))
        };
        let numkeys = positive(numkeys_at, "ERR numkeys should be greater than 0")?;
        let end_at = numkeys.saturating_add(numkeys_at + 1);
        let end = match () {
            () if args.is(end_at, "MIN") => End::Min,
            () if args.is(end_at, "MAX") => End::Max,
            () => return Err(CommandError::Syntax),
        };
        let count = match args.len() - end_at {
            1 => 1,
            3 if args.is(end_at + 1, "COUNT") => positive(end_at + 2, "ERR count should be greater than 0")?,
            // A bad count is reported before what is wrong after it.
            4.. if args.is(end_at + 1, "COUNT") => {
                positive(end_at + 2, "ERR count should be greater than 0")?;
                return Err(CommandError::Syntax);
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { keys: &args.as_slice()[numkeys_at + 1..end_at], end, count })
    }

    /// Pops from the first key that is there, with the reply. False when none is.
    fn run(&self, cx: &mut Context<'_>) -> CommandResult<bool> {
        for key in self.keys {
            let popped = pop(cx, key, self.end, Some(self.count), true, |reply, popped| {
                reply.array(2);
                reply.bulk(key);
                reply.array(popped);
            })?;
            if popped {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Nothing to pop: waits, or says so where waiting is not possible.
fn wait(cx: &mut Context<'_>, keys: &[&[u8]], deadline_ms: Option<i64>) {
    if cx.may_block() {
        cx.block_on_keys(keys, BlockKind::SortedSet, deadline_ms, TimeoutReply::NullArray);
    } else {
        cx.reply.null_array();
    }
}

/// Pops up to `count` members (one, if none was named) and replies with them: `head` (told how many there are), then members and scores, as
/// arrays of two if `nested`. False, and no reply, when there is nothing to pop.
fn pop(
    cx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: Option<usize>,
    nested: bool,
    head: impl FnOnce(&mut ReplyWriter, usize),
) -> CommandResult<bool> {
    let Some(set) = cx.keys.get_mut(key).map(Value::as_zset_mut).transpose()? else { return Ok(false) };
    let len = set.len();
    let named = count.is_some();
    let count = count.unwrap_or(1).min(len);
    if count == 0 {
        return Ok(false);
    }
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    head(cx.reply, count);
    for (member, score) in set.range(ranks.clone(), end == End::Max) {
        if nested {
            cx.reply.array(2);
        }
        member.reply(cx.reply);
        cx.reply.double(score);
    }
    set.remove_range(ranks);
    let empty = set.is_empty();

    cx.changed(key, Class::Zset, end.event());
    cx.shared.effects.add_dirty(count as u64 - 1);
    cx.remove_if_empty(key, empty);
    let mut number = itoa::Buffer::new();
    let effect = [end.command(), key, number.format(count).as_bytes()];
    cx.log(if named { &effect } else { &effect[..2] });
    Ok(true)
}
