//! One run: nodes, clients and a saboteur, from a seed to a verdict.

use std::panic;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use cairn_engine::rng::Rng;
use turmoil::Builder;

use super::clients::{self, World};
use super::faults::{self, Saboteur};
use super::machine;
use super::node::{self, Abort, Settings, Site};
use super::trace::{self, Detail};

/// What a run is made of. The same options give the same run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub detail: Detail,
}

/// What came of a run.
pub struct Outcome {
    pub seed: u64,
    /// Of the trace.
    pub hash: u64,
    pub lines: u64,
    pub simulated: Duration,
    /// Figures by name: operations, faults, what the nodes have told.
    pub figures: Vec<(String, u64)>,
    pub verdict: Result<(), String>,
}

/// How many nodes there are.
const NODES: usize = 3;
/// The group has to have come about by then.
const BEGIN_LIMIT_MS: u64 = 15_000;
/// How long things are done to it.
const TROUBLE_MS: (u64, u64) = (800, 2000);
/// A run that takes longer hangs.
const RUN_LIMIT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(1);

/// What the nodes have logged, and the name under which it is counted.
const STORY: &[(&str, &str)] = &[
    ("this node has been elected and leads", "elections"),
    ("this node leads", "leaderships"),
    ("this node leads no longer", "leaderships lost"),
    ("snapshot done", "snapshots written"),
    ("the leader's snapshot is installed", "snapshots installed"),
    ("a batch after a gap is dropped", "gaps"),
    ("the node has caught up and is a voter", "nodes taken in"),
    ("giving the term up", "terms given up"),
];

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs one simulation. The process is one from then on.
pub fn run(options: Options) -> Outcome {
    let seed = options.seed;
    machine::begin(seed);
    trace::begin(options.detail);
    cairn_replication::runtime::seed_this_thread(Some(seed));
    note_panics();
    let (simulated, mut figures, verdict) = simulate(seed);
    let panics = PANICS.lock().expect("nothing panics while it notes a panic");
    let verdict = match panics.first() {
        Some(panic) => Err(format!("something panicked: {panic} ({verdict:?})")),
        None => verdict,
    };
    let story = trace::story();
    for (text, name) in STORY {
        let count = story.iter().filter(|(said, _)| said.starts_with(text)).map(|(_, count)| count).sum();
        figures.push(((*name).to_owned(), count));
    }
    let (hash, lines) = trace::hash();
    Outcome { seed, hash, lines, simulated, figures, verdict }
}

fn note_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().is::<Abort>() {
            return;
        }
        PANICS.lock().expect("nothing panics while it notes a panic").push(info.to_string());
        print(info);
    }));
}

fn simulate(seed: u64) -> (Duration, Vec<(String, u64)>, Result<(), String>) {
    let rng = Rng::new(seed ^ 0x5eed);
    let between = |(from, to): (u64, u64)| from + rng.below(to - from + 1);
    let settings = Settings {
        names: (1..=NODES).map(|number| format!("n{number}")).collect(),
        node_timeout: Duration::from_millis(between((150, 400))),
    };
    let latency_max = Duration::from_millis(between((1, 8)));
    let trouble_ms = between(TROUBLE_MS);
    let clients = between((2, 5)) as usize;

    let mut sim = Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(machine::EPOCH_S))
        .simulation_duration(RUN_LIMIT)
        .tick_duration(TICK)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(latency_max)
        .tcp_capacity(1024)
        .build();
    let sites: Vec<_> = (0..NODES).map(|number| Site::new(number, &settings, seed)).collect();
    for site in &sites {
        site.disk_us_max.store(faults::DISK_US_MAX, std::sync::atomic::Ordering::Relaxed);
        let software = std::rc::Rc::clone(site);
        sim.host(site.name.as_str(), move || node::software(std::rc::Rc::clone(&software)));
    }
    let world = World::new(settings.names.clone(), clients, seed);
    sim.client(clients::HOST, clients::software(std::rc::Rc::clone(&world)));
    let mut saboteur = Saboteur::new(Rng::new(seed ^ 0xbad), &sites, &world, latency_max);

    let mut trouble_until = None;
    let verdict = loop {
        let now = sim.elapsed();
        machine::set_now(now, 0);
        let now = now.as_millis() as u64;
        match sim.step() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error.to_string()),
        }
        if let Err(error) = saboteur.tend(&mut sim, now) {
            break Err(error);
        }
        match trouble_until {
            None if world.acknowledged.get() > 0 => trouble_until = Some(now + trouble_ms),
            None if now > BEGIN_LIMIT_MS => break Err("no group has come about".to_owned()),
            None => {}
            Some(until) if now < until => {
                saboteur.undo_due(&mut sim, now);
                saboteur.strike_if_due(&mut sim, now);
            }
            // A server that was asked to stop may do so only now.
            Some(_) => {
                world.stop.set(true);
                saboteur.heal(&mut sim, now);
                world.healed.set(true);
            }
        }
    };
    let mut figures = vec![
        ("operations".to_owned(), world.ops.get()),
        ("acknowledged".to_owned(), world.acknowledged.get()),
        ("unknown".to_owned(), world.unknown.get()),
    ];
    figures.extend(saboteur.counts.0.iter().map(|(name, count)| ((*name).to_owned(), *count)));
    (sim.elapsed(), figures, verdict)
}
