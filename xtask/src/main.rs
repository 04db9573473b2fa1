//! Developer commands: `cargo xtask …`. `.ci/run` calls the same `verify` that people call.

mod cluster;
mod deploy;
mod planted;
mod steps;
mod tidy;
mod tools;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use steps::{Steps, cargo};

/// How long verify fuzzes each target. `cargo xtask fuzz` goes on for as long as it is told.
const VERIFY_FUZZ_SECONDS: &str = "5";
/// The targets of `tests/src/bin/fuzz.rs`.
const FUZZ_TARGETS: &[&str] = &[
    "request",
    "reply",
    "log",
    "peer",
    "json",
    "jsonpath",
    "rdb",
    "restore",
    "query",
    "search",
    "expression",
];

/// How many tests of the client libraries run side by side.
const CLIENTS_AT_ONCE: &str = "4";

/// What `tests/bench/bench.py` measures.
const BENCHES: &[&str] = &["throughput", "memory", "snapshot", "load", "search", "cluster"];

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Developer commands of Cairn")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change is merged; changes no file of the tree
    Verify,
    /// Format, and apply clippy's suggestions
    Fix,
    /// The golden scripts (tests/README.md)
    Golden {
        /// Only scripts whose path contains this
        filter: Option<String>,
        /// Whom to ask; all of them if not given
        #[arg(long, value_enum)]
        target: Option<Target>,
        /// Record what --target answers in place of comparing
        #[arg(long, requires = "target")]
        bless: bool,
    },
    /// The use cases with redis-py; further arguments go to pytest
    UseCases {
        /// Whom to ask
        #[arg(long, value_enum, default_value = "cairn")]
        target: Target,
        #[arg(last = true)]
        pytest: Vec<String>,
    },
    /// Client libraries, and what people build on them, follow a failover; further arguments go to pytest
    Clients {
        #[arg(last = true)]
        pytest: Vec<String>,
    },
    /// The crash tests, at greater length than verify runs them
    Crash {
        /// Random histories for each test with the simulated disk
        #[arg(long, default_value = "30")]
        seeds: String,
        /// How often a real server is killed
        #[arg(long, default_value = "100")]
        rounds: String,
    },
    /// Random commands for cairn-server and redis-server, whose replies must not differ but as explained (tests/README.md)
    Differential {
        /// Repeat the run that printed this seed; a fresh one if not given
        #[arg(long)]
        seed: Option<String>,
        #[arg(long, default_value = "1000000")]
        commands: String,
        /// Begin with this episode of the seed
        #[arg(long, default_value = "0")]
        episode: String,
    },
    /// Groups of nodes on simulated machines, disks and networks; what went wrong for a seed goes wrong again for it
    Sim {
        /// How many seeds to run
        #[arg(long)]
        seeds: Option<String>,
        /// The one to run; with --seeds, the first one
        #[arg(long)]
        seed: Option<String>,
        /// Print everything that happens
        #[arg(long)]
        trace: bool,
        /// Trace what openraft notes and every message on the network too
        #[arg(long)]
        deep: bool,
    },
    /// Kill, pause, cut off and change clusters of real processes, and judge what their clients saw
    ClusterTest {
        /// Which scenarios; all if none is named. `--list` names them
        scenarios: Vec<String>,
        /// Rounds of each; otherwise as many as the acceptance asks for
        #[arg(long)]
        rounds: Option<String>,
        /// Of the first round; the next ones count up
        #[arg(long, default_value = "1")]
        seed: String,
        /// Say what there is, and run nothing
        #[arg(long)]
        list: bool,
    },
    /// Plant bugs one after the other, and see that the tests find them (tests/README.md)
    Planted {
        /// Only bugs whose name contains this
        bug: Option<String>,
    },
    /// Throw mutated inputs at a decoder
    Fuzz {
        #[arg(value_parser = FUZZ_TARGETS.to_vec())]
        target: String,
        #[arg(long, default_value = "60")]
        seconds: String,
        /// Repeat the run that printed this seed
        #[arg(long)]
        seed: Option<String>,
        /// Run just this file
        #[arg(long)]
        input: Option<PathBuf>,
    },
    /// Compare with redis-server on this machine: throughput, memory, snapshot or load; or three nodes with one, and with
    /// etcd: cluster; or measure indexes, and whether they are right: search. Figures go to tests/bench/runs
    Bench {
        /// What to measure; further arguments as tests/bench/bench.py says
        #[arg(value_parser = BENCHES.to_vec())]
        name: String,
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Nodes on this machine that form a cluster, until ctrl-c; data and logs in target/cluster
    Cluster {
        #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(cluster::NODES_MAX)))]
        nodes: u16,
        /// The first node's port for clients; the others' follow
        #[arg(long, default_value_t = 7001)]
        base_port: u16,
        /// Wipe what former nodes have left
        #[arg(long)]
        fresh: bool,
        /// Further directives for all of them
        #[arg(last = true)]
        directives: Vec<String>,
    },
    /// What deploy/ and the READMEs tell people to run, against the programs
    Deploy,
    /// The style that no compiler checks: crate arrows, where files are synced, lengths, paths in ARCHITECTURE.md
    Tidy,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Target {
    /// The engine in the test process
    Engine,
    /// A cairn-server of this build, or the one at CAIRN_TEST_ADDR
    Cairn,
    /// A follower of three nodes, which passes on to its leader
    Forwarded,
    /// The redis-server of this machine, or REDIS_SERVER_BIN
    Redis,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Engine => "engine",
            Target::Cairn => "cairn",
            Target::Forwarded => "forwarded",
            Target::Redis => "redis",
        }
    }
}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    std::env::set_current_dir(root)?;
    match command {
        Command::Verify => verify(),
        Command::Fix => fix(),
        Command::Golden { filter, target, bless } => golden(filter, target, bless),
        Command::UseCases { target, pytest } => use_cases(&mut Steps::new(), target, &pytest),
        Command::Clients { pytest } => clients(&mut Steps::new(), &pytest),
        Command::Crash { seeds, rounds } => crash(&seeds, &rounds),
        Command::Differential { seed, commands, episode } => differential(seed, &commands, &episode),
        Command::Sim { seeds, seed, trace, deep } => sim(seeds, seed, trace, deep),
        Command::ClusterTest { scenarios, rounds, seed, list } => {
            cluster_test(&scenarios, rounds.as_deref(), &seed, list)
        }
        Command::Planted { bug } => planted::run(bug.as_deref()),
        Command::Fuzz { target, seconds, seed, input } => fuzz(&target, &seconds, seed, input),
        Command::Bench { name, arguments } => bench(&name, &arguments),
        Command::Cluster { nodes, base_port, fresh, directives } => {
            build_release(&mut Steps::new())?;
            cluster::run(nodes, base_port, fresh, &directives)
        }
        Command::Deploy => {
            let mut steps = Steps::new();
            build_server(&mut steps)?;
            check_deploy(&mut steps)
        }
        Command::Tidy => tidy::check(Path::new(".")),
    }
}

