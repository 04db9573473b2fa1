//! Nodes are killed, paused, cut off, and lose their disks.

use std::time::Duration;

use super::{HEAL_LIMIT, SCENARIO, SETTLE_LIMIT, Scenario, Stage, Statistic};
use crate::cluster::group::Plan;
use anyhow::ensure;

/// After a leader has been cut off this long it may have no lease any longer: the longest election time-out of the default
/// `cluster-node-timeout`, and some for the machine.
const LEASE_LIMIT: Duration = Duration::from_millis(1500);

/// The clients that stay with a leader that is cut off.
const FAITHFUL: usize = 4;

pub(super) const RESTART_SINGLE: Scenario = Scenario {
    name: "restart-single",
    summary: "kill -9 of a node that is no cluster, started again on its directory",
    single: true,
    round: restart_single,
    ..SCENARIO
};

fn restart_single(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let at = load.now();
    stage.cluster.nodes[0].kill();
    stage.cluster.spawn(0)?;
    stage.await_writes(&load, at)?;
    stage.let_pass(100, 300);
    let record = stage.judge(load)?;
    let first = record.first_write_after(at);
    stage.figure("kill to first write", first.unwrap_or(HEAL_LIMIT));
    Ok(())
}

pub(super) const KILL_LEADER: Scenario = Scenario {
    name: "kill-leader",
    summary: "kill -9 of the leader",
    rounds: 100,
    bounds: &[("kill to first write", Statistic::P99, Duration::from_secs(3))],
    round: kill_leader,
    ..SCENARIO
};

fn kill_leader(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let leader = stage.leader()?;
    if stage.rng.below(4) == 0 {
        // In the middle of a snapshot, now and then.
        let _ = stage.cluster.ask(leader, &["BGSAVE"]);
    }
    let at = load.now();
    stage.cluster.nodes[leader].kill();
    stage.await_writes(&load, at)?;
    stage.let_pass(100, 500);
    stage.start_again(leader)?;
    stage.let_pass(50, 200);
    let record = stage.judge(load)?;
    let first = record.first_write_after(at);
    stage.figure("kill to first write", first.unwrap_or(HEAL_LIMIT));
    Ok(())
}

pub(super) const PAUSE_LEADER: Scenario = Scenario {
    name: "pause-leader",
    summary: "the leader gets no time for 0.1 to 10 s and then goes on as if nothing had been",
    round: pause_leader,
    ..SCENARIO
};

fn pause_leader(stage: &mut Stage) -> anyhow::Result<()> {
    let leader = stage.leader()?;
    let load = stage.load_with(Some((leader, FAITHFUL)))?;
    let leader = stage.leader()?;
    let at = load.now();
    stage.cluster.nodes[leader].pause();
    // Short pauses are as interesting as long ones: each tenfold is as likely.
    let longest_ms = if stage.brief { 3e3 } else { 10e3 };
    let ms = 100.0 * f64::powf(longest_ms / 100.0, stage.rng.unit());
    stage.let_pass(ms as u64, ms as u64);
    stage.cluster.nodes[leader].resume();
    let healed = load.now();
    stage.await_writes(&load, healed)?;
    stage.let_pass(200, 500);
    stage.await_caught_up(leader)?;
    let record = stage.judge(load)?;
    let first = |since| record.first_write_after(since).unwrap_or(HEAL_LIMIT);
    let (paused, healed) = (first(at), first(healed));
    stage.figure("pause to first write", paused);
    stage.figure("healed to first write", healed);
    Ok(())
}

pub(super) const CUT_LEADER: Scenario = Scenario {
    name: "cut-leader",
    summary: "the leader is cut off from both followers but not from clients; its reads must stop",
    plan: Plan { namespaces: true, ..SCENARIO.plan },
    round: cut_leader,
    ..SCENARIO
};

fn cut_leader(stage: &mut Stage) -> anyhow::Result<()> {
    let leader = stage.leader()?;
    let load = stage.load_with(Some((leader, FAITHFUL)))?;
    ensure!(stage.leader()? == leader, "the leadership changed before anything was done");
    stage.cluster.namespaces()?.isolate(leader)?;
    let cut = load.now();
    stage.await_writes(&load, cut)?;
    stage.cluster.wait("another leader", HEAL_LIMIT, |cluster| {
        cluster.leader().filter(|&node| node != leader).map(drop)
    })?;
    // Time for the old one to answer what it must not.
    stage.let_pass(2000, if stage.brief { 2500 } else { 5000 });
    let healing = load.now();
    stage.cluster.namespaces()?.heal_all()?;
    let healed = load.now();
    stage.await_writes(&load, healed)?;
    stage.await_caught_up(leader)?;
    stage.let_pass(100, 300);
    let record = stage.judge(load)?;
    // Stale answers are found by the histories. But without a majority nothing at all may be answered.
    let lease_end = cut + LEASE_LIMIT.as_nanos() as u64;
    let answered: Vec<String> = record
        .objects
        .values()
        .flat_map(|history| &history.ops)
        .filter(|op| {
            (op.client as usize) < FAITHFUL && !matches!(op.action, super::super::history::Action::Refused(_))
        })
        .filter(|op| op.is_known() && op.call > lease_end && op.ret < healing)
        .map(ToString::to_string)
        .collect();
    ensure!(
        answered.is_empty(),
        "the leader that was cut off at {:.0} ms went on answering:\n{}",
        cut as f64 / 1e6,
        answered[..answered.len().min(10)].join("\n")
    );
    let first = |since| record.first_write_after(since).unwrap_or(HEAL_LIMIT);
    let (cut, healed) = (first(cut), first(healed));
    stage.figure("cut to first write", cut);
    stage.figure("healed to first write", healed);
    Ok(())
}

