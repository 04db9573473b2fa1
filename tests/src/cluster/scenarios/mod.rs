//! What is done to a cluster while clients work with it, and what must hold afterwards.
//!
//! A scenario is a number of rounds with one cluster. Each round sets clients to work, does something to the nodes, makes
//! everything whole again and then judges: every object's history is linearizable, every acknowledged element is there once, no
//! server gave a reply that makes no sense, all nodes have the same digest. What earlier rounds left is read once more after the
//! last one.

mod faults;
mod growth;
mod hand_over;
mod reads;

use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cairn_engine::rng::Rng;

use super::check::{Fault, check};
use super::client::Doubt;
use super::group::{Cluster, Plan, SETTLE_LIMIT};
use super::history::{History, Kind, Moment, Op};
use super::load::{CLIENTS, Clients, Load, Object, Record, read_object};
use super::network::Namespaces;
use crate::golden::Reply;

/// After a fault has healed, writes are accepted again within this time.
pub const HEAL_LIMIT: Duration = Duration::from_secs(10);
/// A process that was asked to end has handed over and ended within this time.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// From this many rounds on the bounds of the figures are judged too: a few say little about a percentile.
const ROUNDS_TO_JUDGE: usize = 20;

/// What can be done to a cluster.
pub struct Scenario {
    pub name: &'static str,
    pub summary: &'static str,
    /// Rounds that the acceptance asks for.
    pub rounds: usize,
    /// How the cluster is made.
    plan: Plan<'static>,
    /// It begins with one node that is no cluster.
    single: bool,
    /// Each round has a cluster of its own.
    fresh: bool,
    /// What the figures must not exceed: name, which of them, bound.
    bounds: &'static [(&'static str, Statistic, Duration)],
    round: fn(&mut Stage) -> anyhow::Result<()>,
}

const SCENARIO: Scenario = Scenario {
    name: "",
    summary: "",
    rounds: 20,
    plan: Plan { nodes: 3, more: 0, namespaces: false, flags: &["--log-segment-size", "1mb"], files: &[] },
    single: false,
    fresh: false,
    bounds: &[],
    round: |_| Ok(()),
};

/// All scenarios.
pub const SCENARIOS: &[&Scenario] = &[
    &faults::RESTART_SINGLE,
    &faults::KILL_LEADER,
    &faults::PAUSE_LEADER,
    &faults::CUT_LEADER,
    &faults::ONE_WAY_CUT,
    &faults::WIPE_FOLLOWER,
    &faults::KILL_ALL,
    &growth::MEMBERSHIP,
    &growth::INTERRUPTED_SNAPSHOT,
    &growth::ADOPT_SINGLE,
    &hand_over::ROLLING_RESTART,
    &hand_over::FAILOVER,
    &hand_over::SIGTERM,
    &reads::PAUSED_READS,
];

/// Which value of a figure's samples counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    Median,
    P99,
}

impl Statistic {
    fn of(self, sorted: &[Duration]) -> Duration {
        let part = match self {
            Statistic::Median => 50,
            Statistic::P99 => 99,
        };
        // The smallest sample that is not exceeded by more than the rest of the part.
        sorted[(sorted.len() * part).div_ceil(100).saturating_sub(1)]
    }
}

/// How a scenario is run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub rounds: usize,
    pub seed: u64,
    /// Faults are short: for runs that somebody waits for.
    pub brief: bool,
}

/// Why a scenario could not be run here, or `None`.
pub fn unavailable(scenario: &Scenario) -> Option<&'static str> {
    scenario.plan.namespaces.then(Namespaces::unavailable).flatten()
}

/// Runs a scenario; the figures that it took.
pub fn run(scenario: &Scenario, run: Run) -> anyhow::Result<Figures> {
    println!("{}: {} rounds, seed {}", scenario.name, run.rounds, run.seed);
    let mut figures = Figures::default();
    let mut stage: Option<Stage> = None;
    for round in 0..run.rounds {
        // Each round can be repeated without those before it.
        let seed = run.seed.wrapping_add(round as u64);
        let mut this = match stage.take().filter(|_| !scenario.fresh) {
            Some(stage) => stage,
            None => Stage::new(scenario, run)?,
        };
        this.rng = Rng::new(seed);
        this.round = round;
        let done = this.explained(scenario.round);
        done.with_context(|| format!("{}, round {round}, seed {seed}", scenario.name))?;
        let last = scenario.fresh || round + 1 == run.rounds;
        if last {
            this.explained(Stage::everything_is_still_there)?;
        }
        figures.add(std::mem::take(&mut this.figures));
        stage = Some(this);
    }
    print!("{figures}");
    if run.rounds >= ROUNDS_TO_JUDGE {
        figures.judge(scenario.bounds)?;
    }
    Ok(figures)
}

