use cairn_proto::Resp;

use crate::client::Slot;
use crate::property;
use crate::rng::Rng;
use crate::testing::TestEngine;
use crate::value::Value;

fn server() -> (TestEngine, Slot) {
    let mut server = TestEngine::new();
    let client = server.connect(Resp::V2);
    (server, client)
}

/// All streams of the selected database, by key.
fn state(server: &TestEngine) -> Vec<(String, String)> {
    let streams = server.engine.keys.db().dict.iter().filter_map(|entry| match &entry.value {
        Value::Stream(stream) => Some((format!("{:?}", entry.key), stream.state_text())),
        _ => None,
    });
    let mut streams: Vec<_> = streams.collect();
    streams.sort();
    streams
}

#[track_caller]
fn assert_replica_is_equal(server: &TestEngine) {
    assert_eq!(state(&server.replica()), state(server));
}

/// A group `g` that reads `s` from the beginning, and entries 1-0, 2-0 … n-0.
fn with_group(n: u64) -> (TestEngine, Slot) {
    let (mut server, a) = server();
    server.run(a, "XGROUP CREATE s g 0 MKSTREAM");
    for i in 1..=n {
        server.run(a, &format!("XADD s {i}-0 n {i}"));
    }
    (server, a)
}

#[test]
fn an_id_by_the_clock_is_written_down() {
    let (mut server, a) = server();
    assert_eq!(server.effects_of(a, "XADD s * f v"), ["XADD s 1700000000000-0 f v"]);
    assert_eq!(server.effects_of(a, "XADD s * f v"), ["XADD s 1700000000000-1 f v"]);
    assert_eq!(server.effects_of(a, "XADD s 1800000000000-* f v"), ["XADD s 1800000000000-0 f v"]);
    assert_eq!(server.effects_of(a, "XADD s NOMKSTREAM * f v"), ["XADD s 1800000000000-1 f v"]);
    assert_eq!(server.effects_of(a, "XADD s 1900000000000 f v"), ["XADD s 1900000000000 f v"]);
    assert!(server.effects_of(a, "XADD missing NOMKSTREAM * f v").is_empty());
    assert!(server.effects_of(a, "XADD s 1-1 f v").is_empty());
    assert_replica_is_equal(&server);
}

#[test]
fn a_trim_is_written_down_by_its_outcome() {
    let (mut server, a) = server();
    server.engine.shared.config.stream_node_max_entries = 4;
    for i in 1..=10 {
        server.run(a, &format!("XADD s {i}-0 f v"));
    }
    assert!(server.effects_of(a, "XTRIM s MAXLEN ~ 8").is_empty());
    assert_eq!(server.effects_of(a, "XTRIM s MAXLEN ~ 5"), ["XTRIM s MAXLEN = 6"]);
    assert_eq!(server.effects_of(a, "XADD s MAXLEN ~ 1 LIMIT 1 11-0 f v"), ["XADD s 11-0 f v"]);
    assert_eq!(server.effects_of(a, "XADD s MINID ~ 9-5 12-0 f v"), ["XADD s MINID = 9-0 12-0 f v"]);
    assert_eq!(server.effects_of(a, "XTRIM s MINID 10-5"), ["XTRIM s MINID = 11-0"]);
    assert_eq!(server.effects_of(a, "XADD s MAXLEN 0 13-0 f v"), ["XADD s MAXLEN = 0 13-0 f v"]);
    server.run(a, "XADD s 14-0 f v");
    assert_eq!(
        server.effects_of(a, "XTRIM s MINID 99"),
        ["XTRIM s MINID = 18446744073709551615-18446744073709551615"]
    );
    // Nodes elsewhere hold as many entries as the configuration there says: the outcome must not depend on it.
    assert_replica_is_equal(&server);
}

#[test]
fn a_read_of_many_entries_by_a_group_is_one_short_effect() {
    let (mut server, a) = with_group(1000);
    let effects = server.effects_of(a, "XREADGROUP GROUP g alice BLOCK 1000 COUNT 900 STREAMS s >");
    assert_eq!(effects, ["XREADGROUP GROUP g alice COUNT 900 TIME 1700000000000 STREAMS s >"]);
    assert_replica_is_equal(&server);
}

