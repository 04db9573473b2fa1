//! Vectors of a field and the nearest among them.
//!
//! A document may have several vectors (an array in a JSON document): its distance is that of the nearest.

pub mod filter;
pub mod graph;
pub mod quantised;
pub mod set;
pub mod store;

use crate::index::numbers::key_of;
use crate::pieces::Pieces;
use crate::schema::{HnswSpec, VectorAlgorithm, VectorSpec, VectorType};
use graph::{Graph, Near, Space, Visited};
use roaring::RoaringBitmap;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use store::{Dense, Number};

/// Documents that pass a filter are looked at one by one if they are no more than this: it costs less than a walk
/// through the graph, most of whose nodes would not pass.
const FILTERED_SCAN_MAX: u64 = 4096;
/// Vectors between two looks at the clock.
const SCAN_STEP: usize = 512;

/// A document and how far its nearest vector is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub distance: f64,
    pub doc: u32,
}

impl Neighbour {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.doc.cmp(&other.doc))
    }
}

/// The vectors of a field.
#[derive(Debug)]
pub enum Vectors {
    Float32(Typed<f32>),
    Float64(Typed<f64>),
}

impl Vectors {
    /// `seed` decides the layers of an HNSW graph.
    pub fn new(spec: &VectorSpec, seed: u64) -> Self {
        match spec.numbers {
            VectorType::Float32 => Self::Float32(Typed::new(spec, seed)),
            VectorType::Float64 => Self::Float64(Typed::new(spec, seed)),
        }
    }

    /// Adds a vector of a document. `blob` has the field's length.
    pub fn insert(&mut self, doc: u32, blob: &[u8]) {
        match self {
            Self::Float32(typed) => typed.insert(doc, blob),
            Self::Float64(typed) => typed.insert(doc, blob),
        }
    }

    /// Is this the only vector of the document?
    pub fn holds(&self, doc: u32, blob: &[u8]) -> bool {
        match self {
            Self::Float32(typed) => typed.holds(doc, blob),
            Self::Float64(typed) => typed.holds(doc, blob),
        }
    }

    /// The vectors of a document are those of another from here on, which has none. They keep their places in the graph.
    pub fn rename(&mut self, from: u32, to: u32) {
        match self {
            Self::Float32(typed) => typed.rename(from, to),
            Self::Float64(typed) => typed.rename(from, to),
        }
    }

    /// Removes all vectors of a document.
    pub fn remove(&mut self, doc: u32) {
        match self {
            Self::Float32(typed) => typed.remove(doc),
            Self::Float64(typed) => typed.remove(doc),
        }
    }

    /// The `k` nearest documents, of those in `filter`, nearest first. `goes_on` is asked now and then.
    pub fn nearest(
        &self,
        blob: &[u8],
        k: usize,
        ef: Option<usize>,
        filter: Option<&RoaringBitmap>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        match self {
            Self::Float32(typed) => typed.nearest(blob, k, ef, filter, goes_on),
            Self::Float64(typed) => typed.nearest(blob, k, ef, filter, goes_on),
        }
    }

    /// The documents within a radius, in the order of their ids.
    pub fn within(
        &self,
        blob: &[u8],
        radius: f64,
        epsilon: Option<f64>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        let mut found = match self {
            Self::Float32(typed) => typed.within(blob, radius, epsilon, goes_on),
            Self::Float64(typed) => typed.within(blob, radius, epsilon, goes_on),
        };
        found.sort_unstable_by_key(|n| n.doc);
        found
    }

    /// Vectors.
    pub fn len(&self) -> usize {
        match self {
            Self::Float32(typed) => typed.slots.len(),
            Self::Float64(typed) => typed.slots.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn memory(&self) -> usize {
        match self {
            Self::Float32(typed) => typed.memory(),
            Self::Float64(typed) => typed.memory(),
        }
    }
}

#[derive(Debug)]
pub struct Typed<T> {
    store: Dense<T>,
    /// Document and slot.
    slots: BTreeSet<(u32, u32)>,
    /// The document of each slot; 0 where there is none.
    docs: Pieces<u32>,
    /// Documents with a vector.
    docs_len: usize,
    free: Pieces<u32>,
    graph: Option<(Graph, HnswSpec)>,
    /// Searches need room to remember where they were; only one runs at a time.
    visited: RefCell<Visited>,
}

impl<T: Number> Space for Dense<T> {
    fn distance(&self, a: u32, b: u32) -> f32 {
        Dense::distance(self, self.get(a), self.get(b)) as f32
    }
}

impl<T: Number> Typed<T> {
    fn new(spec: &VectorSpec, seed: u64) -> Self {
        let graph = match spec.algorithm {
            VectorAlgorithm::Flat => None,
            VectorAlgorithm::Hnsw(hnsw) => Some((Graph::new(hnsw.m, hnsw.ef_construction, seed), hnsw)),
        };
        Self {
            store: Dense::new(spec.dim, spec.metric),
            slots: BTreeSet::new(),
            docs: Pieces::default(),
            docs_len: 0,
            free: Pieces::default(),
            graph,
            visited: RefCell::default(),
        }
    }

    fn insert(&mut self, doc: u32, blob: &[u8]) {
        let vector = self.store.prepare(blob);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.docs.push(0);
            self.docs.len() as u32 - 1
        });
        self.store.put(slot, &vector);
        self.docs[slot as usize] = doc;
        let is_first = self.slots_of(doc).next().is_none();
        self.docs_len += usize::from(is_first);
        self.slots.insert((doc, slot));
        if let Some((graph, _)) = &mut self.graph {
            graph.insert(slot, &self.store, self.visited.get_mut());
        }
    }

