//! Libraries as a part of the state: effects, replicas, snapshots; who waits for what.

use cairn_proto::Resp;

use crate::config::Config;
use crate::rdb::{self, Aux, LoadOptions};
use crate::scripting::Library;
use crate::testing::{FakeHost, TestEngine};

const COUNTER: &[u8] = b"#!lua name=counter\n\
    redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)\n\
    redis.register_function{function_name='read', flags={'no-writes'}, callback=function(keys) return redis.call('GET', keys[1]) end}";

fn loaded() -> (TestEngine, usize) {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    assert_eq!(server.send(a, &[b"FUNCTION", b"LOAD", COUNTER]), b"$7\r\ncounter\r\n");
    (server, a)
}

fn names(server: &TestEngine) -> Vec<String> {
    let name = |library: &Library| String::from_utf8_lossy(&library.name).into_owned();
    server.engine.functions().libraries().map(name).collect()
}

#[test]
fn what_changes_libraries_is_an_effect_and_a_function_is_what_it_does() {
    let (mut server, a) = loaded();
    assert_eq!(server.effects_of(a, "FCALL count 1 k"), ["INCR k"]);
    assert_eq!(server.effects_of(a, "FCALL_RO read 1 k"), [""; 0]);
    assert_eq!(server.effects_of(a, "FUNCTION DELETE nosuch"), [""; 0]);
    assert_eq!(server.effects_of(a, "FLUSHALL"), ["FLUSHALL"]);
    assert_eq!(names(&server), ["counter"], "FLUSHALL leaves libraries alone");
    let dump = server.send(a, &[b"FUNCTION", b"DUMP"]);
    assert_eq!(server.effects_of(a, "FUNCTION DELETE counter"), ["FUNCTION DELETE counter"]);
    assert_eq!(server.effects_of(a, "FUNCTION FLUSH"), [""; 0], "there are none");
    let payload_at = dump.iter().position(|&c| c == b'\n').unwrap() + 1;
    let payload = &dump[payload_at..dump.len() - 2];
    assert_eq!(server.send(a, &[b"FUNCTION", b"RESTORE", payload]), b"+OK\r\n");
    assert_eq!(server.effects_of(a, "FUNCTION FLUSH SYNC"), ["FUNCTION FLUSH SYNC"]);
    assert_eq!(names(&server.replica()), [""; 0]);
}

#[test]
fn a_replica_has_the_libraries_and_runs_what_only_reads() {
    let (mut server, a) = loaded();
    server.run(a, "FCALL count 1 k");
    let mut replica = server.replica();
    replica.engine.follow();
    let b = replica.connect(Resp::V2);
    assert_eq!(replica.run(b, "FCALL_RO read 1 k"), "$1\r\n1\r\n");
    assert_eq!(
        replica.run(b, "FCALL count 1 k"),
        "-READONLY Can not run script with write flag on readonly replica\r\n"
    );
    assert_eq!(
        replica.run(b, "FUNCTION FLUSH"),
        "-READONLY You can't write against a read only replica.\r\n"
    );
}

#[test]
fn a_failed_load_leaves_what_was_there() {
    let (mut server, a) = loaded();
    for code in [
        b"#!lua name=counter\nnonsense".as_slice(),
        b"#!lua name=counter\nredis.register_function('f', function() end) return nosuch",
        b"#!lua name=counter\nreturn 1",
    ] {
        let before = server.batches.len();
        let reply = server.send(a, &[b"FUNCTION", b"LOAD", b"REPLACE", code]);
        assert!(reply.starts_with(b"-ERR "), "{}", reply.escape_ascii());
        assert_eq!(server.batches.len(), before, "nothing is written down");
        assert_eq!(server.run(a, "FCALL_RO read 1 nosuch"), "$-1\r\n");
    }
    let other = b"#!lua name=other\nredis.register_function('f', function() end)\nredis.register_function('COUNT', function() end)";
    assert_eq!(server.send(a, &[b"FUNCTION", b"LOAD", other]), b"-ERR Function COUNT already exists\r\n");
    assert_eq!(server.run(a, "FCALL f 0"), "-ERR Function not found\r\n");
}

#[test]
fn who_hears_of_a_library_waits_until_it_is_released() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V2), server.connect(Resp::V2));
    server.send_held(a, &[b"FUNCTION", b"LOAD", COUNTER]);
    let questions: [&[&[u8]]; 5] = [
        &[b"FUNCTION", b"LIST"],
        &[b"FUNCTION", b"STATS"],
        &[b"FUNCTION", b"DUMP"],
        &[b"FUNCTION", b"LOAD", COUNTER],
        &[b"FCALL_RO", b"read", b"1", b"k"],
    ];
    for question in questions {
        server.send_held(b, question);
        assert_eq!(server.output(b), b"", "{}", question[1].escape_ascii());
    }
    server.send_held(a, &[b"PING"]);
    assert_eq!(server.output(a), b"");
    server.release();
    assert_eq!(server.output(a), b"$7\r\ncounter\r\n+PONG\r\n");
    assert!(server.output(b).starts_with(b"*1\r\n"));
    server.send_held(b, questions[4]);
    assert_eq!(server.output(b), b"$-1\r\n");
}

