//! Clients of a node that does not lead, whose commands go to the one that does.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cairn_tests::golden::{Received, Reply};
use cairn_tests::nodes::{Node, TOKEN, free_addr};
use cairn_tests::server::Connection;

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A leader and a follower.
fn pair() -> (Node, Node) {
    let leader = Node::leader(&[]);
    let follower = Node::follower(leader.addr(), TOKEN, &[]);
    (leader, follower)
}

fn open(node: &Node) -> Connection {
    Connection::open(node.addr()).unwrap()
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// The reply to a command given as one line.
fn run(client: &mut Connection, line: &str) -> String {
    client.send(&words(line)).unwrap();
    client.reply(LIMIT).unwrap().to_string()
}

/// The text that a command answers with.
fn text(client: &mut Connection, line: &str) -> String {
    client.send(&words(line)).unwrap();
    match client.reply(LIMIT).unwrap() {
        Reply::Bulk(text) | Reply::Verbatim(_, text) => String::from_utf8(text).unwrap(),
        other => panic!("{line} answered {other}"),
    }
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn next(client: &mut Connection) -> String {
    client.reply(LIMIT).unwrap().to_string()
}

fn assert_closed(client: &mut Connection) {
    let received = client.receive(LIMIT).unwrap();
    assert!(matches!(received, Received::Closed), "{received:?}");
}

/// Polls until `done`, for at most [`LIMIT`].
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn info(client: &mut Connection, field: &str) -> usize {
    let info = text(client, "INFO clients");
    let prefix = format!("{field}:");
    let at = info.find(&prefix).unwrap() + prefix.len();
    info[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn what_a_follower_is_told_the_leader_keeps() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    assert_eq!(run(&mut here, "SET k v"), "+OK");
    assert_eq!(run(&mut there, "GET k"), "\"v\"");
    assert_eq!(run(&mut here, "GET k"), "\"v\"");
    assert_eq!(run(&mut here, "PING"), "+PONG");
    assert_eq!(
        run(&mut here, "LPUSH k x"),
        "-WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    // It has kept nothing for itself.
    assert_eq!(info(&mut there, "connected_clients"), 2);
}

#[test]
fn a_pipeline_is_answered_in_order_whoever_answers() {
    let (_leader, follower) = pair();
    let mut client = open(&follower);
    for i in 0..5000 {
        match i % 5 {
            0 => client.send(&words(&format!("SET k{i} v{i}"))).unwrap(),
            1 => client.send(&words(&format!("GET k{}", i - 1))).unwrap(),
            2 => client.send(&words(&format!("ECHO {i}"))).unwrap(),
            3 if i % 100 == 3 => client.send(&words("CONFIG GET port")).unwrap(),
            3 => client.send_raw(format!("INCRBY n {i}\r\n").as_bytes()).unwrap(),
            _ => client.send(&words("PING")).unwrap(),
        }
    }
    let mut sum = 0;
    for i in 0..5000 {
        let reply = client.reply(LIMIT).unwrap();
        match i % 5 {
            0 => assert_eq!(reply, Reply::Simple(b"OK".to_vec()), "{i}"),
            1 => assert_eq!(reply, bulk(&format!("v{}", i - 1))),
            2 => assert_eq!(reply, bulk(&i.to_string())),
            3 if i % 100 == 3 => {
                assert_eq!(
                    reply,
                    Reply::Array(vec![bulk("port"), bulk(&follower.addr().port().to_string())])
                );
            }
            3 => {
                sum += i;
                assert_eq!(reply, Reply::Integer(sum));
            }
            _ => assert_eq!(reply, Reply::Simple(b"PONG".to_vec()), "{i}"),
        }
    }
}

#[test]
fn values_of_any_size_pass() {
    let (_leader, follower) = pair();
    let mut client = open(&follower);
    let value: Vec<u8> = (0..64u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    client.send(&[b"SET".to_vec(), b"k".to_vec(), value.clone()]).unwrap();
    assert_eq!(next(&mut client), "+OK");
    for _ in 0..3 {
        client.send(&words("GET k")).unwrap();
    }
    for _ in 0..3 {
        assert!(client.reply(LIMIT).unwrap() == Reply::Bulk(value.clone()));
    }
}

#[test]
fn transactions_and_watches_are_the_leaders() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    assert_eq!(run(&mut here, "MULTI"), "+OK");
    assert_eq!(run(&mut here, "PING"), "+QUEUED", "what any node could answer waits as well");
    assert_eq!(run(&mut here, "SET k 1"), "+QUEUED");
    assert_eq!(run(&mut here, "EXEC"), "[+PONG, +OK]");
    assert_eq!(run(&mut here, "WATCH k"), "+OK");
    assert_eq!(run(&mut there, "SET k 2"), "+OK");
    assert_eq!(run(&mut here, "MULTI"), "+OK");
    assert_eq!(run(&mut here, "GET k"), "+QUEUED");
    here.send(&words("EXEC")).unwrap();
    assert!(matches!(here.reply(LIMIT).unwrap(), Reply::NilArray));
}

#[test]
fn a_blocked_client_is_served_times_out_and_may_go_away() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    here.send(&words("BLPOP l 0")).unwrap();
    here.send(&words("PING")).unwrap();
    eventually("blocked", || info(&mut there, "blocked_clients") == 1);
    assert_eq!(run(&mut there, "RPUSH l a"), "1");
    assert_eq!(next(&mut here), "[\"l\", \"a\"]");
    assert_eq!(next(&mut here), "+PONG");

    here.send(&words("BLPOP l 0.05")).unwrap();
    assert!(matches!(here.reply(LIMIT).unwrap(), Reply::NilArray));

    here.send(&words("BLPOP l 0")).unwrap();
    // Nothing but its own answer could follow at once; this has to wait here.
    here.send(&words("INFO")).unwrap();
    eventually("blocked", || info(&mut there, "blocked_clients") == 1);
    drop(here);
    eventually("gone", || info(&mut there, "connected_clients") == 1);
    assert_eq!(run(&mut there, "RPUSH l b"), "1", "nobody is there to take it");
    assert_eq!(run(&mut there, "LLEN l"), "1");
}

#[test]
fn subscribers_hear_through_another_node() {
    let (leader, follower) = pair();
    let (mut here, mut there, mut other) = (open(&follower), open(&leader), open(&follower));
    assert_eq!(run(&mut here, "SUBSCRIBE c"), "[\"subscribe\", \"c\", 1]");
    assert_eq!(run(&mut here, "PING"), "[\"pong\", \"\"]", "as a subscriber is answered");
    assert_eq!(run(&mut there, "PUBLISH c one"), "1");
    assert_eq!(run(&mut other, "PUBLISH c two"), "1");
    assert_eq!(next(&mut here), "[\"message\", \"c\", \"one\"]");
    assert_eq!(next(&mut here), "[\"message\", \"c\", \"two\"]");
    assert_eq!(run(&mut here, "UNSUBSCRIBE c"), "[\"unsubscribe\", \"c\", 0]");
    assert_eq!(run(&mut here, "PING"), "+PONG");
}

#[test]
fn the_sessions_state_goes_along_and_comes_back() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    // Before the leader is needed, and after.
    run(&mut here, "HELLO 3");
    assert_eq!(run(&mut here, "SELECT 2"), "+OK");
    assert_eq!(run(&mut here, "CLIENT SETNAME first"), "+OK");
    assert_eq!(run(&mut here, "CLIENT SETINFO LIB-NAME lib"), "+OK");
    assert_eq!(run(&mut here, "HSET h f v"), "1");
    assert_eq!(run(&mut here, "HGETALL h"), "{\"f\": \"v\"}");
    let list = text(&mut there, "CLIENT LIST");
    let line = list.lines().find(|line| line.contains("name=first")).expect("it is listed").to_owned();
    assert!(line.contains("db=2") && line.contains("resp=3") && line.contains("lib-name=lib"), "{line}");

    assert_eq!(run(&mut here, "SELECT 3"), "+OK");
    assert_eq!(run(&mut here, "CLIENT SETNAME second"), "+OK");
    assert_eq!(run(&mut here, "HGETALL h"), "{}");
    assert_eq!(run(&mut there, "SELECT 2"), "+OK");
    assert_eq!(run(&mut there, "EXISTS h"), "1");
    let list = text(&mut there, "CLIENT LIST");
    assert!(list.contains("name=second") && !list.contains("name=first"), "{list}");
    assert_eq!(run(&mut here, "CLIENT GETNAME"), "\"second\"");
    assert_eq!(run(&mut here, "RESET"), "+RESET");
    assert_eq!(run(&mut here, "CLIENT GETNAME"), "nil");
}

#[test]
fn a_client_has_one_number_and_its_own_address_everywhere() {
    let (leader, follower) = pair();
    let mut there = open(&leader);
    let mut clients: Vec<Connection> = (0..10).map(|_| open(&follower)).collect();
    let here = clients.last_mut().unwrap();
    let before = run(here, "CLIENT ID");
    run(here, "SET k v");
    assert_eq!(run(here, "CLIENT ID"), before);
    let own = text(here, "CLIENT INFO");
    let address = own.split(' ').find(|field| field.starts_with("addr=")).unwrap().to_owned();
    assert!(text(&mut there, "CLIENT LIST").contains(&address), "{own}");
}

#[test]
fn whoever_the_leader_kills_is_disconnected() {
    let (leader, follower) = pair();
    let (mut idle, mut busy, mut there) = (open(&follower), open(&follower), open(&leader));
    for (client, name) in [(&mut idle, "idle"), (&mut busy, "busy")] {
        run(client, "SET k v");
        run(client, &format!("CLIENT SETNAME {name}"));
    }
    busy.send(&words("BLPOP l 0")).unwrap();
    eventually("blocked", || info(&mut there, "blocked_clients") == 1);
    for (client, name) in [(&mut idle, "name=idle"), (&mut busy, "name=busy")] {
        let list = text(&mut there, "CLIENT LIST");
        let line = list.lines().find(|line| line.contains(name)).unwrap().to_owned();
        let id = line.split("id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        assert_eq!(run(&mut there, &format!("CLIENT KILL ID {id}")), "1");
        assert_closed(client);
    }
    eventually("gone", || info(&mut there, "connected_clients") == 1);
}

#[test]
fn silence_is_kept_across_nodes() {
    let (_leader, follower) = pair();
    let mut client = open(&follower);
    // Asked for here, kept there.
    client.send(&words("CLIENT REPLY SKIP")).unwrap();
    client.send(&words("SET k 1")).unwrap();
    assert_eq!(run(&mut client, "INCR k"), "2");
    client.send(&words("CLIENT REPLY OFF")).unwrap();
    client.send(&words("PING")).unwrap();
    client.send(&words("INCR k")).unwrap();
    client.send(&words("CONFIG GET port")).unwrap();
    assert_eq!(run(&mut client, "CLIENT REPLY ON"), "+OK");
    client.send(&words("CLIENT REPLY SKIP")).unwrap();
    client.send(&words("INCR k")).unwrap();
    assert_eq!(run(&mut client, "GET k"), "\"4\"");
}

#[test]
fn a_monitor_sees_what_the_leader_does() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    assert_eq!(run(&mut here, "MONITOR"), "+OK");
    run(&mut there, "SET k v");
    assert!(next(&mut here).ends_with("\"SET\" \"k\" \"v\""));
    assert_eq!(run(&mut here, "RESET"), "+RESET");
    assert_eq!(run(&mut here, "GET k"), "\"v\"");
}

#[test]
fn inline_commands_and_a_closed_input_are_answered() {
    let (_leader, follower) = pair();
    let mut client = TcpStream::connect(follower.addr()).unwrap();
    std::io::Write::write_all(
        &mut client,
        b"SET k \"a b\"\r\nGET k\r\nPING\r\nCONFIG GET nothing\r\nGET k\r\n",
    )
    .unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all, "+OK\r\n$3\r\na b\r\n+PONG\r\n*0\r\n$3\r\na b\r\n");
}

#[test]
fn a_broken_request_is_reported_after_the_answers_before_it() {
    let (_leader, follower) = pair();
    let mut client = open(&follower);
    client.send_raw(b"SET k v\r\nGET k\r\n*1\r\nbroken\r\n").unwrap();
    assert_eq!(next(&mut client), "+OK");
    assert_eq!(next(&mut client), "\"v\"");
    assert!(next(&mut client).contains("Protocol error: expected '$', got 'b'"));
    assert_closed(&mut client);
}

#[test]
fn a_slow_reader_is_no_burden_to_the_leader() {
    let (leader, follower) = pair();
    let (mut here, mut there) = (open(&follower), open(&leader));
    let value = vec![b'x'; 1 << 20];
    here.send(&[b"SET".to_vec(), b"k".to_vec(), value]).unwrap();
    assert_eq!(next(&mut here), "+OK");
    run(&mut here, "CLIENT SETNAME slow");
    const REPLIES: usize = 100;
    for _ in 0..REPLIES {
        here.send(&words("GET k")).unwrap();
    }
    // All is executed and has left the leader, though nobody reads.
    let mut line = String::new();
    eventually("drained", || {
        let list = text(&mut there, "CLIENT LIST");
        line = list.lines().find(|line| line.contains("name=slow")).unwrap().to_owned();
        line.contains(" oll=0 ") && text(&mut there, "INFO commandstats").contains("cmdstat_get:calls=100,")
    });
    for _ in 0..REPLIES {
        assert!(matches!(here.reply(LIMIT).unwrap(), Reply::Bulk(bytes) if bytes.len() == 1 << 20));
    }
}

#[test]
fn output_limits_hold_at_the_follower() {
    let leader = Node::leader(&[]);
    let limits = ["--client-output-buffer-limit", "normal 8mb 0 0"];
    let follower = Node::follower(leader.addr(), TOKEN, &limits);
    let (mut here, mut there) = (open(&follower), open(&leader));
    here.send(&[b"SET".to_vec(), b"k".to_vec(), vec![b'x'; 1 << 20]]).unwrap();
    assert_eq!(next(&mut here), "+OK");
    for _ in 0..200 {
        here.send(&words("GET k")).unwrap();
    }
    eventually("cut off", || info(&mut there, "connected_clients") == 1);
}

#[test]
fn a_lost_leader_ends_what_waits_for_it_and_nothing_else() {
    let (leader, follower) = pair();
    let addr = leader.addr();
    let mut idle = open(&follower);
    let (mut blocked, mut subscribed, mut multi, mut watching) =
        (open(&follower), open(&follower), open(&follower), open(&follower));
    run(&mut idle, "SELECT 5");
    run(&mut idle, "SET k v");
    run(&mut idle, "CLIENT SETNAME still");
    blocked.send(&words("BLPOP l 0")).unwrap();
    run(&mut subscribed, "SUBSCRIBE c");
    run(&mut multi, "MULTI");
    run(&mut watching, "WATCH k");
    let mut there = open(&leader);
    eventually("blocked", || info(&mut there, "blocked_clients") == 1);
    drop(leader);
    for client in [&mut blocked, &mut subscribed, &mut multi, &mut watching] {
        assert_closed(client);
    }
    assert_eq!(run(&mut idle, "PING"), "+PONG");
    assert_eq!(run(&mut idle, "CLIENT GETNAME"), "\"still\"");
    let asked = Instant::now();
    for _ in 0..100 {
        idle.send(&words("GET k")).unwrap();
    }
    for _ in 0..100 {
        assert_eq!(next(&mut idle), "-CLUSTERDOWN The cluster is down");
    }
    let waited = asked.elapsed();
    assert!((3.0..4.0).contains(&waited.as_secs_f64()), "two node time-outs and a second: {waited:?}");

    // It comes back, empty, while a request waits.
    let mut late = open(&follower);
    late.send(&words("SET late 1")).unwrap();
    assert!(matches!(late.receive(SHORT).unwrap(), Received::Nothing));
    let back = Node::leader_at(addr);
    assert_eq!(next(&mut late), "+OK");
    eventually("accepted again", || run(&mut idle, "SET k new") == "+OK");
    let mut there = open(&back);
    run(&mut there, "SELECT 5");
    assert_eq!(run(&mut there, "GET k"), "\"new\"", "the session goes on in its database");
    assert!(text(&mut there, "CLIENT LIST").contains("name=still"));
}

#[test]
fn without_a_leader_only_what_needs_one_is_refused() {
    let follower = Node::leaderless();
    let mut client = open(&follower);
    assert_eq!(run(&mut client, "PING"), "+PONG");
    let asked = Instant::now();
    assert_eq!(run(&mut client, "GET k"), "-CLUSTERDOWN The cluster is down");
    assert!(asked.elapsed() < Duration::from_secs(4));
    assert_eq!(run(&mut client, "PING"), "+PONG");
}

#[test]
fn a_wrong_token_is_as_good_as_no_session() {
    let leader = Node::leader(&[]);
    let follower = Node::follower(leader.addr(), *b"fedcba9876543210", &[]);
    let mut here = open(&follower);
    assert_eq!(run(&mut here, "GET k"), "-CLUSTERDOWN The cluster is down");
    let mut there = open(&leader);
    let refused = run(&mut there, "CLUSTER SESSION fedcba9876543210 x");
    let unknown = run(&mut there, "CLUSTER SESSIOM fedcba9876543210 x");
    assert_eq!(refused.replace("SESSION", "SESSIOM"), unknown);
    assert_eq!(run(&mut there, "PING"), "+PONG", "nor is it disconnected");
}

#[test]
fn what_was_forwarded_is_not_forwarded_again() {
    // Each takes the other for the leader.
    let (one, two) = (free_addr(), free_addr());
    let (first, _second) = (Node::follower_at(one, two), Node::follower_at(two, one));
    let mut client = open(&first);
    assert_eq!(run(&mut client, "GET k"), "-CLUSTERDOWN The cluster is down");
}

#[test]
fn clients_may_be_redirected_instead() {
    let leader = Node::leader(&[]);
    let follower = Node::follower(leader.addr(), TOKEN, &["--cluster-redirect", "moved"]);
    let mut client = open(&follower);
    let port = leader.addr().port();
    assert_eq!(run(&mut client, "GET foo"), format!("-MOVED 12182 127.0.0.1:{port}"));
    assert_eq!(run(&mut client, "MULTI"), "+OK");
    assert_eq!(run(&mut client, "SET foo bar"), format!("-MOVED 12182 127.0.0.1:{port}"));
    assert_eq!(run(&mut client, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert!(matches!(client.receive(SHORT).unwrap(), Received::Nothing));
}
