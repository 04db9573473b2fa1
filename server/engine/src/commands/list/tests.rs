use cairn_proto::Resp;

use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::digest;
use crate::testing::TestEngine;

fn server() -> (TestEngine, Slot) {
    with_config(Config::default())
}

fn with_config(config: Config) -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..config }, 1);
    let client = server.connect(Resp::V2);
    (server, client)
}

/// A client that has sent this and waits.
fn waiting(server: &mut TestEngine, line: &str) -> Slot {
    let client = server.connect(Resp::V2);
    assert_eq!(server.run(client, line), "", "{line}");
    assert!(!server.engine.accepts_commands(client));
    client
}

/// What the client has been sent by now.
fn heard(server: &mut TestEngine, client: Slot) -> String {
    String::from_utf8_lossy(&server.output(client)).into_owned()
}

fn bulks(texts: &[&str]) -> String {
    let bulks = texts.iter().map(|text| format!("${}\r\n{text}\r\n", text.len()));
    format!("*{}\r\n{}", texts.len(), bulks.collect::<String>())
}

fn encoding(server: &TestEngine, key: &str) -> &'static str {
    server.engine.keys.db().dict.get(key.as_bytes()).expect("the key is there").value.encoding()
}

/// The effects rebuild the state.
fn check_replica(server: &TestEngine) {
    let replica = server.replica();
    assert_eq!(
        digest::keyspace(server.engine.keys.dbs()),
        digest::keyspace(replica.engine.keys.dbs()),
        "a replica has another state"
    );
}

// ---- effects, events, changes ----

#[test]
fn effects_are_commands_that_never_wait() {
    let (mut server, a) = server();
    for (line, effects) in [
        ("RPUSH l 1 2 3 4 5 6 7 8 9", &["RPUSH l 1 2 3 4 5 6 7 8 9"][..]),
        ("BLPOP missing l 0", &["LPOP l"]),
        ("BRPOP l 0", &["RPOP l"]),
        ("LPOP l 2", &["LPOP l 2"]),
        ("LMPOP 2 missing l RIGHT COUNT 2", &["RPOP l 2"]),
        ("BLMOVE l m LEFT RIGHT 0", &["LMOVE l m LEFT RIGHT"]),
        ("BRPOPLPUSH l m 0", &["RPOPLPUSH l m"]),
        ("LMOVE l m left left", &["LMOVE l m left left"]),
        ("RPOPLPUSH m m", &["RPOPLPUSH m m"]),
        ("LINSERT m BEFORE 4 x", &["LINSERT m BEFORE 4 x"]),
        ("LSET m 0 y", &["LSET m 0 y"]),
        ("LREM m 0 y", &["LREM m 0 y"]),
        ("LTRIM m 0 1", &["LTRIM m 0 1"]),
        ("LPUSHX m z", &["LPUSHX m z"]),
        ("BLMPOP 0 1 m LEFT COUNT 100", &["LPOP m 3"]),
    ] {
        assert_eq!(server.effects_of(a, line), effects, "{line}");
    }
    assert!(server.engine.keys.db().is_empty());
    check_replica(&server);
}

#[test]
fn what_changes_nothing_is_not_written_down() {
    let (mut server, a) = server();
    server.run(a, "RPUSH l a b c");
    server.run(a, "SET s v");
    let dirty = server.engine.shared.effects.dirty();
    for line in [
        "LPUSHX missing a",
        "LPUSH s a",
        "LPOP missing",
        "LPOP l 0",
        "LPOP l -1",
        "LPOP s",
        "LMPOP 1 missing LEFT",
        "LMPOP 2 s l LEFT",
        "LMPOP 1 l LEFT COUNT 1 COUNT 1",
        "LMOVE missing l LEFT LEFT",
        "LMOVE l s LEFT LEFT",
        "LMOVE l l UP LEFT",
        "LINSERT l BEFORE missing x",
        "LINSERT missing BEFORE a x",
        "LSET l 3 x",
        "LSET l -4 x",
        "LSET missing 0 x",
        "LREM l 0 missing",
        "LREM l x a",
        "LRANGE l 0 -1",
        "LPOS l a",
        "BLPOP l -1",
        "BLMOVE l m LEFT LEFT x",
    ] {
        assert!(server.effects_of(a, line).is_empty(), "{line}");
    }
    assert!(server.effects_of(a, "LTRIM l 0 -1").is_empty());
    assert_eq!(server.engine.shared.effects.dirty(), dirty);
    assert_eq!(server.run(a, "LRANGE l 0 -1"), bulks(&["a", "b", "c"]));
    assert_eq!(server.engine.keys.db().len(), 2);
}

