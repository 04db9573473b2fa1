//! What golden scripts do not see: effects, snapshots, and graphs that are alike.

use cairn_proto::Resp;

use crate::digest;
use crate::rdb;
use crate::testing::TestEngine;
use crate::value::Value;

fn add(server: &mut TestEngine, client: usize, count: usize, options: &str) {
    for n in 0..count {
        let (x, y, z) = (n * 37 % 101, n * 53 % 89, n * 71 % 97);
        server.run(client, &format!("VADD k VALUES 3 {x}.5 -{y} {z} e{n} {options}"));
    }
}

fn state(server: &TestEngine) -> digest::Digest {
    digest::state(server.engine.keys.dbs(), &[], None, None)
}

#[test]
fn the_effect_of_vadd_has_the_vector_as_given_and_every_option() {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    server.run(client, "VADD k REDUCE 1 VALUES 2 1 -0.5 e CAS EF 7 SETATTR {}");
    let mut effects = crate::effects::effects(&server.batches[0].payload).expect("a batch of our own");
    let mut argv = Vec::new();
    effects.next(&mut argv).expect("a batch of our own");
    let blob: Vec<u8> = [1f32, -0.5].iter().flat_map(|number| number.to_le_bytes()).collect();
    let expected: [&[u8]; 14] = [
        b"VADD", b"k", b"REDUCE", b"1", b"FP32", &blob, b"e", b"Q8", b"EF", b"7", b"M", b"16", b"SETATTR",
        b"{}",
    ];
    assert_eq!(argv, expected);
}

#[test]
fn a_loaded_set_has_the_graph_of_the_saved_one_and_goes_on_like_it() {
    for options in ["", "NOQUANT M 4", "BIN M 100"] {
        let mut server = TestEngine::new();
        let client = server.connect(Resp::V2);
        add(&mut server, client, 300, options);
        for n in (0..300).step_by(4) {
            server.run(client, &format!("VREM k e{n}"));
        }
        let Some(value) = server.engine.keys.peek(b"k") else { panic!("it is there") };
        let payload = rdb::dump_value(value);
        let options_of_load = rdb::LoadOptions {
            databases: 16,
            seed: server.engine.keys.seed(),
            config: &server.engine.shared.config,
        };
        let loaded = rdb::load_value(&payload, &options_of_load).expect("our own");
        let mut other = TestEngine::new();
        let other_client = other.connect(Resp::V2);
        other.engine.keys.set(b"k", loaded);
        assert_eq!(state(&server), state(&other), "{options}");
        add(&mut server, client, 100, options);
        add(&mut other, other_client, 100, options);
        assert_eq!(state(&server), state(&other), "{options}");
    }
}

#[test]
fn the_state_is_another_if_only_the_graph_is() {
    let mut digests = Vec::new();
    for order in [["a", "b", "c"], ["c", "b", "a"]] {
        let mut server = TestEngine::new();
        let client = server.connect(Resp::V2);
        for name in order {
            server.run(client, &format!("VADD k VALUES 2 1 {} {name}", name.as_bytes()[0]));
        }
        digests.push((digest::keyspace(server.engine.keys.dbs()), state(&server)));
    }
    assert_eq!(digests[0].0, digests[1].0, "the elements are the same");
    assert_ne!(digests[0].1, digests[1].1);
}

#[test]
fn a_snapshot_does_not_see_what_is_added_after_it() {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    add(&mut server, client, 50, "");
    let Some(before) = server.engine.keys.peek(b"k").cloned() else { panic!("it is there") };
    let dump = rdb::dump_value(&before);
    add(&mut server, client, 50, "SETATTR {}");
    server.run(client, "VREM k e7");
    assert_eq!(rdb::dump_value(&before), dump);
    let Some(Value::VectorSet(set)) = server.engine.keys.peek(b"k") else { panic!("it is there") };
    assert_eq!((set.len(), set.with_attributes()), (49, 49));
}

#[test]
fn a_search_that_takes_too_long_is_refused() {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    add(&mut server, client, 200, "");
    let searches =
        ["VSIM k ELE e1 TRUTH", "VSIM k ELE e1 COUNT 1000", "VSIM k ELE e1 FILTER .a FILTER-EF 1000"];
    for search in searches {
        assert!(server.run(client, search).starts_with("*"), "{search}");
    }
    // Each look at the clock takes a second.
    server.host.leap_us = 1_000_000;
    for search in searches {
        assert_eq!(server.run(client, search), "-ERR Timeout limit was reached\r\n", "{search}");
    }
}
