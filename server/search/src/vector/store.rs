//! Vectors by slot, in chunks, so that few move when there are more.

use crate::schema::Metric;
use std::sync::Arc;

/// Rows of a chunk at most.
const CHUNK_ROWS_MAX: usize = 256;
/// Bytes of a chunk, if a row is not longer: so much is copied when a shared chunk is written to.
const CHUNK_BYTES: usize = 256 * 1024;

/// Rows of equal length, a chunk of them at a time. A clone shares the chunks; a write copies its own.
#[derive(Debug, Clone)]
pub struct Rows<T> {
    width: usize,
    /// A chunk has two to the power of this many rows; the first grows up to that.
    shift: u32,
    chunks: Vec<Arc<[T]>>,
}

impl<T: Clone + Default> Rows<T> {
    pub fn new(width: usize) -> Self {
        let width = width.max(1);
        let fit = CHUNK_BYTES / (width * size_of::<T>()).max(1);
        Self { width, shift: fit.clamp(1, CHUNK_ROWS_MAX).ilog2(), chunks: Vec::new() }
    }

    #[inline]
    fn place(&self, slot: u32) -> (usize, usize) {
        (slot as usize >> self.shift, slot as usize & ((1 << self.shift) - 1))
    }

    #[inline]
    pub fn get(&self, slot: u32) -> &[T] {
        let (chunk, row) = self.place(slot);
        &self.chunks[chunk][row * self.width..(row + 1) * self.width]
    }

    /// The row of a slot, which is made if it is not there.
    pub fn get_mut(&mut self, slot: u32) -> &mut [T] {
        let (chunk, row) = self.place(slot);
        if self.chunks.get(chunk).is_none_or(|chunk| chunk.len() <= row * self.width) {
            self.grow(chunk, row);
        }
        &mut Arc::make_mut(&mut self.chunks[chunk])[row * self.width..(row + 1) * self.width]
    }

    #[cold]
    fn grow(&mut self, chunk: usize, row: usize) {
        if chunk == 0 {
            let known = self.chunks.first().map_or(&[][..], |chunk| &chunk[..]);
            let new = (row + 1).next_power_of_two() * self.width - known.len();
            let grown = known.iter().cloned().chain(std::iter::repeat_n(T::default(), new)).collect();
            self.chunks.truncate(0);
            self.chunks.push(grown);
            return;
        }
        let len = self.width << self.shift;
        if self.chunks.first().is_some_and(|first| first.len() < len) {
            self.grow(0, (1 << self.shift) - 1);
        }
        while self.chunks.len() <= chunk {
            self.chunks.push(std::iter::repeat_n(T::default(), len).collect());
        }
    }

    /// Forgets the rows from this one on; their places may remain.
    pub fn truncate(&mut self, rows: u32) {
        let (chunk, row) = self.place(rows);
        self.chunks.truncate(chunk + usize::from(row > 0));
    }

    pub fn memory(&self) -> usize {
        let rows: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        rows * size_of::<T>() + self.chunks.capacity() * 16
    }
}

/// A number of a vector.
pub trait Number: Copy + Default + std::fmt::Debug {
    const BYTES: usize;
    fn from_le(bytes: &[u8]) -> Self;
    fn to_f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
    fn dot(a: &[Self], b: &[Self]) -> f64;
    fn squared(a: &[Self], b: &[Self]) -> f64;
}

/// Sums in lanes, which the compiler turns into vector instructions; one sum would have to keep its order.
macro_rules! number {
    ($type:ty, $lanes:expr) => {
        impl Number for $type {
            const BYTES: usize = size_of::<$type>();

            fn from_le(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("the caller cuts as many bytes as a number has"))
            }

            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline]
            fn dot(a: &[Self], b: &[Self]) -> f64 {
                let mut lanes: [Self; $lanes] = [0.0; $lanes];
                let (a, a_rest) = a.as_chunks::<$lanes>();
                let (b, b_rest) = b.as_chunks::<$lanes>();
                for (a, b) in a.iter().zip(b) {
                    for lane in 0..$lanes {
                        lanes[lane] += a[lane] * b[lane];
                    }
                }
                let rest: Self = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
                f64::from(lanes.iter().sum::<Self>() + rest)
            }

            #[inline]
            fn squared(a: &[Self], b: &[Self]) -> f64 {
                let mut lanes: [Self; $lanes] = [0.0; $lanes];
                let (a, a_rest) = a.as_chunks::<$lanes>();
                let (b, b_rest) = b.as_chunks::<$lanes>();
                for (a, b) in a.iter().zip(b) {
                    for lane in 0..$lanes {
                        let gap = a[lane] - b[lane];
                        lanes[lane] += gap * gap;
                    }
                }
                let rest: Self = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
                f64::from(lanes.iter().sum::<Self>() + rest)
            }
        }
    };
}

