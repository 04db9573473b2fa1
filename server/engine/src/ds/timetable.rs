//! [`Timetable`]: names with a time each, found by name and in the order of the times.

use super::blob::Blob;
use super::dict::{Dict, Entry, HashSeed};
use super::tree::CowTree;

/// At most one time for a name. Every operation is O(log n); clones are O(1), as those of the tables within.
#[derive(Clone, Debug)]
pub struct Timetable<const N: usize> {
    by_name: Dict<Timed<N>>,
    /// The same again. Two names may have the same time.
    order: CowTree<(i64, Blob<N>), ()>,
}

/// A name and its time, in Unix milliseconds.
#[derive(Clone, Debug)]
struct Timed<const N: usize> {
    name: Blob<N>,
    at_ms: i64,
}

impl<const N: usize> Entry for Timed<N> {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

impl<const N: usize> Timetable<N> {
    /// No names; allocates nothing.
    pub const fn new(seed: HashSeed) -> Self {
        Self { by_name: Dict::new(seed), order: CowTree::new() }
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Has no name a time?
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The name's time.
    pub fn get(&self, name: &[u8]) -> Option<i64> {
        self.by_name.get(name).map(|timed| timed.at_ms)
    }

    /// Gives the name a time, in place of the one that it may have. The bytes of a long name are shared.
    pub fn insert(&mut self, name: &Blob<N>, at_ms: i64) {
        let (timed, made) = self.by_name.get_or_insert_with(name, || Timed { name: name.clone(), at_ms });
        let old_ms = std::mem::replace(&mut timed.at_ms, at_ms);
        if !made {
            if old_ms == at_ms {
                return;
            }
            self.take_out_of_order(name, old_ms);
        }
        self.order.insert((at_ms, name.clone()), ());
    }

    /// Takes the name's time away. False when it had none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(timed) = self.by_name.remove(name) else { return false };
        self.take_out_of_order(&timed.name, timed.at_ms);
        true
    }

    /// The earliest time and its name; of names with the same time the smallest.
    pub fn first(&self) -> Option<(i64, &Blob<N>)> {
        self.order.first().map(|((at_ms, name), ())| (*at_ms, name))
    }

    /// The latest time.
    pub fn last_ms(&self) -> Option<i64> {
        self.order.last().map(|((at_ms, _), ())| *at_ms)
    }

    /// All names with their times, the earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Blob<N>)> {
        self.order.iter().map(|((at_ms, name), ())| (*at_ms, name))
    }

    /// Bytes of heap, but for those of long names, which are their owner's.
    pub fn heap_size(&self) -> usize {
        self.by_name.heap_size() + self.order.heap_size()
    }

    fn take_out_of_order(&mut self, name: &Blob<N>, at_ms: i64) {
        let removed =
            self.order.remove_by(|(probe_ms, probe)| probe_ms.cmp(&at_ms).then_with(|| probe.cmp(name)));
        debug_assert!(removed.is_some(), "a name that is in the table is in the tree");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_that_knows_the_order(ops in prop::collection::vec((0u8..30, prop::option::of(-5i64..5)), 0..200)) {
            let mut table = Timetable::<4>::new(HashSeed::new([1, 2, 3, 4]));
            let mut model = BTreeMap::new();
            for (number, at_ms) in ops {
                let name = format!("name {number}").split_off(usize::from(number % 2) * 3).into_bytes();
                match at_ms {
                    Some(at_ms) => {
                        table.insert(&Blob::from(&name[..]), at_ms);
                        model.insert(name.clone(), at_ms);
                    }
                    None => prop_assert_eq!(table.remove(&name), model.remove(&name).is_some()),
                }
                prop_assert_eq!(table.get(&name), model.get(&name).copied());
                let mut ordered: Vec<_> = model.iter().map(|(name, &at_ms)| (at_ms, name.clone())).collect();
                ordered.sort();
                let all: Vec<_> = table.iter().map(|(at_ms, name)| (at_ms, name.to_vec())).collect();
                prop_assert_eq!(&all, &ordered);
                prop_assert_eq!(table.first().map(|(at_ms, name)| (at_ms, name.to_vec())), ordered.first().cloned());
                prop_assert_eq!(table.last_ms(), ordered.last().map(|(at_ms, _)| *at_ms));
                prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
