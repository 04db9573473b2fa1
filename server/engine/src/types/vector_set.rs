//! Vector sets: elements with a vector each, found by how alike their vectors are.
//!
//! Vectors and the graph over them are the search crate's ([`VectorSlots`]), by slots without gaps; here are the names of the slots,
//! their attributes, and the projection to fewer dimensions. A clone shares everything, so that a set behind an `Arc` can be taken out of
//! a snapshot with `Arc::make_mut` whatever its size.
//!
//! The graph is a part of the value that all nodes have alike: it follows from what was done to the set, and not from chance.

use cairn_search::vector::quantised::Quantisation;
use cairn_search::vector::set::{Normalised, VectorSlots};
use cairn_search::vector::store::Rows;

use crate::ds::{CowTree, Member, tree};

/// Bytes of an element's name.
pub const NAME_LEN_MAX: usize = 1024 * 1024;
/// Bytes of an element's attributes: a filter reads them for each element that it is asked about.
pub const ATTRIBUTES_LEN_MAX: usize = 1024 * 1024;
/// Numbers of a projection's matrix, which is not kept but is in dumps.
pub const PROJECTION_MAX: usize = 1 << 24;

/// The projection of Redis: a part of Hadamard's matrix, of which a number is one or minus one by the bits that row and column share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    pub from: usize,
    pub to: usize,
}

impl Projection {
    fn scale(self) -> f32 {
        (1.0 / (self.from as f64).sqrt()) as f32
    }

