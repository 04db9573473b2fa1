use cairn_proto::Resp;

use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::testing::TestEngine;

fn server(resp: Resp) -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let client = server.connect(resp);
    (server, client)
}

#[test]
fn a_sum_of_floats_is_written_down_as_its_result() {
    let (mut server, a) = server(Resp::V2);
    assert_eq!(server.effects_of(a, "HINCRBYFLOAT h f 0.1"), ["HSET h f 0.1"]);
    assert_eq!(server.effects_of(a, "HINCRBYFLOAT h f 0.2"), ["HSET h f 0.3"]);
    assert_eq!(server.effects_of(a, "HINCRBY h n 5"), ["HINCRBY h n 5"]);
}

#[test]
fn what_changes_nothing_is_not_written_down() {
    let (mut server, a) = server(Resp::V2);
    server.run(a, "HSET h f 1 text abc max 9223372036854775807");
    let dirty = server.engine.shared.effects.dirty();
    for line in [
        "HSETNX h f 2",
        "HDEL h missing",
        "HDEL missing f",
        "HINCRBY h text 1",
        "HINCRBY h max 1",
        "HINCRBY missing f x",
        "HINCRBYFLOAT h text 1",
        "HINCRBYFLOAT h f inf",
        "HINCRBYFLOAT missing f x",
        "HSET h f",
        "HSET missing f 1 g",
        "HGETALL h",
    ] {
        assert!(server.effects_of(a, line).is_empty(), "{line}");
        assert!(server.events_of(a, line).is_empty(), "{line}");
    }
    assert_eq!(server.engine.shared.effects.dirty(), dirty);
    assert_eq!(server.engine.keys.db().len(), 1, "a failed command leaves no empty hash behind");
}

#[test]
fn events_and_changes_are_counted_as_in_redis() {
    let (mut server, a) = server(Resp::V2);
    for (line, events, changes) in [
        ("HSET h a 1 b 2 c 3", &["hset h"][..], 3),
        ("HMSET h a 1", &["hset h"], 1),
        ("HSETNX h d 1", &["hset h"], 1),
        ("HINCRBY h a 1", &["hincrby h"], 1),
        ("HINCRBYFLOAT h a 1", &["hincrbyfloat h"], 1),
        ("HDEL h a b missing", &["hdel h"], 2),
        ("HDEL h c d e", &["hdel h", "del h"], 2),
    ] {
        let before = server.engine.shared.effects.dirty();
        assert_eq!(server.events_of(a, line), events, "{line}");
        assert_eq!(server.engine.shared.effects.dirty() - before, changes, "{line}");
    }
}

#[test]
fn random_fields_come_as_pairs_in_resp3_and_flat_in_resp2() {
    let flat = |server: &mut TestEngine, a, line: &str| server.run(a, line);
    let (mut two, a) = server(Resp::V2);
    flat(&mut two, a, "HSET h f v");
    assert_eq!(flat(&mut two, a, "HRANDFIELD h 5 WITHVALUES"), "*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(flat(&mut two, a, "HRANDFIELD h -2"), "*2\r\n$1\r\nf\r\n$1\r\nf\r\n");
    assert_eq!(flat(&mut two, a, "HRANDFIELD h"), "$1\r\nf\r\n");
    let (mut three, a) = server(Resp::V3);
    flat(&mut three, a, "HSET h f v");
    assert_eq!(flat(&mut three, a, "HRANDFIELD h 5 WITHVALUES"), "*1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(flat(&mut three, a, "HRANDFIELD missing"), "_\r\n");
}

#[test]
fn a_snapshot_keeps_what_a_write_changes() {
    let (mut server, a) = server(Resp::V2);
    for i in 0..2000 {
        server.run(a, &format!("HSET h field:{i} {i}"));
    }
    let snapshot = server.engine.snapshot();
    server.run(a, "HSET h field:7 changed");
    server.run(a, "HDEL h field:8");
    let old = snapshot.dbs[0].dict.get(b"h").expect("was there").value.as_hash().expect("a hash").clone();
    assert_eq!(old.get(b"field:7").map(|value| value.to_vec()), Some(b"7".to_vec()));
    assert!(old.contains(b"field:8"));
    assert_eq!(server.run(a, "HMGET h field:7 field:8"), "*2\r\n$7\r\nchanged\r\n$-1\r\n");
}