number!(f32, 16);
number!(f64, 8);

/// Vectors as they came; those that are compared by cosine have length one.
#[derive(Debug)]
pub struct Dense<T> {
    rows: Rows<T>,
    metric: Metric,
}

impl<T: Number> Dense<T> {
    pub fn new(dim: usize, metric: Metric) -> Self {
        Self { rows: Rows::new(dim), metric }
    }

    /// A vector from its bytes, ready to be compared.
    pub fn prepare(&self, blob: &[u8]) -> Vec<T> {
        let mut vector: Vec<T> = blob.chunks_exact(T::BYTES).map(T::from_le).collect();
        if self.metric == Metric::Cosine {
            normalize(&mut vector);
        }
        vector
    }

    pub fn put(&mut self, slot: u32, vector: &[T]) {
        self.rows.get_mut(slot).copy_from_slice(vector);
    }

    #[inline]
    pub fn get(&self, slot: u32) -> &[T] {
        self.rows.get(slot)
    }

    #[inline]
    pub fn distance(&self, a: &[T], b: &[T]) -> f64 {
        match self.metric {
            Metric::L2 => T::squared(a, b),
            Metric::Ip | Metric::Cosine => 1.0 - T::dot(a, b),
        }
    }

    pub fn memory(&self) -> usize {
        self.rows.memory()
    }
}

/// Makes the length of a vector one. The zero vector stays what it is.
pub fn normalize<T: Number>(vector: &mut [T]) {
    let length = vector.iter().map(|n| n.to_f64() * n.to_f64()).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() {
        vector.iter_mut().for_each(|n| *n = T::from_f64(n.to_f64() / length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_what_their_formulas_say() {
        let a: Vec<f32> = (0..67).map(|n| n as f32 * 0.25).collect();
        let b: Vec<f32> = (0..67).map(|n| 3.0 - n as f32 * 0.5).collect();
        let dot: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let squared: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        assert!((f32::dot(&a, &b) - dot).abs() < 1e-2);
        assert!((f32::squared(&a, &b) - squared).abs() < 1e-2);
    }

    #[test]
    fn rows_keep_what_they_hold_as_they_grow_and_shrink() {
        for width in [1, 3, 100_000] {
            let mut rows = Rows::<u32>::new(width);
            for slot in 0..600 {
                rows.get_mut(slot)[width - 1] = slot + 1;
            }
            let before = rows.clone();
            rows.get_mut(7)[width - 1] = 0;
            assert!((0..600).all(|slot| before.get(slot)[width - 1] == slot + 1), "a clone keeps its own");
            assert_eq!((rows.get(7)[width - 1], rows.get(599)[width - 1]), (0, 600));
            let full = rows.memory();
            rows.truncate(300);
            assert!(rows.memory() < full * 9 / 10 && rows.get(299)[width - 1] == 300);
            rows.get_mut(599)[0] = 5;
            assert_eq!(rows.get(599)[0], 5);
        }
        let mut rows = Rows::<u64>::new(3);
        (0..256).for_each(|slot| rows.get_mut(slot)[0] = 1);
        let place = rows.get(0).as_ptr();
        (256..10_000).for_each(|slot| rows.get_mut(slot)[0] = 1);
        assert_eq!(rows.get(0).as_ptr(), place, "a full chunk never moves");
        let mut few = Rows::<f32>::new(300);
        few.get_mut(0);
        assert!(few.memory() < 2000, "one row takes no more than it needs");
        let mut far = Rows::<u8>::new(1);
        far.get_mut(1000)[0] = 1;
        assert_eq!((far.get(0)[0], far.get(1000)[0]), (0, 1));
    }

    #[test]
    fn cosine_does_not_care_for_length() {
        let store = Dense::<f64>::new(2, Metric::Cosine);
        let bytes = |v: [f64; 2]| v.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let (a, b) = (store.prepare(&bytes([1.0, 1.0])), store.prepare(&bytes([5.0, 5.0])));
        assert!(store.distance(&a, &b).abs() < 1e-12);
        assert_eq!(store.prepare(&bytes([0.0, 0.0])), [0.0, 0.0]);
    }
}
