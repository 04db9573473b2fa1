//! Objects that only grow: counters, lists, streams, sets.
//!
//! The reads say in which order things took effect: the object went through states that contain each other, and between two
//! of them just the elements were added by which they differ. So the operations fall into steps, one after another, and
//! those of one step may happen in any order. Such an order exists in time if and only if it does when everything happens as
//! early as it can ([`happen_in_order`]); nothing has to be searched.

use super::{Action, Element, Fault, History, Moment, NEVER, Op};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Operations that may happen in any order, all of them after the step before.
type Step<'h> = Vec<&'h Op>;

/// Lets everything happen as early as it can.
fn happen_in_order(steps: &[Step]) -> Result<(), Fault> {
    let mut now: Moment = 0;
    let mut last: Option<&Op> = None;
    for step in steps {
        let mut end = now;
        let mut latest = last;
        for &op in step {
            let at = now.max(op.call);
            if at > op.ret {
                let after = last.map_or(String::new(), |last| format!(", which is not before {last}"));
                return Err(Fault::Impossible { at: op.call, why: format!("{op} came too early{after}") });
            }
            if at > end || latest.is_none() {
                (end, latest) = (at, Some(op));
            }
        }
        (now, last) = (end, latest);
    }
    Ok(())
}

/// A counter. The n-th step up is the increment that was told `n`; where nobody was told, one of unknown outcome.
pub(super) fn check_counter(history: &History) -> Result<(), Fault> {
    let mut told: BTreeMap<u64, &Op> = BTreeMap::new();
    let mut unknown: Vec<&Op> = Vec::new();
    let mut reads: BTreeMap<u64, Step> = BTreeMap::new();
    for op in &history.ops {
        match op.action {
            Action::Increment(Some(0)) => return Err(Fault::Malformed("an increment to 0".into())),
            Action::Increment(Some(result)) => {
                if let Some(other) = told.insert(result, op) {
                    let why = format!("{other} and {op} made one step of two");
                    return Err(Fault::Impossible { at: op.call, why });
                }
            }
            Action::Increment(None) => unknown.push(op),
            Action::Count(count) => reads.entry(count).or_default().push(op),
            Action::Refused(_) => {}
            _ => return Err(Fault::Malformed(format!("{op} on a counter"))),
        }
    }
    let highest = told.keys().chain(reads.keys()).max().copied().unwrap_or(0);
    // The one called first goes first: it can happen wherever a later one can.
    unknown.sort_by_key(|op| std::cmp::Reverse(op.call));
    let mut steps: Vec<Step> = vec![reads.remove(&0).unwrap_or_default()];
    for count in 1..=highest {
        let Some(up) = told.get(&count).copied().or_else(|| unknown.pop()) else {
            let at = reads.range(count..).next().map_or(NEVER, |(_, step)| step[0].call);
            let why = format!("nobody incremented from {} to {count}", count - 1);
            return Err(Fault::Doubled { at, why });
        };
        steps.push(vec![up]);
        steps.push(reads.remove(&count).unwrap_or_default());
    }
    happen_in_order(&steps)
}

