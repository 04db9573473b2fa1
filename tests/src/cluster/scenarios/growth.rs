//! Nodes come and go, catch up from snapshots, and one becomes three.

use anyhow::{Context, ensure};
use std::path::Path;
use std::time::Duration;

use super::{SCENARIO, SETTLE_LIMIT, STOP_LIMIT, Scenario, Stage, cluster_nodes, node_id};
use crate::cluster::group::{Cluster, Plan};
use crate::golden::Reply;

/// MEET answers when the node has caught up and votes.
const MEET_LIMIT: Duration = Duration::from_secs(60);

/// Flags of a node that waits for CLUSTER MEET.
const WAITS_FOR_MEET: &[&str] = &["--cluster-enabled", "yes"];

pub(super) const MEMBERSHIP: Scenario = Scenario {
    name: "membership",
    summary: "three nodes become five and three again",
    plan: Plan { more: 2, ..SCENARIO.plan },
    round: membership,
    ..SCENARIO
};

fn membership(stage: &mut Stage) -> anyhow::Result<()> {
    while stage.cluster.nodes.len() < 5 {
        stage.cluster.add_node(WAITS_FOR_MEET)?;
    }
    let load = stage.load()?;
    let at = load.now();
    let absent: Vec<usize> = (0..5).filter(|&node| !stage.cluster.nodes[node].is_running()).collect();
    for node in absent {
        // A node that was removed has an id that is no longer a member: it comes back as another.
        stage.cluster.nodes[node].flags.retain(|flag| flag != "--cluster-peers" && !flag.contains(','));
        stage.cluster.spawn(node)?;
        stage.cluster.await_serving(node, SETTLE_LIMIT)?;
        let members: Vec<usize> = stage.cluster.awake().filter(|&other| other != node).collect();
        let asked = members[stage.rng.below(members.len() as u64) as usize];
        meet(stage, asked, node)?;
    }
    stage.await_all_voters()?;
    stage.let_pass(100, 300);
    for _ in 0..2 {
        let leader = stage.leader()?;
        // Any of them, the leader included.
        let members: Vec<usize> = stage.cluster.awake().collect();
        let node = members[stage.rng.below(members.len() as u64) as usize];
        let asked = if stage.rng.below(2) == 0 { leader } else { node };
        forget(&stage.cluster, asked, node)?;
        stage.cluster.wait("the node to be gone", SETTLE_LIMIT, |cluster| {
            let leader = cluster.leader().filter(|&leader| leader != node)?;
            let addr = cluster.nodes[node].addr.to_string();
            let nodes = cluster_nodes(cluster, leader).ok()?;
            nodes.iter().all(|line| line.addr != addr).then_some(())
        })?;
        // While it still runs it must not disturb anybody.
        stage.let_pass(0, 1000);
        stage.cluster.nodes[node].kill();
        stage.cluster.nodes[node].wipe()?;
    }
    stage.await_all_voters()?;
    let changed = load.now();
    stage.await_writes(&load, changed)?;
    let record = stage.judge(load)?;
    let gap = record.longest_gap(at, changed);
    stage.figure("longest time without a write", gap);
    Ok(())
}

/// Asks a member to take a node in. A node answers clients a moment before it answers other nodes, and is asked again until
/// it does.
fn meet(stage: &mut Stage, asked: usize, node: usize) -> anyhow::Result<()> {
    let addr = stage.cluster.nodes[node].addr;
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    let what = format!("CLUSTER MEET of node {node}, asked of node {asked}");
    let answer = stage.cluster.wait(&what, SETTLE_LIMIT, |cluster| {
        match cluster.ask_within(asked, &["CLUSTER", "MEET", &host, &port], MEET_LIMIT) {
            Ok(Reply::Error(text)) if String::from_utf8_lossy(&text).contains("refused") => None,
            other => Some(other),
        }
    })?;
    expect_ok(answer?).context(what)
}

fn forget(cluster: &Cluster, asked: usize, node: usize) -> anyhow::Result<()> {
    let id = node_id(cluster, node)?;
    expect_ok(cluster.ask_within(asked, &["CLUSTER", "FORGET", &id], MEET_LIMIT)?)
        .with_context(|| format!("CLUSTER FORGET of node {node}, asked of node {asked}"))
}

fn expect_ok(reply: Reply) -> anyhow::Result<()> {
    ensure!(reply == Reply::Simple(b"OK".to_vec()), "answers {reply}");
    Ok(())
}

/// Data besides the clients', so that a snapshot takes its time: keys, in brief runs and otherwise, and bytes of each.
const FILLER_KEYS: (usize, usize) = (16, 48);
const FILLER_BYTES: usize = 1 << 20;

fn filler_keys(stage: &Stage) -> usize {
    if stage.brief { FILLER_KEYS.0 } else { FILLER_KEYS.1 }
}

