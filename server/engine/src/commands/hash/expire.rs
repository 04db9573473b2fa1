//! Times of fields: HEXPIRE, HTTL, HPERSIST and their like.

use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ, UPDATE};
use crate::commands::hash::read::find;
use crate::commands::hash::write::removed_fields;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;

/// The latest time that a field may have, as in Redis, which keeps bits of its own beside it.
const TIME_MAX_MS: i64 = (1 << 46) - 1;

/// Replies about a field.
const NO_FIELD: i64 = -2;
const NO_TIME: i64 = -1;
const CONDITION_NOT_MET: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// What HTTL and others say of a bad number of fields.
pub(super) const BAD_COUNT: CommandError =
    CommandError::new("ERR Number of fields must be a positive integer");

/// Reads a time: `arg` in units of so many ms since `base_ms`.
pub(super) fn parse_time(cx: &Context<'_>, arg: &[u8], unit_ms: i64, base_ms: i64) -> CommandResult<i64> {
    let time = parse_i64(arg).ok_or(CommandError::NotInteger)?;
    if time < 0 {
        return Err("ERR invalid expire time, must be >= 0".into());
    }
    let at_ms = time.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base_ms));
    at_ms.filter(|&at_ms| at_ms <= TIME_MAX_MS).ok_or_else(|| {
        CommandError::from(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
    })
}

/// Reads `FIELDS numfields field …`, which must begin at argument `at` and be the rest.
pub(super) fn parse_fields<'a>(
    args: Args<'a>,
    at: usize,
    bad_count: CommandError,
) -> CommandResult<&'a [&'a [u8]]> {
    if !args.is(at, "FIELDS") {
        return Err("ERR Mandatory argument FIELDS is missing or not at the right position".into());
    }
    let count = args.get(at + 1).and_then(|arg| parse_i64(arg)).filter(|&count| count > 0);
    let count = count.ok_or(bad_count)?;
    let fields = args.from(at + 2);
    if fields.len() as i64 != count {
        return Err("ERR The `numfields` parameter must match the number of arguments".into());
    }
    Ok(fields)
}

/// Writes an effect on some fields: these words, their number, and the fields.
pub(super) fn log_fields(cx: &mut Context<'_>, words: &[&[u8]], fields: &[&[u8]]) {
    let mut count = itoa::Buffer::new();
    let mut effect = words.to_vec();
    effect.extend([b"FIELDS".as_slice(), count.format(fields.len()).as_bytes()]);
    effect.extend_from_slice(fields);
    cx.log(&effect);
}

/// Fields have been removed because the time that they were to get has passed. `had_times` and `empty` as in
/// [`removed_fields`].
pub(super) fn removed_at_once(
    cx: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
    had_times: bool,
    empty: bool,
) {
    removed_fields(cx, key, fields.len(), had_times, empty);
    cx.shared.stats.expired_fields += fields.len() as u64;
    let mut effect = vec![b"HDEL".as_slice(), key];
    effect.extend_from_slice(fields);
    cx.log(&effect);
}

/// What the commands that set times have in common.
const SETTER: Command = Command {
    arity: -6,
    group: Group::Hash,
    since: "7.4.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    complexity: "O(N) for N fields",
    ..COMMAND
};

pub(super) static HEXPIRE: Command = Command {
    name: "hexpire",
    summary: "Sets the time to live of fields of a hash in seconds.",
    syntax: "key seconds:integer [NX | XX | GT | LT] FIELDS numfields:integer field [field ...]",
    run: |cx, args| expire(cx, args, 1000, cx.now_ms()),
    ..SETTER
};

pub(super) static HPEXPIRE: Command = Command {
    name: "hpexpire",
    summary: "Sets the time to live of fields of a hash in milliseconds.",
    syntax: "key milliseconds:integer [NX | XX | GT | LT] FIELDS numfields:integer field [field ...]",
    run: |cx, args| expire(cx, args, 1, cx.now_ms()),
    ..SETTER
};