/// A list or a stream: what the longest read shows is the order in which the appends took effect. `dense`: ranks are places,
/// as in a list.
pub(super) fn check_sequence(history: &History, dense: bool) -> Result<(), Fault> {
    let mut appends: HashMap<Element, &Op> = HashMap::new();
    let mut reads: BTreeMap<usize, Step> = BTreeMap::new();
    let mut longest: &[(Element, u128)] = &[];
    for op in &history.ops {
        match &op.action {
            Action::Append(element, _) => {
                if appends.insert(*element, op).is_some() {
                    return Err(Fault::Malformed(format!("{element} is appended by two operations")));
                }
            }
            Action::All(elements) => {
                reads.entry(elements.len()).or_default().push(op);
                if elements.len() > longest.len() {
                    longest = elements;
                }
            }
            // It is in no read, or that element is a phantom.
            Action::Refused(_) => {}
            _ => return Err(Fault::Malformed(format!("{op} on a sequence"))),
        }
    }
    for read in reads.values().flatten() {
        let Action::All(elements) = &read.action else { unreachable!("only reads are among the reads") };
        if let Some(place) = (0..elements.len()).find(|&place| elements[place] != longest[place]) {
            let why = format!("{read} has {:?} where another read has {:?}", elements[place], longest[place]);
            return Err(Fault::Impossible { at: read.call, why });
        }
    }
    let shown_at = |place: usize| reads.range(place + 1..).next().map_or(NEVER, |(_, step)| step[0].call);
    let mut steps: Vec<Step> = vec![reads.get(&0).cloned().unwrap_or_default()];
    let mut places: HashMap<Element, usize> = HashMap::new();
    for (place, &(element, rank)) in longest.iter().enumerate() {
        let at = shown_at(place);
        if let Some(first) = places.insert(element, place) {
            let why = format!("{element} is at {first} and at {place}");
            return Err(Fault::Doubled { at, why });
        }
        let Some(&append) = appends.get(&element) else { return Err(Fault::Phantom { at, element }) };
        let Action::Append(_, told) = append.action else {
            unreachable!("only appends are among the appends")
        };
        let expected = told.unwrap_or(rank);
        if expected != rank {
            let why = format!("{append} is found at rank {rank}");
            return Err(Fault::Impossible { at: append.call, why });
        }
        if dense && rank != place as u128 + 1 {
            return Err(Fault::Malformed(format!("the element at {place} has rank {rank}")));
        }
        steps.push(vec![append]);
        steps.push(reads.get(&(place + 1)).cloned().unwrap_or_default());
    }
    missing(appends.iter().map(|(&element, &op)| (element, op)), |element| places.contains_key(&element))?;
    happen_in_order(&steps)
}

/// A set: the reads contain each other, smallest first.
pub(super) fn check_set(history: &History) -> Result<(), Fault> {
    let mut adds: HashMap<Element, &Op> = HashMap::new();
    let mut reads: Vec<(HashSet<Element>, &Op)> = Vec::new();
    for op in &history.ops {
        match &op.action {
            Action::Add(element, Some(false)) => {
                let why = format!("{element} was there before it was added for the first time");
                return Err(Fault::Doubled { at: op.call, why });
            }
            Action::Add(element, _) => {
                if adds.insert(*element, op).is_some() {
                    return Err(Fault::Malformed(format!("{element} is added by two operations")));
                }
            }
            Action::Members(members) => {
                let set: HashSet<Element> = members.iter().copied().collect();
                if set.len() < members.len() {
                    return Err(Fault::Doubled { at: op.call, why: format!("{op} shows a member twice") });
                }
                reads.push((set, op));
            }
            Action::Refused(_) => {}
            _ => return Err(Fault::Malformed(format!("{op} on a set"))),
        }
    }
    reads.sort_by_key(|(set, _)| set.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut state: HashSet<Element> = HashSet::new();
    for (set, read) in &reads {
        if let Some(gone) = state.difference(set).next() {
            let why = format!("{read} lacks {gone}, which a read with no more members has");
            return Err(Fault::Impossible { at: read.call, why });
        }
        if set.len() > state.len() || steps.is_empty() {
            let mut added = Vec::new();
            for &element in set.difference(&state) {
                let phantom = Fault::Phantom { at: read.call, element };
                added.push(*adds.get(&element).ok_or(phantom)?);
            }
            steps.push(added);
            steps.push(Vec::new());
            state.clone_from(set);
        }
        steps.last_mut().expect("a step for reads was just made").push(read);
    }
    missing(adds.iter().map(|(&element, &op)| (element, op)), |element| state.contains(&element))?;
    happen_in_order(&steps)
}

/// Every write that was acknowledged must be in the fullest read, which by `ends_with_a_read` is not too early for it.
fn missing<'h>(
    writes: impl Iterator<Item = (Element, &'h Op)>,
    shown: impl Fn(Element) -> bool,
) -> Result<(), Fault> {
    let mut lost: Vec<_> = writes.filter(|(element, op)| op.is_known() && !shown(*element)).collect();
    lost.sort_by_key(|(_, op)| op.call);
    match lost.first() {
        Some(&(element, op)) => Err(Fault::Lost { at: op.call, element }),
        None => Ok(()),
    }
}
