use cairn_proto::Resp;

use crate::testing::TestEngine;

#[test]
fn names_may_not_break_the_list() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let refusal = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(server.send(a, &[b"CLIENT", b"SETNAME", b"a b"]), refusal.as_bytes());
    assert_eq!(server.run(a, "CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(server.run(a, "CLIENT SETNAME me"), "+OK\r\n");
    assert_eq!(server.run(a, "CLIENT GETNAME"), "$2\r\nme\r\n");
    assert_eq!(server.send(a, &[b"CLIENT", b"SETNAME", b""]), b"+OK\r\n");
    assert_eq!(server.run(a, "CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(server.run(a, "CLIENT SETINFO lib-foo x"), "-ERR Unrecognized option 'lib-foo'\r\n");
    let refusal = "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(server.send(a, &[b"CLIENT", b"SETINFO", b"lib-ver", b"1\n"]), refusal.as_bytes());
}

#[test]
fn the_list_describes_every_connection_in_order_of_arrival() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V3));
    server.run(a, "CLIENT SETNAME first");
    server.run(a, "CLIENT SETINFO LIB-NAME lib");
    server.run(b, "SUBSCRIBE c1 c2");
    server.run(b, "PSUBSCRIBE p*");
    server.run(b, "SELECT 4");
    server.run(b, "WATCH k");
    server.run(b, "MULTI");
    server.run(b, "SET k v");
    server.advance(7_500);
    let text = server.run(a, "CLIENT LIST");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with(
            "id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=first age=7 idle=0 flags=N"
        )
    );
    assert!(
        lines[0].contains(" cmd=client|list user=default redir=-1 resp=2 lib-name=lib lib-ver="),
        "{text}"
    );
    assert!(lines[1].starts_with("id=2 "), "{text}");
    assert!(lines[1].contains(" age=7 idle=7 flags=Px db=4 sub=2 psub=1 ssub=0 multi=1 watch=1 "), "{text}");
    assert!(lines[1].contains(" cmd=set "), "{text}");
    assert!(server.run(a, "CLIENT LIST TYPE pubsub").contains("id=2 "));
    assert!(!server.run(a, "CLIENT LIST TYPE pubsub").contains("id=1 "));
    assert!(!server.run(a, "CLIENT LIST TYPE normal").contains("id=2 "));
    assert_eq!(server.run(a, "CLIENT LIST TYPE replica"), "$0\r\n\r\n");
    assert_eq!(server.run(a, "CLIENT LIST TYPE x"), "-ERR Unknown client type 'x'\r\n");
    assert_eq!(server.run(a, "CLIENT LIST ID 2 1 9").matches("id=").count(), 2);
    assert_eq!(server.run(a, "CLIENT LIST ID x"), "-ERR Invalid client ID\r\n");
    assert_eq!(server.run(a, "CLIENT LIST ID"), "-ERR syntax error\r\n");
    assert!(server.run(a, "CLIENT INFO").contains("id=1 "));
}

#[test]
fn a_killed_client_is_out_of_every_table_at_once() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(b, "SUBSCRIBE c");
    assert_eq!(server.run(a, "CLIENT KILL ID 2"), ":1\r\n");
    assert!(server.engine.client(b).unwrap().state.close_now);
    assert_eq!(server.run(a, "PUBLISH c hi"), ":0\r\n");
    assert!(!server.run(a, "CLIENT LIST").contains("id=2 "));
    assert_eq!(server.run(a, "CLIENT KILL ID 2"), ":0\r\n");
    server.engine.disconnect(b);
    assert!(server.engine.client(b).is_none());
}

