//! Fields that expire: effects, events, and what a follower shows.

use cairn_proto::Resp;

use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::digest;
use crate::testing::TestEngine;

fn server() -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let client = server.connect(Resp::V2);
    (server, client)
}

/// Lets time pass while nothing runs: no active expiry.
fn pass(server: &mut TestEngine, ms: i64) {
    server.now_ms += ms;
}

#[test]
fn effects_have_absolute_times() {
    let (mut server, a) = server();
    for (line, effects) in [
        ("HSET h a 1 b 2 c 3", &["HSET h a 1 b 2 c 3"][..]),
        ("HEXPIRE h 10 FIELDS 2 a missing", &["HPEXPIREAT h 1700000010000 FIELDS 1 a"]),
        ("HPEXPIRE h 20 LT FIELDS 2 a b", &["HPEXPIREAT h 1700000000020 FIELDS 2 a b"]),
        ("HPEXPIRE h 21 LT FIELDS 2 a b", &[]),
        ("HEXPIREAT h 1700000005 XX FIELDS 1 a", &["HPEXPIREAT h 1700000005000 FIELDS 1 a"]),
        ("HPERSIST h FIELDS 1 b", &["HPERSIST h FIELDS 1 b"]),
        ("HPERSIST h FIELDS 1 b", &[]),
        ("HGETEX h FIELDS 1 a", &[]),
        ("HGETEX h PX 7 FIELDS 2 b missing", &["HPEXPIREAT h 1700000000007 FIELDS 1 b"]),
        ("HGETEX h PERSIST FIELDS 2 b c", &["HPERSIST h FIELDS 1 b"]),
        ("HINCRBY h a 1", &["HINCRBY h a 1"]),
        ("HINCRBYFLOAT h a 0.5", &["HSETEX h KEEPTTL FIELDS 1 a 2.5"]),
        ("HINCRBYFLOAT h c 0.5", &["HSET h c 3.5"]),
        ("HSETEX h FNX EX 3 FIELDS 2 d 4 e 5", &["HSETEX h PXAT 1700000003000 FIELDS 2 d 4 e 5"]),
        ("HSETEX h FNX EX 3 FIELDS 2 e 4 f 5", &[]),
        ("HSETEX h FXX EX 3 FIELDS 2 e 4 f 5", &[]),
        ("HSETEX h FXX KEEPTTL FIELDS 1 e 6", &["HSETEX h KEEPTTL FIELDS 1 e 6"]),
        ("HSETEX h FIELDS 1 e 7", &["HSETEX h FIELDS 1 e 7"]),
        ("HGETDEL h FIELDS 2 e missing", &["HDEL h e"]),
        ("HEXPIREAT h 5 FIELDS 2 d missing", &["HDEL h d"]),
        ("HGETEX h PXAT 5 FIELDS 2 b missing", &["HDEL h b"]),
        ("HSETEX h PXAT 5 FIELDS 2 c x g x", &["HDEL h c g"]),
    ] {
        assert_eq!(server.effects_of(a, line), effects, "{line}");
    }
    assert_eq!(server.run(a, "HGETALL h"), "*2\r\n$1\r\na\r\n$3\r\n2.5\r\n");
    assert_eq!(server.run(a, "HPEXPIRETIME h FIELDS 1 a"), "*1\r\n:1700000005000\r\n");
    let replica = server.replica();
    let hash =
        replica.engine.keys.dbs()[0].dict.get(b"h").expect("is there").value.as_hash().expect("a hash");
    assert_eq!(hash.time_of(b"a"), Some(1_700_000_005_000));
}