#[test]
fn pending_entries_are_the_same_on_a_replica_whose_clock_is_ahead() {
    let (mut server, a) = with_group(3);
    server.run(a, "XREADGROUP GROUP g alice STREAMS s >");
    server.advance(50);
    server.run(a, "XREADGROUP GROUP g alice STREAMS s 0");
    server.run(a, "XCLAIM s g bob 0 2-0");
    let mut replica = TestEngine::new();
    replica.now_ms += 1_000_000;
    replica.advance(0);
    for batch in &server.batches {
        replica.engine.apply(&mut replica.host, &batch.payload).unwrap();
    }
    assert_eq!(state(&replica), state(&server));
}

#[test]
fn a_read_without_acknowledgement_moves_the_group_on() {
    let (mut server, a) = with_group(3);
    let effects = server.effects_of(a, "XREADGROUP GROUP g alice NOACK STREAMS s >");
    assert_eq!(effects, ["XREADGROUP GROUP g alice NOACK TIME 1700000000000 STREAMS s >"]);
    assert!(server.effects_of(a, "XREADGROUP GROUP g alice NOACK STREAMS s >").is_empty());
    let effects = server.effects_of(a, "XREADGROUP GROUP g bob STREAMS s >");
    assert_eq!(effects.len(), 1, "bob was made: {effects:?}");
    assert_replica_is_equal(&server);
}

#[test]
fn reading_ones_history_counts_as_a_delivery() {
    let (mut server, a) = with_group(3);
    server.run(a, "XREADGROUP GROUP g alice STREAMS s >");
    server.advance(5);
    let effects = server.effects_of(a, "XREADGROUP GROUP g alice COUNT 2 STREAMS s 0");
    assert_eq!(effects, ["XREADGROUP GROUP g alice COUNT 2 TIME 1700000000005 STREAMS s 0"]);
    let pending = server.run(a, "XPENDING s g - + 10");
    assert_eq!(pending.matches(":2\r\n").count(), 2, "{pending}");
    server.run(a, "XDEL s 1-0 2-0 3-0");
    assert!(server.effects_of(a, "XREADGROUP GROUP g alice STREAMS s 0").is_empty());
    assert_replica_is_equal(&server);
}

#[test]
fn claims_are_written_down_for_what_changed_hands() {
    let (mut server, a) = with_group(5);
    server.run(a, "XREADGROUP GROUP g alice COUNT 4 STREAMS s >");
    server.run(a, "XDEL s 2-0");
    server.advance(100);
    assert_eq!(
        server.effects_of(a, "XCLAIM s g bob 50 1-0 2-0 5-0 9-0"),
        ["XCLAIM s g bob 0 1-0 2-0 TIME 1700000000100"]
    );
    assert_eq!(
        server.effects_of(a, "XCLAIM s g bob 50 1-0 5-0 FORCE JUSTID RETRYCOUNT 7 IDLE 90 LASTID 5-0"),
        ["XCLAIM s g bob 0 5-0 TIME 1700000000010 RETRYCOUNT 7 FORCE JUSTID LASTID 5-0"]
    );
    assert_eq!(server.effects_of(a, "XCLAIM s g carol 50 1-0"), ["XGROUP CREATECONSUMER s g carol"]);
    assert_eq!(
        server.effects_of(a, "XCLAIM s g carol 50 1-0 LASTID 6-0"),
        ["XGROUP SETID s g 6-0 ENTRIESREAD 4"]
    );
    assert!(server.effects_of(a, "XCLAIM s g carol 50 1-0").is_empty());
    assert_replica_is_equal(&server);

    server.run(a, "XDEL s 3-0");
    server.advance(1000);
    assert_eq!(
        server.effects_of(a, "XAUTOCLAIM s g dave 500 0 COUNT 3"),
        ["XCLAIM s g dave 0 1-0 3-0 4-0 TIME 1700000001100"]
    );
    assert_eq!(server.effects_of(a, "XAUTOCLAIM s g eve 500 0 COUNT 1 JUSTID").len(), 1);
    assert!(server.effects_of(a, "XAUTOCLAIM s g eve 500 0").is_empty());
    assert_replica_is_equal(&server);
}