pub(super) static HEXPIREAT: Command = Command {
    name: "hexpireat",
    summary: "Sets the Unix time in seconds at which fields of a hash go.",
    syntax: "key unix-time-seconds:unix-time [NX | XX | GT | LT] FIELDS numfields:integer field [field ...]",
    run: |cx, args| expire(cx, args, 1000, 0),
    ..SETTER
};

pub(super) static HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    summary: "Sets the Unix time in milliseconds at which fields of a hash go.",
    syntax: "key unix-time-milliseconds:unix-time [NX | XX | GT | LT] FIELDS numfields:integer field [field ...]",
    run: |cx, args| expire(cx, args, 1, 0),
    ..SETTER
};

/// Under which condition a field gets a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    /// NX
    IfNone,
    /// XX
    IfAny,
    /// GT
    IfLater,
    /// LT
    IfEarlier,
}

impl Condition {
    fn parse(args: Args<'_>, at: usize) -> Self {
        let words =
            [("NX", Self::IfNone), ("XX", Self::IfAny), ("GT", Self::IfLater), ("LT", Self::IfEarlier)];
        words.into_iter().find(|(word, _)| args.is(at, word)).map_or(Self::Always, |(_, condition)| condition)
    }

    /// Does it allow `new_ms` in place of `old_ms`? No time counts as one without end.
    fn allows(self, old_ms: Option<i64>, new_ms: i64) -> bool {
        match (self, old_ms) {
            (Self::Always, _) | (Self::IfNone | Self::IfEarlier, None) | (Self::IfAny, Some(_)) => true,
            (Self::IfLater, Some(old_ms)) => new_ms > old_ms,
            (Self::IfEarlier, Some(old_ms)) => new_ms < old_ms,
            (Self::IfNone, Some(_)) | (Self::IfAny | Self::IfLater, None) => false,
        }
    }
}

