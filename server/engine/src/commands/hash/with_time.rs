//! HGETDEL, HGETEX, HSETEX: values and times of fields in one.

use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_DELETE, READ_UPDATE, UPDATE};
use crate::commands::hash::expire::{BAD_COUNT, log_fields, parse_fields, parse_time, removed_at_once};
use crate::commands::hash::write::{find_or_create, limits, removed_fields};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::notify::Class;

pub(super) static HGETDEL: Command = Command {
    name: "hgetdel",
    arity: -5,
    group: Group::Hash,
    since: "8.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Returns the values of fields of a hash and removes them; an empty hash goes away.",
    complexity: "O(N) for N fields",
    syntax: "key FIELDS numfields:integer field [field ...]",
    run: hgetdel,
    ..COMMAND
};

fn hgetdel(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    cx.keys.peek(key).map(|value| value.as_hash()).transpose()?;
    let fields = parse_fields(args, 2, BAD_COUNT)?;

    cx.reply.array(fields.len());
    let Some(value) = cx.keys.get_mut(key) else {
        fields.iter().for_each(|_| cx.reply.null());
        return Ok(());
    };
    let hash = value.as_hash_mut()?;
    let timed = hash.has_times();
    let mut effect: Vec<&[u8]> = vec![b"HDEL", key];
    for &field in fields {
        let Some(value) = hash.get(field) else {
            cx.reply.null();
            continue;
        };
        value.reply(cx.reply);
        hash.remove(field);
        effect.push(field);
    }
    let (removed, empty) = (effect.len() - 2, hash.is_empty());
    if removed > 0 {
        removed_fields(cx, key, removed, timed, empty);
        cx.log(&effect);
    }
    Ok(())
}

pub(super) static HGETEX: Command = Command {
    name: "hgetex",
    arity: -5,
    group: Group::Hash,
    since: "8.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Returns the values of fields of a hash and sets their times to live, or takes them away.",
    complexity: "O(N) for N fields",
    syntax: "key [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | \
             PXAT unix-time-milliseconds:unix-time | PERSIST] FIELDS numfields:integer field [field ...]",
    run: hgetex,
    ..COMMAND
};

/// What becomes of the times of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// HGETEX without an option leaves them; HSETEX takes them away.
    Default,
    Set {
        at_ms: i64,
    },
    /// PERSIST
    Remove,
    /// KEEPTTL
    Keep,
}

/// Is argument `at` an option with a time? Its unit in ms and what it counts from.
fn time_option(cx: &Context<'_>, args: Args<'_>, at: usize) -> Option<(i64, i64)> {
    let now_ms = cx.now_ms();
    let options = [("EX", 1000, now_ms), ("PX", 1, now_ms), ("EXAT", 1000, 0), ("PXAT", 1, 0)];
    let option = options.into_iter().find(|(word, ..)| args.is(at, word));
    option.map(|(_, unit_ms, base_ms)| (unit_ms, base_ms))
}

fn hgetex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    cx.keys.peek(key).map(|value| value.as_hash()).transpose()?;
    let (times, fields_at) = match time_option(cx, args, 2) {
        Some((unit_ms, base_ms)) => (Times::Set { at_ms: parse_time(cx, args.at(3), unit_ms, base_ms)? }, 4),
        None if args.is(2, "PERSIST") => (Times::Remove, 3),
        None => (Times::Default, 2),
    };
    let fields = parse_fields(args, fields_at, BAD_COUNT)?;
    let now_ms = cx.now_ms();

    cx.reply.array(fields.len());
    let seed = cx.keys.seed();
    let Some(value) = cx.keys.get_mut(key) else {
        fields.iter().for_each(|_| cx.reply.null());
        return Ok(());
    };
    let hash = value.as_hash_mut()?;
    let had_times = hash.has_times();
    let mut changed: Vec<&[u8]> = Vec::new();
    for &field in fields {
        let Some(value) = hash.get(field) else {
            cx.reply.null();
            continue;
        };
        value.reply(cx.reply);
        let changes = match times {
            Times::Set { at_ms } if at_ms <= now_ms => hash.remove(field),
            Times::Set { at_ms } => {
                hash.set_time(field, at_ms, seed);
                true
            }
            Times::Remove => hash.persist(field),
            Times::Default | Times::Keep => false,
        };
        if changes {
            changed.push(field);
        }
    }
    let empty = hash.is_empty();
    if changed.is_empty() {
        return Ok(());
    }
    match times {
        Times::Set { at_ms } if at_ms <= now_ms => removed_at_once(cx, key, &changed, had_times, empty),
        Times::Set { at_ms } => {
            times_changed(cx, key, "hexpire", changed.len());
            log_fields(cx, &[b"HPEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()], &changed);
        }
        _ => {
            times_changed(cx, key, "hpersist", changed.len());
            log_fields(cx, &[b"HPERSIST", key], &changed);
        }
    }
    Ok(())
}

fn times_changed(cx: &mut Context<'_>, key: &[u8], event: &str, fields: usize) {
    cx.keys.note_field_times(key);
    cx.changed(key, Class::Hash, event);
    cx.shared.effects.add_dirty(fields as u64 - 1);
}

pub(super) static HSETEX: Command = Command {
    name: "hsetex",
    arity: -6,
    group: Group::Hash,
    since: "8.0.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets fields of a hash with a time to live, if none or all of them are there.",
    complexity: "O(N) for N fields",
    syntax: "key [FNX | FXX] [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | \
             PXAT unix-time-milliseconds:unix-time | KEEPTTL] FIELDS numfields:integer field value [field value ...]",
    run: hsetex,
    ..COMMAND
};

/// The arguments of HSETEX.
struct Setting<'a> {
    /// FNX: none of the fields may be there; FXX: all of them must.
    only_if: Option<Presence>,
    times: Times,
    pairs: &'a [[&'a [u8]; 2]],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    None,
    All,
}

