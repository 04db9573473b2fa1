use cairn_proto::Resp;

use crate::config::Config;
use crate::testing::TestEngine;

fn bytes_at(server: &mut TestEngine, key: &str) -> Vec<u8> {
    let client = server.connect(Resp::V2);
    server.send(client, &[b"GET", key.as_bytes()])
}

#[test]
fn a_cached_count_reaches_the_replica_and_keeps_nobody_waiting() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    server.run(a, "PFADD h a b c");
    let before = bytes_at(&mut server, "h");
    server.send_held(a, &[b"PFCOUNT", b"h"]);
    assert_eq!(server.output(a), b":3\r\n", "the answer waits for nothing");
    server.release();
    let after = bytes_at(&mut server, "h");
    assert_ne!(before, after, "the count is in the string now");
    assert_eq!(bytes_at(&mut server.replica(), "h"), after);
    let batches = server.batches.len();
    server.run(a, "PFCOUNT h");
    assert_eq!(server.batches.len(), batches, "a count that is known is no change");
}

#[test]
fn the_form_is_the_same_where_the_limit_of_the_sparse_form_is_not() {
    let small = Config { hll_sparse_max_bytes: 100, ..Config::default() };
    let mut server = TestEngine::with_config(small, 1);
    let a = server.connect(Resp::V2);
    for i in 0..200 {
        server.run(a, &format!("PFADD h {i} {} {}", i * 7, i * 31));
        server.run(a, &format!("PFADD other{} x{i}", i % 50));
    }
    server.run(a, "PFMERGE sum other1 other2 other3");
    server.run(a, "PFMERGE dense h other1");
    let mut replica = TestEngine::new();
    for batch in &server.batches {
        replica.engine.apply(&mut replica.host, &batch.payload).unwrap();
    }
    for key in ["h", "other1", "sum", "dense"] {
        assert_eq!(bytes_at(&mut server, key), bytes_at(&mut replica, key), "{key}");
    }
    assert_eq!(bytes_at(&mut server, "h").len(), 12304 + "$12304\r\n\r\n".len());
}

#[test]
fn elements_before_the_damage_are_there_on_the_replica_too() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    // One register of 0, and then nothing: only an element of register 0 has a place, and this is one.
    let lucky = "11332";
    server.send(a, &[b"SET", b"h", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x00"]);
    let reply = server.send(a, &[b"PFADD", b"h", lucky.as_bytes(), b"foo", b"bar"]);
    assert_eq!(reply, b"-INVALIDOBJ Corrupted HLL object detected\r\n");
    assert_eq!(bytes_at(&mut server, "h"), bytes_at(&mut server.replica(), "h"));
}
