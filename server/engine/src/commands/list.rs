//! Lists. `list/push.rs`: adding at the ends; `list/pop.rs`: taking from the ends, also waiting for it; `list/moving.rs`:
//! from one list to another; `list/read.rs` and `list/edit.rs`: all that looks at, or changes, what is between the ends.

mod edit;
mod moving;
mod pop;
mod push;
mod read;
#[cfg(test)]
mod tests;

use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::types::{End, ListLimits};

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &edit::LINSERT,
    &edit::LREM,
    &edit::LSET,
    &edit::LTRIM,
    &moving::BLMOVE,
    &moving::BRPOPLPUSH,
    &moving::LMOVE,
    &moving::RPOPLPUSH,
    &pop::BLMPOP,
    &pop::BLPOP,
    &pop::BRPOP,
    &pop::LMPOP,
    &pop::LPOP,
    &pop::RPOP,
    &push::LPUSH,
    &push::LPUSHX,
    &push::RPUSH,
    &push::RPUSHX,
    &read::LINDEX,
    &read::LLEN,
    &read::LPOS,
    &read::LRANGE,
];

/// What a list's nodes may hold.
fn limits(cx: &Context<'_>) -> ListLimits {
    ListLimits { plain_min: cx.shared.list_plain_min, ..ListLimits::new(cx.config()) }
}

/// `LEFT` or `RIGHT`.
fn parse_end(arg: &[u8]) -> CommandResult<End> {
    if arg.eq_ignore_ascii_case(b"left") {
        Ok(End::Left)
    } else if arg.eq_ignore_ascii_case(b"right") {
        Ok(End::Right)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The event of an element pushed at this end.
fn push_event(end: End) -> &'static str {
    match end {
        End::Left => "lpush",
        End::Right => "rpush",
    }
}

/// The event of an element popped from this end.
fn pop_event(end: End) -> &'static str {
    match end {
        End::Left => "lpop",
        End::Right => "rpop",
    }
}

/// The command that pops from this end.
fn pop_command(end: End) -> &'static [u8] {
    match end {
        End::Left => b"LPOP",
        End::Right => b"RPOP",
    }
}

/// The elements from `start` to `stop`, both of them included and counted from the end when negative, as the first
/// index and a count above 0; `None` when there are none.
fn index_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    let from_left = |index: i64| if index < 0 { index + len } else { index };
    let (start, stop) = (from_left(start).max(0), from_left(stop).min(len - 1));
    (start <= stop).then(|| (start as usize, (stop - start + 1) as usize))
}