#[test]
fn events_and_changes_are_counted_as_in_redis() {
    let (mut server, a) = server();
    for (line, events, changes) in [
        ("RPUSH l a b c", &["rpush l"][..], 3),
        ("LPUSH l z", &["lpush l"], 1),
        ("LINSERT l AFTER a x", &["linsert l"], 1),
        ("LSET l 0 a", &["lset l"], 1),
        ("LREM l 0 a", &["lrem l"], 2),
        ("LTRIM l 0 -1", &["ltrim l"], 0),
        ("LTRIM l 1 -1", &["ltrim l"], 1),
        ("LMOVE l m LEFT RIGHT", &["rpush m", "lpop l"], 1),
        ("RPOPLPUSH l m", &["lpush m", "rpop l", "del l"], 1),
        ("RPOP m 2", &["rpop m", "del m"], 2),
        ("RPUSH l a b c", &["rpush l"], 3),
        ("BLMPOP 0 1 l LEFT COUNT 2", &["lpop l"], 2),
        ("LTRIM l 5 9", &["ltrim l", "del l"], 1),
    ] {
        let before = server.engine.shared.effects.dirty();
        assert_eq!(server.events_of(a, line), events, "{line}");
        assert_eq!(server.engine.shared.effects.dirty() - before, changes, "{line}");
    }
}

// ---- encodings ----

#[test]
fn the_encoding_follows_the_limits_as_in_redis() {
    for (fill, large) in [(3, "x".repeat(16)), (-1, "x".repeat(8_192))] {
        let (mut server, a) = with_config(Config { list_max_listpack_size: fill, ..Config::default() });
        for line in [format!("RPUSH l {large}"), format!("LINSERT l AFTER b {large}")] {
            server.run(a, "DEL l");
            server.run(a, "RPUSH l a b c");
            assert_eq!(encoding(&server, "l"), "listpack");
            server.run(a, &line);
            assert_eq!(encoding(&server, "l"), "quicklist");
        }
        server.run(a, "RPUSH m d e f");
        server.run(a, &format!("RPUSH l {large}"));
        server.run(a, "LMOVE l m RIGHT RIGHT");
        assert_eq!(encoding(&server, "m"), "quicklist");
        check_replica(&server);
    }
}

#[test]
fn a_list_that_shrinks_goes_back_to_a_listpack() {
    let large = "x".repeat(8_192);
    for (fill, make, shrink) in [
        (3, "a b c d".to_owned(), "RPOP l 3".to_owned()),
        (3, "a a a d".to_owned(), "LREM l 3 a".to_owned()),
        (3, "a b c d".to_owned(), "LTRIM l 1 1".to_owned()),
        (-1, format!("a b c {large}"), "RPOP l 1".to_owned()),
        (-1, format!("a {large}"), format!("LREM l 1 {large}")),
        (-1, format!("a b {large}"), "LTRIM l 0 1".to_owned()),
        (-1, large.clone(), "LSET l -1 c".to_owned()),
        (-1, format!("a {large} b"), "LSET l 1 c".to_owned()),
    ] {
        let (mut server, a) = with_config(Config { list_max_listpack_size: fill, ..Config::default() });
        server.run(a, &format!("RPUSH l {make}"));
        assert_eq!(encoding(&server, "l"), "quicklist");
        server.run(a, &shrink);
        assert_eq!(encoding(&server, "l"), "listpack", "{:.20}", shrink);
    }
}

#[test]
fn large_elements_are_found_replaced_and_moved() {
    let (mut server, a) = server();
    server.run(a, "DEBUG QUICKLIST-PACKED-THRESHOLD 5b");
    let long = "y".repeat(10_000);
    server.run(a, &format!("RPUSH l {long} hello a large1 b"));
    assert_eq!(server.run(a, "LINSERT l BEFORE large1 large2"), ":6\r\n");
    assert_eq!(server.run(a, "LPOS l large1"), ":4\r\n");
    assert_eq!(server.run(a, "LSET l 2 large3"), "+OK\r\n");
    assert_eq!(server.run(a, "LREM l -1 hello"), ":1\r\n");
    assert_eq!(server.run(a, "LRANGE l 1 -1"), bulks(&["large3", "large2", "large1", "b"]));
    assert_eq!(server.run(a, "LMOVE l m LEFT LEFT"), format!("$10000\r\n{long}\r\n"));
    assert_eq!(server.run(a, "LINDEX m -1"), format!("$10000\r\n{long}\r\n"));
    assert_eq!(server.run(a, "RPOP l 3"), bulks(&["b", "large1", "large2"]));
    check_replica(&server);
}

