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
