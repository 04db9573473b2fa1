//! What a leader does while it is alone, step by step: nobody is told of it, and nothing of it is left.
//!
//! The rounds of `cluster_rounds.rs` come upon the same by chance; here each moment is arranged.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use cairn_tests::cluster::group::{Cluster, Plan, SETTLE_LIMIT};
use cairn_tests::cluster::network::Namespaces;
use cairn_tests::golden::{Received, Reply};
use cairn_tests::server::Connection;

const LIMIT: Duration = Duration::from_secs(10);
/// After this long without a majority there is no lease any longer: the longest election time-out of the default
/// `cluster-node-timeout`, and some for the machine.
const LEASE_LIMIT: Duration = Duration::from_millis(1500);
/// What does not come within this time is taken not to come.
const SILENCE: Duration = Duration::from_secs(2);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Three nodes whose connections can be cut, if this machine can do that.
fn cuttable() -> Option<Cluster> {
    if let Some(why) = Namespaces::unavailable() {
        println!("skipped: {why}");
        return None;
    }
    Some(Cluster::start(&Plan { namespaces: true, ..Plan::default() }).unwrap())
}

/// The leader, which has acknowledged `k` as `old`.
fn leader_with_old_value(cluster: &mut Cluster) -> anyhow::Result<usize> {
    let leader = cluster.await_leader(SETTLE_LIMIT)?;
    ensure!(cluster.ask(leader, &["SET", "k", "old"])? == ok(), "nothing has happened yet");
    cluster.await_level(SETTLE_LIMIT)?;
    Ok(leader)
}

/// Waits until another node leads and has acknowledged a write, where the old leader made one alone; then everybody hears
/// everybody again.
fn replace(cluster: &mut Cluster, old: usize) -> anyhow::Result<()> {
    cluster.wait("another leader that takes writes", LIMIT, |cluster| {
        let leader = cluster.leader().filter(|&leader| leader != old)?;
        (cluster.ask(leader, &["SET", "other", "v"]).ok()? == ok()).then_some(())
    })?;
    cluster.namespaces()?.heal_all()
}

#[test]
fn what_a_leader_did_alone_is_neither_told_nor_seen_nor_kept() {
    let Some(mut cluster) = cuttable() else { return };
    let done = cluster.explained(|cluster| {
        let old = leader_with_old_value(cluster)?;
        let directory = cluster.directory();
        let mut writer = directory.connect(old, LIMIT)?;
        let mut reader = directory.connect(old, LIMIT)?;
        // Both are served by now, so that the cut is followed by nothing but these commands.
        ensure!(writer.call(&["GET", "k"], LIMIT)? == Reply::Bulk(b"old".to_vec()));
        ensure!(reader.call(&["GET", "k"], LIMIT)? == Reply::Bulk(b"old".to_vec()));
        cluster.namespaces()?.isolate(old)?;
        // It still has its lease and executes them.
        writer.send(&words("SET k alone"))?;
        reader.send(&words("GET k"))?;
        replace(cluster, old)?;
        if let Received::Reply(reply) = writer.receive(SILENCE)? {
            ensure!(matches!(reply, Reply::Error(_)), "told {reply} of a write that no other node had");
        }
        if let Received::Reply(reply) = reader.receive(SILENCE)? {
            ensure!(reply != Reply::Bulk(b"alone".to_vec()), "shown a value that no other node had");
        }
        cluster.await_equal_digests(SETTLE_LIMIT)?;
        let leader = cluster.await_leader(SETTLE_LIMIT)?;
        ensure!(cluster.ask(leader, &["GET", "k"])? == Reply::Bulk(b"old".to_vec()), "the write came back");
        Ok(())
    });
    done.unwrap();
}

#[test]
fn a_snapshot_of_what_a_leader_did_alone_is_given_up() {
    let Some(mut cluster) = cuttable() else { return };
    let done = cluster.explained(|cluster| {
        let old = leader_with_old_value(cluster)?;
        let mut client = cluster.directory().connect(old, LIMIT)?;
        ensure!(client.call(&["PING"], LIMIT)? == Reply::Simple(b"PONG".to_vec()));
        cluster.namespaces()?.isolate(old)?;
        client.send(&words("SET k alone"))?;
        client.send(&words("BGSAVE"))?;
        replace(cluster, old)?;
        cluster.await_equal_digests(SETTLE_LIMIT)?;
        let status = cluster.wait("the snapshot to end", LIMIT, |cluster| {
            let info = cluster.info(old, "persistence").ok()?;
            (info["rdb_bgsave_in_progress"] == "0").then(|| info["rdb_last_bgsave_status"].clone())
        })?;
        ensure!(status == "err", "a snapshot of what was never committed was finished: {status}");
        // What it would start from is what all have.
        cluster.nodes[old].kill();
        cluster.spawn(old)?;
        cluster.await_equal_digests(SETTLE_LIMIT)?;
        Ok(())
    });
    done.unwrap();
}

#[test]
fn a_leader_without_a_majority_answers_no_read_after_its_lease() {
    let mut cluster = Cluster::start(&Plan::default()).unwrap();
    let done = cluster.explained(|cluster| {
        let leader = leader_with_old_value(cluster)?;
        let mut reader = cluster.directory().connect(leader, LIMIT)?;
        let followers = (0..3).filter(|&node| node != leader);
        followers.clone().for_each(|node| cluster.nodes[node].pause());
        let alone = Instant::now();
        // Only reads: no refused write tells it that it is alone.
        while is_answered(&mut reader)? {
            let elapsed = alone.elapsed();
            ensure!(
                elapsed < LEASE_LIMIT,
                "a read was answered {elapsed:?} after the last sign of a majority"
            );
        }
        followers.for_each(|node| cluster.nodes[node].resume());
        cluster.await_equal_digests(SETTLE_LIMIT)?;
        Ok(())
    });
    done.unwrap();
}

/// Is a read answered with a value?
fn is_answered(reader: &mut Connection) -> anyhow::Result<bool> {
    reader.send(&words("GET k"))?;
    match reader.receive(SILENCE)? {
        Received::Reply(Reply::Bulk(value)) if value == b"old" => Ok(true),
        Received::Reply(Reply::Error(_)) | Received::Closed | Received::Nothing => Ok(false),
        Received::Reply(other) => bail!("GET answers {other}"),
    }
}
