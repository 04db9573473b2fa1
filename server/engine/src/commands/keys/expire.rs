//! Times to live.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Keys, READ, UPDATE};
use crate::context::Context;
use crate::effects::removal;
use crate::error::{CommandError, CommandResult, printed};
use crate::notify::Class;

/// Gives an existing key a time to live, an absolute time in Unix milliseconds; one that has passed removes the key.
pub(in crate::commands) fn expire_at(cx: &mut Context<'_>, key: &[u8], at_ms: i64) {
    if at_ms <= cx.now_ms() && !cx.obeys() {
        let word = removal(cx.config().lazyfree_lazy_expire);
        cx.delete_key_as(word, key, Class::Generic, "del");
        return;
    }
    cx.keys.set_expire(key, at_ms);
    cx.changed(key, Class::Generic, "expire");
    cx.log(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
}

pub(super) static EXPIRE: Command = Command {
    name: "expire",
    summary: "Sets a key's time to live in seconds.",
    syntax: "key seconds:integer [NX | XX | GT | LT]",
    run: |cx, args| expire(cx, args, 1000, cx.now_ms()),
    ..SETTER
};

pub(super) static PEXPIRE: Command = Command {
    name: "pexpire",
    since: "2.6.0",
    summary: "Sets a key's time to live in milliseconds.",
    syntax: "key milliseconds:integer [NX | XX | GT | LT]",
    run: |cx, args| expire(cx, args, 1, cx.now_ms()),
    ..SETTER
};

pub(super) static EXPIREAT: Command = Command {
    name: "expireat",
    since: "1.2.0",
    summary: "Sets the Unix time in seconds at which a key goes.",
    syntax: "key unix-time-seconds:unix-time [NX | XX | GT | LT]",
    run: |cx, args| expire(cx, args, 1000, 0),
    ..SETTER
};

pub(super) static PEXPIREAT: Command = Command {
    name: "pexpireat",
    since: "2.6.0",
    summary: "Sets the Unix time in milliseconds at which a key goes.",
    syntax: "key unix-time-milliseconds:unix-time [NX | XX | GT | LT]",
    run: |cx, args| expire(cx, args, 1, 0),
    ..SETTER
};

/// What the commands that set a time have in common.
const SETTER: Command =
    Command { arity: -3, flags: &[Flag::Write, Flag::Fast], keys: &[Keys::at(1, UPDATE)], ..COMMAND };

/// Under which conditions EXPIRE and its like change anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> CommandResult<Self> {
        let mut conditions = Self::default();
        for (i, word) in args.iter().enumerate().skip(3) {
            if args.is(i, "NX") {
                conditions.only_without = true;
            } else if args.is(i, "XX") {
                conditions.only_with = true;
            } else if args.is(i, "GT") {
                conditions.only_later = true;
            } else if args.is(i, "LT") {
                conditions.only_earlier = true;
            } else {
                return Err(CommandError::Bytes(
                    [b"ERR Unsupported option ".as_slice(), printed(word)].concat(),
                ));
            }
        }
        if conditions.only_without
            && (conditions.only_with || conditions.only_later || conditions.only_earlier)
        {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if conditions.only_later && conditions.only_earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Do they allow `new_ms` in place of `old_ms`? No time to live counts as one without end.
    fn allow(self, old_ms: Option<i64>, new_ms: i64) -> bool {
        match old_ms {
            None => !self.only_with && !self.only_later,
            Some(old_ms) => {
                !(self.only_without
                    || self.only_later && new_ms <= old_ms
                    || self.only_earlier && new_ms >= old_ms)
            }
        }
    }
}

fn expire(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64, base_ms: i64) -> CommandResult {
    let key = args.at(1);
    let conditions = Conditions::parse(args)?;
    let at_ms =
        args.int(2)?.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base_ms)).ok_or_else(|| {
            CommandError::from(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
        })?;
    let goes = cx.keys.find_to_change(key) && conditions.allow(cx.keys.expire_at(key), at_ms);
    if goes {
        expire_at(cx, key, at_ms);
    }
    cx.reply.int(goes.into());
    Ok(())
}

pub(super) static PERSIST: Command = Command {
    name: "persist",
    arity: 2,
    since: "2.2.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Takes a key's time to live away.",
    syntax: "key",
    run: persist,
    ..COMMAND
};

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let had_one = cx.keys.find_to_change(key) && cx.keys.persist(key);
    if had_one {
        cx.changed(key, Class::Generic, "persist");
        cx.log_self();
    }
    cx.reply.int(had_one.into());
    Ok(())
}

pub(super) static TTL: Command = Command {
    name: "ttl",
    summary: "Answers a key's time to live in seconds; -1: it has none, -2: there is no such key.",
    tips: &["nondeterministic_output"],
    run: |cx, args| report(cx, args, |at_ms, now_ms| to_seconds(left(at_ms, now_ms))),
    ..GETTER
};

pub(super) static PTTL: Command = Command {
    name: "pttl",
    since: "2.6.0",
    summary: "Answers a key's time to live in milliseconds; -1: it has none, -2: there is no such key.",
    tips: &["nondeterministic_output"],
    run: |cx, args| report(cx, args, left),
    ..GETTER
};

pub(super) static EXPIRETIME: Command = Command {
    name: "expiretime",
    since: "7.0.0",
    summary: "Answers the Unix time in seconds at which a key goes; -1: never, -2: there is no such key.",
    run: |cx, args| report(cx, args, |at_ms, _| to_seconds(at_ms)),
    ..GETTER
};

pub(super) static PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    since: "7.0.0",
    summary: "Answers the Unix time in milliseconds at which a key goes; -1: never, -2: there is no such key.",
    run: |cx, args| report(cx, args, |at_ms, _| at_ms),
    ..GETTER
};

/// What the commands that ask for a time have in common.
const GETTER: Command = Command {
    arity: 2,
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    syntax: "key",
    ..COMMAND
};

fn report(cx: &mut Context<'_>, args: Args<'_>, show: impl Fn(i64, i64) -> i64) -> CommandResult {
    let key = args.at(1);
    if cx.keys.find(key).is_none() {
        cx.reply.int(-2);
        return Ok(());
    }
    let now_ms = cx.now_ms();
    cx.reply.int(cx.keys.expire_at(key).map_or(-1, |at_ms| show(at_ms, now_ms)));
    Ok(())
}

fn left(at_ms: i64, now_ms: i64) -> i64 {
    at_ms.saturating_sub(now_ms).max(0)
}

/// Rounded, as Redis rounds.
fn to_seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

#[cfg(test)]
mod tests {
    use super::Conditions;

    #[test]
    fn no_time_to_live_counts_as_one_without_end() {
        let any = Conditions::default();
        let (nx, xx) = (Conditions { only_without: true, ..any }, Conditions { only_with: true, ..any });
        let (gt, lt) = (Conditions { only_later: true, ..any }, Conditions { only_earlier: true, ..any });
        for (conditions, without, earlier, same, later) in [
            (any, true, true, true, true),
            (nx, true, false, false, false),
            (xx, false, true, true, true),
            (gt, false, false, false, true),
            (lt, true, true, false, false),
        ] {
            let allowed = [None, Some(11), Some(10), Some(9)].map(|old| conditions.allow(old, 10));
            assert_eq!(allowed, [without, earlier, same, later], "{conditions:?}");
        }
    }
}
