use cairn_proto::Resp;

use crate::testing::TestEngine;

const OK: &str = "+OK\r\n";

fn invalidate(keys: &[&str]) -> String {
    let keys: String =
        keys.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect::<Vec<_>>().concat();
    format!(">2\r\n$10\r\ninvalidate\r\n*{}\r\n{keys}", keys.matches('$').count())
}

const ALL_INVALID: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn heard(server: &mut TestEngine, slot: usize) -> String {
    String::from_utf8(server.output(slot)).unwrap()
}

#[test]
fn a_reader_hears_once_that_a_key_has_changed_and_only_when_that_is_released() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(b, "SET k v");
    assert_eq!(server.run(a, "CLIENT TRACKING ON"), OK);
    server.run(a, "GET k");
    server.send_held(b, &[b"SET", b"k", b"w"]);
    assert_eq!(heard(&mut server, a), "", "it could be taken back");
    server.release();
    assert_eq!(heard(&mut server, a), invalidate(&["k"]));
    server.run(b, "SET k x");
    assert_eq!(heard(&mut server, a), "", "it has not read the key since");
    server.run(a, "CLIENT TRACKING OFF");
    server.run(a, "GET k");
    server.run(b, "SET k y");
    assert_eq!(heard(&mut server, a), "");
    assert_eq!(server.engine.shared.tracking.keys(), 0);
}

#[test]
fn the_clients_own_changes_follow_its_reply() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V3);
    server.run(a, "CLIENT TRACKING ON");
    server.run(a, "MGET k l");
    assert_eq!(server.run(a, "SET k v"), format!("{OK}{}", invalidate(&["k"])));
    server.run(a, "GET k");
    server.run(a, "MULTI");
    server.run(a, "SET k w");
    server.run(a, "SET l w");
    assert_eq!(
        server.run(a, "EXEC"),
        format!("*2\r\n{OK}{OK}{}{}", invalidate(&["k"]), invalidate(&["l"])),
        "not inside of the transaction's reply"
    );
    server.run(a, "GET k");
    assert_eq!(server.run(a, "FLUSHDB"), format!("{OK}{ALL_INVALID}"));
    server.run(a, "CLIENT TRACKING ON NOLOOP");
    server.run(a, "GET k");
    assert_eq!(server.run(a, "SET k v"), OK);
    server.run(a, "SET k v PX 10");
    server.run(a, "GET k");
    server.now_ms += 10;
    assert_eq!(
        server.run(a, "GET k"),
        format!("_\r\n{}", invalidate(&["k"])),
        "it has not let the key expire itself"
    );
}

#[test]
fn whoever_reads_in_scripts_reads_and_scripts_alone_read_nothing() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(a, "CLIENT TRACKING ON");
    server.send(a, &[b"EVAL", b"return redis.call('get', KEYS[1])", b"2", b"read", b"declared"]);
    server.send(a, &[b"EVAL_RO", b"return 1", b"1", b"declared"]);
    server.run(b, "MSET read 1 declared 1");
    assert_eq!(heard(&mut server, a), invalidate(&["read"]));
}

#[test]
fn opting_in_and_out_is_for_one_command_or_transaction() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(a, "CLIENT TRACKING ON OPTIN");
    server.run(a, "GET k1");
    server.run(a, "CLIENT CACHING YES");
    server.run(a, "CLIENT GETNAME");
    server.run(a, "GET k2");
    server.run(a, "GET k3");
    server.run(a, "CLIENT CACHING YES");
    server.run(a, "MULTI");
    server.run(a, "GET k4");
    server.run(a, "GET k5");
    server.run(a, "EXEC");
    server.run(a, "GET k6");
    server.run(b, "MSET k1 1 k2 1 k3 1 k4 1 k5 1 k6 1");
    let expected = [invalidate(&["k2"]), invalidate(&["k4"]), invalidate(&["k5"])].concat();
    assert_eq!(heard(&mut server, a), expected);
    server.run(a, "CLIENT TRACKING OFF");
    server.run(a, "CLIENT TRACKING ON OPTOUT");
    server.run(a, "GET k1");
    server.run(a, "CLIENT CACHING NO");
    server.run(a, "GET k2");
    server.run(b, "MSET k1 1 k2 1");
    assert_eq!(heard(&mut server, a), invalidate(&["k1"]));
}

