//! Leadership that is handed over as planned: nobody but the clock should notice.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};

use super::{HEAL_LIMIT, SCENARIO, STOP_LIMIT, Scenario, Stage, Statistic, only_reconnects};
use crate::golden::Reply;

/// How long nothing was written around a planned hand-over.
const GAP: &str = "longest time without a write";
const GAP_BOUND: (&str, Statistic, Duration) = (GAP, Statistic::Median, Duration::from_millis(200));

pub(super) const FAILOVER: Scenario = Scenario {
    name: "failover",
    summary: "FAILOVER: the leader hands over to another node",
    bounds: &[GAP_BOUND],
    round: failover,
    ..SCENARIO
};

fn failover(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let leader = stage.leader()?;
    let at = load.now();
    let asked = stage.cluster.ask_within(leader, &["FAILOVER"], HEAL_LIMIT)?;
    ensure!(asked == Reply::Simple(b"OK".to_vec()), "FAILOVER answers {asked}");
    stage.cluster.wait("another leader", HEAL_LIMIT, |cluster| {
        cluster.leader().filter(|&node| node != leader).map(drop)
    })?;
    settle_and_measure(stage, load, at)
}

pub(super) const SIGTERM: Scenario = Scenario {
    name: "sigterm",
    summary: "SIGTERM: the leader hands over and ends",
    bounds: &[GAP_BOUND],
    round: sigterm,
    ..SCENARIO
};

fn sigterm(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let leader = stage.leader()?;
    let at = load.now();
    let status = stage.cluster.nodes[leader].terminate(STOP_LIMIT)?;
    ensure!(status.success(), "the leader ended with {status}");
    let ended = load.now();
    stage.await_writes(&load, ended)?;
    stage.let_pass(100, 300);
    let until = load.now();
    stage.start_again(leader)?;
    let record = stage.judge(load)?;
    only_reconnects(&record)?;
    stage.figure(GAP, record.longest_gap(at, until));
    Ok(())
}

fn settle_and_measure(stage: &mut Stage, load: super::Load, at: u64) -> anyhow::Result<()> {
    let now = load.now();
    stage.await_writes(&load, now)?;
    stage.let_pass(100, 300);
    let until = load.now();
    let record = stage.judge(load)?;
    only_reconnects(&record)?;
    stage.figure(GAP, record.longest_gap(at, until));
    Ok(())
}

pub(super) const ROLLING_RESTART: Scenario = Scenario {
    name: "rolling-restart",
    summary: "all three nodes are restarted by SIGTERM, one after the other",
    round: rolling_restart,
    ..SCENARIO
};

fn rolling_restart(stage: &mut Stage) -> anyhow::Result<()> {
    let load = stage.load()?;
    let first = stage.rng.below(3) as usize;
    let at = load.now();
    for turn in 0..3 {
        let node = (first + turn) % 3;
        let started = Instant::now();
        stage.cluster.nodes[node].terminate(STOP_LIMIT).context("the node does not end")?;
        stage.figure("SIGTERM to end", started.elapsed());
        let ended = load.now();
        stage.start_again(node)?;
        stage.await_writes(&load, ended)?;
    }
    let until = load.now();
    let record = stage.judge(load)?;
    only_reconnects(&record)?;
    stage.figure(GAP, record.longest_gap(at, until));
    Ok(())
}
