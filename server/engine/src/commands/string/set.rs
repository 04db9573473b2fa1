//! SET, and the other commands that set a whole string.

use crate::args::Args;
use crate::command::{
    COMMAND, Command, Flag, Group, Keys, OVERWRITE, OVERWRITE_INSERT, READ_UPDATE, READ_UPDATE_VARIABLE,
};
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
pub(super) struct Options<'a> {
    only_if: Option<OnlyIf>,
    get: bool,
    keep_ttl: bool,
    pub(super) persist: bool,
    /// EX, PX, EXAT or PXAT, and its number, which is checked later: for GETEX only when there is a string.
    time: Option<(Unit, &'a [u8])>,
    /// PXAT as it was written: it goes to replicas as it came.
    word: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnlyIf {
    Absent,
    Present,
}

impl<'a> Options<'a> {
    /// Parses the options from argument `from` on. An option may be repeated, two that exclude each other are an error.
    pub(super) fn parse(args: Args<'a>, from: usize, dialect: Dialect) -> CommandResult<Self> {
        let (set, getex) = (dialect == Dialect::Set, dialect == Dialect::GetEx);
        let mut options = Self::default();
        let mut i = from;
        while i < args.len() {
            let no_time = options.time.is_none();
            if set && args.is(i, "NX") && options.only_if != Some(OnlyIf::Present) {
                options.only_if = Some(OnlyIf::Absent);
            } else if set && args.is(i, "XX") && options.only_if != Some(OnlyIf::Absent) {
                options.only_if = Some(OnlyIf::Present);
            } else if set && args.is(i, "GET") {
                options.get = true;
            } else if set && args.is(i, "KEEPTTL") && no_time {
                options.keep_ttl = true;
            } else if getex && args.is(i, "PERSIST") && no_time {
                options.persist = true;
            } else {
                let unit = Unit::named(args, i).ok_or(CommandError::Syntax)?;
                let excluded = options.keep_ttl
                    || options.persist
                    || options.time.is_some_and(|(other, _)| other != unit);
                if excluded || i + 1 == args.len() {
                    return Err(CommandError::Syntax);
                }
                options.time = Some((unit, args.at(i + 1)));
                options.word = args.is(i, "PXAT").then(|| args.at(i));
                i += 1;
            }
            i += 1;
        }
        Ok(options)
    }

    /// When the key is to expire, in Unix milliseconds.
    pub(super) fn expire_at_ms(&self, cx: &Context<'_>) -> CommandResult<Option<i64>> {
        self.time.map(|(unit, text)| expire_time(cx, text, unit)).transpose()
    }
}

/// The unit of a time to live.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unit {
    ms: i64,
    relative: bool,
}

impl Unit {
    const SECONDS: Self = Self { ms: 1000, relative: true };
    const MILLISECONDS: Self = Self { ms: 1, relative: true };

    /// The unit that argument `i` names.
    fn named(args: Args<'_>, i: usize) -> Option<Self> {
        match () {
            () if args.is(i, "EX") => Some(Self::SECONDS),
            () if args.is(i, "PX") => Some(Self::MILLISECONDS),
            () if args.is(i, "EXAT") => Some(Self { relative: false, ..Self::SECONDS }),
            () if args.is(i, "PXAT") => Some(Self { relative: false, ..Self::MILLISECONDS }),
            () => None,
        }
    }
}

/// A time to live as an absolute time in milliseconds; it must be positive and fit.
fn expire_time(cx: &Context<'_>, text: &[u8], unit: Unit) -> CommandResult<i64> {
    let amount = crate::args::parse_i64(text).ok_or(CommandError::NotInteger)?;
    let ms = amount.checked_mul(unit.ms).filter(|_| amount > 0);
    let base_ms = if unit.relative { cx.now_ms() } else { 0 };
    ms.and_then(|ms| ms.checked_add(base_ms)).ok_or_else(|| {
        CommandError::from(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
    })
}

/// The word for an absolute time in milliseconds.
const PXAT: &[u8] = b"PXAT";

/// Sets the key and its time to live (a word for it and the time), writes the effect down, and tells who must know.
fn store(cx: &mut Context<'_>, key: &[u8], value: &[u8], expire: Option<(&[u8], i64)>, keep_ttl: bool) {
    let value_text = value;
    let value = Value::string(value);
    if keep_ttl {
        cx.keys.set_keep_ttl(key, value);
        cx.changed(key, Class::String, "set");
        cx.log(&[b"SET", key, value_text, b"KEEPTTL"]);
        return;
    }
    let Some((word, at_ms)) = expire else {
        cx.keys.set(key, value);
        cx.changed(key, Class::String, "set");
        cx.log(&[b"SET", key, value_text]);
        return;
    };
    // A time that has passed is no different: the key goes when it is next met, as in Redis.
    cx.keys.set(key, value);
    cx.keys.set_expire(key, at_ms);
    cx.changed(key, Class::String, "set");
    cx.notify(Class::Generic, "expire", key);
    cx.log(&[b"SET", key, value_text, word, itoa::Buffer::new().format(at_ms).as_bytes()]);
}

pub(super) static SET: Command = Command {
    name: "set",
    arity: -3,
    group: Group::String,
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_UPDATE_VARIABLE)],
    key_access: Some(
        |args| if (3..args.len()).any(|at| args.is(at, "GET")) { READ_UPDATE } else { OVERWRITE },
    ),
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
    let options = Options::parse(args, 3, Dialect::Set)?;
    let expire_at_ms = options.expire_at_ms(cx)?;
    let present = if options.get { super::reply_string(cx, key)? } else { cx.keys.contains(key) };
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
    let expire = expire_at_ms.map(|at_ms| (options.word.unwrap_or(PXAT), at_ms));
    store(cx, key, value, expire, options.keep_ttl);
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
    keys: &[Keys::at(1, OVERWRITE_INSERT)],
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
    run: |cx, args| setex(cx, args, Unit::SECONDS),
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
    run: |cx, args| setex(cx, args, Unit::MILLISECONDS),
    ..COMMAND
};

fn setex(cx: &mut Context<'_>, args: Args<'_>, unit: Unit) -> CommandResult {
    let at_ms = expire_time(cx, args.at(2), unit)?;
    store(cx, args.at(1), args.at(3), Some((PXAT, at_ms)), false);
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
    super::reply_string(cx, key)?;
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
    keys: &[Keys::range(1, -1, 2, OVERWRITE_INSERT)],
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
    cx.log_self();
}
