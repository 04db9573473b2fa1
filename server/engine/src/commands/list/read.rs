//! Commands that read lists.

use super::index_range;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::types::{End, List};

pub(super) static LLEN: Command = Command {
    name: "llen",
    arity: 2,
    group: Group::List,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the length of a list.",
    syntax: "key",
    run: llen,
    ..COMMAND
};

fn llen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = match find(cx.keys, args.at(1))? {
        Some(list) => list.len(),
        None => 0,
    };
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static LINDEX: Command = Command {
    name: "lindex",
    arity: 3,
    group: Group::List,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns an element of a list by its index.",
    complexity: "O(N) with N the nodes between the element and the nearer end",
    syntax: "key index:integer",
    run: lindex,
    ..COMMAND
};

fn lindex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(list) = find(cx.keys, args.at(1))? else {
        cx.reply.null();
        return Ok(());
    };
    match list.get(args.int(2)?) {
        Some(element) => element.reply(cx.reply),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static LRANGE: Command = Command {
    name: "lrange",
    arity: 4,
    group: Group::List,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the elements of a list from one index to another.",
    complexity: "O(S+N) with S the nodes between the start and the nearer end, and N the elements returned",
    syntax: "key start:integer stop:integer",
    run: lrange,
    ..COMMAND
};

fn lrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let Some(list) = find(cx.keys, args.at(1))? else {
        cx.reply.array(0);
        return Ok(());
    };
    match index_range(start, stop, list.len()) {
        None => cx.reply.array(0),
        Some((first, count)) => {
            cx.reply.array(count);
            list.range(first, count).for_each(|element| element.reply(cx.reply));
        }
    }
    Ok(())
}

pub(super) static LPOS: Command = Command {
    name: "lpos",
    arity: -3,
    group: Group::List,
    since: "6.0.6",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the indices at which an element is found in a list.",
    complexity: "O(N) with N the elements looked at",
    syntax: "key element:string [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
    run: lpos,
    ..COMMAND
};

fn lpos(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, element) = (args.at(1), args.at(2));
    let search = Search::parse(args)?;
    let Some(list) = find(cx.keys, key)? else {
        match search.count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let mut matches = list.matches(element, search.from, search.max_len).skip(search.skip);
    let Some(count) = search.count else {
        match matches.next() {
            Some(index) => cx.reply.int(index as i64),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let place = cx.reply.defer();
    let mut found = 0;
    for index in matches.take(count) {
        cx.reply.int(index as i64);
        found += 1;
    }
    cx.reply.finish_array(place, found);
    Ok(())
}

/// LPOS's options.
struct Search {
    from: End,
    /// Matches passed over before the first that counts.
    skip: usize,
    /// `None`: one, and not as an array.
    count: Option<usize>,
    /// Elements looked at.
    max_len: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> CommandResult<Self> {
        let mut search = Self { from: End::Left, skip: 0, count: None, max_len: usize::MAX };
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1).copied().ok_or(CommandError::Syntax)?;
            if args.is(at, "rank") {
                let rank = parse_rank(value)?;
                search.from = if rank > 0 { End::Left } else { End::Right };
                search.skip = rank.unsigned_abs() as usize - 1;
            } else if args.is(at, "count") {
                search.count = Some(parse_limit(value, "ERR COUNT can't be negative")?);
            } else if args.is(at, "maxlen") {
                search.max_len = parse_limit(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(search)
    }
}

/// RANK: 1 is the first match, -1 the last.
fn parse_rank(arg: &[u8]) -> CommandResult<i64> {
    match parse_i64(arg).ok_or(CommandError::NotInteger)? {
        0 => Err("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
                  to start from the end of the list"
            .into()),
        i64::MIN => Err("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
            .into()),
        rank => Ok(rank),
    }
}

/// A limit of which 0 means that there is none.
fn parse_limit(arg: &[u8], error: &'static str) -> CommandResult<usize> {
    let limit = parse_i64(arg).and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.ok_or(CommandError::new(error))?;
    Ok(if limit == 0 { usize::MAX } else { limit })
}

fn find<'k>(keys: &'k Keyspace, key: &[u8]) -> CommandResult<Option<&'k List>> {
    keys.get(key).map(|value| value.as_list()).transpose()
}
