//! The same random commands for `cairn-server` and `redis-server`, whose replies must not differ.
//!
//! - [`catalogue`]: what commands look like, in the language of [`grammar`], with arguments of [`values`].
//! - [`generate`]: episodes of commands by several clients, on an empty server each.
//! - [`play`]: sends them to both and compares; [`compare`] leaves out what chance and clocks decide.
//! - [`known`]: the differences that are meant, with the reason of each.
//! - [`shrink`]: the few commands that a difference takes.
//!
//! A seed decides on everything, so that what went wrong for it goes wrong again.

pub mod catalogue;
pub mod compare;
pub mod generate;
pub mod grammar;
pub mod known;
pub mod play;
pub mod shrink;
pub mod values;

use generate::Generator;
use play::{Outcome, Pair, shown};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// Commands of an episode.
const EPISODE_LENGTH: usize = 1000;

/// How long to go on, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    /// The first episode.
    pub episode: u64,
    pub commands: usize,
    /// After this many differences it ends.
    pub differences_max: usize,
    /// How long to look for a shorter way to each of them.
    pub shrink_limit: Duration,
}

/// What came of a run.
#[derive(Default)]
pub struct Report {
    pub commands: usize,
    /// How often each row of [`known::KNOWN`] was needed.
    pub known: Vec<usize>,
    /// Each difference with the commands that lead to it.
    pub differences: Vec<String>,
}

/// Plays as many commands, and tells of each difference as soon as it is found. Episode `n` of a seed is always the same.
pub fn run(options: Options, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    let mut pair = Pair::start()?;
    let mut report = Report { known: vec![0; known::KNOWN.len()], ..Report::default() };
    let mut kinds = BTreeSet::new();
    let mut episode = options.episode;
    while report.commands < options.commands && report.differences.len() < options.differences_max {
        let steps = Generator::new(options.seed.wrapping_mul(1_000_000).wrapping_add(episode))
            .episode(EPISODE_LENGTH);
        let Outcome { commands, known, differences } = pair.play(&steps, 1)?;
        report.commands += commands;
        report.known.iter_mut().zip(known).for_each(|(sum, count)| *sum += count);
        // Each kind once: what differs, differs often.
        if let Some(difference) = differences.first().filter(|difference| kinds.insert(difference.kind())) {
            let (steps, last) = match shrink::shrink(&mut pair, &steps, difference, options.shrink_limit) {
                Ok(shrunk) => shrunk,
                Err(_) => {
                    // A server that hangs or has ended, which the difference itself tells.
                    pair = Pair::start()?;
                    (steps[..difference.at.map_or(steps.len(), |at| at + 1)].to_vec(), difference.clone())
                }
            };
            let mut text = format!("seed {}, episode {episode}, ", options.seed);
            match difference.at {
                Some(at) => writeln!(text, "command {at}:")?,
                None => writeln!(text, "what they hold at its end:")?,
            }
            for step in &steps {
                writeln!(text, "c{}: > {}", step.client, shown(&step.args))?;
            }
            if last.at.is_none() {
                writeln!(text, "then > {}", shown(&last.args))?;
            }
            write!(text, "redis: {}\ncairn: {}", last.redis, last.cairn)?;
            tell(&text);
            report.differences.push(text);
        }
        episode += 1;
    }
    Ok(report)
}
