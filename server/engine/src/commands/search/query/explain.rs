//! FT.EXPLAIN, FT.EXPLAINCLI: the tree that a query is read as.

use super::options::{Kind, Request};
use super::parsed::Parsed;
use super::{World, limits, look_up_only};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;

pub(super) static FT_EXPLAIN: Command = Command {
    name: "ft.explain",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns the tree that a query is read as.",
    complexity: "O(1)",
    syntax: "index query [DIALECT dialect:integer]",
    run: explain,
    ..COMMAND
};

fn explain(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let text = explained(cx, args)?;
    cx.reply.bulk_shared(text.into());
    Ok(())
}

pub(super) static FT_EXPLAINCLI: Command = Command {
    name: "ft.explaincli",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns the tree that a query is read as, line by line.",
    complexity: "O(1)",
    syntax: "index query [DIALECT dialect:integer]",
    run: explaincli,
    ..COMMAND
};

fn explaincli(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let text = explained(cx, args)?;
    // The last line has an end, too, and nothing behind it.
    cx.reply.array(text.split('\n').count());
    text.split('\n').for_each(|line| cx.reply.simple(&line.replace('\r', "\\r")));
    Ok(())
}

fn explained(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult<String> {
    let request = Request::parse(Kind::Explain, args.from(2), &limits(cx))?;
    look_up_only(cx, args.at(1), request.dialect)?;
    let Context { shared, keys, host, .. } = cx;
    let world = World::new(shared, keys, &**host, args.at(1));
    let parsed = Parsed::new(world, &request)?;
    Ok(parsed.query.explain(&world.entry.index))
}
