//! The long rounds with clusters of real processes: `cargo xtask cluster-test [SCENARIO…] --rounds N --seed S`.

use cairn_tests::cluster::scenarios::{Run, SCENARIOS, run, unavailable};
use clap::Parser;
use std::process::ExitCode;

/// Runs scenarios with a cluster of real processes and judges what its clients saw.
#[derive(Parser)]
struct Options {
    /// Which ones; all if none is named
    #[arg(value_parser = SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>())]
    scenarios: Vec<String>,
    /// Rounds of each; otherwise as many as the acceptance asks for
    #[arg(long)]
    rounds: Option<usize>,
    /// Of the first round; the next ones count up
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Short pauses and cuts
    #[arg(long)]
    brief: bool,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut failed = Vec::new();
    for scenario in SCENARIOS {
        if !options.scenarios.is_empty() && !options.scenarios.iter().any(|name| name == scenario.name) {
            continue;
        }
        if options.list {
            println!("{:<22} {:>3} rounds  {}", scenario.name, scenario.rounds, scenario.summary);
            continue;
        }
        if let Some(why) = unavailable(scenario) {
            println!("{} skipped: {why}", scenario.name);
            continue;
        }
        let rounds = options.rounds.unwrap_or(scenario.rounds);
        if let Err(error) = run(scenario, Run { rounds, seed: options.seed, brief: options.brief }) {
            println!("FAILED {}: {error:#}", scenario.name);
            failed.push(scenario.name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
