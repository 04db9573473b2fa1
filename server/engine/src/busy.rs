//! What other clients get while a script runs for longer than `busy-reply-threshold`: an answer, and the means to end it.
//!
//! The thread that would serve them is in the script. Every 100,000 of its instructions the interpreter asks whether to
//! go on; past the threshold the question is handed to the host ([`Host::serve_while_busy`]), which looks at its sockets
//! and runs what it finds there through [`Busy::execute`]: commands flagged [`Flag::AllowBusy`](crate::command::Flag)
//! are carried out, all others are refused with `-BUSY`. `SCRIPT KILL` ends a script that has not written, `SHUTDOWN
//! NOSAVE` the process. `FUNCTION KILL` and `FUNCTION STATS` are the same for functions.
//!
//! The script is one unit with everything that it has written so far, none of which may be seen. So a client with output
//! from before, whose place behind that output the journal decides, is left alone until the script is over.

use std::sync::Arc;

use crate::args::Args;
use crate::client::{Client, Slot};
use crate::command::table;
use crate::context::{Context, Mode};
use crate::dispatch;
use crate::error::{CommandError, CommandResult};
use crate::host::{Host, LogLevel};
use crate::keyspace::Keyspace;
use crate::scripting::LibraryCounts;
use crate::shared::Shared;

const BUSY_SCRIPT: CommandError = CommandError::new(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const BUSY_FUNCTION: CommandError = CommandError::new(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// The answer to commands that have to wait for the script or function that runs.
pub(crate) fn refusal(shared: &Shared) -> CommandError {
    let function = shared.running_script.as_ref().is_some_and(|running| running.function.is_some());
    if function { BUSY_FUNCTION } else { BUSY_SCRIPT }
}

/// SCRIPT KILL, or FUNCTION KILL: has the script that runs end soon.
pub(crate) fn kill(shared: &mut Shared, function: bool) -> CommandResult {
    let other_kind = refusal(shared);
    match &mut shared.running_script {
        None => Err("NOTBUSY No scripts in execution right now.".into()),
        Some(running) if running.wrote => Err(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
             script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
                .into(),
        ),
        Some(running) if running.function.is_some() != function => Err(other_kind),
        Some(running) => {
            running.killed = true;
            Ok(())
        }
    }
}

/// The script or function that runs now.
#[derive(Debug, Default)]
pub struct RunningScript {
    /// The function's name; `None` is a script.
    pub function: Option<Arc<[u8]>>,
    /// What there was to call when it began, for whoever asks meanwhile.
    pub loaded: LibraryCounts,
    /// The command that runs it, kept from when others can ask.
    pub command: Vec<Vec<u8>>,
    /// The host's monotonic clock when it began.
    pub started_us: u64,
    /// It has called a command that writes: it cannot be ended without leaving half of its work behind.
    pub wrote: bool,
    /// SCRIPT KILL has asked it to end.
    pub killed: bool,
    /// It has run for longer than `busy-reply-threshold`.
    pub slow: bool,
}

/// The engine as far as it can be used while a script runs.
pub struct Busy<'b> {
    keys: &'b mut Keyspace,
    /// The client that runs the script is `None` in the table.
    pub shared: &'b mut Shared,
}

impl Busy<'_> {
    /// The connection is gone.
    pub fn disconnect(&mut self, slot: Slot) {
        self.shared.disconnect(slot);
    }

    /// Any client but the one that runs the script.
    pub fn client(&mut self, slot: Slot) -> Option<&mut Client> {
        self.shared.client(slot)
    }

    /// Ends the script, as SCRIPT KILL does. False when it has written, and has to come to its own end.
    pub fn kill_script(&mut self) -> bool {
        match &mut self.shared.running_script {
            Some(running) if !running.wrote => {
                running.killed = true;
                true
            }
            _ => false,
        }
    }

    /// May this client be served now? Not when it waits for something, or is yet to be sent earlier output.
    pub fn serves(&mut self, slot: Slot) -> bool {
        self.shared.client(slot).is_some_and(|client| {
            let state = &client.state;
            // What the primary says is for when the script is over.
            client.reply.out.is_empty() && state.blocked.is_none() && !state.closing() && !state.primary
        })
    }

    /// Runs or refuses one command of a client that is [served](Busy::serves).
    pub fn execute(&mut self, host: &mut dyn Host, slot: Slot, args: Args<'_>) {
        let mut client = self.shared.clients[slot].take().expect("served, so it is there");
        let from = client.reply.out.end();
        // What the script's own command has set up is put back when this one is over.
        let (db, no_touch) = (self.keys.selected(), self.keys.no_touch);
        let hold = std::mem::take(&mut self.shared.hold);
        let pushes = std::mem::take(&mut self.shared.pushes);
        self.shared.clock_us = host.monotonic_us();
        self.keys.select(client.state.db);
        self.keys.no_touch = client.state.no_touch;
        let Client { state, reply } = &mut *client;
        state.last_command_at_ms = self.shared.now_ms;
        let mut cx = Context {
            client: state,
            keys: self.keys,
            reply,
            shared: self.shared,
            scripts: None,
            host,
            command: &table().entries()[0],
            args,
            mode: Mode { busy: true, ..Mode::default() },
        };
        let start = dispatch::process(&mut cx);
        dispatch::apply_reply_mode(&mut cx, start);
        self.keys.select(db);
        self.keys.no_touch = no_touch;
        let mut own_pushes = std::mem::replace(&mut self.shared.pushes, pushes);
        client.reply.out.append(own_pushes.out.contiguous());
        let own_hold = std::mem::replace(&mut self.shared.hold, hold);
        if own_hold > self.shared.released && client.reply.out.end() > from {
            client.state.hold(from, own_hold);
        }
        self.shared.clients[slot] = Some(client);
        // The host sends at once what it can; at the end of the turn it looks at the rest.
        self.shared.touch(slot);
    }
}

