//! Slots of keys. There is no table of the keys of each slot, as Redis has to move slots from node to node: who asks
//! for them (few do, and only tools) walks over the database.

use super::{SUBCOMMAND, view};
use crate::args::Args;
use crate::command::{Command, Flag};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{KeyEntry, Keyspace};
use crate::slot::{SLOTS, key_slot};

pub(super) static KEYSLOT: Command = Command {
    name: "keyslot",
    arity: 3,
    summary: "Returns the slot of a key.",
    complexity: "O(N) where N is the length of the key",
    syntax: "key:string",
    run: keyslot,
    ..SUBCOMMAND
};

fn keyslot(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.reply.int(i64::from(key_slot(args.at(2))));
    Ok(())
}

pub(super) static COUNTKEYSINSLOT: Command = Command {
    name: "countkeysinslot",
    arity: 3,
    flags: &[Flag::Stale, Flag::KeylessRead],
    summary: "Returns how many keys of the database this node has in a slot.",
    complexity: "O(N) where N is the number of keys in the database",
    syntax: "slot:integer",
    run: countkeysinslot,
    ..SUBCOMMAND
};

fn countkeysinslot(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    view(cx)?;
    let slot = slot(args.int(2)?).ok_or(CommandError::new("ERR Invalid slot"))?;
    let count = keys_in(cx.keys, slot).count();
    cx.reply.int(count as i64);
    Ok(())
}

pub(super) static GETKEYSINSLOT: Command = Command {
    name: "getkeysinslot",
    arity: 4,
    flags: &[Flag::Stale, Flag::KeylessRead],
    summary: "Returns some keys of the database that this node has in a slot.",
    complexity: "O(N) where N is the number of keys in the database",
    syntax: "slot:integer count:integer",
    tips: &["nondeterministic_output"],
    run: getkeysinslot,
    ..SUBCOMMAND
};

fn getkeysinslot(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    view(cx)?;
    let (slot, wanted) = (slot(args.int(2)?), usize::try_from(args.int(3)?));
    let (Some(slot), Ok(wanted)) = (slot, wanted) else {
        return Err("ERR Invalid slot or number of keys".into());
    };
    let array = cx.reply.defer();
    let mut count = 0;
    for entry in keys_in(cx.keys, slot).take(wanted) {
        cx.reply.bulk(&entry.key);
        count += 1;
    }
    cx.reply.finish_array(array, count);
    Ok(())
}

fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// As in Redis, keys count until they are removed, even if their time has come.
fn keys_in(keys: &Keyspace, slot: u16) -> impl Iterator<Item = &KeyEntry> {
    keys.db().dict.iter().filter(move |entry| key_slot(&entry.key) == slot)
}