#[test]
fn libraries_are_in_snapshots() {
    let (mut server, a) = loaded();
    server.run(a, "SET k 41");
    let snapshot = server.engine.snapshot();
    server.run(a, "FUNCTION FLUSH");
    let mut file = Vec::new();
    rdb::save(snapshot, &Aux::default(), true, &mut file).expect("a Vec takes everything");
    let mut fresh = TestEngine::new();
    let config = Config::default();
    let options = LoadOptions { databases: 16, seed: fresh.engine.keys.seed(), config: &config };
    let loaded = rdb::load(&file, &options, &mut |_, _| {}).expect("our own file");
    fresh.engine.restore(loaded.dbs, loaded.functions, 0, 0);
    let b = fresh.connect(Resp::V2);
    assert_eq!(fresh.run(b, "FCALL count 1 k"), ":42\r\n");
}

#[test]
fn functions_count_in_info() {
    let (mut server, a) = loaded();
    let info = server.run(a, "INFO memory");
    let figure = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        line.parse::<usize>().expect("a number")
    };
    assert_eq!(figure("number_of_libraries:"), 1);
    assert_eq!(figure("number_of_functions:"), 2);
    assert_eq!(figure("used_memory_functions:"), COUNTER.len());
    assert!(figure("used_memory_vm_functions:") > 10_000);
}

#[test]
fn a_library_that_takes_too_long_to_load_is_refused_but_never_again() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V2);
    // Loading looks at the clock every 100,000 instructions.
    server.host.leap_us = 400_000;
    let slow = b"#!lua name=slow\nlocal i = 0 while i < 200000 do i = i + 1 end redis.register_function('f', function() end)";
    assert_eq!(
        server.send(a, &[b"FUNCTION", b"LOAD", slow]),
        b"-ERR Error registering functions: ERR FUNCTION LOAD timeout\r\n"
    );
    server.host.leap_us = 0;
    assert_eq!(server.send(a, &[b"FUNCTION", b"LOAD", slow]), b"$4\r\nslow\r\n");
    assert_eq!(
        names(&server.replica_on(FakeHost { leap_us: 400_000, ..FakeHost::default() })),
        ["slow"],
        "what is in the log is loaded"
    );
}

#[test]
fn flags_of_a_function_count_in_a_transaction_and_in_a_cluster() {
    let (mut server, a) = loaded();
    let single = b"#!lua name=single\nredis.register_function{function_name='single', callback=function() return 1 end, flags={'no-cluster'}}";
    server.send(a, &[b"FUNCTION", b"LOAD", single]);
    assert_eq!(server.run(a, "FCALL single 0"), ":1\r\n");
    let view = crate::testing::three_nodes(0, Some(0));
    server.host.show(crate::cluster::ClusterView { redirect: true, ..view });
    assert_eq!(
        server.run(a, "FCALL single 0"),
        "-ERR Can not run script on cluster, 'no-cluster' flag is set.\r\n"
    );
    server.engine.shared.write_refusal = Some("MISCONF the disk is full".into());
    assert_eq!(server.run(a, "FCALL count 1 k"), "-MISCONF the disk is full\r\n");
    assert_eq!(server.run(a, "FCALL read 1 k"), "$-1\r\n");
}

#[test]
fn what_a_function_may_do_when_memory_is_full_is_what_it_declares() {
    const OUT_OF_MEMORY: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let (mut server, a) = loaded();
    let roomy = b"#!lua name=roomy\nredis.register_function{function_name='set', callback=function(keys) return redis.call('SET', keys[1], 'v') end, flags={'allow-oom'}}";
    server.send(a, &[b"FUNCTION", b"LOAD", roomy]);
    server.run(a, "CONFIG SET maxmemory 1mb");
    server.host.used_memory = 2 << 20;
    assert_eq!(server.run(a, "FCALL count 1 k"), OUT_OF_MEMORY);
    assert_eq!(server.run(a, "FCALL_RO count 1 k"), OUT_OF_MEMORY, "as in Redis: it comes first");
    assert_eq!(server.run(a, "FCALL read 1 k"), "$-1\r\n");
    assert_eq!(server.run(a, "FCALL set 1 k"), "+OK\r\n");
    assert_eq!(server.send(a, &[b"FUNCTION", b"LOAD", roomy]), OUT_OF_MEMORY.as_bytes());
    assert_eq!(server.run(a, "FUNCTION DELETE roomy"), "+OK\r\n");
}