#[test]
fn kill_by_filters() {
    let mut server = TestEngine::new();
    let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(b, "SUBSCRIBE c");
    assert_eq!(server.run(a, "CLIENT KILL 1.2.3.4:5"), "-ERR No such client\r\n");
    assert_eq!(server.run(a, "CLIENT KILL TYPE pubsub SKIPME no"), ":1\r\n");
    assert_eq!(server.run(a, "CLIENT KILL USER nobody"), "-ERR No such user 'nobody'\r\n");
    assert_eq!(server.run(a, "CLIENT KILL ID 0"), "-ERR client-id should be greater than 0\r\n");
    assert_eq!(server.run(a, "CLIENT KILL ID 1 ADDR"), "-ERR syntax error\r\n");
    assert_eq!(server.run(a, "CLIENT KILL USER default MAXAGE 5"), ":0\r\n");
    server.advance(6_000);
    assert_eq!(server.run(a, "CLIENT KILL USER default MAXAGE 5"), ":1\r\n", "its own connection is spared");
    assert!(server.engine.client(c).unwrap().state.close_now);
    assert!(!server.engine.client(a).unwrap().state.closing());
    assert_eq!(server.run(a, "CLIENT KILL 127.0.0.1:50000"), "+OK\r\n", "the old form spares nobody");
    assert!(server.engine.client(a).unwrap().state.close_after_reply);
}

#[test]
fn replies_can_be_turned_off_and_skipped() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    assert_eq!(server.run(a, "CLIENT REPLY SKIP"), "");
    assert_eq!(server.run(a, "PING"), "");
    assert_eq!(server.run(a, "PING"), "+PONG\r\n");
    assert_eq!(server.run(a, "CLIENT REPLY OFF"), "");
    assert_eq!(server.run(a, "PING"), "");
    assert_eq!(server.run(a, "NOSUCH"), "");
    assert_eq!(server.run(a, "CLIENT REPLY SKIP"), "");
    assert_eq!(server.run(a, "PING"), "");
    assert_eq!(server.run(a, "CLIENT REPLY ON"), "+OK\r\n");
    assert_eq!(server.run(a, "CLIENT REPLY MAYBE"), "-ERR syntax error\r\n");
    for line in ["MULTI", "CLIENT REPLY SKIP", "PING"] {
        server.run(a, line);
    }
    assert_eq!(server.run(a, "EXEC"), "*2\r\n+PONG\r\n", "as Redis: one reply is missing");
    assert_eq!(server.run(a, "PING"), "", "it was skipped");
}

