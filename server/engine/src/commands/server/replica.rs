//! What replicas of Redis's kind say to their master: SYNC and PSYNC, which make a connection a replica, and REPLCONF.
//!
//! Such a replica is a Redis server, or a tool that speaks like one. It gets a snapshot and then the effects, as
//! [`crate::feed`] writes them; the host sends both. It never takes part in what makes a write safe.

use cairn_proto::split_args;

use crate::args::{Args, parse_i64};
use crate::client::{FeedStage, Replica};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::following::Link;
use crate::host::Request;
use crate::rdb;

/// A longer address is none.
const ADDRESS_BYTES_MAX: usize = 255;
/// The first version of a server that reads RDB files of version 11.
const READS_RDB_11: (u32, u32) = (7, 2);

/// What the two have in common.
const FEED: Command = Command {
    group: Group::Server,
    flags: &[Flag::Admin, Flag::NoScript, Flag::NoMulti, Flag::NoAsyncLoading],
    ..COMMAND
};

pub(super) static SYNC: Command = Command {
    name: "sync",
    arity: 1,
    summary: "Makes this connection a replica: a snapshot is sent, then every effect. PSYNC is newer.",
    run: |cx, _| begin(cx, true),
    ..FEED
};

pub(super) static PSYNC: Command = Command {
    name: "psync",
    arity: -3,
    since: "2.8.0",
    summary: "Makes this connection a replica: a snapshot is sent, then every effect.",
    syntax: "replicationid:string offset:integer",
    run: psync,
    ..FEED
};

fn psync(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    args.int(2)?;
    if args.len() > 3 && args.is(3, "failover") {
        return Err("ERR PSYNC FAILOVER can't be sent to a master.".into());
    }
    begin(cx, false)?;
    if args.at(1) != b"?" {
        cx.shared.stats.refused_partial_syncs += 1;
    }
    Ok(())
}

fn begin(cx: &mut Context<'_>, silent: bool) -> CommandResult {
    if cx.client.is_fed() {
        // It is being served already.
        return Ok(());
    }
    if cx.shared.following.as_ref().is_some_and(|following| following.link != Link::Up) {
        return Err("NOMASTERLINK Can't SYNC while not connected with my master".into());
    }
    if cx.shared.replica && cx.shared.following.is_none() {
        // Only what a leader releases has an order that a replica could follow. The code is one at which Redis tries again.
        let view = cx.host.cluster();
        let leader = view.as_ref().and_then(|view| view.leader_node());
        let whom = leader.map_or("none now".to_owned(), |leader| format!("{}:{}", leader.host, leader.port));
        return Err(format!("NOMASTERLINK replicas are fed by the leader of the cluster: {whom}").into());
    }
    let replica = cx.client.replica.get_or_insert_default();
    replica.stage = Some(FeedStage::Waiting);
    replica.silent = silent;
    cx.shared.stats.full_syncs += 1;
    let client = cx.client.slot;
    cx.shared.replicas.push(client);
    cx.host.request(Request::Feed { client });
    Ok(())
}

pub(super) static REPLCONF: Command = Command {
    name: "replconf",
    arity: -1,
    group: Group::Server,
    since: "3.0.0",
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::AllowBusy],
    summary: "Tells what a replica is, before it asks to be fed, and how much it has got.",
    run: replconf,
    ..COMMAND
};

fn replconf(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let now_ms = cx.now_ms();
    for at in (1..args.len()).step_by(2) {
        let value = args.at(at + 1);
        if args.is(at, "ack") {
            // Of others it means nothing. Neither is answered.
            if let Some(replica) = cx.client.replica.as_mut().filter(|replica| replica.stage.is_some())
                && let Some(offset) = parse_i64(value).and_then(|offset| u64::try_from(offset).ok())
            {
                replica.acknowledged = replica.acknowledged.max(offset);
                let synced = args.is(at + 2, "fack").then(|| parse_i64(args.at(at + 3))).flatten();
                if let Some(synced) = synced.and_then(|offset| u64::try_from(offset).ok()) {
                    replica.synced = replica.synced.max(synced);
                }
                replica.acknowledged_at_ms = now_ms;
            }
            return Ok(());
        }
        if args.is(at, "getack") {
            // A master has nothing to acknowledge.
            if cx.client.primary
                && let Some(following) = &mut cx.shared.following
            {
                following.ack_wanted = Some(following.read_to);
            }
            return Ok(());
        }
        describe(cx.client.replica.get_or_insert_default(), args, at)?;
    }
    cx.reply.ok();
    Ok(())
}

/// Takes note of what a replica says of itself, by the option at `at`.
fn describe(replica: &mut Replica, args: Args<'_>, at: usize) -> CommandResult {
    let value = args.at(at + 1);
    if args.is(at, "listening-port") {
        replica.port = u16::try_from(args.int(at + 1)?).unwrap_or(0);
    } else if args.is(at, "ip-address") {
        if value.len() > ADDRESS_BYTES_MAX {
            let len = value.len();
            return Err(format!(
                "ERR REPLCONF ip-address provided by replica instance is too long: {len} bytes"
            )
            .into());
        }
        replica.address = Some(value.to_vec());
    } else if args.is(at, "capa") {
        // What else it can do is nothing to us.
        replica.takes_mark |= args.is(at + 1, "eof");
    } else if args.is(at, "version") {
        let known = version(value).is_some_and(|version| version >= READS_RDB_11);
        replica.rdb_version = if known { rdb::VERSION } else { 0 };
    } else if args.is(at, "rdb-only") {
        replica.only_snapshot = match args.int(at + 1)? {
            only @ 0..=1 => only == 1,
            _ => return Err("ERR value is out of range, value must between 0 and 1".into()),
        };
    } else if args.is(at, "rdb-filter-only") {
        let parts = split_args(value).ok_or(CommandError::new("ERR Missing rdb-filter-only values"))?;
        (replica.without_data, replica.without_functions) = (true, true);
        for part in parts {
            if !part.eq_ignore_ascii_case(b"functions") {
                return Err(CommandError::Bytes(
                    [b"ERR Unsupported rdb-filter-only option: ".as_slice(), &part].concat(),
                ));
            }
            replica.without_functions = false;
        }
    } else {
        return Err(CommandError::Bytes(
            [b"ERR Unrecognized REPLCONF option: ".as_slice(), args.at(at)].concat(),
        ));
    }
    Ok(())
}

/// The first two numbers of a version.
fn version(text: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(text).ok()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
