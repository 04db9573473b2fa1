//! What holds for every command: replies wait for the journal, effects rebuild the state.

use cairn_proto::Resp;

use crate::config::Config;
use crate::effects::BatchError;
use crate::testing::TestEngine;

#[test]
fn a_write_is_not_answered_before_it_is_released() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.send_held(a, &[b"SET", b"k", b"v"]);
    assert_eq!(server.output(a), b"");
    server.release();
    assert_eq!(server.output(a), b"+OK\r\n");
}

#[test]
fn a_read_of_an_unreleased_key_waits_and_of_another_does_not() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.send(a, &[b"SET", b"other", b"1"]);
    server.send_held(a, &[b"SET", b"k", b"v"]);
    server.send_held(b, &[b"GET", b"other"]);
    assert_eq!(server.output(b), b"$1\r\n1\r\n");
    server.send_held(b, &[b"GET", b"k"]);
    server.send_held(b, &[b"GET", b"other"]);
    assert_eq!(server.output(b), b"", "replies of one connection stay in order");
    server.release();
    assert_eq!(server.output(b), b"$1\r\nv\r\n$1\r\n1\r\n");
}

#[test]
fn effects_rebuild_the_state_on_another_engine() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.send(a, &[b"SET", b"k", b"v"]);
    let mut replica = server.replica();
    let b = replica.connect(Resp::V2);
    assert_eq!(replica.send(b, &[b"GET", b"k"]), b"$1\r\nv\r\n");
}

#[test]
fn an_effect_on_a_database_that_is_no_more_is_an_error() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "SELECT 5");
    server.run(a, "SET k v");
    let config = Config { databases: 2, ..Config::default() };
    let mut smaller = TestEngine::with_config(config, 1);
    let outcome = smaller.engine.apply(&mut smaller.host, &server.batches[0].payload);
    assert_eq!(outcome, Err(BatchError::Database { seq: 1, db: 5, databases: 2 }));
}

#[test]
fn nothing_expires_by_itself_while_it_could_not_be_logged() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "SET k v PX 5");
    server.engine.shared.write_refusal = Some("MISCONF no room".into());
    let batches = server.batches.len();
    server.advance(10);
    assert_eq!(server.batches.len(), batches);
    server.engine.shared.write_refusal = None;
    server.advance(1);
    assert_eq!(server.batches.len(), batches + 1);
}

#[test]
fn a_follower_leaves_what_has_expired_to_the_leader() {
    let mut leader = TestEngine::new();
    let a = leader.connect(Resp::V2);
    leader.run(a, "SET k v PX 10");
    let mut follower = leader.replica();
    follower.engine.follow();
    let b = follower.connect(Resp::V2);
    follower.advance(20);
    assert_eq!(follower.run(b, "GET k"), "$-1\r\n", "by its own clock it shows it no more");
    follower.advance(20);
    assert_eq!(follower.engine.keys.dbs()[0].len(), 1, "its clock decides about no key");
    // By the leader's clock there was still time.
    leader.run(a, "PERSIST k");
    let persisted = leader.batches.last().unwrap();
    follower.engine.apply(&mut follower.host, &persisted.payload).unwrap();
    assert_eq!(follower.run(b, "GET k"), "$1\r\nv\r\n");
}

