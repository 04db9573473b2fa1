//! Replicas of Redis's kind: a redis-server, and redis-cli, that are fed by a Cairn.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cairn_tests::golden::Reply;
use cairn_tests::server::Server;
use cairn_tests::workload::{
    LIBRARY, LIMIT, StopOnDrop, assert_equal_contents, call, info, leave_something, open, poll, settle, write,
};

const WRITERS: u64 = 3;
/// Commands of each writer before the replica may be called up to date.
const COMMANDS_MIN: usize = 400;

/// Loads a server from the start on, has a redis-server follow it, cuts that off twice, and compares.
fn follow(flags: &[&str]) {
    let master = Server::cairn(flags).unwrap();
    let mut client = open(master.addr());
    let loaded = client.call(&["FUNCTION", "LOAD", LIBRARY], LIMIT).unwrap();
    assert_eq!(loaded, Reply::Bulk(b"counting".to_vec()));
    assert_eq!(call(&mut client, "DEBUG POPULATE 20000 filler 20"), Reply::Simple(b"OK".to_vec()));
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let replica = thread::scope(|scope| {
        for seed in 0..WRITERS {
            let (stop, done, addr) = (&stop, &done, master.addr());
            scope.spawn(move || write(addr, seed, stop, done));
        }
        // Whatever fails below, the writers end.
        let _stop = StopOnDrop(&stop);
        let port = master.addr().port().to_string();
        let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]).unwrap().0;
        let mut follower = open(replica.addr());
        let mut more = COMMANDS_MIN;
        for cut in 0..3 {
            poll("the replica is up", || info(&mut follower, "master_link_status") == "up");
            more += done.load(Ordering::Relaxed);
            poll("much is written", || done.load(Ordering::Relaxed) > more);
            if cut < 2 {
                assert_eq!(call(&mut client, "CLIENT KILL TYPE replica"), Reply::Integer(1));
            }
        }
        replica
    });
    leave_something(&mut client);
    // The last word: with it the replica has everything.
    assert_eq!(call(&mut client, "SET last word"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(call(&mut client, "WAIT 1 30000"), Reply::Integer(1));
    settle(&mut client);
    assert_equal_contents(master.addr(), replica.addr());

    assert_eq!(info(&mut client, "connected_slaves"), "1");
    let line = info(&mut client, "slave0");
    let port = replica.addr().port();
    assert!(line.starts_with(&format!("ip=127.0.0.1,port={port},state=online,offset=")), "{line}");
    let mut follower = open(replica.addr());
    assert_eq!(info(&mut client, "master_replid"), info(&mut follower, "master_replid"));
    assert!(info(&mut client, "sync_full").parse::<u32>().unwrap() >= 3);
}

#[test]
fn a_redis_server_follows_under_load_and_comes_back() {
    follow(&[]);
}

#[test]
fn a_server_without_a_log_feeds_as_well() {
    follow(&["--appendonly", "no"]);
}

#[test]
fn redis_cli_takes_a_snapshot() {
    let master = Server::cairn(&[]).unwrap();
    let mut client = open(master.addr());
    // More than is kept in memory on the way.
    assert_eq!(call(&mut client, "DEBUG POPULATE 3000 k 1000"), Reply::Simple(b"OK".to_vec()));
    call(&mut client, "SADD set a b c");
    call(&mut client, "XADD stream 1-1 f v");
    call(&mut client, "XGROUP CREATE stream g 0");
    let file = master.dir().join("copy");
    let port = master.addr().port().to_string();
    let cli = Command::new("redis-cli").args(["-p", &port, "--rdb"]).arg(&file).output().unwrap();
    assert!(cli.status.success(), "{cli:?}");
    let check = Command::new("redis-check-rdb").arg(&file).output().unwrap();
    let report = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(report.contains("RDB looks OK") && report.contains("3002 keys read"), "{report}");
    poll("it goes", || info(&mut client, "connected_slaves") == "0");
}

#[test]
fn redis_cli_shows_what_is_written() {
    let master = Server::cairn(&[]).unwrap();
    let mut client = open(master.addr());
    let port = master.addr().port().to_string();
    let mut cli = Command::new("redis-cli")
        .args(["-p", &port, "--replica"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    poll("it is fed", || info(&mut client, "slave0").contains("state=online"));
    call(&mut client, "SELECT 3");
    call(&mut client, "SET seen by-replicas");
    let mut lines = BufReader::new(cli.stdout.take().expect("piped")).lines();
    let seen = lines.any(|line| line.unwrap().contains("by-replicas"));
    cli.kill().unwrap();
    cli.wait().unwrap();
    assert!(seen);
}

#[test]
fn a_shutdown_lets_replicas_catch_up() {
    let mut master = Server::cairn(&[]).unwrap();
    let mut client = open(master.addr());
    let port = master.addr().port().to_string();
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]).unwrap().0;
    let mut follower = open(replica.addr());
    poll("the replica is up", || info(&mut client, "slave0").contains("state=online"));
    // It reads nothing for a while, and this is more than sockets hold.
    follower.send(&["DEBUG", "SLEEP", "1"].map(|word| word.as_bytes().to_vec())).unwrap();
    let script = "for i = 1, 40 do redis.call('SET', 'k' .. i, string.rep('v', 1000000)) end";
    assert_eq!(client.call(&["EVAL", script, "0"], LIMIT).unwrap(), Reply::Nil);
    master.signal("TERM").unwrap();
    assert!(master.ended(LIMIT).unwrap().expect("it ends").success());
    assert_eq!(follower.reply(LIMIT).unwrap(), Reply::Simple(b"OK".to_vec()));
    assert_eq!(call(&mut follower, "STRLEN k40"), Reply::Integer(1_000_000));
    assert_eq!(call(&mut follower, "DBSIZE"), Reply::Integer(40));
}
