//! The cluster: what it looks like, who is in it, who leads it.
//!
//! To clients of Redis Cluster the group is one shard: the leader is its master, with all 16384 slots, and the other
//! nodes are the master's replicas. So there is never a CROSSSLOT, and nothing to reshard.
//!
//! - `show`: CLUSTER INFO, NODES, SLOTS, SHARDS and the like. `slots`: CLUSTER KEYSLOT and the keys of a slot.
//! - `manage`: CLUSTER MEET, FORGET, FAILOVER and FAILOVER; `unsupported`: what Redis Cluster needs and this does not.
//! - Here: READONLY, READWRITE, ASKING.

mod manage;
mod show;
mod slots;
#[cfg(test)]
mod tests;
mod unsupported;

use std::sync::Arc;

use crate::args::Args;
use crate::cluster::ClusterView;
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&Command] =
    &[&ASKING, &CLUSTER, &manage::FAILOVER_COMMAND, &READONLY, &READWRITE];

static CLUSTER: Command = Command {
    name: "cluster",
    arity: -2,
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Shows and changes the group of nodes that this one is in.",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &unsupported::ADDSLOTS,
        &unsupported::ADDSLOTSRANGE,
        &unsupported::BUMPEPOCH,
        &show::COUNT_FAILURE_REPORTS,
        &slots::COUNTKEYSINSLOT,
        &unsupported::DELSLOTS,
        &unsupported::DELSLOTSRANGE,
        &manage::FAILOVER,
        &unsupported::FLUSHSLOTS,
        &manage::FORGET,
        &slots::GETKEYSINSLOT,
        &HELP,
        &show::INFO,
        &slots::KEYSLOT,
        &show::LINKS,
        &manage::MEET,
        &show::MYID,
        &show::MYSHARDID,
        &show::NODES,
        &show::REPLICAS,
        &unsupported::REPLICATE,
        &unsupported::RESET,
        &manage::SAVECONFIG,
        &unsupported::SET_CONFIG_EPOCH,
        &unsupported::SETSLOT,
        &show::SHARDS,
        &show::SLAVES,
        &show::SLOTS,
    ],
    ..COMMAND
};

/// What CLUSTER's subcommands have in common.
const SUBCOMMAND: Command =
    Command { group: Group::Cluster, since: "3.0.0", flags: &[Flag::Stale], ..COMMAND };
const ADMIN_FLAGS: &[Flag] = &[Flag::NoAsyncLoading, Flag::Admin, Flag::Stale];

const NO_CLUSTER: CommandError = CommandError::new("ERR This instance has cluster support disabled");

/// The cluster, or the error of a server that is in none.
pub(super) fn view(cx: &Context<'_>) -> CommandResult<Arc<ClusterView>> {
    cx.cluster().ok_or(NO_CLUSTER)
}

/// The place of the node with the 40 digits in argument `at`.
fn known_node(view: &ClusterView, args: Args<'_>, at: usize) -> CommandResult<usize> {
    let unknown = || CommandError::Bytes([b"ERR Unknown node ", args.at(at)].concat());
    view.find(args.at(at)).ok_or_else(unknown)
}

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "5.0.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    run: help,
    ..SUBCOMMAND
};

fn help(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    view(cx)?;
    crate::commands::help::help(cx, args)
}

const OF_A_CONNECTION: Command = Command {
    arity: 1,
    group: Group::Cluster,
    since: "3.0.0",
    flags: &[Flag::Fast, Flag::Loading, Flag::Stale],
    categories: &[Category::Connection],
    ..COMMAND
};

static READONLY: Command = Command {
    name: "readonly",
    summary: "Lets a node that does not lead answer this connection's reads from what it has by then.",
    run: readonly,
    ..OF_A_CONNECTION
};

fn readonly(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.client.readonly = true;
    cx.reply.ok();
    Ok(())
}

static READWRITE: Command = Command {
    name: "readwrite",
    summary: "Takes READONLY back: the leader answers all reads.",
    run: readwrite,
    ..OF_A_CONNECTION
};

fn readwrite(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.client.readonly = false;
    cx.reply.ok();
    Ok(())
}

static ASKING: Command = Command {
    name: "asking",
    flags: &[Flag::Fast],
    summary: "Goes before a command that -ASK sent here. No node says -ASK: slots do not move.",
    run: asking,
    ..OF_A_CONNECTION
};

fn asking(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    view(cx)?;
    cx.reply.ok();
    Ok(())
}
