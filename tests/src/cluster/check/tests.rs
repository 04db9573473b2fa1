//! The checker accepts what can have happened and rejects what cannot: by hand for each kind of mistake that a server can
//! make, and against a search through all orders on thousands of small random histories.

use super::*;
use cairn_engine::rng::Rng;

/// A history written as `(client, call, return, action)`; a return of 0 is unknown.
fn history(ops: &[(u32, Moment, Moment, Action)]) -> History {
    let op = |(client, call, ret, action): &(u32, Moment, Moment, Action)| Op {
        client: *client,
        call: *call,
        ret: if *ret == 0 { NEVER } else { *ret },
        action: action.clone(),
    };
    History { ops: ops.iter().map(op).collect() }
}

fn verdict(kind: Kind, ops: &[(u32, Moment, Moment, Action)]) -> Result<(), Fault> {
    check(kind, &history(ops))
}

fn swap(from: Element, to: Element) -> Action {
    Action::Swap { from: (from != 0).then_some(from), to }
}

fn read(value: Element) -> Action {
    Action::Read((value != 0).then_some(value))
}

fn all(elements: &[Element]) -> Action {
    Action::All(elements.iter().enumerate().map(|(place, &element)| (element, place as u128 + 1)).collect())
}

fn is_impossible(verdict: Result<(), Fault>) -> bool {
    matches!(verdict, Err(Fault::Impossible { .. }))
}

mod registers {
    use super::*;
    use Action::Write;

    #[test]
    fn reads_of_what_is_being_written_may_see_either() {
        let ops = [(1, 1, 10, Write(5)), (2, 2, 3, read(0)), (3, 4, 5, read(5)), (4, 11, 12, read(5))];
        assert_eq!(verdict(Kind::Register, &ops), Ok(()));
    }

    #[test]
    fn a_value_once_read_does_not_go_away_again() {
        let ops = [(1, 1, 10, Write(5)), (2, 2, 3, read(5)), (3, 4, 5, read(0)), (4, 11, 12, read(5))];
        assert!(is_impossible(verdict(Kind::Register, &ops)));
    }

    #[test]
    fn a_stale_read_is_seen() {
        // A deposed leader answers from what it had.
        let ops = [
            (1, 1, 2, Write(5)),
            (1, 3, 4, Write(6)),
            (2, 5, 6, read(5)),
            (1, 7, 8, Write(7)),
            (3, 9, 9, read(7)),
        ];
        assert!(is_impossible(verdict(Kind::Register, &ops)));
        let at_the_same_time =
            [(1, 1, 2, Write(5)), (1, 3, 6, Write(6)), (2, 5, 6, read(5)), (3, 9, 9, read(6))];
        assert_eq!(verdict(Kind::Register, &at_the_same_time), Ok(()));
    }

    #[test]
    fn a_lost_update_is_seen() {
        let lost = [(1, 1, 2, Write(5)), (1, 3, 4, Write(6)), (2, 9, 10, read(5))];
        assert!(is_impossible(verdict(Kind::Register, &lost)));
        let two_swaps_of_one_value =
            [(1, 1, 2, Write(5)), (1, 3, 9, swap(5, 6)), (2, 3, 9, swap(5, 7)), (2, 10, 11, read(7))];
        assert!(is_impossible(verdict(Kind::Register, &two_swaps_of_one_value)));
        let one_after_the_other =
            [(1, 1, 2, Write(5)), (1, 3, 9, swap(5, 6)), (2, 3, 9, swap(6, 7)), (2, 10, 11, read(7))];
        assert_eq!(verdict(Kind::Register, &one_after_the_other), Ok(()));
    }

    #[test]
    fn a_write_of_unknown_outcome_may_come_late_or_never() {
        let late = [(1, 1, 0, Write(5)), (2, 2, 3, Write(6)), (2, 4, 5, read(6)), (2, 90, 91, read(5))];
        assert_eq!(verdict(Kind::Register, &late), Ok(()));
        let never = [(1, 1, 0, Write(5)), (2, 2, 3, Write(6)), (2, 90, 91, read(6))];
        assert_eq!(verdict(Kind::Register, &never), Ok(()));
        let twice = [
            (1, 1, 0, Write(5)),
            (2, 2, 3, read(5)),
            (2, 4, 5, Write(6)),
            (2, 6, 7, read(6)),
            (2, 90, 91, read(5)),
        ];
        assert!(is_impossible(verdict(Kind::Register, &twice)));
    }