/// Quick checks first: what is wrong is said soon.
fn verify() -> anyhow::Result<()> {
    let before = tools::tree_state()?;
    let mut steps = Steps::new();
    steps.cargo("format", &["fmt", "--all", "--check"], "cargo xtask fix")?;
    steps.call("tidy", || tidy::check(Path::new(".")))?;
    steps.cargo(
        "clippy",
        &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
        "cargo xtask fix, then by hand what is left",
    )?;
    steps.call("tools", || {
        tools::ensure_redis()?;
        tools::ensure_python()?;
        tools::ensure_node_modules().map(drop)
    })?;
    build_server(&mut steps)?;
    check_deploy(&mut steps)?;
    match tools::has_nextest() {
        true => {
            steps.cargo("tests", &["nextest", "run", "--locked", "--workspace"], "the failures are above")?
        }
        false => {
            println!("    cargo-nextest is not installed: cargo test takes its place, a little slower");
            let args = ["test", "--quiet", "--locked", "--workspace", "--lib", "--bins", "--tests"];
            steps.cargo("tests", &args, "the failures are above")?;
        }
    }
    steps.cargo("doctests", &["test", "--quiet", "--locked", "--workspace", "--doc"], "see above")?;
    use_cases(&mut steps, Target::Cairn, &[])?;
    clients(&mut steps, &[])?;
    for target in FUZZ_TARGETS {
        let args = ["run", "--quiet", "--locked", "-p", "cairn-tests", "--bin", "fuzz", "--", target];
        // Always the same inputs: what verify says must not hang on chance.
        let args = [&args[..], &["--seconds", VERIFY_FUZZ_SECONDS, "--seed", "1"]].concat();
        steps.cargo(&format!("fuzz {target}"), &args, "the input is named above")?;
    }
    steps.call("tree", || tools::expect_tree_state(&before))?;
    steps.done("verified");
    Ok(())
}