pub(super) const INTERRUPTED_SNAPSHOT: Scenario = Scenario {
    name: "interrupted-snapshot",
    summary: "a follower that needs a snapshot is killed while it receives it, or the leader while it sends",
    plan: Plan { flags: &["--log-segment-size", "1mb", "--log-retention-size", "1mb"], ..SCENARIO.plan },
    round: interrupted_snapshot,
    ..SCENARIO
};

fn interrupted_snapshot(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let follower = stage.follower()?;
    let had = stage.cluster.figure(follower, "raft_last_index")?;
    stage.cluster.nodes[follower].kill();
    fill(stage)?;
    let leader = stage.leader()?;
    stage.cluster.ask_within(leader, &["SAVE"], SETTLE_LIMIT)?;
    stage.cluster.wait("the leader's log to be cut", SETTLE_LIMIT, |cluster| {
        (cluster.figure(leader, "raft_purged").ok()? > had).then_some(())
    })?;
    stage.cluster.spawn(follower)?;
    let dir = stage.cluster.nodes[follower].dir.clone();
    let whole = (filler_keys(stage) * FILLER_BYTES) as u64;
    let part = 1 + stage.rng.below(whole / 2);
    let caught = stage.cluster.wait("a snapshot to arrive", SETTLE_LIMIT, |cluster| {
        if cluster.figure(follower, "raft_snapshots_received").is_ok_and(|received| received > 0) {
            return Some(false);
        }
        (partial_snapshot(&dir) >= part).then_some(true)
    })?;
    if caught && stage.rng.below(3) == 0 {
        println!("  round {}: the sender is killed after {part} bytes", stage.round);
        stage.cluster.nodes[leader].kill();
        stage.start_again(leader)?;
    } else if caught {
        println!("  round {}: the receiver is killed after {part} bytes", stage.round);
        stage.cluster.nodes[follower].kill();
        stage.let_pass(0, 300);
        stage.cluster.spawn(follower)?;
    } else {
        println!("  round {}: the snapshot was too fast to be interrupted", stage.round);
    }
    let at = load.now();
    stage.await_caught_up(follower)?;
    stage.await_writes(&load, at)?;
    stage.judge(load)?;
    Ok(())
}

/// Bytes of a snapshot that is not whole yet.
fn partial_snapshot(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return partial_snapshot(&path);
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_partial = name.ends_with(".cairn-tmp") && !name.contains(".seg");
        if is_partial { entry.metadata().map_or(0, |meta| meta.len()) } else { 0 }
    });
    sizes.max().unwrap_or(0)
}

/// Overwrites the filler with other bytes that do not compress.
fn fill(stage: &mut Stage) -> anyhow::Result<()> {
    let leader = stage.leader()?;
    let directory = stage.cluster.directory();
    let mut connection = directory.connect(leader, SETTLE_LIMIT)?;
    let mut value = vec![0; FILLER_BYTES];
    for key in 0..filler_keys(stage) {
        for word in value.chunks_exact_mut(8) {
            word.copy_from_slice(&stage.rng.next().to_le_bytes());
        }
        let command = [b"SET".to_vec(), format!("filler{key}").into_bytes(), value.clone()];
        connection.send(&command)?;
        let reply = connection.reply(SETTLE_LIMIT)?;
        ensure!(reply == Reply::Simple(b"OK".to_vec()), "the filler: {reply}");
    }
    Ok(())
}

pub(super) const ADOPT_SINGLE: Scenario = Scenario {
    name: "adopt-single",
    summary: "the directory of a single node becomes the first node of a cluster of three",
    single: true,
    fresh: true,
    plan: Plan { nodes: 1, more: 2, ..SCENARIO.plan },
    round: adopt_single,
    ..SCENARIO
};

fn adopt_single(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    match stage.rng.below(2) {
        0 => stage.cluster.nodes[0].kill(),
        _ => drop(stage.cluster.nodes[0].terminate(STOP_LIMIT)?),
    }
    stage.cluster.nodes[0].flags.extend(WAITS_FOR_MEET.iter().map(|&flag| flag.to_owned()));
    let at = load.now();
    stage.cluster.spawn(0)?;
    stage.await_writes(&load, at)?;
    for _ in 1..3 {
        let node = stage.cluster.add_node(WAITS_FOR_MEET)?;
        stage.cluster.spawn(node)?;
        stage.cluster.await_serving(node, SETTLE_LIMIT)?;
        meet(stage, 0, node)?;
    }
    stage.await_all_voters()?;
    // The others have everything: what is left without the first node is judged.
    stage.cluster.nodes[0].kill();
    let killed = load.now();
    stage.await_writes(&load, killed)?;
    stage.start_again(0)?;
    stage.judge(load)?;
    Ok(())
}