    #[test]
    fn what_an_unknown_swap_replaced_is_known_once_it_is_seen() {
        let chain = [(1, 1, 0, Write(5)), (2, 2, 0, swap(5, 6)), (3, 3, 4, read(6)), (3, 5, 6, read(6))];
        assert_eq!(verdict(Kind::Register, &chain), Ok(()));
        // 6 can only have replaced 5, but 5 was called after 6 had been seen.
        let ops = [(2, 2, 0, swap(5, 6)), (3, 3, 4, read(6)), (1, 5, 0, Write(5)), (3, 8, 9, read(6))];
        assert!(matches!(verdict(Kind::Register, &ops), Err(Fault::Phantom { element: 5, .. })));
    }

    #[test]
    fn a_refused_write_is_never_seen() {
        let ops = [(1, 1, 2, Action::Refused(5)), (2, 3, 4, read(5))];
        assert!(matches!(verdict(Kind::Register, &ops), Err(Fault::Phantom { element: 5, .. })));
        assert_eq!(verdict(Kind::Register, &[(1, 1, 2, Action::Refused(5)), (2, 3, 4, read(0))]), Ok(()));
    }

    #[test]
    fn half_a_transaction_is_seen() {
        let whole = [(1, 1, 2, Write(5)), (2, 3, 4, read(5))];
        assert_eq!(verdict(Kind::Pair, &whole), Ok(()));
        let half = [(1, 1, 2, Write(5)), (2, 1, 2, Action::Halves(Some(5), None)), (2, 3, 4, read(5))];
        assert!(matches!(verdict(Kind::Pair, &half), Err(Fault::Halved { .. })));
    }

    #[test]
    fn without_a_last_read_nothing_is_known() {
        assert_eq!(verdict(Kind::Register, &[(1, 1, 2, read(0)), (1, 3, 4, Write(5))]), Err(Fault::Unread));
    }

    #[test]
    fn a_search_that_is_too_long_is_a_fault() {
        // Any of them may be the last, and no read says which until all have returned.
        let mut ops: Vec<_> = (0..20).map(|n| (n, 1, 50, Write(u64::from(n) + 1))).collect();
        ops.push((30, 60, 61, read(7)));
        assert_eq!(register::check(&history(&ops), 1000), Err(Fault::GaveUp { configurations: 1000 }));
    }
}

mod counters {
    use super::*;
    use Action::{Count, Increment};

    #[test]
    fn increments_at_the_same_time_have_any_order() {
        let ops = [
            (1, 1, 9, Increment(Some(2))),
            (2, 1, 9, Increment(Some(1))),
            (3, 2, 3, Count(1)),
            (3, 10, 11, Count(2)),
        ];
        assert_eq!(verdict(Kind::Counter, &ops), Ok(()));
    }

    #[test]
    fn a_lost_increment_is_seen() {
        let ops = [(1, 1, 2, Increment(Some(1))), (1, 3, 4, Increment(Some(2))), (2, 5, 6, Count(1))];
        assert!(is_impossible(verdict(Kind::Counter, &ops)));
        let told_the_same =
            [(1, 1, 2, Increment(Some(1))), (2, 1, 2, Increment(Some(1))), (2, 5, 6, Count(1))];
        assert!(is_impossible(verdict(Kind::Counter, &told_the_same)));
        let behind = [(1, 1, 2, Increment(Some(2))), (2, 3, 4, Increment(Some(1))), (2, 5, 6, Count(2))];
        assert!(is_impossible(verdict(Kind::Counter, &behind)));
    }

    #[test]
    fn a_doubled_increment_is_seen() {
        let ops = [(1, 1, 2, Increment(Some(1))), (2, 5, 6, Count(2))];
        assert!(matches!(verdict(Kind::Counter, &ops), Err(Fault::Doubled { .. })));
        let unknown_twice = [(1, 1, 0, Increment(None)), (1, 3, 4, Increment(Some(3))), (2, 5, 6, Count(3))];
        assert!(matches!(verdict(Kind::Counter, &unknown_twice), Err(Fault::Doubled { .. })));
    }

