//! Vectors by slot, in chunks, so that none moves when there are more.

use crate::schema::Metric;

/// Vectors of a chunk.
const CHUNK: usize = 256;

/// Rows of equal length, a chunk of them at a time.
#[derive(Debug)]
pub struct Rows<T> {
    width: usize,
    chunks: Vec<Box<[T]>>,
}

impl<T: Copy + Default> Rows<T> {
    pub fn new(width: usize) -> Self {
        Self { width, chunks: Vec::new() }
    }

    #[inline]
    pub fn get(&self, slot: u32) -> &[T] {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        &self.chunks[chunk][row * self.width..(row + 1) * self.width]
    }

    /// The row of a slot, which is made if it is not there.
    pub fn get_mut(&mut self, slot: u32) -> &mut [T] {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while self.chunks.len() <= chunk {
            self.chunks.push(vec![T::default(); CHUNK * self.width].into_boxed_slice());
        }
        &mut self.chunks[chunk][row * self.width..(row + 1) * self.width]
    }

    pub fn memory(&self) -> usize {
        self.chunks.len() * CHUNK * self.width * size_of::<T>()
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
    fn cosine_does_not_care_for_length() {
        let store = Dense::<f64>::new(2, Metric::Cosine);
        let bytes = |v: [f64; 2]| v.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let (a, b) = (store.prepare(&bytes([1.0, 1.0])), store.prepare(&bytes([5.0, 5.0])));
        assert!(store.distance(&a, &b).abs() < 1e-12);
        assert_eq!(store.prepare(&bytes([0.0, 0.0])), [0.0, 0.0]);
    }
}