fn expire(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64, base_ms: i64) -> CommandResult {
    let key = args.at(1);
    // Redis looks at the key before the rest.
    cx.keys.peek(key).map(|value| value.as_hash()).transpose()?;
    let at_ms = parse_time(cx, args.at(2), unit_ms, base_ms)?;
    let condition = Condition::parse(args, 3);
    let fields_at = if condition == Condition::Always { 3 } else { 4 };
    let bad_count = CommandError::new("ERR Parameter `numFields` should be greater than 0");
    let fields = parse_fields(args, fields_at, bad_count)?;
    let removes = at_ms <= cx.now_ms() && !cx.obeys();

    cx.reply.array(fields.len());
    let seed = cx.keys.seed();
    let Some(value) = cx.keys.get_mut(key) else {
        fields.iter().for_each(|_| cx.reply.int(NO_FIELD));
        return Ok(());
    };
    let hash = value.as_hash_mut()?;
    let had_times = hash.has_times();
    let mut changed: Vec<&[u8]> = Vec::new();
    for &field in fields {
        let outcome = if !hash.contains(field) {
            NO_FIELD
        } else if !condition.allows(hash.time_of(field), at_ms) {
            CONDITION_NOT_MET
        } else if removes {
            hash.remove(field);
            REMOVED
        } else {
            hash.set_time(field, at_ms, seed);
            DONE
        };
        if outcome > CONDITION_NOT_MET {
            changed.push(field);
        }
        cx.reply.int(outcome);
    }
    let empty = hash.is_empty();
    if changed.is_empty() {
        return Ok(());
    }
    if removes {
        removed_at_once(cx, key, &changed, had_times, empty);
    } else {
        cx.keys.note_field_times(key);
        cx.changed(key, Class::Hash, "hexpire");
        cx.shared.effects.add_dirty(changed.len() as u64 - 1);
        log_fields(cx, &[b"HPEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()], &changed);
    }
    Ok(())
}

pub(super) static HPERSIST: Command = Command {
    name: "hpersist",
    arity: -5,
    group: Group::Hash,
    since: "7.4.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Takes the times to live of fields of a hash away.",
    complexity: "O(N) for N fields",
    syntax: "key FIELDS numfields:integer field [field ...]",
    run: persist,
    ..COMMAND
};

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    cx.keys.peek(key).map(|value| value.as_hash()).transpose()?;
    let fields = parse_fields(args, 2, BAD_COUNT)?;

    cx.reply.array(fields.len());
    let Some(value) = cx.keys.get_mut(key) else {
        fields.iter().for_each(|_| cx.reply.int(NO_FIELD));
        return Ok(());
    };
    let hash = value.as_hash_mut()?;
    let mut changed = false;
    for field in fields {
        let outcome = if !hash.contains(field) {
            NO_FIELD
        } else if hash.persist(field) {
            changed = true;
            DONE
        } else {
            NO_TIME
        };
        cx.reply.int(outcome);
    }
    if changed {
        cx.keys.note_field_times(key);
        cx.changed(key, Class::Hash, "hpersist");
        cx.log_self();
    }
    Ok(())
}

/// What the commands that ask for times have in common.
const GETTER: Command = Command {
    arity: -5,
    group: Group::Hash,
    since: "7.4.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    complexity: "O(N) for N fields",
    syntax: "key FIELDS numfields:integer field [field ...]",
    ..COMMAND
};

pub(super) static HTTL: Command = Command {
    name: "httl",
    summary: "Answers the times to live of fields of a hash in seconds; -1: it has none, -2: there is no such field.",
    tips: &["nondeterministic_output"],
    run: |cx, args| report(cx, args, |at_ms, now_ms| to_seconds(at_ms - now_ms)),
    ..GETTER
};

pub(super) static HPTTL: Command = Command {
    name: "hpttl",
    summary: "Answers the times to live of fields of a hash in milliseconds; -1: it has none, -2: there is no such field.",
    tips: &["nondeterministic_output"],
    run: |cx, args| report(cx, args, |at_ms, now_ms| at_ms - now_ms),
    ..GETTER
};

pub(super) static HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    summary: "Answers the Unix times in seconds at which fields of a hash go; -1: never, -2: there is no such field.",
    run: |cx, args| report(cx, args, |at_ms, _| to_seconds(at_ms)),
    ..GETTER
};

pub(super) static HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    summary: "Answers the Unix times in milliseconds at which fields of a hash go; -1: never, -2: there is no such field.",
    run: |cx, args| report(cx, args, |at_ms, _| at_ms),
    ..GETTER
};

fn report(cx: &mut Context<'_>, args: Args<'_>, show: impl Fn(i64, i64) -> i64) -> CommandResult {
    let hash = find(cx.keys, args.at(1))?;
    let fields = parse_fields(args, 2, BAD_COUNT)?;
    let now_ms = cx.shared.now_ms;
    cx.reply.array(fields.len());
    for field in fields {
        cx.reply.int(match hash {
            Some(hash) if hash.contains(field) => {
                hash.time_of(field).map_or(NO_TIME, |at_ms| show(at_ms, now_ms))
            }
            _ => NO_FIELD,
        });
    }
    Ok(())
}

/// Rounded up, other than the times of keys.
fn to_seconds(ms: i64) -> i64 {
    (ms + 999) / 1000
}

#[cfg(test)]
mod tests {
    use super::Condition;

    #[test]
    fn no_time_counts_as_one_without_end() {
        for (condition, none, earlier, same, later) in [
            (Condition::Always, true, true, true, true),
            (Condition::IfNone, true, false, false, false),
            (Condition::IfAny, false, true, true, true),
            (Condition::IfLater, false, false, false, true),
            (Condition::IfEarlier, true, true, false, false),
        ] {
            let allowed = [None, Some(11), Some(10), Some(9)].map(|old_ms| condition.allows(old_ms, 10));
            assert_eq!(allowed, [none, earlier, same, later], "{condition:?}");
        }
    }
}
