//! Random commands on HyperLogLogs. Their keys are their own more often than not, or they would hardly ever grow.

use super::{key, one_in, pick};
use crate::rng::Rng;

/// A command.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    let mut argv;
    match rng.below(7) {
        0 => {
            argv = vec![b"PFCOUNT".to_vec()];
            argv.extend((0..=rng.below(3)).map(|_| sketch(rng)));
        }
        1 => {
            argv = vec![b"PFMERGE".to_vec()];
            argv.extend((0..=rng.below(3)).map(|_| sketch(rng)));
        }
        2 => {
            let word = pick(rng, &["TODENSE", "ENCODING", "DECODE", "GETREG", "NOSUCH"]);
            argv = vec![b"PFDEBUG".to_vec(), word.into(), sketch(rng)];
        }
        _ => {
            argv = vec![b"PFADD".to_vec(), sketch(rng)];
            argv.extend((0..rng.below(60)).map(|_| rng.below(100_000).to_string().into_bytes()));
        }
    }
    argv
}

fn sketch(rng: &Rng) -> Vec<u8> {
    if one_in(rng, 4) { key(rng) } else { format!("sketch{}", rng.below(4)).into_bytes() }
}