/// Times that were taken, by what was timed.
#[derive(Default)]
pub struct Figures(BTreeMap<&'static str, Vec<Duration>>);

impl Figures {
    fn add(&mut self, other: Figures) {
        for (name, samples) in other.0 {
            self.0.entry(name).or_default().extend(samples);
        }
    }

    fn judge(&self, bounds: &[(&str, Statistic, Duration)]) -> anyhow::Result<()> {
        for (name, statistic, bound) in bounds {
            let mut samples = self.0.get(name).with_context(|| format!("{name} was not measured"))?.clone();
            samples.sort();
            let found = statistic.of(&samples);
            ensure!(found <= *bound, "{name}: {statistic:?} is {found:?}, it must not exceed {bound:?}");
        }
        Ok(())
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, samples) in &self.0 {
            let mut samples = samples.clone();
            samples.sort();
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let (median, p99) = (Statistic::Median.of(&samples), Statistic::P99.of(&samples));
            let last = samples[samples.len() - 1];
            writeln!(
                f,
                "  {name}: median {:.0} ms, p99 {:.0} ms, longest {:.0} ms, of {}",
                ms(median),
                ms(p99),
                ms(last),
                samples.len()
            )?;
        }
        Ok(())
    }
}

/// A cluster and its clients in a round.
pub struct Stage {
    pub cluster: Cluster,
    pub rng: Rng,
    pub brief: bool,
    round: usize,
    figures: Figures,
    /// What the last reads of earlier loads saw: key prefix, object, its history's last read.
    settled: Vec<(String, Object, History)>,
}

impl Stage {
    fn new(scenario: &Scenario, run: Run) -> anyhow::Result<Stage> {
        let cluster = match scenario.single {
            true => Cluster::start_single(&scenario.plan)?,
            false => Cluster::start(&scenario.plan)?,
        };
        let figures = Figures::default();
        Ok(Stage {
            cluster,
            rng: Rng::new(run.seed),
            brief: run.brief,
            round: 0,
            figures,
            settled: Vec::new(),
        })
    }

    fn explained(&mut self, f: impl FnOnce(&mut Stage) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let result = f(self);
        self.cluster.explained(|_| result)
    }

    /// Sets [`CLIENTS`] clients to work and lets them get something done.
    pub fn load(&mut self) -> anyhow::Result<Load> {
        self.load_with(None)
    }

    /// The same, the first so many of them faithful to a node.
    pub fn load_with(&mut self, faithful: Option<(usize, usize)>) -> anyhow::Result<Load> {
        let prefix = format!("{}", self.round);
        let clients =
            Clients { count: CLIENTS, seed: self.rng.next(), prefix: &prefix, faithful, kinds: &Kind::ALL };
        let load = Load::start(self.cluster.directory(), &clients);
        // A fault in the very first moment finds nothing to lose.
        let enough = 100;
        self.cluster.wait("the clients to get work done", SETTLE_LIMIT, |_| {
            (load.acknowledged() >= enough).then_some(())
        })?;
        self.let_pass(100, 500);
        Ok(load)
    }

    /// Lets a random time pass, in milliseconds. Not to wait for anything: faults come at any time.
    pub fn let_pass(&self, at_least: u64, at_most: u64) -> Duration {
        let time = Duration::from_millis(at_least + self.rng.below(at_most - at_least + 1));
        std::thread::sleep(time);
        time
    }

    /// Remembers how long something took.
    pub fn figure(&mut self, name: &'static str, time: Duration) {
        self.figures.0.entry(name).or_default().push(time);
    }

