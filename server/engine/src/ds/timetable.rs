//! [`Timetable`]: names with a time each, found by name and in the order of the times.
//!
//! ```text
//!  Few   │ (time, name) …                      one vector in the order of times, searched from end to end
//!  Many  │ by_name: name ► time │ order: (time, name) …          a hash table, and a tree in the order of times
//! ```

use super::blob::Blob;
use super::dict::{Dict, Entry, HashSeed};
use super::size_class::size_class;
use super::tree::CowTree;

/// Up to so many names a search from end to end is fast, and the tables would be most of the memory.
const FEW_MAX: usize = 16;

/// At most one time for a name. Every operation is O(log n); clones copy few names at most.
#[derive(Clone, Debug)]
pub struct Timetable<const N: usize>(Repr<N>);

#[derive(Clone, Debug)]
enum Repr<const N: usize> {
    Few(Vec<(i64, Blob<N>)>),
    Many(Box<Tables<N>>),
}

#[derive(Clone, Debug)]
struct Tables<const N: usize> {
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

impl<const N: usize> Default for Timetable<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Timetable<N> {
    /// No names; allocates nothing.
    pub const fn new() -> Self {
        Self(Repr::Few(Vec::new()))
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Few(rows) => rows.len(),
            Repr::Many(tables) => tables.order.len(),
        }
    }

    /// Has no name a time?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name's time.
    pub fn get(&self, name: &[u8]) -> Option<i64> {
        match &self.0 {
            Repr::Few(rows) => rows.iter().find(|(_, row)| **row == *name).map(|(at_ms, _)| *at_ms),
            Repr::Many(tables) => tables.by_name.get(name).map(|timed| timed.at_ms),
        }
    }

    /// Gives the name a time, in place of the one that it may have. The bytes of a long name are shared. Should there be
    /// many names now, `seed` is their table's.
    pub fn insert(&mut self, name: &Blob<N>, at_ms: i64, seed: HashSeed) {
        match &mut self.0 {
            Repr::Few(rows) => {
                rows.retain(|(_, row)| row != name);
                let row = (at_ms, name.clone());
                let at = rows.partition_point(|other| *other < row);
                rows.reserve_exact(1);
                rows.insert(at, row);
                if rows.len() > FEW_MAX {
                    self.0 = Repr::Many(Box::new(Tables::new(std::mem::take(rows), seed)));
                }
            }
            Repr::Many(tables) => tables.insert(name, at_ms),
        }
    }

    /// Takes the name's time away. False when it had none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Few(rows) => match rows.iter().position(|(_, row)| **row == *name) {
                Some(at) => {
                    rows.remove(at);
                    true
                }
                None => false,
            },
            Repr::Many(tables) => {
                let removed = tables.remove(name);
                if tables.order.is_empty() {
                    self.0 = Repr::Few(Vec::new());
                }
                removed
            }
        }
    }

    /// The earliest time and its name; of names with the same time the smallest.
    pub fn first(&self) -> Option<(i64, &Blob<N>)> {
        self.iter().next()
    }

    /// The latest time.
    pub fn last_ms(&self) -> Option<i64> {
        match &self.0 {
            Repr::Few(rows) => rows.last().map(|(at_ms, _)| *at_ms),
            Repr::Many(tables) => tables.order.last().map(|((at_ms, _), ())| *at_ms),
        }
    }

    /// All names with their times, the earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Blob<N>)> {
        let (few, many) = match &self.0 {
            Repr::Few(rows) => (&rows[..], None),
            Repr::Many(tables) => (&[][..], Some(&tables.order)),
        };
        let many = many.into_iter().flat_map(|order| order.iter()).map(|(row, ())| row);
        few.iter().chain(many).map(|(at_ms, name)| (*at_ms, name))
    }

    /// Bytes of heap, but for those of long names, which are their owner's.
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Repr::Few(rows) => size_class(rows.capacity() * size_of::<(i64, Blob<N>)>()),
            Repr::Many(tables) => {
                size_class(size_of::<Tables<N>>()) + tables.by_name.heap_size() + tables.order.heap_size()
            }
        }
    }
}

impl<const N: usize> Tables<N> {
    /// Of rows in the order of times.
    fn new(rows: Vec<(i64, Blob<N>)>, seed: HashSeed) -> Self {
        let mut by_name = Dict::new(seed);
        for (at_ms, name) in &rows {
            by_name.insert(Timed { name: name.clone(), at_ms: *at_ms });
        }
        Self { by_name, order: CowTree::from_sorted(rows.into_iter().map(|row| (row, ()))) }
    }

    fn insert(&mut self, name: &Blob<N>, at_ms: i64) {
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

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some(timed) = self.by_name.remove(name) else { return false };
        self.take_out_of_order(&timed.name, timed.at_ms);
        true
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

    const SEED: HashSeed = HashSeed::new([1, 2, 3, 4]);

    proptest! {
        #[test]
        fn it_is_a_map_that_knows_the_order(ops in prop::collection::vec((0u8..30, prop::option::weighted(0.7, -5i64..5)), 0..200)) {
            let mut table = Timetable::<4>::new();
            let mut model = BTreeMap::new();
            for (number, at_ms) in ops {
                let name = format!("name {number}").split_off(usize::from(number % 2) * 3).into_bytes();
                match at_ms {
                    Some(at_ms) => {
                        table.insert(&Blob::from(&name[..]), at_ms, SEED);
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