#[test]
fn events_and_changes_are_counted_as_in_redis() {
    let (mut server, a) = server();
    server.run(a, "HSET h a 1 b 2 c 3 d 4 e 5");
    for (line, events, changes) in [
        ("HPEXPIRE h 100 FIELDS 3 a b missing", &["hexpire h"][..], 2),
        ("HPEXPIRE h 100 NX FIELDS 1 a", &[], 0),
        ("HPERSIST h FIELDS 2 a b", &["hpersist h"], 1),
        ("HGETEX h EX 5 FIELDS 1 a", &["hexpire h"], 1),
        ("HGETEX h PERSIST FIELDS 1 a", &["hpersist h"], 1),
        ("HGETEX h FIELDS 1 a", &[], 0),
        ("HSETEX h EX 5 FIELDS 1 a 1", &["hset h", "hexpire h"], 1),
        ("HSETEX h FIELDS 1 a 1", &["hset h"], 1),
        ("HSETEX h FNX FIELDS 1 a 1", &[], 0),
        ("HGETDEL h FIELDS 1 a", &["hdel h"], 1),
        ("HGETDEL h FIELDS 1 a", &[], 0),
        ("HEXPIRE h 0 FIELDS 1 b", &["hdel h"], 1),
        ("HSETEX h EX 0 FIELDS 1 c 1", &["hset h", "hdel h"], 1),
        ("HGETEX h EX 0 FIELDS 1 d", &["hdel h"], 1),
        ("HEXPIREAT h 0 FIELDS 1 e", &["hdel h", "del h"], 1),
        ("HSETEX h EX 0 FIELDS 1 c 1", &["hset h", "hdel h", "del h"], 1),
    ] {
        let before = server.engine.shared.effects.dirty();
        assert_eq!(server.events_of(a, line), events, "{line}");
        assert_eq!(server.engine.shared.effects.dirty() - before, changes, "{line}");
    }
}

#[test]
fn a_field_whose_time_has_come_goes_before_any_command_sees_it() {
    for line in [
        "HGET h f",
        "HMGET h f g",
        "HGETALL h",
        "HLEN h",
        "HSCAN h 0",
        "HRANDFIELD h",
        "HEXISTS h f",
        "HSTRLEN h f",
        "HINCRBY h n 1",
        "HSETNX h x 1",
        "HDEL h g",
        "HTTL h FIELDS 1 f",
        "DUMP h",
        "COPY h h2",
        "RENAME h h2",
        "MOVE h 3",
        "EXISTS h",
        "EVAL return{redis.call('hget','h','f')} 0",
        "SORT l BY nosort GET *->f",
    ] {
        let (mut server, a) = server();
        server.run(a, "HSET h f 1 g 2 i 3");
        server.run(a, "RPUSH l h");
        server.run(a, "HPEXPIRE h 10 FIELDS 2 f g");
        server.run(a, "HPEXPIRE h 20 FIELDS 1 i");
        pass(&mut server, 10);
        assert_eq!(server.effects_of(a, line).first().expect("an effect"), "HDEL h f g", "{line}");
        assert_eq!(server.engine.shared.stats.expired_fields, 2, "{line}");
        let replica = server.replica();
        let all = |server: &TestEngine| digest::keyspace(server.engine.keys.dbs());
        assert_eq!(all(&server), all(&replica), "{line}");
    }
}

#[test]
fn with_its_last_field_the_key_goes() {
    let (mut server, a) = server();
    server.run(a, "HSET h f 1 g 2");
    server.run(a, "HPEXPIRE h 10 FIELDS 2 f g");
    pass(&mut server, 10);
    assert_eq!(server.run(a, "KEYS *"), "*0\r\n");
    assert_eq!(server.engine.keys.db().len(), 0);
    server.run(a, "HSET h f 1 g 2");
    server.run(a, "HPEXPIRE h 10 FIELDS 2 f g");
    pass(&mut server, 10);
    assert_eq!(server.events_of(a, "SCAN 0"), ["hexpired h", "del h"]);
    server.run(a, "HSET h f 1 g 2");
    server.run(a, "HPEXPIRE h 10 FIELDS 2 f g");
    pass(&mut server, 10);
    assert_eq!(server.effects_of(a, "HINCRBY h f 5"), ["DEL h", "HINCRBY h f 5"]);
    assert_eq!(server.run(a, "HGETALL h"), "*2\r\n$1\r\nf\r\n$1\r\n5\r\n");
    assert_eq!(server.run(a, "HTTL h FIELDS 1 f"), "*1\r\n:-1\r\n", "a new field has no time");
}