    /// Waits until a write is acknowledged that was sent after this moment.
    pub fn await_writes(&mut self, load: &Load, since: Moment) -> anyhow::Result<()> {
        self.cluster
            .wait("writes to be accepted again", HEAL_LIMIT, |_| load.has_written_since(since).then_some(()))
    }

    /// The node that leads.
    pub fn leader(&mut self) -> anyhow::Result<usize> {
        self.cluster.wait("a leader", SETTLE_LIMIT, Cluster::leader)
    }

    /// Some node that is awake and does not lead.
    pub fn follower(&mut self) -> anyhow::Result<usize> {
        let leader = self.leader()?;
        let followers: Vec<usize> = self.cluster.awake().filter(|&node| node != leader).collect();
        ensure!(!followers.is_empty(), "there is no follower");
        Ok(followers[self.rng.below(followers.len() as u64) as usize])
    }

    /// Starts a node that does not run and waits until it has what the leader had then.
    pub fn start_again(&mut self, node: usize) -> anyhow::Result<()> {
        self.cluster.spawn(node)?;
        self.await_caught_up(node)
    }

    /// Waits until a node has applied what is written now. Asked by a read: figures of INFO may be a second old.
    pub fn await_caught_up(&mut self, node: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        let marker = format!("{:x}", self.rng.next());
        let write = ["SET", "marker", marker.as_str()];
        self.cluster.wait("a marker to be written", SETTLE_LIMIT, |cluster| {
            let leader = cluster.leader()?;
            (cluster.ask(leader, &write).ok()? == Reply::Simple(b"OK".to_vec())).then_some(())
        })?;
        let what = format!("node {node} to catch up");
        self.cluster.wait(&what, SETTLE_LIMIT, |cluster| {
            let found = cluster.ask_itself(node, &["GET", "marker"]).ok()?;
            (found == Reply::Bulk(marker.clone().into_bytes())).then_some(())
        })?;
        self.figure("caught up", started.elapsed());
        Ok(())
    }

    /// Waits until just the nodes that are awake are voters, and the leader hears from all of them.
    pub fn await_all_voters(&mut self) -> anyhow::Result<()> {
        self.cluster.wait("all nodes to be connected voters", SETTLE_LIMIT, |cluster| {
            let nodes = cluster_nodes(cluster, cluster.leader()?).ok()?;
            let good = nodes.iter().filter(|line| line.voter && line.connected);
            let voters: BTreeSet<&str> = good.map(|line| line.id.as_str()).collect();
            let ids: anyhow::Result<BTreeSet<String>> =
                cluster.awake().map(|node| node_id(cluster, node)).collect();
            let ids = ids.ok()?;
            (voters.len() == nodes.len() && ids.iter().map(String::as_str).eq(voters)).then_some(())
        })
    }

    /// Ends the load and judges what its clients saw. Everything must be whole again.
    pub fn judge(&mut self, load: Load) -> anyhow::Result<Record> {
        let started = Instant::now();
        let record = load.finish()?;
        let mut summary = format!(
            "  round {}: {} writes acknowledged, {} objects",
            self.round,
            record.writes.len(),
            record.objects.len()
        );
        for (doubt, count) in &record.doubts {
            let _ = write!(summary, ", {count} {doubt:?}");
        }
        for (refusal, count) in &record.refusals {
            let _ = write!(summary, ", {count} × {refusal}");
        }
        judge_histories(&record)?;
        ensure!(record.surprises.is_empty(), "{}", record.surprises.join("\n"));
        if self.is_cluster() {
            self.cluster.await_equal_digests(SETTLE_LIMIT)?;
        }
        let prefix = format!("{}", self.round);
        for (object, history) in &record.objects {
            self.settled.push((prefix.clone(), *object, history.clone()));
        }
        println!("{summary}; judged in {:.1} s", started.elapsed().as_secs_f32());
        Ok(record)
    }

