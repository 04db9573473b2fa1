use cairn_proto::Resp;

use crate::client::Slot;
use crate::config::{Config, NotifyFlags};
use crate::digest;
use crate::testing::TestEngine;

fn server(resp: Resp) -> (TestEngine, Slot) {
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let client = server.connect(resp);
    (server, client)
}

/// What the effects made of another engine is what the commands made of this one, encodings included.
#[track_caller]
fn assert_replica_agrees(server: &TestEngine) {
    let replica = server.replica();
    assert_eq!(digest::keyspace(replica.engine.keys.dbs()), digest::keyspace(server.engine.keys.dbs()));
    for entry in server.engine.keys.db().dict.iter() {
        let copy = replica.engine.keys.peek(&entry.key).expect("the digests are equal");
        assert_eq!(copy.encoding(), entry.value.encoding());
    }
}

#[test]
fn scores_are_written_down_so_that_they_read_back_the_same() {
    let (mut server, a) = server(Resp::V2);
    assert_eq!(server.effects_of(a, "ZINCRBY z 0.1 m"), ["ZADD z 0.1 m"]);
    assert_eq!(server.effects_of(a, "ZINCRBY z 0.2 m"), ["ZADD z 0.30000000000000004 m"]);
    assert_eq!(server.effects_of(a, "ZADD z INCR 1e300 m"), ["ZADD z 1e+300 m"]);
    assert_eq!(server.effects_of(a, "ZADD z XX INCR inf m"), ["ZADD z inf m"]);
    assert_eq!(server.effects_of(a, "ZADD z 1 a 0x10 b"), ["ZADD z 1 a 0x10 b"]);
    assert_replica_agrees(&server);
}

#[test]
fn pops_are_written_down_with_the_number_that_was_popped() {
    let (mut server, a) = server(Resp::V2);
    server.run(a, "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f");
    assert_eq!(server.effects_of(a, "ZPOPMIN z"), ["ZPOPMIN z"]);
    assert_eq!(server.effects_of(a, "ZPOPMAX z 2"), ["ZPOPMAX z 2"]);
    assert_eq!(server.effects_of(a, "BZPOPMIN missing z 0"), ["ZPOPMIN z"]);
    assert_eq!(server.effects_of(a, "ZMPOP 2 missing z MAX COUNT 9"), ["ZPOPMAX z 2"]);
    assert!(server.engine.keys.db().is_empty());
    assert_replica_agrees(&server);
}

#[test]
fn what_changes_nothing_is_not_written_down() {
    let (mut server, a) = server(Resp::V2);
    server.run(a, "ZADD z 1 a inf top");
    server.run(a, "SET text x");
    let dirty = server.engine.shared.effects.dirty();
    for line in [
        "ZADD z 1 a",
        "ZADD z NX 2 a",
        "ZADD z XX 2 new",
        "ZADD z GT 0 a",
        "ZADD z LT INCR 5 a",
        "ZADD z INCR -inf top",
        "ZADD missing XX 1 a",
        "ZADD missing INCR x a",
        "ZADD missing 1 a x b",
        "ZADD text 1 a",
        "ZINCRBY z 0 a",
        "ZREM z missing",
        "ZREMRANGEBYSCORE z (1 (1",
        "ZREMRANGEBYRANK z 5 9",
        "ZPOPMIN z 0",
        "ZPOPMIN missing",
        "ZRANGESTORE missing missing 0 -1",
        "ZUNIONSTORE missing 2 absent z WEIGHTS 1 x",
        "ZINTERSTORE missing 2 absent z",
        "ZRANGE z 0 -1",
    ] {
        assert!(server.effects_of(a, line).is_empty(), "{line}");
        assert!(server.events_of(a, line).is_empty(), "{line}");
    }
    assert_eq!(server.engine.shared.effects.dirty(), dirty);
    assert_eq!(server.engine.keys.db().len(), 2, "a failed command leaves no empty set behind");
}

#[test]
fn events_and_changes_are_counted_as_in_redis() {
    let (mut server, a) = server(Resp::V2);
    for (line, events, changes) in [
        ("ZADD z 1 a 2 b 3 c", &["zadd z"][..], 3),
        ("ZADD z 9 a 2 b 4 d", &["zadd z"], 2),
        ("ZINCRBY z 1 a", &["zincr z"], 1),
        ("ZREM z a missing", &["zrem z"], 1),
        ("ZPOPMIN z", &["zpopmin z"], 1),
        ("ZRANGESTORE other z 0 -1", &["zrangestore other"], 1),
        ("ZREMRANGEBYSCORE z -inf inf", &["zremrangebyscore z", "del z"], 2),
        ("ZUNIONSTORE z 2 other missing", &["zunionstore z"], 1),
        ("ZPOPMAX z 5", &["zpopmax z", "del z"], 2),
        ("ZINTERSTORE other 2 other missing", &["del other"], 1),
    ] {
        let before = server.engine.shared.effects.dirty();
        assert_eq!(server.events_of(a, line), events, "{line}");
        assert_eq!(server.engine.shared.effects.dirty() - before, changes, "{line}");
    }
    assert_replica_agrees(&server);
}