#[test]
fn lists_of_many_nodes_are_thinned_out_and_trimmed_beside_a_snapshot() {
    let (mut server, a) = server();
    let elements: Vec<String> = (0..50_000).map(|i| format!("element:{}", i % 7)).collect();
    let mut args: Vec<&[u8]> = vec![b"RPUSH", b"l"];
    args.extend(elements.iter().map(|element| element.as_bytes()));
    server.send(a, &args);
    assert_eq!(server.run(a, "LREM l -5000 element:3"), ":5000\r\n");
    assert_eq!(server.run(a, "LLEN l"), ":45000\r\n");
    assert_eq!(server.run(a, "LTRIM l 100 40000"), "+OK\r\n");
    assert_eq!(server.run(a, "LLEN l"), ":39901\r\n");
    let snapshot = server.engine.snapshot();
    assert_eq!(server.run(a, "LPOP l 39000").matches("element").count(), 39_000);
    assert_eq!(server.run(a, "LLEN l"), ":901\r\n");
    let held = snapshot.dbs[0].dict.get(b"l").expect("as it was").value.as_list().expect("a list");
    assert_eq!((held.len(), held.iter().count()), (39_901, 39_901));
    check_replica(&server);
}

// ---- waiting ----

#[test]
fn who_came_first_is_served_first_and_keys_in_the_order_of_the_arguments() {
    let (mut server, a) = server();
    let first = waiting(&mut server, "BLMPOP 0 2 l m LEFT COUNT 1");
    let second = waiting(&mut server, "BLMPOP 0 2 l m RIGHT COUNT 10");
    let third = waiting(&mut server, "BLMPOP 0 2 l m LEFT COUNT 10");
    let fourth = waiting(&mut server, "BLMPOP 0 2 l m RIGHT COUNT 1");
    server.run(a, "MULTI");
    server.run(a, "LPUSH m 1 2 3 4 5");
    server.run(a, "LPUSH l a b c d e");
    server.run(a, "EXEC");
    assert_eq!(heard(&mut server, first), format!("*2\r\n$1\r\nl\r\n{}", bulks(&["e"])));
    assert_eq!(heard(&mut server, second), format!("*2\r\n$1\r\nl\r\n{}", bulks(&["a", "b", "c", "d"])));
    assert_eq!(heard(&mut server, third), format!("*2\r\n$1\r\nm\r\n{}", bulks(&["5", "4", "3", "2", "1"])));
    assert_eq!(heard(&mut server, fourth), "");
    assert_eq!(server.effects_of(a, "LPUSH m 1 2 3"), ["LPUSH m 1 2 3", "RPOP m 1"]);
    assert_eq!(heard(&mut server, fourth), format!("*2\r\n$1\r\nm\r\n{}", bulks(&["1"])));
    check_replica(&server);
}

#[test]
fn a_push_may_serve_several_and_each_but_once() {
    let (mut server, a) = server();
    let clients: Vec<Slot> = (0..3).map(|_| waiting(&mut server, "BRPOP x l x 0")).collect();
    assert_eq!(server.effects_of(a, "RPUSH l 1 2"), ["RPUSH l 1 2", "RPOP l", "RPOP l"]);
    assert_eq!(heard(&mut server, clients[0]), bulks(&["l", "2"]));
    assert_eq!(heard(&mut server, clients[1]), bulks(&["l", "1"]));
    assert_eq!(heard(&mut server, clients[2]), "");
    server.run(a, "RPUSH x 3");
    assert_eq!(heard(&mut server, clients[2]), bulks(&["x", "3"]));
    assert_eq!(server.engine.shared.blocking.clients, 0);
    assert!(clients.iter().all(|&client| server.engine.accepts_commands(client)));
    server.run(a, "RPUSH l 4");
    assert_eq!(server.run(a, "LLEN l"), ":1\r\n");
}