    /// What any earlier round left is as it was; or as an operation can have made it that got no answer, for such a one may
    /// arrive at any later time.
    fn everything_is_still_there(&mut self) -> anyhow::Result<()> {
        let node = if self.is_cluster() { self.leader()? } else { 0 };
        let mut late = 0;
        for (prefix, object, history) in &mut self.settled {
            let found = read_object(self.cluster.directory(), node, prefix, *object)?;
            let last = history.ops.last().context("an object without operations")?;
            if found == last.action {
                continue;
            }
            let was = last.action.clone();
            let end = history.ops.iter().filter(|op| op.is_known()).map(|op| op.ret).max().unwrap_or(0);
            history.ops.push(Op { client: u32::MAX, call: end + 1, ret: end + 2, action: found.clone() });
            if let Err(fault) = check(object.kind, history) {
                bail!("{} was {was:?} and is {found:?}: {fault}", object.key(prefix));
            }
            // Fields also go by themselves.
            late += usize::from(object.kind != Kind::Fields);
        }
        if late > 0 {
            println!("  {late} objects were changed after their round, by operations that got no answer");
        }
        Ok(())
    }

    fn is_cluster(&self) -> bool {
        self.cluster.nodes.len() > 1
    }
}

/// Every history must be possible; the first that is not is shown.
pub fn judge_histories(record: &Record) -> anyhow::Result<()> {
    let mut faults: Vec<(&Object, &History, Fault)> = Vec::new();
    for (object, history) in &record.objects {
        if let Err(fault) = check(object.kind, history) {
            faults.push((object, history, fault));
        }
    }
    let Some((object, history, fault)) = faults.first() else { return Ok(()) };
    let others = faults.len() - 1;
    bail!(
        "{:?} {}: {fault} ({others} more objects have faults)\n{}",
        object.kind,
        object.key(""),
        history.excerpt(fault.at())
    )
}

/// A line of CLUSTER NODES.
pub struct NodeLine {
    pub id: String,
    pub addr: String,
    pub voter: bool,
    pub connected: bool,
}

/// CLUSTER NODES as a node shows it.
pub fn cluster_nodes(cluster: &Cluster, node: usize) -> anyhow::Result<Vec<NodeLine>> {
    let text = match cluster.ask(node, &["CLUSTER", "NODES"])? {
        Reply::Bulk(text) | Reply::Verbatim(_, text) => String::from_utf8_lossy(&text).into_owned(),
        other => bail!("CLUSTER NODES answers {other}"),
    };
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, addr, flags, _, _, _, _, link, ..] = words.as_slice() else {
                bail!("a line of CLUSTER NODES: {line}")
            };
            let flags: Vec<&str> = flags.split(',').collect();
            Ok(NodeLine {
                id: (*id).to_owned(),
                addr: addr.split('@').next().unwrap_or_default().to_owned(),
                voter: !flags.contains(&"nofailover"),
                connected: *link == "connected" && !flags.contains(&"fail?"),
            })
        })
        .collect()
}

/// CLUSTER MYID.
pub fn node_id(cluster: &Cluster, node: usize) -> anyhow::Result<String> {
    match cluster.ask(node, &["CLUSTER", "MYID"])? {
        Reply::Bulk(id) => Ok(String::from_utf8_lossy(&id).into_owned()),
        other => bail!("CLUSTER MYID answers {other}"),
    }
}

/// No client was told anything but that it has to connect again. (Who was blocked hears `-UNBLOCKED`, as from Redis, and is
/// counted apart.)
fn only_reconnects(record: &Record) -> anyhow::Result<()> {
    let doubts: usize =
        record.doubts.iter().filter(|(doubt, _)| **doubt != Doubt::Closed).map(|(_, count)| count).sum();
    ensure!(
        record.refusals.is_empty() && doubts == 0,
        "clients saw more than a reconnect: {:?} {:?}",
        record.refusals,
        record.doubts
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_samples() {
        let samples: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(Statistic::Median.of(&samples), Duration::from_millis(50));
        assert_eq!(Statistic::P99.of(&samples), Duration::from_millis(99));
        assert_eq!(Statistic::P99.of(&samples[..1]), Duration::from_millis(1));
    }

    #[test]
    fn a_bound_that_is_exceeded_fails() {
        let figures = Figures(BTreeMap::from([("gap", vec![Duration::from_millis(300)])]));
        let bound = |ms| [("gap", Statistic::Median, Duration::from_millis(ms))];
        figures.judge(&bound(300)).unwrap();
        figures.judge(&bound(299)).unwrap_err();
        figures.judge(&[("other", Statistic::Median, Duration::from_secs(1))]).unwrap_err();
    }
}
