//! The vectors of a vector set with the graph over them. Slots have no gaps: with a removed one's number goes the last.
//!
//! The same calls make the same graph, and one that was saved and loaded goes on as it would have: there is no state beside what is
//! saved, and no float whose last bit depends on the machine.

use super::graph::{Graph, Near, Space, Visited};
use super::quantised::{Quantisation, Quants, Store};
use super::store::Rows;
use std::cell::RefCell;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

/// Numbers of a vector.
pub const DIM_MAX: usize = 1 << 16;
/// Links that a node has in each layer, and half of those in the lowest.
pub const M: RangeInclusive<usize> = 4..=4096;
pub const M_DEFAULT: usize = 16;
/// Candidates of a search.
pub const EF_MAX: usize = 1_000_000;
/// Slots: one number is left for what is none.
pub const LEN_MAX: usize = u32::MAX as usize - 1;
/// Slots between two questions of a scan whether it goes on.
const ASK_EVERY: u32 = 64;

thread_local! {
    /// Where a search was. One for all sets, for only one search runs at a time.
    static VISITED: RefCell<Visited> = RefCell::default();
}

/// A vector as its set keeps it, and the length it had.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    pub quants: Quants,
    pub length: f32,
}

impl Normalised {
    /// `None` if there is a number in it, or a length, that is not finite.
    pub fn new(mut vector: Vec<f32>, quantisation: Quantisation) -> Option<Self> {
        let length = vector.iter().map(|&n| f64::from(n) * f64::from(n)).sum::<f64>().sqrt();
        if !length.is_finite() || !(length as f32).is_finite() {
            return None;
        }
        if length > 0.0 {
            vector.iter_mut().for_each(|n| *n = (f64::from(*n) / length) as f32);
        }
        // The zero vector is as long as Redis says that it is.
        let length = if length > 0.0 { length as f32 } else { 1.0 };
        Some(Self { quants: Quants::new(vector, quantisation), length })
    }
}

/// What passes a filter, and how much may be looked at for it.
pub struct Sieve<'a> {
    pub passes: &'a dyn Fn(u32) -> bool,
    pub effort_max: usize,
}

/// A clone shares everything; a write copies what it touches.
#[derive(Debug, Clone)]
pub struct VectorSlots {
    store: Store,
    /// What vectors were divided by.
    lengths: Rows<f32>,
    graph: Graph,
    m: usize,
    len: u32,
}