#[test]
fn a_field_that_goes_breaks_a_watch() {
    let (mut server, a) = server();
    let b = server.connect(Resp::V2);
    server.run(a, "HSET h f 1 g 2");
    server.run(a, "HPEXPIRE h 10 FIELDS 1 f");
    server.run(a, "WATCH h");
    pass(&mut server, 10);
    server.run(b, "HLEN h");
    server.run(a, "MULTI");
    server.run(a, "HSET h g 3");
    assert_eq!(server.run(a, "EXEC"), "*-1\r\n");
}

#[test]
fn fields_that_nobody_asks_for_go_as_well() {
    let (mut server, a) = server();
    for i in 0..300 {
        server.run(a, &format!("HSET h{i} stays 1 soon 2 later 3"));
        server.run(a, &format!("HPEXPIRE h{i} {} FIELDS 1 soon", 10 + i % 5));
        server.run(a, &format!("HPEXPIRE h{i} 1000000 FIELDS 1 later"));
        server.run(a, &format!("HSET large f{i} 1"));
        server.run(a, &format!("HSETEX all PX 50 FIELDS 1 f{i} 1"));
    }
    server.run(a, "HGETEX large PX 50 FIELDS 1 f7");
    assert!(server.run(a, "INFO keyspace").contains("subexpiry=302"));
    server.advance(9);
    assert_eq!(server.engine.shared.stats.expired_fields, 0);
    server.advance(5);
    assert_eq!(server.engine.shared.stats.expired_fields, 300);
    server.advance(100);
    assert_eq!(server.engine.shared.stats.expired_fields, 601);
    assert!(server.run(a, "INFO keyspace").contains("keys=301,expires=0,avg_ttl=0,subexpiry=300"));
    assert!(server.run(a, "INFO stats").contains("expired_subkeys:601"));
    assert_eq!(server.run(a, "HLEN large"), ":299\r\n");
    let replica = server.replica();
    assert_eq!(digest::keyspace(replica.engine.keys.dbs()), digest::keyspace(server.engine.keys.dbs()));
}

#[test]
fn a_cycle_without_time_leaves_fields_for_the_next_one() {
    let (mut server, a) = server();
    for i in 0..2000 {
        server.run(a, &format!("HSET h f{i} 1"));
        server.run(a, &format!("HPEXPIRE h 10 FIELDS 1 f{i}"));
    }
    server.run(a, "HSET h stays 1");
    server.now_ms += 10;
    server.engine.begin_turn(server.now_ms, 0);
    server.engine.cron(&mut server.host, 0);
    let left =
        server.engine.keys.db().dict.get(b"h").expect("is there").value.as_hash().expect("a hash").len();
    assert!((2..2001).contains(&left), "{left}");
    assert_eq!(server.run(a, "HLEN h"), ":1\r\n", "who asks does not see them");
}

#[test]
fn a_follower_leaves_fields_to_the_leader() {
    let (mut leader, a) = server();
    leader.run(a, "HSET h f 1 g 2 i 3");
    leader.run(a, "HPEXPIRE h 10 FIELDS 2 f g");
    leader.run(a, "HSETEX gone PX 10 FIELDS 1 f 1");
    let mut follower = leader.replica();
    let before = digest::keyspace(follower.engine.keys.dbs());
    follower.engine.follow();
    let b = follower.connect(Resp::V2);
    follower.advance(20);
    assert_eq!(follower.run(b, "HMGET h f i"), "*2\r\n$-1\r\n$1\r\n3\r\n");
    assert_eq!(follower.run(b, "HLEN h"), ":1\r\n");
    assert_eq!(follower.run(b, "EXISTS gone h"), ":1\r\n");
    follower.run(b, "MULTI");
    follower.run(b, "HGETALL h");
    follower.run(b, "HKEYS h");
    follower.run(b, "HLEN gone");
    assert_eq!(follower.run(b, "EXEC"), "*3\r\n*2\r\n$1\r\ni\r\n$1\r\n3\r\n*1\r\n$1\r\ni\r\n:0\r\n");
    follower.advance(20);
    assert_eq!(digest::keyspace(follower.engine.keys.dbs()), before, "its clock decides about no field");
    // By the leader's clock there was still time.
    leader.run(a, "HPERSIST h FIELDS 1 f");
    let persisted = leader.batches.last().expect("an effect");
    follower.engine.apply(&mut follower.host, &persisted.payload).expect("a batch of the leader");
    assert_eq!(follower.run(b, "HMGET h f g"), "*2\r\n$1\r\n1\r\n$-1\r\n");
}