#[test]
fn while_the_state_is_being_replaced_nothing_is_written_whoever_is_followed() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "SET fleeting v PX 5");
    server.run(a, "CONFIG SET replica-read-only no");
    assert_eq!(server.run(a, "REPLICAOF 127.0.0.1 1"), "+OK\r\n");
    assert_eq!(server.run(a, "SET k v"), "+OK\r\n");
    server.engine.shared.replacing = true;
    let batches = server.batches.len();
    let refused = "-READONLY You can't write against a read only replica.\r\n";
    assert_eq!(server.run(a, "SET k w"), refused);
    server.run(a, "MULTI");
    assert_eq!(server.run(a, "REPLICAOF NO ONE"), "+QUEUED\r\n");
    assert_eq!(server.run(a, "EXEC"), "*1\r\n+OK\r\n");
    assert_eq!(server.run(a, "SET k w"), refused, "what is written would go with the old state");
    assert_eq!(server.run(a, "REPLICAOF 127.0.0.1 2"), "+OK\r\n");
    assert_eq!(server.run(a, "SET k w"), refused);
    assert_eq!(server.run(a, "REPLICAOF NO ONE"), "+OK\r\n");
    server.advance(10);
    assert_eq!(server.run(a, "GET fleeting"), "$-1\r\n");
    assert_eq!(server.batches.len(), batches);
    server.engine.shared.end_replacing();
    assert_eq!(server.run(a, "SET k w"), "+OK\r\n");
    server.advance(10);
    assert_eq!(server.engine.keys.dbs()[0].len(), 1, "it expires keys again");
}

#[test]
fn of_many_who_wait_those_are_served_for_whom_there_is_something() {
    let mut server = TestEngine::new();
    let pusher = server.connect(Resp::V2);
    let waiting: Vec<_> = (0..5).map(|_| server.connect(Resp::V2)).collect();
    for &slot in &waiting {
        assert_eq!(server.run(slot, "BLPOP k 0"), "");
    }
    server.run(pusher, "RPUSH k 1 2");
    server.run(pusher, "XGROUP CREATE s g $ MKSTREAM");
    let reader = server.connect(Resp::V2);
    assert_eq!(server.run(reader, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), "");
    let served: Vec<_> = waiting.iter().map(|&slot| server.output(slot)).collect();
    let expected: [&[u8]; 5] =
        [b"*2\r\n$1\r\nk\r\n$1\r\n1\r\n", b"*2\r\n$1\r\nk\r\n$1\r\n2\r\n", b"", b"", b""];
    assert_eq!(served, expected);
    server.run(pusher, "DEL s");
    assert!(server.output(reader).starts_with(b"-NOGROUP"), "it is told that its group has gone");
    assert_eq!(server.engine.shared.blocking.of_groups, 0);
    server.run(pusher, "RPUSH k 3");
    assert_eq!(server.output(waiting[2]), b"*2\r\n$1\r\nk\r\n$1\r\n3\r\n");
}

/// The journal takes no entry beyond 4 GiB: a script that went on and on ended the server.
#[test]
fn a_unit_that_has_written_too_much_writes_no_more() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.engine.shared.effects.unit_bytes_max = 1000;
    let script = b"local n = 0 for i = 1, 100 do if redis.pcall('SET', 'k' .. i, 'v').ok then n = n + 1 end end return n";
    assert_eq!(server.send(a, &[b"EVAL", script, b"0"]), b":83\r\n");
    server.run(a, "MULTI");
    let value = [b'v'; 2000];
    server.send(a, &[b"SET", b"large", &value]);
    server.run(a, "DEL k1");
    server.run(a, "STRLEN large");
    assert_eq!(
        server.run(a, "EXEC"),
        "*3\r\n+OK\r\n-ERR this script or transaction has written more than can be made durable as a whole\r\n:2000\r\n"
    );
    assert_eq!(server.run(a, "DEL k1"), ":1\r\n", "the next one is another unit");
    assert_eq!(server.replica().engine.keys.dbs()[0].len(), 83);
}

#[test]
fn time_goes_on_after_the_wall_clock_was_set_back() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    let start_ms = server.now_ms;
    server.send(a, &[b"SET", b"k", b"v", b"PX", b"500"]);
    // An hour back; 600 ms pass, of which the wall clock tells nothing useful.
    for step in 0..=6u64 {
        server.engine.begin_turn(start_ms - 3_600_000, 1_000_000 + step * 100_000);
    }
    assert_eq!(server.engine.shared.now_ms, start_ms + 600);
    // Once it has caught up it leads again.
    server.engine.begin_turn(start_ms + 10_000, 9_000_000);
    assert_eq!(server.engine.shared.now_ms, start_ms + 10_000);
}
