//! Random commands for `cairn-server` and `redis-server` for as long as wanted: `cargo xtask differential`.

use cairn_tests::differential::known::KNOWN;
use cairn_tests::differential::{Options, run};
use clap::Parser;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sends random commands to cairn-server and to redis-server, and shows where the replies differ.
#[derive(Parser)]
struct Arguments {
    /// Repeat the run that printed this seed; a fresh one if not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many commands to send
    #[arg(long, default_value = "1000000")]
    commands: usize,
    /// Begin with this episode of the seed
    #[arg(long, default_value = "0")]
    episode: u64,
    /// End after so many kinds of differences
    #[arg(long, default_value = "20")]
    differences: usize,
    /// How long to look for a shorter way to each of them
    #[arg(long, default_value = "8")]
    shrink_seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = arguments.seed.unwrap_or_else(fresh);
    println!("seed {seed}");
    let options = Options {
        seed,
        episode: arguments.episode,
        commands: arguments.commands,
        differences_max: arguments.differences,
        shrink_limit: Duration::from_secs(arguments.shrink_seconds),
    };
    match run(options, &mut |difference| println!("\n{difference}")) {
        Err(error) => {
            println!("seed {seed}: {error:#}");
            ExitCode::FAILURE
        }
        Ok(report) => {
            println!("\n{} commands, {} kinds of differences", report.commands, report.differences.len());
            println!("differences that are meant:");
            KNOWN.iter().zip(&report.known).for_each(|(row, count)| println!("{count:>7} {}", row.why));
            if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
