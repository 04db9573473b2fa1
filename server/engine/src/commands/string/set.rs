//! SET, and the other commands that set a whole string.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, INSERT, Keys, OVERWRITE, READ_UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::value::Value;

/// Whose options are parsed: SET and GETEX share the times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Set,
    GetEx,
}

/// The options of SET and GETEX.
#[derive(Default)]
pub(super) struct Options {
    only_if: Option<OnlyIf>,
    get: bool,
    keep_ttl: bool,
    pub(super) persist: bool,
    /// Absolute, in Unix milliseconds.
    pub(super) expire_at_ms: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnlyIf {
    Absent,
    Present,
}

impl Options {
    /// Parses the options from argument `from` on.
    pub(super) fn parse(
        cx: &Context<'_>,
        args: Args<'_>,
        from: usize,
        dialect: Dialect,
    ) -> CommandResult<Self> {
        let mut options = Self::default();
        let mut time: Option<(&[u8], Unit)> = None;
        let mut i = from;
        while i < args.len() {
            let word = args.at(i).to_ascii_uppercase();
            let ttl_free = time.is_none() && !options.keep_ttl && !options.persist;
            let unit = match (&*word, dialect) {
                (b"NX", Dialect::Set) if options.only_if != Some(OnlyIf::Present) => {
                    options.only_if = Some(OnlyIf::Absent);
                    None
                }
                (b"XX", Dialect::Set) if options.only_if != Some(OnlyIf::Absent) => {
                    options.only_if = Some(OnlyIf::Present);
                    None
                }
                (b"GET", Dialect::Set) => {
                    options.get = true;
                    None
                }
                (b"KEEPTTL", Dialect::Set) if ttl_free || options.keep_ttl => {
                    options.keep_ttl = true;
                    None
                }
                (b"PERSIST", Dialect::GetEx) if ttl_free || options.persist => {
                    options.persist = true;
                    None
                }
                (b"EX", _) => Some(Unit { ms: 1000, relative: true }),
                (b"PX", _) => Some(Unit { ms: 1, relative: true }),
                (b"EXAT", _) => Some(Unit { ms: 1000, relative: false }),
                (b"PXAT", _) => Some(Unit { ms: 1, relative: false }),
                _ => return Err(CommandError::Syntax),
            };
            if let Some(unit) = unit {
                if !ttl_free || i + 1 == args.len() {
                    return Err(CommandError::Syntax);
                }
                time = Some((args.at(i + 1), unit));
                i += 1;
            }
            i += 1;
        }
        if let Some((text, unit)) = time {
            options.expire_at_ms = Some(expire_time(cx, text, unit)?);
        }
        Ok(options)
    }
}

/// The unit of a time to live.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) ms: i64,
    pub(super) relative: bool,
}

/// A time to live as an absolute time in milliseconds; it must be positive and fit.
fn expire_time(cx: &Context<'_>, text: &[u8], unit: Unit) -> CommandResult<i64> {
    let amount = crate::args::parse_i64(text).ok_or(CommandError::NotInteger)?;
    let invalid =
        || CommandError::from(format!("ERR invalid expire time in '{}' command", cx.command.full_name));
    if amount <= 0 {
        return Err(invalid());
    }
    let ms = amount.checked_mul(unit.ms).ok_or_else(invalid)?;
    if unit.relative { ms.checked_add(cx.now_ms()).ok_or_else(invalid) } else { Ok(ms) }
}

/// Sets the key and its time to live, writes the effect down, and tells who must know.
fn store(cx: &mut Context<'_>, key: &[u8], value: &[u8], expire_at_ms: Option<i64>, keep_ttl: bool) {
    let value_text = value;
    let value = Value::string(value);
    if keep_ttl {
        cx.keys.set_keep_ttl(key, value);
        cx.changed(key, Class::String, "set");
        cx.log(&[b"SET", key, value_text, b"KEEPTTL"]);
        return;
    }
    let Some(at_ms) = expire_at_ms else {
        cx.keys.set(key, value);
        cx.changed(key, Class::String, "set");
        cx.log(&[b"SET", key, value_text]);
        return;
    };
    if at_ms <= cx.now_ms() && !cx.mode.applying {
        // The key is gone as soon as it is set.
        cx.keys.delete(key);
        cx.changed(key, Class::Generic, "del");
        cx.log(&[b"DEL", key]);
        return;
    }
    cx.keys.set(key, value);
    cx.keys.set_expire(key, at_ms);
    cx.changed(key, Class::String, "set");
    cx.notify(Class::Generic, "expire", key);
    cx.log(&[b"SET", key, value_text, b"PXAT", itoa::Buffer::new().format(at_ms).as_bytes()]);
}

