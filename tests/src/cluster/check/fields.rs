//! Fields of a hash that expire: each is added once, for a time.
//!
//! The server's clock is that of the recorder, on the same machine, but for what a turn of its event loop takes: a field is there
//! from some moment between call and return of its write for as long as it was given, give or take [`SLACK`].

use super::{Action, Element, Fault, History, Moment, NEVER, Op};
use std::collections::{HashMap, HashSet};

/// By how much a field may live longer or shorter than it was given, in nanoseconds.
pub(super) const SLACK: Moment = 2_000_000_000;

/// No read shows what nobody wrote or what has expired, and each shows what was acknowledged before and cannot have expired.
pub(super) fn check(history: &History) -> Result<(), Fault> {
    let mut leases: HashMap<Element, (&Op, Moment)> = HashMap::new();
    let mut refused: HashSet<Element> = HashSet::new();
    for op in &history.ops {
        match op.action {
            Action::Lease(element, time) => {
                if leases.insert(element, (op, time)).is_some() {
                    return Err(Fault::Malformed(format!("{element} was written twice")));
                }
            }
            Action::Refused(element) => drop(refused.insert(element)),
            Action::Members(_) => {}
            _ => return Err(Fault::Malformed(format!("{op} on fields"))),
        }
    }
    for read in &history.ops {
        let Action::Members(members) = &read.action else { continue };
        let mut seen: HashSet<Element> = HashSet::new();
        for &element in members {
            if !seen.insert(element) {
                return Err(Fault::Doubled { at: read.call, why: format!("{element} in {read}") });
            }
            let written = leases.get(&element).filter(|(op, _)| op.call <= read.ret);
            let Some((op, time)) = written.filter(|_| !refused.contains(&element)) else {
                return Err(Fault::Phantom { at: read.call, element });
            };
            // A write of unknown outcome may have been done at any time.
            if op.ret != NEVER && read.call > op.ret + time + SLACK {
                let why = format!("{read} shows {element}, which had expired: {op}");
                return Err(Fault::Impossible { at: read.call, why });
            }
        }
        let lost = leases.iter().find(|(element, (op, time))| {
            op.ret < read.call && read.ret + SLACK < op.call + time && !seen.contains(element)
        });
        if let Some((&element, _)) = lost {
            return Err(Fault::Lost { at: read.call, element });
        }
    }
    Ok(())
}
