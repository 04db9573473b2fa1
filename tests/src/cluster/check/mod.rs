//! Is a history linearizable? Could each operation have happened at one moment between its call and its return, so that
//! everybody saw what they saw?
//!
//! [`register`] searches (Wing and Gong 1993, in the just-in-time form of Lowe 2017: configurations in the order of the
//! events, with memory of those that were seen). [`growing`] needs no search: of a counter, a list, a set or a stream whose
//! elements are all different, the reads tell in which order everything took effect, and it is left to see whether the
//! moments allow that order. [`queue`] and [`fields`] look for the forms that a mistake can have.
//!
//! Operations whose outcome the client does not know may take effect at any time after their call, or never.
//!
//! Every history must end with a read that was called after the last write had returned: without one nothing is known of the
//! last writes, which counts as a fault ([`Fault::Unread`]).

mod fields;
mod growing;
mod queue;
mod register;

use super::history::{Action, Element, History, Kind, Moment, NEVER, Op};
use std::fmt;

/// Configurations that the search may look at for one history. Past it the verdict is [`Fault::GaveUp`].
pub const CONFIGURATIONS_MAX: usize = 2_000_000;

/// Why a history is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No order explains it. `at` is the moment at which it became impossible.
    Impossible { at: Moment, why: String },
    /// A read shows an element that nobody wrote, or whose write was refused.
    Phantom { at: Moment, element: Element },
    /// An acknowledged element is missing from the last read.
    Lost { at: Moment, element: Element },
    /// An element is there twice, or an increment was done twice.
    Doubled { at: Moment, why: String },
    /// Half of a transaction was seen.
    Halved { at: Moment, why: String },
    /// The history has no read after its last write.
    Unread,
    /// The history is not one that this checker can judge.
    Malformed(String),
    /// The search was too long.
    GaveUp { configurations: usize },
}

impl Fault {
    /// Where to look in the history.
    pub fn at(&self) -> Moment {
        match *self {
            Fault::Impossible { at, .. }
            | Fault::Phantom { at, .. }
            | Fault::Lost { at, .. }
            | Fault::Doubled { at, .. }
            | Fault::Halved { at, .. } => at,
            Fault::Unread | Fault::Malformed(_) | Fault::GaveUp { .. } => NEVER,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Impossible { why, .. } => write!(f, "not linearizable: {why}"),
            Fault::Phantom { element, .. } => {
                write!(f, "{element} was read, but no write of it can have happened")
            }
            Fault::Lost { element, .. } => write!(f, "{element} was acknowledged and is lost"),
            Fault::Doubled { why, .. } => write!(f, "done twice: {why}"),
            Fault::Halved { why, .. } => write!(f, "half a transaction: {why}"),
            Fault::Unread => f.write_str("the history does not end with a read"),
            Fault::Malformed(why) => write!(f, "not a history to judge: {why}"),
            Fault::GaveUp { configurations } => write!(f, "gave up after {configurations} configurations"),
        }
    }
}

/// The verdict on one object's history.
pub fn check(kind: Kind, history: &History) -> Result<(), Fault> {
    ends_with_a_read(history)?;
    match kind {
        Kind::Register | Kind::Pair => register::check(history, CONFIGURATIONS_MAX),
        Kind::Counter => growing::check_counter(history),
        Kind::List => growing::check_sequence(history, true),
        Kind::Stream => growing::check_sequence(history, false),
        Kind::Set => growing::check_set(history),
        Kind::Queue => queue::check(history),
        Kind::Fields => fields::check(history),
    }
}

fn ends_with_a_read(history: &History) -> Result<(), Fault> {
    let writes = history.ops.iter().filter(|op| op.is_write() && op.is_known());
    let last_write = writes.map(|op| op.ret).max().unwrap_or(0);
    let is_read = |op: &&Op| {
        matches!(
            op.action,
            Action::Read(_) | Action::Halves(..) | Action::Count(_) | Action::All(_) | Action::Members(_)
        )
    };
    match history.ops.iter().filter(is_read).any(|op| op.call >= last_write) {
        true => Ok(()),
        false => Err(Fault::Unread),
    }
}

#[cfg(test)]
mod tests;
