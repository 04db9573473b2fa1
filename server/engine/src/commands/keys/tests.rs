//! What clients of other connections, and replicas, see of commands on keys.

use cairn_proto::Resp;

use crate::client::Slot;
use crate::digest;
use crate::testing::TestEngine;

fn server() -> (TestEngine, Slot) {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    (server, client)
}

/// A replica holds the same keys with the same times to live.
fn assert_replicated(server: &TestEngine) {
    let replica = server.replica();
    let (ours, theirs) = (server.engine.keys.dbs(), replica.engine.keys.dbs());
    assert_eq!(digest::keyspace(ours), digest::keyspace(theirs));
    for (ours, theirs) in ours.iter().zip(theirs) {
        for entry in ours.dict.iter() {
            assert_eq!(ours.expire_at(&entry.key), theirs.expire_at(&entry.key), "{:?}", entry.key);
        }
    }
}

/// The events that `lines` cause, in order, as `key event` or `db:key event`.
fn events(lines: &[&str]) -> Vec<String> {
    let (mut server, client) = server();
    let listener = server.connect(Resp::V2);
    server.run(client, "CONFIG SET notify-keyspace-events KA");
    server.run(listener, "PSUBSCRIBE __keyspace@*");
    for line in lines {
        server.run(client, line);
    }
    let heard = String::from_utf8(server.output(listener)).expect("all is text");
    let words: Vec<&str> = heard.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
    let mut events = Vec::new();
    for message in words.split(|&word| word == "pmessage").skip(1) {
        let (db, key) = message[1]["__keyspace@".len()..].split_once("__:").expect("a keyspace channel");
        events.push(match db {
            "0" => format!("{key} {}", message[2]),
            _ => format!("{db}:{key} {}", message[2]),
        });
    }
    events
}

#[test]
fn times_to_live_are_absolute_in_effects() {
    let (mut server, client) = server();
    server.run(client, "MSET a 1 b 2 c 3 d 4");
    for line in
        ["EXPIRE a 100", "PEXPIRE b 5000", "EXPIREAT c 1800000000", "GETEX d EX 50", "EXPIRE a 200 GT"]
    {
        server.advance(10);
        server.run(client, line);
    }
    assert_replicated(&server);
    assert_eq!(server.run(client, "PTTL a"), ":200000\r\n");
}

#[test]
fn a_time_that_has_passed_removes_the_key_everywhere() {
    let (mut server, client) = server();
    server.run(client, "MSET a 1 b 2");
    assert_eq!(server.run(client, "EXPIRE a -1"), ":1\r\n");
    assert_eq!(server.run(client, "PEXPIREAT b 1"), ":1\r\n");
    assert_eq!(server.replica().engine.keys.dbs()[0].len(), 0);
}

#[test]
fn moved_renamed_and_copied_keys_keep_their_times() {
    let (mut server, client) = server();
    for line in [
        "SET a 1 PX 100000",
        "RENAME a b",
        "COPY b c",
        "COPY b d DB 2",
        "MOVE b 1",
        "SET e 1 PX 5",
        "RENAME e c",
        "SET f 1",
        "RENAMENX f g",
    ] {
        server.run(client, line);
        assert_replicated(&server);
    }
    assert_eq!(server.run(client, "PTTL c"), ":5\r\n");
    let dbs = server.engine.keys.dbs();
    assert_eq!((dbs[1].expire_at(b"b").is_some(), dbs[2].expire_at(b"d").is_some()), (true, true));
}

#[test]
fn what_has_expired_in_another_database_is_in_nobodys_way() {
    let (mut server, client) = server();
    for line in ["SELECT 1", "SET k old PX 5", "SET copy old PX 5", "SELECT 0", "SET k new", "SET source new"]
    {
        server.run(client, line);
    }
    server.run(client, "DEBUG SET-ACTIVE-EXPIRE 0");
    server.advance(6);
    assert_eq!(server.run(client, "MOVE k 1"), ":1\r\n");
    assert_eq!(server.run(client, "COPY source copy DB 1"), ":1\r\n");
    server.run(client, "SELECT 1");
    assert_eq!(server.run(client, "MGET k copy"), "*2\r\n$3\r\nnew\r\n$3\r\nnew\r\n");
    assert_replicated(&server);
}

