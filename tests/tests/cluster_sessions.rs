//! Clients of any node while the leadership moves: whose connection goes on, whose ends, and what each of them is told; and
//! what a node may do by itself for a client.

use std::process::Command;
use std::time::{Duration, Instant};

use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::golden::{Received, Reply};
use cairn_tests::server::Connection;

const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// Three nodes, and which of them leads.
fn start(flags: &[&str]) -> (Cluster, usize) {
    let mut cluster = Cluster::start(&Plan { flags, ..Plan::default() }).unwrap();
    let leader = cluster.await_leader(SETTLE_LIMIT).unwrap();
    (cluster, leader)
}

/// The other two nodes.
fn followers(leader: usize) -> [usize; 2] {
    [(leader + 1) % 3, (leader + 2) % 3]
}

fn open(cluster: &Cluster, node: usize) -> Connection {
    cluster.directory().connect(node, LIMIT).unwrap()
}

fn send(client: &mut Connection, line: &str) {
    let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    client.send(&words).unwrap();
}

fn next(client: &mut Connection) -> String {
    client.reply(LIMIT).unwrap().to_string()
}

/// The reply to a command given as one line.
fn run(client: &mut Connection, line: &str) -> String {
    send(client, line);
    client.reply(LIMIT).unwrap_or_else(|error| panic!("{line}: {error:#}")).to_string()
}

/// The same, again and again while a busy machine's cluster finds no leader in time. Only for what may be done twice.
fn run_patiently(client: &mut Connection, line: &str) -> String {
    let mut reply = String::new();
    eventually(line, || {
        reply = run(client, line);
        !reply.starts_with("-CLUSTERDOWN")
    });
    reply
}

/// The text that a command answers with.
fn text(client: &mut Connection, line: &str) -> String {
    send(client, line);
    match client.reply(LIMIT).unwrap() {
        Reply::Bulk(text) | Reply::Verbatim(_, text) => String::from_utf8(text).unwrap(),
        other => panic!("{line} answered {other}"),
    }
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
        std::thread::sleep(POLL);
    }
}

