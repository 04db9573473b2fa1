//! MONITOR: every command that runs, shown to whoever asked.

use std::io::Write;

use super::secrets;
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;

pub(super) static MONITOR: Command = Command {
    name: "monitor",
    arity: 1,
    group: Group::Server,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale],
    summary: "Shows every command that runs, as it runs.",
    complexity: "O(1), and O(N) for every command then, where N is the number of monitors",
    run: monitor,
    ..COMMAND
};

fn monitor(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if !cx.may_block() {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    if !cx.client.monitor {
        cx.client.monitor = true;
        cx.shared.monitors.push(cx.client.slot);
        cx.reply.ok();
    }
    Ok(())
}

/// Tells the monitors of a command, unless it is an administrator's.
pub(crate) fn feed(cx: &mut Context<'_>) {
    if cx.command.flags.has(Flag::Admin) {
        return;
    }
    let line = line(cx);
    for slot in cx.shared.monitors.clone() {
        cx.deliver(slot, |reply| reply.out.append(&line));
    }
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"` and the line's end.
fn line(cx: &Context<'_>) -> Vec<u8> {
    let now_us = cx.shared.now_us();
    let source = if cx.mode.in_script { "lua" } else { &cx.client.info.address };
    let mut line = Vec::with_capacity(128);
    // Writing to a vector cannot fail.
    let _ =
        write!(line, "+{}.{:06} [{} {source}]", now_us / 1_000_000, now_us % 1_000_000, cx.keys.selected());
    for arg in secrets::shown(cx.command, cx.args) {
        line.push(b' ');
        quote(&mut line, arg);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// The argument in quotes, with everything escaped that is not a printable ASCII character.
fn quote(line: &mut Vec<u8>, arg: &[u8]) {
    line.push(b'"');
    for &byte in arg {
        match byte {
            b'\\' | b'"' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn monitors_see_commands_after_they_ran_without_secrets() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        assert_eq!(server.run(a, "MONITOR"), "+OK\r\n");
        server.send(b, &[b"SET", b"k", b"a\"\\\n\x01\xff"]);
        let line = String::from_utf8(server.output(a)).unwrap();
        assert!(line.starts_with("+1700000000.0000"), "{line}");
        assert!(
            line.ends_with(" [0 127.0.0.1:50000] \"SET\" \"k\" \"a\\\"\\\\\\n\\x01\\xff\"\r\n"),
            "{line}"
        );
        server.run(b, "AUTH u p");
        assert!(
            String::from_utf8(server.output(a))
                .unwrap()
                .ends_with(" \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n")
        );
        server.run(b, "CONFIG GET port");
        assert_eq!(server.output(a), b"", "administrators' commands are not shown");
        assert_eq!(server.run(a, "GET k"), "-ERR Replica can't interact with the keyspace\r\n");
        let own = server.run(a, "PING");
        assert!(own.starts_with("+PONG\r\n+17") && own.ends_with("\"PING\"\r\n"), "{own}");
        server.run(b, "NOSUCH");
        assert_eq!(server.output(a), b"", "what never ran is not shown");
    }

    #[test]
    fn exec_is_shown_after_its_commands() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "MONITOR");
        for line in ["MULTI", "SET k v", "SELECT 2", "GET k", "EXEC"] {
            server.run(b, line);
        }
        let shown = String::from_utf8(server.output(a)).unwrap();
        let commands: Vec<&str> = shown.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        assert_eq!(
            commands,
            ["\"MULTI\"", "\"SET\" \"k\" \"v\"", "\"SELECT\" \"2\"", "\"GET\" \"k\"", "\"EXEC\""]
        );
        assert!(shown.contains(" [2 "), "{shown}");
    }

    #[test]
    fn reset_ends_it() {
        let mut server = TestEngine::new();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "MONITOR");
        let reply = server.run(a, "RESET");
        assert!(reply.starts_with("+RESET\r\n"), "{reply}");
        server.run(b, "PING");
        assert_eq!(server.output(a), b"");
        assert!(server.engine.shared.monitors.is_empty());
    }
}