impl VectorSlots {
    pub fn new(dim: usize, quantisation: Quantisation, m: usize) -> Self {
        Self {
            store: Store::new(dim, quantisation),
            lengths: Rows::new(1),
            graph: Graph::new(m, 0, 0),
            m,
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn dim(&self) -> usize {
        self.store.dim()
    }

    pub fn quantisation(&self) -> Quantisation {
        self.store.quantisation()
    }

    pub fn m(&self) -> usize {
        self.m
    }

    /// Links of a slot in each of its layers, from the lowest on.
    pub fn layers(&self, slot: u32) -> impl Iterator<Item = &[u32]> {
        self.graph.layers(slot)
    }

    /// Links of a slot in a layer, at most.
    pub fn links_max(&self, level: usize) -> usize {
        self.graph.links_max(level)
    }

    /// The highest layer there is.
    pub fn level_max(&self) -> usize {
        self.graph.level_max()
    }

    pub fn quants(&self, slot: u32) -> Quants {
        self.store.get(slot)
    }

    /// The length that the vector had.
    pub fn length(&self, slot: u32) -> f32 {
        self.lengths.get(slot)[0]
    }

    /// The vector, as near as it is known.
    pub fn vector(&self, slot: u32) -> Vec<f32> {
        let mut vector = self.store.get(slot).to_floats(self.dim());
        if self.quantisation() != Quantisation::Bits {
            let length = self.length(slot);
            vector.iter_mut().for_each(|n| *n *= length);
        }
        vector
    }

    pub fn distance(&self, a: u32, b: u32) -> f32 {
        self.store.distance(a, b)
    }

    /// Adds a vector of this set's form as the last slot. `seed` decides about its layers.
    pub fn push(&mut self, vector: &Normalised, seed: u64, ef: usize) -> u32 {
        let slot = self.len;
        self.put(slot, vector);
        VISITED.with_borrow_mut(|visited| self.graph.insert_with(slot, seed, ef, &self.store, visited));
        self.len += 1;
        slot
    }

    fn put(&mut self, slot: u32, vector: &Normalised) {
        self.store.put(slot, &vector.quants);
        self.lengths.get_mut(slot)[0] = vector.length;
    }

    /// Removes a slot, whose number the last one gets.
    pub fn swap_remove(&mut self, slot: u32) {
        self.graph.remove(slot, &self.store);
        self.graph.fill(slot);
        let last = self.len - 1;
        if slot != last {
            let moved = Normalised { quants: self.store.get(last), length: self.length(last) };
            self.put(slot, &moved);
        }
        self.store.truncate(last);
        self.lengths.truncate(last);
        self.len = last;
    }

    /// Adds a slot as it was saved: see [`Graph::restore`]. After the last one, ask [`VectorSlots::is_sound`].
    pub fn restore(&mut self, vector: &Normalised, layers: &[Vec<u32>]) {
        self.put(self.len, vector);
        self.graph.restore(self.len, layers);
        self.len += 1;
    }

    /// Do the links fit together?
    pub fn is_sound(&self) -> bool {
        self.graph.is_sound()
    }

    /// About the `ef` nearest, nearest first. `goes_on` is asked at every node.
    pub fn search(
        &self,
        query: &Quants,
        ef: usize,
        sieve: Option<&Sieve<'_>>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Near> {
        let distance = |slot: u32| self.store.distance_to(query, slot);
        let ef = ef.min(self.len());
        VISITED.with_borrow_mut(|visited| match sieve {
            None => self.graph.search(ef, &distance, &|_| true, visited, goes_on),
            Some(sieve) => {
                // The one where the search begins is the first.
                let mut effort = 1;
                self.graph.search(ef, &distance, sieve.passes, visited, &mut || {
                    effort += 1;
                    effort <= sieve.effort_max && goes_on()
                })
            }
        })
    }

    /// The `count` nearest, nearest first, by a look at all. `goes_on` is asked now and then.
    pub fn scan(
        &self,
        query: &Quants,
        count: usize,
        passes: &dyn Fn(u32) -> bool,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Near> {
        let mut nearest: BinaryHeap<Near> = BinaryHeap::new();
        for slot in 0..self.len {
            if slot % ASK_EVERY == ASK_EVERY - 1 && !goes_on() {
                break;
            }
            let near = Near { distance: self.store.distance_to(query, slot), slot };
            let enters = nearest.len() < count || nearest.peek().is_some_and(|worst| near < *worst);
            if enters && passes(slot) {
                nearest.push(near);
                if nearest.len() > count {
                    nearest.pop();
                }
            }
        }
        nearest.into_sorted_vec()
    }

    pub fn memory(&self) -> usize {
        self.store.memory() + self.lengths.memory() + self.graph.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn random(rng: &mut StdRng, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    fn filled(quantisation: Quantisation, count: u64, dim: usize, rng: &mut StdRng) -> VectorSlots {
        let mut set = VectorSlots::new(dim, quantisation, M_DEFAULT);
        for seed in 0..count {
            let vector = Normalised::new(random(rng, dim), quantisation).unwrap();
            set.push(&vector, seed.wrapping_mul(0x2545_f491_4f6c_dd1d), 200);
        }
        set
    }

    /// The share of the ten nearest, of all there are, that a search finds.
    fn recall(set: &VectorSlots, queries: usize, rng: &mut StdRng, passes: &dyn Fn(u32) -> bool) -> f64 {
        let mut hits = 0;
        for _ in 0..queries {
            let query = Normalised::new(random(rng, set.dim()), set.quantisation()).unwrap().quants;
            let sieve = Sieve { passes, effort_max: 2000 };
            let mut found = set.search(&query, 100, Some(&sieve), &mut || true);
            found.truncate(10);
            let nearest = set.scan(&query, 10, passes, &mut || true);
            // Bits give many the same distance: any of them will do.
            let limit = nearest.last().map_or(0.0, |near| near.distance);
            hits += found.iter().filter(|near| near.distance <= limit).count();
        }
        hits as f64 / (queries * 10) as f64
    }

    #[test]
    fn searches_find_nearly_all_of_the_nearest_in_every_form() {
        let mut rng = StdRng::seed_from_u64(17);
        for (quantisation, least) in
            [(Quantisation::Floats, 0.97), (Quantisation::Bytes, 0.97), (Quantisation::Bits, 0.93)]
        {
            let mut set = filled(quantisation, 3000, 32, &mut rng);
            let share = recall(&set, 100, &mut rng, &|_| true);
            assert!(share >= least, "{quantisation:?}: {share}");
            for at in 0..1500 {
                set.swap_remove((at * 7919) % set.len);
            }
            assert!(set.is_sound());
            let share = recall(&set, 100, &mut rng, &|_| true);
            assert!(share >= least, "{quantisation:?} after removals: {share}");
            let share = recall(&set, 100, &mut rng, &|slot| slot % 5 == 0);
            assert!(share >= least - 0.05, "{quantisation:?} with a filter: {share}");
        }
    }

    #[test]
    fn a_filter_that_nothing_passes_ends_a_search() {
        let set = filled(Quantisation::Bytes, 2000, 8, &mut StdRng::seed_from_u64(1));
        let asked = std::cell::Cell::new(0);
        let passes = |_| {
            asked.set(asked.get() + 1);
            false
        };
        let query = set.quants(0);
        let sieve = Sieve { passes: &passes, effort_max: 10 };
        assert!(set.search(&query, 100, Some(&sieve), &mut || true).is_empty());
        assert!(asked.get() <= 10 * 32, "{}", asked.get());
        assert!(set.scan(&query, 10, &passes, &mut || true).is_empty());
    }

    #[test]
    fn what_is_not_finite_is_no_vector() {
        for vector in [vec![f32::NAN], vec![1.0, f32::INFINITY], vec![f32::MAX, f32::MAX]] {
            assert_eq!(Normalised::new(vector, Quantisation::Floats), None);
        }
        let tiny = Normalised::new(vec![1e-40, 0.0], Quantisation::Floats).unwrap();
        assert_eq!(tiny.quants, Quants::Floats(vec![1.0, 0.0]));
        let zero = Normalised::new(vec![0.0, 0.0], Quantisation::Bytes).unwrap();
        assert_eq!((zero.length, zero.quants.range()), (1.0, 0.0));
    }

    proptest! {
        #[test]
        fn a_saved_set_goes_on_as_the_one_that_was_saved(
            steps in prop::collection::vec((0u8..4, any::<u64>(), -9i8..9, -9i8..9), 1..60),
            form in 0u8..3, cut in 0usize..60,
        ) {
            let form = [Quantisation::Floats, Quantisation::Bytes, Quantisation::Bits][form as usize];
            let mut first = VectorSlots::new(2, form, 4);
            let mut second = first.clone();
            for (at, &(kind, seed, x, y)) in steps.iter().enumerate() {
                if at == cut {
                    let mut loaded = VectorSlots::new(2, form, 4);
                    for slot in 0..second.len {
                        let vector = Normalised { quants: second.quants(slot), length: second.length(slot) };
                        let layers: Vec<Vec<u32>> = second.layers(slot).map(<[u32]>::to_vec).collect();
                        loaded.restore(&vector, &layers);
                    }
                    prop_assert!(loaded.is_sound());
                    second = loaded;
                }
                let before = first.clone();
                for set in [&mut first, &mut second] {
                    if kind == 0 && !set.is_empty() {
                        set.swap_remove((seed % set.len() as u64) as u32);
                    } else {
                        let vector = vec![f32::from(x), f32::from(y)];
                        set.push(&Normalised::new(vector, form).unwrap(), seed, 10);
                    }
                }
                let all = |set: &VectorSlots| {
                    let slots = (0..set.len).map(|slot| {
                        let layers: Vec<Vec<u32>> = set.layers(slot).map(<[u32]>::to_vec).collect();
                        (set.quants(slot), set.length(slot), layers)
                    });
                    slots.collect::<Vec<_>>()
                };
                prop_assert_eq!(all(&first), all(&second));
                prop_assert!(first.is_sound() && before.is_sound(), "a clone stays as it was");
            }
        }
    }
}
