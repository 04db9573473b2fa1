//! Commands that change hashes.

use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, INSERT, Keys, READ_UPDATE, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::long_double::LongDouble;
use crate::notify::Class;
use crate::types::{Elem, Hash, HashLimits};
use crate::value::Value;

pub(super) static HSET: Command = Command {
    name: "hset",
    arity: -4,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets fields of a hash.",
    complexity: "O(N) for N fields",
    syntax: "key field value [field value ...]",
    run: hset,
    ..COMMAND
};

fn hset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let created = set_fields(cx, args)?;
    cx.reply.int(created);
    Ok(())
}

pub(super) static HMSET: Command = Command {
    name: "hmset",
    arity: -4,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets fields of a hash. An older name of HSET with another reply.",
    complexity: "O(N) for N fields",
    syntax: "key field value [field value ...]",
    run: hmset,
    ..COMMAND
};

fn hmset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    set_fields(cx, args)?;
    cx.reply.ok();
    Ok(())
}

/// Sets the fields from argument 2 on; how many of them are new.
fn set_fields(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult<i64> {
    let (pairs, []) = args.from(2).as_chunks::<2>() else {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    };
    let key = args.at(1);
    let limits = limits(cx);
    let hash = find_or_create(cx, key)?;
    let timed = hash.has_times();
    hash.expect_fields(pairs.len(), &limits);
    let created = pairs.iter().filter(|[field, value]| hash.set(field, *value, &limits)).count();
    if timed {
        cx.keys.note_field_times(key);
    }
    cx.changed(key, Class::Hash, "hset");
    cx.shared.effects.add_dirty(pairs.len() as u64 - 1);
    cx.log_self();
    Ok(created as i64)
}

pub(super) static HSETNX: Command = Command {
    name: "hsetnx",
    arity: 4,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Sets a field of a hash unless it is there already.",
    syntax: "key field value",
    run: hsetnx,
    ..COMMAND
};

fn hsetnx(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, field) = (args.at(1), args.at(2));
    let limits = limits(cx);
    let hash = find_or_create(cx, key)?;
    if hash.contains(field) {
        cx.reply.int(0);
        return Ok(());
    }
    hash.set(field, args.at(3), &limits);
    cx.changed(key, Class::Hash, "hset");
    cx.log_self();
    cx.reply.int(1);
    Ok(())
}

pub(super) static HDEL: Command = Command {
    name: "hdel",
    arity: -3,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes fields from a hash; an empty hash goes away.",
    complexity: "O(N) for N fields to be removed",
    syntax: "key field [field ...]",
    run: hdel,
    ..COMMAND
};

fn hdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Some(value) = cx.keys.get_mut(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let hash = value.as_hash_mut()?;
    let timed = hash.has_times();
    let removed = args.from(2).iter().filter(|field| hash.remove(field)).count();
    let empty = hash.is_empty();
    if removed > 0 {
        removed_fields(cx, key, removed, timed, empty);
        cx.log_self();
    }
    cx.reply.int(removed as i64);
    Ok(())
}

/// Fields of the hash at `key` have been removed: how many, whether it had fields with times, whether it is empty now.
pub(super) fn removed_fields(cx: &mut Context<'_>, key: &[u8], count: usize, timed: bool, empty: bool) {
    if timed {
        cx.keys.note_field_times(key);
    }
    cx.changed(key, Class::Hash, "hdel");
    cx.shared.effects.add_dirty(count as u64 - 1);
    cx.remove_if_empty(key, empty);
}

pub(super) static HINCRBY: Command = Command {
    name: "hincrby",
    arity: 4,
    group: Group::Hash,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Adds to the integer in a field of a hash; a missing field counts as 0.",
    syntax: "key field increment:integer",
    run: hincrby,
    ..COMMAND
};

fn hincrby(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, field) = (args.at(1), args.at(2));
    let increment = args.int(3)?;
    let limits = limits(cx);
    // A hash made here has no field that could be refused below, so it never stays empty.
    let hash = find_or_create(cx, key)?;
    let old = match hash.get(field) {
        Some(value) => value.as_int().ok_or(CommandError::new("ERR hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    hash.set_keeping_time(field, new, &limits);
    cx.changed(key, Class::Hash, "hincrby");
    cx.log_self();
    cx.reply.int(new);
    Ok(())
}

pub(super) static HINCRBYFLOAT: Command = Command {
    name: "hincrbyfloat",
    arity: 4,
    group: Group::Hash,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Adds to the number in a field of a hash; a missing field counts as 0.",
    syntax: "key field increment:double",
    run: hincrbyfloat,
    ..COMMAND
};

fn hincrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, field) = (args.at(1), args.at(2));
    let increment = LongDouble::parse(args.at(3)).ok_or(CommandError::NotFloat)?;
    if increment.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let limits = limits(cx);
    // As in HINCRBY: never left empty.
    let hash = find_or_create(cx, key)?;
    let old = match hash.get(field) {
        Some(Elem::Int(value)) => LongDouble::from(value),
        Some(value) => {
            value.with_bytes(LongDouble::parse).ok_or(CommandError::new("ERR hash value is not a float"))?
        }
        None => LongDouble::from(0),
    };
    let new = old.checked_add(increment);
    let new = new.ok_or(CommandError::new("ERR increment would produce NaN or Infinity"))?.to_string();
    hash.set_keeping_time(field, new.as_bytes(), &limits);
    let timed = hash.time_of(field).is_some();
    cx.changed(key, Class::Hash, "hincrbyfloat");
    if timed {
        cx.log(&[b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, new.as_bytes()]);
    } else {
        cx.log(&[b"HSET", key, field, new.as_bytes()]);
    }
    cx.reply.bulk(new.as_bytes());
    Ok(())
}

/// The hash at `key`, made if nothing is there: the caller is going to set a field.
pub(super) fn find_or_create<'k>(cx: &'k mut Context<'_>, key: &[u8]) -> CommandResult<&'k mut Hash> {
    cx.keys.get_or_insert_with(key, || Value::Hash(Hash::new())).0.as_hash_mut()
}

pub(super) fn limits(cx: &Context<'_>) -> HashLimits {
    HashLimits::new(cx.config(), cx.keys.seed())
}
