use cairn_proto::Resp;

use super::*;
use crate::client::Slot;
use crate::config::Config;
use crate::testing::TestEngine;

/// Above the limit for ever, and no time: every command evicts one step's worth of keys.
fn full_server(policy: MaxmemoryPolicy) -> (TestEngine, Slot) {
    let config = Config {
        maxmemory: 1_000_000,
        maxmemory_policy: policy,
        maxmemory_eviction_tenacity: 0,
        maxmemory_samples: 200,
        ..Config::default()
    };
    let mut server = TestEngine::with_config(config, 1);
    let client = server.connect(Resp::V2);
    (server, client)
}

/// Which of the keys `k0` … `k63` are left after one command in need of room.
fn left_after_one_step(server: &mut TestEngine, client: Slot) -> Vec<usize> {
    server.host.used_memory = 2_000_000;
    server.send(client, &[b"PING"]);
    let db = &server.engine.keys.dbs()[0];
    (0..64).filter(|i| db.dict.contains(format!("k{i}").as_bytes())).collect()
}

fn fill(server: &mut TestEngine, client: Slot, each: impl Fn(usize) -> Vec<String>) {
    for i in 0..64 {
        let args = each(i);
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        server.now_ms += 1000;
        assert_eq!(server.send(client, &args), b"+OK\r\n");
    }
}

fn set(i: usize, more: &[&str]) -> Vec<String> {
    let start = ["SET".to_owned(), format!("k{i}"), "v".to_owned()];
    start.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect()
}

#[test]
fn lru_evicts_what_was_not_used_for_longest() {
    let (mut server, client) = full_server(MaxmemoryPolicy::AllkeysLru);
    fill(&mut server, client, |i| set(i, &[]));
    for i in 0..8 {
        server.now_ms += 1000;
        server.send(client, &[b"GET", format!("k{i}").as_bytes()]);
        // Looking at how a key is does not count as using it.
        server.send(client, &[b"OBJECT", b"ENCODING", format!("k{}", i + 8).as_bytes()]);
        server.send(client, &[b"TYPE", format!("k{}", i + 8).as_bytes()]);
        server.send(client, &[b"TTL", format!("k{}", i + 8).as_bytes()]);
    }
    let expected: Vec<usize> = (0..8).chain(24..64).collect();
    assert_eq!(left_after_one_step(&mut server, client), expected);
    assert_eq!(server.engine.shared.stats.evicted_keys, 16);
}

#[test]
fn lfu_evicts_what_is_used_least() {
    let (mut server, client) = full_server(MaxmemoryPolicy::AllkeysLfu);
    fill(&mut server, client, |i| set(i, &[]));
    for i in 0..48 {
        for _ in 0..200 {
            server.send(client, &[b"GET", format!("k{i}").as_bytes()]);
        }
    }
    assert_eq!(left_after_one_step(&mut server, client), (0..48).collect::<Vec<_>>());
}

#[test]
fn volatile_ttl_evicts_what_expires_soonest() {
    let (mut server, client) = full_server(MaxmemoryPolicy::VolatileTtl);
    fill(&mut server, client, |i| {
        if i < 32 { set(i, &["EX", &(10_000 - 100 * i).to_string()]) } else { set(i, &[]) }
    });
    let expected: Vec<usize> = (0..16).chain(32..64).collect();
    assert_eq!(left_after_one_step(&mut server, client), expected);
}

#[test]
fn volatile_policies_leave_keys_without_a_time_to_live_alone() {
    for policy in
        [MaxmemoryPolicy::VolatileLru, MaxmemoryPolicy::VolatileLfu, MaxmemoryPolicy::VolatileRandom]
    {
        let (mut server, client) = full_server(policy);
        fill(&mut server, client, |i| if i < 20 { set(i, &["EX", "10000"]) } else { set(i, &[]) });
        assert_eq!(left_after_one_step(&mut server, client).len(), 48);
        // Four are left, then nothing may go any more.
        assert_eq!(
            server.send(client, &[b"SET", b"more", b"v"]),
            b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        );
        assert_eq!(left_after_one_step(&mut server, client), (20..64).collect::<Vec<_>>(), "{policy:?}");
        assert_eq!(server.send(client, &[b"GET", b"k63"]), b"$1\r\nv\r\n", "reads go on");
    }
}

