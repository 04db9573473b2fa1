//! DEBUG: what tests and developers need. Refused unless `enable-debug-command` allows it.

use crate::args::{Args, parse_f64, parse_i64};
use crate::client::TimeoutReply;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::config::parse_memory;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::{LogLevel, Request};
use crate::value::Value;

use cairn_proto::Resp;

pub(super) static DEBUG: Command = Command {
    name: "debug",
    arity: -2,
    group: Group::Server,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Protected],
    summary: "Does what only tests and developers need.",
    complexity: "Depends on subcommand.",
    run: debug,
    ..COMMAND
};

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Makes up a new replication id.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Writes every directive to the config file, also those that have their default.",
    "DIGEST",
    "    Returns a hash of all keys and values.",
    "DIGEST-STATE",
    "    Returns a hash of all that is replicated: keys, values, when they expire, functions, users.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Returns a hash of each value.",
    "ERROR <text>",
    "    Answers with this error.",
    "JMAP",
    "    Returns how much memory each type of value takes.",
    "LOADAOF",
    "    Rebuilds the data from snapshot and log.",
    "LOG <text>",
    "    Writes to the server's log.",
    "OBJECT <key>",
    "    Describes a value.",
    "PANIC | SEGFAULT",
    "    Ends the process at once, as a crash would.",
    "PAUSE-CRON <0|1>",
    "    Stops background work, and what SIGTERM began, or lets it go on.",
    "POPULATE <count> [<prefix> [<size>]]",
    "    Makes keys prefix:0, prefix:1 and so on, if they are not there.",
    "PROTOCOL <type>",
    "    Answers with an example of a type: string, integer, double, bignum, null, array, set, map, attrib, push,",
    "    verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted; large elements of lists need no setting here.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Writes a snapshot and loads it again.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Turns the search for expired keys off or on.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Lets scripts call commands that are not for scripts, or forbids it again.",
    "SLEEP <seconds>",
    "    Stops everything for so long.",
    "STRINGMATCH-LEN <string> <pattern>",
    "    Tells whether the string matches the pattern.",
];

fn debug(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(1).to_ascii_lowercase();
    let operands = args.from(2);
    match (name.as_slice(), operands) {
        (b"help", []) => super::super::help::reply(cx, args, HELP),
        (b"change-repl-id", []) => {
            cx.shared.replication_id = crate::engine::replication_id(&cx.shared.rng);
            cx.reply.ok();
        }
        (b"digest", []) => {
            cx.depends_on_everything();
            let digest = crate::digest::keyspace(cx.keys.dbs());
            cx.reply.simple(&hex(&digest));
        }
        (b"digest-state", []) => {
            cx.depends_on_everything();
            let codes = cx.scripts.as_ref().map(|scripts| scripts.functions.codes());
            let codes = codes.ok_or(CommandError::new("ERR DEBUG DIGEST-STATE is not for scripts"))?;
            let users = cx.shared.acl.snapshot();
            let indexes = cx.shared.search.to_text();
            let digest = crate::digest::state(cx.keys.dbs(), &codes, users.as_deref(), indexes.as_deref());
            cx.reply.simple(&hex(&digest));
        }
        (b"digest-value", keys) => {
            cx.depends_on_everything();
            cx.reply.array(keys.len());
            for key in keys {
                let digest =
                    cx.keys.peek(key).map(|value| crate::digest::value(value, cx.keys.expire_at(key)));
                cx.reply.simple(&hex(&digest.unwrap_or_default()));
            }
        }
        (b"error", [text]) => return Err(CommandError::Bytes(text.to_vec())),
        (b"jmap", []) => jmap(cx),
        (b"loadaof", []) => {
            let client = cx.client.slot;
            return ask_host(cx, Request::Rebuild { client });
        }
        (b"log", [text]) => {
            cx.host.log(LogLevel::Warning, &format!("DEBUG LOG: {}", String::from_utf8_lossy(text)));
            cx.reply.ok();
        }
        (b"object", [key]) => return object(cx, key),
        (b"panic" | b"segfault" | b"assert" | b"oom", []) => cx.host.request(Request::Crash),
        (b"pause-cron", [on]) => {
            cx.shared.cron_paused = *on != b"0";
            cx.reply.ok();
        }
        (b"config-rewrite-force-all", []) => return super::config::rewrite_file(cx, true),
        (b"populate", [_] | [_, _] | [_, _, _]) => return populate(cx, operands),
        (b"protocol", [kind]) => return protocol(cx, kind),
        (b"quicklist-packed-threshold", [size]) => {
            const SIZE_MAX: u64 = 4 << 30;
            let bytes = std::str::from_utf8(size).ok().and_then(parse_memory).filter(|&size| size < SIZE_MAX);
            let bytes = bytes.ok_or(CommandError::new(
                "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
            ))?;
            // 0 brings the default back.
            cx.shared.list_plain_min = (bytes > 0).then_some(bytes as usize);
            cx.reply.ok();
        }
        (b"reload", options) => return reload(cx, options),
        (b"set-active-expire", [on]) => {
            cx.shared.active_expire = *on != b"0";
            cx.reply.ok();
        }
        (b"set-disable-deny-scripts", [on]) => {
            cx.shared.scripts_may_all = *on != b"0";
            cx.reply.ok();
        }
        (b"sleep", [seconds]) => {
            let seconds = parse_f64(seconds).filter(|seconds| *seconds >= 0.0).unwrap_or(0.0);
            let microseconds = (seconds * 1e6) as u64;
            cx.shared.sleep_us = microseconds;
            cx.shared.unit_sleep_us = cx.shared.unit_sleep_us.saturating_add(microseconds);
            cx.host.request(Request::Sleep { microseconds });
            cx.reply.ok();
        }
        (b"stringmatch-len", [text, pattern]) => {
            let hit = crate::glob::matches(pattern, text, false);
            cx.reply.int(i64::from(hit));
        }
        // Settings of mechanisms that are not here, which the tests of clients use.
        (b"set-skip-checksum-validation" | b"aof-flush-sleep", [_]) | (b"replybuffer", [_, _]) => {
            cx.reply.ok()
        }
        _ => return Err(super::wrong_arguments(args)),
    }
    Ok(())
}

