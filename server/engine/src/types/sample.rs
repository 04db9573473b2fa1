//! Random samples without repetition, every subset equally likely.

use std::collections::HashSet;

use crate::rng::Rng;

/// Up to one element in so many is drawn by rank; more, by walking all of them.
const SPARSE_RATIO: usize = 3;

/// Is picking single elements by rank cheaper than a walk over all?
pub fn is_sparse(count: usize, len: usize) -> bool {
    count < len / SPARSE_RATIO
}

/// `count` different ranks below `len` (Floyd's algorithm: one draw for each, however large the set).
pub fn ranks(len: usize, count: usize, rng: &Rng) -> Vec<usize> {
    assert!(count <= len, "{count} different ranks out of {len}");
    let mut seen = HashSet::with_capacity(count);
    (len - count..len)
        .map(|last| {
            let rank = rng.below(last as u64 + 1) as usize;
            let rank = if seen.contains(&rank) { last } else { rank };
            seen.insert(rank);
            rank
        })
        .collect()
}

/// Selection sampling (Knuth, TAOCP 2, algorithm S): asked for each element in turn, takes exactly `count` of `len`.
pub struct Selection {
    left: usize,
    wanted: usize,
}

impl Selection {
    /// Will take `count` (all, when there are fewer) of `len`.
    pub fn new(len: usize, count: usize) -> Self {
        Self { left: len, wanted: count.min(len) }
    }

    /// Is the next element taken?
    pub fn takes(&mut self, rng: &Rng) -> bool {
        if self.wanted == 0 {
            return false;
        }
        let take = rng.below(self.left as u64) < self.wanted as u64;
        self.left -= 1;
        self.wanted -= usize::from(take);
        take
    }

    /// Have all been taken that were wanted?
    pub fn is_done(&self) -> bool {
        self.wanted == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 10;
    const COUNT: usize = 3;
    const ROUNDS: usize = 30_000;

    /// Each of 10 elements is in 30 % of the samples of 3; six standard deviations are 5.3 % of that.
    fn assert_uniform(sample: impl Fn(&Rng) -> Vec<usize>) {
        let rng = Rng::new(7);
        let mut hits = [0usize; LEN];
        for _ in 0..ROUNDS {
            let mut sample = sample(&rng);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), COUNT);
            sample.iter().for_each(|&rank| hits[rank] += 1);
        }
        let expected = ROUNDS * COUNT / LEN;
        assert!(hits.iter().all(|&n| n.abs_diff(expected) < expected * 6 / 100), "{hits:?}");
    }

    #[test]
    fn ranks_are_different_and_uniform() {
        assert_uniform(|rng| ranks(LEN, COUNT, rng));
    }

    #[test]
    fn a_selection_is_uniform() {
        assert_uniform(|rng| {
            let mut selection = Selection::new(LEN, COUNT);
            (0..LEN).filter(|_| selection.takes(rng)).collect()
        });
    }

    #[test]
    fn a_selection_of_more_than_all_takes_all() {
        let rng = Rng::new(1);
        let mut selection = Selection::new(4, 9);
        assert!((0..4).all(|_| selection.takes(&rng)) && selection.is_done());
    }
}