    fn slots_of(&self, doc: u32) -> impl Iterator<Item = u32> {
        self.slots.range((doc, 0)..=(doc, u32::MAX)).map(|&(_, slot)| slot)
    }

    fn holds(&self, doc: u32, blob: &[u8]) -> bool {
        let mut slots = self.slots_of(doc);
        let (Some(slot), None) = (slots.next(), slots.next()) else { return false };
        let [known, vector] = [self.store.get(slot), &self.store.prepare(blob)];
        known.iter().zip(vector).all(|(a, b)| a.to_f64() == b.to_f64())
    }

    fn rename(&mut self, from: u32, to: u32) {
        let slots: Vec<u32> = self.slots_of(from).collect();
        for slot in slots {
            self.slots.remove(&(from, slot));
            self.slots.insert((to, slot));
            self.docs[slot as usize] = to;
        }
    }

    fn remove(&mut self, doc: u32) {
        let slots: Vec<u32> = self.slots_of(doc).collect();
        self.docs_len -= usize::from(!slots.is_empty());
        for slot in slots {
            self.slots.remove(&(doc, slot));
            if let Some((graph, _)) = &mut self.graph {
                graph.remove(slot, &self.store);
            }
            self.docs[slot as usize] = 0;
            self.free.push(slot);
        }
    }

    fn distance(&self, query: &[T], slot: u32) -> f64 {
        self.store.distance(query, self.store.get(slot))
    }

    fn nearest(
        &self,
        blob: &[u8],
        k: usize,
        ef: Option<usize>,
        filter: Option<&RoaringBitmap>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        let query = self.store.prepare(blob);
        if k == 0 || self.slots.is_empty() {
            return Vec::new();
        }
        let few = filter.filter(|docs| self.graph.is_none() || docs.len() <= FILTERED_SCAN_MAX);
        if let Some(docs) = few
            && docs.len() < self.slots.len() as u64
        {
            return self.scan_docs(&query, docs, k, goes_on);
        }
        let Some((graph, spec)) = &self.graph else {
            return self.scan(&query, filter, k, goes_on);
        };
        let ef = ef.unwrap_or(spec.ef_runtime).max(k).min(self.slots.len());
        // Several vectors of one document may take the places of others.
        let ef = if self.slots.len() > self.docs_len { ef * 2 } else { ef };
        let pass = |slot: u32| filter.is_none_or(|docs| docs.contains(self.docs[slot as usize]));
        let found = graph.search(
            ef,
            &|slot| self.distance(&query, slot) as f32,
            &pass,
            &mut self.visited.borrow_mut(),
            goes_on,
        );
        let mut found = self.by_doc(&query, found);
        found.sort_unstable_by(Neighbour::order);
        found.truncate(k);
        found
    }

    /// The nearest vector of each document.
    fn by_doc(&self, query: &[T], found: Vec<Near>) -> Vec<Neighbour> {
        let mut best: BTreeMap<u32, f64> = BTreeMap::new();
        for near in found {
            let distance = self.distance(query, near.slot);
            let doc = self.docs[near.slot as usize];
            best.entry(doc).and_modify(|d| *d = d.min(distance)).or_insert(distance);
        }
        best.into_iter().map(|(doc, distance)| Neighbour { distance, doc }).collect()
    }

    fn scan(
        &self,
        query: &[T],
        filter: Option<&RoaringBitmap>,
        k: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        let mut best = Best::new(k);
        for (slot, &doc) in self.docs.iter().enumerate() {
            if slot % SCAN_STEP == 0 && !goes_on() {
                break;
            }
            if doc != 0 && filter.is_none_or(|docs| docs.contains(doc)) {
                best.offer(Neighbour { distance: self.distance(query, slot as u32), doc });
            }
        }
        best.sorted()
    }