/// How often a node has executed a command for clients.
fn calls(node: &mut Connection, command: &str) -> u64 {
    let info = text(node, "INFO commandstats");
    let prefix = format!("cmdstat_{command}:calls=");
    let Some(at) = info.find(&prefix) else { return 0 };
    let digits = info[at + prefix.len()..].chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

fn await_blocked(cluster: &mut Cluster, leader: usize, count: usize) {
    let count = count.to_string();
    cluster
        .wait("a blocked client", LIMIT, |cluster| {
            let fields = cluster.info(leader, "clients").ok()?;
            fields.get("blocked_clients").is_some_and(|blocked| *blocked == count).then_some(())
        })
        .unwrap();
}

/// `FAILOVER` to a node, which takes writes when this returns.
fn hand_over(cluster: &mut Cluster, from: usize, to: usize) {
    let port = cluster.nodes[to].addr.port().to_string();
    // Refused while the other node has not been heard of, as just after the start.
    cluster
        .wait("FAILOVER to be accepted", SETTLE_LIMIT, |cluster| {
            let asked = cluster.ask(from, &["FAILOVER", "TO", "127.0.0.1", &port]).ok()?;
            (asked.to_string() == "+OK").then_some(())
        })
        .unwrap();
    await_leadership(cluster, to);
}

fn await_leadership(cluster: &mut Cluster, node: usize) {
    let leads = |cluster: &Cluster| (cluster.leader() == Some(node)).then_some(());
    cluster.wait("the other leader", SETTLE_LIMIT, leads).unwrap();
    assert_eq!(cluster.await_leader(SETTLE_LIMIT).unwrap(), node);
}

/// kill -9 of the leader; the one that takes over.
fn kill(cluster: &mut Cluster, leader: usize) -> usize {
    cluster.nodes[leader].kill();
    cluster.await_leader(SETTLE_LIMIT).unwrap()
}

#[test]
fn an_idle_client_goes_on_whoever_leads() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    // One that is at the leader already, one that is connected to it, and one that has never needed it.
    let mut clients = [open(&cluster, third), open(&cluster, second), open(&cluster, leader)];
    let mut fresh = open(&cluster, third);
    let mut ids = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        run(client, "HELLO 3");
        assert_eq!(run(client, "SELECT 3"), "+OK");
        assert_eq!(run(client, &format!("CLIENT SETNAME client{n}")), "+OK");
        assert_eq!(run(client, &format!("HSET h{n} f v")), "1");
        ids.push(run(client, "CLIENT ID"));
    }
    assert_eq!(run(&mut fresh, "SELECT 3"), "+OK");

    let goes_on = |cluster: &Cluster, leader: usize, n: usize, client: &mut Connection| {
        assert_eq!(run_patiently(client, &format!("HGETALL h{n}")), "{\"f\": \"v\"}", "client {n}");
        assert_eq!(run(client, "CLIENT GETNAME"), format!("\"client{n}\""));
        assert_eq!(run(client, "CLIENT ID"), ids[n]);
        let list = text(&mut open(cluster, leader), "CLIENT LIST");
        let line =
            list.lines().find(|line| line.contains(&format!("name=client{n} "))).expect("it is listed");
        assert!(line.contains(" db=3 ") && line.contains(" resp=3"), "{line}");
    };

    hand_over(&mut cluster, leader, second);
    for (n, client) in clients.iter_mut().enumerate() {
        goes_on(&cluster, second, n, client);
    }
    assert_eq!(run(&mut fresh, "HGET h0 f"), "\"v\"");

    // Who was connected to the dead leader itself is disconnected; the others have to notice nothing.
    let last = kill(&mut cluster, second);
    assert_closed(&mut clients[1]);
    for n in [0, 2] {
        goes_on(&cluster, last, n, &mut clients[n]);
    }
    assert_eq!(run_patiently(&mut fresh, "HGET h2 f"), "\"v\"");
}

#[test]
fn a_new_leader_answers_its_own_clients_itself() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    let mut client = open(&cluster, second);
    run(&mut client, "SELECT 3");
    run(&mut client, "CLIENT SETNAME mine");
    assert_eq!(run(&mut client, "SET k v"), "+OK");
    let own = text(&mut client, "CLIENT INFO");
    hand_over(&mut cluster, leader, second);

    let mut there = open(&cluster, second);
    let before = calls(&mut there, "strlen");
    assert_eq!(run(&mut client, "STRLEN k"), "1");
    assert_eq!(calls(&mut there, "strlen"), before + 1);
    let address = own.split(' ').find(|field| field.starts_with("addr=")).unwrap();
    let list = text(&mut there, "CLIENT LIST");
    let lines: Vec<&str> = list.lines().filter(|line| line.contains("name=mine")).collect();
    assert!(lines.len() == 1 && lines[0].contains(address) && lines[0].contains(" db=3 "), "{list}");
    // The old leader keeps nothing of it.
    eventually("gone", || !text(&mut open(&cluster, leader), "CLIENT LIST").contains("name=mine"));

    // And back to somebody else: the same connection is at another node again.
    hand_over(&mut cluster, second, third);
    assert_eq!(run(&mut client, "STRLEN k"), "1");
    assert!(text(&mut open(&cluster, third), "CLIENT LIST").contains("name=mine"));
}