pub(super) const ONE_WAY_CUT: Scenario = Scenario {
    name: "one-way-cut",
    summary: "packets in one direction between some nodes disappear",
    plan: Plan { namespaces: true, ..SCENARIO.plan },
    round: one_way_cut,
    ..SCENARIO
};

fn one_way_cut(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let leader = stage.leader()?;
    let others: Vec<usize> = (0..3).filter(|&node| node != leader).collect();
    let (a, b) = match stage.rng.below(2) {
        0 => (others[0], others[1]),
        _ => (others[1], others[0]),
    };
    let cuts: &[(usize, usize)] = match stage.rng.below(6) {
        // It speaks and is not heard; it hears nothing; each to one node or to both.
        0 => &[(leader, a), (leader, b)],
        1 => &[(a, leader), (b, leader)],
        2 => &[(leader, a)],
        3 => &[(a, leader)],
        4 => &[(a, b)],
        _ => &[(leader, a), (b, leader)],
    };
    for &(from, to) in cuts {
        stage.cluster.namespaces()?.cut(from, to)?;
    }
    let at = load.now();
    println!("  leader {leader}, cut {cuts:?}");
    stage.let_pass(1000, if stage.brief { 2000 } else { 5000 });
    let during = load.has_written_since(at + LEASE_LIMIT.as_nanos() as u64 / 2);
    stage.cluster.namespaces()?.heal_all()?;
    let healed = load.now();
    stage.await_writes(&load, healed)?;
    for node in 0..3 {
        stage.await_caught_up(node)?;
    }
    stage.let_pass(100, 300);
    let record = stage.judge(load)?;
    if during {
        let first = record.first_write_after(at).unwrap_or(HEAL_LIMIT);
        stage.figure("cut to first write, where there was one", first);
    }
    let first = record.first_write_after(healed).unwrap_or(HEAL_LIMIT);
    stage.figure("healed to first write", first);
    Ok(())
}

pub(super) const WIPE_FOLLOWER: Scenario = Scenario {
    name: "wipe-follower",
    summary: "a follower loses its disk and is started with the same line",
    round: wipe_follower,
    ..SCENARIO
};

fn wipe_follower(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let follower = stage.follower()?;
    stage.cluster.nodes[follower].kill();
    stage.cluster.nodes[follower].wipe()?;
    stage.let_pass(0, 300);
    let at = load.now();
    stage.start_again(follower)?;
    stage.await_all_voters()?;
    stage.await_writes(&load, at)?;
    // What it has now must be enough for a majority with it: the next to go is another.
    let other = stage.cluster.awake().find(|&node| node != follower).expect("three nodes are awake");
    stage.cluster.nodes[other].kill();
    let killed = load.now();
    stage.await_writes(&load, killed)?;
    stage.start_again(other)?;
    let record = stage.judge(load)?;
    let first = record.first_write_after(at);
    stage.figure("started to first write", first.unwrap_or(HEAL_LIMIT));
    Ok(())
}

pub(super) const KILL_ALL: Scenario = Scenario {
    name: "kill-all",
    summary: "kill -9 of all three nodes at once, as when the power goes",
    round: kill_all,
    ..SCENARIO
};

fn kill_all(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    for node in 0..3 {
        stage.cluster.nodes[node].kill();
    }
    let at = load.now();
    let first = stage.rng.below(3) as usize;
    for turn in 0..3 {
        stage.cluster.spawn((first + turn) % 3)?;
        stage.let_pass(0, 200);
    }
    stage.await_writes(&load, at)?;
    for node in 0..3 {
        stage.await_caught_up(node)?;
    }
    stage
        .cluster
        .wait("all nodes to serve", SETTLE_LIMIT, |cluster| (cluster.awake().count() == 3).then_some(()))?;
    let record = stage.judge(load)?;
    let first = record.first_write_after(at);
    stage.figure("power back to first write", first.unwrap_or(HEAL_LIMIT));
    Ok(())
}
