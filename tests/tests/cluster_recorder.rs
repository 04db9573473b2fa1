//! Recorder and checker together can see: the same clients on servers that are known to lose, to split and to lag.

use std::thread::sleep;
use std::time::Duration;

use cairn_tests::cluster::group::Directory;
use cairn_tests::cluster::history::Kind;
use cairn_tests::cluster::load::{CLIENTS, Clients, Load};
use cairn_tests::cluster::scenarios::judge_histories;
use cairn_tests::golden::Reply;
use cairn_tests::server::{Connection, Server};

const LIMIT: Duration = Duration::from_secs(10);

/// What a Redis 7.0 knows: no field of a hash expires there.
const OLD_KINDS: &[Kind] =
    &[Kind::Register, Kind::Pair, Kind::Counter, Kind::List, Kind::Set, Kind::Stream, Kind::Queue];

/// The clients work with these servers as if they were one.
fn start(servers: &[&Server], faithful: Option<(usize, usize)>) -> Load {
    let addrs: Vec<_> = servers.iter().map(|server| server.addr()).collect();
    let clients = Clients { count: CLIENTS, seed: 1, prefix: "t", faithful, kinds: OLD_KINDS };
    Load::start(Directory::of(&addrs), &clients)
}

fn redis() -> Server {
    let (server, _) = Server::redis(&[]).expect("a redis-server on this machine");
    server
}

#[test]
fn one_redis_is_linearizable() {
    let server = redis();
    let load = start(&[&server], None);
    sleep(Duration::from_millis(700));
    let record = load.finish().unwrap();
    judge_histories(&record).unwrap();
    assert_eq!(record.surprises, [] as [String; 0]);
    assert!(record.writes.len() > 200, "the clients got work done: {}", record.writes.len());
    assert!(record.objects.len() >= 12, "all kinds of objects: {}", record.objects.len());
}

#[test]
fn a_server_that_forgets_is_found_out() {
    let mut server = redis();
    let load = start(&[&server], None);
    sleep(Duration::from_millis(300));
    // Nothing of it was on a disk.
    server.restart().unwrap();
    sleep(Duration::from_millis(300));
    judge_histories(&load.finish().unwrap()).unwrap_err();
}

#[test]
fn two_leaders_are_found_out() {
    let (one, other) = (redis(), redis());
    let load = start(&[&one, &other], None);
    sleep(Duration::from_millis(300));
    judge_histories(&load.finish().unwrap()).unwrap_err();
}

#[test]
fn a_follower_that_lags_is_found_out() {
    let (leader, follower) = (redis(), redis());
    let mut connection = Connection::open(follower.addr()).unwrap();
    let port = leader.addr().port().to_string();
    let mut replicate_from = |port: &str| {
        let reply = connection.call(&["REPLICAOF", "127.0.0.1", port], LIMIT).unwrap();
        assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
    };
    replicate_from(&port);
    // Some read from the follower, which refuses their writes.
    let load = start(&[&leader, &follower], Some((1, 4)));
    sleep(Duration::from_millis(300));
    // From somewhere where nobody is: it keeps what it has and answers from it.
    replicate_from("1");
    sleep(Duration::from_millis(300));
    judge_histories(&load.finish().unwrap()).unwrap_err();
}
