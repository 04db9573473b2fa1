//! Vectors of length one as Redis's vector sets keep them: as they are, a byte a number, or one bit. They are compared by cosine,
//! as distances from 0 to 2.
//!
//! All sums are integers, or floats added up in one order: a distance is the same on every machine.

use super::graph::Space;
use super::store::{Number, Rows};

/// How the numbers of a vector are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantisation {
    Floats,
    Bytes,
    Bits,
}

/// A vector in the form that its set keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Quants {
    Floats(Vec<f32>),
    Bytes {
        /// The largest number without its sign, which 127 stands for.
        range: f32,
        numbers: Vec<i8>,
    },
    Bits(Vec<u64>),
}

impl Quants {
    /// `vector` has length one, or none.
    pub fn new(vector: Vec<f32>, quantisation: Quantisation) -> Self {
        match quantisation {
            Quantisation::Floats => Self::Floats(vector),
            Quantisation::Bytes => {
                let range = vector.iter().fold(0f32, |max, n| max.max(n.abs()));
                let scale = if range > 0.0 { 127.0 / range } else { 0.0 };
                Self::Bytes { range, numbers: vector.iter().map(|n| (n * scale).round() as i8).collect() }
            }
            Quantisation::Bits => {
                let word = |chunk: &[f32]| {
                    let bits = chunk.iter().enumerate();
                    bits.fold(0, |bits, (at, n)| bits | u64::from(*n > 0.0) << at)
                };
                Self::Bits(vector.chunks(64).map(word).collect())
            }
        }
    }

    /// The bytes of a vector of `dim` numbers.
    pub fn len(quantisation: Quantisation, dim: usize) -> usize {
        match quantisation {
            Quantisation::Floats => dim * 4,
            Quantisation::Bytes => dim,
            Quantisation::Bits => dim.div_ceil(64) * 8,
        }
    }

    /// From the bytes of [`Quants::to_bytes`], which are as many as [`Quants::len`] says. `None` if they make no vector.
    pub fn from_bytes(bytes: &[u8], quantisation: Quantisation, dim: usize, range: f32) -> Option<Self> {
        match quantisation {
            Quantisation::Floats => {
                let vector: Vec<f32> = bytes.chunks_exact(4).map(f32::from_le).collect();
                vector.iter().all(|n| n.is_finite()).then_some(Self::Floats(vector))
            }
            Quantisation::Bytes => {
                let numbers = bytes.iter().map(|&byte| byte as i8).collect();
                (range.is_finite() && range >= 0.0).then_some(Self::Bytes { range, numbers })
            }
            Quantisation::Bits => {
                let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("cut in eights"));
                let words: Vec<u64> = bytes.chunks_exact(8).map(word).collect();
                // Bits past the last number would count as differences.
                let unused = if dim.is_multiple_of(64) { 0 } else { u64::MAX << (dim % 64) };
                words.last().is_none_or(|last| last & unused == 0).then_some(Self::Bits(words))
            }
        }
    }

    /// The bytes, in the order of the numbers, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Floats(vector) => vector.iter().flat_map(|n| n.to_le_bytes()).collect(),
            Self::Bytes { numbers, .. } => numbers.iter().map(|&n| n as u8).collect(),
            Self::Bits(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        }
    }

    /// What 127 stands for; 0 if that is nothing.
    pub fn range(&self) -> f32 {
        if let Self::Bytes { range, .. } = self { *range } else { 0.0 }
    }

    /// The numbers, as near as they are known: of bits only their signs.
    pub fn to_floats(&self, dim: usize) -> Vec<f32> {
        match self {
            Self::Floats(vector) => vector.clone(),
            Self::Bytes { range, numbers } => numbers.iter().map(|&n| f32::from(n) * range / 127.0).collect(),
            Self::Bits(words) => {
                let bit = |at: usize| words[at / 64] >> (at % 64) & 1 == 1;
                (0..dim).map(|at| if bit(at) { 1.0 } else { -1.0 }).collect()
            }
        }
    }
}