    fn scan_docs(
        &self,
        query: &[T],
        docs: &RoaringBitmap,
        k: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        let mut best = Best::new(k);
        for (at, doc) in docs.iter().enumerate() {
            if at % SCAN_STEP == 0 && !goes_on() {
                break;
            }
            let distances = self.slots_of(doc).map(|slot| self.distance(query, slot));
            if let Some(distance) = distances.min_by(f64::total_cmp) {
                best.offer(Neighbour { distance, doc });
            }
        }
        best.sorted()
    }

    fn within(
        &self,
        blob: &[u8],
        radius: f64,
        epsilon: Option<f64>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Vec<Neighbour> {
        let query = self.store.prepare(blob);
        if let Some((graph, spec)) = &self.graph {
            let reach = 1.0 + epsilon.unwrap_or(spec.epsilon);
            // A little more, for the rounding; what is too far is dropped below.
            let found = graph.search_radius(
                (radius * (1.0 + 1e-6)) as f32,
                reach as f32,
                &|slot| self.distance(&query, slot) as f32,
                &mut self.visited.borrow_mut(),
                goes_on,
            );
            return self.by_doc(&query, found).into_iter().filter(|n| n.distance <= radius).collect();
        }
        let mut near = Vec::new();
        for (slot, &doc) in self.docs.iter().enumerate() {
            if slot % SCAN_STEP == 0 && !goes_on() {
                break;
            }
            let distance = if doc == 0 { f64::INFINITY } else { self.distance(&query, slot as u32) };
            if distance <= radius {
                near.push(Near { distance: distance as f32, slot: slot as u32 });
            }
        }
        self.by_doc(&query, near)
    }

    fn memory(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, |(graph, _)| graph.memory());
        let tables = self.docs.memory() + self.free.memory() + self.visited.borrow().memory();
        self.store.memory() + graph + self.slots.len() * 12 + tables
    }
}