#[test]
fn broadcasts_are_of_prefixes_and_of_a_whole_unit() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(a, "CLIENT TRACKING ON BCAST PREFIX a: PREFIX b: NOLOOP");
    server.run(b, "MULTI");
    for key in ["b:2", "a:1", "c:1", "a:2"] {
        server.run(b, &format!("INCR {key}"));
    }
    server.run(b, "EXEC");
    assert_eq!(heard(&mut server, a), [invalidate(&["a:1", "a:2"]), invalidate(&["b:2"])].concat());
    assert_eq!(server.run(a, "INCR a:1"), ":2\r\n", "its own change");
    server.run(b, "SET a:1 v PX 10");
    heard(&mut server, a);
    server.advance(20);
    server.release();
    assert_eq!(heard(&mut server, a), invalidate(&["a:1"]), "nobody's change");
    assert_eq!(server.engine.shared.tracking.prefixes(), 2);
    server.engine.disconnect(a);
    assert_eq!(server.engine.shared.tracking.prefixes(), 0);
    assert_eq!(server.engine.shared.tracking.clients(), 0);
}

#[test]
fn messages_go_where_they_are_redirected_as_long_as_somebody_is_there() {
    let mut server = TestEngine::new();
    let (a, b, c) = (server.connect(Resp::V2), server.connect(Resp::V2), server.connect(Resp::V2));
    let id = server.engine.client(b).unwrap().state.id;
    assert_eq!(server.run(a, &format!("CLIENT TRACKING ON REDIRECT {id}")), OK);
    assert_eq!(server.run(a, "CLIENT GETREDIR"), format!(":{id}\r\n"));
    server.run(a, "GET k");
    server.run(c, "SET k 1");
    assert_eq!(heard(&mut server, b), "", "it is not listening");
    server.run(b, "SUBSCRIBE __redis__:invalidate");
    server.run(a, "GET k");
    server.run(c, "SET k 1");
    let message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
    assert_eq!(heard(&mut server, b), format!("{message}*1\r\n$1\r\nk\r\n"));
    server.run(c, "FLUSHALL");
    assert_eq!(heard(&mut server, b), format!("{message}$-1\r\n"));
    server.run(a, "HELLO 3");
    server.run(a, "GET k");
    server.engine.disconnect(b);
    server.run(c, "SET k 1");
    assert_eq!(heard(&mut server, a), format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
    assert!(server.run(a, "CLIENT TRACKINGINFO").contains("broken_redirect"));
    assert!(server.run(a, "CLIENT INFO").contains(&format!(" redir={id} ")));
    assert!(server.run(a, "CLIENT INFO").contains(" flags=tR "));
    server.run(a, "RESET");
    assert!(server.run(a, "CLIENT INFO").contains(" redir=-1 "));
}

#[test]
fn what_the_limit_and_eviction_take_is_told_before_the_reply() {
    let mut server = TestEngine::new();
    let (a, b) = (server.connect(Resp::V3), server.connect(Resp::V2));
    server.run(a, "CLIENT TRACKING ON");
    server.run(a, "MGET k1 k2");
    server.run(b, "CONFIG SET tracking-table-max-keys 1");
    let reply = server.run(a, "MULTI");
    assert!([invalidate(&["k1"]) + OK, invalidate(&["k2"]) + OK].contains(&reply), "{reply}");
    assert_eq!(server.engine.shared.tracking.keys(), 1);
    server.run(a, "DISCARD");
    server.run(b, "CONFIG SET tracking-table-max-keys 10");
    server.run(b, "CONFIG SET maxmemory-policy allkeys-random");
    server.run(b, "SET k v");
    server.run(a, "GET k");
    server.host.used_memory = 200;
    server.run(b, "CONFIG SET maxmemory 100");
    let reply = server.run(a, "GET k");
    assert_eq!(reply, format!("{}_\r\n", invalidate(&["k"])));
}

#[test]
fn a_table_that_is_far_too_full_is_emptied_with_growing_steps() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V3);
    server.run(a, "CLIENT TRACKING ON");
    for i in 0..250 {
        server.run(a, &format!("GET k{i}"));
    }
    assert_eq!(server.engine.shared.tracking.items(), 250);
    server.run(a, "CONFIG SET tracking-table-max-keys 1");
    let mut messages = 0;
    for left in [150, 1, 1] {
        messages += server.run(a, "PING").matches("invalidate").count();
        assert_eq!(server.engine.shared.tracking.keys(), left);
    }
    assert_eq!(messages, 249);
}

#[test]
fn a_deposed_leader_leaves_nobody_with_a_stale_cache() {
    let mut server = TestEngine::new();
    let a = server.connect(Resp::V3);
    server.run(a, "CLIENT TRACKING ON");
    server.run(a, "GET k");
    server.engine.follow();
    server.engine.release_clients();
    assert!(server.engine.client(a).unwrap().state.closing());
}