/// A script asks whether it is to end, as it does from time to time.
pub(crate) fn interrupted(cx: &mut Context<'_>) -> bool {
    let threshold_ms = cx.shared.config.busy_reply_threshold;
    let now_us = cx.host.monotonic_us();
    let Some(running) = &mut cx.shared.running_script else { return false };
    if running.killed {
        return true;
    }
    let elapsed_ms = now_us.saturating_sub(running.started_us) / 1000;
    if threshold_ms == 0 || elapsed_ms < threshold_ms {
        return false;
    }
    if !std::mem::replace(&mut running.slow, true) {
        running.command = cx.args.as_slice().iter().map(|arg| arg.to_vec()).collect();
        let text = match &running.function {
            Some(name) => {
                format!("FUNCTION KILL command. Script name is: {}.", String::from_utf8_lossy(name))
            }
            None => "SCRIPT KILL command.".to_owned(),
        };
        let text = format!(
            "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try killing the script \
             using the {text}"
        );
        cx.host.log(LogLevel::Warning, &text);
    }
    cx.host.serve_while_busy(&mut Busy { keys: cx.keys, shared: cx.shared });
    let killed = cx.shared.running_script.as_ref().is_some_and(|running| running.killed);
    if killed {
        cx.host.log(LogLevel::Notice, "Lua script killed by user with SCRIPT KILL.");
    }
    killed
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use cairn_proto::Resp;

    use super::*;
    use crate::host::{Facts, Request};
    use crate::testing::{FakeHost, TestEngine};

    /// A host whose clock leaps, and which sends another client's commands while a script runs.
    struct Attentive {
        fake: FakeHost,
        other: Slot,
        lines: VecDeque<&'static str>,
        replies: Vec<String>,
    }

    impl Attentive {
        fn new(other: Slot, lines: &[&'static str]) -> Self {
            let lines = lines.iter().copied().collect();
            Self { fake: FakeHost::default(), other, lines, replies: Vec::new() }
        }
    }

    impl Host for Attentive {
        fn monotonic_us(&self) -> u64 {
            const LEAP_US: u64 = 10_000_000;
            self.fake.monotonic_us.set(self.fake.monotonic_us.get() + LEAP_US);
            self.fake.monotonic_us.get()
        }
        fn used_memory(&self) -> usize {
            self.fake.used_memory()
        }
        fn log(&self, level: LogLevel, text: &str) {
            self.fake.log(level, text);
        }
        fn background_save(&mut self, schedule: bool) -> Result<bool, CommandError> {
            self.fake.background_save(schedule)
        }
        fn request(&mut self, request: Request) {
            self.fake.request(request);
        }
        fn fill_with_secrets(&mut self, secret: &mut [u8]) {
            self.fake.fill_with_secrets(secret);
        }
        fn read_acl_file(&mut self) -> Result<Vec<u8>, String> {
            self.fake.read_acl_file()
        }
        fn replace_acl_file(&mut self, content: &[u8]) -> Result<(), String> {
            self.fake.replace_acl_file(content)
        }
        fn facts(&self) -> Facts {
            self.fake.facts()
        }
        fn serve_while_busy(&mut self, busy: &mut Busy<'_>) {
            if !busy.serves(self.other) {
                return;
            }
            let Some(line) = self.lines.pop_front() else { return };
            let args: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
            busy.execute(&mut self.fake, self.other, Args::new(&args));
            let out = &mut busy.client(self.other).expect("it is still connected").reply.out;
            self.replies.push(String::from_utf8_lossy(out.contiguous()).into_owned());
            out.clear();
        }
    }

    const BUSY_REPLY: &str =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

    #[test]
    fn while_a_script_runs_for_long_others_are_told_so_and_can_end_it() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(other, "SELECT 1");
        let lines = ["GET k", "MULTI", "SET k v", "EXEC", "SHUTDOWN", "NOSUCH", "SCRIPT KILL"];
        let mut host = Attentive::new(other, &lines);
        let script = b"redis.call('SELECT', 2) redis.call('GET', 'k') while true do end";
        server.engine.execute(&mut host, runner, Args::new(&[b"EVAL", script, b"0"]));
        assert_eq!(
            host.replies,
            [
                BUSY_REPLY,
                "+OK\r\n",
                BUSY_REPLY,
                &format!("-EXECABORT Transaction discarded because of: {}", &BUSY_REPLY[1..]),
                BUSY_REPLY,
                "-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
                "+OK\r\n",
            ]
        );
        let reply = String::from_utf8(server.output(runner)).unwrap();
        assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL..."), "{reply}");
        assert!(host.fake.requests.is_empty(), "the refused SHUTDOWN");
        assert_eq!(server.run(other, "SCRIPT KILL"), "-NOTBUSY No scripts in execution right now.\r\n");
        server.run(other, "SET k v");
        assert_eq!(server.run(runner, "GET k"), "$-1\r\n", "each is in its own database");
    }

    #[test]
    fn a_script_that_has_written_runs_to_its_end() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        let mut host = Attentive::new(other, &["SCRIPT KILL", "WATCH k", "SHUTDOWN NOSAVE"]);
        let script = b"redis.call('SET', 'k', 'v') for i = 1, 1000000 do end return redis.call('GET', 'k')";
        server.engine.execute(&mut host, runner, Args::new(&[b"EVAL", script, b"0"]));
        assert!(host.replies[0].starts_with("-UNKILLABLE "), "{:?}", host.replies);
        assert_eq!(host.replies[1], "+OK\r\n");
        assert_eq!(host.replies[2], "", "the process ends");
        assert!(matches!(host.fake.requests[..], [Request::Shutdown { save: Some(false), .. }]));
        assert_eq!(server.output(runner), b"", "its write is not released");
        server.run(other, "PING");
        assert_eq!(server.output(runner), b"$1\r\nv\r\n");
    }

    #[test]
    fn a_function_is_ended_by_its_own_kill() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        let code = b"#!lua name=l\nredis.register_function('endless', function() while true do end end)";
        server.send(runner, &[b"FUNCTION", b"LOAD", code]);
        let lines = ["GET k", "SCRIPT KILL", "FUNCTION LIST", "FUNCTION STATS", "FUNCTION KILL"];
        let mut host = Attentive::new(other, &lines);
        server.engine.execute(&mut host, runner, Args::new(&[b"FCALL", b"ENDLESS", b"1", b"k"]));
        let busy =
            "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n";
        assert_eq!(host.replies[..3], [busy, busy, busy]);
        let stats = "*4\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$7\r\nendless\r\n$7\r\ncommand\r\n\
                     *4\r\n$5\r\nFCALL\r\n$7\r\nENDLESS\r\n$1\r\n1\r\n$1\r\nk\r\n$11\r\nduration_ms\r\n:";
        assert!(host.replies[3].starts_with(stats), "{}", host.replies[3]);
        assert!(host.replies[3].contains("$15\r\nlibraries_count\r\n:1\r\n"), "{}", host.replies[3]);
        assert_eq!(host.replies[4], "+OK\r\n");
        let reply = String::from_utf8(server.output(runner)).unwrap();
        assert!(
            reply.starts_with("-ERR Script killed by user with FUNCTION KILL... script: endless, on"),
            "{reply}"
        );
        assert!(
            host.fake.log.borrow()[0].ends_with("using the FUNCTION KILL command. Script name is: endless.")
        );
        assert_eq!(server.run(other, "FUNCTION KILL"), "-NOTBUSY No scripts in execution right now.\r\n");
    }

    #[test]
    fn a_script_is_not_ended_by_function_kill() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        let mut host = Attentive::new(other, &["FUNCTION KILL", "FUNCTION STATS", "SCRIPT KILL"]);
        server.engine.execute(&mut host, runner, Args::new(&[b"EVAL", b"while true do end", b"0"]));
        assert_eq!(host.replies, [BUSY_REPLY, BUSY_REPLY, "+OK\r\n"]);
    }

    #[test]
    fn a_client_with_earlier_output_is_left_alone() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.send_held(other, &[b"SET", b"k", b"v"]);
        let mut host = Attentive::new(other, &["PING"]);
        let script = b"for i = 1, 1000000 do end";
        server.engine.execute(&mut host, runner, Args::new(&[b"EVAL", script, b"0"]));
        assert_eq!(host.replies, [""; 0]);
        server.release();
        assert_eq!(server.output(other), b"+OK\r\n");
    }

    #[test]
    fn a_threshold_of_zero_lets_scripts_run_undisturbed() {
        let mut server = TestEngine::new();
        let (runner, other) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(runner, "CONFIG SET busy-reply-threshold 0");
        let mut host = Attentive::new(other, &["PING"]);
        let script = b"for i = 1, 1000000 do end return 1";
        server.engine.execute(&mut host, runner, Args::new(&[b"EVAL", script, b"0"]));
        assert_eq!(host.replies, [""; 0]);
        assert_eq!(server.output(runner), b":1\r\n");
    }
}