#[test]
fn a_blocked_client_gets_the_member_that_comes() {
    let (mut server, a) = server(Resp::V3);
    let [b, c] = [server.connect(Resp::V2), server.connect(Resp::V2)];
    assert_eq!(server.run(a, "BZPOPMAX first second 0"), "");
    assert_eq!(server.run(c, "BZPOPMAX third 0"), "");
    server.run(b, "SADD third x");
    assert_eq!(server.output(c), b"", "a set is of no use to it");
    let effects = server.effects_of(b, "ZADD second 1 low 2 high");
    assert_eq!(effects, ["ZADD second 1 low 2 high", "ZPOPMAX second"]);
    assert_eq!(server.output(a), b"*3\r\n$6\r\nsecond\r\n$4\r\nhigh\r\n,2\r\n");
    assert_replica_agrees(&server);
}

#[test]
fn blocked_clients_are_served_in_the_order_in_which_they_came() {
    let (mut server, a) = server(Resp::V2);
    let [b, c] = [server.connect(Resp::V2), server.connect(Resp::V2)];
    assert_eq!(server.run(b, "BZPOPMIN z 0"), "");
    assert_eq!(server.run(c, "BZMPOP 0 1 z MIN COUNT 5"), "");
    server.run(a, "ZADD z 1 a 2 b 3 c");
    assert_eq!(server.output(b), b"*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n");
    assert_eq!(
        server.output(c),
        b"*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n"
    );
    assert!(server.engine.keys.db().is_empty());
}

#[test]
fn a_blocked_client_gives_up_when_its_time_is_up() {
    let (mut server, a) = server(Resp::V2);
    assert_eq!(server.run(a, "BZPOPMIN z 0.5"), "");
    server.advance(499);
    assert_eq!(server.output(a), b"");
    server.advance(1);
    assert_eq!(server.output(a), b"*-1\r\n");
    assert!(server.batches.is_empty());
}

#[test]
fn scores_are_doubles_and_pairs_are_arrays_in_resp3() {
    for (line, resp2, resp3) in [
        ("ZRANGE z 0 0 WITHSCORES", "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", "*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"),
        ("ZRANGE z 0 0", "*1\r\n$1\r\na\r\n", "*1\r\n$1\r\na\r\n"),
        ("ZRANDMEMBER one 1 WITHSCORES", "*2\r\n$1\r\nm\r\n$1\r\n7\r\n", "*1\r\n*2\r\n$1\r\nm\r\n,7\r\n"),
        ("ZINTER 2 z one WITHSCORES", "*0\r\n", "*0\r\n"),
        ("ZDIFF 2 one z WITHSCORES", "*2\r\n$1\r\nm\r\n$1\r\n7\r\n", "*1\r\n*2\r\n$1\r\nm\r\n,7\r\n"),
        ("ZMSCORE z a x", "*2\r\n$3\r\n1.5\r\n$-1\r\n", "*2\r\n,1.5\r\n_\r\n"),
        ("ZRANK z a WITHSCORE", "*2\r\n:0\r\n$3\r\n1.5\r\n", "*2\r\n:0\r\n,1.5\r\n"),
        ("ZRANK z x WITHSCORE", "*-1\r\n", "_\r\n"),
        ("ZRANK z x", "$-1\r\n", "_\r\n"),
        ("ZSCAN z 0", "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$3\r\ninf\r\n", "="),
        ("ZPOPMIN z", "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", "*2\r\n$1\r\na\r\n,1.5\r\n"),
        ("ZPOPMIN z 1", "*2\r\n$1\r\nb\r\n$3\r\ninf\r\n", "*1\r\n*2\r\n$1\r\nb\r\n,inf\r\n"),
    ] {
        for (resp, expected) in [(Resp::V2, resp2), (Resp::V3, resp3)] {
            let (mut server, a) = server(resp);
            server.run(a, "ZADD z 1.5 a inf b");
            server.run(a, "ZADD one 7 m");
            if line == "ZPOPMIN z 1" {
                server.run(a, "ZREM z a");
            }
            let expected = if expected == "=" { resp2 } else { expected };
            assert_eq!(server.run(a, line), expected, "{line}");
        }
    }
}

