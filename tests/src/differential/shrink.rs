//! From an episode in which the servers disagree to the few commands that it takes.

use super::generate::{DUMP_OF, Step};
use super::play::{Difference, Pair};
use super::values::KEY_POOLS;
use std::time::{Duration, Instant};

/// Fewer steps that end in a difference at the same command, as few as can be found within `limit`.
pub fn shrink(
    pair: &mut Pair,
    steps: &[Step],
    difference: &Difference,
    limit: Duration,
) -> anyhow::Result<(Vec<Step>, Difference)> {
    let started = Instant::now();
    let mut kept: Vec<Step> = match difference.at {
        Some(at) => steps[..=at].to_vec(),
        None => steps.to_vec(),
    };
    let mut last = difference.clone();
    let is_same =
        |found: &Difference| found.args == difference.args && found.at.is_some() == difference.at.is_some();
    // Most often it is about the keys of the command.
    let mut rest = kept.clone();
    rest.retain(|step| step.args.iter().any(|arg| names_a_key_of(arg, &difference.args)));
    if let Some(found) = pair.play(&rest, usize::MAX)?.differences.into_iter().find(&is_same) {
        rest.truncate(found.at.map_or(rest.len(), |at| at + 1));
        (kept, last) = (rest, found);
    }
    let mut length = kept.len() / 2;
    while length > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < kept.len() && started.elapsed() < limit {
            let mut rest = kept.clone();
            rest.drain(at..(at + length).min(kept.len()));
            let outcome = pair.play(&rest, usize::MAX)?;
            match outcome.differences.into_iter().find(&is_same) {
                Some(found) => {
                    rest.truncate(found.at.map_or(rest.len(), |at| at + 1));
                    (kept, last, shorter) = (rest, found, true);
                }
                None => at += length,
            }
        }
        if length > 1 || !shorter {
            length /= 2;
        }
    }
    Ok((kept, last))
}

fn names_a_key_of(arg: &[u8], args: &[Vec<u8>]) -> bool {
    let key = arg.strip_prefix(DUMP_OF).unwrap_or(arg);
    let is_key = key.len() == 2 && KEY_POOLS.iter().any(|pool| key.starts_with(pool.as_bytes()));
    is_key && args[1..].iter().any(|other| other.strip_prefix(DUMP_OF).unwrap_or(other) == key)
}