    #[test]
    fn an_increment_of_unknown_outcome_may_come_late_or_never() {
        let ops =
            |last| [(1, 1, 0, Increment(None)), (2, 2, 3, Increment(Some(1))), (2, 50, 51, Count(last))];
        assert_eq!(verdict(Kind::Counter, &ops(1)), Ok(()));
        assert_eq!(verdict(Kind::Counter, &ops(2)), Ok(()));
        let before_it_was_called = [(2, 2, 3, Count(1)), (1, 4, 0, Increment(None)), (2, 5, 6, Count(1))];
        assert!(is_impossible(verdict(Kind::Counter, &before_it_was_called)));
    }

    #[test]
    fn a_stale_count_is_seen() {
        let ops = [(1, 1, 2, Increment(Some(1))), (2, 3, 4, Count(0)), (2, 5, 6, Count(1))];
        assert!(is_impossible(verdict(Kind::Counter, &ops)));
    }
}

mod sequences {
    use super::*;
    use Action::Append;

    #[test]
    fn the_longest_read_tells_the_order() {
        let ops = [
            (1, 1, 9, Append(10, Some(2))),
            (2, 1, 9, Append(20, Some(1))),
            (3, 2, 3, all(&[20])),
            (3, 10, 11, all(&[20, 10])),
        ];
        assert_eq!(verdict(Kind::List, &ops), Ok(()));
    }

    #[test]
    fn a_lost_element_is_seen() {
        let ops = [(1, 1, 2, Append(10, Some(1))), (1, 3, 4, Append(20, Some(2))), (2, 5, 6, all(&[10]))];
        assert!(matches!(verdict(Kind::List, &ops), Err(Fault::Lost { element: 20, .. })));
        let overwritten =
            [(1, 1, 2, Append(10, Some(1))), (1, 3, 4, Append(20, Some(1))), (2, 5, 6, all(&[20]))];
        assert!(verdict(Kind::List, &overwritten).is_err());
    }

    #[test]
    fn a_doubled_element_is_seen() {
        let ops = [(1, 1, 2, Append(10, Some(1))), (2, 5, 6, all(&[10, 10]))];
        assert!(matches!(verdict(Kind::List, &ops), Err(Fault::Doubled { .. })));
    }

    #[test]
    fn reads_that_contradict_each_other_are_seen() {
        let ops = [
            (1, 1, 0, Append(10, None)),
            (2, 1, 0, Append(20, None)),
            (3, 2, 3, all(&[10])),
            (3, 4, 5, all(&[20])),
        ];
        assert!(is_impossible(verdict(Kind::List, &ops)));
        let shrunk = [(1, 1, 2, Append(10, Some(1))), (3, 3, 4, all(&[10])), (3, 5, 6, all(&[]))];
        assert!(is_impossible(verdict(Kind::List, &shrunk)));
    }

    #[test]
    fn order_in_time_holds() {
        let ops = [(1, 1, 2, Append(10, None)), (2, 3, 4, Append(20, None)), (3, 5, 6, all(&[20, 10]))];
        assert!(is_impossible(verdict(Kind::List, &ops)));
        let wrong_length =
            [(1, 1, 9, Append(10, Some(1))), (2, 1, 9, Append(20, Some(1))), (3, 10, 11, all(&[20, 10]))];
        assert!(is_impossible(verdict(Kind::List, &wrong_length)));
    }

    #[test]
    fn an_append_of_unknown_outcome_may_come_late_or_never() {
        let ops = |last: &[Element]| {
            let last = all(last);
            [(1, 1, 0, Append(10, None)), (2, 2, 3, Append(20, Some(1))), (2, 50, 51, last)]
        };
        assert_eq!(verdict(Kind::List, &ops(&[20])), Ok(()));
        assert_eq!(verdict(Kind::List, &ops(&[20, 10])), Ok(()));
        assert!(is_impossible(verdict(Kind::List, &ops(&[10, 20]))));
    }

    #[test]
    fn nobody_wrote_it() {
        assert!(matches!(
            verdict(Kind::List, &[(1, 1, 2, all(&[10]))]),
            Err(Fault::Phantom { element: 10, .. })
        ));
    }

