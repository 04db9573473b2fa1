use cairn_proto::Resp;

use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::testing::TestEngine;

fn server() -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let client = server.connect(Resp::V2);
    (server, client)
}

fn encoding(server: &TestEngine, key: &str) -> &'static str {
    server.engine.keys.db().dict.get(key.as_bytes()).expect("the key is there").value.encoding()
}

#[test]
fn what_chance_took_out_is_written_down_by_name() {
    let (mut server, a) = server();
    server.run(a, "SADD s only");
    assert_eq!(server.effects_of(a, "SPOP s"), ["SREM s only"]);
    assert!(server.engine.keys.db().is_empty());

    server.run(a, "SADD s a b c d e");
    let [effect] = &server.effects_of(a, "SPOP s 3")[..] else { panic!("one effect") };
    let gone: Vec<&str> = effect.split(' ').skip(2).collect();
    assert_eq!(gone.len(), 3);
    let left = server.run(a, "SMEMBERS s");
    assert!(
        left.starts_with("*2\r\n") && gone.iter().all(|member| !left.contains(member)),
        "{left} {gone:?}"
    );
    assert_eq!(server.effects_of(a, "SPOP s 2"), ["DEL s"]);
    assert!(server.engine.keys.db().is_empty());
}

#[test]
fn what_is_stored_is_written_down_as_it_was_asked_for_and_nothing_as_a_removal() {
    let (mut server, a) = server();
    server.run(a, "SADD s 1 2 3");
    server.run(a, "SADD t 2 3 4");
    assert_eq!(server.effects_of(a, "SINTERSTORE d s t"), ["SINTERSTORE d s t"]);
    assert_eq!(server.effects_of(a, "SUNIONSTORE d s t"), ["SUNIONSTORE d s t"]);
    assert_eq!(server.effects_of(a, "SDIFFSTORE d s t"), ["SDIFFSTORE d s t"]);
    assert_eq!(server.effects_of(a, "SINTERSTORE d s missing"), ["DEL d"]);
    assert!(server.effects_of(a, "SINTERSTORE d s missing").is_empty());
    assert_eq!(server.effects_of(a, "SMOVE s t 1"), ["SMOVE s t 1"]);
}

#[test]
fn what_changes_nothing_is_not_written_down() {
    let (mut server, a) = server();
    server.run(a, "SADD s a b");
    let dirty = server.engine.shared.effects.dirty();
    for line in [
        "SADD s a",
        "SREM s missing",
        "SREM missing a",
        "SPOP s 0",
        "SPOP s -1",
        "SPOP missing",
        "SPOP missing 2",
        "SMOVE s s a",
        "SMOVE s t missing",
        "SMOVE missing s a",
        "SRANDMEMBER s",
        "SDIFFSTORE d missing",
    ] {
        assert!(server.effects_of(a, line).is_empty(), "{line}");
        assert!(server.events_of(a, line).is_empty(), "{line}");
    }
    assert_eq!(server.engine.shared.effects.dirty(), dirty);
    assert_eq!(server.engine.keys.db().len(), 1);
}

#[test]
fn events_and_changes_are_counted_as_in_redis() {
    let (mut server, a) = server();
    for (line, events, changes) in [
        ("SADD s a b c", &["sadd s"][..], 3),
        ("SADD s c d", &["sadd s"], 1),
        ("SREM s d missing", &["srem s"], 1),
        ("SPOP s", &["spop s"], 1),
        ("SPOP s 9", &["spop s", "del s"], 2),
        ("SADD s a", &["sadd s"], 1),
        ("SADD t a b", &["sadd t"], 2),
        ("SMOVE t s b", &["srem t", "sadd s"], 2),
        ("SMOVE t s a", &["srem t", "del t"], 1),
        ("SUNIONSTORE d s", &["sunionstore d"], 1),
        ("SINTERSTORE d s missing", &["del d"], 1),
        ("SREM s a b c", &["srem s", "del s"], 2),
    ] {
        let before = server.engine.shared.effects.dirty();
        assert_eq!(server.events_of(a, line), events, "{line}");
        assert_eq!(server.engine.shared.effects.dirty() - before, changes, "{line}");
    }
}

#[test]
fn a_stored_result_has_the_encoding_that_its_members_need() {
    let (mut server, a) = server();
    for i in 0..200 {
        server.run(a, &format!("SADD large {i}"));
        server.run(a, &format!("SADD large m{i}"));
    }
    server.run(a, "SADD ints 1 2 3");
    server.run(a, "SADD few 1 2 m3");
    for (line, expected) in [
        ("SINTERSTORE d large ints", "intset"),
        ("SINTERSTORE d large few", "listpack"),
        ("SUNIONSTORE d ints ints", "intset"),
        ("SUNIONSTORE d ints few", "listpack"),
        ("SUNIONSTORE d ints large", "hashtable"),
        ("SDIFFSTORE d few large missing", "absent"),
        ("SDIFFSTORE d few ints", "listpack"),
        ("SDIFFSTORE d large few", "hashtable"),
    ] {
        let reply = server.run(a, line);
        if expected == "absent" {
            assert_eq!(reply, ":0\r\n", "{line}");
        } else {
            assert_eq!(encoding(&server, "d"), expected, "{line}");
        }
    }
}

#[test]
fn both_ways_to_subtract_agree() {
    let (mut server, a) = server();
    for i in 0..50 {
        server.run(a, &format!("SADD first m{i}"));
    }
    // Many small sets make looking every member up the longer way.
    let mut line = "SDIFF first".to_owned();
    for i in 0..20 {
        server.run(a, &format!("SADD small{i} m{i} other{i}"));
        line += &format!(" small{i}");
    }
    let mut one_by_one = "SDIFF first all".to_owned();
    for i in 0..20 {
        server.run(a, &format!("SADD all m{i} other{i}"));
    }
    one_by_one += " missing";
    let members = |reply: String| {
        let mut members: Vec<String> =
            reply.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect();
        members.sort();
        members
    };
    let (one, other) = (members(server.run(a, &line)), members(server.run(a, &one_by_one)));
    assert_eq!(one.len(), 30);
    assert_eq!(one, other);
    assert_eq!(server.run(a, "SDIFF first missing first"), "*0\r\n");
}

#[test]
fn a_wrong_type_anywhere_is_an_error_before_anything_changes() {
    let (mut server, a) = server();
    server.run(a, "SADD s a");
    server.run(a, "SET str v");
    for line in [
        "SINTER missing str",
        "SUNION s str",
        "SDIFF missing str",
        "SINTERCARD 2 missing str",
        "SINTERSTORE s missing str",
        "SMOVE s str a",
        "SMOVE str s a",
        "SPOP str 0",
    ] {
        assert!(server.run(a, line).starts_with("-WRONGTYPE"), "{line}");
    }
    assert_eq!(server.run(a, "SMOVE missing str a"), ":0\r\n", "the destination is not looked at");
    assert_eq!(server.run(a, "SISMEMBER s a"), ":1\r\n");
}