impl<'a> Setting<'a> {
    fn parse(cx: &Context<'_>, args: Args<'a>) -> CommandResult<Self> {
        let wrong_arity = || CommandError::Arity(cx.command.full_name.clone());
        let (mut only_if, mut times) = (None, Times::Default);
        let mut at = 2;
        while let Some(word) = args.get(at) {
            if args.is(at, "FIELDS") {
                if at + 3 >= args.len() {
                    return Err(wrong_arity());
                }
                let count =
                    parse_i64(args.at(at + 1)).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
                let count = count.ok_or(CommandError::new("ERR invalid number of fields"))?;
                let (pairs, []) = args.from(at + 2).as_chunks::<2>() else { return Err(wrong_arity()) };
                if pairs.len() as i64 != count {
                    return Err(wrong_arity());
                }
                return Ok(Self { only_if, times, pairs });
            }
            let time = time_option(cx, args, at);
            if time.is_some() || args.is(at, "KEEPTTL") {
                if times != Times::Default {
                    return Err(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified".into()
                    );
                }
                times = Times::Keep;
                if let Some((unit_ms, base_ms)) = time {
                    at += 1;
                    let arg = args.get(at).ok_or(CommandError::new("ERR missing expire time"))?;
                    times = Times::Set { at_ms: parse_time(cx, arg, unit_ms, base_ms)? };
                }
            } else if args.is(at, "FNX") || args.is(at, "FXX") {
                if only_if.is_some() {
                    return Err("ERR Only one of FXX or FNX arguments can be specified".into());
                }
                only_if = Some(if args.is(at, "FNX") { Presence::None } else { Presence::All });
            } else {
                return Err(CommandError::Bytes(
                    [b"ERR unknown argument: ".as_slice(), printed(word)].concat(),
                ));
            }
            at += 1;
        }
        Err(wrong_arity())
    }
}

fn hsetex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Setting { only_if, times, pairs } = Setting::parse(cx, args)?;
    let hash = cx.keys.peek(key).map(|value| value.as_hash()).transpose()?;
    let is_there = |[field, _]: &[&[u8]; 2]| hash.is_some_and(|hash| hash.contains(field));
    let allowed = match only_if {
        None => true,
        Some(Presence::None) => !pairs.iter().any(is_there),
        Some(Presence::All) => pairs.iter().all(is_there),
    };
    if !allowed {
        cx.reply.int(0);
        return Ok(());
    }
    match times {
        Times::Set { at_ms } if at_ms <= cx.now_ms() && !cx.obeys() => set_and_lose(cx, key, pairs)?,
        _ => set(cx, args, key, pairs, times)?,
    }
    cx.reply.int(1);
    Ok(())
}

fn set(
    cx: &mut Context<'_>,
    args: Args<'_>,
    key: &[u8],
    pairs: &[[&[u8]; 2]],
    times: Times,
) -> CommandResult {
    let limits = limits(cx);
    let hash = find_or_create(cx, key)?;
    let had_times = hash.has_times();
    hash.expect_fields(pairs.len(), &limits);
    for [field, value] in pairs {
        match times {
            Times::Default | Times::Remove => hash.set(field, *value, &limits),
            Times::Keep | Times::Set { .. } => hash.set_keeping_time(field, *value, &limits),
        };
        if let Times::Set { at_ms } = times {
            hash.set_time(field, at_ms, limits.seed);
        }
    }
    if had_times || hash.has_times() {
        cx.keys.note_field_times(key);
    }
    cx.changed(key, Class::Hash, "hset");
    cx.shared.effects.add_dirty(pairs.len() as u64 - 1);
    let words = pairs.as_flattened();
    let count_at = args.len() - words.len() - 1;
    let mut effect: Vec<&[u8]> = vec![b"HSETEX", key];
    let mut time = itoa::Buffer::new();
    match times {
        Times::Set { at_ms } => {
            cx.notify(Class::Hash, "hexpire", key);
            effect.extend([b"PXAT".as_slice(), time.format(at_ms).as_bytes()]);
        }
        Times::Keep => effect.push(b"KEEPTTL"),
        Times::Default | Times::Remove => {}
    }
    effect.extend([b"FIELDS".as_slice(), args.at(count_at)]);
    effect.extend_from_slice(words);
    cx.log(&effect);
    Ok(())
}

/// Sets fields with a time that has passed: all that is left of it is that they are not there.
fn set_and_lose(cx: &mut Context<'_>, key: &[u8], pairs: &[[&[u8]; 2]]) -> CommandResult {
    let (mut had_times, mut empty) = (false, true);
    if let Some(value) = cx.keys.get_mut(key) {
        let hash = value.as_hash_mut()?;
        had_times = hash.has_times();
        for [field, _] in pairs {
            hash.remove(field);
        }
        empty = hash.is_empty();
    }
    let fields: Vec<&[u8]> = pairs.iter().map(|[field, _]| *field).collect();
    cx.notify(Class::Hash, "hset", key);
    removed_at_once(cx, key, &fields, had_times, empty);
    Ok(())
}
