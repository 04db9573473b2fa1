//! The server itself: its commands, configuration, figures, persistence and data as a whole.
//!
//! - `catalogue`: COMMAND; `syntax`: the argument trees of COMMAND DOCS. `config`: CONFIG. `info`: INFO.
//! - `replication`: ROLE, and what INFO says of other nodes. `wait`: WAIT and WAITAOF.
//! - `persistence`: SAVE, SHUTDOWN and the like. `debug`: DEBUG.
//! - `slowlog`, `latency` and `monitor`: what commands ran, and for how long; `secrets` keeps passwords out of them.
//! - `replica`: replicas of Redis's kind. `follow`: being one. `elsewhere`: what Redis has and Cairn does another way. `lolwut`: a picture.
//! - Here: what is too small for a file.

mod catalogue;
mod config;
mod debug;
mod elsewhere;
mod follow;
mod info;
mod latency;
mod lolwut;
pub(crate) mod monitor;
mod persistence;
mod replica;
pub(super) mod replication;
mod secrets;
pub(crate) mod slowlog;
mod syntax;
mod wait;

pub(crate) use replication::check_replicas;
pub(super) use replication::is_redis_cluster;
pub(crate) use wait::WAITAOF_WITHOUT_LOG;

use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::dispatch;
use crate::error::{CommandError, CommandResult, printed};

pub(super) const COMMANDS: &[&Command] = &[
    &persistence::BGREWRITEAOF,
    &persistence::BGSAVE,
    &catalogue::COMMAND_COMMAND,
    &config::CONFIG,
    &DBSIZE,
    &debug::DEBUG,
    &FLUSHALL,
    &FLUSHDB,
    &info::INFO,
    &persistence::LASTSAVE,
    &latency::LATENCY,
    &lolwut::LOLWUT,
    &elsewhere::MIGRATE,
    &elsewhere::MODULE,
    &monitor::MONITOR,
    &replica::PSYNC,
    &replica::REPLCONF,
    &follow::REPLICAOF,
    &replication::ROLE,
    &persistence::SAVE,
    &persistence::SHUTDOWN,
    &follow::SLAVEOF,
    &slowlog::SLOWLOG,
    &SWAPDB,
    &replica::SYNC,
    &TIME,
    &wait::WAIT,
    &wait::WAITAOF,
];

const ON_EVERY_SHARD: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

static TIME: Command = Command {
    name: "time",
    arity: 1,
    group: Group::Server,
    since: "2.6.0",
    flags: &[Flag::Loading, Flag::Stale, Flag::Fast],
    summary: "Returns the server's time: seconds since 1970, and microseconds.",
    tips: &["nondeterministic_output"],
    run: time,
    ..COMMAND
};

fn time(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let now_us = match &cx.shared.running_script {
        // It stands still, as all else in a script does.
        Some(running) => cx.shared.us_at(running.started_us),
        None => cx.shared.now_us(),
    };
    cx.reply.array(2);
    cx.reply.bulk_int(now_us / 1_000_000);
    cx.reply.bulk_int(now_us % 1_000_000);
    Ok(())
}

static DBSIZE: Command = Command {
    name: "dbsize",
    arity: 1,
    group: Group::Server,
    flags: &[Flag::ReadOnly, Flag::Fast, Flag::KeylessRead],
    categories: &[Category::Keyspace],
    summary: "Returns the number of keys in the database.",
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    run: dbsize,
    ..COMMAND
};

fn dbsize(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(cx.keys.db().len() as i64);
    Ok(())
}

static FLUSHDB: Command = Command {
    name: "flushdb",
    arity: -1,
    group: Group::Server,
    flags: &[Flag::Write],
    categories: &[Category::Keyspace, Category::Dangerous],
    summary: "Removes all keys of the database.",
    complexity: "O(1); the memory is freed in the background",
    syntax: "[ASYNC | SYNC]",
    tips: ON_EVERY_SHARD,
    run: flushdb,
    ..COMMAND
};

fn flushdb(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    check_flush(args)?;
    cx.shared.tracking.all_changed();
    let db = cx.keys.selected();
    // Indexes go with whatever is flushed, as in Redis.
    let had_indexes = cx.shared.search.clear();
    if flush(cx, db) || had_indexes {
        cx.log(&[b"FLUSHDB"]);
    } else {
        // It was empty before, which may not be released yet. Replicas are told as Redis's are.
        cx.tell_replicas(&[b"FLUSHDB"]);
        cx.depends_on_everything();
    }
    cx.reply.ok();
    Ok(())
}

