//! Users and functions are part of a cluster's state: changed by way of any node, the same on all, and as durable as keys.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::golden::{Received, Reply};
use cairn_tests::server::Connection;

const LIMIT: Duration = Duration::from_secs(20);

const ACL_FILE: &str = "users.acl";
/// What the nodes begin with.
const FIRST_USERS: &str =
    "user default on nopass sanitize-payload ~* &* +@all\nuser filed on >f ~* &* +@all\n";
const FLAGS: &[&str] =
    &["--aclfile", ACL_FILE, "--appendfsync", "no", "--log-segment-size", "1mb", "--log-retention-size", "0"];

const LIBRARY: &str = "#!lua name=counter
    server.register_function('count', function(keys) return server.call('INCR', keys[1]) end)";

fn start() -> Cluster {
    Cluster::start(&Plan { flags: FLAGS, files: &[(ACL_FILE, FIRST_USERS)], ..Plan::default() }).unwrap()
}

/// The reply to a command given as one line.
fn run(client: &mut Connection, line: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    Ok(client.call(&words, LIMIT).with_context(|| line.to_owned())?.to_string())
}

fn expect(client: &mut Connection, line: &str, expected: &str) -> anyhow::Result<()> {
    let reply = run(client, line)?;
    ensure!(reply.starts_with(expected), "{line}: {reply} in place of {expected}");
    Ok(())
}

fn open(cluster: &Cluster, node: usize) -> anyhow::Result<Connection> {
    cluster.directory().connect(node, LIMIT)
}

/// Names with passwords that log in, and some that do not, on each node once it has heard of the last change.
fn expect_users(cluster: &mut Cluster, known: &[&str], unknown: &[&str]) -> anyhow::Result<()> {
    cluster.await_alike(LIMIT)?;
    for node in 0..3 {
        for login in known {
            expect(&mut open(cluster, node)?, &format!("AUTH {login}"), "+OK")
                .with_context(|| format!("node {node}"))?;
        }
        for login in unknown {
            expect(&mut open(cluster, node)?, &format!("AUTH {login}"), "-WRONGPASS")
                .with_context(|| format!("node {node}"))?;
        }
        // Permissions count at every node, also for what is passed on.
        let mut alice = open(cluster, node)?;
        expect(&mut alice, "AUTH alice pw", "+OK")?;
        expect(&mut alice, "SET b 1", "-NOPERM")?;
        expect(&mut alice, "GET b", "nil")?;
        expect(&mut alice, "SET a 1", "+OK")?;
        expect(&mut alice, "FLUSHALL", "-NOPERM")?;
    }
    Ok(())
}

/// The function counts on by way of each node.
fn expect_count(cluster: &mut Cluster, count: &mut usize) -> anyhow::Result<()> {
    for node in 0..3 {
        *count += 1;
        expect(&mut open(cluster, node)?, "FCALL count 1 n", &count.to_string())?;
    }
    Ok(())
}

fn make_users(cluster: &mut Cluster) -> anyhow::Result<()> {
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    let mut admin = open(cluster, (leader + 1) % 3)?;
    for node in 0..3 {
        expect(&mut open(cluster, node)?, "AUTH filed f", "+OK")?;
    }
    expect(&mut admin, "ACL SETUSER alice on >pw ~a* +@all -@dangerous (~b* +get)", "+OK")?;
    expect(&mut admin, "ACL SETUSER bob on >pw +@all ~*", "+OK")?;
    let mut bobs: Vec<Connection> = (0..3).map(|node| open(cluster, node)).collect::<anyhow::Result<_>>()?;
    for bob in &mut bobs {
        expect(bob, "AUTH bob pw", "+OK")?;
        expect(bob, "SET k bob", "+OK")?;
    }
    // Who was logged in is so no longer, wherever that was.
    expect(&mut admin, "ACL DELUSER bob nobody", "1")?;
    for (node, bob) in bobs.iter_mut().enumerate() {
        let received = bob.receive(LIMIT)?;
        ensure!(matches!(received, Received::Closed), "node {node}: bob receives {received:?}");
    }
    expect_users(cluster, &["filed f"], &["bob pw", "alice other"])
}

/// ACL SAVE is the node's own, ACL LOAD makes what the leader's file says the users of all.
fn save_and_load_users(cluster: &mut Cluster) -> anyhow::Result<()> {
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    let read = |dir: &Path| std::fs::read_to_string(dir.join(ACL_FILE));
    for node in 0..3 {
        let dir = cluster.nodes[node].dir.clone();
        ensure!(read(&dir)? == FIRST_USERS, "nobody has asked node {node} to save");
        expect(&mut open(cluster, node)?, "ACL SAVE", "+OK")?;
    }
    let saved = read(&cluster.nodes[leader].dir)?;
    ensure!(saved.contains("user alice on") && !saved.contains("bob"), "{saved}");
    for node in &cluster.nodes {
        ensure!(read(&node.dir)? == saved, "node {}: {}", node.number, read(&node.dir)?);
    }
    cluster.nodes[leader].write_files(&[(ACL_FILE, &format!("{saved}user carol on >c +@all ~*\n"))])?;
    expect(&mut open(cluster, (leader + 1) % 3)?, "ACL LOAD", "+OK")?;
    expect_users(cluster, &["filed f", "carol c"], &["bob pw"])
}

