//! HELLO and AUTH. Without a name the user is `default`, whose password is `requirepass`.

use cairn_proto::Resp;

use crate::REDIS_VERSION;
use crate::acl::DEFAULT;
use crate::args::{Args, parse_i64};
use crate::client::{BlockedOn, TimeoutReply};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::commands::server::replication::mode;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::host::LogLevel;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// Bytes of a name in the log.
const LOGGED_BYTES_MAX: usize = 64;

const FLAGS: &[Flag] =
    &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy];

pub(super) static AUTH: Command = Command {
    name: "auth",
    arity: -2,
    group: Group::Connection,
    flags: FLAGS,
    summary: "Says who is at the other end, with a password.",
    complexity: "O(1)",
    syntax: "[username] password",
    run: auth,
    ..COMMAND
};

fn auth(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let logged_in = match args.from(1) {
        [_] if cx.shared.acl.default_needs_no_password() => {
            return Err(
                "ERR AUTH <password> called without any password configured for the default user. Are you \
                        sure your configuration is correct?"
                    .into(),
            );
        }
        [password] => log_in(cx, DEFAULT, password)?,
        [user, password] => log_in(cx, user, password)?,
        _ => return Err(CommandError::Syntax),
    };
    if logged_in {
        cx.reply.ok();
    }
    Ok(())
}

/// True when the client is that user now; false when it is going to be told that it is not.
fn log_in(cx: &mut Context<'_>, user: &[u8], password: &[u8]) -> CommandResult<bool> {
    let Err(delay_ms) = cx.authenticate(user, password) else { return Ok(true) };
    let shown = user[..user.len().min(LOGGED_BYTES_MAX)].escape_ascii();
    let text = format!("failed log-in as user '{shown}' from {}", cx.client.info.address);
    cx.host.log(LogLevel::Warning, &text);
    if delay_ms == 0 || !cx.may_block() || cx.mode.busy {
        return Err(WRONG_PASSWORD.into());
    }
    // Whoever guesses is made to wait, and with them their connection.
    crate::dispatch::count_error(cx, WRONG_PASSWORD.as_bytes());
    cx.block(BlockedOn::Penalty, Some(cx.now_ms() + delay_ms), TimeoutReply::Error(WRONG_PASSWORD));
    Ok(false)
}

pub(super) static HELLO: Command = Command {
    name: "hello",
    arity: -1,
    group: Group::Connection,
    since: "6.0.0",
    flags: FLAGS,
    summary: "Chooses the protocol's version, and may log in and name the connection on the way.",
    syntax: "[protover:integer [AUTH username password] [SETNAME clientname]]",
    run: hello,
    ..COMMAND
};

fn hello(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let resp = match args.get(1).map(|version| parse_i64(version)) {
        None => None,
        Some(None) => return Err("ERR Protocol version is not an integer or out of range".into()),
        Some(Some(2)) => Some(Resp::V2),
        Some(Some(3)) => Some(Resp::V3),
        Some(Some(_)) => return Err("NOPROTO unsupported protocol version".into()),
    };
    let mut credentials = None;
    let mut name = None;
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - 1 - at;
        if args.is(at, "auth") && left >= 2 {
            credentials = Some((args[at + 1], args[at + 2]));
            at += 3;
        } else if args.is(at, "setname") && left >= 1 {
            super::client::check_name(args[at + 1])?;
            name = Some(args[at + 1]);
            at += 2;
        } else {
            return Err(CommandError::Bytes(
                [b"ERR Syntax error in HELLO option '", args[at], b"'"].concat(),
            ));
        }
    }
    if let Some((user, password)) = credentials
        && !log_in(cx, user, password)?
    {
        return Ok(());
    }
    if cx.client.must_authenticate(&cx.shared.acl) {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .into());
    }
    if let Some(name) = name {
        cx.client.name = name.to_vec();
    }
    if let Some(resp) = resp {
        cx.reply.resp = resp;
    }
    greet(cx);
    Ok(())
}

fn greet(cx: &mut Context<'_>) {
    let version = if cx.reply.resp == Resp::V3 { 3 } else { 2 };
    let id = cx.client.id as i64;
    let mode = mode(cx.host);
    let role =
        if cx.host.cluster().map_or(!cx.shared.replica, |view| view.leads()) { "master" } else { "replica" };
    let reply = &mut *cx.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(version);
    reply.bulk(b"id");
    reply.int(id);
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::config::Config;
    use crate::testing::TestEngine;

    fn with_password() -> TestEngine {
        TestEngine::with_config(Config { requirepass: "secret".to_owned(), ..Config::default() }, 1)
    }

    #[test]
    fn nothing_but_auth_and_hello_goes_before_the_password() {
        let mut server = with_password();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "GET k"), "-NOAUTH Authentication required.\r\n");
        assert_eq!(server.run(a, "NOSUCH"), "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
        assert_eq!(server.run(a, "GET"), "-ERR wrong number of arguments for 'get' command\r\n");
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        assert_eq!(server.run(a, "AUTH wrong!"), wrong);
        assert_eq!(server.run(a, "AUTH other secret"), wrong);
        assert!(server.run(a, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
        assert_eq!(server.run(a, "AUTH secret"), "+OK\r\n");
        assert_eq!(server.run(a, "GET k"), "$-1\r\n");
        assert_eq!(server.run(a, "AUTH default secret"), "+OK\r\n");
    }

    #[test]
    fn hello_logs_in_names_and_switches_at_once() {
        let mut server = with_password();
        let a = server.connect(Resp::V2);
        let greeting = server.run(a, "HELLO 3 AUTH default secret SETNAME me");
        assert!(greeting.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"), "{greeting}");
        assert!(greeting.contains("$5\r\nproto\r\n:3\r\n"), "{greeting}");
        assert_eq!(server.run(a, "CLIENT GETNAME"), "$2\r\nme\r\n");
        assert!(server.run(a, "HELLO").contains(":3\r\n"), "without a version it stays");
    }

    #[test]
    fn a_hello_that_fails_changes_nothing() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert_eq!(server.run(a, "HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
        assert_eq!(server.run(a, "HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
        assert_eq!(server.run(a, "HELLO 3 BAD"), "-ERR Syntax error in HELLO option 'BAD'\r\n");
        assert_eq!(server.run(a, "HELLO 3 AUTH a"), "-ERR Syntax error in HELLO option 'AUTH'\r\n");
        assert!(server.run(a, "HELLO 3 SETNAME \u{1}").starts_with("-ERR Client names cannot"));
        assert_eq!(server.run(a, "GET none"), "$-1\r\n");
    }

    #[test]
    fn without_a_password_any_will_do_for_the_default_user_by_name() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        assert!(server.run(a, "AUTH x").starts_with("-ERR AUTH <password> called without any password"));
        assert_eq!(server.run(a, "AUTH default x"), "+OK\r\n");
        assert!(server.run(a, "AUTH nobody x").starts_with("-WRONGPASS"));
        assert_eq!(server.run(a, "AUTH a b c"), "-ERR syntax error\r\n");
    }

    #[test]
    fn taking_the_password_away_lets_everybody_in() {
        let mut server = with_password();
        let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(a, "AUTH secret");
        server.send(a, &[b"CONFIG", b"SET", b"requirepass", b""]);
        assert_eq!(server.run(b, "GET k"), "$-1\r\n");
    }
}