    /// The vector in fewer dimensions; by the fast transform, which has all rows of the matrix at once.
    pub fn apply(self, vector: &[f32]) -> Vec<f32> {
        let mut numbers: Vec<f64> = vector.iter().map(|&n| f64::from(n)).collect();
        numbers.resize(self.from.next_power_of_two(), 0.0);
        let mut half = 1;
        while half < numbers.len() {
            for pair in numbers.chunks_exact_mut(2 * half) {
                let (left, right) = pair.split_at_mut(half);
                for (a, b) in left.iter_mut().zip(right) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        let scale = f64::from(self.scale());
        numbers[..self.to].iter().map(|n| (n * scale) as f32).collect()
    }

    /// The matrix as Redis keeps it, row by row, little endian.
    pub fn matrix(self) -> Vec<u8> {
        let (plus, minus) = (self.scale().to_le_bytes(), (-self.scale()).to_le_bytes());
        let mut bytes = Vec::with_capacity(self.from * self.to * 4);
        for row in 0..self.to {
            for column in 0..self.from {
                let odd = (row & column).count_ones() % 2 == 1;
                bytes.extend_from_slice(if odd { &minus } else { &plus });
            }
        }
        bytes
    }
}

#[derive(Clone, Debug)]
struct Element {
    name: Member,
    /// Empty if there are none.
    attributes: Member,
}

impl Default for Element {
    fn default() -> Self {
        Self { name: Member::EMPTY, attributes: Member::EMPTY }
    }
}

#[derive(Clone, Debug)]
pub struct VectorSet {
    slots: VectorSlots,
    projection: Option<Projection>,
    names: CowTree<Member, u32>,
    elements: Rows<Element>,
    /// Elements with attributes.
    with_attributes: usize,
}

impl VectorSet {
    pub fn new(dim: usize, projection: Option<Projection>, quantisation: Quantisation, m: usize) -> Self {
        Self {
            slots: VectorSlots::new(dim, quantisation, m),
            projection,
            names: CowTree::default(),
            elements: Rows::new(1),
            with_attributes: 0,
        }
    }

    /// The vectors by slot, to be read.
    pub fn slots(&self) -> &VectorSlots {
        &self.slots
    }

    pub fn projection(&self) -> Option<Projection> {
        self.projection
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn with_attributes(&self) -> usize {
        self.with_attributes
    }

    /// The element's slot.
    pub fn slot(&self, name: &[u8]) -> Option<u32> {
        self.names.get_by(|probe| (**probe).cmp(name)).map(|(_, slot)| *slot)
    }

    pub fn name(&self, slot: u32) -> &[u8] {
        &self.elements.get(slot)[0].name
    }

    /// The element's attributes; empty if there are none.
    pub fn attributes(&self, slot: u32) -> &[u8] {
        &self.elements.get(slot)[0].attributes
    }

    /// Elements in the order of their names, from the first for which `before` does not hold.
    pub fn names_from(&self, before: impl Fn(&[u8]) -> bool) -> tree::Iter<'_, Member, u32> {
        self.names.iter_from_rank(self.names.partition_point(|name| before(name)))
    }

    /// Adds an element, or gives it another vector; true if it is new. Attributes stay if none are given, empty ones go.
    pub fn put(&mut self, name: &[u8], vector: &Normalised, attributes: Option<&[u8]>, ef: usize) -> bool {
        let known = self.slot(name);
        let kept = known.map(|slot| {
            let element = self.elements.get(slot)[0].clone();
            self.remove_slot(slot);
            element
        });
        let is_new = kept.is_none();
        let mut element = kept.unwrap_or_else(|| Element { name: Member::from(name), ..Element::default() });
        if let Some(attributes) = attributes {
            element.attributes = Member::from(attributes);
        }
        let seed = self.seed(name);
        let slot = self.slots.push(vector, seed, ef);
        self.name_slot(slot, element);
        is_new
    }

    /// What decides about the layers of an element that is added now.
    fn seed(&self, name: &[u8]) -> u64 {
        // The constants of FNV-1a.
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        name.iter()
            .fold(BASIS ^ self.len() as u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
    }

    fn name_slot(&mut self, slot: u32, element: Element) {
        self.with_attributes += usize::from(!element.attributes.is_empty());
        self.names.insert(element.name.clone(), slot);
        self.elements.get_mut(slot)[0] = element;
    }

    /// True if it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let slot = self.slot(name);
        if let Some(slot) = slot {
            self.remove_slot(slot);
        }
        slot.is_some()
    }

    fn remove_slot(&mut self, slot: u32) {
        let last = self.len() as u32 - 1;
        self.slots.swap_remove(slot);
        let moved = std::mem::take(&mut self.elements.get_mut(last)[0]);
        if slot != last
            && let Some((_, known)) = self.names.get_mut_by(|probe| (**probe).cmp(&moved.name))
        {
            *known = slot;
        }
        let gone = match slot == last {
            true => moved,
            false => std::mem::replace(&mut self.elements.get_mut(slot)[0], moved),
        };
        self.elements.truncate(last);
        self.names.remove(&gone.name);
        self.with_attributes -= usize::from(!gone.attributes.is_empty());
    }

    /// Changes an element's attributes, which go if they are empty. False if there is no such element.
    pub fn set_attributes(&mut self, name: &[u8], attributes: &[u8]) -> bool {
        let Some(slot) = self.slot(name) else { return false };
        let element = &mut self.elements.get_mut(slot)[0];
        self.with_attributes -= usize::from(!element.attributes.is_empty());
        element.attributes = Member::from(attributes);
        self.with_attributes += usize::from(!attributes.is_empty());
        true
    }

    /// Adds an element as it was saved; false if there is one of this name. After the last one, ask whether its links fit together
    /// ([`VectorSlots::is_sound`]): before that nothing else may be done with the set.
    pub fn restore(
        &mut self,
        name: &[u8],
        attributes: &[u8],
        vector: &Normalised,
        layers: &[Vec<u32>],
    ) -> bool {
        if self.slot(name).is_some() {
            return false;
        }
        let slot = self.len() as u32;
        self.slots.restore(vector, layers);
        self.name_slot(slot, Element { name: Member::from(name), attributes: Member::from(attributes) });
        true
    }

    /// Bytes on the heap; `samples` elements stand for the names and attributes of the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        let looked_at = if samples == 0 { self.len() } else { samples.min(self.len()) };
        // The tree has a second handle to each name, not a second name.
        let owned = |slot: u32| {
            let element = &self.elements.get(slot)[0];
            element.name.heap_size() + element.attributes.heap_size()
        };
        let owned: usize = (0..looked_at as u32).map(owned).sum();
        let owned = (owned * self.len()).checked_div(looked_at).unwrap_or(0);
        size_of::<Self>() + self.slots.memory() + self.elements.memory() + self.names.heap_size() + owned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_search::vector::set::M_DEFAULT;

    fn vector(x: f32, y: f32) -> Normalised {
        Normalised::new(vec![x, y], Quantisation::Bytes).expect("finite")
    }

    #[test]
    fn names_follow_their_slots() {
        let mut set = VectorSet::new(2, None, Quantisation::Bytes, M_DEFAULT);
        for n in 0..100u8 {
            assert!(set.put(&[n], &vector(f32::from(n), 1.0), (n % 2 == 0).then_some(b"{}"), 20));
        }
        let before = set.clone();
        for n in (0..100u8).step_by(3) {
            assert!(set.remove(&[n]) && !set.remove(&[n]));
        }
        assert!(!set.put(&[1], &vector(-1.0, 0.0), None, 20), "it was there");
        for n in 0..100u8 {
            let there = n % 3 != 0;
            assert_eq!(set.slot(&[n]).is_some(), there);
            if let Some(slot) = set.slot(&[n]) {
                assert_eq!(set.name(slot), [n]);
                assert_eq!(set.attributes(slot).is_empty(), n % 2 != 0);
                let expected = if n == 1 { vector(-1.0, 0.0) } else { vector(f32::from(n), 1.0) };
                assert_eq!(set.slots().quants(slot), expected.quants);
            }
        }
        let with_attributes = (0..100).filter(|n| n % 3 != 0 && n % 2 == 0).count();
        assert_eq!((set.len(), set.with_attributes()), (66, with_attributes));
        assert!(set.slots().is_sound());
        assert_eq!((before.len(), before.with_attributes()), (100, 50), "a clone stays as it was");
        let names: Vec<&[u8]> =
            set.names_from(|name| *name < [50][..]).map(|(name, _)| &**name).take(3).collect();
        assert_eq!(names, [[50], [52], [53]]);
        for n in 0..100u8 {
            set.remove(&[n]);
        }
        assert!(set.is_empty() && set.with_attributes() == 0 && set.heap_size(0) < 10_000);
    }

    #[test]
    fn the_fast_projection_is_that_of_the_matrix() {
        for (from, to) in [(1, 1), (5, 3), (64, 64), (100, 7)] {
            let projection = Projection { from, to };
            let vector: Vec<f32> = (0..from).map(|n| (n * 37 % 11) as f32 - 5.0).collect();
            let matrix = projection.matrix();
            let numbers: Vec<f32> =
                matrix.chunks(4).map(|n| f32::from_le_bytes(n.try_into().expect("four"))).collect();
            for (row, fast) in numbers.chunks(from).zip(projection.apply(&vector)) {
                let slow: f64 = row.iter().zip(&vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((slow - f64::from(fast)).abs() < 1e-5, "{slow} {fast}");
            }
        }
    }
}
