//! A few rounds of each scenario of [`cairn_tests::cluster::scenarios`]; `cargo xtask cluster-test` runs as many as wanted.
//! `CAIRN_CLUSTER_SEED` repeats a round.

use cairn_tests::cluster::scenarios::{Run, SCENARIOS, run, unavailable};

/// Runs one scenario, briefly.
fn brief(name: &str, rounds: usize) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("the scenario exists");
    if let Some(why) = unavailable(scenario) {
        println!("{name} skipped: {why}");
        return;
    }
    let seed = std::env::var("CAIRN_CLUSTER_SEED")
        .map_or(1, |text| text.parse().expect("CAIRN_CLUSTER_SEED is a number"));
    if let Err(error) = run(scenario, Run { rounds, seed, brief: true }) {
        panic!("{error:#}");
    }
}

macro_rules! scenarios {
    ($($test:ident: $name:literal, $rounds:literal;)*) => {
        $(
            #[test]
            fn $test() {
                brief($name, $rounds);
            }
        )*

        #[test]
        fn every_scenario_has_a_test() {
            let tested = [$($name),*];
            for scenario in SCENARIOS {
                assert!(tested.contains(&scenario.name), "{} has no test here", scenario.name);
            }
        }
    };
}

scenarios! {
    restart_single: "restart-single", 2;
    kill_leader: "kill-leader", 3;
    pause_leader: "pause-leader", 2;
    cut_leader: "cut-leader", 1;
    one_way_cut: "one-way-cut", 2;
    wipe_follower: "wipe-follower", 1;
    kill_all: "kill-all", 1;
    membership: "membership", 1;
    interrupted_snapshot: "interrupted-snapshot", 1;
    adopt_single: "adopt-single", 1;
    rolling_restart: "rolling-restart", 1;
    failover: "failover", 2;
    sigterm: "sigterm", 1;
    paused_reads: "paused-reads", 1;
}
