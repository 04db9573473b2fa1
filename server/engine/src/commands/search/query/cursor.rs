//! WITHCURSOR and FT.CURSOR: the rows of an aggregation by and by.
//!
//! A cursor over rows that come one by one remembers which document is next, and reads on from there; one over groups or
//! sorted rows holds what is left of them. Cursors are this node's own and die with it: neither logged nor replicated.

use std::collections::{BTreeMap, VecDeque};

use cairn_search::aggregate::Row;

use super::aggregate::{Prepared, Rows, Shape};
use super::options::{Kind, Request};
use super::reply::Warnings;
use super::{World, limits, look_up, said};
use crate::args::{Args, OwnedArgs, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

/// Cursors of one index. The same limit as RediSearch has.
pub(crate) const CURSORS_OF_INDEX_MAX: usize = 128;
/// Bytes of all cursors together.
const CURSORS_BYTES_MAX: usize = 256 << 20;
const TOO_LARGE: CommandError = CommandError::new("The rows of cursors take too much memory");
/// Bytes of a cursor beside what it holds.
const CURSOR_BYTES: usize = 256;

/// The cursors of a node.
#[derive(Default)]
pub(crate) struct Cursors {
    by_id: BTreeMap<u64, Cursor>,
    bytes: usize,
}

struct Cursor {
    /// The name of the index.
    index: Box<[u8]>,
    rest: Rest,
    /// Rows of an answer.
    count: usize,
    max_idle_ms: i64,
    /// When it goes if nobody reads on.
    dies_ms: i64,
    bytes: usize,
}

enum Rest {
    /// The aggregation's arguments and the id of the next document.
    From {
        args: OwnedArgs,
        next: u32,
    },
    Rows {
        rows: VecDeque<Row>,
        shape: Shape,
        total: usize,
    },
}

impl Cursor {
    fn size(&self) -> usize {
        let held = match &self.rest {
            Rest::From { args, .. } => args.memory(),
            Rest::Rows { rows, shape, .. } => shape.memory() + rows.iter().map(Row::memory).sum::<usize>(),
        };
        CURSOR_BYTES + self.index.len() + held
    }
}

impl Cursors {
    /// Drops those that nobody has read for too long; answers how many.
    pub fn expire(&mut self, now_ms: i64) -> usize {
        let dead: Vec<u64> =
            self.by_id.iter().filter(|(_, cursor)| cursor.dies_ms <= now_ms).map(|(&id, _)| id).collect();
        dead.iter().for_each(|&id| {
            self.take(id);
        });
        dead.len()
    }

    fn take(&mut self, id: u64) -> Option<Cursor> {
        let cursor = self.by_id.remove(&id)?;
        self.bytes -= cursor.bytes;
        Some(cursor)
    }

    fn has_room_for(&self, index: &[u8]) -> bool {
        self.by_id.values().filter(|cursor| *cursor.index == *index).count() < CURSORS_OF_INDEX_MAX
    }

    fn put(&mut self, id: u64, mut cursor: Cursor, now_ms: i64) -> CommandResult {
        cursor.bytes = cursor.size();
        if self.bytes + cursor.bytes > CURSORS_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        cursor.dies_ms = now_ms.saturating_add(cursor.max_idle_ms);
        self.bytes += cursor.bytes;
        self.by_id.insert(id, cursor);
        Ok(())
    }

    /// How many there are, and how many of them of this index.
    pub fn count(&self, index: &[u8]) -> (usize, usize) {
        (self.by_id.len(), self.by_id.values().filter(|cursor| *cursor.index == *index).count())
    }
}

/// FT.AGGREGATE … WITHCURSOR, of which the index has been looked up.
pub(super) fn start(cx: &mut Context<'_>, args: Args<'_>, request: &Request<'_>) -> CommandResult {
    let options = request.cursor.expect("the caller has seen it");
    let (index, now_ms) = (args.at(1), cx.now_ms());
    cx.shared.search.cursors.expire(now_ms);
    if !cx.shared.search.cursors.has_room_for(index) {
        return Err(
            format!("INDEX_CURSOR_LIMIT of {CURSORS_OF_INDEX_MAX} has been reached for an index").into()
        );
    }
    let count = options.count.unwrap_or(cx.shared.search.settings.cursor_read_size).max(1);
    let cursor = Cursor {
        index: index.into(),
        rest: Rest::From { args: OwnedArgs::copy(args), next: 0 },
        count,
        max_idle_ms: i64::try_from(options.max_idle_ms).unwrap_or(i64::MAX),
        dies_ms: 0,
        bytes: 0,
    };
    // As short as RediSearch's: scripts and JavaScript make doubles of integers.
    let id = loop {
        let id = 1 + cx.keys.rng.below(1 << 31);
        if !cx.shared.search.cursors.by_id.contains_key(&id) {
            break id;
        }
    };
    go_on(cx, id, cursor, count)
}

/// Answers the next rows, and keeps the cursor if there may be more.
fn go_on(cx: &mut Context<'_>, id: u64, mut cursor: Cursor, count: usize) -> CommandResult {
    let now_ms = cx.now_ms();
    let seed = cx.keys.rng.next();
    let reply_from = cx.reply.out.end();
    cx.reply.array(2);
    let more = match &mut cursor.rest {
        Rest::From { args, next } => {
            let slices = args.slices();
            let args = Args::new(&slices);
            let request = Request::parse(Kind::Aggregate, args.from(2), &limits(cx))?;
            let Context { shared, keys, reply, host, .. } = cx;
            let world = World::new(shared, keys, &**host, args.at(1));
            let prepared = Prepared::new(world, &request, reply.resp)?;
            let shape = prepared.shape();
            if prepared.gathers || prepared.cuts || request.count_only {
                let Rows { mut rows, total, warnings, .. } = prepared.run(0, None, seed)?;
                let rest = if rows.len() > count { rows.split_off(count) } else { Vec::new() };
                shape.write(reply, &rows, total, warnings);
                let more = !rest.is_empty();
                cursor.rest = Rest::Rows { rows: rest.into(), shape, total };
                more
            } else {
                let rows = prepared.run(*next, Some(count), seed)?;
                shape.write(reply, &rows.rows, rows.total_in(reply.resp), rows.warnings);
                *next = rows.next.unwrap_or(0);
                rows.next.is_some()
            }
        }
        Rest::Rows { rows, shape, total } => {
            let now: Vec<Row> = rows.drain(..count.min(rows.len())).collect();
            shape.write(cx.reply, &now, *total, Warnings::default());
            !rows.is_empty()
        }
    };
    if more {
        let kept = cx.shared.search.cursors.put(id, cursor, now_ms);
        if let Err(error) = kept {
            cx.reply.out.truncate(reply_from);
            return Err(error);
        }
    }
    cx.reply.int(if more { id as i64 } else { 0 });
    Ok(())
}

pub(super) static FT_CURSOR: Command = Command {
    name: "ft.cursor",
    arity: -2,
    group: Group::Search,
    since: "1.1.0",
    flags: &[Flag::ReadOnly],
    summary: "A container for commands about cursors.",
    subcommands: &[&FT_CURSOR_READ, &FT_CURSOR_DEL, &FT_CURSOR_GC],
    ..COMMAND
};

static FT_CURSOR_READ: Command = Command {
    name: "read",
    arity: -2,
    group: Group::Search,
    since: "1.1.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns the next rows of an aggregation.",
    complexity: "O(N), N being the number of rows",
    syntax: "index cursor_id:integer [COUNT read_size:integer]",
    run: read,
    ..COMMAND
};

fn cursor_id(cx: &Context<'_>, args: Args<'_>) -> CommandResult<u64> {
    if args.len() < 4 {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    let id = parse_i64(args.at(3)).ok_or("Bad cursor ID")?;
    // No cursor has a negative one.
    Ok(u64::try_from(id).unwrap_or(0))
}

fn read(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let id = cursor_id(cx, args)?;
    let count = match args.get(4..6) {
        None => None,
        Some(_) if !args.is(4, "COUNT") => return Err(said("Unknown argument `", args.at(4), "`")),
        Some(_) => {
            let count =
                parse_i64(args.at(5)).ok_or_else(|| said("Bad value for COUNT: `", args.at(5), "`"))?;
            usize::try_from(count).ok().filter(|&count| count > 0)
        }
    };
    let now_ms = cx.now_ms();
    cx.shared.search.cursors.expire(now_ms);
    let Some(mut cursor) = cx.shared.search.cursors.take(id) else {
        return Err(said("Cursor not found, id: ", args.at(3), ""));
    };
    let index = cursor.index.clone();
    if look_up(cx, &index, 0).is_err() {
        return Err("The index was dropped while the cursor was idle".into());
    }
    if let Some(count) = count {
        cursor.count = count;
    }
    let count = cursor.count;
    go_on(cx, id, cursor, count)
}

static FT_CURSOR_DEL: Command = Command {
    name: "del",
    arity: -2,
    group: Group::Search,
    since: "1.1.0",
    flags: &[Flag::ReadOnly],
    summary: "Drops a cursor.",
    complexity: "O(1)",
    syntax: "index cursor_id:integer",
    run: del,
    ..COMMAND
};

fn del(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let id = cursor_id(cx, args)?;
    let now_ms = cx.now_ms();
    cx.shared.search.cursors.expire(now_ms);
    cx.shared.search.cursors.take(id).ok_or("Cursor does not exist")?;
    cx.reply.ok();
    Ok(())
}

static FT_CURSOR_GC: Command = Command {
    name: "gc",
    arity: -3,
    group: Group::Search,
    since: "1.1.0",
    flags: &[Flag::ReadOnly],
    summary: "Drops cursors that nobody has read for too long.",
    complexity: "O(N), N being the number of cursors",
    syntax: "index",
    run: gc,
    ..COMMAND
};

fn gc(cx: &mut Context<'_>, _: Args<'_>) -> CommandResult {
    let now_ms = cx.now_ms();
    let dropped = cx.shared.search.cursors.expire(now_ms);
    // None to be dropped is -1: nothing was looked at.
    cx.reply.int(if dropped == 0 { -1 } else { dropped as i64 });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;
    use cairn_proto::Resp;

    #[test]
    fn cursors_count_the_texts_of_their_arrays_and_the_names_of_their_columns() {
        let mut engine = TestEngine::new();
        let client = engine.connect(Resp::V2);
        engine.run(client, "FT.CREATE idx PREFIX 1 p: SCHEMA g TAG");
        for n in 0..8 {
            engine.run(client, &format!("HSET p:{n} g {} t {}", n % 2, "x".repeat(1000 + n)));
        }
        let name = "n".repeat(2000);
        let question = "FT.AGGREGATE idx * LOAD 2 @g @t GROUPBY 1 @g REDUCE TOLIST 1 @t AS";
        engine.run(client, &format!("{question} {name} WITHCURSOR COUNT 1"));
        let cursors = &engine.engine.shared.search.cursors;
        // One row with four texts is left.
        assert!((6000..8000).contains(&cursors.bytes), "{}", cursors.bytes);
    }
}