#[test]
fn the_last_id_at_the_time_of_the_call_is_what_a_reader_waits_for() {
    let (mut server, a) = server();
    let b = server.connect(Resp::V2);
    server.run(a, "XADD s 5-0 f old");
    assert_eq!(server.run(b, "XREAD BLOCK 0 STREAMS s other $ $"), "");
    server.run(a, "XDEL s 5-0");
    server.run(a, "XADD other 1-1 f first");
    let reply = String::from_utf8(server.output(b)).unwrap();
    assert!(reply.starts_with("*1\r\n*2\r\n$5\r\nother\r\n") && reply.contains("first"), "{reply}");

    assert_eq!(server.run(b, "XREAD BLOCK 0 STREAMS s $"), "");
    // Woken, but there is nothing for it: it waits on, and not for what comes after this.
    server.run(a, "MULTI");
    server.run(a, "XADD s 6-0 f gone");
    server.run(a, "XDEL s 6-0");
    server.run(a, "EXEC");
    assert_eq!(server.output(b), b"");
    server.run(a, "XADD s 7-0 f new");
    assert!(String::from_utf8(server.output(b)).unwrap().contains("7-0"));
}

#[test]
fn plus_is_the_last_entry_or_the_first_to_come() {
    let (mut server, a) = server();
    let b = server.connect(Resp::V2);
    assert_eq!(server.run(a, "XREAD STREAMS s +"), "*-1\r\n");
    assert_eq!(server.run(b, "XREAD BLOCK 0 STREAMS s +"), "");
    server.run(a, "XADD s 0-1 f v");
    let last = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n0-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    assert_eq!(server.output(b), last.as_bytes());
    assert_eq!(server.run(a, "XREAD STREAMS s +"), last);
    server.run(a, "XADD s 3-0 f v");
    server.run(a, "XDEL s 3-0");
    assert_eq!(server.run(a, "XREAD STREAMS s +"), last);
    let refusal = server.run(a, "XREADGROUP GROUP g c STREAMS s +");
    assert!(refusal.starts_with("-NOGROUP"), "{refusal}");
    server.run(a, "XGROUP CREATE s g 0");
    let refusal = server.run(a, "XREADGROUP GROUP g c STREAMS s +");
    assert!(refusal.starts_with("-ERR The + ID is meaningless"), "{refusal}");
}

#[test]
fn a_reader_gives_up_in_time() {
    let (mut server, a) = with_group(0);
    server.run(a, "XREADGROUP GROUP g alice BLOCK 30 STREAMS s >");
    server.advance(29);
    assert_eq!(server.output(a), b"");
    server.advance(1);
    assert_eq!(server.output(a), b"*-1\r\n");
}

#[test]
fn each_entry_goes_to_the_consumer_that_waits_longest() {
    let (mut server, a) = with_group(0);
    let (b, c) = (server.connect(Resp::V2), server.connect(Resp::V3));
    server.run(b, "XREADGROUP GROUP g bob BLOCK 0 STREAMS s >");
    server.run(c, "XREADGROUP GROUP g carol BLOCK 0 STREAMS s >");
    server.run(a, "XADD s 1-0 f v");
    assert!(server.output(b).starts_with(b"*1\r\n*2\r\n$1\r\ns\r\n"));
    assert_eq!(server.output(c), b"");
    server.run(a, "XADD s 2-0 f v");
    assert!(server.output(c).starts_with(b"%1\r\n$1\r\ns\r\n"));
    assert_replica_is_equal(&server);
}

