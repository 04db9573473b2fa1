//! ZADD and ZINCRBY.

use cairn_proto::{DOUBLE_TEXT_MAX, format_double};

use super::limits;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_UPDATE, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::types::Zset;
use crate::value::Value;

pub(super) static ZADD: Command = Command {
    name: "zadd",
    arity: -4,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Adds members to a sorted set, or changes their scores; makes the set when the key is not there.",
    complexity: "O(log(N)) for each member, N being the length of the sorted set",
    syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score:double member:string [score:double member:string ...]",
    run: zadd,
    ..COMMAND
};

fn zadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let mut conditions = Conditions::default();
    let (mut count_changed, mut increment) = (false, false);
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "NX") {
            conditions.new_only = true;
        } else if args.is(at, "XX") {
            conditions.present_only = true;
        } else if args.is(at, "GT") {
            conditions.greater = true;
        } else if args.is(at, "LT") {
            conditions.less = true;
        } else if args.is(at, "CH") {
            count_changed = true;
        } else if args.is(at, "INCR") {
            increment = true;
        } else {
            break;
        }
        at += 1;
    }

    let (pairs, []) = args.from(at).as_chunks::<2>() else { return Err(CommandError::Syntax) };
    if pairs.is_empty() {
        return Err(CommandError::Syntax);
    }
    conditions.check()?;
    if increment && pairs.len() > 1 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    let pairs = pairs
        .iter()
        .map(|&[score, member]| Ok((crate::args::parse_f64(score).ok_or(CommandError::NotFloat)?, member)));
    let pairs: Vec<(f64, &[u8])> = pairs.collect::<CommandResult<_>>()?;

    if increment {
        let (amount, member) = pairs[0];
        return increment_score(cx, key, member, amount, conditions);
    }
    let addition = add(cx, key, &pairs, conditions)?;
    if addition.changes() > 0 {
        cx.log_self();
    }
    cx.reply.int(if count_changed { addition.changes() } else { addition.added } as i64);
    Ok(())
}

pub(super) static ZINCRBY: Command = Command {
    name: "zincrby",
    arity: 4,
    group: Group::SortedSet,
    since: "1.2.0",
    flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Adds to the score of a member and returns the sum; a new member begins at 0.",
    complexity: "O(log(N)), N being the length of the sorted set",
    syntax: "key increment:integer member:string",
    run: zincrby,
    ..COMMAND
};

fn zincrby(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let amount = args.double(2)?;
    increment_score(cx, args.at(1), args.at(3), amount, Conditions::default())
}

/// What a member must be for its score to be set.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::commands) struct Conditions {
    /// NX
    pub new_only: bool,
    /// XX
    pub present_only: bool,
    /// GT: a present score only rises.
    pub greater: bool,
    /// LT: a present score only falls.
    pub less: bool,
}

impl Conditions {
    fn check(self) -> CommandResult {
        if self.new_only && self.present_only {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if [self.greater, self.less, self.new_only].iter().filter(|&&given| given).count() > 1 {
            return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
        }
        Ok(())
    }

    /// May a member that has the score `old` get the score `new`?
    fn allow(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.present_only,
            Some(old) => !(self.new_only || (self.greater && new <= old) || (self.less && new >= old)),
        }
    }
}

/// How many members [`add`] added, and how many got another score.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::commands) struct Addition {
    pub added: usize,
    pub updated: usize,
}

impl Addition {
    pub fn changes(self) -> usize {
        self.added + self.updated
    }
}

/// Gives members their scores and tells of the change; the caller logs it, if there was one.
pub(in crate::commands) fn add(
    cx: &mut Context<'_>,
    key: &[u8],
    pairs: &[(f64, &[u8])],
    conditions: Conditions,
) -> CommandResult<Addition> {
    let limits = limits(cx);
    let Some(set) = open(cx, key, pairs.len(), pairs[0].1, conditions)? else {
        return Ok(Addition::default());
    };
    let mut addition = Addition::default();
    for &(score, member) in pairs {
        set.update(member, &limits, |old| {
            if !conditions.allow(old, score) {
                return None;
            }
            match old {
                None => addition.added += 1,
                Some(old) => addition.updated += usize::from(old != score),
            }
            Some(score)
        });
    }
    if addition.changes() > 0 {
        // As Redis, which takes the large form by the number of pairs, known members or not.
        set.expect(pairs.len(), &limits);
        cx.changed(key, Class::Zset, "zadd");
        cx.shared.effects.add_dirty(addition.changes() as u64 - 1);
    }
    Ok(addition)
}

/// Adds `amount` to the member's score and replies with the sum, or with null if the conditions forbid it.
fn increment_score(
    cx: &mut Context<'_>,
    key: &[u8],
    member: &[u8],
    amount: f64,
    conditions: Conditions,
) -> CommandResult {
    let limits = limits(cx);
    let mut sum = None;
    let mut old = None;
    if let Some(set) = open(cx, key, 1, member, conditions)? {
        old = set.update(member, &limits, |old| {
            let new = old.map_or(amount, |old| old + amount);
            // Beside NX, what is not a number is an error whatever the conditions.
            sum = ((new.is_nan() && !conditions.new_only) || conditions.allow(old, new)).then_some(new);
            sum.filter(|sum| !sum.is_nan())
        });
        if sum.is_some_and(|sum| !sum.is_nan() && old != Some(sum)) {
            set.expect(1, &limits);
        }
    }
    match sum {
        Some(sum) if sum.is_nan() => return Err("ERR resulting score is not a number (NaN)".into()),
        Some(sum) => {
            if old != Some(sum) {
                cx.changed(key, Class::Zset, "zincr");
                cx.log(&[b"ZADD", key, format_double(sum, &mut [0; DOUBLE_TEXT_MAX]).as_bytes(), member]);
            }
            cx.reply.double(sum);
        }
        None => cx.reply.null(),
    }
    Ok(())
}

/// The set at the key, made for `pairs` members if it is not there; `None` when it is not and must be.
fn open<'c>(
    cx: &'c mut Context<'_>,
    key: &[u8],
    pairs: usize,
    first: &[u8],
    conditions: Conditions,
) -> CommandResult<Option<&'c mut Zset>> {
    if conditions.present_only && !cx.keys.contains(key) {
        return Ok(None);
    }
    let limits = limits(cx);
    let make = || Value::Zset(Zset::new(&limits, pairs, first.len()));
    let (value, _) = cx.keys.get_or_insert_with(key, make);
    value.as_zset_mut().map(Some)
}