/// However late an effect is applied, the field is there until the log says otherwise.
#[test]
fn time_does_not_decide_when_effects_are_applied() {
    let (mut server, a) = server();
    server.run(a, "HSETEX h PX 10 FIELDS 1 f 1");
    server.run(a, "HSET h g 1");
    server.run(a, "HPEXPIRE h 5 FIELDS 1 g");
    let mut late = TestEngine::new();
    late.now_ms += 1_000_000;
    late.engine.begin_turn(late.now_ms, 0);
    for batch in &server.batches {
        late.engine.apply(&mut late.host, &batch.payload).expect("a batch of our own");
    }
    assert_eq!(digest::keyspace(late.engine.keys.dbs()), digest::keyspace(server.engine.keys.dbs()));
}

#[test]
fn times_move_with_the_hash() {
    let (mut server, a) = server();
    server.run(a, "HSET h f 1 g 2");
    server.run(a, "HPEXPIREAT h 1700000009000 FIELDS 1 f");
    server.run(a, "RENAME h h1");
    server.run(a, "COPY h1 h2");
    server.run(a, "COPY h1 h3 DB 3");
    server.run(a, "MOVE h2 4");
    let dump = server.send(a, &[b"DUMP", b"h1"]);
    let payload = dump.splitn(2, |&byte| byte == b'\n').nth(1).expect("a bulk string");
    server.send(a, &[b"RESTORE", b"h5", b"0", &payload[..payload.len() - 2]]);
    server.run(a, "SET h1 overwritten");
    let times: Vec<_> = server.engine.keys.dbs().iter().map(|db| db.field_expiries.len()).collect();
    assert_eq!(times[..5], [1, 0, 0, 1, 1]);
    assert_eq!(server.run(a, "HPEXPIRETIME h5 FIELDS 2 f g"), "*2\r\n:1700000009000\r\n:-1\r\n");
    server.run(a, "SWAPDB 0 3");
    assert_eq!(server.run(a, "HPEXPIRETIME h3 FIELDS 2 f g"), "*2\r\n:1700000009000\r\n:-1\r\n");
    server.run(a, "FLUSHALL");
    assert!(server.engine.keys.dbs().iter().all(|db| db.field_expiries.is_empty()));
}

#[test]
fn a_snapshot_has_times_and_stays_as_it_was() {
    let (mut server, a) = server();
    for i in 0..2000 {
        server.run(a, &format!("HSETEX h EX 9 FIELDS 1 field:{i} {i}"));
    }
    let snapshot = server.engine.snapshot();
    server.run(a, "HPERSIST h FIELDS 1 field:7");
    server.run(a, "HDEL h field:8");
    let old = snapshot.dbs[0].dict.get(b"h").expect("was there").value.as_hash().expect("a hash");
    assert_eq!(old.time_of(b"field:7"), Some(1_700_000_009_000));
    assert_eq!(old.time_of(b"field:8"), Some(1_700_000_009_000));
    assert_eq!(server.run(a, "HPEXPIRETIME h FIELDS 2 field:7 field:8"), "*2\r\n:-1\r\n:-2\r\n");
}
