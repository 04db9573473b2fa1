//! Registers with compare-and-set, and pairs of keys that are written together.
//!
//! The search goes through calls and returns in the order of time. A configuration is a value that the register may have
//! and which of the operations under way have taken effect to bring it there. When an operation returns it must have taken
//! effect: each configuration is extended, by the operations under way in any order that the model allows, until it has;
//! those that cannot be are dropped. A history is impossible when none is left.
//!
//! Operations of unknown outcome would stay under way for ever and double the configurations each time. They need not:
//! values are unique, so an unknown write whose value somebody saw did happen, before the first who saw it returned; and one
//! whose value nobody saw changes nothing for anybody and can be left out. A comparison that fails tells what it saw, so it is
//! a read like any other.

use super::{Action, Element, Fault, History, Moment, NEVER, Op};
use std::collections::{HashMap, HashSet};

/// A value of the register and the slots of the operations that have taken effect but not returned.
type Configuration = (Option<Element>, u64);

/// Operations under way at the same time: a bit each.
const SLOTS: usize = u64::BITS as usize;

pub(super) fn check(history: &History, configurations_max: usize) -> Result<(), Fault> {
    if let Some(op) = history.ops.iter().find(|op| matches!(op.action, Action::Halves(..))) {
        return Err(Fault::Halved { at: op.call, why: format!("{:?}", op.action) });
    }
    search(&resolve_unknown(history)?, configurations_max)
}

/// What a write leaves, if it is one.
fn written(action: &Action) -> Option<Element> {
    match *action {
        Action::Write(value) | Action::Swap { to: value, .. } => Some(value),
        _ => None,
    }
}

/// What an operation must have found.
fn seen(action: &Action) -> Option<Element> {
    match *action {
        Action::Read(value) | Action::Swap { from: value, .. } => value,
        _ => None,
    }
}

/// The history without operations of unknown outcome: those that somebody saw get the return of the first who did, the
/// others are left out.
fn resolve_unknown(history: &History) -> Result<Vec<Op>, Fault> {
    let mut writers: HashMap<Element, usize> = HashMap::new();
    for (place, op) in history.ops.iter().enumerate() {
        if let Some(value) = written(&op.action)
            && writers.insert(value, place).is_some()
        {
            return Err(Fault::Malformed(format!("{value} is written by two operations")));
        }
    }
    let mut returns: Vec<Moment> = history.ops.iter().map(|op| op.ret).collect();
    let mut sure: Vec<usize> = (0..history.ops.len()).filter(|&place| returns[place] != NEVER).collect();
    while let Some(place) = sure.pop() {
        let Some(value) = seen(&history.ops[place].action) else { continue };
        let Some(&writer) = writers.get(&value) else {
            return Err(Fault::Phantom { at: history.ops[place].call, element: value });
        };
        // Of an operation of known outcome the return is known better.
        if !history.ops[writer].is_known() && returns[writer] > returns[place] {
            returns[writer] = returns[place];
            sure.push(writer);
        }
    }
    let resolved = history.ops.iter().zip(returns).filter(|(_, ret)| *ret != NEVER);
    let is_move = |op: &Op| matches!(op.action, Action::Write(_) | Action::Read(_) | Action::Swap { .. });
    resolved
        .filter(|(op, _)| is_move(op))
        .map(|(op, ret)| {
            if ret < op.call {
                let value = written(&op.action).unwrap_or_default();
                return Err(Fault::Phantom { at: ret, element: value });
            }
            Ok(Op { ret, ..op.clone() })
        })
        .collect()
}

/// The value after an operation, if it can happen at this value.
fn step(value: Option<Element>, action: &Action) -> Option<Option<Element>> {
    match *action {
        Action::Write(new) => Some(Some(new)),
        Action::Read(found) => (found == value).then_some(value),
        Action::Swap { from, to } => (from == value).then_some(Some(to)),
        _ => unreachable!("only moves of a register are searched"),
    }
}

fn search(ops: &[Op], configurations_max: usize) -> Result<(), Fault> {
    // Calls before returns of the same moment: the two may have been at the same time.
    let mut events: Vec<(Moment, bool, usize)> = Vec::with_capacity(ops.len() * 2);
    for (place, op) in ops.iter().enumerate() {
        events.push((op.call, false, place));
        events.push((op.ret, true, place));
    }
    events.sort_unstable();

    let mut under_way: [Option<usize>; SLOTS] = [None; SLOTS];
    let mut configurations: HashSet<Configuration> = HashSet::from([(None, 0)]);
    let mut looked_at = 0;
    for (at, returns, place) in events {
        if !returns {
            let Some(slot) = under_way.iter().position(Option::is_none) else {
                return Err(Fault::Malformed(format!("more than {SLOTS} operations at the same time")));
            };
            under_way[slot] = Some(place);
            continue;
        }
        let slot =
            under_way.iter().position(|&op| op == Some(place)).expect("it was called before it returned");
        let before: Vec<Option<Element>> = values(&configurations);
        configurations = extend(configurations, slot, ops, &under_way, &mut looked_at, configurations_max)?;
        under_way[slot] = None;
        if configurations.is_empty() {
            let why = format!("{} at a value that can only be one of {before:?}", ops[place]);
            return Err(Fault::Impossible { at, why });
        }
    }
    Ok(())
}

fn values(configurations: &HashSet<Configuration>) -> Vec<Option<Element>> {
    let mut values: Vec<_> = configurations.iter().map(|(value, _)| *value).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Every configuration that can be reached in which the operation of `slot` has taken effect; its slot is free in them.
fn extend(
    from: HashSet<Configuration>,
    slot: usize,
    ops: &[Op],
    under_way: &[Option<usize>; SLOTS],
    looked_at: &mut usize,
    configurations_max: usize,
) -> Result<HashSet<Configuration>, Fault> {
    let mut reached = HashSet::new();
    let mut met: HashSet<Configuration> = from.clone();
    let mut open: Vec<Configuration> = from.into_iter().collect();
    while let Some((value, done)) = open.pop() {
        *looked_at += 1;
        if *looked_at > configurations_max {
            return Err(Fault::GaveUp { configurations: configurations_max });
        }
        if done & 1 << slot != 0 {
            reached.insert((value, done & !(1 << slot)));
            continue;
        }
        for (other, op) in under_way.iter().enumerate() {
            let Some(op) = *op else { continue };
            if done & 1 << other != 0 {
                continue;
            }
            if let Some(value) = step(value, &ops[op].action) {
                let next = (value, done | 1 << other);
                if met.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    Ok(reached)
}