#[test]
fn a_stored_zero_has_no_sign_in_either_form() {
    let (mut server, a) = server(Resp::V2);
    server.run(a, "ZADD z -0 m");
    assert_eq!(server.run(a, "ZSCORE z m"), "$1\r\n0\r\n");
    server.engine.shared.config.zset_max_listpack_entries = 0;
    server.run(a, "ZADD large -0 m");
    server.run(a, "ZUNIONSTORE union 1 large WEIGHTS -1");
    for set in ["large", "union"] {
        assert_eq!(server.engine.keys.peek(set.as_bytes()).unwrap().encoding(), "skiplist");
        assert_eq!(server.run(a, &format!("ZSCORE {set} m")), "$1\r\n0\r\n");
    }
    assert_eq!(server.run(a, "ZADD large CH 0 m"), ":0\r\n");
    assert_eq!(server.run(a, "ZINCRBY large -0 new"), "$2\r\n-0\r\n");
    assert_eq!(server.run(a, "ZSCORE large new"), "$1\r\n0\r\n");
}

#[test]
fn sums_of_infinities_are_zero_in_unions() {
    let (mut server, a) = server(Resp::V2);
    server.run(a, "ZADD up inf m");
    server.run(a, "ZADD down -inf m");
    server.run(a, "SADD set m n");
    assert_eq!(server.run(a, "ZUNION 2 up down WITHSCORES"), "*2\r\n$1\r\nm\r\n$1\r\n0\r\n");
    assert_eq!(server.run(a, "ZUNION 1 up WEIGHTS 0 WITHSCORES"), "*2\r\n$1\r\nm\r\n$1\r\n0\r\n");
    assert_eq!(server.run(a, "ZINTER 2 set down AGGREGATE MAX WITHSCORES"), "*2\r\n$1\r\nm\r\n$1\r\n1\r\n");
    assert_eq!(server.run(a, "ZINTERCARD 2 set up"), ":1\r\n");
    assert_eq!(server.run(a, "ZDIFF 2 set up"), "*1\r\n$1\r\nn\r\n");
}

#[test]
fn many_pairs_make_a_large_set_at_once() {
    let (mut server, a) = server(Resp::V2);
    let pairs = |count: usize| (0..count).map(|i| format!(" {i} m{i}")).collect::<String>();
    server.run(a, &format!("ZADD z{}", pairs(128)));
    assert_eq!(server.engine.keys.peek(b"z").unwrap().encoding(), "listpack");
    server.run(a, "ZRANGESTORE copy z 0 -1");
    // All but one are known already; Redis goes by the number of pairs.
    server.run(a, &format!("ZADD copy XX CH 500 m0{}", pairs(128)));
    server.run(a, &format!("ZADD z{}", pairs(129)));
    assert_eq!(server.engine.keys.peek(b"z").unwrap().encoding(), "skiplist");
    server.run(a, "ZREMRANGEBYRANK z 0 9");
    server.run(a, "ZRANGESTORE small z 0 -1");
    assert_eq!(server.engine.keys.peek(b"small").unwrap().encoding(), "listpack");
    assert_replica_agrees(&server);
}

#[test]
fn a_snapshot_keeps_what_a_write_changes() {
    let (mut server, a) = server(Resp::V2);
    for i in 0..2000 {
        server.run(a, &format!("ZADD z {i} member:{i}"));
    }
    let snapshot = server.engine.snapshot();
    server.run(a, "ZADD z 5000 member:7");
    server.run(a, "ZPOPMIN z 5");
    let old = snapshot.dbs[0].dict.get(b"z").unwrap().value.as_zset().unwrap().clone();
    assert_eq!(old.len(), 2000);
    assert_eq!(old.rank(b"member:7"), Some((7, 7.0)));
    assert_eq!(server.run(a, "ZRANK z member:7"), ":1994\r\n");
}

#[test]
fn every_member_is_drawn_and_none_twice() {
    for entries in [0, 1000] {
        let (mut server, a) = server(Resp::V2);
        server.engine.shared.config.zset_max_listpack_entries = entries;
        let mut seen = std::collections::HashSet::new();
        for i in 0..20 {
            server.run(a, &format!("ZADD z {i} m{i:02}"));
        }
        for count in [2, 12] {
            for _ in 0..100 {
                let reply = server.run(a, &format!("ZRANDMEMBER z {count}"));
                let members: Vec<&str> = reply.lines().filter(|line| line.starts_with('m')).collect();
                let different: std::collections::HashSet<&str> = members.iter().copied().collect();
                assert_eq!((members.len(), different.len()), (count, count));
                seen.extend(members.into_iter().map(str::to_owned));
            }
            assert_eq!(seen.len(), 20);
            seen.clear();
        }
        assert!(server.run(a, "ZRANDMEMBER z -50").starts_with("*50\r\n"));
        assert!(server.run(a, "ZRANDMEMBER z 50").starts_with("*20\r\n"));
    }
}