/// The k nearest documents so far.
struct Best {
    k: usize,
    /// By distance, as bits that compare as distances do.
    order: BTreeSet<(u64, u32)>,
    docs: BTreeMap<u32, f64>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, order: BTreeSet::new(), docs: BTreeMap::new() }
    }

    fn offer(&mut self, near: Neighbour) {
        let entry = (key_of(near.distance), near.doc);
        if self.order.len() == self.k && self.order.last().is_some_and(|worst| entry >= *worst) {
            return;
        }
        match self.docs.get(&near.doc) {
            Some(&before) if before <= near.distance => return,
            Some(&before) => {
                self.order.remove(&(key_of(before), near.doc));
            }
            None => {}
        }
        self.docs.insert(near.doc, near.distance);
        self.order.insert(entry);
        if self.order.len() > self.k
            && let Some((_, doc)) = self.order.pop_last()
        {
            self.docs.remove(&doc);
        }
    }

    fn sorted(self) -> Vec<Neighbour> {
        self.order.iter().map(|(_, doc)| Neighbour { distance: self.docs[doc], doc: *doc }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Metric;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn spec(algorithm: VectorAlgorithm, metric: Metric, dim: usize) -> VectorSpec {
        VectorSpec { algorithm, numbers: VectorType::Float32, dim, metric }
    }

    fn blob(vector: &[f32]) -> Vec<u8> {
        vector.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn random(rng: &mut StdRng, dim: usize) -> Vec<u8> {
        blob(&(0..dim).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect::<Vec<f32>>())
    }

    fn docs(found: &[Neighbour]) -> Vec<u32> {
        found.iter().map(|n| n.doc).collect()
    }

    #[test]
    fn flat_finds_the_nearest_of_each_document() {
        let mut vectors = Vectors::new(&spec(VectorAlgorithm::Flat, Metric::L2, 1), 0);
        for (doc, at) in [(1, 5.0), (2, 1.0), (2, 4.9), (3, 9.0), (4, 5.5)] {
            vectors.insert(doc, &blob(&[at]));
        }
        let all = |v: &Vectors, k, filter: Option<&RoaringBitmap>| {
            v.nearest(&blob(&[5.0]), k, None, filter, &mut || true)
        };
        assert_eq!(docs(&all(&vectors, 3, None)), [1, 2, 4]);
        assert_eq!(docs(&all(&vectors, 9, None)), [1, 2, 4, 3]);
        assert_eq!(docs(&all(&vectors, 9, Some(&[2, 3, 7].into_iter().collect()))), [2, 3]);
        assert_eq!(docs(&vectors.within(&blob(&[5.0]), 0.3, None, &mut || true)), [1, 2, 4]);
        vectors.remove(2);
        assert_eq!((docs(&all(&vectors, 2, None)), vectors.len()), (vec![1, 4], 3));
        assert!(all(&vectors, 0, None).is_empty());
        let graph_spec = spec(VectorAlgorithm::Hnsw(HnswSpec::default()), Metric::L2, 1);
        let mut graph = Vectors::new(&graph_spec, 0);
        for (doc, at) in [(1, 5.0), (2, 1.0), (2, 4.9)] {
            graph.insert(doc, &blob(&[at]));
        }
        assert_eq!(docs(&all(&graph, usize::MAX, None)), [1, 2]);
    }

    #[test]
    fn what_is_there_stays_where_it_is_while_more_comes() {
        let mut vectors = Typed::<f32>::new(&spec(VectorAlgorithm::Flat, Metric::L2, 4), 0);
        let places = |v: &Typed<f32>| {
            v.visited.borrow_mut().begin(v.docs.len());
            [v.store.get(0).as_ptr().addr(), (&raw const v.docs[0]).addr(), v.visited.borrow().place()]
        };
        let row = blob(&[1.0, 2.0, 3.0, 4.0]);
        (1..=20_000).for_each(|doc| vectors.insert(doc, &row));
        let before = places(&vectors);
        (20_001..=70_000).for_each(|doc| vectors.insert(doc, &row));
        assert_eq!(places(&vectors), before);
        let each = vectors.memory() as f64 / 70_000.0;
        assert!(
            (36.0..40.0).contains(&each),
            "16 of its numbers, 12 of its place, 4 each of its document and mark: {each}"
        );
    }

    /// Recall of the ten nearest, over a hundred queries.
    fn recall(count: u32, ef: usize, metric: Metric, churn: bool) -> f64 {
        let mut rng = StdRng::seed_from_u64(42);
        let hnsw = VectorAlgorithm::Hnsw(HnswSpec::default());
        let mut graph = Vectors::new(&spec(hnsw, metric, 64), 1);
        let mut flat = Vectors::new(&spec(VectorAlgorithm::Flat, metric, 64), 1);
        for doc in 1..=count {
            let vector = random(&mut rng, 64);
            graph.insert(doc, &vector);
            flat.insert(doc, &vector);
            if churn && doc > count / 2 {
                let victim = doc - count / 2;
                graph.remove(victim);
                flat.remove(victim);
            }
        }
        let mut hits = 0;
        for _ in 0..100 {
            let query = random(&mut rng, 64);
            let exact = docs(&flat.nearest(&query, 10, None, None, &mut || true));
            let found = docs(&graph.nearest(&query, 10, Some(ef), None, &mut || true));
            hits += found.iter().filter(|doc| exact.contains(doc)).count();
        }
        hits as f64 / 1000.0
    }

    #[test]
    fn hnsw_finds_nearly_all_of_the_ten_nearest_of_random_vectors() {
        let found = recall(2000, 200, Metric::Cosine, false);
        assert!(found >= 0.95, "{found}");
    }

    #[test]
    fn hnsw_finds_them_as_well_when_half_of_all_has_been_removed() {
        let found = recall(3000, 200, Metric::L2, true);
        assert!(found >= 0.95, "{found}");
    }

    #[test]
    fn filters_hold_whether_few_pass_or_many() {
        let mut rng = StdRng::seed_from_u64(3);
        let hnsw = VectorAlgorithm::Hnsw(HnswSpec::default());
        let mut vectors = Vectors::new(&spec(hnsw, Metric::L2, 8), 1);
        let mut flat = Vectors::new(&spec(VectorAlgorithm::Flat, Metric::L2, 8), 1);
        for doc in 1..=10_000 {
            let vector = random(&mut rng, 8);
            vectors.insert(doc, &vector);
            flat.insert(doc, &vector);
        }
        let query = random(&mut rng, 8);
        let few: RoaringBitmap = (1..=10_000).step_by(100).collect();
        let many: RoaringBitmap = (1..=10_000).filter(|doc| doc % 2 == 0).collect();
        let exact = |filter| docs(&flat.nearest(&query, 10, None, Some(filter), &mut || true));
        assert_eq!(docs(&vectors.nearest(&query, 10, Some(100), Some(&few), &mut || true)), exact(&few));
        assert_eq!(docs(&vectors.nearest(&query, 10, Some(200), Some(&many), &mut || true)), exact(&many));
        let near = vectors.within(&query, 0.5, None, &mut || true);
        assert_eq!(docs(&near), docs(&flat.within(&query, 0.5, None, &mut || true)));
        assert!(!near.is_empty());
    }

    #[test]
    fn a_search_that_is_told_to_stop_stops() {
        let mut vectors = Vectors::new(&spec(VectorAlgorithm::Flat, Metric::L2, 2), 0);
        (1..=2000).for_each(|doc| vectors.insert(doc, &blob(&[doc as f32, 0.0])));
        let mut asked = 0;
        let found = vectors.nearest(&blob(&[2000.0, 0.0]), 1, None, None, &mut || {
            asked += 1;
            asked < 2
        });
        assert_eq!((docs(&found), asked), (vec![SCAN_STEP as u32], 2));
    }
}
