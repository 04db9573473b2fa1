//! What operators of a Redis Cluster do by hand and nobody needs to do here: giving slots to masters, making replicas
//! of nodes. Each is declared, so that tools can see it, and says what to do instead.

use super::{ADMIN_FLAGS, SUBCOMMAND, view};
use crate::args::Args;
use crate::command::{Command, Flag};
use crate::context::Context;
use crate::error::CommandResult;

const UNSUPPORTED: Command = Command { flags: ADMIN_FLAGS, summary: "Is not needed here.", ..SUBCOMMAND };
const OF_SLOTS: Command = Command {
    arity: -3,
    summary: "Is not needed here: all slots are the leader's.",
    complexity: "O(1)",
    run: slots,
    ..UNSUPPORTED
};

fn slots(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    Err("ERR slots cannot be assigned: all of them are the leader's. CLUSTER MEET and CLUSTER FORGET add and remove \
         nodes"
        .into())
}

pub(super) static ADDSLOTS: Command =
    Command { name: "addslots", syntax: "slot:integer [slot:integer ...]", ..OF_SLOTS };
pub(super) static ADDSLOTSRANGE: Command =
    Command { name: "addslotsrange", arity: -4, since: "7.0.0", syntax: RANGES, ..OF_SLOTS };
pub(super) static DELSLOTS: Command =
    Command { name: "delslots", syntax: "slot:integer [slot:integer ...]", ..OF_SLOTS };
pub(super) static DELSLOTSRANGE: Command =
    Command { name: "delslotsrange", arity: -4, since: "7.0.0", syntax: RANGES, ..OF_SLOTS };
pub(super) static FLUSHSLOTS: Command = Command { name: "flushslots", arity: 2, ..OF_SLOTS };
pub(super) static SETSLOT: Command = Command {
    name: "setslot",
    arity: -4,
    syntax: "slot:integer <IMPORTING importing:string | MIGRATING migrating:string | NODE node:string | STABLE>",
    ..OF_SLOTS
};

const RANGES: &str = "start-slot:integer end-slot:integer [start-slot:integer end-slot:integer ...]";

const OF_EPOCHS: Command = Command {
    summary: "Is not needed here: an election gives each leader its epoch.",
    run: epochs,
    ..UNSUPPORTED
};

fn epochs(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    Err("ERR epochs cannot be set: they are terms of the elections. CLUSTER FAILOVER begins another".into())
}

pub(super) static BUMPEPOCH: Command =
    Command { name: "bumpepoch", arity: 2, tips: &["nondeterministic_output"], ..OF_EPOCHS };
pub(super) static SET_CONFIG_EPOCH: Command =
    Command { name: "set-config-epoch", arity: 3, syntax: "config-epoch:integer", ..OF_EPOCHS };

pub(super) static REPLICATE: Command = Command {
    name: "replicate",
    arity: 3,
    summary: "Is not needed here: every node of the group is a replica of its leader.",
    syntax: "node-id",
    run: replicate,
    ..UNSUPPORTED
};

fn replicate(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    Err("ERR every node replicates the leader of its group. CLUSTER MEET on a node of the group adds another; CLUSTER \
         FAILOVER on a replica makes it the leader"
        .into())
}

pub(super) static RESET: Command = Command {
    name: "reset",
    arity: -2,
    flags: &[Flag::Admin, Flag::Stale, Flag::NoScript],
    summary: "Is not possible here: a node leaves its group by CLUSTER FORGET.",
    syntax: "[HARD | SOFT]",
    run: reset,
    ..UNSUPPORTED
};

fn reset(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    Err("ERR a node leaves its group by CLUSTER FORGET, and begins anew with an empty data directory".into())
}
