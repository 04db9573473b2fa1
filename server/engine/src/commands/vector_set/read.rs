//! Questions about a vector set and its elements.

use cairn_search::vector::quantised::{Quantisation, Quants};

use super::read_set;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::commands::hash::check_drawn;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::sample::{self, Selection};
use crate::value::Value;

pub(super) static VCARD: Command = Command {
    name: "vcard",
    arity: 2,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns how many elements there are.",
    syntax: "key",
    run: vcard,
    ..COMMAND
};

fn vcard(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let len = read_set(cx, args.at(1))?.map_or(0, |set| set.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) static VDIM: Command = Command {
    name: "vdim",
    arity: 2,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns how many numbers a vector has.",
    syntax: "key",
    run: vdim,
    ..COMMAND
};

fn vdim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = read_set(cx, args.at(1))?.ok_or(CommandError::new("ERR key does not exist"))?;
    let dim = set.slots().dim();
    cx.reply.int(dim as i64);
    Ok(())
}

pub(super) static VEMB: Command = Command {
    name: "vemb",
    arity: -3,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the vector of an element, as near as it is known.",
    syntax: "key element [RAW]",
    run: vemb,
    ..COMMAND
};

fn vemb(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if (3..args.len()).any(|at| !args.is(at, "RAW")) {
        return Err("ERR invalid option".into());
    }
    let raw = args.len() > 3;
    let set = cx.keys.get(args.at(1)).map(Value::as_vector_set).transpose()?;
    let Some((set, slot)) = set.and_then(|set| Some((set, set.slot(args.at(2))?))) else {
        cx.reply.null();
        return Ok(());
    };
    let slots = set.slots();
    if !raw {
        let vector = slots.vector(slot);
        cx.reply.array(vector.len());
        vector.into_iter().for_each(|number| cx.reply.double(f64::from(number)));
        return Ok(());
    }
    let quants = slots.quants(slot);
    cx.reply.array(if matches!(quants, Quants::Bytes { .. }) { 4 } else { 3 });
    cx.reply.simple(quantisation_name(slots.quantisation()));
    cx.reply.bulk(&quants.to_bytes());
    cx.reply.double(f64::from(slots.length(slot)));
    if let Quants::Bytes { range, .. } = quants {
        cx.reply.double(f64::from(range));
    }
    Ok(())
}

/// As VEMB RAW and VINFO call it.
pub(super) fn quantisation_name(quantisation: Quantisation) -> &'static str {
    match quantisation {
        Quantisation::Floats => "f32",
        Quantisation::Bytes => "int8",
        Quantisation::Bits => "bin",
    }
}

pub(super) static VGETATTR: Command = Command {
    name: "vgetattr",
    arity: 3,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the attributes of an element.",
    syntax: "key element",
    run: vgetattr,
    ..COMMAND
};

fn vgetattr(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let set = cx.keys.get(args.at(1)).map(Value::as_vector_set).transpose()?;
    let attributes = set.and_then(|set| Some(set.attributes(set.slot(args.at(2))?)));
    match attributes {
        None | Some([]) => cx.reply.null(),
        Some(attributes) => cx.reply.bulk(attributes),
    }
    Ok(())
}

pub(super) static VISMEMBER: Command = Command {
    name: "vismember",
    arity: 3,
    group: Group::VectorSet,
    since: "8.2.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Is there such an element?",
    syntax: "key element",
    run: vismember,
    ..COMMAND
};

fn vismember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let is_member = read_set(cx, args.at(1))?.is_some_and(|set| set.slot(args.at(2)).is_some());
    cx.reply.bool(is_member);
    Ok(())
}

pub(super) static VRANDMEMBER: Command = Command {
    name: "vrandmember",
    arity: -2,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns random elements: different ones, or with repetition for a negative count.",
    complexity: "O(N) for N elements returned",
    syntax: "key [count:integer]",
    tips: &["nondeterministic_output"],
    run: vrandmember,
    ..COMMAND
};

fn vrandmember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::Arity(cx.command.said_name()));
    }
    let count =
        args.get(2).map(|arg| parse_i64(arg).ok_or(CommandError::new("ERR COUNT value is not an integer")));
    let count = count.transpose()?;
    check_drawn(count.unwrap_or(0))?;
    if count == Some(0) {
        cx.reply.array(0);
        return Ok(());
    }
    let (keys, reply) = (&*cx.keys, &mut *cx.reply);
    let Some(set) = keys.get(args.at(1)).map(Value::as_vector_set).transpose()? else {
        match count {
            None => reply.null(),
            Some(_) => reply.array(0),
        }
        return Ok(());
    };
    let (rng, len) = (&keys.rng, set.len());
    let draw = || set.name(rng.below(len as u64) as u32);
    let Some(count) = count else {
        reply.bulk(draw());
        return Ok(());
    };
    let Ok(wanted) = usize::try_from(count) else {
        let wanted = count.unsigned_abs() as usize;
        reply.array(wanted);
        (0..wanted).for_each(|_| reply.bulk(draw()));
        return Ok(());
    };
    let wanted = wanted.min(len);
    reply.array(wanted);
    if sample::is_sparse(wanted, len) {
        for slot in sample::ranks(len, wanted, rng) {
            reply.bulk(set.name(slot as u32));
        }
    } else {
        let mut selection = Selection::new(len, wanted);
        (0..len as u32).filter(|_| selection.takes(rng)).for_each(|slot| reply.bulk(set.name(slot)));
    }
    Ok(())
}

pub(super) static VRANGE: Command = Command {
    name: "vrange",
    arity: -4,
    group: Group::VectorSet,
    since: "8.4.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns elements whose names are in a range.",
    complexity: "O(log(N)+K), N being the elements of the set, K those returned",
    syntax: "key start end [count:integer]",
    run: vrange,
    ..COMMAND
};

/// An end of a range of names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound<'a> {
    Least,
    Greatest,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

impl<'a> Bound<'a> {
    fn parse(arg: &'a [u8]) -> Option<Self> {
        match arg {
            b"-" => Some(Self::Least),
            b"+" => Some(Self::Greatest),
            [b'[', name @ ..] if !name.is_empty() => Some(Self::Including(name)),
            [b'(', name @ ..] if !name.is_empty() => Some(Self::Excluding(name)),
            _ => None,
        }
    }
}

fn vrange(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 5 {
        return Err(CommandError::Arity(cx.command.said_name()));
    }
    let count = args.get(4).map(|arg| parse_i64(arg).ok_or(CommandError::new("ERR invalid COUNT value")));
    let count = count.transpose()?.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let bound = |at: usize, error| Bound::parse(args.at(at)).ok_or(CommandError::new(error));
    let start = bound(2, "ERR invalid start range format")?;
    let end = bound(3, "ERR invalid end range format")?;
    if start == Bound::Greatest || end == Bound::Least {
        return Err("ERR '-' can only be used as first argument, '+' only as second".into());
    }
    let Some(set) = cx.keys.get(args.at(1)).map(Value::as_vector_set).transpose()? else {
        cx.reply.array(0);
        return Ok(());
    };
    let from = set.names_from(|name| match start {
        Bound::Including(start) => name < start,
        Bound::Excluding(start) => name <= start,
        Bound::Least | Bound::Greatest => false,
    });
    let in_range = from.map(|(name, _)| &**name).take_while(|&name| match end {
        Bound::Including(end) => name <= end,
        Bound::Excluding(end) => name < end,
        Bound::Least | Bound::Greatest => true,
    });
    let names: Vec<&[u8]> = in_range.take(count).collect();
    cx.reply.array(names.len());
    names.into_iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}
