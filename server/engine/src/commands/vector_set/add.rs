//! VADD, VREM, VSETATTR.

use cairn_search::vector::quantised::Quantisation;
use cairn_search::vector::set::{EF_MAX, LEN_MAX, M, M_DEFAULT, Normalised};
use triomphe::Arc;

use super::{Given, INVALID_VECTOR, bounded, dimension_mismatch};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::VectorSet;
use crate::types::vector_set::{ATTRIBUTES_LEN_MAX, NAME_LEN_MAX, PROJECTION_MAX, Projection};
use crate::value::Value;

/// Candidates for links that are looked for.
const EF_DEFAULT: usize = 200;

const TOO_LONG: CommandError = CommandError::new("ERR the name or the attributes of an element are too long");

pub(super) static VADD: Command = Command {
    name: "vadd",
    arity: -5,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Adds an element with its vector, or gives an element another vector.",
    complexity: "O(log(N)), N being the elements of the set",
    syntax: "key [REDUCE dim:integer] <FP32 | VALUES> vector element [CAS] [NOQUANT | BIN | Q8] \
             [EF build-exploration-factor:integer] [SETATTR attributes] [M numlinks:integer]",
    run: vadd,
    ..COMMAND
};

struct Options<'a> {
    quantisation: Quantisation,
    ef: usize,
    m: usize,
    attributes: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, mut at: usize) -> CommandResult<Self> {
        let mut options =
            Self { quantisation: Quantisation::Bytes, ef: EF_DEFAULT, m: M_DEFAULT, attributes: None };
        while at < args.len() {
            let value = args.get(at + 1).copied();
            match value {
                Some(value) if args.is(at, "EF") => {
                    options.ef = bounded(value, 1..=EF_MAX as i64, "ERR invalid EF")?;
                    at += 1;
                }
                Some(value) if args.is(at, "M") => {
                    options.m = bounded(value, *M.start() as i64..=*M.end() as i64, "ERR invalid M")?;
                    at += 1;
                }
                Some(value) if args.is(at, "SETATTR") => {
                    options.attributes = Some(value);
                    at += 1;
                }
                _ if args.is(at, "CAS") => {}
                _ if args.is(at, "NOQUANT") => options.quantisation = Quantisation::Floats,
                _ if args.is(at, "BIN") => options.quantisation = Quantisation::Bits,
                _ if args.is(at, "Q8") => options.quantisation = Quantisation::Bytes,
                _ => return Err("ERR invalid option after element".into()),
            }
            at += 1;
        }
        Ok(options)
    }

    fn quantisation_name(&self) -> &'static [u8] {
        match self.quantisation {
            Quantisation::Floats => b"NOQUANT",
            Quantisation::Bytes => b"Q8",
            Quantisation::Bits => b"BIN",
        }
    }
}