#[test]
fn noeviction_refuses_what_needs_memory() {
    let (mut server, client) = full_server(MaxmemoryPolicy::Noeviction);
    fill(&mut server, client, |i| set(i, &[]));
    assert_eq!(left_after_one_step(&mut server, client).len(), 64);
    assert!(server.send(client, &[b"SET", b"k", b"v"]).starts_with(b"-OOM "));
    assert_eq!(server.send(client, &[b"DEL", b"k0"]), b":1\r\n");
}

#[test]
fn an_eviction_is_an_effect_and_an_event() {
    let (mut server, client) = full_server(MaxmemoryPolicy::AllkeysRandom);
    let listener = server.connect(Resp::V2);
    server.send(client, &[b"CONFIG", b"SET", b"notify-keyspace-events", b"Ee"]);
    fill(&mut server, client, |i| set(i, &[]));
    server.send(listener, &[b"SUBSCRIBE", b"__keyevent@0__:evicted"]);
    let left = left_after_one_step(&mut server, client);
    assert_eq!(left.len(), 48);
    assert_eq!(server.replica().engine.keys.dbs()[0].len(), 48);
    let heard = String::from_utf8(server.output(listener)).unwrap();
    assert_eq!(heard.matches("evicted\r\n$").count(), 16, "{heard}");
}

#[test]
fn what_the_trash_thread_has_not_dropped_yet_takes_no_more_keys() {
    let (mut server, client) = full_server(MaxmemoryPolicy::AllkeysRandom);
    for i in 0..100_000 {
        server.send(client, &[b"SADD", b"big", format!("member-{i}").as_bytes()]);
    }
    server.send(client, &[b"SET", b"small", b"v"]);
    server.send(client, &[b"DEL", b"big"]);
    assert!(server.engine.keys.trash_bytes() > 2_000_000, "{}", server.engine.keys.trash_bytes());
    server.host.used_memory = 3_000_000;
    server.send(client, &[b"PING"]);
    assert_eq!(server.engine.shared.stats.evicted_keys, 0);
    drop(server.engine.take_trash());
    assert_eq!(server.engine.keys.trash_bytes(), 0);
    server.send(client, &[b"PING"]);
    assert_eq!(server.engine.shared.stats.evicted_keys, 1);
}

#[test]
fn what_a_snapshot_holds_takes_no_more_keys() {
    let (mut server, client) = full_server(MaxmemoryPolicy::AllkeysLru);
    let value = vec![b'x'; 100_000];
    for i in 0..100 {
        server.send(client, &[b"SET", format!("k{i}").as_bytes(), &value]);
    }
    let snapshot = server.engine.snapshot();
    // Nothing that is evicted becomes free. It counts all the same: 5 values, not all 100.
    server.host.used_memory = 1_500_000;
    server.send(client, &[b"PING"]);
    assert_eq!(server.engine.shared.stats.evicted_keys, 5);
    server.send(client, &[b"PING"]);
    assert_eq!(server.engine.shared.stats.evicted_keys, 5);
    drop(snapshot);
    server.send(client, &[b"PING"]);
    assert!(server.engine.shared.stats.evicted_keys > 5, "now it is memory like any other");
}

#[test]
fn tenacity_is_on_the_scale_of_redis() {
    let limits = [0, 5, 10, 11, 50, 99, 100].map(time_limit_us);
    assert_eq!(limits[..4], [0, 250, 500, 575]);
    assert!((130_000..140_000).contains(&limits[4]));
    assert!((120_000_000..130_000_000).contains(&limits[5]));
    assert_eq!(limits[6], u64::MAX);
}