#[test]
fn a_consumer_that_waits_learns_that_its_group_is_gone() {
    for (line, reply) in [
        ("DEL s", "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\r\n"),
        (
            "XGROUP DESTROY s g",
            "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\r\n",
        ),
        ("SET s v", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ] {
        let (mut server, a) = with_group(0);
        let (b, c) = (server.connect(Resp::V2), server.connect(Resp::V2));
        server.run(b, "XREADGROUP GROUP g bob BLOCK 0 STREAMS s >");
        server.run(c, "XREAD BLOCK 0 STREAMS s $");
        server.run(a, line);
        assert_eq!(String::from_utf8(server.output(b)).unwrap(), reply, "{line}");
        assert_eq!(server.output(c), b"", "{line}");
    }
}

#[test]
fn scripts_and_transactions_do_not_wait() {
    let (mut server, a) = with_group(0);
    server.run(a, "MULTI");
    server.run(a, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >");
    assert_eq!(server.run(a, "EXEC"), "*1\r\n*-1\r\n");
    let script = "return redis.call('XREAD', 'BLOCK', 0, 'STREAMS', 's', '$')";
    // Redis 7.2 refuses it, 7.4 does not wait.
    assert_eq!(server.send(a, &[b"EVAL", script.as_bytes(), b"0"]), b"$-1\r\n");
}

#[test]
fn consumer_groups_change_without_breaking_a_watch() {
    let (mut server, a) = with_group(1);
    let b = server.connect(Resp::V2);
    server.run(a, "WATCH s");
    server.run(b, "XREADGROUP GROUP g bob STREAMS s >");
    server.run(b, "XACK s g 1-0");
    server.run(a, "MULTI");
    assert_eq!(server.run(a, "EXEC"), "*0\r\n");
    server.run(a, "WATCH s");
    server.run(b, "XADD s 2-0 f v");
    server.run(a, "MULTI");
    assert_eq!(server.run(a, "EXEC"), "*-1\r\n");
}

#[test]
fn what_a_group_knows_is_held_back_until_it_is_released() {
    let (mut server, a) = with_group(1);
    let b = server.connect(Resp::V2);
    server.send_held(a, &[b"XREADGROUP", b"GROUP", b"g", b"alice", b"STREAMS", b"s", b">"]);
    server.send_held(b, &[b"XPENDING", b"s", b"g"]);
    assert_eq!((server.output(a), server.output(b)), (vec![], vec![]));
    server.release();
    assert!(!server.output(a).is_empty() && !server.output(b).is_empty());
}

#[test]
fn events_are_those_of_redis() {
    use crate::config::{Config, NotifyFlags};
    let notify_keyspace_events = NotifyFlags::ALL.union(NotifyFlags::KEYEVENT);
    let mut server = TestEngine::with_config(Config { notify_keyspace_events, ..Config::default() }, 1);
    let a = server.connect(Resp::V2);
    for (line, events) in [
        ("XADD s 1-0 f v", &["xadd s"][..]),
        ("XADD s MAXLEN 1 2-0 f v", &["xadd s", "xtrim s"]),
        ("XADD s 3-0 f v", &["xadd s"]),
        ("XTRIM s MAXLEN 5", &[]),
        ("XTRIM s MAXLEN 1", &["xtrim s"]),
        ("XGROUP CREATE s g 0", &["xgroup-create s"]),
        ("XREADGROUP GROUP g alice STREAMS s >", &["xgroup-createconsumer s"]),
        ("XACK s g 3-0", &[]),
        ("XGROUP SETID s g 0", &["xgroup-setid s"]),
        ("XGROUP CREATECONSUMER s g bob", &["xgroup-createconsumer s"]),
        ("XGROUP DELCONSUMER s g bob", &["xgroup-delconsumer s"]),
        ("XCLAIM s g carol 0 3-0", &["xgroup-createconsumer s"]),
        ("XSETID s 9-0", &["xsetid s"]),
        ("XDEL s 3-0 7-0", &["xdel s"]),
        ("XGROUP DESTROY s g", &["xgroup-destroy s"]),
    ] {
        assert_eq!(server.events_of(a, line), events, "{line}");
    }
}

#[test]
fn long_values_are_sent_from_where_they_are() {
    let (mut server, a) = server();
    let value = vec![b'x'; 100_000];
    server.send(a, &[b"XADD", b"s", b"1-0", b"field", &value, b"n", b"42"]);
    let reply = server.send(a, &[b"XRANGE", b"s", b"-", b"+"]);
    let expected = [
        b"*1\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$5\r\nfield\r\n$100000\r\n",
        &value[..],
        b"\r\n$1\r\nn\r\n$2\r\n42\r\n",
    ];
    assert!(reply == expected.concat());
}

/// Whatever clients do to streams and groups, applying the effects elsewhere leads to the same streams.
#[test]
fn effects_rebuild_streams_and_groups() {
    let mut pending = 0;
    for seed in 0..40 {
        let rng = Rng::new(seed);
        let (mut server, a) = server();
        server.engine.shared.config.stream_node_max_entries = 1 + rng.below(6);
        for _ in 0..400 {
            let command = property::stream::random_command(&rng);
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            server.send(a, &args);
            if server.engine.client(a).unwrap().state.blocked.is_some() {
                server.engine.unblock(a);
            }
            if rng.below(4) == 0 {
                server.advance(rng.below(30) as i64);
            }
        }
        assert_replica_is_equal(&server);
        pending += state(&server).iter().map(|(_, text)| text.matches("\n  ").count()).sum::<usize>();
    }
    assert!(pending > 100, "the commands are too tame: {pending} lines about groups");
}