#[test]
fn an_outstanding_write_ends_the_connection_and_is_done_once_or_never() {
    let (mut cluster, leader) = start(&[]);
    let [node, _] = followers(leader);
    let mut single = open(&cluster, node);
    assert_eq!(run(&mut single, "RPUSH single first"), "1");
    let mut pipeline = open(&cluster, node);
    assert_eq!(run(&mut pipeline, "RPUSH many 0"), "1");

    const MANY: usize = 20_000;
    let written = std::thread::scope(|scope| {
        // The leader dies somewhere in the middle of it.
        let reader = scope.spawn(|| {
            let batch: String = (1..=100).map(|_| "RPUSH many x\r\n").collect();
            let (mut answered, mut sent) = (0, 0);
            while sent < MANY {
                pipeline.send_raw(batch.as_bytes()).unwrap();
                sent += 100;
                // One round is always under way.
                for _ in 0..if sent > 100 { 100 } else { 0 } {
                    match pipeline.receive(LIMIT).unwrap() {
                        Received::Reply(reply) => {
                            answered += 1;
                            assert_eq!(reply, Reply::Integer(answered + 1), "each of them once and in order");
                        }
                        Received::Closed => return answered,
                        Received::Nothing => panic!("neither an answer nor the end"),
                    }
                }
            }
            panic!("all was written before the leader was killed");
        });
        eventually(
            "under way",
            || matches!(cluster.ask(leader, &["LLEN", "many"]), Ok(Reply::Integer(n)) if n > 1000),
        );
        cluster.nodes[leader].pause();
        send(&mut single, "RPUSH single second");
        // Nothing can come before the leader is dead, or replaced.
        assert!(matches!(single.receive(Duration::from_millis(50)).unwrap(), Received::Nothing));
        cluster.nodes[leader].kill();
        assert_closed(&mut single);
        reader.join().unwrap()
    });

    cluster.await_leader(SETTLE_LIMIT).unwrap();
    let mut client = open(&cluster, node);
    // The leader was stopped before it could read it.
    assert_eq!(run_patiently(&mut client, "LRANGE single 0 -1"), "[\"first\"]");
    send(&mut client, "LLEN many");
    let Reply::Integer(kept) = client.reply(LIMIT).unwrap() else { panic!("a length") };
    assert!(kept > written, "{kept} kept, {written} beside the first acknowledged");
    cluster.await_equal_digests(SETTLE_LIMIT).unwrap();
}

#[test]
fn who_waits_for_an_element_is_told_to_ask_again() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    let mut waiting = [open(&cluster, third), open(&cluster, second), open(&cluster, leader)];
    for client in &mut waiting {
        send(client, "BLPOP l 0");
    }
    await_blocked(&mut cluster, leader, 3);
    hand_over(&mut cluster, leader, second);
    for client in &mut waiting {
        match client.receive(LIMIT).unwrap() {
            Received::Closed => {}
            Received::Reply(Reply::Error(text)) => {
                assert!(text.starts_with(b"UNBLOCKED "), "{}", text.escape_ascii())
            }
            other => panic!("{other:?}"),
        }
    }
    let mut again = open(&cluster, third);
    send(&mut again, "BLPOP l 0");
    await_blocked(&mut cluster, second, 1);
    assert_eq!(run(&mut open(&cluster, leader), "RPUSH l a b"), "2");
    assert_eq!(next(&mut again), "[\"l\", \"a\"]");
    assert_eq!(run(&mut again, "LRANGE l 0 -1"), "[\"b\"]", "none of the first three took anything");
}

#[test]
fn subscribers_are_told_to_subscribe_again() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    for change in 0..2 {
        let from = if change == 0 { leader } else { second };
        let mut before: Vec<Connection> = cluster
            .awake()
            .filter(|&node| change == 0 || node != from)
            .map(|node| open(&cluster, node))
            .collect();
        for client in &mut before {
            assert_eq!(run(client, "SUBSCRIBE c"), "[\"subscribe\", \"c\", 1]");
        }
        if change == 0 {
            hand_over(&mut cluster, leader, second);
        } else {
            kill(&mut cluster, second);
        }
        // Silence would be a lie: messages are heard by whoever leads now.
        before.iter_mut().for_each(assert_closed);

        let nodes: Vec<usize> = cluster.awake().collect();
        let mut after: Vec<Connection> = nodes.iter().map(|&node| open(&cluster, node)).collect();
        for client in &mut after {
            assert_eq!(run_patiently(client, "SUBSCRIBE c"), "[\"subscribe\", \"c\", 1]");
        }
        for &node in &nodes {
            let message = format!("from-{node}");
            let heard = run_patiently(&mut open(&cluster, node), &format!("PUBLISH c {message}"));
            assert_eq!(heard, nodes.len().to_string());
            for client in &mut after {
                assert_eq!(next(client), format!("[\"message\", \"c\", \"{message}\"]"));
            }
        }
    }
    assert!(cluster.nodes[third].is_awake());
}