fn float_distance(a: &[f32], b: &[f32]) -> f32 {
    1.0 - f32::dot(a, b) as f32
}

fn byte_distance(a: (f32, &[i8]), b: (f32, &[i8])) -> f32 {
    // The product with the zero vector is nothing.
    if a.0 == 0.0 || b.0 == 0.0 {
        return 1.0;
    }
    let dot: i32 = a.1.iter().zip(b.1).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
    let scale = (a.0 / 127.0) * (b.0 / 127.0);
    (1.0 - dot as f32 * scale).clamp(0.0, 2.0)
}

fn bit_distance(a: &[u64], b: &[u64], dim: usize) -> f32 {
    let differ: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
    differ as f32 * 2.0 / dim as f32
}

/// The vectors of a set, by slot. A clone shares them.
#[derive(Debug, Clone)]
pub struct Store {
    dim: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Floats(Rows<f32>),
    Bytes { ranges: Rows<f32>, rows: Rows<i8> },
    Bits(Rows<u64>),
}

impl Store {
    pub fn new(dim: usize, quantisation: Quantisation) -> Self {
        let kind = match quantisation {
            Quantisation::Floats => Kind::Floats(Rows::new(dim)),
            Quantisation::Bytes => Kind::Bytes { ranges: Rows::new(1), rows: Rows::new(dim) },
            Quantisation::Bits => Kind::Bits(Rows::new(dim.div_ceil(64))),
        };
        Self { dim, kind }
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn quantisation(&self) -> Quantisation {
        match self.kind {
            Kind::Floats(_) => Quantisation::Floats,
            Kind::Bytes { .. } => Quantisation::Bytes,
            Kind::Bits(_) => Quantisation::Bits,
        }
    }

    /// Keeps a vector of this store's form and dimension.
    pub fn put(&mut self, slot: u32, vector: &Quants) {
        match (&mut self.kind, vector) {
            (Kind::Floats(rows), Quants::Floats(vector)) => rows.get_mut(slot).copy_from_slice(vector),
            (Kind::Bytes { ranges, rows }, Quants::Bytes { range, numbers }) => {
                ranges.get_mut(slot)[0] = *range;
                rows.get_mut(slot).copy_from_slice(numbers);
            }
            (Kind::Bits(rows), Quants::Bits(words)) => rows.get_mut(slot).copy_from_slice(words),
            _ => unreachable!("a vector is put where its form is kept"),
        }
    }

    pub fn get(&self, slot: u32) -> Quants {
        match &self.kind {
            Kind::Floats(rows) => Quants::Floats(rows.get(slot).to_vec()),
            Kind::Bytes { ranges, rows } => {
                Quants::Bytes { range: ranges.get(slot)[0], numbers: rows.get(slot).to_vec() }
            }
            Kind::Bits(rows) => Quants::Bits(rows.get(slot).to_vec()),
        }
    }

    /// The distance of a vector of this store's form.
    #[inline]
    pub fn distance_to(&self, vector: &Quants, slot: u32) -> f32 {
        match (&self.kind, vector) {
            (Kind::Floats(rows), Quants::Floats(vector)) => float_distance(vector, rows.get(slot)),
            (Kind::Bytes { ranges, rows }, Quants::Bytes { range, numbers }) => {
                byte_distance((*range, numbers), (ranges.get(slot)[0], rows.get(slot)))
            }
            (Kind::Bits(rows), Quants::Bits(words)) => bit_distance(words, rows.get(slot), self.dim),
            _ => unreachable!("a vector is compared with those of its form"),
        }
    }

    /// Forgets the slots from this one on.
    pub fn truncate(&mut self, slots: u32) {
        match &mut self.kind {
            Kind::Floats(rows) => rows.truncate(slots),
            Kind::Bytes { ranges, rows } => {
                ranges.truncate(slots);
                rows.truncate(slots);
            }
            Kind::Bits(rows) => rows.truncate(slots),
        }
    }

    pub fn memory(&self) -> usize {
        match &self.kind {
            Kind::Floats(rows) => rows.memory(),
            Kind::Bytes { ranges, rows } => ranges.memory() + rows.memory(),
            Kind::Bits(rows) => rows.memory(),
        }
    }
}

impl Space for Store {
    #[inline]
    fn distance(&self, a: u32, b: u32) -> f32 {
        match &self.kind {
            Kind::Floats(rows) => float_distance(rows.get(a), rows.get(b)),
            Kind::Bytes { ranges, rows } => {
                byte_distance((ranges.get(a)[0], rows.get(a)), (ranges.get(b)[0], rows.get(b)))
            }
            Kind::Bits(rows) => bit_distance(rows.get(a), rows.get(b), self.dim),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_number_is_off_by_little() {
        let vector = |seed: u32| -> Vec<f32> {
            let mut v: Vec<f32> =
                (0..64).map(|n| ((n * seed * 7919 + 13) % 1000) as f32 / 500.0 - 1.0).collect();
            super::super::store::normalize(&mut v);
            v
        };
        let (a, b) = (vector(3), vector(5));
        let mut store = Store::new(64, Quantisation::Bytes);
        store.put(0, &Quants::new(a.clone(), Quantisation::Bytes));
        store.put(1, &Quants::new(b.clone(), Quantisation::Bytes));
        let exact = 1.0 - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>();
        assert!((store.distance(0, 1) - exact).abs() < 0.01);
        assert!(store.distance(0, 0).abs() < 0.01);
        let back = store.get(0).to_floats(64);
        assert!(a.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.003));
    }

    #[test]
    fn bits_count_signs_that_differ() {
        let mut store = Store::new(66, Quantisation::Bits);
        let mut half = vec![1.0; 66];
        half[33..].fill(-1.0);
        for (slot, vector) in [vec![1.0; 66], vec![-1.0; 66], half.clone()].into_iter().enumerate() {
            store.put(slot as u32, &Quants::new(vector, Quantisation::Bits));
        }
        assert_eq!((store.distance(0, 0), store.distance(0, 1), store.distance(0, 2)), (0.0, 2.0, 1.0));
        assert_eq!(store.get(2).to_floats(66), half);
    }

    #[test]
    fn the_zero_vector_is_in_the_middle_of_everything() {
        for quantisation in [Quantisation::Floats, Quantisation::Bytes] {
            let mut store = Store::new(2, quantisation);
            store.put(0, &Quants::new(vec![0.0, 0.0], quantisation));
            store.put(1, &Quants::new(vec![1.0, 0.0], quantisation));
            assert_eq!((store.distance(0, 1), store.distance(0, 0)), (1.0, 1.0));
        }
    }

    #[test]
    fn bytes_come_back_as_the_same_vector_or_are_refused() {
        let vector: Vec<f32> = (0..70).map(|n| (n as f32 - 35.0) / 100.0).collect();
        for quantisation in [Quantisation::Floats, Quantisation::Bytes, Quantisation::Bits] {
            let quants = Quants::new(vector.clone(), quantisation);
            let bytes = quants.to_bytes();
            assert_eq!(bytes.len(), Quants::len(quantisation, 70));
            assert_eq!(Quants::from_bytes(&bytes, quantisation, 70, quants.range()), Some(quants));
        }
        let refused = |bytes: &[u8], quantisation, range| {
            Quants::from_bytes(bytes, quantisation, bytes.len() / 4, range).is_none()
        };
        assert!(refused(&f32::NAN.to_le_bytes(), Quantisation::Floats, 0.0));
        assert!(refused(&[1, 2, 3, 4], Quantisation::Bytes, f32::INFINITY));
        assert!(refused(&[0, 0, 0, 0, 0, 0, 0, 1], Quantisation::Bits, 0.0), "a bit past the last number");
    }
}