#[test]
fn elements_moved_to_another_list_serve_who_waits_there() {
    let (mut server, a) = server();
    let first = waiting(&mut server, "BLMOVE one two RIGHT LEFT 0");
    let second = waiting(&mut server, "BLMOVE two three LEFT RIGHT 0");
    assert_eq!(
        server.effects_of(a, "RPUSH one foo"),
        ["RPUSH one foo", "LMOVE one two RIGHT LEFT", "LMOVE two three LEFT RIGHT"]
    );
    assert_eq!(
        (heard(&mut server, first), heard(&mut server, second)),
        ("$3\r\nfoo\r\n".into(), "$3\r\nfoo\r\n".into())
    );
    assert_eq!(server.run(a, "LRANGE three 0 -1"), bulks(&["foo"]));
    assert_eq!(server.run(a, "EXISTS one two"), ":0\r\n");

    let there = waiting(&mut server, "BRPOPLPUSH one two 0");
    let back = waiting(&mut server, "BRPOPLPUSH two one 0");
    server.run(a, "RPUSH one bar");
    assert_eq!(
        (heard(&mut server, there), heard(&mut server, back)),
        ("$3\r\nbar\r\n".into(), "$3\r\nbar\r\n".into())
    );
    assert_eq!(server.run(a, "LRANGE one 0 -1"), bulks(&["bar"]));

    let turning = waiting(&mut server, "BRPOPLPUSH self self 0");
    server.run(a, "RPUSH self x");
    assert_eq!(heard(&mut server, turning), "$1\r\nx\r\n");
    assert_eq!(server.run(a, "LRANGE self 0 -1"), bulks(&["x"]));
    check_replica(&server);
}

#[test]
fn who_is_served_meanwhile_does_not_lose_its_place() {
    let (mut server, a) = server();
    let mover = waiting(&mut server, "BRPOPLPUSH l1 l3 0");
    let popper = waiting(&mut server, "BLPOP l2 0");
    let last = waiting(&mut server, "BLMPOP 0 2 l2 l3 LEFT COUNT 1");
    server.run(a, "MULTI");
    server.run(a, "LPUSH l1 1");
    server.run(a, "LPUSH l2 2");
    server.run(a, "EXEC");
    assert_eq!(heard(&mut server, mover), "$1\r\n1\r\n");
    assert_eq!(heard(&mut server, popper), bulks(&["l2", "2"]));
    assert_eq!(heard(&mut server, last), format!("*2\r\n$2\r\nl3\r\n{}", bulks(&["1"])));
}

#[test]
fn a_destination_of_another_type_is_an_error_and_the_element_stays() {
    let (mut server, a) = server();
    server.run(a, "SET target x");
    let refused = waiting(&mut server, "BLMOVE l target RIGHT LEFT 0");
    let served = waiting(&mut server, "BRPOPLPUSH l other 0");
    server.run(a, "RPUSH l foo");
    assert!(heard(&mut server, refused).starts_with("-WRONGTYPE"));
    assert_eq!(heard(&mut server, served), "$3\r\nfoo\r\n");
    assert_eq!(server.run(a, "LRANGE other 0 -1"), bulks(&["foo"]));
}

#[test]
fn a_key_of_another_type_wakes_nobody() {
    let (mut server, a) = server();
    let client = waiting(&mut server, "BLPOP l 0");
    server.run(a, "SADD l x");
    server.run(a, "DEL l");
    server.run(a, "MULTI");
    server.run(a, "LPUSH l 1");
    server.run(a, "DEL l");
    server.run(a, "SADD l 1");
    server.run(a, "EXEC");
    assert_eq!(heard(&mut server, client), "");
    server.run(a, "DEL l");
    server.run(a, "RPUSH other b");
    server.run(a, "RENAME other l");
    assert_eq!(heard(&mut server, client), bulks(&["l", "b"]));
}

#[test]
fn an_element_that_expires_before_it_is_served_serves_nobody() {
    let (mut server, a) = server();
    let client = waiting(&mut server, "BRPOP l 0");
    server.run(a, "MULTI");
    server.run(a, "RPUSH l hello");
    server.run(a, "PEXPIREAT l 1");
    server.run(a, "EXEC");
    assert_eq!(heard(&mut server, client), "");
    assert_eq!(server.run(a, "EXISTS l"), ":0\r\n");
    server.run(a, "RPUSH l again");
    assert_eq!(heard(&mut server, client), bulks(&["l", "again"]));
    check_replica(&server);
}

#[test]
fn a_push_by_somebody_who_waited_breaks_a_watch_but_waiting_does_not() {
    let (mut server, a) = server();
    let mover = waiting(&mut server, "BRPOPLPUSH source destination 0");
    let watcher = server.connect(Resp::V2);
    for (push, outcome) in [(false, "*1\r\n+PONG\r\n"), (true, "*-1\r\n")] {
        server.run(watcher, "WATCH destination");
        server.run(watcher, "MULTI");
        server.run(watcher, "PING");
        if push {
            server.run(a, "LPUSH source element");
        }
        assert_eq!(server.run(watcher, "EXEC"), outcome);
    }
    assert_eq!(heard(&mut server, mover), "$7\r\nelement\r\n");
}

