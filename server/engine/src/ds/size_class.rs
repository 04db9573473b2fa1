//! What an allocation really costs.
//!
//! jemalloc hands out blocks of fixed sizes: 8, then every 16 up to 128, then four per doubling (160, 192, 224,
//! 256, 320, …). Asking for the whole block costs nothing and saves the next growth; and stepping from class to
//! class is growth by 1/8 to 1/4, which wastes far less than doubling while it stays amortised O(1). Another
//! allocator makes these figures approximate, never wrong in a way that matters.

/// The size of the smallest block that holds `bytes`.
pub const fn size_class(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// How many values of type `T` a vector should have room for when it must hold `len`: all that fit in the block.
pub const fn capacity_for<T>(len: usize) -> usize {
    let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
    size_class(len * size) / size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_jemallocs() {
        let expected = [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (160, 160),
            (256, 256),
            (257, 320),
            (1025, 1280),
            (14336, 14336),
            (14337, 16384),
            ((1 << 20) + 1, (1 << 20) + (1 << 18)),
        ];
        for (bytes, class) in expected {
            assert_eq!(size_class(bytes), class, "{bytes} bytes");
        }
    }

    #[test]
    fn stepping_through_capacities_is_geometric() {
        let mut steps = 0;
        let mut capacity = 0;
        while capacity < 1 << 20 {
            let next = capacity_for::<[u8; 48]>(capacity + 1);
            assert!(next > capacity);
            assert!(capacity < 16 || next <= capacity + capacity / 4 + 1, "{capacity} -> {next}");
            capacity = next;
            steps += 1;
        }
        assert!(steps < 100, "{steps} reallocations on the way to a million");
    }
}
