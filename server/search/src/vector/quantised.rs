//! Vectors in fewer bits, for graphs that may be a little wrong: a byte a number, or one bit.
//!
//! Both compare by cosine, as Redis's vector sets do: vectors are normalised before.

use super::graph::Space;
use super::store::Rows;

/// A byte a number, each vector with a scale of its own.
#[derive(Debug)]
pub struct Bytes {
    rows: Rows<i8>,
    scales: Rows<f32>,
}

impl Bytes {
    pub fn new(dim: usize) -> Self {
        Self { rows: Rows::new(dim), scales: Rows::new(1) }
    }

    /// Keeps a vector of length one.
    pub fn put(&mut self, slot: u32, vector: &[f32]) {
        let (scale, numbers) = Self::quantise(vector);
        self.scales.get_mut(slot)[0] = scale;
        self.rows.get_mut(slot).copy_from_slice(&numbers);
    }

    /// A vector's scale and its numbers as multiples of it.
    pub fn quantise(vector: &[f32]) -> (f32, Vec<i8>) {
        let largest = vector.iter().fold(0f32, |max, n| max.max(n.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        (scale, vector.iter().map(|n| (n / scale).round().clamp(-127.0, 127.0) as i8).collect())
    }

    pub fn scale(&self, slot: u32) -> f32 {
        self.scales.get(slot)[0]
    }

    pub fn numbers(&self, slot: u32) -> &[i8] {
        self.rows.get(slot)
    }

    /// One minus the inner product.
    pub fn distance_to(&self, scale: f32, numbers: &[i8], slot: u32) -> f32 {
        let dot: i32 =
            numbers.iter().zip(self.rows.get(slot)).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        1.0 - dot as f32 * scale * self.scale(slot)
    }

    pub fn memory(&self) -> usize {
        self.rows.memory() + self.scales.memory()
    }
}

impl Space for Bytes {
    fn distance(&self, a: u32, b: u32) -> f32 {
        self.distance_to(self.scale(a), self.rows.get(a), b)
    }
}

/// The signs of a vector's numbers. The distance is the share of signs that differ, from 0 to 2.
#[derive(Debug)]
pub struct Bits {
    dim: usize,
    rows: Rows<u64>,
}

impl Bits {
    pub fn new(dim: usize) -> Self {
        Self { dim, rows: Rows::new(dim.div_ceil(64)) }
    }

    pub fn put(&mut self, slot: u32, vector: &[f32]) {
        self.rows.get_mut(slot).copy_from_slice(&Self::quantise(vector));
    }

    pub fn quantise(vector: &[f32]) -> Vec<u64> {
        let word = |chunk: &[f32]| {
            chunk.iter().enumerate().fold(0, |bits, (at, n)| bits | u64::from(*n > 0.0) << at)
        };
        vector.chunks(64).map(word).collect()
    }

    pub fn words(&self, slot: u32) -> &[u64] {
        self.rows.get(slot)
    }

    pub fn distance_to(&self, words: &[u64], slot: u32) -> f32 {
        let differ: u32 = words.iter().zip(self.rows.get(slot)).map(|(a, b)| (a ^ b).count_ones()).sum();
        differ as f32 * 2.0 / self.dim.max(1) as f32
    }

    pub fn memory(&self) -> usize {
        self.rows.memory()
    }
}

impl Space for Bits {
    fn distance(&self, a: u32, b: u32) -> f32 {
        self.distance_to(self.rows.get(a), b)
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
        let mut bytes = Bytes::new(64);
        bytes.put(0, &a);
        bytes.put(1, &b);
        let exact = 1.0 - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>();
        assert!((bytes.distance(0, 1) - exact).abs() < 0.01);
        assert!(bytes.distance(0, 0).abs() < 0.01);
    }

    #[test]
    fn bits_count_signs_that_differ() {
        let mut bits = Bits::new(66);
        bits.put(0, &[1.0; 66]);
        bits.put(1, &[-1.0; 66]);
        let mut half = [1.0; 66];
        half[33..].fill(-1.0);
        bits.put(2, &half);
        assert_eq!((bits.distance(0, 0), bits.distance(0, 1), bits.distance(0, 2)), (0.0, 2.0, 1.0));
    }
}