pub(super) static SET: Command = Command {
    name: "set",
    arity: -3,
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Sets the string at a key, whatever was there before.",
    syntax: "key value:string [NX | XX] [GET] [EX seconds:integer | PX milliseconds:integer | \
             EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL]",
    run: set,
    ..COMMAND
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, value) = (args.at(1), args.at(2));
    if args.len() == 3 {
        store(cx, key, value, None, false);
        cx.reply.ok();
        return Ok(());
    }
    let options = Options::parse(cx, args, 3, Dialect::Set)?;
    let present = cx.keys.contains(key);
    if options.get {
        match cx.keys.get(key) {
            Some(old) => old.as_str()?.reply(cx.reply),
            None => cx.reply.null(),
        }
    }
    let goes = match options.only_if {
        Some(OnlyIf::Absent) => !present,
        Some(OnlyIf::Present) => present,
        None => true,
    };
    if !goes {
        if !options.get {
            cx.reply.null();
        }
        return Ok(());
    }
    store(cx, key, value, options.expire_at_ms, options.keep_ttl);
    if !options.get {
        cx.reply.ok();
    }
    Ok(())
}

pub(super) static SETNX: Command = Command {
    name: "setnx",
    arity: 3,
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, INSERT)],
    summary: "Sets the string at a key unless the key is there.",
    syntax: "key value:string",
    run: setnx,
    ..COMMAND
};

fn setnx(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let absent = !cx.keys.contains(key);
    if absent {
        store(cx, key, args.at(2), None, false);
    }
    cx.reply.int(absent.into());
    Ok(())
}

pub(super) static SETEX: Command = Command {
    name: "setex",
    arity: 4,
    group: Group::String,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE)],
    summary: "Sets the string at a key with a time to live in seconds.",
    syntax: "key seconds:integer value:string",
    run: |cx, args| setex(cx, args, Unit { ms: 1000, relative: true }),
    ..COMMAND
};

pub(super) static PSETEX: Command = Command {
    name: "psetex",
    arity: 4,
    group: Group::String,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, OVERWRITE)],
    summary: "Sets the string at a key with a time to live in milliseconds.",
    syntax: "key milliseconds:integer value:string",
    run: |cx, args| setex(cx, args, Unit { ms: 1, relative: true }),
    ..COMMAND
};

fn setex(cx: &mut Context<'_>, args: Args<'_>, unit: Unit) -> CommandResult {
    let at_ms = expire_time(cx, args.at(2), unit)?;
    store(cx, args.at(1), args.at(3), Some(at_ms), false);
    cx.reply.ok();
    Ok(())
}

pub(super) static GETSET: Command = Command {
    name: "getset",
    arity: 3,
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Returns the string at a key and sets a new one.",
    syntax: "key value:string",
    run: getset,
    ..COMMAND
};

fn getset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    match cx.keys.get(key) {
        Some(old) => old.as_str()?.reply(cx.reply),
        None => cx.reply.null(),
    }
    store(cx, key, args.at(2), None, false);
    Ok(())
}

pub(super) static MSET: Command = Command {
    name: "mset",
    arity: -3,
    group: Group::String,
    since: "1.0.1",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::range(1, -1, 2, OVERWRITE)],
    summary: "Sets the strings at several keys.",
    complexity: "O(N) with N the number of keys",
    syntax: "key value:string [key value:string ...]",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    run: mset,
    ..COMMAND
};

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    check_pairs(cx, args)?;
    set_pairs(cx, args);
    cx.reply.ok();
    Ok(())
}

pub(super) static MSETNX: Command = Command {
    name: "msetnx",
    arity: -3,
    group: Group::String,
    since: "1.0.1",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::range(1, -1, 2, INSERT)],
    summary: "Sets the strings at several keys unless any of them is there.",
    complexity: "O(N) with N the number of keys",
    syntax: "key value:string [key value:string ...]",
    run: msetnx,
    ..COMMAND
};

fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    check_pairs(cx, args)?;
    let free = args.from(1).chunks_exact(2).all(|pair| !cx.keys.contains(pair[0]));
    if free {
        set_pairs(cx, args);
    }
    cx.reply.int(free.into());
    Ok(())
}

fn check_pairs(cx: &Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    Ok(())
}

fn set_pairs(cx: &mut Context<'_>, args: Args<'_>) {
    for pair in args.from(1).chunks_exact(2) {
        cx.keys.set(pair[0], Value::string(pair[1]));
        cx.changed(pair[0], Class::String, "set");
    }
    let mut effect: Vec<&[u8]> = Vec::with_capacity(args.len());
    effect.push(b"MSET");
    effect.extend_from_slice(args.from(1));
    cx.log(&effect);
}
