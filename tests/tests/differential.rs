//! Random commands on `cairn-server` and on `redis-server`, whose replies must not differ (`src/differential`).
//!
//! `CAIRN_DIFFERENTIAL_SEED` chooses another run than that of `cargo xtask verify`; `cargo xtask differential` goes on for
//! longer, with a fresh seed each time.

use cairn_tests::differential::known::KNOWN;
use cairn_tests::differential::{Options, run};
use std::time::Duration;

/// Of a run. What verify says must not hang on chance: the seed is always the same.
const SEED: u64 = 7;
const COMMANDS: usize = 200_000;
/// Enough to see whether they are of one kind.
const DIFFERENCES_MAX: usize = 5;
const SHRINK_LIMIT: Duration = Duration::from_secs(8);

#[test]
fn no_reply_differs_from_that_of_redis_but_as_explained() {
    let chosen = std::env::var("CAIRN_DIFFERENTIAL_SEED").ok();
    let seed = chosen.map_or(SEED, |seed| seed.parse().expect("CAIRN_DIFFERENTIAL_SEED is a number"));
    println!("seed {seed}");
    let options = Options {
        seed,
        episode: 0,
        commands: COMMANDS,
        differences_max: DIFFERENCES_MAX,
        shrink_limit: SHRINK_LIMIT,
    };
    let report = run(options, &mut |_| ()).unwrap();
    assert!(report.differences.is_empty(), "seed {seed}:\n\n{}", report.differences.join("\n\n"));
    for (row, count) in KNOWN.iter().zip(&report.known) {
        println!("{count:>7} {}", row.why);
    }
}