#[test]
fn users_and_functions_outlast_restarts_snapshots_and_leaders() {
    let mut cluster = start();
    let done = cluster.explained(|cluster| {
        make_users(cluster)?;
        save_and_load_users(cluster)?;
        let leader = cluster.await_leader(SETTLE_LIMIT)?;
        let mut client = open(cluster, (leader + 1) % 3)?;
        ensure!(
            client.call(&["FUNCTION", "LOAD", LIBRARY], LIMIT)? == Reply::Bulk(b"counter".to_vec()),
            "the library is refused"
        );
        let mut count = 0;
        expect_count(cluster, &mut count)?;
        // Enough to fill segments of the log.
        let value = "v".repeat(600_000);
        for key in ["filler1", "filler2", "filler3", "filler4"] {
            client.call(&["SET", key, &value], LIMIT)?;
        }

        // What the files say does not count any more.
        for node in &cluster.nodes {
            node.write_files(&[(ACL_FILE, "user default on nopass ~* &* +@all\nuser filed on >other\n")])?;
        }
        let state = cluster.await_alike(LIMIT)?;
        cluster.restart_all()?;
        ensure!(cluster.await_alike(LIMIT)? == state, "the restart has changed the state");
        expect_users(cluster, &["filed f", "carol c"], &["bob pw", "filed other"])?;
        expect_count(cluster, &mut count)?;

        let state = cluster.await_alike(LIMIT)?;
        cluster.lose_a_disk(|node| node.write_files(&[(ACL_FILE, FIRST_USERS)]))?;
        ensure!(cluster.await_alike(LIMIT)? == state, "the snapshot has changed the state");
        expect_users(cluster, &["filed f", "carol c"], &["bob pw"])?;
        expect_count(cluster, &mut count)?;

        let state = cluster.await_alike(LIMIT)?;
        let leader = cluster.fail_over()?;
        ensure!(cluster.await_alike(LIMIT)? == state, "the failover has changed the state");
        let mut client = open(cluster, (leader + 1) % 3)?;
        expect(&mut client, "ACL DELUSER carol", "1")?;
        expect_users(cluster, &["filed f"], &["carol c"])?;
        expect_count(cluster, &mut count)?;
        expect(&mut client, "FUNCTION DELETE counter", "+OK")?;
        cluster.await_alike(LIMIT)?;
        for node in 0..3 {
            expect(&mut open(cluster, node)?, "FCALL count 1 n", "-ERR Function not found")?;
        }
        Ok(())
    });
    done.unwrap();
}

#[test]
fn the_password_of_the_default_user_is_that_of_all_nodes() {
    let mut cluster = start();
    let done = cluster.explained(|cluster| {
        let leader = cluster.await_leader(SETTLE_LIMIT)?;
        let state = cluster.await_alike(LIMIT)?;
        // By way of a follower, of the leader, of the other follower.
        for (at, password) in [(1, "one"), (0, "two"), (2, "three")] {
            let mut admins: Vec<Connection> =
                (0..3).map(|node| open(cluster, node)).collect::<anyhow::Result<_>>()?;
            for admin in &mut admins {
                expect(admin, "AUTH filed f", "+OK")?;
            }
            expect(&mut admins[(leader + at) % 3], &format!("CONFIG SET requirepass {password}"), "+OK")?;
            for (node, admin) in admins.iter_mut().enumerate() {
                // The users of the leader: what it has told this client, the others will have heard.
                let list = run(admin, "ACL GETUSER default")?;
                ensure!(!list.contains("nopass"), "node {node}: {list}");
                let mut late = open(cluster, node)?;
                // A follower that has not heard of it yet may still let strangers in.
                let limit = std::time::Instant::now() + LIMIT;
                while run(&mut late, "PING")? != "-NOAUTH Authentication required." {
                    ensure!(std::time::Instant::now() < limit, "node {node} lets everybody in");
                    late = open(cluster, node)?;
                }
                expect(&mut late, "AUTH wrong", "-WRONGPASS")?;
                expect(&mut late, &format!("AUTH {password}"), "+OK")?;
                expect(&mut late, "SET k v", "+OK")?;
            }
        }
        let mut admin = open(cluster, leader)?;
        expect(&mut admin, "AUTH three", "+OK")?;
        ensure!(
            admin.call(&["CONFIG", "SET", "requirepass", ""], LIMIT)? == Reply::Simple(b"OK".to_vec()),
            "an empty password takes it back"
        );
        cluster.wait("all nodes to be open", LIMIT, |cluster| {
            (0..3)
                .all(|node| cluster.ask(node, &["PING"]).is_ok_and(|r| r.to_string() == "+PONG"))
                .then_some(())
        })?;
        ensure!(cluster.await_alike(LIMIT)? != state, "users are part of the state by now");
        Ok(())
    });
    done.unwrap();
}
