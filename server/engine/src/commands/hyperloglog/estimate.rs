//! From registers to a count: the estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (arXiv:1702.01284), algorithm 6, which is the one that Redis uses.

use super::registers::{self, Corrupt, HASH_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA_INFINITE: f64 = 0.721_347_520_444_481_7;

/// The number of registers with each value.
pub(super) type Histogram = [u32; 64];

/// The count of a sketch.
pub(super) fn of_sketch(bytes: &[u8]) -> Result<u64, Corrupt> {
    Ok(of_histogram(&registers::histogram(bytes)?))
}

/// The count of a union of sketches.
pub(super) fn of_registers(values: &[u8; REGISTERS]) -> u64 {
    let mut histogram = [0; 64];
    values.iter().for_each(|&value| histogram[usize::from(value & 63)] += 1);
    of_histogram(&histogram)
}

fn of_histogram(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(histogram[HASH_BITS + 1])) / m);
    for &count in histogram[1..=HASH_BITS].iter().rev() {
        z += f64::from(count);
        z *= 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA_INFINITE * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
