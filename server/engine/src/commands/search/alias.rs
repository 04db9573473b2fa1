//! Other names of indexes.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::search::{ALIASES_MAX, Search};

const TOO_MANY: CommandError = CommandError::new("Maximum number of aliases reached");

pub(super) static FT_ALIASADD: Command = Command {
    name: "ft.aliasadd",
    arity: 3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Gives an index another name.",
    syntax: "alias index",
    run: aliasadd,
    ..COMMAND
};

fn aliasadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (alias, index) = (args.at(1), args.at(2));
    let search = &mut cx.shared.search;
    check(search, alias, index)?;
    if search.aliases().contains_key(alias) {
        return Err("Alias already exists".into());
    }
    if search.aliases().len() >= ALIASES_MAX {
        return Err(TOO_MANY);
    }
    add(cx, args)
}

/// May the index have this alias?
fn check(search: &Search, alias: &[u8], index: &[u8]) -> CommandResult {
    if search.get(index).is_none() {
        return Err("Unknown index name (or name is an alias itself)".into());
    }
    if search.get(alias).is_some() {
        return Err("Alias conflicts with an existing index name".into());
    }
    Ok(())
}

fn add(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (alias, index) = (args.at(1), args.at(2));
    cx.shared.search.aliases_mut().insert(alias.into(), index.into());
    cx.definitions_changed(args.as_slice());
    cx.reply.ok();
    Ok(())
}

pub(super) static FT_ALIASUPDATE: Command = Command {
    name: "ft.aliasupdate",
    arity: 3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    summary: "Gives an index another name, which may have been another index's.",
    syntax: "alias index",
    run: aliasupdate,
    ..COMMAND
};

fn aliasupdate(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (alias, index) = (args.at(1), args.at(2));
    let search = &mut cx.shared.search;
    if search.get(alias).is_some() {
        return Err("Alias does not belong to provided spec".into());
    }
    check(search, alias, index)?;
    if search.aliases().len() >= ALIASES_MAX && !search.aliases().contains_key(alias) {
        return Err(TOO_MANY);
    }
    add(cx, args)
}

pub(super) static FT_ALIASDEL: Command = Command {
    name: "ft.aliasdel",
    arity: 2,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::Write],
    summary: "Takes one of its other names from an index.",
    syntax: "alias",
    run: aliasdel,
    ..COMMAND
};

fn aliasdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let alias = args.at(1);
    let search = &mut cx.shared.search;
    if search.get(alias).is_some() {
        return Err("Alias does not belong to provided spec".into());
    }
    if search.aliases_mut().remove(alias).is_none() {
        return Err("Alias does not exist".into());
    }
    cx.definitions_changed(args.as_slice());
    cx.reply.ok();
    Ok(())
}