fn fix() -> anyhow::Result<()> {
    let mut steps = Steps::new();
    let clippy = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    steps.cargo("clippy", &clippy, "by hand what clippy cannot repair")?;
    steps.cargo("format", &["fmt", "--all"], "what does not parse cannot be formatted")
}

fn golden(filter: Option<String>, target: Option<Target>, bless: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        !bless || target != Some(Target::Forwarded),
        "a cluster answers as a single node does: bless with --target redis or cairn"
    );
    let mut steps = Steps::new();
    if target.is_none_or(|target| matches!(target, Target::Cairn | Target::Forwarded)) {
        build_server(&mut steps)?;
    }
    if target.is_none_or(|target| target == Target::Redis) {
        tools::ensure_redis()?;
    }
    // The tests' names begin with the target: engine::zset, redis::zset.
    let names = target.map_or(String::new(), |target| format!("{}::", target.name()));
    let mut command = cargo(&["test", "--quiet", "-p", "cairn-tests", "--test", "golden", "--", &names]);
    command.env("CAIRN_GOLDEN_FILTER", filter.unwrap_or_default()).env("RUST_BACKTRACE", "0");
    command.env("CAIRN_GOLDEN_ALL", "1");
    if bless {
        command.env("CAIRN_GOLDEN_BLESS", "1");
    }
    steps.run("golden scripts", command, "lines with - were expected, + came in their place")
}

fn use_cases(steps: &mut Steps, target: Target, pytest: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(
        matches!(target, Target::Cairn | Target::Redis),
        "the use cases need a server of their own: --target cairn or redis"
    );
    if target == Target::Cairn {
        build_server(steps)?;
    }
    let mut command = tools::ensure_python()?;
    command.args(["-m", "pytest", "--quiet", "tests/use_cases", "--server", target.name()]).args(pytest);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    if std::env::var_os("CAIRN_SERVER_BIN").is_none() {
        command.env("CAIRN_SERVER_BIN", tools::target_dir().join("debug").join("cairn-server"));
    }
    steps.run("use cases", command, "the failures are above")
}

fn clients(steps: &mut Steps, pytest: &[String]) -> anyhow::Result<()> {
    build_server(steps)?;
    let mut command = tools::ensure_python()?;
    // They mostly wait: for elections, and for a library's pauses between its attempts.
    command.args(["-m", "pytest", "--quiet", "-rs", "tests/clients"]);
    command.args(["--numprocesses", CLIENTS_AT_ONCE, "--dist", "worksteal"]).args(pytest);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(modules) = tools::ensure_node_modules()? {
        command.env("CAIRN_NODE_MODULES", modules);
    }
    if std::env::var_os("CAIRN_SERVER_BIN").is_none() {
        command.env("CAIRN_SERVER_BIN", tools::target_dir().join("debug").join("cairn-server"));
    }
    steps.run("client libraries", command, "the failures are above")
}

