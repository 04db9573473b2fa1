//! Groups of nodes on simulated machines; see `cairn_tests::sim`. `cargo xtask sim --seeds N` for more of it.

use std::process::{Command, Output};

/// Seeds that are run each time. They cost most of the time that verify has for this file.
const SEEDS: u64 = 200;

/// What must have happened in all runs together, or they show little: name and least count.
const MUST_HAPPEN: &[(&str, u64)] = &[
    ("acknowledged", 8_000),
    ("unknown", 100),
    ("leaderships lost", 100),
    ("power lost", 50),
    ("disk failed", 50),
    ("disk lost", 10),
    ("nodes taken in", 10),
    ("snapshots written", 30),
    ("snapshots installed", 3),
    ("messages lost", 50),
    ("one-way cut", 50),
];

fn sim(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

fn figure(said: &str, name: &str) -> u64 {
    let figures = said.trim().lines().last().unwrap_or_default().split(['=', ',', ':']).map(str::trim);
    let figures: Vec<&str> = figures.collect();
    figures.windows(2).find(|pair| pair[0] == name).map_or(0, |pair| pair[1].parse().unwrap())
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_all_nodes_end_alike() {
    let (output, said) = sim(&["--seeds", &SEEDS.to_string()]);
    assert!(output.status.success(), "{said}");
    for (name, least) in MUST_HAPPEN {
        let count = figure(&said, name);
        assert!(count >= *least, "{name} happened {count} times, not {least}: {said}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in ["3", "11"] {
        // With everything that openraft notes, and every message on the network.
        let (_, first) = sim(&["--seed", seed, "--deep"]);
        let (output, second) = sim(&["--seed", seed, "--deep"]);
        assert!(output.status.success(), "{second}");
        assert_eq!(first, second, "seed {seed} gives two traces; --trace --deep prints them");
    }
    let (_, one) = sim(&["--seed", "3"]);
    let (_, other) = sim(&["--seed", "4"]);
    assert_ne!(one.split("trace").nth(1), other.split("trace").nth(1), "seeds make a difference");
}
