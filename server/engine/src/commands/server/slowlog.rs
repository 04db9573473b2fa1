//! SLOWLOG: the commands that took longest to run.

use super::secrets;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::shared::SlowEntry;

/// Arguments kept of one command; the last place tells how many there were more.
const ARGS_MAX: usize = 32;
/// Bytes kept of one argument.
const ARG_BYTES_MAX: usize = 128;

pub(super) static SLOWLOG: Command = Command {
    name: "slowlog",
    arity: -2,
    group: Group::Server,
    since: "2.2.12",
    summary: "Looks at the commands that took longest to run.",
    complexity: "Depends on subcommand.",
    subcommands: &[&GET, &HELP, &LEN, &RESET],
    ..COMMAND
};

const SUBCOMMAND: Command = Command {
    group: Group::Server,
    since: "2.2.12",
    flags: &[Flag::Admin, Flag::Loading, Flag::Stale],
    ..COMMAND
};

static HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "6.2.0",
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    run: crate::commands::help::help,
    ..SUBCOMMAND
};

static GET: Command = Command {
    name: "get",
    arity: -2,
    summary: "Returns the newest entries: id, time, microseconds, arguments, client's address and name.",
    complexity: "O(N) where N is the number of entries returned",
    syntax: "[count:integer]",
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    run: get,
    ..SUBCOMMAND
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let wanted = match args.from(2) {
        [] => 10,
        [count] => match parse_i64(count) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return Err("ERR count should be greater than or equal to -1".into()),
        },
        _ => return Err(super::wrong_arguments(args)),
    };
    let entries = &cx.shared.slow_log.entries;
    let count = wanted.min(entries.len());
    cx.reply.array(count);
    for entry in entries.iter().take(count) {
        cx.reply.array(6);
        cx.reply.int(entry.id as i64);
        cx.reply.int(entry.at_s);
        cx.reply.int(entry.microseconds as i64);
        cx.reply.array(entry.args.len());
        for arg in &entry.args {
            cx.reply.bulk(arg);
        }
        cx.reply.bulk(entry.address.as_bytes());
        cx.reply.bulk(&entry.name);
    }
    Ok(())
}

static LEN: Command = Command {
    name: "len",
    arity: 2,
    summary: "Returns the number of entries.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    run: len,
    ..SUBCOMMAND
};

fn len(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(cx.shared.slow_log.entries.len() as i64);
    Ok(())
}

static RESET: Command = Command {
    name: "reset",
    arity: 2,
    summary: "Removes all entries.",
    complexity: "O(N) where N is the number of entries",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: reset,
    ..SUBCOMMAND
};

fn reset(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.shared.slow_log.entries.clear();
    cx.reply.ok();
    Ok(())
}

/// Adds the command that just ran to the slow log.
pub(crate) fn record(cx: &mut Context<'_>, elapsed_us: u64) {
    let max = usize::try_from(cx.shared.config.slowlog_max_len).unwrap_or(usize::MAX);
    if max == 0 {
        return;
    }
    let entry = SlowEntry {
        id: cx.shared.slow_log.next_id,
        at_s: cx.now_ms() / 1000,
        microseconds: elapsed_us,
        args: trim(&secrets::shown(cx.command, cx.args)),
        address: cx.client.info.address.clone(),
        name: cx.client.name.clone(),
    };
    let log = &mut cx.shared.slow_log;
    log.next_id += 1;
    log.entries.push_front(entry);
    log.entries.truncate(max);
}

fn trim(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut trimmed: Vec<Vec<u8>> = args[..kept]
        .iter()
        .map(|arg| match arg.len().checked_sub(ARG_BYTES_MAX) {
            None | Some(0) => arg.to_vec(),
            Some(more) => [&arg[..ARG_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
        })
        .collect();
    if kept < args.len() {
        trimmed.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    trimmed
}

const _: () = assert!(ARGS_MAX > 1);

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use super::*;
    use crate::testing::TestEngine;

    #[test]
    fn long_commands_are_trimmed() {
        let many: Vec<&[u8]> = vec![b"x"; 40];
        let trimmed = trim(&many);
        assert_eq!(trimmed.len(), 32);
        assert_eq!(trimmed[31], b"... (9 more arguments)");
        assert_eq!(trim(&many[..32]).len(), 32);
        assert_eq!(trim(&many[..32])[31], b"x");
        let long = vec![b'y'; 130];
        let expected = [&[b'y'; 128][..], b"... (2 more bytes)"].concat();
        assert_eq!(trim(&[&long])[0], expected);
        assert_eq!(trim(&[&long[..128]])[0].len(), 128);
    }

    #[test]
    fn the_newest_come_first_and_the_log_keeps_its_length() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3");
        server.run(a, "SLOWLOG RESET");
        server.run(a, "CLIENT SETNAME me");
        server.run(a, "SET k v");
        server.run(a, "GET k");
        assert_eq!(server.run(a, "SLOWLOG LEN"), ":3\r\n");
        let entries = server.run(a, "SLOWLOG GET 2");
        assert!(entries.starts_with("*2\r\n*6\r\n"), "{entries}");
        assert!(
            entries.contains("*2\r\n$7\r\nSLOWLOG\r\n$3\r\nLEN\r\n$15\r\n127.0.0.1:50000\r\n$2\r\nme\r\n"),
            "{entries}"
        );
        assert_eq!(server.run(a, "SLOWLOG GET -1").matches("127.0.0.1").count(), 3);
        assert_eq!(server.run(a, "SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1\r\n");
        server.run(a, "CONFIG SET slowlog-log-slower-than -1");
        server.run(a, "SLOWLOG RESET");
        server.run(a, "PING");
        assert_eq!(server.run(a, "SLOWLOG LEN"), ":0\r\n");
    }

    #[test]
    fn what_no_log_is_kept_of_takes_no_number() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        server.run(a, "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 0");
        let before = server.engine.shared.slow_log.next_id;
        server.run(a, "PING");
        assert_eq!(server.engine.shared.slow_log.next_id, before);
        assert_eq!(server.run(a, "SLOWLOG LEN"), ":0\r\n");
    }

    #[test]
    fn exec_is_not_slow_itself_and_a_sleep_is() {
        let mut server = TestEngine::new();
        server.engine.shared.config.enable_debug_command = crate::config::ProtectedAction::Yes;
        let a = server.connect(Resp::V2);
        server.run(a, "MULTI");
        server.run(a, "DEBUG SLEEP 0.2");
        server.run(a, "EXEC");
        let entries = server.run(a, "SLOWLOG GET");
        assert!(entries.starts_with("*1\r\n"), "{entries}");
        assert!(entries.contains("DEBUG"), "{entries}");
    }
}
