//! OBJECT: how a value is stored, and how much it is used.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Keys, METADATA};
use crate::commands::help::help;
use crate::config::{Config, MaxmemoryPolicy};
use crate::context::Context;
use crate::error::CommandResult;
use crate::keyspace::KeyEntry;
use crate::value::Value;

pub(super) static OBJECT: Command = Command {
    name: "object",
    arity: -2,
    since: "2.2.3",
    summary: "Tells how a value is stored and used.",
    complexity: "Depends on the subcommand.",
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    ..COMMAND
};

/// What the subcommands on a key have in common.
const ON_KEY: Command = Command {
    arity: 3,
    since: "2.2.3",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, METADATA)],
    syntax: "key",
    tips: &["nondeterministic_output"],
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "6.2.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Lists the subcommands.",
    run: help,
    ..COMMAND
};

static ENCODING: Command = Command {
    name: "encoding",
    summary: "Names the representation of the value in memory.",
    run: |cx, args| {
        match find(cx, args) {
            Some(entry) => cx.reply.bulk(entry.value.encoding().as_bytes()),
            None => cx.reply.null(),
        }
        Ok(())
    },
    ..ON_KEY
};

static REFCOUNT: Command = Command {
    name: "refcount",
    summary: "Answers the number of references to the value: 1, but for small integers, which Redis shares.",
    run: |cx, args| {
        match find(cx, args).map(|entry| is_shared_in_redis(&entry.value, cx.config())) {
            Some(true) => cx.reply.int(REFCOUNT_SHARED),
            Some(false) => cx.reply.int(1),
            None => cx.reply.null(),
        }
        Ok(())
    },
    ..ON_KEY
};

static IDLETIME: Command = Command {
    name: "idletime",
    summary: "Answers for how many seconds the key has not been used.",
    run: idletime,
    ..ON_KEY
};

fn idletime(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(usage) = find(cx, args).map(KeyEntry::usage) else {
        cx.reply.null();
        return Ok(());
    };
    if cx.keys.usage.is_lfu() {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                    switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into());
    }
    cx.reply.int(cx.keys.usage.idle_seconds(usage) as i64);
    Ok(())
}

static FREQ: Command = Command {
    name: "freq",
    since: "4.0.0",
    summary: "Answers the key's access counter, which is logarithmic and decays.",
    run: freq,
    ..ON_KEY
};

fn freq(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(usage) = find(cx, args).map(KeyEntry::usage) else {
        cx.reply.null();
        return Ok(());
    };
    if !cx.keys.usage.is_lfu() {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
                    that when switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into());
    }
    cx.reply.int(cx.keys.usage.decayed(usage).into());
    Ok(())
}

/// The reference count of what Redis shares among all keys.
const REFCOUNT_SHARED: i64 = i32::MAX as i64;
/// The integers that Redis shares.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;

/// Would Redis share this value? Not while each key needs a value of its own to keep its LRU or LFU word in.
fn is_shared_in_redis(value: &Value, config: &Config) -> bool {
    use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, VolatileLfu, VolatileLru};
    let policy = config.maxmemory_policy;
    let own_word = matches!(policy, AllkeysLfu | AllkeysLru | VolatileLfu | VolatileLru);
    let small =
        matches!(value, Value::Str(string) if string.as_int().is_some_and(|n| SHARED_INTEGERS.contains(&n)));
    small && !(config.maxmemory > 0 && own_word) && value.encoding() == "int"
}

/// The entry, left as unused as it was.
fn find<'k>(cx: &'k Context<'_>, args: Args<'_>) -> Option<&'k KeyEntry> {
    cx.keys.find_unreported(args.at(2))
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    /// As redis-server 7.0.15 answers.
    #[test]
    fn small_integers_count_as_shared_unless_uses_of_keys_are_counted() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "MSET small 9999 large 10000 negative -1 text v padded 007");
        server.run(a, "RPUSH list 1");
        for (key, expected) in [
            ("small", ":2147483647\r\n"),
            ("large", ":1\r\n"),
            ("negative", ":1\r\n"),
            ("text", ":1\r\n"),
            ("padded", ":1\r\n"),
            ("list", ":1\r\n"),
            ("none", "$-1\r\n"),
        ] {
            assert_eq!(server.run(a, &format!("OBJECT REFCOUNT {key}")), expected, "{key}");
        }
        server.run(a, "CONFIG SET maxmemory 1gb maxmemory-policy volatile-ttl");
        assert_eq!(server.run(a, "OBJECT REFCOUNT small"), ":2147483647\r\n");
        server.run(a, "CONFIG SET maxmemory-policy volatile-lru");
        assert_eq!(server.run(a, "OBJECT REFCOUNT small"), ":1\r\n");
    }
}
