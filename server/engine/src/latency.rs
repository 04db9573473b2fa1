//! How long commands run: histograms with about two significant digits, as INFO's `latencystats` shows them.

/// Buckets for each power of two beyond the first 256 nanoseconds: two significant digits.
const HALF: usize = 128;
/// Longer runs count as this long.
const MAX_NS: u64 = 1_000_000_000;

/// Counts of run times. Takes no memory until the first one, and then only up to the longest.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Counts one run.
    pub fn record(&mut self, microseconds: u64) {
        let bucket = bucket_of((microseconds.saturating_mul(1000)).min(MAX_NS));
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// Has nothing been counted?
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The run time, in microseconds, that `percentile` percent of the runs did not exceed.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        let wanted = ((percentile.min(100.0) / 100.0 * self.total as f64) + 0.5) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return highest_in(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket_of(ns: u64) -> usize {
    let shift = (ns | (2 * HALF as u64 - 1)).ilog2() as usize - HALF.ilog2() as usize;
    shift * HALF + (ns >> shift) as usize
}

/// The longest run, in nanoseconds, that is counted in this bucket.
fn highest_in(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    let mantissa = bucket - shift * HALF;
    ((mantissa as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_ends_within_a_hundredth_of_it() {
        let mut previous = 0;
        for ns in (0..100_000).chain((1..1000).map(|n| n * 1_000_000)) {
            let highest = highest_in(bucket_of(ns));
            assert!(highest >= ns, "{ns} counts as {highest}");
            assert!(highest - ns <= ns / 100, "{ns} counts as {highest}");
            if ns < 100_000 {
                assert!(highest >= previous);
                previous = highest;
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_redis() {
        let mut histogram = Histogram::default();
        assert!(histogram.is_empty());
        for _ in 0..99 {
            histogram.record(1);
        }
        histogram.record(5_000_000);
        assert_eq!(histogram.percentile_us(50.0), 1.003);
        assert_eq!(histogram.percentile_us(99.0), 1.003);
        assert!(histogram.percentile_us(99.9) > 999_000.0, "longer than a second counts as a second");
    }
}
