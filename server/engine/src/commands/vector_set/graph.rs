//! What is beneath a vector set.

use super::read::quantisation_name;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::value::Value;

pub(super) static VLINKS: Command = Command {
    name: "vlinks",
    arity: -3,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the elements that an element is linked with in the graph, layer by layer from the highest.",
    syntax: "key element [WITHSCORES]",
    run: vlinks,
    ..COMMAND
};

fn vlinks(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let scores = args.len() == 4 && args.is(3, "WITHSCORES");
    if args.len() > 3 && !scores {
        return Err(CommandError::Arity(cx.command.said_name()));
    }
    let set = cx.keys.get(args.at(1)).map(Value::as_vector_set).transpose()?;
    let Some((set, slot)) = set.and_then(|set| Some((set, set.slot(args.at(2))?))) else {
        cx.reply.null();
        return Ok(());
    };
    let layers: Vec<&[u32]> = set.slots().layers(slot).collect();
    cx.reply.array(layers.len());
    for links in layers.into_iter().rev() {
        if scores {
            cx.reply.map(links.len());
        } else {
            cx.reply.array(links.len());
        }
        for &link in links {
            cx.reply.bulk(set.name(link));
            if scores {
                // Redis has it as a float.
                let similarity = (1.0 - f64::from(set.slots().distance(slot, link)) / 2.0) as f32;
                cx.reply.double(f64::from(similarity));
            }
        }
    }
    Ok(())
}

pub(super) static VINFO: Command = Command {
    name: "vinfo",
    arity: 2,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    keys: &[Keys::at(1, METADATA)],
    summary: "Describes a vector set and the graph beneath it.",
    syntax: "key",
    run: vinfo,
    ..COMMAND
};

fn vinfo(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(set) = cx.keys.get(args.at(1)).map(Value::as_vector_set).transpose()? else {
        cx.reply.null_array();
        return Ok(());
    };
    let slots = set.slots();
    let numbers = [
        ("hnsw-m", slots.m()),
        ("vector-dim", slots.dim()),
        ("projection-input-dim", set.projection().map_or(0, |projection| projection.from)),
        ("size", set.len()),
        ("max-level", slots.level_max()),
        ("attributes-count", set.with_attributes()),
        // Redis's threads tell sets by it.
        ("vset-uid", 0),
        // Slots have no gaps.
        ("hnsw-max-node-uid", set.len()),
    ];
    cx.reply.map(1 + numbers.len());
    cx.reply.simple("quant-type");
    cx.reply.simple(quantisation_name(slots.quantisation()));
    for (name, number) in numbers {
        cx.reply.simple(name);
        cx.reply.int(number as i64);
    }
    Ok(())
}
