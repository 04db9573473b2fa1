//! Queues: elements are pushed at one end and popped from the other.
//!
//! What can go wrong with a queue of unique elements has one of four forms (Henzinger, Sezgin, Vafeiadis 2013), and each is looked
//! for: an element that nobody pushed, an element popped twice, two elements popped against the order in which they were
//! pushed, and an empty queue where there was an element all the time. Of the last only the case is seen that a single
//! element proves. An element that is gone without a known pop was taken by a pop of unknown outcome; there must be
//! as many of those.

use super::{Action, Element, Fault, History, NEVER, Op};
use std::collections::HashMap;

/// What became of an element.
#[derive(Default)]
struct Fate<'h> {
    push: Option<&'h Op>,
    pop: Option<&'h Op>,
    left: bool,
}

impl Fate<'_> {
    /// From when on it may have been popped; `None` if nobody knows.
    fn pop_call(&self) -> Option<u64> {
        match (self.pop, self.left) {
            (Some(pop), _) => Some(pop.call),
            (None, true) => Some(NEVER),
            (None, false) => None,
        }
    }
}

pub(super) fn check(history: &History) -> Result<(), Fault> {
    let mut fates: HashMap<Element, Fate> = HashMap::new();
    let mut empty: Vec<&Op> = Vec::new();
    let mut unknown_pops = Vec::new();
    let mut left: Option<&Op> = None;
    for op in &history.ops {
        match &op.action {
            Action::Append(element, _) => {
                if fates.entry(*element).or_default().push.replace(op).is_some() {
                    return Err(Fault::Malformed(format!("{element} is pushed by two operations")));
                }
            }
            Action::Pop(_) if !op.is_known() => unknown_pops.push(op),
            Action::Pop(None) => empty.push(op),
            Action::Pop(Some(element)) => {
                if let Some(other) = fates.entry(*element).or_default().pop.replace(op) {
                    return Err(Fault::Doubled { at: op.call, why: format!("{other} and {op}") });
                }
            }
            Action::All(_) => left = left.filter(|last| last.call > op.call).or(Some(op)),
            Action::Refused(_) => {}
            _ => return Err(Fault::Malformed(format!("{op} on a queue"))),
        }
    }
    let Some(last) = left else { return Err(Fault::Unread) };
    let Action::All(elements) = &last.action else { unreachable!("only reads are the last read") };
    for (element, _) in elements {
        let fate = fates.entry(*element).or_default();
        if std::mem::replace(&mut fate.left, true) || fate.pop.is_some() {
            return Err(Fault::Doubled { at: last.call, why: format!("{element} is still there") });
        }
    }
    nothing_from_nowhere(&fates)?;
    nothing_is_lost(&fates, unknown_pops.len())?;
    in_order(&fates)?;
    empty_when_it_was(&fates, &empty)
}

fn nothing_from_nowhere(fates: &HashMap<Element, Fate>) -> Result<(), Fault> {
    for (&element, fate) in fates {
        let seen = fate.pop.map(|pop| pop.ret);
        match (fate.push, seen) {
            (None, seen) => return Err(Fault::Phantom { at: seen.unwrap_or(0), element }),
            (Some(push), Some(seen)) if seen < push.call => return Err(Fault::Phantom { at: seen, element }),
            _ => {}
        }
    }
    Ok(())
}

fn nothing_is_lost(fates: &HashMap<Element, Fate>, unknown_pops: usize) -> Result<(), Fault> {
    let acknowledged = |fate: &Fate| fate.push.is_some_and(Op::is_known);
    let gone = fates.iter().filter(|(_, fate)| acknowledged(fate) && fate.pop_call().is_none());
    let mut gone: Vec<(u64, Element)> =
        gone.map(|(&element, fate)| (fate.push.map_or(0, |push| push.call), element)).collect();
    gone.sort_unstable();
    match gone.get(unknown_pops) {
        Some(&(at, element)) => Err(Fault::Lost { at, element }),
        None => Ok(()),
    }
}

fn in_order(fates: &HashMap<Element, Fate>) -> Result<(), Fault> {
    for (first, before) in fates {
        let (Some(push), Some(pop_call)) = (before.push, before.pop_call()) else { continue };
        for (second, after) in fates {
            let (Some(later_push), Some(later_pop)) = (after.push, after.pop) else { continue };
            if push.ret < later_push.call && later_pop.ret < pop_call {
                let why = format!("{second} was pushed after {first} and popped before it by {later_pop}");
                return Err(Fault::Impossible { at: later_pop.call, why });
            }
        }
    }
    Ok(())
}

fn empty_when_it_was(fates: &HashMap<Element, Fate>, empty: &[&Op]) -> Result<(), Fault> {
    for pop in empty {
        for (element, fate) in fates {
            let (Some(push), Some(pop_call)) = (fate.push, fate.pop_call()) else { continue };
            if push.ret < pop.call && pop.ret < pop_call {
                let why = format!("{pop} found nothing, but {element} was there");
                return Err(Fault::Impossible { at: pop.call, why });
            }
        }
    }
    Ok(())
}
