//! Strings.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, OVERWRITE, READ};
use crate::context::Context;
use crate::error::CommandResult;
use crate::notify::Class;
use crate::value::Value;

pub(super) const COMMANDS: &[&Command] = &[&GET, &SET];

static GET: Command = Command {
    name: "get",
    arity: 2,
    group: Group::String,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the string value of a key.",
    syntax: "key",
    run: get,
    ..COMMAND
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    match cx.keys.get(args.at(1)) {
        Some(value) => value.as_str()?.reply(cx.reply),
        None => cx.reply.null(),
    }
    Ok(())
}

static SET: Command = Command {
    name: "set",
    arity: -3,
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE)],
    summary: "Sets the string value of a key, whatever it held before.",
    syntax: "key value",
    run: set,
    ..COMMAND
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    cx.keys.set(key, Value::string(args.at(2)));
    cx.changed(key, Class::String, "set");
    cx.log_self();
    cx.reply.ok();
    Ok(())
}