    #[test]
    fn a_stream_keeps_the_ids_that_it_gave() {
        let entries = |ids: &[(Element, u128)]| Action::All(ids.to_vec());
        let good = [(1, 1, 2, Append(10, Some(500))), (1, 3, 4, Append(20, Some(700)))];
        let with = |last| [good[0].clone(), good[1].clone(), (2, 5, 6, last)];
        assert_eq!(verdict(Kind::Stream, &with(entries(&[(10, 500), (20, 700)]))), Ok(()));
        assert!(is_impossible(verdict(Kind::Stream, &with(entries(&[(10, 500), (20, 701)])))));
        assert!(matches!(
            verdict(Kind::Stream, &with(entries(&[(20, 700)]))),
            Err(Fault::Lost { element: 10, .. })
        ));
    }
}

mod sets {
    use super::*;
    use Action::{Add, Members};

    #[test]
    fn members_only_become_more() {
        let ops = [
            (1, 1, 9, Add(10, Some(true))),
            (2, 1, 9, Add(20, Some(true))),
            (3, 2, 3, Members(vec![20])),
            (3, 10, 11, Members(vec![10, 20])),
        ];
        assert_eq!(verdict(Kind::Set, &ops), Ok(()));
        let contradictory = [
            (1, 1, 0, Add(10, None)),
            (2, 1, 0, Add(20, None)),
            (3, 2, 3, Members(vec![20])),
            (4, 2, 3, Members(vec![10])),
            (3, 10, 11, Members(vec![10, 20])),
        ];
        assert!(is_impossible(verdict(Kind::Set, &contradictory)));
    }

    #[test]
    fn a_lost_member_is_seen() {
        let ops = [(1, 1, 2, Add(10, Some(true))), (1, 3, 4, Members(vec![]))];
        assert!(matches!(verdict(Kind::Set, &ops), Err(Fault::Lost { element: 10, .. })));
    }

    #[test]
    fn a_stale_read_is_seen() {
        let ops = [(1, 1, 2, Add(10, Some(true))), (1, 3, 4, Members(vec![])), (1, 5, 6, Members(vec![10]))];
        assert!(is_impossible(verdict(Kind::Set, &ops)));
        let too_early =
            [(1, 1, 2, Members(vec![10])), (1, 3, 4, Add(10, Some(true))), (1, 5, 6, Members(vec![10]))];
        assert!(is_impossible(verdict(Kind::Set, &too_early)));
    }

    #[test]
    fn a_member_added_twice_is_seen() {
        let ops = [(1, 1, 2, Add(10, Some(false))), (1, 3, 4, Members(vec![10]))];
        assert!(matches!(verdict(Kind::Set, &ops), Err(Fault::Doubled { .. })));
    }

    #[test]
    fn an_add_of_unknown_outcome_may_come_late_or_never() {
        let ops = |last| [(1, 1, 0, Add(10, None)), (2, 2, 3, Members(vec![])), (2, 50, 51, Members(last))];
        assert_eq!(verdict(Kind::Set, &ops(vec![])), Ok(()));
        assert_eq!(verdict(Kind::Set, &ops(vec![10])), Ok(()));
    }
}

mod queues {
    use super::*;
    use Action::{Append, Pop};

    fn push(element: Element) -> Action {
        Append(element, None)
    }

    #[test]
    fn first_in_first_out() {
        let ops = [
            (1, 1, 2, push(10)),
            (1, 3, 4, push(20)),
            (2, 5, 6, Pop(Some(10))),
            (2, 7, 8, Pop(Some(20))),
            (2, 9, 10, Pop(None)),
            (3, 11, 12, all(&[])),
        ];
        assert_eq!(verdict(Kind::Queue, &ops), Ok(()));
        let other_way = [
            (1, 1, 2, push(10)),
            (1, 3, 4, push(20)),
            (2, 5, 6, Pop(Some(20))),
            (2, 7, 8, Pop(Some(10))),
            (3, 11, 12, all(&[])),
        ];
        assert!(is_impossible(verdict(Kind::Queue, &other_way)));
        let overtaken =
            [(1, 1, 2, push(10)), (1, 3, 4, push(20)), (2, 5, 6, Pop(Some(20))), (3, 11, 12, all(&[10]))];
        assert!(is_impossible(verdict(Kind::Queue, &overtaken)));
    }