#[test]
fn time_runs_out_with_a_null_that_the_protocol_knows() {
    for (resp, null) in [(Resp::V2, "*-1\r\n"), (Resp::V3, "_\r\n")] {
        let (mut server, a) = server();
        for line in
            ["BLPOP l m 0.001", "BLMOVE l m LEFT LEFT 0.0001", "BRPOPLPUSH l m 1e-3", "BLMPOP 0.001 1 l LEFT"]
        {
            let client = server.connect(resp);
            assert_eq!(server.run(client, line), "", "{line}");
            server.advance(1);
            assert_eq!(heard(&mut server, client), null, "{line}");
            assert!(server.engine.accepts_commands(client));
        }
        assert_eq!(server.engine.shared.blocking.clients, 0);
        server.run(a, "RPUSH l 1");
        assert_eq!(server.run(a, "LLEN l"), ":1\r\n", "nobody waits any more");
    }
}

#[test]
fn a_deadline_is_that_of_the_call_not_of_a_retry() {
    let (mut server, a) = server();
    let client = waiting(&mut server, "BLPOP l 1");
    server.advance(600);
    server.run(a, "MULTI");
    server.run(a, "RPUSH l x");
    server.run(a, "PEXPIREAT l 1");
    server.run(a, "EXEC");
    server.advance(399);
    assert_eq!(heard(&mut server, client), "");
    server.advance(1);
    assert_eq!(heard(&mut server, client), "*-1\r\n");
}

#[test]
fn timeouts_that_are_none_are_errors() {
    let (mut server, a) = server();
    let text = |server: &mut TestEngine, timeout: &str| server.run(a, &format!("BLPOP l {timeout}"));
    assert_eq!(text(&mut server, "-0.5"), "-ERR timeout is negative\r\n");
    assert_eq!(text(&mut server, "x"), "-ERR timeout is not a float or out of range\r\n");
    assert_eq!(text(&mut server, "nan"), "-ERR timeout is not a float or out of range\r\n");
    assert_eq!(text(&mut server, "0x7FFFFFFFFFFFFF"), "-ERR timeout is out of range\r\n");
    assert_eq!(text(&mut server, "inf"), "-ERR timeout is out of range\r\n");
}

#[test]
fn within_transactions_and_scripts_nobody_waits() {
    let (mut server, a) = server();
    server.run(a, "RPUSH l foo bar");
    for line in
        ["MULTI", "BRPOPLPUSH l m 0", "BLPOP l 0", "BRPOPLPUSH l m 0", "BLPOP l 0", "BLMPOP 0 1 l LEFT"]
    {
        server.run(a, line);
    }
    let expected = format!("*5\r\n$3\r\nbar\r\n{}$-1\r\n*-1\r\n*-1\r\n", bulks(&["l", "foo"]));
    assert_eq!(server.run(a, "EXEC"), expected);
    let script: &[u8] =
        b"return {redis.call('BLPOP', KEYS[1], 0), redis.call('BLMOVE', KEYS[1], 'm', 'LEFT', 'LEFT', 0), 1}";
    let reply = server.send(a, &[b"EVAL", script, b"1", b"missing"]);
    assert_eq!(String::from_utf8_lossy(&reply), "*3\r\n$-1\r\n$-1\r\n:1\r\n");
    check_replica(&server);
}

#[test]
fn a_client_that_leaves_waits_no_longer() {
    let (mut server, a) = server();
    let gone = waiting(&mut server, "BLPOP l 0");
    let stays = waiting(&mut server, "BLPOP l 0");
    server.engine.disconnect(gone);
    server.run(a, "RPUSH l 1");
    assert_eq!(heard(&mut server, stays), bulks(&["l", "1"]));
    assert_eq!(server.engine.shared.blocking.clients, 0);
}

#[test]
fn a_command_that_waited_is_counted_once() {
    let (mut server, a) = server();
    waiting(&mut server, "BLPOP l 0");
    server.run(a, "RPUSH l 1");
    let command = crate::command::table().find(b"blpop").expect("declared");
    assert_eq!(server.engine.shared.stats.by_command[command.index].calls, 1);
}

#[test]
fn what_a_served_client_hears_waits_for_its_release() {
    let (mut server, a) = server();
    let client = waiting(&mut server, "BLPOP l 0");
    server.send_held(a, &[b"RPUSH", b"l", b"1"]);
    assert_eq!(heard(&mut server, client), "");
    server.release();
    assert_eq!(heard(&mut server, client), bulks(&["l", "1"]));
}