/// Hands the command to the host, which answers when it is done.
fn ask_host(cx: &mut Context<'_>, request: Request) -> CommandResult {
    if !cx.may_block() {
        return Err("ERR this DEBUG command isn't allowed for DENY BLOCKING client".into());
    }
    cx.host.request(request);
    cx.block_on_host(None, TimeoutReply::Null);
    Ok(())
}

fn reload(cx: &mut Context<'_>, options: &[&[u8]]) -> CommandResult {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for option in options {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" => save = false,
            b"noflush" => flush = false,
            b"merge" => merge = true,
            _ => return Err("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".into()),
        }
    }
    // What is loaded is there already, all of it; merged, it is the same.
    let anything = cx.keys.dbs().iter().any(|db| !db.is_empty())
        || cx.scripts.as_ref().is_some_and(|scripts| scripts.functions.counts().libraries > 0);
    if anything && !flush && !merge {
        return Err("ERR Error trying to load the RDB dump, check server logs.".into());
    }
    let client = cx.client.slot;
    ask_host(cx, Request::Reload { client, save })
}

fn populate(cx: &mut Context<'_>, operands: &[&[u8]]) -> CommandResult {
    if !cx.shared.may_write_here(cx.client.primary) {
        return Err(crate::dispatch::READONLY);
    }
    let number = |arg: &[u8]| {
        let number = parse_i64(arg).and_then(|number| usize::try_from(number).ok());
        number.ok_or(CommandError::new("ERR value is out of range, must be positive"))
    };
    let count = number(operands[0])?;
    let prefix = operands.get(1).copied().unwrap_or(b"key");
    let size = operands.get(2).map_or(Ok(0), |size| number(size))?;
    let mut key = Vec::new();
    for at in 0..count {
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(format!(":{at}").as_bytes());
        if cx.keys.contains(&key) {
            continue;
        }
        let mut value = format!("value:{at}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        cx.keys.set(&key, Value::string(&value));
        cx.touch_key(&key);
        cx.shared.effects.add_dirty(1);
        cx.log(&[b"SET", &key, &value]);
    }
    cx.reply.ok();
    Ok(())
}

/// The memory of each type of value in this database, by samples.
fn jmap(cx: &mut Context<'_>) {
    const SAMPLES: usize = 5;
    let mut types: Vec<(&str, usize, usize)> = Vec::new();
    for entry in cx.keys.db().dict.iter() {
        let name = entry.value.kind().name();
        let bytes = entry.value.heap_size(SAMPLES);
        match types.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, count, sum)) => {
                *count += 1;
                *sum += bytes;
            }
            None => types.push((name, 1, bytes)),
        }
    }
    types.sort_unstable();
    cx.reply.array(types.len());
    for (name, count, bytes) in types {
        cx.reply.simple(&format!("{name}: keys={count} bytes={bytes}"));
    }
}