    #[test]
    fn nothing_is_taken_twice() {
        let ops =
            [(1, 1, 2, push(10)), (2, 3, 4, Pop(Some(10))), (3, 3, 4, Pop(Some(10))), (3, 11, 12, all(&[]))];
        assert!(matches!(verdict(Kind::Queue, &ops), Err(Fault::Doubled { .. })));
        let still_there = [(1, 1, 2, push(10)), (2, 3, 4, Pop(Some(10))), (3, 11, 12, all(&[10]))];
        assert!(matches!(verdict(Kind::Queue, &still_there), Err(Fault::Doubled { .. })));
    }

    #[test]
    fn what_is_gone_was_taken_by_somebody() {
        let lost = [(1, 1, 2, push(10)), (3, 11, 12, all(&[]))];
        assert!(matches!(verdict(Kind::Queue, &lost), Err(Fault::Lost { element: 10, .. })));
        let perhaps_taken = [(1, 1, 2, push(10)), (2, 3, 0, Pop(None)), (3, 11, 12, all(&[]))];
        assert_eq!(verdict(Kind::Queue, &perhaps_taken), Ok(()));
        let two_by_one =
            [(1, 1, 2, push(10)), (1, 1, 2, push(20)), (2, 3, 0, Pop(None)), (3, 11, 12, all(&[]))];
        assert!(matches!(verdict(Kind::Queue, &two_by_one), Err(Fault::Lost { .. })));
        let never_pushed = [(1, 1, 0, push(10)), (3, 11, 12, all(&[]))];
        assert_eq!(verdict(Kind::Queue, &never_pushed), Ok(()));
    }

    #[test]
    fn nobody_pushed_it() {
        let ops = [(1, 1, 2, Action::Refused(10)), (2, 3, 4, Pop(Some(10))), (3, 11, 12, all(&[]))];
        assert!(matches!(verdict(Kind::Queue, &ops), Err(Fault::Phantom { element: 10, .. })));
        let too_early = [(2, 1, 2, Pop(Some(10))), (1, 3, 4, push(10)), (3, 11, 12, all(&[]))];
        assert!(matches!(verdict(Kind::Queue, &too_early), Err(Fault::Phantom { element: 10, .. })));
    }

    #[test]
    fn an_empty_queue_has_nothing_in_it() {
        let ops =
            [(1, 1, 2, push(10)), (2, 3, 4, Pop(None)), (2, 5, 6, Pop(Some(10))), (3, 11, 12, all(&[]))];
        assert!(is_impossible(verdict(Kind::Queue, &ops)));
        let perhaps_not_yet = [(1, 1, 4, push(10)), (2, 3, 4, Pop(None)), (3, 11, 12, all(&[10]))];
        assert_eq!(verdict(Kind::Queue, &perhaps_not_yet), Ok(()));
    }
}

/// The checker against a search through all orders.
mod against_all_orders {
    use super::*;
    use std::collections::BTreeSet;

    /// An object as a client understands it.
    #[derive(Clone, Default)]
    struct Object {
        value: Option<Element>,
        count: u64,
        list: Vec<Element>,
        set: BTreeSet<Element>,
    }

    impl Object {
        /// Does the action, if it can have this outcome.
        fn allows(&mut self, action: &Action) -> bool {
            match action {
                Action::Write(value) => self.value = Some(*value),
                Action::Read(value) => return *value == self.value,
                Action::Swap { from, to } => {
                    return *from == self.value && {
                        self.value = Some(*to);
                        true
                    };
                }
                Action::Increment(told) => {
                    self.count += 1;
                    return told.is_none_or(|told| told == self.count);
                }
                Action::Count(count) => return *count == self.count,
                Action::Append(element, told) => {
                    self.list.push(*element);
                    return told.is_none_or(|told| told == self.list.len() as u128);
                }
                Action::All(elements) => return *elements == ranked(&self.list),
                Action::Add(element, told) => {
                    let new = self.set.insert(*element);
                    return told.is_none_or(|told| told == new);
                }
                Action::Members(members) => return members.iter().copied().eq(self.set.iter().copied()),
                Action::Halves(..) | Action::Pop(_) | Action::Lease(..) | Action::Refused(_) => return false,
            }
            true
        }