#[test]
fn messages_come_also_while_replies_are_off() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(a, "CLIENT REPLY OFF");
    assert_eq!(server.run(a, "SUBSCRIBE c"), ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    server.run(b, "PUBLISH c hi");
    assert_eq!(server.output(a), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    assert_eq!(server.run(a, "PUBLISH c own"), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nown\r\n");
}

#[test]
fn paused_writes_wait_and_reads_go_on() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    assert_eq!(server.run(a, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    assert_eq!(server.run(b, "GET k"), "$-1\r\n");
    assert_eq!(server.run(b, "SET k v"), "");
    assert!(!server.engine.accepts_commands(b));
    assert_eq!(server.run(a, "GET k"), "$-1\r\n");
    server.advance(1001);
    server.release();
    assert_eq!(server.output(b), b"+OK\r\n");
    assert_eq!(server.run(a, "GET k"), "$1\r\nv\r\n");
}

#[test]
fn a_script_that_declares_no_writes_runs_while_writes_are_paused() {
    let mut server = TestEngine::new();
    let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
    let script: &[u8] = b"#!lua flags=no-writes\nreturn redis.pcall('publish', 'c', 'm')";
    let refused = b"-ERR Write commands are not allowed from read-only scripts.\r\n";
    let sha = server.send(a, &[b"SCRIPT", b"LOAD", script])[5..45].to_vec();
    server.run(a, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(server.send(b, &[b"EVAL", script, b"0"]), refused, "what others hear of is a write");
    assert_eq!(server.send(b, &[b"EVALSHA", &sha, b"0"]), refused);
    server.run(b, "MULTI");
    server.send(b, &[b"EVALSHA", &sha, b"0"]);
    assert_eq!(server.run(b, "EXEC"), format!("*1\r\n{}", String::from_utf8_lossy(refused)));
    assert_eq!(server.send(b, &[b"EVAL", b"#!lua\nreturn 1", b"0"]), b"");
    assert_eq!(server.send(c, &[b"EVAL", b"return 1", b"0"]), b"", "it may write");
    server.advance(1001);
    assert_eq!(server.output(b), b":1\r\n");
    assert_eq!(server.output(c), b":1\r\n");
}

#[test]
fn writes_wait_for_a_shutdown_whatever_clients_say_and_go_on_when_it_is_given_up() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(a, "SET gone v PX 10");
    server.engine.shared.pause.stopping = true;
    assert_eq!(server.run(b, "SET k v"), "");
    assert_eq!(server.engine.next_deadline_ms(), None, "nothing to wake up for");
    assert_eq!(server.run(a, "CLIENT UNPAUSE"), "+OK\r\n");
    let before = server.batches.len();
    server.advance(100);
    assert_eq!(server.batches.len(), before, "nor does anything expire by itself");
    assert_eq!(server.output(b), b"");
    assert_eq!(server.run(a, "GET k"), "$-1\r\n", "reads go on");
    server.engine.shared.pause.stop_no_more();
    server.advance(0);
    server.release();
    assert_eq!(server.output(b), b"+OK\r\n");
}

#[test]
fn touch_marks_keys_as_used_even_for_a_client_that_leaves_no_marks() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "SET k v");
    server.run(a, "CLIENT NO-TOUCH ON");
    for (line, idle) in [
        ("GET k", ":5\r\n"),
        ("TOUCH k", ":0\r\n"),
        ("GET k", ":5\r\n"),
        ("EVAL return{redis.call('TOUCH','k')} 0", ":0\r\n"),
    ] {
        server.advance(5000);
        server.run(a, line);
        assert_eq!(server.run(a, "OBJECT IDLETIME k"), idle, "{line}");
    }
}

#[test]
fn the_line_of_a_client_says_what_it_is_doing() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let b = server.connect(Resp::V2);
    let commands = |line: &str| line.rsplit_once("tot-cmds=").unwrap().1.trim().parse::<u64>().unwrap();
    let own = server.run(a, "CLIENT INFO");
    assert!(own.contains(" qbuf=26 qbuf-free=0 argv-mem=10 "), "{own}");
    assert_eq!(commands(&own), 0, "it is not over");
    server.send(a, &[b"EVAL", b"redis.call('PING')", b"0"]);
    assert_eq!(commands(&server.run(a, "CLIENT INFO")), 3);
    server.run(b, "BLPOP l 0");
    assert_eq!(commands(&server.run(a, "CLIENT LIST ID 2")), 0, "it is not over");
    server.run(a, "RPUSH l x");
    let other = server.run(a, "CLIENT LIST ID 2");
    assert!(other.contains(" qbuf=0 "), "{other}");
    assert_eq!(commands(&other), 1);
}

#[test]
fn what_expires_while_clients_are_paused_is_hidden_and_goes_afterwards() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(a, "SET k v PX 10");
    server.run(a, "HSET h f v g w");
    server.run(a, "HPEXPIRE h 10 FIELDS 1 f");
    server.run(b, "WATCH k");
    server.run(a, "CLIENT PAUSE 1000 WRITE");
    server.advance(100);
    let before = server.batches.len();
    assert_eq!(server.run(a, "GET k"), "$-1\r\n");
    assert_eq!(server.run(a, "HKEYS h"), "*1\r\n$1\r\ng\r\n");
    assert_eq!(server.run(a, "KEYS *"), "*1\r\n$1\r\nh\r\n");
    assert_eq!(server.run(a, "SCAN 0"), "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nh\r\n");
    server.run(b, "MULTI");
    server.run(b, "GET k");
    assert_eq!(server.run(b, "EXEC"), "*-1\r\n", "its watched key is gone");
    assert_eq!(server.batches.len(), before, "nothing changes while nothing may");
    assert_eq!(server.engine.shared.stats.expired_keys, 0);
    server.run(a, "CLIENT UNPAUSE");
    assert_eq!(server.run(a, "GET k"), "$-1\r\n");
    assert_eq!(server.engine.shared.stats.expired_keys, 1);
    assert_eq!(server.batches.len(), before + 1);
}