static FLUSHALL: Command = Command {
    name: "flushall",
    arity: -1,
    group: Group::Server,
    flags: &[Flag::Write],
    categories: &[Category::Keyspace, Category::Dangerous],
    summary: "Removes all keys of all databases.",
    complexity: "O(D) where D is the number of databases; the memory is freed in the background",
    syntax: "[ASYNC | SYNC]",
    tips: ON_EVERY_SHARD,
    run: flushall,
    ..COMMAND
};

fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    check_flush(args)?;
    cx.shared.tracking.all_changed();
    let mut flushed = cx.shared.search.clear();
    for db in 0..cx.keys.dbs().len() {
        flushed |= flush(cx, db);
    }
    if flushed {
        cx.log(&[b"FLUSHALL"]);
    } else {
        cx.tell_replicas(&[b"FLUSHALL"]);
        cx.depends_on_everything();
    }
    cx.reply.ok();
    Ok(())
}

/// ASYNC and SYNC are both as good: a database is dropped in one step, and freed on another thread.
fn check_flush(args: Args<'_>) -> CommandResult {
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "async") || args.is(1, "sync") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

/// Empties a database; true when it held anything.
fn flush(cx: &mut Context<'_>, db: usize) -> bool {
    if cx.keys.dbs()[db].is_empty() {
        return false;
    }
    cx.shared.touch_all(&cx.keys.dbs()[db], db, cx.client);
    if cx.shared.effects.enabled() {
        let seq = cx.shared.effects.open_seq();
        cx.shared.dirty_keys.mark_all(seq);
    }
    let removed = cx.keys.flush(db);
    cx.shared.effects.add_dirty(removed as u64);
    true
}

static SWAPDB: Command = Command {
    name: "swapdb",
    arity: 3,
    group: Group::Server,
    since: "4.0.0",
    flags: &[Flag::Write, Flag::Fast],
    categories: &[Category::Keyspace, Category::Dangerous],
    summary: "Swaps two databases: clients of either see the keys of the other.",
    complexity: "O(N) where N is the number of keys of both that clients watch or wait for",
    syntax: "index1:integer index2:integer",
    run: swapdb,
    ..COMMAND
};

fn swapdb(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if is_redis_cluster(cx.host) {
        return Err("ERR SWAPDB is not allowed in cluster mode".into());
    }
    let index = |at, error| match parse_i64(args.at(at)).map(i32::try_from) {
        Some(Ok(index)) => Ok(index),
        _ => Err(CommandError::new(error)),
    };
    let first = index(1, "ERR invalid first DB index")?;
    let second = index(2, "ERR invalid second DB index")?;
    let there = |index: i32| usize::try_from(index).ok().filter(|&db| db < cx.keys.dbs().len());
    let (Some(first), Some(second)) = (there(first), there(second)) else {
        return Err("ERR DB index is out of range".into());
    };
    cx.reply.ok();
    cx.shared.effects.add_dirty(1);
    if first == second {
        return Ok(());
    }
    expire_watched(cx, [first, second]);
    for (db, other) in [(first, second), (second, first)] {
        // What goes, and what comes.
        cx.shared.touch_all(&cx.keys.dbs()[db], db, cx.client);
        cx.shared.touch_all(&cx.keys.dbs()[other], db, cx.client);
    }
    if cx.shared.effects.enabled() {
        let seq = cx.shared.effects.open_seq();
        cx.shared.dirty_keys.mark_all(seq);
    }
    // Clients know keys by their names alone.
    cx.shared.tracking.all_changed();
    cx.keys.dbs_mut().swap(first, second);
    if first == 0 || second == 0 {
        cx.shared.search.rebuild_all();
    }
    cx.log_self();
    Ok(())
}

/// Before databases are swapped, the keys that anybody watches in either go from both if their time has come: to a WATCH, an
/// expired key that a swap brings is no key.
fn expire_watched(cx: &mut Context<'_>, swapped: [usize; 2]) {
    let watchers = &cx.shared.watchers;
    let mut watched: Vec<Box<[u8]>> =
        swapped.iter().flat_map(|&db| watchers.of_db(db)).map(|(key, _)| key.into()).collect();
    watched.dedup();
    let selected = cx.keys.selected();
    for db in swapped {
        cx.keys.select(db);
        for key in &watched {
            dispatch::expire_if_due(cx, key);
        }
    }
    cx.keys.select(selected);
}

