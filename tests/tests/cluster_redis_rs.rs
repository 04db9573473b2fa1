//! redis-rs with its default settings, while the leader is killed: a plain client, a cluster client; and Sentinel. A server that
//! is alone is started again.
//!
//! redis-rs does not connect again by itself: a `Connection` that broke stays broken and the application asks its `Client` for
//! another, as its manual shows.

use std::time::{Duration, Instant};

use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Commands, RedisError, RedisResult};

/// From the kill to the first write of the same client.
const FOLLOW_LIMIT: Duration = Duration::from_secs(15);
/// Writes before the kill, and after it.
const WRITES: usize = 100;

/// Writes numbers, lets the server fail, writes on until as many are acknowledged again; everything acknowledged is there.
fn follow(cluster: &mut Cluster, mut write: impl FnMut(u64) -> RedisResult<()>) {
    let (mut acknowledged, mut killed): (Vec<u64>, Option<Instant>) = (Vec::new(), None);
    let mut resumed = None;
    for n in 1.. {
        if killed.is_none() && acknowledged.len() == WRITES {
            fail(cluster);
            killed = Some(Instant::now());
        }
        match (write(n), killed) {
            (Ok(()), _) => acknowledged.push(n),
            (Err(error), None) => panic!("nothing has happened yet: {error}"),
            (Err(error), Some(killed)) => {
                assert!(killed.elapsed() < FOLLOW_LIMIT, "the client does not find the leader: {error}");
                assert!(is_reconnect(&error), "more than a reconnect: {error:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if acknowledged.len() == WRITES + 1 && resumed.is_none() {
            resumed = killed.map(|killed| killed.elapsed());
        }
        if acknowledged.len() == 2 * WRITES {
            break;
        }
    }
    println!("resumed after {resumed:?}");
    let node = serving(cluster);
    let mut connection = plain(cluster, node).get_connection().unwrap();
    let keys: Vec<String> = acknowledged.iter().map(|n| format!("key:{n}")).collect();
    let values: Vec<Option<u64>> = connection.mget(keys).unwrap();
    let expected: Vec<Option<u64>> = acknowledged.into_iter().map(Some).collect();
    assert_eq!(values, expected);
}

/// `kill -9` of the leader; a node that is alone is started again.
fn fail(cluster: &mut Cluster) {
    if cluster.nodes.len() == 1 {
        cluster.nodes[0].kill();
        return cluster.spawn(0).unwrap();
    }
    let leader = cluster.wait("a leader", SETTLE_LIMIT, Cluster::leader).unwrap();
    cluster.nodes[leader].kill();
}

/// The node that takes writes.
fn serving(cluster: &mut Cluster) -> usize {
    if cluster.nodes.len() == 1 {
        cluster.await_serving(0, SETTLE_LIMIT).unwrap();
        return 0;
    }
    cluster.await_leader(SETTLE_LIMIT).unwrap()
}

/// What an application has to expect of a server that goes away.
fn is_reconnect(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || error.is_cluster_error()
        || error.is_unrecoverable_error()
}

fn plain(cluster: &Cluster, node: usize) -> redis::Client {
    redis::Client::open(url(cluster, node)).expect("the address is good")
}

fn url(cluster: &Cluster, node: usize) -> String {
    format!("redis://{}", cluster.nodes[node].addr)
}

#[test]
fn a_plain_client_of_a_follower() {
    let mut cluster = Cluster::start(&Plan::default()).unwrap();
    let leader = cluster.leader().unwrap();
    plain_client_follows(&mut cluster, (leader + 1) % 3);
}

#[test]
fn a_plain_client_of_a_server_that_is_alone() {
    let mut cluster = Cluster::start_single(&Plan::default()).unwrap();
    plain_client_follows(&mut cluster, 0);
}

fn plain_client_follows(cluster: &mut Cluster, node: usize) {
    let client = plain(cluster, node);
    let mut connection = None;
    follow(cluster, |n| {
        let mut open = match connection.take() {
            Some(open) => open,
            None => client.get_connection()?,
        };
        let written = open.set(format!("key:{n}"), n);
        // One that broke is not used again.
        connection = redis::ConnectionLike::is_open(&open).then_some(open);
        written
    });
}

#[test]
fn a_cluster_client() {
    let mut cluster = Cluster::start(&Plan::default()).unwrap();
    let nodes: Vec<String> = (0..3).map(|node| url(&cluster, node)).collect();
    let client = redis::cluster::ClusterClient::new(nodes).unwrap();
    let mut connection = None;
    follow(&mut cluster, |n| {
        let mut open = match connection.take() {
            Some(open) => open,
            None => client.get_connection()?,
        };
        open.set::<_, _, ()>(format!("key:{n}"), n)?;
        // A connection whose master is gone goes on asking for it, with any server: it does not ask who has the slots now.
        connection = Some(open);
        Ok(())
    });
}

/// A Sentinel says so in ROLE, and redis-rs wants to hear it. A node answers for itself there, as redis-rs wants of a master, and
/// cannot do both at one address. Cluster and plain clients are the way.
#[test]
fn a_sentinel_client_does_not_take_a_node_for_a_sentinel() {
    let cluster = Cluster::start(&Plan::default()).unwrap();
    let nodes: Vec<String> = (0..3).map(|node| url(&cluster, node)).collect();
    let mut client =
        SentinelClient::build(nodes, "mymaster".to_owned(), None, SentinelServerType::Master).unwrap();
    let error = client.get_connection().map(drop).unwrap_err();
    assert!(error.to_string().contains("does not point to a sentinel"), "{error}");
}