#[test]
fn the_transaction_that_pauses_writes_still_replaces_what_has_expired() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "SET k v PX 10");
    server.run(a, "MULTI");
    for line in ["CLIENT PAUSE 1000 WRITE", "GET k", "SETNX k new"] {
        server.run(a, line);
    }
    server.now_ms += 20;
    assert_eq!(server.run(a, "EXEC"), "*3\r\n+OK\r\n$-1\r\n:1\r\n");
    assert_eq!(server.run(a, "GET k"), "$3\r\nnew\r\n");
    let mut replica = server.replica();
    let b = replica.connect(Resp::V2);
    assert_eq!(replica.run(b, "GET k"), "$3\r\nnew\r\n");
}

#[test]
fn in_a_cluster_an_expiry_that_somebody_saw_outlasts_a_pause() {
    let mut server = TestEngine::new();
    server.host.show(crate::testing::three_nodes(0, Some(0)));
    let a = server.connect(Resp::V2);
    server.run(a, "SET k v PX 10");
    server.run(a, "CLIENT PAUSE 1000 WRITE");
    server.now_ms += 100;
    let before = server.batches.len();
    assert_eq!(server.run(a, "GET k"), "$-1\r\n");
    assert_eq!(server.batches.len(), before + 1, "the next leader's clock may be behind");
}

#[test]
fn a_milder_pause_does_not_relax_one_that_holds_and_unpause_lets_go_at_once() {
    let mut server = TestEngine::new();
    let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
    server.run(a, "CLIENT PAUSE 100000");
    assert_eq!(server.run(b, "GET k"), "");
    assert_eq!(server.run(c, "SET k v"), "");
    server.run(a, "CLIENT PAUSE 1 WRITE");
    server.advance(10);
    assert_eq!(server.output(b), b"", "the stricter rule counts");
    assert_eq!(server.output(c), b"", "and the longer time");
    server.run(a, "CLIENT UNPAUSE");
    assert_eq!(server.engine.next_deadline_ms(), Some(server.now_ms));
    server.advance(0);
    server.release();
    assert_eq!(server.output(b), b"$-1\r\n");
    assert_eq!(server.output(c), b"+OK\r\n");
    server.run(a, "CLIENT PAUSE 10");
    server.advance(20);
    server.run(a, "CLIENT PAUSE 100 WRITE");
    assert_eq!(server.run(b, "PING"), "+PONG\r\n", "the strict one is over");
    server.run(a, "CLIENT UNPAUSE");
    assert_eq!(server.run(a, "CLIENT PAUSE x"), "-ERR timeout is not an integer or out of range\r\n");
    assert_eq!(server.run(a, "CLIENT PAUSE -1"), "-ERR timeout is negative\r\n");
    assert_eq!(server.run(a, "CLIENT PAUSE 1 SOME"), "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
}

#[test]
fn unblock_ends_a_wait_with_a_time_out_or_an_error() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    assert_eq!(server.run(a, "CLIENT UNBLOCK 2"), ":0\r\n", "it does not wait");
    server.run(b, "WAIT 1 0");
    assert_eq!(server.run(a, "CLIENT UNBLOCK 2"), ":1\r\n");
    assert_eq!(server.output(b), b":0\r\n");
    server.run(b, "WAIT 1 0");
    assert_eq!(server.run(a, "CLIENT UNBLOCK 2 ERROR"), ":1\r\n");
    assert_eq!(server.output(b), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert!(server.engine.accepts_commands(b));
    assert_eq!(
        server.run(a, "CLIENT UNBLOCK 2 MAYBE"),
        "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n"
    );
    assert_eq!(server.run(a, "CLIENT UNBLOCK x"), "-ERR value is not an integer or out of range\r\n");
}

#[test]
fn help_and_unknown_subcommands() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let help = server.run(a, "CLIENT HELP");
    assert!(help.contains("+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"));
    assert!(help.contains("+UNBLOCK <client-id> [TIMEOUT | ERROR]\r\n"), "{help}");
    assert!(help.ends_with("+HELP\r\n+    Print this help.\r\n"));
    assert_eq!(
        server.run(a, "CLIENT MAINT_NOTIFICATIONS ON"),
        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"
    );
    assert_eq!(server.run(a, "CLIENT"), "-ERR wrong number of arguments for 'client' command\r\n");
}