#[test]
fn walks_show_nothing_expired_and_pin_that_down() {
    for walk in ["KEYS *", "KEYS gone", "SCAN 0 COUNT 100", "RANDOMKEY"] {
        let (mut server, client) = server();
        server.run(client, "SET gone v PX 10");
        server.now_ms += 10;
        let reply = server.run(client, walk);
        assert!(!reply.contains("gone"), "{walk}: {reply}");
        // Whoever takes over must not show it again, even if its clock is behind.
        assert_eq!(server.replica().engine.keys.dbs()[0].len(), 0, "{walk}");
    }
}

#[test]
fn a_walk_waits_for_everything_that_is_not_released() {
    let (mut server, client) = server();
    let other = server.connect(Resp::V2);
    server.send_held(client, &[b"SET", b"k", b"v"]);
    server.send_held(other, &[b"KEYS", b"*"]);
    assert_eq!(server.output(other), b"");
    server.release();
    assert_eq!(server.output(other), b"*1\r\n$1\r\nk\r\n");
}

#[test]
fn randomkey_finds_the_one_key_that_has_not_expired() {
    let (mut server, client) = server();
    for i in 0..1000 {
        server.run(client, &format!("SET gone{i} v PX 10"));
    }
    server.run(client, "SET stays v");
    server.now_ms += 10;
    assert_eq!(server.run(client, "RANDOMKEY"), "$5\r\nstays\r\n");
}

#[test]
fn a_restored_value_is_the_same_everywhere_and_none_if_its_time_is_up() {
    let (mut server, client) = server();
    server.run(client, "SET k v");
    let dump = server.send(client, &[b"DUMP", b"k"]);
    let payload = &dump[dump.iter().position(|&b| b == b'\n').expect("a length") + 1..dump.len() - 2];
    server.send(client, &[b"RESTORE", b"a", b"5000", payload]);
    server.advance(7);
    server.send(client, &[b"RESTORE", b"b", b"0", payload, b"IDLETIME", b"500"]);
    server.send(client, &[b"RESTORE", b"k", b"1", payload, b"ABSTTL", b"REPLACE"]);
    assert_eq!(server.run(client, "EXISTS a b k"), ":2\r\n");
    assert_eq!(server.run(client, "OBJECT IDLETIME b"), ":500\r\n");
    assert_replicated(&server);
}

#[test]
fn nothing_changed_is_nothing_logged() {
    let (mut server, client) = server();
    server.run(client, "MSET a 1 b 2");
    let batches = server.batches.len();
    for line in [
        "DEL none",
        "PERSIST a",
        "EXPIRE none 10",
        "EXPIRE a 10 XX",
        "RENAMENX a b",
        "RENAME a a",
        "RENAME none b",
        "COPY a b",
        "COPY none b",
        "MOVE none 1",
        "RESTORE a 0 junk REPLACE",
        "SETBIT a 2 1",
        "GETEX a",
        "BITOP AND none none2",
        "TOUCH a",
        "KEYS *",
    ] {
        server.run(client, line);
        assert_eq!(server.batches.len(), batches, "{line}");
    }
}

#[test]
fn events_are_those_of_redis() {
    assert_eq!(
        events(&[
            "SET a 1 EX 100",
            "RENAME a b",
            "COPY b c DB 1",
            "MOVE b 2",
            "SET d 1",
            "EXPIRE d 10",
            "PERSIST d",
            "EXPIRE d -1",
            "SET e 1 PXAT 5",
            "EXISTS e",
            "SETBIT f 1 1",
            "PFADD g a",
            "UNLINK f g",
        ]),
        [
            "a set",
            "a expire",
            "a rename_from",
            "b rename_to",
            "1:c copy_to",
            "b move_from",
            "2:b move_to",
            "d set",
            "d expire",
            "d persist",
            "d del",
            "e set",
            "e expire",
            "e expired",
            "f setbit",
            "g pfadd",
            "f del",
            "g del",
        ]
    );
}