/// A subcommand whose arity allows more arguments than make sense.
fn wrong_arguments(args: Args<'_>) -> CommandError {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(printed(&args.at(1)[..args.at(1).len().min(128)]));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(&args.at(0).to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    CommandError::Bytes(text)
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn flushes_are_effects_and_reads_wait_for_them() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(a, "FLUSHALL"), "+OK\r\n");
        assert!(server.batches.is_empty(), "there was nothing to remove");
        server.run(a, "SET k v");
        server.run(a, "SELECT 5");
        server.run(a, "SET k v");
        server.send_held(a, &[b"FLUSHDB", b"ASYNC"]);
        server.send_held(b, &[b"GET", b"k"]);
        assert_eq!(server.output(b), b"", "any key may be gone");
        server.release();
        assert_eq!(server.output(b), b"$1\r\nv\r\n");
        assert_eq!(server.run(a, "DBSIZE"), "+OK\r\n:0\r\n");
        assert_eq!(server.run(b, "DBSIZE"), ":1\r\n");
        let mut replica = server.replica();
        let c = replica.connect(Resp::V2);
        assert_eq!(replica.run(c, "DBSIZE"), ":1\r\n");
        server.run(a, "FLUSHALL SYNC");
        assert_eq!(server.run(b, "DBSIZE"), ":0\r\n");
        let replica = server.replica();
        assert!(replica.engine.keys.dbs().iter().all(|db| db.is_empty()));
        assert_eq!(server.run(a, "FLUSHALL NOW"), "-ERR syntax error\r\n");
    }

    #[test]
    fn a_flush_of_what_is_empty_waits_for_the_removal_that_made_it_so() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        for flush in [b"FLUSHALL".as_slice(), b"FLUSHDB"] {
            server.run(a, "SET k v");
            server.send_held(a, &[b"DEL", b"k"]);
            server.send_held(b, &[flush]);
            assert_eq!(server.output(b), b"", "a crash could bring the key back");
            server.release();
            assert_eq!(server.output(b), b"+OK\r\n");
            server.output(a);
        }
    }

    #[test]
    fn databases_are_swapped_for_those_who_wait_for_their_keys_too() {
        let mut server = TestEngine::new();
        let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "XGROUP CREATE s g $ MKSTREAM");
        server.send_held(b, &[b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"0", b"STREAMS", b"s", b">"]);
        server.run(c, "SELECT 1");
        server.send_held(c, &[b"BLPOP", b"l", b"0"]);
        server.run(a, "RPUSH l x");
        server.run(a, "SET k v PX 100");
        server.send_held(a, &[b"SWAPDB", b"0", b"1"]);
        assert_eq!(server.output(c), b"", "the swap is not released");
        server.release();
        assert_eq!(server.output(a), b"+OK\r\n");
        assert_eq!(server.output(c), b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
        assert!(server.output(b).starts_with(b"-NOGROUP"));
        assert_eq!(server.run(c, "PTTL k"), ":100\r\n");
        assert_eq!(server.run(a, "DBSIZE"), ":0\r\n");
        let mut replica = server.replica();
        let d = replica.connect(Resp::V2);
        assert_eq!(replica.run(d, "DBSIZE"), ":0\r\n");
        replica.run(d, "SELECT 1");
        assert_eq!(replica.run(d, "DBSIZE"), ":2\r\n");
    }

    #[test]
    fn an_expired_key_that_a_swap_brings_changes_nothing_for_who_watches_its_name() {
        for there_before in [false, true] {
            let mut server = TestEngine::new();
            let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
            server.run(b, "SET k v PX 10");
            server.run(b, "SET other v PX 10");
            server.run(a, "SELECT 1");
            if there_before {
                server.run(a, "SET k w");
            }
            server.run(a, "WATCH k");
            server.now_ms += 20;
            assert_eq!(server.run(b, "SWAPDB 0 1"), "+OK\r\n");
            server.run(a, "MULTI");
            server.run(a, "PING");
            let expected = if there_before { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
            assert_eq!(server.run(a, "EXEC"), expected);
            assert_eq!(server.run(a, "DBSIZE"), ":1\r\n", "only what is watched is looked at");
            let mut replica = server.replica();
            let c = replica.connect(Resp::V2);
            replica.run(c, "SELECT 1");
            assert_eq!(replica.run(c, "DBSIZE"), ":1\r\n");
        }
    }

    #[test]
    fn a_watched_key_that_expired_before_a_swap_has_changed() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "SET k v PX 10");
        server.run(a, "WATCH k");
        server.now_ms += 20;
        server.run(b, "SWAPDB 0 1");
        server.run(a, "MULTI");
        server.run(a, "PING");
        assert_eq!(server.run(a, "EXEC"), "*-1\r\n");
    }

    #[test]
    fn time_has_the_hosts_microseconds() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        let time = server.run(a, "TIME");
        assert!(time.starts_with("*2\r\n$10\r\n1700000000\r\n$"), "{time}");
    }
}
