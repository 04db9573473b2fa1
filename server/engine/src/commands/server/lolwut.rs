//! LOLWUT: a picture, and the version.

use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::rng::Rng;
use crate::{CAIRN_VERSION, REDIS_VERSION};

pub(super) static LOLWUT: Command = Command {
    name: "lolwut",
    arity: -1,
    group: Group::Server,
    since: "5.0.0",
    flags: &[Flag::ReadOnly, Flag::Fast],
    summary: "Piles up a few stones and names the version.",
    syntax: "[VERSION version:integer]",
    run: lolwut,
    ..COMMAND
};

/// Stones of a pile, and the width of the lowest.
const STONES: std::ops::RangeInclusive<u64> = 4..=7;
const BASE_WIDTH: usize = 40;

fn lolwut(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.is(1, "VERSION") && args.len() > 2 {
        // Redis has a picture for each of its versions; here one is all there is.
        args.int(2)?;
    }
    let mut text = pile(&cx.shared.rng);
    text.push_str("\nEvery stone that was put here is still here.\n");
    text.push_str(&format!("Cairn {CAIRN_VERSION}, Redis ver. {REDIS_VERSION}\n"));
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

/// Stones on top of each other, each within the one below it.
fn pile(rng: &Rng) -> String {
    let stones = STONES.start() + rng.below(STONES.end() - STONES.start() + 1);
    let (mut left, mut width) = (0, BASE_WIDTH);
    let mut lines = Vec::new();
    for _ in 0..stones {
        lines.push(format!("{}`{}´", " ".repeat(left), "-".repeat(width - 2)));
        lines.push(format!("{}({})", " ".repeat(left), " ".repeat(width - 2)));
        lines.push(format!("{}.{}.", " ".repeat(left), "-".repeat(width - 2)));
        let narrower = 2 + rng.below(8) as usize;
        if width < narrower + 4 {
            break;
        }
        left += rng.below(narrower as u64 + 1) as usize;
        width -= narrower;
    }
    lines.reverse();
    lines.join("\n") + "\n"
}