        /// Does the action and fills in what the client is told.
        fn answer(&mut self, action: &mut Action) {
            match action {
                Action::Read(value) => *value = self.value,
                Action::Swap { from, .. } => *from = self.value,
                Action::Increment(told) => *told = Some(self.count + 1),
                Action::Count(count) => *count = self.count,
                Action::Append(_, told) => *told = Some(self.list.len() as u128 + 1),
                Action::All(elements) => *elements = ranked(&self.list),
                Action::Add(element, told) => *told = Some(!self.set.contains(element)),
                Action::Members(members) => *members = self.set.iter().copied().collect(),
                _ => {}
            }
            assert!(self.allows(action), "{action:?} was filled in so that it fits");
        }
    }

    fn ranked(list: &[Element]) -> Vec<(Element, u128)> {
        list.iter().enumerate().map(|(place, &element)| (element, place as u128 + 1)).collect()
    }

    /// Is there any order at all?
    fn some_order(ops: &[Op], left: u32, object: &Object) -> bool {
        let open = |place: &usize| left & 1 << place != 0;
        let places = || (0..ops.len()).filter(open);
        let Some(first_return) = places().map(|place| ops[place].ret).min() else { return true };
        if first_return == NEVER {
            return true;
        }
        places().filter(|&place| ops[place].call <= first_return).any(|place| {
            let mut object = object.clone();
            object.allows(&ops[place].action) && some_order(ops, left & !(1 << place), &object)
        })
    }

    fn random_action(kind: Kind, rng: &Rng, element: Element) -> Action {
        let writes = rng.below(3) > 0;
        match (kind, writes) {
            (Kind::Register | Kind::Pair, true) if rng.below(2) == 0 => {
                Action::Swap { from: None, to: element }
            }
            (Kind::Register | Kind::Pair, true) => Action::Write(element),
            (Kind::Register | Kind::Pair, false) => Action::Read(None),
            (Kind::Counter, true) => Action::Increment(None),
            (Kind::Counter, false) => Action::Count(0),
            (Kind::List | Kind::Stream | Kind::Queue, true) => Action::Append(element, None),
            (Kind::List | Kind::Stream | Kind::Queue, false) => Action::All(Vec::new()),
            (Kind::Set, true) => Action::Add(element, None),
            (Kind::Set, false) => Action::Members(Vec::new()),
            (Kind::Fields, _) => unreachable!("the search knows no time"),
        }
    }

    /// Some operations with random times on a real object, each at a random moment of its time, some of unknown outcome; in
    /// every second history something is then changed that may or may not be noticeable.
    fn random_history(kind: Kind, rng: &Rng) -> History {
        let mut moments: Vec<(Moment, Op)> = Vec::new();
        for n in 0..2 + rng.below(5) {
            let call = 10 + rng.below(40);
            let ret = call + rng.below(20);
            let at = call + rng.below(ret - call + 1);
            let action = random_action(kind, rng, 100 + n);
            moments.push((at, Op { client: n as u32, call, ret, action }));
        }
        moments.sort_by_key(|(at, _)| *at);
        let mut object = Object::default();
        let mut ops: Vec<Op> = Vec::new();
        for (_, mut op) in moments {
            let unknown = op.is_write() && rng.below(4) == 0;
            let happens = !unknown || rng.below(2) == 0;
            if happens {
                object.answer(&mut op.action);
            }
            if unknown {
                op.ret = NEVER;
                match &mut op.action {
                    Action::Increment(told) => *told = None,
                    Action::Append(_, told) => *told = None,
                    Action::Add(_, told) => *told = None,
                    _ => {}
                }
            }
            ops.push(op);
        }
        let mut last = random_action(kind, rng, 0);
        while matches!(
            last,
            Action::Swap { .. } | Action::Write(_) | Action::Increment(_) | Action::Append(..)
        ) || matches!(last, Action::Add(..))
        {
            last = random_action(kind, rng, 0);
        }
        object.answer(&mut last);
        ops.push(Op { client: 99, call: 80, ret: 81, action: last });
        if rng.below(2) == 0 {
            damage(&mut ops, rng);
        }
        History { ops }
    }