fn vadd(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let given = Given::parse(args, 2, true)?;
    let name = *args.get(given.next).ok_or_else(|| CommandError::Arity(cx.command.said_name()))?;
    let options = Options::parse(args, given.next + 1)?;
    let attributes_len = options.attributes.map_or(0, <[u8]>::len);
    if name.len() > NAME_LEN_MAX || attributes_len > ATTRIBUTES_LEN_MAX {
        return Err(TOO_LONG);
    }
    let blob: Vec<u8> = given.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    let reduce = given.reduce;
    let is_new = match cx.keys.peek(key).map(Value::as_vector_set).transpose()? {
        Some(set) => {
            check(set, &given, &options)?;
            let vector = Normalised::new(given.for_set(set)?, options.quantisation).ok_or(INVALID_VECTOR)?;
            if set.len() >= LEN_MAX {
                return Err("ERR the vector set is full".into());
            }
            let Some(value) = cx.keys.get_mut(key) else { return Ok(()) };
            value.as_vector_set_mut()?.put(name, &vector, options.attributes, options.ef)
        }
        None => {
            let projection = reduce.map(|to| Projection { from: given.vector.len(), to });
            if projection.is_some_and(|projection| projection.from * projection.to > PROJECTION_MAX) {
                return Err(INVALID_VECTOR);
            }
            let dim = reduce.unwrap_or(given.vector.len());
            let mut set = VectorSet::new(dim, projection, options.quantisation, options.m);
            let vector = Normalised::new(given.for_set(&set)?, options.quantisation).ok_or(INVALID_VECTOR)?;
            set.put(name, &vector, options.attributes, options.ef);
            cx.keys.set(key, Value::VectorSet(Arc::new(set)));
            true
        }
    };
    change(cx, key);
    let mut effect: Vec<&[u8]> = vec![b"VADD", key];
    let reduce = reduce.map(|dim| dim.to_string());
    if let Some(dim) = &reduce {
        effect.extend([&b"REDUCE"[..], dim.as_bytes()]);
    }
    let (ef, m) = (options.ef.to_string(), options.m.to_string());
    effect.extend([b"FP32", &blob[..], name, options.quantisation_name()]);
    effect.extend([&b"EF"[..], ef.as_bytes(), b"M", m.as_bytes()]);
    if let Some(attributes) = options.attributes {
        effect.extend([b"SETATTR", attributes]);
    }
    cx.log(&effect);
    cx.reply.bool(is_new);
    Ok(())
}

/// Is it the kind of set that the command means?
fn check(set: &VectorSet, given: &Given, options: &Options<'_>) -> CommandResult {
    let slots = set.slots();
    if slots.quantisation() != options.quantisation {
        return Err("ERR asked quantization mismatch with existing vector set".into());
    }
    if slots.m() != options.m {
        return Err("ERR asked M value mismatch with existing vector set".into());
    }
    let fits = match set.projection() {
        Some(_) => given.reduce == Some(slots.dim()),
        None => given.vector.len() == slots.dim(),
    };
    if !fits {
        return Err(dimension_mismatch(given.vector.len(), slots.dim()));
    }
    if given.reduce.is_some() && set.projection().is_none() {
        return Err("ERR cannot add projection to existing set without projection".into());
    }
    Ok(())
}

/// The key has changed. There is no event: Redis has none for vector sets.
fn change(cx: &mut Context<'_>, key: &[u8]) {
    cx.touch_key(key);
    cx.shared.effects.add_dirty(1);
}

pub(super) static VREM: Command = Command {
    name: "vrem",
    arity: 3,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes an element.",
    complexity: "O(log(N)), N being the elements of the set",
    syntax: "key element",
    run: vrem,
    ..COMMAND
};

fn vrem(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(1), args.at(2));
    let set = cx.keys.peek(key).map(Value::as_vector_set).transpose()?;
    if set.and_then(|set| set.slot(name)).is_none() {
        cx.reply.bool(false);
        return Ok(());
    }
    let Some(value) = cx.keys.get_mut(key) else { return Ok(()) };
    let set = value.as_vector_set_mut()?;
    set.remove(name);
    if set.is_empty() {
        cx.keys.delete(key);
    }
    change(cx, key);
    cx.log_self();
    cx.reply.bool(true);
    Ok(())
}

pub(super) static VSETATTR: Command = Command {
    name: "vsetattr",
    arity: 4,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets the attributes of an element, or removes them if they are empty.",
    syntax: "key element json",
    run: vsetattr,
    ..COMMAND
};

fn vsetattr(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, name, attributes) = (args.at(1), args.at(2), args.at(3));
    let set = cx.keys.peek(key).map(Value::as_vector_set).transpose()?;
    if set.and_then(|set| set.slot(name)).is_none() {
        cx.reply.bool(false);
        return Ok(());
    }
    if attributes.len() > ATTRIBUTES_LEN_MAX {
        return Err(TOO_LONG);
    }
    let Some(value) = cx.keys.get_mut(key) else { return Ok(()) };
    value.as_vector_set_mut()?.set_attributes(name, attributes);
    change(cx, key);
    cx.log_self();
    cx.reply.bool(true);
    Ok(())
}