#[test]
fn readonly_clients_read_where_they_are_and_change_nothing() {
    let (cluster, leader) = start(&[]);
    let [node, _] = followers(leader);
    let (mut here, mut there) = (open(&cluster, node), open(&cluster, leader));
    let mut probe = open(&cluster, node);
    assert_eq!(run(&mut there, "SELECT 3"), "+OK");
    assert_eq!(run(&mut there, "SET k v"), "+OK");
    assert_eq!(run(&mut here, "READONLY"), "+OK");
    assert_eq!(run(&mut here, "SELECT 3"), "+OK");
    eventually("replicated", || run(&mut here, "GET k") == "\"v\"");
    let (there_before, here_before) = (calls(&mut there, "strlen"), calls(&mut probe, "strlen"));
    assert_eq!(run(&mut here, "STRLEN k"), "1");

    // With a session at the leader, which writes and transactions need, reads are this node's all the same.
    assert_eq!(run(&mut here, "SET own 1"), "+OK");
    eventually("read here", || run(&mut here, "GET own") == "\"1\"");
    assert_eq!(run(&mut here, "STRLEN k"), "1");
    assert_eq!(run(&mut here, "SELECT 4"), "+OK");
    assert_eq!(run(&mut here, "STRLEN k"), "0", "in the session's database");
    assert_eq!(run(&mut here, "SELECT 3"), "+OK");
    assert_eq!(calls(&mut probe, "strlen"), here_before + 3);
    assert_eq!(calls(&mut there, "strlen"), there_before);
    // In one pipeline replies keep their order, whoever gives them.
    here.send_raw(b"INCR n\r\nSTRLEN k\r\nINCR n\r\nSTRLEN k\r\nPING\r\n").unwrap();
    let replies: Vec<String> = (0..5).map(|_| next(&mut here)).collect();
    assert_eq!(replies, ["1", "1", "2", "1", "+PONG"]);
    assert_eq!(run(&mut here, "MULTI"), "+OK");
    assert_eq!(run(&mut here, "STRLEN k"), "+QUEUED");
    assert_eq!(run(&mut here, "EXEC"), "[1]");
    assert_eq!(calls(&mut there, "strlen"), there_before + 1, "with the transaction");
    assert_eq!(run(&mut here, "READWRITE"), "+OK");
    assert_eq!(run(&mut here, "STRLEN k"), "1");
    assert_eq!(calls(&mut there, "strlen"), there_before + 2, "what is true, not what was");
    assert_eq!(run(&mut here, "READONLY"), "+OK");
    assert_eq!(run(&mut here, "RESET"), "+RESET");
    assert_eq!(run(&mut here, "STRLEN k"), "0");
    assert_eq!(calls(&mut there, "strlen"), there_before + 3, "RESET ends READONLY");
}

#[test]
fn an_expired_key_is_hidden_by_a_follower_and_deleted_by_the_leader() {
    let (mut cluster, leader) = start(&[]);
    let [node, _] = followers(leader);
    let (mut here, mut there) = (open(&cluster, node), open(&cluster, leader));
    assert_eq!(run(&mut there, "DEBUG SET-ACTIVE-EXPIRE 0"), "+OK");
    assert_eq!(run(&mut there, "FLUSHALL"), "+OK");
    assert_eq!(run(&mut there, "SET e v PX 200"), "+OK");
    assert_eq!(run(&mut here, "READONLY"), "+OK");
    let level = |cluster: &mut Cluster| cluster.await_level(SETTLE_LIMIT).unwrap();
    level(&mut cluster);
    assert_eq!(run(&mut here, "DBSIZE"), "1");
    eventually("hidden", || run(&mut here, "GET e") == "nil");
    assert_eq!(run(&mut here, "EXISTS e"), "0");
    assert_eq!(run(&mut here, "TTL e"), "-2");
    let index = level(&mut cluster);
    assert_eq!(run(&mut here, "DBSIZE"), "1", "it is not this node's to delete");
    assert_eq!(level(&mut cluster), index, "nothing was written");
    assert_eq!(run(&mut there, "GET e"), "nil");
    assert_eq!(run(&mut there, "DBSIZE"), "0");
    eventually("deleted", || run(&mut here, "DBSIZE") == "0");
    cluster.await_equal_digests(SETTLE_LIMIT).unwrap();
}