    /// Another time, another answer, or an operation that is forgotten.
    fn damage(ops: &mut Vec<Op>, rng: &Rng) {
        let victim = rng.below(ops.len() as u64) as usize;
        let elements: Vec<Element> = (100..100 + ops.len() as u64).collect();
        let any = |rng: &Rng| elements[rng.below(elements.len() as u64) as usize];
        let op = &mut ops[victim];
        match rng.below(3) {
            0 if victim + 1 < elements.len() => {
                let length = if op.is_known() { op.ret - op.call } else { 0 };
                op.call = 10 + rng.below(50);
                if op.is_known() {
                    op.ret = op.call + length;
                }
            }
            1 if op.is_known() => match &mut op.action {
                Action::Read(value) => *value = Some(any(rng)),
                Action::Swap { from, .. } => *from = Some(any(rng)),
                Action::Increment(Some(told)) => *told += 1,
                Action::Count(count) => *count += 1,
                Action::Append(_, Some(told)) => *told += 1,
                Action::All(elements) => drop(elements.pop()),
                Action::Members(members) => drop(members.pop()),
                _ => {}
            },
            _ if victim + 1 < elements.len() => drop(ops.remove(victim)),
            _ => {}
        }
    }

    #[test]
    fn both_come_to_the_same_verdict() {
        let rng = Rng::new(7);
        for kind in [Kind::Register, Kind::Counter, Kind::List, Kind::Set] {
            let (mut accepted, mut rejected) = (0, 0);
            for _ in 0..6000 {
                let history = random_history(kind, &rng);
                let expected = some_order(&history.ops, (1 << history.ops.len()) - 1, &Object::default());
                let verdict = check(kind, &history);
                assert_eq!(verdict.is_ok(), expected, "{kind:?}, {verdict:?}:\n{}", history.excerpt(0));
                *if expected { &mut accepted } else { &mut rejected } += 1;
            }
            assert!(accepted > 1000 && rejected > 300, "{kind:?}: {accepted} accepted, {rejected} rejected");
        }
    }
}

mod fields_that_expire {
    use super::fields::SLACK;
    use super::*;

    const HOUR: Moment = 3_600_000_000_000;
    const BRIEF: Moment = 1_000_000;

    fn lease(element: Element, time: Moment) -> Action {
        Action::Lease(element, time)
    }

    fn members(elements: &[Element]) -> Action {
        Action::Members(elements.to_vec())
    }

    #[test]
    fn what_lives_is_seen_and_what_has_expired_is_not() {
        let late = 10 + BRIEF + SLACK;
        let ops = [
            (1, 1, 2, lease(5, HOUR)),
            (2, 3, 9, lease(6, BRIEF)),
            (1, 10, 11, members(&[6, 5])),
            (1, late, late + 1, members(&[5])),
        ];
        assert_eq!(verdict(Kind::Fields, &ops), Ok(()));
        let mut lost = ops.clone();
        lost[2].3 = members(&[6]);
        assert!(matches!(verdict(Kind::Fields, &lost), Err(Fault::Lost { element: 5, .. })));
        let mut lives_on = ops.clone();
        lives_on[3].3 = members(&[5, 6]);
        assert!(is_impossible(verdict(Kind::Fields, &lives_on)));
        let mut phantom = ops.clone();
        phantom[2].3 = members(&[5, 7]);
        assert!(matches!(verdict(Kind::Fields, &phantom), Err(Fault::Phantom { element: 7, .. })));
        let mut twice = ops.clone();
        twice[2].3 = members(&[5, 5]);
        assert!(matches!(verdict(Kind::Fields, &twice), Err(Fault::Doubled { .. })));
        assert_eq!(verdict(Kind::Fields, &ops[..2]), Err(Fault::Unread));
    }

    #[test]
    fn what_nobody_was_told_of_may_be_there_or_not() {
        let late = 10 + BRIEF + SLACK;
        for seen in [members(&[]), members(&[5])] {
            let ops = [(1, 1, 0, lease(5, BRIEF)), (1, late, late + 1, seen)];
            assert_eq!(verdict(Kind::Fields, &ops), Ok(()));
        }
        let refused = [(1, 1, 2, Action::Refused(5)), (1, 3, 4, members(&[5]))];
        assert!(matches!(verdict(Kind::Fields, &refused), Err(Fault::Phantom { element: 5, .. })));
    }
}