fn object(cx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let entry = cx.keys.peek_entry(key).ok_or(CommandError::NoSuchKey)?;
    let usage = entry.usage();
    let idle_s = if cx.keys.usage.is_lfu() { 0 } else { cx.keys.usage.idle_seconds(usage) };
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{usage} lru_seconds_idle:{idle_s}",
        &raw const entry.value,
        entry.value.encoding(),
        serialized_bytes(&entry.value),
    );
    cx.reply.simple(&text);
    Ok(())
}

/// The length of the value in a snapshot: what DUMP gives without type, version and checksum.
fn serialized_bytes(value: &Value) -> usize {
    const AROUND_IT: usize = 1 + 2 + 8;
    crate::rdb::dump_value(value).len() - AROUND_IT
}

fn hex(digest: &crate::digest::Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn protocol(cx: &mut Context<'_>, kind: &[u8]) -> CommandResult {
    let reply = &mut *cx.reply;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double_text("3.141"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.bool(n == 1);
            }
        }
        b"attrib" => {
            if reply.resp == Resp::V3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if reply.resp == Resp::V2 {
                return Err("ERR RESP2 is not supported by this command".into());
            }
            // A push is no reply: one follows, after it.
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        b"verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err("ERR Wrong protocol type name. Please use one of the following: \
                        string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
                .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::config::{Config, ProtectedAction};
    use crate::host::Request;
    use crate::testing::TestEngine;

    fn server() -> TestEngine {
        TestEngine::with_config(
            Config { enable_debug_command: ProtectedAction::Local, ..Config::default() },
            1,
        )
    }

    #[test]
    fn it_is_refused_unless_allowed() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert!(
            server.run(a, "DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed. If the enable-debug")
        );
        server.engine.shared.config.enable_debug_command = ProtectedAction::Local;
        assert_eq!(server.run(a, "DEBUG SLEEP 0"), "+OK\r\n");
        server.engine.client(a).unwrap().state.info.address = "10.0.0.1:5".to_owned();
        assert!(server.run(a, "DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
    }

    #[test]
    fn populated_keys_are_in_the_log() {
        let mut server = server();
        let a = server.connect(Resp::V2);
        server.run(a, "SET key:1 own");
        assert_eq!(server.run(a, "DEBUG POPULATE 3"), "+OK\r\n");
        assert_eq!(server.run(a, "DEBUG POPULATE 1 big 10"), "+OK\r\n");
        let mut replica = server.replica();
        let b = replica.connect(Resp::V2);
        for (key, value) in
            [("key:0", "value:0"), ("key:1", "own"), ("key:2", "value:2"), ("big:0", "value:0\0\0\0")]
        {
            let expected = format!("${}\r\n{value}\r\n", value.len());
            assert_eq!(server.run(a, &format!("GET {key}")), expected);
            assert_eq!(replica.run(b, &format!("GET {key}")), expected);
        }
        assert_eq!(server.run(a, "DEBUG POPULATE -1"), "-ERR value is out of range, must be positive\r\n");
    }

    #[test]
    fn the_host_sleeps_rebuilds_and_crashes() {
        let mut server = server();
        let a = server.connect(Resp::V2);
        server.run(a, "DEBUG SLEEP 0.5");
        assert_eq!(server.host.requests.pop(), Some(Request::Sleep { microseconds: 500_000 }));
        server.run(a, "DEBUG RELOAD NOSAVE");
        assert_eq!(server.host.requests.pop(), Some(Request::Reload { client: a, save: false }));
        server.engine.answer(a, |reply| reply.ok());
        assert_eq!(server.output(a), b"+OK\r\n");
        assert!(server.run(a, "DEBUG RELOAD NOW").starts_with("-ERR DEBUG RELOAD only supports"));
        server.run(a, "SET k v");
        let refusal = "-ERR Error trying to load the RDB dump, check server logs.\r\n";
        assert_eq!(server.run(a, "DEBUG RELOAD NOFLUSH"), refusal, "there would be two of each key");
        server.run(a, "DEBUG SEGFAULT");
        assert_eq!(server.host.requests.pop(), Some(Request::Crash));
    }

    #[test]
    fn what_a_transaction_sleeps_has_passed_for_those_who_wait_for_its_keys() {
        let mut server = server();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(b, "BLPOP l 1"), "");
        for line in ["MULTI", "RPUSH l x", "PEXPIRE l 100", "DEBUG SLEEP 0.2", "LLEN l"] {
            server.run(a, line);
        }
        assert_eq!(server.run(a, "EXEC"), "*4\r\n:1\r\n:1\r\n+OK\r\n:1\r\n", "time stands still in it");
        assert_eq!(server.output(b), b"", "there is nothing left of the list");
        assert!(!server.engine.accepts_commands(b));
        server.advance(1000);
        assert_eq!(server.output(b), b"*-1\r\n");
    }

    #[test]
    fn digests_are_equal_for_equal_data() {
        let mut server = server();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "DEBUG DIGEST"), format!("+{}\r\n", "0".repeat(40)));
        server.run(a, "SET a 1");
        server.run(a, "SET b 2");
        let digest = server.run(a, "DEBUG DIGEST");
        let value = server.run(a, "DEBUG DIGEST-VALUE a none");
        assert!(
            value.starts_with("*2\r\n+") && value.ends_with(&format!("+{}\r\n", "0".repeat(40))),
            "{value}"
        );
        server.run(a, "FLUSHALL");
        server.run(a, "SET b 2");
        assert_ne!(server.run(a, "DEBUG DIGEST"), digest);
        server.run(a, "SET a 1");
        assert_eq!(server.run(a, "DEBUG DIGEST"), digest);
    }

    #[test]
    fn the_digest_of_the_state_knows_what_redis_leaves_out() {
        const LIBRARY: &str = "#!lua name=l\nredis.register_function('f', function() end)";
        let enable_debug_command = ProtectedAction::Local;
        let config = Config { enable_debug_command, cluster_enabled: true, ..Config::default() };
        let mut server = TestEngine::with_config(config, 1);
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "DEBUG DIGEST-STATE"), format!("+{}\r\n", "0".repeat(40)));
        server.run(a, "SET k v EX 100");
        server.run(a, "HSET h f v g w");
        server.run(a, "HEXPIRE h 100 FIELDS 1 f");
        server.run(a, "XADD s 1-1 f v");
        for change in [
            &["EXPIRE", "k", "200"][..],
            &["HEXPIRE", "h", "200", "FIELDS", "1", "f"],
            &["XGROUP", "CREATE", "s", "g", "0"],
            &["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"],
            &["FUNCTION", "LOAD", LIBRARY],
            &["ACL", "SETUSER", "u", "on"],
            &["ACL", "SETUSER", "u", "+get"],
        ] {
            let (data, state) = (server.run(a, "DEBUG DIGEST"), server.run(a, "DEBUG DIGEST-STATE"));
            let words: Vec<&[u8]> = change.iter().map(|word| word.as_bytes()).collect();
            let reply = server.send(a, &words);
            assert!(!reply.starts_with(b"-"), "{change:?}: {}", reply.escape_ascii());
            assert_eq!(server.run(a, "DEBUG DIGEST"), data, "{change:?}");
            assert_ne!(server.run(a, "DEBUG DIGEST-STATE"), state, "{change:?}");
        }
        let mut replica = server.replica();
        let b = replica.connect(Resp::V2);
        assert_eq!(replica.run(b, "DEBUG DIGEST-STATE"), server.run(a, "DEBUG DIGEST-STATE"));
    }

    #[test]
    fn small_tools() {
        let mut server = server();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "DEBUG STRINGMATCH-LEN aaa a*"), ":1\r\n");
        assert_eq!(server.run(a, "DEBUG QUICKLIST-PACKED-THRESHOLD 100b"), "+OK\r\n");
        assert!(
            server.run(a, "DEBUG QUICKLIST-PACKED-THRESHOLD x").starts_with("-ERR argument must be a memory")
        );
        assert_eq!(server.send(a, &[b"DEBUG", b"ERROR", b"MINE oh no"]), b"-MINE oh no\r\n");
        assert_eq!(server.run(a, "DEBUG OBJECT none"), "-ERR no such key\r\n");
        server.run(a, "SET k 1");
        assert!(server.run(a, "DEBUG OBJECT k").contains(" refcount:1 encoding:int "));
        assert_eq!(server.run(a, "DEBUG JMAP"), "*1\r\n+string: keys=1 bytes=0\r\n");
        let before = server.engine.shared.replication_id.clone();
        server.run(a, "DEBUG CHANGE-REPL-ID");
        assert_ne!(server.engine.shared.replication_id, before);
        assert_eq!(server.run(a, "DEBUG PAUSE-CRON 1"), "+OK\r\n");
        assert!(server.engine.shared.cron_paused);
        assert_eq!(server.run(a, "DEBUG PAUSE-CRON 0"), "+OK\r\n");
        assert!(!server.engine.shared.cron_paused);
        assert_eq!(server.run(a, "DEBUG SET-ACTIVE-EXPIRE 0"), "+OK\r\n");
        assert!(!server.engine.shared.active_expire);
        assert_eq!(
            server.run(a, "DEBUG NOSUCH"),
            "-ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP.\r\n"
        );
        assert!(server.run(a, "DEBUG HELP").contains("+POPULATE "));
    }
}
