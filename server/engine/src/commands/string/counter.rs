//! Numbers in strings.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::long_double::LongDouble;
use crate::notify::Class;
use crate::types::Str;
use crate::value::Value;

pub(super) static INCR: Command = Command {
    name: "incr",
    arity: 2,
    summary: "Adds one to the integer at a key, 0 when it is not there.",
    syntax: "key",
    run: |cx, args| add(cx, args.at(1), 1),
    ..COUNTER
};

pub(super) static DECR: Command = Command {
    name: "decr",
    arity: 2,
    summary: "Takes one from the integer at a key, 0 when it is not there.",
    syntax: "key",
    run: |cx, args| add(cx, args.at(1), -1),
    ..COUNTER
};

pub(super) static INCRBY: Command = Command {
    name: "incrby",
    arity: 3,
    summary: "Adds an integer to the one at a key, 0 when it is not there.",
    syntax: "key increment:integer",
    run: |cx, args| {
        let by = args.int(2)?;
        add(cx, args.at(1), by)
    },
    ..COUNTER
};

pub(super) static DECRBY: Command = Command {
    name: "decrby",
    arity: 3,
    summary: "Takes an integer from the one at a key, 0 when it is not there.",
    syntax: "key decrement:integer",
    run: decrby,
    ..COUNTER
};

/// What the integer commands have in common.
const COUNTER: Command = Command {
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    ..COMMAND
};

fn decrby(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let by = args.int(2)?;
    let by = by.checked_neg().ok_or(CommandError::new("ERR decrement would overflow"))?;
    add(cx, args.at(1), by)
}

fn add(cx: &mut Context<'_>, key: &[u8], by: i64) -> CommandResult {
    let (value, made) = cx.keys.get_or_insert_with(key, || Value::Str(Str::Int(0)));
    debug_assert!(!made || value.as_str().is_ok());
    let string = value.as_str_mut()?;
    let old = string.as_int().ok_or(CommandError::NotInteger)?;
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    *string = Str::Int(new);
    cx.changed(key, Class::String, "incrby");
    cx.log_self();
    cx.reply.int(new);
    Ok(())
}

pub(super) static INCRBYFLOAT: Command = Command {
    name: "incrbyfloat",
    arity: 3,
    group: Group::String,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Adds a decimal number to the one at a key, 0 when it is not there.",
    syntax: "key increment:double",
    run: incrbyfloat,
    ..COMMAND
};

fn incrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let old = match cx.keys.get_mut(key) {
        Some(value) => value.as_str()?.with_bytes(LongDouble::parse).ok_or(CommandError::NotFloat)?,
        None => LongDouble::from(0),
    };
    let by = LongDouble::parse(args.at(2)).ok_or(CommandError::NotFloat)?;
    let sum = old
        .checked_add(by)
        .ok_or(CommandError::new("ERR increment would produce NaN or Infinity"))?
        .to_string();
    // Text even when it is a whole number, as in Redis, where OBJECT ENCODING shows it.
    cx.keys.set_keep_ttl(key, Value::Str(Str::text(sum.as_bytes())));
    cx.changed(key, Class::String, "incrbyfloat");
    cx.log(&[b"SET", key, sum.as_bytes(), b"KEEPTTL"]);
    cx.reply.bulk(sum.as_bytes());
    Ok(())
}