/// The power cut at every write and sync of a simulated disk, damage at every byte, real processes killed.
fn crash(seeds: &str, rounds: &str) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    build_release(&mut steps)?;
    for (name, package, test) in [("log", "cairn-storage", "log"), ("whole server", "cairn-tests", "crash_*")]
    {
        let mut command = cargo(&["test", "--release", "-p", package, "--test", test]);
        command.env("CAIRN_CRASH_SEEDS", seeds).env("CAIRN_CRASH_ROUNDS", rounds);
        steps.run(name, command, "the failing history is named above")?;
    }
    Ok(())
}

fn differential(seed: Option<String>, commands: &str, episode: &str) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    build_server(&mut steps)?;
    tools::ensure_redis()?;
    let mut command = cargo(&["run", "--quiet", "-p", "cairn-tests", "--bin", "differential", "--"]);
    command.args(["--commands", commands, "--episode", episode]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed]);
    }
    steps.run("random commands", command, "the seed is named above, and what differs with it")
}

/// In the profile of the tests: a seed means the same there, and the assertions of openraft are on.
fn sim(seeds: Option<String>, seed: Option<String>, trace: bool, deep: bool) -> anyhow::Result<()> {
    let mut command = cargo(&["run", "--quiet", "-p", "cairn-tests", "--bin", "sim", "--"]);
    for (name, value) in [("--seeds", seeds), ("--seed", seed)] {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    }
    for (name, wanted) in [("--trace", trace), ("--deep", deep)] {
        if wanted {
            command.arg(name);
        }
    }
    Steps::new().run("simulation", command, "the seed is named above")
}

fn cluster_test(scenarios: &[String], rounds: Option<&str>, seed: &str, list: bool) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    // Optimised, as what is to be judged: the figures are part of it.
    let build = ["build", "--release", "-p", "cairn-server", "-p", "cairn-tests", "--bins"];
    steps.cargo("cairn-server and the tests", &build, "see the compiler's errors")?;
    let mut command = std::process::Command::new(tools::target_dir().join("release").join("cluster"));
    command.args(scenarios).args(["--seed", seed]);
    if let Some(rounds) = rounds {
        command.args(["--rounds", rounds]);
    }
    if list {
        command.arg("--list");
    }
    steps.run("cluster", command, "the round's seed, the history and the nodes' logs are named above")
}

fn fuzz(target: &str, seconds: &str, seed: Option<String>, input: Option<PathBuf>) -> anyhow::Result<()> {
    let args = ["run", "--quiet", "--profile", "fuzz", "-p", "cairn-tests", "--bin", "fuzz", "--", target];
    let mut command = cargo(&args);
    command.args(["--seconds", seconds]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed]);
    }
    if let Some(input) = input {
        command.arg("--input").arg(input);
    }
    Steps::new().run(&format!("fuzz {target}"), command, "the input is named above")
}

fn bench(name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    tools::ensure_redis()?;
    build_release(&mut steps)?;
    let mut command = std::process::Command::new("python3");
    command.args(["tests/bench/bench.py", name]).args(arguments);
    let release = tools::target_dir().join("release");
    command.env("CAIRN_SERVER_BIN", release.join("cairn-server"));
    for (bench, bin, variable) in
        [("cluster", "etcd-load", "ETCD_LOAD_BIN"), ("search", "search-load", "SEARCH_LOAD_BIN")]
    {
        if name == bench {
            let load = ["build", "--release", "-p", "cairn-bench", "--bin", bin];
            steps.cargo(bin, &load, "see the compiler's errors")?;
            command.env(variable, release.join(bin));
        }
    }
    steps.run(&format!("bench {name}"), command, "see above")
}

fn build_release(steps: &mut Steps) -> anyhow::Result<()> {
    let server = ["build", "--release", "-p", "cairn-server", "--bins"];
    steps.cargo("cairn-server", &server, "see the compiler's errors")
}

fn check_deploy(steps: &mut Steps) -> anyhow::Result<()> {
    steps.call("deploy", || deploy::check(&tools::target_dir().join("debug")))
}

/// The binary that the tests start.
fn build_server(steps: &mut Steps) -> anyhow::Result<()> {
    steps.cargo(
        "cairn-server",
        &["build", "--locked", "-p", "cairn-server", "--bins"],
        "see the compiler's errors",
    )
}