#[test]
fn every_node_tells_its_clients_who_leads() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    let mut clients: Vec<Connection> = (0..3).map(|node| open(&cluster, node)).collect();
    // One of them has a session at the leader.
    assert_eq!(run(&mut clients[third], "SET k v"), "+OK");
    for client in &mut clients {
        assert_eq!(run(client, "SUBSCRIBE +switch-master"), "[\"subscribe\", \"+switch-master\", 1]");
    }
    let mut from = leader;
    for to in [second, third, leader] {
        hand_over(&mut cluster, from, to);
        let ports = (cluster.nodes[from].addr.port(), cluster.nodes[to].addr.port());
        let told = format!("mymaster 127.0.0.1 {} 127.0.0.1 {}", ports.0, ports.1);
        for client in &mut clients {
            assert_eq!(next(client), format!("[\"message\", \"+switch-master\", \"{told}\"]"));
        }
        from = to;
    }
    let last = kill(&mut cluster, leader);
    let ports = (cluster.nodes[leader].addr.port(), cluster.nodes[last].addr.port());
    for node in [second, third] {
        let told = format!("mymaster 127.0.0.1 {} 127.0.0.1 {}", ports.0, ports.1);
        assert_eq!(next(&mut clients[node]), format!("[\"message\", \"+switch-master\", \"{told}\"]"));
    }
}

#[test]
fn redis_cli_follows_redirections() {
    let (mut cluster, leader) = start(&["--cluster-redirect", "moved"]);
    let [second, third] = followers(leader);
    let cli = |cluster: &Cluster, node: usize, line: &str| {
        let port = cluster.nodes[node].addr.port().to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-c", "-h", "127.0.0.1", "-p", &port]).args(line.split(' '));
        let output =
            command.output().expect("redis-cli comes with redis-server: apt-get install redis-tools");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (n, node) in [leader, second, third].into_iter().enumerate() {
        assert_eq!(cli(&cluster, node, &format!("SET k{n} v{n}")), "OK");
    }
    hand_over(&mut cluster, leader, second);
    for node in [leader, second, third] {
        for n in 0..3 {
            assert_eq!(cli(&cluster, node, &format!("GET k{n}")), format!("v{n}"));
        }
    }
    let mut plain = open(&cluster, third);
    let port = cluster.nodes[second].addr.port();
    assert_eq!(run(&mut plain, "GET foo"), format!("-MOVED 12182 127.0.0.1:{port}"));
}

#[test]
fn a_node_that_reloads_its_data_stays_in_the_group() {
    let (mut cluster, leader) = start(&[]);
    let [second, third] = followers(leader);
    assert_eq!(run(&mut open(&cluster, leader), "RPUSH l a b c"), "3");
    for node in [second, leader] {
        let mut client = open(&cluster, node);
        // With a snapshot it would have to wait for the log.
        assert!(run(&mut client, "DEBUG RELOAD").starts_with("-ERR "));
        assert_eq!(run(&mut client, "DEBUG RELOAD NOSAVE"), "+OK");
        assert_eq!(run_patiently(&mut open(&cluster, third), "SET k v"), "+OK");
        cluster.await_equal_digests(SETTLE_LIMIT).unwrap();
    }
}
